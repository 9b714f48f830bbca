// SPDX-License-Identifier: MIT
// What the processor can do at most, measured beside what is being measured: machines are shared, and their clocks move.
#pragma once

#include <fovea/kernel/simd.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <ctime>

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

/// Runs `body` for the benchmark, and reports GFLOP/s and percent of the peak, from the quickest of batches of about 0.2 ms
/// of processor time, with the peak measured just before and just after. The times shown are those of a whole batch.
template <class T, class Body>
void run_flops(benchmark::State& state, double flops, Body&& body) {
  body();
  int repeat = 1;
  for (;;) {
    const double start = thread_seconds();
    for (int i = 0; i < repeat; ++i) body();
    if (thread_seconds() - start > 2e-4) break;
    repeat *= 2;
  }
  const double before = fma_peak<T>();
  double best = 1e30;
  for (auto _ : state) {
    const double start = thread_seconds();
    for (int i = 0; i < repeat; ++i) body();
    const double seconds = thread_seconds() - start;
    best = std::min(best, seconds / repeat);
    state.SetIterationTime(seconds);
  }
  const double peak = std::max(before, fma_peak<T>());
  state.counters["GFLOP/s"] = flops / best * 1e-9;
  state.counters["peak_GFLOP/s"] = peak * 1e-9;
  state.counters["percent"] = 100 * flops / best / peak;
}

}  // namespace bench
