// SPDX-License-Identifier: MIT
/// \file
/// The command line that all experiments share.
#pragma once

#include "contender.hpp"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace experiments {

struct TaskOptions {
  std::filesystem::path data;  ///< where the experiment's files are; empty: where its get-data.sh or bootstrap.sh puts them
  bool smoke = false;          ///< little, and without files
  Index images = 0;            ///< that will be seen in training, for those that begin with easier ones
};

struct Variant {
  std::string name;
  std::function<std::unique_ptr<Task>(const TaskOptions&)> make;
  Recipe recipe;
};

struct Experiment {
  std::string name;
  std::string description;
  std::vector<Variant> variants;
};

/// main() of an experiment: trains and tests what is asked for, and adds a line for each to <output>/<experiment>.jsonl.
/// 0: all is there; 1: it failed; 2: bad input; 3: time was over before all was there, go on with --resume.
[[nodiscard]] int program(int argc, char** argv, const Experiment& experiment);

}  // namespace experiments
