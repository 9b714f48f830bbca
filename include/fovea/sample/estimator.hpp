// SPDX-License-Identifier: MIT
/// \file
/// What an estimator is: how a gradient gets through a random location.
///
/// Wanted is the gradient of E_q[cost(z)] to the parameters of q (and to those that cost itself uses), from a few draws. An
/// estimator is a small value; called, it draws, asks for the cost there, and returns one Var:
///
///     const auto estimate = sample::ScoreFunction<sample::LeaveOneOut>{.samples = 4};
///     const Var<float> y = estimate(tape, q, key, [&](Var<float> z) { return cost_of_looking_at(tape, z); });
///     tape.backward(nn::sum(tape, y));
///
/// The value of y [B] is an estimate of E_q[cost]; the gradient that backward() finds is an estimate of its gradient, which
/// is what Schulman et al. call a surrogate ("Gradient estimation using stochastic computation graphs", NIPS 2015). `cost` is
/// given rows b * samples + k, draw k of row b, and returns a number for each [B samples]: it may look at a glimpse there, and
/// it may itself be an estimate over the next location, so an estimator for one saccade is one for T of them:
///
///     estimate(tape, q_1, key.fork(0), [&](Var<float> z_1) {
///       const auto q_2 = policy(tape, glimpse_at(tape, z_1));
///       return estimate(tape, q_2, key.fork(1).repeated(4), [&](Var<float> z_2) { return loss(tape, z_1, z_2); });
///     });
///
/// A minibatch of one key draws the same random numbers whatever the estimator, so that two can be compared on them.
///
/// | estimator | file | wants | bias |
/// |---|---|---|---|
/// | Pathwise | pathwise.hpp | a pathwise distribution, a cost with a derivative in z | none |
/// | ScoreFunction<Baseline> | score_function.hpp | any distribution, any cost | none |
/// | ClippedPolicyGradient<Baseline> | clipped_policy_gradient.hpp | any | where it clips |
/// | Vimco | vimco.hpp | any; bounds log E[exp(-cost)] instead | none, for that bound |
/// | Relaxed, StraightThrough, GumbelStraightThrough | straight_through.hpp | a Categorical, a cost defined between cells | yes
/// | | Rebar, Relax | rebar.hpp | a Categorical | none | | AttentionSampling | attention_sampling.hpp | a Categorical; costs
/// may be vectors | none | | PerturbedTopK | perturbed_top_k.hpp | a Categorical | none, for another smoothing |
///
/// Finite differences of the crop are a sampler, glimpse::FiniteDifference, used with Pathwise. docs/estimators.md derives
/// each and compares them.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/sample/distribution.hpp>

#include <concepts>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace sample {

namespace detail {
/// Any function of a location, for the concept below.
template <class C>
struct SomeCost {
  VarOf<C> operator()(VarOf<C> z) const { return z; }
};

/// Throws Error unless a cost came for each of `rows` draws.
template <class T>
void require_costs(const char* estimator, const Var<T>& cost, Index rows) {
  require(cost.shape.rank() >= 1 && cost.shape[0] == rows, estimator, ": a cost for each of ", rows,
          " draws expected, a shape ", cost.shape.to_string(), " came");
}
inline void require_samples(const char* estimator, Index samples, Index least = 1) {
  require(samples >= least, estimator, ": at least ", least, " samples expected, ", samples, " came");
}
}  // namespace detail

/// What a model asks of an estimator: called with a context, a distribution, a key and a cost it returns a Var.
template <class E, class C, class Q>
concept CoordinateEstimator = Context<C> &&
    requires(const E& estimator, C& context, const Q& q, const NoiseKey& key, detail::SomeCost<C> cost) {
  { estimator(context, q, key, cost) } -> std::same_as<VarOf<C>>;
};

/// y_b = sum over k of w_bk cost_bk, going back which also the log-probabilities of the draws get their due:
///
///     d cost_bk        += w_bk d y_b
///     d log_density_bk += w_bk <advantage_bk, d y_b>
///
/// cost [B K] or [B K, F], and y [B] or [B, F]; log_density [B K]; advantage of the shape of cost, and weights [B K], are
/// taken as constants. Empty weights: 1 / K.
template <Context C>
[[nodiscard]] VarOf<C> weighted_score(C& context, VarOf<C> cost, VarOf<C> log_density, VarOf<C> advantage, VarOf<C> weights,
                                      Index copies) {
  using T = typename C::Scalar;
  const auto [rows, size] = nn::detail::as_samples(cost.shape);
  nn::detail::require_shape("weighted_score", "log-densities", log_density, Shape{rows});
  nn::detail::require_shape("weighted_score", "advantages", advantage, cost.shape);
  require(rows % copies == 0, "weighted_score: a multiple of ", copies, " rows expected, ", rows, " came");
  const VarOf<C> y = nn::output(context, nn::detail::with_first(cost.shape, rows / copies), cost, log_density);
  const T equal = T(1) / static_cast<T>(copies);
  const auto weight = [weights, equal](Index r) { return weights.value ? weights.value[r] : equal; };
  std::fill_n(y.value, y.size(), T(0));
  for (Index r = 0; r < rows; ++r) {
    kernel::axpy<T>(weight(r), View<const T, 1>(cost.value + r * size, {size}),
                    View<T, 1>(y.value + r / copies * size, {size}));
  }
  if (!y.gradient) return y;
  context.record([=, rows = rows, size = size] {
    for (Index r = 0; r < rows; ++r) {
      const View<const T, 1> d_y(y.gradient + r / copies * size, {size});
      if (cost.gradient) kernel::axpy<T>(weight(r), d_y, View<T, 1>(cost.gradient + r * size, {size}));
      if (!log_density.gradient) continue;
      double due = 0;
      for (Index f = 0; f < size; ++f) due += static_cast<double>(advantage.value[r * size + f]) * static_cast<double>(d_y(f));
      log_density.gradient[r] += weight(r) * static_cast<T>(due);
    }
  });
  return y;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
