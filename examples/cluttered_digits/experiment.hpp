// SPDX-License-Identifier: MIT
/// \file
/// What the program asks of the experiment, and what it gets back. main.cpp holds options, data, table and files;
/// experiment.cpp holds models and training.
#pragma once

#include "../support/gaze_sheet.hpp"
#include <fovea/core/view.hpp>
#include <fovea/data/idx.hpp>
#include <fovea/train/progress.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

/// As given on the command line, within the ranges that main.cpp checks.
struct Options {
  std::string data;  ///< folder with idx files
  std::string output = "demo-output";
  std::uint64_t seed = 1;          ///< of everything random
  int threads = 0;                 ///< 0: all cores
  fovea::Index glimpses = 4;       ///< per image
  fovea::Index glimpse_size = 32;  ///< height and width in pixels
  fovea::Index proxy_size = 20;    ///< height and width in pixels
  fovea::Index image_size = 2528;  ///< height and width in pixels of the image that is looked at
  double minutes = 8.5;            ///< at most, of training for the saccader; each baseline gets as many images
  fovea::Index test_images = 2000;
  bool whole_canvas = false;  ///< train a network over the whole canvas too, for comparison
  bool smoke = false;         ///< as little work as shows that everything runs
};

struct Data {
  fovea::data::DigitSet train;
  fovea::data::DigitSet test;
};

/// What is not set is NaN, and report.hpp refuses to write that.
inline constexpr double kUnset = std::numeric_limits<double>::quiet_NaN();

/// Fractions of the test images.
struct Accuracy {
  double saccader = kUnset;
  double proxy_only = kUnset;
  double random_glimpses = kUnset;
  double center_glimpses = kUnset;
  double whole_canvas = kUnset;  ///< only where Options::whole_canvas
};

/// What stopping early comes to, and how honest the probabilities are: set on images held out, measured on others.
struct EarlyExit {
  double glimpses = kUnset;                 ///< mean over the images
  double accuracy = kUnset;                 ///< with them
  double accuracy_of_all = kUnset;          ///< of the same images with all glimpses
  double temperature = kUnset;              ///< fitted
  double calibration_error = kUnset;        ///< expected calibration error with all glimpses, as the network says
  double calibration_error_after = kUnset;  ///< and after the temperature
};

/// For one image in memory, on one thread.
struct Cost {
  double saccader = kUnset;
  double full_resolution = kUnset;
};

struct Results {
  Accuracy accuracy;
  EarlyExit early_exit;
  Cost ms_per_image;                           ///< medians
  Cost peak_mib;                               ///< growth of a process's peak, in MiB: support::measure_in_child
  double train_seconds = kUnset;               ///< of the saccader alone, wall clock
  std::int64_t train_images = 0;               ///< that each of the models has seen
  fovea::Index test_images = 0;                ///< that were really tested
  int threads = 0;                             ///< that were really used
  std::vector<support::GazeExample> examples;  ///< eight test images
};

/// Trains and tests everything. Progress goes to `progress`, a stage for each model. Throws fovea::Error.
[[nodiscard]] Results run(const Options& options, const Data& data, fovea::train::Progress& progress);
