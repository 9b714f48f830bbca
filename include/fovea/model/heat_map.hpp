// SPDX-License-Identifier: MIT
/// \file
/// A heat map of gaze that never exists as a whole: it keeps the regions, and makes any part of itself when asked. Its memory
/// grows with the number of looks, not with the image.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/image/view.hpp>
#include <fovea/model/prediction.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// How a look spreads.
enum class GazeShape : std::uint8_t {
  gaussian,  ///< with the region two deviations to each side of its centre
  box,       ///< evenly over the region
};

/// A density over the coordinates of regions, [-1, 1] x [-1, 1] being the image: each look counts its weight in all, part of it
/// beyond the image where the region reaches there. Looks at images of different sizes may be put into one map.
class HeatMap {
 public:
  explicit HeatMap(GazeShape shape = GazeShape::gaussian) : shape_(shape) {}

  /// A look. `image` and `glimpse`, {height, width} in pixels, matter under Aspect::isotropic. Throws Error on a region that is
  /// not finite or has no area, on a weight that is not finite or below 0, and on extents below 1.
  void add(const glimpse::Region<float>& region, double weight = 1, glimpse::Aspect aspect = glimpse::Aspect::stretch,
           Extents<2> image = {1, 1}, Extents<2> glimpse = {1, 1}) {
    require(std::isfinite(region.s) && std::isfinite(region.x) && std::isfinite(region.y) && region.s > 0,
            "heat map: finite regions with an area expected, s ", region.s, ", x ", region.x, ", y ", region.y, " came");
    require(weight >= 0 && std::isfinite(weight), "heat map: a weight of at least 0 expected, ", weight, " came");
    require(image[0] >= 1 && image[1] >= 1 && glimpse[0] >= 1 && glimpse[1] >= 1,
            "heat map: an image and a glimpse of at least 1x1 expected, ", image[0], "x", image[1], " and ", glimpse[0], "x",
            glimpse[1], " came");
    const std::array<double, 2> unit = glimpse::unit_half_extents(aspect, image, glimpse);
    const auto s = static_cast<double>(region.s);
    looks_.push_back({{static_cast<double>(region.x), s * unit[0]}, {static_cast<double>(region.y), s * unit[1]}, weight});
  }
  /// All looks of a prediction, each of the same weight. Throws Error as above, and then adds none.
  void add(const Prediction& prediction, double weight = 1, glimpse::Aspect aspect = glimpse::Aspect::stretch,
           Extents<2> image = {1, 1}, Extents<2> glimpse = {1, 1}) {
    HeatMap all(shape_);
    for (const auto& region : prediction.regions) all.add(region, weight, aspect, image, glimpse);
    append(all);
  }
  /// The looks of another map behind its own; their shape becomes that of this one.
  void append(const HeatMap& next) { looks_.insert(looks_.end(), next.looks_.begin(), next.looks_.end()); }

  [[nodiscard]] Index looks() const noexcept { return static_cast<Index>(looks_.size()); }

  /// The density at a place, per unit of area.
  [[nodiscard]] double operator()(double x, double y) const {
    double sum = 0;
    for (const Look& look : looks_) sum += look.weight * density(look.x, x) * density(look.y, y);
    return sum;
  }

  /// Part of a map of `map` = {height, width} pixels over the whole image: rows [top, bottom) and columns [left, right) of it
  /// into `out` [height, width of the part], any strides. A pixel is the mean of the density over it, exactly, so the map times
  /// the area of its pixels sums to the weight within the image at any resolution, and parts fit together. O(T) per pixel, O(1)
  /// memory. Throws Error on a map without pixels, a part not within it, and an `out` of another shape.
  void render(Extents<2> map, const PixelBox& part, View<float, 2> out) const {
    require(map[0] >= 1 && map[1] >= 1 && part.top >= 0 && part.left >= 0 && part.height >= 0 && part.width >= 0 &&
                part.height <= map[0] - part.top && part.width <= map[1] - part.left,
            "heat map: a part of a map of ", map[0], "x", map[1], " expected, rows from ", part.top, " and columns from ",
            part.left, ", ", part.height, "x", part.width, ", came");
    require(out.extent(0) == part.height && out.extent(1) == part.width, "heat map: a buffer of ", part.height, "x", part.width,
            " expected, ", out.extent(0), "x", out.extent(1), " came");
    // In tiles, so that the products of rows and columns need no memory of the part's size.
    constexpr Index side = 64;
    for (Index top = 0; top < part.height; top += side) {
      for (Index left = 0; left < part.width; left += side) {
        const Index rows = std::min(side, part.height - top);
        const Index columns = std::min(side, part.width - left);
        std::array<double, side * side> tile{};
        for (const Look& look : looks_) {
          std::array<double, side> across;
          means(look.x, part.left + left, columns, map[1], across);
          std::array<double, side> down;
          means(look.y, part.top + top, rows, map[0], down);
          for (Index r = 0; r < rows; ++r) {
            const double weight = look.weight * down[static_cast<std::size_t>(r)];
            if (weight == 0) continue;
            double* row = tile.data() + r * side;
            for (Index c = 0; c < columns; ++c) row[c] += weight * across[static_cast<std::size_t>(c)];
          }
        }
        for (Index r = 0; r < rows; ++r) {
          for (Index c = 0; c < columns; ++c) {
            out(top + r, left + c) = static_cast<float>(tile[static_cast<std::size_t>(r * side + c)]);
          }
        }
      }
    }
  }

 private:
  struct Axis {
    double centre;
    double half_extent;
  };
  struct Look {
    Axis x;
    Axis y;
    double weight;
  };

  /// In deviations, or half-extents, from the centre.
  [[nodiscard]] double standard(const Axis& axis, double at) const noexcept {
    return (at - axis.centre) / (shape_ == GazeShape::gaussian ? axis.half_extent / 2 : axis.half_extent);
  }
  [[nodiscard]] double density(const Axis& axis, double at) const noexcept {
    const double u = standard(axis, at);
    if (shape_ == GazeShape::box) return std::abs(u) <= 1 ? 0.5 / axis.half_extent : 0.0;
    return std::exp(-0.5 * u * u) * std::numbers::inv_sqrtpi / std::numbers::sqrt2 / (axis.half_extent / 2);
  }
  /// The share of a look between two places; the tails by erfc, so that they keep their digits.
  [[nodiscard]] double mass_between(const Axis& axis, double from, double to) const noexcept {
    const double a = standard(axis, from);
    const double b = standard(axis, to);
    if (shape_ == GazeShape::box) return std::max(0.0, std::min(b, 1.0) - std::max(a, -1.0)) / 2;
    constexpr double r = 1 / std::numbers::sqrt2;
    if (a > 0) return (std::erfc(a * r) - std::erfc(b * r)) / 2;
    if (b < 0) return (std::erfc(-b * r) - std::erfc(-a * r)) / 2;
    return (std::erf(b * r) - std::erf(a * r)) / 2;
  }
  /// The mean densities over pixels [first, first + count) of `pixels` from -1 to 1.
  template <std::size_t N>
  void means(const Axis& axis, Index first, Index count, Index pixels, std::array<double, N>& out) const noexcept {
    const double size = 2 / static_cast<double>(pixels);
    for (Index i = 0; i < count; ++i) {
      const double from = static_cast<double>(2 * (first + i) - pixels) / static_cast<double>(pixels);
      const double to = static_cast<double>(2 * (first + i + 1) - pixels) / static_cast<double>(pixels);
      out[static_cast<std::size_t>(i)] = mass_between(axis, from, to) / size;
    }
  }

  GazeShape shape_;
  std::vector<Look> looks_;
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
