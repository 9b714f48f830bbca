// SPDX-License-Identifier: MIT
// Pyramids, proxies, and canvases seen as large images.
#include <fovea/core/arena.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/magnified.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <utility>

namespace {

using namespace fovea;

template <class P>
Tensor<P, 3> noise(const Extents<3>& extents) {
  Tensor<P, 3> image(extents);
  Stream stream(1, 0, 0, Purpose::test);
  for (P& pixel : image) pixel = static_cast<P>(stream.bits() >> 24U);
  return image;
}

template <class P>
void pyramid(benchmark::State& state) {
  const auto image = noise<P>({state.range(0), state.range(1), state.range(2)});
  Pyramid<P> result;
  for (auto _ : state) {
    result.assign(image.view());
    benchmark::DoNotOptimize(result.pyramid().level(1).data());
  }
  state.counters["bytes/s"] =
      benchmark::Counter(static_cast<double>(image.size()) * sizeof(P), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(pyramid<std::uint8_t>)
    ->Args({2528, 2528, 1})
    ->Args({3000, 4000, 3})
    ->Args({3001, 3999, 4})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(pyramid<std::uint16_t>)->Args({2528, 2528, 1})->Unit(benchmark::kMicrosecond);
BENCHMARK(pyramid<float>)->Args({2528, 2528, 1})->Unit(benchmark::kMicrosecond);

void area(benchmark::State& state) {
  const auto image = noise<std::uint8_t>({2528, 2528, 1});
  Tensor<float, 3> out({20, 20, 1});
  for (auto _ : state) resize_area(image.view(), out.view());
}
BENCHMARK(area)->Unit(benchmark::kMicrosecond)->Name("resize_area/2528x2528 to 20x20");

void magnify(benchmark::State& state) {
  const auto canvas = noise<std::uint8_t>({100, 100, 1});
  Arena arena;
  const Magnifier magnifier({100, 100}, {2528, 2528});
  MagnifiedImage image;
  for (auto _ : state) image.assign(magnifier, canvas.view(), arena);
}
BENCHMARK(magnify)->Unit(benchmark::kMicrosecond)->Name("magnified/levels of 100x100 as 2528x2528");

void materialise(benchmark::State& state) {
  const auto canvas = noise<std::uint8_t>({100, 100, 1});
  Arena arena;
  const Magnifier magnifier({100, 100}, {2528, 2528});
  Tensor<std::uint8_t, 3> image({2528, 2528, 1});
  for (auto _ : state) magnifier.materialise(canvas.view(), image.view(), arena);
}
BENCHMARK(materialise)->Unit(benchmark::kMicrosecond)->Name("magnified/all pixels of 2528x2528");

void make_proxy(benchmark::State& state) {
  const auto canvas = noise<std::uint8_t>({100, 100, 1});
  Arena arena;
  const Magnifier magnifier({100, 100}, {2528, 2528});
  const MagnifiedImage image(magnifier, canvas.view(), arena);
  Tensor<float, 3> out({20, 20, 1});
  for (auto _ : state) proxy(image, out.view());
}
BENCHMARK(make_proxy)->Unit(benchmark::kMicrosecond)->Name("proxy/20x20 of 2528x2528");

}  // namespace
