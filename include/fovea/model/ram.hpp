// SPDX-License-Identifier: MIT
/// \file
/// RAM: a recurrent network that sees an image through a retina, and learns by trial and error where to point it.
///
/// V. Mnih, N. Heess, A. Graves, K. Kavukcuoglu, "Recurrent models of visual attention", NIPS 2014. There is no proxy and no
/// derivative of the pixels in the location: what is learned about looking is learned from whether the answer was right.
///
///     o_t = retina(x, l_t)                            scales of one centre, the finest in pixels of the image
///     g_t = relu(W [relu(W o_t), relu(W l_t)])        128 and 128 to 256 units
///     h_t = relu(W [g_t, h_{t-1}])                    h_0 = 0: the core of the paper's classification experiments
///     l_t ~ N(tanh(W relu(W h_{t-1})), deviation^2)   the mean itself when answering
///     p(y | o_1..T) = softmax(W h_T)
///
/// Glimpse network, core and head learn from the cross-entropy; the location network by REINFORCE alone
/// (sample::weighted_score), the reward being 1 for a right answer and else 0, with a learned baseline that reads the same
/// h_{t-1} (sample::LearnedBaseline). The value of the loss of a sample is its cross-entropy, and `score_weight` more where the
/// answer is wrong.
///
/// What differs from the paper:
/// - The location network has a hidden layer and a tanh, where the paper's is linear; neither it nor the baseline sends a
///   gradient into h. Re-implementations found both to matter.
/// - A location drawn beyond the edge of the image is looked at on the edge; its density is that of the draw, so that the
///   estimate stays unbiased.
/// - The first location is uniform over the image in training and its centre when answering.
/// - The coarser scales of the retina are averaged from a pyramid (glimpse::Retina over glimpse::Antialiased).
/// - The reward's part has a weight, 1 in the paper: the score is of order 1 / deviation, and where the gradient is clipped by
///   its norm would leave little of the rest.
/// - For a Task without a right answer, the cost that the reward stands for is the loss itself.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/glimpse/retina.hpp>
#include <fovea/glimpse/sampler.hpp>
#include <fovea/image/source.hpp>
#include <fovea/model/model.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/model/task.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/initialisers.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/sample/estimator.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/noise.hpp>
#include <fovea/sample/score_function.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <new>
#include <span>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace model {

struct RamOptions {
  Index classes = 10;         ///< K: at least 2, or 1 where the task is not one_class
  Index channels = 1;         ///< of the image
  Index glimpse = 12;         ///< samples on a side of each scale of the retina
  Index patch = 0;            ///< pixels of the image on a side of the finest scale; 0: as many as samples, as in the paper
  Index steps = 6;            ///< T, 1 to max_steps
  Index features = 128;       ///< units for what is seen, as many for where, and in the hidden layer of the location network
  Index state = 256;          ///< length of g and h
  double deviation = 0.15;    ///< of a location around its mean in training, in the units of locations
  double score_weight = 0.1;  ///< of the reward's part of the loss
  Question question = {};

  static constexpr Index max_steps = 64;
};

/// `Sampler`: the retina, glimpse::Retina<Base, scales>, or any isotropic sampler whose region is (s, x, y).
template <class Sampler = glimpse::Retina<glimpse::Antialiased, 3>>
class BasicRam {
 public:
  /// Throws Error on options that contradict themselves.
  explicit BasicRam(const RamOptions& options, const Sampler& sampler = {}) : BasicRam(options, sampler, ParameterLayout{}) {}

  [[nodiscard]] const RamOptions& options() const noexcept { return options_; }
  [[nodiscard]] const ParameterLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const Sampler& sampler() const noexcept { return sampler_; }

  // ------------------------------------------------------------------------------------------------------------ the parts

  /// h_0 [B, S]: zeros.
  template <Context C>
  [[nodiscard]] VarOf<C> start(C& context, Index batch) const {
    return zeros(context, Shape{batch, options_.state});
  }
  /// h_t [B, S] after a look at `locations` [B, 2], as (x, y), from the state before it. `images`: B sources, of any sizes; on
  /// a tape they must stay until backward() has run. No gradient goes to the locations through the pixels.
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> look(C& context, std::span<const Source> images, VarOf<C> locations, VarOf<C> state) const {
    using T = typename C::Scalar;
    const auto batch = static_cast<Index>(images.size());
    require(batch >= 1 && locations.shape == Shape{batch, 2}, "ram: a location for each of ", batch,
            " images expected, a shape ", locations.shape.to_string(), " came");
    return context.scope([&] {
      const VarOf<C> regions = context.constant(Shape{batch, 3});
      for (Index b = 0; b < batch; ++b) {
        const T* at = locations.value + 2 * b;
        const glimpse::Region<T> r = region(images[static_cast<std::size_t>(b)], at[0], at[1]);
        std::copy_n(std::array<T, 3>{r.s, r.x, r.y}.data(), 3, regions.value + 3 * b);
      }
      const VarOf<C> pixels = sampler_(context, images, regions, {options_.glimpse, options_.glimpse});
      const VarOf<C> what = nn::relu(context, what_(context, nn::flatten(context, pixels)));
      const VarOf<C> where = nn::relu(context, where_(context, locations));
      const VarOf<C> seen = nn::relu(context, glimpse_(context, nn::concat(context, {what, where})));
      return nn::relu(context, core_(context, nn::concat(context, {seen, state})));
    });
  }
  /// Where to look next: the distribution of locations [B, 2], without a gradient to `state` [B, S].
  template <Context C>
  [[nodiscard]] sample::DiagonalGaussian<typename C::Scalar> policy(C& context, VarOf<C> state) const {
    using T = typename C::Scalar;
    const VarOf<C> hidden = nn::relu(context, location_hidden_(context, nn::detach(state)));
    const VarOf<C> mean = nn::tanh(context, location_(context, hidden));
    const VarOf<C> log_deviation = context.constant(mean.shape);
    std::fill_n(log_deviation.value, log_deviation.size(), static_cast<T>(std::log(options_.deviation)));
    return {mean, log_deviation};
  }
  /// The cost that is to be expected in `state` [B, S]: [B], without a gradient to the state.
  template <Context C>
  [[nodiscard]] VarOf<C> expected_cost(C& context, VarOf<C> state) const {
    return nn::reshape(context, baseline_(context, nn::detach(state)), Shape{state.shape[0]});
  }
  /// [B, K] of a state [B, S].
  template <Context C>
  [[nodiscard]] VarOf<C> logits(C& context, VarOf<C> state) const {
    return head_(context, state);
  }
  /// What the finest scale sees of an image at (x, y).
  template <ImageSource Source, class T>
  [[nodiscard]] glimpse::Region<T> region(const Source& image, T x, T y) const {
    const Extents<2> extent = image.extent();
    return {static_cast<T>(patch()) / static_cast<T>(std::max(extent[0], extent[1])), x, y};
  }

  // --------------------------------------------------------------------------------------------------- training, answering

  /// The training loss, on locations that are drawn: see the head of this file. Proxies are not looked at. Throws Error on no
  /// image, on other channels than the model's, and on targets that do not fit.
  template <Context C, ImageSource Source>
  [[nodiscard]] Outcome<typename C::Scalar> loss(C& context, const Minibatch<typename C::Scalar, Source>& minibatch,
                                                 const Moment& moment) const {
    using T = typename C::Scalar;
    const Index batch = checked(minibatch.images);
    std::array<VarOf<C>, static_cast<std::size_t>(RamOptions::max_steps)> log_densities;
    std::array<sample::LearnedBaseline<T>, static_cast<std::size_t>(RamOptions::max_steps)> baselines;
    const auto steps = static_cast<std::size_t>(options_.steps);

    VarOf<C> state = start(context, batch);
    for (std::size_t t = 0; t < steps; ++t) {
      const sample::NoiseKey noise = moment.noise.fork(t);
      VarOf<C> locations;
      if (t == 0) {
        locations = sample::uniform_noise(context, noise, batch, 2);
        for (Index i = 0; i < locations.size(); ++i) locations.value[i] = 2 * locations.value[i] - 1;
      } else {
        const sample::DiagonalGaussian<T> q = policy(context, state);
        const VarOf<C> drawn = sample::draw(context, sample::detach(q), noise);
        log_densities[t] = sample::log_density(context, q, drawn);
        baselines[t] = {expected_cost(context, state)};
        locations = context.constant(drawn.shape);
        std::transform(drawn.value, drawn.value + drawn.size(), locations.value,
                       [](T l) { return std::clamp(l, T(-1), T(1)); });
      }
      state = look(context, minibatch.images, locations, state);
    }
    const VarOf<C> answers = logits(context, state);
    const VarOf<C> loss = options_.question.loss(context, answers, minibatch.targets);

    // Its value stays the cost; each link of the chain gives the choice of one location its due, going back.
    const VarOf<C> cost = cost_of(context, answers, loss, minibatch.targets);
    VarOf<C> due = cost;
    for (std::size_t t = 1; t < steps; ++t) {
      const VarOf<C> advantage = baselines[t].advantage(context, cost, 1);
      due = sample::weighted_score(context, due, log_densities[t], advantage, VarOf<C>{}, 1);
      baselines[t].fit(context, due, cost, 1);
    }
    return {nn::axpy(context, static_cast<T>(options_.score_weight), nn::sum(context, due), nn::sum(context, loss)), answers};
  }

  /// The pass that answers, first the centre and then the means: images, of any sizes, to logits [B, K]. `steps` may be more
  /// than were trained; 0: those of the options. Throws Error on no image, on other channels than the model's, and on more than
  /// max_steps.
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> forward(C& context, std::span<const Source> images, Index steps = 0) const {
    static_cast<void>(checked(images));
    return logits(context, gaze(context, images, checked_steps(steps), [](Index, const VarOf<C>&, const VarOf<C>&) {}));
  }

  /// The answer to each image, also after each step, and the regions of the finest scale. `arena` is not reset: reset it
  /// between calls, and a second call allocates nothing (but for what a file decodes). Throws Error as forward() does.
  template <ImageSource Source>
  [[nodiscard]] std::span<const Prediction> classify(std::span<const Source> images, const Parameters<float>& parameters,
                                                     Arena& arena, Index steps = 0) const {
    const Index batch = checked(images);
    const Index classes = options_.classes;
    steps = checked_steps(steps);
    Inference<float> context(arena, parameters.values());
    auto* regions = arena.allocate<glimpse::Region<float>>(batch * steps);
    const View<float, 3> after(arena.allocate<float>(batch * steps * classes), {batch, steps, classes});

    Var<float> answers;
    static_cast<void>(gaze(context, images, steps, [&](Index t, const Var<float>& locations, const Var<float>& state) {
      answers = options_.question.answer(context, logits(context, state));
      for (Index b = 0; b < batch; ++b) {
        const float* at = locations.value + 2 * b;
        ::new (static_cast<void*>(regions + b * steps + t))
            glimpse::Region<float>(region(images[static_cast<std::size_t>(b)], at[0], at[1]));
        std::copy_n(answers.value + b * classes, classes, after[b][t].data());
      }
    }));
    auto* predictions = arena.allocate<Prediction>(batch);
    for (Index b = 0; b < batch; ++b) {
      auto* p = ::new (static_cast<void*>(predictions + b))
          Prediction(detail::prediction(answers, b, {regions + b * steps, static_cast<std::size_t>(steps)}));
      p->after_steps = {after[b].data(), static_cast<std::size_t>(steps * classes)};
    }
    return {predictions, images.size()};
  }
  /// The same for one image.
  template <ImageSource Source>
  [[nodiscard]] Prediction classify(const Source& image, const Parameters<float>& parameters, Arena& arena,
                                    Index steps = 0) const {
    return classify(std::span<const Source>(&image, 1), parameters, arena, steps).front();
  }

 private:
  BasicRam(const RamOptions& o, const Sampler& sampler, ParameterLayout layout)
      : options_(checked(o)),
        sampler_(sampler),
        layout_(std::move(layout)),
        what_(layout_, "what", o.glimpse * o.glimpse * glimpse::channels(sampler_, o.channels), o.features),
        where_(layout_, "where", 2, o.features),
        glimpse_(layout_, "glimpse", 2 * o.features, o.state),
        core_(layout_, "core", 2 * o.state, o.state),
        head_(layout_, "head", o.state, o.classes, {.weights = nn::xavier_uniform(o.state, o.classes)}),
        location_hidden_(layout_, "location.hidden", o.state, o.features),
        // Means that start near the centre: from a saturated tanh there is no way back.
        location_(layout_, "location.mean", o.features, 2, {.weights = nn::kaiming_uniform(o.features, 0.1)}),
        baseline_(layout_, "baseline", o.state, 1, {.bias_start = chance(o), .weights = nn::constant(0)}) {}

  /// The state after `steps` looks; `seen(t, locations, state)` hears of each.
  template <Context C, ImageSource Source, class Seen>
  [[nodiscard]] VarOf<C> gaze(C& context, std::span<const Source> images, Index steps, Seen seen) const {
    const auto batch = static_cast<Index>(images.size());
    VarOf<C> state = start(context, batch);
    for (Index t = 0; t < steps; ++t) {
      const VarOf<C> locations = t == 0 ? zeros(context, Shape{batch, 2}) : nn::detach(policy(context, state).mean);
      state = look(context, images, locations, state);
      seen(t, locations, state);
    }
    return state;
  }

  static RamOptions checked(const RamOptions& o) {
    const Index least = o.question.task == Task::one_class ? 2 : 1;
    require(o.classes >= least && o.channels >= 1, "ram: at least ", least, " classes and 1 channel expected, ", o.classes,
            " and ", o.channels, " came");
    require(o.glimpse >= 1 && o.patch >= 0, "ram: a glimpse of at least 1 sample and a patch of 0 or more pixels expected, ",
            o.glimpse, " and ", o.patch, " came");
    require_steps(o.steps);
    require(o.features >= 1 && o.state >= 1, "ram: at least 1 feature and a state of length 1 expected, ", o.features, " and ",
            o.state, " came");
    require(o.deviation > 0 && std::isfinite(o.deviation), "ram: a positive deviation expected, ", o.deviation, " came");
    require(o.score_weight >= 0 && std::isfinite(o.score_weight), "ram: a score_weight of at least 0 expected, ",
            o.score_weight, " came");
    o.question.check(o.classes);
    return o;
  }
  [[nodiscard]] Index checked_steps(Index steps) const {
    if (steps == 0) return options_.steps;
    require_steps(steps);
    return steps;
  }
  static void require_steps(Index steps) {
    require(steps >= 1 && steps <= RamOptions::max_steps, "ram: 1 to ", RamOptions::max_steps, " steps expected, ", steps,
            " came");
  }
  template <ImageSource Source>
  [[nodiscard]] Index checked(std::span<const Source> images) const {
    require(!images.empty(), "ram: at least 1 image expected");
    for (const Source& image : images) {
      require(image.channels() == options_.channels, "ram: ", options_.channels, " channels expected, the image has ",
              image.channels());
    }
    return static_cast<Index>(images.size());
  }
  [[nodiscard]] Index patch() const noexcept { return options_.patch > 0 ? options_.patch : options_.glimpse; }

  /// The share of wrong answers before anything is learned.
  static double chance(const RamOptions& o) noexcept {
    return o.question.task == Task::one_class ? 1 - 1 / static_cast<double>(o.classes) : 0.0;
  }
  template <Context C>
  [[nodiscard]] static VarOf<C> zeros(C& context, const Shape& shape) {
    const VarOf<C> zero = context.constant(shape);
    std::fill_n(zero.value, zero.size(), typename C::Scalar{});
    return zero;
  }
  /// [B], a constant: 1 - the reward.
  template <Context C>
  [[nodiscard]] VarOf<C> cost_of(C& context, VarOf<C> answers, VarOf<C> loss,
                                 const Targets<typename C::Scalar>& targets) const {
    using T = typename C::Scalar;
    if (options_.question.task != Task::one_class) return nn::detach(loss);
    const VarOf<C> cost = context.constant(loss.shape);
    for (Index b = 0; b < cost.size(); ++b) {
      const T* row = answers.value + b * options_.classes;
      const bool right = std::max_element(row, row + options_.classes) - row == targets.labels[static_cast<std::size_t>(b)];
      cost.value[b] = right ? T(0) : T(1);
    }
    return cost;
  }

  RamOptions options_;
  Sampler sampler_;
  ParameterLayout layout_;
  nn::Dense what_;
  nn::Dense where_;
  nn::Dense glimpse_;
  nn::Dense core_;
  nn::Dense head_;
  nn::Dense location_hidden_;
  nn::Dense location_;
  nn::Dense baseline_;
};

/// RAM with three scales.
using Ram = BasicRam<>;

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
