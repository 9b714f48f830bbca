// SPDX-License-Identifier: MIT
// Zoom is learned: the scale is a latent with a gradient everywhere, in pictures of any shape, all of which can be looked at;
// and a policy that must zoom to answer does.
#include "support/smooth_pictures.hpp"
#include "support/worst_gradient.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/trainer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

using namespace fovea;

namespace {

using Source = Pyramid<std::uint8_t>;

/// Pictures of 160 x 200 pixels in noise, with an L of 20 pixels near the middle that is turned in one of four ways: of which a
/// glimpse of nearly the whole picture has less than two pixels.
struct Turned {
  std::vector<Tensor<std::uint8_t, 3>> pixels;
  std::vector<Source> images;
  std::vector<std::int32_t> labels;

  Turned(Index count, std::uint64_t seed) {
    constexpr Extents<2> extent{160, 200};
    constexpr Index side = 20;
    constexpr Index stroke = 5;
    constexpr Index jitter = 16;
    for (Index i = 0; i < count; ++i) {
      Stream stream(seed, 0, static_cast<std::uint64_t>(i), Purpose::test);
      Tensor<std::uint8_t, 3> picture({extent[0], extent[1], 1});
      for (std::uint8_t& pixel : picture) pixel = static_cast<std::uint8_t>(stream.below(80));
      const auto label = static_cast<std::int32_t>(stream.below(4));
      const auto anywhere = [&](Index n) { return (n - side) / 2 - jitter + static_cast<Index>(stream.below(2 * jitter + 1)); };
      const Index top = anywhere(extent[0]);
      const Index left = anywhere(extent[1]);
      for (Index y = 0; y < side; ++y) {
        for (Index x = 0; x < side; ++x) {
          const bool row = (label & 1) != 0 ? y >= side - stroke : y < stroke;
          const bool column = (label & 2) != 0 ? x >= side - stroke : x < stroke;
          if (row || column) picture(top + y, left + x, 0) = 240;
        }
      }
      pixels.push_back(std::move(picture));
      labels.push_back(label);
    }
    for (const auto& picture : pixels) images.emplace_back(picture.view());
  }
};

struct Score {
  double accuracy = 0;
  double scale = 1;  ///< geometric mean over images and looks
};

/// Trains from regions of 9/10 of the picture, with pictures never seen twice, and asks about 200 others. No term of the loss
/// and no curriculum asks for a scale.
Score learned(double zoom, std::uint64_t seed) {
  constexpr Index batch = 24;
  constexpr Index steps = 500;
  model::SaccaderOptions o;
  o.classes = 4;
  o.proxy = {16, 20};
  o.glimpse = {12, 12};
  o.steps = 2;
  o.state = 24;
  o.location_features = 8;
  o.scale = 0.9;
  o.deviation = 0.15;
  o.decode_proxy = false;
  o.policy.zoom = zoom;
  const model::Saccader saccader(o);
  Parameters<float> weights(saccader.layout(), seed);
  Workers workers(1);
  train::Trainer trainer(weights, train::Adam<float>(weights.values().size()), workers, {.batch = batch, .shard = batch});
  for (Index step = 0; step < steps; ++step) {
    const Turned train(batch, 100 + static_cast<std::uint64_t>(step));
    const double rate = 0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(step) / steps));
    (void)trainer.step(1e-3 * rate, [&](Tape<float>& tape, const train::ShardTask& task) {
      const auto proxies = tape.constant(Shape{batch, o.proxy[0], o.proxy[1], 1});
      for (Index b = 0; b < batch; ++b) proxy(train.images[static_cast<std::size_t>(b)], proxies.mutable_values<4>()[b]);
      model::Looking looking;
      looking.draw = true;
      looking.bound = false;
      looking.noise = {.seed = seed, .step = task.step};
      const model::Minibatch<float, Source> minibatch{proxies, std::span<const Source>(train.images),
                                                      std::span<const std::int32_t>(train.labels)};
      return train::ShardLoss<float>{saccader.outcome(tape, minibatch, looking, model::SaccaderLoss{}).loss_sum, 0};
    });
  }
  const Turned test(200, 2);
  Arena arena;
  Score score;
  double log_scale = 0;
  for (std::size_t i = 0; i < test.images.size(); ++i) {
    arena.reset();
    const auto answer = saccader.classify(test.images[i], weights, arena);
    score.accuracy += answer.label == test.labels[i] ? 1.0 / 200 : 0;
    for (const auto& region : answer.regions) log_scale += std::log(static_cast<double>(region.s)) / (200.0 * 2);
  }
  score.scale = std::exp(log_scale);
  return score;
}

}  // namespace

TEST_CASE("zoom: what a glimpse shows has a derivative in z at every scale, in pictures of any shape") {
  const auto check = [](auto locations, double from, double to, double base) {
    for (const Extents<2> extent : {Extents<2>{33, 140}, Extents<2>{150, 21}, Extents<2>{64, 64}}) {
      const fovea_test::Pictures<float> picture(1, extent, 1, 1.0);
      for (int i = 0; i < 6; ++i) {
        const double z0 = from + (to - from) * i / 5;
        GradientCheck gradients;
        gradients.input({1, 3}, std::vector<double>{z0, 0.137, -0.217});
        const auto report = fovea_test::noted(gradients.run([&](auto& context, auto in) {
          return glimpse::Antialiased{}(context, picture.sources(), locations(context, in[0], base), Extents<2>{5, 7});
        }));
        INFO(extent[0], "x", extent[1], " at ", z0, ": ", report.where, ": ", report.analytic, ", ", report.numeric);
        CHECK(report.worst <= 1e-6);
        // It is no derivative of 0.
        Arena arena;
        Tape<double> tape(arena);
        const auto z = tape.variable(Shape{1, 3});
        z.value[0] = z0;
        z.value[1] = 0.137;
        z.value[2] = -0.217;
        const auto seen = glimpse::Antialiased{}(tape, picture.sources(), locations(tape, z, base), Extents<2>{5, 7});
        tape.backward(nn::sum(tape, nn::multiply(tape, seen, seen)));
        CHECK(std::abs(z.gradient[0]) > 1e-4);
      }
    }
  };
  SUBCASE("the logarithm of the scale") { check(model::LogScale{}, std::log(0.03), std::log(0.97), 0.5); }
  SUBCASE("the published coordinates, mended") { check(model::Squashed{}, -3, 3, 0.45); }
}

TEST_CASE("zoom: the region of scale 1 is the whole picture, whatever its shape") {
  for (const Extents<2> extent : {Extents<2>{33, 140}, Extents<2>{150, 21}, Extents<2>{64, 64}}) {
    const glimpse::Region<double> whole{1, 0, 0};
    const auto all = to_pixels(whole, glimpse::Aspect::stretch, extent, {5, 7});
    CHECK(all.left == doctest::Approx(0));
    CHECK(all.top == doctest::Approx(0));
    CHECK(all.right == doctest::Approx(static_cast<double>(extent[1])));
    CHECK(all.bottom == doctest::Approx(static_cast<double>(extent[0])));
    // With square pixels in a square glimpse, by default, and what is beside it.
    const auto more = to_pixels(whole, glimpse::Antialiased{}.aspect, extent, {12, 12});
    CHECK(more.left <= 1e-9);
    CHECK(more.top <= 1e-9);
    CHECK(more.right >= static_cast<double>(extent[1]) - 1e-9);
    CHECK(more.bottom >= static_cast<double>(extent[0]) - 1e-9);
    // Whatever lies in a corner is seen, and not in half of the picture.
    for (const bool bottom : {false, true}) {
      for (const bool right : {false, true}) {
        Tensor<float, 3> picture({extent[0], extent[1], 1});
        for (Index y = 0; y < extent[0] / 8; ++y) {
          for (Index x = 0; x < extent[1] / 8; ++x) {
            picture(bottom ? extent[0] - 1 - y : y, right ? extent[1] - 1 - x : x, 0) = 1;
          }
        }
        const Pyramid<float> pyramid(std::as_const(picture).view());
        Tensor<double, 3> seen({12, 12, 1});
        const auto at = [&](double s) {
          glimpse::Antialiased{.aspect = glimpse::Aspect::stretch}.sample(pyramid, glimpse::Region<double>{s, 0, 0},
                                                                          seen.view());
          return seen(bottom ? 11 : 0, right ? 11 : 0, 0);
        };
        CHECK(at(1) > 0.05);  // two columns of a narrow picture are blurred with what is beside them
        CHECK(at(0.5) < 0.01);
      }
    }
  }
}

TEST_CASE("zoom: a policy reaches every place of the picture, from the whole of it down to a small part") {
  // A map whose one bright cell is attended to alone.
  constexpr Extents<2> grid{5, 8};
  constexpr double start = 0.9;
  model::PolicyOptions options;
  options.zoom = 2.5;
  ParameterLayout layout;
  const model::AttentionPolicy policy(layout, "policy", 1, 2, start, options);
  Parameters<double> weights(layout, 1);
  std::fill_n(weights.values().data(), weights.values().size(), 0.0);
  weights.at("policy.key.b")[0] = 1;
  Arena arena;
  const auto region = [&](Index cell, double narrower) {
    weights.at("policy.state_offset.b")[0] = -narrower;
    arena.reset();
    Inference<double> context(arena, weights.values());
    const auto map = context.constant(Shape{1, grid[0], grid[1], 1});
    const auto two = context.constant(Shape{1, 2});
    std::fill_n(map.value, map.size(), 0.0);
    std::fill_n(two.value, 2, 0.0);
    map.value[cell] = 1000;
    model::PolicyInput<double> input;
    input.map = map;
    input.features = input.state = two;
    input.scale = start;
    input.survey = policy.survey(context, map);
    const auto r = model::LogScale{}(context, policy(context, input).mean, start);
    return glimpse::Region<double>{r.value[0], r.value[1], r.value[2]};
  };
  CHECK(region(0, 20).s == doctest::Approx(start * std::exp(-2.5)));
  CHECK(region(0, 0).s == doctest::Approx(start));
  CHECK(region(0, -20).s > 1);
  // Regions just as large as a cell, together, are the picture.
  const double narrower = std::atanh(std::log(start * 5) / 2.5);
  std::vector<int> covered(100 * 160);
  for (Index cell = 0; cell < grid[0] * grid[1]; ++cell) {
    const auto r = region(cell, narrower);
    CHECK(r.s == doctest::Approx(0.2));
    CHECK(r.x == doctest::Approx(-1 + (2 * static_cast<double>(cell % 8) + 1) / 8));
    CHECK(r.y == doctest::Approx(-1 + (2 * static_cast<double>(cell / 8) + 1) / 5));
    for (Index y = 0; y < 100; ++y) {
      for (Index x = 0; x < 160; ++x) {
        const bool in = std::abs((static_cast<double>(x) + 0.5) / 80 - 1 - r.x) <= r.s &&
                        std::abs((static_cast<double>(y) + 0.5) / 50 - 1 - r.y) <= r.s;
        covered[static_cast<std::size_t>(160 * y + x)] += in ? 1 : 0;
      }
    }
  }
  CHECK(*std::min_element(covered.begin(), covered.end()) >= 1);
}

TEST_CASE("zoom: a policy that must zoom to answer does, and without zoom there is no answer") {
  // Of seeds 1 to 5: accuracies from 0.85 to 0.98 at scales from 0.31 to 0.44; without zoom from 0.33 to 0.49, 0.25 being
  // chance.
  constexpr std::uint64_t seed = 1;
  const Score with = learned(2.5, seed);
  const Score without = learned(0, seed);
  INFO("accuracy ", with.accuracy, " at a scale of ", with.scale, "; without zoom ", without.accuracy);
  CHECK(with.scale < 0.5);
  CHECK(with.accuracy > 0.75);
  CHECK(without.scale == doctest::Approx(0.9));
  CHECK(without.accuracy < 0.55);
}
