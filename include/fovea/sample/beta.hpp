// SPDX-License-Identifier: MIT
/// \file
/// The Beta distribution over a location in an interval, sampled pathwise.
///
/// Draws carry implicit gradients: M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization gradients", NeurIPS 2018. The
/// draw itself is by rejection and has no useful derivative; but a draw at probability F keeps it as the parameters move, so
/// dz/da = -(dF/da) / density(z). kernel/special.hpp computes that for concentrations of 1e-3 to 1e4.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/beta.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/special.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/pointwise.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/interval.hpp>
#include <fovea/sample/kept.hpp>

#include <cmath>
#include <memory>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// Density in proportion to (z - low)^(a-1) (high - z)^(b-1), a = concentration1 > 0 and b = concentration0 > 0, both [B, D]:
/// the mean is at low + width a / (a + b). Where one is not positive draws and log-densities are NaN.
template <class T>
struct Beta {
  Var<T> concentration1;
  Var<T> concentration0;
  Interval interval = {0, 1};

  static constexpr bool pathwise = true;
  template <class F>
  [[nodiscard]] Beta map(F f) const {
    return {f(concentration1), f(concentration0), interval};
  }
  [[nodiscard]] Index batch() const noexcept { return concentration1.shape[0]; }
  [[nodiscard]] Index dimension() const noexcept { return concentration1.shape[1]; }
};

namespace detail {
/// The locations of these logits [B, D], which want no gradient.
template <Context C>
[[nodiscard]] VarOf<C> beta_locations(C& context, const Beta<typename C::Scalar>& q, const VarOf<C>& logits) {
  using T = typename C::Scalar;
  const VarOf<C>& a = q.concentration1;
  const VarOf<C>& b = q.concentration0;
  const VarOf<C> z = nn::output(context, a.shape, a, b);
  const Index n = z.size();
  const View<T, 2> partials = z.gradient ? View<T, 2>(context.scratch(2 * n), {2, n}) : View<T, 2>();
  kernel::beta_locations<T>(a.values(), b.values(), logits.values(), q.interval.low, q.interval.high, z.mutable_values(),
                            partials);
  if (z.gradient) {
    context.record([a, b, z, partials] {
      const View<const T, 1> d_a(partials.data(), {z.size()});
      const View<const T, 1> d_b(partials.data() + z.size(), {z.size()});
      if (a.gradient) kernel::multiply_add<T>(z.gradients(), d_a, a.gradients());
      if (b.gradient) kernel::multiply_add<T>(z.gradients(), d_b, b.gradients());
    });
  }
  return z;
}
}  // namespace detail

/// A pathwise sample z [B, D] of `q`, strictly within the interval; row b from key.stream(b).
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const Beta<typename C::Scalar>& q, const NoiseKey& key) {
  detail::require_parameters("beta draw", q.interval, q.concentration1, q.concentration0);
  Stream* streams = context.template scratch<Stream>(q.batch());
  for (Index b = 0; b < q.batch(); ++b) std::construct_at(streams + b, key.stream(b));
  const VarOf<C> logits = context.constant(q.concentration1.shape);
  kernel::beta_logits(q.concentration1.template values<2>(), q.concentration0.template values<2>(), streams,
                      logits.template mutable_values<2>());
  return detail::beta_locations(context, q, logits);
}

/// The quantile at `noise` [B, D], uniform in (0, 1), of the same gradient: slower (Newton's method, some 2 us an element),
/// for draws on common noise.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const Beta<typename C::Scalar>& q, const VarOf<C>& noise) {
  using T = typename C::Scalar;
  detail::require_parameters("beta draw", q.interval, q.concentration1, q.concentration0, noise);
  const VarOf<C> logits = context.constant(noise.shape);
  for (Index i = 0; i < noise.size(); ++i) {
    logits.value[i] = static_cast<T>(kernel::special::beta_quantile_logit(static_cast<double>(q.concentration1.value[i]),
                                                                          static_cast<double>(q.concentration0.value[i]),
                                                                          static_cast<double>(noise.value[i])));
  }
  return detail::beta_locations(context, q, logits);
}

/// log q(z) per sample [B], in nats, with gradients to z [B, D] and to q; minus infinity outside of the open interval.
template <Context C>
[[nodiscard]] VarOf<C> log_density(C& context, const Beta<typename C::Scalar>& q, const VarOf<C>& z) {
  using T = typename C::Scalar;
  const VarOf<C>& a = q.concentration1;
  const VarOf<C>& b = q.concentration0;
  detail::require_parameters("beta log-density", q.interval, a, b, z);
  const VarOf<C> y = nn::output(context, Shape{q.batch()}, a, b, z);
  const Index n = z.size();
  const View<T, 2> partials = y.gradient ? View<T, 2>(context.scratch(3 * n), {3, n}) : View<T, 2>();
  kernel::beta_log_density<T>(a.template values<2>(), b.template values<2>(), z.template values<2>(), q.interval.low,
                              q.interval.high, y.mutable_values(), partials);
  if (y.gradient) {
    context.record([a, b, z, y, d = partials.data(), n] {
      detail::add_rows(y, a, d);
      detail::add_rows(y, b, d + n);
      detail::add_rows(y, z, d + 2 * n);
    });
  }
  return y;
}

/// In nats, per sample [B]: log B(a, b) - (a-1) psi(a) - (b-1) psi(b) + (a+b-2) psi(a+b) + log width.
template <Context C>
[[nodiscard]] VarOf<C> entropy(C& context, const Beta<typename C::Scalar>& q) {
  detail::require_parameters("beta entropy", q.interval, q.concentration1, q.concentration0);
  return nn::pointwise_sum(
      context,
      [log_width = std::log(q.interval.width())](double a, double b) {
        namespace special = kernel::special;
        const double log_z = -special::digamma_difference(a, b);  // E log z
        const double log_rest = -special::digamma_difference(b, a);
        const double both = (a + b - 2) * special::trigamma(a + b);
        return kernel::Partials<2>{special::log_beta(a, b) - (a - 1) * log_z - (b - 1) * log_rest + log_width,
                                   {both - (a - 1) * special::trigamma(a), both - (b - 1) * special::trigamma(b)}};
      },
      q.concentration1, q.concentration0);
}

/// KL(q || p) per sample [B], in nats, with gradients to both; of two on one interval.
template <Context C>
[[nodiscard]] VarOf<C> kl_divergence(C& context, const Beta<typename C::Scalar>& q, const Beta<typename C::Scalar>& p) {
  detail::require_parameters("beta KL", q.interval, q.concentration1, q.concentration0, p.concentration1, p.concentration0);
  detail::require_same("beta KL", q.interval, p.interval);
  return nn::pointwise_sum(
      context,
      [](double a, double b, double c, double d) {
        const auto kl = kernel::special::beta_divergence(a, b, c, d);
        return kernel::Partials<4>{kl.value, {kl.d[0], kl.d[1], kl.d[2], kl.d[3]}};
      },
      q.concentration1, q.concentration0, p.concentration1, p.concentration0);
}

/// low + width a / (a + b), [B, D].
template <Context C>
[[nodiscard]] VarOf<C> mean(C& context, const Beta<typename C::Scalar>& q) {
  detail::require_parameters("beta mean", q.interval, q.concentration1, q.concentration0);
  return nn::pointwise(
      context,
      [interval = q.interval](double a, double b) {
        const double over = 1 / (a + b);
        const double slope = interval.width() * over * over;
        return kernel::Partials<2>{interval.low + interval.width() * a * over, {slope * b, -slope * a}};
      },
      q.concentration1, q.concentration0);
}

/// low + width (a-1) / (a+b-2) where both concentrations exceed 1. Otherwise the density is unbounded at an end, or largest
/// there: the number next to the end of the smaller concentration, or the middle where both are alike; no gradient.
template <Context C>
[[nodiscard]] VarOf<C> mode(C& context, const Beta<typename C::Scalar>& q) {
  using T = typename C::Scalar;
  detail::require_parameters("beta mode", q.interval, q.concentration1, q.concentration0);
  const VarOf<C> z = nn::pointwise(
      context,
      [interval = q.interval](double a, double b) {
        if (a > 1 && b > 1) {
          const double over = 1 / (a + b - 2);
          const double slope = interval.width() * over * over;
          return kernel::Partials<2>{interval.low + interval.width() * (a - 1) * over, {slope * (b - 1), -slope * (a - 1)}};
        }
        return kernel::Partials<2>{a < b ? interval.low : a > b ? interval.high : interval.middle(), {}};
      },
      q.concentration1, q.concentration0);
  detail::keep_inside<T>(z, q.interval);
  return z;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
