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
  Index label = 0;
  std::span<const float> probabilities;             ///< per class, sum 1
  std::span<const glimpse::Region<float>> regions;  ///< in order of gaze; empty for a model that looks at no regions
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
