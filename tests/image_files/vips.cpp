// SPDX-License-Identifier: MIT
// needs: vips
// Pictures through libvips: written by libvips in the test, read back whole and in parts, and what is broken is refused.
#include "support/temporary_folder.hpp"
#include <fovea/core/random.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/vips.hpp>

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

using fovea::Extents;
using fovea::Index;
using fovea::PixelBox;
using fovea::Tile;
using fovea::View;
using fovea::VipsDecoder;

using fovea_test::TemporaryFolder;

namespace {

template <class P>
using Picture = fovea::Tensor<P, 3>;
using Bytes = std::vector<std::byte>;
using Image = fovea::detail::vips::Owned<VipsImage>;

/// Smooth, so that a wrong place shows, with a little noise; the last channel of 2 and 4 is alpha, anything but constant.
template <class P>
Picture<P> picture(Index height, Index width, Index channels, double noise = 0.03) {
  Picture<P> image({height, width, channels});
  fovea::Stream stream(11);
  for (Index i = 0; i < height; ++i) {
    for (Index j = 0; j < width; ++j) {
      for (Index c = 0; c < channels; ++c) {
        const double v = 0.45 + 0.25 * std::sin(0.05 * static_cast<double>(i) + static_cast<double>(c)) +
                         0.2 * std::cos(0.037 * static_cast<double>(j)) + noise * stream.uniform(0.0, 1.0);
        image(i, j, c) = static_cast<P>(v * std::numeric_limits<P>::max());
      }
    }
  }
  return image;
}

Image vips_image(const Picture<std::uint8_t>& p, VipsInterpretation space = VIPS_INTERPRETATION_ERROR) {
  fovea::detail::vips::start();
  Image image(vips_image_new_from_memory_copy(p.data(), static_cast<std::size_t>(p.size()), static_cast<int>(p.extent(1)),
                                              static_cast<int>(p.extent(0)), static_cast<int>(p.extent(2)), VIPS_FORMAT_UCHAR));
  REQUIRE(image != nullptr);
  image->Type =
      space != VIPS_INTERPRETATION_ERROR ? space : (p.extent(2) <= 2 ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB);
  return image;
}
Image vips_image(const Picture<std::uint16_t>& p) {
  fovea::detail::vips::start();
  Image image(vips_image_new_from_memory_copy(p.data(), static_cast<std::size_t>(p.size()) * 2, static_cast<int>(p.extent(1)),
                                              static_cast<int>(p.extent(0)), static_cast<int>(p.extent(2)),
                                              VIPS_FORMAT_USHORT));
  REQUIRE(image != nullptr);
  image->Type = p.extent(2) <= 2 ? VIPS_INTERPRETATION_GREY16 : VIPS_INTERPRETATION_RGB16;
  return image;
}

/// A file of HEVC, written once and kept: its encoder leaks, which sanitizers tell.
std::optional<Bytes> heic() {
  std::ifstream file(FOVEA_TESTS_SOURCE_DIR "/golden/fuzz/vips/small.heic", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto* from = reinterpret_cast<const std::byte*>(text.data());
  Bytes bytes(from, from + text.size());
  REQUIRE(!bytes.empty());
  try {
    (void)VipsDecoder<std::uint8_t>(bytes);
  } catch (const fovea::Error& error) {
    MESSAGE("not tested, libvips cannot read .heic: ", error.what());
    return std::nullopt;
  }
  return bytes;
}

/// The file that libvips makes; nothing, with a message, where it has no such writer.
std::optional<Bytes> saved(VipsImage* image, const std::string& how) {
  if (how == ".heic") return heic();
  void* data = nullptr;
  std::size_t size = 0;
  if (vips_image_write_to_buffer(image, how.c_str(), &data, &size, nullptr) != 0) {
    MESSAGE("not tested, libvips cannot write ", how, ": ", fovea::detail::vips::last_error());
    return std::nullopt;
  }
  const auto* from = static_cast<const std::byte*>(data);
  Bytes bytes(from, from + size);
  g_free(data);
  return bytes;
}
template <class P>
std::optional<Bytes> saved(const Picture<P>& p, const std::string& how) {
  return saved(vips_image(p).get(), how);
}
Bytes bytes_of(std::string_view text) {
  const auto* from = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(from, from + text.size());
}

/// A level as its scan gives it.
template <class P>
Picture<P> scanned(fovea::ImageDecoder<P>& decoder, int level = 0) {
  const Extents<2> extent = decoder.info().levels[static_cast<std::size_t>(level)].extent;
  Picture<P> image({extent[0], extent[1], decoder.info().channels});
  Index next = 0;
  decoder.scan(level, [&](Index row, const P* pixels) {
    REQUIRE(row == next++);
    std::copy_n(pixels, extent[1] * image.extent(2), image.data() + row * extent[1] * image.extent(2));
  });
  CHECK(next == extent[0]);
  return image;
}

template <class A, class B>
double mean_difference(const A& a, const B& b) {
  REQUIRE(a.extents() == b.extents());
  double sum = 0;
  for (Index i = 0; i < a.extent(0); ++i) {
    for (Index j = 0; j < a.extent(1); ++j) {
      for (Index c = 0; c < a.extent(2); ++c)
        sum += std::abs(static_cast<double>(a(i, j, c)) - static_cast<double>(b(i, j, c)));
    }
  }
  return sum / static_cast<double>(fovea::product(a.extents()));
}
template <class A, class B>
void check_equal(const A& a, const B& b) {
  CHECK(mean_difference(a, b) == 0);
}

/// The average of area of a picture, in its own units.
fovea::Tensor<float, 3> averaged(const Picture<std::uint8_t>& p, const Extents<3>& extents) {
  fovea::Tensor<float, 3> out(extents);
  fovea::resize_area(p.view(), out.view());
  for (float& v : out) v *= 255;
  return out;
}

/// Boxes of all kinds, decoded together and alone, have the pixels of the scan.
template <class P>
void check_boxes(fovea::ImageDecoder<P>& decoder, int level = 0) {
  const Picture<P> whole = scanned(decoder, level);
  const Index height = whole.extent(0);
  const Index width = whole.extent(1);
  const Index channels = whole.extent(2);
  std::vector<PixelBox> boxes = {{0, 0, 1, 1},
                                 {0, width / 2, height, 1},
                                 {height / 3, 0, height / 3 + 1, width / 3 + 1},
                                 {height / 2, width / 2 + 1, 1, width - width / 2 - 1},
                                 {height - 1, width - 1, 1, 1}};
  std::erase_if(boxes, [](const PixelBox& box) { return box.empty(); });
  std::vector<Picture<P>> pixels;
  std::vector<Tile<P>> tiles;
  for (const PixelBox& box : boxes) pixels.emplace_back(Extents<3>{box.height, box.width, channels});
  for (std::size_t i = 0; i < boxes.size(); ++i) tiles.push_back({boxes[i], pixels[i].view()});
  const auto check = [&] {
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      const PixelBox& b = boxes[i];
      const View<const P, 3> there(whole.data() + (b.top * width + b.left) * channels, {b.height, b.width, channels},
                                   {width * channels, channels, 1});
      check_equal(pixels[i].view(), there);
      std::fill_n(pixels[i].data(), pixels[i].size(), P{});
    }
  };
  decoder.decode(level, tiles);
  check();
  for (const Tile<P>& tile : tiles) decoder.decode(level, std::span(&tile, 1));
  check();
}

template <class P, class Q>
void check_lossless(const Picture<Q>& p, const std::string& how, bool sequential, std::string_view format) {
  CAPTURE(how);
  const auto bytes = saved(p, how);
  if (!bytes) return;
  VipsDecoder<P> decoder(*bytes, p.extent(2) % 2 == 1 ? 0 : 4);
  CHECK(decoder.format() == format);
  CHECK(decoder.info().sequential == sequential);
  REQUIRE(decoder.info().levels[0].extent == Extents<2>{p.extent(0), p.extent(1)});
  const Index channels = decoder.info().channels;
  Picture<P> expected({p.extent(0), p.extent(1), channels});
  fovea::convert_pixels(p.data(), p.extent(2), expected.data(), channels, p.extent(0) * p.extent(1));
  check_equal(scanned(decoder), expected);
  check_boxes(decoder);
  CHECK(decoder.decoded().bytes > 0);
}

/// Every cut of the file is an Error, when it is opened or when it is read; or else all pixels are there (some formats end in
/// what nobody needs).
void check_truncated(const Bytes& bytes, const std::string& how) {
  const auto whole = [&] {
    VipsDecoder<std::uint8_t> decoder(bytes);
    return scanned(decoder);
  }();
  int refused = 0;
  const std::size_t cuts = 24;
  for (std::size_t k = 0; k < cuts; ++k) {
    const std::size_t size = k < 4 ? bytes.size() - 1 - 3 * k : (bytes.size() * (k - 4)) / (cuts - 4);
    const Bytes part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));  // a buffer of its own, for sanitizers
    CAPTURE(how);
    CAPTURE(size);
    try {
      VipsDecoder<std::uint8_t> decoder(part);
      check_equal(scanned(decoder), whole);
    } catch (const fovea::Error& error) {
      CHECK(std::string_view(error.what()).size() > 20);
      ++refused;
    }
  }
  CHECK(refused >= 18);
}

const std::vector<std::string> kinds = {".png",  ".png[interlace]", ".webp[lossless]", ".webp[Q=80]", ".gif", ".avif[effort=0]",
                                        ".heic", ".jxl[effort=3]",  ".jp2[lossless]",  ".ppm",        ".hdr"};

}  // namespace

TEST_CASE("vips: lossless formats hand out what was put in") {
  const auto rgb = picture<std::uint8_t>(67, 131, 3);
  const auto grey = picture<std::uint8_t>(67, 131, 1);
  SUBCASE("PNG") {
    for (const Index channels : {1, 2, 3, 4}) {
      const auto p = picture<std::uint8_t>(67, 131, channels);
      check_lossless<std::uint8_t>(p, ".png", true, "Png");
      check_lossless<std::uint8_t>(p, ".png[interlace]", true, "Png");
      check_lossless<std::uint16_t>(p, ".png", true, "Png");
    }
    check_lossless<std::uint8_t>(picture<std::uint8_t>(1, 1, 3), ".png", true, "Png");
    check_lossless<std::uint8_t>(picture<std::uint8_t>(300, 1, 3), ".png", true, "Png");
    check_lossless<std::uint8_t>(picture<std::uint8_t>(1, 300, 1), ".png", true, "Png");
  }
  SUBCASE("PNG of 16 bits") {
    for (const Index channels : {1, 2, 3, 4}) {
      const auto p = picture<std::uint16_t>(67, 131, channels);
      check_lossless<std::uint16_t>(p, ".png", true, "Png");
      check_lossless<std::uint16_t>(p, ".png[interlace]", true, "Png");
      check_lossless<std::uint8_t>(p, ".png", true, "Png");
    }
  }
  SUBCASE("WebP") {
    check_lossless<std::uint8_t>(rgb, ".webp[lossless]", true, "Webp");
    check_lossless<std::uint16_t>(rgb, ".webp[lossless]", true, "Webp");
  }
  SUBCASE("JPEG XL") { check_lossless<std::uint8_t>(rgb, ".jxl[lossless,effort=3]", true, "Jxl"); }
  SUBCASE("JPEG 2000") {
    check_lossless<std::uint8_t>(rgb, ".jp2[lossless]", false, "Jp2k");
    check_lossless<std::uint8_t>(grey, ".jp2[lossless,tile-width=32,tile-height=32]", false, "Jp2k");
    check_lossless<std::uint16_t>(picture<std::uint16_t>(67, 131, 3), ".jp2[lossless]", false, "Jp2k");
  }
}

TEST_CASE("vips: PNG with a palette, and of few bits") {
  Picture<std::uint8_t> flags({40, 50, 3});
  for (Index i = 0; i < 40; ++i) {
    for (Index j = 0; j < 50; ++j) {
      flags(i, j, 0) = i < 20 ? 255 : 0;
      flags(i, j, 1) = j < 25 ? 255 : 0;
      flags(i, j, 2) = 0;
    }
  }
  if (const auto bytes = saved(flags, ".png[palette]")) {
    VipsDecoder<std::uint8_t> decoder(*bytes);
    CHECK(decoder.info().channels == 3);
    CHECK(mean_difference(scanned(decoder), flags) < 2);  // the writer chooses the colours
    check_boxes(decoder);
  }
  for (const int bits : {1, 2, 4}) {
    CAPTURE(bits);
    Picture<std::uint8_t> grey({21, 33, 1});
    const int most = (1 << bits) - 1;
    for (Index i = 0; i < grey.size(); ++i) grey.data()[i] = static_cast<std::uint8_t>((i * 7 % (most + 1)) * 255 / most);
    if (const auto bytes = saved(grey, ".png[bitdepth=" + std::to_string(bits) + "]")) {
      VipsDecoder<std::uint8_t> decoder(*bytes);
      const auto read = scanned(decoder);
      CHECK(decoder.info().channels == 1);
      CHECK(mean_difference(read, grey) == 0);
    }
  }
}

TEST_CASE("vips: every conversion is that of image/color.hpp") {
  for (const Index stored : {1, 2, 3, 4}) {
    const auto p = picture<std::uint8_t>(20, 31, stored);
    const auto bytes = saved(p, ".png");
    REQUIRE(bytes);
    for (const Index wanted : {0, 1, 3, 4}) {
      CAPTURE(stored);
      CAPTURE(wanted);
      VipsDecoder<std::uint8_t> decoder(*bytes, wanted);
      const Index channels = wanted != 0 ? wanted : (stored <= 2 ? Index{1} : Index{3});
      REQUIRE(decoder.info().channels == channels);
      Picture<std::uint8_t> expected({20, 31, channels});
      fovea::convert_pixels(p.data(), stored, expected.data(), channels, Index{20} * 31);
      check_equal(scanned(decoder), expected);
    }
    CHECK_THROWS_AS(VipsDecoder<std::uint8_t>(*bytes, 2), fovea::Error);
  }
}

TEST_CASE("vips: WebP") {
  const auto p = picture<std::uint8_t>(301, 413, 3);
  for (const std::string how : {".webp[lossless]", ".webp[Q=90]"}) {
    CAPTURE(how);
    const auto bytes = saved(p, how);
    if (!bytes) return;
    VipsDecoder<std::uint8_t> decoder(*bytes);
    const auto whole = scanned(decoder);
    CHECK(mean_difference(whole, p) <= (how == ".webp[lossless]" ? 0 : 5));
    SUBCASE("its level is an average") {
      REQUIRE(decoder.info().levels.size() == 2);
      const auto& stored = decoder.info().levels[1];
      CHECK(stored.ratio[0] * static_cast<double>(stored.extent[0]) == doctest::Approx(301));
      CHECK(stored.ratio[1] * static_cast<double>(stored.extent[1]) == doctest::Approx(413));
      const auto level = scanned(decoder, 1);
      CHECK(stored.extent == Extents<2>{level.extent(0), level.extent(1)});
      CHECK(mean_difference(level, averaged(whole, level.extents())) < 1.5);
      check_boxes(decoder, 1);
    }
    SUBCASE("as an image file") {
      const auto file = fovea::open_vips(*bytes, {.overview_pixels = 10000});
      CHECK(file.extent() == Extents<2>{301, 413});
      const auto part = fovea::read_exactly(file, 0, {100, 200, 50, 60});
      for (Index i = 0; i < 50; ++i) CHECK(part(i, 7, 1) == whole(100 + i, 207, 1));
      (void)file.read(file.levels() - 1, {0, 0, 1, 1});
      CHECK(file.memory() < 301 * 413 * 3);
    }
  }
  if (const auto bytes = saved(picture<std::uint8_t>(64, 64, 4), ".webp[lossless]")) {
    CHECK(VipsDecoder<std::uint8_t>(*bytes).info().channels == 3);
    VipsDecoder<std::uint8_t> decoder(*bytes, 4);
    CHECK(scanned(decoder)(9, 8, 3) == picture<std::uint8_t>(64, 64, 4)(9, 8, 3));
  }
}

TEST_CASE("vips: GIF, of which the first frame is seen") {
  Picture<std::uint8_t> p({30, 40, 3});
  for (Index i = 0; i < 30; ++i) {
    for (Index j = 0; j < 40; ++j) {
      for (Index c = 0; c < 3; ++c) p(i, j, c) = (i / 10 + j / 10 + c) % 2 == 0 ? 255 : 0;
    }
  }
  if (const auto bytes = saved(p, ".gif")) {
    VipsDecoder<std::uint8_t> decoder(*bytes);
    CHECK(decoder.info().sequential);
    CHECK(mean_difference(scanned(decoder), p) < 2);
    check_boxes(decoder);
  }
  const Image frames = vips_image(p);
  vips_image_set_int(frames.get(), VIPS_META_PAGE_HEIGHT, 10);
  if (const auto bytes = saved(frames.get(), ".gif")) {
    VipsDecoder<std::uint8_t> decoder(*bytes);
    CHECK(decoder.info().levels[0].extent == Extents<2>{10, 40});
  }
}

TEST_CASE("vips: PNM of any range") {
  using namespace std::string_view_literals;
  const auto value = [](std::string_view file, Index x) {
    const Bytes bytes = bytes_of(file);
    VipsDecoder<std::uint16_t> decoder(bytes);
    return static_cast<int>(scanned(decoder)(0, x, 0));
  };
  CHECK(value("P5\n2 1\n255\n\xFF\x80"sv, 0) == 65535);
  CHECK(value("P5\n2 1\n255\n\xFF\x80"sv, 1) == 0x8080);
  CHECK(value("P5\n2 1\n100\n\x64\x32"sv, 0) == 65535);
  CHECK(value("P5\n2 1\n100\n\x64\x32"sv, 1) == 128 * 257);
  CHECK(value("P5\n2 1\n65535\n\xFF\xFF\x12\x34"sv, 1) == 0x1234);
  CHECK(value("P5\n2 1\n1000\n\x03\xE8\x01\xF4"sv, 0) == 65535);
  CHECK(value("P5\n2 1\n1000\n\x03\xE8\x01\xF4"sv, 1) == 32768);
  CHECK(value("P5\n2 1\n1000\n\xFF\xFF\x01\xF4"sv, 0) == 65535);  // more than the most there can be
  // Text and bits may end early, and libvips does not say so.
  for (const std::string_view file :
       {"P1\n2 1\n1 0\n"sv, "P2\n2 1\n10\n10 5\n"sv, "P3\n1 1\n10\n10 5 3\n"sv, "P4\n2 1\n\x80"sv}) {
    CHECK_THROWS_AS((void)value(file, 0), fovea::Error);
  }
  CHECK_THROWS_AS((void)value("P5\n200 2\n255\n\x80"sv, 0), fovea::Error);
  for (const Index channels : {1, 3}) {
    check_lossless<std::uint8_t>(picture<std::uint8_t>(67, 131, channels), channels == 1 ? ".pgm" : ".ppm", false, "Ppm");
    check_lossless<std::uint16_t>(picture<std::uint16_t>(67, 131, channels), channels == 1 ? ".pgm" : ".ppm", false, "Ppm");
  }
}

TEST_CASE("vips: HEIF, AVIF and JPEG XL are near, and upright") {
  const auto p = picture<std::uint8_t>(96, 160, 3, 0.0);
  for (const std::string how : {".avif[Q=90,effort=0]", ".heic", ".jxl[Q=90,effort=3]"}) {
    CAPTURE(how);
    if (const auto bytes = saved(p, how)) {
      VipsDecoder<std::uint8_t> decoder(*bytes);
      CHECK(decoder.info().sequential);
      CHECK(decoder.info().orientation == fovea::Orientation::upright);
      CHECK(mean_difference(scanned(decoder), p) < 4);
      check_boxes(decoder);
    }
  }
}

TEST_CASE("vips: orientation is the file's word") {
  const auto p = picture<std::uint8_t>(40, 60, 3);
  const Image image = vips_image(p);
  vips_image_set_int(image.get(), VIPS_META_ORIENTATION, 6);
  if (const auto bytes = saved(image.get(), ".webp[lossless]")) {
    VipsDecoder<std::uint8_t> decoder(*bytes);
    CHECK(decoder.info().orientation == fovea::Orientation::rotated_90);
    CHECK(decoder.info().levels[0].extent == Extents<2>{40, 60});
    check_equal(scanned(decoder), p);  // as stored
    const auto file = fovea::open_vips(*bytes);
    CHECK(file.extent() == Extents<2>{60, 40});
    CHECK(fovea::read_exactly(file, 0, {0, 0, 60, 40})(0, 39, 1) == p(0, 0, 1));  // the upper left corner is on the right
  }
}

TEST_CASE("vips: JPEG 2000 has its resolutions as levels") {
  const auto p = picture<std::uint8_t>(301, 413, 3, 0.0);
  const auto bytes = saved(p, ".jp2[lossless,tile-width=128,tile-height=128]");
  if (!bytes) return;
  VipsDecoder<std::uint8_t> decoder(*bytes);
  REQUIRE(decoder.info().levels.size() >= 3);
  fovea::Pyramid<std::uint8_t> pyramid(p.view());
  for (int k = 1; k < 3; ++k) {
    const auto& stored = decoder.info().levels[static_cast<std::size_t>(k)];
    CAPTURE(k);
    CHECK(stored.extent == pyramid.level_extent(k));
    CHECK(stored.ratio[0] == (1 << k));
    const auto level = scanned(decoder, k);
    CHECK(mean_difference(level, pyramid.level(k)) < 1);
    check_boxes(decoder, k);
  }
  CHECK(decoder.decoded().bytes > 0);
}

TEST_CASE("vips: FITS and Radiance") {
  const TemporaryFolder folder;
  SUBCASE("FITS of bytes and words") {
    const auto write = [&](VipsImage* image) -> std::optional<std::filesystem::path> {
      const auto path = folder.path / "x.fits";
      std::filesystem::remove(path);
      if (vips_image_write_to_file(image, path.c_str(), nullptr) == 0) return path;
      MESSAGE("not tested, libvips cannot write FITS: ", fovea::detail::vips::last_error());
      return std::nullopt;
    };
    const auto p = picture<std::uint8_t>(67, 131, 3);
    if (const auto path = write(vips_image(p).get())) {
      VipsDecoder<std::uint8_t> decoder(*path);
      CHECK(decoder.format() == "Fits");
      check_equal(scanned(decoder), p);
      check_boxes(decoder);
      for (const std::uintmax_t size : {std::filesystem::file_size(*path) - 1, std::uintmax_t{4000}}) {
        std::filesystem::resize_file(*path, size);
        CHECK_THROWS_AS(
            [&] {
              VipsDecoder<std::uint8_t> shorter(*path);
              (void)scanned(shorter);
            }(),
            fovea::Error);
      }
    }
    const auto deep = picture<std::uint16_t>(67, 131, 1);
    if (const auto path = write(vips_image(deep).get())) {
      VipsDecoder<std::uint16_t> decoder(*path);
      check_equal(scanned(decoder), deep);
    }
    VipsImage* real = nullptr;
    REQUIRE(vips_cast(vips_image(p).get(), &real, VIPS_FORMAT_FLOAT, nullptr) == 0);
    const Image owned(real);
    if (const auto path = write(real)) {
      CHECK_THROWS_AS(VipsDecoder<std::uint8_t>{*path}, fovea::Error);  // numbers, but of what?
    }
  }
  SUBCASE("Radiance is linear, and comes as sRGB") {
    VipsImage* linear = nullptr;
    const auto p = picture<std::uint8_t>(67, 131, 3);
    REQUIRE(vips_colourspace(vips_image(p).get(), &linear, VIPS_INTERPRETATION_scRGB, nullptr) == 0);
    const Image owned(linear);
    if (const auto bytes = saved(linear, ".hdr")) {
      VipsDecoder<std::uint8_t> decoder(*bytes);
      CHECK(decoder.format() == "Rad");
      CHECK(mean_difference(scanned(decoder), p) < 2);
      check_boxes(decoder);
      VipsDecoder<std::uint16_t> deep(*bytes);
      CHECK(mean_difference(scanned(deep), p) > 1000);  // the same in 16 bits
      CHECK(std::abs(scanned(deep)(20, 20, 0) / 257.0 - p(20, 20, 0)) < 4);
    }
  }
}

TEST_CASE("vips: a slide by OpenSlide, with its levels") {
  // Aperio's files are tiled TIFFs that say so.
  const auto p = picture<std::uint8_t>(700, 900, 3, 0.0);
  const Image image = vips_image(p);
  vips_image_set_string(image.get(), VIPS_META_IMAGEDESCRIPTION,
                        "Aperio Image Library v10.0.50\n900x700 [0,0 900x700]|AppMag = 20");
  const TemporaryFolder folder;
  const auto path = folder.path / "slide.tif";
  if (vips_image_write_to_file(image.get(), path.c_str(), "tile", TRUE, "tile-width", 128, "tile-height", 128, "pyramid", TRUE,
                               "compression", VIPS_FOREIGN_TIFF_COMPRESSION_JPEG, "Q", 95, nullptr) != 0) {
    MESSAGE("not tested: ", fovea::detail::vips::last_error());
    return;
  }
  std::unique_ptr<VipsDecoder<std::uint8_t>> decoder;
  try {
    decoder = std::make_unique<VipsDecoder<std::uint8_t>>(path);
  } catch (const fovea::Error& error) {
    MESSAGE("not tested, no OpenSlide: ", error.what());
    return;
  }
  REQUIRE(decoder->format() == "Openslide");
  CHECK_FALSE(decoder->info().sequential);
  CHECK(decoder->info().channels == 3);
  REQUIRE(decoder->info().levels.size() >= 3);
  CHECK(decoder->info().levels[0].tile == Extents<2>{128, 128});
  CHECK(mean_difference(scanned(*decoder), p) < 3);
  for (int k = 1; k < 3; ++k) {
    const auto level = scanned(*decoder, k);
    const auto average = averaged(p, level.extents());
    CHECK(mean_difference(level, average) < 3);
    check_boxes(*decoder, k);
  }
}

TEST_CASE("vips: DeepZoom") {
  const auto p = picture<std::uint8_t>(301, 413, 3);
  const TemporaryFolder folder;
  const std::string name = (folder.path / "deep").string();
  if (vips_dzsave(vips_image(p).get(), name.c_str(), "suffix", ".png", "tile-size", 62, "overlap", 1, nullptr) != 0) {
    MESSAGE("not tested: ", fovea::detail::vips::last_error());
    return;
  }
  const std::filesystem::path path = name + ".dzi";
  const auto text = [&](const std::string& what) {
    std::ofstream(path) << "<?xml version=\"1.0\"?><Image xmlns=\"http://schemas.microsoft.com/deepzoom/2008\" " << what
                        << "/></Image>";
  };
  SUBCASE("tiles and levels") {
    fovea::DeepZoomDecoder<std::uint8_t> decoder(path);
    CHECK_FALSE(decoder.info().sequential);
    CHECK(decoder.info().levels.size() == 10);
    check_equal(scanned(decoder), p);
    check_boxes(decoder);
    for (int k = 1; k < 4; ++k) {
      const auto level = scanned(decoder, k);
      check_boxes(decoder, k);
      fovea::Pyramid<std::uint8_t> pyramid(p.view());
      CHECK(mean_difference(level, pyramid.level(k)) < 1.5);
    }
    const auto file = fovea::open_vips(path, {.overview_pixels = 5000});
    const auto before = file.decoded();
    const auto part = fovea::read_exactly(file, 0, {70, 70, 30, 30});
    CHECK(part(3, 4, 2) == p(73, 74, 2));
    CHECK(file.decoded().pixels - before.pixels == 64 * 64);
    CHECK(file.decoded().bytes > before.bytes);
    fovea::DeepZoomDecoder<std::uint16_t> deep(path, 1);
    CHECK(deep.info().channels == 1);
    check_boxes(deep, 1);
  }
  SUBCASE("a tile is missing, or another") {
    fovea::DeepZoomDecoder<std::uint8_t> decoder(path);
    const auto tile = folder.path / "deep_files" / "9" / "1_1.png";
    REQUIRE(std::filesystem::exists(tile));
    std::filesystem::copy_file(folder.path / "deep_files" / "9" / "6_4.png", tile,
                               std::filesystem::copy_options::overwrite_existing);
    CHECK_THROWS_AS((void)scanned(decoder), fovea::Error);
    std::filesystem::remove(tile);
    CHECK_THROWS_AS((void)scanned(decoder), fovea::Error);
    CHECK_NOTHROW((void)scanned(decoder, 1));
  }
  SUBCASE("descriptions that are none") {
    const auto refused = [&](const std::string& what) {
      CAPTURE(what);
      text(what);
      CHECK_THROWS_AS(fovea::DeepZoomDecoder<std::uint8_t>{path}, fovea::Error);
    };
    const std::string size = "><Size Width=\"413\" Height=\"301\"";
    text("TileSize=\"62\" Overlap=\"1\" Format=\"png\"" + size);
    CHECK_NOTHROW(fovea::DeepZoomDecoder<std::uint8_t>{path});
    refused("TileSize=\"62\" Overlap=\"1\"" + size);
    refused("TileSize=\"62\" Overlap=\"1\" Format=\"../png\"" + size);
    refused("TileSize=\"0\" Overlap=\"1\" Format=\"png\"" + size);
    refused("TileSize=\"62x\" Overlap=\"1\" Format=\"png\"" + size);
    refused("TileSize=\"62\" Overlap=\"-1\" Format=\"png\"" + size);
    refused("TileSize=\"62\" Overlap=\"99\" Format=\"png\"" + size);
    refused("TileSize=\"62\" Overlap=\"1\" Format=\"png\"><Size Width=\"99999999999999999999\" Height=\"301\"");
    refused("TileSize=\"62\" Overlap=\"1\" Format=\"png\"><Size Width=\"413\" Height=\"0\"");
    refused("");
    text("TileSize=\"62\" Overlap=\"1\" Format=\"png\"><Size Width=\"414\" Height=\"302\"");
    fovea::DeepZoomDecoder<std::uint8_t> decoder(path);
    CHECK_THROWS_AS((void)scanned(decoder), fovea::Error);
  }
}

TEST_CASE("vips: a picture decoded from the top is decoded once for all boxes, and no further than they reach") {
  const auto p = picture<std::uint8_t>(1000, 600, 3);
  const auto bytes = saved(p, ".png");
  REQUIRE(bytes);
  const auto file = fovea::open_vips(*bytes, {.overview_pixels = 1000});
  const std::vector<fovea::LevelBox> boxes = {{0, {10, 20, 30, 40}}, {0, {200, 500, 50, 50}}, {0, {100, 0, 10, 10}}};
  file.prepare(boxes);
  const auto once = file.decoded();
  CHECK(once.pixels >= 250 * 600);
  CHECK(once.pixels <= 300 * 600);
  CHECK(once.bytes < static_cast<std::int64_t>(bytes->size()) / 2);
  CHECK(once.bytes > static_cast<std::int64_t>(bytes->size()) / 5);
  for (const auto& [level, box] : boxes) {
    const auto part = fovea::read_exactly(file, level, box);
    CHECK(part(5, 6, 1) == p(box.top + 5, box.left + 6, 1));
  }
  CHECK(file.decoded().pixels == once.pixels);
}

TEST_CASE("vips: truncated files are refused") {
  const auto p = picture<std::uint8_t>(90, 120, 3);
  for (const std::string& how : kinds) {
    Image image = vips_image(p);
    if (how == ".hdr") {
      VipsImage* linear = nullptr;
      REQUIRE(vips_colourspace(image.get(), &linear, VIPS_INTERPRETATION_scRGB, nullptr) == 0);
      image.reset(linear);
    }
    if (const auto bytes = saved(image.get(), how)) check_truncated(*bytes, how);
  }
}

TEST_CASE("vips: damaged files are an Error or a picture, and end no process") {
  const auto p = picture<std::uint8_t>(60, 80, 3);
  fovea::Stream stream(3);
  for (const std::string& how : kinds) {
    if (how == ".hdr") continue;
    auto bytes = saved(p, how);
    if (!bytes) continue;
    for (int k = 0; k < 40; ++k) {
      Bytes damaged = *bytes;
      for (int n = 0; n <= k % 5; ++n) {
        // Half of them in the headers.
        const auto reach = static_cast<std::uint32_t>(k % 2 == 0 ? std::min<std::size_t>(damaged.size(), 100) : damaged.size());
        damaged[stream.below(reach)] = static_cast<std::byte>(stream.below(256U));
      }
      try {
        const auto file = fovea::open_vips(damaged, {.overview_pixels = 1000});
        (void)file.read(file.levels() - 1, {0, 0, 1, 1});
        (void)file.read(0, {0, 0, 1, 1});
      } catch (const fovea::Error& error) {
        CHECK(std::string_view(error.what()).size() > 20);
      }
    }
  }
}

TEST_CASE("vips: what is no picture, or none of ours, or too large") {
  using namespace std::string_view_literals;
  const auto refused = [](std::string_view text) {
    const Bytes bytes = bytes_of(text);
    CAPTURE(text);
    CHECK_THROWS_AS(
        [&] {
          VipsDecoder<std::uint8_t> decoder(bytes);
          (void)scanned(decoder);
        }(),
        fovea::Error);
  };
  refused("");
  refused("x");
  refused("This is a text, and not a picture at all. It is long enough for every loader to look at its beginning.");
  refused("1,2,3\n4,5,6\n");  // csv
  refused("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"></svg>");
  refused("%PDF-1.4\n1 0 obj\n<<>>\nendobj\n");
  refused("BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\2\0\0\0\2\0\0\0\1\0\x18\0"sv);  // ImageMagick's
  refused("P6\n9999999 9999999\n255\n\0"sv);                                        // 300 TB
  const auto jpeg = saved(picture<std::uint8_t>(16, 16, 3), ".jpg");
  if (jpeg) CHECK_THROWS_AS(VipsDecoder<std::uint8_t>{*jpeg}, fovea::Error);
  CHECK_THROWS_AS(VipsDecoder<std::uint8_t>{std::filesystem::path("/no/such/file.png")}, fovea::Error);
  CHECK_THROWS_AS(VipsDecoder<std::uint8_t>{std::filesystem::temp_directory_path()}, fovea::Error);
  CHECK_THROWS_AS(VipsDecoder<std::uint8_t>{std::filesystem::path("")}, fovea::Error);

  // A PNG that says it is larger than it can be, in the 8 bytes behind "IHDR"; its checksum is put right.
  const auto sized = [](Bytes png, std::uint32_t width, std::uint32_t height, bool interlaced) {
    const std::array<std::uint32_t, 2> size{width, height};
    for (std::size_t k = 0; k < 8; ++k) png[16 + k] = static_cast<std::byte>(size[k / 4] >> (24 - 8 * (k % 4)) & 255U);
    png[28] = static_cast<std::byte>(interlaced ? 1 : 0);
    std::uint32_t crc = ~0U;
    for (std::size_t i = 12; i < 29; ++i) {
      crc ^= static_cast<std::uint32_t>(png[i]);
      for (int b = 0; b < 8; ++b) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) png[29 + k] = static_cast<std::byte>(~crc >> (24 - 8 * k) & 255U);
    return png;
  };
  const auto png = saved(picture<std::uint8_t>(16, 16, 3), ".png");
  REQUIRE(png);
  CHECK_NOTHROW(VipsDecoder<std::uint8_t>{sized(*png, 16, 16, false)});
  CHECK_THROWS_AS(VipsDecoder<std::uint8_t>{sized(*png, 9000000, 9000000, false)}, fovea::Error);  // one row is 27 MB
  CHECK_THROWS_AS(VipsDecoder<std::uint8_t>{sized(*png, 20000, 20000, true)}, fovea::Error);       // held as a whole
  const Bytes tall = sized(*png, 16, 900000, false);                                               // rows that are not there
  VipsDecoder<std::uint8_t> decoder(tall);
  CHECK_THROWS_AS((void)scanned(decoder), fovea::Error);
}

TEST_CASE("vips: a file that becomes another one while it is looked at") {
  const TemporaryFolder folder;
  const auto path = folder.write("[page=1].png", *saved(picture<std::uint8_t>(90, 120, 3), ".png"));  // a name, and no option
  VipsDecoder<std::uint8_t> decoder(path);
  CHECK_NOTHROW((void)scanned(decoder));
  (void)folder.write("[page=1].png", *saved(picture<std::uint8_t>(50, 120, 3), ".png"));
  CHECK_THROWS_AS((void)scanned(decoder), fovea::Error);
  std::filesystem::remove(path);
  CHECK_THROWS_AS((void)scanned(decoder), fovea::Error);
}

TEST_CASE("vips: what fuzzing began with and found") {
  const std::filesystem::path folder = FOVEA_TESTS_SOURCE_DIR "/golden/fuzz/vips";
  REQUIRE(std::filesystem::is_directory(folder));
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    CAPTURE(entry.path().string());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const Bytes bytes = bytes_of(text);
    try {
      VipsDecoder<std::uint8_t> decoder(bytes);
      (void)scanned(decoder);
    } catch (const fovea::Error& error) {
      CHECK(std::string_view(error.what()).size() > 20);
    }
  }
}
