// SPDX-License-Identifier: MIT
/// \file
/// Our side of the training step that is compared with torch, dlib and tiny-dnn: images 1x64x64, three 3x3 convolutions of
/// 16, 32 and 64 channels with ReLU and 2x2 maxima, a dense layer to 10 classes, cross-entropy, Adam; 32 images a step.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/nn/nn.hpp>
#include <fovea/train/adam.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace peers {

/// Weights in PyTorch's order: a convolution [outputs, inputs, 3, 3], the dense layer [outputs, inputs], whose inputs count
/// channels first.
struct PlainWeights {
  std::vector<std::vector<float>> w, b;
};

class TinyCnn {
 public:
  static constexpr const char* kName = "training step of a tiny CNN batch 32";
  static constexpr fovea::Index kBatch = 32;
  static constexpr fovea::Index kSide = 64;
  static constexpr fovea::Index kClasses = 10;
  static constexpr double kRate = 1e-3;

  std::vector<float> images;         ///< kBatch x 64 x 64
  std::vector<std::int32_t> labels;  ///< kBatch
  fovea::Index parameter_count() const { return layout_.size(); }

  TinyCnn() : images(static_cast<std::size_t>(kBatch * kSide * kSide)), labels(static_cast<std::size_t>(kBatch)) {
    fovea::Stream stream(1, 0, 0, fovea::Purpose::user);
    for (float& e : images) e = stream.uniform(0.0F, 1.0F);
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % kClasses);
  }

  /// One training step; returns the mean loss before it.
  float step() {
    arena_.reset();
    std::fill(gradients_.begin(), gradients_.end(), 0.0F);
    fovea::Tape<float> tape(arena_, parameters_.values(), gradients_.view());
    const auto x = tape.constant(images.data(), {kBatch, kSide, kSide, 1});
    const auto loss = fovea::nn::mean(tape, fovea::nn::cross_entropy(tape, net_(tape, x), std::span(labels)));
    tape.backward(loss);
    adam_.step(parameters_.values(), std::as_const(gradients_).view(), kRate);
    return loss.item();
  }

  [[nodiscard]] PlainWeights weights() {
    PlainWeights plain;
    const char* const names[] = {"conv1", "conv2", "conv3"};
    fovea::Index inputs = 1;
    for (const char* name : names) {
      const auto w = parameters_.at(std::string(name) + ".w");
      const auto b = parameters_.at(std::string(name) + ".b");
      const fovea::Index outputs = b.size();
      std::vector<float> to(static_cast<std::size_t>(w.size()));
      for (fovea::Index tap = 0; tap < 9; ++tap) {
        for (fovea::Index i = 0; i < inputs; ++i) {
          for (fovea::Index o = 0; o < outputs; ++o) {
            to[static_cast<std::size_t>((o * inputs + i) * 9 + tap)] = w((tap * inputs + i) * outputs + o);
          }
        }
      }
      plain.w.push_back(std::move(to));
      plain.b.emplace_back(b.data(), b.data() + b.size());
      inputs = outputs;
    }
    const auto w = parameters_.at("dense.w");
    const auto b = parameters_.at("dense.b");
    constexpr fovea::Index positions = 64;
    std::vector<float> to(static_cast<std::size_t>(w.size()));
    for (fovea::Index p = 0; p < positions; ++p) {
      for (fovea::Index i = 0; i < inputs; ++i) {
        for (fovea::Index o = 0; o < kClasses; ++o) {
          to[static_cast<std::size_t>((o * inputs + i) * positions + p)] = w((p * inputs + i) * kClasses + o);
        }
      }
    }
    plain.w.push_back(std::move(to));
    plain.b.emplace_back(b.data(), b.data() + b.size());
    return plain;
  }

 private:
  using Conv = fovea::nn::Conv2d;
  using Relu = fovea::nn::Activate;
  using Pool = fovea::nn::MaxPool2d;

  fovea::ParameterLayout layout_;
  fovea::nn::Sequential<Conv, Relu, Pool, Conv, Relu, Pool, Conv, Relu, Pool, fovea::nn::Flatten, fovea::nn::Dense> net_{
      Conv(layout_, "conv1", 1, 16, {.kernel = 3, .padding = 1}),
      Relu{},
      Pool{},
      Conv(layout_, "conv2", 16, 32, {.kernel = 3, .padding = 1}),
      Relu{},
      Pool{},
      Conv(layout_, "conv3", 32, 64, {.kernel = 3, .padding = 1}),
      Relu{},
      Pool{},
      fovea::nn::Flatten{},
      fovea::nn::Dense(layout_, "dense", 64 * 64, kClasses)};
  fovea::Parameters<float> parameters_{layout_, 1};
  fovea::Tensor<float, 1> gradients_{{layout_.size()}};
  fovea::train::Adam<float> adam_{layout_.size()};
  fovea::Arena arena_;
};

/// Ends the program unless both sides have the same losses over a few steps from the same weights: gradients and optimiser
/// enter from the second one on, whose relative tolerance is `later`.
template <class Theirs>
void require_same_losses(const char* peer, TinyCnn& ours, Theirs&& theirs, int steps = 4, double later = 1e-3) {
  for (int step = 0; step < steps; ++step) {
    const auto a = static_cast<double>(ours.step());
    const auto b = static_cast<double>(theirs());
    if (!(std::abs(a - b) < (step == 0 ? 1e-3 : later) * std::abs(a))) {
      std::fprintf(stderr, "tiny CNN: loss %d is %g here and %g with %s\n", step, a, b, peer);
      std::exit(1);
    }
  }
}

}  // namespace peers
