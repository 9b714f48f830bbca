// SPDX-License-Identifier: MIT
// A task that a model learns in seconds: which of three bright shapes is somewhere in a dark, noisy picture. Pictures come in
// three sizes, two of them not square. And what is asked of every model that looks at parts of them.
#pragma once

#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/model/model.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/trainer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

namespace fovea_test {

/// `count` pictures, with their labels and where the shapes are.
class ThreeShapes {
 public:
  static constexpr fovea::Index side = 12;  ///< of a shape, in pixels

  ThreeShapes(fovea::Index count, std::uint64_t seed) {
    using fovea::Index;
    constexpr std::array<fovea::Extents<2>, 3> extents{{{128, 128}, {96, 160}, {150, 110}}};
    for (Index i = 0; i < count; ++i) {
      fovea::Stream stream(seed, 0, static_cast<std::uint64_t>(i), fovea::Purpose::test);
      const fovea::Extents<2> extent = extents[static_cast<std::size_t>(i % 3)];
      fovea::Tensor<std::uint8_t, 3> picture({extent[0], extent[1], 1});
      for (std::uint8_t& pixel : picture) pixel = static_cast<std::uint8_t>(stream.below(60));
      const auto label = static_cast<std::int32_t>(stream.below(3));
      const auto top = static_cast<Index>(stream.below(static_cast<std::uint32_t>(extent[0] - side)));
      const auto left = static_cast<Index>(stream.below(static_cast<std::uint32_t>(extent[1] - side)));
      for (Index y = 0; y < side; ++y) {
        for (Index x = 0; x < side; ++x) {
          const Index edge = std::min({y, x, side - 1 - y, side - 1 - x});
          const bool bar = std::abs(2 * y - side + 1) < 5;
          const bool post = std::abs(2 * x - side + 1) < 5;
          const std::array<bool, 3> shapes{edge < 2, bar || post, bar || y < 2 || y >= side - 2};  // ring, cross, bars
          if (shapes[static_cast<std::size_t>(label)]) picture(top + y, left + x, 0) = 250;
        }
      }
      pixels_.push_back(std::move(picture));
      labels_.push_back(label);
      boxes_.push_back({static_cast<double>(left), static_cast<double>(top), static_cast<double>(left + side),
                        static_cast<double>(top + side)});
    }
    for (const auto& picture : pixels_) pyramids_.emplace_back(picture.view());
  }

  [[nodiscard]] fovea::Index size() const { return static_cast<fovea::Index>(labels_.size()); }
  [[nodiscard]] std::span<const fovea::Pyramid<std::uint8_t>> images() const { return pyramids_; }
  [[nodiscard]] std::span<const std::int32_t> labels() const { return labels_; }
  [[nodiscard]] const fovea::glimpse::PixelRectangle& box(fovea::Index i) const { return boxes_[static_cast<std::size_t>(i)]; }

 private:
  std::vector<fovea::Tensor<std::uint8_t, 3>> pixels_;
  std::vector<fovea::Pyramid<std::uint8_t>> pyramids_;
  std::vector<std::int32_t> labels_;
  std::vector<fovea::glimpse::PixelRectangle> boxes_;
};

/// The proxies of images, [B, h, w, C] of a context; `options` has `proxy` and `channels`.
template <class C, class Source, class Options>
fovea::VarOf<C> proxies_of(C& context, std::span<const Source> images, const Options& options) {
  const auto count = static_cast<fovea::Index>(images.size());
  const auto x = context.constant(fovea::Shape{count, options.proxy[0], options.proxy[1], options.channels});
  for (fovea::Index b = 0; b < count; ++b) {
    fovea::proxy(images[static_cast<std::size_t>(b)], x.template mutable_values<4>()[b]);
  }
  return x;
}

/// Shares of pictures never trained on.
struct ShapesScore {
  double accuracy = 0;
  double found = 0;  ///< one of the regions covers 3/4 of the shape or more
};

/// Trains on 600 pictures, 24 at a time, the rate falling to 0 along a half cosine; asks about 150 others.
template <class Model>
ShapesScore score_on_shapes(const Model& model, fovea::Index steps, double rate) {
  using namespace fovea;
  const ThreeShapes train(600, 1);
  const ThreeShapes test(150, 2);
  Parameters<float> weights(model.layout(), 3);
  Workers workers(1);
  constexpr Index batch = 24;
  train::Trainer<float, train::Adam<float>> trainer(weights, train::Adam<float>(weights.values().size()), workers,
                                                    {.batch = batch, .shard = batch});
  for (Index step = 0; step < steps; ++step) {
    const double progress = static_cast<double>(step) / static_cast<double>(steps);
    trainer.step(
        rate * 0.5 * (1 + std::cos(std::numbers::pi * progress)), [&](Tape<float>& tape, const train::ShardTask& task) {
          const auto first = static_cast<std::size_t>((step * batch) % train.size());
          const auto images = train.images().subspan(first, batch);
          const auto outcome = model.loss(
              tape,
              model::Minibatch<float, Pyramid<std::uint8_t>>{proxies_of(tape, images, model.options()), images,
                                                             train.labels().subspan(first, batch)},
              model::Moment{progress, {.seed = 4, .step = task.step, .first_sample = static_cast<std::uint64_t>(task.first)}});
          return train::ShardLoss<float>{outcome.loss_sum, 0};
        });
  }
  ShapesScore score;
  Arena arena;
  for (Index i = 0; i < test.size(); ++i) {
    arena.reset();
    const auto& image = test.images()[static_cast<std::size_t>(i)];
    const model::Prediction answer = model.classify(image, weights, arena);
    score.accuracy += answer.label == test.labels()[static_cast<std::size_t>(i)] ? 1 : 0;
    bool found = false;
    for (const auto& region : answer.regions) {
      const auto seen = to_pixels(region, glimpse::Aspect::isotropic, image.extent(), model.options().patch);
      found = found || glimpse::covered(test.box(i), seen) >= 0.75;
    }
    score.found += found ? 1 : 0;
  }
  score.accuracy /= static_cast<double>(test.size());
  score.found /= static_cast<double>(test.size());
  return score;
}

/// The loss of a minibatch of images of several sizes is the sum of what each gives alone, and so are the answers.
template <class Model>
void check_batch_is_each_alone(const Model& model, double progress = 0.25) {
  using namespace fovea;
  using Source = Pyramid<std::uint8_t>;
  const ThreeShapes task(5, 7);
  const Parameters<double> weights(model.layout(), 5);
  Arena arena;
  Inference<double> context(arena, weights.values());
  const auto loss = [&](std::size_t first, std::size_t count) {
    const auto images = task.images().subspan(first, count);
    return model.loss(context,
                      model::Minibatch<double, Source>{proxies_of(context, images, model.options()), images,
                                                       task.labels().subspan(first, count)},
                      model::Moment{progress, {.seed = 4, .step = 2, .first_sample = 10 + static_cast<std::uint64_t>(first)}});
  };
  const auto all = loss(0, 5);
  double sum = 0;
  double gap = 0;
  for (std::size_t b = 0; b < 5; ++b) {
    const auto one = loss(b, 1);
    sum += one.loss_sum.item();
    for (Index k = 0; k < 3; ++k) {
      gap = std::max(gap, std::abs(one.logits.value[k] - all.logits.value[static_cast<Index>(b) * 3 + k]));
    }
  }
  CHECK(gap <= 1e-12);
  CHECK(all.loss_sum.item() == doctest::Approx(sum).epsilon(1e-12));
  CHECK(all.logits.shape == Shape{5, 3});
}

}  // namespace fovea_test
