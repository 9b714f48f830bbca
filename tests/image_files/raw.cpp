// SPDX-License-Identifier: MIT
// Raw files and .npy: what is in them, in place or through a cache; headers of all kinds, and damage.
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"
#include <fovea/image/pyramid.hpp>
#include <fovea/image/raw.hpp>
#include <fovea/image/source.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using fovea::Extents;
using fovea::Index;
using fovea::PixelBox;
using fovea::RawType;
using Bytes = std::vector<std::byte>;

using fovea_test::message_of;
using fovea_test::TemporaryFolder;

namespace {

void append(Bytes& to, std::string_view text) {
  std::transform(text.begin(), text.end(), std::back_inserter(to), [](char c) { return static_cast<std::byte>(c); });
}

/// A .npy file with this header, as NumPy lays it out, and `size` bytes of pixels 0, 1, 2, ...
Bytes npy(std::string header, std::size_t size, int version = 1) {
  const std::size_t begin = version == 1 ? 10 : 12;
  header.append((64 - (begin + header.size() + 1) % 64) % 64, ' ').push_back('\n');
  Bytes file;
  append(file, "\x93NUMPY");
  file.push_back(static_cast<std::byte>(version));
  file.push_back(std::byte{0});
  for (std::size_t i = 0; i < begin - 8; ++i) file.push_back(static_cast<std::byte>(header.size() >> (8 * i)));
  append(file, header);
  for (std::size_t i = 0; i < size; ++i) file.push_back(static_cast<std::byte>(i));
  return file;
}

std::string header(std::string_view type, std::string_view shape, std::string_view fortran = "False") {
  return "{'descr': '" + std::string(type) + "', 'fortran_order': " + std::string(fortran) +
         ", 'shape': " + std::string(shape) + ", }";
}

/// Element i of a file of T.
template <class T>
T element(Index i) {
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(std::sin(static_cast<double>(i)));
  return static_cast<T>(i * 2654435761 >> 7);
}

template <class T>
Bytes elements(Index count, std::size_t offset) {
  Bytes bytes(offset + static_cast<std::size_t>(count) * sizeof(T));
  for (Index i = 0; i < count; ++i) {
    const T v = element<T>(i);
    std::memcpy(bytes.data() + offset + static_cast<std::size_t>(i) * sizeof(T), &v, sizeof(T));
  }
  return bytes;
}

}  // namespace

TEST_CASE_TEMPLATE("map_raw: every box of every level is that of a pyramid of the pixels", T, std::uint8_t, std::uint16_t,
                   float) {
  const TemporaryFolder folder;
  for (const Extents<3> extent : {Extents<3>{150, 201, 3}, Extents<3>{70, 65, 1}, Extents<3>{9, 500, 5}, Extents<3>{1, 1, 2}}) {
    for (const std::size_t offset : {std::size_t{0}, std::size_t{13}}) {
      const Bytes bytes = elements<T>(fovea::product(extent), offset);
      const auto path = folder.write("a.raw", bytes);
      std::vector<T> pixels(static_cast<std::size_t>(fovea::product(extent)));
      std::memcpy(pixels.data(), bytes.data() + offset, pixels.size() * sizeof(T));
      const fovea::Pyramid<T> pyramid(fovea::ImageView<T>(pixels.data(), extent));
      fovea::ImageFileOptions options;
      options.overview_pixels = 300;
      const auto image = fovea::map_raw<T>(path, {extent, fovea::raw_type<T>, static_cast<Index>(offset)}, options);
      REQUIRE(image.extent() == Extents<2>{extent[0], extent[1]});
      REQUIRE(image.channels() == extent[2]);
      REQUIRE(image.levels() == pyramid.levels());
      for (int k = 0; k < image.levels(); ++k) {
        const auto [height, width] = image.level_extent(k);
        for (const PixelBox& box :
             {PixelBox{0, 0, height, width}, PixelBox{height / 3, width / 4, (height + 1) / 2, (width + 1) / 2}}) {
          const auto got = fovea::read_exactly(image, k, box);
          double worst = 0;
          for (Index i = 0; i < box.height; ++i) {
            for (Index j = 0; j < box.width; ++j) {
              for (Index c = 0; c < extent[2]; ++c) {
                worst = std::max(worst, std::abs(static_cast<double>(got(i, j, c)) -
                                                 static_cast<double>(pyramid.level(k)(box.top + i, box.left + j, c))));
              }
            }
          }
          CHECK(worst <= (std::is_floating_point_v<T> ? 1e-6 : 0));
        }
      }
      CHECK(image.decoded().bytes == image.decoded().pixels * extent[2] * static_cast<Index>(sizeof(T)));
      if (offset == 0) {
        const auto view = fovea::raw_view<T>(std::span(bytes), {extent, fovea::raw_type<T>, 0});
        CHECK(view.extents() == extent);
        CHECK(static_cast<const void*>(view.data()) == bytes.data());
      } else if (sizeof(T) > 1) {
        CHECK_THROWS_AS((void)fovea::raw_view<T>(std::span(bytes), {extent, fovea::raw_type<T>, 13}), fovea::Error);
      }
    }
  }
}

TEST_CASE("map_raw: a glimpse costs the pieces under it") {
  const Bytes bytes = elements<std::uint8_t>(Index{1000} * 1000 * 3, 0);
  const auto image = fovea::map_raw(std::span(bytes), {{1000, 1000, 3}}, {.overview_pixels = 1000});
  (void)fovea::read_exactly(image, 0, {130, 130, 60, 60});
  CHECK(image.decoded().pixels == 64 * 64);
  (void)fovea::read_exactly(image, 0, {140, 130, 50, 10});
  CHECK(image.decoded().pixels == 64 * 64);
  (void)fovea::read_exactly(image, 0, {190, 190, 64, 64});
  CHECK(image.decoded().pixels == 4 * 64 * 64);
  CHECK(image.decoded().bytes == 4 * 64 * 64 * 3);
}

TEST_CASE("map_raw: depths and channels are converted by the rule") {
  const Bytes deep = elements<std::uint16_t>(Index{8} * 9 * 4, 0);
  std::vector<std::uint16_t> words(8 * 9 * 4);
  std::memcpy(words.data(), deep.data(), deep.size());
  for (const Index channels : {Index{0}, Index{1}, Index{3}}) {
    fovea::ImageFileOptions options;
    options.channels = channels;
    const Index out = channels == 0 ? 4 : channels;
    std::vector<std::uint8_t> expected(static_cast<std::size_t>(8 * 9 * out));
    fovea::convert_pixels(words.data(), 4, expected.data(), out, 8 * 9);
    const auto image = fovea::map_raw<std::uint8_t>(std::span(deep), {{8, 9, 4}, RawType::u16, 0}, options);
    REQUIRE(image.channels() == out);
    const auto got = fovea::read_exactly(image, 0, {0, 0, 8, 9});
    CHECK(std::equal(expected.begin(), expected.end(), got.data()));
  }
  const Bytes shallow = elements<std::uint8_t>(30, 0);
  const auto image = fovea::map_raw<std::uint16_t>(std::span(shallow), {{5, 6, 1}});
  CHECK(fovea::read_exactly(image, 0, {2, 3, 1, 1})(0, 0, 0) == 257 * element<std::uint8_t>(15));
  fovea::ImageFileOptions grey;
  grey.channels = 1;
  CHECK_THROWS_AS((void)fovea::map_raw(std::span(shallow), {{5, 1, 6}}, grey), fovea::Error);
  CHECK_THROWS_AS((void)fovea::map_raw<float>(std::span(shallow), {{5, 6, 1}}), fovea::Error);
  CHECK_THROWS_AS((void)fovea::map_raw(std::span(deep), {{5, 6, 1}, RawType::f32, 0}), fovea::Error);
}

TEST_CASE("map_raw: files too short, no files, and layouts that are none") {
  const TemporaryFolder folder;
  const auto path = folder.write("a.raw", Bytes(100));
  CHECK_NOTHROW((void)fovea::map_raw(path, {{10, 10, 1}}));
  for (const fovea::RawLayout& layout :
       {fovea::RawLayout{{10, 10, 1}, RawType::u8, 1}, fovea::RawLayout{{10, 10, 1}, RawType::u16, 0},
        fovea::RawLayout{{101, 1, 1}}, fovea::RawLayout{{0, 1, 1}}, fovea::RawLayout{{1, -1, 1}}, fovea::RawLayout{{1, 1, 0}},
        fovea::RawLayout{{1, 1, 1}, RawType::u8, -1}, fovea::RawLayout{{1, 1, 1}, RawType::u8, Index{1} << 62},
        fovea::RawLayout{{Index{1} << 62, Index{1} << 62, Index{1} << 62}}, fovea::RawLayout{{1, Index{1} << 62, 4}}}) {
    CHECK_THROWS_AS((void)fovea::map_raw(path, layout), fovea::Error);
  }
  CHECK_THROWS_AS((void)fovea::map_raw(folder.path / "none", {{1, 1, 1}}), fovea::Error);
  CHECK_THROWS_AS((void)fovea::map_raw(folder.path, {{1, 1, 1}}), fovea::Error);
  CHECK_THROWS_AS((void)fovea::map_raw(folder.write("empty", Bytes{}), {{1, 1, 1}}), fovea::Error);
  fovea::MappedFile file(path);
  const void* at = file.bytes().data();
  const fovea::MappedFile moved(std::move(file));
  CHECK(moved.bytes().data() == at);
  CHECK(moved.bytes().size() == 100);
}

TEST_CASE("map_npy: arrays as NumPy writes them, versions 1 to 3") {
  const TemporaryFolder folder;
  for (const int version : {1, 2, 3}) {
    const Bytes file = npy(header("|u1", "(5, 7, 3)"), 105, version);
    const auto image = fovea::map_npy(folder.write("a.npy", file));
    CHECK(image.extent() == Extents<2>{5, 7});
    CHECK(image.channels() == 3);
    CHECK(fovea::read_exactly(image, 0, {2, 4, 1, 1})(0, 0, 1) == (2 * 7 + 4) * 3 + 1);
    const auto view = fovea::npy_view<std::uint8_t>(std::span(file));
    CHECK(view(4, 6, 2) == 104);
    CHECK(fovea::PyramidView<std::uint8_t>(view).levels() == 1);
  }
  const Bytes words = npy(header("<u2", "(4, 6)"), 48);
  CHECK(fovea::read_exactly(fovea::map_npy<std::uint16_t>(std::span(words)), 0, {1, 1, 1, 1})(0, 0, 0) == 14 + 256 * 15);
  CHECK(fovea::map_npy(std::span(words)).channels() == 1);
  Bytes floats = npy(header("<f4", "(2, 2, 1)"), 0);
  for (const float v : {0.25F, -3.0F, 1e20F, 0.0F}) {
    const auto at = floats.size();
    floats.resize(at + 4);
    std::memcpy(floats.data() + at, &v, 4);
  }
  CHECK(fovea::read_exactly(fovea::map_npy<float>(std::span(floats)), 0, {0, 1, 1, 1})(0, 0, 0) == -3.0F);
  // Other spellings of the same: keys in any order, no comma at the end, double quotes, Python 2's long numbers.
  const Bytes other = npy(R"({"shape":(5L,7L),"descr":"|u1","fortran_order":False})", 35);
  CHECK(fovea::map_npy(std::span(other)).extent() == Extents<2>{5, 7});
}

TEST_CASE("map_npy: what is no picture is refused with a sentence") {
  const auto says = [](const Bytes& file, const char* what) {
    const std::string message = message_of([&] { (void)fovea::map_npy(std::span(file)); });
    CHECK_MESSAGE(message.find(what) != std::string::npos, message);
  };
  says(npy(header("|u1", "(5, 7)", "True"), 35), "Fortran");
  for (const char* type : {"<f8", ">u2", "|b1", "<i2", "|i1", ">f4", "<U7", ""})
    says(npy(header(type, "(5, 7)"), 1000), "npy: ");
  says(npy(header("<f4", "(5, 7)"), 1000), "floating point");  // asked for as bytes
  says(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (5, 7)}", 300), "records");
  says(npy(header("|u1", "(35,)"), 35), "1 axes");
  says(npy(header("|u1", "()"), 35), "0 axes");
  says(npy(header("|u1", "(1, 5, 7, 1)"), 35), "more than 3 axes");
  says(npy(header("|u1", "(5, 0)"), 35), "1x1x1");
  says(npy(header("|u1", "(5, 7)"), 34), "the file has");
  says(npy(header("|u1", "(4294967296, 4294967296)"), 34), "the file has");
  says(npy(header("|u1", "(99999999999999999999999, 2)"), 34), "fits");
  says(npy(header("|u1", "(-5, -7)"), 35), "number");
  says(npy("{'descr': '|u1', 'fortran_order': False}", 35), "shape");
  says(npy("{'descr': '|u1', 'descr': '|u1', 'descr': '|u1'}", 35), "axes");
  says(npy("{'descr': '|u1', 'fortran_order': 0, 'shape': (5, 7)}", 35), "True or False");
  says(npy("{'descr': '|u1, 'fortran_order': False, 'shape': (5, 7)}", 35), "npy: ");
  says(npy("{'descr': '|u1", 35), "quote");
  says(npy("", 35), "'{'");
  says(npy(header("|u1", "(5, 7)"), 35, 4), "version");
  const Bytes file = npy(header("|u1", "(5, 7)"), 35);
  for (std::size_t size = 0; size < file.size(); ++size) {
    says(Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)), size < file.size() - 35 ? "npy: " : "raw: ");
  }
}

TEST_CASE("map_npy: what fuzzing found stays found") {
  const std::filesystem::path folder = FOVEA_TESTS_SOURCE_DIR "/golden/fuzz/npy";
  if (!std::filesystem::is_directory(folder)) return;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    Bytes file;
    std::transform(std::istreambuf_iterator<char>(in), {}, std::back_inserter(file),
                   [](char c) { return static_cast<std::byte>(c); });
    CAPTURE(entry.path().string());
    (void)message_of([&] { (void)fovea::map_npy(std::span(file)).read(0, {0, 0, 1, 1}); });
  }
}
