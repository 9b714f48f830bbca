// expect: capture Vars, views and numbers by value, nothing that owns
// SPDX-License-Identifier: MIT
// What a backward call captures lives in an arena, whose objects are never destroyed.
#include <fovea/core/tape.hpp>

#include <vector>

int main() {
  fovea::Arena arena;
  fovea::Tape<float> tape(arena);
#if FOVEA_SHOULD_FAIL
  const std::vector<float> weights(3);
#else
  const float weights = 3;
#endif
  tape.record([weights] { (void)weights; });
}
