// SPDX-License-Identifier: MIT
/// \file
/// What every model is: the saccader and its peers learn from the same minibatches and answer in the same words, so that they
/// can be trained by one loop and set side by side in one table.
///
///     layout()                                names, shapes and starting values of the parameters
///     loss(context, minibatch, moment)        what a shard learns from: Outcome
///     classify(image, parameters, arena)      the answer to one image: Prediction
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/image/source.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/model/task.hpp>
#include <fovea/sample/noise.hpp>

#include <concepts>
#include <span>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// A minibatch, or a shard of one. On a tape all of it must stay until backward() has run.
template <class T, ImageSource Source>
struct Minibatch {
  Var<T> proxies;                  ///< [B, h, w, C] in [0, 1], of the extent that the model asks for; see fovea::proxy
  std::span<const Source> images;  ///< B, of C channels, of any sizes
  Targets<T> targets;              ///< what the answers should have been
};

/// When in training a minibatch comes, and the names of its random numbers.
struct Moment {
  double progress = 0;  ///< of the training, in [0, 1]
  sample::NoiseKey noise = {};
};

/// What came of a minibatch: the loss *summed* over its samples, a scalar, and the answers [B, K].
template <class T>
struct Outcome {
  Var<T> loss_sum;
  Var<T> logits;
};

/// What a trainer asks of a model.
template <class M, class C, class Source>
concept Learner = Context<C> && ImageSource<Source> &&
    requires(const M& model, C& context, const Minibatch<typename C::Scalar, Source>& minibatch, const Moment& moment) {
  { model.layout() } -> std::same_as<const ParameterLayout&>;
  { model.loss(context, minibatch, moment) } -> std::same_as<Outcome<typename C::Scalar>>;
};

/// What whoever has an image asks of a model.
template <class M, class Source>
concept Classifier = ImageSource<Source> &&
    requires(const M& model, const Source& image, const Parameters<float>& parameters, Arena& arena) {
  { model.classify(image, parameters, arena) } -> std::same_as<Prediction>;
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
