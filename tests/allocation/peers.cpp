// SPDX-License-Identifier: MIT
// After the first pass neither training nor inference allocates from the heap: RAM, full_resolution, proxy_only.
#include "support/counting_new.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/model/full_resolution.hpp>
#include <fovea/model/proxy_only.hpp>
#include <fovea/model/ram.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/trainer.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>

using namespace fovea;
using fovea_test::AllocationCount;

namespace {

struct Made {
  std::uint64_t training = 0;
  std::uint64_t answering = 0;
};

/// What the passes after the first take from the heap.
template <class Model>
Made made_by(const Model& network) {
  const fovea_test::Pictures<std::uint8_t> pictures(2, {40, 52}, 1, 255.0);
  const std::array<std::int32_t, 2> labels{0, 1};
  const Tensor<float, 4> proxies({2, 12, 12, 1});
  Parameters<float> weights(network.layout(), 1);
  Workers workers(1);
  train::Trainer trainer(weights, train::Adam<float>(weights.values().size()), workers, {.batch = 2, .shard = 2});
  Arena arena;
  Made made;
  float sum = 0;
  for (int i = 0; i < 5; ++i) {
    const bool counted = i >= 2;  // the arenas have had their reset
    const AllocationCount training;
    static_cast<void>(trainer.step(1e-3, [&](Tape<float>& tape, const train::ShardTask& task) {
      const model::Minibatch<float, Pyramid<std::uint8_t>> minibatch{tape.constant(proxies.data(), Shape{2, 12, 12, 1}),
                                                                     pictures.sources(), model::Targets<float>(labels)};
      return train::ShardLoss<float>{network.loss(tape, minibatch, {0, {.seed = 1, .step = task.step}}).loss_sum, 0};
    }));
    if (counted) made.training += training.made();
    const AllocationCount answering;
    arena.reset();
    sum += network.classify(pictures.pyramids[0], weights, arena).probabilities[0];
    if (counted) made.answering += answering.made();
  }
  CHECK(sum > 0);
  return made;
}

template <class Model>
void check(const Model& network) {
  const Made made = made_by(network);
  CHECK(made.training == 0);
  CHECK(made.answering == 0);
}

}  // namespace

TEST_CASE("allocation: none by RAM after the first pass") {
  check(model::Ram({.classes = 3, .glimpse = 5, .steps = 3, .features = 8, .state = 10}));
}

TEST_CASE("allocation: none by proxy_only after the first pass") { check(model::ProxyOnly({.classes = 3, .proxy = {12, 12}})); }

TEST_CASE("allocation: none by full_resolution after the first pass") {
  const model::FullResolutionOptions small{.classes = 3, .width = 4, .blocks_per_stage = 1};
  check(model::FullResolution(small));
  check(model::FullResolutionPatches({.network = small, .patch = 24, .features = 8}));
}
