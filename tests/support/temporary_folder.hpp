// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>

namespace fovea_test {

/// A folder of this process alone, as tests run side by side; it goes with its object.
struct TemporaryFolder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("fovea-test-" + std::to_string(::getpid()));

  TemporaryFolder() { std::filesystem::create_directories(path); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  /// Writes a file into it and returns where that is.
  template <class Bytes>
  [[nodiscard]] std::filesystem::path write(const std::string& name, const Bytes& content) const {
    const auto bytes = std::as_bytes(std::span(content));
    std::ofstream(path / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path / name;
  }
};

}  // namespace fovea_test
