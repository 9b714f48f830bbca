// SPDX-License-Identifier: MIT
// Pixels of changed pictures are where and what they should be.
#include "support/message_of.hpp"
#include "support/pictures.hpp"
#include <fovea/data/augment.hpp>

#include <doctest/doctest.h>

#include <algorithm>
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
