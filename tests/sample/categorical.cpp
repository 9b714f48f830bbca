// SPDX-License-Identifier: MIT
#include "support/measured.hpp"
#include "support/message_of.hpp"
#include "support/op_registry.hpp"
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/grid.hpp>
#include <fovea/sample/relaxed_categorical.hpp>
#include <fovea/sample/top_k.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::channels;
using fovea_test::extent;
using fovea_test::OpRegistry;
using sample::Categorical;
using sample::Grid;
using sample::NoiseKey;
using sample::RelaxedCategorical;

namespace {

std::vector<double> gumbels(Stream& s, Index count) {
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = -std::log(-std::log(s.uniform<double>()));
  return values;
}

template <class C>
VarOf<C> constant(C& context, const Shape& shape, const std::vector<double>& values) {
  const auto v = context.constant(shape);
  for (Index i = 0; i < v.size(); ++i) v.value[i] = static_cast<typename C::Scalar>(values[static_cast<std::size_t>(i)]);
  return v;
}
template <class C>
VarOf<C> variable(C& context, const Shape& shape, const std::vector<double>& values) {
  const auto v = context.variable(shape);
  for (Index i = 0; i < v.size(); ++i) v.value[i] = static_cast<typename C::Scalar>(values[static_cast<std::size_t>(i)]);
  return v;
}

/// log softmax of what the library got, in long double.
template <class T>
std::vector<long double> exact_log_softmax(const T* x, Index n) {
  const long double most = *std::max_element(x, x + n);
  const Index at = std::max_element(x, x + n) - x;
  long double others = 0;
  for (Index i = 0; i < n; ++i) others += i == at ? 0 : std::exp(static_cast<long double>(x[i]) - most);
  std::vector<long double> out;
  for (Index i = 0; i < n; ++i) out.push_back(static_cast<long double>(x[i]) - most - std::log1p(others));
  return out;
}

/// The largest deviation of the draws' distribution function from `cdf`, times sqrt(n): beyond 1.95 once in a thousand.
template <class F>
double kolmogorov_smirnov(std::vector<double> draws, F cdf) {
  std::sort(draws.begin(), draws.end());
  const auto n = static_cast<double>(draws.size());
  double worst = 0;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    const double p = cdf(draws[i]);
    worst = std::max({worst, p - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - p});
  }
  return worst * std::sqrt(n);
}

}  // namespace

TEST_CASE("categorical: derivatives") {
  OpRegistry ops;
  ops.add("log_softmax", [](Stream& s, GradientCheck& check) {
    check.input({extent(s), channels(s)}, s, 2);
    return [](auto& c, auto in) { return sample::log_softmax(c, in[0]); };
  });
  ops.add("probabilities", [](Stream& s, GradientCheck& check) {
    check.input({extent(s), channels(s)}, s, 2);
    return [](auto& c, auto in) { return sample::probabilities(c, Categorical<double>{in[0]}); };
  });
  ops.add("log_density, weights on the simplex or off it", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), channels(s)};
    check.input(shape, s, 2).uniform_input(shape, s, 0.1, 1);
    return [](auto& c, auto in) { return sample::log_density(c, Categorical<double>{in[0]}, in[1]); };
  });
  ops.add("entropy", [](Stream& s, GradientCheck& check) {
    check.input({extent(s), channels(s)}, s, 2);
    return [](auto& c, auto in) { return sample::entropy(c, Categorical<double>{in[0]}); };
  });
  ops.add("kl_divergence", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), channels(s)};
    check.input(shape, s, 2).input(shape, s, 2);
    return [](auto& c, auto in) { return sample::kl_divergence(c, Categorical<double>{in[0]}, Categorical<double>{in[1]}); };
  });
  ops.add("perturbed_logits", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), channels(s)};
    check.input(shape, s);
    return [g = gumbels(s, shape.size()), shape](auto& c, auto in) {
      return sample::perturbed_logits(c, in[0], constant(c, shape, g));
    };
  });
  ops.add("conditional_gumbels", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), channels(s)};
    check.input(shape, s);
    std::vector<double> uniform(static_cast<std::size_t>(shape.size()));
    for (double& u : uniform) u = s.uniform<double>();
    return [uniform, g = gumbels(s, shape.size()), shape](auto& c, auto in) {
      const auto cell = sample::draw(c, Categorical<double>{constant(c, shape, g)}, constant(c, shape, g));
      return sample::conditional_gumbels(c, in[0], cell, constant(c, shape, uniform));
    };
  });
  ops.check_all();
}

TEST_CASE("relaxed categorical: derivatives, of draws against the noise map, at temperatures from 0.05 to 10") {
  OpRegistry ops;
  for (const double temperature : {0.05, 0.5, 1.0, 10.0}) {
    ops.add("draw", [=](Stream& s, GradientCheck& check) {
      const Shape shape{extent(s), channels(s)};
      // At a low temperature near a tie: elsewhere weights are 1 and 0 to rounding, and differences of them nothing but that.
      const double spread = std::min(1.0, temperature);
      check.input(shape, s, 2 * spread);
      check.step = 1e-3 * spread;
      std::vector<double> noise = gumbels(s, shape.size());
      for (double& g : noise) g *= spread;
      return [noise, shape, temperature](auto& c, auto in) {
        return sample::draw(c, RelaxedCategorical<double>{in[0], temperature}, constant(c, shape, noise));
      };
    });
    ops.add("log_density", [=](Stream& s, GradientCheck& check) {
      const Shape shape{extent(s), channels(s)};
      check.input(shape, s, 2).uniform_input(shape, s, 0.05, 0.5);
      return [temperature](auto& c, auto in) {
        return sample::log_density(c, RelaxedCategorical<double>{in[0], temperature}, in[1]);
      };
    });
  }
  ops.add("mean", [](Stream& s, GradientCheck& check) {
    check.input({extent(s), channels(s)}, s);
    return [](auto& c, auto in) { return sample::mean(c, RelaxedCategorical<double>{in[0], 0.3}); };
  });
  ops.add("mode", [](Stream& s, GradientCheck& check) {
    check.input({extent(s), channels(s)}, s);
    return [](auto& c, auto in) { return sample::mode(c, RelaxedCategorical<double>{in[0], 0.3}); };
  });
  ops.add("entropy by Monte Carlo", [](Stream& s, GradientCheck& check) {
    check.input({extent(s), channels(s)}, s);
    return [](auto& c, auto in) {
      return sample::entropy(c, RelaxedCategorical<double>{in[0], 0.7}, sample::MonteCarlo{{.seed = 3}, 2});
    };
  });
  for (const auto& op : ops.ops()) {
    for (std::uint64_t i = 0; op.name == "draw" && i < 8; ++i) {
      Stream stream(2020, 0, i, Purpose::test);
      CHECK(fovea_test::measured("pathwise: Concrete", op.run(stream).worst) <= 1e-6);
    }
  }
  ops.check_all();
}

TEST_CASE("top-k, grid: derivatives") {
  OpRegistry ops;
  ops.add("log_density of an ordered draw", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), channels(s)};
    check.input(shape, s, 2);
    const Index k = extent(s, 1, shape[1]);
    return [g = gumbels(s, shape.size()), shape, k](auto& c, auto in) {
      const auto noise = constant(c, shape, g);
      return sample::log_density(c, Categorical<double>{in[0]}, sample::draw_top_k(c, Categorical<double>{noise}, noise, k));
    };
  });
  ops.add("locations", [](Stream& s, GradientCheck& check) {
    const Grid grid{extent(s), extent(s)};
    check.input({extent(s), grid.cells()}, s);
    return [grid](auto& c, auto in) { return sample::locations(c, grid, in[0]); };
  });
  ops.check_all();
}

TEST_CASE_TEMPLATE("categorical: log-probabilities, entropy and divergence against long double, logits to 200", T, float,
                   double) {
  const double tolerance = sizeof(T) == 4 ? 1e-6 : 1e-13;
  constexpr T least = std::numeric_limits<T>::min();
  for (const Index n : {Index{1}, Index{2}, Index{5}, Index{64}}) {
    for (const double range : {1e-4, 1.0, 80.0, 200.0}) {
      Stream s(7, 0, static_cast<std::uint64_t>(n), Purpose::test);
      Arena arena;
      Tape<T> c(arena);
      std::vector<double> values;
      for (Index i = 0; i < 2 * n; ++i) values.push_back(s.uniform(-range, range));
      const auto x = variable(c, Shape{1, n}, {values.begin(), values.begin() + n});
      const auto y = variable(c, Shape{1, n}, {values.begin() + n, values.end()});
      const auto lp = exact_log_softmax(x.value, n);
      const auto lr = exact_log_softmax(y.value, n);
      const auto log_p = sample::log_softmax(c, x);
      long double entropy = 0;
      long double divergence = 0;
      for (std::size_t i = 0; i < lp.size(); ++i) {
        CHECK(std::abs(log_p.value[i] - lp[i]) <= tolerance * std::abs(lp[i]) + least);
        entropy -= std::exp(lp[i]) * lp[i];
        const long double d = lp[i] - lr[i];
        divergence += std::exp(lp[i]) * (std::abs(d) < 1 ? d + std::expm1(-d) : d + std::exp(lr[i] - lp[i]) - 1);
      }
      const auto h = sample::entropy(c, Categorical<T>{x});
      const auto kl = sample::kl_divergence(c, Categorical<T>{x}, Categorical<T>{y});
      CHECK(std::abs(h.item() - entropy) <= tolerance * entropy + least);
      CHECK(std::abs(kl.item() - divergence) <= std::max(tolerance, 1e-9) * divergence + least);
      if (divergence > 1e-30L) {
        fovea_test::measured(sizeof(T) == 4 ? "divergence: categorical float" : "divergence: categorical",
                             static_cast<double>(std::abs(kl.item() - divergence) / divergence));
      }
      CHECK(kl.item() >= T(0));
      CHECK(sample::kl_divergence(c, Categorical<T>{x}, Categorical<T>{x}).item() == T(0));
      c.backward(nn::sum(c, nn::add(c, h, kl)));
      double total = 0;
      for (Index i = 0; i < n; ++i) {
        CHECK(std::isfinite(x.gradient[i]));
        CHECK(std::isfinite(y.gradient[i]));
        total += static_cast<double>(x.gradient[i]) + static_cast<double>(y.gradient[i]);
      }
      CHECK(std::abs(total) <= tolerance * 400);  // logits may be shifted
    }
  }
}

TEST_CASE_TEMPLATE("categorical: a cell of logit -infinity is never drawn and gives no NaN", T, float, double) {
  constexpr double none = -std::numeric_limits<double>::infinity();
  Arena arena;
  Tape<T> c(arena);
  const auto x = variable(c, Shape{200, 3}, [] {
    std::vector<double> values;
    for (int i = 0; i < 200; ++i) values.insert(values.end(), {0.5, none, -0.5});
    return values;
  }());
  const Categorical<T> q{x};
  const auto z = sample::draw(c, q, NoiseKey{.seed = 1});
  const auto l = sample::log_density(c, q, z);
  const auto h = sample::entropy(c, q);
  c.backward(nn::sum(c, nn::add(c, l, h)));
  for (Index b = 0; b < 200; ++b) {
    CHECK(z.value[3 * b + 1] == T(0));
    CHECK(std::isfinite(l.value[b]));
    CHECK(std::isfinite(h.value[b]));
    for (Index i = 0; i < 3; ++i) CHECK(std::isfinite(x.gradient[3 * b + i]));
  }
}

TEST_CASE("categorical: draws have the probabilities asked for") {
  constexpr Index count = 40000;
  constexpr Index n = 6;
  const std::vector<double> logits{0.0, 1.5, -1.0, 0.3, -2.5, 0.9};
  Arena arena;
  Inference<float> c(arena);
  const auto x = nn::repeat_samples(c, constant(c, Shape{1, n}, logits), count);
  const Categorical<float> q{x};
  const auto z = sample::draw(c, q, NoiseKey{.seed = 11});
  const auto soft = sample::draw(c, RelaxedCategorical<float>{x, 0.4}, NoiseKey{.seed = 11});
  const auto p = sample::probabilities(c, q);
  std::vector<double> seen(n);
  for (Index b = 0; b < count; ++b) {
    const float* row = z.value + b * n;
    const Index cell = std::max_element(row, row + n) - row;
    CHECK(std::count(row, row + n, 0.0F) == n - 1);
    CHECK(row[cell] == 1.0F);
    const float* weights = soft.value + b * n;
    CHECK(std::max_element(weights, weights + n) - weights == cell);
    seen[static_cast<std::size_t>(cell)] += 1;
  }
  double chi_square = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double expected = count * static_cast<double>(p.value[i]);
    chi_square += (seen[i] - expected) * (seen[i] - expected) / expected;
  }
  CHECK(chi_square < 20.5);  // 5 degrees of freedom: 0.001
  const auto most = sample::mode(c, q);
  CHECK(most.value[1] == 1.0F);
  CHECK(std::count(most.value, most.value + n, 0.0F) == n - 1);
}

TEST_CASE("conditional gumbels: greatest at the cell, and distributed as perturbed logits are given the cell") {
  constexpr Index count = 20000;
  const std::vector<double> logits{0.4, -0.7, 1.1};
  Arena arena;
  Inference<double> c(arena);
  const auto x = nn::repeat_samples(c, constant(c, Shape{1, 3}, logits), count);
  const auto z = sample::draw(c, Categorical<double>{x}, NoiseKey{.seed = 5});
  const auto v = sample::conditional_gumbels(c, x, z, sample::uniform_noise(c, NoiseKey{.seed = 6}, count, 3));
  std::vector<double> greatest;
  std::vector<double> truncated;  // of cell 0 where another was drawn, as a quantile of a Gumbel below the greatest
  const auto lp = exact_log_softmax(x.value, 3);
  for (Index b = 0; b < count; ++b) {
    const double* row = v.value + 3 * b;
    const Index cell = std::max_element(row, row + 3) - row;
    CHECK(z.value[3 * b + cell] == 1.0);
    greatest.push_back(row[cell]);
    if (cell == 0) continue;
    const auto cdf = [&](double at) { return std::exp(-std::exp(static_cast<double>(lp[0]) - at)); };
    truncated.push_back(cdf(row[0]) / cdf(row[cell]));
  }
  CHECK(kolmogorov_smirnov(greatest, [](double at) { return std::exp(-std::exp(-at)); }) < 1.95);
  CHECK(kolmogorov_smirnov(truncated, [](double at) { return at; }) < 1.95);
}

TEST_CASE("relaxed categorical: the density integrates to 1") {
  Arena arena;
  Inference<double> c(arena);
  constexpr Index points = 4000;
  for (const double temperature : {0.3, 0.8, 2.0, 10.0}) {
    // Over a = logit(z_0), so that the corners are far away: dz = z (1 - z) da.
    const auto x = nn::repeat_samples(c, constant(c, Shape{1, 2}, {0.6, -0.3}), points);
    const auto z = c.constant(Shape{points, 2});
    const double reach = 60 / temperature;
    for (Index i = 0; i < points; ++i) {
      const double a = reach * (2 * (static_cast<double>(i) + 0.5) / points - 1);
      z.value[2 * i] = 1 / (1 + std::exp(-a));
      z.value[2 * i + 1] = 1 / (1 + std::exp(a));
    }
    const auto l = sample::log_density(c, RelaxedCategorical<double>{x, temperature}, z);
    double total = 0;
    for (Index i = 0; i < points; ++i) {
      total += std::exp(l.value[i]) * z.value[2 * i] * z.value[2 * i + 1] * 2 * reach / points;
    }
    CHECK(total == doctest::Approx(1).epsilon(1e-9));
  }
  {  // three cells at temperature 1, over the triangle
    constexpr Index side = 300;
    const auto z = c.constant(Shape{side * side, 3});
    const auto x = nn::repeat_samples(c, constant(c, Shape{1, 3}, {0.2, -0.4, 0.1}), side * side);
    std::vector<double> area(side * side);
    for (Index i = 0; i < side; ++i) {
      for (Index j = 0; j < side; ++j) {
        const double u = (static_cast<double>(i) + 0.5) / side;
        const double w = (static_cast<double>(j) + 0.5) / side;
        double* row = z.value + 3 * (i * side + j);
        row[0] = u;
        row[1] = (1 - u) * w;
        row[2] = (1 - u) * (1 - w);
        area[static_cast<std::size_t>(i * side + j)] = (1 - u) / (side * side);
      }
    }
    const auto l = sample::log_density(c, RelaxedCategorical<double>{x, 1.0}, z);
    double total = 0;
    for (Index i = 0; i < side * side; ++i) total += std::exp(l.value[i]) * area[static_cast<std::size_t>(i)];
    CHECK(total == doctest::Approx(1).epsilon(1e-3));
  }
}

TEST_CASE("relaxed categorical: log-densities as torch.distributions gives them") {
  // torch.distributions.RelaxedOneHotCategorical(torch.tensor(t), logits=torch.tensor(x)).log_prob(torch.tensor(z)), float64
  struct Golden {
    double temperature;
    std::vector<double> x, z;
    double log_density;
  };
  for (const Golden& g :
       std::vector<Golden>{{0.5, {0.0, 1.0, -1.0}, {0.2, 0.7, 0.1}, 0.02678319759586767},
                           {0.05, {3.0, -2.0}, {0.999, 0.001}, -0.7605830042158637},
                           {10.0, {80.0, -80.0, 0.5, 1.0}, {0.25, 0.25, 0.4, 0.1}, -299.34614967839764},
                           {1.0, {0.3, 0.1, -0.2, 2.0, -3.0}, {0.1, 0.2, 0.3, 0.15, 0.25}, -2.151507523518605}}) {
    Arena arena;
    Inference<double> c(arena);
    Inference<float> f(arena);
    const Shape shape{1, static_cast<Index>(g.x.size())};
    const auto l =
        sample::log_density(c, RelaxedCategorical<double>{constant(c, shape, g.x), g.temperature}, constant(c, shape, g.z));
    CHECK(l.item() == doctest::Approx(g.log_density).epsilon(1e-12));
    const auto m =
        sample::log_density(f, RelaxedCategorical<float>{constant(f, shape, g.x), g.temperature}, constant(f, shape, g.z));
    CHECK(static_cast<double>(m.item()) == doctest::Approx(g.log_density).epsilon(1e-5));
  }
}

TEST_CASE_TEMPLATE("relaxed categorical: finite at every extreme", T, float, double) {
  for (const Index n : {Index{1}, Index{2}, Index{64}}) {
    for (const double temperature : {0.05, 0.5, 10.0}) {
      for (const double range : {1.0, 80.0}) {
        Stream s(3, 0, static_cast<std::uint64_t>(n), Purpose::test);
        Arena arena;
        Tape<T> c(arena);
        std::vector<double> logits;
        for (Index i = 0; i < 20 * n; ++i) logits.push_back(s.uniform(-range, range));
        const auto x = variable(c, Shape{20, n}, logits);
        const RelaxedCategorical<T> q{x, temperature};
        const auto z = sample::draw(c, q, NoiseKey{.seed = 8});
        const auto l = sample::log_density(c, q, z);
        c.backward(nn::sum(c, nn::add(c, l, nn::sum_per_sample(c, nn::multiply(c, z, z)))));
        for (Index b = 0; b < 20; ++b) {
          double total = 0;
          for (Index i = 0; i < n; ++i) {
            total += static_cast<double>(z.value[b * n + i]);
            CHECK(std::isfinite(x.gradient[b * n + i]));
          }
          CHECK(std::abs(total - 1) < 1e-5);
          CHECK(std::isfinite(l.value[b]));
        }
      }
    }
  }
}

TEST_CASE("top-k: ordered draws have Plackett and Luce's probabilities, which add to 1") {
  constexpr Index count = 30000;
  constexpr Index n = 4;
  Arena arena;
  Inference<double> c(arena);
  const auto x = constant(c, Shape{1, n}, {0.3, -0.8, 1.2, 0.0});
  const auto many = nn::repeat_samples(c, x, count);
  const auto top = sample::draw_top_k(c, Categorical<double>{many}, NoiseKey{.seed = 4}, 2);
  const auto first = sample::draw(c, Categorical<double>{many}, NoiseKey{.seed = 4});
  std::map<std::pair<int, int>, double> seen;
  for (Index b = 0; b < count; ++b) {
    seen[{top.cells(b, 0), top.cells(b, 1)}] += 1;
    CHECK(first.value[b * n + top.cells(b, 0)] == 1.0);
    for (Index j = 0; j < 2; ++j) CHECK(top.one_hot.value[(2 * b + j) * n + top.cells(b, j)] == 1.0);
  }
  const auto l = sample::log_density(c, Categorical<double>{many}, top);
  double chi_square = 0;
  double total = 0;
  for (const auto& [cells, times] : seen) {
    const auto lp = exact_log_softmax(x.value, n);
    const auto a = std::exp(static_cast<double>(lp[static_cast<std::size_t>(cells.first)]));
    const double p = a * std::exp(static_cast<double>(lp[static_cast<std::size_t>(cells.second)])) / (1 - a);
    total += p;
    chi_square += (times - count * p) * (times - count * p) / (count * p);
    for (Index b = 0; b < 50; ++b) {
      if (std::pair<int, int>{top.cells(b, 0), top.cells(b, 1)} == cells) {
        CHECK(l.value[b] == doctest::Approx(std::log(p)).epsilon(1e-12));
      }
    }
  }
  CHECK(seen.size() == 12);
  CHECK(total == doctest::Approx(1).epsilon(1e-12));
  CHECK(chi_square < 31.3);  // 11 degrees of freedom: 0.001
}

TEST_CASE("top-k: importance weights give means and their gradients without bias") {
  constexpr Index count = 40000;
  constexpr Index n = 5;
  const std::vector<double> f{1.0, -2.0, 0.5, 3.0, -1.0};
  for (const Index k : {Index{1}, Index{3}, Index{5}}) {
    Arena arena;
    Tape<double> c(arena);
    const auto x = variable(c, Shape{1, n}, {0.3, -0.8, 1.2, 0.0, -1.5});
    const auto many = variable(c, Shape{count, n}, [&] {
      std::vector<double> values;
      for (Index b = 0; b < count; ++b) values.insert(values.end(), x.value, x.value + n);
      return values;
    }());
    const auto top = sample::draw_top_k(c, Categorical<double>{many}, NoiseKey{.seed = 9}, k);
    const auto w = sample::importance_weights(c, Categorical<double>{many}, top);
    for (Index b = 0; b < count; ++b) {
      for (Index j = 0; j < k; ++j) w.gradient[b * k + j] = f[static_cast<std::size_t>(top.cells(b, j))];
    }
    c.backward();
    const auto lp = exact_log_softmax(x.value, n);
    double exact = 0;
    for (std::size_t i = 0; i < f.size(); ++i) exact += std::exp(static_cast<double>(lp[i])) * f[i];
    // The value, then the gradient to each logit: p_i (f_i - E f).
    for (Index i = -1; i < n; ++i) {
      double mean = 0;
      double square = 0;
      for (Index b = 0; b < count; ++b) {
        double value = i < 0 ? 0 : many.gradient[b * n + i];
        for (Index j = 0; i < 0 && j < k; ++j) value += w.value[b * k + j] * f[static_cast<std::size_t>(top.cells(b, j))];
        mean += value / count;
        square += value * value / count;
      }
      const auto at = static_cast<std::size_t>(std::max(i, Index{0}));
      const double expected = i < 0 ? exact : std::exp(static_cast<double>(lp[at])) * (f[at] - exact);
      const double error = std::sqrt(std::max(0.0, square - mean * mean) / count);
      CHECK(std::abs(mean - expected) <= 4 * error + 1e-12);
      if (k == n) CHECK(std::abs(mean - expected) <= 1e-12);
    }
  }
}

TEST_CASE_TEMPLATE("top-k: finite at every extreme, and right where one cell has all the weight", T, float, double) {
  for (const Index n : {Index{1}, Index{2}, Index{64}}) {
    for (const double range : {1.0, 80.0}) {
      Stream s(4, 0, static_cast<std::uint64_t>(n), Purpose::test);
      std::vector<double> logits;
      for (Index i = 0; i < 10 * n; ++i) logits.push_back(s.uniform(-range, range));
      for (const Index k : {Index{1}, n}) {
        Arena arena;
        Tape<T> c(arena);
        const auto x = variable(c, Shape{10, n}, logits);
        const auto top = sample::draw_top_k(c, Categorical<T>{x}, NoiseKey{.seed = 8}, k);
        const auto l = sample::log_density(c, Categorical<T>{x}, top);
        const auto w = sample::importance_weights(c, Categorical<T>{x}, top);
        c.backward(nn::sum(c, nn::add(c, l, nn::sum_per_sample(c, w))));
        for (Index i = 0; i < 10 * n; ++i) CHECK(std::isfinite(x.gradient[i]));
        for (Index b = 0; b < 10; ++b) CHECK(l.value[b] <= T(0));
        for (Index i = 0; i < w.size(); ++i) CHECK(std::isfinite(w.value[i]));
        if (k == 1 && n > 1) {  // one draw: Categorical's
          const auto one = sample::log_density(c, Categorical<T>{x}, top.one_hot.reshape({10, n}));
          for (Index b = 0; b < 10; ++b) {
            CHECK(static_cast<double>(l.value[b]) == doctest::Approx(static_cast<double>(one.value[b])).epsilon(2e-6));
          }
        }
      }
    }
  }
}

TEST_CASE("grid: centres tile the square, and every place belongs to the cell around it") {
  const Grid grid{3, 4};
  CHECK(grid.cells() == 12);
  CHECK(grid.x(0) == doctest::Approx(-0.75));
  CHECK(grid.y(0) == doctest::Approx(-2.0 / 3));
  CHECK(grid.x(11) == doctest::Approx(0.75));
  CHECK(grid.y(11) == doctest::Approx(2.0 / 3));
  for (Index i = 0; i < grid.cells(); ++i) {
    for (const double a : {-0.99, 0.0, 0.99}) {
      for (const double b : {-0.99, 0.0, 0.99}) {
        CHECK(grid.cell_of(grid.x(i) + a * grid.half_width(), grid.y(i) + b * grid.half_height()) == i);
      }
    }
  }
  CHECK(grid.cell_of(-5, -5) == 0);
  CHECK(grid.cell_of(5, 5) == 11);
  CHECK(grid.cell_of(1, -1) == 3);
  Arena arena;
  Inference<double> c(arena);
  std::vector<double> weights(12);
  weights[6] = 0.5;
  weights[7] = 0.5;
  const auto at = sample::locations(c, grid, constant(c, Shape{1, 12}, weights));
  CHECK(at.value[0] == doctest::Approx(0.5));
  CHECK(at.value[1] == doctest::Approx(0.0));
}

TEST_CASE("categorical: what does not fit is refused") {
  Arena arena;
  Inference<float> c(arena);
  const auto a = c.constant(Shape{2, 3});
  std::fill_n(a.value, 6, 0.0F);
  const auto b = c.constant(Shape{2, 2});
  const Categorical<float> q{a};
  CHECK_THROWS_WITH_AS((void)sample::log_density(c, q, b), "categorical log-density: cells of shape [2x3] expected, [2x2] came",
                       Error);
  CHECK_THROWS_WITH_AS((void)sample::draw_top_k(c, q, NoiseKey{}, 4), "draw_top_k: k within [1, 3] expected, 4 came", Error);
  CHECK_THROWS_AS((void)sample::draw_top_k(c, q, NoiseKey{}, 0), Error);
  CHECK_THROWS_AS((void)sample::kl_divergence(c, q, Categorical<float>{b}), Error);
  CHECK_THROWS_WITH_AS((void)sample::draw(c, RelaxedCategorical<float>{a, 0.0}, NoiseKey{}),
                       "relaxed categorical draw: a positive temperature expected, 0.000000 came", Error);
  CHECK_THROWS_AS((void)sample::entropy(c, Categorical<float>{c.constant(Shape{2, 0})}), Error);
  CHECK_THROWS_WITH_AS((void)sample::locations(c, Grid{2, 2}, a),
                       "locations: weights [B, 4] for a grid of 2 x 2 cells expected, a shape [2x3] came", Error);
}
