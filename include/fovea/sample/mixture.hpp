// SPDX-License-Identifier: MIT
/// \file
/// Mixtures of diagonal Gaussians: several places worth looking at, with pathwise draws.
///
/// The gradient of a draw goes to all parameters, the weights of the components included, by implicit reparameterisation: A.
/// Graves, "Stochastic backpropagation through mixture density distributions", arXiv 2016; M. Figurnov, S. Mohamed, A. Mnih,
/// "Implicit reparameterization gradients", NeurIPS 2018. It is without bias, though the draw itself comes from one component.
///
/// Entropy and divergence have no closed form: entropy(context, q, MonteCarlo{...}).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/mixture.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/per_row.hpp>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// Logits of the M components [B, M], means and log standard deviations of each [B, M, D].
template <class T>
struct Mixture {
  Var<T> logits;
  Var<T> mean;
  Var<T> log_deviation;

  static constexpr bool pathwise = true;
  template <class F>
  [[nodiscard]] Mixture map(F f) const {
    return {f(logits), f(mean), f(log_deviation)};
  }
  [[nodiscard]] Index batch() const noexcept { return logits.shape[0]; }
  [[nodiscard]] Index components() const noexcept { return logits.shape[1]; }
  [[nodiscard]] Index dimension() const noexcept { return mean.shape[2]; }
};

namespace detail {
template <class T>
void require_mixture(const char* op, const Mixture<T>& q) {
  require(q.logits.shape.rank() == 2 && q.logits.shape[1] > 0, op,
          ": logits [B, M] of at least one component expected, a shape ", q.logits.shape.to_string(), " came");
  require(q.mean.shape.rank() == 3 && q.mean.shape[0] == q.batch() && q.mean.shape[1] == q.components() &&
              q.log_deviation.shape == q.mean.shape,
          op, ": means and log-deviations [", q.batch(), ", ", q.components(), ", D] expected, shapes ",
          q.mean.shape.to_string(), " and ", q.log_deviation.shape.to_string(), " came");
}
template <class T>
[[nodiscard]] kernel::GaussianMixtureRow<T> mixture_row(const Mixture<T>& q, Index b) {
  const Index m = q.components();
  const Index size = m * q.dimension();
  return {{q.logits.value + b * m, {m}},
          {q.mean.value + b * size, {size}},
          {q.log_deviation.value + b * size, {size}},
          q.dimension()};
}
}  // namespace detail

/// A pathwise draw [B, D]: of the component where logits + gumbel [B, M] is greatest, at mean + deviation * normal [B, D].
/// Neither noise wants a gradient.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const Mixture<typename C::Scalar>& q, const VarOf<C>& gumbel, const VarOf<C>& normal) {
  using T = typename C::Scalar;
  detail::require_mixture("mixture draw", q);
  const Index components = q.components();
  const Index dimension = q.dimension();
  nn::detail::require_shape("mixture draw", "Gumbel noise", gumbel, q.logits.shape);
  nn::detail::require_shape("mixture draw", "normal noise", normal, Shape{q.batch(), dimension});
  const VarOf<C> z = nn::output(context, normal.shape, q.logits, q.mean, q.log_deviation);
  for (Index b = 0; b < q.batch(); ++b) {
    const auto row = detail::mixture_row(q, b);
    const Index m = kernel::argmax_of_sum<T>(row.logits, View<const T, 1>(gumbel.value + b * components, {components}));
    for (Index d = 0; d < dimension; ++d) {
      z.value[b * dimension + d] =
          static_cast<T>(row.location(m, d) + static_cast<double>(normal.value[b * dimension + d]) / row.inverse(m, d));
    }
  }
  if (!z.gradient) return z;
  auto* scratch = context.template scratch<double>(kernel::gaussian_mixture_scratch(components, dimension));
  context.record([=] {
    const auto gradient = [](const VarOf<C>& x, Index b, Index size) {
      return x.gradient ? View<T, 1>(x.gradient + b * size, {size}) : View<T, 1>();
    };
    for (Index b = 0; b < q.batch(); ++b) {
      kernel::gaussian_mixture_backward<T>(detail::mixture_row(q, b), View<const T, 1>(z.value + b * dimension, {dimension}),
                                           View<const T, 1>(z.gradient + b * dimension, {dimension}), scratch,
                                           gradient(q.logits, b, components), gradient(q.mean, b, components * dimension),
                                           gradient(q.log_deviation, b, components * dimension));
    }
  });
  return z;
}
/// The same with noise of these streams.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const Mixture<typename C::Scalar>& q, const NoiseKey& key) {
  detail::require_mixture("mixture draw", q);
  return draw(context, q, gumbel_noise(context, key.fork(0), q.batch(), q.components()),
              normal_noise(context, key, q.batch(), q.dimension()));
}

/// log q(z) per row [B], in nats, with gradients to z [B, D] and to q.
template <Context C>
[[nodiscard]] VarOf<C> log_density(C& context, const Mixture<typename C::Scalar>& q, const VarOf<C>& z) {
  using T = typename C::Scalar;
  using Row = View<const T, 1>;
  using Partial = View<T, 1>;
  detail::require_mixture("mixture log-density", q);
  nn::detail::require_shape("mixture log-density", "a point", z, Shape{q.batch(), q.dimension()});
  auto* joint = context.template scratch<double>(q.components());
  return per_row(
      context,
      [joint](Row logits, Row means, Row log_deviations, Row at, Partial d_logits, Partial d_mean, Partial d_log_deviation,
              Partial d_z) {
        const kernel::GaussianMixtureRow<T> row{logits, means, log_deviations, at.size()};
        return kernel::gaussian_mixture_log_density<T>(row, at, joint, d_logits, d_mean, d_log_deviation, d_z);
      },
      q.logits, q.mean, q.log_deviation, z);
}

/// sum_m p_m mean_m [B, D], with gradients to the logits and the means.
template <Context C>
[[nodiscard]] VarOf<C> mean(C& context, const Mixture<typename C::Scalar>& q) {
  detail::require_mixture("mixture mean", q);
  return weighted_sum(context, nn::softmax(context, q.logits), q.mean);
}
/// A place of greatest density [B, D], without a gradient: the best of those that fixed-point iteration finds from the means of
/// the components (kernel/mixture.hpp). With deviations that differ there may be a better one that no mean leads to.
template <Context C>
[[nodiscard]] VarOf<C> mode(C& context, const Mixture<typename C::Scalar>& q) {
  using T = typename C::Scalar;
  detail::require_mixture("mixture mode", q);
  const Index dimension = q.dimension();
  const VarOf<C> y = context.constant(Shape{q.batch(), dimension});
  auto* joint = context.template scratch<double>(q.components());
  auto* here = context.template scratch<double>(dimension);
  for (Index b = 0; b < q.batch(); ++b) {
    kernel::gaussian_mixture_mode<T>(detail::mixture_row(q, b), joint, here, View<T, 1>(y.value + b * dimension, {dimension}));
  }
  return y;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
