// SPDX-License-Identifier: MIT
// Learns where to look in large images of one small digit among clutter, and compares with what sees only a thumbnail,
// or looks anywhere.
//
// needs: CLI11 PNG json
// smoke-test: --help
// smoke-test: --smoke --output smoke-output
#include "../support/builtin_digits.hpp"
#include "../support/files.hpp"
#include "../support/gaze_sheet.hpp"
#include "../support/png.hpp"
#include "../support/report.hpp"
#include "experiment.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>
#include <fovea/data/idx.hpp>
#include <fovea/train/progress.hpp>
#include <fovea/version.hpp>

#include <CLI/CLI.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>

namespace {

using fovea::Index;

constexpr int kBadInput = 2;
constexpr int kFailed = 1;

/// Where cmake/bootstrap.sh puts digits, and so where they may be.
constexpr const char* kUsualPlaces[] = {"build/data/mnist", "build/data/fashion-mnist"};

/// CLI11 would cut "-1" and numbers beyond 64 bits to size without a word.
std::string check_whole_number(const std::string& text) {
  const std::size_t sign = text.find('-') == 0 ? 1 : 0;
  const bool digits = text.size() > sign && text.find_first_not_of("0123456789", sign) == std::string::npos;
  return digits && text.size() <= 18 ? "" : "a whole number of at most 18 digits expected, '" + text + "' came";
}

std::string check_number(const std::string& text) {
  char* end = nullptr;
  (void)std::strtod(text.c_str(), &end);
  return !text.empty() && end == text.c_str() + text.size() ? "" : "a number expected, '" + text + "' came";
}

void check(const Options& options) {
  const auto within = [](const char* name, auto value, auto low, auto high) {
    fovea::require(value >= low && value <= high, name, ": ", low, " to ", high, " expected, ", value, " came");
  };
  within("--threads", options.threads, 0, 1024);
  within("--glimpses", options.glimpses, Index{1}, Index{16});
  within("--image-size", options.image_size, Index{100}, Index{16384});
  within("--glimpse-size", options.glimpse_size, Index{8}, Index{256});
  within("--proxy-size", options.proxy_size, Index{8}, Index{256});
  within("--test-images", options.test_images, Index{100}, Index{10000000});
  fovea::require(options.glimpse_size <= options.image_size, "--glimpse-size: at most the image's ", options.image_size,
                 " pixels expected, ", options.glimpse_size, " came");
  fovea::require(options.proxy_size <= options.image_size, "--proxy-size: at most the image's ", options.image_size,
                 " pixels expected, ", options.proxy_size, " came");
  fovea::require(options.minutes > 0 && options.minutes <= 1440, "--minutes: more than 0 and at most 1440 expected, ",
                 options.minutes, " came");
  fovea::require(!options.output.empty(), "--output: the name of a folder expected, an empty one came");
}

Data load(Options& options) {
  if (options.data.empty() && options.smoke) {
    return {support::make_builtin_digits(2000, 1), support::make_builtin_digits(500, 2)};
  }
  if (options.data.empty()) {
    for (const char* place : kUsualPlaces) {
      if (options.data.empty() && std::filesystem::is_directory(place)) options.data = place;
    }
    fovea::require(!options.data.empty(),
                   "--data: a folder with MNIST's idx files expected, none was given, and there is none "
                   "where `sh cmake/bootstrap.sh demo` puts them (",
                   kUsualPlaces[0], ")");
  }
  Data data{fovea::data::load_digits(options.data, fovea::data::Split::train),
            fovea::data::load_digits(options.data, fovea::data::Split::test)};
  for (const auto* digits : {&data.train, &data.test}) {
    fovea::require(digits->height() <= 64 && digits->width() <= 64, options.data, ": pictures of at most 64 x 64 expected, ",
                   digits->height(), " x ", digits->width(), " came");
    fovea::require(digits->height() >= 8 && digits->width() >= 8, options.data, ": pictures of at least 8 x 8 expected, ",
                   digits->height(), " x ", digits->width(), " came");
  }
  return data;
}

support::Json to_json(const Options& options, const Results& results) {
  support::Json json = {
      {"accuracy",
       {{"saccader", results.accuracy.saccader},
        {"proxy_only", results.accuracy.proxy_only},
        {"random_glimpses", results.accuracy.random_glimpses},
        {"center_glimpses", results.accuracy.center_glimpses}}},
      {"early_exit",
       {{"glimpses", results.early_exit.glimpses},
        {"accuracy", results.early_exit.accuracy},
        {"accuracy_of_all", results.early_exit.accuracy_of_all},
        {"temperature", results.early_exit.temperature},
        {"calibration_error", results.early_exit.calibration_error},
        {"calibration_error_after", results.early_exit.calibration_error_after}}},
      {"ms_per_image",
       {{"saccader", results.ms_per_image.saccader}, {"full_resolution", results.ms_per_image.full_resolution}}},
      {"peak_mib", {{"saccader", results.peak_mib.saccader}, {"full_resolution", results.peak_mib.full_resolution}}},
      {"train_seconds", results.train_seconds},
      {"seed", options.seed},
      {"threads", results.threads},
      {"glimpses", options.glimpses},
      {"glimpse_size", options.glimpse_size},
      {"test_images", results.test_images}};
  if (options.whole_canvas) json["accuracy"]["whole_canvas"] = results.accuracy.whole_canvas;
  return json;
}

void print_table(const Options& options, const Results& results) {
  const auto& accuracy = results.accuracy;
  const auto& ms = results.ms_per_image;
  const auto& mib = results.peak_mib;
  const auto percent = [](double fraction) { return fovea::format("%9.1f %%", 100 * fraction); };
  const auto row = [](const char* name, const std::string& a, const std::string& t, const std::string& m) {
    std::printf("%-17s %11s %12s %12s\n", name, a.c_str(), t.c_str(), m.c_str());
  };
  const auto number = [](double value) {
    return fovea::format(value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f", value);
  };
  std::printf("\n%lld test images of %lld x %lld pixels; %lld glimpses of %lld x %lld, proxy %lld x %lld\n\n",
              static_cast<long long>(results.test_images), static_cast<long long>(options.image_size),
              static_cast<long long>(options.image_size), static_cast<long long>(options.glimpses),
              static_cast<long long>(options.glimpse_size), static_cast<long long>(options.glimpse_size),
              static_cast<long long>(options.proxy_size), static_cast<long long>(options.proxy_size));
  row("", "accuracy", "ms/image", "peak MiB");
  row("saccader", percent(accuracy.saccader), number(ms.saccader), number(mib.saccader));
  row("proxy_only", percent(accuracy.proxy_only), "", "");
  row("random_glimpses", percent(accuracy.random_glimpses), "", "");
  row("center_glimpses", percent(accuracy.center_glimpses), "", "");
  if (options.whole_canvas) row("whole_canvas", percent(accuracy.whole_canvas), "", "");
  row("full_resolution", "", number(ms.full_resolution), number(mib.full_resolution));
  row("  / saccader", "", number(ms.full_resolution / ms.saccader) + " x", number(mib.full_resolution / mib.saccader) + " x");
  const EarlyExit& early = results.early_exit;
  std::printf(
      "\nearly exit: %.2f glimpses in the mean, %.1f %% right (%.1f %% with all %lld); expected calibration error %.3f, after "
      "temperature %.2f %.3f\n",
      early.glimpses, 100 * early.accuracy, 100 * early.accuracy_of_all, static_cast<long long>(options.glimpses),
      early.calibration_error, early.temperature, early.calibration_error_after);
  std::printf("trained for %s on %lld images, %d thread%s; times of one image in memory, one thread\n",
              fovea::train::clock_time(results.train_seconds).c_str(), static_cast<long long>(results.train_images),
              results.threads, results.threads == 1 ? "" : "s");
}

void write_files(const Options& options, const Results& results) {
  const std::filesystem::path output = options.output;
  if (!results.examples.empty()) {
    support::write_png(output / "gaze.png", support::draw_gaze_sheet(results.examples).view());
    for (std::size_t i = 0; i < results.examples.size(); ++i) {
      support::write_png(output / ("gaze-" + std::to_string(i + 1) + ".png"),
                         support::draw_gaze_example(results.examples[i]).view());
    }
  }
  support::write_report(output / "report.json", to_json(options, results));
  std::printf("where it looked: %s\nnumbers:         %s\n", (output / "gaze.png").c_str(), (output / "report.json").c_str());
}

int program(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Trains a model that decides where to look in large images of one digit among clutter,\n"
      "and compares it with models that see only a thumbnail or look anywhere.\n",
      "cluttered_digits"};
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version",
                       fovea::format("fovea %d.%d.%d", FOVEA_VERSION_MAJOR, FOVEA_VERSION_MINOR, FOVEA_VERSION_PATCH));
  app.add_option("--data", options.data,
                 "Folder with {train,t10k}-{images-idx3,labels-idx1}-ubyte (MNIST, Fashion-MNIST, "
                 "yours)")
      ->type_name("DIR");
  app.add_option("--output", options.output, "Folder for report.json and pictures; made where it is not there")
      ->type_name("DIR");
  const auto whole = [&app](const char* name, auto& value, const char* unit, const char* text) {
    app.add_option(name, value, text)->type_name(unit)->check(CLI::Validator(check_whole_number, ""));
  };
  auto seed = static_cast<std::int64_t>(options.seed);
  whole("--seed", seed, "N", "Of everything random; one seed gives one result on any number of threads");
  whole("--threads", options.threads, "N", "0: all cores");
  whole("--glimpses", options.glimpses, "N", "Looks at each image, 1 to 16");
  whole("--glimpse-size", options.glimpse_size, "PIXELS", "Height and width of a glimpse, 8 to 256");
  whole("--proxy-size", options.proxy_size, "PIXELS", "Height and width of the thumbnail that decides, 8 to 256");
  whole("--image-size", options.image_size, "PIXELS", "Height and width of the images, 100 to 16384");
  whole("--test-images", options.test_images, "N", "At least 100");
  app.add_option("--minutes", options.minutes, "At most, for training the saccader; the baselines see as many images")
      ->type_name("MINUTES")
      ->check(CLI::Validator(check_number, ""));
  app.add_flag("--whole-canvas", options.whole_canvas,
               "Also train a residual network over the whole canvas that the images are made of, on as many images");
  app.add_flag("--smoke", options.smoke, "As little work as shows that everything runs; without --data on built-in digits");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::fprintf(stderr, "cluttered_digits: %s\nRun with --help for the options.\n", error.what());
    return kBadInput;
  }

  if (options.smoke) {
    if (app.count("--test-images") == 0) options.test_images = 100;
    if (app.count("--image-size") == 0) options.image_size = 632;
  }

  Data data;
  try {
    fovea::require(seed >= 0, "--seed: at least 0 expected, ", seed, " came");
    options.seed = static_cast<std::uint64_t>(seed);
    check(options);
    data = load(options);
    support::prepare_directory(options.output);
  } catch (const fovea::Error& error) {
    std::fprintf(stderr, "cluttered_digits: %s\n", error.what());
    return kBadInput;
  }

  std::printf("digits: %s, %lld to train with, %lld to test with\n", options.data.empty() ? "built-in" : options.data.c_str(),
              static_cast<long long>(data.train.size()), static_cast<long long>(data.test.size()));
  (void)std::fflush(stdout);
  fovea::train::Progress progress;
  const Results results = run(options, data, progress);
  print_table(options, results);
  write_files(options, results);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return program(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cluttered_digits: %s\n", error.what());
    return kFailed;
  }
}
