// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include <fovea/train/early_stopping.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

using namespace fovea;

namespace {

/// Parameters that are all `value`.
struct Model {
  Model() { layout.add("p", {3}, Initialiser::constant(0)); }
  [[nodiscard]] Parameters<float> parameters(float value) const {
    Parameters<float> result(layout);
    std::fill_n(result.at("p").data(), 3, value);
    return result;
  }
  ParameterLayout layout;
};

/// After how many of these numbers it says stop; 0: never. The i-th is told with parameters that are i.
std::size_t stops_after(train::EarlyStopping<float>& stopping, const std::vector<double>& scores) {
  const Model model;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    stopping.update(scores[i], model.parameters(static_cast<float>(i + 1)));
    if (stopping.should_stop()) return i + 1;
  }
  return 0;
}

float restored(const train::EarlyStopping<float>& stopping) {
  Parameters<float> weights = Model().parameters(-1);
  stopping.restore(weights);
  return weights.at("p")[2];
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("early stopping: stops after its patience and gives the best back") {
  train::EarlyStopping<float> accuracy(Model().layout, {.patience = 3});
  CHECK(!accuracy.has_best());
  CHECK(stops_after(accuracy, {0.5, 0.7, 0.6, 0.65, 0.7, 0.9}) == 5);  // equal is not better
  CHECK(accuracy.has_best());
  CHECK(accuracy.state() == train::EarlyStopping<float>::State{5, 2, 0.7});
  CHECK(restored(accuracy) == 2);

  train::EarlyStopping<float> loss(Model().layout, {.greater_is_better = false, .patience = 3});
  CHECK(stops_after(loss, {0.5, 0.7, 0.4, 0.41, 0.39, 0.5, 0.5}) == 0);
  CHECK(restored(loss) == 5);
}

TEST_CASE("early stopping: an update says whether it is the best so far") {
  const Model model;
  train::EarlyStopping<float> stopping(model.layout);
  CHECK(stopping.update(-3, model.parameters(1)));
  CHECK(!stopping.update(-4, model.parameters(1)));
  CHECK(stopping.update(-2, model.parameters(1)));
}

TEST_CASE("early stopping: small gains are none") {
  train::EarlyStopping<float> stopping(Model().layout, {.patience = 2, .minimum_change = 0.125});
  CHECK(stops_after(stopping, {0.5, 0.5625, 0.625, 0.6875, 0.71}) == 5);  // 0.625 is a gain of just enough
  CHECK(restored(stopping) == 3);
}

TEST_CASE("early stopping: what comes in the burn-in counts for nothing") {
  train::EarlyStopping<float> stopping(Model().layout, {.patience = 2, .burn_in = 4});
  CHECK(stops_after(stopping, {0.9, 0.1, 0.1, 0.1, 0.2, 0.1, 0.3, 0.3, 0.3}) == 9);
  CHECK(restored(stopping) == 7);
}

TEST_CASE("early stopping: NaN and infinity are never best") {
  train::EarlyStopping<float> stopping(Model().layout, {.patience = 4});
  CHECK(stops_after(stopping, {kNan, kInfinity, 0.1, kNan, 0.2}) == 0);
  CHECK(restored(stopping) == 5);
  train::EarlyStopping<float> loss(Model().layout, {.greater_is_better = false, .patience = 2});
  CHECK(stops_after(loss, {-kInfinity, kNan}) == 2);
  CHECK(!loss.has_best());
  CHECK(fovea_test::message_of([&] { restored(loss); }).find("none of 2 validations") != std::string::npos);
}

TEST_CASE("early stopping: resumed it goes on alike") {
  const Model model;
  const train::EarlyStoppingOptions options{.patience = 3, .burn_in = 1};
  train::EarlyStopping<float> first(model.layout, options);
  CHECK(stops_after(first, {0.9, 0.5, 0.6, 0.1}) == 0);
  train::EarlyStopping<float> second(model.layout, options);
  std::copy_n(first.best_weights().data(), model.layout.size(), second.best_weights().data());
  second.resume(first.state());
  CHECK(second.state() == first.state());
  CHECK(restored(second) == 3);
  CHECK(stops_after(first, {0.6, 0.5}) == 2);
  CHECK(stops_after(second, {0.6, 0.5}) == 2);
  CHECK(restored(second) == 3);
}

TEST_CASE("early stopping: what is refused") {
  const Model model;
  using Stopping = train::EarlyStopping<float>;
  CHECK_THROWS_AS(Stopping(model.layout, {.patience = 0}), Error);
  CHECK_THROWS_AS(Stopping(model.layout, {.minimum_change = -1}), Error);
  CHECK_THROWS_AS(Stopping(model.layout, {.minimum_change = kNan}), Error);
  CHECK_THROWS_AS(Stopping(model.layout, {.burn_in = -1}), Error);
  Stopping stopping(model.layout);
  CHECK_THROWS_AS(stopping.resume({3, 4, 0.5}), Error);
  CHECK_THROWS_AS(stopping.resume({3, -1, 0.5}), Error);
  CHECK_THROWS_AS(stopping.resume({3, 2, kNan}), Error);
  ParameterLayout other;
  other.add("p", {30}, Initialiser::constant(0));
  CHECK_THROWS_AS(stopping.update(0.5, Parameters<float>(other)), Error);
  CHECK(stopping.state().validations == 0);
}
