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
#include <fovea/nn/context.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <tuple>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace glimpse {

/// Where the samples of a glimpse of h x w lie: (i, j) at (x + (j - (w - 1) / 2) dx, y + (i - (h - 1) / 2) dy), in the
/// coordinates of a Region. What every sampler makes of a region; a larger window of the same lattice is the same glimpse with
/// a margin.
struct Lattice {
  double x = 0;
  double y = 0;
  double dx = 0;
  double dy = 0;
};

/// Channels of a sampler's glimpses of an image of `channels`.
template <class Sampler>
[[nodiscard]] Index channels(const Sampler& sampler, Index channels) noexcept {
  if constexpr (requires { sampler.channels(channels); }) {
    return sampler.channels(channels);
  } else {
    return channels;
  }
}

/// Which levels a glimpse is read from: (1 - weight) * level + weight * (level + 1).
struct LevelMix {
  int level = 0;
  double weight = 0;
  double slope = 0;  ///< d weight / d log(spacing); 0 where the spacing is beyond what is stored
};

/// The levels whose pixels are as large as `spacing` pixels of the full image (on the axis where they are larger).
template <ImageSource S>
[[nodiscard]] LevelMix choose_levels(const S& image, double spacing) noexcept {
  const int last = image.levels() - 1;
  if (!(spacing > image.ratio(0))) return {0, 0, 0};
  int level = 0;
  while (level < last && image.ratio(level + 1) <= spacing) ++level;
  if (level == last) return {last, 0, 0};
  const double fine = image.ratio(level);
  const double whole = std::log(image.ratio(level + 1) / fine);
  if (!(whole > 0)) return {level, 0, 0};
  return {level, std::log(spacing / fine) / whole, 1 / whole};
}

namespace traced {
/// Glimpses of images at regions [B, 3].
template <class Sampler, class Source>
struct Glimpse {
  const Sampler& sampler;
  std::span<const Source> images;
};
}  // namespace traced

namespace detail {

/// A sampler whose glimpses have a derivative in the region.
template <class Sampler, class Source, class T>
concept Differentiable = requires(const Sampler& sampler, const Source& image, View<const T, 3> d_out, const Region<T>& region,
                                  T* kept) {
  sampler.slopes_backward(d_out, image, region, kept);
};

/// What neighbours of `count` samples of [-1, 1] lie apart, by affine_grid's rule.
[[nodiscard]] inline double sample_step(Index count, bool align_corners) noexcept {
  return 2 / static_cast<double>(align_corners && count > 1 ? count - 1 : count);
}

/// One axis of a lattice in pixels of a source, by affine_grid's rule: coordinate u of the image is pixel scale * u + shift.
/// `pixels`: what the image is long in pixels of the source, not necessarily whole.
struct AxisMap {
  double scale, shift;
  double middle;  ///< of the samples

  AxisMap(double pixels, Index count, bool align_corners) noexcept
      : scale(align_corners ? (pixels - 1) / 2 : pixels / 2),
        shift(align_corners ? scale : scale - 0.5),
        middle(static_cast<double>(count - 1) / 2) {}
  [[nodiscard]] kernel::SampleAxis axis(double centre, double pitch) const noexcept {
    return {scale * (centre - middle * pitch) + shift, scale * pitch};
  }
};

/// The axes of a lattice in one level.
struct LevelAxes {
  AxisMap row_map;
  AxisMap column_map;
  kernel::SampleAxis rows;
  kernel::SampleAxis columns;
};
template <ImageSource S>
[[nodiscard]] LevelAxes level_axes(const S& image, int level, Extents<2> window, const Lattice& at,
                                   bool align_corners) noexcept {
  const std::array<double, 2> ratios = image.ratios(level);
  const AxisMap rows(static_cast<double>(image.extent()[0]) / ratios[0], window[0], align_corners);
  const AxisMap columns(static_cast<double>(image.extent()[1]) / ratios[1], window[1], align_corners);
  return {rows, columns, rows.axis(at.y, at.dy), columns.axis(at.x, at.dx)};
}

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

/// The lattice of a region. Throws Error on one that is not usable.
template <class T>
[[nodiscard]] Lattice lattice_of(Aspect aspect, bool align_corners, Extents<2> image, Extents<2> window,
                                 const Region<T>& region) {
  require_usable(region);
  const std::array<double, 2> unit = unit_half_extents(aspect, image, window);
  const auto s = static_cast<double>(region.s);
  return {static_cast<double>(region.x), static_cast<double>(region.y), s * unit[0] * sample_step(window[1], align_corners),
          s * unit[1] * sample_step(window[0], align_corners)};
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

/// sum += a read's gradient, its axes from pixels to units of the lattice.
inline void add_gradient(kernel::ResampleGradient& sum, const kernel::ResampleGradient& g, double row_scale,
                         double column_scale, double dot_scale) noexcept {
  sum.rows.origin += row_scale * g.rows.origin;
  sum.rows.step += row_scale * g.rows.step;
  sum.columns.origin += column_scale * g.columns.origin;
  sum.columns.step += column_scale * g.columns.step;
  sum.dot += dot_scale * g.dot;
}

/// d loss / d (s, x, y) from the gradient in units of the lattice, whose pitch is proportional to s; `dot` is what s does
/// besides.
template <class T>
[[nodiscard]] Region<T> region_gradient(const kernel::ResampleGradient& g, const Lattice& at, Extents<2> window, T s) noexcept {
  const auto spread = [](kernel::SampleAxis axis, Index count) {
    return axis.step - static_cast<double>(count - 1) / 2 * axis.origin;
  };
  const double zoom = at.dx * spread(g.columns, window[1]) + at.dy * spread(g.rows, window[0]);
  return {static_cast<T>(zoom / static_cast<double>(s) + g.dot), static_cast<T>(g.columns.origin),
          static_cast<T>(g.rows.origin)};
}

/// A glimpse's place: K numbers.
template <class T, std::size_t K>
using Place = std::array<T, K>;
template <class T, std::size_t K>
[[nodiscard]] Region<T> region_of(const Place<T, K>& place) noexcept {
  static_assert(K >= 3);
  return {place[0], place[1], place[2]};
}

/// What the ops share: reads each of B images at its K numbers of `places` [B, K] into a glimpse of `extent` x `channels`.
/// read(image, b, place, out, kept): `kept` has `keep` elements for the backward call, and is null where none is wanted.
/// back(d_out, image, place, kept) -> Place: the gradient. Records it, where `places` wants one.
template <std::size_t K, Context C, ImageSource Source, class Read, class Back>
VarOf<C> read_op(C& context, std::span<const Source> images, VarOf<C> places, Extents<2> extent, Index channels, Index keep,
                 Read read, Back back) {
  using T = typename C::Scalar;
  const auto batch = static_cast<Index>(images.size());
  const Index stored = images[0].channels();
  const VarOf<C> out = nn::output(context, Shape{batch, extent[0], extent[1], channels}, places);
  T* kept = out.gradient ? context.scratch(batch * keep) : nullptr;
  const auto place = [places](Index b) {
    Place<T, K> values{};
    std::copy_n(places.value + b * static_cast<Index>(K), K, values.begin());
    return values;
  };
  for (Index b = 0; b < batch; ++b) {
    const Source& image = images[static_cast<std::size_t>(b)];
    require(image.channels() == stored, "glimpse: sample ", b, ": ", stored, " channels expected, the image has ",
            image.channels());
    read(image, b, place(b), out.template mutable_values<4>()[b], kept ? kept + b * keep : nullptr);
  }
  if (out.gradient) {
    context.record([=] {
      for (Index b = 0; b < batch; ++b) {
        const View<const T, 4> d_out = out.template gradients<4>();
        const Place<T, K> g = back(d_out[b], images[static_cast<std::size_t>(b)], place(b), kept + b * keep);
        for (std::size_t k = 0; k < K; ++k) places.gradient[b * static_cast<Index>(K) + static_cast<Index>(k)] += g[k];
      }
    });
  }
  return out;
}

/// Elements that a sampler keeps of a glimpse for its backward call.
template <class Sampler>
[[nodiscard]] Index kept_elements(const Sampler& sampler, const Extents<3>& glimpse) noexcept {
  if constexpr (requires { sampler.kept_elements(glimpse); }) {
    return sampler.kept_elements(glimpse);
  } else {
    return kSlopePlanes * product(glimpse);
  }
}

template <Context C, ImageSource Source>
void require_regions(C& /*context*/, std::span<const Source> images, const VarOf<C>& regions) {
  const auto batch = static_cast<Index>(images.size());
  require(batch >= 1, "glimpse: at least one image expected");
  require(regions.shape == Shape{batch, 3}, "glimpse: regions of shape ", Shape{batch, 3}.to_string(), " expected, ",
          regions.shape.to_string(), " came");
}

/// The op of every sampler: regions [B, 3] (s, x, y) of B images to glimpses [B, h, w, C]; records the backward, where the
/// sampler has one.
template <Context C, ImageSource Source, class Sampler>
VarOf<C> sample_op(C& context, const Sampler& sampler, std::span<const Source> images, VarOf<C> regions, Extents<2> extent) {
  using T = typename C::Scalar;
  require_regions(context, images, regions);
  const Index channels = glimpse::channels(sampler, images[0].channels());
  const auto read = [sampler](const Source& image, Index b, const Place<T, 3>& place, View<T, 3> out, T* kept) {
    require_usable(region_of(place), b);
    if constexpr (Differentiable<Sampler, Source, T>) {
      if (kept != nullptr) return sampler.sample_with_slopes(image, region_of(place), out, kept);
    }
    sampler.sample(image, region_of(place), out);
  };
  if constexpr (Differentiable<Sampler, Source, T>) {
    const VarOf<C> out = read_op<3>(context, images, regions, extent, channels,
                                    kept_elements(sampler, Extents<3>{extent[0], extent[1], channels}), read,
                                    [sampler](View<const T, 3> d_out, const Source& image, const Place<T, 3>& place, T* kept) {
                                      const Region<T> g = sampler.slopes_backward(d_out, image, region_of(place), kept);
                                      return Place<T, 3>{g.s, g.x, g.y};
                                    });
    nn::trace(context, traced::Glimpse<Sampler, Source>{sampler, images}, out, regions);
    return out;
  } else {
    return read_op<3>(context, images, nn::detach(regions), extent, channels, 0, read,
                      [](View<const T, 3>, const Source&, const Place<T, 3>&, T*) { return Place<T, 3>{}; });
  }
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
    constexpr std::size_t each = std::tuple_size_v<decltype(sampler.boxes(image, regions[0], window))>;
    std::array<LevelBox, 32 * each> boxes{};
    while (!regions.empty()) {
      const std::size_t count = std::min(regions.size(), boxes.size() / each);
      for (std::size_t i = 0; i < count; ++i) {
        const auto levels = sampler.boxes(image, regions[i], window);
        std::copy(levels.begin(), levels.end(), boxes.begin() + static_cast<std::ptrdiff_t>(i * each));
      }
      fovea::prepare(image, std::span<const LevelBox>(boxes).first(each * count));
      regions = regions.subspan(count);
    }
  }
}

}  // namespace glimpse
}  // namespace fovea::inline FOVEA_ABI
