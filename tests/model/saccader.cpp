// SPDX-License-Identifier: MIT
#include "support/smooth_pictures.hpp"
#include "support/worst_gradient.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/model/saccader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

using namespace fovea;
using fovea_test::Pictures;
using fovea_test::proxies;
using model::BasicSaccader;
using model::Gaze;
using model::Looking;
using model::Saccader;
using model::SaccaderOptions;

namespace {

SaccaderOptions tiny() {
  SaccaderOptions o;
  o.classes = 3;
  o.proxy = {6, 8};
  o.glimpse = {8, 9};
  o.steps = 2;
  o.state = 5;
  o.location_features = 4;
  o.scale = 0.5;
  return o;
}

/// The derivative of the whole training loss, through glimpses, policy, sample, KL, decoder and cell, in every parameter.
template <class Model>
GradientReport check_model(const SaccaderOptions& o, const Looking& looking, const model::SaccaderLoss& weights) {
  const Model saccader(o);
  const Pictures<float> pictures(2, {33, 40}, o.channels, 1.0);
  const std::array<std::int32_t, 2> labels{0, 2};
  GradientCheck check{Parameters<double>(saccader.layout(), 3)};
  check.most_elements = 25;
  check.step = 1e-3;  // the loss is some tens, its rounding would drown the smallest of its derivatives at less
  return fovea_test::noted(check.run([&](auto& context, auto) {
    const auto path = saccader.forward(context, proxies(context, o, pictures), pictures.sources(), looking);
    return saccader.loss(context, path, labels, weights);
  }));
}

}  // namespace

TEST_CASE("saccader: the gradient of the whole bound, end to end") {
  const model::SaccaderLoss weights{{1, 0.1, 0.5}, 0.7, 0.5};
  Looking looking;
  looking.draw = true;
  looking.noise.seed = 4;
  looking.deviation = 0.1;
  SaccaderOptions o = tiny();
  const auto small = [](const GradientReport& report) {
    INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
    CHECK(report.checked > 200);
    CHECK(report.worst <= 1e-6);
    CHECK(report.forward_gap <= 1e-12);
  };
  SUBCASE("closed loop") { small(check_model<Saccader>(o, looking, weights)); }
  SUBCASE("open loop, head sees the state, no decoder, two channels") {
    o.closed_loop = false;
    o.head_sees_state = true;
    o.decode_proxy = false;
    o.channels = 2;
    small(check_model<Saccader>(o, looking, weights));
  }
  SUBCASE("a dense policy") {
    small(check_model<BasicSaccader<model::ConvMap, model::ConvVector, model::DensePolicy>>(o, looking, weights));
  }
  SUBCASE("means instead of samples, three steps") {
    looking.draw = false;
    o.steps = 3;
    small(check_model<Saccader>(o, looking, weights));
  }
}

TEST_CASE("saccader: a batch answers as each of its images alone") {
  const SaccaderOptions o = tiny();
  const Saccader saccader(o);
  const Parameters<float> weights(saccader.layout(), 1);
  const Pictures<std::uint8_t> pictures(3, {50, 60}, 1, 255.0);
  Arena arena;
  Inference<float> context(arena, weights.values());
  const auto together = saccader.forward(context, proxies(context, o, pictures), pictures.sources());
  for (std::size_t b = 0; b < 3; ++b) {
    const auto alone = saccader.classify(pictures.pyramids[b], weights, arena);
    const auto softmax = nn::softmax(context, together.logits());
    for (Index k = 0; k < o.classes; ++k) {
      CHECK(alone.probabilities[static_cast<std::size_t>(k)] ==
            doctest::Approx(softmax.value[static_cast<Index>(b) * o.classes + k]).epsilon(1e-4));
    }
    CHECK(alone.regions.size() == 2);
    CHECK(alone.regions[1].x == doctest::Approx(together.steps[1].regions.value[3 * b + 1]).epsilon(1e-4));
  }
}

TEST_CASE("saccader: one step, more steps than trained, mixed image sizes") {
  SaccaderOptions o = tiny();
  o.steps = 1;
  const Saccader saccader(o);
  const Parameters<float> weights(saccader.layout(), 1);
  Arena arena;
  for (const Extents<2> extent : {Extents<2>{1, 1}, Extents<2>{5, 300}, Extents<2>{257, 129}}) {
    const Pictures<std::uint8_t> picture(1, extent, 1, 255.0);
    for (const Index steps : {1, 7}) {
      Looking looking;
      looking.steps = steps;
      const auto answer = saccader.classify(picture.pyramids[0], weights, arena, looking);
      CHECK(static_cast<Index>(answer.regions.size()) == steps);
      float sum = 0;
      for (const float p : answer.probabilities) sum += p;
      CHECK(sum == doctest::Approx(1).epsilon(1e-5));
    }
  }
}

TEST_CASE("saccader: in open loop the next look does not depend on what was seen, in closed loop it does") {
  SaccaderOptions o = tiny();
  const Pictures<float> pictures(1, {40, 40}, 1, 1.0);
  const Pictures<float> dark(1, {40, 40}, 1, 0.0);
  for (const bool closed : {false, true}) {
    o.closed_loop = closed;
    const Saccader saccader(o);
    Parameters<float> weights(saccader.layout(), 1);
    // The offsets start at zero: let the state speak.
    weights.at("policy.state_offset.w")[0] = 0.5F;
    for (Index i = 0; i < 30; ++i) weights.at("policy.state_offset.w")[i] = 0.3F;
    Arena arena;
    Inference<float> context(arena, weights.values());
    const auto same_proxy = proxies(context, o, pictures);
    const auto a = saccader.forward(context, same_proxy, pictures.sources());
    const auto b = saccader.forward(context, same_proxy, dark.sources());
    CHECK(std::memcmp(a.steps[0].regions.value, b.steps[0].regions.value, 3 * sizeof(float)) == 0);
    CHECK((std::memcmp(a.steps[1].regions.value, b.steps[1].regions.value, 3 * sizeof(float)) != 0) == closed);
  }
}

TEST_CASE("saccader: gazes that are not the policy's") {
  const SaccaderOptions o = tiny();
  const Saccader saccader(o);
  const Parameters<float> weights(saccader.layout(), 1);
  const Pictures<std::uint8_t> picture(1, {64, 64}, 1, 255.0);
  Arena arena;
  Looking ahead;
  ahead.gaze = Gaze::centre;
  const auto centre = saccader.classify(picture.pyramids[0], weights, arena, ahead);
  for (const auto& region : centre.regions) {
    CHECK(region.x == 0);
    CHECK(region.y == 0);
    CHECK(region.s == doctest::Approx(0.5));
  }
  const auto uniform = [&](std::uint64_t seed) {
    Looking looking;
    looking.gaze = Gaze::uniform;
    looking.noise.seed = seed;
    looking.steps = 40;
    return saccader.classify(picture.pyramids[0], weights, arena, looking);
  };
  const auto a = uniform(1);
  const auto again = uniform(1);
  const auto other = uniform(2);
  double spread = 0;
  for (std::size_t t = 0; t < 40; ++t) {
    CHECK(a.regions[t] == again.regions[t]);
    CHECK(!(a.regions[t] == other.regions[t]));
    CHECK(std::abs(a.regions[t].x) <= 0.5F);  // the region stays inside the image
    CHECK(std::abs(a.regions[t].y) <= 0.5F);
    spread += std::abs(static_cast<double>(a.regions[t].x)) / 40;
  }
  CHECK(spread == doctest::Approx(0.25).epsilon(0.4));  // the mean of |x| for x uniform in [-1/2, 1/2]
}

TEST_CASE("saccader: what contradicts itself is refused with a sentence") {
  const auto refuses = [](auto change) {
    SaccaderOptions o = tiny();
    change(o);
    CHECK_THROWS_AS(Saccader{o}, Error);
  };
  refuses([](SaccaderOptions& o) { o.classes = 1; });
  refuses([](SaccaderOptions& o) { o.channels = 0; });
  refuses([](SaccaderOptions& o) { o.proxy = {0, 4}; });
  refuses([](SaccaderOptions& o) { o.glimpse = {4, -1}; });
  refuses([](SaccaderOptions& o) { o.steps = 0; });
  refuses([](SaccaderOptions& o) { o.steps = 65; });
  refuses([](SaccaderOptions& o) { o.state = 0; });
  refuses([](SaccaderOptions& o) { o.scale = 0; });
  refuses([](SaccaderOptions& o) { o.scale = 1.5; });
  refuses([](SaccaderOptions& o) { o.deviation = -0.1; });
  refuses([](SaccaderOptions& o) { o.initial_noise = -1; });
  refuses([](SaccaderOptions& o) { o.question.class_weights = {1, 1}; });

  const Saccader saccader(tiny());
  const Parameters<float> weights(saccader.layout(), 1);
  Arena arena;
  const Pictures<std::uint8_t> rgb(1, {20, 20}, 3, 255.0);
  try {
    (void)saccader.classify(rgb.pyramids[0], weights, arena);
    FAIL("an Error was expected");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("the image has 3") != std::string::npos);
  }
}

TEST_CASE("saccader: more parameters behind a layer do not change how it starts") {
  // The first layers draw from streams of their own.
  SaccaderOptions o = tiny();
  const Saccader with(o);
  o.decode_proxy = false;
  const Saccader without(o);
  Parameters<float> a(with.layout(), 5);
  Parameters<float> b(without.layout(), 5);
  CHECK(with.layout().count() > without.layout().count());
  CHECK(a.at("proxy_network.conv1.w")[7] == b.at("proxy_network.conv1.w")[7]);
}
