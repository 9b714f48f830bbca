// SPDX-License-Identifier: MIT
#include <fovea/core/arena.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

using namespace fovea;

TEST_CASE("an arena hands out aligned pieces that do not overlap") {
  Arena arena(256);
  std::vector<std::pair<std::byte*, Index>> pieces;
  for (Index n = 1; n < 3000; n = n * 3 + 1) {
    auto* p = arena.allocate<std::byte>(n);
    CHECK(reinterpret_cast<std::uintptr_t>(p) % kAlignment == 0);
    std::memset(p, static_cast<int>(pieces.size() + 1), static_cast<std::size_t>(n));
    pieces.emplace_back(p, n);
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    for (Index k = 0; k < pieces[i].second; ++k) REQUIRE(pieces[i].first[k] == static_cast<std::byte>(i + 1));
  }
}

TEST_CASE("reset keeps the memory, in one piece") {
  Arena arena(64);
  for (int i = 0; i < 20; ++i) (void)arena.allocate<float>(100);
  const std::size_t peak = arena.peak();
  CHECK(peak >= 20 * 400);
  arena.reset();
  const std::size_t capacity = arena.capacity();
  CHECK(capacity >= peak);
  for (int pass = 0; pass < 3; ++pass) {
    auto* first = arena.allocate<float>(100);
    auto* last = first;
    for (int i = 1; i < 20; ++i) last = arena.allocate<float>(100);
    CHECK(last - first == 19 * 112);  // 400 bytes, rounded up to a cache line, one behind the other
    CHECK(arena.capacity() == capacity);
    arena.reset();
  }
}

TEST_CASE("release gives back what came after the mark") {
  Arena arena(1 << 12);
  auto* kept = arena.allocate<int>(4);
  kept[0] = 42;
  int* inner = nullptr;
  {
    const ArenaScope scope(arena);
    inner = arena.allocate<int>(4);
    (void)arena.allocate<int>(5000);  // needs a block of its own
  }
  CHECK(arena.allocate<int>(4) == inner);
  CHECK(kept[0] == 42);
}

TEST_CASE("a mark of an empty arena") {
  Arena arena;
  {
    const ArenaScope scope(arena);
    (void)arena.allocate<int>(4);
  }
  CHECK(arena.allocate<int>(1) != nullptr);
}

TEST_CASE("no elements are a valid request") {
  Arena arena;
  const float* none = arena.allocate<float>(0);
  CHECK(none != nullptr);
  CHECK(arena.allocate<float>(1) == none);
  const float* zeroed = arena.allocate_zeroed<float>(33);
  for (int i = 0; i < 33; ++i) CHECK(zeroed[i] == 0.0F);
}
