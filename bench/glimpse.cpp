// SPDX-License-Identifier: MIT
// Glimpses from images in memory, every one at another place, so that the pixels come from there, as in use: GB/s of the lines
// of 64 bytes that the pixels lie in, each counted once, and of the values written or read. The rows are those of
// bench/peers/glimpse.cpp.
#include "peak.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/image/pyramid.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <type_traits>
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

constexpr double kLine = 64;

/// Bytes of the lines that `count`^2 samples, `spacing` pixels apart, read from one level: two rows and two columns a sample.
double lines_of_level(double count, double spacing, double pixel) {
  const double rows = std::min(2 * count, count * spacing + 1);
  const double row = std::min(count * (2 * pixel / kLine + 1), (count * spacing + 1) * pixel / kLine + 1);
  return rows * row * kLine;
}
/// The same of a whole glimpse.
template <class P, class Sampler>
double lines_of(const PyramidView<P>& image, double count, double spacing, double pixel) {
  if constexpr (std::is_same_v<Sampler, Antialiased>) {
    const glimpse::LevelMix mix = glimpse::choose_levels(image, spacing);
    const double fine = lines_of_level(count, spacing / image.ratio(mix.level), pixel);
    return mix.weight > 0 ? fine + lines_of_level(count, spacing / image.ratio(mix.level + 1), pixel) : fine;
  } else {
    return lines_of_level(count, spacing, pixel);
  }
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
  const double spacing = static_cast<double>(s) * static_cast<double>(std::max(height, width)) / static_cast<double>(size);
  const double pixels = lines_of<P, Sampler>(image.pyramid.pyramid(), static_cast<double>(size), spacing,
                                             static_cast<double>(channels) * sizeof(P));
  const double values = static_cast<double>(out.size()) * sizeof(float);
  const double bytes =
      backward ? 2 * (static_cast<double>(batch) * pixels + values) : static_cast<double>(batch) * pixels + values;
  bench::run_bytes(state, bytes, static_cast<double>(image.pixels.size()) * sizeof(P), [&] {
    for (Index b = 0; b < batch; ++b) {
      const Region<float>& region = regions[at++ % regions.size()];
      sampler.sample(image.pyramid, region, out.view()[b]);
      if constexpr (backward) {
        benchmark::DoNotOptimize(sampler.sample_backward(std::as_const(d_out).view()[b], image.pyramid, region));
      }
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  });
}

void rows(benchmark::internal::Benchmark* b) {
  b->ArgNames({"H", "W", "C", "glimpse", "batch", "scale"})->UseManualTime()->Unit(benchmark::kMicrosecond);
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

/// A general matrix, rotated: 1x2528x2528, 64x64, always the same place; two rows of two pixels a sample, and the values.
void rotated(benchmark::State& state) {
  const auto& image = scene<std::uint8_t>(2528, 2528, 1);
  Tensor<float, 3> out({64, 64, 1});
  const std::array<float, 6> theta{0.02F, 0.015F, 0.3F, -0.015F, 0.02F, -0.2F};
  constexpr double bytes = 2.0 * 64 * 64 * (4 + sizeof(float));
  bench::run_bytes(state, bytes, bytes, [&] {
    Bilinear{}.sample(image.pyramid, theta, out.view());
    benchmark::DoNotOptimize(Bilinear{}.sample_backward(out.view(), image.pyramid, theta));
    benchmark::ClobberMemory();
  });
}
BENCHMARK(rotated)->UseManualTime()->Unit(benchmark::kMicrosecond)->Name("bilinear/uint8/rotated/forward+backward");

}  // namespace
