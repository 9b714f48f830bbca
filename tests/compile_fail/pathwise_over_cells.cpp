// expect: fovea::sample::Pathwise: draws of this distribution carry no gradient
// SPDX-License-Identifier: MIT
// A gradient through a cell that is drawn: there is none.
#include <fovea/core/arena.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/pathwise.hpp>

int main() {
  using namespace fovea;
  Arena arena;
  Tape<float> tape(arena);
  const auto parameters = tape.variable({2, 3});
#if FOVEA_SHOULD_FAIL
  const sample::Categorical<float> q{parameters};
#else
  const sample::DiagonalGaussian<float> q{parameters, parameters};
#endif
  const auto y = sample::Pathwise{}(tape, q, sample::NoiseKey{}, [&](Var<float> z) { return nn::sum_per_sample(tape, z); });
  return y.size() == 2 ? 0 : 1;
}
