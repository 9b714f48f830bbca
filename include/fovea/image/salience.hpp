// SPDX-License-Identifier: MIT
/// \file
/// What stands out in a small picture, without having learned anything: contrast of a place with its surround.
///
/// L. Itti, C. Koch, E. Niebur, "A model of saliency-based visual attention for rapid scene analysis", IEEE Trans. PAMI 20(11),
/// 1998, with one scale and the intensity of each channel alone; normalised by the greatest.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>

namespace fovea::inline FOVEA_ABI {

struct SalienceOptions {
  Index surround = 8;  ///< pixels to each side that a pixel is compared with, itself included; at least 1
};

/// out {h, w} in [0, 1]: the greatest contrast of the pixels of `picture` {H, W, C} in each cell, |pixel - mean of its
/// surround| summed over channels, as a share of the greatest of all (0 everywhere in a picture without contrast). A pixel
/// counts for the cell that its centre lies in; a cell without one has 0, so give it no more cells than pixels. Memory comes
/// from `scratch`, which has it back. Throws Error on an empty picture or map, or a surround below 1.
template <std::floating_point T>
void salience(View<const T, 3> picture, View<T, 2> out, Arena& scratch, const SalienceOptions& options = {}) {
  require(!picture.empty() && !out.empty(), "salience: a picture and a map of at least 1x1 expected, ", picture.extent(0), "x",
          picture.extent(1), " and ", out.extent(0), "x", out.extent(1), " came");
  require(options.surround >= 1, "salience: a surround of at least 1 pixel expected, ", options.surround, " came");
  const ArenaScope scope(scratch);
  const Index height = picture.extent(0);
  const Index width = picture.extent(1);
  // sums(y, x): of all pixels above and to the left.
  const View<double, 2> sums(scratch.allocate<double>((height + 1) * (width + 1)), {height + 1, width + 1});
  const View<T, 2> contrast(scratch.allocate<T>(height * width), {height, width});
  std::fill_n(contrast.data(), contrast.size(), T(0));
  for (Index x = 0; x <= width; ++x) sums(0, x) = 0;
  for (Index c = 0; c < picture.extent(2); ++c) {
    for (Index y = 0; y < height; ++y) {
      double row = 0;
      sums(y + 1, 0) = 0;
      for (Index x = 0; x < width; ++x) {
        row += static_cast<double>(picture(y, x, c));
        sums(y + 1, x + 1) = sums(y, x + 1) + row;
      }
    }
    for (Index y = 0; y < height; ++y) {
      const Index top = std::max(Index{0}, y - options.surround);
      const Index bottom = std::min(height, y + options.surround + 1);
      for (Index x = 0; x < width; ++x) {
        const Index left = std::max(Index{0}, x - options.surround);
        const Index right = std::min(width, x + options.surround + 1);
        const double sum = sums(bottom, right) - sums(top, right) - sums(bottom, left) + sums(top, left);
        const double mean = sum / static_cast<double>((bottom - top) * (right - left));
        contrast(y, x) += static_cast<T>(std::abs(static_cast<double>(picture(y, x, c)) - mean));
      }
    }
  }
  for (Index y = 0; y < out.extent(0); ++y) std::fill_n(&out(y, 0), out.extent(1), T(0));
  T greatest = 0;
  for (Index y = 0; y < height; ++y) {
    const Index row = (2 * y + 1) * out.extent(0) / (2 * height);
    for (Index x = 0; x < width; ++x) {
      T& cell = out(row, (2 * x + 1) * out.extent(1) / (2 * width));
      cell = std::max(cell, contrast(y, x));
      greatest = std::max(greatest, contrast(y, x));
    }
  }
  // Less than rounding leaves is no contrast.
  const T factor = greatest > T(1e-6) ? T(1) / greatest : T(0);
  for (Index y = 0; y < out.extent(0); ++y) {
    for (Index x = 0; x < out.extent(1); ++x) out(y, x) *= factor;
  }
}

}  // namespace fovea::inline FOVEA_ABI
