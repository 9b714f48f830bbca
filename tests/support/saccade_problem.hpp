// SPDX-License-Identifier: MIT
// One saccade whose exact gradient can be enumerated: which cell of a grid to look at, the cost being that of naming the class
// of a picture from the glimpse there. The cost is defined between the cells too, for estimators that relax.
#pragma once

#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/grid.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace fovea_test {

template <class T>
class SaccadeProblem {
 public:
  explicit SaccadeProblem(fovea::sample::Grid grid = {4, 6}, std::uint64_t seed = 1)
      : grid_(grid),
        picture_(static_cast<std::size_t>(kSide * kSide)),
        weights_(static_cast<std::size_t>(kGlimpse * kGlimpse * kClasses)),
        logits_(static_cast<std::size_t>(grid.rows * grid.columns)) {
    fovea::Stream stream(seed, 0, 0, fovea::Purpose::test);
    const double phase = stream.uniform(0.0, 6.0);
    for (fovea::Index y = 0; y < kSide; ++y) {
      for (fovea::Index x = 0; x < kSide; ++x) {
        const double u = static_cast<double>(x) / kSide, v = static_cast<double>(y) / kSide;
        picture_[static_cast<std::size_t>(y * kSide + x)] =
            static_cast<T>(0.5 + 0.5 * std::sin(7 * u + phase) * std::cos(5 * v - 3 * u + phase));
      }
    }
    for (T& w : weights_) w = static_cast<T>(2 * stream.normal<double>());
    for (T& l : logits_) l = static_cast<T>(stream.normal<double>());
  }

  [[nodiscard]] const fovea::sample::Grid& grid() const { return grid_; }
  [[nodiscard]] fovea::Index cells() const { return grid_.rows * grid_.columns; }
  /// The logits of the problem, [cells].
  [[nodiscard]] const std::vector<T>& logits() const { return logits_; }

  /// -log p(class | glimpse at (x, y)), regions' centres [N, 2] to [N].
  template <fovea::Context C>
  [[nodiscard]] fovea::VarOf<C> cost_at(C& context, fovea::VarOf<C> places) const {
    using namespace fovea;
    return cost_of(context, evidence_at(context, places));
  }
  /// The cost of a cell, or of weights of cells [N, cells] -> [N].
  template <fovea::Context C>
  [[nodiscard]] fovea::VarOf<C> cost(C& context, fovea::VarOf<C> cells) const {
    return cost_at(context, fovea::sample::locations(context, grid_, cells));
  }
  /// The same at the cells, and between them the cost of the mean of their glimpses: smoother than that of the mean place.
  template <fovea::Context C>
  [[nodiscard]] fovea::VarOf<C> cost_of_mean_glimpse(C& context, fovea::VarOf<C> cells) const {
    // Class logits are linear in the glimpse.
    return cost_of(context, fovea::nn::dense(context, cells, fovea::nn::detach(features(context, every_cell(context)))));
  }
  /// The class logits [N, 3] of the same: a cost that is a vector.
  template <fovea::Context C>
  [[nodiscard]] fovea::VarOf<C> features(C& context, fovea::VarOf<C> cells) const {
    return evidence_at(context, fovea::sample::locations(context, grid_, cells));
  }
  /// `rows` independent copies of the problem's distribution: the gradient of each row is one draw of an estimator's.
  template <fovea::Context C>
  [[nodiscard]] fovea::sample::Categorical<T> distribution(C& context, fovea::Index rows) const {
    const fovea::VarOf<C> logits = context.variable(fovea::Shape{rows, cells()});
    for (fovea::Index r = 0; r < rows; ++r) std::copy(logits_.begin(), logits_.end(), logits.value + r * cells());
    return {logits};
  }
  /// One-hot rows of all cells [cells, cells].
  template <fovea::Context C>
  [[nodiscard]] fovea::VarOf<C> every_cell(C& context) const {
    const fovea::VarOf<C> all = context.constant(fovea::Shape{cells(), cells()});
    std::fill_n(all.value, all.size(), T(0));
    for (fovea::Index i = 0; i < cells(); ++i) all.value[i * cells() + i] = T(1);
    return all;
  }
  /// E[cost] and its gradient to the logits, by enumeration.
  [[nodiscard]] std::vector<double> exact_gradient() const {
    using namespace fovea;
    Arena arena;
    Tape<T> tape(arena);
    const auto q = distribution(tape, 1);
    const auto p = sample::probabilities(tape, q);
    tape.backward(nn::sum(tape, nn::multiply(tape, p.reshape(Shape{cells()}), cost(tape, every_cell(tape)))));
    return std::vector<double>(q.logits.gradient, q.logits.gradient + cells());
  }

  static constexpr fovea::Index kClasses = 3;

 private:
  static constexpr fovea::Index kSide = 24;
  static constexpr fovea::Index kGlimpse = 2;

  template <fovea::Context C>
  [[nodiscard]] static fovea::VarOf<C> cost_of(C& context, fovea::VarOf<C> logits) {
    const fovea::Index rows = logits.shape[0];
    auto* labels = context.template scratch<std::int32_t>(rows);
    std::fill_n(labels, rows, 1);
    return fovea::nn::cross_entropy(context, logits, std::span<const std::int32_t>(labels, static_cast<std::size_t>(rows)));
  }

  template <fovea::Context C>
  [[nodiscard]] fovea::VarOf<C> evidence_at(C& context, fovea::VarOf<C> places) const {
    using namespace fovea;
    const VarOf<C> scale = context.constant(Shape{places.shape[0], 1});
    std::fill_n(scale.value, scale.size(), T(0.3));
    const VarOf<C> picture = context.constant(picture_.data(), Shape{kSide, kSide, 1});
    const VarOf<C> glimpse = glimpse::Bilinear{}(context, picture, nn::concat(context, {scale, places}), {kGlimpse, kGlimpse});
    const VarOf<C> w = context.constant(weights_.data(), Shape{kGlimpse * kGlimpse, kClasses});
    return nn::dense(context, nn::flatten(context, glimpse), w);
  }

  fovea::sample::Grid grid_;
  std::vector<T> picture_;
  std::vector<T> weights_;
  std::vector<T> logits_;
};

}  // namespace fovea_test
