// SPDX-License-Identifier: MIT
// The schedules made for rates; the others are in bound.cpp.
#include <fovea/bound/schedule.hpp>

#include <doctest/doctest.h>

using namespace fovea;

static_assert(bound::Schedule<bound::StepDecay> && bound::Schedule<bound::OneCycle> &&
              bound::Schedule<bound::WarmUp<bound::StepDecay>> &&
              bound::Schedule<bound::WarmUp<bound::Cycle<bound::OneCycle>>>);

TEST_CASE("schedule: step decay is a stair of equal steps") {
  const bound::StepDecay rate{.from = 0.8, .factor = 0.5, .stairs = 4};
  CHECK(rate(-1) == 0.8);
  CHECK(rate(0) == 0.8);
  CHECK(rate(0.2499) == 0.8);
  CHECK(rate(0.25) == doctest::Approx(0.4));
  CHECK(rate(0.74) == doctest::Approx(0.2));
  CHECK(rate(0.75) == doctest::Approx(0.1));
  CHECK(rate(1) == doctest::Approx(0.1));
  CHECK(rate(2) == doctest::Approx(0.1));
  // A tenth every 30 of 90 epochs, as published.
  const bound::StepDecay published{.from = 0.1};
  for (int epoch = 0; epoch < 90; ++epoch) {
    CHECK(published(epoch / 90.0) == doctest::Approx(epoch < 30 ? 0.1 : epoch < 60 ? 0.01 : 0.001));
  }
}

TEST_CASE("schedule: a warm-up goes in front of any other") {
  const bound::WarmUp rate{bound::StepDecay{.from = 2, .factor = 0.5, .stairs = 2}, 0.2};
  CHECK(rate(-1) == 0);
  CHECK(rate(0) == 0);
  CHECK(rate(0.1) == doctest::Approx(1));
  CHECK(rate(0.2) == doctest::Approx(2));
  CHECK(rate(0.59) == doctest::Approx(2));
  CHECK(rate(0.61) == doctest::Approx(1));
  CHECK(rate(1) == doctest::Approx(1));
  // In front of half a cosine it is WarmUpCosine.
  const bound::WarmUpCosine expected{.peak = 3, .warm_up = 0.05, .floor = 0.1};
  const bound::WarmUp same{bound::Ramp{3, 0.3, 0, 1, bound::Ramp::Shape::cosine}};
  for (const double progress : {0.0, 0.03, 0.05, 0.3, 0.7, 1.0, 1.5}) {
    CHECK(same(progress) == doctest::Approx(expected(progress)));
  }
  CHECK(bound::WarmUp{bound::Ramp::constant(4), 0.0}(0) == 4);
}

TEST_CASE("schedule: one cycle, as OneCycleLR of torch") {
  const bound::OneCycle rate{.peak = 0.1};
  CHECK(rate(0) == doctest::Approx(0.004));
  CHECK(rate(0.15) == doctest::Approx(0.052));
  CHECK(rate(0.3) == doctest::Approx(0.1));
  CHECK(rate(0.65) == doctest::Approx((0.1 + 4e-7) / 2));
  CHECK(rate(1) == doctest::Approx(4e-7));
  CHECK(rate(1.5) == doctest::Approx(4e-7));
  double before = 0;
  for (const double progress : {0.0, 0.1, 0.2, 0.3}) {
    CHECK(rate(progress) > before);
    before = rate(progress);
  }
  CHECK(bound::OneCycle{.peak = 2, .rise = 0}(0) == 2);
}
