// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/op_registry.hpp"
#include <fovea/bound/product.hpp>
#include <fovea/bound/schedule.hpp>
#include <fovea/bound/sum.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <numbers>
#include <string>

using namespace fovea;

static_assert(bound::Schedule<bound::Ramp> && bound::Schedule<bound::WarmUpCosine> && bound::Schedule<bound::Exponential> &&
              bound::Schedule<bound::Cycle<bound::Ramp>> && bound::Schedule<bound::Piecewise<3>>);
static_assert(!bound::Schedule<int> && !bound::Schedule<std::string>);
static_assert(bound::Objective<bound::Sum, Tape<float>> && bound::Objective<bound::Product, Inference<double>> &&
              bound::Objective<bound::LogSum, Tape<double>> && !bound::Objective<bound::Ramp, Tape<float>>);

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

TEST_CASE("schedule: a geometric ramp multiplies by equal factors in equal times") {
  const bound::Ramp ramp{8, 0.5, 0.2, 0.6, bound::Ramp::Shape::geometric};
  CHECK(ramp(0.1) == 8);
  CHECK(ramp(0.3) == doctest::Approx(4));
  CHECK(ramp(0.4) == doctest::Approx(2));
  CHECK(ramp(0.5) == doctest::Approx(1));
  CHECK(ramp(0.9) == 0.5);
}

TEST_CASE("schedule: a cycle starts again and again, and ends at the end") {
  const bound::Cycle published{bound::Ramp{0, 1, 0, 0.5}, 4};  // Fu et al.
  CHECK(published(0) == 0);
  CHECK(published(0.0625) == doctest::Approx(0.5));
  CHECK(published(0.125) == doctest::Approx(1));
  CHECK(published(0.2499) == 1);
  CHECK(published(0.25) == 0);
  CHECK(published(0.8125) == doctest::Approx(0.5));
  CHECK(published(1) == 1);
  CHECK(published(1.5) == 1);
  CHECK(published(-1) == 0);
  const bound::Cycle rates{bound::WarmUpCosine{.peak = 2, .warm_up = 0.5}, 2};
  CHECK(rates(0.625) == doctest::Approx(1));
  CHECK(rates(0.75) == doctest::Approx(2));
}

TEST_CASE("schedule: a temperature falls to its floor") {
  const bound::Exponential temperature{.rate = 3, .floor = 0.5};
  CHECK(temperature(0) == 1);
  CHECK(temperature(0.1) == doctest::Approx(std::exp(-0.3)));
  CHECK(temperature(0.23) == doctest::Approx(std::exp(-0.69)));
  CHECK(temperature(0.24) == 0.5);
  CHECK(temperature(-1) == 1);
  // The published one, max(exp(-3e-6 steps), 0.5), reaches its floor at step log(2) / 3e-6 = 231,049.06.
  const bound::Exponential published{.rate = 3e-6 * 1e6, .floor = 0.5};
  CHECK(published(0.23105) == 0.5);
  CHECK(published(0.231049) > 0.5);
}

TEST_CASE("schedule: straight lines from knot to knot, and steps") {
  const bound::Piecewise steps{std::array<bound::Knot, 4>{{{0.1, 1}, {0.5, 3}, {0.5, 7}, {1, 7}}}};
  CHECK(steps(0) == 1);
  CHECK(steps(0.1) == 1);
  CHECK(steps(0.3) == doctest::Approx(2));
  CHECK(steps(0.4999999) == doctest::Approx(3).epsilon(1e-5));
  CHECK(steps(0.5) == 7);
  CHECK(steps(0.7) == 7);
  CHECK(steps(2) == 7);
  CHECK(bound::Piecewise{std::array<bound::Knot, 1>{{{0.5, 4}}}}(0.1) == 4);
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

namespace {

/// What one sample of these terms loses.
template <class O>
double loss_of(const O& objective, double class_log_likelihood, double proxy_log_likelihood, double kl) {
  Arena arena;
  Inference<double> context(arena);
  const Shape one{1};
  return objective(context, bound::Terms<double>{context.constant(&class_log_likelihood, one),
                                                 context.constant(&proxy_log_likelihood, one), context.constant(&kl, one)})
      .value[0];
}

}  // namespace

TEST_CASE("product: the published loss, the mean over the steps of the negative ELBO times the class loss") {
  constexpr double steps = 4;
  CHECK(loss_of(bound::Product{}, -2, -30, 5) == doctest::Approx(2 * 35));
  CHECK(loss_of(bound::Product{1 / steps, 5 / steps}, -2, -30, 5) == doctest::Approx(2 * (30 / steps + 5 * 5 / steps)));
  CHECK(loss_of(bound::Product{}, -0.0, -30, 5) == 0);
}

TEST_CASE("product and log_sum: a negative factor is refused, not followed uphill") {
  // A density may exceed 1: then the proxy's log-likelihood is positive, and the product would raise the class loss.
  CHECK(fovea_test::message_of([] { (void)loss_of(bound::Product{}, -2, 30, 5); }) ==
        "product: a class loss and a negative ELBO of at least 0 expected, 2.000000 and -25.000000 came");
  CHECK_THROWS_AS((void)loss_of(bound::Product{}, 0.1, -30, 5), Error);
  CHECK_THROWS_AS((void)loss_of(bound::LogSum{}, -2, 30, 5), Error);
  CHECK_THROWS_AS((void)loss_of(bound::Product{}, std::nan(""), -30, 5), Error);
  // But the divergence of a distribution from itself may round to less than 0.
  CHECK(loss_of(bound::Product{}, -2, 0, -1e-12) == doctest::Approx(-2e-12));
}

TEST_CASE("log_sum: the logarithm of the product, whose gradient is the product's divided by it") {
  const bound::LogSum bare{.proxy_weight = 0.5, .kl_weight = 2, .margin = 0};
  CHECK(loss_of(bare, -2, -30, 5) == doctest::Approx(std::log(loss_of(bound::Product{0.5, 2}, -2, -30, 5))));
  Arena arena;
  const auto gradient = [&](const auto& objective) {
    arena.reset();
    Tape<double> tape(arena);
    std::array<Var<double>, 3> terms;
    const std::array<double, 3> values{-2, -30, 5};
    for (std::size_t i = 0; i < 3; ++i) {
      terms[i] = tape.variable({1});
      terms[i].value[0] = values[i];
    }
    tape.backward(objective(tape, bound::Terms<double>{terms[0], terms[1], terms[2]}));
    return std::array<double, 3>{terms[0].gradient[0], terms[1].gradient[0], terms[2].gradient[0]};
  };
  const auto product = gradient(bound::Product{0.5, 2});
  const auto log_sum = gradient(bare);
  for (std::size_t i = 0; i < 3; ++i) CHECK(log_sum[i] == doctest::Approx(product[i] / 50).epsilon(1e-12));
  // What is right already is left alone, where there is a margin.
  CHECK(loss_of(bound::LogSum{}, 0, -30, 5) == doctest::Approx(std::log(1e-3) + std::log(35 + 1e-3)));
}

TEST_CASE("product and log_sum: derivatives") {
  fovea_test::OpRegistry ops;
  const auto add = [&](const char* name, auto objective) {
    ops.add(name, [objective](Stream& s, GradientCheck& check) {
      const Shape shape{fovea_test::extent(s)};
      check.uniform_input(shape, s, -4, -0.1).uniform_input(shape, s, -20, -1).uniform_input(shape, s, 0, 3);
      return [objective](auto& c, auto in) { return objective(c, bound::Terms<double>{in[0], in[1], in[2]}); };
    });
  };
  add("bound::Product", bound::Product{0.3, 2});
  add("bound::LogSum", bound::LogSum{0.3, 2, 0.1});
  ops.check_all();
}
