// SPDX-License-Identifier: MIT
/// \file
/// Any picture by its content, whatever its name: JPEG by image/jpeg.hpp, TIFF by image/tiff.hpp, .npy by image/raw.hpp, and
/// all others by image/vips.hpp. Needs the three libraries of those headers (CMake component `open`).
///
/// Whole-slide files that are plain tiled TIFFs (Aperio's .svs and their like) are read as such; what image/tiff.hpp refuses
/// but OpenSlide knows (.ndpi) by that, and a MIRAX slide, a JPEG beside a folder of its name, too.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/color.hpp>
#include <fovea/image/decoder.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/jpeg.hpp>
#include <fovea/image/raw.hpp>
#include <fovea/image/tiff.hpp>
#include <fovea/image/vips.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {

/// Which header reads a file.
enum class ImageFormat : std::uint8_t { jpeg, tiff, npy, vips };

/// From its first bytes; 8 are enough.
[[nodiscard]] inline ImageFormat image_format(std::string_view beginning) noexcept {
  using namespace std::string_view_literals;
  if (beginning.starts_with("\xFF\xD8\xFF"sv)) return ImageFormat::jpeg;
  for (const std::string_view tiff : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv}) {
    if (beginning.starts_with(tiff)) return ImageFormat::tiff;
  }
  if (beginning.starts_with("\x93NUMPY"sv)) return ImageFormat::npy;
  return ImageFormat::vips;
}
/// Throws Error where the file cannot be read.
[[nodiscard]] inline ImageFormat image_format(const std::filesystem::path& path) {
  std::error_code error;
  require(std::filesystem::is_regular_file(path, error), path.string(), ": a file expected");
  std::ifstream file(path, std::ios::binary);
  require(file.good(), path.string(), ": cannot be read");
  std::array<char, 8> beginning{};
  file.read(beginning.data(), beginning.size());
  return image_format(std::string_view(beginning.data(), static_cast<std::size_t>(file.gcount())));
}

namespace detail {

/// A decoder of bytes for those who look at 16 bits: v * 257, as image/color.hpp says.
class WidenedDecoder final : public ImageDecoder<std::uint16_t> {
 public:
  explicit WidenedDecoder(std::unique_ptr<ImageDecoder<std::uint8_t>> bytes)
      : ImageDecoder(bytes->info()), bytes_(std::move(bytes)) {}

  void decode(int level, std::span<const Tile<std::uint16_t>> tiles) override {
    // In one call, as the pixels of one box after the other: the decoder may have to begin at the top for each call.
    std::size_t size = 0;
    for (const Tile<std::uint16_t>& tile : tiles) size += static_cast<std::size_t>(tile.pixels.size());
    memory_.resize(size);
    pieces_.clear();
    std::uint8_t* at = memory_.data();
    for (const Tile<std::uint16_t>& tile : tiles) {
      pieces_.push_back({tile.box, View<std::uint8_t, 3>(at, tile.pixels.extents())});
      at += tile.pixels.size();
    }
    bytes_->decode(level, pieces_);
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      for (Index y = 0; y < tiles[i].box.height; ++y) {
        widen(&pieces_[i].pixels(y, 0, 0), tiles[i].pixels.data() + y * tiles[i].pixels.stride(0),
              tiles[i].box.width * info_.channels);
      }
    }
    decoded_ = bytes_->decoded();
  }
  void scan(int level, const RowSink<std::uint16_t>& sink) override {
    const Index width = info_.levels[static_cast<std::size_t>(level)].extent[1] * info_.channels;
    std::vector<std::uint16_t> row(static_cast<std::size_t>(width));
    bytes_->scan(level, [&](Index y, const std::uint8_t* pixels) {
      widen(pixels, row.data(), width);
      sink(y, row.data());
    });
    decoded_ = bytes_->decoded();
  }

 private:
  static void widen(const std::uint8_t* from, std::uint16_t* to, Index count) noexcept {
    convert_pixels(from, 1, to, 1, count);
  }

  std::unique_ptr<ImageDecoder<std::uint8_t>> bytes_;
  std::vector<std::uint8_t> memory_;
  std::vector<Tile<std::uint8_t>> pieces_;
};

template <class P>
[[nodiscard]] std::unique_ptr<ImageDecoder<P>> jpeg_decoder(std::unique_ptr<JpegDecoder> decoder) {
  if constexpr (std::is_same_v<P, std::uint8_t>) {
    return decoder;
  } else {
    return std::make_unique<WidenedDecoder>(std::move(decoder));
  }
}

/// True for the JPEG that stands for a MIRAX slide: its folder describes the slide.
[[nodiscard]] inline bool is_mirax(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path.parent_path() / path.stem() / "Slidedat.ini", error);
}

/// What image/tiff.hpp reads, or else OpenSlide; where neither does, the former knows better why.
template <class P>
[[nodiscard]] std::unique_ptr<ImageDecoder<P>> tiff_decoder(const std::filesystem::path& path, Index channels) {
  std::string reason;
  try {
    return std::make_unique<TiffDecoder<P>>(path, channels);
  } catch (const Error& error) {
    reason = error.what();
  }
  try {
    return std::make_unique<VipsDecoder<P>>(path, channels);
  } catch (const Error&) {
    fail(reason);
  }
}

}  // namespace detail

/// The decoder for a file, by its content. Throws Error where there is none, and as its constructor does.
template <kernel::Pixel P = std::uint8_t>
  requires std::is_same_v<P, std::uint8_t> || std::is_same_v<P, std::uint16_t>
[[nodiscard]] std::unique_ptr<ImageDecoder<P>> open_decoder(const std::filesystem::path& path, Index channels = 0) {
  switch (image_format(path)) {
    case ImageFormat::jpeg:
      if (detail::is_mirax(path)) break;
      return detail::jpeg_decoder<P>(std::make_unique<JpegDecoder>(path, channels));
    case ImageFormat::tiff: return detail::tiff_decoder<P>(path, channels);
    case ImageFormat::npy: {
      MappedFile file(path);
      const RawLayout layout = npy_layout(file.bytes());
      return std::make_unique<RawDecoder<P>>(std::move(file), layout, channels);
    }
    case ImageFormat::vips: break;
  }
  return vips_decoder<P>(path, channels);
}
/// The same in memory, which must outlive it.
template <kernel::Pixel P = std::uint8_t>
  requires std::is_same_v<P, std::uint8_t> || std::is_same_v<P, std::uint16_t>
[[nodiscard]] std::unique_ptr<ImageDecoder<P>> open_decoder(std::span<const std::byte> bytes, Index channels = 0) {
  switch (image_format(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()))) {
    case ImageFormat::jpeg: return detail::jpeg_decoder<P>(std::make_unique<JpegDecoder>(bytes, channels));
    case ImageFormat::tiff: return std::make_unique<TiffDecoder<P>>(bytes, channels);
    case ImageFormat::npy: return std::make_unique<RawDecoder<P>>(bytes, npy_layout(bytes), channels);
    case ImageFormat::vips: break;
  }
  return std::make_unique<VipsDecoder<P>>(bytes, channels);
}

/// Any picture as something to look at: ImageFile by default, BasicImageFile<std::uint16_t> for 16 bits. Throws Error where the
/// file cannot be read or is no picture.
template <kernel::Pixel P = std::uint8_t>
[[nodiscard]] BasicImageFile<P> open_image(const std::filesystem::path& path, const ImageFileOptions& options = {}) {
  return BasicImageFile<P>(open_decoder<P>(path, options.channels), options);
}
/// The same in memory, which must outlive it.
template <kernel::Pixel P = std::uint8_t>
[[nodiscard]] BasicImageFile<P> open_image(std::span<const std::byte> bytes, const ImageFileOptions& options = {}) {
  return BasicImageFile<P>(open_decoder<P>(bytes, options.channels), options);
}

}  // namespace fovea::inline FOVEA_ABI
