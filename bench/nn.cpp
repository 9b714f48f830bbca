// SPDX-License-Identifier: MIT
// Layers on a tape, forward and backward: GFLOP/s of their products (three times those of the forward pass: the gradients of
// the input and of the weights cost as much each) and percent of the measured peak of a core. A convolution counts as a plain
// sum: Winograd's does fewer, and may have more than 100.
#include "peak.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/group_norm.hpp>
#include <fovea/nn/recurrent.hpp>

#include <algorithm>

namespace {

using namespace fovea;

/// Noise, and a gradient that is wanted.
struct Input {
  Tensor<float, 1> values, gradients;
  Var<float> var;
  explicit Input(const Shape& shape)
      : values({shape.size()}), gradients({shape.size()}), var{values.data(), gradients.data(), shape} {
    Stream stream(2, 0, 0, Purpose::user);
    for (float& e : values) e = stream.uniform(-1.0F, 1.0F);
  }
};

/// `net(tape, x)` gives what a gradient of ones is sent into.
template <class Net>
void run(benchmark::State& state, const ParameterLayout& layout, const Shape& shape, double forward_flops, Net&& net) {
  const Parameters<float> parameters(layout, 1);
  Tensor<float, 1> gradients({layout.size()});
  const Input x(shape);
  Arena arena;
  bench::run_flops<float>(state, 3 * forward_flops, [&] {
    arena.reset();
    Tape<float> tape(arena, parameters.values(), gradients.view());
    const Var<float> y = net(tape, x.var);
    std::fill_n(y.gradient, y.size(), 1.0F);
    tape.backward();
  });
}

double number(Index n) { return static_cast<double>(n); }

void dense(benchmark::State& state) {
  const Index batch = state.range(0);
  const Index inputs = state.range(1);
  const Index outputs = state.range(2);
  ParameterLayout layout;
  const nn::Dense layer(layout, "dense", inputs, outputs);
  run(state, layout, {batch, inputs}, 2 * number(batch * inputs * outputs),
      [&](Tape<float>& tape, const Var<float>& x) { return layer(tape, x); });
}
BENCHMARK(dense)
    ->ArgNames({"batch", "inputs", "outputs"})
    ->Args({1, 256, 256})
    ->Args({32, 256, 256})
    ->Args({32, 1024, 128})
    ->Args({32, 256, 10})
    ->Args({128, 256, 10000})
    ->UseManualTime();

/// A convolution 3x3 without bias, and a group norm with ELU behind it; the norm's time counts, not its operations.
void block(benchmark::State& state) {
  const Index batch = state.range(0);
  const Index side = state.range(1);
  const Index inputs = state.range(2);
  const Index outputs = state.range(3);
  const Index stride = state.range(4);
  ParameterLayout layout;
  const nn::Conv2d conv(layout, "conv", inputs, outputs, {.kernel = 3, .stride = stride, .padding = 1, .bias = false});
  const nn::GroupNorm norm(layout, "norm", outputs, 0, nn::kGroupNormEpsilon, nn::Activation::elu);
  const Index positions = batch * conv.output_height(side) * conv.output_width(side);
  run(state, layout, {batch, side, side, inputs}, 2.0 * 9 * number(positions * inputs * outputs),
      [&](Tape<float>& tape, const Var<float>& x) { return norm(tape, conv(tape, x)); });
}
BENCHMARK(block)
    ->Name("conv + group norm + ELU")
    ->ArgNames({"batch", "side", "inputs", "outputs", "stride"})
    ->Args({1, 32, 32, 32, 1})
    ->Args({32, 32, 32, 32, 1})
    ->Args({32, 32, 32, 64, 2})
    ->Args({32, 8, 128, 128, 1})
    ->UseManualTime();

void gru(benchmark::State& state) {
  const Index batch = state.range(0);
  const Index units = state.range(1);
  ParameterLayout layout;
  const nn::GruCell cell(layout, "cell", units, units);
  const Input h({batch, units});
  run(state, layout, {batch, units}, 2.0 * 6 * number(batch * units * units),
      [&](Tape<float>& tape, const Var<float>& x) { return cell(tape, x, h.var); });
}
void lstm(benchmark::State& state) {
  const Index batch = state.range(0);
  const Index units = state.range(1);
  ParameterLayout layout;
  const nn::LstmCell cell(layout, "cell", units, units);
  const Input h({batch, units});
  const Input c({batch, units});
  run(state, layout, {batch, units}, 2.0 * 8 * number(batch * units * units), [&](Tape<float>& tape, const Var<float>& x) {
    return cell(tape, x, {h.var, c.var}).h;
  });
}
#define CELLS ArgNames({"batch", "units"})->Args({1, 64})->Args({1, 256})->Args({32, 64})->Args({32, 256})->UseManualTime()
BENCHMARK(gru)->CELLS;
BENCHMARK(lstm)->CELLS;

}  // namespace
