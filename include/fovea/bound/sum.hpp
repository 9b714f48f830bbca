// SPDX-License-Identifier: MIT
/// \file
/// The objective `sum`: minus the evidence lower bound of the recurrent model, with a weight on each term. The derivation, and
/// why it holds in closed loop, is docs/bound.md.
#pragma once

#include <fovea/bound/terms.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/elementwise.hpp>

namespace fovea::inline FOVEA_ABI {
namespace bound {

/// loss = - class_weight log p(y|.) - proxy_weight sum_t log p(proxy|.) + kl_weight sum_t KL_t, per sample [B].
/// All weights 1: the negative of the bound of DESIGN section 6 (docs/bound.md). Weights are at least 0.
struct Sum {
  double class_weight = 1;
  double proxy_weight = 1;
  double kl_weight = 1;

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, const Terms<typename C::Scalar>& terms) const {
    using T = typename C::Scalar;
    const VarOf<C> classes = nn::scale(context, static_cast<T>(-class_weight), terms.class_log_likelihood);
    const VarOf<C> both = nn::axpy(context, static_cast<T>(-proxy_weight), terms.proxy_log_likelihood, classes);
    return nn::axpy(context, static_cast<T>(kl_weight), terms.kl, both);
  }
};

}  // namespace bound
}  // namespace fovea::inline FOVEA_ABI
