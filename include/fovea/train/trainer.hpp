// SPDX-License-Identifier: MIT
/// \file
/// One training step over all cores and, with train/mpi.hpp, over many machines, with the same bits on any number of them.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/parallel.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/optimizer.hpp>
#include <fovea/train/ranks.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// What one shard is asked to do: samples [first, first + count) of the minibatch of this step.
struct ShardTask {
  std::uint64_t step = 0;
  Index first = 0;
  Index count = 0;
  int worker = 0;   ///< for per-worker buffers; results must not depend on it
  Index shard = 0;  ///< its number among the shards of the minibatch; -1: samples asked for again to find one that is bad
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
  /// Every element of the gradient is cut to [-clip_value, clip_value], before its norm is; 0: never.
  double clip_value = 0;
  /// The gradient is scaled down to this Euclidean norm where it is longer; 0: never.
  double clip_norm = 1;
};

/// A loss or gradient that is NaN or infinite.
class NotFinite : public Error {
 public:
  using Error::Error;
};

/// An optimiser over the flat buffer: `step(values, gradients, learning_rate)` changes the values.
template <class O, class T>
concept Optimizer = requires(O& optimizer, View<T, 1> values, View<const T, 1> gradients, double rate) {
  optimizer.step(values, gradients, rate);
};

namespace detail {

/// Pieces of the flat gradient that travel while the rest is still being computed: whole parameters, from the end of the buffer
/// to its beginning, since gradients are complete in about the reverse of the order in which layers are made.
class GradientPieces {
 public:
  struct Piece {
    Index first = 0;
    Index count = 0;
    int parameters = 0;
  };

  /// `columns`: the length of a row; what lies behind the parameters goes with the last piece.
  GradientPieces(const ParameterLayout& layout, Index columns, Index least) {
    Index end = layout.size();
    Piece piece;
    for (std::size_t i = layout.entries().size(); i-- > 0;) {
      const Index offset = layout.entries()[i].parameter.offset;
      ++piece.parameters;
      of_.push_back({offset, static_cast<Index>(pieces_.size())});
      if (end - offset < least && i > 0) continue;
      piece.first = offset;
      piece.count = end - offset;
      pieces_.push_back(piece);
      piece = {};
      end = offset;
    }
    std::reverse(of_.begin(), of_.end());
    pieces_.push_back({layout.size(), columns - layout.size(), 1});
    left_ = std::make_unique<std::atomic<int>[]>(pieces_.size());
  }

  [[nodiscard]] Index size() const noexcept { return static_cast<Index>(pieces_.size()); }
  [[nodiscard]] const Piece& operator[](Index i) const noexcept { return pieces_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] Index parameters() const noexcept { return static_cast<Index>(of_.size()); }
  /// The number of the parameter at this offset.
  [[nodiscard]] std::size_t number(Index offset) const noexcept {
    const auto place = std::lower_bound(of_.begin(), of_.end(), offset, [](const Of& of, Index o) { return of.offset < o; });
    return static_cast<std::size_t>(place - of_.begin());
  }

  /// Before the shards of a step.
  void begin(Index shards) noexcept {
    for (Index i = 0; i < size(); ++i)
      left(i).store((*this)[i].parameters * static_cast<int>(shards), std::memory_order_relaxed);
  }
  /// In one shard the parameter of that number is complete.
  void complete(std::size_t number) { done(of_[number].piece); }
  /// In one shard all that lies behind the parameters is written.
  void complete_rest() { done(size() - 1); }
  /// Until piece i is complete in all shards.
  void wait(Index i) const {
    for (int n = left(i).load(std::memory_order_acquire); n > 0; n = left(i).load(std::memory_order_acquire)) {
      left(i).wait(n, std::memory_order_acquire);
    }
  }

 private:
  struct Of {
    Index offset = 0;
    Index piece = 0;
  };
  [[nodiscard]] std::atomic<int>& left(Index i) const noexcept { return left_[static_cast<std::size_t>(i)]; }
  void done(Index piece) {
    if (left(piece).fetch_sub(1, std::memory_order_acq_rel) == 1) left(piece).notify_all();
  }

  std::vector<Piece> pieces_;
  std::vector<Of> of_;  ///< by offset
  std::unique_ptr<std::atomic<int>[]> left_;
};

/// Follows one pass, and passes on what is complete.
class PassWatch final : public GradientWatch {
 public:
  explicit PassWatch(GradientPieces& pieces) : pieces_(pieces), state_(static_cast<std::size_t>(pieces.parameters())) {}

  void begin() { std::fill(state_.begin(), state_.end(), State::unused); }
  bool uses(const Parameter& parameter) override {
    State& state = state_[pieces_.number(parameter.offset)];
    return std::exchange(state, State::used) == State::unused;
  }
  void complete(const Parameter& parameter) override { complete(pieces_.number(parameter.offset)); }
  /// The pass is over, or broken off: nothing more comes for any parameter.
  void end() {
    for (std::size_t i = 0; i < state_.size(); ++i) {
      if (state_[i] != State::complete) complete(i);
    }
    pieces_.complete_rest();
  }

 private:
  enum class State : std::uint8_t { unused, used, complete };
  void complete(std::size_t number) {
    state_[number] = State::complete;
    pieces_.complete(number);
  }

  GradientPieces& pieces_;
  std::vector<State> state_;
};

}  // namespace detail

/// Runs training steps: shards on all workers, gradients added in a fixed tree, clipped, handed to the optimiser.
/// After the first step a step allocates nothing from the heap (what the loss function does besides is its own affair).
///
/// With Ranks each process computes its share of every minibatch, and all take the same step. Only the flat gradient travels,
/// with each shard's loss behind it; pieces of it do so while others are still being computed.
template <class T, class OptimizerType>
  requires Optimizer<OptimizerType, T>
class Trainer {
 public:
  /// `parameters`, `workers` and `ranks` must outlive the trainer. Throws Error unless 1 <= shard <= batch, and where there are
  /// more ranks than shards.
  Trainer(Parameters<T>& parameters, OptimizerType optimizer, Workers& workers, const TrainerOptions& options,
          Ranks* ranks = nullptr)
      : parameters_(parameters), optimizer_(std::move(optimizer)), workers_(workers), options_(options), ranks_(ranks) {
    require(options.shard >= 1 && options.batch >= options.shard, "trainer: 1 <= shard <= batch expected, shard ",
            options.shard, " and batch ", options.batch, " came");
    require(options.clip_norm >= 0 && options.clip_value >= 0, "trainer: a clip_norm and a clip_value of at least 0 expected, ",
            options.clip_norm, " and ", options.clip_value, " came");
    const Index shards = this->shards().count();
    if (ranks_ != nullptr && ranks_->size() == 1) ranks_ = nullptr;
    if (ranks_ != nullptr) {
      require(ranks_->size() <= shards, "trainer: at least as many shards as ranks expected, ", shards, " and ", ranks_->size(),
              " came");
      mine_ = shards_of(shards, ranks_->rank(), ranks_->size());
    } else {
      mine_ = {0, shards};
    }
    constexpr Index unit = kAlignment / sizeof(T);
    const Index columns = (failed_at() + unit) / unit * unit;
    gradients_ = Tensor<T, 2>({mine_.count, columns});
    for (int i = 0; i < workers.size(); ++i) arenas_.emplace_back();
    if (ranks_ != nullptr) {
      pieces_ = std::make_unique<detail::GradientPieces>(parameters.layout(), columns, kPiece);
      for (int i = 0; i < workers.size(); ++i) watches_.emplace_back(*pieces_);
      Index most = 0;
      for (Index i = 0; i < pieces_->size(); ++i) most = std::max(most, (*pieces_)[i].count);
      received_ = Tensor<T, 1>({most});
      companion_ = std::make_unique<Companion>();
      failures_.resize(static_cast<std::size_t>(mine_.count));
    }
  }

  /// One step. `loss(tape, task)` runs the forward pass of a shard on the tape and returns its ShardLoss<T>; it is called
  /// from several threads at once. If it has a member `done(task)`, that is called once the backward pass is over too. Where a
  /// gradient or the loss is not finite, throws NotFinite with the parameter's name, the step and the sample, and leaves the
  /// parameters as they were. So it does where a shard or another rank fails, and throws an Error.
  template <class Loss>
    requires std::invocable < Loss&, Tape<T>
  &, const ShardTask& > StepReport step(double learning_rate, Loss&& loss) {
    if (ranks_ == nullptr) {
      workers_.run(mine_.count, [&](Index row, int worker) { pass(row, worker, loss, nullptr); });
      reduce_rows(workers_, gradients_.view());
    } else {
      step_of_ranks(loss);
    }

    const Index shards = this->shards().count();
    const T* told = gradients_.view()[0].data() + size();
    StepReport report;
    report.learning_rate = learning_rate;
    for (Index i = 0; i < shards; ++i) {
      report.loss += static_cast<double>(told[i]) / static_cast<double>(options_.batch);
      report.accuracy += static_cast<double>(told[shards + i]) / static_cast<double>(options_.batch);
    }
    View<T, 1> gradient = gradients_.view()[0].slice(0, size());
    report.gradient_norm = std::sqrt(kernel::squared_norm<T>(gradient));
    if (!std::isfinite(report.gradient_norm) || !std::isfinite(report.loss)) refuse(report.loss, loss);
    double norm = report.gradient_norm;
    if (options_.clip_value > 0) {
      kernel::clip_by_value<T>(static_cast<T>(options_.clip_value), gradient);
      norm = std::sqrt(kernel::squared_norm<T>(gradient));
    }
    if (options_.clip_norm > 0 && norm > options_.clip_norm) {
      kernel::scale<T>(static_cast<T>(options_.clip_norm / norm), gradient, gradient);
    }
    optimizer_.step(parameters_.values(), gradient, learning_rate);
    ++step_;
    return report;
  }

  /// Steps taken, those before resume() too.
  [[nodiscard]] std::uint64_t steps() const noexcept { return step_; }
  /// Goes on as if so many steps had been taken: step numbers name the random numbers.
  void resume(std::uint64_t steps) noexcept { step_ = steps; }

  [[nodiscard]] const TrainerOptions& options() const noexcept { return options_; }
  [[nodiscard]] Parameters<T>& parameters() noexcept { return parameters_; }
  [[nodiscard]] OptimizerType& optimizer() noexcept { return optimizer_; }
  [[nodiscard]] Workers& workers() noexcept { return workers_; }
  /// Null where this process trains alone.
  [[nodiscard]] Ranks* ranks() noexcept { return ranks_; }
  /// The shards of a minibatch that this process computes.
  [[nodiscard]] const ShardRange& my_shards() const noexcept { return mine_; }
  [[nodiscard]] Shards shards() const noexcept { return {options_.batch, options_.shard}; }
  /// The clipped mean gradient of the last step, laid out as the parameters are.
  [[nodiscard]] View<const T, 1> gradient() const noexcept { return gradients_.view()[0].slice(0, size()); }

 private:
  /// Elements of a piece of the gradient that travels alone: large enough that the time of a message is that of its bytes.
  static constexpr Index kPiece = Index{1} << 16;

  [[nodiscard]] Index size() const noexcept { return parameters_.values().size(); }
  /// Where a row says that its shard failed.
  [[nodiscard]] Index failed_at() const noexcept { return size() + 2 * shards().count(); }

  /// Forward and backward of one shard, into its row: the gradient, and behind it the loss and the right answers of every
  /// shard, of which only its own are not 0, and whether it failed. Their sums are therefore exact.
  template <class Loss>
  void pass(Index row, int worker, Loss& loss, GradientWatch* watch) {
    const Shards shards = this->shards();
    const Index shard = mine_.first + row;
    View<T, 1> out = gradients_.view()[row];
    std::fill_n(out.data(), out.size(), T(0));
    const Shards::Range range = shards[shard];
    const auto [sum, correct] =
        run(out.slice(0, size()), ShardTask{step_, range.first, range.count, worker, shard}, loss, watch);
    out(size() + shard) = sum;
    out(size() + shards.count() + shard) = static_cast<T>(correct);
  }

  template <class Loss>
  std::pair<T, Index> run(View<T, 1> gradient, const ShardTask& task, Loss& loss, GradientWatch* watch) {
    Arena& arena = arenas_[static_cast<std::size_t>(task.worker)];
    arena.reset();
    Tape<T> tape(arena, parameters_.values(), gradient);
    if (watch != nullptr) tape.set_watch(*watch);
    const ShardLoss<T> result = loss(tape, task);
    require(result.loss_sum.size() == 1 && result.loss_sum.gradient != nullptr,
            "training: a loss expected that is a scalar and depends on a parameter");
    // Seeding with 1 / batch makes the sum over shards the mean over the minibatch.
    *result.loss_sum.gradient += T(1) / static_cast<T>(options_.batch);
    const T sum = result.loss_sum.item();
    tape.backward();
    if constexpr (requires { loss.done(task); }) loss.done(task);
    return {sum, result.correct};
  }

  template <class Loss>
  void step_of_ranks(Loss& loss) {
    pieces_->begin(mine_.count);
    const auto travel = [this] {
      for (Index i = 0; i < pieces_->size(); ++i) {
        pieces_->wait(i);
        sum_rows<T>(*ranks_, gradients_.view(), shards().count(), (*pieces_)[i].first, (*pieces_)[i].count, received_.data());
      }
    };
    companion_->start(travel);
    workers_.run(mine_.count, [&](Index row, int worker) {
      detail::PassWatch& watch = watches_[static_cast<std::size_t>(worker)];
      watch.begin();
      std::exception_ptr& failure = failures_[static_cast<std::size_t>(row)];
      failure = nullptr;
      try {
        pass(row, worker, loss, &watch);
      } catch (...) {
        // The other ranks wait for this one's share, and are told with it.
        failure = std::current_exception();
        gradients_.view()[row](failed_at()) = T(1);
      }
      watch.end();
    });
    companion_->finish();
    for (const std::exception_ptr& failure : failures_) {
      if (failure) std::rethrow_exception(failure);
    }
    require(gradients_(0, failed_at()) == T(0), "training: step ", step_, " failed on another rank, which says why");
  }

  template <class Loss>
  [[noreturn]] void refuse(double mean_loss, Loss& loss) {
    const View<T, 1> gradient = gradients_.view()[0].slice(0, size());
    std::string what = "training: a finite loss expected, step " + std::to_string(step_) + " gave " + std::to_string(mean_loss);
    const auto bad = [this](View<const T, 1> of) -> const ParameterLayout::Entry* {
      for (const auto& entry : parameters_.layout().entries()) {
        const T* from = of.data() + entry.parameter.offset;
        if (!std::all_of(from, from + entry.parameter.shape.size(), [](T g) { return std::isfinite(g); })) return &entry;
      }
      return nullptr;
    };
    if (const auto* entry = bad(gradient)) {
      const T* from = gradient.data() + entry->parameter.offset;
      const T g = *std::find_if(from, from + entry->parameter.shape.size(), [](T v) { return !std::isfinite(v); });
      what = "training: a finite gradient expected, step " + std::to_string(step_) + " gave " +
             std::to_string(static_cast<double>(g)) + " in \"" + entry->name + "\" (loss " + std::to_string(mean_loss) + ")";
    }
    // One sample after the other: the first that is bad alone is the one to look at.
    for (Index row = 0; row < mine_.count; ++row) {
      const Shards::Range range = shards()[mine_.first + row];
      for (Index i = range.first; i < range.first + range.count; ++i) {
        std::fill_n(gradient.data(), gradient.size(), T(0));
        std::optional<T> alone;
        try {
          alone = run(gradient, ShardTask{step_, i, 1, 0, -1}, loss, nullptr).first;
        } catch (const Error&) {  // a sample alone that cannot be computed says nothing
        }
        if (alone && (!std::isfinite(*alone) || bad(gradient) != nullptr)) {
          throw NotFinite(what + ", in sample " + std::to_string(i) + " of the minibatch (number " +
                          std::to_string(step_ * static_cast<std::uint64_t>(options_.batch) + static_cast<std::uint64_t>(i)) +
                          " of the training)");
        }
      }
    }
    throw NotFinite(what + ", of which no sample of this process alone is the reason");
  }

  Parameters<T>& parameters_;
  OptimizerType optimizer_;
  Workers& workers_;
  TrainerOptions options_;
  Ranks* ranks_;
  ShardRange mine_;
  std::uint64_t step_ = 0;
  std::vector<Arena> arenas_;
  Tensor<T, 2> gradients_;  ///< [my shards, parameters + what pass() says of each shard]

  // Of ranks only.
  std::unique_ptr<detail::GradientPieces> pieces_;
  std::vector<detail::PassWatch> watches_;
  std::vector<std::exception_ptr> failures_;
  Tensor<T, 1> received_;
  std::unique_ptr<Companion> companion_;
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
