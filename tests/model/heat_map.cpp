// SPDX-License-Identifier: MIT
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/model/heat_map.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

using namespace fovea;
using glimpse::Region;
using model::GazeShape;
using model::HeatMap;

namespace {

HeatMap some(GazeShape shape, std::uint64_t seed, float least) {
  Stream stream(seed, 0, 0, Purpose::test);
  HeatMap map(shape);
  for (int i = 0; i < 6; ++i) {
    map.add(Region<float>{stream.uniform(least, 0.6F), stream.uniform(-1.2F, 1.2F), stream.uniform(-1.2F, 1.2F)},
            stream.uniform(0.1, 2.0));
  }
  return map;
}

Tensor<float, 2> rendered(const HeatMap& map, Extents<2> extent) {
  Tensor<float, 2> out(extent);
  map.render(extent, {0, 0, extent[0], extent[1]}, out.view());
  return out;
}

}  // namespace

TEST_CASE("heat map: the density, by hand") {
  HeatMap box(GazeShape::box);
  box.add(Region<float>{0.5F, 0.25F, -0.25F}, 3);
  CHECK(box(0.25, -0.25) == doctest::Approx(3.0));  // 3 / (1 x 1)
  CHECK(box(0.74, 0.24) == doctest::Approx(3.0));
  CHECK(box(0.76, 0) == 0);
  HeatMap gaussian;
  gaussian.add(Region<float>{0.5F, 0.25F, -0.25F}, 3);
  const double peak = 3 / (2 * 3.14159265358979 * 0.25 * 0.25);
  CHECK(gaussian(0.25, -0.25) == doctest::Approx(peak).epsilon(1e-12));
  // One deviation, a quarter, to the right; the edge of the region is two.
  CHECK(gaussian(0.5, -0.25) == doctest::Approx(peak * std::exp(-0.5)).epsilon(1e-12));
  CHECK(gaussian(0.25, 0.25) == doctest::Approx(peak * std::exp(-2.0)).epsilon(1e-12));
  CHECK(HeatMap()(0, 0) == 0);
  // Isotropic, in an image twice as wide as high: as far in pixels both ways, twice as far of the height.
  HeatMap square(GazeShape::box);
  square.add(Region<float>{0.25F, 0, 0}, 1, glimpse::Aspect::isotropic, {100, 200}, {16, 16});
  CHECK(square(0.24, 0.49) == doctest::Approx(1 / (0.5 * 1.0)));
  CHECK(square(0.26, 0) == 0);
  CHECK(square(0, 0.51) == 0);
}

TEST_CASE("heat map: a pixel is the mean of the density over it") {
  for (const GazeShape shape : {GazeShape::gaussian, GazeShape::box}) {
    const HeatMap map = some(shape, 1, 0.2F);
    const Extents<2> extent{7, 9};
    const Tensor<float, 2> out = rendered(map, extent);
    for (Index r = 0; r < 7; ++r) {
      for (Index c = 0; c < 9; ++c) {
        // The midpoint rule; a box has edges within a pixel, where it is of first order only.
        const int n = 100;
        double sum = 0;
        for (int i = 0; i < n; ++i) {
          for (int j = 0; j < n; ++j) {
            const double y = -1 + 2 * (static_cast<double>(r) + (i + 0.5) / n) / 7;
            const double x = -1 + 2 * (static_cast<double>(c) + (j + 0.5) / n) / 9;
            sum += map(x, y);
          }
        }
        const double tolerance = shape == GazeShape::gaussian ? 5e-5 * (1 + sum / n / n) : 0.2;
        CHECK(std::abs(static_cast<double>(out(r, c)) - sum / n / n) <= tolerance);
      }
    }
  }
}

TEST_CASE("heat map: the weight within the image, at any resolution") {
  for (const GazeShape shape : {GazeShape::gaussian, GazeShape::box}) {
    HeatMap map(shape);
    map.add(Region<float>{0.2F, 0.1F, 0.3F}, 2);  // well within: five deviations and more
    map.add(Region<float>{0.01F, -1, 0.5F}, 1);   // one half of it without, and smaller than a pixel
    map.add(Region<float>{0.3F, 3, 0}, 5);        // not to be seen
    for (const Extents<2> extent : {Extents<2>{1, 1}, Extents<2>{3, 130}, Extents<2>{200, 65}, Extents<2>{1000, 1}}) {
      const Tensor<float, 2> out = rendered(map, extent);
      double sum = 0;
      for (const float value : out) sum += static_cast<double>(value);
      CHECK(sum * 4 / static_cast<double>(extent[0] * extent[1]) == doctest::Approx(2.5).epsilon(1e-5));
    }
  }
}

TEST_CASE("heat map: any part is that of the whole, to the bit") {
  for (const GazeShape shape : {GazeShape::gaussian, GazeShape::box}) {
    const HeatMap map = some(shape, 2, 0.05F);
    const Extents<2> extent{90, 150};
    const Tensor<float, 2> whole = rendered(map, extent);
    for (const PixelBox& part : {PixelBox{0, 0, 1, 150}, PixelBox{37, 0, 1, 150}, PixelBox{0, 149, 90, 1},
                                 PixelBox{13, 50, 70, 80}, PixelBox{89, 149, 1, 1}, PixelBox{40, 40, 0, 5}}) {
      // Into every other column of a buffer.
      Tensor<float, 3> buffer({part.height, part.width, 2});
      for (float& value : buffer) value = -1;
      map.render(extent, part, {buffer.data(), {part.height, part.width}, {2 * part.width, 2}});
      for (Index r = 0; r < part.height; ++r) {
        for (Index c = 0; c < part.width; ++c) {
          REQUIRE(buffer(r, c, 0) == whole(part.top + r, part.left + c));
          REQUIRE(buffer(r, c, 1) == -1);
        }
      }
    }
  }
}

TEST_CASE("heat map: a row of a map of 10^12 pixels") {
  HeatMap map(GazeShape::box);
  map.add(Region<float>{0.5F, 0, 0}, 1);
  const Index side = 1000000;
  Tensor<float, 2> row({1, 100});
  map.render({side, side}, {side / 2, side / 4 - 50, 1, 100}, row.view());
  for (Index c = 0; c < 100; ++c) CHECK(row(0, c) == doctest::Approx(c < 50 ? 0.0 : 1.0).epsilon(1e-6));
}

TEST_CASE("heat map: predictions, and maps put together") {
  const std::array<Region<float>, 2> regions{{{0.5F, 0, 0}, {0.25F, 0.5F, 0.5F}}};
  model::Prediction p;
  p.regions = regions;
  HeatMap map;
  map.add(p, 0.5);
  HeatMap one;
  one.add(regions[0], 0.5);
  HeatMap other;
  other.add(regions[1], 0.5);
  one.append(other);
  CHECK(map.looks() == 2);
  for (const double x : {-0.7, 0.0, 0.4}) CHECK(map(x, 0.2) == one(x, 0.2));
}

TEST_CASE("heat map: what does not fit is refused") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  HeatMap map;
  for (const auto& bad :
       {Region<float>{nan, 0, 0}, Region<float>{0.5F, nan, 0}, Region<float>{0.5F, 0, std::numeric_limits<float>::infinity()},
        Region<float>{0, 0, 0}, Region<float>{-1, 0, 0}}) {
    CHECK_THROWS_AS(map.add(bad), Error);
    const std::array<Region<float>, 2> regions{Region<float>{1, 0, 0}, bad};
    model::Prediction p;
    p.regions = regions;
    CHECK_THROWS_AS(map.add(p), Error);
  }
  const Region<float> good{0.5F, 0, 0};
  CHECK_THROWS_AS(map.add(good, -1), Error);
  CHECK_THROWS_AS(map.add(good, std::numeric_limits<double>::quiet_NaN()), Error);
  CHECK_THROWS_AS(map.add(good, 1, glimpse::Aspect::isotropic, {0, 5}), Error);
  CHECK(map.looks() == 0);
  Tensor<float, 2> out({2, 3});
  CHECK_THROWS_AS(map.render({0, 3}, {0, 0, 2, 3}, out.view()), Error);
  CHECK_THROWS_AS(map.render({4, 4}, {3, 0, 2, 3}, out.view()), Error);
  CHECK_THROWS_AS(map.render({4, 4}, {0, -1, 2, 3}, out.view()), Error);
  CHECK_THROWS_AS(map.render({4, 4}, {0, 0, 3, 2}, out.view()), Error);
  CHECK_THROWS_AS(map.render({4, 4}, {std::numeric_limits<Index>::max(), 0, 2, 3}, out.view()), Error);
  map.render({4, 4}, {2, 1, 2, 3}, out.view());
  for (const float value : out) CHECK(value == 0);
}
