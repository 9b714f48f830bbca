// SPDX-License-Identifier: MIT
// An optimiser's step, an update of the weight average and one of early stopping allocate nothing.
#include "support/counting_new.hpp"
#include <fovea/train/adam.hpp>
#include <fovea/train/adam_norm_grad.hpp>
#include <fovea/train/early_stopping.hpp>
#include <fovea/train/lion.hpp>
#include <fovea/train/rmsprop.hpp>
#include <fovea/train/sgd.hpp>
#include <fovea/train/weight_average.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

using namespace fovea;
using fovea_test::AllocationCount;

TEST_CASE("allocations: none in an optimiser's step, from the first on") {
  ParameterLayout layout;
  layout.add("policy.w", {20, 3}, Initialiser::normal(1));
  layout.add("policy.b", {3}, Initialiser::normal(1));
  layout.add("head.w", {7}, Initialiser::normal(1));
  Parameters<float> weights(layout);
  const Parameters<float> gradient(layout, 1);
  const auto made = [&](auto optimizer) {
    const Parameters<float> before = weights;
    const AllocationCount count;
    for (int t = 0; t < 3; ++t) optimizer.step(weights.values(), gradient.values(), 0.1);
    const std::uint64_t allocations = count.made();
    CHECK(!std::equal(before.values().data(), before.values().data() + layout.size(), weights.values().data()));
    return allocations;
  };
  const std::vector<train::ParameterGroup> groups{{"policy.*", {.rate = 0.1}}, {"*.b", {.weight_decay = 0.0}}};
  CHECK(made(train::Adam<float>(layout.size())) == 0);
  CHECK(made(train::Adam<float>(layout, {.weight_decay = 0.1}, groups)) == 0);
  CHECK(made(train::AdamNormGrad<float>(layout, {}, groups)) == 0);
  CHECK(made(train::Sgd<float>(layout, {.momentum = 0.9, .nesterov = true}, groups)) == 0);
  CHECK(made(train::RmsProp<float>(layout, {.momentum = 0.9, .centered = true}, groups)) == 0);
  CHECK(made(train::Lion<float>(layout, {}, groups)) == 0);
}

TEST_CASE("allocations: none where weights are averaged, kept and restored") {
  ParameterLayout layout;
  layout.add("w", {20, 3}, Initialiser::normal(1));
  Parameters<float> weights(layout);
  train::WeightAverage<float> average(weights);
  train::EarlyStopping<float> stopping(layout);
  const AllocationCount count;
  average.update(weights);
  const bool best = stopping.update(1, average.parameters());
  stopping.restore(weights);
  const std::uint64_t allocations = count.made();
  CHECK(best);
  CHECK(allocations == 0);
}
