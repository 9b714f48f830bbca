// SPDX-License-Identifier: MIT
// The published configuration: its size, its derivatives, and where it does better than the published code.
#include "support/smooth_pictures.hpp"
#include "support/worst_gradient.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/kernel/optimizer.hpp>
#include <fovea/model/saccader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

using namespace fovea;
using fovea_test::Pictures;
using fovea_test::proxies;
using model::Looking;
using model::ReferenceOptions;
using model::Saccader;

namespace {

ReferenceOptions tiny() {
  ReferenceOptions o;
  o.classes = 3;
  o.proxy = {10, 12};
  o.glimpse = {9, 8};
  o.steps = 3;
  o.latent = 96;  // three channels to a group: two at one place would be a step
  o.filters = 2;
  return o;
}

/// Parameters of which none is at a start of 0, where whole layers would have no gradient.
template <class T>
Parameters<T> stirred(const ParameterLayout& layout, std::uint64_t seed) {
  Parameters<T> weights(layout, seed);
  Stream stream(seed, 0, 1, Purpose::test);
  weights.visit([&](std::string_view, const Shape&, View<T, 1> elements) {
    for (Index i = 0; i < elements.size(); ++i) elements[i] += static_cast<T>(0.1 * stream.normal<double>());
  });
  return weights;
}

/// Elements of the parameters whose name starts so.
Index count(const ParameterLayout& layout, std::string_view prefix) {
  Index sum = 0;
  for (const auto& entry : layout.entries()) {
    if (entry.name.starts_with(prefix)) sum += entry.parameter.shape.size();
  }
  return sum;
}

}  // namespace

TEST_CASE("reference: the published sizes, to the last parameter") {
  const auto saccader = Saccader::reference();
  CHECK(saccader.layout().count() == 6'997'716);
  CHECK(count(saccader.layout(), "proxy_network.") == 1'185'728);
  CHECK(count(saccader.layout(), "glimpse_network.") == 1'185'728);
  CHECK(count(saccader.layout(), "decoder.") == 2'767'120);
  CHECK(count(saccader.layout(), "cell.") == 1'314'816);
  CHECK(saccader.options().steps == 4);
  CHECK(saccader.options().proxy == Extents<2>{100, 100});
  CHECK(saccader.options().glimpse == Extents<2>{64, 64});
  CHECK(!saccader.options().closed_loop);
  // The glimpse's features enter the lower of the two cells.
  CHECK(Saccader::reference({.closed_loop = true}).layout().count() == 6'997'716 + 256 * 4 * 256);
  CHECK(Saccader::reference({.decode_proxy = false}).layout().count() == 6'997'716 - 2'767'120);
}

TEST_CASE("reference: the gradient of the whole bound, end to end") {
  ReferenceOptions o = tiny();
  const model::SaccaderLoss weights{{1, 0.1, 0.5}, 0.7, 0};
  Looking looking;
  looking.draw = true;
  looking.noise.seed = 4;
  const auto check = [&](const auto& saccader) {
    const Pictures<float> pictures(2, {33, 40}, o.channels, 1.0);
    const std::array<std::int32_t, 2> labels{0, 2};
    GradientCheck gradients{stirred<double>(saccader.layout(), 3)};
    gradients.most_elements = 12;
    gradients.step = 1e-3;  // through this many layers a smaller one leaves the smallest derivatives six digits or less
    const GradientReport report = fovea_test::noted(gradients.run([&](auto& context, auto) {
      const auto path = saccader.forward(context, proxies(context, o, pictures), pictures.sources(), looking);
      return saccader.loss(context, path, labels, weights);
    }));
    INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
    CHECK(report.checked > 700);
    CHECK(report.worst <= 1e-6);
    CHECK(report.forward_gap <= 1e-12);
  };
  SUBCASE("open loop") { check(Saccader::reference(o)); }
  SUBCASE("closed loop") {
    o.closed_loop = true;
    check(Saccader::reference(o));
  }
  SUBCASE("two channels, no decoder, means instead of samples") {
    o.channels = 2;
    o.decode_proxy = false;
    looking.draw = false;
    check(Saccader::reference(o));
  }
}

TEST_CASE("reference: a batch answers as each of its images alone") {
  for (const bool closed : {false, true}) {
    ReferenceOptions o = tiny();
    o.closed_loop = closed;
    const auto saccader = Saccader::reference(o, glimpse::Bilinear{.align_corners = true});
    const auto weights = stirred<float>(saccader.layout(), 1);
    const Pictures<std::uint8_t> pictures(3, {50, 60}, 1, 255.0);
    Arena arena;
    Inference<float> context(arena, weights.values());
    const auto together = saccader.forward(context, proxies(context, o, pictures), pictures.sources());
    const auto probabilities = nn::softmax(context, together.logits());
    for (std::size_t b = 0; b < 3; ++b) {
      const auto alone = saccader.classify(pictures.pyramids[b], weights, arena);
      for (Index k = 0; k < o.classes; ++k) {
        CHECK(alone.probabilities[static_cast<std::size_t>(k)] ==
              doctest::Approx(probabilities.value[static_cast<Index>(b) * o.classes + k]).epsilon(1e-4));
      }
      REQUIRE(alone.regions.size() == 3);
      CHECK(alone.regions[2].x == doctest::Approx(together.steps[2].regions.value[3 * b + 1]).epsilon(1e-4));
    }
  }
}

TEST_CASE("reference: all steps at once are what step by step is") {
  // In open loop the glimpses go through their network together; the prefixes of a longer pass answer as shorter passes do.
  const ReferenceOptions o = tiny();
  const auto saccader = Saccader::reference(o);
  const auto weights = stirred<float>(saccader.layout(), 2);
  const Pictures<float> pictures(2, {40, 40}, 1, 1.0);
  Arena arena;
  Inference<float> context(arena, weights.values());
  const auto proxy = proxies(context, o, pictures);
  const auto whole = saccader.forward(context, proxy, pictures.sources());
  for (const Index steps : {1, 2, 3}) {
    Looking looking;
    looking.steps = steps;
    const auto part = saccader.forward(context, proxy, pictures.sources(), looking);
    const auto& same = whole.steps[static_cast<std::size_t>(steps - 1)];
    for (Index i = 0; i < 2 * o.classes; ++i) {
      CHECK(part.logits().value[i] == doctest::Approx(same.logits.value[i]).epsilon(1e-5));
    }
    for (Index b = 0; b < 2; ++b) {
      CHECK(part.steps.back().proxy_log_likelihood.value[b] ==
            doctest::Approx(same.proxy_log_likelihood.value[b]).epsilon(1e-5));
    }
  }
}

TEST_CASE("reference: zoom has a gradient wherever the published scale had none, and every z looks into the image") {
  const model::Squashed locations;
  for (const double z0 : {-3.0, -0.5, 0.0, 0.5, 3.0}) {
    Tensor<double, 1> z({3});
    z(0) = z0;
    z(1) = 2.5;
    z(2) = -8;
    Arena arena;
    Tensor<double, 1> gradient({3});
    Tape<double> tape(arena);
    const Var<double> in{z.data(), gradient.data(), Shape{1, 3}};
    const Var<double> out = locations(tape, in, 0.15);
    CHECK(out.value[0] > 0);
    CHECK(out.value[0] < 0.3);
    CHECK(std::abs(out.value[1]) < 1);
    CHECK(std::abs(out.value[2]) < 1);
    const auto back = model::Squashed::inverse({out.value[0], out.value[1], out.value[2]}, 0.15);
    for (std::size_t k = 0; k < 3; ++k) CHECK(back[k] == doctest::Approx(z(static_cast<Index>(k))).epsilon(1e-6));
    tape.backward(nn::sum(tape, nn::slice(tape, out, 0, 1)));
    const double s = out.value[0] / 0.3;
    CHECK(gradient(0) == doctest::Approx(0.3 * s * (1 - s)));
    CHECK(gradient(0) > 0.01);
  }
}

TEST_CASE("reference: without the terms of the bound an answer is the same") {
  const ReferenceOptions o = tiny();
  const auto saccader = Saccader::reference(o);
  const auto weights = stirred<float>(saccader.layout(), 1);
  const Pictures<float> pictures(2, {40, 40}, 1, 1.0);
  Arena arena;
  Inference<float> context(arena, weights.values());
  Looking looking;
  const auto with = saccader.forward(context, proxies(context, o, pictures), pictures.sources(), looking);
  looking.bound = false;
  const auto without = saccader.forward(context, proxies(context, o, pictures), pictures.sources(), looking);
  CHECK(with.steps[0].proxy_log_likelihood.value != nullptr);
  CHECK(without.steps[0].proxy_log_likelihood.value == nullptr);
  CHECK(without.steps[0].kl.value == nullptr);
  CHECK(std::memcmp(with.logits().value, without.logits().value, 6 * sizeof(float)) == 0);
}

TEST_CASE("reference: gazes that are not the policy's, and other sizes") {
  ReferenceOptions o = tiny();
  o.proxy = {7, 130};  // far from square: 3 x 64 for its network
  o.glimpse = {70, 100};
  const auto saccader = Saccader::reference(o);
  const auto weights = stirred<float>(saccader.layout(), 1);
  const Pictures<std::uint8_t> picture(1, {64, 90}, 1, 255.0);
  Arena arena;
  Looking looking;
  looking.gaze = model::Gaze::centre;
  for (const auto& region : saccader.classify(picture.pyramids[0], weights, arena, looking).regions) {
    CHECK(region.s == doctest::Approx(0.15));
    CHECK(region.x == 0);
    CHECK(region.y == 0);
  }
  looking.gaze = model::Gaze::uniform;
  const auto uniform = saccader.classify(picture.pyramids[0], weights, arena, looking);
  CHECK(!(uniform.regions[0] == uniform.regions[1]));
  for (const auto& region : uniform.regions) CHECK(std::abs(region.x) <= doctest::Approx(0.85));
}

TEST_CASE("reference: it learns a batch by heart") {
  ReferenceOptions o = tiny();
  o.latent = 32;
  o.filters = 4;
  const auto saccader = Saccader::reference(o);
  const Index size = Parameters<float>(saccader.layout(), 1).values().size();
  Tensor<float, 1> gradient({size});
  Tensor<float, 1> first({size});
  Tensor<float, 1> second({size});
  const Pictures<std::uint8_t> pictures(3, {60, 60}, 1, 255.0);
  const std::array<std::int32_t, 3> labels{0, 1, 2};
  Arena arena;
  // Now and then a start does not get there, and rounding decides which: two of five may fail.
  int learned = 0;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Parameters<float> weights(saccader.layout(), seed);
    for (auto* t : {&first, &second}) std::fill(t->begin(), t->end(), 0.0F);
    double loss = 0;
    double at_first = 0;
    for (std::uint64_t step = 1; step <= 120; ++step) {
      arena.reset();
      std::fill(gradient.begin(), gradient.end(), 0.0F);
      Tape<float> tape(arena, weights.values(), gradient.view());
      Looking looking;
      looking.draw = true;
      looking.noise.step = step;
      const auto path = saccader.forward(tape, proxies(tape, o, pictures), pictures.sources(), looking);
      const auto sum = saccader.loss(tape, path, labels, {{1, 0.01, 0.01}, 0, 0});
      tape.backward(sum);
      kernel::adam<float>(gradient.view(), static_cast<std::int64_t>(step), {.learning_rate = 2e-3}, weights.values(),
                          first.view(), second.view());
      loss = static_cast<double>(sum.item());
      if (step == 1) at_first = loss;
    }
    bool all = loss < 0.8 * at_first;
    for (std::size_t b = 0; b < 3; ++b) all = all && saccader.classify(pictures.pyramids[b], weights, arena).label == labels[b];
    learned += all ? 1 : 0;
  }
  CHECK(learned >= 3);
}

TEST_CASE("reference: what contradicts itself is refused with a sentence") {
  const auto refuses = [](auto change) {
    ReferenceOptions o = tiny();
    change(o);
    CHECK_THROWS_AS((void)Saccader::reference(o), Error);
  };
  refuses([](ReferenceOptions& o) { o.classes = 1; });
  refuses([](ReferenceOptions& o) { o.latent = 0; });
  refuses([](ReferenceOptions& o) { o.filters = 0; });
  refuses([](ReferenceOptions& o) { o.scale = 0; });
  refuses([](ReferenceOptions& o) { o.proxy = {0, 4}; });
}
