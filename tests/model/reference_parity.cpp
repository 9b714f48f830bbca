// SPDX-License-Identifier: MIT
// Saccader::reference() and published() against the published network, written a second time (support/published_network.hpp);
// and what published() does with zoom.
#include "support/reference_parity.hpp"

#include "support/worst_gradient.hpp"
#include <fovea/bound/divergence.hpp>
#include <fovea/bound/product.hpp>
#include <fovea/core/gradient_check.hpp>
#include <fovea/glimpse/antialiased.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

using namespace fovea;
using fovea_test::Parity;
using fovea_test::parity;
using fovea_test::reference_parity;
using fovea_test::stirred_weights;
using model::Looking;
using model::ReferenceOptions;
using model::Saccader;

namespace {

/// Of published(): v stays around -3, away from 0, where the logarithm of a deviation of v has a pole. `zoom` is added to z_0.
template <class T>
Parameters<T> published_weights(const ParameterLayout& layout, std::uint64_t seed, double zoom = 0) {
  auto weights = stirred_weights<T>(layout, seed);
  const View<T, 1> w = weights.at("policy.dense2.w");
  for (Index i = 0; i < w.size(); ++i) {
    if (i % 6 >= 3) w[i] *= T(0.25);
  }
  const View<T, 1> b = weights.at("policy.dense2.b");
  b[0] += static_cast<T>(zoom);
  for (Index k = 3; k < 6; ++k) b[k] -= T(3);
  return weights;
}

/// So that agreement means something: the glimpses show something, each step looks elsewhere, the KL is not nothing.
void check_lively(const Parity& found) {
  for (const auto& steps : found.pictures) {
    for (std::size_t t = 0; t < steps.size(); ++t) {
      const auto [least, most] = std::minmax_element(steps[t].glimpse.pixels.begin(), steps[t].glimpse.pixels.end());
      CHECK(*most - *least > 0.2);
      if (t > 0) CHECK(std::abs(steps[t].region[1] - steps[t - 1].region[1]) > 1e-4);
      CHECK(steps[t].kl > 1);
    }
  }
}

ReferenceOptions tiny() {
  ReferenceOptions o;
  o.classes = 3;
  o.proxy = {10, 12};
  o.glimpse = {36, 40};  // of which more than one place is left where groups have two channels: of one it would be a step
  o.steps = 3;
  o.latent = 96;
  o.filters = 2;
  return o;
}

/// d logit / d bias of the policy's last layer, of the three numbers that are the mean of z, after one look: z_0 can do nothing
/// but zoom.
template <class Model>
std::array<double, 3> gradient_of_z(const Model& model, const Parameters<double>& weights) {
  const fovea_test::Pictures<float> picture(1, {80, 80}, 1, 1.0);
  Parameters<double> gradient(weights.layout());
  std::fill(gradient.values().data(), gradient.values().data() + gradient.values().size(), 0.0);
  Arena arena;
  Tape<double> tape(arena, weights.values(), gradient.values());
  Looking looking;
  looking.draw = true;
  looking.bound = false;
  looking.steps = 1;
  const auto path = model.forward(tape, fovea_test::proxies(tape, model.options(), picture), picture.sources(), looking);
  tape.backward(nn::sum(tape, nn::slice(tape, path.logits(), 0, 1)));
  const View<double, 1> b = gradient.at("policy.dense2.b");
  return {b[0], b[1], b[2]};
}

}  // namespace

TEST_CASE("reference parity: every number of the published network, in float, given where it looks") {
  CHECK(reference_parity<float>(true) <= 1e-5);
}

TEST_CASE("reference parity: every number of the published network, end to end") {
  CHECK(reference_parity<double>(false) <= 1e-11);
  // In float the pixels under a glimpse move with the rounding of z: 150 of them to a unit.
  const auto reference = Saccader::reference({}, glimpse::Bilinear{.align_corners = true});
  const auto weights = stirred_weights<float>(reference.layout(), 1);
  const Parity drawn = parity(reference, weights, {.draw = 1});
  INFO(drawn.where);
  CHECK(drawn.worst <= 3e-4);
  check_lively(drawn);
  // The comparison can tell.
  CHECK(parity(reference, weights, {.draw = 1, .to_the_letter = true}).worst > 0.1);
}

TEST_CASE("published parity: the published code to the letter") {
  const auto published = Saccader::published();
  CHECK(published.layout().count() == 6'997'716);
  CHECK(published.sampler().align_corners);
  SUBCASE("in float, given where it looks") {
    const auto weights = published_weights<float>(published.layout(), 6);  // of seeds 1 to 8: 2e-6 to 1.4e-5
    for (const std::optional<std::uint64_t> draw : {std::optional<std::uint64_t>{}, std::optional<std::uint64_t>{1}}) {
      const Parity found = parity(published, weights, {.draw = draw, .given_z = true});
      INFO(found.where);
      CHECK(found.worst <= 1e-5);
    }
  }
  SUBCASE("end to end") {
    const Parity found = parity(published, published_weights<double>(published.layout(), 1), {.draw = 1});
    INFO(found.where);
    CHECK(found.worst <= 1e-11);
    check_lively(found);
    for (const auto& step : found.pictures[0]) CHECK(step.region[0] == doctest::Approx(0.3));
  }
  SUBCASE("end to end, where z_0 is so large that the scale follows it") {
    const Parity found = parity(published, published_weights<double>(published.layout(), 1, -8), {.draw = 1});
    INFO(found.where);
    CHECK(found.worst <= 1e-11);
    for (const auto& step : found.pictures[0]) CHECK(step.region[0] < 0.25);
  }
}

TEST_CASE("published: zoom is never learned, and reference() learns it") {
  const auto reference = Saccader::reference(tiny(), glimpse::Bilinear{.align_corners = true});
  const auto published = Saccader::published(tiny());
  const auto of_reference = gradient_of_z(reference, stirred_weights<double>(reference.layout(), 1));
  const auto of_published = gradient_of_z(published, published_weights<double>(published.layout(), 1));
  for (std::size_t k = 0; k < 3; ++k) CHECK(std::abs(of_reference[k]) > 1e-6);
  CHECK(of_published[0] == 0);
  CHECK(std::abs(of_published[1]) > 1e-6);
  CHECK(std::abs(of_published[2]) > 1e-6);
  // Unless z_0 lies beyond 1 / p.
  CHECK(std::abs(gradient_of_z(published, published_weights<double>(published.layout(), 1, 8))[0]) > 1e-6);
}

TEST_CASE("published: the coordinates of z, and their derivatives") {
  const model::PublishedScale locations;
  for (const auto& [z0, s] : {std::pair{0.5, 0.3}, {-3.0, 0.3}, {4.0, 0.25}, {-8.0, 0.125}}) {
    GradientCheck check;
    check.input({2, 3}, {z0, 0.7, -0.4, z0, -2, 3});
    const GradientReport report =
        fovea_test::noted(check.run([&](auto& context, auto in) { return locations(context, in[0], 0.15); }));
    INFO(report.where);
    CHECK(report.worst <= 1e-6);
    Arena arena;
    Inference<double> context(arena);
    const auto z = context.constant(Shape{1, 3});
    std::copy_n(std::array{z0, 0.7, -0.4}.begin(), 3, z.value);
    const auto out = locations(context, z, 0.15);
    CHECK(out.value[0] == doctest::Approx(s));
    CHECK(out.value[1] == doctest::Approx(-0.7 * s));
    CHECK(out.value[2] == doctest::Approx(0.4 * s));
    const auto back = locations.inverse({out.value[0], out.value[1], out.value[2]}, 0.15);
    CHECK(1 / back[0] == doctest::Approx(s));
    CHECK(back[1] == doctest::Approx(0.7));
    CHECK(back[2] == doctest::Approx(-0.4));
  }
}

TEST_CASE("published: one number for two things, and its derivatives") {
  const model::PublishedGaussian location;
  Stream stream(3, 0, 0, Purpose::test);
  GradientCheck check;
  check.input({2, 3}, stream).input({2, 3}, {-2, -0.7, 0.4, 1.5, 3, -0.2}).input({2, 6}, stream);
  const GradientReport report = fovea_test::noted(check.run([&](auto& context, auto in) {
    using T = double;
    const auto q = location.posterior(context, model::PolicyOutput<T>{.mean = in[0], .log_deviation = in[1]}, {});
    const auto p = location.prior(context, in[2]);
    const auto z = draw(context, q, sample::NoiseKey{.seed = 5});
    return nn::add(context, kl_divergence(context, q, p), nn::add(context, log_density(context, p, z), entropy(context, q)));
  }));
  INFO(report.where);
  CHECK(report.worst <= 1e-6);
  CHECK(report.forward_gap <= 1e-12);

  // --use-prior-kl
  GradientCheck to_normal;
  to_normal.input({1, 3}, {0.3, -1, 2}).input({1, 3}, {0.5, -2, 1.5});
  const GradientReport of_normal = fovea_test::noted(to_normal.run([](auto& context, auto in) {
    return bound::kl_to_standard_normal(context, model::TwofoldGaussian<double>{in[0], in[1]});
  }));
  CHECK(of_normal.worst <= 1e-6);
  const auto of = [](double m, double v) { return 0.5 * (v * v + m * m - 1) - std::log(std::abs(v)); };
  Arena arena;
  Inference<double> context(arena);
  const auto constant = [&](std::array<double, 3> values) {
    const auto x = context.constant(Shape{1, 3});
    std::copy(values.begin(), values.end(), x.value);
    return x;
  };
  const model::TwofoldGaussian<double> twofold{constant({0.3, -1, 2}), constant({0.5, -2, 1.5})};
  CHECK(bound::kl_to_standard_normal(context, twofold).value[0] == doctest::Approx(of(0.3, 0.5) + of(-1, -2) + of(2, 1.5)));

  // A policy that says nothing of it draws at the deviation asked for.
  const double asked = std::log(0.02);
  const auto q = location.posterior(context, model::PolicyOutput<double>{.mean = constant({0.5, 0.5, 0.5})},
                                    constant({asked, asked, asked}));
  const sample::NoiseKey key{.seed = 2};
  const auto z = draw(context, q, key);
  const auto noise = sample::normal_noise(context, key, 1, 3);
  for (Index k = 0; k < 3; ++k) CHECK(z.value[k] == doctest::Approx(0.5 + 0.02 * noise.value[k]));
}

TEST_CASE("published: the gradient of its loss, end to end") {
  const ReferenceOptions o = tiny();
  Looking looking;
  looking.draw = true;
  looking.noise.seed = 4;
  const std::array<std::int32_t, 2> labels{0, 2};
  const model::BasicSaccaderLoss<bound::Product> weights{{1.0 / 3, 5.0 / 3}, 0, 0, 0, 0};
  // Bilinear reads have a kink at every pixel; anti-aliased ones have not.
  using Smooth = model::BasicSaccader<model::Resized<model::ResidualVector>, model::ResidualVector,
                                      model::DenseGaussianPolicy<false>, glimpse::Antialiased, model::PublishedParts>;
  const Smooth saccader(o.options());
  const fovea_test::Pictures<float> pictures(2, {33, 40}, o.channels, 1.0);
  GradientCheck gradients{published_weights<double>(saccader.layout(), 3)};
  gradients.most_elements = 12;
  gradients.step = 1e-3;
  const GradientReport report = fovea_test::noted(gradients.run([&](auto& context, auto) {
    const auto path = saccader.forward(context, fovea_test::proxies(context, o, pictures), pictures.sources(), looking);
    return saccader.loss(context, path, labels, weights);
  }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.checked > 700);
  CHECK(report.worst <= 1e-6);
  CHECK(report.forward_gap <= 1e-12);
}
