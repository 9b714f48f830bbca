// SPDX-License-Identifier: MIT
/// \file
/// What every model answers about an image.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/nn/loss.hpp>

#include <algorithm>
#include <cstddef>
#include <span>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// An answer; its arrays live in the arena given to classify().
struct Prediction {
  Index label = 0;                                  ///< the most probable class; of numbers, the greatest
  std::span<const float> probabilities;             ///< per class, sum 1; for other tasks what Question::answer says
  std::span<const glimpse::Region<float>> regions;  ///< in order of gaze; empty for a model that looks at no regions
  /// The same answer after each step, [steps, K] in rows; empty for a model that answers once.
  std::span<const float> after_steps = {};
  /// Entropy of the posterior that each look was taken from, in nats, one a step; empty where there is none.
  std::span<const float> uncertainty = {};

  /// Glimpses taken.
  [[nodiscard]] Index steps() const noexcept { return static_cast<Index>(regions.size()); }
};

namespace detail {

/// The answer in row b of `probabilities` [B, K].
[[nodiscard]] inline Prediction prediction(const Var<float>& probabilities, Index b,
                                           std::span<const glimpse::Region<float>> regions = {}) {
  const Index classes = probabilities.shape[1];
  const float* row = probabilities.value + b * classes;
  return {std::max_element(row, row + classes) - row, {row, static_cast<std::size_t>(classes)}, regions};
}

}  // namespace detail
}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
