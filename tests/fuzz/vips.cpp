// SPDX-License-Identifier: MIT
// needs: vips
// Any bytes as a picture for libvips: its overview and boxes of all levels are read, or there is an Error.
#include <fovea/image/vips.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace {

using fovea::Index;

template <class P>
void look(const fovea::BasicImageFile<P>& image) {
  std::vector<fovea::LevelBox> boxes;
  for (int level = 0; level < image.levels(); ++level) {
    const fovea::Extents<2> e = image.level_extent(level);
    const fovea::PixelBox all{0, 0, e[0], e[1]};
    boxes.push_back({level, fovea::intersection({e[0] / 2, e[1] / 2, 20, 33}, all)});
    boxes.push_back({level, fovea::intersection({e[0] - 7, e[1] - 9, 7, 9}, all)});
  }
  std::erase_if(boxes, [](const fovea::LevelBox& b) { return b.box.empty(); });
  fovea::prepare(image, boxes);
  for (const fovea::LevelBox& b : boxes) {
    const fovea::ImageView<P> pixels = fovea::read_exactly(image, b.level, b.box);
    unsigned sum = 0;
    for (Index i = 0; i < pixels.extent(0); ++i) {
      for (Index j = 0; j < pixels.extent(1); ++j) sum += pixels(i, j, 0);
    }
    // Every pixel handed out is one that was decoded: memory sanitizers see it here.
    if (sum == 1) asm volatile("" ::"r"(sum));
  }
}

}  // namespace

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
      if (small(decoder->info())) look(fovea::BasicImageFile<std::uint16_t>(std::move(decoder), {.overview_pixels = 1000}));
    } else {
      auto decoder = std::make_unique<fovea::VipsDecoder<std::uint8_t>>(file, wanted);
      if (small(decoder->info())) look(fovea::BasicImageFile<std::uint8_t>(std::move(decoder), {.overview_pixels = 1000}));
    }
  } catch (const fovea::Error&) {
  }
  return 0;
}
