// SPDX-License-Identifier: MIT
// needs: json
#include "support/noisy_line.hpp"
#include "support/temporary_folder.hpp"
#include "support/thread_ranks.hpp"
#include <fovea/train/adam.hpp>
#include <fovea/train/fit.hpp>
#include <fovea/train/sgd.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

using namespace fovea;
using fovea_test::LineModel;
using fovea_test::NoisyLine;
using fovea_test::TemporaryFolder;

namespace {

/// What a training left behind, to the last bit.
struct Outcome {
  std::vector<float> weights;
  std::vector<float> averaged;
  train::FitState state;

  friend bool operator==(const Outcome& a, const Outcome& b) {
    const auto same = [](const std::vector<float>& x, const std::vector<float>& y) {
      return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
    };
    return same(a.weights, b.weights) && same(a.averaged, b.averaged) && a.state.step == b.state.step;
  }
};

train::FitOptions quiet(train::FitOptions options) {
  options.title = "";
  return options;
}

Outcome run(const train::FitOptions& options, int threads = 2, const NoisyLine& data = {},
            const train::FitCallbacks<float>& callbacks = {}, train::Ranks* ranks = nullptr,
            const train::TrainerOptions& of_trainer = {.batch = 20, .shard = 3}) {
  const LineModel model;
  Parameters<float> weights(model.layout(), 7);
  Workers workers(threads);
  train::Trainer trainer(weights, train::Adam<float>(model.layout()), workers, of_trainer, ranks);
  const auto fitted = train::fit(trainer, data, model, quiet(options), callbacks);
  const auto copy = [](View<const float, 1> v) { return std::vector<float>(v.data(), v.data() + v.size()); };
  return {copy(std::as_const(weights).values()), copy(fitted.weights.values()), fitted.state};
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("fit: learns, for as many epochs or steps as asked, and gives the averaged weights") {
  const LineModel model;
  Parameters<float> weights(model.layout(), 7);
  const double before = model.error(weights);
  Workers workers(2);
  train::Trainer trainer(weights, train::Adam<float>(model.layout()), workers, {.batch = 20, .shard = 3});
  int steps = 0;
  std::vector<double> validated;
  train::FitCallbacks<float> callbacks;
  callbacks.step = [&](const train::FitState& state) {
    CHECK(state.step == static_cast<std::uint64_t>(++steps));
    CHECK(state.images == state.step * 20);
    return true;
  };
  callbacks.validate = [&](const Parameters<float>& averaged) {
    validated.push_back(model.error(averaged));
    return validated.back();
  };
  const auto fitted = train::fit(
      trainer, NoisyLine{}, model,
      quiet({.epochs = 60, .rate = bound::WarmUpCosine{.peak = 0.02, .warm_up = 0.02, .floor = 0.02}, .average = 0.95}),
      callbacks);
  CHECK(steps == 60 * 100 / 20);
  CHECK(validated.size() == 60);
  CHECK(fitted.state.epoch == doctest::Approx(60));
  CHECK(fitted.state.progress == 1);
  CHECK(model.error(fitted.weights) < 0.05 * before);
  CHECK(model.error(fitted.weights) == validated.back());
  CHECK(std::memcmp(weights.values().data(), fitted.weights.values().data(), sizeof(float)) != 0);

  CHECK(run({.steps = 17}).state.step == 17);
  CHECK(run({.epochs = 0.5}).state.step == 3);  // 2.5 steps
  CHECK(run({.epochs = 100, .steps = 4}).state.step == 4);
  const Outcome timed = run({.seconds = 0.05});
  CHECK(timed.state.step >= 1);
  CHECK(timed.state.seconds < 5);
}

TEST_CASE("fit: 200 steps have the same bytes on any number of threads and ranks, and with any data ahead") {
  const train::FitOptions options{.steps = 200};
  const Outcome one = run(options, 1);
  for (const int threads : {2, 3, 8}) CHECK(run(options, threads) == one);
  for (const Index ahead : {0, 1, 3}) {
    train::FitOptions other = options;
    other.ahead = ahead;
    other.load_threads = static_cast<int>(ahead);
    CHECK(run(other, 2) == one);
  }
  // 7 shards, which no number of ranks divides evenly, and 8.
  for (const train::TrainerOptions& of_trainer :
       {train::TrainerOptions{.batch = 20, .shard = 3}, train::TrainerOptions{.batch = 16, .shard = 2}}) {
    const Outcome alone = run(options, 2, {}, {}, nullptr, of_trainer);
    for (const int size : {2, 3, 4, 7}) {
      CAPTURE(size);
      std::mutex mutex;
      std::vector<Outcome> outcomes;
      fovea_test::run_ranks(size, [&](train::Ranks& ranks) {
        train::FitOptions mine = options;
        mine.interruptible = false;
        const Outcome outcome = run(mine, ranks.rank() == 0 ? 2 : 1, {}, {}, &ranks, of_trainer);
        const std::lock_guard lock(mutex);
        outcomes.push_back(outcome);
      });
      REQUIRE(outcomes.size() == static_cast<std::size_t>(size));
      for (const Outcome& outcome : outcomes) CHECK(outcome == alone);
    }
  }
  // Another seed is another training.
  train::FitOptions other = options;
  other.seed = 2;
  CHECK_FALSE(run(other) == one);
}

TEST_CASE("fit: a training stopped and started again has the same bytes, and no line of metrics twice") {
  const TemporaryFolder folder;
  train::FitOptions options{.steps = 200};
  options.metrics_every = 7;
  options.metrics = folder.path / "whole";
  const Outcome whole = run(options);

  options.metrics = folder.path / "pieces";
  options.checkpoint = folder.path / "run.safetensors";
  train::FitCallbacks<float> stop;
  std::uint64_t stop_at = 0;
  stop.step = [&](const train::FitState& state) { return state.step != stop_at; };
  for (const std::uint64_t at : {1U, 2U, 50U, 51U, 199U}) {
    stop_at = at;
    CHECK(run(options, static_cast<int>(1 + at % 3), {}, stop).state.step == at);
  }
  CHECK(run(options) == whole);
  CHECK(run(options) == whole);  // there is nothing left to do

  for (const char* ending : {".jsonl", ".csv"}) {
    const auto a = lines_of(folder.path / (std::string("whole") + ending));
    const auto b = lines_of(folder.path / (std::string("pieces") + ending));
    REQUIRE(a.size() == b.size());
    CHECK(a.size() == 200 / 7 + (std::string(ending) == ".csv" ? 1U : 0U));
  }
  // But for the times they are the same numbers.
  const auto numbers = [&](const char* stem) {
    std::vector<std::vector<double>> rows;
    for (const std::string& line : lines_of(folder.path / (std::string(stem) + ".jsonl"))) {
      const auto json = train::Json::parse(line);
      rows.push_back(
          {json.at("step"), json.at("loss"), json.at("accuracy"), json.at("gradient_norm"), json.at("learning_rate")});
      CHECK(json.at("validation").is_null());
    }
    return rows;
  };
  CHECK(numbers("whole") == numbers("pieces"));
  CHECK(lines_of(folder.path / "whole.csv").front() ==
        "step,images,epoch,seconds,images_per_second,loss,accuracy,gradient_norm,learning_rate,validation");

  // Lines written after the checkpoint are written again: a killed process leaves such.
  std::ofstream(folder.path / "pieces.jsonl", std::ios::app) << "{\"step\":9";
  options.steps = 210;
  CHECK(run(options).state.step == 210);
  CHECK(lines_of(folder.path / "pieces.jsonl").size() == 210 / 7);
  // Anew where that is asked for.
  options.resume = false;
  options.steps = 30;
  CHECK(run(options).state.step == 30);
  CHECK(lines_of(folder.path / "pieces.jsonl").size() == 30 / 7);
}

TEST_CASE("fit: Ctrl-C finishes the step and saves, and the same call goes on") {
  const TemporaryFolder folder;
  train::FitOptions options{.steps = 60};
  const Outcome whole = run(options);
  options.checkpoint = folder.path / "run.safetensors";
  NoisyLine data;
  data.on_sample = [](std::uint64_t sample) {
    if (sample == 30 * 20 + 7) (void)std::raise(SIGINT);
  };
  const Outcome stopped = run(options, 2, data);
  CHECK(stopped.state.interrupted);
  CHECK(stopped.state.step >= 28);
  CHECK(stopped.state.step <= 32);
  const Outcome rest = run(options, 2);
  CHECK_FALSE(rest.state.interrupted);
  CHECK(rest == whole);
}

TEST_CASE("fit: a sample that is not finite stops with parameter, step and sample, and leaves the last checkpoint") {
  const TemporaryFolder folder;
  train::FitOptions options{.steps = 100};
  options.checkpoint = folder.path / "run.safetensors";
  train::FitCallbacks<float> stop;
  stop.step = [](const train::FitState& state) { return state.step != 40; };
  (void)run(options, 2, {}, stop);
  const std::string before = bytes_of(options.checkpoint);

  struct Bad : NoisyLine {
    void load(Shard& shard, std::uint64_t first, Index count) const {
      NoisyLine::load(shard, first, count);
      for (Index i = 0; i < count; ++i) {
        if (first + static_cast<std::uint64_t>(i) == 50 * 20 + 8) shard.x(i, 1) = std::numeric_limits<float>::quiet_NaN();
      }
    }
  };
  const LineModel model;
  Parameters<float> weights(model.layout(), 7);
  Workers workers(2);
  train::Trainer trainer(weights, train::Adam<float>(model.layout()), workers, {.batch = 20, .shard = 3});
  const std::string message = error_of([&] { (void)train::fit(trainer, Bad{}, model, quiet(options)); });
  CAPTURE(message);
  CHECK(message.find("step 50") != std::string::npos);
  CHECK(message.find("in \"first.w\"") != std::string::npos);
  CHECK(message.find("sample 8 of the minibatch (number 1008 of the training)") != std::string::npos);
  CHECK(bytes_of(options.checkpoint) == before);
}

TEST_CASE("fit: data that cannot be read stops, saved, and goes on once it can") {
  const TemporaryFolder folder;
  train::FitOptions options{.steps = 80};
  const Outcome whole = run(options);
  options.checkpoint = folder.path / "run.safetensors";
  NoisyLine data;
  data.on_sample = [](std::uint64_t sample) { require(sample != 777, "sample 777: cannot be read"); };
  CHECK(error_of([&] { (void)run(options, 2, data); }) == "sample 777: cannot be read");
  const train::CheckpointFile saved(options.checkpoint, "training checkpoint");
  CHECK(saved.get<std::uint64_t>("step") == 777 / 20);
  CHECK(run(options) == whole);
}

TEST_CASE("fit: a checkpoint of another training is refused with what differs") {
  const TemporaryFolder folder;
  train::FitOptions options{.steps = 10};
  options.checkpoint = folder.path / "run.safetensors";
  (void)run(options);
  const std::string before = bytes_of(options.checkpoint);
  const auto refused = [&](const char* why, const std::function<void()>& work) {
    const std::string message = error_of(work);
    CAPTURE(message);
    CHECK(message.find(why) != std::string::npos);
    CHECK(bytes_of(options.checkpoint) == before);
  };
  refused("batch 10 expected, it is of 20", [&] { (void)run(options, 2, {}, {}, nullptr, {.batch = 10, .shard = 3}); });
  refused("shard 5 expected", [&] { (void)run(options, 2, {}, {}, nullptr, {.batch = 20, .shard = 5}); });
  refused("clip_norm", [&] { (void)run(options, 2, {}, {}, nullptr, {.batch = 20, .shard = 3, .clip_norm = 2}); });
  refused("epoch 50 expected", [&] {
    NoisyLine data;
    data.samples = 50;
    (void)run(options, 2, data);
  });
  refused("seed 3 expected", [&] {
    train::FitOptions other = options;
    other.seed = 3;
    (void)run(other);
  });
  refused("average", [&] {
    train::FitOptions other = options;
    other.average = 0;
    (void)run(other);
  });
  const auto with = [&](auto optimizer, const LineModel& model) {
    Parameters<float> weights(model.layout(), 7);
    Workers workers(1);
    train::Trainer trainer(weights, std::move(optimizer), workers, {.batch = 20, .shard = 3});
    (void)train::fit(trainer, NoisyLine{}, model, quiet(options));
  };
  const LineModel model;
  const LineModel larger(41);
  refused("optimiser SGD", [&] { with(train::Sgd<float>(model.layout()), model); });
  refused("optimiser Adam beta1=0.8", [&] { with(train::Adam<float>(model.layout(), {.beta1 = 0.8}), model); });
  refused("of another model: \"first.w\" of shape", [&] { with(train::Adam<float>(larger.layout()), larger); });
}

TEST_CASE("fit: stops when validation no longer gets better, gives back the best weights, also when started again") {
  const auto validation = [](std::vector<double>& seen) {
    train::FitCallbacks<float> callbacks;
    // Best at the fourth.
    callbacks.validate = [&seen](const Parameters<float>& weights) {
      seen.push_back(static_cast<double>(weights.values()[0]));
      return -std::abs(static_cast<double>(seen.size()) - 4);
    };
    return callbacks;
  };
  train::FitOptions options{.epochs = 50};
  options.early_stopping.patience = 3;
  std::vector<double> seen;
  const Outcome stopped = run(options, 2, {}, validation(seen));
  CHECK(stopped.state.stopped_early);
  CHECK(seen.size() == 7);
  CHECK(stopped.state.step == 7 * 5);
  CHECK(stopped.state.best_validation == 0);
  CHECK(static_cast<double>(stopped.averaged[0]) == seen[3]);

  const TemporaryFolder folder;
  options.checkpoint = folder.path / "run.safetensors";
  std::vector<double> again;
  auto callbacks = validation(again);
  for (const std::uint64_t at : {12U, 23U, 33U}) {
    callbacks.step = [at](const train::FitState& state) { return state.step != at; };
    CHECK_FALSE(run(options, 2, {}, callbacks).state.stopped_early);
  }
  callbacks.step = nullptr;
  // A validation that fails is made up for.
  auto failing = callbacks;
  failing.validate = [](const Parameters<float>&) -> double { fail("no validation today"); };
  CHECK(error_of([&] { (void)run(options, 2, {}, failing); }) == "no validation today");
  CHECK(run(options, 2, {}, callbacks) == stopped);
  CHECK(again == seen);
  CHECK(run(options, 2, {}, callbacks) == stopped);
  CHECK(again == seen);
}

TEST_CASE("fit: a self-test travels with the checkpoint, and a model that answers otherwise is refused") {
  const TemporaryFolder folder;
  train::FitOptions options{.steps = 10};
  options.checkpoint = folder.path / "run.safetensors";
  float shift = 0;
  train::FitCallbacks<float> callbacks;
  callbacks.self_test = [&](const Parameters<float>& weights) {
    train::SelfTest test;
    test.images.emplace_back(Extents<3>{2, 3, 1});
    std::fill_n(test.images[0].data(), 6, std::uint8_t{9});
    test.outputs = {weights.values()[0] + shift, weights.values()[1]};
    return test;
  };
  (void)run(options, 2, {}, callbacks);
  options.steps = 20;
  shift = 0.5F;
  const std::string message = error_of([&] { (void)run(options, 2, {}, callbacks); });
  CHECK(message.find("self-test") != std::string::npos);
  shift = 0;
  CHECK(run(options, 2, {}, callbacks).state.step == 20);
}

TEST_CASE("fit: a rank that fails ends the training of all, and the last whole step is saved") {
  const TemporaryFolder folder;
  train::FitOptions options{.steps = 60};
  const Outcome whole = run(options);
  options.checkpoint = folder.path / "run.safetensors";
  options.interruptible = false;
  std::mutex mutex;
  std::vector<std::string> messages(3);
  fovea_test::run_ranks(3, [&](train::Ranks& ranks) {
    NoisyLine data;
    if (ranks.rank() == 1) {
      // One of its own.
      data.on_sample = [](std::uint64_t sample) { require(sample != 24 * 20 + 10, "rank 1: out of luck"); };
    }
    const std::string message = error_of([&] { (void)run(options, 1, data, {}, &ranks); });
    const std::lock_guard lock(mutex);
    messages[static_cast<std::size_t>(ranks.rank())] = message;
  });
  CHECK(messages[1] == "rank 1: out of luck");
  for (const std::size_t other : {0U, 2U}) CHECK(messages[other].find("step 24 failed on another rank") != std::string::npos);
  const train::CheckpointFile saved(options.checkpoint, "training checkpoint");
  CHECK(saved.get<std::uint64_t>("step") == 24);
  CHECK(run(options) == whole);
}

TEST_CASE("fit: options that say nothing or contradict themselves are refused") {
  CHECK(error_of([] { (void)run({}); }).find("epochs, steps or seconds") != std::string::npos);
  CHECK_THROWS_AS((void)run({.epochs = -1}), Error);
  CHECK_THROWS_AS((void)run({.steps = 1, .average = 1}), Error);
  CHECK_THROWS_AS((void)run({.steps = 1, .ahead = -1}), Error);
  CHECK_THROWS_AS((void)run({.steps = 1, .validate_every = 0}), Error);
  CHECK(error_of([] { (void)run({.steps = 1, .early_stopping = {.patience = 2}}); }).find("validation") != std::string::npos);
  NoisyLine nothing;
  nothing.samples = 0;
  CHECK(error_of([&] { (void)run({.steps = 1}, 1, nothing); }).find("at least 1 sample") != std::string::npos);
  fovea_test::run_ranks(2, [](train::Ranks& ranks) {
    CHECK_THROWS_AS((void)run({.steps = 1, .interruptible = false}, 1, {}, {}, &ranks, {.batch = 4, .shard = 4}), Error);
  });
}
