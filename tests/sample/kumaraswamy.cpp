// SPDX-License-Identifier: MIT
#include "support/distribution.hpp"
#include "support/op_registry.hpp"
#include <fovea/sample/kumaraswamy.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

using namespace fovea;
using fovea_test::backward_ones;
using fovea_test::column;
using fovea_test::extent;
using fovea_test::measured;
using fovea_test::OpRegistry;
using fovea_test::relative_gap;
using sample::Kumaraswamy;

TEST_CASE("kumaraswamy: derivatives of draw, log-density, entropy, drawn KL, mean and mode") {
  OpRegistry ops;
  const auto add = [&](const char* name, double low, double high, auto f) {
    ops.add(name, [=](Stream& s, GradientCheck& check) {
      const Shape shape{extent(s), extent(s)};
      for (int k = 0; k < 4; ++k) check.uniform_input(shape, s, low, high);
      check.uniform_input(shape, s, -0.95, 0.95);
      check.step = 1e-3 * low;
      return f;
    });
  };
  for (const double low : {0.3, 1.2}) {
    add("draw", low, 9, [](auto& c, auto in) {
      const auto noise = sample::uniform_noise(c, {.seed = 4}, in[0].shape[0], in[0].shape[1]);
      return sample::draw(c, Kumaraswamy<double>{in[0], in[1], {-1, 1}}, noise);
    });
    add("log_density", low, 9, [](auto& c, auto in) {
      return sample::log_density(c, Kumaraswamy<double>{in[0], in[1], {-1, 1}}, in[4]);
    });
    add("entropy", low, 9, [](auto& c, auto in) { return sample::entropy(c, Kumaraswamy<double>{in[0], in[1]}); });
    add("kl_divergence", low, 9, [](auto& c, auto in) {
      return sample::kl_divergence(c, Kumaraswamy<double>{in[0], in[1]}, Kumaraswamy<double>{in[2], in[3]},
                                   sample::MonteCarlo{{.seed = 7}, 3});
    });
    add("mean", low, 9, [](auto& c, auto in) { return sample::mean(c, Kumaraswamy<double>{in[0], in[1]}); });
  }
  add("mode", 1.2, 9, [](auto& c, auto in) { return sample::mode(c, Kumaraswamy<double>{in[0], in[1]}); });
  ops.check_all();
}

TEST_CASE("kumaraswamy: density, entropy and mean against mpmath, all parameters") {
  for (const auto& row : fovea_test::golden("kumaraswamy")) {
    Arena arena;
    Tape<double> tape(arena);
    const Kumaraswamy<double> q{column(tape, {row[0]}), column(tape, {row[1]})};
    const Var<double> z = column(tape, {row[2]});
    const Var<double> density = sample::log_density(tape, q, z);
    backward_ones(tape, density);
    INFO("a = ", row[0], ", b = ", row[1], ", z = ", row[2]);
    CHECK(measured("density: Kumaraswamy", relative_gap(density.value[0], row[3], 1)) <= 1e-9);
    CHECK(relative_gap(q.a.gradient[0], row[4], 1) <= 1e-9);
    CHECK(relative_gap(q.b.gradient[0], row[5], 1) <= 1e-9);
    CHECK(relative_gap(z.gradient[0], row[6]) <= 1e-9);
    CHECK(measured("density: Kumaraswamy entropy", relative_gap(sample::entropy(tape, q).value[0], row[7], 1)) <= 1e-10);
    CHECK(relative_gap(sample::mean(tape, q).value[0], row[8]) <= 1e-9);
    // In float, as the double sees its rounded inputs.
    Tape<float> single(arena);
    const Kumaraswamy<float> r{column(single, {row[0]}), column(single, {row[1]})};
    const Var<float> at = column(single, {row[2]});
    const Kumaraswamy<double> same{column(tape, {static_cast<double>(r.a.value[0])}),
                                   column(tape, {static_cast<double>(r.b.value[0])})};
    const double expected = sample::log_density(tape, same, column(tape, {static_cast<double>(at.value[0])})).value[0];
    CHECK(measured("density: Kumaraswamy float",
                   relative_gap(static_cast<double>(sample::log_density(single, r, at).value[0]), expected, 1)) <= 1e-5);
  }
}

TEST_CASE("kumaraswamy: derivatives of a draw against differences of the quantile, all parameters") {
  for (const double a : {1e-3, 0.5, 1.0, 20.0, 1e4}) {
    for (const double b : {1e-3, 0.5, 3.0, 1e4}) {
      for (const double p : {1e-3, 0.4, 0.97}) {
        // log z and log(1 - z) in long double, whichever keeps its digits.
        const auto log_z = [p](long double x, long double y) {
          const long double e = -std::log1p(-static_cast<long double>(p)) / y;
          return std::log(-std::expm1(-e)) / x;
        };
        Arena arena;
        Tape<double> tape(arena);
        const Kumaraswamy<double> q{column(tape, {a}), column(tape, {b})};
        const Var<double> z = sample::draw(tape, q, column(tape, {p}));
        backward_ones(tape, z);
        if (z.value[0] < 1e-290) continue;
        const auto by = [&](auto f, double x) {
          return static_cast<double>(z.value[0]) *
                 fovea_test::difference([&](double t) { return static_cast<double>(f(static_cast<long double>(t))); }, x,
                                        3e-3 * x);
        };
        const double d_a = by([&](long double t) { return log_z(t, static_cast<long double>(b)); }, a);
        const double d_b = by([&](long double t) { return log_z(static_cast<long double>(a), t); }, b);
        INFO("a = ", a, ", b = ", b, ", p = ", p);
        CHECK(measured("pathwise: Kumaraswamy", relative_gap(q.a.gradient[0], d_a, 1e-12)) <= 1e-6);
        CHECK(measured("pathwise: Kumaraswamy", relative_gap(q.b.gradient[0], d_b, 1e-12)) <= 1e-6);
      }
    }
  }
}

TEST_CASE_TEMPLATE("kumaraswamy: nothing leaves the interval or the numbers", T, float, double) {
  constexpr Index rows = 100;
  for (const double a : {1e-3, 1.0, 1e4}) {
    for (const double b : {1e-3, 2.0, 1e4}) {
      Arena arena;
      Tape<T> tape(arena);
      const Kumaraswamy<T> q{fovea_test::repeated(tape, a, rows), fovea_test::repeated(tape, b, rows)};
      const Var<T> z = sample::draw(tape, q, {.seed = 2});
      const Var<T> density = sample::log_density(tape, q, z);
      std::fill_n(z.gradient, rows, T(1));
      backward_ones(tape, density);
      bool good = true;
      for (Index i = 0; i < rows; ++i) {
        good = good && z.value[i] > T(0) && z.value[i] < T(1) && std::isfinite(density.value[i]) &&
               std::isfinite(q.a.gradient[i]) && std::isfinite(q.b.gradient[i]);
      }
      INFO("a = ", a, ", b = ", b);
      CHECK(good);
    }
  }
}

TEST_CASE("kumaraswamy: draws have the distribution asked for, and a = 1 or b = 1 is a Beta") {
  constexpr Index count = 4000;
  for (const double a : {0.3, 1.0, 40.0}) {
    for (const double b : {0.2, 1.0, 300.0}) {
      Arena arena;
      Tape<double> tape(arena);
      const Kumaraswamy<double> q{fovea_test::repeated(tape, a, count), fovea_test::repeated(tape, b, count)};
      const Var<double> z = sample::draw(tape, q, {.seed = 6});
      INFO("a = ", a, ", b = ", b);
      CHECK(fovea_test::kolmogorov_smirnov(std::vector<double>(z.value, z.value + count),
                                           [&](double x) { return -std::expm1(b * std::log1p(-std::pow(x, a))); }) > 1e-3);
    }
  }
  Arena arena;
  Tape<double> tape(arena);
  const Kumaraswamy<double> q{column(tape, {1.0, 3.0}), column(tape, {4.0, 1.0})};
  const Var<double> mean = sample::mean(tape, q);
  CHECK(mean.value[0] == doctest::Approx(0.2));
  CHECK(mean.value[1] == doctest::Approx(0.75));
  const Var<double> mode = sample::mode(tape, q);
  CHECK(mode.value[0] == std::numeric_limits<double>::min() * 0x1p24);
  CHECK(mode.value[1] == std::nextafter(1.0, 0.0));
  CHECK(sample::log_density(tape, q, column(tape, {0.0, 1.0})).value[1] == -std::numeric_limits<double>::infinity());
}
