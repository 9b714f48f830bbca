// SPDX-License-Identifier: MIT
/// \file
/// The categorical distribution over n cells, drawn by the Gumbel-max trick.
///
/// E. J. Gumbel, "Statistical theory of extreme values and some practical applications", 1954; C. J. Maddison, D. Tarlow,
/// T. Minka, "A* sampling", NIPS 2014: the place of the greatest of logits + Gumbel noise is a draw of softmax(logits).
///
/// A draw is one-hot [B, n] and carries no gradient: estimators get one through it (estimator.hpp). A logit of -infinity is a
/// cell that is never drawn.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/categorical.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/per_row.hpp>

#include <cmath>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// Logits [B, n]: unnormalised log-probabilities, one row each.
template <class T>
struct Categorical {
  Var<T> logits;

  static constexpr bool pathwise = false;
  template <class F>
  [[nodiscard]] Categorical map(F f) const {
    return {f(logits)};
  }
  [[nodiscard]] Index batch() const noexcept { return logits.shape[0]; }
  [[nodiscard]] Index cells() const noexcept { return logits.shape[1]; }
};

namespace detail {
template <class T>
void require_logits(const char* op, const Var<T>& logits) {
  require(logits.shape.rank() == 2 && logits.shape[1] > 0, op, ": logits [B, n] of at least one cell expected, a shape ",
          logits.shape.to_string(), " came");
}
/// The greatest of logits + noise (empty: of the logits) as one-hot rows.
template <Context C>
[[nodiscard]] VarOf<C> one_hot_of_greatest(C& context, const VarOf<C>& logits, const VarOf<C>& noise) {
  using T = typename C::Scalar;
  const VarOf<C> y = context.constant(logits.shape);
  const Index n = logits.shape[1];
  std::fill_n(y.value, y.size(), T(0));
  for (Index b = 0; b < logits.shape[0]; ++b) {
    const View<const T, 1> row(noise.value ? noise.value + b * n : nullptr, {noise.value ? n : 0});
    y.value[b * n + kernel::argmax_of_sum<T>({logits.value + b * n, {n}}, row)] = T(1);
  }
  return y;
}
}  // namespace detail

/// log(softmax(logits)) over the last axis [B, n]; nothing overflows, and log-probabilities near 0 keep their digits.
template <Context C>
[[nodiscard]] VarOf<C> log_softmax(C& context, VarOf<C> logits) {
  using T = typename C::Scalar;
  detail::require_logits("log_softmax", logits);
  const VarOf<C> y = nn::output(context, logits.shape, logits);
  kernel::log_softmax<T>(logits.template values<2>(), y.template mutable_values<2>());
  if (y.gradient) {
    context.record([=] {
      kernel::log_softmax_backward<T>(y.template gradients<2>(), y.template values<2>(), logits.template gradients<2>());
    });
  }
  return y;
}

/// log p + gumbel [B, n]: what a draw is the greatest of, with a gradient to the logits.
template <Context C>
[[nodiscard]] VarOf<C> perturbed_logits(C& context, VarOf<C> logits, VarOf<C> gumbel) {
  return nn::add(context, log_softmax(context, logits), gumbel);
}

/// Perturbed logits given the cell they are the greatest at, [B, n], from uniform noise [B, n]; `one_hot` [B, n] names the
/// cells. With g = -log(-log uniform) it is g at the cell c, and -log(exp(-g_c) + exp(-g_i) / p_i) elsewhere, with a gradient
/// to the logits (none to the cell). C. J. Maddison et al. 2014; G. Tucker et al., "REBAR", NIPS 2017, appendix C.
template <Context C>
[[nodiscard]] VarOf<C> conditional_gumbels(C& context, VarOf<C> logits, VarOf<C> one_hot, VarOf<C> uniform) {
  using T = typename C::Scalar;
  detail::require_logits("conditional_gumbels", logits);
  nn::detail::require_shape("conditional_gumbels", "cells", one_hot, logits.shape);
  nn::detail::require_shape("conditional_gumbels", "uniform noise", uniform, logits.shape);
  const VarOf<C> log_p = log_softmax(context, logits);
  const VarOf<C> y = nn::output(context, logits.shape, log_p);
  T* slope = y.gradient ? context.scratch(y.size()) : nullptr;
  const Index n = logits.shape[1];
  for (Index b = 0; b < logits.shape[0]; ++b) {
    const Index first = b * n;
    const auto gumbel = [&](Index i) { return -std::log(-std::log(static_cast<double>(uniform.value[first + i]))); };
    const Index cell = kernel::argmax_of_sum<T>({one_hot.value + first, {n}}, {});
    const double most = gumbel(cell);
    for (Index i = 0; i < n; ++i) {
      const double free = static_cast<double>(log_p.value[first + i]) + gumbel(i);
      const double e = std::exp(-std::abs(free - most));
      y.value[first + i] = static_cast<T>(i == cell ? most : std::min(free, most) - std::log1p(e));
      if (slope) slope[first + i] = static_cast<T>(i == cell ? 0.0 : (free > most ? e : 1.0) / (1 + e));
    }
  }
  if (y.gradient) {
    context.record([=] { kernel::multiply_add<T>(y.gradients(), View<const T, 1>(slope, {y.size()}), log_p.gradients()); });
  }
  return y;
}

/// One-hot [B, n]: the greatest of logits + gumbel [B, n].
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const Categorical<typename C::Scalar>& q, const VarOf<C>& gumbel) {
  detail::require_logits("categorical draw", q.logits);
  nn::detail::require_shape("categorical draw", "noise", gumbel, q.logits.shape);
  return detail::one_hot_of_greatest(context, q.logits, gumbel);
}
/// The same with noise of these streams.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const Categorical<typename C::Scalar>& q, const NoiseKey& key) {
  detail::require_logits("categorical draw", q.logits);
  return detail::one_hot_of_greatest(context, q.logits, gumbel_noise(context, key, q.batch(), q.cells()));
}

/// softmax(logits) [B, n].
template <Context C>
[[nodiscard]] VarOf<C> probabilities(C& context, const Categorical<typename C::Scalar>& q) {
  detail::require_logits("categorical probabilities", q.logits);
  return nn::softmax(context, q.logits);
}
/// The same: the mean of one-hot draws.
template <Context C>
[[nodiscard]] VarOf<C> mean(C& context, const Categorical<typename C::Scalar>& q) {
  return probabilities(context, q);
}
/// One-hot, at the most probable cell (the first of equals); no gradient.
template <Context C>
[[nodiscard]] VarOf<C> mode(C& context, const Categorical<typename C::Scalar>& q) {
  detail::require_logits("categorical mode", q.logits);
  return detail::one_hot_of_greatest(context, q.logits, VarOf<C>{});
}

/// sum_i one_hot_i log p_i per row [B], with gradients to the logits and to `one_hot` [B, n], which may be on the simplex. A
/// weight of 0 counts as 0 whatever its cell's probability.
template <Context C>
[[nodiscard]] VarOf<C> log_density(C& context, const Categorical<typename C::Scalar>& q, const VarOf<C>& one_hot) {
  using T = typename C::Scalar;
  nn::detail::require_shape("categorical log-density", "cells", one_hot, q.logits.shape);
  const VarOf<C> log_p = log_softmax(context, q.logits);
  return per_row(
      context,
      [](View<const T, 1> weights, View<const T, 1> l, View<T, 1> d_weights, View<T, 1> d_l) {
        double sum = 0;
        for (Index i = 0; i < l.size(); ++i) {
          if (weights(i) != T(0)) sum += static_cast<double>(weights(i)) * static_cast<double>(l(i));
        }
        if (d_weights.data()) std::copy_n(l.data(), l.size(), d_weights.data());
        if (d_l.data()) std::copy_n(weights.data(), l.size(), d_l.data());
        return sum;
      },
      one_hot, log_p);
}

/// -sum p log p per row [B].
template <Context C>
[[nodiscard]] VarOf<C> entropy(C& context, const Categorical<typename C::Scalar>& q) {
  using T = typename C::Scalar;
  detail::require_logits("categorical entropy", q.logits);
  return per_row(
      context, [](View<const T, 1> x, View<T, 1> d_x) { return kernel::categorical_entropy<T>(x, d_x); }, q.logits);
}

/// KL(q || p) per row [B], with gradients to both; infinite where q has a cell that p never draws.
template <Context C>
[[nodiscard]] VarOf<C> kl_divergence(C& context, const Categorical<typename C::Scalar>& q,
                                     const Categorical<typename C::Scalar>& p) {
  using T = typename C::Scalar;
  detail::require_logits("categorical KL", q.logits);
  nn::detail::require_shape("categorical KL", "logits of the prior", p.logits, q.logits.shape);
  return per_row(
      context,
      [](View<const T, 1> x, View<const T, 1> y, View<T, 1> d_x, View<T, 1> d_y) {
        return kernel::categorical_kl<T>(x, y, d_x, d_y);
      },
      q.logits, p.logits);
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
