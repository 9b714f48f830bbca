// SPDX-License-Identifier: MIT
/// \file
/// The curriculum that makes a saccader start, by default within the first epochs. docs/training.md has the measurements.
///
/// A narrow look at the wrong place teaches nothing: its gradient is about what it saw, not about what it missed. What helps
/// depends on how many places there are to look at:
///
/// *Regions that are large in the image* (a policy that goes to the mean of its attention): coarse to fine. Training begins
/// with regions as wide as a glimpse can be and still show what the proxy shows, from which every object can be told apart
/// coarsely and towards which a gradient points; they narrow geometrically, as does the noise on the location. Meanwhile the
/// attention is taught by class evidence on the proxy itself (model::SaccaderLoss::evidence), which fades.
///
/// *Regions that are small in the image* (a policy that chooses among many places): read first, then learn where to look. The
/// policy starts at what stands out and stays there while the glimpses are learned, each answering by itself
/// (model::SaccaderLoss::each_look); once they say something, the choice learns from what they say. A choice that learns from
/// glimpses that cannot be read yet unlearns where to look.
#pragma once

#include <fovea/bound/schedule.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/model/model.hpp>
#include <fovea/model/saccader.hpp>

#include <algorithm>
#include <cmath>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// Everything of a training step that depends on progress in [0, 1], for a saccader of given options:
///
///     const train::Curriculum curriculum(saccader.options());
///     const auto outcome = curriculum(tape, saccader, minibatch, moment);
class Curriculum {
 public:
  /// The defaults for a model of these options; change what you like.
  explicit Curriculum(const model::SaccaderOptions& options)
      : scale(options.scale), deviation(options.deviation != 0 ? options.deviation : options.scale / 18) {
    const bool decides = options.gaze == model::Gaze::policy;
    const bool small = options.scale < options.policy.mean_above;
    const auto share = [&](std::size_t axis) {
      return static_cast<double>(options.glimpse[axis]) / static_cast<double>(options.proxy[axis]);
    };
    first_scale = decides && !small ? std::max(scale, std::min({1.0, share(0), share(1)})) : scale;
    first_deviation = options.scale / 3;
    evidence = decides && !small ? 0.5 : 0;
    each_look = small ? 1 : 0;
    worth = small && options.policy.worth > 0 ? 1 : 0;
    policy_begin = small ? 0.3 : 0;
  }

  double scale;                ///< half-extent of a region when training ends ...
  double first_scale = 1;      ///< ... and when it begins; geometrically from one to the other ...
  double scale_end = 0.35;     ///< ... until this progress
  double deviation;            ///< of the location when training ends ...
  double first_deviation;      ///< ... and when it begins; geometrically ...
  double deviation_end = 0.5;  ///< ... until this progress
  double evidence;             ///< weight of the class evidence on the proxy at the start, then linearly to 0 ...
  double evidence_end = 0.5;   ///< ... at this progress
  double each_look;            ///< weight of what each look says by itself at the start, then linearly to 0 ...
  double each_look_end = 0.5;  ///< ... at this progress
  double worth;                ///< weight of what looks are thought to be worth, where the policy thinks of that
  double policy_begin;         ///< the policy learns from this progress on
  double kl_weight = 1e-3;     ///< of the KL term, after a linear warm-up from 0 ...
  double kl_warm_up = 0.1;     ///< ... that ends at this progress
  double proxy_weight = 1e-4;  ///< of the proxy's log-likelihood in the bound
  double prefix = 1;           ///< of the answers after fewer steps

  /// How a model looks at this progress when it trains.
  [[nodiscard]] model::Looking looking(double progress) const {
    using bound::Ramp;
    model::Looking looking;
    looking.draw = true;
    looking.policy_learns = progress >= policy_begin;
    looking.scale = Ramp{first_scale, scale, 0, scale_end, Ramp::Shape::geometric}(progress);
    looking.deviation = Ramp{first_deviation, deviation, 0, deviation_end, Ramp::Shape::geometric}(progress);
    return looking;
  }

  /// The weights of the loss at this progress.
  [[nodiscard]] model::SaccaderLoss loss(double progress) const {
    using bound::Ramp;
    model::SaccaderLoss weights;
    weights.objective.proxy_weight = proxy_weight;
    weights.objective.kl_weight = Ramp{0, kl_weight, 0, kl_warm_up}(progress);
    weights.prefix = prefix;
    weights.evidence = Ramp{evidence, 0, 0, evidence_end}(progress);
    weights.worth = worth;
    weights.each_look = Ramp{each_look, 0, 0, each_look_end}(progress);
    return weights;
  }

  /// The loss of a shard at a moment of training.
  template <Context C, class Saccader, ImageSource Source>
  [[nodiscard]] model::Outcome<typename C::Scalar> operator()(C& context, const Saccader& saccader,
                                                              const model::Minibatch<typename C::Scalar, Source>& minibatch,
                                                              const model::Moment& moment) const {
    model::Looking look = looking(moment.progress);
    look.noise = moment.noise;
    return saccader.outcome(context, minibatch, look, loss(moment.progress));
  }
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
