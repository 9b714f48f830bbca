// SPDX-License-Identifier: MIT
/// \file
/// Wall-clock time.
#pragma once

#include <fovea/core/error.hpp>
#include <fovea/core/stopwatch.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace support {

using fovea::Stopwatch;

/// The middle value; of an even number the mean of the two in the middle. Throws fovea::Error on none.
[[nodiscard]] inline double median(std::vector<double> values) {
  fovea::require(!values.empty(), "median: at least one value expected");
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

/// The median of `repetitions` >= 1 calls of `work(repetition)` in milliseconds, after `warm_up` calls that do not
/// count (they get the repetition -1). Whatever `work` computes it must keep, lest the compiler leave it out.
template <class Work>
[[nodiscard]] double median_ms(int repetitions, Work&& work, int warm_up = 1) {
  for (int i = 0; i < warm_up; ++i) work(-1);
  std::vector<double> times;
  times.reserve(static_cast<std::size_t>(std::max(0, repetitions)));
  for (int i = 0; i < repetitions; ++i) {
    const Stopwatch watch;
    work(i);
    times.push_back(1000 * watch.seconds());
  }
  return median(std::move(times));
}

}  // namespace support
