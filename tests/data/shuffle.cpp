// SPDX-License-Identifier: MIT
// Every item once an epoch, in an order that looks random.
#include <fovea/data/shuffle.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

using fovea::Index;
using fovea::data::Shuffle;

std::vector<Index> order(Index count, std::uint64_t seed, std::uint64_t epoch) {
  const Shuffle shuffle(count, seed, epoch);
  std::vector<Index> items;
  for (Index place = 0; place < count; ++place) items.push_back(shuffle[place]);
  return items;
}

}  // namespace

TEST_CASE("an epoch visits every item once") {
  for (const Index count : {1, 2, 3, 4, 5, 15, 16, 17, 64, 65, 100, 1000, 4096, 10000, 60000, 65537}) {
    CAPTURE(count);
    for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
      std::vector<int> seen(static_cast<std::size_t>(count));
      bool inside = true;
      for (const Index item : order(count, 1, epoch)) {
        inside = inside && item >= 0 && item < count;
        if (inside) ++seen[static_cast<std::size_t>(item)];
      }
      REQUIRE(inside);
      bool once = true;
      for (const int n : seen) once = once && n == 1;
      CHECK(once);
    }
  }
}

TEST_CASE("an order is named by its seed and epoch") {
  CHECK(order(100, 1, 0) == order(100, 1, 0));
  CHECK(order(100, 1, 0) != order(100, 1, 1));
  CHECK(order(100, 1, 0) != order(100, 2, 0));
  CHECK_THROWS_AS(Shuffle(0, 1, 0), fovea::Error);
  CHECK_THROWS_AS(Shuffle((Index{1} << 40) + 1, 1, 0), fovea::Error);
  CHECK(Shuffle(Index{1} << 40, 1, 0)[0] < (Index{1} << 40));
}

TEST_CASE("over epochs every item comes to every place equally often") {
  // Chi-squared with (n - 1)^2 degrees of freedom: mean d, variance 2 d. Five standard deviations.
  constexpr Index count = 10;
  constexpr int epochs = 20000;
  std::vector<double> table(count * count);
  for (int epoch = 0; epoch < epochs; ++epoch) {
    const auto items = order(count, 3, static_cast<std::uint64_t>(epoch));
    for (Index place = 0; place < count; ++place) {
      table[static_cast<std::size_t>(place * count + items[static_cast<std::size_t>(place)])] += 1;
    }
  }
  const double expected = double{epochs} / count;
  double chi_squared = 0;
  for (const double n : table) chi_squared += (n - expected) * (n - expected) / expected;
  constexpr double freedom = (count - 1) * (count - 1);
  CHECK(std::abs(chi_squared - freedom) < 5 * std::sqrt(2 * freedom));
}

TEST_CASE("neighbours in an order have nothing to do with each other") {
  // The rank correlation of successive items is about normal with variance 1/n.
  constexpr Index count = 60000;
  const auto items = order(count, 4, 0);
  double sum = 0;
  const double mean = (count - 1) / 2.0;
  const double variance = (static_cast<double>(count) * count - 1) / 12;
  Index rises = 0;
  Index fixed = 0;
  for (std::size_t i = 0; i + 1 < items.size(); ++i) {
    sum += (static_cast<double>(items[i]) - mean) * (static_cast<double>(items[i + 1]) - mean) / variance;
    rises += items[i + 1] > items[i];
    fixed += items[i] == static_cast<Index>(i);
  }
  CHECK(std::abs(sum / count) < 5 / std::sqrt(double{count}));
  // The number of rises of a random permutation has mean (n - 1) / 2 and variance (n + 1) / 12.
  CHECK(std::abs(static_cast<double>(rises) - (count - 1) / 2.0) < 5 * std::sqrt((count + 1) / 12.0));
  CHECK(fixed < 10);  // Poisson with mean 1
}
