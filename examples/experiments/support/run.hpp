// SPDX-License-Identifier: MIT
/// \file
/// One row of a table: a model, trained on the images of a task and tested on others, with everything that is said of it.
#pragma once

#include "../../support/report.hpp"
#include "contender.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace experiments {

struct RunOptions {
  std::uint64_t seed = 1;
  int threads = 0;               ///< 0: all cores
  bool smoke = false;            ///< as little as shows that everything runs
  std::filesystem::path work;    ///< checkpoints and trained models
  std::filesystem::path output;  ///< pictures
  bool resume = false;           ///< go on from the checkpoint of an earlier sitting
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();  ///< of this sitting
};

/// Trains and tests; nothing where the deadline comes before training ends: it goes on from its checkpoint in another sitting.
[[nodiscard]] std::optional<support::Json> run(const Task& task, const Recipe& recipe, const std::string& model,
                                               const RunOptions& options);

}  // namespace experiments
