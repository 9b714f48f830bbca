// SPDX-License-Identifier: MIT
/// \file
/// Diagonal Gaussians: reparameterised sample, Kullback-Leibler divergence and log-density, with their derivatives.
///
/// Cost: an element takes one exponential of the standard library for a sample (6 to 8 ns) or a density (4 to 9), two for a KL
/// (14 to 30, of which expm1 has most); backward 9, 13 and 21 to 36 (float, by the spread of the arguments, at about 3 GHz;
/// bench/kernel_elementwise.cpp, bench/sample.cpp). Three numbers read for a sample, four for a KL: bound by the exponentials,
/// far from memory. 32 samples of three latents take 8 us for all of it, forward and backward, and a training step of the
/// default saccader with its four looks 17 ms: so these are plain loops.
///
/// Accuracy, float against double, deviations from 0.02 to 3: samples within 1e-7 of the largest, a KL within 1e-6 of itself,
/// densities and gradients likewise. Differences of logarithms are kept as such: q = p gives exactly 0, and no scale from 1e-6
/// to 1e3 overflows. But a KL near 0 is what is left of expm1(2 d) / 2 - d, d = l_q - l_p, and has a relative error of 1e-7 /
/// |d|; the gradient to q keeps its digits.
///
/// Everything is in terms of the logarithm of the standard deviation, l = log sigma. (The published code uses one number as
/// log-variance when sampling and as deviation in the KL; see notes in docs/bound.md.)
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>

#include <cmath>
#include <numbers>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// z = m + exp(l) * noise, all [B, D].
template <class T>
void gaussian_sample(View<const T, 2> mean, View<const T, 2> log_deviation, View<const T, 2> noise, View<T, 2> z) {
  for (Index b = 0; b < z.extent(0); ++b) {
    for (Index d = 0; d < z.extent(1); ++d) z(b, d) = mean(b, d) + std::exp(log_deviation(b, d)) * noise(b, d);
  }
}

/// d m += d z; d l += d z * exp(l) * noise. An empty gradient view is skipped.
template <class T>
void gaussian_sample_backward(View<const T, 2> d_z, View<const T, 2> log_deviation, View<const T, 2> noise, View<T, 2> d_mean,
                              View<T, 2> d_log_deviation) {
  for (Index b = 0; b < d_z.extent(0); ++b) {
    for (Index d = 0; d < d_z.extent(1); ++d) {
      if (d_mean.data()) d_mean(b, d) += d_z(b, d);
      if (d_log_deviation.data()) d_log_deviation(b, d) += d_z(b, d) * std::exp(log_deviation(b, d)) * noise(b, d);
    }
  }
}

/// KL(q || p) per row, summed over D:  l_p - l_q + (exp(2 (l_q - l_p)) - 1) / 2 + ((m_q - m_p) / exp(l_p))^2 / 2.
/// Means and log-deviations [B, D], kl [B].
template <class T>
void gaussian_kl(View<const T, 2> mean_q, View<const T, 2> log_q, View<const T, 2> mean_p, View<const T, 2> log_p,
                 View<T, 1> kl) {
  for (Index b = 0; b < kl.extent(0); ++b) {
    T sum = 0;
    for (Index d = 0; d < mean_q.extent(1); ++d) {
      const T difference = log_q(b, d) - log_p(b, d);
      const T distance = (mean_q(b, d) - mean_p(b, d)) * std::exp(-log_p(b, d));
      // expm1 keeps the digits where the two deviations are close.
      sum += (std::expm1(2 * difference) + distance * distance) / 2 - difference;
    }
    kl(b) = sum;
  }
}

/// The derivatives of gaussian_kl, each added to a gradient view [B, D]; an empty view is skipped.
template <class T>
void gaussian_kl_backward(View<const T, 1> d_kl, View<const T, 2> mean_q, View<const T, 2> log_q, View<const T, 2> mean_p,
                          View<const T, 2> log_p, View<T, 2> d_mean_q, View<T, 2> d_log_q, View<T, 2> d_mean_p,
                          View<T, 2> d_log_p) {
  for (Index b = 0; b < d_kl.extent(0); ++b) {
    const T g = d_kl(b);
    for (Index d = 0; d < mean_q.extent(1); ++d) {
      const T ratio = std::expm1(2 * (log_q(b, d) - log_p(b, d)));  // sigma_q^2 / sigma_p^2 - 1
      const T inverse = std::exp(-log_p(b, d));
      const T distance = (mean_q(b, d) - mean_p(b, d)) * inverse;
      if (d_mean_q.data()) d_mean_q(b, d) += g * distance * inverse;
      if (d_mean_p.data()) d_mean_p(b, d) -= g * distance * inverse;
      if (d_log_q.data()) d_log_q(b, d) += g * ratio;
      if (d_log_p.data()) d_log_p(b, d) -= g * (ratio + distance * distance);
    }
  }
}

/// log N(z; m, exp(2 l)) per row, summed over D.
template <class T>
void gaussian_log_density(View<const T, 2> z, View<const T, 2> mean, View<const T, 2> log_deviation, View<T, 1> out) {
  const T half_log_two_pi = std::log(2 * std::numbers::pi_v<T>) / 2;
  for (Index b = 0; b < out.extent(0); ++b) {
    T sum = 0;
    for (Index d = 0; d < z.extent(1); ++d) {
      const T u = (z(b, d) - mean(b, d)) * std::exp(-log_deviation(b, d));
      sum -= u * u / 2 + log_deviation(b, d) + half_log_two_pi;
    }
    out(b) = sum;
  }
}

/// The derivatives of gaussian_log_density, each added to a gradient view [B, D]; an empty view is skipped.
template <class T>
void gaussian_log_density_backward(View<const T, 1> d_out, View<const T, 2> z, View<const T, 2> mean,
                                   View<const T, 2> log_deviation, View<T, 2> d_z, View<T, 2> d_mean,
                                   View<T, 2> d_log_deviation) {
  for (Index b = 0; b < d_out.extent(0); ++b) {
    for (Index d = 0; d < z.extent(1); ++d) {
      const T inverse = std::exp(-log_deviation(b, d));
      const T u = (z(b, d) - mean(b, d)) * inverse;
      if (d_z.data()) d_z(b, d) -= d_out(b) * u * inverse;
      if (d_mean.data()) d_mean(b, d) += d_out(b) * u * inverse;
      if (d_log_deviation.data()) d_log_deviation(b, d) += d_out(b) * (u * u - 1);
    }
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
