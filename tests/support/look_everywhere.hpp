// SPDX-License-Identifier: MIT
#pragma once

#include <fovea/core/view.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/source.hpp>

#include <vector>

namespace fovea_test {

/// Reads a box in the middle and one at the far corner of every level, as glimpses do: together first, then one by one. Every
/// pixel handed out is looked at, so that sanitizers see one that was not decoded.
template <class P>
void look_everywhere(const fovea::BasicImageFile<P>& image) {
  std::vector<fovea::LevelBox> boxes;
  for (int level = 0; level < image.levels(); ++level) {
    const fovea::Extents<2> e = image.level_extent(level);
    const fovea::PixelBox all{0, 0, e[0], e[1]};
    boxes.push_back({level, fovea::intersection({e[0] / 2, e[1] / 2, 20, 33}, all)});
    boxes.push_back({level, fovea::intersection({e[0] - 7, e[1] - 9, 7, 9}, all)});
  }
  std::erase_if(boxes, [](const fovea::LevelBox& b) { return b.box.empty(); });
  fovea::prepare(image, boxes);
  static volatile double seen = 0;
  for (const fovea::LevelBox& b : boxes) {
    const fovea::ImageView<P> pixels = fovea::read_exactly(image, b.level, b.box);
    double sum = 0;
    for (fovea::Index i = 0; i < pixels.extent(0); ++i) {
      for (fovea::Index j = 0; j < pixels.extent(1); ++j) {
        for (fovea::Index c = 0; c < pixels.extent(2); ++c) sum += static_cast<double>(pixels(i, j, c));
      }
    }
    seen = sum;
  }
}

}  // namespace fovea_test
