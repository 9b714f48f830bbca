// SPDX-License-Identifier: MIT
#include "support/distribution.hpp"
#include "support/op_registry.hpp"
#include <fovea/sample/truncated_gaussian.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <type_traits>
#include <vector>

using namespace fovea;
using fovea_test::backward_ones;
using fovea_test::column;
using fovea_test::extent;
using fovea_test::measured;
using fovea_test::OpRegistry;
using fovea_test::relative_gap;
using sample::TruncatedGaussian;

TEST_CASE("truncated gaussian: derivatives of draw, log-density, entropy, KL, mean and mode") {
  OpRegistry ops;
  const auto add = [&](const char* name, double deviation, auto f) {
    ops.add(name, [=](Stream& s, GradientCheck& check) {
      const Shape shape{extent(s), extent(s)};
      check.input(shape, s, deviation).input(shape, s, 0.7, -0.5).input(shape, s, deviation).input(shape, s, 0.7, -0.5);
      check.uniform_input(shape, s, -0.95, 0.95);
      return f;
    });
  };
  for (const double deviation : {0.5, 4.0}) {  // means mostly inside, mostly outside
    add("draw", deviation, [](auto& c, auto in) {
      const auto noise = sample::uniform_noise(c, {.seed = 4}, in[0].shape[0], in[0].shape[1]);
      return sample::draw(c, TruncatedGaussian<double>{in[0], in[1]}, noise);
    });
    add("log_density", deviation, [](auto& c, auto in) {
      return sample::log_density(c, TruncatedGaussian<double>{in[0], in[1], {-1, 3}}, in[4]);
    });
    add("entropy", deviation, [](auto& c, auto in) { return sample::entropy(c, TruncatedGaussian<double>{in[0], in[1]}); });
    add("kl_divergence", deviation, [](auto& c, auto in) {
      return sample::kl_divergence(c, TruncatedGaussian<double>{in[0], in[1]}, TruncatedGaussian<double>{in[2], in[3]});
    });
    add("mean", deviation, [](auto& c, auto in) { return sample::mean(c, TruncatedGaussian<double>{in[0], in[1]}); });
  }
  add("mode", 0.5, [](auto& c, auto in) { return sample::mode(c, TruncatedGaussian<double>{in[0], in[1]}); });
  ops.check_all();
}

TEST_CASE_TEMPLATE("truncated gaussian: densities, moments and derivatives of the quantile against mpmath", T, float, double) {
  for (const auto& row : fovea_test::golden("truncated_gaussian")) {
    Arena arena;
    Tape<T> tape(arena);
    const TruncatedGaussian<T> q{column(tape, {row[0]}), column(tape, {row[1]})};
    const Var<T> z = column(tape, {row[2]});
    INFO("m = ", row[0], ", log sigma = ", row[1], ", z = ", row[2]);
    const Var<T> density = sample::log_density(tape, q, z);
    const Var<T> mean = sample::mean(tape, TruncatedGaussian<T>{nn::detach(q.mean), nn::detach(q.log_deviation)});
    const Var<T> entropy = sample::entropy(tape, TruncatedGaussian<T>{nn::detach(q.mean), nn::detach(q.log_deviation)});
    backward_ones(tape, density);
    if constexpr (std::is_same_v<T, double>) {
      // z and m are given to 1e-16: where sigma is 1e-6, their difference to 1e-10 of it.
      const double given = 1e-13 + 1e-15 * std::abs(row[6]);
      CHECK(measured("density: truncated Gaussian", relative_gap(density.value[0], row[3], 1)) <= 1e-9);
      CHECK(relative_gap(q.mean.gradient[0], row[4]) <= 1e-9 + given);
      CHECK(relative_gap(q.log_deviation.gradient[0], row[5], 1e-2) <= 1e-8 + given);
      CHECK(relative_gap(z.gradient[0], row[6]) <= 1e-9 + given);
      CHECK(relative_gap(mean.value[0], row[7], 1e-3) <= 1e-12);
      CHECK(measured("density: truncated Gaussian entropy", relative_gap(entropy.value[0], row[8], 1)) <= 1e-12);
      // The quantile of the tail at z is z, and its derivatives those of mpmath.
      const kernel::TruncatedGaussian gaussian(row[0], row[1], -1, 1);
      const double p = row[9] == 1 ? row[10] : 1 - row[10];
      const double v = gaussian.quantile(p);
      CHECK(relative_gap(v, gaussian.at(row[2]), std::sqrt(gaussian.k2)) <= 1e-9);
      const auto moves = gaussian.moves(gaussian.at(row[2]));
      CHECK(measured("pathwise: truncated Gaussian", relative_gap(moves.by_mean, row[11])) <= 1e-8);
      CHECK(measured("pathwise: truncated Gaussian", relative_gap(moves.by_log_deviation, row[12], 1e-12 * gaussian.sigma)) <=
            1e-7);
    } else {
      const kernel::TruncatedGaussian reference(q.mean.value[0], q.log_deviation.value[0], -1, 1);
      const double at = reference.at(z.value[0]);
      if (std::abs(z.value[0]) < 1) {
        CHECK(measured("density: truncated Gaussian float", relative_gap(density.value[0], reference.log_density(at), 1)) <=
              1e-5);
        CHECK(std::isfinite(q.log_deviation.gradient[0]));
      }
      CHECK(std::isfinite(entropy.value[0]));
      CHECK(mean.value[0] == doctest::Approx(row[7]).epsilon(1e-5));
    }
  }
}

TEST_CASE("truncated gaussian: derivatives of a draw against differences of the quantile, all deviations") {
  for (const double m : {0.0, 0.4, -0.9, 1.2, -3.0}) {
    for (const double l : {-13.8, -6.0, -2.0, 0.0, 3.0, 6.9}) {
      for (const double p : {1e-3, 0.2, 0.5, 0.83, 0.999}) {
        const kernel::TruncatedGaussian gaussian(m, l, -1, 1);
        const auto moves = gaussian.moves(gaussian.quantile(p));
        const double h = 0.02 * std::max(gaussian.sigma, 1.0);
        const double step = std::abs(m) < 1 && gaussian.sigma < 0.1 ? 0.1 * gaussian.sigma : h;
        if (std::abs(std::abs(m) - 1) <= step) continue;
        // Of how far z is from the nearest point, which moves with a mean that is inside.
        const double by_mean = fovea_test::difference(
            [&](double x) {
              const kernel::TruncatedGaussian g(x, l, -1, 1);
              return g.sigma * g.quantile(p);
            },
            m, step);
        const double by_log = fovea_test::difference(
            [&](double x) {
              const kernel::TruncatedGaussian g(m, x, -1, 1);
              return g.sigma * g.quantile(p);
            },
            l, 0.02);
        INFO("m = ", m, ", log sigma = ", l, ", p = ", p, "; ", moves.by_mean, " ", by_mean, "; ", moves.by_log_deviation, " ",
             by_log);
        const double noise = 1e-15 * gaussian.sigma * std::max(std::abs(gaussian.at(0)), 1.0) / step;
        CHECK(measured("pathwise: truncated Gaussian",
                       relative_gap(moves.by_mean, by_mean + (std::abs(m) < 1 ? 1 : 0), 1e6 * noise)) <= 1e-6);
        CHECK(measured("pathwise: truncated Gaussian",
                       relative_gap(moves.by_log_deviation, by_log, 1e-3 * gaussian.sigma * std::sqrt(gaussian.k2))) <= 1e-6);
      }
    }
  }
}

TEST_CASE("truncated gaussian: draws have the distribution asked for") {
  constexpr Index count = 3000;
  for (const double m : {0.2, -1.0, 4.0, -500.0}) {
    for (const double l : {-9.0, -1.0, 0.5, 6.9}) {
      Arena arena;
      Tape<double> tape(arena);
      const auto noise = sample::uniform_noise(tape, {.seed = 21}, count, 1);
      const kernel::TruncatedGaussian gaussian(m, l, -1, 1);
      std::vector<double> draws;
      for (Index i = 0; i < count; ++i) draws.push_back(gaussian.quantile(noise.value[i]));
      INFO("m = ", m, ", log sigma = ", l);
      // The distribution function by quadrature of the density.
      CHECK(fovea_test::kolmogorov_smirnov(draws, [&](double v) {
              const auto mass = kernel::integrate<1>(
                  std::max(gaussian.first, gaussian.mean - 45 * std::sqrt(gaussian.k2)), v, [&](const auto& x) {
                    using V = std::decay_t<decltype(x)>;
                    return std::array{simd::exp(-x * (V(gaussian.u) + V(0.5) * x) - V(gaussian.log_scale - l))};
                  });
              return std::min(1.0, mass[0]);
            }) > 1e-3);
    }
  }
}

TEST_CASE_TEMPLATE("truncated gaussian: nothing leaves the interval or the numbers", T, float, double) {
  constexpr Index rows = 100;
  for (const double m : {0.0, 0.999, -1.0, 1e3, -1e3}) {
    for (const double l : {-13.8, -3.0, 0.0, 6.9}) {
      Arena arena;
      Tape<T> tape(arena);
      const TruncatedGaussian<T> q{fovea_test::repeated(tape, m, rows), fovea_test::repeated(tape, l, rows)};
      const Var<T> z = sample::draw(tape, q, {.seed = 2});
      const Var<T> density = sample::log_density(tape, q, z);
      std::fill_n(z.gradient, rows, T(1));
      backward_ones(tape, density);
      bool good = true;
      for (Index i = 0; i < rows; ++i) {
        good = good && z.value[i] > T(-1) && z.value[i] < T(1) && std::isfinite(density.value[i]) &&
               std::isfinite(q.mean.gradient[i]) && std::isfinite(q.log_deviation.gradient[i]);
      }
      INFO("m = ", m, ", log sigma = ", l);
      CHECK(good);
    }
  }
}

TEST_CASE("truncated gaussian: limits are the plain Gaussian and the uniform distribution") {
  Arena arena;
  Tape<double> tape(arena);
  const TruncatedGaussian<double> narrow{column(tape, {0.3}), column(tape, {-4.0})};
  CHECK(sample::entropy(tape, narrow).value[0] ==
        doctest::Approx(0.5 * std::log(2 * std::numbers::pi * std::numbers::e) - 4).epsilon(1e-13));
  const TruncatedGaussian<double> other{column(tape, {0.32}), column(tape, {-3.8})};
  const double u = 0.02 * std::exp(3.8);
  CHECK(sample::kl_divergence(tape, narrow, other).value[0] ==
        doctest::Approx(0.5 * (std::expm1(-0.4) + u * u) + 0.2).epsilon(1e-11));
  CHECK(sample::kl_divergence(tape, narrow, narrow).value[0] == 0.0);
  const TruncatedGaussian<double> wide{column(tape, {0.3}), column(tape, {12.0})};
  CHECK(sample::entropy(tape, wide).value[0] == doctest::Approx(std::log(2.0)).epsilon(1e-9));
  CHECK(sample::mode(tape, TruncatedGaussian<double>{column(tape, {7}), column(tape, {0})}).value[0] ==
        std::nextafter(1.0, 0.0));
  CHECK(sample::log_density(tape, wide, column(tape, {1.0})).value[0] == -std::numeric_limits<double>::infinity());
}

TEST_CASE("truncated gaussian: KL of extremes against quadrature of the densities") {
  for (const double m : {0.0, 0.9, -4.0, 300.0}) {
    for (const double l : {-6.0, -1.0, 1.0, 6.9}) {
      const kernel::TruncatedGaussian a(m, l, -1, 1);
      for (const double n : {0.1, 2.0}) {
        for (const double k : {-3.0, 0.0, 6.9}) {
          const kernel::TruncatedGaussian b(n, k, -1, 1);
          Arena arena;
          Tape<double> tape(arena);
          const auto kl = sample::kl_divergence(tape, TruncatedGaussian<double>{column(tape, {m}), column(tape, {l})},
                                                TruncatedGaussian<double>{column(tape, {n}), column(tape, {k})});
          const double deviation = std::sqrt(a.k2);
          double expected = 0;  // by panels of one deviation
          for (int i = -40; i < 40; ++i) {
            const double from = std::max(a.first, a.mean + i * deviation), to = std::min(a.last, a.mean + (i + 1) * deviation);
            if (from >= to) continue;
            for (int j = 0; j < 48; ++j) {
              const double v =
                  0.5 * (from + to) + 0.5 * (to - from) * kernel::kGaussLegendre.nodes[static_cast<std::size_t>(j)];
              const double ratio = a.log_density(v) - b.log_density(b.at(a.location(v)));
              expected += 0.5 * (to - from) * kernel::kGaussLegendre.weights[static_cast<std::size_t>(j)] * a.sigma *
                          std::exp(a.log_density(v)) * ratio;
            }
          }
          INFO("m = ", m, ", log sigma = ", l, "; ", n, ", ", k);
          CHECK(measured("divergence: truncated Gaussian", relative_gap(kl.value[0], expected, 1e-3)) <= 1e-8);
        }
      }
    }
  }
}
