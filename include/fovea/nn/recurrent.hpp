// SPDX-License-Identifier: MIT
/// \file
/// Recurrent cells: GRU and LSTM, with PyTorch's equations, gate order and initial weights (kernel/gates.hpp). Weights
/// are stored [inputs, gates], the transpose of PyTorch's.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/gates.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/dense.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace nn {

namespace traced {
/// The next state, of both projections and the state.
struct GruGates {};
/// The next memory, of both projections and the memory; and from that and both projections the output.
struct LstmMemory {};
struct LstmOutput {};
}  // namespace traced

/// The gates of a GRU, given both projections gx, gh [B, 3H] and the state h [B, H]; returns the next state [B, H].
template <Context C>
[[nodiscard]] VarOf<C> gru_gates(C& context, VarOf<C> gx, VarOf<C> gh, VarOf<C> h) {
  using T = typename C::Scalar;
  detail::require_rank("gru", h, 2);
  const Index samples = h.shape[0];
  const Index hidden = h.shape[1];
  detail::require_shape("gru", "an input projection", gx, {samples, 3 * hidden});
  detail::require_shape("gru", "a state projection", gh, {samples, 3 * hidden});
  const VarOf<C> y = output(context, h.shape, gx, gh, h);
  const Extents<2> e{samples, 3 * hidden};
  T* gates = context.scratch(samples * 3 * hidden);
  kernel::gru<T>({gx.value, e}, {gh.value, e}, h.template values<2>(), y.template mutable_values<2>(), {gates, e});
  trace(context, traced::GruGates{}, y, gx, gh, h);
  if (y.gradient) {
    context.record([=] {
      kernel::gru_backward<T>(y.template gradients<2>(), {gh.value, e}, h.template values<2>(), {gates, e},
                              gradient_view(gx, e), gradient_view(gh, e), gradient_view<2>(h));
    });
  }
  return y;
}

/// One step of a GRU. x [B, I], h [B, H], w_x [I, 3H], w_h [H, 3H], b_x and b_h [3H]; returns the next state [B, H].
template <Context C>
[[nodiscard]] VarOf<C> gru_cell(C& context, VarOf<C> x, VarOf<C> h, VarOf<C> w_x, VarOf<C> w_h, VarOf<C> b_x, VarOf<C> b_h) {
  return gru_gates(context, dense(context, x, w_x, b_x), dense(context, h, w_h, b_h), h);
}

/// The state of an LSTM: output h and memory c, both [B, H].
template <class T>
struct LstmState {
  Var<T> h;
  Var<T> c;
};

/// The gates of an LSTM, given both projections gx, gh [B, 4H] and the memory c [B, H].
template <Context C>
[[nodiscard]] LstmState<typename C::Scalar> lstm_gates(C& context, VarOf<C> gx, VarOf<C> gh, VarOf<C> c) {
  using T = typename C::Scalar;
  detail::require_rank("lstm", c, 2);
  const Index samples = c.shape[0];
  const Index hidden = c.shape[1];
  detail::require_shape("lstm", "an input projection", gx, {samples, 4 * hidden});
  detail::require_shape("lstm", "a state projection", gh, {samples, 4 * hidden});
  const LstmState<T> next{output(context, c.shape, gx, gh, c), output(context, c.shape, gx, gh, c)};
  const Extents<2> e{samples, 4 * hidden};
  T* gates = context.scratch(samples * 4 * hidden);
  kernel::lstm<T>({gx.value, e}, {gh.value, e}, c.template values<2>(), next.h.template mutable_values<2>(),
                  next.c.template mutable_values<2>(), {gates, e});
  trace(context, traced::LstmMemory{}, next.c, gx, gh, c);
  trace(context, traced::LstmOutput{}, next.h, gx, gh, next.c);
  if (next.h.gradient) {
    context.record([=] {
      kernel::lstm_backward<T>(next.h.template gradients<2>(), next.c.template gradients<2>(), c.template values<2>(),
                               next.c.template values<2>(), {gates, e}, gradient_view(gx, e), gradient_view(gh, e),
                               gradient_view<2>(c));
    });
  }
  return next;
}

/// One step of an LSTM. x [B, I], state [B, H] each, w_x [I, 4H], w_h [H, 4H], b_x and b_h [4H].
template <Context C>
[[nodiscard]] LstmState<typename C::Scalar> lstm_cell(C& context, VarOf<C> x, LstmState<typename C::Scalar> state, VarOf<C> w_x,
                                                      VarOf<C> w_h, VarOf<C> b_x, VarOf<C> b_h) {
  return lstm_gates(context, dense(context, x, w_x, b_x), dense(context, state.h, w_h, b_h), state.c);
}

namespace detail {

/// The parameters of both cells.
class GatedWeights {
 public:
  GatedWeights(ParameterLayout& layout, std::string_view kind, std::string_view name, Index inputs, Index hidden, Index gates)
      : inputs_(inputs), hidden_(hidden) {
    require(inputs > 0 && hidden > 0, kind, " \"", name, "\": at least 1 input and 1 unit expected, ", inputs, " and ", hidden,
            " came");
    const auto scope = layout.scope(name);
    const Initialiser start = Initialiser::uniform(1.0 / std::sqrt(static_cast<double>(hidden)));
    w_x_ = layout.add("w_x", {inputs, gates * hidden}, start);
    w_h_ = layout.add("w_h", {hidden, gates * hidden}, start);
    b_x_ = layout.add("b_x", {gates * hidden}, start);
    b_h_ = layout.add("b_h", {gates * hidden}, start);
  }
  [[nodiscard]] Index inputs() const noexcept { return inputs_; }
  [[nodiscard]] Index hidden() const noexcept { return hidden_; }
  [[nodiscard]] Index outputs() const noexcept { return hidden_; }
  [[nodiscard]] const Parameter& w_x() const noexcept { return w_x_; }
  [[nodiscard]] const Parameter& w_h() const noexcept { return w_h_; }
  [[nodiscard]] const Parameter& b_x() const noexcept { return b_x_; }
  [[nodiscard]] const Parameter& b_h() const noexcept { return b_h_; }

 protected:
  template <Context C>
  [[nodiscard]] VarOf<C> zeros(C& context, Index samples) const {
    const VarOf<C> zero = context.constant(Shape{samples, hidden_});
    std::fill_n(zero.value, zero.size(), typename C::Scalar{});
    return zero;
  }

 private:
  Index inputs_;
  Index hidden_;
  Parameter w_x_;
  Parameter w_h_;
  Parameter b_x_;
  Parameter b_h_;
};

}  // namespace detail

/// A GRU cell. Weights and biases start uniform within 1 / sqrt(hidden).
class GruCell : public detail::GatedWeights {
 public:
  GruCell(ParameterLayout& layout, std::string_view name, Index inputs, Index hidden)
      : GatedWeights(layout, "GruCell", name, inputs, hidden, 3) {}

  /// x [B, I], h [B, H]; returns the next state [B, H].
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x, VarOf<C> h) const {
    return gru_cell(context, x, h, context.parameter(w_x()), context.parameter(w_h()), context.parameter(b_x()),
                    context.parameter(b_h()));
  }
  /// Zeros, without a gradient.
  template <Context C>
  [[nodiscard]] VarOf<C> initial_state(C& context, Index samples) const {
    return zeros(context, samples);
  }
};

/// An LSTM cell. Weights and biases start uniform within 1 / sqrt(hidden).
class LstmCell : public detail::GatedWeights {
 public:
  LstmCell(ParameterLayout& layout, std::string_view name, Index inputs, Index hidden)
      : GatedWeights(layout, "LstmCell", name, inputs, hidden, 4) {}

  /// x [B, I], state [B, H] each; returns the next state.
  template <Context C>
  [[nodiscard]] LstmState<typename C::Scalar> operator()(C& context, VarOf<C> x, LstmState<typename C::Scalar> state) const {
    return lstm_cell(context, x, state, context.parameter(w_x()), context.parameter(w_h()), context.parameter(b_x()),
                     context.parameter(b_h()));
  }
  /// Zeros, without a gradient.
  template <Context C>
  [[nodiscard]] LstmState<typename C::Scalar> initial_state(C& context, Index samples) const {
    return {zeros(context, samples), zeros(context, samples)};
  }
};

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
