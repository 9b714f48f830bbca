// SPDX-License-Identifier: MIT
/// \file
/// A grid of cells over the image: how a discrete draw becomes a place.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/context.hpp>

#include <algorithm>
#include <cmath>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// rows x columns equal cells that tile [-1, 1]^2; cell row * columns + column, (-1, -1) being the corner of cell 0.
struct Grid {
  Index rows = 1;
  Index columns = 1;

  [[nodiscard]] constexpr Index cells() const noexcept { return rows * columns; }
  /// Half the width of a cell, and half its height.
  [[nodiscard]] constexpr double half_width() const noexcept { return 1.0 / static_cast<double>(columns); }
  [[nodiscard]] constexpr double half_height() const noexcept { return 1.0 / static_cast<double>(rows); }
  /// The centre of a cell.
  [[nodiscard]] constexpr double x(Index cell) const noexcept {
    return static_cast<double>(2 * (cell % columns) + 1) * half_width() - 1;
  }
  [[nodiscard]] constexpr double y(Index cell) const noexcept {
    return static_cast<double>(2 * (cell / columns) + 1) * half_height() - 1;
  }
  /// The cell at a place; the nearest one for a place outside.
  [[nodiscard]] Index cell_of(double at_x, double at_y) const noexcept {
    const auto along = [](double at, Index count) {
      const double place = std::floor((at + 1) / 2 * static_cast<double>(count));
      return static_cast<Index>(std::clamp(place, 0.0, static_cast<double>(count - 1)));
    };
    return along(at_y, rows) * columns + along(at_x, columns);
  }
};

/// The mean (x, y) [B, 2] of the cells' centres under weights [B, cells], with a gradient to the weights: the centre of a cell
/// for a one-hot row, a soft-argmax for a relaxed one. Throws Error on another number of weights.
template <Context C>
[[nodiscard]] VarOf<C> locations(C& context, const Grid& grid, const VarOf<C>& weights) {
  using T = typename C::Scalar;
  require(weights.shape.rank() == 2 && weights.shape[1] == grid.cells(), "locations: weights [B, ", grid.cells(),
          "] for a grid of ", grid.rows, " x ", grid.columns, " cells expected, a shape ", weights.shape.to_string(), " came");
  const Index batch = weights.shape[0];
  const Index n = grid.cells();
  const VarOf<C> y = nn::output(context, Shape{batch, 2}, weights);
  for (Index b = 0; b < batch; ++b) {
    double sum_x = 0;
    double sum_y = 0;
    for (Index i = 0; i < n; ++i) {
      const auto w = static_cast<double>(weights.value[b * n + i]);
      sum_x += w * grid.x(i);
      sum_y += w * grid.y(i);
    }
    y.value[2 * b] = static_cast<T>(sum_x);
    y.value[2 * b + 1] = static_cast<T>(sum_y);
  }
  if (y.gradient) {
    context.record([=] {
      for (Index b = 0; b < batch; ++b) {
        for (Index i = 0; i < n; ++i) {
          weights.gradient[b * n + i] +=
              y.gradient[2 * b] * static_cast<T>(grid.x(i)) + y.gradient[2 * b + 1] * static_cast<T>(grid.y(i));
        }
      }
    });
  }
  return y;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
