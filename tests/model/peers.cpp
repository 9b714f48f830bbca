// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/smooth_pictures.hpp"
#include "support/worst_gradient.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/model/full_resolution.hpp>
#include <fovea/model/proxy_only.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/trainer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::Pictures;
using model::FullResolution;
using model::FullResolutionPatches;
using model::ProxyOnly;

namespace {

template <class Model>
constexpr bool is_a_model = model::Learner<Model, Tape<float>, Pyramid<std::uint8_t>>&&
    model::Learner<Model, Inference<double>, PyramidView<float>>&& model::Classifier<Model, Pyramid<std::uint8_t>>;
static_assert(is_a_model<ProxyOnly> && is_a_model<FullResolution> && is_a_model<FullResolutionPatches>);

/// Images of several extents, none square.
template <class Pixel>
struct Mixed {
  std::vector<Pictures<Pixel>> pictures;
  std::vector<PyramidView<Pixel>> views;

  explicit Mixed(std::initializer_list<Extents<2>> extents, double full, Index channels = 1) {
    for (const Extents<2>& e : extents) pictures.emplace_back(1, e, channels, full);
    for (const auto& p : pictures) views.emplace_back(p.pyramids[0]);
  }
  [[nodiscard]] std::span<const PyramidView<Pixel>> sources() const { return views; }
};

/// The derivative of the whole loss over images of several extents, in every parameter.
template <class Model>
void check_loss(const Model& network, const Mixed<double>& images) {
  GradientCheck check{Parameters<double>(network.layout(), 3)};
  check.most_elements = 12;
  const std::array<std::int32_t, 3> labels{1, 0, 1};
  const auto some = std::span<const std::int32_t>(labels).first(images.views.size());
  const auto report = fovea_test::noted(check.run([&](auto& context, auto) {
    using T = typename std::remove_reference_t<decltype(context)>::Scalar;
    const model::Minibatch<T, PyramidView<double>> minibatch{{}, images.sources(), model::Targets<T>(some)};
    const auto outcome = network.loss(context, minibatch, {});
    CHECK(outcome.logits.shape == Shape{static_cast<Index>(some.size()), 2});
    return outcome.loss_sum;
  }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.worst <= 1e-6);
  CHECK(report.forward_gap <= 1e-12);
}

}  // namespace

TEST_CASE("proxy_only: gradient end to end") {
  const ProxyOnly network({.classes = 3, .channels = 2, .proxy = {7, 9}});
  GradientCheck check{Parameters<double>(network.layout(), 3)};
  check.most_elements = 25;
  Stream stream(1, 0, 0, Purpose::test);
  check.uniform_input({2, 7, 9, 2}, stream, 0, 1);
  const std::array<std::int32_t, 2> labels{2, 1};
  const auto report = fovea_test::noted(
      check.run([&](auto& context, auto in) { return nn::cross_entropy(context, network.forward(context, in[0]), labels); }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.worst <= 1e-6);
  CHECK_THROWS_AS(ProxyOnly({.classes = 1}), Error);
}

TEST_CASE("proxy_only: the loss is the question's") {
  const ProxyOnly network({.classes = 2, .proxy = {5, 6}, .question = {.class_weights = {1, 3}}});
  const Parameters<double> weights(network.layout(), 3);
  Arena arena;
  Inference<double> context(arena, weights.values());
  const auto proxies = context.constant(Shape{2, 5, 6, 1});
  for (Index i = 0; i < proxies.size(); ++i) proxies.value[i] = 0.02 * static_cast<double>(i);
  const std::array<std::int32_t, 2> labels{0, 1};
  const model::Targets<double> targets(labels);
  const auto outcome = network.loss(context, model::Minibatch<double, PyramidView<float>>{proxies, {}, targets}, {});
  const auto each = nn::cross_entropy(context, outcome.logits, labels);
  CHECK(outcome.loss_sum.item() == doctest::Approx(each.value[0] + 3 * each.value[1]).epsilon(1e-12));

  const auto refused = [&](Var<double> x) {
    return message_of([&] {
      static_cast<void>(network.loss(context, model::Minibatch<double, PyramidView<float>>{x, {}, targets}, {}));
    });
  };
  CHECK(refused(context.constant(Shape{2, 6, 5, 1})) ==
        "proxy_only: proxies of shape [2x5x6x1] expected for 2 targets, [2x6x5x1] came");
  CHECK(refused({}) != "");
  CHECK(message_of([] { static_cast<void>(ProxyOnly({.classes = 0, .question = {model::Task::numbers}})); }) ==
        "proxy_only: at least 1 classes expected, 0 came");
}

TEST_CASE("full_resolution: gradient end to end") {
  const FullResolution network({.classes = 2, .channels = 1, .width = 2, .blocks_per_stage = 1});
  GradientCheck check{Parameters<double>(network.layout(), 3)};
  check.most_elements = 20;
  Stream stream(1, 0, 0, Purpose::test);
  check.uniform_input({1, 37, 41, 1}, stream, 0, 1);
  const std::array<std::int32_t, 1> labels{1};
  const auto report = fovea_test::noted(
      check.run([&](auto& context, auto in) { return nn::cross_entropy(context, network.forward(context, in[0]), labels); }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.worst <= 1e-6);
}

TEST_CASE("full_resolution: the published size") {
  // torchvision's resnet18 with 10 classes and 1 input channel: 11,175,370; group norm has as many parameters as batch norm.
  CHECK(FullResolution({.classes = 10, .channels = 1}).layout().count() == 11175370);
}

TEST_CASE("full_resolution: classifies images of any extent") {
  const FullResolution network({.classes = 4, .channels = 3, .width = 4});
  const Parameters<float> weights(network.layout(), 1);
  Arena arena;
  for (const Extents<3> extent : {Extents<3>{1, 1, 3}, Extents<3>{40, 33, 3}}) {
    Tensor<std::uint8_t, 3> image(extent);
    for (Index i = 0; i < image.size(); ++i) image.data()[i] = static_cast<std::uint8_t>(i * 7);
    const auto answer = network.classify(std::as_const(image).view(), weights, arena);
    float sum = 0;
    for (const float p : answer.probabilities) sum += p;
    CHECK(sum == doctest::Approx(1).epsilon(1e-5));
  }
  const Tensor<std::uint8_t, 3> grey({8, 8, 1});
  CHECK_THROWS_WITH_AS((void)network.classify(grey.view(), weights, arena),
                       "full_resolution: 3 channels expected, the image has 1", Error);
  CHECK_THROWS_AS(FullResolution({.classes = 1}), Error);
}

TEST_CASE("full_resolution: the loss of images of several extents") {
  const Mixed<double> images({{37, 41}, {20, 33}, {45, 12}}, 1.0);
  check_loss(FullResolution({.classes = 2, .width = 2, .blocks_per_stage = 1}), images);
}

TEST_CASE("full_resolution: in patches, gradient end to end") {
  // 2 x 3 patches of one, the last moved back; and an image smaller than a patch.
  const Mixed<double> images({{70, 90}, {33, 21}}, 1.0);
  check_loss(FullResolutionPatches({.network = {.classes = 2, .width = 2, .blocks_per_stage = 1}, .patch = 40, .features = 6}),
             images);
}

TEST_CASE("full_resolution: patches cover the image, the last at its edge") {
  const FullResolutionPatches published({});
  CHECK(published.patches({2528, 2528}) == Extents<2>{12, 12});  // as published
  CHECK(published.patch({2528, 2528}, 0, 10) == PixelBox{0, 2240, 224, 224});
  CHECK(published.patch({2528, 2528}, 11, 0) == PixelBox{2304, 0, 224, 224});
  CHECK(published.patches({224, 225}) == Extents<2>{1, 2});
  CHECK(published.patch({224, 225}, 0, 1) == PixelBox{0, 1, 224, 224});
  CHECK(published.patches({1, 600}) == Extents<2>{1, 3});
  CHECK(published.patch({1, 600}, 0, 2) == PixelBox{0, 376, 1, 224});
  // ResNet-18 of one channel with 256 features for classes, and what comes behind their sum.
  CHECK(published.layout().count() == 11175370 - 512 * 10 - 10 + 512 * 256 + 256 + 2 * 2 * 256 + 257 * 256 + 257 * 10);
}

TEST_CASE("full_resolution: the sum over patches does not ask where they came from") {
  // Two patches, and the same two the other way round.
  const FullResolutionPatches network(
      {.network = {.classes = 3, .width = 4, .blocks_per_stage = 1}, .patch = 24, .features = 8});
  const Parameters<float> weights(network.layout(), 1);
  const Pictures<std::uint8_t> picture(1, {24, 48}, 1, 255.0);
  Tensor<std::uint8_t, 3> swapped({24, 48, 1});
  Tensor<std::uint8_t, 3> left({24, 24, 1});
  for (Index y = 0; y < 24; ++y) {
    for (Index x = 0; x < 48; ++x) swapped(y, x, 0) = picture.pixels[0](y, (x + 24) % 48, 0);
    for (Index x = 0; x < 24; ++x) left(y, x, 0) = picture.pixels[0](y, x, 0);
  }
  Arena arena;
  const auto a = network.classify(picture.pyramids[0], weights, arena);
  const auto b = network.classify(PyramidView<std::uint8_t>(std::as_const(swapped).view()), weights, arena);
  const auto half = network.classify(PyramidView<std::uint8_t>(std::as_const(left).view()), weights, arena);
  for (std::size_t k = 0; k < 3; ++k) CHECK(a.probabilities[k] == doctest::Approx(b.probabilities[k]).epsilon(1e-5));
  CHECK(std::abs(a.probabilities[0] - half.probabilities[0]) > 1e-4F);
}

TEST_CASE("full_resolution: a batch answers as each of its images alone") {
  const Mixed<std::uint8_t> images({{40, 33}, {9, 70}, {1, 1}}, 255.0);
  const auto check = [&](const auto& network, Index classes) {
    const Parameters<float> weights(network.layout(), 2);
    Arena arena;
    Inference<float> context(arena, weights.values());
    const auto together = nn::softmax(context, network.forward(context, images.sources()));
    for (std::size_t b = 0; b < images.views.size(); ++b) {
      const auto alone = network.classify(images.views[b], weights, arena);
      for (Index k = 0; k < classes; ++k) {
        CHECK(alone.probabilities[static_cast<std::size_t>(k)] ==
              doctest::Approx(together.value[static_cast<Index>(b) * classes + k]).epsilon(1e-5));
      }
      CHECK(alone.steps() == 0);
    }
  };
  check(FullResolution({.classes = 3, .width = 4, .blocks_per_stage = 1}), 3);
  check(FullResolutionPatches({.network = {.classes = 3, .width = 4, .blocks_per_stage = 1}, .patch = 16, .features = 8}), 3);
}

TEST_CASE("full_resolution: in patches, the memory of an answer does not grow with the image") {
  const FullResolutionPatches network(
      {.network = {.classes = 3, .width = 4, .blocks_per_stage = 1}, .patch = 32, .features = 8});
  const Parameters<float> weights(network.layout(), 1);
  const auto peak = [&](Extents<2> extent) {
    const Pictures<std::uint8_t> picture(1, extent, 1, 255.0);
    Arena arena;
    static_cast<void>(network.classify(picture.pyramids[0], weights, arena));
    return arena.peak();
  };
  CHECK(peak({32, 32}) == peak({320, 330}));
}

TEST_CASE("full_resolution: both learn which way the stripes go") {
  constexpr Index kCount = 16;
  const auto learns = [&](const auto& network) {
    Parameters<float> weights(network.layout(), 1);
    Workers workers(1);
    train::Trainer trainer(weights, train::Adam<float>(weights.values().size()), workers, {.batch = kCount, .shard = kCount});
    std::vector<Tensor<std::uint8_t, 3>> pixels;
    std::vector<PyramidView<std::uint8_t>> images;
    std::vector<std::int32_t> labels;
    const auto make = [&](std::uint64_t step) {
      pixels.clear();
      images.clear();
      labels.clear();
      for (Index i = 0; i < kCount; ++i) {
        Stream stream(3, step, static_cast<std::uint64_t>(i), Purpose::test);
        const std::uint32_t phase = stream.below(6);
        const bool across = stream.below(2) == 0;
        Tensor<std::uint8_t, 3> image({24 + static_cast<Index>(stream.below(9)), 24 + static_cast<Index>(stream.below(9)), 1});
        for (Index y = 0; y < image.extent(0); ++y) {
          for (Index x = 0; x < image.extent(1); ++x) {
            image(y, x, 0) = ((across ? y : x) + static_cast<Index>(phase)) / 3 % 2 == 0 ? 220 : 30;
          }
        }
        pixels.push_back(std::move(image));
        labels.push_back(across ? 1 : 0);
      }
      for (const auto& image : pixels) images.emplace_back(image.view());
    };
    for (std::uint64_t step = 0; step < 120; ++step) {
      make(step);
      static_cast<void>(trainer.step(3e-3, [&](Tape<float>& tape, const train::ShardTask&) {
        const model::Minibatch<float, PyramidView<std::uint8_t>> minibatch{{}, images, model::Targets<float>(labels)};
        return train::ShardLoss<float>{network.loss(tape, minibatch, {}).loss_sum, 0};
      }));
    }
    Arena arena;
    Index right = 0;
    for (std::uint64_t step = 1000; step < 1004; ++step) {
      make(step);
      for (std::size_t i = 0; i < images.size(); ++i) {
        arena.reset();
        right += network.classify(images[i], weights, arena).label == labels[i];
      }
    }
    return static_cast<double>(right) / (4 * kCount);
  };
  const double whole = learns(FullResolution({.classes = 2, .width = 4, .blocks_per_stage = 1}));
  const double patches = learns(
      FullResolutionPatches({.network = {.classes = 2, .width = 8, .blocks_per_stage = 1}, .patch = 16, .features = 32}));
  MESSAGE("accuracy ", whole, ", in patches ", patches);
  CHECK(whole >= 0.95);
  CHECK(patches >= 0.95);
}

TEST_CASE("full_resolution: what does not fit is refused with a sentence") {
  const FullResolutionPatches patches(
      {.network = {.classes = 3, .width = 4, .blocks_per_stage = 1}, .patch = 16, .features = 8});
  const FullResolution whole({.classes = 3, .width = 4, .blocks_per_stage = 1});
  const Parameters<float> a(patches.layout(), 1);
  const Parameters<float> b(whole.layout(), 1);
  const Pictures<std::uint8_t> colour(1, {20, 20}, 3, 255.0);
  Arena arena;
  const std::string channels = "full_resolution: 1 channels expected, the image has 3";
  CHECK(message_of([&] { static_cast<void>(patches.classify(colour.pyramids[0], a, arena)); }) == channels);
  CHECK(message_of([&] { static_cast<void>(whole.classify(colour.pyramids[0], b, arena)); }) == channels);
  Inference<float> context(arena, a.values());
  CHECK(message_of([&] { static_cast<void>(patches.forward(context, colour.sources().first(0))); }) ==
        "full_resolution: at least 1 image expected");
  CHECK(message_of([] { static_cast<void>(FullResolutionPatches({.patch = 0})); }) ==
        "full_resolution: patches of at least 1 pixel and 2 features expected, 0 and 256 came");
  CHECK(message_of([] { static_cast<void>(FullResolutionPatches({.network = {.classes = 1}})); }) ==
        "full_resolution: at least 2 classes, 1 channel, a width of 1 and 1 block a stage expected, 1, 1, 64 and 2 came");
}
