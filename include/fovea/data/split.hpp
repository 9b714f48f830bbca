// SPDX-License-Identifier: MIT
/// \file
/// Which of two parts something belongs to, by its name alone: so that what is held out stays held out when more is added.
///
/// A name is hashed by FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, "The FNV non-cryptographic hash algorithm",
/// IETF draft-eastlake-fnv), whose last bytes hardly reach its high bits, and then mixed by MurmurHash3's 64-bit finaliser (A.
/// Appleby). Both are the same on every machine.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>

#include <cstdint>
#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace data {

/// FNV-1a of 64 bits over the bytes of a text.
[[nodiscard]] constexpr std::uint64_t fnv1a(std::string_view text) noexcept {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  return hash;
}

/// MurmurHash3's 64-bit finaliser: every bit of the result depends on every bit that goes in. One to one; 0 gives 0.
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t h) noexcept {
  h = (h ^ (h >> 33)) * 0xFF51AFD7ED558CCDU;
  h = (h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53U;
  return h ^ (h >> 33);
}

/// True for a share `fraction` of all names, in [0, 1]: where mix64(fnv1a(name) ^ mix64(seed)) / 2^64, rounded down to 53 bits,
/// is below `fraction`. A pure function of (name, seed), whatever other names there are; a greater fraction holds out what a
/// smaller one does, and more. Throws Error on another fraction.
[[nodiscard]] inline bool held_out(std::string_view name, double fraction, std::uint64_t seed) {
  require(fraction >= 0 && fraction <= 1, "held_out: a fraction of 0 to 1 expected, ", fraction, " came");
  return static_cast<double>(mix64(fnv1a(name) ^ mix64(seed)) >> 11) * 0x1p-53 < fraction;
}

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
