// SPDX-License-Identifier: MIT
/// \file
/// The logistic-normal distribution: a Gaussian squashed into an interval.
///
/// J. Aitchison, S. M. Shen, "Logistic-normal distributions", Biometrika 67, 1980. z = low + width sigmoid(m + s noise), so
/// draws are pathwise, and a divergence is that of the Gaussians, as squashing both alike changes none. For s^2 > 2 the density
/// may have two modes, near the ends.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/logistic_normal.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/pointwise.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/interval.hpp>

#include <cmath>
#include <limits>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// `mean` and `log_deviation` [B, D] are those of the logit of (z - low) / width.
template <class T>
struct LogisticNormal {
  Var<T> mean;
  Var<T> log_deviation;
  Interval interval = {-1, 1};

  static constexpr bool pathwise = true;
  template <class F>
  [[nodiscard]] LogisticNormal map(F f) const {
    return {f(mean), f(log_deviation), interval};
  }
  [[nodiscard]] Index batch() const noexcept { return mean.shape[0]; }
  [[nodiscard]] Index dimension() const noexcept { return mean.shape[1]; }
};

/// A pathwise sample z [B, D] of `q`, strictly within the interval; `noise` [B, D] is standard normal and wants no gradient.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const LogisticNormal<typename C::Scalar>& q, const VarOf<C>& noise) {
  using T = typename C::Scalar;
  detail::require_parameters("logistic-normal draw", q.interval, q.mean, q.log_deviation, noise);
  const VarOf<C> z = nn::pointwise(
      context,
      [interval = q.interval](double m, double l, double x) {
        const double step = std::exp(l) * x;
        const auto share = kernel::sigmoid_share(m + step);
        const double slope = interval.width() * share.lower * share.upper;
        return kernel::Partials<3>{interval.at(share.lower, share.upper), {slope, slope * step, 0}};
      },
      q.mean, q.log_deviation, nn::detach(noise));
  detail::keep_inside<T>(z, q.interval);
  return z;
}
/// The same with noise of these streams.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const LogisticNormal<typename C::Scalar>& q, const NoiseKey& key) {
  return draw(context, q, normal_noise(context, key, q.batch(), q.dimension()));
}

/// log q(z) per sample [B], in nats, with gradients to z [B, D] and to q; minus infinity outside of the open interval.
template <Context C>
[[nodiscard]] VarOf<C> log_density(C& context, const LogisticNormal<typename C::Scalar>& q, const VarOf<C>& z) {
  detail::require_parameters("logistic-normal log-density", q.interval, q.mean, q.log_deviation, z);
  return nn::pointwise_sum(
      context,
      [interval = q.interval](double m, double l, double x) {
        const double width = interval.width();
        const double lower = (x - interval.low) / width;
        const double upper = (interval.high - x) / width;
        if (!(lower > 0 && upper > 0)) return kernel::Partials<3>{-std::numeric_limits<double>::infinity(), {}};
        const double inverse = std::exp(-l);
        const double u = (std::log(lower) - std::log(upper) - m) * inverse;
        const double value = -0.5 * u * u - l - kernel::special::kHalfLogTwoPi - std::log(lower * upper * width);
        return kernel::Partials<3>{value, {u * inverse, u * u - 1, (lower - upper - u * inverse) / (lower * upper * width)}};
      },
      q.mean, q.log_deviation, z);
}

/// In nats, per sample [B]: that of the Gaussian, and the mean of log dz/dg, g the logit, by quadrature to 1e-14
/// (kernel/logistic_normal.hpp).
template <Context C>
[[nodiscard]] VarOf<C> entropy(C& context, const LogisticNormal<typename C::Scalar>& q) {
  detail::require_parameters("logistic-normal entropy", q.interval, q.mean, q.log_deviation);
  return nn::pointwise_sum(
      context,
      [log_width = std::log(q.interval.width())](double m, double l) {
        // log dz/dg = log width + g - 2 softplus(g)
        const auto moments = kernel::logistic_normal_moments(m, std::exp(l));
        return kernel::Partials<2>{0.5 + kernel::special::kHalfLogTwoPi + l + log_width + m - 2 * moments.softplus,
                                   {1 - 2 * moments.mean, 1 - 2 * moments.softplus_l}};
      },
      q.mean, q.log_deviation);
}

/// KL(q || p) per sample [B], in nats, with gradients to both; of two on one interval. That of the Gaussians of the logits.
template <Context C>
[[nodiscard]] VarOf<C> kl_divergence(C& context, const LogisticNormal<typename C::Scalar>& q,
                                     const LogisticNormal<typename C::Scalar>& p) {
  using T = typename C::Scalar;
  detail::require_parameters("logistic-normal KL", q.interval, q.mean, q.log_deviation, p.mean, p.log_deviation);
  detail::require_same("logistic-normal KL", q.interval, p.interval);
  return kl_divergence(context, DiagonalGaussian<T>{q.mean, q.log_deviation}, DiagonalGaussian<T>{p.mean, p.log_deviation});
}

/// The mean of z, [B, D], by quadrature to 1e-14.
template <Context C>
[[nodiscard]] VarOf<C> mean(C& context, const LogisticNormal<typename C::Scalar>& q) {
  detail::require_parameters("logistic-normal mean", q.interval, q.mean, q.log_deviation);
  return nn::pointwise(
      context,
      [interval = q.interval](double m, double l) {
        const auto moments = kernel::logistic_normal_moments(m, std::exp(l));
        const double width = interval.width();
        return kernel::Partials<2>{interval.low + width * moments.mean, {width * moments.mean_m, width * moments.mean_l}};
      },
      q.mean, q.log_deviation);
}

/// Where the density of z is largest (not the squashed mean): the mode on the side of the mean where there are two, the upper
/// where they are of one height.
template <Context C>
[[nodiscard]] VarOf<C> mode(C& context, const LogisticNormal<typename C::Scalar>& q) {
  using T = typename C::Scalar;
  detail::require_parameters("logistic-normal mode", q.interval, q.mean, q.log_deviation);
  const VarOf<C> z = nn::pointwise(
      context,
      [interval = q.interval](double m, double l) {
        const auto mode = kernel::logistic_normal_mode(m, std::exp(l));
        const auto share = kernel::sigmoid_share(mode.logit);
        const double slope = interval.width() * share.lower * share.upper;
        return kernel::Partials<2>{interval.at(share.lower, share.upper), {slope * mode.by_m, slope * mode.by_l}};
      },
      q.mean, q.log_deviation);
  detail::keep_inside<T>(z, q.interval);
  return z;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
