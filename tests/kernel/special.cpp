// SPDX-License-Identifier: MIT
#include "support/golden.hpp"
#include <fovea/kernel/quadrature.hpp>
#include <fovea/kernel/special.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

using namespace fovea;
using fovea_test::golden;
using fovea_test::relative_gap;
namespace special = kernel::special;

namespace {

using V = simd::Batch<double>;

/// f of a vector in which every lane but one is something else; the lane that matters moves.
template <class F>
double in_a_lane(F f, double a, double b, Index lane) {
  alignas(kAlignment) double x[simd::kWidth<double>], y[simd::kWidth<double>];
  for (Index k = 0; k < simd::kWidth<double>; ++k) {
    x[k] = k == lane ? a : 0.7 + static_cast<double>(k);
    y[k] = k == lane ? b : 2.5 * static_cast<double>(k + 1);
  }
  simd::store_aligned(x, f(V::load_aligned(x), V::load_aligned(y)));
  return x[lane];
}

}  // namespace

TEST_CASE("special: log_gamma, digamma and trigamma against mpmath") {
  Index lane = 0;
  for (const auto& row : golden("gamma")) {
    const double x = row[0];
    INFO("x = ", x);
    CHECK(std::abs(special::log_gamma(x) - row[1]) <=
          4e-15 * std::max({1.0, std::abs(row[1]), std::abs(x * std::log(x))}) + 4e-14);
    CHECK(std::abs(special::digamma(x) - row[2]) <= 1e-14 * std::max(1.0, std::abs(row[2])));
    CHECK(relative_gap(special::trigamma(x), row[3]) <= 1e-14);
    // Vectors give what scalars do, in every lane.
    lane = (lane + 1) % simd::kWidth<double>;
    CHECK(in_a_lane([](const V& a, const V&) { return special::log_gamma(a); }, x, 1, lane) ==
          doctest::Approx(special::log_gamma(x)).epsilon(1e-13));
    CHECK(in_a_lane([](const V& a, const V&) { return special::trigamma(a); }, x, 1, lane) ==
          doctest::Approx(special::trigamma(x)).epsilon(1e-14));
  }
}

TEST_CASE("special: digamma_difference keeps the digits of small steps") {
  for (const double x : {1e-3, 0.5, 3.0, 100.0, 1e4}) {
    for (const double step : {1e-8, 1e-3, 0.5, 30.0}) {
      const double got = special::digamma_difference(x, step);
      if (step <= 1e-6 * x) {  // step psi' + step^2 psi'' / 2
        CHECK(relative_gap(got, step * special::trigamma(x + 0.5 * step)) <= 1e-6);
      }
      CHECK(std::abs(got - (special::digamma(x + step) - special::digamma(x))) <=
            1e-14 * std::max(1.0, std::abs(special::digamma(x))) * 2);
      CHECK(special::digamma_difference(x + step, -step) == doctest::Approx(-got).epsilon(1e-9));
    }
  }
}

TEST_CASE("special: the normal distribution function, its slope and its inverse against mpmath") {
  for (const auto& row : golden("normal_cdf")) {
    const double x = row[0];
    INFO("x = ", x);
    CHECK(relative_gap(special::log_normal_cdf(x), row[1]) <= 2e-14);
    CHECK(relative_gap(special::log_normal_cdf_slope(x), row[2]) <= 2e-14);
    if (x <= 0) CHECK(relative_gap(special::log_normal_quantile(special::log_normal_cdf(x)), x, 1) <= 1e-14);
  }
  CHECK(special::normal_quantile(0.975) == doctest::Approx(1.959963984540054).epsilon(1e-15));
  CHECK(special::normal_quantile(0.025) == doctest::Approx(-1.959963984540054).epsilon(1e-15));
  CHECK(special::normal_quantile(0.5) == 0.0);
  CHECK(special::normal_quantile(1e-300) == doctest::Approx(-37.0471).epsilon(1e-6));
  // A step of 1e-12 standard deviations a million of them out.
  const double target = -1e-6;
  CHECK(special::normal_quantile_shift(-1e6, target) == doctest::Approx(1e-12).epsilon(1e-6));
}

TEST_CASE("special: tails of the Beta distribution and the derivatives of its quantile against mpmath") {
  for (const auto& row : golden("beta_quantile")) {
    const double a = row[0], b = row[1], v = row[2];
    INFO("a = ", a, ", b = ", b, ", logit = ", v);
    const auto cdf = special::beta_log_cdf(a, b, v);
    CHECK(std::abs((row[4] == 1 ? cdf.lower : cdf.upper) - row[3]) <= 1e-9 * std::max(1.0, std::abs(row[3])));
    CHECK(std::exp(cdf.lower) + std::exp(cdf.upper) == doctest::Approx(1).epsilon(1e-14));
    const auto point = special::beta_point(a, b, v);
    CHECK(relative_gap(point.d_a, row[5], 1e-290) <= 1e-10);
    CHECK(relative_gap(point.d_b, row[6], 1e-290) <= 1e-10);
    const auto in_vector = [v](const V& p, const V& q) { return special::beta_point(p, q, V(v)).d_a; };
    CHECK(relative_gap(in_a_lane(in_vector, a, b, simd::kWidth<double> - 1), row[5], 1e-290) <= 1e-10);
  }
}

TEST_CASE("special: the Beta quantile is where the distribution function says") {
  for (const double a : {1e-3, 0.3, 1.0, 8.0, 1e4}) {
    for (const double b : {1e-3, 1.0, 30.0, 1e4}) {
      for (const double p : {1e-12, 0.01, 0.5, 0.6, 0.9999}) {
        const auto cdf = special::beta_log_cdf(a, b, special::beta_quantile_logit(a, b, p));
        INFO("a = ", a, ", b = ", b, ", p = ", p);
        CHECK(std::abs(p <= 0.5 ? cdf.lower - std::log(p) : cdf.upper - std::log1p(-p)) <= 1e-11);
      }
    }
  }
  CHECK(special::beta_quantile_logit(2, 2, 0.5) == doctest::Approx(0).epsilon(1e-14));
  // Beta(1, b) and Beta(a, 1) have closed forms.
  const double z = -std::expm1(std::log1p(-0.3) / 7);
  CHECK(special::beta_quantile_logit(1, 7, 0.3) == doctest::Approx(std::log(z / (1 - z))).epsilon(1e-13));
  CHECK(special::beta_quantile_logit(1e-3, 1, 0.3) == doctest::Approx(std::log(0.3) / 1e-3).epsilon(1e-13));
}

TEST_CASE("special: the divergence of two Beta distributions against mpmath") {
  for (const auto& row : golden("beta_divergence")) {
    INFO("a = ", row[0], ", b = ", row[1], ", c = ", row[2], ", d = ", row[3]);
    const auto kl = special::beta_divergence(row[0], row[1], row[2], row[3]);
    CHECK(relative_gap(kl.value, row[4]) <= 1e-8);
    CHECK(kl.value >= 0);
    for (std::size_t k = 0; k < 4; ++k) CHECK(relative_gap(kl.d[k], row[5 + k], 1e-6 * std::abs(row[4])) <= 1e-8);
  }
  CHECK(special::beta_divergence(1e4, 3, 1e4, 3).value == 0.0);
}

TEST_CASE("special: what is not a number goes through") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(std::isnan(special::log_gamma(nan)));
  CHECK(std::isnan(special::beta_point(nan, 1.0, 0.5).d_a));
  CHECK(std::isnan(special::beta_point(1.0, nan, 0.5).d_b));
  CHECK(std::isnan(special::beta_point(-1.0, 2.0, 0.5).d_a));
  CHECK(std::isnan(special::beta_density(2.0, -1.5, 0.5, 0.5).value));
}

TEST_CASE("quadrature: exact for what it is meant for") {
  const auto gaussian = [](const auto& x) { return std::array{simd::exp(-x * x * 0.5)}; };
  CHECK(kernel::integrate<1>(-9, 9, gaussian)[0] == doctest::Approx(std::sqrt(2 * std::numbers::pi)).epsilon(1e-15));
  const auto exponential = [](const auto& x) { return std::array{simd::exp(-x), x * simd::exp(-x)}; };
  const auto sums = kernel::integrate<2>(0, 40, exponential);
  CHECK(sums[0] == doctest::Approx(1).epsilon(1e-15));
  CHECK(sums[1] == doctest::Approx(1).epsilon(1e-14));
}
