// SPDX-License-Identifier: MIT
// needs: json
// Layers as PyTorch has them, written down in the plainest way with its shapes and names, against ours with the same weights
// brought in.
#include "support/compare.hpp"
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/interop/pytorch.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/group_norm.hpp>
#include <fovea/nn/recurrent.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::relative_error;
using fovea_test::TemporaryFolder;
namespace pytorch = interop::pytorch;
using pytorch::NameMapping;
using Doubles = std::vector<double>;

namespace {

/// A state_dict.
class StateDict {
 public:
  const Doubles& add(const std::string& name, const Shape& shape) {
    Stream stream(3, 0, tensors_.size(), Purpose::test);
    Doubles values(static_cast<std::size_t>(shape.size()));
    for (double& v : values) v = stream.uniform(-1.0, 1.0);
    return add(name, shape, values);
  }
  const Doubles& add(const std::string& name, const Shape& shape, const Doubles& values) {
    return tensors_.insert_or_assign(name, std::pair(shape, values)).first->second.second;
  }
  void remove(const std::string& name) { REQUIRE(tensors_.erase(name) == 1); }
  [[nodiscard]] const Doubles& operator[](const std::string& name) const { return tensors_.at(name).second; }
  [[nodiscard]] const std::map<std::string, std::pair<Shape, Doubles>>& tensors() const { return tensors_; }

  [[nodiscard]] train::SafetensorsFile file() const {
    train::SafetensorsWriter writer;
    for (const auto& [name, tensor] : tensors_) writer.add(name, tensor.first, tensor.second.data());
    writer.metadata("format", "pt");
    const TemporaryFolder folder;  // what is mapped stays when its name goes
    writer.save(folder.path / "model.safetensors");
    return train::SafetensorsFile(folder.path / "model.safetensors");
  }

 private:
  std::map<std::string, std::pair<Shape, Doubles>> tensors_;
};

Var<double> constant(Inference<double>& context, const Shape& shape, const Doubles& values) {
  const Var<double> x = context.constant(shape);
  REQUIRE(values.size() == static_cast<std::size_t>(shape.size()));
  std::copy(values.begin(), values.end(), x.value);
  return x;
}
Doubles values_of(const Var<double>& x) { return Doubles(x.value, x.value + x.size()); }

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// torch.nn.functional.linear: y[b, o] = sum_i x[b, i] w[o, i] + bias[o].
Doubles linear(const Doubles& x, const Doubles& w, const Doubles& bias) {
  const std::size_t outputs = bias.size();
  const std::size_t inputs = w.size() / outputs;
  const std::size_t samples = x.size() / inputs;
  Doubles y(samples * outputs);
  for (std::size_t b = 0; b < samples; ++b) {
    for (std::size_t o = 0; o < outputs; ++o) {
      y[b * outputs + o] = bias[o];
      for (std::size_t i = 0; i < inputs; ++i) y[b * outputs + o] += x[b * inputs + i] * w[o * inputs + i];
    }
  }
  return y;
}

std::string content(const Parameters<double>& p) {
  return {reinterpret_cast<const char*>(p.values().data()), static_cast<std::size_t>(p.values().size()) * sizeof(double)};
}

}  // namespace

TEST_CASE("pytorch: convolution, group norm, flatten, linear") {
  constexpr std::size_t N = 2, I = 3, O = 4, H = 5, W = 6, KH = 3, KW = 2, OH = H - KH + 1, OW = W - KW + 1, G = 2, F = 7;
  StateDict dict;
  const Doubles w = dict.add("net.0.weight", {O, I, KH, KW});
  const Doubles b = dict.add("net.0.bias", {O});
  const Doubles gamma = dict.add("net.1.weight", {O});
  const Doubles beta = dict.add("net.1.bias", {O});
  const Doubles v = dict.add("net.4.weight", {F, O * OH * OW});
  const Doubles c = dict.add("net.4.bias", {F});
  Stream stream(4, 0, 0, Purpose::test);
  Doubles x(N * I * H * W);  // NCHW
  for (double& e : x) e = stream.normal<double>();

  Doubles y(N * O * OH * OW);
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t o = 0; o < O; ++o) {
      for (std::size_t h = 0; h < OH; ++h) {
        for (std::size_t l = 0; l < OW; ++l) {
          double& sum = y[((n * O + o) * OH + h) * OW + l] = b[o];
          for (std::size_t i = 0; i < I; ++i) {
            for (std::size_t p = 0; p < KH; ++p) {
              for (std::size_t q = 0; q < KW; ++q) {
                sum += x[((n * I + i) * H + h + p) * W + l + q] * w[((o * I + i) * KH + p) * KW + q];
              }
            }
          }
        }
      }
    }
    for (std::size_t g = 0; g < G; ++g) {
      constexpr std::size_t size = O / G * OH * OW;
      double* group = y.data() + (n * G + g) * size;
      double mean = 0;
      for (std::size_t k = 0; k < size; ++k) mean += group[k] / size;
      double variance = 0;
      for (std::size_t k = 0; k < size; ++k) variance += (group[k] - mean) * (group[k] - mean) / size;
      for (std::size_t k = 0; k < size; ++k) {
        const std::size_t channel = g * (O / G) + k / (OH * OW);
        group[k] = (group[k] - mean) / std::sqrt(variance + 1e-5) * gamma[channel] + beta[channel];
      }
    }
  }
  const Doubles expected = linear(y, v, c);

  ParameterLayout layout;
  const nn::Conv2d conv(layout, "conv", I, O, Extents<2>{KH, KW}, {1, 1, 0, 0});
  const nn::GroupNorm norm(layout, "norm", O, G);
  const nn::Dense dense(layout, "dense", O * OH * OW, F);
  Parameters<double> weights(layout, 1);
  const auto names = pytorch::join({pytorch::convolution("conv", "net.0"), pytorch::group_norm("norm", "net.1"),
                                    pytorch::dense_after_flatten("dense", "net.4", O)});
  interop::import_pytorch(dict.file(), weights, names);
  Arena arena;
  Inference<double> context(arena, weights.values());
  Doubles ours(x.size());  // NHWC
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t i = 0; i < I; ++i) {
      for (std::size_t k = 0; k < H * W; ++k) ours[(n * H * W + k) * I + i] = x[(n * I + i) * H * W + k];
    }
  }
  const auto map = norm(context, conv(context, constant(context, {N, H, W, I}, ours)));
  const auto got = dense(context, map.reshape({N, O * OH * OW}));
  CHECK(relative_error(values_of(got), expected) < 1e-12);

  // The same in float, as models are.
  Parameters<float> narrow(layout, 2);
  interop::import_pytorch(dict.file(), narrow, names);
  CHECK(narrow.at("conv.w")[5] == static_cast<float>(weights.at("conv.w")[5]));
}

TEST_CASE("pytorch: two layers of torch.nn.LSTM, and a torch.nn.GRUCell") {
  constexpr Index I = 4;
  constexpr std::size_t B = 3, H = 5, T = 3;
  StateDict dict;
  for (const Index layer : {0, 1}) {
    const std::string l = "_l" + std::to_string(layer);
    dict.add("rnn.weight_ih" + l, {4 * H, layer == 0 ? I : Index{H}});
    dict.add("rnn.weight_hh" + l, {4 * H, H});
    dict.add("rnn.bias_ih" + l, {4 * H});
    dict.add("rnn.bias_hh" + l, {4 * H});
  }
  dict.add("gru.weight_ih", {3 * H, H});
  dict.add("gru.weight_hh", {3 * H, H});
  dict.add("gru.bias_ih", {3 * H});
  dict.add("gru.bias_hh", {3 * H});
  Stream stream(5, 0, 0, Purpose::test);
  Doubles x(B * I);
  for (double& e : x) e = stream.normal<double>();

  ParameterLayout layout;
  const nn::LstmCell lower(layout, "lower", I, H);
  const nn::LstmCell upper(layout, "upper", H, H);
  const nn::GruCell gru(layout, "gru", H, H);
  Parameters<double> weights(layout, 1);
  interop::import_pytorch(dict.file(), weights,
                          pytorch::join({pytorch::recurrent("lower", "rnn", "_l0"), pytorch::recurrent("upper", "rnn", "_l1"),
                                         pytorch::recurrent("gru", "gru")}));
  Arena arena;
  Inference<double> context(arena, weights.values());
  auto state0 = lower.initial_state(context, B);
  auto state1 = upper.initial_state(context, B);
  auto state2 = gru.initial_state(context, B);
  Doubles h0(B * H), c0(B * H), h1(B * H), c1(B * H), h2(B * H);
  const auto lstm = [&](const std::string& l, const Doubles& in, Doubles& h, Doubles& c) {
    const Doubles gx = linear(in, dict["rnn.weight_ih" + l], dict["rnn.bias_ih" + l]);
    const Doubles gh = linear(h, dict["rnn.weight_hh" + l], dict["rnn.bias_hh" + l]);
    for (std::size_t b = 0; b < B; ++b) {
      for (std::size_t k = 0; k < H; ++k) {
        const auto gate = [&](std::size_t g) { return gx[(b * 4 + g) * H + k] + gh[(b * 4 + g) * H + k]; };
        double& memory = c[b * H + k];
        memory = sigmoid(gate(1)) * memory + sigmoid(gate(0)) * std::tanh(gate(2));
        h[b * H + k] = sigmoid(gate(3)) * std::tanh(memory);
      }
    }
  };
  for (std::size_t t = 0; t < T; ++t) {
    lstm("_l0", x, h0, c0);
    lstm("_l1", h0, h1, c1);
    const Doubles gx = linear(h1, dict["gru.weight_ih"], dict["gru.bias_ih"]);
    const Doubles gh = linear(h2, dict["gru.weight_hh"], dict["gru.bias_hh"]);
    for (std::size_t b = 0; b < B; ++b) {
      for (std::size_t k = 0; k < H; ++k) {
        const auto at = [&](std::size_t g) { return (b * 3 + g) * H + k; };
        const double r = sigmoid(gx[at(0)] + gh[at(0)]);
        const double z = sigmoid(gx[at(1)] + gh[at(1)]);
        const double n = std::tanh(gx[at(2)] + r * gh[at(2)]);
        h2[b * H + k] = (1 - z) * n + z * h2[b * H + k];
      }
    }
    state0 = lower(context, constant(context, {B, I}, x), state0);
    state1 = upper(context, state0.h, state1);
    state2 = gru(context, state1.h, state2);
  }
  CHECK(relative_error(values_of(state1.h), h1) < 1e-12);
  CHECK(relative_error(values_of(state1.c), c1) < 1e-12);
  CHECK(relative_error(values_of(state2), h2) < 1e-12);
}

TEST_CASE("pytorch: what a rule can say") {
  StateDict dict;
  dict.add("a1", {4}, {1, 2, 3, 4});
  dict.add("a2", {4}, {10, 20, 30, 40});
  dict.add("gates", {4, 1}, {0, 1, 2, 3});
  dict.add("packed", {6, 2}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  dict.add("pixels", {2, 6}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  dict.add("point", {2, 3, 1, 1}, {1, 2, 3, 4, 5, 6});
  dict.add("scalar", {}, {7});
  ParameterLayout layout;
  for (const auto& [name, shape] : std::vector<std::pair<std::string, Shape>>{{"sum", {4}},
                                                                              {"reordered", {4}},
                                                                              {"middle", {2, 2}},
                                                                              {"columns", {2, 6}},
                                                                              {"turned", {6, 2}},
                                                                              {"dense.w", {3, 2}},
                                                                              {"scalar", {}}}) {
    layout.add(name, shape, Initialiser::constant(-1));
  }
  Parameters<double> weights(layout);
  const std::vector<NameMapping> names{
      {"sum", {"a1", "a2"}, {}},
      {"reordered", {"gates"}, {.axes = {0}, .parts = 4, .order = {0, 1, 3, 2}}},
      {"middle", {"packed"}, {.parts = 3, .order = {1}}},
      {"columns", {"pixels"}, {.axis = 1, .parts = 3, .order = {0, 1, 2}, .interleaved = true}},
      {"turned", {"pixels"}, pytorch::flattened({.axes = {1, 0}}, 1, 2)},
      {"dense.w", {"point"}, {.axes = {1, 0}}},
      {"scalar", {"scalar"}, {}},
  };
  interop::import_pytorch(dict.file(), weights, names);
  const auto at = [&](std::string_view name) {
    const auto view = weights.at(name);
    return Doubles(view.data(), view.data() + view.size());
  };
  CHECK(at("sum") == Doubles{11, 22, 33, 44});
  CHECK(at("reordered") == Doubles{0, 1, 3, 2});
  CHECK(at("middle") == Doubles{4, 5, 6, 7});
  CHECK(at("columns") == Doubles{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11});
  CHECK(at("turned") == Doubles{0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11});
  CHECK(at("dense.w") == Doubles{1, 4, 2, 5, 3, 6});
  CHECK(at("scalar") == Doubles{7});

  std::vector<std::string_view> stars;
  CHECK(pytorch::detail::fits("a*.b*", "a1.b22", stars));
  CHECK(stars == std::vector<std::string_view>{"1", "22"});
  CHECK(pytorch::detail::filled("x.*.y.*", stars) == "x.1.y.22");
  stars.clear();
  CHECK_FALSE(pytorch::detail::fits("a*.b", "a.b", stars));  // a * stands for something
  CHECK_FALSE(pytorch::detail::fits("a*.b", "a1.bc", stars));
  CHECK_FALSE(pytorch::detail::fits("a", "ab", stars));
  CHECK(stars.empty());
  CHECK(pytorch::detail::fits("*.w", "a.w.w", stars));
  CHECK(stars == std::vector<std::string_view>{"a.w"});
  CHECK_THROWS_AS((void)pytorch::detail::filled("x.*.*", stars), Error);
  CHECK_THROWS_AS((void)pytorch::dense_after_flatten("a", "b", 0), Error);
}

TEST_CASE("pytorch: what does not fit is named on both sides, and nothing changes") {
  ParameterLayout layout;
  const nn::Dense dense(layout, "head", 3, 2);
  const Parameters<double> before(layout, 1);
  Parameters<double> weights = before;
  const auto names = pytorch::dense("head", "fc");
  StateDict dict;
  dict.add("fc.weight", {2, 3});
  dict.add("fc.bias", {2});
  const auto refused = [&](const StateDict& tensors, const std::vector<NameMapping>& mappings) {
    const std::string message = message_of([&] { interop::import_pytorch(tensors.file(), weights, mappings); });
    CHECK(content(weights) == content(before));
    return message.substr(message.find("model.safetensors") == std::string::npos ? 0 : message.find("model.safetensors"));
  };
  StateDict missing = dict;
  missing.remove("fc.bias");
  CHECK(refused(missing, names) == "model.safetensors: a tensor \"fc.bias\" expected for parameter \"head.b\", there is none");
  StateDict more = dict;
  more.add("fc.extra", {1});
  CHECK(refused(more, names) == "model.safetensors: tensor \"fc.extra\" fits no parameter");
  StateDict turned = dict;
  turned.add("fc.weight", {3, 2});
  CHECK(refused(turned, names) ==
        "model.safetensors: tensor \"fc.weight\" for parameter \"head.w\": a shape that becomes [3x2] expected, [3x2] came");
  StateDict flat = dict;
  flat.add("fc.weight", {6});
  CHECK(refused(flat, names).ends_with("[6] came"));
  StateDict deep = dict;
  deep.add("fc.weight", {2, 3, 1, 2});
  CHECK(refused(deep, names).ends_with("[2x3x1x2] came"));
  CHECK(refused(dict, {names[0]}) == "pytorch: parameter \"head.b\": a mapping expected, there is none");
  CHECK(refused(dict, {names[0], names[1], {"*.b", {"fc.bias"}, {}}}) ==
        "pytorch: parameter \"head.b\": one mapping expected, \"head.b\" and \"*.b\" fit");
  CHECK(refused(dict, {names[0], {"head.b", {"fc.*"}, {}}}) ==
        "pytorch: \"fc.*\": 0 * expected, as there are in the name of ours");
  for (const pytorch::Rule& rule : std::vector<pytorch::Rule>{{.axes = {1, 1}},
                                                              {.axes = {0, 2}},
                                                              {.axes = {1, 0}, .axis = 2, .parts = 2, .order = {0, 1}},
                                                              {.axes = {1, 0}, .axis = 0, .parts = 0, .order = {0}},
                                                              {.axes = {1, 0}, .axis = 0, .parts = 2, .order = {0, 2}},
                                                              {.axes = {1, 0}, .axis = 0, .parts = 2, .order = {0, -1}},
                                                              {.axes = {1, 0}, .axis = 1, .parts = 2, .order = {0, 1}},
                                                              {.axes = {1, 0}, .axis = 0, .parts = 2, .order = {0}}}) {
    CHECK(refused(dict, {{"head.w", {"fc.weight"}, rule}, names[1]}).find("a shape that becomes [3x2]") != std::string::npos);
  }
  // Integers are no weights.
  const TemporaryFolder folder;
  const std::vector<std::int32_t> whole(6);
  train::SafetensorsWriter writer;
  writer.add("fc.weight", {2, 3}, whole.data());
  writer.save(folder.path / "i");
  CHECK(message_of([&] {
          interop::import_pytorch(train::SafetensorsFile(folder.path / "i"), weights, names);
        }).ends_with("elements of F64 expected, I32 came"));
  CHECK(content(weights) == content(before));

  // What is named as unused may be there.
  interop::import_pytorch(more.file(), weights, names, {"fc.ex*"});
  CHECK(weights.at("head.b")[1] == dict["fc.bias"][1]);
}

namespace {

/// The state_dict of the published code, module by module in the order in which it makes them.
class PublishedStateDict {
 public:
  explicit PublishedStateDict(const model::ReferenceOptions& o) : f_(o.filters), latent_(o.latent), channels_(o.channels) {
    encoder("vae.phi_x.0");
    dense("vae.phi_z.0", 3, 1, latent_);
    dense("vae.prior", latent_, 1, 6);
    dense("vae.decoder", 2 * latent_, 2, o.channels * o.proxy[0] * o.proxy[1]);
    dense("vae.encoder", 2 * latent_, 1, 6);
    for (const Index layer : {0, 1}) {
      const std::string l = "_l" + std::to_string(layer);
      add("vae.rnn.weight_ih" + l, {4 * latent_, layer == 0 ? 2 * latent_ : latent_});
      add("vae.rnn.weight_hh" + l, {4 * latent_, latent_});
      add("vae.rnn.bias_ih" + l, {4 * latent_});
      add("vae.rnn.bias_hh" + l, {4 * latent_});
    }
    encoder("latent_projector.conv");
    dense("latent_projector.state_proj.0", 2 * latent_, 1, latent_ + 1);
    dense("latent_projector.out_proj", latent_, 1, o.classes);
  }
  StateDict dict;
  Index count = 0;

 private:
  /// Every element of all of them is another number.
  void add(const std::string& name, const Shape& shape) {
    Doubles values(static_cast<std::size_t>(shape.size()));
    for (double& v : values) v = static_cast<double>(++count);
    dict.add(name, shape, values);
  }
  void norm(const std::string& name, Index channels) {
    add(name + ".weight", {channels});
    add(name + ".bias", {channels});
  }
  void encoder(const std::string& name) {
    Index inputs = channels_;
    Index number = 1;  // 0 is the nn.Upsample
    for (const Index outputs : {f_, 2 * f_, 4 * f_, 2 * f_, f_, latent_}) {
      const std::string block = name + "." + std::to_string(number++);
      add(block + ".conv1.0.weight", {outputs, inputs, 3, 3});
      norm(block + ".conv1.1", outputs);
      add(block + ".conv2.0.weight", {outputs, outputs, 3, 3});
      norm(block + ".conv2.1", outputs);
      add(block + ".downsample.0.weight", {outputs, inputs, 1, 1});
      norm(block + ".downsample.1", outputs);
      inputs = outputs;
    }
    add(name + ".7.weight", {latent_, latent_, 1, 1});
    add(name + ".7.bias", {latent_});
  }
  void dense(const std::string& name, Index inputs, Index hidden, Index outputs) {
    for (Index i = 0; i < hidden; ++i) {
      add(name + ".l" + std::to_string(i) + ".0.weight", {latent_, i == 0 ? inputs : latent_});
      add(name + ".l" + std::to_string(i) + ".0.bias", {latent_});
    }
    add(name + ".output.weight", {outputs, latent_});
    add(name + ".output.bias", {outputs});
  }

  Index f_;
  Index latent_;
  Index channels_;
};

}  // namespace

TEST_CASE("pytorch: the published code's state_dict fills the reference model, each element one parameter") {
  model::ReferenceOptions o;
  o.classes = 5;
  o.channels = 3;
  o.proxy = {3, 4};
  o.glimpse = {16, 16};
  o.latent = 16;
  o.filters = 4;
  const PublishedStateDict theirs(o);
  const auto saccader = model::Saccader::reference(o);
  Parameters<double> weights(saccader.layout(), 1);
  interop::import_pytorch(theirs.dict.file(), weights, pytorch::reference_mapping(o.channels));
  CHECK(model::Saccader::published(o).layout().count() == theirs.count);

  Doubles all;
  weights.visit(
      [&](const std::string&, const Shape&, View<double, 1> e) { all.insert(all.end(), e.data(), e.data() + e.size()); });
  std::sort(all.begin(), all.end());
  bool each_once = all.size() == static_cast<std::size_t>(theirs.count);
  for (std::size_t i = 0; each_once && i < all.size(); ++i) each_once = all[i] == static_cast<double>(i + 1);
  CHECK(each_once);

  // Which is which, in full.
  const auto ours = [&](const std::string& name, Index i) { return weights.at(name)[i]; };
  const auto from = [&](const std::string& name, Index i) { return theirs.dict[name][static_cast<std::size_t>(i)]; };
  const auto same = [&](const std::string& name, const std::string& other) {
    for (Index i = 0; i < weights.at(name).size(); ++i) REQUIRE(ours(name, i) == from(other, i));
  };
  const auto turned = [&](const std::string& name, const std::string& other, Index inputs, Index outputs) {
    for (Index i = 0; i < inputs; ++i) {
      for (Index k = 0; k < outputs; ++k) REQUIRE(ours(name, i * outputs + k) == from(other, k * inputs + i));
    }
  };
  const auto kernel = [&](const std::string& name, const std::string& other, Index inputs, Index outputs, Index pixels) {
    for (Index p = 0; p < pixels; ++p) {
      for (Index i = 0; i < inputs; ++i) {
        for (Index k = 0; k < outputs; ++k) {
          REQUIRE(ours(name, (p * inputs + i) * outputs + k) == from(other, (k * inputs + i) * pixels + p));
        }
      }
    }
  };
  for (const auto& [network, module] :
       {std::pair<std::string, std::string>{"proxy_network", "vae.phi_x.0"}, {"glimpse_network", "latent_projector.conv"}}) {
    Index inputs = 3;
    for (int block = 1; block <= 6; ++block) {
      const Index outputs = std::vector<Index>{4, 8, 16, 8, 4, 16}[static_cast<std::size_t>(block - 1)];
      const std::string a = network + ".block" + std::to_string(block);
      const std::string b = module + "." + std::to_string(block);
      kernel(a + ".conv1.w", b + ".conv1.0.weight", inputs, outputs, 9);
      same(a + ".norm1.gamma", b + ".conv1.1.weight");
      same(a + ".norm1.beta", b + ".conv1.1.bias");
      kernel(a + ".conv2.w", b + ".conv2.0.weight", outputs, outputs, 9);
      same(a + ".norm2.gamma", b + ".conv2.1.weight");
      same(a + ".norm2.beta", b + ".conv2.1.bias");
      kernel(a + ".shortcut.conv.w", b + ".downsample.0.weight", inputs, outputs, 1);
      same(a + ".shortcut.norm.gamma", b + ".downsample.1.weight");
      same(a + ".shortcut.norm.beta", b + ".downsample.1.bias");
      inputs = outputs;
    }
    turned(network + ".dense.w", module + ".7.weight", 16, 16);
    same(network + ".dense.b", module + ".7.bias");
  }
  const auto dense = [&](const std::string& name, const std::string& other, Index inputs, Index outputs) {
    turned(name + ".w", other + ".weight", inputs, outputs);
    same(name + ".b", other + ".bias");
  };
  dense("policy.dense1", "vae.encoder.l0.0", 32, 16);
  dense("policy.dense2", "vae.encoder.output", 16, 6);
  dense("prior.dense1", "vae.prior.l0.0", 16, 16);
  dense("prior.dense2", "vae.prior.output", 16, 6);
  dense("location_features.dense1", "vae.phi_z.0.l0.0", 3, 16);
  dense("location_features.dense2", "vae.phi_z.0.output", 16, 16);
  dense("decoder.dense1", "vae.decoder.l0.0", 32, 16);
  dense("decoder.dense2", "vae.decoder.l1.0", 16, 16);
  dense("head.step.dense2", "latent_projector.state_proj.0.output", 16, 17);
  dense("head.classes.dense1", "latent_projector.out_proj.l0.0", 16, 16);
  dense("head.classes.dense2", "latent_projector.out_proj.output", 16, 5);
  for (const auto& [name, l, inputs] :
       {std::tuple<std::string, std::string, Index>{"cell.lower", "_l0", 32}, {"cell.upper", "_l1", 16}}) {
    turned(name + ".w_x", "vae.rnn.weight_ih" + l, inputs, 64);
    turned(name + ".w_h", "vae.rnn.weight_hh" + l, 16, 64);
    same(name + ".b_x", "vae.rnn.bias_ih" + l);
    same(name + ".b_h", "vae.rnn.bias_hh" + l);
  }
  // The head reads [glimpse, h] here and [h, glimpse] there.
  same("head.step.dense1.b", "latent_projector.state_proj.0.l0.0.bias");
  for (Index i = 0; i < 32; ++i) {
    for (Index k = 0; k < 16; ++k) {
      REQUIRE(ours("head.step.dense1.w", i * 16 + k) ==
              from("latent_projector.state_proj.0.l0.0.weight", k * 32 + (i + 16) % 32));
    }
  }
  // Pictures are height x width x channels here and channels x height x width there.
  for (Index pixel = 0; pixel < 12; ++pixel) {
    for (Index c = 0; c < 3; ++c) {
      REQUIRE(ours("decoder.dense3.b", pixel * 3 + c) == from("vae.decoder.output.bias", c * 12 + pixel));
      for (Index i = 0; i < 16; ++i) {
        REQUIRE(ours("decoder.dense3.w", i * 36 + pixel * 3 + c) ==
                from("vae.decoder.output.weight", (c * 12 + pixel) * 16 + i));
      }
    }
  }

  // Without the decoder, which classification does not need.
  o.decode_proxy = false;
  Parameters<double> smaller(model::Saccader::reference(o).layout(), 1);
  CHECK(message_of([&] {
          interop::import_pytorch(theirs.dict.file(), smaller, pytorch::reference_mapping(3));
        }).ends_with("tensor \"vae.decoder.l0.0.bias\" fits no parameter"));
  CHECK_NOTHROW(interop::import_pytorch(theirs.dict.file(), smaller, pytorch::reference_mapping(3), {"vae.decoder.*"}));
}

TEST_CASE("pytorch: the published sizes") {
  const PublishedStateDict theirs{model::ReferenceOptions{}};
  CHECK(theirs.count == 6'997'716);
  const train::SafetensorsFile file = theirs.dict.file();
  const auto saccader = model::Saccader::published();
  Parameters<float> weights(saccader.layout());
  interop::import_pytorch(file, weights, interop::pytorch::reference_mapping());
  CHECK(weights.at("head.classes.dense2.b")[54] == static_cast<float>(theirs.count));
}
