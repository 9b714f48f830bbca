// SPDX-License-Identifier: MIT
/// \file
/// Derivatives of a picture by differences: of two pictures, and by the Sobel filter.
///
/// Cost: one pass over the pictures, bound by memory: 2 loads and a store a value, or 8 and 2 for both directions of a Sobel
/// filter.
/// Accuracy: each value is rounded a few times, relative to the pixels and not to their difference.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/simd.hpp>

#include <concepts>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// out = factor (above - below), all dense; out may be one of them.
template <std::floating_point T>
void scaled_difference(const T* above, const T* below, double factor, View<T, 1> out) noexcept {
  const simd::Batch<T> by(static_cast<T>(factor));
  T* to = out.data();
  simd::for_each_batch<T>(out.size(), [&](auto at) { at.store(to, by * (at.load(above) - at.load(below))); });
}

/// d_columns, d_rows {h, w, C} = the derivative of `source` {h + 2, w + 2, C} to the right and down, per pixel, at its inner
/// pixels, times a factor: the central difference, smoothed by (1, 2, 1) / 4 along the other axis. All dense.
template <std::floating_point T>
void sobel(View<const T, 3> source, double column_factor, double row_factor, View<T, 3> d_columns, View<T, 3> d_rows) noexcept {
  using V = simd::Batch<T>;
  FOVEA_ASSERT(source.is_dense() && d_columns.is_dense() && d_rows.is_dense() && d_rows.extents() == d_columns.extents());
  FOVEA_ASSERT(source.extent(0) == d_rows.extent(0) + 2 && source.extent(1) == d_rows.extent(1) + 2);
  const Index pixel = source.extent(2);
  const V across(static_cast<T>(column_factor / 8));
  const V down(static_cast<T>(row_factor / 8));
  for (Index i = 0; i < d_rows.extent(0); ++i) {
    const T* above = source.data() + i * source.stride(0);
    const T* level = above + source.stride(0);
    const T* below = level + source.stride(0);
    T* to_columns = d_columns.data() + i * d_columns.stride(0);
    T* to_rows = d_rows.data() + i * d_rows.stride(0);
    simd::for_each_batch<T>(d_rows.stride(0), [&](auto at) {
      const V nw = at.load(above);
      const V ne = at.load(above + 2 * pixel);
      const V sw = at.load(below);
      const V se = at.load(below + 2 * pixel);
      const V west = at.load(level);
      const V east = at.load(level + 2 * pixel);
      const V north = at.load(above + pixel);
      const V south = at.load(below + pixel);
      const V two(T(2));
      at.store(to_columns, across * ((ne - nw) + (se - sw) + two * (east - west)));
      at.store(to_rows, down * ((sw - nw) + (se - ne) + two * (south - north)));
    });
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
