// SPDX-License-Identifier: MIT
/// \file
/// A context whose parameters want no gradient: a network run in it passes gradients on to its inputs and learns nothing.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/context.hpp>

#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace nn {

/// `C`, but for its parameters. Everything made in it lives in, and is recorded by, the context it was made from.
///
///     nn::Frozen still(context);
///     const auto judged = critic(still, y);  // a gradient to y, none to the critic's weights
template <Context C>
class Frozen {
 public:
  using Scalar = typename C::Scalar;
  static constexpr bool recording = C::recording;

  explicit Frozen(C& context) noexcept : context_(&context) {}

  [[nodiscard]] Var<Scalar> variable(const Shape& shape) { return context_->variable(shape); }
  [[nodiscard]] Var<Scalar> constant(const Shape& shape) { return context_->constant(shape); }
  [[nodiscard]] Var<Scalar> constant(const Scalar* data, const Shape& shape) const noexcept {
    return context_->constant(data, shape);
  }
  [[nodiscard]] Var<Scalar> parameter(const Parameter& p) const noexcept { return detach(context_->parameter(p)); }
  template <class Function>
  void record(Function&& backward) const {
    context_->record(std::forward<Function>(backward));
  }
  template <class U = Scalar>
  [[nodiscard]] U* scratch(Index count) {
    return context_->template scratch<U>(count);
  }
  template <class Body>
  auto scope(Body&& body) {
    return context_->scope(std::forward<Body>(body));
  }
  [[nodiscard]] Arena& arena() const noexcept { return context_->arena(); }

 private:
  C* context_;
};

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
