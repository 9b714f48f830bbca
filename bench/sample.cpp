// SPDX-License-Identifier: MIT
// A location drawn from its posterior and its divergence from the prior, with all gradients: GB/s of the arrays, each read or
// written once a pass. What bounds them is the exponentials, and for a few latents what happens once.
#include "peak.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/sample/beta.hpp>
#include <fovea/sample/full_gaussian.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/kumaraswamy.hpp>
#include <fovea/sample/logistic_normal.hpp>
#include <fovea/sample/product.hpp>
#include <fovea/sample/truncated_gaussian.hpp>

#include <algorithm>
#include <cmath>

namespace {

using namespace fovea;

void gaussian(benchmark::State& state) {
  const Index batch = state.range(0);
  const Index latents = state.range(1);
  const Shape shape{batch, latents};
  const Index n = batch * latents;
  Tensor<float, 2> values({5, n});     // means and log-deviations of posterior and prior, noise
  Tensor<float, 2> gradients({4, n});  // of all but the noise
  Stream stream(1, 0, 0, Purpose::user);
  for (float& e : values) e = stream.uniform(-1.0F, 1.0F);
  const auto var = [&](Index i) { return Var<float>{&values(i, 0), &gradients(i, 0), shape}; };
  const sample::DiagonalGaussian<float> posterior{var(0), var(1)};
  const sample::DiagonalGaussian<float> prior{var(2), var(3)};
  const Var<float> noise{&values(4, 0), nullptr, shape};
  Arena arena;
  // Forward 3 + 4 arrays read and z written; backward d z, 2 + 4 values, and 2 + 4 gradients read and written.
  const double array = sizeof(float) * static_cast<double>(n);
  const double seconds = bench::run_bytes(state, (8 + 19) * array, 11 * array, [&] {
    arena.reset();
    Tape<float> tape(arena, View<const float, 1>{}, View<float, 1>{});
    const Var<float> z = sample::draw(tape, posterior, noise);
    const Var<float> kl = sample::kl_divergence(tape, posterior, prior);
    std::fill_n(z.gradient, n, 1.0F);
    std::fill_n(kl.gradient, batch, 1.0F);
    tape.backward();
  });
  state.counters["ns/item"] = 1e9 * seconds / static_cast<double>(n);
}
BENCHMARK(gaussian)
    ->Name("gaussian sample + KL/forward + backward")
    ->ArgNames({"batch", "latents"})
    ->Args({1, 3})
    ->Args({32, 3})
    ->Args({1024, 3})
    ->Args({32, 256})
    ->UseManualTime();

/// The noise of a batch, from counter-based streams; only written.
void noise(benchmark::State& state) {
  Tensor<float, 2> out({state.range(0), state.range(1)});
  sample::NoiseKey key{1, 0, 0};
  const double bytes = static_cast<double>(out.size()) * sizeof(float);
  const double seconds = bench::run_bytes(state, bytes, bytes, [&] {
    ++key.step;
    sample::fill_normal(key, out.view());
    benchmark::ClobberMemory();
  });
  state.counters["ns/item"] = 1e9 * seconds / static_cast<double>(out.size());
}
BENCHMARK(noise)->Name("normal noise")->ArgNames({"batch", "latents"})->Args({32, 12})->Args({32, 256})->UseManualTime();

/// A draw of a minibatch of regions and its log-density, forward and backward, with gradients to all parameters: what a
/// saccade of another family costs. ns for each number drawn; bound by special functions.
template <class Make>
void family(benchmark::State& state, Make make) {
  const Index batch = state.range(0);
  constexpr Index dimension = 3;
  Arena arena;
  Tensor<float, 2> values({6 * batch, dimension});
  Tensor<float, 2> gradients({6 * batch, dimension});
  Stream stream(1, 0, 0, Purpose::user);
  for (float& e : values) e = stream.uniform<float>();
  // Columns of uniform numbers in (low, high), or of their exponentials.
  const auto var = [&](Index i, Index columns, double low, double high, bool exponential = false) {
    const Var<float> x{&values(i * batch, 0), &gradients(i * batch, 0), Shape{batch, columns}};
    for (Index k = 0; k < x.size(); ++k) {
      const double y = low + (high - low) * static_cast<double>(x.value[k]);
      x.value[k] = static_cast<float>(exponential ? std::exp(y) : y);
    }
    return x;
  };
  const auto q = make(var);
  sample::NoiseKey key{1};
  const double seconds = bench::quickest(state, [&] {
    arena.reset();
    ++key.step;
    Tape<float> tape(arena, View<const float, 1>{}, View<float, 1>{});
    const Var<float> z = sample::draw(tape, q, key);
    const Var<float> density = sample::log_density(tape, q, z);
    std::fill_n(z.gradient, z.size(), 1.0F);
    std::fill_n(density.gradient, batch, 1.0F);
    tape.backward();
  });
  state.counters["ns/item"] = 1e9 * seconds / static_cast<double>(batch * dimension);
}
#define FOVEA_FAMILY(name, ...)                                                \
  BENCHMARK_CAPTURE(family, name, [](const auto& var) { return __VA_ARGS__; }) \
      ->Name("draw + log-density " #name "/forward + backward")                \
      ->ArgName("batch")                                                       \
      ->Args({32})                                                             \
      ->Args({1024})                                                           \
      ->UseManualTime()
FOVEA_FAMILY(Gaussian, sample::DiagonalGaussian<float>{var(0, 3, -1, 1), var(1, 3, -2, 0)});
FOVEA_FAMILY(Beta, sample::Beta<float>{var(0, 3, -0.7, 3, true), var(1, 3, -0.7, 3, true)});
FOVEA_FAMILY(concentratedBeta, sample::Beta<float>{var(0, 3, 7, 9, true), var(1, 3, 7, 9, true)});
FOVEA_FAMILY(Kumaraswamy, sample::Kumaraswamy<float>{var(0, 3, -0.7, 3, true), var(1, 3, -0.7, 3, true)});
FOVEA_FAMILY(truncatedGaussian, sample::TruncatedGaussian<float>{var(0, 3, -1.5, 1.5), var(1, 3, -2, 1)});
FOVEA_FAMILY(logisticNormal, sample::LogisticNormal<float>{var(0, 3, -1, 1), var(1, 3, -2, 0)});
FOVEA_FAMILY(fullGaussian, sample::FullGaussian<float>{var(0, 3, -1, 1), var(1, 6, -1, 0)});
FOVEA_FAMILY(region, sample::region(sample::Beta<float>{var(0, 1, -0.7, 3, true), var(1, 1, -0.7, 3, true)},
                                    sample::TruncatedGaussian<float>{var(2, 2, -1.5, 1.5), var(3, 2, -2, 1)}));
#undef FOVEA_FAMILY

}  // namespace
