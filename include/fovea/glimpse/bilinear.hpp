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

  /// out {h, w, C} = the glimpse of `image` at `region`, pixels in [0, 1]. Throws Error on other channels, and on a region
  /// that is not finite or has s <= 0; any other region is allowed, also one outside the image.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out) const {
    detail::require_usable(region);
    detail::require_shapes(image, out);
    const Axes at = axes(image, {out.extent(0), out.extent(1)}, region);
    const auto from = read(image, at, out.extents());
    kernel::resample(from.pixels, from.rows, from.columns, {padding, align_corners}, out);
  }
  /// The same, and what slopes_backward needs in `slopes`, of 3 * h * w * C elements. Rows of `out` dense.
  template <ImageSource S, std::floating_point T>
  void sample_with_slopes(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out, T* slopes) const {
    detail::require_usable(region);
    detail::require_shapes(image, out);
    const Axes at = axes(image, {out.extent(0), out.extent(1)}, region);
    const auto from = read(image, at, out.extents());
    kernel::resample_with_slopes(from.pixels, from.rows, from.columns, {padding, align_corners}, out,
                                 detail::slopes_in(slopes, out.extents(), false),
                                 {.rows = at.row_map.scale, .columns = at.column_map.scale});
  }
  /// d loss / d (s, x, y) without reading the image again.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Region<T> slopes_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image, const Region<T>&,
                                          T* slopes) const {
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    return detail::region_gradient<T>(d_out, detail::slopes_in(slopes, d_out.extents(), false),
                                      unit_half_extents(aspect, image.extent(), window), align_corners);
  }
  /// `sample` for any 2x3 matrix `theta`, row-major, from glimpse to image coordinates, as affine_grid takes it.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const std::array<T, 6>& theta, std::type_identity_t<View<T, 3>> out) const {
    detail::require_shapes(image, out);
    const auto from = read(image, lattice(image, {out.extent(0), out.extent(1)}, theta), out.extents());
    kernel::resample_affine(from.pixels, from.lattice, {padding, align_corners}, out);
  }

  /// d loss / d (s, x, y), from d_out = d loss / d out.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Region<T> sample_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image,
                                          const Region<T>& region) const {
    detail::require_usable(region);
    detail::require_shapes(image, d_out);
    const Axes at = axes(image, {d_out.extent(0), d_out.extent(1)}, region);
    const auto from = read(image, at, d_out.extents());
    const kernel::ResampleGradient gradient =
        kernel::resample_backward(d_out, from.pixels, from.rows, from.columns, {padding, align_corners});
    return {static_cast<T>(at.unit[0] * at.column_map.half(gradient.columns) + at.unit[1] * at.row_map.half(gradient.rows)),
            static_cast<T>(at.column_map.centre(gradient.columns)), static_cast<T>(at.row_map.centre(gradient.rows))};
  }
  /// d loss / d theta.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] std::array<T, 6> sample_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image,
                                                 const std::array<T, 6>& theta) const {
    detail::require_shapes(image, d_out);
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    const auto from = read(image, lattice(image, window, theta), d_out.extents());
    const kernel::SampleAffine g = kernel::resample_affine_backward(d_out, from.pixels, from.lattice, {padding, align_corners});
    const auto [rows, columns] = maps(image, window);
    const auto chain = [&rows = rows, &columns = columns](double scale, double j, double i, double one) {
      return std::array<double, 3>{scale * (columns.step * j + columns.first * one), scale * (rows.step * i + rows.first * one),
                                   scale * one};
    };
    const std::array<double, 3> x = chain(columns.scale, g[0], g[1], g[2]);
    const std::array<double, 3> y = chain(rows.scale, g[3], g[4], g[5]);
    return {static_cast<T>(x[0]), static_cast<T>(x[1]), static_cast<T>(x[2]),
            static_cast<T>(y[0]), static_cast<T>(y[1]), static_cast<T>(y[2])};
  }

  /// d loss / d image, added to d_image {H, W, C}, the image being one level of floating-point pixels of full extent.
  template <std::floating_point T>
  void sample_backward_image(std::type_identity_t<View<const T, 3>> d_out, const Region<T>& region, View<T, 3> d_image) const {
    detail::require_usable(region);
    const PyramidView<T> shape(d_image);
    detail::require_shapes(shape, d_out);
    const Axes at = axes(shape, {d_out.extent(0), d_out.extent(1)}, region);
    kernel::resample_backward_source(d_out, at.rows, at.columns, {padding, align_corners}, d_image);
  }
  template <std::floating_point T>
  void sample_backward_image(std::type_identity_t<View<const T, 3>> d_out, const std::array<T, 6>& theta,
                             View<T, 3> d_image) const {
    const PyramidView<T> shape(d_image);
    detail::require_shapes(shape, d_out);
    kernel::resample_affine_backward_source(d_out, lattice(shape, {d_out.extent(0), d_out.extent(1)}, theta),
                                            {padding, align_corners}, d_image);
  }

  /// The box that a glimpse of {h, w} = `window` at `region` reads, and an empty one: for fovea::prepare, where several
  /// glimpses are known together.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] std::array<LevelBox, 2> boxes(const S& image, const Region<T>& region, Extents<2> window) const {
    detail::require_usable(region);
    const Axes at = axes(image, window, region);
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
  struct Axes {
    detail::AxisMap row_map;
    detail::AxisMap column_map;
    kernel::SampleAxis rows;
    kernel::SampleAxis columns;
    std::array<double, 2> unit;
  };
  struct Maps {
    detail::AxisMap rows;
    detail::AxisMap columns;
  };
  /// The pixels of the finest level that a glimpse touches, with its axes in them.
  template <ImageSource S>
  [[nodiscard]] detail::LevelPixels<PixelOf<S>> read(const S& image, const Axes& at, const Extents<3>& out) const {
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
  template <ImageSource S>
  [[nodiscard]] Maps maps(const S& image, Extents<2> window) const noexcept {
    return {{static_cast<double>(image.extent()[0]) / image.ratios(0)[0], window[0], align_corners},
            {static_cast<double>(image.extent()[1]) / image.ratios(0)[1], window[1], align_corners}};
  }
  template <ImageSource S, class T>
  [[nodiscard]] Axes axes(const S& image, Extents<2> window, const Region<T>& region) const {
    const std::array<double, 2> unit = unit_half_extents(aspect, image.extent(), window);
    const Maps map = maps(image, window);
    const double s = static_cast<double>(region.s);
    return {map.rows, map.columns, map.rows.axis(static_cast<double>(region.y), s * unit[1]),
            map.columns.axis(static_cast<double>(region.x), s * unit[0]), unit};
  }
  template <ImageSource S, class T>
  [[nodiscard]] kernel::SampleAffine lattice(const S& image, Extents<2> window, const std::array<T, 6>& theta) const {
    for (const T t : theta) require(std::isfinite(t), "glimpse: a matrix of finite numbers expected, ", t, " came");
    const auto [rows, columns] = maps(image, window);
    const auto row = [&rows = rows, &columns = columns](const detail::AxisMap& map, T t0, T t1, T t2) {
      const auto a = static_cast<double>(t0);
      const auto b = static_cast<double>(t1);
      return std::array<double, 3>{map.scale * a * columns.step, map.scale * b * rows.step,
                                   map.scale * (a * columns.first + b * rows.first + static_cast<double>(t2)) + map.shift};
    };
    const std::array<double, 3> x = row(columns, theta[0], theta[1], theta[2]);
    const std::array<double, 3> y = row(rows, theta[3], theta[4], theta[5]);
    return {x[0], x[1], x[2], y[0], y[1], y[2]};
  }
};

/// The op for any 2x3 matrices: `images` B sources, `thetas` [B, 2, 3] -> glimpses [B, h, w, C]. Records the gradient of the
/// matrices.
template <Context C, ImageSource Source>
[[nodiscard]] VarOf<C> affine_glimpse(C& context, const Bilinear& sampler, std::span<const Source> images, VarOf<C> thetas,
                                      Extents<2> extent) {
  using T = typename C::Scalar;
  const auto batch = static_cast<Index>(images.size());
  const Shape expected{batch, 2, 3};
  require(batch >= 1 && thetas.shape == expected, "glimpse: matrices of shape ", expected.to_string(), " expected, ",
          thetas.shape.to_string(), " came");
  const Index channels = images[0].channels();
  VarOf<C> out = context.variable(Shape{batch, extent[0], extent[1], channels});
  const auto theta = [thetas](Index b) {
    std::array<T, 6> t{};
    for (std::size_t k = 0; k < 6; ++k) t[k] = thetas.value[6 * b + static_cast<Index>(k)];
    return t;
  };
  for (Index b = 0; b < batch; ++b) {
    sampler.sample(images[static_cast<std::size_t>(b)], theta(b), out.template mutable_values<4>()[b]);
  }
  if constexpr (C::recording) {
    if (thetas.gradient != nullptr) {
      context.record([sampler, images, thetas, theta, out, batch] {
        for (Index b = 0; b < batch; ++b) {
          const std::array<T, 6> g =
              sampler.sample_backward(out.template gradients<4>()[b], images[static_cast<std::size_t>(b)], theta(b));
          for (std::size_t k = 0; k < 6; ++k) thetas.gradient[6 * b + static_cast<Index>(k)] += g[k];
        }
      });
    }
  }
  return out;
}

}  // namespace glimpse
}  // namespace fovea::inline FOVEA_ABI
