// SPDX-License-Identifier: MIT
/// \file
/// Pooling of [N, H, W, C] features.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/pool.hpp>
#include <fovea/nn/context.hpp>

namespace fovea::inline FOVEA_ABI {
namespace nn {

using kernel::Pool2dOptions;

namespace traced {
/// The greatest or the mean of each window, without the padding.
struct Pool2d {
  Pool2dOptions options;
  bool greatest;
};
/// The mean of all positions.
struct GlobalAveragePool {};
}  // namespace traced

namespace detail {

template <class T>
[[nodiscard]] Shape pool_shape(const char* op, const Var<T>& x, const Pool2dOptions& o) {
  require_rank(op, x, 4);
  require(o.height > 0 && o.width > 0 && o.stride_y > 0 && o.stride_x > 0, op, ": a window and strides of at least 1 expected");
  require(o.pad_y >= 0 && o.pad_x >= 0 && 2 * o.pad_y <= o.height && 2 * o.pad_x <= o.width, op,
          ": a padding of at most half the window expected, ", o.pad_y, " and ", o.pad_x, " came");
  require(x.shape[1] + 2 * o.pad_y >= o.height && x.shape[2] + 2 * o.pad_x >= o.width, op, ": an input of at least ", o.height,
          " x ", o.width, " with its padding expected, a shape ", x.shape.to_string(), " came");
  return {x.shape[0], o.output_height(x.shape[1]), o.output_width(x.shape[2]), x.shape[3]};
}

}  // namespace detail

/// The greatest input under each window. x [N, H, W, C]; returns [N, OH, OW, C]. Padding never wins.
template <Context C>
[[nodiscard]] VarOf<C> max_pool2d(C& context, VarOf<C> x, const Pool2dOptions& options) {
  using T = typename C::Scalar;
  const VarOf<C> y = output(context, detail::pool_shape("max_pool2d", x, options), x);
  const Extents<4> e = y.shape.template extents<4>();
  T* winner = context.scratch(y.size());
  kernel::max_pool2d<T>(x.template values<4>(), options, {y.value, e}, {winner, e});
  trace(context, traced::Pool2d{options, true}, y, x);
  if (y.gradient) {
    context.record([=] { kernel::max_pool2d_backward<T>({y.gradient, e}, {winner, e}, options, x.template gradients<4>()); });
  }
  return y;
}

/// The mean of the inputs under each window; padding does not count. Shapes as above.
template <Context C>
[[nodiscard]] VarOf<C> average_pool2d(C& context, VarOf<C> x, const Pool2dOptions& options) {
  using T = typename C::Scalar;
  const VarOf<C> y = output(context, detail::pool_shape("average_pool2d", x, options), x);
  kernel::average_pool2d<T>(x.template values<4>(), options, y.template mutable_values<4>());
  trace(context, traced::Pool2d{options, false}, y, x);
  if (y.gradient) {
    context.record([=] { kernel::average_pool2d_backward<T>(y.template gradients<4>(), options, x.template gradients<4>()); });
  }
  return y;
}

/// The mean over all positions: [N, H, W, C] or [N, P, C] to [N, C].
template <Context C>
[[nodiscard]] VarOf<C> global_average_pool(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  require(x.shape.rank() >= 3, "global_average_pool: an input [N, H, W, C] expected, a shape ", x.shape.to_string(), " came");
  const Extents<3> e = detail::as_positions(x.shape);
  require(e[1] > 0, "global_average_pool: at least one position expected, a shape ", x.shape.to_string(), " came");
  const VarOf<C> y = output(context, {e[0], e[2]}, x);
  kernel::global_average_pool<T>({x.value, e}, y.template mutable_values<2>());
  trace(context, traced::GlobalAveragePool{}, y, x);
  if (y.gradient) {
    context.record([=] { kernel::global_average_pool_backward<T>(y.template gradients<2>(), {x.gradient, e}); });
  }
  return y;
}

/// Layers of the above, for Sequential.
struct MaxPool2d {
  Pool2dOptions options = Pool2dOptions::square(2);
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return max_pool2d(context, x, options);
  }
};
struct AveragePool2d {
  Pool2dOptions options = Pool2dOptions::square(2);
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return average_pool2d(context, x, options);
  }
};
struct GlobalAveragePool {
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return global_average_pool(context, x);
  }
};

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
