// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include <fovea/core/random.hpp>
#include <fovea/model/early_exit.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <limits>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using model::certainty;
using model::EarlyExit;
using model::ExitRule;

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// softmax(log p / temperature), sorted downwards: the definition, plainly.
std::vector<long double> softened(const std::vector<float>& p, double temperature) {
  std::vector<long double> q;
  long double sum = 0;
  for (const float value : p) q.push_back(std::pow(static_cast<long double>(value), 1 / static_cast<long double>(temperature)));
  for (const long double value : q) sum += value;
  for (long double& value : q) value /= sum;
  std::sort(q.begin(), q.end(), std::greater<>());
  return q;
}

std::vector<float> random_answer(Stream& stream, int classes, double spread) {
  std::vector<float> p;
  double sum = 0;
  for (int k = 0; k < classes; ++k) {
    p.push_back(std::exp(static_cast<float>(spread * stream.normal<double>())));
    sum += static_cast<double>(p.back());
  }
  for (float& value : p) value = static_cast<float>(static_cast<double>(value) / sum);
  return p;
}

}  // namespace

TEST_CASE("early exit: certainty by each rule, against its definition") {
  Stream stream(1, 0, 0, Purpose::test);
  for (const int classes : {1, 2, 5, 40}) {
    for (const double temperature : {0.3, 1.0, 2.5}) {
      const std::vector<float> p = random_answer(stream, classes, 2);
      const auto q = softened(p, temperature);
      long double negative_entropy = 0;
      for (const long double value : q) negative_entropy += value * std::log(value);
      CHECK(certainty(ExitRule::confidence, p, kNone, temperature) ==
            doctest::Approx(static_cast<double>(q[0])).epsilon(1e-12));
      CHECK(certainty(ExitRule::margin, p, kNone, temperature) ==
            doctest::Approx(static_cast<double>(classes == 1 ? 1 : q[0] - q[1])).epsilon(1e-12));
      CHECK(certainty(ExitRule::entropy, p, kNone, temperature) ==
            doctest::Approx(static_cast<double>(negative_entropy)).epsilon(1e-12));
      CHECK(certainty(ExitRule::uncertainty, p, 0.7, temperature) == -0.7);
      CHECK(certainty(ExitRule::never, p, 0.7, temperature) == -std::numeric_limits<double>::infinity());
    }
  }
}

TEST_CASE("early exit: known answers") {
  const std::array<float, 4> uniform{0.25F, 0.25F, 0.25F, 0.25F};
  CHECK(certainty(ExitRule::confidence, uniform, kNone, 7) == 0.25);
  CHECK(certainty(ExitRule::margin, uniform) == 0);
  CHECK(certainty(ExitRule::entropy, uniform, kNone, 0.1) == doctest::Approx(-std::log(4.0)));
  const std::array<float, 3> sure{0, 1, 0};
  CHECK(certainty(ExitRule::confidence, sure) == doctest::Approx(1));
  CHECK(certainty(ExitRule::margin, sure) == doctest::Approx(1));
  CHECK(certainty(ExitRule::entropy, sure) == doctest::Approx(0));
  CHECK(certainty(ExitRule::entropy, sure) <= 0);
  // Squared and divided by the sum: 0.64 / 0.68.
  const std::array<float, 2> two{0.8F, 0.2F};
  CHECK(certainty(ExitRule::confidence, two, kNone, 0.5) == doctest::Approx(0.64 / 0.68).epsilon(1e-6));
  // A softer answer is less certain by every rule.
  for (const ExitRule rule : {ExitRule::confidence, ExitRule::margin, ExitRule::entropy}) {
    CHECK(certainty(rule, two, kNone, 2) < certainty(rule, two, kNone, 1));
  }
}

TEST_CASE("early exit: when it stops") {
  const std::array<float, 2> two{0.8F, 0.2F};
  EarlyExit exit{ExitRule::confidence, 0.75, 1, 2};
  CHECK(!exit.stop(two, kNone, 1));
  CHECK(exit.stop(two, kNone, 2));
  CHECK(exit.stop(two, kNone, 9));
  exit.threshold = certainty(ExitRule::confidence, two);
  CHECK(exit.stop(two, kNone, 2));  // at least
  exit.threshold = 0.85;
  CHECK(!exit.stop(two, kNone, 9));
  exit.temperature = 0.5;
  CHECK(exit.stop(two, kNone, 9));
  exit = {ExitRule::uncertainty, -1.5};
  CHECK(exit.stop({}, 1.4, 1));
  CHECK(!exit.stop({}, 1.6, 1));
  // By `never` not even what is certain.
  CHECK(!EarlyExit{}.stop(two, -100, 64));
  CHECK(!EarlyExit{ExitRule::confidence, std::numeric_limits<double>::infinity()}.stop(two, kNone, 64));
}

TEST_CASE("early exit: what is no answer is refused") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const EarlyExit exit{ExitRule::margin, 0.5};
  const std::vector<std::vector<float>> bad{{},           {nan, 0.5F}, {-0.1F, 1.1F},
                                            {0.5F, 0.4F}, {2, 3},      {std::numeric_limits<float>::infinity(), 0}};
  for (const auto& p : bad) CHECK_THROWS_AS((void)exit.stop(p, kNone, 1), Error);
  CHECK(message_of([&] { (void)exit.stop(bad[3], kNone, 1); }) ==
        "early exit: probabilities of sum 1 expected, a sum of 0.900000 came");
  const std::array<float, 1> one{1};
  CHECK_THROWS_AS((void)certainty(ExitRule::uncertainty, one), Error);
  for (const double temperature : {0.0, -1.0, kNone, std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_AS((void)certainty(ExitRule::entropy, one, kNone, temperature), Error);
    CHECK_THROWS_AS((EarlyExit{ExitRule::entropy, 0, temperature}.check()), Error);
  }
  CHECK_THROWS_AS((EarlyExit{ExitRule::entropy, kNone}.check()), Error);
  CHECK_THROWS_AS((EarlyExit{ExitRule::entropy, 0, 1, 0}.check()), Error);
  CHECK_NOTHROW(EarlyExit{}.check());
}
