// SPDX-License-Identifier: MIT
/// \file
/// Functions of one number at a time that know their own derivatives: the one mechanism behind every distribution of sample/
/// that is made of special functions.
///
/// A function takes K doubles and returns Partials<K>: its value and its derivative to each. The derivatives are kept while
/// going forward, where most of their work has been done anyway, so that going backward is one multiply-add each.
///
/// Cost: the function's, which is 20 to 2000 ns of logarithms and series; against that the loop and 4 or 8 bytes a derivative
/// are nothing. Everything inside is double whatever T is: a log-density of Beta(1e4, 1e4) is a difference of numbers of
/// size 1e4, of which float would keep three digits. So a result in float is right to its rounding, 6e-8.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>

#include <array>
#include <cstddef>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// A value and its derivatives to K arguments.
template <std::size_t K>
struct Partials {
  double value = 0;
  std::array<double, K> d{};
};

/// y_i = f(x_1i, ..., x_Ki); the derivatives go to `partials` [K, n], or nowhere where it is empty.
template <class T, class F, std::size_t K>
void pointwise(F&& f, const std::array<View<const T, 1>, K>& x, View<T, 1> y, View<T, 2> partials) {
  for (Index i = 0; i < y.extent(0); ++i) {
    const Partials<K> result = [&]<std::size_t... k>(std::index_sequence<k...>) { return f(static_cast<double>(x[k](i))...); }
    (std::make_index_sequence<K>{});
    y(i) = static_cast<T>(result.value);
    if (partials.data() == nullptr) continue;
    for (std::size_t k = 0; k < K; ++k) partials(static_cast<Index>(k), i) = static_cast<T>(result.d[k]);
  }
}

/// y_b = sum over d of f(x_1bd, ..., x_Kbd): x [B, D], y [B], partials [K, B D]. The sum is in double.
template <class T, class F, std::size_t K>
void pointwise_sum(F&& f, const std::array<View<const T, 2>, K>& x, View<T, 1> y, View<T, 2> partials) {
  for (Index b = 0; b < y.extent(0); ++b) {
    double sum = 0;
    const Index columns = x[0].extent(1);
    for (Index d = 0; d < columns; ++d) {
      const Partials<K> result = [&]<std::size_t... k>(std::index_sequence<k...>) {
        return f(static_cast<double>(x[k](b, d))...);
      }
      (std::make_index_sequence<K>{});
      sum += result.value;
      if (partials.data() == nullptr) continue;
      for (std::size_t k = 0; k < K; ++k) partials(static_cast<Index>(k), b * columns + d) = static_cast<T>(result.d[k]);
    }
    y(b) = static_cast<T>(sum);
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
