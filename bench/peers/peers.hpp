// SPDX-License-Identifier: MIT
/// \file
/// fovea beside its peers: both sides in one process, the same work, turn by turn, and the medians of their times.
///
/// A file of this folder is a program `peers_<file>`; its first lines say what it needs (`// needs: dnnl openblas`), and it is
/// left out where that is not found. Its `main` returns `peers::run(argc, argv, {cases})`. The target `bench-peers` runs all
/// of them with glibc told to keep its pages, and joins what they write into bench-peers.csv and docs/performance.md.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace peers {

/// One way to do the work of a case, once.
struct Side {
  std::string name;
  std::function<void()> work;
};

/// The same work done by fovea and by others.
struct Case {
  int threads;
  Side fovea;
  std::vector<Side> others;
};

/// A case is made when its turn comes, so that the memory of one is gone before the next. `name` holds no comma.
struct MakeCase {
  std::string name;
  std::function<Case()> make;
};

/// One thread: processor time of the process, so that what others take of a shared machine does not count. More: the clock.
inline double seconds(int threads) {
  if (threads == 1) {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Median seconds of one call of each side. A turn of a side is as many calls as take 2 ms, after one that is not counted.
inline std::vector<double> interleaved(const Case& c) {
  constexpr double kTurn = 2e-3;
  constexpr double kTotal = 2;
  std::vector<const Side*> sides{&c.fovea};
  for (const Side& s : c.others) sides.push_back(&s);
  std::vector<int> calls;
  double turn = 0;
  for (const Side* s : sides) {
    s->work();
    s->work();
    int n = 1;
    for (;; n *= 2) {
      const double start = seconds(c.threads);
      for (int i = 0; i < n; ++i) s->work();
      const double taken = seconds(c.threads) - start;
      if (taken >= kTurn) {
        turn += taken;
        break;
      }
    }
    calls.push_back(n);
  }
  const int rounds = std::clamp(static_cast<int>(kTotal / turn), 9, 101);
  std::vector<std::vector<double>> times(sides.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t s = 0; s < sides.size(); ++s) {
      if (calls[s] > 1) sides[s]->work();  // the caches are this side's again
      const double start = seconds(c.threads);
      for (int i = 0; i < calls[s]; ++i) sides[s]->work();
      times[s].push_back((seconds(c.threads) - start) / calls[s]);
    }
  }
  std::vector<double> result;
  result.reserve(times.size());
  for (const auto& t : times) result.push_back(median(t));
  return result;
}

/// Starts this program anew with glibc told to keep its pages (page faults are not an opponent) and OpenMP to use one thread
/// (peers that shall use more are told so by their own call). Both are read before main.
inline void settle_environment(char** argv) {
  constexpr const char* kDone = "FOVEA_PEERS_SETTLED";
  if (std::getenv(kDone) != nullptr) return;
  setenv(kDone, "1", 1);
  if (__builtin_cpu_supports("avx512f"))
    setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);  // 0.3.21 takes new processors for a Prescott
  setenv("GLIBC_TUNABLES",
         "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:"
         "glibc.malloc.top_pad=268435456",
         1);
  setenv("OMP_NUM_THREADS", "1", 1);
  execv("/proc/self/exe", argv);
}

/// The program of a file of cases: `peers_<file> CSV [PART]` appends rows `case,threads,fovea_ns,peer,peer_ns,ratio` to CSV,
/// for the cases whose name contains PART.
inline int run(int argc, char** argv, const std::vector<MakeCase>& cases) {
  settle_environment(argv);
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s CSV [PART OF A NAME]\n", argv[0]);
    return 2;
  }
  const std::string_view part = argc > 2 ? argv[2] : "";
  std::FILE* file = std::fopen(argv[1], "a");
  if (file == nullptr) {
    std::fprintf(stderr, "cannot write %s\n", argv[1]);
    return 2;
  }
  for (const auto& [name, make] : cases) {
    if (name.find(part) == std::string::npos) continue;
    const Case c = make();
    const std::vector<double> times = interleaved(c);
    for (std::size_t i = 0; i < c.others.size(); ++i) {
      char row[256];
      (void)std::snprintf(row, sizeof row, "%s,%d,%.0f,%s,%.0f,%.3f", name.c_str(), c.threads, 1e9 * times[0],
                          c.others[i].name.c_str(), 1e9 * times[i + 1], times[i + 1] / times[0]);
      std::fprintf(file, "%s\n", row);
      std::printf("%s\n", row);
    }
    (void)std::fflush(file);
    (void)std::fflush(stdout);
  }
  return std::fclose(file) == 0 ? 0 : 2;
}

}  // namespace peers
