// SPDX-License-Identifier: MIT
// The claims of training: threads, ranks, the cost of determinism and of files, the pipeline of data, kills, the ONNX export.
//
//   claims_training       about four minutes on two cores, which nothing else should use
//
// Times are of the demo's training (examples/cluttered_digits): the default saccader, batches of 32 in shards of 16, images
// made as they are needed. What is compared runs in turns, a second each; medians.
//
// needs: json onnx
#define DOCTEST_CONFIG_IMPLEMENT
#include "claims.hpp"
#include "onnx_parity.hpp"
#include "support/builtin_digits.hpp"
#include "support/digit_stream.hpp"
#include "support/killed.hpp"
#include "support/temporary_folder.hpp"
#include "support/timing.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/parallel.hpp>
#include <fovea/core/prefetch.hpp>
#include <fovea/data/cluttered_digits.hpp>
#include <fovea/data/idx.hpp>
#include <fovea/image/magnified.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/curriculum.hpp>
#include <fovea/train/fit.hpp>
#include <fovea/train/learner.hpp>
#include <fovea/train/trainer.hpp>

#include <time.h>  // NOLINT: clock_gettime

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using claims::Bound;
using namespace fovea;
namespace fs = std::filesystem;

constexpr Index kBatch = 32;
constexpr Index kShard = 16;
constexpr int kRounds = 11;

data::DigitSet digits() {
  const fs::path mnist = fs::path(FOVEA_SOURCE_DIR) / "build/data/mnist";
  return fs::exists(mnist) ? data::load_digits(mnist.string(), data::Split::train) : support::make_builtin_digits(5000, 1);
}

double thread_seconds() {
  timespec t{};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// The demo's data, to which a cost may be added, and which may be made once for all.
class Data {
 public:
  using Shard = support::DigitShard;
  explicit Data(const support::DigitStream& stream) : stream_(stream) {}

  [[nodiscard]] Shard make_shard(Index capacity) const {
    Shard shard = stream_.make_shard(capacity);
    if (made_once) stream_.load(shard, 0, capacity);
    return shard;
  }
  void load(Shard& shard, std::uint64_t first, Index count) const {
    const double start = thread_seconds();
    if (!made_once) stream_.load(shard, first, count);
    if (wait > 0) std::this_thread::sleep_for(std::chrono::duration<double>(wait));
    while (thread_seconds() - start < work) {
    }
    spent_.fetch_add(static_cast<std::int64_t>(1e9 * (thread_seconds() - start)), std::memory_order_relaxed);
  }
  [[nodiscard]] std::int64_t epoch() const { return stream_.epoch(); }

  bool made_once = false;
  double work = 0;  ///< seconds of a core that a shard costs at least
  double wait = 0;  ///< seconds that it costs without a core, as a disk does

  /// Seconds of all cores since the last call.
  [[nodiscard]] double spent() const { return 1e-9 * static_cast<double>(spent_.exchange(0)); }

 private:
  const support::DigitStream& stream_;
  mutable std::atomic<std::int64_t> spent_{0};
};

/// A training to be measured a second at a time.
class Training {
 public:
  Training(const model::Saccader& model, const Data& data, int threads)
      : model_(model), data_(data), weights_(model.layout(), 1), workers_(threads) {}

  /// Seconds a step, by fit() with these files.
  double seconds_per_step(double seconds, train::FitOptions options) {
    train::Trainer trainer(weights_, train::Adam<float>(model_.layout(), {.beta2 = 0.99}), workers_,
                           {.batch = kBatch, .shard = kShard});
    options.title = "";
    options.seconds = seconds;
    // One thread is to be one core.
    if (workers_.size() == 1) options.ahead = 0;
    const train::Curriculum curriculum(model_.options());
    (void)data_.spent();
    const auto fitted = train::fit(trainer, data_, train::learner(model_, curriculum), options);
    const auto steps = static_cast<double>(fitted.state.step);
    data_per_step = data_.spent() / steps;
    return fitted.state.seconds / steps;
  }
  double data_per_step = 0;  ///< seconds of cores

  /// The same by a loop that does without: each worker adds up what comes its way, in whatever order; no metrics, no average's
  /// file, nothing to resume from.
  double seconds_per_free_step(double seconds) {
    const Shards shards{kBatch, kShard};
    const auto count = static_cast<std::uint64_t>(shards.count());
    Tensor<float, 2> gradients({workers_.size(), weights_.values().size()});
    std::vector<Arena> arenas(static_cast<std::size_t>(workers_.size()));
    train::Adam<float> adam(model_.layout(), {.beta2 = 0.99});
    train::WeightAverage<float> average(weights_);
    const train::Curriculum curriculum(model_.options());
    const auto learn = train::learner(model_, curriculum);
    std::vector<support::DigitShard> slots;
    for (Index i = 0; i < 2 * shards.count(); ++i) slots.push_back(data_.make_shard(kShard));
    Prefetch<support::DigitShard> ahead(
        std::move(slots), 0, [&](support::DigitShard& shard, std::uint64_t item) { data_.load(shard, item * kShard, kShard); },
        workers_.size());
    const Stopwatch watch;
    std::uint64_t step = 0;
    for (; watch.seconds() < seconds; ++step) {
      const double progress = std::min(watch.seconds() / seconds, 1.0);
      std::fill_n(gradients.data(), gradients.size(), 0.0F);
      workers_.run(shards.count(), [&](Index shard, int worker) {
        Arena& arena = arenas[static_cast<std::size_t>(worker)];
        arena.reset();
        Tape<float> tape(arena, weights_.values(), gradients.view()[worker]);
        const std::uint64_t item = step * count + static_cast<std::uint64_t>(shard);
        const support::DigitShard& data = ahead.take(item);
        const model::Moment moment{progress, {1, step, static_cast<std::uint64_t>(shard * kShard)}};
        const auto loss = learn(tape, data, moment);
        *loss.loss_sum.gradient += 1.0F / static_cast<float>(kBatch);
        tape.backward();
        ahead.give_back(item);
      });
      View<float, 1> sum = gradients.view()[0];
      for (int worker = 1; worker < workers_.size(); ++worker) {
        const View<float, 1> more = gradients.view()[worker];
        for (Index i = 0; i < sum.size(); ++i) sum[i] += more[i];
      }
      const double norm = std::sqrt(kernel::squared_norm<float>(sum));
      if (norm > 1) kernel::scale<float>(static_cast<float>(1 / norm), sum, sum);
      adam.step(weights_.values(), sum, 1e-3);
      average.update(weights_);
    }
    return watch.seconds() / static_cast<double>(step);
  }

 private:
  const model::Saccader& model_;
  const Data& data_;
  Parameters<float> weights_;
  Workers workers_;
};

/// Medians of what the functions return, called in turns; `ratio`, if wanted: the median of the second / the first of a turn.
std::vector<double> in_turns(int rounds, const std::vector<std::function<double()>>& all, double* ratio = nullptr) {
  std::vector<std::vector<double>> values(all.size());
  for (int round = -1; round < rounds; ++round) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      const double value = all[i]();
      if (round >= 0) values[i].push_back(value);
    }
  }
  if (ratio != nullptr) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < values[0].size(); ++i) ratios.push_back(values[1][i] / values[0][i]);
    *ratio = support::median(std::move(ratios));
  }
  std::vector<double> medians;
  for (auto& v : values) medians.push_back(support::median(std::move(v)));
  return medians;
}

void on_threads(claims::Claims& out, const model::Saccader& model, const Data& data) {
  Training two(model, data, 2);
  Training one(model, data, 1);
  double ratio = 0;
  const auto seconds =
      in_turns(kRounds, {[&] { return two.seconds_per_step(1, {}); }, [&] { return one.seconds_per_step(1, {}); }}, &ratio);
  std::printf("%.0f images/s on 2 threads, %.0f on 1\n", kBatch / seconds[0], kBatch / seconds[1]);
  out.add("images/s of the demo's training on 2 threads / 1 thread", ratio, Bound::at_least, 1.85, "x");
}

void what_safety_costs(claims::Claims& out, const model::Saccader& model, const Data& data) {
  const fovea_test::TemporaryFolder folder;
  Training training(model, data, 2);
  train::FitOptions files;
  files.checkpoint = folder.path / "run.safetensors";
  files.resume = false;
  files.metrics = folder.path / "run";
  double ratio = 0;
  const auto seconds = in_turns(
      kRounds, {[&] { return training.seconds_per_free_step(2); }, [&] { return training.seconds_per_step(2, files); }},
      &ratio);
  // A checkpoint comes every 30 seconds; a training of one step writes one.
  files.steps = 1;
  train::FitOptions none = files;
  none.checkpoint.clear();
  std::vector<double> saves;
  for (int i = 0; i < kRounds; ++i) {
    const Stopwatch with;
    (void)training.seconds_per_step(1e9, files);
    const double whole = with.seconds();
    const Stopwatch without;
    (void)training.seconds_per_step(1e9, none);
    saves.push_back(whole - without.seconds());
  }
  const double save = support::median(saves);
  std::printf("%.3f ms a step by fit(), %.3f ms by a loop without order and metrics; a checkpoint in %.1f ms\n",
              1e3 * seconds[1], 1e3 * seconds[0], 1e3 * save);
  out.add("cost of determinism; checkpoints and metrics in a training step", 100 * (ratio - 1 + save / files.checkpoint_every),
          Bound::at_most, 2, "%");
}

void data_pipeline(claims::Claims& out, const model::Saccader& model, const support::DigitStream& stream) {
  Data free(stream);
  free.made_once = true;
  Data working(stream);
  working.made_once = true;
  Data waiting(stream);
  waiting.made_once = true;
  Training without(model, free, 2);
  const double step = in_turns(3, {[&] { return without.seconds_per_step(1, {}); }})[0];
  // Half of a step's work on both cores, shared by its two shards.
  working.work = 0.5 * step;
  waiting.wait = 0.5 * step;
  Training with_work(model, working, 2);
  Training with_waiting(model, waiting, 2);
  std::vector<double> spent;
  const auto seconds = in_turns(kRounds, {[&] { return without.seconds_per_step(1, {}); },
                                          [&] {
                                            const double s = with_work.seconds_per_step(1, {});
                                            spent.push_back(with_work.data_per_step);
                                            return s;
                                          },
                                          [&] { return with_waiting.seconds_per_step(1, {}); }});
  // What the work must take on two cores that are never idle.
  const double least = seconds[0] + support::median(spent) / 2;
  std::printf(
      "%.3f ms a step without data, %.3f ms with data that cost %.3f ms of cores, %.3f ms with data that wait %.3f ms\n",
      1e3 * seconds[0], 1e3 * seconds[1], 1e3 * support::median(spent), 1e3 * seconds[2], 1e3 * 2 * waiting.wait);
  out.add("time lost to data that cost half of a step on the same cores; beyond their work shared by both cores",
          100 * (seconds[1] / least - 1), Bound::at_most, 5, "%");
  out.add("time lost to data that wait for half of a step", 100 * (seconds[2] / seconds[0] - 1), Bound::at_most, 5, "%");
}

/// What a command prints, or "".
std::string printed_by(const std::string& command) {
  std::string text;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return text;
  char line[512];
  while (std::fgets(line, sizeof line, pipe) != nullptr) text += line;
  return ::pclose(pipe) == 0 ? text : "";
}

void on_ranks(claims::Claims& out) {
  const std::string program = std::string(FOVEA_EXAMPLES_DIR) + "/train_on_ranks --steps 400 --shard 16 2>/dev/null";
  const std::string as_root = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ";
  const auto rate = [&](const std::string& command) {
    const std::string text = printed_by(command);
    const std::size_t steps = text.find("steps, ");
    return steps == std::string::npos ? std::nan("") : std::atof(text.c_str() + steps + 7);
  };
  double ratio = std::nan("");
  if (fs::exists(std::string(FOVEA_EXAMPLES_DIR) + "/train_on_ranks")) {
    const auto images = in_turns(kRounds,
                                 {[&] { return rate(as_root + "mpirun -n 1 --bind-to none " + program + " --threads 2"); },
                                  [&] { return rate(as_root + "mpirun -n 2 --oversubscribe --bind-to none " + program); }},
                                 &ratio);
    std::printf("%.0f images/s on 2 ranks of 1 thread, %.0f on 1 rank of 2 threads\n", images[1], images[0]);
  }
  out.add("two MPI ranks of one thread each / one rank of two threads", ratio, Bound::at_least, 0.95, "x");
}

void kills(claims::Claims& out) {
  const fovea_test::TemporaryFolder folder;
  const fovea_test::Killed killed = fovea_test::kill_and_resume(folder.path, 100);
  std::printf("%d kills, %d of them with a checkpoint there; %d trainings came to their end\n", killed.kills,
              killed.while_training, killed.finished);
  const bool all = killed.kills == 100 && killed.refused == 0 && killed.finished >= 1;
  out.add("lost or differing bytes over 100 kills", all ? static_cast<double>(killed.lost_or_differing_bytes) : HUGE_VAL,
          Bound::at_most, 0, "bytes");
}

void onnx_export(claims::Claims& out) {
  const fs::path folder = "claims-training";
  fs::create_directories(folder);
  const double difference = claims::onnx_parity(folder, FOVEA_SOURCE_DIR);
  out.add("ONNX export; largest difference in probabilities over 1000 images", difference, Bound::at_most, 1e-5, "");
}

}  // namespace

int main() {
  try {
    claims::Claims out;
    kills(out);  // before there are threads
    onnx_export(out);
    const data::DigitSet set = digits();
    data::ClutteredDigitsOptions clutter;
    clutter.canvas = 100;
    const data::ClutteredDigits generator(set, clutter, 1);
    const model::Saccader model(model::SaccaderOptions{});
    const Magnifier magnifier({100, 100}, {2528, 2528}, 1, 2);
    const support::DigitStream stream(generator, magnifier, 100, model.options().proxy, set.images.extent(0));
    const Data data(stream);
    on_threads(out, model, data);
    what_safety_costs(out, model, data);
    data_pipeline(out, model, stream);
    on_ranks(out);
    return out.write("claims-training.csv");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "claims_training: %s\n", error.what());
    return 2;
  }
}
