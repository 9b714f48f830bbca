// SPDX-License-Identifier: MIT
/// \file
/// Element-wise arithmetic on dense arrays, and sums: what the simplest ops and the optimisers are made of.
///
/// Cost: one pass over memory, bound by it: y += a x takes 0.03 ns an element in L1, 0.12 in L2 and 0.3 in 34 MB, 37 GB/s
/// (float, AVX-512 at about 3 GHz, bench/kernel_elementwise.cpp). Accuracy: each element is rounded once or twice; sums run in
/// `double` beyond blocks of 64 vectors, so the relative error of a sum of terms of one sign stays below 1e-6 in float for any
/// length.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <cstddef>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// The sum of f(at) over the positions of [0, n), where f returns a Batch whose lanes behind the end are 0.
/// Blocks of 64 vectors are summed in T, the blocks in double; the order depends on n alone.
template <class T, class F>
[[nodiscard]] FOVEA_ALWAYS_INLINE double block_sum(Index n, F f) {
  using B = simd::Batch<T>;
  constexpr Index width = simd::kWidth<T>;
  constexpr Index block = 64 * width;
  double total = 0;
  for (Index first = 0; first < n; first += block) {
    const Index end = std::min(n, first + block);
    B even(T(0));
    B odd(T(0));
    Index i = first;
    for (; i + 2 * width <= end; i += 2 * width) {
      even = even + f(simd::WholeBatch<T>{i});
      odd = odd + f(simd::WholeBatch<T>{i + width});
    }
    if (i + width <= end) {
      even = even + f(simd::WholeBatch<T>{i});
      i += width;
    }
    if (i < end) odd = odd + f(simd::PartialBatch<T>{i, end - i});
    total += static_cast<double>(simd::reduce_add<T>(even + odd));
  }
  return total;
}

/// For every lane the sum of f(p) over the positions p of [0, positions), f returning a Batch: sums over rows of an
/// array, a vector of columns at a time. Adds to `sums`; blocks of 64 rows in T, the blocks in double.
template <class T, class F>
FOVEA_ALWAYS_INLINE void lane_sums(Index positions, F f, double (&sums)[static_cast<std::size_t>(simd::kWidth<T>)]) {
  using B = simd::Batch<T>;
  for (Index first = 0; first < positions; first += 64) {
    const Index end = std::min(positions, first + 64);
    B even(T(0));
    B odd(T(0));
    Index p = first;
    for (; p + 2 <= end; p += 2) {
      even = even + f(p);
      odd = odd + f(p + 1);
    }
    if (p < end) even = even + f(p);
    alignas(kAlignment) T lanes[static_cast<std::size_t>(simd::kWidth<T>)];
    simd::store_aligned<T>(lanes, even + odd);
    for (Index l = 0; l < simd::kWidth<T>; ++l) sums[l] += static_cast<double>(lanes[l]);
  }
}

/// The sum of the elements.
template <class T>
[[nodiscard]] double sum(View<const T, 1> x) {
  FOVEA_ASSERT(x.is_dense());
  const T* from = x.data();
  return block_sum<T>(x.size(), [=](auto at) { return at.load(from); });
}

/// z = x + y.
template <class T>
void add(View<const std::type_identity_t<T>, 1> x, View<const std::type_identity_t<T>, 1> y, View<T, 1> z) {
  FOVEA_ASSERT(x.size() == z.size() && y.size() == z.size());
  const T* a = x.data();
  const T* b = y.data();
  T* c = z.data();
  simd::for_each_batch<T>(z.size(), [&](auto at) { at.store(c, at.load(a) + at.load(b)); });
}
/// z = x - y.
template <class T>
void subtract(View<const std::type_identity_t<T>, 1> x, View<const std::type_identity_t<T>, 1> y, View<T, 1> z) {
  FOVEA_ASSERT(x.size() == z.size() && y.size() == z.size());
  const T* a = x.data();
  const T* b = y.data();
  T* c = z.data();
  simd::for_each_batch<T>(z.size(), [&](auto at) { at.store(c, at.load(a) - at.load(b)); });
}
/// z = x * y.
template <class T>
void multiply(View<const std::type_identity_t<T>, 1> x, View<const std::type_identity_t<T>, 1> y, View<T, 1> z) {
  FOVEA_ASSERT(x.size() == z.size() && y.size() == z.size());
  const T* a = x.data();
  const T* b = y.data();
  T* c = z.data();
  simd::for_each_batch<T>(z.size(), [&](auto at) { at.store(c, at.load(a) * at.load(b)); });
}
/// z += x * y: the derivative of multiply for one factor, with x = d_out and y = the other factor.
template <class T>
void multiply_add(View<const std::type_identity_t<T>, 1> x, View<const std::type_identity_t<T>, 1> y, View<T, 1> z) {
  FOVEA_ASSERT(x.size() == z.size() && y.size() == z.size());
  const T* a = x.data();
  const T* b = y.data();
  T* c = z.data();
  simd::for_each_batch<T>(z.size(), [&](auto at) { at.store(c, simd::fma<T>(at.load(a), at.load(b), at.load(c))); });
}

/// y = a * x; in place where both are one array.
template <class T>
void scale(std::type_identity_t<T> a, View<const std::type_identity_t<T>, 1> x, View<T, 1> y) {
  FOVEA_ASSERT(x.size() == y.size());
  const simd::Batch<T> factor(a);
  const T* from = x.data();
  T* to = y.data();
  simd::for_each_batch<T>(y.size(), [&](auto at) { at.store(to, factor * at.load(from)); });
}
/// y += a * x.
template <class T>
void axpy(std::type_identity_t<T> a, View<const std::type_identity_t<T>, 1> x, View<T, 1> y) {
  FOVEA_ASSERT(x.size() == y.size());
  const simd::Batch<T> factor(a);
  const T* from = x.data();
  T* to = y.data();
  simd::for_each_batch<T>(y.size(), [&](auto at) { at.store(to, simd::fma<T>(factor, at.load(from), at.load(to))); });
}
/// y += x.
template <class T>
void accumulate(View<const std::type_identity_t<T>, 1> x, View<T, 1> y) {
  FOVEA_ASSERT(x.size() == y.size());
  const T* from = x.data();
  T* to = y.data();
  simd::for_each_batch<T>(y.size(), [&](auto at) { at.store(to, at.load(to) + at.load(from)); });
}
/// y += a, for every element.
template <class T>
void add_constant(std::type_identity_t<T> a, View<T, 1> y) {
  const simd::Batch<T> constant(a);
  T* to = y.data();
  simd::for_each_batch<T>(y.size(), [&](auto at) { at.store(to, at.load(to) + constant); });
}

/// y [M, N] += the transpose of x [N, M]; in squares, so that both are read and written by whole lines.
template <class T>
void accumulate_transposed(View<const std::type_identity_t<T>, 2> x, View<T, 2> y) {
  FOVEA_ASSERT(x.extent(0) == y.extent(1) && x.extent(1) == y.extent(0));
  constexpr Index side = kAlignment / static_cast<Index>(sizeof(T));
  for (Index m0 = 0; m0 < y.extent(0); m0 += side) {
    for (Index n0 = 0; n0 < y.extent(1); n0 += side) {
      const Index m1 = std::min(m0 + side, y.extent(0));
      const Index n1 = std::min(n0 + side, y.extent(1));
      for (Index m = m0; m < m1; ++m) {
        for (Index n = n0; n < n1; ++n) y(m, n) += x(n, m);
      }
    }
  }
}

/// The gradients of a row times a matrix, y [N] = x [M] w [M, N]: d_x += w d_y and d_w += x d_y, each skipped where its view
/// is empty. Rows of w and d_w dense. One pass over both, in the order they lie in memory: bound by where they come from
/// (0.8 MB each out of a shared L3: 35 GB/s, a third more than tiles of a matrix product get).
template <class T>
void row_times_matrix_backward(View<const std::type_identity_t<T>, 1> d_y, View<const std::type_identity_t<T>, 1> x,
                               View<const std::type_identity_t<T>, 2> w, View<T, 1> d_x, View<T, 2> d_w) {
  using B = simd::Batch<T>;
  const Index columns = w.extent(1);
  FOVEA_ASSERT(d_y.size() == columns && x.size() == w.extent(0) && d_y.is_dense());
  const T* g = d_y.data();
  for (Index i = 0; i < w.extent(0); ++i) {
    const T* from = w.data() + i * w.stride(0);
    T* to = d_w.data() ? d_w.data() + i * d_w.stride(0) : nullptr;
    const B factor(x(i));
    B sums[4] = {B(T(0)), B(T(0)), B(T(0)), B(T(0))};  // independent, so that the additions need not wait
    const auto each = [&](auto wants_x, auto wants_w) {
      const auto step = [&](auto at, B& sum) {
        const B d = at.load(g);
        if constexpr (wants_x) sum = simd::fma<T>(d, at.load(from), sum);
        if constexpr (wants_w) at.store(to, simd::fma<T>(factor, d, at.load(to)));
      };
      constexpr Index width = simd::kWidth<T>;
      Index j = 0;
      for (; j + 4 * width <= columns; j += 4 * width) {
        for (Index k = 0; k < 4; ++k) step(simd::WholeBatch<T>{j + k * width}, sums[k]);
      }
      for (; j + width <= columns; j += width) step(simd::WholeBatch<T>{j}, sums[0]);
      if (j < columns) step(simd::PartialBatch<T>{j, columns - j}, sums[1]);
    };
    if (d_x.data() && to) {
      each(std::true_type{}, std::true_type{});
    } else if (to) {
      each(std::false_type{}, std::true_type{});
    } else if (d_x.data()) {
      each(std::true_type{}, std::false_type{});
    }
    if (d_x.data()) d_x(i) += simd::reduce_add<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
}

/// Every row of y [M, N] becomes x [N].
template <class T>
void broadcast_rows(View<const std::type_identity_t<T>, 1> x, View<T, 2> y) {
  FOVEA_ASSERT(x.size() == y.extent(1) && y.stride(1) == 1);
  for (Index m = 0; m < y.extent(0); ++m) std::copy_n(x.data(), x.size(), y.data() + m * y.stride(0));
}
/// x [N] += the sum of the rows of y [M, N].
template <class T>
void accumulate_rows(View<const std::type_identity_t<T>, 2> y, View<T, 1> x) {
  FOVEA_ASSERT(x.size() == y.extent(1) && y.stride(1) == 1);
  simd::for_each_batch<T>(x.size(), [&](auto at) {
    double sums[static_cast<std::size_t>(simd::kWidth<T>)] = {};
    lane_sums<T>(
        y.extent(0), [&](Index m) { return at.load(y.data() + m * y.stride(0)); }, sums);
    for (Index l = 0; l < at.count(); ++l) x(at.i + l) += static_cast<T>(sums[l]);
  });
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
