// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/smooth_pictures.hpp"
#include "support/three_shapes.hpp"
#include "support/worst_gradient.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/model/patch_selection.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::Pictures;
using model::PatchSelection;
using model::PatchSelectionOptions;
using Source = Pyramid<std::uint8_t>;

static_assert(model::MapNetwork<model::ScoreMap>);
static_assert(model::Learner<PatchSelection, Tape<float>, Source>);
static_assert(model::Learner<PatchSelection, Inference<double>, Source>);
static_assert(model::Classifier<PatchSelection, Source>);

namespace {

/// A score for every pixel of the proxy. Learns the weights of the channels, or nothing.
template <bool learns>
class ChannelScores {
 public:
  ChannelScores(ParameterLayout& layout, std::string_view name, Extents<2> /*extent*/, Index channels)
      : weights_(layout.add(name, {channels, 1}, Initialiser::normal(1))) {}
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    if constexpr (learns) return nn::dense(context, x, context.parameter(weights_));
    return nn::detach(nn::slice(context, x, 0, 1));
  }
  [[nodiscard]] static Index features() { return 1; }
  [[nodiscard]] static Extents<2> map_extent(Extents<2> extent) { return extent; }

 private:
  Parameter weights_;
};

/// Four features of a patch: dense, tanh.
class FewFeatures {
 public:
  FewFeatures(ParameterLayout& layout, std::string_view name, Extents<2> extent, Index channels)
      : dense_(layout, name, extent[0] * extent[1] * channels, 4) {}
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return nn::tanh(context, dense_(context, nn::flatten(context, x)));
  }
  [[nodiscard]] static Index features() { return 4; }

 private:
  nn::Dense dense_;
};

constexpr std::array<std::int32_t, 2> kLabels{2, 0};

PatchSelectionOptions small() {
  PatchSelectionOptions o;
  o.classes = 3;
  o.channels = 2;
  o.proxy = {3, 4};
  o.patch = {6, 9};
  o.patches = 2;
  o.samples = 20;
  o.sigma = 0.2;
  return o;
}

template <class C>
model::Minibatch<typename C::Scalar, Source> minibatch(C& context, const PatchSelectionOptions& o,
                                                       const Pictures<std::uint8_t>& pictures) {
  return {fovea_test::proxies(context, o, pictures), pictures.sources(),
          std::span<const std::int32_t>(kLabels).first(pictures.sources().size())};
}

}  // namespace

TEST_CASE("patch_selection: gradients of its ops") {
  Stream stream(1, 0, 0, Purpose::test);
  {
    GradientCheck check;
    check.input({3, 7}, stream);
    const auto report =
        fovea_test::noted(check.run([](auto& context, auto in) { return model::detail::from_0_to_1(context, in[0]); }));
    INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
    CHECK(report.worst <= 1e-6);
  }
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  GradientCheck check;
  check.uniform_input({2, 2, 12}, stream, 0, 1);
  // A cell of weight 0 is not read going forward; its gradient is that of the others.
  for (std::size_t i = 0; i < 48; i += 5) check.values(0)[i] = 0;
  const auto report = fovea_test::noted(check.run([&](auto& context, auto in) {
    return model::detail::weighted_patches(context, pictures.sources(), {3, 4}, {5, 8}, in[0]);
  }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.worst <= 1e-6);
  CHECK(report.checked == 48);
}

TEST_CASE("patch_selection: scores from 0 to 1") {
  Arena arena;
  Inference<double> context(arena);
  const std::array<double, 8> x{3, 1, 2, 5, -1, -1, -1, -1};
  const auto y = model::detail::from_0_to_1(context, context.constant(x.data(), Shape{2, 4}));
  CHECK(y.value[0] == doctest::Approx(0.5).epsilon(1e-4));
  CHECK(y.value[1] == 0);
  CHECK(y.value[3] == doctest::Approx(1).epsilon(1e-4));
  CHECK(y.value[4] == 0);  // all alike
}

TEST_CASE("patch_selection: weights of one cell are its patch") {
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  Arena arena;
  Inference<float> context(arena);
  const Var<float> weights = context.constant(Shape{2, 1, 12});
  std::fill_n(weights.value, weights.size(), 0.0F);
  weights.value[5] = 1;
  weights.value[12 + 11] = 1;
  const auto y = model::detail::weighted_patches(context, pictures.sources(), {3, 4}, {5, 8}, weights);
  for (const Index b : {Index{0}, Index{1}}) {
    const auto region = model::PatchGrid::around({3, 4}, {5, 8}, {31, 44})[b == 0 ? 5 : 11];
    Tensor<float, 4> patch({1, 5, 8, 2});
    model::read_patches(pictures.sources()[static_cast<std::size_t>(b)], std::span(&region, 1), patch.view());
    CHECK(std::equal(patch.begin(), patch.end(), y.value + b * patch.size()));
  }
}

TEST_CASE("patch_selection: gradient of all but the scorer, given the noise") {
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  const PatchSelectionOptions o = small();
  const model::BasicPatchSelection<ChannelScores<false>> network(o);
  GradientCheck check{Parameters<double>(network.layout(), 3)};
  check.most_elements = 25;
  const auto report = fovea_test::noted(check.run([&](auto& context, auto /*in*/) {
    return network.loss(context, minibatch(context, o, pictures), {0.5, {.seed = 3}}).loss_sum;
  }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.worst <= 1e-6);
}

TEST_CASE("patch_selection: gradient end to end, without noise") {
  // At the end of training the scores choose and nothing else; their entropy still has a gradient.
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  PatchSelectionOptions o = small();
  o.proxy = {16, 24};
  const PatchSelection network(o);
  CHECK(network.grid().cells() == 6);
  GradientCheck check{Parameters<double>(network.layout(), 3)};
  check.most_elements = 25;
  const auto report = fovea_test::noted(check.run([&](auto& context, auto /*in*/) {
    return network.loss(context, minibatch(context, o, pictures), {1, {}}).loss_sum;
  }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.worst <= 1e-6);
}

TEST_CASE("patch_selection: what reaches the scorer is the gradient of the smoothed loss") {
  // Of many samples the loss is nearly smooth in the scores, so that differences of it say what the estimate should be.
  const Pictures<std::uint8_t> pictures(1, {40, 44}, 3, 255);
  PatchSelectionOptions o = small();
  o.channels = 3;
  o.proxy = {2, 3};
  o.samples = 20000;
  o.entropy = 0;
  const model::BasicPatchSelection<ChannelScores<true>, FewFeatures> network(o);
  Parameters<double> weights(network.layout(), 6);
  for (Index i = 0; i < weights.values().size(); ++i) weights.values()[i] *= 2;  // patches that differ
  std::vector<double> gradient(static_cast<std::size_t>(weights.values().size()));
  Arena arena;
  constexpr std::uint64_t seeds = 6;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    arena.reset();
    Tape<double> tape(arena, weights.values(), View<double, 1>(gradient.data(), {weights.values().size()}));
    tape.backward(network.loss(tape, minibatch(tape, o, pictures), {0, {.seed = seed}}).loss_sum);
  }
  const View<double, 1> scorer = weights.at("scorer");
  double error = 0;
  double length = 0;
  for (Index i = 0; i < scorer.size(); ++i) {
    const double at = scorer[i];
    double difference = 0;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      for (const double h : {0.02, -0.02}) {
        scorer[i] = at + h;
        arena.reset();
        Inference<double> context(arena, weights.values());
        difference += network.loss(context, minibatch(context, o, pictures), {0, {.seed = seed}}).loss_sum.item() / (2 * h);
      }
    }
    scorer[i] = at;
    const double analytic = gradient[static_cast<std::size_t>(&scorer[i] - weights.values().data())];
    error += std::pow(analytic - difference, 2);
    length += std::pow(difference, 2);
  }
  CHECK(length > 1e-6);
  INFO("relative error ", std::sqrt(error / length));
  CHECK(std::sqrt(error / length) <= 0.1);
}

TEST_CASE("patch_selection: the noise fades, and the entropy is kept up") {
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  PatchSelectionOptions o = small();
  const auto loss = [&](double entropy, double progress, std::uint64_t seed) {
    o.entropy = entropy;
    const model::BasicPatchSelection<ChannelScores<true>> network(o);
    CHECK(network.sigma(progress) == doctest::Approx(0.2 * (1 - progress)));
    const Parameters<double> weights(network.layout(), 3);
    Arena arena;
    Inference<double> context(arena, weights.values());
    const auto all = minibatch(context, o, pictures);
    const double h =
        nn::sum(context, sample::entropy(context, sample::Categorical<double>{network.scores(context, all.proxies)})).item();
    return std::pair(network.loss(context, all, {progress, {.seed = seed}}).loss_sum.item(), h);
  };
  const auto [without, h] = loss(0, 0.5, 1);
  CHECK(loss(0.5, 0.5, 1).first == doctest::Approx(without - 0.5 * h));
  CHECK(loss(0, 0.5, 2).first != without);
  CHECK(loss(0, 1, 2).first == loss(0, 1, 1).first);
  // Of next to no noise the weights are those of the best.
  CHECK(loss(0, 1 - 1e-9, 1).first == doctest::Approx(loss(0, 1, 1).first));
}

TEST_CASE("patch_selection: a minibatch of mixed sizes is each of its images alone") {
  PatchSelectionOptions o;
  o.classes = 3;
  o.proxy = {32, 40};
  o.patch = {20, 24};
  o.patches = 3;
  o.samples = 30;
  fovea_test::check_batch_is_each_alone(PatchSelection(o));
  fovea_test::check_batch_is_each_alone(PatchSelection(o), 1);
}

TEST_CASE("patch_selection: what classify looks at") {
  const fovea_test::ThreeShapes task(3, 7);
  PatchSelectionOptions o;
  o.classes = 3;
  o.proxy = {32, 40};
  o.patch = {20, 24};
  o.patches = 3;
  const PatchSelection network(o);
  const Parameters<float> weights(network.layout(), 1);
  Arena arena;
  for (const auto& image : task.images()) {
    const auto answer = network.classify(image, weights, arena);
    CHECK(answer.steps() == 3);
    float sum = 0;
    for (const float p : answer.probabilities) sum += p;
    CHECK(sum == doctest::Approx(1).epsilon(1e-5));
    Inference<float> context(arena, weights.values());
    const auto scores = network.scores(context, fovea_test::proxies_of(context, std::span(&image, 1), o));
    const Index cell = std::max_element(scores.value, scores.value + scores.size()) - scores.value;
    CHECK(answer.regions[0].x == doctest::Approx(network.grid().x(cell)));
    CHECK(answer.regions[0].y == doctest::Approx(network.grid().y(cell)));
    const auto seen = to_pixels(answer.regions[2], glimpse::Aspect::isotropic, image.extent(), o.patch);
    CHECK(seen.right - seen.left == doctest::Approx(24));
    CHECK(seen.bottom - seen.top == doctest::Approx(20));
  }
}

TEST_CASE("patch_selection: learns which shape is somewhere") {
  PatchSelectionOptions o;
  o.classes = 3;
  o.proxy = {32, 32};
  o.patch = {48, 48};
  o.patches = 2;
  o.samples = 100;
  o.sigma = 0.15;  // of so few steps: at 0.05 one seed of five had not started
  const auto score = fovea_test::score_on_shapes(PatchSelection(o), 200, 3e-3);
  MESSAGE("accuracy ", score.accuracy, ", found ", score.found);
  CHECK(score.accuracy >= 0.95);
  CHECK(score.found >= 0.9);
}

TEST_CASE("patch_selection: wrong input is refused") {
  const auto with = [](auto change) {
    return message_of([&] {
      PatchSelectionOptions o = small();
      o.proxy = {16, 24};
      change(o);
      (void)PatchSelection(o);
    });
  };
  CHECK(with([](auto&) {}).empty());
  CHECK(with([](auto& o) { o.classes = 1; }) == "patch_selection: at least 2 classes expected, 1 came");
  CHECK(with([](auto& o) { o.patches = 7; }) ==
        "patch_selection: at most 6 patches expected, the cells of a proxy of 16x24, 7 came");
  CHECK(with([](auto& o) {
          o.proxy = {7, 24};
        }) == "patch_selection: at most 0 patches expected, the cells of a proxy of 7x24, 2 came");
  CHECK(with([](auto& o) { o.sigma = 0; }) == "patch_selection: a positive sigma expected, 0.000000 came");
  CHECK(with([](auto& o) { o.samples = 0; }) == "patch_selection: at least 1 sample expected, 0 came");
  CHECK(with([](auto& o) { o.entropy = -1; }) == "patch_selection: an entropy of at least 0 expected, -1.000000 came");
  CHECK(message_of([] { (void)model::BasicPatchSelection<model::ConvMap>(small()); }) ==
        "patch_selection: a scorer of 1 feature expected, 32 came");

  const model::BasicPatchSelection<ChannelScores<true>> network(small());
  const Parameters<float> weights(network.layout(), 3);
  const Pictures<std::uint8_t> grey(2, {31, 44}, 1, 255);
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  Arena arena;
  Inference<float> context(arena, weights.values());
  const auto loss = [&](const Shape& proxies, std::span<const Source> images) {
    return message_of([&] {
      const Var<float> x = context.constant(proxies);
      std::fill_n(x.value, x.size(), 0.5F);
      (void)network.loss(context, model::Minibatch<float, Source>{x, images, std::span<const std::int32_t>(kLabels)}, {});
    });
  };
  CHECK(loss({2, 3, 4, 2}, pictures.sources()).empty());
  CHECK(loss({2, 3, 4, 2}, grey.sources()) == "patch_selection: sample 0: 2 channels expected, the image has 1");
  CHECK(loss({2, 3, 4, 1}, pictures.sources()) == "patch_selection: proxies of shape [2x3x4x2] expected, [2x3x4x1] came");
  CHECK_THROWS_AS((void)network.classify(grey.sources()[0], weights, arena), Error);
}
