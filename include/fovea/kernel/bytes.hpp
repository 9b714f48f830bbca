// SPDX-License-Identifier: MIT
/// \file
/// Rows of floats to rows of bytes, and rows through a banded matrix: what magnifying and shrinking are made of.
///
/// Cost: rounding a row takes a product, a conversion and a pack, 0.06 ns a byte; mixing two rows 0.075; bound by converting
/// and packing. A banded matrix takes a gather and a fused operation for each output and tap, 0.2 ns, bound by the gather. All
/// pixels of 2528x2528 from 100x100: 0.13 ns each, bound by stores to memory (AVX-512 at about 3 GHz, bench/kernel_pixels.cpp,
/// bench/image.cpp).
///
/// Accuracy: rounding is to nearest, halves to even, values outside [0, 255] to the nearer end, on every instruction set alike.
/// Sums over a band are fused, a rounding of 6e-8 a tap.
///
/// Why so: xsimd has no conversion of floats to saturated bytes, and none of a gather with byte addresses (kernel/gather.hpp).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/gather.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__SSE4_1__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push  // g++ 12 on its own avx512fintrin.h, see kernel/simd.hpp
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace fovea::inline FOVEA_ABI {
namespace kernel {

namespace detail {

[[nodiscard, maybe_unused]] FOVEA_ALWAYS_INLINE std::uint8_t round_to_byte(float value) noexcept {
  return static_cast<std::uint8_t>(std::nearbyint(std::clamp(value, 0.0F, 255.0F)));
}

/// kWidth<T> pixels as T: simd::load_convert, which has no vector form on SSE.
template <class T, class P>
[[nodiscard]] FOVEA_ALWAYS_INLINE simd::Batch<T> load_pixels(const P* p) {
#if defined(__SSE4_1__) && !defined(__AVX__)
  if constexpr (std::is_same_v<T, float> && std::is_same_v<P, std::uint8_t>) {
    std::int32_t bytes;
    std::memcpy(&bytes, p, sizeof bytes);
    return simd::Batch<T>(_mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes))));
  } else if constexpr (std::is_same_v<T, float> && std::is_same_v<P, std::uint16_t>) {
    return simd::Batch<T>(_mm_cvtepi32_ps(_mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))));
  } else
#endif
  {
    return simd::load_convert<T>(p);
  }
}

/// kWidth<float> values to as many bytes.
FOVEA_ALWAYS_INLINE void store_bytes(std::uint8_t* p, const simd::Batch<float>& value) noexcept {
#if defined(__AVX512F__)
  const __m512i words = _mm512_max_epi32(_mm512_cvtps_epi32(value), _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(words));
#elif defined(__AVX2__)
  const __m256i words = _mm256_cvtps_epi32(value);
  const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(halves, halves));
#elif defined(__SSE4_1__) && !defined(__AVX__)
  const __m128i words = _mm_cvtps_epi32(value);
  const __m128i halves = _mm_packs_epi32(words, words);
  const std::int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(halves, halves));
  std::memcpy(p, &bytes, sizeof bytes);
#else
  alignas(kAlignment) float buffer[simd::kWidth<float>];
  value.store_aligned(buffer);
  for (Index i = 0; i < simd::kWidth<float>; ++i) p[i] = round_to_byte(buffer[i]);
#endif
}

/// bytes[i] = round(value(at)): `value` is called with the positions of for_each_batch.
template <class Value>
FOVEA_ALWAYS_INLINE void write_bytes(Index count, std::uint8_t* bytes, Value&& value) noexcept {
  simd::for_each_batch<float>(count, [&](auto at) {
    if constexpr (decltype(at)::whole) {
      store_bytes(bytes + at.i, value(at));
    } else {
      std::uint8_t buffer[simd::kWidth<float>];
      store_bytes(buffer, value(at));
      std::copy_n(buffer, at.count(), bytes + at.i);
    }
  });
}

}  // namespace detail

/// bytes = round(scale * values).
inline void round_row(const float* values, Index count, float scale, std::uint8_t* bytes) noexcept {
  const simd::Batch<float> factor(scale);
  detail::write_bytes(count, bytes, [&](auto at) { return factor * at.load(values); });
}

/// bytes = round(upper + fraction * (lower - upper)).
inline void mix_rows(const float* upper, const float* lower, float fraction, Index count, std::uint8_t* bytes) noexcept {
  const simd::Batch<float> share(fraction);
  detail::write_bytes(count, bytes, [&](auto at) {
    const simd::Batch<float> above = at.load(upper);
    return simd::fma(share, at.load(lower) - above, above);
  });
}

/// out[i] = sum over k < taps of weights[k * count + i] * row[first[i] / 4 + k * step]: a row through a banded matrix, as
/// gathers where there are any. `first`: in bytes, aligned; `count` a multiple of 16, weights padded with zeros.
inline void band_row(const float* row, const std::int32_t* first, const float* weights, Index taps, Index step, Index count,
                     float* out) noexcept {
  FOVEA_ASSERT(count % 16 == 0);
  if constexpr (detail::kHasGather) {
#if defined(__AVX2__)
    for (Index i = 0; i < count; i += simd::kWidth<float>) {
      const detail::Words at = detail::load_words(first + i);
      simd::Batch<float> sum = simd::load(weights + i) * detail::as_float(detail::gather_words(row, at));
      for (Index k = 1; k < taps; ++k) {
        sum = simd::fma(simd::load(weights + k * count + i), detail::as_float(detail::gather_words(row + k * step, at)), sum);
      }
      simd::store(out + i, sum);
    }
#endif
  } else {
    for (Index i = 0; i < count; ++i) {
      const float* p = row + first[i] / 4;
      float sum = weights[i] * p[0];
      for (Index k = 1; k < taps; ++k) sum += weights[k * count + i] * p[k * step];
      out[i] = sum;
    }
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
