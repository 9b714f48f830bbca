// SPDX-License-Identifier: MIT
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/curriculum.hpp>
#include <fovea/train/trainer.hpp>
#include <fovea/train/weight_average.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

using namespace fovea;
using train::ShardLoss;
using train::ShardTask;

namespace {

/// Least squares: y = w x with x drawn by sample, target 3 x_0 - x_1.
struct Regression {
  ParameterLayout layout;
  nn::Dense dense;
  Regression() : dense(layout, "dense", 2, 1) {}

  ShardLoss<float> loss(Tape<float>& tape, const ShardTask& task) const {
    const auto x = tape.constant(Shape{task.count, 2});
    const auto y = tape.constant(Shape{task.count, 1});
    for (Index i = 0; i < task.count; ++i) {
      Stream stream(1, task.step, static_cast<std::uint64_t>(task.first + i), Purpose::test);
      x.value[2 * i] = stream.normal<float>();
      x.value[2 * i + 1] = stream.normal<float>();
      y.value[i] = 3 * x.value[2 * i] - x.value[2 * i + 1];
    }
    const auto error = nn::subtract(tape, dense(tape, x), y);
    return {nn::sum(tape, nn::multiply(tape, error, error)), task.count};
  }
};

std::vector<float> train_regression(int threads, int steps, const train::TrainerOptions& options = {.batch = 20, .shard = 3}) {
  const Regression model;
  Parameters<float> weights(model.layout, 7);
  Workers workers(threads);
  train::Trainer<float, train::Adam<float>> trainer(weights, train::Adam<float>(weights.values().size()), workers, options);
  for (int i = 0; i < steps; ++i) {
    const auto report = trainer.step(0.05, [&](Tape<float>& tape, const ShardTask& task) { return model.loss(tape, task); });
    CHECK(report.accuracy == doctest::Approx(1));
  }
  return {weights.values().data(), weights.values().data() + weights.values().size()};
}

}  // namespace

TEST_CASE("trainer: finds the weights of a regression") {
  const auto weights = train_regression(2, 400);
  CHECK(weights[0] == doctest::Approx(3).epsilon(1e-2));
  CHECK(weights[1] == doctest::Approx(-1).epsilon(1e-2));
}

TEST_CASE("trainer: the same bits on 1, 2, 3 and 8 threads") {
  const auto one = train_regression(1, 50);
  for (const int threads : {2, 3, 8}) {
    const auto many = train_regression(threads, 50);
    CHECK(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("trainer: the gradient is the mean over the minibatch, clipped by its norm") {
  const Regression model;
  Parameters<float> weights(model.layout, 7);
  Workers workers(1);
  const auto loss = [&](Tape<float>& tape, const ShardTask& task) { return model.loss(tape, task); };
  train::Trainer<float, train::Adam<float>> whole(weights, train::Adam<float>(weights.values().size()), workers,
                                                  {.batch = 12, .shard = 12, .clip_norm = 0});
  Parameters<float> same = weights;
  const auto report = whole.step(0, loss);
  train::Trainer<float, train::Adam<float>> clipped(same, train::Adam<float>(same.values().size()), workers,
                                                    {.batch = 12, .shard = 5, .clip_norm = 0.5});
  const auto clipped_report = clipped.step(0, loss);
  CHECK(clipped_report.gradient_norm == doctest::Approx(report.gradient_norm).epsilon(1e-5));
  double norm = 0;
  for (Index i = 0; i < clipped.gradient().size(); ++i) {
    norm += std::pow(static_cast<double>(clipped.gradient()[i]), 2);
    CHECK(clipped.gradient()[i] * static_cast<float>(report.gradient_norm / 0.5) ==
          doctest::Approx(whole.gradient()[i]).epsilon(1e-4));
  }
  CHECK(std::sqrt(norm) == doctest::Approx(0.5).epsilon(1e-5));
}

TEST_CASE("trainer: the elements of the gradient are clipped, then its norm") {
  const Regression model;
  Parameters<float> weights(model.layout, 7);
  Workers workers(1);
  const auto loss = [&](Tape<float>& tape, const ShardTask& task) { return model.loss(tape, task); };
  const auto gradient_of = [&](double value, double norm) {
    train::Trainer trainer(weights, train::Adam<float>(weights.values().size()), workers,
                           {.batch = 12, .shard = 12, .clip_value = value, .clip_norm = norm});
    (void)trainer.step(0, loss);
    return std::vector<float>(trainer.gradient().data(), trainer.gradient().data() + trainer.gradient().size());
  };
  const auto whole = gradient_of(0, 0);
  const auto cut = gradient_of(0.7, 0);
  const auto both = gradient_of(0.7, 0.3);
  double norm = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    CHECK(cut[i] == std::clamp(whole[i], -0.7F, 0.7F));
    norm += std::pow(static_cast<double>(cut[i]), 2);
  }
  REQUIRE(norm > 0.3 * 0.3);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    CHECK(both[i] == doctest::Approx(cut[i] * 0.3 / std::sqrt(norm)).epsilon(1e-5));
  }
}

TEST_CASE("trainer: a gradient that is not finite stops with the parameter's name, and changes nothing") {
  const Regression model;
  Parameters<float> weights(model.layout, 7);
  const Parameters<float> before = weights;
  Workers workers(2);
  train::Trainer<float, train::Adam<float>> trainer(weights, train::Adam<float>(weights.values().size()), workers,
                                                    {.batch = 8, .shard = 4});
  const auto bad = [&](Tape<float>& tape, const ShardTask& task) {
    ShardLoss<float> result = model.loss(tape, task);
    if (task.first == 4) result.loss_sum = nn::scale(tape, std::numeric_limits<float>::infinity(), result.loss_sum);
    return result;
  };
  try {
    trainer.step(0.1, bad);
    FAIL("an Error was expected");
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(message.find("dense.w") != std::string::npos);
    CHECK(message.find("step 0") != std::string::npos);
    CHECK(message.find("sample 4 of the minibatch") != std::string::npos);
  }
  CHECK(std::memcmp(before.values().data(), weights.values().data(),
                    static_cast<std::size_t>(before.values().size()) * sizeof(float)) == 0);
}

TEST_CASE("trainer: options that contradict themselves are refused") {
  const Regression model;
  Parameters<float> weights(model.layout, 7);
  Workers workers(1);
  using Trainer = train::Trainer<float, train::Adam<float>>;
  const auto adam = [&] { return train::Adam<float>(weights.values().size()); };
  CHECK_THROWS_AS(Trainer(weights, adam(), workers, {.batch = 4, .shard = 5}), Error);
  CHECK_THROWS_AS(Trainer(weights, adam(), workers, {.batch = 4, .shard = 0}), Error);
  CHECK_THROWS_AS(Trainer(weights, adam(), workers, {.batch = 4, .shard = 4, .clip_norm = -1}), Error);
  CHECK_THROWS_AS(train::Adam<float>(4, {.beta1 = 1}), Error);
  CHECK_THROWS_AS(train::Adam<float>(4, {.epsilon = 0}), Error);
  train::Adam<float> small(4);
  Tensor<float, 1> five({5});
  CHECK_THROWS_AS(small.step(five.view(), std::as_const(five).view(), 0.1), Error);
}

TEST_CASE("trainer: a loss that depends on no parameter is refused") {
  const Regression model;
  Parameters<float> weights(model.layout, 7);
  Workers workers(2);
  train::Trainer<float, train::Adam<float>> trainer(weights, train::Adam<float>(weights.values().size()), workers,
                                                    {.batch = 8, .shard = 4});
  CHECK_THROWS_AS(trainer.step(0.1,
                               [](Tape<float>& tape, const ShardTask&) {
                                 return ShardLoss<float>{tape.constant(Shape{}), 0};
                               }),
                  Error);
}

TEST_CASE("weight average: the first updates average over what there is, later ones forget") {
  ParameterLayout layout;
  const Parameter p = layout.add("p", {1}, Initialiser::constant(0));
  Parameters<double> weights(layout);
  train::WeightAverage<double> average(weights, 0.9);
  weights[p][0] = 1;
  average.update(weights);
  CHECK(average.parameters()[p][0] == doctest::Approx(0.5));
  for (int i = 0; i < 500; ++i) average.update(weights);
  CHECK(average.parameters()[p][0] == doctest::Approx(1));
  CHECK_THROWS_AS(train::WeightAverage<double>(weights, 1.0), Error);
}

TEST_CASE("curriculum: large regions, wide and noisy at first, the model's own at the end") {
  model::SaccaderOptions options;
  options.scale = 0.25;
  options.deviation = 0.01;
  train::Curriculum curriculum(options);
  CHECK(curriculum.first_scale == 1);  // glimpses of 32 pixels, a proxy of 20
  CHECK(curriculum.each_look == 0);
  CHECK(curriculum.policy_begin == 0);
  curriculum.scale_end = 0.5;
  curriculum.first_deviation = 0.16;
  curriculum.deviation_end = 0.25;
  CHECK(curriculum.looking(0).scale == doctest::Approx(1));
  CHECK(curriculum.looking(0.25).scale == doctest::Approx(0.5));  // half-way of a geometric path
  CHECK(curriculum.looking(0.5).scale == doctest::Approx(0.25));
  CHECK(curriculum.looking(1).scale == doctest::Approx(0.25));
  CHECK(curriculum.looking(0.125).deviation == doctest::Approx(0.04));
  CHECK(curriculum.looking(0.9).deviation == doctest::Approx(0.01));
  CHECK(curriculum.looking(0.9).draw);
  CHECK(curriculum.looking(0).policy_learns);
  CHECK(curriculum.loss(0).objective.kl_weight == 0);
  CHECK(curriculum.loss(1).objective.kl_weight == doctest::Approx(curriculum.kl_weight));
  CHECK(curriculum.loss(0).evidence == doctest::Approx(curriculum.evidence));
  CHECK(curriculum.loss(1).evidence == 0);
  options.glimpse = {10, 16};
  CHECK(train::Curriculum(options).first_scale == 0.5);  // wider would show less than the proxy does
}

TEST_CASE("curriculum: small regions, read first, then learn where to look") {
  model::SaccaderOptions options;
  options.scale = 0.05;
  const train::Curriculum curriculum(options);
  CHECK(curriculum.looking(0).scale == doctest::Approx(0.05));
  CHECK(curriculum.evidence == 0);
  CHECK(curriculum.loss(0).each_look == 1);
  CHECK(curriculum.loss(1).each_look == 0);
  CHECK(!curriculum.looking(0.1).policy_learns);
  CHECK(curriculum.looking(0.5).policy_learns);
  options.gaze = model::Gaze::uniform;
  CHECK(train::Curriculum(options).first_scale == doctest::Approx(0.05));
}
