// SPDX-License-Identifier: MIT
/// \file
/// Layers one after the other, and the layers that have no parameters.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/reshape.hpp>

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace nn {

/// A non-linearity as a layer.
struct Activate {
  Activation kind = Activation::relu;
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return activate(context, kind, x);
  }
};

/// [N, H, W, C] as [N, H * W * C].
struct Flatten {
  /// Not known before the extents are.
  [[nodiscard]] static constexpr Index outputs() noexcept { return 0; }
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return flatten(context, x);
  }
};

/// Layers one after the other. A layer is anything that can be called as `Var = layer(context, Var)`, a lambda
/// included; it may say how many channels (or features) it takes and gives by `inputs()` and `outputs()`, where 0 means
/// "any" or "not known":
///
///     const nn::Sequential net{nn::Conv2d(layout, "conv", 3, 16, {.kernel = 3, .padding = 1}),
///                              nn::GroupNorm(layout, "norm", 16), nn::Activate{nn::Activation::elu}};
///
/// Write braces. They fix the order in which the layers register their parameters; between round brackets the order is
/// the compiler's (g++ goes from right to left), and the same seed would start other networks elsewhere. In an
/// Inference each layer's memory is given back as soon as the next has read it.
template <class... Layers>
class Sequential {
 public:
  /// Throws Error where a layer expects another number of channels than the one before gives, or where the layers were
  /// registered from the last to the first.
  explicit Sequential(Layers... layers) : layers_(std::move(layers)...) { check(std::index_sequence_for<Layers...>{}); }

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return run<sizeof...(Layers)>(context, x);
  }

  /// Channels the first layer takes that says so, and the last one gives; 0 where it is not known.
  [[nodiscard]] Index inputs() const noexcept { return inputs_; }
  [[nodiscard]] Index outputs() const noexcept { return outputs_; }

  template <std::size_t I>
  [[nodiscard]] const auto& layer() const noexcept {
    return std::get<I>(layers_);
  }

 private:
  template <std::size_t Count, Context C>
  [[nodiscard]] VarOf<C> run(C& context, VarOf<C> x) const {
    if constexpr (Count == 0) {
      return x;
    } else {
      return context.scope([&] { return std::get<Count - 1>(layers_)(context, run<Count - 1>(context, x)); });
    }
  }

  template <std::size_t... I>
  void check(std::index_sequence<I...>) {
    bool any = false;        // whether the channels so far are those of the input
    bool descending = true;  // whether every layer lies before the one that runs before it
    Index last = -1;
    int registered = 0;
    const auto visit = [&](std::size_t place, const auto& layer) {
      using Layer = std::remove_cvref_t<decltype(layer)>;
      if constexpr (requires(const Layer& l) { l.inputs(); }) {
        const Index expected = layer.inputs();
        require(expected == 0 || outputs_ == 0 || expected == outputs_, "Sequential: layer ", place, " expects ", expected,
                " channels, the layers before it give ", outputs_);
        if (!any) inputs_ = expected;
      }
      if constexpr (requires(const Layer& l) { l.outputs(); }) {
        any = true;
        outputs_ = layer.outputs();
      }
      if constexpr (requires(const Layer& l) { l.parameter_offset(); }) {
        if (registered > 0 && layer.parameter_offset() >= last) descending = false;
        last = layer.parameter_offset();
        ++registered;
      }
    };
    (visit(I, std::get<I>(layers_)), ...);
    require(registered < 2 || !descending,
            "Sequential: layers registered in the order they run expected, the reverse came; construct it with braces, "
            "Sequential{...}, not round brackets");
  }

  std::tuple<Layers...> layers_;
  Index inputs_ = 0;
  Index outputs_ = 0;
};

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
