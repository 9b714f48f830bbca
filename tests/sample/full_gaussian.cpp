// SPDX-License-Identifier: MIT
#include "support/distribution.hpp"
#include "support/op_registry.hpp"
#include <fovea/sample/full_gaussian.hpp>
#include <fovea/sample/gaussian.hpp>

#include <Eigen/LU>
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

using namespace fovea;
using fovea_test::backward_ones;
using fovea_test::extent;
using fovea_test::OpRegistry;
using sample::FullGaussian;

namespace {
Shape packed_shape(Index batch, Index d) { return {batch, d * (d + 1) / 2}; }

/// Random symmetric positive definite [B, D, D].
Tensor<double, 3> covariances(Index batch, Index d, Stream& stream) {
  Tensor<double, 3> out({batch, d, d});
  for (Index b = 0; b < batch; ++b) {
    Eigen::MatrixXd a(d, d);
    for (Index i = 0; i < d * d; ++i) a.data()[i] = stream.normal<double>();
    const Eigen::MatrixXd c = a * a.transpose() + 0.3 * Eigen::MatrixXd::Identity(d, d);
    for (Index i = 0; i < d; ++i) {
      for (Index j = 0; j < d; ++j) out(b, i, j) = c(i, j);
    }
  }
  return out;
}
Eigen::MatrixXd matrix(const Tensor<double, 3>& c, Index b) {
  const Index d = c.extent(1);
  Eigen::MatrixXd out(d, d);
  for (Index i = 0; i < d; ++i) {
    for (Index j = 0; j < d; ++j) out(i, j) = c(b, i, j);
  }
  return out;
}
}  // namespace

TEST_CASE("full gaussian: derivatives of draw, log-density, entropy and KL") {
  OpRegistry ops;
  const auto add = [&](const char* name, auto f) {
    ops.add(name, [=](Stream& s, GradientCheck& check) {
      const Index batch = extent(s), d = extent(s, 1, 5);
      check.input({batch, d}, s).input(packed_shape(batch, d), s, 0.6);
      check.input({batch, d}, s).input(packed_shape(batch, d), s, 0.6);
      return f;
    });
  };
  add("draw", [](auto& c, auto in) {
    const auto noise = sample::normal_noise(c, {.seed = 3}, in[0].shape[0], in[0].shape[1]);
    return sample::draw(c, FullGaussian<double>{in[0], in[1]}, noise);
  });
  add("log_density", [](auto& c, auto in) { return sample::log_density(c, FullGaussian<double>{in[0], in[1]}, in[2]); });
  add("entropy", [](auto& c, auto in) { return sample::entropy(c, FullGaussian<double>{in[0], in[1]}); });
  add("kl_divergence", [](auto& c, auto in) {
    return sample::kl_divergence(c, FullGaussian<double>{in[0], in[1]}, FullGaussian<double>{in[2], in[3]});
  });
  add("kl_divergence of one shape", [](auto& c, auto in) {
    return sample::kl_divergence(c, FullGaussian<double>{in[0], in[1]}, FullGaussian<double>{in[2], in[1]});
  });
  ops.check_all();
}

TEST_CASE("full gaussian: log-density, entropy and KL against determinants and inverses of the covariances") {
  Stream stream(7);
  for (const Index d : {1, 2, 3, 6}) {
    constexpr Index batch = 4;
    const auto c_q = covariances(batch, d, stream), c_p = covariances(batch, d, stream);
    Arena arena;
    Inference<double> context(arena);
    const auto random = [&] {
      const auto x = context.constant(Shape{batch, d});
      for (Index i = 0; i < x.size(); ++i) x.value[i] = stream.normal<double>();
      return x;
    };
    const auto z = random();
    const auto q = sample::full_gaussian(context, random(), c_q.view());
    const auto p = sample::full_gaussian(context, random(), c_p.view());
    const auto density = sample::log_density(context, q, z);
    const auto entropy = sample::entropy(context, q);
    const auto kl = sample::kl_divergence(context, q, p);
    for (Index b = 0; b < batch; ++b) {
      const auto vector = [&](const Var<double>& x) -> Eigen::VectorXd {
        return Eigen::Map<const Eigen::VectorXd>(x.value + b * d, d);
      };
      const Eigen::MatrixXd s = matrix(c_q, b), t = matrix(c_p, b);
      const Eigen::VectorXd r = vector(z) - vector(q.mean), m = vector(q.mean) - vector(p.mean);
      const double log_two_pi = std::log(2 * std::numbers::pi) * static_cast<double>(d);
      CHECK(density.value[b] == doctest::Approx(-0.5 * (r.dot(s.inverse() * r) + std::log(s.determinant()) + log_two_pi)));
      CHECK(entropy.value[b] == doctest::Approx(0.5 * (std::log(s.determinant()) + log_two_pi + static_cast<double>(d))));
      CHECK(kl.value[b] == doctest::Approx(0.5 * ((t.inverse() * s).trace() - static_cast<double>(d) + m.dot(t.inverse() * m) +
                                                  std::log(t.determinant() / s.determinant()))));
      CHECK(sample::kl_divergence(context, q, q).value[b] == 0.0);
    }
  }
}

TEST_CASE("full gaussian: with a diagonal covariance it is the diagonal one, whatever the scale") {
  for (const double scale : {1e-6, 1.0, 1e3}) {
    Arena arena;
    Tape<float> tape(arena);
    const Index d = 3;
    const Var<float> mean = tape.variable(Shape{1, d}), logs = tape.variable(Shape{1, d});
    const Var<float> other = tape.variable(Shape{1, d});
    FullGaussian<float> q{mean, tape.variable(packed_shape(1, d))}, p{other, tape.variable(packed_shape(1, d))};
    std::fill_n(q.cholesky.value, 6, 0.0F);
    std::fill_n(p.cholesky.value, 6, 0.0F);
    for (Index i = 0; i < d; ++i) {
      mean.value[i] = 0.1F * static_cast<float>(i);
      other.value[i] = 0.0F;
      logs.value[i] = static_cast<float>(std::log(scale)) + 0.2F * static_cast<float>(i);
      sample::detail::packed_row(q.cholesky.value, i)[i] = logs.value[i];
    }
    const sample::DiagonalGaussian<float> diagonal{mean, logs};
    const sample::NoiseKey key{.seed = 3};
    const Var<float> z = sample::draw(tape, diagonal, key), w = sample::draw(tape, q, key);
    for (Index i = 0; i < d; ++i) CHECK(w.value[i] == doctest::Approx(z.value[i]).epsilon(1e-6));
    CHECK(sample::log_density(tape, q, z).value[0] ==
          doctest::Approx(sample::log_density(tape, diagonal, z).value[0]).epsilon(1e-5));
    const Var<float> zeros = tape.constant(Shape{1, d});
    std::fill_n(zeros.value, d, 0.0F);
    CHECK(sample::kl_divergence(tape, q, p).value[0] ==
          doctest::Approx(sample::kl_divergence(tape, diagonal, sample::DiagonalGaussian<float>{other, zeros}).value[0])
              .epsilon(1e-5));
  }
}

TEST_CASE("full gaussian: draws have the distribution asked for in every direction") {
  constexpr Index count = 4000, d = 3;
  Stream stream(9);
  const auto c = covariances(1, d, stream);
  Tensor<double, 3> many({count, d, d});
  for (Index b = 0; b < count; ++b) std::copy_n(c.data(), d * d, many.data() + b * d * d);
  Arena arena;
  Inference<double> context(arena);
  const auto mean = context.constant(Shape{count, d});
  for (Index i = 0; i < mean.size(); ++i) mean.value[i] = 0.5 * static_cast<double>(i % d);
  const auto z = sample::draw(context, sample::full_gaussian(context, mean, many.view()), {.seed = 31});
  for (const auto& direction : {std::array{1.0, 0.0, 0.0}, std::array{0.3, -1.0, 2.0}, std::array{0.0, 0.0, 1.0}}) {
    const Eigen::Vector3d u(direction[0], direction[1], direction[2]);
    const double deviation = std::sqrt(u.dot(matrix(c, 0) * u));
    std::vector<double> draws;
    for (Index b = 0; b < count; ++b) {
      double sum = 0;
      for (Index i = 0; i < d; ++i) sum += u(i) * (z.value[b * d + i] - 0.5 * static_cast<double>(i));
      draws.push_back(sum / deviation);
    }
    CHECK(fovea_test::kolmogorov_smirnov(draws, [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }) > 1e-3);
  }
}

TEST_CASE("full gaussian: covariances that are none are refused") {
  Arena arena;
  Inference<double> context(arena);
  const auto mean = context.constant(Shape{2, 2});
  Tensor<double, 3> c({2, 2, 2});
  const std::vector<double> values{1, 0, 0, 1, 1, 2, 2, 1};
  std::copy(values.begin(), values.end(), c.data());
  CHECK_THROWS_WITH_AS((void)sample::full_gaussian(context, mean, c.view()),
                       "full Gaussian: a positive definite covariance expected, that of sample 1 is not", Error);
  c(1, 0, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS((void)sample::full_gaussian(context, mean, c.view()), Error);
  CHECK_THROWS_AS((void)sample::full_gaussian(context, context.constant(Shape{3, 2}), c.view()), Error);
  CHECK_THROWS_AS((void)sample::draw(context, FullGaussian<double>{mean, context.constant(Shape{2, 4})}, {.seed = 1}), Error);
}
