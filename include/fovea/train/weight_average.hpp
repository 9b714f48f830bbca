// SPDX-License-Identifier: MIT
/// \file
/// An exponential moving average of the weights: what is tested, while the weights themselves go on being trained.
///
/// B. T. Polyak, A. B. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 30(4), 1992.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/optimizer.hpp>

#include <algorithm>
#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace train {

template <class T>
class WeightAverage {
 public:
  /// Starts at `parameters`. decay in [0, 1): the average looks back over about 1 / (1 - decay) updates.
  explicit WeightAverage(const Parameters<T>& parameters, double decay = 0.99) : decay_(decay), average_(parameters) {
    require(decay >= 0 && decay < 1, "weight average: a decay in [0, 1) expected, ", decay, " came");
  }

  /// After an optimiser's step. The first updates average over what there is, so that the start is soon forgotten.
  void update(const Parameters<T>& parameters) {
    ++updates_;
    const double early = static_cast<double>(updates_) / static_cast<double>(updates_ + 1);
    kernel::moving_average<T>(std::min(decay_, early), parameters.values(), average_.values());
  }

  [[nodiscard]] const Parameters<T>& parameters() const noexcept { return average_; }

  [[nodiscard]] double decay() const noexcept { return decay_; }
  /// How often it was updated.
  [[nodiscard]] std::int64_t updates() const noexcept { return updates_; }
  /// The average itself, for a checkpoint to read and write.
  [[nodiscard]] View<T, 1> values() noexcept { return average_.values(); }
  /// Goes on after `updates` updates, values() having been overwritten with those of that time. Throws Error below 0.
  void resume(std::int64_t updates) {
    require(updates >= 0, "weight average: at least 0 updates expected, ", updates, " came");
    updates_ = updates;
  }

 private:
  double decay_;
  std::int64_t updates_ = 0;
  Parameters<T> average_;
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
