// SPDX-License-Identifier: MIT
/// \file
/// The attention-sampling estimator: a mean of features under an attention over all cells, from the few cells looked at.
///
/// A. Katharopoulos, F. Fleuret, "Processing megapixel images with deep attention-sampling models", ICML 2019. Wanted is
/// sum_i a_i f_i with a = softmax(logits), where each f_i is a network on a patch.
///
/// With replacement: cells i_1..i_N ~ a, value 1/N sum_j f(i_j), and since grad a_i = a_i grad log a_i, the gradient
/// 1/N sum_j f(i_j) grad log a(i_j).
///
/// Without: cells are drawn one after the other from what is left (Gumbel top-k), and with S_j = 1 - sum_{l<j} a(i_l) what is
/// left before draw j, the estimate of D. Raj (JASA 1956) at draw k is sum_{j<k} a(i_j) f(i_j) + S_k f(i_k). The mean over k is
///
///     sum_j w_j f(i_j),   w_j = a(i_j) (N - j) / N + S_j / N   (j = 1..N),
///
/// without bias; and since the same holds for the total of f_i grad a_i, so is sum_j w_j f(i_j) grad log a(i_j). At N = n it is
/// near the exact sum: cells seen early count with their exact weight. Both are one weighted_score().
#pragma once

#include <fovea/sample/categorical.hpp>
#include <fovea/sample/estimator.hpp>
#include <fovea/sample/straight_through.hpp>
#include <fovea/sample/top_k.hpp>

#include <algorithm>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// The mean of f under the attention from `samples` cells a row. `cost` is given one-hot cells [B samples, n] and returns
/// numbers [B samples] or features [B samples, F]; the estimate is [B] or [B, F]. Throws Error on samples < 1, without
/// replacement on more samples than cells, or on another number of features.
struct AttentionSampling {
  Index samples = 4;
  bool with_replacement = false;

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost) const {
    using T = typename C::Scalar;
    static_assert(detail::is_categorical<Q, T>,
                  "fovea::sample::AttentionSampling: a Categorical expected, the attention over the cells");
    detail::require_samples("AttentionSampling", samples);
    const Q many = repeat(context, q, samples);
    VarOf<C> cells;
    VarOf<C> weights;
    if (with_replacement) {
      cells = draw(context, detach(many), key.repeated(samples));
    } else {
      const Index n = q.cells();
      require(samples <= n, "AttentionSampling: at most ", n, " samples without replacement expected, ", samples, " came");
      cells = nn::reshape(context, draw_top_k(context, detach(q), key, samples).one_hot, Shape{q.batch() * samples, n});
      const VarOf<C> attention = probabilities(context, detach(many));
      weights = context.constant(Shape{q.batch() * samples});
      const auto count = static_cast<double>(samples);
      for (Index b = 0; b < q.batch(); ++b) {
        double left = 1;
        for (Index j = 0; j < samples; ++j) {
          const Index r = b * samples + j;
          double a = 0;
          for (Index i = 0; i < n; ++i) a += static_cast<double>(cells.value[r * n + i] * attention.value[r * n + i]);
          weights.value[r] = static_cast<T>((a * static_cast<double>(samples - 1 - j) + left) / count);
          left = std::max(0.0, left - a);
        }
      }
    }
    const VarOf<C> features = cost(cells);
    detail::require_costs("AttentionSampling", features, q.batch() * samples);
    return weighted_score(context, features, log_density(context, many, cells), nn::detach(features), weights, samples);
  }
};

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
