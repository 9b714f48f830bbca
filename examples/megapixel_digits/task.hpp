// SPDX-License-Identifier: MIT
// Megapixel digits for any model: training by epochs over a finite set, and answers to a test set.
#pragma once

#include <fovea/data/megapixel_digits.hpp>
#include <fovea/data/shuffle.hpp>
#include <fovea/fovea.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace megapixel {

struct TaskOptions {
  fovea::data::MegapixelDigitsOptions images = {};  ///< `images` is set by the next two
  fovea::Index train_images = 5000;
  fovea::Index test_images = 1000;  ///< and as many to calibrate with
  fovea::Extents<2> proxy = {180, 180};
  fovea::Index batch = 16;
  fovea::Index shard = 8;
  double rate = 1e-3;
  std::uint64_t seed = 1;
};

/// An epoch's end.
struct EpochReport {
  int epoch = 0;  ///< from 1
  double loss = 0;
  double train_accuracy = 0;
  double test_accuracy = 0;
  double seconds = 0;  ///< of training, since it began
};

/// Some images of a shard with their proxies, made on the spot. One per worker.
class Shard {
 public:
  Shard(fovea::Index capacity, const TaskOptions& o)
      : proxies_({capacity, o.proxy[0], o.proxy[1], 1}), labels_(static_cast<std::size_t>(capacity)) {
    for (fovea::Index i = 0; i < capacity; ++i) {
      pixels_.emplace_back(fovea::Extents<3>{o.images.height, o.images.width, 1});
      std::fill_n(pixels_.back().data(), pixels_.back().size(), std::uint8_t{0});
      pyramids_.emplace_back();
      samples_.emplace_back();
    }
  }

  void fill(const fovea::data::MegapixelDigits& digits, std::span<const std::uint64_t> which) {
    count_ = static_cast<fovea::Index>(which.size());
    for (std::size_t i = 0; i < which.size(); ++i) {
      fovea::data::MegapixelDigits::erase(samples_[i], pixels_[i].view());
      samples_[i] = digits.draw(which[i], pixels_[i].view());
      pyramids_[i].assign(std::as_const(pixels_[i]).view());
      fovea::proxy(pyramids_[i], proxies_.view()[static_cast<fovea::Index>(i)]);
      labels_[i] = samples_[i].label;
    }
  }

  [[nodiscard]] std::span<const fovea::Pyramid<std::uint8_t>> images() const {
    return {pyramids_.data(), static_cast<std::size_t>(count_)};
  }
  [[nodiscard]] std::span<const std::int32_t> labels() const { return {labels_.data(), static_cast<std::size_t>(count_)}; }
  [[nodiscard]] const fovea::data::MegapixelSample& sample(std::size_t i) const { return samples_[i]; }

  template <class C>
  [[nodiscard]] fovea::model::Minibatch<float, fovea::Pyramid<std::uint8_t>> minibatch(C& context) const {
    return {context.constant(proxies_.data(), fovea::Shape{count_, proxies_.extent(1), proxies_.extent(2), 1}), images(),
            labels()};
  }

 private:
  fovea::Index count_ = 0;
  std::vector<fovea::Tensor<std::uint8_t, 3>> pixels_;
  std::vector<fovea::Pyramid<std::uint8_t>> pyramids_;
  std::vector<fovea::data::MegapixelSample> samples_;
  fovea::Tensor<float, 4> proxies_;
  std::vector<std::int32_t> labels_;
};

class Task {
 public:
  /// Test and calibration show the digits of `test`, at places of their own.
  Task(const fovea::data::DigitSet& train, const fovea::data::DigitSet& test, const TaskOptions& options,
       fovea::Workers& workers)
      : options_(options),
        train_(train, of(options.images, options.train_images), options.seed),
        test_(test, of(options.images, options.test_images), options.seed + (std::uint64_t{1} << 32)),
        held_out_(test, of(options.images, options.test_images), options.seed + (std::uint64_t{2} << 32)),
        workers_(workers) {
    for (int i = 0; i < workers.size(); ++i) shards_.emplace_back(options.shard, options);
  }

  [[nodiscard]] const TaskOptions& options() const { return options_; }
  [[nodiscard]] int classes() const { return train_.classes(); }

  /// Trains for `epochs`, schedules running over them; after each calls told(report, averaged weights), which may say false to
  /// end. `outcome(context, minibatch, moment)` is the loss of a shard. Returns the averaged weights.
  template <class Outcome, class Told>
  fovea::Parameters<float> train(const fovea::ParameterLayout& layout, int epochs, Outcome&& outcome, Told&& told) {
    using namespace fovea;
    Parameters<float> weights(layout, options_.seed);
    train::WeightAverage<float> average(weights);
    train::Trainer<float, train::Adam<float>> trainer(weights, train::Adam<float>(weights.values().size(), {.beta2 = 0.99}),
                                                      workers_, {.batch = options_.batch, .shard = options_.shard});
    const bound::WarmUpCosine rate{.peak = options_.rate, .warm_up = 0.02, .floor = 0.02};
    const Index steps = options_.train_images / options_.batch;
    EpochReport report;
    for (report.epoch = 1; report.epoch <= epochs; ++report.epoch) {
      const data::Shuffle order(options_.train_images, options_.seed, static_cast<std::uint64_t>(report.epoch));
      report.loss = report.train_accuracy = 0;
      const auto start = std::chrono::steady_clock::now();
      for (Index i = 0; i < steps; ++i) {
        const double progress = static_cast<double>((report.epoch - 1) * steps + i) / static_cast<double>(epochs * steps);
        const auto done = trainer.step(rate(progress), [&](Tape<float>& tape, const train::ShardTask& task) {
          Shard& shard = shards_[static_cast<std::size_t>(task.worker)];
          std::array<std::uint64_t, 64> which{};
          for (Index k = 0; k < task.count; ++k) {
            which[static_cast<std::size_t>(k)] = static_cast<std::uint64_t>(order[i * options_.batch + task.first + k]);
          }
          shard.fill(train_, {which.data(), static_cast<std::size_t>(task.count)});
          const model::Moment moment{progress, {options_.seed, task.step, static_cast<std::uint64_t>(task.first)}};
          const model::Outcome<float> result = outcome(tape, shard.minibatch(tape), moment);
          return train::ShardLoss<float>{result.loss_sum, train::count_correct(result.logits, shard.labels())};
        });
        average.update(weights);
        report.loss += done.loss / static_cast<double>(steps);
        report.train_accuracy += done.accuracy / static_cast<double>(steps);
      }
      report.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      if (!told(report, average.parameters())) break;
    }
    return average.parameters();
  }

  enum class Set { test, held_out };

  /// Calls each(image, sample, arena, worker) for all images of a set, on all workers, one image at a time on each.
  template <class Each>
  void for_each(Set set, Each&& each) {
    std::vector<fovea::Arena> arenas(static_cast<std::size_t>(workers_.size()));
    workers_.run(options_.test_images, [&](fovea::Index i, int worker) {
      const auto at = static_cast<std::size_t>(worker);
      const std::array<std::uint64_t, 1> which{static_cast<std::uint64_t>(i)};
      shards_[at].fill(set == Set::test ? test_ : held_out_, which);
      arenas[at].reset();
      each(i, shards_[at].images()[0], shards_[at].sample(0), arenas[at], worker);
    });
  }
  [[nodiscard]] int workers() const { return workers_.size(); }

  /// The first test image, as a minibatch of one in a context; it stays until the next use of the task.
  template <class C>
  [[nodiscard]] fovea::model::Minibatch<float, fovea::Pyramid<std::uint8_t>> first(C& context) {
    const std::array<std::uint64_t, 1> which{0};
    shards_[0].fill(test_, which);
    return shards_[0].minibatch(context);
  }

 private:
  static fovea::data::MegapixelDigitsOptions of(fovea::data::MegapixelDigitsOptions images, fovea::Index count) {
    images.images = count;
    return images;
  }

  TaskOptions options_;
  fovea::data::MegapixelDigits train_;
  fovea::data::MegapixelDigits test_;
  fovea::data::MegapixelDigits held_out_;
  fovea::Workers& workers_;
  std::vector<Shard> shards_;
};

}  // namespace megapixel
