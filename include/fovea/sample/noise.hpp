// SPDX-License-Identifier: MIT
/// \file
/// Where the random numbers of a location come from: named streams, so that two estimators, two numbers of threads or two
/// runs draw the same ones.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// Names the noise of a minibatch: sample i of it draws from Stream(seed, step, first_sample + i, purpose).
struct NoiseKey {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::uint64_t first_sample = 0;
  Purpose purpose = Purpose::location;

  [[nodiscard]] constexpr Stream stream(Index sample) const noexcept {
    return Stream(seed, step, first_sample + static_cast<std::uint64_t>(sample), purpose);
  }
  /// The key of a minibatch in which every sample stands `count` times, row b * count + k being draw k of sample b: what a
  /// draw is named by does not depend on the other samples of the shard.
  [[nodiscard]] constexpr NoiseKey repeated(Index count) const noexcept {
    NoiseKey key = *this;
    key.first_sample *= static_cast<std::uint64_t>(count);
    return key;
  }
  /// An independent family of streams for the same samples: of saccade `child`, or of another draw of the same step.
  [[nodiscard]] constexpr NoiseKey fork(std::uint64_t child) const noexcept {
    NoiseKey key = *this;
    std::uint64_t mixed = seed ^ ((child + 1) * 0x9E3779B97F4A7C15ULL);  // the finaliser of SplitMix64
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL;
    key.seed = mixed ^ (mixed >> 31);
    return key;
  }
};

namespace detail {
/// Row i of `out` [B, D] from the stream of sample i: floats by `many`, which takes as many rows as a vector has lanes at a
/// time; others one by one.
template <class T, class Many, class One>
void fill(const NoiseKey& key, View<T, 2> out, Many many, One one) {
  if constexpr (std::is_same_v<T, float>) {
    Index done = 0;
    while (done < out.extent(0)) {
      const Stream stream = key.stream(done);
      // The sample's lower 32 bits are counted up from row to row; the upper ones are in the key.
      const auto room = static_cast<Index>((std::uint64_t{1} << 32) - stream.counter()[2]);
      const Index rows = std::min(room, out.extent(0) - done);
      many(stream, out.slice(done, rows));
      done += rows;
    }
  } else {
    for (Index b = 0; b < out.extent(0); ++b) {
      Stream stream = key.stream(b);
      for (Index d = 0; d < out.extent(1); ++d) out(b, d) = one(stream);
    }
  }
}
}  // namespace detail

/// Standard normal noise, row i of `out` [B, D] from the stream of sample i. Doubles are those of Stream::normal(); floats are
/// kernel::normal_noise's, others.
template <class T>
void fill_normal(const NoiseKey& key, View<T, 2> out) {
  detail::fill(key, out, kernel::normal_noise, [](Stream& stream) { return stream.normal<T>(); });
}

/// Uniform noise in the open interval (0, 1), row i of `out` [B, D] from the stream of sample i.
template <class T>
void fill_uniform(const NoiseKey& key, View<T, 2> out) {
  detail::fill(key, out, kernel::uniform_noise, [](Stream& stream) { return stream.uniform<T>(); });
}

/// Standard Gumbel noise, -log(-log u), row i of `out` [B, D] from the stream of sample i.
template <class T>
void fill_gumbel(const NoiseKey& key, View<T, 2> out) {
  detail::fill(key, out, kernel::gumbel_noise, [](Stream& stream) { return -std::log(-std::log(stream.uniform<T>())); });
}

/// The same as constants [B, D] of a pass.
template <Context C>
[[nodiscard]] VarOf<C> normal_noise(C& context, const NoiseKey& key, Index batch, Index dimension) {
  const VarOf<C> noise = context.constant(Shape{batch, dimension});
  fill_normal(key, noise.template mutable_values<2>());
  return noise;
}
template <Context C>
[[nodiscard]] VarOf<C> uniform_noise(C& context, const NoiseKey& key, Index batch, Index dimension) {
  const VarOf<C> noise = context.constant(Shape{batch, dimension});
  fill_uniform(key, noise.template mutable_values<2>());
  return noise;
}
template <Context C>
[[nodiscard]] VarOf<C> gumbel_noise(C& context, const NoiseKey& key, Index batch, Index dimension) {
  const VarOf<C> noise = context.constant(Shape{batch, dimension});
  fill_gumbel(key, noise.template mutable_values<2>());
  return noise;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
