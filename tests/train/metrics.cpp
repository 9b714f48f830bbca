// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include <fovea/core/random.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/train/calibration.hpp>
#include <fovea/train/metrics.hpp>
#include <fovea/train/peak_memory.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using glimpse::PixelRectangle;
using glimpse::Region;
using train::Cost;
using train::Evaluation;
using train::Measures;
using train::Scene;

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

model::Prediction answer(std::span<const float> probabilities, std::span<const Region<float>> regions = {}) {
  model::Prediction p;
  p.label = std::max_element(probabilities.begin(), probabilities.end()) - probabilities.begin();
  p.probabilities = probabilities;
  p.regions = regions;
  return p;
}

/// Cell by cell: rectangles of whole numbers.
double cells_covered(const PixelRectangle& area, std::span<const PixelRectangle> rectangles) {
  double covered = 0;
  for (double y = area.top; y < area.bottom; ++y) {
    for (double x = area.left; x < area.right; ++x) {
      const bool in = std::any_of(rectangles.begin(), rectangles.end(), [&](const PixelRectangle& r) {
        return x >= r.left && x < r.right && y >= r.top && y < r.bottom;
      });
      covered += in ? 1 : 0;
    }
  }
  return covered / area.area();
}

const std::array<float, 2> kFirst{0.75F, 0.25F};

}  // namespace

TEST_CASE("metrics: answers and costs, by hand") {
  const std::array<Region<float>, 3> regions{{{0.5F, 0, 0}, {0.5F, 0, 0}, {0.5F, 0, 0}}};
  Evaluation evaluation;
  evaluation.add(answer(kFirst), 0, {{1000, 10}, 500, 4.0});
  evaluation.add(answer(kFirst, regions), 1, {{3000, 30}, 1500, 1.0});
  evaluation.add(answer(kFirst, std::span(regions).first(1)), 0, {{}, 100});
  evaluation.add(answer(kFirst), 0, {{}, 100, 3.0});
  const Measures m = evaluation.measures();
  CHECK(m.images == 4);
  CHECK(m.accuracy == 0.75);
  CHECK(m.negative_log_likelihood == doctest::Approx(-(3 * std::log(0.75) + std::log(0.25)) / 4).epsilon(1e-12));
  CHECK(m.calibration_error == doctest::Approx(0));
  CHECK(m.glimpses == 1);
  CHECK(m.bytes == 1000);
  CHECK(m.pixels == 10);
  CHECK(m.multiply_adds == 550);
  CHECK(m.milliseconds == 3);  // of 4, 1 and 3; the third was not measured
  CHECK(m.localisation.images == 0);
  CHECK(std::isnan(m.localisation.centre.images));
  CHECK(std::isnan(m.localisation.overlap));

  evaluation.add(answer(kFirst), 0, {{}, 0, 2.0});
  CHECK(evaluation.measures().milliseconds == 2.5);
  Evaluation unmeasured;
  unmeasured.add(answer(kFirst), 0);
  CHECK(std::isnan(unmeasured.measures().milliseconds));
}

TEST_CASE("metrics: calibration error is that of the answers") {
  Stream stream(1, 0, 0, Purpose::test);
  Evaluation evaluation;
  std::vector<train::Judged> judged;
  for (int i = 0; i < 200; ++i) {
    const float p = stream.uniform(0.5F, 1.0F);
    const std::array<float, 2> row{1 - p, p};
    const auto label = static_cast<std::int32_t>(stream.below(2));
    evaluation.add(answer(row), label);
    judged.push_back({row[1], label == 1});
  }
  for (const auto binning : {train::Binning::equal_width, train::Binning::equal_mass}) {
    CHECK(evaluation.measures({7, binning}).calibration_error == train::expected_calibration_error(judged, {7, binning}));
  }
}

TEST_CASE("metrics: localisation, by hand") {
  // An image of 100x200 (height, width). Glimpses: its left upper quarter, its right half, its middle.
  const std::array<Region<float>, 3> regions{{{0.5F, -0.5F, -0.5F}, {0.5F, 0.5F, 0.5F}, {0.25F, 0, 0}}};
  // [0, 100) x [0, 50), [100, 200) x [50, 100), [75, 125) x [37.5, 62.5)
  const std::array<PixelRectangle, 2> objects{{{10, 10, 30, 30}, {90, 0, 110, 20}}};
  Scene scene{{100, 200}, objects};
  Evaluation evaluation;
  evaluation.add(answer(kFirst, regions), 0, {}, scene);
  {
    const auto l = evaluation.measures().localisation;
    CHECK(l.images == 1);
    // The second object's centre is on the first glimpse's right edge, which is not within; half of it is.
    CHECK(l.centre.images == 1);
    CHECK(l.centre.glimpses == doctest::Approx(1.0 / 3));
    CHECK(l.half.glimpses == doctest::Approx(1.0 / 3));
    CHECK(l.coverage == doctest::Approx(0.75));
    const double with_middle = 25 * 12.5 / (5000 + 1250 - 25 * 12.5);
    CHECK(l.overlap == doctest::Approx(2 * with_middle / 3));
    CHECK(l.area == doctest::Approx((0.25 + 0.25 + 0.0625) / 3));
  }
  // One glimpse that sees half of an object's area, and not its centre; no pair.
  const std::array<Region<float>, 1> one{{{0.5F, -0.5F, -0.5F}}};
  scene.objects = std::span(objects).last(1);
  evaluation.add(answer(kFirst, one), 0, {}, scene);
  {
    const auto l = evaluation.measures().localisation;
    CHECK(l.images == 2);
    CHECK(l.centre.images == 0.5);
    CHECK(l.half.images == 1);
    CHECK(l.centre.glimpses == 0.25);
    CHECK(l.half.glimpses == 0.5);
    CHECK(l.coverage == doctest::Approx((0.75 + 0.5) / 2));
    const double with_middle = 25 * 12.5 / (5000 + 1250 - 25 * 12.5);
    CHECK(l.overlap == doctest::Approx(2 * with_middle / 3));
  }
  // Without objects: overlap and area only. Without glimpses: nothing.
  const Measures before = evaluation.measures();
  evaluation.add(answer(kFirst, one), 0, {}, {{100, 200}, {}});
  evaluation.add(answer(kFirst), 0, {}, {{100, 200}, objects});
  CHECK(evaluation.measures().localisation.images == 2);
  CHECK(evaluation.measures().localisation.coverage == before.localisation.coverage);
}

TEST_CASE("metrics: square glimpses of an image that is not") {
  // Isotropic: s = 1 covers the longer side; s = 0.5 is 100 pixels of 200 both ways.
  const std::array<Region<float>, 1> one{{{0.5F, 0, 0}}};
  const std::array<PixelRectangle, 1> object{{{50, 0, 150, 100}}};
  Evaluation evaluation;
  evaluation.add(answer(kFirst, one), 0, {}, {{100, 200}, object, {32, 32}, glimpse::Aspect::isotropic});
  CHECK(evaluation.measures().localisation.coverage == doctest::Approx(1));
  CHECK(evaluation.measures().localisation.area == doctest::Approx(0.5));
}

TEST_CASE("metrics: the union of glimpses, cell by cell") {
  Stream stream(2, 0, 0, Purpose::test);
  const auto below = [&](std::uint32_t n) { return static_cast<double>(stream.below(n)); };
  for (int i = 0; i < 200; ++i) {
    const PixelRectangle area{below(10), below(10), 11 + below(10), 11 + below(10)};
    std::vector<PixelRectangle> rectangles;
    for (int k = i % 7; k > 0; --k) {
      const double x = below(20) - 3;
      const double y = below(20) - 3;
      rectangles.push_back({x, y, x + below(9), y + below(9)});
    }
    CHECK(train::covered_by_any(area, rectangles) == doctest::Approx(cells_covered(area, rectangles)).epsilon(1e-12));
  }
  CHECK(train::covered_by_any({0, 0, 0, 5}, {}) == 0);
  const std::array<PixelRectangle, 2> twice{{{0, 0, 2, 2}, {0, 0, 2, 2}}};
  CHECK(train::covered_by_any({0, 0, 2, 2}, twice) == 1);
}

TEST_CASE("metrics: shards put together in order come to the bits of one pass") {
  Stream stream(3, 0, 0, Purpose::test);
  const std::array<PixelRectangle, 1> object{{{3, 4, 30, 20}}};
  Evaluation whole;
  std::array<Evaluation, 3> shards;
  for (std::size_t i = 0; i < 90; ++i) {
    const float p = stream.uniform(0.0F, 1.0F);
    const std::array<float, 2> row{p, 1 - p};
    const std::array<Region<float>, 2> regions{
        {{stream.uniform(0.1F, 1.0F), stream.uniform(-1.0F, 1.0F), 0}, {0.3F, stream.uniform(-1.0F, 1.0F), 0.1F}}};
    const Cost cost{{static_cast<std::int64_t>(i), 3}, 7, stream.uniform(0.0, 1.0)};
    for (Evaluation* to : {&whole, &shards[i / 30]}) to->add(answer(row, regions), i % 3 == 0, cost, {{40, 50}, object});
  }
  Evaluation together;
  for (const Evaluation& shard : shards) together.append(shard);
  const Measures a = whole.measures();
  const Measures b = together.measures();
  CHECK(std::memcmp(&a, &b, sizeof a) == 0);
  CHECK(a.images == 90);
}

TEST_CASE("metrics: what does not fit is refused, and leaves no trace") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Evaluation evaluation;
  CHECK_THROWS_AS((void)evaluation.measures(), Error);
  CHECK_THROWS_AS(evaluation.add({}, 0), Error);
  const std::array<float, 2> bad{nan, 1};
  CHECK_THROWS_AS(evaluation.add(answer(bad), 0), Error);
  CHECK_THROWS_AS(evaluation.add(answer(kFirst), 2), Error);
  CHECK_THROWS_AS(evaluation.add(answer(kFirst), -1), Error);
  model::Prediction foreign = answer(kFirst);
  foreign.label = 2;
  CHECK_THROWS_AS(evaluation.add(foreign, 0), Error);
  CHECK_THROWS_AS(evaluation.add(answer(kFirst), 0, {{-1, 0}}), Error);
  CHECK_THROWS_AS(evaluation.add(answer(kFirst), 0, {{}, -1}), Error);
  CHECK_THROWS_AS(evaluation.add(answer(kFirst), 0, {{}, 0, -1.0}), Error);
  CHECK_THROWS_AS(evaluation.add(answer(kFirst), 0, {{}, 0, std::numeric_limits<double>::infinity()}), Error);
  const std::array<PixelRectangle, 1> object{{{0, 0, 5, 5}}};
  CHECK_THROWS_AS(evaluation.add(answer(kFirst), 0, {}, {{0, 0}, object}), Error);
  CHECK_THROWS_AS(evaluation.add(answer(kFirst), 0, {}, {{-5, 5}, {}}), Error);
  const std::array<PixelRectangle, 2> empty{{{5, 5, 5, 9}, {kNone, 0, 1, 1}}};
  CHECK_THROWS_AS(evaluation.add(answer(kFirst), 0, {}, {{9, 9}, std::span(empty).first(1)}), Error);
  CHECK_THROWS_AS(evaluation.add(answer(kFirst), 0, {}, {{9, 9}, std::span(empty).last(1)}), Error);
  const std::array<Region<float>, 1> lost{{{0.5F, nan, 0}}};
  CHECK_THROWS_AS(evaluation.add(answer(kFirst, lost), 0, {}, {{9, 9}, object}), Error);
  const std::array<Region<float>, 1> point{{{0, 0, 0}}};
  CHECK(message_of([&] {
          evaluation.add(answer(kFirst, point), 0, {}, {{9, 9}, object});
        }) == "evaluation: regions with an area expected, s 0.000000, x 0.000000, y 0.000000 came");
  CHECK(evaluation.images() == 0);
  evaluation.add(answer(kFirst), 0);
  CHECK_THROWS_AS((void)evaluation.measures({0}), Error);
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("peak memory: grows with what is touched, and does not fall") {
  const std::int64_t before = train::peak_memory();
  CHECK(before > 0);
  const std::size_t bytes = static_cast<std::size_t>(before) + (std::size_t{32} << 20U);
  std::int64_t during = 0;
  {
    std::vector<char> much(bytes, 1);
    during = train::peak_memory() + (much[bytes / 2] - 1);
  }
  CHECK(during >= static_cast<std::int64_t>(bytes));
  CHECK(train::peak_memory() >= during - (1 << 20));  // the kernel counts pages in batches
}
#endif
