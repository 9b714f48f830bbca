// SPDX-License-Identifier: MIT
// What the processor can do at most, measured beside what is being measured: machines are shared, and their clocks move.
#pragma once

#include <fovea/kernel/simd.hpp>

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <ctime>
#include <string>
#include <vector>

namespace bench {

/// Seconds of processor time of this thread: what others take of a shared core does not count.
inline double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Fused multiply-adds of T per second, times two, on one core; the best of a few runs of about 0.2 ms.
template <class T>
double fma_peak() {
  using V = fovea::simd::Batch<T>;
  constexpr int chains = 12;
  constexpr int steps = 20000;
  double best = 0;
  for (int run = 0; run < 15; ++run) {
    V sum[chains];
    for (V& s : sum) {
      s = V(T(1));
      benchmark::DoNotOptimize(s);  // equal chains would be computed once
    }
    V a(T(1.0001));
    V b(T(1e-9));
    benchmark::DoNotOptimize(a);
    benchmark::DoNotOptimize(b);
    const double start = thread_seconds();
    for (int i = 0; i < steps; ++i) {
#if defined(__GNUC__)
#pragma GCC unroll 12
#endif
      for (V& s : sum) s = fovea::simd::fma(s, a, b);
    }
    const double seconds = thread_seconds() - start;
    V total = sum[0];
    for (int i = 1; i < chains; ++i) total = total + sum[i];
    benchmark::DoNotOptimize(total);
    best = std::max(best, 2.0 * steps * chains * static_cast<double>(fovea::simd::kWidth<T>) / seconds);
  }
  return best;
}

/// Bytes of L2 of a core, or a quarter of a megabyte where the system does not say.
inline std::size_t l2_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return static_cast<std::size_t>(bytes);
#endif
  return std::size_t{1} << 18;
}

/// Bytes per second of `passes` sums over `count` floats.
inline double read_rate(const float* p, std::size_t count, int passes) {
  using V = fovea::simd::Batch<float>;
  constexpr std::size_t width = static_cast<std::size_t>(fovea::simd::kWidth<float>);
  constexpr std::size_t chains = 8;
  V sum[chains];
  for (V& s : sum) s = V(0.0F);
  const double start = thread_seconds();
  for (int pass = 0; pass < passes; ++pass) {
    for (std::size_t i = 0; i + chains * width <= count; i += chains * width) {
      for (std::size_t k = 0; k < chains; ++k) sum[k] = sum[k] + fovea::simd::load(p + i + k * width);
    }
  }
  for (V& s : sum) benchmark::DoNotOptimize(s);
  return passes * static_cast<double>(count * sizeof(float)) / (thread_seconds() - start);
}

/// Bytes per second that a core reads from its L2: summing half of it; the best of a few runs of about 0.1 ms.
inline double l2_peak() {
  static const std::vector<float> buffer(l2_bytes() / 2 / sizeof(float), 1.0F);
  double best = 0;
  for (int run = 0; run < 15; ++run) best = std::max(best, read_rate(buffer.data(), buffer.size(), 8));
  return best;
}

/// Bytes per second that a core reads from memory: the best of the eight parts of 256 MB, in order. Where the last level of
/// cache is larger than that, or shared with other machines, part of them comes from there.
inline double dram_peak() {
  static const std::vector<float> buffer(std::size_t{256} * 1024 * 1024 / sizeof(float), 1.0F);
  const std::size_t part = buffer.size() / 8;
  double best = 0;
  for (std::size_t i = 0; i < 8; ++i) best = std::max(best, read_rate(buffer.data() + i * part, part, 1));
  return best;
}

/// Seconds of one call of `body`, from the quickest of batches of about 0.2 ms of processor time. The times shown by the
/// benchmark, which needs UseManualTime, are those of a whole batch.
template <class Body>
double quickest(benchmark::State& state, Body&& body) {
  body();
  int repeat = 1;
  for (;;) {
    const double start = thread_seconds();
    for (int i = 0; i < repeat; ++i) body();
    if (thread_seconds() - start > 2e-4) break;
    repeat *= 2;
  }
  double best = 1e30;
  for (auto _ : state) {
    const double start = thread_seconds();
    for (int i = 0; i < repeat; ++i) body();
    const double seconds = thread_seconds() - start;
    best = std::min(best, seconds / repeat);
    state.SetIterationTime(seconds);
  }
  return best;
}

/// Runs `body`, which does `flops` operations, and reports GFLOP/s and percent of the peak, measured just before and just
/// after.
template <class T, class Body>
void run_flops(benchmark::State& state, double flops, Body&& body) {
  const double before = fma_peak<T>();
  const double seconds = quickest(state, body);
  const double peak = std::max(before, fma_peak<T>());
  state.counters["GFLOP/s"] = flops / seconds * 1e-9;
  state.counters["peak_GFLOP/s"] = peak * 1e-9;
  state.counters["percent"] = 100 * flops / seconds / peak;
}

/// Runs `body`, which moves `bytes` (each read and each write of the cost model), and reports GB/s and percent of what the core
/// reads from where its working set lives: L2, or what lies behind it (a working set in L1 may have more than 100 percent of
/// the former, one in the last level of cache of the latter). Returns the seconds of a call.
template <class Body>
double run_bytes(benchmark::State& state, double bytes, double working_set, Body&& body) {
  const bool l2 = working_set <= static_cast<double>(l2_bytes());
  const auto peak_of = [l2] { return l2 ? l2_peak() : dram_peak(); };
  const double before = peak_of();
  const double seconds = quickest(state, body);
  const double peak = std::max(before, peak_of());
  const std::string name = l2 ? "L2" : "DRAM";
  state.counters["GB/s"] = bytes / seconds * 1e-9;
  state.counters[name + "_GB/s"] = peak * 1e-9;
  state.counters["percent_of_" + name] = 100 * bytes / seconds / peak;
  return seconds;
}

}  // namespace bench
