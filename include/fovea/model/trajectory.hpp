// SPDX-License-Identifier: MIT
/// \file
/// What a pass of a saccader leaves behind: its steps.
#pragma once

#include <fovea/core/tape.hpp>
#include <fovea/model/policy.hpp>

#include <span>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// One saccade. Where the gaze is not the policy's, posterior, prior, kl, z, look are empty; without Looking::bound, prior and
/// kl.
template <class T, class Posterior, class Prior>
struct BasicStep {
  Posterior posterior;
  Prior prior;
  PolicyOutput<T> look;
  Var<T> z;                     ///< the location in the parts' coordinates [B, 3]
  Var<T> regions;               ///< [B, 3]: s, x, y
  Var<T> glimpse;               ///< [B, h, w, C]
  Var<T> kl;                    ///< [B]
  Var<T> proxy_log_likelihood;  ///< [B]; empty without a decoder, or without Looking::bound
  Var<T> attended;              ///< features of the proxy under the policy's attention [B, F]; empty where it has none
  Var<T> evidence;              ///< of this look alone [B, E], as the head has it
  Var<T> logits;                ///< [B, K], the evidence of the steps up to this one
};

/// A pass: its steps live in the context's arena.
template <class Step>
struct BasicTrajectory {
  std::span<const Step> steps;
  /// [B, K]: the evidence of all steps.
  [[nodiscard]] const auto& logits() const noexcept { return steps.back().logits; }
};

/// What the model sees when it dreams: of one step, a proxy drawn from the prior's place, and the region it went to.
template <class T>
struct Dream {
  Var<T> z;        ///< drawn from p(z_t | h_{t-1}), [B, 3]
  Var<T> regions;  ///< [B, 3]
  Var<T> proxy;    ///< the mean of p(proxy | z_t, h_{t-1}), [B, h, w, C] in [0, 1]
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
