// SPDX-License-Identifier: MIT
// needs: json
// A step of a whole training takes nothing from the heap, however its data are made.
#include "support/counting_new.hpp"
#include "support/noisy_line.hpp"
#include <fovea/train/adam.hpp>
#include <fovea/train/fit.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>

TEST_CASE("allocation: the steps of fit() after the first allocate nothing") {
  using namespace fovea;
  for (const Index ahead : {0, 1, 2}) {
    const fovea_test::LineModel model;
    Parameters<float> weights(model.layout(), 7);
    Workers workers(1);  // of several one may come to its first shard late
    train::Trainer trainer(weights, train::Adam<float>(model.layout()), workers, {.batch = 20, .shard = 3});
    train::FitOptions options{.steps = 120};
    options.ahead = ahead;
    options.load_threads = 2;
    options.title = "";
    std::unique_ptr<fovea_test::AllocationCount> count;
    std::uint64_t made = 1;
    train::FitCallbacks<float> callbacks;
    callbacks.step = [&](const train::FitState& state) {
      if (state.step == 20) count = std::make_unique<fovea_test::AllocationCount>();
      if (state.step == 110) made = count->made();
      return true;
    };
    (void)train::fit(trainer, fovea_test::NoisyLine{}, model, options, callbacks);
    CHECK(made == 0);
  }
}
