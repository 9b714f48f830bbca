// SPDX-License-Identifier: MIT
/// \file
/// Winograd's minimal filtering F(2x2, 3x3): the part of kernel/conv2d.hpp for 3x3 windows of stride 1.
///
/// A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016:
///     Y = A' [ (G g G') . (B' d B) ] A     for each 2x2 of outputs, from a 4x4 of inputs d and a 3x3 of weights g.
///
/// Cost: 16 products where the window has 36, as 16 matrix products over blocks of tiles; then 32 additions for each input of a
/// tile and 24 for each output, and once for a call 28 operations for each of Cin Cout. Bytes: a block of tiles is transformed
/// into 16 (Cin + Cout) elements a tile; no more than about kBlockBytes exist at a time, and they stay in the caches.
/// The limit is L2 bandwidth between the three stages; the matrix products alone run at the peak.
/// Accuracy (float, normal inputs and weights, against double): the root mean square of the error is 2e-7 of that of the values
/// at 32 input channels and 5e-7 at 256. The plain sum, nine times as long, has 3e-7 and 9e-7. Why F(2x2) and not F(4x4): that
/// saves as much again, and loses three digits.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/gemm.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <array>

namespace fovea::inline FOVEA_ABI {
namespace kernel::detail {

/// out[n, y, x, :] (+)= bias + sum over ty, tx < 3 and channels of in[n, y + offset_y + ty, x + offset_x + tx, :] w[ty, tx, :,
/// :], where `in` is 0 outside its extents.
template <class T>
struct Winograd {
  static constexpr Index kBlockBytes = 128 * 1024;

  const T* in;
  Index batch, in_h, in_w, in_c;
  Index offset_y, offset_x;
  T* out;
  Index out_h, out_w, out_c;
  const T* bias;  ///< may be null
  bool add;

  [[nodiscard]] Index tiles_y() const { return divide_up(out_h, 2); }
  [[nodiscard]] Index tiles_x() const { return divide_up(out_w, 2); }
  [[nodiscard]] Index tiles() const { return batch * tiles_y() * tiles_x(); }
  /// Where it is quicker than the plain sum: enough channels for the products to be long, enough tiles to pay for the
  /// transform of the weights, and few taps beside the image, which a plain sum skips.
  [[nodiscard]] bool suits() const {
    constexpr Index channels = 32;
    return in_c >= channels && out_c >= channels && out_h >= 4 && out_w >= 4 && tiles() >= 64;
  }

  /// Columns of a row of weights: out_c in whole vectors.
  [[nodiscard]] Index columns() const { return vectors_of<T>(out_c) * simd::kWidth<T>; }
  [[nodiscard]] Index block() const {
    const Index most = kBlockBytes / static_cast<Index>(sizeof(T)) / (16 * (in_c + columns()));
    constexpr Index rows = kTileRows<2>;
    return std::min(tiles(), std::max<Index>(1, most / rows) * rows);
  }
  /// The sums over tiles of run_weights are long enough for their 16 in_c out_c results to be added up seldom.
  [[nodiscard]] Index weights_block() const { return std::min<Index>(tiles(), 128); }
  [[nodiscard]] Index plain_weights_size() const { return 9 * in_c * columns(); }
  /// Elements of workspace, beside the plain weights.
  [[nodiscard]] Index size() const { return 16 * in_c * columns() + 16 * block() * (in_c + columns()) + in_c; }

  /// Elements of workspace of run_weights.
  [[nodiscard]] Index weights_size() const { return 16 * in_c * columns() + 16 * weights_block() * (in_c + columns()) + in_c; }

  /// dw [3, 3, in_c, out_c] += the gradient for the weights, given d_out in the place of `out`: the same products with the
  /// tiles as the inner dimension, dw = G' [ sum over tiles (B' d B) . (A d_out A') ] G.
  void run_weights(const T* d_out, T* dw, T* workspace) const {
    T* gradients = workspace;
    T* inputs = gradients + 16 * in_c * columns();
    T* outputs = inputs + 16 * weights_block() * in_c;
    T* zeros = outputs + 16 * weights_block() * columns();
    std::fill_n(zeros, in_c, T(0));
    const Index all = tiles();
    for (Index first = 0; first < all; first += weights_block()) {
      const Index count = std::min(weights_block(), all - first);
      for (Index t = 0; t < count; ++t) {
        transform_input(first + t, zeros, inputs + t * in_c, count * in_c);
        transform_output_gradient(first + t, d_out, outputs + t * columns(), count * columns());
      }
      for (Index k = 0; k < 16; ++k) {
        multiply_rows(in_c, count, inputs + k * count * in_c, 1, in_c, outputs + k * count * columns(),
                      gradients + k * in_c * columns(), first > 0);
      }
    }
    add_weights(gradients, dw);
  }

  /// `plain`: weights [3, 3, in_c, columns()], dense.
  void run(const T* plain, T* workspace) const {
    T* weights = workspace;
    T* inputs = weights + 16 * in_c * columns();
    T* products = inputs + 16 * block() * in_c;
    T* zeros = products + 16 * block() * columns();
    std::fill_n(zeros, in_c, T(0));
    transform_weights(plain, weights);
    const Index all = tiles();
    for (Index first = 0; first < all; first += block()) {
      const Index count = std::min(block(), all - first);
      for (Index t = 0; t < count; ++t) transform_input(first + t, zeros, inputs + t * in_c, count * in_c);
      multiply(count, inputs, weights, products);
      for (Index t = 0; t < count; ++t) transform_output(first + t, products + t * columns(), count * columns());
    }
  }

 private:
  struct Place {
    Index n, y, x;  ///< of the tile's first output
  };
  [[nodiscard]] Place place(Index tile) const {
    const Index x = tile % tiles_x();
    const Index row = tile / tiles_x();
    return {row / tiles_y(), row % tiles_y() * 2, x * 2};
  }

  /// G g G' for every channel pair; G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1].
  void transform_weights(const T* plain, T* to) const {
    using V = simd::Batch<T>;
    const Index size = in_c * columns();
    const V half = simd::broadcast(T(0.5));
    const auto line = [&](const V& a, const V& b, const V& c) {
      const V sides = half * (a + c);
      const V middle = half * b;
      return std::array<V, 4>{a, sides + middle, sides - middle, c};
    };
    for (Index i = 0; i < size; i += simd::kWidth<T>) {
      const auto g = [&](int y, int x) { return simd::load(plain + (3 * y + x) * size + i); };
      std::array<std::array<V, 4>, 3> rows;
      for (int x = 0; x < 3; ++x) rows[static_cast<std::size_t>(x)] = line(g(0, x), g(1, x), g(2, x));
      for (std::size_t y = 0; y < 4; ++y) {
        const std::array<V, 4> u = line(rows[0][y], rows[1][y], rows[2][y]);
        for (std::size_t x = 0; x < 4; ++x) simd::store(to + static_cast<Index>(4 * y + x) * size + i, u[x]);
      }
    }
  }

  /// B' d B for the 4x4 inputs of a tile, to[k * stride + c]; B' = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1].
  void transform_input(Index tile, const T* zeros, T* to, Index stride) const {
    const Place p = place(tile);
    std::array<const T*, 16> d;
    for (Index y = 0; y < 4; ++y) {
      const Index iy = p.y + offset_y + y;
      for (Index x = 0; x < 4; ++x) {
        const Index ix = p.x + offset_x + x;
        const bool inside = iy >= 0 && iy < in_h && ix >= 0 && ix < in_w;
        d[static_cast<std::size_t>(4 * y + x)] = inside ? in + ((p.n * in_h + iy) * in_w + ix) * in_c : zeros;
      }
    }
    simd::for_each_batch<T>(in_c, [&](auto at) {
      using V = simd::Batch<T>;
      V half[4][4];
      FOVEA_UNROLL
      for (std::size_t x = 0; x < 4; ++x) {
        const V d0 = at.load(d[x]);
        const V d1 = at.load(d[4 + x]);
        const V d2 = at.load(d[8 + x]);
        const V d3 = at.load(d[12 + x]);
        half[0][x] = d0 - d2;
        half[1][x] = d1 + d2;
        half[2][x] = d2 - d1;
        half[3][x] = d1 - d3;
      }
      FOVEA_UNROLL
      for (std::size_t y = 0; y < 4; ++y) {
        T* row = to + static_cast<Index>(4 * y) * stride;
        at.store(row, half[y][0] - half[y][2]);
        at.store(row + stride, half[y][1] + half[y][2]);
        at.store(row + 2 * stride, half[y][2] - half[y][1]);
        at.store(row + 3 * stride, half[y][1] - half[y][3]);
      }
    });
  }

  /// products[k] = inputs[k] weights[k]: `count` x in_c by in_c x columns().
  void multiply(Index count, const T* inputs, const T* weights, T* products) const {
    for (Index k = 0; k < 16; ++k) {
      multiply_rows(count, in_c, inputs + k * count * in_c, in_c, 1, weights + k * in_c * columns(),
                    products + k * count * columns(), false);
    }
  }

  /// c [rows, columns()] (+)= a b; a of rows x steps with these strides, b [steps, columns()].
  void multiply_rows(Index rows, Index steps, const T* a, Index a_stride, Index a_step, const T* b, T* c, bool add_to) const {
    const Index vectors = choose_vectors<T>(rows, out_c);
    const Index panel = vectors * simd::kWidth<T>;
    Segment<T> segment{};
    TileTask<T> task{};
    task.segments = &segment;
    task.segment_count = 1;
    task.length = steps;
    task.a_stride = a_stride;
    task.a_step = a_step;
    task.b_step = columns();
    task.c_stride = columns();
    task.tail = simd::kWidth<T>;
    task.add = add_to;
    for (Index column = 0; column < columns(); column += panel) {
      const Index here = vectors_of<T>(std::min(panel, columns() - column));
      segment.b = b + column;
      for_each_piece(rows, max_tile_rows(vectors), [&](Index first, Index count) {
        segment.a = a + first * a_stride;
        task.ahead = segment.a;
        task.c = c + first * columns() + column;
        run_tile(count, here, task);
      });
    }
  }

  /// A d A' for the 2x2 outputs of a tile: the transpose of transform_output.
  void transform_output_gradient(Index tile, const T* d_out, T* to, Index stride) const {
    const Place p = place(tile);
    const T* from = d_out + ((p.n * out_h + p.y) * out_w + p.x) * out_c;
    const bool right = p.x + 1 < out_w;
    const bool below = p.y + 1 < out_h;
    simd::for_each_batch<T>(out_c, [&](auto at) {
      using V = simd::Batch<T>;
      const V none = simd::zero<T>();
      const V d00 = at.load(from);
      const V d01 = right ? at.load(from + out_c) : none;
      const V d10 = below ? at.load(from + out_w * out_c) : none;
      const V d11 = right && below ? at.load(from + out_w * out_c + out_c) : none;
      const std::array<V, 4> left{d00, d00 + d10, d00 - d10, none - d10};
      const std::array<V, 4> rest{d01, d01 + d11, d01 - d11, none - d11};
      FOVEA_UNROLL
      for (std::size_t y = 0; y < 4; ++y) {
        T* row = to + static_cast<Index>(4 * y) * stride;
        at.store(row, left[y]);
        at.store(row + stride, left[y] + rest[y]);
        at.store(row + 2 * stride, left[y] - rest[y]);
        at.store(row + 3 * stride, none - rest[y]);
      }
    });
    // The products run over whole vectors of columns.
    for (Index k = 0; k < 16; ++k) std::fill(to + k * stride + out_c, to + k * stride + columns(), T(0));
  }

  /// dw += G' u G for every channel pair.
  void add_weights(const T* u, T* dw) const {
    using V = simd::Batch<T>;
    const Index size = in_c * columns();
    const V half = simd::broadcast(T(0.5));
    const auto line = [&](const V& a, const V& b, const V& c, const V& d) {
      const V sum = half * (b + c);
      return std::array<V, 3>{a + sum, half * (b - c), sum + d};
    };
    for (Index c = 0; c < in_c; ++c) {
      simd::for_each_batch<T>(out_c, [&](auto at) {
        const T* from = u + c * columns();
        std::array<std::array<V, 3>, 4> rows;
        for (Index x = 0; x < 4; ++x) {
          const auto g = [&](Index y) { return at.load(from + (4 * y + x) * size); };
          rows[static_cast<std::size_t>(x)] = line(g(0), g(1), g(2), g(3));
        }
        for (std::size_t y = 0; y < 3; ++y) {
          const std::array<V, 3> taps = line(rows[0][y], rows[1][y], rows[2][y], rows[3][y]);
          for (std::size_t x = 0; x < 3; ++x) {
            T* to = dw + (static_cast<Index>(3 * y + x) * in_c + c) * out_c;
            at.store(to, at.load(to) + taps[x]);
          }
        }
      });
    }
  }

  /// A' M A for the 2x2 outputs of a tile; A' = [1 1 1 0; 0 1 -1 -1].
  void transform_output(Index tile, const T* from, Index stride) const {
    const Place p = place(tile);
    T* to = out + ((p.n * out_h + p.y) * out_w + p.x) * out_c;
    const bool right = p.x + 1 < out_w;
    const bool below = p.y + 1 < out_h;
    simd::for_each_batch<T>(out_c, [&](auto at) {
      using V = simd::Batch<T>;
      V top[4];
      V bottom[4];
      FOVEA_UNROLL
      for (std::size_t x = 0; x < 4; ++x) {
        const T* column = from + static_cast<Index>(x) * stride;
        const V m0 = at.load(column);
        const V m1 = at.load(column + 4 * stride);
        const V m2 = at.load(column + 8 * stride);
        const V m3 = at.load(column + 12 * stride);
        const V sum = m1 + m2;
        const V difference = m1 - m2;
        top[x] = m0 + sum;
        bottom[x] = difference - m3;
      }
      const V start = bias == nullptr ? simd::zero<T>() : at.load(bias);
      const auto store = [&](T* pixel, const V& v) { at.store(pixel, add ? v + at.load(pixel) : v); };
      store(to, start + ((top[0] + top[1]) + top[2]));
      if (right) store(to + out_c, start + ((top[1] - top[2]) - top[3]));
      if (below) {
        T* line = to + out_w * out_c;
        store(line, start + ((bottom[0] + bottom[1]) + bottom[2]));
        if (right) store(line + out_c, start + ((bottom[1] - bottom[2]) - bottom[3]));
      }
    });
  }
};

}  // namespace kernel::detail
}  // namespace fovea::inline FOVEA_ABI
