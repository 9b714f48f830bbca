// SPDX-License-Identifier: MIT
// Answers of whole models: GFLOP/s of their products and percent of the measured peak of a core. Proxies and pyramids are there
// beforehand; everything else is in the time.
#include "peak.hpp"
#include <fovea/core/random.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/nn/counting.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace {

using namespace fovea;

template <class Model>
void inference(benchmark::State& state, const Model& model) {
  const Index batch = state.range(0);
  const auto& o = model.options();
  Tensor<std::uint8_t, 3> pixels({1024, 1024, o.channels});
  Stream stream(1, 0, 0, Purpose::user);
  for (std::uint8_t& e : pixels) e = static_cast<std::uint8_t>(stream.bits() >> 24U);
  std::vector<Pyramid<std::uint8_t>> images;
  for (Index b = 0; b < batch; ++b) images.emplace_back(std::as_const(pixels).view());
  Tensor<float, 4> proxies({batch, o.proxy[0], o.proxy[1], o.channels});
  for (float& e : proxies) e = stream.uniform(0.0F, 1.0F);
  const Parameters<float> weights(model.layout(), 1);
  Arena arena;
  model::Looking looking;
  looking.bound = false;
  looking.draw = true;  // elsewhere for every image of every call
  looking.deviation = 0.5;
  const auto pass = [&](auto& context) {
    const auto path = model.forward(context, context.constant(proxies.data(), {batch, o.proxy[0], o.proxy[1], o.channels}),
                                    std::span<const Pyramid<std::uint8_t>>(images), looking);
    benchmark::DoNotOptimize(path.logits().value[0]);
  };
  Inference<float> context(arena, weights.values());
  nn::Counting counting(context);
  pass(counting);
  bench::run_flops<float>(state, 2 * static_cast<double>(counting.multiply_adds()), [&] {
    arena.reset();
    Inference<float> again(arena, weights.values());
    ++looking.noise.step;
    pass(again);
  });
}

void saccader(benchmark::State& state) { inference(state, model::Saccader(model::SaccaderOptions{})); }
void reference(benchmark::State& state) { inference(state, model::Saccader::reference({.decode_proxy = false})); }

#define BATCHES ArgName("batch")->Arg(1)->Arg(32)->Unit(benchmark::kMicrosecond)->UseManualTime()
BENCHMARK(saccader)->Name("inference/default saccader")->BATCHES;
BENCHMARK(reference)->Name("inference/reference saccader")->BATCHES;

}  // namespace
