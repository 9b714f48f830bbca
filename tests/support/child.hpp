// SPDX-License-Identifier: MIT
// A piece of work in a process of its own, which may be killed (POSIX). Fork before there are threads.
#pragma once

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>

namespace fovea_test {

/// Starts `work`, whose result is the child's exit status; 111 where it throws.
template <class Work>
[[nodiscard]] pid_t start_child(Work&& work) {
  (void)std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child != 0) return child;
  int status = 111;
  try {
    status = work();
  } catch (const std::exception& error) {
    (void)std::fprintf(stderr, "child: %s\n", error.what());
  }
  ::_exit(status);
}

/// Its exit status; minus the signal that ended it.
inline int end_of_child(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

template <class Work>
[[nodiscard]] int in_child(Work&& work) {
  return end_of_child(start_child(work));
}

}  // namespace fovea_test
