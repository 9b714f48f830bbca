// SPDX-License-Identifier: MIT
/// \file
/// Policies: the mean of the posterior over where to look next.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/attention.hpp>
#include <fovea/model/networks.hpp>
#include <fovea/nn/attention.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/local_attention.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/noise.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// What a policy decides from.
template <class T>
struct PolicyInput {
  Var<T> map;        ///< features of the proxy at every place [B, h, w, F]; empty where the proxy's network gives none
  Var<T> salience;   ///< what stands out in the proxy, of each place of the map [B, h * w] in [0, 1]; empty without a map
  Var<T> survey;     ///< what policy.survey(context, map) gave, once for all steps; empty where it has none
  Var<T> features;   ///< features of the proxy as a whole [B, S]
  Var<T> state;      ///< h_{t-1} [B, S]
  double scale = 1;  ///< the half-extent of a region the policy starts from; it may zoom around it
  std::span<const Var<T>> regions = {};  ///< of the looks before this one, [B, 3] each
  bool draw = false;                     ///< choices are drawn, named by `noise`; otherwise the most probable is taken
  sample::NoiseKey noise = {};
  bool places = false;  ///< PolicyOutput::places is wanted
};

/// What a policy answers: the mean of the latent z, [B, 3], in the parts' coordinates (model/parts.hpp; by default log s, x,
/// y). All else is there where the policy has it, otherwise empty.
template <class T>
struct PolicyOutput {
  Var<T> mean = {};
  Var<T> log_deviation = {};  ///< what it adds to the log-deviation of the posterior [B, 3]
  Var<T> attention = {};      ///< over the places of the map [B, h * w], sum 1
  Var<T> logits = {};         ///< of which that is the softmax
  Var<T> places = {};  ///< the mean of z if the look went to that place alone [B, h * w, 3]; PolicyInput::survey makes it
  /// Where one place was chosen: the log-probability of that choice [B], if it was drawn on a tape, and the divergence from a
  /// choice without knowledge [B].
  Var<T> choice_log_probability = {};
  Var<T> choice_kl = {};
  /// What the policy thinks a look at the chosen place will tell [B], in nats: learned by itself (BasicSaccaderLoss::worth).
  Var<T> worth = {};

  /// The same, of which no gradient is wanted but of its worth.
  [[nodiscard]] PolicyOutput detached() const noexcept {
    return {nn::detach(mean),   nn::detach(log_deviation),          nn::detach(attention), nn::detach(logits),
            nn::detach(places), nn::detach(choice_log_probability), nn::detach(choice_kl), worth};
  }
};

/// How far a policy may move from what it starts from, and how it chooses among places.
struct PolicyOptions {
  double zoom = 0.25;   ///< log s lies within this of the log of the starting scale
  double reach = 0.14;  ///< each of two offsets to the place lies within so many half-extents of the final region
  /// Regions of at least this half-extent go to the mean of all places under the attention, which has a gradient everywhere;
  /// smaller ones, of which there is room for many, to one place that is chosen.
  double mean_above = 0.25;
  double window = 1;       ///< a chosen place is the mean of the attention within so many half-extents of the region
  double inhibition = 10;  ///< taken off the logits of places looked at already, out to ...
  double inhibited = 0.5;  ///< ... so many half-extents of the region there
  double salience = 8;     ///< at the start, added to the logits of what stands out most; learned
  double worth = 0;        ///< added to the logits for each nat that a look at the place is thought to tell; 0: no such thought
};

namespace traced {
/// What stands out in the proxies, of each place of a grid (image/salience.hpp).
struct Salience {
  Extents<2> grid;
};
/// What the logits of a grid's places lose around earlier regions, the inputs: `inhibition` within `inhibited` half-extents.
struct Inhibition {
  Extents<2> grid;
  double inhibition;
  double inhibited;
};
/// How much of a region of half-extent `scale` around each place of a grid lies within one of the regions looked at before, the
/// inputs; the most of any.
struct Overlap {
  Extents<2> grid;
  double scale;
};
/// The cell of each sample's greatest logit, from here on known by where it is; makes no Var.
struct Choice {
  const std::int32_t* cells;
};
/// Of each sample's rows of [B, n, K] the one its cell names.
struct RowOfCell {
  const std::int32_t* cells;
};
}  // namespace traced

namespace detail {

/// log(scale) + zoom * the first column of `in` [B, ...], [B, 1].
template <Context C>
[[nodiscard]] VarOf<C> log_scale(C& context, Index batch, double scale, double zoom, VarOf<C> in) {
  using T = typename C::Scalar;
  const VarOf<C> start = context.constant(Shape{batch, 1});
  std::fill_n(start.value, batch, static_cast<T>(std::log(scale)));
  return nn::axpy(context, static_cast<T>(zoom), nn::slice(context, in, 0, 1), start);
}

}  // namespace detail

/// Attention over the places of the proxy's feature map: the state asks the map with a key.
///
/// *Large regions* go to the expected place under the attention (a spatial soft-argmax), plus small bounded offsets, one from
/// the attended place and one from the state. Such a head starts within the first few ten thousand images where a dense layer
/// takes ten times as many (docs/training.md): a place is read off the map, not learned by heart.
///
/// *Small regions* have many places to go to, and a mean of several objects is none of them. So one place is chosen, drawn in
/// training and the most probable when answering; the mean is taken of the attention close by. The choice learns from the
/// evidence that came of it (BasicSaccader::forward). No place is chosen twice: inhibition of return. The choice starts at what
/// stands out (image/salience.hpp), without which a look at random meets an object once in a hundred times. Both are of L.
/// Itti, C. Koch, E. Niebur, IEEE Trans. PAMI 20(11), 1998. With PolicyOptions::worth the map also says of each place how much
/// a look there would tell, which is learned from what looks did tell, a regression of far less variance than the score of a
/// choice.
class AttentionPolicy {
 public:
  /// map_features = F, state = S of PolicyInput; `scale`: the half-extent of the regions when training ends.
  AttentionPolicy(ParameterLayout& layout, std::string_view name, Index map_features, Index state, double scale,
                  const PolicyOptions& options = {})
      : AttentionPolicy(layout.scope(name), layout, map_features, state, scale, options) {}

  /// Of every place of the map, how far its object's centre is from its own, and, where that is thought of, its worth and by
  /// how much that changes where all of it was seen: [B, h * w, 2 or 4].
  template <Context C>
  [[nodiscard]] VarOf<C> survey(C& context, VarOf<C> map) const {
    const Index places = map.shape[1] * map.shape[2];
    const VarOf<C> rows = map.reshape({map.shape[0] * places, map.shape[3]});
    VarOf<C> local = nn::tanh(context, place_offset_(context, rows));
    if (worth_) local = nn::concat(context, {local, (*worth_)(context, rows)});
    return local.reshape({map.shape[0], places, local.shape[1]});
  }

  template <Context C>
  [[nodiscard]] PolicyOutput<typename C::Scalar> operator()(C& context, const PolicyInput<typename C::Scalar>& input) const {
    using T = typename C::Scalar;
    const Index batch = input.map.shape[0];
    const Extents<2> grid{input.map.shape[1], input.map.shape[2]};
    PolicyOutput<T> out;
    VarOf<C> seen;
    out.logits = nn::key_scores(context, input.map, key_(context, input.state));
    if (chooses_) {
      out.logits = nn::add(context, out.logits, nn::scale_by(context, context.parameter(salience_), input.salience));
      if (worth_) {
        if (!input.regions.empty()) seen = seen_before(context, input, grid);
        const VarOf<C> worth = expected_worth(context, rows_of(input.survey), seen);
        out.logits = nn::axpy(context, static_cast<T>(options_.worth), nn::detach(worth).reshape(out.logits.shape), out.logits);
      }
      out.logits = inhibit(context, out.logits, input, grid);
    }
    out.attention = nn::softmax(context, out.logits);

    VarOf<C> place;
    VarOf<C> offset;
    if (input.scale >= options_.mean_above) {
      place = nn::expected_coordinates(context, out.attention, grid[0], grid[1]);
      offset = nn::attention_pool(context, out.attention, input.survey);
      if (worth_) offset = nn::slice(context, offset, 0, 2);
    } else {
      const View<const std::int32_t, 1> cells = choose(context, out, input);
      const auto within = [&](Index cells_along) {  // half of them are a half-image
        return static_cast<Index>(options_.window * input.scale * static_cast<double>(cells_along) / 2);
      };
      place = nn::local_coordinates(context, out.attention, cells, grid, {within(grid[0]), within(grid[1])});
      const Index n = grid[0] * grid[1];
      offset = nn::detail::copies_of_samples(context, rows_of(input.survey), batch,
                                             [cells, n](Index b) { return b * n + cells[b]; });
      nn::trace(context, traced::RowOfCell{cells.data()}, offset, input.survey);
      if (worth_) {
        if constexpr (C::recording) {  // nobody else asks
          VarOf<C> there;
          if (seen.value != nullptr) {
            there = context.constant(Shape{batch, 1});
            for (Index b = 0; b < batch; ++b) there.value[b] = seen.value[b * n + cells[b]];
          }
          out.worth = expected_worth(context, offset, there).reshape({batch});
        }
        offset = nn::slice(context, offset, 0, 2);
      }
    }
    const auto reach = static_cast<T>(reach_);
    const VarOf<C> state = nn::tanh(context, state_offset_(context, nn::concat(context, {input.features, input.state})));
    VarOf<C> xy = nn::axpy(context, reach, offset, place);
    xy = nn::axpy(context, reach, nn::slice(context, state, 1, 2), xy);
    const VarOf<C> log_scale = detail::log_scale(context, batch, input.scale, options_.zoom, state);
    out.mean = nn::concat(context, {log_scale, xy});
    if (input.places) out.places = places(context, input, grid, log_scale, state);
    return out;
  }
  /// Whether PolicyInput::salience is looked at.
  [[nodiscard]] bool wants_salience() const noexcept { return chooses_; }

 private:
  AttentionPolicy(const ParameterLayout::Scope&, ParameterLayout& layout, Index map_features, Index state, double scale,
                  const PolicyOptions& options)
      : options_(options),
        reach_(options.reach * scale),
        chooses_(scale < options.mean_above),
        // What is chosen at first is what stands out, and nothing else.
        key_(layout, "key", state, map_features, {.weights = chooses_ ? std::optional(nn::constant(0)) : std::nullopt}),
        place_offset_(layout, "place_offset", map_features, 2, {.weights = nn::constant(0)}),
        state_offset_(layout, "state_offset", 2 * state, 3, {.weights = nn::constant(0)}) {
    if (chooses_) salience_ = layout.add("salience", Shape{1}, nn::constant(options.salience));
    if (chooses_ && options.worth > 0)
      worth_.emplace(layout, "worth", map_features, 2, nn::DenseOptions{.weights = nn::constant(0)});
  }

  template <class V>
  [[nodiscard]] static V rows_of(const V& survey) {
    return survey.reshape({survey.shape[0] * survey.shape[1], survey.shape[2]});
  }

  /// How much of a region around each place was seen before, in [0, 1], [B, h * w].
  template <Context C>
  [[nodiscard]] static VarOf<C> seen_before(C& context, const PolicyInput<typename C::Scalar>& input, Extents<2> grid) {
    using T = typename C::Scalar;
    const Index batch = input.map.shape[0];
    const VarOf<C> seen = context.constant(Shape{batch, grid[0] * grid[1]});
    std::fill_n(seen.value, seen.size(), T(0));
    const auto share = [&](T half, T centre, Index i, Index n) {
      const T away = std::abs(static_cast<T>(kernel::cell_centre(i, n)) - centre);
      const auto scale = static_cast<T>(input.scale);
      return std::clamp((scale + half - away) / (2 * scale), T(0), T(1));
    };
    for (const Var<T>& regions : input.regions) {
      for (Index b = 0; b < batch; ++b) {
        const T* r = regions.value + 3 * b;
        T* to = seen.value + b * grid[0] * grid[1];
        for (Index i = 0; i < grid[0]; ++i) {
          const T down = share(r[0], r[2], i, grid[0]);
          for (Index j = 0; down > 0 && j < grid[1]; ++j) {
            to[i * grid[1] + j] = std::max(to[i * grid[1] + j], down * share(r[0], r[1], j, grid[1]));
          }
        }
      }
    }
    nn::trace_all(context, traced::Overlap{grid, input.scale}, seen, input.regions);
    return seen;
  }

  /// [N, 1], of rows of the survey [N, 4], and how much of each was seen, N numbers, or empty where nothing was.
  template <Context C>
  [[nodiscard]] static VarOf<C> expected_worth(C& context, VarOf<C> rows, VarOf<C> seen) {
    const VarOf<C> unseen = nn::slice(context, rows, 2, 1);
    if (seen.value == nullptr) return unseen;
    return nn::add(context, unseen, nn::multiply(context, seen.reshape(unseen.shape), nn::slice(context, rows, 3, 1)));
  }

  /// The logits less what inhibits the cells around earlier looks.
  template <Context C>
  [[nodiscard]] VarOf<C> inhibit(C& context, VarOf<C> logits, const PolicyInput<typename C::Scalar>& input,
                                 Extents<2> grid) const {
    using T = typename C::Scalar;
    if (input.regions.empty() || options_.inhibition == 0) return logits;
    const VarOf<C> less = context.constant(logits.shape);
    std::fill_n(less.value, less.size(), T(0));
    for (const Var<T>& regions : input.regions) {
      for (Index b = 0; b < logits.shape[0]; ++b) {
        const T* r = regions.value + 3 * b;
        const double half = options_.inhibited * static_cast<double>(r[0]);
        // Cell i of n has its centre at (2 i + 1) / n - 1.
        const auto range = [half](double centre, Index n) -> std::array<Index, 2> {
          const auto first = std::ceil(((centre - half + 1) * static_cast<double>(n) - 1) / 2);
          const auto last = std::floor(((centre + half + 1) * static_cast<double>(n) - 1) / 2);
          const auto limit = static_cast<double>(n);
          return {static_cast<Index>(std::clamp(first, 0.0, limit)), static_cast<Index>(std::clamp(last + 1, 0.0, limit))};
        };
        const auto [left, right] = range(static_cast<double>(r[1]), grid[1]);
        const auto [top, bottom] = range(static_cast<double>(r[2]), grid[0]);
        T* to = less.value + b * grid[0] * grid[1];
        for (Index i = top; i < bottom; ++i) {
          for (Index j = left; j < right; ++j) to[i * grid[1] + j] = static_cast<T>(-options_.inhibition);
        }
      }
    }
    nn::trace_all(context, traced::Inhibition{grid, options_.inhibition, options_.inhibited}, less, input.regions);
    return nn::add(context, logits, less);
  }

  /// A place for each sample, and what is known of that choice.
  template <Context C>
  [[nodiscard]] View<const std::int32_t, 1> choose(C& context, PolicyOutput<typename C::Scalar>& out,
                                                   const PolicyInput<typename C::Scalar>& input) const {
    using T = typename C::Scalar;
    const Index batch = out.logits.shape[0];
    const Index n = out.logits.shape[1];
    const sample::Categorical<T> q{out.logits};
    const VarOf<C> one_hot = input.draw ? sample::draw(context, sample::detach(q), input.noise) : sample::mode(context, q);
    auto* cells = context.template scratch<std::int32_t>(batch);
    for (Index b = 0; b < batch; ++b) {
      const T* row = one_hot.value + b * n;
      cells[b] = static_cast<std::int32_t>(std::max_element(row, row + n) - row);
    }
    if (!input.draw) nn::trace(context, traced::Choice{cells}, VarOf<C>{}, out.logits);
    // The most probable place is no draw, and is due nothing.
    if (C::recording && input.draw) out.choice_log_probability = sample::log_density(context, q, one_hot);
    const VarOf<C> most = context.constant(Shape{batch});
    std::fill_n(most.value, batch, static_cast<T>(std::log(static_cast<double>(n))));
    out.choice_kl = nn::subtract(context, most, sample::entropy(context, q));
    return {cells, {batch}};
  }

  /// (log s, x, y) of a look at each place alone.
  template <Context C>
  [[nodiscard]] VarOf<C> places(C& context, const PolicyInput<typename C::Scalar>& input, Extents<2> grid, VarOf<C> log_scale,
                                VarOf<C> state) const {
    using T = typename C::Scalar;
    const Index batch = log_scale.shape[0];
    const Index n = grid[0] * grid[1];
    const VarOf<C> all = nn::output(context, Shape{batch, n, 3}, log_scale, input.survey, state);
    const auto reach = static_cast<T>(reach_);
    const Index columns = input.survey.shape[2];
    for (Index b = 0; b < batch; ++b) {
      for (Index i = 0; i < n; ++i) {
        T* z = all.value + 3 * (b * n + i);
        const T* local = input.survey.value + columns * (b * n + i);
        z[0] = log_scale.value[b];
        z[1] = static_cast<T>(2 * (i % grid[1]) + 1) / static_cast<T>(grid[1]) - T(1) +
               reach * (local[0] + state.value[3 * b + 1]);
        z[2] = static_cast<T>(2 * (i / grid[1]) + 1) / static_cast<T>(grid[0]) - T(1) +
               reach * (local[1] + state.value[3 * b + 2]);
      }
    }
    if (all.gradient) {
      context.record([all, log_scale, state, survey = input.survey, batch, n, columns, reach] {
        for (Index b = 0; b < batch; ++b) {
          for (Index i = 0; i < n; ++i) {
            const T* d = all.gradient + 3 * (b * n + i);
            if (log_scale.gradient) log_scale.gradient[b] += d[0];
            for (Index k = 0; k < 2; ++k) {
              if (survey.gradient) survey.gradient[columns * (b * n + i) + k] += reach * d[1 + k];
              if (state.gradient) state.gradient[3 * b + 1 + k] += reach * d[1 + k];
            }
          }
        }
      });
    }
    return all;
  }

  PolicyOptions options_;
  double reach_;  ///< in half-images
  bool chooses_;  ///< once training has come to its end
  nn::Dense key_;
  nn::Dense place_offset_;
  nn::Dense state_offset_;
  Parameter salience_;
  std::optional<nn::Dense> worth_;
};

/// The published head: a dense layer from the proxy's features and the state to the whole range of places. Starts late; kept
/// for comparison. S. `reach` is ignored.
class DensePolicy {
 public:
  DensePolicy(ParameterLayout& layout, std::string_view name, Index /*map_features*/, Index state, double /*scale*/,
              const PolicyOptions& options = {})
      : options_(options), dense_(layout, name, 2 * state, 3) {}

  template <Context C>
  [[nodiscard]] PolicyOutput<typename C::Scalar> operator()(C& context, const PolicyInput<typename C::Scalar>& input) const {
    const Index batch = input.state.shape[0];
    const VarOf<C> raw = nn::tanh(context, dense_(context, nn::concat(context, {input.features, input.state})));
    const VarOf<C> log_scale = detail::log_scale(context, batch, input.scale, options_.zoom, raw);
    return {.mean = nn::concat(context, {log_scale, nn::slice(context, raw, 1, 2)})};
  }

 private:
  PolicyOptions options_;
  nn::Dense dense_;
};

/// The published posterior: two dense layers from the proxy's features and the state to mean and log-deviation, without
/// bounds. Where both start at 0 it is in the middle of the image, at the deviation asked for. Neither PolicyOptions nor the
/// map are used.
template <bool start_at_0>
class DenseGaussianPolicy {
 public:
  DenseGaussianPolicy(ParameterLayout& layout, std::string_view name, Index /*map_features*/, Index state, double /*scale*/,
                      const PolicyOptions& /*options*/ = {})
      : network_(layout, name, 2 * state, 6, {.layers = 2, .hidden = state, .start_at_0 = start_at_0}) {}

  template <Context C>
  [[nodiscard]] PolicyOutput<typename C::Scalar> operator()(C& context, const PolicyInput<typename C::Scalar>& input) const {
    const VarOf<C> both = network_(context, nn::concat(context, {input.features, input.state}));
    return {.mean = nn::slice(context, both, 0, 3), .log_deviation = nn::slice(context, both, 3, 3)};
  }

 private:
  DenseNetwork network_;
};
using GaussianPolicy = DenseGaussianPolicy<true>;

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
