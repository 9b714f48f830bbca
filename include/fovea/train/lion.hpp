// SPDX-License-Identifier: MIT
/// \file
/// Lion over the flat buffer: only the sign of the momentum counts.
///
/// X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023. Every element moves by the learning rate, so
/// it wants one three to ten times smaller than Adam's, and a weight decay as much larger.
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
using LionOptions = kernel::LionOptions;

/// Moments: the momentum.
struct LionRule {
  using Options = LionOptions;
  static constexpr std::string_view name = "Lion";
  static constexpr bool per_parameter = false;

  static void check(const Options& options) {
    require(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
            "Lion: betas in [0, 1) expected, ", options.beta1, " and ", options.beta2, " came");
  }
  [[nodiscard]] static constexpr std::size_t moments(const Options&) noexcept { return 1; }
  template <class Visit>
  static void describe(const Options& options, Visit&& visit) {
    visit("beta1", options.beta1);
    visit("beta2", options.beta2);
    visit("weight_decay", options.weight_decay);
  }
  template <class T>
  static void step(View<const T, 1> gradient, std::int64_t, const Options& options, View<T, 1> value,
                   const Moments<T>& moments) {
    kernel::lion<T>(gradient, options, value, moments[0]);
  }
};

template <class T>
using Lion = FlatOptimizer<T, LionRule>;

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
