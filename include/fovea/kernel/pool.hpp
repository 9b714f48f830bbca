// SPDX-License-Identifier: MIT
/// \file
/// Pooling of NHWC features: maximum, average, and the average over all positions.
///
/// Cost: each input is read once per window that covers it, vectorised over channels; a backward call adds the same number of
/// times. 0.13 to 0.2 ns per input for windows of 2 x 2, 0.3 to 0.4 with 8 channels (float, AVX-512 at about 3 GHz,
/// bench/kernel_elementwise.cpp): 32 to 37 GB/s, bound by loads and stores, below 16 channels by half-filled vectors. Accuracy:
/// exact (maximum); within 1e-6 of the largest element in float (averages).
/// Why so: with channels last a window is a few whole vectors, without shuffles; the winner is kept as a number of the scalar's
/// own type, so that the backward call compares vectors without a conversion.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// A pooling window, in pixels. Every window must hold at least one pixel of the input: padding < window.
struct Pool2dOptions {
  Index height = 2;
  Index width = 2;
  Index stride_y = 2;
  Index stride_x = 2;
  Index pad_y = 0;
  Index pad_x = 0;

  /// A square window without padding, moved by its own size unless told otherwise.
  [[nodiscard]] static constexpr Pool2dOptions square(Index window, Index stride = 0) noexcept {
    const Index s = stride > 0 ? stride : window;
    return {window, window, s, s, 0, 0};
  }
  /// Extent of the output for an input of that extent: windows that start within the padded input and fit into it.
  [[nodiscard]] constexpr Index output_height(Index input) const noexcept {
    return (input + 2 * pad_y - height) / stride_y + 1;
  }
  [[nodiscard]] constexpr Index output_width(Index input) const noexcept { return (input + 2 * pad_x - width) / stride_x + 1; }
};

namespace detail {

/// The part of a window that lies in the input: rows [y0, y1), columns [x0, x1), and the number of its first pixel's
/// tap.
struct PoolWindow {
  Index y0, y1, x0, x1;
};
[[nodiscard]] constexpr PoolWindow pool_window(const Pool2dOptions& o, Index out_y, Index out_x, Index height,
                                               Index width) noexcept {
  const Index y = out_y * o.stride_y - o.pad_y;
  const Index x = out_x * o.stride_x - o.pad_x;
  return {std::max<Index>(y, 0), std::min(y + o.height, height), std::max<Index>(x, 0), std::min(x + o.width, width)};
}

}  // namespace detail

/// y(n, i, j, c) = the greatest input under the window; NaN where there is one. x [N, H, W, C], y [N, OH, OW, C].
/// `winner` [N, OH, OW, C] receives the number of the winning tap, counted row by row within the part of the window
/// that lies in the input, as a T: so the backward call compares without a conversion. Of equal values the first wins.
template <class T>
void max_pool2d(View<const std::type_identity_t<T>, 4> x, const Pool2dOptions& options, View<T, 4> y, View<T, 4> winner) {
  using B = simd::Batch<T>;
  const Index height = x.extent(1);
  const Index width = x.extent(2);
  const Index channels = x.extent(3);
  for (Index n = 0; n < y.extent(0); ++n) {
    for (Index i = 0; i < y.extent(1); ++i) {
      for (Index j = 0; j < y.extent(2); ++j) {
        const auto w = detail::pool_window(options, i, j, height, width);
        T* best_to = &y(n, i, j, 0);
        T* winner_to = &winner(n, i, j, 0);
        simd::for_each_batch<T>(channels, [&](auto at) {
          B best(-std::numeric_limits<T>::infinity());
          B tap(T(0));
          T number = 0;
          for (Index iy = w.y0; iy < w.y1; ++iy) {
            for (Index ix = w.x0; ix < w.x1; ++ix, number += T(1)) {
              const B v = at.load(&x(n, iy, ix, 0));
              const auto wins = (v > best) | simd::mask_not<T>(v == v);  // xsimd: NaN != NaN is false
              best = simd::select<T>(wins, v, best);
              tap = simd::select<T>(wins, B(number), tap);
            }
          }
          at.store(best_to, best);
          at.store(winner_to, tap);
        });
      }
    }
  }
}
/// d_x += d_y at the winning taps.
template <class T>
void max_pool2d_backward(View<const std::type_identity_t<T>, 4> d_y, View<const std::type_identity_t<T>, 4> winner,
                         const Pool2dOptions& options, View<T, 4> d_x) {
  using B = simd::Batch<T>;
  const Index channels = d_x.extent(3);
  for (Index n = 0; n < d_y.extent(0); ++n) {
    for (Index i = 0; i < d_y.extent(1); ++i) {
      for (Index j = 0; j < d_y.extent(2); ++j) {
        const auto w = detail::pool_window(options, i, j, d_x.extent(1), d_x.extent(2));
        const T* d = &d_y(n, i, j, 0);
        const T* taps = &winner(n, i, j, 0);
        T number = 0;
        for (Index iy = w.y0; iy < w.y1; ++iy) {
          for (Index ix = w.x0; ix < w.x1; ++ix, number += T(1)) {
            T* to = &d_x(n, iy, ix, 0);
            simd::for_each_batch<T>(channels, [&](auto at) {
              at.store(to, at.load(to) + simd::select<T>(at.load(taps) == B(number), at.load(d), B(T(0))));
            });
          }
        }
      }
    }
  }
}

/// y(n, i, j, c) = the mean of the inputs under the window; padding does not count. x [N, H, W, C], y [N, OH, OW, C].
template <class T>
void average_pool2d(View<const std::type_identity_t<T>, 4> x, const Pool2dOptions& options, View<T, 4> y) {
  using B = simd::Batch<T>;
  const Index height = x.extent(1);
  const Index width = x.extent(2);
  for (Index n = 0; n < y.extent(0); ++n) {
    for (Index i = 0; i < y.extent(1); ++i) {
      for (Index j = 0; j < y.extent(2); ++j) {
        const auto w = detail::pool_window(options, i, j, height, width);
        const B weight(T(1) / static_cast<T>((w.y1 - w.y0) * (w.x1 - w.x0)));
        T* to = &y(n, i, j, 0);
        simd::for_each_batch<T>(x.extent(3), [&](auto at) {
          B total(T(0));
          for (Index iy = w.y0; iy < w.y1; ++iy) {
            B row(T(0));  // a sum of row sums: shorter chains, smaller rounding
            for (Index ix = w.x0; ix < w.x1; ++ix) row = row + at.load(&x(n, iy, ix, 0));
            total = total + row;
          }
          at.store(to, total * weight);
        });
      }
    }
  }
}
/// d_x += d_y / number of inputs under the window.
template <class T>
void average_pool2d_backward(View<const std::type_identity_t<T>, 4> d_y, const Pool2dOptions& options, View<T, 4> d_x) {
  using B = simd::Batch<T>;
  for (Index n = 0; n < d_y.extent(0); ++n) {
    for (Index i = 0; i < d_y.extent(1); ++i) {
      for (Index j = 0; j < d_y.extent(2); ++j) {
        const auto w = detail::pool_window(options, i, j, d_x.extent(1), d_x.extent(2));
        const B weight(T(1) / static_cast<T>((w.y1 - w.y0) * (w.x1 - w.x0)));
        const T* d = &d_y(n, i, j, 0);
        for (Index iy = w.y0; iy < w.y1; ++iy) {
          for (Index ix = w.x0; ix < w.x1; ++ix) {
            T* to = &d_x(n, iy, ix, 0);
            simd::for_each_batch<T>(d_x.extent(3),
                                    [&](auto at) { at.store(to, simd::fma<T>(at.load(d), weight, at.load(to))); });
          }
        }
      }
    }
  }
}

/// y(n, c) = the mean of x over the positions. x [N, P, C], y [N, C].
template <class T>
void global_average_pool(View<const std::type_identity_t<T>, 3> x, View<T, 2> y) {
  const Index positions = x.extent(1);
  for (Index n = 0; n < x.extent(0); ++n) {
    simd::for_each_batch<T>(x.extent(2), [&](auto at) {
      double sums[static_cast<std::size_t>(simd::kWidth<T>)] = {};
      lane_sums<T>(
          positions, [&](Index p) { return at.load(&x(n, p, 0)); }, sums);
      for (Index l = 0; l < at.count(); ++l) {
        y(n, at.i + l) = static_cast<T>(sums[l] / static_cast<double>(positions));
      }
    });
  }
}
/// d_x += d_y / P.
template <class T>
void global_average_pool_backward(View<const std::type_identity_t<T>, 2> d_y, View<T, 3> d_x) {
  const Index channels = d_x.extent(2);
  const T weight = T(1) / static_cast<T>(d_x.extent(1));
  for (Index n = 0; n < d_x.extent(0); ++n) {
    for (Index p = 0; p < d_x.extent(1); ++p) {
      axpy<T>(weight, View<const T, 1>(&d_y(n, 0), {channels}), View<T, 1>(&d_x(n, p, 0), {channels}));
    }
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
