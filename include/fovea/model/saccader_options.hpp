// SPDX-License-Identifier: MIT
/// \file
/// What a saccader is made of in numbers, how a pass of it looks, and what its training loss weighs.
#pragma once

#include <fovea/bound/sum.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/model/early_exit.hpp>
#include <fovea/model/gaze.hpp>
#include <fovea/model/policy.hpp>
#include <fovea/model/task.hpp>
#include <fovea/sample/noise.hpp>
#include <fovea/sample/score_function.hpp>

#include <optional>

namespace fovea::inline FOVEA_ABI {
namespace model {

struct SaccaderOptions {
  Index classes = 10;             ///< K >= 2, or for numbers >= 1
  Index channels = 1;             ///< of the image
  Extents<2> proxy = {20, 20};    ///< {height, width} of what the policy sees
  Extents<2> glimpse = {32, 32};  ///< {height, width} of a glimpse
  Index steps = 4;                ///< T, 1 to max_steps
  Index state = 64;               ///< length of h
  Index location_features = 32;   ///< length of phi_z(z)
  double scale = 0.36;            ///< half-extent of a region the policy starts from, in (0, 1]
  double deviation = 0;  ///< of the posterior when training ends, in the units of z; 0: scale / 18. A policy may learn a factor
  bool closed_loop = true;       ///< glimpses enter the state, so the next look depends on what was seen
  bool head_sees_state = false;  ///< the class is read off h_{t-1} too (published); else off the glimpses alone
  bool decode_proxy = true;      ///< the decoder exists, and with it the proxy's term of the bound
  PolicyOptions policy = {};
  Index filters = 32;  ///< channels of the first layer of feature networks that ask (ResidualVector); others have their own
  Gaze gaze = Gaze::policy;     ///< of a model that is to be trained and asked with another
  Question question = {};       ///< what is asked of an image
  double initial_noise = 0;     ///< deviation of the noise on h_0 in training; published: 0.01
  bool state_baseline = false;  ///< a baseline of the cost is learned from h, for estimators that take one (LearnedScore)

  static constexpr Index max_steps = 64;
};

/// How a pass looks. The defaults are those of an inference.
struct Looking {
  std::optional<Gaze> gaze = std::nullopt;  ///< none: that of SaccaderOptions
  /// z is drawn from the posterior; otherwise it is the posterior's mode.
  bool draw = false;
  /// Names the random numbers; used where `draw` holds or the gaze is uniform.
  sample::NoiseKey noise = {};
  /// Half-extent the policy starts from, and deviation of the posterior; 0: those of SaccaderOptions. Training goes from wide
  /// and noisy to the options' values (train::Curriculum).
  double scale = 0;
  double deviation = 0;
  /// The terms of the bound are computed: prior, KL, the proxy's log-likelihood. loss() wants them, no answer does.
  bool bound = true;
  /// The KL is that of the draw, log q(z) - log p(z), and not the closed one: what bounds of several draws per sample are made
  /// of (bound::ImportanceWeighted, for which every image and label stands K times in a row, and the noise is
  /// noise.repeated(K)).
  bool kl_of_draw = false;
  /// The policy learns. Otherwise it looks as it does and nothing else of it changes: first learn to read, then where to look.
  bool policy_learns = true;
  /// Steps to take; 0: SaccaderOptions::steps.
  Index steps = 0;
  /// When classify() stops before that.
  EarlyExit exit = {};
};

/// Options of Saccader::reference(): the defaults are those of the published experiment with two cluttered digits.
struct ReferenceOptions {
  Index classes = 55;
  Index channels = 1;
  Extents<2> proxy = {100, 100};  ///< its network sees it resized to 64 pixels on the longer side
  Extents<2> glimpse = {64, 64};
  Index steps = 4;
  Index latent = 256;        ///< length of h and of every vector of features
  Index filters = 32;        ///< channels of the first residual block
  double scale = 0.15;       ///< half-extent of the regions at z = 0; twice that is the most
  double deviation = 0.1;    ///< of the posterior where training starts; it is learned
  bool closed_loop = false;  ///< published: only the proxy and past z say where to look next
  bool decode_proxy = true;  ///< false: without the decoder, which only training needs
  double initial_noise = 0;  ///< published: 0.01

  [[nodiscard]] SaccaderOptions options() const {
    SaccaderOptions o;
    o.classes = classes;
    o.channels = channels;
    o.proxy = proxy;
    o.glimpse = glimpse;
    o.steps = steps;
    o.state = o.location_features = latent;
    o.filters = filters;
    o.scale = scale;
    o.deviation = deviation;
    o.closed_loop = closed_loop;
    o.decode_proxy = decode_proxy;
    o.initial_noise = initial_noise;
    o.head_sees_state = true;
    return o;
  }
};

/// The training loss: a bound::Objective of the terms of the bound, and aids with their weights, not part of it.
template <class O>
struct BasicSaccaderLoss {
  O objective = {};
  /// Mean over t of the cross-entropy after t steps: every prefix of the glimpses should answer.
  double prefix = 1;
  /// Mean over t of the cross-entropy of the class from the proxy's features under the policy's attention. It teaches the
  /// attention to find what carries the class before any glimpse has; fades during training.
  double evidence = 0;
  /// Mean over t of the cross-entropy of what look t says by itself: it teaches glimpses to be read before the policy knows
  /// which are worth it. Of heads whose evidence answers alone, as SumHead's does.
  double each_look = 0;
  /// Sum over t of KL(p(z_t | h) || N(0, 1)), which holds a learned prior to a scale (published: --use-prior-kl).
  double prior_to_normal = 0;
  /// Mean over t of half the squared difference between what a look was thought to be worth (PolicyOptions::worth) and what it
  /// told: log K - H(its own answer), in nats, or what the head says (model/parts.hpp).
  double worth = 0;
};
using SaccaderLoss = BasicSaccaderLoss<bound::Sum>;

/// The score function with a baseline that the model learns from its state (SaccaderOptions::state_baseline), an estimator for
/// BasicSaccader::estimate().
struct LearnedScore {
  Index samples = 1;
  double weight = 1;  ///< of the baseline's own loss

  template <class T>
  [[nodiscard]] sample::ScoreFunction<sample::LearnedBaseline<T>> with_prediction(Var<T> prediction) const {
    return {samples, {prediction, weight}};
  }
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
