// SPDX-License-Identifier: MIT
// Smooth pictures, so that derivatives by differences are meaningful, and their proxies.
#pragma once

#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>

#include <cmath>
#include <span>
#include <vector>

namespace fovea_test {

/// `count` of them, of values up to `full`.
template <class Pixel>
struct Pictures {
  std::vector<fovea::Tensor<Pixel, 3>> pixels;
  std::vector<fovea::Pyramid<Pixel>> pyramids;

  Pictures(fovea::Index count, fovea::Extents<2> extent, fovea::Index channels, double full) {
    using fovea::Index;
    for (Index b = 0; b < count; ++b) {
      fovea::Tensor<Pixel, 3> image({extent[0], extent[1], channels});
      for (Index y = 0; y < extent[0]; ++y) {
        for (Index x = 0; x < extent[1]; ++x) {
          for (Index c = 0; c < channels; ++c) {
            const double v = 0.5 + 0.25 * std::sin(0.21 * static_cast<double>(x + 3 * b) + static_cast<double>(c)) +
                             0.25 * std::cos(0.17 * static_cast<double>(y) - 0.05 * static_cast<double>(x * b));
            image(y, x, c) = static_cast<Pixel>(full * v);
          }
        }
      }
      pixels.push_back(std::move(image));
    }
    for (const auto& image : pixels) pyramids.emplace_back(image.view());
  }
  [[nodiscard]] std::span<const fovea::Pyramid<Pixel>> sources() const { return pyramids; }
};

/// Their proxies, as a constant [B, h, w, C] of a context; `options` has `proxy` and `channels`.
template <class C, class Options, class Pixel>
fovea::VarOf<C> proxies(C& context, const Options& options, const Pictures<Pixel>& pictures) {
  const auto count = static_cast<fovea::Index>(pictures.pyramids.size());
  const auto x = context.constant(fovea::Shape{count, options.proxy[0], options.proxy[1], options.channels});
  for (fovea::Index b = 0; b < count; ++b) {
    fovea::proxy(pictures.pyramids[static_cast<std::size_t>(b)], x.template mutable_values<4>()[b]);
  }
  return x;
}

}  // namespace fovea_test
