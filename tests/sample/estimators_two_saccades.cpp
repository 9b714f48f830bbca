// SPDX-License-Identifier: MIT
// Two saccades, the second deciding by what the first saw: estimators nested in one another against the exact gradient by
// enumeration of all paths, 20 components (the first saccade's logits and a table of the second's), 2e5 draws.
#include "support/measured.hpp"
#include "support/saccade_problem.hpp"
#include "support/z_test.hpp"
#include <fovea/sample/attention_sampling.hpp>
#include <fovea/sample/clipped_policy_gradient.hpp>
#include <fovea/sample/rebar.hpp>
#include <fovea/sample/score_function.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <vector>

using namespace fovea;
using fovea_test::SaccadeProblem;
using fovea_test::ZTest;

namespace {

constexpr Index kRows = 400;
constexpr Index kPasses = 500;

const SaccadeProblem<double>& problem() {
  static const SaccadeProblem<double> it({2, 2}, 3);
  return it;
}

/// Parameters of `rows` copies: logits of the first saccade [rows, 4], of the second given the first [rows, 16].
struct Parameters20 {
  Var<double> first;
  Var<double> table;
};
Parameters20 parameters(Tape<double>& tape, Index rows) {
  const Parameters20 p{tape.variable(Shape{rows, 4}), tape.variable(Shape{rows, 16})};
  Stream stream(6, 0, 0, Purpose::test);
  double values[20];
  for (double& v : values) v = stream.normal<double>();
  for (Index r = 0; r < rows; ++r) {
    std::copy_n(values, 4, p.first.value + r * 4);
    std::copy_n(values + 4, 16, p.table.value + r * 16);
  }
  return p;
}

/// The second saccade's logits: row `cell` of the table, for weights of cells [N, 4] and tables [B, 16].
Var<double> second_logits(Tape<double>& tape, Var<double> cells, Var<double> table) {
  static const std::vector<double> spread = [] {  // [4, 16]: cell i to its row
    std::vector<double> m(64);
    for (std::size_t i = 0; i < 4; ++i) {
      for (std::size_t j = 0; j < 4; ++j) m[i * 16 + i * 4 + j] = 1;
    }
    return m;
  }();
  static const std::vector<double> gather = [] {  // [16, 4]: sums over the rows
    std::vector<double> m(64);
    for (std::size_t i = 0; i < 16; ++i) m[i * 4 + i % 4] = 1;
    return m;
  }();
  const Index copies = cells.shape[0] / table.shape[0];
  const auto mask = nn::dense(tape, cells, tape.constant(spread.data(), Shape{4, 16}));
  return nn::dense(tape, nn::multiply(tape, mask, nn::repeat_samples(tape, table, copies)),
                   tape.constant(gather.data(), Shape{16, 4}));
}

/// What both looks cost together: not a sum of the two, so that the first matters for the second.
Var<double> cost(Tape<double>& tape, Var<double> first, Var<double> second) {
  const Index copies = second.shape[0] / first.shape[0];
  const auto a = problem().features(tape, nn::repeat_samples(tape, first, copies));
  const auto b = problem().features(tape, second);
  auto* labels = tape.scratch<std::int32_t>(second.shape[0]);
  std::fill_n(labels, second.shape[0], 1);
  return nn::cross_entropy(tape, nn::multiply(tape, a, b),
                           std::span<const std::int32_t>(labels, static_cast<std::size_t>(second.shape[0])));
}

std::vector<double> gradient_row(const Parameters20& p, Index r) {
  std::vector<double> g(p.first.gradient + r * 4, p.first.gradient + r * 4 + 4);
  g.insert(g.end(), p.table.gradient + r * 16, p.table.gradient + r * 16 + 16);
  return g;
}

std::vector<double> exact_gradient() {
  Arena arena;
  Tape<double> tape(arena);
  const auto p = parameters(tape, 1);
  const auto cells = problem().every_cell(tape);
  const auto chance = sample::probabilities(tape, sample::Categorical<double>{p.first});
  const auto next = sample::probabilities(tape, sample::Categorical<double>{second_logits(tape, cells, p.table)});  // [4, 4]
  const auto both = nn::multiply(tape, nn::repeat_samples(tape, chance.reshape(Shape{4, 1}), 4).reshape(Shape{4, 4}), next);
  const auto second = tape.constant(Shape{16, 4});  // all cells, once for each first one
  for (Index r = 0; r < 16; ++r) std::copy_n(cells.value + r % 4 * 4, 4, second.value + r * 4);
  tape.backward(nn::sum(tape, nn::multiply(tape, both, cost(tape, cells, second).reshape(Shape{4, 4}))));
  return gradient_row(p, 0);
}

template <class First, class Second>
void check_unbiased(const char* name, const First& first, const Second& second) {
  ZTest test(exact_gradient());
  Arena arena;
  for (Index pass = 0; pass < kPasses; ++pass) {
    arena.reset();
    Tape<double> tape(arena);
    const auto p = parameters(tape, kRows);
    const sample::NoiseKey key{.seed = 13, .step = static_cast<std::uint64_t>(pass)};
    const auto y = first(tape, sample::Categorical<double>{p.first}, key.fork(0), [&](Var<double> one) {
      const sample::Categorical<double> q{second_logits(tape, one, p.table)};
      return second(tape, q, key.fork(1).repeated(one.shape[0] / kRows), [&](Var<double> two) { return cost(tape, one, two); });
    });
    tape.backward(nn::sum(tape, y));
    for (Index r = 0; r < kRows; ++r) test.add(gradient_row(p, r).data());
  }
  INFO(name, ": worst |z| ", test.worst(), ", variance ", test.total_variance());
  CHECK(test.components() >= 20);
  CHECK(test.count() >= 100000);
  CHECK(fovea_test::measured(std::string("unbiased: ") + name + " two saccades", test.worst()) < 4);
}

}  // namespace

TEST_CASE("two saccades: score functions, the first of which pays for the second") {
  check_unbiased("score + score", sample::ScoreFunction<>{}, sample::ScoreFunction<>{});
  check_unbiased("rloo + rloo", sample::ScoreFunction<sample::LeaveOneOut>{.samples = 2},
                 sample::ScoreFunction<sample::LeaveOneOut>{.samples = 2});
}

TEST_CASE("two saccades: different estimators in one another") {
  check_unbiased("rebar + rebar", sample::Rebar{}, sample::Rebar{});
  check_unbiased("clipped + rebar", sample::ClippedPolicyGradient<>{}, sample::Rebar{.temperature = 0.3});
  check_unbiased("rloo + attention sampling", sample::ScoreFunction<sample::LeaveOneOut>{.samples = 2},
                 sample::AttentionSampling{.samples = 2});
}
