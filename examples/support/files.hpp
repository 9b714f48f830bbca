// SPDX-License-Identifier: MIT
/// \file
/// Files written whole or not at all: to a temporary beside the target, flushed to the disk, then renamed over it.
#pragma once

#include <fovea/core/error.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace support {

/// Calls `write(std::FILE*)`, which returns false or throws where it fails, and puts the result in place of `path`.
/// A crash or a full disk leaves what was there before. Throws fovea::Error with the path and the reason.
template <class Write>
void write_file(const std::filesystem::path& path, Write&& write) {
  const std::string name = path.string();
  const std::string temporary = name + ".part-" + std::to_string(::getpid());
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  if (file == nullptr) fovea::fail(name, ": cannot be written: ", std::strerror(errno));
  int reason = 0;
  const auto check = [&reason](bool success) {
    if (!success && reason == 0) reason = errno != 0 ? errno : EIO;
  };
  errno = 0;
  try {
    check(write(file));
  } catch (...) {
    (void)std::fclose(file);
    (void)std::remove(temporary.c_str());
    throw;
  }
  check(std::fflush(file) == 0);
  check(::fsync(::fileno(file)) == 0);
  check(std::fclose(file) == 0);
  if (reason == 0) check(std::rename(temporary.c_str(), name.c_str()) == 0);
  if (reason != 0) {
    (void)std::remove(temporary.c_str());
    fovea::fail(name, ": cannot be written: ", std::strerror(reason));
  }
}

/// The same for a text.
inline void write_text(const std::filesystem::path& path, std::string_view text) {
  write_file(path, [&](std::FILE* file) { return std::fwrite(text.data(), 1, text.size(), file) == text.size(); });
}

/// Makes `directory` where it is not there, and proves that files can be written into it: better before ten minutes of
/// training than after. Throws fovea::Error.
inline void prepare_directory(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (!std::filesystem::is_directory(directory)) {
    fovea::fail(directory.string(), ": a folder expected, and none can be made: ", error ? error.message() : "a file is there");
  }
  const auto probe = directory / ".writable";
  write_text(probe, "");
  std::filesystem::remove(probe, error);
}

}  // namespace support
