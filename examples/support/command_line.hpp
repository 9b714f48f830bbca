// SPDX-License-Identifier: MIT
/// \file
/// What programs with a command line share: their exit statuses, and checks that CLI11 does not make.
#pragma once

#include <fovea/core/error.hpp>

#include <cstdlib>
#include <string>

namespace support {

inline constexpr int kFailed = 1;
inline constexpr int kBadInput = 2;

/// A validator: empty, or why this is no whole number. CLI11 would cut "-1" and numbers beyond 64 bits to size without a word.
[[nodiscard]] inline std::string check_whole_number(const std::string& text) {
  const std::size_t sign = text.find('-') == 0 ? 1 : 0;
  const bool digits = text.size() > sign && text.find_first_not_of("0123456789", sign) == std::string::npos;
  return digits && text.size() <= 18 ? "" : "a whole number of at most 18 digits expected, '" + text + "' came";
}

/// The same for any number.
[[nodiscard]] inline std::string check_number(const std::string& text) {
  char* end = nullptr;
  (void)std::strtod(text.c_str(), &end);
  return !text.empty() && end == text.c_str() + text.size() ? "" : "a number expected, '" + text + "' came";
}

/// Throws fovea::Error with the option's name unless low <= value <= high; NaN never is.
template <class T>
void require_within(const char* name, T value, T low, T high) {
  fovea::require(value >= low && value <= high, name, ": ", low, " to ", high, " expected, ", value, " came");
}

}  // namespace support
