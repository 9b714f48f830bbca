// SPDX-License-Identifier: MIT
/// \file
/// Integrals of smooth functions over an interval, by Gauss and Legendre's rule.
///
/// Cost: 48 values of the integrand, on whole vectors of doubles. Accuracy: to rounding for a Gaussian over +- 9 deviations, or
/// an exponential over 40 of its lengths, and whatever is smoother.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/simd.hpp>

#include <array>
#include <cstddef>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// The rule of 48 points on [-1, 1].
struct GaussLegendre {
  static constexpr Index points = 48;
  alignas(kAlignment) std::array<double, points> nodes;
  alignas(kAlignment) std::array<double, points> weights;
};
namespace detail {
[[nodiscard]] constexpr GaussLegendre make_gauss_legendre() {
  // The positive half, to rounding.
  constexpr std::array<double, 24> nodes = {
      0.032380170962869362, 0.097004699209462699, 0.16122235606889172, 0.22476379039468906, 0.28736248735545558,
      0.34875588629216074,  0.40868648199071673,  0.4669029047509584,  0.52316097472223303, 0.5772247260839727,
      0.62886739677651362,  0.67787237963266391,  0.72403413092381465, 0.76715903251574034, 0.80706620402944263,
      0.84358826162439353,  0.87657202027424789,  0.90587913671556967, 0.93138669070655433, 0.95298770316043086,
      0.97059159254624725,  0.98412458372282686,  0.99353017226635076, 0.99877100725242612};
  constexpr std::array<double, 24> weights = {
      0.064737696812683923, 0.064466164435950082, 0.063924238584648187,  0.063114192286254026, 0.062039423159892664,
      0.06070443916589388,  0.059114839698395636, 0.057277292100403216,  0.055199503699984163, 0.052890189485193667,
      0.050359035553854475, 0.047616658492490475, 0.04467456085669428,   0.041545082943464749, 0.038241351065830706,
      0.034777222564770439, 0.031167227832798089, 0.027426509708356948,  0.023570760839324379, 0.019616160457355528,
      0.015579315722943849, 0.011477234579234539, 0.0073275539012762621, 0.0031533460523058386};
  GaussLegendre rule{};
  for (std::size_t k = 0; k < 24; ++k) {
    rule.nodes[k] = -nodes[23 - k];
    rule.nodes[24 + k] = nodes[k];
    rule.weights[k] = weights[23 - k];
    rule.weights[24 + k] = weights[k];
  }
  return rule;
}
}  // namespace detail
inline constexpr GaussLegendre kGaussLegendre = detail::make_gauss_legendre();

/// The integrals over [from, to] of the N functions that f gives as an array of vectors, for a vector of points.
template <std::size_t N, class F>
[[nodiscard]] inline std::array<double, N> integrate(double from, double to, F&& f) {
  using V = simd::Batch<double>;
  const double half = 0.5 * (to - from);
  const V middle(0.5 * (from + to));
  std::array<V, N> sums;
  sums.fill(V(0.0));
  for (Index i = 0; i < GaussLegendre::points; i += simd::kWidth<double>) {
    const V weight = simd::load_aligned(kGaussLegendre.weights.data() + i);
    const std::array<V, N> values = f(simd::fma(V(half), simd::load_aligned(kGaussLegendre.nodes.data() + i), middle));
    for (std::size_t k = 0; k < N; ++k) sums[k] = simd::fma(weight, values[k], sums[k]);
  }
  std::array<double, N> result;
  for (std::size_t k = 0; k < N; ++k) result[k] = half * simd::reduce_add(sums[k]);
  return result;
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
