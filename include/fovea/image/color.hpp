// SPDX-License-Identifier: MIT
/// \file
/// From the channels and the depth of a file to those that are wanted.
///
/// The rule, for every format alike:
/// - grey to colour: the three channels are equal;
/// - colour to grey: luma of ITU-R BT.601, (19595 R + 38470 G + 7471 B) / 65536, rounded, as JPEG's own grey is defined;
/// - alpha that is not wanted: the picture lies on black, value * alpha; alpha that is wanted but not there: opaque;
/// - 16 bits to 8: v / 257, rounded; 8 to 16: v * 257, so that black and white stay what they are.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/kernel/resample.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {

/// Channels handed out for a file of `stored` channels (1 grey, 2 with alpha, 3 RGB, 4 with alpha) where `wanted` (0: without
/// alpha) are asked for. Throws Error on other numbers.
[[nodiscard]] inline Index channels_of(Index stored, Index wanted) {
  require(stored >= 1 && stored <= 4, "image: 1 to 4 channels expected, the file has ", stored);
  require(wanted == 0 || wanted == 1 || wanted == 3 || wanted == 4, "image: 0, 1, 3 or 4 channels can be asked for, ", wanted,
          " came");
  return wanted != 0 ? wanted : (stored <= 2 ? Index{1} : Index{3});
}

/// `width` pixels of `stored` channels (1 to 4) to `wanted` (1, 3 or 4), by the rule above.
template <class In, class Out>
  requires std::is_unsigned_v<In> && std::is_unsigned_v<Out>
void convert_pixels(const In* from, Index stored, Out* to, Index wanted, Index width) noexcept {
  constexpr std::uint32_t opaque = std::numeric_limits<In>::max();
  const auto depth = [](std::uint32_t v) -> Out {
    if constexpr (sizeof(In) == sizeof(Out)) return static_cast<Out>(v);
    if constexpr (sizeof(In) < sizeof(Out)) return static_cast<Out>(v * 257U);
    return static_cast<Out>((v + 128U) / 257U);
  };
  if (stored == wanted && std::is_same_v<In, Out>) {
    for (Index i = 0; i < width * stored; ++i) to[i] = static_cast<Out>(from[i]);
    return;
  }
  const bool alpha = stored == 2 || stored == 4;
  const bool grey = stored <= 2;
  for (Index x = 0; x < width; ++x, from += stored, to += wanted) {
    std::array<std::uint32_t, 3> rgb{from[0], grey ? from[0] : from[1], grey ? from[0] : from[2]};
    const std::uint32_t a = alpha ? from[stored - 1] : opaque;
    if (alpha && wanted != 4) {
      for (std::uint32_t& v : rgb) v = static_cast<std::uint32_t>((std::uint64_t{v} * a + opaque / 2) / opaque);
    }
    if (wanted == 1) {
      const std::uint32_t luma =
          grey ? rgb[0]
               : static_cast<std::uint32_t>(
                     (std::uint64_t{19595} * rgb[0] + std::uint64_t{38470} * rgb[1] + std::uint64_t{7471} * rgb[2] + 32768) >>
                     16U);
      to[0] = depth(luma);
      continue;
    }
    for (std::size_t c = 0; c < 3; ++c) to[c] = depth(rgb[c]);
    if (wanted == 4) to[3] = depth(a);
  }
}

}  // namespace fovea::inline FOVEA_ABI
