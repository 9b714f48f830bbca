// SPDX-License-Identifier: MIT
/// \file
/// What an experiment is about: images with their answers. Every experiment is one class of this interface; how models are
/// trained, tested and compared on it is the same for all (experiment.hpp), and compiled once.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/image/pyramid.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace experiments {

using fovea::Extents;
using fovea::Index;

/// What all models look at in training: levels in memory, the finest of which may be missing where no glimpse needs it.
using Image = fovea::PyramidView<std::uint8_t>;

enum class Set {
  train,
  held_out,  ///< like the test, but others: early exit is calibrated on them
  test,
};

/// One image and what is known of it. A task derives from it the memory that its images need; filled again and again.
struct Sample {
  Sample() = default;
  Sample(const Sample&) = delete;
  Sample& operator=(const Sample&) = delete;
  virtual ~Sample() = default;

  Image image;
  Image canvas;  ///< what a network at full resolution is trained on, where that is not the image; otherwise without levels
  int label = 0;
  std::vector<fovea::glimpse::PixelRectangle> objects;  ///< in pixels of the image: for measures, never for training
};

struct Facts {
  std::string experiment;  ///< docs/results/<experiment>.jsonl
  std::string variant;     ///< one of several settings
  std::string trained_as;  ///< the variant whose training serves this one too, which only tests otherwise; empty: its own
  std::string question;    ///< in a few words, for the page
  Index classes = 0;
  Index channels = 1;
  Extents<2> image = {0, 0};  ///< {height, width} in pixels
  Extents<2> proxy = {0, 0};
  Index train_images = 0;  ///< after which training images repeat, or are called an epoch
  Index test_images = 0;
  bool ordered = false;  ///< labels are numbers: how far off an answer is says something
};

class Task {
 public:
  explicit Task(Facts facts) : facts_(std::move(facts)) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  virtual ~Task() = default;

  [[nodiscard]] const Facts& facts() const noexcept { return facts_; }

  [[nodiscard]] virtual std::unique_ptr<Sample> make_sample() const = 0;
  /// Image number `number` of a set: a pure function of (task, set, number). Called by many threads at once, each with samples
  /// of its own that make_sample() made.
  virtual void fill(Sample& sample, Set set, std::uint64_t number) const = 0;
  /// All pixels of a test image [H, W, C], as a program would have it that classifies one picture after another.
  [[nodiscard]] virtual fovea::Tensor<std::uint8_t, 3> whole(std::uint64_t number) const = 0;
  /// The picture file of a test image, where it is to be classified from disk; otherwise empty.
  [[nodiscard]] virtual std::filesystem::path file(std::uint64_t /*number*/) const { return {}; }

 protected:
  Facts facts_;
};

}  // namespace experiments
