// SPDX-License-Identifier: MIT
// The published synthetic experiment and its simpler relatives: which digit, which two, or what sum, somewhere in 6.4 million
// pixels. The rules of the canvas are those of github.com/google-deepmind/mnist-cluttered.
//
// needs: CLI11 PNG json jpeg
// smoke-test: --help
// smoke-test: --smoke --output digits-smoke --work digits-smoke/work
#include "digits.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace {

using namespace experiments;
using fovea::data::DigitsLabel;

const std::vector<std::string> kModels = all_models();

Variant variant(DigitsOptions options, Recipe recipe) {
  options.spacing = 2 * recipe.saccader.scale * static_cast<double>(options.image) /
                    static_cast<double>(recipe.saccader.glimpse[0]) * std::exp(-recipe.saccader.policy.zoom);
  recipe.models = kModels;
  return {options.variant, [options](const TaskOptions& from) { return std::make_unique<Digits>(options, from); }, recipe};
}

Recipe one_digit() {
  Recipe r;
  r.saccader.glimpse = {32, 32};
  r.saccader.steps = 4;
  r.saccader.scale = 0.36;
  r.saccader.filters = 16;
  r.saccader.policy.mean_above = 1;
  r.saccader.policy.worth = 4;
  r.saccader.policy.inhibited = 0.3;
  r.saccader.policy.inhibition = 100;
  r.curriculum = [](fovea::train::Curriculum& c) { c.policy_begin = 2; };
  r.patch = 32;  // of the canvas
  r.patches = 4;
  r.images = 1'200'000;
  return r;
}

Recipe two_digits(Index glimpse, Index steps) {
  Recipe r = one_digit();
  r.aggregation = Aggregation::pair;
  r.saccader.glimpse = {glimpse, glimpse};
  r.saccader.steps = steps;
  r.saccader.scale = 0.3;
  r.saccader.state = 128;
  r.saccader.head_sees_state = true;
  r.curriculum = [](fovea::train::Curriculum& c) {
    c.policy_begin = 2;
    c.each_look = c.prefix = 0;  // each look answers its part only
  };
  return r;
}

/// Each look says a digit, and their sum is asked for.
Recipe sum_of_digits() {
  Recipe r = two_digits(32, 2);
  r.aggregation = Aggregation::count;
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  // A proxy of 33x33 is what a published one of 100x100 blurred by 3 says.
  const DigitsOptions pairs{.variant = "pairs", .question = "which two digits", .digits = 2, .proxy = 33};
  const DigitsOptions pairs_25{.variant = "pairs-25", .question = "which two digits", .digits = 2, .proxy = 25};
  const DigitsOptions sum{.variant = "sum",
                          .question = "the sum of two digits",
                          .digits = 2,
                          .distractors = 0,
                          .label = DigitsLabel::sum,
                          .proxy = 33};
  const DigitsOptions sum_25{.variant = "sum-25",
                             .question = "the sum of two digits",
                             .digits = 2,
                             .distractors = 0,
                             .label = DigitsLabel::sum,
                             .proxy = 25};
  return program(argc, argv,
                 {"digits",
                  "One or two handwritten digits on a canvas of 100x100 pixels, seen at 2528x2528.",
                  {variant({.variant = "one", .question = "which digit"}, one_digit()), variant(pairs, two_digits(64, 4)),
                   variant(pairs_25, two_digits(64, 4)), variant(sum, sum_of_digits()), variant(sum_25, sum_of_digits())}});
}
