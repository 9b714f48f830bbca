// SPDX-License-Identifier: MIT
/// \file
/// Schedules: weights, temperatures and rates as functions of progress in [0, 1].
#pragma once

#include <fovea/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fovea::inline FOVEA_ABI {
namespace bound {

/// Goes from `from` to `to` while progress goes from `begin` to `end`; constant outside. Any of the four may be equal.
/// `shape` is the curve between: a straight line, or half a cosine (flat at both ends).
struct Ramp {
  enum class Shape { linear, cosine };

  double from = 0;
  double to = 1;
  double begin = 0;
  double end = 1;
  Shape shape = Shape::linear;

  [[nodiscard]] double operator()(double progress) const noexcept {
    if (progress >= end) return to;
    if (progress <= begin) return from;
    double u = (progress - begin) / (end - begin);
    if (shape == Shape::cosine) u = (1 - std::cos(std::numbers::pi * u)) / 2;
    return from + (to - from) * u;
  }

  /// The same value always.
  [[nodiscard]] static constexpr Ramp constant(double value) { return {value, value, 0, 0}; }
};

/// Linear warm-up from 0 to `peak` over the first `warm_up` of progress, then half a cosine down to `peak * floor`.
struct WarmUpCosine {
  double peak = 1;
  double warm_up = 0.05;
  double floor = 0;

  [[nodiscard]] double operator()(double progress) const noexcept {
    if (progress < warm_up) return peak * std::max(progress / warm_up, 0.0);
    return Ramp{peak, peak * floor, warm_up, 1, Ramp::Shape::cosine}(progress);
  }
};

}  // namespace bound
}  // namespace fovea::inline FOVEA_ABI
