// SPDX-License-Identifier: MIT
#include "support/distribution.hpp"
#include "support/op_registry.hpp"
#include <fovea/sample/logistic_normal.hpp>

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
using sample::LogisticNormal;

TEST_CASE("logistic normal: derivatives of draw, log-density, entropy, KL, mean and mode") {
  OpRegistry ops;
  const auto add = [&](const char* name, double log_deviation, auto f) {
    ops.add(name, [=](Stream& s, GradientCheck& check) {
      const Shape shape{extent(s), extent(s)};
      check.input(shape, s, 1.5).input(shape, s, 0.3, log_deviation).input(shape, s).input(shape, s, 0.5);
      check.uniform_input(shape, s, -0.95, 0.95);
      return f;
    });
  };
  for (const double log_deviation : {-1.0, 0.0, 1.5}) {
    add("draw", log_deviation, [](auto& c, auto in) {
      const auto noise = sample::normal_noise(c, {.seed = 4}, in[0].shape[0], in[0].shape[1]);
      return sample::draw(c, LogisticNormal<double>{in[0], in[1]}, noise);
    });
    add("log_density", log_deviation, [](auto& c, auto in) {
      return sample::log_density(c, LogisticNormal<double>{in[0], in[1], {-1, 3}}, in[4]);
    });
    add("entropy", log_deviation, [](auto& c, auto in) { return sample::entropy(c, LogisticNormal<double>{in[0], in[1]}); });
    add("kl_divergence", log_deviation, [](auto& c, auto in) {
      return sample::kl_divergence(c, LogisticNormal<double>{in[0], in[1]}, LogisticNormal<double>{in[2], in[3]});
    });
    add("mean", log_deviation, [](auto& c, auto in) { return sample::mean(c, LogisticNormal<double>{in[0], in[1]}); });
    // Not at the ends, where a mode moves by 1e-12: of one and of two modes.
    add("mode", 0.4 * log_deviation, [](auto& c, auto in) { return sample::mode(c, LogisticNormal<double>{in[0], in[1]}); });
  }
  ops.check_all();
}

TEST_CASE("logistic normal: mean, entropy and mode against mpmath, all deviations and logits of 80") {
  for (const auto& row : fovea_test::golden("logistic_normal")) {
    Arena arena;
    Tape<double> tape(arena);
    const LogisticNormal<double> q{column(tape, {row[0]}), column(tape, {row[1]})};
    INFO("m = ", row[0], ", log s = ", row[1]);
    CHECK(std::abs(sample::mean(tape, q).value[0] - row[2]) <= 1e-13);
    CHECK(measured("density: logistic-normal entropy", relative_gap(sample::entropy(tape, q).value[0], row[3], 1)) <= 1e-12);
    CHECK(std::abs(sample::mode(tape, q).value[0] - row[4]) <= 1e-7);  // 1e-7: the mode at m = 0, s^2 near 2 is flat
  }
}

TEST_CASE_TEMPLATE("logistic normal: logits of 80 and deviations of 1e-6 to 1e3 stay numbers", T, float, double) {
  constexpr Index rows = 50;
  for (const double m : {0.0, 80.0, -80.0}) {
    for (const double l : {-13.8, -1.0, 2.0, 6.9}) {
      Arena arena;
      Tape<T> tape(arena);
      const LogisticNormal<T> q{fovea_test::repeated(tape, m, rows), fovea_test::repeated(tape, l, rows)};
      const Var<T> z = sample::draw(tape, q, {.seed = 2});
      const Var<T> density = sample::log_density(tape, q, z);
      const Var<T> mean = sample::mean(tape, q);
      const Var<T> entropy = sample::entropy(tape, q);
      for (const Var<T>& y : {z, mean, entropy}) std::fill_n(y.gradient, y.size(), T(1));
      backward_ones(tape, density);
      bool good = true;
      for (Index i = 0; i < rows; ++i) {
        good = good && z.value[i] > T(-1) && z.value[i] < T(1) && std::isfinite(density.value[i]) &&
               std::isfinite(mean.value[i]) && std::isfinite(entropy.value[i]) && std::isfinite(q.mean.gradient[i]) &&
               std::isfinite(q.log_deviation.gradient[i]);
        // The density at what was drawn, as a long double sees it.
        const long double x = static_cast<long double>(z.value[i]);
        const long double u = (std::log1p(x) - std::log1p(-x) - static_cast<long double>(q.mean.value[i])) *
                              std::exp(-static_cast<long double>(q.log_deviation.value[i]));
        const long double expected = -u * u / 2 - static_cast<long double>(q.log_deviation.value[i]) -
                                     0.918938533204672741780L - std::log1p(x) - std::log1p(-x) + std::log(2.0L);
        good = good && measured("density: logistic-normal",
                                relative_gap(static_cast<double>(density.value[i]), static_cast<double>(expected), 1)) <=
                           (sizeof(T) == 4 ? 1e-5 : 1e-7);
      }
      INFO("m = ", m, ", log s = ", l);
      CHECK(good);
    }
  }
}

TEST_CASE("logistic normal: draws have the distribution asked for") {
  constexpr Index count = 4000;
  for (const double m : {0.0, 1.3, -4.0}) {
    for (const double l : {-3.0, 0.0, 1.0}) {
      Arena arena;
      Tape<double> tape(arena);
      const LogisticNormal<double> q{fovea_test::repeated(tape, m, count), fovea_test::repeated(tape, l, count), {0, 1}};
      const Var<double> z = sample::draw(tape, q, {.seed = 6});
      INFO("m = ", m, ", log s = ", l);
      CHECK(fovea_test::kolmogorov_smirnov(std::vector<double>(z.value, z.value + count), [&](double x) {
              const double g = std::log(x) - std::log1p(-x);
              return 0.5 * std::erfc(-(g - m) * std::exp(-l) / std::sqrt(2.0));
            }) > 1e-3);
    }
  }
}

TEST_CASE("logistic normal: outside there is no density, and two modes are told apart by the mean") {
  Arena arena;
  Tape<double> tape(arena);
  const LogisticNormal<double> q{column(tape, {0.1, -0.1}), column(tape, {1.0, 1.0})};
  CHECK(sample::log_density(tape, q, column(tape, {1.0, -2.0})).value[0] == -std::numeric_limits<double>::infinity());
  const Var<double> mode = sample::mode(tape, q);
  CHECK(mode.value[0] == -mode.value[1]);
  CHECK(mode.value[0] > 0.9);
  // No point of a grid has a higher density.
  double best = -1e9;
  for (int i = 1; i < 2000; ++i) {
    const double x = -1 + 1e-3 * i;
    best = std::max(best, sample::log_density(tape, q, column(tape, {x, 0.0})).value[0]);
  }
  CHECK(sample::log_density(tape, q, column(tape, {mode.value[0], 0.0})).value[0] >= best);
}
