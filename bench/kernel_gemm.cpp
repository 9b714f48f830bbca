// SPDX-License-Identifier: MIT
// Matrix products: GFLOP/s and percent of the measured peak of a core. Layouts: N as it lies in memory, T transposed.
#include "peak.hpp"
#include <fovea/kernel/gemm.hpp>

#include <string>

namespace {

using fovea::Index;
using fovea::Tensor;
using fovea::View;

template <class T>
void gemm(benchmark::State& state, Index m, Index k, Index n, bool a_transposed, bool b_transposed) {
  Tensor<T, 2> a({m, k});
  Tensor<T, 2> b({k, n});
  Tensor<T, 2> c({m, n});
  for (T& e : a) e = T(0.25);
  for (T& e : b) e = T(0.5);
  Tensor<T, 1> workspace({fovea::kernel::gemm_workspace<T>(m, n, k)});
  const View<const T, 2> left = a_transposed ? View<const T, 2>(a.data(), {m, k}, {1, m}) : a.view();
  const View<const T, 2> right = b_transposed ? View<const T, 2>(b.data(), {k, n}, {1, k}) : b.view();
  bench::run_flops<T>(state, 2.0 * static_cast<double>(m * n * k), [&] {
    fovea::kernel::gemm<T>(left, right, c.view(), T(0), workspace);
    benchmark::ClobberMemory();
  });
}

struct Case {
  Index m, k, n;
  bool a_transposed, b_transposed;
};
constexpr Case kCases[] = {
    {256, 256, 256, false, false},
    {1024, 1024, 1024, false, false},
    {1024, 1024, 1024, true, false},
    {1024, 1024, 1024, false, true},
    {64, 576, 4096, false, false},
    {64, 64, 64, false, false},
    {32, 32, 32, false, false},
    {16, 16, 16, false, false},
    {8, 8, 8, false, false},
    // A dense layer or a cell's gates: forward, the gradient for the input, the gradient for the weights.
    {32, 256, 768, false, false},
    {32, 768, 256, false, true},
    {256, 32, 768, true, false},
    {8, 256, 768, false, false},
    {8, 768, 256, false, true},
    {256, 8, 768, true, false},
    {1, 256, 768, false, false},
    {1, 768, 256, false, true},
    {256, 1, 768, true, false},
    {32, 256, 10, false, false},
    {32, 10, 256, false, true},
    {256, 32, 10, true, false},
};

const bool kRegistered = [] {
  for (const Case& c : kCases) {
    const std::string shape = std::to_string(c.m) + "x" + std::to_string(c.k) + "x" + std::to_string(c.n) + "/" +
                              (c.a_transposed ? "T" : "N") + (c.b_transposed ? "T" : "N");
    benchmark::RegisterBenchmark(("gemm/float/" + shape).c_str(), gemm<float>, c.m, c.k, c.n, c.a_transposed, c.b_transposed)
        ->UseManualTime();
  }
  benchmark::RegisterBenchmark("gemm/double/256x256x256/NN", gemm<double>, 256, 256, 256, false, false)->UseManualTime();
  return true;
}();

}  // namespace
