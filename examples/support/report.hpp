// SPDX-License-Identifier: MIT
/// \file
/// Reports for programs to read: JSON, written whole or not at all.
#pragma once

#include "files.hpp"
#include <fovea/core/error.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <string>

namespace support {

/// Keeps keys in the order in which they were given.
using Json = nlohmann::ordered_json;

/// Throws fovea::Error where a number is NaN or infinite, for which JSON has no word. `where`: for the message.
inline void check_finite(const Json& json, const std::string& where) {
  if (json.is_number_float()) {
    fovea::require(std::isfinite(json.get<double>()), where, ": a number expected, NaN or infinity came");
  } else if (json.is_structured()) {
    for (const auto& item : json.items()) check_finite(item.value(), where + "/" + item.key());
  }
}

/// Throws fovea::Error where the report holds NaN or infinity, or the file cannot be written.
inline void write_report(const std::filesystem::path& path, const Json& report) {
  check_finite(report, path.filename().string());
  write_text(path, report.dump(2) + "\n");
}

}  // namespace support
