// SPDX-License-Identifier: MIT
// Patches against a naive crop: every pixel, the rounding of the centre, levels, edges, files.
#include "support/file_in_memory.hpp"
#include "support/message_of.hpp"
#include "support/pictures.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/patch.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/pyramid.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace fovea;
using fovea_test::FileInMemory;
using fovea_test::message_of;
using fovea_test::noise;
using fovea_test::Picture;
using glimpse::Patch;
using glimpse::Region;

/// The largest difference from a crop of one level, pixel by pixel; its middle lies nearest to the region's centre.
template <class P, class T>
double naive_gap(const PyramidView<P>& image, int level, const Region<T>& region, View<const T, 3> got) {
  const View<const P, 3> pixels = image.level(level);
  const auto first = [&](std::size_t axis, T centre) {
    const double middle =
        (static_cast<double>(centre) + 1) / 2 * static_cast<double>(image.extent()[axis]) / image.ratios(level)[axis];
    return std::round(middle - static_cast<double>(got.extent(axis)) / 2);
  };
  const double full = std::is_floating_point_v<P> ? 1.0 : static_cast<double>(std::numeric_limits<P>::max());
  double worst = 0;
  for (Index i = 0; i < got.extent(0); ++i) {
    for (Index j = 0; j < got.extent(1); ++j) {
      const double y = first(0, region.y) + static_cast<double>(i);
      const double x = first(1, region.x) + static_cast<double>(j);
      const bool within =
          y >= 0 && x >= 0 && y < static_cast<double>(pixels.extent(0)) && x < static_cast<double>(pixels.extent(1));
      for (Index c = 0; c < got.extent(2); ++c) {
        const double expected =
            within ? static_cast<double>(pixels(static_cast<Index>(y), static_cast<Index>(x), c)) / full : 0.0;
        const double gap = std::abs(static_cast<double>(got(i, j, c)) - expected);
        worst = gap <= worst ? worst : gap;
      }
    }
  }
  return worst;
}

template <class P, class T>
void check_random(std::uint64_t seed) {
  Stream stream(seed, 0, 0, Purpose::test);
  for (int n = 0; n < 60; ++n) {
    const auto up_to = [&](std::uint32_t most) { return 1 + static_cast<Index>(stream.below(most)); };
    const Picture<P> picture = noise<P>(stream, {up_to(40), up_to(40), up_to(4)}, static_cast<Index>(stream.below(3)));
    PyramidOptions options;
    options.smallest = 4;
    const Pyramid<P> pyramid(picture.view(), options);
    const PyramidView<P>& view = pyramid.pyramid();
    // Never black by chance, so that an element that was not written shows.
    Picture<T> out({up_to(12), up_to(12), picture.extents[2]}, 2);
    std::fill(out.pixels.begin(), out.pixels.end(), T(7));
    const Region<T> region{stream.uniform(T(0.05), T(1)), stream.uniform(T(-2), T(2)), stream.uniform(T(-2), T(2))};
    const int level = static_cast<int>(stream.below(static_cast<std::uint32_t>(view.levels())));
    Patch{level}.sample(pyramid, region, out.view());
    CHECK(naive_gap<P, T>(view, level, region, std::as_const(out).view()) <= 1e-7);
  }
}

struct Opened {
  std::shared_ptr<FileInMemory::Log> log;
  ImageFile file;
};
Opened open(const Picture<std::uint8_t>& picture, bool sequential) {
  auto log = std::make_shared<FileInMemory::Log>();
  Tensor<std::uint8_t, 3> pixels(picture.extents);
  std::copy(picture.pixels.begin(), picture.pixels.end(), pixels.begin());
  ImageInfo info;
  info.channels = picture.extents[2];
  info.levels = {{{picture.extents[0], picture.extents[1]}, {16, 16}, {1, 1}}};
  info.sequential = sequential;
  std::vector<Tensor<std::uint8_t, 3>> levels;
  levels.push_back(std::move(pixels));
  return {log, ImageFile(std::make_unique<FileInMemory>(std::move(levels), info, log), {.overview_pixels = 400})};
}

TEST_SUITE_BEGIN("glimpse");

TEST_CASE("patch: the pixels of a naive crop, black beyond the edge") {
  check_random<std::uint8_t, float>(1);
  check_random<std::uint16_t, float>(2);
  check_random<float, float>(3);
  check_random<std::uint8_t, double>(4);
  check_random<double, double>(5);
}

TEST_CASE("patch: far outside, and a single pixel") {
  Picture<std::uint8_t> one({1, 1, 1});
  one.pixels = {51};
  const Pyramid<std::uint8_t> pyramid(one.view());
  Picture<float> out(Extents<3>{1, 1, 1});
  Patch{}.sample(pyramid, Region<float>{1, 0, 0}, out.view());
  CHECK(out.pixels[0] == doctest::Approx(0.2F).epsilon(1e-7));
  for (const float far : {3.0F, -3.0F, 1e9F, -1e30F, std::numeric_limits<float>::max()}) {
    for (const Region<float> region : {Region<float>{1, far, 0}, Region<float>{1, 0, far}, Region<float>{1, far, far}}) {
      out.pixels[0] = 7;
      Patch{}.sample(pyramid, region, out.view());
      CHECK(out.pixels[0] == 0);
      CHECK(Patch{}.boxes(pyramid, region, {1, 1})[0].box.empty());
    }
  }
}

TEST_CASE("patch: without a level of its own it takes the one nearest to the region's scale, by ratio") {
  Stream stream(6, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {160, 160, 2});
  const Pyramid<std::uint8_t> pyramid(picture.view());  // 160, 80, 40, 20, 10
  Picture<float> out(Extents<3>{10, 10, 2});
  // Pixels of the image to a pixel of the glimpse: 16 s; the borders lie at sqrt(2), 2 sqrt(2), ...
  const std::array<std::pair<float, int>, 8> cases{
      {{0.001F, 0}, {1.40F / 16, 0}, {1.43F / 16, 1}, {2.8F / 16, 1}, {2.9F / 16, 2}, {0.5F, 3}, {1.0F, 4}, {50.0F, 4}}};
  for (const auto& [s, level] : cases) {
    const Region<float> region{s, 0.13F, -0.21F};
    Patch{}.sample(pyramid, region, out.view());
    CHECK(naive_gap<std::uint8_t, float>(pyramid.pyramid(), level, region, std::as_const(out).view()) <= 1e-7);
    CHECK(Patch{}.boxes(pyramid, region, {10, 10})[0].level == level);
  }
}

TEST_CASE("patch: a file gives the pixels of its pyramid") {
  Stream stream(7, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {90, 130, 3});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  for (const bool sequential : {false, true}) {
    const Opened opened = open(picture, sequential);
    const int shared = std::min(opened.file.levels(), pyramid.pyramid().levels());
    REQUIRE(shared >= 2);
    std::vector<Region<float>> regions;
    for (int n = 0; n < 40; ++n) {
      regions.push_back({stream.uniform(0.02F, 0.5F), stream.uniform(-1.6F, 1.6F), stream.uniform(-1.6F, 1.6F)});
    }
    glimpse::prepare(Patch{}, opened.file, std::span<const Region<float>>(regions), {9, 14});
    Picture<float> a(Extents<3>{9, 14, 3});
    Picture<float> b = a;
    for (std::size_t n = 0; n < regions.size(); ++n) {
      const Patch patch{static_cast<int>(n) % (shared + 1) - 1};
      patch.sample(opened.file, regions[n], a.view());
      patch.sample(pyramid, regions[n], b.view());
      CHECK(a.pixels == b.pixels);
    }
  }
}

TEST_CASE("patch: the op gives the crops, and no gradient") {
  Stream stream(8, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {33, 47, 3});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  const std::vector<PyramidView<std::uint8_t>> images(2, pyramid.pyramid());
  Arena arena;
  Tape<float> tape(arena);
  const auto regions = tape.variable(Shape{2, 3});
  const std::array<float, 6> places{0.2F, 0.1F, -0.3F, 0.5F, 0.9F, 0.8F};
  std::copy(places.begin(), places.end(), regions.value);
  const auto out = Patch{0}(tape, std::span<const PyramidView<std::uint8_t>>(images), regions, {8, 6});
  CHECK(out.shape == Shape{2, 8, 6, 3});
  CHECK(out.gradient == nullptr);
  for (Index b = 0; b < 2; ++b) {
    const Region<float> region{places[static_cast<std::size_t>(3 * b)], places[static_cast<std::size_t>(3 * b + 1)],
                               places[static_cast<std::size_t>(3 * b + 2)]};
    CHECK(naive_gap<std::uint8_t, float>(pyramid.pyramid(), 0, region, out.values<4>()[b]) <= 1e-7);
  }
}

TEST_CASE("patch: errors") {
  Stream stream(9, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {20, 30, 3});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  Picture<float> out(Extents<3>{4, 4, 3});
  Picture<float> grey(Extents<3>{4, 4, 1});
  Picture<float> nothing(Extents<3>{0, 4, 3});
  const auto says = [&](const Patch& patch, const Region<float>& region, Picture<float>& to, const char* what) {
    const auto message = message_of([&] { patch.sample(pyramid, region, to.view()); });
    INFO(message);
    CHECK(message.find(what) != std::string::npos);
  };
  says({}, {0, 0, 0}, out, "s > 0 expected, s = 0");
  says({}, {1, std::numeric_limits<float>::quiet_NaN(), 0}, out, "finite numbers");
  says({9}, {1, 0, 0}, out, "a level below 2 expected, 9 came");
  says({}, {1, 0, 0}, grey, "1 channels expected, the image has 3");
  says({}, {1, 0, 0}, nothing, "a window of at least 1x1 expected, 0x4 came");
}

TEST_SUITE_END();

}  // namespace
