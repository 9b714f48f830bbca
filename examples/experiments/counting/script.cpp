// SPDX-License-Identifier: MIT
#include "script.hpp"

#include <fovea/core/error.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <system_error>
#include <utility>

namespace experiments::counting {
namespace {

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

Script::Script(std::filesystem::path path) : path_(std::move(path)) {
  constexpr std::uintmax_t most = 1 << 24;
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path_, error);
  fovea::require(!error, path_.string(), ": a file expected: ", error.message());
  fovea::require(size <= most, path_.string(), ": a file of at most ", most, " bytes expected, it has ", size);
  text_.resize(static_cast<std::size_t>(size));
  std::ifstream file(path_, std::ios::binary);
  file.read(text_.data(), static_cast<std::streamsize>(size));
  fovea::require(file.good() || size == 0, path_.string(), ": cannot be read");
  // Comments become spaces, so that lines keep their numbers.
  bool quoted = false;
  for (std::size_t i = 0; i < text_.size(); ++i) {
    if (text_[i] == '"' || text_[i] == '\n') quoted = text_[i] == '"' && !quoted;
    if (quoted || text_[i] != '-' || i + 1 == text_.size() || text_[i + 1] != '-') continue;
    for (; i < text_.size() && text_[i] != '\n'; ++i) text_[i] = ' ';
  }
}

std::vector<std::size_t> Script::calls(std::string_view name) const {
  std::vector<std::size_t> found;
  for (std::size_t at = text_.find(name); at != std::string::npos; at = text_.find(name, at + 1)) {
    if (at > 0 && (is_word(text_[at - 1]) || text_[at - 1] == '"')) continue;
    std::size_t behind = at + name.size();
    while (behind < text_.size() && (text_[behind] == ' ' || text_[behind] == '\t')) ++behind;
    if (behind < text_.size() && text_[behind] == '(') found.push_back(behind + 1);
  }
  return found;
}

void Script::fail_at(std::size_t position, const std::string& what) const {
  const auto end = text_.begin() + static_cast<std::ptrdiff_t>(std::min(position, text_.size()));
  fovea::fail(path_.string(), ":", 1 + std::count(text_.begin(), end, '\n'), ": ", what);
}

void Cursor::skip_space() {
  while (at_ < end_ && is_space(script_->text()[at_])) ++at_;
}

bool Cursor::accept(std::string_view symbol) {
  skip_space();
  if (script_->text().substr(0, end_).substr(std::min(at_, end_), symbol.size()) != symbol) return false;
  at_ += symbol.size();
  return true;
}

std::optional<std::string> Cursor::string() {
  skip_space();
  const std::string_view text = script_->text().substr(0, end_);
  if (at_ >= end_ || text[at_] != '"') return std::nullopt;
  const std::size_t close = text.find_first_of("\"\n", at_ + 1);
  if (close == std::string_view::npos || text[close] != '"') fail("a closing quote");
  std::string value(text.substr(at_ + 1, close - at_ - 1));
  at_ = close + 1;
  return value;
}

std::optional<fovea::Index> Cursor::number() {
  skip_space();
  const std::string_view text = script_->text();
  std::size_t from = at_;
  const bool negative = from < end_ && text[from] == '-';
  if (negative) ++from;
  const bool hexadecimal = from + 1 < end_ && text[from] == '0' && (text[from + 1] == 'x' || text[from + 1] == 'X');
  if (hexadecimal) from += 2;
  std::int32_t value = 0;
  const auto [stop, error] = std::from_chars(text.data() + from, text.data() + end_, value, hexadecimal ? 16 : 10);
  if (error != std::errc{} || value < 0) return std::nullopt;
  const auto behind = static_cast<std::size_t>(stop - text.data());
  if (behind < end_ && (is_word(text[behind]) || text[behind] == '.')) return std::nullopt;
  at_ = behind;
  return negative ? -value : value;
}

std::optional<std::vector<fovea::Index>> Cursor::numbers(std::size_t count) {
  const std::size_t before = at_;
  const auto give_up = [&] {
    at_ = before;
    return std::nullopt;
  };
  if (!accept("{")) return give_up();
  std::vector<fovea::Index> values;
  while (values.size() < count) {
    if (!values.empty() && !accept(",")) return give_up();
    const std::optional<fovea::Index> value = number();
    if (!value) return give_up();
    values.push_back(*value);
  }
  accept(",");
  if (!accept("}")) return give_up();
  return values;
}

std::optional<std::filesystem::path> Cursor::file(const std::filesystem::path& root) {
  const std::size_t before = at_;
  std::filesystem::path folder = root;
  if (accept("GetCurrentLuaPath()")) {
    folder = script_->path().parent_path();
    if (!accept("..")) fail("GetCurrentLuaPath() .. \"name\" expected");
  }
  const std::optional<std::string> name = string();
  if (!name) {
    at_ = before;
    return std::nullopt;
  }
  const std::filesystem::path below = std::filesystem::path(*name).relative_path();
  for (const std::filesystem::path& part : below) {
    if (part == "..") fail("a file below " + folder.string() + " expected, " + *name + " came");
  }
  return folder / below;
}

std::size_t Cursor::closing_brace() {
  const std::string_view text = script_->text();
  std::size_t depth = 0;
  bool quoted = false;
  for (std::size_t i = at_; i < end_; ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (quoted) continue;
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && (depth == 0 || --depth == 0)) return i;
  }
  fail("a closing brace expected");
}

bool Cursor::seek(std::string_view key) {
  const std::string_view text = script_->text().substr(0, end_);
  for (std::size_t at = text.find(key, at_); at != std::string_view::npos; at = text.find(key, at + 1)) {
    if (at > 0 && (is_word(text[at - 1]) || text[at - 1] == '"')) continue;
    Cursor behind(*script_, at + key.size(), end_);
    if (!behind.accept("=")) continue;
    at_ = behind.at_;
    return true;
  }
  return false;
}

}  // namespace experiments::counting
