// SPDX-License-Identifier: MIT
// Bounds of several draws: values against closed forms, and the doubly reparameterised gradient against the plain one: the same
// mean, a lower variance, and a signal-to-noise ratio that does not fall with the number of draws.
//
// The toy: p(z) = N(0, 1), p(x | z) = N(x; z + c, 1), so p(x) = N(x; c, 2) and p(z | x) = N((x - c) / 2, 1/2);
// q(z) = N(m, e^2l). Every row of a batch is one replicate with its own m, l and c, so that the gradient of a row is one sample
// of the estimator.
#include "support/message_of.hpp"
#include "support/op_registry.hpp"
#include <fovea/bound/multi_sample.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/frozen.hpp>
#include <fovea/sample/gaussian.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <vector>

using namespace fovea;
using fovea_test::extent;
using sample::DiagonalGaussian;

static_assert(bound::Objective<bound::ImportanceWeighted, Tape<float>>);
static_assert(Context<nn::Frozen<Tape<float>>> && Context<nn::Frozen<Inference<double>>>);

namespace {

/// `naive`, in a recurrent posterior: what is right for draws that do not see each other.
enum class Way { plain, doubly, landing, naive };

struct Setting {
  double x = 1;
  double m = 0.2;
  double l = -0.3;
  double c = 0.1;
};

/// The bound of `draws` per sample with the doubly reparameterised gradient; docs/bound.md quotes it.
template <Context C, class Q, class LogJoint>
VarOf<C> doubly_reparameterised(C& context, const Q& posterior, Index draws, const sample::NoiseKey& key, LogJoint log_joint) {
  const Q q = sample::repeat(context, posterior, draws);
  const bound::NormalisedWeights weights(context, q.batch());
  const auto z = weights.scale_gradient(context, draw(context, q, key.repeated(draws)));
  const auto log_q = log_density(context, sample::detach(q), z);  // of z, but not of q's parameters
  const auto log_w = nn::subtract(context, log_joint(z), log_q);
  return bound::importance_weighted(context, log_w, draws, weights);
}

/// Mean and second moment of many numbers.
struct Moments {
  double sum = 0;
  double squares = 0;
  double count = 0;
  void add(double x) {
    sum += x;
    squares += x * x;
    ++count;
  }
  [[nodiscard]] double mean() const { return sum / count; }
  [[nodiscard]] double variance() const { return squares / count - mean() * mean(); }
  [[nodiscard]] double standard_error() const { return std::sqrt(variance() / count); }
  [[nodiscard]] double signal_to_noise() const { return std::abs(mean()) / std::sqrt(variance()); }
};

/// The toy's bounds, and their gradients to m, l and c, for `replicates` independent draws of K each.
struct Replicates {
  std::vector<double> bound, d_m, d_l, d_c;
};

Replicates run(Arena& arena, const Setting& at, Index draws, Index replicates, Way way, std::uint64_t seed) {
  arena.reset();
  Tape<double> tape(arena);
  const auto rows = [&](double value) {
    const auto v = tape.variable({replicates, 1});
    std::fill_n(v.value, replicates, value);
    return v;
  };
  const auto m = rows(at.m), l = rows(at.l), c = rows(at.c);
  const DiagonalGaussian<double> posterior{m, l};
  const sample::NoiseKey key{.seed = seed};
  const Index n = replicates * draws;
  const auto zero = tape.constant(Shape{n, 1});
  std::fill_n(zero.value, n, 0.0);
  const auto x = tape.constant(Shape{n, 1});
  std::fill_n(x.value, n, at.x);
  const auto log_joint = [&](const Var<double>& z) {
    const auto seen = nn::add(tape, z, nn::repeat_samples(tape, c, draws));
    return nn::add(tape, log_density(tape, DiagonalGaussian<double>{seen, zero}, x),
                   log_density(tape, DiagonalGaussian<double>{zero, zero}, z));
  };
  const auto bound_of = [&] {
    if (way == Way::doubly) return doubly_reparameterised(tape, posterior, draws, key, log_joint);
    const auto q = sample::repeat(tape, posterior, draws);
    const auto z = sample::draw(tape, q, key.repeated(draws));
    const auto log_q = log_density(tape, way == Way::plain ? q : sample::detach(q), z);
    return bound::importance_weighted(tape, nn::subtract(tape, log_joint(z), log_q), draws);
  };
  const auto y = bound_of();
  std::fill_n(y.gradient, replicates, 1.0);
  tape.backward();
  const auto all = [&](const double* p) { return std::vector<double>(p, p + replicates); };
  return {all(y.value), all(m.gradient), all(l.gradient), all(c.gradient)};
}

double log_evidence(const Setting& at) { return -std::log(4 * std::numbers::pi) / 2 - (at.x - at.c) * (at.x - at.c) / 4; }

Moments moments(const std::vector<double>& values) {
  Moments result;
  for (const double v : values) result.add(v);
  return result;
}

}  // namespace

TEST_CASE("log_sum_exp, tile_samples, importance_weighted: derivatives") {
  fovea_test::OpRegistry ops;
  ops.add("log_sum_exp", [](Stream& s, GradientCheck& check) {
    check.input({extent(s), fovea_test::channels(s)}, s, 3);
    return [](auto& c, auto in) { return nn::log_sum_exp(c, in[0]); };
  });
  ops.add("tile_samples", [](Stream& s, GradientCheck& check) {
    const Index count = extent(s, 1, 4);
    check.input({extent(s), fovea_test::channels(s)}, s);
    return [=](auto& c, auto in) { return nn::exp(c, nn::tile_samples(c, in[0], count)); };
  });
  ops.add("importance_weighted", [](Stream& s, GradientCheck& check) {
    const Index draws = extent(s);
    check.input({extent(s) * draws}, s, 2);
    return [=](auto& c, auto in) { return bound::importance_weighted(c, in[0], draws); };
  });
  ops.add("bound::ImportanceWeighted", [](Stream& s, GradientCheck& check) {
    const Index draws = extent(s);
    const Shape shape{extent(s) * draws};
    check.input(shape, s).input(shape, s).input(shape, s);
    return [=](auto& c, auto in) {
      return bound::ImportanceWeighted{draws, {1, 0.3, 2}}(c, bound::Terms<double>{in[0], in[1], in[2]});
    };
  });
  ops.check_all();
}

TEST_CASE_TEMPLATE("log_sum_exp: neither overflows nor loses the small", T, float, double) {
  Arena arena;
  Inference<T> context(arena);
  const auto of = [&](T a, T b, T c) {
    const auto x = context.constant(Shape{1, 3});
    x.value[0] = a;
    x.value[1] = b;
    x.value[2] = c;
    return static_cast<double>(nn::log_sum_exp(context, x).value[0]);
  };
  CHECK(of(1000, 1000, 1000) == doctest::Approx(1000 + std::log(3)).epsilon(1e-7));
  CHECK(of(-1000, -1000, -1000) == doctest::Approx(-1000 + std::log(3)).epsilon(1e-7));
  CHECK(of(0, -20, -20) == doctest::Approx(std::log1p(2 * std::exp(-20.0))).epsilon(1e-6));
  const T nothing = -std::numeric_limits<T>::infinity();
  CHECK(of(nothing, 2, nothing) == doctest::Approx(2));
  const auto row = context.constant(Shape{3});
  CHECK(fovea_test::message_of([&] { (void)nn::log_sum_exp(context, row); }) ==
        "log_sum_exp: an input of rank 2 expected, a shape [3] came");
  CHECK_THROWS_AS((void)nn::log_sum_exp(context, context.constant(Shape{2, 0})), Error);
  CHECK_THROWS_AS((void)nn::tile_samples(context, row, 0), Error);
}

TEST_CASE("repeat and tile: which row is a copy of which") {
  Arena arena;
  Inference<double> context(arena);
  const auto x = context.constant(Shape{2, 2});
  for (Index i = 0; i < 4; ++i) x.value[i] = static_cast<double>(i);
  const auto tiled = nn::tile_samples(context, x, 2);
  const auto repeated = nn::repeat_samples(context, x, 2);
  const std::array<double, 8> t{0, 1, 2, 3, 0, 1, 2, 3};
  const std::array<double, 8> r{0, 1, 0, 1, 2, 3, 2, 3};
  for (std::size_t i = 0; i < 8; ++i) {
    CHECK(tiled.value[i] == t[i]);
    CHECK(repeated.value[i] == r[i]);
  }
}

TEST_CASE("importance_weighted: one draw is the sum, and more draws are nearer to the evidence") {
  Arena arena;
  Inference<double> context(arena);
  const auto var = [&](double a, double b) {
    const auto v = context.constant(Shape{2});
    v.value[0] = a;
    v.value[1] = b;
    return v;
  };
  const bound::Terms<double> terms{var(-1, -2), var(-10, -20), var(0.5, -0.25)};
  const bound::Sum weights{2, 0.1, 4};
  const auto sum = weights(context, terms);
  const auto one = bound::ImportanceWeighted{1, weights}(context, terms);
  const auto two = bound::ImportanceWeighted{2, weights}(context, terms);
  for (Index b = 0; b < 2; ++b) CHECK(one.value[b] == doctest::Approx(sum.value[b]).epsilon(1e-15));
  REQUIRE(two.size() == 1);
  CHECK(two.value[0] == doctest::Approx(-std::log((std::exp(-sum.value[0]) + std::exp(-sum.value[1])) / 2)));

  const Setting at;
  double last = -HUGE_VAL;
  for (const Index draws : {1, 4, 16, 64}) {
    const Moments bound = moments(run(arena, at, draws, 4000, Way::plain, 1).bound);
    CHECK(bound.mean() > last);
    CHECK(bound.mean() < log_evidence(at) + 4 * bound.standard_error());
    last = bound.mean();
  }
  CHECK(last == doctest::Approx(log_evidence(at)).epsilon(3e-3));
  // With the true posterior every weight is the evidence.
  const Setting exact{1, 0.45, std::log(0.5) / 2, 0.1};
  for (const double l : run(arena, exact, 3, 5, Way::plain, 2).bound) {
    CHECK(l == doctest::Approx(log_evidence(exact)).epsilon(1e-12));
  }
}

TEST_CASE("doubly reparameterised: the same mean as the plain gradient, and a lower variance unless q is too narrow") {
  // 12 settings of m and l by 2 gradients, 1e5 samples each, both estimators on the same noise: |z| < 4 of their difference.
  // The true posterior has l = -0.35. A q much narrower than it (the first four settings) has few draws where the weights are
  // great, and there the square of them costs more than the score did: nothing promises a lower variance then.
  Arena arena;
  constexpr Index draws = 4, replicates = 25000;
  double worst = 0, worst_ratio = 0, narrow_ratio = 0;
  int components = 0;
  for (int i = 0; i < 12; ++i) {
    const Setting at{0.8, -0.6 + 0.4 * (i % 4), -0.9 + 0.55 * (i / 4), 0.1};
    Moments m, l, plain_m, plain_l, doubly_m, doubly_l;
    for (std::uint64_t part = 0; part < 4; ++part) {
      const std::uint64_t seed = 100 + 10 * static_cast<std::uint64_t>(i) + part;
      const Replicates plain = run(arena, at, draws, replicates, Way::plain, seed);
      const Replicates doubly = run(arena, at, draws, replicates, Way::doubly, seed);
      for (std::size_t r = 0; r < plain.d_m.size(); ++r) {
        m.add(doubly.d_m[r] - plain.d_m[r]);
        l.add(doubly.d_l[r] - plain.d_l[r]);
        plain_m.add(plain.d_m[r]);
        plain_l.add(plain.d_l[r]);
        doubly_m.add(doubly.d_m[r]);
        doubly_l.add(doubly.d_l[r]);
      }
      if (part == 0) {  // nothing changes in the value, nor for the decoder
        CHECK(doubly.bound == plain.bound);
        CHECK(doubly.d_c == plain.d_c);
      }
    }
    for (const Moments* difference : {&m, &l}) {
      const double z = difference->mean() / difference->standard_error();
      INFO("m = ", at.m, ", l = ", at.l, ": z = ", z);
      CHECK(std::abs(z) < 4);
      worst = std::max(worst, std::abs(z));
      ++components;
    }
    INFO("m = ", at.m, ", l = ", at.l, ": variance of m ", plain_m.variance(), " and ", doubly_m.variance(), ", of l ",
         plain_l.variance(), " and ", doubly_l.variance());
    double& ratio = at.l < -0.5 ? narrow_ratio : worst_ratio;
    ratio = std::max({ratio, doubly_m.variance() / plain_m.variance(), doubly_l.variance() / plain_l.variance()});
    if (at.l > -0.5) {
      CHECK(doubly_m.variance() < plain_m.variance());
      CHECK(doubly_l.variance() < plain_l.variance());
    }
  }
  MESSAGE(components << " components, worst |z| " << worst << ", variance at most " << worst_ratio
                     << " of the plain one, and for a narrow q " << narrow_ratio);
}

TEST_CASE("doubly reparameterised: the second factor of the weight is what makes it right") {
  // A log q without the score, and without scale_gradient, is biased for K > 1 (and is "sticking the landing" for K = 1).
  Arena arena;
  const Setting at{1.5, -0.5, -0.5, 0.1};
  const auto z_of = [&](Index draws, Way way) {
    Moments difference;
    const Replicates plain = run(arena, at, draws, 50000, Way::plain, 7);
    const Replicates other = run(arena, at, draws, 50000, way, 7);
    for (std::size_t r = 0; r < plain.d_m.size(); ++r) difference.add(other.d_m[r] - plain.d_m[r]);
    return std::abs(difference.mean()) / difference.standard_error();
  };
  CHECK(z_of(1, Way::landing) < 4);
  CHECK(z_of(4, Way::doubly) < 4);
  CHECK(z_of(4, Way::landing) > 20);
  // At the true posterior nothing is left of its variance.
  const Setting exact{1, 0.45, std::log(0.5) / 2, 0.1};
  CHECK(moments(run(arena, exact, 1, 1000, Way::plain, 3).d_l).variance() > 0.1);
  const Replicates landed = run(arena, exact, 1, 1000, Way::landing, 3);
  for (std::size_t r = 0; r < landed.d_m.size(); ++r) {
    CHECK(std::abs(landed.d_m[r]) < 1e-12);
    CHECK(std::abs(landed.d_l[r]) < 1e-12);
  }
}

TEST_CASE("doubly reparameterised: the plain gradient's signal-to-noise ratio falls with K, this one's rises") {
  Arena arena;
  const Setting at{1, 0.2, -0.2, 0.1};
  const auto ratio = [&](Index draws, Way way) {
    return moments(run(arena, at, draws, 400000 / draws, way, 11).d_m).signal_to_noise();
  };
  const double plain_4 = ratio(4, Way::plain), plain_64 = ratio(64, Way::plain);
  const double doubly_4 = ratio(4, Way::doubly), doubly_64 = ratio(64, Way::doubly);
  INFO("plain ", plain_4, " at K = 4, ", plain_64, " at 64; doubly ", doubly_4, " and ", doubly_64);
  CHECK(plain_64 < 0.5 * plain_4);  // 1 / sqrt(16) in theory
  CHECK(doubly_64 > doubly_4);      // sqrt(16) in theory
  MESSAGE("signal to noise, K = 4 and 64: plain " << plain_4 << ", " << plain_64 << "; doubly " << doubly_4 << ", "
                                                  << doubly_64);
}

TEST_CASE("normalised weights: a bound that was not told of them is found out, and shapes that do not fit are refused") {
  Arena arena;
  Tape<double> tape(arena);
  const auto x = tape.variable({4, 2});
  std::fill_n(x.value, 8, 1.0);
  const bound::NormalisedWeights weights(tape, 4);
  tape.backward(nn::sum(tape, weights.scale_gradient(tape, x)));
  CHECK(std::isnan(x.gradient[0]));
  CHECK_THROWS_AS((void)weights.scale_gradient(tape, tape.variable({3, 2})), Error);
  CHECK_THROWS_AS((void)weights.scale_gradient(tape, x, tape.variable({4, 1})), Error);
  const auto log_weights = tape.variable({6});
  std::fill_n(log_weights.value, 6, 0.0);
  CHECK(fovea_test::message_of([&] { (void)bound::importance_weighted(tape, log_weights, 4); }) ==
        "importance_weighted: log-weights of 4 draws per sample expected, a shape [6] came");
  CHECK_THROWS_AS((void)bound::importance_weighted(tape, log_weights, 3, weights), Error);
  Inference<double> context(arena);
  const bound::NormalisedWeights known(context, 6);
  (void)bound::importance_weighted(context, log_weights, 3, known);
  for (Index r = 0; r < 6; ++r) CHECK(known.values()[r] == doctest::Approx(1.0 / 3));
}

namespace {

/// Two looks, the second of which depends on where the first was: q(z_1) = N(f(1; phi)), q(z_2 | h) = N(f(h; phi)) with
/// h = psi z_1, f(u; phi) = (phi_1 u, phi_2 u); p(z_1) = N(0, 1), p(z_2 | z_1) = N(theta z_1, 1), p(x | z) = N(z_1 + z_2, 1).
/// Gradients of the bound to phi [R, 2] and psi [R, 1], a row for each replicate.
struct TwoLooks {
  std::vector<double> bound, d_phi, d_psi;
};

TwoLooks two_looks(Arena& arena, Index draws, Index replicates, Way way, std::uint64_t seed) {
  arena.reset();
  Tape<double> tape(arena);
  const Index n = replicates * draws;
  const auto filled = [&](auto make, double value) {
    const auto v = make();
    std::fill_n(v.value, v.size(), value);
    return v;
  };
  const auto variable = [&](double value) { return filled([&] { return tape.variable({replicates, 1}); }, value); };
  const auto constant = [&](double value) { return filled([&] { return tape.constant(Shape{n, 1}); }, value); };
  const auto phi_1 = variable(0.3), phi_2 = variable(-0.4), psi = variable(1.5);
  const auto zero = constant(0), one = constant(1), x = constant(1.3);
  const auto each = [&](Var<double> v) { return nn::repeat_samples(tape, v, draws); };
  const auto encoder = [&](Var<double> a, Var<double> b, Var<double> u) {
    return DiagonalGaussian<double>{nn::multiply(tape, each(a), u), nn::multiply(tape, each(b), u)};
  };
  const bound::NormalisedWeights weights(tape, n);
  const sample::NoiseKey key{.seed = seed};
  const auto look = [&](Var<double> u, std::uint64_t step, Var<double>& log_q) {
    const auto noise = sample::normal_noise(tape, key.repeated(draws).fork(step), n, 1);
    auto q = encoder(phi_1, phi_2, u);
    auto seen = q;
    if (way == Way::naive) seen = sample::detach(q);
    if (way == Way::doubly) {
      const auto own = encoder(phi_1, phi_2, nn::detach(u));
      seen = encoder(nn::detach(phi_1), nn::detach(phi_2), u);
      q = {weights.scale_gradient(tape, own.mean, seen.mean),
           weights.scale_gradient(tape, own.log_deviation, seen.log_deviation)};
    }
    auto z = sample::draw(tape, q, noise);
    if (way == Way::naive) z = weights.scale_gradient(tape, z);
    log_q = sample::log_density(tape, seen, z);
    return z;
  };
  Var<double> log_q_1, log_q_2;
  const auto z_1 = look(one, 1, log_q_1);
  const auto h = nn::multiply(tape, each(psi), z_1);
  const auto z_2 = look(h, 2, log_q_2);
  const auto log_p = nn::add(tape,
                             nn::add(tape, sample::log_density(tape, DiagonalGaussian<double>{zero, zero}, z_1),
                                     sample::log_density(tape, DiagonalGaussian<double>{nn::scale(tape, 0.5, z_1), zero}, z_2)),
                             sample::log_density(tape, DiagonalGaussian<double>{nn::add(tape, z_1, z_2), zero}, x));
  const auto log_w = nn::subtract(tape, log_p, nn::add(tape, log_q_1, log_q_2));
  const auto y = bound::importance_weighted(tape, log_w, draws, weights);
  std::fill_n(y.gradient, replicates, 1.0);
  tape.backward();
  TwoLooks result{{y.value, y.value + replicates}, {}, {psi.gradient, psi.gradient + replicates}};
  result.d_phi.assign(phi_1.gradient, phi_1.gradient + replicates);
  result.d_phi.insert(result.d_phi.end(), phi_2.gradient, phi_2.gradient + replicates);
  return result;
}

}  // namespace

TEST_CASE("doubly reparameterised: a posterior that sees earlier draws, with the encoder run twice") {
  Arena arena;
  constexpr Index draws = 4, replicates = 20000;
  std::array<Moments, 3> difference, plain, doubly, naive;
  for (std::uint64_t part = 0; part < 5; ++part) {
    const TwoLooks a = two_looks(arena, draws, replicates, Way::plain, 50 + part);
    const TwoLooks b = two_looks(arena, draws, replicates, Way::doubly, 50 + part);
    const TwoLooks c = two_looks(arena, draws, replicates, Way::naive, 50 + part);
    CHECK(a.bound == b.bound);
    const auto n = static_cast<std::size_t>(replicates);
    for (std::size_t r = 0; r < n; ++r) {
      const std::array<double, 3> from{a.d_phi[r], a.d_phi[n + r], a.d_psi[r]};
      const std::array<double, 3> to{b.d_phi[r], b.d_phi[n + r], b.d_psi[r]};
      const std::array<double, 3> wrong{c.d_phi[r], c.d_phi[n + r], c.d_psi[r]};
      for (std::size_t k = 0; k < 3; ++k) {
        plain[k].add(from[k]);
        doubly[k].add(to[k]);
        difference[k].add(to[k] - from[k]);
        naive[k].add(wrong[k] - from[k]);
      }
    }
  }
  for (std::size_t k = 0; k < 2; ++k) {
    INFO("phi ", k, ": plain ", plain[k].mean(), ", doubly ", doubly[k].mean(), ", variances ", plain[k].variance(), " and ",
         doubly[k].variance());
    CHECK(std::abs(difference[k].mean()) < 4 * difference[k].standard_error());
  }
  // What would do for draws that do not see each other is biased here.
  CHECK(std::abs(naive[1].mean()) > 8 * naive[1].standard_error());
  MESSAGE("z of phi: " << difference[0].mean() / difference[0].standard_error() << ", "
                       << difference[1].mean() / difference[1].standard_error() << "; with the posterior detached as a whole "
                       << naive[0].mean() / naive[0].standard_error() << ", " << naive[1].mean() / naive[1].standard_error()
                       << ", psi " << naive[2].mean() / naive[2].standard_error());
  // What others learn from too keeps the plain gradient.
  CHECK(std::abs(difference[2].mean()) < 1e-12);
}

TEST_CASE("frozen: a network passes gradients on and learns nothing") {
  ParameterLayout layout;
  const nn::Dense dense(layout, "dense", 3, 2);
  const Parameters<double> parameters(layout, 1);
  std::vector<double> gradient(static_cast<std::size_t>(layout.size()), 0.0);
  Arena arena;
  Tape<double> tape(arena, parameters.values(), View<double, 1>(gradient.data(), {layout.size()}));
  const auto x = tape.variable({2, 3});
  std::fill_n(x.value, 6, 0.5);
  nn::Frozen still(tape);
  const auto y = dense(still, x);
  const auto z = dense(tape, nn::detach(x));
  for (Index i = 0; i < y.size(); ++i) CHECK(y.value[i] == z.value[i]);
  tape.backward(nn::sum(tape, y));
  CHECK(x.gradient[0] != 0);
  CHECK(std::all_of(gradient.begin(), gradient.end(), [](double g) { return g == 0; }));
}
