// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/smooth_pictures.hpp"
#include "support/three_shapes.hpp"
#include "support/worst_gradient.hpp"
#include "support/z_test.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/model/attention_sampling.hpp>

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::Pictures;
using model::AttentionSampling;
using model::AttentionSamplingOptions;
using model::PatchGrid;
using Source = Pyramid<std::uint8_t>;

static_assert(model::MapNetwork<model::AttentionMap>);
static_assert(model::Learner<AttentionSampling, Tape<float>, Source>);
static_assert(model::Learner<AttentionSampling, Inference<double>, Source>);
static_assert(model::Classifier<AttentionSampling, Source>);

namespace {

/// An attention that is three times the proxy's first channel, and learns nothing.
class BrightnessMap {
 public:
  BrightnessMap(ParameterLayout& /*layout*/, std::string_view /*name*/, Extents<2> /*extent*/, Index /*channels*/) {}
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return nn::detach(nn::scale(context, typename C::Scalar(3), nn::slice(context, x, 0, 1)));
  }
  [[nodiscard]] static Index features() { return 1; }
  [[nodiscard]] static Extents<2> map_extent(Extents<2> extent) { return extent; }
};

/// Five features of a patch: dense, tanh.
class FewFeatures {
 public:
  FewFeatures(ParameterLayout& layout, std::string_view name, Extents<2> extent, Index channels)
      : dense_(layout, name, extent[0] * extent[1] * channels, 5) {}
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return nn::tanh(context, dense_(context, nn::flatten(context, x)));
  }
  [[nodiscard]] static Index features() { return 5; }

 private:
  nn::Dense dense_;
};

constexpr std::array<std::int32_t, 2> kLabels{2, 0};

AttentionSamplingOptions small() {
  AttentionSamplingOptions o;
  o.classes = 3;
  o.channels = 2;
  o.proxy = {3, 4};
  o.patch = {6, 9};
  o.patches = 5;
  return o;
}

}  // namespace

TEST_CASE("patch grid: around cells, and covering an image") {
  // 2 x 4 cells of 10 x 10 pixels; patches of 4 x 6 around their centres.
  const PatchGrid around = PatchGrid::around({2, 4}, {4, 6}, {20, 40});
  CHECK(around.cells() == 8);
  const auto of = [](const PatchGrid& grid, Index cell, Extents<2> patch, Extents<2> image) {
    return to_pixels(grid[cell], glimpse::Aspect::isotropic, image, patch);
  };
  const auto last = of(around, 7, {4, 6}, {20, 40});
  CHECK(last.left == doctest::Approx(32));
  CHECK(last.right == doctest::Approx(38));
  CHECK(last.top == doctest::Approx(13));
  CHECK(last.bottom == doctest::Approx(17));

  // Every pixel of an image is in a patch of the grid that covers it, as the pixels that are read say.
  for (const Extents<2> image : {Extents<2>{20, 30}, Extents<2>{21, 37}, Extents<2>{10, 10}, Extents<2>{7, 55}}) {
    const Extents<2> patch{10, 8};
    const PatchGrid grid = PatchGrid::covering(patch, image);
    CHECK(grid.rows() == (image[0] + 9) / 10);
    CHECK(grid.columns() == (image[1] + 7) / 8);
    Tensor<float, 3> numbers({image[0], image[1], 1});
    for (Index i = 0; i < numbers.size(); ++i) numbers.data()[i] = static_cast<float>(i + 1);
    const PyramidView<float> source(std::as_const(numbers).view());
    std::vector<glimpse::Region<double>> regions;
    for (Index i = 0; i < grid.cells(); ++i) regions.push_back(grid[i]);
    Tensor<float, 4> read({grid.cells(), patch[0], patch[1], 1});
    model::read_patches(source, std::span<const glimpse::Region<double>>(regions), read.view());
    std::set<float> seen(read.begin(), read.end());
    seen.erase(0);  // beyond the edge
    CHECK(static_cast<Index>(seen.size()) == numbers.size());
  }
  // One that the patches divide is tiled.
  CHECK(of(PatchGrid::covering({10, 10}, {20, 30}), 4, {10, 10}, {20, 30}).left == doctest::Approx(10));
}

TEST_CASE("attention_sampling: gradient end to end, of the best cells") {
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  for (const Index patches : {Index{12}, Index{5}, Index{1}}) {
    AttentionSamplingOptions o = small();
    o.patches = patches;
    o.best_at_test = true;
    const AttentionSampling network(o);
    GradientCheck check{Parameters<double>(network.layout(), 3)};
    check.most_elements = 25;
    Stream stream(1, 0, 0, Purpose::test);
    check.uniform_input({2, 3, 4, 2}, stream, 0, 1);
    const auto report = fovea_test::noted(check.run([&](auto& context, auto in) {
      return nn::cross_entropy(context, network.forward(context, in[0], pictures.sources()).logits, kLabels);
    }));
    INFO(patches, ": ", report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
    CHECK(report.worst <= 1e-6);
  }
}

TEST_CASE("attention_sampling: gradient of all but the attention, given the draws") {
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  for (const bool with_replacement : {false, true}) {
    AttentionSamplingOptions o = small();
    o.with_replacement = with_replacement;
    const model::BasicAttentionSampling<BrightnessMap> network(o);
    GradientCheck check{Parameters<double>(network.layout(), 3)};
    check.most_elements = 25;
    const auto report = fovea_test::noted(check.run([&](auto& context, auto /*in*/) {
      using T = typename std::remove_reference_t<decltype(context)>::Scalar;
      const model::Minibatch<T, Source> minibatch{fovea_test::proxies(context, o, pictures), pictures.sources(),
                                                  std::span<const std::int32_t>(kLabels)};
      return network.loss(context, minibatch, {0.5, {.seed = 3}}).loss_sum;
    }));
    INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
    CHECK(report.worst <= 1e-6);
  }
}

TEST_CASE("attention_sampling: answers and gradients have the mean that looking at every cell gives") {
  const Pictures<std::uint8_t> pictures(1, {31, 44}, 2, 255);
  AttentionSamplingOptions o = small();
  o.proxy = {2, 3};
  o.patches = 6;
  o.best_at_test = true;
  o.entropy = 0;
  using Model = model::BasicAttentionSampling<model::AttentionMap, FewFeatures>;
  const Model exact(o);
  Parameters<double> weights(exact.layout(), 5);
  for (Index i = 0; i < weights.values().size(); ++i) weights.values()[i] *= 2;  // an attention that is far from even
  constexpr std::array<double, 3> direction{1, -0.5, 0.3};
  Arena arena;
  // The answers, and behind them their gradient along a direction to every parameter.
  const auto of = [&](const Model& network, std::uint64_t seed) {
    arena.reset();
    std::vector<double> gradient(static_cast<std::size_t>(weights.values().size()));
    Tape<double> tape(arena, weights.values(), View<double, 1>(gradient.data(), {weights.values().size()}));
    const auto proxies = fovea_test::proxies(tape, o, pictures);
    const Var<double> logits =
        &network == &exact
            ? network.forward(tape, proxies, pictures.sources()).logits
            : network
                  .loss(tape, model::Minibatch<double, Source>{proxies, pictures.sources(), std::span(kLabels).first(1)},
                        {0, {.seed = seed}})
                  .logits;
    std::copy(direction.begin(), direction.end(), logits.gradient);
    tape.backward();
    gradient.insert(gradient.begin(), logits.value, logits.value + 3);
    return gradient;
  };
  const std::vector<double> expected = of(exact, 0);
  for (const bool with_replacement : {false, true}) {
    AttentionSamplingOptions drawing = o;
    drawing.patches = 2;
    drawing.with_replacement = with_replacement;
    const Model network(drawing);
    fovea_test::ZTest test(expected);
    for (std::uint64_t seed = 1; seed <= 4000; ++seed) test.add(of(network, seed).data());
    INFO("with replacement: ", with_replacement);
    CHECK(test.worst() <= 5);
    CHECK(test.relative_bias() <= 0.1);
    CHECK(test.total_variance() > 0);
  }
}

TEST_CASE("attention_sampling: the entropy of the attention is kept up") {
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  AttentionSamplingOptions o = small();
  const auto loss = [&](double entropy) {
    o.entropy = entropy;
    const AttentionSampling network(o);
    const Parameters<double> weights(network.layout(), 3);
    Arena arena;
    Inference<double> context(arena, weights.values());
    const auto proxies = fovea_test::proxies(context, o, pictures);
    const double h = nn::sum(context, sample::entropy(context, network.attention(context, proxies))).item();
    const model::Minibatch<double, Source> minibatch{proxies, pictures.sources(), std::span<const std::int32_t>(kLabels)};
    return std::pair(network.loss(context, minibatch, {}).loss_sum.item(), h);
  };
  const auto [without, h] = loss(0);
  CHECK(loss(0.5).first == doctest::Approx(without - 0.5 * h));
}

TEST_CASE("attention_sampling: a minibatch of mixed sizes is each of its images alone") {
  for (const bool with_replacement : {false, true}) {
    AttentionSamplingOptions o;
    o.classes = 3;
    o.proxy = {16, 20};
    o.patch = {20, 24};
    o.patches = 4;
    o.with_replacement = with_replacement;
    fovea_test::check_batch_is_each_alone(AttentionSampling(o));
  }
}

TEST_CASE("attention_sampling: what classify looks at") {
  const fovea_test::ThreeShapes task(3, 7);
  AttentionSamplingOptions o;
  o.classes = 3;
  o.proxy = {16, 20};
  o.patch = {20, 24};
  o.patches = 4;
  o.best_at_test = true;
  const AttentionSampling best(o);
  const Parameters<float> weights(best.layout(), 1);
  Arena arena;
  for (const auto& image : task.images()) {
    const auto answer = best.classify(image, weights, arena);
    CHECK(answer.steps() == 4);
    float sum = 0;
    for (const float p : answer.probabilities) sum += p;
    CHECK(sum == doctest::Approx(1).epsilon(1e-5));
    const auto seen = to_pixels(answer.regions[0], glimpse::Aspect::isotropic, image.extent(), o.patch);
    CHECK(seen.right - seen.left == doctest::Approx(24));
    CHECK(seen.bottom - seen.top == doctest::Approx(20));
    // The first is where the attention is greatest.
    Inference<float> context(arena, weights.values());
    const auto q = best.attention(context, fovea_test::proxies_of(context, std::span(&image, 1), o));
    const Index cell = std::max_element(q.logits.value, q.logits.value + q.cells()) - q.logits.value;
    CHECK(answer.regions[0].x == doctest::Approx(best.grid().x(cell)));
    CHECK(answer.regions[0].y == doctest::Approx(best.grid().y(cell)));
  }
  // Draws of another name are others; of the same, the same.
  o.best_at_test = false;
  const AttentionSampling drawn(o);
  o.test_seed = 2;
  const AttentionSampling other(o);
  const auto first = drawn.classify(task.images()[0], weights, arena);
  CHECK(first.regions[0] == drawn.classify(task.images()[0], weights, arena).regions[0]);
  CHECK(first.probabilities[0] != other.classify(task.images()[0], weights, arena).probabilities[0]);
}

TEST_CASE("attention_sampling: learns which shape is somewhere") {
  AttentionSamplingOptions o;
  o.classes = 3;
  o.proxy = {32, 32};
  o.patch = {32, 32};
  o.patches = 6;
  o.unit_length = false;  // with it these steps are too few to start
  const auto score = fovea_test::score_on_shapes(AttentionSampling(o), 300, 3e-3);
  MESSAGE("accuracy ", score.accuracy, ", found ", score.found);
  CHECK(score.accuracy >= 0.95);
  CHECK(score.found >= 0.95);
}

TEST_CASE("attention_sampling: other tasks") {
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  AttentionSamplingOptions o = small();
  o.classes = 1;
  o.question.task = model::Task::numbers;
  const AttentionSampling network(o);
  const Parameters<float> weights(network.layout(), 3);
  Arena arena;
  Inference<float> context(arena, weights.values());
  const std::array<float, 2> values{0.5F, -2};
  const auto outcome =
      network.loss(context,
                   model::Minibatch<float, Source>{fovea_test::proxies(context, o, pictures), pictures.sources(),
                                                   context.constant(values.data(), Shape{2, 1})},
                   {});
  CHECK(outcome.loss_sum.item() > 0);
  const auto answer = network.classify(pictures.sources()[0], weights, arena);
  CHECK(answer.probabilities.size() == 1);
}

TEST_CASE("attention_sampling: wrong input is refused") {
  const auto with = [](auto change) {
    return message_of([&] {
      AttentionSamplingOptions o = small();
      change(o);
      (void)AttentionSampling(o);
    });
  };
  CHECK(with([](auto& o) { o.classes = 1; }) == "attention_sampling: at least 2 classes expected, 1 came");
  CHECK(with([](auto& o) { o.channels = 0; }) == "attention_sampling: at least 1 channel expected, 0 came");
  CHECK(with([](auto& o) {
          o.patch = {0, 3};
        }) == "attention_sampling: a proxy and a patch of at least 1x1 expected, 3x4 and 0x3 came");
  CHECK(with([](auto& o) { o.patches = 0; }) == "attention_sampling: at least 1 patch expected, 0 came");
  CHECK(with([](auto& o) { o.patches = 13; }) ==
        "attention_sampling: without replacement at most 12 patches expected, 13 came");
  CHECK(with([](auto& o) {
          o.patches = 13;
          o.with_replacement = true;
        }).empty());
  CHECK(with([](auto& o) { o.entropy = -1; }) == "attention_sampling: an entropy of at least 0 expected, -1.000000 came");
  CHECK(with([](auto& o) { o.question.class_weights = {1}; }) == "question: 3 class weights expected, 1 came");
  CHECK(message_of([] { (void)model::BasicAttentionSampling<model::ConvMap>(small()); }) ==
        "attention_sampling: an attention of 1 feature expected, 32 came");

  const AttentionSampling network(small());
  const Parameters<float> weights(network.layout(), 3);
  const Pictures<std::uint8_t> grey(2, {31, 44}, 1, 255);
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  Arena arena;
  Inference<float> context(arena, weights.values());
  const auto loss = [&](const Shape& proxies, std::span<const Source> images, std::span<const std::int32_t> labels) {
    return message_of([&] {
      const Var<float> x = context.constant(proxies);
      std::fill_n(x.value, x.size(), 0.5F);
      (void)network.loss(context, model::Minibatch<float, Source>{x, images, labels}, {});
    });
  };
  CHECK(loss({2, 3, 4, 2}, pictures.sources(), kLabels).empty());
  CHECK(loss({2, 3, 4, 2}, grey.sources(), kLabels) == "attention_sampling: sample 0: 2 channels expected, the image has 1");
  CHECK(loss({2, 3, 4, 2}, {}, kLabels) == "attention_sampling: at least one image expected");
  CHECK(loss({1, 3, 4, 2}, pictures.sources(), kLabels) ==
        "attention_sampling: proxies of shape [2x3x4x2] expected, [1x3x4x2] came");
  CHECK(!loss({2, 3, 4, 2}, pictures.sources(), std::span(kLabels).first(1)).empty());
  CHECK_THROWS_AS((void)network.classify(grey.sources()[0], weights, arena), Error);
}
