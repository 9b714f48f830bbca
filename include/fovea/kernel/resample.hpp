// SPDX-License-Identifier: MIT
/// \file
/// Bilinear reads of an image at a lattice of points, and their derivatives.
///
/// A lattice without rotation is separable: output row i needs two source rows, output column j two source columns, and the
/// weights of a column are the same in every row. `resample` takes one origin and step for each axis, in pixels of the source
/// (0 is the centre of the first pixel); `resample_affine` takes any 2x3 matrix and is several times slower.
///
/// Coordinates are computed in double, so that they are right to 1e-9 pixels in images of 10^6 pixels a side; a float
/// coordinate (as in torch) is off by 1/256 pixel at 65,536. Weights and sums along a row are in T, sums over rows in double.
/// Memory and time depend on the output only, never on the size of the source. Nothing allocates; a column table of a few KiB
/// lies on the stack.
///
/// Cost: a value takes four pixels and 6 fused operations, with its slopes 14. In the caches 0.6 ns, with slopes 1.0: bound by
/// the loads of the pixels (a gather brings one to two a cycle; pixels of three floats are loaded whole instead). In an image
/// of 50 to 150 MB, each glimpse elsewhere, misses decide: samples further apart than a line take two lines of memory each (2.6
/// for three floats), 5 and 12 ns a sample, which is the 16 outstanding misses of a core over the latency of memory (float,
/// AVX-512 at about 3 GHz, bench/peers/glimpse.cpp). So a tape keeps slopes (`resample_with_slopes`), for 8 bytes a value,
/// rather than read the pixels again; and rows are asked for one ahead, which is worth a tenth. A general matrix goes
/// one sample at a time: 8 ns a value, 12 its gradient.
/// Accuracy: within 2e-6 of the range of the pixels (float) and 1e-13 (double) of a read in double; slopes within four times
/// that (tests/kernel/resample.cpp).
///
/// Out of the image: zeros (as if the image went on in black), border (the nearest pixel), reflection (mirrored about the outer
/// edge of the outer pixels, or about their centres where align_corners is set), each as torch's grid_sample has it. Any
/// coordinate is safe, infinities and NaN included. Derivatives are those of the function computed, almost everywhere: where a
/// coordinate is an integer, the one to the right.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/gather.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// What a pixel may be.
template <class P>
concept Pixel =
    std::same_as<P, std::uint8_t> || std::same_as<P, std::uint16_t> || std::same_as<P, float> || std::same_as<P, double>;

/// What a stored pixel is multiplied by as it is read, so that white is 1.
template <Pixel P>
inline constexpr double kPixelScale = std::same_as<P, std::uint8_t>    ? 1.0 / 255.0
                                      : std::same_as<P, std::uint16_t> ? 1.0 / 65535.0
                                                                       : 1.0;

/// What lies beyond the edge of the image.
enum class Padding : std::uint8_t { zeros, border, reflection };

/// Sample k of an axis reads at `origin + k * step`, in pixels of the source; 0 is the centre of its first pixel.
struct SampleAxis {
  double origin = 0;
  double step = 1;
};

/// Point (row i, column j) reads at x = m[0] j + m[1] i + m[2], y = m[3] j + m[4] i + m[5], in pixels of the source.
using SampleAffine = std::array<double, 6>;

struct ResampleOptions {
  Padding padding = Padding::zeros;
  bool align_corners = false;  ///< reflection only: mirror about the centres of the outer pixels, not their outer edges
};

/// d loss / d the axes, and the sum of d loss / d value times value (what a mixing weight needs).
struct ResampleGradient {
  SampleAxis rows{0, 0};
  SampleAxis columns{0, 0};
  double dot = 0;
};

namespace detail {

/// The two pixels of one axis that a coordinate lies between: `index` and `index + 1`, both of which exist unless the axis has
/// but one pixel. Slopes are the derivatives of the weights in the coordinate.
struct AxisTap {
  Index index;
  double weight0, weight1;
  double slope0, slope1;
};

[[nodiscard]] inline AxisTap axis_tap(double at, Index extent, ResampleOptions options) noexcept {
  const double last = static_cast<double>(extent - 1);
  double direction = 1;
  if (options.padding == Padding::zeros) {
    if (!(at > -1.0 && at < last + 1.0)) return {0, 0, 0, 0, 0};
    const double floor = std::floor(at);
    const double fraction = at - floor;
    const auto index = static_cast<Index>(floor);
    if (index < 0) return {0, fraction, 0, 1, 0};
    if (index == extent - 1) {
      if (extent == 1) return {0, 1 - fraction, 0, -1, 0};
      return {index - 1, 0, 1 - fraction, 0, -1};
    }
    return {index, 1 - fraction, fraction, -1, 1};
  }
  if (options.padding == Padding::reflection) {
    const double low = options.align_corners ? 0.0 : -0.5;
    const double span = options.align_corners ? last : last + 1;
    if (!std::isfinite(at) || span <= 0) {
      at = 0;
      direction = 0;
    } else {
      double distance = at - low;
      if (distance < 0) {
        distance = -distance;
        direction = -1;
      }
      const double flips = std::floor(distance / span);
      const double rest = std::fmod(distance, span);
      const bool odd = std::fmod(flips, 2.0) != 0;
      at = odd ? low + span - rest : low + rest;
      if (odd) direction = -direction;
    }
  }
  // The border, which the mirrored coordinate too may overstep by half a pixel.
  if (extent == 1 || !(at > 0)) return {0, 1, 0, 0, 0};
  if (at >= last) return {extent - 2, 0, 1, 0, 0};
  const double floor = std::floor(at);
  const double fraction = at - floor;
  return {static_cast<Index>(floor), 1 - fraction, fraction, -direction, direction};
}

/// Taps of one axis for many samples. Where the first and the last sample lie inside the image, so do all between, and a tap is
/// a floor and a difference.
class AxisReader {
 public:
  AxisReader(SampleAxis axis, Index count, Index extent, ResampleOptions options) noexcept
      : axis_(axis), extent_(extent), options_(options) {
    const double end = axis.origin + static_cast<double>(count - 1) * axis.step;
    const auto last = static_cast<double>(extent - 1);
    inside_ = axis.origin >= 0 && axis.origin < last && end >= 0 && end < last;  // false for NaN
  }
  [[nodiscard]] FOVEA_ALWAYS_INLINE AxisTap operator[](Index k) const noexcept {
    const double at = axis_.origin + static_cast<double>(k) * axis_.step;
    if (!inside_) [[unlikely]]
      return axis_tap(at, extent_, options_);
    const auto index = static_cast<Index>(at);
    const double fraction = at - static_cast<double>(index);
    return {index, 1 - fraction, fraction, -1, 1};
  }

 private:
  SampleAxis axis_;
  Index extent_;
  ResampleOptions options_;
  bool inside_;
};

/// How the pixels of a source row are reached.
enum class Access : std::uint8_t {
  any,         ///< one by one, any strides
  adjacent,    ///< by gathers that bring both neighbours: words of bytes, or pairs of floats
  separate,    ///< by gathers, one for each neighbour
  pixels,      ///< by loads of whole pixels of three floats, packed: three quarters of a vector at a time
  contiguous,  ///< by plain loads: channels are a multiple of the vector's width
};

/// Calls `body(at)` at every vector (or element) of a piece of `count` entries; at.load and at.store as in for_each_batch.
template <class T>
struct ScalarAt {
  Index i;
  [[nodiscard]] FOVEA_ALWAYS_INLINE T load(const T* p) const { return p[i]; }
  FOVEA_ALWAYS_INLINE void store(T* p, T v) const { p[i] = v; }
};
template <class T, bool vector, class Body>
FOVEA_ALWAYS_INLINE void for_each(Index count, Body&& body) {
  if constexpr (vector) {
    simd::for_each_batch<T>(count, body);
  } else {
    for (Index i = 0; i < count; ++i) body(ScalarAt<T>{i});
  }
}

/// The column weights of a piece of an output row, flattened over columns and channels, and the reads they belong to. Entries
/// behind `count`, up to a whole vector, have weight 0 and read the row's first pixel.
template <class P, class T, Access access>
class Columns {
 public:
  static constexpr Index capacity = access == Access::pixels ? 252 : 256;
  static constexpr bool vector = access != Access::any;
  /// Entries worked on at a time.
  static constexpr Index lanes = !vector ? 1 : access == Access::pixels ? simd::kWidth<T> / 4 * 3 : simd::kWidth<T>;
  static_assert(capacity % lanes == 0);
  using V = std::conditional_t<vector, simd::Batch<T>, T>;

  /// Entries [first, first + capacity) of the flattened row of `total`.
  void fill(const View<const P, 3>& source, const AxisReader& axis, Index first, Index total, double slope_scale = 1) noexcept {
    const Index width = source.extent(1);
    const Index channels = source.extent(2);
    count_ = std::min(capacity, total - first);
    Index column = first / channels;
    Index channel = first % channels;
    Index entry = 0;
    line_count_ = 0;
    while (entry < count_) {
      const AxisTap tap = axis[column++];
      const Index left = tap.index * source.stride(1);
      const Index right = std::min(tap.index + 1, width - 1) * source.stride(1);
      if constexpr (vector) {
        constexpr Index line = kAlignment / static_cast<Index>(sizeof(P));
        for (const Index pixel : {left, right + channels - 1}) {
          if (line_count_ == 0 || pixel / line != lines_[static_cast<std::size_t>(line_count_ - 1)] / line) {
            if (line_count_ < 256) lines_[static_cast<std::size_t>(line_count_++)] = static_cast<std::int32_t>(pixel);
          }
        }
      }
      for (; channel < channels && entry < count_; ++channel, ++entry) {
        const auto at = static_cast<std::size_t>(entry);
        place(at, left + channel * source.stride(2), right + channel * source.stride(2), width * channels);
        weigh(at, {tap.index, tap.weight0, tap.weight1, tap.slope0 * slope_scale, tap.slope1 * slope_scale});
      }
      channel = 0;
    }
    for (; entry % lanes != 0; ++entry) {
      const auto at = static_cast<std::size_t>(entry);
      place(at, 0, 0, width * channels);
      weigh(at, {0, 0, 0, 0, 0});
    }
  }

  [[nodiscard]] Index count() const noexcept { return count_; }
  /// Asks for what will be read of a row.
  FOVEA_ALWAYS_INLINE void prefetch(const P* row) const {
    if constexpr (vector) {
      for (Index k = 0; k < line_count_; ++k) __builtin_prefetch(row + lines_[static_cast<std::size_t>(k)]);
    }
  }
  [[nodiscard]] FOVEA_ALWAYS_INLINE V weight0(Index m) const { return value(weight0_, m); }
  [[nodiscard]] FOVEA_ALWAYS_INLINE V weight1(Index m) const { return value(weight1_, m); }
  [[nodiscard]] FOVEA_ALWAYS_INLINE V slope0(Index m) const { return value(slope0_, m); }
  [[nodiscard]] FOVEA_ALWAYS_INLINE V slope1(Index m) const { return value(slope1_, m); }

  struct Pair {
    V left, right;
  };
  /// Calls `body(at)` for the pieces of a row: at.i, at.load and at.store as in for_each_batch.
  template <class Body>
  FOVEA_ALWAYS_INLINE void for_each(Body&& body) const {
    if constexpr (access == Access::pixels) {
      for (Index m = 0; m < count_; m += lanes) body(simd::PartialBatch<T>{m, std::min(lanes, count_ - m)});
    } else {
      detail::for_each<T, vector>(count_, body);
    }
  }
  /// The two neighbours of entries m, m + 1, ... in a source row.
  [[nodiscard]] FOVEA_ALWAYS_INLINE Pair read(const P* row, Index m) const {
    const auto at = static_cast<std::size_t>(m);
    if constexpr (access == Access::any) {
      return {static_cast<T>(row[offset0_[at]]), static_cast<T>(row[offset1_[at]])};
    } else if constexpr (access == Access::contiguous) {
      return {simd::load_convert<T>(row + offset0_[at]), simd::load_convert<T>(row + offset1_[at])};
    } else {
#if defined(__AVX2__)
      if constexpr (access == Access::pixels) {
        const FloatPairs pairs = load_rgb_pairs(row, &offset0_[at / 3]);
        return {pairs.first, pairs.second};
      } else if constexpr (std::is_same_v<P, float> && access == Access::adjacent) {
        const FloatPairs pairs = gather_pairs(row, load_words(&offset0_[at]));
        return {pairs.first, pairs.second};
      } else if constexpr (std::is_same_v<P, float>) {
        return {as_float(gather_words(row, load_words(&offset0_[at]))), as_float(gather_words(row, load_words(&offset1_[at])))};
      } else {
        constexpr std::uint32_t mask = std::numeric_limits<P>::max();
        const Words word0 = gather_words(row, load_words(&offset0_[at]));
        const Words word1 = access == Access::adjacent ? word0 : gather_words(row, load_words(&offset1_[at]));
        return {extract<mask>(word0, load_words(&shift0_[at])), extract<mask>(word1, load_words(&shift1_[at]))};
      }
#endif
    }
  }

 private:
  static constexpr bool gathers = access == Access::adjacent || access == Access::separate || access == Access::pixels;
  using Offset = std::conditional_t<gathers, std::int32_t, Index>;
  using Shifts = std::array<std::int32_t, gathers && !std::is_same_v<P, float> ? 256 : 0>;
  template <class U>
  using Table = std::array<U, 256>;
  /// Weights start a vector with each step, also where that has fewer entries.
  using Weights = std::array<T, static_cast<std::size_t>(capacity / lanes * (vector ? simd::kWidth<T> : 1))>;
  [[nodiscard]] static FOVEA_ALWAYS_INLINE Index slot(Index m) noexcept {
    return access == Access::pixels ? m / lanes * simd::kWidth<T> + m % lanes : m;
  }
  FOVEA_ALWAYS_INLINE void weigh(std::size_t entry, const AxisTap& tap) noexcept {
    const auto at = static_cast<std::size_t>(slot(static_cast<Index>(entry)));
    weight0_[at] = static_cast<T>(tap.weight0);
    weight1_[at] = static_cast<T>(tap.weight1);
    slope0_[at] = static_cast<T>(tap.slope0);
    slope1_[at] = static_cast<T>(tap.slope1);
  }

  [[nodiscard]] FOVEA_ALWAYS_INLINE static V value(const Weights& table, Index m) {
    if constexpr (vector) {
      return simd::load_aligned(table.data() + slot(m));
    } else {
      return table[static_cast<std::size_t>(m)];
    }
  }

  /// `left`, `right`: elements from the start of a row of `elements`.
  FOVEA_ALWAYS_INLINE void place(std::size_t at, Index left, Index right, Index elements) noexcept {
    if constexpr (!gathers) {
      offset0_[at] = left;
      offset1_[at] = right;
    } else if constexpr (access == Access::pixels) {
      if (at % 3 == 0) offset0_[at / 3] = static_cast<std::int32_t>(left);
    } else if constexpr (std::is_same_v<P, float>) {
      offset0_[at] = static_cast<std::int32_t>(left * 4);
      offset1_[at] = static_cast<std::int32_t>(right * 4);
    } else {
      // In bytes; moved left where the word would reach beyond the row, and the pixel is then found further up in it.
      constexpr auto size = static_cast<Index>(sizeof(P));
      const Index last = elements * size - 4;
      const Index byte0 = std::min(left * size, last);
      const Index byte1 = access == Access::adjacent ? byte0 : std::min(right * size, last);
      offset0_[at] = static_cast<std::int32_t>(byte0);
      offset1_[at] = static_cast<std::int32_t>(byte1);
      shift0_[at] = static_cast<std::int32_t>(8 * (left * size - byte0));
      shift1_[at] = static_cast<std::int32_t>(8 * (right * size - byte1));
    }
  }

  Index count_ = 0;
  Index line_count_ = 0;
  Table<std::int32_t> lines_;
  alignas(kAlignment) Table<Offset> offset0_;
  alignas(kAlignment) Table<Offset> offset1_;
  alignas(kAlignment) Shifts shift0_;
  alignas(kAlignment) Shifts shift1_;
  alignas(kAlignment) Weights weight0_{};
  alignas(kAlignment) Weights weight1_{};
  alignas(kAlignment) Weights slope0_{};
  alignas(kAlignment) Weights slope1_{};
};

/// True where the elements of each row of an HWC array lie one behind the other.
template <class T>
[[nodiscard]] bool has_dense_rows(const View<T, 3>& view) noexcept {
  return (view.stride(2) == 1 || view.extent(2) == 1) && (view.stride(1) == view.extent(2) || view.extent(1) == 1);
}

/// Calls `body` with the quickest Columns for the source.
template <class T, class P, class Body>
FOVEA_ALWAYS_INLINE void with_columns(const View<const P, 3>& source, Body&& body) {
  if constexpr (std::is_same_v<T, float> && !std::is_same_v<P, double> && kHasGather) {
    const Index channels = source.extent(2);
    constexpr auto size = static_cast<Index>(sizeof(P));
    const Index bytes = source.extent(1) * channels * size;
    if (has_dense_rows(source) && bytes >= 4 && bytes < (Index{1} << 31)) {
      if (channels % simd::kWidth<T> == 0) {
        Columns<P, T, Access::contiguous> columns;
        return body(columns);
      }
      if constexpr (size < 4) {
        if ((channels + 1) * size <= 4) {
          Columns<P, T, Access::adjacent> columns;
          return body(columns);
        }
      }
      if constexpr (size == 4) {
        if (channels == 1 && source.extent(1) >= 2) {
          Columns<P, T, Access::adjacent> columns;
          return body(columns);
        }
        if (channels == 3 && source.extent(1) >= 2) {
          Columns<P, T, Access::pixels> columns;
          return body(columns);
        }
      }
      Columns<P, T, Access::separate> columns;
      return body(columns);
    }
  }
  Columns<P, T, Access::any> columns;
  body(columns);
}

/// The two source rows of an output row, with their weights.
template <class P, class T>
struct RowTap {
  const P* row0;
  const P* row1;
  T weight0, weight1;
  T slope0, slope1;
  [[nodiscard]] bool blank() const noexcept { return weight0 == T(0) && weight1 == T(0) && slope0 == T(0) && slope1 == T(0); }
};

template <class T, class P>
[[nodiscard]] FOVEA_ALWAYS_INLINE RowTap<P, T> row_tap(const View<const P, 3>& source, const AxisReader& axis, Index row,
                                                       double scale) noexcept {
  const AxisTap tap = axis[row];
  const Index below = std::min(tap.index + 1, source.extent(0) - 1);
  return {source.data() + tap.index * source.stride(0), source.data() + below * source.stride(0),
          static_cast<T>(tap.weight0 * scale),          static_cast<T>(tap.weight1 * scale),
          static_cast<T>(tap.slope0 * scale),           static_cast<T>(tap.slope1 * scale)};
}

/// A piece [first, first + count) of the flattened row of an HWC array of any strides.
template <class T, class U>
void copy_piece(const View<T, 3>& view, Index row, Index first, Index count, U&& each) {
  const Index channels = view.extent(2);
  Index column = first / channels;
  Index channel = first % channels;
  for (Index m = 0; m < count; ++m) {
    each(m, view(row, column, channel));
    if (++channel == channels) {
      channel = 0;
      ++column;
    }
  }
}

}  // namespace detail

/// out(i, j, c) = [out(i, j, c) +] scale * kPixelScale * source read at (rows(i), columns(j)), by bilinear interpolation.
/// `source` {H, W, C}, at least 1x1; `out` {h, w, C}. `accumulate`: add to what is there.
template <class P, std::floating_point T>
  requires Pixel<std::remove_const_t<P>>
void resample(View<P, 3> source_view, SampleAxis rows, SampleAxis columns, ResampleOptions options, View<T, 3> out,
              double scale = 1, bool accumulate = false) noexcept {
  using Plain = std::remove_const_t<P>;
  const View<const Plain, 3> source(source_view);
  FOVEA_ASSERT(source.extent(0) >= 1 && source.extent(1) >= 1 && source.extent(2) == out.extent(2));
  const Index total = out.extent(1) * out.extent(2);
  const bool dense = detail::has_dense_rows(out);
  const detail::AxisReader row_axis(rows, out.extent(0), source.extent(0), options);
  const detail::AxisReader column_axis(columns, out.extent(1), source.extent(1), options);
  detail::with_columns<T>(source, [&]<class Table>(Table& table) {
    using V = typename Table::V;
    const V factor(static_cast<T>(scale));
    alignas(kAlignment) std::array<T, 256> buffer;
    for (Index first = 0; first < total; first += Table::capacity) {
      table.fill(source, column_axis, first, total);
      for (Index i = 0; i < out.extent(0); ++i) {
        const auto tap = detail::row_tap<T>(source, row_axis, i, kPixelScale<Plain>);
        const V upper(tap.weight0);
        const V lower(tap.weight1);
        T* to = dense ? out.data() + i * out.stride(0) + first : buffer.data();
        const auto write = [&](auto add) {
          table.for_each([&](auto at) {
            const auto row0 = table.read(tap.row0, at.i);
            const auto row1 = table.read(tap.row1, at.i);
            const V left = simd::fma(lower, row1.left, upper * row0.left);
            const V right = simd::fma(lower, row1.right, upper * row0.right);
            const V value = simd::fma(table.weight1(at.i), right, table.weight0(at.i) * left);
            if constexpr (add) {
              at.store(to, simd::fma(factor, value, at.load(to)));
            } else {
              at.store(to, factor * value);
            }
          });
        };
        if (accumulate && dense) {
          write(std::true_type{});
        } else {
          write(std::false_type{});
        }
        if (!dense) {
          detail::copy_piece(out, i, first, table.count(), [&](Index m, T& value) {
            const T read = buffer[static_cast<std::size_t>(m)];
            value = accumulate ? value + read : read;
          });
        }
      }
    }
  });
}

/// The gradient of `resample` (scale 1) in the two axes: with g = d_out and v the values read, rows.origin = sum g dv/dy,
/// rows.step = sum i g dv/dy, the columns alike, dot = sum g v.
template <class G, class P>
  requires Pixel<std::remove_const_t<P>> && std::floating_point<std::remove_const_t<G>>
[[nodiscard]] ResampleGradient resample_backward(View<G, 3> d_out, View<P, 3> source_view, SampleAxis rows, SampleAxis columns,
                                                 ResampleOptions options) noexcept {
  using T = std::remove_const_t<G>;
  using Plain = std::remove_const_t<P>;
  constexpr Index block = 64;  // rows whose column sums are added in T
  const View<const Plain, 3> source(source_view);
  FOVEA_ASSERT(source.extent(0) >= 1 && source.extent(1) >= 1 && source.extent(2) == d_out.extent(2));
  const Index channels = d_out.extent(2);
  const Index height = d_out.extent(0);
  const Index total = d_out.extent(1) * channels;
  const bool dense = detail::has_dense_rows(d_out);
  const detail::AxisReader row_axis(rows, height, source.extent(0), options);
  const detail::AxisReader column_axis(columns, d_out.extent(1), source.extent(1), options);
  ResampleGradient gradient;
  detail::with_columns<T>(source, [&]<class Table>(Table& table) {
    using V = typename Table::V;
    alignas(kAlignment) std::array<T, 256> buffer;
    alignas(kAlignment) std::array<T, 256> column_sums;
    for (Index first = 0; first < total; first += Table::capacity) {
      table.fill(source, column_axis, first, total);
      for (Index start = 0; start < height; start += block) {
        column_sums.fill(T(0));
        for (Index i = start; i < std::min(height, start + block); ++i) {
          const auto tap = detail::row_tap<T>(source, row_axis, i, kPixelScale<Plain>);
          if (tap.blank()) continue;
          const T* g_row = d_out.data() + i * d_out.stride(0) + first;
          if (!dense) {
            detail::copy_piece(d_out, i, first, table.count(),
                               [&](Index m, T value) { buffer[static_cast<std::size_t>(m)] = value; });
            g_row = buffer.data();
          }
          const V upper(tap.weight0);
          const V lower(tap.weight1);
          const V upper_slope(tap.slope0);
          const V lower_slope(tap.slope1);
          V row_sum(T(0));
          V dot(T(0));
          table.for_each([&](auto at) {
            const V g = at.load(g_row);
            const auto row0 = table.read(tap.row0, at.i);
            const auto row1 = table.read(tap.row1, at.i);
            const V left = simd::fma(lower, row1.left, upper * row0.left);
            const V right = simd::fma(lower, row1.right, upper * row0.right);
            const V weight0 = table.weight0(at.i);
            const V weight1 = table.weight1(at.i);
            const V across0 = simd::fma(weight1, row0.right, weight0 * row0.left);
            const V across1 = simd::fma(weight1, row1.right, weight0 * row1.left);
            const V d_column = simd::fma(table.slope1(at.i), right, table.slope0(at.i) * left);
            const V d_row = simd::fma(lower_slope, across1, upper_slope * across0);
            const V value = simd::fma(lower, across1, upper * across0);
            at.store(column_sums.data(), simd::fma(g, d_column, at.load(column_sums.data())));
            row_sum = simd::fma(g, d_row, row_sum);
            dot = simd::fma(g, value, dot);
          });
          const auto sum = [](const V& v) {
            if constexpr (Table::vector) {
              return static_cast<double>(simd::reduce_add(v));
            } else {
              return static_cast<double>(v);
            }
          };
          gradient.rows.origin += sum(row_sum);
          gradient.rows.step += sum(row_sum) * static_cast<double>(i);
          gradient.dot += sum(dot);
        }
        for (Index m = 0; m < table.count(); ++m) {
          const double sum = static_cast<double>(column_sums[static_cast<std::size_t>(m)]);
          gradient.columns.origin += sum;
          gradient.columns.step += sum * static_cast<double>((first + m) / channels);
        }
      }
    }
  });
  return gradient;
}

/// What a read leaves behind for its gradient: {h, w, C} each, rows dense. Empty `mix`: not wanted.
template <class T>
struct ResampleSlopes {
  View<T, 3> rows;     ///< d value / d row coordinate
  View<T, 3> columns;  ///< d value / d column coordinate
  View<T, 3> mix;      ///< the value itself
};
/// What they and the value are multiplied by.
struct ResampleScales {
  double value = 1;
  double rows = 1;
  double columns = 1;
  double mix = 1;
};

/// `resample` that also writes (or adds) the slopes of all values: every pixel is read once for a value and its gradient, which
/// is what it costs in an image larger than the caches. Rows of `out` dense.
template <class P, std::floating_point T>
  requires Pixel<std::remove_const_t<P>>
void resample_with_slopes(View<P, 3> source_view, SampleAxis rows, SampleAxis columns, ResampleOptions options, View<T, 3> out,
                          const ResampleSlopes<std::type_identity_t<T>>& slopes, const ResampleScales& scales = {},
                          bool accumulate = false) noexcept {
  using Plain = std::remove_const_t<P>;
  const View<const Plain, 3> source(source_view);
  FOVEA_ASSERT(source.extent(0) >= 1 && source.extent(1) >= 1 && source.extent(2) == out.extent(2));
  FOVEA_ASSERT(detail::has_dense_rows(out) && detail::has_dense_rows(slopes.rows) && detail::has_dense_rows(slopes.columns));
  const Index total = out.extent(1) * out.extent(2);
  const detail::AxisReader row_axis(rows, out.extent(0), source.extent(0), options);
  const detail::AxisReader column_axis(columns, out.extent(1), source.extent(1), options);
  detail::with_columns<T>(source, [&]<class Table>(Table& table) {
    using V = typename Table::V;
    const V value_scale(static_cast<T>(scales.value));
    const V mix_scale(static_cast<T>(scales.mix));
    for (Index first = 0; first < total; first += Table::capacity) {
      table.fill(source, column_axis, first, total, scales.columns);
      for (Index i = 0; i < out.extent(0); ++i) {
        const auto tap = detail::row_tap<T>(source, row_axis, i, kPixelScale<Plain>);
        const V upper(tap.weight0);
        const V lower(tap.weight1);
        const V upper_slope(static_cast<T>(scales.rows) * tap.slope0);
        const V lower_slope(static_cast<T>(scales.rows) * tap.slope1);
        T* to = out.data() + i * out.stride(0) + first;
        T* to_rows = slopes.rows.data() + i * slopes.rows.stride(0) + first;
        T* to_columns = slopes.columns.data() + i * slopes.columns.stride(0) + first;
        T* to_mix = slopes.mix.data() ? slopes.mix.data() + i * slopes.mix.stride(0) + first : nullptr;
        if (i + 1 < out.extent(0)) {
          const auto next = detail::row_tap<T>(source, row_axis, i + 1, 1);
          if (next.row0 != tap.row1) table.prefetch(next.row0);
          table.prefetch(next.row1);
        }
        const auto write = [&](auto add, auto mix) {
          table.for_each([&](auto at) {
            const auto row0 = table.read(tap.row0, at.i);
            const auto row1 = table.read(tap.row1, at.i);
            const V weight0 = table.weight0(at.i);
            const V weight1 = table.weight1(at.i);
            const V left = simd::fma(lower, row1.left, upper * row0.left);
            const V right = simd::fma(lower, row1.right, upper * row0.right);
            const V d_left = simd::fma(lower_slope, row1.left, upper_slope * row0.left);
            const V d_right = simd::fma(lower_slope, row1.right, upper_slope * row0.right);
            const V value = simd::fma(weight1, right, weight0 * left);
            const V d_row = simd::fma(weight1, d_right, weight0 * d_left);
            const V d_column = simd::fma(table.slope1(at.i), right, table.slope0(at.i) * left);
            if constexpr (add) {
              const auto put = [&](T* p, const V& factor, const V& v) { at.store(p, simd::fma(factor, v, at.load(p))); };
              const V one(T(1));
              put(to, value_scale, value);
              put(to_rows, one, d_row);
              put(to_columns, one, d_column);
              if constexpr (mix) put(to_mix, mix_scale, value);
            } else {
              at.store(to, value_scale * value);
              at.store(to_rows, d_row);
              at.store(to_columns, d_column);
              if constexpr (mix) at.store(to_mix, mix_scale * value);
            }
          });
        };
        if (to_mix == nullptr) {
          accumulate ? write(std::true_type{}, std::false_type{}) : write(std::false_type{}, std::false_type{});
        } else {
          accumulate ? write(std::true_type{}, std::true_type{}) : write(std::false_type{}, std::true_type{});
        }
      }
    }
  });
}

/// The gradient of a read from its slopes: as `resample_backward`, each part by the scale its slopes were written with. No
/// pixel is read again. All rows dense; dot is 0 where there is no `mix`.
template <class G>
  requires std::floating_point<std::remove_const_t<G>>
[[nodiscard]] ResampleGradient resample_backward(View<G, 3> d_out,
                                                 const ResampleSlopes<std::remove_const_t<G>>& slopes) noexcept {
  using T = std::remove_const_t<G>;
  using V = simd::Batch<T>;
  constexpr Index piece = 256;
  constexpr Index block = 16;  // rows that are added in T
  FOVEA_ASSERT(detail::has_dense_rows(d_out));
  const Index channels = d_out.extent(2);
  const Index height = d_out.extent(0);
  const Index total = d_out.extent(1) * channels;
  ResampleGradient gradient;
  for (Index first = 0; first < total; first += piece) {
    const Index count = std::min(piece, total - first);
    alignas(kAlignment) std::array<T, static_cast<std::size_t>(piece)> column;  // of each entry, counted from the piece's first
    const Index first_column = first / channels;
    Index channel = first % channels;
    Index number = 0;
    for (Index m = 0; m < count; ++m) {
      column[static_cast<std::size_t>(m)] = static_cast<T>(number);
      if (++channel == channels) {
        channel = 0;
        ++number;
      }
    }
    for (Index start = 0; start < height; start += block) {
      V row_sum(T(0));
      V row_step(T(0));
      V column_sum(T(0));
      V column_step(T(0));
      V dot(T(0));
      for (Index i = start; i < std::min(height, start + block); ++i) {
        const T* g = d_out.data() + i * d_out.stride(0) + first;
        const T* d_row = slopes.rows.data() + i * slopes.rows.stride(0) + first;
        const T* d_column = slopes.columns.data() + i * slopes.columns.stride(0) + first;
        const T* value = slopes.mix.data() ? slopes.mix.data() + i * slopes.mix.stride(0) + first : nullptr;
        V row(T(0));
        simd::for_each_batch<T>(count, [&](auto at) {
          const V d = at.load(g);
          row = simd::fma(d, at.load(d_row), row);
          const V across = d * at.load(d_column);
          column_sum = column_sum + across;
          column_step = simd::fma(across, at.load(column.data()), column_step);
          if (value != nullptr) dot = simd::fma(d, at.load(value), dot);
        });
        row_sum = row_sum + row;
        row_step = simd::fma(row, V(static_cast<T>(i - start)), row_step);
      }
      const auto down = static_cast<double>(simd::reduce_add(row_sum));
      const auto across = static_cast<double>(simd::reduce_add(column_sum));
      gradient.rows.origin += down;
      gradient.rows.step += static_cast<double>(simd::reduce_add(row_step)) + static_cast<double>(start) * down;
      gradient.columns.origin += across;
      gradient.columns.step += static_cast<double>(simd::reduce_add(column_step)) + static_cast<double>(first_column) * across;
      gradient.dot += static_cast<double>(simd::reduce_add(dot));
    }
  }
  return gradient;
}

/// The gradient of `resample` in the source, of any integer or floating pixel type: d_source {H, W, C} += scale times the
/// transpose of the read, applied to d_out {h, w, C}. `scale` includes kPixelScale, if that was in the forward.
template <class G, std::floating_point T>
  requires std::same_as<std::remove_const_t<G>, T>
void resample_backward_source(View<G, 3> d_out, SampleAxis rows, SampleAxis columns, ResampleOptions options,
                              View<T, 3> d_source, double scale = 1) noexcept {
  FOVEA_ASSERT(d_source.extent(0) >= 1 && d_source.extent(1) >= 1 && d_source.extent(2) == d_out.extent(2));
  const detail::AxisReader row_axis(rows, d_out.extent(0), d_source.extent(0), options);
  const detail::AxisReader column_axis(columns, d_out.extent(1), d_source.extent(1), options);
  const Index channels = d_out.extent(2);
  for (Index i = 0; i < d_out.extent(0); ++i) {
    const detail::AxisTap down = row_axis[i];
    const Index below = std::min(down.index + 1, d_source.extent(0) - 1);
    const T upper = static_cast<T>(scale * down.weight0);
    const T lower = static_cast<T>(scale * down.weight1);
    if (upper == T(0) && lower == T(0)) continue;
    for (Index j = 0; j < d_out.extent(1); ++j) {
      const detail::AxisTap across = column_axis[j];
      const Index right = std::min(across.index + 1, d_source.extent(1) - 1);
      const T weight0 = static_cast<T>(across.weight0);
      const T weight1 = static_cast<T>(across.weight1);
      for (Index c = 0; c < channels; ++c) {
        const T g = d_out(i, j, c);
        d_source(down.index, across.index, c) += upper * weight0 * g;
        d_source(down.index, right, c) += upper * weight1 * g;
        d_source(below, across.index, c) += lower * weight0 * g;
        d_source(below, right, c) += lower * weight1 * g;
      }
    }
  }
}

namespace detail {

struct AffinePoint {
  AxisTap across;
  AxisTap down;
};
[[nodiscard]] inline AffinePoint affine_point(const SampleAffine& m, Index i, Index j, Index height, Index width,
                                              ResampleOptions options) noexcept {
  const auto x = static_cast<double>(j);
  const auto y = static_cast<double>(i);
  return {axis_tap(m[0] * x + m[1] * y + m[2], width, options), axis_tap(m[3] * x + m[4] * y + m[5], height, options)};
}

}  // namespace detail

/// `resample` at the points of any affine lattice. Shapes as there.
template <class P, std::floating_point T>
  requires Pixel<std::remove_const_t<P>>
void resample_affine(View<P, 3> source, const SampleAffine& affine, ResampleOptions options, View<T, 3> out) noexcept {
  FOVEA_ASSERT(source.extent(0) >= 1 && source.extent(1) >= 1 && source.extent(2) == out.extent(2));
  const Index height = source.extent(0);
  const Index width = source.extent(1);
  for (Index i = 0; i < out.extent(0); ++i) {
    for (Index j = 0; j < out.extent(1); ++j) {
      const auto [across, down] = detail::affine_point(affine, i, j, height, width, options);
      const Index right = std::min(across.index + 1, width - 1);
      const Index below = std::min(down.index + 1, height - 1);
      const T upper = static_cast<T>(down.weight0 * kPixelScale<std::remove_const_t<P>>);
      const T lower = static_cast<T>(down.weight1 * kPixelScale<std::remove_const_t<P>>);
      const T weight0 = static_cast<T>(across.weight0);
      const T weight1 = static_cast<T>(across.weight1);
      for (Index c = 0; c < out.extent(2); ++c) {
        out(i, j, c) = upper * (weight0 * static_cast<T>(source(down.index, across.index, c)) +
                                weight1 * static_cast<T>(source(down.index, right, c))) +
                       lower * (weight0 * static_cast<T>(source(below, across.index, c)) +
                                weight1 * static_cast<T>(source(below, right, c)));
      }
    }
  }
}

/// The gradient of `resample_affine` in the matrix.
template <class G, class P>
  requires Pixel<std::remove_const_t<P>> && std::floating_point<std::remove_const_t<G>>
[[nodiscard]] SampleAffine resample_affine_backward(View<G, 3> d_out, View<P, 3> source, const SampleAffine& affine,
                                                    ResampleOptions options) noexcept {
  using T = std::remove_const_t<G>;
  FOVEA_ASSERT(source.extent(0) >= 1 && source.extent(1) >= 1 && source.extent(2) == d_out.extent(2));
  const Index height = source.extent(0);
  const Index width = source.extent(1);
  SampleAffine gradient{};
  for (Index i = 0; i < d_out.extent(0); ++i) {
    for (Index j = 0; j < d_out.extent(1); ++j) {
      const auto [across, down] = detail::affine_point(affine, i, j, height, width, options);
      const Index right = std::min(across.index + 1, width - 1);
      const Index below = std::min(down.index + 1, height - 1);
      double d_x = 0;
      double d_y = 0;
      for (Index c = 0; c < d_out.extent(2); ++c) {
        const auto g = static_cast<double>(static_cast<T>(d_out(i, j, c)));
        const auto p00 = static_cast<double>(source(down.index, across.index, c));
        const auto p01 = static_cast<double>(source(down.index, right, c));
        const auto p10 = static_cast<double>(source(below, across.index, c));
        const auto p11 = static_cast<double>(source(below, right, c));
        d_x += g * (across.slope0 * (down.weight0 * p00 + down.weight1 * p10) +
                    across.slope1 * (down.weight0 * p01 + down.weight1 * p11));
        d_y += g * (down.slope0 * (across.weight0 * p00 + across.weight1 * p01) +
                    down.slope1 * (across.weight0 * p10 + across.weight1 * p11));
      }
      const auto x = static_cast<double>(j);
      const auto y = static_cast<double>(i);
      gradient[0] += d_x * x;
      gradient[1] += d_x * y;
      gradient[2] += d_x;
      gradient[3] += d_y * x;
      gradient[4] += d_y * y;
      gradient[5] += d_y;
    }
  }
  for (double& g : gradient) g *= kPixelScale<std::remove_const_t<P>>;
  return gradient;
}

/// The gradient of `resample_affine` in a source of floating-point pixels: d_source += the transpose of the read.
template <class G, std::floating_point T>
  requires std::same_as<std::remove_const_t<G>, T>
void resample_affine_backward_source(View<G, 3> d_out, const SampleAffine& affine, ResampleOptions options,
                                     View<T, 3> d_source) noexcept {
  const Index height = d_source.extent(0);
  const Index width = d_source.extent(1);
  for (Index i = 0; i < d_out.extent(0); ++i) {
    for (Index j = 0; j < d_out.extent(1); ++j) {
      const auto [across, down] = detail::affine_point(affine, i, j, height, width, options);
      const Index right = std::min(across.index + 1, width - 1);
      const Index below = std::min(down.index + 1, height - 1);
      for (Index c = 0; c < d_out.extent(2); ++c) {
        const auto g = static_cast<double>(d_out(i, j, c));
        d_source(down.index, across.index, c) += static_cast<T>(down.weight0 * across.weight0 * g);
        d_source(down.index, right, c) += static_cast<T>(down.weight0 * across.weight1 * g);
        d_source(below, across.index, c) += static_cast<T>(down.weight1 * across.weight0 * g);
        d_source(below, right, c) += static_cast<T>(down.weight1 * across.weight1 * g);
      }
    }
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
