// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/smooth_pictures.hpp"
#include "support/worst_gradient.hpp"
#include "support/z_test.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/model/ram.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/trainer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::Pictures;
using model::BasicRam;
using model::Minibatch;
using model::Outcome;
using model::Ram;
using model::RamOptions;

static_assert(model::Learner<Ram, Tape<float>, Pyramid<std::uint8_t>>);
static_assert(model::Learner<Ram, Inference<double>, PyramidView<float>>);
static_assert(model::Classifier<Ram, Pyramid<std::uint8_t>>);

namespace {

template <int scales>
using Scales = BasicRam<glimpse::Retina<glimpse::Antialiased, scales>>;

RamOptions tiny() {
  RamOptions o;
  o.classes = 3;
  o.glimpse = 4;
  o.patch = 9;
  o.steps = 3;
  o.features = 5;
  o.state = 6;
  o.score_weight = 0.7;
  return o;
}

template <class T>
std::span<T> elements(Parameters<T>& weights, const char* name) {
  const View<T, 1> values = weights.at(name);
  return {values.data(), static_cast<std::size_t>(values.size())};
}

template <class T, class Source>
Minibatch<T, Source> minibatch_of(std::span<const Source> images, const model::Targets<T>& targets) {
  return {{}, images, targets};
}

/// The value of the loss, and its logits, of a pass in an Inference.
template <class Model, class Source>
Outcome<double> loss_of(const Model& ram, const Parameters<double>& weights, Arena& arena,
                        const Minibatch<double, Source>& minibatch, const model::Moment& moment) {
  arena.reset();
  Inference<double> context(arena, weights.values());
  return ram.loss(context, minibatch, moment);
}

Index wrong_answers(const Outcome<double>& outcome, std::span<const std::int32_t> labels) {
  Index wrong = 0;
  for (std::size_t b = 0; b < labels.size(); ++b) {
    const double* row = outcome.logits.value + static_cast<Index>(b) * outcome.logits.shape[1];
    wrong += std::max_element(row, row + outcome.logits.shape[1]) - row != labels[b];
  }
  return wrong;
}

}  // namespace

TEST_CASE("ram: the published sizes") {
  // Three 12x12 scales; 128 and 128 to 256; 256 recurrent; ten classes; and what learns to look.
  const Index seen = (3 * 144 + 1) * 128 + (2 + 1) * 128 + (256 + 1) * 256;
  const Index core = (256 + 256 + 1) * 256;
  const Index looking = (256 + 1) * 128 + (128 + 1) * 2 + (256 + 1);
  CHECK(Ram({}).layout().count() == seen + core + (256 + 1) * 10 + looking);
}

TEST_CASE("ram: gradient of the class loss, end to end, at given locations") {
  const Pictures<double> pictures(2, {33, 40}, 2, 1.0);
  RamOptions o = tiny();
  o.channels = 2;
  const Ram ram(o);
  const std::array<std::int32_t, 2> labels{0, 2};
  const std::array<double, 8> places{0.1, -0.3, 0.7, 0.2, -0.5, 0.15, 0.33, -1};
  GradientCheck check{Parameters<double>(ram.layout(), 3)};
  check.most_elements = 40;
  const auto report = fovea_test::noted(check.run([&](auto& context, auto) {
    auto state = ram.start(context, 2);
    for (Index t = 0; t < 2; ++t) {
      state = ram.look(context, pictures.sources(), context.constant(places.data() + 4 * t, Shape{2, 2}), state);
    }
    return nn::cross_entropy(context, ram.logits(context, state), labels);
  }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.checked > 200);
  CHECK(report.worst <= 1e-6);
  CHECK(report.forward_gap == 0);
}

TEST_CASE("ram: gradient of the location network's density and of the baseline, given a state") {
  const Ram ram(tiny());
  Parameters<double> weights(ram.layout(), 5);
  Stream stream(2, 0, 0, Purpose::test);
  for (double& w : elements(weights, "baseline.w")) w = stream.normal<double>();
  GradientCheck check{std::move(weights)};
  std::array<double, 12> state{};
  for (double& h : state) h = stream.uniform(0.0, 2.0);
  const std::array<double, 4> drawn{0.2, -0.1, 1.1, 0.4};
  const auto report = fovea_test::noted(check.run([&](auto& context, auto) {
    const auto h = context.constant(state.data(), Shape{2, 6});
    const auto q = ram.policy(context, h);
    const auto z = context.constant(drawn.data(), Shape{2, 2});
    return nn::add(context, sample::log_density(context, q, z), ram.expected_cost(context, h));
  }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.worst <= 1e-6);
}

TEST_CASE("ram: one step's whole loss has a derivative everywhere") {
  RamOptions o = tiny();
  o.steps = 1;
  const Ram ram(o);
  const Pictures<double> pictures(3, {40, 31}, 1, 1.0);
  const std::array<std::int32_t, 3> labels{0, 2, 1};
  GradientCheck check{Parameters<double>(ram.layout(), 4)};
  check.most_elements = 30;
  const auto report = fovea_test::noted(check.run([&](auto& context, auto) {
    return ram.loss(context, minibatch_of(pictures.sources(), model::Targets<double>(labels)), {0, {.seed = 9}}).loss_sum;
  }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.worst <= 1e-6);
}

TEST_CASE("ram: the loss is cross-entropy and wrong answers, each part learns from its own") {
  const RamOptions o = tiny();
  const Ram ram(o);
  Parameters<double> weights(ram.layout(), 6);
  // Locations that depend on no state: then what the class loss learns can be had by differences, the noise being the same.
  for (double& w : elements(weights, "location.mean.w")) w = 0;
  weights.at("location.mean.b")[0] = 0.3;
  weights.at("baseline.b")[0] = 0.4;
  const Pictures<double> pictures(5, {50, 44}, 1, 1.0);
  const std::array<std::int32_t, 5> labels{0, 2, 1, 1, 0};
  const auto minibatch = minibatch_of(pictures.sources(), model::Targets<double>(labels));
  const model::Moment moment{0, {.seed = 3}};

  Arena arena;
  std::vector<double> gradient(static_cast<std::size_t>(weights.values().size()), 0.0);
  Tape<double> tape(arena, weights.values(), View<double, 1>(gradient.data(), {weights.values().size()}));
  const Outcome<double> outcome = ram.loss(tape, minibatch, moment);
  const double loss = outcome.loss_sum.item();
  const Index wrong = wrong_answers(outcome, labels);
  const double entropy = nn::sum(tape, nn::cross_entropy(tape, nn::detach(outcome.logits), labels)).item();
  CHECK(wrong > 0);
  CHECK(wrong < 5);
  CHECK(loss == doctest::Approx(entropy + o.score_weight * static_cast<double>(wrong)).epsilon(1e-12));
  tape.backward(outcome.loss_sum);

  Arena other;
  double largest = 0;
  for (const std::string name : {"what.w", "what.b", "where.w", "glimpse.w", "core.w", "core.b", "head.w", "head.b"}) {
    const View<double, 1> values = weights.at(name);
    const auto offset = static_cast<std::size_t>(values.data() - weights.values().data());
    for (Index i = 0; i < values.size(); i += 1 + values.size() / 7) {
      const double start = values[i];
      const auto at = [&](double x) {
        values[i] = x;
        return loss_of(ram, weights, other, minibatch, moment).loss_sum.item();
      };
      const double h = 1e-5;
      const double numeric = (at(start + h) - at(start - h)) / (2 * h);
      values[i] = start;
      CAPTURE(name);
      CHECK(std::abs(gradient[offset + static_cast<std::size_t>(i)] - numeric) <= 1e-7);
      largest = std::max(largest, std::abs(numeric));
    }
  }
  CHECK(largest > 0.1);
  // The baseline: half the squared distance from the cost, at each of the two looks that were chosen.
  const auto bias = static_cast<std::size_t>(weights.at("baseline.b").data() - weights.values().data());
  CHECK(gradient[bias] == doctest::Approx(o.score_weight * 2 * (5 * 0.4 - static_cast<double>(wrong))).epsilon(1e-12));
}

TEST_CASE("ram: the score's part is the gradient of the expected cost, by z-test") {
  // Where the cost is the squared error it is smooth, and its derivative along the same draws is an unbiased estimate too: the
  // mean of their differences is 0, over three looks and with a baseline that is no good.
  RamOptions o = tiny();
  o.classes = 2;
  o.score_weight = 1;
  o.deviation = 0.2;
  o.question = {model::Task::numbers};
  const Scales<2> ram(o);
  Parameters<double> weights(ram.layout(), 11);
  Stream stream(5, 0, 0, Purpose::test);
  for (double& w : elements(weights, "location.mean.w")) w = 0.6 * stream.normal<double>();
  weights.at("location.mean.b")[1] = -1.0;  // near the edge, beyond which draws are looked at on it
  for (double& w : elements(weights, "baseline.w")) w = 0.3 * stream.normal<double>();
  for (double& w : elements(weights, "what.w")) w *= 3;

  const Pictures<double> picture(1, {40, 40}, 1, 1.0);
  constexpr Index kBatch = 64;
  const std::vector<PyramidView<double>> copies(kBatch, PyramidView<double>(picture.pyramids[0]));
  std::vector<double> numbers;
  for (Index b = 0; b < kBatch; ++b) numbers.insert(numbers.end(), {2.0, -1.0});
  const model::Targets<double> targets(Var<double>{numbers.data(), nullptr, Shape{kBatch, 2}});
  const auto minibatch = minibatch_of(std::span<const PyramidView<double>>(copies), targets);

  const std::array<std::pair<std::string, Index>, 6> checked{{{"location.mean.b", 0},
                                                              {"location.mean.b", 1},
                                                              {"location.mean.w", 0},
                                                              {"location.mean.w", 3},
                                                              {"location.hidden.b", 1},
                                                              {"location.hidden.w", 2}}};
  fovea_test::ZTest score(std::vector<double>(checked.size(), 0.0));
  fovea_test::ZTest difference(std::vector<double>(checked.size(), 0.0));
  Arena arena;
  std::vector<double> gradient(static_cast<std::size_t>(weights.values().size()));
  for (std::uint64_t n = 0; n < 400; ++n) {
    const model::Moment moment{0, {.seed = 21, .step = n}};
    arena.reset();
    std::fill(gradient.begin(), gradient.end(), 0.0);
    Tape<double> tape(arena, weights.values(), View<double, 1>(gradient.data(), {weights.values().size()}));
    tape.backward(ram.loss(tape, minibatch, moment).loss_sum);
    std::array<double, 6> by_score{};
    std::array<double, 6> apart{};
    for (std::size_t i = 0; i < checked.size(); ++i) {
      double& value = weights.at(checked[i].first)[checked[i].second];
      const double start = value;
      const auto at = [&](double x) {
        value = x;
        return loss_of(ram, weights, arena, minibatch, moment).loss_sum.item();
      };
      const double h = 1e-4;
      const double along = (at(start + h) - at(start - h)) / (2 * h);
      value = start;
      by_score[i] = gradient[static_cast<std::size_t>(&value - weights.values().data())];
      apart[i] = by_score[i] - along / 2;  // the value has the cost twice: as the loss, and as what the score is due
    }
    score.add(by_score.data());
    difference.add(apart.data());
  }
  CHECK(difference.worst() < 4);
  CHECK(score.worst() > 12);  // there is something to be wrong about
}

TEST_CASE("ram: a batch answers as each of its images alone, sizes differ, and no image need be square") {
  RamOptions o = tiny();
  o.steps = 4;
  const Ram ram(o);
  Parameters<float> weights(ram.layout(), 1);
  for (float& w : elements(weights, "location.mean.w")) w *= 20;
  const std::array<Extents<2>, 4> extents{{{50, 60}, {7, 300}, {1, 1}, {257, 129}}};
  std::vector<Pictures<std::uint8_t>> pictures;
  std::vector<PyramidView<std::uint8_t>> images;
  for (const Extents<2>& extent : extents) pictures.emplace_back(1, extent, 1, 255.0);
  for (const auto& picture : pictures) images.emplace_back(picture.pyramids[0]);
  Arena arena;
  for (const Index steps : {1, 4, 9}) {
    const auto together = ram.classify(std::span<const PyramidView<std::uint8_t>>(images), weights, arena, steps);
    REQUIRE(together.size() == images.size());
    for (std::size_t b = 0; b < images.size(); ++b) {
      const model::Prediction& answer = together[b];
      const model::Prediction alone = ram.classify(images[b], weights, arena, steps);
      CHECK(answer.steps() == steps);
      CHECK(alone.steps() == steps);
      REQUIRE(answer.after_steps.size() == static_cast<std::size_t>(3 * steps));
      float sum = 0;
      for (std::size_t k = 0; k < 3; ++k) {
        sum += answer.probabilities[k];
        CHECK(answer.probabilities[k] == doctest::Approx(alone.probabilities[k]).epsilon(1e-4));
        CHECK(answer.probabilities[k] == answer.after_steps[static_cast<std::size_t>(3 * (steps - 1)) + k]);
      }
      CHECK(sum == doctest::Approx(1).epsilon(1e-5));
      // The first look is at the centre, every one has the patch's pixels.
      CHECK(answer.regions[0].x == 0);
      CHECK(answer.regions[0].y == 0);
      const auto longer = static_cast<float>(std::max(extents[b][0], extents[b][1]));
      for (const auto& region : answer.regions) CHECK(region.s * longer == doctest::Approx(9));
      if (steps > 1) CHECK(answer.regions[1].x == doctest::Approx(alone.regions[1].x).epsilon(1e-4));
    }
  }
  // What is said after a step is what would have been said had it been the last.
  const auto all = ram.classify(images[0], weights, arena, 9);
  for (Index n = 1; n <= 9; ++n) {
    const auto stopped = ram.classify(images[0], weights, arena, n);
    for (std::size_t k = 0; k < 3; ++k) {
      CHECK(stopped.probabilities[k] == all.after_steps[static_cast<std::size_t>(3 * (n - 1)) + k]);
    }
  }
  // And forward() is the same pass.
  Inference<float> context(arena, weights.values());
  const auto probabilities =
      nn::softmax(context, ram.forward(context, std::span<const PyramidView<std::uint8_t>>(images).first(1), 9));
  for (Index k = 0; k < 3; ++k) CHECK(probabilities.value[k] == all.probabilities[static_cast<std::size_t>(k)]);
}

TEST_CASE("ram: a minibatch's loss is the sum of its shards'") {
  const Ram ram(tiny());
  const Parameters<double> weights(ram.layout(), 2);
  const Pictures<double> pictures(4, {30, 45}, 1, 1.0);
  const std::array<std::int32_t, 4> labels{2, 0, 1, 1};
  Arena arena;
  const auto loss = [&](std::size_t first, std::size_t count) {
    const auto minibatch = minibatch_of(pictures.sources().subspan(first, count),
                                        model::Targets<double>(std::span<const std::int32_t>(labels).subspan(first, count)));
    return loss_of(ram, weights, arena, minibatch, {0, {.seed = 7, .step = 3, .first_sample = first}}).loss_sum.item();
  };
  double singles = 0;
  for (std::size_t b = 0; b < 4; ++b) singles += loss(b, 1);
  CHECK(loss(0, 4) == doctest::Approx(singles).epsilon(1e-12));
  CHECK(loss(0, 2) + loss(2, 2) == doctest::Approx(singles).epsilon(1e-12));
  CHECK(std::abs(loss(0, 1) - loss_of(ram, weights, arena,
                                      minibatch_of(pictures.sources().first(1),
                                                   model::Targets<double>(std::span<const std::int32_t>(labels).first(1))),
                                      {0, {.seed = 8, .step = 3}})
                                  .loss_sum.item()) > 1e-6);  // other draws
}

TEST_CASE("ram: the other tasks") {
  RamOptions o = tiny();
  const Pictures<double> pictures(2, {30, 30}, 1, 1.0);
  std::array<double, 2> values{1, 0};
  const model::Targets<double> targets(Var<double>{values.data(), nullptr, Shape{2, 1}});
  for (const model::Task task : {model::Task::several_classes, model::Task::numbers}) {
    o.classes = 1;
    o.question = {task};
    const Ram ram(o);
    Parameters<double> weights(ram.layout(), 2);
    Arena arena;
    std::vector<double> gradient(static_cast<std::size_t>(weights.values().size()), 0.0);
    Tape<double> tape(arena, weights.values(), View<double, 1>(gradient.data(), {weights.values().size()}));
    const auto outcome = ram.loss(tape, minibatch_of(pictures.sources(), targets), {0, {.seed = 1}});
    const double question = nn::sum(tape, o.question.loss(tape, nn::detach(outcome.logits), targets)).item();
    CHECK(outcome.loss_sum.item() == doctest::Approx((1 + o.score_weight) * question).epsilon(1e-12));
    tape.backward(outcome.loss_sum);
    double norm = 0;
    for (const double g : gradient) norm += g * g;
    CHECK(std::isfinite(norm));
    CHECK(norm > 0);
  }
}

namespace {

/// A patch of 12x12 pixels with stripes across, stripes down, or a chequerboard, all equally bright, on a 48x48 image.
class Patterns {
 public:
  using Image = Pyramid<std::uint8_t>;

  explicit Patterns(Index count)
      : pixels_({count, 48, 48, 1}), images_(static_cast<std::size_t>(count)), labels_(static_cast<std::size_t>(count)) {}

  /// Image i shows pattern `sample` of the stream `seed`: `anywhere`, or always at the same place towards the upper left.
  void make(Index i, std::uint64_t sample, std::uint64_t seed, bool anywhere) {
    Stream stream(seed, 0, sample, Purpose::test);
    const auto label = static_cast<std::int32_t>(stream.below(3));
    const Index top = anywhere ? stream.below(37) : 6;
    const Index left = anywhere ? stream.below(37) : 6;
    const View<std::uint8_t, 3> pixels = pixels_.view()[i];
    std::fill_n(pixels.data(), pixels.size(), std::uint8_t{0});
    for (Index y = 0; y < 12; ++y) {
      for (Index x = 0; x < 12; ++x) {
        const bool across = y / 3 % 2 == 0;
        const bool down = x / 3 % 2 == 0;
        const bool bright = label == 0 ? across : label == 1 ? down : across == down;
        pixels(top + y, left + x, 0) = bright ? 255 : 0;
      }
    }
    images_[static_cast<std::size_t>(i)].assign(View<const std::uint8_t, 3>(pixels));
    labels_[static_cast<std::size_t>(i)] = label;
  }
  [[nodiscard]] std::span<const Image> images() const { return images_; }
  [[nodiscard]] std::span<const std::int32_t> labels() const { return labels_; }

 private:
  Tensor<std::uint8_t, 4> pixels_;  ///< the finest level of the images
  std::vector<Image> images_;
  std::vector<std::int32_t> labels_;
};

/// Weights after `steps` minibatches of 64.
template <class Model>
Parameters<float> trained(const Model& ram, Index steps, bool anywhere) {
  Parameters<float> weights(ram.layout(), 1);
  Workers workers(1);
  train::Trainer trainer(weights, train::Adam<float>(weights.values().size()), workers,
                         {.batch = 64, .shard = 32, .clip_norm = 2});
  Patterns patterns(32);
  for (Index step = 0; step < steps; ++step) {
    static_cast<void>(trainer.step(2e-3, [&](Tape<float>& tape, const train::ShardTask& task) {
      for (Index i = 0; i < task.count; ++i) {
        patterns.make(i, task.step * 64 + static_cast<std::uint64_t>(task.first + i), 1, anywhere);
      }
      const auto minibatch = minibatch_of(patterns.images(), model::Targets<float>(patterns.labels()));
      const model::Moment moment{0, {.seed = 1, .step = task.step, .first_sample = static_cast<std::uint64_t>(task.first)}};
      return train::ShardLoss<float>{ram.loss(tape, minibatch, moment).loss_sum, 0};
    }));
  }
  return weights;
}

struct Tested {
  double accuracy = 0;
  double distance = 0;  ///< of the last look from the place of the patterns that are always at the same one
};
template <class Model>
Tested tested(const Model& ram, const Parameters<float>& weights, bool anywhere, Index steps) {
  constexpr Index kCount = 400;
  Patterns patterns(kCount);
  for (Index i = 0; i < kCount; ++i) patterns.make(i, static_cast<std::uint64_t>(i), 77, anywhere);
  Arena arena;
  Tested result;
  const auto answers = ram.classify(patterns.images(), weights, arena, steps);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    result.accuracy += (answers[i].label == patterns.labels()[i] ? 1.0 : 0.0) / kCount;
    const auto& last = answers[i].regions.back();
    result.distance += static_cast<double>(std::hypot(last.x + 0.5F, last.y + 0.5F)) / kCount;
  }
  return result;
}

}  // namespace

TEST_CASE("ram: learns where to look from right answers alone") {
  // One scale of 12 pixels: from the centre nothing of the pattern is to be seen.
  RamOptions o{.classes = 3, .glimpse = 12, .steps = 2, .features = 64, .state = 96};
  const Scales<1> ram(o);
  const Tested before = tested(ram, Parameters<float>(ram.layout(), 1), false, 2);
  const Parameters<float> weights = trained(ram, 400, false);
  const Tested after = tested(ram, weights, false, 2);
  MESSAGE("accuracy ", after.accuracy, ", distance of the look ", before.distance, " before, ", after.distance, " after");
  CHECK(before.distance > 0.6);
  CHECK(after.distance < 0.3);
  CHECK(after.accuracy > 0.97);
  CHECK(tested(ram, weights, false, 1).accuracy < 0.5);
}

TEST_CASE("ram: learns which of three patterns lies somewhere in the image") {
  const Ram ram({.classes = 3, .glimpse = 8, .steps = 4, .features = 64, .state = 96});
  const Parameters<float> weights = trained(ram, 1200, true);
  const double four = tested(ram, weights, true, 4).accuracy;
  const double one = tested(ram, weights, true, 1).accuracy;
  MESSAGE("accuracy after four looks ", four, ", after one ", one, ", after six ", tested(ram, weights, true, 6).accuracy);
  CHECK(four > 0.78);
  CHECK(four > one + 0.02);
}

TEST_CASE("ram: what contradicts itself is refused with a sentence") {
  const auto refused = [](auto change) {
    RamOptions o = tiny();
    change(o);
    return message_of([&] { static_cast<void>(Ram(o)); });
  };
  CHECK(refused([](RamOptions& o) { o.classes = 1; }) == "ram: at least 2 classes and 1 channel expected, 1 and 1 came");
  CHECK(refused([](RamOptions& o) { o.channels = 0; }) == "ram: at least 2 classes and 1 channel expected, 3 and 0 came");
  CHECK(refused([](RamOptions& o) { o.glimpse = 0; }) ==
        "ram: a glimpse of at least 1 sample and a patch of 0 or more pixels expected, 0 and 9 came");
  CHECK(refused([](RamOptions& o) { o.steps = 65; }) == "ram: 1 to 64 steps expected, 65 came");
  CHECK(refused([](RamOptions& o) { o.state = 0; }) ==
        "ram: at least 1 feature and a state of length 1 expected, 5 and 0 came");
  CHECK(refused([](RamOptions& o) { o.deviation = 0; }) == "ram: a positive deviation expected, 0.000000 came");
  CHECK(refused([](RamOptions& o) { o.score_weight = -1; }) == "ram: a score_weight of at least 0 expected, -1.000000 came");
  CHECK(refused([](RamOptions& o) { o.question.class_weights = {1}; }) == "question: 3 class weights expected, 1 came");

  const Ram ram(tiny());
  const Parameters<float> weights(ram.layout(), 1);
  const Pictures<std::uint8_t> colour(1, {20, 20}, 3, 255.0);
  const Pictures<std::uint8_t> grey(2, {20, 20}, 1, 255.0);
  Arena arena;
  const auto classify = [&](auto images, Index steps) {
    return message_of([&] { static_cast<void>(ram.classify(images, weights, arena, steps)); });
  };
  CHECK(classify(colour.sources(), 0) == "ram: 1 channels expected, the image has 3");
  CHECK(classify(grey.sources().first(0), 0) == "ram: at least 1 image expected");
  CHECK(classify(grey.sources(), 65) == "ram: 1 to 64 steps expected, 65 came");
  CHECK(classify(grey.sources(), -1) == "ram: 1 to 64 steps expected, -1 came");
  Inference<float> context(arena, weights.values());
  const auto loss = [&](const model::Targets<float>& targets) {
    return message_of([&] { static_cast<void>(ram.loss(context, minibatch_of(grey.sources(), targets), {})); });
  };
  const std::array<std::int32_t, 3> labels{0, 1, 2};
  CHECK(loss(model::Targets<float>(labels)) == "cross_entropy: 2 labels expected, 3 came");
  CHECK(message_of([&] {
          static_cast<void>(ram.look(context, grey.sources(), context.constant(Shape{1, 2}), ram.start(context, 2)));
        }) == "ram: a location for each of 2 images expected, a shape " + Shape{1, 2}.to_string() + " came");
}
