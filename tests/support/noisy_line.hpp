// SPDX-License-Identifier: MIT
// A data set and a model so small that a training step takes microseconds: y = 3 x_0 - x_1 + noise, by a dense layer of two
// stages, with as much randomness as there is in a real training.
#pragma once

#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/model/model.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/train/trainer.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

namespace fovea_test {

struct NoisyLine {
  struct Shard {
    fovea::Tensor<float, 2> x;
    fovea::Tensor<float, 2> y;
    fovea::Index count = 0;
  };

  std::int64_t samples = 100;                    ///< in an epoch
  std::function<void(std::uint64_t)> on_sample;  ///< told of each one that is made

  [[nodiscard]] Shard make_shard(fovea::Index capacity) const {
    return {fovea::Tensor<float, 2>({capacity, 2}), fovea::Tensor<float, 2>({capacity, 1}), 0};
  }
  void load(Shard& shard, std::uint64_t first, fovea::Index count) const {
    shard.count = count;
    for (fovea::Index i = 0; i < count; ++i) {
      const std::uint64_t sample = first + static_cast<std::uint64_t>(i);
      if (on_sample) on_sample(sample);
      fovea::Stream stream(5, 0, sample, fovea::Purpose::generate);
      shard.x(i, 0) = stream.normal<float>();
      shard.x(i, 1) = stream.normal<float>();
      shard.y(i, 0) = 3 * shard.x(i, 0) - shard.x(i, 1) + 0.1F * stream.normal<float>();
    }
  }
  [[nodiscard]] std::int64_t epoch() const { return samples; }
};

class LineModel {
 public:
  explicit LineModel(fovea::Index hidden = 40) : first_(layout_, "first", 2, hidden), second_(layout_, "second", hidden, 1) {}

  [[nodiscard]] const fovea::ParameterLayout& layout() const { return layout_; }

  fovea::train::ShardLoss<float> operator()(fovea::Tape<float>& tape, const NoisyLine::Shard& shard,
                                            const fovea::model::Moment& moment) const {
    using namespace fovea;
    const Var<float> x = tape.constant(shard.x.data(), Shape{shard.count, 2});
    const Var<float> y = tape.constant(shard.y.data(), Shape{shard.count, 1});
    const Var<float> hidden = nn::tanh(tape, first_(tape, x));
    // Noise that depends on the step, as a draw of locations does.
    const Var<float> noise = tape.constant(hidden.shape);
    const Index width = hidden.shape[1];
    for (Index b = 0; b < shard.count; ++b) {
      Stream stream(moment.noise.seed, moment.noise.step, moment.noise.first_sample + static_cast<std::uint64_t>(b),
                    Purpose::test);
      for (Index k = 0; k < width; ++k) noise.value[b * width + k] = 0.01F * stream.normal<float>();
    }
    const Var<float> error = nn::subtract(tape, second_(tape, nn::add(tape, hidden, noise)), y);
    return {nn::sum(tape, nn::multiply(tape, error, error)), shard.count};
  }
  /// Mean squared error on samples that training does not see.
  [[nodiscard]] double error(const fovea::Parameters<float>& weights) const {
    const NoisyLine line;
    NoisyLine::Shard shard = line.make_shard(50);
    line.load(shard, 1'000'000'000, 50);
    fovea::Arena arena;
    fovea::Inference<float> context(arena, weights.values());
    const auto x = context.constant(shard.x.data(), fovea::Shape{50, 2});
    const auto out = second_(context, fovea::nn::tanh(context, first_(context, x)));
    double sum = 0;
    for (fovea::Index i = 0; i < 50; ++i) {
      const auto d = static_cast<double>(out.value[i] - shard.y(i, 0));
      sum += d * d / 50;
    }
    return sum;
  }

 private:
  fovea::ParameterLayout layout_;
  fovea::nn::Dense first_;
  fovea::nn::Dense second_;
};

}  // namespace fovea_test
