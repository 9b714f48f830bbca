// SPDX-License-Identifier: MIT
/// \file
/// Mixtures of diagonal Gaussians, one row at a time: density, mode, and the derivative of a draw by implicit
/// reparameterisation.
///
/// Cost: per component and dimension two exponentials for a density, those and two error functions for the derivative of a
/// draw. Everything inside is double whatever T is, and in terms of logarithms of weights:
/// components that are out of reach round to nothing, not to NaN.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/categorical.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// The parameters of one row: logits [M], means and log-deviations [M, D] (flat).
template <class T>
struct GaussianMixtureRow {
  View<const T, 1> logits;
  View<const T, 1> mean;
  View<const T, 1> log_deviation;
  Index dimension = 1;

  [[nodiscard]] Index components() const noexcept { return logits.size(); }
  [[nodiscard]] double logit(Index m) const noexcept { return static_cast<double>(logits(m)); }
  [[nodiscard]] double location(Index m, Index d) const noexcept { return static_cast<double>(mean(m * dimension + d)); }
  [[nodiscard]] double inverse(Index m, Index d) const noexcept {
    return std::exp(-static_cast<double>(log_deviation(m * dimension + d)));
  }
  /// log N(z_d) of a component at u = (z_d - mean) / deviation.
  [[nodiscard]] double log_normal(Index m, Index d, double u) const noexcept {
    constexpr double half_log_two_pi = 0.9189385332046727;
    return -u * u / 2 - static_cast<double>(log_deviation(m * dimension + d)) - half_log_two_pi;
  }
  /// log of weight times density at z, up to the logarithm of the sum of exp(logits).
  template <class Z>
  [[nodiscard]] double joint(Index m, Z z) const noexcept {
    double sum = logit(m);
    for (Index d = 0; d < dimension; ++d) sum += log_normal(m, d, (z(d) - location(m, d)) * inverse(m, d));
    return sum;
  }
};

/// Row kernel: log of the density at z [D]; `joint` [M] is scratch. Empty views of derivatives are skipped.
template <class T>
[[nodiscard]] double gaussian_mixture_log_density(const GaussianMixtureRow<T>& q, View<const std::type_identity_t<T>, 1> z,
                                                  double* joint, View<std::type_identity_t<T>, 1> d_logits,
                                                  View<std::type_identity_t<T>, 1> d_mean,
                                                  View<std::type_identity_t<T>, 1> d_log_deviation,
                                                  View<std::type_identity_t<T>, 1> d_z) {
  const Index components = q.components();
  const auto at = [z](Index d) { return static_cast<double>(z(d)); };
  for (Index m = 0; m < components; ++m) joint[m] = q.joint(m, at);
  const LogNormaliser posterior(components, [joint](Index m) { return joint[m]; });
  const LogNormaliser prior(q.logits);
  for (Index m = 0; m < components; ++m) {
    const double r = std::exp(posterior(joint[m]));  // the component's part in the density
    if (d_logits.data()) d_logits(m) = static_cast<T>(r - std::exp(prior(q.logit(m))));
    for (Index d = 0; d < q.dimension; ++d) {
      const double inverse = q.inverse(m, d);
      const double u = (at(d) - q.location(m, d)) * inverse;
      const Index i = m * q.dimension + d;
      const double slope = r > 0 ? r * u * inverse : 0.0;
      if (d_mean.data()) d_mean(i) = static_cast<T>(slope);
      if (d_log_deviation.data()) d_log_deviation(i) = static_cast<T>(r > 0 ? r * (u * u - 1) : 0.0);
      if (d_z.data()) d_z(d) = static_cast<T>((m == 0 ? 0.0 : static_cast<double>(d_z(d))) - slope);
    }
  }
  return (posterior.greatest - prior.greatest) + (posterior.log_sum - prior.log_sum);
}

/// The numbers of scratch that gaussian_mixture_backward() wants.
[[nodiscard]] constexpr Index gaussian_mixture_scratch(Index components, Index dimension) noexcept {
  return components * (3 + 4 * dimension);
}

/// Adds d_z . dz / dtheta for a draw z [D] of the row. With F_d the distribution function of z_d given z_1, ..., z_{d-1}, each
/// F_d(z_d) is uniform whatever the parameters, so that
///
///     dz_d / dtheta = -(dF_d / dtheta + sum_{j<d} dF_d / dz_j dz_j / dtheta) / p(z_d | z_<d)
///
/// (A. Graves, "Stochastic backpropagation through mixture density distributions", arXiv 2016). Given z_<d a mixture is a
/// mixture with other weights: logits a_m + sum_{j<d} log N_m(z_j). Empty views are skipped.
template <class T>
void gaussian_mixture_backward(const GaussianMixtureRow<T>& q, View<const std::type_identity_t<T>, 1> z,
                               View<const std::type_identity_t<T>, 1> d_z, double* scratch, View<T, 1> d_logits,
                               View<T, 1> d_mean, View<T, 1> d_log_deviation) {
  const Index components = q.components();
  const Index dimension = q.dimension;
  double* logit = scratch;                              // of the weights given z_<d
  double* adjoint = logit + components;                 // of those
  double* below = adjoint + components;                 // each component's distribution function
  double* part = below + components;                    // [D, M]: the component's part in the density of z_d
  double* shift = part + components * dimension;        // [D, M]: dF_d / dlogit over the density
  double* inverse = shift + components * dimension;     // [D, M]
  double* standard = inverse + components * dimension;  // [D, M]: (z_d - mean) / deviation
  for (Index m = 0; m < components; ++m) {
    logit[m] = q.logit(m);
    adjoint[m] = 0;
  }
  for (Index d = 0; d < dimension; ++d) {
    const Index row = d * components;
    const LogNormaliser prior(components, [logit](Index m) { return logit[m]; });
    double under = 0;
    double over = 0;
    for (Index m = 0; m < components; ++m) {
      const double weight = std::exp(prior(logit[m]));
      inverse[row + m] = q.inverse(m, d);
      standard[row + m] = (static_cast<double>(z(d)) - q.location(m, d)) * inverse[row + m];
      below[m] = std::erfc(-standard[row + m] / std::numbers::sqrt2) / 2;
      under += weight * below[m];
      over += weight * std::erfc(standard[row + m] / std::numbers::sqrt2) / 2;
      shift[row + m] = logit[m];
      logit[m] += q.log_normal(m, d, standard[row + m]);
    }
    const LogNormaliser posterior(components, [logit](Index m) { return logit[m]; });
    const double log_density = (posterior.greatest - prior.greatest) + (posterior.log_sum - prior.log_sum);
    for (Index m = 0; m < components; ++m) {
      // F_m - F, from the smaller of the two tails.
      const double ahead = under <= over ? below[m] - under : over - std::erfc(standard[row + m] / std::numbers::sqrt2) / 2;
      part[row + m] = std::exp(posterior(logit[m]));
      shift[row + m] = std::exp(prior(shift[row + m]) - log_density) * ahead;
    }
  }
  for (Index d = dimension - 1; d >= 0; --d) {
    const Index row = d * components;
    auto slope = static_cast<double>(d_z(d));
    for (Index m = 0; m < components; ++m) slope -= adjoint[m] * standard[row + m] * inverse[row + m];
    for (Index m = 0; m < components; ++m) {
      const double u = standard[row + m];
      const Index i = m * dimension + d;
      if (d_mean.data()) d_mean(i) += static_cast<T>(slope * part[row + m] + adjoint[m] * u * inverse[row + m]);
      if (d_log_deviation.data()) {
        d_log_deviation(i) += static_cast<T>(slope * part[row + m] * u / inverse[row + m] + adjoint[m] * (u * u - 1));
      }
      adjoint[m] -= slope * shift[row + m];
    }
  }
  for (Index m = 0; m < components && d_logits.data(); ++m) d_logits(m) += static_cast<T>(adjoint[m]);
}

/// The place of greatest density that is reached from a component's mean by fixed-point iteration (M. A. Carreira-Perpinan,
/// "Mode-finding for mixtures of Gaussian distributions", PAMI 2000), each step of which raises the density; the best of all
/// components. `joint` [M], `here` [D] are scratch; the result goes to `mode` [D].
template <class T>
void gaussian_mixture_mode(const GaussianMixtureRow<T>& q, double* joint, double* here, View<T, 1> mode) {
  constexpr int most_steps = 1000;
  const Index components = q.components();
  const auto at = [here](Index d) { return here[d]; };
  double best = 0;
  for (Index start = 0; start < components; ++start) {
    for (Index d = 0; d < q.dimension; ++d) here[d] = q.location(start, d);
    double density = 0;
    for (int step = 0; step < most_steps; ++step) {
      for (Index m = 0; m < components; ++m) joint[m] = q.joint(m, at);
      const LogNormaliser posterior(components, [joint](Index m) { return joint[m]; });
      density = posterior.greatest + posterior.log_sum;
      double moved = 0;  // in deviations
      for (Index d = 0; d < q.dimension; ++d) {
        double precision = 0;
        double sum = 0;
        for (Index m = 0; m < components; ++m) {
          const double inverse = q.inverse(m, d);
          const double weight = std::exp(posterior(joint[m])) * inverse * inverse;
          precision += weight;
          sum += weight * (q.location(m, d) - here[d]);
        }
        moved = std::max(moved, std::abs(sum) / std::sqrt(precision));
        here[d] += sum / precision;
      }
      if (moved < 1e-10) break;
    }
    if (start > 0 && density <= best) continue;
    best = density;
    for (Index d = 0; d < q.dimension; ++d) mode(d) = static_cast<T>(here[d]);
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
