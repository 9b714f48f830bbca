// SPDX-License-Identifier: MIT
/// \file
/// Averages over areas: blocks of pixels, from which a pyramid is built, and rectangles with fractional edges.
///
/// Sums of 2x2 blocks of sums of 2x2 blocks, ... are exact in integers, and for floating point they are pairwise sums. A block
/// that overlaps the edge of the image simply has fewer terms; the caller divides by their number.
///
/// Cost: a row of blocks reads each element once and writes a quarter as many sums. In the caches 0.015 ns a byte (0.035 to
/// 0.045 for three channels), 0.045 a 16-bit sum, 0.08 a float; a quotient 0.05 ns where the divisor is a power of two, 2 at
/// the edges where it is not. A whole pyramid of 6 to 48 MB takes 0.08 to 0.1 ns a byte of the image, 15 to 18 GB/s with what
/// is written, and that is the limit: memory. An area average takes one conversion and one fused operation a pixel, 0.09 ns,
/// and 0.1 in 6 MB (AVX-512 at about 3 GHz, bench/kernel_pixels.cpp, bench/image.cpp).
///
/// Accuracy: integers are rounded once, from exact sums. Area averages in float: within 5e-7 of the largest, of 640 to 1.6
/// million pixels each (against double).
///
/// Why so: a level made from the rounded one above would add up a rounding a level; sums do not. 128-bit vectors suffice, since
/// a pyramid waits for memory.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/bytes.hpp>
#include <fovea/kernel/resample.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__SSE4_1__)
#include <immintrin.h>
#endif

namespace fovea::inline FOVEA_ABI {
namespace kernel {

namespace detail {

#if defined(__SSE4_1__)
/// Sums of neighbouring pixels of a row, kPairBytes of it at a time, to 16-bit words: bytes of neighbours are brought side by
/// side and added by a multiply-add with ones. 128 bits are enough: a pyramid waits for memory.
template <int channels>
struct BytePairs {
  static constexpr Index in = channels == 3 ? 12 : 16;  ///< bytes taken
  static constexpr Index out = in / 2;                  ///< words made; eight are written
  [[nodiscard]] static FOVEA_ALWAYS_INLINE __m128i sum(const std::uint8_t* p) noexcept {
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    if constexpr (channels == 2) {
      bytes = _mm_shuffle_epi8(bytes, _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15));
    } else if constexpr (channels == 3) {
      bytes = _mm_shuffle_epi8(bytes, _mm_setr_epi8(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, -1, -1, -1, -1));
    } else if constexpr (channels == 4) {
      bytes = _mm_shuffle_epi8(bytes, _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15));
    }
    return _mm_maddubs_epi16(bytes, _mm_set1_epi8(1));
  }
};
/// The same for 16-bit sums below 2^15, to words.
template <int channels>
struct WordPairs {
  static constexpr Index in = channels == 3 ? 6 : 8;
  static constexpr Index out = in / 2;
  [[nodiscard]] static FOVEA_ALWAYS_INLINE __m128i sum(const std::uint16_t* p) noexcept {
    __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    if constexpr (channels == 2) {
      words = _mm_shuffle_epi8(words, _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
    } else if constexpr (channels == 3) {
      words = _mm_shuffle_epi8(words, _mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1));
    } else if constexpr (channels == 4) {
      words = _mm_shuffle_epi8(words, _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    }
    return _mm_madd_epi16(words, _mm_set1_epi16(1));
  }
};

/// The head of add_blocks; returns the number of output pixels done. Reads and writes whole vectors only where they fit.
template <int channels>
Index add_blocks_simd(const std::uint8_t* upper, const std::uint8_t* lower, Index width, std::uint16_t* out) noexcept {
  using Pairs = BytePairs<channels>;
  const Index elements = width / 2 * 2 * channels;
  Index at = 0;
  Index to = 0;
  for (; at + 16 <= elements; at += Pairs::in, to += Pairs::out) {
    __m128i sum = Pairs::sum(upper + at);
    if (lower != nullptr) sum = _mm_add_epi16(sum, Pairs::sum(lower + at));
    if constexpr (channels == 3) {  // six words; what follows them is not yet made
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out + to), sum);
      const std::int32_t rest = _mm_extract_epi32(sum, 2);
      std::memcpy(out + to + 4, &rest, 4);
    } else {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + to), sum);
    }
  }
  return to / channels;
}
/// From 16-bit sums: of levels 1 to 3 of bytes, which are below 2^14.
template <int channels>
Index add_blocks_simd(const std::uint16_t* upper, const std::uint16_t* lower, Index width, std::uint16_t* out) noexcept {
  using Pairs = WordPairs<channels>;
  const Index elements = width / 2 * 2 * channels;
  Index at = 0;
  Index to = 0;
  for (; at + 8 <= elements; at += Pairs::in, to += Pairs::out) {
    __m128i sum = Pairs::sum(upper + at);
    if (lower != nullptr) sum = _mm_add_epi32(sum, Pairs::sum(lower + at));
    sum = _mm_packus_epi32(sum, sum);
    if constexpr (channels == 3) {
      const std::int32_t two = _mm_cvtsi128_si32(sum);
      std::memcpy(out + to, &two, 4);
      out[to + 2] = static_cast<std::uint16_t>(_mm_extract_epi16(sum, 2));
    } else {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out + to), sum);
    }
  }
  return to / channels;
}
inline Index add_blocks_grey(const float* upper, const float* lower, Index width, float* out) noexcept {
  Index k = 0;
  for (; 2 * k + 8 <= width; k += 4) {
    __m128 sum = _mm_hadd_ps(_mm_loadu_ps(upper + 2 * k), _mm_loadu_ps(upper + 2 * k + 4));
    if (lower != nullptr) {
      sum = _mm_add_ps(sum, _mm_hadd_ps(_mm_loadu_ps(lower + 2 * k), _mm_loadu_ps(lower + 2 * k + 4)));
    }
    _mm_storeu_ps(out + k, sum);
  }
  return k;
}
#endif

/// How many output pixels were made the quick way: 0 where there is none.
template <class In, class Out>
[[nodiscard]] Index add_blocks_head(const In* upper, const In* lower, Index width, Index channels, Out* out) noexcept {
#if defined(__SSE4_1__)
  if constexpr ((std::is_same_v<In, std::uint8_t> || std::is_same_v<In, std::uint16_t>)&&std::is_same_v<Out, std::uint16_t>) {
    switch (channels) {
      case 1: return add_blocks_simd<1>(upper, lower, width, out);
      case 2: return add_blocks_simd<2>(upper, lower, width, out);
      case 3: return add_blocks_simd<3>(upper, lower, width, out);
      case 4: return add_blocks_simd<4>(upper, lower, width, out);
      default: break;
    }
  }
  if constexpr (std::is_same_v<In, float> && std::is_same_v<Out, float>) {
    if (channels == 1) return add_blocks_grey(upper, lower, width, out);
  }
#endif
  (void)upper, (void)lower, (void)width, (void)channels, (void)out;
  return 0;
}

}  // namespace detail

/// out[k, c] = the sum of columns 2k and 2k + 1 (where it exists) of both rows. `upper`, `lower`: rows of `width` pixels of
/// `channels`, dense; `lower` may be null (a last row without a partner). `out`: (width + 1) / 2 pixels. The sums must fit Out,
/// and sums of 16-bit words to 16-bit words must come from words below 2^14.
template <class In, class Out>
void add_blocks(const In* FOVEA_RESTRICT upper, const In* FOVEA_RESTRICT lower, Index width, Index channels,
                Out* FOVEA_RESTRICT out) noexcept {
  const auto add = [](auto a, auto b) { return static_cast<Out>(static_cast<Out>(a) + static_cast<Out>(b)); };
  const Index pairs = width / 2;
  const Index start = detail::add_blocks_head(upper, lower, width, channels, out);
  if (channels == 1) {
    if (lower != nullptr) {
      for (Index k = start; k < pairs; ++k) {
        out[k] = add(add(upper[2 * k], upper[2 * k + 1]), add(lower[2 * k], lower[2 * k + 1]));
      }
    } else {
      for (Index k = start; k < pairs; ++k) out[k] = add(upper[2 * k], upper[2 * k + 1]);
    }
  } else {
    for (Index k = start; k < pairs; ++k) {
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
      Index i = 0;
#if defined(__SSE4_1__)
      if constexpr (std::is_same_v<Sum, std::uint16_t> && std::is_same_v<P, std::uint8_t>) {
        // No overflow: at most 4^4 terms of 255, and half of 4^4.
        const __m128i add = _mm_set1_epi16(static_cast<short>(half));
        const __m128i bits = _mm_cvtsi32_si128(shift);
        const auto* p = sums;
        for (; i + 16 <= count; i += 16) {
          const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
          const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i + 8));
          _mm_storeu_si128(
              reinterpret_cast<__m128i*>(out + i),
              _mm_packus_epi16(_mm_srl_epi16(_mm_add_epi16(low, add), bits), _mm_srl_epi16(_mm_add_epi16(high, add), bits)));
        }
      }
#endif
      for (; i < count; ++i) out[i] = static_cast<P>((static_cast<Wide>(sums[i]) + half) >> shift);
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
/// within the source, up to rounding, and be at least 1e-9 pixels long. `source` {H, W, C}, `out` {h, w, C}; cost: one pass
/// over the window. Sums run in T: in float the relative error is about 1e-7 times the square root of the pixels averaged.
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
            const simd::Batch<T> factor(weight);
            simd::for_each_batch<T>(static_cast<Index>(elements), [&](auto at) {
              const auto pixels = [&] {
                if constexpr (decltype(at)::whole)
                  return detail::load_pixels<T>(p + at.i);
                else
                  return at.load_convert(p);
              }();
              at.store(sums.data(), simd::fma(factor, pixels, at.load(sums.data())));
            });
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
          if (from >= to) continue;
          // Only the outer two pixels may be covered in part.
          const T share = static_cast<T>(detail::covered(from, left, right));
          const T last_share = to - 1 > from ? static_cast<T>(detail::covered(to - 1, left, right)) : T(0);
          for (Index c = 0; c < here; ++c) {
            const T* p = sums.data() + (from - x0) * here + c;
            T sum = share * p[0] + last_share * p[(to - 1 - from) * here];
            for (Index x = 1; x < to - 1 - from; ++x) sum += p[x * here];
            out(i, j, c0 + c) += sum * static_cast<T>(normalise);
          }
        }
      }
    }
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
