// SPDX-License-Identifier: MIT
/// \file
/// Pictures at another size.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/resample.hpp>
#include <fovea/nn/context.hpp>

namespace fovea::inline FOVEA_ABI {
namespace nn {

namespace traced {
/// Bilinear interpolation to the output's extent.
struct ResizeBilinear {
  bool align_corners;
};
}  // namespace traced

/// x [B, h, w, C] by bilinear interpolation without a filter to [B, extent[0], extent[1], C], as torch's interpolate has it; x
/// itself where that is its extent. Throws Error on an empty extent.
template <Context C>
[[nodiscard]] VarOf<C> resize_bilinear(C& context, VarOf<C> x, Extents<2> extent, bool align_corners = false) {
  using T = typename C::Scalar;
  detail::require_rank("resize_bilinear", x, 4);
  require(x.shape[1] >= 1 && x.shape[2] >= 1 && extent[0] >= 1 && extent[1] >= 1,
          "resize_bilinear: at least one pixel expected, ", x.shape[1], "x", x.shape[2], " to ", extent[0], "x", extent[1],
          " came");
  if (x.shape[1] == extent[0] && x.shape[2] == extent[1]) return x;
  const auto axis = [align_corners](Index from, Index to) -> kernel::SampleAxis {
    if (align_corners) return {0, to > 1 ? static_cast<double>(from - 1) / static_cast<double>(to - 1) : 0.0};
    const double ratio = static_cast<double>(from) / static_cast<double>(to);
    return {ratio / 2 - 0.5, ratio};
  };
  const kernel::SampleAxis rows = axis(x.shape[1], extent[0]);
  const kernel::SampleAxis columns = axis(x.shape[2], extent[1]);
  const kernel::ResampleOptions options{kernel::Padding::border, false};
  const VarOf<C> y = output(context, Shape{x.shape[0], extent[0], extent[1], x.shape[3]}, x);
  for (Index b = 0; b < x.shape[0]; ++b) {
    kernel::resample(View<const T, 3>(x.template values<4>()[b]), rows, columns, options, y.template mutable_values<4>()[b]);
  }
  trace(context, traced::ResizeBilinear{align_corners}, y, x);
  if (y.gradient) {
    context.record([=] {
      for (Index b = 0; b < x.shape[0]; ++b) {
        kernel::resample_backward_source(View<const T, 3>(y.template gradients<4>()[b]), rows, columns, options,
                                         x.template gradients<4>()[b]);
      }
    });
  }
  return y;
}

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
