// SPDX-License-Identifier: MIT
/// \file
/// A small canvas seen as a large image.
///
/// The large image is the canvas enlarged by bilinear interpolation (torch's align_corners = false: pixel (i + 1/2) h / H - 1/2
/// of the canvas, the border repeated), as in the experiments of Variational Saccading (100x100 seen as 2528x2528).
/// Interpolation and the averages of a pyramid are both linear and separable, so the lower levels come straight from the canvas
/// by two thin matrices; nobody ever makes the 6.4 million pixels, unless with `materialise`, to compare.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/view.hpp>
#include <fovea/kernel/area.hpp>
#include <fovea/kernel/bytes.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {

/// What magnifying canvases of one size to images of one size needs; immutable, shared by all of them and by all threads.
class Magnifier {
 public:
  /// `canvas`, `image`: {height, width}, at least 1 each; the image at least as large as the canvas. The finest level stored
  /// has a pixel for 2^first_level x 2^first_level of the image; levels follow until the longer side is at most `smallest`.
  Magnifier(Extents<2> canvas, Extents<2> image, Index channels = 1, int first_level = 4, Index smallest = 16)
      : canvas_(canvas), image_(image), channels_(channels), first_level_(first_level) {
    require(canvas[0] >= 1 && canvas[1] >= 1 && channels >= 1, "Magnifier: a canvas of at least 1x1x1 expected, ", canvas[0],
            "x", canvas[1], "x", channels, " came");
    require(image[0] >= canvas[0] && image[1] >= canvas[1], "Magnifier: an image no smaller than the canvas expected, ",
            canvas[0], "x", canvas[1], " to ", image[0], "x", image[1], " came");
    require(first_level >= 0 && first_level < PyramidView<std::uint8_t>::max_levels && smallest >= 1,
            "Magnifier: a first level of 0 to 23 and a smallest side of at least 1 expected, ", first_level, " and ", smallest,
            " came");
    const Index side = Index{1} << first_level;
    extents_.push_back({(image[0] + side - 1) / side, (image[1] + side - 1) / side});
    while (std::max(extents_.back()[0], extents_.back()[1]) > smallest) {
      extents_.push_back({(extents_.back()[0] + 1) / 2, (extents_.back()[1] + 1) / 2});
    }
    for (const Extents<2>& extent : extents_) pixels_ += round_up(product(extent) * channels);
    rows_ = Band(canvas[0], image[0], side, extents_[0][0]);
    columns_ = Band(canvas[1], image[1], side, extents_[0][1]);
    // The columns once more, flattened over channels, for the gathers.
    padded_ = round_up(extents_[0][1] * channels);
    first_ = Tensor<std::int32_t, 1>({padded_});
    weights_ = Tensor<float, 1>({padded_ * columns_.taps});
    for (Index j = 0; j < extents_[0][1]; ++j) {
      for (Index c = 0; c < channels; ++c) {
        first_(j * channels + c) = static_cast<std::int32_t>(4 * (columns_.first[static_cast<std::size_t>(j)] * channels + c));
        for (Index k = 0; k < columns_.taps; ++k) {
          weights_(k * padded_ + j * channels + c) = columns_.weights[static_cast<std::size_t>(k * extents_[0][1] + j)];
        }
      }
    }
  }

  [[nodiscard]] Extents<2> canvas() const noexcept { return canvas_; }
  /// {height, width} of the large image.
  [[nodiscard]] Extents<2> extent() const noexcept { return image_; }
  [[nodiscard]] Index channels() const noexcept { return channels_; }

  /// The whole large image, rounded to nearest; `out` {height, width, channels} with dense rows.
  void materialise(View<const std::uint8_t, 3> canvas, View<std::uint8_t, 3> out, Arena& scratch) const {
    require_canvas(canvas);
    require(out.extents() == Extents<3>{image_[0], image_[1], channels_} && out.stride(2) == 1 && out.stride(1) == channels_,
            "Magnifier: an image of ", image_[0], "x", image_[1], "x", channels_, " with dense rows expected");
    const ArenaScope scope(scratch);
    const Index row = image_[1] * channels_;
    const Index padded = round_up(row);
    auto* first = scratch.allocate<std::int32_t>(padded);
    float* weights = scratch.allocate_zeroed<float>(2 * padded);
    std::fill_n(first, padded, 0);
    for (Index x = 0; x < image_[1]; ++x) {
      Point at = interpolate(x, canvas_[1], image_[1]);
      if (at.index == canvas_[1] - 1 && canvas_[1] > 1) at = {at.index - 1, 1};
      for (Index c = 0; c < channels_; ++c) {
        first[x * channels_ + c] = static_cast<std::int32_t>(4 * (at.index * channels_ + c));
        weights[x * channels_ + c] = static_cast<float>(1 - at.fraction);
        weights[padded + x * channels_ + c] = static_cast<float>(at.fraction);
      }
    }
    float* narrow = scratch.allocate_zeroed<float>((canvas_[1] + 1) * channels_);
    const std::array<float*, 2> wide{scratch.allocate<float>(padded), scratch.allocate<float>(padded)};
    std::array<Index, 2> holds{-1, -1};
    const auto stretch = [&](Index y) -> const float* {  // canvas row y at the image's width
      const auto slot = static_cast<std::size_t>(y % 2);
      if (holds[slot] != y) {
        copy_row(canvas, y, narrow);
        kernel::band_row(narrow, first, weights, 2, channels_, padded, wide[slot]);
        holds[slot] = y;
      }
      return wide[slot];
    };
    for (Index y = 0; y < image_[0]; ++y) {
      const Point at = interpolate(y, canvas_[0], image_[0]);
      const float* upper = stretch(at.index);
      const float* lower = stretch(std::min(at.index + 1, canvas_[0] - 1));
      kernel::mix_rows(upper, lower, static_cast<float>(at.fraction), row, out.data() + y * out.stride(0));
    }
  }

 private:
  friend class MagnifiedImage;

  struct Point {
    Index index;
    double fraction;
  };
  /// Where pixel `at` of the large image lies on the canvas.
  static Point interpolate(Index at, Index canvas, Index image) noexcept {
    const double where =
        std::clamp((static_cast<double>(at) + 0.5) * static_cast<double>(canvas) / static_cast<double>(image) - 0.5, 0.0,
                   static_cast<double>(canvas - 1));
    const auto index = static_cast<Index>(where);
    return {index, where - static_cast<double>(index)};
  }

  /// A row of the canvas as dense floats.
  static void copy_row(const View<const std::uint8_t, 3>& canvas, Index y, float* to) noexcept {
    const std::uint8_t* p = canvas.data() + y * canvas.stride(0);
    if (canvas.stride(2) == 1 && canvas.stride(1) == canvas.extent(2)) {
      simd::for_each_batch<float>(canvas.extent(1) * canvas.extent(2), [&](auto at) { at.store(to, at.load_convert(p)); });
      return;
    }
    for (Index x = 0; x < canvas.extent(1); ++x) {
      for (Index c = 0; c < canvas.extent(2); ++c) *to++ = static_cast<float>(p[x * canvas.stride(1) + c * canvas.stride(2)]);
    }
  }

  /// The finest level's axis as a banded matrix times the canvas's: row k is `taps` weights from pixel first[k] on. The weights
  /// of a row sum to 1, or to less for the last, which reaches beyond the image: its average is the sum times last_scale.
  struct Band {
    Index taps = 0;
    std::vector<Index> first;
    std::vector<float> weights;  ///< [taps][rows]

    Band() = default;
    Band(Index canvas, Index image, Index side, Index rows) {
      std::vector<double> dense(static_cast<std::size_t>(rows * canvas));
      const auto at = [&](Index row, Index x) -> double& { return dense[static_cast<std::size_t>(row * canvas + x)]; };
      std::vector<Index> begin(static_cast<std::size_t>(rows), canvas);
      for (Index i = 0; i < image; ++i) {
        const Point point = interpolate(i, canvas, image);
        const Index row = i / side;
        auto& start = begin[static_cast<std::size_t>(row)];
        start = std::min(start, point.index);
        at(row, point.index) += (1 - point.fraction) / static_cast<double>(side);
        if (point.fraction > 0) at(row, point.index + 1) += point.fraction / static_cast<double>(side);
        taps = std::max(taps, point.index + (point.fraction > 0 ? 2 : 1) - start);
      }
      first.resize(static_cast<std::size_t>(rows));
      weights.resize(static_cast<std::size_t>(rows * taps));
      for (Index row = 0; row < rows; ++row) {
        const Index start = std::min(begin[static_cast<std::size_t>(row)], canvas - taps);
        first[static_cast<std::size_t>(row)] = start;
        for (Index k = 0; k < taps; ++k) {
          weights[static_cast<std::size_t>(k * rows + row)] = static_cast<float>(at(row, start + k));
        }
      }
    }
  };

  static constexpr Index round_up(Index n) noexcept { return (n + 63) / 64 * 64; }
  void require_canvas(const View<const std::uint8_t, 3>& canvas) const {
    require(canvas.extents() == Extents<3>{canvas_[0], canvas_[1], channels_}, "Magnifier: a canvas of ", canvas_[0], "x",
            canvas_[1], "x", channels_, " expected, ", canvas.extent(0), "x", canvas.extent(1), "x", canvas.extent(2), " came");
  }

  Extents<2> canvas_;
  Extents<2> image_;
  Index channels_;
  int first_level_;
  std::vector<Extents<2>> extents_;
  Index pixels_ = 0;
  Band rows_;
  Band columns_;
  Index padded_ = 0;  ///< elements of a row of the finest level, up to a multiple of 64
  Tensor<std::int32_t, 1> first_;
  Tensor<float, 1> weights_;
};

/// The levels of a magnified canvas: an ImageSource of bytes, like a Pyramid of the large image without its finest levels, and
/// equal to it to 1/255 (that one averages rounded pixels). Holds a copy of nothing: the canvas may go.
class MagnifiedImage : public PyramidView<std::uint8_t> {
 public:
  MagnifiedImage() = default;
  MagnifiedImage(const Magnifier& magnifier, View<const std::uint8_t, 3> canvas, Arena& scratch) {
    assign(magnifier, canvas, scratch);
  }
  // The view points into the memory.
  MagnifiedImage(const MagnifiedImage&) = delete;
  MagnifiedImage& operator=(const MagnifiedImage&) = delete;
  MagnifiedImage(MagnifiedImage&&) = default;
  MagnifiedImage& operator=(MagnifiedImage&&) = default;
  ~MagnifiedImage() = default;

  /// `canvas` {height, width, channels} as the magnifier has them (Error otherwise). Allocates only the first time.
  void assign(const Magnifier& magnifier, View<const std::uint8_t, 3> canvas, Arena& scratch) {
    magnifier.require_canvas(canvas);
    const Index channels = magnifier.channels_;
    if (static_cast<Index>(pixels_.size()) < magnifier.pixels_) pixels_.resize(static_cast<std::size_t>(magnifier.pixels_));
    PyramidView<std::uint8_t> view(magnifier.image_, channels);
    const ArenaScope scope(scratch);

    // Along the rows of the canvas.
    const Index height = magnifier.extents_[0][0];
    const Index row = magnifier.extents_[0][1] * channels;
    const Index padded = magnifier.padded_;
    const Magnifier::Band& across = magnifier.columns_;
    float* narrow = scratch.allocate<float>(magnifier.canvas_[1] * channels);
    float* wide = scratch.allocate<float>(magnifier.canvas_[0] * padded);
    for (Index y = 0; y < magnifier.canvas_[0]; ++y) {
      Magnifier::copy_row(canvas, y, narrow);
      kernel::band_row(narrow, magnifier.first_.begin(), magnifier.weights_.begin(), across.taps, channels, padded,
                       wide + y * padded);
    }
    // Down its columns: the finest level.
    const Magnifier::Band& down = magnifier.rows_;
    float* sums = scratch.allocate<float>(height * row);
    for (Index i = 0; i < height; ++i) {
      const float* from = wide + down.first[static_cast<std::size_t>(i)] * padded;
      simd::for_each_batch<float>(row, [&](auto at) {
        simd::Batch<float> sum(0.0F);
        for (Index k = 0; k < down.taps; ++k) {
          const simd::Batch<float> weight(down.weights[static_cast<std::size_t>(k * height + i)]);
          sum = simd::fma(weight, at.load(from + k * padded), sum);
        }
        at.store(sums + i * row, sum);
      });
    }
    // The others by adding 2x2. What reaches beyond the image counts as black in the sums, and is made up for when a level is
    // stored.
    float* next = scratch.allocate<float>(((height + 1) / 2) * ((magnifier.extents_[0][1] + 1) / 2) * channels);
    Index at = 0;
    for (std::size_t level = 0; level < magnifier.extents_.size(); ++level) {
      const Extents<2> extent = magnifier.extents_[level];
      if (level > 0) {
        const Extents<2> above = magnifier.extents_[level - 1];
        const Index from = above[1] * channels;
        for (Index i = 0; i < extent[0]; ++i) {
          const float* upper = sums + 2 * i * from;
          kernel::add_blocks(upper, 2 * i + 1 < above[0] ? upper + from : nullptr, above[1], channels,
                             next + i * extent[1] * channels);
        }
        std::swap(sums, next);
      }
      const Index side = Index{1} << (magnifier.first_level_ + static_cast<int>(level));
      const double terms = std::pow(4.0, static_cast<double>(level));
      store(sums, extent, magnifier.image_, channels, side, terms, pixels_.data() + at);
      const auto ratio = static_cast<double>(side);
      view.push_back(ImageView<std::uint8_t>(pixels_.data() + at, {extent[0], extent[1], channels}), {ratio, ratio});
      at += Magnifier::round_up(product(extent) * channels);
    }
    PyramidView<std::uint8_t>::operator=(view);
  }

 private:
  /// out = sums / terms, the last row and column by less.
  static void store(const float* sums, Extents<2> extent, Extents<2> image, Index channels, Index side, double terms,
                    std::uint8_t* out) noexcept {
    const auto share = [side](Index pixels, Index count) {  // how much of the last pixel lies within
      return static_cast<double>(pixels - (count - 1) * side) / static_cast<double>(side);
    };
    const double last_row = 1 / share(image[0], extent[0]);
    const double last_column = 1 / share(image[1], extent[1]);
    const Index row = extent[1] * channels;
    for (Index i = 0; i < extent[0]; ++i) {
      const double scale = (i + 1 == extent[0] ? last_row : 1.0) / terms;
      const Index last = (i + 1) * row - channels;
      kernel::round_row(sums + i * row, row - channels, static_cast<float>(scale), out + i * row);
      kernel::round_row(sums + last, channels, static_cast<float>(scale * last_column), out + last);
    }
  }

  std::vector<std::uint8_t> pixels_;
};

}  // namespace fovea::inline FOVEA_ABI
