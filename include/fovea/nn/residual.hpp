// SPDX-License-Identifier: MIT
/// \file
/// The residual block of the published networks.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/group_norm.hpp>

#include <optional>
#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace nn {

struct ResidualOptions {
  Index stride = 1;
  Index groups = 0;  ///< of the norms; 0: default_groups(outputs)
  Activation activation = Activation::elu;
};

/// y = act(norm(conv3x3(act(norm(conv3x3 / s(x))))) + shortcut(x)). The shortcut is x itself where neither extent nor
/// channels change, and norm(conv1x1 / s(x)) otherwise. No convolution has a bias: the norm behind it would take it
/// away. K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, with group norms,
/// as published with Variational Saccading. An input [N, H, W, inputs] gives [N, ceil(H / s), ceil(W / s), outputs].
class Residual {
 public:
  Residual(ParameterLayout& layout, std::string_view name, Index inputs, Index outputs, const ResidualOptions& options = {})
      : Residual(layout, layout.scope(name), inputs, outputs, options) {}

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return context.scope([&] {
      // Each scope gives back, in an Inference, all but what its last line needs.
      const VarOf<C> inner = context.scope([&] {
        const VarOf<C> half = context.scope([&] { return norm1_(context, conv1_(context, x)); });
        return norm2_(context, conv2_(context, half));
      });
      const VarOf<C> shortcut =
          shortcut_ ? context.scope([&] { return shortcut_->norm(context, shortcut_->conv(context, x)); }) : x;
      return add_activate(context, activation_, inner, shortcut);
    });
  }

  [[nodiscard]] Index inputs() const noexcept { return conv1_.inputs(); }
  [[nodiscard]] Index outputs() const noexcept { return conv2_.outputs(); }
  [[nodiscard]] Index output_height(Index input) const noexcept { return conv1_.output_height(input); }
  [[nodiscard]] Index output_width(Index input) const noexcept { return conv1_.output_width(input); }
  [[nodiscard]] Index parameter_offset() const noexcept { return conv1_.parameter_offset(); }

 private:
  struct Shortcut {
    Conv2d conv;
    GroupNorm norm;
  };

  // The scope lives as long as the members register their parameters.
  Residual(ParameterLayout& layout, const ParameterLayout::Scope& /*scope*/, Index inputs, Index outputs,
           const ResidualOptions& options)
      : activation_(options.activation),
        conv1_(layout, "conv1", inputs, outputs, {.kernel = 3, .stride = options.stride, .padding = 1, .bias = false}),
        norm1_(layout, "norm1", outputs, options.groups, kGroupNormEpsilon, options.activation),
        conv2_(layout, "conv2", outputs, outputs, {.kernel = 3, .stride = 1, .padding = 1, .bias = false}),
        norm2_(layout, "norm2", outputs, options.groups) {
    if (options.stride != 1 || inputs != outputs) {
      shortcut_.emplace(
          Shortcut{Conv2d(layout, "shortcut.conv", inputs, outputs, {.kernel = 1, .stride = options.stride, .bias = false}),
                   GroupNorm(layout, "shortcut.norm", outputs, options.groups)});
    }
  }

  Activation activation_;
  Conv2d conv1_;
  GroupNorm norm1_;
  Conv2d conv2_;
  GroupNorm norm2_;
  std::optional<Shortcut> shortcut_;
};

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
