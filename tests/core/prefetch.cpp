// SPDX-License-Identifier: MIT
#include <fovea/core/parallel.hpp>
#include <fovea/core/prefetch.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

using fovea::Index;
using fovea::Prefetch;

TEST_CASE("prefetch: every item is made once, by whoever is free, and taken as it was made") {
  for (const int background : {0, 1, 3}) {
    for (const int threads : {1, 2, 5}) {
      CAPTURE(background);
      CAPTURE(threads);
      constexpr std::uint64_t first = 17;  // a training that goes on
      constexpr Index per_step = 3;
      std::mutex mutex;
      std::multiset<std::uint64_t> made;
      Prefetch<std::uint64_t> ahead(
          std::vector<std::uint64_t>(2 * per_step), first,
          [&](std::uint64_t& slot, std::uint64_t item) {
            if (item % 5 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
            slot = item * item;
            const std::lock_guard lock(mutex);
            made.insert(item);
          },
          background);
      fovea::Workers workers(threads);
      std::atomic<int> wrong = 0;
      constexpr std::uint64_t steps = 200;
      for (std::uint64_t step = 0; step < steps; ++step) {
        workers.run(per_step, [&](Index i, int) {
          // Backwards: the order within a step is no matter.
          const std::uint64_t item = first + step * per_step + static_cast<std::uint64_t>(per_step - 1 - i);
          if (ahead.take(item) != item * item) ++wrong;
          ahead.give_back(item);
        });
      }
      CHECK(wrong == 0);
      const std::lock_guard lock(mutex);
      for (std::uint64_t item = first; item < first + steps * per_step; ++item) CHECK(made.count(item) == 1);
      // No more is made ahead than there are slots for.
      CHECK(made.size() <= (steps + 2) * per_step);
    }
  }
}

TEST_CASE("prefetch: what making an item threw is thrown where it is taken") {
  Prefetch<int> ahead(
      std::vector<int>(4), 0, [](int&, std::uint64_t item) { fovea::require(item != 2, "item ", item, " is bad"); }, 1);
  for (const std::uint64_t item : {0U, 1U}) {
    (void)ahead.take(item);
    ahead.give_back(item);
  }
  CHECK_THROWS_WITH_AS((void)ahead.take(2), "item 2 is bad", fovea::Error);
  (void)ahead.take(3);
  ahead.give_back(3);
}

TEST_CASE("prefetch: waiting for a disk is hidden behind the work") {
  using Clock = std::chrono::steady_clock;
  const auto milliseconds = [](Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); };
  const auto run = [&](int background) {
    Prefetch<int> ahead(
        std::vector<int>(4), 0, [](int&, std::uint64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(4)); },
        background);
    const auto start = Clock::now();
    for (std::uint64_t item = 0; item < 30; ++item) {
      (void)ahead.take(item);
      std::this_thread::sleep_for(std::chrono::milliseconds(8));  // the work
      ahead.give_back(item);
    }
    return milliseconds(Clock::now() - start);
  };
  const double one_after_the_other = run(0);
  CHECK(one_after_the_other >= 30 * 12);
  CHECK(run(2) < 0.9 * one_after_the_other);
}

TEST_CASE("companion: a job beside the workers, and what it throws") {
  fovea::Companion companion;
  std::vector<int> seen;
  for (int i = 0; i < 100; ++i) {
    auto job = [&seen, i] { seen.push_back(i); };
    companion.start(job);
    companion.finish();
  }
  CHECK(seen.size() == 100);
  CHECK(seen.back() == 99);
  auto bad = [] { fovea::fail("lost"); };
  companion.start(bad);
  CHECK_THROWS_WITH_AS(companion.finish(), "lost", fovea::Error);
  auto good = [&seen] { seen.clear(); };
  companion.start(good);
  companion.finish();
  CHECK(seen.empty());
}
