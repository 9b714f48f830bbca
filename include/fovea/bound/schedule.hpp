// SPDX-License-Identifier: MIT
/// \file
/// Schedules: weights, temperatures, exploration and rates as functions of progress in [0, 1].
///
///     Ramp{0, 1, 0, 0.1}                                              KL warm-up
///     Cycle{Ramp{0, 1, 0, 0.5}, 4}                                    KL cycling
///     Exponential{.rate = 3, .floor = 0.5}                            a temperature
///     Ramp{0.12, 0.02, 0, 0.5, Ramp::Shape::geometric}                exploration: the deviation of a location's noise
///     Piecewise{std::array<Knot, 3>{{{0, 1}, {0.5, 1}, {0.5, 0.1}}}}  steps, or any polygon
///     StepDecay{.from = 0.1, .stairs = 3}                             a rate: 0.1, 0.01, 0.001 for a third of the time each
///     WarmUp{StepDecay{.from = 0.1}, 0.05}                            the same, warmed up
///     OneCycle{.peak = 0.01}                                          a rate up to 0.01 and down to nearly nothing
///
/// Warm-up of the KL: S. R. Bowman et al., "Generating sentences from a continuous space", CoNLL 2016.
#pragma once

#include <fovea/core/config.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <numbers>

namespace fovea::inline FOVEA_ABI {
namespace bound {

/// A small value that is called with progress in [0, 1] and returns a number.
template <class S>
concept Schedule = std::copyable<S> && requires(const S& schedule, double progress) {
  { schedule(progress) } -> std::same_as<double>;
};

/// Goes from `from` to `to` while progress goes from `begin` to `end`; constant outside. Any of the four may be equal.
/// `shape` is the curve between: a straight line, half a cosine (flat at both ends), or equal factors in equal times
/// (geometric: `from` and `to` positive).
struct Ramp {
  enum class Shape { linear, cosine, geometric };

  double from = 0;
  double to = 1;
  double begin = 0;
  double end = 1;
  Shape shape = Shape::linear;

  [[nodiscard]] double operator()(double progress) const noexcept {
    if (progress >= end) return to;
    if (progress <= begin) return from;
    double u = (progress - begin) / (end - begin);
    if (shape == Shape::geometric) return from * std::pow(to / from, u);
    if (shape == Shape::cosine) u = (1 - std::cos(std::numbers::pi * u)) / 2;
    return from + (to - from) * u;
  }

  /// The same value always.
  [[nodiscard]] static constexpr Ramp constant(double value) { return {value, value, 0, 0}; }
};

/// Linear warm-up from 0 to `peak` over the first `warm_up` of progress, then half a cosine down to `peak * floor`.
struct WarmUpCosine {
  double peak = 1;
  double warm_up = 0.05;
  double floor = 0;

  [[nodiscard]] double operator()(double progress) const noexcept {
    if (progress < warm_up) return peak * std::max(progress / warm_up, 0.0);
    return Ramp{peak, peak * floor, warm_up, 1, Ramp::Shape::cosine}(progress);
  }
};

/// A straight line from 0 to where `of` starts, over the first `warm_up` of progress, in [0, 1); then all of `of` in what is
/// left.
template <Schedule S>
struct WarmUp {
  S of;
  double warm_up = 0.05;

  [[nodiscard]] double operator()(double progress) const {
    if (progress < warm_up) return of(0.0) * std::max(progress / warm_up, 0.0);
    return of((progress - warm_up) / (1 - warm_up));
  }
};
template <Schedule S>
WarmUp(S, double) -> WarmUp<S>;
template <Schedule S>
WarmUp(S) -> WarmUp<S>;

/// `stairs` >= 1 values of equal length, each `factor` times the one before: "a tenth every 30 of 90 epochs" has 3.
struct StepDecay {
  double from = 1;
  double factor = 0.1;
  int stairs = 3;

  [[nodiscard]] double operator()(double progress) const noexcept {
    return from * std::pow(factor, std::clamp(std::floor(progress * stairs), 0.0, stairs - 1.0));
  }
};

/// A rate that rises to `peak`, over the first `rise` of progress, and falls to nearly nothing in the rest. L. N. Smith, N.
/// Topin, "Super-convergence: very fast training of neural networks using large learning rates", SPIE 11006, 2019. As
/// OneCycleLR of torch, whose defaults these are: half a cosine up from peak / start_division, half a cosine down to peak /
/// (start_division * end_division); there the paper has straight lines, as long down as up, and the last fall apart. The
/// momentum, which goes the other way there, stays as it is.
struct OneCycle {
  double peak = 1;
  double rise = 0.3;
  double start_division = 25;
  double end_division = 1e4;

  [[nodiscard]] double operator()(double progress) const noexcept {
    const double start = peak / start_division;
    if (progress < rise) return Ramp{start, peak, 0, rise, Ramp::Shape::cosine}(progress);
    return Ramp{peak, start / end_division, rise, 1, Ramp::Shape::cosine}(progress);
  }
};

/// `of` again and again, `count` >= 1 times, each in 1 / count of progress. H. Fu et al., "Cyclical annealing schedule: a
/// simple approach to mitigating KL vanishing", NAACL 2019: Cycle{Ramp{0, 1, 0, 0.5}, 4}.
template <Schedule S>
struct Cycle {
  S of;
  int count = 4;

  [[nodiscard]] double operator()(double progress) const {
    if (progress >= 1) return of(1.0);
    const double at = std::max(progress, 0.0) * count;
    return of(at - std::floor(at));
  }
};
template <Schedule S>
Cycle(S, int) -> Cycle<S>;
template <Schedule S>
Cycle(S) -> Cycle<S>;

/// max(from exp(-rate progress), floor): a temperature that falls. E. Jang, S. Gu, B. Poole, "Categorical reparameterization
/// with Gumbel-softmax", ICLR 2017, with the rate per step there: here it is that times the steps of the training.
struct Exponential {
  double from = 1;
  double rate = 1;
  double floor = 0;

  [[nodiscard]] double operator()(double progress) const noexcept {
    return std::max(from * std::exp(-rate * std::max(progress, 0.0)), floor);
  }
};

/// A value at a progress.
struct Knot {
  double progress = 0;
  double value = 0;
};

/// Straight lines from knot to knot, N >= 1 of them in the order of progress; constant before the first and from the last on.
/// Two at one progress are a step, of which the second value holds there.
template <std::size_t N>
  requires(N >= 1)
struct Piecewise {
  std::array<Knot, N> knots;

  [[nodiscard]] double operator()(double progress) const noexcept {
    std::size_t next = 0;
    while (next < N && knots[next].progress <= progress) ++next;
    if (next == 0) return knots.front().value;
    if (next == N) return knots.back().value;
    const Knot& a = knots[next - 1];
    const Knot& b = knots[next];
    return a.value + (b.value - a.value) * (progress - a.progress) / (b.progress - a.progress);
  }
};

template <std::size_t N>
Piecewise(std::array<Knot, N>) -> Piecewise<N>;

}  // namespace bound
}  // namespace fovea::inline FOVEA_ABI
