// SPDX-License-Identifier: MIT
/// \file
/// The one thing of EXIF that changes what is seen: the orientation.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/image/decoder.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace fovea::inline FOVEA_ABI {

/// The orientation in a TIFF header and its first directory, as EXIF (2.32, section 4.5) embeds it: JPEG behind "Exif\0\0", PNG
/// in eXIf, WebP and HEIF in their EXIF boxes. Upright where there is none, or where the block is damaged, as viewers do: a
/// picture is not refused for what a camera wrote beside it. Reads nothing outside `tiff`.
[[nodiscard]] inline Orientation tiff_orientation(std::span<const std::uint8_t> tiff) noexcept {
  constexpr std::size_t kHeader = 8;
  constexpr std::size_t kEntry = 12;
  if (tiff.size() < kHeader) return Orientation::upright;
  const bool little = tiff[0] == 'I' && tiff[1] == 'I';
  const bool big = tiff[0] == 'M' && tiff[1] == 'M';
  if (!little && !big) return Orientation::upright;
  const auto number = [&](std::size_t at, std::size_t bytes) {
    std::uint32_t v = 0;
    for (std::size_t i = 0; i < bytes; ++i) v = (v << 8U) | tiff[at + (little ? bytes - 1 - i : i)];
    return v;
  };
  if (number(2, 2) != 42) return Orientation::upright;
  const std::size_t directory = number(4, 4);
  if (directory > tiff.size() - 2) return Orientation::upright;
  const std::size_t room = (tiff.size() - directory - 2) / kEntry;
  const std::size_t entries = std::min<std::size_t>(number(directory, 2), room);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t at = directory + 2 + i * kEntry;
    constexpr std::uint32_t kOrientation = 274;
    constexpr std::uint32_t kShort = 3;
    if (number(at, 2) != kOrientation || number(at + 2, 2) != kShort || number(at + 4, 4) != 1) continue;
    return orientation_from_tag(static_cast<int>(number(at + 8, 2)));
  }
  return Orientation::upright;
}

/// The same for what a JPEG's APP1 segment holds, from behind its length; upright where that is not EXIF (but XMP, say).
[[nodiscard]] inline Orientation exif_orientation(std::span<const std::uint8_t> app1) noexcept {
  constexpr std::array<std::uint8_t, 6> kExif{'E', 'x', 'i', 'f', 0, 0};
  if (app1.size() < kExif.size() || !std::equal(kExif.begin(), kExif.end(), app1.begin())) return Orientation::upright;
  return tiff_orientation(app1.subspan(kExif.size()));
}

}  // namespace fovea::inline FOVEA_ABI
