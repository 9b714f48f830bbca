// SPDX-License-Identifier: MIT
/// \file
/// Averages over areas: blocks of pixels, from which a pyramid is built, and rectangles with fractional edges.
///
/// Sums of 2x2 blocks of sums of 2x2 blocks, ... are exact in integers, and for floating point they are pairwise sums. A block
/// that overlaps the edge of the image simply has fewer terms; the caller divides by their number.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/resample.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// out[k, c] = the sum of columns 2k and 2k + 1 (where it exists) of both rows. `upper`, `lower`: rows of `width` pixels of
/// `channels`, dense; `lower` may be null (a last row without a partner). `out`: (width + 1) / 2 pixels. The sums must fit Out.
template <class In, class Out>
void add_blocks(const In* FOVEA_RESTRICT upper, const In* FOVEA_RESTRICT lower, Index width, Index channels,
                Out* FOVEA_RESTRICT out) noexcept {
  const auto add = [](auto a, auto b) { return static_cast<Out>(static_cast<Out>(a) + static_cast<Out>(b)); };
  const Index pairs = width / 2;
  if (channels == 1) {
    if (lower != nullptr) {
      for (Index k = 0; k < pairs; ++k) {
        out[k] = add(add(upper[2 * k], upper[2 * k + 1]), add(lower[2 * k], lower[2 * k + 1]));
      }
    } else {
      for (Index k = 0; k < pairs; ++k) out[k] = add(upper[2 * k], upper[2 * k + 1]);
    }
  } else {
    for (Index k = 0; k < pairs; ++k) {
      for (Index c = 0; c < channels; ++c) {
        const Index left = 2 * k * channels + c;
        const Index right = left + channels;
        Out sum = add(upper[left], upper[right]);
        if (lower != nullptr) sum = add(sum, add(lower[left], lower[right]));
        out[k * channels + c] = sum;
      }
    }
  }
  if (width % 2 != 0) {
    for (Index c = 0; c < channels; ++c) {
      const Index left = (width - 1) * channels + c;
      out[pairs * channels + c] = lower == nullptr ? static_cast<Out>(upper[left]) : add(upper[left], lower[left]);
    }
  }
}

/// out = sums / terms, integers rounded to nearest, halves up.
template <class Sum, Pixel P>
void divide_row(const Sum* FOVEA_RESTRICT sums, Index count, std::int64_t terms, P* FOVEA_RESTRICT out) noexcept {
  if constexpr (std::is_floating_point_v<P>) {
    const P factor = P(1) / static_cast<P>(terms);
    for (Index i = 0; i < count; ++i) out[i] = static_cast<P>(sums[i]) * factor;
  } else {
    using Wide = std::conditional_t<(sizeof(Sum) <= 2), std::uint32_t, std::uint64_t>;
    const auto divisor = static_cast<Wide>(terms);
    if ((terms & (terms - 1)) == 0) {
      int shift = 0;
      while ((std::int64_t{1} << shift) < terms) ++shift;
      const auto half = static_cast<Wide>(divisor / 2);
      for (Index i = 0; i < count; ++i) out[i] = static_cast<P>((static_cast<Wide>(sums[i]) + half) >> shift);
    } else {
      for (Index i = 0; i < count; ++i) {
        out[i] = static_cast<P>((static_cast<Wide>(sums[i]) + divisor / 2) / divisor);
      }
    }
  }
}

/// A stretch of one axis in pixels of the source; 0 is the outer edge of its first pixel.
struct Stretch {
  double begin = 0;
  double end = 0;
};

namespace detail {

/// The share of pixel `at` that lies within [begin, end).
[[nodiscard]] inline double covered(Index at, double begin, double end) noexcept {
  return std::max(0.0, std::min(end, static_cast<double>(at) + 1) - std::max(begin, static_cast<double>(at)));
}

}  // namespace detail

/// out(i, j, c) = the average of kPixelScale * source over the (i, j)-th of h x w equal rectangles into which the window
/// `rows` x `columns` of the source is cut. Every pixel counts by the exact share of it that lies within. The window must lie
/// within the source, up to rounding, and be at least 1e-9 pixels long. `source` {H, W, C}, `out` {h, w, C}; cost: one pass over the
/// window. Sums run in T: in float the relative error is about 1e-7 times the square root of the pixels averaged.
template <class P, std::floating_point T>
  requires Pixel<std::remove_const_t<P>>
void area_average(View<P, 3> source, Stretch rows, Stretch columns, View<T, 3> out) noexcept {
  FOVEA_ASSERT(source.extent(2) == out.extent(2));
  constexpr Index capacity = 1024;  // elements of a row that are summed over rows before they are summed along the row
  const Index channels = out.extent(2);
  const Index height = out.extent(0);
  const Index width = out.extent(1);
  const double row_step = (rows.end - rows.begin) / static_cast<double>(height);
  const double column_step = (columns.end - columns.begin) / static_cast<double>(width);
  const double normalise = kPixelScale<std::remove_const_t<P>> / (row_step * column_step);
  const auto first_of = [](double edge, Index extent) {
    return std::clamp(static_cast<Index>(std::floor(edge)), Index{0}, extent - 1);
  };
  const auto end_of = [](double edge, Index extent) {
    return std::clamp(static_cast<Index>(std::ceil(edge)), Index{1}, extent);
  };
  const bool dense = (source.stride(2) == 1 || channels == 1) && source.stride(1) == channels;
  for (Index i = 0; i < height; ++i) {
    for (Index j = 0; j < width; ++j) {
      for (Index c = 0; c < channels; ++c) out(i, j, c) = T(0);
    }
  }
  alignas(kAlignment) std::array<T, capacity> sums;
  const Index group = std::min(channels, capacity);
  const Index piece = capacity / group;  // pixels
  const Index x_begin = first_of(columns.begin, source.extent(1));
  const Index x_end = end_of(columns.end, source.extent(1));
  for (Index c0 = 0; c0 < channels; c0 += group) {
    const Index here = std::min(group, channels - c0);
    for (Index x0 = x_begin; x0 < x_end; x0 += piece) {
      const Index x1 = std::min(x_end, x0 + piece);
      const auto elements = static_cast<std::size_t>((x1 - x0) * here);
      const auto pixel = [&](Index x) { return static_cast<double>(x); };
      const Index j_begin = std::clamp(static_cast<Index>((pixel(x0) - columns.begin) / column_step) - 1, Index{0}, width);
      const Index j_end = std::clamp(static_cast<Index>((pixel(x1) - columns.begin) / column_step) + 2, Index{0}, width);
      for (Index i = 0; i < height; ++i) {
        const double top = rows.begin + static_cast<double>(i) * row_step;
        const double bottom = i + 1 == height ? rows.end : rows.begin + static_cast<double>(i + 1) * row_step;
        std::fill_n(sums.begin(), elements, T(0));
        const Index y_end = end_of(bottom, source.extent(0));
        for (Index y = first_of(top, source.extent(0)); y < y_end; ++y) {
          const T weight = static_cast<T>(detail::covered(y, top, bottom));
          if (weight == T(0)) continue;
          const P* p = source.data() + y * source.stride(0) + x0 * source.stride(1) + c0 * source.stride(2);
          if (dense && here == channels) {
            for (std::size_t e = 0; e < elements; ++e) sums[e] += weight * static_cast<T>(p[e]);
          } else {
            std::size_t e = 0;
            for (Index x = 0; x < x1 - x0; ++x) {
              for (Index c = 0; c < here; ++c) {
                sums[e++] += weight * static_cast<T>(p[x * source.stride(1) + c * source.stride(2)]);
              }
            }
          }
        }
        for (Index j = j_begin; j < j_end; ++j) {
          const double left = columns.begin + static_cast<double>(j) * column_step;
          const double right = j + 1 == width ? columns.end : columns.begin + static_cast<double>(j + 1) * column_step;
          const Index from = std::max(x0, first_of(left, source.extent(1)));
          const Index to = std::min(x1, end_of(right, source.extent(1)));
          for (Index c = 0; c < here; ++c) {
            T sum = 0;
            for (Index x = from; x < to; ++x) {
              const T share = static_cast<T>(detail::covered(x, left, right));
              sum += share * sums[static_cast<std::size_t>((x - x0) * here + c)];
            }
            out(i, j, c0 + c) += sum * static_cast<T>(normalise);
          }
        }
      }
    }
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
