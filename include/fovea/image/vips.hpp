// SPDX-License-Identifier: MIT
/// \file
/// Pictures that libvips reads: PNG, WebP, HEIF and AVIF, JPEG XL, JPEG 2000, GIF, PPM, FITS, Radiance, the slides that
/// OpenSlide knows, and DeepZoom folders. Needs libvips 8.14 or later (pkg-config: vips; CMake component `vips`); what it was
/// built with decides which.
///
/// Loaders are chosen by content, not by name. JPEG and TIFF have readers of their own (image/jpeg.hpp, image/tiff.hpp); the
/// loaders that hand a file to ImageMagick or a renderer, and those of tables and matrices, are refused.
///
/// What is global to the process, and set at the first picture: libvips is initialised, its operation cache is off (it would
/// keep files and pixels), and it computes in the thread that calls. But pictures that are held as a whole (see VipsDecoder)
/// are decoded by a thread of its own, so that a process that has read one may not read another after fork(); and the decoders
/// of HEIF and JPEG XL may start more. Those of AVIF and JPEG XL print why a file is damaged where they were built so (Debian).
/// libvips allocates by glib, which ends the process where memory is out.
///
/// Starting libvips takes 20 to 70 ms and some 10 MB, once a process.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/color.hpp>
#include <fovea/image/decoder.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/view.hpp>

#include <vips/vips.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {

namespace detail::vips {

struct Unref {
  void operator()(gpointer object) const noexcept { g_object_unref(object); }
};
template <class T>
using Owned = std::unique_ptr<T, Unref>;

/// What libvips has to say, on one line; it is taken away, as the buffer grows with every error.
[[nodiscard]] inline std::string last_error() {
  char* const copy = vips_error_buffer_copy();
  std::string text = copy != nullptr ? copy : "";
  g_free(copy);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at)) text.replace(at, 1, "; ");
  return text.empty() ? "no reason given" : text;
}

/// While one lives, in any thread since libvips has threads of its own, what libvips and glib warn of is not printed: damage is
/// told by an Error.
class Quiet {
 public:
  Quiet() noexcept { ++depth(); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
  ~Quiet() { --depth(); }

  static void log(const gchar* domain, GLogLevelFlags level, const gchar* message, gpointer data) {
    if (depth() == 0) g_log_default_handler(domain, level, message, data);
  }

 private:
  [[nodiscard]] static std::atomic<int>& depth() noexcept {
    static std::atomic<int> depth = 0;
    return depth;
  }
};

/// Throws Error where libvips cannot start.
inline void start() {
  static const bool started = [] {
    if (vips_init("fovea") != 0) fail("vips: cannot be started: ", last_error());
    vips_cache_set_max(0);
    vips_concurrency_set(1);
    for (const char* domain : {"VIPS", "GLib-GObject"}) g_log_set_handler(domain, G_LOG_LEVEL_WARNING, &Quiet::log, nullptr);
    return true;
  }();
  (void)started;
}

/// The bytes of a picture: a file, or memory that outlives it.
struct Input {
  std::string path;  ///< empty: memory
  std::span<const std::byte> memory;

  [[nodiscard]] std::string name() const { return path.empty() ? std::string("picture in memory") : path; }
  /// A source has a position, so every decoder that is at work needs one of its own.
  [[nodiscard]] Owned<VipsSource> open() const {
    Owned<VipsSource> source(path.empty() ? vips_source_new_from_memory(memory.data(), memory.size())
                                          : vips_source_new_from_file(path.c_str()));
    if (source == nullptr) fail(name(), ": cannot be read: ", last_error());
    return source;
  }
};

/// Resolutions that a loader offers.
enum class Scales : std::uint8_t {
  one,
  shrunk,    ///< any, averaged while it decodes all: one is taken, 1/8, so that a glimpse of two levels is one pass
  wavelets,  ///< each half of the one above, its pixels centred on every second of that
  slide,     ///< as OpenSlide tells
};

/// A format and what is to be known of its loader.
struct Format {
  std::string_view loader;  ///< in the name of the loader's class
  bool by_rows;             ///< takes no more memory than some rows or tiles; the others hold the whole picture while they work
  bool regions;             ///< may be able to decode regions in any order
  bool upright;             ///< has turned the picture already
  Scales scales;
};
inline constexpr std::array<Format, 10> formats{{{"Png", true, false, false, Scales::one},
                                                 {"Webp", false, false, false, Scales::shrunk},
                                                 {"Heif", false, false, true, Scales::one},
                                                 {"Jxl", false, false, true, Scales::one},
                                                 {"Jp2k", false, true, false, Scales::wavelets},
                                                 {"Nsgif", false, false, false, Scales::one},
                                                 {"Ppm", true, true, false, Scales::one},
                                                 {"Fits", true, true, false, Scales::one},
                                                 {"Rad", true, false, false, Scales::one},
                                                 {"Openslide", true, true, false, Scales::slide}}};

[[nodiscard]] inline std::optional<Format> format_of(std::string_view loader) noexcept {
  constexpr std::string_view prefix = "VipsForeignLoad";
  if (!loader.starts_with(prefix)) return std::nullopt;
  loader.remove_prefix(prefix.size());
  for (const Format& format : formats) {
    if (loader.starts_with(format.loader)) return format;
  }
  return std::nullopt;
}

/// A picture whose pixels are decoded when a region of it is asked for.
struct Opened {
  Owned<VipsImage> image;
  Owned<VipsSource> source;
  bool partial = false;  ///< regions can be decoded in any order

  /// {height, width}.
  [[nodiscard]] Extents<2> extent() const noexcept {
    return {vips_image_get_height(image.get()), vips_image_get_width(image.get())};
  }
  [[nodiscard]] Index bands() const noexcept { return vips_image_get_bands(image.get()); }
  [[nodiscard]] std::int64_t pixel_bytes() const noexcept {
    return static_cast<std::int64_t>(VIPS_IMAGE_SIZEOF_PEL(image.get()));
  }
};

/// The class of the loader for what the file holds. Throws Error where there is none.
[[nodiscard]] inline std::string find_loader(const Input& input) {
  const Quiet quiet;
  const Owned<VipsSource> source = input.open();
  const char* const loader = vips_foreign_find_load_source(source.get());
  if (loader == nullptr) fail(input.name(), ": a picture expected that libvips reads: ", last_error());
  vips_error_clear();  // of loaders that were tried
  return loader;
}

/// Reads the header of resolution `level`, 0 for the picture itself.
[[nodiscard]] inline Opened open(const Input& input, const std::string& loader, bool sequential, Scales scales = Scales::one,
                                 int level = 0) {
  const Quiet quiet;
  Opened opened;
  opened.source = input.open();
  const Owned<VipsOperation> load(vips_operation_new(loader.c_str()));
  if (load == nullptr) fail(input.name(), ": ", last_error());
  // Truncation and damage are errors, not grey pixels.
  g_object_set(load.get(), "source", opened.source.get(), "access", sequential ? VIPS_ACCESS_SEQUENTIAL : VIPS_ACCESS_RANDOM,
               "fail-on", VIPS_FAIL_ON_ERROR, nullptr);
  if (level > 0) {
    switch (scales) {
      case Scales::one: break;
      case Scales::shrunk: g_object_set(load.get(), "scale", 0.125, nullptr); break;
      case Scales::wavelets: g_object_set(load.get(), "page", level, nullptr); break;
      case Scales::slide: g_object_set(load.get(), "level", level, nullptr); break;
    }
  }
  VipsObject* const object = VIPS_OBJECT(load.get());
  if (vips_object_build(object) != 0) {
    vips_object_unref_outputs(object);
    fail(input.name(), ": cannot be decoded: ", last_error());
  }
  VipsImage* image = nullptr;
  gint flags = 0;
  g_object_get(load.get(), "out", &image, "flags", &flags, nullptr);
  opened.image.reset(image);
  vips_object_unref_outputs(object);
  if (image == nullptr) fail(input.name(), ": cannot be decoded: no picture came");
  opened.partial = (flags & VIPS_FOREIGN_PARTIAL) != 0;
  return opened;
}

/// To 8 or 16 bits and 1 to 4 bands, where that is not so: colours by the colour space the file names, nothing that is only a
/// number by guess. Throws Error where there is no way.
inline void make_pixels(Opened& opened, bool deep, const std::string& name) {
  VipsImage* const image = opened.image.get();
  const VipsBandFormat depth = vips_image_get_format(image);
  const VipsInterpretation space = vips_image_get_interpretation(image);
  const bool plain = space == VIPS_INTERPRETATION_sRGB || space == VIPS_INTERPRETATION_B_W ||
                     space == VIPS_INTERPRETATION_RGB || space == VIPS_INTERPRETATION_RGB16 ||
                     space == VIPS_INTERPRETATION_GREY16 || space == VIPS_INTERPRETATION_MULTIBAND ||
                     space == VIPS_INTERPRETATION_HISTOGRAM;
  if (vips_image_get_coding(image) != VIPS_CODING_NONE || !plain) {
    if (vips_colourspace_issupported(image) == 0) {
      fail(name, ": pixels with a colour expected, libvips has no way from their colour space ", static_cast<int>(space));
    }
    VipsImage* out = nullptr;
    if (vips_colourspace(image, &out, deep ? VIPS_INTERPRETATION_RGB16 : VIPS_INTERPRETATION_sRGB, nullptr) != 0) {
      fail(name, ": colours cannot be converted: ", last_error());
    }
    opened.image.reset(out);
  } else if (depth != VIPS_FORMAT_UCHAR && depth != VIPS_FORMAT_USHORT) {
    fail(name, ": pixels of 8 or 16 bits expected, those of the file are ", vips_enum_nick(VIPS_TYPE_BAND_FORMAT, depth));
  }
  const Index bands = opened.bands();
  require(bands >= 1 && bands <= 4, name, ": 1 to 4 channels expected, the file has ", bands);
  const VipsBandFormat now = vips_image_get_format(opened.image.get());
  require(now == VIPS_FORMAT_UCHAR || now == VIPS_FORMAT_USHORT, name, ": pixels of 8 or 16 bits expected");
}

/// PNM may count to any number up to 65535, which libvips leaves to its callers: to the whole range.
inline void fill_range(Opened& opened, const std::string& name) {
  constexpr const char* field = "ppm-max-value";
  VipsImage* const image = opened.image.get();
  const VipsBandFormat depth = vips_image_get_format(image);
  if (depth != VIPS_FORMAT_UCHAR && depth != VIPS_FORMAT_USHORT) return;
  int most = 0;
  if (vips_image_get_typeof(image, field) == 0 || vips_image_get_int(image, field, &most) != 0) return;
  const int full = depth == VIPS_FORMAT_UCHAR ? 255 : 65535;
  if (most <= 1 || most == full) return;  // 1: black and white, which come as 0 and 255
  double factor = static_cast<double>(full) / most;
  double half = 0.5;
  VipsImage* scaled = nullptr;
  if (vips_linear(image, &scaled, &factor, &half, 1, nullptr) != 0) fail(name, ": ", last_error());
  opened.image.reset(scaled);
  VipsImage* out = nullptr;
  if (vips_cast(scaled, &out, depth, nullptr) != 0) fail(name, ": ", last_error());
  opened.image.reset(out);
}

/// A pixel of a wavelet's level lies on the first of the 2^level it stands for, half a pixel of its own off their middle: moves
/// it there, which makes the level the average of area that all others are, but for 2/255 in the mean.
inline void centre(Opened& opened, int level, const std::string& name) {
  const double shift = (1 - std::ldexp(1.0, -level)) / 2;
  VipsArrayInt* const area =
      vips_array_int_newv(4, 0, 0, vips_image_get_width(opened.image.get()), vips_image_get_height(opened.image.get()));
  VipsImage* out = nullptr;
  const int failed = vips_affine(opened.image.get(), &out, 1.0, 0.0, 0.0, 1.0, "odx", -shift, "ody", -shift, "oarea", area,
                                 "extend", VIPS_EXTEND_COPY, "premultiplied", TRUE, nullptr);
  vips_area_unref(VIPS_AREA(area));
  if (failed != 0) fail(name, ": ", last_error());
  opened.image.reset(out);
}

/// Computes pixels where it is called, without threads.
class Reader {
 public:
  Reader(VipsImage* image, const std::string& name) : region_(vips_region_new(image)), name_(name) {
    if (region_ == nullptr) fail(name_, ": ", last_error());
    wide_ = vips_image_get_format(image) == VIPS_FORMAT_USHORT;
    bands_ = vips_image_get_bands(image);
  }
  /// Makes the pixels of the box available to row().
  void prepare(const PixelBox& box) {
    const VipsRect rect{static_cast<int>(box.left), static_cast<int>(box.top), static_cast<int>(box.width),
                        static_cast<int>(box.height)};
    const Quiet quiet;
    if (vips_region_prepare(region_.get(), &rect) != 0) fail(name_, ": cannot be decoded: ", last_error());
  }
  /// `width` pixels of row `y` from column `x` on, converted.
  template <class P>
  void row(Index y, Index x, Index width, P* to, Index channels) const noexcept {
    const VipsPel* const from = VIPS_REGION_ADDR(region_.get(), static_cast<int>(x), static_cast<int>(y));
    if (wide_) {
      convert_pixels(reinterpret_cast<const std::uint16_t*>(from), bands_, to, channels, width);
    } else {
      convert_pixels(reinterpret_cast<const std::uint8_t*>(from), bands_, to, channels, width);
    }
  }

 private:
  Owned<VipsRegion> region_;
  const std::string& name_;
  bool wide_ = false;
  Index bands_ = 0;
};

/// A resolution with pixels of 8 or 16 bits, nothing decoded.
[[nodiscard]] inline Opened open_pixels(const Input& input, const std::string& loader, bool sequential, Scales scales,
                                        int level, bool deep, const std::string& name) {
  const Quiet quiet;
  Opened opened = open(input, loader, sequential, scales, level);
  fill_range(opened, name);
  make_pixels(opened, deep, name);
  if (level > 0 && scales == Scales::wavelets) centre(opened, level, name);
  return opened;
}

/// The ratio of one axis of a level that was made by halving or quartering, rounded up or down; the plain quotient of others.
[[nodiscard]] inline double ratio_of(Index full, Index level) noexcept {
  const double quotient = static_cast<double>(full) / static_cast<double>(level);
  const double whole = std::round(quotient);
  const double covered = whole * static_cast<double>(level);
  return covered >= static_cast<double>(full) && covered < static_cast<double>(full) + whole ? whole : quotient;
}

}  // namespace detail::vips

/// A picture that libvips reads, 8 bits or 16. Which way it decodes is the format's:
///
/// - PNG, Radiance, WebP, GIF, HEIF and JPEG XL from the top, in one pass for all tiles (info().sequential). A pass takes
///   some 50 rows of memory; but interlaced PNG, WebP, GIF, HEIF and JPEG XL hold the whole picture while they work, up to
///   three times.
/// - JPEG 2000, FITS, PGM and PPM and slides by the region. Memory: the tiles of one row of the file.
///
/// Levels: of WebP 1/8, averaged by libwebp while it decodes (on a photograph within 0.8/255 of the average of
/// what it decodes in full, in the mean); of JPEG 2000 its own resolutions, moved by the half pixel that wavelets are off
/// (within 1.7/255); of slides those OpenSlide tells of.
///
/// Alpha, grey and depth as in image/color.hpp. Linear and other colour spaces that libvips knows become sRGB; an embedded ICC
/// profile is not applied. Orientation is the file's word, where the loader did not turn the picture itself.
///
/// Refused with an Error: truncated or damaged files; more than 4 channels; numbers other than 8 or 16 bits that are no colours
/// (FITS of floating point); PBM and PNM as text, in which libvips finds no end missing; what would take more than kMostMemory
/// to be decoded, unless the file has a hundredth of that.
///
/// decoded().bytes is what was read of a file that is decoded from the top, all of it where the format wants all of it; and the
/// part in proportion to the pixels for those decoded by the region, as libvips does not tell.
template <kernel::Pixel P>
  requires std::is_same_v<P, std::uint8_t> || std::is_same_v<P, std::uint16_t>
class VipsDecoder final : public ImageDecoder<P> {
 public:
  /// Bytes a small file may take to be decoded.
  static constexpr std::int64_t kMostMemory = std::int64_t{256} << 20U;

  /// Throws Error where the file cannot be read, or is none of those above.
  explicit VipsDecoder(const std::filesystem::path& path, Index channels = 0)
      : VipsDecoder(detail::vips::Input{path.string(), {}}, channels) {}
  /// `bytes` must outlive the decoder.
  explicit VipsDecoder(std::span<const std::byte> bytes, Index channels = 0)
      : VipsDecoder(detail::vips::Input{{}, bytes}, channels) {}

  /// Its name in libvips, as in "Png".
  [[nodiscard]] std::string_view format() const noexcept { return format_.loader; }

  void decode(int level, std::span<const Tile<P>> tiles) override {
    if (tiles.empty()) return;
    if (this->info_.sequential) {
      pass(level, tiles.front().box.top, last_row(tiles), [&](Reader& reader, Index top, Index bottom) {
        const auto reached = [&](const Tile<P>& tile) { return tile.box.top < bottom && tile.box.bottom() > top; };
        // Tiles are sorted by row but may differ in height: those that a strip touches need not be neighbours.
        Index left = stored(level).extent[1];
        Index right = 0;
        for (const Tile<P>& tile : tiles) {
          if (!reached(tile)) continue;
          left = std::min(left, tile.box.left);
          right = std::max(right, tile.box.right());
        }
        if (left >= right) {  // decoded, but wanted by none
          reader.prepare({top, 0, bottom - top, 1});
          return;
        }
        reader.prepare({top, left, bottom - top, right - left});
        for (const Tile<P>& tile : tiles) {
          if (reached(tile)) copy(reader, tile, std::max(top, tile.box.top), std::min(bottom, tile.box.bottom()));
        }
      });
      return;
    }
    Reader reader(opened(level).image.get(), name_);
    for (const Tile<P>& tile : tiles) {
      reader.prepare(tile.box);
      copy(reader, tile, tile.box.top, tile.box.bottom());
      count_part(tile.box.height * tile.box.width);
    }
  }

  void scan(int level, const RowSink<P>& sink) override {
    const Extents<2> extent = stored(level).extent;
    std::vector<P> row(static_cast<std::size_t>(extent[1] * this->info_.channels));
    const auto strip = [&](Reader& reader, Index top, Index bottom) {
      reader.prepare({top, 0, bottom - top, extent[1]});
      for (Index y = top; y < bottom; ++y) {
        reader.row(y, 0, extent[1], row.data(), this->info_.channels);
        sink(y, row.data());
      }
    };
    if (this->info_.sequential) {
      pass(level, 0, extent[0], strip);
      return;
    }
    Reader reader(opened(level).image.get(), name_);
    for (Index top = 0; top < extent[0]; top += kStrip) strip(reader, top, std::min(extent[0], top + kStrip));
    count_part(extent[0] * extent[1]);
  }

 private:
  using Reader = detail::vips::Reader;
  using Opened = detail::vips::Opened;
  using Scales = detail::vips::Scales;
  /// Rows asked for at a time; libvips reads strips of as many.
  static constexpr Index kStrip = 16;

  VipsDecoder(detail::vips::Input input, Index channels) : input_(std::move(input)), name_(input_.name()) {
    detail::vips::start();
    require(!input_.path.empty() || !input_.memory.empty(), name_, ": a picture expected, no bytes came");
    loader_ = detail::vips::find_loader(input_);
    const std::optional<detail::vips::Format> format = detail::vips::format_of(loader_);
    if (!format) fail(name_, ": a format of image/vips.hpp expected, it is one for ", loader_);
    format_ = *format;

    const Opened header = detail::vips::open(input_, loader_, true);
    file_bytes_ = std::max<std::int64_t>(0, vips_source_length(header.source.get()));
    vips_error_clear();
    whole_ = !format_.by_rows || vips_image_get_typeof(header.image.get(), "interlaced") != 0;
    this->info_.sequential = !(format_.regions && header.partial);
    // libvips maps bytes and words. Of text and of bits it takes what is missing for what memory happens to hold.
    require(format_.loader != "Ppm" || header.partial, name_, ": PGM or PPM in binary (P5, P6) expected, text or bits came");
    check_memory(header);
    if (!format_.upright) this->info_.orientation = orientation_from_tag(vips_image_get_orientation(header.image.get()));

    Opened picture = open_level(0);
    bands_ = picture.bands();
    this->info_.channels = channels_of(bands_, channels);
    const Extents<2> full = picture.extent();
    require(full[0] >= 1 && full[1] >= 1, name_, ": a picture of at least 1x1 expected, ", full[0], "x", full[1], " came");
    this->info_.levels.push_back({full, tile_of(header, 0, full), {1, 1}});
    const int levels = levels_of(header);
    for (int k = 1; k < levels; ++k) {
      const Extents<2> extent = open_level(k).extent();
      const Extents<2>& above = this->info_.levels.back().extent;
      if (extent[0] >= above[0] || extent[1] >= above[1]) break;
      // libwebp stretches what it shrinks over the whole picture; the others halve.
      const bool stretched = format_.scales == Scales::shrunk;
      const auto ratio = [&](std::size_t axis) {
        return stretched ? static_cast<double>(full[axis]) / static_cast<double>(extent[axis])
                         : detail::vips::ratio_of(full[axis], extent[axis]);
      };
      this->info_.levels.push_back({extent, tile_of(header, k, extent), {ratio(0), ratio(1)}});
    }
    opened_.resize(this->info_.levels.size());
    if (!this->info_.sequential) opened_[0] = std::move(picture);
  }

  /// Before anything of that size is allocated. A picture that is large for good reason has a large file.
  void check_memory(const Opened& header) const {
    const std::int64_t rows = whole_ ? header.extent()[0] : std::min<std::int64_t>(header.extent()[0], 6 * kStrip);
    // The picture, and what the decoder below has of it in another form.
    const std::int64_t needed = 2 * rows * header.extent()[1] * header.pixel_bytes();
    const std::int64_t allowed = std::max(kMostMemory, 100 * file_bytes_);
    require(needed <= allowed, name_, ": ", header.extent()[0], "x", header.extent()[1], " pixels take ", needed,
            " bytes to be decoded; at most ", allowed, " expected of a file of ", file_bytes_);
  }

  /// A number libvips keeps as text.
  [[nodiscard]] static int number(const Opened& header, const std::string& field, int otherwise) {
    const char* text = nullptr;
    if (vips_image_get_typeof(header.image.get(), field.c_str()) == 0) return otherwise;
    if (vips_image_get_string(header.image.get(), field.c_str(), &text) != 0) {
      vips_error_clear();
      return otherwise;
    }
    const std::string_view digits(text);
    int value = 0;
    return std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc() ? value : otherwise;
  }

  /// Resolutions the file has to offer, at most.
  [[nodiscard]] int levels_of(const Opened& header) const {
    constexpr int most = PyramidView<P>::max_levels;
    const Extents<2> extent = header.extent();
    // Below that nothing is spared.
    const auto halvings = static_cast<int>(std::bit_width(static_cast<std::size_t>(std::max(extent[0], extent[1]) / 64)));
    switch (format_.scales) {
      case Scales::one: return 1;
      case Scales::shrunk: return halvings >= 3 ? 2 : 1;
      case Scales::wavelets: return std::clamp(vips_image_get_n_pages(header.image.get()), 1, 1 + std::min(most - 1, halvings));
      case Scales::slide: return std::clamp(number(header, "openslide.level-count", 1), 1, most);
    }
    return 1;
  }

  /// The file's tiles where it tells of them; else what is worth keeping of a glimpse.
  [[nodiscard]] Extents<2> tile_of(const Opened& header, int k, Extents<2> extent) const {
    Extents<2> tile = this->info_.sequential ? Extents<2>{64, 128} : Extents<2>{256, 256};
    if (format_.scales == Scales::slide) {
      const std::string field = "openslide.level[" + std::to_string(k) + "].tile-";
      const Extents<2> own{number(header, field + "height", 0), number(header, field + "width", 0)};
      if (std::min(own[0], own[1]) >= 16 && std::max(own[0], own[1]) <= 1024) tile = own;
    }
    return {std::min(tile[0], extent[0]), std::min(tile[1], extent[1])};
  }

  [[nodiscard]] const StoredLevel& stored(int k) const noexcept {
    FOVEA_ASSERT(k >= 0 && k < static_cast<int>(this->info_.levels.size()));
    return this->info_.levels[static_cast<std::size_t>(k)];
  }

  /// A level with pixels of 8 or 16 bits, nothing decoded.
  [[nodiscard]] Opened open_level(int k) const {
    Opened level = detail::vips::open_pixels(input_, loader_, this->info_.sequential, format_.scales, k, sizeof(P) > 1, name_);
    const Extents<2> extent = level.extent();
    // Once more than it was opened first: the file may be another by now.
    if (k < static_cast<int>(this->info_.levels.size())) {
      const Extents<2> known = stored(k).extent;
      require(extent == known, name_, ": ", known[0], "x", known[1], " pixels expected, as when it was opened; ", extent[0],
              "x", extent[1], " came");
    }
    require(bands_ == 0 || level.bands() == bands_, name_, ": ", bands_, " channels expected in all levels, ", level.bands(),
            " came");
    return level;
  }
  /// The same of a file whose levels stay open.
  [[nodiscard]] const Opened& opened(int k) {
    FOVEA_ASSERT(k >= 0 && k < static_cast<int>(opened_.size()));
    Opened& level = opened_[static_cast<std::size_t>(k)];
    if (level.image == nullptr) level = open_level(k);
    return level;
  }

  [[nodiscard]] static Index last_row(std::span<const Tile<P>> tiles) noexcept {
    Index last = 0;
    for (const Tile<P>& tile : tiles) last = std::max(last, tile.box.bottom());
    return last;
  }

  /// Decodes rows [0, end) from the top, in strips, and hands over those from `begin` on.
  template <class Strip>
  void pass(int k, Index begin, Index end, Strip&& strip) {
    const Opened level = open_level(k);
    const Extents<2> extent = level.extent();
    Reader reader(level.image.get(), name_);
    for (Index top = 0; top < end; top += kStrip) {
      const Index bottom = std::min(end, top + kStrip);
      if (bottom <= begin) {
        reader.prepare({top, 0, bottom - top, 1});
      } else {
        strip(reader, top, bottom);
      }
    }
    const Index rows = whole_ ? extent[0] : std::min(extent[0], (end + kStrip - 1) / kStrip * kStrip);
    // Shrinking begins where the whole was decoded.
    this->decoded_.pixels += format_.scales == Scales::shrunk ? product(stored(0).extent) : rows * extent[1];
    const std::int64_t read = level.source->read_position;
    this->decoded_.bytes += whole_ || read <= 0 ? file_bytes_ : std::min(read, file_bytes_);
  }

  static void copy(const Reader& reader, const Tile<P>& tile, Index top, Index bottom) noexcept {
    for (Index y = top; y < bottom; ++y) {
      P* const to = tile.pixels.data() + (y - tile.box.top) * tile.pixels.stride(0);
      reader.row(y, tile.box.left, tile.box.width, to, tile.pixels.extent(2));
    }
  }

  void count_part(std::int64_t pixels) noexcept {
    double all = 0;
    for (const StoredLevel& level : this->info_.levels) {
      all += static_cast<double>(product(level.extent));
      if (format_.scales == Scales::wavelets) break;  // the coarse levels are part of the finest
    }
    this->decoded_.pixels += pixels;
    this->decoded_.bytes += static_cast<std::int64_t>(static_cast<double>(pixels) / all * static_cast<double>(file_bytes_));
  }

  detail::vips::Input input_;
  std::string name_;
  std::string loader_;
  detail::vips::Format format_{};
  std::int64_t file_bytes_ = 0;
  Index bands_ = 0;
  bool whole_ = false;
  std::vector<Opened> opened_;  ///< levels that are decoded by the region, where they were looked at
};

/// DeepZoom: NAME.dzi beside the folder NAME_files, in which every resolution has a folder of tiles, JPEG or any format of
/// VipsDecoder. Decoded by the tile; a level is half the one above, rounded up. Memory: one tile.
/// Throws Error on a description that is none, and where a tile is missing or not of the size it should have.
template <kernel::Pixel P>
  requires std::is_same_v<P, std::uint8_t> || std::is_same_v<P, std::uint16_t>
class DeepZoomDecoder final : public ImageDecoder<P> {
 public:
  /// True where the file begins as a DeepZoom description.
  [[nodiscard]] static bool is_description(const std::filesystem::path& path) {
    const std::string text = beginning(path);
    return text.find("<Image") != std::string::npos && text.find("schemas.microsoft.com/deepzoom/") != std::string::npos;
  }

  explicit DeepZoomDecoder(const std::filesystem::path& path, Index channels = 0) : name_(path.string()) {
    detail::vips::start();
    require(is_description(path), name_, ": a DeepZoom description expected");
    const std::string text = beginning(path);
    const Extents<2> full{number(text, "Height", 1, kMostPixels), number(text, "Width", 1, kMostPixels)};
    tile_ = number(text, "TileSize", 16, 4096);
    overlap_ = number(text, "Overlap", 0, tile_);
    suffix_ = attribute(text, "Format");
    const bool plain = !suffix_.empty() && suffix_.size() <= 8 && std::all_of(suffix_.begin(), suffix_.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0;
    });
    require(plain, name_, ": the format of tiles expected, \"", suffix_, "\" came");
    folder_ = path.parent_path() / (path.stem().string() + "_files");
    finest_ = static_cast<int>(std::bit_width(static_cast<std::size_t>(std::max(full[0], full[1]) - 1)));
    Extents<2> extent = full;
    for (int k = 0; k <= std::min(finest_, PyramidView<P>::max_levels - 1); ++k) {
      const double ratio = std::ldexp(1.0, k);
      this->info_.levels.push_back({extent, {std::min(tile_, extent[0]), std::min(tile_, extent[1])}, {ratio, ratio}});
      extent = {(extent[0] + 1) / 2, (extent[1] + 1) / 2};
    }
    this->info_.channels = channels_of(open_tile(0, 0, 0).bands(), channels);
  }

  void decode(int level, std::span<const Tile<P>> tiles) override {
    for (const Tile<P>& tile : tiles) {
      for (Index r = tile.box.top / tile_; r * tile_ < tile.box.bottom(); ++r) {
        for (Index c = tile.box.left / tile_; c * tile_ < tile.box.right(); ++c) copy(level, r, c, tile);
      }
    }
  }

 private:
  static constexpr Index kMostPixels = Index{1} << 30;

  [[nodiscard]] static std::string beginning(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text(4096, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(std::max(std::streamsize{0}, file.gcount())));
    return text;
  }
  /// What stands in quotes behind NAME=; empty where there is no such attribute.
  [[nodiscard]] static std::string attribute(const std::string& text, const std::string& name) {
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
      const std::size_t open = at + name.size() + 1;
      if (at == 0 || std::isspace(static_cast<unsigned char>(text[at - 1])) == 0 || open >= text.size()) continue;
      if (text[open - 1] != '=' || (text[open] != '"' && text[open] != '\'')) continue;
      const std::size_t close = text.find(text[open], open + 1);
      if (close != std::string::npos) return text.substr(open + 1, close - open - 1);
    }
    return {};
  }
  [[nodiscard]] Index number(const std::string& text, const std::string& name, Index least, Index most) const {
    const std::string digits = attribute(text, name);
    Index value = least - 1;
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, value);
    require(error == std::errc() && rest == end && value >= least && value <= most, name_, ": ", name, " of ", least, " to ",
            most, " expected, \"", digits, "\" came");
    return value;
  }

  /// A tile with its overlaps: in pixels of its level.
  [[nodiscard]] PixelBox file_box(int level, Index row, Index column) const noexcept {
    const Extents<2> extent = this->info_.levels[static_cast<std::size_t>(level)].extent;
    const PixelBox box{row * tile_ - overlap_, column * tile_ - overlap_, tile_ + 2 * overlap_, tile_ + 2 * overlap_};
    return intersection(box, {0, 0, extent[0], extent[1]});
  }
  [[nodiscard]] detail::vips::Opened open_tile(int level, Index row, Index column) {
    const auto file =
        folder_ / std::to_string(finest_ - level) / (std::to_string(column) + "_" + std::to_string(row) + "." + suffix_);
    const detail::vips::Input input{file.string(), {}};
    const std::string loader = detail::vips::find_loader(input);
    require(detail::vips::format_of(loader).has_value() || loader == "VipsForeignLoadJpegSource", input.path,
            ": a JPEG or a format of image/vips.hpp expected, it is one for ", loader);
    detail::vips::Opened opened =
        detail::vips::open_pixels(input, loader, true, detail::vips::Scales::one, 0, sizeof(P) > 1, input.path);
    const PixelBox box = file_box(level, row, column);
    const Extents<2> extent = opened.extent();
    require(extent == Extents<2>{box.height, box.width}, input.path, ": a tile of ", box.height, "x", box.width,
            " pixels expected, ", extent[0], "x", extent[1], " came");
    return opened;
  }
  void copy(int level, Index row, Index column, const Tile<P>& to) {
    const detail::vips::Opened opened = open_tile(level, row, column);
    const PixelBox from = file_box(level, row, column);
    const PixelBox part = intersection(to.box, {row * tile_, column * tile_, tile_, tile_});
    detail::vips::Reader reader(opened.image.get(), name_);
    reader.prepare({0, 0, part.bottom() - from.top, from.width});
    for (Index y = part.top; y < part.bottom(); ++y) {
      P* const out =
          to.pixels.data() + (y - to.box.top) * to.pixels.stride(0) + (part.left - to.box.left) * to.pixels.stride(1);
      reader.row(y - from.top, part.left - from.left, part.width, out, this->info_.channels);
    }
    this->decoded_.bytes += std::max<std::int64_t>(0, vips_source_length(opened.source.get()));
    this->decoded_.pixels += from.height * from.width;
  }

  std::string name_;
  std::filesystem::path folder_;
  std::string suffix_;
  Index tile_ = 0;
  Index overlap_ = 0;
  int finest_ = 0;  ///< the number of the folder of the picture itself
};

/// The decoder for what libvips reads, or a DeepZoom description.
template <kernel::Pixel P = std::uint8_t>
[[nodiscard]] std::unique_ptr<ImageDecoder<P>> vips_decoder(const std::filesystem::path& path, Index channels = 0) {
  if (DeepZoomDecoder<P>::is_description(path)) return std::make_unique<DeepZoomDecoder<P>>(path, channels);
  return std::make_unique<VipsDecoder<P>>(path, channels);
}

/// The same as something to look at. Throws Error as the decoders do.
template <kernel::Pixel P = std::uint8_t>
[[nodiscard]] BasicImageFile<P> open_vips(const std::filesystem::path& path, const ImageFileOptions& options = {}) {
  return BasicImageFile<P>(vips_decoder<P>(path, options.channels), options);
}
/// A picture in memory, which must outlive it.
template <kernel::Pixel P = std::uint8_t>
[[nodiscard]] BasicImageFile<P> open_vips(std::span<const std::byte> bytes, const ImageFileOptions& options = {}) {
  return BasicImageFile<P>(std::make_unique<VipsDecoder<P>>(bytes, options.channels), options);
}

}  // namespace fovea::inline FOVEA_ABI
