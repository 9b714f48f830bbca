// SPDX-License-Identifier: MIT
/// \file
/// One training step over all cores, with the same bits on any number of them.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/parallel.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/optimizer.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// What one shard is asked to do: samples [first, first + count) of the minibatch of this step.
struct ShardTask {
  std::uint64_t step = 0;
  Index first = 0;
  Index count = 0;
  int worker = 0;  ///< for per-worker buffers; results must not depend on it
};

/// What a shard answers: the loss *summed* over its samples, and how many of them were right.
template <class T>
struct ShardLoss {
  Var<T> loss_sum;
  Index correct = 0;
};

/// Means over the minibatch of one step.
struct StepReport {
  double loss = 0;
  double accuracy = 0;
  double gradient_norm = 0;  ///< before clipping
  double learning_rate = 0;
};

struct TrainerOptions {
  Index batch = 64;
  /// Samples per shard: the unit of parallel work. Part of the result's identity, unlike the number of threads.
  Index shard = 16;
  /// The gradient is scaled down to this Euclidean norm where it is longer; 0: never.
  double clip_norm = 1;
};

/// An optimiser over the flat buffer: `step(values, gradients, learning_rate)` changes the values.
template <class O, class T>
concept Optimizer = requires(O& optimizer, View<T, 1> values, View<const T, 1> gradients, double rate) {
  optimizer.step(values, gradients, rate);
};

/// Runs training steps: shards on all workers, gradients added in a fixed tree, clipped, handed to the optimiser.
/// After the first step a step allocates nothing from the heap (what the loss function does besides is its own affair).
template <class T, class OptimizerType>
  requires Optimizer<OptimizerType, T>
class Trainer {
 public:
  /// `parameters` and `workers` must outlive the trainer. Throws Error unless 1 <= shard <= batch.
  Trainer(Parameters<T>& parameters, OptimizerType optimizer, Workers& workers, const TrainerOptions& options)
      : parameters_(parameters), optimizer_(std::move(optimizer)), workers_(workers), options_(options) {
    require(options.shard >= 1 && options.batch >= options.shard, "trainer: 1 <= shard <= batch expected, shard ",
            options.shard, " and batch ", options.batch, " came");
    require(options.clip_norm >= 0, "trainer: a clip_norm of at least 0 expected, ", options.clip_norm, " came");
    const Shards shards = this->shards();
    gradients_ = Tensor<T, 2>({shards.count(), parameters.values().size()});
    reports_.resize(static_cast<std::size_t>(shards.count()));
    for (int i = 0; i < workers.size(); ++i) arenas_.emplace_back();
  }

  /// One step. `loss(tape, task)` runs the forward pass of a shard on the tape and returns its ShardLoss<T>; it is called
  /// from several threads at once. Throws Error with the parameter's name where a gradient is not finite, and then leaves
  /// the parameters as they were.
  template <class Loss>
    requires std::invocable < Loss&, Tape<T>
  &, const ShardTask& > StepReport step(double learning_rate, Loss&& loss) {
    const Shards shards = this->shards();
    workers_.run(shards.count(), [&](Index shard, int worker) {
      Arena& arena = arenas_[static_cast<std::size_t>(worker)];
      arena.reset();
      View<T, 1> gradient = gradients_.view()[shard];
      std::fill_n(gradient.data(), gradient.size(), T(0));
      Tape<T> tape(arena, parameters_.values(), gradient);
      const Shards::Range range = shards[shard];
      const ShardLoss<T> result = loss(tape, ShardTask{step_, range.first, range.count, worker});
      require(result.loss_sum.size() == 1 && result.loss_sum.gradient != nullptr,
              "training: a loss expected that is a scalar and depends on a parameter");
      // Seeding with 1 / batch makes the sum over shards the mean over the minibatch.
      *result.loss_sum.gradient += T(1) / static_cast<T>(options_.batch);
      tape.backward();
      reports_[static_cast<std::size_t>(shard)] = {static_cast<double>(result.loss_sum.item()), result.correct};
    });
    reduce_rows(workers_, gradients_.view());

    StepReport report;
    report.learning_rate = learning_rate;
    for (const ShardReport& r : reports_) {
      report.loss += r.loss / static_cast<double>(options_.batch);
      report.accuracy += static_cast<double>(r.correct) / static_cast<double>(options_.batch);
    }
    View<T, 1> gradient = gradients_.view()[0];
    report.gradient_norm = std::sqrt(kernel::squared_norm<T>(gradient));
    if (!std::isfinite(report.gradient_norm) || !std::isfinite(report.loss)) refuse(gradient, report.loss);
    if (options_.clip_norm > 0 && report.gradient_norm > options_.clip_norm) {
      kernel::scale<T>(static_cast<T>(options_.clip_norm / report.gradient_norm), gradient, gradient);
    }
    optimizer_.step(parameters_.values(), gradient, learning_rate);
    ++step_;
    return report;
  }

  [[nodiscard]] std::uint64_t steps() const noexcept { return step_; }
  [[nodiscard]] const TrainerOptions& options() const noexcept { return options_; }
  [[nodiscard]] OptimizerType& optimizer() noexcept { return optimizer_; }
  /// The clipped mean gradient of the last step, laid out as the parameters are.
  [[nodiscard]] View<const T, 1> gradient() const noexcept { return gradients_.view()[0]; }

 private:
  struct ShardReport {
    double loss = 0;
    Index correct = 0;
  };

  [[nodiscard]] Shards shards() const noexcept { return {options_.batch, options_.shard}; }

  [[noreturn]] void refuse(View<const T, 1> gradient, double loss) const {
    for (const auto& entry : parameters_.layout().entries()) {
      const auto& p = entry.parameter;
      for (Index i = 0; i < p.shape.size(); ++i) {
        const T g = gradient[p.offset + i];
        if (!std::isfinite(g)) {
          fail("training: a finite gradient expected, step ", step_, " gave ", static_cast<double>(g), " in \"", entry.name,
               "\" (loss ", loss, ")");
        }
      }
    }
    fail("training: a finite loss expected, step ", step_, " gave ", loss);
  }

  Parameters<T>& parameters_;
  OptimizerType optimizer_;
  Workers& workers_;
  TrainerOptions options_;
  std::uint64_t step_ = 0;
  std::vector<Arena> arenas_;
  Tensor<T, 2> gradients_;  ///< [shards, parameters]
  std::vector<ShardReport> reports_;
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
