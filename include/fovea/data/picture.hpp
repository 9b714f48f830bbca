// SPDX-License-Identifier: MIT
/// \file
/// A picture of a data set as something to look at: decoded as a whole where it is small enough, as it is looked at where not.
///
/// Needs the libraries of image/open.hpp (CMake component `open`).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/decoder.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/open.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace data {

struct PictureOptions {
  /// How a file is read: channels (1, 3 or 4; 0: 1 or 3, as the file has), orientation, and what a picture that is not decoded
  /// as a whole may keep.
  ImageFileOptions file = {.channels = 3};
  /// A picture whose pixels and lower resolutions (a third more) take at most so many bytes is decoded as a whole.
  std::size_t most_bytes = std::size_t{64} << 20U;
};

namespace detail {

/// What turns a picture back that was turned upright.
[[nodiscard]] constexpr Orientation inverse(Orientation o) noexcept {
  if (o == Orientation::rotated_90) return Orientation::rotated_90_counter;
  if (o == Orientation::rotated_90_counter) return Orientation::rotated_90;
  return o;  // the others are their own
}

}  // namespace detail

/// An ImageSource of bytes that is a Pyramid or an ImageFile, as the size of the file decides, and may be used for one file
/// after the other. Its levels are the same either way, but for what a file stores of its own. Empty until it is opened; not
/// for two threads at a time.
///
/// Memory: at most PictureOptions::most_bytes, which stay for the next picture; for one that is too large for that, what
/// ImageFile::memory() says besides; and while it is decoded what its decoder takes (image/jpeg.hpp, tiff.hpp, vips.hpp).
class Picture {
 public:
  using PixelType = std::uint8_t;

  /// Opens a file. Where it is decoded as a whole, `edit(View<std::uint8_t, 3> pixels)` may change the pixels {height, width,
  /// channels}, upright and dense, before the lower resolutions are made of them. Throws Error where the file cannot be read or
  /// is damaged, and what `edit` throws; then the picture is empty.
  template <class Edit>
  void open(const std::filesystem::path& path, const PictureOptions& options, Edit&& edit) {
    file_.reset();
    static_cast<PyramidView<PixelType>&>(levels_) = {};  // its memory stays
    decoded_ = {};
    std::unique_ptr<ImageDecoder<PixelType>> decoder = open_decoder<PixelType>(path, options.file.channels);
    const ImageInfo& info = decoder->info();
    const Orientation orientation = options.file.honour_orientation ? info.orientation : Orientation::upright;
    const Extents<2> seen = oriented(orientation, info.levels.at(0).extent);
    // In floating point, as the product may be beyond all numbers.
    const double bytes = static_cast<double>(seen[0]) * static_cast<double>(seen[1]) * static_cast<double>(info.channels);
    if (bytes * 4 / 3 > static_cast<double>(options.most_bytes)) {
      file_.emplace(std::move(decoder), options.file);
      return;
    }
    const Extents<3> extents{seen[0], seen[1], info.channels};
    if (static_cast<Index>(pixels_.size()) < product(extents)) {
      // Given back first: a vector that grows takes up to twice what it needs.
      levels_ = {};
      pixels_ = {};
      pixels_.resize(static_cast<std::size_t>(product(extents)));
    }
    const View<PixelType, 3> pixels(pixels_.data(), extents);
    // Rows come as they are stored; through this view each lands where it is seen.
    const View<PixelType, 3> stored = oriented(detail::inverse(orientation), pixels);
    decoder->scan(0, [&stored](Index y, const PixelType* row) {
      PixelType* to = stored.data() + y * stored.stride(0);
      for (Index x = 0; x < stored.extent(1); ++x, to += stored.stride(1), row += stored.extent(2)) {
        std::copy_n(row, stored.extent(2), to);
      }
    });
    decoded_ = decoder->decoded();
    std::forward<Edit>(edit)(pixels);
    levels_.assign(pixels);
    overview_ = 0;
    while (overview_ + 1 < levels_.levels() && product(levels_.level_extent(overview_)) > options.file.overview_pixels) {
      ++overview_;
    }
  }
  void open(const std::filesystem::path& path, const PictureOptions& options = {}) {
    open(path, options, [](const View<PixelType, 3>&) {});
  }

  /// True where the picture was decoded as a whole.
  [[nodiscard]] bool in_memory() const noexcept { return !file_.has_value(); }

  [[nodiscard]] Extents<2> extent() const noexcept { return file_ ? file_->extent() : levels_.extent(); }
  [[nodiscard]] Index channels() const noexcept { return file_ ? file_->channels() : levels_.channels(); }
  /// 0 where it is empty.
  [[nodiscard]] int levels() const noexcept { return file_ ? file_->levels() : levels_.levels(); }
  [[nodiscard]] Extents<2> level_extent(int k) const noexcept {
    return file_ ? file_->level_extent(k) : levels_.level_extent(k);
  }
  [[nodiscard]] std::array<double, 2> ratios(int k) const noexcept { return file_ ? file_->ratios(k) : levels_.ratios(k); }
  [[nodiscard]] double ratio(int k) const noexcept { return file_ ? file_->ratio(k) : levels_.ratio(k); }
  /// The level that proxies are made of: a file's overview, or what that would be, so that a model is trained on the proxies
  /// that it will be asked about.
  [[nodiscard]] int overview_level() const noexcept { return file_ ? file_->overview_level() : overview_; }
  /// Throws Error where a file that is not in memory turns out damaged.
  [[nodiscard]] PixelWindow<PixelType> read(int k, const PixelBox& box) const {
    return file_ ? file_->read(k, box) : levels_.read(k, box);
  }
  void prepare(std::span<const LevelBox> boxes) const {
    if (file_) file_->prepare(boxes);
  }
  [[nodiscard]] Decoded decoded() const noexcept { return file_ ? file_->decoded() : decoded_; }

 private:
  std::optional<ImageFile> file_;
  std::vector<PixelType> pixels_;
  Pyramid<PixelType> levels_;  ///< of pixels_
  int overview_ = 0;
  Decoded decoded_;
};

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
