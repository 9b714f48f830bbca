// SPDX-License-Identifier: MIT
/// \file
/// Plain bilinear reads, without a filter: what affine_grid and grid_sample do (Jaderberg et al., Spatial Transformer Networks,
/// NeurIPS 2015).
///
/// For parity, and for windows whose samples lie at most a pixel or two apart. Zoomed out further it reads noise, and its
/// derivative is noise: use Antialiased. Agrees with torch's grid_sample (mode bilinear) to rounding, in value and in the
/// gradients of theta and the image, for both align_corners and the three paddings; coordinates are computed in double, which
/// torch does not do.
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
#include <cstddef>
#include <span>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace glimpse {

/// Glimpses by bilinear interpolation of the finest level a source stores. Copy freely.
struct Bilinear {
  Aspect aspect = Aspect::stretch;
  kernel::Padding padding = kernel::Padding::zeros;
  /// false: -1 and 1 are the outer edges of the outer pixels; true: their centres (torch before 1.3).
  bool align_corners = false;

  /// Where the samples of a glimpse of {h, w} = `window` lie. Throws Error on a region that is not usable.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Lattice lattice(const S& image, const Region<T>& region, Extents<2> window) const {
    return detail::lattice_of(aspect, align_corners, image.extent(), window, region);
  }
  /// out {h, w, C} = the glimpse of `image` at `region`, pixels in [0, 1]. Throws Error on other channels, and on a region
  /// that is not finite or has s <= 0; any other region is allowed, also one outside the image.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out) const {
    sample(image, lattice(image, region, {out.extent(0), out.extent(1)}), out);
  }
  /// The same at the samples of any lattice.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const Lattice& at, View<T, 3> out) const {
    detail::require_shapes(image, out);
    const detail::LevelAxes axes = finest(image, {out.extent(0), out.extent(1)}, at);
    const auto from = read(image, axes, out.extents());
    kernel::resample(from.pixels, from.rows, from.columns, {padding, align_corners}, out);
  }
  /// The same, and what slopes_backward needs in `slopes`, of 3 * h * w * C elements. Rows of `out` dense.
  template <ImageSource S, std::floating_point T>
  void sample_with_slopes(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out, T* slopes) const {
    detail::require_shapes(image, out);
    const Extents<2> window{out.extent(0), out.extent(1)};
    const detail::LevelAxes axes = finest(image, window, lattice(image, region, window));
    const auto from = read(image, axes, out.extents());
    kernel::resample_with_slopes(from.pixels, from.rows, from.columns, {padding, align_corners}, out,
                                 detail::slopes_in(slopes, out.extents(), false),
                                 {.rows = axes.row_map.scale, .columns = axes.column_map.scale});
  }
  /// d loss / d (s, x, y) without reading the image again.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Region<T> slopes_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image, const Region<T>& region,
                                          T* slopes) const {
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    return detail::region_gradient(kernel::resample_backward(d_out, detail::slopes_in(slopes, d_out.extents(), false)),
                                   lattice(image, region, window), window, region.s);
  }
  /// `sample` for any 2x3 matrix `theta`, row-major, from glimpse to image coordinates, as affine_grid takes it.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const std::array<T, 6>& theta, std::type_identity_t<View<T, 3>> out) const {
    detail::require_shapes(image, out);
    const auto from = read(image, affine_lattice(image, {out.extent(0), out.extent(1)}, theta), out.extents());
    kernel::resample_affine(from.pixels, from.lattice, {padding, align_corners}, out);
  }

  /// d loss / d (s, x, y), from d_out = d loss / d out.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Region<T> sample_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image,
                                          const Region<T>& region) const {
    detail::require_shapes(image, d_out);
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    const Lattice at = lattice(image, region, window);
    const detail::LevelAxes axes = finest(image, window, at);
    const auto from = read(image, axes, d_out.extents());
    kernel::ResampleGradient sum;
    detail::add_gradient(sum, kernel::resample_backward(d_out, from.pixels, from.rows, from.columns, {padding, align_corners}),
                         axes.row_map.scale, axes.column_map.scale, 0);
    return detail::region_gradient(sum, at, window, region.s);
  }
  /// d loss / d theta.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] std::array<T, 6> sample_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image,
                                                 const std::array<T, 6>& theta) const {
    detail::require_shapes(image, d_out);
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    const auto from = read(image, affine_lattice(image, window, theta), d_out.extents());
    const kernel::SampleAffine g = kernel::resample_affine_backward(d_out, from.pixels, from.lattice, {padding, align_corners});
    const Grid grid(image, window, align_corners);
    const auto chain = [&](double scale, double j, double i, double one) {
      return std::array<double, 3>{scale * grid.step_x * (j - grid.columns.middle * one),
                                   scale * grid.step_y * (i - grid.rows.middle * one), scale * one};
    };
    const std::array<double, 3> x = chain(grid.columns.scale, g[0], g[1], g[2]);
    const std::array<double, 3> y = chain(grid.rows.scale, g[3], g[4], g[5]);
    return {static_cast<T>(x[0]), static_cast<T>(x[1]), static_cast<T>(x[2]),
            static_cast<T>(y[0]), static_cast<T>(y[1]), static_cast<T>(y[2])};
  }

  /// d loss / d image, added to d_image {H, W, C}, the image being one level of floating-point pixels of full extent.
  template <std::floating_point T>
  void sample_backward_image(std::type_identity_t<View<const T, 3>> d_out, const Region<T>& region, View<T, 3> d_image) const {
    const PyramidView<T> shape(d_image);
    detail::require_shapes(shape, d_out);
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    const detail::LevelAxes at = finest(shape, window, lattice(shape, region, window));
    kernel::resample_backward_source(d_out, at.rows, at.columns, {padding, align_corners}, d_image);
  }
  template <std::floating_point T>
  void sample_backward_image(std::type_identity_t<View<const T, 3>> d_out, const std::array<T, 6>& theta,
                             View<T, 3> d_image) const {
    const PyramidView<T> shape(d_image);
    detail::require_shapes(shape, d_out);
    kernel::resample_affine_backward_source(d_out, affine_lattice(shape, {d_out.extent(0), d_out.extent(1)}, theta),
                                            {padding, align_corners}, d_image);
  }

  /// The box that a glimpse of {h, w} = `window` at `region` reads, and an empty one: for fovea::prepare, where several
  /// glimpses are known together.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] std::array<LevelBox, 2> boxes(const S& image, const Region<T>& region, Extents<2> window) const {
    const detail::LevelAxes at = finest(image, window, lattice(image, region, window));
    return {LevelBox{0, detail::reach(at.rows, at.columns, window, image.level_extent(0), padding)}, LevelBox{0, {}}};
  }

  /// The op: `images` B sources of equal channels, `regions` [B, 3] as (s, x, y) -> glimpses [B, h, w, C], `extent` = {h, w}.
  /// Records the gradient of the regions. On a tape the images must stay where they are until backward() has run.
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> operator()(C& context, std::span<const Source> images, VarOf<C> regions, Extents<2> extent) const {
    return detail::sample_op(context, *this, images, regions, extent);
  }
  /// The same for images that are Vars: [H, W, C], one for all regions, or [B, H, W, C]. Records the gradients of the regions
  /// and, where the images want one, of the images.
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> images, VarOf<C> regions, Extents<2> extent) const {
    using T = typename C::Scalar;
    const detail::VarImages<T> image(images, regions);
    const Index batch = regions.shape[0];
    VarOf<C> out = context.variable(Shape{batch, extent[0], extent[1], image.extents()[2]});
    for (Index b = 0; b < batch; ++b) {
      detail::require_usable(image.region(b), b);
      sample(PyramidView<T>(image[b]), image.region(b), out.template mutable_values<4>()[b]);
    }
    if constexpr (C::recording) {
      if (regions.gradient != nullptr || images.gradient != nullptr) {
        context.record([sampler = *this, image, out, batch] {
          for (Index b = 0; b < batch; ++b) {
            const View<const T, 3> d_out = out.template gradients<4>()[b];
            image.add_region_gradient(
                b, [&] { return sampler.sample_backward(d_out, PyramidView<T>(image[b]), image.region(b)); });
            if (image.wants_gradient()) sampler.sample_backward_image(d_out, image.region(b), image.gradient(b));
          }
        });
      }
    }
    return out;
  }

 private:
  template <ImageSource S>
  [[nodiscard]] detail::LevelAxes finest(const S& image, Extents<2> window, const Lattice& at) const noexcept {
    return detail::level_axes(image, 0, window, at, align_corners);
  }
  /// The pixels of the finest level that a glimpse touches, with its axes in them.
  template <ImageSource S>
  [[nodiscard]] detail::LevelPixels<PixelOf<S>> read(const S& image, const detail::LevelAxes& at, const Extents<3>& out) const {
    return detail::read_level(image, 0, at.rows, at.columns, {out[0], out[1]}, padding);
  }
  template <kernel::Pixel P>
  struct AffinePixels {
    ImageView<P> pixels;
    kernel::SampleAffine lattice;
  };
  template <ImageSource S>
  [[nodiscard]] AffinePixels<PixelOf<S>> read(const S& image, kernel::SampleAffine lattice, const Extents<3>& out) const {
    if constexpr (ImageInMemory<S>) {
      return {image.level(0), lattice};
    } else {
      // The box around the four corners, as one axis of two samples each.
      const auto axis = [&](std::size_t k) -> kernel::SampleAxis {
        const double across = lattice[k] * static_cast<double>(out[1] - 1);
        const double down = lattice[k + 1] * static_cast<double>(out[0] - 1);
        const double low = lattice[k + 2] + std::min(across, 0.0) + std::min(down, 0.0);
        const double high = lattice[k + 2] + std::max(across, 0.0) + std::max(down, 0.0);
        return {low, high - low};
      };
      const PixelWindow<PixelOf<S>> part =
          image.read(0, detail::reach(axis(3), axis(0), {2, 2}, image.level_extent(0), padding));
      lattice[2] -= static_cast<double>(part.left);
      lattice[5] -= static_cast<double>(part.top);
      return {part.pixels, lattice};
    }
  }
  /// The samples of a glimpse in its own coordinates, [-1, 1], and the maps of the image's to pixels.
  struct Grid {
    detail::AxisMap rows;
    detail::AxisMap columns;
    double step_x;
    double step_y;
    template <ImageSource S>
    Grid(const S& image, Extents<2> window, bool align_corners) noexcept
        : rows(static_cast<double>(image.extent()[0]) / image.ratios(0)[0], window[0], align_corners),
          columns(static_cast<double>(image.extent()[1]) / image.ratios(0)[1], window[1], align_corners),
          step_x(detail::sample_step(window[1], align_corners)),
          step_y(detail::sample_step(window[0], align_corners)) {}
  };
  template <ImageSource S, class T>
  [[nodiscard]] kernel::SampleAffine affine_lattice(const S& image, Extents<2> window, const std::array<T, 6>& theta) const {
    for (const T t : theta) require(std::isfinite(t), "glimpse: a matrix of finite numbers expected, ", t, " came");
    const Grid grid(image, window, align_corners);
    const auto row = [&](const detail::AxisMap& map, T t0, T t1, T t2) {
      const double a = static_cast<double>(t0) * grid.step_x;
      const double b = static_cast<double>(t1) * grid.step_y;
      const double centre = static_cast<double>(t2) - a * grid.columns.middle - b * grid.rows.middle;
      return std::array<double, 3>{map.scale * a, map.scale * b, map.scale * centre + map.shift};
    };
    const std::array<double, 3> x = row(grid.columns, theta[0], theta[1], theta[2]);
    const std::array<double, 3> y = row(grid.rows, theta[3], theta[4], theta[5]);
    return {x[0], x[1], x[2], y[0], y[1], y[2]};
  }
};

}  // namespace glimpse
}  // namespace fovea::inline FOVEA_ABI
