// SPDX-License-Identifier: MIT
#include "support/op_registry.hpp"
#include <fovea/bound/schedule.hpp>
#include <fovea/bound/sum.hpp>

#include <doctest/doctest.h>

using namespace fovea;

TEST_CASE("schedule: a ramp goes from one value to the other and stays") {
  const bound::Ramp ramp{2, 4, 0.25, 0.75};
  CHECK(ramp(0) == 2);
  CHECK(ramp(0.25) == 2);
  CHECK(ramp(0.5) == doctest::Approx(3));
  CHECK(ramp(0.75) == 4);
  CHECK(ramp(1) == 4);
  const bound::Ramp cosine{1, 0, 0, 1, bound::Ramp::Shape::cosine};
  CHECK(cosine(0.5) == doctest::Approx(0.5));
  CHECK(cosine(0.25) == doctest::Approx((1 + std::cos(std::numbers::pi / 4)) / 2));
  CHECK(bound::Ramp::constant(7)(0.3) == 7);
  // A step, where the ramp has no length.
  const bound::Ramp step{1, 2, 0.5, 0.5};
  CHECK(step(0.49) == 1);
  CHECK(step(0.5) == 2);
}

TEST_CASE("schedule: warm-up and cosine") {
  const bound::WarmUpCosine rate{.peak = 2, .warm_up = 0.1, .floor = 0.1};
  CHECK(rate(0) == 0);
  CHECK(rate(0.05) == doctest::Approx(1));
  CHECK(rate(0.1) == doctest::Approx(2));
  CHECK(rate(0.55) == doctest::Approx(1.1));
  CHECK(rate(1) == doctest::Approx(0.2));
  CHECK(rate(2) == doctest::Approx(0.2));
  CHECK(bound::WarmUpCosine{.peak = 1, .warm_up = 0}(0) == doctest::Approx(1));
}

TEST_CASE("sum: minus the bound, with weights") {
  Arena arena;
  Inference<double> context(arena);
  const auto var = [&](double a, double b) {
    const auto v = context.constant(Shape{2});
    v.value[0] = a;
    v.value[1] = b;
    return v;
  };
  const bound::Terms<double> terms{var(-1, -2), var(-10, -20), var(0.5, 0.25)};
  const auto plain = bound::Sum{}(context, terms);
  CHECK(plain.value[0] == doctest::Approx(1 + 10 + 0.5));
  CHECK(plain.value[1] == doctest::Approx(2 + 20 + 0.25));
  const auto weighted = bound::Sum{.class_weight = 2, .proxy_weight = 0.1, .kl_weight = 4}(context, terms);
  CHECK(weighted.value[0] == doctest::Approx(2 + 1 + 2));
}

TEST_CASE("sum: derivatives") {
  fovea_test::OpRegistry ops;
  ops.add("bound::Sum", [](Stream& s, GradientCheck& check) {
    const Shape shape{fovea_test::extent(s)};
    check.input(shape, s).input(shape, s).input(shape, s);
    return [](auto& c, auto in) { return bound::Sum{1, 0.3, 2}(c, bound::Terms<double>{in[0], in[1], in[2]}); };
  });
  ops.check_all();
}
