// SPDX-License-Identifier: MIT
/// \file
/// A stand-in for handwritten digits: those of the bitmap font, moved, stretched and slanted at random. Enough to see
/// that a program runs where no data is at hand; no measure of anything.
#pragma once

#include "font.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/idx.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace support {

/// `count` >= 1 pictures of 28 x 28, classes going round from 0 to 9; different for every seed.
[[nodiscard]] inline fovea::data::DigitSet make_builtin_digits(fovea::Index count, std::uint64_t seed) {
  using fovea::Index;
  constexpr Index size = 28;
  fovea::data::DigitSet digits;
  digits.images = fovea::Tensor<std::uint8_t, 3>({count, size, size});
  digits.labels = fovea::Tensor<std::uint8_t, 1>({count});
  for (Index i = 0; i < count; ++i) {
    fovea::Stream stream(seed, 0, static_cast<std::uint64_t>(i), fovea::Purpose::generate);
    const auto label = static_cast<std::uint8_t>(i % 10);
    digits.labels(i) = label;
    const Glyph& shape = glyph(static_cast<char>('0' + label));
    const double stretch_x = stream.uniform(2.0, 3.2);
    const double stretch_y = stream.uniform(2.2, 2.9);
    const double slant = stream.uniform(-0.3, 0.3);
    const double centre_x = size / 2.0 + stream.uniform(-2.0, 2.0);
    const double centre_y = size / 2.0 + stream.uniform(-2.0, 2.0);
    const double ink = stream.uniform(200.0, 255.0);
    const auto dot = [&](Index row, Index column) -> double {
      if (row < 0 || row >= kGlyphHeight || column < 0 || column >= kGlyphWidth) return 0;
      return (shape.rows[static_cast<std::size_t>(row)] >> (kGlyphWidth - 1 - column)) & 1;
    };
    for (Index y = 0; y < size; ++y) {
      for (Index x = 0; x < size; ++x) {
        const double down = static_cast<double>(y) + 0.5 - centre_y;
        const double across = static_cast<double>(x) + 0.5 - centre_x + slant * down;
        const double v = down / stretch_y + kGlyphHeight / 2.0 - 0.5;
        const double u = across / stretch_x + kGlyphWidth / 2.0 - 0.5;
        const auto row = static_cast<Index>(std::floor(v));
        const auto column = static_cast<Index>(std::floor(u));
        const double fv = v - std::floor(v);
        const double fu = u - std::floor(u);
        const double value = (1 - fv) * ((1 - fu) * dot(row, column) + fu * dot(row, column + 1)) +
                             fv * ((1 - fu) * dot(row + 1, column) + fu * dot(row + 1, column + 1));
        digits.images(i, y, x) = static_cast<std::uint8_t>(std::lround(ink * std::min(1.0, 1.4 * value)));
      }
    }
  }
  return digits;
}

}  // namespace support
