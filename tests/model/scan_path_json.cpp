// SPDX-License-Identifier: MIT
// needs: json
#include <fovea/core/error.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/model/scan_path_json.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

using namespace fovea;
using glimpse::Region;
using model::Prediction;
using model::scan_path_json;
using nlohmann::json;

TEST_CASE("scan path: as JSON, there and back") {
  const std::array<Region<float>, 2> regions{{{0.25F, -0.5F, 0}, {0.1F, 0.3F, 0.7F}}};
  const std::array<float, 6> after{0.5F, 0.375F, 0.125F, 0.1F, 0.2F, 0.7F};
  const std::array<float, 2> uncertainty{-1.25F, 0.1F};
  const std::array<std::string, 3> names{"a", "\"\xFF", "c"};
  Prediction p;
  p.label = 2;
  p.after_steps = after;
  p.probabilities = p.after_steps.last(3);
  p.regions = regions;
  p.uncertainty = uncertainty;

  const json whole = json::parse(scan_path_json(p, {{100, 200}, "a b.png", names}).dump());
  CHECK(whole["image"] == json{{"height", 100}, {"width", 200}, {"picture", "a b.png"}});
  CHECK(whole["answer"]["label"] == 2);
  CHECK(whole["answer"]["class"] == "c");
  REQUIRE(whole["steps"].size() == 2);
  for (std::size_t t = 0; t < 2; ++t) {
    const json& step = whole["steps"][t];
    // To the bit.
    CHECK(step["region"]["s"].get<float>() == regions[t].s);
    CHECK(step["region"]["x"].get<float>() == regions[t].x);
    CHECK(step["region"]["y"].get<float>() == regions[t].y);
    CHECK(step["uncertainty"].get<float>() == uncertainty[t]);
    CHECK(step["answer"]["probabilities"].get<std::vector<float>>() ==
          std::vector<float>(after.begin() + 3 * static_cast<std::ptrdiff_t>(t),
                             after.begin() + 3 * static_cast<std::ptrdiff_t>(t) + 3));
  }
  CHECK(whole["steps"][0]["pixels"] == json{{"left", 25.0}, {"top", 37.5}, {"right", 75.0}, {"bottom", 62.5}});
  CHECK(whole["steps"][0]["answer"]["label"] == 0);
  CHECK(whole["steps"][0]["answer"]["class"] == "a");
  CHECK(whole["steps"][1]["answer"]["label"] == 2);

  // A name that is no UTF-8 can be written all the same.
  p.label = 1;
  CHECK(json::parse(scan_path_json(p, {{100, 200}, {}, names}).dump())["answer"]["class"] == "\"\xEF\xBF\xBD");
}

TEST_CASE("scan path: as JSON, what is not known is left out, and what does not fit is refused") {
  const std::array<float, 2> probabilities{0.25F, 0.75F};
  const std::array<Region<float>, 1> regions{{{0.25F, 0, 0}}};
  Prediction p;
  p.label = 1;
  p.probabilities = probabilities;
  json once = json::parse(scan_path_json(p, {{3, 4}}).dump());
  CHECK(once["image"] == json{{"height", 3}, {"width", 4}});
  CHECK(once["answer"] == json{{"label", 1}, {"probabilities", {0.25, 0.75}}});
  CHECK(once["steps"] == json::array());
  p.regions = regions;
  once = json::parse(scan_path_json(p, {{3, 4}}).dump());
  CHECK(!once["steps"][0].contains("answer"));
  CHECK(!once["steps"][0].contains("uncertainty"));

  CHECK_THROWS_AS((void)scan_path_json({}, {{3, 4}}), Error);
  CHECK_THROWS_AS((void)scan_path_json(p, {}), Error);
  const std::array<float, 1> nan{std::numeric_limits<float>::quiet_NaN()};
  p.uncertainty = nan;
  CHECK_THROWS_AS((void)scan_path_json(p, {{3, 4}}), Error);
}
