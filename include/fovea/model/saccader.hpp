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
#pragma once

#include <fovea/bound/sum.hpp>
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
#include <fovea/model/policy.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/pool.hpp>
#include <fovea/nn/recurrent.hpp>
#include <fovea/sample/gaussian.hpp>

#include <algorithm>
#include <cmath>
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
  double deviation = 0.02;        ///< of the posterior when training ends, in the units of z
  bool closed_loop = true;        ///< glimpses enter the state, so the next look depends on what was seen
  bool head_sees_state = false;   ///< the class is read off h_{t-1} too (published); else off the glimpses alone
  bool decode_proxy = true;       ///< the decoder exists, and with it the proxy's term of the bound
  PolicyOptions policy = {};

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
  /// Steps to take; 0: SaccaderOptions::steps.
  Index steps = 0;
};

/// One saccade. Where the gaze is not the policy's, posterior, prior, kl, and attention are empty.
template <class T>
struct Step {
  sample::DiagonalGaussian<T> posterior;
  sample::DiagonalGaussian<T> prior;
  Var<T> regions;               ///< [B, 3]: s, x, y
  Var<T> glimpse;               ///< [B, h, w, C]
  Var<T> kl;                    ///< [B]
  Var<T> proxy_log_likelihood;  ///< [B]; empty without a decoder
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

/// Weights of the terms of the training loss. `objective` is the bound; the other two are aids, not part of it.
struct SaccaderLoss {
  bound::Sum objective;
  /// Mean over t of the cross-entropy after t steps: every prefix of the glimpses should answer.
  double prefix = 1;
  /// Mean over t of the cross-entropy of the class from the proxy's features under the policy's attention. It teaches the
  /// attention to find what carries the class before any glimpse has; fades during training.
  double evidence = 0;
};

/// An answer; its arrays live in the arena given to classify().
struct Prediction {
  Index label = 0;
  std::span<const float> probabilities;             ///< per class, sum 1
  std::span<const glimpse::Region<float>> regions;  ///< in order of gaze
};

/// The model: holds slices of a parameter buffer, never storage, so it copies safely and is shared between threads.
template <MapNetwork ProxyNetwork = ConvMap, VectorNetwork GlimpseNetwork = ConvVector, class Policy = SoftArgmaxPolicy,
          class Sampler = glimpse::Antialiased>
class BasicSaccader {
 public:
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
    require(batch >= 1 && proxies.shape == expected, "saccader: proxies of shape ", expected.to_string(), " expected for ",
            batch, " images, ", proxies.shape.to_string(), " came");
    const Index count = looking.steps != 0 ? looking.steps : options_.steps;
    require(count >= 1 && count <= SaccaderOptions::max_steps, "saccader: 1 to ", SaccaderOptions::max_steps,
            " steps expected, ", count, " came");
    const double scale = looking.scale != 0 ? looking.scale : options_.scale;
    require(scale > 0 && scale <= 1, "saccader: a scale in (0, 1] expected, ", scale, " came");

    const VarOf<C> map = proxy_network_(context, proxies);
    const VarOf<C> features = nn::relu(context, proxy_features_(context, nn::global_average_pool(context, map)));
    VarOf<C> state = nn::tanh(context, initial_state_(context, features));
    const VarOf<C> noise = draw_noise(context, batch, count, looking);

    auto* steps = context.template scratch<Step<T>>(count);
    for (Index t = 0; t < count; ++t) {
      Step<T>& step = *::new (static_cast<void*>(steps + t)) Step<T>{};
      VarOf<C> z;
      if (looking.gaze == Gaze::policy) {
        const PolicyOutput<T> look = policy_(context, PolicyInput<T>{map, features, state, scale});
        step.posterior = {look.mean, posterior_deviation(context, batch, looking)};
        step.prior = prior(context, state);
        z = looking.draw ? sample::sample(context, step.posterior, nn::slice(context, noise, 3 * t, 3)) : look.mean;
        step.kl = sample::kl_divergence(context, step.posterior, step.prior);
        if (look.attention.value != nullptr) step.attended = nn::attention_pool(context, look.attention, map);
      } else {
        z = fixed_gaze(context, batch, t, scale, looking);
      }
      step.regions = nn::concat(context, {nn::exp(context, nn::slice(context, z, 0, 1)), nn::slice(context, z, 1, 2)});
      step.glimpse = sampler_(context, images, step.regions, options_.glimpse);

      const VarOf<C> seen = glimpse_network_(context, step.glimpse);
      const VarOf<C> evidence =
          options_.head_sees_state ? head_(context, nn::concat(context, {seen, state})) : head_(context, seen);
      step.logits = t == 0 ? evidence : nn::add(context, steps[t - 1].logits, evidence);

      const VarOf<C> located = nn::selu(context, location_features_(context, z));
      if (decoder_) {
        const VarOf<C> logits = (*decoder_)(context, nn::concat(context, {located, state}));
        step.proxy_log_likelihood = nn::bernoulli_log_likelihood(context, logits, nn::flatten(context, nn::detach(proxies)));
      }
      state = options_.closed_loop ? cell_(context, nn::concat(context, {features, located, seen}), state)
                                   : cell_(context, nn::concat(context, {features, located}), state);
    }
    return {{steps, static_cast<std::size_t>(count)}};
  }

  /// The training loss summed over the samples of a trajectory made with Looking::draw: a scalar.
  template <Context C>
  [[nodiscard]] VarOf<C> loss(C& context, const Trajectory<typename C::Scalar>& trajectory,
                              std::span<const std::int32_t> labels, const SaccaderLoss& weights) const {
    using T = typename C::Scalar;
    const auto count = static_cast<double>(trajectory.steps.size());
    const VarOf<C> zero = zeros(context, static_cast<Index>(labels.size()));
    bound::Terms<T> terms{zero, zero, zero};
    VarOf<C> aids = zero;
    for (const Step<T>& step : trajectory.steps) {
      const VarOf<C> loss = nn::cross_entropy(context, step.logits, labels);
      if (&step == &trajectory.steps.back()) terms.class_log_likelihood = nn::scale(context, T(-1), loss);
      if (weights.prefix > 0) aids = nn::axpy(context, static_cast<T>(weights.prefix / count), loss, aids);
      if (step.kl.value != nullptr) terms.kl = nn::add(context, terms.kl, step.kl);
      if (step.proxy_log_likelihood.value != nullptr) {
        terms.proxy_log_likelihood = nn::add(context, terms.proxy_log_likelihood, step.proxy_log_likelihood);
      }
      if (weights.evidence > 0 && step.attended.value != nullptr) {
        const VarOf<C> guess = nn::cross_entropy(context, evidence_head_(context, step.attended), labels);
        aids = nn::axpy(context, static_cast<T>(weights.evidence / count), guess, aids);
      }
    }
    return nn::sum(context, nn::add(context, weights.objective(context, terms), aids));
  }

  /// Looks at one image and answers. `image` holds at least the resolutions its regions need; `arena` is not reset: reset it
  /// between calls, and a second call allocates nothing.
  template <ImageSource Source>
  [[nodiscard]] Prediction classify(const Source& image, const Parameters<float>& parameters, Arena& arena,
                                    const Looking& looking = {}) const {
    Inference<float> context(arena, parameters.values());
    const Var<float> thumbnail = context.constant(Shape{1, options_.proxy[0], options_.proxy[1], options_.channels});
    proxy(image, thumbnail.template mutable_values<4>()[0]);
    const Trajectory<float> path = forward(context, thumbnail, std::span<const Source>(&image, 1), looking);

    const Var<float> probabilities = nn::softmax(context, path.logits());
    const auto* best = std::max_element(probabilities.value, probabilities.value + options_.classes);
    auto* regions = arena.allocate<glimpse::Region<float>>(static_cast<Index>(path.steps.size()));
    for (std::size_t t = 0; t < path.steps.size(); ++t) {
      const float* r = path.steps[t].regions.value;
      regions[t] = {r[0], r[1], r[2]};
    }
    return {best - probabilities.value,
            {probabilities.value, static_cast<std::size_t>(options_.classes)},
            {regions, path.steps.size()}};
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
        proxy_network_(layout_, "proxy_network", o.channels),
        proxy_features_(layout_, "proxy_features", proxy_network_.features(), o.state),
        initial_state_(layout_, "initial_state", o.state, o.state),
        policy_(layout_, "policy", proxy_network_.features(), o.state, o.policy),
        prior_(layout_, "prior", o.state, 6, {.weights = nn::constant(0)}),
        location_features_(layout_, "location_features", 3, o.location_features),
        decoder_(make_decoder(layout_, o)),
        glimpse_network_(layout_, "glimpse_network", o.glimpse, o.channels),
        cell_(layout_, "cell", o.state + o.location_features + (o.closed_loop ? glimpse_network_.features() : 0), o.state),
        head_(layout_, "head", glimpse_network_.features() + (o.head_sees_state ? o.state : 0), o.classes),
        evidence_head_(layout_, "evidence_head", proxy_network_.features(), o.classes) {}

  static std::optional<nn::Dense> make_decoder(ParameterLayout& layout, const SaccaderOptions& o) {
    if (!o.decode_proxy) return std::nullopt;
    return nn::Dense(layout, "decoder", o.location_features + o.state, o.proxy[0] * o.proxy[1] * o.channels);
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
      z.value[3 * b] = static_cast<T>(std::log(scale));
      z.value[3 * b + 1] = x;
      z.value[3 * b + 2] = y;
    }
    return z;
  }

  SaccaderOptions options_;
  Sampler sampler_;
  ParameterLayout layout_;
  ProxyNetwork proxy_network_;
  nn::Dense proxy_features_;
  nn::Dense initial_state_;
  Policy policy_;
  nn::Dense prior_;
  nn::Dense location_features_;
  std::optional<nn::Dense> decoder_;
  GlimpseNetwork glimpse_network_;
  nn::GruCell cell_;
  nn::Dense head_;
  nn::Dense evidence_head_;
};

/// The saccader with the library's default networks.
using Saccader = BasicSaccader<>;

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
