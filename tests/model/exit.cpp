// SPDX-License-Identifier: MIT
// A saccader that stops when it is certain enough: the answer is that of the looks it took.
#include "support/message_of.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/model/saccader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::Pictures;
using model::EarlyExit;
using model::ExitRule;
using model::Looking;
using model::Prediction;
using model::Saccader;
using model::SaccaderOptions;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Index kSteps = 5;
constexpr std::array<ExitRule, 4> kRules{ExitRule::confidence, ExitRule::margin, ExitRule::entropy, ExitRule::uncertainty};

SaccaderOptions options(bool closed, bool small) {
  SaccaderOptions o;
  o.classes = 4;
  o.proxy = {10, 12};
  o.glimpse = {8, 8};
  o.steps = kSteps;
  o.state = 6;
  o.location_features = 4;
  o.scale = small ? 0.2 : 0.5;
  o.closed_loop = closed;
  return o;
}

/// A model whose answers and looks change from step to step, and four pictures.
struct Asked {
  Saccader saccader;
  Parameters<float> weights;
  Pictures<std::uint8_t> pictures{4, {50, 60}, 1, 255.0};
  Arena arena;

  Asked(bool closed, bool small) : saccader(options(closed, small)), weights(saccader.layout(), 3) {
    Stream stream(3, 0, 1, Purpose::test);
    for (Index i = 0; i < weights.values().size(); ++i) weights.values()[i] += 0.15F * stream.normal<float>();
  }
  std::span<const Prediction> answers(const EarlyExit& exit = {}) {
    Looking looking;
    looking.exit = exit;
    return saccader.classify(pictures.sources(), weights, arena, looking);
  }
};

void check_prefix(const Prediction& part, const Prediction& whole, Index steps) {
  REQUIRE(part.steps() == steps);
  const auto taken = static_cast<std::size_t>(steps);
  REQUIRE(part.probabilities.size() == 4);
  REQUIRE(part.after_steps.size() == 4 * taken);
  REQUIRE(part.uncertainty.size() == taken);
  for (std::size_t i = 0; i < 4 * taken; ++i) {
    CHECK(part.after_steps[i] == doctest::Approx(whole.after_steps[i]).epsilon(1e-4));
  }
  for (std::size_t k = 0; k < 4; ++k) CHECK(part.probabilities[k] == part.after_steps[4 * (taken - 1) + k]);
  CHECK(part.label == std::max_element(part.probabilities.begin(), part.probabilities.end()) - part.probabilities.begin());
  for (std::size_t t = 0; t < taken; ++t) {
    CHECK(part.regions[t].s == doctest::Approx(whole.regions[t].s).epsilon(1e-4));
    CHECK(part.regions[t].x == doctest::Approx(whole.regions[t].x).epsilon(1e-3));
    CHECK(part.regions[t].y == doctest::Approx(whole.regions[t].y).epsilon(1e-3));
    CHECK(part.uncertainty[t] == doctest::Approx(whole.uncertainty[t]).epsilon(1e-4));
  }
}

/// How certain the answer is after `steps`.
double certain(ExitRule rule, const Prediction& whole, Index steps) {
  const auto t = static_cast<std::size_t>(steps - 1);
  return model::certainty(rule, whole.after_steps.subspan(4 * t, 4), static_cast<double>(whole.uncertainty[t]));
}

}  // namespace

TEST_CASE("exit: the lowest threshold takes the fewest looks, the highest all, in every loop and by every rule") {
  for (const bool closed : {false, true}) {
    for (const bool small : {false, true}) {
      Asked asked(closed, small);
      const auto whole = asked.answers();
      for (const ExitRule rule : kRules) {
        CAPTURE(closed);
        CAPTURE(small);
        CAPTURE(static_cast<int>(rule));
        for (const Index least : {1, 3, 5, 9}) {
          const auto soon = asked.answers({rule, -kInfinity, 1, least});
          for (std::size_t b = 0; b < 4; ++b) check_prefix(soon[b], whole[b], std::min(least, kSteps));
        }
        const auto late = asked.answers({rule, kInfinity});
        for (std::size_t b = 0; b < 4; ++b) check_prefix(late[b], whole[b], kSteps);
      }
    }
  }
}

TEST_CASE("exit: each image stops where its own certainty reaches the threshold, and a batch as each alone") {
  for (const bool closed : {false, true}) {
    Asked asked(closed, true);
    const auto whole = asked.answers();
    for (const ExitRule rule : kRules) {
      CAPTURE(closed);
      CAPTURE(static_cast<int>(rule));
      // Between the certainties there are, so that rounding decides nothing.
      std::vector<double> all;
      for (std::size_t b = 0; b < 4; ++b) {
        for (Index t = 1; t <= kSteps; ++t) all.push_back(certain(rule, whole[b], t));
      }
      std::sort(all.begin(), all.end());
      std::vector<bool> seen(kSteps + 1);
      for (std::size_t i = 3; i < all.size(); i += 2) {
        if (all[i] - all[i - 1] < 1e-4) continue;
        const EarlyExit exit{rule, (all[i] + all[i - 1]) / 2};
        const auto together = asked.answers(exit);
        for (std::size_t b = 0; b < 4; ++b) {
          Index wanted = 1;
          while (wanted < kSteps && certain(rule, whole[b], wanted) < exit.threshold) ++wanted;
          check_prefix(together[b], whole[b], wanted);
          seen[static_cast<std::size_t>(wanted)] = true;
          Looking looking;
          looking.exit = exit;
          const auto alone = asked.saccader.classify(asked.pictures.pyramids[b], asked.weights, asked.arena, looking);
          CHECK(alone.steps() == together[b].steps());
          for (std::size_t k = 0; k < 4; ++k) CHECK(alone.probabilities[k] == together[b].probabilities[k]);
        }
      }
      CHECK(std::count(seen.begin(), seen.end(), true) >= 2);  // not always the same number
    }
  }
}

TEST_CASE("exit: softer answers look longer") {
  Asked asked(true, false);
  const auto whole = asked.answers();
  std::vector<double> after_first;
  for (std::size_t b = 0; b < 4; ++b) after_first.push_back(certain(ExitRule::confidence, whole[b], 1));
  EarlyExit exit{ExitRule::confidence, *std::min_element(after_first.begin(), after_first.end()) - 1e-4};
  Index sharp = 0;
  Index soft = 0;
  for (const Prediction& p : asked.answers(exit)) sharp += p.steps();
  exit.temperature = 50;  // nearly uniform
  for (const Prediction& p : asked.answers(exit)) soft += p.steps();
  CHECK(sharp == 4);
  CHECK(soft > sharp);
}

TEST_CASE("exit: gazes that are nobody's, the reference, and what has no posterior") {
  Asked asked(true, false);
  Looking looking;
  looking.gaze = model::Gaze::grid;
  looking.exit = {ExitRule::entropy, -kInfinity, 1, 2};
  const auto answer = asked.saccader.classify(asked.pictures.pyramids[0], asked.weights, asked.arena, looking);
  CHECK(answer.steps() == 2);
  CHECK(answer.uncertainty.empty());
  looking.exit.rule = ExitRule::uncertainty;
  CHECK(message_of([&] { (void)asked.saccader.classify(asked.pictures.pyramids[0], asked.weights, asked.arena, looking); }) ==
        "early exit: the entropy of a posterior expected, a number that is none came");

  const auto reference = Saccader::reference({.classes = 3, .proxy = {10, 12}, .glimpse = {9, 8}, .latent = 12, .filters = 2});
  const Parameters<float> weights(reference.layout(), 1);
  const auto all = reference.classify(asked.pictures.pyramids[1], weights, asked.arena);
  CHECK(all.steps() == 4);
  looking = {};
  looking.exit = {ExitRule::uncertainty, -kInfinity};
  const auto one = reference.classify(asked.pictures.pyramids[1], weights, asked.arena, looking);
  CHECK(one.steps() == 1);
  CHECK(one.uncertainty[0] == doctest::Approx(all.uncertainty[0]).epsilon(1e-5));
  // Three numbers of deviation 0.1.
  CHECK(all.uncertainty[0] == doctest::Approx(3 * (0.5 * std::log(2 * 3.141592653589793 * 2.718281828459045) + std::log(0.1))));
  for (std::size_t k = 0; k < 3; ++k) CHECK(one.probabilities[k] == doctest::Approx(all.after_steps[k]).epsilon(1e-4));
}

TEST_CASE("exit: what makes no sense is refused with a sentence") {
  Asked asked(true, false);
  const auto say = [&](const EarlyExit& exit) { return message_of([&] { (void)asked.answers(exit); }); };
  CHECK(say({ExitRule::confidence, std::nan("")}) == "early exit: a threshold expected, a number that is none came");
  CHECK(say({ExitRule::confidence, 0.5, 0}).starts_with("early exit: a temperature above 0 expected"));
  CHECK(say({ExitRule::margin, 0.5, 1, 0}) == "early exit: at least 1 step expected, 0 came");
  CHECK(say({}).empty());
  // A pass over several images stops for none of them.
  Inference<float> context(asked.arena, asked.weights.values());
  Looking looking;
  looking.exit = {ExitRule::confidence, 0.5};
  CHECK(message_of([&] {
          (void)asked.saccader.forward(context, fovea_test::proxies(context, asked.saccader.options(), asked.pictures),
                                       asked.pictures.sources(), looking);
        }) == "saccader: one image expected where a pass may stop early, 4 came");
  // Probabilities of several classes have no sum of 1.
  SaccaderOptions o = options(true, false);
  o.question.task = model::Task::several_classes;
  const Saccader several(o);
  const Parameters<float> weights(several.layout(), 1);
  CHECK(message_of([&] {
          (void)several.classify(asked.pictures.pyramids[0], weights, asked.arena, looking);
        }).starts_with("early exit: probabilities of sum 1 expected"));
  looking.exit.rule = ExitRule::uncertainty;
  looking.exit.threshold = -kInfinity;
  CHECK(several.classify(asked.pictures.pyramids[0], weights, asked.arena, looking).steps() == 1);
}
