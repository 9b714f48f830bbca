// SPDX-License-Identifier: MIT
/// \file
/// A shuffled order without a shuffled array: which item stands at a place is computed, not stored.
///
/// An epoch visits every item once in an order that looks random. Kept as a permuted array that order is state, which
/// every thread, rank and restarted run would have to share. Here it is a pure function of (count, seed, epoch, place):
/// a Feistel network permutes the smallest power of four not below `count`, and places that fall outside are sent on
/// until they fall inside (cycle walking: J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>

#include <array>
#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace data {

/// The order in which one epoch visits `count` items. Cheap to make (0.1 us) and to copy; no heap.
class Shuffle {
 public:
  /// Throws Error unless 1 <= count <= 2^40.
  Shuffle(Index count, std::uint64_t seed, std::uint64_t epoch) : count_(static_cast<std::uint64_t>(count)) {
    require(count >= 1 && count <= (Index{1} << 40), "Shuffle: 1 to 2^40 items expected, ", count, " came");
    while ((std::uint64_t{1} << (2 * half_bits_)) < count_) ++half_bits_;
    Stream stream(seed, epoch, 0, Purpose::shuffle);
    for (std::uint32_t& key : keys_) key = stream.bits();
  }

  [[nodiscard]] Index size() const noexcept { return static_cast<Index>(count_); }

  /// The item at `place`; both in [0, size()). Over all places every item comes once. Takes 4 walks at most on average.
  [[nodiscard]] Index operator[](Index place) const noexcept {
    FOVEA_ASSERT(place >= 0 && place < size());
    auto at = static_cast<std::uint64_t>(place);
    do at = permute(at);
    while (at >= count_);
    return static_cast<Index>(at);
  }

 private:
  /// Halves of a few bits mix slowly, so there are more rounds than the four that suffice for long ones.
  static constexpr int kRounds = 12;

  [[nodiscard]] std::uint64_t permute(std::uint64_t at) const noexcept {
    const std::uint32_t mask = (std::uint32_t{1} << half_bits_) - 1;
    auto left = static_cast<std::uint32_t>(at >> half_bits_);
    auto right = static_cast<std::uint32_t>(at) & mask;
    for (const std::uint32_t key : keys_) {
      const std::uint32_t next = left ^ (mix(right, key) & mask);
      left = right;
      right = next;
    }
    return (std::uint64_t{left} << half_bits_) | right;
  }

  /// MurmurHash3's 32-bit finaliser, by A. Appleby: every bit of the result depends on every bit that goes in.
  [[nodiscard]] static std::uint32_t mix(std::uint32_t value, std::uint32_t key) noexcept {
    std::uint32_t h = value * 0x9E3779B1U + key;
    h = (h ^ (h >> 16)) * 0x85EBCA6BU;
    h = (h ^ (h >> 13)) * 0xC2B2AE35U;
    return h ^ (h >> 16);
  }

  std::uint64_t count_;
  unsigned half_bits_ = 1;
  std::array<std::uint32_t, kRounds> keys_{};
};

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
