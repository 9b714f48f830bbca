// SPDX-License-Identifier: MIT
// Pyramids, proxies, and canvases seen as large images: GB/s of the bytes read and written once.
#include "peak.hpp"
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

/// `bytes` in all, each once.
template <class Body>
void run(benchmark::State& state, double bytes, Body&& body) {
  bench::run_bytes(state, bytes, bytes, body);
}

template <class P>
double bytes_of(const Tensor<P, 3>& image) {
  return static_cast<double>(image.size()) * sizeof(P);
}

template <class P>
void pyramid(benchmark::State& state) {
  const auto image = noise<P>({state.range(0), state.range(1), state.range(2)});
  Pyramid<P> result;
  run(state, bytes_of(image) * 4 / 3, [&] {
    result.assign(image.view());
    benchmark::DoNotOptimize(result.pyramid().level(1).data());
  });
}
BENCHMARK(pyramid<std::uint8_t>)
    ->Args({2528, 2528, 1})
    ->Args({3000, 4000, 3})
    ->Args({3001, 3999, 4})
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(pyramid<std::uint16_t>)->Args({2528, 2528, 1})->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(pyramid<float>)->Args({2528, 2528, 1})->UseManualTime()->Unit(benchmark::kMicrosecond);

void area(benchmark::State& state) {
  const auto image = noise<std::uint8_t>({2528, 2528, 1});
  Tensor<float, 3> out({20, 20, 1});
  run(state, bytes_of(image), [&] { resize_area(image.view(), out.view()); });
}
BENCHMARK(area)->UseManualTime()->Unit(benchmark::kMicrosecond)->Name("resize_area/2528x2528 to 20x20");

/// Bytes of the levels of a canvas seen as a large image.
double levels_of(const Magnifier& magnifier, const Tensor<std::uint8_t, 3>& canvas, Arena& arena) {
  const MagnifiedImage image(magnifier, canvas.view(), arena);
  double bytes = 0;
  for (int k = 0; k < image.pyramid().levels(); ++k) bytes += static_cast<double>(product(image.pyramid().level(k).extents()));
  return bytes;
}

void magnify(benchmark::State& state) {
  const auto canvas = noise<std::uint8_t>({100, 100, 1});
  Arena arena;
  const Magnifier magnifier({100, 100}, {2528, 2528});
  MagnifiedImage image;
  run(state, bytes_of(canvas) + levels_of(magnifier, canvas, arena), [&] { image.assign(magnifier, canvas.view(), arena); });
}
BENCHMARK(magnify)->UseManualTime()->Unit(benchmark::kMicrosecond)->Name("magnified/levels of 100x100 as 2528x2528");

void materialise(benchmark::State& state) {
  const auto canvas = noise<std::uint8_t>({100, 100, 1});
  Arena arena;
  const Magnifier magnifier({100, 100}, {2528, 2528});
  Tensor<std::uint8_t, 3> image({2528, 2528, 1});
  run(state, bytes_of(canvas) + bytes_of(image), [&] { magnifier.materialise(canvas.view(), image.view(), arena); });
}
BENCHMARK(materialise)->UseManualTime()->Unit(benchmark::kMicrosecond)->Name("magnified/all pixels of 2528x2528");

void make_proxy(benchmark::State& state) {
  const auto canvas = noise<std::uint8_t>({100, 100, 1});
  Arena arena;
  const Magnifier magnifier({100, 100}, {2528, 2528});
  const MagnifiedImage image(magnifier, canvas.view(), arena);
  Tensor<float, 3> out({20, 20, 1});
  run(state, levels_of(magnifier, canvas, arena) + bytes_of(out), [&] { proxy(image, out.view()); });
}
BENCHMARK(make_proxy)->UseManualTime()->Unit(benchmark::kMicrosecond)->Name("proxy/20x20 of 2528x2528");

}  // namespace
