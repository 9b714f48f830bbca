// SPDX-License-Identifier: MIT
/// \file
/// The pathwise estimator: the gradient goes through the location to what it was computed from.
///
/// D. P. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014; for distributions without a noise map M. Figurnov,
/// S. Mohamed, A. Mnih, "Implicit reparameterization gradients", NeurIPS 2018.
///
///     grad E_q[cost(z)] = E_noise[ d cost / d z  d z / d theta ]
///
/// Without bias where cost is continuous, and of low variance where it is smooth.
#pragma once

#include <fovea/sample/estimator.hpp>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// The mean over `samples` draws. Throws Error on samples < 1, or on another number of costs.
struct Pathwise {
  Index samples = 1;

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost) const {
    static_assert(PathwiseDistribution<Q, C>,
                  "fovea::sample::Pathwise: draws of this distribution carry no gradient; use ScoreFunction, or Relaxed for a "
                  "Categorical");
    detail::require_samples("Pathwise", samples);
    const VarOf<C> y = cost(draw(context, repeat(context, q, samples), key.repeated(samples)));
    detail::require_costs("Pathwise", y, q.batch() * samples);
    return nn::mean_of_repeats(context, y, samples);
  }
};

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
