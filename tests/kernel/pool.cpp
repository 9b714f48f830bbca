// SPDX-License-Identifier: MIT
#include "support/compare.hpp"
#include "support/naive_nn.hpp"
#include <fovea/kernel/pool.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

using namespace fovea;
using namespace fovea_test;
using kernel::Pool2dOptions;
using Doubles = std::vector<double>;

namespace {

struct Case {
  Extents<4> x;
  Pool2dOptions o;
};
const Case kCases[] = {
    {{1, 4, 4, 1}, Pool2dOptions::square(2)},     {{2, 5, 7, 3}, Pool2dOptions::square(2)},
    {{1, 6, 6, 16}, Pool2dOptions::square(3, 2)}, {{2, 5, 4, 19}, {2, 3, 2, 1, 1, 1}},
    {{1, 3, 9, 33}, {3, 2, 1, 3, 1, 0}},          {{1, 1, 1, 8}, {1, 1, 1, 1, 0, 0}},
    {{1, 7, 5, 64}, {7, 5, 1, 1, 0, 0}},          {{1, 4, 4, 5}, {2, 2, 3, 3, 0, 0}},
};

Extents<4> pooled(const Case& k) { return {k.x[0], k.o.output_height(k.x[1]), k.o.output_width(k.x[2]), k.x[3]}; }

}  // namespace

TEST_CASE_TEMPLATE("maximum pooling against its twin", T, float, double) {
  Stream s(5);
  for (const Case& k : kCases) {
    const auto e = pooled(k);
    const auto x = random_tensor<T, 4>(k.x, s);
    Tensor<T, 4> y(e);
    Tensor<T, 4> winner(e);
    kernel::max_pool2d<T>(x, k.o, y, winner);
    Doubles expected(static_cast<std::size_t>(y.size()), -HUGE_VAL);
    std::vector<std::size_t> from(expected.size());
    naive::for_each_pooled(k.x, e, k.o, [&](std::size_t to, std::size_t element) {
      const auto v = static_cast<double>(x.data()[element]);
      if (v > expected[to]) {
        expected[to] = v;
        from[to] = element;
      }
    });
    CHECK(relative_error(y, expected) == 0);

    const auto dy = random_tensor<T, 4>(e, s);
    auto dx = random_tensor<T, 4>(k.x, s);
    Doubles expected_dx = as_doubles(dx);
    for (std::size_t i = 0; i < from.size(); ++i) expected_dx[from[i]] += static_cast<double>(dy.data()[i]);
    kernel::max_pool2d_backward<T>(dy, winner, k.o, dx);
    CHECK(relative_error(dx, expected_dx) < kTolerance<T>);
  }
}

TEST_CASE_TEMPLATE("average pooling against its twin", T, float, double) {
  Stream s(6);
  for (const Case& k : kCases) {
    const auto e = pooled(k);
    const auto x = random_tensor<T, 4>(k.x, s);
    Tensor<T, 4> y(e);
    kernel::average_pool2d<T>(x, k.o, y);
    Doubles sum(static_cast<std::size_t>(y.size()));
    Doubles count(sum.size());
    naive::for_each_pooled(k.x, e, k.o, [&](std::size_t to, std::size_t from) {
      sum[to] += static_cast<double>(x.data()[from]);
      count[to] += 1;
    });
    Doubles expected = sum;
    for (std::size_t i = 0; i < sum.size(); ++i) expected[i] /= count[i];
    CHECK(relative_error(y, expected) < kTolerance<T>);

    const auto dy = random_tensor<T, 4>(e, s);
    auto dx = random_tensor<T, 4>(k.x, s);
    Doubles expected_dx = as_doubles(dx);
    naive::for_each_pooled(k.x, e, k.o, [&](std::size_t to, std::size_t from) {
      expected_dx[from] += static_cast<double>(dy.data()[to]) / count[to];
    });
    kernel::average_pool2d_backward<T>(dy, k.o, dx);
    CHECK(relative_error(dx, expected_dx) < kTolerance<T>);
  }
}

TEST_CASE_TEMPLATE("the average over all positions against its twin", T, float, double) {
  Stream s(7);
  for (const Extents<3>& e : {Extents<3>{1, 1, 1}, Extents<3>{2, 63, 5}, Extents<3>{3, 200, 16}, Extents<3>{1, 130, 37}}) {
    const auto x = random_tensor<T, 3>(e, s);
    Tensor<T, 2> y({e[0], e[2]});
    kernel::global_average_pool<T>(x, y);
    Doubles expected(static_cast<std::size_t>(y.size()));
    for (Index n = 0; n < e[0]; ++n) {
      for (Index p = 0; p < e[1]; ++p) {
        for (Index c = 0; c < e[2]; ++c) {
          expected[static_cast<std::size_t>(n * e[2] + c)] += static_cast<double>(x(n, p, c)) / static_cast<double>(e[1]);
        }
      }
    }
    CHECK(relative_error(y, expected) < kTolerance<T>);
    const auto dy = random_tensor<T, 2>({e[0], e[2]}, s);
    auto dx = random_tensor<T, 3>(e, s);
    Doubles expected_dx = as_doubles(dx);
    for (Index i = 0; i < dx.size(); ++i) {
      const Index n = i / (e[1] * e[2]);
      expected_dx[static_cast<std::size_t>(i)] += static_cast<double>(dy(n, i % e[2])) / static_cast<double>(e[1]);
    }
    kernel::global_average_pool_backward<T>(dy, dx);
    CHECK(relative_error(dx, expected_dx) < kTolerance<T>);
  }
}

TEST_CASE_TEMPLATE("a NaN under a window comes out, the first of equals wins", T, float, double) {
  Tensor<T, 4> x({1, 2, 4, 1});
  x(0, 1, 0, 0) = std::numeric_limits<T>::quiet_NaN();
  x(0, 1, 1, 0) = T(5);
  Tensor<T, 4> y({1, 1, 2, 1});
  Tensor<T, 4> winner({1, 1, 2, 1});
  kernel::max_pool2d<T>(x, Pool2dOptions::square(2), y, winner);
  CHECK(std::isnan(y(0, 0, 0, 0)));
  CHECK(y(0, 0, 1, 0) == T(0));
  CHECK(winner(0, 0, 1, 0) == T(0));
}

TEST_CASE_TEMPLATE("pooling agrees with PyTorch 1.13", T, float, double) {
  // torch.nn.functional.max_pool2d and avg_pool2d(..., count_include_pad=False) of pattern(40, 0, 1) as NHWC [1, 4, 5,
  // 2], window (2, 3), stride (2, 1), padding (1, 1), permuted to NHWC: [1, 3, 5, 2].
  const Doubles most{-0.25, 0.125, 0.5,   0.875, 0.5,   0.875, 0.5,  0.875, -0.125, 0.25,  0.875, 1,   0.875, 1,   0.875,
                     0.625, 1,     0.625, 1,     0.625, 0.375, 0.75, 0.375, 0.75,   0.375, 0.75,  0.5, 0.875, 0.5, 0.875};
  const Doubles mean{-0.625,
                     -0.25,
                     -0.25,
                     0.125,
                     -0.20833333333333334,
                     0.16666666666666666,
                     -0.16666666666666666,
                     0.20833333333333334,
                     -0.5,
                     -0.125,
                     0.21875,
                     0.0625,
                     0.0625,
                     0.083333333333333329,
                     0.10416666666666667,
                     -0.22916666666666666,
                     0.14583333333333334,
                     -0.1875,
                     0.34375,
                     -0.34375,
                     0,
                     0.375,
                     -0.33333333333333331,
                     0.041666666666666664,
                     -0.29166666666666669,
                     0.083333333333333329,
                     -0.25,
                     0.125,
                     0.125,
                     0.5};
  const auto x = pattern<T, 4>({1, 4, 5, 2}, 0.0, 1.0);
  const Pool2dOptions o{2, 3, 2, 1, 1, 1};
  Tensor<T, 4> y({1, 3, 5, 2});
  Tensor<T, 4> winner({1, 3, 5, 2});
  kernel::max_pool2d<T>(x, o, y, winner);
  CHECK(relative_error(y, most) < kTolerance<T>);
  kernel::average_pool2d<T>(x, o, y);
  CHECK(relative_error(y, mean) < kTolerance<T>);
}
