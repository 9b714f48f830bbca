// SPDX-License-Identifier: MIT
/// \file
/// The images of a task as what train::fit asks for.
#pragma once

#include "task.hpp"
#include <fovea/core/view.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/model/model.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace experiments {

/// Some images with their proxies and labels.
class Shard {
 public:
  Shard(const Task& task, Index capacity)
      : proxies_({capacity, task.facts().proxy[0], task.facts().proxy[1], task.facts().channels}) {
    for (Index i = 0; i < capacity; ++i) samples_.push_back(task.make_sample());
    images_.resize(samples_.size());
    canvases_.resize(samples_.size());
    labels_.resize(samples_.size());
  }

  void fill(const Task& task, Set set, std::uint64_t first, Index count) {
    count_ = count;
    for (Index i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      Sample& sample = *samples_[at];
      task.fill(sample, set, first + static_cast<std::uint64_t>(i));
      images_[at] = sample.image;
      canvases_[at] = sample.canvas.levels() > 0 ? sample.canvas : sample.image;
      labels_[at] = sample.label;
      fovea::proxy(sample.image, proxies_.view()[i]);
    }
  }

  /// What a model is trained on: images, or, for one that reads all pixels, the canvases that they were made of.
  template <class C>
  [[nodiscard]] fovea::model::Minibatch<float, Image> minibatch(C& context, bool canvases = false) const {
    const auto n = static_cast<std::size_t>(count_);
    return {context.constant(proxies_.data(), fovea::Shape{count_, proxies_.extent(1), proxies_.extent(2), proxies_.extent(3)}),
            std::span<const Image>(canvases ? canvases_.data() : images_.data(), n),
            std::span<const std::int32_t>(labels_.data(), n)};
  }
  [[nodiscard]] std::span<const std::int32_t> labels() const { return {labels_.data(), static_cast<std::size_t>(count_)}; }

 private:
  Index count_ = 0;
  std::vector<std::unique_ptr<Sample>> samples_;
  std::vector<Image> images_;
  std::vector<Image> canvases_;
  std::vector<std::int32_t> labels_;
  fovea::Tensor<float, 4> proxies_;
};

/// A train::DataSet of the training images.
class TrainingImages {
 public:
  using Shard = experiments::Shard;

  explicit TrainingImages(const Task& task) : task_(task) {}

  [[nodiscard]] Shard make_shard(Index capacity) const { return Shard(task_, capacity); }
  void load(Shard& shard, std::uint64_t first, Index count) const { shard.fill(task_, Set::train, first, count); }
  [[nodiscard]] std::int64_t epoch() const { return task_.facts().train_images; }

 private:
  const Task& task_;
};

}  // namespace experiments
