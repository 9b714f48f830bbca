// SPDX-License-Identifier: MIT
/// \file
/// Softmax over rows, cross-entropy from logits, Bernoulli log-likelihood from logits; per row, with their derivatives.
///
/// Cost: three passes over a row, 20 bytes and one exponential per element for softmax and cross-entropy, 0.45 ns, backward 0.2
/// and 0.8; 8 bytes, an exponential and a logarithm for the likelihood, 1.1 ns, backward 0.45 (float, AVX-512 at about 3 GHz,
/// bench/kernel_elementwise.cpp). Bound by the exponentials while a row stays in the caches, as 10,000 elements do. Rows of 10
/// are bound by what happens once per row: 5 to 7 ns an element.
///
/// Accuracy: nothing overflows for any finite logits; both tails keep their relative accuracy (a likelihood of
/// -exp(-20) comes out as such, not as 0). Row sums run in double beyond blocks of 64 vectors. Float against double, logits
/// within 5, rows of 10 to 10,000: each probability within 7e-7 of itself, losses within 1.2e-7, gradients within 1e-7 of the
/// largest.
///
/// Why so: the greatest logit first, then exponentials of differences, so that the largest is 1; a pass that kept a running
/// maximum would save a read from the cache and pay with a second exponential. softplus(x) = max(x, 0) + log1p(exp(-|x|)) in
/// the likelihood for the same reason: no exponential of anything positive.
///
/// An empty gradient view is skipped.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/simd.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

namespace detail {

/// The greatest of n > 0 elements.
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE T greatest(const T* p, Index n) {
  using B = simd::Batch<T>;
  B most(-std::numeric_limits<T>::infinity());
  Index i = 0;
  for (; i + simd::kWidth<T> <= n; i += simd::kWidth<T>) most = simd::max<T>(most, simd::load(p + i));
  T result = simd::reduce_max<T>(most);
  for (; i < n; ++i) result = p[i] > result ? p[i] : result;
  return result;
}

/// out = exp(in - shift), n elements; returns the sum.
template <class T>
[[nodiscard]] FOVEA_ALWAYS_INLINE double shifted_exp(const T* in, T shift, Index n, T* out) {
  using B = simd::Batch<T>;
  const B offset(shift);
  simd::for_each_batch<T>(n, [&](auto at) { at.store(out, simd::exp<T>(at.load(in) - offset)); });
  return block_sum<T>(n, [=](auto at) { return at.load(out); });
}

}  // namespace detail

/// y = exp(x) / sum(exp(x)) over each row. x, y [B, K], rows dense.
template <class T>
void softmax(View<const std::type_identity_t<T>, 2> x, View<T, 2> y) {
  const Index n = x.extent(1);
  for (Index b = 0; b < x.extent(0); ++b) {
    const T* in = x[b].data();
    T* out = y[b].data();
    const double total = detail::shifted_exp<T>(in, detail::greatest<T>(in, n), n, out);
    scale<T>(static_cast<T>(1 / total), View<const T, 1>(out, {n}), View<T, 1>(out, {n}));
  }
}
/// d_x += y * (d_y - sum(d_y * y)) over each row.
template <class T>
void softmax_backward(View<const std::type_identity_t<T>, 2> d_y, View<const std::type_identity_t<T>, 2> y, View<T, 2> d_x) {
  using B = simd::Batch<T>;
  const Index n = y.extent(1);
  for (Index b = 0; b < y.extent(0); ++b) {
    const T* d = d_y[b].data();
    const T* out = y[b].data();
    T* dx = d_x[b].data();
    const B mean(static_cast<T>(block_sum<T>(n, [=](auto at) { return at.load(d) * at.load(out); })));
    simd::for_each_batch<T>(n, [&](auto at) { at.store(dx, simd::fma<T>(at.load(out), at.load(d) - mean, at.load(dx))); });
  }
}

/// losses[b] = log(sum_k exp(logits[b, k])) - logits[b, labels[b]], in nats. logits, probabilities [B, K]; labels [B],
/// in [0, K). `probabilities` receives the softmax for the backward call.
template <class T>
void cross_entropy(View<const std::type_identity_t<T>, 2> logits, View<const std::int32_t, 1> labels, View<T, 1> losses,
                   View<T, 2> probabilities) {
  const Index n = logits.extent(1);
  for (Index b = 0; b < logits.extent(0); ++b) {
    FOVEA_ASSERT(labels(b) >= 0 && labels(b) < n);
    const T* in = logits[b].data();
    T* out = probabilities[b].data();
    const T most = detail::greatest<T>(in, n);
    const double total = detail::shifted_exp<T>(in, most, n, out);
    const Index label = labels(b);
    // Where the label has the greatest logit the loss is log(1 + the others), which keeps its digits near 0 only as
    // log1p.
    double others = 0;
    if (in[label] == most) {
      for (Index k = 0; k < n; ++k) others += k == label ? 0.0 : static_cast<double>(out[k]);
      losses(b) = static_cast<T>(std::log1p(others));
    } else {
      losses(b) = static_cast<T>(std::log(total) + (static_cast<double>(most) - static_cast<double>(in[label])));
    }
    scale<T>(static_cast<T>(1 / total), View<const T, 1>(out, {n}), View<T, 1>(out, {n}));
  }
}
/// d_logits += d_losses[b] * (probabilities - one-hot(label)).
template <class T>
void cross_entropy_backward(View<const std::type_identity_t<T>, 1> d_losses,
                            View<const std::type_identity_t<T>, 2> probabilities, View<const std::int32_t, 1> labels,
                            View<T, 2> d_logits) {
  const Index n = probabilities.extent(1);
  for (Index b = 0; b < probabilities.extent(0); ++b) {
    const T d = d_losses(b);
    const T* p = probabilities[b].data();
    T* dx = d_logits[b].data();
    const Index label = labels(b);
    // p - 1 at the label, as minus the sum of the others: where p rounds to 1 the gradients of a row still add to 0.
    double others = 0;
    for (Index k = 0; k < n; ++k) others += k == label ? 0.0 : static_cast<double>(p[k]);
    const T at_label = dx[label] - d * static_cast<T>(others);
    axpy<T>(d, View<const T, 1>(p, {n}), View<T, 1>(dx, {n}));
    dx[label] = at_label;
  }
}

/// out[b] = sum_i targets * logits - softplus(logits): the log-probability, in nats, of targets in [0, 1] under
/// independent Bernoulli variables of probability sigmoid(logits). logits, targets [B, N]; out [B].
template <class T>
void bernoulli_log_likelihood(View<const std::type_identity_t<T>, 2> logits, View<const std::type_identity_t<T>, 2> targets,
                              View<T, 1> out) {
  using B = simd::Batch<T>;
  const Index n = logits.extent(1);
  const B zero(T(0));
  for (Index b = 0; b < logits.extent(0); ++b) {
    const T* lp = logits[b].data();
    const T* tp = targets[b].data();
    const auto term = [&](auto at) {
      const B l = at.load(lp);
      // max(l, 0) - l x, without the cancellation at l > 0, x = 1:  l (1 - x) for l > 0, -l x below.
      const B t = at.load(tp);
      const B linear = l * simd::select<T>(l > zero, t - B(T(1)), t);
      const B value = linear - simd::log1p<T>(simd::exp<T>(-simd::abs<T>(l)));
      if constexpr (decltype(at)::whole) {
        return value;
      } else {  // lanes behind the end are not 0 here: log1p(exp(0)) = log 2
        alignas(kAlignment) T lanes[simd::kWidth<T>] = {};
        simd::store_partial(lanes, at.n, value);
        return simd::load_aligned(lanes);
      }
    };
    out(b) = static_cast<T>(block_sum<T>(n, term));
  }
}
/// d_logits += d_out[b] * (targets - sigmoid(logits)); d_targets += d_out[b] * logits.
template <class T>
void bernoulli_log_likelihood_backward(View<const std::type_identity_t<T>, 1> d_out,
                                       View<const std::type_identity_t<T>, 2> logits,
                                       View<const std::type_identity_t<T>, 2> targets, View<T, 2> d_logits,
                                       View<T, 2> d_targets) {
  using B = simd::Batch<T>;
  const Index n = logits.extent(1);
  for (Index b = 0; b < logits.extent(0); ++b) {
    const B d(d_out(b));
    const T* lp = logits[b].data();
    const T* tp = targets[b].data();
    if (d_logits.data()) {
      T* dl = d_logits[b].data();
      simd::for_each_batch<T>(n, [&](auto at) {
        const B difference = at.load(tp) - simd::sigmoid<T>(at.load(lp));
        at.store(dl, simd::fma<T>(d, difference, at.load(dl)));
      });
    }
    if (d_targets.data()) {
      T* dt = d_targets[b].data();
      simd::for_each_batch<T>(n, [&](auto at) { at.store(dt, simd::fma<T>(d, at.load(lp), at.load(dt))); });
    }
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
