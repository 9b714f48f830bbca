// SPDX-License-Identifier: MIT
// What models cost, by nn::Counting, against what is known of them.
#include "support/smooth_pictures.hpp"
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/model/full_resolution.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/nn/counting.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <utility>

using namespace fovea;

namespace {

/// Of a saccader's pass over `images`.
template <class Model>
Index count_of(const Model& model, Index images, Index steps, bool bound) {
  const fovea_test::Pictures<std::uint8_t> pictures(images, {70, 90}, model.options().channels, 255.0);
  const Parameters<float> weights(model.layout(), 1);
  Arena arena;
  Inference<float> context(arena, weights.values());
  nn::Counting counting(context);
  model::Looking looking;
  looking.bound = bound;
  looking.steps = steps;
  (void)model.forward(counting, fovea_test::proxies(counting, model.options(), pictures), pictures.sources(), looking);
  return counting.multiply_adds();
}

}  // namespace

TEST_CASE("multiply-adds: ResNet-18 has the 1.814 billion that it is known for") {
  // torchvision's resnet18 at 224x224: 1,814,073,344 in its convolutions and its dense layer.
  const model::FullResolution network({.classes = 1000, .channels = 3});
  const Parameters<float> weights(network.layout(), 1);
  Arena arena;
  Inference<float> context(arena, weights.values());
  nn::Counting counting(context);
  const auto image = counting.constant(Shape{1, 224, 224, 3});
  std::fill_n(image.value, image.size(), 0.5F);
  (void)network.forward(counting, image);
  CHECK(counting.multiply_adds() == 1814073344);
}

TEST_CASE("multiply-adds: the published saccader, by hand") {
  // Both feature networks see 64x64: six blocks of stride 2, of two convolutions and a shortcut each.
  Index blocks = 0;
  Index in = 1;
  Index side = 64;
  for (const Index out : {32, 64, 128, 64, 32, 256}) {
    side /= 2;
    blocks += side * side * (9 * in * out + 9 * out * out + in * out);
    in = out;
  }
  const Index square = 256 * 256;
  const Index features = blocks + square;
  const Index policy = 2 * square + 256 * 6;
  const Index located = 3 * 256 + square;
  const Index cell = (2 * 256 + 256) * 4 * 256 + (256 + 256) * 4 * 256;  // two LSTMs
  const Index step = 2 * square + 256 * 257;
  const Index classes = square + 256 * 55;
  const Index prior = square + 256 * 6;
  const Index decoder = 2 * square + square + 256 * 100 * 100;
  const auto model = model::Saccader::reference();
  CHECK(count_of(model, 1, 4, false) == features + 4 * (policy + located + features + step + classes) + 3 * cell);
  CHECK(count_of(model, 1, 4, true) - count_of(model, 1, 4, false) == 4 * (prior + decoder));
}

TEST_CASE("multiply-adds: every image costs the same, and every step after the first") {
  const model::Saccader model(model::SaccaderOptions{});
  const Index one = count_of(model, 1, 1, false);
  const Index two = count_of(model, 1, 2, false);
  CHECK(one > 0);
  CHECK(two > one);
  CHECK(count_of(model, 1, 5, false) == one + 4 * (two - one));
  CHECK(count_of(model, 3, 2, false) == 3 * two);
}
