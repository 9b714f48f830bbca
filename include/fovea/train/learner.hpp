// SPDX-License-Identifier: MIT
/// \file
/// The models as what is trained: a shard of data and a moment of training in, its loss out.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/model/model.hpp>
#include <fovea/train/curriculum.hpp>
#include <fovea/train/trainer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// How many of the logits [B, K] are greatest at the label.
template <class T>
[[nodiscard]] Index count_correct(const Var<T>& logits, std::span<const std::int32_t> labels) {
  const View<const T, 2> rows = logits.template values<2>();
  Index correct = 0;
  for (std::size_t b = 0; b < labels.size(); ++b) {
    const T* row = rows[static_cast<Index>(b)].data();
    correct += std::max_element(row, row + rows.extent(1)) - row == labels[b] ? 1 : 0;
  }
  return correct;
}

/// The loss of any model (model/model.hpp), as fit() wants it. `model` must outlive it.
template <class M>
[[nodiscard]] auto learner(const M& model) {
  return [&model](auto& tape, const auto& shard, const model::Moment& moment) {
    const auto minibatch = shard.minibatch(tape);
    const auto outcome = model.loss(tape, minibatch, moment);
    using T = typename std::remove_cvref_t<decltype(tape)>::Scalar;
    return ShardLoss<T>{outcome.loss_sum, count_correct(outcome.logits, minibatch.targets.labels)};
  };
}
/// The same for a saccader, by a curriculum.
template <class M>
[[nodiscard]] auto learner(const M& model, const Curriculum& curriculum) {
  return [&model, curriculum](auto& tape, const auto& shard, const model::Moment& moment) {
    const auto minibatch = shard.minibatch(tape);
    const auto outcome = curriculum(tape, model, minibatch, moment);
    using T = typename std::remove_cvref_t<decltype(tape)>::Scalar;
    return ShardLoss<T>{outcome.loss_sum, count_correct(outcome.logits, minibatch.targets.labels)};
  };
}

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
