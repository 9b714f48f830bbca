// SPDX-License-Identifier: MIT
/// \file
/// REBAR and RELAX: the score function with a relaxed draw as control variate. Unbiased, for cells.
///
/// G. Tucker, A. Mnih, C. J. Maddison, D. Lawson, J. Sohl-Dickstein, "REBAR: low-variance, unbiased gradient estimates for
/// discrete latent variable models", NIPS 2017. W. Grathwohl, D. Choi, Y. Wu, G. Roeder, D. Duvenaud, "Backpropagation through
/// the void", ICLR 2018.
///
/// With perturbed logits z = log p + gumbel, the cell b = argmax z, and z~ drawn anew given b,
///
///     g = (cost(b) - c(z~)) grad log q(b) + grad c(z) - grad c(z~):
///
/// whatever c is, its three terms cancel in the mean; where c(z~) follows cost(b), most of the score's variance goes with them.
/// REBAR takes c = eta cost(softmax(z / temperature)), RELAX any function with parameters of its own, which learn to make the
/// variance of g small.
#pragma once

#include <fovea/sample/categorical.hpp>
#include <fovea/sample/estimator.hpp>
#include <fovea/sample/relaxed_categorical.hpp>
#include <fovea/sample/straight_through.hpp>

#include <cmath>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace sample {

namespace detail {

/// What one draw of REBAR and RELAX consists of.
template <class T>
struct ControlledDraw {
  Var<T> cell;         ///< one-hot [N, n]
  Var<T> perturbed;    ///< z
  Var<T> conditional;  ///< z~ given the cell
};

template <Context C>
[[nodiscard]] ControlledDraw<typename C::Scalar> controlled_draw(C& context, const Categorical<typename C::Scalar>& q,
                                                                 const NoiseKey& key) {
  const VarOf<C> noise = gumbel_noise(context, key, q.batch(), q.cells());
  const VarOf<C> uniform = uniform_noise(context, key.fork(0), q.batch(), q.cells());
  const VarOf<C> z = perturbed_logits(context, q.logits, noise);
  const VarOf<C> cell = draw(context, q, key);
  return {cell, z, conditional_gumbels(context, q.logits, cell, uniform)};
}

/// The estimate from costs at the cell and control variates at z and z~, all [B K].
template <Context C>
[[nodiscard]] VarOf<C> controlled_score(C& context, VarOf<C> cost, VarOf<C> control, VarOf<C> conditional, VarOf<C> log_density,
                                        Index copies) {
  require(cost.shape.rank() == 1 && control.shape == cost.shape && conditional.shape == cost.shape,
          "Rebar, Relax: one cost and one control variate a draw expected, shapes ", cost.shape.to_string(), ", ",
          control.shape.to_string(), " and ", conditional.shape.to_string(), " came");
  const VarOf<C> advantage = context.constant(cost.shape);
  for (Index i = 0; i < cost.size(); ++i) advantage.value[i] = cost.value[i] - conditional.value[i];
  const VarOf<C> value = nn::add(context, cost, nn::subtract(context, control, conditional));
  return weighted_score(context, value, log_density, advantage, VarOf<C>{}, copies);
}

}  // namespace detail

/// The mean over `samples` draws, each of which asks for the cost three times: at the cell, and relaxed at z and z~. So the
/// cost must be defined on the whole simplex; no derivative of it at a cell is taken. `eta` in [0, 1] scales the control
/// variate: 0 is the score function. The best value is -Cov(a, b) / Var(b) for g = a + eta b; see EtaFit.
struct Rebar {
  double temperature = 1;
  double eta = 1;
  Index samples = 1;

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost) const {
    using T = typename C::Scalar;
    static_assert(detail::is_categorical<Q, T>, "fovea::sample::Rebar: a Categorical expected");
    detail::require_samples("Rebar", samples);
    require(temperature > 0, "Rebar: a positive temperature expected, ", temperature, " came");
    const Q many = repeat(context, q, samples);
    const auto [cell, z, conditional] = detail::controlled_draw(context, many, key.repeated(samples));
    const auto relaxed = [&](const VarOf<C>& at) {
      const VarOf<C> weights = nn::softmax(context, nn::scale(context, static_cast<T>(1 / temperature), at));
      return nn::scale(context, static_cast<T>(eta), cost(weights));
    };
    const VarOf<C> at_cell = cost(cell);
    detail::require_costs("Rebar", at_cell, q.batch() * samples);
    const VarOf<C> control = relaxed(z);
    return detail::controlled_score(context, at_cell, control, relaxed(conditional), log_density(context, many, cell), samples);
  }
};

/// `surrogate(z)` -> [N] is any differentiable function of perturbed logits z [N, n] with parameters of its own.
///
/// Training takes two passes a step. The first is the estimator's; the gradients it leaves in the surrogate's parameters have
/// mean zero and mean nothing: set them to 0. The second, variance_loss(), gives them the gradient of the variance. `direction`
/// [B, n] is the gradient that the first pass found for the logits of each row.
template <class Surrogate>
struct Relax {
  Surrogate surrogate;
  Index samples = 1;

  template <Context C, class Q, class F>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const NoiseKey& key, F&& cost) const {
    static_assert(detail::is_categorical<Q, typename C::Scalar>, "fovea::sample::Relax: a Categorical expected");
    detail::require_samples("Relax", samples);
    const Q many = repeat(context, q, samples);
    const auto [cell, z, conditional] = detail::controlled_draw(context, many, key.repeated(samples));
    const VarOf<C> at_cell = cost(cell);
    detail::require_costs("Relax", at_cell, q.batch() * samples);
    const VarOf<C> control = surrogate(z);
    return detail::controlled_score(context, at_cell, control, surrogate(conditional), log_density(context, many, cell),
                                    samples);
  }

  /// A scalar whose gradient to the surrogate's parameters is that of sum_b |g_b|^2, g_b being the estimate of the first pass
  /// for row b: d |g|^2 = 2 g . d g, and g . grad_logits c(z) is the derivative of c along g, which is taken by central
  /// differences of length `step`: the error is of order step^2. Draws as the first pass did from the same key. Its value
  /// means nothing.
  template <Context C>
  [[nodiscard]] VarOf<C> variance_loss(C& context, const Categorical<typename C::Scalar>& q, const NoiseKey& key,
                                       VarOf<C> direction, double step = 1e-2) const {
    using T = typename C::Scalar;
    nn::detail::require_shape("Relax", "a direction", direction, q.logits.shape);
    require(step > 0, "Relax: a positive step expected, ", step, " came");
    const VarOf<C> along = nn::detach(nn::repeat_samples(context, nn::detach(direction), samples));
    const Categorical<T> many = repeat(context, detach(q), samples);
    const NoiseKey keys = key.repeated(samples);
    const VarOf<C> cell = draw(context, many, keys);
    const VarOf<C> uniform = uniform_noise(context, keys.fork(0), many.batch(), many.cells());
    const VarOf<C> noise = gumbel_noise(context, keys, many.batch(), many.cells());
    // Directions are made of length 1, so that a step means the same for every row; the length goes to the weights.
    const Index n = many.cells();
    const VarOf<C> weight = context.constant(Shape{many.batch()});
    const VarOf<C> unit = context.constant(many.logits.shape);
    for (Index r = 0; r < many.batch(); ++r) {
      double square = 0;
      for (Index i = 0; i < n; ++i) square += std::pow(static_cast<double>(along.value[r * n + i]), 2);
      const double length = std::sqrt(square);
      weight.value[r] = static_cast<T>(length);
      for (Index i = 0; i < n; ++i) {
        unit.value[r * n + i] = length > 0 ? along.value[r * n + i] / static_cast<T>(length) : T(0);
      }
    }
    const auto shifted = [&](double by) { return nn::axpy(context, static_cast<T>(by), unit, many.logits); };
    const auto perturbed = [&](VarOf<C> logits) { return perturbed_logits(context, logits, noise); };
    const auto conditional = [&](VarOf<C> logits) { return conditional_gumbels(context, logits, cell, uniform); };
    const VarOf<C> upper = shifted(step);
    const VarOf<C> lower = shifted(-step);
    // d/d step of log q(cell): the score along the direction.
    const VarOf<C> rise = nn::subtract(context, log_density(context, Categorical<T>{upper}, cell),
                                       log_density(context, Categorical<T>{lower}, cell));
    const VarOf<C> score = nn::multiply(context, surrogate(conditional(many.logits)), rise);
    const VarOf<C> of_control = nn::subtract(context, surrogate(perturbed(upper)), surrogate(perturbed(lower)));
    const VarOf<C> of_conditional = nn::subtract(context, surrogate(conditional(upper)), surrogate(conditional(lower)));
    const VarOf<C> change = nn::subtract(context, nn::subtract(context, of_control, of_conditional), score);
    // 2 g . dg, dg being a mean over the copies.
    const double factor = 1 / (step * static_cast<double>(samples));
    return nn::sum(context, nn::scale(context, static_cast<T>(factor), nn::multiply(context, weight, change)));
  }
};
template <class Surrogate>
Relax(Surrogate, Index) -> Relax<Surrogate>;
template <class Surrogate>
Relax(Surrogate) -> Relax<Surrogate>;

/// Fits Rebar's eta as training goes: the gradient is a + eta b, and a step taken once with eta = 0 and once with eta = 1 on
/// the same key gives both. Averages are exponential; eta() = -sum <a, b> / sum <b, b>, within [0, 1].
struct EtaFit {
  double decay = 0.99;
  double product = 0;
  double square = 0;

  /// `without` and `with`: gradients of one step with eta = 0 and eta = 1, of one length.
  template <class T>
  void observe(View<const T, 1> without, View<const T, 1> with) {
    require(without.size() == with.size(), "EtaFit: gradients of one length expected, ", without.size(), " and ", with.size(),
            " came");
    double ab = 0;
    double bb = 0;
    for (Index i = 0; i < with.size(); ++i) {
      const double a = static_cast<double>(without(i));
      const double b = static_cast<double>(with(i)) - a;
      ab += a * b;
      bb += b * b;
    }
    product = decay * product + (1 - decay) * ab;
    square = decay * square + (1 - decay) * bb;
  }
  /// 1 before anything was seen.
  [[nodiscard]] double eta() const noexcept { return square > 0 ? std::clamp(-product / square, 0.0, 1.0) : 1.0; }
};

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
