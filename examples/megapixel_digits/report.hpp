// SPDX-License-Identifier: MIT
// Trains any model and takes its measures: the same for all.
#pragma once

#include "../support/timing.hpp"
#include "models.hpp"
#include <fovea/model/scan_path.hpp>
#include <fovea/nn/counting.hpp>
#include <fovea/train/calibration.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace megapixel {

namespace detail {

/// What a shard of answers comes to.
struct Answers {
  fovea::train::Evaluation evaluation;
  std::vector<float> probabilities;
  std::vector<std::int32_t> labels;
};

/// Answers to all images of a set, put together in the order of the images.
template <class Model>
Answers answers(Task& task, Task::Set set, const Model& model, const fovea::Parameters<float>& weights,
                fovea::Index multiply_adds, std::vector<std::string>* scan_paths) {
  using fovea::Index;
  const auto count = static_cast<std::size_t>(task.options().test_images);
  std::vector<Answers> each(count);
  task.for_each(set, [&](Index i, const fovea::Pyramid<std::uint8_t>& image, const fovea::data::MegapixelSample& sample,
                         fovea::Arena& arena, int) {
    const support::Stopwatch watch;
    const fovea::model::Prediction answer = model.classify(image, weights, arena);
    fovea::train::Cost cost;
    cost.milliseconds = 1000 * watch.seconds();
    cost.multiply_adds = multiply_adds;
    std::vector<fovea::glimpse::PixelRectangle> objects;
    for (Index d = 0; d < sample.count; ++d) {
      const auto& b = sample.boxes[static_cast<std::size_t>(d)];
      const auto number = [](Index n) { return static_cast<double>(n); };
      objects.push_back({number(b.x), number(b.y), number(b.x + b.width), number(b.y + b.height)});
    }
    Answers& a = each[static_cast<std::size_t>(i)];
    a.evaluation.add(answer, sample.label, cost, {.image = image.extent(), .objects = objects});
    a.probabilities.assign(answer.probabilities.begin(), answer.probabilities.end());
    a.labels = {sample.label};
    if (scan_paths != nullptr && static_cast<std::size_t>(i) < scan_paths->size() && answer.steps() > 0) {
      (*scan_paths)[static_cast<std::size_t>(i)] = fovea::model::scan_path_svg(answer, {.image = image.extent()});
    }
  });
  Answers all;
  for (const Answers& a : each) {
    all.evaluation.append(a.evaluation);
    all.probabilities.insert(all.probabilities.end(), a.probabilities.begin(), a.probabilities.end());
    all.labels.insert(all.labels.end(), a.labels.begin(), a.labels.end());
  }
  return all;
}

}  // namespace detail

/// `outcome(context, minibatch, moment)` is the model's loss.
template <class Model, class Outcome>
[[nodiscard]] ModelReport report(const std::string& name, Task& task, const RunOptions& options, const Model& model,
                                 Outcome&& outcome, const Told& told) {
  using namespace fovea;
  ModelReport r;
  r.model = name;
  r.parameters = model.layout().count();
  const Parameters<float> weights =
      task.train(model.layout(), options.epochs, outcome, [&](EpochReport epoch, const Parameters<float>& average) {
        epoch.test_accuracy = detail::answers(task, Task::Set::test, model, average, 0, nullptr).evaluation.measures().accuracy;
        r.epochs.push_back(epoch);
        told(epoch);
        return epoch.test_accuracy <= options.until;
      });

  // Of a forward pass with its loss.
  Arena arena;
  Inference<float> plain(arena, weights.values());
  nn::Counting counting(plain);
  (void)model.loss(counting, task.first(counting), model::Moment{.progress = 1});

  constexpr std::size_t kScanPaths = 8;
  r.scan_paths.resize(kScanPaths);
  const auto held_out = detail::answers(task, Task::Set::held_out, model, weights, 0, nullptr);
  const auto test = detail::answers(task, Task::Set::test, model, weights, counting.multiply_adds(), &r.scan_paths);
  std::erase(r.scan_paths, std::string());
  r.measures = test.evaluation.measures();
  const auto rows = [](const detail::Answers& a) {
    const auto n = static_cast<Index>(a.labels.size());
    return View<const float, 2>(a.probabilities.data(), {n, static_cast<Index>(a.probabilities.size()) / n});
  };
  const auto scaling = train::EnsembleTemperatureScaling::fit(rows(held_out), held_out.labels);
  r.temperature = scaling.temperature;
  std::vector<float> scaled = test.probabilities;
  const View<const float, 2> view = rows(test);
  for (Index i = 0; i < view.extent(0); ++i) {
    scaling({scaled.data() + i * view.extent(1), static_cast<std::size_t>(view.extent(1))});
  }
  r.calibrated_error = train::expected_calibration_error(View<const float, 2>(scaled.data(), view.extents()), test.labels);
  return r;
}

}  // namespace megapixel
