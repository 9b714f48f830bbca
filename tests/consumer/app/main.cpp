// SPDX-License-Identifier: MIT
// A stranger's program: one file for the machine's baseline, one for AVX2, both using fovea.
#include "other_isa.hpp"
#include <fovea/fovea.hpp>
#include <fovea/version.hpp>

#include <array>
#include <cstdio>
#include <cstring>

#define CONSUMER_TEXT(x) CONSUMER_TEXT_OF(x)
#define CONSUMER_TEXT_OF(x) #x

int main() {
  std::array<float, 6> numbers{1, 2, 3, 4, 5, 6};
  const fovea::View<float, 2> view(numbers.data(), {2, 3});
  if (view(1, 2) != 6.0F) return 1;

  std::printf("fovea %d.%d.%d, here %s\n", FOVEA_VERSION_MAJOR, FOVEA_VERSION_MINOR, FOVEA_VERSION_PATCH,
              CONSUMER_TEXT(FOVEA_ABI));
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    std::printf("this machine has no AVX2: the other file is linked, not run\n");
    return 0;
  }
#endif
  std::printf("there %s\n", other_abi());
#if defined(__x86_64__)
  if (std::strcmp(other_abi(), CONSUMER_TEXT(FOVEA_ABI)) == 0) return 1;
#endif
  return other_last(numbers.data(), 2, 3) == 6.0F ? 0 : 1;
}
