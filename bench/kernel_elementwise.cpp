// SPDX-License-Identifier: MIT
// The kernels that are bound by memory or by their exponentials. Counters: bytes/s as the cost models at the heads of
// the kernels count them, and items/s.
//   bench_kernel_elementwise --benchmark_filter=... --benchmark_repetitions=9 --benchmark_report_aggregates_only=true
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/activation.hpp>
#include <fovea/kernel/attention.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/gates.hpp>
#include <fovea/kernel/loss.hpp>
#include <fovea/kernel/norm.hpp>
#include <fovea/kernel/optimizer.hpp>
#include <fovea/kernel/pool.hpp>

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace {

using namespace fovea;
using T = float;

template <std::size_t N>
Tensor<T, N> random(const Extents<N>& extents, std::uint64_t seed) {
  Tensor<T, N> tensor(extents);
  Stream stream(seed);
  for (T& value : tensor) value = stream.normal<T>();
  return tensor;
}

void report(benchmark::State& state, Index items, Index bytes) {
  state.SetItemsProcessed(state.iterations() * items);
  state.SetBytesProcessed(state.iterations() * bytes);
}

// --- activations: in the first-level cache (2^11), in the second (2^16) and in memory (2^22)
// --------------------------

using Forward = void (*)(View<const T, 1>, View<T, 1>);
using Backward = void (*)(View<const T, 1>, View<const T, 1>, View<T, 1>);

void forward(benchmark::State& state, Forward f) {
  const Index n = state.range(0);
  const auto x = random<1>({n}, 1);
  Tensor<T, 1> y({n});
  for (auto _ : state) {
    f(x.view(), y.view());
    benchmark::ClobberMemory();
  }
  report(state, n, 8 * n);
}
void backward(benchmark::State& state, Forward f, Backward b) {
  const Index n = state.range(0);
  const auto x = random<1>({n}, 1);
  const auto dy = random<1>({n}, 2);
  Tensor<T, 1> y({n});
  Tensor<T, 1> dx({n});
  f(x.view(), y.view());
  for (auto _ : state) {
    b(dy.view(), y.view(), dx.view());
    benchmark::ClobberMemory();
  }
  report(state, n, 16 * n);
}
void libm_tanh(benchmark::State& state) {
  forward(state, [](View<const T, 1> x, View<T, 1> y) {
    for (Index i = 0; i < x.size(); ++i) y(i) = std::tanh(x(i));
  });
}

#define SIZES Arg(1 << 11)->Arg(1 << 16)->Arg(1 << 22)
BENCHMARK_CAPTURE(forward, relu, kernel::relu<T>)->SIZES;
BENCHMARK_CAPTURE(forward, elu, kernel::elu<T>)->SIZES;
BENCHMARK_CAPTURE(forward, selu, kernel::selu<T>)->SIZES;
BENCHMARK_CAPTURE(forward, tanh, kernel::tanh<T>)->SIZES;
BENCHMARK_CAPTURE(forward, sigmoid, kernel::sigmoid<T>)->SIZES;
BENCHMARK_CAPTURE(forward, softplus, kernel::softplus<T>)->SIZES;
BENCHMARK_CAPTURE(forward, exp, kernel::exp<T>)->SIZES;
BENCHMARK(libm_tanh)->Arg(1 << 16);
BENCHMARK_CAPTURE(backward, relu, kernel::relu<T>, kernel::relu_backward<T>)->SIZES;
BENCHMARK_CAPTURE(backward, elu, kernel::elu<T>, kernel::elu_backward<T>)->SIZES;
BENCHMARK_CAPTURE(backward, softplus, kernel::softplus<T>, kernel::softplus_backward<T>)->SIZES;

// --- group norm: positions, channels, groups -------------------------------------------------------------------------

void group_norm(benchmark::State& state) {
  const Extents<3> e{8, state.range(0), state.range(1)};
  const Index groups = state.range(2);
  const auto x = random<3>(e, 1);
  const auto gamma = random<1>({e[2]}, 2);
  const auto beta = random<1>({e[2]}, 3);
  Tensor<T, 3> y(e);
  Tensor<T, 2> mean({e[0], groups});
  Tensor<T, 2> rstd({e[0], groups});
  for (auto _ : state) {
    kernel::group_norm<T>(x, gamma, beta, 1e-5, y, mean, rstd);
    benchmark::ClobberMemory();
  }
  report(state, x.size(), 16 * x.size());
}
void group_norm_backward(benchmark::State& state) {
  const Extents<3> e{8, state.range(0), state.range(1)};
  const Index groups = state.range(2);
  const auto x = random<3>(e, 1);
  const auto gamma = random<1>({e[2]}, 2);
  const auto beta = random<1>({e[2]}, 3);
  const auto dy = random<3>(e, 4);
  Tensor<T, 3> y(e);
  Tensor<T, 3> dx(e);
  Tensor<T, 1> dg({e[2]});
  Tensor<T, 1> db({e[2]});
  Tensor<T, 2> mean({e[0], groups});
  Tensor<T, 2> rstd({e[0], groups});
  kernel::group_norm<T>(x, gamma, beta, 1e-5, y, mean, rstd);
  for (auto _ : state) {
    kernel::group_norm_backward<T>(dy, x, gamma, mean, rstd, dx, dg, db);
    benchmark::ClobberMemory();
  }
  report(state, x.size(), 28 * x.size());
}
#define NORM_SIZES Args({400, 16, 8})->Args({400, 8, 4})->Args({1024, 32, 8})->Args({64, 64, 8})->Args({1, 128, 8})
BENCHMARK(group_norm)->NORM_SIZES;
BENCHMARK(group_norm_backward)->NORM_SIZES;

// --- pooling
// ----------------------------------------------------------------------------------------------------------

void max_pool(benchmark::State& state) {
  const auto x = random<4>({8, 32, 32, state.range(0)}, 1);
  const auto o = kernel::Pool2dOptions::square(2);
  Tensor<T, 4> y({8, 16, 16, state.range(0)});
  Tensor<T, 4> winner(y.extents());
  for (auto _ : state) {
    kernel::max_pool2d<T>(x, o, y, winner);
    benchmark::ClobberMemory();
  }
  report(state, x.size(), 4 * (x.size() + 2 * y.size()));
}
void average_pool(benchmark::State& state) {
  const auto x = random<4>({8, 32, 32, state.range(0)}, 1);
  const auto o = kernel::Pool2dOptions::square(2);
  Tensor<T, 4> y({8, 16, 16, state.range(0)});
  for (auto _ : state) {
    kernel::average_pool2d<T>(x, o, y);
    benchmark::ClobberMemory();
  }
  report(state, x.size(), 4 * (x.size() + y.size()));
}
BENCHMARK(max_pool)->Arg(8)->Arg(16)->Arg(64);
BENCHMARK(average_pool)->Arg(8)->Arg(16)->Arg(64);

// --- recurrent gates
// ----------------------------------------------------------------------------------------------------

void gru(benchmark::State& state) {
  const Index h = state.range(0);
  constexpr Index b = 16;
  const auto gx = random<2>({b, 3 * h}, 1);
  const auto gh = random<2>({b, 3 * h}, 2);
  const auto s = random<2>({b, h}, 3);
  Tensor<T, 2> out({b, h});
  Tensor<T, 2> gates({b, 3 * h});
  for (auto _ : state) {
    kernel::gru<T>(gx, gh, s, out, gates);
    benchmark::ClobberMemory();
  }
  report(state, b * h, 44 * b * h);
}
void lstm(benchmark::State& state) {
  const Index h = state.range(0);
  constexpr Index b = 16;
  const auto gx = random<2>({b, 4 * h}, 1);
  const auto gh = random<2>({b, 4 * h}, 2);
  const auto c = random<2>({b, h}, 3);
  Tensor<T, 2> next_h({b, h});
  Tensor<T, 2> next_c({b, h});
  Tensor<T, 2> gates({b, 4 * h});
  for (auto _ : state) {
    kernel::lstm<T>(gx, gh, c, next_h, next_c, gates);
    benchmark::ClobberMemory();
  }
  report(state, b * h, 60 * b * h);
}
BENCHMARK(gru)->Arg(64)->Arg(256);
BENCHMARK(lstm)->Arg(64)->Arg(256);

// --- losses and attention
// -----------------------------------------------------------------------------------------------

void softmax(benchmark::State& state) {
  const auto x = random<2>({16, state.range(0)}, 1);
  Tensor<T, 2> y(x.extents());
  for (auto _ : state) {
    kernel::softmax<T>(x, y);
    benchmark::ClobberMemory();
  }
  report(state, x.size(), 20 * x.size());
}
void cross_entropy(benchmark::State& state) {
  const auto x = random<2>({64, state.range(0)}, 1);
  const std::vector<std::int32_t> labels(64, 1);
  Tensor<T, 2> p(x.extents());
  Tensor<T, 1> losses({64});
  for (auto _ : state) {
    kernel::cross_entropy<T>(x, {labels.data(), {64}}, losses, p);
    benchmark::ClobberMemory();
  }
  report(state, x.size(), 20 * x.size());
}
void bernoulli(benchmark::State& state) {
  const auto l = random<2>({16, state.range(0)}, 1);
  const auto x = random<2>({16, state.range(0)}, 2);
  Tensor<T, 1> y({16});
  for (auto _ : state) {
    kernel::bernoulli_log_likelihood<T>(l, x, y);
    benchmark::ClobberMemory();
  }
  report(state, l.size(), 8 * l.size());
}
void key_scores(benchmark::State& state) {
  const Extents<3> e{16, state.range(0), state.range(1)};
  const auto f = random<3>(e, 1);
  const auto key = random<2>({e[0], e[2]}, 2);
  Tensor<T, 2> scores({e[0], e[1]});
  for (auto _ : state) {
    kernel::key_scores<T>(f, key, scores);
    benchmark::ClobberMemory();
  }
  report(state, f.size(), 4 * f.size());
}
void attention_pool(benchmark::State& state) {
  const Extents<3> e{16, state.range(0), state.range(1)};
  const auto f = random<3>(e, 1);
  const auto a = random<2>({e[0], e[1]}, 2);
  Tensor<T, 2> out({e[0], e[2]});
  for (auto _ : state) {
    kernel::attention_pool<T>(a, f, out);
    benchmark::ClobberMemory();
  }
  report(state, f.size(), 4 * f.size());
}
BENCHMARK(softmax)->Arg(10)->Arg(400)->Arg(10000);
BENCHMARK(cross_entropy)->Arg(10)->Arg(1000);
BENCHMARK(bernoulli)->Arg(400)->Arg(10000);
BENCHMARK(key_scores)->Args({400, 16})->Args({400, 64});
BENCHMARK(attention_pool)->Args({400, 16})->Args({400, 64});

// --- flat buffers
// -------------------------------------------------------------------------------------------------------

void adam(benchmark::State& state) {
  const Index n = state.range(0);
  const auto g = random<1>({n}, 1);
  auto w = random<1>({n}, 2);
  Tensor<T, 1> m({n});
  Tensor<T, 1> v({n});
  std::int64_t step = 0;
  for (auto _ : state) {
    kernel::adam<T>(g, ++step, {}, w, m, v);
    benchmark::ClobberMemory();
  }
  report(state, n, 28 * n);
}
void squared_norm(benchmark::State& state) {
  const auto x = random<1>({state.range(0)}, 1);
  for (auto _ : state) benchmark::DoNotOptimize(kernel::squared_norm<T>(x.view()));
  report(state, x.size(), 4 * x.size());
}
void axpy(benchmark::State& state) {
  const Index n = state.range(0);
  const auto x = random<1>({n}, 1);
  Tensor<T, 1> y({n});
  for (auto _ : state) {
    kernel::axpy<T>(T(0.5), x, y);
    benchmark::ClobberMemory();
  }
  report(state, n, 12 * n);
}
BENCHMARK(adam)->SIZES;
BENCHMARK(squared_norm)->SIZES;
BENCHMARK(axpy)->SIZES;

}  // namespace
