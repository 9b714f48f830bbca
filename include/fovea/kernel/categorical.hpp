// SPDX-License-Identifier: MIT
/// \file
/// Categorical distributions from logits: log-softmax, the cell drawn, relaxed draws, entropy, divergence, and the densities of
/// relaxed draws and of draws without replacement; with their derivatives.
///
/// Cost: log-softmax and a relaxed draw read a row three times from the cache, with one exponential an element in SIMD; the
/// rest is scalar and in double, a few exponentials or logarithms an element.
///
/// Accuracy: nothing overflows for any finite logits, and a logit may be -infinity (a cell that is never drawn), but not a
/// whole row. log p keeps its digits where p is near 1: it is -log1p(what the others weigh). A divergence is summed from terms
/// none of which is negative, so it keeps its digits where both distributions are close. Float against double, logits within
/// 200: log-softmax within 3e-7 of itself; entropy, divergence and density are double inside and right to the rounding of their
/// result.
///
/// What a "row kernel" returns is the row's number in double; the derivatives go to views of the same length, or nowhere where
/// these are empty.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/loss.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

/// The place of the greatest of x + y (y empty: of x), the first of equals. Not empty.
template <class T>
[[nodiscard]] Index argmax_of_sum(View<const std::type_identity_t<T>, 1> x, View<const T, 1> y) {
  Index best = 0;
  T most = -std::numeric_limits<T>::infinity();
  for (Index i = 0; i < x.size(); ++i) {
    const T value = y.data() ? x(i) + y(i) : x(i);
    if (value > most) {
      most = value;
      best = i;
    }
  }
  return best;
}

/// y = x - log(sum(exp(x))) over each row. x, y [B, n], rows dense.
template <class T>
void log_softmax(View<const std::type_identity_t<T>, 2> x, View<T, 2> y) {
  using B = simd::Batch<T>;
  const Index n = x.extent(1);
  for (Index b = 0; b < x.extent(0); ++b) {
    const T* in = x[b].data();
    T* out = y[b].data();
    const Index at = std::max_element(in, in + n) - in;
    const T most = in[at];
    const B offset(most);
    simd::for_each_batch<T>(n, [&](auto p) { p.store(out, simd::exp<T>(p.load(in) - offset)); });
    out[at] = 0;
    const double others = block_sum<T>(n, [=](auto p) { return p.load(out); });
    const B log_sum(static_cast<T>(std::log1p(others)));
    simd::for_each_batch<T>(n, [&](auto p) { p.store(out, (p.load(in) - offset) - log_sum); });
  }
}
/// d_x += d_y - exp(y) sum(d_y) over each row. At the greatest y as minus the sum of the others' gradients, so that where its
/// probability rounds to 1 a row's gradients still add to 0.
template <class T>
void log_softmax_backward(View<const std::type_identity_t<T>, 2> d_y, View<const std::type_identity_t<T>, 2> y,
                          View<T, 2> d_x) {
  using B = simd::Batch<T>;
  const Index n = y.extent(1);
  for (Index b = 0; b < y.extent(0); ++b) {
    const T* d = d_y[b].data();
    const T* log_p = y[b].data();
    T* dx = d_x[b].data();
    const Index at = std::max_element(log_p, log_p + n) - log_p;
    const B total(static_cast<T>(block_sum<T>(n, [=](auto p) { return p.load(d); })));
    const T before = dx[at];
    double others = 0;
    simd::for_each_batch<T>(n, [&](auto p) {
      const B change = simd::fnma<T>(simd::exp<T>(p.load(log_p)), total, p.load(d));
      alignas(kAlignment) T lanes[static_cast<std::size_t>(simd::kWidth<T>)];
      simd::store_aligned<T>(lanes, change);
      for (Index l = 0; l < p.count(); ++l) others += p.i + l == at ? 0.0 : static_cast<double>(lanes[l]);
      p.store(dx, p.load(dx) + change);
    });
    dx[at] = before - static_cast<T>(others);
  }
}

/// y = softmax((x + noise) / temperature) over each row: x, noise, y [B, n], rows dense.
template <class T>
void relaxed_categorical(View<const std::type_identity_t<T>, 2> x, View<const std::type_identity_t<T>, 2> noise,
                         double temperature, View<T, 2> y) {
  using B = simd::Batch<T>;
  const Index n = x.extent(1);
  const B factor(static_cast<T>(1 / temperature));
  for (Index b = 0; b < x.extent(0); ++b) {
    const T* in = x[b].data();
    const T* g = noise[b].data();
    T* out = y[b].data();
    simd::for_each_batch<T>(n, [&](auto at) { at.store(out, (at.load(in) + at.load(g)) * factor); });
    const double total = detail::shifted_exp<T>(out, detail::greatest<T>(out, n), n, out);
    scale<T>(static_cast<T>(1 / total), View<const T, 1>(out, {n}), View<T, 1>(out, {n}));
  }
}
/// d_x += y * (d_y - sum(d_y * y)) / temperature over each row.
template <class T>
void relaxed_categorical_backward(View<const std::type_identity_t<T>, 2> d_y, View<const std::type_identity_t<T>, 2> y,
                                  double temperature, View<T, 2> d_x) {
  using B = simd::Batch<T>;
  const Index n = y.extent(1);
  const B factor(static_cast<T>(1 / temperature));
  for (Index b = 0; b < y.extent(0); ++b) {
    const T* d = d_y[b].data();
    const T* out = y[b].data();
    T* dx = d_x[b].data();
    const B mean(static_cast<T>(block_sum<T>(n, [=](auto at) { return at.load(d) * at.load(out); })));
    simd::for_each_batch<T>(
        n, [&](auto at) { at.store(dx, simd::fma<T>(factor * at.load(out), at.load(d) - mean, at.load(dx))); });
  }
}

/// What turns the logits of a row into log-probabilities, in double.
struct LogNormaliser {
  double greatest = 0;
  double log_sum = 0;  ///< log(sum(exp(x - greatest))), with all its digits near 0

  template <class T>
  explicit LogNormaliser(View<const T, 1> x) : LogNormaliser(x.size(), [x](Index i) { return static_cast<double>(x(i)); }) {}
  /// Of x(0), ..., x(n - 1).
  template <class F>
  LogNormaliser(Index n, F x) {
    Index at = 0;
    for (Index i = 1; i < n; ++i) at = x(i) > x(at) ? i : at;
    greatest = x(at);
    double others = 0;
    for (Index i = 0; i < n; ++i) others += i == at ? 0.0 : std::exp(x(i) - greatest);
    log_sum = std::log1p(others);
  }
  /// x - log(sum(exp)).
  [[nodiscard]] double operator()(double x) const noexcept { return (x - greatest) - log_sum; }
};

/// Row kernel: the entropy of softmax(x), in nats.
template <class T>
[[nodiscard]] double categorical_entropy(View<const T, 1> x, View<std::type_identity_t<T>, 1> d_x) {
  const LogNormaliser log_p(x);
  double sum = 0;
  const auto each = [&](auto body) {
    for (Index i = 0; i < x.size(); ++i) {
      const double l = log_p(static_cast<double>(x(i)));
      const double p = std::exp(l);
      body(i, p, p > 0 ? l : 0.0);  // 0 log 0 is 0
    }
  };
  each([&](Index, double p, double l) { sum -= p * l; });
  if (d_x.data()) each([&](Index i, double p, double l) { d_x(i) = static_cast<T>(-p * (l + sum)); });
  return sum;
}

/// Row kernel: KL(softmax(x) || softmax(y)), in nats: sum p (d + exp(-d) - 1) with d = log p - log r, r = softmax(y), which is
/// sum p d since both add to 1.
template <class T>
[[nodiscard]] double categorical_kl(View<const T, 1> x, View<const T, 1> y, View<std::type_identity_t<T>, 1> d_x,
                                    View<std::type_identity_t<T>, 1> d_y) {
  const LogNormaliser log_p(x);
  const LogNormaliser log_r(y);
  double sum = 0;
  const auto each = [&](auto body) {
    for (Index i = 0; i < x.size(); ++i) {
      const double lp = log_p(static_cast<double>(x(i)));
      const double lr = log_r(static_cast<double>(y(i)));
      const double p = std::exp(lp);
      const double d = p > 0 ? lp - lr : 0.0;
      // r - p
      const double rest = p > 0 && std::abs(d) < 0.5 ? p * std::expm1(-d) : std::exp(lr) - p;
      body(i, p, d, rest);
    }
  };
  each([&](Index, double p, double d, double rest) {
    // d + expm1(-d) by its series where it is small.
    if (std::abs(d) < 1e-2) {
      sum += p * d * d * (1 - d / 3 * (1 - d / 4 * (1 - d / 5 * (1 - d / 6)))) / 2;
    } else {
      sum += p * d + rest;
    }
  });
  if (d_x.data()) each([&](Index i, double p, double d, double) { d_x(i) = static_cast<T>(p > 0 ? p * (d - sum) : 0.0); });
  if (d_y.data()) each([&](Index i, double, double, double rest) { d_y(i) = static_cast<T>(rest); });
  return sum;
}

/// Row kernel: the log-density of the Concrete distribution of logits x at `z` on the simplex,
///
///     log (n-1)! + (n-1) log t + sum_i (u_i - log z_i) - n log sum_i exp(u_i),   u_i = x_i - t log z_i.
///
/// A z_i below 1e-31 in float, 1e-292 in double (a draw rounds to 0 at low temperatures) counts as that, with derivative 0: its
/// logarithm is finite, and so is 1 / z_i.
template <class T>
[[nodiscard]] double concrete_log_density(View<const T, 1> x, View<const T, 1> z, double temperature,
                                          View<std::type_identity_t<T>, 1> d_x, View<std::type_identity_t<T>, 1> d_z) {
  constexpr T least = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();
  const Index n = x.size();
  const auto log_z = [z, least](Index i) { return std::log(static_cast<double>(std::max(z(i), least))); };
  const auto u = [&](Index i) { return static_cast<double>(x(i)) - temperature * log_z(i); };
  const LogNormaliser log_share(n, u);
  const auto count = static_cast<double>(n);
  double sum = std::lgamma(count) + (count - 1) * std::log(temperature);
  for (Index i = 0; i < n; ++i) {
    const double log_z_i = log_z(i);
    const double l = log_share(static_cast<double>(x(i)) - temperature * log_z_i);
    sum += l - log_z_i;
    const double slope = 1 - count * std::exp(l);
    if (d_x.data()) d_x(i) = static_cast<T>(slope);
    if (d_z.data()) d_z(i) = z(i) < least ? T(0) : static_cast<T>(-(temperature * slope + 1) / static_cast<double>(z(i)));
  }
  return sum;
}

/// Row kernel: the log-probability of drawing `cells` [k], one after the other, of softmax(x) without replacement:
/// sum_j log(p(i_j) / what is left before draw j). `position` [n] and `left` [k + 1] are scratch.
template <class T>
[[nodiscard]] double plackett_luce_log_density(View<const T, 1> x, View<const std::int32_t, 1> cells, std::int32_t* position,
                                               double* left, View<std::type_identity_t<T>, 1> d_x) {
  constexpr double none = -std::numeric_limits<double>::infinity();
  const Index n = x.size();
  const Index k = cells.size();
  const auto log_add = [](double a, double b) {
    const double most = std::max(a, b);
    return most == none ? none : most + std::log1p(std::exp(std::min(a, b) - most));
  };
  const auto logit = [x](Index i) { return static_cast<double>(x(i)); };
  std::fill_n(position, n, static_cast<std::int32_t>(k));
  for (Index j = 0; j < k; ++j) position[cells(j)] = static_cast<std::int32_t>(j);
  // left[j]: the logarithm of what is left before draw j, from behind.
  double most = none;
  for (Index i = 0; i < n; ++i) most = position[i] == k ? std::max(most, logit(i)) : most;
  double rest = 0;
  for (Index i = 0; i < n && most > none; ++i) rest += position[i] == k ? std::exp(logit(i) - most) : 0.0;
  left[k] = most > none ? most + std::log(rest) : none;
  double sum = 0;
  for (Index j = k - 1; j >= 0; --j) {
    const double behind = left[j + 1] - logit(cells(j));  // of the others before draw j, as odds
    sum -= std::max(behind, 0.0) + std::log1p(std::exp(-std::abs(behind)));
    left[j] = log_add(left[j + 1], logit(cells(j)));
  }
  if (!d_x.data()) return sum;
  // log sum_{l<=j} 1 / what is left, in the same place.
  left[0] = -left[0];
  for (Index j = 1; j < k; ++j) left[j] = log_add(left[j - 1], -left[j]);
  for (Index i = 0; i < n; ++i) {
    const bool drawn = position[i] < k;
    const double seen = std::exp(logit(i) + left[drawn ? position[i] : k - 1]);
    d_x(i) = static_cast<T>((drawn ? 1.0 : 0.0) - seen);
  }
  return sum;
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
