// SPDX-License-Identifier: MIT
#include <fovea/core/random.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

using namespace fovea;

namespace {
using Block = std::array<std::uint32_t, 4>;
}

TEST_CASE("philox4x32-10 gives the published known answers") {
  // Random123, tests/kat_vectors, the lines of philox4x32 with 10 rounds: counter, key, result.
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr std::uint32_t ones = 0xffffffff;
  CHECK(philox4x32({ones, ones, ones, ones}, {ones, ones}) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("philox is a constant expression") {
  static_assert(philox4x32({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5);
  CHECK(true);
}

TEST_CASE("a stream is its name and nothing else") {
  Stream a(7, 3, 11, Purpose::location);
  Stream b(7, 3, 11, Purpose::location);
  for (int i = 0; i < 100; ++i) CHECK(a.bits() == b.bits());
}

TEST_CASE("streams of different names differ") {
  std::set<std::uint64_t> seen;
  int made = 0;
  const auto take = [&](Stream s) {
    const std::uint64_t high = s.bits();
    seen.insert((high << 32) | s.bits());
    ++made;
  };
  constexpr std::uint64_t big = std::uint64_t{1} << 32;
  for (const auto purpose : {Purpose::initialise, Purpose::shuffle, Purpose::location, Purpose::user}) {
    for (const std::uint64_t sample : {std::uint64_t{0}, std::uint64_t{1}, big - 1}) {
      for (const std::uint64_t step : {std::uint64_t{0}, std::uint64_t{1}, big - 1}) {
        for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, big}) take(Stream(seed, step, sample, purpose));
      }
      take(Stream(0, 5 * big, sample, purpose));
      take(Stream(0, 6 * big, sample, purpose));
      take(Stream(0, 0, sample + 3 * big, purpose));
    }
  }
  CHECK(static_cast<int>(seen.size()) == made);
}

TEST_CASE("a copy of a stream goes on from where it was") {
  Stream a(1);
  (void)a.normal<double>();  // leaves a spare
  Stream b = a;
  CHECK(a.normal<double>() == b.normal<double>());
  CHECK(a.bits() == b.bits());
}

TEST_CASE_TEMPLATE("uniform numbers stay inside, and have the right moments", T, float, double) {
  Stream s(5);
  constexpr int n = 200000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < n; ++i) {
    const T u = s.uniform<T>();
    REQUIRE(u > T(0));
    REQUIRE(u < T(1));
    sum += static_cast<double>(u);
    squares += static_cast<double>(u) * static_cast<double>(u);
  }
  const double mean = sum / n;
  CHECK(std::abs(mean - 0.5) < 5 * std::sqrt(1.0 / 12 / n));
  CHECK(std::abs(squares / n - 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / n));
  for (int i = 0; i < 1000; ++i) {
    const T u = s.uniform(T(-3), T(2));
    CHECK(u >= T(-3));
    CHECK(u <= T(2));
  }
}

TEST_CASE("normal numbers have the right moments, and no tail is missing") {
  Stream s(6);
  constexpr int n = 400000;
  double moments[5] = {};
  int beyond_three = 0;
  for (int i = 0; i < n; ++i) {
    const auto x = s.normal<double>();
    double power = 1;
    for (double& m : moments) {
      m += power;
      power *= x;
    }
    beyond_three += std::abs(x) > 3 ? 1 : 0;
  }
  for (double& m : moments) m /= n;
  CHECK(std::abs(moments[1]) < 5 * std::sqrt(1.0 / n));
  CHECK(std::abs(moments[2] - 1) < 5 * std::sqrt(2.0 / n));
  CHECK(std::abs(moments[3]) < 5 * std::sqrt(15.0 / n));
  CHECK(std::abs(moments[4] - 3) < 5 * std::sqrt(96.0 / n));
  const double expected = n * 0.0026997960632601884;
  CHECK(std::abs(beyond_three - expected) < 5 * std::sqrt(expected));
}

TEST_CASE("integers below n are uniform") {
  Stream s(8);
  CHECK(s.below(1) == 0);
  std::vector<int> counts(7);
  constexpr int n = 70000;
  for (int i = 0; i < n; ++i) ++counts[s.below(7)];
  double chi2 = 0;
  for (const int c : counts) chi2 += (c - n / 7.0) * (c - n / 7.0) / (n / 7.0);
  CHECK(chi2 < 30);  // 6 degrees of freedom: p = 4e-5
  for (int i = 0; i < 1000; ++i) CHECK(s.below(0xffffffffU) < 0xffffffffU);
}
