// SPDX-License-Identifier: MIT
/// \file
/// Just enough drawing to show an image, where a model looked, and what it saw there.
///
/// A picture is height x width x 3, RGB. Coordinates are pixels, (x, y) = (column, row); everything is clipped at the
/// edges.
#pragma once

#include "font.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace support {

using fovea::Index;
using Picture = fovea::Tensor<std::uint8_t, 3>;
using PictureView = fovea::View<std::uint8_t, 3>;
using ConstPictureView = fovea::View<const std::uint8_t, 3>;
using Colour = std::array<std::uint8_t, 3>;

inline constexpr Colour kBlack{0, 0, 0};
inline constexpr Colour kWhite{255, 255, 255};
inline constexpr Colour kGrey{110, 110, 110};
inline constexpr Colour kRight{0, 120, 80};
inline constexpr Colour kWrong{190, 40, 20};

/// Colours that also the colour-blind tell apart (M. Okabe, K. Ito, "Color universal design", 2008), over again after
/// six.
[[nodiscard]] inline Colour palette(std::size_t i) noexcept {
  constexpr std::array<Colour, 6> colours{
      {{230, 159, 0}, {86, 180, 233}, {0, 158, 115}, {240, 228, 66}, {213, 94, 0}, {204, 121, 167}}};
  return colours[i % colours.size()];
}

/// A rectangle in pixels of a picture.
struct Area {
  Index x = 0;
  Index y = 0;
  Index width = 0;
  Index height = 0;
};

[[nodiscard]] inline Picture make_picture(Index height, Index width, Colour colour = kWhite) {
  Picture picture({height, width, 3});
  for (Index i = 0; i < picture.size(); ++i) picture.data()[i] = colour[static_cast<std::size_t>(i % 3)];
  return picture;
}

inline void set_pixel(PictureView picture, Index x, Index y, Colour colour) noexcept {
  if (x < 0 || y < 0 || x >= picture.extent(1) || y >= picture.extent(0)) return;
  for (std::size_t c = 0; c < 3; ++c) picture(y, x, c) = colour[c];
}

inline void fill(PictureView picture, Area area, Colour colour) noexcept {
  const Index bottom = std::min(area.y + area.height, picture.extent(0));
  const Index right = std::min(area.x + area.width, picture.extent(1));
  for (Index y = std::max(Index{0}, area.y); y < bottom; ++y) {
    for (Index x = std::max(Index{0}, area.x); x < right; ++x) set_pixel(picture, x, y, colour);
  }
}

/// The edge of `area`, `thickness` pixels to the inside.
inline void outline(PictureView picture, Area area, Index thickness, Colour colour) noexcept {
  thickness = std::min({thickness, (area.width + 1) / 2, (area.height + 1) / 2});
  fill(picture, {area.x, area.y, area.width, thickness}, colour);
  fill(picture, {area.x, area.y + area.height - thickness, area.width, thickness}, colour);
  fill(picture, {area.x, area.y, thickness, area.height}, colour);
  fill(picture, {area.x + area.width - thickness, area.y, thickness, area.height}, colour);
}

/// A line from (x0, y0) to (x1, y1), `thickness` pixels wide.
inline void line(PictureView picture, double x0, double y0, double x1, double y1, Index thickness, Colour colour) noexcept {
  const double steps = std::max({1.0, std::abs(x1 - x0), std::abs(y1 - y0)});
  for (const double at : {x0, y0, x1, y1}) {
    if (!(std::abs(at) < 1e6)) return;  // NaN, or far outside
  }
  for (double i = 0; i <= steps; ++i) {
    const auto x = static_cast<Index>(std::floor(x0 + (x1 - x0) * i / steps));
    const auto y = static_cast<Index>(std::floor(y0 + (y1 - y0) * i / steps));
    fill(picture, {x - thickness / 2, y - thickness / 2, thickness, thickness}, colour);
  }
}

/// The size of a text in pixels (the height of its capitals).
[[nodiscard]] inline Index text_width(std::string_view text, Index scale) noexcept {
  return text.empty() ? 0 : (static_cast<Index>(text.size()) * (kGlyphWidth + 1) - 1) * scale;
}
[[nodiscard]] inline Index text_height(Index scale) noexcept { return kGlyphHeight * scale; }

/// Writes `text` with its upper left corner at (x, y), each dot of the font `scale` pixels wide. Returns the x behind
/// it.
inline Index draw_text(PictureView picture, Index x, Index y, std::string_view text, Index scale, Colour colour) noexcept {
  for (const char character : text) {
    const Glyph& shape = glyph(character);
    for (Index row = 0; row < kGlyphRows; ++row) {
      for (Index column = 0; column < kGlyphWidth; ++column) {
        const unsigned bit = unsigned{1} << (kGlyphWidth - 1 - column);
        if ((shape.rows[static_cast<std::size_t>(row)] & bit) == 0) continue;
        fill(picture, {x + column * scale, y + row * scale, scale, scale}, colour);
      }
    }
    x += (kGlyphWidth + 1) * scale;
  }
  return x;
}

/// How pixels are made where a picture is shown at another size.
enum class Scaling {
  nearest,  ///< pixels stay visible: for what a network sees
  smooth,   ///< bilinear where it grows, an average of what a pixel covers where it shrinks
};

namespace detail {

/// Which of `count` pixels, along one axis, the pixel `at` of `size` is made from, and with what weights.
struct Reach {
  Index first = 0;
  Index last = 0;
  double first_weight = 1;
  double last_weight = 1;

  Reach(Index at, Index size, Index count, Scaling scaling) noexcept {
    const double step = static_cast<double>(count) / static_cast<double>(size);
    const double begin = static_cast<double>(at) * step;
    if (scaling == Scaling::nearest) {
      first = last = std::clamp(static_cast<Index>(begin + step / 2), Index{0}, count - 1);
    } else if (step > 1) {
      first = std::clamp(static_cast<Index>(begin), Index{0}, count - 1);
      last = std::clamp(static_cast<Index>(std::ceil(begin + step)) - 1, first, count - 1);
    } else {
      const double centre = std::clamp(begin + step / 2 - 0.5, 0.0, static_cast<double>(count - 1));
      first = static_cast<Index>(centre);
      last = std::min(first + 1, count - 1);
      last_weight = centre - static_cast<double>(first);
      first_weight = 1 - last_weight;
    }
  }
  [[nodiscard]] double weight(Index pixel) const noexcept {
    return pixel == first ? first_weight : pixel == last ? last_weight : 1;
  }
};

}  // namespace detail

/// Shows `image` (1 or 3 channels) in `area` of `picture`. Throws fovea::Error on other channels or an empty image.
inline void draw_image(PictureView picture, Area area, ConstPictureView image, Scaling scaling) {
  const Index height = image.extent(0);
  const Index width = image.extent(1);
  const Index channels = image.extent(2);
  fovea::require(height >= 1 && width >= 1 && (channels == 1 || channels == 3),
                 "draw_image: an image of 1 or 3 channels expected, one of ", height, " x ", width, " x ", channels, " came");
  if (area.width < 1 || area.height < 1) return;
  for (Index y = 0; y < area.height; ++y) {
    const detail::Reach rows(y, area.height, height, scaling);
    for (Index x = 0; x < area.width; ++x) {
      const detail::Reach columns(x, area.width, width, scaling);
      Colour colour{};
      for (Index c = 0; c < 3; ++c) {
        double sum = 0;
        double weights = 0;
        for (Index row = rows.first; row <= rows.last; ++row) {
          for (Index column = columns.first; column <= columns.last; ++column) {
            const double weight = rows.weight(row) * columns.weight(column);
            sum += weight * image(row, column, channels == 1 ? 0 : c);
            weights += weight;
          }
        }
        colour[static_cast<std::size_t>(c)] = static_cast<std::uint8_t>(std::lround(sum / weights));
      }
      set_pixel(picture, area.x + x, area.y + y, colour);
    }
  }
}

}  // namespace support
