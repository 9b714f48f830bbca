// SPDX-License-Identifier: MIT
/// \file
/// A model as a graph of ONNX in onnxruntime beside its own answer: the claim of claims-training.
///
/// Needs fovea::onnx; node and npm are looked for when it runs. onnx_parity.mjs runs the graph.
#pragma once

#include "support/builtin_digits.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/parallel.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/cluttered_digits.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/interop/onnx.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/curriculum.hpp>
#include <fovea/train/learner.hpp>
#include <fovea/train/trainer.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace claims {

/// The largest difference of a probability between onnxruntime and classify() over 1,000 canvases of `task`; NaN where node or
/// npm are not to be had. `folder`: for the graph, the cases and onnxruntime. `source`: the checkout.
template <class Model>
double onnx_parity(const Model& model, const fovea::Parameters<float>& weights, const fovea::data::ClutteredDigits& task,
                   const std::filesystem::path& folder, const std::filesystem::path& source) {
  using fovea::Index;
  namespace fs = std::filesystem;
  constexpr int kImages = 1000;
  const Index side = task.options().canvas;
  const fs::path modules = fs::absolute(folder / "onnxruntime");
  fs::create_directories(modules);
  if (!fs::exists(modules / "node_modules/onnxruntime-node/package.json") &&
      std::system(("npm install --prefix '" + modules.string() +  // NOLINT: our own words only
                   "' --ignore-scripts --no-audit --no-fund --no-save onnxruntime-node@1.30.0 >/dev/null 2>&1")
                      .c_str()) != 0) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const fs::path graph = folder / "parity.onnx";
  const fs::path cases = folder / "parity.cases";
  fovea::interop::export_onnx(graph, model, weights, {side, side});
  std::size_t steps = 0;
  {
    std::ofstream out(cases, std::ios::binary);
    const auto write = [&](const auto& numbers) {
      const auto bytes = std::as_bytes(std::span(numbers));
      out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    };
    fovea::Tensor<std::uint8_t, 3> canvas({side, side, 1});
    fovea::Pyramid<std::uint8_t> image;
    fovea::Arena arena;
    for (std::uint64_t i = 0; i < kImages; ++i) {
      (void)task.generate(i, canvas.view());
      image.assign(std::as_const(canvas).view());
      arena.reset();
      const fovea::model::Prediction answer = model.classify(image, weights, arena);
      write(std::span<const std::uint8_t>(canvas.data(), static_cast<std::size_t>(canvas.size())));
      write(answer.probabilities);
      for (const auto& region : answer.regions) write(std::array<float, 3>{region.s, region.x, region.y});
      steps = answer.regions.size();
    }
    if (!out.flush()) throw std::runtime_error("cannot write " + cases.string());
  }
  const auto number = [](auto n) { return std::string(" ") + std::to_string(n); };
  const std::string command = "node '" + (source / "bench/claims/onnx_parity.mjs").string() + "' '" + modules.string() + "' '" +
                              graph.string() + "' '" + cases.string() + "'" + number(side) + number(side) + number(1) +
                              number(model.options().classes) + number(steps);
  std::FILE* pipe = popen(command.c_str(), "r");  // NOLINT: our own words only
  std::array<char, 32> version{};
  int images = 0;
  double probabilities = 0;
  double regions = 0;
  const int read =
      pipe == nullptr ? 0 : std::fscanf(pipe, "%31s %d %lf %lf", version.data(), &images, &probabilities, &regions);
  const int status = pipe == nullptr ? -1 : pclose(pipe);
  fs::remove(cases);
  if (status != 0 || read != 4 || images != kImages) throw std::runtime_error("failed: " + command);
  std::printf("onnxruntime %s: %d images, probabilities within %g, regions within %g\n", version.data(), images, probabilities,
              regions);
  return probabilities;
}

/// The same of the default saccader after a minute of training, from which its answers are decided; on canvases of 100x100 with
/// digits and clutter.
inline double onnx_parity(const std::filesystem::path& folder, const std::filesystem::path& source) {
  using fovea::Index;
  constexpr Index kBatch = 32;
  constexpr std::uint64_t kSteps = 3000;
  const fovea::data::DigitSet digits = support::make_builtin_digits(2000, 1);
  const fovea::data::ClutteredDigits training(digits, {}, 1);
  const fovea::data::ClutteredDigits test(digits, {}, 2);
  const fovea::model::Saccader model(fovea::model::SaccaderOptions{});
  fovea::Parameters<float> weights(model.layout(), 1);
  fovea::Workers workers(1);
  fovea::train::Trainer trainer(weights, fovea::train::Adam<float>(weights.values().size()), workers,
                                {.batch = kBatch, .shard = kBatch});
  const fovea::train::Curriculum curriculum(model.options());
  fovea::Tensor<std::uint8_t, 4> canvases({kBatch, 100, 100, 1});
  fovea::Tensor<float, 4> proxies({kBatch, 20, 20, 1});
  std::array<fovea::Pyramid<std::uint8_t>, kBatch> images;
  std::array<std::int32_t, kBatch> labels{};
  double accuracy = 0;
  for (std::uint64_t step = 0; step < kSteps; ++step) {
    const double progress = static_cast<double>(step) / static_cast<double>(kSteps);
    const auto report = trainer.step(2e-3 * (1 - progress), [&](fovea::Tape<float>& tape, const fovea::train::ShardTask& task) {
      for (Index i = 0; i < kBatch; ++i) {
        const auto at = static_cast<std::size_t>(i);
        labels[at] = training.generate(step * kBatch + at, canvases.view()[i]).label;
        images[at].assign(std::as_const(canvases).view()[i]);
        fovea::proxy(images[at], proxies.view()[i]);
      }
      const fovea::model::Minibatch<float, fovea::Pyramid<std::uint8_t>> minibatch{
          tape.constant(proxies.data(), fovea::Shape{kBatch, 20, 20, 1}), images, std::span<const std::int32_t>(labels)};
      const auto outcome = curriculum(tape, model, minibatch, {progress, {3, task.step, 0}});
      return fovea::train::ShardLoss<float>{outcome.loss_sum, fovea::train::count_correct(outcome.logits, labels)};
    });
    accuracy = 0.99 * accuracy + 0.01 * report.accuracy;
  }
  std::printf("onnx parity: trained to %.0f %%\n", 100 * accuracy);
  return onnx_parity(model, weights, test, folder, source);
}

}  // namespace claims
