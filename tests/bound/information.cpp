// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/op_registry.hpp"
#include <fovea/bound/information.hpp>
#include <fovea/sample/gaussian.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace fovea;
using fovea_test::extent;
using sample::DiagonalGaussian;

TEST_CASE("information: derivatives") {
  fovea_test::OpRegistry ops;
  ops.add("EntropyBonus", [](Stream& s, GradientCheck& check) {
    const Index batch = extent(s);
    const Shape shape{batch, extent(s)};
    check.input({batch}, s).input(shape, s).input(shape, s, 0.5);
    return [](auto& c, auto in) { return bound::EntropyBonus{0.3}(c, in[0], DiagonalGaussian<double>{in[1], in[2]}); };
  });
  ops.add("mutual_information", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s, 2), extent(s)};  // of one sample it is 0
    check.input(shape, s).input(shape, s, 0.5).input(shape, s);
    return [](auto& c, auto in) { return bound::mutual_information(c, DiagonalGaussian<double>{in[0], in[1]}, in[2]); };
  });
  ops.add("mutual_information of draws", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s, 2), extent(s)};
    check.input(shape, s).input(shape, s, 0.5);
    return [](auto& c, auto in) {
      const DiagonalGaussian<double> q{in[0], in[1]};
      return bound::mutual_information(c, q, sample::draw(c, q, {.seed = 5}));
    };
  });
  ops.check_all();
}

TEST_CASE("entropy bonus: less loss for more entropy") {
  Arena arena;
  Inference<double> context(arena);
  const auto loss = context.constant(Shape{2});
  const auto mean = context.constant(Shape{2, 3});
  const auto log_deviation = context.constant(Shape{2, 3});
  std::fill_n(mean.value, 6, 4.0);
  std::fill_n(log_deviation.value, 6, -1.0);
  loss.value[0] = 1;
  loss.value[1] = 2;
  const auto y = bound::EntropyBonus{0.1}(context, loss, DiagonalGaussian<double>{mean, log_deviation});
  const double entropy = 3 * (std::log(2 * std::acos(-1.0) * std::exp(1.0)) / 2 - 1);
  CHECK(y.value[0] == doctest::Approx(1 - 0.1 * entropy));
  CHECK(y.value[1] == doctest::Approx(2 - 0.1 * entropy));
}

namespace {

/// The mean of the estimate over `batches` minibatches of images x ~ N(0, spread^2) with q(z | x) = N(x, deviation^2), of which
/// I(z; x) = log(1 + spread^2 / deviation^2) / 2; and its standard error.
struct Estimate {
  double mean = 0;
  double error = 0;
  double largest = -HUGE_VAL;
};
Estimate estimate(Index batch, Index batches, double spread, double deviation) {
  Arena arena;
  double sum = 0, squares = 0;
  Estimate result;
  for (Index i = 0; i < batches; ++i) {
    arena.reset();
    Inference<double> context(arena);
    const sample::NoiseKey key{.seed = 9, .step = static_cast<std::uint64_t>(i)};
    const auto mean = sample::normal_noise(context, key, batch, 1);
    for (Index b = 0; b < batch; ++b) mean.value[b] *= spread;
    const auto log_deviation = context.constant(Shape{batch, 1});
    std::fill_n(log_deviation.value, batch, std::log(deviation));
    const DiagonalGaussian<double> q{mean, log_deviation};
    const auto y = bound::mutual_information(context, q, sample::draw(context, q, key.fork(1)));
    double one = 0;
    for (Index b = 0; b < batch; ++b) {
      one += y.value[b] / static_cast<double>(batch);
      result.largest = std::max(result.largest, y.value[b]);
    }
    sum += one;
    squares += one * one;
  }
  const auto n = static_cast<double>(batches);
  result.mean = sum / n;
  result.error = std::sqrt((squares / n - result.mean * result.mean) / n);
  return result;
}

}  // namespace

TEST_CASE("mutual information: of Gaussians, where it is known") {
  // log(1 + 1 / 0.25) / 2 = 0.80 nats, of which a large minibatch sees all but the last hundredth.
  const double truth = std::log(5.0) / 2;
  const Estimate large = estimate(400, 60, 1, 0.5);
  INFO("estimate ", large.mean, " +- ", large.error);
  CHECK(large.mean == doctest::Approx(truth).epsilon(0.02));
  CHECK(large.mean < truth + 4 * large.error);
  // The fewer images the less is seen, and never more than log B.
  double last = large.mean;
  for (const Index batch : {16, 4, 2}) {
    const Estimate few = estimate(batch, 6000 / batch, 1, 0.5);
    INFO("B = ", batch, ": ", few.mean, " +- ", few.error);
    CHECK(few.mean < last);
    CHECK(few.mean < truth);
    CHECK(few.largest <= std::log(static_cast<double>(batch)) + 1e-12);
    last = few.mean;
  }
  CHECK(estimate(1, 3, 1, 0.5).mean == doctest::Approx(0.0));
  // Latents that know which image it was: log B, though I(z; x) is 6.9 nats.
  const Estimate sharp = estimate(8, 50, 1, 1e-3);
  CHECK(sharp.mean == doctest::Approx(std::log(8.0)).epsilon(0.02));
  CHECK(sharp.largest <= std::log(8.0) + 1e-12);
  // Latents that know nothing.
  CHECK(std::abs(estimate(64, 20, 1e-6, 1).mean) < 1e-5);
}

TEST_CASE("mutual information: draws that do not fit are refused") {
  Arena arena;
  Inference<float> context(arena);
  const auto a = context.constant(Shape{2, 3});
  CHECK(fovea_test::message_of([&] {
          (void)bound::mutual_information(context, DiagonalGaussian<float>{a, a}, context.constant(Shape{3, 3}));
        }) == "mutual_information: draws of 2 samples expected, a shape [3x3] came");
}
