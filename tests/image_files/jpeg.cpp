// SPDX-License-Identifier: MIT
// needs: jpeg
// JpegDecoder against full decodes by libjpeg: every piece of every kind of file is bit-equal to the same pixels of the whole.
#include "support/temporary_folder.hpp"
#include <fovea/core/random.hpp>
#include <fovea/image/jpeg.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <vector>

using fovea::Extents;
using fovea::Index;
using fovea::JpegDecoder;
using fovea::Orientation;
using fovea::PixelBox;
using fovea::View;
using Bytes = std::vector<std::uint8_t>;
using Tile = fovea::Tile<std::uint8_t>;

using fovea_test::TemporaryFolder;

namespace {

struct Kind {
  std::string name;
  int height = 0, width = 0;
  int parts = 3;
  J_COLOR_SPACE given = JCS_RGB;
  J_COLOR_SPACE stored = JCS_YCbCr;
  std::array<std::array<int, 2>, 4> sampling{{{1, 1}, {1, 1}, {1, 1}, {1, 1}}};  ///< {across, down}
  int restart = 0;                                                               ///< MCUs
  bool progressive = false;
  bool arithmetic = false;
  bool interleaved = true;
  bool adobe = true;
  int quality = 90;
};

std::span<const std::byte> view(const Bytes& file) { return std::as_bytes(std::span(file)); }

/// Smooth, with edges in colour and some noise: neighbours differ in chroma, so that wrong upsampling shows.
Bytes picture(int height, int width, int channels) {
  Bytes image(static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * static_cast<std::size_t>(channels));
  fovea::Stream stream(11);
  std::size_t at = 0;
  for (int i = 0; i < height; ++i) {
    for (int j = 0; j < width; ++j) {
      for (int c = 0; c < channels; ++c) {
        const double v = 120 + 60 * std::sin(0.05 * i + 2 * c) + 40 * std::cos(0.11 * j * (1 + c)) +
                         (((i / 7 + j / 5) % 3 == c) ? 30 : 0) + 10 * stream.uniform(0.0, 1.0);
        image[at++] = static_cast<std::uint8_t>(std::clamp(v, 0.0, 255.0));
      }
    }
  }
  return image;
}

[[noreturn]] void stop(j_common_ptr c) {
  (*c->err->output_message)(c);
  std::abort();  // the test's own files are right
}

Bytes encode(const Kind& kind, const Bytes& image) {
  jpeg_compress_struct c{};
  jpeg_error_mgr errors{};
  c.err = jpeg_std_error(&errors);
  errors.error_exit = stop;
  jpeg_create_compress(&c);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&c, &memory, &size);
  c.image_width = static_cast<JDIMENSION>(kind.width);
  c.image_height = static_cast<JDIMENSION>(kind.height);
  c.input_components = kind.parts;
  c.in_color_space = kind.given;
  jpeg_set_defaults(&c);
  jpeg_set_colorspace(&c, kind.stored);
  jpeg_set_quality(&c, kind.quality, TRUE);
  for (int i = 0; i < kind.parts; ++i) {
    c.comp_info[i].h_samp_factor = kind.sampling[static_cast<std::size_t>(i)][0];
    c.comp_info[i].v_samp_factor = kind.sampling[static_cast<std::size_t>(i)][1];
  }
  c.restart_interval = static_cast<unsigned>(kind.restart);
  c.arith_code = kind.arithmetic ? TRUE : FALSE;
  std::array<jpeg_scan_info, 4> scans{};
  if (kind.progressive) jpeg_simple_progression(&c);
  if (!kind.interleaved) {
    for (int i = 0; i < kind.parts; ++i) {
      scans[static_cast<std::size_t>(i)] = {1, {i, 0, 0, 0}, 0, 63, 0, 0};
    }
    c.scan_info = scans.data();
    c.num_scans = kind.parts;
  }
  if (!kind.adobe) c.write_Adobe_marker = FALSE;
  jpeg_start_compress(&c, TRUE);
  const std::size_t row = static_cast<std::size_t>(kind.width) * static_cast<std::size_t>(kind.parts);
  while (c.next_scanline < c.image_height) {
    auto* p = const_cast<JSAMPLE*>(image.data() + c.next_scanline * row);
    jpeg_write_scanlines(&c, &p, 1);
  }
  jpeg_finish_compress(&c);
  jpeg_destroy_compress(&c);
  Bytes file(memory, memory + size);
  std::free(memory);
  return file;
}
Bytes encode(const Kind& kind) { return encode(kind, picture(kind.height, kind.width, kind.parts)); }

struct Whole {
  Index height = 0, width = 0, channels = 0;
  Bytes pixels;
};

/// By libjpeg alone, from the first row to the last.
Whole full_decode(const Bytes& file, J_COLOR_SPACE space, int denominator) {
  jpeg_decompress_struct c{};
  jpeg_error_mgr errors{};
  c.err = jpeg_std_error(&errors);
  errors.error_exit = stop;
  jpeg_create_decompress(&c);
  jpeg_mem_src(&c, file.data(), static_cast<unsigned long>(file.size()));
  jpeg_read_header(&c, TRUE);
  c.out_color_space = space;
  c.scale_num = 1;
  c.scale_denom = static_cast<unsigned>(denominator);
  jpeg_start_decompress(&c);
  Whole whole{static_cast<Index>(c.output_height), static_cast<Index>(c.output_width), c.output_components, {}};
  whole.pixels.resize(static_cast<std::size_t>(whole.height * whole.width * whole.channels));
  while (c.output_scanline < c.output_height) {
    JSAMPLE* p = whole.pixels.data() + static_cast<Index>(c.output_scanline) * whole.width * whole.channels;
    jpeg_read_scanlines(&c, &p, 1);
  }
  jpeg_finish_decompress(&c);
  jpeg_destroy_decompress(&c);
  return whole;
}

/// Decodes the boxes in one call; the number of them that differ from `whole`.
int differing(JpegDecoder& decoder, int level, const std::vector<PixelBox>& boxes, const Whole& whole) {
  std::vector<Bytes> memory;
  std::vector<Tile> tiles;
  for (const PixelBox& box : boxes) {
    memory.emplace_back(static_cast<std::size_t>(box.height * box.width * whole.channels), std::uint8_t{77});
  }
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    tiles.push_back({boxes[i], View<std::uint8_t, 3>(memory[i].data(), {boxes[i].height, boxes[i].width, whole.channels})});
  }
  decoder.decode(level, tiles);
  int wrong = 0;
  for (std::size_t k = 0; k < boxes.size(); ++k) {
    bool same = true;
    for (Index i = 0; i < boxes[k].height; ++i) {
      const auto from = whole.pixels.begin() + ((boxes[k].top + i) * whole.width + boxes[k].left) * whole.channels;
      same = same &&
             std::equal(from, from + boxes[k].width * whole.channels, memory[k].begin() + i * boxes[k].width * whole.channels);
    }
    if (!same) ++wrong;
  }
  return wrong;
}

PixelBox clip(Index top, Index left, Index height, Index width, const Whole& w) {
  return fovea::intersection({top, left, height, width}, {0, 0, w.height, w.width});
}

/// Boxes at all edges and corners, in the middle, on and beside the borders of MCUs, and anywhere.
std::vector<PixelBox> boxes_of(const Whole& w, int random) {
  std::vector<PixelBox> boxes;
  for (const Index side : {Index{1}, Index{5}, Index{17}, Index{40}}) {
    for (const Index top : {Index{0}, w.height / 2, w.height - side, Index{15}, Index{16}, Index{17}, Index{31}, Index{33}}) {
      for (const Index left : {Index{0}, w.width / 2, w.width - side, Index{16}, Index{31}}) {
        const PixelBox box = clip(std::max(Index{0}, top), std::max(Index{0}, left), side, side, w);
        if (!box.empty()) boxes.push_back(box);
      }
    }
  }
  fovea::Stream stream(5);
  for (int k = 0; k < random; ++k) {
    const auto at = [&](Index n) { return static_cast<Index>(stream.uniform(0.0, 0.9999) * static_cast<double>(n)); };
    const Index top = at(w.height);
    const Index left = at(w.width);
    boxes.push_back(clip(top, left, 1 + at(w.height - top), 1 + at(w.width - left), w));
  }
  boxes.push_back({0, 0, w.height, w.width});
  return boxes;
}

/// Boxes one below the other, of any height and with any gaps.
std::vector<PixelBox> ladder_of(const Whole& w, std::uint64_t seed) {
  fovea::Stream stream(seed);
  const auto at = [&](Index n) { return static_cast<Index>(stream.uniform(0.0, 0.9999) * static_cast<double>(n)); };
  std::vector<PixelBox> boxes;
  for (Index top = at(5); top < w.height; top += at(stream.uniform(0.0, 1.0) < 0.2 ? 60 : 5)) {
    const Index left = at(w.width);
    boxes.push_back(clip(top, left, 1 + at(stream.uniform(0.0, 1.0) < 0.2 ? 40 : 3), 1 + at(w.width - left), w));
    top += boxes.back().height;
  }
  return boxes;
}

/// Some tiles of a level's grid, sorted: `share` of them.
std::vector<PixelBox> grid_of(const fovea::StoredLevel& level, const Whole& w, double share, std::uint64_t seed) {
  fovea::Stream stream(seed);
  std::vector<PixelBox> boxes;
  for (Index top = 0; top < w.height; top += level.tile[0]) {
    for (Index left = 0; left < w.width; left += level.tile[1]) {
      if (stream.uniform(0.0, 1.0) < share) boxes.push_back(clip(top, left, level.tile[0], level.tile[1], w));
    }
  }
  return boxes;
}

std::vector<Kind> kinds() {
  using Sampling = std::array<std::array<int, 2>, 4>;
  const Sampling s444{{{1, 1}, {1, 1}, {1, 1}, {1, 1}}};
  const Sampling s420{{{2, 2}, {1, 1}, {1, 1}, {1, 1}}};
  const Sampling s422{{{2, 1}, {1, 1}, {1, 1}, {1, 1}}};
  const Sampling s440{{{1, 2}, {1, 1}, {1, 1}, {1, 1}}};
  const Sampling s411{{{4, 1}, {1, 1}, {1, 1}, {1, 1}}};
  const Sampling s410{{{4, 2}, {1, 1}, {1, 1}, {1, 1}}};
  const Sampling mixed{{{2, 2}, {1, 2}, {2, 1}, {1, 1}}};
  const Sampling third{{{3, 1}, {1, 1}, {1, 1}, {1, 1}}};
  const Sampling fours{{{2, 4}, {1, 1}, {1, 1}, {1, 1}}};
  const Sampling lone{{{2, 2}, {1, 1}, {1, 1}, {1, 1}}};
  const Sampling inks{{{2, 2}, {1, 1}, {1, 1}, {2, 2}}};
  std::vector<Kind> all{
      {.name = "4:4:4", .height = 131, .width = 203, .sampling = s444},
      {.name = "4:2:0", .height = 203, .width = 301, .sampling = s420},
      {.name = "4:2:0, even", .height = 192, .width = 256, .sampling = s420},
      {.name = "4:2:2", .height = 131, .width = 203, .sampling = s422},
      {.name = "4:4:0", .height = 131, .width = 203, .sampling = s440},
      {.name = "4:1:1", .height = 131, .width = 203, .sampling = s411},
      {.name = "4:1:0", .height = 131, .width = 203, .sampling = s410},
      {.name = "mixed sampling", .height = 131, .width = 203, .sampling = mixed},
      {.name = "3x1", .height = 131, .width = 203, .sampling = third},
      {.name = "2x4", .height = 131, .width = 203, .sampling = fours},
      {.name = "grey", .height = 131, .width = 203, .parts = 1, .given = JCS_GRAYSCALE, .stored = JCS_GRAYSCALE},
      {.name = "grey 2x2",
       .height = 131,
       .width = 203,
       .parts = 1,
       .given = JCS_GRAYSCALE,
       .stored = JCS_GRAYSCALE,
       .sampling = lone},
      {.name = "RGB", .height = 131, .width = 203, .stored = JCS_RGB},
      {.name = "tiny 4:2:0", .height = 9, .width = 5, .sampling = s420},
      {.name = "one pixel", .height = 1, .width = 1, .sampling = s420},
      {.name = "narrow", .height = 300, .width = 3, .sampling = s420},
      {.name = "flat", .height = 2, .width = 400, .sampling = s420},
      {.name = "arithmetic", .height = 131, .width = 203, .sampling = s420, .arithmetic = true},
      {.name = "not interleaved", .height = 131, .width = 203, .sampling = s420, .interleaved = false},
      {.name = "progressive", .height = 203, .width = 301, .sampling = s420, .progressive = true},
      {.name = "progressive 4:2:2", .height = 131, .width = 203, .sampling = s422, .progressive = true},
      {.name = "progressive grey",
       .height = 131,
       .width = 203,
       .parts = 1,
       .given = JCS_GRAYSCALE,
       .stored = JCS_GRAYSCALE,
       .progressive = true},
      {.name = "progressive, with markers", .height = 131, .width = 203, .sampling = s444, .restart = 5, .progressive = true},
      {.name = "progressive, arithmetic",
       .height = 131,
       .width = 203,
       .sampling = s420,
       .progressive = true,
       .arithmetic = true},
      {.name = "progressive RGB", .height = 131, .width = 203, .stored = JCS_RGB, .progressive = true},
      {.name = "CMYK", .height = 131, .width = 203, .parts = 4, .given = JCS_CMYK, .stored = JCS_CMYK},
      {.name = "YCCK", .height = 131, .width = 203, .parts = 4, .given = JCS_CMYK, .stored = JCS_YCCK, .sampling = inks},
      {.name = "progressive YCCK",
       .height = 131,
       .width = 203,
       .parts = 4,
       .given = JCS_CMYK,
       .stored = JCS_YCCK,
       .sampling = inks,
       .progressive = true},
      // 16 blocks an MCU: no single scan may have that, so it is decoded from several for every look.
      {.name = "too large for one scan",
       .height = 131,
       .width = 203,
       .sampling = {{{4, 4}, {1, 1}, {1, 1}, {1, 1}}},
       .interleaved = false},
  };
  // 301 pixels are 19 MCUs of 16, 320 are 20; 203 are 26 MCUs of 8.
  for (const int restart : {19, 1, 38, 7, 57}) {
    all.push_back({.name = "4:2:0, marker every " + std::to_string(restart) + " of 19 MCUs",
                   .height = 203,
                   .width = 301,
                   .sampling = s420,
                   .restart = restart});
  }
  for (const int restart : {1, 4, 5, 10, 20, 40, 8}) {
    all.push_back({.name = "4:2:0, marker every " + std::to_string(restart) + " of 20 MCUs",
                   .height = 260,
                   .width = 320,
                   .sampling = s420,
                   .restart = restart});
  }
  all.push_back({.name = "4:4:4, markers", .height = 131, .width = 203, .sampling = s444, .restart = 13});
  all.push_back({.name = "4:2:2, markers", .height = 131, .width = 208, .sampling = s422, .restart = 13});
  all.push_back({.name = "4:4:0, markers", .height = 131, .width = 203, .sampling = s440, .restart = 26});
  all.push_back({.name = "mixed, markers", .height = 131, .width = 208, .sampling = mixed, .restart = 13});
  all.push_back({.name = "grey, markers",
                 .height = 131,
                 .width = 203,
                 .parts = 1,
                 .given = JCS_GRAYSCALE,
                 .stored = JCS_GRAYSCALE,
                 .restart = 13});
  all.push_back({.name = "grey 2x2, markers",
                 .height = 131,
                 .width = 203,
                 .parts = 1,
                 .given = JCS_GRAYSCALE,
                 .stored = JCS_GRAYSCALE,
                 .sampling = lone,
                 .restart = 26});
  all.push_back({.name = "YCCK, markers",
                 .height = 131,
                 .width = 208,
                 .parts = 4,
                 .given = JCS_CMYK,
                 .stored = JCS_YCCK,
                 .sampling = inks,
                 .restart = 13});
  return all;
}

/// What libjpeg makes of the file with the channels asked for.
Whole expected(const Bytes& file, const Kind& kind, Index channels, int denominator) {
  if (kind.parts != 4) {
    const J_COLOR_SPACE space = channels == 1 ? JCS_GRAYSCALE : (channels == 3 ? JCS_RGB : JCS_EXT_RGBA);
    return full_decode(file, space, denominator);
  }
  const Whole inks = full_decode(file, JCS_CMYK, denominator);
  Whole whole{inks.height, inks.width, channels, {}};
  for (std::size_t i = 0; i < inks.pixels.size(); i += 4) {
    std::array<int, 3> rgb{};
    for (std::size_t c = 0; c < 3; ++c) {
      const int ink = inks.pixels[i + c];
      const int black = inks.pixels[i + 3];
      const double product = kind.adobe ? ink * black / 255.0 : (255 - ink) * (255 - black) / 255.0;
      rgb[c] = static_cast<int>(std::floor(product + 0.5));
    }
    if (channels == 1) {
      whole.pixels.push_back(static_cast<std::uint8_t>((19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 32768) >> 16));
      continue;
    }
    for (const int v : rgb) whole.pixels.push_back(static_cast<std::uint8_t>(v));
    if (channels == 4) whole.pixels.push_back(255);
  }
  return whole;
}

/// The largest difference of two pictures; 255 where their sizes differ.
int worst_difference(const Bytes& a, const Bytes& b) {
  if (a.size() != b.size()) return 255;
  int worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(int{a[i]} - int{b[i]}));
  return worst;
}
/// What a whole level may differ from libjpeg's: the chroma of 4:2:0 at 1/8 is rounded once here, and twice there.
constexpr std::array<int, 2> kMost{0, 2};

Bytes scanned(JpegDecoder& decoder, int level) {
  Bytes all;
  const auto row =
      static_cast<std::size_t>(decoder.info().levels[static_cast<std::size_t>(level)].extent[1] * decoder.info().channels);
  decoder.scan(level, [&](Index i, const std::uint8_t* p) {
    REQUIRE(static_cast<std::size_t>(i) * row == all.size());
    all.insert(all.end(), p, p + row);
  });
  return all;
}

std::string error_of(const Bytes& file, const fovea::JpegOptions& options = {}) {
  try {
    JpegDecoder decoder(view(file), 0, options);
    for (int level = 0; level < static_cast<int>(decoder.info().levels.size()); ++level) scanned(decoder, level);
  } catch (const fovea::Error& e) {
    return e.what();
  }
  return "";
}
std::string error_of_box(const Bytes& file, const PixelBox& box) {
  try {
    JpegDecoder decoder(view(file));
    Bytes memory(static_cast<std::size_t>(box.height * box.width * decoder.info().channels));
    const Tile tile{box, View<std::uint8_t, 3>(memory.data(), {box.height, box.width, decoder.info().channels})};
    decoder.decode(0, std::span(&tile, 1));
  } catch (const fovea::Error& e) {
    return e.what();
  }
  return "";
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Bytes with_segment(const Bytes& file, int marker, const Bytes& payload) {
  Bytes out(file.begin(), file.begin() + 2);
  const std::size_t length = payload.size() + 2;
  out.insert(out.end(), {0xFF, static_cast<std::uint8_t>(marker), static_cast<std::uint8_t>(length >> 8U),
                         static_cast<std::uint8_t>(length & 255U)});
  out.insert(out.end(), payload.begin(), payload.end());
  out.insert(out.end(), file.begin() + 2, file.end());
  return out;
}
Bytes exif(int orientation, bool big) {
  const auto o = static_cast<std::uint8_t>(orientation);
  if (big) {
    return {'E', 'x', 'i', 'f', 0, 0, 'M', 'M',  0, 42, 0, 0, 0, 8, 0, 2, 1, 0, 0, 4, 0, 0,
            0,   1,   0,   0,   0, 9, 1,   0x12, 0, 3,  0, 0, 0, 1, 0, o, 0, 0, 0, 0, 0, 0};
  }
  return {'E', 'x', 'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, o, 0, 0, 0, 0, 0, 0, 0};
}

std::size_t find_marker(const Bytes& file, int marker) {
  for (std::size_t i = 0; i + 1 < file.size(); ++i) {
    if (file[i] == 0xFF && file[i + 1] == marker) return i;
  }
  return file.size();
}

const std::filesystem::path photographs = "/usr/share/backgrounds";

Bytes read_all(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("jpeg: every piece of every kind of file is what a full decode gives") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    const Bytes file = encode(kind);
    for (const Index channels : {Index{0}, Index{1}, Index{3}, Index{4}}) {
      CAPTURE(channels);
      const Index out = channels != 0 ? channels : (kind.parts == 1 ? 1 : 3);
      JpegDecoder decoder(view(file), channels);
      REQUIRE(decoder.info().channels == out);
      const int levels = static_cast<int>(decoder.info().levels.size());
      REQUIRE(levels == (kind.height > 8 || kind.width > 8 ? 2 : 1));
      for (int level = 0; level < levels; ++level) {
        CAPTURE(level);
        const Whole whole = expected(file, kind, out, level == 0 ? 1 : 8);
        const fovea::StoredLevel& stored = decoder.info().levels[static_cast<std::size_t>(level)];
        REQUIRE(stored.extent == Extents<2>{whole.height, whole.width});
        const int most = kMost[static_cast<std::size_t>(level)];
        CHECK(worst_difference(scanned(decoder, level), whole.pixels) <= most);
        const bool thorough = channels == 0;
        for (const PixelBox& box : boxes_of(whole, thorough ? 60 : 5)) {
          CAPTURE(box.top);
          CAPTURE(box.left);
          CAPTURE(box.height);
          CAPTURE(box.width);
          CHECK(differing(decoder, level, {box}, whole) == 0);
        }
        for (std::uint64_t seed = 0; seed < (thorough ? 10U : 2U); ++seed) {
          CHECK(differing(decoder, level, grid_of(stored, whole, seed % 2 == 0 ? 0.1 : 0.6, seed), whole) == 0);
        }
        for (std::uint64_t seed = 0; seed < (thorough ? 40U : 2U); ++seed) {
          CHECK(differing(decoder, level, ladder_of(whole, seed), whole) == 0);
        }
        // Also where nothing is known of the file yet.
        JpegDecoder scanning(view(file), channels);
        CHECK(worst_difference(scanned(scanning, level), whole.pixels) <= most);
        CHECK(worst_difference(scanned(scanning, level), whole.pixels) <= most);
        JpegDecoder fresh(view(file), channels);
        CHECK(differing(fresh, level, {clip(whole.height / 2, whole.width / 2, 9, 9, whole)}, whole) == 0);
      }
    }
  }
}

TEST_CASE("jpeg: CMYK without an Adobe marker is not inverted") {
  const Kind kind{.name = "CMYK", .height = 60, .width = 77, .parts = 4, .given = JCS_CMYK, .stored = JCS_CMYK, .adobe = false};
  for (const bool progressive : {false, true}) {
    Kind k = kind;
    k.progressive = progressive;
    const Bytes file = encode(k);
    JpegDecoder decoder(view(file));
    const Whole whole = expected(file, k, 3, 1);
    CHECK(differing(decoder, 0, {{10, 20, 30, 40}}, whole) == 0);
  }
}

TEST_CASE("jpeg: restart markers are entered, and what that costs is counted") {
  Kind kind{.name = "markers", .height = 640, .width = 960, .sampling = {{{2, 2}, {1, 1}, {1, 1}, {1, 1}}}};
  const PixelBox box{320, 480, 64, 64};
  const auto cost = [&](const Bytes& file) {
    JpegDecoder decoder(view(file));
    CHECK_FALSE(decoder.info().sequential);
    const Whole whole = expected(file, kind, 3, 1);
    REQUIRE(differing(decoder, 0, {box}, whole) == 0);
    const fovea::Decoded before = decoder.decoded();
    REQUIRE(differing(decoder, 0, {box}, whole) == 0);
    return fovea::Decoded{decoder.decoded().bytes - before.bytes, decoder.decoded().pixels - before.pixels};
  };
  const Bytes plain = encode(kind);
  const fovea::Decoded passed_over = cost(plain);
  CHECK(passed_over.bytes < static_cast<std::int64_t>(plain.size()) / 2);
  // 64 rows and columns, and a row and a column of MCUs more on each side.
  CHECK(passed_over.pixels <= (64 + 32) * (64 + 32));
  for (const int interval : {60, 20, 5, 120, 25}) {
    CAPTURE(interval);
    kind.restart = interval;
    const Bytes file = encode(kind);
    const fovea::Decoded entered = cost(file);
    CHECK(entered.bytes <= passed_over.bytes);
    if (interval == 5) CHECK(entered.bytes < static_cast<std::int64_t>(file.size()) / 20);
  }
  // Segments that nobody reads, and more of them than the buffer holds, are passed over without being read whole.
  Bytes profiled = encode(kind);
  for (int i = 0; i < 6; ++i) profiled = with_segment(profiled, 0xE2, Bytes(60000, 0xFF));
  CHECK(cost(profiled).bytes < 70000);
  CHECK(JpegDecoder(view(profiled)).decoded().bytes < static_cast<std::int64_t>(profiled.size() * 2 / 3));
  // Two boxes far apart are entered one by one.
  kind.restart = 60;
  const Bytes file = encode(kind);
  JpegDecoder decoder(view(file));
  const Whole whole = expected(file, kind, 3, 1);
  REQUIRE(differing(decoder, 0, {box}, whole) == 0);
  const std::int64_t before = decoder.decoded().bytes;
  REQUIRE(differing(decoder, 0, {{0, 0, 16, 16}, {600, 900, 16, 16}}, whole) == 0);
  CHECK(decoder.decoded().bytes - before < static_cast<std::int64_t>(file.size()) / 4);
  // An interval as large as the picture, and one that no row begins with, are passed over.
  for (const int interval : {60 * 40, 60 * 20, 60 * 13, 60 * 11 + 1, 7, 1}) {
    kind.restart = interval;
    CHECK(cost(encode(kind)).bytes < static_cast<std::int64_t>(plain.size()) / 2);
  }
}

TEST_CASE("jpeg: a file without markers is passed over once, as far as is needed, and then entered anywhere") {
  using Sampling = std::array<std::array<int, 2>, 4>;
  for (const Sampling& sampling : {Sampling{{{2, 2}, {1, 1}, {1, 1}, {1, 1}}}, Sampling{{{1, 1}, {1, 1}, {1, 1}, {1, 1}}},
                                   Sampling{{{1, 2}, {1, 1}, {1, 1}, {1, 1}}}, Sampling{{{2, 1}, {1, 1}, {1, 1}, {1, 1}}}}) {
    const Kind kind{.name = "plain", .height = 1280, .width = 960, .sampling = sampling};
    const Bytes file = encode(kind);
    const Whole whole = expected(file, kind, 3, 1);
    JpegDecoder decoder(view(file));
    const auto bytes = [&](const PixelBox& box) {
      const std::int64_t before = decoder.decoded().bytes;
      CHECK(differing(decoder, 0, {box}, whole) == 0);
      return static_cast<double>(decoder.decoded().bytes - before) / static_cast<double>(file.size());
    };
    CHECK(bytes({640, 10, 32, 64}) > 0.5);
    CHECK(bytes({640, 10, 32, 64}) < 0.2);
    CHECK(bytes({100, 700, 20, 64}) < 0.2);
    CHECK(bytes({1270, 7, 10, 16}) > 0.4);
    CHECK(bytes({1270, 7, 10, 16}) < 0.2);
    fovea::Stream stream(9);
    for (int k = 0; k < 200; ++k) {
      const auto top = static_cast<Index>(stream.uniform(0.0, 1279.0));
      const auto left = static_cast<Index>(stream.uniform(0.0, 959.0));
      CHECK(bytes(clip(top, left, 1 + static_cast<Index>(stream.uniform(0.0, 40.0)), 30, whole)) < 0.25);
    }
  }
  // What lies above damage can be had, also after it was met.
  const Kind kind{.name = "plain", .height = 640, .width = 480, .sampling = {{{2, 2}, {1, 1}, {1, 1}, {1, 1}}}};
  const Bytes file = encode(kind);
  const Whole whole = expected(file, kind, 3, 1);
  const Bytes half(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(file.size() / 2));
  JpegDecoder decoder(view(half));
  CHECK(differing(decoder, 0, {{100, 100, 40, 40}}, whole) == 0);
  for (int k = 0; k < 2; ++k) CHECK_THROWS_AS(differing(decoder, 0, {{500, 100, 40, 40}}, whole), fovea::Error);
  CHECK(differing(decoder, 0, {{120, 100, 40, 40}}, whole) == 0);
}

TEST_CASE("jpeg: a file of several scans is read once") {
  Kind kind{
      .name = "progressive", .height = 640, .width = 960, .sampling = {{{2, 2}, {1, 1}, {1, 1}, {1, 1}}}, .progressive = true};
  const Bytes file = encode(kind);
  const Whole whole = expected(file, kind, 3, 1);
  JpegDecoder decoder(view(file));
  CHECK(decoder.info().sequential);
  CHECK_FALSE(decoder.enterable());
  REQUIRE(differing(decoder, 0, {{320, 480, 64, 64}}, whole) == 0);
  CHECK(decoder.enterable());
  CHECK(decoder.decoded().bytes > static_cast<std::int64_t>(file.size()));
  const std::int64_t before = decoder.decoded().bytes;
  REQUIRE(differing(decoder, 0, {{100, 100, 64, 64}}, whole) == 0);
  CHECK(decoder.decoded().bytes - before < static_cast<std::int64_t>(file.size()) / 3);
  CHECK(decoder.memory() < file.size() * 3 + 1000000);
  // One that is scanned whole is not kept.
  JpegDecoder once(view(file));
  CHECK(scanned(once, 0) == whole.pixels);
  CHECK_FALSE(once.enterable());
  // The overview and the way to the regions come from one reading of the scans.
  JpegDecoder both(view(file));
  CHECK(scanned(both, 1) == expected(file, kind, 3, 8).pixels);
  CHECK(both.enterable());
  CHECK(both.decoded().bytes < static_cast<std::int64_t>(file.size()) + 2000);
  CHECK(differing(both, 0, {{320, 480, 64, 64}}, whole) == 0);
  // Limits.
  CHECK(has(error_of(file, {.coefficient_bytes = 1000000}), "bytes of coefficients expected"));
  CHECK(has(error_of(file, {.scans = 3}), "at most 3 scans expected"));
}

TEST_CASE("jpeg: orientation from EXIF, and blocks that are damaged") {
  const Kind kind{.name = "small", .height = 24, .width = 40};
  const Bytes file = encode(kind);
  CHECK(JpegDecoder(view(file)).info().orientation == Orientation::upright);
  for (int o = 1; o <= 8; ++o) {
    for (const bool big : {false, true}) {
      const Bytes turned = with_segment(file, 0xE1, exif(o, big));
      CHECK(JpegDecoder(view(turned)).info().orientation == static_cast<Orientation>(o));
      const fovea::ImageFile image = fovea::open_jpeg(view(turned));
      CHECK(image.extent() == (o >= 5 ? Extents<2>{40, 24} : Extents<2>{24, 40}));
    }
  }
  CHECK(JpegDecoder(view(with_segment(file, 0xE1, exif(9, true)))).info().orientation == Orientation::upright);
  // XMP before EXIF, and a second EXIF behind the first.
  const Bytes twice = with_segment(with_segment(file, 0xE1, exif(3, true)), 0xE1, exif(6, false));
  CHECK(JpegDecoder(view(twice)).info().orientation == Orientation::rotated_90);
  const Bytes xmp{'h', 't', 't', 'p', ':', '/', '/', 'n', 's', '.', 'a', 'd', 'o', 'b', 'e', 0};
  CHECK(JpegDecoder(view(with_segment(with_segment(file, 0xE1, exif(8, true)), 0xE1, xmp))).info().orientation ==
        Orientation::rotated_90_counter);
  // Every prefix, and every byte changed: an orientation, and no byte read outside.
  for (const bool big : {false, true}) {
    const Bytes block = exif(6, big);
    for (std::size_t n = 0; n <= block.size(); ++n) {
      const Bytes part(block.begin(), block.begin() + static_cast<std::ptrdiff_t>(n));
      const Orientation o = fovea::exif_orientation(part);
      CHECK((o == Orientation::upright || o == Orientation::rotated_90));
      for (int v = 0; v < 256 && n < block.size(); ++v) {
        Bytes changed = block;
        changed[n] = static_cast<std::uint8_t>(v);
        changed.shrink_to_fit();
        const int tag = static_cast<int>(fovea::exif_orientation(changed));
        CHECK((tag >= 1 && tag <= 8));
      }
    }
  }
}

TEST_CASE("jpeg: files that are damaged, cut off or of another kind are refused with a sentence") {
  Kind kind{.name = "4:2:0", .height = 203, .width = 301, .sampling = {{{2, 2}, {1, 1}, {1, 1}, {1, 1}}}};
  const Bytes file = encode(kind);
  REQUIRE(error_of(file).empty());
  SUBCASE("not a JPEG") {
    CHECK(has(error_of({}), "jpeg: "));
    CHECK(has(error_of({'B', 'M', 0, 0, 1, 2, 3}), "begins with FF D8 expected"));
    CHECK_THROWS_AS(JpegDecoder(std::filesystem::path("/nonexistent.jpg")), fovea::Error);
  }
  SUBCASE("cut off anywhere") {
    const std::size_t entropy = find_marker(file, 0xDA) + 14;
    for (std::size_t n = 0; n + 2 < file.size(); n += n < entropy ? 1 : 37) {
      CAPTURE(n);
      Bytes part(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(n));
      const std::string error = error_of(part);
      CHECK(has(error, "jpeg: "));
      if (n > entropy) CHECK(has(error, "the file ends in row "));
    }
    const Bytes half(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(file.size() / 2));
    const std::string error = error_of(half);
    CHECK(has(error, " of 203"));
    // What lies above the cut is there.
    CHECK(error_of_box(half, {0, 0, 16, 301}).empty());
    CHECK(has(error_of_box(half, {190, 0, 13, 301}), "the file ends in row "));
  }
  SUBCASE("the end marker alone is missing, or more follows it") {
    CHECK(error_of(Bytes(file.begin(), file.end() - 2)).empty());
    Bytes more = file;
    more.insert(more.end(), file.begin(), file.end());
    more.push_back(0);
    CHECK(error_of(more).empty());
  }
  SUBCASE("restart markers") {
    kind.restart = 19;
    const Bytes marked = encode(kind);
    REQUIRE(error_of(marked).empty());
    const std::size_t third = find_marker(marked, 0xD2);
    // One is missing: what lies above is there all the same.
    Bytes broken = marked;
    broken.erase(broken.begin() + static_cast<std::ptrdiff_t>(third), broken.begin() + static_cast<std::ptrdiff_t>(third) + 2);
    CHECK(has(error_of(broken), "jpeg: damaged in row "));
    CHECK(has(error_of_box(broken, {150, 0, 20, 20}), "jpeg: damaged in row "));
    CHECK(error_of_box(broken, {0, 0, 16, 20}).empty());
    // The wrong one.
    broken = marked;
    broken[third + 1] = 0xD5;
    CHECK(has(error_of(broken), "jpeg: damaged in row "));
    // An interval that is too short: seen where it is looked at, and only there.
    broken = marked;
    broken.erase(broken.begin() + static_cast<std::ptrdiff_t>(third) + 10,
                 broken.begin() + static_cast<std::ptrdiff_t>(third) + 110);
    CHECK(has(error_of_box(broken, {48, 270, 16, 31}), "jpeg: damaged in row 48 of 203"));
    const Whole whole = expected(marked, kind, 3, 1);
    JpegDecoder decoder(view(broken));
    CHECK(differing(decoder, 0, {{130, 40, 60, 60}}, whole) == 0);
  }
  SUBCASE("several scans") {
    kind.progressive = true;
    const Bytes scans = encode(kind);
    REQUIRE(error_of(scans).empty());
    const std::size_t entropy = find_marker(scans, 0xDA) + 14;
    for (std::size_t n = 0; n + 2 < scans.size(); n += n < entropy ? 7 : 101) {
      CAPTURE(n);
      const Bytes part(scans.begin(), scans.begin() + static_cast<std::ptrdiff_t>(n));
      CHECK(has(error_of(part), "jpeg: "));
      CHECK(has(error_of_box(part, {0, 0, 8, 8}), "jpeg: "));
    }
    // Without its end nobody knows whether a scan is missing.
    CHECK(has(error_of(Bytes(scans.begin(), scans.end() - 2)), "its end is missing"));
    // A component without a scan.
    kind.progressive = false;
    kind.interleaved = false;
    const Bytes apart = encode(kind);
    std::vector<std::size_t> begins;
    for (std::size_t i = 0; i + 1 < apart.size(); ++i) {
      if (apart[i] == 0xFF && apart[i + 1] == 0xDA) begins.push_back(i);
    }
    REQUIRE(begins.size() == 3);
    Bytes two(apart.begin(), apart.begin() + static_cast<std::ptrdiff_t>(begins[2]));
    two.insert(two.end(), {0xFF, 0xD9});
    CHECK(has(error_of(two), "there is none of component 3"));
    CHECK(has(error_of_box(two, {0, 0, 8, 8}), "there is none of component 3"));
  }
  SUBCASE("kinds there is no decoder for") {
    const std::size_t sof = find_marker(file, 0xC0);
    Bytes other = file;
    other[sof + 4] = 12;
    CHECK(has(error_of(other), "8 bits a sample expected, 12 came"));
    for (const int code : {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD}) {
      other = file;
      other[sof + 1] = static_cast<std::uint8_t>(code);
      CHECK(has(error_of(other), "SOF " + std::to_string(code - 0xC0) + " came"));
    }
    // Sampling factors 3 and 2: nothing to upsample by.
    other = file;
    other[sof + 11] = 0x31;
    other[sof + 14] = 0x21;
    CHECK(has(error_of(other), "sampling factors that divide 3x1 expected"));
    other = file;
    other[sof + 5] = other[sof + 6] = 0;
    CHECK(has(error_of(other), "jpeg: "));
  }
  SUBCASE("a few bytes cannot demand a gigabyte") {
    kind.progressive = true;
    Bytes large = encode(kind);
    const std::size_t sof = find_marker(large, 0xC2);
    large[sof + 5] = large[sof + 7] = 0x30;  // 12,4xx pixels a side: 460 MB
    CHECK(has(error_of(large), "jpeg: a file of at least "));
    large[sof + 5] = large[sof + 7] = 0xFF;
    CHECK(has(error_of(large), "bytes of coefficients expected"));
  }
}

TEST_CASE("jpeg: any byte changed is decoded or refused") {
  for (const int restart : {0, 4}) {
    for (const bool progressive : {false, true}) {
      Kind kind{.name = "",
                .height = 50,
                .width = 70,
                .sampling = {{{2, 2}, {1, 1}, {1, 1}, {1, 1}}},
                .restart = restart,
                .progressive = progressive};
      const Bytes file = encode(kind);
      fovea::Stream stream(3);
      int refused = 0;
      for (int k = 0; k < 1500; ++k) {
        Bytes changed = file;
        const auto at = static_cast<std::size_t>(stream.uniform(0.0, 0.9999) * static_cast<double>(file.size()));
        changed[at] = static_cast<std::uint8_t>(stream.uniform(0.0, 255.99));
        try {
          JpegDecoder decoder(view(changed));
          const Extents<2> extent = decoder.info().levels[0].extent;
          if (fovea::product(extent) > 1000000) continue;
          Bytes memory(static_cast<std::size_t>(64 * decoder.info().channels));
          const PixelBox box = fovea::intersection({extent[0] / 2, extent[1] / 2, 8, 8}, {0, 0, extent[0], extent[1]});
          const Tile tile{box, View<std::uint8_t, 3>(memory.data(), {box.height, box.width, decoder.info().channels})};
          decoder.decode(0, std::span(&tile, 1));
          decoder.scan(0, [](Index /*row*/, const std::uint8_t* /*pixels*/) {});
        } catch (const fovea::Error& e) {
          CHECK(has(e.what(), "jpeg: "));
          ++refused;
        }
      }
      CHECK(refused > 50);
    }
  }
}

namespace {

/// A file by hand: tables of one code each, so that any number of MCUs is a few bits. `dc`: its size; `ac`: its symbol.
struct ByHand {
  Bytes file{0xFF, 0xD8};
  std::uint32_t byte = 0;
  int filled = 0;

  void segment(int marker, const Bytes& payload) {
    const std::size_t length = payload.size() + 2;
    file.insert(file.end(), {0xFF, static_cast<std::uint8_t>(marker), static_cast<std::uint8_t>(length >> 8U),
                             static_cast<std::uint8_t>(length & 255U)});
    file.insert(file.end(), payload.begin(), payload.end());
  }
  void table(int id, std::size_t length, int symbol) {
    Bytes payload(18);
    payload[0] = static_cast<std::uint8_t>(id);
    payload[length] = 1;
    payload[17] = static_cast<std::uint8_t>(symbol);
    segment(0xC4, payload);
  }
  void put(std::uint32_t value, int count) {
    for (int i = count - 1; i >= 0; --i) {
      byte = byte << 1U | ((value >> static_cast<unsigned>(i)) & 1U);
      if (++filled < 8) continue;
      file.push_back(static_cast<std::uint8_t>(byte));
      if (byte == 0xFF) file.push_back(0);
      byte = 0;
      filled = 0;
    }
  }
  Bytes done() {
    while (filled != 0) put(1, 1);
    file.insert(file.end(), {0xFF, 0xD9});
    return file;
  }
};

}  // namespace

TEST_CASE("jpeg: codes that no encoder writes") {
  SUBCASE("the longest MCU there can be: 10 blocks of 63 coefficients of 31 bits") {
    ByHand hand;
    Bytes quantisers(65, 1);
    quantisers[0] = 0;
    hand.segment(0xDB, quantisers);
    hand.segment(0xEE, {'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 2});
    hand.segment(0xC1, {8, 0, 64, 4, 0, 4, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x22, 0});
    hand.table(0x00, 1, 0);
    hand.table(0x10, 16, 0x0F);
    hand.segment(0xDA, {4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0});
    // Not a zero behind a code but 2^14, the last of each block: what is read behind a buffer's end shows.
    for (int block = 0; block < 4 * 64 * 10; ++block) {
      hand.put(0, 1);
      for (int k = 0; k < 63; ++k) hand.put(k % 7 == 0 ? 0x4000 : 0x3FFF, 31);
    }
    const Bytes file = hand.done();
    const Whole whole = expected(file, {.name = "by hand", .parts = 4}, 3, 1);
    JpegDecoder decoder(view(file));
    CHECK(differing(decoder, 0, {{0, 900, 64, 64}}, whole) == 0);
    CHECK(differing(decoder, 0, {{30, 100, 8, 64}}, whole) == 0);
    CHECK(scanned(decoder, 0) == whole.pixels);
  }
  SUBCASE("DC coefficients beyond what 8 bits can have, and quantisers of 16 bits") {
    ByHand hand;
    Bytes quantisers(129, 255);
    quantisers[0] = 0x10;
    hand.segment(0xDB, quantisers);
    hand.segment(0xC1, {8, 0, 8, 2, 0, 1, 1, 0x11, 0});
    hand.table(0x00, 1, 11);
    hand.table(0x10, 1, 0);
    hand.segment(0xDA, {1, 1, 0, 0, 63, 0});
    // Up and down again: up to 30,000.
    for (int block = 0; block < 64; ++block) {
      hand.put(0, 1);
      hand.put(block < 20 ? 1500 : 600, 11);  // + 1500, - 1447
      hand.put(0, 1);
    }
    const Bytes file = hand.done();
    const Whole whole = full_decode(file, JCS_GRAYSCALE, 1);
    const Whole eighth = full_decode(file, JCS_GRAYSCALE, 8);
    JpegDecoder decoder(view(file));
    CHECK(scanned(decoder, 1) == eighth.pixels);
    for (Index left = 0; left < 512 - 40; left += 24) CHECK(differing(decoder, 0, {{0, left, 8, 40}}, whole) == 0);
    JpegDecoder fresh(view(file));
    CHECK(differing(fresh, 0, {{0, 100, 8, 40}}, whole) == 0);
  }
}

TEST_CASE("jpeg: from a file as from memory") {
  Kind kind{.name = "4:2:0", .height = 203, .width = 301, .sampling = {{{2, 2}, {1, 1}, {1, 1}, {1, 1}}}, .restart = 19};
  for (const bool progressive : {false, true}) {
    kind.progressive = progressive;
    const Bytes file = encode(kind);
    const TemporaryFolder folder;
    const std::filesystem::path path = folder.write("a.jpg", file);
    const Whole whole = expected(file, kind, 3, 1);
    {
      JpegDecoder decoder(path);
      CHECK(differing(decoder, 0, {{100, 100, 64, 64}}, whole) == 0);
      CHECK(scanned(decoder, 0) == whole.pixels);
      const fovea::ImageFile image = fovea::open_jpeg(path);
      const fovea::ImageView<std::uint8_t> pixels = fovea::read_exactly(image, 0, {50, 60, 70, 80});
      bool same = true;
      for (Index i = 0; i < 70; ++i) {
        for (Index j = 0; j < 80 * 3; ++j) {
          same = same && pixels.data()[i * pixels.stride(0) + j] ==
                             whole.pixels[static_cast<std::size_t>(((50 + i) * 301 + 60) * 3 + j)];
        }
      }
      CHECK(same);
    }
    std::filesystem::remove(path);
  }
}

TEST_CASE("jpeg: inputs the fuzzer found") {
  const std::filesystem::path found = std::filesystem::path(__FILE__).parent_path().parent_path() / "golden/fuzz/jpeg";
  if (!std::filesystem::is_directory(found)) return;
  for (const auto& entry : std::filesystem::directory_iterator(found)) {
    CAPTURE(entry.path().string());
    const Bytes file = read_all(entry.path());
    try {
      JpegDecoder decoder(view(file));
      if (fovea::product(decoder.info().levels[0].extent) > 50000000) continue;
      for (int level = 0; level < static_cast<int>(decoder.info().levels.size()); ++level) scanned(decoder, level);
    } catch (const fovea::Error& e) {
      CHECK(has(e.what(), "jpeg: "));
    }
  }
}

TEST_CASE("jpeg: photographs") {
  if (!std::filesystem::is_directory(photographs)) {
    MESSAGE("no photographs in /usr/share/backgrounds: skipped");
    return;
  }
  for (const char* name : {"Kleiber_by_Lukas_Baubkus.jpg", "Dragonfly_by_Bolly.jpg", "seeding_by_Clements_Engelhardt.jpg",
                           "analogpattern_by_Peter_Nerlich.jpg"}) {
    const std::filesystem::path path = photographs / name;
    if (!std::filesystem::exists(path)) continue;
    CAPTURE(name);
    const Bytes file = read_all(path);
    const Whole whole = full_decode(file, JCS_RGB, 1);
    JpegDecoder decoder(path);
    REQUIRE(decoder.info().levels[0].extent == Extents<2>{whole.height, whole.width});
    const Index h = whole.height;
    const Index w = whole.width;
    CHECK(differing(decoder, 0, {{0, 0, 64, 64}, {h / 3, w / 2, 64, 64}, {h / 2, 10, 64, 64}, {h - 64, w - 64, 64, 64}},
                    whole) == 0);
    CHECK(differing(decoder, 0, {{h / 2 + 3, w / 2 + 5, 77, 99}}, whole) == 0);
    CHECK(worst_difference(scanned(decoder, 1), full_decode(file, JCS_RGB, 8).pixels) <= kMost[1]);
  }
}

TEST_CASE("jpeg: 12 megapixels with and without markers, and the overview against an exact average") {
  const std::filesystem::path path = photographs / "Kleiber_by_Lukas_Baubkus.jpg";
  if (!std::filesystem::exists(path)) {
    MESSAGE("no photograph of 20 megapixels in /usr/share/backgrounds: skipped");
    return;
  }
  Kind kind{.name = "12 megapixels", .height = 3000, .width = 4000, .sampling = {{{2, 2}, {1, 1}, {1, 1}, {1, 1}}}};
  Bytes image(std::size_t{3000} * 4000 * 3);
  {
    JpegDecoder kleiber(path);
    const Tile tile{{200, 1000, 3000, 4000}, View<std::uint8_t, 3>(image.data(), {3000, 4000, 3})};
    kleiber.decode(0, std::span(&tile, 1));
  }
  const std::vector<PixelBox> four{{300, 500, 64, 64}, {1000, 3000, 64, 64}, {1800, 100, 64, 64}, {2936, 3936, 64, 64}};
  const Bytes plain = encode(kind, image);
  const Whole whole = full_decode(plain, JCS_RGB, 1);
  for (const int restart : {0, 250, 25, 7}) {
    CAPTURE(restart);
    kind.restart = restart;
    const Bytes file = encode(kind, image);
    JpegDecoder decoder(view(file));
    CHECK_FALSE(decoder.info().sequential);
    CHECK(differing(decoder, 0, four, whole) == 0);
    CHECK(decoder.memory() < (std::size_t{2} << 20U));
    const fovea::Decoded before = decoder.decoded();
    CHECK(differing(decoder, 0, {{1500, 2000, 64, 64}}, whole) == 0);
    const auto bytes = static_cast<std::size_t>(decoder.decoded().bytes - before.bytes);
    if (restart == 250) CHECK(bytes < file.size() / 20);
    if (restart == 25) CHECK(bytes < file.size() / 100);
    if (restart == 7) CHECK(bytes < file.size() / 10);
  }
  kind.restart = 0;
  kind.progressive = true;
  const Bytes scans = encode(kind, image);
  JpegDecoder progressive(view(scans));
  const Bytes eighth = scanned(progressive, 1);
  CHECK(eighth == full_decode(plain, JCS_RGB, 8).pixels);
  CHECK(differing(progressive, 0, four, whole) == 0);
  CHECK(progressive.memory() < 2 * scans.size());
  // Each value of the overview is about the mean of the 8x8 pixels under it; they differ where chroma is smoothed, and where
  // pixels are clipped to 0 and 255.
  double sum = 0;
  for (Index i = 0; i < 375; ++i) {
    for (Index j = 0; j < 500; ++j) {
      for (Index c = 0; c < 3; ++c) {
        double mean = 0;
        for (Index k = 0; k < 64; ++k) {
          mean += whole.pixels[static_cast<std::size_t>(((8 * i + k / 8) * 4000 + 8 * j + k % 8) * 3 + c)] / 64.0;
        }
        sum += std::abs(mean - eighth[static_cast<std::size_t>((i * 500 + j) * 3 + c)]);
      }
    }
  }
  CHECK(sum / (375.0 * 500 * 3) < 1.0);
}
