// SPDX-License-Identifier: MIT
/// \file
/// Who decides where to look, and the regions of those who do not decide.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/random.hpp>
#include <fovea/glimpse/region.hpp>

#include <cmath>
#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// Who decides where to look.
enum class Gaze : std::uint8_t {
  policy,   ///< the model
  uniform,  ///< nobody: regions drawn uniformly among those inside the image
  centre,   ///< nobody: always the centre
  grid,     ///< nobody: the cells of the most nearly square grid that has one for each look, row by row
};

/// Where look t of `count` goes under a gaze that is not the policy's, at half-extent `scale`; `stream` is the sample's.
[[nodiscard]] inline glimpse::Region<double> fixed_region(Gaze gaze, double scale, Index t, Index count, Stream stream) {
  glimpse::Region<double> region{scale, 0, 0};
  if (gaze == Gaze::uniform) {
    const double room = 1 - scale;
    for (Index i = 0; i <= t; ++i) {  // the t-th pair of the stream
      region.x = stream.uniform(-room, room);
      region.y = stream.uniform(-room, room);
    }
  } else if (gaze == Gaze::grid) {
    const auto columns = static_cast<Index>(std::ceil(std::sqrt(static_cast<double>(count))));
    const Index rows = (count + columns - 1) / columns;
    region.x = static_cast<double>(2 * (t % columns) + 1) / static_cast<double>(columns) - 1;
    region.y = static_cast<double>(2 * (t / columns) + 1) / static_cast<double>(rows) - 1;
  }
  return region;
}

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
