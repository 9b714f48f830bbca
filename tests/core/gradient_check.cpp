// SPDX-License-Identifier: MIT
// The checker itself: it must find what is wrong, and not find what is right.
#include <fovea/core/gradient_check.hpp>
#include <fovea/nn/elementwise.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <utility>

using namespace fovea;

namespace {

/// y = x^3, with whatever derivative `slope` says.
template <Context C, class Slope>
VarOf<C> cube(C& context, VarOf<C> x, Slope slope) {
  const auto y = nn::output(context, x.shape, x);
  for (Index i = 0; i < x.size(); ++i) y.value[i] = x.value[i] * x.value[i] * x.value[i];
  if (y.gradient) context.record([=] { slope(x, y); });
  return y;
}

}  // namespace

TEST_CASE("a right derivative passes, far below the tolerance") {
  Stream s(1);
  GradientCheck check;
  check.input({3, 4}, s);
  const auto report = check.run([](auto& context, auto in) {
    return cube(context, in[0], [](auto x, auto y) {
      for (Index i = 0; i < x.size(); ++i) x.gradient[i] += 3 * x.value[i] * x.value[i] * y.gradient[i];
    });
  });
  CHECK(report.worst < 1e-9);
  CHECK(report.checked == 12);
  CHECK(report.forward_gap == 0);
  CHECK(report.partial_gap == 0);
}

TEST_CASE("an error of 1e-5 in one element is found, with its place") {
  Stream s(1);
  GradientCheck check;
  check.input({2}, s).input({12}, s);
  const auto report = check.run([](auto& context, auto in) {
    return cube(context, in[1], [](auto x, auto y) {
      for (Index i = 0; i < x.size(); ++i) {
        x.gradient[i] += 3 * x.value[i] * x.value[i] * y.gradient[i] * (i == 7 ? 1 + 1e-5 : 1);
      }
    });
  });
  CHECK(report.worst == doctest::Approx(1e-5).epsilon(0.01));
  CHECK(report.where == "input 1[7]");
}

TEST_CASE("a backward call that overwrites is found") {
  Stream s(1);
  GradientCheck check;
  check.input({4}, s);
  const auto report = check.run([](auto& context, auto in) {
    return cube(context, in[0], [](auto x, auto y) {
      for (Index i = 0; i < x.size(); ++i) x.gradient[i] = 3 * x.value[i] * x.value[i] * y.gradient[i];
    });
  });
  CHECK(report.worst > 0.01);
}

TEST_CASE("a NaN is an infinite error") {
  Stream s(1);
  GradientCheck check;
  check.input({4}, s);
  const auto report =
      check.run([](auto& context, auto in) { return cube(context, in[0], [](auto x, auto) { x.gradient[0] += NAN; }); });
  CHECK(std::isinf(report.worst));
}

TEST_CASE("a gradient that depends on whether another is wanted is found") {
  Stream s(1);
  GradientCheck check;
  check.input({3}, s).input({3}, s);
  const auto report = check.run([](auto& context, auto in) {
    const auto x = in[0];
    const auto y = in[1];
    const auto z = nn::output(context, x.shape, x, y);
    for (Index i = 0; i < x.size(); ++i) z.value[i] = x.value[i] + y.value[i];
    if (z.gradient) {
      context.record([=] {
        if (!x.gradient || !y.gradient) return;  // the defect
        for (Index i = 0; i < x.size(); ++i) x.gradient[i] += z.gradient[i];
        for (Index i = 0; i < x.size(); ++i) y.gradient[i] += z.gradient[i];
      });
    }
    return z;
  });
  CHECK(report.worst < 1e-9);
  CHECK(report.partial_gap > 0.1);
}

TEST_CASE("a kink within reach of the step is stepped over") {
  GradientCheck check;
  check.input({3}, {1e-5, -1e-5, 1.0});
  const auto report = check.run([](auto& context, auto in) { return nn::relu(context, in[0]); });
  CHECK(report.worst < 1e-6);
}

TEST_CASE("parameters are checked too, under their names") {
  ParameterLayout layout;
  const Parameter w = layout.add("w", {5}, Initialiser::normal(1));
  layout.add("unused", {3}, Initialiser::normal(1));
  Stream s(1);
  GradientCheck check{Parameters<double>(layout, 4)};
  check.input({5}, s);
  const auto good =
      check.run([&](auto& context, auto in) { return nn::multiply(context, in[0], nn::exp(context, context.parameter(w))); });
  CHECK(good.worst < 1e-9);
  CHECK(good.checked == 13);
  const auto bad = check.run(
      [&](auto& context, auto in) { return nn::add(context, in[0], cube(context, context.parameter(w), [](auto, auto) {})); });
  CHECK(bad.worst == doctest::Approx(1.0));
  CHECK(bad.where.substr(0, 12) == "parameter w[");
}

TEST_CASE("inputs of the wrong size are refused") {
  GradientCheck check;
  CHECK_THROWS_AS(check.input({3}, {1.0, 2.0}), Error);
}
