// SPDX-License-Identifier: MIT
// Which digit is in the majority among five, lost in 1500 x 1500 pixels of scribbles: the saccader and its peers on the same
// images, with the same measures.
//
// needs: CLI11 json
// smoke-test: --help
// smoke-test: --smoke --model saccader --model attention_sampling --model proxy_only --output megapixel-smoke
#include "../support/builtin_digits.hpp"
#include "../support/files.hpp"
#include "../support/report.hpp"
#include "models.hpp"
#include <fovea/core/error.hpp>
#include <fovea/data/idx.hpp>
#include <fovea/train/peak_memory.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using namespace megapixel;
using fovea::Index;

support::Json to_json(const ModelReport& r) {
  support::Json epochs = support::Json::array();
  for (const EpochReport& e : r.epochs) {
    epochs.push_back({{"epoch", e.epoch},
                      {"loss", e.loss},
                      {"train_accuracy", e.train_accuracy},
                      {"test_accuracy", e.test_accuracy},
                      {"seconds", e.seconds}});
  }
  const auto& m = r.measures;
  support::Json json = {{"model", r.model},
                        {"parameters", r.parameters},
                        {"accuracy", m.accuracy},
                        {"negative_log_likelihood", m.negative_log_likelihood},
                        {"calibration_error", m.calibration_error},
                        {"temperature", r.temperature},
                        {"calibration_error_after", r.calibrated_error},
                        {"glimpses", m.glimpses},
                        {"multiply_adds", m.multiply_adds},
                        {"milliseconds", m.milliseconds}};
  if (m.localisation.images > 0) {
    json["localisation"] = {{"glimpses_on_a_digit", m.localisation.centre.glimpses},
                            {"coverage", m.localisation.coverage},
                            {"area", m.localisation.area}};
    if (m.glimpses > 1) json["localisation"]["overlap"] = m.localisation.overlap;
  }
  json["epochs"] = epochs;
  return json;
}

void print_row(const ModelReport& r) {
  const auto& m = r.measures;
  std::printf("%-26s %8.1f %% %8.3f %8.3f %9.1f %10.1f %9.2f", r.model.c_str(), 100 * m.accuracy, m.calibration_error,
              r.calibrated_error, m.glimpses, m.multiply_adds / 1e6, m.milliseconds);
  if (m.localisation.images > 0) {
    std::printf(" %9.1f %% %8.1f %% %7.2f %%", 100 * m.localisation.centre.glimpses, 100 * m.localisation.coverage,
                100 * m.localisation.area);
  }
  std::printf("\n");
}

int program(int argc, char** argv) {
  TaskOptions task_options;
  RunOptions run;
  std::string data;
  std::string output = "megapixel-output";
  std::vector<std::string> models = {"saccader"};
  std::vector<std::string> without;
  int threads = 0;
  bool smoke = false;
  CLI::App app{"Trains models to find five digits in 1500 x 1500 pixels of scribbles and say which is in the majority.\n",
               "megapixel_digits"};
  app.option_defaults()->always_capture_default();
  app.add_option("--data", data, "Folder with {train,t10k}-{images-idx3,labels-idx1}-ubyte; build/data/mnist if it is there")
      ->type_name("DIR");
  app.add_option("--output", output, "Folder for report.json and scan paths (SVG); made where it is not there")
      ->type_name("DIR");
  std::vector<std::string> names = all_models();
  names.emplace_back("all");
  app.add_option("--model", models, "Which to train; may be given several times")->check(CLI::IsMember(names));
  app.add_option("--without", without, "Leave out of the saccader's default what it is to be measured without")
      ->check(CLI::IsMember({"salience", "read_first", "each_look", "small_first"}));
  app.add_option("--seed", task_options.seed, "Of everything random")
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1} << 31));
  app.add_option("--epochs", run.epochs, "Over the training images; schedules run over them")->check(CLI::Range(1, 10000));
  app.add_option("--until", run.until, "End once the test accuracy is above this, as a fraction; 2: never")
      ->check(CLI::Range(0.0, 2.0));
  app.add_option("--train-images", task_options.train_images)->check(CLI::Range(Index{64}, Index{1} << 30));
  app.add_option("--test-images", task_options.test_images)->check(CLI::Range(Index{16}, Index{1} << 30));
  app.add_option("--image-size", task_options.images.width, "Height and width of the images")
      ->check(CLI::Range(Index{300}, Index{16384}));
  app.add_option("--glimpses", run.glimpses, "Looks, or patches, of an image")->check(CLI::Range(Index{1}, Index{64}));
  app.add_option("--threads", threads, "0: all cores")->check(CLI::Range(0, 1024));
  app.add_flag("--smoke", smoke, "As little work as shows that everything runs; without --data on built-in digits");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  task_options.images.height = task_options.images.width;
  for (const std::string& part : without) {
    if (part == "salience") run.variations.salience = false;
    if (part == "read_first") run.variations.read_first = false;
    if (part == "each_look") run.variations.each_look = false;
    if (part == "small_first") run.variations.small_first = false;
  }
  if (smoke) {
    run.epochs = 1;
    run.glimpses = 3;
    task_options.train_images = 64;
    task_options.test_images = 16;
    task_options.images.width = task_options.images.height = 400;
    task_options.images.noise = 10;
    task_options.proxy = {48, 48};
  }
  if (std::find(models.begin(), models.end(), "all") != models.end()) models = all_models();

  fovea::data::DigitSet train;
  fovea::data::DigitSet test;
  if (data.empty() && smoke) {
    train = support::make_builtin_digits(2000, 1);
    test = support::make_builtin_digits(500, 2);
  } else {
    if (data.empty()) data = "build/data/mnist";
    train = fovea::data::load_digits(data, fovea::data::Split::train);
    test = fovea::data::load_digits(data, fovea::data::Split::test);
  }
  support::prepare_directory(output);
  fovea::Workers workers(threads);
  Task task(train, test, task_options, workers);

  support::Json reports = support::Json::array();
  std::vector<ModelReport> rows;
  for (const std::string& name : models) {
    const Told told = [&](const EpochReport& e) {
      std::printf("%-26s epoch %3d  loss %6.3f  train %5.1f %%  test %5.1f %%  %6.1f s\n", name.c_str(), e.epoch, e.loss,
                  100 * e.train_accuracy, 100 * e.test_accuracy, e.seconds);
      (void)std::fflush(stdout);
    };
    rows.push_back(is_saccader(name) ? run_saccader(name, task, run, told) : run_peer(name, task, run, told));
    reports.push_back(to_json(rows.back()));
    for (std::size_t i = 0; i < rows.back().scan_paths.size(); ++i) {
      support::write_text(std::filesystem::path(output) / (name + "-" + std::to_string(i + 1) + ".svg"),
                          rows.back().scan_paths[i]);
    }
  }
  std::printf("\n%-26s %10s %8s %8s %9s %10s %9s %11s %10s %9s\n", "", "accuracy", "ECE", "after", "glimpses", "M mult-add",
              "ms", "on a digit", "coverage", "area");
  for (const ModelReport& r : rows) print_row(r);
  support::write_report(std::filesystem::path(output) / "report.json",
                        {{"seed", task_options.seed},
                         {"train_images", task_options.train_images},
                         {"test_images", task_options.test_images},
                         {"image_size", task_options.images.width},
                         {"threads", workers.size()},
                         {"peak_mib", static_cast<double>(fovea::train::peak_memory()) / 1048576},
                         {"models", reports}});
  std::printf("numbers: %s\n", (std::filesystem::path(output) / "report.json").c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return program(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "megapixel_digits: %s\n", error.what());
    return 1;
  }
}
