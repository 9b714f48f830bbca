// SPDX-License-Identifier: MIT
/// \file
/// The rows that the experiments left in docs/results/*.jsonl: read, checked, put in the order of the page, and what is said of
/// several seeds together.
#pragma once

#include "experiments/support/model_names.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace claims {

using Json = nlohmann::ordered_json;

inline constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

/// The names of variants and experiments in the order of the page; what is not named here comes last, as it is read.
inline const std::vector<std::string>& experiments_in_order() {
  static const std::vector<std::string> all = {"digits", "megapixel", "photographs", "counting"};
  return all;
}
inline const std::vector<std::string>& variants_in_order() {
  static const std::vector<std::string> all = {"one",  "pairs",     "pairs-25", "sum", "sum-25", "1500", "1500-digits-last",
                                               "3000", "resampled", "designers"};
  return all;
}
inline std::size_t rank_in(const std::vector<std::string>& all, const std::string& name) {
  return static_cast<std::size_t>(std::find(all.begin(), all.end(), name) - all.begin());
}

/// A number of a row by its JSON pointer, or NaN.
inline double number(const Json& row, const std::string& field) {
  const Json::json_pointer at(field);
  return row.contains(at) ? row.at(at).get<double>() : kNotMeasured;
}
/// A string of a row, or nothing.
inline std::string words(const Json& row, const char* name) { return row.value(name, std::string()); }

/// The rows of a model on a variant, in the order of their seeds.
using Seeds = std::vector<Json>;

/// Mean over the seeds that have the field; NaN where none has.
inline double mean(const Seeds& rows, const std::string& field) {
  double sum = 0;
  int count = 0;
  for (const Json& row : rows) {
    if (const double value = number(row, field); !std::isnan(value)) {
      sum += value;
      ++count;
    }
  }
  return count > 0 ? sum / count : kNotMeasured;
}

struct Model {
  std::string name;
  Seeds rows;
};

struct Variant {
  std::string experiment;
  std::string name;
  std::vector<Model> models;

  /// Of a model; empty where it has not run.
  [[nodiscard]] Seeds rows(std::string_view model) const {
    for (const Model& m : models) {
      if (m.name == model) return m.rows;
    }
    return {};
  }
};

/// 97.5 % quantile of Student's t, to 1e-4.
inline double student_t(int degrees) {
  constexpr double exact[] = {12.706, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281};
  fovea::require(degrees >= 1, "student_t: 1 degree of freedom or more expected, ", degrees, " came");
  if (degrees <= 10) return exact[degrees - 1];
  constexpr double z = 1.959964;
  constexpr double z2 = z * z;
  const double n = degrees;  // the normal quantile and its corrections in 1/n (Abramowitz and Stegun 26.7.5)
  return z * (1 + (z2 + 1) / (4 * n) + ((5 * z2 + 16) * z2 + 3) / (96 * n * n) +
              (((3 * z2 + 19) * z2 + 17) * z2 - 15) / (384 * n * n * n));
}

/// An accuracy in [0, 1] with its 95 % interval.
struct Accuracy {
  double mean = kNotMeasured;
  double low = kNotMeasured;
  double high = kNotMeasured;
  bool one_seed = false;  ///< Wilson's binomial interval of the test images; otherwise Student's, over seeds
};

/// `part`: "/test" or "/disk"; with its fields accuracy and images.
inline Accuracy accuracy_of(const Seeds& rows, const std::string& part) {
  std::vector<double> each;
  double images = 0;
  for (const Json& row : rows) {
    if (const double value = number(row, part + "/accuracy"); !std::isnan(value)) {
      each.push_back(value);
      images = number(row, part + "/images");
    }
  }
  if (each.empty()) return {};
  const auto count = static_cast<double>(each.size());
  const double m = mean(rows, part + "/accuracy");
  if (each.size() == 1) {
    constexpr double z = 1.959964;
    const double share = z * z / images;
    const double middle = (m + share / 2) / (1 + share);
    const double half = z / (1 + share) * std::sqrt(m * (1 - m) / images + share / (4 * images));
    return {m, std::max(0.0, middle - half), std::min(1.0, middle + half), true};
  }
  double squares = 0;
  for (const double value : each) squares += (value - m) * (value - m);
  const double half = student_t(static_cast<int>(each.size()) - 1) * std::sqrt(squares / (count - 1) / count);
  return {m, std::max(0.0, m - half), std::min(1.0, m + half), false};
}

namespace detail {

struct Field {
  const char* pointer;
  double least;
  double most;
  bool required;
};

/// Throws Error or a JSON exception where the row is not one.
inline void check(const Json& row) {
  using fovea::require;
  constexpr double any = std::numeric_limits<double>::max();
  constexpr double some = 1e-6;
  static constexpr Field fields[] = {{"/seed", 0, any, true},
                                     {"/image/0", 1, any, true},
                                     {"/image/1", 1, any, true},
                                     {"/proxy/0", 1, any, true},
                                     {"/proxy/1", 1, any, true},
                                     {"/train/images", 1, any, true},
                                     {"/train/minutes", 0, any, true},
                                     {"/train/threads", 1, any, true},
                                     {"/test/images", 1, any, true},
                                     {"/test/accuracy", 0, 1, true},
                                     {"/test/glimpses", 0, any, true},
                                     {"/test/pixels", 0, any, true},
                                     {"/test/mean_error", 0, any, false},
                                     {"/test/within_one", 0, 1, false},
                                     {"/test/hit_rate", 0, 1, false},
                                     {"/test/early_exit/glimpses", 0, any, false},
                                     {"/test/early_exit/accuracy", 0, 1, false},
                                     {"/cost/ms", some, any, true},
                                     {"/cost/peak_mib", 0, any, true},
                                     {"/cost/multiply_adds", 0, any, false}};
  static constexpr Field disk[] = {{"/disk/images", 1, any, true},
                                   {"/disk/accuracy", 0, 1, true},
                                   {"/disk/ms", some, any, true},
                                   {"/disk/bytes", 0, any, true},
                                   {"/disk/peak_mib", 0, any, true}};
  const auto check_number = [&row](const Field& f) {
    const double value = number(row, f.pointer);
    if (!f.required && std::isnan(value)) return;
    require(value >= f.least && value <= f.most, f.pointer, ": a number of at least ", fovea::format("%g", f.least),
            f.most < any ? fovea::format(" and at most %g", f.most) : "", " expected, ",
            std::isnan(value) ? "none" : fovea::format("%g", value), " came");
  };
  require(row.is_object(), "a row of a table expected, another kind of JSON came");
  for (const char* name : {"experiment", "variant", "model"}) {
    const std::string text = row.at(name).get<std::string>();
    require(!text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") == std::string::npos, name,
            ": lower-case letters, digits, _ and - expected, '", text, "' came");
  }
  for (const char* name : {"question", "note", "cpu", "date"}) (void)words(row, name);
  for (const Field& f : fields) check_number(f);
  if (row.contains("disk")) {
    for (const Field& f : disk) check_number(f);
  }
  const Json curve = row.value("curve", Json::array());
  require(curve.is_array(), "curve: an array expected");
  for (const Json& point : curve) {
    const double images = point.at("images").get<double>();
    const double accuracy = point.at("accuracy").get<double>();
    require(images >= 0 && accuracy >= 0 && accuracy <= 1, "curve: accuracies in [0, 1] expected, ", accuracy, " came");
  }
}

}  // namespace detail

/// All rows in the files `folder`/*.jsonl, in the order of the page. A later row replaces an earlier one of the same
/// experiment, variant, model and seed. None where there is no such folder yet. Throws Error with the file and the line where a
/// row is broken.
inline std::vector<Variant> read_results(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::vector<fs::path> paths;
  if (!fs::exists(folder)) return {};
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".jsonl") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> experiments = experiments_in_order();
  std::vector<std::string> variants = variants_in_order();
  std::vector<std::string> models = experiments::all_models();
  const auto place = [](std::vector<std::string>& all, const Json& row, const char* what) {
    const auto name = row.at(what).get<std::string>();
    const std::size_t rank = rank_in(all, name);
    if (rank == all.size()) all.push_back(name);
    return rank;
  };
  // By experiment, variant, model, seed: the order of the page.
  std::map<std::array<std::size_t, 3>, std::map<std::uint64_t, Json>> sorted;
  for (const fs::path& path : paths) {
    std::ifstream file(path);
    fovea::require(file.good(), path.string(), ": cannot be read");
    int line_number = 0;
    for (std::string line; std::getline(file, line);) {
      ++line_number;
      if (line.empty()) continue;
      try {
        Json row = Json::parse(line);
        detail::check(row);
        auto& seeds =
            sorted[{place(experiments, row, "experiment"), place(variants, row, "variant"), place(models, row, "model")}];
        const auto seed = row.at("seed").get<std::uint64_t>();
        seeds[seed] = std::move(row);
      } catch (const std::exception& error) {
        fovea::fail(path.string(), ":", line_number, ": ", error.what());
      }
    }
  }
  std::vector<Variant> results;
  for (const auto& [at, seeds] : sorted) {
    const std::string& experiment = experiments[at[0]];
    const std::string& variant = variants[at[1]];
    if (results.empty() || results.back().experiment != experiment || results.back().name != variant) {
      results.push_back({experiment, variant, {}});
    }
    results.back().models.push_back({models[at[2]], {}});
    for (const auto& [seed, row] : seeds) results.back().models.back().rows.push_back(row);
  }
  return results;
}

}  // namespace claims
