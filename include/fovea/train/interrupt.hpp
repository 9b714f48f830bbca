// SPDX-License-Identifier: MIT
/// \file
/// Ctrl-C as a request: what is under way is finished and saved (POSIX).
#pragma once

#include <fovea/core/config.hpp>

#include <csignal>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// While one lives, the first SIGINT or SIGTERM is noted instead of ending the program; a second one ends it as usual. A
/// program started to ignore SIGINT goes on ignoring it. One at a time.
class Interrupt {
 public:
  Interrupt() noexcept {
    signal_number() = 0;
    install(SIGINT, old_interrupt_);
    install(SIGTERM, old_terminate_);
  }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  ~Interrupt() {
    (void)::sigaction(SIGINT, &old_interrupt_, nullptr);
    (void)::sigaction(SIGTERM, &old_terminate_, nullptr);
  }

  /// Whether a signal came; from any thread.
  [[nodiscard]] static bool requested() noexcept { return signal_number() != 0; }
  /// SIGINT or SIGTERM, or 0.
  [[nodiscard]] static int signal() noexcept { return signal_number(); }

 private:
  /// What a handler may write is nothing but this.
  static volatile std::sig_atomic_t& signal_number() noexcept {
    static volatile std::sig_atomic_t number = 0;
    return number;
  }
  static void note(int signal) { signal_number() = signal; }

  static void install(int signal, struct sigaction& old) noexcept {
    struct sigaction action {};
    action.sa_handler = note;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    (void)::sigemptyset(&action.sa_mask);
    (void)::sigaction(signal, nullptr, &old);
    if (old.sa_handler != SIG_IGN) (void)::sigaction(signal, &action, nullptr);
  }

  struct sigaction old_interrupt_ {};
  struct sigaction old_terminate_ {};
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
