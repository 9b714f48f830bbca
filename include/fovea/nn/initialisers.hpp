// SPDX-License-Identifier: MIT
/// \file
/// How weights start. `fan_in` is the number of inputs of one output unit: I for dense, height * width * channels for a
/// convolution; `fan_out` the number of outputs that one input reaches.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/view.hpp>

#include <cmath>
#include <numbers>

namespace fovea::inline FOVEA_ABI {
namespace nn {

/// The gain of ReLU and its kin.
inline constexpr double kGainRelu = std::numbers::sqrt2;

/// Uniform with deviation gain / sqrt(fan_in).
/// K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.
[[nodiscard]] inline Initialiser kaiming_uniform(Index fan_in, double gain = kGainRelu) {
  require(fan_in > 0, "kaiming_uniform: a positive fan-in expected, ", fan_in, " came");
  return Initialiser::uniform(gain * std::sqrt(3.0 / static_cast<double>(fan_in)));
}
/// Normal with deviation gain / sqrt(fan_in); with gain 1 what self-normalising networks (SELU) ask for.
[[nodiscard]] inline Initialiser kaiming_normal(Index fan_in, double gain = kGainRelu) {
  require(fan_in > 0, "kaiming_normal: a positive fan-in expected, ", fan_in, " came");
  return Initialiser::normal(gain / std::sqrt(static_cast<double>(fan_in)));
}
/// Uniform with deviation gain * sqrt(2 / (fan_in + fan_out)).
/// X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
[[nodiscard]] inline Initialiser xavier_uniform(Index fan_in, Index fan_out, double gain = 1.0) {
  require(fan_in > 0 && fan_out > 0, "xavier_uniform: positive fans expected, ", fan_in, " and ", fan_out, " came");
  return Initialiser::uniform(gain * std::sqrt(6.0 / static_cast<double>(fan_in + fan_out)));
}
/// Normal with deviation gain * sqrt(2 / (fan_in + fan_out)).
[[nodiscard]] inline Initialiser xavier_normal(Index fan_in, Index fan_out, double gain = 1.0) {
  require(fan_in > 0 && fan_out > 0, "xavier_normal: positive fans expected, ", fan_in, " and ", fan_out, " came");
  return Initialiser::normal(gain * std::sqrt(2.0 / static_cast<double>(fan_in + fan_out)));
}
[[nodiscard]] constexpr Initialiser normal(double deviation) { return Initialiser::normal(deviation); }
[[nodiscard]] constexpr Initialiser uniform(double half_width) { return Initialiser::uniform(half_width); }
[[nodiscard]] constexpr Initialiser constant(double value) { return Initialiser::constant(value); }

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
