// SPDX-License-Identifier: MIT
/// \file
/// AdamNormGrad over the flat buffer: Adam on gradients of length 1.
///
/// Published as code only: `AdamNormGrad` by J. M. Tomczak, one of the optimisers of J. Ramapuram et al., "Variational
/// Saccading: Efficient Inference for Large Resolution Images", BMVC 2019. The gradient of each parameter is divided by its own
/// norm, so that how far a tensor moves does not depend on how deep it lies. As there, weight decay is not decoupled.
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
using AdamNormGradOptions = kernel::AdamNormGradOptions;

/// Moments: of the divided gradient and of its square.
struct AdamNormGradRule {
  using Options = AdamNormGradOptions;
  static constexpr std::string_view name = "AdamNormGrad";
  static constexpr bool per_parameter = true;

  static void check(const Options& options) {
    require(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
            "AdamNormGrad: betas in [0, 1) expected, ", options.beta1, " and ", options.beta2, " came");
    require(options.epsilon > 0, "AdamNormGrad: a positive epsilon expected, ", options.epsilon, " came");
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
    kernel::adam_norm_grad<T>(gradient, t, options, value, moments[0], moments[1]);
  }
};

/// Made from a layout: it must know where a parameter ends.
template <class T>
using AdamNormGrad = FlatOptimizer<T, AdamNormGradRule>;

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
