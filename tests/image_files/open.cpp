// SPDX-License-Identifier: MIT
// needs: open
// open_image goes by content: every kind of file is read by its reader, whatever its name, in 8 bits and 16.
#include "support/temporary_folder.hpp"
#include <fovea/image/open.hpp>

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using fovea::Extents;
using fovea::ImageFormat;
using fovea::Index;
using namespace std::string_view_literals;

using fovea_test::TemporaryFolder;

namespace {

fovea::Tensor<std::uint8_t, 3> picture() {
  fovea::Tensor<std::uint8_t, 3> p({120, 170, 3});
  for (Index i = 0; i < p.extent(0); ++i) {
    for (Index j = 0; j < p.extent(1); ++j) {
      for (Index c = 0; c < 3; ++c) {
        p(i, j, c) = static_cast<std::uint8_t>(120 + 60 * std::sin(0.04 * static_cast<double>(i) + static_cast<double>(c)) +
                                               50 * std::cos(0.03 * static_cast<double>(j)));
      }
    }
  }
  return p;
}

void write(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

/// A file of the picture in the format of `suffix`, under a name that says another.
void save(const std::filesystem::path& path, const std::string& suffix) {
  const auto p = picture();
  if (suffix == ".npy") {
    std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (120, 170, 3), }";
    header.resize(117, ' ');
    header += '\n';
    std::string file("\x93NUMPY\x01\x00\x76\x00"sv);
    file += header;
    file.append(reinterpret_cast<const char*>(p.data()), static_cast<std::size_t>(p.size()));
    return write(path, file);
  }
  fovea::detail::vips::start();
  const fovea::detail::vips::Owned<VipsImage> image(
      vips_image_new_from_memory_copy(p.data(), static_cast<std::size_t>(p.size()), 170, 120, 3, VIPS_FORMAT_UCHAR));
  REQUIRE(image != nullptr);
  image->Type = VIPS_INTERPRETATION_sRGB;
  void* data = nullptr;
  std::size_t size = 0;
  REQUIRE_MESSAGE(vips_image_write_to_buffer(image.get(), suffix.c_str(), &data, &size, nullptr) == 0,
                  fovea::detail::vips::last_error());
  write(path, std::string_view(static_cast<const char*>(data), size));
  g_free(data);
}

std::vector<std::byte> contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto* from = reinterpret_cast<const std::byte*>(text.data());
  return {from, from + text.size()};
}

template <class P>
void check_near(const fovea::BasicImageFile<P>& file, double tolerance) {
  const auto p = picture();
  REQUIRE(file.extent() == Extents<2>{120, 170});
  REQUIRE(file.channels() == 3);
  constexpr double unit = sizeof(P) == 1 ? 1 : 257;
  const auto part = fovea::read_exactly(file, 0, {30, 40, 70, 110});
  double sum = 0;
  for (Index i = 0; i < 70; ++i) {
    for (Index j = 0; j < 110; ++j) {
      for (Index c = 0; c < 3; ++c) sum += std::abs(part(i, j, c) / unit - p(30 + i, 40 + j, c));
    }
  }
  CHECK(sum / (70 * 110 * 3) <= tolerance);
}

}  // namespace

TEST_CASE("image_format: by the first bytes") {
  CHECK(fovea::image_format("\xFF\xD8\xFF\xE0"sv) == ImageFormat::jpeg);
  CHECK(fovea::image_format("II*\0\x08\0\0\0"sv) == ImageFormat::tiff);
  CHECK(fovea::image_format("MM\0*\0\0\0\x08"sv) == ImageFormat::tiff);
  CHECK(fovea::image_format("II+\0\x08\0\0\0"sv) == ImageFormat::tiff);
  CHECK(fovea::image_format("MM\0+\0\x08\0\0"sv) == ImageFormat::tiff);
  CHECK(fovea::image_format("\x93NUMPY\x01\0"sv) == ImageFormat::npy);
  CHECK(fovea::image_format("\x89PNG\r\n\x1A\n"sv) == ImageFormat::vips);
  CHECK(fovea::image_format("\xFF\xD8"sv) == ImageFormat::vips);
  CHECK(fovea::image_format(""sv) == ImageFormat::vips);
}

TEST_CASE("open_image: by content, whatever the name, from a file and from memory") {
  const TemporaryFolder folder;
  struct Kind {
    std::string suffix, name;
    ImageFormat format;
    double tolerance;
  };
  const std::vector<Kind> kinds = {
      {".jpg[Q=95]", "a.png", ImageFormat::jpeg, 3}, {".tif[tile,compression=deflate]", "b.jpg", ImageFormat::tiff, 0},
      {".tif[bigtiff]", "c", ImageFormat::tiff, 0},  {".npy", "d.tif", ImageFormat::npy, 0},
      {".png", "e.npy", ImageFormat::vips, 0},       {".webp[lossless]", "f.jpeg", ImageFormat::vips, 0},
      {".ppm", "g.svs", ImageFormat::vips, 0}};
  for (const Kind& kind : kinds) {
    CAPTURE(kind.suffix);
    const auto path = folder.path / kind.name;
    save(path, kind.suffix);
    CHECK(fovea::image_format(path) == kind.format);
    const auto file = fovea::open_image(path);
    check_near(file, kind.tolerance);
    CHECK(file.decoded().pixels > 0);
    CHECK(file.decoded().bytes > 0);
    check_near(fovea::open_image<std::uint16_t>(path), kind.tolerance);
    const auto bytes = contents(path);
    check_near(fovea::open_image(bytes), kind.tolerance);
    check_near(fovea::open_image<std::uint16_t>(bytes), kind.tolerance);
    CHECK(fovea::open_image(path, {.channels = 1}).channels() == 1);
    CHECK(fovea::open_image<std::uint16_t>(path, {.channels = 4}).channels() == 4);
  }
}

TEST_CASE("open_image: a JPEG in 16 bits is its bytes times 257, in all levels and all ways to read them") {
  const TemporaryFolder folder;
  const auto path = folder.path / "x";
  save(path, ".jpg");
  const auto narrow = fovea::open_decoder<std::uint8_t>(path);
  const auto wide = fovea::open_decoder<std::uint16_t>(path);
  REQUIRE(wide->info().levels.size() == narrow->info().levels.size());
  for (int level = 0; level < static_cast<int>(narrow->info().levels.size()); ++level) {
    const Extents<2> extent = narrow->info().levels[static_cast<std::size_t>(level)].extent;
    std::vector<std::uint8_t> bytes;
    narrow->scan(level, [&](Index, const std::uint8_t* row) { bytes.insert(bytes.end(), row, row + extent[1] * 3); });
    std::vector<std::uint16_t> words;
    wide->scan(level, [&](Index, const std::uint16_t* row) { words.insert(words.end(), row, row + extent[1] * 3); });
    REQUIRE(words.size() == bytes.size());
    CHECK(std::equal(words.begin(), words.end(), bytes.begin(), [](std::uint16_t w, std::uint8_t b) { return w == b * 257; }));
    const fovea::PixelBox box{extent[0] / 2, extent[1] / 3, extent[0] / 3, extent[1] / 2};
    fovea::Tensor<std::uint16_t, 3> part({box.height, box.width, 3});
    const fovea::Tile<std::uint16_t> tile{box, part.view()};
    wide->decode(level, std::span(&tile, 1));
    CHECK(part(1, 2, 1) == words[static_cast<std::size_t>(((box.top + 1) * extent[1] + box.left + 2) * 3 + 1)]);
  }
  CHECK(wide->decoded().pixels > 0);
}

TEST_CASE("open_image: what cannot be opened says why") {
  const TemporaryFolder folder;
  const auto refused = [&](std::string_view text) {
    write(folder.path / "x.png", text);
    CAPTURE(text);
    CHECK_THROWS_AS((void)fovea::open_image(folder.path / "x.png"), fovea::Error);
    const auto bytes = contents(folder.path / "x.png");
    CHECK_THROWS_AS((void)fovea::open_image(bytes), fovea::Error);
  };
  refused("");
  refused("no picture");
  refused("\xFF\xD8\xFF\xE0");
  refused("II*\0\x08\0\0\0"sv);
  refused("MM\0+\0\x08\0\0"sv);
  refused("\x93NUMPY\x01\0"sv);
  refused("\x89PNG\r\n\x1A\n");
  CHECK_THROWS_WITH_AS((void)fovea::open_image(folder.path / "none"),
                       ((folder.path / "none").string() + ": a file expected").c_str(), fovea::Error);
  CHECK_THROWS_AS((void)fovea::open_image(folder.path), fovea::Error);
}

TEST_CASE("open_image: DeepZoom, and a MIRAX slide without its slide") {
  const TemporaryFolder folder;
  const auto p = picture();
  fovea::detail::vips::start();
  const fovea::detail::vips::Owned<VipsImage> image(
      vips_image_new_from_memory_copy(p.data(), static_cast<std::size_t>(p.size()), 170, 120, 3, VIPS_FORMAT_UCHAR));
  image->Type = VIPS_INTERPRETATION_sRGB;
  if (vips_dzsave(image.get(), (folder.path / "z").c_str(), "suffix", ".png", nullptr) == 0) {
    check_near(fovea::open_image(folder.path / "z.dzi"), 0);
  } else {
    MESSAGE("not tested: ", fovea::detail::vips::last_error());
  }
  // Beside a folder that describes a slide the JPEG is no picture by itself; without it, it is.
  save(folder.path / "m.mrxs", ".jpg[Q=95]");
  CHECK_NOTHROW((void)fovea::open_image(folder.path / "m.mrxs"));
  std::filesystem::create_directories(folder.path / "m");
  write(folder.path / "m" / "Slidedat.ini", "[GENERAL]\n");
  CHECK_THROWS_AS((void)fovea::open_image(folder.path / "m.mrxs"), fovea::Error);
}
