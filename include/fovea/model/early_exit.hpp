// SPDX-License-Identifier: MIT
/// \file
/// When to stop looking: rules on what has been answered so far, with one threshold.
///
/// Confidence: Y. Wang, K. Lv, R. Huang, S. Song, L. Yang, G. Huang, "Glance and focus: a dynamic approach to reducing spatial
/// redundancy in image classification", NeurIPS 2020. Entropy: S. Teerapittayanon, B. McDanel, H. T. Kung, "BranchyNet: fast
/// inference via early exiting from deep neural networks", ICPR 2016. Both have a threshold for every exit; here it is one for
/// all steps, since the answers of all steps come from the same head. The margin and the entropy of where to look are beside
/// them for comparison. train/calibration.hpp finds the threshold for a wanted number of glimpses.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace fovea::inline FOVEA_ABI {
namespace model {

enum class ExitRule : std::uint8_t {
  never,        ///< all steps are taken
  confidence,   ///< the probability of the most probable class
  margin,       ///< how far it is ahead of the second
  entropy,      ///< of the answer, in nats, negative
  uncertainty,  ///< the entropy of the posterior that the last look was taken from, in nats, negative
};

namespace detail {

/// The logarithm of a probability. The softmax of floats gives 0 to what is hopeless; it counts as the smallest normal number.
[[nodiscard]] inline double log_probability(float p) noexcept {
  return std::log(static_cast<double>(std::max(p, std::numeric_limits<float>::min())));
}

/// Throws Error unless these are probabilities of one of K classes, K >= 1: finite, at least 0, of sum 1 (to 1e-3).
inline void require_probabilities(const char* where, std::span<const float> probabilities) {
  require(!probabilities.empty(), where, ": probabilities expected, none came");
  double sum = 0;
  for (const float p : probabilities) {
    require(p >= 0 && std::isfinite(p), where, ": probabilities of at least 0 expected, ", p, " came");
    sum += static_cast<double>(p);
  }
  require(std::abs(sum - 1) <= 1e-3, where, ": probabilities of sum 1 expected, a sum of ", sum, " came");
}
inline void require_temperature(const char* where, double temperature) {
  require(temperature > 0 && std::isfinite(temperature), where, ": a temperature above 0 expected, ", temperature, " came");
}

}  // namespace detail

/// How certain an answer is by a rule: greater is more certain. `probabilities` [K] of one class, sum 1, which the temperature
/// softens (softmax(log p / temperature)); of `never` -infinity, of `uncertainty` what `posterior_entropy` says, whatever the
/// answer. Throws Error on probabilities that are none, a temperature not above 0, and where the rule is `uncertainty` on an
/// entropy that is NaN: such an answer has no posterior.
[[nodiscard]] inline double certainty(ExitRule rule, std::span<const float> probabilities,
                                      double posterior_entropy = std::numeric_limits<double>::quiet_NaN(),
                                      double temperature = 1) {
  if (rule == ExitRule::never) return -std::numeric_limits<double>::infinity();
  if (rule == ExitRule::uncertainty) {
    require(!std::isnan(posterior_entropy), "early exit: the entropy of a posterior expected, a number that is none came");
    return -posterior_entropy;
  }
  detail::require_probabilities("early exit", probabilities);
  detail::require_temperature("early exit", temperature);
  const auto first = std::max_element(probabilities.begin(), probabilities.end());
  const double greatest = detail::log_probability(*first);
  // With a_k = (log p_k - log max p) / temperature: q_k = exp(a_k) / sum of exp(a).
  double sum = 0;
  double weighted = 0;
  double second = 0;
  for (auto p = probabilities.begin(); p != probabilities.end(); ++p) {
    const double a = (detail::log_probability(*p) - greatest) / temperature;
    const double e = std::exp(a);
    sum += e;
    weighted += a * e;
    if (p != first) second = std::max(second, e);
  }
  if (rule == ExitRule::confidence) return 1 / sum;
  if (rule == ExitRule::margin) return (1 - second) / sum;
  return weighted / sum - std::log(sum);  // sum of q log q
}

/// A rule and its threshold. One for all steps, so that the budget can change after training.
struct EarlyExit {
  ExitRule rule = ExitRule::never;
  double threshold = 0;    ///< stop where certainty() is at least this
  double temperature = 1;  ///< of the answers' probabilities, as train::TemperatureScaling fits it; `uncertainty` has none
  Index least = 1;         ///< steps taken in any case

  /// Throws Error on a threshold that is NaN, a temperature not above 0, or fewer than 1 step.
  void check() const {
    require(!std::isnan(threshold), "early exit: a threshold expected, a number that is none came");
    detail::require_temperature("early exit", temperature);
    require(least >= 1, "early exit: at least 1 step expected, ", least, " came");
  }

  /// Whether to stop after `steps_taken` steps, given the answer [K] and the entropy of the posterior that the last look was
  /// taken from, NaN where there is none. Throws Error as certainty() does.
  [[nodiscard]] bool stop(std::span<const float> probabilities, double posterior_entropy, Index steps_taken) const {
    if (rule == ExitRule::never || steps_taken < least) return false;
    return certainty(rule, probabilities, posterior_entropy, temperature) >= threshold;
  }
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
