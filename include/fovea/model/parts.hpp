// SPDX-License-Identifier: MIT
/// \file
/// What a saccader is made of besides its feature networks, its policy and its sampler, each to be replaced on its own: the
/// coordinates of z and its distribution, prior, phi_z, decoder, recurrent cell and head. Sets of them: DefaultParts,
/// ReferenceParts, the published ones, and PublishedParts, the same without what is mended (docs/reference.md). To replace one:
///
///     struct MyParts : model::DefaultParts { using Head = model::AttentionHead; };
///
/// Networks are built as N(layout, name, inputs, outputs, sizes) and called as N(context, x): [B, inputs] to [B, outputs].
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/model/location.hpp>
#include <fovea/model/networks.hpp>
#include <fovea/nn/composition.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/pointwise.hpp>
#include <fovea/nn/recurrent.hpp>
#include <fovea/nn/reshape.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

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

/// The published coordinates: s = 1 / max(|z_0|, 1 / p), (x, y) = -s (z_1, z_2), with p = 2 scale. The derivative in z_0 is 0
/// for |z_0| < 1 / p, that is nearly always; the centre stays within s of the middle unless |z| is large.
struct PublishedScale {
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> z, double scale) const {
    const double least = 1 / (2 * scale);
    const VarOf<C> s = nn::pointwise(
        context,
        [least](double v) {
          const double a = std::abs(v);
          return a <= least ? kernel::Partials<1>{1 / least, {0}} : kernel::Partials<1>{1 / a, {(v > 0 ? -1 : 1) / (a * a)}};
        },
        nn::slice(context, z, 0, 1));
    const auto times_s = [&](Index k) {
      return nn::scale(context, typename C::Scalar(-1), nn::multiply(context, s, nn::slice(context, z, k, 1)));
    };
    return nn::concat(context, {s, times_s(1), times_s(2)});
  }
  /// Of a region of at most 2 scale.
  [[nodiscard]] static std::array<double, 3> inverse(const glimpse::Region<double>& region, double /*scale*/) {
    return {1 / region.s, -region.x / region.s, -region.y / region.s};
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
/// or from nothing where h is empty; `next(context, x, state)`; `output(context, state)` is what the others see of it;
/// `map(state, f)` is the state with f applied to each Var of it.
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
  template <class T, class F>
  [[nodiscard]] Var<T> map(const Var<T>& state, F f) const {
    return f(state);
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
  template <class T, class F>
  [[nodiscard]] State<T> map(const State<T>& state, F f) const {
    return {{{f(state[0].h), f(state[0].c)}, {f(state[1].h), f(state[1].c)}}};
  }

 private:
  TwoLstms(const ParameterLayout::Scope&, ParameterLayout& layout, Index inputs, Index units)
      : lower_(layout, "lower", inputs, units), upper_(layout, "upper", units, units) {}

  nn::LstmCell lower_;
  nn::LstmCell upper_;
};

// ----------------------------------------------------------------------------------------------------------------- heads

/// A head aggregates what the steps have seen:
///
///     evidence(context, x)                    what each look says: [N, inputs] to [N, E], of any number of looks
///     add(context, evidence, more, t)         the evidence of the looks before t, and what look t says: [B, E']
///     logits(context, evidence, steps)        of the first `steps` looks: [B, K]
///     told(context, evidence)                 optional: how much one look told [B]; otherwise log K less the entropy of its
///     own
///                                             answer
///
/// Built as N(layout, name, inputs, outputs, sizes).

/// What heads that add have in common.
struct Additive {
  template <Context C>
  [[nodiscard]] VarOf<C> add(C& context, VarOf<C> evidence, VarOf<C> more, Index t) const {
    return t == 0 ? more : nn::add(context, evidence, more);
  }
};

/// Evidence is one number for each class; the logits are its sum: each look counts in full.
class SumHead : public Additive {
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
class MeanHead : public Additive {
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

/// A few numbers from each look side by side, each look in a place of its own, then a dense layer: the published
/// --concat-prediction-size. It has places for SaccaderOptions::steps looks; those not taken are 0, and one more is an Error.
template <Index size = 10>
class ConcatHead {
 public:
  ConcatHead(ParameterLayout& layout, std::string_view name, Index inputs, Index classes, const NetworkSizes& sizes)
      : ConcatHead(layout.scope(name), layout, inputs, classes, sizes) {}

  template <Context C>
  [[nodiscard]] VarOf<C> evidence(C& context, VarOf<C> x) const {
    return nn::relu(context, step_(context, x));
  }
  template <Context C>
  [[nodiscard]] VarOf<C> add(C& context, VarOf<C> evidence, VarOf<C> more, Index t) const {
    require(t < steps_, "concatenating head: at most ", steps_, " steps expected, one more came");
    const auto nothing = [&](Index steps) {
      const VarOf<C> zero = context.constant(Shape{more.shape[0], steps * size});
      std::fill_n(zero.value, zero.size(), typename C::Scalar{});
      return zero;
    };
    const VarOf<C> after = nothing(steps_ - 1 - t);
    if (t == 0) return nn::concat(context, {more, after});
    return nn::concat(context, {nn::slice(context, evidence, 0, t * size), more, after});
  }
  template <Context C>
  [[nodiscard]] VarOf<C> logits(C& context, VarOf<C> evidence, Index /*steps*/) const {
    return classes_(context, evidence);
  }

 private:
  ConcatHead(const ParameterLayout::Scope&, ParameterLayout& layout, Index inputs, Index classes, const NetworkSizes& sizes)
      : steps_(sizes.steps), step_(layout, "step", inputs, size), classes_(layout, "classes", sizes.steps * size, classes) {}

  Index steps_;
  nn::Dense step_;
  nn::Dense classes_;
};

/// Attention over the looks: each look gives features and a weight, the logits are a dense layer of the weighted mean. So a
/// look that found nothing can count for nothing. M. Ilse, J. Tomczak, M. Welling, "Attention-based deep multiple instance
/// learning", ICML 2018, the weights exp(a) with |a| <= 5.
class AttentionHead : public Additive {
 public:
  AttentionHead(ParameterLayout& layout, std::string_view name, Index inputs, Index classes, const NetworkSizes& sizes)
      : AttentionHead(layout.scope(name), layout, inputs, classes, sizes) {}

  /// [w features, w].
  template <Context C>
  [[nodiscard]] VarOf<C> evidence(C& context, VarOf<C> x) const {
    using T = typename C::Scalar;
    const VarOf<C> features = nn::relu(context, features_(context, x));
    const VarOf<C> weight = nn::exp(context, nn::scale(context, T(5), nn::tanh(context, weight_(context, x))));
    const VarOf<C> each = nn::repeat_samples(context, weight, features.shape[1]).reshape(features.shape);
    return nn::concat(context, {nn::multiply(context, each, features), weight});
  }
  template <Context C>
  [[nodiscard]] VarOf<C> logits(C& context, VarOf<C> sum, Index /*steps*/) const {
    const Index size = sum.shape[1] - 1;
    const VarOf<C> features = nn::slice(context, sum, 0, size);
    const VarOf<C> total = nn::repeat_samples(context, nn::slice(context, sum, size, 1), size).reshape(features.shape);
    return classes_(context, nn::pointwise(
                                 context,
                                 [](double f, double w) {
                                   return kernel::Partials<2>{f / w, {1 / w, -f / (w * w)}};
                                 },
                                 features, total));
  }

 private:
  AttentionHead(const ParameterLayout::Scope&, ParameterLayout& layout, Index inputs, Index classes, const NetworkSizes& sizes)
      : features_(layout, "features", inputs, sizes.features),
        weight_(layout, "weight", inputs, 1),
        classes_(layout, "classes", sizes.features, classes) {}

  nn::Dense features_;
  nn::Dense weight_;
  nn::Dense classes_;
};

/// A composition says what partial answers there are, and what two of them come to together:
///
///     Composition(classes)       for K classes; throws Error where there cannot be as many
///     states()                   how many partial answers
///     compose(i, j)              the partial answer of i here and j there, whichever comes first; -1: they do not go together
///     amount(i)                  how much of the answer i is, 0 for nothing, of which there is one
///     state_of(k)                the partial answer that is class k

/// How many: 0, ..., K - 1, the last for all beyond.
class Counts {
 public:
  explicit Counts(Index classes) : classes_(classes) {}
  [[nodiscard]] Index states() const noexcept { return classes_; }
  [[nodiscard]] Index compose(Index i, Index j) const noexcept { return std::min(i + j, classes_ - 1); }
  [[nodiscard]] Index amount(Index i) const noexcept { return i; }
  [[nodiscard]] Index state_of(Index k) const noexcept { return k; }

 private:
  Index classes_;
};

/// Which two of n things, in any order, perhaps the same twice: K = n (n + 1) / 2 classes (0, 0), (0, 1), ..., (n - 1, n - 1).
/// A partial answer is nothing, one thing, or two.
class UnorderedPairs {
 public:
  explicit UnorderedPairs(Index classes) : classes_(classes) {
    while (things_ * (things_ + 1) / 2 < classes) ++things_;
    require(things_ * (things_ + 1) / 2 == classes, "unordered pairs: n (n + 1) / 2 classes expected, ", classes, " came");
  }
  [[nodiscard]] Index states() const noexcept { return 1 + things_ + classes_; }
  [[nodiscard]] Index compose(Index i, Index j) const noexcept {
    if (i == 0 || j == 0) return i + j;
    if (amount(i) + amount(j) > 2) return -1;
    const Index low = std::min(i, j) - 1;
    return state_of(low * things_ - low * (low - 1) / 2 + std::max(i, j) - 1 - low);
  }
  [[nodiscard]] Index amount(Index i) const noexcept { return i == 0 ? 0 : i <= things_ ? 1 : 2; }
  [[nodiscard]] Index state_of(Index k) const noexcept { return 1 + things_ + k; }

 private:
  Index classes_;
  Index things_ = 1;
};

/// Evidence is a distribution over partial answers: what the look has found that no look before it had. The answer is the
/// distribution of what all of them compose to, the logits its logarithms; each look has only to say what is before it. The
/// answer after a part of the looks is of that part alone, so aids that ask it for the whole one (BasicSaccaderLoss::prefix,
/// ::each_look) are not for this head. Before it learns, a look finds an amount of n with probability 2^-n: with as much of
/// everything, a few looks would find too much. What a look is worth (PolicyOptions::worth) is here the amount expected of it.
template <class Composition>
class ComposingHead {
 public:
  ComposingHead(ParameterLayout& layout, std::string_view name, Index inputs, Index classes, const NetworkSizes& sizes)
      : ComposingHead(layout.scope(name), layout, inputs, classes, sizes) {}

  template <Context C>
  [[nodiscard]] VarOf<C> evidence(C& context, VarOf<C> x) const {
    const VarOf<C> scores = states_(context, nn::relu(context, hidden_(context, x)));
    return nn::softmax(context, nn::add(context, scores, repeated(context, facts_->start, scores.shape)));
  }
  template <Context C>
  [[nodiscard]] VarOf<C> add(C& context, VarOf<C> evidence, VarOf<C> more, Index t) const {
    return t == 0 ? more : nn::compose(context, std::as_const(facts_->table).view(), evidence, more);
  }
  template <Context C>
  [[nodiscard]] VarOf<C> logits(C& context, VarOf<C> found, Index /*steps*/) const {
    const VarOf<C> answers = nn::slice(context, found, facts_->first_class, facts_->classes);
    return nn::pointwise(
        context,
        [](double p) {
          constexpr double least = 1e-6;  // log p has no bound, and no loss should either
          return kernel::Partials<1>{std::log(p + least), {1 / (p + least)}};
        },
        answers);
  }
  /// How much a look told, [B].
  template <Context C>
  [[nodiscard]] VarOf<C> told(C& context, VarOf<C> evidence) const {
    return nn::pointwise_sum(
        context,
        [](double p, double amount) {
          return kernel::Partials<2>{p * amount, {amount, p}};
        },
        evidence, repeated(context, facts_->amounts, evidence.shape));
  }

 private:
  struct Facts {
    Index classes = 0;
    Index first_class = 0;  ///< the state of class 0, which the others follow
    Tensor<std::int32_t, 2> table;
    std::vector<double> amounts;
    std::vector<double> start;  ///< scores of the states before anything is learned
  };

  static std::shared_ptr<const Facts> facts_of(Index classes) {
    const Composition c(classes);
    const Index states = c.states();
    auto facts = std::make_shared<Facts>();
    facts->classes = classes;
    facts->first_class = c.state_of(0);
    facts->table = Tensor<std::int32_t, 2>({states, states});
    std::vector<double> of_amount(static_cast<std::size_t>(states));
    for (Index i = 0; i < states; ++i) {
      for (Index j = 0; j < states; ++j) facts->table(i, j) = static_cast<std::int32_t>(c.compose(i, j));
      facts->amounts.push_back(static_cast<double>(c.amount(i)));
      ++of_amount[static_cast<std::size_t>(c.amount(i))];
    }
    for (Index i = 0; i < states; ++i) {
      const auto amount = static_cast<std::size_t>(c.amount(i));
      facts->start.push_back(-std::log(2.0) * static_cast<double>(amount) - std::log(of_amount[amount]));
    }
    return facts;
  }

  ComposingHead(const ParameterLayout::Scope&, ParameterLayout& layout, Index inputs, Index classes, const NetworkSizes& sizes)
      : facts_(facts_of(classes)),
        hidden_(layout, "hidden", inputs, sizes.features),
        states_(layout, "states", sizes.features, facts_->table.extent(0)) {}

  /// `row` for every sample, [B, S].
  template <Context C>
  [[nodiscard]] static VarOf<C> repeated(C& context, const std::vector<double>& row, const Shape& shape) {
    const VarOf<C> rows = context.constant(shape);
    for (Index i = 0; i < rows.size(); ++i) {
      rows.value[i] = static_cast<typename C::Scalar>(row[static_cast<std::size_t>(i % shape[1])]);
    }
    return rows;
  }

  std::shared_ptr<const Facts> facts_;  ///< the same for all copies
  nn::Dense hidden_;
  nn::Dense states_;
};
using CountHead = ComposingHead<Counts>;
using PairHead = ComposingHead<UnorderedPairs>;

// ----------------------------------------------------------------------------------------------------------------- the sets

struct DefaultParts {
  using Coordinates = LogScale;
  using Location = GaussianLocation;  ///< the distribution of z: model/location.hpp
  using Prior = DenseFrom0;
  using LocationNetwork = DensePart;  ///< before a SELU
  using Decoder = DensePart;
  using Cell = Gru;
  using Head = SumHead;
};

struct ReferenceParts {
  using Coordinates = Squashed;
  using Location = GaussianLocation;
  using Prior = DenseLayers<2, true>;
  using LocationNetwork = DenseLayers<2>;
  using Decoder = DenseLayers<3>;
  using Cell = TwoLstms;
  using Head = MeanHead;
};

/// As the published code has it, mistakes included: for comparison, not for use (docs/reference.md).
struct PublishedParts : ReferenceParts {
  using Coordinates = PublishedScale;
  using Location = PublishedGaussian;
  using Prior = DenseLayers<2>;
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
