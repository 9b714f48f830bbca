// SPDX-License-Identifier: MIT
/// \file
/// The terms of the bound of the recurrent model, and what an objective makes of them.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>

#include <concepts>

namespace fovea::inline FOVEA_ABI {
namespace bound {

/// The terms of the bound, per sample [B], in nats, from one draw of z_1..T. (Of several draws per sample, [B K]: see
/// bound/multi_sample.hpp.)
template <class T>
struct Terms {
  Var<T> class_log_likelihood;  ///< log p(y | o_1..T, h_0..T-1)
  Var<T> proxy_log_likelihood;  ///< sum over t of log p(proxy | z_t, h_{t-1})
  Var<T> kl;                    ///< sum over t of KL(q(z_t | proxy, h_{t-1}) || p(z_t | h_{t-1})), or an estimate of it
};

/// An objective combines the terms into a loss per sample: `objective(context, terms)` returns [B]. Sum, Product, LogSum and
/// ImportanceWeighted are such, and so is any function object of yours.
template <class O, class C>
concept Objective = Context<C> && requires(const O& objective, C& context, const Terms<typename C::Scalar>& terms) {
  { objective(context, terms) } -> std::same_as<VarOf<C>>;
};

}  // namespace bound
}  // namespace fovea::inline FOVEA_ABI
