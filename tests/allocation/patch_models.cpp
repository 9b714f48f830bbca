// SPDX-License-Identifier: MIT
// After the first pass neither training nor inference allocates from the heap: the models that choose patches of a grid.
#include "support/counting_new.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/kernel/optimizer.hpp>
#include <fovea/model/attention_sampling.hpp>
#include <fovea/model/iterative_patch_selection.hpp>
#include <fovea/model/patch_selection.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>

using namespace fovea;

namespace {

/// Allocations of what follows the first training step and the first answer.
template <class Model>
std::uint64_t allocations_after_first(const Model& model) {
  using Source = Pyramid<std::uint8_t>;
  const fovea_test::Pictures<std::uint8_t> pictures(2, {70, 90}, 1, 255);
  constexpr std::array<std::int32_t, 2> labels{1, 0};
  Parameters<float> weights(model.layout(), 1);
  Tensor<float, 1> gradient({weights.values().size()});
  Arena arena(1 << 10);  // too small: the first pass has to grow it
  const auto pass = [&](std::uint64_t step) {
    arena.reset();
    std::fill(gradient.begin(), gradient.end(), 0.0F);
    Tape<float> tape(arena, weights.values(), gradient.view());
    const auto outcome = model.loss(tape,
                                    model::Minibatch<float, Source>{fovea_test::proxies(tape, model.options(), pictures),
                                                                    pictures.sources(), std::span<const std::int32_t>(labels)},
                                    model::Moment{0.5, {.seed = 1, .step = step}});
    tape.backward(outcome.loss_sum);
    arena.reset();
    (void)model.classify(pictures.sources()[0], weights, arena);
  };
  pass(0);
  arena.reset();
  pass(1);
  const fovea_test::AllocationCount count;
  for (std::uint64_t step = 2; step < 6; ++step) pass(step);
  return count.made();
}

}  // namespace

TEST_CASE("attention_sampling allocates nothing after the first pass") {
  model::AttentionSamplingOptions o;
  o.classes = 3;
  o.proxy = {12, 16};
  o.patch = {16, 20};
  o.patches = 3;
  CHECK(allocations_after_first(model::AttentionSampling(o)) == 0);
  o.with_replacement = true;
  o.best_at_test = true;
  o.question.class_weights = {1, 2, 3};
  CHECK(allocations_after_first(model::AttentionSampling(o)) == 0);
}

TEST_CASE("patch_selection allocates nothing after the first pass") {
  model::PatchSelectionOptions o;
  o.classes = 3;
  o.proxy = {24, 32};
  o.patch = {16, 20};
  o.patches = 3;
  o.samples = 20;
  CHECK(allocations_after_first(model::PatchSelection(o)) == 0);
}

TEST_CASE("iterative_patch_selection allocates nothing after the first pass") {
  model::IterativePatchSelectionOptions o;
  o.classes = 3;
  o.patch = {16, 20};
  o.patches = 4;
  o.chunk = 3;
  CHECK(allocations_after_first(model::IterativePatchSelection(o)) == 0);
}
