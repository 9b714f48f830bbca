// SPDX-License-Identifier: MIT
/// \file
/// Training on many processes and machines through MPI 3 (CMake component `mpi`):
///
///     int main(int argc, char** argv) {
///       train::MpiRanks ranks(argc, argv);
///       ...
///       train::Trainer trainer(weights, train::Adam<float>(model.layout()), workers, {.batch = 256}, &ranks);
///       train::fit(trainer, data, train::learner(model), options);
///     }
///
///     mpirun -n 4 --bind-to none program
///
/// What travels, and why the bits do not depend on the number of ranks: train/ranks.hpp. What it costs: docs/scaling.md.
///
/// A rank that throws tells the others at the end of the step, and all of them throw. A rank that dies takes the job with it:
/// mpirun ends the others with SIGTERM, upon which rank 0 saves the last whole step, if Ctrl-C would have made it do so
/// (FitOptions::interruptible); without that there is the last checkpoint, whole as always.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/stopwatch.hpp>
#include <fovea/train/interrupt.hpp>
#include <fovea/train/ranks.hpp>

// MPI's own C++ classes, which the standard took out in 2012, would have to be linked.
#ifndef OMPI_SKIP_MPICXX
#define OMPI_SKIP_MPICXX 1
#endif
#ifndef MPICH_SKIP_MPICXX
#define MPICH_SKIP_MPICXX 1
#endif
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <string>
#include <thread>

namespace fovea::inline FOVEA_ABI {
namespace train {

struct MpiOptions {
  /// A rank from which nothing comes for so many seconds is taken for lost. More than anything takes that one rank does while
  /// the others wait: a validation, a step.
  double patience = 1800;
};

/// All processes of an MPI job. One object a process, for as long as MPI is used.
class MpiRanks final : public Ranks {
 public:
  /// Initialises MPI, unless that is done; then it must be with MPI_THREAD_SERIALIZED or more. Throws Error where it cannot.
  MpiRanks(int& argc, char**& argv, const MpiOptions& options = {}) : options_(options) {
    int initialised = 0;
    int level = MPI_THREAD_SINGLE;
    (void)MPI_Initialized(&initialised);
    if (initialised == 0) {
      check(MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level), "initialising");
      finalises_ = true;
    } else {
      check(MPI_Query_thread(&level), "initialising");
    }
    require(level >= MPI_THREAD_SERIALIZED,
            "MPI: threads that take turns expected (MPI_THREAD_SERIALIZED), this one has level ", level);
    check(MPI_Comm_dup(MPI_COMM_WORLD, &all_), "initialising");
    check(MPI_Comm_set_errhandler(all_, MPI_ERRORS_RETURN), "initialising");
    check(MPI_Comm_rank(all_, &rank_), "initialising");
    check(MPI_Comm_size(all_, &size_), "initialising");
  }
  /// Where an exception ends the program, the others are given some seconds to come to their end, then the job is aborted.
  ~MpiRanks() override {
    if (!finalises_) {
      (void)MPI_Comm_free(&all_);
      return;
    }
    if (std::uncaught_exceptions() > exceptions_ && !all_come()) (void)MPI_Abort(all_, 1);
    (void)MPI_Comm_free(&all_);
    (void)MPI_Finalize();
  }

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }

  void send(int to, const void* data, std::size_t bytes) override {
    const auto* from = static_cast<const std::byte*>(data);
    in_pieces(bytes, [&](std::size_t at, int count, MPI_Request* request) {
      return MPI_Isend(from + at, count, MPI_BYTE, to, 0, all_, request);
    });
  }
  void receive(int from, void* data, std::size_t bytes) override {
    auto* to = static_cast<std::byte*>(data);
    in_pieces(bytes, [&](std::size_t at, int count, MPI_Request* request) {
      return MPI_Irecv(to + at, count, MPI_BYTE, from, 0, all_, request);
    });
  }
  void exchange(int with, const void* sent, void* received, std::size_t bytes) override {
    const auto* from = static_cast<const std::byte*>(sent);
    auto* to = static_cast<std::byte*>(received);
    in_pieces(bytes, [&](std::size_t at, int count, MPI_Request* request) {
      MPI_Request sending = MPI_REQUEST_NULL;
      const int status = MPI_Isend(from + at, count, MPI_BYTE, with, 0, all_, &sending);
      if (status != MPI_SUCCESS) return status;
      const int other = MPI_Irecv(to + at, count, MPI_BYTE, with, 0, all_, request);
      if (other != MPI_SUCCESS) return other;
      wait(*request);
      wait(sending);
      return MPI_SUCCESS;
    });
  }

 private:
  static constexpr std::size_t kMostBytes = std::size_t{1} << 30U;  ///< of one message: its size is an int
  static constexpr double kAwake = 3e-4;                            ///< seconds, about what waking a thread takes
  static constexpr double kGrace = 0.5;                             ///< seconds after a signal
  static constexpr double kFarewell = 5;

  void check(int status, const char* what) const {
    if (status == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = {};
    int length = 0;
    (void)MPI_Error_string(status, text, &length);
    fail("MPI: ", what, ": ", std::string(text, static_cast<std::size_t>(length)));
  }

  template <class Start>
  void in_pieces(std::size_t bytes, Start&& start) {
    for (std::size_t at = 0; at < bytes; at += kMostBytes) {
      MPI_Request request = MPI_REQUEST_NULL;
      check(start(at, static_cast<int>(std::min(kMostBytes, bytes - at)), &request), "a message");
      wait(request);
    }
  }

  /// MPI's own waiting takes a whole core and never ends where the other side has.
  void wait(MPI_Request& request) {
    const Stopwatch watch;
    double interrupted = -1;
    for (;;) {
      int done = 0;
      check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "a message");
      if (done != 0) return;
      const double now = watch.seconds();
      if (now < kAwake) {
        std::this_thread::yield();
        continue;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(20));
      if (interrupted < 0 && Interrupt::requested()) interrupted = now;
      require(interrupted < 0 || now - interrupted < kGrace, "MPI: rank ", rank_,
              ": no answer from another rank after a signal to end");
      require(now < options_.patience, "MPI: rank ", rank_, ": no answer from another rank for ", options_.patience,
              " seconds");
    }
  }

  [[nodiscard]] bool all_come() noexcept {
    MPI_Request request = MPI_REQUEST_NULL;
    if (MPI_Ibarrier(all_, &request) != MPI_SUCCESS) return false;
    const Stopwatch watch;
    for (int done = 0; watch.seconds() < kFarewell;) {
      if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
      if (done != 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  MpiOptions options_;
  bool finalises_ = false;
  MPI_Comm all_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
