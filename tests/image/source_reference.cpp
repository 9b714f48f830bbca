// SPDX-License-Identifier: MIT
// A reference to a source is what it refers to, for a picture in memory and for one in a file.
#include "support/file_in_memory.hpp"
#include "support/pictures.hpp"
#include <fovea/core/random.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/source_reference.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::FileInMemory;

namespace {

Tensor<std::uint8_t, 3> picture() {
  Stream stream(3);
  Tensor<std::uint8_t, 3> pixels({150, 203, 2});
  for (std::uint8_t& p : pixels) p = static_cast<std::uint8_t>(stream.below(256));
  return pixels;
}

template <class Source>
void check_same(const Source& source) {
  const SourceReference<Source> reference(source);
  static_assert(ImageSource<SourceReference<Source>>);
  static_assert(ImageInMemory<SourceReference<Source>> == ImageInMemory<Source>);
  static_assert(std::is_trivially_destructible_v<SourceReference<Source>>);  // an arena takes it
  static_assert(std::is_trivially_copyable_v<SourceReference<Source>>);
  CHECK(reference.extent() == source.extent());
  CHECK(reference.channels() == source.channels());
  REQUIRE(reference.levels() == source.levels());
  CHECK(reference.levels() > 1);
  for (int k = 0; k < source.levels(); ++k) {
    CHECK(reference.level_extent(k) == source.level_extent(k));
    CHECK(reference.ratios(k)[0] == source.ratios(k)[0]);
    CHECK(reference.ratios(k)[1] == source.ratios(k)[1]);
    CHECK(reference.ratio(k) == source.ratio(k));
    const Extents<2> e = source.level_extent(k);
    const PixelBox box{e[0] / 3, e[1] / 4, (e[0] + 1) / 2, (e[1] + 1) / 2};
    const auto value = [&](const auto& from) {
      const auto pixels = read_exactly(from, k, box);
      std::vector<int> all;
      for (Index y = 0; y < box.height; ++y) {
        for (Index x = 0; x < box.width; ++x) all.push_back(pixels(y, x, 1));
      }
      return all;
    };
    CHECK(value(reference) == value(source));
  }
  CHECK(reference.decoded().bytes == source.decoded().bytes);
  CHECK(reference.decoded().pixels == source.decoded().pixels);

  // What looks at sources sees the same: a proxy, and a glimpse.
  Tensor<float, 3> a({9, 11, 2});
  Tensor<float, 3> b({9, 11, 2});
  proxy(source, a.view());
  proxy(reference, b.view());
  for (Index i = 0; i < a.size(); ++i) CHECK(a.data()[i] == b.data()[i]);
  const glimpse::Region<float> region{0.3F, 0.2F, -0.4F};
  glimpse::Antialiased{}.sample(source, region, a.view());
  glimpse::Antialiased{}.sample(reference, region, b.view());
  for (Index i = 0; i < a.size(); ++i) CHECK(a.data()[i] == b.data()[i]);
}

}  // namespace

TEST_CASE("source reference: a pyramid in memory") {
  const Tensor<std::uint8_t, 3> pixels = picture();
  const Pyramid<std::uint8_t> pyramid(pixels.view());
  check_same(pyramid);
  const SourceReference<Pyramid<std::uint8_t>> reference(pyramid);
  CHECK(&reference.pyramid() == &pyramid.pyramid());
  for (int k = 0; k < pyramid.levels(); ++k) CHECK(&reference.level(k) == &pyramid.level(k));
  CHECK_NOTHROW(reference.prepare({}));  // it wants to know nothing
}

TEST_CASE("source reference: a picture in a file, which hears what will be read") {
  const auto open = [](const std::shared_ptr<FileInMemory::Log>& log, bool sequential) {
    Tensor<std::uint8_t, 3> pixels = picture();
    ImageInfo info;
    info.channels = 2;
    info.levels = {{{pixels.extent(0), pixels.extent(1)}, {32, 32}, {1, 1}}};
    info.sequential = sequential;
    std::vector<Tensor<std::uint8_t, 3>> levels;
    levels.push_back(std::move(pixels));
    return ImageFile(std::make_unique<FileInMemory>(std::move(levels), std::move(info), log), {.overview_pixels = 2000});
  };
  auto log = std::make_shared<FileInMemory::Log>();
  check_same(open(log, false));

  log = std::make_shared<FileInMemory::Log>();
  const ImageFile file = open(log, true);
  const SourceReference<ImageFile> reference(file);
  const std::array<LevelBox, 2> boxes{{{0, {100, 150, 20, 30}}, {0, {10, 0, 20, 30}}}};
  reference.prepare(boxes);
  const std::size_t calls = log->calls.size() + log->scans.size();
  CHECK(calls >= 1);
  const auto decoded = reference.decoded().pixels;
  CHECK(decoded > 0);
  for (const LevelBox& box : boxes) (void)reference.read(box.level, box.box);
  CHECK(log->calls.size() + log->scans.size() == calls);  // all was there
  CHECK(reference.decoded().pixels == decoded);
  CHECK(file.decoded().pixels == decoded);
}

TEST_CASE("source reference: copies refer to the same source") {
  const Tensor<std::uint8_t, 3> pixels = picture();
  const Pyramid<std::uint8_t> pyramid(pixels.view());
  const SourceReference<Pyramid<std::uint8_t>> first(pyramid);
  const std::vector<SourceReference<Pyramid<std::uint8_t>>> many(5, first);
  for (const auto& one : many) CHECK(&one.pyramid() == &pyramid.pyramid());
}
