// SPDX-License-Identifier: MIT
/// \file
/// RAM's retina: one centre seen at several scales, sharp in the middle and coarse around it (Mnih et al., Recurrent Models of
/// Visual Attention, NeurIPS 2014, section 3.1).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/glimpse/sampler.hpp>
#include <fovea/image/source.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/reshape.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace glimpse {

/// `scales` glimpses of one base sampler, the k-th at s factor^k, each of h x w, behind one another along the channels: of an
/// image of C channels [B, h, w, scales * C], the finest first. A network that follows asks glimpse::channels(sampler, C). The
/// base is best one with a filter (RAM averages pixels), which Antialiased has. Gradients of the regions are those of the base,
/// added. Copy freely.
template <class Base = Antialiased, int scales = 3>
struct Retina {
  static_assert(scales >= 1, "fovea::glimpse::Retina: at least one scale");
  Base base = {};
  double factor = 2;  ///< > 0

  [[nodiscard]] Index channels(Index image_channels) const noexcept { return scales * glimpse::channels(base, image_channels); }

  /// out {h, w, scales * C} = the glimpse of `image` at `region`. Throws Error on other channels, on a factor that is not
  /// positive, and where the base does.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const Region<T>& region, std::type_identity_t<View<T, 3>> out) const {
    const Index each = require_channels(image, out);
    prepare_scales(image, region, {out.extent(0), out.extent(1)});
    for (int k = 0; k < scales; ++k) base.sample(image, scaled(region, k), part(out, k, each));
  }
  /// d loss / d (s, x, y), from d_out = d loss / d out.
  template <ImageSource S, std::floating_point T>
    requires requires(const Base& b, View<const T, 3> d, const S& i, const Region<T>& r) { b.sample_backward(d, i, r); }
  [[nodiscard]] Region<T> sample_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image,
                                          const Region<T>& region) const {
    const Index each = require_channels(image, d_out);
    Region<T> sum{0, 0, 0};
    for (int k = 0; k < scales; ++k) {
      const Region<T> g = base.sample_backward(part(d_out, k, each), image, scaled(region, k));
      sum.s += g.s * static_cast<T>(std::pow(factor, k));
      sum.x += g.x;
      sum.y += g.y;
    }
    return sum;
  }

  /// The boxes that a glimpse reads, for fovea::prepare: those of the base, scale by scale.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] auto boxes(const S& image, const Region<T>& region, Extents<2> window) const {
    constexpr std::size_t each = std::tuple_size_v<decltype(base.boxes(image, region, window))>;
    std::array<LevelBox, each* static_cast<std::size_t>(scales)> all{};
    auto to = all.begin();
    for (int k = 0; k < scales; ++k) {
      const auto boxes = base.boxes(image, scaled(region, k), window);
      to = std::copy(boxes.begin(), boxes.end(), to);
    }
    return all;
  }

  /// The op: `images` B sources of equal channels, `regions` [B, 3] as (s, x, y) -> glimpses [B, h, w, scales * C],
  /// `extent` = {h, w}. Records the gradient of the regions, where the base has one.
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> operator()(C& context, std::span<const Source> images, VarOf<C> regions, Extents<2> extent) const {
    using T = typename C::Scalar;
    detail::require_regions(context, images, regions);
    for (std::size_t b = 0; b < images.size(); ++b) {
      const T* r = regions.value + 3 * b;
      detail::require_usable(Region<T>{r[0], r[1], r[2]}, static_cast<Index>(b));
      prepare_scales(images[b], Region<T>{r[0], r[1], r[2]}, extent);
    }
    return all_scales(context, images, regions, extent);
  }
  /// The same for images that are Vars, where the base reads those: [H, W, C], one for all regions, or [B, H, W, C].
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> images, VarOf<C> regions, Extents<2> extent) const {
    return all_scales(context, images, regions, extent);
  }

 private:
  template <class T>
  [[nodiscard]] Region<T> scaled(const Region<T>& region, int k) const {
    require(factor > 0 && std::isfinite(factor), "retina: a factor > 0 expected, ", factor, " came");
    return {region.s * static_cast<T>(std::pow(factor, k)), region.x, region.y};
  }
  /// Channels of one scale.
  template <ImageSource S, class T>
  [[nodiscard]] Index require_channels(const S& image, const View<T, 3>& out) const {
    const Index each = glimpse::channels(base, image.channels());
    require(out.extent(2) == scales * each, "retina: ", scales * each, " channels expected, ", scales,
            " for each of the image's, ", out.extent(2), " came");
    return each;
  }
  template <class T>
  [[nodiscard]] static View<T, 3> part(const View<T, 3>& out, int k, Index each) noexcept {
    return {out.data() + k * each * out.stride(2), {out.extent(0), out.extent(1), each}, out.strides()};
  }
  /// Told together, a file that can only be decoded from the top is decoded once.
  template <ImageSource S, class T>
  void prepare_scales(const S& image, const Region<T>& region, Extents<2> window) const {
    glimpse::prepare(*this, image, std::span<const Region<T>>(&region, 1), window);
  }
  /// regions [B, 3] with s times `by`.
  template <Context C>
  [[nodiscard]] static VarOf<C> zoomed(C& context, VarOf<C> regions, double by) {
    using T = typename C::Scalar;
    const VarOf<C> out = nn::output(context, regions.shape, regions);
    const auto factor = [by](Index i) { return i % 3 == 0 ? static_cast<T>(by) : T(1); };
    for (Index i = 0; i < out.size(); ++i) out.value[i] = factor(i) * regions.value[i];
    if (out.gradient) {
      context.record([=] {
        for (Index i = 0; i < out.size(); ++i) regions.gradient[i] += factor(i) * out.gradient[i];
      });
    }
    return out;
  }
  template <Context C, class Images>
  [[nodiscard]] VarOf<C> all_scales(C& context, const Images& images, VarOf<C> regions, Extents<2> extent) const {
    require(factor > 0 && std::isfinite(factor), "retina: a factor > 0 expected, ", factor, " came");
    std::array<VarOf<C>, static_cast<std::size_t>(scales)> parts;
    for (int k = 0; k < scales; ++k) {
      parts[static_cast<std::size_t>(k)] = base(context, images, zoomed(context, regions, std::pow(factor, k)), extent);
    }
    return [&]<std::size_t... k>(std::index_sequence<k...>) { return nn::concat(context, {parts[k]...}); }
    (std::make_index_sequence<static_cast<std::size_t>(scales)>{});
  }
};

}  // namespace glimpse
}  // namespace fovea::inline FOVEA_ABI
