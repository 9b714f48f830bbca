// SPDX-License-Identifier: MIT
/// \file
/// A source by reference: to look at one image several times in a minibatch.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/view.hpp>

#include <array>
#include <span>

namespace fovea::inline FOVEA_ABI {

/// Whatever S is, without owning it; copies freely. The source must outlive it.
template <ImageSource S>
class SourceReference {
 public:
  using PixelType = PixelOf<S>;

  SourceReference(const S& source) : source_(&source) {}  // NOLINT(google-explicit-constructor): that is what it is for

  [[nodiscard]] Extents<2> extent() const { return source_->extent(); }
  [[nodiscard]] Index channels() const { return source_->channels(); }
  [[nodiscard]] int levels() const { return source_->levels(); }
  [[nodiscard]] Extents<2> level_extent(int k) const { return source_->level_extent(k); }
  [[nodiscard]] std::array<double, 2> ratios(int k) const { return source_->ratios(k); }
  [[nodiscard]] double ratio(int k) const { return source_->ratio(k); }
  [[nodiscard]] PixelWindow<PixelType> read(int k, const PixelBox& box) const { return source_->read(k, box); }
  [[nodiscard]] Decoded decoded() const { return source_->decoded(); }
  void prepare(std::span<const LevelBox> boxes) const { fovea::prepare(*source_, boxes); }

  /// Where all levels lie in memory.
  [[nodiscard]] const PyramidView<PixelType>& pyramid() const requires ImageInMemory<S> { return source_->pyramid(); }
  [[nodiscard]] const ImageView<PixelType>& level(int k) const requires ImageInMemory<S> { return source_->pyramid().level(k); }

 private:
  const S* source_;
};

}  // namespace fovea::inline FOVEA_ABI
