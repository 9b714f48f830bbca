// SPDX-License-Identifier: MIT
// The largest value of a figure that a test program has found, by name: what a claim is made of.
#pragma once

#include <algorithm>
#include <map>
#include <string>

namespace fovea_test {

[[nodiscard]] inline std::map<std::string, double>& measured() {
  static std::map<std::string, double> figures;
  return figures;
}

/// Takes note of a figure, and gives it back. NaN stays.
inline double measured(const std::string& name, double value) {
  double& figure = measured().try_emplace(name, value).first->second;
  if (!(value <= figure)) figure = value;
  return value;
}

}  // namespace fovea_test
