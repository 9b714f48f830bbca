// SPDX-License-Identifier: MIT
#pragma once

#include <fovea/core/view.hpp>

#include <tiffio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <vector>

namespace fovea_test {

/// One directory of a TIFF file to be written.
struct TiffPage {
  fovea::Index height = 1;
  fovea::Index width = 1;
  int samples = 1;
  int bits = 8;
  int photometric = PHOTOMETRIC_MINISBLACK;
  int compression = COMPRESSION_NONE;
  fovea::Index tile_height = 0;  ///< 0: strips
  fovea::Index tile_width = 0;
  fovea::Index rows_per_strip = 16;
  bool planar = false;
  int format = SAMPLEFORMAT_UINT;
  int kind = 0;      ///< NewSubfileType
  int children = 0;  ///< so many of the next pages are sub-IFDs
  std::vector<std::uint16_t> extra;
  std::vector<std::uint16_t> palette;
  int orientation = 0;
  int quality = 95;
  /// The sample at (row, column, sample), below 2^bits.
  std::function<unsigned(fovea::Index, fovea::Index, int)> value;
  /// Tiles or strips for which this is true are not written.
  std::function<bool(std::uint32_t)> absent;
};

/// Writes TIFF files into memory, by libtiff alone.
class TiffInMemory {
 public:
  /// `mode` of TIFFOpen: "w", with 8 for BigTIFF, b or l for the byte order.
  [[nodiscard]] static std::vector<std::byte> write(const std::vector<TiffPage>& pages, const char* mode = "w") {
    TiffInMemory memory;
    TIFF* tiff = TIFFClientOpen("memory", mode, &memory, read, put, seek, close, size, nullptr, nullptr);
    if (tiff == nullptr) throw std::runtime_error("TIFFClientOpen");
    for (const TiffPage& page : pages) write_page(tiff, page);
    TIFFClose(tiff);
    return memory.bytes_;
  }

 private:
  static void write_page(TIFF* tiff, const TiffPage& p) {
    TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, p.kind);
    if (p.children > 0) {
      const std::vector<std::uint64_t> offsets(static_cast<std::size_t>(p.children));
      TIFFSetField(tiff, TIFFTAG_SUBIFD, p.children, offsets.data());
    }
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(p.width));
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(p.height));
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, p.bits);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, p.samples);
    TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, p.format);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, p.photometric);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, p.planar ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, p.compression);
    if (p.orientation != 0) TIFFSetField(tiff, TIFFTAG_ORIENTATION, p.orientation);
    if (!p.extra.empty()) TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, static_cast<int>(p.extra.size()), p.extra.data());
    if (!p.palette.empty()) {
      const std::size_t n = p.palette.size() / 3;
      TIFFSetField(tiff, TIFFTAG_COLORMAP, p.palette.data(), p.palette.data() + n, p.palette.data() + 2 * n);
    }
    if (p.compression == COMPRESSION_JPEG) {
      TIFFSetField(tiff, TIFFTAG_JPEGQUALITY, p.quality);
      if (p.photometric == PHOTOMETRIC_YCBCR) TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    }
    const bool tiled = p.tile_height > 0;
    if (tiled) {
      TIFFSetField(tiff, TIFFTAG_TILEWIDTH, static_cast<std::uint32_t>(p.tile_width));
      TIFFSetField(tiff, TIFFTAG_TILELENGTH, static_cast<std::uint32_t>(p.tile_height));
    } else {
      TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, static_cast<std::uint32_t>(p.rows_per_strip));
    }
    const fovea::Index height = tiled ? p.tile_height : p.rows_per_strip;
    const fovea::Index width = tiled ? p.tile_width : p.width;
    const int planes = p.planar ? p.samples : 1;
    std::uint32_t number = 0;
    for (int plane = 0; plane < planes; ++plane) {
      for (fovea::Index top = 0; top < p.height; top += height) {
        for (fovea::Index left = 0; left < p.width; left += width, ++number) {
          const fovea::Index rows = tiled ? height : std::min(height, p.height - top);
          std::vector<std::uint8_t> piece = piece_of(p, plane, top, left, rows, width);
          if (p.absent && p.absent(number)) continue;
          const auto bytes = static_cast<tmsize_t>(piece.size());
          const tmsize_t done = tiled ? TIFFWriteEncodedTile(tiff, number, piece.data(), bytes)
                                      : TIFFWriteEncodedStrip(tiff, number, piece.data(), bytes);
          if (done != bytes) throw std::runtime_error("TIFFWriteEncoded");
        }
      }
    }
    if (TIFFWriteDirectory(tiff) != 1) throw std::runtime_error("TIFFWriteDirectory");
  }

  static std::vector<std::uint8_t> piece_of(const TiffPage& p, int plane, fovea::Index top, fovea::Index left,
                                            fovea::Index rows, fovea::Index width) {
    const int samples = p.planar ? 1 : p.samples;
    const fovea::Index row_bytes = (width * samples * p.bits + 7) / 8;
    std::vector<std::uint8_t> piece(static_cast<std::size_t>(rows * row_bytes));
    for (fovea::Index i = 0; i < rows; ++i) {
      for (fovea::Index j = 0; j < width; ++j) {
        for (int s = 0; s < samples; ++s) {
          const unsigned v = p.value(std::min(top + i, p.height - 1), std::min(left + j, p.width - 1), p.planar ? plane : s);
          std::uint8_t* row = piece.data() + i * row_bytes;
          const fovea::Index at = j * samples + s;
          if (p.bits == 32) {
            const auto f = static_cast<float>(v);
            std::memcpy(row + 4 * at, &f, 4);
          } else if (p.bits == 16) {
            const auto word = static_cast<std::uint16_t>(v);
            std::memcpy(row + 2 * at, &word, 2);
          } else {
            const fovea::Index bit = at * p.bits;
            row[bit / 8] = static_cast<std::uint8_t>(row[bit / 8] | v << (8 - p.bits - bit % 8));
          }
        }
      }
    }
    return piece;
  }

  static TiffInMemory& self(thandle_t handle) { return *static_cast<TiffInMemory*>(handle); }
  static tmsize_t read(thandle_t handle, void* to, tmsize_t count) {
    TiffInMemory& m = self(handle);
    const std::size_t n = m.at_ >= m.bytes_.size() ? 0 : std::min(static_cast<std::size_t>(count), m.bytes_.size() - m.at_);
    std::memcpy(to, m.bytes_.data() + m.at_, n);
    m.at_ += n;
    return static_cast<tmsize_t>(n);
  }
  static tmsize_t put(thandle_t handle, void* from, tmsize_t count) {
    TiffInMemory& m = self(handle);
    const auto n = static_cast<std::size_t>(count);
    if (m.bytes_.size() < m.at_ + n) m.bytes_.resize(m.at_ + n);
    std::memcpy(m.bytes_.data() + m.at_, from, n);
    m.at_ += n;
    return count;
  }
  static toff_t seek(thandle_t handle, toff_t offset, int whence) {
    TiffInMemory& m = self(handle);
    m.at_ = static_cast<std::size_t>(offset) + (whence == SEEK_CUR ? m.at_ : (whence == SEEK_END ? m.bytes_.size() : 0U));
    return m.at_;
  }
  static int close(thandle_t /*handle*/) { return 0; }
  static toff_t size(thandle_t handle) { return self(handle).bytes_.size(); }

  std::vector<std::byte> bytes_;
  std::size_t at_ = 0;
};

}  // namespace fovea_test
