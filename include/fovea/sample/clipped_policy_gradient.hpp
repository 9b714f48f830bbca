// SPDX-License-Identifier: MIT
/// \file
/// The clipped policy gradient of PPO, which takes several steps on the same draws.
///
/// J. Schulman, F. Wolski, P. Dhariwal, A. Radford, O. Klimov, "Proximal policy optimization algorithms", arXiv 2017, eq. 7.
/// With the ratio r = q(z) / behaviour(z) of a draw of an older policy, and its advantage A (here a cost: less is better),
///
///     surrogate = max( r A, clip(r, 1 - epsilon, 1 + epsilon) A ):
///
/// what E_q[A] would be, but for moves of q that gain more than the clip allows. At q = behaviour it is the score function.
#pragma once

#include <fovea/sample/estimator.hpp>
#include <fovea/sample/score_function.hpp>

#include <algorithm>
#include <cmath>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// max(r A, clip(r) A) per draw, with r = exp(log_density - behaviour); a gradient goes to log_density alone, r A where it is
/// not clipped and 0 where it is. All [N].
template <Context C>
[[nodiscard]] VarOf<C> clipped_surrogate(C& context, VarOf<C> log_density, VarOf<C> behaviour, VarOf<C> advantage,
                                         double epsilon) {
  using T = typename C::Scalar;
  nn::detail::require_shape("clipped_surrogate", "log-densities of the behaviour", behaviour, log_density.shape);
  nn::detail::require_shape("clipped_surrogate", "advantages", advantage, log_density.shape);
  require(epsilon > 0, "clipped_surrogate: a positive epsilon expected, ", epsilon, " came");
  const VarOf<C> y = nn::output(context, log_density.shape, log_density);
  T* slope = context.scratch(y.size());
  for (Index i = 0; i < y.size(); ++i) {
    const T a = advantage.value[i];
    const T r = std::exp(log_density.value[i] - behaviour.value[i]);
    const T clipped = std::clamp(r, static_cast<T>(1 - epsilon), static_cast<T>(1 + epsilon)) * a;
    y.value[i] = std::max(r * a, clipped);
    slope[i] = r * a >= clipped ? r * a : T(0);
  }
  if (y.gradient) {
    context.record([=] {
      for (Index i = 0; i < y.size(); ++i) log_density.gradient[i] += y.gradient[i] * slope[i];
    });
  }
  return y;
}

/// The mean over `samples` draws of `behaviour`. The value is the mean cost under the behaviour; the gradient that of the
/// clipped surrogate, and, to what the cost itself is made of, that of the mean cost.
///
/// Called without a behaviour it draws from q as it is, which is ScoreFunction. To take several steps on the same draws keep
/// the parameters that drew, and pass the distribution they give with the same key: the draws come out the same.
template <class B = NoBaseline>
struct ClippedPolicyGradient {
  Index samples = 1;
  double epsilon = 0.2;
  B baseline = {};

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost) const {
    return (*this)(context, q, key, cost, q);
  }

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost, const Q& behaviour) const {
    static_assert(Distribution<Q, C>,
                  "fovea::sample::ClippedPolicyGradient: a distribution expected (see sample/distribution.hpp)");
    static_assert(Baseline<B, C>, "fovea::sample::ClippedPolicyGradient: a baseline has advantage(context, cost, copies)");
    using T = typename C::Scalar;
    detail::require_samples("ClippedPolicyGradient", samples);
    const Q drew = repeat(context, detach(behaviour), samples);
    const VarOf<C> z = draw(context, drew, key.repeated(samples));
    const VarOf<C> costs = cost(z);
    require(costs.shape == Shape{q.batch() * samples}, "ClippedPolicyGradient: one cost for each of ", q.batch() * samples,
            " draws expected, a shape ", costs.shape.to_string(), " came");
    const VarOf<C> advantage = baseline.advantage(context, costs, samples);
    const VarOf<C> surrogate = clipped_surrogate(context, log_density(context, repeat(context, q, samples), z),
                                                 nn::detach(log_density(context, drew, z)), advantage, epsilon);
    // The cost's value with the surrogate's gradient.
    const VarOf<C> both = nn::output(context, costs.shape, costs, surrogate);
    std::copy_n(costs.value, costs.size(), both.value);
    if (both.gradient) {
      context.record([=] {
        if (costs.gradient) kernel::accumulate<T>(both.gradients(), costs.gradients());
        if (surrogate.gradient) kernel::accumulate<T>(both.gradients(), surrogate.gradients());
      });
    }
    const VarOf<C> y = nn::mean_of_repeats(context, both, samples);
    if constexpr (requires { baseline.fit(context, y, costs, samples); }) baseline.fit(context, y, costs, samples);
    return y;
  }
};

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
