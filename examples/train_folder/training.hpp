// SPDX-License-Identifier: MIT
// What train_folder does between reading its options and printing what came of it.
#pragma once

#include <fovea/core/parallel.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/picture_folder.hpp>
#include <fovea/train/metrics.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

struct Options {
  std::string pictures;
  std::string output = "trained";
  double epochs = 0;   ///< 0: as many as show default_images pictures, where no time is given either
  double minutes = 0;  ///< 0: no limit
  fovea::Index glimpses = 4;
  fovea::Index glimpse_size = 32;
  fovea::Index proxy_size = 32;
  fovea::Index channels = 3;
  double scale = 0;  ///< 0: of the size of the pictures
  double held_out = 0.2;
  double rate = 1e-3;
  fovea::Index batch = 16;
  std::uint64_t seed = 1;
  int threads = 0;
  std::int64_t patience = 0;
  double jitter = 0;
  bool flip = false;
  bool balanced = false;
  bool skip_unreadable = false;
  bool fresh = false;

  static constexpr double default_images = 16'000;

  [[nodiscard]] fovea::data::Unreadable unreadable() const {
    return skip_unreadable ? fovea::data::Unreadable::skip : fovea::data::Unreadable::fail;
  }
};

/// What there is to train on.
struct Pictures {
  fovea::data::PictureList training;
  fovea::data::PictureList validation;
  std::vector<fovea::data::UnreadablePicture> unreadable;  ///< left out
  fovea::Index longer_side = 0;                            ///< the median, of some of them
};

/// Lists, checks and splits. Throws fovea::Error on what cannot be trained on.
[[nodiscard]] Pictures find_pictures(const Options& options, fovea::Workers& workers);

/// The side of a region, as a share of the picture's longer side, where none is given: a region of twice as many pixels as a
/// glimpse has, but no less than a quarter of the picture, from which training always starts (docs/training.md), and no more
/// than half.
[[nodiscard]] double default_scale(fovea::Index glimpse_size, fovea::Index longer_side);

/// What came of it.
struct Results {
  bool interrupted = false;  ///< then there is nothing else
  std::uint64_t steps = 0;
  std::uint64_t images = 0;
  double seconds = 0;
  double scale = 0;
  fovea::train::Measures measures;                      ///< of the pictures held out
  double most_frequent_class = 0;                       ///< share of them that are of the most frequent class of training
  double temperature = 1;                               ///< fitted on them
  std::vector<std::vector<fovea::Index>> confusion;     ///< of them: [class][answer]
  std::vector<fovea::data::UnreadablePicture> damaged;  ///< that came to light when they were loaded
};

/// Trains, measures, and writes model.safetensors, metrics.jsonl and .csv into the folder of output. Throws fovea::Error.
[[nodiscard]] Results train(const Options& options, const Pictures& pictures, fovea::Workers& workers);
