// SPDX-License-Identifier: MIT
/// \file
/// A derivative for crops that have none: the glimpse is the base sampler's, its derivative that of differences of crops.
///
/// The idea is Variational Saccading's (Ramapuram et al., BMVC 2019), whose code multiplies the gradient of the glimpse with
/// the differences as matrices; here it is the chain rule, element by element:
///
///     d loss / d(s, x, y) = sum over i, j, c of d loss / d o(i, j, c) * difference of o(i, j, c) in (s, x, y).
///
/// Two ways. `central`: (o(x + h) - o(x - h)) / 2h, with h = `step` samples, and in s the same, the outermost samples moving
/// about that far: six crops more. `sobel`: one crop more, of the same samples with a margin of one; the Sobel filter gives
/// D_x, D_y per sample, and as sample (i, j) lies (j - (w-1)/2, i - (h-1)/2) samples from the centre and that grows with s,
///
///     do(i, j) / ds = [(j - (w-1)/2) D_x + (i - (h-1)/2) D_y] / s.
///
/// Bias against the true derivative, h being the distance of the differences: central h^2/6 |o'''|; Sobel, at h of one sample,
/// adds h^2/4 of the second derivative across. Both are measured in tests/glimpse/finite_difference.cpp. What the base does
/// otherwise as s changes (Antialiased's blur, the level of a Patch) `central` sees and `sobel` does not: a Patch within a
/// level does not change with s at all, so central says 0, and sobel what a zoom would do.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/patch.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/glimpse/sampler.hpp>
#include <fovea/image/source.hpp>
#include <fovea/kernel/difference.hpp>
#include <fovea/kernel/resample.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace glimpse {

/// How a derivative is taken from crops.
enum class Difference : std::uint8_t { central, sobel };

/// `Base`: a sampler with a lattice (Patch, Bilinear, Antialiased, Gaussian). Copy freely.
template <class Base = Patch>
struct FiniteDifference {
  Base base = {};
  Difference way = Difference::sobel;
  /// Of the central difference, in samples of the glimpse, > 0; whole for a Patch, which does not move by less.
  double step = 1;

  /// out {h, w, C} = the base's glimpse.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out) const {
    base.sample(image, region, out);
  }
  /// Elements that the next two need.
  [[nodiscard]] Index kept_elements(const Extents<3>& glimpse) const noexcept {
    return way == Difference::central ? 4 * product(glimpse)
                                      : 2 * product(glimpse) + product(Extents<3>{glimpse[0] + 2, glimpse[1] + 2, glimpse[2]});
  }
  /// The same, and what slopes_backward needs in `kept`, of kept_elements. Throws Error where the base does, and on a step that
  /// is not positive.
  template <ImageSource S, std::floating_point T>
  void sample_with_slopes(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out, T* kept) const {
    const Extents<2> window{out.extent(0), out.extent(1)};
    glimpse::prepare(*this, image, std::span<const Region<T>>(&region, 1), window);
    base.sample(image, region, out);
    const Lattice at = base.lattice(image, region, window);
    const Extents<3> extents = out.extents();
    const auto planes = detail::slopes_in(kept, extents, way == Difference::central);
    if (way == Difference::sobel) {
      const View<T, 3> larger(kept + 2 * product(extents), {extents[0] + 2, extents[1] + 2, extents[2]});
      base.sample(image, at, larger);
      kernel::sobel(View<const T, 3>(larger), 1 / at.dx, 1 / at.dy, planes.columns, planes.rows);
      return;
    }
    require(step > 0 && std::isfinite(step), "finite difference: a step > 0 expected, ", step, " came");
    const View<T, 3> spare(kept + 3 * product(extents), extents);
    const auto difference = [&](const Lattice& above, const Lattice& below, double distance, const View<T, 3>& plane) {
      base.sample(image, above, plane);
      base.sample(image, below, spare);
      kernel::scaled_difference(plane.data(), spare.data(), 1 / distance, View<T, 1>(plane.data(), {plane.size()}));
    };
    const double h_x = step * at.dx;
    const double h_y = step * at.dy;
    difference({at.x + h_x, at.y, at.dx, at.dy}, {at.x - h_x, at.y, at.dx, at.dy}, 2 * h_x, planes.columns);
    difference({at.x, at.y + h_y, at.dx, at.dy}, {at.x, at.y - h_y, at.dx, at.dy}, 2 * h_y, planes.rows);
    const T h_s = region.s * static_cast<T>(std::min(0.5, 2 * step / static_cast<double>(std::max(window[0], window[1]))));
    const Region<T> wider{region.s + h_s, region.x, region.y};
    const Region<T> closer{region.s - h_s, region.x, region.y};
    difference(base.lattice(image, wider, window), base.lattice(image, closer, window),
               static_cast<double>(wider.s) - static_cast<double>(closer.s), planes.mix);
  }
  /// d loss / d (s, x, y) by the differences.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Region<T> slopes_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image, const Region<T>& region,
                                          T* kept) const {
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    const bool central = way == Difference::central;
    const kernel::ResampleGradient g = kernel::resample_backward(d_out, detail::slopes_in(kept, d_out.extents(), central));
    if (central) return {static_cast<T>(g.dot), static_cast<T>(g.columns.origin), static_cast<T>(g.rows.origin)};
    return detail::region_gradient(g, base.lattice(image, region, window), window, region.s);
  }

  /// The base's boxes, with room for the differences.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] auto boxes(const S& image, const Region<T>& region, Extents<2> window) const {
    const Lattice at = base.lattice(image, region, window);
    auto boxes = base.boxes(image, region, window);
    const double samples = way == Difference::central ? step : 1;
    for (LevelBox& part : boxes) {
      if (part.box.empty()) continue;
      const std::array<double, 2> ratios = image.ratios(part.level);
      const Extents<2> extent = image.level_extent(part.level);
      const auto room = [&](std::size_t axis, double pitch) {
        const double pixels = std::min(samples * pitch / 2 * static_cast<double>(image.extent()[axis]) / ratios[axis],
                                       static_cast<double>(extent[axis]));
        return static_cast<Index>(std::ceil(pixels)) + 1;
      };
      const Index down = room(0, at.dy);
      const Index across = room(1, at.dx);
      const PixelBox larger{part.box.top - down, part.box.left - across, part.box.height + 2 * down,
                            part.box.width + 2 * across};
      part.box = fovea::intersection(larger, {0, 0, extent[0], extent[1]});
    }
    return boxes;
  }

  /// The op: `images` B sources of equal channels, `regions` [B, 3] as (s, x, y) -> glimpses [B, h, w, C], `extent` = {h, w}.
  /// Records the differences as the gradient of the regions. On a tape the images must stay where they are until backward().
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> operator()(C& context, std::span<const Source> images, VarOf<C> regions, Extents<2> extent) const {
    return detail::sample_op(context, *this, images, regions, extent);
  }
};

}  // namespace glimpse
}  // namespace fovea::inline FOVEA_ABI
