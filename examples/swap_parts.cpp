// SPDX-License-Identifier: MIT
// The saccader with other parts in four places: how a look is read, where one may go, how looks become an answer, and how a
// gradient gets through the choice where to look. Forty training steps on a bright square in one of four corners.
// smoke-test:
#include <fovea/fovea.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <span>
#include <utility>
#include <vector>

namespace {

struct MyParts : fovea::model::DefaultParts {
  using Location = fovea::model::CellLocation;  // one cell of the proxy's map, instead of a Gaussian over (log s, x, y)
  using Head = fovea::model::AttentionHead;     // looks weighted by attention, instead of their sum
};
// Two scales of every look, one behind the other along the channels.
using MySampler = fovea::glimpse::Retina<fovea::glimpse::Antialiased, 2>;
using MySaccader = fovea::model::BasicSaccader<fovea::model::ConvMap, fovea::model::ConvVector, fovea::model::AttentionPolicy,
                                               MySampler, MyParts>;

}  // namespace

int main() {
  constexpr fovea::Index kImages = 8;
  std::vector<fovea::Tensor<std::uint8_t, 3>> pixels;
  std::vector<fovea::Pyramid<std::uint8_t>> images;
  std::array<std::int32_t, kImages> labels{};
  for (fovea::Index b = 0; b < kImages; ++b) {
    auto& picture = pixels.emplace_back(fovea::Extents<3>{240, 320, 1});
    labels[static_cast<std::size_t>(b)] = static_cast<std::int32_t>(b % 4);
    const fovea::Index top = b % 4 < 2 ? 30 + b : 150 + b;
    const fovea::Index left = b % 2 == 0 ? 40 + b : 220 + b;
    for (fovea::Index y = top; y < top + 40; ++y) {
      for (fovea::Index x = left; x < left + 40; ++x) picture(y, x, 0) = 255;
    }
  }
  for (const auto& picture : pixels) images.emplace_back(picture.view());

  const MySaccader model({.classes = 4, .proxy = {12, 16}, .glimpse = {16, 16}, .steps = 2, .decode_proxy = false});
  fovea::Parameters<float> weights(model.layout(), /*seed=*/1);
  const auto& extent = model.options().proxy;
  fovea::Tensor<float, 4> proxies({kImages, extent[0], extent[1], 1});
  for (fovea::Index b = 0; b < kImages; ++b) fovea::proxy(images[static_cast<std::size_t>(b)], proxies.view()[b]);

  fovea::Workers workers;
  fovea::train::Trainer<float, fovea::train::Adam<float>> trainer(weights, fovea::train::Adam<float>(weights.values().size()),
                                                                  workers, {.batch = kImages, .shard = kImages});
  const auto shard = [&](fovea::Tape<float>& tape, const fovea::train::ShardTask& task) {
    const fovea::model::Minibatch<float, fovea::Pyramid<std::uint8_t>> minibatch{
        tape.constant(std::as_const(proxies).data(), {kImages, extent[0], extent[1], 1}), images,
        std::span<const std::int32_t>(labels)};
    fovea::model::Looking looking;
    looking.draw = true;
    looking.noise = {.seed = 1, .step = task.step};
    const fovea::sample::ScoreFunction<fovea::sample::LeaveOneOut> estimator{.samples = 2};
    const auto outcome = model.estimate(tape, minibatch, looking, fovea::model::SaccaderLoss{}, estimator);
    return fovea::train::ShardLoss<float>{outcome.loss_sum, 0};
  };
  const double before = trainer.step(3e-3, shard).loss;
  for (int i = 0; i < 38; ++i) (void)trainer.step(3e-3, shard);
  const double after = trainer.step(3e-3, shard).loss;

  fovea::Arena memory;
  const auto answer = model.classify(images[0], weights, memory);
  std::printf("loss %.2f, after 40 steps %.2f; class of the first image: %d\n", before, after, static_cast<int>(answer.label));
  return after < before ? 0 : 1;
}
