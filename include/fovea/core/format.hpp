// SPDX-License-Identifier: MIT
/// \file
/// Numbers as text: printf into a std::string.
#pragma once

#include <fovea/core/config.hpp>

#include <algorithm>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <string>

namespace fovea::inline FOVEA_ABI {

/// What printf would print, its first 255 characters.
[[gnu::format(printf, 1, 2)]] inline std::string format(const char* form, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, form);
  const int length = std::vsnprintf(text, sizeof text, form, arguments);
  va_end(arguments);
  return {text, static_cast<std::size_t>(std::clamp(length, 0, static_cast<int>(sizeof text) - 1))};
}

}  // namespace fovea::inline FOVEA_ABI
