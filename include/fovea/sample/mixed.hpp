// SPDX-License-Identifier: MIT
/// \file
/// A place as a cell and where in the cell: a discrete and a continuous part in one distribution.
///
/// With c_i the centre of cell i and h half its sides, the location is c_i + h * offset, offset in (-1, 1)^2, and its density
///
///     q(location) = p(i) q(offset | i) / (h_x h_y).
///
/// The cell decides where to look at all, the offset where exactly; a score function trains the first, a pathwise gradient the
/// second, and both pass through one draw and one density.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/grid.hpp>
#include <fovea/sample/per_row.hpp>

#include <algorithm>
#include <cmath>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// A cell of `grid` and an offset in it, Q being any distribution of this library over (-1, 1)^2. Its parameters are [B, 2],
/// the same for all cells, or where `per_cell` [B, 2 n], those of cell i at [2 i, 2 i + 2).
///
/// A draw is [B, n + 2]: the one-hot cell, then the offset; locations(context, q, draw) is where that is. It carries a gradient
/// to the parameters of the offset and none to the cell's logits, so it does not count as pathwise.
template <class T, class Q>
struct CellAndOffset {
  Categorical<T> cell;
  Q offset;
  Grid grid;
  bool per_cell = false;

  static constexpr bool pathwise = false;
  template <class F>
  [[nodiscard]] CellAndOffset map(F f) const {
    return {cell.map(f), offset.map(f), grid, per_cell};
  }
  [[nodiscard]] Index batch() const noexcept { return cell.batch(); }
  [[nodiscard]] Index cells() const noexcept { return cell.cells(); }
};

namespace detail {

template <class T, class Q>
void require_cell_and_offset(const char* op, const CellAndOffset<T, Q>& q) {
  require_logits(op, q.cell.logits);
  require(q.cells() == q.grid.cells(), op, ": logits of the ", q.grid.cells(), " cells of the grid expected, a shape ",
          q.cell.logits.shape.to_string(), " came");
  const Index columns = q.per_cell ? 2 * q.cells() : 2;
  (void)q.offset.map([&](const Var<T>& x) {
    require(x.shape.rank() >= 2 && x.shape[0] == q.batch() && x.shape[1] == columns, op, ": parameters of the offset [",
            q.batch(), ", ", columns, "] expected, a shape ", x.shape.to_string(), " came");
    return x;
  });
}

/// The distributions of the offset in every cell, as B n rows; where they are shared, B rows.
template <class T, class Q>
[[nodiscard]] Q offset_rows(const CellAndOffset<T, Q>& q) {
  if (!q.per_cell) return q.offset;
  return q.offset.map([rows = q.batch() * q.cells()](const Var<T>& x) {
    return x.reshape(x.shape.rank() == 2 ? Shape{rows, 2} : Shape{rows, 2, x.shape[2]});
  });
}

/// The distribution of the offset in the cell where the first n columns of `z` are greatest.
template <Context C, class Q>
[[nodiscard]] Q offset_at(C& context, const CellAndOffset<typename C::Scalar, Q>& q, const VarOf<C>& z) {
  using T = typename C::Scalar;
  if (!q.per_cell) return q.offset;
  const Index n = q.cells();
  const Index columns = z.shape[1];
  auto* row = context.template scratch<Index>(q.batch());
  for (Index b = 0; b < q.batch(); ++b) {
    row[b] = b * n + kernel::argmax_of_sum<T>(View<const T, 1>(z.value + b * columns, {n}), {});
  }
  return offset_rows(q).map([&](const VarOf<C>& x) {
    return nn::detail::copies_of_samples(context, x, q.batch(), [row](Index r) { return row[r]; });
  });
}

/// What the rows of the offset come to: the mean of y [B n, ...] over the cells, or y [B, ...] itself where all share it.
template <Context C, class Q>
[[nodiscard]] VarOf<C> mean_over_cells(C& context, const CellAndOffset<typename C::Scalar, Q>& q, const VarOf<C>& y) {
  if (!q.per_cell) return y;
  const Index batch = q.batch();
  const VarOf<C> x = y.reshape(Shape{batch, q.cells(), y.size() / (batch * q.cells())});
  const VarOf<C> sum = weighted_sum(context, probabilities(context, q.cell), x);
  return y.shape.rank() == 1 ? sum.reshape(Shape{batch}) : sum;
}

/// sign * log(h_x h_y) in every row [B].
template <Context C, class Q>
[[nodiscard]] VarOf<C> log_area(C& context, const CellAndOffset<typename C::Scalar, Q>& q, double sign) {
  const VarOf<C> y = context.constant(Shape{q.batch()});
  const double area = std::log(q.grid.half_width()) + std::log(q.grid.half_height());
  std::fill_n(y.value, y.size(), static_cast<typename C::Scalar>(sign * area));
  return y;
}

}  // namespace detail

/// A draw [B, n + 2].
template <Context C, class Q>
[[nodiscard]] VarOf<C> draw(C& context, const CellAndOffset<typename C::Scalar, Q>& q, const NoiseKey& key) {
  detail::require_cell_and_offset("cell and offset draw", q);
  const VarOf<C> cell = draw(context, q.cell, key);
  return nn::concat(context, {cell, draw(context, detail::offset_at(context, q, cell), key.fork(0))});
}

/// Where a draw [B, n + 2] is, (x, y) [B, 2], linear in it.
template <Context C, class Q>
[[nodiscard]] VarOf<C> locations(C& context, const CellAndOffset<typename C::Scalar, Q>& q, const VarOf<C>& z) {
  using T = typename C::Scalar;
  const Index n = q.grid.cells();
  nn::detail::require_shape("locations", "a draw", z, Shape{q.batch(), n + 2});
  const VarOf<C> half = context.constant(Shape{q.batch(), 2});
  for (Index b = 0; b < q.batch(); ++b) {
    half.value[2 * b] = static_cast<T>(q.grid.half_width());
    half.value[2 * b + 1] = static_cast<T>(q.grid.half_height());
  }
  return nn::add(context, locations(context, q.grid, nn::slice(context, z, 0, n)),
                 nn::multiply(context, half, nn::slice(context, z, n, 2)));
}

/// log of the density of the location [B], in nats per area, with gradients to q and z [B, n + 2]; the offset is taken to be in
/// the cell of the greatest weight.
template <Context C, class Q>
[[nodiscard]] VarOf<C> log_density(C& context, const CellAndOffset<typename C::Scalar, Q>& q, const VarOf<C>& z) {
  detail::require_cell_and_offset("cell and offset log-density", q);
  const Index n = q.cells();
  nn::detail::require_shape("cell and offset log-density", "a draw", z, Shape{q.batch(), n + 2});
  const VarOf<C> area = detail::log_area(context, q, -1);
  return nn::add(context, nn::add(context, log_density(context, q.cell, nn::slice(context, z, 0, n)), area),
                 log_density(context, detail::offset_at(context, q, z), nn::slice(context, z, n, 2)));
}

/// The entropy of the location [B], where that of the offset has a closed form.
template <Context C, class Q>
  requires HasEntropy<Q, C>
[[nodiscard]] VarOf<C> entropy(C& context, const CellAndOffset<typename C::Scalar, Q>& q) {
  detail::require_cell_and_offset("cell and offset entropy", q);
  const VarOf<C> offset = detail::mean_over_cells(context, q, entropy(context, detail::offset_rows(q)));
  return nn::add(context, nn::add(context, entropy(context, q.cell), detail::log_area(context, q, 1)), offset);
}

/// KL(q || p) [B] = KL of the cells + mean over q's cells of KL of the offsets, where that has a closed form. Both on one grid,
/// and per cell both or neither.
template <Context C, class Q, class P>
  requires HasDivergence<Q, P, C>
[[nodiscard]] VarOf<C> kl_divergence(C& context, const CellAndOffset<typename C::Scalar, Q>& q,
                                     const CellAndOffset<typename C::Scalar, P>& p) {
  detail::require_cell_and_offset("cell and offset KL", q);
  detail::require_cell_and_offset("cell and offset KL", p);
  require(q.grid.rows == p.grid.rows && q.grid.columns == p.grid.columns && q.per_cell == p.per_cell,
          "cell and offset KL: two distributions over one grid, per cell both or neither, expected");
  const VarOf<C> offset =
      detail::mean_over_cells(context, q, kl_divergence(context, detail::offset_rows(q), detail::offset_rows(p)));
  return nn::add(context, kl_divergence(context, q.cell, p.cell), offset);
}

/// [B, n + 2]: the probabilities of the cells and the mean offset, which locations() turns into the mean location.
template <Context C, class Q>
[[nodiscard]] VarOf<C> mean(C& context, const CellAndOffset<typename C::Scalar, Q>& q) {
  detail::require_cell_and_offset("cell and offset mean", q);
  return nn::concat(
      context, {probabilities(context, q.cell), detail::mean_over_cells(context, q, mean(context, detail::offset_rows(q)))});
}
/// [B, n + 2]: the most probable cell, and the mode of the offset there.
template <Context C, class Q>
[[nodiscard]] VarOf<C> mode(C& context, const CellAndOffset<typename C::Scalar, Q>& q) {
  detail::require_cell_and_offset("cell and offset mode", q);
  const VarOf<C> cell = mode(context, q.cell);
  return nn::concat(context, {cell, mode(context, detail::offset_at(context, q, cell))});
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
