// SPDX-License-Identifier: MIT
#include "program.hpp"

#include "../../support/command_line.hpp"
#include "../../support/files.hpp"
#include "run.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <exception>
#include <fstream>
#include <set>

namespace experiments {

namespace {

constexpr int kTimeIsOver = 3;

/// The rows that a file has already.
std::set<std::string> rows_in(const std::filesystem::path& path) {
  std::set<std::string> rows;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) continue;
    const auto row = support::Json::parse(line, nullptr, false);
    fovea::require(row.is_object() && row.contains("variant") && row.contains("model") && row.contains("seed"), path.string(),
                   ": a row of a table on each line expected, '", line.substr(0, 60), "' came");
    rows.insert(row.at("variant").get<std::string>() + "/" + row.at("model").get<std::string>() + "/" + row.at("seed").dump());
  }
  return rows;
}

void append(const std::filesystem::path& path, const support::Json& row) {
  support::check_finite(row, path.filename().string());
  std::ofstream file(path, std::ios::app);
  file << row.dump() + "\n" << std::flush;
  fovea::require(file.good(), path.string(), ": cannot be written");
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now))};
}

struct Options {
  std::vector<std::string> variants;
  std::vector<std::string> models;
  int seeds = 3;
  int first_seed = 1;
  double minutes = 0;
  Index images = 0;
  std::filesystem::path data;
  RunOptions run;
};

int run_all(const Experiment& experiment, Options& options) {
  using std::chrono::steady_clock;
  if (options.minutes > 0) {
    options.run.deadline = steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(
                                                     std::chrono::duration<double>(60 * options.minutes));
  }
  support::prepare_directory(options.run.output);
  support::prepare_directory(options.run.work);
  const auto results = options.run.output / (experiment.name + ".jsonl");
  const std::set<std::string> there = options.run.resume ? rows_in(results) : std::set<std::string>();
  bool whole = true;
  for (const Variant& variant : experiment.variants) {
    if (std::find(options.variants.begin(), options.variants.end(), variant.name) == options.variants.end()) continue;
    std::unique_ptr<Task> task;
    Recipe recipe = variant.recipe;
    if (options.images > 0) recipe.images = options.images;
    for (const std::string& model : options.models.empty() ? recipe.models : options.models) {
      for (int seed = options.first_seed; seed < options.first_seed + options.seeds; ++seed) {
        if (there.contains(fovea::format("%s/%s/%d", variant.name.c_str(), model.c_str(), seed))) continue;
        if (steady_clock::now() >= options.run.deadline) return kTimeIsOver;
        if (!task) task = variant.make({options.data, options.run.smoke, recipe.images});
        options.run.seed = static_cast<std::uint64_t>(seed);
        auto row = run(*task, recipe, model, options.run);
        if (!row) {
          whole = false;
          continue;
        }
        (*row)["date"] = today();
        append(results, *row);
        const auto& test = row->at("test");
        std::printf("%-12s %-26s seed %d  accuracy %6.2f %%  %7.3f ms  %7.1f MiB  %5.1f minutes\n", variant.name.c_str(),
                    model.c_str(), seed, 100 * test.at("accuracy").get<double>(), row->at("cost").at("ms").get<double>(),
                    row->at("cost").at("peak_mib").get<double>(), row->at("train").at("minutes").get<double>());
        (void)std::fflush(stdout);
      }
    }
  }
  return whole ? 0 : kTimeIsOver;
}

int parse(int argc, char** argv, const Experiment& experiment) {
  Options options;
  std::vector<std::string> variants;
  for (const Variant& v : experiment.variants) variants.push_back(v.name);
  options.variants = variants;
  options.run.output = "docs/results";
  options.run.work = "build/experiments";
  CLI::App app{experiment.description + "\nEach row of the table is one model trained from one seed; it becomes a line of " +
                   "<output>/" + experiment.name + ".jsonl, of which the target claims-experiments makes docs/results.md.\n",
               experiment.name};
  app.option_defaults()->always_capture_default();
  app.add_option("--variant", options.variants, "Settings to run; may be given several times")->check(CLI::IsMember(variants));
  app.add_option("--model", options.models, "Models to run; may be given several times; none: those of the experiment's table")
      ->check(CLI::IsMember(all_models()));
  const auto whole = [&app](const char* name, auto& value, const char* text) {
    app.add_option(name, value, text)->check(CLI::Validator(support::check_whole_number, ""));
  };
  whole("--seeds", options.seeds, "Seeds of each model");
  whole("--first-seed", options.first_seed, "The first of them; the others follow it");
  app.add_option("--budget", options.minutes, "Minutes of this sitting; then what is not ready is saved. 0: until all is there")
      ->check(CLI::Validator(support::check_number, ""));
  app.add_flag("--resume", options.run.resume,
               "Leave out the rows that are there, and go on from where an earlier sitting ended");
  whole("--images", options.images, "That each model sees in training; 0: the experiment's own");
  whole("--threads", options.run.threads, "0: all cores");
  app.add_option("--data", options.data, "Folder with the experiment's files, where they are not where get-data.sh puts them");
  app.add_option("--output", options.run.output, "Folder of tables and pictures");
  app.add_option("--work", options.run.work, "Folder of checkpoints");
  app.add_flag("--smoke", options.run.smoke, "As little as shows that everything runs: a minute, without files, one seed");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::fprintf(stderr, "%s: %s\nRun with --help for the options.\n", experiment.name.c_str(), error.what());
    return support::kBadInput;
  }
  if (options.run.smoke) {  // what it makes is not to stand beside what was measured
    if (app.count("--seeds") == 0) options.seeds = 1;
    if (app.count("--output") == 0) options.run.output = "build/experiments/smoke";
    if (app.count("--work") == 0) options.run.work = "build/experiments/smoke/work";
  }
  try {
    support::require_within("--seeds", options.seeds, 1, 1000);
    support::require_within("--first-seed", options.first_seed, 0, 1 << 30);
    support::require_within("--threads", options.run.threads, 0, 1024);
    support::require_within("--budget", options.minutes, 0.0, 1e6);
    support::require_within("--images", options.images, Index{0}, Index{1} << 40);
  } catch (const fovea::Error& error) {
    std::fprintf(stderr, "%s: %s\n", experiment.name.c_str(), error.what());
    return support::kBadInput;
  }
  return run_all(experiment, options);
}

}  // namespace

int program(int argc, char** argv, const Experiment& experiment) {
  try {
    return parse(argc, argv, experiment);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", experiment.name.c_str(), error.what());
    return support::kFailed;
  }
}

}  // namespace experiments
