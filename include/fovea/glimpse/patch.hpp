// SPDX-License-Identifier: MIT
/// \file
/// Glimpses cut out of the image as they are stored: whole pixels, nothing between them, black beyond the edge.
///
/// What RAM (Mnih et al., Recurrent Models of Visual Attention, NeurIPS 2014), attention sampling (Katharopoulos and Fleuret,
/// ICML 2019) and iterative patch selection (Bergner et al., ICLR 2023) read. A patch is a step function of its region: it has
/// no derivative, and none is made up; train where it looks by an estimator that needs none, or read it through
/// FiniteDifference.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/glimpse/sampler.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/view.hpp>
#include <fovea/kernel/resample.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <span>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace glimpse {

/// h x w pixels of one level around the centre of a region. Copy freely.
struct Patch {
  /// The level: of a chosen number, or, negative, the one in which the patch comes nearest (by ratio) to a half-extent of s of
  /// the image's longer side.
  int level = -1;

  /// Where the pixels of a patch of {h, w} = `window` lie, the centre not yet rounded. Throws Error on a region that is not
  /// usable, and on a level that the image does not have.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Lattice lattice(const S& image, const Region<T>& region, Extents<2> window) const {
    detail::require_usable(region);
    require(image.levels() >= 1 && level < image.levels(), "glimpse: a level below ", image.levels(), " expected, ", level,
            " came");
    const Extents<2> extent = image.extent();
    const double wanted = static_cast<double>(region.s) * static_cast<double>(std::max(extent[0], extent[1])) /
                          static_cast<double>(std::max(window[0], window[1]));
    const std::array<double, 2> ratios = image.ratios(level >= 0 ? level : nearest(image, wanted));
    return {static_cast<double>(region.x), static_cast<double>(region.y), 2 * ratios[1] / static_cast<double>(extent[1]),
            2 * ratios[0] / static_cast<double>(extent[0])};
  }
  /// out {h, w, C} = the patch of `image` at `region`, pixels in [0, 1], zeros beyond the edge. Throws Error on other channels,
  /// and as lattice() does.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out) const {
    sample(image, lattice(image, region, {out.extent(0), out.extent(1)}), out);
  }
  /// The same around the centre of a lattice whose pitch is a pixel of one of the levels.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const Lattice& at, View<T, 3> out) const {
    detail::require_shapes(image, out);
    const LevelBox from = box(image, at, {out.extent(0), out.extent(1)});
    const Extents<2> extent = image.level_extent(from.level);
    const PixelBox inside = intersection(from.box, {0, 0, extent[0], extent[1]});
    if (inside != from.box) {
      for (Index i = 0; i < out.extent(0); ++i) {
        for (Index j = 0; j < out.extent(1); ++j) {
          for (Index c = 0; c < out.extent(2); ++c) out(i, j, c) = T(0);
        }
      }
    }
    if (inside.empty()) return;
    const ImageView<PixelOf<S>> pixels = read_exactly(image, from.level, inside);
    // A read at whole pixels.
    const View<T, 3> part(
        out.data() + (inside.top - from.box.top) * out.stride(0) + (inside.left - from.box.left) * out.stride(1),
        {inside.height, inside.width, out.extent(2)}, out.strides());
    kernel::resample(pixels, {0, 1}, {0, 1}, {}, part);
  }
  /// The box that a patch reads, for fovea::prepare; empty where it lies beyond the image.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] std::array<LevelBox, 1> boxes(const S& image, const Region<T>& region, Extents<2> window) const {
    const LevelBox all = box(image, lattice(image, region, window), window);
    const Extents<2> extent = image.level_extent(all.level);
    return {LevelBox{all.level, intersection(all.box, {0, 0, extent[0], extent[1]})}};
  }

  /// The op: `images` B sources of equal channels, `regions` [B, 3] as (s, x, y) -> glimpses [B, h, w, C], `extent` = {h, w}.
  /// No gradient reaches the regions.
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> operator()(C& context, std::span<const Source> images, VarOf<C> regions, Extents<2> extent) const {
    return detail::sample_op(context, *this, images, regions, extent);
  }

 private:
  /// The level whose pixels are nearest to `wanted` pixels of the image, by ratio.
  template <ImageSource S>
  [[nodiscard]] static int nearest(const S& image, double wanted) noexcept {
    const LevelMix mix = choose_levels(image, wanted);
    return mix.weight > 0.5 ? mix.level + 1 : mix.level;
  }
  /// The pixels of a patch, some of which may not exist.
  template <ImageSource S>
  [[nodiscard]] static LevelBox box(const S& image, const Lattice& at, Extents<2> window) {
    const Extents<2> extent = image.extent();
    const int k = nearest(image, std::max(at.dx * static_cast<double>(extent[1]), at.dy * static_cast<double>(extent[0])) / 2);
    const Extents<2> stored = image.level_extent(k);
    const std::array<double, 2> ratios = image.ratios(k);
    const auto first = [&](std::size_t axis, double centre) {
      const double middle = (centre + 1) / 2 * static_cast<double>(extent[axis]) / ratios[axis];
      const double from = std::floor(middle - static_cast<double>(window[axis]) / 2 + 0.5);
      // Far out it makes no difference where, but for the range of an Index.
      return static_cast<Index>(std::clamp(from, -static_cast<double>(window[axis]), static_cast<double>(stored[axis])));
    };
    return {k, {first(0, at.y), first(1, at.x), window[0], window[1]}};
  }
};

}  // namespace glimpse
}  // namespace fovea::inline FOVEA_ABI
