// SPDX-License-Identifier: MIT
#include "support/compare.hpp"
#include "support/golden.hpp"
#include "support/message_of.hpp"
#include <fovea/bound/schedule.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/adam_norm_grad.hpp>
#include <fovea/train/lion.hpp>
#include <fovea/train/parameter_groups.hpp>
#include <fovea/train/rmsprop.hpp>
#include <fovea/train/sgd.hpp>
#include <fovea/train/weight_average.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

using namespace fovea;
using namespace fovea_test;
using train::matches;
using train::ParameterGroup;

static_assert(std::constructible_from<train::Adam<float>, Index>);
static_assert(!std::constructible_from<train::AdamNormGrad<float>, Index>);  // which must know its parameters
static_assert(std::same_as<train::AdamW<double>, train::Adam<double>>);

namespace {

/// Four parameters with padding behind each: policy.w, policy.b, head.w, head.b.
ParameterLayout small_layout() {
  ParameterLayout layout;
  for (const char* part : {"policy", "head"}) {
    const auto scope = layout.scope(part);
    layout.add("w", {3, 7}, Initialiser::normal(1));
    layout.add("b", {5}, Initialiser::normal(1));
  }
  return layout;
}

/// A gradient of random numbers for step t, 0 in the padding.
template <class T>
Tensor<T, 1> gradient_of(const ParameterLayout& layout, std::uint64_t t) {
  Tensor<T, 1> gradient({layout.size()});
  Stream stream(3, t, 0, Purpose::test);
  for (const auto& entry : layout.entries()) {
    for (Index i = 0; i < entry.parameter.shape.size(); ++i) gradient.data()[entry.parameter.offset + i] = stream.normal<T>();
  }
  return gradient;
}

/// body(optimizer, learning_rate) with each of them, all of its moments in use, and a rate that suits it.
template <class T, class Body>
void for_each_optimizer(const ParameterLayout& layout, double decay, const std::vector<ParameterGroup>& groups, Body body) {
  body(train::Sgd<T>(layout, {.weight_decay = decay}, groups), 0.015);
  body(train::Sgd<T>(layout, {.momentum = 0.9, .weight_decay = decay}, groups), 0.01);
  body(train::Sgd<T>(layout, {.momentum = 0.9, .nesterov = true, .weight_decay = decay}, groups), 0.01);
  body(train::Adam<T>(layout, {.beta2 = 0.99, .weight_decay = decay}, groups), 0.05);
  body(train::AdamNormGrad<T>(layout, {.weight_decay = decay}, groups), 0.05);
  body(train::RmsProp<T>(layout, {.weight_decay = decay}, groups), 0.02);
  body(train::RmsProp<T>(layout, {.epsilon = 1e-3, .weight_decay = decay, .momentum = 0.5, .centered = true}, groups), 0.01);
  body(train::Lion<T>(layout, {.weight_decay = decay}, groups), 0.02);
}

template <class T>
bool same_bytes(View<const T, 1> a, View<const T, 1> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(T)) == 0;
}

/// Four steps from the layout's initial values.
template <class T, class Optimizer>
Parameters<T> after_four_steps(const ParameterLayout& layout, Optimizer optimizer, double rate) {
  Parameters<T> weights(layout, 5);
  for (std::uint64_t t = 1; t <= 4; ++t) optimizer.step(weights.values(), gradient_of<T>(layout, t), rate);
  return weights;
}

/// The same with each of them.
template <class T>
std::vector<Parameters<T>> all_after_four_steps(const ParameterLayout& layout, double decay,
                                                const std::vector<ParameterGroup>& groups, double slower = 1) {
  std::vector<Parameters<T>> results;
  for_each_optimizer<T>(layout, decay, groups, [&](const auto& optimizer, double rate) {
    results.push_back(after_four_steps<T>(layout, optimizer, rate * slower));
  });
  return results;
}

/// Whether the parameters whose names match are the same, bit by bit, in all of the results.
template <class T>
bool same_where(const std::string& pattern, const std::vector<Parameters<T>>& a, const std::vector<Parameters<T>>& b) {
  bool same = a.size() == b.size();
  for (std::size_t k = 0; k < a.size(); ++k) {
    for (const auto& entry : a[k].layout().entries()) {
      if (matches(pattern, entry.name)) same = same && same_bytes<T>(a[k][entry.parameter], b[k][entry.parameter]);
    }
  }
  return same;
}

}  // namespace

TEST_CASE_TEMPLATE("optimizers: the values of their formulas", T, float, double) {
  const auto rows = golden("optimizers");  // which says what the rows are
  REQUIRE(rows.size() == 9);
  ParameterLayout layout;
  const Parameter p = layout.add("p", {5}, Initialiser::constant(0));
  const auto check = [&](std::size_t row, auto optimizer, double rate) {
    Parameters<T> weights(layout);
    std::ranges::copy(pattern<T, 1>({5}, 0.5, 1.0), weights[p].data());
    for (int t = 1; t <= 3; ++t) {
      Tensor<T, 1> gradient({layout.size()});
      std::ranges::copy(pattern<T, 1>({5}, 0.1 * t, 1.0), gradient.data());
      optimizer.step(weights.values(), gradient, rate);
    }
    CAPTURE(row);
    CHECK(relative_error(std::vector<T>(weights[p].data(), weights[p].data() + 5), rows[row]) < kTolerance<T>);
  };
  check(0, train::Sgd<T>(layout, {.weight_decay = 0.01}), 0.1);
  check(1, train::Sgd<T>(layout, {.momentum = 0.9, .weight_decay = 0.01}), 0.1);
  check(2, train::Sgd<T>(layout, {.momentum = 0.9, .nesterov = true, .weight_decay = 0.01}), 0.1);
  check(3, train::Adam<T>(layout, {.beta2 = 0.99, .weight_decay = 0.1}), 0.01);
  check(4, train::AdamNormGrad<T>(layout, {.beta2 = 0.99, .epsilon = 1e-3, .weight_decay = 0.1}), 0.01);
  check(5, train::RmsProp<T>(layout), 0.01);
  check(6, train::RmsProp<T>(layout, {.alpha = 0.9, .epsilon = 1e-3, .weight_decay = 0.01, .momentum = 0.9}), 0.01);
  check(7, train::RmsProp<T>(layout, {.alpha = 0.9, .epsilon = 1e-3, .weight_decay = 0.01, .momentum = 0.9, .centered = true}),
        0.01);
  check(8, train::Lion<T>(layout, {.weight_decay = 0.1}), 0.01);
}

TEST_CASE("optimizers: each finds the minimum of an ill-conditioned quadratic") {
  ParameterLayout layout;
  const Parameter p = layout.add("p", {3}, Initialiser::constant(0));
  const double curvature[3] = {1, 10, 100};
  const double minimum[3] = {1, -2, 0.5};
  for_each_optimizer<double>(layout, 0, {}, [&](auto optimizer, double rate) {
    Parameters<double> weights(layout);
    Tensor<double, 1> gradient({layout.size()});
    const auto loss = [&] {
      double sum = 0;
      for (int i = 0; i < 3; ++i) sum += curvature[i] * std::pow(weights[p][i] - minimum[i], 2) / 2;
      return sum;
    };
    const double start = loss();
    const bound::Ramp schedule{rate, 0, 0, 1, bound::Ramp::Shape::cosine};
    for (int t = 0; t < 2000; ++t) {
      for (int i = 0; i < 3; ++i) gradient.data()[i] = curvature[i] * (weights[p][i] - minimum[i]);
      optimizer.step(weights.values(), gradient, schedule(t / 2000.0));
    }
    CAPTURE(optimizer.signature());
    CHECK(optimizer.steps() == 2000);
    CHECK(loss() < 1e-6 * start);
  });
}

TEST_CASE_TEMPLATE("optimizers: the padding stays 0, in the moments too", T, float, double) {
  const ParameterLayout layout = small_layout();
  std::vector<bool> padding(static_cast<std::size_t>(layout.size()), true);
  for (const auto& entry : layout.entries()) {
    std::fill_n(padding.begin() + entry.parameter.offset, entry.parameter.shape.size(), false);
  }
  for_each_optimizer<T>(layout, 0.1, {{"policy.*", {.rate = 2.0}}}, [&](auto optimizer, double rate) {
    Parameters<T> weights(layout, 5);
    for (std::uint64_t t = 1; t <= 4; ++t) optimizer.step(weights.values(), gradient_of<T>(layout, t), rate);
    auto buffers = optimizer.moments();
    buffers.push_back(weights.values());
    CAPTURE(optimizer.signature());
    for (const auto& buffer : buffers) {
      REQUIRE(buffer.size() == layout.size());
      for (Index i = 0; i < buffer.size(); ++i) CHECK((buffer[i] == T(0)) == padding[static_cast<std::size_t>(i)]);
    }
  });
}

TEST_CASE_TEMPLATE("optimizers: resumed from moments and steps they go on bit by bit alike", T, float, double) {
  const ParameterLayout layout = small_layout();
  const std::vector<ParameterGroup> groups{{"policy.*", {.rate = 0.1}}, {"*.b", {.weight_decay = 0.0}}};
  for_each_optimizer<T>(layout, 0.1, groups, [&](const auto& fresh, double rate) {
    auto first = fresh;
    Parameters<T> weights(layout, 5);
    std::uint64_t t = 0;
    while (t < 5) first.step(weights.values(), gradient_of<T>(layout, ++t), rate);

    auto second = fresh;
    Parameters<T> copy = weights;
    REQUIRE(second.moments().size() == first.moments().size());
    for (std::size_t i = 0; i < first.moments().size(); ++i) {
      std::copy_n(first.moments()[i].data(), layout.size(), second.moments()[i].data());
    }
    second.resume(first.steps());
    CHECK(second.steps() == 5);
    while (t < 9) {
      ++t;
      first.step(weights.values(), gradient_of<T>(layout, t), rate);
      second.step(copy.values(), gradient_of<T>(layout, t), rate);
    }
    CAPTURE(first.signature());
    CHECK(first.signature() == second.signature());
    CHECK(same_bytes<T>(weights.values(), copy.values()));
    CHECK(first.steps() == second.steps());
  });
}

TEST_CASE_TEMPLATE("optimizers: from a size or from a layout is the same where there are no groups", T, float, double) {
  const ParameterLayout layout = small_layout();
  const auto check = [&](const auto& a, const auto& b) {
    CHECK(same_bytes<T>(after_four_steps<T>(layout, a, 0.1).values(), after_four_steps<T>(layout, b, 0.1).values()));
    CHECK(a.signature() == b.signature());
  };
  check(train::Adam<T>(layout, {.weight_decay = 0.1}), train::Adam<T>(layout.size(), {.weight_decay = 0.1}));
  check(train::Sgd<T>(layout, {.weight_decay = 0.1}), train::Sgd<T>(layout.size(), {.weight_decay = 0.1}));
  check(train::Lion<T>(layout), train::Lion<T>(layout.size()));
}

TEST_CASE_TEMPLATE("parameter groups: a rate is a factor on the learning rate", T, float, double) {
  const ParameterLayout layout = small_layout();
  const auto whole = all_after_four_steps<T>(layout, 0.1, {});
  const auto slow = all_after_four_steps<T>(layout, 0.1, {}, 0.5);
  const auto grouped = all_after_four_steps<T>(layout, 0.1, {{"policy.*", {.rate = 0.5}}});
  CHECK(same_where("policy.*", grouped, slow));
  CHECK(same_where("head.*", grouped, whole));
  CHECK(!same_where("policy.*", grouped, whole));
}

TEST_CASE_TEMPLATE("parameter groups: a weight decay of their own", T, float, double) {
  const ParameterLayout layout = small_layout();
  const auto decayed = all_after_four_steps<T>(layout, 0.1, {});
  const auto plain = all_after_four_steps<T>(layout, 0, {});
  const auto grouped = all_after_four_steps<T>(layout, 0.1, {{"*.b", {.weight_decay = 0.0}}});
  CHECK(same_where("*.b", grouped, plain));
  CHECK(same_where("*.w", grouped, decayed));
  CHECK(!same_where("*.b", grouped, decayed));
  CHECK(same_where("*", all_after_four_steps<T>(layout, 0, {{"*", {.weight_decay = 0.1}}}), decayed));
}

TEST_CASE_TEMPLATE("parameter groups: a frozen group is left alone, whatever its gradient", T, float, double) {
  const ParameterLayout layout = small_layout();
  for_each_optimizer<T>(layout, 0.1, {{"policy.*", {.rate = 0.0}}}, [&](auto optimizer, double rate) {
    Parameters<T> weights(layout, 5);
    const Parameters<T> before = weights;
    for (std::uint64_t t = 1; t <= 4; ++t) {
      auto gradient = gradient_of<T>(layout, t);
      gradient.data()[0] = std::numeric_limits<T>::quiet_NaN();
      optimizer.step(weights.values(), gradient, rate);
    }
    CAPTURE(optimizer.signature());
    for (const auto& entry : layout.entries()) {
      CHECK(same_bytes<T>(weights[entry.parameter], before[entry.parameter]) == matches("policy.*", entry.name));
    }
    const Index head = layout.entries()[2].parameter.offset;
    for (const auto& moment : optimizer.moments()) {
      for (Index i = 0; i < head; ++i) CHECK(moment[i] == T(0));
      CHECK(moment[head] != T(0));
    }
  });
}

TEST_CASE(
    "parameter groups: every one that matches applies, the later over the earlier, and equal neighbours are one stretch") {
  const ParameterLayout layout = small_layout();
  const Index end = layout.size();
  const auto& entries = layout.entries();
  const auto offset = [&](std::size_t i) { return entries[i].parameter.offset; };
  using train::update_ranges;

  const auto whole = update_ranges(layout, 0.1, {});
  REQUIRE(whole.size() == 1);
  CHECK(whole[0].first == 0);
  CHECK(whole[0].count == end);
  CHECK(whole[0].rate == 1);
  CHECK(whole[0].weight_decay == 0.1);

  const auto both = update_ranges(layout, 0.1,
                                  {{"policy.*", {.rate = 0.5}},
                                   {"*.b", {.rate = 3.0, .weight_decay = 0.0}},
                                   {"head.b", {.rate = 1.0, .weight_decay = 0.1}}});
  REQUIRE(both.size() == 3);  // policy.w, policy.b, and head.w and head.b, which ends up like it
  CHECK(both[0].rate == 0.5);
  CHECK(both[0].weight_decay == 0.1);
  CHECK(both[1].first == offset(1));
  CHECK(both[1].rate == 3);
  CHECK(both[1].weight_decay == 0);
  CHECK(both[2].first == offset(2));
  CHECK(both[2].count == end - offset(2));
  CHECK(both[2].rate == 1);
  CHECK(both[2].weight_decay == 0.1);

  const auto gap = update_ranges(layout, 0, {{"policy.b", {.rate = 0.0}}});
  REQUIRE(gap.size() == 2);
  CHECK(gap[0].count == offset(1));
  CHECK(gap[1].first == offset(2));

  const auto each = update_ranges(layout, 0, {}, true);
  REQUIRE(each.size() == entries.size());
  for (std::size_t i = 0; i < each.size(); ++i) CHECK(each[i].first == offset(i));
}

TEST_CASE("parameter groups: patterns") {
  CHECK(matches("policy.*", "policy.w"));
  CHECK(matches("policy.*", "policy.a.w"));
  CHECK(matches("policy.*", "policy."));
  CHECK(!matches("policy.*", "policy"));
  CHECK(!matches("policy.*", "my.policy.w"));
  CHECK(matches("*.b", "a.b.b"));
  CHECK(!matches("*.b", "a.b.w"));
  CHECK(matches("a*b*c", "a.bb.bc"));
  CHECK(!matches("a*b*c", "a.bb.b"));
  CHECK(matches("conv?.w", "conv1.w"));
  CHECK(!matches("conv?.w", "conv.w"));
  CHECK(!matches("conv?.w", "conv12.w"));
  CHECK(matches("*", ""));
  CHECK(matches("", ""));
  CHECK(!matches("", "a"));
  CHECK(!matches("?", ""));
  CHECK(matches("**a?*", "bab"));
  CHECK(!matches("b_x", "b.x"));
}

TEST_CASE("AdamNormGrad: how far a parameter moves does not depend on how long its gradient is") {
  const ParameterLayout layout = small_layout();
  Parameters<double> weights(layout, 5);
  Parameters<double> same = weights;
  train::AdamNormGrad<double> a(layout);
  train::AdamNormGrad<double> b(layout);
  for (std::uint64_t t = 1; t <= 3; ++t) {
    auto gradient = gradient_of<double>(layout, t);
    a.step(weights.values(), gradient, 0.1);
    // Its own length for every parameter and step.
    for (std::size_t i = 0; i < layout.entries().size(); ++i) {
      const Parameter p = layout.entries()[i].parameter;
      for (Index k = 0; k < p.shape.size(); ++k)
        gradient.data()[p.offset + k] *= std::pow(10.0, static_cast<double>(i + t) - 2);
    }
    b.step(same.values(), gradient, 0.1);
  }
  const auto elements = [](Parameters<double>& p) { return std::vector<double>(p.values().data(), p.values().data() + 64); };
  CHECK(relative_error(elements(weights), elements(same)) < 1e-5);
}

TEST_CASE("optimizers: the signature holds every option and every group") {
  const ParameterLayout layout = small_layout();
  CHECK(train::Adam<float>(4, {.beta2 = 0.99}).signature() == "Adam beta1=0.9 beta2=0.99 epsilon=1e-08 weight_decay=0");
  CHECK(
      train::Adam<float>(layout, {}, {{"policy.*", {.rate = 0.1}}, {"*.b", {.rate = 2.0, .weight_decay = 0.0}}}).signature() ==
      "Adam beta1=0.9 beta2=0.999 epsilon=1e-08 weight_decay=0; \"policy.*\" rate=0.1; \"*.b\" rate=2 weight_decay=0");
  CHECK(train::Sgd<float>(4).signature() == "SGD momentum=0 nesterov=false weight_decay=0");
  CHECK(train::RmsProp<float>(4).signature() == "RMSprop alpha=0.99 epsilon=1e-08 weight_decay=0 momentum=0 centered=false");
  CHECK(train::Lion<float>(4).signature() == "Lion beta1=0.9 beta2=0.99 weight_decay=0");
  CHECK(train::AdamNormGrad<float>(layout).signature() == "AdamNormGrad beta1=0.9 beta2=0.999 epsilon=1e-08 weight_decay=0");

  const std::vector<std::string> all{
      train::Adam<float>(4).signature(),
      train::Adam<float>(4, {.beta1 = 0.8}).signature(),
      train::Adam<float>(4, {.beta2 = 0.8}).signature(),
      train::Adam<float>(4, {.epsilon = 1e-7}).signature(),
      train::Adam<float>(4, {.weight_decay = 1e-7}).signature(),
      train::Adam<float>(4, {.weight_decay = std::nextafter(1e-7, 1)}).signature(),
      train::Adam<float>(layout, {}, {{"*", {.rate = 0.5}}}).signature(),
      train::Adam<float>(layout, {}, {{"*", {.weight_decay = 0.5}}}).signature(),
      train::Adam<float>(layout, {}, {{"*.w", {.weight_decay = 0.5}}}).signature(),
      train::AdamNormGrad<float>(layout).signature(),
      train::AdamNormGrad<float>(layout, {.beta1 = 0.8}).signature(),
      train::AdamNormGrad<float>(layout, {.beta2 = 0.8}).signature(),
      train::AdamNormGrad<float>(layout, {.epsilon = 1e-7}).signature(),
      train::AdamNormGrad<float>(layout, {.weight_decay = 1e-7}).signature(),
      train::Sgd<float>(4).signature(),
      train::Sgd<float>(4, {.momentum = 0.5}).signature(),
      train::Sgd<float>(4, {.momentum = 0.5, .nesterov = true}).signature(),
      train::Sgd<float>(4, {.weight_decay = 0.5}).signature(),
      train::RmsProp<float>(4).signature(),
      train::RmsProp<float>(4, {.alpha = 0.5}).signature(),
      train::RmsProp<float>(4, {.epsilon = 0.5}).signature(),
      train::RmsProp<float>(4, {.weight_decay = 0.5}).signature(),
      train::RmsProp<float>(4, {.momentum = 0.5}).signature(),
      train::RmsProp<float>(4, {.centered = true}).signature(),
      train::Lion<float>(4).signature(),
      train::Lion<float>(4, {.beta1 = 0.5}).signature(),
      train::Lion<float>(4, {.beta2 = 0.5}).signature(),
      train::Lion<float>(4, {.weight_decay = 0.5}).signature(),
  };
  CHECK(std::set<std::string>(all.begin(), all.end()).size() == all.size());
}

TEST_CASE("optimizers: as many moments as are used") {
  CHECK(train::Sgd<float>(4).moments().empty());
  CHECK(train::Sgd<float>(4, {.momentum = 0.5}).moments().size() == 1);
  CHECK(train::Lion<float>(4).moments().size() == 1);
  CHECK(train::Adam<float>(4).moments().size() == 2);
  CHECK(train::RmsProp<float>(4).moments().size() == 1);
  CHECK(train::RmsProp<float>(4, {.momentum = 0.5}).moments().size() == 2);
  CHECK(train::RmsProp<float>(4, {.momentum = 0.5, .centered = true}).moments().size() == 3);
}

TEST_CASE("optimizers: what is refused") {
  const ParameterLayout layout = small_layout();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(train::Adam<float>(4, {.beta1 = nan}), Error);
  CHECK_THROWS_AS(train::Adam<float>(4, {.weight_decay = -1}), Error);
  CHECK_THROWS_AS(train::AdamNormGrad<float>(layout, {.beta2 = 1}), Error);
  CHECK_THROWS_AS(train::AdamNormGrad<float>(layout, {.epsilon = 0}), Error);
  CHECK_THROWS_AS(train::Sgd<float>(4, {.momentum = 1}), Error);
  CHECK_THROWS_AS(train::Sgd<float>(4, {.nesterov = true}), Error);
  CHECK_THROWS_AS(train::Sgd<float>(4, {.weight_decay = nan}), Error);
  CHECK_THROWS_AS(train::RmsProp<float>(4, {.alpha = 1}), Error);
  CHECK_THROWS_AS(train::RmsProp<float>(4, {.epsilon = 0}), Error);
  CHECK_THROWS_AS(train::RmsProp<float>(4, {.momentum = -0.1}), Error);
  CHECK_THROWS_AS(train::Lion<float>(4, {.beta2 = 1}), Error);

  train::Adam<float> adam(4);
  CHECK_THROWS_AS(adam.resume(-1), Error);
  Tensor<float, 1> four({4});
  Tensor<float, 1> five({5});
  CHECK_THROWS_AS(adam.step(four, five.view(), 0.1), Error);
  CHECK_THROWS_AS(adam.step(five, four.view(), 0.1), Error);
  CHECK(adam.steps() == 0);

  const auto with = [&](const ParameterGroup& group) {
    return message_of([&] { train::Adam<float>(layout, {}, {{"*", {}}, group}); });
  };
  CHECK(with({"policy.*", {.rate = 2.0}}).empty());
  CHECK(with({"gaze.*", {.rate = 2.0}}).find("\"gaze.*\"") != std::string::npos);
  CHECK(with({"gaze.*", {.rate = 2.0}}).find("policy.w, policy.b, head.w, head.b") != std::string::npos);
  CHECK(with({"policy.*", {.rate = -1.0}}).find("at least 0") != std::string::npos);
  CHECK(with({"policy.*", {.rate = nan}}).find("at least 0") != std::string::npos);
  CHECK(with({"policy.*", {.weight_decay = -1.0}}).find("\"policy.*\"") != std::string::npos);
  CHECK(with({"policy.*", {.weight_decay = std::numeric_limits<double>::infinity()}}).find("at least 0") != std::string::npos);
}

TEST_CASE("weight average: resumed from its values and updates it goes on bit by bit alike") {
  const ParameterLayout layout = small_layout();
  Parameters<float> weights(layout, 5);
  train::WeightAverage<float> first(weights, 0.9);
  const auto move = [&](std::uint64_t t) { std::ranges::copy(gradient_of<float>(layout, t), weights.values().data()); };
  for (std::uint64_t t = 1; t <= 3; ++t) {
    move(t);
    first.update(weights);
  }
  CHECK(first.updates() == 3);
  CHECK(first.decay() == 0.9);
  train::WeightAverage<float> second(Parameters<float>(layout), 0.9);
  std::copy_n(first.values().data(), layout.size(), second.values().data());
  second.resume(first.updates());
  for (std::uint64_t t = 4; t <= 20; ++t) {
    move(t);
    first.update(weights);
    second.update(weights);
  }
  CHECK(same_bytes<float>(first.parameters().values(), second.parameters().values()));
  CHECK(second.updates() == 20);
  CHECK_THROWS_AS(second.resume(-1), Error);
}
