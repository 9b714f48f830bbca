// SPDX-License-Identifier: MIT
/// \file
/// The score function estimator, REINFORCE, and its baselines.
///
/// R. J. Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", Machine
/// Learning 8, 1992:
///
///     grad E_q[cost(z)] = E_q[ (cost(z) - baseline) grad log q(z) + grad_cost cost(z) ]
///
/// Needs no derivative of cost in z, so it is the one for integer crops and cells. A baseline that does not depend on the
/// draw leaves the mean as it is, E[grad log q] being 0, and takes most of the variance.
#pragma once

#include <fovea/sample/estimator.hpp>

#include <algorithm>
#include <concepts>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// What a baseline is: from the costs [B K] or [B K, F] of K = `copies` draws a row, the advantages, of the same shape and
/// without a gradient. One that learns has `fit(context, y, cost, copies)` too.
template <class B, class C>
concept Baseline = Context<C> && requires(const B& baseline, C& context, VarOf<C> cost, Index copies) {
  { baseline.advantage(context, cost, copies) } -> std::same_as<VarOf<C>>;
};

/// The cost itself.
struct NoBaseline {
  template <Context C>
  [[nodiscard]] VarOf<C> advantage(C& /*context*/, VarOf<C> cost, Index /*copies*/) const {
    return nn::detach(cost);
  }
};

/// The average of past costs, 1 - decay of each new one. An estimator reads it; observe() is the caller's to call, once a step
/// with the mean cost of the whole minibatch, so that shards and threads see one value and a draw never its own cost.
struct MovingAverage {
  double decay = 0.9;
  double value = 0;
  bool started = false;

  void observe(double mean_cost) noexcept {
    value = started ? decay * value + (1 - decay) * mean_cost : mean_cost;
    started = true;
  }
  template <Context C>
  [[nodiscard]] VarOf<C> advantage(C& context, VarOf<C> cost, Index /*copies*/) const {
    const VarOf<C> out = context.constant(cost.shape);
    for (Index i = 0; i < cost.size(); ++i) out.value[i] = cost.value[i] - static_cast<typename C::Scalar>(value);
    return out;
  }
};

/// A prediction of the cost of each row [B], by a network that saw what q saw, not the draw. It learns by
/// weight * (prediction - cost)^2 / 2, which is added to the gradient and not to the value. A. Mnih, K. Gregor, "Neural
/// variational inference and learning in belief networks", ICML 2014.
template <class T>
struct LearnedBaseline {
  Var<T> prediction;
  double weight = 1;

  template <Context C>
  [[nodiscard]] VarOf<C> advantage(C& context, VarOf<C> cost, Index copies) const {
    require(cost.shape.rank() == 1 && prediction.shape == Shape{cost.shape[0] / copies},
            "LearnedBaseline: predictions of shape ", Shape{cost.shape[0] / copies}.to_string(),
            " and one cost a draw expected, shapes ", prediction.shape.to_string(), " and ", cost.shape.to_string(), " came");
    const VarOf<C> out = context.constant(cost.shape);
    for (Index i = 0; i < cost.size(); ++i) out.value[i] = cost.value[i] - prediction.value[i / copies];
    return out;
  }
  template <Context C>
  void fit(C& context, VarOf<C> y, VarOf<C> cost, Index copies) const {
    if (!y.gradient || !prediction.gradient) return;
    context.record([p = prediction, y, cost, copies, w = static_cast<T>(weight) / static_cast<T>(copies)] {
      for (Index i = 0; i < cost.size(); ++i) {
        const Index b = i / copies;
        p.gradient[b] += w * y.gradient[b] * (p.value[b] - cost.value[i]);
      }
    });
  }
};

/// The mean cost of the row's other draws: RLOO. W. Kool, H. van Hoof, M. Welling, "Buy 4 REINFORCE samples, get a baseline
/// for free!", ICLR workshop 2019. Throws Error where there are less than two draws.
struct LeaveOneOut {
  template <Context C>
  [[nodiscard]] VarOf<C> advantage(C& context, VarOf<C> cost, Index copies) const {
    using T = typename C::Scalar;
    detail::require_samples("LeaveOneOut", copies, 2);
    const VarOf<C> out = context.constant(cost.shape);
    const auto [rows, size] = nn::detail::as_samples(cost.shape);
    for (Index b = 0; b < rows / copies; ++b) {
      for (Index f = 0; f < size; ++f) {
        const Index first = b * copies * size + f;
        double sum = 0;
        for (Index k = 0; k < copies; ++k) sum += static_cast<double>(cost.value[first + k * size]);
        const auto mean = static_cast<T>(sum / static_cast<double>(copies));
        // cost_k - mean of the others = (cost_k - mean of all) K / (K - 1)
        const T factor = static_cast<T>(copies) / static_cast<T>(copies - 1);
        for (Index k = 0; k < copies; ++k) out.value[first + k * size] = factor * (cost.value[first + k * size] - mean);
      }
    }
    return out;
  }
};

namespace detail {
template <Context C, class B>
[[nodiscard]] VarOf<C> score_with_baseline(C& context, const B& baseline, VarOf<C> cost, VarOf<C> log_density, Index copies) {
  static_assert(Baseline<B, C>,
                "fovea::sample::ScoreFunction: a baseline has advantage(context, cost, copies): NoBaseline, MovingAverage, "
                "LearnedBaseline, LeaveOneOut, or one of yours");
  const VarOf<C> advantage = baseline.advantage(context, cost, copies);
  const VarOf<C> y = weighted_score(context, cost, log_density, advantage, VarOf<C>{}, copies);
  if constexpr (requires { baseline.fit(context, y, cost, copies); }) baseline.fit(context, y, cost, copies);
  return y;
}
}  // namespace detail

/// The mean over `samples` draws. Costs may be vectors [B samples, F]; then so is the estimate [B, F]. Throws Error on samples
/// < 1 (LeaveOneOut: < 2), or on another number of costs.
template <class B = NoBaseline>
struct ScoreFunction {
  Index samples = 1;
  B baseline = {};

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost) const {
    static_assert(Distribution<Q, C>, "fovea::sample::ScoreFunction: a distribution expected (see sample/distribution.hpp)");
    detail::require_samples("ScoreFunction", samples);
    const Q many = repeat(context, q, samples);
    const VarOf<C> z = draw(context, detach(many), key.repeated(samples));
    const VarOf<C> y = cost(z);
    detail::require_costs("ScoreFunction", y, q.batch() * samples);
    return detail::score_with_baseline(context, baseline, y, log_density(context, many, z), samples);
  }
};

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
