// SPDX-License-Identifier: MIT
// Estimators over the cells of a grid, against the exact gradient by enumeration: 24 components, 1e5 draws.
#include "support/measured.hpp"
#include "support/saccade_problem.hpp"
#include "support/z_test.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/sample/attention_sampling.hpp>
#include <fovea/sample/clipped_policy_gradient.hpp>
#include <fovea/sample/perturbed_top_k.hpp>
#include <fovea/sample/rebar.hpp>
#include <fovea/sample/score_function.hpp>
#include <fovea/sample/straight_through.hpp>
#include <fovea/sample/vimco.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::SaccadeProblem;
using fovea_test::ZTest;

namespace {

constexpr Index kRows = 400;
constexpr Index kPasses = 250;  // 1e5 draws

const SaccadeProblem<double>& problem() {
  static const SaccadeProblem<double> it;
  return it;
}

/// `estimate(tape, q, key)` -> [rows]; its gradient to each row's logits is one draw.
template <class Estimate>
ZTest run(std::vector<double> exact, Estimate&& estimate, Index passes = kPasses) {
  ZTest test(std::move(exact));
  const Index n = problem().cells();
  Arena arena;
  for (Index pass = 0; pass < passes; ++pass) {
    arena.reset();
    Tape<double> tape(arena);
    const auto q = problem().distribution(tape, kRows);
    const Var<double> y = estimate(tape, q, sample::NoiseKey{.seed = 7, .step = static_cast<std::uint64_t>(pass)});
    tape.backward(nn::sum(tape, y));
    for (Index r = 0; r < kRows; ++r) test.add(q.logits.gradient + r * n);
  }
  return test;
}
/// The same for an estimator of the problem's cost.
template <class Estimator>
ZTest run_cost(const Estimator& estimator, Index passes = kPasses) {
  return run(
      problem().exact_gradient(),
      [&](Tape<double>& tape, const auto& q, const sample::NoiseKey& key) {
        return estimator(tape, q, key, [&](Var<double> cells) { return problem().cost(tape, cells); });
      },
      passes);
}

void check_unbiased(const char* name, const ZTest& test) {
  INFO(name, ": worst |z| ", test.worst(), ", relative variance ", test.total_variance() / (test.length() * test.length()));
  CHECK(test.components() >= 20);
  CHECK(test.count() >= 100000);
  CHECK(fovea_test::measured(std::string("unbiased: ") + name + " over cells", test.worst()) < 4);
}

}  // namespace

TEST_CASE("score function: unbiased over cells, with every baseline") {
  check_unbiased("score function", run_cost(sample::ScoreFunction<>{}));
  check_unbiased("score function moving average",
                 run_cost(sample::ScoreFunction<sample::MovingAverage>{.baseline = {0.9, 1.0, true}}));
  check_unbiased("score function leave one out", run_cost(sample::ScoreFunction<sample::LeaveOneOut>{.samples = 3}));
}

TEST_CASE("score function: a baseline that learns is unbiased, and learns the mean cost") {
  const auto estimate = [&](Tape<double>& tape, const auto& q, const sample::NoiseKey& key, Var<double> prediction) {
    const sample::ScoreFunction<sample::LearnedBaseline<double>> estimator{.samples = 2, .baseline = {prediction, 0.5}};
    return estimator(tape, q, key, [&](Var<double> cells) { return problem().cost(tape, cells); });
  };
  const auto prediction = [](Tape<double>& tape) {
    const Var<double> p = tape.variable(Shape{kRows});
    std::fill_n(p.value, kRows, 0.9);
    return p;
  };
  check_unbiased("score function learned baseline",
                 run(problem().exact_gradient(), [&](Tape<double>& tape, const auto& q, const sample::NoiseKey& key) {
                   return estimate(tape, q, key, prediction(tape));
                 }));
  Arena arena;
  Tape<double> tape(arena);
  const auto p = prediction(tape);
  const auto y = estimate(tape, problem().distribution(tape, kRows), {}, p);
  tape.backward(nn::sum(tape, y));
  for (Index r = 0; r < kRows; ++r) CHECK(p.gradient[r] == doctest::Approx(0.5 * (0.9 - y.value[r])));
}

TEST_CASE("score function: moving averages follow what they are shown") {
  sample::MovingAverage average{.decay = 0.5};
  average.observe(4);
  CHECK(average.value == 4);
  average.observe(2);
  CHECK(average.value == 3);
}

TEST_CASE("clipped policy gradient: unbiased on policy, and clipped off it") {
  check_unbiased("clipped policy gradient", run_cost(sample::ClippedPolicyGradient<sample::LeaveOneOut>{.samples = 2}));
  Arena arena;
  Tape<double> tape(arena);
  const auto var = [&](double a, double b, double c, double d) {
    const Var<double> v = tape.variable(Shape{4});
    v.value[0] = a, v.value[1] = b, v.value[2] = c, v.value[3] = d;
    return v;
  };
  // Ratios 2, 2, 1/2, 1/2, advantages both ways: a cost that is good (A < 0) and became likelier is clipped, and one that is
  // bad and became rarer; the others pull back.
  const Var<double> now = var(std::log(2), std::log(2), -std::log(2), -std::log(2));
  const Var<double> before = nn::detach(var(0, 0, 0, 0));
  const Var<double> advantage = nn::detach(var(-1, 1, 1, -1));
  const Var<double> y = sample::clipped_surrogate(tape, now, before, advantage, 0.2);
  tape.backward(nn::sum(tape, y));
  CHECK(y.value[0] == doctest::Approx(-1.2));
  CHECK(y.value[1] == doctest::Approx(2));
  CHECK(y.value[2] == doctest::Approx(0.8));
  CHECK(y.value[3] == doctest::Approx(-0.5));
  CHECK(now.gradient[0] == 0);
  CHECK(now.gradient[1] == doctest::Approx(2));
  CHECK(now.gradient[2] == 0);
  CHECK(now.gradient[3] == doctest::Approx(-0.5));
}

TEST_CASE("clipped policy gradient: an older policy's draws, weighted, give the new policy's gradient") {
  // With a clip that never bites this is importance sampling, without bias.
  const sample::ClippedPolicyGradient<> wide{.samples = 1, .epsilon = 1e9};
  const ZTest test = run(problem().exact_gradient(), [&](Tape<double>& tape, const auto& q, const sample::NoiseKey& key) {
    const auto behaviour = sample::Categorical<double>{nn::scale(tape, 0.7, nn::detach(q.logits))};
    return wide(
        tape, q, key, [&](Var<double> cells) { return problem().cost(tape, cells); }, behaviour);
  });
  check_unbiased("importance sampling", test);
}

TEST_CASE("vimco: unbiased for its bound") {
  // The bound of two draws, by enumeration of all pairs.
  const Index n = problem().cells();
  Arena arena;
  Tape<double> tape(arena);
  const auto q = problem().distribution(tape, 1);
  const auto cost = problem().cost(tape, problem().every_cell(tape));
  const auto p = sample::probabilities(tape, q);
  const Var<double> bound = tape.constant(Shape{1, n * n});
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) {
      bound.value[i * n + j] = -std::log((std::exp(-cost.value[i]) + std::exp(-cost.value[j])) / 2);
    }
  }
  const auto first = nn::repeat_samples(tape, p.reshape(Shape{n, 1}), n).reshape(Shape{1, n * n});
  const auto second = nn::repeat_samples(tape, p, n).reshape(Shape{1, n * n});
  tape.backward(nn::sum(tape, nn::multiply(tape, bound, nn::multiply(tape, first, second))));
  const std::vector<double> exact(q.logits.gradient, q.logits.gradient + n);
  check_unbiased("vimco", run(exact, [&](Tape<double>& t, const auto& many, const sample::NoiseKey& key) {
                   return sample::Vimco{.samples = 2}(t, many, key,
                                                      [&](Var<double> cells) { return problem().cost(t, cells); });
                 }));
}

TEST_CASE("vimco: derivatives to the costs") {
  GradientCheck check;
  Stream stream(3, 0, 0, Purpose::test);
  check.input(Shape{12}, stream, 2);
  const auto report =
      check.run([](auto& c, auto in) { return sample::vimco(c, in[0], nn::detach(nn::scale(c, 0.0, in[0])), 4); });
  CHECK(report.worst <= 1e-6);
}

TEST_CASE("rebar: unbiased over cells, at several temperatures") {
  check_unbiased("rebar 0.5", run_cost(sample::Rebar{.temperature = 0.5}));
  check_unbiased("rebar 0.1 eta 0.5", run_cost(sample::Rebar{.temperature = 0.1, .eta = 0.5}));
  check_unbiased("rebar 1 two draws", run_cost(sample::Rebar{.temperature = 1, .samples = 2}));
}

TEST_CASE("rebar: eta 0 is the score function, and the fitted eta is no worse than 0 or 1") {
  const ZTest zero = run_cost(sample::Rebar{.eta = 0}, 20);
  const ZTest score = run_cost(sample::ScoreFunction<>{}, 20);
  for (std::size_t i = 0; i < zero.components(); ++i) CHECK(zero.mean(i) == doctest::Approx(score.mean(i)).epsilon(1e-9));
  // Fit on rows as draws.
  sample::EtaFit fit;
  Arena arena;
  for (std::uint64_t step = 0; step < 50; ++step) {
    std::vector<double> with[2];
    for (int eta = 0; eta < 2; ++eta) {
      arena.reset();
      Tape<double> tape(arena);
      const auto q = problem().distribution(tape, 1);
      const sample::Rebar estimator{.eta = static_cast<double>(eta)};
      tape.backward(nn::sum(
          tape, estimator(tape, q, {.seed = 9, .step = step}, [&](Var<double> cells) { return problem().cost(tape, cells); })));
      with[eta].assign(q.logits.gradient, q.logits.gradient + problem().cells());
    }
    fit.observe(View<const double, 1>(with[0].data(), {problem().cells()}),
                View<const double, 1>(with[1].data(), {problem().cells()}));
  }
  const double fitted = run_cost(sample::Rebar{.eta = fit.eta()}, 50).total_variance();
  INFO("eta ", fit.eta());
  CHECK(fit.eta() > 0);
  CHECK(fitted < 1.05 * run_cost(sample::Rebar{.eta = 1}, 50).total_variance());
  CHECK(fitted < run_cost(sample::Rebar{.eta = 0}, 50).total_variance());
}

namespace {

/// c(z) = v . tanh(W z) with parameters in one array.
struct Surrogate {
  Tape<double>* tape;
  Var<double> w;  ///< [cells, 8]
  Var<double> v;  ///< [8, 1]
  Var<double> operator()(Var<double> z) const {
    return nn::dense(*tape, nn::tanh(*tape, nn::dense(*tape, z, w)), v).reshape(Shape{z.shape[0]});
  }
};
constexpr Index kHidden = 8;

Surrogate surrogate(Tape<double>& tape, const std::vector<double>& parameters) {
  const Index n = problem().cells();
  const Surrogate s{&tape, tape.variable(Shape{n, kHidden}), tape.variable(Shape{kHidden, 1})};
  std::copy_n(parameters.begin(), n * kHidden, s.w.value);
  std::copy_n(parameters.begin() + n * kHidden, kHidden, s.v.value);
  return s;
}
std::vector<double> surrogate_parameters(double deviation) {
  Stream stream(4, 0, 0, Purpose::test);
  std::vector<double> parameters(static_cast<std::size_t>((problem().cells() + 1) * kHidden));
  for (double& p : parameters) p = deviation * stream.normal<double>();
  return parameters;
}

}  // namespace

TEST_CASE("relax: unbiased whatever the surrogate") {
  const auto parameters = surrogate_parameters(0.3);
  check_unbiased("relax", run(problem().exact_gradient(), [&](Tape<double>& tape, const auto& q, const sample::NoiseKey& key) {
                   const sample::Relax<Surrogate> estimator{surrogate(tape, parameters)};
                   return estimator(tape, q, key, [&](Var<double> cells) { return problem().cost(tape, cells); });
                 }));
}

TEST_CASE("relax: the gradient of the variance, and a surrogate that learns by it") {
  const Index n = problem().cells();
  constexpr Index rows = 16;
  auto parameters = surrogate_parameters(0.2);
  Arena arena;
  // sum_b |g_b|^2 of one key, and the gradient for the next pass.
  std::vector<double> direction;
  const auto square = [&](const std::vector<double>& at, const sample::NoiseKey& key) {
    arena.reset();
    Tape<double> tape(arena);
    const auto q = problem().distribution(tape, rows);
    const sample::Relax<Surrogate> estimator{surrogate(tape, at), 2};
    tape.backward(nn::sum(tape, estimator(tape, q, key, [&](Var<double> cells) { return problem().cost(tape, cells); })));
    direction.assign(q.logits.gradient, q.logits.gradient + rows * n);
    double sum = 0;
    for (const double g : direction) sum += g * g;
    return sum;
  };
  const auto gradient = [&](const std::vector<double>& at, const sample::NoiseKey& key, double step) {
    (void)square(at, key);
    arena.reset();
    Tape<double> tape(arena);
    const auto q = problem().distribution(tape, rows);
    const sample::Relax<Surrogate> estimator{surrogate(tape, at), 2};
    const Var<double> along = tape.constant(direction.data(), Shape{rows, n});
    tape.backward(estimator.variance_loss(tape, q, key, along, step));
    std::vector<double> out(estimator.surrogate.w.gradient, estimator.surrogate.w.gradient + n * kHidden);
    out.insert(out.end(), estimator.surrogate.v.gradient, estimator.surrogate.v.gradient + kHidden);
    return out;
  };
  const sample::NoiseKey key{.seed = 21};
  const auto analytic = gradient(parameters, key, 1e-3);
  double largest = 0;
  for (const double g : analytic) largest = std::max(largest, std::abs(g));
  for (const std::size_t i : {std::size_t{0}, std::size_t{17}, std::size_t{60}, analytic.size() - 5, analytic.size() - 1}) {
    auto up = parameters, down = parameters;
    up[i] += 1e-5;
    down[i] -= 1e-5;
    const double numeric = (square(up, key) - square(down, key)) / 2e-5;
    CHECK(std::abs(analytic[i] - numeric) < 1e-4 * largest);
  }

  // Learning makes the variance on other keys smaller.
  const auto variance = [&] {
    double sum = 0;
    for (std::uint64_t step = 0; step < 40; ++step) sum += square(parameters, {.seed = 22, .step = step});
    return sum;
  };
  const double before = variance();
  for (std::uint64_t step = 0; step < 200; ++step) {
    const auto g = gradient(parameters, {.seed = 23, .step = step}, 1e-2);
    for (std::size_t i = 0; i < g.size(); ++i) parameters[i] -= 0.003 * g[i] / rows;
  }
  CHECK(variance() < 0.95 * before);
}

TEST_CASE("attention sampling: unbiased for vectors, with and without replacement, in value and gradient") {
  const Index n = problem().cells();
  constexpr double due[3] = {1, -0.5, 0.3};                          // d loss / d features
  const auto loss = [&](Tape<double>& tape, Var<double> features) {  // [B, 3] to [B]
    const Var<double> w = tape.constant(due, Shape{3, 1});
    return nn::dense(tape, features, w).reshape(Shape{features.shape[0]});
  };
  Arena arena;
  Tape<double> tape(arena);
  const auto q = problem().distribution(tape, 1);
  const auto f = loss(tape, problem().features(tape, problem().every_cell(tape)));
  const auto expected = nn::sum(tape, nn::multiply(tape, sample::probabilities(tape, q).reshape(Shape{n}), f));
  const double value = expected.item();
  tape.backward(expected);
  const std::vector<double> exact(q.logits.gradient, q.logits.gradient + n);

  double variances[2];
  for (const bool with_replacement : {true, false}) {
    ZTest of_value({value});
    const ZTest test = run(exact, [&](Tape<double>& t, const auto& many, const sample::NoiseKey& key) {
      const sample::AttentionSampling estimator{.samples = 5, .with_replacement = with_replacement};
      const auto y = loss(t, estimator(t, many, key, [&](Var<double> cells) { return problem().features(t, cells); }));
      for (Index r = 0; r < kRows; ++r) of_value.add(y.value + r);
      return y;
    });
    check_unbiased(with_replacement ? "attention sampling with replacement" : "attention sampling without replacement", test);
    CHECK(of_value.worst() < 4);
    variances[with_replacement ? 0 : 1] = of_value.variance(0);
  }
  CHECK(variances[1] < variances[0]);
  CHECK_THROWS_AS((void)run(exact,
                            [&](Tape<double>& t, const auto& many, const sample::NoiseKey& key) {
                              const sample::AttentionSampling estimator{.samples = 25};
                              return estimator(t, many, key, [&](Var<double> cells) { return problem().cost(t, cells); });
                            }),
                  Error);
}

namespace {

double normal_cdf(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

/// P(cell i is among the k best of s + sigma e), k = 1 or 2, by the trapezoidal rule.
std::vector<double> inclusion(const std::vector<double>& s, double sigma, int k) {
  std::vector<double> p(s.size());
  constexpr int nodes = 400;
  for (std::size_t i = 0; i < s.size(); ++i) {
    for (int node = 0; node <= nodes; ++node) {
      const double t = -8 + 16.0 * node / nodes;
      const double density = std::exp(-t * t / 2) / std::sqrt(2 * std::numbers::pi) * 16 / nodes;
      double none = 1;  // no other above
      double one = 0;   // exactly one above
      for (std::size_t j = 0; j < s.size(); ++j) {
        if (j == i) continue;
        const double below = normal_cdf(t + (s[i] - s[j]) / sigma);
        one = one * below + none * (1 - below);
        none *= below;
      }
      p[i] += density * (k == 1 ? none : none + one);
    }
  }
  return p;
}

}  // namespace

TEST_CASE("perturbed top-k: unbiased for its own smoothing, k of 1 and 2") {
  const Index n = problem().cells();
  constexpr double sigma = 0.7;
  Arena arena;
  Inference<double> inference(arena);
  const auto costs = problem().cost(inference, problem().every_cell(inference));
  const std::vector<double> f(costs.value, costs.value + n);
  for (const int k : {1, 2}) {
    const auto objective = [&](const std::vector<double>& s) {
      const auto p = inclusion(s, sigma, k);
      double sum = 0;
      for (std::size_t i = 0; i < p.size(); ++i) sum += p[i] * f[i];
      return sum;
    };
    std::vector<double> exact(f.size());
    for (std::size_t i = 0; i < f.size(); ++i) {
      auto up = problem().logits(), down = problem().logits();
      up[i] += 1e-4;
      down[i] -= 1e-4;
      exact[i] = (objective(up) - objective(down)) / 2e-4;
    }
    ZTest of_value({objective(problem().logits())});
    const ZTest test = run(exact, [&](Tape<double>& tape, const auto& q, const sample::NoiseKey& key) {
      const sample::PerturbedTopK estimator{.k = k, .sigma = sigma, .samples = 3};
      const auto y = estimator(tape, q, key, [&](Var<double> chosen) {  // linear: sum over places and cells
        const Var<double> weights = tape.constant(f.data(), Shape{n, 1});
        return nn::sum_per_sample(tape, nn::dense(tape, chosen, weights));
      });
      for (Index r = 0; r < kRows; ++r) of_value.add(y.value + r);
      return y;
    });
    check_unbiased(k == 1 ? "perturbed top-1" : "perturbed top-2", test);
    CHECK(of_value.worst() < 4);
  }
}

TEST_CASE("perturbed top-k: places in order, one each") {
  Arena arena;
  Inference<double> inference(arena);
  const auto scores = inference.constant(Shape{1, 4});
  const double s[4] = {1, 5, -2, 4};
  std::copy_n(s, 4, scores.value);
  const auto y = sample::perturbed_top_k(inference, scores, {}, 2, 10, 1e-6);
  const double expected[8] = {0, 1, 0, 0, 0, 0, 0, 1};
  for (Index i = 0; i < 8; ++i) CHECK(y.value[i] == doctest::Approx(expected[i]));
  CHECK_THROWS_AS((void)sample::perturbed_top_k(inference, scores, {}, 5, 10, 0.1), Error);
  CHECK_THROWS_AS((void)sample::perturbed_top_k(inference, scores, {}, 1, 10, 0.0), Error);
}

TEST_CASE("straight-through and relaxed: biased as designed, and by how much") {
  const auto bias_of = [](const std::string& name, const ZTest& test) {
    INFO(name, ": relative bias ", test.relative_bias(), ", cosine ", test.cosine());
    CHECK(test.worst() > 4);  // there is a bias, or this test sees nothing
    return fovea_test::measured("biased: " + name, test.relative_bias());
  };
  // A cost that is not at all linear between cells, and whose derivative at a cell says little of the cost elsewhere: the two
  // straight-through estimators point elsewhere. So does relaxing, unless it is cold.
  CHECK(bias_of("straight-through", run_cost(sample::StraightThrough{}, 100)) < 4);
  CHECK(bias_of("Gumbel straight-through 0.5", run_cost(sample::GumbelStraightThrough{.temperature = 0.5}, 100)) < 4);
  const double warm = bias_of("relaxed 1", run_cost(sample::Relaxed{.temperature = 1}, 100));
  const double cold = run_cost(sample::Relaxed{.temperature = 0.2}, 100).relative_bias();
  CHECK(cold < 0.3);
  CHECK(cold < warm / 3);
}

TEST_CASE("straight-through: exact for a cost that is linear between cells, and the relaxed ones nearly so when cold") {
  const Index n = problem().cells();
  Arena arena;
  Inference<double> inference(arena);
  const auto costs = problem().cost(inference, problem().every_cell(inference));
  const std::vector<double> f(costs.value, costs.value + n);
  const auto linear = [&](const auto& estimator, Index passes) {
    return run(
        problem().exact_gradient(),  // at the cells both costs are one
        [&](Tape<double>& tape, const auto& q, const sample::NoiseKey& key) {
          return estimator(tape, q, key, [&](Var<double> cells) {
            return nn::dense(tape, cells, tape.constant(f.data(), Shape{n, 1})).reshape(Shape{cells.shape[0]});
          });
        },
        passes);
  };
  CHECK(linear(sample::StraightThrough{}, 1).relative_bias() < 1e-12);
  CHECK(linear(sample::GumbelStraightThrough{.temperature = 0.2}, 50).relative_bias() < 0.1);
  const double warm = linear(sample::Relaxed{.temperature = 2}, 50).relative_bias();
  const double cold = linear(sample::Relaxed{.temperature = 0.2}, 50).relative_bias();
  CHECK(cold < 0.1);
  CHECK(cold < warm / 3);
}
