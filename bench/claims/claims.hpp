// SPDX-License-Identifier: MIT
/// \file
/// What every claims program shares: a list of claims, and the file they are written to.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace claims {

enum class Bound { at_least, at_most };

/// Collects claims and writes them as `claim,measured,target,unit,met`. A claim that is not met, or could not be measured,
/// stays in the file.
class Claims {
 public:
  void add(const std::string& claim, double measured, Bound bound, double target, const std::string& unit) {
    const bool met = bound == Bound::at_least ? measured >= target : measured <= target;
    rows_.push_back(claim + "," + number(measured) + "," + (bound == Bound::at_least ? ">= " : "<= ") + number(target) + "," +
                    unit + "," + (met ? "yes" : "no"));
    all_met_ = all_met_ && met;
    std::printf("%-72s %12s %s %s  %s\n", claim.c_str(), number(measured).c_str(),
                (std::string(bound == Bound::at_least ? ">= " : "<= ") + number(target)).c_str(), unit.c_str(),
                met ? "met" : "NOT MET");
    (void)std::fflush(stdout);
  }

  /// Writes `path`, and returns the exit status of the program: 0 where all claims are met.
  [[nodiscard]] int write(const std::string& path) const {
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (file == nullptr) {
      std::fprintf(stderr, "cannot write %s\n", path.c_str());
      return 2;
    }
    std::fputs("claim,measured,target,unit,met\n", file);
    for (const std::string& row : rows_) std::fprintf(file, "%s\n", row.c_str());
    if (std::fclose(file) != 0) return 2;
    std::printf("written: %s\n", path.c_str());
    return all_met_ ? 0 : 1;
  }

 private:
  static std::string number(double value) {
    char text[32];
    (void)std::snprintf(text, sizeof text, "%.4g", value);
    return text;
  }

  std::vector<std::string> rows_;
  bool all_met_ = true;
};

}  // namespace claims
