// SPDX-License-Identifier: MIT
// needs: tiff
// Any bytes as a TIFF file: an Error, or pixels of every level, from boxes in the corners and by a scan. Nothing is read
// astray, nothing stays behind. How it is opened follows from the number of bytes.
#include <fovea/image/tiff.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace {

volatile unsigned sink = 0;

template <class P>
void look(std::span<const std::byte> file, fovea::Index channels) {
  fovea::ImageFileOptions options;
  options.channels = channels;
  options.overview_pixels = 1024;
  const auto image = fovea::open_tiff<P>(file, options);
  // An overview costs as many pixels as a file claims to have, which is no error.
  const auto [height, width] = image.extent();
  const bool small = height <= (fovea::Index{1} << 20) / width;
  for (int k = image.levels() - 1; k >= 0; --k) {
    const auto [rows, columns] = image.level_extent(k);
    if (!small && (image.ratio(k) > 4 || k >= image.overview_level())) continue;
    const fovea::Index h = std::min(rows, fovea::Index{40});
    const fovea::Index w = std::min(columns, fovea::Index{40});
    for (const fovea::PixelBox& box : {fovea::PixelBox{0, 0, h, w}, fovea::PixelBox{rows - h, columns - w, h, w}}) {
      const auto window = image.read(k, box);
      const auto& pixels = window.pixels;
      for (fovea::Index i = 0; i < pixels.extent(0); ++i) {
        for (fovea::Index j = 0; j < pixels.extent(1); ++j) sink = sink + static_cast<unsigned>(pixels(i, j, 0));
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> file = std::as_bytes(std::span(data, size));
  constexpr std::array<fovea::Index, 4> kChannels{0, 1, 3, 4};
  try {
    if (size % 8 < 4) {
      look<std::uint8_t>(file, kChannels[size % 4]);
    } else {
      look<std::uint16_t>(file, kChannels[size % 4]);
    }
  } catch (const fovea::Error&) {
  }
  return 0;
}
