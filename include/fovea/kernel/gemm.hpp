// SPDX-License-Identifier: MIT
/// \file
/// Matrix products on strided views, and the register tile that convolutions share.
///
/// Cost: 2 m n k flops. Bytes: a and b are read once for each block that fits L2, c is read and written once for every 512
/// steps of k. The register tile holds its sums in registers (14 rows x 2 vectors, 9 x 3 or 6 x 4 with 32 registers; 6 x 2 or
/// 4 x 3 with 16) and runs at the processor's peak whether b comes from L1 or L2 (177 of 178 GFLOP/s, float, AVX-512, one core
/// of a Sapphire Rapids): the limit is the FMA units. What is left is feeding it. Percent of that peak (bench/kernel_gemm.cpp):
///     64^3  86-89   96^3  93   128^3  96   256^3  97   384^3  97   512^3  94   1024^3  90   64x576x4096  85   32x256x768  95
///     16^3  65 (70 ns)   8^3  15-20 (40 ns: the call itself)   1x256x768  32: b is read once, and L3 is the limit
/// Accuracy: plain fused sums; k is cut into blocks of at most 512 steps, each summed from zero and then added to c, so
/// the error grows like max(512, k / 512) at worst. The order depends on the extents and the instruction set alone.
///
/// Why so: rows of b lie far apart where no hardware prefetcher follows, so the tile asks for them 8 steps ahead; with that, b
/// is read where it lies. A copy in panels costs as much as eight rows of the product, and pays only where b is not contiguous
/// along n, or its rows lie pages apart and many tiles use them. a is read in place while its rows are contiguous, since the
/// tile broadcasts single elements; its rows stay in L1 while the columns of b pass. Where all of b stays in L1 or L2, tiles
/// that ask for nothing ahead are quicker by 3 to 20 percent: a prefetch takes a load's turn. They mask the last columns
/// instead of copying b, and a product of a single one needs no plan. For few rows against a transposed b dot products need no
/// copy at all.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace fovea::inline FOVEA_ABI {
/// Forward and backward pairs on raw views: single-threaded, allocation-free, no tape.
namespace kernel {

namespace detail {

#if defined(__GNUC__)
#define FOVEA_UNROLL _Pragma("GCC unroll 32")
#else
#define FOVEA_UNROLL
#endif

/// One stretch of the inner dimension: where its left and right operands start.
template <class T>
struct Segment {
  const T* a;
  const T* b;
};

/// What a register tile computes: for rows r and columns j
///     c[r * c_stride + j] (+)= bias[j] + sum over segments s, steps k of
///         s.a[a_offset + r * a_stride + k * a_step] * s.b[b_offset + k * b_step + j].
template <class T>
struct TileTask {
  const Segment<T>* segments;
  Index segment_count;
  Index length;  ///< steps of each segment
  Index a_offset;
  Index a_stride;
  Index a_step;
  Index b_offset;
  Index b_step;
  T* c;
  Index c_stride;
  const T* bias;  ///< may be null
  bool add;       ///< add to what is in c, or overwrite it
  Index tail;     ///< columns that exist of the last vector, 1 .. kWidth
  /// What later tiles will read: asked for at `ahead + i * ahead_step` in the i-th step, at a pace that leaves the line buffers
  /// to b. Any valid address where there is nothing to ask for.
  const T* ahead;
  Index ahead_step;
};

/// Most rows of a tile of `vectors` vectors: accumulators, one vector row of b, and one broadcast of a stay in registers.
template <int vectors>
inline constexpr int kTileRows = std::min(14, (simd::kRegisters - 1 - vectors) / vectors);
/// Vectors of the widest tile.
inline constexpr int kTileVectors = simd::kRegisters >= 32 ? 4 : 3;

/// Steps that b is asked for ahead: it streams through L1 from L2, in rows that no hardware prefetcher follows.
inline constexpr Index kPrefetchSteps = 8;

/// A tile of `rows` x `vectors`. Every sum starts from the bias or zero and is added to c once, so a chain of roundings is no
/// longer than the task's steps.
template <class T, int rows, int vectors, bool unit>
void tile(const TileTask<T>& task) {
  using V = simd::Batch<T>;
  constexpr Index width = simd::kWidth<T>;
  const Index tail = task.tail;
  V start[vectors];
  FOVEA_UNROLL
  for (int v = 0; v < vectors; ++v) {
    if (task.bias == nullptr) {
      start[v] = simd::zero<T>();
    } else {
      const bool whole = v + 1 < vectors || tail == width;
      start[v] = whole ? simd::load(task.bias + v * width) : simd::load_partial(task.bias + v * width, tail);
    }
  }
  V sum[rows][vectors];
  FOVEA_UNROLL
  for (int r = 0; r < rows; ++r) {
    FOVEA_UNROLL
    for (int v = 0; v < vectors; ++v) sum[r][v] = start[v];
  }
  const Index length = task.length;
  const Index stride = unit ? 1 : task.a_stride;
  const Index a_step = task.a_step;
  const Index b_step = task.b_step;
  const T* ahead = task.ahead;
  const Index ahead_step = task.ahead_step;
  for (Index s = 0; s < task.segment_count; ++s) {
    // Rows that lie side by side need one pointer. Otherwise pointers to every third row: x86 addresses the two rows between as
    // [p + stride] and [p + 2 stride].
    constexpr int group = unit ? rows : 3;
    constexpr int groups = (rows + group - 1) / group;
    const T* FOVEA_RESTRICT a[groups];
    FOVEA_UNROLL
    for (int g = 0; g < groups; ++g) a[g] = task.segments[s].a + task.a_offset + group * g * stride;
    const T* FOVEA_RESTRICT b = task.segments[s].b + task.b_offset;
    for (Index k = 0; k < length; ++k) {
      V right[vectors];
      FOVEA_UNROLL
      for (int v = 0; v < vectors; ++v) right[v] = simd::load(b + v * width);
      FOVEA_UNROLL
      for (int v = 0; v < vectors; ++v) simd::prefetch(b + kPrefetchSteps * b_step + v * width);
      FOVEA_UNROLL
      for (int r = 0; r < rows; ++r) {
        const V left = simd::broadcast(a[r / group][(r % group) * stride]);
        FOVEA_UNROLL
        for (int v = 0; v < vectors; ++v) sum[r][v] = simd::fma(left, right[v], sum[r][v]);
      }
      FOVEA_UNROLL
      for (int g = 0; g < groups; ++g) a[g] += a_step;
      b += b_step;
      simd::prefetch<2>(ahead);
      ahead += ahead_step;
    }
  }
  T* c = task.c;
  FOVEA_UNROLL
  for (int v = 0; v < vectors; ++v) {
    const bool whole = v + 1 < vectors || tail == width;
    FOVEA_UNROLL
    for (int r = 0; r < rows; ++r) {
      T* to = c + r * task.c_stride + v * width;
      if (whole) {
        simd::store(to, task.add ? sum[r][v] + simd::load(to) : sum[r][v]);
      } else {
        simd::store_partial(to, tail, task.add ? sum[r][v] + simd::load_partial(to, tail) : sum[r][v]);
      }
    }
  }
}

template <class T>
using TileFunction = void (*)(const TileTask<T>&);

template <class T, int vectors, bool unit>
inline constexpr auto kTilesOf = []<int... r>(std::integer_sequence<int, r...>) {
  return std::array<TileFunction<T>, sizeof...(r)>{&tile<T, r + 1, vectors, unit>...};
}
(std::make_integer_sequence<int, kTileRows<vectors>>{});

template <class T, bool unit>
[[nodiscard]] inline TileFunction<T> tile_of(std::size_t row, Index vectors) {
  switch (vectors) {
    case 1: return kTilesOf<T, 1, unit>[row];
    case 2: return kTilesOf<T, 2, unit>[row];
    case 3: return kTilesOf<T, 3, unit>[row];
    default: return kTilesOf<T, kTileVectors, unit>[row];
  }
}
/// Runs the tile of 1 <= rows <= max_tile_rows(vectors), 1 <= vectors <= kTileVectors.
template <class T>
inline void run_tile(Index rows, Index vectors, const TileTask<T>& task) {
  const auto row = static_cast<std::size_t>(rows - 1);
  (task.a_stride == 1 ? tile_of<T, true>(row, vectors) : tile_of<T, false>(row, vectors))(task);
}
[[nodiscard]] constexpr Index max_tile_rows(Index vectors) {
  switch (vectors) {
    case 1: return kTileRows<1>;
    case 2: return kTileRows<2>;
    case 3: return kTileRows<3>;
    default: return kTileRows<kTileVectors>;
  }
}

[[nodiscard]] constexpr Index divide_up(Index n, Index by) { return (n + by - 1) / by; }
template <class T>
[[nodiscard]] constexpr Index vectors_of(Index columns) {
  return divide_up(columns, simd::kWidth<T>);
}

/// Vectors of a tile for `count` rows and `columns` columns: those that load least. A step of a tile loads an element of a for
/// each row, and loads and prefetches each vector of b.
template <class T>
[[nodiscard]] constexpr Index choose_vectors(Index count, Index columns) {
  const Index vectors = vectors_of<T>(columns);
  Index best = 0;
  Index fewest = 0;
  for (Index v = std::min<Index>(2, vectors); v <= std::min<Index>(kTileVectors, vectors); ++v) {
    const Index loads = divide_up(vectors, v) * (count + 2 * v * divide_up(count, max_tile_rows(v)));
    if (best == 0 || loads < fewest) {
      fewest = loads;
      best = v;
    }
  }
  return best;
}

/// Calls body(first, rows) for pieces of [0, count), as equal as can be, none larger than `most`.
template <class Body>
FOVEA_ALWAYS_INLINE void for_each_piece(Index count, Index most, Body&& body) {
  const Index pieces = divide_up(count, most);
  if (pieces == 0) return;
  const Index small = count / pieces;
  const Index larger = count % pieces;
  Index first = 0;
  for (Index p = 0; p < pieces; ++p) {
    const Index rows = small + (p < larger ? 1 : 0);
    body(first, rows);
    first += rows;
  }
}

#if defined(__AVX512F__)
/// transpose_rows of 16 floats; `whole`: count is 16.
template <bool whole>
inline void transpose_16(const float* from, Index from_stride, Index count, float* to, Index to_stride) {
  __m512 row[16];
  __m512 next[16];
  FOVEA_UNROLL
  for (int i = 0; i < 16; ++i) row[i] = whole || i < count ? _mm512_loadu_ps(from + i * from_stride) : _mm512_setzero_ps();
  const auto mask = static_cast<__mmask16>(whole ? 0xFFFFU : (1U << count) - 1U);
  const auto store = [&](int column, __m512 v) {
    float* p = to + column * to_stride;
    if (whole) {
      _mm512_storeu_ps(p, v);
    } else {
      _mm512_mask_storeu_ps(p, mask, v);
    }
  };
  // 4x4 blocks within 128-bit lanes.
  FOVEA_UNROLL
  for (int i = 0; i < 16; i += 4) {
    const __m512d t0 = _mm512_castps_pd(_mm512_unpacklo_ps(row[i], row[i + 1]));
    const __m512d t1 = _mm512_castps_pd(_mm512_unpackhi_ps(row[i], row[i + 1]));
    const __m512d t2 = _mm512_castps_pd(_mm512_unpacklo_ps(row[i + 2], row[i + 3]));
    const __m512d t3 = _mm512_castps_pd(_mm512_unpackhi_ps(row[i + 2], row[i + 3]));
    next[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(t0, t2));
    next[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(t0, t2));
    next[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(t1, t3));
    next[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(t1, t3));
  }
  // next[4 q + c] lane l holds rows 4q..4q+3 of column 4l + c: gather the four q of each column.
  FOVEA_UNROLL
  for (int c = 0; c < 4; ++c) {
    const __m512 u0 = _mm512_shuffle_f32x4(next[c], next[4 + c], 0x44);       // q0l0 q0l1 q1l0 q1l1
    const __m512 u1 = _mm512_shuffle_f32x4(next[8 + c], next[12 + c], 0x44);  // q2l0 q2l1 q3l0 q3l1
    const __m512 u2 = _mm512_shuffle_f32x4(next[c], next[4 + c], 0xEE);       // l2 l3
    const __m512 u3 = _mm512_shuffle_f32x4(next[8 + c], next[12 + c], 0xEE);
    store(c, _mm512_shuffle_f32x4(u0, u1, 0x88));
    store(4 + c, _mm512_shuffle_f32x4(u0, u1, 0xDD));
    store(8 + c, _mm512_shuffle_f32x4(u2, u3, 0x88));
    store(12 + c, _mm512_shuffle_f32x4(u2, u3, 0xDD));
  }
}
#endif

/// Transposes `count` rows of kWidth: to[j * to_stride + i] = from[i * from_stride + j] for i < count <= kWidth, j < kWidth.
template <class T>
inline void transpose_rows(const T* from, Index from_stride, Index count, T* to, Index to_stride) {
  constexpr Index width = simd::kWidth<T>;
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && width == 16) {
    if (count == 16) {
      transpose_16<true>(from, from_stride, count, to, to_stride);
    } else {
      transpose_16<false>(from, from_stride, count, to, to_stride);
    }
    return;
  }
#endif
#if defined(__AVX__)
  if constexpr (std::is_same_v<T, float> && width == 8) {
    __m256 row[8];
    __m256 next[8];
    FOVEA_UNROLL
    for (int i = 0; i < 8; ++i) row[i] = i < count ? _mm256_loadu_ps(from + i * from_stride) : _mm256_setzero_ps();
    FOVEA_UNROLL
    for (int i = 0; i < 8; i += 4) {
      const __m256d t0 = _mm256_castps_pd(_mm256_unpacklo_ps(row[i], row[i + 1]));
      const __m256d t1 = _mm256_castps_pd(_mm256_unpackhi_ps(row[i], row[i + 1]));
      const __m256d t2 = _mm256_castps_pd(_mm256_unpacklo_ps(row[i + 2], row[i + 3]));
      const __m256d t3 = _mm256_castps_pd(_mm256_unpackhi_ps(row[i + 2], row[i + 3]));
      next[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(t0, t2));
      next[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(t0, t2));
      next[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(t1, t3));
      next[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(t1, t3));
    }
    FOVEA_UNROLL
    for (int c = 0; c < 4; ++c) {
      simd::store_partial(to + c * to_stride, count, simd::Batch<T>(_mm256_permute2f128_ps(next[c], next[4 + c], 0x20)));
      simd::store_partial(to + (4 + c) * to_stride, count, simd::Batch<T>(_mm256_permute2f128_ps(next[c], next[4 + c], 0x31)));
    }
    return;
  }
#endif
  for (Index i = 0; i < count; ++i) {
    for (Index j = 0; j < width; ++j) to[j * to_stride + i] = from[i * from_stride + j];
  }
}

/// to[i * to_stride + j] = from[i * row_stride + j * column_stride] for j < columns, 0 for columns <= j < padded.
/// Any strides; quick where one of them is 1.
template <class T>
inline void copy_matrix(const T* from, Index row_stride, Index column_stride, Index rows, Index columns, T* to, Index to_stride,
                        Index padded) {
  constexpr Index width = simd::kWidth<T>;
  if (column_stride == 1) {
    for (Index i = 0; i < rows; ++i) {
      const T* source = from + i * row_stride;
      T* target = to + i * to_stride;
      simd::for_each_batch<T>(columns, [&](auto at) { at.store(target, at.load(source)); });
      for (Index j = columns; j < padded; ++j) target[j] = T(0);
    }
    return;
  }
  Index done = 0;  // rows
  if (row_stride == 1) {
    for (; done + width <= rows; done += width) {
      for (Index j = 0; j < columns; j += width) {
        transpose_rows(from + done + j * column_stride, column_stride, std::min(width, columns - j), to + done * to_stride + j,
                       to_stride);
      }
    }
  }
  for (Index i = 0; i < rows; ++i) {
    if (i >= done) {
      for (Index j = 0; j < columns; ++j) to[i * to_stride + j] = from[i * row_stride + j * column_stride];
    }
    for (Index j = columns; j < padded; ++j) to[i * to_stride + j] = T(0);
  }
}

/// Packs a matrix of `rows` x `columns` into panels of `vectors` vectors, the last one narrower, each rows x (its width) and
/// dense; columns that do not exist are 0. Panel p starts at p * vectors * kWidth * rows.
template <class T>
inline void pack_panels(const T* from, Index row_stride, Index column_stride, Index rows, Index columns, Index vectors, T* to) {
  const Index panel = vectors * simd::kWidth<T>;
  constexpr Index stretch = simd::kWidth<T>;  // so that no more than these many rows are read side by side
  for (Index row = 0; row < rows; row += stretch) {
    const Index count = std::min(stretch, rows - row);
    for (Index first = 0; first < columns; first += panel) {
      const Index here = std::min(panel, columns - first);
      const Index padded = vectors_of<T>(here) * simd::kWidth<T>;
      copy_matrix(from + row * row_stride + first * column_stride, row_stride, column_stride, count, here,
                  to + first * rows + row * padded, padded, padded);
    }
  }
}
template <class T>
[[nodiscard]] constexpr Index packed_size(Index rows, Index columns) {
  return rows * vectors_of<T>(columns) * simd::kWidth<T>;
}

/// The first element of `workspace` on a cache line, so that packed panels never straddle two.
template <class T>
[[nodiscard]] inline T* aligned_start(T* p) {
  constexpr auto mask = static_cast<std::uintptr_t>(kAlignment - 1);
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  return p + static_cast<Index>(((address + mask) & ~mask) - address) / static_cast<Index>(sizeof(T));
}
/// Elements to ask for beyond the sum of the parts.
template <class T>
inline constexpr Index kSlack = static_cast<Index>(kAlignment / sizeof(T));

template <class T>
struct GemmPlan {
  Index vectors;  ///< of a tile
  Index rows;     ///< most rows of a tile
  Index k_block;  ///< steps of one pass
  Index n_block;  ///< columns of one pass
  bool pack_b;
  bool pack_a;

  /// `a_unit`: rows of a are contiguous. `b_stride`: between rows of b; 0 where they are not contiguous.
  GemmPlan(Index m, Index n, Index k, bool a_unit, Index b_stride) {
    constexpr Index width = simd::kWidth<T>;
    constexpr Index page = 4096 / static_cast<Index>(sizeof(T));
    vectors = choose_vectors<T>(m, n);
    rows = max_tile_rows(vectors);
    const Index panel = vectors * width;
    // Rows of a stay in L1 while the panels of b, together half of L2, pass.
    k_block = divide_up(k, divide_up(k, Index{512}));
    n_block =
        std::min(divide_up(n, panel), std::max<Index>(1, (Index{1} << 20) / static_cast<Index>(sizeof(T)) / k_block / panel)) *
        panel;
    // A copy of b costs as much as eight rows of the product: worth it where b's rows lie pages apart and many tiles use it.
    pack_b = b_stride == 0 || n % width != 0 || (m > 10 * rows && n > panel && b_stride >= page);
    pack_a = !a_unit && n > 3 * panel;
  }
  [[nodiscard]] Index a_size() const { return pack_a ? rows * k_block : 0; }
  [[nodiscard]] Index b_size() const { return pack_b ? packed_size<T>(k_block, n_block) : 0; }
  [[nodiscard]] Index size() const { return a_size() + b_size() + kSlack<T>; }
};

/// c (1 x n) (+)= a b with rows of b contiguous: b is read once, eight rows at a time.
template <class T>
inline void row_times_matrix(const T* a, Index a_step, const T* b, Index b_step, Index n, Index k, T* c, bool add) {
  if (!add) std::fill_n(c, n, T(0));
  Index i = 0;
  constexpr int rows = 8;
  for (; i + rows <= k; i += rows) {
    T left[rows];
    for (int r = 0; r < rows; ++r) left[r] = a[(i + r) * a_step];
    const T* from = b + i * b_step;
    simd::for_each_batch<T>(n, [&](auto at) {
      auto even = at.load(c);
      auto odd = simd::zero<T>();
      FOVEA_UNROLL
      for (int r = 0; r < rows; r += 2) {
        even = simd::fma(simd::broadcast(left[r]), at.load(from + r * b_step), even);
        odd = simd::fma(simd::broadcast(left[r + 1]), at.load(from + (r + 1) * b_step), odd);
      }
      at.store(c, even + odd);
    });
  }
  for (; i < k; ++i) {
    const auto left = simd::broadcast(a[i * a_step]);
    simd::for_each_batch<T>(n, [&](auto at) { at.store(c, simd::fma(left, at.load(b + i * b_step), at.load(c))); });
  }
}

/// rows x columns dot products of contiguous vectors of length k.
template <class T, int rows, int columns>
inline void dots(const T* a, Index a_stride, const T* b, Index b_stride, Index k, T* c, Index c_row, Index c_column, bool add) {
  using V = simd::Batch<T>;
  V sum[rows][columns];
  FOVEA_UNROLL
  for (int r = 0; r < rows; ++r) {
    FOVEA_UNROLL
    for (int j = 0; j < columns; ++j) sum[r][j] = simd::zero<T>();
  }
  simd::for_each_batch<T>(k, [&](auto at) {
    V right[columns];
    FOVEA_UNROLL
    for (int j = 0; j < columns; ++j) right[j] = at.load(b + j * b_stride);
    FOVEA_UNROLL
    for (int r = 0; r < rows; ++r) {
      const V left = at.load(a + r * a_stride);
      FOVEA_UNROLL
      for (int j = 0; j < columns; ++j) sum[r][j] = simd::fma(left, right[j], sum[r][j]);
    }
  });
  FOVEA_UNROLL
  for (int r = 0; r < rows; ++r) {
    FOVEA_UNROLL
    for (int j = 0; j < columns; ++j) {
      T& to = c[r * c_row + j * c_column];
      const T value = simd::reduce_add(sum[r][j]);
      to = add ? to + value : value;
    }
  }
}

/// c (+)= a b where the inner dimension is contiguous in both: few rows, b read once.
template <class T>
inline void dot_product_gemm(View<const T, 2> a, View<const T, 2> b, View<T, 2> c, bool add) {
  const Index m = c.extent(0);
  const Index n = c.extent(1);
  const Index k = a.extent(1);
  const Index as = a.stride(0);
  const Index bs = b.stride(1);
  const Index cr = c.stride(0);
  const Index cc = c.stride(1);
  Index j = 0;
  for (; j + 4 <= n; j += 4) {
    const T* right = b.data() + j * bs;
    Index i = 0;
    constexpr int most = simd::kRegisters >= 32 ? 4 : 2;
    for (; i + most <= m; i += most) {
      dots<T, most, 4>(a.data() + i * as, as, right, bs, k, c.data() + i * cr + j * cc, cr, cc, add);
    }
    for (; i < m; ++i) dots<T, 1, 4>(a.data() + i * as, as, right, bs, k, c.data() + i * cr + j * cc, cr, cc, add);
  }
  for (; j < n; ++j) {
    for (Index i = 0; i < m; ++i) {
      dots<T, 1, 1>(a.data() + i * as, as, b.data() + j * bs, bs, k, c.data() + i * cr + j * cc, cr, cc, add);
    }
  }
}

/// Whether part of a vector is loaded as quickly as a whole one.
template <class T>
inline constexpr bool kQuickPartial = simd::kWidth<T> * sizeof(T) >= 32;
/// Most rows of a small tile of `vectors` vectors: alone in its row, a vector leaves registers for two rows more.
template <int vectors>
inline constexpr int kSmallRows = vectors > 1              ? kTileRows<vectors>
                                  : simd::kRegisters >= 32 ? 16
                                                           : 12;

/// A tile without a plan, bias or prefetch, for operands that the caches hold. `whole`: all columns of its last vector exist;
/// otherwise `tail` of them.
template <class T, int rows, int vectors, bool whole>
void small_tile(const T* a, Index a_stride, Index a_step, const T* b, Index b_step, Index tail, Index k, T* c, Index c_stride,
                bool add) {
  using V = simd::Batch<T>;
  constexpr Index width = simd::kWidth<T>;
  V sum[rows][vectors];
  FOVEA_UNROLL
  for (int r = 0; r < rows; ++r) {
    FOVEA_UNROLL
    for (int v = 0; v < vectors; ++v) sum[r][v] = simd::zero<T>();
  }
  constexpr int groups = (rows + 2) / 3;
  const T* FOVEA_RESTRICT left[groups];
  FOVEA_UNROLL
  for (int g = 0; g < groups; ++g) left[g] = a + 3 * g * a_stride;
  for (Index i = 0; i < k; ++i) {
    V right[vectors];
    FOVEA_UNROLL
    for (int v = 0; v < vectors; ++v) {
      right[v] = whole || v + 1 < vectors ? simd::load(b + v * width) : simd::load_partial(b + v * width, tail);
    }
    FOVEA_UNROLL
    for (int r = 0; r < rows; ++r) {
      const V of_a = simd::broadcast(left[r / 3][(r % 3) * a_stride]);
      FOVEA_UNROLL
      for (int v = 0; v < vectors; ++v) sum[r][v] = simd::fma(of_a, right[v], sum[r][v]);
    }
    FOVEA_UNROLL
    for (int g = 0; g < groups; ++g) left[g] += a_step;
    b += b_step;
  }
  const auto finish = [&](auto adding) {
    T* to = c;
    FOVEA_UNROLL
    for (int r = 0; r < rows; ++r, to += c_stride) {
      FOVEA_UNROLL
      for (int v = 0; v < vectors; ++v) {
        V value = sum[r][v];
        if (whole || v + 1 < vectors) {
          if constexpr (adding) value = value + simd::load(to + v * width);
          simd::store(to + v * width, value);
        } else {
          if constexpr (adding) value = value + simd::load_partial(to + v * width, tail);
          simd::store_partial(to + v * width, tail, value);
        }
      }
    }
  };
  if (add) {
    finish(std::true_type{});
  } else {
    finish(std::false_type{});
  }
}

template <class T>
using SmallFunction = void (*)(const T*, Index, Index, const T*, Index, Index, Index, T*, Index, bool);
template <class T, int vectors, bool whole>
inline constexpr auto kSmallTilesOf = []<int... r>(std::integer_sequence<int, r...>) {
  return std::array<SmallFunction<T>, sizeof...(r)>{&small_tile<T, r + 1, vectors, whole>...};
}
(std::make_integer_sequence<int, kSmallRows<vectors>>{});
/// Every tile of `vectors` vectors, by its rows less 1.
template <class T, int vectors>
[[nodiscard]] FOVEA_ALWAYS_INLINE const auto& small_tiles(Index tail) {
  if constexpr (kQuickPartial<T>) {
    return tail == simd::kWidth<T> ? kSmallTilesOf<T, vectors, true> : kSmallTilesOf<T, vectors, false>;
  } else {
    return kSmallTilesOf<T, vectors, true>;
  }
}

/// Whether small_gemm takes the product: b lies in rows, and is read from L1 or L2 except for its first time, which the rows of
/// the product pay for.
template <class T>
[[nodiscard]] constexpr bool is_small(Index m, Index n, Index k, Index b_row, Index b_column) {
  constexpr Index page = 4096 / static_cast<Index>(sizeof(T));
  constexpr Index per_row = 2048 / static_cast<Index>(sizeof(T));
  return b_column == 1 && b_row < page && (kQuickPartial<T> || n % simd::kWidth<T> == 0) &&
         n * k <= std::min(m, Index{128}) * per_row;
}
/// c (+)= a b, everything read where it lies.
template <class T>
void small_gemm(View<const T, 2> a, View<const T, 2> b, View<T, 2> c, bool add) {
  constexpr Index width = simd::kWidth<T>;
  const Index m = c.extent(0);
  const Index n = c.extent(1);
  const auto columns = [&]<int vectors>(std::integral_constant<int, vectors>, Index from, Index tail) {
    const auto& tiles = small_tiles<T, vectors>(tail);
    for_each_piece(m, kSmallRows<vectors>, [&](Index first, Index rows) {
      tiles[static_cast<std::size_t>(rows - 1)](a.data() + first * a.stride(0), a.stride(0), a.stride(1), b.data() + from,
                                                b.stride(0), tail, a.extent(1), c.data() + first * c.stride(0) + from,
                                                c.stride(0), add);
    });
  };
  for_each_piece(vectors_of<T>(n), choose_vectors<T>(m, n), [&](Index first, Index vectors) {
    const Index from = first * width;
    const Index tail = std::min(width, n - from - (vectors - 1) * width);
    switch (vectors) {
      case 1: return columns(std::integral_constant<int, 1>{}, from, tail);
      case 2: return columns(std::integral_constant<int, 2>{}, from, tail);
      case 3: return columns(std::integral_constant<int, 3>{}, from, tail);
      default: return columns(std::integral_constant<int, kTileVectors>{}, from, tail);
    }
  });
}

template <class T>
inline void blocked_gemm(View<const T, 2> a, View<const T, 2> b, View<T, 2> c, bool add_first, View<T, 1> workspace) {
  constexpr Index width = simd::kWidth<T>;
  const Index m = c.extent(0);
  const Index n = c.extent(1);
  const Index k = a.extent(1);
  if (is_small<T>(m, n, k, b.stride(0), b.stride(1))) return small_gemm<T>(a, b, c, add_first);
  const GemmPlan<T> plan(m, n, k, a.stride(1) == 1, b.stride(1) == 1 ? b.stride(0) : 0);
  require(workspace.size() >= plan.size() && workspace.stride(0) == 1, "gemm: a contiguous workspace of ", plan.size(),
          " elements expected, ", workspace.size(), " came");
  const Index panel = plan.vectors * width;
  T* packed_b = aligned_start(workspace.data());
  T* packed_a = packed_b + plan.b_size();
  Segment<T> segment{};
  TileTask<T> task{};
  task.segments = &segment;
  task.segment_count = 1;
  task.c_stride = c.stride(0);
  task.ahead = b.data();
  for (Index n0 = 0; n0 < n; n0 += plan.n_block) {
    const Index columns = std::min(plan.n_block, n - n0);
    for (Index k0 = 0; k0 < k; k0 += plan.k_block) {
      const Index steps = std::min(plan.k_block, k - k0);
      const T* right = b.data() + k0 * b.stride(0) + n0 * b.stride(1);
      if (plan.pack_b) pack_panels(right, b.stride(0), b.stride(1), steps, columns, plan.vectors, packed_b);
      task.length = steps;
      task.add = add_first || k0 > 0;
      for_each_piece(m, plan.rows, [&](Index first, Index rows) {
        segment.a = a.data() + first * a.stride(0) + k0 * a.stride(1);
        task.a_stride = a.stride(0);
        task.a_step = a.stride(1);
        if (plan.pack_a) {
          copy_matrix(segment.a, a.stride(1), a.stride(0), steps, rows, packed_a, rows, rows);
          segment.a = packed_a;
          task.a_stride = 1;
          task.a_step = rows;
        }
        for (Index j = 0; j < columns; j += panel) {
          const Index here = std::min(panel, columns - j);
          const Index vectors = vectors_of<T>(here);
          segment.b = plan.pack_b ? packed_b + j * steps : right + j;
          task.b_step = plan.pack_b ? vectors * width : b.stride(0);
          task.tail = here - (vectors - 1) * width;
          task.c = c.data() + first * c.stride(0) + n0 + j;
          run_tile(rows, vectors, task);
        }
      });
    }
  }
}

/// Whether dot products, with a reduction for every result, beat packing a transposed b for so few rows.
template <class T>
[[nodiscard]] constexpr bool prefer_dots(Index rows, Index k) {
  return (rows <= 4 && k >= simd::kWidth<T>) || (rows <= 12 && k >= 16 * simd::kWidth<T>);
}

/// Apart from the checks, so that the call of a small product builds no message.
[[noreturn, gnu::noinline]] inline void refuse_gemm(bool fit, Index m, Index n, Index k, Index a_rows, Index b_rows,
                                                    Index b_columns, double beta) {
  if (fit) fail("gemm: beta of 0 or 1 expected, ", beta, " came");
  fail("gemm: a of ", m, "x", k, " and b of ", k, "x", n, " expected for c of ", m, "x", n, ", a of ", a_rows, "x", k,
       " and b of ", b_rows, "x", b_columns, " came");
}

/// The general product, after its checks.
template <class T>
void any_gemm(View<const T, 2> a, View<const T, 2> b, View<T, 2> c, bool add, View<T, 1> workspace) {
  const Index m = c.extent(0);
  const Index n = c.extent(1);
  const Index k = a.extent(1);
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!add) {
      for (Index i = 0; i < m; ++i) {
        for (Index j = 0; j < n; ++j) c(i, j) = T(0);
      }
    }
    return;
  }
  const auto swap_axes = []<class U>(View<U, 2> v) {
    return View<U, 2>(v.data(), {v.extent(1), v.extent(0)}, {v.stride(1), v.stride(0)});
  };
  const bool c_is_rows = c.stride(1) == 1 || n == 1;
  const bool c_is_columns = c.stride(0) == 1 || m == 1;
  require(c_is_rows || c_is_columns, "gemm: c contiguous along one axis expected, strides ", c.stride(0), " and ", c.stride(1),
          " came");
  // Few rows against a b that is contiguous along the inner dimension (or the mirror image of that): dot products.
  const bool inner_a = a.stride(1) == 1 || k == 1;
  const bool inner_b = b.stride(0) == 1 || k == 1;
  if (inner_a && inner_b && !(m == 1 && b.stride(1) == 1) && prefer_dots<T>(std::min(m, n), k)) {
    if (m <= n) {
      dot_product_gemm<T>(a, b, c, add);
    } else {
      dot_product_gemm<T>(swap_axes(b), swap_axes(a), swap_axes(c), add);
    }
    return;
  }
  if (m == 1 && c_is_rows && (b.stride(1) == 1 || n == 1)) {
    row_times_matrix(a.data(), a.stride(1), b.data(), b.stride(0), n, k, c.data(), add);
    return;
  }
  if (n == 1 && a.stride(0) == 1 && c.stride(0) == 1) {
    row_times_matrix(b.data(), b.stride(0), a.data(), a.stride(1), m, k, c.data(), add);
    return;
  }
  if (c.stride(1) == 1 || (n == 1 && c.stride(0) != 1)) {
    blocked_gemm<T>(a, b, c, add, workspace);
  } else {
    blocked_gemm<T>(swap_axes(b), swap_axes(a), swap_axes(c), add, workspace);
  }
}

}  // namespace detail

/// Elements of workspace that gemm needs for any m x k by k x n product, whatever the strides.
template <class T>
[[nodiscard]] Index gemm_workspace(Index m, Index n, Index k) {
  return std::max(detail::GemmPlan<T>(m, n, k, false, 0).size(), detail::GemmPlan<T>(n, m, k, false, 0).size());
}

/// Whether c of rows x columns, where b is transposed, is had quicker as the transpose of the mirrored product: a is then
/// turned around and not b, and fills whole vectors.
template <class T>
[[nodiscard]] constexpr bool prefer_transposed_result(Index rows, Index columns) {
  return rows % simd::kWidth<T> == 0 && columns >= 4 * rows;
}

/// c = a b + beta c, for a of m x k, b of k x n, c of m x n; beta is 0 (c is overwritten, whatever was there) or 1.
/// Any strides of a and b: a transposed operand is the view with its axes swapped. c must be contiguous along one axis, and
/// must not overlap a or b. `workspace`: at least gemm_workspace<T>(m, n, k) contiguous elements, any contents.
/// Throws Error where the extents do not fit, the workspace is too small for a product that needs it, or beta is neither 0
/// nor 1.
template <class T>
FOVEA_ALWAYS_INLINE void gemm(const View<const std::type_identity_t<T>, 2>& a, const View<const std::type_identity_t<T>, 2>& b,
                              const View<T, 2>& c, std::type_identity_t<T> beta,
                              const View<std::type_identity_t<T>, 1>& workspace) {
  const Index m = c.extent(0);
  const Index n = c.extent(1);
  const Index k = a.extent(1);
  const bool fit = a.extent(0) == m && b.extent(1) == n && b.extent(0) == k;
  if (!fit || !(beta == T(0) || beta == T(1))) [[unlikely]] {
    detail::refuse_gemm(fit, m, n, k, a.extent(0), b.extent(0), b.extent(1), static_cast<double>(beta));
  }
  // A product of a single tile takes as long as the decisions before it, so here there are none.
  if constexpr (detail::kQuickPartial<T>) {
    if (n > 1 && n <= simd::kWidth<T> && m > 1 && m <= detail::kSmallRows<1> && b.stride(1) == 1 && c.stride(1) == 1) {
      detail::small_tiles<T, 1>(n)[static_cast<std::size_t>(m - 1)](a.data(), a.stride(0), a.stride(1), b.data(), b.stride(0),
                                                                    n, k, c.data(), c.stride(0), beta == T(1));
      return;
    }
  }
  detail::any_gemm<T>(a, b, c, beta == T(1), workspace);
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
