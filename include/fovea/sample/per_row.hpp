// SPDX-License-Identifier: MIT
/// \file
/// Ops made of a function of whole rows that returns its value and derivatives: what pointwise_sum is to numbers, per_row is to
/// the rows of a categorical distribution or a mixture. And the mean of things under such a distribution.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/nn/context.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// y_b = f(rows b of x_1, ..., x_K): [B, ...] each to [B]. `f` is given the K rows as views, and K views of the same lengths
/// for its derivatives, empty where none is wanted; it returns a double. Derivatives are kept while going forward, so that
/// going backward is one multiply-add each. Throws Error where the numbers of rows differ.
template <Context C, class F, std::same_as<VarOf<C>>... X>
[[nodiscard]] VarOf<C> per_row(C& context, F f, const VarOf<C>& first, const X&... others) {
  using T = typename C::Scalar;
  constexpr std::size_t count = 1 + sizeof...(X);
  const std::array<VarOf<C>, count> x{first, others...};
  require(first.shape.rank() >= 1, "per_row: inputs of rank 1 or more expected");
  const Index rows = first.shape[0];
  (require(others.shape.rank() >= 1 && others.shape[0] == rows, "per_row: inputs of ", rows, " rows expected, a shape ",
           others.shape.to_string(), " came"),
   ...);
  const VarOf<C> y = nn::output(context, Shape{rows}, first, others...);
  std::array<T*, count> kept{};
  std::array<Index, count> size{};
  for (std::size_t k = 0; k < count; ++k) {
    size[k] = nn::detail::as_samples(x[k].shape)[1];
    if (x[k].gradient) kept[k] = context.scratch(x[k].size());
  }
  for (Index b = 0; b < rows; ++b) {
    y.value[b] = static_cast<T>([&]<std::size_t... k>(std::index_sequence<k...>) {
      return f(View<const T, 1>(x[k].value + b * size[k], {size[k]})...,
               (kept[k] ? View<T, 1>(kept[k] + b * size[k], {size[k]}) : View<T, 1>())...);
    }(std::make_index_sequence<count>{}));
  }
  if (!y.gradient) return y;
  context.record([=] {
    for (std::size_t k = 0; k < count; ++k) {
      for (Index b = 0; kept[k] && b < rows; ++b) {
        kernel::axpy<T>(y.gradient[b], View<const T, 1>(kept[k] + b * size[k], {size[k]}),
                        View<T, 1>(x[k].gradient + b * size[k], {size[k]}));
      }
    }
  });
  return y;
}

/// y_b = sum_i w_bi x_bi: weights [B, n] and x [B, n, D] to [B, D], with gradients to both. Throws Error on other shapes.
template <Context C>
[[nodiscard]] VarOf<C> weighted_sum(C& context, const VarOf<C>& weights, const VarOf<C>& x) {
  using T = typename C::Scalar;
  nn::detail::require_rank("weighted_sum", weights, 2);
  nn::detail::require_rank("weighted_sum", x, 3);
  const Index rows = weights.size();
  const Index n = weights.shape[1];
  const Index size = x.shape[2];
  nn::detail::require_shape("weighted_sum", "what is summed", x, Shape{weights.shape[0], n, size});
  const VarOf<C> y = nn::output(context, Shape{weights.shape[0], size}, weights, x);
  std::fill_n(y.value, y.size(), T(0));
  for (Index r = 0; r < rows; ++r) {
    kernel::axpy<T>(weights.value[r], View<const T, 1>(x.value + r * size, {size}), View<T, 1>(y.value + r / n * size, {size}));
  }
  if (!y.gradient) return y;
  context.record([=] {
    for (Index r = 0; r < rows; ++r) {
      const View<const T, 1> d_y(y.gradient + r / n * size, {size});
      if (x.gradient) kernel::axpy<T>(weights.value[r], d_y, View<T, 1>(x.gradient + r * size, {size}));
      for (Index d = 0; weights.gradient && d < size; ++d) weights.gradient[r] += d_y(d) * x.value[r * size + d];
    }
  });
  return y;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
