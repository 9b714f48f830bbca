// SPDX-License-Identifier: MIT
// Tables of reference values: tests/golden/<name>.csv, numbers with commas between them; lines with a # say how they were made.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace fovea_test {

[[nodiscard]] inline std::vector<std::vector<double>> golden(const std::string& name) {
  std::ifstream file(FOVEA_TESTS_SOURCE_DIR "/golden/" + name + ".csv");
  REQUIRE(file);
  std::vector<std::vector<double>> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<double> row;
    std::istringstream fields(line);
    for (std::string field; std::getline(fields, field, ',');) row.push_back(std::strtod(field.c_str(), nullptr));
    rows.push_back(row);
  }
  REQUIRE(!rows.empty());
  return rows;
}

/// |got - expected| over |expected|; over `least` where that is smaller.
[[nodiscard]] inline double relative_gap(double got, double expected, double least = 1e-300) {
  if (got == expected) return 0;
  const double gap = std::abs(got - expected) / std::fmax(std::abs(expected), least);
  return std::isnan(gap) ? HUGE_VAL : gap;
}

}  // namespace fovea_test
