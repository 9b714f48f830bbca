// SPDX-License-Identifier: MIT
// Trains the saccader on cluttered digits in as many processes as mpirun starts, and shows that their number makes no
// difference to a single bit:
//
//     mpirun -n 2 train_on_ranks --steps 200
//     mpirun -n 1 train_on_ranks --steps 200
//
// needs: CLI11 mpi
// smoke-test: --help
// smoke-test: --steps 3 --threads 1
#include "support/builtin_digits.hpp"
#include "support/digit_stream.hpp"
#include "support/timing.hpp"
#include <fovea/core/checksum.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parallel.hpp>
#include <fovea/core/stopwatch.hpp>
#include <fovea/data/cluttered_digits.hpp>
#include <fovea/data/idx.hpp>
#include <fovea/image/magnified.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/curriculum.hpp>
#include <fovea/train/fit.hpp>
#include <fovea/train/learner.hpp>
#include <fovea/train/mpi.hpp>
#include <fovea/train/ranks.hpp>
#include <fovea/train/trainer.hpp>

#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Options {
  std::string data;
  std::string checkpoint;
  std::uint64_t steps = 500;
  fovea::Index batch = 32;
  fovea::Index shard = 8;
  int threads = 1;
  std::uint64_t stop_step = 0;
  std::uint64_t kill_step = 0;
  std::uint64_t fail_step = 0;
  bool measure = false;
};

int train(const Options& options, fovea::train::Ranks& ranks) {
  using namespace fovea;
  constexpr Index canvas = 100;
  constexpr Index image = 2528;
  const data::DigitSet set =
      options.data.empty() ? support::make_builtin_digits(2000, 1) : data::load_digits(options.data, data::Split::train);
  data::ClutteredDigitsOptions clutter;
  clutter.canvas = canvas;
  const data::ClutteredDigits digits(set, clutter, 1);
  const Magnifier magnifier({canvas, canvas}, {image, image}, 1);
  const model::Saccader model(model::SaccaderOptions{});
  const support::DigitStream stream(digits, magnifier, canvas, model.options().proxy, set.images.extent(0));

  Parameters<float> weights(model.layout(), 1);
  Workers workers(options.threads);
  train::Trainer trainer(weights, train::Adam<float>(model.layout(), {.beta2 = 0.99}), workers,
                         {.batch = options.batch, .shard = options.shard}, &ranks);
  train::FitCallbacks<float> callbacks;
  const bool last = ranks.rank() == ranks.size() - 1;
  callbacks.step = [&](const train::FitState& state) {
    if (last && options.kill_step > 0 && state.step == options.kill_step) (void)std::raise(SIGKILL);
    return options.stop_step == 0 || state.step != options.stop_step;
  };
  const auto learn = train::learner(model, train::Curriculum(model.options()));
  const auto loss = [&](Tape<float>& tape, const support::DigitShard& shard, const model::Moment& moment) {
    require(!last || options.fail_step == 0 || moment.noise.step != options.fail_step, "asked to fail in step ",
            options.fail_step);
    return learn(tape, shard, moment);
  };
  train::FitOptions how{.steps = options.steps};
  how.checkpoint = options.checkpoint;
  const auto fitted = train::fit(trainer, stream, loss, how, callbacks);
  if (ranks.rank() == 0) {
    const auto values = std::as_const(weights).values();
    const std::uint64_t sum = checksum(std::as_bytes(std::span(values.data(), static_cast<std::size_t>(values.size()))));
    std::printf("%d ranks, %llu steps, %.1f images/s, checksum of the weights %016llx\n", ranks.size(),
                static_cast<unsigned long long>(fitted.state.step),
                static_cast<double>(fitted.state.images) / fitted.state.seconds, static_cast<unsigned long long>(sum));
  }
  return fitted.state.interrupted ? 130 : 0;
}

/// What a step sends, without the rest of it.
void measure_sum(fovea::train::Ranks& ranks) {
  using namespace fovea;
  const Index size = model::Saccader(model::SaccaderOptions{}).layout().size();
  Tensor<float, 2> row({1, size});
  Tensor<float, 1> received({size});
  std::vector<double> times;
  for (int i = 0; i < 200; ++i) {
    const Stopwatch watch;
    train::sum_rows<float>(ranks, row.view(), ranks.size(), 0, size, received.data());
    times.push_back(1e6 * watch.seconds());
  }
  if (ranks.rank() == 0) {
    std::printf("the sum of %td bytes over %d ranks, and back: %.0f us\n", size * static_cast<Index>(sizeof(float)),
                ranks.size(), support::median(times));
  }
}

int program(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Trains the saccader on cluttered digits in all processes that mpirun starts, and prints a checksum of the\n"
      "weights, which does not depend on their number.\n",
      "train_on_ranks"};
  app.option_defaults()->always_capture_default();
  app.add_option("--data", options.data, "Folder with MNIST's idx files; none: digits of the built-in font")->type_name("DIR");
  app.add_option("--checkpoint", options.checkpoint, "File to save to, and to go on from where it is there")->type_name("FILE");
  app.add_option("--steps", options.steps, "Training steps")->type_name("N");
  app.add_option("--batch", options.batch, "Images a step")->type_name("N");
  app.add_option("--shard", options.shard, "Images a shard; at least as many shards as ranks")->type_name("N");
  app.add_option("--threads", options.threads, "Of each rank")->type_name("N");
  app.add_option("--stop-step", options.stop_step, "Stop after this step, saved; 0: at the end")->type_name("N");
  app.add_option("--kill-step", options.kill_step, "After this step the last rank kills itself: what becomes of the job?")
      ->type_name("N");
  app.add_option("--fail-step", options.fail_step, "In this step the last rank throws")->type_name("N");
  app.add_flag("--measure", options.measure, "Only measure what the sum of the gradient over all ranks takes");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  fovea::train::MpiRanks ranks(argc, argv);
  if (options.measure) {
    measure_sum(ranks);
    return 0;
  }
  return train(options, ranks);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return program(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_on_ranks: %s\n", error.what());
    return 1;
  }
}
