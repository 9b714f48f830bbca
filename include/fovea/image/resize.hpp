// SPDX-License-Identifier: MIT
/// \file
/// An image at another size, and the proxy: the small view of the whole image that the policy sees.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/view.hpp>
#include <fovea/kernel/area.hpp>
#include <fovea/kernel/resample.hpp>

#include <algorithm>
#include <concepts>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {

namespace detail {

template <class P, class T>
void require_resizable(const View<P, 3>& image, const View<T, 3>& out) {
  require(!image.empty() && !out.empty(), "resize: at least one pixel expected, ", image.extent(0), "x", image.extent(1),
          " to ", out.extent(0), "x", out.extent(1), " came");
  require(image.extent(2) == out.extent(2), "resize: ", image.extent(2), " channels expected, ", out.extent(2), " came");
}

}  // namespace detail

/// out {h, w, C} = `image` {H, W, C} by area averaging, every pixel with the exact share of it that an output pixel covers;
/// values in [0, 1] for integer pixels. Where it enlarges, pixels become rectangles. Throws Error on empty or unlike channels.
template <class P, std::floating_point T>
  requires kernel::Pixel<std::remove_const_t<P>>
void resize_area(View<P, 3> image, View<T, 3> out) {
  detail::require_resizable(image, out);
  kernel::area_average(image, {0, static_cast<double>(image.extent(0))}, {0, static_cast<double>(image.extent(1))}, out);
}

/// out {h, w, C} = `image` {H, W, C} by bilinear interpolation without a filter, as torch's interpolate has it. For making
/// things larger; to make them smaller use resize_area. Throws Error on empty or unlike channels.
template <class P, std::floating_point T>
  requires kernel::Pixel<std::remove_const_t<P>>
void resize_bilinear(View<P, 3> image, View<T, 3> out, bool align_corners = false) {
  detail::require_resizable(image, out);
  const auto axis = [align_corners](Index from, Index to) -> kernel::SampleAxis {
    const auto n = static_cast<double>(from);
    const auto m = static_cast<double>(to);
    if (align_corners) return {0, to > 1 ? (n - 1) / (m - 1) : 0.0};
    return {n / m / 2 - 0.5, n / m};
  };
  kernel::resample(View<const std::remove_const_t<P>, 3>(image), axis(image.extent(0), out.extent(0)),
                   axis(image.extent(1), out.extent(1)), {kernel::Padding::border, false}, out);
}

/// out {h, w, C} = the whole image by area averaging, from the coarsest level stored that has at least `oversampling` times the
/// rows and columns of `out` (or else the finest): cost does not depend on the size of the image. Where a source keeps its
/// coarser levels whole (a file's overview), the finest of these is taken, as long as it has twice the rows and columns of
/// `out`: it is there, and the most exact of them. An average of averages is exact where the edges of the output's pixels fall
/// on those of the level's. Elsewhere a level pixel across an edge is taken for uniform, which moves at most 1/4 of it to the
/// wrong side: with contrast d between the two parts of such a pixel, an error of at most d / (4 * oversampling) for each of
/// the four edges. Throws Error on unlike channels.
template <ImageSource S, std::floating_point T>
void proxy(const S& image, View<T, 3> out, Index oversampling = 4) {
  require(image.levels() >= 1 && !out.empty(), "proxy: an image with at least one level and a window of at least 1x1 expected");
  require(image.channels() == out.extent(2), "proxy: ", out.extent(2), " channels expected, the image has ", image.channels());
  require(oversampling >= 1, "proxy: an oversampling of at least 1 expected, ", oversampling, " came");
  const auto has = [&](int level, Index times) {
    const Extents<2> extent = image.level_extent(level);
    return extent[0] >= times * out.extent(0) && extent[1] >= times * out.extent(1);
  };
  int level = image.levels() - 1;
  while (level > 0 && !has(level, oversampling)) --level;
  if constexpr (requires { image.overview_level(); }) {
    const int overview = image.overview_level();
    if (has(overview, 2)) level = overview;
  }
  const Extents<2> extent = image.level_extent(level);
  const auto pixels = read_exactly(image, level, {0, 0, extent[0], extent[1]});
  const auto length = [&](std::size_t axis) {
    return std::min(static_cast<double>(extent[axis]), static_cast<double>(image.extent()[axis]) / image.ratios(level)[axis]);
  };
  kernel::area_average(pixels, {0, length(0)}, {0, length(1)}, out);
}

}  // namespace fovea::inline FOVEA_ABI
