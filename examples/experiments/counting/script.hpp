// SPDX-License-Identifier: MIT
/// \file
/// The few lines of Bos Wars' Lua files that matter here: calls and fields whose values are written out. Nothing is executed.
/// Files are taken for hostile: sizes are bounded, and what is not as expected is a fovea::Error with file and line.
#pragma once

#include <fovea/core/view.hpp>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace experiments::counting {

/// A file without its comments.
class Script {
 public:
  /// Throws Error where the file cannot be read or is longer than 16 MB.
  explicit Script(std::filesystem::path path);

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] std::string_view text() const noexcept { return text_; }
  /// Positions behind `name(`, where that is a call.
  [[nodiscard]] std::vector<std::size_t> calls(std::string_view name) const;
  /// Throws Error: "file:line: what".
  [[noreturn]] void fail_at(std::size_t position, const std::string& what) const;

 private:
  std::filesystem::path path_;
  std::string text_;
};

/// Reads values one after the other; each reader moves on if it finds what it looks for, and else stays.
class Cursor {
 public:
  Cursor(const Script& script, std::size_t position, std::size_t end = std::string_view::npos)
      : script_(&script), at_(position), end_(end < script.text().size() ? end : script.text().size()) {}

  [[nodiscard]] std::size_t position() const noexcept { return at_; }
  bool accept(std::string_view symbol);
  std::optional<std::string> string();
  /// A whole number, decimal or 0x..., below 2^31 in size.
  std::optional<fovea::Index> number();
  /// {a, b, ...}: exactly `count` numbers.
  std::optional<std::vector<fovea::Index>> numbers(std::size_t count);
  /// A file, as a string or GetCurrentLuaPath() .. string: below `root` or the script's folder. Error where it leaves that.
  std::optional<std::filesystem::path> file(const std::filesystem::path& root);
  /// The position of the brace that closes the next one. Error where there is none.
  std::size_t closing_brace();
  /// Goes behind `key =` inside the limits of this cursor; false where there is none.
  bool seek(std::string_view key);
  [[noreturn]] void fail(const std::string& what) const { script_->fail_at(at_, what); }
  /// What `value` holds, Error where it holds nothing.
  template <class T>
  T need(std::optional<T> value, const char* what) const {
    if (!value) fail(std::string(what) + " expected");
    return *std::move(value);
  }

 private:
  void skip_space();
  const Script* script_;
  std::size_t at_;
  std::size_t end_;
};

}  // namespace experiments::counting
