// SPDX-License-Identifier: MIT
// Signs stand where the sample says, as large, as bright and as sharp as it says, and all of it is a pure function.
#include "support/message_of.hpp"
#include <fovea/core/parallel.hpp>
#include <fovea/data/signed_photographs.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using fovea::Extents;
using fovea::Index;
using fovea::Stream;
using fovea::Tensor;
using fovea::View;
using fovea::data::Box;
using fovea::data::SignDesign;
using fovea::data::SignedPhotograph;
using fovea::data::SignedPhotographs;
using fovea::data::SignedPhotographsOptions;
using Image = Tensor<std::uint8_t, 3>;

constexpr Extents<2> scene_extent{384, 512};

/// A plate of one colour, `height` x `width`, amid transparent pixels.
SignDesign plate(int label, std::array<std::uint8_t, 3> color, Index height = 200, Index width = 150) {
  constexpr Index margin = 20;
  SignDesign sign{Image({height + 2 * margin, width + 2 * margin, 4}), label};
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      for (Index c = 0; c < 3; ++c) sign.pixels(margin + y, margin + x, c) = color[static_cast<std::size_t>(c)];
      sign.pixels(margin + y, margin + x, 3) = 255;
    }
  }
  return sign;
}

Image grey(Extents<2> extent, std::uint8_t value) {
  Image image({extent[0], extent[1], 3});
  std::fill(image.begin(), image.end(), value);
  return image;
}

Image noisy(Extents<2> extent, std::uint64_t seed) {
  Image image({extent[0], extent[1], 3});
  Stream stream(seed, 0, 0, fovea::Purpose::test);
  for (std::uint8_t& pixel : image) pixel = static_cast<std::uint8_t>(40 + stream.below(120));
  return image;
}

SignedPhotographsOptions small_options() {
  SignedPhotographsOptions options;
  options.scene = scene_extent;
  options.shortest = 40;
  options.tallest = 100;
  return options;
}

const std::vector<Extents<2>>& extents() {
  static const std::vector<Extents<2>> made{scene_extent, {400, 640}, {800, 512}};
  return made;
}

std::vector<SignDesign> plates() {
  return {plate(0, {255, 255, 255}), plate(0, {0, 0, 0}), plate(1, {255, 0, 0}), plate(2, {0, 0, 255}, 120, 120)};
}

/// The mean of a channel in the middle half of a box.
double mean(const Image& image, const Box& box, Index channel) {
  double sum = 0;
  Index count = 0;
  for (Index y = box.y + box.height / 4; y < box.y + box.height * 3 / 4; ++y) {
    for (Index x = box.x + box.width / 4; x < box.x + box.width * 3 / 4; ++x, ++count) sum += image(y, x, channel);
  }
  return sum / static_cast<double>(count);
}

/// The first sample after `number` with a sign of `design`.
SignedPhotograph with_design(const SignedPhotographs& generator, Index design, std::uint64_t number = 0) {
  for (;; ++number) {
    if (const SignedPhotograph made = generator.sample(number); made.design == design) return made;
  }
}

TEST_CASE("signed_photographs: labels, designs, photographs and places are spread as promised") {
  auto options = small_options();
  options.grid = 8;
  const SignedPhotographs generator(extents(), plates(), options, 5);
  REQUIRE(generator.classes() == 4);
  constexpr int count = 4000;
  std::array<int, 4> labels{};
  std::array<int, 4> designs{};
  std::array<int, 3> photographs{};
  double logarithm = 0;
  int signs = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const SignedPhotograph made = generator.sample(i);
    ++labels.at(static_cast<std::size_t>(made.label));
    ++photographs.at(static_cast<std::size_t>(made.photograph));
    const Extents<2> extent = extents()[static_cast<std::size_t>(made.photograph)];
    REQUIRE((made.top % 8 == 0 && made.top >= 0 && made.top + scene_extent[0] <= extent[0]));
    REQUIRE((made.left % 8 == 0 && made.left >= 0 && made.left + scene_extent[1] <= extent[1]));
    if (made.label == 3) {
      REQUIRE((made.design == -1 && made.box == Box{}));
      continue;
    }
    ++designs.at(static_cast<std::size_t>(made.design));
    ++signs;
    REQUIRE((made.height >= 40 && made.height <= 100));
    logarithm += std::log(made.height / 40) / std::log(100.0 / 40);
    const Box& box = made.box;
    REQUIRE(std::abs(static_cast<double>(box.height) - made.height) <= 2);
    REQUIRE((box.x >= 0 && box.y >= 0 && box.x + box.width <= scene_extent[1] && box.y + box.height <= scene_extent[0]));
  }
  // Five standard deviations.
  const auto about = [](double value, double share, int n) {
    return std::abs(value - share * n) < 5 * std::sqrt(n * share * (1 - share));
  };
  for (const int n : labels) CHECK(about(n, 0.25, count));
  for (const int n : photographs) CHECK(about(n, 1.0 / 3, count));
  CHECK(about(designs[0], 0.125, count));
  CHECK(about(designs[1], 0.125, count));
  CHECK(about(designs[2], 0.25, count));
  CHECK(std::abs(logarithm / signs - 0.5) < 5 * std::sqrt(1.0 / 12 / signs));
}

TEST_CASE("signed_photographs: nothing but the area that draw names is written, and the sign fills its box") {
  const SignedPhotographs generator(extents(), plates(), small_options(), 6);
  for (std::uint64_t i = 0; i < 60; ++i) {
    const SignedPhotograph made = generator.sample(i);
    const Image before = noisy(scene_extent, i);
    Image after = before;
    const Box area = generator.draw(made, after);
    if (made.design < 0) {
      CHECK(area == Box{});
      CHECK(std::equal(before.begin(), before.end(), after.begin()));
      continue;
    }
    // Where the sign's paint is: it changed the pixel far more than blur and noise do at the rim.
    Index top = scene_extent[0];
    Index bottom = 0;
    Index left = scene_extent[1];
    Index right = 0;
    const Image flat = grey(scene_extent, 100);
    Image drawn = flat;
    generator.draw(made, drawn);
    bool untouched = true;
    for (Index y = 0; y < scene_extent[0]; ++y) {
      for (Index x = 0; x < scene_extent[1]; ++x) {
        const bool inside = x >= area.x && x < area.x + area.width && y >= area.y && y < area.y + area.height;
        for (Index c = 0; c < 3; ++c) untouched = untouched && (inside || after(y, x, c) == before(y, x, c));
        int change = 0;
        for (Index c = 0; c < 3; ++c) change = std::max(change, std::abs(drawn(y, x, c) - 100));
        if (change < 25) continue;
        top = std::min(top, y);
        bottom = std::max(bottom, y + 1);
        left = std::min(left, x);
        right = std::max(right, x + 1);
      }
    }
    CHECK(untouched);
    const Box& box = made.box;
    CHECK(std::abs(top - box.y) <= 3);
    CHECK(std::abs(left - box.x) <= 3);
    CHECK(std::abs(bottom - box.y - box.height) <= 3);
    CHECK(std::abs(right - box.x - box.width) <= 3);
  }
}

TEST_CASE("signed_photographs: what is drawn at half resolution is the average of what is drawn at full resolution") {
  const std::vector<SignDesign> signs = plates();
  const SignedPhotographs generator(extents(), signs, small_options(), 7);
  constexpr Extents<2> half{scene_extent[0] / 2, scene_extent[1] / 2};
  for (Index design = 0; design < 4; ++design) {
    const SignedPhotograph made = with_design(generator, design);
    Image fine = grey(scene_extent, 90);
    Image coarse = grey(half, 90);
    generator.draw(made, fine);
    const Box area = generator.draw(made, coarse, 2);
    double error = 0;
    double worst = 0;
    for (Index y = area.y; y < area.y + area.height; ++y) {
      for (Index x = area.x; x < area.x + area.width; ++x) {
        for (Index c = 0; c < 3; ++c) {
          const double average =
              (fine(2 * y, 2 * x, c) + fine(2 * y, 2 * x + 1, c) + fine(2 * y + 1, 2 * x, c) + fine(2 * y + 1, 2 * x + 1, c)) /
              4.0;
          error += std::abs(average - coarse(y, x, c));
          worst = std::max(worst, std::abs(average - coarse(y, x, c)));
        }
      }
    }
    CHECK(error / static_cast<double>(3 * area.width * area.height) < 3);
    CHECK(worst < 60);  // of up to 200, at edges
  }
}

TEST_CASE("signed_photographs: signs follow the light of their place") {
  const SignedPhotographs generator(extents(), plates(), small_options(), 8);
  const SignedPhotograph white = with_design(generator, 0);
  const SignedPhotograph black = with_design(generator, 1);
  std::array<double, 3> whites{};
  std::array<double, 3> blacks{};
  constexpr std::array<std::uint8_t, 3> places{10, 90, 170};
  for (std::size_t i = 0; i < places.size(); ++i) {
    Image scene = grey(scene_extent, places[i]);
    generator.draw(white, scene);
    whites[i] = mean(scene, white.box, 1);
    scene = grey(scene_extent, places[i]);
    generator.draw(black, scene);
    blacks[i] = mean(scene, black.box, 1);
    CHECK(whites[i] > places[i] + 20);
    CHECK(blacks[i] < 0.25 * whites[i] + 4);
  }
  CHECK(whites[0] + 20 < whites[1]);
  CHECK(whites[1] + 20 < whites[2]);
  CHECK(blacks[0] < blacks[2]);

  // A reddish place lends the sign some of its red.
  Image scene = grey(scene_extent, 90);
  for (Index y = 0; y < scene_extent[0]; ++y) {
    for (Index x = 0; x < scene_extent[1]; ++x) scene(y, x, 0) = 150;
  }
  generator.draw(white, scene);
  CHECK(mean(scene, white.box, 0) > mean(scene, white.box, 2) + 5);
}

TEST_CASE("signed_photographs: a fine pattern comes out as its average and not as stripes of its own") {
  // Lines of one pixel in 600: nine in ten lie between the pixels of a sign 64 pixels tall.
  SignDesign lines = plate(0, {255, 255, 255}, 600, 600);
  for (Index y = 0; y < lines.pixels.extent(0); ++y) {
    for (Index x = 0; x < lines.pixels.extent(1); x += 2) {
      for (Index c = 0; c < 3; ++c) lines.pixels(y, x, c) = 0;
    }
  }
  auto options = small_options();
  options.shortest = 60;
  options.tallest = 64;
  const std::vector<SignDesign> signs{std::move(lines)};
  const SignedPhotographs generator(extents(), signs, options, 9);
  SignedPhotograph made = with_design(generator, 0);
  made.noise = 0;
  made.falling = {};
  Image scene = grey(scene_extent, 90);
  generator.draw(made, scene);
  double low = 255;
  double high = 0;
  const Box& box = made.box;
  for (Index y = box.y + box.height / 3; y < box.y + box.height * 2 / 3; ++y) {
    for (Index x = box.x + box.width / 3; x < box.x + box.width * 2 / 3; ++x) {
      low = std::min<double>(low, scene(y, x, 1));
      high = std::max<double>(high, scene(y, x, 1));
    }
  }
  CHECK(high - low < 12);
}

TEST_CASE("signed_photographs: repainting permutes the colours of the asked share of signs and inverts half of these") {
  auto options = small_options();
  options.repainted = 0.5;
  const SignedPhotographs generator(extents(), plates(), options, 10);
  int signs = 0;
  int inverted = 0;
  int permuted = 0;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const SignedPhotograph made = generator.sample(i);
    if (made.design < 0) continue;
    ++signs;
    inverted += made.inverted ? 1 : 0;
    permuted += made.channel != std::array<std::uint8_t, 3>{0, 1, 2} ? 1 : 0;
    std::array<std::uint8_t, 3> sorted = made.channel;
    std::sort(sorted.begin(), sorted.end());
    REQUIRE(sorted == std::array<std::uint8_t, 3>{0, 1, 2});
  }
  CHECK(std::abs(inverted - 0.25 * signs) < 5 * std::sqrt(signs * 0.25 * 0.75));
  CHECK(std::abs(permuted - 5.0 / 12 * signs) < 5 * std::sqrt(signs * 0.42 * 0.58));

  SignedPhotograph white = with_design(generator, 0);
  white.inverted = true;
  Image scene = grey(scene_extent, 90);
  generator.draw(white, scene);
  CHECK(mean(scene, white.box, 0) < 60);

  SignedPhotograph red = with_design(generator, 2);
  red.inverted = false;
  red.channel = {1, 2, 0};  // what is red shows as blue
  scene = grey(scene_extent, 90);
  generator.draw(red, scene);
  CHECK(mean(scene, red.box, 2) > mean(scene, red.box, 0) + 60);
}

TEST_CASE("signed_photographs: any thread makes the same sample") {
  const SignedPhotographs generator(extents(), plates(), small_options(), 11);
  const SignedPhotographs other(extents(), plates(), small_options(), 12);
  std::vector<Image> images;
  for (std::size_t i = 0; i < extents().size(); ++i) images.push_back(noisy(extents()[i], i));
  std::vector<View<const std::uint8_t, 3>> photographs;
  for (const Image& image : images) photographs.emplace_back(image.view());
  constexpr Index count = 12;
  std::vector<Image> alone(count, grey(scene_extent, 0));
  std::vector<SignedPhotograph> made(count);
  for (Index i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    made[at] = generator.generate(static_cast<std::uint64_t>(i), photographs, alone[at]);
    CHECK(made[at] == generator.sample(static_cast<std::uint64_t>(i)));
  }
  CHECK(made[1] != other.sample(1));
  std::vector<Image> together(count, grey(scene_extent, 255));
  fovea::Workers workers(3);
  workers.run(count, [&](Index i, int) {
    const auto at = static_cast<std::size_t>(count - 1 - i);
    generator.generate(at, photographs, together[at]);
  });
  for (std::size_t i = 0; i < count; ++i) CHECK(std::equal(alone[i].begin(), alone[i].end(), together[i].begin()));
}

TEST_CASE("signed_photographs: arguments that contradict each other are refused in words") {
  using fovea_test::message_of;
  const auto make = [](const std::vector<Extents<2>>& photographs, const std::vector<SignDesign>& signs,
                       const SignedPhotographsOptions& options) {
    return message_of([&] { SignedPhotographs(photographs, signs, options, 1); });
  };
  const auto says = [](const std::string& message, const std::string& part) { return message.find(part) != std::string::npos; };
  auto options = small_options();
  CHECK(says(make({{383, 512}}, plates(), options), "384 x 512 pixels expected, one of 383 x 512 came"));
  CHECK(says(make({}, plates(), options), "at least one photograph"));
  CHECK(says(make(extents(), {}, options), "one sign expected"));
  CHECK(says(make(extents(), {plate(0, {}), plate(0, {}), plate(2, {})}, options), "none of 1"));
  CHECK(says(make(extents(), {plate(-1, {})}, options), "-1 came"));
  CHECK(says(make(extents(), {SignDesign{Image({8, 8, 4}), 0}}, options), "something to see"));
  CHECK(says(make(extents(), {SignDesign{Image({8, 8, 3}), 0}}, options), "4 channels expected"));
  options.tallest = 380;
  CHECK(says(make(extents(), plates(), options), "a scene of at least"));
  options = small_options();
  options.repainted = 1.5;
  CHECK(says(make(extents(), plates(), options), "a share of 0 to 1 expected"));
  options = small_options();
  options.grid = 0;
  CHECK(says(make(extents(), plates(), options), "grid of at least 1"));

  const SignedPhotographs generator(extents(), plates(), small_options(), 1);
  Image small = grey({384, 511}, 0);
  CHECK(says(message_of([&] { generator.draw(generator.sample(0), small); }), "384 x 512 x 3"));
}

}  // namespace
