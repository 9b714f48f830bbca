// SPDX-License-Identifier: MIT
/// \file
/// The relaxed categorical distribution: a draw on the simplex that has a gradient, and tends to a cell as the temperature
/// falls.
///
/// C. J. Maddison, A. Mnih, Y. W. Teh, "The Concrete distribution", and E. Jang, S. Gu, B. Poole, "Categorical
/// reparameterization with Gumbel-softmax", both ICLR 2017.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/categorical.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/per_row.hpp>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// Logits [B, n] and a temperature > 0, which is a number and learns nothing.
template <class T>
struct RelaxedCategorical {
  Var<T> logits;
  double temperature = 1;

  static constexpr bool pathwise = true;
  template <class F>
  [[nodiscard]] RelaxedCategorical map(F f) const {
    return {f(logits), temperature};
  }
  [[nodiscard]] Index batch() const noexcept { return logits.shape[0]; }
  [[nodiscard]] Index cells() const noexcept { return logits.shape[1]; }
};

namespace detail {
template <class T>
void require_relaxed(const char* op, const RelaxedCategorical<T>& q) {
  require_logits(op, q.logits);
  require(q.temperature > 0, op, ": a positive temperature expected, ", q.temperature, " came");
}
}  // namespace detail

/// softmax((logits + gumbel) / temperature) [B, n], with a gradient to the logits; `gumbel` [B, n] wants none. Its greatest
/// weight is at the cell that Categorical{logits} draws from the same noise.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const RelaxedCategorical<typename C::Scalar>& q, const VarOf<C>& gumbel) {
  using T = typename C::Scalar;
  detail::require_relaxed("relaxed categorical draw", q);
  nn::detail::require_shape("relaxed categorical draw", "noise", gumbel, q.logits.shape);
  const VarOf<C> y = nn::output(context, q.logits.shape, q.logits);
  kernel::relaxed_categorical<T>(q.logits.template values<2>(), gumbel.template values<2>(), q.temperature,
                                 y.template mutable_values<2>());
  if (y.gradient) {
    context.record([q, y] {
      kernel::relaxed_categorical_backward<T>(y.template gradients<2>(), y.template values<2>(), q.temperature,
                                              q.logits.template gradients<2>());
    });
  }
  return y;
}
/// The same with noise of these streams.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const RelaxedCategorical<typename C::Scalar>& q, const NoiseKey& key) {
  return draw(context, q, gumbel_noise(context, key, q.batch(), q.cells()));
}

/// log q(z) per row [B], z [B, n] on the simplex, with gradients to the logits and to each z_i as if they were free. The
/// density is that of n - 1 of the weights (Maddison et al., definition 1). A weight below 1e-31 in float (1e-292
/// in double) counts as that, without a gradient: so the density of a draw at a low temperature is finite.
template <Context C>
[[nodiscard]] VarOf<C> log_density(C& context, const RelaxedCategorical<typename C::Scalar>& q, const VarOf<C>& z) {
  using T = typename C::Scalar;
  detail::require_relaxed("relaxed categorical log-density", q);
  nn::detail::require_shape("relaxed categorical log-density", "weights", z, q.logits.shape);
  return per_row(
      context,
      [t = q.temperature](View<const T, 1> x, View<const T, 1> w, View<T, 1> d_x, View<T, 1> d_w) {
        return kernel::concrete_log_density<T>(x, w, t, d_x, d_w);
      },
      q.logits, z);
}

/// softmax(logits) [B, n]: the mean of the cell that a draw is greatest at. (The mean of a draw itself has no closed form; it
/// tends to this as the temperature falls, and to 1 / n as it rises.)
template <Context C>
[[nodiscard]] VarOf<C> mean(C& context, const RelaxedCategorical<typename C::Scalar>& q) {
  detail::require_relaxed("relaxed categorical mean", q);
  return nn::softmax(context, q.logits);
}
/// softmax(logits / temperature) [B, n], with a gradient: the draw where all noise stands at its own mode, 0. (The density on
/// the simplex has no greatest value below temperature 1 / (n - 1): it is infinite at the corners.)
template <Context C>
[[nodiscard]] VarOf<C> mode(C& context, const RelaxedCategorical<typename C::Scalar>& q) {
  detail::require_relaxed("relaxed categorical mode", q);
  return nn::softmax(context, nn::scale(context, static_cast<typename C::Scalar>(1 / q.temperature), q.logits));
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
