// SPDX-License-Identifier: MIT
// The ten lines of the README: an image too large for a network, classified by four small looks.
// smoke-test:
#include <fovea/fovea.hpp>

#include <cstdint>
#include <cstdio>

int main() {
  const fovea::Tensor<std::uint8_t, 3> photo({3000, 4000, 3});  // your pixels: height, width, channels

  const fovea::model::Saccader model({.classes = 10, .channels = 3, .steps = 4});
  const fovea::Parameters<float> weights(model.layout(), /*seed=*/1);  // train::fit finds them
  const fovea::Pyramid<std::uint8_t> image(photo.view());              // reads the pixels in place
  fovea::Arena memory;                                                 // reused from image to image

  const auto answer = model.classify(image, weights, memory);
  std::printf("class %d, looked at", static_cast<int>(answer.label));
  for (const auto& r : answer.regions) std::printf(" (%.2f, %.2f)", static_cast<double>(r.x), static_cast<double>(r.y));
  std::printf("\n");
}
