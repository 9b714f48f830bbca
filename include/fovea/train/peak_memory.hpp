// SPDX-License-Identifier: MIT
/// \file
/// The most memory that this process has had resident so far.
#pragma once

#include <fovea/core/config.hpp>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/resource.h>
#endif

namespace fovea::inline FOVEA_ABI {
namespace train {

/// In bytes; 0 where the system does not say. It never falls: what a piece of work needs is to be measured in a process of its
/// own.
[[nodiscard]] inline std::int64_t peak_memory() {
#if defined(__linux__)
  // Before getrusage, whose peak is also that of the program this process was before exec.
  constexpr std::string_view name = "VmHWM:";
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.compare(0, name.size(), name) == 0) return std::strtoll(line.c_str() + name.size(), nullptr, 10) * 1024;
  }
#endif
#if defined(__unix__) || defined(__APPLE__)
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#if defined(__APPLE__)
  return static_cast<std::int64_t>(usage.ru_maxrss);
#else
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
#endif
#else
  return 0;
#endif
}

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
