// SPDX-License-Identifier: MIT
/// \file
/// RMSprop over the flat buffer.
///
/// T. Tieleman, G. Hinton, "Lecture 6.5: RMSProp", COURSERA: Neural networks for machine learning, 2012; centred as by A.
/// Graves, "Generating sequences with recurrent neural networks", arXiv:1308.0850, 2013. Options, their defaults and the place
/// of epsilon are those of torch.optim.RMSprop.
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
using RmsPropOptions = kernel::RmsPropOptions;

/// Moments: of the squared gradient; the velocity, with a momentum; of the gradient, where centred.
struct RmsPropRule {
  using Options = RmsPropOptions;
  static constexpr std::string_view name = "RMSprop";
  static constexpr bool per_parameter = false;

  static void check(const Options& options) {
    require(options.alpha >= 0 && options.alpha < 1, "RMSprop: an alpha in [0, 1) expected, ", options.alpha, " came");
    require(options.epsilon > 0, "RMSprop: a positive epsilon expected, ", options.epsilon, " came");
    require(options.momentum >= 0 && options.momentum < 1, "RMSprop: a momentum in [0, 1) expected, ", options.momentum,
            " came");
  }
  [[nodiscard]] static constexpr std::size_t moments(const Options& options) noexcept {
    return std::size_t{1} + (options.momentum > 0 ? 1 : 0) + (options.centered ? 1 : 0);
  }
  template <class Visit>
  static void describe(const Options& options, Visit&& visit) {
    visit("alpha", options.alpha);
    visit("epsilon", options.epsilon);
    visit("weight_decay", options.weight_decay);
    visit("momentum", options.momentum);
    visit("centered", options.centered);
  }
  template <class T>
  static void step(View<const T, 1> gradient, std::int64_t, const Options& options, View<T, 1> value,
                   const Moments<T>& moments) {
    const bool moving = options.momentum > 0;
    kernel::rmsprop<T>(gradient, options, value, moments[0], moving ? moments[1] : View<T, 1>(), moments[moving ? 2 : 1]);
  }
};

template <class T>
using RmsProp = FlatOptimizer<T, RmsPropRule>;

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
