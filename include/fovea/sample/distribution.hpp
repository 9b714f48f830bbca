// SPDX-License-Identifier: MIT
/// \file
/// What a distribution over locations is, and what can be done with any of them.
///
/// A distribution is a small struct of Vars, its parameters, each of B rows: copy freely. Everything else is a free function
/// in namespace fovea::sample (or, for a distribution of yours, in its own):
///
///     draw(context, q, key)         a draw for each row; where Q::pathwise holds, with a gradient to q through the draw
///     log_density(context, q, z)    [B], in nats, with gradients to q and z (probability mass for what is discrete)
///     entropy(context, q)           [B], in nats, where it has a closed form
///     kl_divergence(context, q, p)  [B], in nats, where it has a closed form
///     mean(context, q)              of the shape of a draw, with a gradient to q
///     mode(context, q)              of the shape of a draw; a gradient where it has one
///     q.batch()                     B
///     q.map(f)                      the same distribution with f applied to each parameter
///
/// Where entropy or divergence has no closed form, entropy(context, q, MonteCarlo{...}) and kl_divergence(context, q, p,
/// MonteCarlo{...}) estimate it from draws; they take the closed form where there is one.
///
/// A continuous draw is [B, D]. A discrete one is [B, n], one-hot over n cells, or on the simplex where it is relaxed: so a
/// function of the location takes both, and straight-through estimators have a place for their gradient.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/sample/noise.hpp>

#include <concepts>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// What sample/ asks of a distribution, in a context C.
template <class Q, class C>
concept Distribution = Context<C> && requires(C& context, const Q& q, VarOf<C> z, const NoiseKey& key) {
  { q.batch() } -> std::convertible_to<Index>;
  {
    q.map([](const VarOf<C>& parameter) { return parameter; })
    } -> std::same_as<Q>;
  { Q::pathwise } -> std::convertible_to<bool>;
  { draw(context, q, key) } -> std::same_as<VarOf<C>>;
  { log_density(context, q, z) } -> std::same_as<VarOf<C>>;
};

/// A distribution whose draws carry a gradient to its parameters.
template <class Q, class C>
concept PathwiseDistribution = Distribution<Q, C> && Q::pathwise;

/// Its entropy has a closed form.
template <class Q, class C>
concept HasEntropy = requires(C& context, const Q& q) {
  { entropy(context, q) } -> std::same_as<VarOf<C>>;
};
/// KL(q || p) has a closed form.
template <class Q, class P, class C>
concept HasDivergence = requires(C& context, const Q& q, const P& p) {
  { kl_divergence(context, q, p) } -> std::same_as<VarOf<C>>;
};

/// The same distribution, of which no gradient is wanted.
template <class Q>
[[nodiscard]] Q detach(const Q& q) {
  return q.map([](const auto& x) { return nn::detach(x); });
}

/// Every row `count` times: row b becomes rows b * count to (b + 1) * count - 1. Gradients of the copies add.
template <Context C, class Q>
[[nodiscard]] Q repeat(C& context, const Q& q, Index count) {
  return q.map([&](const VarOf<C>& x) { return nn::repeat_samples(context, x, count); });
}

/// How an expectation without a closed form is estimated: the mean over `samples` draws, named by `key`.
struct MonteCarlo {
  NoiseKey key = {};
  Index samples = 1;
};

/// The entropy of q [B]: closed, or - mean log q(z) over draws, whose gradient is pathwise. Throws Error on samples < 1.
template <Context C, Distribution<C> Q>
[[nodiscard]] VarOf<C> entropy(C& context, const Q& q, const MonteCarlo& draws) {
  if constexpr (HasEntropy<Q, C>) {
    return entropy(context, q);
  } else {
    static_assert(PathwiseDistribution<Q, C>,
                  "fovea::sample::entropy: this distribution has neither a closed entropy nor pathwise draws");
    require(draws.samples >= 1, "entropy: at least 1 sample expected, ", draws.samples, " came");
    const Q many = repeat(context, q, draws.samples);
    const VarOf<C> z = draw(context, many, draws.key.repeated(draws.samples));
    return nn::scale(context, typename C::Scalar(-1),
                     nn::mean_of_repeats(context, log_density(context, many, z), draws.samples));
  }
}

/// KL(q || p) [B]: closed, or the mean of log q(z) - log p(z) over draws of q, whose gradient is pathwise. Throws Error on
/// samples < 1. The estimate may be negative.
template <Context C, Distribution<C> Q, Distribution<C> P>
[[nodiscard]] VarOf<C> kl_divergence(C& context, const Q& q, const P& p, const MonteCarlo& draws) {
  if constexpr (HasDivergence<Q, P, C>) {
    return kl_divergence(context, q, p);
  } else {
    static_assert(
        PathwiseDistribution<Q, C>,
        "fovea::sample::kl_divergence: these distributions have no closed divergence, and the first has no pathwise draws");
    require(draws.samples >= 1, "kl_divergence: at least 1 sample expected, ", draws.samples, " came");
    const Q many = repeat(context, q, draws.samples);
    const VarOf<C> z = draw(context, many, draws.key.repeated(draws.samples));
    const VarOf<C> ratio =
        nn::subtract(context, log_density(context, many, z), log_density(context, repeat(context, p, draws.samples), z));
    return nn::mean_of_repeats(context, ratio, draws.samples);
  }
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
