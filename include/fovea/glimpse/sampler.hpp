// SPDX-License-Identifier: MIT
/// \file
/// What the samplers share: the map from a region to coordinates of an image, and the checks and the recording of an op.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>
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

namespace detail {

/// One axis: sample k of `count` of a region at `centre` with half-extent `half` reads at
/// scale * (centre + half * (first + k * step)) + shift pixels of a source, by affine_grid's rule. `pixels`: what the image is
/// long in pixels of the source, not necessarily whole.
struct AxisMap {
  double scale, shift;
  double first, step;

  AxisMap(double pixels, Index count, bool align_corners) noexcept {
    const auto samples = static_cast<double>(count);
    if (align_corners) {
      scale = shift = (pixels - 1) / 2;
      first = count > 1 ? -1.0 : 0.0;
      step = count > 1 ? 2 / (samples - 1) : 0.0;
    } else {
      scale = pixels / 2;
      shift = scale - 0.5;
      first = 1 / samples - 1;
      step = 2 / samples;
    }
  }
  [[nodiscard]] kernel::SampleAxis axis(double centre, double half) const noexcept {
    return {scale * (centre + half * first) + shift, scale * half * step};
  }
  /// d loss / d centre and d loss / d half from d loss / d axis.
  [[nodiscard]] double centre(kernel::SampleAxis gradient) const noexcept { return scale * gradient.origin; }
  [[nodiscard]] double half(kernel::SampleAxis gradient) const noexcept {
    return scale * (first * gradient.origin + step * gradient.step);
  }
};

template <class T>
[[nodiscard]] bool usable(const Region<T>& region) noexcept {
  return std::isfinite(region.s) && region.s > T(0) && std::isfinite(region.x) && std::isfinite(region.y);
}

template <class T>
void require_usable(const Region<T>& region) {
  require(usable(region), "glimpse: a region of finite numbers with s > 0 expected, s = ", region.s, ", x = ", region.x,
          ", y = ", region.y, " came");
}

/// The same in an op, where the message names the sample.
template <class T>
void require_usable(const Region<T>& region, Index sample) {
  require(usable(region), "glimpse: sample ", sample, ": a region of finite numbers with s > 0 expected, s = ", region.s,
          ", x = ", region.x, ", y = ", region.y, " came");
}

template <ImageSource S, class T>
void require_shapes(const S& image, const View<T, 3>& out) {
  require(image.levels() >= 1, "glimpse: an image with at least one level expected");
  require(out.extent(2) == image.channels(), "glimpse: ", out.extent(2), " channels expected, the image has ",
          image.channels());
  require(out.extent(0) >= 1 && out.extent(1) >= 1, "glimpse: a window of at least 1x1 expected, ", out.extent(0), "x",
          out.extent(1), " came");
}

/// The pixels of one axis that `count` samples along it touch, and one more on either side, {first, end}: with them a sample
/// has the same neighbours in the part as in the whole, also where it lies on a pixel or is mirrored at an edge.
[[nodiscard]] inline std::array<Index, 2> reach(kernel::SampleAxis axis, Index count, Index extent,
                                                kernel::Padding padding) noexcept {
  const auto last = static_cast<double>(extent - 1);
  const double end = axis.origin + static_cast<double>(count - 1) * axis.step;
  double low = std::min(axis.origin, end);
  double high = std::max(axis.origin, end);
  if (padding == kernel::Padding::reflection) {
    const double mirrored_low = -low;
    const double mirrored_high = 2 * last - high;
    if (low < 0) high = std::max(high, mirrored_low);
    if (high > last) low = std::min(low, mirrored_high);
  }
  const auto first = static_cast<Index>(std::floor(std::clamp(low, 0.0, last)));
  const auto final = static_cast<Index>(std::floor(std::clamp(high, 0.0, last)));
  return {std::max(Index{0}, first - 1), std::min(extent, final + 3)};
}
[[nodiscard]] inline PixelBox reach(kernel::SampleAxis rows, kernel::SampleAxis columns, Extents<2> window, Extents<2> extent,
                                    kernel::Padding padding) noexcept {
  const auto [top, bottom] = reach(rows, window[0], extent[0], padding);
  const auto [left, right] = reach(columns, window[1], extent[1], padding);
  return {top, left, bottom - top, right - left};
}

/// Pixels of a level with the axes along which to sample them: those of the level, moved to where the pixels begin.
template <kernel::Pixel P>
struct LevelPixels {
  ImageView<P> pixels;
  kernel::SampleAxis rows;
  kernel::SampleAxis columns;
};
template <ImageSource S>
[[nodiscard]] LevelPixels<PixelOf<S>> read_level(const S& image, int level, kernel::SampleAxis rows, kernel::SampleAxis columns,
                                                 Extents<2> window, kernel::Padding padding) {
  if constexpr (ImageInMemory<S>) {
    return {image.level(level), rows, columns};
  } else {
    const PixelWindow<PixelOf<S>> part = image.read(level, reach(rows, columns, window, image.level_extent(level), padding));
    return {part.pixels,
            {rows.origin - static_cast<double>(part.top), rows.step},
            {columns.origin - static_cast<double>(part.left), columns.step}};
  }
}

/// The slopes of one glimpse as a sampler keeps them in `memory`, of kSlopePlanes * h * w * C elements: rows and columns in
/// units of the region's centre, `mix` in units of s, where `mixed`.
inline constexpr Index kSlopePlanes = 3;
template <class T>
[[nodiscard]] kernel::ResampleSlopes<T> slopes_in(T* memory, const Extents<3>& glimpse, bool mixed) noexcept {
  const Index size = product(glimpse);
  return {{memory, glimpse}, {memory + size, glimpse}, mixed ? View<T, 3>(memory + 2 * size, glimpse) : View<T, 3>()};
}

/// d loss / d (s, x, y) from them; `unit`: unit_half_extents.
template <class T>
[[nodiscard]] Region<T> region_gradient(View<const T, 3> d_out, const kernel::ResampleSlopes<T>& slopes,
                                        const std::array<double, 2>& unit, bool align_corners) noexcept {
  const kernel::ResampleGradient g = kernel::resample_backward(d_out, slopes);
  AxisMap rows(0, d_out.extent(0), align_corners);
  AxisMap columns(0, d_out.extent(1), align_corners);
  rows.scale = columns.scale = 1;
  return {static_cast<T>(unit[0] * columns.half(g.columns) + unit[1] * rows.half(g.rows) + g.dot),
          static_cast<T>(g.columns.origin), static_cast<T>(g.rows.origin)};
}

/// The op of every sampler: regions [B, 3] (s, x, y) of B images to glimpses [B, h, w, C]; records the backward.
template <Context C, ImageSource Source, class Sampler>
VarOf<C> sample_op(C& context, const Sampler& sampler, std::span<const Source> images, VarOf<C> regions, Extents<2> extent) {
  using T = typename C::Scalar;
  const auto batch = static_cast<Index>(images.size());
  require(batch >= 1, "glimpse: at least one image expected");
  require(regions.shape == Shape{batch, 3}, "glimpse: regions of shape ", Shape{batch, 3}.to_string(), " expected, ",
          regions.shape.to_string(), " came");
  const Index channels = images[0].channels();
  VarOf<C> out = context.variable(Shape{batch, extent[0], extent[1], channels});
  const Index planes = kSlopePlanes * extent[0] * extent[1] * channels;
  const bool wanted = C::recording && regions.gradient != nullptr;
  T* slopes = wanted ? context.scratch(batch * planes) : nullptr;
  for (Index b = 0; b < batch; ++b) {
    const Region<T> region{regions.value[3 * b], regions.value[3 * b + 1], regions.value[3 * b + 2]};
    const Source& image = images[static_cast<std::size_t>(b)];
    require_usable(region, b);
    require(image.channels() == channels, "glimpse: sample ", b, ": ", channels, " channels expected, the image has ",
            image.channels());
    if (wanted) {
      sampler.sample_with_slopes(image, region, out.template mutable_values<4>()[b], slopes + b * planes);
    } else {
      sampler.sample(image, region, out.template mutable_values<4>()[b]);
    }
  }
  if constexpr (C::recording) {
    if (wanted) {
      context.record([=] {
        for (Index b = 0; b < batch; ++b) {
          const Region<T> region{regions.value[3 * b], regions.value[3 * b + 1], regions.value[3 * b + 2]};
          const View<const T, 4> d_out = out.template gradients<4>();
          const Region<T> gradient =
              sampler.slopes_backward(d_out[b], images[static_cast<std::size_t>(b)], region, slopes + b * planes);
          regions.gradient[3 * b] += gradient.s;
          regions.gradient[3 * b + 1] += gradient.x;
          regions.gradient[3 * b + 2] += gradient.y;
        }
      });
    }
  }
  return out;
}

/// Images that are Vars, [H, W, C] for all regions or [B, H, W, C], with their regions [B, 3]: a handle to copy into closures.
template <class T>
class VarImages {
 public:
  VarImages(const Var<T>& images, const Var<T>& regions) : images_(images), regions_(regions) {
    const std::size_t rank = images.shape.rank();
    require((rank == 3 || rank == 4) && images.size() > 0, "glimpse: images of shape HxWxC or BxHxWxC expected, ",
            images.shape.to_string(), " came");
    require(regions.shape.rank() == 2 && regions.shape[1] == 3 && regions.shape[0] >= 1 &&
                (rank == 3 || regions.shape[0] == images.shape[0]),
            "glimpse: regions of shape Bx3, one for each image, expected, ", regions.shape.to_string(), " came");
    const std::size_t axis = rank - 3;
    extents_ = {images.shape[axis], images.shape[axis + 1], images.shape[axis + 2]};
    count_ = rank == 3 ? 1 : images.shape[0];
  }
  [[nodiscard]] const Extents<3>& extents() const noexcept { return extents_; }
  /// Different images.
  [[nodiscard]] Index count() const noexcept { return count_; }
  /// The image that region b looks at.
  [[nodiscard]] Index index(Index b) const noexcept { return count_ == 1 ? 0 : b; }
  [[nodiscard]] View<const T, 3> operator[](Index b) const noexcept {
    return {images_.value + index(b) * product(extents_), extents_};
  }
  [[nodiscard]] bool wants_gradient() const noexcept { return images_.gradient != nullptr; }
  [[nodiscard]] View<T, 3> gradient(Index b) const noexcept {
    return {images_.gradient + index(b) * product(extents_), extents_};
  }
  [[nodiscard]] Region<T> region(Index b) const noexcept {
    return {regions_.value[3 * b], regions_.value[3 * b + 1], regions_.value[3 * b + 2]};
  }
  /// Adds what `compute` returns, where the regions want it.
  template <class Compute>
  void add_region_gradient(Index b, Compute&& compute) const {
    if (regions_.gradient == nullptr) return;
    const Region<T> gradient = compute();
    regions_.gradient[3 * b] += gradient.s;
    regions_.gradient[3 * b + 1] += gradient.x;
    regions_.gradient[3 * b + 2] += gradient.y;
  }

 private:
  Var<T> images_;
  Var<T> regions_;
  Extents<3> extents_{};
  Index count_ = 1;
};

}  // namespace detail

/// Tells a source which regions glimpses of {h, w} = `window` will be read at, so that a file that can only be decoded from the
/// top is decoded once for all of them. Nothing to do for pixels in memory. Throws Error on unusable regions.
template <class Sampler, ImageSource S, class T>
void prepare(const Sampler& sampler, const S& image, std::span<const Region<T>> regions, Extents<2> window) {
  if constexpr (!ImageInMemory<S>) {
    std::array<LevelBox, 64> boxes{};
    while (!regions.empty()) {
      const std::size_t count = std::min(regions.size(), boxes.size() / 2);
      for (std::size_t i = 0; i < count; ++i) {
        const std::array<LevelBox, 2> levels = sampler.boxes(image, regions[i], window);
        boxes[2 * i] = levels[0];
        boxes[2 * i + 1] = levels[1];
      }
      fovea::prepare(image, std::span<const LevelBox>(boxes).first(2 * count));
      regions = regions.subspan(count);
    }
  }
}

}  // namespace glimpse
}  // namespace fovea::inline FOVEA_ABI
