// SPDX-License-Identifier: MIT
// needs: open
// A picture is the same to look at whether it was decoded as a whole or not, in every orientation.
#include "support/message_of.hpp"
#include "support/picture_files.hpp"
#include "support/temporary_folder.hpp"
#include <fovea/core/view.hpp>
#include <fovea/data/augment.hpp>
#include <fovea/data/picture.hpp>
#include <fovea/image/open.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/source.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace {

using fovea::Extents;
using fovea::Index;
using fovea::data::Picture;
using fovea::data::PictureOptions;
using fovea_test::message_of;
using fovea_test::save;
using fovea_test::TemporaryFolder;
using fovea_test::waves;

static_assert(fovea::ImageSource<Picture>);

/// All levels, and the proxy, element by element.
template <class S>
std::vector<float> everything(const S& source) {
  std::vector<float> all;
  const Index channels = source.channels();
  for (int k = 0; k < source.levels(); ++k) {
    const Extents<2> e = source.level_extent(k);
    all.insert(all.end(), {static_cast<float>(e[0]), static_cast<float>(e[1]), static_cast<float>(source.ratio(k)),
                           static_cast<float>(source.ratios(k)[0])});
    const auto pixels = fovea::read_exactly(source, k, {0, 0, e[0], e[1]});
    for (Index y = 0; y < e[0]; ++y) {
      for (Index x = 0; x < e[1]; ++x) {
        for (Index c = 0; c < channels; ++c) all.push_back(pixels(y, x, c));
      }
    }
  }
  fovea::Tensor<float, 3> proxy({9, 11, channels});
  fovea::proxy(source, proxy.view());
  all.insert(all.end(), proxy.begin(), proxy.end());
  return all;
}

}  // namespace

TEST_CASE("picture: as the file itself, decoded as a whole or not") {
  const TemporaryFolder folder;
  const auto path = folder.path / "p";
  // Formats that store no lower resolutions of their own: all levels and proxies are the same to the bit.
  for (const std::string suffix : {".png", ".tif[tile,tile-width=32,tile-height=32]", ".ppm"}) {
    for (const Index channels : {1, 3}) {
      for (const Index overview : {Index{1} << 20, Index{3000}}) {
        CAPTURE(suffix);
        CAPTURE(channels);
        save(path, waves({130, 97, 3}, 1), suffix);
        PictureOptions options;
        options.file.channels = channels;
        options.file.overview_pixels = overview;
        const auto expected = everything(fovea::open_image(path, options.file));
        Picture picture;
        picture.open(path, options);
        CHECK(picture.in_memory());
        CHECK(picture.channels() == channels);
        CHECK(picture.extent() == Extents<2>{130, 97});
        CHECK(picture.overview_level() == fovea::open_image(path, options.file).overview_level());
        CHECK(everything(picture) == expected);
        CHECK(picture.decoded().pixels >= 130 * 97);
        CHECK(picture.decoded().bytes > 0);

        options.most_bytes = 130 * 97;  // its pixels, but not the lower resolutions
        picture.open(path, options);
        CHECK(!picture.in_memory());
        CHECK(picture.decoded().pixels == 0);
        CHECK(everything(picture) == expected);
      }
    }
  }
}

TEST_CASE("picture: upright, whichever way it is stored") {
  const TemporaryFolder folder;
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const std::string suffix : {".tif", ".jpg[Q=90]"}) {
      CAPTURE(orientation);
      CAPTURE(suffix);
      const auto path = folder.path / "p";
      save(path, waves({50, 34, 3}, 2), suffix, orientation);
      const auto file = fovea::open_image(path, {.channels = 3});
      CHECK(file.extent() == (orientation < 5 ? Extents<2>{50, 34} : Extents<2>{34, 50}));
      const Extents<2> e = file.extent();
      const auto expected = fovea::read_exactly(file, 0, {0, 0, e[0], e[1]});
      Picture picture;
      picture.open(path);
      REQUIRE(picture.extent() == e);
      const auto pixels = fovea::read_exactly(picture, 0, {0, 0, e[0], e[1]});
      bool same = true;
      for (Index i = 0; i < expected.size(); ++i)
        same = same && pixels.data()[i] == expected(i / 3 / e[1], i / 3 % e[1], i % 3);
      CHECK(same);
      PictureOptions as_stored;
      as_stored.file.honour_orientation = false;
      picture.open(path, as_stored);
      CHECK(picture.extent() == Extents<2>{50, 34});
    }
  }
}

TEST_CASE("picture: pixels are changed before its levels are made") {
  const TemporaryFolder folder;
  const auto path = folder.path / "p.png";
  const auto original = waves({40, 60, 3}, 3);
  save(path, original, ".png");
  auto flipped = original;
  fovea::data::flip_horizontally(flipped.view());
  save(folder.path / "f.png", flipped, ".png");
  Picture changed;
  changed.open(path, {}, [](const fovea::View<std::uint8_t, 3>& pixels) { fovea::data::flip_horizontally(pixels); });
  Picture expected;
  expected.open(folder.path / "f.png");
  CHECK(everything(changed) == everything(expected));
  CHECK(changed.levels() > 1);
}

TEST_CASE("picture: one after the other, of any size, and empty after a damaged one") {
  const TemporaryFolder folder;
  const auto large = folder.path / "large.png";
  const auto small = folder.path / "small.png";
  save(large, waves({200, 150, 3}, 4), ".png");
  save(small, waves({30, 20, 3}, 5), ".png");
  Picture reused;
  CHECK(reused.levels() == 0);
  for (const std::size_t most : {std::size_t{1} << 20, std::size_t{10000}}) {
    for (const auto& path : {small, large, small, large}) {
      PictureOptions options;
      options.most_bytes = most;
      reused.open(path, options);
      CHECK(reused.in_memory() == (path == small || most > 10000));
      CHECK(everything(reused) == everything(fovea::open_image(path, options.file)));
    }
  }
  Picture moved = std::move(reused);
  CHECK(everything(moved) == everything(fovea::open_image(large, {.channels = 3})));

  std::filesystem::resize_file(small, std::filesystem::file_size(small) / 2);
  CHECK(message_of([&] { moved.open(small); }) != "");
  CHECK(moved.levels() == 0);
  CHECK_THROWS_AS(moved.open(folder.path / "none.png"), fovea::Error);
  moved.open(large);
  CHECK(everything(moved) == everything(fovea::open_image(large, {.channels = 3})));
}
