// SPDX-License-Identifier: MIT
// Says what pictures show, by a model that train_folder made: a line for each file, or JSON with where it looked, how sure it
// is and what it cost. Only what is looked at is decoded.
//
// needs: CLI11 PNG json open
// smoke-test: --help
#include "../support/about_model.hpp"
#include "../support/command_line.hpp"
#include "../support/overlay.hpp"
#include "../support/png.hpp"
#include "../support/timed_source.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>
#include <fovea/core/parallel.hpp>
#include <fovea/core/stopwatch.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/image/open.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/train/calibration.hpp>
#include <fovea/train/model_file.hpp>
#include <fovea/version.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using fovea::Index;
using fovea::glimpse::PixelRectangle;
using fovea::model::Saccader;

struct Options {
  std::string model;
  std::vector<std::string> files;
  std::string overlay;
  double temperature = 0;  ///< 0: that of the model's file
  int threads = 0;
  bool json = false;
};

/// The model and what belongs to it.
struct Classifier {
  fovea::train::LoadedModel<Saccader> loaded;
  support::About about;

  explicit Classifier(const std::string& path)
      : loaded(fovea::train::load_model<Saccader>(path)),
        about(support::read_about(loaded.about, loaded.model.options().classes, path)) {
    fovea::require(loaded.model.options().question.task == fovea::model::Task::one_class, path,
                   ": a model expected that answers with one of its classes");
    const Index channels = loaded.model.options().channels;
    fovea::require(channels == 1 || channels == 3, path, ": a model of pictures of 1 or 3 channels expected, one of ", channels,
                   " came");
  }
};

/// What there is to say about a file.
struct Answer {
  std::string error;  ///< why it could not be read; then there is nothing else
  std::size_t label = 0;
  std::vector<float> probabilities;
  std::vector<PixelRectangle> glimpses;  ///< within the picture
  support::LookingTimes seconds;
  double total_seconds = 0;  ///< from opening the file to the answer
  std::int64_t bytes = 0;    ///< decoded
};

/// Looks at a file. `show(image, answer)` may look at it once more. Throws fovea::Error where it cannot be read.
template <class Show>
Answer look(const Classifier& classifier, const std::string& file, double temperature, fovea::Arena& arena, Show&& show) {
  const Saccader& model = classifier.loaded.model;
  const fovea::Stopwatch watch;
  Answer answer;
  // What can only be decoded from the top is decoded once, and not once for each glimpse, where it is not too large to be kept.
  const fovea::ImageFile image = fovea::open_image(
      file,
      {.channels = model.options().channels, .policy = fovea::ReadPolicy::least_time, .whole_bytes = std::size_t{256} << 20U});
  answer.seconds.proxy = watch.seconds();
  arena.reset();
  const support::TimedSource timed(image, answer.seconds);
  const auto prediction = model.classify(timed, classifier.loaded.weights, arena);
  answer.total_seconds = watch.seconds();
  answer.bytes = image.decoded().bytes;

  answer.label = static_cast<std::size_t>(prediction.label);
  answer.probabilities.assign(prediction.probabilities.begin(), prediction.probabilities.end());
  fovea::train::TemperatureScaling{temperature}(answer.probabilities);
  const auto width = static_cast<double>(image.extent()[1]);
  const auto height = static_cast<double>(image.extent()[0]);
  for (const auto& region : prediction.regions) {
    const auto r = fovea::glimpse::to_pixels(region, model.sampler().aspect, image.extent(), model.options().glimpse);
    answer.glimpses.push_back({std::clamp(r.left, 0.0, width), std::clamp(r.top, 0.0, height), std::clamp(r.right, 0.0, width),
                               std::clamp(r.bottom, 0.0, height)});
  }
  show(image, answer);
  return answer;
}

/// A path in a line of its own: bytes that end a line or a column, or that a terminal obeys, become '?'.
std::string one_line(std::string path) {
  for (char& c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) c = '?';
  }
  return path;
}

std::string plain_line(const Classifier& classifier, const std::string& file, const Answer& answer) {
  return one_line(file) + '\t' + one_line(classifier.about.classes[answer.label]) + '\t' +
         fovea::format("%.4f", static_cast<double>(answer.probabilities[answer.label])) + '\n';
}

std::string json_line(const Classifier& classifier, const std::string& file, const Answer& answer) {
  using Json = nlohmann::ordered_json;
  const auto rounded = [](double value, double parts) { return std::round(value * parts) / parts; };
  const auto milliseconds = [&](double seconds) { return rounded(1000 * seconds, 1000); };
  Json json;
  json["file"] = file;
  json["label"] = classifier.about.classes[answer.label];
  json["probability"] = answer.probabilities[answer.label];
  json["probabilities"] = Json::object();
  for (std::size_t k = 0; k < answer.probabilities.size(); ++k) {
    json["probabilities"][classifier.about.classes[k]] = answer.probabilities[k];
  }
  json["glimpses"] = Json::array();
  for (const PixelRectangle& r : answer.glimpses) {
    json["glimpses"].push_back({{"x0", rounded(r.left, 100)},
                                {"y0", rounded(r.top, 100)},
                                {"x1", rounded(r.right, 100)},
                                {"y1", rounded(r.bottom, 100)}});
  }
  const double looking = answer.seconds.proxy + answer.seconds.glimpses;
  json["ms"] = {{"proxy", milliseconds(answer.seconds.proxy)},
                {"glimpses", milliseconds(answer.seconds.glimpses)},
                {"network", milliseconds(answer.total_seconds - looking)},
                {"total", milliseconds(answer.total_seconds)}};
  json["bytes_decoded"] = answer.bytes;
  // Names of files are any bytes; JSON is UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

/// Throws fovea::Error where not all of it arrives.
void print(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written) fovea::fail("standard output: cannot be written: ", std::strerror(errno));
}

void write_overlay(const Classifier& classifier, const std::string& path, const fovea::ImageFile& image, const Answer& answer) {
  const std::string label = classifier.about.classes[answer.label] +
                            fovea::format(" %.1f %%", 100 * static_cast<double>(answer.probabilities[answer.label]));
  support::write_png(path, support::draw_overlay(image, answer.glimpses, label).view());
}

/// Returns the exit status.
int run(const Options& options, const Classifier& classifier) {
  const double temperature = options.temperature > 0 ? options.temperature : classifier.about.temperature;
  fovea::Workers workers(std::min(options.threads, static_cast<int>(std::min<std::size_t>(options.files.size(), 1024))));
  std::vector<fovea::Arena> arenas(static_cast<std::size_t>(workers.size()));
  const auto answer_of = [&](std::size_t i, fovea::Arena& arena) {
    return look(classifier, options.files[i], temperature, arena, [](const fovea::ImageFile&, const Answer&) {});
  };

  int status = 0;
  // Some files at a time on all workers, then their lines: in the order of the arguments, and soon.
  const std::size_t together = 4 * arenas.size();
  std::vector<Answer> answers;
  for (std::size_t first = 0; first < options.files.size(); first += together) {
    answers.assign(std::min(together, options.files.size() - first), {});
    workers.run(static_cast<Index>(answers.size()), [&](Index i, int worker) {
      const auto at = static_cast<std::size_t>(i);
      try {
        answers[at] = answer_of(first + at, arenas[static_cast<std::size_t>(worker)]);
      } catch (const fovea::Error& error) {
        answers[at].error = error.what();
      }
    });
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const std::string& file = options.files[first + i];
      try {
        // Asked once more, by one thread alone: libvips keeps its reasons in one place for all threads.
        if (!answers[i].error.empty()) answers[i] = answer_of(first + i, arenas[0]);
      } catch (const fovea::Error& error) {
        const std::string reason = error.what();
        const bool named = reason.find(file) != std::string::npos;
        (void)std::fprintf(stderr, "classify: %s\n", one_line(named ? reason : file + ": " + reason).c_str());
        status = support::kFailed;
        continue;
      }
      print(options.json ? json_line(classifier, file, answers[i]) : plain_line(classifier, file, answers[i]));
    }
  }
  if (!options.overlay.empty() && status == 0) {
    (void)look(classifier, options.files[0], temperature, arenas[0], [&](const fovea::ImageFile& image, const Answer& answer) {
      write_overlay(classifier, options.overlay, image, answer);
    });
  }
  return status;
}

void check(const Options& options) {
  support::require_within("--threads", options.threads, 0, 1024);
  fovea::require(options.overlay.empty() || options.files.size() == 1, "--overlay: one FILE expected with it, ",
                 options.files.size(), " came");
  fovea::require(std::isfinite(options.temperature) && options.temperature >= 0,
                 "--temperature: a number above 0 expected, or 0 for that of the model, ", options.temperature, " came");
  for (const std::string& file : options.files) {
    fovea::require(!file.empty() && file != "-", "FILE: names of files expected, '", file, "' came");
  }
}

int program(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Says what pictures show, by a model of train_folder. A line for each FILE:\n"
      "path, class and probability, with tabs between them.\n",
      "classify"};
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version",
                       fovea::format("fovea %d.%d.%d", FOVEA_VERSION_MAJOR, FOVEA_VERSION_MINOR, FOVEA_VERSION_PATCH));
  app.add_option("MODEL", options.model, "model.safetensors, as train_folder writes it")->required();
  app.add_option("FILE", options.files, "Pictures of any size and format")->required();
  app.add_flag("--json", options.json,
               "A line of JSON for each file: probabilities, glimpses, milliseconds, bytes decoded (docs/your-pictures.md)");
  app.add_option("--overlay", options.overlay, "Draw the picture and the glimpses into this PNG file; of one FILE alone")
      ->type_name("OUT.png");
  app.add_option("--temperature", options.temperature,
                 "Above 1 probabilities are softened, below sharpened; 0: as was measured after training")
      ->type_name("T")
      ->check(CLI::Validator(support::check_number, ""));
  app.add_option("--threads", options.threads, "0: all cores")
      ->type_name("N")
      ->check(CLI::Validator(support::check_whole_number, ""));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    (void)std::fprintf(stderr, "classify: %s\nRun with --help for the options.\n", error.what());
    return support::kBadInput;
  }

  const auto classifier = [&]() -> std::optional<Classifier> {
    try {
      check(options);
      return Classifier(options.model);
    } catch (const fovea::Error& error) {
      (void)std::fprintf(stderr, "classify: %s\n", error.what());
      return std::nullopt;
    }
  }();
  return classifier ? run(options, *classifier) : support::kBadInput;
}

}  // namespace

int main(int argc, char** argv) {
  // Who reads the answers may go away: that is an error like a full disk, and no reason to die without a word.
  (void)std::signal(SIGPIPE, SIG_IGN);
  try {
    return program(argc, argv);
  } catch (const std::exception& error) {
    (void)std::fprintf(stderr, "classify: %s\n", error.what());
    return support::kFailed;
  }
}
