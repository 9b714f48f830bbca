// SPDX-License-Identifier: MIT
/// \file
/// Any model behind one interface, so that training, testing and measuring are written and compiled once.
#pragma once

#include "model_names.hpp"
#include "shard.hpp"
#include "task.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/image/file.hpp>
#include <fovea/kernel/resample.hpp>
#include <fovea/model/early_exit.hpp>
#include <fovea/model/full_resolution.hpp>
#include <fovea/model/model.hpp>
#include <fovea/model/saccader_options.hpp>
#include <fovea/train/curriculum.hpp>
#include <fovea/train/trainer.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace experiments {

/// How the head of a saccader puts together what its looks have seen.
enum class Aggregation {
  sum,    ///< of what each says of the classes (model::SumHead): one object decides, or each votes
  count,  ///< of how many each has found (model::CountHead)
  pair,   ///< of which it has found, of two (model::PairHead)
};

/// Everything that is chosen for an experiment: the models and how they are trained. Classes, channels and proxy come from the
/// task.
struct Recipe {
  fovea::model::SaccaderOptions saccader = {};
  Aggregation aggregation = Aggregation::sum;
  bool border = false;  ///< what lies beyond the edge of an image is as its border, not black
  /// Changes to the curriculum that is the default for these options.
  std::function<void(fovea::train::Curriculum&)> curriculum = {};
  fovea::model::FullResolutionOptions full_resolution = {.width = 16, .blocks_per_stage = 1};
  Index patch = 50;    ///< pixels on a side of a patch of the peers that select them
  Index patches = 10;  ///< that they select
  Index batch = 32;
  Index shard = 16;
  double rate = 1e-3;                    ///< the most; from 0 and back to 2 % of it
  double average = 0.99;                 ///< decay of the average of the weights that answers
  Index images = 0;                      ///< that each model sees in training
  std::vector<std::string> models = {};  ///< that this experiment compares, in the order of the table
};

/// Beyond the edge of an image.
[[nodiscard]] inline fovea::kernel::Padding padding(const Recipe& recipe) {
  return recipe.border ? fovea::kernel::Padding::border : fovea::kernel::Padding::zeros;
}

/// What a model is trained and tested on.
enum class Sees {
  image,
  /// The canvas that images are made of by magnifying, where they are: for models that read patches of the original at its own
  /// resolution, of which a magnified one has no more to say.
  canvas,
  canvas_whole,  ///< all pixels of it; what an answer costs is measured on the image
};

class Contender {
 public:
  Contender() = default;
  Contender(const Contender&) = delete;
  Contender& operator=(const Contender&) = delete;
  virtual ~Contender() = default;

  [[nodiscard]] virtual const fovea::ParameterLayout& layout() const = 0;
  [[nodiscard]] virtual fovea::train::ShardLoss<float> loss(fovea::Tape<float>& tape, const Shard& shard,
                                                            const fovea::model::Moment& moment) const = 0;
  /// The answer to image number `number` of a set.
  [[nodiscard]] virtual fovea::model::Prediction answer(const Image& image, std::uint64_t number,
                                                        const fovea::Parameters<float>& weights, fovea::Arena& arena,
                                                        const fovea::model::EarlyExit& exit = {}) const = 0;
  /// The same of an image on disk.
  [[nodiscard]] virtual fovea::model::Prediction answer(const fovea::ImageFile& image, std::uint64_t number,
                                                        const fovea::Parameters<float>& weights, fovea::Arena& arena) const = 0;
  /// Multiply-adds of one answer.
  [[nodiscard]] virtual Index multiply_adds(const Image& image, const fovea::Parameters<float>& weights) const = 0;
  [[nodiscard]] virtual Sees sees() const { return Sees::image; }
  /// Looks one after the other, so that it may stop early.
  [[nodiscard]] virtual bool can_exit() const { return false; }
};

/// Throws fovea::Error on another name.
[[nodiscard]] std::unique_ptr<Contender> make_contender(const std::string& name, const Task& task, const Recipe& recipe);

namespace detail {
// Each in a file of its own; null where the name is not of theirs.
[[nodiscard]] std::unique_ptr<Contender> make_sum_saccader(const std::string& name, const Task& task, const Recipe& recipe);
[[nodiscard]] std::unique_ptr<Contender> make_count_saccader(const std::string& name, const Task& task, const Recipe& recipe);
[[nodiscard]] std::unique_ptr<Contender> make_pair_saccader(const std::string& name, const Task& task, const Recipe& recipe);
[[nodiscard]] std::unique_ptr<Contender> make_reference(const std::string& name, const Task& task, const Recipe& recipe);
[[nodiscard]] std::unique_ptr<Contender> make_peer(const std::string& name, const Task& task, const Recipe& recipe);
}  // namespace detail

}  // namespace experiments
