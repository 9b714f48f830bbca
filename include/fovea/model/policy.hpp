// SPDX-License-Identifier: MIT
/// \file
/// Policies: the mean of the posterior over where to look next.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/model/networks.hpp>
#include <fovea/nn/attention.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/reshape.hpp>

#include <cmath>
#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// What a policy decides from.
template <class T>
struct PolicyInput {
  Var<T> map;        ///< features of the proxy at every place [B, h, w, F]; empty where the proxy's network gives none
  Var<T> features;   ///< features of the proxy as a whole [B, S]
  Var<T> state;      ///< h_{t-1} [B, S]
  double scale = 1;  ///< the half-extent of a region the policy starts from; it may zoom around it
};

/// What a policy answers: the mean of the latent z, [B, 3], in the parts' coordinates (model/parts.hpp; by default log s, x,
/// y). And, where it has them (otherwise empty Vars), its attention over the places of the map [B, h * w], and what it adds to
/// the log-deviation of the posterior [B, 3].
template <class T>
struct PolicyOutput {
  Var<T> mean;
  Var<T> attention;
  Var<T> log_deviation;
};

/// How far a policy may move from what it starts from.
struct PolicyOptions {
  double zoom = 0.25;   ///< log s lies within this of the log of the starting scale
  double reach = 0.05;  ///< each of two offsets to the soft-argmax lies within this, in units of the half-image
};

/// A spatial soft-argmax: the state asks the map with a key, the answer is the expected place under the attention, plus small
/// bounded offsets (one from the attended place, one from the state). Such a head starts within the first few ten thousand
/// images where a dense layer takes ten times as many (docs/training.md): a place is read off the map, not learned by heart.
class SoftArgmaxPolicy {
 public:
  /// map_features = F, state = S of PolicyInput.
  SoftArgmaxPolicy(ParameterLayout& layout, std::string_view name, Index map_features, Index state,
                   const PolicyOptions& options = {})
      : SoftArgmaxPolicy(layout.scope(name), layout, map_features, state, options) {}

  template <Context C>
  [[nodiscard]] PolicyOutput<typename C::Scalar> operator()(C& context, const PolicyInput<typename C::Scalar>& input) const {
    using T = typename C::Scalar;
    const Index batch = input.map.shape[0];
    const Index height = input.map.shape[1];
    const Index width = input.map.shape[2];
    const VarOf<C> key = key_(context, input.state);
    const VarOf<C> attention = nn::softmax(context, nn::key_scores(context, input.map, key));
    const VarOf<C> place = nn::expected_coordinates(context, attention, height, width);

    const auto reach = static_cast<T>(options_.reach);
    // What lies at the attended place says how far its object's centre is.
    const VarOf<C> local =
        nn::tanh(context, place_offset_(context, input.map.reshape({batch * height * width, input.map.shape[3]})));
    const VarOf<C> attended = nn::attention_pool(context, attention, local.reshape({batch, height * width, 2}));
    const VarOf<C> state = nn::tanh(context, state_offset_(context, nn::concat(context, {input.features, input.state})));
    VarOf<C> xy = nn::axpy(context, reach, attended, place);
    xy = nn::axpy(context, reach, nn::slice(context, state, 1, 2), xy);

    const VarOf<C> start = context.constant(Shape{batch, 1});
    for (Index b = 0; b < batch; ++b) start.value[b] = static_cast<T>(std::log(input.scale));
    const VarOf<C> log_scale = nn::axpy(context, static_cast<T>(options_.zoom), nn::slice(context, state, 0, 1), start);
    return {nn::concat(context, {log_scale, xy}), attention, {}};
  }

 private:
  SoftArgmaxPolicy(const ParameterLayout::Scope&, ParameterLayout& layout, Index map_features, Index state,
                   const PolicyOptions& options)
      : options_(options),
        key_(layout, "key", state, map_features),
        place_offset_(layout, "place_offset", map_features, 2, {.weights = nn::constant(0)}),
        state_offset_(layout, "state_offset", 2 * state, 3, {.weights = nn::constant(0)}) {}

  PolicyOptions options_;
  nn::Dense key_;
  nn::Dense place_offset_;
  nn::Dense state_offset_;
};

/// The published head: a dense layer from the proxy's features and the state to the whole range of places. Starts late; kept
/// for comparison. S. `reach` is ignored.
class DensePolicy {
 public:
  DensePolicy(ParameterLayout& layout, std::string_view name, Index /*map_features*/, Index state,
              const PolicyOptions& options = {})
      : options_(options), dense_(layout, name, 2 * state, 3) {}

  template <Context C>
  [[nodiscard]] PolicyOutput<typename C::Scalar> operator()(C& context, const PolicyInput<typename C::Scalar>& input) const {
    using T = typename C::Scalar;
    const Index batch = input.state.shape[0];
    const VarOf<C> raw = nn::tanh(context, dense_(context, nn::concat(context, {input.features, input.state})));
    const VarOf<C> start = context.constant(Shape{batch, 1});
    for (Index b = 0; b < batch; ++b) start.value[b] = static_cast<T>(std::log(input.scale));
    const VarOf<C> log_scale = nn::axpy(context, static_cast<T>(options_.zoom), nn::slice(context, raw, 0, 1), start);
    return {nn::concat(context, {log_scale, nn::slice(context, raw, 1, 2)}), {}, {}};
  }

 private:
  PolicyOptions options_;
  nn::Dense dense_;
};

/// The published posterior: two dense layers from the proxy's features and the state to mean and log-deviation, without
/// bounds. Both start at 0: the middle of the image, and the deviation asked for. Neither PolicyOptions nor the map are used.
class GaussianPolicy {
 public:
  GaussianPolicy(ParameterLayout& layout, std::string_view name, Index /*map_features*/, Index state,
                 const PolicyOptions& /*options*/ = {})
      : network_(layout, name, 2 * state, 6, {.layers = 2, .hidden = state, .start_at_0 = true}) {}

  template <Context C>
  [[nodiscard]] PolicyOutput<typename C::Scalar> operator()(C& context, const PolicyInput<typename C::Scalar>& input) const {
    const VarOf<C> both = network_(context, nn::concat(context, {input.features, input.state}));
    return {nn::slice(context, both, 0, 3), {}, nn::slice(context, both, 3, 3)};
  }

 private:
  DenseNetwork network_;
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
