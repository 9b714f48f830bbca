// SPDX-License-Identifier: MIT
#include "support/digits_task.hpp"

#include <doctest/doctest.h>

#include <cstring>

TEST_CASE("determinism: a saccader trained for 200 steps on 1, 2, 3 and 8 threads has the same bits") {
  const auto train = [](int threads) {
    fovea_test::DigitsTask task(threads, 2);
    double loss = 0;
    for (int i = 0; i < 200; ++i) loss = task.step().loss;
    return std::pair{task.weights(), loss};
  };
  const auto [one, loss] = train(1);
  for (const int threads : {2, 3, 8}) {
    const auto [many, same_loss] = train(threads);
    CHECK(std::memcmp(one.values().data(), many.values().data(),
                      static_cast<std::size_t>(one.values().size()) * sizeof(float)) == 0);
    CHECK(loss == same_loss);
  }
}
