// SPDX-License-Identifier: MIT
// The demo's task and its training step, small: made-up digits on a canvas, magnified, seen by a saccader.
#pragma once

#include <fovea/data/cluttered_digits.hpp>
#include <fovea/image/magnified.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/curriculum.hpp>
#include <fovea/train/trainer.hpp>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace fovea_test {

/// Digits nobody drew: class k is a bright cross of its own at its own place.
inline fovea::data::DigitSet made_up_digits() {
  fovea::data::DigitSet set;
  set.classes = 10;
  set.images = fovea::Tensor<std::uint8_t, 3>({40, 28, 28});
  set.labels = fovea::Tensor<std::uint8_t, 1>({40});
  for (fovea::Index i = 0; i < 40; ++i) {
    const fovea::Index k = i % 10;
    set.labels(i) = static_cast<std::uint8_t>(k);
    for (fovea::Index p = 4; p < 24; ++p) {
      set.images(i, p, 4 + 2 * k) = 255;
      set.images(i, 22 - 2 * k + (i / 10) % 2, p) = 200;
    }
  }
  return set;
}

/// Runs training steps of a saccader on cluttered digits.
class DigitsTask {
 public:
  DigitsTask(int threads, fovea::Index steps, fovea::Index batch = 12, fovea::Index shard = 4)
      : digits_(made_up_digits()),
        generator_(digits_, {}, 11),
        magnifier_({100, 100}, {2528, 2528}),
        model_(options(steps)),
        weights_(model_.layout(), 5),
        workers_(threads),
        trainer_(weights_, fovea::train::Adam<float>(weights_.values().size()), workers_, {.batch = batch, .shard = shard}) {
    for (int i = 0; i < threads; ++i) {
      Buffers& b = buffers_.emplace_back();
      b.images.resize(static_cast<std::size_t>(shard));
      b.labels.resize(static_cast<std::size_t>(shard));
      b.proxies = fovea::Tensor<float, 4>({shard, 20, 20, 1});
    }
  }

  fovea::train::StepReport step() {
    const double progress = 0.3;
    return trainer_.step(1e-3, [&](fovea::Tape<float>& tape, const fovea::train::ShardTask& task) {
      Buffers& b = buffers_[static_cast<std::size_t>(task.worker)];
      for (fovea::Index i = 0; i < task.count; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const auto sample = task.step * 12 + static_cast<std::uint64_t>(task.first + i);
        b.labels[at] = generator_.generate(sample, b.canvas.view()).label;
        b.images[at].assign(magnifier_, std::as_const(b.canvas).view(), b.scratch);
        fovea::proxy(b.images[at], b.proxies.view()[i]);
      }
      fovea::model::Looking looking = curriculum_.looking(progress);
      looking.noise = {3, task.step, static_cast<std::uint64_t>(task.first)};
      const auto proxies = tape.constant(b.proxies.data(), fovea::Shape{task.count, 20, 20, 1});
      const auto count = static_cast<std::size_t>(task.count);
      const auto path = model_.forward(tape, proxies, std::span<const fovea::MagnifiedImage>(b.images.data(), count), looking);
      return fovea::train::ShardLoss<float>{model_.loss(tape, path, {b.labels.data(), count}, curriculum_.loss(progress)), 0};
    });
  }

  fovea::model::Prediction classify(fovea::Arena& arena) {
    Buffers& b = buffers_[0];
    arena.reset();
    return model_.classify(b.images[0], weights_, arena);
  }

  [[nodiscard]] const fovea::Parameters<float>& weights() const { return weights_; }

 private:
  struct Buffers {
    std::vector<fovea::MagnifiedImage> images;
    fovea::Tensor<std::uint8_t, 3> canvas{{100, 100, 1}};
    fovea::Tensor<float, 4> proxies;
    std::vector<std::int32_t> labels;
    fovea::Arena scratch;
  };

  static fovea::model::SaccaderOptions options(fovea::Index steps) {
    fovea::model::SaccaderOptions o;
    o.steps = steps;
    return o;
  }

  fovea::data::DigitSet digits_;
  fovea::data::ClutteredDigits generator_;
  fovea::Magnifier magnifier_;
  fovea::model::Saccader model_;
  fovea::Parameters<float> weights_;
  fovea::Workers workers_;
  fovea::train::Trainer<float, fovea::train::Adam<float>> trainer_;
  fovea::train::Curriculum curriculum_{model_.options()};
  std::vector<Buffers> buffers_;
};

}  // namespace fovea_test
