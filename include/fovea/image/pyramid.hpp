// SPDX-License-Identifier: MIT
/// \file
/// The lower resolutions of an image, by area averaging.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/view.hpp>
#include <fovea/kernel/area.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace fovea::inline FOVEA_ABI {

struct PyramidOptions {
  /// Halving stops when the longer side of a level is at most this.
  Index smallest = 16;
  /// At most this many levels, the image itself included.
  int levels = PyramidView<float>::max_levels;
};

namespace detail {

/// Makes room for `size` elements; memory that is there stays.
template <class V>
void grow(std::vector<V>& memory, Index size) {
  if (static_cast<Index>(memory.size()) < size) memory.resize(static_cast<std::size_t>(size));
}

}  // namespace detail

/// Area averages of an image that comes row by row: the sums that wait for their partner, two rows for each level, and nothing
/// else. Level k has ceil(n / 2^k) pixels a side, each the exact average of the 2^k x 2^k pixels of the image under it (of
/// those that exist, at the right and lower edge), rounded once, to nearest.
template <kernel::Pixel P>
class PyramidBuilder {
 public:
  /// Begins an image of {height, width} with `levels` levels, itself included. Allocates only where it needs more than before.
  void start(Extents<2> extent, Index channels, int levels) {
    require(extent[0] >= 1 && extent[1] >= 1 && channels >= 1, "pyramid: an image of at least 1x1x1 expected, ", extent[0], "x",
            extent[1], "x", channels, " came");
    require(levels >= 1 && levels <= PyramidView<P>::max_levels, "pyramid: 1 to ", PyramidView<P>::max_levels,
            " levels expected, ", levels, " came");
    extent_ = extent;
    channels_ = channels;
    count_ = static_cast<std::size_t>(levels);
    Index fine_sums = 0;
    Index coarse_sums = 0;
    level_[0].extent = extent;
    for (std::size_t k = 1; k < count_; ++k) {
      level_[k].extent = {(level_[k - 1].extent[0] + 1) / 2, (level_[k - 1].extent[1] + 1) / 2};
      level_[k].next = 0;
      (static_cast<int>(k) <= kFineLevels ? fine_sums : coarse_sums) += 2 * round_up(level_[k].extent[1] * channels);
    }
    detail::grow(fine_, fine_sums);
    detail::grow(coarse_, coarse_sums);
    Fine* fine = fine_.data();
    Coarse* coarse = coarse_.data();
    for (std::size_t k = 1; k < count_; ++k) {
      const Index row = round_up(level_[k].extent[1] * channels);
      for (std::size_t i = 0; i < 2; ++i) {
        if (static_cast<int>(k) <= kFineLevels) {
          level_[k].fine[i] = fine;
          fine += row;
        } else {
          level_[k].coarse[i] = coarse;
          coarse += row;
        }
      }
    }
  }

  /// {height, width} of level k.
  [[nodiscard]] Extents<2> level_extent(int k) const noexcept { return level_[static_cast<std::size_t>(k)].extent; }

  /// The next two rows of the image, width * channels elements each; `lower` null where there is but one left. For each row i
  /// of a level k >= 1 that is complete with them, `place(k, i)` says where its averages go (null: nowhere), and then
  /// `finished(k, i)` is told.
  template <class Place, class Finished>
  void add_rows(const P* upper, const P* lower, Place&& place, Finished&& finished) {
    if (count_ == 1) return;
    Level& first = level_[1];
    kernel::add_blocks(upper, lower, extent_[1], channels_, first.fine[static_cast<std::size_t>(first.next % 2)]);
    finish_row(1, place, finished);
  }
  template <class Place>
  void add_rows(const P* upper, const P* lower, Place&& place) {
    add_rows(upper, lower, place, [](int, Index) {});
  }

 private:
  /// Up to this level the sums of bytes fit 16 bits (4^4 * 255 < 2^16), those of 16-bit pixels 32.
  static constexpr int kFineLevels = 4;
  using Fine = std::conditional_t<std::is_same_v<P, std::uint8_t>, std::uint16_t,
                                  std::conditional_t<std::is_same_v<P, std::uint16_t>, std::uint32_t, P>>;
  using Coarse = std::conditional_t<std::is_floating_point_v<P>, P, std::uint64_t>;

  struct Level {
    Extents<2> extent{};
    Index next = 0;  ///< the row to be finished next
    std::array<Fine*, 2> fine{};
    std::array<Coarse*, 2> coarse{};
  };

  static constexpr Index round_up(Index n) noexcept { return (n + 63) / 64 * 64; }

  /// Row `next` of level k has its sums: store the averages, and hand a finished pair of rows to the level below.
  template <class Place, class Finished>
  void finish_row(std::size_t k, Place& place, Finished& finished) {
    Level& level = level_[k];
    const Index row = level.next++;
    const auto slot = static_cast<std::size_t>(row % 2);
    if (P* to = place(static_cast<int>(k), row); to != nullptr) {
      if (static_cast<int>(k) <= kFineLevels) {
        store_row(level, k, row, level.fine[slot], to);
      } else {
        store_row(level, k, row, level.coarse[slot], to);
      }
    }
    finished(static_cast<int>(k), row);
    const bool last = row == level.extent[0] - 1;
    if (k + 1 == count_ || (slot == 0 && !last)) return;
    Level& below = level_[k + 1];
    const auto to = static_cast<std::size_t>(below.next % 2);
    if (static_cast<int>(k) < kFineLevels) {
      kernel::add_blocks(level.fine[0], slot == 1 ? level.fine[1] : nullptr, level.extent[1], channels_, below.fine[to]);
    } else if (static_cast<int>(k) == kFineLevels) {
      kernel::add_blocks(level.fine[0], slot == 1 ? level.fine[1] : nullptr, level.extent[1], channels_, below.coarse[to]);
    } else {
      kernel::add_blocks(level.coarse[0], slot == 1 ? level.coarse[1] : nullptr, level.extent[1], channels_, below.coarse[to]);
    }
    finish_row(k + 1, place, finished);
  }

  template <class Sum>
  void store_row(const Level& level, std::size_t k, Index row, const Sum* sums, P* to) const noexcept {
    const Index side = Index{1} << k;
    const Index rows = std::min(side, extent_[0] - row * side);
    const Index last = level.extent[1] - 1;
    kernel::divide_row(sums, last * channels_, rows * side, to);
    kernel::divide_row(sums + last * channels_, channels_, rows * (extent_[1] - last * side), to + last * channels_);
  }

  Extents<2> extent_{};
  Index channels_ = 0;
  std::size_t count_ = 1;
  std::array<Level, PyramidView<P>::max_levels> level_{};
  std::vector<Fine> fine_;
  std::vector<Coarse> coarse_;
};

/// An image with its lower resolutions, as PyramidBuilder has them; the image itself stays the caller's and must outlive this.
/// One pass over the image; assigning an image of the same size allocates nothing. Not thread-safe while assigning.
template <kernel::Pixel P>
class Pyramid : public PyramidView<P> {
 public:
  Pyramid() = default;
  explicit Pyramid(ImageView<P> image, PyramidOptions options = {}) { assign(image, options); }
  // The view points into the memory.
  Pyramid(const Pyramid&) = delete;
  Pyramid& operator=(const Pyramid&) = delete;
  Pyramid(Pyramid&&) = default;
  Pyramid& operator=(Pyramid&&) = default;
  ~Pyramid() = default;

  /// Throws Error on an empty image.
  void assign(ImageView<P> image, PyramidOptions options = {}) {
    PyramidView<P> view(image);
    require(options.smallest >= 1 && options.levels >= 1 && options.levels <= PyramidView<P>::max_levels,
            "pyramid: a smallest side of at least 1 and 1 to ", PyramidView<P>::max_levels, " levels expected, ",
            options.smallest, " and ", options.levels, " came");
    const Extents<2> extent = view.extent();
    const Index channels = view.channels();
    int count = 1;
    for (Index side = std::max(extent[0], extent[1]); count < options.levels && side > options.smallest; ++count) {
      side = (side + 1) / 2;
    }
    builder_.start(extent, channels, count);
    const auto level_size = [&](int k) { return (product(builder_.level_extent(k)) * channels + 63) / 64 * 64; };
    Index pixels = 0;
    for (int k = 1; k < count; ++k) pixels += level_size(k);
    detail::grow(pixels_, pixels);
    std::array<P*, PyramidView<P>::max_levels> levels{};
    P* memory = pixels_.data();
    for (int k = 1; k < count; ++k) {
      levels[static_cast<std::size_t>(k)] = memory;
      const Extents<2> e = builder_.level_extent(k);
      const auto ratio = static_cast<double>(Index{1} << k);
      view.push_back(ImageView<P>(memory, {e[0], e[1], channels}), {ratio, ratio});
      memory += level_size(k);
    }
    PyramidView<P>::operator=(view);
    if (count == 1) return;

    const bool dense = (image.stride(2) == 1 || channels == 1) && (image.stride(1) == channels || image.extent(1) == 1);
    if (!dense) detail::grow(rows_, 2 * extent[1] * channels);
    for (Index y = 0; y < extent[0]; y += 2) {
      const P* upper = image.data() + y * image.stride(0);
      const P* lower = y + 1 < extent[0] ? upper + image.stride(0) : nullptr;
      if (!dense) {
        upper = copy_row(image, y, rows_.data());
        if (lower != nullptr) lower = copy_row(image, y + 1, rows_.data() + extent[1] * channels);
      }
      builder_.add_rows(upper, lower, [&](int k, Index row) {
        return levels[static_cast<std::size_t>(k)] + row * builder_.level_extent(k)[1] * channels;
      });
    }
  }

 private:
  static const P* copy_row(const ImageView<P>& image, Index y, P* to) noexcept {
    P* p = to;
    for (Index x = 0; x < image.extent(1); ++x) {
      for (Index c = 0; c < image.extent(2); ++c) *p++ = image(y, x, c);
    }
    return to;
  }

  PyramidBuilder<P> builder_;
  std::vector<P> pixels_;
  std::vector<P> rows_;
};

// ---------------------------------------------------------------------- the same in the caller's memory, with its derivative

/// Elements that `build_pyramid` needs for the levels below an image of {height, width, channels}.
[[nodiscard]] inline Index pyramid_elements(const Extents<3>& image, PyramidOptions options = {}) {
  Extents<2> extent{image[0], image[1]};
  Index total = 0;
  for (int k = 1; k < options.levels && std::max(extent[0], extent[1]) > options.smallest; ++k) {
    extent = {(extent[0] + 1) / 2, (extent[1] + 1) / 2};
    total += product(extent) * image[2];
  }
  return total;
}

namespace detail {

/// Calls `body(k, level, side)` for the levels below an image, fine to coarse, `level` being a view into `memory`, `side` 2^k.
template <class T, class Body>
void for_each_level(const Extents<3>& image, T* memory, PyramidOptions options, Body&& body) {
  Extents<3> extent = image;
  for (int k = 1; k < options.levels && std::max(extent[0], extent[1]) > options.smallest; ++k) {
    extent = {(extent[0] + 1) / 2, (extent[1] + 1) / 2, image[2]};
    body(k, View<T, 3>(memory, extent), Index{1} << k);
    memory += product(extent);
  }
}

/// Multiplies every element of a level by 1 / the number of pixels of the image it covers.
template <class T>
void divide_by_terms(View<T, 3> level, const Extents<3>& image, Index side) {
  for (Index i = 0; i < level.extent(0); ++i) {
    const Index rows = std::min(side, image[0] - i * side);
    for (Index j = 0; j < level.extent(1); ++j) {
      const T factor = T(1) / static_cast<T>(rows * std::min(side, image[1] - j * side));
      for (Index c = 0; c < level.extent(2); ++c) level(i, j, c) *= factor;
    }
  }
}

}  // namespace detail

/// The view of levels that are in `memory` already.
template <std::floating_point T>
[[nodiscard]] PyramidView<T> pyramid_view(ImageView<T> image, const T* memory, PyramidOptions options = {}) {
  PyramidView<T> pyramid(image);
  detail::for_each_level(image.extents(), memory, options, [&](int, ImageView<T> level, Index side) {
    pyramid.push_back(level, {static_cast<double>(side), static_cast<double>(side)});
  });
  return pyramid;
}

/// The levels of a Pyramid in `memory` of pyramid_elements(image.extents()), for floating-point images. The image and the
/// memory must outlive the view.
template <std::floating_point T>
[[nodiscard]] PyramidView<T> build_pyramid(ImageView<T> image, T* memory, PyramidOptions options = {}) {
  View<const T, 3> above = image;
  detail::for_each_level(image.extents(), memory, options, [&](int, View<T, 3> level, Index) {
    for (Index i = 0; i < level.extent(0); ++i) {
      for (Index j = 0; j < level.extent(1); ++j) {
        const bool down = 2 * i + 1 < above.extent(0);
        const bool across = 2 * j + 1 < above.extent(1);
        for (Index c = 0; c < level.extent(2); ++c) {
          T sum = above(2 * i, 2 * j, c);
          if (across) sum += above(2 * i, 2 * j + 1, c);
          if (down) sum += above(2 * i + 1, 2 * j, c);
          if (down && across) sum += above(2 * i + 1, 2 * j + 1, c);
          level(i, j, c) = sum;
        }
      }
    }
    above = level;
  });
  detail::for_each_level(image.extents(), memory, options,
                         [&](int, View<T, 3> level, Index side) { detail::divide_by_terms(level, image.extents(), side); });
  return pyramid_view(image, static_cast<const T*>(memory), options);
}

/// d_image += the gradient of build_pyramid, from `d_levels`, laid out like its memory; they are overwritten.
template <std::floating_point T>
void build_pyramid_backward(T* d_levels, View<T, 3> d_image, PyramidOptions options = {}) {
  std::array<View<T, 3>, PyramidView<T>::max_levels> level{};
  std::size_t last = 0;
  level[0] = d_image;
  detail::for_each_level(d_image.extents(), d_levels, options, [&](int k, View<T, 3> d_level, Index side) {
    detail::divide_by_terms(d_level, d_image.extents(), side);
    last = static_cast<std::size_t>(k);
    level[last] = d_level;
  });
  for (std::size_t k = last; k >= 1; --k) {
    const View<T, 3>& to = level[k - 1];
    for (Index i = 0; i < to.extent(0); ++i) {
      for (Index j = 0; j < to.extent(1); ++j) {
        for (Index c = 0; c < to.extent(2); ++c) to(i, j, c) += level[k](i / 2, j / 2, c);
      }
    }
  }
}

}  // namespace fovea::inline FOVEA_ABI
