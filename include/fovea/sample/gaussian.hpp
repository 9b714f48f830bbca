// SPDX-License-Identifier: MIT
/// \file
/// The diagonal Gaussian over a latent location, sampled pathwise.
///
/// D. P. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014: z = m + sigma * noise, so that a gradient reaches
/// m and sigma through z.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/gaussian.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/pointwise.hpp>
#include <fovea/sample/distribution.hpp>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// Mean and log standard deviation, both [B, D].
template <class T>
struct DiagonalGaussian {
  Var<T> mean;
  Var<T> log_deviation;

  static constexpr bool pathwise = true;
  template <class F>
  [[nodiscard]] DiagonalGaussian map(F f) const {
    return {f(mean), f(log_deviation)};
  }
  [[nodiscard]] Index batch() const noexcept { return mean.shape[0]; }
  [[nodiscard]] Index dimension() const noexcept { return mean.shape[1]; }
};

/// A pathwise sample z [B, D] of `q`; `noise` [B, D] is standard normal and wants no gradient.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const DiagonalGaussian<typename C::Scalar>& q, const VarOf<C>& noise) {
  require(noise.shape == q.mean.shape && noise.shape == q.log_deviation.shape, "gaussian draw: noise of shape ",
          q.mean.shape.to_string(), " expected, ", noise.shape.to_string(), " came");
  const VarOf<C> z = nn::output(context, q.mean.shape, q.mean, q.log_deviation);
  kernel::gaussian_sample(q.mean.template values<2>(), q.log_deviation.template values<2>(), noise.template values<2>(),
                          z.template mutable_values<2>());
  if (!z.gradient) return z;
  context.record([q, noise, z] {
    using T = typename C::Scalar;
    kernel::gaussian_sample_backward<T>(z.template gradients<2>(), q.log_deviation.template values<2>(),
                                        noise.template values<2>(), nn::gradient_view<2>(q.mean),
                                        nn::gradient_view<2>(q.log_deviation));
  });
  return z;
}

/// The same with noise of these streams.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const DiagonalGaussian<typename C::Scalar>& q, const NoiseKey& key) {
  return draw(context, q, normal_noise(context, key, q.batch(), q.dimension()));
}

/// Both are m [B, D].
template <Context C>
[[nodiscard]] VarOf<C> mean(C& /*context*/, const DiagonalGaussian<typename C::Scalar>& q) {
  return q.mean;
}
template <Context C>
[[nodiscard]] VarOf<C> mode(C& /*context*/, const DiagonalGaussian<typename C::Scalar>& q) {
  return q.mean;
}

/// sum over D of l + log(2 pi e) / 2, per sample [B].
template <Context C>
[[nodiscard]] VarOf<C> entropy(C& context, const DiagonalGaussian<typename C::Scalar>& q) {
  constexpr double constant = 1.4189385332046727;  // log(2 pi e) / 2
  return nn::pointwise_sum(
      context,
      [](double l) {
        return kernel::Partials<1>{l + constant, {1.0}};
      },
      q.log_deviation);
}

/// KL(q || p) per sample [B], in nats, with gradients to both.
template <Context C>
[[nodiscard]] VarOf<C> kl_divergence(C& context, const DiagonalGaussian<typename C::Scalar>& q,
                                     const DiagonalGaussian<typename C::Scalar>& p) {
  using T = typename C::Scalar;
  require(q.mean.shape == p.mean.shape, "gaussian KL: a prior of shape ", q.mean.shape.to_string(), " expected, ",
          p.mean.shape.to_string(), " came");
  const VarOf<C> kl = nn::output(context, {q.batch()}, q.mean, q.log_deviation, p.mean, p.log_deviation);
  kernel::gaussian_kl(q.mean.template values<2>(), q.log_deviation.template values<2>(), p.mean.template values<2>(),
                      p.log_deviation.template values<2>(), kl.mutable_values());
  if (!kl.gradient) return kl;
  context.record([q, p, kl] {
    kernel::gaussian_kl_backward<T>(kl.gradients(), q.mean.template values<2>(), q.log_deviation.template values<2>(),
                                    p.mean.template values<2>(), p.log_deviation.template values<2>(),
                                    nn::gradient_view<2>(q.mean), nn::gradient_view<2>(q.log_deviation),
                                    nn::gradient_view<2>(p.mean), nn::gradient_view<2>(p.log_deviation));
  });
  return kl;
}

/// log q(z) per sample [B], in nats, with gradients to z and to q.
template <Context C>
[[nodiscard]] VarOf<C> log_density(C& context, const DiagonalGaussian<typename C::Scalar>& q, const VarOf<C>& z) {
  using T = typename C::Scalar;
  require(z.shape == q.mean.shape, "gaussian log-density: a point of shape ", q.mean.shape.to_string(), " expected, ",
          z.shape.to_string(), " came");
  const VarOf<C> out = nn::output(context, {q.batch()}, q.mean, q.log_deviation, z);
  kernel::gaussian_log_density(z.template values<2>(), q.mean.template values<2>(), q.log_deviation.template values<2>(),
                               out.mutable_values());
  if (!out.gradient) return out;
  context.record([q, z, out] {
    kernel::gaussian_log_density_backward<T>(out.gradients(), z.template values<2>(), q.mean.template values<2>(),
                                             q.log_deviation.template values<2>(), nn::gradient_view<2>(z),
                                             nn::gradient_view<2>(q.mean), nn::gradient_view<2>(q.log_deviation));
  });
  return out;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
