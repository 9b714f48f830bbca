// SPDX-License-Identifier: MIT
#include "support/compare.hpp"
#include "support/naive_nn.hpp"
#include <fovea/kernel/loss.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

using namespace fovea;
using namespace fovea_test;
using Doubles = std::vector<double>;
using Labels = std::vector<std::int32_t>;

TEST_CASE_TEMPLATE("softmax against its twin", T, float, double) {
  Stream s(31);
  for (const Index n : {Index{1}, Index{2}, Index{10}, Index{16}, Index{35}, Index{625}, Index{5000}}) {
    constexpr Index b = 2;
    const auto x = random_tensor<T, 2>({b, n}, s, 3);
    const auto dy = random_tensor<T, 2>({b, n}, s);
    Tensor<T, 2> y({b, n});
    kernel::softmax<T>(x, y);
    auto dx = random_tensor<T, 2>({b, n}, s, 0.01);
    Doubles e_y(static_cast<std::size_t>(b * n));
    Doubles e_dx = as_doubles(dx);
    kernel::softmax_backward<T>(dy, y, dx);
    for (Index i = 0; i < b; ++i) {
      double total = 0;
      for (Index k = 0; k < n; ++k) total += std::exp(static_cast<double>(x(i, k)));
      double mean = 0;
      for (Index k = 0; k < n; ++k) {
        const double p = std::exp(static_cast<double>(x(i, k))) / total;
        e_y[static_cast<std::size_t>(i * n + k)] = p;
        mean += p * static_cast<double>(dy(i, k));
      }
      for (Index k = 0; k < n; ++k) {
        const auto at = static_cast<std::size_t>(i * n + k);
        e_dx[at] += e_y[at] * (static_cast<double>(dy(i, k)) - mean);
      }
    }
    CHECK(relative_error(y, e_y) < kTolerance<T>);
    CHECK(relative_error(dx, e_dx) < kTolerance<T>);
  }
}

TEST_CASE_TEMPLATE("softmax of huge and of equal logits", T, float, double) {
  const T x[4] = {T(1e30), T(1e30), T(-1e30), T(0)};
  T y[4];
  kernel::softmax<T>({x, {1, 4}}, View<T, 2>(y, {1, 4}));
  CHECK(y[0] == T(0.5));
  CHECK(y[1] == T(0.5));
  CHECK(y[2] == T(0));
  CHECK(y[3] == T(0));
}

TEST_CASE_TEMPLATE("cross-entropy keeps its digits in both tails", T, float, double) {
  const auto loss = [](std::vector<T> logits, std::int32_t label, std::vector<T>* gradient = nullptr) {
    const auto n = static_cast<Index>(logits.size());
    std::vector<T> p(logits.size());
    T result = 0;
    kernel::cross_entropy<T>({logits.data(), {1, n}}, {&label, {1}}, {&result, {1}}, {p.data(), {1, n}});
    if (gradient) {
      gradient->assign(logits.size(), T(0));
      const T one = 1;
      kernel::cross_entropy_backward<T>({&one, {1}}, {p.data(), {1, n}}, {&label, {1}}, {gradient->data(), {1, n}});
    }
    return static_cast<double>(result);
  };
  CHECK(loss({T(0), T(0)}, 0) == doctest::Approx(std::log(2.0)).epsilon(1e-6));
  // -log sigmoid(40): rounds to 0 where it is computed as a difference of logarithms.
  CHECK(loss({T(40), T(0)}, 0) == doctest::Approx(std::exp(-40.0)).epsilon(1e-5));
  CHECK(loss({T(40), T(0)}, 1) == doctest::Approx(40.0).epsilon(1e-6));
  CHECK(loss({T(1e30), T(0)}, 1) == doctest::Approx(1e30).epsilon(1e-6));
  CHECK(loss({T(1e30), T(1e30)}, 1) == doctest::Approx(std::log(2.0)).epsilon(1e-6));
  CHECK(loss({T(3)}, 0) == 0.0);
  std::vector<T> gradient;
  (void)loss({T(30), T(0), T(1)}, 0, &gradient);
  CHECK(static_cast<double>(gradient[0]) == doctest::Approx(-std::exp(-30.0) - std::exp(-29.0)).epsilon(1e-5));
  CHECK(std::isnan(loss({T(NAN), T(0)}, 1)));
}

TEST_CASE_TEMPLATE("cross-entropy agrees with PyTorch 1.13", T, float, double) {
  // torch.nn.functional.cross_entropy(pattern(15, 0, 4) as [3, 5], [1, 4, 0], reduction="none"); gradient for (1, -0.5,
  // 2).
  const Doubles losses{4.7519292215477256, 2.6002066189446391, 1.7202950601655653};
  const Doubles gradient{0.001926733452676642,   -0.99136497974368432,  0.038699475904877552,    0.17343901819070096,
                         0.77729975219542935,    -0.45232524039831384,  -0.00041246722928433362, -0.0018485498733562227,
                         -0.0082846257633953976, 0.46287088326434972,   -1.641973359163458,      1.6045640831269825,
                         0.0014631730499800131,  0.0065574866661086365, 0.029388616320386668};
  const auto x = pattern<T, 2>({3, 5}, 0.0, 4.0);
  const Labels labels{1, 4, 0};
  const View<const std::int32_t, 1> label_view(labels.data(), {3});
  Tensor<T, 1> y({3});
  Tensor<T, 2> p({3, 5});
  kernel::cross_entropy<T>(x, label_view, y, p);
  CHECK(relative_error(y, losses) < kTolerance<T>);
  const T d[3] = {T(1), T(-0.5), T(2)};
  Tensor<T, 2> dx({3, 5});
  kernel::cross_entropy_backward<T>({d, {3}}, p, label_view, dx);
  CHECK(relative_error(dx, gradient) < kTolerance<T>);
  kernel::cross_entropy_backward<T>({d, {3}}, p, label_view, dx);  // adds
  Doubles twice = gradient;
  for (double& v : twice) v *= 2;
  CHECK(relative_error(dx, twice) < kTolerance<T>);
}

TEST_CASE_TEMPLATE("Bernoulli log-likelihood against its twin", T, float, double) {
  Stream s(33);
  for (const Index n : {Index{1}, Index{7}, Index{16}, Index{33}, Index{400}, Index{2600}}) {
    constexpr Index b = 2;
    const auto l = random_tensor<T, 2>({b, n}, s, 6);
    Tensor<T, 2> x({b, n});
    for (T& v : x) v = static_cast<T>(s.uniform(0.0, 1.0));
    const auto d = random_tensor<T, 1>({b}, s);
    Tensor<T, 1> y({b});
    kernel::bernoulli_log_likelihood<T>(l, x, y);
    auto dl = random_tensor<T, 2>({b, n}, s);
    auto dx = random_tensor<T, 2>({b, n}, s);
    Doubles e_y(static_cast<std::size_t>(b));
    Doubles e_dl = as_doubles(dl);
    Doubles e_dx = as_doubles(dx);
    kernel::bernoulli_log_likelihood_backward<T>(d, l, x, dl, dx);
    for (Index i = 0; i < b * n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto logit = static_cast<double>(l.data()[i]);
      const auto target = static_cast<double>(x.data()[i]);
      const auto row = static_cast<std::size_t>(i / n);
      e_y[row] += target * logit - static_cast<double>(naive::softplus(logit));
      e_dl[at] += static_cast<double>(d(i / n)) * (target - static_cast<double>(naive::sigmoid(logit)));
      e_dx[at] += static_cast<double>(d(i / n)) * logit;
    }
    CHECK(relative_error(y, e_y) < kTolerance<T>);
    CHECK(relative_error(dl, e_dl) < kTolerance<T>);
    CHECK(relative_error(dx, e_dx) < kTolerance<T>);
    CHECK_NOTHROW(kernel::bernoulli_log_likelihood_backward<T>(d, l, x, {}, {}));
  }
}

TEST_CASE_TEMPLATE("Bernoulli log-likelihood keeps its digits in both tails", T, float, double) {
  const auto value = [](double logit, double target) {
    const T l = static_cast<T>(logit);
    const T x = static_cast<T>(target);
    T y = 0;
    kernel::bernoulli_log_likelihood<T>({&l, {1, 1}}, {&x, {1, 1}}, View<T, 1>(&y, {1}));
    return static_cast<double>(y);
  };
  CHECK(value(-20, 0) == doctest::Approx(-std::exp(-20.0)).epsilon(1e-6));
  CHECK(value(20, 1) == doctest::Approx(-std::exp(-20.0)).epsilon(1e-6));
  CHECK(value(-80, 0) == doctest::Approx(-std::exp(-80.0)).epsilon(1e-5));
  CHECK(value(1000, 0) == -1000.0);
  CHECK(value(-1000, 1) == -1000.0);
  CHECK(value(1e30, 1) == 0.0);
  CHECK(value(0, 0.3) == doctest::Approx(-std::log(2.0)).epsilon(1e-6));
}

TEST_CASE_TEMPLATE("Bernoulli log-likelihood agrees with PyTorch 1.13", T, float, double) {
  // Minus torch.nn.functional.binary_cross_entropy_with_logits(pattern(10, 0.5, 6), pattern(10, 0.5, 0.5),
  // reduction="none") as [2, 5], summed over rows; gradient for (1, -0.5).
  const Doubles value{-3.04331100209457, -2.9341743754479515};
  const Doubles gradient{-0.0040701377158961277, 0.15017311265587055,  0.1060585786300049,    -0.21479986117469108,
                         -0.22068776924864364,   0.029663658578757413, -0.026961257293144008, -0.08707090998937822,
                         0.00016174955710096528, 0.12789853898894116};
  const auto l = pattern<T, 2>({2, 5}, 0.5, 6.0);
  const auto x = pattern<T, 2>({2, 5}, 0.5, 0.5);
  Tensor<T, 1> y({2});
  kernel::bernoulli_log_likelihood<T>(l, x, y);
  CHECK(relative_error(y, value) < kTolerance<T>);
  const T d[2] = {T(1), T(-0.5)};
  Tensor<T, 2> dl({2, 5});
  kernel::bernoulli_log_likelihood_backward<T>({d, {2}}, l, x, dl, {});
  CHECK(relative_error(dl, gradient) < kTolerance<T>);
}
