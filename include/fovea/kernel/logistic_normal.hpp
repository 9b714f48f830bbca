// SPDX-License-Identifier: MIT
/// \file
/// Expectations under a Gaussian of a location's logit g ~ N(m, s^2), which have no closed form, and the mode.
///
/// By the trapezium rule, which converges exponentially here: over g itself for s < 1, where it is 37 points; else over a
/// logistic variable L, as sigmoid(g) = P(L < g), so that E sigmoid(g) = E Phi((m + L) / s), which is the smoother the larger s
/// is: 161 points.
///
/// Cost, an element: 0.75 us for s < 1, else 5 us (erfc). Accuracy: 1e-13 absolute for s from 1e-6 to 1e3, logits of 80.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/kernel/special.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// A number in (0, 1) and 1 minus it, each to all its digits.
struct Share {
  double lower;
  double upper;
};
/// sigmoid(g) and sigmoid(-g).
[[nodiscard]] inline Share sigmoid_share(double g) {
  const double e = std::exp(-std::abs(g));
  const double large = 1 / (1 + e);
  return g < 0 ? Share{e * large, large} : Share{large, e * large};
}

/// Expectations and their derivatives.
struct LogisticNormalMoments {
  double mean = 0;    ///< E sigmoid(g), which is also the derivative of E softplus(g) to m
  double mean_m = 0;  ///< its derivatives to m and log s
  double mean_l = 0;
  double softplus = 0;  ///< E log(1 + e^g)
  double softplus_l = 0;
};
[[nodiscard]] inline LogisticNormalMoments logistic_normal_moments(double m, double s) {
  constexpr double h = 0.5;
  LogisticNormalMoments sum;
  const double normaliser = h * std::exp(-special::kHalfLogTwoPi);
  if (s < 1) {
    for (int k = -18; k <= 18; ++k) {
      const double x = h * k;
      const double w = normaliser * std::exp(-0.5 * x * x);
      const double g = m + s * x;
      const auto [p, q] = sigmoid_share(g);
      sum.mean += w * p;
      sum.mean_m += w * p * q;
      sum.mean_l += w * p * q * s * x;
      sum.softplus += w * (std::max(g, 0.0) + std::log1p(std::exp(-std::abs(g))));
    }
  } else {
    for (int k = -80; k <= 80; ++k) {
      const auto [p, q] = sigmoid_share(h * k);
      const double w = h * p * q;
      const double g = m + h * k;
      const double y = g / s;
      const double density = normaliser / h * std::exp(-0.5 * y * y);
      const double below = 0.5 * std::erfc(-y / std::numbers::sqrt2);
      sum.mean += w * below;
      sum.mean_m += w * density / s;
      sum.mean_l -= w * density * y;
      sum.softplus += w * (g * below + s * density);
    }
  }
  sum.softplus_l = s * s * sum.mean_m;  // Stein's identity
  return sum;
}

/// The logit at which the density of the location is largest, and its derivatives: the root of g = m + s^2 tanh(g / 2) on the
/// side of m, where there are several. Newton's method comes to it from outside, where the function is concave.
struct LogisticNormalMode {
  double logit;
  double by_m;
  double by_l;
};
[[nodiscard]] inline LogisticNormalMode logistic_normal_mode(double m, double s) {
  const double variance = s * s;
  const double sign = m < 0 ? -1 : 1;
  const double at = std::abs(m);
  double g = at + variance;
  double slope = 1;
  for (int step = 0; step < 200; ++step) {
    const double t = std::tanh(0.5 * g);
    slope = 1 - 0.5 * variance * (1 - t * t);
    const double move = (g - at - variance * t) / slope;
    if (!(move > 0)) break;
    g -= move;
  }
  return {sign * g, 1 / slope, sign * 2 * variance * std::tanh(0.5 * g) / slope};
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
