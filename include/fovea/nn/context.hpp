// SPDX-License-Identifier: MIT
/// \file
/// What every op shares: its output, the views of gradients that may be absent, and what it tells of itself and its cost.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace nn {

/// A context that writes down which op made which Var (interop/onnx.hpp has one). Its variable() is what an op makes, its
/// constant() what is filled by hand.
template <class C>
concept TracingContext = Context<C> && requires {
  requires C::tracing;
};

/// Tells a context that traces that `op` made `y` of these inputs (trace_all: of those of the span); no other hears of it, nor
/// pays for it. `op` is a small type that says what was done, in a namespace `traced` beside the op that does it.
template <Context C, class Op, class... Inputs>
constexpr void trace([[maybe_unused]] C& context, [[maybe_unused]] const Op& op, [[maybe_unused]] const VarOf<C>& y,
                     [[maybe_unused]] const Inputs&... inputs) {
  if constexpr (TracingContext<C>) context.trace(op, y, std::array<VarOf<C>, sizeof...(Inputs)>{inputs...});
}
template <Context C, class Op>
constexpr void trace_all([[maybe_unused]] C& context, [[maybe_unused]] const Op& op, [[maybe_unused]] const VarOf<C>& y,
                         [[maybe_unused]] std::span<const VarOf<C>> inputs) {
  if constexpr (TracingContext<C>) context.trace(op, y, inputs);
}

/// The Var an op writes to: uninitialised; with a gradient only where one of the inputs wants one. An op records its
/// backward call only `if (y.gradient)`, so nothing is done for what depends on constants alone, nor in an Inference.
template <Context C, class... Inputs>
[[nodiscard]] VarOf<C> output(C& context, const Shape& shape, const Inputs&... inputs) {
  if constexpr (TracingContext<C>) return context.variable(shape);
  if constexpr (C::recording) {
    if ((... || (inputs.gradient != nullptr))) return context.variable(shape);
  }
  return context.constant(shape);
}

/// The gradient of `x` as a view of these extents, or an empty view where none is wanted: kernels skip those.
template <class T, std::size_t N>
[[nodiscard]] View<T, N> gradient_view(const Var<T>& x, const Extents<N>& extents) noexcept {
  return x.gradient ? View<T, N>(x.gradient, extents) : View<T, N>();
}
template <std::size_t N, class T>
[[nodiscard]] View<T, N> gradient_view(const Var<T>& x) noexcept {
  return x.gradient ? x.template gradients<N>() : View<T, N>();
}

/// The same value, cut from what it was computed from: no gradient flows through it.
template <class T>
[[nodiscard]] Var<T> detach(const Var<T>& x) noexcept {
  return {x.value, nullptr, x.shape};
}

/// A context that wants to hear what a pass costs (nn::Counting).
template <class C>
concept CountingContext = Context<C> && requires(C& context, Index multiply_adds) {
  context.count(multiply_adds);
};

/// Tells a context that counts of so many multiply-adds; no other hears of them, nor pays for them.
template <Context C>
constexpr void count([[maybe_unused]] C& context, [[maybe_unused]] Index multiply_adds) {
  if constexpr (CountingContext<C>) context.count(multiply_adds);
}

namespace detail {

/// A context that is another one: what those derive from that change something about it (nn::Frozen, nn::Counting).
template <Context C>
class Within {
 public:
  using Scalar = typename C::Scalar;
  static constexpr bool recording = C::recording;
  static constexpr bool tracing = TracingContext<C>;

  explicit Within(C& context) noexcept : context_(&context) {}

  [[nodiscard]] Var<Scalar> variable(const Shape& shape) { return context_->variable(shape); }
  [[nodiscard]] Var<Scalar> constant(const Shape& shape) { return context_->constant(shape); }
  [[nodiscard]] Var<Scalar> constant(const Scalar* data, const Shape& shape) const noexcept {
    return context_->constant(data, shape);
  }
  [[nodiscard]] Var<Scalar> parameter(const Parameter& p) const noexcept { return context_->parameter(p); }
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
  void count(Index multiply_adds) requires CountingContext<C> { context_->count(multiply_adds); }
  template <class Op>
  void trace(const Op& op, const Var<Scalar>& y, std::span<const Var<Scalar>> inputs) requires TracingContext<C> {
    context_->trace(op, y, inputs);
  }

 protected:
  C* context_;
};

template <class T>
void require_rank(const char* op, const Var<T>& x, std::size_t rank) {
  require(x.shape.rank() == rank, op, ": an input of rank ", rank, " expected, a shape ", x.shape.to_string(), " came");
}
template <class T>
void require_shape(const char* op, const char* what, const Var<T>& x, const Shape& shape) {
  require(x.shape == shape, op, ": ", what, " of shape ", shape.to_string(), " expected, ", x.shape.to_string(), " came");
}
/// The extents as rows of the last axis: [B, ..., C] is [B * ..., C].
[[nodiscard]] inline Extents<2> as_rows(const Shape& shape) noexcept {
  const Index columns = shape.rank() == 0 ? 1 : shape[shape.rank() - 1];
  return {columns == 0 ? 0 : shape.size() / columns, columns};
}
/// The extents as one row per sample: [B, ...] is [B, ...].
[[nodiscard]] inline Extents<2> as_samples(const Shape& shape) noexcept {
  const Index samples = shape.rank() == 0 ? 1 : shape[0];
  return {samples, samples == 0 ? 0 : shape.size() / samples};
}
/// The extents as positions of channels: [N, H, W, C] is [N, H * W, C]; [N, C] is [N, 1, C].
[[nodiscard]] inline Extents<3> as_positions(const Shape& shape) noexcept {
  const Index samples = shape[0];
  const Index channels = shape[shape.rank() - 1];
  Index positions = 1;
  for (std::size_t i = 1; i + 1 < shape.rank(); ++i) positions *= shape[i];
  return {samples, positions, channels};
}
/// The shape with another last axis.
[[nodiscard]] inline Shape with_last(const Shape& shape, Index last) {
  switch (shape.rank()) {
    case 1: return {last};
    case 2: return {shape[0], last};
    case 3: return {shape[0], shape[1], last};
    case 4: return {shape[0], shape[1], shape[2], last};
    default: fail("a shape of rank 1 to 4 expected, ", shape.to_string(), " came");
  }
}

/// The shape with another first axis.
[[nodiscard]] inline Shape with_first(const Shape& shape, Index first) {
  switch (shape.rank()) {
    case 1: return {first};
    case 2: return {first, shape[1]};
    case 3: return {first, shape[1], shape[2]};
    case 4: return {first, shape[1], shape[2], shape[3]};
    default: fail("a shape of rank 1 to 4 expected, ", shape.to_string(), " came");
  }
}

}  // namespace detail

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
