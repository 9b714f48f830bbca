// SPDX-License-Identifier: MIT
/// \file
/// What a program for pictures keeps beside the weights of a model (train::save_model): the names of its classes, and the
/// temperature that makes its probabilities honest.
#pragma once

#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/train/checkpoint.hpp>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace support {

struct About {
  std::vector<std::string> classes;  ///< K, UTF-8
  double temperature = 1;            ///< of train::TemperatureScaling
};

/// Of a model of `classes` classes. Throws fovea::Error, with `where`, where it is not there or something else.
[[nodiscard]] inline About read_about(const fovea::train::Json& json, fovea::Index classes, const std::string& where) {
  About about;
  try {
    about = {json.at("classes").get<std::vector<std::string>>(), json.at("temperature").get<double>()};
  } catch (const fovea::train::Json::exception&) {
    fovea::fail(where, ": a model with the names of its classes and a temperature expected, as train_folder writes it");
  }
  fovea::require(static_cast<fovea::Index>(about.classes.size()) == classes, where, ": the names of ", classes,
                 " classes expected, ", about.classes.size(), " came");
  fovea::require(std::isfinite(about.temperature) && about.temperature > 0, where, ": a temperature above 0 expected, ",
                 about.temperature, " came");
  return about;
}

}  // namespace support
