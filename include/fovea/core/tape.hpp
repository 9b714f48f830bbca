// SPDX-License-Identifier: MIT
/// \file
/// Reverse mode at the granularity of tensors, every derivative written by hand (DESIGN section 3).
///
/// Model code is written once, `template <Context C> auto forward(C& context, ...)`. A Tape<T> records the backward calls, an
/// Inference<T> compiles them away. Both take all memory from an Arena of the caller's; there is no global tape.
///
/// An op looks like this:
///
///     template <Context C>
///     Var<typename C::Scalar> relu(C& context, Var<typename C::Scalar> x) {
///       auto y = context.variable(x.shape);
///       kernel::relu(x.values(), y.mutable_values());
///       context.record([x, y] { if (x.gradient) kernel::relu_backward(y.gradients(), y.values(), x.gradients()); });
///       return y;
///     }
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <concepts>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

namespace fovea::inline FOVEA_ABI {

/// A handle to a dense tensor in a context: copy freely. `gradient` is null where no gradient is wanted (constants,
/// and everything in an Inference). Gradients add where a Var is used twice: a backward call always does `+=`.
template <class T>
struct Var {
  T* value = nullptr;
  T* gradient = nullptr;
  Shape shape;

  [[nodiscard]] Index size() const noexcept { return shape.size(); }
  /// Flat views.
  [[nodiscard]] View<const T, 1> values() const noexcept { return {value, {size()}}; }
  [[nodiscard]] View<T, 1> mutable_values() const noexcept { return {value, {size()}}; }
  [[nodiscard]] View<T, 1> gradients() const noexcept {
    FOVEA_ASSERT(gradient != nullptr);
    return {gradient, {size()}};
  }
  /// Views of rank N, which must be the Var's rank.
  template <std::size_t N>
  [[nodiscard]] View<const T, N> values() const noexcept {
    return {value, shape.template extents<N>()};
  }
  template <std::size_t N>
  [[nodiscard]] View<T, N> mutable_values() const noexcept {
    return {value, shape.template extents<N>()};
  }
  template <std::size_t N>
  [[nodiscard]] View<T, N> gradients() const noexcept {
    FOVEA_ASSERT(gradient != nullptr);
    return {gradient, shape.template extents<N>()};
  }
  /// The value of a scalar.
  [[nodiscard]] T item() const noexcept {
    FOVEA_ASSERT(size() == 1);
    return *value;
  }
  /// The same elements under another shape of equal size; throws Error otherwise.
  [[nodiscard]] Var reshape(const Shape& other) const {
    require(other.size() == shape.size(), "reshape: ", shape.size(), " elements expected, ", other.to_string(), " has ",
            other.size());
    return {value, gradient, other};
  }
};

/// What both contexts share: memory and access to the parameters.
template <class T>
class ContextBase {
 public:
  using Scalar = T;

  /// A view of data of the caller's, without a gradient. The data must outlive the pass and is never written.
  [[nodiscard]] Var<T> constant(const T* data, const Shape& shape) const noexcept {
    return {const_cast<T*>(data), nullptr, shape};  // NOLINT: ops write only into Vars they made
  }
  /// Uninitialised memory without a gradient, to be filled by the caller.
  [[nodiscard]] Var<T> constant(const Shape& shape) { return {arena_->allocate<T>(shape.size()), nullptr, shape}; }
  /// Uninitialised memory that lives as long as the pass (for what a backward call needs to remember).
  template <class U = T>
  [[nodiscard]] U* scratch(Index count) {
    return arena_->allocate<U>(count);
  }
  [[nodiscard]] Arena& arena() const noexcept { return *arena_; }

 protected:
  ContextBase(Arena& arena, const T* parameters) noexcept : arena_(&arena), parameters_(parameters) {}

  Arena* arena_;
  const T* parameters_;
};

/// Hears when the gradient of a parameter is complete, so that it can travel while the rest of a pass still runs backward.
class GradientWatch {
 public:
  /// A pass is about to use the parameter. True where that is the first time: then complete() follows.
  virtual bool uses(const Parameter& parameter) = 0;
  /// backward() adds nothing more to the gradient of the parameter.
  virtual void complete(const Parameter& parameter) = 0;

 protected:
  ~GradientWatch() = default;
};

/// Records the backward calls of a forward pass; `backward` runs them in reverse.
/// The arena is not reset by the tape: reset it between passes. Not thread-safe.
template <class T>
class Tape : public ContextBase<T> {
 public:
  static constexpr bool recording = true;

  /// `parameters`: the flat buffer of values. `gradients`: a buffer of the same length, to which backward() adds; it is not
  /// zeroed here.
  Tape(Arena& arena, View<const T, 1> parameters = {}, View<T, 1> gradients = {})
      : ContextBase<T>(arena, parameters.data()), gradients_(gradients.data()) {
    require(gradients.empty() || gradients.size() == parameters.size(), "tape: a gradient buffer of ", parameters.size(),
            " elements expected, ", gradients.size(), " came");
  }
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// A fresh Var: value uninitialised, gradient zero.
  [[nodiscard]] Var<T> variable(const Shape& shape) {
    T* value = this->arena_->template allocate<T>(shape.size());
    return {value, this->arena_->template allocate_zeroed<T>(shape.size()), shape};
  }
  /// Tells `watch` of gradients that are complete; before the first use of a parameter.
  void set_watch(GradientWatch& watch) noexcept { watch_ = &watch; }

  /// A parameter of the model, gradient in the flat gradient buffer.
  [[nodiscard]] Var<T> parameter(const Parameter& p) {
    FOVEA_ASSERT(this->parameters_ != nullptr);
    // Backward calls run in reverse: when this one's turn has come, all uses of the parameter have had theirs.
    if (watch_ != nullptr && watch_->uses(p)) record([watch = watch_, p] { watch->complete(p); });
    return {const_cast<T*>(this->parameters_) + p.offset,  // NOLINT: ops write only into Vars they made
            gradients_ == nullptr ? nullptr : gradients_ + p.offset, p.shape};
  }
  /// Keeps `backward`, a callable without arguments, until backward() runs. It must capture handles by value.
  template <class Function>
  void record(Function backward) {
    static_assert(std::is_trivially_destructible_v<Function>,
                  "fovea::Tape::record: capture Vars, views and numbers by value, nothing that owns");
    struct Closure : Node {
      Function function;
    };
    auto* memory = this->arena_->template allocate<std::byte>(sizeof(Closure));
    auto* closure = ::new (static_cast<void*>(memory)) Closure{Node{}, std::move(backward)};
    closure->invoke = [](Node* node) { static_cast<Closure*>(node)->function(); };
    closure->previous = last_;
    last_ = closure;
  }
  /// Runs `body`, which returns a Var. On a tape everything within is needed later, so nothing is given back.
  template <class Body>
  auto scope(Body&& body) {
    return std::forward<Body>(body)();
  }

  /// Adds d loss / d everything to the gradients. `loss` must be a scalar (one element). Every node runs once; the tape is
  /// empty afterwards.
  void backward(const Var<T>& loss) {
    require(loss.size() == 1, "backward: a scalar loss expected, a shape ", loss.shape.to_string(), " came");
    require(loss.gradient != nullptr, "backward: the loss depends on nothing that wants a gradient");
    *loss.gradient += T(1);
    backward();
  }
  /// The same with gradients of the outputs already set by the caller.
  void backward() {
    for (Node* node = last_; node != nullptr; node = node->previous) {
      ArenaScope scratch(*this->arena_);
      node->invoke(node);
    }
    last_ = nullptr;
  }

 private:
  struct Node {
    void (*invoke)(Node*) = nullptr;
    Node* previous = nullptr;
  };

  T* gradients_;
  Node* last_ = nullptr;
  GradientWatch* watch_ = nullptr;
};

/// Runs a forward pass and remembers nothing.
template <class T>
class Inference : public ContextBase<T> {
 public:
  static constexpr bool recording = false;

  explicit Inference(Arena& arena, View<const T, 1> parameters = {}) noexcept : ContextBase<T>(arena, parameters.data()) {}

  [[nodiscard]] Var<T> variable(const Shape& shape) { return this->constant(shape); }
  [[nodiscard]] Var<T> parameter(const Parameter& p) const noexcept {
    FOVEA_ASSERT(this->parameters_ != nullptr);
    return {const_cast<T*>(this->parameters_) + p.offset, nullptr, p.shape};  // NOLINT: see Tape
  }
  template <class Function>
  void record(Function&&) const noexcept {}
  /// Runs `body`, which returns a Var; everything allocated within is given back, but for the result, which is moved to the
  /// front of the freed memory. Vars made before the scope stay valid.
  template <class Body>
  Var<T> scope(Body&& body) {
    const Arena::Mark mark = this->arena_->mark();
    Var<T> result = std::forward<Body>(body)();
    this->arena_->release(mark);
    // The memory is still there; it may overlap its new place, and may be a Var from outside the scope (then it is a copy).
    T* place = this->arena_->template allocate<T>(result.size());
    std::memmove(place, result.value, static_cast<std::size_t>(result.size()) * sizeof(T));
    result.value = place;
    return result;
  }
};

/// What model code runs in: Tape<T> or Inference<T>.
template <class C>
concept Context = requires(C& context, const Shape& shape, const Parameter& parameter) {
  typename C::Scalar;
  { C::recording } -> std::convertible_to<bool>;
  { context.variable(shape) } -> std::same_as<Var<typename C::Scalar>>;
  { context.constant(shape) } -> std::same_as<Var<typename C::Scalar>>;
  { context.parameter(parameter) } -> std::same_as<Var<typename C::Scalar>>;
  context.record([] {});
};

/// The Var of a context.
template <Context C>
using VarOf = Var<typename C::Scalar>;

}  // namespace fovea::inline FOVEA_ABI
