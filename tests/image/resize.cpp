// SPDX-License-Identifier: MIT
#include "support/pictures.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace {

using namespace fovea;
using fovea_test::noise;
using fovea_test::Picture;

/// The average of one rectangle of the image, in double.
template <class P>
double average(const View<const P, 3>& image, double top, double bottom, double left, double right, Index c) {
  double sum = 0;
  for (Index y = 0; y < image.extent(0); ++y) {
    const double down = std::min(bottom, static_cast<double>(y) + 1) - std::max(top, static_cast<double>(y));
    if (down <= 0) continue;
    for (Index x = 0; x < image.extent(1); ++x) {
      const double across = std::min(right, static_cast<double>(x) + 1) - std::max(left, static_cast<double>(x));
      if (across > 0) sum += down * across * static_cast<double>(image(y, x, c));
    }
  }
  return kernel::kPixelScale<P> * sum / ((bottom - top) * (right - left));
}

template <class P, class T>
void check_area(double tolerance) {
  Stream stream(31, sizeof(P), sizeof(T), Purpose::test);
  for (int repetition = 0; repetition < 60; ++repetition) {
    const auto extent = [&](Index most) { return 1 + static_cast<Index>(stream.below(static_cast<std::uint32_t>(most))); };
    const Index channels = repetition % 10 == 9 ? 1500 : extent(4);
    const bool wide = repetition % 10 == 8;  // more than is summed at a time
    const Extents<3> in{channels > 4 ? 3 : extent(60), channels > 4 ? 4 : wide ? 2000 + extent(999) : extent(60), channels};
    const Extents<3> size{extent(9), extent(wide ? 90 : 9), channels};
    const Picture<P> picture = noise<P>(stream, in, static_cast<Index>(stream.below(2)));
    ImageView<P> image = picture.view();
    if (stream.below(3) == 0 && channels <= 4) {
      image = ImageView<P>(image.data(), {image.extent(1), image.extent(0), channels}, {image.stride(1), image.stride(0), 1});
    }
    Picture<T> out(size, static_cast<Index>(stream.below(2)));
    resize_area(image, out.view());
    double worst = 0;
    const double down = static_cast<double>(image.extent(0)) / static_cast<double>(size[0]);
    const double across = static_cast<double>(image.extent(1)) / static_cast<double>(size[1]);
    for (Index i = 0; i < size[0]; ++i) {
      for (Index j = 0; j < size[1]; ++j) {
        for (Index c = 0; c < std::min(channels, Index{4}); ++c) {
          const auto y = static_cast<double>(i);
          const auto x = static_cast<double>(j);
          const double expected = average(image, y * down, (y + 1) * down, x * across, (x + 1) * across, c);
          worst = std::max(worst, std::abs(expected - static_cast<double>(out.view()(i, j, c))));
        }
      }
    }
    INFO(image.extent(0), "x", image.extent(1), "x", channels, " to ", size[0], "x", size[1]);
    CHECK(worst <= tolerance);
  }
}

TEST_SUITE_BEGIN("image");

TEST_CASE("resize_area: exact shares of every pixel: bytes") { check_area<std::uint8_t, float>(3e-6); }
TEST_CASE("resize_area: exact shares of every pixel: bytes to double") { check_area<std::uint8_t, double>(1e-13); }
TEST_CASE("resize_area: exact shares of every pixel: 16-bit") { check_area<std::uint16_t, float>(3e-6); }
TEST_CASE("resize_area: exact shares of every pixel: float") { check_area<float, float>(3e-6); }

TEST_CASE("resize_bilinear") {
  // torch.nn.functional.interpolate of {0, 1, 2, 4} / 4 to 7 columns, mode bilinear.
  const std::array<float, 4> row{0, 0.25F, 0.5F, 1};
  const View<const float, 3> image(row.data(), {1, 4, 1});
  Picture<float> out(Extents<3>{2, 7, 1});
  resize_bilinear(image, out.view());
  const std::array<double, 7> half_pixel{0, 0.0892857, 0.2321429, 0.375, 0.5357143, 0.8214286, 1};
  for (Index j = 0; j < 7; ++j) {
    CHECK(out.view()(0, j, 0) == doctest::Approx(half_pixel[static_cast<std::size_t>(j)]).epsilon(1e-5));
    CHECK(out.view()(1, j, 0) == out.view()(0, j, 0));
  }
  resize_bilinear(image, out.view(), true);
  const std::array<double, 7> corners{0, 0.125, 0.25, 0.375, 0.5, 0.75, 1};
  for (Index j = 0; j < 7; ++j) {
    CHECK(out.view()(0, j, 0) == doctest::Approx(corners[static_cast<std::size_t>(j)]).epsilon(1e-5));
  }
}

TEST_CASE("resize: empty images and other channels are refused") {
  Picture<float> image(Extents<3>{4, 4, 3});
  Picture<float> grey(Extents<3>{2, 2, 1});
  CHECK_THROWS_AS(resize_area(image.view(), grey.view()), Error);
  CHECK_THROWS_AS(resize_bilinear(image.view(), grey.view()), Error);
  CHECK_THROWS_AS(resize_area(View<const float, 3>(), grey.view()), Error);
}

TEST_CASE("proxy: from a level, exact where it divides, else as near as promised") {
  Stream stream(32, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {640, 960, 3});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  Picture<float> a(Extents<3>{20, 30, 3});
  Picture<float> b(Extents<3>{20, 30, 3});
  proxy(pyramid, a.view());
  resize_area(picture.view(), b.view());
  for (std::size_t i = 0; i < a.pixels.size(); ++i) CHECK(std::abs(a.pixels[i] - b.pixels[i]) <= 0.3F / 255.0F);
  // Odd sizes, on a smooth picture.
  Picture<std::uint8_t> smooth(Extents<3>{997, 1531, 1});
  for (Index y = 0; y < 997; ++y) {
    for (Index x = 0; x < 1531; ++x) {
      smooth.view()(y, x, 0) = static_cast<std::uint8_t>(127 + 100 * std::sin(static_cast<double>(x) / 130) *
                                                                   std::cos(static_cast<double>(y) / 170));
    }
  }
  const Pyramid<std::uint8_t> other(smooth.view());
  Picture<float> c(Extents<3>{25, 31, 1});
  Picture<float> d(Extents<3>{25, 31, 1});
  proxy(other, c.view());
  resize_area(smooth.view(), d.view());
  for (std::size_t i = 0; i < c.pixels.size(); ++i) CHECK(std::abs(c.pixels[i] - d.pixels[i]) <= 1.0F / 255.0F);
  // Larger than the image.
  const Picture<std::uint8_t> tiny = noise<std::uint8_t>(stream, {2, 3, 1});
  Picture<float> e(Extents<3>{4, 6, 1});
  proxy(PyramidView(tiny.view()), e.view());
  CHECK(e.view()(3, 5, 0) * 255 == doctest::Approx(tiny.view()(1, 2, 0)));
  CHECK_THROWS_AS(proxy(pyramid, e.view()), Error);
}

TEST_SUITE_END();

}  // namespace
