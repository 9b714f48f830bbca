// SPDX-License-Identifier: MIT
/// \file
/// Ops made of a function of numbers that returns its value and derivatives (kernel/pointwise.hpp).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/pointwise.hpp>
#include <fovea/nn/context.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace nn {

/// y = f(x_1, ..., x_K), element by element, all of one shape: `f` takes K doubles and returns kernel::Partials<K>. Throws
/// Error where the shapes differ.
template <Context C, class F, std::same_as<VarOf<C>>... X>
[[nodiscard]] VarOf<C> pointwise(C& context, F f, const VarOf<C>& first, const X&... others) {
  using T = typename C::Scalar;
  constexpr std::size_t count = 1 + sizeof...(X);
  (detail::require_shape("pointwise", "an operand", others, first.shape), ...);
  const VarOf<C> y = output(context, first.shape, first, others...);
  const auto rows = static_cast<Index>(count);
  T* kept = y.gradient ? context.scratch(rows * y.size()) : nullptr;
  const View<T, 2> partials = kept ? View<T, 2>(kept, {rows, y.size()}) : View<T, 2>();
  kernel::pointwise<T>(f, std::array<View<const T, 1>, count>{first.values(), others.values()...}, y.mutable_values(),
                       partials);
  if (!y.gradient) return y;
  context.record([y, partials, x = std::array<VarOf<C>, count>{first, others...}] {
    for (std::size_t k = 0; k < count; ++k) {
      const View<const T, 1> partial(partials.data() + static_cast<Index>(k) * y.size(), {y.size()});
      if (x[k].gradient) kernel::multiply_add<T>(y.gradients(), partial, x[k].gradients());
    }
  });
  return y;
}

/// y = sum over the last axis of f(x_1, ..., x_K): [B, D] to [B]. Throws Error where the shapes differ.
template <Context C, class F, std::same_as<VarOf<C>>... X>
[[nodiscard]] VarOf<C> pointwise_sum(C& context, F f, const VarOf<C>& first, const X&... others) {
  using T = typename C::Scalar;
  constexpr std::size_t count = 1 + sizeof...(X);
  detail::require_rank("pointwise_sum", first, 2);
  (detail::require_shape("pointwise_sum", "an operand", others, first.shape), ...);
  const Index samples = first.shape[0];
  const Index columns = first.shape[1];
  const VarOf<C> y = output(context, Shape{samples}, first, others...);
  const auto rows = static_cast<Index>(count);
  T* kept = y.gradient ? context.scratch(rows * first.size()) : nullptr;
  const View<T, 2> partials = kept ? View<T, 2>(kept, {rows, first.size()}) : View<T, 2>();
  kernel::pointwise_sum<T>(f, std::array<View<const T, 2>, count>{first.template values<2>(), others.template values<2>()...},
                           y.mutable_values(), partials);
  if (!y.gradient) return y;
  context.record([y, partials, samples, columns, x = std::array<VarOf<C>, count>{first, others...}] {
    for (std::size_t k = 0; k < count; ++k) {
      if (!x[k].gradient) continue;
      for (Index b = 0; b < samples; ++b) {
        const Index at = b * columns;
        kernel::axpy<T>(y.gradient[b], View<const T, 1>(partials.data() + static_cast<Index>(k) * x[k].size() + at, {columns}),
                        View<T, 1>(x[k].gradient + at, {columns}));
      }
    }
  });
  return y;
}

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
