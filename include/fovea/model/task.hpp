// SPDX-License-Identifier: MIT
/// \file
/// What is asked of an image: which class it is, which of several classes are in it, or numbers about it.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/pointwise.hpp>
#include <fovea/nn/reshape.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace model {

enum class Task : std::uint8_t {
  one_class,        ///< one of K: softmax, cross-entropy
  several_classes,  ///< any of K, each on its own: sigmoid, Bernoulli likelihood
  numbers,          ///< K numbers: half the squared error, which is a Gaussian's likelihood with deviation 1
};

/// What the answers should have been: labels for one_class, values for the other tasks.
template <class T>
struct Targets {
  std::span<const std::int32_t> labels;  ///< [B], each in [0, K)
  Var<T> values;                         ///< [B, K]: 0 or 1 for several_classes, anything finite for numbers

  Targets() = default;
  Targets(std::span<const std::int32_t> of_classes) : labels(of_classes) {}  // NOLINT: labels are targets
  Targets(const Var<T>& of_values) : values(of_values) {}                    // NOLINT: so are values

  [[nodiscard]] Index samples() const noexcept {
    return labels.empty() ? (values.shape.rank() == 0 ? 0 : values.shape[0]) : static_cast<Index>(labels.size());
  }
  /// Every target `count` times in a row.
  template <Context C>
  [[nodiscard]] Targets repeated(C& context, Index count) const {
    if (count == 1) return *this;
    Targets out;
    if (!labels.empty()) {
      auto* many = context.template scratch<std::int32_t>(samples() * count);
      for (Index r = 0; r < samples() * count; ++r) many[r] = labels[static_cast<std::size_t>(r / count)];
      out.labels = {many, labels.size() * static_cast<std::size_t>(count)};
    } else {
      out.values = nn::repeat_samples(context, values, count);
    }
    return out;
  }
};

/// A task with the weights of its classes: what the error of each counts, 1 where `class_weights` is empty. A class a hundredth
/// as frequent as the others can be made to count as much.
struct Question {
  Task task = Task::one_class;
  std::vector<float> class_weights = {};  ///< K of them, at least 0, or none

  /// Throws Error on another number of weights, or a negative one.
  void check(Index classes) const {
    require(class_weights.empty() || static_cast<Index>(class_weights.size()) == classes, "question: ", classes,
            " class weights expected, ", class_weights.size(), " came");
    for (const float w : class_weights)
      require(w >= 0 && std::isfinite(w), "question: class weights of at least 0 expected, ", w, " came");
  }

  /// - log p(targets | logits) per sample [B], weighted; logits [B, K]. Throws Error on other targets than the task has.
  template <Context C>
  [[nodiscard]] VarOf<C> loss(C& context, VarOf<C> logits, const Targets<typename C::Scalar>& targets) const {
    using T = typename C::Scalar;
    const auto weight = [&](Index k) {
      return class_weights.empty() ? T(1) : static_cast<T>(class_weights[static_cast<std::size_t>(k)]);
    };
    if (task == Task::one_class) {
      const VarOf<C> loss = nn::cross_entropy(context, logits, targets.labels);
      if (class_weights.empty()) return loss;
      const VarOf<C> weights = context.constant(loss.shape);
      for (Index b = 0; b < weights.size(); ++b) weights.value[b] = weight(targets.labels[static_cast<std::size_t>(b)]);
      return nn::multiply(context, weights, loss);
    }
    require(targets.values.shape == logits.shape, "question: targets of shape ", logits.shape.to_string(), " expected, ",
            targets.values.shape.to_string(), " came");
    const VarOf<C> weights = context.constant(logits.shape);
    for (Index i = 0; i < weights.size(); ++i) weights.value[i] = weight(i % logits.shape[1]);
    if (task == Task::several_classes) {
      return nn::pointwise_sum(
          context,
          [](double a, double y, double w) {
            const double e = std::exp(-std::abs(a));
            const double p = a >= 0 ? 1 / (1 + e) : e / (1 + e);
            return kernel::Partials<3>{w * (std::max(a, 0.0) + std::log1p(e) - y * a), {w * (p - y), -w * a, 0.0}};
          },
          logits, nn::detach(targets.values), weights);
    }
    return nn::pointwise_sum(
        context,
        [](double a, double y, double w) {
          const double d = a - y;
          return kernel::Partials<3>{0.5 * w * d * d, {w * d, -w * d, 0.0}};
        },
        logits, nn::detach(targets.values), weights);
  }

  /// What the logits [B, K] say: probabilities that sum to 1, probabilities of each class, or the numbers themselves.
  template <Context C>
  [[nodiscard]] VarOf<C> answer(C& context, VarOf<C> logits) const {
    if (task == Task::one_class) return nn::softmax(context, logits);
    return task == Task::several_classes ? nn::sigmoid(context, logits) : logits;
  }
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
