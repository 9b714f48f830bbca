// SPDX-License-Identifier: MIT
/// \file
/// The default sampler: a glimpse read from the two levels of a pyramid whose pixels are about as large as its own.
///
/// Reading a 758-pixel window at 64 points without a filter reads noise, and the derivative of noise is noise. Here the level
/// is lambda = log2(spacing of the samples in pixels of the full image), levels are read by bilinear interpolation, and the two
/// nearest are mixed by the fraction of lambda between them (trilinear filtering; Williams, Pyramidal Parametrics, SIGGRAPH
/// 1983). So the glimpse changes continuously with s, and its derivative
///
///     d/ds = (1 - w) d level_k / ds + w d level_k+1 / ds + dw/ds (level_k+1 - level_k)
///
/// is exact almost everywhere (not where a sample crosses the centre of a pixel, nor where w is 0 or 1).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/glimpse/sampler.hpp>
#include <fovea/image/pyramid.hpp>
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

/// Anti-aliased glimpses. Copy freely.
struct Antialiased {
  Aspect aspect = Aspect::isotropic;
  /// Beyond the edge of the image: zeros suit canvases whose background is black, border photographs.
  kernel::Padding padding = kernel::Padding::zeros;
  /// Octaves added to the level: 0 is right for area-averaged levels, negative is sharper and noisier.
  double bias = 0;

  /// Where the samples of a glimpse of {h, w} = `window` lie. Throws Error on a region that is not usable.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Lattice lattice(const S& image, const Region<T>& region, Extents<2> window) const {
    return detail::lattice_of(aspect, false, image.extent(), window, region);
  }
  /// out {h, w, C} = the glimpse of `image` at `region`, pixels in [0, 1]. Throws Error on other channels, and on a region that
  /// is not finite or has s <= 0; any other region is allowed, also one outside the image.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out) const {
    sample(image, lattice(image, region, {out.extent(0), out.extent(1)}), out);
  }
  /// The same at the samples of any lattice.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const Lattice& at, View<T, 3> out) const {
    detail::require_shapes(image, out);
    const LevelMix mix = choose(image, at);
    prepare_levels(image, mix, {out.extent(0), out.extent(1)}, at);
    read(image, mix.level, at, out, 1 - mix.weight, false);
    if (mix.weight > 0) read(image, mix.level + 1, at, out, mix.weight, true);
  }

  /// The same, and what slopes_backward needs in `slopes`, of 3 * h * w * C elements. Rows of `out` dense.
  template <ImageSource S, std::floating_point T>
  void sample_with_slopes(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out, T* slopes) const {
    detail::require_shapes(image, out);
    const Extents<2> window{out.extent(0), out.extent(1)};
    const Lattice at = lattice(image, region, window);
    const LevelMix mix = choose(image, at);
    prepare_levels(image, mix, window, at);
    const auto planes = detail::slopes_in(slopes, out.extents(), mix.slope > 0);
    // The spacing is proportional to s: d log(spacing) / ds = 1 / s.
    const double d_mix = mix.slope / static_cast<double>(region.s);
    const auto level = [&](int k, double share, double sign) {
      const detail::LevelAxes axes = detail::level_axes(image, k, window, at, false);
      const auto from = detail::read_level(image, k, axes.rows, axes.columns, window, padding);
      kernel::resample_with_slopes(from.pixels, from.rows, from.columns, {padding, false}, out, planes,
                                   {share, share * axes.row_map.scale, share * axes.column_map.scale, sign * d_mix}, sign > 0);
    };
    level(mix.level, 1 - mix.weight, -1);
    if (mix.slope > 0) level(mix.level + 1, mix.weight, 1);
  }
  /// d loss / d (s, x, y) without reading the image again.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Region<T> slopes_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image, const Region<T>& region,
                                          T* slopes) const {
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    const Lattice at = lattice(image, region, window);
    const bool mixed = choose(image, at).slope > 0;
    return detail::region_gradient(kernel::resample_backward(d_out, detail::slopes_in(slopes, d_out.extents(), mixed)), at,
                                   window, region.s);
  }

  /// d loss / d (s, x, y), from d_out = d loss / d out.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Region<T> sample_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image,
                                          const Region<T>& region) const {
    detail::require_shapes(image, d_out);
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    const Lattice at = lattice(image, region, window);
    const LevelMix mix = choose(image, at);
    // The spacing is proportional to s: d log(spacing) / ds = 1 / s.
    const double d_mix = mix.slope / static_cast<double>(region.s);
    kernel::ResampleGradient sum;
    add_backward(d_out, image, mix.level, at, 1 - mix.weight, -d_mix, sum);
    if (mix.slope > 0) add_backward(d_out, image, mix.level + 1, at, mix.weight, d_mix, sum);
    return detail::region_gradient(sum, at, window, region.s);
  }

  /// d loss / d levels, added to the arrays `d_level(k)` -> View<T, 3>, for floating-point images.
  template <std::floating_point T, class Levels>
  void sample_backward_levels(std::type_identity_t<View<const T, 3>> d_out, const PyramidView<T>& image,
                              const Region<T>& region, Levels&& d_level) const {
    detail::require_shapes(image, d_out);
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    const Lattice at = lattice(image, region, window);
    const LevelMix mix = choose(image, at);
    const auto add = [&](int level, double scale) {
      const detail::LevelAxes axes = detail::level_axes(image, level, window, at, false);
      kernel::resample_backward_source(d_out, axes.rows, axes.columns, {padding, false}, View<T, 3>(d_level(level)), scale);
    };
    add(mix.level, 1 - mix.weight);
    if (mix.weight > 0) add(mix.level + 1, mix.weight);
  }

  /// The boxes that a glimpse of {h, w} = `window` at `region` reads, the second empty where one level is enough: for
  /// fovea::prepare, where several glimpses are known together.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] std::array<LevelBox, 2> boxes(const S& image, const Region<T>& region, Extents<2> window) const {
    const Lattice at = lattice(image, region, window);
    return boxes(image, choose(image, at), window, at);
  }

  /// The op: `images` B sources of equal channels, `regions` [B, 3] as (s, x, y) -> glimpses [B, h, w, C], `extent` = {h, w}.
  /// Records the gradient of the regions. On a tape the images must stay where they are until backward() has run.
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> operator()(C& context, std::span<const Source> images, VarOf<C> regions, Extents<2> extent) const {
    return detail::sample_op(context, *this, images, regions, extent);
  }
  /// The same for images that are Vars: [H, W, C], one for all regions, or [B, H, W, C]; their pyramids are built here, once
  /// for each image. Records the gradients of the regions and, where the images want one, of the images.
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> images, VarOf<C> regions, Extents<2> extent) const {
    using T = typename C::Scalar;
    const detail::VarImages<T> image(images, regions);
    const Index batch = regions.shape[0];
    const Index elements = pyramid_elements(image.extents());
    VarOf<C> out = context.variable(Shape{batch, extent[0], extent[1], image.extents()[2]});
    T* memory = context.template scratch<T>(elements * image.count());
    const auto levels = [=](Index b) { return memory + image.index(b) * elements; };
    PyramidView<T> pyramid;
    for (Index b = 0; b < batch; ++b) {
      detail::require_usable(image.region(b), b);
      if (b < image.count()) pyramid = build_pyramid(image[b], levels(b));
      sample(pyramid, image.region(b), out.template mutable_values<4>()[b]);
    }
    if constexpr (C::recording) {
      if (regions.gradient != nullptr || images.gradient != nullptr) {
        context.record([sampler = *this, image, levels, out, batch, elements, arena = &context.arena()] {
          T* d_levels = image.wants_gradient() ? arena->template allocate<T>(elements) : nullptr;
          for (Index b = 0; b < batch; ++b) {
            const View<const T, 3> d_out = out.template gradients<4>()[b];
            const PyramidView<T> view = pyramid_view(image[b], levels(b));
            image.add_region_gradient(b, [&] { return sampler.sample_backward(d_out, view, image.region(b)); });
            if (!image.wants_gradient()) continue;
            if (b < image.count()) std::fill_n(d_levels, elements, T(0));
            sampler.sample_backward_levels(d_out, view, image.region(b), [&](int level) {
              return level == 0 ? image.gradient(b)
                                : View<T, 3>(d_levels + (view.level(level).data() - levels(b)), view.level(level).extents());
            });
            // Once for each image: a shared one's levels collect over the whole batch first.
            if (image.count() > 1 || b + 1 == batch) build_pyramid_backward(d_levels, image.gradient(b));
          }
        });
      }
    }
    return out;
  }

 private:
  template <ImageSource S>
  [[nodiscard]] LevelMix choose(const S& image, const Lattice& at) const noexcept {
    const double x = at.dx * static_cast<double>(image.extent()[1]) / 2;
    const double y = at.dy * static_cast<double>(image.extent()[0]) / 2;
    return choose_levels(image, std::max(x, y) * std::exp2(bias));
  }

  /// The boxes of the levels that the glimpse reads.
  template <ImageSource S>
  [[nodiscard]] std::array<LevelBox, 2> boxes(const S& image, const LevelMix& mix, Extents<2> window, const Lattice& at) const {
    const auto box = [&](int level) -> LevelBox {
      const detail::LevelAxes axes = detail::level_axes(image, level, window, at, false);
      return {level, detail::reach(axes.rows, axes.columns, window, image.level_extent(level), padding)};
    };
    return {box(mix.level), mix.weight > 0 ? box(mix.level + 1) : LevelBox{mix.level, {}}};
  }
  /// Both levels of a glimpse at once, for a source that would otherwise decode twice.
  template <ImageSource S>
  void prepare_levels(const S& image, const LevelMix& mix, Extents<2> window, const Lattice& at) const {
    if constexpr (!ImageInMemory<S>) prepare(image, std::span<const LevelBox>(boxes(image, mix, window, at)));
  }

  template <ImageSource S, class T>
  void read(const S& image, int level, const Lattice& at, View<T, 3> out, double scale, bool accumulate) const {
    const Extents<2> window{out.extent(0), out.extent(1)};
    const detail::LevelAxes axes = detail::level_axes(image, level, window, at, false);
    const auto from = detail::read_level(image, level, axes.rows, axes.columns, window, padding);
    kernel::resample(from.pixels, from.rows, from.columns, {padding, false}, out, scale, accumulate);
  }

  /// Adds `share` times the gradient of one level's read, and `d_mix` times the sum of d_out * value.
  template <ImageSource S, class T>
  void add_backward(View<const T, 3> d_out, const S& image, int level, const Lattice& at, double share, double d_mix,
                    kernel::ResampleGradient& sum) const {
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    const detail::LevelAxes axes = detail::level_axes(image, level, window, at, false);
    const auto from = detail::read_level(image, level, axes.rows, axes.columns, window, padding);
    detail::add_gradient(sum, kernel::resample_backward(d_out, from.pixels, from.rows, from.columns, {padding, false}),
                         share * axes.row_map.scale, share * axes.column_map.scale, d_mix);
  }
};

}  // namespace glimpse
}  // namespace fovea::inline FOVEA_ABI
