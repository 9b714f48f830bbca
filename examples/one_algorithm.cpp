// SPDX-License-Identifier: MIT
// One algorithm alone, on buffers of your own: a glimpse and its gradient, without tape or model.
// smoke-test:
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/image/pyramid.hpp>

#include <cstdint>
#include <cstdio>
#include <vector>

int main() {
  std::vector<std::uint8_t> pixels(1000 * 800);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i / 3000);

  const fovea::View<const std::uint8_t, 3> picture(pixels.data(), {800, 1000, 1});
  const fovea::Pyramid<std::uint8_t> pyramid(picture);
  const fovea::glimpse::Antialiased sampler;
  const fovea::glimpse::Region<float> region{.s = 0.3F, .x = -0.2F, .y = 0.4F};

  fovea::Tensor<float, 3> window({32, 32, 1});
  sampler.sample(pyramid.pyramid(), region, window.view());

  fovea::Tensor<float, 3> slope({32, 32, 1});  // d loss / d window; here of the sum of its pixels
  for (float& value : slope) value = 1;
  const auto gradient = sampler.sample_backward(std::as_const(slope).view(), pyramid.pyramid(), region);
  std::printf("first pixel %.3f; d/ds %.1f, d/dx %.1f, d/dy %.1f\n", static_cast<double>(window(0, 0, 0)),
              static_cast<double>(gradient.s), static_cast<double>(gradient.x), static_cast<double>(gradient.y));
}
