// SPDX-License-Identifier: MIT
/// \file
/// Where a location on a bounded interval may be: never at an end, whose log-density may be infinite. A few ns an element.
#pragma once

#include <fovea/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// An open interval, with its end points as the nearest numbers of T inside.
template <class T>
struct OpenInterval {
  T first;
  T last;
  /// low < high. An end of 0 is kept 2^24 above the least normal number, so that 1e7 / z, a derivative of a log-density, is
  /// finite.
  OpenInterval(double low, double high) noexcept : first(static_cast<T>(low)), last(static_cast<T>(high)) {
    constexpr T least = std::numeric_limits<T>::min() * T(1 << 24);
    const T from = first;
    const T to = last;
    if (static_cast<double>(from) <= low) first = std::max(std::nextafter(from, to), from + least);
    if (static_cast<double>(to) >= high) last = std::min(std::nextafter(to, from), to - least);
  }
  [[nodiscard]] T clamp(T z) const noexcept { return std::clamp(z, first, last); }
};

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
