// SPDX-License-Identifier: MIT
// What main.cpp asks of the models, and what it gets back. Each kind of model is compiled in a file of its own; the way from a
// model to its numbers is one, report.hpp.
#pragma once

#include "task.hpp"
#include <fovea/train/metrics.hpp>

#include <functional>
#include <string>
#include <vector>

namespace megapixel {

/// How the saccader of a run differs from the default; what is measured by leaving it out.
struct Variations {
  bool salience = true;     ///< the policy starts at what stands out
  bool read_first = true;   ///< the policy learns only once glimpses can be read
  bool each_look = true;    ///< each look answers by itself at first
  bool small_first = true;  ///< regions are small from the start, and not wide at first
};

struct RunOptions {
  fovea::Index glimpses = 10;      ///< of saccader, fixed gazes and RAM; patches of the others
  fovea::Index glimpse_size = 32;  ///< pixels of a glimpse
  fovea::Index region = 64;        ///< pixels of the image that a glimpse of a saccader covers
  int epochs = 10;
  double until = 2;  ///< training ends after the epoch whose test accuracy is above this
  Variations variations = {};
};

struct ModelReport {
  std::string model;
  std::int64_t parameters = 0;
  std::vector<EpochReport> epochs;
  fovea::train::Measures measures;      ///< on the test images
  double temperature = 1;               ///< fitted on the images held out
  double calibrated_error = 0;          ///< expected calibration error on the test images, after ensemble temperature scaling
  std::vector<std::string> scan_paths;  ///< SVGs of the first test images
};

using Told = std::function<void(const EpochReport&)>;

/// The models of each file by name. Throws fovea::Error on another name.
[[nodiscard]] bool is_saccader(const std::string& name);
[[nodiscard]] ModelReport run_saccader(const std::string& name, Task& task, const RunOptions& options, const Told& told);
[[nodiscard]] bool is_peer(const std::string& name);
[[nodiscard]] ModelReport run_peer(const std::string& name, Task& task, const RunOptions& options, const Told& told);

/// All of them, in the order of the table.
[[nodiscard]] std::vector<std::string> all_models();

}  // namespace megapixel
