// SPDX-License-Identifier: MIT
#include "support/distribution.hpp"
#include "support/op_registry.hpp"
#include <fovea/sample/beta.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/kumaraswamy.hpp>
#include <fovea/sample/pathwise.hpp>
#include <fovea/sample/product.hpp>
#include <fovea/sample/truncated_gaussian.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace fovea;
using fovea_test::extent;
using fovea_test::OpRegistry;
using sample::Beta;
using sample::Kumaraswamy;
using sample::TruncatedGaussian;

namespace {

/// A scale and a centre of eight inputs.
auto region_of(auto in, std::size_t first = 0) {
  return sample::region(Beta<double>{in[first], in[first + 1]}, TruncatedGaussian<double>{in[first + 2], in[first + 3]});
}
void add_region(GradientCheck& check, Stream& s, Index batch) {
  check.uniform_input({batch, 1}, s, 0.5, 6).uniform_input({batch, 1}, s, 0.5, 6);
  check.input({batch, 2}, s, 0.5).input({batch, 2}, s, 0.4, -1);
}

}  // namespace

static_assert(sample::PathwiseDistribution<sample::Product<Beta<float>, TruncatedGaussian<float>>, Tape<float>>);
static_assert(sample::HasEntropy<sample::Product<Beta<float>, Kumaraswamy<float>>, Tape<float>>);
static_assert(!sample::HasDivergence<sample::Product<Beta<float>, Kumaraswamy<float>>,
                                     sample::Product<Beta<float>, Kumaraswamy<float>>, Tape<float>>);

TEST_CASE("product: derivatives of log-density, entropy, KL, mean and mode of a region") {
  OpRegistry ops;
  const auto add = [&](const char* name, auto f) {
    ops.add(name, [=](Stream& s, GradientCheck& check) {
      const Index batch = extent(s);
      add_region(check, s, batch);
      add_region(check, s, batch);
      check.uniform_input({batch, 3}, s, 0.1, 0.9);
      check.step = 1e-4;
      return f;
    });
  };
  add("log_density", [](auto& c, auto in) { return sample::log_density(c, region_of(in), in[8]); });
  add("entropy", [](auto& c, auto in) { return sample::entropy(c, region_of(in)); });
  add("kl_divergence", [](auto& c, auto in) { return sample::kl_divergence(c, region_of(in), region_of(in, 4)); });
  add("kl_divergence by Monte Carlo, where a part has none", [](auto& c, auto in) {
    const auto q = sample::product(TruncatedGaussian<double>{in[2], in[3]}, Kumaraswamy<double>{in[0], in[1]});
    const auto p = sample::product(TruncatedGaussian<double>{in[6], in[7]}, Kumaraswamy<double>{in[4], in[5]});
    return sample::kl_divergence(c, q, p, sample::MonteCarlo{{.seed = 3}, 2});
  });
  add("mean", [](auto& c, auto in) { return sample::mean(c, region_of(in)); });
  ops.check_all();
}

TEST_CASE("product: parts draw and count as they do alone") {
  Arena arena;
  Tape<double> tape(arena);
  Stream stream(3);
  const auto make = [&](Index columns, double low, double high) {
    const auto x = tape.variable(Shape{5, columns});
    for (Index i = 0; i < x.size(); ++i) x.value[i] = stream.uniform(low, high);
    return x;
  };
  const Beta<double> scale{make(1, 0.5, 5), make(1, 0.5, 5)};
  const TruncatedGaussian<double> centre{make(2, -1, 1), make(2, -2, 0)};
  const sample::DiagonalGaussian<double> rest{make(4, -1, 1), make(4, -2, 0)};
  const auto q = sample::product(scale, centre, rest);
  CHECK(q.dimension() == 7);
  CHECK(q.batch() == 5);
  const sample::NoiseKey key{.seed = 4, .first_sample = 10};
  const auto z = sample::draw(tape, q, key);
  REQUIRE(z.shape == Shape{5, 7});
  const auto s = sample::draw(tape, scale, key.fork(0));
  const auto xy = sample::draw(tape, centre, key.fork(1));
  const auto others = sample::draw(tape, rest, key.fork(2));
  const auto density = sample::log_density(tape, q, z);
  const auto d_s = sample::log_density(tape, scale, s), d_xy = sample::log_density(tape, centre, xy);
  const auto d_rest = sample::log_density(tape, rest, others);
  const auto entropy = sample::entropy(tape, q);
  const auto h_s = sample::entropy(tape, scale), h_xy = sample::entropy(tape, centre), h_rest = sample::entropy(tape, rest);
  for (Index b = 0; b < 5; ++b) {
    CHECK(z.value[7 * b] == s.value[b]);
    CHECK(z.value[7 * b + 2] == xy.value[2 * b + 1]);
    CHECK(z.value[7 * b + 6] == others.value[4 * b + 3]);
    CHECK(density.value[b] == doctest::Approx(d_s.value[b] + d_xy.value[b] + d_rest.value[b]));
    CHECK(entropy.value[b] == doctest::Approx(h_s.value[b] + h_xy.value[b] + h_rest.value[b]));
  }
  // A draw's gradient reaches all parameters.
  std::fill_n(z.gradient, z.size(), 1.0);
  tape.backward();
  CHECK(scale.concentration0.gradient[0] != 0.0);
  CHECK(centre.log_deviation.gradient[3] != 0.0);
  CHECK(rest.mean.gradient[5] == 1.0);
}

TEST_CASE("product: goes through an estimator, repeats and detaches") {
  Arena arena;
  Tape<float> tape(arena);
  const auto make = [&](Index columns, float value) {
    const auto x = tape.variable(Shape{3, columns});
    std::fill_n(x.value, x.size(), value);
    return x;
  };
  const auto q = sample::region(Beta<float>{make(1, 2), make(1, 3)}, TruncatedGaussian<float>{make(2, 0), make(2, -1)});
  CHECK(std::get<0>(sample::detach(q).parts).concentration1.gradient == nullptr);
  const auto cost = [&](Var<float> z) {
    CHECK(z.shape == Shape{12, 3});
    return nn::sum_per_sample(tape, z);
  };
  const Var<float> y = sample::Pathwise{.samples = 4}(tape, q, sample::NoiseKey{.seed = 1}, cost);
  tape.backward(nn::sum(tape, y));
  CHECK(std::get<0>(q.parts).concentration1.gradient[0] > 0);
  CHECK(std::get<1>(q.parts).mean.gradient[0] > 0);
}

TEST_CASE("product: parts that do not fit are refused") {
  Arena arena;
  Tape<double> tape(arena);
  const auto make = [&](Index rows, Index columns) { return tape.variable(Shape{rows, columns}); };
  const Beta<double> two{make(2, 1), make(2, 1)}, three{make(3, 1), make(3, 1)};
  CHECK_THROWS_WITH_AS((void)sample::product(two, three), "product: parts of one batch expected, 2 and 3 came", Error);
  CHECK_THROWS_AS((void)sample::region(two, two), Error);
  CHECK_THROWS_AS((void)sample::log_density(tape, sample::product(two, two), make(2, 3)), Error);
}
