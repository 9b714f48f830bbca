// SPDX-License-Identifier: MIT
// One decision where to look, trained by an estimator: a distribution over cells, a cost that is only known where one looked,
// and 300 steps of plain gradient descent.
// smoke-test:
#include <fovea/core/arena.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/grid.hpp>
#include <fovea/sample/score_function.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace {

/// How far the cell looked at is from what there is to see, at (0.75, -0.25). Any function would do: of a glimpse, of a
/// network.
template <fovea::Context C>
fovea::VarOf<C> cost_of_looking_at(C& context, fovea::VarOf<C> cells) {
  const auto place = fovea::sample::locations(context, fovea::sample::Grid{4, 4}, cells);
  const auto cost = context.constant(fovea::Shape{cells.shape[0]});
  for (fovea::Index i = 0; i < cost.size(); ++i) {
    cost.value[i] = std::hypot(place.value[2 * i] - 0.75F, place.value[2 * i + 1] + 0.25F);
  }
  return cost;
}

}  // namespace

int main() {
  std::vector<float> logits(16), gradient(16);
  fovea::Arena arena;
  for (std::uint64_t step = 0; step < 300; ++step) {
    arena.reset();
    std::fill(gradient.begin(), gradient.end(), 0.0F);
    fovea::Tape<float> tape(arena);
    const fovea::Var<float> parameters{logits.data(), gradient.data(), fovea::Shape{1, 16}};
    const fovea::sample::Categorical<float> where{parameters};
    const fovea::sample::NoiseKey key{.seed = 1, .step = step};
    const fovea::sample::ScoreFunction<fovea::sample::LeaveOneOut> estimator{.samples = 4};
    const auto cost = [&](fovea::Var<float> cells) { return cost_of_looking_at(tape, cells); };
    tape.backward(fovea::nn::sum(tape, estimator(tape, where, key, cost)));
    for (std::size_t i = 0; i < logits.size(); ++i) logits[i] -= 0.5F * gradient[i];
  }
  arena.reset();
  fovea::Inference<float> context(arena);
  const auto chances = fovea::sample::probabilities(
      context, fovea::sample::Categorical<float>{context.constant(logits.data(), fovea::Shape{1, 16})});
  for (std::size_t i = 0; i < logits.size(); ++i)
    std::printf("%5.2f%c", static_cast<double>(chances.value[i]), i % 4 == 3 ? '\n' : ' ');
  return chances.value[7] > 0.8F ? 0 : 1;
}
