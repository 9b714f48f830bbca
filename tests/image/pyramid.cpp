// SPDX-License-Identifier: MIT
#include "support/pictures.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/view.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace fovea;
using fovea_test::noise;
using fovea_test::Picture;

static_assert(ImageSource<PyramidView<std::uint8_t>>);
static_assert(ImageSource<Pyramid<std::uint16_t>>);
static_assert(!ImageSource<ImageView<float>>);
static_assert(std::is_same_v<PixelOf<Pyramid<float>>, float>);

/// Every pixel of every level against the average of its block, in double.
template <class P>
double worst_error(const PyramidView<P>& pyramid, const View<const P, 3>& image) {
  double worst = 0;
  for (int k = 1; k < pyramid.levels(); ++k) {
    const auto& level = pyramid.level(k);
    const Index side = Index{1} << k;
    CHECK(level.extent(0) == (image.extent(0) + side - 1) / side);
    CHECK(level.extent(1) == (image.extent(1) + side - 1) / side);
    CHECK(pyramid.ratio(k) == static_cast<double>(side));
    for (Index i = 0; i < level.extent(0); ++i) {
      for (Index j = 0; j < level.extent(1); ++j) {
        for (Index c = 0; c < level.extent(2); ++c) {
          double sum = 0;
          Index terms = 0;
          for (Index y = i * side; y < std::min((i + 1) * side, image.extent(0)); ++y) {
            for (Index x = j * side; x < std::min((j + 1) * side, image.extent(1)); ++x) {
              sum += static_cast<double>(image(y, x, c));
              ++terms;
            }
          }
          worst = std::max(worst, std::abs(static_cast<double>(level(i, j, c)) - sum / static_cast<double>(terms)));
        }
      }
    }
  }
  return worst;
}

template <class P>
void check_exact(double tolerance) {
  Stream stream(21, 0, sizeof(P), Purpose::test);
  Pyramid<P> pyramid;  // its memory is used again for every image
  for (int repetition = 0; repetition < 30; ++repetition) {
    const Index most = repetition < 25 ? 90 : 700;
    const auto extent = [&] { return 1 + static_cast<Index>(stream.below(static_cast<std::uint32_t>(most))); };
    const Extents<3> extents{extent(), extent(), 1 + static_cast<Index>(stream.below(4))};
    const Picture<P> picture = noise<P>(stream, extents, static_cast<Index>(stream.below(2)) * 5);
    ImageView<P> image = picture.view();
    if (stream.below(3) == 0) {  // columns first
      image = ImageView<P>(image.data(), {image.extent(1), image.extent(0), extents[2]},
                           {image.stride(1), image.stride(0), image.stride(2)});
    }
    PyramidOptions options;
    options.smallest = 1 + static_cast<Index>(stream.below(20));
    pyramid.assign(image, options);
    INFO(image.extent(0), "x", image.extent(1), "x", image.extent(2));
    CHECK(worst_error(pyramid.pyramid(), image) <= tolerance);
    const auto& view = pyramid.pyramid();
    const Extents<2> last = view.level_extent(view.levels() - 1);
    CHECK(std::max(last[0], last[1]) <= options.smallest);
  }
}

TEST_SUITE_BEGIN("image");

TEST_CASE("pyramid: the exact average of every block, any size: bytes") { check_exact<std::uint8_t>(0.5); }
TEST_CASE("pyramid: the exact average of every block, any size: 16-bit") { check_exact<std::uint16_t>(0.5); }
TEST_CASE("pyramid: the exact average of every block, any size: float") { check_exact<float>(5e-7); }
TEST_CASE("pyramid: the exact average of every block, any size: double") { check_exact<double>(1e-14); }

TEST_CASE("pyramid: white stays white") {
  Picture<std::uint8_t> bytes(Extents<3>{1030, 517, 3});
  std::fill(bytes.pixels.begin(), bytes.pixels.end(), std::uint8_t{255});
  const Pyramid<std::uint8_t> a(bytes.view());
  Picture<std::uint16_t> words(Extents<3>{530, 1100, 1});
  std::fill(words.pixels.begin(), words.pixels.end(), std::uint16_t{65535});
  const Pyramid<std::uint16_t> b(words.view());
  CHECK(worst_error(a.pyramid(), std::as_const(bytes).view()) == 0);
  CHECK(worst_error(b.pyramid(), std::as_const(words).view()) == 0);
}

TEST_CASE("pyramid: options, memory, moves") {
  Stream stream(22, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {200, 100, 1});
  PyramidOptions options;
  options.levels = 2;
  Pyramid<std::uint8_t> pyramid(picture.view(), options);
  CHECK(pyramid.pyramid().levels() == 2);
  options.levels = 1;
  pyramid.assign(picture.view(), options);
  CHECK(pyramid.pyramid().levels() == 1);
  CHECK(pyramid.pyramid().level(0).data() == picture.pixels.data());
  pyramid.assign(picture.view());
  const auto* memory = pyramid.pyramid().level(1).data();
  pyramid.assign(picture.view());
  CHECK(pyramid.pyramid().level(1).data() == memory);
  const Pyramid<std::uint8_t> moved(std::move(pyramid));
  CHECK(moved.pyramid().level(1).data() == memory);
  CHECK(moved.extent() == Extents<2>{200, 100});
}

TEST_CASE("pyramid: what is no pyramid is refused") {
  Stream stream(23, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {20, 30, 1});
  const auto view = [&](Index h, Index w, Index c) { return ImageView<std::uint8_t>(picture.pixels.data(), {h, w, c}); };
  CHECK_THROWS_AS(Pyramid<std::uint8_t>(view(0, 3, 1)), Error);
  PyramidOptions options;
  options.smallest = 0;
  CHECK_THROWS_AS(Pyramid<std::uint8_t>(view(5, 5, 1), options), Error);
  PyramidView<std::uint8_t> pyramid(picture.view());
  CHECK_THROWS_AS(pyramid.push_back(view(10, 15, 2)), Error);               // channels
  CHECK_THROWS_AS(pyramid.push_back(view(20, 30, 1)), Error);               // not smaller
  CHECK_THROWS_AS(pyramid.push_back(view(10, 15, 1), {2.0, 1.0}), Error);   // half the image
  CHECK_THROWS_AS(pyramid.push_back(view(10, 15, 1), {2.0, 40.0}), Error);  // more than the image
  CHECK_THROWS_AS(pyramid.push_back(view(10, 15, 1), {2.0, std::nan("")}), Error);
  pyramid.push_back(view(10, 15, 1));
  CHECK(pyramid.ratios(1) == std::array<double, 2>{2.0, 2.0});
  pyramid.push_back(view(5, 8, 1), {4.0, 4.0});
  CHECK(pyramid.levels() == 3);
  CHECK_THROWS_AS(PyramidView<std::uint8_t>({0, 5}, 1), Error);
}

TEST_CASE("build_pyramid is a Pyramid, and its gradient is its transpose") {
  Stream stream(24, 0, 0, Purpose::test);
  for (int repetition = 0; repetition < 20; ++repetition) {
    const Extents<3> extents{1 + static_cast<Index>(stream.below(50)), 1 + static_cast<Index>(stream.below(50)),
                             1 + static_cast<Index>(stream.below(3))};
    const Picture<double> picture = noise<double>(stream, extents);
    PyramidOptions options;
    options.smallest = 3;
    std::vector<double> memory(static_cast<std::size_t>(pyramid_elements(extents, options)));
    const PyramidView<double> built = build_pyramid(picture.view(), memory.data(), options);
    const Pyramid<double> pyramid(picture.view(), options);
    REQUIRE(built.levels() == pyramid.pyramid().levels());
    CHECK(worst_error(built, picture.view()) <= 1e-14);
    std::vector<double> d_levels(memory.size());
    double forward = 0;
    for (std::size_t i = 0; i < d_levels.size(); ++i) {
      d_levels[i] = stream.normal<double>();
      forward += d_levels[i] * memory[i];
    }
    Picture<double> d_image(extents);
    build_pyramid_backward(d_levels.data(), d_image.view(), options);
    double backward = 0;
    for (std::size_t i = 0; i < d_image.pixels.size(); ++i) backward += d_image.pixels[i] * picture.pixels[i];
    CHECK(forward == doctest::Approx(backward).epsilon(1e-12));
  }
}

TEST_SUITE_END();

}  // namespace
