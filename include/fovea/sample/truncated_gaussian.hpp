// SPDX-License-Identifier: MIT
/// \file
/// A diagonal Gaussian confined to an interval, sampled pathwise by its quantile.
///
/// Where a location must stay in the image this keeps the density of a Gaussian but for a factor, while clamping has mass on
/// the ends and no gradient there. The mean may lie outside and the deviation may be anything: kernel/truncated_gaussian.hpp.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/truncated_gaussian.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/pointwise.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/interval.hpp>

#include <limits>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// `mean` and `log_deviation` [B, D] are those of the Gaussian before it is confined; its own mean is sample::mean().
template <class T>
struct TruncatedGaussian {
  Var<T> mean;
  Var<T> log_deviation;
  Interval interval = {-1, 1};

  static constexpr bool pathwise = true;
  template <class F>
  [[nodiscard]] TruncatedGaussian map(F f) const {
    return {f(mean), f(log_deviation), interval};
  }
  [[nodiscard]] Index batch() const noexcept { return mean.shape[0]; }
  [[nodiscard]] Index dimension() const noexcept { return mean.shape[1]; }
};

/// A pathwise sample z [B, D] of `q`, strictly within the interval; `noise` [B, D] is uniform in (0, 1) and wants no gradient.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const TruncatedGaussian<typename C::Scalar>& q, const VarOf<C>& noise) {
  using T = typename C::Scalar;
  detail::require_parameters("truncated Gaussian draw", q.interval, q.mean, q.log_deviation, noise);
  const VarOf<C> z = nn::pointwise(
      context,
      [interval = q.interval](double m, double l, double p) {
        const kernel::TruncatedGaussian gaussian(m, l, interval.low, interval.high);
        const double v = gaussian.quantile(p);
        const auto moves = gaussian.moves(v);
        return kernel::Partials<3>{gaussian.location(v), {moves.by_mean, moves.by_log_deviation, 0}};
      },
      q.mean, q.log_deviation, nn::detach(noise));
  detail::keep_inside<T>(z, q.interval);
  return z;
}
/// The same with noise of these streams.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const TruncatedGaussian<typename C::Scalar>& q, const NoiseKey& key) {
  return draw(context, q, uniform_noise(context, key, q.batch(), q.dimension()));
}

/// log q(z) per sample [B], in nats, with gradients to z [B, D] and to q; minus infinity outside of the open interval.
template <Context C>
[[nodiscard]] VarOf<C> log_density(C& context, const TruncatedGaussian<typename C::Scalar>& q, const VarOf<C>& z) {
  detail::require_parameters("truncated Gaussian log-density", q.interval, q.mean, q.log_deviation, z);
  return nn::pointwise_sum(
      context,
      [interval = q.interval](double m, double l, double x) {
        if (x <= interval.low || x >= interval.high) {
          return kernel::Partials<3>{-std::numeric_limits<double>::infinity(), {}};
        }
        const kernel::TruncatedGaussian gaussian(m, l, interval.low, interval.high);
        const double v = gaussian.at(x);
        const double from_mean = v - gaussian.mean;
        return kernel::Partials<3>{gaussian.log_density(v),
                                   {from_mean / gaussian.sigma, from_mean * (2 * gaussian.u + v + gaussian.mean) - gaussian.k2,
                                    -(gaussian.u + v) / gaussian.sigma}};
      },
      q.mean, q.log_deviation, z);
}

/// In nats, per sample [B], with v of kernel/truncated_gaussian.hpp: E[u v + v^2 / 2] + log(sigma W).
template <Context C>
[[nodiscard]] VarOf<C> entropy(C& context, const TruncatedGaussian<typename C::Scalar>& q) {
  detail::require_parameters("truncated Gaussian entropy", q.interval, q.mean, q.log_deviation);
  return nn::pointwise_sum(
      context,
      [interval = q.interval](double m, double l) {
        const kernel::TruncatedGaussian g(m, l, interval.low, interval.high);
        const double both = g.covariance_12();
        return kernel::Partials<2>{g.u * g.mean + 0.5 * g.mean_square() + g.log_scale,
                                   {(g.u * g.k2 + 0.5 * both) / g.sigma, 2 * g.u * (g.u * g.k2 + both) + 0.5 * g.variance_2()}};
      },
      q.mean, q.log_deviation);
}

/// KL(q || p) per sample [B], in nats, with gradients to both; of two on one interval.
template <Context C>
[[nodiscard]] VarOf<C> kl_divergence(C& context, const TruncatedGaussian<typename C::Scalar>& q,
                                     const TruncatedGaussian<typename C::Scalar>& p) {
  detail::require_parameters("truncated Gaussian KL", q.interval, q.mean, q.log_deviation, p.mean, p.log_deviation);
  detail::require_same("truncated Gaussian KL", q.interval, p.interval);
  return nn::pointwise_sum(
      context,
      [interval = q.interval](double m_q, double l_q, double m_p, double l_p) {
        const kernel::TruncatedGaussian a(m_q, l_q, interval.low, interval.high);
        const kernel::TruncatedGaussian b(m_p, l_p, interval.low, interval.high);
        // v of b is shift + ratio v of a, so log a - log b is a constant and linear v + square v^2.
        const double ratio = a.sigma / b.sigma;
        const double shift = (a.nearest - b.nearest) / b.sigma;
        const double linear = (b.u + shift) * ratio - a.u;
        const double square = 0.5 * (ratio * ratio - 1);
        const double both = a.covariance_12();
        const double with_v = linear * a.k2 + square * both;
        const double with_square = linear * both + square * a.variance_2();
        const double mean = shift + ratio * a.mean;  // of b's v under a
        const double from_mean = mean - b.mean;
        return kernel::Partials<4>{
            b.log_scale - a.log_scale + shift * (b.u + 0.5 * shift) + linear * a.mean + square * a.mean_square(),
            {with_v / a.sigma, 2 * a.u * with_v + with_square, -from_mean / b.sigma,
             b.k2 - ratio * ratio * a.k2 - from_mean * (2 * b.u + mean + b.mean)}};
      },
      q.mean, q.log_deviation, p.mean, p.log_deviation);
}

/// The mean of what is left within the interval, [B, D].
template <Context C>
[[nodiscard]] VarOf<C> mean(C& context, const TruncatedGaussian<typename C::Scalar>& q) {
  detail::require_parameters("truncated Gaussian mean", q.interval, q.mean, q.log_deviation);
  return nn::pointwise(
      context,
      [interval = q.interval](double m, double l) {
        const kernel::TruncatedGaussian g(m, l, interval.low, interval.high);
        return kernel::Partials<2>{g.location(g.mean), {g.k2, g.sigma * (2 * g.u * g.k2 + g.covariance_12())}};
      },
      q.mean, q.log_deviation);
}

/// The point of the interval nearest to the Gaussian's mean, just inside; a gradient where that is the mean.
template <Context C>
[[nodiscard]] VarOf<C> mode(C& context, const TruncatedGaussian<typename C::Scalar>& q) {
  using T = typename C::Scalar;
  detail::require_parameters("truncated Gaussian mode", q.interval, q.mean, q.log_deviation);
  const VarOf<C> z = nn::pointwise(
      context,
      [interval = q.interval](double m) {
        return kernel::Partials<1>{m, {m > interval.low && m < interval.high ? 1.0 : 0.0}};
      },
      q.mean);
  detail::keep_inside<T>(z, q.interval);
  return z;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
