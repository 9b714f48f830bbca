// SPDX-License-Identifier: MIT
#include "support/compare.hpp"
#include "support/op_registry.hpp"
#include <fovea/sample/gaussian.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <vector>

using namespace fovea;
using fovea_test::extent;
using fovea_test::OpRegistry;
using sample::DiagonalGaussian;

namespace {

/// A Gaussian without closed entropy and divergence.
template <class T>
struct Hidden {
  DiagonalGaussian<T> q;
  static constexpr bool pathwise = true;
  template <class F>
  [[nodiscard]] Hidden map(F f) const {
    return {q.map(f)};
  }
  [[nodiscard]] Index batch() const { return q.batch(); }
};
template <Context C>
VarOf<C> draw(C& context, const Hidden<typename C::Scalar>& q, const sample::NoiseKey& key) {
  return sample::draw(context, q.q, key);
}
template <Context C>
VarOf<C> log_density(C& context, const Hidden<typename C::Scalar>& q, const VarOf<C>& z) {
  return sample::log_density(context, q.q, z);
}

}  // namespace

TEST_CASE("gaussian: derivatives of sample, KL and log-density") {
  OpRegistry ops;
  ops.add("draw", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), extent(s)};
    check.input(shape, s).input(shape, s, 0.5);
    std::vector<double> noise(static_cast<std::size_t>(shape.size()));
    for (double& value : noise) value = s.normal<double>();
    return [noise, shape](auto& c, auto in) {
      return sample::draw(c, DiagonalGaussian<double>{in[0], in[1]}, c.constant(noise.data(), shape));
    };
  });
  ops.add("kl_divergence", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), extent(s)};
    check.input(shape, s).input(shape, s, 0.5).input(shape, s).input(shape, s, 0.5);
    return [](auto& c, auto in) {
      return sample::kl_divergence(c, DiagonalGaussian<double>{in[0], in[1]}, DiagonalGaussian<double>{in[2], in[3]});
    };
  });
  ops.add("kl_divergence with itself", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), extent(s)};
    check.input(shape, s).input(shape, s, 0.5).input(shape, s);
    return [](auto& c, auto in) {  // one deviation in both: its gradient is the sum of two
      return sample::kl_divergence(c, DiagonalGaussian<double>{in[0], in[1]}, DiagonalGaussian<double>{in[2], in[1]});
    };
  });
  ops.add("entropy", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), extent(s)};
    check.input(shape, s).input(shape, s, 0.5);
    return [](auto& c, auto in) { return sample::entropy(c, DiagonalGaussian<double>{in[0], in[1]}); };
  });
  ops.add("divergence by Monte Carlo", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), extent(s)};
    check.input(shape, s).input(shape, s, 0.5).input(shape, s).input(shape, s, 0.5);
    return [](auto& c, auto in) {  // of a family that hides its closed form
      const Hidden<double> q{{in[0], in[1]}}, p{{in[2], in[3]}};
      return sample::kl_divergence(c, q, p, sample::MonteCarlo{{.seed = 2}, 3});
    };
  });
  ops.add("log_density", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), extent(s)};
    check.input(shape, s).input(shape, s, 0.5).input(shape, s);
    return [](auto& c, auto in) { return sample::log_density(c, DiagonalGaussian<double>{in[0], in[1]}, in[2]); };
  });
  ops.check_all();
}

namespace {

template <class T>
T kl_of(T mean_q, T log_q, T mean_p, T log_p) {
  T out = 0;
  const View<const T, 2> mq(&mean_q, {1, 1}), lq(&log_q, {1, 1}), mp(&mean_p, {1, 1}), lp(&log_p, {1, 1});
  kernel::gaussian_kl<T>(mq, lq, mp, lp, View<T, 1>(&out, {1}));
  return out;
}

}  // namespace

TEST_CASE("gaussian: KL against closed-form values") {
  // KL(N(1, 2^2) || N(0, 1)) = (4 + 1 - 1 - log 4) / 2, and the reverse (1/4 + 1/4 - 1 + log 4) / 2.
  CHECK(kl_of(1.0, std::log(2.0), 0.0, 0.0) == doctest::Approx((4.0 - std::log(4.0)) / 2).epsilon(1e-14));
  CHECK(kl_of(0.0, 0.0, 1.0, std::log(2.0)) == doctest::Approx((std::log(4.0) - 0.5) / 2).epsilon(1e-14));
  CHECK(kl_of(0.3, -1.0, 0.3, -1.0) == 0.0);
  CHECK(kl_of(0.3F, -1.0F, 0.3F, -1.0F) == 0.0F);
}

TEST_CASE_TEMPLATE("gaussian: KL of extreme scales against a long double reference", T, float, double) {
  const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;
  for (const double sigma_q : {1e-6, 1e-3, 0.999, 1.0, 1e3}) {
    for (const double sigma_p : {1e-6, 1e-3, 1.0, 1e3}) {
      for (const double mean : {0.0, 1e-6, 1.0}) {
        const T m = static_cast<T>(mean), lq = static_cast<T>(std::log(sigma_q)), lp = static_cast<T>(std::log(sigma_p));
        // The reference takes the numbers as the kernel got them.
        const long double d = static_cast<long double>(lq) - static_cast<long double>(lp);
        const long double u = static_cast<long double>(m) * std::exp(-static_cast<long double>(lp));
        const long double expected = (std::expm1(2 * d) + u * u) / 2 - d;
        const T got = kl_of(m, lq, T(0), lp);
        CHECK(std::isfinite(got));
        CHECK(std::abs(static_cast<long double>(got) - expected) <= tolerance * std::max(1.0L, std::abs(expected)));
        CHECK(got >= T(0));
      }
    }
  }
}

TEST_CASE("gaussian: samples have the mean and deviation asked for") {
  constexpr Index count = 20000;
  Arena arena;
  Inference<double> context(arena);
  const auto q_mean = context.constant(Shape{count, 1});
  const auto q_log = context.constant(Shape{count, 1});
  const auto noise = context.constant(Shape{count, 1});
  std::fill_n(q_mean.value, count, 0.7);
  std::fill_n(q_log.value, count, std::log(0.3));
  sample::fill_normal({.seed = 5}, noise.mutable_values<2>());
  const auto z = sample::draw(context, DiagonalGaussian<double>{q_mean, q_log}, noise);
  double mean = 0;
  double square = 0;
  for (const double value : std::vector<double>(z.value, z.value + count)) {
    mean += value / count;
    square += value * value / count;
  }
  CHECK(std::abs(mean - 0.7) < 4 * 0.3 / std::sqrt(count));  // four standard errors
  CHECK(std::abs(std::sqrt(square - mean * mean) - 0.3) < 4 * 0.3 / std::sqrt(2.0 * count));
}

TEST_CASE("gaussian: entropy and divergence by Monte Carlo come near the closed forms") {
  Arena arena;
  Inference<double> context(arena);
  const auto var = [&](double a, double b) {
    const auto v = context.constant(Shape{2, 1});
    v.value[0] = a;
    v.value[1] = b;
    return v;
  };
  const DiagonalGaussian<double> q{var(0.3, -1), var(-0.5, 0.2)};
  const DiagonalGaussian<double> p{var(0, -0.5), var(0, 0.5)};
  const sample::MonteCarlo draws{{.seed = 8}, 20000};
  const auto entropy = sample::entropy(context, q);
  const auto entropy_drawn = sample::entropy(context, Hidden<double>{q}, draws);
  const auto divergence = sample::kl_divergence(context, q, p);
  const auto divergence_drawn = sample::kl_divergence(context, Hidden<double>{q}, Hidden<double>{p}, draws);
  for (Index b = 0; b < 2; ++b) {
    CHECK(entropy.value[b] ==
          doctest::Approx(0.5 * std::log(2 * std::numbers::pi * std::numbers::e) + q.log_deviation.value[b]));
    CHECK(std::abs(entropy_drawn.value[b] - entropy.value[b]) < 4 * std::sqrt(0.5 / 20000));  // Var log q = 1/2
    CHECK(std::abs(divergence_drawn.value[b] - divergence.value[b]) < 0.03);
  }
  // Where there is a closed form it is taken.
  CHECK(sample::entropy(context, q, draws).value[0] == entropy.value[0]);
  CHECK(sample::kl_divergence(context, q, p, draws).value[1] == divergence.value[1]);
}

TEST_CASE("noise: a key's children and repeats name other streams, the same for every batch") {
  const sample::NoiseKey key{.seed = 3, .step = 9, .first_sample = 4};
  CHECK(key.fork(0).seed != key.seed);
  CHECK(key.fork(0).seed != key.fork(1).seed);
  Tensor<double, 2> whole({6, 2});
  sample::fill_normal(sample::NoiseKey{.seed = 3, .step = 9, .first_sample = 3}.repeated(3), whole.view());
  Tensor<double, 2> part({3, 2});
  sample::fill_normal(key.repeated(3), part.view());
  for (Index i = 0; i < 6; ++i) CHECK(part.data()[i] == whole.data()[6 + i]);
}

TEST_CASE("gaussian: a log-density integrates to 1") {
  Arena arena;
  Inference<double> context(arena);
  double total = 0;
  constexpr Index n = 4001;
  const auto mean = context.constant(Shape{n, 1});
  const auto log_deviation = context.constant(Shape{n, 1});
  const auto z = context.constant(Shape{n, 1});
  for (Index i = 0; i < n; ++i) {
    mean.value[i] = -0.2;
    log_deviation.value[i] = std::log(0.4);
    z.value[i] = -5 + 10.0 * static_cast<double>(i) / (n - 1);
  }
  const auto density = sample::log_density(context, DiagonalGaussian<double>{mean, log_deviation}, z);
  for (Index i = 0; i < n; ++i) total += std::exp(density.value[i]) * 10.0 / (n - 1);
  CHECK(total == doctest::Approx(1).epsilon(1e-9));
}

TEST_CASE("gaussian: noise is named by the sample, not by its place in a shard") {
  Tensor<double, 2> whole({6, 3});
  sample::fill_normal({.seed = 3, .step = 9}, whole.view());
  Tensor<double, 2> part({2, 3});
  sample::fill_normal({.seed = 3, .step = 9, .first_sample = 4}, part.view());
  for (Index i = 0; i < 6; ++i) CHECK(part.data()[i] == whole.data()[12 + i]);
  Tensor<double, 2> other({2, 3});
  sample::fill_normal({.seed = 3, .step = 10, .first_sample = 4}, other.view());
  CHECK(other.data()[0] != part.data()[0]);
}

TEST_CASE("gaussian: shapes that do not fit are refused") {
  Arena arena;
  Inference<float> context(arena);
  const auto a = context.constant(Shape{2, 3});
  const auto b = context.constant(Shape{2, 2});
  CHECK_THROWS_WITH_AS((void)sample::draw(context, DiagonalGaussian<float>{a, a}, b),
                       "gaussian draw: noise of shape [2x3] expected, [2x2] came", Error);
  CHECK_THROWS_AS((void)sample::kl_divergence(context, DiagonalGaussian<float>{a, a}, DiagonalGaussian<float>{b, b}), Error);
  CHECK_THROWS_AS((void)sample::log_density(context, DiagonalGaussian<float>{a, a}, b), Error);
}
