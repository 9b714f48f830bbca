// SPDX-License-Identifier: MIT
// After the first pass neither training nor inference allocates from the heap: estimators, distributions and bounds.
#include "support/counting_new.hpp"
#include "support/saccade_problem.hpp"
#include <fovea/bound/divergence.hpp>
#include <fovea/bound/information.hpp>
#include <fovea/bound/multi_sample.hpp>
#include <fovea/bound/product.hpp>
#include <fovea/sample/full_gaussian.hpp>
#include <fovea/sample/sample.hpp>

#include <doctest/doctest.h>

#include <cstdint>

using namespace fovea;
using fovea_test::AllocationCount;

namespace {

/// `pass(tape)` twice, on one arena: what the second takes from the heap.
template <class Pass>
std::uint64_t allocations_of_second(Pass pass) {
  Arena arena;
  std::uint64_t made = 0;
  for (int i = 0; i < 2; ++i) {
    arena.reset();
    const AllocationCount count;
    Tape<float> tape(arena);
    tape.backward(pass(tape));
    made = count.made();
  }
  return made;
}

Var<float> filled(Tape<float>& tape, const Shape& shape, float value) {
  const Var<float> x = tape.variable(shape);
  for (Index i = 0; i < x.size(); ++i) x.value[i] = value + 0.03F * static_cast<float>(i % 7);
  return x;
}

}  // namespace

TEST_CASE("no estimator over cells allocates after the first pass") {
  const fovea_test::SaccadeProblem<float> problem;
  const auto made = [&](const auto& estimator) {
    return allocations_of_second([&](Tape<float>& tape) {
      const auto q = problem.distribution(tape, 8);
      return nn::sum(tape, estimator(tape, q, {.seed = 1}, [&](Var<float> z) { return problem.cost(tape, z); }));
    });
  };
  CHECK(made(sample::ScoreFunction<>{}) == 0);
  CHECK(made(sample::ScoreFunction<sample::LeaveOneOut>{.samples = 3}) == 0);
  CHECK(made(sample::ClippedPolicyGradient<sample::MovingAverage>{}) == 0);
  CHECK(made(sample::Vimco{}) == 0);
  CHECK(made(sample::StraightThrough{}) == 0);
  CHECK(made(sample::GumbelStraightThrough{}) == 0);
  CHECK(made(sample::Relaxed{}) == 0);
  CHECK(made(sample::Rebar{.samples = 2}) == 0);
  CHECK(made(sample::AttentionSampling{}) == 0);
}

TEST_CASE("perturbed top-k allocates nothing after the first pass") {
  CHECK(allocations_of_second([](Tape<float>& tape) {
          return nn::sum(tape, sample::perturbed_top_k(tape, filled(tape, {3, 9}, 0), {.seed = 2}, 2, 20, 0.5));
        }) == 0);
}

TEST_CASE("no distribution allocates after the first pass") {
  const auto made = [](auto make) {
    return allocations_of_second([&](Tape<float>& tape) {
      const auto q = make(tape);
      const Var<float> z = sample::draw(tape, q, sample::NoiseKey{.seed = 3});
      const Var<float> density = sample::log_density(tape, q, z);
      return nn::sum(tape, nn::add(tape, density, sample::entropy(tape, q, sample::MonteCarlo{{.seed = 4}, 2})));
    });
  };
  const Shape shape{4, 3};
  CHECK(made([&](auto& t) { return sample::DiagonalGaussian<float>{filled(t, shape, 0), filled(t, shape, -1)}; }) == 0);
  CHECK(made([&](auto& t) { return sample::TruncatedGaussian<float>{filled(t, shape, 0), filled(t, shape, -1)}; }) == 0);
  CHECK(made([&](auto& t) { return sample::LogisticNormal<float>{filled(t, shape, 0), filled(t, shape, -1)}; }) == 0);
  CHECK(made([&](auto& t) { return sample::Beta<float>{filled(t, shape, 2), filled(t, shape, 3)}; }) == 0);
  CHECK(made([&](auto& t) { return sample::Kumaraswamy<float>{filled(t, shape, 2), filled(t, shape, 3)}; }) == 0);
  CHECK(made([&](auto& t) { return sample::FullGaussian<float>{filled(t, shape, 0), filled(t, {4, 6}, -1)}; }) == 0);
  CHECK(made([&](auto& t) {
          return sample::Mixture<float>{filled(t, {4, 2}, 0), filled(t, {4, 2, 3}, 0), filled(t, {4, 2, 3}, -1)};
        }) == 0);
  CHECK(made([&](auto& t) { return sample::RelaxedCategorical<float>{filled(t, {4, 5}, 0), 0.5}; }) == 0);
}

TEST_CASE("the bound and its objectives allocate nothing after the first pass") {
  CHECK(allocations_of_second([](Tape<float>& tape) {
          const sample::Beta<float> q{filled(tape, {4, 3}, 1.5F), filled(tape, {4, 3}, 2)};
          const sample::Beta<float> p{filled(tape, {4, 3}, 1), filled(tape, {4, 3}, 1)};
          const auto kl =
              nn::add(tape, bound::FreeBits{0.1}(tape, bound::kl_per_dimension(tape, q, p)), bound::KlBalance{}(tape, q, p));
          const bound::Terms<float> terms{filled(tape, {4}, -3), filled(tape, {4}, -9), kl};
          const auto both = nn::add(tape, bound::Product{}(tape, terms), bound::LogSum{}(tape, terms));
          const auto information = bound::mutual_information(tape, q, sample::draw(tape, q, sample::NoiseKey{.seed = 5}));
          const auto several = bound::ImportanceWeighted{2}(tape, terms, bound::NormalisedWeights(tape, 4));
          return nn::add(tape, nn::sum(tape, bound::EntropyBonus{0.1}(tape, nn::subtract(tape, both, information), q)),
                         nn::sum(tape, several));
        }) == 0);
}
