// SPDX-License-Identifier: MIT
/// \file
/// Two-dimensional convolution, NHWC, forward and backward, without an im2col matrix.
///
/// Cost: 2 N OH OW KH KW Cin Cout flops for each of y, dx, dw; 3x3 windows of stride 1 with at least 32 channels on both sides
/// take 16/36 of them (kernel/winograd.hpp). Bytes: x, y and their gradients pass once, weights are read from L2 for every tile
/// of up to 14 pixels. The limit is the FMA units, for one input channel the stores of y.
/// The engine is one correlation of overlapping rows with register tiles (kernel/correlation.hpp). The gradient for the input
/// is the same over flipped, transposed weights, once for each phase of the stride, so no zero is ever multiplied for a stride;
/// where the input has few channels it is a product with vectors along pixels, added tap by tap, and where it has few pixels,
/// the weights of one tap at a time are turned around into L1. The gradient for the weights is the tile with pixels as the
/// inner dimension, in passes of at most 256.
///
/// Percent of the peak of one core (Sapphire Rapids, AVX-512, float, 178 GFLOP/s; forward / dx / dw; padding and Winograd's
/// savings count as work, so more than 100 is possible; bench/kernel_conv2d.cpp), 3x3:
///     N, Cin x H x W -> Cout, stride           N, Cin x H x W -> Cout, stride
///     1, 1x64x64 -> 32, 1        80  28  42    32, 1x64x64 -> 32, 1       57  22  41
///     1, 32x64x64 -> 32, 1      110 120  98    32, 32x64x64 -> 32, 1     121 117  95
///     1, 32x32x32 -> 64, 2       90  86  88    32, 32x32x32 -> 64, 2      90  89  88
///     1, 64x16x16 -> 128, 1     153 132 133    32, 64x16x16 -> 128, 1    170 164 133
///     1, 128x8x8 -> 256, 1      106  89  94    32, 128x8x8 -> 256, 1     170 157 144
/// One output channel costs as much as a vector of them.
/// Accuracy: plain fused sums, at most KH KW Cin (forward), 256 pixels and then passes (dw, db) long: for 3x3, normal inputs
/// and weights the root mean square of the error is 3e-7 of that of the values at 32 input channels, 9e-7 at 256. The order of
/// the sums depends on the extents and the instruction set alone; it may differ between batch sizes.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/correlation.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/gemm.hpp>
#include <fovea/kernel/simd.hpp>
#include <fovea/kernel/winograd.hpp>

#include <algorithm>
#include <array>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// Steps between outputs, and zeros added on each side of the input, in pixels.
struct Conv2dOptions {
  Index stride_y = 1;
  Index stride_x = 1;
  Index pad_y = 0;
  Index pad_x = 0;
};

/// Outputs along one axis: (input + 2 pad - kernel) / stride + 1, or 0 where the kernel does not fit.
[[nodiscard]] constexpr Index conv2d_output_extent(Index input, Index kernel, Index stride, Index pad) noexcept {
  const Index room = input + 2 * pad - kernel;
  return room < 0 ? 0 : room / stride + 1;
}
/// Extents of y [N, OH, OW, Cout] for x [N, H, W, Cin] and w [KH, KW, Cin, Cout].
[[nodiscard]] constexpr Extents<4> conv2d_output_extents(const Extents<4>& x, const Extents<4>& w,
                                                         const Conv2dOptions& options) noexcept {
  return {x[0], conv2d_output_extent(x[1], w[0], options.stride_y, options.pad_y),
          conv2d_output_extent(x[2], w[1], options.stride_x, options.pad_x), w[3]};
}

namespace detail {

/// Everything a call needs to know about its extents.
struct Conv2dExtents {
  Index n, h, w, ci, kh, kw, co, oh, ow;

  Conv2dExtents(const Extents<4>& x, const Extents<4>& weights, const Conv2dOptions& options)
      : n(x[0]), h(x[1]), w(x[2]), ci(x[3]), kh(weights[0]), kw(weights[1]), co(weights[3]) {
    const Extents<4> y = conv2d_output_extents(x, weights, options);
    oh = y[1];
    ow = y[2];
  }
};

inline void check_conv2d(const char* where, const Extents<4>& x, const Extents<4>& w, const Extents<4>& y,
                         const Conv2dOptions& options, bool dense) {
  require(options.stride_y >= 1 && options.stride_x >= 1 && options.pad_y >= 0 && options.pad_x >= 0, where,
          ": strides of at least 1 and pads of at least 0 expected, ", options.stride_y, ", ", options.stride_x, " and ",
          options.pad_y, ", ", options.pad_x, " came");
  require(w[0] >= 1 && w[1] >= 1, where, ": a kernel of at least 1x1 expected, ", w[0], "x", w[1], " came");
  require(w[2] == x[3], where, ": weights for ", x[3], " input channels expected, ", w[2], " came");
  const Extents<4> expected = conv2d_output_extents(x, w, options);
  require(y == expected, where, ": an output of ", expected[0], "x", expected[1], "x", expected[2], "x", expected[3],
          " expected, ", y[0], "x", y[1], "x", y[2], "x", y[3], " came");
  require(dense, where, ": dense views expected");
}
template <class T>
void check_workspace(const char* where, View<T, 1> workspace, Index needed) {
  require(workspace.size() >= needed && (needed == 0 || workspace.stride(0) == 1), where, ": a contiguous workspace of ",
          needed, " elements expected, ", workspace.size(), " came");
}

/// The forward convolution without its pointers.
template <class T>
[[nodiscard]] Correlation<T> forward_correlation(const Extents<4>& x, const Extents<4>& w, const Conv2dOptions& options) {
  Conv2dExtents e(x, w, options);
  if (e.kh == 1 && e.kw == 1 && options.stride_y == 1 && options.stride_x == 1 && options.pad_y == 0 && options.pad_x == 0) {
    // One long row of pixels.
    e.w = e.ow = e.n * e.h * e.w;
    e.n = e.h = e.oh = 1;
  }
  Correlation<T> c{};
  c.batch = e.n;
  c.in_h = e.h;
  c.in_w = e.w;
  c.in_c = e.ci;
  c.taps_y = e.kh;
  c.taps_x = e.kw;
  c.step_y = options.stride_y;
  c.step_x = options.stride_x;
  c.offset_y = -options.pad_y;
  c.offset_x = -options.pad_x;
  c.out_h = e.oh;
  c.out_w = e.ow;
  c.out_c = e.co;
  c.out_pixel = e.co;
  c.out_row = e.ow * e.co;
  c.out_batch = e.oh * e.ow * e.co;
  c.vectors = choose_vectors<T>(c.along_batch() ? e.n : e.ow, e.co);
  // Few inputs under a window: their weights, of two vectors if they can, stay in registers.
  const auto stays = [&](Index v) { return !c.along_batch() && window_of<T>(e.kh, e.kw * e.ci, v) != nullptr; };
  if (stays(1)) c.vectors = stays(2) ? std::min<Index>(2, vectors_of<T>(e.co)) : 1;
  // Weights are read where they are, unless their rows lie pages apart, or end within a vector.
  constexpr Index page = 4096 / static_cast<Index>(sizeof(T));
  c.packed = e.co % simd::kWidth<T> != 0 || (e.co >= page && e.n * e.oh * e.ow >= 256);
  return c;
}
template <class T>
[[nodiscard]] Index forward_weights_size(const Correlation<T>& c) {
  return c.packed ? packed_size<T>(c.depth(), c.out_c) : 0;
}

/// A correlation of 3x3 windows and stride 1 as Winograd's, without its pointers; one that does not suit where it is neither.
template <class T>
[[nodiscard]] Winograd<T> as_winograd(const Correlation<T>& c) {
  Winograd<T> w{};
  if (c.taps_y != 3 || c.taps_x != 3 || c.step_y != 1 || c.step_x != 1 || c.out_pixel != c.out_c) return w;
  w.batch = c.batch;
  w.in_h = c.in_h;
  w.in_w = c.in_w;
  w.in_c = c.in_c;
  w.offset_y = c.offset_y;
  w.offset_x = c.offset_x;
  w.out_h = c.out_h;
  w.out_w = c.out_w;
  w.out_c = c.out_c;
  w.add = c.add;
  return w;
}

/// One axis of one phase of the gradient for the input: outputs at phase, phase + stride, ...
struct Phase {
  Index count;   ///< pixels of the input with this phase
  Index taps;    ///< taps of the kernel that reach them
  Index first;   ///< the first of those taps; the others follow at distance `stride`
  Index offset;  ///< of the first pixel of dy read for the first pixel

  Phase(Index phase, Index extent, Index kernel, Index stride, Index pad)
      : count(divide_up(extent - phase, stride)), first((phase + pad) % stride) {
    taps = first < kernel ? divide_up(kernel - first, stride) : 0;
    offset = (phase + pad - first) / stride - (taps - 1);
  }
};

/// The correlation of dy for one phase of dx, without its pointers.
template <class T>
[[nodiscard]] Correlation<T> backward_correlation(const Conv2dExtents& e, const Conv2dOptions& options, const Phase& py,
                                                  const Phase& px, bool accumulate = true) {
  Correlation<T> c{};
  c.batch = e.n;
  c.in_h = e.oh;
  c.in_w = e.ow;
  c.in_c = e.co;
  c.taps_y = py.taps;
  c.taps_x = px.taps;
  c.step_y = c.step_x = 1;
  c.offset_y = py.offset;
  c.offset_x = px.offset;
  c.out_h = py.count;
  c.out_w = px.count;
  c.out_c = e.ci;
  c.out_pixel = options.stride_x * e.ci;
  c.out_row = options.stride_y * e.w * e.ci;
  c.out_batch = e.h * e.w * e.ci;
  c.vectors = choose_vectors<T>(c.along_batch() ? c.batch : c.out_w, c.out_c);
  c.packed = true;
  c.add = accumulate;
  return c;
}

/// Calls body(phase_y, phase_x, y, x) for the phases of a stride, those included that no tap reaches.
template <class Body>
void for_each_phase(const Conv2dExtents& e, const Conv2dOptions& options, Body&& body) {
  for (Index y = 0; y < std::min(options.stride_y, e.h); ++y) {
    const Phase py(y, e.h, e.kh, options.stride_y, options.pad_y);
    for (Index x = 0; x < std::min(options.stride_x, e.w); ++x) {
      body(py, Phase(x, e.w, e.kw, options.stride_x, options.pad_x), y, x);
    }
  }
}

/// A phase of the gradient for the input where few pixels use the weights: a piece of one tap's weights at a time is turned
/// around, stays in L1 while all pixels use it, and no tap beside the image is multiplied.
template <class T>
struct FewPixels {
  static constexpr Index kSteps = 128;
  Correlation<T> c;

  /// Few pixels, and sums of a tap long enough to be worth adding up in memory.
  [[nodiscard]] bool suits() const { return c.batch * c.out_h * c.out_w <= 256 && c.in_c >= 64 && c.vectors >= 2; }
  [[nodiscard]] Index size() const { return kSteps * kTileVectors * simd::kWidth<T>; }

  /// `weights(ty, tx)`: [c.out_c, c.in_c], dense.
  template <class Weights>
  void run(Weights&& weights, T* turned) const {
    if (!c.add) clear();
    const Index panel = c.vectors * simd::kWidth<T>;
    Segment<T> segment{};
    TileTask<T> task{};
    task.segments = &segment;
    task.segment_count = 1;
    task.a_step = 1;
    task.add = true;
    segment.b = turned;
    for (Index column = 0; column < c.out_c; column += panel) {
      const Index here = std::min(panel, c.out_c - column);
      const Index count = vectors_of<T>(here);
      const Index most = max_tile_rows(count);
      task.b_step = count * simd::kWidth<T>;
      task.tail = here - (count - 1) * simd::kWidth<T>;
      for (Index ty = 0; ty < c.taps_y; ++ty) {
        const Index first_y = std::clamp<Index>(-c.offset_y - ty, 0, c.out_h);
        const Index last_y = std::clamp<Index>(c.in_h - c.offset_y - ty, first_y, c.out_h);
        for (Index tx = 0; tx < c.taps_x; ++tx) {
          const Index first_x = std::clamp<Index>(-c.offset_x - tx, 0, c.out_w);
          const Index last_x = std::clamp<Index>(c.in_w - c.offset_x - tx, first_x, c.out_w);
          if (first_y == last_y || first_x == last_x) continue;
          // The weights of the next tap are asked for tile by tile.
          const bool along_batch = c.along_batch();
          const Index next_tap = ty * c.taps_x + tx + 1;
          const T* next = next_tap < c.taps_y * c.taps_x ? weights(next_tap / c.taps_x, next_tap % c.taps_x) + column * c.in_c
                                                         : weights(0, 0) + (column + here) % c.out_c * c.in_c;
          const Index tiles = along_batch ? (last_y - first_y) * (last_x - first_x) * divide_up(c.batch, most)
                                          : c.batch * (last_y - first_y) * divide_up(last_x - first_x, most);
          task.ahead_step = divide_up(here, tiles);
          for (Index step = 0; step < c.in_c; step += kSteps) {
            task.length = std::min(kSteps, c.in_c - step);
            const T* from = weights(ty, tx) + column * c.in_c + step;
            copy_matrix(from, Index{1}, c.in_c, task.length, here, turned, task.b_step, task.b_step);
            const auto run = [&](Index n, Index y, Index x, Index pixels) {
              segment.a = c.in + ((n * c.in_h + y + c.offset_y + ty) * c.in_w + x + c.offset_x + tx) * c.in_c + step;
              T* to = c.out + n * c.out_batch + y * c.out_row + x * c.out_pixel + column;
              for_each_piece(pixels, most, [&](Index first, Index piece) {
                task.a_offset = first * task.a_stride;
                task.c = to + first * task.c_stride;
                task.ahead = next;
                next += task.ahead_step * task.length;
                run_tile(piece, count, task);
              });
            };
            if (along_batch) {
              task.a_stride = c.in_h * c.in_w * c.in_c;
              task.c_stride = c.out_batch;
              for (Index y = first_y; y < last_y; ++y) {
                for (Index x = first_x; x < last_x; ++x) run(0, y, x, c.batch);
              }
            } else {
              task.a_stride = c.in_c;
              task.c_stride = c.out_pixel;
              for (Index n = 0; n < c.batch; ++n) {
                for (Index y = first_y; y < last_y; ++y) run(n, y, first_x, last_x - first_x);
              }
            }
          }
        }
      }
    }
  }

  void clear() const {
    for (Index n = 0; n < c.batch; ++n) {
      for (Index y = 0; y < c.out_h; ++y) {
        for (Index x = 0; x < c.out_w; ++x)
          std::fill_n(c.out + n * c.out_batch + y * c.out_row + x * c.out_pixel, c.out_c, T(0));
      }
    }
  }
};

/// The gradient for an input of few channels: with vectors along those, most lanes would idle. Instead the products of
/// dy's pixels with every (tap, channel) are formed as a matrix, with vectors along the pixels, and then added where they
/// belong.
template <class T>
struct FewChannels {
  static constexpr Index kPixels = 256;
  Conv2dExtents e;
  Index taps;  ///< of the kernel, times channels
  Index vectors;
  Index rows;  ///< of a tile

  explicit FewChannels(const Conv2dExtents& extents) : e(extents), taps(e.kh * e.kw * e.ci) {
    vectors = std::min<Index>(2, kTileVectors);
    rows = max_tile_rows(vectors);
  }
  [[nodiscard]] static bool suits(const Conv2dExtents& extents) { return extents.ci == 1 || 4 * extents.ci <= simd::kWidth<T>; }
  [[nodiscard]] Index dy_size() const { return e.co * kPixels; }
  [[nodiscard]] Index size() const { return dy_size() + taps * kPixels; }

  void run(const T* dy, const T* w, const Conv2dOptions& options, T* dx, bool accumulate, T* workspace) const {
    constexpr Index width = simd::kWidth<T>;
    T* packed = workspace;
    T* products = packed + dy_size();  // [taps][kPixels]
    const Index pixels = e.oh * e.ow;
    for (Index n = 0; n < e.n; ++n) {
      T* image = dx + n * e.h * e.w * e.ci;
      // Rows are cleared just before something is added to them first.
      Index cleared = accumulate ? e.h : 0;
      const auto clear = [&](Index end) {
        if (end <= cleared) return;
        std::fill(image + cleared * e.w * e.ci, image + end * e.w * e.ci, T(0));
        cleared = end;
      };
      for (Index p0 = 0; p0 < pixels; p0 += kPixels) {
        const Index count = std::min(kPixels, pixels - p0);
        pack_panels(dy + (n * pixels + p0) * e.co, Index{1}, e.co, e.co, count, vectors, packed);
        for (Index first = 0; first < count; first += vectors * width) {
          const Index here = vectors_of<T>(std::min(vectors * width, count - first));
          const Segment<T> segment{w, packed + first * e.co};
          TileTask<T> task{};
          task.segments = &segment;
          task.segment_count = 1;
          task.ahead = packed;
          task.length = e.co;
          task.a_stride = e.co;
          task.a_step = 1;
          task.b_step = here * width;
          task.c_stride = kPixels;
          task.tail = width;
          for_each_piece(taps, rows, [&](Index row, Index piece) {
            task.a_offset = row * e.co;
            task.c = products + row * kPixels + first;
            run_tile(piece, here, task);
          });
        }
        // Row by row of dy, tap by tap.
        for (Index p = 0; p < count;) {
          const Index oy = (p0 + p) / e.ow;
          const Index ox0 = (p0 + p) % e.ow;
          const Index length = std::min(count - p, e.ow - ox0);
          clear(std::min(e.h, oy * options.stride_y - options.pad_y + e.kh));
          for (Index kh = 0; kh < e.kh; ++kh) {
            const Index iy = oy * options.stride_y - options.pad_y + kh;
            if (iy < 0 || iy >= e.h) continue;
            for (Index kw = 0; kw < e.kw; ++kw) {
              // Outputs whose tap lies in the image: 0 <= ox * stride + shift < w.
              const Index shift = kw - options.pad_x;
              const Index least = shift < 0 ? divide_up(-shift, options.stride_x) : 0;
              const Index end = e.w - shift <= 0 ? 0 : (e.w - shift - 1) / options.stride_x + 1;
              const Index first = std::max(ox0, least);
              const Index last = std::min(ox0 + length, end);
              if (first >= last) continue;
              for (Index ci = 0; ci < e.ci; ++ci) {
                const T* from = products + ((kh * e.kw + kw) * e.ci + ci) * kPixels + p + (first - ox0);
                T* to = image + (iy * e.w + first * options.stride_x + shift) * e.ci + ci;
                const Index step = options.stride_x * e.ci;
                if (step == 1) {
                  simd::for_each_batch<T>(last - first, [&](auto at) { at.store(to, at.load(to) + at.load(from)); });
                } else {
                  for (Index i = 0; i < last - first; ++i) to[i * step] += from[i];
                }
              }
            }
          }
          p += length;
        }
      }
      clear(e.h);
    }
  }
};

/// How the gradient for the weights is cut: the pixels of one pass, whose inputs and gradients stay in the caches.
template <class T>
struct WeightsPlan {
  static constexpr Index kPixels = 256;
  static constexpr Index kRows = 64;
  Index images;  ///< of one pass; 1 where a pass is a part of an image
  Index rows;    ///< output rows of one pass
  Index length;  ///< output pixels of a row in one pass
  Index vectors;
  bool copy;    ///< inputs between zeros
  bool pack;    ///< dy in panels
  Index slots;  ///< input rows of one pass
  Index row_elements;

  WeightsPlan(const Conv2dExtents& e, const Conv2dOptions& options) {
    length = std::min(e.ow, kPixels);
    const Index room = std::clamp<Index>(kPixels / std::max<Index>(1, length), 1, kRows);
    images = std::clamp<Index>(room / std::max<Index>(1, e.oh), 1, std::max<Index>(1, e.n));
    rows = images > 1 ? e.oh : std::min(room, e.oh);
    vectors = choose_vectors<T>(e.kw * e.ci, e.co);
    pack = e.co != vectors * simd::kWidth<T>;
    copy = options.pad_x > 0 || (e.ow - 1) * options.stride_x + e.kw > e.w;
    slots = images * ((rows - 1) * options.stride_y + e.kh);
    row_elements = ((length - 1) * options.stride_x + e.kw) * e.ci;
  }
  [[nodiscard]] Index x_size() const { return copy ? slots * row_elements : 0; }
  [[nodiscard]] Index dy_size(Index co) const { return pack ? packed_size<T>(images * rows * length, co) : 0; }
};

}  // namespace detail

/// Elements of workspace for conv2d on x [N, H, W, Cin] and w [KH, KW, Cin, Cout].
template <class T>
[[nodiscard]] Index conv2d_workspace(const Extents<4>& x, const Extents<4>& w, const Conv2dOptions& options) {
  const auto c = detail::forward_correlation<T>(x, w, options);
  const auto winograd = detail::as_winograd(c);
  if (winograd.suits()) return winograd.plain_weights_size() + winograd.size() + detail::kSlack<T>;
  return detail::forward_weights_size(c) + c.rows_size() + detail::kSlack<T>;
}
/// Elements of workspace for conv2d_backward_input; x: extents of the forward input.
template <class T>
[[nodiscard]] Index conv2d_backward_input_workspace(const Extents<4>& x, const Extents<4>& w, const Conv2dOptions& options) {
  const detail::Conv2dExtents e(x, w, options);
  if (detail::FewChannels<T>::suits(e)) return detail::FewChannels<T>(e).size() + detail::kSlack<T>;
  Index most = 0;
  detail::for_each_phase(e, options, [&](const detail::Phase& py, const detail::Phase& px, Index, Index) {
    if (py.taps == 0 || px.taps == 0) return;
    const auto c = detail::backward_correlation<T>(e, options, py, px);
    const auto winograd = detail::as_winograd(c);
    if (winograd.suits()) {
      most = std::max(most, winograd.plain_weights_size() + winograd.size());
      return;
    }
    if (const detail::FewPixels<T> few{c}; few.suits()) {
      most = std::max(most, few.size());
      return;
    }
    most = std::max(most, detail::packed_size<T>(c.depth(), c.out_c) + c.rows_size());
  });
  return most + detail::kSlack<T>;
}
/// Elements of workspace for conv2d_backward_weights; x: extents of the forward input.
template <class T>
[[nodiscard]] Index conv2d_backward_weights_workspace(const Extents<4>& x, const Extents<4>& w, const Conv2dOptions& options) {
  const detail::Conv2dExtents e(x, w, options);
  if (const auto winograd = detail::as_winograd(detail::forward_correlation<T>(x, w, options)); winograd.suits()) {
    return winograd.weights_size() + detail::kSlack<T>;
  }
  const detail::WeightsPlan<T> plan(e, options);
  return plan.x_size() + plan.dy_size(e.co) + detail::kSlack<T>;
}

/// y = x * w + bias: y[n, oy, ox, co] = bias[co] + sum over kh, kw, ci of
///     x[n, oy * stride_y - pad_y + kh, ox * stride_x - pad_x + kw, ci] * w[kh, kw, ci, co].
/// x [N, H, W, Cin], w [KH, KW, Cin, Cout], bias [Cout] or empty, y as conv2d_output_extents says; all dense, y overwritten.
/// `workspace`: conv2d_workspace<T>(...) contiguous elements, any contents. Throws Error where something does not fit.
template <class T>
void conv2d(View<const std::type_identity_t<T>, 4> x, View<const std::type_identity_t<T>, 4> w,
            View<const std::type_identity_t<T>, 1> bias, const Conv2dOptions& options, View<T, 4> y,
            View<std::type_identity_t<T>, 1> workspace) {
  detail::check_conv2d("conv2d", x.extents(), w.extents(), y.extents(), options, x.is_dense() && w.is_dense() && y.is_dense());
  require(bias.empty() || (bias.extent(0) == w.extent(3) && bias.stride(0) == 1), "conv2d: a bias of ", w.extent(3),
          " elements expected, ", bias.extent(0), " came");
  detail::check_workspace("conv2d", workspace, conv2d_workspace<T>(x.extents(), w.extents(), options));
  auto c = detail::forward_correlation<T>(x.extents(), w.extents(), options);
  T* packed = detail::aligned_start(workspace.data());
  if (auto winograd = detail::as_winograd(c); winograd.suits()) {
    winograd.in = x.data();
    winograd.out = y.data();
    winograd.bias = bias.empty() ? nullptr : bias.data();
    const T* plain = w.data();
    if (winograd.columns() != c.out_c) {
      detail::copy_matrix(w.data(), c.out_c, Index{1}, c.depth(), c.out_c, packed, winograd.columns(), winograd.columns());
      plain = packed;
    }
    winograd.run(plain, packed + winograd.plain_weights_size());
    return;
  }
  const Index weights_size = detail::forward_weights_size(c);
  if (c.packed) detail::pack_panels(w.data(), c.out_c, Index{1}, c.depth(), c.out_c, c.vectors, packed);
  c.in = x.data();
  c.out = y.data();
  c.weights = c.packed ? packed : w.data();
  c.bias = bias.empty() ? nullptr : bias.data();
  c.rows = packed + weights_size;
  c.run();
}

/// dx += the gradient of conv2d for its input, or dx = it where not `accumulate`. dy as y, dx as x; the rest as for conv2d.
/// `workspace`: conv2d_backward_input_workspace<T>(...) elements.
template <class T>
void conv2d_backward_input(View<const std::type_identity_t<T>, 4> dy, View<const std::type_identity_t<T>, 4> w,
                           const Conv2dOptions& options, View<T, 4> dx, View<std::type_identity_t<T>, 1> workspace,
                           bool accumulate = true) {
  detail::check_conv2d("conv2d_backward_input", dx.extents(), w.extents(), dy.extents(), options,
                       dx.is_dense() && w.is_dense() && dy.is_dense());
  if (dy.empty() || dx.empty()) {
    if (!accumulate) std::fill_n(dx.data(), dx.size(), T(0));
    return;
  }
  detail::check_workspace("conv2d_backward_input", workspace,
                          conv2d_backward_input_workspace<T>(dx.extents(), w.extents(), options));
  const detail::Conv2dExtents e(dx.extents(), w.extents(), options);
  T* packed = detail::aligned_start(workspace.data());
  if (detail::FewChannels<T>::suits(e)) {
    detail::FewChannels<T>(e).run(dy.data(), w.data(), options, dx.data(), accumulate, packed);
    return;
  }
  detail::for_each_phase(e, options, [&](const detail::Phase& py, const detail::Phase& px, Index y, Index x) {
    auto c = detail::backward_correlation<T>(e, options, py, px, accumulate);
    c.in = dy.data();
    c.out = dx.data() + (y * e.w + x) * e.ci;
    if (py.taps == 0 || px.taps == 0) {
      if (!accumulate) detail::FewPixels<T>{c}.clear();
      return;
    }
    auto winograd = detail::as_winograd(c);
    if (winograd.suits()) {
      const Index columns = winograd.columns();
      for (Index tap = 0; tap < 9; ++tap) {
        detail::copy_matrix(w.data() + (8 - tap) * e.ci * e.co, Index{1}, e.co, e.co, e.ci, packed + tap * e.co * columns,
                            columns, columns);
      }
      winograd.in = dy.data();
      winograd.out = dx.data();
      winograd.run(packed, packed + winograd.plain_weights_size());
      return;
    }
    const auto tap = [&](Index ty, Index tx) {
      const Index kh = py.first + options.stride_y * (py.taps - 1 - ty);
      const Index kw = px.first + options.stride_x * (px.taps - 1 - tx);
      return w.data() + (kh * e.kw + kw) * e.ci * e.co;
    };
    if (const detail::FewPixels<T> few{c}; few.suits()) {
      few.run(tap, packed);
      return;
    }
    const Index panel = c.vectors * simd::kWidth<T>;
    for (Index column = 0; column < e.ci; column += panel) {
      const Index here = std::min(panel, e.ci - column);
      const Index padded = detail::vectors_of<T>(here) * simd::kWidth<T>;
      T* to = packed + column * c.depth();
      for (Index ty = 0; ty < py.taps; ++ty) {
        for (Index tx = 0; tx < px.taps; ++tx) {
          detail::copy_matrix(tap(ty, tx) + column * e.co, Index{1}, e.co, e.co, here, to, padded, padded);
          to += e.co * padded;
        }
      }
    }
    c.weights = packed;
    c.rows = packed + detail::packed_size<T>(c.depth(), c.out_c);
    c.run();
  });
}

/// dw += the gradient of conv2d for its weights, db += that for its bias (db may be empty).
/// dy as y, dw as w, db [Cout]. `workspace`: conv2d_backward_weights_workspace<T>(...) elements.
template <class T>
void conv2d_backward_weights(View<const std::type_identity_t<T>, 4> dy, View<const std::type_identity_t<T>, 4> x,
                             const Conv2dOptions& options, View<T, 4> dw, View<std::type_identity_t<T>, 1> db,
                             View<std::type_identity_t<T>, 1> workspace) {
  detail::check_conv2d("conv2d_backward_weights", x.extents(), dw.extents(), dy.extents(), options,
                       x.is_dense() && dw.is_dense() && dy.is_dense());
  require(db.empty() || (db.extent(0) == dw.extent(3) && db.stride(0) == 1), "conv2d_backward_weights: a bias of ",
          dw.extent(3), " elements expected, ", db.extent(0), " came");
  if (dy.empty()) return;
  detail::check_workspace("conv2d_backward_weights", workspace,
                          conv2d_backward_weights_workspace<T>(x.extents(), dw.extents(), options));
  const detail::Conv2dExtents e(x.extents(), dw.extents(), options);
  if (auto winograd = detail::as_winograd(detail::forward_correlation<T>(x.extents(), dw.extents(), options));
      winograd.suits()) {
    winograd.in = x.data();
    winograd.run_weights(dy.data(), dw.data(), detail::aligned_start(workspace.data()));
    if (!db.empty()) accumulate_rows<T>(View<const T, 2>(dy.data(), {e.n * e.oh * e.ow, e.co}), db);
    return;
  }
  using Plan = detail::WeightsPlan<T>;
  const Plan plan(e, options);
  constexpr Index width = simd::kWidth<T>;
  T* packed_dy = detail::aligned_start(workspace.data());
  T* packed_x = packed_dy + plan.dy_size(e.co);
  const Index panel = plan.vectors * width;
  const Index depth = e.kw * e.ci;  // contiguous inputs of one tap row
  const Index most = detail::max_tile_rows(std::min(plan.vectors, detail::vectors_of<T>(e.co)));

  for (Index n0 = 0; n0 < e.n; n0 += plan.images) {
    const Index images = std::min(plan.images, e.n - n0);
    for (Index y0 = 0; y0 < e.oh; y0 += plan.rows) {
      const Index rows = std::min(plan.rows, e.oh - y0);
      const Index top = y0 * options.stride_y - options.pad_y;
      const Index slots = (rows - 1) * options.stride_y + e.kh;  // input rows of an image
      for (Index x0 = 0; x0 < e.ow; x0 += plan.length) {
        const Index length = std::min(plan.length, e.ow - x0);
        const Index start = x0 * options.stride_x - options.pad_x;
        const Index pixels = (length - 1) * options.stride_x + e.kw;
        if (plan.copy) {
          const Index left = std::clamp<Index>(-start, 0, pixels);
          const Index inside = std::clamp<Index>(e.w - std::max<Index>(0, start), 0, pixels - left);
          for (Index i = 0; i < images; ++i) {
            for (Index s = 0; s < slots; ++s) {
              const Index row = top + s;
              if (row < 0 || row >= e.h) continue;
              T* to = packed_x + (i * slots + s) * plan.row_elements;
              std::fill_n(to, left * e.ci, T(0));
              std::copy_n(x.data() + (((n0 + i) * e.h + row) * e.w + std::max<Index>(0, start)) * e.ci, inside * e.ci,
                          to + left * e.ci);
              std::fill(to + (left + inside) * e.ci, to + pixels * e.ci, T(0));
            }
          }
        }
        // What the next pass reads, as far as it follows in memory, is asked for tile by tile.
        const Index pass_dy = images * rows * e.ow * e.co;
        const Index pass_x = images > 1 ? images * e.h * e.w * e.ci : rows * options.stride_y * e.w * e.ci;
        const T* next_dy = dy.data() + ((n0 * e.oh + y0) * e.ow) * e.co + pass_dy;
        const T* next_x = x.data() + (n0 * e.h + std::max<Index>(0, top)) * e.w * e.ci + pass_x;
        const Index tile_steps = images * rows * length;
        const Index tiles = e.kh * detail::divide_up(depth, most) * detail::divide_up(e.co, panel);
        const Index ahead_step = x0 + length < e.ow ? 0 : detail::divide_up(pass_dy + pass_x, tile_steps * tiles);
        Index asked = 0;
        // Panels of dy for all pixels of this pass: row by row of the image, so that a row is one segment.
        const Index pass_pixels = images * rows * length;
        for (Index column = 0; column < e.co; column += panel) {
          const Index here = std::min(panel, e.co - column);
          const Index vectors = detail::vectors_of<T>(here);
          const Index tail = here - (vectors - 1) * width;
          const auto dy_row = [&](Index i, Index y) {
            return dy.data() + (((n0 + i) * e.oh + y0 + y) * e.ow + x0) * e.co + column;
          };
          if (plan.pack) {
            for (Index i = 0; i < images; ++i) {
              for (Index y = 0; y < rows; ++y) {
                detail::copy_matrix(dy_row(i, y), e.co, Index{1}, length, here,
                                    packed_dy + column * pass_pixels + (i * rows + y) * length * vectors * width,
                                    vectors * width, vectors * width);
              }
            }
          }
          const Index b_step = plan.pack ? vectors * width : e.co;
          const auto right = [&](Index i, Index y) -> const T* {
            return plan.pack ? packed_dy + column * pass_pixels + (i * rows + y) * length * b_step : dy_row(i, y);
          };
          if (!db.empty()) {
            for (Index v = 0; v < vectors; ++v) {
              simd::Batch<T> even = simd::zero<T>();
              simd::Batch<T> odd = simd::zero<T>();
              for (Index i = 0; i < images; ++i) {
                for (Index y = 0; y < rows; ++y) {
                  const T* from = right(i, y) + v * width;
                  Index p = 0;
                  for (; p + 2 <= length; p += 2) {
                    even = even + simd::load(from + p * b_step);
                    odd = odd + simd::load(from + (p + 1) * b_step);
                  }
                  if (p < length) even = even + simd::load(from + p * b_step);
                }
              }
              T* to = db.data() + column + v * width;
              const Index lanes = v + 1 < vectors ? width : tail;
              simd::store_partial(to, lanes, simd::load_partial(to, lanes) + (even + odd));
            }
          }
          std::array<detail::Segment<T>, Plan::kRows> segments;
          detail::TileTask<T> task{};
          task.segments = segments.data();
          task.length = length;
          task.a_stride = 1;
          task.a_step = options.stride_x * e.ci;
          task.b_step = b_step;
          task.c_stride = e.co;
          task.add = true;
          task.ahead_step = ahead_step;
          task.tail = tail;
          for (Index kh = 0; kh < e.kh; ++kh) {
            Index count = 0;
            for (Index i = 0; i < images; ++i) {
              for (Index y = 0; y < rows; ++y) {
                const Index slot = y * options.stride_y + kh;
                const Index row = top + slot;
                if (row < 0 || row >= e.h) continue;
                const T* a = plan.copy ? packed_x + (i * slots + slot) * plan.row_elements
                                       : x.data() + (((n0 + i) * e.h + row) * e.w + start) * e.ci;
                segments[static_cast<std::size_t>(count++)] = {a, right(i, y)};
              }
            }
            if (count == 0) continue;
            task.segment_count = count;
            detail::for_each_piece(depth, most, [&](Index first, Index piece) {
              task.a_offset = first;
              task.ahead = asked < pass_dy ? next_dy + asked : next_x + (asked - pass_dy);
              asked += ahead_step * tile_steps;
              task.c = dw.data() + (kh * depth + first) * e.co + column;
              detail::run_tile(piece, vectors, task);
            });
          }
        }
      }
    }
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
