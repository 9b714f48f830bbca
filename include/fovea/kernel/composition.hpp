// SPDX-License-Identifier: MIT
/// \file
/// The distribution of what two independent parts compose to, by a table: of two counts their sum, of two sets their union.
///
/// O(S^2) multiply-adds a row of S states, plain loops: S is a few dozen, and a row is one look at one image. Exact but for
/// rounding.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// out[b][k] = sum of p[b][i] q[b][j] over all i, j with table(i, j) = k. p, q, out [B, S], dense rows, `out` neither p nor q;
/// table [S, S] of states in [0, S), or -1 for what does not go together, whose probability is lost.
template <class T>
void compose(View<const std::int32_t, 2> table, View<const T, 2> p, View<const T, 2> q, View<T, 2> out) noexcept {
  const Index states = p.extent(1);
  for (Index b = 0; b < p.extent(0); ++b) {
    const T* y = q[b].data();
    T* to = out[b].data();
    std::fill_n(to, states, T(0));
    for (Index i = 0; i < states; ++i) {
      const T x = p(b, i);
      const std::int32_t* row = table[i].data();
      for (Index j = 0; j < states; ++j) {
        if (row[j] >= 0) to[row[j]] += x * y[j];
      }
    }
  }
}

/// Adds d loss / d p and d loss / d q; either may be empty, where it is not wanted.
template <class T>
void compose_backward(View<const std::int32_t, 2> table, View<const T, 2> d_out, View<const T, 2> p, View<const T, 2> q,
                      View<T, 2> d_p, View<T, 2> d_q) noexcept {
  const Index states = p.extent(1);
  for (Index b = 0; b < p.extent(0); ++b) {
    const T* d = d_out[b].data();
    for (Index i = 0; i < states; ++i) {
      const std::int32_t* row = table[i].data();
      T sum = 0;
      for (Index j = 0; j < states; ++j) {
        if (row[j] < 0) continue;
        sum += d[row[j]] * q(b, j);
        if (!d_q.empty()) d_q(b, j) += d[row[j]] * p(b, i);
      }
      if (!d_p.empty()) d_p(b, i) += sum;
    }
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
