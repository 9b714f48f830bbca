// SPDX-License-Identifier: MIT
// The largest relative error of a derivative that a test program has found, over everything it checked.
#pragma once

#include <fovea/core/gradient_check.hpp>

#include <algorithm>

namespace fovea_test {

struct WorstGradient {
  double error = 0;
  fovea::Index checked = 0;
};

[[nodiscard]] inline WorstGradient& worst_gradient() {
  static WorstGradient worst;
  return worst;
}

/// Takes note of a report, and gives it back.
inline const fovea::GradientReport& noted(const fovea::GradientReport& report) {
  worst_gradient().error = std::max(worst_gradient().error, report.worst);
  worst_gradient().checked += report.checked;
  return report;
}

}  // namespace fovea_test
