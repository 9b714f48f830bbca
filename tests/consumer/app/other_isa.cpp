// SPDX-License-Identifier: MIT
// Compiled for x86-64-v3, beside a main.cpp that is not.
#include "other_isa.hpp"

#include <fovea/fovea.hpp>

#define CONSUMER_TEXT(x) CONSUMER_TEXT_OF(x)
#define CONSUMER_TEXT_OF(x) #x

const char* other_abi() { return CONSUMER_TEXT(FOVEA_ABI); }

float other_last(float* numbers, int rows, int columns) {
  const fovea::View<float, 2> view(numbers, {rows, columns});
  return view(rows - 1, columns - 1);
}
