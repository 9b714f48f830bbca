// SPDX-License-Identifier: MIT
// needs: vips
// Any bytes as a picture for libvips: its overview and boxes of all levels are read, or there is an Error.
#include "support/look_everywhere.hpp"
#include <fovea/image/vips.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

using fovea::Index;
using fovea_test::look_everywhere;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto file = std::as_bytes(std::span(data, size));
  // What the last byte says stands behind what most formats read, so that it changes nothing else.
  const std::uint8_t choice = data[size - 1];
  constexpr Index channels[] = {0, 1, 3, 4};
  const Index wanted = channels[choice % 4U];
  // Time, not memory, is what large pictures would take from the fuzzer.
  const auto small = [](const auto& info) { return fovea::product(info.levels[0].extent) <= (Index{1} << 20U); };
  try {
    if ((choice & 4U) != 0) {
      auto decoder = std::make_unique<fovea::VipsDecoder<std::uint16_t>>(file, wanted);
      if (small(decoder->info()))
        look_everywhere(fovea::BasicImageFile<std::uint16_t>(std::move(decoder), {.overview_pixels = 1000}));
    } else {
      auto decoder = std::make_unique<fovea::VipsDecoder<std::uint8_t>>(file, wanted);
      if (small(decoder->info()))
        look_everywhere(fovea::BasicImageFile<std::uint8_t>(std::move(decoder), {.overview_pixels = 1000}));
    }
  } catch (const fovea::Error&) {
  }
  return 0;
}
