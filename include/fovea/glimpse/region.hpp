// SPDX-License-Identifier: MIT
/// \file
/// Where to look: a rectangle of the image given by its centre and scale.
///
/// Coordinates are those of affine_grid: -1 and 1 are the outer edges of the image, x to the right, y down, whatever its size
/// in pixels.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace glimpse {

/// Centre (x, y) in [-1, 1] and half-extent s > 0 as a fraction of half the image: s = 1 at (0, 0) is the whole image.
template <class T>
struct Region {
  T s = 1;
  T x = 0;
  T y = 0;
  friend constexpr bool operator==(const Region&, const Region&) = default;
};

/// What s means where the image or the glimpse is not square.
enum class Aspect : std::uint8_t {
  stretch,    ///< s on both axes of the image, as affine_grid has it: the glimpse has the aspect ratio of the image
  isotropic,  ///< the glimpse's pixels are square; s = 1 covers the longer side of the image (and more than the shorter)
};

/// A rectangle in pixels of the image: [left, right) x [top, bottom), 0 being the outer edge of the first pixel.
struct PixelRectangle {
  double left = 0;
  double top = 0;
  double right = 0;
  double bottom = 0;
  [[nodiscard]] constexpr double area() const noexcept { return std::max(0.0, right - left) * std::max(0.0, bottom - top); }
};

/// The half-extents of the region s = 1 on the axes of the image, {x, y}: what s is multiplied by.
/// `image` and `glimpse`: {height, width} in pixels.
[[nodiscard]] inline std::array<double, 2> unit_half_extents(Aspect aspect, Extents<2> image, Extents<2> glimpse = {1, 1}) {
  if (aspect == Aspect::stretch) return {1.0, 1.0};
  const auto number = [](Index n) { return static_cast<double>(n); };
  const double longer_image = number(std::max(image[0], image[1]));
  const double longer_glimpse = number(std::max(glimpse[0], glimpse[1]));
  return {longer_image / number(image[1]) * number(glimpse[1]) / longer_glimpse,
          longer_image / number(image[0]) * number(glimpse[0]) / longer_glimpse};
}

/// The region as a 2x3 matrix, row-major, from glimpse coordinates in [-1, 1] to image coordinates: what affine_grid takes.
template <class T>
[[nodiscard]] std::array<T, 6> to_affine(const Region<T>& region, Aspect aspect, Extents<2> image,
                                         Extents<2> glimpse = {1, 1}) {
  const std::array<double, 2> unit = unit_half_extents(aspect, image, glimpse);
  return {region.s * static_cast<T>(unit[0]), T(0), region.x, T(0), region.s * static_cast<T>(unit[1]), region.y};
}

/// The region in pixels of an image of `image` = {height, width}.
template <class T>
[[nodiscard]] PixelRectangle to_pixels(const Region<T>& region, Aspect aspect, Extents<2> image, Extents<2> glimpse = {1, 1}) {
  const std::array<double, 2> unit = unit_half_extents(aspect, image, glimpse);
  const double s = static_cast<double>(region.s);
  const double half_width = static_cast<double>(image[1]) / 2;
  const double half_height = static_cast<double>(image[0]) / 2;
  const double x = static_cast<double>(region.x);
  const double y = static_cast<double>(region.y);
  return {(x + 1 - s * unit[0]) * half_width, (y + 1 - s * unit[1]) * half_height, (x + 1 + s * unit[0]) * half_width,
          (y + 1 + s * unit[1]) * half_height};
}

/// The nearest region that lies within the image: s in [smallest, 1], then the centre moved inwards. Under `isotropic` an
/// axis on which the region is longer than the image is centred.
template <class T>
[[nodiscard]] Region<T> clamp_inside(Region<T> region, Aspect aspect, Extents<2> image, Extents<2> glimpse = {1, 1},
                                     T smallest = T(0)) {
  const std::array<double, 2> unit = unit_half_extents(aspect, image, glimpse);
  region.s = std::clamp(region.s, smallest, T(1));
  const T room_x = std::max(T(0), T(1) - region.s * static_cast<T>(unit[0]));
  const T room_y = std::max(T(0), T(1) - region.s * static_cast<T>(unit[1]));
  region.x = std::clamp(region.x, -room_x, room_x);
  region.y = std::clamp(region.y, -room_y, room_y);
  return region;
}

/// The common part of two rectangles; of area 0 where there is none.
[[nodiscard]] constexpr PixelRectangle intersection(const PixelRectangle& a, const PixelRectangle& b) noexcept {
  return {std::max(a.left, b.left), std::max(a.top, b.top), std::min(a.right, b.right), std::min(a.bottom, b.bottom)};
}

/// Intersection over union, in [0, 1]; 0 where both are empty.
[[nodiscard]] constexpr double overlap(const PixelRectangle& a, const PixelRectangle& b) noexcept {
  const double common = intersection(a, b).area();
  const double whole = a.area() + b.area() - common;
  return whole > 0 ? common / whole : 0.0;
}

/// The share of `a` that lies within `b`, in [0, 1]; 0 where a is empty.
[[nodiscard]] constexpr double covered(const PixelRectangle& a, const PixelRectangle& b) noexcept {
  return a.area() > 0 ? intersection(a, b).area() / a.area() : 0.0;
}

}  // namespace glimpse
}  // namespace fovea::inline FOVEA_ABI
