// SPDX-License-Identifier: MIT
// train_folder and classify as their users run them: on folders of pictures of several formats, some of them broken; stopped
// and gone on with; asked for JSON and for a drawing.
// needs: open json
#include "support/picture_files.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiff_in_memory.hpp"
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/stopwatch.hpp>
#include <fovea/image/open.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/train/model_file.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;
using fovea::Index;
using fovea_test::save;
using fovea_test::TemporaryFolder;
using fovea_test::waves;
using Json = nlohmann::json;
using Picture = fovea_test::Picture<std::uint8_t>;

const std::string kTrainFolder = FOVEA_TRAIN_FOLDER;
const std::string kClassify = FOVEA_CLASSIFY;

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> all;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) all.push_back(line);
  return all;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// How a program ended and what it wrote.
struct Run {
  int status = 0;  ///< minus the signal that ended it
  std::string out;
  std::string error;
};

/// Runs a program. `meanwhile(child)` may send it signals. `out`: its standard output; -1: into Run::out.
Run run(const fs::path& scratch, std::vector<std::string> arguments, const std::function<void(pid_t)>& meanwhile = {},
        int out = -1) {
  const fs::path out_path = scratch / "stdout";
  const fs::path error_path = scratch / "stderr";
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const int to = out >= 0 ? out : ::open(out_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int errors = ::open(error_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (to < 0 || errors < 0 || ::dup2(to, 1) < 0 || ::dup2(errors, 2) < 0) ::_exit(126);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  REQUIRE(child > 0);
  if (meanwhile) meanwhile(child);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
  }
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), out < 0 ? content(out_path) : "", content(error_path)};
}

/// Grey noise with one thing somewhere: a red disc, a green cross, or a blue frame.
Picture scene(int kind, std::uint64_t seed) {
  fovea::Stream stream(seed, static_cast<std::uint64_t>(kind), 0, fovea::Purpose::test);
  const auto between = [&](int low, int high) {
    return static_cast<Index>(low) + static_cast<Index>(stream.below(static_cast<std::uint32_t>(high - low + 1)));
  };
  const Index height = between(150, 320);
  const Index width = between(150, 320);
  Picture picture({height, width, 3});
  for (auto& pixel : picture.pixels) pixel = static_cast<std::uint8_t>(100 + stream.below(40));
  const Index radius = between(40, 55);
  const Index y0 = between(static_cast<int>(radius), static_cast<int>(height - radius - 1));
  const Index x0 = between(static_cast<int>(radius), static_cast<int>(width - radius - 1));
  for (Index y = y0 - radius; y <= y0 + radius; ++y) {
    for (Index x = x0 - radius; x <= x0 + radius; ++x) {
      const Index dy = std::abs(y - y0);
      const Index dx = std::abs(x - x0);
      const bool inside = kind == 0   ? dy * dy + dx * dx <= radius * radius
                          : kind == 1 ? std::min(dy, dx) <= radius / 3
                                      : std::max(dy, dx) >= 2 * radius / 3;
      if (!inside) continue;
      for (Index c = 0; c < 3; ++c) picture.view()(y, x, c) = c == kind ? 230 : 40;
    }
  }
  return picture;
}

const std::array<std::string, 3> kClasses{"crosses", "discs", "frames"};

/// So many pictures of each class, as JPEG, PNG and TIFF.
void make_folder(const fs::path& folder, int of_each) {
  const std::array<int, 3> kind{1, 0, 2};
  const std::array<std::array<std::string, 2>, 3> formats{
      {{".jpg", ".jpg[Q=90]"}, {".png", ".png[compression=1]"}, {".tif", ".tif"}}};
  for (std::size_t k = 0; k < kClasses.size(); ++k) {
    fs::create_directories(folder / kClasses[k]);
    for (int i = 0; i < of_each; ++i) {
      const auto& [suffix, options] = formats[static_cast<std::size_t>(i) % formats.size()];
      save(folder / kClasses[k] / (std::to_string(i) + suffix), scene(kind[k], static_cast<std::uint64_t>(i)), options);
    }
  }
}

/// A model that has learned nothing, of three classes, one of which has an awkward name.
fs::path untrained_model(const fs::path& folder, double temperature = 1) {
  const fovea::model::Saccader model({.classes = 3, .channels = 3, .glimpse = {16, 16}, .steps = 3, .scale = 0.05});
  const fovea::Parameters<float> weights(model.layout(), 1);
  fovea::train::save_model(folder / "model.safetensors", model, weights,
                           {{"classes", {"a b", "tab\there", "\xE7\x8C\xAB"}}, {"temperature", temperature}});
  return folder / "model.safetensors";
}

/// An uncompressed pyramid of 2048x2048 and 512x512 pixels in tiles of 128.
std::vector<std::byte> tiled_pyramid() {
  fovea_test::TiffPage full;
  full.height = full.width = 2048;
  full.samples = 3;
  full.photometric = PHOTOMETRIC_RGB;
  full.tile_height = full.tile_width = 128;
  full.value = [](Index y, Index x, int c) { return static_cast<unsigned>(y / 8 + x / 5 * (c + 1)) % 256; };
  fovea_test::TiffPage quarter = full;
  quarter.height = quarter.width = 512;
  quarter.kind = FILETYPE_REDUCEDIMAGE;
  quarter.value = [&full](Index y, Index x, int c) { return full.value(4 * y, 4 * x, c); };
  return fovea_test::TiffInMemory::write({full, quarter});
}

}  // namespace

TEST_CASE("train_folder learns, is stopped by Ctrl-C, goes on to the same weights, and classify uses them") {
  const TemporaryFolder folder;
  const fs::path pictures = folder.path / "pictures";
  make_folder(pictures, 40);
  // Small, and with more and longer steps than the defaults: it learns within 400 of them.
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all{kTrainFolder, pictures.string()};
    for (const char* option :
         {"--epochs=30", "--glimpses=2", "--glimpse-size=24", "--proxy-size=16", "--scale=0.4", "--batch=8", "--rate=2e-3"}) {
      all.emplace_back(option);
    }
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const auto train = [&](const std::string& output, const std::string& threads,
                         const std::function<void(pid_t)>& meanwhile = {}) {
    return run(folder.path, with({"--output", (folder.path / output).string(), "--threads", threads}), meanwhile);
  };
  const Run whole = train("whole", "2");
  REQUIRE_MESSAGE(whole.status == 0, whole.error);
  CHECK(contains(whole.out, "held-out accuracy"));
  CHECK(contains(whole.out, "rows are what a picture shows"));
  const Json report = Json::parse(content(folder.path / "whole/report.json"));
  CHECK(report.at("held_out").at("accuracy").get<double>() > 0.9);
  CHECK(report.at("held_out").at("most_frequent_class").get<double>() < 0.7);
  CHECK(report.at("confusion").size() == 3);
  Index in_table = 0;
  for (const auto& row : report.at("confusion")) {
    for (const auto& count : row) in_table += count.get<Index>();
  }
  CHECK(in_table == report.at("held_out").at("pictures").get<Index>());

  // Stopped early on, by one thread, and gone on with by two.
  const Run stopped = train("stopped", "1", [&](pid_t child) {
    const fovea::Stopwatch watch;
    while (lines(content(folder.path / "stopped/metrics.jsonl")).size() < 4 && watch.seconds() < 50) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    (void)::kill(child, SIGINT);
  });
  CHECK(stopped.status == 130);
  CHECK(contains(stopped.error, "the same command goes on from there"));
  CHECK_FALSE(fs::exists(folder.path / "stopped/model.safetensors"));
  const Run resumed = train("stopped", "2");
  CHECK_MESSAGE(resumed.status == 0, resumed.error);
  CHECK(contains(resumed.error, "goes on after step"));
  CHECK(content(folder.path / "stopped/model.safetensors") == content(folder.path / "whole/model.safetensors"));

  // A checkpoint of other options is not gone on from.
  const Run other = run(folder.path, with({"--output", (folder.path / "stopped").string(), "--flip"}));
  CHECK(other.status == 1);
  CHECK(contains(other.error, "--fresh"));

  const Run classified =
      run(folder.path, {kClassify, (folder.path / "whole/model.safetensors").string(), (pictures / "discs/0.jpg").string(),
                        (pictures / "crosses/1.png").string(), (pictures / "frames/2.tif").string()});
  CHECK(classified.status == 0);
  const auto answers = lines(classified.out);
  REQUIRE(answers.size() == 3);
  CHECK(contains(answers[0], "discs/0.jpg\tdiscs\t"));
  CHECK(contains(answers[1], "crosses/1.png\tcrosses\t"));
  CHECK(contains(answers[2], "frames/2.tif\tframes\t"));
}

TEST_CASE("train_folder names what it cannot read, and goes on without it where it is told to") {
  const TemporaryFolder folder;
  const fs::path pictures = folder.path / "pictures";
  make_folder(pictures, 10);
  std::ofstream(pictures / "discs/notes.txt") << "no picture\n";
  const auto train = [&](const std::string& output, std::vector<std::string> more) {
    more.insert(more.begin(), {kTrainFolder, pictures.string(), "--output", (folder.path / output).string(), "--epochs", "2",
                               "--glimpses", "1", "--glimpse-size", "8", "--proxy-size", "16"});
    return run(folder.path, more);
  };
  const Run refused = train("out", {});
  CHECK(refused.status == 2);
  CHECK(contains(refused.error, "discs/notes.txt"));
  CHECK(contains(refused.error, "--skip-unreadable"));
  const Run skipped = train("out", {"--skip-unreadable", "--balanced", "--jitter", "0.2", "--flip"});
  CHECK_MESSAGE(skipped.status == 0, skipped.error);
  CHECK(contains(skipped.error, "left out: discs/notes.txt"));

  // Damage behind the header comes to light while training.
  const fs::path cut = pictures / "frames/cut.png";
  save(cut, scene(2, 99), ".png");
  fs::resize_file(cut, fs::file_size(cut) / 2);
  fs::remove(pictures / "discs/notes.txt");
  const Run broken = train("broken", {});
  CHECK(broken.status == 1);
  CHECK(contains(broken.error, "frames/cut.png"));
  // As if nothing had happened but for the name.
  const Run gone_on = train("broken", {"--skip-unreadable"});
  CHECK_MESSAGE(gone_on.status == 0, gone_on.error);
  CHECK(contains(gone_on.error, "left out: frames/cut.png"));
  const Json report = Json::parse(content(folder.path / "broken/report.json"));
  CHECK(report.at("unreadable") == Json{"frames/cut.png"});
}

TEST_CASE("train_folder refuses with a sentence what cannot be trained on") {
  const TemporaryFolder folder;
  const auto refusal = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kTrainFolder);
    arguments.insert(arguments.end(), {"--output", (folder.path / "out").string()});
    const Run refused = run(folder.path, arguments);
    CHECK_MESSAGE(refused.status == 2, refused.error);
    CHECK_FALSE(fs::exists(folder.path / "out/model.safetensors"));
    return refused.error;
  };
  CHECK(contains(refusal({(folder.path / "nowhere").string()}), "a folder of pictures or a list of them expected"));
  const fs::path one = folder.path / "one";
  fs::create_directories(one / "cats");
  save(one / "cats/1.png", waves({20, 20, 3}, 1), ".png");
  CHECK(contains(refusal({one.string()}), "at least 2 classes expected"));
  fs::create_directories(one / "dogs");
  CHECK(contains(refusal({one.string()}), "dogs"));
  save(one / "dogs/1.png", waves({20, 20, 3}, 2), ".png");
  CHECK(contains(refusal({one.string(), "--held-out", "0.01"}), "none is held out"));
  CHECK(contains(refusal({one.string(), "--channels", "2"}), "--channels"));
  CHECK(contains(refusal({one.string(), "--glimpses", "-1"}), "--glimpses"));
  CHECK(contains(refusal({one.string(), "--minutes", "1", "--patience", "3"}), "--patience"));
  CHECK(contains(refusal({one.string(), "--nonsense"}), "--nonsense"));
  CHECK(run(folder.path, {kTrainFolder}).status == 2);
}

TEST_CASE("classify writes a line of valid JSON for each file, whatever its name, and goes on behind what it cannot read") {
  const TemporaryFolder folder;
  const std::string model = untrained_model(folder.path).string();
  const std::string awkward = (folder.path / "line\nbreak \"\xFF\" \t.jpg").string();
  const std::string missing = (folder.path / "missing.jpg").string();
  const std::string text = (folder.path / "text.png").string();
  const std::string plain = (folder.path / "plain.png").string();
  save(awkward, waves({40, 60, 3}, 1), ".jpg");
  save(plain, waves({300, 200, 1}, 2), ".png");
  std::ofstream(text) << "no picture\n";

  for (const std::string threads : {"1", "3"}) {
    const Run json = run(folder.path, {kClassify, "--json", "--threads", threads, model, awkward, missing, plain, text});
    CHECK(json.status == 1);
    CHECK(contains(json.error, missing));
    CHECK(contains(json.error, text));
    CHECK_FALSE(contains(json.error, plain));
    const auto all = lines(json.out);
    REQUIRE(all.size() == 2);
    for (const std::string& line : all) {
      const Json answer = Json::parse(line);
      const auto& probabilities = answer.at("probabilities");
      REQUIRE(probabilities.size() == 3);
      double sum = 0;
      for (const auto& p : probabilities) sum += p.get<double>();
      CHECK(sum == doctest::Approx(1));
      CHECK(answer.at("probability") == probabilities.at(answer.at("label").get<std::string>()));
      CHECK(answer.at("glimpses").size() == 3);
      CHECK(answer.at("bytes_decoded").get<std::int64_t>() > 0);
      const auto& ms = answer.at("ms");
      CHECK(ms.at("proxy").get<double>() > 0);
      CHECK(ms.at("glimpses").get<double>() >= 0);
      CHECK(ms.at("network").get<double>() > 0);
      CHECK(ms.at("proxy").get<double>() + ms.at("glimpses").get<double>() + ms.at("network").get<double>() ==
            doctest::Approx(ms.at("total").get<double>()).epsilon(0.01));
    }
    CHECK(contains(Json::parse(all[0]).at("file").get<std::string>(), "line\nbreak \"\xEF\xBF\xBD\" \t.jpg"));
    CHECK(Json::parse(all[1]).at("file") == plain);
  }

  const Run tabs = run(folder.path, {kClassify, model, awkward, plain});
  CHECK(tabs.status == 0);
  const auto all = lines(tabs.out);
  REQUIRE(all.size() == 2);
  for (const std::string& line : all) CHECK(std::count(line.begin(), line.end(), '\t') == 2);
  CHECK(contains(all[0], "line?break \"\xFF\" ?.jpg\t"));
}

TEST_CASE("classify: glimpses are in pixels of the upright picture, and only what is looked at is decoded") {
  const TemporaryFolder folder;
  const std::string model = untrained_model(folder.path).string();
  // The same pixels: stored as they are seen, and lying on their side with a word in EXIF that says so.
  const Index height = 400;
  const Index width = 150;
  Picture upright = waves({height, width, 3}, 3);
  Picture lying({width, height, 3});
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      // Orientation 6: the first row stored is seen as the rightmost column.
      for (Index c = 0; c < 3; ++c) lying.view()(width - 1 - x, y, c) = upright.view()(y, x, c);
    }
  }
  save(folder.path / "upright.tif", upright, ".tif");
  save(folder.path / "lying.tif", lying, ".tif", 6);
  save(folder.path / "lying.jpg", lying, ".jpg[Q=95]", 6);
  std::ofstream(folder.path / "pyramid.tif", std::ios::binary) << [] {
    const auto bytes = tiled_pyramid();
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }();
  const std::string pyramid = (folder.path / "pyramid.tif").string();
  const Run json = run(folder.path, {kClassify, "--json", model, (folder.path / "upright.tif").string(),
                                     (folder.path / "lying.tif").string(), pyramid, (folder.path / "lying.jpg").string()});
  CHECK_MESSAGE(json.status == 0, json.error);
  const auto all = lines(json.out);
  REQUIRE(all.size() == 4);
  const Json seen = Json::parse(all[0]);
  const Json turned = Json::parse(all[1]);
  CHECK(seen.at("label") == turned.at("label"));
  CHECK(seen.at("glimpses") == turned.at("glimpses"));
  for (const Json& answer : {turned, Json::parse(all[3])}) {
    for (const auto& g : answer.at("glimpses")) {
      CHECK(g.at("x0").get<double>() >= 0);
      CHECK(g.at("x0").get<double>() < g.at("x1").get<double>());
      CHECK(g.at("x1").get<double>() <= static_cast<double>(width));
      CHECK(g.at("y0").get<double>() >= 0);
      CHECK(g.at("y0").get<double>() < g.at("y1").get<double>());
      CHECK(g.at("y1").get<double>() <= static_cast<double>(height));
    }
  }
  const auto decoded = Json::parse(all[2]).at("bytes_decoded").get<std::uintmax_t>();
  CHECK(decoded > 0);
  CHECK(decoded < fs::file_size(pyramid) / 2);

  // The drawing, of a picture that is too large to be drawn as it is.
  const fs::path drawn = folder.path / "drawn.png";
  const Run overlay = run(folder.path, {kClassify, "--overlay", drawn.string(), model, pyramid});
  CHECK_MESSAGE(overlay.status == 0, overlay.error);
  const fovea::ImageFile image = fovea::open_image(drawn);
  CHECK(image.extent()[1] == 1600);
  CHECK(image.extent()[0] > 1600);  // the answer stands below
  CHECK(image.channels() == 3);
}

TEST_CASE("classify applies the temperature of the model's file, or another") {
  const TemporaryFolder folder;
  const std::string picture = (folder.path / "p.png").string();
  save(picture, waves({60, 60, 3}, 4), ".png");
  const auto probability = [&](double of_file, std::vector<std::string> more) {
    more.insert(more.begin(), {kClassify, "--json", untrained_model(folder.path, of_file).string(), picture});
    const Run json = run(folder.path, more);
    REQUIRE_MESSAGE(json.status == 0, json.error);
    return Json::parse(json.out).at("probability").get<double>();
  };
  const double soft = probability(10, {});
  CHECK(probability(1, {}) > soft);
  CHECK(probability(1, {"--temperature", "10"}) == doctest::Approx(soft));
}

TEST_CASE("classify: wrong use is status 2, an answer that does not arrive status 1") {
  const TemporaryFolder folder;
  const std::string model = untrained_model(folder.path).string();
  const std::string picture = (folder.path / "p.png").string();
  save(picture, waves({30, 30, 3}, 5), ".png");
  const auto status = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kClassify);
    const Run wrong = run(folder.path, arguments);
    CHECK((wrong.status == 0 || !wrong.error.empty()));
    CHECK(wrong.out.empty());
    return wrong.status;
  };
  CHECK(status({}) == 2);
  CHECK(status({model}) == 2);
  CHECK(status({model, "-"}) == 2);
  CHECK(status({picture, picture}) == 2);
  CHECK(status({(folder.path / "nowhere").string(), picture}) == 2);
  CHECK(status({model, picture, picture, "--overlay", (folder.path / "o.png").string()}) == 2);
  CHECK(status({model, picture, "--temperature", "nan"}) == 2);
  CHECK(status({model, picture, "--threads", "-1"}) == 2);
  // Of a model without names of classes too.
  const fovea::model::Saccader nameless({.classes = 3, .channels = 3});
  fovea::train::save_model(folder.path / "nameless", nameless, fovea::Parameters<float>(nameless.layout(), 1));
  CHECK(status({(folder.path / "nameless").string(), picture}) == 2);

  if (const int full = ::open("/dev/full", O_WRONLY); full >= 0) {
    const Run disk = run(folder.path, {kClassify, model, picture}, {}, full);
    (void)::close(full);
    CHECK(disk.status == 1);
    CHECK(contains(disk.error, "standard output"));
  }
  // Nobody reads.
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  (void)::close(ends[0]);
  const Run closed = run(folder.path, {kClassify, model, picture}, {}, ends[1]);
  (void)::close(ends[1]);
  CHECK(closed.status == 1);
  CHECK(contains(closed.error, "standard output"));
}
