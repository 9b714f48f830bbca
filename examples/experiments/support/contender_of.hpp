// SPDX-License-Identifier: MIT
/// \file
/// A model as a contender.
#pragma once

#include "contender.hpp"
#include <fovea/model/saccader.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/counting.hpp>
#include <fovea/train/learner.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

namespace experiments::detail {

/// Proxies of the images as models want them that do not classify by themselves: [1, h, w, C].
template <class C, class Source>
[[nodiscard]] fovea::model::Minibatch<float, Source> one_image(C& context, const Source& image, Extents<2> proxy,
                                                               std::span<const std::int32_t> label) {
  const auto pixels = context.constant(fovea::Shape{1, proxy[0], proxy[1], image.channels()});
  fovea::proxy(image, pixels.template mutable_values<4>()[0]);
  return {pixels, std::span<const Source>(&image, 1), label};
}

/// Any model of model/model.hpp, by its own loss.
template <class Model>
class ContenderOf : public Contender {
 public:
  ContenderOf(Model model, Extents<2> proxy, Sees sees = Sees::image) : model_(std::move(model)), proxy_(proxy), sees_(sees) {}

  [[nodiscard]] const fovea::ParameterLayout& layout() const override { return model_.layout(); }
  [[nodiscard]] fovea::train::ShardLoss<float> loss(fovea::Tape<float>& tape, const Shard& shard,
                                                    const fovea::model::Moment& moment) const override {
    const auto outcome = model_.loss(tape, shard.minibatch(tape, sees_ != Sees::image), moment);
    return {outcome.loss_sum, fovea::train::count_correct(outcome.logits, shard.labels())};
  }
  [[nodiscard]] fovea::model::Prediction answer(const Image& image, std::uint64_t /*number*/,
                                                const fovea::Parameters<float>& weights, fovea::Arena& arena,
                                                const fovea::model::EarlyExit& /*exit*/) const override {
    return model_.classify(image, weights, arena);
  }
  [[nodiscard]] fovea::model::Prediction answer(const fovea::ImageFile& image, std::uint64_t /*number*/,
                                                const fovea::Parameters<float>& weights, fovea::Arena& arena) const override {
    return model_.classify(image, weights, arena);
  }
  [[nodiscard]] Index multiply_adds(const Image& image, const fovea::Parameters<float>& weights) const override {
    return count(image, weights, [&](auto& context, const auto& minibatch) {
      (void)model_.loss(context, minibatch, fovea::model::Moment{.progress = 1});
    });
  }
  [[nodiscard]] Sees sees() const override { return sees_; }

 protected:
  template <class Pass>
  [[nodiscard]] Index count(const Image& image, const fovea::Parameters<float>& weights, Pass&& pass) const {
    fovea::Arena arena;
    fovea::Inference<float> plain(arena, weights.values());
    fovea::nn::Counting counting(plain);
    constexpr std::array<std::int32_t, 1> label{0};
    pass(counting, one_image(counting, image, proxy_, label));
    return counting.multiply_adds();
  }
  [[nodiscard]] const Model& model() const { return model_; }

 private:
  Model model_;
  Extents<2> proxy_;
  Sees sees_;
};

/// A saccader, by a curriculum.
template <class Model>
class SaccaderContender : public ContenderOf<Model> {
 public:
  SaccaderContender(const Model& model, const Recipe& recipe)
      : ContenderOf<Model>(model, model.options().proxy), curriculum_(model.options()) {
    if (recipe.curriculum) recipe.curriculum(curriculum_);
  }

  [[nodiscard]] fovea::train::ShardLoss<float> loss(fovea::Tape<float>& tape, const Shard& shard,
                                                    const fovea::model::Moment& moment) const override {
    const auto outcome = curriculum_(tape, this->model(), shard.minibatch(tape), moment);
    return {outcome.loss_sum, fovea::train::count_correct(outcome.logits, shard.labels())};
  }
  [[nodiscard]] fovea::model::Prediction answer(const Image& image, std::uint64_t number,
                                                const fovea::Parameters<float>& weights, fovea::Arena& arena,
                                                const fovea::model::EarlyExit& exit) const override {
    return this->model().classify(image, weights, arena, looking(number, exit));
  }
  [[nodiscard]] fovea::model::Prediction answer(const fovea::ImageFile& image, std::uint64_t number,
                                                const fovea::Parameters<float>& weights, fovea::Arena& arena) const override {
    return this->model().classify(image, weights, arena, looking(number, {}));
  }
  [[nodiscard]] Index multiply_adds(const Image& image, const fovea::Parameters<float>& weights) const override {
    return this->count(image, weights, [&](auto& context, const auto& minibatch) {
      auto look = looking(0, {});
      look.bound = false;  // as an answer is computed
      (void)this->model().forward(context, minibatch.proxies, minibatch.images, look);
    });
  }
  [[nodiscard]] bool can_exit() const override { return true; }

 private:
  [[nodiscard]] static fovea::model::Looking looking(std::uint64_t number, const fovea::model::EarlyExit& exit) {
    fovea::model::Looking look;
    look.noise = {1, 0, number, fovea::Purpose::test};  // of gazes that are drawn
    look.exit = exit;
    return look;
  }

  fovea::train::Curriculum curriculum_;
};

/// The options of a saccader under a gaze, for a task.
[[nodiscard]] inline fovea::model::SaccaderOptions saccader_options(const Task& task, const Recipe& recipe,
                                                                    fovea::model::Gaze gaze) {
  fovea::model::SaccaderOptions o = recipe.saccader;
  o.classes = task.facts().classes;
  o.channels = task.facts().channels;
  o.proxy = task.facts().proxy;
  o.gaze = gaze;
  return o;
}

/// The gazes that a saccader is trained with, by the name of the model; empty on another name.
[[nodiscard]] inline std::optional<fovea::model::Gaze> gaze_of(const std::string& name) {
  using fovea::model::Gaze;
  if (name == "saccader" || name == "open_loop") return Gaze::policy;
  if (name == "random_glimpses") return Gaze::uniform;
  if (name == "centre_glimpses") return Gaze::centre;
  if (name == "grid_glimpses") return Gaze::grid;
  return std::nullopt;
}

template <class H>
struct WithHead : fovea::model::DefaultParts {
  using Head = H;
};

/// The saccader with this head.
template <class Head>
[[nodiscard]] std::unique_ptr<Contender> make_saccader_of(const std::string& name, const Task& task, const Recipe& recipe) {
  const auto gaze = gaze_of(name);
  if (!gaze) return nullptr;
  using Model = fovea::model::BasicSaccader<fovea::model::ConvMap, fovea::model::DeepConvVector, fovea::model::AttentionPolicy,
                                            fovea::glimpse::Antialiased, WithHead<Head>>;
  auto options = saccader_options(task, recipe, *gaze);
  if (name == "open_loop") options.closed_loop = false;
  return std::make_unique<SaccaderContender<Model>>(Model(options, {.padding = padding(recipe)}), recipe);
}

}  // namespace experiments::detail
