// SPDX-License-Identifier: MIT
// needs: jpeg
// Any bytes as a JPEG: its overview and boxes of all levels are read, or there is an Error.
#include "support/look_everywhere.hpp"
#include <fovea/image/jpeg.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

using fovea::Index;
using fovea_test::look_everywhere;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto file = std::as_bytes(std::span(data, size));
  // What the last byte says stands behind every marker that ends a file, so that it changes nothing else.
  const std::uint8_t choice = data[size - 1];
  fovea::ImageFileOptions options;
  constexpr Index channels[] = {0, 1, 3, 4};
  options.channels = channels[choice % 4U];
  options.policy = (choice & 4U) != 0 ? fovea::ReadPolicy::least_time : fovea::ReadPolicy::least_memory;
  // Time, not memory, is what large pictures would take from the fuzzer.
  const fovea::JpegOptions limits{.coefficient_bytes = std::size_t{16} << 20U, .scans = 20};
  try {
    const fovea::ImageFile image = fovea::open_jpeg(file, options, limits);
    if (fovea::product(image.extent()) > (Index{1} << 22U)) return 0;
    look_everywhere(image);
  } catch (const fovea::Error&) {
  }
  try {
    fovea::JpegDecoder decoder(file, options.channels, limits);
    if (fovea::product(decoder.info().levels[0].extent) > (Index{1} << 20U)) return 0;
    for (int level = 0; level < static_cast<int>(decoder.info().levels.size()); ++level) {
      decoder.scan(level, [](Index /*row*/, const std::uint8_t* /*pixels*/) {});
    }
  } catch (const fovea::Error&) {
  }
  return 0;
}
