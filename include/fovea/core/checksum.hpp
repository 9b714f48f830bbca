// SPDX-License-Identifier: MIT
/// \file
/// A 64-bit checksum against accidents: bad disks, cut copies, edited files. It is no cryptography: whoever wants to can make
/// another content of the same sum.
#pragma once

#include <fovea/core/config.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace fovea::inline FOVEA_ABI {

namespace detail {

/// For a given word a bijection of `state`, and for a given state one of `word`: two that differ stay different.
[[nodiscard]] constexpr std::uint64_t checksum_mix(std::uint64_t state, std::uint64_t word) noexcept {
  state = (state ^ word) * 0x9e3779b97f4a7c15U;  // odd, so it has an inverse
  return state ^ (state >> 32U);
}

/// Up to 8 bytes, the first one lowest on any machine.
[[nodiscard]] inline std::uint64_t checksum_word(const std::byte* from, std::size_t size) noexcept {
  std::uint64_t word = 0;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&word, from, size);
  } else {
    for (std::size_t i = 0; i < size; ++i) word |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
  }
  return word;
}

}  // namespace detail

/// The sum of `bytes`, taken 8 at a time. Contents of one length that differ within one aligned word of 8 bytes have
/// different sums, certainly; others, but for one in 2^64. To sum several pieces, pass the sum so far as `seed`: the same
/// certainty holds over all of them.
[[nodiscard]] inline std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t seed = 0) noexcept {
  // Four sums side by side, so that one multiplication need not wait for another. A changed word changes one of the four.
  constexpr std::size_t kLanes = 4;
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  std::array<std::uint64_t, kLanes> lanes{1, 2, 3, 4};
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= kLanes * kWord; at += kLanes * kWord, left -= kLanes * kWord) {
    for (std::size_t i = 0; i < kLanes; ++i) {
      lanes[i] = detail::checksum_mix(lanes[i], detail::checksum_word(at + i * kWord, kWord));
    }
  }
  for (std::size_t i = 0; left > 0; ++i) {
    const std::size_t size = left < kWord ? left : kWord;
    lanes[i] = detail::checksum_mix(lanes[i], detail::checksum_word(at, size));
    at += size;
    left -= size;
  }
  std::uint64_t sum = detail::checksum_mix(seed, bytes.size());
  for (const std::uint64_t lane : lanes) sum = detail::checksum_mix(sum, lane);
  return detail::checksum_mix(sum, sum >> 29U);
}

}  // namespace fovea::inline FOVEA_ABI
