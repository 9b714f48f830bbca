// SPDX-License-Identifier: MIT
/// \file
/// Bounds from K draws per sample, and the gradients that go with them.
///
/// Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", ICLR 2016 (IWAE):
///
///     L_K = E log (1/K sum_k w_k),    w_k = p(y, proxy, z_k) / q(z_k),    L_1 <= L_K <= log p(y, proxy).
///
/// The plain gradient through the draws is sum_k v_k d log w_k, v_k = w_k / sum_j w_j. To the encoder its signal-to-noise ratio
/// falls as 1 / sqrt(K) (T. Rainforth et al., "Tighter variational bounds are not necessarily better", ICML 2018), because
/// d log w_k holds the score d log q(z_k) / d phi at a fixed z_k, which has mean 0 for K = 1 and is otherwise nothing but
/// noise.
///
/// G. Tucker, D. Lawson, S. Gu, C. J. Maddison, "Doubly reparameterized gradient estimators for Monte Carlo objectives", ICLR
/// 2019 (DReG): reparameterising the score once more leaves
///
///     to the encoder    sum_k v_k^2 (d log w_k / d z_k) (d z_k / d phi),    to everything else    sum_k v_k d log w_k,
///
/// unbiased, and of a ratio that rises with K. On the tape, for draws that do not see each other:
///
///     const auto many = sample::repeat(context, posterior, K);
///     bound::NormalisedWeights weights(context, B * K);
///     const auto z = weights.scale_gradient(context, sample::draw(context, many, key.repeated(K)));
///     const auto log_q = sample::log_density(context, sample::detach(many), z);  // of z, but not of phi
///     const auto log_w = nn::subtract(context, log_joint(z), log_q);
///     const auto l = bound::importance_weighted(context, log_w, K, weights);     // [B]
///
/// The bound sends v_k to log w_k, and so to the decoder and to z; scale_gradient multiplies by v_k once more what goes on to
/// phi. In a recurrent model the posterior of step t sees z_1..t-1 through h, and those paths carry v_k, not its square, and
/// keep the score: run the encoder twice, once to learn and once (nn::Frozen) to pass on,
///
///     const auto own = encoder(context, nn::detach(h));      // to the encoder's parameters
///     const auto seen = encoder(still, h);                    // nn::Frozen still(context): to h
///     const auto z = sample::draw(context, as_posterior(weights.scale_gradient(context, own, seen)), key);
///     const auto log_q = sample::log_density(context, as_posterior(seen), z);
///
/// For K = 1, v = 1, and a log q without the score is the estimator of G. Roeder, Y. Wu, D. Duvenaud, "Sticking the landing",
/// NIPS 2017: sample::log_density(context, sample::detach(q), z), whose variance is 0 where q is the true posterior. With K > 1
/// and without the second factor v_k it is biased.
#pragma once

#include <fovea/bound/sum.hpp>
#include <fovea/bound/terms.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/loss.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/reshape.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace fovea::inline FOVEA_ABI {
namespace bound {

/// The normalised weights v_k of the draws, one a row: known once the bound is, used by the backward pass. Until then NaN, so
/// that a bound which was not told of them is found out. A handle: copy freely within the pass.
template <class T>
class NormalisedWeights {
 public:
  template <Context C>
  NormalisedWeights(C& context, Index rows) : values_(context.scratch(rows), {rows}) {
    std::fill_n(values_.data(), rows, std::numeric_limits<T>::quiet_NaN());
  }
  [[nodiscard]] View<T, 1> values() const noexcept { return values_; }

  /// x [rows, ...] itself; on its way back the gradient of row r is multiplied by weight r.
  template <Context C>
  [[nodiscard]] VarOf<C> scale_gradient(C& context, VarOf<C> x) const {
    return scale_gradient(context, x, nn::detach(x));
  }
  /// The same, and a copy of the gradient, not multiplied, goes to `seen`, of the same value as `x`.
  template <Context C>
  [[nodiscard]] VarOf<C> scale_gradient(C& context, VarOf<C> x, VarOf<C> seen) const {
    const auto [rows, size] = nn::detail::as_samples(x.shape);
    require(rows == values_.size() && seen.shape == x.shape, "scale_gradient: ", values_.size(), " rows expected, ",
            x.shape.to_string(), " and ", seen.shape.to_string(), " came");
    const VarOf<C> y = nn::output(context, x.shape, x, seen);
    std::copy_n(x.value, x.size(), y.value);
    if (y.gradient) {
      context.record([x, seen, y, weights = values_, rows = rows, size = size] {
        if (seen.gradient) kernel::accumulate<T>(y.gradients(), seen.gradients());
        for (Index r = 0; x.gradient && r < rows; ++r) {
          kernel::axpy<T>(weights[r], View<const T, 1>(y.gradient + r * size, {size}),
                          View<T, 1>(x.gradient + r * size, {size}));
        }
      });
    }
    return y;
  }

 private:
  View<T, 1> values_;
};

template <Context C>
NormalisedWeights(C&, Index) -> NormalisedWeights<typename C::Scalar>;

/// log (1/K sum_k exp(log_weights[b K + k])): [B K] to [B], in nats; a bound, to be made great. Its gradient is the plain one.
/// Throws Error where the rows do not divide.
template <Context C>
[[nodiscard]] VarOf<C> importance_weighted(C& context, VarOf<C> log_weights, Index draws) {
  require(log_weights.shape.rank() == 1 && draws >= 1 && log_weights.shape[0] % draws == 0,
          "importance_weighted: log-weights of ", draws, " draws per sample expected, a shape ", log_weights.shape.to_string(),
          " came");
  const VarOf<C> y = nn::log_sum_exp(context, log_weights.reshape({log_weights.shape[0] / draws, draws}));
  const auto log_draws = static_cast<typename C::Scalar>(std::log(static_cast<double>(draws)));
  for (Index b = 0; b < y.size(); ++b) y.value[b] -= log_draws;
  return y;
}
/// The same, which tells `weights` what they are.
template <Context C>
[[nodiscard]] VarOf<C> importance_weighted(C& context, VarOf<C> log_weights, Index draws,
                                           const NormalisedWeights<typename C::Scalar>& weights) {
  const VarOf<C> y = importance_weighted(context, log_weights, draws);
  require(weights.values().size() == log_weights.size(), "importance_weighted: ", log_weights.size(), " weights expected, ",
          weights.values().size(), " came");
  const Extents<2> rows{y.size(), draws};
  kernel::softmax<typename C::Scalar>({log_weights.value, rows}, {weights.values().data(), rows});
  return y;
}

/// The objective: minus the bound of K draws per sample. Terms [B K], row b K + k being draw k of sample b; returns [B]. One
/// draw: Sum. Other weights than 1 temper the factors of the model, as in Sum.
///
/// `terms.kl` must be sum_t log q(z_t) - log p(z_t) of the draw itself (log_ratio): with the closed divergence the loss of K >
/// 1 bounds nothing.
struct ImportanceWeighted {
  Index draws = 1;
  Sum terms = {};

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, const Terms<typename C::Scalar>& of) const {
    return negative(context, importance_weighted(context, log_weights(context, of), draws));
  }
  /// With the doubly reparameterised gradient.
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, const Terms<typename C::Scalar>& of,
                                    const NormalisedWeights<typename C::Scalar>& weights) const {
    return negative(context, importance_weighted(context, log_weights(context, of), draws, weights));
  }

 private:
  template <Context C>
  [[nodiscard]] static VarOf<C> negative(C& context, VarOf<C> x) {
    return nn::scale(context, typename C::Scalar(-1), x);
  }
  template <Context C>
  [[nodiscard]] VarOf<C> log_weights(C& context, const Terms<typename C::Scalar>& of) const {
    return negative(context, terms(context, of));
  }
};

/// log q(z) - log p(z) per draw [B]: the divergence from one draw of q.
template <Context C, class Q, class P>
[[nodiscard]] VarOf<C> log_ratio(C& context, const Q& q, const P& p, VarOf<C> z) {
  return nn::subtract(context, log_density(context, q, z), log_density(context, p, z));
}

}  // namespace bound
}  // namespace fovea::inline FOVEA_ABI
