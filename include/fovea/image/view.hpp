// SPDX-License-Identifier: MIT
/// \file
/// Images in memory, as others own them: one image, or the same image at several resolutions.
///
/// Images are HWC, mostly `uint8_t`, as decoders and cameras deliver them. They are never converted as a whole: whoever reads
/// a pixel scales it, `uint8_t` by 1/255, `uint16_t` by 1/65535, floating point as it is.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/resample.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {

/// {height, width, channels}, any strides (a planar image is a view too), never owned.
template <kernel::Pixel P>
using ImageView = View<const P, 3>;

/// Pixels of one resolution: rows [top, top + height) and columns [left, left + width).
struct PixelBox {
  Index top = 0;
  Index left = 0;
  Index height = 0;
  Index width = 0;
  [[nodiscard]] constexpr Index bottom() const noexcept { return top + height; }
  [[nodiscard]] constexpr Index right() const noexcept { return left + width; }
  [[nodiscard]] constexpr bool empty() const noexcept { return height <= 0 || width <= 0; }
  friend constexpr bool operator==(const PixelBox&, const PixelBox&) = default;
};

/// The common part of two boxes; empty where there is none.
[[nodiscard]] constexpr PixelBox intersection(const PixelBox& a, const PixelBox& b) noexcept {
  const Index top = std::max(a.top, b.top);
  const Index left = std::max(a.left, b.left);
  return {top, left, std::max(Index{0}, std::min(a.bottom(), b.bottom()) - top),
          std::max(Index{0}, std::min(a.right(), b.right()) - left)};
}

/// Part of a resolution: `pixels` begins at its row `top` and column `left`.
template <kernel::Pixel P>
struct PixelWindow {
  ImageView<P> pixels;
  Index top = 0;
  Index left = 0;
};

/// What looking has cost so far: bytes read from a file, and pixels a decoder made of them. Both 0 for pixels in memory.
struct Decoded {
  std::int64_t bytes = 0;
  std::int64_t pixels = 0;
};

/// The same image at several resolutions, fine to coarse; owns nothing. Every level covers the whole image and starts at its
/// upper left edge; a pixel of it is `ratio` pixels of the image high and wide, which need not be a power of two, nor whole.
/// The finest level stored may be coarser than the image.
template <kernel::Pixel P>
class PyramidView {
 public:
  using PixelType = P;
  /// Enough for 2^24 pixels a side down to one.
  static constexpr int max_levels = 24;

  PyramidView() = default;
  /// One level, the image itself. Throws Error on an empty image.
  PyramidView(ImageView<P> image)  // NOLINT(google-explicit-constructor): an image is a pyramid of one level
      : PyramidView({image.extent(0), image.extent(1)}, image.extent(2)) {
    push_back(image);
  }
  /// No level yet. `extent`: {height, width} of the full image, at least 1 each; `channels` at least 1.
  PyramidView(Extents<2> extent, Index channels) : extent_(extent), channels_(channels) {
    require(extent[0] >= 1 && extent[1] >= 1 && channels >= 1, "pyramid: an image of at least 1x1x1 expected, ", extent[0], "x",
            extent[1], "x", channels, " came");
  }

  /// Appends a level coarser than those there, whose pixels divide the image evenly: its ratio is extent / level extent.
  /// Throws Error where it is not smaller, or has other channels.
  void push_back(ImageView<P> level) {
    push_back(level, {static_cast<double>(extent_[0]) / static_cast<double>(std::max(Index{1}, level.extent(0))),
                      static_cast<double>(extent_[1]) / static_cast<double>(std::max(Index{1}, level.extent(1)))});
  }
  /// The same with the ratio given, {down, across}: where the last row or column reaches beyond the edge of the image, as in
  /// levels of ceil(n / 2^k) pixels.
  void push_back(ImageView<P> level, std::array<double, 2> ratio) {
    require(levels_ < max_levels, "pyramid: at most ", max_levels, " levels expected");
    require(level.extent(2) == channels_, "pyramid: a level of ", channels_, " channels expected, ", level.extent(2), " came");
    require(level.extent(0) >= 1 && level.extent(1) >= 1, "pyramid: a level of at least 1x1 expected, ", level.extent(0), "x",
            level.extent(1), " came");
    const Extents<2> above = levels_ == 0 ? extent_ : level_extent(levels_ - 1);
    const bool shrinks = level.extent(0) <= above[0] && level.extent(1) <= above[1] &&
                         (levels_ == 0 || level.extent(0) < above[0] || level.extent(1) < above[1]);
    require(shrinks, "pyramid: a level smaller than ", above[0], "x", above[1], " expected, ", level.extent(0), "x",
            level.extent(1), " came");
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const double reach = ratio[axis] * static_cast<double>(level.extent(axis));
      const auto whole = static_cast<double>(extent_[axis]);
      require(ratio[axis] >= 1 && reach > whole - 1 && reach < whole + ratio[axis], "pyramid: a level that covers the image's ",
              extent_[axis], " pixels expected, ", level.extent(axis), " pixels of ", ratio[axis], " came");
    }
    const auto at = static_cast<std::size_t>(levels_++);
    level_[at] = level;
    ratio_[at] = ratio;
  }

  /// {height, width} of the full image, in pixels.
  [[nodiscard]] Extents<2> extent() const noexcept { return extent_; }
  [[nodiscard]] Index channels() const noexcept { return channels_; }
  [[nodiscard]] int levels() const noexcept { return levels_; }
  /// 0 is the finest.
  [[nodiscard]] const ImageView<P>& level(int i) const noexcept {
    FOVEA_ASSERT(i >= 0 && i < levels_);
    return level_[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] Extents<2> level_extent(int i) const noexcept { return {level(i).extent(0), level(i).extent(1)}; }
  /// Pixels of the full image to a pixel of this level, {down, across}.
  [[nodiscard]] const std::array<double, 2>& ratios(int i) const noexcept {
    FOVEA_ASSERT(i >= 0 && i < levels_);
    return ratio_[static_cast<std::size_t>(i)];
  }
  /// The same on the axis where that is more.
  [[nodiscard]] double ratio(int i) const noexcept { return std::max(ratios(i)[0], ratios(i)[1]); }

  /// Pixels of a level, at least those of `box`: here always the whole level, and nothing is copied.
  [[nodiscard]] PixelWindow<P> read(int i, const PixelBox& /*box*/) const noexcept { return {level(i), 0, 0}; }
  /// Nothing is decoded.
  [[nodiscard]] Decoded decoded() const noexcept { return {}; }
  /// Itself: what a source in memory is to those who read it.
  [[nodiscard]] const PyramidView& pyramid() const noexcept { return *this; }

 private:
  std::array<ImageView<P>, max_levels> level_{};
  std::array<std::array<double, 2>, max_levels> ratio_{};
  Extents<2> extent_{};
  Index channels_ = 0;
  int levels_ = 0;
};

template <class P>
PyramidView(View<P, 3>) -> PyramidView<std::remove_const_t<P>>;

}  // namespace fovea::inline FOVEA_ABI
