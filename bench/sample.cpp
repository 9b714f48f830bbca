// SPDX-License-Identifier: MIT
// A location drawn from its posterior and its divergence from the prior, with all gradients: GB/s of the arrays, each read or
// written once a pass. What bounds them is the exponentials, and for a few latents what happens once.
#include "peak.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/sample/gaussian.hpp>

#include <algorithm>

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

}  // namespace
