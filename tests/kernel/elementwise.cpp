// SPDX-License-Identifier: MIT
#include "support/compare.hpp"
#include <fovea/kernel/attention.hpp>
#include <fovea/kernel/elementwise.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

using namespace fovea;
using namespace fovea_test;
using Doubles = std::vector<double>;

TEST_CASE_TEMPLATE("element-wise arithmetic against plain loops", T, float, double) {
  Stream s(51);
  for (Index n = 0; n < 80; n += 1 + n / 12) {
    const auto x = random_tensor<T, 1>({n}, s);
    const auto y = random_tensor<T, 1>({n}, s);
    const auto start = random_tensor<T, 1>({n}, s);
    const auto compare = [&](auto kernel_call, auto expected) {
      auto z = start;
      kernel_call(z);
      Doubles e(static_cast<std::size_t>(n));
      for (Index i = 0; i < n; ++i) {
        e[static_cast<std::size_t>(i)] =
            expected(static_cast<double>(x(i)), static_cast<double>(y(i)), static_cast<double>(start(i)));
      }
      CHECK(relative_error(z, e) < kTolerance<T>);
    };
    compare([&](auto& z) { kernel::add<T>(x, y, z); }, [](double a, double b, double) { return a + b; });
    compare([&](auto& z) { kernel::subtract<T>(x, y, z); }, [](double a, double b, double) { return a - b; });
    compare([&](auto& z) { kernel::multiply<T>(x, y, z); }, [](double a, double b, double) { return a * b; });
    compare([&](auto& z) { kernel::multiply_add<T>(x, y, z); }, [](double a, double b, double c) { return c + a * b; });
    compare([&](auto& z) { kernel::scale<T>(T(0.5), x, z); }, [](double a, double, double) { return 0.5 * a; });
    compare([&](auto& z) { kernel::axpy<T>(T(-2), x, z); }, [](double a, double, double c) { return c - 2 * a; });
    compare([&](auto& z) { kernel::accumulate<T>(x, z); }, [](double a, double, double c) { return c + a; });
    compare([&](auto& z) { kernel::add_constant<T>(T(3), z.view()); }, [](double, double, double c) { return c + 3; });
  }
}

TEST_CASE_TEMPLATE("long sums keep their digits", T, float, double) {
  for (const Index n : {Index{0}, Index{1}, Index{31}, Index{1024}, Index{1000003}}) {
    Tensor<T, 1> x({n});
    long double expected = 0;
    Stream s(52);
    for (T& v : x) {
      v = static_cast<T>(s.uniform(0.0, 1.0));
      expected += static_cast<long double>(v);
    }
    CHECK(kernel::sum<T>(x) == doctest::Approx(static_cast<double>(expected)).epsilon(sizeof(T) == 4 ? 1e-6 : 1e-13));
  }
}

TEST_CASE_TEMPLATE("rows", T, float, double) {
  Stream s(53);
  for (const Index n : {Index{1}, Index{10}, Index{32}, Index{45}}) {
    constexpr Index m = 131;
    const auto y = random_tensor<T, 2>({m, n}, s, 1, 2);  // no cancellation in the sums
    auto x = random_tensor<T, 1>({n}, s);
    Doubles expected = as_doubles(x);
    for (Index i = 0; i < m * n; ++i) expected[static_cast<std::size_t>(i % n)] += static_cast<double>(y.data()[i]);
    kernel::accumulate_rows<T>(y, x);
    CHECK(relative_error(x, expected) < kTolerance<T>);
    Tensor<T, 2> all({3, n});
    kernel::broadcast_rows<T>(x, all);
    for (Index i = 0; i < 3; ++i) {
      for (Index k = 0; k < n; ++k) CHECK(all(i, k) == x(k));
    }
    auto turned = random_tensor<T, 2>({n, m}, s);
    const auto before = turned;
    kernel::accumulate_transposed<T>(y, turned);
    for (Index i = 0; i < m; ++i) {
      for (Index k = 0; k < n; ++k) CHECK(turned(k, i) == before(k, i) + y(i, k));
    }
  }
}

TEST_CASE_TEMPLATE("the gradients of a row times a matrix against plain loops", T, float, double) {
  Stream s(55);
  for (const Index n : {Index{1}, Index{5}, Index{16}, Index{70}, Index{200}}) {
    for (const Index m : {Index{1}, Index{3}, Index{19}}) {
      INFO(m, "x", n);
      const auto d_y = random_tensor<T, 1>({n}, s);
      const auto x = random_tensor<T, 1>({m}, s);
      const auto w = random_tensor<T, 2>({m, n}, s);
      const auto start_x = random_tensor<T, 1>({m}, s);
      const auto start_w = random_tensor<T, 2>({m, n}, s);
      Doubles expected_x = as_doubles(start_x);
      Doubles expected_w = as_doubles(start_w);
      for (Index i = 0; i < m; ++i) {
        for (Index j = 0; j < n; ++j) {
          expected_x[static_cast<std::size_t>(i)] += static_cast<double>(w(i, j)) * static_cast<double>(d_y(j));
          expected_w[static_cast<std::size_t>(i * n + j)] += static_cast<double>(x(i)) * static_cast<double>(d_y(j));
        }
      }
      auto d_x = start_x;
      auto d_w = start_w;
      kernel::row_times_matrix_backward<T>(d_y, x, w, d_x, d_w);
      CHECK(relative_error(d_x, expected_x) < kTolerance<T>);
      CHECK(relative_error(d_w, expected_w) < kTolerance<T>);
      // One of them alone.
      auto only_x = start_x;
      auto only_w = start_w;
      kernel::row_times_matrix_backward<T>(d_y, x, w, only_x, {});
      kernel::row_times_matrix_backward<T>(d_y, x, w, {}, only_w);
      CHECK(relative_error(only_x, d_x) == 0);
      CHECK(relative_error(only_w, d_w) == 0);
    }
  }
}

TEST_CASE_TEMPLATE("attention against plain loops", T, float, double) {
  Stream s(54);
  struct Case {
    Index b, p, c;
  };
  for (const auto& [b, p, c] : {Case{1, 1, 1}, Case{2, 12, 7}, Case{3, 130, 16}, Case{1, 64, 37}}) {
    const auto features = random_tensor<T, 3>({b, p, c}, s);
    const auto key = random_tensor<T, 2>({b, c}, s);
    const auto weights = random_tensor<T, 2>({b, p}, s);
    const auto size = [](Index n) { return static_cast<std::size_t>(n); };

    Tensor<T, 2> scores({b, p});
    kernel::key_scores<T>(features, key, scores);
    Tensor<T, 2> pooled({b, c});
    kernel::attention_pool<T>(weights, features, pooled);
    auto d_features = random_tensor<T, 3>({b, p, c}, s);
    auto d_key = random_tensor<T, 2>({b, c}, s);
    auto d_weights = random_tensor<T, 2>({b, p}, s);
    Doubles e_scores(size(b * p));
    Doubles e_pooled(size(b * c));
    Doubles e_features = as_doubles(d_features);
    Doubles e_key = as_doubles(d_key);
    Doubles e_weights = as_doubles(d_weights);
    // Both backward calls, with `weights` as d_scores and `key` as d_out.
    kernel::key_scores_backward<T>(weights, features, key, d_features, d_key);
    kernel::attention_pool_backward<T>(key, weights, features, d_weights, d_features);
    for (Index i = 0; i < b; ++i) {
      for (Index j = 0; j < p; ++j) {
        for (Index k = 0; k < c; ++k) {
          const auto f = static_cast<double>(features(i, j, k));
          const auto q = static_cast<double>(key(i, k));
          const auto a = static_cast<double>(weights(i, j));
          e_scores[size(i * p + j)] += f * q;
          e_pooled[size(i * c + k)] += f * a;
          e_features[size((i * p + j) * c + k)] += 2 * a * q;
          e_key[size(i * c + k)] += a * f;
          e_weights[size(i * p + j)] += q * f;
        }
      }
    }
    CHECK(relative_error(scores, e_scores) < kTolerance<T>);
    CHECK(relative_error(pooled, e_pooled) < kTolerance<T>);
    CHECK(relative_error(d_features, e_features) < kTolerance<T>);
    CHECK(relative_error(d_key, e_key) < kTolerance<T>);
    CHECK(relative_error(d_weights, e_weights) < kTolerance<T>);
  }
}

TEST_CASE_TEMPLATE("expected coordinates: centres of cells, x first", T, float, double) {
  Tensor<T, 2> attention({3, 8});  // 2 rows of 4
  attention(0, 1) = 1;             // row 0, column 1
  attention(1, 7) = 1;             // the last cell
  for (Index p = 0; p < 8; ++p) attention(2, p) = T(0.125);
  Tensor<T, 2> place({3, 2});
  kernel::expected_coordinates<T>(attention, 2, 4, place);
  CHECK(place(0, 0) == T(-0.25));
  CHECK(place(0, 1) == T(-0.5));
  CHECK(place(1, 0) == T(0.75));
  CHECK(place(1, 1) == T(0.5));
  CHECK(place(2, 0) == T(0));
  CHECK(place(2, 1) == T(0));
}
