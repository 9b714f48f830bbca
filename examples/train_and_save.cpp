// SPDX-License-Identifier: MIT
// The whole of a training in one call, and the model in one file: train, stop with Ctrl-C, run again, classify.
//
// needs: json
// smoke-test: 20
#include "support/builtin_digits.hpp"
#include "support/digit_stream.hpp"
#include <fovea/fovea.hpp>
#include <fovea/train/fit.hpp>
#include <fovea/train/model_file.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <utility>

int main(int argc, char** argv) {
  using namespace fovea;
  try {
    const data::DigitSet set = support::make_builtin_digits(2000, 1);
    const data::ClutteredDigits digits(set, {.canvas = 100}, 1);
    const Magnifier magnifier({100, 100}, {2528, 2528}, 1);
    const model::Saccader model({.classes = 10, .proxy = {20, 20}, .glimpse = {32, 32}, .steps = 4});
    const support::DigitStream images(digits, magnifier, 100, model.options().proxy, set.images.extent(0));

    Parameters<float> weights(model.layout(), /*seed=*/1);
    Workers workers;
    train::Trainer trainer(weights, train::Adam<float>(model.layout(), {.beta2 = 0.99}), workers, {.batch = 32, .shard = 16});
    const auto fitted = train::fit(trainer, images, train::learner(model, train::Curriculum(model.options())),
                                   {.steps = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 4000,
                                    .rate = bound::WarmUpCosine{.peak = 1e-3, .warm_up = 0.02, .floor = 0.02},
                                    .checkpoint = "digits-checkpoint.safetensors",
                                    .metrics = "digits"});
    train::save_model("digits.safetensors", model, fitted.weights, {{"classes", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}});

    const auto loaded = train::load_model<model::Saccader>("digits.safetensors");
    auto shard = images.make_shard(8);
    images.load(shard, 1'000'000'000, 8);  // that training has not seen
    Arena memory;
    for (std::size_t i = 0; i < 8; ++i) {
      memory.reset();
      const auto answer = loaded.model.classify(shard.images()[i], loaded.weights, memory);
      std::printf("a %d, taken for a %d\n", shard.labels()[i], static_cast<int>(answer.label));
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_and_save: %s\n", error.what());
    return 1;
  }
}
