// SPDX-License-Identifier: MIT
// needs: torch
// The reference saccader beside the same model written with libtorch: the same networks, weights, images and noise, checked to
// give the same logits, terms of the loss and gradients before anything is timed. Both compute phi_x(proxy) once, and, as the
// loop is open, see the glimpses of all steps through the network at once.
#include "peers.hpp"
#include <fovea/core/parallel.hpp>
#include <fovea/core/random.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/trainer.hpp>

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace {

using fovea::Index;
using fovea::Shape;
using fovea::Tensor;
namespace model = fovea::model;
namespace glimpse = fovea::glimpse;

constexpr Index kSide = 2528;
constexpr Index kSteps = 4;
constexpr double kRate = 1e-5;

/// Blurred blobs and a little noise; labels; proxies.
struct Data {
  std::vector<Tensor<std::uint8_t, 3>> images;
  std::vector<fovea::Pyramid<std::uint8_t>> pyramids;
  Tensor<float, 4> proxies;
  std::vector<std::int32_t> labels;

  explicit Data(Index batch) : proxies({batch, 100, 100, 1}) {
    for (Index b = 0; b < batch; ++b) {
      fovea::Stream stream(7, 0, static_cast<std::uint64_t>(b), fovea::Purpose::user);
      // Smooth over a few pixels, so that rounding of a coordinate in float moves no value by much.
      const double fx = stream.uniform(0.02, 0.06);
      const double fy = stream.uniform(0.02, 0.06);
      std::vector<double> across(kSide);
      for (Index x = 0; x < kSide; ++x) across[static_cast<std::size_t>(x)] = std::sin(fx * static_cast<double>(x));
      Tensor<std::uint8_t, 3> image({kSide, kSide, 1});
      for (Index y = 0; y < kSide; ++y) {
        const double down = std::sin(fy * static_cast<double>(y));
        for (Index x = 0; x < kSide; ++x) {
          image(y, x, 0) = static_cast<std::uint8_t>(127.5 + 120 * down * across[static_cast<std::size_t>(x)]);
        }
      }
      images.push_back(std::move(image));
      labels.push_back(static_cast<std::int32_t>(stream.below(55)));
    }
    for (Index b = 0; b < batch; ++b) {
      pyramids.emplace_back(std::as_const(images[static_cast<std::size_t>(b)]).view());
      fovea::proxy(pyramids.back(), proxies.view()[b]);
    }
  }
  [[nodiscard]] Index batch() const { return static_cast<Index>(images.size()); }
};

model::Looking looking(bool draw, std::uint64_t step, Index first) {
  model::Looking l;
  l.draw = draw;
  l.noise = {3, step, static_cast<std::uint64_t>(first)};
  return l;
}

/// Weights of which none starts at 0, so that regions differ and every gradient is alive.
fovea::Parameters<float> weights(const fovea::ParameterLayout& layout) {
  fovea::Parameters<float> w(layout, 1);
  for (const char* name : {"policy.dense2.w", "prior.dense2.w"}) {
    fovea::Stream stream(9, 0, 0, fovea::Purpose::user);
    const auto elements = w.at(name);
    for (Index i = 0; i < elements.size(); ++i) elements[i] = 0.05F * stream.normal<float>();
  }
  return w;
}

/// Our side.
template <class Sampler>
struct Ours {
  const Data& data;
  model::ReferenceSaccader<Sampler> saccader;
  fovea::Parameters<float> parameters;
  fovea::Arena arena;

  Ours(const Data& d, const Sampler& sampler)
      : data(d), saccader(model::Saccader::reference({}, sampler)), parameters(weights(saccader.layout())) {}

  template <class C>
  auto forward(C& context, Index first, Index count, const model::Looking& look) const {
    const auto proxies = context.constant(data.proxies.data() + first * 10000, Shape{count, 100, 100, 1});
    const std::span<const fovea::Pyramid<std::uint8_t>> images(data.pyramids);
    return saccader.forward(context, proxies, images.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)),
                            look);
  }
  const float* infer() {
    arena.reset();
    fovea::Inference<float> context(arena, parameters.values());
    model::Looking look;
    look.bound = false;
    return forward(context, 0, data.batch(), look).logits().value;
  }
};

template <class Sampler>
struct OursTraining : Ours<Sampler> {
  fovea::Workers workers;
  fovea::train::Trainer<float, fovea::train::Adam<float>> trainer;

  OursTraining(const Data& d, const Sampler& sampler, int threads)
      : Ours<Sampler>(d, sampler),
        workers(threads),
        trainer(this->parameters, fovea::train::Adam<float>(this->parameters.values().size()), workers,
                {.batch = d.batch(), .shard = d.batch() / threads, .clip_norm = 0}) {}

  double step(double rate) {
    const model::SaccaderLoss loss{{}, 0, 0};
    return trainer
        .step(rate,
              [&](fovea::Tape<float>& tape, const fovea::train::ShardTask& task) {
                const auto path = this->forward(tape, task.first, task.count, looking(true, 0, task.first));
                const std::span<const std::int32_t> labels(this->data.labels);
                return fovea::train::ShardLoss<float>{
                    this->saccader.loss(
                        tape, path, labels.subspan(static_cast<std::size_t>(task.first), static_cast<std::size_t>(task.count)),
                        loss),
                    0};
              })
        .loss;
  }
};

/// The twin.
class Twin {
 public:
  Twin(const Data& data, const fovea::Parameters<float>& parameters, bool channels_last)
      : format_(channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous), batch_(data.batch()) {
    parameters.visit([&](const std::string& name, const Shape& shape, fovea::View<const float, 1> elements) {
      const at::Tensor w = torch::from_blob(const_cast<float*>(elements.data()), sizes(shape));
      w_[name] = as_torch(w).clone(shape.rank() == 4 ? format_ : at::MemoryFormat::Contiguous).set_requires_grad(true);
    });
    proxies_ = torch::from_blob(const_cast<float*>(data.proxies.data()), {batch_, 1, 100, 100});
    images_ = torch::empty({batch_, 1, kSide, kSide});
    for (Index b = 0; b < batch_; ++b) {
      const auto& image = data.images[static_cast<std::size_t>(b)];
      images_[b].copy_(torch::from_blob(const_cast<std::uint8_t*>(image.data()), {1, kSide, kSide}, torch::kUInt8));
      images_[b].div_(255);
    }
    labels_ = torch::tensor(std::vector<std::int64_t>(data.labels.begin(), data.labels.end()));
    noise_ = torch::empty({batch_, 3 * kSteps});
    fovea::sample::fill_normal(looking(true, 0, 0).noise,
                               fovea::View<float, 2>(noise_.data_ptr<float>(), {batch_, 3 * kSteps}));
    std::vector<at::Tensor> all;
    for (const auto& [name, w] : w_) all.push_back(w);
    optimizer_ = std::make_unique<torch::optim::Adam>(all, torch::optim::AdamOptions(kRate));
  }

  struct Pass {
    at::Tensor logits, kl, proxy;
  };
  /// With the terms of the bound and draws from the posterior, or the logits alone at the posterior's means.
  Pass forward(bool training) {
    const at::Tensor features = at::elu(encoder("proxy_network", at::upsample_bilinear2d(proxies_, {64, 64}, false)));
    const at::Tensor zero = at::zeros({batch_, 256});
    at::Tensor h0 = zero, c0 = zero, h1 = zero, c1 = zero;
    std::vector<at::Tensor> states, located, thetas;
    Pass pass;
    for (Index t = 0; t < kSteps; ++t) {
      const at::Tensor h = (h0 + h1) * 0.5;
      states.push_back(h);
      const at::Tensor q = dense("policy", at::cat({features, h}, 1), 2);
      const at::Tensor mean = q.narrow(1, 0, 3);
      at::Tensor z = mean;
      if (training) {
        const at::Tensor log_q = q.narrow(1, 3, 3) + std::log(0.1);
        const at::Tensor p = dense("prior", h, 2);
        const at::Tensor log_p = p.narrow(1, 3, 3);
        z = mean + at::exp(log_q) * noise_.narrow(1, 3 * t, 3);
        const at::Tensor distance = (mean - p.narrow(1, 0, 3)) * at::exp(-log_p);
        const at::Tensor kl = (log_p - log_q + 0.5 * (at::exp(2 * (log_q - log_p)) - 1 + distance * distance)).sum(1);
        pass.kl = t == 0 ? kl : pass.kl + kl;
      }
      const at::Tensor s = 0.3 * at::sigmoid(z.narrow(1, 0, 1));
      const at::Tensor xy = at::tanh(z.narrow(1, 1, 2));
      const at::Tensor none = at::zeros_like(s);
      thetas.push_back(at::cat({s, none, xy.narrow(1, 0, 1), none, s, xy.narrow(1, 1, 1)}, 1));
      located.push_back(at::selu(dense("location_features", z, 2)));
      if (t + 1 == kSteps) break;
      std::tie(h0, c0) = lstm("cell.lower", at::cat({features, located.back()}, 1), h0, c0);
      std::tie(h1, c1) = lstm("cell.upper", h0, h1, c1);
    }
    // [B, T, 2, 3] -> one call for all glimpses of an image, one below the other -> [T B, 1, 64, 64].
    const at::Tensor theta = at::stack(thetas, 1).view({batch_ * kSteps, 2, 3});
    const at::Tensor grid = at::affine_grid_generator(theta, {batch_ * kSteps, 1, 64, 64}, false);
    const at::Tensor windows = at::grid_sampler(images_, grid.view({batch_, kSteps * 64, 64, 2}), 0, 0, false);
    const at::Tensor glimpses = windows.view({batch_, kSteps, 64, 64}).transpose(0, 1).reshape({kSteps * batch_, 1, 64, 64});
    const at::Tensor state = at::cat(states);
    const at::Tensor seen = encoder("glimpse_network", glimpses);
    const at::Tensor evidence = dense("head.step", at::cat({seen, state}, 1), 2).narrow(1, 0, 256);
    pass.logits = dense("head.classes", evidence.view({kSteps, batch_, 256}).sum(0) * (1.0 / kSteps), 2);
    if (training) {
      const at::Tensor pixels = dense("decoder", at::cat({at::cat(located), state}, 1), 3);
      const at::Tensor wanted = proxies_.view({1, batch_, 10000}).expand({kSteps, batch_, 10000});
      pass.proxy =
          -at::binary_cross_entropy_with_logits(pixels.view({kSteps, batch_, 10000}), wanted, {}, {}, at::Reduction::Sum);
    }
    return pass;
  }

  at::Tensor infer() {
    const torch::InferenceMode guard;
    return forward(false).logits;
  }
  /// Mean loss over the batch; gradients are left in the weights.
  double gradients() {
    for (auto& [name, w] : w_) w.mutable_grad() = at::Tensor();
    const Pass pass = forward(true);
    const auto count = static_cast<double>(batch_);
    const at::Tensor loss = at::cross_entropy_loss(pass.logits, labels_) - pass.proxy / count + pass.kl.sum() / count;
    loss.backward();
    return loss.item<double>();
  }
  double step() {
    const double loss = gradients();
    optimizer_->step();
    return loss;
  }
  [[nodiscard]] const at::Tensor& weight(const std::string& name) const { return w_.at(name); }

  static std::vector<std::int64_t> sizes(const Shape& shape) {
    std::vector<std::int64_t> n;
    for (std::size_t i = 0; i < shape.rank(); ++i) n.push_back(shape[i]);
    return n;
  }
  /// Ours are [KH, KW, I, O] and [I, O], torch's the other way round.
  static at::Tensor as_torch(const at::Tensor& w) { return w.dim() == 4 ? w.permute({3, 2, 0, 1}) : w.dim() == 2 ? w.t() : w; }

 private:
  at::Tensor convolve(const std::string& name, const at::Tensor& x, int stride, int padding) {
    return at::conv2d(x, w_.at(name + ".w"), {}, stride, padding);
  }
  at::Tensor norm(const std::string& name, const at::Tensor& x) {
    const auto channels = x.size(1);
    return at::group_norm(x, std::min<std::int64_t>((channels + 1) / 2, 32), w_.at(name + ".gamma"), w_.at(name + ".beta"));
  }
  at::Tensor encoder(const std::string& name, at::Tensor x) {
    x = x.contiguous(format_);
    for (int i = 1; i <= 6; ++i) {
      const std::string block = name + ".block" + std::to_string(i);
      at::Tensor half = norm(block + ".norm1", convolve(block + ".conv1", x, 2, 1));
      at::elu_(half);
      const at::Tensor inner = norm(block + ".norm2", convolve(block + ".conv2", half, 1, 1));
      at::Tensor y = inner + norm(block + ".shortcut.norm", convolve(block + ".shortcut.conv", x, 2, 0));
      x = at::elu_(y);
    }
    return linear(name + ".dense", x.flatten(1));
  }
  at::Tensor linear(const std::string& name, const at::Tensor& x) {
    return at::linear(x, w_.at(name + ".w"), w_.at(name + ".b"));
  }
  at::Tensor dense(const std::string& name, at::Tensor x, int layers) {
    for (int i = 1; i <= layers; ++i) {
      x = linear(name + ".dense" + std::to_string(i), x);
      if (i < layers) at::elu_(x);
    }
    return x;
  }
  std::tuple<at::Tensor, at::Tensor> lstm(const std::string& name, const at::Tensor& x, const at::Tensor& h,
                                          const at::Tensor& c) {
    return at::lstm_cell(x, {h, c}, w_.at(name + ".w_x"), w_.at(name + ".w_h"), w_.at(name + ".b_x"), w_.at(name + ".b_h"));
  }

  at::MemoryFormat format_;
  Index batch_;
  std::map<std::string, at::Tensor> w_;
  at::Tensor proxies_, images_, labels_, noise_;
  std::unique_ptr<torch::optim::Adam> optimizer_;
};

void expect_close(const char* what, double difference, double tolerance) {
  if (difference <= tolerance) return;
  std::fprintf(stderr, "saccader: %s: the sides differ by %g\n", what, difference);
  std::exit(1);
}

/// The largest difference, relative to the largest element.
double difference(const at::Tensor& theirs, const at::Tensor& ours) {
  return ((theirs - ours).abs().max() / ours.abs().max()).item<double>();
}

const glimpse::Bilinear kBilinear{glimpse::Aspect::stretch, fovea::kernel::Padding::zeros, false};

/// Torch computes coordinates in float, which at 2528 pixels moves a sample by 1e-4 pixels; group norms of two channels, where
/// they are nearly equal, make more of it.
constexpr double kFloatCoordinates = 1e-3;

void check_inference(Ours<glimpse::Bilinear>& ours, Twin& twin) {
  const at::Tensor logits = torch::from_blob(const_cast<float*>(ours.infer()), {ours.data.batch(), 55});
  expect_close("logits", difference(twin.infer(), logits), kFloatCoordinates);
}

void check_training(OursTraining<glimpse::Bilinear>& ours, Twin& twin) {
  fovea::Arena arena;
  fovea::Inference<float> context(arena, ours.parameters.values());
  const Index batch = ours.data.batch();
  const auto path = ours.forward(context, 0, batch, looking(true, 0, 0));
  double kl = 0;
  double proxy = 0;
  for (const auto& step : path.steps) {
    for (Index b = 0; b < batch; ++b) kl += static_cast<double>(step.kl.value[b]);
    for (Index b = 0; b < batch; ++b) proxy += static_cast<double>(step.proxy_log_likelihood.value[b]);
  }
  const Twin::Pass pass = twin.forward(true);
  const at::Tensor logits = torch::from_blob(path.logits().value, {batch, 55});
  expect_close("logits in training", difference(pass.logits, logits), kFloatCoordinates);
  expect_close("KL", std::abs(pass.kl.sum().item<double>() / kl - 1), 1e-5);
  expect_close("log-likelihood of the proxy", std::abs(pass.proxy.item<double>() / proxy - 1), 1e-5);
  const double loss = ours.step(0);
  expect_close("loss", std::abs(twin.gradients() / loss - 1), 1e-5);
  for (const auto& entry : ours.parameters.layout().entries()) {
    const float* g = ours.trainer.gradient().data() + entry.parameter.offset;
    const at::Tensor gradient = Twin::as_torch(torch::from_blob(const_cast<float*>(g), Twin::sizes(entry.parameter.shape)));
    // Coordinates are computed in float on their side: what comes through the glimpses differs where a point changes pixel.
    expect_close(entry.name.c_str(), difference(twin.weight(entry.name).grad(), gradient), 2e-2);
  }
}

template <class Sampler>
peers::Case inference(Index batch, const Sampler& sampler) {
  at::set_num_threads(1);
  const auto data = std::make_shared<Data>(batch);
  const auto ours = std::make_shared<Ours<Sampler>>(*data, sampler);
  const auto nchw = std::make_shared<Twin>(*data, ours->parameters, false);
  const auto nhwc = std::make_shared<Twin>(*data, ours->parameters, true);
  Ours<glimpse::Bilinear> bilinear(*data, kBilinear);
  check_inference(bilinear, *nchw);
  check_inference(bilinear, *nhwc);
  return {1,
          {"fovea", [data, ours] { ours->infer(); }},
          {{"torch nchw", [nchw] { nchw->infer(); }}, {"torch channels_last", [nhwc] { nhwc->infer(); }}}};
}

template <class Sampler>
peers::Case training(int threads, const Sampler& sampler) {
  at::set_num_threads(threads);
  const auto data = std::make_shared<Data>(32);
  const auto ours = std::make_shared<OursTraining<Sampler>>(*data, sampler, threads);
  const auto nchw = std::make_shared<Twin>(*data, ours->parameters, false);
  const auto nhwc = std::make_shared<Twin>(*data, ours->parameters, true);
  {
    OursTraining<glimpse::Bilinear> bilinear(*data, kBilinear, threads);
    check_training(bilinear, *nchw);
    check_training(bilinear, *nhwc);
  }
  return {threads,
          {"fovea", [data, ours] { ours->step(kRate); }},
          {{"torch nchw", [nchw] { nchw->step(); }}, {"torch channels_last", [nhwc] { nhwc->step(); }}}};
}

}  // namespace

int main(int argc, char** argv) {
  const glimpse::Antialiased antialiased;
  std::vector<peers::MakeCase> cases;
  for (const Index batch : {1, 32}) {
    const std::string name = "reference saccader inference batch " + std::to_string(batch);
    cases.push_back({name + " bilinear", [=] { return inference(batch, kBilinear); }});
    cases.push_back({name + " anti-aliased", [=] { return inference(batch, antialiased); }});
  }
  const std::string name = "reference saccader training step batch 32";
  for (const int threads : {1, 2}) cases.push_back({name + " bilinear", [=] { return training(threads, kBilinear); }});
  cases.push_back({name + " anti-aliased", [=] { return training(1, antialiased); }});
  return peers::run(argc, argv, cases);
}
