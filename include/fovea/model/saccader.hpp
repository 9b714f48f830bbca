// SPDX-License-Identifier: MIT
/// \file
/// The saccader: looks at a proxy, decides where to look, reads glimpses from the original, answers.
///
/// J. Ramapuram, M. Diephuis, R. Webb, A. Kalousis, F. Lavda, "Variational Saccading: efficient inference for large resolution
/// images", BMVC 2019. The graph is DESIGN section 6; the mathematics is docs/bound.md; what makes training start is
/// docs/training.md.
///
///     q(z_t | proxy, h_{t-1}) = N(policy(map(proxy), h_{t-1}), deviation)    z_t = (log s, x, y)
///     p(z_t | h_{t-1})        = N(prior(h_{t-1}))
///     p(proxy | z_t, h_{t-1}) = Bernoulli(decoder([phi_z(z_t), h_{t-1}]))
///     h_t                     = GRU([phi_x(proxy), phi_z(z_t), phi_o(o_t)], h_{t-1})     (phi_o: closed loop only)
///     p(y | o_1..t, h)        = softmax(sum over the steps of head(phi_o(o_t) [, h_{t-1}]))
///
/// These are the defaults; every network, the cell, the head and the coordinates of z are template parameters.
/// Saccader::reference() has the published ones.
#pragma once

#include <fovea/bound/multi_sample.hpp>
#include <fovea/bound/sum.hpp>
#include <fovea/bound/terms.hpp>
#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/source.hpp>
#include <fovea/model/networks.hpp>
#include <fovea/model/parts.hpp>
#include <fovea/model/policy.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/pool.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/nn/stack.hpp>
#include <fovea/sample/gaussian.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace fovea::inline FOVEA_ABI {
namespace model {

struct SaccaderOptions {
  Index classes = 10;             ///< K >= 2
  Index channels = 1;             ///< of the image
  Extents<2> proxy = {20, 20};    ///< {height, width} of what the policy sees
  Extents<2> glimpse = {32, 32};  ///< {height, width} of a glimpse
  Index steps = 4;                ///< T, 1 to max_steps
  Index state = 64;               ///< length of h
  Index location_features = 32;   ///< length of phi_z(z)
  double scale = 0.36;            ///< half-extent of a region the policy starts from, in (0, 1]
  double deviation = 0.02;        ///< of the posterior when training ends, in the units of z; a policy may learn a factor
  bool closed_loop = true;        ///< glimpses enter the state, so the next look depends on what was seen
  bool head_sees_state = false;   ///< the class is read off h_{t-1} too (published); else off the glimpses alone
  bool decode_proxy = true;       ///< the decoder exists, and with it the proxy's term of the bound
  PolicyOptions policy = {};
  Index filters = 32;  ///< channels of the first layer of feature networks that ask (ResidualVector); others have their own

  static constexpr Index max_steps = 64;
};

/// Who decides where to look.
enum class Gaze {
  policy,   ///< the model
  uniform,  ///< nobody: regions drawn uniformly among those inside the image
  centre,   ///< nobody: always the centre
};

/// How a pass looks. The defaults are those of an inference.
struct Looking {
  Gaze gaze = Gaze::policy;
  /// z is drawn from the posterior; otherwise it is the posterior's mean.
  bool draw = false;
  /// Names the random numbers; used where `draw` holds or the gaze is uniform.
  sample::NoiseKey noise = {};
  /// Half-extent the policy starts from, and deviation of the posterior; 0: those of SaccaderOptions. Training goes from wide
  /// and noisy to the options' values (train::CoarseToFine).
  double scale = 0;
  double deviation = 0;
  /// The terms of the bound are computed: prior, KL, the proxy's log-likelihood. loss() wants them, no answer does.
  bool bound = true;
  /// The KL is that of the draw, log q(z) - log p(z), and not the closed one: what bounds of several draws per sample are made
  /// of (bound::ImportanceWeighted, for which every image and label stands K times in a row, and the noise is
  /// noise.repeated(K)).
  bool kl_of_draw = false;
  /// Steps to take; 0: SaccaderOptions::steps.
  Index steps = 0;
};

/// One saccade. Where the gaze is not the policy's, posterior, prior, kl and attended are empty; without Looking::bound, prior
/// and kl.
template <class T>
struct Step {
  sample::DiagonalGaussian<T> posterior;
  sample::DiagonalGaussian<T> prior;
  Var<T> regions;               ///< [B, 3]: s, x, y
  Var<T> glimpse;               ///< [B, h, w, C]
  Var<T> kl;                    ///< [B]
  Var<T> proxy_log_likelihood;  ///< [B]; empty without a decoder, or without Looking::bound
  Var<T> attended;              ///< features of the proxy under the policy's attention [B, F]; empty where it has none
  Var<T> logits;                ///< [B, K], the evidence of the steps up to this one
};

/// A pass: its steps live in the context's arena.
template <class T>
struct Trajectory {
  std::span<const Step<T>> steps;
  /// [B, K]: the evidence of all steps.
  [[nodiscard]] const Var<T>& logits() const noexcept { return steps.back().logits; }
};

/// The training loss: a bound::Objective of the terms of the bound, and two aids with their weights, not part of it.
template <class O>
struct BasicSaccaderLoss {
  O objective = {};
  /// Mean over t of the cross-entropy after t steps: every prefix of the glimpses should answer.
  double prefix = 1;
  /// Mean over t of the cross-entropy of the class from the proxy's features under the policy's attention. It teaches the
  /// attention to find what carries the class before any glimpse has; fades during training.
  double evidence = 0;
};
using SaccaderLoss = BasicSaccaderLoss<bound::Sum>;

namespace detail {

/// What is known of a proxy before the first step. `map` and `state` are empty where the network gives no map.
template <class T>
struct Perceived {
  Var<T> map;       ///< [B, h, w, F]
  Var<T> features;  ///< phi_x [B, S]
  Var<T> state;     ///< h_0 [B, S]
};

/// A network of maps: features and h_0 come from its mean.
template <class Network>
class Perception {
 public:
  Perception(ParameterLayout& layout, const SaccaderOptions& o)
      : network_(layout, "proxy_network", o.channels),
        features_(layout, "proxy_features", network_.features(), o.state),
        state_(layout, "initial_state", o.state, o.state) {}

  template <Context C>
  [[nodiscard]] Perceived<typename C::Scalar> operator()(C& context, VarOf<C> proxies) const {
    const VarOf<C> map = network_(context, proxies);
    const VarOf<C> features = nn::relu(context, features_(context, nn::global_average_pool(context, map)));
    return {map, features, nn::tanh(context, state_(context, features))};
  }
  /// Channels of the map; 0: there is none.
  [[nodiscard]] Index map_features() const { return network_.features(); }

 private:
  Network network_;
  nn::Dense features_;
  nn::Dense state_;
};

/// A network of vectors: they are the features (through an ELU), and h_0 is the cell's own.
template <VectorNetwork Network>
class Perception<Network> {
 public:
  Perception(ParameterLayout& layout, const SaccaderOptions& o)
      : network_(make_network<Network>(layout, "proxy_network", o.proxy, o.channels, {o.filters, o.state})) {
    require(network_.features() == o.state, "saccader: a proxy network of ", o.state, " features expected, ",
            network_.features(), " came");
  }
  template <Context C>
  [[nodiscard]] Perceived<typename C::Scalar> operator()(C& context, VarOf<C> proxies) const {
    return {{}, nn::elu(context, network_(context, proxies)), {}};
  }
  [[nodiscard]] Index map_features() const { return 0; }

 private:
  Network network_;
};

}  // namespace detail

/// `ProxyNetwork` gives a map or a vector; `Parts`: model/parts.hpp.
template <class ProxyNetwork = ConvMap, VectorNetwork GlimpseNetwork = ConvVector, class Policy = SoftArgmaxPolicy,
          class Sampler = glimpse::Antialiased, class Parts = DefaultParts>
  requires(MapNetwork<ProxyNetwork> || VectorNetwork<ProxyNetwork>)
class BasicSaccader;

/// The saccader with the library's default networks.
using Saccader = BasicSaccader<>;

/// The published saccader (docs/reference.md), as Saccader::reference() builds it.
template <class Sampler = glimpse::Antialiased>
using ReferenceSaccader = BasicSaccader<Resized<ResidualVector>, ResidualVector, GaussianPolicy, Sampler, ReferenceParts>;

/// Options of Saccader::reference(): the defaults are those of the published experiment with two cluttered digits.
struct ReferenceOptions {
  Index classes = 55;
  Index channels = 1;
  Extents<2> proxy = {100, 100};  ///< its network sees it resized to 64 pixels on the longer side
  Extents<2> glimpse = {64, 64};
  Index steps = 4;
  Index latent = 256;        ///< length of h and of every vector of features
  Index filters = 32;        ///< channels of the first residual block
  double scale = 0.15;       ///< half-extent of the regions at z = 0; twice that is the most
  double deviation = 0.1;    ///< of the posterior where training starts; it is learned
  bool closed_loop = false;  ///< published: only the proxy and past z say where to look next
  bool decode_proxy = true;  ///< false: without the decoder, which only training needs
};

/// The model: holds slices of a parameter buffer, never storage, so it copies safely and is shared between threads.
template <class ProxyNetwork, VectorNetwork GlimpseNetwork, class Policy, class Sampler, class Parts>
  requires(MapNetwork<ProxyNetwork> || VectorNetwork<ProxyNetwork>)
class BasicSaccader {
 public:
  /// The published networks and sizes:
  ///
  ///     const auto model = model::Saccader::reference({.classes = 10});
  ///
  /// What differs from the published code, and why, is docs/reference.md. Throws Error as the constructor does.
  template <class S = glimpse::Antialiased>
  [[nodiscard]] static ReferenceSaccader<S> reference(const ReferenceOptions& options = {}, const S& sampler = {}) {
    SaccaderOptions o;
    o.classes = options.classes;
    o.channels = options.channels;
    o.proxy = options.proxy;
    o.glimpse = options.glimpse;
    o.steps = options.steps;
    o.state = o.location_features = options.latent;
    o.filters = options.filters;
    o.scale = options.scale;
    o.deviation = options.deviation;
    o.closed_loop = options.closed_loop;
    o.decode_proxy = options.decode_proxy;
    o.head_sees_state = true;
    return ReferenceSaccader<S>(o, sampler);
  }

  /// Throws Error on options that contradict themselves.
  explicit BasicSaccader(const SaccaderOptions& options, const Sampler& sampler = {})
      : BasicSaccader(checked(options), sampler, ParameterLayout{}) {}

  [[nodiscard]] const SaccaderOptions& options() const noexcept { return options_; }
  /// Names, shapes and starting values of the parameters, for Parameters<T>.
  [[nodiscard]] const ParameterLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const Sampler& sampler() const noexcept { return sampler_; }

  /// proxies [B, h, w, C] in [0, 1], images: B sources of C channels. On a tape both must stay until backward() has run.
  /// Throws Error on other shapes.
  template <Context C, ImageSource Source>
  [[nodiscard]] Trajectory<typename C::Scalar> forward(C& context, VarOf<C> proxies, std::span<const Source> images,
                                                       const Looking& looking = {}) const {
    using T = typename C::Scalar;
    const auto batch = static_cast<Index>(images.size());
    const Shape expected{batch, options_.proxy[0], options_.proxy[1], options_.channels};
    if (batch < 1 || !(proxies.shape == expected)) {
      fail("saccader: proxies of shape ", expected.to_string(), " expected for ", batch, " images, ", proxies.shape.to_string(),
           " came");
    }
    const Index count = looking.steps != 0 ? looking.steps : options_.steps;
    require(count >= 1 && count <= SaccaderOptions::max_steps, "saccader: 1 to ", SaccaderOptions::max_steps,
            " steps expected, ", count, " came");
    const double scale = looking.scale != 0 ? looking.scale : options_.scale;
    require(scale > 0 && scale <= 1, "saccader: a scale in (0, 1] expected, ", scale, " came");

    const detail::Perceived<T> seen_before = perception_(context, proxies);
    const VarOf<C> features = seen_before.features;
    auto state = cell_.start(context, batch, seen_before.state);
    const VarOf<C> noise = draw_noise(context, batch, count, looking);

    auto* steps = context.template scratch<Step<T>>(count);
    auto* paths = context.template scratch<Path<T>>(count);
    for (Index t = 0; t < count; ++t) {
      Step<T>& step = *::new (static_cast<void*>(steps + t)) Step<T>{};
      Path<T>& path = *::new (static_cast<void*>(paths + t)) Path<T>{};
      path.state = cell_.output(context, state);
      VarOf<C> z;
      if (looking.gaze == Gaze::policy) {
        const PolicyOutput<T> look = policy_(context, PolicyInput<T>{seen_before.map, features, path.state, scale});
        step.posterior = {look.mean, posterior_deviation(context, batch, looking)};
        if (look.log_deviation.value != nullptr) {
          step.posterior.log_deviation = nn::add(context, look.log_deviation, step.posterior.log_deviation);
        }
        if (looking.bound) step.prior = prior(context, path.state);
        z = looking.draw ? sample::draw(context, step.posterior, nn::slice(context, noise, 3 * t, 3)) : look.mean;
        if (looking.bound) {
          step.kl = looking.kl_of_draw ? bound::log_ratio(context, step.posterior, step.prior, z)
                                       : sample::kl_divergence(context, step.posterior, step.prior);
        }
        if (look.attention.value != nullptr) step.attended = nn::attention_pool(context, look.attention, seen_before.map);
      } else {
        z = fixed_gaze(context, batch, t, scale, looking);
      }
      step.regions = typename Parts::Locations{}(context, z, scale);
      if (options_.closed_loop) {
        step.glimpse = sampler_(context, images, step.regions, options_.glimpse);
        recognise(context, steps, paths, t, 1);
      }
      path.located = nn::selu(context, location_features_(context, z));
      if (options_.closed_loop) decode(context, steps, paths, t, 1, proxies, looking);
      if (t + 1 == count) break;  // nobody sees the next state
      state = options_.closed_loop ? cell_.next(context, nn::concat(context, {features, path.located, path.seen}), state)
                                   : cell_.next(context, nn::concat(context, {features, path.located}), state);
    }
    if (!options_.closed_loop) {
      // What no later look depends on, for all steps at once.
      look(context, images, steps, count);
      recognise(context, steps, paths, 0, count);
      decode(context, steps, paths, 0, count, proxies, looking);
    }
    return {{steps, static_cast<std::size_t>(count)}};
  }

  /// The training loss summed over the samples of a trajectory made with Looking::draw: a scalar.
  template <Context C, class O = bound::Sum>
  [[nodiscard]] VarOf<C> loss(C& context, const Trajectory<typename C::Scalar>& trajectory,
                              std::span<const std::int32_t> labels, const BasicSaccaderLoss<O>& weights) const {
    static_assert(
        bound::Objective<O, C>,
        "fovea::model: an objective is called objective(context, terms) and returns a loss per sample, a Var of shape "
        "[B]: see bound/terms.hpp");
    using T = typename C::Scalar;
    const auto count = static_cast<double>(trajectory.steps.size());
    const VarOf<C> zero = zeros(context, static_cast<Index>(labels.size()));
    bound::Terms<T> terms{zero, zero, zero};
    VarOf<C> aids = zero;
    for (const Step<T>& step : trajectory.steps) {
      const bool last = &step == &trajectory.steps.back();
      const VarOf<C> loss = last || weights.prefix > 0 ? nn::cross_entropy(context, step.logits, labels) : VarOf<C>{};
      if (last) terms.class_log_likelihood = nn::scale(context, T(-1), loss);
      if (weights.prefix > 0) aids = nn::axpy(context, static_cast<T>(weights.prefix / count), loss, aids);
      if (step.kl.value != nullptr) terms.kl = nn::add(context, terms.kl, step.kl);
      if (step.proxy_log_likelihood.value != nullptr) {
        terms.proxy_log_likelihood = nn::add(context, terms.proxy_log_likelihood, step.proxy_log_likelihood);
      }
      if (weights.evidence > 0 && step.attended.value != nullptr) {
        const VarOf<C> guess = nn::cross_entropy(context, (*evidence_head_)(context, step.attended), labels);
        aids = nn::axpy(context, static_cast<T>(weights.evidence / count), guess, aids);
      }
    }
    // Summed alone: an objective of several draws gives one loss for all of a sample.
    return nn::add(context, nn::sum(context, weights.objective(context, terms)), nn::sum(context, aids));
  }

  /// Looks at images, of any sizes, and answers for each. `arena` is not reset: reset it between calls, and a second call
  /// allocates nothing (but for what a file decodes). Throws Error on no image, and on other channels than the model's.
  template <ImageSource Source>
  [[nodiscard]] std::span<const Prediction> classify(std::span<const Source> images, const Parameters<float>& parameters,
                                                     Arena& arena, const Looking& looking = {}) const {
    const auto batch = static_cast<Index>(images.size());
    Inference<float> context(arena, parameters.values());
    const Var<float> proxies = context.constant(Shape{batch, options_.proxy[0], options_.proxy[1], options_.channels});
    for (Index b = 0; b < batch; ++b) proxy(images[static_cast<std::size_t>(b)], proxies.template mutable_values<4>()[b]);
    Looking answering = looking;
    answering.bound = false;
    const Trajectory<float> path = forward(context, proxies, images, answering);

    const Var<float> probabilities = nn::softmax(context, path.logits());
    const std::size_t steps = path.steps.size();
    auto* answers = arena.allocate<Prediction>(batch);
    auto* regions = arena.allocate<glimpse::Region<float>>(batch * static_cast<Index>(steps));
    for (Index b = 0; b < batch; ++b, regions += steps) {
      for (std::size_t t = 0; t < steps; ++t) {
        const float* r = path.steps[t].regions.value + 3 * b;
        regions[t] = {r[0], r[1], r[2]};
      }
      answers[b] = detail::prediction(probabilities, b, {regions, steps});
    }
    return {answers, images.size()};
  }
  /// The same for one image.
  template <ImageSource Source>
  [[nodiscard]] Prediction classify(const Source& image, const Parameters<float>& parameters, Arena& arena,
                                    const Looking& looking = {}) const {
    return classify(std::span<const Source>(&image, 1), parameters, arena, looking).front();
  }

 private:
  static SaccaderOptions checked(const SaccaderOptions& o) {
    require(o.classes >= 2, "saccader: at least 2 classes expected, ", o.classes, " came");
    require(o.channels >= 1, "saccader: at least 1 channel expected, ", o.channels, " came");
    require(std::min({o.proxy[0], o.proxy[1], o.glimpse[0], o.glimpse[1]}) >= 1,
            "saccader: a proxy and a glimpse of at least 1x1 expected, ", o.proxy[0], "x", o.proxy[1], " and ", o.glimpse[0],
            "x", o.glimpse[1], " came");
    require(o.steps >= 1 && o.steps <= SaccaderOptions::max_steps, "saccader: 1 to ", SaccaderOptions::max_steps,
            " steps expected, ", o.steps, " came");
    require(o.state >= 1 && o.location_features >= 1, "saccader: a state and location features of length 1 or more expected, ",
            o.state, " and ", o.location_features, " came");
    require(o.scale > 0 && o.scale <= 1, "saccader: a scale in (0, 1] expected, ", o.scale, " came");
    require(o.deviation > 0, "saccader: a positive deviation expected, ", o.deviation, " came");
    return o;
  }

  BasicSaccader(const SaccaderOptions& o, const Sampler& sampler, ParameterLayout layout)
      : options_(o),
        sampler_(sampler),
        layout_(std::move(layout)),
        perception_(layout_, o),
        policy_(layout_, "policy", perception_.map_features(), o.state, o.policy),
        prior_(layout_, "prior", o.state, 6, sizes(o)),
        location_features_(layout_, "location_features", 3, o.location_features, sizes(o)),
        decoder_(make_decoder(layout_, o)),
        glimpse_network_(detail::make_network<GlimpseNetwork>(layout_, "glimpse_network", o.glimpse,
                                                              glimpse::channels(sampler_, o.channels), sizes(o))),
        cell_(layout_, "cell", o.state + o.location_features + (o.closed_loop ? glimpse_network_.features() : 0), o.state),
        head_(layout_, "head", glimpse_network_.features() + (o.head_sees_state ? o.state : 0), o.classes, sizes(o)) {
    if (perception_.map_features() > 0) {
      evidence_head_.emplace(layout_, "evidence_head", perception_.map_features(), o.classes);
    }
  }

  /// Of a step, what later ones and the decoder need.
  template <class T>
  struct Path {
    Var<T> state;     ///< h_{t-1}, as the others see it
    Var<T> located;   ///< phi_z(z_t)
    Var<T> seen;      ///< phi_o(o_t)
    Var<T> evidence;  ///< of the steps up to this one, summed
  };

  static NetworkSizes sizes(const SaccaderOptions& o) noexcept { return {o.filters, o.state}; }

  static std::optional<typename Parts::Decoder> make_decoder(ParameterLayout& layout, const SaccaderOptions& o) {
    if (!o.decode_proxy) return std::nullopt;
    return typename Parts::Decoder(layout, "decoder", o.location_features + o.state, o.proxy[0] * o.proxy[1] * o.channels,
                                   sizes(o));
  }

  /// `member` of the steps [first, first + count), one minibatch after the other: [count B, ...].
  template <Context C, class S, class Member>
  [[nodiscard]] static VarOf<C> together(C& context, const S* steps, Index first, Index count, Member member) {
    std::array<VarOf<C>, static_cast<std::size_t>(SaccaderOptions::max_steps)> parts;
    for (Index i = 0; i < count; ++i) parts[static_cast<std::size_t>(i)] = steps[first + i].*member;
    return nn::concat_samples<C>(context, std::span<const VarOf<C>>(parts.data(), static_cast<std::size_t>(count)));
  }

  /// The glimpses of all steps, whose regions are known; an image in a file hears of all of them first.
  template <Context C, ImageSource Source>
  void look(C& context, std::span<const Source> images, Step<typename C::Scalar>* steps, Index count) const {
    using T = typename C::Scalar;
    if constexpr (!ImageInMemory<Source>) {
      std::array<glimpse::Region<T>, static_cast<std::size_t>(SaccaderOptions::max_steps)> regions{};
      for (std::size_t b = 0; b < images.size(); ++b) {
        for (Index t = 0; t < count; ++t) {
          const T* r = steps[t].regions.value + 3 * b;
          regions[static_cast<std::size_t>(t)] = {r[0], r[1], r[2]};
        }
        const std::span<const glimpse::Region<T>> all(regions.data(), static_cast<std::size_t>(count));
        glimpse::prepare(sampler_, images[b], all, options_.glimpse);
      }
    }
    for (Index t = 0; t < count; ++t) {
      steps[t].glimpse = sampler_(context, images, steps[t].regions, options_.glimpse);
    }
  }

  /// The glimpses of the steps [first, first + count) to what they show and say of the class.
  template <Context C>
  void recognise(C& context, Step<typename C::Scalar>* steps, Path<typename C::Scalar>* paths, Index first, Index count) const {
    using T = typename C::Scalar;
    const VarOf<C> seen = glimpse_network_(context, together(context, steps, first, count, &Step<T>::glimpse));
    const VarOf<C> evidence = head_.evidence(
        context,
        options_.head_sees_state ? nn::concat(context, {seen, together(context, paths, first, count, &Path<T>::state)}) : seen);
    const Index batch = seen.shape[0] / count;
    for (Index i = 0; i < count; ++i) {
      const Index t = first + i;
      paths[t].seen = nn::slice_samples(context, seen, i * batch, batch);
      const VarOf<C> more = nn::slice_samples(context, evidence, i * batch, batch);
      paths[t].evidence = t == 0 ? more : nn::add(context, paths[t - 1].evidence, more);
      steps[t].logits = head_.logits(context, paths[t].evidence, t + 1);
    }
  }

  /// log p(proxy | z_t, h_{t-1}) of the steps [first, first + count), where it is wanted.
  template <Context C>
  void decode(C& context, Step<typename C::Scalar>* steps, const Path<typename C::Scalar>* paths, Index first, Index count,
              VarOf<C> proxies, const Looking& looking) const {
    using T = typename C::Scalar;
    if (!decoder_ || !looking.bound) return;
    const VarOf<C> located = together(context, paths, first, count, &Path<T>::located);
    const VarOf<C> states = together(context, paths, first, count, &Path<T>::state);
    const VarOf<C> logits = (*decoder_)(context, nn::concat(context, {located, states}));
    const VarOf<C> pixels = nn::flatten(context, nn::detach(proxies));
    const Index batch = pixels.shape[0];
    for (Index i = 0; i < count; ++i) {
      steps[first + i].proxy_log_likelihood =
          nn::bernoulli_log_likelihood(context, nn::slice_samples(context, logits, i * batch, batch), pixels);
    }
  }

  template <Context C>
  [[nodiscard]] static VarOf<C> zeros(C& context, Index n) {
    const VarOf<C> zero = context.constant(Shape{n});
    std::fill_n(zero.value, n, typename C::Scalar{});
    return zero;
  }

  template <Context C>
  [[nodiscard]] sample::DiagonalGaussian<typename C::Scalar> prior(C& context, VarOf<C> state) const {
    const VarOf<C> both = prior_(context, state);
    return {nn::slice(context, both, 0, 3), nn::slice(context, both, 3, 3)};
  }

  template <Context C>
  [[nodiscard]] VarOf<C> posterior_deviation(C& context, Index batch, const Looking& looking) const {
    using T = typename C::Scalar;
    const double deviation = looking.deviation != 0 ? looking.deviation : options_.deviation;
    require(deviation > 0, "saccader: a positive deviation expected, ", deviation, " came");
    const VarOf<C> log_deviation = context.constant(Shape{batch, 3});
    std::fill_n(log_deviation.value, log_deviation.size(), static_cast<T>(std::log(deviation)));
    return log_deviation;
  }

  template <Context C>
  [[nodiscard]] VarOf<C> draw_noise(C& context, Index batch, Index count, const Looking& looking) const {
    if (!looking.draw) return {};
    const VarOf<C> noise = context.constant(Shape{batch, 3 * count});
    sample::fill_normal(looking.noise, noise.template mutable_values<2>());
    return noise;
  }

  /// z of a gaze that is not the policy's.
  template <Context C>
  [[nodiscard]] VarOf<C> fixed_gaze(C& context, Index batch, Index t, double scale, const Looking& looking) const {
    using T = typename C::Scalar;
    const VarOf<C> z = context.constant(Shape{batch, 3});
    for (Index b = 0; b < batch; ++b) {
      T x = 0;
      T y = 0;
      if (looking.gaze == Gaze::uniform) {
        Stream stream = looking.noise.stream(b);
        const auto room = static_cast<T>(1 - scale);
        for (Index i = 0; i <= t; ++i) {  // the t-th pair of the sample's stream
          x = stream.uniform(-room, room);
          y = stream.uniform(-room, room);
        }
      }
      const auto at = Parts::Locations::inverse({scale, static_cast<double>(x), static_cast<double>(y)}, scale);
      for (std::size_t k = 0; k < 3; ++k) z.value[3 * b + static_cast<Index>(k)] = static_cast<T>(at[k]);
    }
    return z;
  }

  SaccaderOptions options_;
  Sampler sampler_;
  ParameterLayout layout_;
  detail::Perception<ProxyNetwork> perception_;
  Policy policy_;
  typename Parts::Prior prior_;
  typename Parts::LocationNetwork location_features_;
  std::optional<typename Parts::Decoder> decoder_;
  GlimpseNetwork glimpse_network_;
  typename Parts::Cell cell_;
  typename Parts::Head head_;
  std::optional<nn::Dense> evidence_head_;  ///< where there is a map
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
