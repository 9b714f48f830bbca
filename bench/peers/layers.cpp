// SPDX-License-Identifier: MIT
// needs: torch
// What lies between the products, beside libtorch: group normalisation with its activation, forward and backward, and a step
// of Adam.
#include "peers.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/norm.hpp>
#include <fovea/train/adam.hpp>

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

namespace {

using fovea::Index;
using fovea::Shape;
using fovea::Tensor;

enum class Activation { relu, elu };

[[noreturn]] void differ(const std::string& name, double difference) {
  std::fprintf(stderr, "%s: the sides differ by %g\n", name.c_str(), difference);
  std::exit(1);
}
double difference(const torch::Tensor& ours, const torch::Tensor& theirs) {
  return (ours - theirs).abs().max().item<double>() / theirs.abs().max().item<double>();
}

constexpr Index kGroups = 8;
constexpr double kEpsilon = 1e-5;

/// The kernels themselves: on a tape the gradient that comes in would first be copied to where it is expected, which torch need
/// not do. Ours adds to what is in d_x, so zeroing that counts.
struct Norm {
  Shape shape;  ///< NHWC
  Activation activation;
  fovea::Extents<3> extents;
  Tensor<float, 3> x, d_y, y, d_x;
  Tensor<float, 1> gamma, beta, d_gamma, d_beta;
  Tensor<float, 2> mean, rstd;

  torch::Tensor their_gamma, their_beta, theirs;
  std::vector<torch::Tensor> theirs_d;

  Norm(const Shape& s, Activation a)
      : shape(s),
        activation(a),
        extents{s[0], s[1] * s[2], s[3]},
        x(extents),
        d_y(extents),
        y(extents),
        d_x(extents),
        gamma({s[3]}),
        beta({s[3]}),
        d_gamma({s[3]}),
        d_beta({s[3]}),
        mean({s[0], kGroups}),
        rstd({s[0], kGroups}) {
    fovea::Stream stream(1, 0, 0, fovea::Purpose::user);
    for (float& e : x) e = stream.normal<float>();
    for (float& e : d_y) e = stream.uniform(-1.0F, 1.0F);
    for (float& e : gamma) e = stream.uniform(0.5F, 1.5F);
    for (float& e : beta) e = stream.uniform(-0.5F, 0.5F);
    their_gamma = torch::from_blob(gamma.data(), {s[3]}).clone().requires_grad_();
    their_beta = torch::from_blob(beta.data(), {s[3]}).clone().requires_grad_();
  }
  /// Our array as torch's N, C, H, W with the channels last.
  [[nodiscard]] torch::Tensor nhwc(float* p) const {
    return torch::from_blob(p, {shape[0], shape[1], shape[2], shape[3]}).permute({0, 3, 1, 2});
  }
  template <class F>
  void passes(F f) {
    fovea::kernel::group_norm<float>(x, gamma, beta, kEpsilon, y, mean, rstd, f);
    for (auto* t : {&d_gamma, &d_beta}) std::fill(t->begin(), t->end(), 0.0F);
    fovea::kernel::group_norm_backward<float>(d_y, x, y, gamma, beta, mean, rstd, d_x, d_gamma, d_beta, f, false);
  }
  void fovea_side() {
    if (activation == Activation::relu) {
      passes(fovea::kernel::Relu{});
    } else {
      passes(fovea::kernel::Elu{});
    }
  }
  void torch_side(const torch::Tensor& input, const torch::Tensor& d) {
    const auto normed = torch::group_norm(input, kGroups, their_gamma, their_beta, kEpsilon);
    theirs = activation == Activation::relu ? torch::relu(normed) : torch::elu(normed);
    theirs_d = torch::autograd::grad({theirs}, {input, their_gamma, their_beta}, {d});
  }
  [[nodiscard]] double difference() {
    const auto row = [&](Tensor<float, 1>& t) { return torch::from_blob(t.data(), {shape[3]}); };
    return std::max({::difference(nhwc(y.data()), theirs), ::difference(nhwc(d_x.data()), theirs_d[0]),
                     ::difference(row(d_gamma), theirs_d[1]), ::difference(row(d_beta), theirs_d[2])});
  }
};

peers::Case make_norm(const std::string& name, const Shape& s, Activation activation) {
  const auto work = std::make_shared<Norm>(s, activation);
  std::vector<peers::Side> others;
  work->fovea_side();
  for (const bool last : {false, true}) {
    const auto format = last ? torch::MemoryFormat::ChannelsLast : torch::MemoryFormat::Contiguous;
    const auto x = work->nhwc(work->x.data()).contiguous(format).clone().requires_grad_();
    const auto d = work->nhwc(work->d_y.data()).contiguous(format).clone();
    const auto run = [=] { work->torch_side(x, d); };
    run();
    if (const double by = work->difference(); !(by < 1e-4)) differ(name, by);
    others.push_back({last ? "torch channels_last" : "torch nchw", run});
  }
  return {1, {"fovea", [=] { work->fovea_side(); }}, others};
}

/// Seven million parameters: as one tensor, and as those of a ResNet-like stack of 3x3 convolutions.
struct AdamWork {
  Tensor<float, 1> values, gradients;
  fovea::train::Adam<float> ours;
  std::vector<torch::Tensor> theirs;
  std::unique_ptr<torch::optim::Adam> adam;

  AdamWork(const std::vector<Index>& sizes, Index total) : values({total}), gradients({total}), ours(total) {
    fovea::Stream stream(1, 0, 0, fovea::Purpose::user);
    for (float& e : values) e = stream.uniform(-1.0F, 1.0F);
    for (float& e : gradients) e = stream.uniform(-1.0F, 1.0F);
    Index at = 0;
    for (const Index n : sizes) {
      theirs.push_back(torch::from_blob(values.data() + at, {n}).clone().requires_grad_());
      theirs.back().mutable_grad() = torch::from_blob(gradients.data() + at, {n}).clone();
      at += n;
    }
    adam = std::make_unique<torch::optim::Adam>(theirs, torch::optim::AdamOptions(1e-3));
  }
};

std::vector<Index> adam_sizes(bool layers) {
  std::vector<Index> sizes;
  if (layers) {
    Index channels = 1;
    for (const Index next : {32, 64, 64, 128, 128, 256, 256, 512, 512}) {
      sizes.insert(sizes.end(), {9 * channels * next, next, next});
      channels = next;
    }
    sizes.insert(sizes.end(), {512 * 3072, 3072, 3072 * 128, 128});
  } else {
    sizes = {7'000'000};
  }
  return sizes;
}

peers::Case make_adam(const std::string& name, const std::vector<Index>& sizes) {
  const Index total = std::accumulate(sizes.begin(), sizes.end(), Index{0});
  const auto work = std::make_shared<AdamWork>(sizes, total);
  const auto ours = [=] { work->ours.step(work->values.view(), work->gradients.view(), 1e-3); };
  const auto theirs = [=] { work->adam->step(); };
  for (int i = 0; i < 2; ++i) {
    ours();
    theirs();
  }
  Index at = 0;
  for (const torch::Tensor& t : work->theirs) {
    const double by = difference(torch::from_blob(work->values.data() + at, {t.numel()}), t.detach());
    if (!(by < 1e-6)) differ(name, by);
    at += t.numel();
  }
  return {1, {"fovea", ours}, {{"torch", theirs}}};
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(1);
  std::vector<peers::MakeCase> cases;
  for (const Activation activation : {Activation::relu, Activation::elu}) {
    for (const Shape& s :
         {Shape{32, 32, 32, 64}, Shape{32, 8, 8, 256}, Shape{1, 64, 64, 32}, Shape{1, 8, 8, 128}, Shape{32, 1, 1, 256}}) {
      std::string name = std::string("group norm + ") + (activation == Activation::relu ? "ReLU" : "ELU");
      for (std::size_t i = 0; i < 4; ++i) name.append(i == 0 ? " " : "x").append(std::to_string(s[i]));
      cases.push_back({name, [=] { return make_norm(name, s, activation); }});
    }
  }
  for (const bool layers : {false, true}) {
    const std::vector<Index> sizes = adam_sizes(layers);
    const std::string name = "Adam step " + std::to_string(std::accumulate(sizes.begin(), sizes.end(), Index{0})) +
                             " parameters in " + std::to_string(sizes.size()) + (layers ? " tensors" : " tensor");
    cases.push_back({name, [=] { return make_adam(name, sizes); }});
  }
  return peers::run(argc, argv, cases);
}
