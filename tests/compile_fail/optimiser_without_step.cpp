// expect: Optimizer
// SPDX-License-Identifier: MIT
// A trainer wants an optimiser that can step.
#include <fovea/train/adam.hpp>
#include <fovea/train/trainer.hpp>

#if FOVEA_SHOULD_FAIL
struct Nothing {};
using Optimiser = Nothing;
#else
using Optimiser = fovea::train::Adam<float>;
#endif

using Trainer = fovea::train::Trainer<float, Optimiser>;
int main() { return sizeof(Trainer) == 0 ? 1 : 0; }
