// SPDX-License-Identifier: MIT
#include "support/pictures.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/magnified.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/source.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace {

using namespace fovea;
using fovea_test::noise;
using fovea_test::Picture;

static_assert(ImageSource<MagnifiedImage>);

TEST_SUITE_BEGIN("image");

TEST_CASE("magnified: levels are those of the large image, to rounding") {
  Stream stream(41, 0, 0, Purpose::test);
  Arena arena;
  struct Geometry {
    Extents<3> canvas;
    Extents<2> image;
    int first_level;
  };
  for (const Geometry& g :
       {Geometry{{100, 100, 1}, {2528, 2528}, 4}, Geometry{{37, 61, 3}, {701, 1003}, 2}, Geometry{{5, 9, 2}, {5, 90}, 1},
        Geometry{{1, 1, 1}, {100, 77}, 3}, Geometry{{40, 30, 1}, {40, 30}, 0}, Geometry{{64, 48, 4}, {150, 100}, 5},
        Geometry{{60, 60, 1}, {600, 600}, 0}}) {
    INFO(g.canvas[0], "x", g.canvas[1], " as ", g.image[0], "x", g.image[1]);
    const Magnifier magnifier({g.canvas[0], g.canvas[1]}, g.image, g.canvas[2], g.first_level);
    const Picture<std::uint8_t> canvas = noise<std::uint8_t>(stream, g.canvas, 3);
    MagnifiedImage magnified(magnifier, canvas.view(), arena);
    Picture<std::uint8_t> large(Extents<3>{g.image[0], g.image[1], g.canvas[2]});
    magnifier.materialise(canvas.view(), large.view(), arena);

    // The large image is the bilinear enlargement of the canvas.
    Picture<double> exact(large.extents);
    resize_bilinear(canvas.view(), exact.view());
    double worst = 0;
    for (std::size_t i = 0; i < exact.pixels.size(); ++i) {
      worst = std::max(worst, std::abs(exact.pixels[i] * 255 - large.pixels[i]));
    }
    CHECK(worst <= 0.501);

    // Its levels, from exact pixels and from rounded ones.
    const Pyramid<double> reference(exact.view());
    const Pyramid<std::uint8_t> pyramid(large.view());
    const auto& levels = magnified.pyramid();
    CHECK(levels.extent() == g.image);
    REQUIRE(levels.levels() >= 1);
    for (int k = 0; k < levels.levels(); ++k) {
      const auto& level = levels.level(k);
      if (k + g.first_level >= reference.pyramid().levels()) break;
      const auto& from_exact = reference.pyramid().level(k + g.first_level);
      const auto& from_rounded = pyramid.pyramid().level(k + g.first_level);
      REQUIRE(level.extents() == from_exact.extents());
      double error = 0;
      int difference = 0;
      for (Index i = 0; i < level.extent(0); ++i) {
        for (Index j = 0; j < level.extent(1); ++j) {
          for (Index c = 0; c < level.extent(2); ++c) {
            error = std::max(error, std::abs(from_exact(i, j, c) * 255 - level(i, j, c)));
            difference = std::max(difference, std::abs(int{from_rounded(i, j, c)} - int{level(i, j, c)}));
          }
        }
      }
      CHECK(error <= 0.501);
      CHECK(difference <= 1);
    }
  }
}

TEST_CASE("magnified: assigning again moves nothing, and depends on the canvas alone") {
  Stream stream(42, 0, 0, Purpose::test);
  Arena arena;
  const Magnifier magnifier({100, 100}, {2528, 2528});
  const Picture<std::uint8_t> a = noise<std::uint8_t>(stream, {100, 100, 1});
  const Picture<std::uint8_t> b = noise<std::uint8_t>(stream, {100, 100, 1});
  MagnifiedImage image(magnifier, a.view(), arena);
  const auto* memory = image.pyramid().level(0).data();
  const std::size_t bytes = arena.capacity();
  const std::uint8_t pixel = image.pyramid().level(1)(40, 41, 0);
  image.assign(magnifier, b.view(), arena);
  image.assign(magnifier, a.view(), arena);
  CHECK(image.pyramid().level(0).data() == memory);
  CHECK(arena.capacity() == bytes);
  CHECK(image.pyramid().level(1)(40, 41, 0) == pixel);
}

TEST_CASE("magnified: a canvas of another size is refused") {
  Arena arena;
  Stream stream(43, 0, 0, Purpose::test);
  const Magnifier magnifier({10, 10}, {200, 200});
  const Picture<std::uint8_t> canvas = noise<std::uint8_t>(stream, {10, 11, 1});
  CHECK_THROWS_AS(MagnifiedImage(magnifier, canvas.view(), arena), Error);
  Picture<std::uint8_t> out(Extents<3>{200, 200, 1});
  CHECK_THROWS_AS(magnifier.materialise(canvas.view(), out.view(), arena), Error);
  CHECK_THROWS_AS(Magnifier({10, 10}, {9, 200}), Error);
  CHECK_THROWS_AS(Magnifier({0, 10}, {9, 200}), Error);
  CHECK_THROWS_AS(Magnifier({10, 10}, {200, 200}, 1, 30), Error);
}

TEST_SUITE_END();

}  // namespace
