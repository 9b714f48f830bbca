// expect: fovea::sample::Rebar: a Categorical expected
// SPDX-License-Identifier: MIT
// REBAR relaxes cells; a place has nothing to relax.
#include <fovea/core/arena.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/rebar.hpp>

int main() {
  using namespace fovea;
  Arena arena;
  Tape<float> tape(arena);
  const auto parameters = tape.variable({2, 3});
#if FOVEA_SHOULD_FAIL
  const sample::DiagonalGaussian<float> q{parameters, parameters};
#else
  const sample::Categorical<float> q{parameters};
#endif
  const auto y = sample::Rebar{}(tape, q, sample::NoiseKey{}, [&](Var<float> z) { return nn::sum_per_sample(tape, z); });
  return y.size() == 2 ? 0 : 1;
}
