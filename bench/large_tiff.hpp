// SPDX-License-Identifier: MIT
/// \file
/// A picture of 10 gigapixels in a file of a few megabytes: tiled, with all its resolutions, and nothing in it is empty. Needs
/// libtiff.
#pragma once

#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/tiff_pyramid_writer.hpp>

#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace bench {

/// Writes an RGB picture of side x side pixels as BigTIFF in tiles of 256x256, with levels of ceil(side / 2^k) as pages, down
/// to the first that fits a tile. It repeats itself, and so do its tiles: each is stored once, and the directories point at it
/// as often as it comes up, which readers cannot tell from a file of distinct tiles. A second or two, 10 to 20 MB at 100,000.
///
/// The picture is a texture of 1024 pixels, which comes in 8 tints, laid out as a pattern of 8x8 textures; every level has its
/// averages (at the right and lower edge, those of the picture continued).
class LargeTiff {
 public:
  static void write(const std::filesystem::path& path, fovea::Index side, fovea::TiffCompression compression) {
    LargeTiff(path, compression).run(side);
  }

 private:
  using Index = fovea::Index;
  static constexpr Index kTile = 256;
  static constexpr Index kTexture = 1024;
  static constexpr Index kPattern = 8;

  struct Place {
    std::uint64_t offset = 0;
    std::uint32_t size = 0;
  };
  struct Entry {
    std::uint16_t tag;
    std::uint16_t type;
    std::uint64_t count;
    std::uint64_t value;
  };

  LargeTiff(const std::filesystem::path& path, fovea::TiffCompression compression)
      : path_(path), compression_(compression), out_(path, std::ios::binary) {
    fovea::require(out_.good(), "large tiff: ", path.string(), " cannot be written");
  }

  void run(Index side) {
    make_textures();
    // The header of BigTIFF; where the first directory is comes last.
    put(0x4949, 2), put(43, 2), put(8, 2), put(0, 2), put(0, 8);
    std::uint64_t link = 8;
    for (int k = 0;; ++k) {
      const Index extent = (side + (Index{1} << k) - 1) >> k;
      write_level(k, extent, link);
      if (extent <= kTile) break;
    }
    out_.flush();
    fovea::require(out_.good(), "large tiff: ", path_.string(), " cannot be written");
    std::filesystem::remove(tile_path());
  }

  /// Level k of the texture: averages of 2x2 of the one above, without rounding.
  void make_textures() {
    std::vector<double> finest(static_cast<std::size_t>(kTexture * kTexture * 3));
    std::uint32_t noise = 1;
    for (Index i = 0; i < kTexture; ++i) {
      for (Index j = 0; j < kTexture; ++j) {
        const double y = 6.283185307179586 / kTexture * static_cast<double>(i);
        const double x = 6.283185307179586 / kTexture * static_cast<double>(j);
        for (Index c = 0; c < 3; ++c) {
          noise = noise * 1664525U + 1013904223U;
          finest[static_cast<std::size_t>((i * kTexture + j) * 3 + c)] =
              20 * std::sin(3 * y + static_cast<double>(c)) * std::cos(5 * x) + 15 * std::sin(40 * x + 9 * y) +
              10 * std::cos(111 * y) + 10 * (static_cast<double>(noise >> 8U) / (1U << 24U) - 0.5);
        }
      }
    }
    textures_.push_back(std::move(finest));
    for (Index side = kTexture / 2; side >= 1; side /= 2) {
      const std::vector<double>& above = textures_.back();
      std::vector<double> below(static_cast<std::size_t>(side * side * 3));
      for (Index i = 0; i < side; ++i) {
        for (Index j = 0; j < side * 3; ++j) {
          const Index at = (2 * i * 2 * side + j / 3 * 2) * 3 + j % 3;
          const auto of = [&](Index o) { return above[static_cast<std::size_t>(at + o)]; };
          below[static_cast<std::size_t>(i * side * 3 + j)] = (of(0) + of(3) + of(6 * side) + of(6 * side + 3)) / 4;
        }
      }
      textures_.push_back(std::move(below));
    }
  }

  /// Which of the 8 tints the texture at (row, column) has.
  [[nodiscard]] static Index kind(Index row, Index column) noexcept {
    row %= kPattern, column %= kPattern;
    return (row * row * 3 + column * 5 + row * column) % 8;
  }
  [[nodiscard]] static double tint(Index kind, Index channel) noexcept {
    return 128 + 60 * std::sin(static_cast<double>(kind) * 0.8 + static_cast<double>(channel) * 2.1);
  }

  /// The tile at (row, column) of level k.
  void draw(int k, Index row, Index column, std::vector<std::uint8_t>& tile) const {
    // Beyond the last texture, of one pixel, that of the pattern's average would follow: it is not drawn that small.
    const auto level = std::min(static_cast<std::size_t>(k), textures_.size() - 1);
    const Index side = kTexture >> level;
    const Index step = Index{1} << (static_cast<std::size_t>(k) - level);
    tile.resize(static_cast<std::size_t>(kTile * kTile * 3));
    for (Index i = 0; i < kTile; ++i) {
      for (Index j = 0; j < kTile; ++j) {
        const Index y = (row * kTile + i) * step;
        const Index x = (column * kTile + j) * step;
        const Index which = kind(y / side, x / side);
        for (Index c = 0; c < 3; ++c) {
          const double v = textures_[level][static_cast<std::size_t>((y % side * side + x % side) * 3 + c)] + tint(which, c);
          tile[static_cast<std::size_t>((i * kTile + j) * 3 + c)] =
              static_cast<std::uint8_t>(std::lround(std::clamp(v, 0.0, 255.0)));
        }
      }
    }
  }

  /// What a tile depends on: its place in the texture and the tint, or its place in the pattern.
  [[nodiscard]] static std::array<Index, 4> key(int k, Index row, Index column) noexcept {
    const Index tiles = std::max(Index{1}, (kTexture >> k) / kTile);
    if ((kTexture >> k) >= kTile) return {k, row % tiles, column % tiles, kind(row / tiles, column / tiles)};
    const Index period = std::max(Index{1}, (kTexture * kPattern >> k) / kTile);
    return {k, row % period, column % period, -1};
  }

  [[nodiscard]] std::filesystem::path tile_path() const { return path_.string() + ".tile"; }

  /// Compresses one tile, by libtiff, as the only one of a file.
  [[nodiscard]] std::vector<char> compress(std::vector<std::uint8_t>& tile) {
    {
      const fovea::detail::TiffOutput file(tile_path(), "w");
      file.set(TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(kTile));
      file.set(TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(kTile));
      file.set(TIFFTAG_TILEWIDTH, static_cast<std::uint32_t>(kTile));
      file.set(TIFFTAG_TILELENGTH, static_cast<std::uint32_t>(kTile));
      file.set(TIFFTAG_BITSPERSAMPLE, 8);
      file.set(TIFFTAG_SAMPLESPERPIXEL, 3);
      file.set(TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
      if (jpeg()) {
        file.set(TIFFTAG_COMPRESSION, COMPRESSION_JPEG);
        file.set(TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_YCBCR);
        file.set(TIFFTAG_JPEGQUALITY, 85);
        file.set(TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
      } else {
        file.set(TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
        file.set(TIFFTAG_PREDICTOR, PREDICTOR_HORIZONTAL);
        file.set(TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
      }
      const auto bytes = static_cast<tmsize_t>(tile.size());
      file.check(TIFFWriteEncodedTile(file.get(), 0, tile.data(), bytes) == bytes);
      file.check(TIFFWriteDirectory(file.get()) == 1);
    }
    const fovea::detail::TiffOutput file(tile_path(), "r");
    std::vector<char> bytes(static_cast<std::size_t>(TIFFGetStrileByteCount(file.get(), 0)));
    const auto size = static_cast<tmsize_t>(bytes.size());
    file.check(TIFFReadRawTile(file.get(), 0, bytes.data(), size) == size);
    if (jpeg() && tables_.empty()) {
      std::uint32_t count = 0;
      const char* tables = nullptr;
      file.check(TIFFGetField(file.get(), TIFFTAG_JPEGTABLES, &count, &tables) == 1);
      tables_.assign(tables, tables + count);
    }
    return bytes;
  }

  void write_level(int k, Index extent, std::uint64_t& link) {
    const Index tiles = (extent + kTile - 1) / kTile;
    std::map<std::array<Index, 4>, Place> known;
    std::vector<Place> places;
    places.reserve(static_cast<std::size_t>(tiles * tiles));
    std::vector<std::uint8_t> pixels;
    for (Index row = 0; row < tiles; ++row) {
      for (Index column = 0; column < tiles; ++column) {
        const auto [at, fresh] = known.try_emplace(key(k, row, column));
        if (fresh) {
          draw(k, row, column, pixels);
          const std::vector<char> bytes = compress(pixels);
          at->second = {append(bytes.data(), bytes.size()), static_cast<std::uint32_t>(bytes.size())};
        }
        places.push_back(at->second);
      }
    }
    const auto count = static_cast<std::uint64_t>(places.size());
    std::vector<std::uint64_t> offsets;
    std::vector<std::uint32_t> sizes;
    for (const Place& p : places) offsets.push_back(p.offset), sizes.push_back(p.size);
    constexpr std::uint16_t kShort = 3;
    constexpr std::uint16_t kLong = 4;
    constexpr std::uint16_t kLong8 = 16;
    constexpr std::uint16_t kUndefined = 7;
    // One value lies in the directory itself.
    const std::uint64_t offsets_at = count == 1 ? offsets[0] : append(offsets.data(), offsets.size() * 8);
    const std::uint64_t sizes_at = count == 1 ? sizes[0] : append(sizes.data(), sizes.size() * 4);
    const auto side = static_cast<std::uint64_t>(extent);
    std::vector<Entry> entries{
        {TIFFTAG_SUBFILETYPE, kLong, 1, k == 0 ? 0U : 1U},
        {TIFFTAG_IMAGEWIDTH, kLong, 1, side},
        {TIFFTAG_IMAGELENGTH, kLong, 1, side},
        {TIFFTAG_BITSPERSAMPLE, kShort, 3, 0x0000'0008'0008'0008U},
        {TIFFTAG_COMPRESSION, kShort, 1, jpeg() ? std::uint64_t{COMPRESSION_JPEG} : std::uint64_t{COMPRESSION_ADOBE_DEFLATE}},
        {TIFFTAG_PHOTOMETRIC, kShort, 1, jpeg() ? std::uint64_t{PHOTOMETRIC_YCBCR} : std::uint64_t{PHOTOMETRIC_RGB}},
        {TIFFTAG_SAMPLESPERPIXEL, kShort, 1, 3},
        {TIFFTAG_PLANARCONFIG, kShort, 1, PLANARCONFIG_CONTIG}};
    if (!jpeg()) entries.push_back({TIFFTAG_PREDICTOR, kShort, 1, PREDICTOR_HORIZONTAL});
    entries.push_back({TIFFTAG_TILEWIDTH, kLong, 1, static_cast<std::uint64_t>(kTile)});
    entries.push_back({TIFFTAG_TILELENGTH, kLong, 1, static_cast<std::uint64_t>(kTile)});
    entries.push_back({TIFFTAG_TILEOFFSETS, kLong8, count, offsets_at});
    entries.push_back({TIFFTAG_TILEBYTECOUNTS, kLong, count, sizes_at});
    if (jpeg()) {
      entries.push_back({TIFFTAG_JPEGTABLES, kUndefined, tables_.size(), append(tables_.data(), tables_.size())});
      entries.push_back({TIFFTAG_YCBCRSUBSAMPLING, kShort, 2, 0x0002'0002U});
    }
    const auto directory = static_cast<std::uint64_t>(out_.tellp());
    put(entries.size(), 8);
    for (const Entry& e : entries) put(e.tag, 2), put(e.type, 2), put(e.count, 8), put(e.value, 8);
    const auto next = static_cast<std::uint64_t>(out_.tellp());
    put(0, 8);
    out_.seekp(static_cast<std::streamoff>(link));
    put(directory, 8);
    out_.seekp(0, std::ios::end);
    link = next;
  }

  /// Returns where it lies: at a multiple of 8.
  std::uint64_t append(const void* data, std::size_t bytes) {
    while (out_.tellp() % 8 != 0) out_.put('\0');
    const auto at = static_cast<std::uint64_t>(out_.tellp());
    out_.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
    return at;
  }
  void put(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out_.put(static_cast<char>(value >> static_cast<unsigned>(8 * i)));
  }
  [[nodiscard]] bool jpeg() const noexcept { return compression_ == fovea::TiffCompression::jpeg; }

  std::filesystem::path path_;
  fovea::TiffCompression compression_;
  std::ofstream out_;
  std::vector<std::vector<double>> textures_;
  std::vector<char> tables_;
};

}  // namespace bench
