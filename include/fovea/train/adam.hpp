// SPDX-License-Identifier: MIT
/// \file
/// Adam over the flat buffer.
///
/// D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015. With `weight_decay` it is AdamW of
/// I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/optimizer.hpp>

#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// `learning_rate` is given to each step instead.
using AdamOptions = kernel::AdamOptions;

/// Holds the two moments, laid out as the parameters are.
template <class T>
class Adam {
 public:
  /// `size`: the length of the flat buffer.
  explicit Adam(Index size, const AdamOptions& options = {}) : options_(options), first_({size}), second_({size}) {
    require(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
            "Adam: betas in [0, 1) expected, ", options.beta1, " and ", options.beta2, " came");
    require(options.epsilon > 0, "Adam: a positive epsilon expected, ", options.epsilon, " came");
  }

  void step(View<T, 1> values, View<const T, 1> gradients, double learning_rate) {
    require(values.size() == first_.size() && gradients.size() == first_.size(), "Adam: buffers of ", first_.size(),
            " elements expected, ", values.size(), " and ", gradients.size(), " came");
    ++steps_;
    options_.learning_rate = learning_rate;
    kernel::adam<T>(gradients, steps_, options_, values, first_.view(), second_.view());
  }

  [[nodiscard]] std::int64_t steps() const noexcept { return steps_; }

 private:
  AdamOptions options_;
  std::int64_t steps_ = 0;
  Tensor<T, 1> first_;
  Tensor<T, 1> second_;
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
