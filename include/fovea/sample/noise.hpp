// SPDX-License-Identifier: MIT
/// \file
/// Where the random numbers of a location come from: named streams, so that two estimators, two numbers of threads or two
/// runs draw the same ones.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>

#include <cmath>
#include <cstdint>

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

/// Standard normal noise, row i of `out` [B, D] from the stream of sample i.
template <class T>
void fill_normal(const NoiseKey& key, View<T, 2> out) {
  for (Index b = 0; b < out.extent(0); ++b) {
    Stream stream = key.stream(b);
    for (Index d = 0; d < out.extent(1); ++d) out(b, d) = stream.normal<T>();
  }
}

/// Uniform noise in the open interval (0, 1), row i of `out` [B, D] from the stream of sample i.
template <class T>
void fill_uniform(const NoiseKey& key, View<T, 2> out) {
  for (Index b = 0; b < out.extent(0); ++b) {
    Stream stream = key.stream(b);
    for (Index d = 0; d < out.extent(1); ++d) out(b, d) = stream.uniform<T>();
  }
}

/// Standard Gumbel noise, -log(-log u), row i of `out` [B, D] from the stream of sample i.
template <class T>
void fill_gumbel(const NoiseKey& key, View<T, 2> out) {
  fill_uniform(key, out);
  for (Index b = 0; b < out.extent(0); ++b) {
    for (Index d = 0; d < out.extent(1); ++d) out(b, d) = -std::log(-std::log(out(b, d)));
  }
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
