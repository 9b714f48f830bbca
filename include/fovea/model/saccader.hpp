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
/// These are the defaults; every network, the sampler, the distribution of z and its coordinates, the cell and the head are
/// template parameters, the objective and the estimator are arguments. Saccader::reference() has the published ones.
///
/// A policy that chooses among places (AttentionPolicy, small regions) does so in front of q: c_t ~ Cat(attention), z_t ~
/// N(place of c_t, deviation), of which the divergence from a uniform choice is a part of the KL. What the choice is credited
/// with is the evidence it led to: with E the sum of what the looks say, e_t, the log-probability of c_t gets the gradient
/// <e_t - mean of the shard's other samples, d loss / d E>: the score function estimator of sample/attention_sampling.hpp,
/// along time.
#pragma once

#include <fovea/bound/divergence.hpp>
#include <fovea/bound/multi_sample.hpp>
#include <fovea/bound/sum.hpp>
#include <fovea/bound/terms.hpp>
#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/salience.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/source_reference.hpp>
#include <fovea/model/credit.hpp>
#include <fovea/model/early_exit.hpp>
#include <fovea/model/gaze.hpp>
#include <fovea/model/location.hpp>
#include <fovea/model/model.hpp>
#include <fovea/model/networks.hpp>
#include <fovea/model/parts.hpp>
#include <fovea/model/perception.hpp>
#include <fovea/model/policy.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/model/saccader_options.hpp>
#include <fovea/model/task.hpp>
#include <fovea/model/trajectory.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/pool.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/nn/stack.hpp>
#include <fovea/sample/estimator.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/pathwise.hpp>
#include <fovea/sample/score_function.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// `ProxyNetwork` gives a map or a vector; `Parts`: model/parts.hpp.
template <class ProxyNetwork = ConvMap, VectorNetwork GlimpseNetwork = ConvVector, class Policy = AttentionPolicy,
          class Sampler = glimpse::Antialiased, class Parts = DefaultParts>
  requires(MapNetwork<ProxyNetwork> || VectorNetwork<ProxyNetwork>)
class BasicSaccader;

/// The saccader with the library's default networks.
using Saccader = BasicSaccader<>;

/// The published saccader (docs/reference.md), as Saccader::reference() builds it.
template <class Sampler = glimpse::Antialiased>
using ReferenceSaccader = BasicSaccader<Resized<ResidualVector>, ResidualVector, GaussianPolicy, Sampler, ReferenceParts>;
/// The same without what is mended, as Saccader::published() builds it.
using PublishedSaccader =
    BasicSaccader<Resized<ResidualVector>, ResidualVector, DenseGaussianPolicy<false>, glimpse::Bilinear, PublishedParts>;

/// The model: holds slices of a parameter buffer, never storage, so it copies safely and is shared between threads.
template <class ProxyNetwork, VectorNetwork GlimpseNetwork, class Policy, class Sampler, class Parts>
  requires(MapNetwork<ProxyNetwork> || VectorNetwork<ProxyNetwork>)
class BasicSaccader {
  using Location = typename Parts::Location;
  template <class T>
  using CellState = decltype(std::declval<const typename Parts::Cell&>().start(std::declval<Tape<T>&>(), Index{}, Var<T>{}));

 public:
  /// The distributions over the location, of a scalar T.
  template <class T>
  using Posterior = decltype(std::declval<const Location&>().posterior(std::declval<Tape<T>&>(),
                                                                       std::declval<const PolicyOutput<T>&>(), Var<T>{}));
  template <class T>
  using Prior = decltype(std::declval<const Location&>().prior(std::declval<Tape<T>&>(), Var<T>{}));
  template <class T>
  using Step = BasicStep<T, Posterior<T>, Prior<T>>;
  template <class T>
  using Trajectory = BasicTrajectory<Step<T>>;

  /// The published networks and sizes:
  ///
  ///     const auto model = model::Saccader::reference({.classes = 10});
  ///
  /// What differs from the published code, and why, is docs/reference.md. Throws Error as the constructor does.
  template <class S = glimpse::Antialiased>
  [[nodiscard]] static ReferenceSaccader<S> reference(const ReferenceOptions& options = {}, const S& sampler = {}) {
    return ReferenceSaccader<S>(options.options(), sampler);
  }
  /// As the published code answers, for comparison: a scale that is never learned, one number for log-variance and
  /// deviation, bilinear reads without a filter. Its objective is bound::Product{1 / T, kl_reg / T}.
  [[nodiscard]] static PublishedSaccader published(const ReferenceOptions& options = {}) {
    return PublishedSaccader(options.options(), glimpse::Bilinear{.align_corners = true});
  }

  /// Throws Error on options that contradict themselves.
  explicit BasicSaccader(const SaccaderOptions& options, const Sampler& sampler = {})
      : BasicSaccader(checked(options), sampler, ParameterLayout{}) {}

  [[nodiscard]] const SaccaderOptions& options() const noexcept { return options_; }
  /// Names, shapes and starting values of the parameters, for Parameters<T>.
  [[nodiscard]] const ParameterLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const Sampler& sampler() const noexcept { return sampler_; }

  /// proxies [B, h, w, C] in [0, 1], images: B sources of C channels. On a tape both must stay until backward() has run.
  /// Looking::exit is for batches of one. Throws Error on other shapes.
  template <Context C, ImageSource Source>
  [[nodiscard]] Trajectory<typename C::Scalar> forward(C& context, VarOf<C> proxies, std::span<const Source> images,
                                                       const Looking& looking = {}) const {
    using T = typename C::Scalar;
    const auto batch = static_cast<Index>(images.size());
    require_proxies(proxies, batch);
    Index count = steps_of(looking);
    const bool exits = looking.exit.rule != ExitRule::never;
    looking.exit.check();
    require(!exits || batch == 1, "saccader: one image expected where a pass may stop early, ", batch, " came");
    const bool at_once = !options_.closed_loop && !exits;  // no look depends on what was seen

    const Scene<T> scene = perceive(context, proxies, looking);
    auto state = begin(context, scene, looking);
    auto* steps = context.template scratch<Step<T>>(count);
    auto* paths = context.template scratch<Path<T>>(count);
    auto* regions = context.template scratch<Var<T>>(count);
    for (Index t = 0; t < count; ++t) {
      Step<T>& step = *::new (static_cast<void*>(steps + t)) Step<T>{};
      Path<T>& path = *::new (static_cast<void*>(paths + t)) Path<T>{};
      path.state = cell_.output(context, state);
      if (scene.gaze == Gaze::policy) {
        step.look = aim(context, scene, path.state, {regions, static_cast<std::size_t>(t)}, looking, t);
        step.posterior = location_.posterior(context, step.look, scene.log_deviation);
        const VarOf<C> drawn =
            looking.draw ? draw(context, step.posterior, location_noise(looking, t)) : mode(context, step.posterior);
        step.z = location_.coordinates(context, step.look, step.posterior, drawn);
        if (looking.bound) {
          step.prior = location_.prior(context, prior_(context, path.state));
          step.kl = divergence(context, step.posterior, step.prior, drawn, looking.kl_of_draw);
          if (step.look.choice_kl.value != nullptr) step.kl = nn::add(context, step.kl, step.look.choice_kl);
        }
        if (step.look.attention.value != nullptr)
          step.attended = nn::attention_pool(context, step.look.attention, scene.seen.map);
      } else {
        step.z = fixed_gaze(context, batch, t, count, scene, looking);
      }
      step.regions = typename Parts::Coordinates{}(context, step.z, scene.scale);
      ::new (static_cast<void*>(regions + t)) Var<T>(step.regions);
      path.located = nn::selu(context, location_features_(context, step.z));
      if (!at_once) {
        step.glimpse = sampler_(context, images, step.regions, options_.glimpse);
        recognise(context, steps, paths, t, 1);
        decode(context, steps, paths, t, 1, proxies, looking);
        if (exits && stops(context, step, looking, t + 1)) count = t + 1;
      }
      if (t + 1 == count) break;  // nobody sees the next state
      state = cell_.next(context, heard(context, scene.seen.features, path.located, path.seen), state);
    }
    if (at_once) {
      look(context, images, steps, count);
      recognise(context, steps, paths, 0, count);
      decode(context, steps, paths, 0, count, proxies, looking);
    }
    return {{steps, static_cast<std::size_t>(count)}};
  }

  /// The training loss summed over the samples of a trajectory made with Looking::draw: a scalar.
  template <Context C, class O = bound::Sum>
  [[nodiscard]] VarOf<C> loss(C& context, const Trajectory<typename C::Scalar>& trajectory,
                              const Targets<typename C::Scalar>& targets, const BasicSaccaderLoss<O>& weights) const {
    require_objective<C, O>();
    using T = typename C::Scalar;
    Account<T> account = nothing_yet(context, targets.samples());
    const auto count = static_cast<Index>(trajectory.steps.size());
    for (Index t = 0; t < count; ++t) {
      enter(context, account, trajectory.steps[static_cast<std::size_t>(t)], targets, weights, t, count);
    }
    // Summed alone: an objective of several draws gives one loss for all of a sample.
    return nn::add(context, nn::sum(context, weights.objective(context, account.terms)), nn::sum(context, account.aids));
  }
  /// The same of class labels.
  template <Context C, class O = bound::Sum>
  [[nodiscard]] VarOf<C> loss(C& context, const Trajectory<typename C::Scalar>& trajectory,
                              std::span<const std::int32_t> labels, const BasicSaccaderLoss<O>& weights) const {
    return loss(context, trajectory, Targets<typename C::Scalar>(labels), weights);
  }

  /// What every model has (model/model.hpp): the loss of a shard, looking and weighing as at the end of training.
  /// train::Curriculum has a curriculum.
  template <Context C, ImageSource Source>
  [[nodiscard]] Outcome<typename C::Scalar> loss(C& context, const Minibatch<typename C::Scalar, Source>& minibatch,
                                                 const Moment& moment) const {
    Looking looking;
    looking.draw = true;
    looking.noise = moment.noise;
    return outcome(context, minibatch, looking, SaccaderLoss{});
  }
  template <Context C, ImageSource Source, class O>
  [[nodiscard]] Outcome<typename C::Scalar> outcome(C& context, const Minibatch<typename C::Scalar, Source>& minibatch,
                                                    const Looking& looking, const BasicSaccaderLoss<O>& weights) const {
    const auto path = forward(context, minibatch.proxies, minibatch.images, looking);
    return {loss(context, path, minibatch.targets, weights), path.logits()};
  }

  /// The same loss with any estimator of sample/ for the gradient through every location: z_t is drawn by the estimator, and
  /// the cost it is given is what the looks from t on come to, so that each look is credited with all that follows. An
  /// estimator of K draws makes K^t rows of a sample by step t: those that need several are for few steps. forward() with
  /// loss() is the pathwise gradient, in one pass. Looking::gaze must be the policy's. Objectives of several draws are not for
  /// this.
  template <Context C, ImageSource Source, class O, class E>
  [[nodiscard]] Outcome<typename C::Scalar> estimate(C& context, const Minibatch<typename C::Scalar, Source>& minibatch,
                                                     const Looking& looking, const BasicSaccaderLoss<O>& weights,
                                                     const E& estimator) const {
    require_objective<C, O>();
    using T = typename C::Scalar;
    const auto batch = static_cast<Index>(minibatch.images.size());
    require_proxies(minibatch.proxies, batch);
    require(looking.gaze.value_or(options_.gaze) == Gaze::policy, "saccader: an estimator needs a gaze that is the policy's");
    auto* images = context.template scratch<SourceReference<Source>>(batch);
    for (Index b = 0; b < batch; ++b) {
      ::new (static_cast<void*>(images + b)) SourceReference<Source>(minibatch.images[static_cast<std::size_t>(b)]);
    }
    Rollout<T, Source> rollout{perceive(context, minibatch.proxies, looking),
                               {images, minibatch.images.size()},
                               minibatch.targets,
                               minibatch.proxies,
                               {},
                               {},
                               {},
                               nothing_yet(context, batch)};
    rollout.state = begin(context, rollout.scene, looking);
    VarOf<C> logits;
    const VarOf<C> cost = cost_from(context, rollout, 0, looking, weights, estimator, batch, logits);
    return {nn::sum(context, cost), logits};
  }

  /// Dreams: from the prior instead of an image, step by step, as a VRNN generates (J. Chung et al., "A recurrent latent
  /// variable model for sequential data", NIPS 2015). z_t ~ p(z_t | h_{t-1}), the proxy is the mean of the decoder's, and h_t
  /// goes on from that proxy, z_t and, in closed loop, a glimpse of that proxy in place of an image. h_0 is the cell's own,
  /// without a proxy. `samples` dreams of `steps` steps (0: SaccaderOptions::steps). Throws Error without a decoder.
  template <Context C>
  [[nodiscard]] std::span<const Dream<typename C::Scalar>> generate(C& context, Index samples, const sample::NoiseKey& noise,
                                                                    Index steps = 0) const {
    using T = typename C::Scalar;
    require(decoder_.has_value(),
            "saccader: a decoder expected (SaccaderOptions::decode_proxy), there is none to generate with");
    require(samples >= 1, "saccader: at least 1 sample expected, ", samples, " came");
    static_assert(std::is_same_v<Posterior<T>, Prior<T>> && !Location::wants_places,
                  "fovea::model: only locations over places generate; cells want the map of a proxy");
    Looking looking;
    looking.steps = steps;
    const Index count = steps_of(looking);
    const Shape pictures{samples, options_.proxy[0], options_.proxy[1], options_.channels};
    auto* dreams = context.template scratch<Dream<T>>(count);
    auto* views = context.template scratch<PyramidView<T>>(samples);
    auto state = cell_.start(context, samples, VarOf<C>{});
    for (Index t = 0; t < count; ++t) {
      Dream<T>& dream = *::new (static_cast<void*>(dreams + t)) Dream<T>{};
      const VarOf<C> h = cell_.output(context, state);
      const Prior<T> p = location_.prior(context, prior_(context, h));
      dream.z =
          location_.coordinates(context, PolicyOutput<T>{}, p, draw(context, p, noise.fork(static_cast<std::uint64_t>(t))));
      dream.regions = typename Parts::Coordinates{}(context, dream.z, options_.scale);
      const VarOf<C> located = nn::selu(context, location_features_(context, dream.z));
      dream.proxy = nn::sigmoid(context, (*decoder_)(context, nn::concat(context, {located, h}))).reshape(pictures);
      if (t + 1 == count) break;
      const detail::Perceived<T> seen = perception_(context, dream.proxy);
      VarOf<C> glimpsed;
      if (options_.closed_loop) {
        for (Index b = 0; b < samples; ++b) {
          ::new (static_cast<void*>(views + b)) PyramidView<T>(dream.proxy.template values<4>()[b]);
        }
        const std::span<const PyramidView<T>> images(views, static_cast<std::size_t>(samples));
        glimpsed = glimpse_network_(context, sampler_(context, images, dream.regions, options_.glimpse));
      }
      state = cell_.next(context, heard(context, seen.features, located, glimpsed), state);
    }
    return {dreams, static_cast<std::size_t>(count)};
  }

  /// Looks at images, of any sizes, and answers for each. `arena` is not reset: reset it between calls, and a second call
  /// allocates nothing (but for what a file decodes). Throws Error on no image, and on other channels than the model's.
  template <ImageSource Source>
  [[nodiscard]] std::span<const Prediction> classify(std::span<const Source> images, const Parameters<float>& parameters,
                                                     Arena& arena, const Looking& looking = {}) const {
    require(!images.empty(), "saccader: at least one image expected");
    // Who may stop early does so alone.
    const std::size_t together = looking.exit.rule == ExitRule::never ? images.size() : 1;
    auto* answers = arena.allocate<Prediction>(static_cast<Index>(images.size()));
    for (std::size_t first = 0; first < images.size(); first += together) {
      classify_together(images.subspan(first, together), parameters, arena, looking, answers + first);
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
  static SaccaderOptions checked(SaccaderOptions o) {
    const Index least = o.question.task == Task::numbers ? 1 : 2;
    require(o.classes >= least, "saccader: at least ", least, " classes expected, ", o.classes, " came");
    o.question.check(o.classes);
    require(o.channels >= 1, "saccader: at least 1 channel expected, ", o.channels, " came");
    require(std::min({o.proxy[0], o.proxy[1], o.glimpse[0], o.glimpse[1]}) >= 1,
            "saccader: a proxy and a glimpse of at least 1x1 expected, ", o.proxy[0], "x", o.proxy[1], " and ", o.glimpse[0],
            "x", o.glimpse[1], " came");
    require(o.steps >= 1 && o.steps <= SaccaderOptions::max_steps, "saccader: 1 to ", SaccaderOptions::max_steps,
            " steps expected, ", o.steps, " came");
    require(o.state >= 1 && o.location_features >= 1, "saccader: a state and location features of length 1 or more expected, ",
            o.state, " and ", o.location_features, " came");
    require(o.scale > 0 && o.scale <= 1, "saccader: a scale in (0, 1] expected, ", o.scale, " came");
    require(o.deviation >= 0, "saccader: a deviation of at least 0 expected, ", o.deviation, " came");
    require(o.initial_noise >= 0, "saccader: an initial noise of at least 0 expected, ", o.initial_noise, " came");
    if (o.deviation == 0) o.deviation = o.scale / 18;
    return o;
  }

  BasicSaccader(const SaccaderOptions& o, const Sampler& sampler, ParameterLayout layout)
      : options_(o),
        sampler_(sampler),
        layout_(std::move(layout)),
        perception_(layout_, o),
        policy_(layout_, "policy", perception_.map_features(), o.state, o.scale, o.policy),
        prior_(layout_, "prior", o.state, Location::prior_parameters(perception_.places()), sizes(o)),
        location_features_(layout_, "location_features", 3, o.location_features, sizes(o)),
        decoder_(make_decoder(layout_, o)),
        glimpse_network_(detail::make_network<GlimpseNetwork>(layout_, "glimpse_network", o.glimpse,
                                                              glimpse::channels(sampler_, o.channels), sizes(o))),
        cell_(layout_, "cell", o.state + o.location_features + (o.closed_loop ? glimpse_network_.features() : 0), o.state),
        head_(layout_, "head", glimpse_network_.features() + (o.head_sees_state ? o.state : 0), o.classes, sizes(o)) {
    if (perception_.map_features() > 0) {
      evidence_head_.emplace(layout_, "evidence_head", perception_.map_features(), o.classes);
    }
    if (o.state_baseline) baseline_.emplace(layout_, "baseline", o.state, 1);
  }

  /// Of a step, what later ones and the decoder need.
  template <class T>
  struct Path {
    Var<T> state;     ///< h_{t-1}, as the others see it
    Var<T> located;   ///< phi_z(z_t)
    Var<T> seen;      ///< phi_o(o_t)
    Var<T> evidence;  ///< of the steps up to this one, as the head adds it
  };

  /// What does not change from step to step.
  template <class T>
  struct Scene {
    detail::Perceived<T> seen;
    Var<T> log_deviation;  ///< asked for, [B, 3]
    double scale = 1;
    Gaze gaze = Gaze::policy;
  };

  /// What a loss is made of, so far.
  template <class T>
  struct Account {
    bound::Terms<T> terms;
    Var<T> aids;
  };

  /// Between two steps of an estimate, all rows of each sample.
  template <class T, class Source>
  struct Rollout {
    Scene<T> scene;
    std::span<const SourceReference<Source>> images;
    Targets<T> targets;
    Var<T> proxies;
    CellState<T> state;
    Var<T> evidence;
    std::span<const Var<T>> regions;
    Account<T> account;
  };

  static NetworkSizes sizes(const SaccaderOptions& o) noexcept { return {o.filters, o.state, o.steps}; }

  static std::optional<typename Parts::Decoder> make_decoder(ParameterLayout& layout, const SaccaderOptions& o) {
    if (!o.decode_proxy) return std::nullopt;
    return typename Parts::Decoder(layout, "decoder", o.location_features + o.state, o.proxy[0] * o.proxy[1] * o.channels,
                                   sizes(o));
  }

  template <Context C, class O>
  static constexpr void require_objective() {
    static_assert(
        bound::Objective<O, C>,
        "fovea::model: an objective is called objective(context, terms) and returns a loss per sample, a Var of shape "
        "[B]: see bound/terms.hpp");
  }

  template <class T>
  void require_proxies(const Var<T>& proxies, Index batch) const {
    const Shape expected{batch, options_.proxy[0], options_.proxy[1], options_.channels};
    if (batch < 1 || !(proxies.shape == expected)) {
      fail("saccader: proxies of shape ", expected.to_string(), " expected for ", batch, " images, ", proxies.shape.to_string(),
           " came");
    }
  }

  [[nodiscard]] Index steps_of(const Looking& looking) const {
    const Index count = looking.steps != 0 ? looking.steps : options_.steps;
    require(count >= 1 && count <= SaccaderOptions::max_steps, "saccader: 1 to ", SaccaderOptions::max_steps,
            " steps expected, ", count, " came");
    return count;
  }

  // Of one step: where z_t lies, and which place was chosen before.
  static sample::NoiseKey location_noise(const Looking& looking, Index t) noexcept {
    return looking.noise.fork(2 * static_cast<std::uint64_t>(t));
  }
  static sample::NoiseKey choice_noise(const Looking& looking, Index t) noexcept {
    return looking.noise.fork(2 * static_cast<std::uint64_t>(t) + 1);
  }

  // ------------------------------------------------------------------------------------------------- the parts of a pass

  /// The proxies, once for all steps.
  template <Context C>
  [[nodiscard]] Scene<typename C::Scalar> perceive(C& context, VarOf<C> proxies, const Looking& looking) const {
    using T = typename C::Scalar;
    Scene<T> scene;
    scene.scale = looking.scale != 0 ? looking.scale : options_.scale;
    require(scene.scale > 0 && scene.scale <= 1, "saccader: a scale in (0, 1] expected, ", scene.scale, " came");
    scene.gaze = looking.gaze.value_or(options_.gaze);
    scene.seen = perception_(context, proxies);
    const Index batch = proxies.shape[0];
    if (scene.gaze == Gaze::policy) {
      const double deviation = looking.deviation != 0 ? looking.deviation : options_.deviation;
      require(deviation > 0, "saccader: a positive deviation expected, ", deviation, " came");
      scene.log_deviation = filled(context, Shape{batch, 3}, std::log(deviation));
      const Var<T>& map = scene.seen.map;
      if constexpr (requires { policy_.survey(context, map); }) scene.seen.survey = policy_.survey(context, map);
      if constexpr (requires { policy_.wants_salience(); }) {
        if (policy_.wants_salience()) {
          scene.seen.salience = context.constant(Shape{batch, map.shape[1] * map.shape[2]});
          for (Index b = 0; b < batch; ++b) {
            const View<T, 2> out(scene.seen.salience.value + b * map.shape[1] * map.shape[2], {map.shape[1], map.shape[2]});
            salience(proxies.template values<4>()[b], out, context.arena());
          }
          nn::trace(context, traced::Salience{{map.shape[1], map.shape[2]}}, scene.seen.salience, proxies);
        }
      }
    }
    return scene;
  }

  template <Context C>
  [[nodiscard]] CellState<typename C::Scalar> begin(C& context, const Scene<typename C::Scalar>& scene,
                                                    const Looking& looking) const {
    const Index batch = scene.seen.features.shape[0];
    const auto state = cell_.start(context, batch, scene.seen.state);
    if (!looking.draw || options_.initial_noise == 0) return state;
    std::uint64_t part = 2 * static_cast<std::uint64_t>(SaccaderOptions::max_steps);
    return cell_.map(state, [&](const VarOf<C>& x) {
      const VarOf<C> noise = sample::normal_noise(context, looking.noise.fork(part++), batch, x.shape[1]);
      return nn::axpy(context, static_cast<typename C::Scalar>(options_.initial_noise), noise, x);
    });
  }

  /// What the policy says, before anything is drawn but its choice.
  template <Context C>
  [[nodiscard]] PolicyOutput<typename C::Scalar> aim(C& context, const Scene<typename C::Scalar>& scene, VarOf<C> h,
                                                     std::span<const VarOf<C>> regions, const Looking& looking, Index t) const {
    using T = typename C::Scalar;
    const detail::Perceived<T>& seen = scene.seen;
    const PolicyOutput<T> said =
        policy_(context, PolicyInput<T>{seen.map, seen.salience, seen.survey, seen.features, h, scene.scale, regions,
                                        looking.draw, choice_noise(looking, t), Location::wants_places});
    const PolicyOutput<T> look = looking.policy_learns ? said : said.detached();
    require(!Location::wants_places || look.places.value != nullptr,
            "saccader: a policy that gives places expected, as its location is over them; this one has none");
    return look;
  }

  template <Context C, class Q, class P>
  [[nodiscard]] static VarOf<C> divergence(C& context, const Q& q, const P& p, VarOf<C> drawn, bool of_draw) {
    if constexpr (sample::HasDivergence<Q, P, C>) {
      if (!of_draw) return kl_divergence(context, q, p);
    }
    return bound::log_ratio(context, q, p, drawn);
  }

  /// What the cell hears of a step.
  template <Context C>
  [[nodiscard]] VarOf<C> heard(C& context, VarOf<C> features, VarOf<C> located, VarOf<C> seen) const {
    return options_.closed_loop ? nn::concat(context, {features, located, seen}) : nn::concat(context, {features, located});
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

  /// What glimpses show, phi_o, and say of the class, given the states they were taken in.
  template <Context C>
  [[nodiscard]] VarOf<C> evidence_of(C& context, VarOf<C> seen, VarOf<C> states) const {
    return head_.evidence(context, options_.head_sees_state ? nn::concat(context, {seen, states}) : seen);
  }

  /// The glimpses of the steps [first, first + count) to what they show and say of the class.
  template <Context C>
  void recognise(C& context, Step<typename C::Scalar>* steps, Path<typename C::Scalar>* paths, Index first, Index count) const {
    using T = typename C::Scalar;
    const VarOf<C> seen = glimpse_network_(context, together(context, steps, first, count, &Step<T>::glimpse));
    const VarOf<C> evidence = evidence_of(
        context, seen, options_.head_sees_state ? together(context, paths, first, count, &Path<T>::state) : VarOf<C>{});
    const Index batch = seen.shape[0] / count;
    for (Index i = 0; i < count; ++i) {
      const Index t = first + i;
      paths[t].seen = nn::slice_samples(context, seen, i * batch, batch);
      steps[t].evidence = nn::slice_samples(context, evidence, i * batch, batch);
      const VarOf<C> more = detail::credited(context, steps[t].evidence, steps[t].look.choice_log_probability);
      paths[t].evidence = head_.add(context, t == 0 ? VarOf<C>{} : paths[t - 1].evidence, more, t);
      steps[t].logits = head_.logits(context, paths[t].evidence, t + 1);
    }
  }

  /// The logits of p(proxy | z_t, h_{t-1}) [B, pixels], of phi_z(z_t) and h_{t-1}; samples may be several times over.
  template <Context C>
  [[nodiscard]] VarOf<C> decoded(C& context, VarOf<C> located, VarOf<C> states) const {
    return (*decoder_)(context, nn::concat(context, {located, states}));
  }

  /// log p(proxy | z_t, h_{t-1}) of the steps [first, first + count), where it is wanted.
  template <Context C>
  void decode(C& context, Step<typename C::Scalar>* steps, const Path<typename C::Scalar>* paths, Index first, Index count,
              VarOf<C> proxies, const Looking& looking) const {
    using T = typename C::Scalar;
    if (!decoder_ || !looking.bound) return;
    const VarOf<C> logits = decoded(context, together(context, paths, first, count, &Path<T>::located),
                                    together(context, paths, first, count, &Path<T>::state));
    const VarOf<C> pixels = nn::flatten(context, nn::detach(proxies));
    const Index batch = pixels.shape[0];
    for (Index i = 0; i < count; ++i) {
      steps[first + i].proxy_log_likelihood =
          nn::bernoulli_log_likelihood(context, nn::slice_samples(context, logits, i * batch, batch), pixels);
    }
  }

  template <Context C>
  [[nodiscard]] bool stops(C& context, const Step<typename C::Scalar>& step, const Looking& looking, Index taken) const {
    if constexpr (std::is_same_v<typename C::Scalar, float>) {
      const VarOf<C> answer = options_.question.answer(context, step.logits);
      const float* doubt = uncertainty(context, step);
      return looking.exit.stop({answer.value, static_cast<std::size_t>(answer.size())},
                               doubt != nullptr ? static_cast<double>(*doubt) : std::numeric_limits<double>::quiet_NaN(),
                               taken);
    } else {
      fail("saccader: only passes in float stop early");
    }
  }

  /// The entropy of what a look was taken from [B], in nats: of the attention over places where there is one, else of the
  /// posterior; null where there is none.
  template <Context C>
  [[nodiscard]] const typename C::Scalar* uncertainty(C& context, const Step<typename C::Scalar>& step) const {
    using T = typename C::Scalar;
    if (step.look.logits.value != nullptr) return sample::entropy(context, sample::Categorical<T>{step.look.logits}).value;
    if constexpr (sample::HasEntropy<Posterior<T>, C>) {
      if (step.look.mean.value != nullptr) return entropy(context, step.posterior).value;
    }
    return nullptr;
  }

  // ------------------------------------------------------------------------------------------------------------ the loss

  template <Context C>
  [[nodiscard]] Account<typename C::Scalar> nothing_yet(C& context, Index samples) const {
    const VarOf<C> zero = filled(context, Shape{samples}, 0);
    return {{zero, zero, zero}, zero};
  }

  /// Adds what step t of `count` comes to.
  template <Context C, class O>
  void enter(C& context, Account<typename C::Scalar>& account, const Step<typename C::Scalar>& step,
             const Targets<typename C::Scalar>& targets, const BasicSaccaderLoss<O>& weights, Index t, Index count) const {
    using T = typename C::Scalar;
    const bool last = t + 1 == count;
    const auto share = 1 / static_cast<double>(count);
    const VarOf<C> loss = last || weights.prefix > 0 ? options_.question.loss(context, step.logits, targets) : VarOf<C>{};
    if (last) account.terms.class_log_likelihood = nn::scale(context, T(-1), loss);
    const auto aid = [&](double weight, VarOf<C> of) {
      account.aids = nn::axpy(context, static_cast<T>(weight), of, account.aids);
    };
    if (weights.prefix > 0) aid(weights.prefix * share, loss);
    if (step.kl.value != nullptr) account.terms.kl = nn::add(context, account.terms.kl, step.kl);
    if (step.proxy_log_likelihood.value != nullptr) {
      account.terms.proxy_log_likelihood = nn::add(context, account.terms.proxy_log_likelihood, step.proxy_log_likelihood);
    }
    if (weights.evidence > 0 && step.attended.value != nullptr) {
      aid(weights.evidence * share, options_.question.loss(context, (*evidence_head_)(context, step.attended), targets));
    }
    if (weights.each_look > 0) {
      const VarOf<C> alone = head_.logits(context, head_.add(context, VarOf<C>{}, step.evidence, 0), 1);
      aid(weights.each_look * share, options_.question.loss(context, alone, targets));
    }
    if (weights.worth > 0 && step.look.worth.value != nullptr) {
      const VarOf<C> difference = nn::subtract(context, step.look.worth, told(context, nn::detach(step.evidence)));
      aid(0.5 * weights.worth * share, nn::multiply(context, difference, difference));
    }
    if constexpr (requires { bound::kl_to_standard_normal(context, step.prior); }) {
      if (weights.prior_to_normal > 0 && step.kl.value != nullptr) {
        aid(weights.prior_to_normal, bound::kl_to_standard_normal(context, step.prior));
      }
    } else {
      require(weights.prior_to_normal == 0, "saccader: a prior with a divergence from the standard normal expected");
    }
  }

  /// How much a look told [B], of its evidence, without a gradient.
  template <Context C>
  [[nodiscard]] VarOf<C> told(C& context, VarOf<C> evidence) const {
    using T = typename C::Scalar;
    if constexpr (requires { head_.told(context, evidence); }) {
      return nn::detach(head_.told(context, evidence));
    } else {
      require(options_.question.task == Task::one_class, "saccader: a worth of looks is defined for one class of several");
      const VarOf<C> alone = nn::detach(head_.logits(context, head_.add(context, VarOf<C>{}, evidence, 0), 1));
      const VarOf<C> entropy = sample::entropy(context, sample::Categorical<T>{alone});
      const VarOf<C> most = filled(context, entropy.shape, std::log(static_cast<double>(alone.shape[1])));
      return nn::detach(nn::subtract(context, most, entropy));
    }
  }

  /// Every row `copies` times.
  template <Context C, class Source>
  [[nodiscard]] Rollout<typename C::Scalar, Source> repeated(C& context, const Rollout<typename C::Scalar, Source>& rollout,
                                                             Index copies) const {
    using T = typename C::Scalar;
    if (copies == 1) return rollout;
    const auto again = [&](const VarOf<C>& x) { return x.value == nullptr ? x : nn::repeat_samples(context, x, copies); };
    Rollout<T, Source> out = rollout;
    out.scene.seen = rollout.scene.seen.each(again);
    out.scene.log_deviation = again(rollout.scene.log_deviation);
    const auto rows = static_cast<Index>(rollout.images.size()) * copies;
    auto* images = context.template scratch<SourceReference<Source>>(rows);
    for (Index r = 0; r < rows; ++r) {
      ::new (static_cast<void*>(images + r)) SourceReference<Source>(rollout.images[static_cast<std::size_t>(r / copies)]);
    }
    out.images = {images, static_cast<std::size_t>(rows)};
    out.targets = rollout.targets.repeated(context, copies);
    out.proxies = again(rollout.proxies);
    out.state = cell_.map(rollout.state, again);
    out.evidence = again(rollout.evidence);
    auto* regions = context.template scratch<Var<T>>(static_cast<Index>(rollout.regions.size()));
    for (std::size_t t = 0; t < rollout.regions.size(); ++t)
      ::new (static_cast<void*>(regions + t)) Var<T>(again(rollout.regions[t]));
    out.regions = {regions, rollout.regions.size()};
    out.account = {{again(rollout.account.terms.class_log_likelihood), again(rollout.account.terms.proxy_log_likelihood),
                    again(rollout.account.terms.kl)},
                   again(rollout.account.aids)};
    return out;
  }

  /// The cost of each row of the looks from t on, and all before. `logits`: the first answers come to, one for each sample.
  template <Context C, class Source, class O, class E>
  [[nodiscard]] VarOf<C> cost_from(C& context, const Rollout<typename C::Scalar, Source>& before, Index t,
                                   const Looking& looking, const BasicSaccaderLoss<O>& weights, const E& estimator, Index batch,
                                   VarOf<C>& logits) const {
    using T = typename C::Scalar;
    const Index count = steps_of(looking);
    const VarOf<C> h = cell_.output(context, before.state);
    Looking here = looking;  // a row is named by its number among all rows of the sample
    here.noise = looking.noise.repeated(static_cast<Index>(before.images.size()) / batch);
    const PolicyOutput<T> look = aim(context, before.scene, h, before.regions, here, t);
    const Posterior<T> q = location_.posterior(context, look, before.scene.log_deviation);
    const auto cost = [&](VarOf<C> drawn) -> VarOf<C> {
      const Index copies = drawn.shape[0] / q.batch();
      Rollout<T, Source> rows = repeated(context, before, copies);
      const auto again = [&](const VarOf<C>& x) { return x.value == nullptr ? x : nn::repeat_samples(context, x, copies); };
      Step<T> step;
      step.posterior = sample::repeat(context, q, copies);
      step.z = location_.coordinates(context, look, step.posterior, drawn);
      const VarOf<C> state = again(h);
      if (looking.bound) {
        step.prior = location_.prior(context, prior_(context, state));
        step.kl = divergence(context, step.posterior, step.prior, drawn, looking.kl_of_draw);
        if (look.choice_kl.value != nullptr) step.kl = nn::add(context, step.kl, again(look.choice_kl));
      }
      if (look.attention.value != nullptr)
        step.attended = again(nn::attention_pool(context, look.attention, before.scene.seen.map));
      step.regions = typename Parts::Coordinates{}(context, step.z, rows.scene.scale);
      step.glimpse = sampler_(context, rows.images, step.regions, options_.glimpse);
      const VarOf<C> seen = glimpse_network_(context, step.glimpse);
      step.evidence = evidence_of(context, seen, state);
      const VarOf<C> more = detail::credited(context, step.evidence, again(look.choice_log_probability));
      rows.evidence = head_.add(context, rows.evidence, more, t);
      step.logits = head_.logits(context, rows.evidence, t + 1);
      const VarOf<C> located = nn::selu(context, location_features_(context, step.z));
      if (decoder_ && looking.bound) {
        step.proxy_log_likelihood = nn::bernoulli_log_likelihood(context, decoded(context, located, state),
                                                                 nn::flatten(context, nn::detach(rows.proxies)));
      }
      enter(context, rows.account, step, rows.targets, weights, t, count);
      if (t + 1 == count) {
        if (logits.value == nullptr) {
          const Index each = step.logits.shape[0] / batch;
          logits = nn::detail::copies_of_samples(context, nn::detach(step.logits), batch, [each](Index b) { return b * each; });
        }
        return nn::add(context, weights.objective(context, rows.account.terms), rows.account.aids);
      }
      rows.state = cell_.next(context, heard(context, rows.scene.seen.features, located, seen), rows.state);
      auto* regions = context.template scratch<Var<T>>(t + 1);
      std::uninitialized_copy(rows.regions.begin(), rows.regions.end(), regions);
      ::new (static_cast<void*>(regions + t)) Var<T>(step.regions);
      rows.regions = {regions, static_cast<std::size_t>(t + 1)};
      return cost_from(context, rows, t + 1, looking, weights, estimator, batch, logits);
    };
    const sample::NoiseKey noise = location_noise(here, t);
    if constexpr (requires { estimator.with_prediction(h); }) {
      require(baseline_.has_value(), "saccader: a baseline expected (SaccaderOptions::state_baseline), there is none");
      const VarOf<C> prediction = (*baseline_)(context, nn::detach(h)).reshape(Shape{q.batch()});
      return estimator.with_prediction(prediction)(context, q, noise, cost);
    } else {
      return estimator(context, q, noise, cost);
    }
  }

  // ------------------------------------------------------------------------------------------------------------- answers

  template <ImageSource Source>
  void classify_together(std::span<const Source> images, const Parameters<float>& parameters, Arena& arena,
                         const Looking& looking, Prediction* answers) const {
    const auto batch = static_cast<Index>(images.size());
    Inference<float> context(arena, parameters.values());
    const Var<float> proxies = context.constant(Shape{batch, options_.proxy[0], options_.proxy[1], options_.channels});
    for (Index b = 0; b < batch; ++b) proxy(images[static_cast<std::size_t>(b)], proxies.template mutable_values<4>()[b]);
    Looking answering = looking;
    answering.bound = false;
    const Trajectory<float> path = forward(context, proxies, images, answering);

    const auto steps = static_cast<Index>(path.steps.size());
    bool doubted = false;
    auto* regions = arena.allocate<glimpse::Region<float>>(batch * steps);
    auto* doubts = arena.allocate<float>(batch * steps);
    auto* after = arena.allocate<float>(batch * steps * options_.classes);
    for (Index t = 0; t < steps; ++t) {
      const Step<float>& step = path.steps[static_cast<std::size_t>(t)];
      const Var<float> answer = options_.question.answer(context, step.logits);
      const float* doubt = uncertainty(context, step);
      doubted = doubt != nullptr;
      for (Index b = 0; b < batch; ++b) {
        const float* r = step.regions.value + 3 * b;
        regions[b * steps + t] = {r[0], r[1], r[2]};
        if (doubt != nullptr) doubts[b * steps + t] = doubt[b];
        std::copy_n(answer.value + b * options_.classes, options_.classes, after + (b * steps + t) * options_.classes);
      }
    }
    const auto size = static_cast<std::size_t>(steps);
    const auto classes = static_cast<std::size_t>(options_.classes);
    for (Index b = 0; b < batch; ++b) {
      const std::span<const float> all(after + b * steps * options_.classes, size * classes);
      const std::span<const float> last = all.last(classes);
      answers[b] = {std::max_element(last.begin(), last.end()) - last.begin(),
                    last,
                    {regions + b * steps, size},
                    all,
                    doubted ? std::span<const float>(doubts + b * steps, size) : std::span<const float>()};
    }
  }

  template <Context C>
  [[nodiscard]] static VarOf<C> filled(C& context, const Shape& shape, double value) {
    const VarOf<C> x = context.constant(shape);
    std::fill_n(x.value, x.size(), static_cast<typename C::Scalar>(value));
    return x;
  }

  /// z of a gaze that is not the policy's.
  template <Context C>
  [[nodiscard]] static VarOf<C> fixed_gaze(C& context, Index batch, Index t, Index count,
                                           const Scene<typename C::Scalar>& scene, const Looking& looking) {
    const VarOf<C> z = context.constant(Shape{batch, 3});
    for (Index b = 0; b < batch; ++b) {
      const glimpse::Region<double> region = fixed_region(scene.gaze, scene.scale, t, count, looking.noise.stream(b));
      const auto at = Parts::Coordinates::inverse(region, scene.scale);
      for (std::size_t k = 0; k < 3; ++k) z.value[3 * b + static_cast<Index>(k)] = static_cast<typename C::Scalar>(at[k]);
    }
    return z;
  }

  SaccaderOptions options_;
  Sampler sampler_;
  ParameterLayout layout_;
  detail::Perception<ProxyNetwork> perception_;
  Policy policy_;
  Location location_;
  typename Parts::Prior prior_;
  typename Parts::LocationNetwork location_features_;
  std::optional<typename Parts::Decoder> decoder_;
  GlimpseNetwork glimpse_network_;
  typename Parts::Cell cell_;
  typename Parts::Head head_;
  std::optional<nn::Dense> evidence_head_;  ///< where there is a map
  std::optional<nn::Dense> baseline_;       ///< of the cost, where it is wanted
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
