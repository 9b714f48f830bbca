// SPDX-License-Identifier: MIT
/// \file
/// The feature networks that models are made of by default, each replaceable by a type of the same shape.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/format.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/group_norm.hpp>
#include <fovea/nn/initialisers.hpp>
#include <fovea/nn/pool.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/nn/residual.hpp>
#include <fovea/nn/resize.hpp>
#include <fovea/nn/stack.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// A network from pictures [B, h, w, C] to a map of features [B, h', w', F]: what a policy looks at.
/// Built as N(layout, name, extent, channels), extent = {h, w}; `features()` is F, `map_extent(extent)` is {h', w'}.
template <class N>
concept MapNetwork = std::constructible_from<N, ParameterLayout&, std::string_view, Extents<2>, Index> &&
    requires(const N& network, Tape<float>& tape, Var<float> x, Extents<2> extent) {
  { network(tape, x) } -> std::same_as<Var<float>>;
  { network.features() } -> std::convertible_to<Index>;
  { network.map_extent(extent) } -> std::convertible_to<Extents<2>>;
};

/// Sizes for the networks that can be had in several.
struct NetworkSizes {
  Index filters = 32;    ///< channels of the first layer, which the others go by
  Index features = 256;  ///< length of the features, and of what is hidden in dense networks
  Index steps = 4;       ///< looks, for what has a place for each
};

/// A network from windows [B, h, w, C] to one vector of features [B, F].
/// Built as N(layout, name, extent, channels), extent = {h, w}, or with a NetworkSizes behind them; `features()` is F.
template <class N>
concept VectorNetwork = (std::constructible_from<N, ParameterLayout&, std::string_view, Extents<2>, Index> ||
                         std::constructible_from<N, ParameterLayout&, std::string_view, Extents<2>, Index,
                                                 NetworkSizes>)&&requires(const N& network, Tape<float>& tape, Var<float> x) {
  { network(tape, x) } -> std::same_as<Var<float>>;
  { network.features() } -> std::convertible_to<Index>;
};

namespace detail {

template <VectorNetwork N>
[[nodiscard]] N make_network(ParameterLayout& layout, std::string_view name, Extents<2> extent, Index channels,
                             const NetworkSizes& sizes) {
  if constexpr (std::constructible_from<N, ParameterLayout&, std::string_view, Extents<2>, Index, NetworkSizes>) {
    return N(layout, name, extent, channels, sizes);
  } else {
    return N(layout, name, extent, channels);
  }
}

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

/// 3x3, padding 1, group norm, then ReLU.
class ConvNormRelu {
 public:
  ConvNormRelu(ParameterLayout& layout, const std::string& name, Index in, Index out, Index stride)
      : conv_(layout, name, in, out, {.kernel = 3, .stride = stride, .padding = 1, .bias = false}),
        norm_(layout, name + "_norm", out, nn::default_groups(out), nn::kGroupNormEpsilon, nn::Activation::relu) {}
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return norm_(context, conv_(context, x));
  }

 private:
  nn::Conv2d conv_;
  nn::GroupNorm norm_;
};

}  // namespace detail

/// Three 3x3 convolutions with ReLU (16, 32, 32 channels), the second of stride 2, and the first too where the proxy is longer
/// than 64 pixels: a map at half or a quarter of the proxy's resolution. About 1.4 million multiply-adds for a proxy of 20x20,
/// 29 million for 180x180.
class ConvMap {
 public:
  ConvMap(ParameterLayout& layout, std::string_view name, Extents<2> extent, Index channels)
      : ConvMap(layout.scope(name), layout, channels, first_stride(extent)) {}

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return context.scope([&] { return third_(context, second_(context, first_(context, x))); });
  }
  [[nodiscard]] static constexpr Index features() noexcept { return kFeatures; }
  [[nodiscard]] static constexpr Extents<2> map_extent(Extents<2> extent) noexcept {
    const Index stride = first_stride(extent);
    const auto after = [stride](Index n) { return ((n + stride - 1) / stride + 1) / 2; };
    return {after(extent[0]), after(extent[1])};
  }

 private:
  static constexpr Index kFeatures = 32;
  static constexpr Index first_stride(Extents<2> extent) noexcept { return std::max(extent[0], extent[1]) > 64 ? 2 : 1; }

  ConvMap(const ParameterLayout::Scope&, ParameterLayout& layout, Index channels, Index stride)
      : first_(layout, "conv1", channels, 16, stride),
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

/// Stages of two 3x3 convolutions with group norm and ReLU, the first of stride 2, until at most 4x4 places are left; then
/// dense to 8 f with ReLU. The last stage has 4 f channels, each before it half as many, at least f / 4 (f:
/// NetworkSizes::filters). At f = 16 about 2 million multiply-adds for a window of 32x32, 3.5 million for 64x64: where
/// ConvVector misreads what it looks straight at.
class DeepConvVector {
 public:
  DeepConvVector(ParameterLayout& layout, std::string_view name, Extents<2> extent, Index channels,
                 const NetworkSizes& sizes = {.filters = 16})
      : DeepConvVector(layout.scope(name), layout, extent, channels, sizes.filters) {}

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return context.scope([&] {
      VarOf<C> map = x;
      for (const detail::ConvNormRelu& layer : layers_) map = layer(context, map);
      return nn::relu(context, dense_(context, nn::flatten(context, map)));
    });
  }
  [[nodiscard]] Index features() const noexcept { return dense_.outputs(); }

 private:
  static constexpr Index kPlaces = 4;

  DeepConvVector(const ParameterLayout::Scope&, ParameterLayout& layout, Extents<2> extent, Index channels, Index filters)
      : layers_(make_layers(layout, extent, channels, filters)),
        dense_(layout, "dense", extent[0] * extent[1] * 4 * filters, 8 * filters) {}

  /// Leaves in `extent` what the stages leave of it.
  static std::vector<detail::ConvNormRelu> make_layers(ParameterLayout& layout, Extents<2>& extent, Index channels,
                                                       Index filters) {
    int stages = 0;
    for (Index side = std::max(extent[0], extent[1]); side > kPlaces; side = (side + 1) / 2) ++stages;
    std::vector<detail::ConvNormRelu> layers;
    for (int stage = std::max(stages, 1) - 1; stage >= 0; --stage) {
      const Index outputs = std::max((4 * filters) >> stage, std::max(filters / 4, Index{1}));
      const auto name = [&](const char* which) { return format("conv%d%s", static_cast<int>(layers.size()) / 2 + 1, which); };
      const bool shrinks = stages > 0;
      layers.emplace_back(layout, name("a"), channels, outputs, shrinks ? 2 : 1);
      layers.emplace_back(layout, name("b"), outputs, outputs, 1);
      if (shrinks) extent = {(extent[0] + 1) / 2, (extent[1] + 1) / 2};
      channels = outputs;
    }
    return layers;
  }

  std::vector<detail::ConvNormRelu> layers_;
  nn::Dense dense_;
};

/// Six residual blocks of stride 2 (f, 2f, 4f, 2f, f, F channels; ELU, group norm), the mean over what places are left (one,
/// up to 64x64 pixels), dense to F: the published encoder. 42 million multiply-adds for a window of 64x64 at f = 32, F = 256.
class ResidualVector {
 public:
  ResidualVector(ParameterLayout& layout, std::string_view name, Extents<2> /*extent*/, Index channels,
                 const NetworkSizes& sizes = {})
      : ResidualVector(layout.scope(name), layout, channels, sizes) {}

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    const auto pooled = [this](C& inner, VarOf<C> y) {
      for (const nn::Residual& block : blocks_) y = block(inner, y);
      return nn::global_average_pool(inner, y);
    };
    return context.scope([&] { return dense_(context, nn::in_pieces(context, pooled, x, kPiece)); });
  }
  [[nodiscard]] Index features() const noexcept { return dense_.outputs(); }

 private:
  /// Windows seen at a time: the maps of 8 windows of 64x64 pixels are a few MiB, and the deeper layers, whose maps are small,
  /// still have rows enough for their matrices.
  static constexpr Index kPiece = 8;

  ResidualVector(const ParameterLayout::Scope&, ParameterLayout& layout, Index channels, const NetworkSizes& sizes)
      : blocks_(make_blocks(layout, channels, sizes)), dense_(layout, "dense", sizes.features, sizes.features) {}

  static std::vector<nn::Residual> make_blocks(ParameterLayout& layout, Index channels, const NetworkSizes& sizes) {
    const Index f = sizes.filters;
    std::vector<nn::Residual> blocks;
    for (const Index outputs : {f, 2 * f, 4 * f, 2 * f, f, sizes.features}) {
      const Index groups = nn::default_groups(outputs, std::min((outputs + 1) / 2, Index{32}));  // as published
      blocks.emplace_back(layout, "block" + std::to_string(blocks.size() + 1), channels, outputs,
                          nn::ResidualOptions{.stride = 2, .groups = groups, .activation = nn::Activation::elu});
      channels = outputs;
    }
    return blocks;
  }

  std::vector<nn::Residual> blocks_;
  nn::Dense dense_;
};

/// A network that sees its pictures at another size: the longer side at `side` pixels, bilinear with aligned corners, as
/// published.
template <VectorNetwork Network, Index side = 64>
class Resized {
 public:
  Resized(ParameterLayout& layout, std::string_view name, Extents<2> extent, Index channels, const NetworkSizes& sizes = {})
      : extent_(fit(extent)), network_(detail::make_network<Network>(layout, name, extent_, channels, sizes)) {}

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return context.scope([&] { return network_(context, nn::resize_bilinear(context, x, extent_, true)); });
  }
  [[nodiscard]] Index features() const noexcept { return network_.features(); }

 private:
  static Extents<2> fit(Extents<2> extent) noexcept {
    const Index longer = std::max(extent[0], extent[1]);
    const auto scaled = [&](Index n) { return std::max(Index{1}, (2 * n * side + longer) / (2 * longer)); };
    return {scaled(extent[0]), scaled(extent[1])};
  }

  Extents<2> extent_;
  Network network_;
};

struct DenseNetworkOptions {
  Index layers = 2;         ///< at least 1; ELU between them
  Index hidden = 256;       ///< length of what lies between two of them
  bool start_at_0 = false;  ///< the last layer starts at 0, and with it all outputs
};

/// Dense layers one after the other, [B, I] to [B, O].
class DenseNetwork {
 public:
  DenseNetwork(ParameterLayout& layout, std::string_view name, Index inputs, Index outputs, const DenseNetworkOptions& options)
      : DenseNetwork(layout.scope(name), layout, inputs, outputs, options) {}

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return context.scope([&] {
      for (std::size_t i = 0; i < layers_.size(); ++i) {
        x = layers_[i](context, i == 0 ? x : nn::elu(context, x));
      }
      return x;
    });
  }

 private:
  DenseNetwork(const ParameterLayout::Scope&, ParameterLayout& layout, Index inputs, Index outputs,
               const DenseNetworkOptions& o) {
    require(o.layers >= 1 && o.hidden >= 1, "dense network: at least 1 layer and 1 hidden unit expected, ", o.layers, " and ",
            o.hidden, " came");
    for (Index i = 1; i <= o.layers; ++i) {
      const bool last = i == o.layers;
      const Index from = i == 1 ? inputs : o.hidden;
      layers_.emplace_back(layout, "dense" + std::to_string(i), from, last ? outputs : o.hidden,
                           nn::DenseOptions{.weights = last && o.start_at_0 ? nn::constant(0) : nn::kaiming_uniform(from)});
    }
  }

  std::vector<nn::Dense> layers_;
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
