// SPDX-License-Identifier: MIT
/// \file
/// Things made ahead of their use, on the same cores as those who use them.
///
/// Background threads fill a ring of slots in the order of use. They give way to the workers (a nicer priority, where the
/// system has that), and so work where a worker waits: for the others at the end of a step, or for a disk. Whoever needs what
/// nobody has begun makes it itself. So no core is idle while there is something to do, and what is in memory is bounded by
/// the slots.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fovea::inline FOVEA_ABI {

/// Item i = first, first + 1, ... in the order of use lies in slot i modulo the number of slots.
template <class Slot>
class Prefetch {
 public:
  /// Fills a slot with an item; called from several threads at once, never twice for one item.
  using Make = std::function<void(Slot&, std::uint64_t item)>;

  /// `slots`: at least as many as are in use at one time, and those made ahead. `threads` >= 0; 0: nothing is made ahead.
  Prefetch(std::vector<Slot> slots, std::uint64_t first, Make make, int threads)
      : slots_(std::move(slots)), places_(slots_.size()), next_(first), make_(std::move(make)) {
    require(!slots_.empty() && threads >= 0, "prefetch: at least 1 slot and 0 threads expected, ", slots_.size(), " and ",
            threads, " came");
    for (std::uint64_t i = 0; i < places_.size(); ++i) places_[at(first + i)].item = first + i;
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { serve(); });
  }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;
  ~Prefetch() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    free_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  /// The slot with the item, until it is given back. Throws what making it threw. The item that many places before must have
  /// been given back, or be about to be by another thread.
  [[nodiscard]] Slot& take(std::uint64_t item) {
    Place& place = places_[at(item)];
    std::unique_lock lock(mutex_);
    made_.wait(lock, [&] { return place.item == item && place.state != State::busy; });
    if (place.state == State::free) make(lock, place);
    if (place.failure) std::rethrow_exception(place.failure);
    return slots_[at(item)];
  }
  void give_back(std::uint64_t item) {
    {
      const std::lock_guard lock(mutex_);
      Place& place = places_[at(item)];
      FOVEA_ASSERT(place.state == State::ready && place.item == item);
      place.state = State::free;
      place.item += places_.size();
    }
    free_.notify_all();
    made_.notify_all();
  }

 private:
  enum class State : std::uint8_t { free, busy, ready };
  struct Place {
    State state = State::free;
    std::uint64_t item = 0;  ///< that lies here, or is the next to
    std::exception_ptr failure;
  };

  [[nodiscard]] std::size_t at(std::uint64_t item) const noexcept { return static_cast<std::size_t>(item % places_.size()); }

  void make(std::unique_lock<std::mutex>& lock, Place& place) {
    place.state = State::busy;
    lock.unlock();
    std::exception_ptr failure;
    try {
      make_(slots_[at(place.item)], place.item);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    place.failure = failure;
    place.state = State::ready;
    made_.notify_all();
  }

  void serve() {
#if defined(__linux__)
    // On Linux a priority belongs to a thread. Where it is refused they share the cores as equals.
    (void)setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 19);
#endif
    std::unique_lock lock(mutex_);
    for (;;) {
      free_.wait(lock, [this] {
        // What a worker has made itself is nothing to wait for.
        const auto passed = [this](const Place& place) {
          return place.item > next_ || (place.item == next_ && place.state != State::free);
        };
        while (passed(places_[at(next_)])) ++next_;
        return stop_ || places_[at(next_)].item == next_;
      });
      if (stop_) return;
      make(lock, places_[at(next_++)]);
    }
  }

  std::vector<Slot> slots_;
  std::vector<Place> places_;
  std::mutex mutex_;
  std::condition_variable free_;
  std::condition_variable made_;
  std::uint64_t next_;
  Make make_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fovea::inline FOVEA_ABI
