// SPDX-License-Identifier: MIT
/// \file
/// TIFF by libtiff (4.5 or later): one picture, at the resolutions its file stores
/// (CMake component `tiff`).
///
/// | | |
/// |---|---|
/// | cost | a tile or strip touched is decoded whole: a 64x64 region of 256x256 tiles is 1 to 4 of them |
/// | memory | one tile or strip and its compressed bytes; `scan` one row of tiles, at most 64 MB; offsets as they are needed |
/// | read | classic and BigTIFF, either byte order, tiles and strips, interleaved and planar, every compression libtiff has |
/// | | grey of 1, 2, 4, 8, 16 bits (black or white is 0), palette, RGB, CMYK, YCbCr in JPEG; alpha of either kind |
/// | refused | floating point, signed and other depths; CIE Lab, LogLuv, YCbCr outside JPEG; volumes |
/// | | tiles of more than 16 million pixels, rows of more than 8 MB, strips of more than 256 MB compressed |
///
/// The picture is the first directory. Its lower resolutions are the directories that tag 330 of the first lists (sub-IFDs) and
/// the pages behind it, where they are smaller, of the same shape, and marked as reduced (NewSubfileType 1) or not marked at
/// all; of pages not marked only tiled ones where the picture is tiled, since whole-slide files keep thumbnails in strips.
/// Labels, macro photographs and masks are none. At most 64 directories are looked at.
///
/// A tile that was never written (offset and size 0, as in sparse files of GDAL) reads as samples of 0, and nothing is decoded.
/// Where the rows of a compressed strip take more than 1 MB, the strip is decoded row by row, from its first: such a file is
/// `sequential`.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/color.hpp>
#include <fovea/image/decoder.hpp>
#include <fovea/image/file.hpp>

#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if TIFFLIB_VERSION < 20221213
#error "fovea/image/tiff.hpp: libtiff 4.5 or later expected, whose handles have error handlers and memory limits of their own"
#endif

namespace fovea::inline FOVEA_ABI {

namespace detail {

/// A libtiff handle for reading, on a file or on memory. libtiff is C: nothing may be thrown through it, so what goes wrong
/// inside is noted and thrown once it has returned.
class TiffHandle {
 public:
  /// Throws Error where the file cannot be read, or its first directory is damaged.
  explicit TiffHandle(const std::filesystem::path& path) : name_(path.string()) {
    file_.pubsetbuf(nullptr, 0);  // libtiff reads in pieces of its own; what is read is what is counted
    require(std::filesystem::is_regular_file(path) && file_.open(path, std::ios::in | std::ios::binary) != nullptr,
            "tiff: ", name_, " cannot be read");
    const auto end = static_cast<std::streamoff>(file_.pubseekoff(0, std::ios::end));
    require(end >= 0, "tiff: ", name_, " cannot be read");
    size_ = file_at_ = static_cast<std::uint64_t>(end);
    open();
  }
  explicit TiffHandle(std::span<const std::byte> memory) : memory_(memory), name_("tiff in memory"), size_(memory.size()) {
    open();
  }
  TiffHandle(const TiffHandle&) = delete;
  TiffHandle& operator=(const TiffHandle&) = delete;
  ~TiffHandle() {
    if (tiff_ != nullptr) TIFFClose(tiff_);
  }

  [[nodiscard]] TIFF* get() const noexcept { return tiff_; }
  [[nodiscard]] std::int64_t bytes() const noexcept { return bytes_; }
  /// Forgets what was said. Warnings are errors from here on: a decoder warns where it makes up what the file does not have.
  void strict() noexcept {
    strict_ = true;
    message_[0] = '\0';
  }
  [[nodiscard]] bool complained() const noexcept { return message_[0] != '\0'; }
  /// Throws Error with what was attempted and what libtiff said.
  template <class... Pieces>
  [[noreturn]] void give_up(const Pieces&... pieces) const {
    fail("tiff: ", name_, ": ", pieces..., message_[0] == '\0' ? "" : ": ", message_.data());
  }
  template <class... Pieces>
  void check(bool condition, const Pieces&... pieces) const {
    if (!condition) [[unlikely]]
      give_up(pieces...);
  }

  template <class T>
  [[nodiscard]] T tag(std::uint32_t which, T fallback) const {
    T value{};
    return TIFFGetField(tiff_, which, &value) == 1 ? value : fallback;
  }

 private:
  /// No single allocation of libtiff is larger: a hostile file may ask for anything.
  static constexpr tmsize_t kLargest = tmsize_t{256} << 20;

  void open() {
    const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(), TIFFOpenOptionsFree);
    require(options != nullptr, "tiff: no memory");
    TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), kLargest);
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), on_error, this);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), on_warning, this);
    // O: offsets of tiles when they are needed, a page of them at a time; m: no mapping, so that all is counted.
    tiff_ = TIFFClientOpenExt(name_.c_str(), "rOm", this, on_read, on_write, on_seek, on_close, on_size, nullptr, nullptr,
                              options.get());
    check(tiff_ != nullptr, "a TIFF file expected");
  }

  static TiffHandle& self(thandle_t handle) noexcept { return *static_cast<TiffHandle*>(handle); }
  static tmsize_t on_read(thandle_t handle, void* to, tmsize_t count) noexcept {
    TiffHandle& h = self(handle);
    if (count <= 0 || h.at_ >= h.size_) return 0;
    const auto n = static_cast<std::size_t>(std::min(static_cast<std::uint64_t>(count), h.size_ - h.at_));
    std::size_t got = n;
    if (h.memory_.data() != nullptr) {
      std::memcpy(to, h.memory_.data() + h.at_, n);
    } else {
      try {
        if (h.file_at_ != h.at_) h.file_.pubseekpos(static_cast<std::streamoff>(h.at_), std::ios::in);
        got = static_cast<std::size_t>(h.file_.sgetn(static_cast<char*>(to), static_cast<std::streamsize>(n)));
        h.file_at_ = h.at_ + got;
      } catch (...) {
        return -1;
      }
    }
    h.at_ += got;
    h.bytes_ += static_cast<std::int64_t>(got);
    return static_cast<tmsize_t>(got);
  }
  static tmsize_t on_write(thandle_t /*handle*/, void* /*from*/, tmsize_t /*count*/) noexcept { return -1; }
  static toff_t on_seek(thandle_t handle, toff_t offset, int whence) noexcept {
    TiffHandle& h = self(handle);
    if (whence == SEEK_SET) h.at_ = offset;
    if (whence == SEEK_CUR) h.at_ += offset;
    if (whence == SEEK_END) h.at_ = h.size_ + offset;
    return h.at_;
  }
  static int on_close(thandle_t /*handle*/) noexcept { return 0; }
  static toff_t on_size(thandle_t handle) noexcept { return self(handle).size_; }

  [[gnu::format(printf, 4, 0)]] static int on_error(TIFF* /*tiff*/, void* user, const char* module, const char* form,
                                                    va_list arguments) noexcept {
    auto& h = *static_cast<TiffHandle*>(user);
    // The first is the cause, what follows its consequences.
    if (h.complained()) return 1;
    int at = 0;
    if (module != nullptr && *module != '\0') at = std::snprintf(h.message_.data(), h.message_.size(), "%s: ", module);
    const auto from = std::min(static_cast<std::size_t>(std::max(at, 0)), h.message_.size() - 1);
    (void)std::vsnprintf(h.message_.data() + from, h.message_.size() - from, form, arguments);
    return 1;
  }
  [[gnu::format(printf, 4, 0)]] static int on_warning(TIFF* tiff, void* user, const char* module, const char* form,
                                                      va_list arguments) noexcept {
    const auto& h = *static_cast<TiffHandle*>(user);
    // LZW only ever warns that a file is of the old kind, which it reads.
    if (!h.strict_ || (module != nullptr && std::string_view(module).starts_with("LZW"))) return 1;
    return on_error(tiff, user, module, form, arguments);
  }

  std::span<const std::byte> memory_;
  std::filebuf file_;
  std::string name_;
  std::uint64_t size_ = 0;
  std::uint64_t at_ = 0;
  std::uint64_t file_at_ = 0;
  std::int64_t bytes_ = 0;
  bool strict_ = false;
  std::array<char, 512> message_{};
  TIFF* tiff_ = nullptr;
};

/// How the samples of a directory make pixels.
struct TiffLayout {
  enum class Colour : std::uint8_t { grey, palette, rgb, cmyk };
  enum class Alpha : std::uint8_t { none, unassociated, associated };

  std::uint64_t directory = 0;  ///< its offset in the file
  Extents<2> extent{};          ///< {height, width}
  Extents<2> piece{};           ///< {height, width} of a tile or strip
  Index piece_bytes = 0;        ///< of one plane of a piece
  Index row_bytes = 0;          ///< of one row of one plane of a piece
  std::uint16_t bits = 1;       ///< per sample
  std::uint16_t samples = 1;    ///< per pixel
  std::uint16_t compression = 1;
  std::uint16_t alpha_at = 0;  ///< the sample it is
  Colour colour = Colour::grey;
  Alpha alpha = Alpha::none;
  bool tiled = false;
  bool planar = false;
  bool white_is_zero = false;
  bool ycbcr = false;    ///< to be converted by libtiff's JPEG
  bool by_rows = false;  ///< from the first row of a strip
  std::uint32_t kind = 0;
  std::vector<std::uint16_t> map;  ///< of a palette: red, green and blue of all entries, one behind the other

  [[nodiscard]] Index planes() const noexcept { return planar ? samples : 1; }
  /// Samples of colour, and channels of what they become without alpha.
  [[nodiscard]] Index colours() const noexcept { return colour == Colour::cmyk ? 4 : (colour == Colour::rgb ? 3 : 1); }
  [[nodiscard]] Index channels() const noexcept { return colour == Colour::grey ? 1 : 3; }
};

}  // namespace detail

/// Decodes TIFF; see the head of this file. P is std::uint8_t or std::uint16_t. Throws Error, with libtiff's own words, on what
/// is damaged or refused, also on what libtiff only warns of while it decodes.
template <kernel::Pixel P>
  requires std::is_unsigned_v<P>
class TiffDecoder final : public ImageDecoder<P> {
 public:
  explicit TiffDecoder(const std::filesystem::path& path, Index channels = 0) : path_(path) { open(channels); }
  /// `memory` must outlive this.
  explicit TiffDecoder(std::span<const std::byte> memory, Index channels = 0) : memory_(memory) {
    require(!memory.empty(), "tiff: a file in memory expected, no byte came");
    open(channels);
  }

  void decode(int level, std::span<const Tile<P>> tiles) override {
    Reader& reader = begin(level);
    if (reader.layout.by_rows) {
      decode_rows(reader, tiles);
    } else {
      for (const Tile<P>& tile : tiles) decode_pieces(reader, tile);
    }
    finish(reader);
  }

  void scan(int level, const RowSink<P>& sink) override {
    Reader& reader = begin(level);
    const Layout& layout = reader.layout;
    const Index row = layout.extent[1] * info_.channels;
    if (layout.by_rows) {
      std::vector<P> pixels(static_cast<std::size_t>(row));
      for (Index i = 0; i < layout.extent[0]; ++i) {
        read_row(reader, i);
        convert(layout, rows_.data(), layout.row_bytes, 0, layout.extent[1], pixels.data());
        sink(i, pixels.data());
      }
      return finish(reader);
    }
    // Where a row of tiles takes too much, its tiles are decoded more than once.
    const Index rows = std::clamp(kBandBytes / (row * Index{sizeof(P)}), Index{1}, std::min(layout.piece[0], layout.extent[0]));
    std::vector<P> band(static_cast<std::size_t>(rows * row));
    for (Index top = 0; top < layout.extent[0];) {
      const Index end = std::min({top + rows, (top / layout.piece[0] + 1) * layout.piece[0], layout.extent[0]});
      decode_pieces(reader, {{top, 0, end - top, layout.extent[1]},
                             View<P, 3>(band.data(), {end - top, layout.extent[1], info_.channels})});
      for (Index i = top; i < end; ++i) sink(i, band.data() + (i - top) * row);
      top = end;
    }
    finish(reader);
  }

 private:
  using Layout = detail::TiffLayout;
  using Handle = detail::TiffHandle;
  using ImageDecoder<P>::info_;
  using ImageDecoder<P>::decoded_;

  static constexpr Index kDirectories = 64;
  /// A side; more than any PyramidView has.
  static constexpr Index kLongest = Index{1} << PyramidView<P>::max_levels;
  static constexpr Index kRowBytes = Index{8} << 20;
  static constexpr Index kTilePixels = Index{1} << 24;
  static constexpr Index kBandBytes = Index{64} << 20;
  /// Strips of more are decoded by rows, where they are compressed.
  static constexpr Index kStripBytes = Index{1} << 20;

  /// What a level is read by. Every level has a handle of its own: changing directories costs, and makes libtiff 4.5 forget
  /// that offsets are to be read when they are needed. A handle can be in the middle of one strip only, so planes that are
  /// decoded by rows have one each.
  struct Reader {
    Layout layout;
    std::vector<std::unique_ptr<Handle>> handles;
    Index next_row = -1;  ///< the one the handles come to next; -1: none
    bool busy = false;    ///< or left in the middle of something by an Error
  };

  void open(Index channels) {
    std::unique_ptr<Handle> handle = open_handle();
    TIFF* tiff = handle->get();
    Layout image = describe(*handle);
    info_.orientation = orientation_from_tag(handle->template tag<std::uint16_t>(TIFFTAG_ORIENTATION, 1));
    info_.channels = channels_of(image.channels() + (image.alpha == Layout::Alpha::none ? 0 : 1), channels);

    std::vector<std::uint64_t> children;
    std::uint16_t count = 0;
    const std::uint64_t* offsets = nullptr;
    if (TIFFGetField(tiff, TIFFTAG_SUBIFD, &count, &offsets) == 1 && offsets != nullptr) {
      children.assign(offsets, offsets + std::min<Index>(count, kDirectories));
    }
    std::vector<Layout> levels;
    Index seen = 1;
    for (; seen < kDirectories && TIFFLastDirectory(tiff) == 0; ++seen) {
      handle->check(TIFFReadDirectory(tiff) == 1, "directory ", seen, " is damaged");
      add_level(*handle, image, false, levels);
    }
    for (std::size_t i = 0; i < children.size() && seen < kDirectories; ++i, ++seen) {
      handle->check(TIFFSetSubDirectory(tiff, children[i]) == 1, "sub-directory ", i, " is damaged");
      add_level(*handle, image, true, levels);
    }
    if (seen > 1) select(*handle, image);

    std::stable_sort(levels.begin(), levels.end(),
                     [](const Layout& a, const Layout& b) { return product(a.extent) > product(b.extent); });
    readers_.emplace_back().layout = std::move(image);
    for (Layout& level : levels) {
      const Extents<2> above = readers_.back().layout.extent;
      const bool smaller = level.extent != above && level.extent[0] <= above[0] && level.extent[1] <= above[1];
      if (smaller && readers_.size() < PyramidView<P>::max_levels) readers_.emplace_back().layout = std::move(level);
    }
    for (const Reader& r : readers_) {
      const Layout& l = r.layout;
      info_.levels.push_back(
          {l.extent, l.by_rows ? Extents<2>{16, 128} : l.piece, ratios(readers_.front().layout.extent, l.extent)});
    }
    // Where lower resolutions are stored, they spare going from the top; what is sequential is then a matter of level 0 alone.
    const Layout& first = readers_.front().layout;
    info_.sequential = first.by_rows && first.compression != COMPRESSION_NONE && readers_.size() == 1;
    readers_.front().handles.push_back(std::move(handle));
    count_bytes();
  }

  [[nodiscard]] std::unique_ptr<Handle> open_handle() const {
    return memory_.empty() ? std::make_unique<Handle>(path_) : std::make_unique<Handle>(memory_);
  }

  /// The current directory's; throws Error on what is not read here.
  [[nodiscard]] static Layout describe(const Handle& handle) {
    TIFF* tiff = handle.get();
    Layout l;
    l.directory = TIFFCurrentDirOffset(tiff);
    l.kind = handle.tag<std::uint32_t>(TIFFTAG_SUBFILETYPE, 0);
    const Index width = handle.tag<std::uint32_t>(TIFFTAG_IMAGEWIDTH, 0);
    const Index height = handle.tag<std::uint32_t>(TIFFTAG_IMAGELENGTH, 0);
    handle.check(std::min(width, height) >= 1 && std::max(width, height) <= kLongest, "an image of 1 to ", kLongest,
                 " pixels a side expected, ", height, "x", width, " came");
    handle.check(handle.tag<std::uint32_t>(TIFFTAG_IMAGEDEPTH, 1) == 1, "a picture expected, a volume came");
    l.extent = {height, width};

    l.bits = handle.tag<std::uint16_t>(TIFFTAG_BITSPERSAMPLE, 1);
    l.samples = handle.tag<std::uint16_t>(TIFFTAG_SAMPLESPERPIXEL, 1);
    const auto format = handle.tag<std::uint16_t>(TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
    handle.check(format == SAMPLEFORMAT_UINT || format == SAMPLEFORMAT_VOID, "unsigned samples expected, those of format ",
                 format, format == SAMPLEFORMAT_IEEEFP ? " (floating point)" : "", " came");
    handle.check(l.bits == 1 || l.bits == 2 || l.bits == 4 || l.bits == 8 || l.bits == 16,
                 "samples of 1, 2, 4, 8 or 16 bits expected, ", l.bits, " bits came");
    l.planar = l.samples > 1 && handle.tag<std::uint16_t>(TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) == PLANARCONFIG_SEPARATE;
    l.compression = handle.tag<std::uint16_t>(TIFFTAG_COMPRESSION, COMPRESSION_NONE);
    handle.check(TIFFIsCODECConfigured(l.compression) == 1 && l.compression != COMPRESSION_OJPEG,
                 "a compression that this libtiff has expected, ", l.compression, " came");
    describe_colour(handle, l);

    l.tiled = TIFFIsTiled(tiff) != 0;
    Index rows = 0;
    Index columns = width;
    if (l.tiled) {
      columns = handle.tag<std::uint32_t>(TIFFTAG_TILEWIDTH, 0);
      rows = handle.tag<std::uint32_t>(TIFFTAG_TILELENGTH, 0);
      handle.check(handle.tag<std::uint32_t>(TIFFTAG_TILEDEPTH, 1) == 1, "a picture expected, a volume came");
    } else {
      rows = std::min<Index>(height, handle.tag<std::uint32_t>(TIFFTAG_ROWSPERSTRIP, 0xFFFFFFFFU));
    }
    handle.check(rows >= 1 && columns >= 1 && rows <= kLongest && columns <= kLongest, "tiles or strips of 1 to ", kLongest,
                 " pixels a side expected, ", rows, "x", columns, " came");
    l.piece = {rows, columns};
    const Index samples = l.planar ? 1 : l.samples;
    l.row_bytes = (columns * samples * l.bits + 7) / 8;
    l.piece_bytes = rows * l.row_bytes;
    handle.check(std::max(l.row_bytes * l.planes(), 2 * width * Index{sizeof(P)}) <= kRowBytes, "rows of at most ", kRowBytes,
                 " bytes expected, ", width, " pixels of ", l.samples, " samples came");
    if (l.tiled) {
      handle.check(rows * columns <= kTilePixels && l.piece_bytes * l.planes() <= 4 * kTilePixels, "tiles of at most ",
                   kTilePixels, " pixels expected, ", rows, "x", columns, " of ", l.samples, " samples came");
    } else {
      l.by_rows = l.piece_bytes * l.planes() > kStripBytes;
    }
    use_rgb(tiff, l);
    handle.check(matches(tiff, l), "rows of ", l.row_bytes, " bytes expected, other ones came");
    return l;
  }

  static void describe_colour(const Handle& handle, Layout& l) {
    using Colour = typename Layout::Colour;
    TIFF* tiff = handle.get();
    const auto photometric = handle.tag<std::uint16_t>(
        TIFFTAG_PHOTOMETRIC, static_cast<std::uint16_t>(l.samples >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK));
    switch (photometric) {
      case PHOTOMETRIC_MINISWHITE: l.white_is_zero = true; break;
      case PHOTOMETRIC_MINISBLACK: break;
      case PHOTOMETRIC_RGB: l.colour = Colour::rgb; break;
      case PHOTOMETRIC_PALETTE: l.colour = Colour::palette; break;
      case PHOTOMETRIC_SEPARATED:
        handle.check(handle.tag<std::uint16_t>(TIFFTAG_INKSET, INKSET_CMYK) == INKSET_CMYK, "CMYK expected, other inks came");
        l.colour = Colour::cmyk;
        break;
      case PHOTOMETRIC_YCBCR:
        handle.check(l.compression == COMPRESSION_JPEG && !l.planar && l.bits == 8,
                     "YCbCr in interleaved JPEG of 8 bits expected, compression ", l.compression, " of ", l.bits, " bits came");
        l.colour = Colour::rgb;
        l.ycbcr = true;
        break;
      default:
        handle.give_up("grey, a palette, RGB, CMYK or YCbCr expected, photometric interpretation ", photometric, " came");
    }
    handle.check(l.samples >= l.colours() && l.samples <= 64, l.colours(), " to 64 samples a pixel expected, ", l.samples,
                 " came");
    handle.check(!l.ycbcr || l.samples == 3, "3 samples a pixel of YCbCr expected, ", l.samples, " came");

    std::uint16_t extra = 0;
    const std::uint16_t* kinds = nullptr;
    if ((l.colour == Colour::grey || l.colour == Colour::rgb) &&
        TIFFGetField(tiff, TIFFTAG_EXTRASAMPLES, &extra, &kinds) == 1) {
      for (std::uint16_t i = 0; i < extra && l.alpha == Layout::Alpha::none; ++i) {
        const Index at = l.samples - extra + i;
        if (at < l.colours()) continue;
        if (kinds[i] == EXTRASAMPLE_ASSOCALPHA) l.alpha = Layout::Alpha::associated;
        if (kinds[i] == EXTRASAMPLE_UNASSALPHA) l.alpha = Layout::Alpha::unassociated;
        l.alpha_at = static_cast<std::uint16_t>(at);
      }
    }
    if (l.colour != Colour::palette) return;

    std::array<const std::uint16_t*, 3> maps{};
    handle.check(TIFFGetField(tiff, TIFFTAG_COLORMAP, &maps[0], &maps[1], &maps[2]) == 1, "a palette expected, none came");
    for (const std::uint16_t* map : maps) l.map.insert(l.map.end(), map, map + (std::size_t{1} << l.bits));
    // The entries should be of 16 bits; some files have them of 8, at either end.
    const auto all = [&](auto&& what) { return std::all_of(l.map.begin(), l.map.end(), what); };
    const bool low = all([](std::uint16_t v) { return v < 256; });
    if (low || all([](std::uint16_t v) { return v % 256 == 0; })) {
      for (std::uint16_t& v : l.map) v = static_cast<std::uint16_t>((low ? v : v / 256) * 257);
    }
  }

  static void use_rgb(TIFF* tiff, const Layout& l) noexcept {
    if (l.ycbcr) TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  }
  /// True where libtiff will write what there is room for.
  [[nodiscard]] static bool matches(TIFF* tiff, const Layout& l) noexcept {
    const std::uint64_t row = l.tiled ? TIFFTileRowSize64(tiff) : TIFFScanlineSize64(tiff);
    return row == static_cast<std::uint64_t>(l.row_bytes);
  }

  /// The current directory, where it is a lower resolution of the picture.
  static void add_level(const Handle& handle, const Layout& image, bool child, std::vector<Layout>& levels) {
    const auto kind = handle.tag<std::uint32_t>(TIFFTAG_SUBFILETYPE, 0);
    if (kind != 0 && kind != FILETYPE_REDUCEDIMAGE) return;
    if (kind == 0 && !child && image.tiled && TIFFIsTiled(handle.get()) == 0) return;
    const Extents<2> extent{handle.tag<std::uint32_t>(TIFFTAG_IMAGELENGTH, 0),
                            handle.tag<std::uint32_t>(TIFFTAG_IMAGEWIDTH, 0)};
    if (!reduced(image.extent, extent)) return;
    try {
      levels.push_back(describe(handle));
    } catch (const Error&) {
      // What cannot be read here is no level; the picture is.
    }
  }

  /// True where some ratio makes both sides of `level` from those of `image`, but for rounding.
  [[nodiscard]] static bool reduced(Extents<2> image, Extents<2> level) noexcept {
    double least = 1;
    double most = std::numeric_limits<double>::infinity();
    for (std::size_t axis = 0; axis < 2; ++axis) {
      if (level[axis] < 1 || level[axis] > image[axis]) return false;
      const auto n = static_cast<double>(image[axis]);
      least = std::max(least, n / static_cast<double>(level[axis] + 1));
      if (level[axis] > 1) most = std::min(most, n / static_cast<double>(level[axis] - 1));
    }
    return level != image && least < most;
  }

  /// Pixels of the image to one of the level: powers of two where the level is what halving makes, rounding up.
  [[nodiscard]] static std::array<double, 2> ratios(Extents<2> image, Extents<2> level) noexcept {
    const auto halved = [](Index n, int k) { return (n + (Index{1} << k) - 1) >> k; };
    std::array<double, 2> ratio{};
    for (int k = 0; k <= PyramidView<P>::max_levels; ++k) {
      const auto power = static_cast<double>(Index{1} << k);
      if (halved(image[0], k) == level[0] && halved(image[1], k) == level[1]) return {power, power};
      for (std::size_t axis = 0; axis < 2; ++axis) {
        if (ratio[axis] == 0 && halved(image[axis], k) == level[axis]) ratio[axis] = power;
      }
    }
    for (std::size_t axis = 0; axis < 2; ++axis) {
      if (ratio[axis] == 0) ratio[axis] = static_cast<double>(image[axis]) / static_cast<double>(level[axis]);
    }
    return ratio;
  }

  Reader& begin(int level) {
    Reader& reader = readers_[static_cast<std::size_t>(level)];
    if (reader.busy) {
      // libtiff may be in any state. Memory of its bytes stays.
      for (const auto& handle : reader.handles) closed_bytes_ += handle->bytes();
      reader.handles.clear();
      reader.next_row = -1;
      loaded_ = {};
    }
    reader.busy = true;
    if (reader.handles.empty()) add_handle(reader);
    for (const auto& handle : reader.handles) handle->strict();
    return reader;
  }
  void finish(Reader& reader) noexcept {
    reader.busy = false;
    count_bytes();
  }
  void count_bytes() noexcept {
    decoded_.bytes = closed_bytes_;
    for (const Reader& reader : readers_) {
      for (const auto& handle : reader.handles) decoded_.bytes += handle->bytes();
    }
  }
  void add_handle(Reader& reader) const {
    reader.handles.push_back(open_handle());
    select(*reader.handles.back(), reader.layout);
    reader.handles.back()->strict();
  }
  /// Makes the directory the current one.
  static void select(Handle& handle, const Layout& layout) {
    TIFF* tiff = handle.get();
    handle.check(TIFFSetSubDirectory(tiff, layout.directory) == 1, "its directory cannot be read again");
    use_rgb(tiff, layout);
    const Extents<2> extent{handle.tag<std::uint32_t>(TIFFTAG_IMAGELENGTH, 0),
                            handle.tag<std::uint32_t>(TIFFTAG_IMAGEWIDTH, 0)};
    handle.check(extent == layout.extent && TIFFIsTiled(tiff) == (layout.tiled ? 1 : 0) && matches(tiff, layout),
                 "the file has changed since it was opened");
  }

  // ------------------------------------------------------------------------------------------------- by tiles and strips

  void decode_pieces(Reader& reader, const Tile<P>& tile) {
    const Layout& l = reader.layout;
    const PixelBox& box = tile.box;
    for (Index r = box.top / l.piece[0]; r * l.piece[0] < box.bottom(); ++r) {
      for (Index c = box.left / l.piece[1]; c * l.piece[1] < box.right(); ++c) {
        load(reader, r, c);
        const PixelBox common = intersection(box, {r * l.piece[0], c * l.piece[1], l.piece[0], l.piece[1]});
        for (Index i = common.top; i < common.bottom(); ++i) {
          convert(l, piece_.data() + (i - r * l.piece[0]) * l.row_bytes, l.piece_bytes, common.left - c * l.piece[1],
                  common.width, &tile.pixels(i - box.top, common.left - box.left, 0));
        }
      }
    }
  }

  /// Decodes a tile or strip, all planes of it, into `piece_`.
  void load(Reader& reader, Index r, Index c) {
    const Layout& l = reader.layout;
    const Index across = (l.extent[1] + l.piece[1] - 1) / l.piece[1];
    const Index down = (l.extent[0] + l.piece[0] - 1) / l.piece[0];
    const Index number = r * across + c;
    if (loaded_ == std::pair<const Reader*, Index>{&reader, number}) return;
    loaded_ = {};
    Handle& handle = *reader.handles.front();
    TIFF* tiff = handle.get();
    piece_.resize(static_cast<std::size_t>(l.piece_bytes * l.planes()));
    const Index rows = l.tiled ? l.piece[0] : std::min(l.piece[0], l.extent[0] - r * l.piece[0]);
    const auto wanted = static_cast<tmsize_t>(rows * l.row_bytes);
    bool stored = false;
    for (Index plane = 0; plane < l.planes(); ++plane) {
      if (plane >= l.colours() && (l.alpha == Layout::Alpha::none || plane != l.alpha_at)) continue;
      const auto which = static_cast<std::uint32_t>(plane * across * down + number);
      std::byte* to = piece_.data() + plane * l.piece_bytes;
      if (is_absent(handle, which)) {
        std::fill_n(to, wanted, std::byte{0});
        continue;
      }
      const tmsize_t got =
          l.tiled ? TIFFReadEncodedTile(tiff, which, to, wanted) : TIFFReadEncodedStrip(tiff, which, to, wanted);
      handle.check(got == wanted && !handle.complained(), l.tiled ? "tile " : "strip ", which, " is damaged");
      stored = true;
    }
    if (stored) decoded_.pixels += rows * l.piece[1];
    loaded_ = {&reader, number};
  }

  [[nodiscard]] static bool is_absent(Handle& handle, std::uint32_t which) {
    int error = 0;
    const std::uint64_t bytes = TIFFGetStrileByteCountWithErr(handle.get(), which, &error);
    handle.check(error == 0 && !handle.complained(), "the size of piece ", which, " is missing");
    if (bytes != 0) return false;
    const std::uint64_t offset = TIFFGetStrileOffsetWithErr(handle.get(), which, &error);
    handle.check(error == 0 && offset == 0 && !handle.complained(), "piece ", which, " has no bytes");
    return true;
  }

  // --------------------------------------------------------------------------------------------------------------- by rows

  void decode_rows(Reader& reader, std::span<const Tile<P>> tiles) {
    const Layout& l = reader.layout;
    Index end = 0;
    for (const Tile<P>& tile : tiles) end = std::max(end, tile.box.bottom());
    for (Index i = tiles.empty() ? 0 : tiles.front().box.top; i < end; ++i) {
      bool there = false;
      for (const Tile<P>& tile : tiles) {
        const PixelBox& box = tile.box;
        if (box.top > i) break;
        if (i >= box.bottom()) continue;
        if (!there) read_row(reader, i);
        there = true;
        convert(l, rows_.data(), l.row_bytes, box.left, box.width, &tile.pixels(i - box.top, 0, 0));
      }
    }
  }

  /// Decodes a row, all planes of it, into `rows_`, and what lies above it in its strip where that was not the last one read.
  void read_row(Reader& reader, Index row) {
    const Layout& l = reader.layout;
    while (static_cast<Index>(reader.handles.size()) < l.planes()) add_handle(reader);
    rows_.resize(static_cast<std::size_t>(l.row_bytes * l.planes()));
    const Index first = row / l.piece[0] * l.piece[0];
    // Rows that are not compressed are found without those above.
    Index i = l.compression == COMPRESSION_NONE
                  ? row
                  : (reader.next_row >= first && reader.next_row <= row ? reader.next_row : first);
    reader.next_row = -1;
    for (; i <= row; ++i) {
      bool stored = false;
      for (Index plane = 0; plane < l.planes(); ++plane) {
        if (plane >= l.colours() && (l.alpha == Layout::Alpha::none || plane != l.alpha_at)) continue;
        Handle& handle = *reader.handles[static_cast<std::size_t>(plane)];
        const Index strips = (l.extent[0] + l.piece[0] - 1) / l.piece[0];
        std::byte* to = rows_.data() + plane * l.row_bytes;
        if (is_absent(handle, static_cast<std::uint32_t>(plane * strips + i / l.piece[0]))) {
          if (i == row) std::fill_n(to, l.row_bytes, std::byte{0});
          continue;
        }
        const int done = TIFFReadScanline(handle.get(), to, static_cast<std::uint32_t>(i), static_cast<std::uint16_t>(plane));
        handle.check(done == 1 && !handle.complained(), "row ", i, " is damaged");
        stored = true;
      }
      if (stored) decoded_.pixels += l.extent[1];
    }
    reader.next_row = row + 1;
  }

  // ---------------------------------------------------------------------------------------------------- samples to pixels

  /// Pixels [left, left + width) of a decoded row, whose planes are `plane` bytes apart.
  void convert(const Layout& l, const std::byte* row, Index plane, Index left, Index width, P* to) {
    if (l.bits == 16) {
      convert_samples<std::uint16_t>(l, row, plane, left, width, to);
    } else {
      convert_samples<std::uint8_t>(l, row, plane, left, width, to);
    }
  }

  template <class In>
  void convert_samples(const Layout& l, const std::byte* row, Index plane, Index left, Index width, P* to) {
    using Colour = typename Layout::Colour;
    constexpr std::uint32_t most = std::numeric_limits<In>::max();
    const bool alpha = l.alpha == Layout::Alpha::unassociated || (l.alpha == Layout::Alpha::associated && info_.channels == 4);
    const Index used = l.colours() + (alpha ? 1 : 0);
    const bool as_stored = !l.planar && l.bits >= 8 && used == l.samples && !l.white_is_zero && l.colour != Colour::cmyk &&
                           l.colour != Colour::palette && l.alpha != Layout::Alpha::associated;
    if (as_stored) {
      convert_pixels(aligned<In>(row) + left * used, used, to, info_.channels, width);
      return;
    }
    std::vector<In>& samples = [this]() -> std::vector<In>& {
      if constexpr (sizeof(In) == 1) return bytes_;
      if constexpr (sizeof(In) == 2) return words_;
    }();
    samples.resize(static_cast<std::size_t>(width * std::max(used, Index{4})));
    for (Index c = 0; c < used; ++c) {
      const Index at = c < l.colours() ? c : l.alpha_at;
      gather(l, row + (l.planar ? at * plane : 0), l.planar ? left : left * l.samples + at, l.planar ? 1 : l.samples, width,
             samples.data() + c, used);
    }
    In* s = samples.data();
    if (l.colour == Colour::palette) {
      const std::size_t entries = l.map.size() / 3;
      palette_.resize(static_cast<std::size_t>(3 * width));
      for (Index i = 0; i < width; ++i) {
        for (std::size_t c = 0; c < 3; ++c) palette_[static_cast<std::size_t>(3 * i) + c] = l.map[c * entries + s[i]];
      }
      convert_pixels(palette_.data(), 3, to, info_.channels, width);
      return;
    }
    if (l.colour == Colour::cmyk) {
      for (Index i = 0; i < width; ++i) {
        for (Index c = 0; c < 3; ++c) {
          const std::uint64_t light = std::uint64_t{most - s[4 * i + c]} * (most - s[4 * i + 3]);
          s[3 * i + c] = static_cast<In>((light + most / 2) / most);
        }
      }
      convert_pixels(s, 3, to, info_.channels, width);
      return;
    }
    if (l.white_is_zero) {
      for (Index i = 0; i < width; ++i) s[i * used] = static_cast<In>(most - s[i * used]);
    }
    if (alpha && l.alpha == Layout::Alpha::associated) {
      for (Index i = 0; i < width; ++i) {
        const std::uint32_t a = s[i * used + used - 1];
        for (Index c = 0; c < used - 1; ++c) {
          const std::uint64_t v = std::uint64_t{s[i * used + c]} * most + a / 2;
          s[i * used + c] = a == 0 ? In{0} : static_cast<In>(std::min<std::uint64_t>(v / a, most));
        }
      }
    }
    convert_pixels(s, used, to, info_.channels, width);
  }

  template <class In>
  [[nodiscard]] static const In* aligned(const std::byte* row) noexcept {
    // Rows of 16-bit samples have an even number of bytes and begin in memory of the heap.
    return reinterpret_cast<const In*>(row);  // NOLINT(cppcoreguidelines-pro-type-reinterpret-cast)
  }

  /// `count` samples, every `step`th from `first` on, scaled to all of In (palette indices are not), to every `stride`th.
  template <class In>
  static void gather(const Layout& l, const std::byte* row, Index first, Index step, Index count, In* to,
                     Index stride) noexcept {
    if (l.bits >= 8) {
      const In* from = aligned<In>(row) + first;
      for (Index i = 0; i < count; ++i) to[i * stride] = from[i * step];
      return;
    }
    const auto bits = Index{l.bits};
    const std::uint32_t mask = (1U << l.bits) - 1U;
    const std::uint32_t scale = l.colour == Layout::Colour::palette ? 1U : 255U / mask;
    for (Index i = 0; i < count; ++i) {
      const Index bit = (first + i * step) * bits;
      const auto byte = std::to_integer<std::uint32_t>(row[bit / 8]);
      to[i * stride] = static_cast<In>((byte >> static_cast<std::uint32_t>(8 - bits - bit % 8) & mask) * scale);
    }
  }

  std::filesystem::path path_;
  std::span<const std::byte> memory_;
  std::vector<Reader> readers_;  ///< of the levels
  std::vector<std::byte> piece_;
  std::pair<const Reader*, Index> loaded_{};  ///< the piece it is
  std::vector<std::byte> rows_;
  std::vector<std::uint8_t> bytes_;
  std::vector<std::uint16_t> words_;
  std::vector<std::uint16_t> palette_;
  std::int64_t closed_bytes_ = 0;
};

/// A TIFF file as something to look at; see TiffDecoder. Throws Error on a file that is none, damaged, or refused.
template <kernel::Pixel P = std::uint8_t>
[[nodiscard]] BasicImageFile<P> open_tiff(const std::filesystem::path& path, const ImageFileOptions& options = {}) {
  return BasicImageFile<P>(std::make_unique<TiffDecoder<P>>(path, options.channels), options);
}
/// The same in memory, which must outlive it.
template <kernel::Pixel P = std::uint8_t>
[[nodiscard]] BasicImageFile<P> open_tiff(std::span<const std::byte> memory, const ImageFileOptions& options = {}) {
  return BasicImageFile<P>(std::make_unique<TiffDecoder<P>>(memory, options.channels), options);
}

}  // namespace fovea::inline FOVEA_ABI
