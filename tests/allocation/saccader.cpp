// SPDX-License-Identifier: MIT
// The saccader: nothing from the heap after the first pass where it chooses among places, where an estimator draws several, and
// where it may stop early.
#include "support/counting_new.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/model/saccader.hpp>
#include <fovea/sample/score_function.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/curriculum.hpp>
#include <fovea/train/trainer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>

using namespace fovea;
using fovea_test::AllocationCount;
using fovea_test::Pictures;
using model::Saccader;
using model::SaccaderOptions;
using Source = Pyramid<std::uint8_t>;

namespace {

SaccaderOptions small(double scale) {
  SaccaderOptions o;
  o.classes = 3;
  o.proxy = {16, 20};
  o.glimpse = {8, 8};
  o.steps = 3;
  o.state = 8;
  o.location_features = 4;
  o.scale = scale;
  return o;
}

/// `pass(tape, minibatch, step)` gives a loss: what passes after the first two take from the heap. The arena, too small at
/// first, has had its reset then.
template <class Pass>
std::uint64_t made_in_training(const Saccader& saccader, Pass pass) {
  const Pictures<std::uint8_t> pictures(2, {90, 110}, 1, 255.0);
  const std::array<std::int32_t, 2> labels{0, 2};
  const Parameters<float> weights(saccader.layout(), 1);
  Tensor<float, 1> gradient({weights.values().size()});
  Arena arena(1 << 10);
  std::uint64_t made = 0;
  for (std::uint64_t step = 0; step < 6; ++step) {
    const AllocationCount count;
    arena.reset();
    std::fill(gradient.begin(), gradient.end(), 0.0F);
    Tape<float> tape(arena, weights.values(), gradient.view());
    const model::Minibatch<float, Source> minibatch{fovea_test::proxies(tape, saccader.options(), pictures), pictures.sources(),
                                                    std::span<const std::int32_t>(labels)};
    tape.backward(pass(tape, minibatch, step));
    if (step >= 2) made += count.made();
  }
  return made;
}

}  // namespace

TEST_CASE("allocation: none in a training step of a saccader that chooses among places") {
  SaccaderOptions o = small(0.1);
  o.initial_noise = 0.1;
  o.question.class_weights = {1, 2, 3};
  const Saccader saccader(o);
  const train::Curriculum curriculum(o);
  for (const double progress : {0.1, 0.6}) {  // while it learns to read, and after
    CHECK(made_in_training(saccader, [&](auto& tape, const auto& minibatch, std::uint64_t step) {
            return curriculum(tape, saccader, minibatch, model::Moment{progress, {.seed = 1, .step = step}}).loss_sum;
          }) == 0);
  }
}

TEST_CASE("allocation: none in estimates of a gradient by the score function") {
  SaccaderOptions o = small(0.5);
  o.state_baseline = true;
  const auto made = [&](const SaccaderOptions& options, const auto& estimator) {
    const Saccader saccader(options);
    return made_in_training(saccader, [&](auto& tape, const auto& minibatch, std::uint64_t step) {
      model::Looking looking;
      looking.draw = true;
      looking.noise = {.seed = 1, .step = step};
      return saccader.estimate(tape, minibatch, looking, model::SaccaderLoss{}, estimator).loss_sum;
    });
  };
  CHECK(made(o, sample::ScoreFunction<sample::LeaveOneOut>{.samples = 2}) == 0);
  CHECK(made(o, model::LearnedScore{}) == 0);
  CHECK(made(small(0.1), sample::ScoreFunction<>{}) == 0);
}

TEST_CASE("allocation: none in answers that may stop early, and none in dreams") {
  const Pictures<std::uint8_t> pictures(3, {90, 110}, 1, 255.0);
  for (const double scale : {0.1, 0.5}) {
    const Saccader saccader(small(scale));
    const Parameters<float> weights(saccader.layout(), 1);
    Arena arena(1 << 10);
    Index steps = 0;
    const auto pass = [&] {
      for (const auto rule : {model::ExitRule::confidence, model::ExitRule::entropy, model::ExitRule::uncertainty}) {
        for (const double threshold : {std::numeric_limits<double>::infinity(), -100.0}) {
          arena.reset();
          model::Looking looking;
          looking.exit = {rule, threshold};
          for (const auto& answer : saccader.classify(pictures.sources(), weights, arena, looking)) steps += answer.steps();
        }
      }
      arena.reset();
      Inference<float> context(arena, weights.values());
      steps += static_cast<Index>(saccader.generate(context, 2, {.seed = 1}).size());
    };
    pass();
    pass();
    steps = 0;
    const AllocationCount count;
    pass();
    pass();
    CHECK(count.made() == 0);
    CHECK(steps == 2 * (3 * (3 * 3 + 3 * 1) + 3));
  }
}
