// SPDX-License-Identifier: MIT
// BasicImageFile over a decoder of a picture in memory: what it hands out is what a Pyramid of the picture has, and what it
// costs is counted.
#include "support/file_in_memory.hpp"
#include <fovea/core/random.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

using fovea::Extents;
using fovea::Index;
using fovea::PixelBox;
using fovea::View;
using Bytes = fovea::Tensor<std::uint8_t, 3>;
using fovea_test::FileInMemory;
using Log = fovea_test::FileInMemory::Log;

namespace {

/// Smooth, so that a wrong turn or a wrong place shows, with some noise.
Bytes picture(Index height, Index width, Index channels) {
  Bytes image({height, width, channels});
  fovea::Stream stream(7);
  for (Index i = 0; i < height; ++i) {
    for (Index j = 0; j < width; ++j) {
      for (Index c = 0; c < channels; ++c) {
        const double v = 100 + 80 * std::sin(0.05 * static_cast<double>(i) + static_cast<double>(c)) +
                         40 * std::cos(0.11 * static_cast<double>(j)) + 20 * stream.uniform(0.0, 1.0);
        image(i, j, c) = static_cast<std::uint8_t>(v);
      }
    }
  }
  return image;
}

struct Opened {
  std::shared_ptr<Log> log = std::make_shared<Log>();
  fovea::ImageFile file;
};

Opened open(const Bytes& image, const fovea::ImageFileOptions& options, fovea::Orientation orientation = {},
            bool sequential = false, Extents<2> tile = {32, 32}) {
  auto log = std::make_shared<Log>();
  fovea::ImageInfo info;
  info.channels = image.extent(2);
  info.levels = {{{image.extent(0), image.extent(1)}, tile, {1, 1}}};
  info.orientation = orientation;
  info.sequential = sequential;
  std::vector<Bytes> levels;
  levels.push_back(image);
  return {log, fovea::ImageFile(std::make_unique<FileInMemory>(std::move(levels), info, log), options)};
}

Bytes seen_as(const Bytes& stored, fovea::Orientation orientation) {
  const View<const std::uint8_t, 3> turned = fovea::oriented(orientation, stored.view());
  Bytes out(turned.extents());
  for (Index i = 0; i < turned.extent(0); ++i) {
    for (Index j = 0; j < turned.extent(1); ++j) {
      for (Index c = 0; c < turned.extent(2); ++c) out(i, j, c) = turned(i, j, c);
    }
  }
  return out;
}

bool equal(const View<const std::uint8_t, 3>& a, const View<const std::uint8_t, 3>& b) {
  if (a.extents() != b.extents()) return false;
  for (Index i = 0; i < a.extent(0); ++i) {
    for (Index j = 0; j < a.extent(1); ++j) {
      for (Index c = 0; c < a.extent(2); ++c) {
        if (a(i, j, c) != b(i, j, c)) return false;
      }
    }
  }
  return true;
}

View<const std::uint8_t, 3> part(const View<const std::uint8_t, 3>& all, const PixelBox& box) {
  return {
      all.data() + box.top * all.stride(0) + box.left * all.stride(1), {box.height, box.width, all.extent(2)}, all.strides()};
}

const std::vector<fovea::Orientation> kOrientations = {fovea::Orientation::upright,     fovea::Orientation::mirrored,
                                                       fovea::Orientation::rotated_180, fovea::Orientation::flipped,
                                                       fovea::Orientation::transposed,  fovea::Orientation::rotated_90,
                                                       fovea::Orientation::transversed, fovea::Orientation::rotated_90_counter};

}  // namespace

TEST_CASE("Orientation: what tag 274 means, on a picture of 2x3") {
  Bytes stored({2, 3, 1});
  for (Index i = 0; i < 6; ++i) stored.data()[i] = static_cast<std::uint8_t>(i);
  // Row 0 of what is stored is the top, bottom, right or left of what is seen, as the TIFF specification has it.
  const std::vector<std::vector<int>> seen = {{0, 1, 2, 3, 4, 5}, {2, 1, 0, 5, 4, 3}, {5, 4, 3, 2, 1, 0}, {3, 4, 5, 0, 1, 2},
                                              {0, 3, 1, 4, 2, 5}, {3, 0, 4, 1, 5, 2}, {5, 2, 4, 1, 3, 0}, {2, 5, 1, 4, 0, 3}};
  for (std::size_t k = 0; k < 8; ++k) {
    CAPTURE(k + 1);
    const Bytes turned = seen_as(stored, fovea::orientation_from_tag(static_cast<int>(k) + 1));
    CHECK(turned.extent(0) == (k < 4 ? 2 : 3));
    CHECK(std::equal(turned.begin(), turned.end(), seen[k].begin(), [](int a, int b) { return a == b; }));
  }
  CHECK(fovea::orientation_from_tag(0) == fovea::Orientation::upright);
  CHECK(fovea::orientation_from_tag(9) == fovea::Orientation::upright);
}

TEST_CASE("ImageFile: every box of every level is that of a pyramid of the picture, however it lies") {
  for (const fovea::Orientation orientation : kOrientations) {
    for (const bool sequential : {false, true}) {
      for (const auto policy : {fovea::ReadPolicy::least_memory, fovea::ReadPolicy::least_time}) {
        for (const std::size_t cache : {std::size_t{0}, std::size_t{6000}, std::size_t{1} << 20U}) {
          CAPTURE(static_cast<int>(orientation));
          CAPTURE(sequential);
          CAPTURE(cache);
          const Bytes stored =
              picture(136, 200, 3);  // whole pixels down to 1/8, so that no orientation has a partial first one
          const Bytes seen = seen_as(stored, orientation);
          const fovea::Pyramid<std::uint8_t> pyramid(seen.view());
          const Opened opened =
              open(stored, {.policy = policy, .cache_bytes = cache, .overview_pixels = 25 * 17}, orientation, sequential);
          const fovea::ImageFile& file = opened.file;
          REQUIRE(file.extent() == pyramid.extent());
          REQUIRE(file.levels() == pyramid.levels());
          CHECK(file.overview_level() == 3);
          fovea::Stream stream(1);
          for (int n = 0; n < 30; ++n) {
            const int level = static_cast<int>(stream.uniform(0.0, 0.999) * 4);
            const Extents<2> extent = file.level_extent(level);
            REQUIRE(extent == pyramid.level_extent(level));
            CHECK(file.ratios(level) == pyramid.ratios(level));
            PixelBox box;
            box.top = static_cast<Index>(stream.uniform(0.0, 0.999) * static_cast<double>(extent[0]));
            box.left = static_cast<Index>(stream.uniform(0.0, 0.999) * static_cast<double>(extent[1]));
            box.height = 1 + static_cast<Index>(stream.uniform(0.0, 0.999) * static_cast<double>(extent[0] - box.top));
            box.width = 1 + static_cast<Index>(stream.uniform(0.0, 0.999) * static_cast<double>(extent[1] - box.left));
            const bool same = equal(fovea::read_exactly(file, level, box), part(pyramid.level(level), box));
            CHECK(same);
          }
        }
      }
    }
  }
}

TEST_CASE("ImageFile: glimpses and proxies of a file are those of the picture in memory") {
  const Bytes image = picture(150, 211, 1);
  const fovea::Pyramid<std::uint8_t> pyramid(image.view());
  const Opened opened = open(image, {.overview_pixels = 800});
  fovea::Tensor<float, 3> a({12, 9, 1});
  fovea::Tensor<float, 3> b({12, 9, 1});
  fovea::Tensor<float, 1> slopes_a({3 * 12 * 9});
  fovea::Tensor<float, 1> slopes_b({3 * 12 * 9});
  fovea::Tensor<float, 3> d_out({12, 9, 1});
  std::fill(d_out.begin(), d_out.end(), 0.5F);
  const auto worst = [&] {
    float difference = 0;
    for (Index i = 0; i < a.size(); ++i) difference = std::max(difference, std::abs(a.data()[i] - b.data()[i]));
    return difference;
  };
  for (const auto padding :
       {fovea::kernel::Padding::zeros, fovea::kernel::Padding::border, fovea::kernel::Padding::reflection}) {
    for (const float s : {0.02F, 0.1F, 0.4F, 1.0F, 3.0F}) {
      for (const float x : {-1.5F, -0.9F, 0.013F, 0.55F, 1.0F}) {
        for (const float y : {-1.0F, 0.25F, 1.2F}) {
          CAPTURE(static_cast<int>(padding));
          CAPTURE(s);
          CAPTURE(x);
          CAPTURE(y);
          const fovea::glimpse::Region<float> region{s, x, y};
          const fovea::glimpse::Antialiased antialiased{.padding = padding};
          antialiased.sample_with_slopes(pyramid, region, a.view(), slopes_a.data());
          antialiased.sample_with_slopes(opened.file, region, b.view(), slopes_b.data());
          CHECK(worst() < 1e-6F);
          const auto g = antialiased.sample_backward(std::as_const(d_out).view(), pyramid, region);
          const auto h = antialiased.slopes_backward(std::as_const(d_out).view(), opened.file, region, slopes_b.data());
          CHECK(h.s == doctest::Approx(g.s).epsilon(1e-3));
          CHECK(h.x == doctest::Approx(g.x).epsilon(1e-3));
          CHECK(h.y == doctest::Approx(g.y).epsilon(1e-3));
          for (const bool corners : {false, true}) {
            const fovea::glimpse::Bilinear bilinear{.padding = padding, .align_corners = corners};
            bilinear.sample(pyramid, region, a.view());
            bilinear.sample(opened.file, region, b.view());
            CHECK(worst() < 1e-6F);
            const std::array<float, 6> theta{0.8F * s, 0.3F * s, x, -0.4F * s, 0.7F * s, y};
            bilinear.sample(pyramid, theta, a.view());
            bilinear.sample(opened.file, theta, b.view());
            CHECK(worst() < 1e-5F);
          }
        }
      }
    }
  }
  fovea::proxy(pyramid, a.view());
  fovea::proxy(opened.file, b.view());
  CHECK(worst() < 2.0F / 255);
}

TEST_CASE("ImageFile: what was decoded stays, is counted once, and never takes more than the cache") {
  const Bytes image = picture(512, 512, 1);
  const Opened opened = open(image, {.cache_bytes = 8 * 32 * 32, .overview_pixels = 256}, {}, true);
  const fovea::ImageFile& file = opened.file;
  CHECK(file.decoded().pixels == 0);
  static_cast<void>(file.read(0, {10, 10, 20, 20}));
  CHECK(file.decoded().pixels == 32 * 32);
  CHECK(file.cache().misses() == 1);
  CHECK(file.cache().hits() == 0);
  static_cast<void>(file.read(0, {0, 0, 30, 30}));
  CHECK(file.decoded().pixels == 32 * 32);
  CHECK(file.cache().hits() == 1);
  // Both boxes in one pass, the tiles in the order of the file.
  const std::size_t calls = opened.log->calls.size();
  const std::vector<fovea::LevelBox> boxes{{0, {300, 5, 10, 60}}, {0, {100, 200, 10, 10}}, {1, {50, 100, 4, 4}}};
  fovea::prepare(file, boxes);
  REQUIRE(opened.log->calls.size() == calls + 1);
  CHECK(opened.log->calls.back().front() == PixelBox{96, 192, 32, 32});
  CHECK(opened.log->calls.back().size() == 4);
  const auto decoded = file.decoded().pixels;
  static_cast<void>(file.read(0, boxes[0].box));
  static_cast<void>(file.read(1, boxes[2].box));
  CHECK(file.decoded().pixels == decoded);
  for (Index top = 0; top + 40 < 512; top += 40) {
    static_cast<void>(file.read(0, {top, 33, 40, 40}));
    CHECK(file.cache().bytes() <= file.cache().capacity());
  }
  // More than the cache holds: decoded all the same.
  const bool same = equal(fovea::read_exactly(file, 0, {1, 2, 300, 400}), part(image.view(), {1, 2, 300, 400}));
  CHECK(same);
  // The overview is made once.
  static_cast<void>(file.read(file.overview_level(), {0, 0, 1, 1}));
  static_cast<void>(file.read(file.overview_level(), {0, 0, 2, 2}));
  CHECK(opened.log->scans == std::vector<int>{0});
}

TEST_CASE("ImageFile: least_time decodes once, and what it may not keep is not kept") {
  const Bytes image = picture(256, 256, 3);
  const Opened once = open(image, {.policy = fovea::ReadPolicy::least_time, .overview_pixels = 1024}, {}, true);
  static_cast<void>(once.file.read(3, {0, 0, 1, 1}));
  static_cast<void>(once.file.read(0, {100, 100, 50, 50}));
  static_cast<void>(once.file.read(1, {0, 0, 128, 128}));
  CHECK(once.file.decoded().pixels == 256 * 256);
  CHECK(once.file.memory() >= std::size_t{256 * 256 * 3});
  const Opened small =
      open(image, {.policy = fovea::ReadPolicy::least_time, .overview_pixels = 1024, .whole_bytes = 1000}, {}, true);
  static_cast<void>(small.file.read(0, {100, 100, 5, 5}));
  CHECK(small.file.decoded().pixels == 32 * 32);
}

TEST_CASE("ImageFile: a file that turns out broken throws, and nothing of it is taken for pixels") {
  const Bytes image = picture(128, 128, 1);
  const Opened opened = open(image, {.overview_pixels = 256});
  opened.log->broken = true;
  CHECK_THROWS_AS(static_cast<void>(opened.file.read(0, {0, 0, 40, 40})), fovea::Error);
  CHECK_THROWS_AS(static_cast<void>(opened.file.read(opened.file.overview_level(), {0, 0, 1, 1})), fovea::Error);
  CHECK(opened.file.cache().bytes() == 0);
  opened.log->broken = false;
  const bool same = equal(fovea::read_exactly(opened.file, 0, {0, 0, 40, 40}), part(image.view(), {0, 0, 40, 40}));
  CHECK(same);
}

TEST_CASE("ImageFile: levels that a file stores are used, gaps are filled with octaves") {
  const Bytes image = picture(256, 384, 1);
  const fovea::Pyramid<std::uint8_t> pyramid(image.view());
  auto log = std::make_shared<Log>();
  fovea::ImageInfo info;
  info.channels = 1;
  std::vector<Bytes> levels;
  for (const int k : {0, 1, 4}) {  // 1, 2 and 16
    const auto level = pyramid.level(k);
    Bytes copy(level.extents());
    for (Index i = 0; i < copy.extent(0); ++i) std::copy_n(&level(i, 0, 0), copy.extent(1), &copy(i, 0, 0));
    info.levels.push_back({{copy.extent(0), copy.extent(1)}, {16, 16}, pyramid.ratios(k)});
    levels.push_back(std::move(copy));
  }
  const fovea::ImageFile file(std::make_unique<FileInMemory>(std::move(levels), info, log), {.overview_pixels = 400});
  REQUIRE(file.levels() == pyramid.levels());
  for (int k = 0; k < file.levels(); ++k) {
    CHECK(file.ratios(k) == pyramid.ratios(k));
    CHECK(file.level_extent(k) == pyramid.level_extent(k));
  }
  CHECK(file.overview_level() == 4);
  log->calls.clear();
  static_cast<void>(file.read(3, {0, 0, 3, 3}));  // 1/8 from 1/2: 12 x 12 of it
  REQUIRE(log->calls.size() == 1);
  CHECK(log->calls[0].size() == 1);
  static_cast<void>(file.read(4, {0, 0, 3, 3}));
  CHECK(log->scans == std::vector<int>{2});
}

TEST_CASE("read: the coarsest resolution that suffices") {
  const Bytes image = picture(256, 256, 1);
  const fovea::Pyramid<std::uint8_t> pyramid(image.view());
  const auto at = fovea::read(pyramid, {64, 32, 128, 128}, {30, 30});
  CHECK(at.extents() == Extents<3>{32, 32, 1});
  CHECK(at(0, 0, 0) == pyramid.level(2)(16, 8, 0));
  CHECK(fovea::read(pyramid, {64, 32, 128, 128}, {33, 30}).extents() == Extents<3>{64, 64, 1});
  CHECK(fovea::read(pyramid, {3, 3, 5, 5}, {100, 100}).extents() == Extents<3>{5, 5, 1});
  CHECK_THROWS_AS(static_cast<void>(fovea::read(pyramid, {200, 0, 100, 10}, {1, 1})), fovea::Error);
}
