// SPDX-License-Identifier: MIT
/// \file
/// Changes to pictures that leave what they show as it is.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace data {

/// Left becomes right, in place. `pixels` {height, width, channels}, any strides.
template <class P>
void flip_horizontally(const View<P, 3>& pixels) noexcept {
  for (Index y = 0; y < pixels.extent(0); ++y) {
    P* left = pixels.data() + y * pixels.stride(0);
    P* right = left + (pixels.extent(1) - 1) * pixels.stride(1);
    for (Index x = 0; x < pixels.extent(1) / 2; ++x, left += pixels.stride(1), right -= pixels.stride(1)) {
      for (Index c = 0; c < pixels.extent(2); ++c) std::swap(left[c * pixels.stride(2)], right[c * pixels.stride(2)]);
    }
  }
}

/// Another brightness and contrast, in place: v becomes ((v - 127.5) * a + 127.5) * b, rounded and clipped, with a uniform in
/// 1 +- contrast and b in 1 +- brightness, the same for all pixels. Draws twice from `stream`. Throws Error on
/// `brightness` or `contrast` outside of [0, 1].
inline void jitter(const View<std::uint8_t, 3>& pixels, Stream& stream, double brightness, double contrast) {
  require(brightness >= 0 && brightness <= 1 && contrast >= 0 && contrast <= 1,
          "jitter: a brightness and a contrast of 0 to 1 expected, ", brightness, " and ", contrast, " came");
  const double a = stream.uniform(1 - contrast, 1 + contrast);
  const double b = stream.uniform(1 - brightness, 1 + brightness);
  std::array<std::uint8_t, 256> becomes{};
  for (std::size_t v = 0; v < becomes.size(); ++v) {
    const double value = ((static_cast<double>(v) - 127.5) * a + 127.5) * b;
    becomes[v] = static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0, 255.0)));
  }
  for (Index y = 0; y < pixels.extent(0); ++y) {
    for (Index x = 0; x < pixels.extent(1); ++x) {
      for (Index c = 0; c < pixels.extent(2); ++c) pixels(y, x, c) = becomes[pixels(y, x, c)];
    }
  }
}

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
