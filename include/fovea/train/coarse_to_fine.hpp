// SPDX-License-Identifier: MIT
/// \file
/// The curriculum that makes a saccader start: from wide and noisy looks to narrow and certain ones.
///
/// A narrow look at the wrong place teaches nothing: its gradient is about what it saw, not about what it missed. So training
/// begins with regions that hold the whole image, from which every object can be told apart coarsely and towards which
/// a gradient always points; they narrow geometrically, as does the noise on the location. Meanwhile the attention is taught by
/// class evidence on the proxy itself (model::SaccaderLoss::evidence), which fades. docs/training.md has the measurements.
#pragma once

#include <fovea/bound/schedule.hpp>
#include <fovea/core/config.hpp>
#include <fovea/model/saccader.hpp>

#include <algorithm>
#include <cmath>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// Everything of a training step that depends on progress in [0, 1]; each member documents its default schedule.
struct CoarseToFine {
  double first_scale = 1;         ///< half-extent at the start, then geometrically to the model's own ...
  double scale_end = 0.35;        ///< ... which is reached at this progress
  double first_deviation = 0.12;  ///< of the location at the start, then geometrically to the model's own ...
  double deviation_end = 0.5;     ///< ... which is reached at this progress
  double evidence = 0.5;          ///< weight of the class evidence on the proxy at the start, then linearly to 0 ...
  double evidence_end = 0.5;      ///< ... at this progress
  double kl_weight = 1e-3;        ///< of the KL term, after a linear warm-up from 0 ...
  double kl_warm_up = 0.1;        ///< ... that ends at this progress
  double proxy_weight = 1e-4;     ///< of the proxy's log-likelihood in the bound
  double prefix = 1;              ///< of the answers after fewer steps

  /// How a model of these options looks at this progress when it trains.
  [[nodiscard]] model::Looking looking(double progress, const model::SaccaderOptions& options) const {
    model::Looking looking;
    looking.draw = true;
    looking.scale = geometric(first_scale, options.scale, progress / scale_end);
    looking.deviation = geometric(first_deviation, options.deviation, progress / deviation_end);
    return looking;
  }

  /// The weights of the loss at this progress.
  [[nodiscard]] model::SaccaderLoss loss(double progress) const {
    model::SaccaderLoss weights;
    weights.objective.proxy_weight = proxy_weight;
    weights.objective.kl_weight = bound::Ramp{0, kl_weight, 0, kl_warm_up}(progress);
    weights.prefix = prefix;
    weights.evidence = bound::Ramp{evidence, 0, 0, evidence_end}(progress);
    return weights;
  }

 private:
  static double geometric(double from, double to, double u) {
    const double v = std::clamp(u, 0.0, 1.0);
    return std::exp(std::log(from) * (1 - v) + std::log(to) * v);
  }
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
