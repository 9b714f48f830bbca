// SPDX-License-Identifier: MIT
/// \file
/// The divergence term, handled: to a standard normal, per dimension, with free bits, and balanced. They compose: each takes
/// distributions or divergences and returns divergences, and the weight of the term is a Schedule.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/gaussian.hpp>

#include <algorithm>
#include <concepts>

namespace fovea::inline FOVEA_ABI {
namespace bound {

/// A distribution that has a number of dimensions.
template <class Q>
concept HasDimension = requires(const Q& q) {
  { q.dimension() } -> std::convertible_to<Index>;
};

/// N(0, 1) in each of `dimension` dimensions, for `batch` samples; no gradient.
template <Context C>
[[nodiscard]] sample::DiagonalGaussian<typename C::Scalar> standard_normal(C& context, Index batch, Index dimension) {
  const VarOf<C> zeros = context.constant(Shape{batch, dimension});
  std::fill_n(zeros.value, zeros.size(), typename C::Scalar{});
  return {zeros, zeros};
}

/// KL(q || N(0, 1)) per sample [B]: what holds a learned prior or posterior to a fixed scale. Of a diagonal Gaussian, per
/// dimension, (sigma^2 + m^2 - 1) / 2 - log sigma; of others from `draws`.
template <Context C, sample::Distribution<C> Q>
  requires HasDimension<Q>
[[nodiscard]] VarOf<C> kl_to_standard_normal(C& context, const Q& q, const sample::MonteCarlo& draws = {}) {
  return sample::kl_divergence(context, q, standard_normal(context, q.batch(), q.dimension()), draws);
}

/// KL(q_d || p_d) per sample and dimension [B, D], of distributions that are products over their dimensions with parameters
/// [B, D] each: every dimension as a sample of its own. Throws Error on parameters of other shapes.
template <Context C, sample::Distribution<C> Q, sample::Distribution<C> P>
  requires(HasDimension<Q>&& HasDimension<P>)
[[nodiscard]] VarOf<C> kl_per_dimension(C& context, const Q& q, const P& p, const sample::MonteCarlo& draws = {}) {
  const Shape shape{q.batch(), q.dimension()};
  const auto alone = [&](const VarOf<C>& x) {
    require(x.shape == shape, "kl_per_dimension: parameters of shape ", shape.to_string(), " expected, ", x.shape.to_string(),
            " came");
    return x.reshape({x.size(), 1});
  };
  return sample::kl_divergence(context, q.map(alone), p.map(alone), draws).reshape(shape);
}

/// Free bits: a group of latents pays for its divergence from `nats` on only, so that it is not worth switching off. D. P.
/// Kingma et al., "Improved variational inference with inverse autoregressive flow", NIPS 2016.
///
///     y_b = sum_g max(nats, KL_bg)                              Over::sample
///     y_b = sum_g (mean_b KL_bg > nats ? KL_bg : nats)          Over::minibatch (of the shard): mean_b y_b is the published
///     sum_g
///                                                               max(nats, mean_b KL_bg)
///
/// A group that is below has no gradient. Groups are the columns: dimensions (kl_per_dimension), steps, or one for all.
struct FreeBits {
  enum class Over { sample, minibatch };

  double nats = 0;
  Over over = Over::sample;

  /// kl [B, G], or [B] for one group, to [B].
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> kl) const {
    using T = typename C::Scalar;
    require(kl.shape.rank() == 1 || kl.shape.rank() == 2, "free bits: divergences [B] or [B, G] expected, a shape ",
            kl.shape.to_string(), " came");
    const auto [samples, groups] = nn::detail::as_samples(kl.shape);
    const auto least = static_cast<T>(nats);
    const VarOf<C> y = nn::output(context, Shape{samples}, kl);
    T* paid = context.scratch(kl.size());  // 1 where a group pays, else 0
    if (over == Over::sample) {
      for (Index i = 0; i < kl.size(); ++i) paid[i] = kl.value[i] > least ? T(1) : T(0);
    } else {
      for (Index g = 0; g < groups; ++g) {
        double sum = 0;
        for (Index b = 0; b < samples; ++b) sum += static_cast<double>(kl.value[b * groups + g]);
        const T pays = sum > nats * static_cast<double>(samples) ? T(1) : T(0);
        for (Index b = 0; b < samples; ++b) paid[b * groups + g] = pays;
      }
    }
    for (Index b = 0; b < samples; ++b) {
      T sum = 0;
      for (Index i = b * groups; i < (b + 1) * groups; ++i) sum += paid[i] != T(0) ? kl.value[i] : least;
      y.value[b] = sum;
    }
    if (y.gradient) {
      context.record([kl, y, paid, samples = samples, groups = groups] {
        for (Index b = 0; b < samples; ++b) {
          kernel::axpy<T>(y.gradient[b], View<const T, 1>(paid + b * groups, {groups}),
                          View<T, 1>(kl.gradient + b * groups, {groups}));
        }
      });
    }
    return y;
  }
};

/// KL balancing: the value is KL(q || p), of which `alpha` of the gradient goes to the prior and the rest to the posterior,
///
///     alpha KL(detach(q) || p) + (1 - alpha) KL(q || detach(p)),
///
/// so that with alpha > 1/2 the prior runs after the posterior rather than the posterior back to an untrained prior. D. Hafner,
/// T. Lillicrap, M. Norouzi, J. Ba, "Mastering Atari with discrete world models", ICLR 2021, section 2.
struct KlBalance {
  double alpha = 0.8;

  /// [B]. Divergences without a closed form are estimated from `draws`, the same for both parts.
  template <Context C, sample::Distribution<C> Q, sample::Distribution<C> P>
  [[nodiscard]] VarOf<C> operator()(C& context, const Q& q, const P& p, const sample::MonteCarlo& draws = {}) const {
    using T = typename C::Scalar;
    const VarOf<C> to_prior = sample::kl_divergence(context, sample::detach(q), p, draws);
    const VarOf<C> to_posterior = sample::kl_divergence(context, q, sample::detach(p), draws);
    return nn::axpy(context, static_cast<T>(alpha), to_prior, nn::scale(context, static_cast<T>(1 - alpha), to_posterior));
  }
};

}  // namespace bound
}  // namespace fovea::inline FOVEA_ABI
