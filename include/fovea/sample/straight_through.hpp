// SPDX-License-Identifier: MIT
/// \file
/// Estimators for cells that take the derivative of the cost between cells: of little variance, and biased.
///
/// Straight-through: Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through stochastic neurons",
/// arXiv 2013. Relaxed: C. J. Maddison, A. Mnih, Y. W. Teh, "The Concrete distribution", and E. Jang, S. Gu, B. Poole,
/// "Categorical reparameterization with Gumbel-softmax" (also the straight-through form), both ICLR 2017.
///
/// All want a Categorical and a cost that is defined on the whole simplex: of a location that is the mean of the cells'
/// centres under the weights, locations(context, grid, weights), it is.
#pragma once

#include <fovea/sample/categorical.hpp>
#include <fovea/sample/estimator.hpp>
#include <fovea/sample/relaxed_categorical.hpp>

#include <algorithm>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// The value of `hard`, the gradient of `soft`, both of one shape. Throws Error otherwise.
template <Context C>
[[nodiscard]] VarOf<C> straight_through(C& context, VarOf<C> hard, VarOf<C> soft) {
  using T = typename C::Scalar;
  nn::detail::require_shape("straight_through", "soft values", soft, hard.shape);
  const VarOf<C> y = nn::output(context, hard.shape, soft);
  std::copy_n(hard.value, hard.size(), y.value);
  if (y.gradient) context.record([=] { kernel::accumulate<T>(y.gradients(), soft.gradients()); });
  return y;
}

namespace detail {
template <class Q, class T>
inline constexpr bool is_categorical = std::is_same_v<Q, Categorical<T>>;

/// The mean over `samples` of the cost at what `location(many, key)` gives.
template <Context C, class Q, class F, class Location>
[[nodiscard]] VarOf<C> mean_cost(C& context, const char* estimator, Index samples, const Q& q, const NoiseKey& key, F&& cost,
                                 Location location) {
  require_samples(estimator, samples);
  const VarOf<C> y = cost(location(repeat(context, q, samples), key.repeated(samples)));
  require_costs(estimator, y, q.batch() * samples);
  return nn::mean_of_repeats(context, y, samples);
}
}  // namespace detail

/// The cost at a relaxed draw: without bias for that cost, whose distance from the cost at a cell falls with the temperature,
/// while the variance rises as its inverse.
struct Relaxed {
  double temperature = 0.5;
  Index samples = 1;

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost) const {
    static_assert(detail::is_categorical<Q, typename C::Scalar>,
                  "fovea::sample::Relaxed: a Categorical expected; a pathwise distribution goes with Pathwise");
    return detail::mean_cost(context, "Relaxed", samples, q, key, cost, [&](const Q& many, const NoiseKey& keys) {
      return draw(context, RelaxedCategorical<typename C::Scalar>{many.logits, temperature}, keys);
    });
  }
};

/// The cost at a cell; its derivative as if the cell were its probabilities.
struct StraightThrough {
  Index samples = 1;

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost) const {
    static_assert(detail::is_categorical<Q, typename C::Scalar>, "fovea::sample::StraightThrough: a Categorical expected");
    return detail::mean_cost(context, "StraightThrough", samples, q, key, cost, [&](const Q& many, const NoiseKey& keys) {
      return straight_through(context, draw(context, many, keys), probabilities(context, many));
    });
  }
};

/// The cost at a cell; its derivative as if the cell were the relaxed draw of the same noise.
struct GumbelStraightThrough {
  double temperature = 0.5;
  Index samples = 1;

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost) const {
    static_assert(detail::is_categorical<Q, typename C::Scalar>,
                  "fovea::sample::GumbelStraightThrough: a Categorical expected");
    return detail::mean_cost(context, "GumbelStraightThrough", samples, q, key, cost, [&](const Q& many, const NoiseKey& keys) {
      return straight_through(context, draw(context, many, keys),
                              draw(context, RelaxedCategorical<typename C::Scalar>{many.logits, temperature}, keys));
    });
  }
};

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
