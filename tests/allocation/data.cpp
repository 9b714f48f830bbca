// SPDX-License-Identifier: MIT
// The generator of the cluttered digits takes nothing from the heap, from the first sample on.
#include "support/counting_new.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/cluttered_digits.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>

TEST_CASE("allocation: none in a sample of the cluttered digits") {
  fovea::data::DigitSet set;
  set.images = fovea::Tensor<std::uint8_t, 3>({20, 28, 28});
  set.labels = fovea::Tensor<std::uint8_t, 1>({20});
  std::fill(set.images.begin(), set.images.end(), std::uint8_t{9});
  const fovea::data::ClutteredDigits generator(set, {.digits = 2}, 1);
  fovea::Tensor<std::uint8_t, 3> canvas({100, 100, 1});
  fovea::Index width = 0;
  const fovea_test::AllocationCount count;
  for (std::uint64_t i = 0; i < 50; ++i) {
    width += generator.generate(i, canvas).boxes[1].width;
    width += generator.generate(fovea::Stream(i), canvas).boxes[1].width;
  }
  CHECK(count.made() == 0);
  CHECK(width == 100 * 28);
}
