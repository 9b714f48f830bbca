// SPDX-License-Identifier: MIT
/// \file
/// The convolution layer, on [N, H, W, C] features.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/conv2d.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/initialisers.hpp>

#include <optional>
#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace nn {

namespace traced {
/// y = x * w [+ b].
struct Conv2d {
  kernel::Conv2dOptions options;
};
}  // namespace traced

/// y = x * w + b, formula in kernel/conv2d.hpp. x [N, H, W, I], w [KH, KW, I, O], b [O], or a default Var for none;
/// returns [N, OH, OW, O]. Throws Error where the shapes do not fit, or the kernel is larger than the padded input.
template <Context C>
[[nodiscard]] VarOf<C> conv2d(C& context, VarOf<C> x, VarOf<C> w, VarOf<C> b, const kernel::Conv2dOptions& options) {
  using T = typename C::Scalar;
  detail::require_rank("conv2d", x, 4);
  detail::require_rank("conv2d, weights", w, 4);
  require(x.shape[3] == w.shape[2], "conv2d: ", w.shape[2], " channels expected, a shape ", x.shape.to_string(), " came");
  if (b.value != nullptr) detail::require_shape("conv2d", "a bias", b, {w.shape[3]});
  const Extents<4> from = x.shape.template extents<4>();
  const Extents<4> weights = w.shape.template extents<4>();
  const Extents<4> to = kernel::conv2d_output_extents(from, weights, options);
  require(to[1] > 0 && to[2] > 0, "conv2d: an input of at least ", weights[0], " x ", weights[1],
          " with its padding expected, a shape ", x.shape.to_string(), " came");

  const VarOf<C> y = output(context, {to[0], to[1], to[2], to[3]}, x, w, b);
  {
    const ArenaScope scope(context.arena());
    const Index size = kernel::conv2d_workspace<T>(from, weights, options);
    kernel::conv2d<T>({x.value, from}, {w.value, weights}, b.value ? b.values() : View<const T, 1>(), options, {y.value, to},
                      {context.scratch(size), {size}});
  }
  count(context, to[0] * to[1] * to[2] * w.size());
  trace(context, traced::Conv2d{options}, y, x, w, b);
  if (y.gradient) {
    context.record([=, arena = &context.arena()] {
      const View<const T, 4> d_y(y.gradient, to);
      if (x.gradient) {
        const ArenaScope scope(*arena);
        const Index size = kernel::conv2d_backward_input_workspace<T>(from, weights, options);
        kernel::conv2d_backward_input<T>(d_y, {w.value, weights}, options, {x.gradient, from},
                                         {arena->template allocate<T>(size), {size}});
      }
      // The kernel makes both at once; a bias without its weights, which a model hardly has, throws the rest away.
      if (w.gradient || b.gradient) {
        const ArenaScope scope(*arena);
        const Index size = kernel::conv2d_backward_weights_workspace<T>(from, weights, options);
        T* d_w = w.gradient ? w.gradient : arena->template allocate_zeroed<T>(w.size());
        kernel::conv2d_backward_weights<T>(d_y, {x.value, from}, options, {d_w, weights}, gradient_view<1>(b),
                                           {arena->template allocate<T>(size), {size}});
      }
    });
  }
  return y;
}

/// A square kernel; `kernel::Conv2dOptions` has the general case.
struct ConvOptions {
  Index kernel = 3;
  Index stride = 1;
  Index padding = 0;
  bool bias = true;
  std::optional<Initialiser> weights = std::nullopt;  ///< unless given, kaiming_uniform(kernel * kernel * inputs)
};

/// y = x * w + b, with w [KH, KW, inputs, outputs].
class Conv2d {
 public:
  Conv2d(ParameterLayout& layout, std::string_view name, Index inputs, Index outputs, const ConvOptions& options = {})
      : Conv2d(layout, name, inputs, outputs, {options.kernel, options.kernel},
               {options.stride, options.stride, options.padding, options.padding}, options.bias, options.weights) {}

  /// Any kernel [height, width], strides and padding.
  Conv2d(ParameterLayout& layout, std::string_view name, Index inputs, Index outputs, const Extents<2>& kernel,
         const kernel::Conv2dOptions& options, bool bias = true, std::optional<Initialiser> weights = std::nullopt)
      : inputs_(inputs), outputs_(outputs), options_(options), biased_(bias) {
    require(inputs > 0 && outputs > 0, "Conv2d \"", name, "\": at least 1 channel each way expected, ", inputs, " and ",
            outputs, " came");
    require(kernel[0] > 0 && kernel[1] > 0, "Conv2d \"", name, "\": a kernel of at least 1 x 1 expected, ", kernel[0], " x ",
            kernel[1], " came");
    require(options.stride_y > 0 && options.stride_x > 0 && options.pad_y >= 0 && options.pad_x >= 0, "Conv2d \"", name,
            "\": strides of at least 1 and a padding of at least 0 expected");
    const auto scope = layout.scope(name);
    weights_ = layout.add("w", {kernel[0], kernel[1], inputs, outputs},
                          weights.value_or(kaiming_uniform(kernel[0] * kernel[1] * inputs)));
    if (biased_) bias_ = layout.add("b", {outputs}, Initialiser::constant(0));
  }

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return conv2d(context, x, context.parameter(weights_), biased_ ? context.parameter(bias_) : VarOf<C>{}, options_);
  }

  [[nodiscard]] Index inputs() const noexcept { return inputs_; }
  [[nodiscard]] Index outputs() const noexcept { return outputs_; }
  [[nodiscard]] const kernel::Conv2dOptions& options() const noexcept { return options_; }
  /// Extent of the output for an input of that extent.
  [[nodiscard]] Index output_height(Index input) const noexcept {
    return kernel::conv2d_output_extent(input, weights_.shape[0], options_.stride_y, options_.pad_y);
  }
  [[nodiscard]] Index output_width(Index input) const noexcept {
    return kernel::conv2d_output_extent(input, weights_.shape[1], options_.stride_x, options_.pad_x);
  }
  [[nodiscard]] const Parameter& weights() const noexcept { return weights_; }
  /// Of size 0 where the layer has none.
  [[nodiscard]] const Parameter& bias() const noexcept { return bias_; }
  [[nodiscard]] Index parameter_offset() const noexcept { return weights_.offset; }

 private:
  Index inputs_;
  Index outputs_;
  kernel::Conv2dOptions options_;
  bool biased_;
  Parameter weights_;
  Parameter bias_{0, {0}};
};

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
