// SPDX-License-Identifier: MIT
/// \file
/// Group normalisation: the default of this library, because it does not depend on how a minibatch is cut into shards.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/norm.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/elementwise.hpp>

#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace nn {

/// What is added to the variance unless told otherwise.
inline constexpr double kGroupNormEpsilon = 1e-5;

namespace traced {
/// y = activation(norm(x) gamma + beta), the activation as kernels take it.
template <class F>
struct GroupNorm {
  Index groups;
  double epsilon;
  F activation;
};
}  // namespace traced

namespace detail {

template <Context C, class F>
[[nodiscard]] VarOf<C> group_norm(C& context, VarOf<C> x, VarOf<C> gamma, VarOf<C> beta, Index groups, double epsilon, F f) {
  using T = typename C::Scalar;
  const Extents<3> e = as_positions(x.shape);
  const VarOf<C> y = output(context, x.shape, x, gamma, beta);
  const Extents<2> per_group{e[0], groups};
  T* mean = context.scratch(e[0] * groups);
  T* rstd = context.scratch(e[0] * groups);
  kernel::group_norm<T>({x.value, e}, gamma.values(), beta.values(), epsilon, {y.value, e}, {mean, per_group},
                        {rstd, per_group}, f);
  trace(context, traced::GroupNorm<F>{groups, epsilon, f}, y, x, gamma, beta);
  if (y.gradient) {
    context.record([=] {
      kernel::group_norm_backward<T>({y.gradient, e}, {x.value, e}, {y.value, e}, gamma.values(), beta.values(),
                                     {mean, per_group}, {rstd, per_group}, gradient_view(x, e), gradient_view<1>(gamma),
                                     gradient_view<1>(beta), f);
    });
  }
  return y;
}

}  // namespace detail

/// x [N, C] to [N, H, W, C]; gamma, beta [C]; `groups` must divide C. Throws Error otherwise. Formula in
/// kernel/norm.hpp. `activation` follows in the same passes (ReLU, ELU), or in one of its own.
template <Context C>
[[nodiscard]] VarOf<C> group_norm(C& context, VarOf<C> x, VarOf<C> gamma, VarOf<C> beta, Index groups,
                                  double epsilon = kGroupNormEpsilon, Activation activation = Activation::identity) {
  require(x.shape.rank() >= 2, "group_norm: an input of rank 2 to 4 expected, a shape ", x.shape.to_string(), " came");
  const Index channels = x.shape[x.shape.rank() - 1];
  require(groups > 0 && channels % groups == 0, "group_norm: groups that divide ", channels, " channels expected, ", groups,
          " came");
  detail::require_shape("group_norm", "gamma", gamma, {channels});
  detail::require_shape("group_norm", "beta", beta, {channels});
  switch (activation) {
    case Activation::relu: return detail::group_norm(context, x, gamma, beta, groups, epsilon, kernel::Relu{});
    case Activation::elu: return detail::group_norm(context, x, gamma, beta, groups, epsilon, kernel::Elu{});
    default:
      return activate(context, activation, detail::group_norm(context, x, gamma, beta, groups, epsilon, kernel::Identity{}));
  }
}

/// The largest number of groups up to `most` that divides the channels: what layers use unless told otherwise.
[[nodiscard]] constexpr Index default_groups(Index channels, Index most = 8) noexcept {
  Index groups = most < channels ? most : channels;
  while (groups > 1 && channels % groups != 0) --groups;
  return groups < 1 ? 1 : groups;
}

/// Group normalisation with a gain (starts at 1) and an offset (0) per channel, and a non-linearity behind it where wanted.
class GroupNorm {
 public:
  /// `groups` 0: default_groups(channels). Throws Error unless the groups divide the channels.
  GroupNorm(ParameterLayout& layout, std::string_view name, Index channels, Index groups = 0,
            double epsilon = kGroupNormEpsilon, Activation activation = Activation::identity)
      : channels_(channels),
        groups_(groups == 0 ? default_groups(channels) : groups),
        epsilon_(epsilon),
        activation_(activation) {
    require(channels > 0, "GroupNorm \"", name, "\": at least 1 channel expected, ", channels, " came");
    require(groups_ > 0 && channels % groups_ == 0, "GroupNorm \"", name, "\": groups that divide ", channels,
            " channels expected, ", groups, " came");
    require(epsilon > 0, "GroupNorm \"", name, "\": an epsilon above 0 expected, ", epsilon, " came");
    const auto scope = layout.scope(name);
    gamma_ = layout.add("gamma", {channels}, Initialiser::constant(1));
    beta_ = layout.add("beta", {channels}, Initialiser::constant(0));
  }

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return group_norm(context, x, context.parameter(gamma_), context.parameter(beta_), groups_, epsilon_, activation_);
  }

  [[nodiscard]] Index inputs() const noexcept { return channels_; }
  [[nodiscard]] Index outputs() const noexcept { return channels_; }
  [[nodiscard]] Index groups() const noexcept { return groups_; }
  [[nodiscard]] const Parameter& gamma() const noexcept { return gamma_; }
  [[nodiscard]] const Parameter& beta() const noexcept { return beta_; }
  [[nodiscard]] Index parameter_offset() const noexcept { return gamma_.offset; }

 private:
  Index channels_;
  Index groups_;
  double epsilon_;
  Activation activation_;
  Parameter gamma_;
  Parameter beta_;
};

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
