// SPDX-License-Identifier: MIT
/// \file
/// Training from beginning to end (nlohmann-json; CMake component `json`): steps, data made ahead, metrics, validation, early
/// stopping, checkpoints, Ctrl-C.
///
///     train::Trainer trainer(weights, train::Adam<float>(model.layout()), workers, {.batch = 32});
///     const auto fitted = train::fit(trainer, pictures, train::learner(model), {.epochs = 20, .checkpoint =
///     "run.safetensors"});
///
/// One seed gives the same bits on any number of threads and ranks, and however often it is stopped and started again: samples
/// and random numbers are named by where they stand in the training, never by who computes them, and a checkpoint holds all
/// else. Not so a training that ends after so many seconds, whose schedules run by the clock.
#pragma once

#include <fovea/bound/schedule.hpp>
#include <fovea/core/checksum.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/prefetch.hpp>
#include <fovea/core/stopwatch.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/model/model.hpp>
#include <fovea/train/checkpoint.hpp>
#include <fovea/train/early_stopping.hpp>
#include <fovea/train/interrupt.hpp>
#include <fovea/train/metrics_log.hpp>
#include <fovea/train/progress.hpp>
#include <fovea/train/ranks.hpp>
#include <fovea/train/trainer.hpp>
#include <fovea/train/weight_average.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// What fit() trains on: an endless sequence of samples, of which any stretch can be asked for.
///
///     D::Shard                        some samples in memory: whatever the loss takes
///     make_shard(count)               room for `count` samples
///     load(shard, first, count)       samples [first, first + count) of the sequence. Called from several threads at once,
///     each
///                                     with a shard of its own; depends on nothing but the three
///     epoch()                         samples until all have been seen once
///     signature()                     if it has one: a text that is another where the samples are others
template <class D>
concept DataSet = requires(const D& data, typename D::Shard& shard, std::uint64_t first, Index count) {
  { data.make_shard(count) } -> std::same_as<typename D::Shard>;
  data.load(shard, first, count);
  { data.epoch() } -> std::convertible_to<std::int64_t>;
};

struct FitOptions {
  // How long: whichever comes first ends it; at least one is to be above 0.
  double epochs = 0;
  std::uint64_t steps = 0;
  double seconds = 0;  ///< of training, over all sittings

  std::function<double(double)> rate = bound::WarmUpCosine{.peak = 1e-3, .warm_up = 0.02, .floor = 0.02};  ///< of progress
  std::uint64_t seed = 1;  ///< of the random numbers of the loss
  double average = 0.99;   ///< decay of the average of the weights; 0: none
  Index ahead = 2;         ///< minibatches made while one is computed; 0: none
  int load_threads = -1;   ///< that make them; -1: as many as workers

  double validate_every = 1;  ///< epochs
  /// Of FitCallbacks::validate; patience 0: never stop.
  EarlyStoppingOptions early_stopping = {.patience = 0};

  std::filesystem::path checkpoint = {};  ///< empty: none
  double checkpoint_every = 30;           ///< seconds; also where training ends, and after Ctrl-C
  bool resume = true;  ///< go on from the checkpoint where there is one; otherwise begin anew, and replace it

  std::filesystem::path metrics = {};  ///< <metrics>.jsonl and <metrics>.csv; empty: none
  std::uint64_t metrics_every = 10;    ///< steps

  std::string title = "training";  ///< of the progress on stderr; empty: none
  bool interruptible = true;       ///< Ctrl-C and SIGTERM end the training after the step, saved
};

/// Where a training is.
struct FitState {
  std::uint64_t step = 0;  ///< steps taken
  std::uint64_t images = 0;
  double epoch = 0;
  double progress = 0;  ///< in [0, 1]
  double seconds = 0;
  StepReport last;                                               ///< the step just taken
  double validation = std::numeric_limits<double>::quiet_NaN();  ///< the last one
  double best_validation = std::numeric_limits<double>::quiet_NaN();
  bool interrupted = false;    ///< ended by Ctrl-C or SIGTERM
  bool stopped_early = false;  ///< validation no longer got better
};

template <class T>
struct FitCallbacks {
  /// After every step, on every rank; false ends the training.
  std::function<bool(const FitState&)> step;
  /// How good these weights are: the averaged ones. On rank 0 alone.
  std::function<double(const Parameters<T>&)> validate;
  /// Goes with every checkpoint, and is looked at when training goes on from it (train::make_self_test).
  std::function<SelfTest(const Parameters<T>&)> self_test;
};

/// What came of it.
template <class T>
struct Fitted {
  Parameters<T> weights;  ///< the best that validation saw where it may stop early; else the average; else the last
  FitState state;
};

namespace detail {

inline constexpr std::string_view kTrainingKind = "training checkpoint";

/// fit(), step by step.
template <class T, class O, class D, class Loss>
class FitRun {
 public:
  FitRun(Trainer<T, O>& trainer, const D& data, Loss& loss, const FitOptions& options, const FitCallbacks<T>& callbacks)
      : trainer_(trainer),
        data_(data),
        loss_(loss),
        options_(options),
        callbacks_(callbacks),
        batch_(static_cast<std::uint64_t>(trainer.options().batch)),
        epoch_(static_cast<double>(data.epoch())) {
    require(options.epochs >= 0 && options.seconds >= 0 && (options.epochs > 0 || options.steps > 0 || options.seconds > 0),
            "fit: a number of epochs, steps or seconds above 0 expected, ", options.epochs, ", ", options.steps, " and ",
            options.seconds, " came");
    require(options.average >= 0 && options.average < 1, "fit: an average's decay in [0, 1) expected, ", options.average,
            " came");
    require(
        options.ahead >= 0 && options.load_threads >= -1 && options.metrics_every >= 1 && options.checkpoint_every >= 0 &&
            options.validate_every > 0,
        "fit: at least 0 minibatches ahead, -1 threads, 1 step between metrics, 0 seconds between checkpoints, and more than "
        "0 epochs between validations expected");
    require(epoch_ >= 1, "fit: data of at least 1 sample expected, ", epoch_, " came");
    require(options.early_stopping.patience >= 0, "fit: a patience of at least 0 expected, ", options.early_stopping.patience,
            " came");
    require(options.early_stopping.patience == 0 || callbacks.validate, "fit: to stop early needs a validation");
    last_step_ = std::numeric_limits<std::uint64_t>::max();
    if (options.epochs > 0) {
      last_step_ = static_cast<std::uint64_t>(std::max(1.0, std::ceil(options.epochs * epoch_ / static_cast<double>(batch_))));
    }
    if (options.steps > 0) last_step_ = std::min(last_step_, options.steps);
    if (options.average > 0) average_.emplace(trainer.parameters(), options.average);
    if (options.early_stopping.patience > 0) stopping_.emplace(trainer.parameters().layout(), options.early_stopping);
  }

  Fitted<T> run() {
    begin();
    std::optional<Interrupt> interrupt;
    if (options_.interruptible) interrupt.emplace();
    const ShardRange& mine = trainer_.my_shards();
    const auto make = [this, mine](typename D::Shard& shard, std::uint64_t item) {
      const auto rows = static_cast<std::uint64_t>(mine.count);
      const Shards::Range range = trainer_.shards()[mine.first + static_cast<Index>(item % rows)];
      data_.load(shard, item / rows * batch_ + static_cast<std::uint64_t>(range.first), range.count);
    };
    std::vector<typename D::Shard> shards;
    for (Index i = 0; i < (1 + options_.ahead) * mine.count; ++i) shards.push_back(data_.make_shard(trainer_.options().shard));
    const int threads = options_.ahead == 0 ? 0 : options_.load_threads < 0 ? trainer_.workers().size() : options_.load_threads;
    Prefetch<typename D::Shard> ahead(std::move(shards), state_.step * static_cast<std::uint64_t>(mine.count), make, threads);

    std::exception_ptr failure;
    try {
      if (leads() && validation_is_due()) validate();  // one that failed is made up for
      while (go_on()) {
        step(ahead);
        if (callbacks_.step && !callbacks_.step(state_)) break;
      }
    } catch (const NotFinite&) {
      throw;  // what was saved before may be better than what led here
    } catch (...) {
      // A lost rank, a picture that cannot be read: the last step is whole, and nothing of it need be done again.
      failure = std::current_exception();
    }
    // A step that failed may have left shards in use; nobody waits for them.
    if (failure) {
      save();
      std::rethrow_exception(failure);
    }
    return end();
  }

 private:
  [[nodiscard]] bool leads() const { return ranks() == nullptr || ranks()->rank() == 0; }
  [[nodiscard]] Ranks* ranks() const { return trainer_.ranks(); }
  [[nodiscard]] const Parameters<T>& averaged() const { return average_ ? average_->parameters() : trainer_.parameters(); }

  // ------------------------------------------------------------------------------------------------------------ the way
  void begin() {
    if (leads()) {
      if (options_.resume && !options_.checkpoint.empty()) {
        std::error_code error;
        const bool there = std::filesystem::exists(options_.checkpoint, error);
        require(!error, options_.checkpoint.string(), ": cannot be read: ", error.message());
        if (there) load();
      }
      if (!options_.metrics.empty()) log_ = std::make_unique<MetricsLog>(options_.metrics, logged_);
      if (!options_.title.empty()) {
        progress_ = std::make_unique<Progress>();
        progress_->begin(options_.title);
        if (state_.step > 0) {
          progress_->say(format("goes on after step %llu from ", static_cast<unsigned long long>(state_.step)) +
                         options_.checkpoint.string());
        }
      }
    }
    if (ranks() != nullptr) share();
    trainer_.resume(state_.step);
    sat_down_ = state_.seconds;
    saved_ = 0;
    watch_.restart();
  }

  /// What rank 0 knows of the past, to all.
  void share() {
    const auto to_all = [&](View<T, 1> values) {
      ranks()->broadcast(values.data(), static_cast<std::size_t>(values.size()) * sizeof(T));
    };
    std::int64_t optimizer_steps = trainer_.optimizer().steps();
    ranks()->broadcast(&state_.step, sizeof state_.step);
    ranks()->broadcast(&state_.images, sizeof state_.images);
    ranks()->broadcast(&optimizer_steps, sizeof optimizer_steps);
    to_all(trainer_.parameters().values());
    for (View<T, 1> moment : trainer_.optimizer().moments()) to_all(moment);
    trainer_.optimizer().resume(optimizer_steps);
    if (average_) {
      std::int64_t updates = average_->updates();
      ranks()->broadcast(&updates, sizeof updates);
      to_all(average_->values());
      average_->resume(updates);
    }
  }

  [[nodiscard]] double progress_at(double seconds) const {
    double progress = 0;
    if (last_step_ != std::numeric_limits<std::uint64_t>::max()) {
      progress = static_cast<double>(state_.step) / static_cast<double>(last_step_);
    }
    if (options_.seconds > 0) progress = std::max(progress, seconds / options_.seconds);
    return std::min(progress, 1.0);
  }

  /// Rank 0 has the clock, the keyboard and the validation: it decides for all.
  [[nodiscard]] bool go_on() {
    struct {
      double progress;
      bool on;
    } decision{};
    if (leads()) {
      state_.seconds = sat_down_ + watch_.seconds();
      decision.progress = progress_at(state_.seconds);
      state_.interrupted = options_.interruptible && Interrupt::requested();
      decision.on = decision.progress < 1 && !state_.interrupted && !state_.stopped_early;
    }
    if (ranks() != nullptr) ranks()->broadcast(&decision, sizeof decision);
    state_.progress = decision.progress;
    return decision.on;
  }

  void step(Prefetch<typename D::Shard>& ahead) {
    const double rate = options_.rate(state_.progress);
    state_.last = trainer_.step(rate, ShardPass{*this, ahead});
    if (average_) average_->update(trainer_.parameters());
    unsaved_ = true;
    state_.step = trainer_.steps();
    state_.images += batch_;
    state_.epoch = static_cast<double>(state_.images) / epoch_;
    if (!leads()) return;

    state_.seconds = sat_down_ + watch_.seconds();
    since_line_.loss += state_.last.loss;
    since_line_.accuracy += state_.last.accuracy;
    ++since_line_.steps;
    const bool validates = validation_is_due();
    if (validates) validate();
    if (log_ != nullptr && (validates || since_line_.steps >= options_.metrics_every)) write_line(validates);
    show();
    if (!options_.checkpoint.empty() && state_.seconds - sat_down_ - saved_ >= options_.checkpoint_every) save();
  }

  /// What the trainer asks for: data that were made ahead, until its backward pass is over.
  struct ShardPass {
    FitRun& run;
    Prefetch<typename D::Shard>& ahead;

    [[nodiscard]] std::uint64_t item(const ShardTask& task) const {
      const ShardRange& mine = run.trainer_.my_shards();
      return task.step * static_cast<std::uint64_t>(mine.count) + static_cast<std::uint64_t>(task.shard - mine.first);
    }
    ShardLoss<T> operator()(Tape<T>& tape, const ShardTask& task) {
      const model::Moment moment{run.state_.progress, {run.options_.seed, task.step, static_cast<std::uint64_t>(task.first)}};
      if (task.shard < 0) return run.again(tape, task, moment);
      const typename D::Shard& shard = ahead.take(item(task));
      return run.loss_(tape, shard, moment);
    }
    void done(const ShardTask& task) {
      if (task.shard >= 0) ahead.give_back(item(task));
    }
  };

  /// A sample that is asked for again, alone.
  ShardLoss<T> again(Tape<T>& tape, const ShardTask& task, const model::Moment& moment) {
    if (!spare_) spare_.emplace(data_.make_shard(task.count));
    data_.load(*spare_, task.step * batch_ + static_cast<std::uint64_t>(task.first), task.count);
    return loss_(tape, std::as_const(*spare_), moment);
  }

  // --------------------------------------------------------------------------------------------------------- what is told
  /// How many validations are due by a step.
  [[nodiscard]] std::uint64_t validations(std::uint64_t step) const {
    return static_cast<std::uint64_t>(static_cast<double>(step * batch_) / (epoch_ * options_.validate_every));
  }

  [[nodiscard]] bool validation_is_due() const { return callbacks_.validate && validations(state_.step) > validated_; }

  void validate() {
    state_.validation = callbacks_.validate(averaged());
    unsaved_ = true;
    validated_ = validations(state_.step);
    if (stopping_) {
      (void)stopping_->update(state_.validation, averaged());
      state_.best_validation = stopping_->has_best() ? stopping_->state().best : std::nan("");
      state_.stopped_early = stopping_->should_stop();
    }
    if (progress_ != nullptr) {
      progress_->say(format("epoch %.4g: validation %.4g", state_.epoch, state_.validation));
    }
  }

  void write_line(bool validated) {
    MetricsLine line;
    line.step = state_.step;
    line.images = state_.images;
    line.epoch = state_.epoch;
    line.seconds = state_.seconds;
    line.images_per_second =
        static_cast<double>(since_line_.steps * batch_) / std::max(state_.seconds - since_line_.seconds, 1e-9);
    line.loss = since_line_.loss / static_cast<double>(since_line_.steps);
    line.accuracy = since_line_.accuracy / static_cast<double>(since_line_.steps);
    line.gradient_norm = state_.last.gradient_norm;
    line.learning_rate = state_.last.learning_rate;
    if (validated) line.validation = state_.validation;
    log_->write(line);
    since_line_ = {.seconds = state_.seconds};
  }

  void show() {
    if (progress_ == nullptr) return;
    // What is shown is the mean over the last steps.
    const double weight = std::max(1.0 / static_cast<double>(++shown_.steps), 0.005);
    shown_.loss += weight * (state_.last.loss - shown_.loss);
    shown_.accuracy += weight * (state_.last.accuracy - shown_.accuracy);
    progress_->update({.fraction = progress_at(state_.seconds),
                       .images = static_cast<std::int64_t>(shown_.steps * batch_),
                       .loss = shown_.loss,
                       .accuracy = shown_.accuracy});
  }

  Fitted<T> end() {
    if (leads()) {
      if (unsaved_) save();
      if (progress_ != nullptr) progress_->end();
      if (state_.interrupted && !options_.title.empty()) {
        std::fprintf(stderr, "stopped after step %llu%s\n", static_cast<unsigned long long>(state_.step),
                     options_.checkpoint.empty()
                         ? ""
                         : (", saved to " + options_.checkpoint.string() + "; the same command goes on from there").c_str());
      }
    }
    Fitted<T> fitted{averaged(), state_};
    if (stopping_ && leads() && stopping_->has_best()) stopping_->restore(fitted.weights);
    if (ranks() != nullptr) {
      View<T, 1> values = fitted.weights.values();
      ranks()->broadcast(values.data(), static_cast<std::size_t>(values.size()) * sizeof(T));
    }
    return fitted;
  }

  // --------------------------------------------------------------------------------------------------------- checkpoints
  void save() {
    if (options_.checkpoint.empty() || !leads()) return;
    CheckpointWriter file(kTrainingKind);
    file.weights(trainer_.parameters());
    const std::vector<View<T, 1>> moments = trainer_.optimizer().moments();
    for (std::size_t i = 0; i < moments.size(); ++i) file.tensor("optimizer." + std::to_string(i), moments[i]);
    file.set("optimizer", {{"signature", trainer_.optimizer().signature()}, {"steps", trainer_.optimizer().steps()}});
    if (average_) {
      file.tensor("average", average_->values());
      file.set("average", {{"decay", average_->decay()}, {"updates", average_->updates()}});
    }
    if (stopping_) {
      const auto& s = stopping_->state();
      file.tensor("best", stopping_->best_weights());
      file.set("early_stopping", {{"validations", s.validations},
                                  {"best_validation", s.best_validation},
                                  {"best", s.best},
                                  {"stopped", state_.stopped_early}});
    }
    SelfTest test;
    if (callbacks_.self_test) file.self_test(test = callbacks_.self_test(trainer_.parameters()));
    const MetricsPosition logged = log_ != nullptr ? log_->position() : logged_;
    file.set("metrics", {{"jsonl", logged.jsonl},
                         {"csv", logged.csv},
                         {"loss", since_line_.loss},
                         {"accuracy", since_line_.accuracy},
                         {"steps", since_line_.steps},
                         {"seconds", since_line_.seconds}});
    file.set("data", identity());
    file.set("step", state_.step);
    file.set("images", state_.images);
    file.set("seconds", state_.seconds);
    file.set("validated", validated_);
    file.save(options_.checkpoint);
    saved_ = watch_.seconds();
    unsaved_ = false;
  }

  /// What must be the same for a training to go on as if it had never stopped.
  [[nodiscard]] Json identity() const {
    const TrainerOptions& o = trainer_.options();
    std::string samples;
    if constexpr (requires { data_.signature(); }) samples = data_.signature();
    return {{"samples", samples},
            {"batch", o.batch},
            {"shard", o.shard},
            {"clip_norm", o.clip_norm},
            {"clip_value", o.clip_value},
            {"seed", options_.seed},
            {"epoch", static_cast<std::int64_t>(epoch_)}};
  }

  void load() {
    const CheckpointFile file(options_.checkpoint, kTrainingKind);
    const auto same = [&](const std::string& what, const std::string& expected, const std::string& came) {
      require(expected == came, file.path(), ": cannot go on from it: ", what, " ", expected, " expected, it is of ", came);
    };
    const auto data = file.get<Json>("data");
    const Json mine = identity();
    for (const auto& [key, value] : mine.items()) {
      same(key, value.dump(), data.contains(key) ? data.at(key).dump() : "none");
    }
    const auto optimizer = file.get<Json>("optimizer");
    same("optimiser", trainer_.optimizer().signature(), text(optimizer, "signature"));
    same("average", average_ ? std::to_string(average_->decay()) : "none",
         file.has("average") ? std::to_string(number<double>(file, "average", "decay")) : "none");
    require(!stopping_ || file.has("early_stopping"), file.path(), ": cannot go on from it: it has no early stopping");

    file.weights(trainer_.parameters());
    const std::vector<View<T, 1>> moments = trainer_.optimizer().moments();
    for (std::size_t i = 0; i < moments.size(); ++i) file.tensor("optimizer." + std::to_string(i), moments[i]);
    trainer_.optimizer().resume(number<std::int64_t>(file, "optimizer", "steps"));
    if (average_) {
      file.tensor("average", average_->values());
      average_->resume(number<std::int64_t>(file, "average", "updates"));
    }
    if (stopping_) {
      file.tensor("best", stopping_->best_weights());
      stopping_->resume({number<std::int64_t>(file, "early_stopping", "validations"),
                         number<std::int64_t>(file, "early_stopping", "best_validation"),
                         number<double>(file, "early_stopping", "best")});
      state_.stopped_early = number<bool>(file, "early_stopping", "stopped");
      if (stopping_->has_best()) state_.best_validation = stopping_->state().best;
    }
    logged_ = {number<std::uint64_t>(file, "metrics", "jsonl"), number<std::uint64_t>(file, "metrics", "csv")};
    since_line_ = {number<double>(file, "metrics", "loss"), number<double>(file, "metrics", "accuracy"),
                   number<std::uint64_t>(file, "metrics", "steps"), number<double>(file, "metrics", "seconds")};
    state_.step = file.get<std::uint64_t>("step");
    state_.images = file.get<std::uint64_t>("images");
    state_.epoch = static_cast<double>(state_.images) / epoch_;
    state_.seconds = file.get<double>("seconds");
    validated_ = file.get<std::uint64_t>("validated");
    if (callbacks_.self_test) check_self_test(file.path(), file.self_test(), callbacks_.self_test(trainer_.parameters()));
  }

  template <class V>
  [[nodiscard]] static V number(const CheckpointFile& file, const std::string& group, const std::string& key) {
    try {
      return file.get<Json>(group).at(key).get<V>();
    } catch (const Json::exception& error) {
      fail(file.path(), ": \"", group, "\" is not as expected: ", error.what());
    }
  }
  [[nodiscard]] static std::string text(const Json& json, const char* key) {
    return json.is_object() && json.contains(key) && json.at(key).is_string() ? json.at(key).get<std::string>() : "none";
  }

  Trainer<T, O>& trainer_;
  const D& data_;
  Loss& loss_;
  const FitOptions& options_;
  const FitCallbacks<T>& callbacks_;
  std::uint64_t batch_;
  double epoch_;
  std::uint64_t last_step_;
  std::optional<WeightAverage<T>> average_;
  std::optional<EarlyStopping<T>> stopping_;
  std::optional<typename D::Shard> spare_;

  FitState state_;
  bool unsaved_ = false;
  Stopwatch watch_;
  double sat_down_ = 0;          ///< seconds of earlier sittings
  double saved_ = 0;             ///< seconds of this one when it was saved last
  std::uint64_t validated_ = 0;  ///< how often

  /// Sums over some steps.
  struct Sums {
    double loss = 0;
    double accuracy = 0;
    std::uint64_t steps = 0;
    double seconds = 0;  ///< when they began
  };
  Sums since_line_;
  Sums shown_;
  MetricsPosition logged_;
  std::unique_ptr<MetricsLog> log_;
  std::unique_ptr<Progress> progress_;
};

}  // namespace detail

/// Trains. `loss(tape, shard, moment)` is the forward pass of a shard of `data`, a ShardLoss<T>: train::learner() makes one of
/// a model. Starts from the trainer's parameters, and leaves them as they are after the last step.
///
/// Throws Error where a loss or gradient is not finite, where a file cannot be read or written, where a checkpoint is not of
/// this training, and whatever `data` or `loss` throw; but for the first, the state after the last whole step is saved before.
template <class T, class O, DataSet D, class Loss>
Fitted<T> fit(Trainer<T, O>& trainer, const D& data, Loss&& loss, const FitOptions& options,
              const FitCallbacks<T>& callbacks = {}) {
  return detail::FitRun<T, O, D, Loss>(trainer, data, loss, options, callbacks).run();
}

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
