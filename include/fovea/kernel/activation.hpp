// SPDX-License-Identifier: MIT
/// \file
/// Element-wise non-linearities with their derivatives: ReLU, ELU, SELU, tanh, sigmoid, softplus, exp.
///
/// Cost (float, AVX-512 at about 3 GHz, bench/kernel_elementwise.cpp): in the caches ReLU runs at the speed of loads
/// and stores, 0.05 to 0.1 ns an element; ELU, SELU, exp and sigmoid take 0.4 to 0.5, tanh 0.6 (libm: 20), softplus 1.7, bound
/// by arithmetic; in 34 MB all but softplus come near the limit of memory, 0.3 ns. Every element goes through the same vector
/// code, the tail included, so a result does not depend on an element's place in its array.
///
/// Accuracy, in ULP against long double, the largest of SSE4.2, AVX2 and AVX-512, of float and double, tails included
/// (tests/kernel/activation.cpp): ReLU 0, exp 1.5, tanh 1.5, ELU, sigmoid and softplus 2.5, SELU 3.
///
/// Every backward takes the *output* of the forward pass, so the input need not be kept. All views are dense and of one
/// size. The forward functions may work in place (y = x). NaN comes out as NaN, to hide no defect upstream.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/simd.hpp>

#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// The constants of G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, "Self-normalizing neural networks", NIPS
/// 2017.
inline constexpr double kSeluScale = 1.0507009873554804934193349852946;
inline constexpr double kSeluAlpha = 1.6732632423543772848170429916717;

namespace detail {

/// y = f(x), lane by lane.
template <class T, class F>
FOVEA_ALWAYS_INLINE void map(View<const T, 1> x, View<T, 1> y, F f) {
  FOVEA_ASSERT(x.size() == y.size() && x.is_dense() && y.is_dense());
  const T* from = x.data();
  T* to = y.data();
  simd::for_each_batch<T>(y.size(), [&](auto at) { at.store(to, f(at.load(from))); });
}

/// d_x += f(d_y, y), lane by lane.
template <class T, class F>
FOVEA_ALWAYS_INLINE void map_backward(View<const T, 1> d_y, View<const T, 1> y, View<T, 1> d_x, F f) {
  FOVEA_ASSERT(d_y.size() == d_x.size() && y.size() == d_x.size());
  FOVEA_ASSERT(d_y.is_dense() && y.is_dense() && d_x.is_dense());
  const T* dy = d_y.data();
  const T* out = y.data();
  T* dx = d_x.data();
  simd::for_each_batch<T>(d_x.size(), [&](auto at) { at.store(dx, at.load(dx) + f(at.load(dy), at.load(out))); });
}

}  // namespace detail

/// The non-linearities that other kernels take in (group_norm), lane by lane: `value(x)`, and `backward(d_y, y)`, the share of
/// d_x, from the output. `kCheap`: quicker computed again than loaded.
struct Identity {
  static constexpr bool kCheap = true;
  template <class T>
  [[nodiscard]] static FOVEA_ALWAYS_INLINE simd::Batch<T> value(const simd::Batch<T>& x) {
    return x;
  }
  template <class T>
  [[nodiscard]] static FOVEA_ALWAYS_INLINE simd::Batch<T> backward(const simd::Batch<T>& d, const simd::Batch<T>&) {
    return d;
  }
};
/// max(x, 0); the derivative at 0 is taken as 0.
struct Relu {
  static constexpr bool kCheap = true;
  template <class T>
  [[nodiscard]] static FOVEA_ALWAYS_INLINE simd::Batch<T> value(const simd::Batch<T>& x) {
    const simd::Batch<T> zero(T(0));
    return simd::select<T>(x < zero, zero, x);  // not max(): where x is NaN that may give 0
  }
  template <class T>
  [[nodiscard]] static FOVEA_ALWAYS_INLINE simd::Batch<T> backward(const simd::Batch<T>& d, const simd::Batch<T>& y) {
    const simd::Batch<T> zero(T(0));
    return simd::select<T>(y > zero, d, zero);
  }
};
/// x for x > 0, exp(x) - 1 below (alpha = 1).
/// D.-A. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by exponential linear units",
/// 2016.
struct Elu {
  static constexpr bool kCheap = false;
  template <class T>
  [[nodiscard]] static FOVEA_ALWAYS_INLINE simd::Batch<T> value(const simd::Batch<T>& x) {
    return simd::select<T>(x > simd::Batch<T>(T(0)), x, simd::expm1<T>(x));
  }
  template <class T>
  [[nodiscard]] static FOVEA_ALWAYS_INLINE simd::Batch<T> backward(const simd::Batch<T>& d, const simd::Batch<T>& y) {
    return simd::select<T>(y > simd::Batch<T>(T(0)), d, d * (y + simd::Batch<T>(T(1))));
  }
};

/// z = f(x + y), for f of the non-linearities above: the end of a residual block in one pass.
template <class T, class F>
void add_activate(View<const std::type_identity_t<T>, 1> x, View<const std::type_identity_t<T>, 1> y, View<T, 1> z, F) {
  FOVEA_ASSERT(x.size() == z.size() && y.size() == z.size() && x.is_dense() && y.is_dense() && z.is_dense());
  const T* a = x.data();
  const T* b = y.data();
  T* to = z.data();
  simd::for_each_batch<T>(z.size(), [&](auto at) { at.store(to, F::template value<T>(at.load(a) + at.load(b))); });
}
/// d_x and d_y += the gradient of add_activate, from its output; either may be empty.
template <class T, class F>
void add_activate_backward(View<const std::type_identity_t<T>, 1> d_z, View<const std::type_identity_t<T>, 1> z, View<T, 1> d_x,
                           View<std::type_identity_t<T>, 1> d_y, F) {
  if (d_x.empty() || d_y.empty()) {
    View<T, 1> d = d_x.empty() ? d_y : d_x;
    if (d.empty()) return;
    using B = simd::Batch<T>;
    detail::map_backward<T>(d_z, z, d, [](const B& g, const B& v) { return F::template backward<T>(g, v); });
    return;
  }
  FOVEA_ASSERT(d_z.size() == z.size() && d_x.size() == z.size() && d_y.size() == z.size());
  const T* dz = d_z.data();
  const T* out = z.data();
  T* dx = d_x.data();
  T* dy = d_y.data();
  simd::for_each_batch<T>(z.size(), [&](auto at) {
    const simd::Batch<T> d = F::template backward<T>(at.load(dz), at.load(out));
    at.store(dx, at.load(dx) + d);
    at.store(dy, at.load(dy) + d);
  });
}

/// y = max(x, 0).
template <class T>
void relu(View<const std::type_identity_t<T>, 1> x, View<T, 1> y) {
  detail::map<T>(x, y, [](const simd::Batch<T>& v) { return Relu::value<T>(v); });
}
/// d_x += d_y where y > 0.
template <class T>
void relu_backward(View<const std::type_identity_t<T>, 1> d_y, View<const std::type_identity_t<T>, 1> y, View<T, 1> d_x) {
  using B = simd::Batch<T>;
  detail::map_backward<T>(d_y, y, d_x, [](const B& d, const B& v) { return Relu::backward<T>(d, v); });
}

/// y = x for x > 0, exp(x) - 1 below.
template <class T>
void elu(View<const std::type_identity_t<T>, 1> x, View<T, 1> y) {
  detail::map<T>(x, y, [](const simd::Batch<T>& v) { return Elu::value<T>(v); });
}
/// d_x += d_y * (1 where y > 0, y + 1 = exp(x) below).
template <class T>
void elu_backward(View<const std::type_identity_t<T>, 1> d_y, View<const std::type_identity_t<T>, 1> y, View<T, 1> d_x) {
  using B = simd::Batch<T>;
  detail::map_backward<T>(d_y, y, d_x, [](const B& d, const B& v) { return Elu::backward<T>(d, v); });
}

/// y = scale * (x for x > 0, alpha * (exp(x) - 1) below), with the constants above.
template <class T>
void selu(View<const std::type_identity_t<T>, 1> x, View<T, 1> y) {
  using B = simd::Batch<T>;
  const B scale(static_cast<T>(kSeluScale));
  const B below(static_cast<T>(kSeluScale * kSeluAlpha));
  detail::map<T>(x, y, [=](B v) { return simd::select<T>(v > B(T(0)), scale * v, below * simd::expm1<T>(v)); });
}
/// d_x += d_y * (scale where y > 0, y + scale * alpha below).
template <class T>
void selu_backward(View<const std::type_identity_t<T>, 1> d_y, View<const std::type_identity_t<T>, 1> y, View<T, 1> d_x) {
  using B = simd::Batch<T>;
  const B scale(static_cast<T>(kSeluScale));
  const B below(static_cast<T>(kSeluScale * kSeluAlpha));
  detail::map_backward<T>(d_y, y, d_x, [=](B d, B v) { return d * simd::select<T>(v > B(T(0)), scale, v + below); });
}

/// y = tanh(x).
template <class T>
void tanh(View<const std::type_identity_t<T>, 1> x, View<T, 1> y) {
  using B = simd::Batch<T>;
  detail::map<T>(x, y, [](B v) { return simd::tanh<T>(v); });
}
/// d_x += d_y * (1 - y^2).
template <class T>
void tanh_backward(View<const std::type_identity_t<T>, 1> d_y, View<const std::type_identity_t<T>, 1> y, View<T, 1> d_x) {
  using B = simd::Batch<T>;
  detail::map_backward<T>(d_y, y, d_x, [](B d, B v) { return d * simd::fnma<T>(v, v, B(T(1))); });
}

/// y = 1 / (1 + exp(-x)).
template <class T>
void sigmoid(View<const std::type_identity_t<T>, 1> x, View<T, 1> y) {
  using B = simd::Batch<T>;
  detail::map<T>(x, y, [](B v) { return simd::sigmoid<T>(v); });
}
/// d_x += d_y * y * (1 - y).
template <class T>
void sigmoid_backward(View<const std::type_identity_t<T>, 1> d_y, View<const std::type_identity_t<T>, 1> y, View<T, 1> d_x) {
  using B = simd::Batch<T>;
  detail::map_backward<T>(d_y, y, d_x, [](B d, B v) { return d * v * (B(T(1)) - v); });
}

/// y = log(1 + exp(x)), without overflow: max(x, 0) + log1p(exp(-|x|)).
template <class T>
void softplus(View<const std::type_identity_t<T>, 1> x, View<T, 1> y) {
  using B = simd::Batch<T>;
  detail::map<T>(x, y, [](B v) {
    // NaN passes through the second term, whatever max makes of it.
    return simd::max<T>(v, B(T(0))) + simd::log1p<T>(simd::exp<T>(-simd::abs<T>(v)));
  });
}
/// d_x += d_y * sigmoid(x), and sigmoid(x) = 1 - exp(-y) to full relative accuracy.
template <class T>
void softplus_backward(View<const std::type_identity_t<T>, 1> d_y, View<const std::type_identity_t<T>, 1> y, View<T, 1> d_x) {
  using B = simd::Batch<T>;
  detail::map_backward<T>(d_y, y, d_x, [](B d, B v) { return -d * simd::expm1<T>(-v); });
}

/// y = exp(x).
template <class T>
void exp(View<const std::type_identity_t<T>, 1> x, View<T, 1> y) {
  using B = simd::Batch<T>;
  detail::map<T>(x, y, [](B v) { return simd::exp<T>(v); });
}
/// d_x += d_y * y.
template <class T>
void exp_backward(View<const std::type_identity_t<T>, 1> d_y, View<const std::type_identity_t<T>, 1> y, View<T, 1> d_x) {
  using B = simd::Batch<T>;
  detail::map_backward<T>(d_y, y, d_x, [](B d, B v) { return d * v; });
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
