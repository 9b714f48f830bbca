// SPDX-License-Identifier: MIT
/// \file
/// The point-wise part of the gated recurrent cells, fused; the matrix products are the caller's.
///
/// Cost: a GRU step takes 3 exponentials per unit and reads 7 numbers, 1.8 ns; an LSTM step takes 5 and reads 9, 3.2 ns
/// (float, AVX-512 at about 3 GHz, bench/kernel_elementwise.cpp): bound by the arithmetic of the exponentials and the
/// divisions. The products before it cost 6 (I + H) or 8 (I + H) flops per sample and unit, so this part matters for small H
/// alone: 3 % of an LSTM cell 256 -> 256 at 32 samples, forward and backward. One sample there is bound by the weights and
/// their gradients, 3 and 4 MB that a cache of 2 MB cannot keep.
///
/// Accuracy: within 1e-6 (float) and 2e-14 (double) of the largest element, backward included.
///
/// Why so: one pass over a step, where a pass for each gate would write and read it once more; the gates are kept for the
/// backward call, 12 or 16 bytes a unit, since their exponentials cost more than reading them.
///
/// Conventions are PyTorch's: gates in the order r, z, n (GRU) and i, f, g, o (LSTM), along the last axis of the
/// projections. `gx` = x W_x + b_x and `gh` = h W_h + b_h. An empty gradient view is skipped.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/simd.hpp>

#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// K. Cho et al., "Learning phrase representations using RNN encoder-decoder ...", EMNLP 2014, in the form of cuDNN and
/// PyTorch:
///     r = sigmoid(gx_r + gh_r);  z = sigmoid(gx_z + gh_z);  n = tanh(gx_n + r * gh_n);  out = (1 - z) * n + z * h
/// gx, gh, gates [B, 3H]; h, out [B, H]. `gates` receives r, z, n for the backward call.
template <class T>
void gru(View<const std::type_identity_t<T>, 2> gx, View<const std::type_identity_t<T>, 2> gh,
         View<const std::type_identity_t<T>, 2> h, View<T, 2> out, View<T, 2> gates) {
  using B = simd::Batch<T>;
  const Index hidden = h.extent(1);
  FOVEA_ASSERT(gx.extent(1) == 3 * hidden && gh.extent(1) == 3 * hidden && gates.extent(1) == 3 * hidden);
  for (Index b = 0; b < h.extent(0); ++b) {
    const T* x = gx[b].data();
    const T* y = gh[b].data();
    const T* state = h[b].data();
    T* result = out[b].data();
    T* saved = gates[b].data();
    simd::for_each_batch<T>(hidden, [&](auto at) {
      const B r = simd::sigmoid<T>(at.load(x) + at.load(y));
      const B z = simd::sigmoid<T>(at.load(x + hidden) + at.load(y + hidden));
      const B n = simd::tanh<T>(simd::fma<T>(r, at.load(y + 2 * hidden), at.load(x + 2 * hidden)));
      at.store(saved, r);
      at.store(saved + hidden, z);
      at.store(saved + 2 * hidden, n);
      at.store(result, simd::fma<T>(z, at.load(state) - n, n));
    });
  }
}

/// d_gx, d_gh [B, 3H] and d_h [B, H] are added to.
template <class T>
void gru_backward(View<const std::type_identity_t<T>, 2> d_out, View<const std::type_identity_t<T>, 2> gh,
                  View<const std::type_identity_t<T>, 2> h, View<const std::type_identity_t<T>, 2> gates, View<T, 2> d_gx,
                  View<T, 2> d_gh, View<T, 2> d_h) {
  using B = simd::Batch<T>;
  const Index hidden = h.extent(1);
  const B one(T(1));
  for (Index b = 0; b < h.extent(0); ++b) {
    const T* d = d_out[b].data();
    const T* y = gh[b].data();
    const T* state = h[b].data();
    const T* saved = gates[b].data();
    T* dx = d_gx.data() ? d_gx[b].data() : nullptr;
    T* dy = d_gh.data() ? d_gh[b].data() : nullptr;
    T* ds = d_h.data() ? d_h[b].data() : nullptr;
    simd::for_each_batch<T>(hidden, [&](auto at) {
      const auto increase = [&at](T* p, const B& by) { at.store(p, at.load(p) + by); };
      const B r = at.load(saved);
      const B z = at.load(saved + hidden);
      const B n = at.load(saved + 2 * hidden);
      const B g = at.load(d);
      const B pre_n = g * (one - z) * simd::fnma<T>(n, n, one);
      const B pre_z = g * (at.load(state) - n) * z * (one - z);
      const B pre_r = pre_n * at.load(y + 2 * hidden) * r * (one - r);
      if (dx) {
        increase(dx, pre_r);
        increase(dx + hidden, pre_z);
        increase(dx + 2 * hidden, pre_n);
      }
      if (dy) {
        increase(dy, pre_r);
        increase(dy + hidden, pre_z);
        increase(dy + 2 * hidden, pre_n * r);
      }
      if (ds) increase(ds, g * z);
    });
  }
}

/// S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997, with forget gates (F. A. Gers et al., 2000):
///     i, f, o = sigmoid, g = tanh of (gx + gh);  c' = f * c + i * g;  h' = o * tanh(c')
/// gx, gh, gates [B, 4H]; c, next_c, next_h [B, H]. `gates` receives i, f, g, o.
template <class T>
void lstm(View<const std::type_identity_t<T>, 2> gx, View<const std::type_identity_t<T>, 2> gh,
          View<const std::type_identity_t<T>, 2> c, View<T, 2> next_h, View<T, 2> next_c, View<T, 2> gates) {
  using B = simd::Batch<T>;
  const Index hidden = c.extent(1);
  FOVEA_ASSERT(gx.extent(1) == 4 * hidden && gh.extent(1) == 4 * hidden && gates.extent(1) == 4 * hidden);
  for (Index b = 0; b < c.extent(0); ++b) {
    const T* x = gx[b].data();
    const T* y = gh[b].data();
    const T* cell = c[b].data();
    T* to_h = next_h[b].data();
    T* to_c = next_c[b].data();
    T* saved = gates[b].data();
    simd::for_each_batch<T>(hidden, [&](auto at) {
      const B i = simd::sigmoid<T>(at.load(x) + at.load(y));
      const B f = simd::sigmoid<T>(at.load(x + hidden) + at.load(y + hidden));
      const B g = simd::tanh<T>(at.load(x + 2 * hidden) + at.load(y + 2 * hidden));
      const B o = simd::sigmoid<T>(at.load(x + 3 * hidden) + at.load(y + 3 * hidden));
      at.store(saved, i);
      at.store(saved + hidden, f);
      at.store(saved + 2 * hidden, g);
      at.store(saved + 3 * hidden, o);
      const B next = simd::fma<T>(f, at.load(cell), i * g);
      at.store(to_c, next);
      at.store(to_h, o * simd::tanh<T>(next));
    });
  }
}

/// Takes the gradients of both outputs. d_gx, d_gh [B, 4H] (the same numbers go to both) and d_c [B, H] are added to.
template <class T>
void lstm_backward(View<const std::type_identity_t<T>, 2> d_next_h, View<const std::type_identity_t<T>, 2> d_next_c,
                   View<const std::type_identity_t<T>, 2> c, View<const std::type_identity_t<T>, 2> next_c,
                   View<const std::type_identity_t<T>, 2> gates, View<T, 2> d_gx, View<T, 2> d_gh, View<T, 2> d_c) {
  using B = simd::Batch<T>;
  const Index hidden = c.extent(1);
  const B one(T(1));
  for (Index b = 0; b < c.extent(0); ++b) {
    const T* dh = d_next_h[b].data();
    const T* dn = d_next_c[b].data();
    const T* cell = c[b].data();
    const T* next = next_c[b].data();
    const T* saved = gates[b].data();
    T* dx = d_gx.data() ? d_gx[b].data() : nullptr;
    T* dy = d_gh.data() ? d_gh[b].data() : nullptr;
    T* dc = d_c.data() ? d_c[b].data() : nullptr;
    simd::for_each_batch<T>(hidden, [&](auto at) {
      const auto increase = [&at](T* p, const B& by) { at.store(p, at.load(p) + by); };
      const B i = at.load(saved);
      const B f = at.load(saved + hidden);
      const B g = at.load(saved + 2 * hidden);
      const B o = at.load(saved + 3 * hidden);
      const B squashed = simd::tanh<T>(at.load(next));
      const B d_h = at.load(dh);
      const B d_cell = simd::fma<T>(d_h * o, simd::fnma<T>(squashed, squashed, one), at.load(dn));
      const B pre_i = d_cell * g * i * (one - i);
      const B pre_f = d_cell * at.load(cell) * f * (one - f);
      const B pre_g = d_cell * i * simd::fnma<T>(g, g, one);
      const B pre_o = d_h * squashed * o * (one - o);
      for (T* p : {dx, dy}) {
        if (!p) continue;
        increase(p, pre_i);
        increase(p + hidden, pre_f);
        increase(p + 2 * hidden, pre_g);
        increase(p + 3 * hidden, pre_o);
      }
      if (dc) increase(dc, d_cell * f);
    });
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
