// SPDX-License-Identifier: MIT
/// \file
/// An image that measures what looking at it takes.
#pragma once

#include <fovea/core/stopwatch.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/view.hpp>

#include <array>
#include <concepts>
#include <span>

namespace support {

/// Seconds spent in a source.
struct LookingTimes {
  double proxy = 0;     ///< proxy(): all of it, decoding and averaging
  double glimpses = 0;  ///< prepare() and read() besides: what gets pixels of glimpses out of a file
};

/// Any fovea::ImageSource, with a stopwatch. The source and the times must outlive it.
template <fovea::ImageSource S>
class TimedSource {
 public:
  using PixelType = fovea::PixelOf<S>;

  TimedSource(const S& source, LookingTimes& times) : source_(&source), times_(&times) {}

  [[nodiscard]] fovea::Extents<2> extent() const { return source_->extent(); }
  [[nodiscard]] fovea::Index channels() const { return source_->channels(); }
  [[nodiscard]] int levels() const { return source_->levels(); }
  [[nodiscard]] fovea::Extents<2> level_extent(int k) const { return source_->level_extent(k); }
  [[nodiscard]] std::array<double, 2> ratios(int k) const { return source_->ratios(k); }
  [[nodiscard]] double ratio(int k) const { return source_->ratio(k); }
  [[nodiscard]] fovea::Decoded decoded() const { return source_->decoded(); }

  [[nodiscard]] fovea::PixelWindow<PixelType> read(int k, const fovea::PixelBox& box) const {
    const Measured measured(times_->glimpses);
    return source_->read(k, box);
  }
  void prepare(std::span<const fovea::LevelBox> boxes) const {
    const Measured measured(times_->glimpses);
    fovea::prepare(*source_, boxes);
  }

  /// Found by its argument wherever a model makes a proxy, and preferred to fovea::proxy.
  template <std::floating_point T>
  friend void proxy(const TimedSource& image, fovea::View<T, 3> out) {
    const Measured measured(image.times_->proxy);
    fovea::proxy(*image.source_, out);
  }

 private:
  /// Adds the time that it lives.
  class Measured {
   public:
    explicit Measured(double& sum) : sum_(sum) {}
    Measured(const Measured&) = delete;
    Measured& operator=(const Measured&) = delete;
    ~Measured() { sum_ += watch_.seconds(); }

   private:
    double& sum_;
    fovea::Stopwatch watch_;
  };

  const S* source_;
  LookingTimes* times_;
};

}  // namespace support
