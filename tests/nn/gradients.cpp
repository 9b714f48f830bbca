// SPDX-License-Identifier: MIT
// Every op of nn/: derivatives against central differences, in double, over random shapes.
#include "support/op_registry.hpp"
#include <fovea/nn/attention.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/group_norm.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/pointwise.hpp>
#include <fovea/nn/pool.hpp>
#include <fovea/nn/recurrent.hpp>
#include <fovea/nn/reshape.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

using namespace fovea;
using fovea_test::channels;
using fovea_test::extent;
using fovea_test::OpRegistry;

namespace {

Shape any_shape(Stream& s) { return {extent(s), extent(s), channels(s)}; }

template <class Function>
auto unary(Function function) {
  return [function](Stream& s, GradientCheck& check) {
    check.input(any_shape(s), s, 1.5);
    return function;
  };
}
template <class Function>
auto binary(Function function) {
  return [function](Stream& s, GradientCheck& check) {
    const Shape shape = any_shape(s);
    check.input(shape, s).input(shape, s);
    return function;
  };
}

/// Of `channels` the divisors, one at random.
Index any_groups(Stream& s, Index channels) {
  Index groups = extent(s, 1, channels);
  while (channels % groups != 0) --groups;
  return groups;
}

nn::Pool2dOptions any_pool(Stream& s) {
  nn::Pool2dOptions o;
  o.height = extent(s, 1, 3);
  o.width = extent(s, 1, 3);
  o.stride_y = extent(s, 1, 3);
  o.stride_x = extent(s, 1, 3);
  o.pad_y = extent(s, 0, o.height / 2);
  o.pad_x = extent(s, 0, o.width / 2);
  return o;
}

OpRegistry elementwise_ops() {
  OpRegistry ops;
  ops.add("relu", unary([](auto& c, auto in) { return nn::relu(c, in[0]); }));
  ops.add("elu", unary([](auto& c, auto in) { return nn::elu(c, in[0]); }));
  ops.add("selu", unary([](auto& c, auto in) { return nn::selu(c, in[0]); }));
  ops.add("tanh", unary([](auto& c, auto in) { return nn::tanh(c, in[0]); }));
  ops.add("sigmoid", unary([](auto& c, auto in) { return nn::sigmoid(c, in[0]); }));
  ops.add("softplus", unary([](auto& c, auto in) { return nn::softplus(c, in[0]); }));
  ops.add("exp", unary([](auto& c, auto in) { return nn::exp(c, in[0]); }));
  for (const char* name : {"identity", "relu", "elu", "selu", "tanh", "sigmoid", "softplus"}) {
    ops.add(std::string("activate ") + name,
            unary([kind = nn::activation_from_name(name)](auto& c, auto in) { return nn::activate(c, kind, in[0]); }));
  }
  ops.add("add", binary([](auto& c, auto in) { return nn::add(c, in[0], in[1]); }));
  for (const nn::Activation f : {nn::Activation::relu, nn::Activation::elu, nn::Activation::tanh}) {
    const std::string name = "add and activate " + std::to_string(static_cast<int>(f));
    ops.add(name, binary([f](auto& c, auto in) { return nn::add_activate(c, f, in[0], in[1]); }));
    ops.add(name + " to itself", unary([f](auto& c, auto in) { return nn::add_activate(c, f, in[0], in[0]); }));
  }
  ops.add("add to itself", unary([](auto& c, auto in) { return nn::add(c, in[0], in[0]); }));
  ops.add("subtract", binary([](auto& c, auto in) { return nn::subtract(c, in[0], in[1]); }));
  ops.add("multiply", binary([](auto& c, auto in) { return nn::multiply(c, in[0], in[1]); }));
  ops.add("square", unary([](auto& c, auto in) { return nn::multiply(c, in[0], in[0]); }));
  ops.add("scale", unary([](auto& c, auto in) { return nn::scale(c, -0.7, in[0]); }));
  ops.add("axpy", binary([](auto& c, auto in) { return nn::axpy(c, 1.3, in[0], in[1]); }));
  ops.add("sum", unary([](auto& c, auto in) { return nn::sum(c, in[0]); }));
  ops.add("mean", unary([](auto& c, auto in) { return nn::mean(c, in[0]); }));
  ops.add("sum_per_sample", unary([](auto& c, auto in) { return nn::sum_per_sample(c, in[0]); }));
  return ops;
}

OpRegistry shape_ops() {
  OpRegistry ops;
  ops.add("reshape", unary([](auto& c, auto in) { return nn::exp(c, nn::reshape(c, in[0], {in[0].size()})); }));
  ops.add("flatten", unary([](auto& c, auto in) { return nn::exp(c, nn::flatten(c, in[0])); }));
  ops.add("concat", [](Stream& s, GradientCheck& check) {
    const Index b = extent(s);
    const Index h = extent(s);
    check.input({b, h, channels(s)}, s).input({b, h, channels(s)}, s).input({b, h, channels(s)}, s);
    return [](auto& c, auto in) { return nn::concat(c, {in[0], in[1], in[2], in[0]}); };
  });
  ops.add("slice", [](Stream& s, GradientCheck& check) {
    const Index n = channels(s, 2);
    const Index first = extent(s, 0, n - 1);
    check.input({extent(s), extent(s), n}, s);
    return [=](auto& c, auto in) { return nn::slice(c, in[0], first, n - first); };
  });
  ops.add("slice_samples", [](Stream& s, GradientCheck& check) {
    const Index n = extent(s, 2);
    check.input({n, channels(s)}, s);
    return [=](auto& c, auto in) { return nn::exp(c, nn::slice_samples(c, in[0], 1, n - 1)); };
  });
  ops.add("repeat_samples", [](Stream& s, GradientCheck& check) {
    const Index count = extent(s, 1, 4);
    check.input({extent(s), channels(s)}, s);
    return [=](auto& c, auto in) { return nn::exp(c, nn::repeat_samples(c, in[0], count)); };
  });
  ops.add("mean_of_repeats", [](Stream& s, GradientCheck& check) {
    const Index count = extent(s, 1, 4);
    check.input({extent(s) * count, channels(s)}, s);
    return [=](auto& c, auto in) { return nn::exp(c, nn::mean_of_repeats(c, in[0], count)); };
  });
  ops.add("pointwise", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), channels(s)};
    check.input(shape, s).input(shape, s);
    return [](auto& c, auto in) {
      return nn::pointwise(
          c,
          [](double x, double y) {
            return kernel::Partials<2>{std::sin(x) * y, {std::cos(x) * y, std::sin(x)}};
          },
          in[0], in[1]);
    };
  });
  ops.add("pointwise_sum", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), channels(s)};
    check.input(shape, s).input(shape, s);
    return [](auto& c, auto in) {
      return nn::pointwise_sum(
          c,
          [](double x, double y) {
            return kernel::Partials<2>{std::sin(x) * y, {std::cos(x) * y, std::sin(x)}};
          },
          in[0], in[1]);
    };
  });
  return ops;
}

OpRegistry layer_ops() {
  OpRegistry ops;
  ops.add("dense", [](Stream& s, GradientCheck& check) {
    const Index inputs = channels(s);
    const Index outputs = channels(s);
    check.input({extent(s), inputs}, s).input({inputs, outputs}, s).input({outputs}, s);
    return [](auto& c, auto in) { return nn::dense(c, in[0], in[1], in[2]); };
  });
  ops.add("dense of one row", [](Stream& s, GradientCheck& check) {
    const Index inputs = extent(s, 1, 9);
    const Index outputs = extent(s, 1, 40);
    check.input({1, inputs}, s).input({inputs, outputs}, s).input({outputs}, s);
    return [](auto& c, auto in) { return nn::dense(c, in[0], in[1], in[2]); };
  });
  ops.add("dense of many inputs", [](Stream& s, GradientCheck& check) {
    const Index inputs = extent(s, 32, 40);
    check.input({8, inputs}, s).input({inputs, 3}, s).input({3}, s);
    return [](auto& c, auto in) { return nn::dense(c, in[0], in[1], in[2]); };
  });
  ops.add("dense without bias, of rank 3", [](Stream& s, GradientCheck& check) {
    const Index inputs = channels(s);
    check.input({extent(s), extent(s), inputs}, s).input({inputs, channels(s)}, s);
    return [](auto& c, auto in) { return nn::dense(c, in[0], in[1]); };
  });
  ops.add("conv2d", [](Stream& s, GradientCheck& check) {
    const Index inputs = extent(s, 1, 4);
    const Index outputs = channels(s);
    const kernel::Conv2dOptions o{extent(s, 1, 3), extent(s, 1, 3), extent(s, 0, 2), extent(s, 0, 2)};
    check.input({extent(s, 1, 2), extent(s, 3), extent(s, 3), inputs}, s);
    check.input({extent(s, 1, 3), extent(s, 1, 3), inputs, outputs}, s).input({outputs}, s);
    return [=](auto& c, auto in) { return nn::conv2d(c, in[0], in[1], in[2], o); };
  });
  ops.add("conv2d without bias", [](Stream& s, GradientCheck& check) {
    const Index inputs = extent(s, 1, 4);
    check.input({extent(s, 1, 2), extent(s, 3), extent(s, 3), inputs}, s);
    check.input({extent(s, 1, 3), extent(s, 1, 3), inputs, channels(s)}, s);
    return [](auto& c, auto in) { return nn::conv2d(c, in[0], in[1], {}, {.stride_y = 2, .stride_x = 1}); };
  });
  ops.add("group_norm", [](Stream& s, GradientCheck& check) {
    const Index n = channels(s);
    const Index groups = any_groups(s, n);
    // At least 4 elements in a group: of two the result is a sign, and the differences see nothing else.
    check.input({extent(s, 1, 3), extent(s, 2, 5), extent(s, 2, 5), n}, s, 2.0, 0.5).input({n}, s).input({n}, s);
    return [=](auto& c, auto in) { return nn::group_norm(c, in[0], in[1], in[2], groups, 1e-3); };
  });
  ops.add("group_norm with ELU", [](Stream& s, GradientCheck& check) {
    const Index n = channels(s);
    const Index groups = any_groups(s, n);
    check.input({extent(s, 1, 3), extent(s, 2, 5), extent(s, 2, 5), n}, s, 2.0, 0.5).input({n}, s).input({n}, s);
    return [=](auto& c, auto in) { return nn::group_norm(c, in[0], in[1], in[2], groups, 1e-3, nn::Activation::elu); };
  });
  ops.add("max_pool2d", [](Stream& s, GradientCheck& check) {
    const auto o = any_pool(s);
    check.input({extent(s, 1, 2), extent(s, 3), extent(s, 3), channels(s)}, s);
    return [=](auto& c, auto in) { return nn::max_pool2d(c, in[0], o); };
  });
  ops.add("average_pool2d", [](Stream& s, GradientCheck& check) {
    const auto o = any_pool(s);
    check.input({extent(s, 1, 2), extent(s, 3), extent(s, 3), channels(s)}, s);
    return [=](auto& c, auto in) { return nn::average_pool2d(c, in[0], o); };
  });
  ops.add("global_average_pool", [](Stream& s, GradientCheck& check) {
    check.input({extent(s), extent(s), extent(s), channels(s)}, s);
    return [](auto& c, auto in) { return nn::global_average_pool(c, in[0]); };
  });
  ops.add("gru_cell", [](Stream& s, GradientCheck& check) {
    const Index b = extent(s);
    const Index i = extent(s);
    const Index h = channels(s);
    check.input({b, i}, s).input({b, h}, s).input({i, 3 * h}, s).input({h, 3 * h}, s, 0.3).input({3 * h}, s);
    check.input({3 * h}, s);
    return [](auto& c, auto in) { return nn::gru_cell(c, in[0], in[1], in[2], in[3], in[4], in[5]); };
  });
  ops.add("lstm_cell", [](Stream& s, GradientCheck& check) {
    const Index b = extent(s);
    const Index i = extent(s);
    const Index h = channels(s);
    check.input({b, i}, s).input({b, h}, s).input({b, h}, s).input({i, 4 * h}, s).input({h, 4 * h}, s, 0.3);
    check.input({4 * h}, s).input({4 * h}, s);
    return [](auto& c, auto in) {
      const auto state = nn::lstm_cell(c, in[0], {in[1], in[2]}, in[3], in[4], in[5], in[6]);
      return nn::concat(c, {state.h, state.c});
    };
  });
  return ops;
}

OpRegistry loss_ops() {
  OpRegistry ops;
  ops.add("softmax", [](Stream& s, GradientCheck& check) {
    check.input({extent(s), channels(s, 1, 40)}, s, 2.0);
    return [](auto& c, auto in) { return nn::softmax(c, in[0]); };
  });
  ops.add("cross_entropy", [](Stream& s, GradientCheck& check) {
    const Index samples = extent(s);
    const Index classes = channels(s, 2);
    std::vector<std::int32_t> labels;
    for (Index i = 0; i < samples; ++i) labels.push_back(static_cast<std::int32_t>(extent(s, 0, classes - 1)));
    check.input({samples, classes}, s, 2.0);
    return [labels](auto& c, auto in) { return nn::cross_entropy(c, in[0], labels); };
  });
  ops.add("bernoulli_log_likelihood", [](Stream& s, GradientCheck& check) {
    const Shape shape = any_shape(s);
    check.input(shape, s, 3.0).uniform_input(shape, s, 0.0, 1.0);
    return [](auto& c, auto in) { return nn::bernoulli_log_likelihood(c, in[0], in[1]); };
  });
  return ops;
}

OpRegistry attention_ops() {
  OpRegistry ops;
  ops.add("key_scores", [](Stream& s, GradientCheck& check) {
    const Index b = extent(s);
    const Index n = channels(s);
    check.input({b, extent(s), extent(s), n}, s).input({b, n}, s);
    return [](auto& c, auto in) { return nn::key_scores(c, in[0], in[1]); };
  });
  ops.add("spatial_softmax", [](Stream& s, GradientCheck& check) {
    check.input({extent(s), extent(s), extent(s), 1}, s);
    return [](auto& c, auto in) { return nn::spatial_softmax(c, in[0]); };
  });
  ops.add("attention_pool", [](Stream& s, GradientCheck& check) {
    const Index b = extent(s);
    const Index p = extent(s, 1, 20);
    check.input({b, p}, s).input({b, p, channels(s)}, s);
    return [](auto& c, auto in) { return nn::attention_pool(c, in[0], in[1]); };
  });
  ops.add("expected_coordinates", [](Stream& s, GradientCheck& check) {
    const Index h = extent(s);
    const Index w = extent(s);
    check.input({extent(s), h * w}, s);
    return [=](auto& c, auto in) { return nn::expected_coordinates(c, in[0], h, w); };
  });
  return ops;
}

}  // namespace

TEST_CASE("derivatives of the element-wise ops") { elementwise_ops().check_all(); }
TEST_CASE("derivatives of the ops that move elements") { shape_ops().check_all(); }
TEST_CASE("derivatives of the layers' ops") { layer_ops().check_all(); }
TEST_CASE("derivatives of the losses") { loss_ops().check_all(); }
TEST_CASE("derivatives of the attention ops") { attention_ops().check_all(); }
