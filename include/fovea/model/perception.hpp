// SPDX-License-Identifier: MIT
/// \file
/// What a saccader knows of a proxy before its first step: a map of features or a vector of them, and h_0.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/model/networks.hpp>
#include <fovea/model/saccader_options.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/pool.hpp>

namespace fovea::inline FOVEA_ABI {
namespace model {

namespace detail {

/// What is known of a proxy before the first step. `map` and `state` are empty where the network gives no map.
template <class T>
struct Perceived {
  Var<T> map;       ///< [B, h, w, F]
  Var<T> features;  ///< phi_x [B, S]
  Var<T> state;     ///< h_0 [B, S]
  Var<T> salience;  ///< PolicyInput has these two
  Var<T> survey;

  template <class F>
  [[nodiscard]] Perceived each(F f) const {
    return {f(map), f(features), f(state), f(salience), f(survey)};
  }
};

/// A network of maps: features and h_0 come from its mean.
template <class Network>
class Perception {
 public:
  Perception(ParameterLayout& layout, const SaccaderOptions& o)
      : network_(layout, "proxy_network", o.proxy, o.channels),
        places_(product(network_.map_extent(o.proxy))),
        features_(layout, "proxy_features", network_.features(), o.state),
        state_(layout, "initial_state", o.state, o.state) {}

  template <Context C>
  [[nodiscard]] Perceived<typename C::Scalar> operator()(C& context, VarOf<C> proxies) const {
    const VarOf<C> map = network_(context, proxies);
    const VarOf<C> features = nn::relu(context, features_(context, nn::global_average_pool(context, map)));
    return {map, features, nn::tanh(context, state_(context, features)), {}, {}};
  }
  /// Channels of the map; 0: there is none.
  [[nodiscard]] Index map_features() const { return network_.features(); }
  /// Places of the map.
  [[nodiscard]] Index places() const { return places_; }

 private:
  Network network_;
  Index places_;
  nn::Dense features_;
  nn::Dense state_;
};

/// A network of vectors: they are the features (through an ELU), and h_0 is the cell's own.
template <VectorNetwork Network>
  requires(!MapNetwork<Network>)
class Perception<Network> {
 public:
  Perception(ParameterLayout& layout, const SaccaderOptions& o)
      : network_(make_network<Network>(layout, "proxy_network", o.proxy, o.channels, {o.filters, o.state, o.steps})) {
    require(network_.features() == o.state, "saccader: a proxy network of ", o.state, " features expected, ",
            network_.features(), " came");
  }
  template <Context C>
  [[nodiscard]] Perceived<typename C::Scalar> operator()(C& context, VarOf<C> proxies) const {
    return {{}, nn::elu(context, network_(context, proxies)), {}, {}, {}};
  }
  [[nodiscard]] Index map_features() const { return 0; }
  [[nodiscard]] Index places() const { return 0; }

 private:
  Network network_;
};

}  // namespace detail

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
