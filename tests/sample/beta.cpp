// SPDX-License-Identifier: MIT
#include "support/distribution.hpp"
#include "support/op_registry.hpp"
#include <fovea/sample/beta.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

using namespace fovea;
using fovea_test::backward_ones;
using fovea_test::column;
using fovea_test::extent;
using fovea_test::measured;
using fovea_test::OpRegistry;
using fovea_test::relative_gap;
using sample::Beta;

namespace {
constexpr sample::Interval kImage{-1, 1};
constexpr double kConcentrations[] = {1e-3, 0.05, 0.7, 1.0, 4.0, 90.0, 1e4};
}  // namespace

TEST_CASE("beta: derivatives of draw, log-density, entropy, KL, mean and mode") {
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
    add("log_density", low, 5, [](auto& c, auto in) {
      return sample::log_density(c, Beta<double>{in[0], in[1], kImage}, in[4]);
    });
    add("entropy", low, 5, [](auto& c, auto in) { return sample::entropy(c, Beta<double>{in[0], in[1], kImage}); });
    add("kl_divergence", low, 5, [](auto& c, auto in) {
      return sample::kl_divergence(c, Beta<double>{in[0], in[1]}, Beta<double>{in[2], in[3]});
    });
    add("kl_divergence of neighbours", low, 5, [](auto& c, auto in) {
      const auto near = [&](auto x, auto by) { return nn::axpy(c, 0.01, by, x); };
      return sample::kl_divergence(c, Beta<double>{in[0], in[1]}, Beta<double>{near(in[0], in[2]), near(in[1], in[3])});
    });
    add("mean", low, 5, [](auto& c, auto in) { return sample::mean(c, Beta<double>{in[0], in[1], kImage}); });
  }
  add("mode", 1.2, 5, [](auto& c, auto in) { return sample::mode(c, Beta<double>{in[0], in[1], kImage}); });
  add("draw", 0.3, 20, [](auto& c, auto in) {
    const auto noise = sample::uniform_noise(c, {.seed = 4}, in[0].shape[0], in[0].shape[1]);
    return sample::draw(c, Beta<double>{in[0], in[1], kImage}, noise);
  });
  ops.check_all();
}

TEST_CASE("beta: derivatives of a draw against differences of the quantile, all concentrations") {
  namespace special = kernel::special;
  for (const double a : kConcentrations) {
    for (const double b : kConcentrations) {
      for (const double p : {1e-4, 0.1, 0.5, 0.9, 0.999}) {
        const double v = special::beta_quantile_logit(a, b, p);
        Arena arena;
        Tape<double> tape(arena);
        const Beta<double> q{column(tape, {a}), column(tape, {b})};
        const Var<double> z = sample::draw(tape, q, column(tape, {p}));
        backward_ones(tape, z);
        // Differences are taken of the logit: z itself may be e^-1000.
        const double slope = std::exp(-std::abs(v) - 2 * std::log1p(std::exp(-std::abs(v))));
        if (slope < 1e-290) continue;
        const double d_a =
            slope * fovea_test::difference([&](double x) { return special::beta_quantile_logit(x, b, p); }, a, 3e-3 * a);
        const double d_b =
            slope * fovea_test::difference([&](double x) { return special::beta_quantile_logit(a, x, p); }, b, 3e-3 * b);
        INFO("a = ", a, ", b = ", b, ", p = ", p, "; ", q.concentration1.gradient[0], " ", d_a, "; ",
             q.concentration0.gradient[0], " ", d_b);
        CHECK(measured("pathwise: Beta", relative_gap(q.concentration1.gradient[0], d_a)) <= 1e-6);
        CHECK(measured("pathwise: Beta", relative_gap(q.concentration0.gradient[0], d_b)) <= 1e-6);
      }
    }
  }
}

TEST_CASE_TEMPLATE("beta: log-density and entropy against mpmath, all concentrations", T, float, double) {
  const auto rows = fovea_test::golden("beta_density");
  const auto a = fovea_test::column_of(rows, 0), b = fovea_test::column_of(rows, 1), z = fovea_test::column_of(rows, 2);
  Arena arena;
  Tape<T> tape(arena);
  const Beta<T> q{column(tape, a), column(tape, b)};
  const Var<T> at = column(tape, z);
  const Var<T> density = sample::log_density(tape, q, at);
  const Var<T> entropy = sample::entropy(tape, Beta<T>{nn::detach(q.concentration1), nn::detach(q.concentration0)});
  backward_ones(tape, density);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    INFO("a = ", a[i], ", b = ", b[i], ", z = ", z[i]);
    if constexpr (std::is_same_v<T, double>) {
      CHECK(measured("density: Beta", relative_gap(density.value[i], rows[i][3], 1)) <= 1e-10);
      CHECK(relative_gap(q.concentration1.gradient[i], rows[i][4], 1) <= 1e-10);
      CHECK(relative_gap(q.concentration0.gradient[i], rows[i][5], 1) <= 1e-10);
      CHECK(relative_gap(at.gradient[i], rows[i][6]) <= 1e-8);  // 1e-8: 1 - z of z = 0.999
      CHECK(measured("density: Beta entropy", relative_gap(entropy.value[i], rows[i][7], 1)) <= 1e-10);
    } else {
      // What comes in was rounded to float: so is what the double reference takes.
      const double af = at.value[i], p = q.concentration1.value[i], r = q.concentration0.value[i];
      const auto reference = kernel::special::beta_density(p, r, af, 1 - af);
      CHECK(measured("density: Beta float", relative_gap(density.value[i], reference.value, 1)) <= 1e-5);
      CHECK(relative_gap(q.concentration1.gradient[i], reference.d_a, 1) <= 1e-5);
      CHECK(relative_gap(q.concentration0.gradient[i], reference.d_b, 1) <= 1e-5);
      CHECK(std::isfinite(at.gradient[i]));
    }
  }
}

TEST_CASE_TEMPLATE("beta: KL against mpmath, all concentrations", T, float, double) {
  for (const auto& row : fovea_test::golden("beta_divergence")) {
    Arena arena;
    Tape<T> tape(arena);
    const Beta<T> q{column(tape, {row[0]}), column(tape, {row[1]}), kImage};
    const Beta<T> p{column(tape, {row[2]}), column(tape, {row[3]}), kImage};
    const Var<T> kl = sample::kl_divergence(tape, q, p);
    backward_ones(tape, kl);
    INFO("a = ", row[0], ", b = ", row[1], ", c = ", row[2], ", d = ", row[3]);
    if constexpr (std::is_same_v<T, double>) {
      CHECK(measured("divergence: Beta", relative_gap(kl.value[0], row[4])) <= 1e-8);
      CHECK(relative_gap(p.concentration0.gradient[0], row[8], 1e-6 * row[4]) <= 1e-8);
    } else {
      const auto reference = kernel::special::beta_divergence(q.concentration1.value[0], q.concentration0.value[0],
                                                              p.concentration1.value[0], p.concentration0.value[0]);
      CHECK(measured("divergence: Beta float", relative_gap(kl.value[0], reference.value)) <= 1e-5);
      CHECK(relative_gap(q.concentration1.gradient[0], reference.d[0], 1e-30) <= 1e-5);
    }
    CHECK(kl.value[0] >= 0);
  }
}

TEST_CASE("beta: draws have the distribution asked for, all concentrations") {
  constexpr Index count = 4000;
  std::vector<Stream> streams;
  std::vector<double> a(count), b(count), logits(count);
  for (const double p : {1e-3, 0.4, 1.0, 1.7, 30.0, 1e4}) {
    for (const double q : {1e-3, 1.0, 2.5, 1e4}) {
      streams.clear();
      const sample::NoiseKey key{.seed = 12};
      for (Index i = 0; i < count; ++i) streams.push_back(key.stream(i));
      std::fill(a.begin(), a.end(), p);
      std::fill(b.begin(), b.end(), q);
      kernel::beta_logits<double>(View<const double, 2>(a.data(), {count, 1}), View<const double, 2>(b.data(), {count, 1}),
                                  streams.data(), View<double, 2>(logits.data(), {count, 1}));
      INFO("a = ", p, ", b = ", q);
      CHECK(fovea_test::kolmogorov_smirnov(
                logits, [&](double v) { return std::exp(kernel::special::beta_log_cdf(p, q, v).lower); }) > 1e-3);
    }
  }
}

TEST_CASE("beta: the distribution of rejection majorises its target, all concentrations") {
  // That the ratio of both is largest at the mode, which the test for acceptance takes for granted.
  for (double a = 1e-3; a < 2e4; a *= 1.7) {
    for (double b = 1e-3; b < 2e4; b *= 1.7) {
      const double least = std::min(a, b), sum = a + b;
      const double rate = least <= 1 ? least : std::sqrt(std::max(1.0, (2 * a * b - sum) / (sum - 2)));
      double worst = -1;
      for (double x = -40; x <= 40; x += 0.05) {  // in units of the proposal's deviation
        const double y = x / rate;
        const double k = y > 0 ? b : a;
        const double target = -k * std::abs(y) - sum * std::log1p(k / sum * std::expm1(-std::abs(y)));
        const double proposal = -std::abs(x) - 2 * std::log1p(0.5 * std::expm1(-std::abs(x)));
        worst = std::max(worst, target - proposal);
      }
      INFO("a = ", a, ", b = ", b);
      CHECK(worst <= 1e-10);
    }
  }
}

TEST_CASE_TEMPLATE("beta: draws stay within the open interval and have finite densities, all concentrations", T, float,
                   double) {
  constexpr Index rows = 200;
  for (const sample::Interval interval : {sample::Interval{0, 1}, kImage, sample::Interval{0.1, 0.1001}}) {
    for (const double a : {1e-3, 0.2, 1.0, 1e4}) {
      for (const double b : {1e-3, 3.0, 1e4}) {
        Arena arena;
        Tape<T> tape(arena);
        const Beta<T> q{fovea_test::repeated(tape, a, rows), fovea_test::repeated(tape, b, rows), interval};
        const Var<T> z = sample::draw(tape, q, {.seed = 2});
        const Var<T> density = sample::log_density(tape, q, z);
        std::fill_n(z.gradient, rows, T(1));
        backward_ones(tape, density);
        bool good = true;
        for (Index i = 0; i < rows; ++i) {
          good = good && static_cast<double>(z.value[i]) > interval.low && static_cast<double>(z.value[i]) < interval.high;
          good = good && std::isfinite(density.value[i]) && std::isfinite(q.concentration1.gradient[i]) &&
                 std::isfinite(q.concentration0.gradient[i]);
        }
        INFO("a = ", a, ", b = ", b, ", interval from ", interval.low);
        CHECK(good);
      }
    }
  }
}

TEST_CASE("beta: a draw depends on its row alone, and float draws are the rounded ones") {
  Arena arena;
  Tape<double> tape(arena);
  Tape<float> single(arena);
  const Index rows = 131, columns = 3;
  const auto fill = [&](auto& context, Index first, Index count) {
    const auto make = [&](double scale) {
      const auto x = context.variable(Shape{count, columns});
      for (Index i = 0; i < x.size(); ++i) {
        const auto k = static_cast<double>((first * columns + i) % 17);
        x.value[i] = static_cast<std::decay_t<decltype(x.value[0])>>(static_cast<float>(0.3 + scale * k));
      }
      return x;
    };
    const auto a = make(0.4);
    return std::pair{a, make(0.9)};
  };
  const sample::NoiseKey key{.seed = 5, .step = 3};
  const auto [a, b] = fill(tape, 0, rows);
  const auto whole = sample::draw(tape, Beta<double>{a, b}, key);
  const auto [c, d] = fill(tape, 70, 9);
  const auto part = sample::draw(tape, Beta<double>{c, d}, {.seed = 5, .step = 3, .first_sample = 70});
  for (Index i = 0; i < part.size(); ++i) CHECK(part.value[i] == whole.value[70 * columns + i]);
  const auto [e, f] = fill(single, 0, rows);
  const auto rounded = sample::draw(single, Beta<float>{e, f}, key);
  tape.backward();
  for (Index i = 0; i < rounded.size(); ++i) {
    CHECK(static_cast<double>(rounded.value[i]) == doctest::Approx(whole.value[i]).epsilon(1e-5));
  }
}

TEST_CASE("beta: what lies outside has no density, and what is not a concentration gives NaN") {
  Arena arena;
  Tape<double> tape(arena);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Beta<double> q{column(tape, {2, 2, 2, -1, 0, nan}), column(tape, {3, 3, 3, 2, 2, 2}), kImage};
  const Var<double> z = column(tape, {-1, 1, 1.5, 0, 0, 0});
  const Var<double> density = sample::log_density(tape, q, z);
  backward_ones(tape, density);
  for (Index i = 0; i < 3; ++i) {
    CHECK(density.value[i] == -std::numeric_limits<double>::infinity());
    CHECK(z.gradient[i] == 0.0);
  }
  const Var<double> drawn = sample::draw(tape, q, {.seed = 1});
  for (Index i = 3; i < 6; ++i) {
    CHECK(std::isnan(density.value[i]));
    CHECK(std::isnan(drawn.value[i]));
  }
  for (Index i = 0; i < 3; ++i) CHECK(std::abs(drawn.value[i]) < 1);
  CHECK_THROWS_AS((void)sample::log_density(tape, Beta<double>{z, z, {1, 1}}, z), Error);
  CHECK_THROWS_AS((void)sample::kl_divergence(tape, q, Beta<double>{z, z}), Error);
  CHECK_THROWS_WITH_AS((void)sample::draw(tape, Beta<double>{z, column(tape, {1, 2})}, sample::NoiseKey{}),
                       "beta draw: a parameter or location of shape [6x1] expected, [2x1] came", Error);
}

TEST_CASE("beta: modes at an end, and in the middle of a flat density") {
  Arena arena;
  Tape<float> tape(arena);
  const Beta<float> q{column(tape, {0.5, 3, 1, 3}), column(tape, {2, 1, 1, 2}), kImage};
  const Var<float> mode = sample::mode(tape, q);
  CHECK(mode.value[0] == std::nextafter(-1.0F, 0.0F));
  CHECK(mode.value[1] == std::nextafter(1.0F, 0.0F));
  CHECK(mode.value[2] == 0.0F);
  CHECK(mode.value[3] == doctest::Approx(1.0 / 3));
}
