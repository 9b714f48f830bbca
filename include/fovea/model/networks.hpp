// SPDX-License-Identifier: MIT
/// \file
/// The feature networks that models are made of by default, each replaceable by a type of the same shape.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/reshape.hpp>

#include <array>
#include <concepts>
#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// A network from pictures [B, h, w, C] to a map of features [B, h', w', F]: what a policy looks at.
/// Built as N(layout, name, channels); `features()` is F.
template <class N>
concept MapNetwork = std::constructible_from<N, ParameterLayout&, std::string_view, Index> &&
    requires(const N& network, Tape<float>& tape, Var<float> x) {
  { network(tape, x) } -> std::same_as<Var<float>>;
  { network.features() } -> std::convertible_to<Index>;
};

/// A network from windows [B, h, w, C] to one vector of features [B, F].
/// Built as N(layout, name, extent, channels), extent = {h, w}; `features()` is F.
template <class N>
concept VectorNetwork = std::constructible_from<N, ParameterLayout&, std::string_view, Extents<2>, Index> &&
    requires(const N& network, Tape<float>& tape, Var<float> x) {
  { network(tape, x) } -> std::same_as<Var<float>>;
  { network.features() } -> std::convertible_to<Index>;
};

namespace detail {

/// 3x3, padding 1, then ReLU; the extent becomes ceil(extent / stride).
class ConvRelu {
 public:
  ConvRelu(ParameterLayout& layout, std::string_view name, Index in, Index out, Index stride)
      : conv_(layout, name, in, out, {.kernel = 3, .stride = stride, .padding = 1}) {}
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return nn::relu(context, conv_(context, x));
  }

 private:
  nn::Conv2d conv_;
};

}  // namespace detail

/// Three 3x3 convolutions with ReLU, the second of stride 2: a map at half the proxy's resolution. About 1.4 million
/// multiply-adds for a 20x20 proxy.
class ConvMap {
 public:
  ConvMap(ParameterLayout& layout, std::string_view name, Index channels) : ConvMap(layout.scope(name), layout, channels) {}

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return context.scope([&] { return third_(context, second_(context, first_(context, x))); });
  }
  [[nodiscard]] static constexpr Index features() noexcept { return kFeatures; }

 private:
  static constexpr Index kFeatures = 32;

  ConvMap(const ParameterLayout::Scope&, ParameterLayout& layout, Index channels)
      : first_(layout, "conv1", channels, 16, 1),
        second_(layout, "conv2", 16, kFeatures, 2),
        third_(layout, "conv3", kFeatures, kFeatures, 1) {}

  detail::ConvRelu first_;
  detail::ConvRelu second_;
  detail::ConvRelu third_;
};

/// Three 3x3 convolutions of stride 2 with ReLU (16, 32, 64 channels), then dense to 128 with ReLU: about 0.8 million
/// multiply-adds for a window of 32x32.
class ConvVector {
 public:
  ConvVector(ParameterLayout& layout, std::string_view name, Extents<2> extent, Index channels)
      : ConvVector(layout.scope(name), layout, extent, channels) {}

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return context.scope([&] {
      const VarOf<C> map = third_(context, second_(context, first_(context, x)));
      return nn::relu(context, dense_(context, nn::flatten(context, map)));
    });
  }
  [[nodiscard]] static constexpr Index features() noexcept { return kFeatures; }

 private:
  static constexpr Index kFeatures = 128;
  static constexpr std::array<Index, 3> kWidths = {16, 32, 64};

  static constexpr Index eighth(Index n) noexcept { return (((n + 1) / 2 + 1) / 2 + 1) / 2; }

  ConvVector(const ParameterLayout::Scope&, ParameterLayout& layout, Extents<2> extent, Index channels)
      : first_(layout, "conv1", channels, kWidths[0], 2),
        second_(layout, "conv2", kWidths[0], kWidths[1], 2),
        third_(layout, "conv3", kWidths[1], kWidths[2], 2),
        dense_(layout, "dense", eighth(extent[0]) * eighth(extent[1]) * kWidths[2], kFeatures) {}

  detail::ConvRelu first_;
  detail::ConvRelu second_;
  detail::ConvRelu third_;
  nn::Dense dense_;
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
