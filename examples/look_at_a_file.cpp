// SPDX-License-Identifier: MIT
// A picture in a file, of any size and format: only what is looked at is decoded.
// needs: open
#include <fovea/fovea.hpp>
#include <fovea/image/open.hpp>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s PICTURE\n", argv[0]);
    return 2;
  }
  const fovea::ImageFile photo = fovea::open_image(argv[1], {.channels = 3});  // reads the header, no pixel

  const fovea::model::Saccader model({.classes = 10, .channels = 3, .glimpse = {64, 64}, .scale = 0.05});
  const fovea::Parameters<float> weights(model.layout(), /*seed=*/1);
  fovea::Arena memory;
  const auto answer = model.classify(photo, weights, memory);  // as for pixels in memory

  const auto [bytes, pixels] = photo.decoded();
  const fovea::Extents<2> extent = photo.extent();
  std::printf("class %d of %td x %td pixels, of which %lld were decoded from %lld bytes\n", static_cast<int>(answer.label),
              extent[1], extent[0], static_cast<long long>(pixels), static_cast<long long>(bytes));
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
