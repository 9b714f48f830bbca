// SPDX-License-Identifier: MIT
// A training step of the default saccader on one thread: forward, backward, Adam. GFLOP/s of its products, three times those of
// the forward pass, and percent of the measured peak of a core.
#include "peak.hpp"
#include <fovea/core/parallel.hpp>
#include <fovea/core/random.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/nn/counting.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/trainer.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace {

using namespace fovea;

void saccader(benchmark::State& state) {
  const Index batch = state.range(0);
  const model::Saccader saccader(model::SaccaderOptions{});
  const auto& o = saccader.options();
  Tensor<std::uint8_t, 3> pixels({1024, 1024, o.channels});
  Stream stream(1, 0, 0, Purpose::user);
  for (std::uint8_t& e : pixels) e = static_cast<std::uint8_t>(stream.bits() >> 24U);
  std::vector<Pyramid<std::uint8_t>> images;
  for (Index b = 0; b < batch; ++b) images.emplace_back(std::as_const(pixels).view());
  Tensor<float, 4> proxies({batch, o.proxy[0], o.proxy[1], o.channels});
  for (float& e : proxies) e = stream.uniform(0.0F, 1.0F);
  std::vector<std::int32_t> labels(static_cast<std::size_t>(batch));
  for (std::int32_t& label : labels) label = static_cast<std::int32_t>(stream.below(static_cast<std::uint32_t>(o.classes)));

  Parameters<float> weights(saccader.layout(), 1);
  Workers workers(1);
  train::Trainer<float, train::Adam<float>> trainer(weights, train::Adam<float>(weights.values().size()), workers,
                                                    {.batch = batch, .shard = batch});
  const auto shard = [&](auto& context, const train::ShardTask& task) {
    model::Looking looking;
    looking.draw = true;
    looking.deviation = 0.5;
    looking.noise = {3, task.step, static_cast<std::uint64_t>(task.first)};
    const auto path = saccader.forward(context, context.constant(proxies.data(), {batch, o.proxy[0], o.proxy[1], o.channels}),
                                       std::span<const Pyramid<std::uint8_t>>(images), looking);
    return train::ShardLoss<float>{saccader.loss(context, path, labels, {}), 0};
  };
  Arena arena;
  Inference<float> context(arena, weights.values());
  nn::Counting counting(context);
  (void)shard(counting, train::ShardTask{0, 0, batch, 0});
  bench::run_flops<float>(state, 3 * 2 * static_cast<double>(counting.multiply_adds()),
                          [&] { benchmark::DoNotOptimize(trainer.step(1e-5, shard).loss); });
}
BENCHMARK(saccader)
    ->Name("training step/default saccader")
    ->ArgName("batch")
    ->Arg(8)
    ->Arg(32)
    ->Unit(benchmark::kMicrosecond)
    ->UseManualTime();

}  // namespace
