// SPDX-License-Identifier: MIT
/// \file
/// A context whose parameters want no gradient: a network run in it passes gradients on to its inputs and learns nothing.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/context.hpp>

namespace fovea::inline FOVEA_ABI {
namespace nn {

/// `C`, but for its parameters. Everything made in it lives in, and is recorded by, the context it was made from.
///
///     nn::Frozen still(context);
///     const auto judged = critic(still, y);  // a gradient to y, none to the critic's weights
template <Context C>
class Frozen : public detail::Within<C> {
 public:
  using typename detail::Within<C>::Scalar;

  explicit Frozen(C& context) noexcept : detail::Within<C>(context) {}

  [[nodiscard]] Var<Scalar> parameter(const Parameter& p) const noexcept { return detach(this->context_->parameter(p)); }
};

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
