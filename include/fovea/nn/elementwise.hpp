// SPDX-License-Identifier: MIT
/// \file
/// Element-wise ops and sums.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/activation.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/nn/context.hpp>

#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace nn {

namespace traced {
/// y = f(x), or f(x, y), element by element. A factor of one element stands for as many as there are.
enum class Elementwise { relu, elu, selu, tanh, sigmoid, softplus, exp, add, subtract, multiply };
/// y = factor * x, or factor * x + y.
struct Scaled {
  double factor;
};
/// y = activation(x + y), the activation as kernels take it: kernel::Identity, Relu or Elu.
template <class F>
struct OfSum {
  F activation;
};
}  // namespace traced

namespace detail {

/// y = forward(x); the backward kernel takes the output.
template <Context C, class Forward, class Backward>
[[nodiscard]] VarOf<C> unary(C& context, VarOf<C> x, traced::Elementwise op, Forward forward, Backward backward) {
  const VarOf<C> y = output(context, x.shape, x);
  trace(context, op, y, x);
  forward(x.values(), y.mutable_values());
  if (y.gradient) context.record([=] { backward(y.gradients(), y.values(), x.gradients()); });
  return y;
}

}  // namespace detail

/// max(x, 0). This and the following keep the shape of x; formulas in kernel/activation.hpp.
template <Context C>
[[nodiscard]] VarOf<C> relu(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  return detail::unary(context, x, traced::Elementwise::relu, kernel::relu<T>, kernel::relu_backward<T>);
}
template <Context C>
[[nodiscard]] VarOf<C> elu(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  return detail::unary(context, x, traced::Elementwise::elu, kernel::elu<T>, kernel::elu_backward<T>);
}
template <Context C>
[[nodiscard]] VarOf<C> selu(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  return detail::unary(context, x, traced::Elementwise::selu, kernel::selu<T>, kernel::selu_backward<T>);
}
template <Context C>
[[nodiscard]] VarOf<C> tanh(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  return detail::unary(context, x, traced::Elementwise::tanh, kernel::tanh<T>, kernel::tanh_backward<T>);
}
template <Context C>
[[nodiscard]] VarOf<C> sigmoid(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  return detail::unary(context, x, traced::Elementwise::sigmoid, kernel::sigmoid<T>, kernel::sigmoid_backward<T>);
}
template <Context C>
[[nodiscard]] VarOf<C> softplus(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  return detail::unary(context, x, traced::Elementwise::softplus, kernel::softplus<T>, kernel::softplus_backward<T>);
}
template <Context C>
[[nodiscard]] VarOf<C> exp(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  return detail::unary(context, x, traced::Elementwise::exp, kernel::exp<T>, kernel::exp_backward<T>);
}

/// A non-linearity chosen at run time.
enum class Activation { identity, relu, elu, selu, tanh, sigmoid, softplus };

/// The non-linearity of that name ("relu", ...); throws Error on another.
[[nodiscard]] inline Activation activation_from_name(std::string_view name) {
  if (name == "identity") return Activation::identity;
  if (name == "relu") return Activation::relu;
  if (name == "elu") return Activation::elu;
  if (name == "selu") return Activation::selu;
  if (name == "tanh") return Activation::tanh;
  if (name == "sigmoid") return Activation::sigmoid;
  if (name == "softplus") return Activation::softplus;
  fail("activation: identity, relu, elu, selu, tanh, sigmoid or softplus expected, \"", name, "\" came");
}

template <Context C>
[[nodiscard]] VarOf<C> activate(C& context, Activation activation, VarOf<C> x) {
  switch (activation) {
    case Activation::identity: return x;
    case Activation::relu: return relu(context, x);
    case Activation::elu: return elu(context, x);
    case Activation::selu: return selu(context, x);
    case Activation::tanh: return tanh(context, x);
    case Activation::sigmoid: return sigmoid(context, x);
    case Activation::softplus: return softplus(context, x);
  }
  fail("activation: a value of the enumeration expected");
}

/// x + y, of one shape. Throws Error otherwise; so do the following.
template <Context C>
[[nodiscard]] VarOf<C> add(C& context, VarOf<C> x, VarOf<C> y) {
  using T = typename C::Scalar;
  detail::require_shape("add", "a second operand", y, x.shape);
  const VarOf<C> z = output(context, x.shape, x, y);
  kernel::add<T>(x.values(), y.values(), z.mutable_values());
  trace(context, traced::Elementwise::add, z, x, y);
  if (z.gradient) {
    context.record([=] {
      if (x.gradient) kernel::accumulate<T>(z.gradients(), x.gradients());
      if (y.gradient) kernel::accumulate<T>(z.gradients(), y.gradients());
    });
  }
  return z;
}

namespace detail {
template <Context C, class F>
[[nodiscard]] VarOf<C> add_activate(C& context, VarOf<C> x, VarOf<C> y, F f) {
  using T = typename C::Scalar;
  require_shape("add_activate", "a second operand", y, x.shape);
  const VarOf<C> z = output(context, x.shape, x, y);
  kernel::add_activate<T>(x.values(), y.values(), z.mutable_values(), f);
  trace(context, traced::OfSum<F>{f}, z, x, y);
  if (z.gradient) {
    context.record([=] {
      kernel::add_activate_backward<T>(z.gradients(), z.values(), x.gradient ? x.gradients() : View<T, 1>(),
                                       y.gradient ? y.gradients() : View<T, 1>(), f);
    });
  }
  return z;
}
}  // namespace detail

/// activate(x + y), in one pass for ReLU and ELU.
template <Context C>
[[nodiscard]] VarOf<C> add_activate(C& context, Activation activation, VarOf<C> x, VarOf<C> y) {
  switch (activation) {
    case Activation::relu: return detail::add_activate(context, x, y, kernel::Relu{});
    case Activation::elu: return detail::add_activate(context, x, y, kernel::Elu{});
    default: return activate(context, activation, add(context, x, y));
  }
}
/// x - y.
template <Context C>
[[nodiscard]] VarOf<C> subtract(C& context, VarOf<C> x, VarOf<C> y) {
  using T = typename C::Scalar;
  detail::require_shape("subtract", "a second operand", y, x.shape);
  const VarOf<C> z = output(context, x.shape, x, y);
  kernel::subtract<T>(x.values(), y.values(), z.mutable_values());
  trace(context, traced::Elementwise::subtract, z, x, y);
  if (z.gradient) {
    context.record([=] {
      if (x.gradient) kernel::accumulate<T>(z.gradients(), x.gradients());
      if (y.gradient) kernel::axpy<T>(T(-1), z.gradients(), y.gradients());
    });
  }
  return z;
}
/// x * y, element by element.
template <Context C>
[[nodiscard]] VarOf<C> multiply(C& context, VarOf<C> x, VarOf<C> y) {
  using T = typename C::Scalar;
  detail::require_shape("multiply", "a second operand", y, x.shape);
  const VarOf<C> z = output(context, x.shape, x, y);
  kernel::multiply<T>(x.values(), y.values(), z.mutable_values());
  trace(context, traced::Elementwise::multiply, z, x, y);
  if (z.gradient) {
    context.record([=] {
      if (x.gradient) kernel::multiply_add<T>(z.gradients(), y.values(), x.gradients());
      if (y.gradient) kernel::multiply_add<T>(z.gradients(), x.values(), y.gradients());
    });
  }
  return z;
}
/// a * x, for a constant a.
template <Context C>
[[nodiscard]] VarOf<C> scale(C& context, typename C::Scalar a, VarOf<C> x) {
  using T = typename C::Scalar;
  const VarOf<C> y = output(context, x.shape, x);
  kernel::scale<T>(a, x.values(), y.mutable_values());
  trace(context, traced::Scaled{static_cast<double>(a)}, y, x);
  if (y.gradient) context.record([=] { kernel::axpy<T>(a, y.gradients(), x.gradients()); });
  return y;
}

/// y = a x, `a` a Var of one element, with gradients to both.
template <Context C>
[[nodiscard]] VarOf<C> scale_by(C& context, VarOf<C> a, VarOf<C> x) {
  using T = typename C::Scalar;
  detail::require_shape("scale_by", "a factor", a, Shape{1});
  const VarOf<C> y = output(context, x.shape, a, x);
  kernel::scale<T>(*a.value, x.values(), y.mutable_values());
  trace(context, traced::Elementwise::multiply, y, a, x);
  if (y.gradient) {
    context.record([=] {
      if (x.gradient) kernel::axpy<T>(*a.value, y.gradients(), x.gradients());
      if (!a.gradient) return;
      double sum = 0;
      for (Index i = 0; i < x.size(); ++i) sum += static_cast<double>(y.gradient[i]) * static_cast<double>(x.value[i]);
      *a.gradient += static_cast<T>(sum);
    });
  }
  return y;
}

/// a * x + y, for a constant a.
template <Context C>
[[nodiscard]] VarOf<C> axpy(C& context, typename C::Scalar a, VarOf<C> x, VarOf<C> y) {
  using T = typename C::Scalar;
  detail::require_shape("axpy", "a second operand", y, x.shape);
  const VarOf<C> z = output(context, x.shape, x, y);
  std::copy_n(y.value, y.size(), z.value);
  kernel::axpy<T>(a, x.values(), z.mutable_values());
  trace(context, traced::Scaled{static_cast<double>(a)}, z, x, y);
  if (z.gradient) {
    context.record([=] {
      if (x.gradient) kernel::axpy<T>(a, z.gradients(), x.gradients());
      if (y.gradient) kernel::accumulate<T>(z.gradients(), y.gradients());
    });
  }
  return z;
}

/// The sum of all elements, a scalar.
template <Context C>
[[nodiscard]] VarOf<C> sum(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  const VarOf<C> y = output(context, Shape{}, x);
  *y.value = static_cast<T>(kernel::sum<T>(x.values()));
  if (y.gradient) context.record([=] { kernel::add_constant<T>(*y.gradient, x.gradients()); });
  return y;
}
/// The mean of all elements, a scalar. Throws Error where there are none.
template <Context C>
[[nodiscard]] VarOf<C> mean(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  require(x.size() > 0, "mean: at least one element expected");
  const VarOf<C> y = output(context, Shape{}, x);
  const T weight = T(1) / static_cast<T>(x.size());
  *y.value = static_cast<T>(kernel::sum<T>(x.values()) / static_cast<double>(x.size()));
  if (y.gradient) context.record([=] { kernel::add_constant<T>(weight * *y.gradient, x.gradients()); });
  return y;
}
/// The sum over everything but the first axis: [B, ...] to [B].
template <Context C>
[[nodiscard]] VarOf<C> sum_per_sample(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  require(x.shape.rank() >= 1, "sum_per_sample: an input of rank 1 or more expected");
  const auto [samples, size] = detail::as_samples(x.shape);
  const VarOf<C> y = output(context, Shape{samples}, x);
  for (Index b = 0; b < samples; ++b) {
    y.value[b] = static_cast<T>(kernel::sum<T>(View<const T, 1>(x.value + b * size, {size})));
  }
  if (y.gradient) {
    context.record([x, y, samples = samples, size = size] {
      for (Index b = 0; b < samples; ++b) {
        kernel::add_constant<T>(y.gradient[b], View<T, 1>(x.gradient + b * size, {size}));
      }
    });
  }
  return y;
}

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
