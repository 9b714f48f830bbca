// expect: no match for call|no matching function
// SPDX-License-Identifier: MIT
// A view of rank 2 takes two indices.
#include <fovea/core/view.hpp>

float element(const fovea::View<float, 2>& view) {
#if FOVEA_SHOULD_FAIL
  return view(0, 0, 0);
#else
  return view(0, 0);
#endif
}
