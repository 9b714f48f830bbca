// SPDX-License-Identifier: MIT
/// \file
/// Gumbel top-k: k different cells, drawn one after the other from what is left.
///
/// W. Kool, H. van Hoof, M. Welling, "Stochastic beams and where to find them", ICML 2019: the k greatest of log p + Gumbel
/// noise, in descending order, are an ordered draw without replacement, whose probability is R. L. Plackett's (1975) and R. D.
/// Luce's (1959)
///
///     prod_j p(i_j) / (1 - sum_{l<j} p(i_l)).
///
/// The threshold kappa, the (k+1)-th greatest, makes a mean over all cells from the k drawn: cell i is above a given kappa with
/// probability q_i = 1 - exp(-exp(log p_i - kappa)), and sum over the draw of p_i / q_i f(i) is E_p[f] without bias (section
/// 4).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/categorical.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/per_row.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// An ordered draw of k cells a row. No gradient flows through it.
template <class T>
struct TopK {
  View<const std::int32_t, 2> cells;  ///< [B, k], in the order drawn
  Var<T> one_hot;                     ///< the same as [B, k, n]
  Var<T> threshold;                   ///< kappa [B], of the scale of log p + gumbel; -infinity where k = n

  [[nodiscard]] Index batch() const noexcept { return cells.extent(0); }
  [[nodiscard]] Index count() const noexcept { return cells.extent(1); }
};

/// The first is what Categorical's draw gives from the same gumbel [B, n]. Throws Error on k outside [1, n].
template <Context C>
[[nodiscard]] TopK<typename C::Scalar> draw_top_k(C& context, const Categorical<typename C::Scalar>& q, const VarOf<C>& gumbel,
                                                  Index k) {
  using T = typename C::Scalar;
  detail::require_logits("draw_top_k", q.logits);
  const Index batch = q.batch();
  const Index n = q.cells();
  require(k >= 1 && k <= n, "draw_top_k: k within [1, ", n, "] expected, ", k, " came");
  nn::detail::require_shape("draw_top_k", "noise", gumbel, q.logits.shape);
  auto* cells = context.template scratch<std::int32_t>(batch * k);
  auto* order = context.template scratch<std::int32_t>(n);
  const TopK<T> top{View<const std::int32_t, 2>(cells, {batch, k}), context.constant(Shape{batch, k, n}),
                    context.constant(Shape{batch})};
  std::fill_n(top.one_hot.value, top.one_hot.size(), T(0));
  for (Index b = 0; b < batch; ++b) {
    const T* x = q.logits.value + b * n;
    const T* g = gumbel.value + b * n;
    const auto value = [x, g](std::int32_t i) { return x[i] + g[i]; };
    std::iota(order, order + n, 0);
    const Index sorted = std::min(k + 1, n);
    std::partial_sort(order, order + sorted, order + n, [value](std::int32_t a, std::int32_t c) {
      return value(a) > value(c) || (value(a) == value(c) && a < c);
    });
    std::copy_n(order, k, cells + b * k);
    for (Index j = 0; j < k; ++j) top.one_hot.value[(b * k + j) * n + order[j]] = T(1);
    top.threshold.value[b] = -std::numeric_limits<T>::infinity();
    if (k < n) {
      const kernel::LogNormaliser log_p(View<const T, 1>(x, {n}));
      top.threshold.value[b] = static_cast<T>(log_p(static_cast<double>(x[order[k]])) + static_cast<double>(g[order[k]]));
    }
  }
  return top;
}
/// The same with noise of these streams.
template <Context C>
[[nodiscard]] TopK<typename C::Scalar> draw_top_k(C& context, const Categorical<typename C::Scalar>& q, const NoiseKey& key,
                                                  Index k) {
  return draw_top_k(context, q, gumbel_noise(context, key, q.batch(), q.cells()), k);
}

/// The log-probability of the ordered draw [B], with a gradient to the logits.
template <Context C>
[[nodiscard]] VarOf<C> log_density(C& context, const Categorical<typename C::Scalar>& q, const TopK<typename C::Scalar>& top) {
  using T = typename C::Scalar;
  detail::require_logits("top-k log-density", q.logits);
  const Index n = q.cells();
  require(top.one_hot.shape == Shape{q.batch(), top.count(), n}, "top-k log-density: draws of ", q.batch(), " rows of ", n,
          " cells expected, a shape ", top.one_hot.shape.to_string(), " came");
  auto* position = context.template scratch<std::int32_t>(n);  // in the draw; k: not drawn
  auto* left = context.template scratch<double>(top.count() + 1);
  return per_row(
      context,
      [=, b = Index{0}](View<const T, 1> x, View<T, 1> d_x) mutable {
        const View<const std::int32_t, 1> cells = top.cells[b++];
        return kernel::plackett_luce_log_density<T>(x, cells, position, left, d_x);
      },
      q.logits);
}

/// The weights p_i / q_i [B, k] of the cells drawn: sum_j w_j f(i_j) is E_p[f] without bias, and so is the gradient that it
/// passes to the logits, w_i grad log p_i: q_i, in which kappa is what it is, counts as a constant. At k = n the weights are
/// the probabilities.
template <Context C>
[[nodiscard]] VarOf<C> importance_weights(C& context, const Categorical<typename C::Scalar>& q,
                                          const TopK<typename C::Scalar>& top) {
  using T = typename C::Scalar;
  const Index n = q.cells();
  const Index k = top.count();
  require(top.one_hot.shape == Shape{q.batch(), k, n}, "importance_weights: draws of ", q.batch(), " rows of ", n,
          " cells expected, a shape ", top.one_hot.shape.to_string(), " came");
  const VarOf<C> log_p = log_softmax(context, q.logits);
  const VarOf<C> y = nn::output(context, Shape{q.batch(), k}, log_p);
  for (Index b = 0; b < q.batch(); ++b) {
    const auto kappa = static_cast<double>(top.threshold.value[b]);
    for (Index j = 0; j < k; ++j) {
      const auto l = static_cast<double>(log_p.value[b * n + top.cells(b, j)]);
      const double odds = std::exp(l - kappa);  // p / q tends to exp(kappa) as p falls
      y.value[b * k + j] = static_cast<T>(odds > 1 ? std::exp(l) / -std::expm1(-odds)
                                                   : std::exp(kappa) * (odds > 0 ? odds / -std::expm1(-odds) : 1.0));
    }
  }
  if (y.gradient) {
    context.record([=, cells = top.cells] {
      for (Index b = 0; b < y.shape[0]; ++b) {
        for (Index j = 0; j < k; ++j) log_p.gradient[b * n + cells(b, j)] += y.gradient[b * k + j] * y.value[b * k + j];
      }
    });
  }
  return y;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
