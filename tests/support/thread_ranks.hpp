// SPDX-License-Identifier: MIT
// Ranks that are threads of one process: what is sent goes through queues.
#pragma once

#include <fovea/core/error.hpp>
#include <fovea/train/ranks.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace fovea_test {

/// What connects them.
class Post {
 public:
  void put(int from, int to, const void* data, std::size_t bytes) {
    std::vector<std::byte> message(bytes);
    std::memcpy(message.data(), data, bytes);
    const std::lock_guard lock(mutex_);
    sent_ += bytes;
    boxes_[{from, to}].push_back(std::move(message));
    changed_.notify_all();
  }
  void take(int from, int to, void* data, std::size_t bytes) {
    std::unique_lock lock(mutex_);
    auto& box = boxes_[{from, to}];
    changed_.wait(lock, [&] { return !box.empty() || gone_; });
    fovea::require(!box.empty(), "a rank is lost");
    fovea::require(box.front().size() == bytes, "a message of ", bytes, " bytes expected, ", box.front().size(), " came");
    std::memcpy(data, box.front().data(), bytes);
    box.pop_front();
  }
  /// Nothing more will come.
  void close() {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    changed_.notify_all();
  }
  [[nodiscard]] std::size_t sent() const { return sent_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<int, int>, std::deque<std::vector<std::byte>>> boxes_;
  std::size_t sent_ = 0;
  bool gone_ = false;
};

class ThreadRanks final : public fovea::train::Ranks {
 public:
  ThreadRanks(Post& post, int rank, int size) : post_(post), rank_(rank), size_(size) {}
  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }
  void send(int to, const void* data, std::size_t bytes) override { post_.put(rank_, to, data, bytes); }
  void receive(int from, void* data, std::size_t bytes) override { post_.take(from, rank_, data, bytes); }
  void exchange(int with, const void* sent, void* received, std::size_t bytes) override {
    send(with, sent, bytes);
    receive(with, received, bytes);
  }

 private:
  Post& post_;
  int rank_;
  int size_;
};

/// Calls work(ranks) on `size` threads, one a rank; all of them end before it returns.
template <class Work>
void run_ranks(int size, Work&& work) {
  Post post;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadRanks ranks(post, rank, size);
      work(ranks);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace fovea_test
