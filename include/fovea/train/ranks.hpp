// SPDX-License-Identifier: MIT
/// \file
/// The processes that share one training, and the sum of a gradient over all of them in the order in which one process adds it.
///
/// Every rank computes some of a minibatch's shards. What is sent are partial sums of the flat gradient, along a binary tree
/// whose shape depends on the number of shards alone (core/parallel.hpp, reduce_rows): so the bits are the same on any number
/// of ranks. Where the ranks divide the tree evenly, the two sides of a pair exchange theirs and both add (recursive doubling:
/// R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of collective communication operations in MPICH", IJHPCA 19(1), 2005);
/// otherwise sums go up to rank 0, and the total comes down again. train/mpi.hpp has the ranks of MPI.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parallel.hpp>
#include <fovea/core/view.hpp>

#include <cstddef>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// What a training asks of whatever connects its processes. Called from one thread at a time. All ranks must be one program on
/// machines of one kind.
class Ranks {
 public:
  Ranks() = default;
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;
  virtual ~Ranks() = default;

  [[nodiscard]] virtual int rank() const noexcept = 0;
  [[nodiscard]] virtual int size() const noexcept = 0;
  /// Messages between two ranks arrive in the order in which they were sent. All throw Error where a rank is lost.
  virtual void send(int to, const void* data, std::size_t bytes) = 0;
  virtual void receive(int from, void* data, std::size_t bytes) = 0;
  /// As many bytes to a rank as come from it, which does the same.
  virtual void exchange(int with, const void* sent, void* received, std::size_t bytes) = 0;

  /// `data` of rank 0 to all others, in log2(size) rounds.
  void broadcast(void* data, std::size_t bytes) {
    int reach = 1;
    while (reach < size()) reach *= 2;
    // The rank gets it over its lowest bit, and sends it on over all that are lower.
    int from = rank() == 0 ? reach : rank() & -rank();
    if (rank() != 0) receive(rank() - from, data, bytes);
    for (from /= 2; from >= 1; from /= 2) {
      if (rank() + from < size()) send(rank() + from, data, bytes);
    }
  }
};

/// Which shards a rank computes.
struct ShardRange {
  Index first = 0;
  Index count = 0;
  [[nodiscard]] bool contains(Index shard) const noexcept { return shard >= first && shard < first + count; }
};
[[nodiscard]] constexpr ShardRange shards_of(Index shards, int rank, int ranks) noexcept {
  const Index first = shards * rank / ranks;
  return {first, shards * (rank + 1) / ranks - first};
}
/// The rank that computes a shard.
[[nodiscard]] constexpr int rank_of(Index shard, Index shards, int ranks) noexcept {
  return static_cast<int>(((shard + 1) * ranks - 1) / shards);
}

namespace detail {

template <class T>
void add(const T* from, T* FOVEA_RESTRICT to, Index count) noexcept {
  for (Index i = 0; i < count; ++i) to[i] += from[i];
}

/// Whether every rank has a whole subtree of the same size, and the subtrees are the leaves of a whole tree.
[[nodiscard]] constexpr bool evenly(Index shards, int ranks) noexcept {
  const auto power_of_two = [](Index n) { return (n & (n - 1)) == 0; };
  return shards % ranks == 0 && power_of_two(ranks) && power_of_two(shards / ranks);
}

}  // namespace detail

/// Columns [first, first + count) of the sum of all rows of all ranks, in this rank's first row. `rows` are those of the shards
/// of this rank, of `shards` in all; they hold partial sums afterwards. `received`: memory for `count` elements.
template <class T>
void sum_rows(Ranks& ranks, View<T, 2> rows, Index shards, Index first, Index count, T* received) {
  const ShardRange mine = shards_of(shards, ranks.rank(), ranks.size());
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
  const auto columns = [&](Index shard) { return rows[shard - mine.first].data() + first; };
  if (detail::evenly(shards, ranks.size())) {
    // Both sides of a pair send theirs and add: a + b is b + a, to the bit, and nobody need be told.
    T* const sum = columns(mine.first);
    for (Index step = 1; step < mine.count; step *= 2) {
      for (Index left = mine.first; left < mine.first + mine.count; left += 2 * step) {
        detail::add(columns(left + step), columns(left), count);
      }
    }
    for (int step = 1; step < ranks.size(); step *= 2) {
      ranks.exchange(ranks.rank() ^ step, sum, received, bytes);
      detail::add(received, sum, count);
    }
    return;
  }
  // Every rank walks the same tree in the same order: for the first pair that is not done both sides are there.
  for (Index step = 1; step < shards; step *= 2) {
    for (Index left = 0; left + step < shards; left += 2 * step) {
      const Index right = left + step;
      if (mine.contains(left)) {
        if (mine.contains(right)) {
          detail::add(columns(right), columns(left), count);
        } else {
          ranks.receive(rank_of(right, shards, ranks.size()), received, bytes);
          detail::add(received, columns(left), count);
        }
      } else if (mine.contains(right)) {
        ranks.send(rank_of(left, shards, ranks.size()), columns(right), bytes);
      }
    }
  }
  ranks.broadcast(columns(mine.first), bytes);
}

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
