// SPDX-License-Identifier: MIT
/// \file
/// VIMCO: the gradient of a K-sample bound through discrete or otherwise opaque draws.
///
/// A. Mnih, D. J. Rezende, "Variational inference for Monte Carlo objectives", ICML 2016. With l_k = -cost(z_k), z_k ~ q,
///
///     L = log (1/K sum_k exp l_k),          E[L] <= log E_q[exp(-cost)]
///     grad E[L] = E[ sum_k (L - L_-k) grad log q(z_k) + sum_k w_k grad l_k ],    w = softmax(l)
///
/// where L_-k has l_k replaced by the mean of the others: a baseline of each draw's own, for nothing. For the bound of a
/// latent variable model the cost is log q(z) - log p(x, z), and its gradient to q comes along.
#pragma once

#include <fovea/sample/estimator.hpp>

#include <algorithm>
#include <cmath>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// -L [B] of costs [B K], with the gradients above. log_density [B K]. Throws Error on K < 2 or other shapes.
template <Context C>
[[nodiscard]] VarOf<C> vimco(C& context, VarOf<C> cost, VarOf<C> log_density, Index copies) {
  using T = typename C::Scalar;
  detail::require_samples("vimco", copies, 2);
  require(cost.shape.rank() == 1 && cost.shape[0] % copies == 0, "vimco: one cost a draw, a multiple of ", copies,
          ", expected, a shape ", cost.shape.to_string(), " came");
  nn::detail::require_shape("vimco", "log-densities", log_density, cost.shape);
  const Index batch = cost.shape[0] / copies;
  const VarOf<C> y = nn::output(context, Shape{batch}, cost, log_density);
  T* weights = context.scratch(cost.size());
  T* signals = context.scratch(cost.size());
  const double log_count = std::log(static_cast<double>(copies));
  for (Index b = 0; b < batch; ++b) {
    const T* costs = cost.value + b * copies;
    double least = static_cast<double>(costs[0]);
    double total = 0;
    for (Index k = 0; k < copies; ++k) {
      least = std::min(least, static_cast<double>(costs[k]));
      total += static_cast<double>(costs[k]);
    }
    double sum = 0;
    for (Index k = 0; k < copies; ++k) sum += std::exp(least - static_cast<double>(costs[k]));
    const double bound = std::log(sum) - least - log_count;
    y.value[b] = static_cast<T>(-bound);
    for (Index k = 0; k < copies; ++k) {
      const double l = -static_cast<double>(costs[k]);
      weights[b * copies + k] = static_cast<T>(std::exp(l + least) / sum);
      // Summed anew and not by subtraction, which would leave nothing where one draw has all the weight.
      const double mean = -(total - static_cast<double>(costs[k])) / static_cast<double>(copies - 1);
      double largest = mean;
      for (Index j = 0; j < copies; ++j) {
        if (j != k) largest = std::max(largest, -static_cast<double>(costs[j]));
      }
      double others = std::exp(mean - largest);
      for (Index j = 0; j < copies; ++j) {
        if (j != k) others += std::exp(-static_cast<double>(costs[j]) - largest);
      }
      signals[b * copies + k] = static_cast<T>(bound - (std::log(others) + largest - log_count));
    }
  }
  if (!y.gradient) return y;
  context.record([=] {
    for (Index i = 0; i < cost.size(); ++i) {
      const T d_y = y.gradient[i / copies];
      if (cost.gradient) cost.gradient[i] += d_y * weights[i];
      if (log_density.gradient) log_density.gradient[i] -= d_y * signals[i];
    }
  });
  return y;
}

/// Minimises -L, which is at least -log E_q[exp(-cost)], from `samples` draws. Throws Error on samples < 2, or on another
/// number of costs.
struct Vimco {
  Index samples = 4;

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost) const {
    static_assert(Distribution<Q, C>, "fovea::sample::Vimco: a distribution expected (see sample/distribution.hpp)");
    detail::require_samples("Vimco", samples, 2);
    const Q many = repeat(context, q, samples);
    const VarOf<C> z = draw(context, detach(many), key.repeated(samples));
    const VarOf<C> costs = cost(z);
    detail::require_costs("Vimco", costs, q.batch() * samples);
    return vimco(context, costs, log_density(context, many, z), samples);
  }
};

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
