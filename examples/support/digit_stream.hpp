// SPDX-License-Identifier: MIT
/// \file
/// Cluttered digits as an endless data set for train::fit: made on the spot, magnified, with their proxies.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/cluttered_digits.hpp>
#include <fovea/data/idx.hpp>
#include <fovea/image/magnified.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/model/model.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace support {

/// Some images with their proxies and labels. Allocates nothing when it is filled again.
class DigitShard {
 public:
  DigitShard(fovea::Index capacity, fovea::Index canvas, fovea::Extents<2> proxy)
      : images_(static_cast<std::size_t>(capacity)),
        canvases_({capacity, canvas, canvas, 1}),
        proxies_({capacity, proxy[0], proxy[1], 1}),
        labels_(static_cast<std::size_t>(capacity)) {}

  /// Samples [first, first + count) of the endless sequence.
  void fill(const fovea::data::ClutteredDigits& digits, const fovea::Magnifier& magnifier, std::uint64_t first,
            fovea::Index count) {
    count_ = count;
    for (fovea::Index i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto canvas = canvases_.view()[i];
      labels_[at] = digits.generate(first + static_cast<std::uint64_t>(i), canvas).label;
      images_[at].assign(magnifier, canvas, scratch_);
      fovea::proxy(images_[at], proxies_.view()[i]);
    }
  }

  [[nodiscard]] std::span<const fovea::MagnifiedImage> images() const {
    return {images_.data(), static_cast<std::size_t>(count_)};
  }
  [[nodiscard]] std::span<const std::int32_t> labels() const { return {labels_.data(), static_cast<std::size_t>(count_)}; }
  template <class C>
  [[nodiscard]] fovea::VarOf<C> proxies(C& context) const {
    return context.constant(proxies_.data(), fovea::Shape{count_, proxies_.extent(1), proxies_.extent(2), 1});
  }
  template <class C>
  [[nodiscard]] fovea::model::Minibatch<float, fovea::MagnifiedImage> minibatch(C& context) const {
    return {proxies(context), images(), labels()};
  }
  /// The canvases that the images are made of, in [0, 1].
  template <class C>
  [[nodiscard]] fovea::VarOf<C> canvases(C& context) const {
    const fovea::VarOf<C> x =
        context.constant(fovea::Shape{count_, canvases_.extent(1), canvases_.extent(2), canvases_.extent(3)});
    for (fovea::Index i = 0; i < x.size(); ++i) x.value[i] = static_cast<float>(canvases_.data()[i]) / 255.0F;
    return x;
  }

 private:
  fovea::Index count_ = 0;
  std::vector<fovea::MagnifiedImage> images_;
  fovea::Tensor<std::uint8_t, 4> canvases_;
  fovea::Tensor<float, 4> proxies_;
  std::vector<std::int32_t> labels_;
  fovea::Arena scratch_;
};

/// A train::DataSet. `digits` and `magnifier` must outlive it.
class DigitStream {
 public:
  using Shard = DigitShard;

  DigitStream(const fovea::data::ClutteredDigits& digits, const fovea::Magnifier& magnifier, fovea::Index canvas,
              fovea::Extents<2> proxy, std::int64_t epoch)
      : digits_(digits), magnifier_(magnifier), canvas_(canvas), proxy_(proxy), epoch_(epoch) {}

  [[nodiscard]] Shard make_shard(fovea::Index capacity) const { return {capacity, canvas_, proxy_}; }
  void load(Shard& shard, std::uint64_t first, fovea::Index count) const { shard.fill(digits_, magnifier_, first, count); }
  /// As many as there are handwritten digits: no two images are the same.
  [[nodiscard]] std::int64_t epoch() const { return epoch_; }

 private:
  const fovea::data::ClutteredDigits& digits_;
  const fovea::Magnifier& magnifier_;
  fovea::Index canvas_;
  fovea::Extents<2> proxy_;
  std::int64_t epoch_;
};

}  // namespace support
