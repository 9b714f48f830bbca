// SPDX-License-Identifier: MIT
// Estimators over continuous locations of one glimpse, against the exact gradient by quadrature: 20 components, 1e5 draws each.
#include "support/measured.hpp"
#include "support/saccade_problem.hpp"
#include "support/z_test.hpp"
#include <fovea/sample/beta.hpp>
#include <fovea/sample/clipped_policy_gradient.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/kumaraswamy.hpp>
#include <fovea/sample/logistic_normal.hpp>
#include <fovea/sample/pathwise.hpp>
#include <fovea/sample/score_function.hpp>
#include <fovea/sample/truncated_gaussian.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

using namespace fovea;
using fovea_test::SaccadeProblem;
using fovea_test::ZTest;

namespace {

constexpr Index kSettings = 5;  // of two parameters for x and y each: 20 components
constexpr Index kCopies = 400;
constexpr Index kPasses = 250;  // 1e5 draws a setting

const SaccadeProblem<double>& problem() {
  static const SaccadeProblem<double> it;
  return it;
}

/// A family, how its parameters are drawn, and where its mass lies.
template <class Q>
struct Family {
  double first_low, first_high, second_low, second_high;
  bool bounded;  ///< to (-1, 1)
  Q (*make)(Var<double>, Var<double>);
};

/// Parameters [settings * copies, 2], those of a setting in rows next to each other.
template <class Q, Context C>
Q distribution(C& context, const Family<Q>& family, Index copies) {
  Stream stream(11, 0, 0, Purpose::test);
  Var<double> first = context.variable(Shape{kSettings * copies, 2});
  Var<double> second = context.variable(Shape{kSettings * copies, 2});
  for (Index b = 0; b < kSettings; ++b) {
    for (Index d = 0; d < 2; ++d) {
      const double a = stream.uniform(family.first_low, family.first_high);
      const double c = stream.uniform(family.second_low, family.second_high);
      for (Index k = 0; k < copies; ++k) {
        first.value[(b * copies + k) * 2 + d] = a;
        second.value[(b * copies + k) * 2 + d] = c;
      }
    }
  }
  return family.make(first, second);
}

/// The gradient to both parameters: what q.map visits, [rows, 2] each, row by row.
template <class Q>
std::vector<const double*> gradients(const Q& q) {
  std::vector<const double*> all;
  (void)q.map([&](const Var<double>& x) {
    all.push_back(x.gradient);
    return x;
  });
  return all;
}

template <class Q>
std::vector<double> exact_gradient(const Family<Q>& family) {
  constexpr Index nodes = 150;
  Arena arena;
  Tape<double> tape(arena);
  const Q q = distribution(tape, family, 1);
  const Q many = sample::repeat(tape, q, nodes * nodes);
  const Index rows = kSettings * nodes * nodes;
  const Var<double> z = tape.constant(Shape{rows, 2});
  const Var<double> weight = tape.constant(Shape{rows});
  Arena other;
  Inference<double> inference(other);
  const double reach = family.bounded ? 1.0 : 3.0;
  for (Index r = 0; r < rows; ++r) {
    const Index node = r % (nodes * nodes);
    z.value[2 * r] = reach * (2 * (static_cast<double>(node % nodes) + 0.5) / nodes - 1);
    z.value[2 * r + 1] = reach * (2 * (static_cast<double>(node / nodes) + 0.5) / nodes - 1);
    weight.value[r] = 4 * reach * reach / (nodes * nodes);
  }
  const Var<double> density = nn::multiply(tape, weight, nn::exp(tape, sample::log_density(tape, many, z)));
  double mass = 0;
  for (Index r = 0; r < rows; ++r) mass += density.value[r] / kSettings;
  REQUIRE(mass == doctest::Approx(1).epsilon(1e-3));
  tape.backward(nn::sum(tape, nn::multiply(tape, density, problem().cost_at(tape, z))));
  std::vector<double> exact;
  for (const double* gradient : gradients(q)) exact.insert(exact.end(), gradient, gradient + 2 * kSettings);
  return exact;
}

template <class Q, class Estimator>
ZTest run(const Family<Q>& family, const Estimator& estimator, Index passes = kPasses) {
  ZTest test(exact_gradient(family));
  std::vector<double> draw(4 * kSettings);
  Arena arena;
  for (Index pass = 0; pass < passes; ++pass) {
    arena.reset();
    Tape<double> tape(arena);
    const Q q = distribution(tape, family, kCopies);
    const Var<double> y = estimator(tape, q, sample::NoiseKey{.seed = 5, .step = static_cast<std::uint64_t>(pass)},
                                    [&](Var<double> z) { return problem().cost_at(tape, z); });
    tape.backward(nn::sum(tape, y));
    const auto found = gradients(q);
    for (Index k = 0; k < kCopies; ++k) {
      for (Index p = 0; p < 2; ++p) {
        for (Index b = 0; b < kSettings; ++b) {
          for (Index d = 0; d < 2; ++d) {
            draw[static_cast<std::size_t>((p * kSettings + b) * 2 + d)] =
                found[static_cast<std::size_t>(p)][(b * kCopies + k) * 2 + d];
          }
        }
      }
      test.add(draw.data());
    }
  }
  return test;
}

template <class Q, class Estimator>
void check_unbiased(const char* name, const Family<Q>& family, const Estimator& estimator, Index passes = kPasses) {
  const ZTest test = run(family, estimator, passes);
  INFO(name, ": worst |z| ", test.worst(), " over ", test.components(), " components, ", test.count(), " draws, variance ",
       test.total_variance());
  CHECK(test.components() >= 20);
  CHECK(test.count() >= 100000);
  CHECK(fovea_test::measured(std::string("unbiased: ") + name + " over places", test.worst()) < 4);
}

using Gaussian = sample::DiagonalGaussian<double>;
const Family<Gaussian> kGaussian{-0.4, 0.4, -1.6, -1.0, false, [](Var<double> a, Var<double> b) { return Gaussian{a, b}; }};

}  // namespace

TEST_CASE("pathwise: unbiased through a Gaussian") { check_unbiased("Pathwise Gaussian", kGaussian, sample::Pathwise{}); }

TEST_CASE("pathwise: several draws have the variance of their mean") {
  const ZTest one = run(kGaussian, sample::Pathwise{}, 50);
  const ZTest four = run(kGaussian, sample::Pathwise{.samples = 4}, 50);
  CHECK(four.worst() < 4);
  CHECK(four.total_variance() == doctest::Approx(one.total_variance() / 4).epsilon(0.05));
}

TEST_CASE("score function: unbiased through a Gaussian, with every baseline") {
  check_unbiased("no baseline Gaussian", kGaussian, sample::ScoreFunction<>{});
  check_unbiased("moving average Gaussian", kGaussian,
                 sample::ScoreFunction<sample::MovingAverage>{.baseline = {0.9, 1.2, true}});
  check_unbiased("leave one out Gaussian", kGaussian, sample::ScoreFunction<sample::LeaveOneOut>{.samples = 2});
}

TEST_CASE("clipped policy gradient: the score function where the policy has not moved") {
  const auto clipped = run(kGaussian, sample::ClippedPolicyGradient<>{}, 20);
  const auto score = run(kGaussian, sample::ScoreFunction<>{}, 20);
  for (std::size_t i = 0; i < clipped.components(); ++i) CHECK(clipped.mean(i) == doctest::Approx(score.mean(i)).epsilon(1e-9));
}

TEST_CASE("pathwise and score function: unbiased through a truncated Gaussian") {
  using Q = sample::TruncatedGaussian<double>;
  const Family<Q> family{-0.6, 0.6, -1.5, -0.9, true, [](Var<double> a, Var<double> b) { return Q{a, b}; }};
  check_unbiased("Pathwise truncated Gaussian", family, sample::Pathwise{});
  check_unbiased("RLOO truncated Gaussian", family, sample::ScoreFunction<sample::LeaveOneOut>{.samples = 2});
}

TEST_CASE("pathwise and score function: unbiased through a logistic-normal") {
  using Q = sample::LogisticNormal<double>;
  const Family<Q> family{-0.5, 0.5, -1.0, -0.4, true, [](Var<double> a, Var<double> b) { return Q{a, b}; }};
  check_unbiased("Pathwise logistic-normal", family, sample::Pathwise{});
  check_unbiased("RLOO logistic-normal", family, sample::ScoreFunction<sample::LeaveOneOut>{.samples = 2});
}

TEST_CASE("pathwise and score function: unbiased through a Beta") {
  using Q = sample::Beta<double>;
  const Family<Q> family{3, 8, 3, 8, true, [](Var<double> a, Var<double> b) { return Q{a, b, {-1, 1}}; }};
  check_unbiased("Pathwise Beta", family, sample::Pathwise{});
  check_unbiased("RLOO Beta", family, sample::ScoreFunction<sample::LeaveOneOut>{.samples = 2});
}

TEST_CASE("pathwise and score function: unbiased through a Kumaraswamy") {
  using Q = sample::Kumaraswamy<double>;
  const Family<Q> family{2.5, 4, 3, 8, true, [](Var<double> a, Var<double> b) { return Q{a, b, {-1, 1}}; }};
  check_unbiased("Pathwise Kumaraswamy", family, sample::Pathwise{});
  check_unbiased("RLOO Kumaraswamy", family, sample::ScoreFunction<sample::LeaveOneOut>{.samples = 2});
}
