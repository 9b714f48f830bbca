// SPDX-License-Identifier: MIT
/// \file
/// Wall-clock time.
#pragma once

#include <fovea/core/config.hpp>

#include <chrono>

namespace fovea::inline FOVEA_ABI {

/// Counts from when it is made.
class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  void restart() { start_ = std::chrono::steady_clock::now(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace fovea::inline FOVEA_ABI
