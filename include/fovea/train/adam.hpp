// SPDX-License-Identifier: MIT
/// \file
/// Adam and AdamW over the flat buffer.
///
/// D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015; I. Loshchilov, F. Hutter, "Decoupled weight
/// decay regularization", ICLR 2019. One rule for both: weight decay is always decoupled, so that Adam with it is AdamW.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/optimizer.hpp>
#include <fovea/train/optimizer.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// `learning_rate` is given to each step instead.
using AdamOptions = kernel::AdamOptions;

/// Moments: of the gradient and of its square.
struct AdamRule {
  using Options = AdamOptions;
  static constexpr std::string_view name = "Adam";
  static constexpr bool per_parameter = false;

  static void check(const Options& options) {
    require(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
            "Adam: betas in [0, 1) expected, ", options.beta1, " and ", options.beta2, " came");
    require(options.epsilon > 0, "Adam: a positive epsilon expected, ", options.epsilon, " came");
  }
  [[nodiscard]] static constexpr std::size_t moments(const Options&) noexcept { return 2; }
  template <class Visit>
  static void describe(const Options& options, Visit&& visit) {
    visit("beta1", options.beta1);
    visit("beta2", options.beta2);
    visit("epsilon", options.epsilon);
    visit("weight_decay", options.weight_decay);
  }
  template <class T>
  static void step(View<const T, 1> gradient, std::int64_t t, const Options& options, View<T, 1> value,
                   const Moments<T>& moments) {
    kernel::adam<T>(gradient, t, options, value, moments[0], moments[1]);
  }
};

template <class T>
using Adam = FlatOptimizer<T, AdamRule>;
/// The same under the name it has with `weight_decay`, which is 0 here too where not given (0.01 in torch).
template <class T>
using AdamW = Adam<T>;

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
