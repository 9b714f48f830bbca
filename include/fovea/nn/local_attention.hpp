// SPDX-License-Identifier: MIT
/// \file
/// A peak of an attention: the expected place near one of its cells.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/local_attention.hpp>
#include <fovea/nn/context.hpp>

#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace nn {

namespace traced {
/// The mean place under an attention over a grid, within `reach` of cells that a Choice named.
struct LocalCoordinates {
  const std::int32_t* cells;
  Extents<2> grid;
  Extents<2> reach;
};
}  // namespace traced

/// The expected place under an attention [B, height * width] over cells that tile [-1, 1] x [-1, 1], of the cells within
/// `reach` = {rows, columns} of cells[b]; returns [B, 2], x first. `cells` must stay until backward() has run. Throws Error on
/// other shapes, a cell that is none, or a negative reach.
template <Context C>
[[nodiscard]] VarOf<C> local_coordinates(C& context, VarOf<C> attention, View<const std::int32_t, 1> cells, Extents<2> grid,
                                         Extents<2> reach) {
  using T = typename C::Scalar;
  require(grid[0] > 0 && grid[1] > 0 && reach[0] >= 0 && reach[1] >= 0,
          "local_coordinates: a grid of at least 1 x 1 and a reach of at least 0 x 0 expected, ", grid[0], " x ", grid[1],
          " and ", reach[0], " x ", reach[1], " came");
  detail::require_shape("local_coordinates", "an attention", attention, {cells.size(), grid[0] * grid[1]});
  for (Index b = 0; b < cells.size(); ++b) {
    require(cells[b] >= 0 && cells[b] < grid[0] * grid[1], "local_coordinates: a cell within [0, ", grid[0] * grid[1],
            ") expected, ", cells[b], " came");
  }
  const VarOf<C> y = output(context, {cells.size(), 2}, attention);
  kernel::local_coordinates<T>(attention.template values<2>(), cells, grid, reach, y.template mutable_values<2>());
  trace(context, traced::LocalCoordinates{cells.data(), grid, reach}, y, attention);
  if (y.gradient) {
    context.record([=] {
      kernel::local_coordinates_backward<T>(y.template gradients<2>(), attention.template values<2>(), cells, grid, reach,
                                            y.template values<2>(), attention.template gradients<2>());
    });
  }
  return y;
}

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
