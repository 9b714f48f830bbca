// SPDX-License-Identifier: MIT
/// \file
/// The dense (fully connected) layer.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/gemm.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/initialisers.hpp>

#include <optional>
#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace nn {

namespace traced {
/// y = x w [+ b].
struct Dense {};
}  // namespace traced

namespace detail {

template <class T>
[[nodiscard]] View<const T, 2> transposed(View<const T, 2> x) noexcept {
  return {x.data(), {x.extent(1), x.extent(0)}, {x.stride(1), x.stride(0)}};
}

/// c = a b + beta c, with workspace from the arena, given back at the end.
template <class T>
void gemm(Arena& arena, View<const T, 2> a, View<const T, 2> b, View<T, 2> c, T beta) {
  const ArenaScope scope(arena);
  const Index size = kernel::gemm_workspace<T>(c.extent(0), c.extent(1), a.extent(1));
  kernel::gemm<T>(a, b, c, beta, View<T, 1>(arena.allocate<T>(size), {size}));
}

/// d_x [B, I] += d_y [B, O] w^T. For few rows the transpose of that, w d_y^T, since d_y is then copied to lie as the product
/// wants it, and not w: a quarter less time for 32 rows of 256 inputs.
template <class T>
void dense_backward_input(Arena& arena, View<const T, 2> d_y, View<const T, 2> w, View<T, 2> d_x) {
  const Index rows = d_x.extent(0);
  const Index inputs = d_x.extent(1);
  if (!kernel::prefer_transposed_result<T>(rows, inputs)) return gemm<T>(arena, d_y, transposed<T>(w), d_x, T(1));
  const ArenaScope scope(arena);
  const View<T, 2> turned(arena.allocate<T>(rows * inputs), {inputs, rows});
  gemm<T>(arena, w, transposed<T>(d_y), turned, T(0));
  kernel::accumulate_transposed<T>(turned, d_x);
}

}  // namespace detail

/// y = x w + b along the last axis. x [B, I] (or [..., I]), w [I, O], b [O], or a default Var for none; returns [B, O].
/// Throws Error where the shapes do not fit.
template <Context C>
[[nodiscard]] VarOf<C> dense(C& context, VarOf<C> x, VarOf<C> w, VarOf<C> b = {}) {
  using T = typename C::Scalar;
  require(x.shape.rank() >= 2, "dense: an input [B, I] expected, a shape ", x.shape.to_string(), " came");
  detail::require_rank("dense, weights", w, 2);
  const Index inputs = w.shape[0];
  const Index outputs = w.shape[1];
  const Extents<2> rows = detail::as_rows(x.shape);
  require(rows[1] == inputs, "dense: ", inputs, " inputs expected, a shape ", x.shape.to_string(), " came");
  const bool biased = b.value != nullptr;
  if (biased) detail::require_shape("dense", "a bias", b, {outputs});

  const VarOf<C> y = output(context, detail::with_last(x.shape, outputs), x, w, b);
  const Extents<2> to{rows[0], outputs};
  if (biased) kernel::broadcast_rows<T>(b.values(), {y.value, to});
  detail::gemm<T>(context.arena(), {x.value, rows}, w.template values<2>(), {y.value, to}, biased ? T(1) : T(0));
  count(context, rows[0] * inputs * outputs);
  trace(context, traced::Dense{}, y, x, w, b);
  if (y.gradient) {
    context.record([=, arena = &context.arena()] {
      const View<const T, 2> d_y(y.gradient, to);
      const View<const T, 2> in(x.value, rows);
      if (rows[0] == 1) {
        kernel::row_times_matrix_backward<T>(y.gradients(), x.values(), w.template values<2>(),
                                             gradient_view(x, Extents<1>{inputs}), gradient_view<2>(w));
      } else {
        if (x.gradient) detail::dense_backward_input<T>(*arena, d_y, w.template values<2>(), {x.gradient, rows});
        if (w.gradient) detail::gemm<T>(*arena, detail::transposed<T>(in), d_y, w.template gradients<2>(), T(1));
      }
      if (b.gradient) kernel::accumulate_rows<T>(d_y, b.gradients());
    });
  }
  return y;
}

struct DenseOptions {
  bool bias = true;
  double bias_start = 0;
  std::optional<Initialiser> weights = std::nullopt;  ///< unless given, kaiming_uniform(inputs)
};

/// y = x w + b, with w [inputs, outputs].
class Dense {
 public:
  Dense(ParameterLayout& layout, std::string_view name, Index inputs, Index outputs, const DenseOptions& options = {})
      : inputs_(inputs), outputs_(outputs), biased_(options.bias) {
    require(inputs > 0 && outputs > 0, "Dense \"", name, "\": at least 1 input and 1 output expected, ", inputs, " and ",
            outputs, " came");
    const auto scope = layout.scope(name);
    weights_ = layout.add("w", {inputs, outputs}, options.weights.value_or(kaiming_uniform(inputs)));
    if (biased_) bias_ = layout.add("b", {outputs}, Initialiser::constant(options.bias_start));
  }

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return dense(context, x, context.parameter(weights_), biased_ ? context.parameter(bias_) : VarOf<C>{});
  }

  [[nodiscard]] Index inputs() const noexcept { return inputs_; }
  [[nodiscard]] Index outputs() const noexcept { return outputs_; }
  [[nodiscard]] const Parameter& weights() const noexcept { return weights_; }
  /// Of size 0 where the layer has none.
  [[nodiscard]] const Parameter& bias() const noexcept { return bias_; }
  [[nodiscard]] Index parameter_offset() const noexcept { return weights_.offset; }

 private:
  Index inputs_;
  Index outputs_;
  bool biased_;
  Parameter weights_;
  Parameter bias_{0, {0}};
};

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
