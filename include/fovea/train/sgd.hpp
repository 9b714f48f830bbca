// SPDX-License-Identifier: MIT
/// \file
/// Gradient descent over the flat buffer, plain, with momentum or with Nesterov's.
///
/// B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Comput. Math. Math. Phys. 4(5), 1964;
/// I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep learning", ICML
/// 2013, with the velocity kept as torch.optim.SGD keeps it: the learning rate is no part of it.
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
using SgdOptions = kernel::SgdOptions;

/// Moments: the velocity, with a momentum only.
struct SgdRule {
  using Options = SgdOptions;
  static constexpr std::string_view name = "SGD";
  static constexpr bool per_parameter = false;

  static void check(const Options& options) {
    require(options.momentum >= 0 && options.momentum < 1, "SGD: a momentum in [0, 1) expected, ", options.momentum, " came");
    require(!options.nesterov || options.momentum > 0, "SGD: a positive momentum expected with Nesterov's, 0 came");
  }
  [[nodiscard]] static constexpr std::size_t moments(const Options& options) noexcept { return options.momentum > 0 ? 1 : 0; }
  template <class Visit>
  static void describe(const Options& options, Visit&& visit) {
    visit("momentum", options.momentum);
    visit("nesterov", options.nesterov);
    visit("weight_decay", options.weight_decay);
  }
  template <class T>
  static void step(View<const T, 1> gradient, std::int64_t, const Options& options, View<T, 1> value,
                   const Moments<T>& moments) {
    kernel::sgd<T>(gradient, options, value, moments[0]);
  }
};

template <class T>
using Sgd = FlatOptimizer<T, SgdRule>;

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
