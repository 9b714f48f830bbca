// SPDX-License-Identifier: MIT
/// \file
/// What the models that choose patches of a grid share: where the patches of an image lie, and reading them.
///
/// A patch is h x w pixels of the original as they are stored (glimpse::Patch), whatever the size of the image, black beyond
/// the edge. As a Region its s is its longer side over the image's (more than 1 for a patch longer than the image): with
/// Aspect::isotropic, to_pixels() gives the patch.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/patch.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/glimpse/sampler.hpp>
#include <fovea/image/source.hpp>
#include <fovea/model/model.hpp>
#include <fovea/model/task.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/sample/grid.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <span>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// Patches of one image in rows and columns; cell row * columns + column.
class PatchGrid {
 public:
  /// A patch around the centre of each of the cells that tile the image: they overlap, or leave gaps, as it comes.
  /// `patch`, `image`: {height, width} in pixels, at least 1x1.
  [[nodiscard]] static PatchGrid around(const sample::Grid& cells, Extents<2> patch, Extents<2> image) noexcept {
    return {cells, patch, image, {1 - cells.half_height(), 1 - cells.half_width()}};
  }
  /// The fewest patches that cover the image: the outermost lie along its edges, and those between at equal distances, so that
  /// they overlap a little where the patch does not divide the image. A patch longer than the image is in its middle.
  [[nodiscard]] static PatchGrid covering(Extents<2> patch, Extents<2> image) noexcept {
    const auto count = [&](std::size_t axis) { return (image[axis] + patch[axis] - 1) / patch[axis]; };
    const auto reach = [&](std::size_t axis) {
      return std::max(0.0, 1 - static_cast<double>(patch[axis]) / static_cast<double>(image[axis]));
    };
    return {{count(0), count(1)}, patch, image, {reach(0), reach(1)}};
  }

  [[nodiscard]] Index rows() const noexcept { return grid_.rows; }
  [[nodiscard]] Index columns() const noexcept { return grid_.columns; }
  [[nodiscard]] Index cells() const noexcept { return grid_.cells(); }
  /// Where the patch of a cell lies.
  [[nodiscard]] glimpse::Region<double> operator[](Index cell) const noexcept {
    const auto along = [](Index i, Index count, double reach) {
      return count > 1 ? reach * (static_cast<double>(2 * i) / static_cast<double>(count - 1) - 1) : 0.0;
    };
    return {s_, along(cell % grid_.columns, grid_.columns, reach_[1]), along(cell / grid_.columns, grid_.rows, reach_[0])};
  }

 private:
  PatchGrid(const sample::Grid& grid, Extents<2> patch, Extents<2> image, std::array<double, 2> reach) noexcept
      : grid_(grid),
        reach_(reach),
        s_(static_cast<double>(std::max(patch[0], patch[1])) / static_cast<double>(std::max(image[0], image[1]))) {}

  sample::Grid grid_;
  std::array<double, 2> reach_;  ///< {y, x} of the last row and column; the first are at minus that
  double s_;
};

/// What came of the patches that were chosen.
template <class T>
struct PatchAnswer {
  Var<T> logits;                                    ///< [B, K]
  std::span<const glimpse::Region<float>> regions;  ///< the patches looked at, those of one image after those of the other
};

/// The patches of `image` at `regions` into `out` [n, h, w, C], pixels in [0, 1]. Throws Error on other channels.
template <ImageSource Source, std::floating_point T>
void read_patches(const Source& image, std::span<const glimpse::Region<double>> regions, View<T, 4> out) {
  FOVEA_ASSERT(static_cast<Index>(regions.size()) == out.extent(0));
  constexpr glimpse::Patch sampler{.level = 0};
  const Extents<2> patch{out.extent(1), out.extent(2)};
  glimpse::prepare(sampler, image, regions, patch);
  for (Index i = 0; i < out.extent(0); ++i) {
    // By the lattice: in float, a place in an image of 10^7 pixels would be off by one.
    sampler.sample(image, sampler.lattice(image, regions[static_cast<std::size_t>(i)], patch), out[i]);
  }
}

namespace detail {

/// The options that these models share. Throws Error on what makes no sense.
template <class Options>
void require_patch_options(const char* model, const Options& o) {
  const Index least = o.question.task == Task::one_class ? 2 : 1;
  require(o.classes >= least, model, ": at least ", least, " classes expected, ", o.classes, " came");
  require(o.channels >= 1, model, ": at least 1 channel expected, ", o.channels, " came");
  require(std::min({o.proxy[0], o.proxy[1], o.patch[0], o.patch[1]}) >= 1, model,
          ": a proxy and a patch of at least 1x1 expected, ", o.proxy[0], "x", o.proxy[1], " and ", o.patch[0], "x", o.patch[1],
          " came");
  require(o.patches >= 1, model, ": at least 1 patch expected, ", o.patches, " came");
  o.question.check(o.classes);
}

/// Images of the model's channels, at least one. Throws Error otherwise.
template <ImageSource Source>
void require_patch_images(const char* model, std::span<const Source> images, Index channels) {
  require(!images.empty(), model, ": at least one image expected");
  for (std::size_t b = 0; b < images.size(); ++b) {
    require(images[b].channels() == channels, model, ": sample ", b, ": ", channels, " channels expected, the image has ",
            images[b].channels());
  }
}

/// Proxies for as many images. Throws Error otherwise.
template <class T, class Options>
void require_patch_proxies(const char* model, const Var<T>& proxies, std::size_t images, const Options& o) {
  nn::detail::require_shape(model, "proxies", proxies, Shape{static_cast<Index>(images), o.proxy[0], o.proxy[1], o.channels});
}

/// The regions of `count` patches per image, in memory of the context, and how they are shown: what a choice of cells becomes.
/// cells(b, j): of image b, the j-th cell.
template <class T>
struct ChosenPatches {
  Var<T> pixels;                                    ///< [B count, h, w, C]
  std::span<const glimpse::Region<float>> regions;  ///< B count
};
template <Context C, ImageSource Source, class Cells>
[[nodiscard]] ChosenPatches<typename C::Scalar> read_chosen(C& context, std::span<const Source> images,
                                                            const sample::Grid& grid, Extents<2> patch, Index count,
                                                            Cells cells) {
  const auto batch = static_cast<Index>(images.size());
  const VarOf<C> pixels = context.constant(Shape{batch * count, patch[0], patch[1], images[0].channels()});
  auto* exact = context.template scratch<glimpse::Region<double>>(count);
  auto* shown = context.template scratch<glimpse::Region<float>>(batch * count);
  for (Index b = 0; b < batch; ++b) {
    const Source& image = images[static_cast<std::size_t>(b)];
    const PatchGrid places = PatchGrid::around(grid, patch, image.extent());
    for (Index j = 0; j < count; ++j) {
      const glimpse::Region<double> r = exact[j] = places[cells(b, j)];
      shown[b * count + j] = {static_cast<float>(r.s), static_cast<float>(r.x), static_cast<float>(r.y)};
    }
    read_patches(image, std::span<const glimpse::Region<double>>(exact, static_cast<std::size_t>(count)),
                 pixels.template mutable_values<4>().slice(b * count, count));
  }
  return {pixels, {shown, static_cast<std::size_t>(batch * count)}};
}

}  // namespace detail
}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
