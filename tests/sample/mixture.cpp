// SPDX-License-Identifier: MIT
#include "support/measured.hpp"
#include "support/op_registry.hpp"
#include <fovea/sample/mixture.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

using namespace fovea;
using fovea_test::extent;
using fovea_test::OpRegistry;
using sample::Mixture;
using sample::NoiseKey;

namespace {

/// One row of a mixture in long double, as simply as it can be written.
struct Reference {
  std::vector<long double> logits, mean, log_deviation;
  Index dimension;

  [[nodiscard]] std::size_t at(std::size_t m, Index d) const {
    return m * static_cast<std::size_t>(dimension) + static_cast<std::size_t>(d);
  }
  [[nodiscard]] long double normal(std::size_t m, Index d, long double z) const {
    const long double sigma = std::exp(log_deviation[at(m, d)]);
    const long double u = (z - mean[at(m, d)]) / sigma;
    return std::exp(-u * u / 2) / (sigma * std::sqrt(2 * std::numbers::pi_v<long double>));
  }
  /// F(z_d | z_<d).
  [[nodiscard]] long double conditional(Index d, const std::vector<long double>& z) const {
    long double total = 0;
    long double below = 0;
    for (std::size_t m = 0; m < logits.size(); ++m) {
      long double weight = std::exp(logits[m]);
      for (Index j = 0; j < d; ++j) weight *= normal(m, j, z[static_cast<std::size_t>(j)]);
      const long double u = (z[static_cast<std::size_t>(d)] - mean[at(m, d)]) / std::exp(log_deviation[at(m, d)]);
      total += weight;
      below += weight * std::erfc(-u / std::numbers::sqrt2_v<long double>) / 2;
    }
    return below / total;
  }
  /// The z at which every conditional distribution function is as given: by bisection, dimension by dimension.
  [[nodiscard]] std::vector<long double> solve(const std::vector<long double>& quantiles, std::vector<long double> z) const {
    for (Index d = 0; d < dimension; ++d) {
      const auto i = static_cast<std::size_t>(d);
      long double low = z[i] - 1;
      long double high = z[i] + 1;
      for (int step = 0; step < 80; ++step) {
        z[i] = (low + high) / 2;
        (conditional(d, z) < quantiles[i] ? low : high) = z[i];
      }
    }
    return z;
  }
  [[nodiscard]] long double log_density(const std::vector<long double>& z) const {
    std::vector<long double> joint;
    long double total = 0;
    const long double most_logit = *std::max_element(logits.begin(), logits.end());
    for (std::size_t m = 0; m < logits.size(); ++m) {
      long double sum = logits[m];
      for (Index d = 0; d < dimension; ++d) {
        const long double u = (z[static_cast<std::size_t>(d)] - mean[at(m, d)]) / std::exp(log_deviation[at(m, d)]);
        sum -= u * u / 2 + log_deviation[at(m, d)] + std::log(2 * std::numbers::pi_v<long double>) / 2;
      }
      joint.push_back(sum);
      total += std::exp(logits[m] - most_logit);
    }
    const long double most = *std::max_element(joint.begin(), joint.end());
    long double density = 0;
    for (const long double j : joint) density += std::exp(j - most);
    return std::log(density) + most - std::log(total) - most_logit;
  }
};

template <class T>
std::vector<long double> row_of(const Var<T>& x, Index b) {
  const Index size = x.size() / x.shape[0];
  return {x.value + b * size, x.value + (b + 1) * size};
}
template <class T>
Reference reference(const Mixture<T>& q, Index b) {
  return {row_of(q.logits, b), row_of(q.mean, b), row_of(q.log_deviation, b), q.dimension()};
}

/// A mixture whose parameters are normal.
template <class C>
Mixture<typename C::Scalar> random_mixture(C& c, Stream& s, Index batch, Index components, Index dimension, double spread = 1,
                                           double log_deviations = 0.5) {
  using T = typename C::Scalar;
  const auto fill = [&](const Shape& shape, double deviation) {
    const auto v = c.variable(shape);
    for (Index i = 0; i < v.size(); ++i) v.value[i] = static_cast<T>(deviation * s.normal<double>());
    return v;
  };
  const Shape shape{batch, components, dimension};
  return {fill({batch, components}, 1), fill(shape, spread), fill(shape, log_deviations)};
}

}  // namespace

TEST_CASE("mixture: derivatives of density, mean and Monte Carlo entropy") {
  OpRegistry ops;
  ops.add("log_density", [](Stream& s, GradientCheck& check) {
    const Index b = extent(s), m = extent(s), d = extent(s, 1, 4);
    check.input({b, m}, s).input({b, m, d}, s).input({b, m, d}, s, 0.5).input({b, d}, s);
    return [](auto& c, auto in) { return sample::log_density(c, Mixture<double>{in[0], in[1], in[2]}, in[3]); };
  });
  ops.add("mean", [](Stream& s, GradientCheck& check) {
    const Index b = extent(s), m = extent(s), d = extent(s, 1, 4);
    check.input({b, m}, s).input({b, m, d}, s).input({b, m, d}, s, 0.5);
    return [](auto& c, auto in) { return sample::mean(c, Mixture<double>{in[0], in[1], in[2]}); };
  });
  ops.check_all();
}

TEST_CASE("mixture: pathwise derivatives of draws against differences of the quantile, to 1e-6") {
  double worst = 0;
  Index checked = 0;
  for (std::uint64_t trial = 0; trial < 12; ++trial) {
    Stream s(2016, 0, trial, Purpose::test);
    const Index batch = 3, components = extent(s, 1, 4), dimension = extent(s, 1, 3);
    Arena arena;
    Tape<double> c(arena);
    const Mixture<double> q = random_mixture(c, s, batch, components, dimension);
    const auto z = sample::draw(c, q, NoiseKey{.seed = trial});
    std::vector<double> weights;  // of the dimensions: one derivative of their sum
    for (Index i = 0; i < z.size(); ++i) {
      weights.push_back(s.normal<double>());
      z.gradient[i] = weights.back();
    }
    c.backward();
    for (Index b = 0; b < batch; ++b) {
      const Reference exact = reference(q, b);
      const std::vector<long double> here = row_of(z, b);
      std::vector<long double> quantiles;
      for (Index d = 0; d < dimension; ++d) quantiles.push_back(exact.conditional(d, here));
      double largest = 0;
      const auto difference = [&](auto member, std::size_t i) {
        const auto moved = [&](long double h) {
          Reference other = exact;
          (other.*member)[i] += h;
          const auto there = other.solve(quantiles, here);
          long double sum = 0;
          for (Index d = 0; d < dimension; ++d) {
            sum += static_cast<long double>(weights[static_cast<std::size_t>(b * dimension + d)]) *
                   there[static_cast<std::size_t>(d)];
          }
          return sum;
        };
        constexpr long double h = 1e-4L;
        const auto quotient = [&](long double by) { return (moved(by) - moved(-by)) / (2 * by); };
        return static_cast<double>((4 * quotient(h / 2) - quotient(h)) / 3);
      };
      std::vector<std::pair<double, double>> pairs;  // found, expected
      const auto compare = [&](auto member, const Var<double>& x) {
        const Index size = x.size() / batch;
        for (Index i = 0; i < size; ++i) {
          const double expected = difference(member, static_cast<std::size_t>(i));
          largest = std::max(largest, std::abs(expected));
          pairs.emplace_back(x.gradient[b * size + i], expected);
        }
      };
      compare(&Reference::logits, q.logits);
      compare(&Reference::mean, q.mean);
      compare(&Reference::log_deviation, q.log_deviation);
      for (const auto& [found, expected] : pairs) {
        worst = std::max(worst, std::abs(found - expected) / std::max(std::abs(expected), 1e-3 * largest));
        ++checked;
      }
    }
  }
  MESSAGE("worst relative error of ", checked, " derivatives: ", worst);
  CHECK(fovea_test::measured("pathwise: mixture of Gaussians", worst) <= 1e-6);
  CHECK(checked > 300);
}

TEST_CASE("mixture: one component is a Gaussian, and equal components are one") {
  for (const Index components : {Index{1}, Index{3}}) {
    Stream s(3);
    Arena arena;
    Tape<double> c(arena);
    const Mixture<double> q = random_mixture(c, s, 4, components, 2);
    for (Index b = 0; b < 4; ++b) {
      for (Index m = 1; m < components; ++m) {
        std::copy_n(q.mean.value + b * components * 2, 2, q.mean.value + (b * components + m) * 2);
        std::copy_n(q.log_deviation.value + b * components * 2, 2, q.log_deviation.value + (b * components + m) * 2);
      }
    }
    const auto z = sample::draw(c, q, NoiseKey{.seed = 2});
    std::fill_n(z.gradient, z.size(), 1.0);
    c.backward();
    for (Index b = 0; b < 4; ++b) {
      for (Index d = 0; d < 2; ++d) {
        double d_mean = 0;
        double d_log = 0;
        for (Index m = 0; m < components; ++m) {
          d_mean += q.mean.gradient[(b * components + m) * 2 + d];
          d_log += q.log_deviation.gradient[(b * components + m) * 2 + d];
        }
        CHECK(d_mean == doctest::Approx(1).epsilon(1e-12));
        CHECK(d_log == doctest::Approx(z.value[b * 2 + d] - q.mean.value[b * components * 2 + d]).epsilon(1e-12));
      }
      for (Index m = 0; m < components; ++m) CHECK(std::abs(q.logits.gradient[b * components + m]) < 1e-12);
    }
  }
}

TEST_CASE("mixture: draws have the mixture's distribution") {
  constexpr Index count = 20000;
  Arena arena;
  Inference<double> c(arena);
  Mixture<double> q{c.constant(Shape{1, 2}), c.constant(Shape{1, 2, 1}), c.constant(Shape{1, 2, 1})};
  q.logits.value[0] = 0.4, q.logits.value[1] = -0.6;
  q.mean.value[0] = -0.5, q.mean.value[1] = 0.8;
  q.log_deviation.value[0] = -1.2, q.log_deviation.value[1] = -0.3;
  const Reference exact = reference(q, 0);
  const auto z = sample::draw(c, sample::repeat(c, q, count), NoiseKey{.seed = 12});
  std::vector<double> sorted(z.value, z.value + count);
  std::sort(sorted.begin(), sorted.end());
  double worst = 0;
  double sum = 0;
  for (Index i = 0; i < count; ++i) {
    const auto p = static_cast<double>(exact.conditional(0, {static_cast<long double>(sorted[static_cast<std::size_t>(i)])}));
    worst = std::max(worst, std::abs(p - (static_cast<double>(i) + 0.5) / count));
    sum += sorted[static_cast<std::size_t>(i)];
  }
  CHECK(worst * std::sqrt(count) < 1.95);
  CHECK(sum / count == doctest::Approx(sample::mean(c, q).value[0]).epsilon(0.05));
  const auto entropy = sample::entropy(c, q, sample::MonteCarlo{{.seed = 4}, 20000});
  double integral = 0;
  constexpr int points = 4000;
  for (int i = 0; i < points; ++i) {
    const long double l = exact.log_density({-6 + 12 * (i + 0.5L) / points});
    integral -= static_cast<double>(std::exp(l) * l) * 12 / points;
  }
  CHECK(std::abs(entropy.item() - integral) < 0.03);
}

TEST_CASE_TEMPLATE("mixture: log-density against long double, deviations from 1e-6 to 1e3, logits to 80", T, float, double) {
  const double tolerance = sizeof(T) == 4 ? 1e-6 : 1e-12;
  for (const double log_deviation : {std::log(1e-6), std::log(1e-3), 0.0, std::log(1e3)}) {
    for (const double range : {1.0, 80.0}) {
      Stream s(5);
      Arena arena;
      Tape<T> c(arena);
      const Mixture<T> q = random_mixture(c, s, 8, 3, 2);
      for (Index i = 0; i < q.logits.size(); ++i) q.logits.value[i] *= static_cast<T>(range);
      for (Index i = 0; i < q.log_deviation.size(); ++i) q.log_deviation.value[i] += static_cast<T>(log_deviation);
      const auto z = sample::draw(c, q, NoiseKey{.seed = 1});
      const auto l = sample::log_density(c, q, z);
      for (Index b = 0; b < 8; ++b) {
        const long double expected = reference(q, b).log_density(row_of(z, b));
        const auto error = static_cast<double>(std::abs(l.value[b] - expected) / std::max(1.0L, std::abs(expected)));
        CHECK(fovea_test::measured(sizeof(T) == 4 ? "density: mixture float" : "density: mixture", error) <= tolerance);
      }
      c.backward(nn::sum(c, l));
      for (const Var<T>& x : {q.logits, q.mean, q.log_deviation}) {
        for (Index i = 0; i < x.size(); ++i) CHECK(std::isfinite(x.gradient[i]));
      }
    }
  }
}

TEST_CASE("mixture: the mode is where no place around is better") {
  Stream s(9);
  Arena arena;
  Inference<double> c(arena);
  Tape<double> t(arena);
  const Mixture<double> q = random_mixture(t, s, 20, 4, 2, 1.0, 0.3);
  const auto best = sample::mode(c, q);
  for (Index b = 0; b < 20; ++b) {
    const Reference exact = reference(q, b);
    const auto here = row_of(best, b);
    const long double top = exact.log_density(here);
    for (Index i = 0; i < 41 * 41; ++i) {
      const std::vector<long double> there{-3 + 6 * static_cast<long double>(i % 41) / 40,
                                           -3 + 6 * static_cast<long double>(i / 41) / 40};
      CHECK(exact.log_density(there) <= top + 1e-12L);
    }
    const long double step = 1e-4L;
    for (const auto& [x, y] : {std::pair{step, 0.0L}, {-step, 0.0L}, {0.0L, step}, {0.0L, -step}}) {
      CHECK(exact.log_density({here[0] + x, here[1] + y}) <= top);
    }
  }
}

TEST_CASE("mixture: what does not fit is refused") {
  Arena arena;
  Inference<float> c(arena);
  const Mixture<float> q{c.constant(Shape{2, 3}), c.constant(Shape{2, 3, 2}), c.constant(Shape{2, 3, 1})};
  CHECK_THROWS_WITH_AS((void)sample::draw(c, q, NoiseKey{}),
                       "mixture draw: means and log-deviations [2, 3, D] expected, shapes [2x3x2] and [2x3x1] came", Error);
}
