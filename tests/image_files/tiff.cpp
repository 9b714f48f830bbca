// SPDX-License-Identifier: MIT
// needs: tiff
// TIFF files of every kind, written by libtiff in memory, and what TiffDecoder makes of them: exactly the samples written, by
// the rules of image/color.hpp; the levels of pyramids; damage is an Error.
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiff_in_memory.hpp"
#include <fovea/core/random.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/tiff.hpp>
#include <fovea/image/tiff_pyramid_writer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using fovea::Extents;
using fovea::ImageFileOptions;
using fovea::Index;
using fovea::PixelBox;
using fovea_test::TiffInMemory;
using fovea_test::TiffPage;
using Bytes = std::vector<std::byte>;

using fovea_test::message_of;
using fovea_test::TemporaryFolder;

namespace {

/// Every value of the depth comes up, neighbours differ, nothing repeats soon.
unsigned pattern(Index i, Index j, int s, int bits) {
  const auto h = static_cast<std::uint32_t>(i * 2654435 + j * 40503 + s * 977 + (i * j) % 251);
  return ((h * 2654435761U) >> 12U) & (0xFFFFFFFFU >> static_cast<unsigned>(32 - bits));
}

/// Smooth, for lossy compression.
unsigned smooth(Index i, Index j, int s) {
  return static_cast<unsigned>(128 + 60 * std::sin(0.05 * static_cast<double>(i) + s) +
                               50 * std::cos(0.04 * static_cast<double>(j)));
}

TiffPage page(Index height, Index width, int samples, int bits) {
  TiffPage p;
  p.height = height;
  p.width = width;
  p.samples = samples;
  p.bits = bits;
  p.photometric = samples >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK;
  p.value = [bits](Index i, Index j, int s) { return pattern(i, j, s, bits); };
  return p;
}

template <class P>
using Expected = std::function<double(Index, Index, Index)>;

/// All pixels, and every box of a few, read through the cache; and a scan of the decoder, row by row.
template <class P>
void check_pixels(const Bytes& file, const ImageFileOptions& options, Extents<3> extent, const Expected<P>& expected,
                  double tolerance = 0, double mean = 0) {
  const auto image = fovea::open_tiff<P>(std::span(file), options);
  REQUIRE(image.extent() == Extents<2>{extent[0], extent[1]});
  REQUIRE(image.channels() == extent[2]);
  double worst = 0;
  double sum = 0;
  const auto compare = [&](const PixelBox& box, const fovea::ImageView<P>& pixels) {
    for (Index i = 0; i < box.height; ++i) {
      for (Index j = 0; j < box.width; ++j) {
        for (Index c = 0; c < extent[2]; ++c) {
          const double d = std::abs(expected(box.top + i, box.left + j, c) - static_cast<double>(pixels(i, j, c)));
          worst = std::max(worst, d);
          sum += d;
        }
      }
    }
  };
  const PixelBox whole{0, 0, extent[0], extent[1]};
  compare(whole, fovea::read_exactly(image, 0, whole));
  CHECK(sum / static_cast<double>(fovea::product(extent)) <= mean + 1e-12);
  for (const PixelBox& box : {PixelBox{extent[0] / 3, extent[1] / 3, extent[0] / 2, extent[1] / 2},
                              PixelBox{0, extent[1] - 1, 1, 1}, PixelBox{extent[0] - 2, 1, 2, 9}}) {
    ImageFileOptions small = options;
    small.overview_pixels = 1;
    for (const std::size_t cache : {std::size_t{0}, std::size_t{1} << 20U}) {
      small.cache_bytes = cache;
      const auto again = fovea::open_tiff<P>(std::span(file), small);
      const std::int64_t before = again.decoded().pixels;
      compare(box, fovea::read_exactly(again, 0, box));
      CHECK(again.decoded().pixels >= before + box.height * box.width);
    }
  }
  fovea::TiffDecoder<P> decoder{std::span(file), options.channels};
  Index rows = 0;
  decoder.scan(0, [&](Index i, const P* row) {
    CHECK(i == rows++);
    compare({i, 0, 1, extent[1]}, {row, {1, extent[1], extent[2]}});
  });
  CHECK(rows == extent[0]);
  CHECK(worst <= tolerance);
}

double luma(double r, double g, double b, double scale) {
  const auto of = [](double v) { return static_cast<std::uint64_t>(v); };
  return std::floor(static_cast<double>((19595 * of(r) + 38470 * of(g) + 7471 * of(b) + 32768) >> 16U) * scale);
}

/// Reads all there is. Throws Error.
void read_all(const Bytes& file) {
  ImageFileOptions options;
  options.overview_pixels = 64;
  const auto image = fovea::open_tiff(std::span(file), options);
  for (int k = 0; k < image.levels(); ++k) {
    const Extents<2> e = image.level_extent(k);
    (void)image.read(k, {0, 0, e[0], e[1]});
  }
}

}  // namespace

TEST_CASE("TIFF: every lossless layout, compression and byte order gives the samples written") {
  int files = 0;
  for (const int compression : {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS,
                                COMPRESSION_ZSTD, COMPRESSION_LZMA}) {
    if (TIFFIsCODECConfigured(static_cast<std::uint16_t>(compression)) == 0) continue;
    for (const char* mode : {"wl", "wb", "w8l", "w8b"}) {
      // All modes with one compression, one mode with the others.
      if (compression != COMPRESSION_LZW && std::string(mode) != "wb") continue;
      for (const int bits : {8, 16}) {
        for (const int samples : {1, 3}) {
          for (const bool planar : {false, true}) {
            for (const int layout : {0, 1, 2}) {
              TiffPage p = page(77, 93, samples, bits);
              p.compression = compression;
              p.planar = planar;
              if (layout == 0) p.tile_height = 16, p.tile_width = 32;
              p.rows_per_strip = layout == 1 ? 10 : 77;
              CAPTURE(compression);
              CAPTURE(mode);
              CAPTURE(bits);
              CAPTURE(samples);
              CAPTURE(planar);
              CAPTURE(layout);
              const Bytes file = TiffInMemory::write({p}, mode);
              ++files;
              check_pixels<std::uint8_t>(file, {}, {77, 93, samples}, [&](Index i, Index j, Index c) {
                const unsigned v = p.value(i, j, static_cast<int>(c));
                return static_cast<double>(bits == 8 ? v : (v + 128) / 257);
              });
              check_pixels<std::uint16_t>(file, {}, {77, 93, samples}, [&](Index i, Index j, Index c) {
                return static_cast<double>(p.value(i, j, static_cast<int>(c)) * (bits == 8 ? 257U : 1U));
              });
            }
          }
        }
      }
    }
  }
  CHECK(files >= 9 * 2 * 2 * 2 * 3 - 48);
}

TEST_CASE("TIFF: grey of 1, 2 and 4 bits, black or white zero, tiles and strips") {
  for (const int bits : {1, 2, 4, 8, 16}) {
    for (const bool white : {false, true}) {
      for (const bool tiled : {false, true}) {
        CAPTURE(bits);
        CAPTURE(white);
        CAPTURE(tiled);
        TiffPage p = page(37, 51, 1, bits);
        p.compression = COMPRESSION_LZW;
        if (white) p.photometric = PHOTOMETRIC_MINISWHITE;
        if (tiled) p.tile_height = 16, p.tile_width = 16;
        const unsigned most = (1U << static_cast<unsigned>(bits)) - 1U;
        check_pixels<std::uint8_t>(TiffInMemory::write({p}), {}, {37, 51, 1}, [&](Index i, Index j, Index) {
          const unsigned v = white ? most - p.value(i, j, 0) : p.value(i, j, 0);
          return static_cast<double>(bits == 16 ? (v + 128) / 257 : v * (255 / most));
        });
        ImageFileOptions rgb;
        rgb.channels = 3;
        check_pixels<std::uint16_t>(TiffInMemory::write({p}), rgb, {37, 51, 3}, [&](Index i, Index j, Index) {
          const unsigned v = white ? most - p.value(i, j, 0) : p.value(i, j, 0);
          return static_cast<double>(v * (65535 / most));
        });
      }
    }
  }
  SUBCASE("fax") {
    TiffPage p = page(64, 80, 1, 1);
    p.photometric = PHOTOMETRIC_MINISWHITE;
    p.compression = COMPRESSION_CCITTFAX4;
    check_pixels<std::uint8_t>(TiffInMemory::write({p}), {}, {64, 80, 1},
                               [&](Index i, Index j, Index) { return p.value(i, j, 0) == 0 ? 255.0 : 0.0; });
  }
}

TEST_CASE("TIFF: colour to grey, palettes, inks, alpha of both kinds") {
  ImageFileOptions grey;
  grey.channels = 1;
  ImageFileOptions rgba;
  rgba.channels = 4;
  SUBCASE("RGB to grey") {
    const TiffPage p = page(20, 30, 3, 8);
    check_pixels<std::uint8_t>(TiffInMemory::write({p}), grey, {20, 30, 1}, [&](Index i, Index j, Index) {
      return luma(p.value(i, j, 0), p.value(i, j, 1), p.value(i, j, 2), 1);
    });
    check_pixels<std::uint8_t>(TiffInMemory::write({p}), rgba, {20, 30, 4}, [&](Index i, Index j, Index c) {
      return c == 3 ? 255.0 : static_cast<double>(p.value(i, j, static_cast<int>(c)));
    });
  }
  SUBCASE("palettes of 1 to 8 bits, with entries of 16 bits and of 8 at either end") {
    for (const int bits : {1, 2, 4, 8}) {
      for (const unsigned unit : {257U, 256U, 1U}) {
        CAPTURE(bits);
        CAPTURE(unit);
        TiffPage p = page(21, 35, 1, bits);
        p.photometric = PHOTOMETRIC_PALETTE;
        p.compression = COMPRESSION_ADOBE_DEFLATE;
        const auto entry = [](unsigned v, Index c) { return (v * 37U + static_cast<unsigned>(c) * 101U + 13U) % 256U; };
        for (Index c = 0; c < 3; ++c) {
          for (unsigned v = 0; v < (1U << static_cast<unsigned>(bits)); ++v) {
            p.palette.push_back(static_cast<std::uint16_t>(entry(v, c) * unit));
          }
        }
        check_pixels<std::uint8_t>(TiffInMemory::write({p}), {}, {21, 35, 3},
                                   [&](Index i, Index j, Index c) { return static_cast<double>(entry(p.value(i, j, 0), c)); });
      }
    }
  }
  SUBCASE("CMYK, light left by the ink times light left by black") {
    for (const int bits : {8, 16}) {
      for (const bool planar : {false, true}) {
        TiffPage p = page(24, 40, 4, bits);
        p.photometric = PHOTOMETRIC_SEPARATED;
        p.planar = planar;
        const double most = bits == 8 ? 255 : 65535;
        const auto light = [&](Index i, Index j, int c) {
          return std::floor((most - p.value(i, j, c)) * (most - p.value(i, j, 3)) / most + 0.5);
        };
        check_pixels<std::uint16_t>(TiffInMemory::write({p}), {}, {24, 40, 3},
                                    [&](Index i, Index j, Index c) { return light(i, j, static_cast<int>(c)) * 65535 / most; });
      }
    }
  }
  SUBCASE("alpha") {
    for (const int colours : {1, 3}) {
      for (const bool associated : {false, true}) {
        for (const int before : {0, 1}) {  // other samples before it
          CAPTURE(colours);
          CAPTURE(associated);
          CAPTURE(before);
          TiffPage p = page(18, 26, colours + 1 + before, 8);
          p.photometric = colours == 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK;
          if (before == 1) p.extra.push_back(EXTRASAMPLE_UNSPECIFIED);
          p.extra.push_back(associated ? EXTRASAMPLE_ASSOCALPHA : EXTRASAMPLE_UNASSALPHA);
          const int at = colours + before;
          const auto alpha = [&](Index i, Index j) { return static_cast<double>(pattern(i, j, at, 8)); };
          const auto stored = [&](Index i, Index j, Index c) {
            const double v = pattern(i, j, colours == 3 ? static_cast<int>(c) : 0, 8);
            return associated ? std::floor(v * alpha(i, j) / 255) : v;
          };
          p.value = [&](Index i, Index j, int s) {
            return static_cast<unsigned>(s < colours ? stored(i, j, s) : pattern(i, j, s, 8));
          };
          const Bytes file = TiffInMemory::write({p});
          // On black.
          check_pixels<std::uint8_t>(file, {}, {18, 26, colours}, [&](Index i, Index j, Index c) {
            return associated ? stored(i, j, c) : std::floor(stored(i, j, c) * alpha(i, j) / 255 + 0.5);
          });
          check_pixels<std::uint8_t>(file, rgba, {18, 26, 4}, [&](Index i, Index j, Index c) {
            if (c == 3) return alpha(i, j);
            if (!associated) return stored(i, j, c);
            return alpha(i, j) == 0 ? 0.0 : std::min(255.0, std::floor(stored(i, j, c) * 255 / alpha(i, j) + 0.5));
          });
        }
      }
    }
  }
  SUBCASE("samples that mean nothing are left out") {
    TiffPage p = page(18, 26, 7, 16);
    p.extra = {0, 0, 0, 0};
    for (const bool planar : {false, true}) {
      p.planar = planar;
      check_pixels<std::uint16_t>(TiffInMemory::write({p}), {}, {18, 26, 3}, [&](Index i, Index j, Index c) {
        return static_cast<double>(p.value(i, j, static_cast<int>(c)));
      });
    }
  }
}

TEST_CASE("TIFF: JPEG tiles, grey, RGB and YCbCr, and WebP, are the picture but for the loss") {
  for (const int kind : {PHOTOMETRIC_MINISBLACK, PHOTOMETRIC_RGB, PHOTOMETRIC_YCBCR}) {
    for (const bool tiled : {false, true}) {
      CAPTURE(kind);
      CAPTURE(tiled);
      TiffPage p = page(100, 140, kind == PHOTOMETRIC_MINISBLACK ? 1 : 3, 8);
      p.photometric = kind;
      p.compression = COMPRESSION_JPEG;
      p.rows_per_strip = 32;
      if (tiled) p.tile_height = 48, p.tile_width = 64;
      p.value = smooth;
      check_pixels<std::uint8_t>(
          TiffInMemory::write({p}), {}, {100, 140, p.samples},
          [&](Index i, Index j, Index c) { return static_cast<double>(smooth(i, j, static_cast<int>(c))); }, 8, 1.5);
    }
  }
  if (TIFFIsCODECConfigured(COMPRESSION_WEBP) == 1) {
    TiffPage p = page(100, 140, 3, 8);
    p.compression = COMPRESSION_WEBP;
    p.tile_height = p.tile_width = 64;
    p.value = smooth;
    check_pixels<std::uint8_t>(
        TiffInMemory::write({p}), {}, {100, 140, 3},
        [&](Index i, Index j, Index c) { return static_cast<double>(smooth(i, j, static_cast<int>(c))); }, 40, 4);
  }
}

TEST_CASE("TIFF: a strip too large to keep is decoded by rows, planes too") {
  for (const bool planar : {false, true}) {
    for (const int compression : {COMPRESSION_ADOBE_DEFLATE, COMPRESSION_JPEG, COMPRESSION_NONE}) {
      for (const Index rows : {Index{900}, Index{400}}) {
        if (compression == COMPRESSION_JPEG && planar) continue;
        CAPTURE(planar);
        CAPTURE(compression);
        CAPTURE(rows);
        TiffPage p = page(900, 1100, 3, 8);
        p.planar = planar;
        p.compression = compression;
        p.rows_per_strip = rows;
        p.value = smooth;
        if (compression == COMPRESSION_JPEG) p.photometric = PHOTOMETRIC_YCBCR;
        const Bytes file = TiffInMemory::write({p});
        fovea::TiffDecoder<std::uint8_t> decoder{std::span(file)};
        const bool by_rows = compression != COMPRESSION_NONE;
        CHECK(decoder.info().sequential == by_rows);
        if (by_rows) CHECK(decoder.info().levels[0].tile == Extents<2>{16, 128});
        ImageFileOptions options;
        options.overview_pixels = 1;
        const auto image = fovea::open_tiff(std::span(file), options);
        // Back and forth, and several together.
        const std::array<fovea::LevelBox, 3> boxes{{{0, {500, 20, 40, 30}}, {0, {100, 1000, 64, 64}}, {0, {120, 3, 300, 90}}}};
        fovea::prepare(image, boxes);
        const std::int64_t after = image.decoded().pixels;
        for (const auto& [level, box] : boxes) {
          const auto pixels = fovea::read_exactly(image, level, box);
          double worst = 0;
          for (Index i = 0; i < box.height; ++i) {
            for (Index j = 0; j < box.width; ++j) {
              for (Index c = 0; c < 3; ++c) {
                worst = std::max(worst, std::abs(static_cast<double>(smooth(box.top + i, box.left + j, static_cast<int>(c))) -
                                                 pixels(i, j, c)));
              }
            }
          }
          CHECK(worst <= (compression == COMPRESSION_JPEG ? 8 : 0));
        }
        if (by_rows) {
          CHECK(image.decoded().pixels == after);
          CHECK(after <= 552 * 1100);
        }
        Index seen = 0;
        decoder.scan(0, [&](Index i, const std::uint8_t* row) {
          CHECK(i == seen++);
          CHECK(std::abs(static_cast<int>(row[3 * 77 + 1]) - static_cast<int>(smooth(i, 77, 1))) <= 8);
        });
        CHECK(seen == 900);
      }
    }
  }
}

TEST_CASE("TIFF: the levels of a pyramid, in pages and in sub-IFDs, are found, thumbnails and labels are none") {
  const auto level = [](Index height, Index width, int kind, unsigned grey, bool tiled = true) {
    TiffPage p = page(height, width, 1, 8);
    if (tiled) p.tile_height = p.tile_width = 64;
    p.kind = kind;
    p.compression = COMPRESSION_LZW;
    p.value = [grey](Index, Index, int) { return grey; };
    return p;
  };
  const auto greys = [](const Bytes& file) {
    ImageFileOptions options;
    options.overview_pixels = 1;
    const auto image = fovea::open_tiff(std::span(file), options);
    fovea::TiffDecoder<std::uint8_t> decoder{std::span(file)};
    std::vector<int> found;
    for (const fovea::StoredLevel& l : decoder.info().levels) {
      std::uint8_t v = 0;
      const PixelBox box{l.extent[0] - 1, l.extent[1] - 1, 1, 1};
      const fovea::Tile<std::uint8_t> tile{box, {&v, {1, 1, 1}}};
      decoder.decode(static_cast<int>(&l - decoder.info().levels.data()), std::span(&tile, 1));
      found.push_back(v);
    }
    return found;
  };
  SUBCASE("pages marked as reduced, fine to coarse or not") {
    CHECK(greys(TiffInMemory::write({level(301, 405, 0, 1), level(151, 203, 1, 2), level(76, 102, 1, 3)})) ==
          std::vector{1, 2, 3});
    CHECK(greys(TiffInMemory::write({level(301, 405, 0, 1), level(76, 102, 1, 3), level(151, 203, 1, 2)}, "w8")) ==
          std::vector{1, 2, 3});
  }
  SUBCASE("pages not marked") {
    CHECK(greys(TiffInMemory::write({level(301, 405, 0, 1), level(150, 202, 0, 2), level(75, 101, 0, 3)})) ==
          std::vector{1, 2, 3});
  }
  SUBCASE("sub-IFDs, before other pages") {
    TiffPage first = level(301, 405, 0, 1);
    first.children = 2;
    CHECK(greys(TiffInMemory::write({first, level(151, 203, 1, 2), level(76, 102, 1, 3), level(301, 405, 0, 9)})) ==
          std::vector{1, 2, 3});
  }
  SUBCASE("not levels: other shapes, masks, thumbnails in strips, the next picture of a document") {
    CHECK(greys(TiffInMemory::write({level(301, 405, 0, 1), level(120, 160, 0, 9, false), level(151, 203, 0, 2),
                                     level(100, 203, 1, 9), level(76, 102, FILETYPE_MASK | 1, 9), level(301, 405, 0, 9),
                                     level(90, 90, 9, 9)})) == std::vector{1, 2});
  }
  SUBCASE("in a file of strips, strips are levels") {
    CHECK(greys(TiffInMemory::write({level(301, 405, 0, 1, false), level(151, 203, 0, 2, false)})) == std::vector{1, 2});
  }
  SUBCASE("ratios") {
    const Bytes file = TiffInMemory::write(
        {level(301, 405, 0, 1), level(151, 203, 1, 2), level(100, 135, 1, 3), level(75, 101, 1, 4), level(10, 13, 1, 5)});
    fovea::TiffDecoder<std::uint8_t> decoder{std::span(file)};
    const auto& levels = decoder.info().levels;
    REQUIRE(levels.size() == 5);
    CHECK(levels[1].ratio == std::array{2.0, 2.0});
    CHECK(levels[2].ratio == std::array{3.01, 3.0});
    CHECK(levels[3].ratio == std::array{301.0 / 75, 405.0 / 101});  // halved rounding down
    CHECK(levels[4].ratio == std::array{32.0, 32.0});
  }
}

TEST_CASE("TIFF: tiles never written are zero and cost nothing") {
  TiffPage p = page(200, 300, 3, 8);
  p.tile_height = p.tile_width = 64;
  p.compression = COMPRESSION_ADOBE_DEFLATE;
  p.absent = [](std::uint32_t number) { return number != 6; };
  const Bytes file = TiffInMemory::write({p});
  fovea::TiffDecoder<std::uint8_t> decoder{std::span(file)};
  decoder.scan(0, [&](Index i, const std::uint8_t* row) {
    for (Index j = 0; j < 300; ++j) {
      for (Index c = 0; c < 3; ++c) {
        const unsigned expected = i / 64 == 1 && j / 64 == 1 ? p.value(i, j, static_cast<int>(c)) : 0U;
        REQUIRE(row[3 * j + c] == expected);
      }
    }
  });
  CHECK(decoder.decoded().pixels == 64 * 64);
}

TEST_CASE("TIFF: the orientation is that of tag 274") {
  TiffPage p = page(20, 30, 1, 8);
  p.orientation = 6;
  const Bytes file = TiffInMemory::write({p});
  const auto image = fovea::open_tiff(std::span(file));
  CHECK(image.extent() == Extents<2>{30, 20});
  CHECK(fovea::read_exactly(image, 0, {0, 19, 1, 1})(0, 0, 0) == p.value(0, 0, 0));
}

TEST_CASE("TIFF: what is not read is refused with a sentence") {
  const auto says = [](const TiffPage& p, const char* what) {
    const Bytes file = TiffInMemory::write({p});
    const std::string message = message_of([&] { read_all(file); });
    CHECK_MESSAGE(message.find(what) != std::string::npos, message);
  };
  TiffPage p = page(20, 30, 1, 32);
  p.format = SAMPLEFORMAT_IEEEFP;
  says(p, "floating point");
  p = page(20, 30, 1, 8);
  p.format = SAMPLEFORMAT_INT;
  says(p, "unsigned samples expected");
  p = page(20, 30, 3, 8);
  p.photometric = PHOTOMETRIC_CIELAB;
  says(p, "photometric interpretation 8 came");
  p.photometric = PHOTOMETRIC_YCBCR;
  says(p, "YCbCr");
  ImageFileOptions two;
  two.channels = 2;
  const Bytes file = TiffInMemory::write({page(20, 30, 3, 8)});
  CHECK_THROWS_AS((void)fovea::open_tiff(std::span(file), two), fovea::Error);
  const Bytes none(100, std::byte{7});
  CHECK(message_of([&] { read_all(none); }).find("Not a TIFF") != std::string::npos);
  CHECK_THROWS_AS(read_all({}), fovea::Error);
  CHECK_THROWS_AS((void)fovea::open_tiff(std::filesystem::path("/nowhere.tif")), fovea::Error);
  CHECK_THROWS_AS((void)fovea::open_tiff(std::filesystem::temp_directory_path()), fovea::Error);
}

TEST_CASE("TIFF: a file cut anywhere is an Error or all there, bytes changed never read astray") {
  for (const int compression : {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_JPEG}) {
    CAPTURE(compression);
    TiffPage first = page(90, 110, 3, 8);
    first.photometric = compression == COMPRESSION_JPEG ? PHOTOMETRIC_YCBCR : PHOTOMETRIC_RGB;
    first.tile_height = first.tile_width = 48;
    first.compression = compression;
    first.value = [](Index i, Index j, int s) { return (smooth(i, j, s) + pattern(i, j, s, 4)) & 255U; };
    first.children = 1;
    TiffPage second = first;
    second.children = 0;
    second.height = 45;
    second.width = 55;
    second.kind = 1;
    const Bytes file = TiffInMemory::write({first, second});
    CHECK_NOTHROW(read_all(file));
    // Of what follows the last byte that matters there is nothing: the directory of the second page lies at the end.
    int refused = 0;
    int cuts = 0;
    for (std::size_t size = 1; size < file.size(); size += 1 + file.size() / 150, ++cuts) {
      const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
      refused += message_of([&] { read_all(cut); }).empty() ? 0 : 1;
    }
    CHECK(refused == cuts);
    fovea::Stream stream(3);
    for (int i = 0; i < 300; ++i) {
      Bytes changed = file;
      for (int k = 0; k < 3; ++k) {
        const auto at = static_cast<std::size_t>(stream.uniform(0.0, 1.0) * static_cast<double>(file.size() - 1));
        changed[at] = static_cast<std::byte>(stream.uniform(0.0, 1.0) * 256);
      }
      (void)message_of([&] { read_all(changed); });
    }
  }
}

TEST_CASE("TIFF: a JPEG tile cut short within the file is an Error, not grey") {
  TiffPage p = page(64, 64, 3, 8);
  p.photometric = PHOTOMETRIC_YCBCR;
  p.compression = COMPRESSION_JPEG;
  p.tile_height = p.tile_width = 64;
  p.value = [](Index i, Index j, int s) { return pattern(i, j, s, 8); };
  Bytes file = TiffInMemory::write({p});
  // The second half of the tile becomes an end of image.
  const std::array<std::byte, 2> end{std::byte{0xFF}, std::byte{0xD9}};
  for (std::size_t at = 1500; at < 2500; at += 2)
    std::copy(end.begin(), end.end(), file.begin() + static_cast<std::ptrdiff_t>(at));
  const std::string message = message_of([&] { read_all(file); });
  CHECK_MESSAGE(message.find("JPEG") != std::string::npos, message);
}

TEST_CASE("TIFF: hostile directories") {
  // Built by hand, little-endian classic: {tag, type, count, value}.
  struct Entry {
    unsigned tag, type, count, value;
  };
  const auto build = [](const std::vector<std::vector<Entry>>& directories, const std::vector<unsigned>& next,
                        std::size_t tail = 64) {
    Bytes out;
    const auto put = [&](unsigned v, int bytes) {
      for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::byte>(v >> static_cast<unsigned>(8 * i)));
    };
    put(0x4949, 2);
    put(42, 2);
    put(8, 4);
    for (std::size_t d = 0; d < directories.size(); ++d) {
      put(static_cast<unsigned>(directories[d].size()), 2);
      for (const Entry& e : directories[d]) put(e.tag, 2), put(e.type, 2), put(e.count, 4), put(e.value, 4);
      put(next[d], 4);
    }
    out.resize(out.size() + tail);
    return out;
  };
  const auto tiled = [](unsigned height, unsigned width, unsigned tile_height, unsigned tile_width) {
    return std::vector<Entry>{{256, 4, 1, width}, {257, 4, 1, height}, {258, 3, 1, 8},          {259, 3, 1, 1},
                              {262, 3, 1, 1},     {277, 3, 1, 1},      {322, 4, 1, tile_width}, {323, 4, 1, tile_height},
                              {324, 4, 1, 8},     {325, 4, 1, 64}};
  };
  const auto refused = [](const Bytes& file) {
    const std::string message = message_of([&] { read_all(file); });
    CAPTURE(message);
    CHECK(message.rfind("tiff: ", 0) == 0);
  };
  CHECK_NOTHROW(read_all(build({tiled(8, 8, 16, 16)}, {0}, 256)));
  SUBCASE("a directory whose next is itself") { refused(build({tiled(8, 8, 16, 16)}, {8}, 256)); }
  SUBCASE("two directories in a circle") {
    const auto size = static_cast<unsigned>(2 + 12 * tiled(1, 1, 16, 16).size() + 4);
    refused(build({tiled(64, 64, 16, 16), tiled(32, 32, 16, 16)}, {8 + size, 8}, 4096));
  }
  SUBCASE("a sub-directory that is the picture itself is no level") {
    auto entries = tiled(8, 8, 16, 16);
    entries.push_back({330, 4, 1, 8});
    CHECK_NOTHROW(read_all(build({entries}, {0}, 256)));
  }
  SUBCASE("a sub-directory behind the end") {
    auto entries = tiled(8, 8, 16, 16);
    entries.push_back({330, 4, 1, 100000});
    refused(build({entries}, {0}, 256));
  }
  SUBCASE("no height, no width, no tiles, no samples") {
    for (const auto& e : {tiled(0, 8, 16, 16), tiled(8, 0, 16, 16), tiled(8, 8, 0, 16), tiled(8, 8, 16, 0)})
      refused(build({e}, {0}));
    for (std::size_t i = 0; i < 10; ++i) {
      // Depth, compression, photometric interpretation and samples have values for where they are missing.
      if (i >= 2 && i <= 5) continue;
      auto entries = tiled(8, 8, 16, 16);
      entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(i));
      CAPTURE(i);
      refused(build({entries}, {0}, i == 9 ? 0 : 64));
    }
  }
  SUBCASE("tiles, rows and pictures beyond all measure") {
    refused(build({tiled(0x10000, 0x10000, 0x10000, 0x10000)}, {0}));
    refused(build({tiled(0xFFFFFFF0U, 0xFFFFFFF0U, 16, 16)}, {0}));
    refused(build({tiled(16, 0x00FFFFFFU, 16, 16)}, {0}));
    refused(build({tiled(64, 64, 16, 0xFFFFFFF0U)}, {0}));
  }
}

TEST_CASE("TiffPyramidWriter: what is written is the pyramid of the picture, for every layout") {
  const TemporaryFolder temporary;
  const auto path = temporary.path / "pyramid.tif";
  const auto check = [&]<class P>(P, Extents<2> extent, Index channels, const fovea::TiffPyramidOptions& options,
                                  double tolerance) {
    fovea::Tensor<P, 3> image({extent[0], extent[1], channels});
    for (Index i = 0; i < extent[0]; ++i) {
      for (Index j = 0; j < extent[1]; ++j) {
        for (Index c = 0; c < channels; ++c) {
          image(i, j, c) = static_cast<P>(options.compression == fovea::TiffCompression::jpeg
                                              ? smooth(i, j, static_cast<int>(c))
                                              : pattern(i, j, static_cast<int>(c), 8 * sizeof(P)));
        }
      }
    }
    {
      fovea::TiffPyramidWriter<P> writer(path, extent, channels, options);
      for (Index i = 0; i < extent[0]; ++i) writer.add_row(image.data() + i * extent[1] * channels);
      CHECK_FALSE(std::filesystem::exists(path));
      writer.finish();
    }
    const fovea::Pyramid<P> pyramid(image.view());
    fovea::TiffDecoder<P> decoder(path, channels);
    Index side = std::max(extent[0], extent[1]);
    std::size_t levels = 1;
    for (; side > options.tile; side = (side + 1) / 2) ++levels;
    CHECK(decoder.info().levels.size() == levels);
    for (std::size_t k = 0; k < decoder.info().levels.size(); ++k) {
      const auto& stored = decoder.info().levels[k];
      const auto ratio = static_cast<double>(Index{1} << k);
      CHECK(stored.tile == Extents<2>{options.tile, options.tile});
      CHECK(stored.ratio == std::array{ratio, ratio});
      REQUIRE(stored.extent == pyramid.level_extent(static_cast<int>(k)));
      double worst = 0;
      decoder.scan(static_cast<int>(k), [&](Index i, const P* row) {
        for (Index j = 0; j < stored.extent[1]; ++j) {
          for (Index c = 0; c < channels; ++c) {
            worst = std::max(worst, std::abs(static_cast<double>(pyramid.level(static_cast<int>(k))(i, j, c)) -
                                             static_cast<double>(row[j * channels + c])));
          }
        }
      });
      CHECK(worst <= tolerance);
    }
    std::filesystem::remove(path);
  };
  using fovea::TiffCompression;
  for (const bool sub_ifds : {false, true}) {
    CAPTURE(sub_ifds);
    const fovea::TiffPyramidOptions deflate{64, TiffCompression::deflate, 90, sub_ifds};
    check(std::uint8_t{}, {301, 405}, 3, deflate, 0);
    check(std::uint8_t{}, {1, 1}, 1, deflate, 0);
    check(std::uint8_t{}, {130, 7}, 4, deflate, 0);
    check(std::uint8_t{}, {5, 1000}, 1, deflate, 0);
    check(std::uint16_t{}, {203, 130}, 3, deflate, 0);
    check(std::uint16_t{}, {64, 64}, 1, deflate, 0);
    const fovea::TiffPyramidOptions jpeg{64, TiffCompression::jpeg, 95, sub_ifds};
    check(std::uint8_t{}, {301, 405}, 3, jpeg, 8);
    check(std::uint8_t{}, {301, 405}, 1, jpeg, 8);
    check(std::uint8_t{}, {301, 405}, 3, {64, TiffCompression::jpeg, 85, sub_ifds}, 20);
  }
}

TEST_CASE("TiffPyramidWriter: what fails leaves nothing behind, and what was there before") {
  const TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path;
  const auto path = folder / "a.tif";
  std::ofstream(path) << "old";
  {
    fovea::TiffPyramidWriter<std::uint8_t> writer(path, {300, 300}, 1, {});
    const std::vector<std::uint8_t> row(300);
    for (int i = 0; i < 299; ++i) writer.add_row(row.data());
    CHECK_THROWS_AS(writer.finish(), fovea::Error);
    writer.add_row(row.data());
    CHECK_THROWS_AS(writer.add_row(row.data()), fovea::Error);
  }
  CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
  std::string text;
  std::ifstream(path) >> text;
  CHECK(text == "old");
  using Writer = fovea::TiffPyramidWriter<std::uint8_t>;
  CHECK_THROWS_AS(Writer(folder / "none" / "a.tif", {30, 30}, 1, {}), fovea::Error);
  CHECK_THROWS_AS(Writer(path, {30, 30}, 2, {}), fovea::Error);
  CHECK_THROWS_AS(Writer(path, {0, 30}, 1, {}), fovea::Error);
  CHECK_THROWS_AS(Writer(path, {30, 30}, 1, {100}), fovea::Error);
  CHECK_THROWS_AS(Writer(path, {30, 30}, 4, {.compression = fovea::TiffCompression::jpeg}), fovea::Error);
  CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
}

TEST_CASE("TIFF: what fuzzing found stays found") {
  const std::filesystem::path folder = FOVEA_TESTS_SOURCE_DIR "/golden/fuzz/tiff";
  if (!std::filesystem::is_directory(folder)) return;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::vector<char> text((std::istreambuf_iterator<char>(in)), {});
    Bytes file(text.size());
    std::transform(text.begin(), text.end(), file.begin(), [](char c) { return static_cast<std::byte>(c); });
    CAPTURE(entry.path().string());
    (void)message_of([&] { read_all(file); });
  }
}
