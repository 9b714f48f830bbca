// SPDX-License-Identifier: MIT
/// \file
/// What a model may look at: anything that can hand out the pixels of a box at one of its resolutions.
///
/// Images in memory are sources (PyramidView, Pyramid, MagnifiedImage), and so are files (image/file.hpp), which decode what is
/// asked for and no more.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/view.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {

/// An image that can be looked at. Its resolutions, the levels, are ordered fine to coarse; 0 is the finest, usually the image.
/// A source may keep what it decoded, also behind `const`: use one source from one thread at a time.
///
///     PixelType          std::uint8_t, std::uint16_t, float or double
///     extent()           {height, width} of the full image, in pixels
///     channels()         at least 1
///     levels()           at least 1
///     level_extent(k)    {height, width} of level k
///     ratios(k)          pixels of the full image to a pixel of level k, {down, across}; ratio(k): the greater of the two
///     read(k, box)       PixelWindow of level k with at least the pixels of `box`, which is not empty and lies within the
///     level;
///                        valid until the next read
///     decoded()          bytes and pixels decoded so far
///
/// A source may also offer `prepare(std::span<const LevelBox>)`, to be told together what will be read next: where a file is
/// decoded from the top, one pass then serves all.
template <class S>
concept ImageSource = requires(const S& source, int level, const PixelBox& box) {
  typename S::PixelType;
  { source.extent() } -> std::convertible_to<Extents<2>>;
  { source.channels() } -> std::convertible_to<Index>;
  { source.levels() } -> std::convertible_to<int>;
  { source.level_extent(level) } -> std::convertible_to<Extents<2>>;
  { source.ratios(level) } -> std::convertible_to<std::array<double, 2>>;
  { source.ratio(level) } -> std::convertible_to<double>;
  { source.read(level, box) } -> std::same_as<PixelWindow<typename S::PixelType>>;
  { source.decoded() } -> std::same_as<Decoded>;
};

/// The pixel type of a source.
template <ImageSource S>
using PixelOf = typename S::PixelType;

/// A source whose levels all lie in memory.
template <class S>
concept ImageInMemory = ImageSource<S> && requires(const S& source) {
  { source.pyramid() } -> std::same_as<const PyramidView<typename S::PixelType>&>;
};

/// A box of a level.
struct LevelBox {
  int level = 0;
  PixelBox box;
};

/// Tells a source what will be read, where it wants to know.
template <ImageSource S>
void prepare(const S& source, std::span<const LevelBox> boxes) {
  if constexpr (requires { source.prepare(boxes); }) source.prepare(boxes);
}

/// The coarsest level in which `box`, in pixels of the full image, still has at least `extent` = {rows, columns}; 0 where none.
template <ImageSource S>
[[nodiscard]] int sufficient_level(const S& source, const PixelBox& box, Extents<2> extent) {
  int level = source.levels() - 1;
  const auto enough = [&](int k) {
    const std::array<double, 2> ratio = source.ratios(k);
    return static_cast<double>(box.height) >= static_cast<double>(extent[0]) * ratio[0] &&
           static_cast<double>(box.width) >= static_cast<double>(extent[1]) * ratio[1];
  };
  while (level > 0 && !enough(level)) --level;
  return level;
}

/// The pixels of level `level` that `box`, in pixels of the full image, touches; not empty where the box is not.
template <ImageSource S>
[[nodiscard]] PixelBox box_in_level(const S& source, const PixelBox& box, int level) {
  const std::array<double, 2> ratio = source.ratios(level);
  const Extents<2> extent = source.level_extent(level);
  const auto axis = [](Index begin, Index end, double scale, Index limit) -> std::array<Index, 2> {
    const auto first = static_cast<Index>(std::floor(static_cast<double>(begin) / scale));
    const auto last = static_cast<Index>(std::ceil(static_cast<double>(end) / scale));
    const Index from = std::clamp(first, Index{0}, limit - 1);
    return {from, std::clamp(last, from + 1, limit) - from};
  };
  const auto [top, height] = axis(box.top, box.bottom(), ratio[0], extent[0]);
  const auto [left, width] = axis(box.left, box.right(), ratio[1], extent[1]);
  return {top, left, height, width};
}

/// Exactly the pixels of a box of a level. Throws Error where the level has no such box.
template <ImageSource S>
[[nodiscard]] ImageView<PixelOf<S>> read_exactly(const S& source, int level, const PixelBox& box) {
  require(level >= 0 && level < source.levels(), "read: a level of 0 to ", source.levels() - 1, " expected, ", level, " came");
  const Extents<2> extent = source.level_extent(level);
  require(!box.empty() && intersection(box, {0, 0, extent[0], extent[1]}) == box, "read: a box within the level's ", extent[0],
          "x", extent[1], " pixels expected, rows ", box.top, " to ", box.bottom(), " and columns ", box.left, " to ",
          box.right(), " came");
  const PixelWindow<PixelOf<S>> window = source.read(level, box);
  const ImageView<PixelOf<S>>& all = window.pixels;
  return {all.data() + (box.top - window.top) * all.stride(0) + (box.left - window.left) * all.stride(1),
          {box.height, box.width, all.extent(2)},
          all.strides()};
}

/// The pixels under `box`, in pixels of the full image, at the coarsest resolution that has at least `extent` = {rows, columns}
/// of them (or else the finest). Valid until the next read. Throws Error on a box that is not within the image.
template <ImageSource S>
[[nodiscard]] ImageView<PixelOf<S>> read(const S& source, const PixelBox& box, Extents<2> extent) {
  const Extents<2> image = source.extent();
  require(!box.empty() && intersection(box, {0, 0, image[0], image[1]}) == box, "read: a box within the image's ", image[0],
          "x", image[1], " pixels expected, rows ", box.top, " to ", box.bottom(), " and columns ", box.left, " to ",
          box.right(), " came");
  require(extent[0] >= 1 && extent[1] >= 1, "read: an extent of at least 1x1 expected, ", extent[0], "x", extent[1], " came");
  const int level = sufficient_level(source, box, extent);
  return read_exactly(source, level, box_in_level(source, box, level));
}

}  // namespace fovea::inline FOVEA_ABI
