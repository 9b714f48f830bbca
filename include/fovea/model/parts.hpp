// SPDX-License-Identifier: MIT
/// \file
/// What a saccader is made of besides its feature networks, its policy and its sampler, each to be replaced on its own: the
/// coordinates of z, prior, phi_z, decoder, recurrent cell and head. Two sets of them: DefaultParts, and ReferenceParts, the
/// published ones (docs/reference.md).
///
/// Networks are built as N(layout, name, inputs, outputs, sizes) and called as N(context, x): [B, inputs] to [B, outputs].
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/model/networks.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/recurrent.hpp>
#include <fovea/nn/reshape.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace model {

// ------------------------------------------------------------------------------------------------- the coordinates of z

/// z = (log s, x, y), without bounds.
struct LogScale {
  /// z [B, 3] to regions [B, 3]: s, x, y. `scale`: the half-extent a policy starts from.
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> z, double /*scale*/) const {
    return nn::concat(context, {nn::exp(context, nn::slice(context, z, 0, 1)), nn::slice(context, z, 1, 2)});
  }
  /// z of a region.
  [[nodiscard]] static std::array<double, 3> inverse(const glimpse::Region<double>& region, double /*scale*/) {
    return {std::log(region.s), region.x, region.y};
  }
};

/// s = 2 scale sigmoid(z_0), (x, y) = tanh(z_1, z_2): any z looks into the image, at half-extents up to 2 scale, and s and
/// the centre have a derivative everywhere. z = 0 is the middle, at `scale`. It stands for the published s = 1 / max(|z_0|,
/// 1 / p), whose derivative is 0 for |z_0| < 1 / p, and which confines the centre to s (z_1, z_2).
struct Squashed {
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> z, double scale) const {
    using T = typename C::Scalar;
    const VarOf<C> s = nn::scale(context, static_cast<T>(2 * scale), nn::sigmoid(context, nn::slice(context, z, 0, 1)));
    return nn::concat(context, {s, nn::tanh(context, nn::slice(context, z, 1, 2))});
  }
  /// Of a region with s < 2 scale and its centre within the image.
  [[nodiscard]] static std::array<double, 3> inverse(const glimpse::Region<double>& region, double scale) {
    return {std::log(region.s / (2 * scale - region.s)), std::atanh(region.x), std::atanh(region.y)};
  }
};

// -------------------------------------------------------------------------------------------------------------- networks

/// One dense layer.
struct DensePart : nn::Dense {
  DensePart(ParameterLayout& layout, std::string_view name, Index inputs, Index outputs, const NetworkSizes& /*sizes*/)
      : Dense(layout, name, inputs, outputs) {}
};
/// One dense layer that starts at 0: a prior that starts as N(0, 1).
struct DenseFrom0 : nn::Dense {
  DenseFrom0(ParameterLayout& layout, std::string_view name, Index inputs, Index outputs, const NetworkSizes& /*sizes*/)
      : Dense(layout, name, inputs, outputs, {.weights = nn::constant(0)}) {}
};
/// `count` dense layers.
template <Index count, bool start_at_0 = false>
struct DenseLayers : DenseNetwork {
  DenseLayers(ParameterLayout& layout, std::string_view name, Index inputs, Index outputs, const NetworkSizes& sizes)
      : DenseNetwork(layout, name, inputs, outputs, {count, sizes.features, start_at_0}) {}
};

// ----------------------------------------------------------------------------------------------------------------- cells

/// A recurrent cell is built as N(layout, name, inputs, units). `start(context, samples, h)` makes its state from h [B, units],
/// or from nothing where h is empty; `next(context, x, state)`; `output(context, state)` is what the others see of it.
class Gru {
 public:
  Gru(ParameterLayout& layout, std::string_view name, Index inputs, Index units) : cell_(layout, name, inputs, units) {}

  template <Context C>
  [[nodiscard]] VarOf<C> start(C& context, Index samples, VarOf<C> h) const {
    return h.value != nullptr ? h : cell_.initial_state(context, samples);
  }
  template <Context C>
  [[nodiscard]] VarOf<C> next(C& context, VarOf<C> x, VarOf<C> state) const {
    return cell_(context, x, state);
  }
  template <Context C>
  [[nodiscard]] VarOf<C> output(C& /*context*/, VarOf<C> state) const {
    return state;
  }

 private:
  nn::GruCell cell_;
};

/// Two LSTMs, the second reading what the first gives; the output is the mean of their outputs, as published.
class TwoLstms {
 public:
  TwoLstms(ParameterLayout& layout, std::string_view name, Index inputs, Index units)
      : TwoLstms(layout.scope(name), layout, inputs, units) {}

  template <class T>
  using State = std::array<nn::LstmState<T>, 2>;

  template <Context C>
  [[nodiscard]] State<typename C::Scalar> start(C& context, Index samples, VarOf<C> h) const {
    State<typename C::Scalar> state{lower_.initial_state(context, samples), upper_.initial_state(context, samples)};
    if (h.value != nullptr) state[0].h = state[1].h = h;
    return state;
  }
  template <Context C>
  [[nodiscard]] State<typename C::Scalar> next(C& context, VarOf<C> x, const State<typename C::Scalar>& state) const {
    const auto lower = lower_(context, x, state[0]);
    return {lower, upper_(context, lower.h, state[1])};
  }
  template <Context C>
  [[nodiscard]] VarOf<C> output(C& context, const State<typename C::Scalar>& state) const {
    using T = typename C::Scalar;
    return nn::scale(context, T(0.5), nn::add(context, state[0].h, state[1].h));
  }

 private:
  TwoLstms(const ParameterLayout::Scope&, ParameterLayout& layout, Index inputs, Index units)
      : lower_(layout, "lower", inputs, units), upper_(layout, "upper", units, units) {}

  nn::LstmCell lower_;
  nn::LstmCell upper_;
};

// ----------------------------------------------------------------------------------------------------------------- heads

/// A head turns what a step has seen into `evidence`, and the sum of the evidence of the first `steps` steps into `logits`.
/// Evidence is one number for each class; the logits are its sum.
class SumHead {
 public:
  SumHead(ParameterLayout& layout, std::string_view name, Index inputs, Index classes, const NetworkSizes& /*sizes*/)
      : dense_(layout, name, inputs, classes) {}

  template <Context C>
  [[nodiscard]] VarOf<C> evidence(C& context, VarOf<C> x) const {
    return dense_(context, x);
  }
  template <Context C>
  [[nodiscard]] VarOf<C> logits(C& /*context*/, VarOf<C> sum, Index /*steps*/) const {
    return sum;
  }

 private:
  nn::Dense dense_;
};

/// The published head: two dense layers to features and one number more, the mean of the features over the steps, two dense
/// layers to the classes. The number more was to say when to stop, and is used by nobody; it is there for the weights' sake.
class MeanHead {
 public:
  MeanHead(ParameterLayout& layout, std::string_view name, Index inputs, Index classes, const NetworkSizes& sizes)
      : MeanHead(layout.scope(name), layout, inputs, classes, sizes) {}

  template <Context C>
  [[nodiscard]] VarOf<C> evidence(C& context, VarOf<C> x) const {
    return nn::slice(context, step_(context, x), 0, features_);
  }
  template <Context C>
  [[nodiscard]] VarOf<C> logits(C& context, VarOf<C> sum, Index steps) const {
    using T = typename C::Scalar;
    return classes_(context, nn::scale(context, T(1) / static_cast<T>(steps), sum));
  }

 private:
  MeanHead(const ParameterLayout::Scope&, ParameterLayout& layout, Index inputs, Index classes, const NetworkSizes& sizes)
      : features_(sizes.features),
        step_(layout, "step", inputs, sizes.features + 1, sizes),
        classes_(layout, "classes", sizes.features, classes, sizes) {}

  Index features_;
  DenseLayers<2> step_;
  DenseLayers<2> classes_;
};

// ------------------------------------------------------------------------------------------------------------- the two sets

struct DefaultParts {
  using Locations = LogScale;
  using Prior = DenseFrom0;
  using LocationNetwork = DensePart;  ///< before a SELU
  using Decoder = DensePart;
  using Cell = Gru;
  using Head = SumHead;
};

struct ReferenceParts {
  using Locations = Squashed;
  using Prior = DenseLayers<2, true>;
  using LocationNetwork = DenseLayers<2>;
  using Decoder = DenseLayers<3>;
  using Cell = TwoLstms;
  using Head = MeanHead;
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
