// SPDX-License-Identifier: MIT
/// \file
/// Decoded pieces of an image, shared by all glimpses of it: the least recently used goes when the memory allowed is full.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {

/// A piece of an image: its level, and its row and column in the grid of tiles.
struct TileKey {
  int level = 0;
  Index row = 0;
  Index column = 0;
  friend constexpr bool operator==(const TileKey&, const TileKey&) = default;
};

/// Tiles of at most `capacity` bytes together. Not thread-safe.
template <class P>
class TileCache {
 public:
  explicit TileCache(std::size_t capacity) : capacity_(capacity) {}

  /// Bytes it may hold, and holds.
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// Tiles that were decoded, and tiles read that had been decoded for an earlier look.
  [[nodiscard]] std::int64_t misses() const noexcept { return misses_; }
  [[nodiscard]] std::int64_t hits() const noexcept { return std::max(std::int64_t{0}, reads_ - misses_); }

  /// True where the tile is there; it is the most recently used then, and stays while newer ones leave room for it.
  [[nodiscard]] bool touch(const TileKey& key) {
    const auto at = index_.find(key);
    if (at == index_.end()) return false;
    tiles_.splice(tiles_.begin(), tiles_, at->second);
    return true;
  }
  /// The pixels of a tile; null where it is not there.
  [[nodiscard]] const P* read(const TileKey& key) {
    const auto at = index_.find(key);
    if (at == index_.end()) return nullptr;
    ++reads_;
    return at->second->pixels.data();
  }
  /// Uninitialised memory of `size` elements for a tile that is not there; others go to make room. At least the newest tile
  /// always stays.
  [[nodiscard]] P* insert(const TileKey& key, Index size) {
    const auto count = static_cast<std::size_t>(size);
    std::vector<P> pixels;
    while (!tiles_.empty() && bytes_ + count * sizeof(P) > capacity_) {
      Entry& oldest = tiles_.back();
      bytes_ -= oldest.pixels.size() * sizeof(P);
      index_.erase(oldest.key);
      pixels = std::move(oldest.pixels);  // its memory serves the next
      tiles_.pop_back();
    }
    pixels.resize(count);
    ++misses_;
    bytes_ += count * sizeof(P);
    tiles_.push_front({key, std::move(pixels)});
    index_[key] = tiles_.begin();
    return tiles_.front().pixels.data();
  }
  /// Takes a tile out, where it is there: one whose decoding failed.
  void erase(const TileKey& key) {
    const auto at = index_.find(key);
    if (at == index_.end()) return;
    bytes_ -= at->second->pixels.size() * sizeof(P);
    tiles_.erase(at->second);
    index_.erase(at);
  }

 private:
  struct Entry {
    TileKey key;
    std::vector<P> pixels;
  };
  struct Hash {
    [[nodiscard]] std::size_t operator()(const TileKey& key) const noexcept {
      auto h = static_cast<std::uint64_t>(key.row) * 0x9E3779B97F4A7C15U;
      h = (h ^ (h >> 32U) ^ static_cast<std::uint64_t>(key.column)) * 0xD6E8FEB86659FD93U;
      return static_cast<std::size_t>(h ^ (h >> 32U) ^ static_cast<std::uint64_t>(key.level));
    }
  };

  std::size_t capacity_;
  std::size_t bytes_ = 0;
  std::int64_t reads_ = 0;
  std::int64_t misses_ = 0;
  std::list<Entry> tiles_;  ///< the most recently used first
  std::unordered_map<TileKey, typename std::list<Entry>::iterator, Hash> index_;
};

}  // namespace fovea::inline FOVEA_ABI
