// SPDX-License-Identifier: MIT
// Noise in SIMD against the streams one at a time, and against the distributions it should have. Built for three instruction
// sets.
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/random.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

using namespace fovea;

namespace {

constexpr std::uint64_t kSeed = 0x123456789ABCDEFULL;

/// sqrt(n) times the largest distance of the distribution functions: beyond 1.95 once in a thousand.
template <class F>
double kolmogorov_smirnov(const Tensor<float, 2>& noise, F cdf) {
  std::vector<float> sorted(noise.data(), noise.data() + noise.size());
  std::sort(sorted.begin(), sorted.end());
  double worst = 0;
  const auto n = static_cast<double>(sorted.size());
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    worst = std::max(worst, std::abs(cdf(static_cast<double>(sorted[i])) - (static_cast<double>(i) + 0.5) / n));
  }
  return worst * std::sqrt(n);
}
double normal_cdf(double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }
double gumbel_cdf(double x) { return std::exp(-std::exp(-x)); }

}  // namespace

TEST_CASE("random: words and uniforms are those of the streams, for any number of rows and columns") {
  for (const Index rows : {Index{1}, Index{2}, Index{5}, Index{16}, Index{37}}) {
    for (const Index columns : {Index{1}, Index{3}, Index{4}, Index{7}, Index{64}, Index{101}}) {
      Tensor<float, 2> uniform({rows, columns});
      kernel::uniform_noise(Stream(kSeed, 7, 100, Purpose::test), uniform.view());
      Tensor<float, 2> gumbel({rows, columns});
      kernel::gumbel_noise(Stream(kSeed, 7, 100, Purpose::test), gumbel.view());
      Tensor<float, 2> normal({rows, columns});
      kernel::normal_noise(Stream(kSeed, 7, 100, Purpose::test), normal.view());
      double worst_gumbel = 0;
      double worst_normal = 0;
      Index different = 0;
      for (Index r = 0; r < rows; ++r) {
        Stream stream(kSeed, 7, 100 + static_cast<std::uint64_t>(r), Purpose::test);
        Stream words(kSeed, 7, 100 + static_cast<std::uint64_t>(r), Purpose::test);
        std::array<std::uint32_t, 2> pair{};
        for (Index d = 0; d < columns; ++d) {
          const float u = stream.uniform<float>();
          different += uniform(r, d) != u ? 1 : 0;
          const double g = -std::log(-std::log(static_cast<double>(u)));
          worst_gumbel = std::max(worst_gumbel, std::abs(static_cast<double>(gumbel(r, d)) - g) / std::max(1.0, std::abs(g)));
          if (d % 2 == 0) pair = {words.bits(), words.bits()};
          const double radius = std::sqrt(-2 * std::log((static_cast<double>(pair[0] >> 1) + 0.5) * 0x1p-31));
          const double angle = (static_cast<double>(pair[1] & 0x3FFFFFFFU) + 0.5) * 0x1p-30 * std::numbers::pi / 2;
          const double n = d % 2 == 0 ? radius * std::cos(angle) * (pair[1] >> 31 ? -1 : 1)
                                      : radius * std::sin(angle) * ((pair[1] >> 30) & 1U ? -1 : 1);
          worst_normal = std::max(worst_normal, std::abs(static_cast<double>(normal(r, d)) - n));
        }
      }
      CHECK(different == 0);
      CHECK(worst_gumbel <= 2.5e-7);
      // Where the radius is near 0 its square keeps 24 digits after the point, so it half of them.
      CHECK(worst_normal <= 4e-4);
    }
  }
}

TEST_CASE("random: an element depends on its row and column alone") {
  const auto check = [](auto fill) {
    Tensor<float, 2> whole({50, 9});
    fill(Stream(kSeed, 1, 0), whole.view());
    for (const Index first : {Index{1}, Index{17}, Index{49}}) {
      Tensor<float, 2> part({50 - first, 5});
      fill(Stream(kSeed, 1, static_cast<std::uint64_t>(first)), part.view());
      Index different = 0;
      for (Index r = 0; r < part.extent(0); ++r) {
        for (Index d = 0; d < 5; ++d) different += part(r, d) != whole(first + r, d) ? 1 : 0;
      }
      CHECK(different == 0);
    }
  };
  check(kernel::uniform_noise);
  check(kernel::normal_noise);
  check(kernel::gumbel_noise);
}

TEST_CASE("random: moments, distribution functions and tails") {
  constexpr Index rows = 20000;
  constexpr Index columns = 50;
  constexpr double n = static_cast<double>(rows * columns);
  Tensor<float, 2> noise({rows, columns});
  const auto beyond = [&](double x, double sign) {
    double count = 0;
    for (const float e : noise) count += sign * static_cast<double>(e) > x ? 1 : 0;
    return count;
  };
  const auto moment = [&](int power) {
    double sum = 0;
    for (const float e : noise) sum += std::pow(static_cast<double>(e), power);
    return sum / n;
  };
  kernel::uniform_noise(Stream(kSeed), noise.view());
  CHECK(kolmogorov_smirnov(noise, [](double x) { return x; }) < 1.95);
  CHECK(*std::min_element(noise.begin(), noise.end()) > 0.0F);
  CHECK(*std::max_element(noise.begin(), noise.end()) < 1.0F);

  kernel::normal_noise(Stream(kSeed), noise.view());
  CHECK(kolmogorov_smirnov(noise, normal_cdf) < 1.95);
  CHECK(std::abs(moment(1)) < 4 / std::sqrt(n));
  CHECK(std::abs(moment(2) - 1) < 4 * std::sqrt(2 / n));
  CHECK(std::abs(moment(3)) < 4 * std::sqrt(15 / n));
  CHECK(std::abs(moment(4) - 3) < 4 * std::sqrt(96 / n));
  for (const double x : {2.0, 3.0, 4.0}) {
    const double expected = n * normal_cdf(-x);
    for (const double sign : {-1.0, 1.0}) CHECK(std::abs(beyond(x, sign) - expected) < 4 * std::sqrt(expected));
  }
  double neighbours = 0;  // of one pair, and of two
  for (Index r = 0; r < rows; ++r) {
    for (Index d = 0; d + 1 < columns; ++d)
      neighbours += static_cast<double>(noise(r, d)) * static_cast<double>(noise(r, d + 1));
  }
  CHECK(std::abs(neighbours) < 4 * std::sqrt(n));

  kernel::gumbel_noise(Stream(kSeed), noise.view());
  CHECK(kolmogorov_smirnov(noise, gumbel_cdf) < 1.95);
  CHECK(std::abs(moment(1) - std::numbers::egamma) < 4 * std::numbers::pi / std::sqrt(6 * n));
  for (const double x : {5.0, 8.0}) {
    const double expected = n * (1 - gumbel_cdf(x));
    CHECK(std::abs(beyond(x, 1) - expected) < 4 * std::sqrt(expected));
  }
}
