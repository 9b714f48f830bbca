// SPDX-License-Identifier: MIT
/// \file
/// Files written whole or not at all (core/atomic_file.hpp), for functions that write to a std::FILE*.
#pragma once

#include <fovea/core/atomic_file.hpp>
#include <fovea/core/error.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace support {

using fovea::write_text;

/// Calls `write(std::FILE*)`, which returns false or throws where it fails, and puts the result in place of `path`.
/// A crash or a full disk leaves what was there before. Throws fovea::Error with the path and the reason.
template <class Write>
void write_file(const std::filesystem::path& path, Write&& write) {
  fovea::write_file(path, [&](fovea::FileWriter& file) {
    errno = 0;
    if (!write(file.stream())) fovea::fail(path.string(), ": cannot be written: ", std::strerror(errno != 0 ? errno : EIO));
  });
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
