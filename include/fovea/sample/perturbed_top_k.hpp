// SPDX-License-Identifier: MIT
/// \file
/// Perturbed top-k: the k best of n cells as a smooth function of their scores.
///
/// J.-B. Cordonnier, A. Mahendran, A. Dosovitskiy, D. Weissenborn, J. Uszkoreit, T. Unterthiner, "Differentiable patch
/// selection for image recognition", CVPR 2021, after Q. Berthet et al., "Learning with differentiable perturbed optimizers",
/// NeurIPS 2020. With standard normal noise e,
///
///     Y(s) = E[ top_k(s + sigma e) ],    dY/ds = E[ top_k(s + sigma e) e^T ] / sigma,
///
/// both from the same N draws. Going back, top_k(s) without noise is taken off, which changes no mean, E[e] being 0, and less
/// variance is left. Without bias for Y; the smoothing is normal, where that of a Categorical is Gumbel.
#pragma once

#include <fovea/sample/categorical.hpp>
#include <fovea/sample/estimator.hpp>
#include <fovea/sample/straight_through.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace fovea::inline FOVEA_ABI {
namespace sample {

namespace detail {
/// The places of the k largest of n scores, in ascending order of place; `order` [n] is scratch.
template <class T>
void top_k_places(const T* scores, Index n, Index k, std::int32_t* order) {
  std::iota(order, order + n, 0);
  std::nth_element(order, order + (k - 1), order + n, [scores](std::int32_t a, std::int32_t b) {
    return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
  });
  std::sort(order, order + k);
}
}  // namespace detail

/// Y [B, k, n] of scores [B, n]: row j is the mean over `samples` noises, named by `key`, of the one-hot of the j-th of the k
/// best places, counted from the left. Throws Error on k outside [1, n], samples < 1, or sigma <= 0.
template <Context C>
[[nodiscard]] VarOf<C> perturbed_top_k(C& context, VarOf<C> scores, const NoiseKey& key, Index k, Index samples, double sigma) {
  using T = typename C::Scalar;
  nn::detail::require_rank("perturbed_top_k", scores, 2);
  const Index batch = scores.shape[0];
  const Index n = scores.shape[1];
  require(k >= 1 && k <= n, "perturbed_top_k: k within [1, ", n, "] expected, ", k, " came");
  detail::require_samples("perturbed_top_k", samples);
  require(sigma > 0, "perturbed_top_k: a positive sigma expected, ", sigma, " came");
  const VarOf<C> y = nn::output(context, Shape{batch, k, n}, scores);
  const VarOf<C> noise = normal_noise(context, key.repeated(samples), batch * samples, n);
  auto* places = context.template scratch<std::int32_t>(batch * samples * k);
  auto* calm = context.template scratch<std::int32_t>(batch * k);
  auto* order = context.template scratch<std::int32_t>(n);
  T* perturbed = context.scratch(n);
  std::fill_n(y.value, y.size(), T(0));
  const T weight = T(1) / static_cast<T>(samples);
  for (Index b = 0; b < batch; ++b) {
    const T* row = scores.value + b * n;
    detail::top_k_places(row, n, k, order);
    std::copy_n(order, k, calm + b * k);
    for (Index m = 0; m < samples; ++m) {
      const Index r = b * samples + m;
      for (Index i = 0; i < n; ++i) perturbed[i] = row[i] + static_cast<T>(sigma) * noise.value[r * n + i];
      detail::top_k_places(perturbed, n, k, order);
      std::copy_n(order, k, places + r * k);
      for (Index j = 0; j < k; ++j) y.value[(b * k + j) * n + order[j]] += weight;
    }
  }
  if (!y.gradient) return y;
  const auto scale = static_cast<T>(1 / (sigma * static_cast<double>(samples)));
  context.record([=] {
    for (Index b = 0; b < batch; ++b) {
      for (Index m = 0; m < samples; ++m) {
        const Index r = b * samples + m;
        T gain = 0;
        for (Index j = 0; j < k; ++j) {
          const T* d_y = y.gradient + (b * k + j) * n;
          gain += d_y[places[r * k + j]] - d_y[calm[b * k + j]];
        }
        kernel::axpy<T>(scale * gain, View<const T, 1>(noise.value + r * n, {n}), View<T, 1>(scores.gradient + b * n, {n}));
      }
    }
  });
  return y;
}

/// The cost at Y: `cost` is given [B, n] where k is 1, else [B, k, n], and returns [B]. It is asked once; for a cost that is
/// linear in Y the estimate is that of the mean cost over noises. `samples` are noises, and cost nothing but a sort.
struct PerturbedTopK {
  Index k = 1;
  double sigma = 0.05;
  Index samples = 100;

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost) const {
    static_assert(detail::is_categorical<Q, typename C::Scalar>,
                  "fovea::sample::PerturbedTopK: a Categorical expected, whose logits are the scores");
    const VarOf<C> chosen = perturbed_top_k(context, q.logits, key, k, samples, sigma);
    const VarOf<C> y = cost(k == 1 ? chosen.reshape(q.logits.shape) : chosen);
    detail::require_costs("PerturbedTopK", y, q.batch());
    return y;
  }
};

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
