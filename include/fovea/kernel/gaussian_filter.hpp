// SPDX-License-Identifier: MIT
/// \file
/// A bank of Gaussian filters over an image, separable and normalised, and its derivatives (K. Gregor, I. Danihelka, A. Graves,
/// D. Rezende, D. Wierstra, DRAW, ICML 2015, equations 19 to 26).
///
/// Filter k of an axis weighs pixel a by F(a) = exp(-u^2 / 2) / Z, u = (a - centre) / deviation, Z the sum over all pixels:
///
///     dF/dcentre = F (u - <u>) / deviation        dF/dlog deviation = F (u^2 - <u^2>)        < >: the mean under F.
///
/// So value and derivatives are three sums a filter and axis, the means subtracted from the weights in double: at the end it
/// would be a difference of large sums. Filters end where a weight is below 1e-7 (float, 5.7 deviations) or 1e-12 (double, 7.5)
/// of the peak, which is within rounding, and leaves steps of that size as a centre moves. Weights come from a recurrence, two
/// products each. Z is the sum over the filter's pixels below a deviation of 2 pixels, and deviation sqrt(2 pi), which it is to
/// 1e-12, above.
///
/// Cost: h filters times their taps times the columns that all filters together cover, as fused operations along a row, then h
/// w times the taps of a column filter; three and five times that with slopes. Nothing allocates: the tables lie on the stack.
/// Accuracy: 1e-6 of the range of the pixels in float, 1e-12 in double (tests/kernel/gaussian_filter.cpp); derivatives in
/// pixels alike, over the deviation.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/resample.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// Filters of one axis, in pixels of the source; deviation in [0.1, 1e6].
struct GaussianAxis {
  SampleAxis centres;
  double deviation = 1;
};

struct GaussianOptions {
  Padding padding = Padding::zeros;  ///< beyond the image; reflection is about the outer edges
  bool inside = false;               ///< Z over the pixels of the image alone, as DRAW has it: `padding` plays no part
};

/// What value and slopes are multiplied by. The plane `mix` is mix * value + row_deviation * d value / d log of the rows'
/// deviation + column_deviation * the same of the columns'.
struct GaussianScales {
  double value = 1;
  double rows = 1;
  double columns = 1;
  double mix = 0;
  double row_deviation = 1;
  double column_deviation = 1;
};

namespace detail {

/// Where a filter ends, in deviations.
template <class T>
inline constexpr double kGaussianReach = sizeof(T) == 4 ? 5.7 : 7.5;

/// One filter: its taps [first, end), of which some may lie beyond the image, and the moments of its weights.
struct GaussianFilter {
  double centre = 0;
  double deviation = 1;
  double peak = 1;  ///< weight of the tap nearest to the centre
  Index first = 0;
  Index end = 0;
  double sum = 0;
  double mean = 0;    ///< of u
  double square = 0;  ///< of u^2

  [[nodiscard]] bool blank() const noexcept { return first >= end; }
  /// What a tap adds to the value, and times 1 / deviation to d value / d centre, and to d value / d log deviation.
  [[nodiscard]] std::array<double, 3> terms(double weight, double u) const noexcept {
    return {weight, weight * (u - mean), weight * (u * u - square)};
  }

  /// Calls body(a, weight, u) for all taps: upwards from the one nearest to the centre, then downwards.
  template <class Body>
  void for_each_tap(Body&& body) const {
    if (blank()) return;
    const Index middle = std::clamp(static_cast<Index>(std::lround(centre)), first, end - 1);
    const double off = static_cast<double>(middle) - centre;
    const double half = 0.5 / (deviation * deviation);
    const double inverse = 1 / deviation;
    const double change = std::exp(-2 * half);
    double weight = peak;
    double ratio = std::exp(-(2 * off + 1) * half);
    for (Index a = middle; a < end; ++a) {
      body(a, weight, (static_cast<double>(a) - centre) * inverse);
      weight *= ratio;
      ratio *= change;
    }
    ratio = std::exp((2 * off - 1) * half);
    weight = peak * ratio;
    for (Index a = middle - 1; a >= first; --a) {
      ratio *= change;
      body(a, weight, (static_cast<double>(a) - centre) * inverse);
      weight *= ratio;
    }
  }
};

template <class T>
[[nodiscard]] GaussianFilter gaussian_filter_at(const GaussianAxis& axis, Index k, Index extent,
                                                GaussianOptions options) noexcept {
  GaussianFilter f;
  f.deviation = axis.deviation;
  f.centre = axis.centres.origin + static_cast<double>(k) * axis.centres.step;
  const auto size = static_cast<double>(extent);
  const double reach = kGaussianReach<T> * axis.deviation;
  double radius = reach;
  if (options.inside) {
    // Further out the outermost pixel has all the weight.
    const double far = 40 * axis.deviation * axis.deviation + 1;
    f.centre = std::clamp(f.centre, -far, size + far);
    const double beyond = std::max({0.0, -f.centre, f.centre - (size - 1)});
    radius = std::sqrt(beyond * beyond + reach * reach);
  } else if (options.padding == Padding::reflection) {
    f.centre = std::fmod(f.centre, 2 * size);
  } else if (options.padding == Padding::border) {
    f.centre = std::clamp(f.centre, -(reach + 1), size + reach);
  } else if (!(f.centre + reach >= 0 && f.centre - reach <= size - 1)) {
    return f;
  }
  const auto nearest = static_cast<Index>(std::lround(f.centre));
  f.first = std::min(nearest, static_cast<Index>(std::ceil(f.centre - radius)));
  f.end = std::max(nearest, static_cast<Index>(std::floor(f.centre + radius))) + 1;
  const bool clipped = options.inside || options.padding == Padding::zeros;
  const auto clip = [&] {
    f.first = std::max(f.first, Index{0});
    f.end = std::min(f.end, extent);
  };
  if (options.inside) clip();
  const auto weigh_peak = [&] {
    const Index middle = std::clamp(nearest, f.first, f.end - 1);
    const double u = (static_cast<double>(middle) - f.centre) / f.deviation;
    f.peak = options.inside ? 1.0 : std::exp(-u * u / 2);
  };
  if (!options.inside && axis.deviation >= 2) {
    constexpr double root_of_2_pi = 2.5066282746310002;
    f.sum = axis.deviation * root_of_2_pi;
    f.square = 1;
  } else {
    weigh_peak();
    f.for_each_tap([&](Index, double weight, double u) {
      f.sum += weight;
      f.mean += weight * u;
      f.square += weight * u * u;
    });
    f.mean /= f.sum;
    f.square /= f.sum;
  }
  if (clipped) clip();
  if (!f.blank()) weigh_peak();
  return f;
}

/// The pixel that a tap reads.
[[nodiscard]] inline Index tap_pixel(Index a, Index extent, GaussianOptions options) noexcept {
  if (a >= 0 && a < extent) return a;
  if (options.padding == Padding::border) return std::clamp(a, Index{0}, extent - 1);
  const Index m = (a % (2 * extent) + 2 * extent) % (2 * extent);
  return m < extent ? m : 2 * extent - 1 - m;
}

}  // namespace detail

/// The pixels of one axis of `extent` that `count` filters read for results in T, {first, end}; at least one. A part of the
/// image that has them serves as the whole.
template <class T>
[[nodiscard]] std::array<Index, 2> gaussian_reach(const GaussianAxis& axis, Index count, Index extent,
                                                  GaussianOptions options) noexcept {
  const double end = axis.centres.origin + static_cast<double>(count - 1) * axis.centres.step;
  const double reach = detail::kGaussianReach<T> * axis.deviation;
  const auto size = static_cast<double>(extent);
  double low = std::min(axis.centres.origin, end);
  double high = std::max(axis.centres.origin, end);
  if (options.inside) {  // from outside no more is read than from the edge
    low = std::clamp(low, 0.0, size - 1);
    high = std::clamp(high, 0.0, size - 1);
  }
  low -= reach + 1;
  high += reach + 1;
  if (!options.inside && options.padding == Padding::reflection && (low < 0 || high > size)) {
    if (low >= -size && high <= size) {
      high = std::max(high, -low);
    } else if (low >= 0 && high <= 2 * size) {
      low = std::min(low, 2 * size - high);
    } else {
      low = 0;
      high = size;
    }
  }
  const auto first = static_cast<Index>(std::floor(std::clamp(low, 0.0, size - 1)));
  const auto last = static_cast<Index>(std::ceil(std::clamp(high, 0.0, size - 1)));
  return {first, std::min(extent, last + 1)};
}

namespace detail {

/// The bank, in pieces whose tables lie on the stack.
template <bool with_slopes, Pixel P, std::floating_point T>
class GaussianBank {
 public:
  GaussianBank(View<const P, 3> source, const GaussianAxis& rows, const GaussianAxis& columns, GaussianOptions options,
               View<T, 3> out, const ResampleSlopes<T>& slopes, const GaussianScales& scales) noexcept
      : source_(source),
        rows_(rows),
        columns_(columns),
        options_(options),
        out_(out),
        slopes_(slopes),
        scales_(scales),
        dense_(has_dense_rows(source)) {}

  void run() noexcept {
    const Index channels = out_.extent(2);
    const Index step = std::min(channels, kElements);
    for (first_channel_ = 0; first_channel_ < channels; first_channel_ += step) {
      channel_count_ = std::min(step, channels - first_channel_);
      for (Index j = 0; j < out_.extent(1); j += kFilters) filters(j, std::min(kFilters, out_.extent(1) - j));
    }
  }

 private:
  static constexpr std::size_t moments = with_slopes ? 3 : 1;
  static constexpr Index kElements = 512;  // of a piece of a source row
  static constexpr Index kColumns = 128;   // the columns in it
  static constexpr Index kFilters = 16;    // of the columns, at a time
  static constexpr Index kTaps = 128;      // of a filter of the rows, at a time
  template <Index n>
  using Table = std::array<T, static_cast<std::size_t>(n)>;
  struct Active {
    Index first, end;  // columns of the piece that a filter reads
  };

  /// Column filters [first, first + count).
  void filters(Index first, Index count) noexcept {
    Index low = source_.extent(1);
    Index high = 0;
    for (Index j = 0; j < count; ++j) {
      GaussianFilter& f = filter_[static_cast<std::size_t>(j)];
      f = gaussian_filter_at<T>(columns_, first + j, source_.extent(1), options_);
      if (f.blank()) continue;
      if (f.first >= 0 && f.end <= source_.extent(1)) {
        low = std::min(low, f.first);
        high = std::max(high, f.end);
      } else {
        for (Index a = f.first; a < f.end; ++a) {
          const Index pixel = tap_pixel(a, source_.extent(1), options_);
          low = std::min(low, pixel);
          high = std::max(high, pixel + 1);
        }
      }
    }
    // Some of the channels alone lie one behind the other in one column only.
    const Index width =
        channel_count_ < out_.extent(2) ? 1 : std::min(kColumns, std::max(Index{1}, kElements / channel_count_));
    for (first_column_ = low; first_column_ < high; first_column_ += width) {
      column_count_ = std::min(width, high - first_column_);
      weigh(count);
      for (Index i = 0; i < out_.extent(0); ++i) {
        const GaussianFilter row = gaussian_filter_at<T>(rows_, i, source_.extent(0), options_);
        if (row.blank()) continue;
        sum_rows(row);
        for (Index j = 0; j < count; ++j) sum_columns(row, i, first + j, j);
      }
    }
  }

  /// The weights of the column filters in this piece.
  void weigh(Index count) noexcept {
    for (Index j = 0; j < count; ++j) {
      const auto at = static_cast<std::size_t>(j);
      for (auto& table : weight_) std::fill_n(table[at].begin(), column_count_, T(0));
      Active& active = active_[at];
      active = {column_count_, 0};
      filter_[at].for_each_tap([&](Index a, double weight, double u) {
        const Index column = tap_pixel(a, source_.extent(1), options_) - first_column_;
        if (column < 0 || column >= column_count_) return;
        active = {std::min(active.first, column), std::max(active.end, column + 1)};
        const std::array<double, 3> terms = filter_[at].terms(weight, u);
        for (std::size_t m = 0; m < moments; ++m) weight_[m][at][static_cast<std::size_t>(column)] += static_cast<T>(terms[m]);
      });
    }
  }

  /// The piece filtered along the rows: for each of its elements the moments.
  void sum_rows(const GaussianFilter& row) noexcept {
    const Index elements = column_count_ * channel_count_;
    // Up to whole vectors, where the row goes on.
    const Index padded = (elements + simd::kWidth<T> - 1) / simd::kWidth<T> * simd::kWidth<T>;
    const Index room = (source_.extent(1) - first_column_) * source_.extent(2) - first_channel_;
    const Index count = std::min({padded, room, kElements});
    for (auto& sums : sum_) std::fill_n(sums.begin(), count, T(0));
    Index taps = 0;
    const auto add = [&] {
      if (dense_) {
        simd::for_each_batch<T>(count, [&](auto at) {
          std::array<simd::Batch<T>, moments> sums;
          for (std::size_t m = 0; m < moments; ++m) sums[m] = at.load(sum_[m].data());
          for (Index k = 0; k < taps; ++k) {
            const auto tap = static_cast<std::size_t>(k);
            const simd::Batch<T> pixels = at.load_convert(row_[tap]);
            for (std::size_t m = 0; m < moments; ++m) sums[m] = simd::fma(simd::Batch<T>(tap_[m][tap]), pixels, sums[m]);
          }
          for (std::size_t m = 0; m < moments; ++m) at.store(sum_[m].data(), sums[m]);
        });
      } else {
        for (Index e = 0; e < elements; ++e) {
          const Index offset = e / channel_count_ * source_.stride(1) + e % channel_count_ * source_.stride(2);
          for (Index k = 0; k < taps; ++k) {
            const auto tap = static_cast<std::size_t>(k);
            const T pixel = static_cast<T>(row_[tap][offset]);
            for (std::size_t m = 0; m < moments; ++m) sum_[m][static_cast<std::size_t>(e)] += tap_[m][tap] * pixel;
          }
        }
      }
      taps = 0;
    };
    const P* origin = source_.data() + first_column_ * source_.stride(1) + first_channel_ * source_.stride(2);
    row.for_each_tap([&](Index a, double weight, double u) {
      const auto tap = static_cast<std::size_t>(taps);
      row_[tap] = origin + tap_pixel(a, source_.extent(0), options_) * source_.stride(0);
      const std::array<double, 3> terms = row.terms(weight, u);
      for (std::size_t m = 0; m < moments; ++m) tap_[m][tap] = static_cast<T>(terms[m]);
      if (++taps == kTaps) add();
    });
    if (taps > 0) add();
    if (channel_count_ == 1) return;
    for (std::size_t m = 0; m < moments; ++m) {
      const T* from = sum_[m].data();
      for (Index b = 0; b < column_count_; ++b) {
        for (Index c = 0; c < channel_count_; ++c) planar_[m][static_cast<std::size_t>(c * column_count_ + b)] = *from++;
      }
    }
  }

  /// Adds what this piece gives to out(i, j), the filter being the `at`-th of its group.
  void sum_columns(const GaussianFilter& row, Index i, Index j, Index at) noexcept {
    using V = simd::Batch<T>;
    const auto index = static_cast<std::size_t>(at);
    const Active active = active_[index];
    if (active.first >= active.end) return;
    const GaussianFilter& column = filter_[index];
    const double norm = kPixelScale<P> / (row.sum * column.sum);
    for (Index c = 0; c < channel_count_; ++c) {
      const auto pixels = [&](std::size_t m) {
        return (channel_count_ == 1 ? sum_[m].data() : planar_[m].data() + c * column_count_) + active.first;
      };
      const auto weights = [&](std::size_t m) { return weight_[m][index].data() + active.first; };
      if constexpr (with_slopes) {
        std::array<V, 5> sums;
        sums.fill(V(T(0)));
        simd::for_each_batch<T>(active.end - active.first, [&](auto k) {
          const V weight = k.load(weights(0));
          const V pixel = k.load(pixels(0));
          sums[0] = simd::fma(weight, pixel, sums[0]);
          sums[1] = simd::fma(k.load(weights(1)), pixel, sums[1]);
          sums[2] = simd::fma(k.load(weights(2)), pixel, sums[2]);
          sums[3] = simd::fma(weight, k.load(pixels(1)), sums[3]);
          sums[4] = simd::fma(weight, k.load(pixels(2)), sums[4]);
        });
        std::array<double, 5> s{};
        for (std::size_t m = 0; m < s.size(); ++m) s[m] = norm * static_cast<double>(simd::reduce_add(sums[m]));
        const Index channel = first_channel_ + c;
        out_(i, j, channel) += static_cast<T>(scales_.value * s[0]);
        slopes_.columns(i, j, channel) += static_cast<T>(scales_.columns * s[1] / column.deviation);
        slopes_.rows(i, j, channel) += static_cast<T>(scales_.rows * s[3] / row.deviation);
        slopes_.mix(i, j, channel) +=
            static_cast<T>(scales_.mix * s[0] + scales_.column_deviation * s[2] + scales_.row_deviation * s[4]);
      } else {
        V sum(T(0));
        simd::for_each_batch<T>(active.end - active.first,
                                [&](auto k) { sum = simd::fma(k.load(weights(0)), k.load(pixels(0)), sum); });
        out_(i, j, first_channel_ + c) += static_cast<T>(scales_.value * norm * static_cast<double>(simd::reduce_add(sum)));
      }
    }
  }

  View<const P, 3> source_;
  GaussianAxis rows_;
  GaussianAxis columns_;
  GaussianOptions options_;
  View<T, 3> out_;
  ResampleSlopes<T> slopes_;
  GaussianScales scales_;
  bool dense_;
  Index first_channel_ = 0;
  Index channel_count_ = 0;
  Index first_column_ = 0;
  Index column_count_ = 0;
  std::array<GaussianFilter, static_cast<std::size_t>(kFilters)> filter_;
  std::array<Active, static_cast<std::size_t>(kFilters)> active_;
  std::array<const P*, static_cast<std::size_t>(kTaps)> row_;
  std::array<Table<kTaps>, moments> tap_;
  alignas(kAlignment) std::array<Table<kElements>, moments> sum_;
  alignas(kAlignment) std::array<Table<kElements>, moments> planar_;
  alignas(kAlignment) std::array<std::array<Table<kColumns>, static_cast<std::size_t>(kFilters)>, moments> weight_;
};

template <class T>
void clear(View<T, 3> view) noexcept {
  for (Index i = 0; i < view.extent(0); ++i) {
    for (Index j = 0; j < view.extent(1); ++j) {
      for (Index c = 0; c < view.extent(2); ++c) view(i, j, c) = T(0);
    }
  }
}

}  // namespace detail

/// out(i, j, c) = [out(i, j, c) +] scale * kPixelScale * the source seen through row filter i and column filter j. `source`
/// {H, W, C}, at least 1x1; `out` {h, w, C}, any strides. `accumulate`: add to what is there.
template <class P, std::floating_point T>
  requires Pixel<std::remove_const_t<P>>
void gaussian_filter(View<P, 3> source, const GaussianAxis& rows, const GaussianAxis& columns, GaussianOptions options,
                     View<T, 3> out, double scale = 1, bool accumulate = false) noexcept {
  FOVEA_ASSERT(source.extent(0) >= 1 && source.extent(1) >= 1 && source.extent(2) == out.extent(2));
  if (!accumulate) detail::clear(out);
  detail::GaussianBank<false, std::remove_const_t<P>, T>(source, rows, columns, options, out, {}, {.value = scale}).run();
}

/// The same, and the derivatives in the centres and deviations, all three planes given; the gradient follows by
/// kernel::resample_backward.
template <class P, std::floating_point T>
  requires Pixel<std::remove_const_t<P>>
void gaussian_filter_with_slopes(View<P, 3> source, const GaussianAxis& rows, const GaussianAxis& columns,
                                 GaussianOptions options, View<T, 3> out, const ResampleSlopes<std::type_identity_t<T>>& slopes,
                                 const GaussianScales& scales = {}, bool accumulate = false) noexcept {
  FOVEA_ASSERT(source.extent(0) >= 1 && source.extent(1) >= 1 && source.extent(2) == out.extent(2));
  if (!accumulate) {
    for (const View<T, 3>& view : {out, slopes.rows, slopes.columns, slopes.mix}) detail::clear(view);
  }
  detail::GaussianBank<true, std::remove_const_t<P>, T>(source, rows, columns, options, out, slopes, scales).run();
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
