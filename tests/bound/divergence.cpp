// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/op_registry.hpp"
#include <fovea/bound/divergence.hpp>
#include <fovea/sample/gaussian.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

using namespace fovea;
using fovea_test::extent;
using sample::DiagonalGaussian;

TEST_CASE("divergence: derivatives") {
  fovea_test::OpRegistry ops;
  ops.add("kl_to_standard_normal", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), extent(s)};
    check.input(shape, s).input(shape, s, 0.5);
    return [](auto& c, auto in) { return bound::kl_to_standard_normal(c, DiagonalGaussian<double>{in[0], in[1]}); };
  });
  ops.add("kl_per_dimension", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), extent(s)};
    check.input(shape, s).input(shape, s, 0.5).input(shape, s).input(shape, s, 0.5);
    return [](auto& c, auto in) {
      return bound::kl_per_dimension(c, DiagonalGaussian<double>{in[0], in[1]}, DiagonalGaussian<double>{in[2], in[3]});
    };
  });
  for (const auto over : {bound::FreeBits::Over::sample, bound::FreeBits::Over::minibatch}) {
    ops.add("FreeBits", [over](Stream& s, GradientCheck& check) {
      check.uniform_input({extent(s), extent(s)}, s, 0, 2);
      return [over](auto& c, auto in) { return bound::FreeBits{0.9, over}(c, in[0]); };
    });
    ops.add("FreeBits of one group", [over](Stream& s, GradientCheck& check) {
      check.uniform_input({extent(s)}, s, 0, 2);
      return [over](auto& c, auto in) { return bound::FreeBits{0.9, over}(c, in[0]); };
    });
  }
  ops.check_all();
}

TEST_CASE("kl_to_standard_normal: its closed form") {
  Arena arena;
  Inference<double> context(arena);
  const auto mean = context.constant(Shape{2, 2});
  const auto log_deviation = context.constant(Shape{2, 2});
  const std::array<double, 4> m{0, 1, -2, 0.5}, l{0, -1, 0.5, 2};
  std::copy(m.begin(), m.end(), mean.value);
  std::copy(l.begin(), l.end(), log_deviation.value);
  const auto kl = bound::kl_to_standard_normal(context, DiagonalGaussian<double>{mean, log_deviation});
  const auto apart =
      bound::kl_per_dimension(context, DiagonalGaussian<double>{mean, log_deviation}, bound::standard_normal(context, 2, 2));
  REQUIRE(apart.shape == Shape{2, 2});
  for (std::size_t b = 0; b < 2; ++b) {
    double sum = 0;
    for (std::size_t i = 2 * b; i < 2 * b + 2; ++i) {
      const double one = (std::exp(2 * l[i]) + m[i] * m[i] - 1) / 2 - l[i];
      CHECK(apart.value[i] == doctest::Approx(one).epsilon(1e-14));
      sum += one;
    }
    CHECK(kl.value[b] == doctest::Approx(sum).epsilon(1e-14));
  }
}

TEST_CASE("free bits: a group below its share costs the share and learns nothing") {
  Arena arena;
  const auto run = [&](const bound::FreeBits& bits, std::vector<double> values, const Shape& shape) {
    arena.reset();
    Tape<double> tape(arena);
    const auto kl = tape.variable(shape);
    std::copy(values.begin(), values.end(), kl.value);
    const auto y = bits(tape, kl);
    std::fill_n(y.gradient, y.size(), 1.0);
    tape.backward();
    std::vector<double> result(y.value, y.value + y.size());
    result.insert(result.end(), kl.gradient, kl.gradient + kl.size());
    return result;
  };
  using Over = bound::FreeBits::Over;
  // Two samples, two groups.
  const std::vector<double> kl{0.2, 3, 1.2, 0.1};
  CHECK(run({0.5, Over::sample}, kl, {2, 2}) == std::vector<double>{0.5 + 3, 1.2 + 0.5, 0, 1, 1, 0});
  // The first group's mean is 0.7, the second's 1.55.
  CHECK(run({1, Over::minibatch}, kl, {2, 2}) == std::vector<double>{1 + 3, 1 + 0.1, 0, 1, 0, 1});
  CHECK(run({0, Over::sample}, kl, {2, 2}) == std::vector<double>{0.2 + 3, 1.2 + 0.1, 1, 1, 1, 1});
  CHECK(run({0.5, Over::sample}, {0.2, 3}, {2}) == std::vector<double>{0.5, 3, 0, 1});
  CHECK(run({0.5, Over::sample}, {0.2}, {1}) == std::vector<double>{0.5, 0});
  Inference<double> context(arena);
  CHECK(fovea_test::message_of([&] {
          (void)bound::FreeBits{}(context, context.constant(Shape{1, 1, 1}));
        }) == "free bits: divergences [B] or [B, G] expected, a shape [1x1x1] came");
}

namespace {

/// A Gaussian that owns up to no closed divergence: what balancing does by draws.
struct Opaque {
  DiagonalGaussian<double> of;
  static constexpr bool pathwise = true;
  template <class F>
  [[nodiscard]] Opaque map(F f) const {
    return {of.map(f)};
  }
  [[nodiscard]] Index batch() const noexcept { return of.batch(); }
  [[nodiscard]] Index dimension() const noexcept { return of.dimension(); }
};
template <Context C>
VarOf<C> draw(C& context, const Opaque& q, const sample::NoiseKey& key) {
  return draw(context, q.of, key);
}
template <Context C>
VarOf<C> log_density(C& context, const Opaque& q, const VarOf<C>& z) {
  return log_density(context, q.of, z);
}

/// Gradients of the balanced divergence of one sample in one dimension: to m_q, l_q, m_p, l_p.
template <class Q>
std::array<double, 4> balanced(double alpha, double& value) {
  Arena arena;
  Tape<double> tape(arena);
  std::array<Var<double>, 4> in;
  const std::array<double, 4> at{0.3, -0.5, -0.4, 0.2};
  for (std::size_t i = 0; i < 4; ++i) {
    in[i] = tape.variable({1, 1});
    in[i].value[0] = at[i];
  }
  const Q q{{in[0], in[1]}}, p{{in[2], in[3]}};
  const auto kl = bound::KlBalance{alpha}(tape, q, p, {.key = {.seed = 3}, .samples = 40000});
  value = kl.value[0];
  tape.backward(kl);
  return {in[0].gradient[0], in[1].gradient[0], in[2].gradient[0], in[3].gradient[0]};
}

struct Closed : DiagonalGaussian<double> {
  template <class F>
  [[nodiscard]] Closed map(F f) const {
    return {DiagonalGaussian<double>::map(f)};
  }
};

}  // namespace

TEST_CASE("KL balance: the value is the divergence, the gradient is shared out") {
  double value = 0, plain_value = 0;
  const auto half = balanced<Closed>(0.5, plain_value);  // half of the gradient of the plain divergence
  const auto prior = balanced<Closed>(0.8, value);
  CHECK(value == doctest::Approx(plain_value).epsilon(1e-14));
  const double d = -0.7, u = 0.7 * std::exp(-0.2);  // l_q - l_p and the scaled distance: docs/bound.md
  CHECK(value == doctest::Approx((std::expm1(2 * d) + u * u) / 2 - d).epsilon(1e-14));
  const std::array<double, 4> share{0.2, 0.2, 0.8, 0.8};
  for (std::size_t i = 0; i < 4; ++i) CHECK(prior[i] == doctest::Approx(share[i] / 0.5 * half[i]).epsilon(1e-12));
  // Estimated from draws, where there is no closed form: the same within its error.
  double estimate = 0;
  const auto drawn = balanced<Opaque>(0.8, estimate);
  CHECK(estimate == doctest::Approx(value).epsilon(0.03));
  for (std::size_t i = 0; i < 4; ++i) CHECK(drawn[i] == doctest::Approx(prior[i]).epsilon(0.05));
}

TEST_CASE("divergence: what cannot be taken apart is refused") {
  Arena arena;
  Inference<float> context(arena);
  const auto a = context.constant(Shape{2, 3});
  const auto b = context.constant(Shape{2, 2});
  CHECK(fovea_test::message_of([&] {
          (void)bound::kl_per_dimension(context, DiagonalGaussian<float>{a, b}, DiagonalGaussian<float>{a, a});
        }) == "kl_per_dimension: parameters of shape [2x3] expected, [2x2] came");
}
