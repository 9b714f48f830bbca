// SPDX-License-Identifier: MIT
/// \file
/// What a picture format has to offer to be looked at: an ImageDecoder, which BasicImageFile (image/file.hpp) makes a source
/// of.
///
/// A decoder knows its file and nothing else: what its file stores at which resolution, and how to get pixels out of it. That
/// pictures lie on their side, that resolutions are missing, and that the same pixels are wanted twice, is not its business.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/view.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {

/// How the picture stored has to be turned to be seen: the values of EXIF's and TIFF's tag 274, 1 to 8.
enum class Orientation : std::uint8_t {
  upright = 1,
  mirrored = 2,  ///< left and right
  rotated_180 = 3,
  flipped = 4,             ///< top and bottom
  transposed = 5,          ///< rows and columns
  rotated_90 = 6,          ///< clockwise, to be seen upright
  transversed = 7,         ///< about the other diagonal
  rotated_90_counter = 8,  ///< counter-clockwise
};

/// The orientation of that number; upright for any other than 1 to 8, as viewers do.
[[nodiscard]] constexpr Orientation orientation_from_tag(int tag) noexcept {
  return tag >= 1 && tag <= 8 ? static_cast<Orientation>(tag) : Orientation::upright;
}
[[nodiscard]] constexpr bool swaps_axes(Orientation o) noexcept { return o >= Orientation::transposed; }

namespace detail {

/// What turns the picture stored into the one seen: transpose first, then mirror rows and columns of what is seen.
struct Turn {
  bool transpose, flip_rows, flip_columns;
};
[[nodiscard]] constexpr Turn turn(Orientation o) noexcept {
  switch (o) {
    case Orientation::upright: return {false, false, false};
    case Orientation::mirrored: return {false, false, true};
    case Orientation::rotated_180: return {false, true, true};
    case Orientation::flipped: return {false, true, false};
    case Orientation::transposed: return {true, false, false};
    case Orientation::rotated_90: return {true, false, true};
    case Orientation::transversed: return {true, true, true};
    case Orientation::rotated_90_counter: return {true, true, false};
  }
  return {false, false, false};
}

}  // namespace detail

/// {height, width} of what is seen from that of what is stored; also the other way round.
[[nodiscard]] constexpr Extents<2> oriented(Orientation o, Extents<2> extent) noexcept {
  return swaps_axes(o) ? Extents<2>{extent[1], extent[0]} : extent;
}

/// The box of the picture stored, {height, width} = `stored`, that is seen as `box`.
[[nodiscard]] constexpr PixelBox stored_box(Orientation o, const PixelBox& box, Extents<2> stored) noexcept {
  const detail::Turn turn = detail::turn(o);
  const Extents<2> seen = oriented(o, stored);
  PixelBox b = box;
  if (turn.flip_rows) b.top = seen[0] - box.bottom();
  if (turn.flip_columns) b.left = seen[1] - box.right();
  return turn.transpose ? PixelBox{b.left, b.top, b.width, b.height} : b;
}

/// The picture stored as it is seen: the same memory with other strides.
template <class P>
[[nodiscard]] View<P, 3> oriented(Orientation o, const View<P, 3>& stored) noexcept {
  const detail::Turn turn = detail::turn(o);
  Extents<3> extents = stored.extents();
  Extents<3> strides = stored.strides();
  if (turn.transpose) {
    std::swap(extents[0], extents[1]);
    std::swap(strides[0], strides[1]);
  }
  P* data = stored.data();
  const auto flip = [&](std::size_t axis) {
    data += (extents[axis] - 1) * strides[axis];
    strides[axis] = -strides[axis];
  };
  if (turn.flip_rows) flip(0);
  if (turn.flip_columns) flip(1);
  return {data, extents, strides};
}

/// A resolution as a file stores it.
struct StoredLevel {
  Extents<2> extent{};  ///< {height, width}
  /// {height, width} of the pieces the file is best decoded in: its tiles or strips. Pieces are kept for the next look, so a
  /// format without any names what is worth keeping.
  Extents<2> tile{};
  /// Pixels of the full image to a pixel, {down, across}.
  std::array<double, 2> ratio = {1, 1};
};

/// What a file says of itself. All extents are as stored, before the orientation.
struct ImageInfo {
  Index channels = 0;
  std::vector<StoredLevel> levels;  ///< fine to coarse; the first is the image
  Orientation orientation = Orientation::upright;
  /// A region costs what lies above it in the file: many are better decoded together, and the coarsest level is kept whole.
  bool sequential = false;
};

/// A piece of a level to be decoded: `pixels` {box.height, box.width, channels}, rows dense.
template <kernel::Pixel P>
struct Tile {
  PixelBox box;
  View<P, 3> pixels;
};

/// Takes the rows of a level from the first to the last: width * channels elements each, which are gone afterwards.
template <kernel::Pixel P>
using RowSink = std::function<void(Index row, const P* pixels)>;

/// A picture in a file. Derive from it, give the constructor what the file says of itself, and implement the two functions. Not
/// thread-safe. Every function may throw Error: on a damaged file, on one that shrank.
template <kernel::Pixel P>
class ImageDecoder {
 public:
  using PixelType = P;

  explicit ImageDecoder(ImageInfo info = {}) : info_(std::move(info)) {}
  ImageDecoder(const ImageDecoder&) = delete;
  ImageDecoder& operator=(const ImageDecoder&) = delete;
  virtual ~ImageDecoder() = default;

  [[nodiscard]] const ImageInfo& info() const noexcept { return info_; }
  /// Bytes read from the file and pixels made of them so far. Pixels that a decoder has to make but does not hand out count.
  [[nodiscard]] const Decoded& decoded() const noexcept { return decoded_; }

  /// Decodes pieces of one level, which lie within it, do not overlap, and are sorted by row, then column.
  virtual void decode(int level, std::span<const Tile<P>> tiles) = 0;
  /// Decodes a whole level in bounded memory.
  virtual void scan(int level, const RowSink<P>& sink) {
    const StoredLevel& stored = info_.levels[static_cast<std::size_t>(level)];
    const Index rows = stored.tile[0];
    std::vector<P> band(static_cast<std::size_t>(rows * stored.extent[1] * info_.channels));
    for (Index top = 0; top < stored.extent[0]; top += rows) {
      const PixelBox box{top, 0, std::min(rows, stored.extent[0] - top), stored.extent[1]};
      const Tile<P> tile{box, View<P, 3>(band.data(), {box.height, box.width, info_.channels})};
      decode(level, std::span(&tile, 1));
      for (Index i = 0; i < box.height; ++i) sink(top + i, band.data() + i * box.width * info_.channels);
    }
  }

 protected:
  ImageInfo info_;
  Decoded decoded_;
};

}  // namespace fovea::inline FOVEA_ABI
