// SPDX-License-Identifier: MIT
// Pixels of changed pictures are where and what they should be.
#include "support/message_of.hpp"
#include "support/pictures.hpp"
#include <fovea/data/augment.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>

using fovea::Index;
using fovea::Stream;

TEST_CASE("flip_horizontally: columns from right to left, also in views with gaps") {
  for (const Index width : {1, 2, 5, 8}) {
    for (const Index channels : {1, 3}) {
      Stream stream(static_cast<std::uint64_t>(width));
      auto picture = fovea_test::noise<std::uint8_t>(stream, {3, width, channels}, 4);
      const auto before = picture;
      fovea::data::flip_horizontally(picture.view());
      for (Index y = 0; y < 3; ++y) {
        for (Index x = 0; x < width; ++x) {
          for (Index c = 0; c < channels; ++c) CHECK(picture.view()(y, x, c) == before.view()(y, width - 1 - x, c));
        }
      }
      fovea::data::flip_horizontally(picture.view());
      CHECK(picture.pixels == before.pixels);  // what lies between rows is not touched
    }
  }
}

TEST_CASE("jitter: one brightness and contrast for all pixels, named by the stream") {
  fovea_test::Picture<std::uint8_t> ramp({16, 16, 1});
  for (std::size_t i = 0; i < 256; ++i) ramp.pixels[i] = static_cast<std::uint8_t>(i);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Stream stream(seed);
    const double a = stream.uniform(0.5, 1.5);
    const double b = stream.uniform(0.75, 1.25);
    auto changed = ramp;
    Stream again(seed);
    fovea::data::jitter(changed.view(), again, 0.25, 0.5);
    CHECK(again.bits() == stream.bits());
    double worst = 0;
    for (std::size_t i = 0; i < 256; ++i) {
      const double expected = std::clamp(((static_cast<double>(i) - 127.5) * a + 127.5) * b, 0.0, 255.0);
      worst = std::max(worst, std::abs(changed.pixels[i] - expected));
    }
    CHECK(worst <= 0.5);
    CHECK(changed.pixels != ramp.pixels);
  }
  auto same = ramp;
  Stream stream(1);
  fovea::data::jitter(same.view(), stream, 0, 0);
  CHECK(same.pixels == ramp.pixels);
  CHECK(fovea_test::message_of([&] { fovea::data::jitter(same.view(), stream, 2, 0); }).find("0 to 1 expected") !=
        std::string::npos);
}

TEST_CASE("distorted: the set itself, then copies that keep label, ink and place about the centre") {
  fovea::data::DigitSet set{fovea::Tensor<std::uint8_t, 3>({2, 21, 17}), fovea::Tensor<std::uint8_t, 1>({2}), 10};
  std::fill_n(set.images.data(), set.images.size(), std::uint8_t{0});
  for (Index y = 7; y < 14; ++y) {
    for (Index x = 6; x < 11; ++x) set.images.view()(1, y, x) = 200;
  }
  set.labels.data()[0] = 3;
  set.labels.data()[1] = 8;
  const auto many = fovea::data::distorted(set, 5, 1);
  REQUIRE(many.size() == 10);
  CHECK(std::equal(set.images.data(), set.images.data() + set.images.size(), many.images.data()));
  const auto again = fovea::data::distorted(set, 5, 1);
  CHECK(std::equal(many.images.data(), many.images.data() + many.images.size(), again.images.data()));
  const auto ink = [&](Index i) {
    double sum = 0;
    double row = 0;
    double column = 0;
    for (Index y = 0; y < 21; ++y) {
      for (Index x = 0; x < 17; ++x) {
        const double v = many.images.view()(i, y, x);
        sum += v;
        row += v * static_cast<double>(y);
        column += v * static_cast<double>(x);
      }
    }
    return std::array<double, 3>{sum, row / sum, column / sum};
  };
  for (Index i = 0; i < 10; ++i) {
    CHECK(many.labels.data()[i] == (i % 2 == 0 ? 3 : 8));
    if (i % 2 == 0) continue;
    const auto [sum, row, column] = ink(i);
    CHECK(sum == doctest::Approx(7 * 5 * 200).epsilon(0.3));  // exp(2 * 0.12) at most, and edges
    CHECK(row == doctest::Approx(10).epsilon(0.13));          // within the shift, its rotation and shear
    CHECK(column == doctest::Approx(8).epsilon(0.16));
    if (i > 1)
      CHECK_FALSE(std::equal(many.images.data() + 21 * 17, many.images.data() + 2 * 21 * 17, many.images.data() + i * 21 * 17));
  }

  // Without freedom nothing changes.
  const auto same = fovea::data::distorted(set, 2, 7, {0, 0, 0, 0});
  CHECK(std::equal(set.images.data(), set.images.data() + set.images.size(), same.images.data() + set.images.size()));
  CHECK(fovea_test::message_of([&] { (void)fovea::data::distorted(set, 0, 1); }) ==
        "distorted: at least 1 copy expected, 0 came");
  CHECK(fovea_test::message_of([&] { (void)fovea::data::distorted(set, 1, 1, {.shear = -1}); }).find("at least 0 expected") !=
        std::string::npos);
}
