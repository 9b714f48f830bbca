// SPDX-License-Identifier: MIT
/// \file
/// The engine of kernel/conv2d.hpp: a correlation of an NHWC image with weights, strides and offsets of any sign.
///
/// The inputs under one row of taps, KW Cin of them, are contiguous, and so are the weights; a correlation is thus KH matrix
/// products over overlapping rows of the input, and runs in gemm's register tile with a segment for each tap row. Copied are:
/// rows that need zeros beside them (KH rows), weights where they are not whole vectors. What the next row or pass will read is
/// asked for while this one is computed. Images up to 8 wide take their tiles along the batch: no zeros. Up to 13 inputs under
/// a window, a first layer or its shortcut, keep their weights in registers and go pixel by pixel: a tile of so few steps is
/// mostly beginning and end.
///
/// Cost: 2 flops for each output, tap and channel; the limit is the FMA units, for one input channel the stores of the output.
/// Figures and accuracy: kernel/conv2d.hpp.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/gemm.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace kernel {
namespace detail {

/// Taps along y that one register tile takes in one go.
inline constexpr Index kSegments = 16;

/// Most inputs under a window for window_pixels: their weights stay in registers beside the bias, the sums and one broadcast
/// input. Longer sums keep a tile as busy.
template <int vectors>
inline constexpr int kWindowDepth = std::min(13, (simd::kRegisters - 1 - 2 * vectors) / vectors);
/// Largest window_pixels along each axis.
inline constexpr int kWindowExtent = 5;

/// The task of a tile, for any number of rows, `segments` segments of `length` steps and a_step 1: pixel by pixel, with all
/// weights in registers. With so few steps a tile is as long at its sums' beginning and end as at the products.
template <class T, int segments, int length, int vectors>
void window_pixels(const TileTask<T>& task, Index rows) {
  using V = simd::Batch<T>;
  constexpr Index width = simd::kWidth<T>;
  const Index tail = task.tail;
  const bool whole = tail == width;
  const bool add = task.add;
  V start[vectors];
  V weights[segments][length][vectors];
  const T* a[segments];
  FOVEA_UNROLL
  for (int v = 0; v < vectors; ++v) {
    if (task.bias == nullptr) {
      start[v] = simd::zero<T>();
    } else {
      start[v] = v + 1 < vectors || whole ? simd::load(task.bias + v * width) : simd::load_partial(task.bias + v * width, tail);
    }
  }
  FOVEA_UNROLL
  for (int s = 0; s < segments; ++s) {
    a[s] = task.segments[s].a + task.a_offset;
    FOVEA_UNROLL
    for (int k = 0; k < length; ++k) {
      FOVEA_UNROLL
      for (int v = 0; v < vectors; ++v) {
        weights[s][k][v] = simd::load(task.segments[s].b + task.b_offset + k * task.b_step + v * width);
      }
    }
  }
  T* c = task.c;
  for (Index r = 0; r < rows; ++r) {
    V sum[vectors];
    FOVEA_UNROLL
    for (int v = 0; v < vectors; ++v) sum[v] = start[v];
    FOVEA_UNROLL
    for (int s = 0; s < segments; ++s) {
      FOVEA_UNROLL
      for (int k = 0; k < length; ++k) {
        const V left = simd::broadcast(a[s][k]);
        FOVEA_UNROLL
        for (int v = 0; v < vectors; ++v) sum[v] = simd::fma(left, weights[s][k][v], sum[v]);
      }
      a[s] += task.a_stride;
    }
    FOVEA_UNROLL
    for (int v = 0; v < vectors; ++v) {
      T* to = c + v * width;
      if (v + 1 < vectors || whole) {
        simd::store(to, add ? sum[v] + simd::load(to) : sum[v]);
      } else {
        simd::store_partial(to, tail, add ? sum[v] + simd::load_partial(to, tail) : sum[v]);
      }
    }
    c += task.c_stride;
  }
}

template <class T>
using WindowFunction = void (*)(const TileTask<T>&, Index);
template <class T, int vectors>
inline constexpr auto kWindows = []<int... i>(std::integer_sequence<int, i...>) {
  constexpr auto one = []<int segments, int length>() -> WindowFunction<T> {
    if constexpr (segments * length <= kWindowDepth<vectors>) return &window_pixels<T, segments, length, vectors>;
    return nullptr;
  };
  return std::array<WindowFunction<T>, sizeof...(i)>{
      one.template operator()<i / kWindowExtent + 1, i % kWindowExtent + 1>()...};
}
(std::make_integer_sequence<int, kWindowExtent * kWindowExtent>{});
/// The window_pixels of these segments and steps, or nullptr.
template <class T>
[[nodiscard]] inline WindowFunction<T> window_of(Index segments, Index length, Index vectors) {
  if (segments < 1 || length < 1 || segments > kWindowExtent || length > kWindowExtent || vectors > 2) return nullptr;
  const auto at = static_cast<std::size_t>((segments - 1) * kWindowExtent + length - 1);
  return vectors == 1 ? kWindows<T, 1>[at] : kWindows<T, 2>[at];
}

/// out[n, y, x, :] (+)= bias + sum over taps (ty, tx) and channels of
///     in[n, y * step_y + offset_y + ty, x * step_x + offset_x + tx, :] * weights[ty, tx, :, :],
/// where `in` is 0 outside its extents. A forward convolution is one of these; the gradient for the input is one for each
/// phase of the stride, with flipped and transposed weights.
template <class T>
struct Correlation {
  const T* in;
  Index batch, in_h, in_w, in_c;
  Index taps_y, taps_x;
  Index step_y, step_x;
  Index offset_y, offset_x;
  T* out;
  Index out_h, out_w, out_c;
  Index out_batch, out_row, out_pixel;  ///< strides
  const T* weights;                     ///< [taps_y * taps_x * in_c] x out_c: panels of `vectors`, or rows as they are
  bool packed;
  Index vectors;
  const T* bias;
  bool add;
  T* rows;  ///< rows_size() elements, where wants_rows()

  [[nodiscard]] Index depth() const { return taps_y * taps_x * in_c; }
  /// Whether tiles of pixels run along the batch instead of along a row: images so narrow that a row fills no tile.
  [[nodiscard]] bool along_batch() const { return out_w <= 8 && batch >= out_w; }
  /// Whether some tap reads beside the image, so that rows are copied between zeros.
  [[nodiscard]] bool wants_rows() const {
    return !along_batch() && (offset_x < 0 || (out_w - 1) * step_x + offset_x + taps_x > in_w);
  }
  [[nodiscard]] Index row_pixels() const { return (out_w - 1) * step_x + taps_x; }
  [[nodiscard]] Index rows_size() const { return wants_rows() ? taps_y * row_pixels() * in_c : 0; }

  void prepare_panel(TileTask<T>& task, Index column) const {
    constexpr Index width = simd::kWidth<T>;
    const Index here = std::min(vectors * width, out_c - column);
    const Index count = vectors_of<T>(here);
    task.tail = here - (count - 1) * width;
    task.b_step = packed ? count * width : out_c;
    task.b_offset = packed ? column * depth() : column;
    task.bias = bias == nullptr ? nullptr : bias + column;
  }
  [[nodiscard]] Index panel_vectors(Index column) const { return std::min(vectors, vectors_of<T>(out_c - column)); }

  void run() const {
    if (batch == 0 || out_h == 0 || out_w == 0 || out_c == 0) return;
    if (along_batch()) {
      run_along_batch();
    } else {
      run_along_rows();
    }
  }

 private:
  void run_along_rows() const {
    const Index panel = vectors * simd::kWidth<T>;
    const Index most = max_tile_rows(std::min(vectors, vectors_of<T>(out_c)));
    // Stretches of a row whose inputs stay in L1 while the panels pass.
    const Index bytes_per_pixel = taps_y * step_x * in_c * static_cast<Index>(sizeof(T));
    const Index stretch = std::max<Index>(2, 24 * 1024 / bytes_per_pixel / most) * most;
    const bool copy = wants_rows();
    const Index row_elements = row_pixels() * in_c;
    const Index left = std::clamp<Index>(-offset_x, 0, row_pixels());
    const Index source = std::max<Index>(0, offset_x);
    const Index inside = std::clamp<Index>(in_w - source, 0, row_pixels() - left);
    if (copy) {
      for (Index slot = 0; slot < taps_y; ++slot) {
        T* row = rows + slot * row_elements;
        std::fill_n(row, left * in_c, T(0));
        std::fill(row + (left + inside) * in_c, row + row_elements, T(0));
      }
    }
    std::array<Segment<T>, kSegments> segments;
    for (Index n = 0; n < batch; ++n) {
      const T* image = in + n * in_h * in_w * in_c;
      Index loaded = 0;  // rows of the image that are, or have been, in `rows`
      for (Index y = 0; y < out_h; ++y) {
        const Index top = y * step_y + offset_y;
        const Index first_tap = std::clamp<Index>(-top, 0, taps_y);
        const Index last_tap = std::clamp<Index>(in_h - top, first_tap, taps_y);
        if (copy) {
          for (Index row = std::max(loaded, top + first_tap); row < top + last_tap; ++row) {
            std::copy_n(image + (row * in_w + source) * in_c, inside * in_c, rows + row % taps_y * row_elements + left * in_c);
          }
        }
        loaded = std::max(loaded, top + last_tap);
        // The rows that the next line adds, and the line it writes, are asked for tile by tile.
        const T* next_in = image + loaded * in_w * in_c;
        const T* next_out = out + n * out_batch + (y + 1) * out_row;
        const Index missing_in = step_y * in_w * in_c;
        const Index missing = missing_in + out_w * out_pixel;
        const Index steps = divide_up(out_w, most) * divide_up(out_c, panel) * taps_y * taps_x * in_c;
        const Index ahead_step = divide_up(missing, steps);
        Index asked = 0;
        T* out_line = out + n * out_batch + y * out_row;
        Index tap = first_tap;
        do {
          const Index end = std::min(last_tap, tap + kSegments);
          for (Index t = tap; t < end; ++t) {
            const Index row = top + t;
            segments[static_cast<std::size_t>(t - tap)].a =
                copy ? rows + row % taps_y * row_elements : image + (row * in_w + offset_x) * in_c;
          }
          TileTask<T> task{};
          task.segments = segments.data();
          task.segment_count = end - tap;
          task.length = taps_x * in_c;
          task.a_stride = step_x * in_c;
          task.a_step = 1;
          task.c_stride = out_pixel;
          task.add = add || tap > first_tap;
          for (Index x0 = 0; x0 < out_w; x0 += stretch) {
            const Index pixels = std::min(stretch, out_w - x0);
            for (Index column = 0; column < out_c; column += panel) {
              prepare_panel(task, column);
              if (tap > first_tap) task.bias = nullptr;
              for (Index t = tap; t < end; ++t) {
                segments[static_cast<std::size_t>(t - tap)].b = weights + t * task.length * task.b_step;
              }
              const Index count = panel_vectors(column);
              if (const auto window = window_of<T>(task.segment_count, task.length, count); window != nullptr) {
                task.a_offset = x0 * task.a_stride;
                task.c = out_line + x0 * out_pixel + column;
                window(task, pixels);
                continue;
              }
              for_each_piece(pixels, most, [&](Index first, Index piece) {
                task.a_offset = (x0 + first) * task.a_stride;
                task.c = out_line + (x0 + first) * out_pixel + column;
                task.ahead = asked < missing_in ? next_in + asked : next_out + (asked - missing_in);
                task.ahead_step = ahead_step;
                asked += ahead_step * task.segment_count * task.length;
                run_tile(piece, count, task);
              });
            }
          }
          tap = end;
        } while (tap < last_tap);
      }
    }
  }

  void run_along_batch() const {
    const Index panel = vectors * simd::kWidth<T>;
    const Index most = max_tile_rows(std::min(vectors, vectors_of<T>(out_c)));
    std::array<Segment<T>, kSegments> segments;
    for (Index column = 0; column < out_c; column += panel) {
      TileTask<T> task{};
      task.segments = segments.data();
      task.a_stride = in_h * in_w * in_c;
      task.a_step = 1;
      task.c_stride = out_batch;
      task.ahead = in;
      const Index count = panel_vectors(column);
      for (Index y = 0; y < out_h; ++y) {
        const Index top = y * step_y + offset_y;
        const Index first_y = std::clamp<Index>(-top, 0, taps_y);
        const Index last_y = std::clamp<Index>(in_h - top, first_y, taps_y);
        for (Index x = 0; x < out_w; ++x) {
          const Index start = x * step_x + offset_x;
          const Index first_x = std::clamp<Index>(-start, 0, taps_x);
          const Index last_x = std::clamp<Index>(in_w - start, first_x, taps_x);
          Index tap = first_y;
          do {
            const Index end = std::min(last_y, tap + kSegments);
            prepare_panel(task, column);
            if (tap > first_y) task.bias = nullptr;
            for (Index t = tap; t < end; ++t) {
              segments[static_cast<std::size_t>(t - tap)] = {in + ((top + t) * in_w + start + first_x) * in_c,
                                                             weights + (t * taps_x + first_x) * in_c * task.b_step};
            }
            task.segment_count = end - tap;
            task.length = (last_x - first_x) * in_c;
            task.add = add || tap > first_y;
            for_each_piece(batch, most, [&](Index first, Index piece) {
              task.a_offset = first * task.a_stride;
              task.c = out + first * out_batch + y * out_row + x * out_pixel + column;
              run_tile(piece, count, task);
            });
            tap = end;
          } while (tap < last_y);
        }
      }
    }
  }
};

}  // namespace detail
}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
