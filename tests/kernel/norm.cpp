// SPDX-License-Identifier: MIT
#include "support/compare.hpp"
#include "support/naive_nn.hpp"
#include <fovea/kernel/norm.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

using namespace fovea;
using namespace fovea_test;
using Doubles = std::vector<double>;

namespace {

struct Case {
  Index n, p, c, groups;
};
// Groups narrower, as wide and wider than a vector, and widths that no vector divides.
const Case kCases[] = {{1, 1, 1, 1},   {2, 9, 3, 1},    {2, 9, 3, 3},  {2, 7, 6, 2},    {1, 70, 8, 4}, {3, 5, 16, 1},
                       {2, 25, 16, 8}, {1, 130, 16, 4}, {2, 6, 24, 2}, {1, 10, 20, 4},  {2, 3, 36, 3}, {1, 4, 40, 1},
                       {2, 5, 64, 8},  {1, 2, 34, 17},  {1, 3, 68, 2}, {1, 300, 32, 8}, {4, 1, 32, 4}, {2, 16, 1, 1},
                       {2, 24, 2, 2},  {1, 32, 4, 2},   {2, 18, 8, 4}, {2, 17, 8, 8},   {1, 64, 13, 1}};

template <class T>
void against_twin(const Case& k, double mean, double tolerance) {
  INFO("n ", k.n, ", positions ", k.p, ", channels ", k.c, ", groups ", k.groups);
  Stream s(11);
  const auto x = random_tensor<T, 3>({k.n, k.p, k.c}, s, 1.5, mean);
  const auto gamma = random_tensor<T, 1>({k.c}, s, 0.5, 1);
  const auto beta = random_tensor<T, 1>({k.c}, s);
  const auto dy = random_tensor<T, 3>({k.n, k.p, k.c}, s);
  Tensor<T, 3> y({k.n, k.p, k.c});
  Tensor<T, 2> m({k.n, k.groups});
  Tensor<T, 2> r({k.n, k.groups});
  const double epsilon = 1e-3;
  kernel::group_norm<T>(x, gamma, beta, epsilon, y, m, r);
  const auto size = [](Index i) { return static_cast<std::size_t>(i); };
  naive::GroupNorm twin(as_doubles(x), as_doubles(gamma), as_doubles(beta), as_doubles(dy), size(k.n), size(k.p), size(k.c),
                        size(k.groups), epsilon);
  CHECK(relative_error(y, twin.y) < tolerance);

  auto dx = random_tensor<T, 3>({k.n, k.p, k.c}, s);
  auto dg = random_tensor<T, 1>({k.c}, s);
  auto db = random_tensor<T, 1>({k.c}, s);
  const auto add = [](Doubles& to, const auto& from) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += static_cast<double>(from.data()[i]);
  };
  add(twin.d_x, dx);
  add(twin.d_gamma, dg);
  add(twin.d_beta, db);
  kernel::group_norm_backward<T>(dy, x, y, gamma, beta, m, r, dx, dg, db);
  CHECK(relative_error(dx, twin.d_x) < 4 * tolerance);
  CHECK(relative_error(dg, twin.d_gamma) < 4 * tolerance);
  CHECK(relative_error(db, twin.d_beta) < 4 * tolerance);

  // Overwritten, whatever was there, with what is added to 0.
  Tensor<T, 3> from_zero({k.n, k.p, k.c});
  Tensor<T, 3> poisoned({k.n, k.p, k.c});
  for (T& v : poisoned) v = std::numeric_limits<T>::quiet_NaN();
  kernel::group_norm_backward<T>(dy, x, y, gamma, beta, m, r, from_zero, {}, {});
  kernel::group_norm_backward<T>(dy, x, y, gamma, beta, m, r, poisoned, {}, {}, kernel::Identity{}, false);
  CHECK(relative_error(poisoned, from_zero) == 0);

  // In place, and without the gradients that are not wanted.
  auto in_place = x;
  kernel::group_norm<T>(in_place, gamma, beta, epsilon, in_place, m, r);
  CHECK(relative_error(in_place, y) == 0);
  CHECK_NOTHROW(kernel::group_norm_backward<T>(dy, x, y, gamma, beta, m, r, {}, {}, {}));
}

/// The fused non-linearity beside the separate kernels, element by element.
template <class T, class F>
void against_two_passes(const Case& k, F f, double tolerance, void (*forward)(View<const T, 1>, View<T, 1>),
                        void (*backward)(View<const T, 1>, View<const T, 1>, View<T, 1>)) {
  INFO("n ", k.n, ", positions ", k.p, ", channels ", k.c, ", groups ", k.groups);
  Stream s(12);
  const Extents<3> e{k.n, k.p, k.c};
  const auto x = random_tensor<T, 3>(e, s, 1.5, 0.3);
  const auto gamma = random_tensor<T, 1>({k.c}, s, 0.5, 1);
  const auto beta = random_tensor<T, 1>({k.c}, s);
  const auto dy = random_tensor<T, 3>(e, s);
  Tensor<T, 3> plain(e);
  Tensor<T, 3> y(e);
  Tensor<T, 2> m({k.n, k.groups});
  Tensor<T, 2> r({k.n, k.groups});
  const auto flat = [](auto& t) { return View(t.data(), Extents<1>{t.size()}); };
  kernel::group_norm<T>(x, gamma, beta, 1e-3, plain, m, r);
  kernel::group_norm<T>(x, gamma, beta, 1e-3, y, m, r, f);
  Tensor<T, 3> expected(e);
  forward(flat(std::as_const(plain)), flat(expected));
  CHECK(relative_error(y, expected) == 0);

  Tensor<T, 3> between(e);
  backward(flat(dy), flat(std::as_const(y)), flat(between));
  Tensor<T, 3> dx(e);
  Tensor<T, 3> expected_dx(e);
  Tensor<T, 1> dg({k.c});
  Tensor<T, 1> db({k.c});
  Tensor<T, 1> expected_dg({k.c});
  Tensor<T, 1> expected_db({k.c});
  kernel::group_norm_backward<T>(between, x, plain, gamma, beta, m, r, expected_dx, expected_dg, expected_db);
  kernel::group_norm_backward<T>(dy, x, y, gamma, beta, m, r, dx, dg, db, f);
  CHECK(relative_error(dx, expected_dx) < tolerance);
  Tensor<T, 3> poisoned(e);
  for (T& v : poisoned) v = std::numeric_limits<T>::quiet_NaN();
  kernel::group_norm_backward<T>(dy, x, y, gamma, beta, m, r, poisoned, {}, {}, f, false);
  CHECK(relative_error(poisoned, dx) == 0);  // dx began as 0
  CHECK(relative_error(dg, expected_dg) < tolerance);
  CHECK(relative_error(db, expected_db) < tolerance);
}

}  // namespace

TEST_CASE_TEMPLATE("group norm with its non-linearity is both one after the other", T, float, double) {
  for (const Case& k : kCases) {
    against_two_passes<T>(k, kernel::Relu{}, kTolerance<T>, kernel::relu<T>, kernel::relu_backward<T>);
    against_two_passes<T>(k, kernel::Elu{}, kTolerance<T>, kernel::elu<T>, kernel::elu_backward<T>);
  }
}

TEST_CASE_TEMPLATE("group norm against its twin", T, float, double) {
  for (const Case& k : kCases) against_twin<T>(k, 0.3, kTolerance<T>);
}

TEST_CASE_TEMPLATE("group norm with a mean far from 0", T, float, double) {
  // The inputs carry eps * 1000 of rounding in the mean itself.
  for (const Case& k : {Case{2, 100, 16, 4}, Case{1, 900, 3, 1}}) against_twin<T>(k, 1000, 100 * kTolerance<T>);
}

TEST_CASE_TEMPLATE("a constant group gives beta", T, float, double) {
  Tensor<T, 3> x({1, 6, 4});
  for (T& v : x) v = T(7);
  Tensor<T, 1> gamma({4});
  for (T& v : gamma) v = T(3);
  const auto beta = pattern<T, 1>({4}, 0.5, 1.0);
  Tensor<T, 3> y({1, 6, 4});
  Tensor<T, 2> m({1, 2});
  Tensor<T, 2> r({1, 2});
  kernel::group_norm<T>(x, gamma, beta, 1e-5, y, m, r);
  for (Index p = 0; p < 6; ++p) {
    for (Index c = 0; c < 4; ++c) CHECK(y(0, p, c) == beta(c));
  }
}

TEST_CASE_TEMPLATE("group norm agrees with PyTorch 1.13", T, float, double) {
  // torch.nn.functional.group_norm(x, 2, gamma, beta, 1e-5) with x = pattern(24, 0.3, 2) as NHWC [2, 1, 3, 4], gamma =
  // pattern(4, 1, 0.5), beta = pattern(4, 0.1, 0.4), and its gradients for d_y = pattern(24, -0.2, 1), all permuted to
  // NHWC.
  const Doubles y{-1.0612373688772796, -0.79583702306343662, -0.36847127961613008, 0.32208823498555528,  0.10491349408365937,
                  0.8076204135078543,  -1.2187896171918147,  -0.71044117492777614, -0.38098269881673191, 0.13951314826981648,
                  0.82197439298982855, 1.767629408864219,    -0.7902888292667678,  -0.41965885609672232, 0.12374324123277916,
                  0.97642807537606124, 0.38640436097347491,  -1.093805996338528,   -0.80433106801306498, -0.15051930013674961,
                  -0.1038844682932929, 0.52414714024180575,  1.4230472741769609,   -1.2774666756495603};
  const Doubles dx{0.066648706768667951,  -0.078205198090667977,  0.017527749691856553,  -0.018515080709454346,
                   -0.031729681697288459, 0.042069700248551709,   0.059378026460276789,  -0.067770340109857496,
                   0.0092613134968600463, -0.0080448407261232147, -0.041062637783931599, 0.050442282451110265,
                   0.088250160124795918,  -0.027579478303544597,  0.029393930773118471,  0.028421664853283735,
                   -0.036769101394496434, -0.067417274824691759,  0.077418089435135257,  -0.022990709618182781,
                   0.015322257571875358,  0.028193436826061402,   -0.037839891353704858, -0.074403084089649296};
  const Doubles dg{3.7797327789082176, 3.9033456879898454, 3.9139787705860667, 3.4803680061106137};
  const Doubles db{-1.6999999999999997, -1.5749999999999997, -1.4499999999999997, -1.325};
  const auto x = pattern<T, 3>({2, 3, 4}, 0.3, 2.0);
  const auto gamma = pattern<T, 1>({4}, 1.0, 0.5);
  const auto beta = pattern<T, 1>({4}, 0.1, 0.4);
  const auto d_y = pattern<T, 3>({2, 3, 4}, -0.2, 1.0);
  Tensor<T, 3> out({2, 3, 4});
  Tensor<T, 2> m({2, 2});
  Tensor<T, 2> r({2, 2});
  kernel::group_norm<T>(x, gamma, beta, 1e-5, out, m, r);
  Tensor<T, 3> d_x({2, 3, 4});
  Tensor<T, 1> d_gamma({4});
  Tensor<T, 1> d_beta({4});
  kernel::group_norm_backward<T>(d_y, x, out, gamma, beta, m, r, d_x, d_gamma, d_beta);
  CHECK(relative_error(out, y) < kTolerance<T>);
  CHECK(relative_error(d_x, dx) < 10 * kTolerance<T>);
  CHECK(relative_error(d_gamma, dg) < kTolerance<T>);
  CHECK(relative_error(d_beta, db) < kTolerance<T>);
}
