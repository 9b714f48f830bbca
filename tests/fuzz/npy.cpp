// SPDX-License-Identifier: MIT
// Any bytes as a .npy file: an Error, or pixels.
#include <fovea/image/raw.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace {

volatile double sink = 0;

template <class P>
void look(std::span<const std::byte> file) {
  try {
    const auto image = fovea::map_npy<P>(file);
    for (int k = 0; k < image.levels(); ++k) {
      const auto [rows, columns] = image.level_extent(k);
      const auto pixels = image.read(k, {rows / 2, columns / 2, rows - rows / 2, columns - columns / 2}).pixels;
      sink = sink + static_cast<double>(pixels(0, 0, 0)) +
             static_cast<double>(pixels(pixels.extent(0) - 1, pixels.extent(1) - 1, pixels.extent(2) - 1));
    }
  } catch (const fovea::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> file = std::as_bytes(std::span(data, size));
  look<std::uint8_t>(file);
  look<std::uint16_t>(file);
  look<float>(file);
  return 0;
}
