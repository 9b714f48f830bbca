// SPDX-License-Identifier: MIT
#include "support/compare.hpp"
#include <fovea/kernel/optimizer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

using namespace fovea;
using namespace fovea_test;
using Doubles = std::vector<double>;

namespace {

/// What an optimiser changes, in double: the values, and three moments of which it may use fewer.
struct Twin {
  Doubles w;
  Doubles a;
  Doubles b;
  Doubles c;
};

/// 20 steps of `kernel(gradient, t, w, a, b, c)` and of `twin(gradient, t, state)` from the same start on the same gradients.
template <class T, class Kernel, class Naive>
void check_against_twin(Kernel kernel, Naive naive) {
  Stream s(44);
  for (const Index n : {Index{1}, Index{7}, Index{16}, Index{45}}) {
    auto w = random_tensor<T, 1>({n}, s);
    Tensor<T, 1> a({n});
    Tensor<T, 1> b({n});
    Tensor<T, 1> c({n});
    const auto zeros = Doubles(static_cast<std::size_t>(n));
    Twin twin{as_doubles(w), zeros, zeros, zeros};
    for (int t = 1; t <= 20; ++t) {
      const auto g = random_tensor<T, 1>({n}, s);
      kernel(g.view(), t, w.view(), a.view(), b.view(), c.view());
      naive(as_doubles(g), t, twin);
    }
    CAPTURE(n);
    CHECK(relative_error(w, twin.w) < 5 * kTolerance<T>);
    CHECK(relative_error(a, twin.a) < 5 * kTolerance<T>);
    CHECK(relative_error(b, twin.b) < 5 * kTolerance<T>);
    CHECK(relative_error(c, twin.c) < 5 * kTolerance<T>);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("Adam against its twin over 20 steps", T, float, double) {
  Stream s(41);
  const kernel::AdamOptions o{0.01, 0.9, 0.99, 1e-6, 0.05};
  for (const Index n : {Index{1}, Index{16}, Index{45}}) {
    auto w = random_tensor<T, 1>({n}, s);
    Tensor<T, 1> m({n});
    Tensor<T, 1> v({n});
    Doubles ew = as_doubles(w);
    Doubles em(ew.size());
    Doubles ev(ew.size());
    for (int t = 1; t <= 20; ++t) {
      const auto g = random_tensor<T, 1>({n}, s);
      kernel::adam<T>(g, t, o, w, m, v);
      for (std::size_t i = 0; i < ew.size(); ++i) {
        const auto gi = static_cast<double>(g.data()[i]);
        em[i] = o.beta1 * em[i] + (1 - o.beta1) * gi;
        ev[i] = o.beta2 * ev[i] + (1 - o.beta2) * gi * gi;
        ew[i] -= o.learning_rate * o.weight_decay * ew[i];
        ew[i] -= o.learning_rate * (em[i] / (1 - std::pow(o.beta1, t))) /
                 (std::sqrt(ev[i] / (1 - std::pow(o.beta2, t))) + o.epsilon);
      }
    }
    CHECK(relative_error(w, ew) < 3 * kTolerance<T>);
    CHECK(relative_error(m, em) < 3 * kTolerance<T>);
    CHECK(relative_error(v, ev) < 3 * kTolerance<T>);
  }
}

TEST_CASE_TEMPLATE("Adam agrees with torch.optim.AdamW of PyTorch 1.13", T, float, double) {
  // w = pattern(4, 0.5, 1); AdamW(lr=0.01, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1); three steps with the
  // gradients pattern(4, 0.1 * s, 1), s = 1, 2, 3.
  const Doubles expected{-0.46870735672578151, -0.09508700197606737, 0.27245500534443617, 0.59334403988652618};
  auto w = pattern<T, 1>({4}, 0.5, 1.0);
  Tensor<T, 1> m({4});
  Tensor<T, 1> v({4});
  for (int t = 1; t <= 3; ++t) {
    kernel::adam<T>(pattern<T, 1>({4}, 0.1 * t, 1.0), t, {0.01, 0.9, 0.99, 1e-8, 0.1}, w, m, v);
  }
  CHECK(relative_error(w, expected) < kTolerance<T>);
}

TEST_CASE_TEMPLATE("gradient descent against its twin", T, float, double) {
  for (const kernel::SgdOptions& o : {kernel::SgdOptions{0.05, 0, false, 0}, kernel::SgdOptions{0.05, 0, false, 0.1},
                                      kernel::SgdOptions{0.05, 0.9, false, 0.1}, kernel::SgdOptions{0.05, 0.9, true, 0.1}}) {
    CAPTURE(o.momentum);
    CAPTURE(o.nesterov);
    check_against_twin<T>([&](View<const T, 1> g, int, View<T, 1> w, View<T, 1> a, View<T, 1>,
                              View<T, 1>) { kernel::sgd<T>(g, o, w, o.momentum == 0 ? View<T, 1>() : a); },
                          [&](const Doubles& gradient, int, Twin& twin) {
                            for (std::size_t i = 0; i < gradient.size(); ++i) {
                              const double g = gradient[i] + o.weight_decay * twin.w[i];
                              if (o.momentum == 0) {
                                twin.w[i] -= o.learning_rate * g;
                                continue;
                              }
                              twin.a[i] = o.momentum * twin.a[i] + g;
                              twin.w[i] -= o.learning_rate * (o.nesterov ? g + o.momentum * twin.a[i] : twin.a[i]);
                            }
                          });
  }
}

TEST_CASE_TEMPLATE("RMSprop against its twin", T, float, double) {
  for (const double momentum : {0.0, 0.8}) {
    for (const bool centered : {false, true}) {
      CAPTURE(momentum);
      CAPTURE(centered);
      const kernel::RmsPropOptions o{0.01, 0.95, 1e-4, 0.1, momentum, centered};
      check_against_twin<T>(
          [&](View<const T, 1> g, int, View<T, 1> w, View<T, 1> a, View<T, 1> b, View<T, 1> c) {
            kernel::rmsprop<T>(g, o, w, a, momentum > 0 ? b : View<T, 1>(), centered ? c : View<T, 1>());
          },
          [&](const Doubles& gradient, int, Twin& twin) {
            for (std::size_t i = 0; i < gradient.size(); ++i) {
              const double g = gradient[i] + o.weight_decay * twin.w[i];
              twin.a[i] = o.alpha * twin.a[i] + (1 - o.alpha) * g * g;
              double spread = twin.a[i];
              if (centered) {
                twin.c[i] = o.alpha * twin.c[i] + (1 - o.alpha) * g;
                spread -= twin.c[i] * twin.c[i];
              }
              double change = g / (std::sqrt(spread) + o.epsilon);
              if (momentum > 0) change = twin.b[i] = momentum * twin.b[i] + change;
              twin.w[i] -= o.learning_rate * change;
            }
          });
    }
  }
}

TEST_CASE_TEMPLATE("centred RMSprop stays finite where the gradient never changes", T, float, double) {
  // Its variance tends to 0, and rounding makes it negative for some of these.
  auto g = pattern<T, 1>({37}, 1.0, 0.3);
  Tensor<T, 1> w({37});
  Tensor<T, 1> square({37});
  Tensor<T, 1> mean({37});
  for (int t = 1; t <= 200; ++t) {
    kernel::rmsprop<T>(g, {.alpha = 0.5, .epsilon = 1e-3, .centered = true}, w, square, View<T, 1>(), mean);
  }
  for (const T x : w) CHECK(std::isfinite(x));
}

TEST_CASE_TEMPLATE("Lion against its twin", T, float, double) {
  const kernel::LionOptions o{0.01, 0.9, 0.95, 0.1};
  check_against_twin<T>(
      [&](View<const T, 1> g, int, View<T, 1> w, View<T, 1> a, View<T, 1>, View<T, 1>) { kernel::lion<T>(g, o, w, a); },
      [&](const Doubles& gradient, int, Twin& twin) {
        for (std::size_t i = 0; i < gradient.size(); ++i) {
          const double c = o.beta1 * twin.a[i] + (1 - o.beta1) * gradient[i];
          twin.w[i] *= 1 - o.learning_rate * o.weight_decay;
          twin.w[i] -= o.learning_rate * (c > 0 ? 1 : c < 0 ? -1 : 0);
          twin.a[i] = o.beta2 * twin.a[i] + (1 - o.beta2) * gradient[i];
        }
      });
}

TEST_CASE_TEMPLATE("AdamNormGrad against its twin", T, float, double) {
  const kernel::AdamNormGradOptions o{0.01, 0.9, 0.99, 1e-3, 0.1};
  check_against_twin<T>([&](View<const T, 1> g, int t, View<T, 1> w, View<T, 1> a, View<T, 1> b,
                            View<T, 1>) { kernel::adam_norm_grad<T>(g, t, o, w, a, b); },
                        [&](const Doubles& gradient, int t, Twin& twin) {
                          double norm = 0;
                          for (const double g : gradient) norm += g * g;
                          norm = std::sqrt(norm);
                          const double rate =
                              o.learning_rate * std::sqrt(1 - std::pow(o.beta2, t)) / (1 - std::pow(o.beta1, t));
                          for (std::size_t i = 0; i < gradient.size(); ++i) {
                            const double g = gradient[i] / (norm + 1e-7) + o.weight_decay * twin.w[i];
                            twin.a[i] = o.beta1 * twin.a[i] + (1 - o.beta1) * g;
                            twin.b[i] = o.beta2 * twin.b[i] + (1 - o.beta2) * g * g;
                            twin.w[i] -= rate * twin.a[i] / (std::sqrt(twin.b[i]) + o.epsilon);
                          }
                        });
}

TEST_CASE_TEMPLATE("a gradient that is NaN is seen in the value", T, float, double) {
  const auto value_after = [](auto step) {
    Tensor<T, 1> g({1});
    g.data()[0] = std::numeric_limits<T>::quiet_NaN();
    Tensor<T, 1> w({1});
    Tensor<T, 1> a({1});
    Tensor<T, 1> b({1});
    Tensor<T, 1> c({1});
    step(g.view(), w.view(), a.view(), b.view(), c.view());
    return w.data()[0];
  };
  using V = View<T, 1>;
  CHECK(std::isnan(value_after([](V g, V w, V a, V b, V) { kernel::adam<T>(g, 1, {}, w, a, b); })));
  CHECK(std::isnan(value_after([](V g, V w, V a, V b, V) { kernel::adam_norm_grad<T>(g, 1, {}, w, a, b); })));
  CHECK(std::isnan(value_after([](V g, V w, V a, V, V) { kernel::sgd<T>(g, {.momentum = 0.5}, w, a); })));
  CHECK(std::isnan(value_after([](V g, V w, V a, V b, V c) { kernel::rmsprop<T>(g, {.centered = true}, w, a, b, c); })));
  CHECK(std::isnan(value_after([](V g, V w, V a, V, V) { kernel::lion<T>(g, {}, w, a); })));
}

TEST_CASE_TEMPLATE("padding stays 0", T, float, double) {
  Tensor<T, 1> zero({20});
  Tensor<T, 1> w({20});
  Tensor<T, 1> a({20});
  Tensor<T, 1> b({20});
  Tensor<T, 1> c({20});
  for (int t = 1; t <= 3; ++t) {
    kernel::adam<T>(zero, t, {.weight_decay = 0.1}, w, a, b);
    kernel::adam_norm_grad<T>(zero, t, {.weight_decay = 0.1}, w, a, b);
    kernel::sgd<T>(zero, {.momentum = 0.9, .nesterov = true, .weight_decay = 0.1}, w, a);
    kernel::rmsprop<T>(zero, {.weight_decay = 0.1, .momentum = 0.9, .centered = true}, w, a, b, c);
    kernel::lion<T>(zero, {.weight_decay = 0.1}, w, a);
  }
  for (const auto* x : {&w, &a, &b, &c}) {
    for (const T element : *x) CHECK(element == T(0));
  }
}

TEST_CASE_TEMPLATE("clipping by value", T, float, double) {
  Stream s(45);
  for (const Index n : {Index{0}, Index{1}, Index{16}, Index{45}}) {
    const auto x = random_tensor<T, 1>({n}, s);
    auto clipped = x;
    kernel::clip_by_value<T>(T(0.5), clipped);
    for (Index i = 0; i < n; ++i) CHECK(clipped.data()[i] == std::clamp(x.data()[i], T(-0.5), T(0.5)));
  }
  constexpr T infinity = std::numeric_limits<T>::infinity();
  // As a whole vector and as a tail: NaN is still seen.
  for (const Index n : {simd::kWidth<T>, Index{3}}) {
    for (Index place = 0; place < n; ++place) {
      Tensor<T, 1> x({n});
      std::fill(x.begin(), x.end(), -infinity);
      x.data()[place] = std::numeric_limits<T>::quiet_NaN();
      kernel::clip_by_value<T>(T(2), x);
      for (Index i = 0; i < n; ++i) CHECK((i == place ? std::isnan(x.data()[i]) : x.data()[i] == T(-2)));
    }
  }
}

TEST_CASE_TEMPLATE("the squared norm is summed in double", T, float, double) {
  Stream s(42);
  for (const Index n : {Index{0}, Index{1}, Index{7}, Index{8}, Index{9}, Index{100000}}) {
    const auto x = random_tensor<T, 1>({n}, s);
    long double expected = 0;
    for (const T v : x) expected += static_cast<long double>(v) * static_cast<long double>(v);
    CHECK(kernel::squared_norm<T>(x) == doctest::Approx(static_cast<double>(expected)).epsilon(1e-12));
  }
  const T large[2] = {T(1e30), T(1)};  // its square is no float
  CHECK(kernel::squared_norm<T>(View<const T, 1>(large, {2})) == doctest::Approx(1e60));
  const T bad[3] = {T(1), std::numeric_limits<T>::quiet_NaN(), T(1)};
  CHECK(std::isnan(kernel::squared_norm<T>(View<const T, 1>(bad, {3}))));
}

TEST_CASE_TEMPLATE("the moving average", T, float, double) {
  Stream s(43);
  const auto value = random_tensor<T, 1>({37}, s);
  auto average = random_tensor<T, 1>({37}, s);
  Doubles expected = as_doubles(average);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    expected[i] = 0.9 * expected[i] + 0.1 * static_cast<double>(value.data()[i]);
  }
  kernel::moving_average<T>(0.9, value, average);
  CHECK(relative_error(average, expected) < kTolerance<T>);
  auto same = value;
  kernel::moving_average<T>(0.5, value, same);
  CHECK(relative_error(same, value) == 0);
}
