// SPDX-License-Identifier: MIT
/// \file
/// How training goes, a line of numbers at a time: as JSON lines for programs and as CSV for tables.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>

#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// A line of a log. NaN: not known at this step; null in JSON, empty in CSV.
struct MetricsLine {
  static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

  std::uint64_t step = 0;    ///< steps taken
  std::uint64_t images = 0;  ///< samples seen
  double epoch = 0;
  double seconds = 0;  ///< of training, over all sittings
  double images_per_second = unknown;
  double loss = unknown;      ///< mean since the line before
  double accuracy = unknown;  ///< the same, as a fraction
  double gradient_norm = unknown;
  double learning_rate = unknown;
  double validation = unknown;
};

/// How long both files of a log are: what a checkpoint remembers, so that no line comes twice.
struct MetricsPosition {
  std::uint64_t jsonl = 0;
  std::uint64_t csv = 0;
};

/// `<stem>.jsonl` and `<stem>.csv`. Every line is handed to the system at once, so that others can follow.
class MetricsLog {
 public:
  /// Begins anew; or goes on behind `from`, cutting off what was written after that. Throws Error where it cannot write.
  explicit MetricsLog(const std::filesystem::path& stem, const MetricsPosition& from = {}) {
    jsonl_ = open(stem.string() + ".jsonl", from.jsonl);
    csv_ = open(stem.string() + ".csv", from.csv);
    if (csv_.size == 0) {
      std::string header;
      visit({}, [&](std::string_view name, double) { (header += header.empty() ? "" : ",") += name; });
      append(csv_, header + "\n");
    }
  }
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;
  ~MetricsLog() {
    for (const File* file : {&jsonl_, &csv_}) {
      if (file->stream != nullptr) (void)std::fclose(file->stream);
    }
  }

  /// Throws Error where it cannot be written.
  void write(const MetricsLine& line) {
    std::string json = "{";
    std::string csv;
    visit(line, [&](std::string_view name, double value) {
      const std::string number = std::isfinite(value) ? text(value) : "";
      json += (json.size() > 1 ? ",\"" : "\"") + std::string(name) + "\":" + (number.empty() ? "null" : number);
      csv += (name == "step" ? "" : ",") + number;
    });
    append(jsonl_, json + "}\n");
    append(csv_, csv + "\n");
  }

  [[nodiscard]] MetricsPosition position() const noexcept { return {jsonl_.size, csv_.size}; }

 private:
  struct File {
    std::FILE* stream = nullptr;
    std::uint64_t size = 0;
    std::string path;
  };

  template <class Visit>
  static void visit(const MetricsLine& line, Visit&& visit) {
    visit("step", static_cast<double>(line.step));
    visit("images", static_cast<double>(line.images));
    visit("epoch", line.epoch);
    visit("seconds", line.seconds);
    visit("images_per_second", line.images_per_second);
    visit("loss", line.loss);
    visit("accuracy", line.accuracy);
    visit("gradient_norm", line.gradient_norm);
    visit("learning_rate", line.learning_rate);
    visit("validation", line.validation);
  }

  /// The shortest number that is read back as the same.
  static std::string text(double value) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value);
    return {digits.data(), end.ptr};
  }

  File open(const std::string& path, std::uint64_t size) {
    std::error_code error;
    const std::uint64_t there = std::filesystem::file_size(path, error);
    // A log that was taken away is begun anew.
    if (error || there < size) size = 0;
    File file{std::fopen(path.c_str(), size == 0 ? "wb" : "rb+"), size, path};
    if (file.stream == nullptr || ::ftruncate(::fileno(file.stream), static_cast<off_t>(size)) != 0 ||
        std::fseek(file.stream, static_cast<long>(size), SEEK_SET) != 0) {
      const int reason = errno;
      if (file.stream != nullptr) (void)std::fclose(file.stream);
      fail(path, ": cannot be written: ", std::strerror(reason));
    }
    return file;
  }

  static void append(File& file, std::string_view line) {
    errno = 0;
    require(std::fwrite(line.data(), 1, line.size(), file.stream) == line.size() && std::fflush(file.stream) == 0, file.path,
            ": cannot be written: ", std::strerror(errno != 0 ? errno : EIO));
    file.size += line.size();
  }

  File jsonl_;
  File csv_;
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
