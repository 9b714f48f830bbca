// SPDX-License-Identifier: MIT
/// \file
/// DRAW's read: a grid of Gaussian filters (K. Gregor, I. Danihelka, A. Graves, D. Rezende, D. Wierstra, DRAW: A Recurrent
/// Neural Network For Image Generation, ICML 2015, section 3.2).
///
/// Filter (i, j) of h x w is centred where the samples of a region are; the stride between filters follows from s, the
/// deviation is tied to the stride, or given in pixels, or a number of each sample with a gradient of its own. Smooth in all of
/// them: exact derivatives everywhere, not only almost.
///
/// DRAW reads every pixel of the image for every filter. Here a filter ends where its weights are rounding (kernel/
/// gaussian_filter.hpp), and where filters are many pixels wide the two levels of a pyramid are read in which the deviation is
/// `resolution` pixels or more, and half of that, mixed as Antialiased mixes them; the deviation is made smaller by what the
/// level has averaged already (variance (r^2 - 1) / 12 pixels^2, r being the ratio of the level). So the cost of a glimpse does
/// not depend on the size of the image. What that costs in exactness inside the image, against level 0 alone (`resolution`
/// infinite), of the range of the pixels, at resolution 2 (tests/glimpse/gaussian.cpp): 2e-5 on a smooth picture and 8e-3 on
/// white noise; twice the resolution has a third of it. At an edge a coarse pixel stands for the edge's. An image without a
/// pyramid is read at level 0, which is exact, and costs the pixels under the region.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/glimpse/sampler.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/view.hpp>
#include <fovea/kernel/gaussian_filter.hpp>
#include <fovea/kernel/resample.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <span>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace glimpse {

/// In what a deviation is measured: filters of the grid apart, or pixels of the full image.
enum class DeviationUnit : std::uint8_t { strides, pixels };

/// Glimpses by a Gaussian filter bank. Copy freely.
struct Gaussian {
  Aspect aspect = Aspect::isotropic;
  kernel::Padding padding = kernel::Padding::zeros;
  /// DRAW's edges: weights are normalised over the pixels of the image alone, `padding` plays no part.
  bool inside = false;
  double deviation = 0.5;  ///< of a filter, > 0
  DeviationUnit unit = DeviationUnit::strides;
  /// The least deviation in pixels of the level read, >= 0.1: below half a pixel a sampled Gaussian is the nearest pixel, and
  /// its derivative nothing or a spike.
  double smallest = 0.5;
  /// Levels are read where the deviation is at least this many of their pixels, >= 1; infinity: level 0 alone.
  double resolution = 2;

  /// Where the filters of a glimpse of {h, w} = `window` lie. Throws Error on a region that is not usable.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Lattice lattice(const S& image, const Region<T>& region, Extents<2> window) const {
    return detail::lattice_of(aspect, false, image.extent(), window, region);
  }
  /// out {h, w, C} = the glimpse of `image` at `region`, pixels in [0, 1]. Throws Error on other channels, on a region that is
  /// not finite or has s <= 0, and on filters of more than 1e6 pixels; any other region is allowed, also one outside the image.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out) const {
    sample(image, lattice(image, region, {out.extent(0), out.extent(1)}), out);
  }
  /// The same at the samples of any lattice.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const Lattice& at, View<T, 3> out) const {
    detail::require_shapes(image, out);
    const Extents<2> window{out.extent(0), out.extent(1)};
    const Bank bank(*this, image, at);
    prepare_levels<T>(image, bank, window, at);
    for_each_level(bank, [&](int level, double share, double sign) {
      const auto from = read<T>(image, level, bank, window, at);
      kernel::gaussian_filter(from.pixels, from.rows.axis, from.columns.axis, options(), out, share, sign > 0);
    });
  }
  /// The same, and what slopes_backward needs in `slopes`, of 3 * h * w * C elements.
  template <ImageSource S, std::floating_point T>
  void sample_with_slopes(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out, T* slopes) const {
    detail::require_shapes(image, out);
    const Extents<2> window{out.extent(0), out.extent(1)};
    const Lattice at = lattice(image, region, window);
    const Bank bank(*this, image, at);
    prepare_levels<T>(image, bank, window, at);
    for_each_level(bank, [&](int level, double share, double sign) {
      const auto from = read<T>(image, level, bank, window, at);
      kernel::gaussian_filter_with_slopes(from.pixels, from.rows.axis, from.columns.axis, options(), out,
                                          detail::slopes_in(slopes, out.extents(), true),
                                          {.value = share,
                                           .rows = share * from.rows.scale,
                                           .columns = share * from.columns.scale,
                                           .mix = sign * bank.mix.slope,
                                           .row_deviation = share * from.rows.slope,
                                           .column_deviation = share * from.columns.slope},
                                          sign > 0);
    });
  }
  /// d loss / d (s, x, y) without reading the image again.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] Region<T> slopes_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image, const Region<T>& region,
                                          T* slopes) const {
    return backward(d_out, image, region, slopes).region;
  }

  /// The boxes that a glimpse of {h, w} = `window` at `region` reads, the second empty where one level is enough: for
  /// fovea::prepare.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] std::array<LevelBox, 2> boxes(const S& image, const Region<T>& region, Extents<2> window) const {
    const Lattice at = lattice(image, region, window);
    return boxes_of<T>(image, Bank(*this, image, at), window, at);
  }

  /// The op: `images` B sources of equal channels, `regions` [B, 3] as (s, x, y), or [B, 4] as (s, x, y, deviation) with a
  /// deviation of each sample's own -> glimpses [B, h, w, C], `extent` = {h, w}. Records the gradient of the regions. On a tape
  /// the images must stay where they are until backward() has run.
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> operator()(C& context, std::span<const Source> images, VarOf<C> regions, Extents<2> extent) const {
    using T = typename C::Scalar;
    const auto batch = static_cast<Index>(images.size());
    if (batch < 1 || !(regions.shape == Shape{batch, 4})) return detail::sample_op(context, *this, images, regions, extent);
    const auto with = [sampler = *this](T value) {
      Gaussian own = sampler;
      own.deviation = static_cast<double>(value);
      return own;
    };
    const Index channels = images[0].channels();
    return detail::read_op<4>(
        context, images, regions, extent, channels, detail::kSlopePlanes * extent[0] * extent[1] * channels,
        [with](const Source& image, Index b, const detail::Place<T, 4>& place, View<T, 3> out, T* kept) {
          detail::require_usable(detail::region_of(place), b);
          if (kept != nullptr) return with(place[3]).sample_with_slopes(image, detail::region_of(place), out, kept);
          with(place[3]).sample(image, detail::region_of(place), out);
        },
        [with](View<const T, 3> d_out, const Source& image, const detail::Place<T, 4>& place, T* kept) {
          const Gradient<T> g = with(place[3]).backward(d_out, image, detail::region_of(place), kept);
          return detail::Place<T, 4>{g.region.s, g.region.x, g.region.y, g.deviation};
        });
  }

 private:
  template <class T>
  struct Gradient {
    Region<T> region;
    T deviation;
  };

  /// The filters of a glimpse: their deviations in pixels of the full image, and the levels to read.
  struct Bank {
    double rows, columns;
    LevelMix mix;

    template <ImageSource S>
    Bank(const Gaussian& g, const S& image, const Lattice& at) : rows(g.deviation), columns(g.deviation) {
      require(g.deviation > 0 && g.smallest >= 0.1 && g.resolution >= 1,
              "gaussian: a deviation > 0, a smallest one >= 0.1 and a ", "resolution >= 1 expected, ", g.deviation, ", ",
              g.smallest, " and ", g.resolution, " came");
      if (g.unit == DeviationUnit::strides) {
        rows *= at.dy / 2 * static_cast<double>(image.extent()[0]);
        columns *= at.dx / 2 * static_cast<double>(image.extent()[1]);
      }
      mix = choose_levels(image, std::min(rows, columns) / g.resolution);
    }
  };
  /// Filters along one axis of a level.
  struct Axis {
    kernel::GaussianAxis axis;
    double scale;  ///< pixels of the level to a unit of the centre
    double slope;  ///< d log of their deviation / d log of the glimpse's
  };
  [[nodiscard]] Axis axis_of(const detail::AxisMap& map, kernel::SampleAxis centres, double pixels, double ratio) const {
    const double stated = pixels * pixels / (ratio * ratio);
    const double left = stated - (1 - 1 / (ratio * ratio)) / 12;
    const bool held = !(left > smallest * smallest);
    const double value = held ? smallest : std::sqrt(left);
    require(value <= 1e6, "gaussian: filters of a deviation of at most 1e6 pixels expected, ", value, " came");
    return {{centres, value}, map.scale, held ? 0.0 : stated / left};
  }
  struct Axes {
    Axis rows;
    Axis columns;
  };
  template <ImageSource S>
  [[nodiscard]] Axes axes_of(const S& image, int level, const Bank& bank, Extents<2> window, const Lattice& at) const {
    const detail::LevelAxes axes = detail::level_axes(image, level, window, at, false);
    const std::array<double, 2> ratios = image.ratios(level);
    return {axis_of(axes.row_map, axes.rows, bank.rows, ratios[0]),
            axis_of(axes.column_map, axes.columns, bank.columns, ratios[1])};
  }
  [[nodiscard]] kernel::GaussianOptions options() const noexcept { return {padding, inside}; }

  /// Calls body(level, share, sign): sign is that of d share / d weight.
  template <class Body>
  static void for_each_level(const Bank& bank, Body&& body) {
    body(bank.mix.level, 1 - bank.mix.weight, -1.0);
    if (bank.mix.slope > 0) body(bank.mix.level + 1, bank.mix.weight, 1.0);
  }
  template <class T, ImageSource S>
  [[nodiscard]] PixelBox box_of(const Axes& axes, const S& image, int level, Extents<2> window) const {
    const Extents<2> extent = image.level_extent(level);
    const auto [top, bottom] = kernel::gaussian_reach<T>(axes.rows.axis, window[0], extent[0], options());
    const auto [left, right] = kernel::gaussian_reach<T>(axes.columns.axis, window[1], extent[1], options());
    return {top, left, bottom - top, right - left};
  }
  template <class T, ImageSource S>
  [[nodiscard]] std::array<LevelBox, 2> boxes_of(const S& image, const Bank& bank, Extents<2> window, const Lattice& at) const {
    std::array<LevelBox, 2> boxes{};
    std::size_t count = 0;
    for_each_level(bank, [&](int level, double, double) {
      boxes[count++] = {level, box_of<T>(axes_of(image, level, bank, window, at), image, level, window)};
    });
    return boxes;
  }
  template <class T, ImageSource S>
  void prepare_levels(const S& image, const Bank& bank, Extents<2> window, const Lattice& at) const {
    if constexpr (!ImageInMemory<S>) {
      fovea::prepare(image, std::span<const LevelBox>(boxes_of<T>(image, bank, window, at)));
    }
  }
  template <kernel::Pixel P>
  struct BankPixels : Axes {
    ImageView<P> pixels;
  };
  template <class T, ImageSource S>
  [[nodiscard]] BankPixels<PixelOf<S>> read(const S& image, int level, const Bank& bank, Extents<2> window,
                                            const Lattice& at) const {
    Axes axes = axes_of(image, level, bank, window, at);
    if constexpr (ImageInMemory<S>) {
      return {axes, image.level(level)};
    } else {
      const PixelWindow<PixelOf<S>> part = image.read(level, box_of<T>(axes, image, level, window));
      axes.rows.axis.centres.origin -= static_cast<double>(part.top);
      axes.columns.axis.centres.origin -= static_cast<double>(part.left);
      return {axes, part.pixels};
    }
  }
  template <ImageSource S, class T>
  [[nodiscard]] Gradient<T> backward(View<const T, 3> d_out, const S& image, const Region<T>& region, T* slopes) const {
    const Extents<2> window{d_out.extent(0), d_out.extent(1)};
    kernel::ResampleGradient g = kernel::resample_backward(d_out, detail::slopes_in(slopes, d_out.extents(), true));
    const double d_log_deviation = g.dot;
    // Tied to the stride, the deviation is proportional to s.
    g.dot = unit == DeviationUnit::strides ? d_log_deviation / static_cast<double>(region.s) : 0.0;
    return {detail::region_gradient(g, lattice(image, region, window), window, region.s),
            static_cast<T>(d_log_deviation / deviation)};
  }
};

}  // namespace glimpse
}  // namespace fovea::inline FOVEA_ABI
