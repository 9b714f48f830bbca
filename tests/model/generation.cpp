// SPDX-License-Identifier: MIT
// What a saccader dreams: shapes and names of random numbers, and, once it has learned, proxies like those it has seen.
#include "support/message_of.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/model/saccader.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/trainer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using model::Saccader;
using model::SaccaderOptions;

namespace {

SaccaderOptions tiny(bool closed = true) {
  SaccaderOptions o;
  o.classes = 2;
  o.proxy = {6, 8};
  o.glimpse = {6, 6};
  o.steps = 3;
  o.state = 16;
  o.location_features = 8;
  o.scale = 0.5;
  o.deviation = 0.2;
  o.closed_loop = closed;
  return o;
}

template <class Model>
void check_dreams(const Model& saccader) {
  const SaccaderOptions& o = saccader.options();
  Parameters<float> weights(saccader.layout(), 3);
  Stream stream(3, 0, 1, Purpose::test);
  for (Index i = 0; i < weights.values().size(); ++i) weights.values()[i] += 0.1F * stream.normal<float>();
  Arena arena;
  Inference<float> context(arena, weights.values());
  const auto dreams = saccader.generate(context, 4, {.seed = 7});
  const auto again = saccader.generate(context, 4, {.seed = 7});
  const auto other = saccader.generate(context, 4, {.seed = 8});
  REQUIRE(static_cast<Index>(dreams.size()) == o.steps);
  const auto same = [](const Var<float>& a, const Var<float>& b) {
    return std::memcmp(a.value, b.value, static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
  };
  for (std::size_t t = 0; t < dreams.size(); ++t) {
    CHECK(dreams[t].z.shape == Shape{4, 3});
    CHECK(dreams[t].regions.shape == Shape{4, 3});
    CHECK(dreams[t].proxy.shape == Shape{4, o.proxy[0], o.proxy[1], o.channels});
    for (Index i = 0; i < dreams[t].proxy.size(); ++i) {
      CHECK(dreams[t].proxy.value[i] >= 0);
      CHECK(dreams[t].proxy.value[i] <= 1);
    }
    for (Index b = 0; b < 4; ++b) CHECK(dreams[t].regions.value[3 * b] > 0);
    CHECK(same(dreams[t].z, again[t].z));
    CHECK(same(dreams[t].proxy, again[t].proxy));
    CHECK(!same(dreams[t].z, other[t].z));
    CHECK(!same(dreams[t].proxy, other[t].proxy));
    if (t > 0) CHECK(!same(dreams[t].z, dreams[t - 1].z));
  }
  // Sample b is named by its number alone, and more steps begin as fewer do.
  const auto one = saccader.generate(context, 1, {.seed = 7, .first_sample = 2}, o.steps + 2);
  REQUIRE(static_cast<Index>(one.size()) == o.steps + 2);
  for (std::size_t t = 0; t < dreams.size(); ++t) {
    for (Index k = 0; k < 3; ++k) CHECK(one[t].z.value[k] == doctest::Approx(dreams[t].z.value[6 + k]).epsilon(1e-4));
    const Index size = one[t].proxy.size();
    for (Index i = 0; i < size; ++i) {
      CHECK(one[t].proxy.value[i] == doctest::Approx(dreams[t].proxy.value[2 * size + i]).epsilon(1e-4));
    }
  }
}

template <class L>
struct WithLocation : model::DefaultParts {
  using Location = L;
};

}  // namespace

TEST_CASE("generation: shapes, ranges and names, in every loop and with any location over places") {
  check_dreams(Saccader(tiny(true)));
  check_dreams(Saccader(tiny(false)));
  SaccaderOptions o = tiny();
  o.channels = 2;
  check_dreams(model::BasicSaccader<model::ConvMap, model::ConvVector, model::AttentionPolicy, glimpse::Antialiased,
                                    WithLocation<model::BetaLocation>>(o));
  check_dreams(Saccader::reference({.proxy = {10, 12}, .glimpse = {9, 8}, .steps = 3, .latent = 12, .filters = 2}));
}

TEST_CASE("generation: without a decoder, or of nothing, there is a sentence") {
  SaccaderOptions o = tiny();
  o.decode_proxy = false;
  const Saccader blind(o);
  const Saccader saccader(tiny());
  const Parameters<float> weights(saccader.layout(), 1);
  Arena arena;
  Inference<float> context(arena, weights.values());
  CHECK(message_of([&] { (void)blind.generate(context, 1, {}); }) ==
        "saccader: a decoder expected (SaccaderOptions::decode_proxy), there is none to generate with");
  CHECK(message_of([&] { (void)saccader.generate(context, 0, {}); }) == "saccader: at least 1 sample expected, 0 came");
  CHECK(message_of([&] { (void)saccader.generate(context, 1, {}, 65); }) == "saccader: 1 to 64 steps expected, 65 came");
}

namespace {

/// Trains a saccader on the bound alone, on two kinds of pictures: bright on the left, bright on the right. What it dreams
/// last:
struct Dreamt {
  double distance = 0;    ///< from the nearer of the two kinds, as root mean square; of grey it is 0.4, of noise 0.49
  double mean_off = 0;    ///< the mean of all dreams, from that of what was seen: 0.5 everywhere
  double left_share = 0;  ///< of dreams that are nearer to the first kind
};

struct BeforeAndAfter {
  Dreamt before;
  Dreamt after;
};

template <class Model>
BeforeAndAfter before_and_after(const Model& saccader, Index steps) {
  constexpr Index height = 24;
  constexpr Index width = 32;
  constexpr Index batch = 16;
  const SaccaderOptions& o = saccader.options();
  std::vector<Tensor<float, 3>> pixels;
  std::vector<Pyramid<float>> images;
  std::vector<std::int32_t> labels;
  for (Index kind = 0; kind < 2; ++kind) {
    Tensor<float, 3> picture({height, width, 1});
    for (Index y = 0; y < height; ++y) {
      for (Index x = 0; x < width; ++x) picture(y, x, 0) = (x < width / 2) == (kind == 0) ? 0.9F : 0.1F;
    }
    pixels.push_back(std::move(picture));
  }
  Tensor<float, 4> proxies({batch, o.proxy[0], o.proxy[1], 1});
  for (Index b = 0; b < batch; ++b) {
    images.emplace_back(pixels[static_cast<std::size_t>(b % 2)].view());
    labels.push_back(static_cast<std::int32_t>(b % 2));
    proxy(images.back(), proxies.view()[b]);
  }
  Parameters<float> weights(saccader.layout(), 5);

  const auto dream = [&] {
    constexpr Index count = 200;
    const Index size = o.proxy[0] * o.proxy[1];
    Arena arena;
    Inference<float> context(arena, weights.values());
    const auto last = saccader.generate(context, count, {.seed = 11}).back().proxy;
    Dreamt dreamt;
    std::vector<double> mean(static_cast<std::size_t>(size));
    for (Index b = 0; b < count; ++b) {
      std::array<double, 2> square{};
      for (Index i = 0; i < size; ++i) {
        const float p = last.value[b * size + i];
        mean[static_cast<std::size_t>(i)] += static_cast<double>(p) / count;
        for (std::size_t kind = 0; kind < 2; ++kind) {
          const float seen = proxies.data()[static_cast<Index>(kind) * size + i];
          square[kind] += std::pow(static_cast<double>(p - seen), 2) / static_cast<double>(size);
        }
      }
      dreamt.distance += std::sqrt(std::min(square[0], square[1])) / count;
      dreamt.left_share += square[0] < square[1] ? 1.0 / count : 0;
    }
    for (const double m : mean) dreamt.mean_off = std::max(dreamt.mean_off, std::abs(m - 0.5));
    return dreamt;
  };

  const Dreamt before = dream();
  Workers workers(1);
  train::Trainer trainer(weights, train::Adam<float>(weights.values().size()), workers, {.batch = batch, .shard = batch});
  for (Index step = 0; step < steps; ++step) {
    (void)trainer.step(3e-3, [&](Tape<float>& tape, const train::ShardTask& task) {
      model::Looking looking;
      looking.draw = true;
      looking.noise = {.seed = 2, .step = task.step};
      const model::Minibatch<float, Pyramid<float>> minibatch{
          tape.constant(proxies.data(), Shape{batch, o.proxy[0], o.proxy[1], 1}), std::span<const Pyramid<float>>(images),
          std::span<const std::int32_t>(labels)};
      const model::SaccaderLoss bound_alone{{0, 1, 1}, 0, 0, 0, 0};
      return train::ShardLoss<float>{saccader.outcome(tape, minibatch, looking, bound_alone).loss_sum, 0};
    });
  }
  return {before, dream()};
}

}  // namespace

TEST_CASE("generation: after the bound alone was maximised, dreams are like what was seen") {
  SaccaderOptions o = tiny();
  o.filters = 4;
  // h_0 is the cell's own here, so that all that is known of a proxy goes through z.
  const BeforeAndAfter dreams =
      before_and_after(model::BasicSaccader<model::ResidualVector, model::ConvVector, model::GaussianPolicy>(o), 400);
  INFO("distance ", dreams.before.distance, ", then ", dreams.after.distance, "; mean off by ", dreams.after.mean_off,
       "; left ", dreams.after.left_share);
  CHECK(dreams.before.distance > 0.3);
  CHECK(dreams.after.distance < 0.05);
  CHECK(dreams.after.mean_off < 0.2);
  CHECK(std::abs(dreams.after.left_share - 0.5) < 0.25);
}

TEST_CASE("generation: where h_0 was made of the proxy, which a dream has not, dreams are vaguer, and better than grey") {
  const BeforeAndAfter dreams = before_and_after(Saccader(tiny()), 300);
  INFO("distance ", dreams.before.distance, ", then ", dreams.after.distance, "; mean off by ", dreams.after.mean_off,
       "; left ", dreams.after.left_share);
  CHECK(dreams.before.distance > 0.4);
  CHECK(dreams.after.distance < 0.33);
  CHECK(dreams.after.mean_off < 0.3);
  CHECK(std::abs(dreams.after.left_share - 0.5) < 0.35);
}
