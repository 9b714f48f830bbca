// SPDX-License-Identifier: MIT
/// \file
/// The Kumaraswamy distribution: much like a Beta, with a quantile in closed form.
///
/// P. Kumaraswamy, "A generalized probability density function for double-bounded random processes", J. Hydrology 46, 1980; as
/// a latent variable E. Nalisnick, P. Smyth, "Stick-breaking variational autoencoders", ICLR 2017. On (0, 1)
///
///     F(z) = 1 - (1 - z^a)^b.
///
/// A divergence between two has no closed form: kl_divergence(context, q, p, MonteCarlo{...}) draws.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/special.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/pointwise.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/interval.hpp>

#include <cmath>
#include <limits>
#include <numbers>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// a, b > 0, both [B, D].
template <class T>
struct Kumaraswamy {
  Var<T> a;
  Var<T> b;
  Interval interval = {0, 1};

  static constexpr bool pathwise = true;
  template <class F>
  [[nodiscard]] Kumaraswamy map(F f) const {
    return {f(a), f(b), interval};
  }
  [[nodiscard]] Index batch() const noexcept { return a.shape[0]; }
  [[nodiscard]] Index dimension() const noexcept { return a.shape[1]; }
};

/// A pathwise sample z [B, D] of `q`, strictly within the interval: the quantile at `noise` [B, D], which is uniform in (0, 1)
/// and wants no gradient.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const Kumaraswamy<typename C::Scalar>& q, const VarOf<C>& noise) {
  using T = typename C::Scalar;
  detail::require_parameters("Kumaraswamy draw", q.interval, q.a, q.b, noise);
  const VarOf<C> z = nn::pointwise(
      context,
      [interval = q.interval](double a, double b, double p) {
        const double e = -std::log1p(-p) / b;  // (1 - p)^(1/b) = exp(-e)
        const double log_z = kernel::special::log_1_minus_exp(e) / a;
        const double share = std::exp(log_z);
        const double slope = interval.width() * share / a;
        return kernel::Partials<3>{interval.at(share, -std::expm1(log_z)),
                                   {-slope * log_z, -slope * e / (b * std::expm1(e)), 0}};
      },
      q.a, q.b, nn::detach(noise));
  detail::keep_inside<T>(z, q.interval);
  return z;
}
/// The same with noise of these streams.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const Kumaraswamy<typename C::Scalar>& q, const NoiseKey& key) {
  return draw(context, q, uniform_noise(context, key, q.batch(), q.dimension()));
}

/// log q(z) per sample [B], in nats, with gradients to z [B, D] and to q; minus infinity outside of the open interval.
template <Context C>
[[nodiscard]] VarOf<C> log_density(C& context, const Kumaraswamy<typename C::Scalar>& q, const VarOf<C>& z) {
  detail::require_parameters("Kumaraswamy log-density", q.interval, q.a, q.b, z);
  return nn::pointwise_sum(
      context,
      [interval = q.interval](double a, double b, double x) {
        const double width = interval.width();
        const double lower = (x - interval.low) / width;
        const double upper = (interval.high - x) / width;
        if (!(lower > 0 && upper > 0)) return kernel::Partials<3>{-std::numeric_limits<double>::infinity(), {}};
        const double log_z = lower < 0.5 ? std::log(lower) : std::log1p(-upper);
        const double log_rest = kernel::special::log_1_minus_exp(-a * log_z);  // log(1 - z^a)
        const double pull = (b - 1) / std::expm1(-a * log_z);
        return kernel::Partials<3>{std::log(a) + std::log(b) - std::log(width) + (a - 1) * log_z + (b - 1) * log_rest,
                                   {1 / a + log_z - pull * log_z, 1 / b + log_rest, (a - 1 - pull * a) / (lower * width)}};
      },
      q.a, q.b, z);
}

/// In nats, per sample [B]: 1 - 1/b + (1 - 1/a) H_b - log(a b) + log width, H_b = psi(b + 1) - psi(1).
template <Context C>
[[nodiscard]] VarOf<C> entropy(C& context, const Kumaraswamy<typename C::Scalar>& q) {
  detail::require_parameters("Kumaraswamy entropy", q.interval, q.a, q.b);
  return nn::pointwise_sum(
      context,
      [log_width = std::log(q.interval.width())](double a, double b) {
        namespace special = kernel::special;
        const double harmonic = special::digamma_difference(1.0, b);
        const double factor = 1 - 1 / a;
        return kernel::Partials<2>{1 - 1 / b + factor * harmonic - std::log(a) - std::log(b) + log_width,
                                   {(harmonic / a - 1) / a, (1 / b - 1) / b + factor * special::trigamma(b + 1)}};
      },
      q.a, q.b);
}

/// low + width b B(1 + 1/a, b), [B, D].
template <Context C>
[[nodiscard]] VarOf<C> mean(C& context, const Kumaraswamy<typename C::Scalar>& q) {
  detail::require_parameters("Kumaraswamy mean", q.interval, q.a, q.b);
  return nn::pointwise(
      context,
      [interval = q.interval](double a, double b) {
        namespace special = kernel::special;
        const double inverse = 1 / a;
        const double share = interval.width() * b * std::exp(special::log_beta(1 + inverse, b));
        return kernel::Partials<2>{interval.low + share,
                                   {share * inverse * inverse * special::digamma_difference(1 + inverse, b),
                                    -share * special::digamma_difference(b + 1, inverse)}};
      },
      q.a, q.b);
}

/// low + width ((a-1) / (a b - 1))^(1/a) where a, b > 1. Otherwise the density is unbounded at an end, or largest there: the
/// number next to the end of the smaller parameter, or the middle where both are alike; no gradient.
template <Context C>
[[nodiscard]] VarOf<C> mode(C& context, const Kumaraswamy<typename C::Scalar>& q) {
  using T = typename C::Scalar;
  detail::require_parameters("Kumaraswamy mode", q.interval, q.a, q.b);
  const VarOf<C> z = nn::pointwise(
      context,
      [interval = q.interval](double a, double b) {
        if (a > 1 && b > 1) {
          const double log_z = std::log((a - 1) / (a * b - 1)) / a;
          const double share = interval.width() * std::exp(log_z);
          return kernel::Partials<2>{interval.low + share,
                                     {share * ((1 / (a - 1) - b / (a * b - 1)) / a - log_z / a), -share / (a * b - 1)}};
        }
        return kernel::Partials<2>{a < b ? interval.low : a > b ? interval.high : interval.middle(), {}};
      },
      q.a, q.b);
  detail::keep_inside<T>(z, q.interval);
  return z;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
