// SPDX-License-Identifier: MIT
#include "support/compare.hpp"
#include <fovea/kernel/optimizer.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

using namespace fovea;
using namespace fovea_test;
using Doubles = std::vector<double>;

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

TEST_CASE_TEMPLATE("padding stays 0", T, float, double) {
  Tensor<T, 1> zero({20});
  Tensor<T, 1> w({20});
  Tensor<T, 1> m({20});
  Tensor<T, 1> v({20});
  for (int t = 1; t <= 3; ++t) kernel::adam<T>(zero, t, {}, w, m, v);
  for (const T x : w) CHECK(x == T(0));
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
