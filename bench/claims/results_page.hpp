// SPDX-License-Identifier: MIT
/// \file
/// docs/results.md: what the experiments found, in words and tables.
#pragma once

#include "results.hpp"
#include "results_plots.hpp"
#include <fovea/core/format.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace claims {

namespace text {

/// "1,234,567"
inline std::string whole(double value) {
  std::string digits = fovea::format("%.0f", value);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}
/// Three digits or more: "0.831", "12.8", "1,235"
inline std::string three_digits(double value) {
  if (value >= 99.95) return whole(value);
  return fovea::format("%.*f", value >= 9.995 ? 1 : value >= 0.9995 ? 2 : 3, value);
}
inline std::string tenths(double value) { return fovea::format("%.1f", value); }
inline std::string hundredths(double value) { return fovea::format("%.2f", value); }
inline std::string percent(double share) { return fovea::format("%.2f", 100 * share); }
inline std::string percent_tenths(double share) { return fovea::format("%.1f %%", 100 * share); }
inline std::string millions(double value) { return three_digits(value / 1e6); }

/// "97.12 (96.80-97.44)", marked where it is of one seed.
inline std::string accuracy(const Accuracy& a) {
  if (std::isnan(a.mean)) return "–";
  return percent(a.mean) + " (" + percent(a.low) + "–" + percent(a.high) + ")" + (a.one_seed ? "\\*" : "");
}

/// "5", or "5 to 7" where rows differ.
inline std::string range(const Seeds& rows, const std::string& field) {
  double low = HUGE_VAL;
  double high = -HUGE_VAL;
  for (const Json& row : rows) {
    low = std::min(low, number(row, field));
    high = std::max(high, number(row, field));
  }
  return low == high ? whole(low) : whole(low) + " to " + whole(high);
}

/// In lines of at most 120 characters, broken at spaces outside of `code`. Ends with an empty line unless it is indented.
inline std::string paragraph(const std::string& words, const std::string& indent = "") {
  std::string all;
  std::string line;
  std::string word;
  bool code = false;
  const auto put = [&] {
    if (!line.empty() && line.size() + 1 + word.size() > 120) {
      all += line + "\n";
      line = indent + word;
    } else {
      line += (line.empty() ? "" : " ") + word;
    }
    word.clear();
  };
  for (const char c : words) {
    code = code != (c == '`');
    if (c == ' ' && !code) {
      put();
    } else {
      word += c;
    }
  }
  put();
  return all + line + "\n" + (indent.empty() ? "\n" : "");
}
inline std::string item(const std::string& words) { return paragraph("- " + words, "  "); }

using Row = std::vector<std::string>;
inline std::string line(const Row& cells) {
  std::string all = "|";
  for (const std::string& cell : cells) all += " " + cell + " |";
  return all + "\n";
}
inline std::string table(const Row& heading, const std::vector<Row>& rows) {
  std::string all = line(heading) + "|";
  for (std::size_t i = 0; i < heading.size(); ++i) all += i == 0 ? "---|" : "--:|";
  all += "\n";
  for (const Row& row : rows) all += line(row);
  return all + "\n";
}

}  // namespace text

/// Makes the page from all results; `folder`: where pictures are, beside the rows.
class Page {
 public:
  Page(const std::vector<Variant>& results, const Plots& plots, std::filesystem::path folder)
      : results_(results), plots_(plots), folder_(std::move(folder)) {}

  [[nodiscard]] std::string write() const {
    std::string page =
        "<!-- Generated: `cmake --build --preset bench --target claims-experiments` makes this file from results/*.jsonl. -->\n"
        "# Results\n\n" +
        introduction();
    std::string experiment;
    for (const Variant& variant : results_) {
      if (variant.experiment == "ablation") continue;
      if (variant.experiment != experiment) page += heading(experiment = variant.experiment);
      page += section(variant);
    }
    page += ablation();
    while (page.ends_with("\n\n")) page.pop_back();
    return page;
  }

 private:
  // -------------------------------------------------------------------------------------------------------- introduction
  [[nodiscard]] std::string introduction() const {
    using text::item, text::paragraph;
    std::string all = paragraph(
        "Images of millions of pixels in which a small part decides. Each table compares models that were trained on the same "
        "images and tested on the same other images:");
    all += item(
        "`saccader`: this library's. It sees a small proxy of the image, looks at a few glimpses of the original, each "
        "where the earlier ones suggest (closed loop), and answers. `open_loop`: the same, but what a glimpse shows does "
        "not tell where the next is.");
    all += item("`proxy_only`: a network that sees the proxy and nothing else: what a thumbnail says.");
    all += item(
        "`random_glimpses`, `centre_glimpses`, `grid_glimpses`: the saccader's network with its looks at random, at the "
        "centre, or on a grid: what it is worth to choose.");
    all += item("`full_resolution`: a convolutional network over all pixels.");
    all += item(
        "`reference`: Variational Saccading as published. `ram`, `attention_sampling`, `patch_selection`, "
        "`iterative_patch_selection`: its peers, the last three of which choose patches of the image.");
    all += "\n";
    all += paragraph(
        "Every row comes from a program of its experiment, and anyone can make it again: `cmake --preset bench && "
        "cmake --build --preset bench`, then for the table of an experiment's variant");
    all += "    build/bench/examples/experiments/<experiment> --variant <variant> --model <model> --seeds 3\n\n";
    all += paragraph(
        "or without `--model` for all of a table. `--budget MINUTES` ends a sitting, `--resume` goes on from there. "
        "Each model and seed adds a line to `docs/results/<experiment>.jsonl`; a later line of the same model and "
        "seed replaces the earlier one. " +
        where_and_when());
    all += "What the columns say:\n\n";
    all += item(
        "**accuracy**: percent of the test images that are answered rightly, and its 95 % interval. With several seeds "
        "it is the mean over them with Student's t interval, which says how much training from another seed would "
        "change. \\*: one seed; Wilson's binomial interval, which says only how much other test images would change.");
    all += item(
        "**glimpses**: per image, in the mean. **on an object**: those whose centre lies on an object that decides the "
        "answer; training is never told where these are.");
    all += item(
        "**M multiply-adds**, **ms**, **MiB**: of one answer, in millions, and its time on one thread (a median) and "
        "peak memory beside the image, from all pixels in memory to the answer: whatever a model makes of them first, "
        "such as a pyramid, is included. **pixels read**: pixels of the image that the glimpses cover, in the mean; the "
        "proxy not counted.");
    all += item(
        "**training**: images seen and minutes, on as many threads as is said above the table. Other numbers than accuracy are "
        "means over the seeds.");
    return all + "\n";
  }

  [[nodiscard]] std::string where_and_when() const {
    std::set<std::string> processors;
    std::set<std::string> dates;
    for (const Variant& variant : results_) {
      for (const Model& model : variant.models) {
        for (const Json& row : model.rows) {
          if (!words(row, "cpu").empty()) processors.insert(words(row, "cpu"));
          if (!words(row, "date").empty()) dates.insert(words(row, "date"));
        }
      }
    }
    if (processors.empty()) return "Nothing has run yet.";
    std::string all;
    for (const std::string& p : processors) all += (all.empty() ? "The machine: " : " and ") + p;
    if (!dates.empty()) {
      all += dates.size() == 1 ? ", " + *dates.begin() : ", from " + *dates.begin() + " to " + *dates.rbegin();
    }
    return all + ". It is shared, so quote ratios rather than times.";
  }

  /// What the images of an experiment are, and what they are not.
  static std::string heading(const std::string& experiment) {
    struct About {
      const char* experiment;
      const char* title;
      const char* words;
    };
    static constexpr About all[] = {
        {"digits", "One or two digits in 6.4 million pixels",
         "Handwritten digits of MNIST on a canvas of 100x100 pixels, among 8 pieces of other digits where nothing else is "
         "said, "
         "by the rules of mnist-cluttered, seen at 2528x2528: experiment 1 of the paper. The authors' own files cannot be had. "
         "Their proxies of 100x100 are blurred by 3 pixels; proxies of 33x33 say as much. Test digits never occur in "
         "training."},
        {"megapixel", "Megapixel MNIST",
         "The benchmark of attention sampling, by its published generator: five digits, three of which are the same, among 50 "
         "scribbles; 5,000 images for training and 1,000 for the test. In `1500-digits-last` digits are drawn over the "
         "scribbles, otherwise scribbles over the digits."},
        {"photographs", "Traffic signs in photographs of 12 megapixels",
         "After experiment 2 of the paper, whose photographs cannot be had: real photographs with one real design of a "
         "traffic sign placed in each, 64 to 160 pixels tall. Neither the photographs nor the designs of the test occur in "
         "training."},
        {"counting", "Counting units in a strategy game",
         "After experiment 3 of the paper, whose minimaps cannot be had: scenes of the game Bos Wars, put together from its "
         "own "
         "graphics, with 0 to 22 mobile units among buildings, trees and wrecks. `resampled`: units placed anew, on terrain "
         "not "
         "trained on. `designers`: windows of the game's own maps with the units that their designers placed."}};
    for (const About& about : all) {
      if (experiment == about.experiment) return fovea::format("## %s\n\n", about.title) + text::paragraph(about.words);
    }
    return "## " + experiment + "\n\n";
  }

  // -------------------------------------------------------------------------------------------------- one table's section
  struct Column {
    const char* heading;
    const char* field;
    std::string (*form)(double);
  };
  static constexpr Column kGlimpses = {"glimpses", "/test/glimpses", text::hundredths};
  static constexpr Column kTime = {"ms", "/cost/ms", text::three_digits};
  static constexpr Column kTested[] = {{"mean error", "/test/mean_error", text::hundredths},
                                       {"within one", "/test/within_one", text::percent_tenths},
                                       kGlimpses,
                                       {"on an object", "/test/hit_rate", text::percent_tenths},
                                       {"M multiply-adds", "/cost/multiply_adds", text::millions},
                                       {"pixels read", "/test/pixels", text::whole},
                                       kTime,
                                       {"MiB", "/cost/peak_mib", text::tenths}};
  static constexpr Column kMinutes = {"training minutes", "/train/minutes", text::three_digits};
  static constexpr Column kDisk[] = {{"ms", "/disk/ms", text::three_digits},
                                     {"bytes decoded", "/disk/bytes", text::whole},
                                     {"MiB", "/disk/peak_mib", text::tenths}};

  static std::string cell(const Model& model, const Column& column) {
    const double value = mean(model.rows, column.field);
    return std::isnan(value) ? "–" : column.form(value);
  }

  [[nodiscard]] std::string section(const Variant& variant) const {
    std::vector<Model> models = variant.models;
    Seeds rows;
    for (const Model& m : models) rows.insert(rows.end(), m.rows.begin(), m.rows.end());
    const Json& first = rows.front();
    const auto size = [&](const std::string& what) {
      return fovea::format("%.0fx%.0f", number(first, what + "/0"), number(first, what + "/1"));
    };
    std::string all = "### `" + variant.name + "`\n\n";
    std::string about = question(variant.experiment, rows);
    about += "Images of " + size("/image") + " pixels, proxies of " + size("/proxy") + ", " +
             text::range(rows, "/test/images") + " test images. Made by `build/bench/examples/experiments/" +
             variant.experiment + " --variant " + variant.name + "` on " + text::range(rows, "/train/threads") + " threads.";
    all += text::paragraph(about);
    all += measures(models) + below(variant, models) + from_files(models);
    all += picture(variant.experiment + "-" + variant.name + ".png", "Where the saccader looked");
    for (const auto& [kind, words] : {std::pair{"curves", "Accuracy in training"}, std::pair{"costs", "Accuracy and time"}}) {
      const std::string name = Plots::name_of(variant, kind);
      if (plots_.contains(name)) all += link(name, words);
    }
    return all;
  }

  static std::string question(const std::string& experiment, const Seeds& rows) {
    std::string asked = experiment == "megapixel" ? "which digit is in the majority" : "";
    for (const Json& row : rows) {
      if (!words(row, "question").empty()) asked = words(row, "question");
    }
    if (asked.empty()) return "";
    asked[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(asked[0])));
    return asked + (asked.ends_with('?') ? " " : "? ");
  }

  static std::string measures(const std::vector<Model>& models) {
    std::vector<Column> columns;
    for (const Column& column : kTested) {
      if (std::any_of(models.begin(), models.end(), [&](const Model& m) { return cell(m, column) != "–"; })) {
        columns.push_back(column);
      }
    }
    text::Row heading = {"model", "accuracy, %", "seeds"};
    for (const Column& c : columns) heading.emplace_back(c.heading);
    heading.insert(heading.end(), {"training images", kMinutes.heading});
    std::vector<text::Row> rows;
    for (const Model& m : models) {
      text::Row row = {m.name, text::accuracy(accuracy_of(m.rows, "/test")), std::to_string(m.rows.size())};
      for (const Column& c : columns) row.push_back(cell(m, c));
      row.insert(row.end(), {text::range(m.rows, "/train/images"), cell(m, kMinutes)});
      rows.push_back(row);
    }
    return text::table(heading, rows);
  }

  /// What is to be said of a table: what it lacks, what is not as it seems, and what stopping early does.
  static std::string below(const Variant& variant, const std::vector<Model>& models) {
    std::string missing;
    std::string notes;
    std::string exits;
    // Photographs and units are for the saccader and what one would do otherwise; the published peers have their benchmarks.
    const bool with_peers = variant.experiment == "digits" || variant.experiment == "megapixel";
    const std::vector<std::string>& all = experiments::all_models();
    for (const std::string& name : all) {
      const bool wanted = with_peers || rank_in(all, name) <= rank_in(all, "full_resolution");
      if (wanted && variant.rows(name).empty()) missing += (missing.empty() ? "" : ", ") + name;
    }
    for (const Model& model : models) {
      std::set<std::string> said;
      for (const Json& row : model.rows) {
        if (!words(row, "note").empty()) said.insert(words(row, "note"));
      }
      if (said.empty() && !known_note(variant.experiment, model.name).empty()) {
        said.insert(known_note(variant.experiment, model.name));
      }
      for (const std::string& words : said)
        notes += text::item("`" + model.name + "`: " + words + (words.ends_with('.') ? "" : "."));
      const double accuracy = mean(model.rows, "/test/early_exit/accuracy");
      if (std::isnan(accuracy)) continue;
      exits += (exits.empty() ? "" : "; ") + model.name + " " + text::percent(accuracy) + " % with " +
               text::hundredths(mean(model.rows, "/test/early_exit/glimpses"));
    }
    std::string words;
    if (!missing.empty()) words += text::paragraph("Not run yet: " + missing + ".");
    if (!notes.empty()) words += notes + "\n";
    if (!exits.empty()) {
      words += text::paragraph(
          "Early exit, at a threshold found on images held out, for half of the glimpses in the mean: " + exits + " glimpses.");
    }
    return words;
  }

  static std::string known_note(const std::string& experiment, const std::string& model) {
    if (experiment != "digits") return "";
    if (model == "full_resolution") {
      return "accuracy of a network trained on the canvas of 100x100 the image is made of (the same information); cost of the "
             "same network at the real size";
    }
    return model.ends_with("patch_selection") || model == "attention_sampling" ? "on the canvas" : "";
  }

  static std::string from_files(const std::vector<Model>& models) {
    std::vector<text::Row> rows;
    bool few = false;
    for (const Model& m : models) {
      if (std::isnan(mean(m.rows, "/disk/ms"))) continue;
      // Where it would take hours, only some files are read, for the cost.
      const bool whole = mean(m.rows, "/disk/images") >= mean(m.rows, "/test/images");
      few = few || !whole;
      text::Row row = {m.name, whole ? text::accuracy(accuracy_of(m.rows, "/disk")) : "–", text::range(m.rows, "/disk/images")};
      for (const Column& c : kDisk) row.push_back(cell(m, c));
      rows.push_back(row);
    }
    if (rows.empty()) return "";
    text::Row heading = {"model", "accuracy, %", "files"};
    for (const Column& c : kDisk) heading.emplace_back(c.heading);
    return text::paragraph(std::string("The same from the JPEG files on disk, opened one after the other on one thread; ms is "
                                       "the median, bytes are those of the file that the decoder went through, in the mean.") +
                           (few ? " Where fewer files were read than the test has images, only for the cost." : "")) +
           text::table(heading, rows);
  }

  [[nodiscard]] std::string picture(const std::string& name, const char* words) const {
    return std::filesystem::exists(folder_ / name) ? link(name, words) : "";
  }
  [[nodiscard]] std::string link(const std::string& name, const char* words) const {
    return std::string("![") + words + "](" + folder_.filename().string() + "/" + name + ")\n\n";
  }

  // ------------------------------------------------------------------------------------------------------------ ablation
  [[nodiscard]] std::string ablation() const {
    std::vector<text::Row> rows;
    for (const Variant& variant : results_) {
      if (variant.experiment != "ablation") continue;
      for (const Model& m : variant.models) {
        const double early = mean(m.rows, "/test/early_exit/accuracy");
        rows.push_back({variant.name + (m.name == "saccader" ? "" : ", " + m.name),
                        text::accuracy(accuracy_of(m.rows, "/test")), std::to_string(m.rows.size()), cell(m, kGlimpses),
                        std::isnan(early)
                            ? "–"
                            : text::percent(early) + " with " + text::hundredths(mean(m.rows, "/test/early_exit/glimpses")),
                        cell(m, kTime), text::range(m.rows, "/train/images"), cell(m, kMinutes)});
      }
    }
    if (rows.empty()) return "";
    return "## One setting changed\n\n" +
           text::paragraph(
               "The saccader of `build/bench/examples/experiments/ablation`, with one setting changed in each row. "
               "Early exit: accuracy where it may stop, for half of the glimpses in the mean.") +
           text::table(
               {"variant", "accuracy, %", "seeds", "glimpses", "early exit", "ms", "training images", "training minutes"},
               rows);
  }

  const std::vector<Variant>& results_;
  const Plots& plots_;
  std::filesystem::path folder_;
};

}  // namespace claims
