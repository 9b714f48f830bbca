// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/model/early_exit.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/train/calibration.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using model::EarlyExit;
using model::ExitRule;
using train::Binning;
using train::CalibrationBins;
using train::ExitCalibration;
using train::Judged;
using train::TemperatureScaling;

namespace {

/// softmax(factor a).
void softmax(const std::vector<double>& a, double factor, std::span<float> out) {
  const double greatest = *std::max_element(a.begin(), a.end());
  double sum = 0;
  for (const double value : a) sum += std::exp(factor * (value - greatest));
  for (std::size_t k = 0; k < a.size(); ++k) out[k] = static_cast<float>(std::exp(factor * (a[k] - greatest)) / sum);
}

/// Labels drawn from softmax(a), answers softmax(factor a): too sure of themselves where the factor is above 1.
struct Answers {
  Tensor<float, 2> probabilities;
  std::vector<std::int32_t> labels;

  Answers(Index count, Index classes, double factor, std::uint64_t seed) : probabilities({count, classes}) {
    Stream stream(seed, 0, 0, Purpose::test);
    std::vector<double> a(static_cast<std::size_t>(classes));
    std::vector<float> honest(a.size());
    for (Index i = 0; i < count; ++i) {
      for (double& value : a) value = 1.5 * stream.normal<double>();
      softmax(a, 1, honest);
      double rest = stream.uniform(0.0, 1.0);
      std::size_t label = 0;
      while (label + 1 < honest.size() && rest >= static_cast<double>(honest[label]))
        rest -= static_cast<double>(honest[label++]);
      labels.push_back(static_cast<std::int32_t>(label));
      softmax(a, factor, row(i));
    }
  }
  [[nodiscard]] std::span<float> row(Index i) {
    return {probabilities.data() + i * probabilities.extent(1), static_cast<std::size_t>(probabilities.extent(1))};
  }
  [[nodiscard]] View<const float, 2> view() const { return probabilities.view(); }
};

/// The definition of equal-width bins, bin by bin.
double naive_error(std::span<const Judged> answers, int bins) {
  double error = 0;
  for (int m = 0; m < bins; ++m) {
    double confidence = 0;
    double right = 0;
    double count = 0;
    for (const Judged& a : answers) {
      const double c = static_cast<double>(a.confidence) * bins;
      if ((c > m && c <= m + 1) || (m == 0 && c == 0)) {
        confidence += static_cast<double>(a.confidence);
        right += a.correct ? 1 : 0;
        count += 1;
      }
    }
    if (count > 0) error += count / static_cast<double>(answers.size()) * std::abs(right / count - confidence / count);
  }
  return error;
}

/// Answers after each step of many images, whose certainty grows unevenly; now and then two are equal.
struct Looked {
  Index steps;
  Index classes;
  std::vector<float> after;
  std::vector<float> uncertainty;
  std::vector<std::int32_t> labels;

  Looked(Index images, Index of_steps, Index of_classes, std::uint64_t seed, bool ties = false)
      : steps(of_steps), classes(of_classes) {
    Stream stream(seed, 0, 0, Purpose::test);
    std::vector<double> evidence(static_cast<std::size_t>(classes));
    std::vector<float> row(evidence.size());
    for (Index i = 0; i < images; ++i) {
      labels.push_back(static_cast<std::int32_t>(stream.below(static_cast<std::uint32_t>(classes))));
      std::fill(evidence.begin(), evidence.end(), 0.0);
      for (Index t = 0; t < steps; ++t) {
        for (double& e : evidence) e += stream.normal<double>();
        evidence[static_cast<std::size_t>(labels.back())] += 1;
        if (ties) {
          for (double& e : evidence) e = std::round(e);
        }
        softmax(evidence, 1, row);
        after.insert(after.end(), row.begin(), row.end());
        uncertainty.push_back(stream.uniform(-3.0F, 2.0F));
      }
    }
  }
  [[nodiscard]] Index images() const { return static_cast<Index>(labels.size()); }
  [[nodiscard]] model::Prediction operator[](Index i) const {
    const auto k = static_cast<std::size_t>(classes);
    const auto t = static_cast<std::size_t>(steps);
    const std::span<const float> all(after);
    model::Prediction p;
    p.after_steps = all.subspan(static_cast<std::size_t>(i) * t * k, t * k);
    p.probabilities = p.after_steps.last(k);
    p.uncertainty = std::span<const float>(uncertainty).subspan(static_cast<std::size_t>(i) * t, t);
    return p;
  }
  /// What the exit does, one image after the other, as a model does it.
  [[nodiscard]] std::pair<double, double> taken(const EarlyExit& exit) const {
    Index glimpses = 0;
    Index correct = 0;
    for (Index i = 0; i < images(); ++i) {
      const model::Prediction p = (*this)[i];
      Index t = 0;
      std::span<const float> answer;
      do {
        answer = p.after_steps.subspan(static_cast<std::size_t>(t * classes), static_cast<std::size_t>(classes));
        ++t;
      } while (t < steps && !exit.stop(answer, static_cast<double>(p.uncertainty[static_cast<std::size_t>(t - 1)]), t));
      glimpses += t;
      const auto label = std::max_element(answer.begin(), answer.end()) - answer.begin();
      correct += label == labels[static_cast<std::size_t>(i)] ? 1 : 0;
    }
    const auto n = static_cast<double>(images());
    return {static_cast<double>(glimpses) / n, static_cast<double>(correct) / n};
  }
};

ExitCalibration calibrated(const Looked& looked, const EarlyExit& form) {
  ExitCalibration calibration(form);
  for (Index i = 0; i < looked.images(); ++i) calibration.add(looked[i], looked.labels[static_cast<std::size_t>(i)]);
  return calibration;
}

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("calibration: the temperature that was put in is found, and the error is gone on other images") {
  for (const double factor : {3.0, 0.4}) {
    CAPTURE(factor);
    const Answers held_out(20000, 10, factor, 1);
    Answers others(20000, 10, factor, 2);
    const auto scaling = TemperatureScaling::fit(held_out.view(), held_out.labels);
    CHECK(scaling.temperature == doctest::Approx(factor).epsilon(0.03));
    const double before = train::expected_calibration_error(others.view(), others.labels);
    const double loss = train::negative_log_likelihood(others.view(), others.labels, scaling.temperature);
    CHECK(train::negative_log_likelihood(others.view(), others.labels) > loss);
    for (Index i = 0; i < 20000; ++i) scaling(others.row(i));
    const double after = train::expected_calibration_error(others.view(), others.labels);
    const double after_by_mass = train::expected_calibration_error(others.view(), others.labels, {15, Binning::equal_mass});
    CAPTURE(before);
    CAPTURE(after);
    CHECK(before > 0.1);
    CHECK(after < 0.02);
    CHECK(after_by_mass < 0.02);
    // Scaled in place, or by the temperature of the likelihood: the same but for float's rounding.
    CHECK(train::negative_log_likelihood(others.view(), others.labels) == doctest::Approx(loss).epsilon(1e-6));
  }
}

TEST_CASE("calibration: the fit is where the likelihood is greatest") {
  const Answers answers(300, 4, 2.0, 3);
  const double best = TemperatureScaling::fit(answers.view(), answers.labels).temperature;
  const auto loss = [&](double t) { return train::negative_log_likelihood(answers.view(), answers.labels, t); };
  // A minimum: its derivative by differences is 0, and both sides are above it.
  CHECK(std::abs(loss(best * 1.0001) - loss(best / 1.0001)) < 1e-10);
  for (double t = 0.02; t < 50; t *= 1.1) CHECK(loss(t) >= loss(best));
}

TEST_CASE("calibration: the likelihood, plainly") {
  const Answers answers(50, 5, 1.3, 4);
  for (const double t : {0.5, 1.0, 4.0}) {
    double sum = 0;
    for (Index i = 0; i < 50; ++i) {
      double all = 0;
      for (Index k = 0; k < 5; ++k) all += std::pow(static_cast<double>(answers.probabilities(i, k)), 1 / t);
      const auto label = answers.labels[static_cast<std::size_t>(i)];
      sum -= std::log(std::pow(static_cast<double>(answers.probabilities(i, label)), 1 / t) / all);
    }
    CHECK(train::negative_log_likelihood(answers.view(), answers.labels, t) == doctest::Approx(sum / 50).epsilon(1e-12));
  }
}

TEST_CASE("calibration: ends of the range") {
  // Every answer right: the sharper the better. Every answer wrong: the softer. No difference: 1.
  Tensor<float, 2> p({2, 2});
  const auto fit = [&](float first, std::int32_t a, std::int32_t b) {
    p(0, 0) = p(1, 1) = first;
    p(0, 1) = p(1, 0) = 1 - first;
    const std::array<std::int32_t, 2> labels{a, b};
    return TemperatureScaling::fit(std::as_const(p).view(), labels).temperature;
  };
  CHECK(fit(0.9F, 0, 1) == doctest::Approx(1 / TemperatureScaling::kMost));
  CHECK(fit(1.0F, 0, 1) == doctest::Approx(1 / TemperatureScaling::kMost));
  CHECK(fit(0.9F, 1, 0) == doctest::Approx(TemperatureScaling::kMost));
  CHECK(fit(1.0F, 1, 0) == doctest::Approx(TemperatureScaling::kMost));
  CHECK(fit(0.5F, 1, 0) == 1);
  // One right, one wrong: nothing is known.
  CHECK(fit(0.9F, 0, 0) == doctest::Approx(TemperatureScaling::kMost));
  // 0 has a logarithm here, and most of a temperature softens it.
  std::array<float, 3> sure{0, 1, 0};
  TemperatureScaling{2}(sure);
  CHECK(sure[1] == doctest::Approx(1));
  TemperatureScaling{1000}(sure);
  CHECK(sure[0] == doctest::Approx(1.0 / 3).epsilon(0.1));
}

TEST_CASE("calibration error: closed forms") {
  // All in one bin: |0.75 - 0.9|.
  std::vector<Judged> answers(4, {0.9F, true});
  answers[2].correct = false;
  CHECK(train::expected_calibration_error(answers) == doctest::Approx(0.15).epsilon(1e-6));
  // Two bins of weights 2/3 and 1/3: 2/3 |0.5 - 0.3| + 1/3 |1 - 0.8|.
  answers = {{0.3F, true}, {0.3F, false}, {0.8F, true}};
  CHECK(train::expected_calibration_error(answers, {2}) == doctest::Approx(0.2).epsilon(1e-6));
  // In one: |2/3 - 1.4/3|, and alone each is off by what it is off.
  CHECK(train::expected_calibration_error(answers, {1}) == doctest::Approx(0.2).epsilon(1e-6));
  answers = {{0.25F, true}, {0.5F, false}, {0.75F, true}, {1.0F, false}};
  CHECK(train::expected_calibration_error(answers, {1, Binning::equal_mass}) == doctest::Approx(0.125));
  CHECK(train::expected_calibration_error(answers, {2, Binning::equal_mass}) == doctest::Approx(0.25));
  CHECK(train::expected_calibration_error(answers, {4, Binning::equal_mass}) == doctest::Approx((0.75 + 0.5 + 0.25 + 1) / 4));
  CHECK(train::expected_calibration_error(answers, {40, Binning::equal_mass}) == doctest::Approx((0.75 + 0.5 + 0.25 + 1) / 4));
  // Equal confidences stay in one bin, in whatever order they come: |0.5 - 0.5|.
  answers = {{0.5F, true}, {0.5F, true}, {0.5F, false}, {0.5F, false}};
  CHECK(train::expected_calibration_error(answers, {2, Binning::equal_mass}) == 0);
  // The ends of the range.
  answers = {{0.0F, false}, {1.0F, true}};
  CHECK(train::expected_calibration_error(answers) == 0);
}

TEST_CASE("calibration error: against its definition") {
  Stream stream(5, 0, 0, Purpose::test);
  std::vector<Judged> answers;
  for (int i = 0; i < 500; ++i) {
    const float c = stream.uniform(0.0F, 1.0F);
    answers.push_back({c, stream.uniform(0.0F, 1.0F) < c * c});
  }
  for (const int bins : {1, 7, 15, 100}) {
    CHECK(train::expected_calibration_error(answers, {bins}) == doctest::Approx(naive_error(answers, bins)).epsilon(1e-12));
  }
}

TEST_CASE("exit calibration: every point of the curve is what the exit does") {
  const Looked looked(60, 5, 3, 6);
  for (const EarlyExit& form : {EarlyExit{ExitRule::confidence, 0, 1.7}, EarlyExit{ExitRule::margin, 0, 0.8, 2},
                                EarlyExit{ExitRule::entropy, 0, 1, 3}, EarlyExit{ExitRule::uncertainty}}) {
    const ExitCalibration calibration = calibrated(looked, form);
    const auto curve = calibration.curve();
    CHECK(curve.size() > 30);
    for (std::size_t i = 0; i < curve.size(); ++i) {
      EarlyExit exit = form;
      exit.threshold = curve[i].threshold;
      const auto [glimpses, accuracy] = looked.taken(exit);
      CHECK(curve[i].glimpses == doctest::Approx(glimpses).epsilon(1e-12));
      CHECK(curve[i].accuracy == doctest::Approx(accuracy).epsilon(1e-12));
      if (i > 0) CHECK(curve[i].glimpses > curve[i - 1].glimpses);
      if (i > 0) CHECK(curve[i].threshold > curve[i - 1].threshold);
    }
    CHECK(curve.front().glimpses == static_cast<double>(form.least));
    CHECK(curve.back().glimpses == 5);
  }
}

TEST_CASE("exit calibration: a wanted mean to within one image, and the budget changes later") {
  const Looked looked(400, 6, 10, 7);
  for (const ExitRule rule : {ExitRule::confidence, ExitRule::margin, ExitRule::entropy, ExitRule::uncertainty}) {
    const ExitCalibration calibration = calibrated(looked, {rule});
    for (const double wanted : {1.0, 1.5, 2.731, 4.0, 5.9, 6.0, 100.0}) {
      const EarlyExit exit = calibration.with_mean_glimpses(wanted);
      CHECK(exit.rule == rule);
      const double mean = looked.taken(exit).first;
      CHECK(mean <= wanted);
      // Where a threshold lets an image go on, its next answer may be less certain, and it goes on again: a few steps at once.
      CHECK(mean > std::min(wanted, 6.0) - 6.0 / 400);
    }
    CHECK_THROWS_AS((void)calibration.with_mean_glimpses(0.99), Error);
    CHECK_THROWS_AS((void)calibration.with_mean_glimpses(kNone), Error);
  }
  // Ties are kept together, and the wanted mean is never exceeded.
  const Looked ties(400, 6, 3, 8, true);
  const ExitCalibration calibration = calibrated(ties, {ExitRule::confidence});
  for (const double wanted : {1.0, 2.0, 3.5, 5.0}) CHECK(ties.taken(calibration.with_mean_glimpses(wanted)).first <= wanted);
}

TEST_CASE("exit calibration: fewest glimpses within a loss of accuracy") {
  const Looked looked(500, 6, 4, 9);
  const ExitCalibration calibration = calibrated(looked, {ExitRule::confidence});
  const double all = looked.taken({}).second;
  for (const double loss : {0.0, 0.002, 0.05, 1.0}) {
    const EarlyExit exit = calibration.within_loss(loss);
    const auto [glimpses, accuracy] = looked.taken(exit);
    CHECK(accuracy >= all - loss - 1e-9);
    for (const auto& point : calibration.curve()) CHECK((point.glimpses >= glimpses || point.accuracy < all - loss));
  }
  CHECK(looked.taken(calibration.within_loss(0.002)).first < 5);
  CHECK(looked.taken(calibration.within_loss(1)).first == 1);
  CHECK_THROWS_AS((void)calibration.within_loss(-0.1), Error);
  CHECK_THROWS_AS((void)calibration.within_loss(kNone), Error);
}

TEST_CASE("exit calibration: several workers") {
  const Looked looked(50, 4, 3, 10);
  const ExitCalibration whole = calibrated(looked, {ExitRule::entropy});
  ExitCalibration first({ExitRule::entropy});
  ExitCalibration second({ExitRule::entropy});
  for (Index i = 0; i < 50; ++i) (i < 20 ? first : second).add(looked[i], looked.labels[static_cast<std::size_t>(i)]);
  first.append(second);
  CHECK(first.images() == 50);
  const auto a = first.curve();
  const auto b = whole.curve();
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].threshold == b[i].threshold);
    CHECK(a[i].glimpses == b[i].glimpses);
    CHECK(a[i].accuracy == b[i].accuracy);
  }
  CHECK_THROWS_AS(first.append(ExitCalibration({ExitRule::margin})), Error);
  CHECK_THROWS_AS(first.append(ExitCalibration({ExitRule::entropy, 0, 2})), Error);
}

TEST_CASE("calibration: what does not fit is refused") {
  const Tensor<float, 2> none({0, 3});
  const Tensor<float, 2> zeros({2, 3});
  Tensor<float, 2> good({2, 3});
  for (float& p : good) p = 1.0F / 3;
  Tensor<float, 2> bad = good;
  bad(1, 2) = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::int32_t> labels{0, 2};
  const std::vector<std::int32_t> one{0};
  const std::vector<std::int32_t> beyond{0, 3};
  const std::vector<std::int32_t> negative{-1, 0};
  const auto refuses = [](View<const float, 2> p, std::span<const std::int32_t> y) {
    CHECK_THROWS_AS((void)TemperatureScaling::fit(p, y), Error);
    CHECK_THROWS_AS((void)train::expected_calibration_error(p, y), Error);
    CHECK_THROWS_AS((void)train::negative_log_likelihood(p, y), Error);
  };
  refuses(none.view(), {});
  refuses(std::as_const(zeros).view(), labels);
  refuses(std::as_const(bad).view(), labels);
  const auto view = std::as_const(good).view();
  refuses(view, one);
  refuses(view, beyond);
  refuses(view, negative);
  refuses({view.data(), {1, 3}, {3, 0}}, one);
  CHECK_THROWS_AS((void)train::negative_log_likelihood(view, labels, 0), Error);
  CHECK_NOTHROW((void)TemperatureScaling::fit(view, labels));
  CHECK(message_of([&] { (void)TemperatureScaling::fit(view, one); }) ==
        "temperature scaling: as many labels as rows expected, and at least one, 1 labels and 2 rows came");

  std::array<float, 2> row{0.5F, std::numeric_limits<float>::infinity()};
  CHECK_THROWS_AS(TemperatureScaling{}(row), Error);
  row = {0.5F, 0.5F};
  CHECK_THROWS_AS((TemperatureScaling{-1}(row)), Error);
  CHECK_THROWS_AS(TemperatureScaling{}(std::span<float>()), Error);

  CHECK_THROWS_AS((void)train::expected_calibration_error(std::span<const Judged>()), Error);
  const std::array<Judged, 1> judged{{{1.5F, true}}};
  CHECK_THROWS_AS((void)train::expected_calibration_error(judged), Error);
  const std::array<Judged, 1> nan{{{std::numeric_limits<float>::quiet_NaN(), true}}};
  CHECK_THROWS_AS((void)train::expected_calibration_error(nan), Error);
  const std::array<Judged, 1> fine{{{0.5F, true}}};
  CHECK_THROWS_AS((void)train::expected_calibration_error(fine, {0}), Error);
}

TEST_CASE("exit calibration: what does not fit is refused, and leaves no trace") {
  CHECK_THROWS_AS(ExitCalibration({ExitRule::never}), Error);
  CHECK_THROWS_AS(ExitCalibration({ExitRule::margin, 0, 0}), Error);
  CHECK_THROWS_AS(ExitCalibration({ExitRule::margin, 0, 1, 0}), Error);
  Looked looked(2, 3, 2, 11);
  ExitCalibration calibration({ExitRule::uncertainty});
  CHECK_THROWS_AS((void)calibration.curve(), Error);
  CHECK_THROWS_AS((void)calibration.with_mean_glimpses(2), Error);
  CHECK_THROWS_AS(calibration.add({}, 0), Error);
  model::Prediction p = looked[0];
  CHECK_THROWS_AS(calibration.add(p, 2), Error);
  CHECK_THROWS_AS(calibration.add(p, -1), Error);
  p.uncertainty = {};
  CHECK_THROWS_AS(calibration.add(p, 0), Error);
  p = looked[0];
  p.after_steps = p.after_steps.first(5);
  CHECK_THROWS_AS(calibration.add(p, 0), Error);
  p.after_steps = {};
  CHECK(message_of([&] { calibration.add(p, 0); }) ==
        "exit calibration: the answers after each step expected, 2 for each, 0 numbers came");
  looked.uncertainty[2] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(calibration.add(looked[0], 0), Error);
  looked.uncertainty[2] = 0;
  looked.after[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(calibration.add(looked[0], 0), Error);
  CHECK(calibration.images() == 0);
  calibration.add(looked[1], 0);
  CHECK(calibration.images() == 1);
  CHECK(calibration.curve().back().glimpses == 3);
}

TEST_CASE("ensemble temperature scaling: honest answers with a few that are sure and wrong") {
  // Of 20,000 answers of 10 classes with confidences between 0.5 and 1, as sure as they are right; and one in ten replaced by
  // one that is as sure and right by chance.
  constexpr Index count = 20000;
  constexpr Index classes = 10;
  const auto make = [&](std::uint64_t seed, Tensor<float, 2>& p, std::vector<std::int32_t>& labels) {
    for (Index i = 0; i < count; ++i) {
      Stream stream(seed, 0, static_cast<std::uint64_t>(i), Purpose::test);
      const double sure = stream.uniform(0.5, 1.0);
      for (Index k = 0; k < classes; ++k) p(i, k) = static_cast<float>((1 - sure) / 9);
      p(i, 0) = static_cast<float>(sure);
      const bool honest = stream.uniform(0.0, 1.0) > 0.1;
      const bool right = honest && stream.uniform(0.0, 1.0) < sure;
      labels[static_cast<std::size_t>(i)] =
          right ? 0 : static_cast<std::int32_t>(honest ? 1 + stream.below(9) : stream.below(10));
    }
  };
  Tensor<float, 2> held_out({count, classes});
  Tensor<float, 2> test({count, classes});
  std::vector<std::int32_t> labels(count);
  std::vector<std::int32_t> test_labels(count);
  make(1, held_out, labels);
  make(2, test, test_labels);
  const auto view = std::as_const(held_out).view();
  const auto ensemble = train::EnsembleTemperatureScaling::fit(view, labels);
  CHECK(ensemble.softened + ensemble.plain + ensemble.uniform == doctest::Approx(1));
  CHECK(ensemble.uniform == doctest::Approx(0.1).epsilon(0.3));

  const auto error_after = [&](const auto& scaling) {
    Tensor<float, 2> scaled({count, classes});
    std::copy_n(test.data(), test.size(), scaled.data());
    for (Index i = 0; i < count; ++i) {
      const std::span<float> row(scaled.data() + i * classes, classes);
      scaling(row);
      CHECK(std::max_element(row.begin(), row.end()) == row.begin());
    }
    return train::expected_calibration_error(std::as_const(scaled).view(), test_labels);
  };
  const double before = train::expected_calibration_error(std::as_const(test).view(), test_labels);
  const double alone = error_after(train::TemperatureScaling::fit(view, labels));
  const double together = error_after(ensemble);
  CHECK(before > 0.05);
  CHECK(together < 0.015);
  CHECK(together < alone);
}
