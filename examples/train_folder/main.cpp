// SPDX-License-Identifier: MIT
// Learns to tell the pictures of a folder apart, one sub-folder for each class, of any sizes and formats; writes a model for
// classify.
//
// needs: CLI11 json open
// smoke-test: --help
#include "../support/command_line.hpp"
#include "../support/files.hpp"
#include "../support/report.hpp"
#include "training.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>
#include <fovea/train/progress.hpp>
#include <fovea/version.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace {

using fovea::Index;

/// As a shell has it for programs that SIGINT ended.
constexpr int kInterrupted = 130;

void check(const Options& options) {
  using support::require_within;
  require_within("--epochs", options.epochs, 0.0, 1e9);
  require_within("--minutes", options.minutes, 0.0, 1e6);
  require_within("--glimpses", options.glimpses, Index{1}, Index{16});
  require_within("--glimpse-size", options.glimpse_size, Index{8}, Index{256});
  require_within("--proxy-size", options.proxy_size, Index{8}, Index{256});
  fovea::require(options.channels == 1 || options.channels == 3, "--channels: 1 or 3 expected, ", options.channels, " came");
  require_within("--scale", options.scale, 0.0, 1.0);
  require_within("--held-out", options.held_out, 0.01, 0.9);
  require_within("--rate", options.rate, 1e-9, 1.0);
  require_within("--batch", options.batch, Index{1}, Index{4096});
  require_within("--threads", options.threads, 0, 1024);
  require_within("--patience", options.patience, std::int64_t{0}, std::int64_t{1000000});
  fovea::require(options.patience == 0 || options.epochs > 0 || options.minutes == 0,
                 "--patience: --epochs expected with it, as what is planned by the clock has no middle");
  require_within("--jitter", options.jitter, 0.0, 1.0);
  fovea::require(!options.output.empty(), "--output: the name of a folder expected, an empty one came");
}

void name(const std::vector<fovea::data::UnreadablePicture>& unreadable) {
  constexpr std::size_t shown = 20;
  for (std::size_t i = 0; i < std::min(shown, unreadable.size()); ++i) {
    (void)std::fprintf(stderr, "left out: %s: %s\n", unreadable[i].path.c_str(), unreadable[i].reason.c_str());
  }
  if (unreadable.size() > shown) (void)std::fprintf(stderr, "and %zu more\n", unreadable.size() - shown);
}

support::Json to_json(const Options& options, const Pictures& pictures, const Results& results) {
  constexpr std::size_t most_in_table = 50;
  const auto& m = results.measures;
  support::Json json = {{"held_out",
                         {{"pictures", m.images},
                          {"accuracy", m.accuracy},
                          {"most_frequent_class", results.most_frequent_class},
                          {"negative_log_likelihood", m.negative_log_likelihood},
                          {"calibration_error", m.calibration_error},
                          {"temperature", results.temperature}}},
                        {"training",
                         {{"pictures", pictures.training.size()},
                          {"steps", results.steps},
                          {"pictures_seen", results.images},
                          {"seconds", results.seconds}}},
                        {"unreadable", support::Json::array()},
                        {"classes", pictures.training.classes},
                        {"glimpses", options.glimpses},
                        {"glimpse_size", options.glimpse_size},
                        {"proxy_size", options.proxy_size},
                        {"channels", options.channels},
                        {"scale", results.scale},
                        {"seed", options.seed}};
  for (const auto* list : {&pictures.unreadable, &results.damaged}) {
    for (const auto& picture : *list) json["unreadable"].push_back(picture.path);
  }
  if (results.confusion.size() <= most_in_table) json["confusion"] = results.confusion;
  return json;
}

void print_confusion(const Pictures& pictures, const Results& results) {
  constexpr std::size_t most = 12;
  const auto& classes = pictures.training.classes;
  if (classes.size() > most) return;
  std::size_t width = 8;
  for (const std::string& name_of : classes) width = std::max(width, std::min<std::size_t>(name_of.size(), 24));
  const int columns = static_cast<int>(width);
  std::printf("\nheld out: rows are what a picture shows, columns what was answered\n%*s", columns, "");
  for (std::size_t k = 0; k < classes.size(); ++k) std::printf(" %6zu", k + 1);
  std::printf("\n");
  for (std::size_t k = 0; k < classes.size(); ++k) {
    std::printf("%*.24s", columns, classes[k].c_str());
    for (const Index count : results.confusion[k]) std::printf(" %6lld", static_cast<long long>(count));
    std::printf("   %zu\n", k + 1);
  }
}

void print(const Options& options, const Pictures& pictures, const Results& results) {
  const auto& m = results.measures;
  print_confusion(pictures, results);
  std::printf("\nheld-out accuracy: %.1f %% of %lld pictures (the most frequent class alone: %.1f %%)\n", 100 * m.accuracy,
              static_cast<long long>(m.images), 100 * results.most_frequent_class);
  std::printf("temperature:       %.2f, fitted on the same pictures: probabilities of others may be a little less honest\n",
              results.temperature);
  std::printf("trained for %s on %llu pictures, %d epochs\n", fovea::train::clock_time(results.seconds).c_str(),
              static_cast<unsigned long long>(results.images),
              static_cast<int>(static_cast<double>(results.images) / static_cast<double>(pictures.training.size())));
  const std::filesystem::path output = options.output;
  std::printf("model:   %s\nnumbers: %s\nuse it:  classify %s FILE...\n", (output / "model.safetensors").c_str(),
              (output / "report.json").c_str(), (output / "model.safetensors").c_str());
}

int program(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Learns to tell the pictures of a folder apart, and writes a model for classify.\n"
      "Ctrl-C saves; the same command then goes on from there.\n",
      "train_folder"};
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version",
                       fovea::format("fovea %d.%d.%d", FOVEA_VERSION_MAJOR, FOVEA_VERSION_MINOR, FOVEA_VERSION_PATCH));
  const auto whole = [&app](const char* option, auto& value, const char* unit, const char* text) {
    app.add_option(option, value, text)->type_name(unit)->check(CLI::Validator(support::check_whole_number, ""));
  };
  const auto number = [&app](const char* option, double& value, const char* unit, const char* text) {
    app.add_option(option, value, text)->type_name(unit)->check(CLI::Validator(support::check_number, ""));
  };
  app.add_option("DIR", options.pictures,
                 "Folder with a sub-folder of pictures for each class; or a text file of lines path<TAB>class")
      ->required();
  app.add_option("--output", options.output,
                 "Folder for model.safetensors, report.json, metrics.jsonl, metrics.csv and the checkpoint")
      ->type_name("DIR");
  number("--epochs", options.epochs, "N", "How often each picture is seen; 0: until 16000 were shown, at least 10");
  number("--minutes", options.minutes, "MINUTES", "At most; 0: no limit");
  whole("--glimpses", options.glimpses, "N", "Looks at each picture, 1 to 16");
  whole("--glimpse-size", options.glimpse_size, "PIXELS", "Height and width of a glimpse, 8 to 256");
  whole("--proxy-size", options.proxy_size, "PIXELS", "Height and width of the thumbnail that decides where to look, 8 to 256");
  whole("--channels", options.channels, "N", "3: colour, 1: grey");
  number("--scale", options.scale, "SHARE",
         "Side of the square that a glimpse shows, of the picture's longer side; 0: twice the glimpse's pixels, 0.25 to 0.5");
  number("--held-out", options.held_out, "SHARE",
         "Share of the pictures that is not trained on but measured with, 0.01 to 0.9");
  number("--rate", options.rate, "RATE", "Learning rate at its highest");
  whole("--batch", options.batch, "N", "Pictures to a step");
  auto seed = static_cast<std::int64_t>(options.seed);
  whole("--seed", seed, "N", "Of everything random; one seed gives one result on any number of threads, but for --minutes");
  whole("--threads", options.threads, "N", "0: all cores");
  whole("--patience", options.patience, "N",
        "Stop when so many measurements on what is held out brought no better one (one an epoch, or every 500 pictures); 0: "
        "never");
  app.add_flag("--balanced", options.balanced, "Show every class equally often, however few pictures it has");
  app.add_flag("--flip", options.flip, "Show half of the pictures mirrored, left to right");
  number("--jitter", options.jitter, "SHARE", "Change brightness and contrast at random by so much, 0 to 1");
  app.add_flag("--skip-unreadable", options.skip_unreadable,
               "Go on without files that cannot be read, and name them; otherwise stop");
  app.add_flag("--fresh", options.fresh, "Begin anew, also where the output folder has a checkpoint to go on from");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    (void)std::fprintf(stderr, "train_folder: %s\nRun with --help for the options.\n", error.what());
    return support::kBadInput;
  }

  Pictures pictures;
  std::unique_ptr<fovea::Workers> workers;
  try {
    fovea::require(seed >= 0, "--seed: at least 0 expected, ", seed, " came");
    options.seed = static_cast<std::uint64_t>(seed);
    check(options);
    workers = std::make_unique<fovea::Workers>(options.threads);
    pictures = find_pictures(options, *workers);
    support::prepare_directory(options.output);
  } catch (const fovea::Error& error) {
    (void)std::fprintf(stderr, "train_folder: %s\n", error.what());
    return support::kBadInput;
  }
  name(pictures.unreadable);
  std::printf("%s: %zu classes, %lld pictures to train with, %lld held out\n", options.pictures.c_str(),
              pictures.training.classes.size(), static_cast<long long>(pictures.training.size()),
              static_cast<long long>(pictures.validation.size()));
  (void)std::fflush(stdout);

  const Results results = train(options, pictures, *workers);
  if (results.interrupted) return kInterrupted;  // fit() has said how to go on
  name(results.damaged);
  support::write_report(std::filesystem::path(options.output) / "report.json", to_json(options, pictures, results));
  print(options, pictures, results);
  fovea::require(std::fflush(stdout) == 0 && std::ferror(stdout) == 0, "standard output: cannot be written");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return program(argc, argv);
  } catch (const std::exception& error) {
    (void)std::fprintf(stderr, "train_folder: %s\n", error.what());
    return support::kFailed;
  }
}
