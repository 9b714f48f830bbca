// SPDX-License-Identifier: MIT
// Comparing arrays of numbers: errors relative to the largest expected element, and distances in units in the last
// place.
#pragma once

#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace fovea_test {

/// Distance of `got` from `expected` in units in the last place of T at `expected`.
template <class T>
[[nodiscard]] double ulp_error(T got, long double expected) {
  const T rounded = static_cast<T>(expected);
  if (std::isnan(got) || std::isnan(rounded)) return std::isnan(got) && std::isnan(rounded) ? 0.0 : HUGE_VAL;
  if (std::isinf(got) || std::isinf(rounded)) return got == rounded ? 0.0 : HUGE_VAL;
  const T magnitude = std::max(std::abs(rounded), std::numeric_limits<T>::min());
  const T unit = std::nextafter(magnitude, std::numeric_limits<T>::infinity()) - magnitude;
  return static_cast<double>(std::abs(static_cast<long double>(got) - expected) / static_cast<long double>(unit));
}

/// The largest |got - expected| over the largest |expected|; infinite where a NaN turns up on one side only.
template <class Got, class Expected>
[[nodiscard]] double relative_error(const Got& got, const Expected& expected) {
  auto g = std::begin(got);
  auto e = std::begin(expected);
  double largest = 0;
  double worst = 0;
  for (; g != std::end(got) && e != std::end(expected); ++g, ++e) {
    const auto a = static_cast<double>(*g);
    const auto b = static_cast<double>(*e);
    if (std::isnan(a) && std::isnan(b)) continue;
    if (a != b && !std::isfinite(a - b)) return HUGE_VAL;
    if (a != b) worst = std::max(worst, std::abs(a - b));
    if (std::isfinite(b)) largest = std::max(largest, std::abs(b));
  }
  if (g != std::end(got) || e != std::end(expected)) return HUGE_VAL;
  return worst == 0 ? 0.0 : largest == 0 ? HUGE_VAL : worst / largest;
}

/// What a sum of a few hundred terms may lose: 1e-6 in float, 1e-14 in double.
template <class T>
inline constexpr double kTolerance = sizeof(T) == 4 ? 1e-6 : 2e-14;

template <class T, std::size_t N>
[[nodiscard]] fovea::Tensor<T, N> random_tensor(const fovea::Extents<N>& extents, fovea::Stream& stream, double deviation = 1,
                                                double mean = 0) {
  fovea::Tensor<T, N> tensor(extents);
  for (T& value : tensor) value = static_cast<T>(mean + deviation * stream.normal<double>());
  return tensor;
}

/// The inputs of the golden values: a + b * ((37 i mod 17) - 8) / 8. In Python:
///   pattern = lambda n, a, b: torch.tensor([a + b * (((i * 37) % 17) - 8) / 8 for i in range(n)], dtype=torch.float64)
template <class T, std::size_t N>
[[nodiscard]] fovea::Tensor<T, N> pattern(const fovea::Extents<N>& extents, double a, double b) {
  fovea::Tensor<T, N> tensor(extents);
  for (fovea::Index i = 0; i < tensor.size(); ++i) {
    tensor.data()[i] = static_cast<T>(a + b * static_cast<double>((i * 37) % 17 - 8) / 8);
  }
  return tensor;
}

/// The same numbers in double.
template <class T, std::size_t N>
[[nodiscard]] std::vector<double> as_doubles(const fovea::Tensor<T, N>& tensor) {
  return std::vector<double>(tensor.data(), tensor.data() + tensor.size());
}

}  // namespace fovea_test
