// SPDX-License-Identifier: MIT
// Ops on whole samples: minibatches joined, cut into pieces, resized.
#include "support/op_registry.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/resize.hpp>
#include <fovea/nn/stack.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <span>

using namespace fovea;
using fovea_test::channels;
using fovea_test::extent;

TEST_CASE("nn: derivatives of the ops on samples") {
  fovea_test::OpRegistry ops;
  ops.add("concat_samples", [](Stream& s, GradientCheck& check) {
    const Index h = extent(s);
    const Index w = extent(s);
    const Index c = channels(s);
    for (int i = 0; i < 3; ++i) check.input({extent(s), h, w, c}, s);
    return [](auto& context, auto in) {
      using C = std::remove_reference_t<decltype(context)>;
      const std::array<VarOf<C>, 4> parts{in[0], in[1], in[2], in[1]};  // one of them twice
      return nn::concat_samples<C>(context, parts);
    };
  });
  ops.add("in_pieces", [](Stream& s, GradientCheck& check) {
    check.input({extent(s, 1, 9), 3}, s).input({3, 4}, s).input({4}, s);
    const Index size = extent(s, 1, 4);
    return [size](auto& context, auto in) {
      const auto network = [&](auto& inner, auto x) { return nn::tanh(inner, nn::dense(inner, x, in[1], in[2])); };
      return nn::in_pieces(context, network, in[0], size);
    };
  });
  ops.add("resize_bilinear", [](Stream& s, GradientCheck& check) {
    check.input({extent(s, 1, 3), extent(s, 1, 9), extent(s, 1, 9), channels(s)}, s);
    const Extents<2> to{extent(s, 1, 9), extent(s, 1, 9)};
    return [to](auto& context, auto in) { return nn::resize_bilinear(context, in[0], to); };
  });
  ops.add("resize_bilinear, aligned corners", [](Stream& s, GradientCheck& check) {
    check.input({extent(s, 1, 3), extent(s, 1, 9), extent(s, 1, 9), channels(s)}, s);
    const Extents<2> to{extent(s, 1, 9), extent(s, 1, 9)};
    return [to](auto& context, auto in) { return nn::resize_bilinear(context, in[0], to, true); };
  });
  ops.check_all();
}

TEST_CASE("nn: a network in pieces gives what it gives at once, bit for bit") {
  Arena arena;
  Inference<float> context(arena);
  Stream s(1);
  const auto x = context.constant(Shape{7, 5});
  for (Index i = 0; i < x.size(); ++i) x.value[i] = s.normal<float>();
  const auto network = [](auto& inner, auto in) { return nn::selu(inner, in); };
  const auto whole = network(context, x);
  for (const Index size : {1, 2, 3, 6, 7, 100}) {
    const auto pieces = nn::in_pieces(context, network, x, size);
    CHECK(pieces.shape == x.shape);
    CHECK(std::memcmp(pieces.value, whole.value, 35 * sizeof(float)) == 0);
  }
}

TEST_CASE("nn: resize_bilinear is the image's") {
  Arena arena;
  Inference<float> context(arena);
  Stream s(2);
  const auto x = context.constant(Shape{2, 10, 7, 3});
  for (Index i = 0; i < x.size(); ++i) x.value[i] = s.uniform(0.0F, 1.0F);
  for (const bool align_corners : {false, true}) {
    const auto y = nn::resize_bilinear(context, x, {6, 13}, align_corners);
    CHECK(y.shape == Shape{2, 6, 13, 3});
    for (Index b = 0; b < 2; ++b) {
      Tensor<float, 3> expected({6, 13, 3});
      resize_bilinear(x.values<4>()[b], expected.view(), align_corners);
      CHECK(std::memcmp(expected.data(), y.values<4>()[b].data(), 6 * 13 * 3 * sizeof(float)) == 0);
    }
  }
  CHECK(nn::resize_bilinear(context, x, {10, 7}).value == x.value);
}

TEST_CASE("nn: ops on samples refuse what does not fit") {
  Arena arena;
  Inference<float> context(arena);
  const auto a = context.constant(Shape{2, 3});
  const auto b = context.constant(Shape{2, 4});
  const std::array<Var<float>, 2> unlike{a, b};
  CHECK_THROWS_AS((void)nn::concat_samples<Inference<float>>(context, unlike), Error);
  CHECK_THROWS_AS((void)nn::concat_samples<Inference<float>>(context, {}), Error);
  CHECK_THROWS_AS((void)nn::in_pieces(
                      context, [](auto&, auto x) { return x; }, a, 0),
                  Error);
  CHECK_THROWS_AS((void)nn::resize_bilinear(context, a, {2, 2}), Error);
  CHECK_THROWS_AS((void)nn::resize_bilinear(context, context.constant(Shape{1, 2, 2, 1}), {0, 2}), Error);
}
