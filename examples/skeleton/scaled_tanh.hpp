// SPDX-License-Identifier: MIT
/// \file
/// A layer to copy: y = a tanh(x) with one learned scale per channel. docs/add-a-layer.md walks through it.
#pragma once

#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/nn/context.hpp>

#include <cmath>
#include <string_view>

namespace skeleton {

// 1. The kernel: plain functions on views. It knows no tape, starts no thread, allocates nothing, takes any scalar.

/// y = a tanh(x), for x and y [rows, C] and a [C].
template <class T>
void scaled_tanh(fovea::View<const T, 2> x, fovea::View<const T, 1> a, fovea::View<T, 2> y) {
  for (fovea::Index r = 0; r < x.extent(0); ++r) {
    for (fovea::Index c = 0; c < x.extent(1); ++c) y(r, c) = a[c] * std::tanh(x(r, c));
  }
}

/// d_x += d_y a (1 - tanh(x)^2) and d_a += d_y tanh(x); an empty gradient is one that nobody wants.
template <class T>
void scaled_tanh_backward(fovea::View<const T, 2> d_y, fovea::View<const T, 2> x, fovea::View<const T, 1> a,
                          fovea::View<T, 2> d_x, fovea::View<T, 1> d_a) {
  for (fovea::Index r = 0; r < x.extent(0); ++r) {
    for (fovea::Index c = 0; c < x.extent(1); ++c) {
      const T t = std::tanh(x(r, c));
      if (d_x.data()) d_x(r, c) += d_y(r, c) * a[c] * (1 - t * t);
      if (d_a.data()) d_a[c] += d_y(r, c) * t;
    }
  }
}

// 2. The op: takes memory from the context, calls the kernel, records the backward call.

/// x [B, C], a [C]; returns [B, C]. Throws fovea::Error on other shapes.
template <fovea::Context C>
[[nodiscard]] fovea::VarOf<C> scaled_tanh(C& context, fovea::VarOf<C> x, fovea::VarOf<C> a) {
  using T = typename C::Scalar;
  fovea::require(x.shape.rank() == 2 && a.shape == fovea::Shape{x.shape[1]}, "scaled_tanh: [B, C] and [C] expected, ",
                 x.shape.to_string(), " and ", a.shape.to_string(), " came");
  const fovea::VarOf<C> y = fovea::nn::output(context, x.shape, x, a);
  scaled_tanh<T>(x.template values<2>(), a.values(), y.template mutable_values<2>());
  if (y.gradient) {
    context.record([x, a, y] {
      scaled_tanh_backward<T>(y.template gradients<2>(), x.template values<2>(), a.values(), fovea::nn::gradient_view<2>(x),
                              fovea::nn::gradient_view<1>(a));
    });
  }
  return y;
}

// 3. The layer: named slices of the model's one parameter buffer, never storage.

class ScaledTanh {
 public:
  ScaledTanh(fovea::ParameterLayout& layout, std::string_view name, fovea::Index channels)
      : scale_(layout.add(name, {channels}, fovea::Initialiser::constant(1))) {}

  template <fovea::Context C>
  [[nodiscard]] fovea::VarOf<C> operator()(C& context, fovea::VarOf<C> x) const {
    return scaled_tanh(context, x, context.parameter(scale_));
  }

 private:
  fovea::Parameter scale_;
};

}  // namespace skeleton
