// SPDX-License-Identifier: MIT
// Whether draws have the distribution they should.
//
//   std::vector<double> draws = ...;
//   CHECK(kolmogorov_smirnov(draws, [](double x) { return 0.5 * (1 + x); }) > 1e-3);
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace fovea_test {

/// The probability that draws of the right distribution, whose distribution function is `cdf` (continuous), are as far from it
/// as these or farther; for 50 draws or more (M. A. Stephens, J. Royal Statistical Society B 32, 1970).
template <class Cdf>
[[nodiscard]] double kolmogorov_smirnov(std::vector<double> draws, Cdf cdf) {
  std::sort(draws.begin(), draws.end());
  const auto n = static_cast<double>(draws.size());
  double largest = 0;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    const double f = cdf(draws[i]);
    if (!(f >= 0 && f <= 1)) return 0;
    largest = std::max({largest, f - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - f});
  }
  const double x = (std::sqrt(n) + 0.12 + 0.11 / std::sqrt(n)) * largest;
  if (x < 0.3) return 1;
  double p = 0;
  for (int k = 1; k <= 100; ++k) p += (k % 2 == 1 ? 2 : -2) * std::exp(-2.0 * k * k * x * x);
  return std::clamp(p, 0.0, 1.0);
}

}  // namespace fovea_test
