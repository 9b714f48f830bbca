// SPDX-License-Identifier: MIT
/// \file
/// The one shim over xsimd, 8.1 (Debian 12) up to the newest: nothing else in the library names xsimd.
///
/// Why a shim: xsimd renames functions between versions (hadd -> reduce_add), and 8.1 has defects that give slow or wrong code
/// on AVX-512 (`fma` is a product and a sum; `^` on masks) and SSE (`mask != mask`). Each work-around here is tested against
/// scalar code for x86-64-v2, v3 and v4 (tests/kernel/simd.cpp).
///
/// Call everything qualified, `simd::exp(v)`. Arithmetic (+ - * /), comparisons (< <= > >= == !=) and masks' & | are
/// xsimd's own operators; for the complement and the exclusive or of masks use mask_not and mask_xor, and is_nan
/// instead of v != v.
/// Every function of a Batch has an overload for the plain scalar, with the same meaning.
///
/// Accuracy, float, in ULP (xsimd 8.1; double alike): exp 1.5, log 0.8, tanh 1.3, expm1 1.4, log1p 0.8, sigmoid 3. exp is 0
/// below -88 (float), -708 (double). Nothing here uses the processor's reciprocal or reciprocal square root estimates. min and
/// max: where an operand is NaN either may come back.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>

#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

// g++ 12 takes the deliberately undefined merge operands in its own avx512fintrin.h for uninitialised variables (GCC bug
// 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#if defined(__AVX__)
#include <immintrin.h>
#endif
#include <xsimd/xsimd.hpp>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

namespace fovea::inline FOVEA_ABI {
/// SIMD vectors of the widest instruction set this translation unit is compiled for.
namespace simd {

template <class T>
using Batch = xsimd::batch<T, xsimd::default_arch>;
template <class T>
using Mask = xsimd::batch_bool<T, xsimd::default_arch>;

/// Elements of a Batch.
template <class T>
inline constexpr Index kWidth = static_cast<Index>(Batch<T>::size);

/// Architectural vector registers: what bounds a register tile.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int kRegisters = 32;
#else
inline constexpr int kRegisters = 16;
#endif

namespace detail {
#if defined(__AVX512F__)
inline constexpr bool kAvx512 = sizeof(Batch<float>) == 64;
#else
inline constexpr bool kAvx512 = false;
#endif
#if defined(__AVX2__)
inline constexpr bool kAvx2 = sizeof(Batch<float>) == 32;
/// Eight ones, then zeros: an unaligned window of it is the mask of the first n lanes.
alignas(64) inline constexpr std::int32_t kWindow32[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
alignas(64) inline constexpr std::int64_t kWindow64[8] = {-1, -1, -1, -1};
#else
inline constexpr bool kAvx2 = false;
#endif

/// xsimd 8.1's logarithms for AVX-512 do not compile with g++ -O0, where intrinsics are macros that cast their arguments.
#if defined(__GNUC__) && !defined(__clang__) && !defined(__OPTIMIZE__) && XSIMD_VERSION_MAJOR < 9
inline constexpr bool kScalarLog = kAvx512;
#else
inline constexpr bool kScalarLog = false;
#endif
template <class T, class Function>
[[nodiscard]] inline Batch<T> lane_by_lane(const Batch<T>& x, Function function) {
  alignas(kAlignment) T buffer[kWidth<T>];
  x.store_aligned(buffer);
  for (T& element : buffer) element = function(element);
  return Batch<T>::load_aligned(buffer);
}
}  // namespace detail

// ---------------------------------------------------------------------------------------------- loads and stores

/// kWidth<T> elements from any address.
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> load(const T* p) {
  return Batch<T>::load_unaligned(p);
}
/// kWidth<T> elements from an address that is a multiple of the vector's size.
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> load_aligned(const T* p) {
  return Batch<T>::load_aligned(p);
}
template <class T>
FOVEA_ALWAYS_INLINE void store(T* p, const Batch<T>& v) {
  v.store_unaligned(p);
}
template <class T>
FOVEA_ALWAYS_INLINE void store_aligned(T* p, const Batch<T>& v) {
  v.store_aligned(p);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> broadcast(T value) {
  return Batch<T>(value);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> zero() {
  return Batch<T>(T(0));
}

/// The first n elements, 0 <= n <= kWidth<T>; the other lanes are 0. Touches no memory behind p + n.
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> load_partial(const T* p, Index n) {
  FOVEA_ASSERT(n >= 0 && n <= kWidth<T>);
#if defined(__AVX512F__)
  if constexpr (detail::kAvx512 && std::is_same_v<T, float>) {
    return Batch<T>(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << n) - 1U), p));
  } else if constexpr (detail::kAvx512 && std::is_same_v<T, double>) {
    return Batch<T>(_mm512_maskz_loadu_pd(static_cast<__mmask8>((1U << n) - 1U), p));
  } else
#endif
#if defined(__AVX2__)
      if constexpr (detail::kAvx2 && std::is_same_v<T, float>) {
    const __m256i mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(detail::kWindow32 + (8 - n)));
    return Batch<T>(_mm256_maskload_ps(p, mask));
  } else if constexpr (detail::kAvx2 && std::is_same_v<T, double>) {
    const __m256i mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(detail::kWindow64 + (4 - n)));
    return Batch<T>(_mm256_maskload_pd(p, mask));
  } else
#endif
  {
    alignas(kAlignment) T buffer[kWidth<T>] = {};
    for (Index i = 0; i < n; ++i) buffer[i] = p[i];
    return Batch<T>::load_aligned(buffer);
  }
}
/// Writes the first n lanes, 0 <= n <= kWidth<T>. Touches no memory behind p + n.
template <class T>
FOVEA_ALWAYS_INLINE void store_partial(T* p, Index n, const Batch<T>& v) {
  FOVEA_ASSERT(n >= 0 && n <= kWidth<T>);
#if defined(__AVX512F__)
  if constexpr (detail::kAvx512 && std::is_same_v<T, float>) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << n) - 1U), v);
  } else if constexpr (detail::kAvx512 && std::is_same_v<T, double>) {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1U << n) - 1U), v);
  } else
#endif
#if defined(__AVX2__)
      if constexpr (detail::kAvx2 && std::is_same_v<T, float>) {
    const __m256i mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(detail::kWindow32 + (8 - n)));
    _mm256_maskstore_ps(p, mask, v);
  } else if constexpr (detail::kAvx2 && std::is_same_v<T, double>) {
    const __m256i mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(detail::kWindow64 + (4 - n)));
    _mm256_maskstore_pd(p, mask, v);
  } else
#endif
  {
    alignas(kAlignment) T buffer[kWidth<T>];
    v.store_aligned(buffer);
    for (Index i = 0; i < n; ++i) p[i] = buffer[i];
  }
}

/// kWidth<To> elements of a narrower type (bytes or 16-bit words of a picture), or of To itself, as Batch<To>. Values are
/// converted, not scaled. Touches no memory behind them.
template <class To = float, class From>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<To> load_convert(const From* p) {
  if constexpr (std::is_same_v<From, To>) {
    return load(p);
  } else {
#if defined(__AVX512F__)
    if constexpr (detail::kAvx512 && std::is_same_v<To, float> && std::is_same_v<From, std::uint8_t>) {
      return Batch<To>(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))));
    } else if constexpr (detail::kAvx512 && std::is_same_v<To, float> && std::is_same_v<From, std::uint16_t>) {
      return Batch<To>(_mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))));
    } else
#endif
#if defined(__AVX2__)
        if constexpr (detail::kAvx2 && std::is_same_v<To, float> && std::is_same_v<From, std::uint8_t>) {
      return Batch<To>(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))));
    } else if constexpr (detail::kAvx2 && std::is_same_v<To, float> && std::is_same_v<From, std::uint16_t>) {
      return Batch<To>(_mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))));
    } else
#endif
    {
      alignas(kAlignment) To buffer[kWidth<To>];
      for (Index i = 0; i < kWidth<To>; ++i) buffer[i] = static_cast<To>(p[i]);
      return Batch<To>::load_aligned(buffer);
    }
  }
}
/// The first n of them, 0 <= n <= kWidth<To>; the other lanes are 0.
template <class To = float, class From>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<To> load_convert_partial(const From* p, Index n) {
  if constexpr (std::is_same_v<From, To>) {
    return load_partial(p, n);
  } else {
    FOVEA_ASSERT(n >= 0 && n <= kWidth<To>);
    alignas(kAlignment) To buffer[kWidth<To>] = {};
    for (Index i = 0; i < n; ++i) buffer[i] = static_cast<To>(p[i]);
    return Batch<To>::load_aligned(buffer);
  }
}

// ---------------------------------------------------------------------------------------------- arithmetic

/// Asks for the cache line of `p`, which need not exist: all the way (level 1), or as far as the second cache (level 2).
template <int level = 1, class T>
FOVEA_ALWAYS_INLINE void prefetch(const T* p) {
#if defined(__GNUC__)
  __builtin_prefetch(p, 0, level == 1 ? 3 : 2);
#else
  (void)p;
#endif
}

/// a * b + c, rounded once where the processor can (not on SSE: there twice).
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> fma(const Batch<T>& a, const Batch<T>& b, const Batch<T>& c) {
#if defined(__AVX512F__)  // xsimd before 11: a product and a sum
  if constexpr (detail::kAvx512 && std::is_same_v<T, float>) {
    return Batch<T>(_mm512_fmadd_ps(a, b, c));
  } else if constexpr (detail::kAvx512 && std::is_same_v<T, double>) {
    return Batch<T>(_mm512_fmadd_pd(a, b, c));
  } else
#elif defined(__aarch64__)
  if constexpr (std::is_same_v<T, float>) {
    return Batch<T>(vfmaq_f32(c, a, b));
  } else if constexpr (std::is_same_v<T, double>) {
    return Batch<T>(vfmaq_f64(c, a, b));
  } else
#endif
  {
    return xsimd::fma(a, b, c);
  }
}
/// c - a * b, rounded once where the processor can.
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> fnma(const Batch<T>& a, const Batch<T>& b, const Batch<T>& c) {
#if defined(__AVX512F__)
  if constexpr (detail::kAvx512 && std::is_same_v<T, float>) {
    return Batch<T>(_mm512_fnmadd_ps(a, b, c));
  } else if constexpr (detail::kAvx512 && std::is_same_v<T, double>) {
    return Batch<T>(_mm512_fnmadd_pd(a, b, c));
  } else
#elif defined(__aarch64__)
  if constexpr (std::is_same_v<T, float>) {
    return Batch<T>(vfmsq_f32(c, a, b));
  } else if constexpr (std::is_same_v<T, double>) {
    return Batch<T>(vfmsq_f64(c, a, b));
  } else
#endif
  {
    return xsimd::fnma(a, b, c);
  }
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> min(const Batch<T>& a, const Batch<T>& b) {
  return xsimd::min(a, b);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> max(const Batch<T>& a, const Batch<T>& b) {
  return xsimd::max(a, b);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> abs(const Batch<T>& a) {
  return xsimd::abs(a);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> sqrt(const Batch<T>& a) {
  return xsimd::sqrt(a);
}
/// Lane by lane: mask ? a : b.
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> select(const Mask<T>& mask, const Batch<T>& a, const Batch<T>& b) {
  return xsimd::select(mask, a, b);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Mask<T> mask_not(const Mask<T>& a) {
  return !a;
}
/// Exclusive or. Not xsimd's own: `^` is wrong on AVX-512 before 14.0, `!=` on SSE before 11.
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Mask<T> mask_xor(const Mask<T>& a, const Mask<T>& b) {
  return (a & mask_not<T>(b)) | (mask_not<T>(a) & b);
}
/// Whether a lane is NaN. Not `v != v`, which is false for NaN in xsimd 8.1 on AVX-512.
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Mask<T> is_nan(const Batch<T>& v) {
  return simd::mask_not<T>(v == v);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE bool any(const xsimd::batch_bool<T, xsimd::default_arch>& a) {
  return xsimd::any(a);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE bool all(const xsimd::batch_bool<T, xsimd::default_arch>& a) {
  return xsimd::all(a);
}

/// The sum of the lanes, in a fixed order (a tree).
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T reduce_add(const Batch<T>& v) {
#if defined(__AVX512F__)
  if constexpr (detail::kAvx512 && std::is_same_v<T, float>) {
    return _mm512_reduce_add_ps(v);
  } else if constexpr (detail::kAvx512 && std::is_same_v<T, double>) {
    return _mm512_reduce_add_pd(v);
  } else
#endif
  {
#if XSIMD_VERSION_MAJOR >= 9
    return xsimd::reduce_add(v);
#else
    return xsimd::hadd(v);
#endif
  }
}
/// The greatest lane.
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T reduce_max(const Batch<T>& v) {
#if defined(__AVX512F__)
  if constexpr (detail::kAvx512 && std::is_same_v<T, float>) {
    return _mm512_reduce_max_ps(v);
  } else if constexpr (detail::kAvx512 && std::is_same_v<T, double>) {
    return _mm512_reduce_max_pd(v);
  } else
#endif
  {
    alignas(kAlignment) T buffer[kWidth<T>];
    v.store_aligned(buffer);
    T result = buffer[0];
    for (Index i = 1; i < kWidth<T>; ++i) result = buffer[i] > result ? buffer[i] : result;
    return result;
  }
}
/// The least lane.
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T reduce_min(const Batch<T>& v) {
  return -reduce_max<T>(-v);
}

// ---------------------------------------------------------------------------------------------- 32-bit words

/// As many words as a Batch<float> has lanes. + & | ^ << >> are xsimd's own.
using Words = Batch<std::uint32_t>;

/// The 64-bit products a * b: the upper halves and the lower.
FOVEA_ALWAYS_INLINE void multiply_wide(const Words& a, std::uint32_t b, Words& high, Words& low) {
#if defined(__AVX512F__)
  if constexpr (detail::kAvx512) {
    const __m512i x = a;
    const __m512i factor = _mm512_set1_epi32(static_cast<int>(b));
    const __m512i even = _mm512_mul_epu32(x, factor);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), factor);
    low = Words(_mm512_mask_mov_epi32(even, 0xAAAA, _mm512_slli_epi64(odd, 32)));
    high = Words(_mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xAAAA, odd));
    return;
  }
#elif defined(__AVX2__)
  if constexpr (detail::kAvx2) {
    const __m256i x = a;
    const __m256i factor = _mm256_set1_epi32(static_cast<int>(b));
    const __m256i even = _mm256_mul_epu32(x, factor);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), factor);
    low = Words(_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA));
    high = Words(_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA));
    return;
  }
#elif defined(__SSE4_1__)
  if constexpr (sizeof(Words) == 16) {
    const __m128i x = a;
    const __m128i factor = _mm_set1_epi32(static_cast<int>(b));
    const __m128i even = _mm_mul_epu32(x, factor);
    const __m128i odd = _mm_mul_epu32(_mm_srli_epi64(x, 32), factor);
    low = Words(_mm_blend_epi16(even, _mm_slli_epi64(odd, 32), 0xCC));
    high = Words(_mm_blend_epi16(_mm_srli_epi64(even, 32), odd, 0xCC));
    return;
  }
#endif
  alignas(kAlignment) std::uint32_t upper[static_cast<std::size_t>(kWidth<float>)];
  alignas(kAlignment) std::uint32_t lower[static_cast<std::size_t>(kWidth<float>)];
  a.store_aligned(lower);
  for (Index i = 0; i < kWidth<float>; ++i) {
    const std::uint64_t product = std::uint64_t{lower[i]} * b;
    upper[i] = static_cast<std::uint32_t>(product >> 32);
    lower[i] = static_cast<std::uint32_t>(product);
  }
  high = Words::load_aligned(upper);
  low = Words::load_aligned(lower);
}
/// The same bits as floats, and as words.
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<float> as_float(const Words& a) { return std::bit_cast<Batch<float>>(a); }
[[nodiscard]] FOVEA_ALWAYS_INLINE Words as_words(const Batch<float>& a) { return std::bit_cast<Words>(a); }
/// The floats nearest to words below 2^31.
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<float> to_float(const Words& a) {
  return xsimd::to_float(std::bit_cast<Batch<std::int32_t>>(a));
}

// ---------------------------------------------------------------------------------------------- elementary functions

template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> exp(const Batch<T>& x) {
  return xsimd::exp(x);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> expm1(const Batch<T>& x) {
  return xsimd::expm1(x);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> log(const Batch<T>& x) {
  if constexpr (detail::kScalarLog)
    return detail::lane_by_lane(x, [](T e) { return std::log(e); });
  else
    return xsimd::log(x);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> log1p(const Batch<T>& x) {
  if constexpr (detail::kScalarLog)
    return detail::lane_by_lane(x, [](T e) { return std::log1p(e); });
  else
    return xsimd::log1p(x);
}
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> tanh(const Batch<T>& x) {
  return xsimd::tanh(x);
}
/// 1 / (1 + exp(-x)), with full relative accuracy in both tails (a real division, no overflow).
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> sigmoid(const Batch<T>& x) {
  const Batch<T> one(T(1));
  const Batch<T> e = simd::exp<T>(-simd::abs<T>(x));
  return simd::select<T>(x < Batch<T>(T(0)), e, one) / (one + e);
}

// ---------------------------------------------------------------------------------------------- the same on plain scalars

template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T fma(T a, T b, T c) {
#if defined(__FMA__) || defined(__aarch64__)
  return std::fma(a, b, c);
#else
  return a * b + c;
#endif
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T fnma(T a, T b, T c) {
  return simd::fma(-a, b, c);
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T min(T a, T b) {
  return a < b ? a : b;
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T max(T a, T b) {
  return a > b ? a : b;
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T abs(T a) {
  return std::abs(a);
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T sqrt(T a) {
  return std::sqrt(a);
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T select(bool mask, T a, T b) {
  return mask ? a : b;
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE bool is_nan(T a) {
  return std::isnan(a);
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T exp(T x) {
  return std::exp(x);
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T expm1(T x) {
  return std::expm1(x);
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T log(T x) {
  return std::log(x);
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T log1p(T x) {
  return std::log1p(x);
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T tanh(T x) {
  return std::tanh(x);
}
template <std::floating_point T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T sigmoid(T x) {
  const T e = std::exp(-std::abs(x));
  return (x < T(0) ? e : T(1)) / (T(1) + e);
}

// ---------------------------------------------------------------------------------------------- loops

/// A position in an array where a whole Batch fits: what for_each_batch hands to its body.
template <class T>
struct WholeBatch {
  static constexpr bool whole = true;
  Index i;  ///< of the first lane
  [[nodiscard]] static constexpr Index count() { return kWidth<T>; }
  [[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> load(const T* p) const { return simd::load(p + i); }
  template <class From>
  [[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> load_convert(const From* p) const {
    return simd::load_convert<T>(p + i);
  }
  FOVEA_ALWAYS_INLINE void store(T* p, const Batch<T>& v) const { simd::store(p + i, v); }
};
/// The last position, where only the first `n` lanes exist. Loads give 0 in the others, stores leave them alone.
template <class T>
struct PartialBatch {
  static constexpr bool whole = false;
  Index i;
  Index n;
  [[nodiscard]] constexpr Index count() const { return n; }
  [[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> load(const T* p) const { return simd::load_partial(p + i, n); }
  template <class From>
  [[nodiscard]] FOVEA_ALWAYS_INLINE Batch<T> load_convert(const From* p) const {
    return simd::load_convert_partial<T>(p + i, n);
  }
  FOVEA_ALWAYS_INLINE void store(T* p, const Batch<T>& v) const { simd::store_partial(p + i, n, v); }
};

/// Calls `body(at)` for [0, n) in steps of a Batch; at.load(p) and at.store(p, v) treat the tail like the rest, so an element's
/// result does not depend on its place:
///     simd::for_each_batch<float>(n, [&](auto at) { at.store(y, simd::exp(at.load(x))); });
template <class T, class Body>
FOVEA_ALWAYS_INLINE void for_each_batch(Index n, Body&& body) {
  Index i = 0;
  for (; i + kWidth<T> <= n; i += kWidth<T>) body(WholeBatch<T>{i});
  if (i < n) body(PartialBatch<T>{i, n - i});
}

}  // namespace simd
}  // namespace fovea::inline FOVEA_ABI
