// SPDX-License-Identifier: MIT
// Glimpses from images in memory: the rows of torch's affine_grid + grid_sample in bench/peers (62 and 152 us, 402 and 876 us,
// ... on the machine they were measured on). `places`: every glimpse at another place, so that the pixels come from memory, as
// in use.
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/image/pyramid.hpp>

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

namespace {

using namespace fovea;
using glimpse::Antialiased;
using glimpse::Bilinear;
using glimpse::Region;

template <class P>
struct Scene {
  Tensor<P, 3> pixels;
  Pyramid<P> pyramid;
};

/// Noise; made once for each size.
template <class P>
const Scene<P>& scene(Index height, Index width, Index channels) {
  static std::map<std::tuple<Index, Index, Index>, std::unique_ptr<Scene<P>>> scenes;
  auto& entry = scenes[{height, width, channels}];
  if (!entry) {
    entry = std::make_unique<Scene<P>>();
    entry->pixels = Tensor<P, 3>({height, width, channels});
    Stream stream(1, 0, 0, Purpose::test);
    for (P& pixel : entry->pixels) {
      if constexpr (std::is_integral_v<P>) {
        pixel = static_cast<P>(stream.bits() >> 24U);
      } else {
        pixel = stream.uniform<P>();
      }
    }
    entry->pyramid.assign(std::as_const(entry->pixels).view());
  }
  return *entry;
}

/// Arguments: height, width, channels, glimpse, batch, scale in thousandths (0: a sample for each pixel).
template <class P, class Sampler, bool backward>
void run(benchmark::State& state) {
  const Index height = state.range(0);
  const Index width = state.range(1);
  const Index channels = state.range(2);
  const Index size = state.range(3);
  const Index batch = state.range(4);
  const Scene<P>& image = scene<P>(height, width, channels);
  const float s = state.range(5) == 0 ? static_cast<float>(size) / static_cast<float>(std::max(height, width))
                                      : static_cast<float>(state.range(5)) / 1000.0F;
  Stream stream(2, 0, 0, Purpose::test);
  std::vector<Region<float>> regions(1024);
  for (auto& region : regions) {
    region = glimpse::clamp_inside(Region<float>{s, stream.uniform(-1.0F, 1.0F), stream.uniform(-1.0F, 1.0F)}, Sampler{}.aspect,
                                   {height, width});
  }
  Tensor<float, 4> out({batch, size, size, channels});
  Tensor<float, 4> d_out({batch, size, size, channels});
  for (float& g : d_out) g = stream.uniform(-1.0F, 1.0F);
  const Sampler sampler;
  std::size_t at = 0;
  for (auto _ : state) {
    for (Index b = 0; b < batch; ++b) {
      const Region<float>& region = regions[at++ % regions.size()];
      sampler.sample(image.pyramid, region, out.view()[b]);
      if constexpr (backward) {
        benchmark::DoNotOptimize(sampler.sample_backward(std::as_const(d_out).view()[b], image.pyramid, region));
      }
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.counters["values/s"] =
      benchmark::Counter(static_cast<double>(out.size()), benchmark::Counter::kIsIterationInvariantRate);
}

void rows(benchmark::internal::Benchmark* b) {
  b->ArgNames({"H", "W", "C", "glimpse", "batch", "scale"})->Unit(benchmark::kMicrosecond);
  b->Args({2528, 2528, 1, 64, 1, 0});
  b->Args({2528, 2528, 1, 64, 1, 300});
  b->Args({2528, 2528, 1, 32, 32, 0});
  b->Args({2528, 2528, 1, 64, 32, 250});
  b->Args({3000, 4000, 3, 64, 1, 0});
  b->Args({3000, 4000, 3, 64, 32, 250});
}

BENCHMARK(run<std::uint8_t, Antialiased, false>)->Apply(rows)->Name("antialiased/uint8/forward");
BENCHMARK(run<std::uint8_t, Antialiased, true>)->Apply(rows)->Name("antialiased/uint8/forward+backward");
BENCHMARK(run<std::uint8_t, Bilinear, false>)->Apply(rows)->Name("bilinear/uint8/forward");
BENCHMARK(run<std::uint8_t, Bilinear, true>)->Apply(rows)->Name("bilinear/uint8/forward+backward");
BENCHMARK(run<float, Bilinear, false>)->Apply(rows)->Name("bilinear/float/forward");
BENCHMARK(run<float, Bilinear, true>)->Apply(rows)->Name("bilinear/float/forward+backward");

/// A general matrix, rotated: 1x2528x2528, 64x64.
void rotated(benchmark::State& state) {
  const auto& image = scene<std::uint8_t>(2528, 2528, 1);
  Tensor<float, 3> out({64, 64, 1});
  const std::array<float, 6> theta{0.02F, 0.015F, 0.3F, -0.015F, 0.02F, -0.2F};
  for (auto _ : state) {
    Bilinear{}.sample(image.pyramid, theta, out.view());
    benchmark::DoNotOptimize(Bilinear{}.sample_backward(out.view(), image.pyramid, theta));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(rotated)->Unit(benchmark::kMicrosecond)->Name("bilinear/uint8/rotated/forward+backward");

}  // namespace
