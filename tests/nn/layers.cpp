// SPDX-License-Identifier: MIT
// The layers: names, sizes, refusals; their derivatives through the parameters; the memory an Inference takes.
#include "support/op_registry.hpp"
#include <fovea/nn/nn.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::channels;
using fovea_test::extent;
using fovea_test::OpRegistry;

namespace {

std::vector<std::string> names(const ParameterLayout& layout) {
  std::vector<std::string> result;
  for (const auto& entry : layout.entries()) result.push_back(entry.name + entry.parameter.shape.to_string());
  return result;
}

/// All parameters random: a layer's gains and biases start at 1 and 0, where mistakes hide.
Parameters<double> random_parameters(const ParameterLayout& layout, Stream& s) {
  Parameters<double> p(layout);
  p.visit([&](const std::string&, const Shape&, View<double, 1> elements) {
    for (Index i = 0; i < elements.size(); ++i) elements(i) = 0.5 * s.normal<double>();
  });
  return p;
}

template <class Layer>
auto with_parameters(Stream& s, GradientCheck& check, const ParameterLayout& layout, Layer layer) {
  check = GradientCheck(random_parameters(layout, s));
  return [layer](auto& context, auto in) { return layer(context, in[0]); };
}

}  // namespace

TEST_CASE("derivatives of the layers, through inputs and parameters") {
  OpRegistry ops;
  ops.add("Dense", [](Stream& s, GradientCheck& check) {
    ParameterLayout layout;
    const nn::Dense layer(layout, "d", channels(s), channels(s), {.bias = (s.bits() & 1U) != 0});
    auto f = with_parameters(s, check, layout, layer);
    check.input({extent(s), layer.inputs()}, s);
    return f;
  });
  ops.add("Conv2d", [](Stream& s, GradientCheck& check) {
    ParameterLayout layout;
    const Extents<2> kernel{extent(s, 1, 3), extent(s, 1, 3)};
    const kernel::Conv2dOptions options{extent(s, 1, 2), extent(s, 1, 2), extent(s, 0, 1), extent(s, 0, 1)};
    const nn::Conv2d layer(layout, "c", extent(s, 1, 4), channels(s), kernel, options, (s.bits() & 1U) != 0);
    auto f = with_parameters(s, check, layout, layer);
    check.input({extent(s, 1, 2), extent(s, 3, 5), extent(s, 3, 5), layer.inputs()}, s);
    return f;
  });
  ops.add("GroupNorm", [](Stream& s, GradientCheck& check) {
    ParameterLayout layout;
    const nn::GroupNorm layer(layout, "n", channels(s, 2));
    auto f = with_parameters(s, check, layout, layer);
    check.input({extent(s, 1, 2), extent(s, 3), extent(s, 3), layer.inputs()}, s);
    return f;
  });
  ops.add("Residual", [](Stream& s, GradientCheck& check) {
    ParameterLayout layout;
    const Index inputs = extent(s, 1, 4);
    const Index outputs = (s.bits() & 1U) != 0 ? inputs : extent(s, 1, 4);
    const nn::Residual layer(layout, "r", inputs, outputs,
                             {.stride = extent(s, 1, 2), .groups = 1, .activation = nn::Activation::softplus});
    auto f = with_parameters(s, check, layout, layer);
    check.input({extent(s, 1, 2), 5, 4, inputs}, s);
    return f;
  });
  ops.add("Sequential", [](Stream& s, GradientCheck& check) {
    ParameterLayout layout;
    const nn::Sequential layer{nn::Conv2d(layout, "c", 2, 4, {.kernel = 3, .padding = 1}),
                               nn::GroupNorm(layout, "n", 4, 2),
                               nn::Activate{nn::Activation::elu},
                               nn::MaxPool2d{},
                               nn::AveragePool2d{{.height = 2, .width = 1, .stride_y = 1, .stride_x = 1}},
                               nn::Flatten{},
                               nn::Dense(layout, "d", 8, 3),
                               [](auto& context, auto x) { return nn::softmax(context, x); }};
    auto f = with_parameters(s, check, layout, layer);
    check.input({extent(s, 1, 3), 4, 4, 2}, s);
    return f;
  });
  ops.add("GruCell, two steps", [](Stream& s, GradientCheck& check) {
    ParameterLayout layout;
    const nn::GruCell cell(layout, "g", extent(s), channels(s));
    check = GradientCheck(random_parameters(layout, s));
    const Index samples = extent(s);
    check.input({samples, cell.inputs()}, s).input({samples, cell.inputs()}, s);
    return [=](auto& context, auto in) {
      return cell(context, in[1], cell(context, in[0], cell.initial_state(context, samples)));
    };
  });
  ops.add("LstmCell, two steps", [](Stream& s, GradientCheck& check) {
    ParameterLayout layout;
    const nn::LstmCell cell(layout, "l", extent(s), channels(s, 1, 9));
    check = GradientCheck(random_parameters(layout, s));
    const Index samples = extent(s);
    check.input({samples, cell.inputs()}, s).input({samples, cell.inputs()}, s);
    return [=](auto& context, auto in) {
      const auto first = cell(context, in[0], cell.initial_state(context, samples));
      const auto second = cell(context, in[1], first);
      return nn::concat(context, {second.h, second.c, first.h});
    };
  });
  ops.add("a location head", [](Stream& s, GradientCheck& check) {
    ParameterLayout layout;
    const Index n = channels(s);
    const nn::Dense key(layout, "key", 5, n);
    check = GradientCheck(random_parameters(layout, s));
    const Index b = extent(s, 1, 3);
    check.input({b, 4, 3, n}, s).input({b, 5}, s);
    return [=](auto& context, auto in) {
      const auto attention = nn::softmax(context, nn::key_scores(context, in[0], key(context, in[1])));
      return nn::concat(context,
                        {nn::expected_coordinates(context, attention, 4, 3), nn::attention_pool(context, attention, in[0])});
    };
  });
  ops.check_all(6);
}

TEST_CASE("names and shapes of the parameters, in the order in which the layers run") {
  ParameterLayout layout;
  const auto scope = layout.scope("net");
  const nn::Sequential net{nn::Conv2d(layout, "conv", 3, 8, {.bias = false}),
                           nn::Residual(layout, "block", 8, 16, {.stride = 2}), nn::GlobalAveragePool{},
                           nn::Dense(layout, "out", 16, 4)};
  CHECK(names(layout) == std::vector<std::string>{"net.conv.w[3x3x3x8]", "net.block.conv1.w[3x3x8x16]",
                                                  "net.block.norm1.gamma[16]", "net.block.norm1.beta[16]",
                                                  "net.block.conv2.w[3x3x16x16]", "net.block.norm2.gamma[16]",
                                                  "net.block.norm2.beta[16]", "net.block.shortcut.conv.w[1x1x8x16]",
                                                  "net.block.shortcut.norm.gamma[16]", "net.block.shortcut.norm.beta[16]",
                                                  "net.out.w[16x4]", "net.out.b[4]"});
  CHECK(net.inputs() == 3);
  CHECK(net.outputs() == 4);
  CHECK(net.layer<1>().output_height(9) == 5);

  ParameterLayout cells;
  const nn::GruCell gru(cells, "gru", 5, 7);
  const nn::LstmCell lstm(cells, "lstm", 5, 7);
  CHECK(names(cells) == std::vector<std::string>{"gru.w_x[5x21]", "gru.w_h[7x21]", "gru.b_x[21]", "gru.b_h[21]",
                                                 "lstm.w_x[5x28]", "lstm.w_h[7x28]", "lstm.b_x[28]", "lstm.b_h[28]"});
}

TEST_CASE("layers that do not fit are refused where they are made") {
  ParameterLayout layout;
  CHECK_THROWS_WITH_AS((nn::Sequential{nn::Conv2d(layout, "a", 3, 16), nn::Activate{}, nn::GroupNorm(layout, "b", 8)}),
                       "Sequential: layer 2 expects 8 channels, the layers before it give 16", Error);
  // Behind Flatten the number of features depends on the extents.
  CHECK_NOTHROW((nn::Sequential{nn::Conv2d(layout, "c", 3, 16), nn::Flatten{}, nn::Dense(layout, "d", 64, 8)}));
  {
    const nn::Dense second(layout, "second", 4, 4);
    const nn::Dense first(layout, "first", 4, 4);
    const auto make = [&] { return nn::Sequential{first, second}; };
    CHECK_THROWS_AS(make(), Error);
    CHECK_NOTHROW((nn::Sequential{second, first}));
    CHECK_NOTHROW((nn::Sequential{first, second, first}));  // shared weights
  }
  CHECK_THROWS_WITH_AS(nn::Dense(layout, "e", 0, 4), "Dense \"e\": at least 1 input and 1 output expected, 0 and 4 came",
                       Error);
  CHECK_THROWS_AS(nn::Conv2d(layout, "f", 3, 0), Error);
  CHECK_THROWS_AS(nn::Conv2d(layout, "g", 3, 4, {.kernel = 0}), Error);
  CHECK_THROWS_AS(nn::Conv2d(layout, "h", 3, 4, {.stride = 0}), Error);
  CHECK_THROWS_AS(nn::Conv2d(layout, "i", 3, 4, {.padding = -1}), Error);
  CHECK_THROWS_WITH_AS(nn::GroupNorm(layout, "j", 10, 4), "GroupNorm \"j\": groups that divide 10 channels expected, 4 came",
                       Error);
  CHECK_THROWS_AS(nn::GruCell(layout, "k", 3, 0), Error);
  CHECK_THROWS_AS(nn::LstmCell(layout, "l", -1, 4), Error);
}

TEST_CASE("inputs that do not fit are refused with a sentence") {
  Arena arena;
  Inference<float> c(arena);
  const auto of = [&](const Shape& shape) {
    auto x = c.variable(shape);
    std::fill_n(x.value, x.size(), 0.0F);
    return x;
  };
  CHECK_THROWS_WITH_AS((void)nn::add(c, of({2, 3}), of({3, 2})), "add: a second operand of shape [2x3] expected, [3x2] came",
                       Error);
  CHECK_THROWS_AS((void)nn::subtract(c, of({2}), of({3})), Error);
  CHECK_THROWS_AS((void)nn::multiply(c, of({2}), of({2, 1})), Error);
  CHECK_THROWS_AS((void)nn::axpy(c, 1.0F, of({2}), of({1})), Error);
  CHECK_THROWS_AS((void)nn::mean(c, of({0, 3})), Error);
  CHECK_THROWS_AS((void)nn::concat(c, {of({2, 3}), of({3, 3})}), Error);
  CHECK_THROWS_AS((void)nn::concat(c, {of({2, 3}), of({2})}), Error);
  CHECK_THROWS_WITH_AS((void)nn::slice(c, of({2, 5}), 3, 3), "slice: elements within [0, 5) expected, [3, 6) came", Error);
  CHECK_THROWS_AS((void)nn::slice(c, of({2, 5}), -1, 3), Error);
  CHECK_THROWS_AS((void)nn::slice_samples(c, of({2, 5}), 1, 2), Error);
  CHECK_THROWS_AS((void)nn::repeat_samples(c, of({2, 5}), 0), Error);
  CHECK_THROWS_WITH_AS((void)nn::mean_of_repeats(c, of({5, 2}), 2),
                       "mean_of_repeats: a multiple of 2 rows expected, a shape [5x2] came", Error);
  CHECK_THROWS_AS((void)nn::reshape(c, of({2, 5}), {3, 3}), Error);
  CHECK_THROWS_WITH_AS((void)nn::dense(c, of({2, 5}), of({4, 3})), "dense: 4 inputs expected, a shape [2x5] came", Error);
  CHECK_THROWS_AS((void)nn::dense(c, of({2, 4}), of({4, 3}), of({4})), Error);
  CHECK_THROWS_WITH_AS((void)nn::conv2d(c, of({1, 5, 5, 3}), of({3, 3, 4, 8}), {}, {}),
                       "conv2d: 4 channels expected, a shape [1x5x5x3] came", Error);
  CHECK_THROWS_AS((void)nn::conv2d(c, of({1, 2, 5, 4}), of({3, 3, 4, 8}), {}, {}), Error);
  CHECK_THROWS_AS((void)nn::group_norm(c, of({2, 6}), of({6}), of({6}), 4), Error);
  CHECK_THROWS_AS((void)nn::group_norm(c, of({2, 6}), of({5}), of({6}), 2), Error);
  CHECK_THROWS_AS((void)nn::max_pool2d(c, of({1, 1, 4, 2}), nn::Pool2dOptions::square(2)), Error);
  CHECK_THROWS_AS((void)nn::max_pool2d(c, of({1, 4, 4, 2}), {2, 2, 1, 1, 2, 0}), Error);
  CHECK_THROWS_AS((void)nn::average_pool2d(c, of({4, 4, 2}), nn::Pool2dOptions::square(2)), Error);
  CHECK_THROWS_AS((void)nn::global_average_pool(c, of({4, 2})), Error);
  const std::vector<std::int32_t> labels{0, 3};
  CHECK_THROWS_WITH_AS((void)nn::cross_entropy(c, of({2, 3}), labels), "cross_entropy: labels within [0, 3) expected, 3 came",
                       Error);
  CHECK_THROWS_WITH_AS((void)nn::cross_entropy(c, of({3, 4}), labels), "cross_entropy: 3 labels expected, 2 came", Error);
  CHECK_THROWS_AS((void)nn::bernoulli_log_likelihood(c, of({2, 3}), of({2, 4})), Error);
  CHECK_THROWS_AS((void)nn::softmax(c, of({2, 0})), Error);
  CHECK_THROWS_AS((void)nn::gru_gates(c, of({2, 9}), of({2, 9}), of({2, 4})), Error);
  CHECK_THROWS_AS((void)nn::lstm_gates(c, of({2, 16}), of({2, 12}), of({2, 4})), Error);
  CHECK_THROWS_AS((void)nn::key_scores(c, of({2, 6, 4}), of({2, 5})), Error);
  CHECK_THROWS_AS((void)nn::attention_pool(c, of({2, 5}), of({2, 6, 4})), Error);
  CHECK_THROWS_AS((void)nn::expected_coordinates(c, of({2, 6}), 2, 4), Error);
  CHECK_THROWS_AS((void)nn::spatial_softmax(c, of({2, 3, 3, 2})), Error);
  CHECK_THROWS_AS((void)nn::activation_from_name("gelu"), Error);
}

TEST_CASE("initial weights have the deviations of their papers") {
  const auto deviation = [](const Initialiser& start) {
    return start.kind == Initialiser::Kind::uniform ? start.value / std::sqrt(3.0) : start.value;
  };
  CHECK(deviation(nn::kaiming_uniform(50)) == doctest::Approx(std::sqrt(2.0 / 50)));
  CHECK(deviation(nn::kaiming_normal(50, 1.0)) == doctest::Approx(std::sqrt(1.0 / 50)));
  CHECK(deviation(nn::xavier_uniform(30, 50)) == doctest::Approx(std::sqrt(2.0 / 80)));
  CHECK(deviation(nn::xavier_normal(30, 50, 2.0)) == doctest::Approx(2 * std::sqrt(2.0 / 80)));
  CHECK(nn::constant(3).kind == Initialiser::Kind::constant);
  CHECK_THROWS_AS((void)nn::kaiming_uniform(0), Error);
  CHECK_THROWS_AS((void)nn::xavier_uniform(3, 0), Error);
  CHECK(nn::default_groups(16) == 8);
  CHECK(nn::default_groups(6) == 6);
  CHECK(nn::default_groups(10) == 5);
  CHECK(nn::default_groups(1) == 1);
  CHECK(nn::default_groups(13) == 1);

  ParameterLayout layout;
  const nn::Dense zero(layout, "zero", 4, 2, {.bias_start = 0.5, .weights = nn::constant(0)});
  Parameters<float> p(layout);
  CHECK(p[zero.weights()](0) == 0.0F);
  CHECK(p[zero.bias()](1) == 0.5F);
}

TEST_CASE("an Inference of a deep Sequential takes the memory of its largest layer") {
  ParameterLayout layout;
  const auto block = [&](const char* name) { return nn::Residual(layout, name, 16, 16); };
  const nn::Sequential net{block("a"), block("b"), block("c"), block("d"), block("e"), block("f")};
  const Parameters<float> parameters(layout, 1);
  const Shape shape{1, 32, 32, 16};
  Arena arena;
  const auto peak = [&](const auto& layer) {
    Arena own;
    Inference<float> inference(own, parameters.values());
    const auto x = inference.variable(shape);
    std::fill_n(x.value, x.size(), 0.1F);
    const auto y = layer(inference, x);
    CHECK(y.shape == shape);
    return own.peak();
  };
  const std::size_t one = peak(net.layer<0>());
  const std::size_t six = peak(net);
  const std::size_t map = 32 * 32 * 16 * sizeof(float);
  CHECK(six <= one + map);
  CHECK(one <= 6 * map);  // input, and within the block: two maps, the shortcut's, workspace
}

TEST_CASE("a Tape and an Inference in float agree to the bit") {
  ParameterLayout layout;
  const nn::Sequential net{nn::Conv2d(layout, "c", 1, 8, {.kernel = 5, .stride = 2, .padding = 2}),
                           nn::Residual(layout, "r", 8, 16, {.stride = 2}), nn::GlobalAveragePool{},
                           nn::Dense(layout, "d", 16, 10)};
  const Parameters<float> parameters(layout, 1);
  Tensor<float, 1> gradients({layout.size()});
  Stream s(3);
  Tensor<float, 4> x({2, 20, 20, 1});
  for (float& v : x) v = s.normal<float>();
  Arena a;
  Arena b;
  Tape<float> tape(a, parameters.values(), gradients.view());
  Inference<float> inference(b, parameters.values());
  const auto y = net(tape, tape.constant(x.data(), {2, 20, 20, 1}));
  const auto z = net(inference, inference.constant(x.data(), {2, 20, 20, 1}));
  for (Index i = 0; i < y.size(); ++i) CHECK(y.value[i] == z.value[i]);
}
