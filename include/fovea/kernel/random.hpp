// SPDX-License-Identifier: MIT
/// \file
/// Noise for many samples at once: Philox4x32-10 (core/random.hpp) and what is made of its words, in SIMD.
///
/// Row r of an array is drawn from a stream of its own, whose block j holds the elements [4 j, 4 j + 4). A lane is one block of
/// one row, so an element is a function of the key, its row and its column, whatever the number of rows and wherever vectors
/// begin and end.
///
/// Cost: ten rounds are 20 products of 16 lanes; an element takes 1.4 to 2.2 ns uniform, 2.2 to 3.8 normal and 3.1
/// to 5.5 Gumbel (float, AVX-512 at about 3 GHz, a busy machine). A row that is no multiple of
/// 4 wide throws the rest of its last block away.
///
/// Accuracy: uniforms are exactly those of the stream. Gumbel within 2 ULP of the larger of 1 and its size for its uniform;
/// normals within 1e-6 but where the radius is near 0: its square is a logarithm of a float near 1, so it is within 4e-4. One
/// instruction set gives the same bits everywhere, two of them the same numbers to rounding.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

namespace detail {

/// A block in each lane.
using PhiloxBlocks = std::array<simd::Words, 4>;

/// philox4x32() of every lane, under one key.
[[nodiscard]] FOVEA_ALWAYS_INLINE PhiloxBlocks philox4x32(PhiloxBlocks counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    simd::Words a_high, a_low, b_high, b_low;
    simd::multiply_wide(counter[0], 0xD2511F53U, a_high, a_low);
    simd::multiply_wide(counter[2], 0xCD9E8D57U, b_high, b_low);
    counter = {b_high ^ counter[1] ^ simd::Words(key[0]), b_low, a_high ^ counter[3] ^ simd::Words(key[1]), a_low};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

/// Uniform in (0, 1), as Stream::uniform<float>(): (k + 1/2) 2^-23 of the upper 23 bits k, exactly.
[[nodiscard]] FOVEA_ALWAYS_INLINE simd::Batch<float> uniform(const simd::Words& bits) {
  const simd::Words from_one = (bits >> 9) | simd::Words(0x3F800000U);  // 1 + k 2^-23
  return simd::as_float(from_one) - simd::Batch<float>(1.0F - 0x1p-24F);
}

/// Two standard normals of two words, by Box and Muller's transform: radius^2 / 2 is exponential, of 31 bits, so that nothing
/// beyond 6.6 is drawn, which is one in 4e10; the angle has two bits for its quadrant, which are signs, and 30 within.
FOVEA_ALWAYS_INLINE void normal_pair(const simd::Words& w0, const simd::Words& w1, simd::Batch<float>& first,
                                     simd::Batch<float>& second) {
  using B = simd::Batch<float>;
  using simd::Words;
  const B u = (simd::to_float(w0 >> 1) + B(0.5F)) * B(0x1p-31F);
  const B radius = simd::sqrt<float>(B(-2.0F) * simd::log<float>(u));
  const B t = (simd::to_float(w1 & Words(0x3FFFFFFFU)) + B(0.5F)) * B(1.5707963267948966F * 0x1p-30F);  // in [0, pi / 2]
  const B s = t * t;
  // The series of sine and cosine, whose next terms are below 6e-8 there.
  B sine = simd::fma<float>(s, B(-1.0F / 39916800), B(1.0F / 362880));
  sine = simd::fma<float>(sine, s, B(-1.0F / 5040));
  sine = simd::fma<float>(sine, s, B(1.0F / 120));
  sine = simd::fma<float>(sine, s, B(-1.0F / 6));
  sine = simd::fma<float>(sine * s, t, t);
  B cosine = simd::fma<float>(s, B(1.0F / 479001600), B(-1.0F / 3628800));
  cosine = simd::fma<float>(cosine, s, B(1.0F / 40320));
  cosine = simd::fma<float>(cosine, s, B(-1.0F / 720));
  cosine = simd::fma<float>(cosine, s, B(1.0F / 24));
  cosine = simd::fma<float>(cosine, s, B(-0.5F));
  cosine = simd::fma<float>(cosine, s, B(1.0F));
  const Words sign(0x80000000U);
  first = radius * simd::as_float(simd::as_words(cosine) ^ (w1 & sign));
  second = radius * simd::as_float(simd::as_words(sine) ^ ((w1 << 1) & sign));
}

/// Fills `out` [B, D]: row r from the stream that `stream` names with r added to its sample, which must not run over 2^32.
/// `transform` makes four floats a lane of the four words of a block.
template <class Transform>
void fill_by_blocks(const Stream& stream, View<float, 2> out, Transform transform) {
  constexpr Index width = simd::kWidth<float>;
  const Index columns = out.extent(1);
  const Index blocks = (columns + 3) / 4;
  const Index count = out.extent(0) * blocks;
  const std::array<std::uint32_t, 4> counter = stream.counter();
  alignas(kAlignment) std::uint32_t block_of[static_cast<std::size_t>(width)];
  alignas(kAlignment) std::uint32_t sample_of[static_cast<std::size_t>(width)];
  alignas(kAlignment) float noise[4][static_cast<std::size_t>(width)];
  Index row = 0;
  Index block = 0;
  for (Index first = 0; first < count; first += width) {
    Index to_row = row;  // where the lanes go
    Index to_block = block;
    for (Index l = 0; l < width; ++l) {  // those behind the end are blocks of rows that are not there
      block_of[l] = counter[0] + static_cast<std::uint32_t>(block);
      sample_of[l] = counter[2] + static_cast<std::uint32_t>(row);
      if (++block == blocks) {
        block = 0;
        ++row;
      }
    }
    const PhiloxBlocks words = philox4x32({simd::Words::load_aligned(block_of), simd::Words(counter[1]),
                                           simd::Words::load_aligned(sample_of), simd::Words(counter[3])},
                                          stream.key());
    std::array<simd::Batch<float>, 4> made;
    transform(words, made);
    for (std::size_t i = 0; i < 4; ++i) simd::store_aligned<float>(noise[i], made[i]);
    const Index lanes = std::min(width, count - first);
    for (Index l = 0; l < lanes; ++l) {
      const Index from = 4 * to_block;
      float* to = out.data() + to_row * out.stride(0) + from * out.stride(1);
      if (from + 4 <= columns) {
        for (Index i = 0; i < 4; ++i) to[i * out.stride(1)] = noise[i][l];
      } else {
        for (Index i = 0; from + i < columns; ++i) to[i * out.stride(1)] = noise[i][l];
      }
      if (++to_block == blocks) {
        to_block = 0;
        ++to_row;
      }
    }
  }
}

}  // namespace detail

/// Uniform noise in (0, 1): row r of `out` [B, D] is what the stream of the r-th sample after that of `stream` gives, which
/// must be a stream that nothing was drawn from. No sample may lie beyond 2^32.
inline void uniform_noise(const Stream& stream, View<float, 2> out) {
  detail::fill_by_blocks(stream, out, [](const detail::PhiloxBlocks& words, std::array<simd::Batch<float>, 4>& noise) {
    for (std::size_t i = 0; i < 4; ++i) noise[i] = detail::uniform(words[i]);
  });
}
/// Standard Gumbel noise, -log(-log uniform), of those uniforms.
inline void gumbel_noise(const Stream& stream, View<float, 2> out) {
  detail::fill_by_blocks(stream, out, [](const detail::PhiloxBlocks& words, std::array<simd::Batch<float>, 4>& noise) {
    for (std::size_t i = 0; i < 4; ++i) noise[i] = -simd::log<float>(-simd::log<float>(detail::uniform(words[i])));
  });
}
/// Standard normal noise. Not the numbers of Stream::normal<float>(), which takes twice the words: a block gives four of them.
inline void normal_noise(const Stream& stream, View<float, 2> out) {
  detail::fill_by_blocks(stream, out, [](const detail::PhiloxBlocks& words, std::array<simd::Batch<float>, 4>& noise) {
    detail::normal_pair(words[0], words[1], noise[0], noise[1]);
    detail::normal_pair(words[2], words[3], noise[2], noise[3]);
  });
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
