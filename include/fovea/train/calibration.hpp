// SPDX-License-Identifier: MIT
/// \file
/// What is set after training on images held out from it: the temperature that makes probabilities honest, and the threshold
/// that makes early exit take a wanted number of glimpses.
///
/// C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017: temperature scaling.
/// Here from probabilities instead of logits, which differ from log p by a constant per image that the softmax takes away.
///
/// M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015:
/// expected calibration error; theirs is of the probability of one class, here it is that of the most probable one, as Guo et
/// al. have it.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/model/early_exit.hpp>
#include <fovea/model/prediction.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace train {

namespace detail {

/// Throws Error unless this is a class of K.
inline void require_label(const char* where, std::int32_t label, std::size_t classes) {
  require(label >= 0 && static_cast<std::size_t>(label) < classes, where, ": a label in [0, ", classes, ") expected, ", label,
          " came");
}

/// The rows of probabilities [N, K] with the label of each. Throws Error unless N >= 1, as many labels, all of them good.
class LabelledRows {
 public:
  LabelledRows(const char* where, View<const float, 2> probabilities, std::span<const std::int32_t> labels)
      : probabilities_(probabilities), labels_(labels) {
    require(size() >= 1 && static_cast<Index>(labels.size()) == size(), where,
            ": as many labels as rows expected, and at least one, ", labels.size(), " labels and ", size(), " rows came");
    require(probabilities.stride(1) == 1, where, ": rows without gaps expected, a stride of ", probabilities.stride(1),
            " came");
    for (Index i = 0; i < size(); ++i) {
      model::detail::require_probabilities(where, (*this)[i]);
      require_label(where, label(i), (*this)[i].size());
    }
  }
  [[nodiscard]] Index size() const noexcept { return probabilities_.extent(0); }
  [[nodiscard]] std::span<const float> operator[](Index i) const noexcept {
    return {probabilities_.data() + i * probabilities_.stride(0), static_cast<std::size_t>(probabilities_.extent(1))};
  }
  [[nodiscard]] std::int32_t label(Index i) const noexcept { return labels_[static_cast<std::size_t>(i)]; }

 private:
  View<const float, 2> probabilities_;
  std::span<const std::int32_t> labels_;
};

/// The mean of - log of the label's probability under softmax(sharpness log p), and its derivative in the sharpness.
struct Likelihood {
  double loss = 0;
  double slope = 0;
};
[[nodiscard]] inline Likelihood likelihood(const LabelledRows& rows, double sharpness) {
  Likelihood total;
  for (Index i = 0; i < rows.size(); ++i) {
    const std::span<const float> p = rows[i];
    const double greatest = model::detail::log_probability(*std::max_element(p.begin(), p.end()));
    double sum = 0;
    double weighted = 0;
    for (const float value : p) {
      const double a = model::detail::log_probability(value) - greatest;
      const double e = std::exp(sharpness * a);
      sum += e;
      weighted += a * e;
    }
    const double of_label = model::detail::log_probability(p[static_cast<std::size_t>(rows.label(i))]) - greatest;
    total.loss += std::log(sum) - sharpness * of_label;
    total.slope += weighted / sum - of_label;
  }
  const auto n = static_cast<double>(rows.size());
  return {total.loss / n, total.slope / n};
}

}  // namespace detail

/// The mean of - log p(label), in nats, after a temperature. `probabilities` [N, K] of sum 1, `labels` [N] in [0, K). Throws
/// Error on others, on none, and on a temperature not above 0.
[[nodiscard]] inline double negative_log_likelihood(View<const float, 2> probabilities, std::span<const std::int32_t> labels,
                                                    double temperature = 1) {
  model::detail::require_temperature("negative log-likelihood", temperature);
  return detail::likelihood({"negative log-likelihood", probabilities, labels}, 1 / temperature).loss;
}

/// softmax(log p / temperature): above 1 it softens, below it sharpens; which class is the most probable never changes.
struct TemperatureScaling {
  static constexpr double kMost = 100;  ///< fitted temperatures lie in [1 / kMost, kMost]

  double temperature = 1;

  /// The temperature of least negative log-likelihood, of images held out from training: `probabilities` [N, K] of sum 1,
  /// `labels` [N] in [0, K). The likelihood is convex in 1 / temperature, so there is one; where it keeps growing (every answer
  /// is right) the end of the range, and 1 where the temperature makes no difference. Throws Error as
  /// negative_log_likelihood().
  [[nodiscard]] static TemperatureScaling fit(View<const float, 2> probabilities, std::span<const std::int32_t> labels) {
    const detail::LabelledRows rows("temperature scaling", probabilities, labels);
    const double slope = detail::likelihood(rows, 1).slope;
    if (slope == 0) return {};
    // Bisection on the slope, which grows with the sharpness, in proportion: to 1e-10 of it.
    double low = slope < 0 ? 1 : 1 / kMost;
    double high = slope < 0 ? kMost : 1;
    for (int i = 0; i < 36; ++i) {
      const double middle = std::sqrt(low * high);
      (detail::likelihood(rows, middle).slope <= 0 ? low : high) = middle;
    }
    return {1 / std::sqrt(low * high)};
  }

  /// Of one answer [K], in place. Throws Error on probabilities that are none, and on a temperature not above 0.
  void operator()(std::span<float> probabilities) const {
    model::detail::require_probabilities("temperature scaling", probabilities);
    model::detail::require_temperature("temperature scaling", temperature);
    const double greatest = model::detail::log_probability(*std::max_element(probabilities.begin(), probabilities.end()));
    const auto softened = [&](float p) { return std::exp((model::detail::log_probability(p) - greatest) / temperature); };
    double sum = 0;
    for (const float p : probabilities) sum += softened(p);
    for (float& p : probabilities) p = static_cast<float>(softened(p) / sum);
  }
};

/// Temperature and two more: a share of the answer as it was, and a share of no answer at all. One temperature cannot mend
/// answers that are honest but for a few that are very sure and wrong: it softens all for the sake of those.
///
///     softened softmax(log p / temperature) + plain p + uniform / K,    softened + plain + uniform = 1, all at least 0.
///
/// J. Zhang, B. Kailkhura, T. Y.-J. Han, "Mix-n-Match: ensemble and compositional methods for uncertainty calibration in deep
/// learning", ICML 2020: ensemble temperature scaling; here the shares too are those of greatest likelihood, found by
/// expectation maximisation. Which class is the most probable never changes.
struct EnsembleTemperatureScaling {
  double temperature = 1;
  double softened = 1;
  double plain = 0;
  double uniform = 0;

  /// The temperature as TemperatureScaling fits it, then the shares, of images held out from training. Throws Error as that.
  [[nodiscard]] static EnsembleTemperatureScaling fit(View<const float, 2> probabilities,
                                                      std::span<const std::int32_t> labels) {
    const detail::LabelledRows rows("ensemble temperature scaling", probabilities, labels);
    const TemperatureScaling scaling = TemperatureScaling::fit(probabilities, labels);
    std::vector<float> row(static_cast<std::size_t>(probabilities.extent(1)));
    std::vector<std::array<double, 3>> of_label;  // what each of the three gives the label
    for (Index i = 0; i < rows.size(); ++i) {
      std::copy(rows[i].begin(), rows[i].end(), row.begin());
      const auto label = static_cast<std::size_t>(rows.label(i));
      const auto plain = static_cast<double>(row[label]);
      scaling(row);
      of_label.push_back({static_cast<double>(row[label]), plain, 1 / static_cast<double>(row.size())});
    }
    // The likelihood is concave in the shares.
    std::array<double, 3> shares{1.0 / 3, 1.0 / 3, 1.0 / 3};
    for (int iteration = 0; iteration < 500; ++iteration) {
      std::array<double, 3> due{};
      for (const auto& p : of_label) {
        const double sum = shares[0] * p[0] + shares[1] * p[1] + shares[2] * p[2];
        for (std::size_t j = 0; j < 3; ++j) due[j] += shares[j] * p[j] / sum;
      }
      for (std::size_t j = 0; j < 3; ++j) shares[j] = due[j] / static_cast<double>(of_label.size());
    }
    return {scaling.temperature, shares[0], shares[1], shares[2]};
  }

  /// Of one answer [K], in place. Throws Error on probabilities that are none, and on a temperature not above 0.
  void operator()(std::span<float> probabilities) const {
    const std::vector<float> before(probabilities.begin(), probabilities.end());
    TemperatureScaling{temperature}(probabilities);
    const double each = uniform / static_cast<double>(before.size());
    for (std::size_t k = 0; k < before.size(); ++k) {
      probabilities[k] =
          static_cast<float>(softened * static_cast<double>(probabilities[k]) + plain * static_cast<double>(before[k]) + each);
    }
  }
};

// ------------------------------------------------------------------------------------------ expected calibration error

/// An answer, as far as calibration is concerned.
struct Judged {
  float confidence = 0;  ///< the probability of the most probable class, in [0, 1]
  bool correct = false;
};

enum class Binning : std::uint8_t {
  equal_width,  ///< of confidence: ((m - 1) / M, m / M]
  equal_mass,   ///< as many answers in each, but that equal confidences stay together
};

struct CalibrationBins {
  Index count = 15;
  Binning binning = Binning::equal_width;
};

/// The mean over the answers of | accuracy - mean confidence | of the bin that each is in, in [0, 1]. Throws Error on no
/// answers, a confidence out of [0, 1], or no bins.
[[nodiscard]] inline double expected_calibration_error(std::span<const Judged> answers, const CalibrationBins& bins = {}) {
  require(!answers.empty(), "calibration error: answers expected, none came");
  require(bins.count >= 1, "calibration error: at least 1 bin expected, ", bins.count, " came");
  for (const Judged& a : answers)
    require(a.confidence >= 0 && a.confidence <= 1, "calibration error: confidences in [0, 1] expected, ", a.confidence,
            " came");
  const auto count = static_cast<std::size_t>(bins.count);

  double gaps = 0;
  if (bins.binning == Binning::equal_width) {
    std::vector<double> gap(count);
    for (const Judged& a : answers) {
      const auto confidence = static_cast<double>(a.confidence);
      const auto bin = static_cast<std::size_t>(std::max(0.0, std::ceil(confidence * static_cast<double>(count)) - 1));
      gap[bin] += (a.correct ? 1.0 : 0.0) - confidence;
    }
    for (const double g : gap) gaps += std::abs(g);
  } else {
    std::vector<Judged> sorted(answers.begin(), answers.end());
    std::sort(sorted.begin(), sorted.end(), [](const Judged& a, const Judged& b) {
      return a.confidence != b.confidence ? a.confidence < b.confidence : a.correct < b.correct;
    });
    std::size_t i = 0;
    for (std::size_t bin = 1; bin <= count; ++bin) {
      double gap = 0;
      const std::size_t end = sorted.size() * bin / count;
      for (; i < sorted.size() && (i < end || (i > 0 && sorted[i].confidence == sorted[i - 1].confidence)); ++i) {
        gap += (sorted[i].correct ? 1.0 : 0.0) - static_cast<double>(sorted[i].confidence);
      }
      gaps += std::abs(gap);
    }
  }
  return gaps / static_cast<double>(answers.size());
}

/// The same of probabilities [N, K] of sum 1, and labels [N] in [0, K). Throws Error on others, or none.
[[nodiscard]] inline double expected_calibration_error(View<const float, 2> probabilities, std::span<const std::int32_t> labels,
                                                       const CalibrationBins& bins = {}) {
  const detail::LabelledRows rows("calibration error", probabilities, labels);
  std::vector<Judged> answers;
  answers.reserve(labels.size());
  for (Index i = 0; i < rows.size(); ++i) {
    const auto p = rows[i];
    const auto first = std::max_element(p.begin(), p.end());
    answers.push_back({std::min(*first, 1.0F), first - p.begin() == rows.label(i)});
  }
  return expected_calibration_error(answers, bins);
}

// ---------------------------------------------------------------------------------------------------------- early exit

/// What a threshold comes to on the images held out.
struct ExitPoint {
  double threshold = 0;
  double glimpses = 0;  ///< mean over the images
  double accuracy = 0;
};

/// Finds the threshold of an EarlyExit from answers that were given without one: every threshold that makes a difference is
/// tried, at the cost of sorting the certainties. So the budget can change after training, and nothing is trained again.
///
///     ExitCalibration calibration({.rule = model::ExitRule::confidence, .temperature = scaling.temperature});
///     for (each image held out) calibration.add(saccader.classify(image, weights, arena), label);
///     const model::EarlyExit exit = calibration.with_mean_glimpses(2.5);
///
/// The accuracies are those of the images it was given: report others.
class ExitCalibration {
 public:
  /// Rule, temperature and least of `exit`; its threshold is what is to be found. Throws Error on those, and on the rule
  /// `never`.
  explicit ExitCalibration(const model::EarlyExit& exit) : exit_(exit) {
    exit.check();
    require(exit.rule != model::ExitRule::never, "exit calibration: a rule that has a threshold expected, never came");
  }

  /// An image: its answers after each step, of all steps, and its label in [0, K). Throws Error where there are none, or the
  /// rule cannot be applied to them.
  void add(const model::Prediction& prediction, std::int32_t label) {
    const std::size_t classes = prediction.probabilities.size();
    require(classes > 0 && !prediction.after_steps.empty() && prediction.after_steps.size() % classes == 0,
            "exit calibration: the answers after each step expected, ", classes, " for each, ", prediction.after_steps.size(),
            " numbers came");
    detail::require_label("exit calibration", label, classes);
    const std::size_t steps = prediction.after_steps.size() / classes;
    require(exit_.rule != model::ExitRule::uncertainty || prediction.uncertainty.size() == steps,
            "exit calibration: an entropy of the posterior for each of ", steps, " steps expected, ",
            prediction.uncertainty.size(), " came");
    std::vector<Look> looks;
    double most = -std::numeric_limits<double>::infinity();
    for (std::size_t t = 0; t < steps; ++t) {
      const auto answer = prediction.after_steps.subspan(t * classes, classes);
      model::detail::require_probabilities("exit calibration", answer);
      const double entropy = exit_.rule == model::ExitRule::uncertainty ? static_cast<double>(prediction.uncertainty[t]) : 0.0;
      require(std::isfinite(entropy), "exit calibration: finite entropies of posteriors expected, ", entropy, " came");
      if (static_cast<Index>(t) + 1 >= exit_.least) {
        most = std::max(most, model::certainty(exit_.rule, answer, entropy, exit_.temperature));
      }
      looks.push_back({most, std::max_element(answer.begin(), answer.end()) - answer.begin() == label});
    }
    looks_.insert(looks_.end(), looks.begin(), looks.end());
    ends_.push_back(looks_.size());
  }

  /// The images of another one behind its own: calibrations of several workers come to the same, whatever their order.
  /// Throws Error where it is of another rule, temperature or least.
  void append(const ExitCalibration& next) {
    require(next.exit_.rule == exit_.rule && next.exit_.temperature == exit_.temperature && next.exit_.least == exit_.least,
            "exit calibration: one of the same rule, temperature and least steps expected, another came");
    for (const std::size_t end : next.ends_) ends_.push_back(looks_.size() + end);
    looks_.insert(looks_.end(), next.looks_.begin(), next.looks_.end());
  }

  [[nodiscard]] Index images() const noexcept { return static_cast<Index>(ends_.size()); }

  /// Every threshold that makes a difference, from -infinity (`least` steps) to infinity (all steps); glimpses grow along it. A
  /// threshold lies in the middle between two certainties that were met, lest a rounding decide. Throws Error without images.
  [[nodiscard]] std::vector<ExitPoint> curve() const {
    require(!ends_.empty(), "exit calibration: images expected, none came");
    // Above the most certain of its answers so far an image takes one step more.
    struct Step {
      double above;
      int gain;  ///< right answers
    };
    std::vector<Step> more;
    Index glimpses = 0;
    Index correct = 0;
    std::size_t begin = 0;
    for (const std::size_t end : ends_) {
      const std::size_t first = std::min(begin + static_cast<std::size_t>(exit_.least), end) - 1;
      glimpses += static_cast<Index>(first + 1 - begin);
      correct += looks_[first].correct ? 1 : 0;
      for (std::size_t i = first; i + 1 < end; ++i) {
        more.push_back({looks_[i].most, static_cast<int>(looks_[i + 1].correct) - static_cast<int>(looks_[i].correct)});
      }
      begin = end;
    }
    std::sort(more.begin(), more.end(), [](const Step& a, const Step& b) { return a.above < b.above; });

    const auto n = static_cast<double>(ends_.size());
    constexpr double infinity = std::numeric_limits<double>::infinity();
    std::vector<ExitPoint> points{{-infinity, static_cast<double>(glimpses) / n, static_cast<double>(correct) / n}};
    for (std::size_t i = 0; i < more.size();) {
      const double here = more[i].above;
      for (; i < more.size() && more[i].above == here; ++i) {
        ++glimpses;
        correct += more[i].gain;
      }
      const double middle = i < more.size() ? here + (more[i].above - here) / 2 : infinity;
      const double threshold = middle > here ? middle : more[i].above;
      points.push_back({threshold, static_cast<double>(glimpses) / n, static_cast<double>(correct) / n});
    }
    return points;
  }

  /// The exit of most glimpses whose mean is not above this, and below it by less than the steps of one image, where no two
  /// images are equally certain. Throws Error where even `least` steps are more, and without images.
  [[nodiscard]] model::EarlyExit with_mean_glimpses(double wanted) const {
    const std::vector<ExitPoint> points = curve();
    require(wanted >= points.front().glimpses, "exit calibration: a mean of at least ", points.front().glimpses,
            " glimpses expected, ", wanted, " came");
    const auto beyond = std::find_if(points.begin(), points.end(), [&](const ExitPoint& p) { return p.glimpses > wanted; });
    return at(*(beyond - 1));
  }

  /// The exit of fewest glimpses whose accuracy is within `loss` (a share of the images, 0.002 for 0.2 points) of that of all
  /// steps. Throws Error on a loss that is NaN or negative, or without images.
  [[nodiscard]] model::EarlyExit within_loss(double loss) const {
    require(loss >= 0, "exit calibration: a loss of at least 0 expected, ", loss, " came");
    const std::vector<ExitPoint> points = curve();
    const double wanted = points.back().accuracy - loss - 1e-12;  // which is for the rounding of quotients
    return at(*std::find_if(points.begin(), points.end(), [&](const ExitPoint& p) { return p.accuracy >= wanted; }));
  }

 private:
  struct Look {
    double most;   ///< the greatest certainty so far, of the steps after which it may stop
    bool correct;  ///< the answer after this step
  };

  [[nodiscard]] model::EarlyExit at(const ExitPoint& point) const {
    model::EarlyExit exit = exit_;
    exit.threshold = point.threshold;
    return exit;
  }

  model::EarlyExit exit_;
  std::vector<Look> looks_;        ///< of all images, one after the other
  std::vector<std::size_t> ends_;  ///< of each image in looks_
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
