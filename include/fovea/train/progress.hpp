// SPDX-License-Identifier: MIT
/// \file
/// How far a long piece of work is: one line redrawn on a terminal, a plain line every few seconds elsewhere.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/format.hpp>
#include <fovea/core/stopwatch.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// "3:05", or "1:02:03".
[[nodiscard]] inline std::string clock_time(double seconds) {
  const long s = std::lround(std::clamp(seconds, 0.0, 1e8));
  return s < 3600 ? format("%ld:%02ld", s / 60, s % 60) : format("%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}

/// Reports on one stage of work after the other. Not thread-safe: call it from one thread.
class Progress {
 public:
  /// What there is to say in the middle of a stage. NaN: not shown.
  struct State {
    double fraction = 0;      ///< of the stage that is done, in [0, 1]: of the images, or of the time
    std::int64_t images = 0;  ///< seen since the stage began
    double loss = std::nan("");
    double accuracy = std::nan("");  ///< as a fraction
  };

  /// `out` is usually stderr. Elsewhere than on a terminal there is a line every `seconds_between_lines`.
  explicit Progress(std::FILE* out = stderr, double seconds_between_lines = 5)
      : out_(out), terminal_(::isatty(::fileno(out)) != 0), interval_(terminal_ ? 0.1 : seconds_between_lines) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// A stage that an exception cut short leaves its line standing.
  ~Progress() {
    if (drawn_) std::fputc('\n', out_);
  }

  void begin(std::string title) {
    title_ = std::move(title);
    watch_.restart();
    shown_ = -interval_;  // the first update is shown at once
    state_ = {};
    drawn_ = false;
    if (terminal_) show();
  }
  /// Cheap where nothing is to be shown: call it after every step.
  void update(const State& state) {
    state_ = state;
    const double now = watch_.seconds();
    if (now - shown_ < interval_) return;
    shown_ = now;
    show();
  }
  /// Ends the stage with a line that stays: what was reached, and the time it took. `result` takes the place of the last
  /// state's numbers; a blank one says nothing.
  void end(const std::string& result = {}) {
    const std::string took = clock_time(watch_.seconds());
    std::string text = format("%-16s done in %s", title_.c_str(), took.c_str());
    const std::string numbers = result.empty() ? final_text() : result;
    if (numbers.find_first_not_of(' ') != std::string::npos) text += "  " + numbers;
    print(text, true);
  }
  /// A line of its own.
  void say(const std::string& text) { print(text, true); }

  /// Seconds since begin().
  [[nodiscard]] double seconds() const { return watch_.seconds(); }

 private:
  [[nodiscard]] int columns() const {
    winsize size{};
    if (::ioctl(::fileno(out_), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
    return size.ws_col;
  }

  [[nodiscard]] std::string final_text() const {
    std::string text;
    if (std::isfinite(state_.loss)) text += format("loss %.3f  ", state_.loss);
    if (std::isfinite(state_.accuracy)) text += format("accuracy %.1f %%  ", 100 * state_.accuracy);
    if (state_.images > 0) text += format("%lld images", static_cast<long long>(state_.images));
    return text;
  }

  void show() {
    const double fraction = std::clamp(state_.fraction, 0.0, 1.0);
    const double elapsed = watch_.seconds();
    const int room = terminal_ ? columns() - 1 : 0;
    const std::string head = format("%-16s ", title_.c_str());
    std::string tail;
    if (std::isfinite(state_.loss)) tail += format("  loss %.3f", state_.loss);
    if (std::isfinite(state_.accuracy)) tail += format("  accuracy %.1f %%", 100 * state_.accuracy);
    if (state_.images > 0 && elapsed > 0) {
      tail += format("  %.0f images/s", static_cast<double>(state_.images) / elapsed);
    }
    if (fraction > 0.001) tail += "  " + clock_time(elapsed * (1 - fraction) / fraction) + " left";
    // The numbers come first; the bar takes what is left of the line, and the share that is done follows where both
    // fit.
    const std::string percent = format("%3.0f %%", std::floor(100 * fraction));
    const int left = room - static_cast<int>(head.size() + tail.size()) - 2;
    if (left < 4) return print(head + percent + tail, false);
    const bool both = left >= 20;
    const auto width = static_cast<std::size_t>(std::min(both ? left - 6 : left, 30));
    const auto full = static_cast<std::size_t>(fraction * static_cast<double>(width));
    print(head + "[" + std::string(full, '#') + std::string(width - full, '.') + "]" + (both ? " " + percent : "") + tail,
          false);
  }

  /// On a terminal the line is drawn over, unless it is to stay.
  void print(const std::string& text, bool stays) {
    if (terminal_) {
      const auto width = static_cast<std::size_t>(std::max(20, columns() - 1));
      std::fprintf(out_, "\r\033[K%s", stays ? text.c_str() : text.substr(0, width).c_str());
      if (stays) std::fputc('\n', out_);
    } else {
      std::fprintf(out_, "%s\n", text.c_str());
    }
    drawn_ = terminal_ && !stays;
    (void)std::fflush(out_);
  }

  std::FILE* out_;
  bool terminal_;
  double interval_;
  std::string title_;
  Stopwatch watch_;
  double shown_ = 0;
  State state_;
  bool drawn_ = false;
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
