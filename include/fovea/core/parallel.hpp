// SPDX-License-Identifier: MIT
/// \file
/// The one place where threads are (DESIGN section 4).
///
/// A minibatch is cut into shards of a fixed size that does not depend on the number of threads; every shard has its own
/// random streams and gradient buffer, and shard gradients are added in a fixed tree order. So one seed gives the same bits
/// on 1, 2 or 64 threads. Kernels never start threads.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {

/// A fixed set of threads that wait for work. The calling thread is worker 0 and works too.
/// Not re-entrant: `run` must not be called from within a task, nor from two threads at once.
class Workers {
 public:
  /// `threads` >= 1; 0 means one per hardware thread.
  explicit Workers(int threads = 0) {
    require(threads >= 0, "Workers: at least 0 threads expected, ", threads, " came");
    count_ = threads != 0 ? threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    threads_.reserve(static_cast<std::size_t>(count_ - 1));
    for (int worker = 1; worker < count_; ++worker) threads_.emplace_back([this, worker] { serve(worker); });
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  [[nodiscard]] int size() const noexcept { return count_; }

  /// Calls `task(index, worker)` for every index in [0, count), each once, on some worker in [0, size()); returns when all
  /// are done. Allocates nothing. Where tasks throw, the exception of the lowest index is rethrown here, the others are
  /// dropped, and the remaining tasks still run: so what is thrown does not depend on the number of threads.
  template <class Task>
  void run(Index count, Task&& task) {
    using Plain = std::remove_reference_t<Task>;
    if (count <= 0) return;
    job_ = [](void* context, Index index, int worker) { (*static_cast<Plain*>(context))(index, worker); };
    context_ = const_cast<void*>(static_cast<const void*>(&task));  // NOLINT: given back with its own type
    total_ = count;
    next_.store(0, std::memory_order_relaxed);
    failed_index_ = std::numeric_limits<Index>::max();
    failure_ = nullptr;
    if (count_ > 1 && count > 1) {
      {
        const std::lock_guard lock(mutex_);
        busy_.store(count_ - 1, std::memory_order_relaxed);
        generation_.fetch_add(1, std::memory_order_release);
      }
      wake_.notify_all();
      work(0);
      const auto done = [this] { return busy_.load(std::memory_order_acquire) == 0; };
      if (!soon(done)) {
        std::unique_lock lock(mutex_);
        done_.wait(lock, done);
      }
    } else {
      work(0);
    }
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void work(int worker) {
    for (Index index = next_.fetch_add(1, std::memory_order_relaxed); index < total_;
         index = next_.fetch_add(1, std::memory_order_relaxed)) {
      try {
        job_(context_, index, worker);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (index < failed_index_) {
          failed_index_ = index;
          failure_ = std::current_exception();
        }
      }
    }
  }

  void serve(int worker) {
    std::uint64_t seen = 0;
    for (;;) {
      const auto called = [&] { return generation_.load(std::memory_order_acquire) != seen; };
      if (!soon(called)) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || called(); });
        if (stop_) return;
      }
      seen = generation_.load(std::memory_order_acquire);
      work(worker);
      if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        const std::lock_guard lock(mutex_);  // whoever waits does so by now, or will see it
        done_.notify_one();
      }
    }
  }

  /// Whether it comes true within the time that waking a thread takes: what waits for a short while does not sleep. Others that
  /// want the core get it.
  template <class Condition>
  [[nodiscard]] static bool soon(Condition&& condition) {
    constexpr std::chrono::microseconds most{200};
    const auto start = std::chrono::steady_clock::now();
    do {
      for (int i = 0; i < 16; ++i) {
        if (condition()) return true;
        std::this_thread::yield();
      }
    } while (std::chrono::steady_clock::now() - start < most);
    return condition();
  }

  int count_ = 1;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> busy_{0};
  bool stop_ = false;
  void (*job_)(void*, Index, int) = nullptr;
  void* context_ = nullptr;
  Index total_ = 0;
  std::atomic<Index> next_{0};
  Index failed_index_ = 0;
  std::exception_ptr failure_;
};

/// One thread beside all workers, for what waits more than it works: a job runs between start() and finish().
class Companion {
 public:
  Companion() : thread_([this] { serve(); }) {}
  Companion(const Companion&) = delete;
  Companion& operator=(const Companion&) = delete;
  ~Companion() {
    {
      const std::lock_guard lock(mutex_);
      state_ = State::stopped;
    }
    changed_.notify_all();
    thread_.join();
  }

  /// Runs `job` on the thread. It must stay where it is until finish(), which must be called before the next start().
  template <class Job>
  void start(Job& job) {
    const std::lock_guard lock(mutex_);
    job_ = [](void* context) { (*static_cast<Job*>(context))(); };
    context_ = const_cast<void*>(static_cast<const void*>(&job));  // NOLINT: given back with its own type
    state_ = State::busy;
    changed_.notify_all();
  }
  /// Waits for the end of the job, and throws what it threw.
  void finish() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return state_ != State::busy; });
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  enum class State { idle, busy, stopped };

  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return state_ != State::idle; });
      if (state_ == State::stopped) return;
      lock.unlock();
      std::exception_ptr failure;
      try {
        job_(context_);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      failure_ = failure;
      if (state_ == State::busy) state_ = State::idle;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::idle;
  void (*job_)(void*) = nullptr;
  void* context_ = nullptr;
  std::exception_ptr failure_;
  std::thread thread_;  ///< last: it uses the others
};

/// A minibatch cut into pieces of `size` samples (the last may be smaller), whatever the number of threads.
struct Shards {
  Index samples = 0;
  Index size = 1;

  struct Range {
    Index first = 0;
    Index count = 0;
  };
  [[nodiscard]] constexpr Index count() const noexcept { return (samples + size - 1) / size; }
  [[nodiscard]] constexpr Range operator[](Index shard) const noexcept {
    const Index first = shard * size;
    return {first, std::min(size, samples - first)};
  }
};

/// Adds the rows of `rows` into row 0, in a tree whose shape depends on the number of rows alone: row i takes row i + step
/// for step = 1, 2, 4, ... The other rows hold partial sums afterwards.
template <class T>
void reduce_rows(Workers& workers, View<T, 2> rows) {
  constexpr Index chunk = 4096;
  const Index columns = rows.extent(1);
  workers.run((columns + chunk - 1) / chunk, [&](Index piece, int) {
    const Index first = piece * chunk;
    const Index count = std::min(chunk, columns - first);
    for (Index step = 1; step < rows.extent(0); step *= 2) {
      for (Index row = 0; row + step < rows.extent(0); row += 2 * step) {
        T* FOVEA_RESTRICT to = rows[row].data() + first;
        const T* FOVEA_RESTRICT from = rows[row + step].data() + first;
        for (Index i = 0; i < count; ++i) to[i] += from[i];
      }
    }
  });
}

}  // namespace fovea::inline FOVEA_ABI
