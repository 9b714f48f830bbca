// SPDX-License-Identifier: MIT
#include "support/compare.hpp"
#include "support/naive_nn.hpp"
#include <fovea/kernel/gates.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

using namespace fovea;
using namespace fovea_test;
using Doubles = std::vector<double>;

TEST_CASE_TEMPLATE("GRU gates against their twin", T, float, double) {
  Stream s(21);
  for (const Index h : {Index{1}, Index{5}, Index{16}, Index{37}}) {
    constexpr Index b = 3;
    const auto gx = random_tensor<T, 2>({b, 3 * h}, s);
    const auto gh = random_tensor<T, 2>({b, 3 * h}, s);
    const auto state = random_tensor<T, 2>({b, h}, s);
    const auto d = random_tensor<T, 2>({b, h}, s);
    Tensor<T, 2> out({b, h});
    Tensor<T, 2> gates({b, 3 * h});
    kernel::gru<T>(gx, gh, state, out, gates);
    auto d_gx = random_tensor<T, 2>({b, 3 * h}, s);
    auto d_gh = random_tensor<T, 2>({b, 3 * h}, s);
    auto d_h = random_tensor<T, 2>({b, h}, s);
    Doubles e_out(static_cast<std::size_t>(b * h));
    Doubles e_gx = as_doubles(d_gx);
    Doubles e_gh = as_doubles(d_gh);
    Doubles e_h = as_doubles(d_h);
    kernel::gru_backward<T>(d, gh, state, gates, d_gx, d_gh, d_h);
    for (Index i = 0; i < b; ++i) {
      for (Index k = 0; k < h; ++k) {
        const auto at = [&](const auto& t, Index gate) { return static_cast<double>(t(i, gate * h + k)); };
        const naive::Gru twin(at(gx, 0), at(gx, 1), at(gx, 2), at(gh, 0), at(gh, 1), at(gh, 2), at(state, 0));
        const auto place = [&](Index gate) { return static_cast<std::size_t>(i * 3 * h + gate * h + k); };
        const double g = at(d, 0);
        e_out[static_cast<std::size_t>(i * h + k)] = twin.out;
        e_gx[place(0)] += g * twin.d_r;
        e_gx[place(1)] += g * twin.d_z;
        e_gx[place(2)] += g * twin.d_n;
        e_gh[place(0)] += g * twin.d_r;
        e_gh[place(1)] += g * twin.d_z;
        e_gh[place(2)] += g * twin.d_hn;
        e_h[static_cast<std::size_t>(i * h + k)] += g * twin.d_h;
      }
    }
    CHECK(relative_error(out, e_out) < kTolerance<T>);
    CHECK(relative_error(d_gx, e_gx) < kTolerance<T>);
    CHECK(relative_error(d_gh, e_gh) < kTolerance<T>);
    CHECK(relative_error(d_h, e_h) < kTolerance<T>);
    CHECK_NOTHROW(kernel::gru_backward<T>(d, gh, state, gates, {}, {}, {}));
  }
}

TEST_CASE_TEMPLATE("LSTM gates against their twin", T, float, double) {
  Stream s(22);
  for (const Index h : {Index{1}, Index{5}, Index{16}, Index{37}}) {
    constexpr Index b = 3;
    const auto gx = random_tensor<T, 2>({b, 4 * h}, s);
    const auto gh = random_tensor<T, 2>({b, 4 * h}, s);
    const auto c = random_tensor<T, 2>({b, h}, s);
    const auto dh = random_tensor<T, 2>({b, h}, s);
    const auto dn = random_tensor<T, 2>({b, h}, s);
    Tensor<T, 2> next_h({b, h});
    Tensor<T, 2> next_c({b, h});
    Tensor<T, 2> gates({b, 4 * h});
    kernel::lstm<T>(gx, gh, c, next_h, next_c, gates);
    auto d_gx = random_tensor<T, 2>({b, 4 * h}, s);
    auto d_gh = random_tensor<T, 2>({b, 4 * h}, s);
    auto d_c = random_tensor<T, 2>({b, h}, s);
    Doubles e_next_h(static_cast<std::size_t>(b * h));
    Doubles e_next_c(static_cast<std::size_t>(b * h));
    Doubles e_gx = as_doubles(d_gx);
    Doubles e_gh = as_doubles(d_gh);
    Doubles e_c = as_doubles(d_c);
    kernel::lstm_backward<T>(dh, dn, c, next_c, gates, d_gx, d_gh, d_c);
    for (Index n = 0; n < b; ++n) {
      for (Index k = 0; k < h; ++k) {
        const auto pre = [&](Index gate) {
          return static_cast<double>(gx(n, gate * h + k)) + static_cast<double>(gh(n, gate * h + k));
        };
        const auto sigma = [](double x) { return 1 / (1 + std::exp(-x)); };
        const double i = sigma(pre(0));
        const double f = sigma(pre(1));
        const double g = std::tanh(pre(2));
        const double o = sigma(pre(3));
        const auto old = static_cast<double>(c(n, k));
        const double next = f * old + i * g;
        const double squashed = std::tanh(next);
        const double d_next = static_cast<double>(dn(n, k)) + static_cast<double>(dh(n, k)) * o * (1 - squashed * squashed);
        const auto one = static_cast<std::size_t>(n * h + k);
        e_next_h[one] = o * squashed;
        e_next_c[one] = next;
        e_c[one] += d_next * f;
        const double by_gate[4] = {d_next * g * i * (1 - i), d_next * old * f * (1 - f), d_next * i * (1 - g * g),
                                   static_cast<double>(dh(n, k)) * squashed * o * (1 - o)};
        for (Index gate = 0; gate < 4; ++gate) {
          e_gx[static_cast<std::size_t>(n * 4 * h + gate * h + k)] += by_gate[gate];
          e_gh[static_cast<std::size_t>(n * 4 * h + gate * h + k)] += by_gate[gate];
        }
      }
    }
    CHECK(relative_error(next_h, e_next_h) < kTolerance<T>);
    CHECK(relative_error(next_c, e_next_c) < kTolerance<T>);
    CHECK(relative_error(d_gx, e_gx) < kTolerance<T>);
    CHECK(relative_error(d_gh, e_gh) < kTolerance<T>);
    CHECK(relative_error(d_c, e_c) < kTolerance<T>);
    CHECK_NOTHROW(kernel::lstm_backward<T>(dh, dn, c, next_c, gates, {}, {}, {}));
  }
}

TEST_CASE_TEMPLATE("saturated gates give neither NaN nor a gradient", T, float, double) {
  const T far = T(500);
  const T gx[3] = {far, -far, far};
  const T gh[3] = {0, 0, 0};
  const T h[1] = {T(0.5)};
  T out[1];
  T gates[3];
  kernel::gru<T>({gx, {1, 3}}, {gh, {1, 3}}, {h, {1, 1}}, View<T, 2>(out, {1, 1}), {gates, {1, 3}});
  CHECK(out[0] == T(1));
  const T d[1] = {T(1)};
  T d_gx[3] = {};
  kernel::gru_backward<T>({d, {1, 1}}, {gh, {1, 3}}, {h, {1, 1}}, {gates, {1, 3}}, View<T, 2>(d_gx, {1, 3}), {}, {});
  for (const T x : d_gx) CHECK(std::abs(x) < T(1e-30));
}
