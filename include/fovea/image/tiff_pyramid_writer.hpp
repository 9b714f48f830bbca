// SPDX-License-Identifier: MIT
/// \file
/// Pictures as tiled TIFF with all lower resolutions, written from rows as they come, in bounded memory: what makes looking at
/// a large picture cheap. Read by fovea/image/tiff.hpp, and by libvips, GDAL, OpenSlide and QuPath. Needs libtiff
/// (CMake component `tiff`).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/decoder.hpp>
#include <fovea/image/pyramid.hpp>

#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#if TIFFLIB_VERSION < 20221213
#error "fovea/image/tiff_pyramid_writer.hpp: libtiff 4.5 or later expected, whose handles have error handlers of their own"
#endif

namespace fovea::inline FOVEA_ABI {

enum class TiffCompression : std::uint8_t {
  deflate,  ///< exact
  jpeg,     ///< smaller and quicker to read; 8 bits, grey or RGB
};

struct TiffPyramidOptions {
  /// The side of a tile, a multiple of 16.
  Index tile = 256;
  TiffCompression compression = TiffCompression::deflate;
  /// Of JPEG, 1 to 100; from 90 on colour is kept at full resolution.
  int quality = 90;
  /// Lower resolutions in sub-IFDs of the first directory (tag 330; OME-TIFF, QuPath, libvips), not as pages behind it (GDAL,
  /// OpenSlide, libvips).
  bool sub_ifds = false;
  /// Noted in tag 274, so that pictures on their side need not be turned, which takes the whole of them.
  Orientation orientation = Orientation::upright;
};

namespace detail {

/// A libtiff handle for writing; on failure Error says what libtiff said. Not movable: libtiff knows its address.
class TiffOutput {
 public:
  /// `mode`: of TIFFOpen.
  TiffOutput(const std::filesystem::path& path, const char* mode) : name_(path.string()) {
    const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(), TIFFOpenOptionsFree);
    require(options != nullptr, "tiff: no memory");
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), on_error, this);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), ignore, this);
    tiff_ = TIFFOpenExt(name_.c_str(), mode, options.get());
    check(tiff_ != nullptr);
  }
  TiffOutput(const TiffOutput&) = delete;
  TiffOutput& operator=(const TiffOutput&) = delete;
  ~TiffOutput() {
    if (tiff_ != nullptr) TIFFClose(tiff_);
  }

  [[nodiscard]] TIFF* get() const noexcept { return tiff_; }
  void check(bool success) const { require(success, "tiff: ", name_, " cannot be written: ", message_.data()); }
  template <class... Values>
  void set(std::uint32_t tag, Values... values) const {
    check(TIFFSetField(tiff_, tag, values...) == 1);
  }

 private:
  [[gnu::format(printf, 4, 0)]] static int on_error(TIFF* /*tiff*/, void* user, const char* module, const char* form,
                                                    va_list arguments) noexcept {
    auto& message = static_cast<TiffOutput*>(user)->message_;
    if (message[0] != '\0') return 1;
    const int head = module == nullptr ? 0 : std::snprintf(message.data(), message.size(), "%s: ", module);
    const auto from = std::min(static_cast<std::size_t>(std::max(head, 0)), message.size() - 1);
    (void)std::vsnprintf(message.data() + from, message.size() - from, form, arguments);
    return 1;
  }
  [[gnu::format(printf, 4, 0)]] static int ignore(TIFF* /*tiff*/, void* /*user*/, const char* /*module*/, const char* /*form*/,
                                                  va_list /*arguments*/) noexcept {
    return 1;
  }

  std::string name_;
  std::array<char, 512> message_{};
  TIFF* tiff_ = nullptr;
};

/// A file that goes away unless it is kept.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::filesystem::path path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  void rename(const std::filesystem::path& to) {
    std::filesystem::rename(path_, to);
    path_.clear();
  }

 private:
  std::filesystem::path path_;
};

}  // namespace detail

/// Writes the levels of a Pyramid of the picture (exact averages of 2^k x 2^k pixels, rounding up), down to the first that fits
/// a tile:
///
///     TiffPyramidWriter<std::uint8_t> writer(path, {height, width}, 3, {.compression = TiffCompression::jpeg});
///     for (...) writer.add_row(pixels);   // height times, width * 3 elements each
///     writer.finish();
///
/// libtiff writes one directory after the other, so the lower resolutions, a third of the file, wait in files beside it.
/// Memory: two rows of tiles, decoded (one of the picture, the others together the second).
/// `path` appears when all is written, in place of what was there; until then, and where that fails, there are files whose
/// names begin with its name and ".part". BigTIFF where the pixels take 2 GB or more. Throws Error.
template <kernel::Pixel P>
  requires std::is_unsigned_v<P>
class TiffPyramidWriter {
 public:
  /// `extent` {height, width}; `channels` 1, 3 or 4 (with alpha, not associated).
  TiffPyramidWriter(const std::filesystem::path& path, Extents<2> extent, Index channels,
                    const TiffPyramidOptions& options = {})
      : path_(path), extent_(extent), channels_(channels), options_(options) {
    require(extent[0] >= 1 && extent[1] >= 1 && std::max(extent[0], extent[1]) <= Index{0x7FFFFFFF},
            "tiff pyramid: a picture of at least 1x1 pixels expected, ", extent[0], "x", extent[1], " came");
    require(channels == 1 || channels == 3 || channels == 4, "tiff pyramid: 1, 3 or 4 channels expected, ", channels, " came");
    require(options.tile >= 16 && options.tile <= 4096 && options.tile % 16 == 0,
            "tiff pyramid: tiles of 16 to 4096 pixels, a multiple of 16, expected, ", options.tile, " came");
    require(options.quality >= 1 && options.quality <= 100, "tiff pyramid: a quality of 1 to 100 expected, ", options.quality,
            " came");
    require(!jpeg() || (sizeof(P) == 1 && channels != 4), "tiff pyramid: 8 bits, grey or RGB expected for JPEG, ",
            8 * sizeof(P), " bits and ", channels, " channels came");
    int count = 1;
    for (Index side = std::max(extent[0], extent[1]); side > options.tile && count < PyramidView<P>::max_levels; ++count) {
      side = (side + 1) / 2;
    }
    builder_.start(extent, channels, count);
    const double bytes = static_cast<double>(product(extent) * channels) * sizeof(P) * 4 / 3;
    for (int k = 0; k < count; ++k) {
      const std::string suffix = k == 0 ? ".part" : ".part" + std::to_string(k);
      levels_.push_back(std::make_unique<Level>(path.string() + suffix, bytes >= 2e9 ? "w8" : "w"));
      Level& level = *levels_.back();
      level.extent = builder_.level_extent(k);
      level.band.resize(static_cast<std::size_t>(std::min(options.tile, level.extent[0]) * level.extent[1] * channels));
      if (k == 0 && count > 1 && options.sub_ifds) set_children(level.output, count - 1);
      set_fields(level.output, level.extent, k > 0);
      if (jpeg()) {
        level.output.set(TIFFTAG_JPEGQUALITY, options.quality);
        if (channels == 3) level.output.set(TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
      }
    }
    tile_.resize(static_cast<std::size_t>(options.tile * options.tile * channels));
  }

  /// Rows so far.
  [[nodiscard]] Index rows() const noexcept { return row_; }

  /// The next row: width * channels elements.
  void add_row(const P* pixels) {
    require(row_ < extent_[0], "tiff pyramid: ", extent_[0], " rows expected, more came");
    const Index size = extent_[1] * channels_;
    P* here = place(0, row_);
    std::copy_n(pixels, size, here);
    // Both rows of a pair lie in the same band, since tiles have an even number of rows.
    const auto to = [this](int k, Index i) { return place(k, i); };
    const auto finished = [this](int k, Index i) { finish_row(k, i); };
    if (row_ % 2 == 1) {
      builder_.add_rows(here - size, here, to, finished);
    } else if (row_ + 1 == extent_[0]) {
      builder_.add_rows(here, static_cast<const P*>(nullptr), to, finished);
    }
    finish_row(0, row_++);
  }

  /// Puts the file together and in its place.
  void finish() {
    require(row_ == extent_[0], "tiff pyramid: ", extent_[0], " rows expected, ", row_, " came");
    const detail::TiffOutput& output = levels_.front()->output;
    output.check(TIFFWriteDirectory(output.get()) == 1);
    for (std::size_t k = 1; k < levels_.size(); ++k) {
      append(output, *levels_[k]);
      levels_[k].reset();
    }
    output.check(TIFFFlush(output.get()) == 1);
    // TIFFClose has nothing left to write and cannot fail any more.
    levels_.front()->close();
    levels_.front()->file.rename(path_);
    levels_.clear();
  }

 private:
  struct Level {
    detail::TemporaryFile file;  // before the output: closed first, then removed
    std::unique_ptr<detail::TiffOutput> handle;
    detail::TiffOutput& output;
    Extents<2> extent{};
    std::vector<P> band;  ///< a row of tiles

    Level(const std::filesystem::path& path, const char* mode)
        : file(path), handle(std::make_unique<detail::TiffOutput>(path, mode)), output(*handle) {}
    void close() { handle.reset(); }
  };

  [[nodiscard]] bool jpeg() const noexcept { return options_.compression == TiffCompression::jpeg; }

  static void set_children(const detail::TiffOutput& output, int count) {
    const std::vector<std::uint64_t> offsets(static_cast<std::size_t>(count));  // libtiff fills them in
    output.set(TIFFTAG_SUBIFD, count, offsets.data());
  }

  void set_fields(const detail::TiffOutput& output, Extents<2> extent, bool reduced) const {
    output.set(TIFFTAG_SUBFILETYPE, reduced ? FILETYPE_REDUCEDIMAGE : 0);
    output.set(TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(extent[1]));
    output.set(TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(extent[0]));
    output.set(TIFFTAG_TILEWIDTH, static_cast<std::uint32_t>(options_.tile));
    output.set(TIFFTAG_TILELENGTH, static_cast<std::uint32_t>(options_.tile));
    output.set(TIFFTAG_BITSPERSAMPLE, static_cast<int>(8 * sizeof(P)));
    output.set(TIFFTAG_SAMPLESPERPIXEL, static_cast<int>(channels_));
    output.set(TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
    output.set(TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    output.set(TIFFTAG_ORIENTATION, static_cast<int>(options_.orientation));
    if (channels_ == 4) {
      const std::uint16_t alpha = EXTRASAMPLE_UNASSALPHA;
      output.set(TIFFTAG_EXTRASAMPLES, 1, &alpha);
    }
    if (jpeg()) {
      output.set(TIFFTAG_COMPRESSION, COMPRESSION_JPEG);
      output.set(TIFFTAG_PHOTOMETRIC, channels_ == 3 ? PHOTOMETRIC_YCBCR : PHOTOMETRIC_MINISBLACK);
      const int factor = options_.quality >= 90 ? 1 : 2;
      if (channels_ == 3) output.set(TIFFTAG_YCBCRSUBSAMPLING, factor, factor);
      return;
    }
    output.set(TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
    output.set(TIFFTAG_PREDICTOR, PREDICTOR_HORIZONTAL);
    output.set(TIFFTAG_PHOTOMETRIC, channels_ == 1 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB);
  }

  [[nodiscard]] P* place(int k, Index row) noexcept {
    Level& level = *levels_[static_cast<std::size_t>(k)];
    return level.band.data() + row % options_.tile * level.extent[1] * channels_;
  }

  void finish_row(int k, Index row) {
    Level& level = *levels_[static_cast<std::size_t>(k)];
    if ((row + 1) % options_.tile == 0 || row + 1 == level.extent[0]) write_band(level, row / options_.tile * options_.tile);
  }

  /// The rows of a level from `top` on, as tiles; beyond the edges the last pixels are repeated, which costs JPEG least.
  void write_band(const Level& level, Index top) {
    const Index side = options_.tile;
    const Index rows = std::min(side, level.extent[0] - top);
    for (Index left = 0; left < level.extent[1]; left += side) {
      const Index columns = std::min(side, level.extent[1] - left);
      for (Index i = 0; i < side; ++i) {
        const P* from = level.band.data() + (std::min(i, rows - 1) * level.extent[1] + left) * channels_;
        P* to = tile_.data() + i * side * channels_;
        std::copy_n(from, columns * channels_, to);
        for (Index j = columns * channels_; j < side * channels_; ++j) to[j] = to[j - channels_];
      }
      // libtiff's predictor works in place: the tile is its to change.
      TIFF* tiff = level.output.get();
      const std::uint32_t number =
          TIFFComputeTile(tiff, static_cast<std::uint32_t>(left), static_cast<std::uint32_t>(top), 0, 0);
      const auto bytes = static_cast<tmsize_t>(tile_.size() * sizeof(P));
      level.output.check(TIFFWriteEncodedTile(tiff, number, tile_.data(), bytes) == bytes);
    }
  }

  /// Appends a level that is complete, as it is compressed.
  void append(const detail::TiffOutput& output, Level& level) const {
    level.output.check(TIFFWriteDirectory(level.output.get()) == 1);
    level.close();
    const detail::TiffOutput input(level.file.path(), "r");
    set_fields(output, level.extent, true);
    if (jpeg()) {
      // Tiles refer to tables in the directory.
      std::uint32_t size = 0;
      const void* tables = nullptr;
      input.check(TIFFGetField(input.get(), TIFFTAG_JPEGTABLES, &size, &tables) == 1);
      output.set(TIFFTAG_JPEGTABLES, size, tables);
    }
    std::vector<std::byte> bytes;
    const std::uint32_t count = TIFFNumberOfTiles(input.get());
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto size = static_cast<tmsize_t>(TIFFGetStrileByteCount(input.get(), i));
      bytes.resize(static_cast<std::size_t>(size));
      input.check(TIFFReadRawTile(input.get(), i, bytes.data(), size) == size);
      output.check(TIFFWriteRawTile(output.get(), i, bytes.data(), size) == size);
    }
    output.check(TIFFWriteDirectory(output.get()) == 1);
  }

  std::filesystem::path path_;
  Extents<2> extent_;
  Index channels_;
  TiffPyramidOptions options_;
  PyramidBuilder<P> builder_;
  std::vector<std::unique_ptr<Level>> levels_;
  std::vector<P> tile_;
  Index row_ = 0;
};

}  // namespace fovea::inline FOVEA_ABI
