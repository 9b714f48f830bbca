// SPDX-License-Identifier: MIT
// needs: jpeg
// Any bytes as a JPEG: its overview and boxes of all levels are read, or there is an Error.
#include <fovea/image/jpeg.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace {

using fovea::Index;

void look(const fovea::ImageFile& image) {
  // A box in the middle and one at the far corner of every level, as glimpses do; then as one pass.
  std::vector<fovea::LevelBox> boxes;
  for (int level = 0; level < image.levels(); ++level) {
    const fovea::Extents<2> e = image.level_extent(level);
    const fovea::PixelBox all{0, 0, e[0], e[1]};
    boxes.push_back({level, fovea::intersection({e[0] / 2, e[1] / 2, 20, 33}, all)});
    boxes.push_back({level, fovea::intersection({e[0] - 7, e[1] - 9, 7, 9}, all)});
  }
  fovea::prepare(image, boxes);
  for (const fovea::LevelBox& b : boxes) {
    if (b.box.empty()) continue;
    const fovea::PixelWindow<std::uint8_t> window = image.read(b.level, b.box);
    unsigned sum = 0;
    for (Index i = 0; i < window.pixels.extent(0); ++i) {
      for (Index j = 0; j < window.pixels.extent(1) * window.pixels.extent(2); ++j) {
        sum += window.pixels.data()[i * window.pixels.stride(0) + j];
      }
    }
    // Every pixel handed out is one that was decoded: memory sanitizers see it here.
    if (sum == 1) asm volatile("" ::"r"(sum));
  }
}

}  // namespace

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
    look(image);
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
