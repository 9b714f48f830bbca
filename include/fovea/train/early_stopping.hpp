// SPDX-License-Identifier: MIT
/// \file
/// Stops when validation no longer gets better, and keeps the weights that were best.
///
/// L. Prechelt, "Early stopping - but when?", Neural Networks: Tricks of the Trade, 1998: the simplest of its criteria,
/// patience. With a burn-in, as in the published code of Variational Saccading (100 epochs, and a patience of 80).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace train {

struct EarlyStoppingOptions {
  /// Whether a greater number is a better one: true for an accuracy, false for a loss.
  bool greater_is_better = true;
  /// Stops after so many validations in a row that brought no new best, >= 1.
  std::int64_t patience = 10;
  /// By how much a new best must beat the old one at least, >= 0; equal numbers never do.
  double minimum_change = 0;
  /// The first so many validations count for nothing, >= 0: while weights of the loss are still warming up its numbers do not
  /// compare with later ones.
  std::int64_t burn_in = 0;
};

template <class T>
class EarlyStopping {
 public:
  /// What is remembered besides the best weights.
  struct State {
    std::int64_t validations = 0;
    std::int64_t best_validation = 0;  ///< counted from 1; 0: none yet
    double best = 0;                   ///< its number; 0 where there is none yet
    friend bool operator==(const State&, const State&) = default;
  };

  /// For parameters of this layout, of which one copy is made room for. Throws Error on options out of range.
  explicit EarlyStopping(const ParameterLayout& layout, const EarlyStoppingOptions& options = {})
      : options_(options), weights_({layout.size()}) {
    require(options.patience >= 1 && options.burn_in >= 0,
            "early stopping: a patience of at least 1 and a burn-in of at least 0 expected, ", options.patience, " and ",
            options.burn_in, " came");
    require(options.minimum_change >= 0 && std::isfinite(options.minimum_change),
            "early stopping: a minimum change of at least 0 expected, ", options.minimum_change, " came");
  }

  /// Tells the outcome of a validation and the parameters it was measured with, which are copied where it is the best so far;
  /// returns whether it is. NaN and infinity never are.
  bool update(double score, const Parameters<T>& parameters) {
    require_size(parameters);
    ++state_.validations;
    if (state_.validations <= options_.burn_in || !std::isfinite(score)) return false;
    if (has_best()) {
      const double gain = options_.greater_is_better ? score - state_.best : state_.best - score;
      if (!(gain > 0 && gain >= options_.minimum_change)) return false;
    }
    state_.best = score;
    state_.best_validation = state_.validations;
    std::copy_n(parameters.values().data(), weights_.size(), weights_.data());
    return true;
  }

  /// Whether the last `patience` validations behind the burn-in brought no new best.
  [[nodiscard]] bool should_stop() const noexcept {
    return state_.validations - std::max(state_.best_validation, options_.burn_in) >= options_.patience;
  }

  [[nodiscard]] bool has_best() const noexcept { return state_.best_validation > 0; }

  /// Copies the best weights into `parameters`. Throws Error where there are none yet.
  void restore(Parameters<T>& parameters) const {
    require(has_best(), "early stopping: a finite number behind the burn-in expected before weights are restored, none of ",
            state_.validations, " validations gave one");
    require_size(parameters);
    std::copy_n(weights_.data(), weights_.size(), parameters.values().data());
  }

  [[nodiscard]] const State& state() const noexcept { return state_; }
  /// The best weights, laid out as the parameters are; zero where there are none yet.
  [[nodiscard]] View<T, 1> best_weights() noexcept { return weights_.view(); }
  [[nodiscard]] View<const T, 1> best_weights() const noexcept { return weights_.view(); }
  /// Goes on from `state`, best_weights() having been overwritten with those of that time. Throws Error on a state that cannot
  /// be.
  void resume(const State& state) {
    require(state.best_validation >= 0 && state.best_validation <= state.validations && std::isfinite(state.best),
            "early stopping: a best of the validations so far expected, number ", state.best_validation, " of ",
            state.validations, " came, ", state.best);
    state_ = state;
  }

 private:
  void require_size(const Parameters<T>& parameters) const {
    require(parameters.values().size() == weights_.size(), "early stopping: ", weights_.size(), " parameters expected, ",
            parameters.values().size(), " came");
  }

  EarlyStoppingOptions options_;
  State state_;
  Tensor<T, 1> weights_;
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
