// SPDX-License-Identifier: MIT
/// \file
/// Counter-based random numbers: a stream is named by (seed, step, sample, purpose), never by who ran first.
///
/// The generator is Philox4x32-10 of J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as
/// 1, 2, 3", SC 2011. A draw is a pure function of its name and its position, so any number of threads or ranks draws the
/// same numbers, and two estimators can be compared on common random numbers.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace fovea::inline FOVEA_ABI {

/// One block of Philox4x32-10: 128 random bits for a 128-bit counter and a 64-bit key.
[[nodiscard]] constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                                std::array<std::uint32_t, 2> key) noexcept {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

/// What a stream of random numbers is for; keeps draws of different kinds apart under one (seed, step, sample).
/// User code may use any number from `user` on.
enum class Purpose : std::uint32_t {
  initialise = 0,
  shuffle = 1,
  generate = 2,
  augment = 3,
  location = 4,
  dropout = 5,
  test = 6,
  user = 1024,
};

/// A named, endless sequence of random numbers. Cheap to make and to copy (48 bytes, no heap).
class Stream {
 public:
  /// Each (seed, step, sample, purpose) names an independent sequence of 2^34 32-bit numbers.
  constexpr explicit Stream(std::uint64_t seed, std::uint64_t step = 0, std::uint64_t sample = 0,
                            Purpose purpose = Purpose::user) noexcept
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        counter_{0, static_cast<std::uint32_t>(purpose), static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(step)} {
    // The counter has room for 32 bits of step and of sample; what lies above goes into the key.
    const std::uint64_t high = (step >> 32) * 0xD1B54A32D192ED03ULL ^ (sample >> 32) * 0x9E3779B97F4A7C15ULL;
    key_[0] ^= static_cast<std::uint32_t>(high);
    key_[1] ^= static_cast<std::uint32_t>(high >> 32);
  }

  /// What philox4x32() makes the next block of: for those who draw many blocks at a time.
  [[nodiscard]] constexpr const std::array<std::uint32_t, 2>& key() const noexcept { return key_; }
  [[nodiscard]] constexpr const std::array<std::uint32_t, 4>& counter() const noexcept { return counter_; }

  /// 32 uniform random bits.
  [[nodiscard]] constexpr std::uint32_t bits() noexcept {
    if (position_ == 4) {
      block_ = philox4x32(counter_, key_);
      ++counter_[0];
      position_ = 0;
    }
    return block_[position_++];
  }

  /// Uniform in the open interval (0, 1): never 0 or 1, so that its logarithm is finite.
  template <class T>
  [[nodiscard]] constexpr T uniform() noexcept {
    if constexpr (sizeof(T) <= 4) {
      return (static_cast<T>(bits() >> 9) + T(0.5)) * T(0x1p-23);
    } else {
      const std::uint64_t high = bits() >> 6;  // 26 + 26 bits
      const std::uint64_t low = bits() >> 6;
      return (static_cast<T>((high << 26) | low) + T(0.5)) * T(0x1p-52);
    }
  }
  /// Uniform in (low, high).
  template <class T>
  [[nodiscard]] constexpr T uniform(T low, T high) noexcept {
    return low + (high - low) * uniform<T>();
  }
  /// Standard normal, by Box and Muller's transform: two numbers per two uniforms, the second kept.
  template <class T>
  [[nodiscard]] T normal() noexcept {
    if (has_spare_) {
      has_spare_ = false;
      return static_cast<T>(spare_);
    }
    const double u = uniform<double>();
    const double v = uniform<double>();
    const double radius = std::sqrt(-2.0 * std::log(u));
    const double angle = 2.0 * std::numbers::pi * v;
    spare_ = radius * std::sin(angle);
    has_spare_ = true;
    return static_cast<T>(radius * std::cos(angle));
  }
  /// Uniform integer in [0, n), without bias; n > 0. Lemire, "Fast random integer generation in an interval", 2019.
  [[nodiscard]] constexpr std::uint32_t below(std::uint32_t n) noexcept {
    FOVEA_ASSERT(n > 0);
    std::uint64_t m = std::uint64_t{bits()} * n;
    if (static_cast<std::uint32_t>(m) < n) {
      const std::uint32_t threshold = (0U - n) % n;
      while (static_cast<std::uint32_t>(m) < threshold) m = std::uint64_t{bits()} * n;
    }
    return static_cast<std::uint32_t>(m >> 32);
  }

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  std::uint32_t position_ = 4;
  bool has_spare_ = false;
  double spare_ = 0;
};

}  // namespace fovea::inline FOVEA_ABI
