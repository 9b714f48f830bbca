// SPDX-License-Identifier: MIT
/// \file
/// The one exception type of the library, thrown at its boundary with what was expected and what came.
#pragma once

#include <fovea/core/config.hpp>

#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>

namespace fovea::inline FOVEA_ABI {

/// What every public function throws on bad input. The message names the place, what was expected and what came:
/// "glimpse: 3 channels expected, the image has 4".
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

inline void append(std::string& text, std::string_view piece) { text += piece; }
template <class Number>
  requires std::integral<Number> || std::floating_point<Number>
void append(std::string& text, Number number) { text += std::to_string(number); }

}  // namespace detail

/// Throws Error with the concatenation of `pieces` (strings and numbers).
template <class... Pieces>
[[noreturn]] void fail(const Pieces&... pieces) {
  std::string text;
  (detail::append(text, pieces), ...);
  throw Error(text);
}

/// Throws Error unless `condition` holds. The message is put together only on failure.
template <class... Pieces>
void require(bool condition, const Pieces&... pieces) {
  if (!condition) [[unlikely]]
    fail(pieces...);
}

}  // namespace fovea::inline FOVEA_ABI
