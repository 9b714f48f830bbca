// SPDX-License-Identifier: MIT
#pragma once

#include <fovea/core/error.hpp>

#include <functional>
#include <string>

namespace fovea_test {

/// What the Error says that `action` throws; empty where it throws none.
inline std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const fovea::Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace fovea_test
