// SPDX-License-Identifier: MIT
// The kernels that are bound by memory or by their exponentials: GB/s, as the cost models at the heads of the kernels count
// them, percent of the level their working set lives in, and ns for each item.
//   bench_kernel_elementwise --benchmark_filter=... --benchmark_repetitions=9 --benchmark_report_aggregates_only=true
#include "peak.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/activation.hpp>
#include <fovea/kernel/attention.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/gates.hpp>
#include <fovea/kernel/gaussian.hpp>
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

template <class Body>
void run(benchmark::State& state, Index items, Index bytes, Index working_set, Body&& body) {
  const double seconds = bench::run_bytes(state, static_cast<double>(bytes), static_cast<double>(working_set), [&] {
    body();
    benchmark::ClobberMemory();
  });
  state.counters["ns/item"] = 1e9 * seconds / static_cast<double>(items);
}

// --- activations: in the first-level cache (2^11), in the second (2^16) and in memory (2^22)

using Forward = void (*)(View<const T, 1>, View<T, 1>);
using Backward = void (*)(View<const T, 1>, View<const T, 1>, View<T, 1>);

void forward(benchmark::State& state, Forward f) {
  const Index n = state.range(0);
  const auto x = random<1>({n}, 1);
  Tensor<T, 1> y({n});
  run(state, n, 8 * n, 8 * n, [&] { f(x.view(), y.view()); });
}
void backward(benchmark::State& state, Forward f, Backward b) {
  const Index n = state.range(0);
  const auto x = random<1>({n}, 1);
  const auto dy = random<1>({n}, 2);
  Tensor<T, 1> y({n});
  Tensor<T, 1> dx({n});
  f(x.view(), y.view());
  run(state, n, 16 * n, 12 * n, [&] { b(dy.view(), y.view(), dx.view()); });
}
void libm_tanh(benchmark::State& state) {
  forward(state, [](View<const T, 1> x, View<T, 1> y) {
    for (Index i = 0; i < x.size(); ++i) y(i) = std::tanh(x(i));
  });
}

#define SIZES Arg(1 << 11)->Arg(1 << 16)->Arg(1 << 22)
BENCHMARK_CAPTURE(forward, relu, kernel::relu<T>)->SIZES->UseManualTime();
BENCHMARK_CAPTURE(forward, elu, kernel::elu<T>)->SIZES->UseManualTime();
BENCHMARK_CAPTURE(forward, selu, kernel::selu<T>)->SIZES->UseManualTime();
BENCHMARK_CAPTURE(forward, tanh, kernel::tanh<T>)->SIZES->UseManualTime();
BENCHMARK_CAPTURE(forward, sigmoid, kernel::sigmoid<T>)->SIZES->UseManualTime();
BENCHMARK_CAPTURE(forward, softplus, kernel::softplus<T>)->SIZES->UseManualTime();
BENCHMARK_CAPTURE(forward, exp, kernel::exp<T>)->SIZES->UseManualTime();
BENCHMARK(libm_tanh)->Arg(1 << 16)->UseManualTime();
BENCHMARK_CAPTURE(backward, relu, kernel::relu<T>, kernel::relu_backward<T>)->SIZES->UseManualTime();
BENCHMARK_CAPTURE(backward, elu, kernel::elu<T>, kernel::elu_backward<T>)->SIZES->UseManualTime();
BENCHMARK_CAPTURE(backward, softplus, kernel::softplus<T>, kernel::softplus_backward<T>)->SIZES->UseManualTime();

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
  run(state, x.size(), 16 * x.size(), 8 * x.size(), [&] { kernel::group_norm<T>(x, gamma, beta, 1e-5, y, mean, rstd); });
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
  run(state, x.size(), 28 * x.size(), 16 * x.size(),
      [&] { kernel::group_norm_backward<T>(dy, x, y, gamma, beta, mean, rstd, dx, dg, db); });
}
#define NORM_SIZES Args({400, 16, 8})->Args({400, 8, 4})->Args({1024, 32, 8})->Args({64, 64, 8})->Args({1, 128, 8})
BENCHMARK(group_norm)->NORM_SIZES->UseManualTime();
BENCHMARK(group_norm_backward)->NORM_SIZES->UseManualTime();

// --- pooling

void max_pool(benchmark::State& state) {
  const auto x = random<4>({8, 32, 32, state.range(0)}, 1);
  const auto o = kernel::Pool2dOptions::square(2);
  Tensor<T, 4> y({8, 16, 16, state.range(0)});
  Tensor<T, 4> winner(y.extents());
  run(state, x.size(), 4 * (x.size() + 2 * y.size()), 4 * (x.size() + 2 * y.size()),
      [&] { kernel::max_pool2d<T>(x, o, y, winner); });
}
void average_pool(benchmark::State& state) {
  const auto x = random<4>({8, 32, 32, state.range(0)}, 1);
  const auto o = kernel::Pool2dOptions::square(2);
  Tensor<T, 4> y({8, 16, 16, state.range(0)});
  run(state, x.size(), 4 * (x.size() + y.size()), 4 * (x.size() + y.size()), [&] { kernel::average_pool2d<T>(x, o, y); });
}
BENCHMARK(max_pool)->Arg(8)->Arg(16)->Arg(64)->UseManualTime();
BENCHMARK(average_pool)->Arg(8)->Arg(16)->Arg(64)->UseManualTime();

// --- recurrent gates

void gru(benchmark::State& state) {
  const Index h = state.range(0);
  constexpr Index b = 16;
  const auto gx = random<2>({b, 3 * h}, 1);
  const auto gh = random<2>({b, 3 * h}, 2);
  const auto s = random<2>({b, h}, 3);
  Tensor<T, 2> out({b, h});
  Tensor<T, 2> gates({b, 3 * h});
  run(state, b * h, 44 * b * h, 44 * b * h, [&] { kernel::gru<T>(gx, gh, s, out, gates); });
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
  run(state, b * h, 60 * b * h, 60 * b * h, [&] { kernel::lstm<T>(gx, gh, c, next_h, next_c, gates); });
}
BENCHMARK(gru)->Arg(64)->Arg(256)->UseManualTime();
BENCHMARK(lstm)->Arg(64)->Arg(256)->UseManualTime();

// --- losses and attention

void softmax(benchmark::State& state) {
  const auto x = random<2>({16, state.range(0)}, 1);
  Tensor<T, 2> y(x.extents());
  run(state, x.size(), 20 * x.size(), 8 * x.size(), [&] { kernel::softmax<T>(x, y); });
}
void cross_entropy(benchmark::State& state) {
  const auto x = random<2>({64, state.range(0)}, 1);
  const std::vector<std::int32_t> labels(64, 1);
  Tensor<T, 2> p(x.extents());
  Tensor<T, 1> losses({64});
  run(state, x.size(), 20 * x.size(), 8 * x.size(), [&] { kernel::cross_entropy<T>(x, {labels.data(), {64}}, losses, p); });
}
void bernoulli(benchmark::State& state) {
  const auto l = random<2>({16, state.range(0)}, 1);
  const auto x = random<2>({16, state.range(0)}, 2);
  Tensor<T, 1> y({16});
  run(state, l.size(), 8 * l.size(), 8 * l.size(), [&] { kernel::bernoulli_log_likelihood<T>(l, x, y); });
}
void key_scores(benchmark::State& state) {
  const Extents<3> e{16, state.range(0), state.range(1)};
  const auto f = random<3>(e, 1);
  const auto key = random<2>({e[0], e[2]}, 2);
  Tensor<T, 2> scores({e[0], e[1]});
  run(state, f.size(), 4 * f.size(), 4 * f.size(), [&] { kernel::key_scores<T>(f, key, scores); });
}
void attention_pool(benchmark::State& state) {
  const Extents<3> e{16, state.range(0), state.range(1)};
  const auto f = random<3>(e, 1);
  const auto a = random<2>({e[0], e[1]}, 2);
  Tensor<T, 2> out({e[0], e[2]});
  run(state, f.size(), 4 * f.size(), 4 * f.size(), [&] { kernel::attention_pool<T>(a, f, out); });
}
void softmax_backward(benchmark::State& state) {
  const auto dy = random<2>({16, state.range(0)}, 1);
  const auto y = random<2>(dy.extents(), 2);
  Tensor<T, 2> dx(dy.extents());
  run(state, y.size(), 24 * y.size(), 12 * y.size(), [&] { kernel::softmax_backward<T>(dy, y, dx.view()); });
}
void cross_entropy_backward(benchmark::State& state) {
  const auto p = random<2>({64, state.range(0)}, 1);
  const auto losses = random<1>({64}, 2);
  const std::vector<std::int32_t> labels(64, 1);
  Tensor<T, 2> dx(p.extents());
  run(state, p.size(), 12 * p.size(), 8 * p.size(), [&] {
    kernel::cross_entropy_backward<T>(losses, p, {labels.data(), {64}}, dx.view());
  });
}
void bernoulli_backward(benchmark::State& state) {
  const auto l = random<2>({16, state.range(0)}, 1);
  const auto x = random<2>({16, state.range(0)}, 2);
  const auto d = random<1>({16}, 3);
  Tensor<T, 2> dl(l.extents());
  run(state, l.size(), 16 * l.size(), 12 * l.size(),
      [&] { kernel::bernoulli_log_likelihood_backward<T>(d, l, x, dl.view(), View<T, 2>{}); });
}
void key_scores_backward(benchmark::State& state) {
  const Extents<3> e{16, state.range(0), state.range(1)};
  const auto f = random<3>(e, 1);
  const auto key = random<2>({e[0], e[2]}, 2);
  const auto d = random<2>({e[0], e[1]}, 3);
  Tensor<T, 3> df(e);
  Tensor<T, 2> dk(key.extents());
  run(state, f.size(), 12 * f.size(), 8 * f.size(), [&] { kernel::key_scores_backward<T>(d, f, key, df.view(), dk.view()); });
}
void attention_pool_backward(benchmark::State& state) {
  const Extents<3> e{16, state.range(0), state.range(1)};
  const auto f = random<3>(e, 1);
  const auto a = random<2>({e[0], e[1]}, 2);
  const auto d = random<2>({e[0], e[2]}, 3);
  Tensor<T, 3> df(e);
  Tensor<T, 2> da(a.extents());
  run(state, f.size(), 12 * f.size(), 8 * f.size(), [&] { kernel::attention_pool_backward<T>(d, a, f, da.view(), df.view()); });
}
void expected_coordinates(benchmark::State& state) {
  const Index side = state.range(0);
  const auto a = random<2>({16, side * side}, 1);
  Tensor<T, 2> out({16, 2});
  run(state, a.size(), 4 * a.size(), 4 * a.size(), [&] { kernel::expected_coordinates<T>(a, side, side, out.view()); });
}
BENCHMARK(softmax)->Arg(10)->Arg(400)->Arg(10000)->UseManualTime();
BENCHMARK(cross_entropy)->Arg(10)->Arg(1000)->UseManualTime();
BENCHMARK(bernoulli)->Arg(400)->Arg(10000)->UseManualTime();
BENCHMARK(key_scores)->Args({400, 16})->Args({400, 64})->UseManualTime();
BENCHMARK(attention_pool)->Args({400, 16})->Args({400, 64})->UseManualTime();

BENCHMARK(softmax_backward)->Arg(10)->Arg(400)->Arg(10000)->UseManualTime();
BENCHMARK(cross_entropy_backward)->Arg(10)->Arg(1000)->UseManualTime();
BENCHMARK(bernoulli_backward)->Arg(400)->Arg(10000)->UseManualTime();
BENCHMARK(key_scores_backward)->Args({400, 16})->Args({400, 64})->UseManualTime();
BENCHMARK(attention_pool_backward)->Args({400, 16})->Args({400, 64})->UseManualTime();
BENCHMARK(expected_coordinates)->Arg(20)->UseManualTime();

// --- one for each number of a latent: bound by the exponentials of the standard library

struct Latents {
  Tensor<T, 2> mean, log, mean_p, log_p, noise, out, d1, d2, d3, d4;
  Tensor<T, 1> row;
  explicit Latents(const Extents<2>& e)
      : mean(random<2>(e, 1)),
        log(random<2>(e, 2)),
        mean_p(random<2>(e, 3)),
        log_p(random<2>(e, 4)),
        noise(random<2>(e, 5)),
        out(e),
        d1(e),
        d2(e),
        d3(e),
        d4(e),
        row(random<1>({e[0]}, 6)) {}
};
void gaussian(benchmark::State& state, void (*f)(Latents&), Index numbers) {
  Latents l({32, state.range(0)});
  run(state, l.out.size(), 4 * numbers * l.out.size(), 4 * numbers * l.out.size(), [&] { f(l); });
}
BENCHMARK_CAPTURE(
    gaussian, sample, [](Latents& l) { kernel::gaussian_sample<T>(l.mean, l.log, l.noise, l.out.view()); }, 4)
    ->Arg(3)
    ->UseManualTime();
BENCHMARK_CAPTURE(
    gaussian, sample_backward,
    [](Latents& l) { kernel::gaussian_sample_backward<T>(l.mean, l.log, l.noise, l.d1.view(), l.d2.view()); }, 7)
    ->Arg(3)
    ->UseManualTime();
BENCHMARK_CAPTURE(
    gaussian, kl, [](Latents& l) { kernel::gaussian_kl<T>(l.mean, l.log, l.mean_p, l.log_p, l.row.view()); }, 4)
    ->Arg(3)
    ->UseManualTime();
BENCHMARK_CAPTURE(
    gaussian, kl_backward,
    [](Latents& l) {
      kernel::gaussian_kl_backward<T>(l.row, l.mean, l.log, l.mean_p, l.log_p, l.d1.view(), l.d2.view(), l.d3.view(),
                                      l.d4.view());
    },
    12)
    ->Arg(3)
    ->UseManualTime();
BENCHMARK_CAPTURE(
    gaussian, log_density, [](Latents& l) { kernel::gaussian_log_density<T>(l.noise, l.mean, l.log, l.row.view()); }, 3)
    ->Arg(3)
    ->UseManualTime();

// --- flat buffers

void adam(benchmark::State& state) {
  const Index n = state.range(0);
  const auto g = random<1>({n}, 1);
  auto w = random<1>({n}, 2);
  Tensor<T, 1> m({n});
  Tensor<T, 1> v({n});
  std::int64_t step = 0;
  run(state, n, 28 * n, 16 * n, [&] { kernel::adam<T>(g, ++step, {}, w, m, v); });
}
void squared_norm(benchmark::State& state) {
  const auto x = random<1>({state.range(0)}, 1);
  run(state, x.size(), 4 * x.size(), 4 * x.size(), [&] { benchmark::DoNotOptimize(kernel::squared_norm<T>(x.view())); });
}
void axpy(benchmark::State& state) {
  const Index n = state.range(0);
  const auto x = random<1>({n}, 1);
  Tensor<T, 1> y({n});
  run(state, n, 12 * n, 8 * n, [&] { kernel::axpy<T>(T(0.5), x, y); });
}
BENCHMARK(adam)->SIZES->UseManualTime();
BENCHMARK(squared_norm)->SIZES->UseManualTime();
BENCHMARK(axpy)->SIZES->UseManualTime();

}  // namespace
