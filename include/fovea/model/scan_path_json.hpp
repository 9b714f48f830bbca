// SPDX-License-Identifier: MIT
/// \file
/// Where a model looked and what it answered after each step, as JSON (nlohmann-json; CMake component `json`).
///
///     { "image": {"height": 480, "width": 640, "picture": "a.png"},
///       "answer": {"label": 3, "class": "cat", "probabilities": [0.1, ...]},
///       "steps": [ {"region": {"s": 0.2, "x": -0.5, "y": 0.1},
///                   "pixels": {"left": 96, "top": 216, "right": 224, "bottom": 312},
///                   "answer": {"label": 3, "class": "cat", "probabilities": [0.2, ...]},
///                   "uncertainty": -2.1}, ... ] }
///
/// "picture", "class", "answer" of a step and "uncertainty" are there where they are known.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/model/scan_path.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// The path as JSON, all numbers finite, all text UTF-8: dump() does not throw. Throws Error as scan_path_svg() does.
[[nodiscard]] inline nlohmann::ordered_json scan_path_json(const Prediction& prediction, const ScanPath& path) {
  using Json = nlohmann::ordered_json;
  const detail::ScanPathSteps steps(prediction, path);
  const auto answer = [&](std::span<const float> numbers, std::size_t label) {
    Json json{{"label", label}};
    if (!path.classes.empty()) json["class"] = detail::clean_text(steps.name(label));
    json["probabilities"] = std::vector<float>(numbers.begin(), numbers.end());
    return json;
  };
  Json image{{"height", path.image[0]}, {"width", path.image[1]}};
  if (!path.picture.empty()) image["picture"] = detail::clean_text(path.picture);
  Json looks = Json::array();
  for (std::size_t t = 0; t < steps.size(); ++t) {
    const glimpse::Region<float>& region = prediction.regions[t];
    const glimpse::PixelRectangle pixels = steps.pixels(t);
    Json look{{"region", {{"s", region.s}, {"x", region.x}, {"y", region.y}}},
              {"pixels", {{"left", pixels.left}, {"top", pixels.top}, {"right", pixels.right}, {"bottom", pixels.bottom}}}};
    if (const auto numbers = steps.answer(t); !numbers.empty()) {
      look["answer"] =
          answer(numbers, static_cast<std::size_t>(std::max_element(numbers.begin(), numbers.end()) - numbers.begin()));
    }
    if (!prediction.uncertainty.empty()) look["uncertainty"] = prediction.uncertainty[t];
    looks.push_back(std::move(look));
  }
  return {{"image", std::move(image)},
          {"answer", answer(prediction.probabilities, static_cast<std::size_t>(prediction.label))},
          {"steps", std::move(looks)}};
}

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
