// SPDX-License-Identifier: MIT
/// \file
/// The expected place under an attention near one of its cells: a peak of it, found to a fraction of a cell.
///
/// Cost: the cells of one window and nothing else, 3 multiply-adds each forward, 4 backward. Sums in double.
///
/// Attention is [B, P], P = height * width cells in rows that tile [-1, 1] x [-1, 1]. The window of cell (i, j) holds the cells
/// within `reach` = {rows, columns} of it, as far as there are such.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

namespace detail {

/// The window of a cell: calls f(cell, x, y) for each within, row by row.
template <class F>
void for_window(Index cell, Extents<2> grid, Extents<2> reach, F f) {
  const Index row = cell / grid[1];
  const Index column = cell % grid[1];
  const Index bottom = std::min(grid[0] - 1, row + reach[0]);
  const Index right = std::min(grid[1] - 1, column + reach[1]);
  for (Index i = std::max(Index{0}, row - reach[0]); i <= bottom; ++i) {
    const double y = static_cast<double>(2 * i + 1) / static_cast<double>(grid[0]) - 1;
    for (Index j = std::max(Index{0}, column - reach[1]); j <= right; ++j) {
      f(i * grid[1] + j, static_cast<double>(2 * j + 1) / static_cast<double>(grid[1]) - 1, y);
    }
  }
}

/// Below this the window has no attention worth dividing by, and the place is the cell's centre.
inline constexpr double kLeastAttention = 1e-30;

}  // namespace detail

/// out [B, 2], x first, = sum a_i c_i / sum a_i over the window of cells[b], c_i the centres.
template <class T>
void local_coordinates(View<const T, 2> attention, View<const std::int32_t, 1> cells, Extents<2> grid, Extents<2> reach,
                       View<T, 2> out) {
  for (Index b = 0; b < attention.extent(0); ++b) {
    double sum = 0;
    double sum_x = 0;
    double sum_y = 0;
    detail::for_window(cells[b], grid, reach, [&](Index i, double x, double y) {
      const auto a = static_cast<double>(attention(b, i));
      sum += a;
      sum_x += a * x;
      sum_y += a * y;
    });
    if (sum < detail::kLeastAttention) {
      detail::for_window(cells[b], grid, {0, 0}, [&](Index, double x, double y) {
        sum = 1;
        sum_x = x;
        sum_y = y;
      });
    }
    out(b, 0) = static_cast<T>(sum_x / sum);
    out(b, 1) = static_cast<T>(sum_y / sum);
  }
}

/// d_attention(b, i) += <d_out(b), c_i - out(b)> / sum of the window's attention.
template <class T>
void local_coordinates_backward(View<const T, 2> d_out, View<const T, 2> attention, View<const std::int32_t, 1> cells,
                                Extents<2> grid, Extents<2> reach, View<const T, 2> out, View<T, 2> d_attention) {
  for (Index b = 0; b < attention.extent(0); ++b) {
    double sum = 0;
    detail::for_window(cells[b], grid, reach, [&](Index i, double, double) { sum += static_cast<double>(attention(b, i)); });
    if (sum < detail::kLeastAttention) continue;
    const auto d_x = static_cast<double>(d_out(b, 0)) / sum;
    const auto d_y = static_cast<double>(d_out(b, 1)) / sum;
    detail::for_window(cells[b], grid, reach, [&](Index i, double x, double y) {
      d_attention(b, i) +=
          static_cast<T>(d_x * (x - static_cast<double>(out(b, 0))) + d_y * (y - static_cast<double>(out(b, 1))));
    });
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
