// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/pictures.hpp"
#include "support/smooth_pictures.hpp"
#include "support/three_shapes.hpp"
#include "support/worst_gradient.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/model/iterative_patch_selection.hpp>
#include <fovea/nn/counting.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::Pictures;
using model::IterativePatchSelection;
using model::IterativePatchSelectionOptions;
using Source = Pyramid<std::uint8_t>;

static_assert(model::Learner<IterativePatchSelection, Tape<float>, Source>);
static_assert(model::Learner<IterativePatchSelection, Inference<double>, Source>);
static_assert(model::Classifier<IterativePatchSelection, Source>);

namespace {

/// Six features of a patch: dense, tanh.
class FewFeatures {
 public:
  FewFeatures(ParameterLayout& layout, std::string_view name, Extents<2> extent, Index channels)
      : dense_(layout, name, extent[0] * extent[1] * channels, 6) {}
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return nn::tanh(context, dense_(context, nn::flatten(context, x)));
  }
  [[nodiscard]] static Index features() { return 6; }

 private:
  nn::Dense dense_;
};
using Small = model::BasicIterativePatchSelection<FewFeatures>;

IterativePatchSelectionOptions small() {
  IterativePatchSelectionOptions o;
  o.classes = 3;
  o.channels = 2;
  o.patch = {6, 9};
  o.patches = 4;
  o.chunk = 3;
  o.heads = 2;
  o.head_size = 3;
  o.hidden = 7;
  return o;
}

std::vector<std::int32_t> scanned(const IterativePatchSelectionOptions& o, const Source& image, std::uint64_t seed) {
  const Small network(o);
  const Parameters<double> weights(network.layout(), seed);
  Arena arena;
  Inference<double> context(arena, weights.values());
  const auto held = network.scan(context, image);
  return {held.begin(), held.end()};
}

/// The scan again, in plain numbers: what is in the memory, patch by patch.
std::vector<std::int32_t> plainly_scanned(const IterativePatchSelectionOptions& o, const Source& image, std::uint64_t seed) {
  const Small network(o);
  Parameters<double> weights(network.layout(), seed);
  const auto w = weights.at("features.w");
  const auto bias = weights.at("features.b");
  const auto query = weights.at("query");
  const auto to_heads = weights.at("query_to_heads.w");
  const auto to_keys = weights.at("key.w");
  const Index width = o.heads * o.head_size;
  const auto grid = model::PatchGrid::covering(o.patch, image.extent());
  Tensor<double, 4> patch({1, o.patch[0], o.patch[1], o.channels});
  // logits of every cell and head
  std::vector<std::vector<double>> logits;
  for (Index cell = 0; cell < grid.cells(); ++cell) {
    const auto region = grid[cell];
    model::read_patches(image, std::span(&region, 1), patch.view());
    std::vector<double> f(6);
    for (Index k = 0; k < 6; ++k) {
      double sum = bias[k];
      for (Index i = 0; i < patch.size(); ++i) sum += patch.data()[i] * w[i * 6 + k];
      f[static_cast<std::size_t>(k)] = std::tanh(sum);
    }
    std::vector<double> of_heads(static_cast<std::size_t>(o.heads));
    for (Index j = 0; j < width; ++j) {
      double key = 0;
      double asked = 0;
      for (Index k = 0; k < 6; ++k) {
        key += f[static_cast<std::size_t>(k)] * to_keys[k * width + j];
        asked += query[k] * to_heads[k * width + j];
      }
      of_heads[static_cast<std::size_t>(j / o.head_size)] += key * asked / std::sqrt(static_cast<double>(o.head_size));
    }
    logits.push_back(of_heads);
  }
  std::vector<std::int32_t> held(static_cast<std::size_t>(std::min(o.patches, grid.cells())));
  std::iota(held.begin(), held.end(), 0);
  for (auto next = static_cast<std::int32_t>(held.size()); next < grid.cells();) {
    for (Index i = 0; i < o.chunk && next < grid.cells(); ++i) held.push_back(next++);
    const auto score = [&](std::int32_t cell) {
      double mean = 0;
      for (std::size_t h = 0; h < static_cast<std::size_t>(o.heads); ++h) {
        double total = 0;
        for (const std::int32_t other : held) total += std::exp(logits[static_cast<std::size_t>(other)][h]);
        mean += std::exp(logits[static_cast<std::size_t>(cell)][h]) / total;
      }
      return mean;
    };
    std::vector<std::pair<double, std::int32_t>> scored;
    for (const std::int32_t cell : held) scored.emplace_back(-score(cell), cell);
    std::sort(scored.begin(), scored.end());
    held.clear();
    for (Index i = 0; i < o.patches; ++i) held.push_back(scored[static_cast<std::size_t>(i)].second);
  }
  std::sort(held.begin(), held.end());
  return held;
}

}  // namespace

TEST_CASE("iterative_patch_selection: the scan holds what its definition says") {
  const Pictures<std::uint8_t> pictures(3, {47, 71}, 2, 255);
  bool depends_on_chunk = false;
  for (const Source& image : pictures.sources()) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
      IterativePatchSelectionOptions o = small();
      std::vector<std::vector<std::int32_t>> all;
      for (const Index chunk : {Index{1}, Index{3}, Index{1000}}) {
        o.chunk = chunk;
        const auto held = scanned(o, image, seed);
        CHECK(held == plainly_scanned(o, image, seed));
        CHECK(held.size() == 4);
        all.push_back(held);
      }
      depends_on_chunk = depends_on_chunk || all[0] != all[2];
      // The scores of one head are of one order, whoever is among those compared.
      o.heads = 1;
      const auto whole = scanned(o, image, seed);
      CHECK(whole == plainly_scanned(o, image, seed));
      o.chunk = 2;
      CHECK(scanned(o, image, seed) == whole);
    }
  }
  CHECK(depends_on_chunk);
}

TEST_CASE("iterative_patch_selection: the scan needs the memory of a chunk, whatever the image") {
  IterativePatchSelectionOptions o;
  o.patch = {20, 20};
  o.patches = 6;
  o.chunk = 5;
  const IterativePatchSelection network(o);
  const Parameters<float> weights(network.layout(), 1);
  const auto peak = [&](Extents<2> extent) {
    const Tensor<std::uint8_t, 3> picture({extent[0], extent[1], 1});
    const PyramidView<std::uint8_t> image(picture.view());
    Arena arena;
    (void)network.classify(image, weights, arena);
    return arena.peak();
  };
  CHECK(peak({800, 900}) == peak({100, 100}));
}

TEST_CASE("iterative_patch_selection: the scan is counted") {
  IterativePatchSelectionOptions o = small();
  const Small network(o);
  const Parameters<float> weights(network.layout(), 1);
  const auto cost = [&](Extents<2> extent) {
    const Tensor<std::uint8_t, 3> picture({extent[0], extent[1], 2});
    const PyramidView<std::uint8_t> image(picture.view());
    Arena arena;
    Inference<float> context(arena, weights.values());
    nn::Counting counting(context);
    (void)network.forward(counting, std::span(&image, 1));
    return counting.multiply_adds();
  };
  // A patch more is at least its features (108 * 6) and its key (6 * 6) more.
  const Index patches = 30 * 10 - 5 * 4;
  CHECK(cost({180, 90}) - cost({30, 36}) >= patches * (108 * 6 + 6 * 6));
}

TEST_CASE("iterative_patch_selection: gradient end to end") {
  // Images of 8 x 5 patches, and of 1 x 2: fewer than are held.
  Stream stream(1, 0, 0, Purpose::test);
  const auto large = fovea_test::noise<std::uint8_t>(stream, {47, 41, 2});
  const auto little = fovea_test::noise<std::uint8_t>(stream, {5, 17, 2});
  const std::vector<PyramidView<std::uint8_t>> images{large.view(), little.view()};
  using View = PyramidView<std::uint8_t>;
  constexpr std::array<std::int32_t, 2> labels{2, 0};
  for (const Index heads : {Index{1}, Index{3}}) {
    IterativePatchSelectionOptions o = small();
    o.heads = heads;
    const Small network(o);
    GradientCheck check{Parameters<double>(network.layout(), 3)};
    check.most_elements = 60;
    const auto report = fovea_test::noted(check.run([&](auto& context, auto /*in*/) {
      using T = typename std::remove_reference_t<decltype(context)>::Scalar;
      return network
          .loss(context, model::Minibatch<T, View>{{}, std::span<const View>(images), std::span<const std::int32_t>(labels)},
                {})
          .loss_sum;
    }));
    INFO(heads, ": ", report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
    CHECK(report.worst <= 1e-6);
  }
  // And with the default features.
  IterativePatchSelectionOptions o = small();
  const IterativePatchSelection network(o);
  GradientCheck check{Parameters<double>(network.layout(), 3)};
  check.most_elements = 15;
  check.step = 1e-3;  // some derivatives are of 1e-6
  const auto report = fovea_test::noted(check.run([&](auto& context, auto /*in*/) {
    return nn::cross_entropy(context, network.forward(context, std::span<const View>(images)).logits, labels);
  }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.worst <= 1e-6);
}

TEST_CASE("iterative_patch_selection: a minibatch of mixed sizes is each of its images alone") {
  IterativePatchSelectionOptions o;
  o.classes = 3;
  o.patch = {20, 24};
  o.patches = 5;
  o.chunk = 4;
  fovea_test::check_batch_is_each_alone(IterativePatchSelection(o));
  // 128x128 has 42 patches, 96x160 has 35: one scanned, the other not.
  o.patches = 38;
  fovea_test::check_batch_is_each_alone(IterativePatchSelection(o));
}

TEST_CASE("iterative_patch_selection: what classify looks at") {
  const fovea_test::ThreeShapes task(3, 7);
  IterativePatchSelectionOptions o;
  o.classes = 3;
  o.patch = {20, 24};
  o.patches = 5;
  o.chunk = 4;
  const IterativePatchSelection network(o);
  const Parameters<float> weights(network.layout(), 1);
  Arena arena;
  for (const auto& image : task.images()) {
    const auto answer = network.classify(image, weights, arena);
    CHECK(answer.steps() == 5);
    float sum = 0;
    for (const float p : answer.probabilities) sum += p;
    CHECK(sum == doctest::Approx(1).epsilon(1e-5));
    Inference<float> context(arena, weights.values());
    const auto held = network.scan(context, image);
    const auto grid = model::PatchGrid::covering(o.patch, image.extent());
    for (std::size_t i = 0; i < held.size(); ++i) {
      CHECK(answer.regions[i].x == doctest::Approx(grid[held[i]].x));
      CHECK(answer.regions[i].y == doctest::Approx(grid[held[i]].y));
    }
  }
}

TEST_CASE("iterative_patch_selection: learns which shape is somewhere") {
  IterativePatchSelectionOptions o;
  o.classes = 3;
  o.patch = {40, 40};
  o.patches = 4;
  o.chunk = 8;
  o.heads = 4;
  o.hidden = 64;
  const auto score = fovea_test::score_on_shapes(IterativePatchSelection(o), 300, 1e-3);
  MESSAGE("accuracy ", score.accuracy, ", found ", score.found);
  CHECK(score.accuracy >= 0.9);
  CHECK(score.found >= 0.85);  // 0.93 lie within a patch of the grid
}

TEST_CASE("iterative_patch_selection: wrong input is refused") {
  const auto with = [](auto change) {
    return message_of([&] {
      IterativePatchSelectionOptions o = small();
      change(o);
      (void)IterativePatchSelection(o);
    });
  };
  CHECK(with([](auto&) {}).empty());
  CHECK(with([](auto& o) { o.classes = 1; }) == "iterative_patch_selection: at least 2 classes expected, 1 came");
  CHECK(with([](auto& o) { o.patches = 0; }) == "iterative_patch_selection: at least 1 patch expected, 0 came");
  CHECK(with([](auto& o) { o.chunk = 0; }) ==
        "iterative_patch_selection: at least 1 patch in a chunk, 1 head, a head size and a hidden size of 1 expected, 0, 2, 3 "
        "and 7 came");
  const Small network(small());
  const Parameters<float> weights(network.layout(), 3);
  const Pictures<std::uint8_t> grey(2, {31, 44}, 1, 255);
  Arena arena;
  CHECK_THROWS_WITH_AS((void)network.classify(grey.sources()[0], weights, arena),
                       "iterative_patch_selection: sample 0: 2 channels expected, the image has 1", Error);
  Inference<float> context(arena, weights.values());
  CHECK(message_of([&] {
          (void)network.loss(context, model::Minibatch<float, Source>{{}, {}, std::span<const std::int32_t>()}, {});
        }) == "iterative_patch_selection: at least one image expected");
  const Pictures<std::uint8_t> pictures(2, {31, 44}, 2, 255);
  constexpr std::array<std::int32_t, 1> one{0};
  CHECK_THROWS_AS((void)network.loss(
                      context, model::Minibatch<float, Source>{{}, pictures.sources(), std::span<const std::int32_t>(one)}, {}),
                  Error);
}
