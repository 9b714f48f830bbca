// SPDX-License-Identifier: MIT
/// \file
/// What a choice among places is credited with: the evidence it led to.
///
/// A. Katharopoulos, F. Fleuret, "Processing megapixel images with deep attention-sampling models", ICML 2019, have the
/// gradient of a mean of features under an attention from a few draws: each log-probability gets <feature, d loss / d mean>.
/// Here the draws are looks one after the other, and the mean is the sum of what they say. To first order in the sum, and
/// without what a look does to later ones, so it is biased; of far less variance than the loss of the whole pass.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/sample/estimator.hpp>

namespace fovea::inline FOVEA_ABI {
namespace model {

namespace detail {

/// The evidence [B, E] of a look at a place that was chosen: the choice gets its due (see the head of this file).
template <Context C>
[[nodiscard]] VarOf<C> credited(C& context, VarOf<C> evidence, VarOf<C> choice_log_probability) {
  using T = typename C::Scalar;
  const Index batch = evidence.shape[0];
  if (choice_log_probability.gradient == nullptr || batch < 2) return evidence;
  const Index columns = evidence.shape[1];
  const VarOf<C> advantage = context.constant(evidence.shape);
  for (Index k = 0; k < columns; ++k) {
    double sum = 0;
    for (Index b = 0; b < batch; ++b) sum += static_cast<double>(evidence.value[b * columns + k]);
    for (Index b = 0; b < batch; ++b) {
      const auto own = static_cast<double>(evidence.value[b * columns + k]);
      advantage.value[b * columns + k] = static_cast<T>(own - (sum - own) / static_cast<double>(batch - 1));
    }
  }
  return sample::weighted_score(context, evidence, choice_log_probability, advantage, VarOf<C>{}, 1);
}

}  // namespace detail

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
