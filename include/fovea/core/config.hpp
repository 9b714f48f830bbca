// SPDX-License-Identifier: MIT
/// \file
/// The inline namespace that carries the instruction set.
///
/// A kernel compiled for AVX-512 and the same kernel compiled for SSE4.2 are different functions. If both bore one name, a
/// program whose translation units are built with different flags would silently run one of them everywhere
/// (an ODR violation). The tag below makes them distinct symbols: `fovea::v0_avx512::Tape` and `fovea::v0_sse4_2::Tape`.
#pragma once

#include <cassert>

#if defined(FOVEA_ABI)
// Set by the user: their responsibility to keep it consistent.
#elif defined(__AVX512F__) && defined(__AVX512CD__) && defined(__AVX512DQ__) && defined(__AVX512BW__)
#define FOVEA_ABI v0_avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define FOVEA_ABI v0_avx2_fma
#elif defined(__AVX2__)
#define FOVEA_ABI v0_avx2
#elif defined(__AVX__)
#define FOVEA_ABI v0_avx
#elif defined(__SSE4_2__)
#define FOVEA_ABI v0_sse4_2
#elif defined(__x86_64__) || defined(_M_X64)
#define FOVEA_ABI v0_sse2
#elif defined(__aarch64__)
#define FOVEA_ABI v0_neon64
#else
#define FOVEA_ABI v0_generic
#endif

/// Contract of an inner loop: checked in debug builds only (DESIGN section 8).
#define FOVEA_ASSERT(condition) assert(condition)

#if defined(__GNUC__) || defined(__clang__)
#define FOVEA_ALWAYS_INLINE inline __attribute__((always_inline))
#define FOVEA_RESTRICT __restrict__
#else
#define FOVEA_ALWAYS_INLINE inline
#define FOVEA_RESTRICT
#endif
