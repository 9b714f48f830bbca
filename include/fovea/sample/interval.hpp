// SPDX-License-Identifier: MIT
/// \file
/// The interval that a bounded location lies in, and the checks that distributions with two parameters share.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/open_interval.hpp>
#include <fovea/nn/context.hpp>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// The open interval (low, high). {-1, 1} is the extent of an image, {0, 1} that of a scale.
struct Interval {
  double low = -1;
  double high = 1;

  [[nodiscard]] constexpr double width() const noexcept { return high - low; }
  /// The location of a share `lower` of the width, `upper` = 1 - lower: from the end that it is nearer to.
  [[nodiscard]] constexpr double at(double lower, double upper) const noexcept {
    return lower < upper ? low + width() * lower : high - width() * upper;
  }
  [[nodiscard]] constexpr double middle() const noexcept { return 0.5 * (low + high); }
  friend constexpr bool operator==(const Interval&, const Interval&) = default;
};

namespace detail {
/// Throws Error unless both parameters, and whatever else is given, are of one shape [B, D], and the interval is one.
template <class T, class... Others>
void require_parameters(const char* what, const Interval& interval, const Var<T>& first, const Others&... others) {
  nn::detail::require_rank(what, first, 2);
  (nn::detail::require_shape(what, "a parameter or location", others, first.shape), ...);
  require(interval.low < interval.high, what, ": an interval with low < high expected, [", interval.low, ", ", interval.high,
          "] came");
}
inline void require_same(const char* what, const Interval& q, const Interval& p) {
  require(q == p, what, ": two distributions on one interval expected, [", q.low, ", ", q.high, "] and [", p.low, ", ", p.high,
          "] came");
}
/// Moves locations that were rounded to an end to the number next to it.
template <class T>
void keep_inside(const Var<T>& z, const Interval& interval) {
  const kernel::OpenInterval<T> inside(interval.low, interval.high);
  for (Index i = 0; i < z.size(); ++i) z.value[i] = inside.clamp(z.value[i]);
}
}  // namespace detail

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
