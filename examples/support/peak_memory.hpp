// SPDX-License-Identifier: MIT
/// \file
/// How much memory a piece of work needs at its peak: by how much the resident memory of a process grows while it runs.
///
/// Measured in a child process of its own, since in a process that has already worked the memory it keeps would hide
/// what the next piece of work needs.
#pragma once

#include <fovea/core/error.hpp>

#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace support {

/// What came out of a child process.
struct Measured {
  double peak_mib = 0;         ///< growth of the resident memory's peak, in MiB
  std::vector<double> values;  ///< what the work returned
};

namespace detail {

/// Resident memory in KiB by its name in /proc/self/status, "VmRSS:" or "VmHWM:" (its peak); 0 where there is no such
/// file.
[[nodiscard]] inline long status_kib(std::string_view name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.compare(0, name.size(), name) == 0) return std::strtol(line.c_str() + name.size(), nullptr, 10);
  }
  return 0;
}

/// The peak so far, in KiB.
[[nodiscard]] inline long peak_kib() {
  if (const long peak = status_kib("VmHWM:"); peak > 0) return peak;
  rusage usage{};
  (void)getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
  return usage.ru_maxrss / 1024;
#else
  return usage.ru_maxrss;
#endif
}

/// Makes the current memory the peak, and gives back what malloc keeps for later, so that the work cannot use it
/// unseen.
inline void restart_peak() {
#if defined(__GLIBC__)
  (void)malloc_trim(0);
#endif
  std::ofstream reset("/proc/self/clear_refs");
  reset << "5" << std::flush;  // may be forbidden; a new process starts with its present memory as the peak anyway
}

inline bool write_all(int to, const void* data, std::size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(to, at, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += written;
    bytes -= static_cast<std::size_t>(written);
  }
  return true;
}

}  // namespace detail

/// Runs `work`, which returns a std::vector<double> (or nothing), in a child process and tells by how much its resident
/// memory grew at its peak. What exists already (weights, images) is there for the child to read and does not count;
/// what the child changes is lost. Threads do not follow into the child: `work` must make its own Workers if it wants
/// any. Throws fovea::Error with the message where `work` throws, or the child dies.
template <class Work>
[[nodiscard]] Measured measure_in_child(Work&& work) {
  int ends[2];
  fovea::require(::pipe(ends) == 0, "measure_in_child: no pipe: ", std::strerror(errno));
  // What stands in the buffers would be written twice.
  (void)std::fflush(nullptr);
  std::cout.flush();
  const pid_t child = ::fork();
  if (child < 0) {
    const std::string reason = std::strerror(errno);
    (void)::close(ends[0]);
    (void)::close(ends[1]);
    fovea::fail("measure_in_child: no process: ", reason);
  }
  if (child == 0) {
    (void)::close(ends[0]);
    std::string text;
    char kind = 'v';
    try {
      detail::restart_peak();
      const long before = std::max(detail::status_kib("VmRSS:"), 0L);
      const long base = before > 0 ? before : detail::peak_kib();
      Measured measured;
      if constexpr (std::is_void_v<std::invoke_result_t<Work&>>) {
        work();
      } else {
        measured.values = work();
      }
      measured.peak_mib = static_cast<double>(std::max(0L, detail::peak_kib() - base)) / 1024;
      text.append(reinterpret_cast<const char*>(&measured.peak_mib), sizeof(double));
      for (const double value : measured.values) text.append(reinterpret_cast<const char*>(&value), sizeof(double));
    } catch (const std::exception& error) {
      kind = 'e';
      text = error.what();
    } catch (...) {
      kind = 'e';
      text = "something that is no std::exception was thrown";
    }
    const bool sent = detail::write_all(ends[1], &kind, 1) && detail::write_all(ends[1], text.data(), text.size());
    // Without the parent's destructors and buffers.
    ::_exit(sent ? 0 : 1);
  }

  (void)::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t count = ::read(ends[0], buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
  }
  (void)::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) fovea::fail("measure_in_child: the process died of signal ", WTERMSIG(status));
  fovea::require(WIFEXITED(status) && WEXITSTATUS(status) == 0 && !text.empty(), "measure_in_child: the process said nothing");
  if (text[0] == 'e') fovea::fail(text.substr(1));
  const std::size_t count = (text.size() - 1) / sizeof(double);
  fovea::require(count >= 1 && text.size() == 1 + count * sizeof(double), "measure_in_child: the process was cut short");
  std::vector<double> numbers(count);
  std::memcpy(numbers.data(), text.data() + 1, count * sizeof(double));
  return {numbers[0], {numbers.begin() + 1, numbers.end()}};
}

}  // namespace support
