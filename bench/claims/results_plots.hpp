// SPDX-License-Identifier: MIT
/// \file
/// Plots of what the experiments found, as SVG: gnuplot draws them, from one script with its data in it.
#pragma once

#include "results.hpp"
#include <fovea/core/atomic_file.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace claims {

class Plots {
 public:
  [[nodiscard]] static bool can_draw() {
    return std::system("gnuplot --version > /dev/null 2>&1") == 0;  // NOLINT: our own words only
  }

  /// Accuracy on images held out against training images, a line for each model: the mean of its seeds.
  void add_curves(const Variant& variant) {
    std::string lines;
    for (const Model& model : variant.models) {
      const std::string data = curve(model.rows);
      if (data.empty()) continue;
      lines += (lines.empty() ? "" : ", ") + fovea::format("%s using 1:2 with linespoints %s lw 2 ps 0.5 title '%s'",
                                                           block(data).c_str(), style(model.name).c_str(), model.name.c_str());
    }
    if (lines.empty()) return;
    begin(variant, "curves", "accuracy on images held out, in training");
    script_ += "set xlabel 'training images (thousands)'\nset xrange [0:*]\nset yrange [0:100]\nplot " + lines + "\n";
  }

  /// Accuracy on the test against the time of an answer, a point for each model.
  void add_costs(const Variant& variant) {
    std::string points;
    double quickest = HUGE_VAL;
    double slowest = 0;
    double least = 1;
    for (const Model& model : variant.models) {
      const Accuracy a = accuracy_of(model.rows, "/test");
      const double ms = mean(model.rows, "/cost/ms");
      const std::string data = fovea::format("%.4g %.2f %.2f %.2f\n", ms, 100 * a.mean, 100 * a.low, 100 * a.high);
      points +=
          (points.empty() ? "" : ", ") + fovea::format("%s using 1:2:3:4 with yerrorbars %s lw 1.5 ps 1 title '%s'",
                                                       block(data).c_str(), style(model.name).c_str(), model.name.c_str());
      quickest = std::min(quickest, ms);
      slowest = std::max(slowest, ms);
      least = std::min(least, a.low);
    }
    begin(variant, "costs", "accuracy and time of an answer, with 95 % intervals");
    // Whole decades; all of them above the quickest and below the slowest.
    const double first = std::floor(std::log10(quickest));
    const double last = std::max(first + 1, std::ceil(std::log10(slowest)));
    const double floor = std::max(0.0, 10 * std::floor(10 * least - 0.1));
    script_ += "set xlabel 'ms per image on one thread (log scale)'\nset logscale x\n";
    script_ += fovea::format("set xrange [1e%.0f:1e%.0f]\nset yrange [%.0f:100]\nplot ", first, last, floor) + points +
               "\nunset logscale x\n";
  }

  /// Draws all into `folder`; the script and what gnuplot makes of it are first in `work`, a folder below this one.
  void draw(const std::string& work, const std::filesystem::path& folder) const {
    namespace fs = std::filesystem;
    fs::create_directories(work);
    std::ofstream(fs::path(work) / "plots.gnuplot") << kStart << data_ << script_ << "set output\n";
    const std::string command = "cd " + work + " && gnuplot plots.gnuplot";
    fovea::require(std::system(command.c_str()) == 0, "failed: ", command);  // NOLINT: our own words only
    for (const std::string& name : names_) {
      std::ostringstream text;
      text << std::ifstream(fs::path(work) / name).rdbuf();
      fovea::require(text.str().find("</svg>") != std::string::npos, work, "/", name, ": gnuplot has not drawn it");
      fovea::write_file(folder / name, [&](fovea::FileWriter& file) { file.write(text.str()); });
    }
  }

  /// Whether there is a plot of this name.
  [[nodiscard]] bool contains(const std::string& name) const {
    return std::find(names_.begin(), names_.end(), name) != names_.end();
  }
  [[nodiscard]] static std::string name_of(const Variant& variant, const char* kind) {
    return variant.experiment + "-" + variant.name + "-" + kind + ".svg";
  }

 private:
  static constexpr const char* kStart =
      "set terminal svg size 760,400 font 'sans-serif,13' noenhanced background 'white'\n"
      "set encoding utf8\n"
      "set key outside right top Left reverse samplen 2 noautotitle\n"
      "set grid linecolor rgb '#dddddd'\n"
      "set ylabel 'accuracy (%)'\n";

  /// The colour and the sign of a model are the same in all plots.
  static std::string style(const std::string& model) {
    static constexpr const char* colours[] = {"#0072b2", "#56b4e9", "#d55e00", "#999999", "#bbaa66", "#666666", "#000000",
                                              "#cc79a7", "#e69f00", "#009e73", "#8b5a2b", "#7b3294", "#aa0000"};
    static constexpr int signs[] = {7, 6, 5, 4, 12, 13, 9, 8, 11, 10, 15, 14, 3};
    const std::size_t i = std::min(rank_in(experiments::all_models(), model), std::size(colours) - 1);
    return fovea::format("lc rgb '%s' pt %d", colours[i], signs[i]);
  }

  /// Thousands of images and percent, where all seeds have been tested.
  static std::string curve(const Seeds& rows) {
    std::map<double, std::pair<double, std::size_t>> sums;
    for (const Json& row : rows) {
      for (const Json& point : row.value("curve", Json::array())) {
        auto& [sum, count] = sums[point.at("images").get<double>()];
        sum += point.at("accuracy").get<double>();
        ++count;
      }
    }
    std::string data;
    for (const auto& [images, sum] : sums) {
      if (sum.second != rows.size()) continue;
      data += fovea::format("%.8g %.2f\n", images / 1000, 100 * sum.first / static_cast<double>(sum.second));
    }
    return data;
  }

  /// The name under which a script has this data.
  std::string block(const std::string& data) {
    std::string name = fovea::format("$d%d", blocks_++);
    data_ += name + " << END\n" + data + "END\n";
    return name;
  }

  void begin(const Variant& variant, const char* kind, const char* title) {
    names_.push_back(name_of(variant, kind));
    script_ +=
        "set output '" + names_.back() + "'\nset title '" + variant.experiment + ", " + variant.name + ": " + title + "'\n";
  }

  std::string data_;
  std::string script_;
  std::vector<std::string> names_;
  int blocks_ = 0;
};

}  // namespace claims
