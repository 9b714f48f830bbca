// SPDX-License-Identifier: MIT
/// \file
/// Steps of the optimisers on flat buffers, and clipping. Each takes the options it needs and its own moments; the moments are
/// as long as the values and start at 0. Where gradient, moments and value are 0, the value stays 0: padding stays padding.
///
/// Cost: Adam reads four arrays and writes three, 28 bytes per parameter in float: 0.5 ns in the cache, where the square root
/// and the division bound it, 0.7 in 67 MB and 1.5 in 112 MB, where memory does; the norm takes 0.2 (AVX-512 at about 3 GHz,
/// bench/kernel_elementwise.cpp, bench/peers/layers.cpp). One pass in the order of memory, which hardware prefetches; every
/// line written has just been read, so that stores around the caches would save no traffic. Accuracy: a real square root and a
/// real division, no estimates; bias corrections in double; within 1e-6 of torch's largest parameter after two steps
/// (bench/peers/layers.cpp).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/simd.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  /// Decoupled: each step first multiplies the parameters by 1 - learning_rate * weight_decay.
  double weight_decay = 0;
};

/// One step of Adam (D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015), with decoupled
/// weight decay (I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019) where wanted. As
/// torch.optim.AdamW:
///     m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2
///     w = (1 - lr wd) w - lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)
/// `step` is t, 1 for the first. All views dense, of one size; m and v start at 0. Where g, m and w are 0, w stays 0.
template <class T>
void adam(View<const std::type_identity_t<T>, 1> gradient, std::int64_t step, const AdamOptions& options, View<T, 1> value,
          View<T, 1> m, View<T, 1> v) {
  FOVEA_ASSERT(gradient.size() == value.size() && m.size() == value.size() && v.size() == value.size());
  FOVEA_ASSERT(step >= 1);
  using B = simd::Batch<T>;
  const auto t = static_cast<double>(step);
  const double correction1 = 1 - std::pow(options.beta1, t);
  const double correction2 = 1 - std::pow(options.beta2, t);
  const B beta1(static_cast<T>(options.beta1));
  const B beta2(static_cast<T>(options.beta2));
  const B rest1(static_cast<T>(1 - options.beta1));
  const B rest2(static_cast<T>(1 - options.beta2));
  const B rate(static_cast<T>(options.learning_rate / correction1));
  const B root_scale(static_cast<T>(1 / std::sqrt(correction2)));
  const B epsilon(static_cast<T>(options.epsilon));
  const B keep(static_cast<T>(1 - options.learning_rate * options.weight_decay));
  const T* gp = gradient.data();
  T* wp = value.data();
  T* mp = m.data();
  T* vp = v.data();
  simd::for_each_batch<T>(value.size(), [&](auto at) {
    const B g = at.load(gp);
    const B first = simd::fma<T>(beta1, at.load(mp), rest1 * g);
    const B second = simd::fma<T>(beta2, at.load(vp), rest2 * g * g);
    at.store(mp, first);
    at.store(vp, second);
    const B change = first / simd::fma<T>(simd::sqrt<T>(second), root_scale, epsilon);
    at.store(wp, simd::fnma<T>(rate, change, keep * at.load(wp)));
  });
}

struct AdamNormGradOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  /// Not decoupled: weight_decay * value is added to the gradient after its division by the norm.
  double weight_decay = 0;
};

struct SgdOptions {
  double learning_rate = 1e-3;
  /// The part of the velocity kept from step to step; 0: no velocity.
  double momentum = 0;
  /// The gradient is looked at from where the velocity would lead.
  bool nesterov = false;
  /// Not decoupled: weight_decay * value is added to the gradient.
  double weight_decay = 0;
};

/// One step of gradient descent with momentum (B. T. Polyak, "Some methods of speeding up the convergence of iteration
/// methods", USSR Comput. Math. Math. Phys. 4(5), 1964) or with Nesterov's in the form of I. Sutskever et al., "On the
/// importance of initialization and momentum in deep learning", ICML 2013. As torch.optim.SGD without dampening:
///     g = g + wd w;   u = mu u + g;   w = w - lr u   or, Nesterov's,   w = w - lr (g + mu u)
/// Views dense, of one size; with a momentum of 0 `velocity` is neither read nor written and may be empty.
template <class T>
void sgd(View<const std::type_identity_t<T>, 1> gradient, const SgdOptions& options, View<T, 1> value, View<T, 1> velocity) {
  FOVEA_ASSERT(gradient.size() == value.size());
  FOVEA_ASSERT(options.momentum == 0 || velocity.size() == value.size());
  using B = simd::Batch<T>;
  const B rate(static_cast<T>(options.learning_rate));
  const B momentum(static_cast<T>(options.momentum));
  const B decay(static_cast<T>(options.weight_decay));
  const T* gp = gradient.data();
  T* wp = value.data();
  T* up = velocity.data();
  if (options.momentum == 0) {
    simd::for_each_batch<T>(value.size(), [&](auto at) {
      const B w = at.load(wp);
      at.store(wp, simd::fnma<T>(rate, simd::fma<T>(decay, w, at.load(gp)), w));
    });
    return;
  }
  simd::for_each_batch<T>(value.size(), [&](auto at) {
    const B w = at.load(wp);
    const B g = simd::fma<T>(decay, w, at.load(gp));
    const B u = simd::fma<T>(momentum, at.load(up), g);
    at.store(up, u);
    at.store(wp, simd::fnma<T>(rate, options.nesterov ? simd::fma<T>(momentum, u, g) : u, w));
  });
}

struct RmsPropOptions {
  double learning_rate = 1e-2;
  /// The part of the mean square kept from step to step.
  double alpha = 0.99;
  double epsilon = 1e-8;
  /// Not decoupled: weight_decay * value is added to the gradient.
  double weight_decay = 0;
  double momentum = 0;
  /// Divides by the deviation of the gradient instead of its root mean square.
  bool centered = false;
};

/// One step of RMSprop (T. Tieleman, G. Hinton, "Lecture 6.5: RMSProp", COURSERA: Neural networks for machine learning, 2012;
/// centred: A. Graves, "Generating sequences with recurrent neural networks", arXiv:1308.0850, 2013). As torch.optim.RMSprop:
///     g = g + wd w;   v = a v + (1 - a) g^2;   centred: c = a c + (1 - a) g, d = v - c^2, otherwise d = v
///     u = mu u + g / (sqrt(d) + eps);   w = w - lr u
/// but for d, which is 0 here where rounding would make it negative, and NaN there. Views dense, of one size; `velocity` may be
/// empty where the momentum is 0, `mean` (c) where nothing is centred.
template <class T>
void rmsprop(View<const std::type_identity_t<T>, 1> gradient, const RmsPropOptions& options, View<T, 1> value,
             View<T, 1> square, View<T, 1> velocity, View<T, 1> mean) {
  FOVEA_ASSERT(gradient.size() == value.size() && square.size() == value.size());
  FOVEA_ASSERT(options.momentum == 0 || velocity.size() == value.size());
  FOVEA_ASSERT(!options.centered || mean.size() == value.size());
  using B = simd::Batch<T>;
  const B zero(T(0));
  const B rate(static_cast<T>(options.learning_rate));
  const B alpha(static_cast<T>(options.alpha));
  const B rest(static_cast<T>(1 - options.alpha));
  const B epsilon(static_cast<T>(options.epsilon));
  const B momentum(static_cast<T>(options.momentum));
  const B decay(static_cast<T>(options.weight_decay));
  const bool moving = options.momentum != 0;
  const T* gp = gradient.data();
  T* wp = value.data();
  T* vp = square.data();
  T* up = velocity.data();
  T* cp = mean.data();
  simd::for_each_batch<T>(value.size(), [&](auto at) {
    const B w = at.load(wp);
    const B g = simd::fma<T>(decay, w, at.load(gp));
    const B second = simd::fma<T>(alpha, at.load(vp), rest * g * g);
    at.store(vp, second);
    B spread = second;
    if (options.centered) {
      const B c = simd::fma<T>(alpha, at.load(cp), rest * g);
      at.store(cp, c);
      spread = simd::max<T>(simd::fnma<T>(c, c, second), zero);
    }
    B change = g / (simd::sqrt<T>(spread) + epsilon);
    if (moving) {
      change = simd::fma<T>(momentum, at.load(up), change);
      at.store(up, change);
    }
    at.store(wp, simd::fnma<T>(rate, change, w));
  });
}

struct LionOptions {
  double learning_rate = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.99;
  /// Decoupled: each step first multiplies the parameters by 1 - learning_rate * weight_decay.
  double weight_decay = 0;
};

/// One step of Lion (X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, Algorithm 2):
///     c = b1 m + (1 - b1) g;   w = (1 - lr wd) w - lr sign(c);   m = b2 m + (1 - b2) g
/// sign(0) is 0, and the sign of NaN is NaN. All views dense, of one size.
template <class T>
void lion(View<const std::type_identity_t<T>, 1> gradient, const LionOptions& options, View<T, 1> value, View<T, 1> m) {
  FOVEA_ASSERT(gradient.size() == value.size() && m.size() == value.size());
  using B = simd::Batch<T>;
  const B zero(T(0));
  const B one(T(1));
  const B beta1(static_cast<T>(options.beta1));
  const B beta2(static_cast<T>(options.beta2));
  const B rest1(static_cast<T>(1 - options.beta1));
  const B rest2(static_cast<T>(1 - options.beta2));
  const B rate(static_cast<T>(options.learning_rate));
  const B keep(static_cast<T>(1 - options.learning_rate * options.weight_decay));
  const T* gp = gradient.data();
  T* wp = value.data();
  T* mp = m.data();
  simd::for_each_batch<T>(value.size(), [&](auto at) {
    const B g = at.load(gp);
    const B old = at.load(mp);
    const B c = simd::fma<T>(beta1, old, rest1 * g);
    const B sign = simd::select<T>(c > zero, one, simd::select<T>(c < zero, -one, c));
    at.store(mp, simd::fma<T>(beta2, old, rest2 * g));
    at.store(wp, simd::fnma<T>(rate, sign, keep * at.load(wp)));
  });
}

/// Every element into [-limit, limit], limit >= 0. NaN stays NaN; an infinity becomes the limit, so look for it before.
template <class T>
void clip_by_value(std::type_identity_t<T> limit, View<T, 1> x) {
  FOVEA_ASSERT(x.is_dense());
  using B = simd::Batch<T>;
  const B most(limit);
  const B least(-limit);
  T* p = x.data();
  simd::for_each_batch<T>(x.size(), [&](auto at) {
    const B v = at.load(p);
    at.store(p, simd::select<T>(v > most, most, simd::select<T>(v < least, least, v)));
  });
}

/// The sum of squares. In double from the first product on, so that a finite gradient cannot overflow.
template <class T>
[[nodiscard]] double squared_norm(View<const T, 1> x) {
  FOVEA_ASSERT(x.is_dense());
  const T* p = x.data();
  const Index n = x.size();
  double parts[8] = {};  // independent sums: the additions need not wait for each other
  Index i = 0;
  for (; i + 8 <= n; i += 8) {
    for (Index k = 0; k < 8; ++k) {
      const auto value = static_cast<double>(p[i + k]);
      parts[k] += value * value;
    }
  }
  for (; i < n; ++i) {
    const auto value = static_cast<double>(p[i]);
    parts[0] += value * value;
  }
  return ((parts[0] + parts[4]) + (parts[2] + parts[6])) + ((parts[1] + parts[5]) + (parts[3] + parts[7]));
}

/// One step of AdamNormGrad, Adam whose gradient is first divided by its norm; published as code only, by J. M. Tomczak, and
/// offered by that of Variational Saccading ("adamnorm"):
///     g = g / (|g| + 1e-7) + wd w
///     m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2
///     w = w - lr sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)
/// The views are one parameter: |g| is the norm of all of `gradient` (zeros behind it do no harm). As there, and unlike adam()
/// and today's torch, eps is added before the bias of v is corrected. `step` is t, 1 for the first. All views dense, of one
/// size.
template <class T>
void adam_norm_grad(View<const std::type_identity_t<T>, 1> gradient, std::int64_t step, const AdamNormGradOptions& options,
                    View<T, 1> value, View<T, 1> m, View<T, 1> v) {
  FOVEA_ASSERT(gradient.size() == value.size() && m.size() == value.size() && v.size() == value.size());
  FOVEA_ASSERT(step >= 1);
  using B = simd::Batch<T>;
  const auto t = static_cast<double>(step);
  const double correction1 = 1 - std::pow(options.beta1, t);
  const double correction2 = 1 - std::pow(options.beta2, t);
  const B unit(static_cast<T>(1 / (std::sqrt(squared_norm<T>(gradient)) + 1e-7)));
  const B beta1(static_cast<T>(options.beta1));
  const B beta2(static_cast<T>(options.beta2));
  const B rest1(static_cast<T>(1 - options.beta1));
  const B rest2(static_cast<T>(1 - options.beta2));
  const B rate(static_cast<T>(options.learning_rate * std::sqrt(correction2) / correction1));
  const B epsilon(static_cast<T>(options.epsilon));
  const B decay(static_cast<T>(options.weight_decay));
  const T* gp = gradient.data();
  T* wp = value.data();
  T* mp = m.data();
  T* vp = v.data();
  simd::for_each_batch<T>(value.size(), [&](auto at) {
    const B w = at.load(wp);
    const B g = simd::fma<T>(decay, w, unit * at.load(gp));
    const B first = simd::fma<T>(beta1, at.load(mp), rest1 * g);
    const B second = simd::fma<T>(beta2, at.load(vp), rest2 * g * g);
    at.store(mp, first);
    at.store(vp, second);
    at.store(wp, simd::fnma<T>(rate, first / (simd::sqrt<T>(second) + epsilon), w));
  });
}

/// The moving average of `value` in `average`: average += (1 - decay) * (value - average).
template <class T>
void moving_average(double decay, View<const std::type_identity_t<T>, 1> value, View<T, 1> average) {
  FOVEA_ASSERT(value.size() == average.size());
  using B = simd::Batch<T>;
  const B rate(static_cast<T>(1 - decay));
  const T* from = value.data();
  T* to = average.data();
  simd::for_each_batch<T>(average.size(), [&](auto at) {
    const B old = at.load(to);
    at.store(to, simd::fma<T>(rate, at.load(from) - old, old));
  });
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
