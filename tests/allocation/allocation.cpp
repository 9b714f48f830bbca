// SPDX-License-Identifier: MIT
// After the first pass neither a training step nor an inference allocates from the heap.
#include "support/counting_new.hpp"
#include "support/digits_task.hpp"
#include <fovea/image/pyramid.hpp>

#include <doctest/doctest.h>

using namespace fovea;

TEST_CASE("allocation: the counter counts") {
  const fovea_test::AllocationCount count;
  const std::vector<int> some(100, 1);
  CHECK(some.size() == 100);
  CHECK(count.made() >= 1);
}

TEST_CASE("allocation: none in a training step after the first") {
  for (const int threads : {1, 2}) {
    fovea_test::DigitsTask task(threads, 4);
    // Every worker must have had its first shard, and its arena a reset after it.
    for (int i = 0; i < 12; ++i) task.step();
    const fovea_test::AllocationCount count;
    for (int i = 0; i < 5; ++i) task.step();
    CHECK(count.made() == 0);
  }
}

TEST_CASE("allocation: none in an inference after the first, a pyramid of the image included") {
  fovea_test::DigitsTask task(1, 4);
  task.step();
  Arena arena;
  Index label = task.classify(arena).label;
  Tensor<std::uint8_t, 3> pixels({501, 777, 1});
  Pyramid<std::uint8_t> pyramid;
  pyramid.assign(std::as_const(pixels).view());
  label += task.classify(arena).label;
  const fovea_test::AllocationCount count;
  for (int i = 0; i < 5; ++i) {
    pyramid.assign(std::as_const(pixels).view());
    label += task.classify(arena).label;
  }
  CHECK(count.made() == 0);
  CHECK(label >= 0);
}
