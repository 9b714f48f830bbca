// SPDX-License-Identifier: MIT
/// \file
/// A bump allocator that keeps its memory: after the first pass a training step or an inference allocates nothing.
///
/// First touch of a fresh page costs about 1.5 us per 4 KiB, more than most layers spend computing on it. The arena therefore
/// never gives memory back, and on Linux asks for huge pages.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fovea::inline FOVEA_ABI {

/// Memory for everything a pass makes; not thread-safe: one per worker.
/// Objects put here are never destroyed, so only trivially destructible ones are taken.
class Arena {
 public:
  /// A position to rewind to. Valid until an earlier mark is released, or reset().
  struct Mark {
    std::size_t block = 0;
    std::size_t used = 0;
  };

  /// `initial_bytes`: size of the first block, taken on first use.
  explicit Arena(std::size_t initial_bytes = std::size_t{1} << 20) : next_bytes_(initial_bytes) {}

  /// Uninitialised memory for `count` objects, aligned to a cache line.
  template <class T>
  [[nodiscard]] T* allocate(Index count) {
    static_assert(std::is_trivially_destructible_v<T>, "fovea::Arena never runs destructors");
    static_assert(alignof(T) <= kAlignment);
    FOVEA_ASSERT(count >= 0);
    return static_cast<T*>(allocate_bytes(static_cast<std::size_t>(count) * sizeof(T)));
  }
  /// The same, zeroed.
  template <class T>
  [[nodiscard]] T* allocate_zeroed(Index count) {
    T* pointer = allocate<T>(count);
    std::fill_n(pointer, count, T{});
    return pointer;
  }

  [[nodiscard]] Mark mark() const noexcept { return {current_, blocks_.empty() ? 0 : blocks_[current_].used}; }
  /// Everything allocated since `mark` becomes invalid.
  void release(Mark mark) noexcept {
    if (blocks_.empty()) return;
    for (std::size_t i = mark.block + 1; i <= current_; ++i) blocks_[i].used = 0;
    current_ = mark.block;
    blocks_[current_].used = mark.used;
  }

  /// Everything becomes invalid; the memory stays. Where a pass needed several blocks they are joined into one, so that the
  /// next pass of the same size finds all it needs in one piece.
  void reset() {
    if (blocks_.size() > 1) {
      const std::size_t total = capacity();
      blocks_.clear();
      next_bytes_ = total;
      add_block(total);
    }
    current_ = 0;
    if (!blocks_.empty()) blocks_[0].used = 0;
  }

  /// Bytes held / the most that were in use at one time.
  [[nodiscard]] std::size_t capacity() const noexcept {
    std::size_t total = 0;
    for (const Block& block : blocks_) total += block.bytes;
    return total;
  }
  [[nodiscard]] std::size_t peak() const noexcept { return peak_; }

 private:
  static constexpr std::size_t kHugePage = std::size_t{1} << 21;

  struct Free {
    void operator()(std::byte* pointer) const noexcept { std::free(pointer); }  // NOLINT: from aligned_alloc
  };
  struct Block {
    std::unique_ptr<std::byte, Free> memory;
    std::size_t bytes = 0;
    std::size_t used = 0;
    std::size_t before = 0;  ///< bytes in the blocks in front of this one
  };

  static constexpr std::size_t round_up(std::size_t n, std::size_t unit) noexcept { return (n + unit - 1) / unit * unit; }

  void* allocate_bytes(std::size_t bytes) {
    bytes = round_up(bytes, kAlignment);
    while (blocks_.empty() || blocks_[current_].used + bytes > blocks_[current_].bytes) {
      if (current_ + 1 < blocks_.size()) {
        ++current_;
      } else {
        add_block(bytes);
        current_ = blocks_.size() - 1;
      }
    }
    Block& block = blocks_[current_];
    void* pointer = block.memory.get() + block.used;
    block.used += bytes;
    peak_ = std::max(peak_, block.before + block.used);
    return pointer;
  }

  void add_block(std::size_t at_least) {
    const bool huge = std::max(at_least, next_bytes_) >= kHugePage;
    const std::size_t unit = huge ? kHugePage : kAlignment;
    const std::size_t bytes = round_up(std::max(at_least, next_bytes_), unit);
    Block block;
    block.before = blocks_.empty() ? 0 : blocks_.back().before + blocks_.back().bytes;
    block.memory.reset(static_cast<std::byte*>(std::aligned_alloc(unit, bytes)));
    if (!block.memory) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (huge) (void)madvise(block.memory.get(), bytes, MADV_HUGEPAGE);
#endif
    block.bytes = bytes;
    blocks_.push_back(std::move(block));
    next_bytes_ = bytes * 2;
  }

  std::vector<Block> blocks_;
  std::size_t current_ = 0;
  std::size_t next_bytes_;
  std::size_t peak_ = 0;
};

/// Gives back, at the end of a scope, what was allocated within it.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) noexcept : arena_(arena), mark_(arena.mark()) {}
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;
  ~ArenaScope() { arena_.release(mark_); }

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace fovea::inline FOVEA_ABI
