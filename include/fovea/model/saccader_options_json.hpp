// SPDX-License-Identifier: MIT
/// \file
/// SaccaderOptions as JSON (nlohmann-json; CMake component `json`): what a file of weights says of the model they are for.
///
///     const nlohmann::json json = model.options();
///     const auto options = json.get<model::SaccaderOptions>();
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/model/saccader_options.hpp>

#include <nlohmann/json.hpp>

#include <initializer_list>
#include <string>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace model {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PolicyOptions, zoom, reach, mean_above, window, inhibition, inhibited, salience, worth)

inline void to_json(nlohmann::json& json, const SaccaderOptions& o) {
  json = {{"classes", o.classes},
          {"channels", o.channels},
          {"proxy", o.proxy},
          {"glimpse", o.glimpse},
          {"steps", o.steps},
          {"state", o.state},
          {"location_features", o.location_features},
          {"scale", o.scale},
          {"deviation", o.deviation},
          {"closed_loop", o.closed_loop},
          {"head_sees_state", o.head_sees_state},
          {"decode_proxy", o.decode_proxy},
          {"policy", o.policy},
          {"filters", o.filters},
          {"gaze", static_cast<int>(o.gaze)},
          {"task", static_cast<int>(o.question.task)},
          {"class_weights", o.question.class_weights},
          {"initial_noise", o.initial_noise},
          {"state_baseline", o.state_baseline}};
}

/// Throws Error on numbers that no model has, and nlohmann's exceptions where something is missing or of another type.
inline void from_json(const nlohmann::json& json, SaccaderOptions& o) {
  json.at("classes").get_to(o.classes);
  json.at("channels").get_to(o.channels);
  json.at("proxy").get_to(o.proxy);
  json.at("glimpse").get_to(o.glimpse);
  json.at("steps").get_to(o.steps);
  json.at("state").get_to(o.state);
  json.at("location_features").get_to(o.location_features);
  json.at("scale").get_to(o.scale);
  json.at("deviation").get_to(o.deviation);
  json.at("closed_loop").get_to(o.closed_loop);
  json.at("head_sees_state").get_to(o.head_sees_state);
  json.at("decode_proxy").get_to(o.decode_proxy);
  json.at("policy").get_to(o.policy);
  json.at("filters").get_to(o.filters);
  o.gaze = static_cast<Gaze>(json.at("gaze").get<int>());
  o.question.task = static_cast<Task>(json.at("task").get<int>());
  json.at("class_weights").get_to(o.question.class_weights);
  json.at("initial_noise").get_to(o.initial_noise);
  json.at("state_baseline").get_to(o.state_baseline);
  // A file may say anything: what would ask for more memory than any model has is refused before it is asked for.
  constexpr Index most = 1 << 14;
  const std::initializer_list<std::pair<const char*, Index>> sizes = {
      {"classes", o.classes}, {"channels", o.channels},  {"proxy", o.proxy[0]},
      {"proxy", o.proxy[1]},  {"glimpse", o.glimpse[0]}, {"glimpse", o.glimpse[1]},
      {"steps", o.steps},     {"state", o.state},        {"location_features", o.location_features},
      {"filters", o.filters}};
  for (const auto& [name, size] : sizes) {
    require(size >= 1 && size <= most, "saccader options: ", name, " of 1 to ", most, " expected, ", size, " came");
  }
  require(json.at("gaze").get<int>() >= 0 && o.gaze <= Gaze::grid, "saccader options: a gaze that there is expected");
  require(json.at("task").get<int>() >= 0 && o.question.task <= Task::numbers,
          "saccader options: a task that there is expected");
}

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
