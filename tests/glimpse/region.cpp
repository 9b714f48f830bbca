// SPDX-License-Identifier: MIT
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>

#include <doctest/doctest.h>

#include <array>

namespace {

using namespace fovea;
using namespace fovea::glimpse;

TEST_SUITE_BEGIN("glimpse");

TEST_CASE("region: the whole image, in pixels") {
  const PixelRectangle all = to_pixels(Region<float>{}, Aspect::stretch, {30, 40});
  CHECK(all.left == 0);
  CHECK(all.top == 0);
  CHECK(all.right == 40);
  CHECK(all.bottom == 30);
  // Square pixels: the longer side is covered, the shorter overhung by 5 on each side.
  const PixelRectangle square = to_pixels(Region<float>{}, Aspect::isotropic, {30, 40});
  CHECK(square.left == 0);
  CHECK(square.right == 40);
  CHECK(square.top == doctest::Approx(-5));
  CHECK(square.bottom == doctest::Approx(35));
  // A window twice as wide as it is high.
  const PixelRectangle wide = to_pixels(Region<float>{0.5F, 0.5F, 0}, Aspect::isotropic, {30, 40}, {16, 32});
  CHECK(wide.right - wide.left == doctest::Approx(20));
  CHECK(wide.bottom - wide.top == doctest::Approx(10));
  CHECK((wide.left + wide.right) / 2 == doctest::Approx(30));
  CHECK((wide.top + wide.bottom) / 2 == doctest::Approx(15));
}

TEST_CASE("region: the matrix that affine_grid takes") {
  const std::array<double, 6> stretched = to_affine(Region<double>{0.25, 0.5, -0.75}, Aspect::stretch, {30, 40});
  CHECK(stretched == std::array<double, 6>{0.25, 0, 0.5, 0, 0.25, -0.75});
  const std::array<double, 6> square = to_affine(Region<double>{0.3, 0, 0}, Aspect::isotropic, {30, 40});
  CHECK(square[0] == doctest::Approx(0.3));
  CHECK(square[4] == doctest::Approx(0.4));
}

TEST_CASE("region: clamped into the image") {
  using R = Region<double>;
  CHECK(clamp_inside(R{0.5, 0.9, -2}, Aspect::stretch, {30, 40}) == R{0.5, 0.5, -0.5});
  CHECK(clamp_inside(R{0.5, 0.1, -0.2}, Aspect::stretch, {30, 40}) == R{0.5, 0.1, -0.2});
  CHECK(clamp_inside(R{3, 0.1, -0.2}, Aspect::stretch, {30, 40}) == R{1, 0, 0});
  CHECK(clamp_inside(R{0.01, 0, 0}, Aspect::stretch, {30, 40}, {1, 1}, 0.1) == R{0.1, 0, 0});
  const R tall = clamp_inside(R{0.9, 1, 1}, Aspect::isotropic, {30, 40});
  CHECK(tall.x == doctest::Approx(0.1));
  CHECK(tall.y == 0);
  for (const Aspect aspect : {Aspect::stretch, Aspect::isotropic}) {
    const PixelRectangle p = to_pixels(clamp_inside(R{0.4, -5, 5}, aspect, {30, 40}), aspect, {30, 40});
    CHECK(p.left >= -1e-9);
    CHECK(p.bottom <= 30 + 1e-9);
  }
}

TEST_CASE("region: overlap") {
  const PixelRectangle a{0, 0, 10, 10};
  CHECK(overlap(a, a) == 1);
  CHECK(overlap(a, {5, 0, 15, 10}) == doctest::Approx(50.0 / 150.0));
  CHECK(overlap(a, {20, 20, 30, 30}) == 0);
  CHECK(overlap({}, {}) == 0);
  CHECK(covered(a, {5, 5, 50, 50}) == doctest::Approx(0.25));
  CHECK(covered({5, 5, 6, 6}, a) == 1);
  CHECK(intersection(a, {5, 6, 15, 20}).area() == doctest::Approx(20));
}

TEST_SUITE_END();

}  // namespace
