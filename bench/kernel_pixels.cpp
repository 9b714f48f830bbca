// SPDX-License-Identifier: MIT
// Rows of pixels (kernel/area.hpp, kernel/bytes.hpp): GB/s of what is read and written, percent of L2, ns for each item: an
// input of a block, an output of the others.
#include "peak.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/area.hpp>
#include <fovea/kernel/bytes.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace {

using namespace fovea;

constexpr Index kWidth = 4096;

template <class T>
std::vector<T> random(Index size) {
  std::vector<T> values(static_cast<std::size_t>(size));
  Stream stream(1, 0, 0, Purpose::user);
  for (T& e : values) {
    if constexpr (std::is_integral_v<T>) {
      e = static_cast<T>((stream.bits() >> 24U) % 250);
    } else {
      e = stream.uniform(T(0), T(1));
    }
  }
  return values;
}

template <class Body>
void run(benchmark::State& state, Index items, Index bytes, Body&& body) {
  const double seconds = bench::run_bytes(state, static_cast<double>(bytes), static_cast<double>(bytes), [&] {
    body();
    benchmark::ClobberMemory();
  });
  state.counters["ns/item"] = 1e9 * seconds / static_cast<double>(items);
}

template <class In, class Out>
void blocks(benchmark::State& state) {
  const Index channels = state.range(0);
  const auto upper = random<In>(kWidth * channels);
  const auto lower = random<In>(kWidth * channels);
  std::vector<Out> out(static_cast<std::size_t>(kWidth * channels));
  const Index items = 2 * kWidth * channels;
  run(state, items, items * static_cast<Index>(sizeof(In)) + items / 4 * static_cast<Index>(sizeof(Out)),
      [&] { kernel::add_blocks(upper.data(), lower.data(), kWidth, channels, out.data()); });
}
BENCHMARK(blocks<std::uint8_t, std::uint16_t>)->ArgName("channels")->Arg(1)->Arg(3)->UseManualTime();
BENCHMARK(blocks<std::uint16_t, std::uint16_t>)->ArgName("channels")->Arg(1)->UseManualTime();
BENCHMARK(blocks<float, float>)->ArgName("channels")->Arg(1)->UseManualTime();

void divide(benchmark::State& state) {
  const std::int64_t terms = state.range(0);
  const Index width = state.range(1);
  const auto sums = random<std::uint16_t>(width);
  std::vector<std::uint8_t> out(sums.size());
  run(state, width, 3 * width, [&] {
    kernel::divide_row(sums.data(), width, terms, out.data());
    benchmark::DoNotOptimize(out[0]);
  });
}
BENCHMARK(divide)->ArgNames({"terms", "width"})->Args({4, kWidth})->Args({12, kWidth})->UseManualTime();

void round_row(benchmark::State& state) {
  const auto values = random<float>(kWidth);
  std::vector<std::uint8_t> out(values.size());
  run(state, kWidth, 5 * kWidth, [&] { kernel::round_row(values.data(), kWidth, 255.0F, out.data()); });
}
BENCHMARK(round_row)->UseManualTime();

void mix_rows(benchmark::State& state) {
  const auto upper = random<float>(kWidth);
  const auto lower = random<float>(kWidth);
  std::vector<std::uint8_t> out(upper.size());
  run(state, kWidth, 9 * kWidth, [&] { kernel::mix_rows(upper.data(), lower.data(), 0.3F, kWidth, out.data()); });
}
BENCHMARK(mix_rows)->UseManualTime();

/// The items are products: an output and a tap.
void band_row(benchmark::State& state) {
  const Index taps = state.range(0);
  const auto row = random<float>(kWidth);
  const auto weights = random<float>(kWidth * taps);
  Tensor<std::int32_t, 1> first({kWidth});
  for (Index i = 0; i < kWidth; ++i) first(i) = static_cast<std::int32_t>(i / 2 * 4);
  std::vector<float> out(row.size());
  run(state, kWidth * taps, (4 + 4 + 8 * taps) * kWidth,
      [&] { kernel::band_row(row.data(), first.data(), weights.data(), taps, 1, kWidth, out.data()); });
}
BENCHMARK(band_row)->ArgName("taps")->Arg(2)->Arg(8)->UseManualTime();

}  // namespace
