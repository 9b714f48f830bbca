// SPDX-License-Identifier: MIT
/// \file
/// Diagonal Gaussians: reparameterised sample, Kullback-Leibler divergence and log-density, with their derivatives.
///
/// Cost: samples and densities take one exponential an element, in SIMD; a KL takes two of the standard library (14 to 30 ns,
/// of which expm1 has most; backward 21 to 36: float, at about 3 GHz, bench/sample.cpp). Three numbers read for a sample, four
/// for a KL: bound by the exponentials, far from memory. The KL of a saccade's three latents is nothing beside its networks: so
/// that is a plain loop.
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
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// z = m + exp(l) * noise, all [B, D], dense.
template <class T>
void gaussian_sample(View<const T, 2> mean, View<const T, 2> log_deviation, View<const T, 2> noise, View<T, 2> z) {
  FOVEA_ASSERT(mean.is_dense() && log_deviation.is_dense() && noise.is_dense() && z.is_dense());
  const T* m = mean.data();
  const T* l = log_deviation.data();
  const T* e = noise.data();
  T* out = z.data();
  simd::for_each_batch<T>(z.size(),
                          [&](auto at) { at.store(out, simd::fma<T>(simd::exp<T>(at.load(l)), at.load(e), at.load(m))); });
}

/// d m += d z; d l += d z * exp(l) * noise. All dense; an empty gradient view is skipped.
template <class T>
void gaussian_sample_backward(View<const T, 2> d_z, View<const T, 2> log_deviation, View<const T, 2> noise, View<T, 2> d_mean,
                              View<T, 2> d_log_deviation) {
  FOVEA_ASSERT(d_z.is_dense() && log_deviation.is_dense() && noise.is_dense());
  const T* d = d_z.data();
  const T* l = log_deviation.data();
  const T* e = noise.data();
  T* dm = d_mean.data();
  T* dl = d_log_deviation.data();
  if (dm) simd::for_each_batch<T>(d_z.size(), [&](auto at) { at.store(dm, at.load(dm) + at.load(d)); });
  if (dl) {
    simd::for_each_batch<T>(d_z.size(), [&](auto at) {
      at.store(dl, simd::fma<T>(at.load(d) * simd::exp<T>(at.load(l)), at.load(e), at.load(dl)));
    });
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

namespace detail {
/// Elements of a small buffer: densities of short rows go through it, so that vectors need not end with them.
inline constexpr Index kPiece = 256;
}  // namespace detail

/// log N(z; m, exp(2 l)) per row, summed over D. z, means and log-deviations [B, D], dense.
template <class T>
void gaussian_log_density(View<const T, 2> z, View<const T, 2> mean, View<const T, 2> log_deviation, View<T, 1> out) {
  using B = simd::Batch<T>;
  FOVEA_ASSERT(z.is_dense() && mean.is_dense() && log_deviation.is_dense());
  const B half_log_two_pi(std::log(2 * std::numbers::pi_v<T>) / 2);
  for (Index b = 0; b < out.extent(0); ++b) out(b) = 0;
  Index row = 0;
  Index column = 0;
  T sum = 0;
  for (Index first = 0; first < z.size(); first += detail::kPiece) {
    const Index count = std::min(detail::kPiece, z.size() - first);
    const T* x = z.data() + first;
    const T* m = mean.data() + first;
    const T* l = log_deviation.data() + first;
    alignas(kAlignment) T terms[static_cast<std::size_t>(detail::kPiece)];
    simd::for_each_batch<T>(count, [&](auto at) {
      const B u = (at.load(x) - at.load(m)) * simd::exp<T>(-at.load(l));
      at.store(terms, simd::fma<T>(u * B(T(0.5)), u, at.load(l) + half_log_two_pi));
    });
    for (Index i = 0; i < count; ++i) {
      sum -= terms[i];
      if (++column == z.extent(1)) {
        out(row++) = sum;
        sum = 0;
        column = 0;
      }
    }
  }
}

/// The derivatives of gaussian_log_density, each added to a gradient view [B, D], dense; an empty view is skipped.
template <class T>
void gaussian_log_density_backward(View<const T, 1> d_out, View<const T, 2> z, View<const T, 2> mean,
                                   View<const T, 2> log_deviation, View<T, 2> d_z, View<T, 2> d_mean,
                                   View<T, 2> d_log_deviation) {
  using B = simd::Batch<T>;
  FOVEA_ASSERT(z.is_dense() && mean.is_dense() && log_deviation.is_dense());
  Index row = 0;
  Index column = 0;
  for (Index first = 0; first < z.size(); first += detail::kPiece) {
    const Index count = std::min(detail::kPiece, z.size() - first);
    alignas(kAlignment) T d[static_cast<std::size_t>(detail::kPiece)];  // of the row of each element
    for (Index i = 0; i < count; ++i) {
      d[i] = d_out(row);
      if (++column == z.extent(1)) {
        ++row;
        column = 0;
      }
    }
    const T* x = z.data() + first;
    const T* m = mean.data() + first;
    const T* l = log_deviation.data() + first;
    T* dz = d_z.data() ? d_z.data() + first : nullptr;
    T* dm = d_mean.data() ? d_mean.data() + first : nullptr;
    T* dl = d_log_deviation.data() ? d_log_deviation.data() + first : nullptr;
    simd::for_each_batch<T>(count, [&](auto at) {
      const B inverse = simd::exp<T>(-at.load(l));
      const B u = (at.load(x) - at.load(m)) * inverse;
      const B g = at.load(d);
      if (dz) at.store(dz, simd::fnma<T>(g * u, inverse, at.load(dz)));
      if (dm) at.store(dm, simd::fma<T>(g * u, inverse, at.load(dm)));
      if (dl) at.store(dl, simd::fma<T>(g, simd::fma<T>(u, u, B(T(-1))), at.load(dl)));
    });
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
