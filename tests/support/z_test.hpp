// SPDX-License-Identifier: MIT
// Is the mean of many random vectors the one expected? One z per component: (mean - expected) / standard error.
#pragma once

#include <fovea/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace fovea_test {

class ZTest {
 public:
  explicit ZTest(std::vector<double> expected)
      : expected_(std::move(expected)), sum_(expected_.size()), square_(expected_.size()) {}

  /// One more draw. Sums are of differences from what is expected, so that no digits are lost to it.
  template <class T>
  void add(const T* draw) {
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      const double d = static_cast<double>(draw[i]) - expected_[i];
      sum_[i] += d;
      square_[i] += d * d;
    }
    ++count_;
  }
  [[nodiscard]] std::size_t components() const { return expected_.size(); }
  [[nodiscard]] fovea::Index count() const { return count_; }
  [[nodiscard]] double expected(std::size_t i) const { return expected_[i]; }
  [[nodiscard]] double mean(std::size_t i) const { return expected_[i] + sum_[i] / n(); }
  [[nodiscard]] double variance(std::size_t i) const {
    const double d = sum_[i] / n();
    return std::max(0.0, (square_[i] / n() - d * d) * n() / (n() - 1));
  }
  /// The largest |z|; without noise, infinite unless the mean is right to rounding.
  [[nodiscard]] double worst() const {
    double worst = 0;
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      const double difference = std::abs(sum_[i] / n());
      if (difference <= 1e-12 * (1 + std::abs(expected_[i]))) continue;
      const double error = std::sqrt(variance(i) / n());
      worst = std::max(worst, error > 0 ? difference / error : std::numeric_limits<double>::infinity());
    }
    return worst;
  }
  /// |mean - expected| / |expected|, of the whole vector: noise included.
  [[nodiscard]] double relative_bias() const {
    double bias = 0;
    for (std::size_t i = 0; i < expected_.size(); ++i) bias += std::pow(sum_[i] / n(), 2);
    return std::sqrt(bias) / length();
  }
  /// The sum of the components' variances: what a step's noise is.
  [[nodiscard]] double total_variance() const {
    double total = 0;
    for (std::size_t i = 0; i < expected_.size(); ++i) total += variance(i);
    return total;
  }
  /// |expected|.
  [[nodiscard]] double length() const {
    double square = 0;
    for (const double e : expected_) square += e * e;
    return std::sqrt(square);
  }
  /// The cosine of the angle between the mean and what is expected.
  [[nodiscard]] double cosine() const {
    double dot = 0;
    double square = 0;
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      dot += mean(i) * expected_[i];
      square += mean(i) * mean(i);
    }
    return dot / (std::sqrt(square) * length());
  }

 private:
  [[nodiscard]] double n() const { return static_cast<double>(count_); }

  std::vector<double> expected_;
  std::vector<double> sum_;
  std::vector<double> square_;
  fovea::Index count_ = 0;
};

}  // namespace fovea_test
