// SPDX-License-Identifier: MIT
/// \file
/// Vectors of 32-bit words picked from anywhere: what a bilinear read needs and xsimd has not (byte addresses, shifts by lane).
///
/// A gather costs about as much as the scalar loads it replaces (16 lanes: 16 loads, two to three a cycle; 0.2 ns a lane with
/// the fused operation behind it, AVX-512 at about 3 GHz, bench/kernel_pixels.cpp); it pays since what follows it is vector
/// arithmetic, and since one word holds both neighbours of a bilinear read in a byte image of up to three channels, and a pair
/// of words those of one of floats. Exact: bits are moved, integers below 2^24 converted. Only where kHasGather.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/simd.hpp>

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push  // g++ 12 on its own avx512fintrin.h, see kernel/simd.hpp
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace fovea::inline FOVEA_ABI {
namespace kernel::detail {

#if defined(__AVX512F__)
inline constexpr bool kHasGather = simd::kWidth<float> == 16;
/// kWidth<float> words.
struct Words {
  __m512i value;
};
[[nodiscard]] FOVEA_ALWAYS_INLINE Words load_words(const std::int32_t* p) {
  return {_mm512_load_si512(reinterpret_cast<const void*>(p))};
}
/// The words at `base` + `bytes`, lane by lane; any alignment, little endian.
[[nodiscard]] FOVEA_ALWAYS_INLINE Words gather_words(const void* base, Words bytes) {
  return {_mm512_i32gather_epi32(bytes.value, base, 1)};
}
/// (words >> bits) & mask as float; the result must be below 2^31.
template <std::uint32_t mask>
[[nodiscard]] FOVEA_ALWAYS_INLINE simd::Batch<float> extract(Words words, Words bits) {
  const __m512i part = _mm512_srlv_epi32(words.value, bits.value);
  return simd::Batch<float>(_mm512_cvtepi32_ps(_mm512_and_si512(part, _mm512_set1_epi32(static_cast<int>(mask)))));
}
[[nodiscard]] FOVEA_ALWAYS_INLINE simd::Batch<float> as_float(Words words) {
  return simd::Batch<float>(_mm512_castsi512_ps(words.value));
}
/// The floats at `base` + `bytes`, and those behind them: as many loads as for one of them alone.
struct FloatPairs {
  simd::Batch<float> first, second;
};
[[nodiscard]] FOVEA_ALWAYS_INLINE FloatPairs gather_pairs(const float* base, Words bytes) {
  const __m512 low = _mm512_castpd_ps(_mm512_i32gather_pd(_mm512_castsi512_si256(bytes.value), base, 1));
  const __m512 high = _mm512_castpd_ps(_mm512_i32gather_pd(_mm512_extracti64x4_epi64(bytes.value, 1), base, 1));
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return {simd::Batch<float>(_mm512_permutex2var_ps(low, even, high)),
          simd::Batch<float>(_mm512_permutex2var_ps(low, odd, high))};
}
/// Pixels of three floats and their right neighbours, at `base` + offsets[0, kWidth / 4) floats, packed: 3 kWidth / 4 lanes
/// each. Loads of four floats take the place of gathers, which bring one for about the same.
[[nodiscard]] FOVEA_ALWAYS_INLINE FloatPairs load_rgb_pairs(const float* base, const std::int32_t* offsets) {
  const auto four = [&](Index shift) {
    const float* p = base + shift;
    const __m512 low =
        _mm512_insertf32x4(_mm512_castps128_ps512(_mm_loadu_ps(p + offsets[0])), _mm_loadu_ps(p + offsets[1]), 1);
    return _mm512_insertf32x4(_mm512_insertf32x4(low, _mm_loadu_ps(p + offsets[2]), 2), _mm_loadu_ps(p + offsets[3]), 3);
  };
  const __m512i first = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0);
  const __m512i last = _mm512_setr_epi32(1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 1, 1, 1, 1);
  return {simd::Batch<float>(_mm512_permutexvar_ps(first, four(0))), simd::Batch<float>(_mm512_permutexvar_ps(last, four(2)))};
}
#elif defined(__AVX2__)
inline constexpr bool kHasGather = simd::kWidth<float> == 8;
struct Words {
  __m256i value;
};
[[nodiscard]] FOVEA_ALWAYS_INLINE Words load_words(const std::int32_t* p) {
  return {_mm256_load_si256(reinterpret_cast<const __m256i*>(p))};
}
[[nodiscard]] FOVEA_ALWAYS_INLINE Words gather_words(const void* base, Words bytes) {
  return {_mm256_i32gather_epi32(static_cast<const int*>(base), bytes.value, 1)};
}
template <std::uint32_t mask>
[[nodiscard]] FOVEA_ALWAYS_INLINE simd::Batch<float> extract(Words words, Words bits) {
  const __m256i part = _mm256_srlv_epi32(words.value, bits.value);
  return simd::Batch<float>(_mm256_cvtepi32_ps(_mm256_and_si256(part, _mm256_set1_epi32(static_cast<int>(mask)))));
}
[[nodiscard]] FOVEA_ALWAYS_INLINE simd::Batch<float> as_float(Words words) {
  return simd::Batch<float>(_mm256_castsi256_ps(words.value));
}
struct FloatPairs {
  simd::Batch<float> first, second;
};
[[nodiscard]] FOVEA_ALWAYS_INLINE FloatPairs gather_pairs(const float* base, Words bytes) {
  const auto* p = reinterpret_cast<const double*>(base);
  const __m256 low = _mm256_castpd_ps(_mm256_i32gather_pd(p, _mm256_castsi256_si128(bytes.value), 1));
  const __m256 high = _mm256_castpd_ps(_mm256_i32gather_pd(p, _mm256_extracti128_si256(bytes.value, 1), 1));
  const auto in_order = [](__m256 v) {
    return simd::Batch<float>(_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xD8)));
  };
  return {in_order(_mm256_shuffle_ps(low, high, 0x88)), in_order(_mm256_shuffle_ps(low, high, 0xDD))};
}
[[nodiscard]] FOVEA_ALWAYS_INLINE FloatPairs load_rgb_pairs(const float* base, const std::int32_t* offsets) {
  const auto two = [&](Index shift) {
    const float* p = base + shift;
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + offsets[0])), _mm_loadu_ps(p + offsets[1]), 1);
  };
  const __m256i first = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 0, 0);
  const __m256i last = _mm256_setr_epi32(1, 2, 3, 5, 6, 7, 1, 1);
  return {simd::Batch<float>(_mm256_permutevar8x32_ps(two(0), first)),
          simd::Batch<float>(_mm256_permutevar8x32_ps(two(2), last))};
}
#else
inline constexpr bool kHasGather = false;
#endif

}  // namespace kernel::detail
}  // namespace fovea::inline FOVEA_ABI

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
