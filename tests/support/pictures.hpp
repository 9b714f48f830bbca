// SPDX-License-Identifier: MIT
// Pictures for tests: noise in buffers of exactly their size, so that a sanitizer sees every read beyond the edge.
#pragma once

#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

namespace fovea_test {

/// A picture with `gap` unused elements behind every row.
template <class P>
struct Picture {
  fovea::Extents<3> extents{};
  fovea::Extents<3> strides{};
  std::vector<P> pixels;

  Picture() = default;
  explicit Picture(fovea::Extents<3> e, fovea::Index gap = 0)
      : extents(e), strides{e[1] * e[2] + gap, e[2], 1}, pixels(static_cast<std::size_t>(e[0] * strides[0] - gap)) {}
  [[nodiscard]] fovea::View<const P, 3> view() const { return {pixels.data(), extents, strides}; }
  [[nodiscard]] fovea::View<P, 3> view() { return {pixels.data(), extents, strides}; }
};

/// Noise over the whole range of P; in [0, 1] for floating point.
template <class P>
Picture<P> noise(fovea::Stream& stream, fovea::Extents<3> extents, fovea::Index gap = 0) {
  Picture<P> picture(extents, gap);
  for (P& pixel : picture.pixels) {
    if constexpr (std::is_floating_point_v<P>) {
      pixel = stream.uniform<P>();
    } else {
      pixel = static_cast<P>(stream.below(std::uint32_t{std::numeric_limits<P>::max()} + 1U));
    }
  }
  return picture;
}

}  // namespace fovea_test
