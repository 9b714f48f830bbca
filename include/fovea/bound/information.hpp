// SPDX-License-Identifier: MIT
/// \file
/// Terms beside the bound: a bonus for the posterior's entropy, and the information the latents carry about the image.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/sample/distribution.hpp>

#include <cmath>

namespace fovea::inline FOVEA_ABI {
namespace bound {

/// loss - weight * entropy(q): keeps a policy from being sure too early. R. J. Williams, J. Peng, "Function optimization using
/// connectionist reinforcement learning algorithms", Connection Science 1991. `weight` is at least 0, usually a Schedule's.
struct EntropyBonus {
  double weight = 0;

  /// loss [B] and q of B rows to [B]. An entropy without a closed form is estimated from `draws`.
  template <Context C, sample::Distribution<C> Q>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> loss, const Q& q, const sample::MonteCarlo& draws = {}) const {
    return nn::axpy(context, static_cast<typename C::Scalar>(-weight), sample::entropy(context, q, draws), loss);
  }
};

/// An estimate of the mutual information I(z; x) of latents and images, in nats, from the minibatch and one draw z_b of each
/// q(z | x_b):
///
///     y_b = log q(z_b | x_b) - log (1/B sum_j q(z_b | x_j)),
///
/// with gradients to q and z. The second term is the aggregate posterior of the minibatch in the place of that of all images.
/// The mean of y_b is too small in expectation (it is InfoNCE with the true density as critic: B. Poole, S. Ozair, A. van den
/// Oord, A. Alemi, G. Tucker, "On variational bounds of mutual information", ICML 2019) and never above log B, whatever I(z;
/// x); as B grows the bias goes to 0. B is the shard's where a trainer cuts the minibatch. M. D. Hoffman, M. J. Johnson, "ELBO
/// surgery", 2016: the mean KL of a bound is I(z; x) plus KL(aggregate posterior || prior), so adding weight * y to the bound
/// gives back what the KL took from the information.
///
/// B^2 log-densities. z of a draw's shape, [B, D]; returns [B]. Throws Error on another number of rows.
template <Context C, sample::Distribution<C> Q>
[[nodiscard]] VarOf<C> mutual_information(C& context, const Q& q, VarOf<C> z) {
  using T = typename C::Scalar;
  const Index batch = q.batch();
  require(batch >= 1 && z.shape.rank() == 2 && z.shape[0] == batch, "mutual_information: draws of ", batch,
          " samples expected, a shape ", z.shape.to_string(), " came");
  const Q all = q.map([&](const VarOf<C>& x) { return nn::tile_samples(context, x, batch); });
  const VarOf<C> every = log_density(context, all, nn::repeat_samples(context, z, batch));  // row b B + j: log q(z_b | x_j)
  const VarOf<C> aggregate = nn::log_sum_exp(context, every.reshape({batch, batch}));
  const VarOf<C> y = nn::subtract(context, log_density(context, q, z), aggregate);
  const auto log_batch = static_cast<T>(std::log(static_cast<double>(batch)));
  for (Index b = 0; b < batch; ++b) y.value[b] += log_batch;
  return y;
}

}  // namespace bound
}  // namespace fovea::inline FOVEA_ABI
