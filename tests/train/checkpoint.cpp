// SPDX-License-Identifier: MIT
// needs: json
#include "support/child.hpp"
#include "support/killed.hpp"
#include "support/noisy_line.hpp"
#include "support/temporary_folder.hpp"
#include <fovea/core/stopwatch.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/checkpoint.hpp>
#include <fovea/train/fit.hpp>
#include <fovea/train/model_file.hpp>

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

using namespace fovea;
using fovea_test::LineModel;
using fovea_test::NoisyLine;
using fovea_test::TemporaryFolder;

namespace {

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

template <class Work>
std::string error_of(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& piece) { return text.find(piece) != std::string::npos; }

model::SaccaderOptions small_options() {
  model::SaccaderOptions o;
  o.classes = 3;
  o.proxy = {10, 12};
  o.glimpse = {8, 8};
  o.steps = 2;
  o.state = 8;
  o.location_features = 4;
  return o;
}

/// A training that saves after each of `steps` steps.
train::Fitted<float> train_line(const std::filesystem::path& checkpoint, std::uint64_t steps) {
  const LineModel model;
  Parameters<float> weights(model.layout(), 7);
  Workers workers(1);
  train::Trainer trainer(weights, train::Adam<float>(model.layout()), workers, {.batch = 4, .shard = 2});
  train::FitOptions options{.steps = steps};
  options.checkpoint = checkpoint;
  options.checkpoint_every = 0;
  options.title = "";
  return train::fit(trainer, NoisyLine{}, model, options);
}

}  // namespace

TEST_CASE("model file: a model and its weights come back to the bit, with what is to be known of them") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  const model::Saccader model(small_options());
  Parameters<float> weights(model.layout(), 3);
  train::save_model(path, model, weights, {{"classes", {"a", "b", "ü"}}, {"temperature", 1.5}});

  const auto loaded = train::load_model<model::Saccader>(path);
  CHECK(std::memcmp(loaded.weights.values().data(), weights.values().data(),
                    static_cast<std::size_t>(weights.values().size()) * sizeof(float)) == 0);
  CHECK(nlohmann::json(loaded.model.options()) == nlohmann::json(model.options()));
  CHECK(loaded.about.at("classes").at(2) == "ü");
  CHECK(loaded.about.at("temperature") == 1.5);

  // Other tools find the weights under their names, and nothing they would stumble over.
  const train::SafetensorsFile file(path);
  for (const auto& entry : model.layout().entries()) {
    REQUIRE(file.contains(entry.name));
    CHECK(file.dtype(entry.name) == "F32");
  }
  // What is saved twice is the same file.
  const std::string before = bytes_of(path);
  train::save_model(path, model, weights, loaded.about);
  CHECK(bytes_of(path) == before);
}

TEST_CASE("model file: every option of a saccader is in it") {
  model::SaccaderOptions o = small_options();
  o.channels = 3;
  o.scale = 0.25;
  o.deviation = 0.02;
  o.closed_loop = false;
  o.head_sees_state = true;
  o.decode_proxy = false;
  o.policy = {0.1, 0.2, 0.3, 0.4, 5, 0.6, 7};
  o.filters = 16;
  o.gaze = model::Gaze::grid;
  o.question = {model::Task::several_classes, {1, 2, 3}};
  o.initial_noise = 0.01;
  o.state_baseline = true;
  const nlohmann::json json = o;
  const auto back = json.get<model::SaccaderOptions>();
  CHECK(nlohmann::json(back) == json);
  CHECK(back.policy.salience == 7);
  CHECK(back.question.class_weights.size() == 3);
  CHECK(back.gaze == model::Gaze::grid);
  const auto refused = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json other = json;
    other[key] = value;
    CHECK_THROWS((void)other.get<model::SaccaderOptions>());
  };
  refused("proxy", {100000, 10});
  refused("steps", 0);
  refused("state", -5);
  refused("gaze", 17);
  refused("task", -1);
  refused("scale", "wide");
  nlohmann::json without = json;
  without.erase("policy");
  CHECK_THROWS((void)without.get<model::SaccaderOptions>());
}

TEST_CASE("model file: another model, another kind of file, and other tools' files are refused with a sentence") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  const model::Saccader model(small_options());
  const Parameters<float> weights(model.layout(), 3);

  // A model whose options and weights do not go together.
  {
    train::CheckpointWriter file("model");
    file.weights(weights);
    model::SaccaderOptions other = small_options();
    other.state = 9;
    file.set("options", other);
    file.set("about", train::Json::object());
    file.save(path);
    CHECK(has(error_of([&] { (void)train::load_model<model::Saccader>(path); }), "of another model: "));
  }
  // Options that no model has.
  {
    train::CheckpointWriter file("model");
    file.weights(weights);
    nlohmann::json options = small_options();
    options["proxy"] = {1000000, 1000000};
    file.set("options", options);
    file.set("about", train::Json::object());
    file.save(path);
    CHECK(has(error_of([&] { (void)train::load_model<model::Saccader>(path); }), "proxy of 1 to 16384 expected"));
    file.set("options", 5);
    file.save(path);
    CHECK(has(error_of([&] { (void)train::load_model<model::Saccader>(path); }), "\"options\" is not as expected"));
  }
  // Weights that answer otherwise than the self-test says.
  {
    Parameters<float> changed = weights;
    train::CheckpointWriter file("model");
    const train::SelfTest test = train::make_self_test(model, weights);
    changed.at("head.b")[0] += 5;
    file.weights(changed);
    file.self_test(test);
    file.set("options", model.options());
    file.set("about", train::Json::object());
    file.save(path);
    CHECK(has(error_of([&] { (void)train::load_model<model::Saccader>(path); }), "self-test"));
  }
  const auto run = folder.path / "run.safetensors";
  (void)train_line(run, 2);
  CHECK(has(error_of([&] { (void)train::load_model<model::Saccader>(run); }), "a model expected, a training checkpoint came"));
  CHECK(has(error_of([&] { (void)train_line(path, 2); }), "a training checkpoint expected, a model came"));
  // Somebody else's.
  {
    train::SafetensorsWriter file;
    file.metadata("format", "pt");
    weights.visit(
        [&](const std::string& name, const Shape& shape, View<const float, 1> w) { file.add(name, shape, w.data()); });
    file.save(path);
    CHECK(has(error_of([&] { (void)train::load_model<model::Saccader>(path); }), "a file written by fovea expected"));
  }
  // A later version.
  {
    train::SafetensorsWriter file;
    file.metadata("fovea", R"({"version": 2, "checksum": "0"})");
    file.save(path);
    CHECK(has(error_of([&] { (void)train::load_model<model::Saccader>(path); }), "version 1 expected, 2 came"));
    for (const char* text :
         {"", "[]", "{", "{}", "7", R"({"version": "one"})", R"({"version": 1})", R"({"version": 1, "checksum": 5})"}) {
      train::SafetensorsWriter hostile;
      hostile.metadata("fovea", text);
      hostile.save(path);
      CHECK(has(error_of([&] { (void)train::load_model<model::Saccader>(path); }), path.string()));
    }
  }
  CHECK_THROWS_AS((void)train::load_model<model::Saccader>(folder.path / "none"), Error);
  CHECK_THROWS_AS((void)train::load_model<model::Saccader>(folder.path), Error);
}

TEST_CASE("checkpoint: whatever is changed, cut off or added is noticed, and a training goes on from none of it") {
  const TemporaryFolder folder;
  const auto path = folder.path / "run.safetensors";
  (void)train_line(path, 3);
  const std::string good = bytes_of(path);
  Stream stream(1, 0, 0, Purpose::test);
  const auto refused = [&](const std::string& bytes) {
    write_bytes(path, bytes);
    const std::string message = error_of([&] { (void)train_line(path, 6); });
    CHECK(has(message, path.string()));
    CHECK(bytes_of(path) == bytes);  // and it is not written over
  };
  for (int i = 0; i < 300; ++i) {
    std::string bad = good;
    const auto at = static_cast<std::size_t>(stream.uniform(0.0, static_cast<double>(good.size())));
    bad[at] = static_cast<char>(bad[at] ^ (1 << (i % 8)));
    refused(bad);
  }
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{100}, good.size() / 2, good.size() - 1}) {
    refused(good.substr(0, size));
  }
  refused(good + '\0');
  refused("{}");
  write_bytes(path, good);
  CHECK(train_line(path, 6).state.step == 6);
}

TEST_CASE("checkpoint: 12 kills at random moments of training and saving lose nothing") {
  const TemporaryFolder folder;  // claims-training kills 100
  const fovea_test::Killed result = fovea_test::kill_and_resume(folder.path, 12);
  CHECK(result.kills == 12);
  CHECK(result.finished >= 1);
  CHECK(result.refused == 0);
  CHECK(result.lost_or_differing_bytes == 0);
}

TEST_CASE("checkpoint: a full disk ends the training with an Error, and the last checkpoint stays") {
  const TemporaryFolder folder;
  const auto path = folder.path / "run.safetensors";
  (void)train_line(path, 2);
  const std::string good = bytes_of(path);
  const int status = fovea_test::in_child([&] {
    // The system's other way of refusing bytes in the middle of a file.
    (void)std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{good.size() / 2, good.size() / 2};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    const std::string message = error_of([&] { (void)train_line(path, 9); });
    return has(message, path.string() + ": cannot be written") ? 0 : 1;
  });
  CHECK(status == 0);
  CHECK(bytes_of(path) == good);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);  // nothing lies about
  CHECK(train_line(path, 9).state.step == 9);
}

TEST_CASE("checkpoint: a folder that is read-only is an Error with the path") {
  const TemporaryFolder folder;
  const auto inner = folder.path / "inner";
  std::filesystem::create_directories(inner);
  const auto path = inner / "run.safetensors";
  (void)train_line(path, 2);
  const std::string good = bytes_of(path);
  std::filesystem::permissions(inner, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec |
                                          std::filesystem::perms::group_read | std::filesystem::perms::group_exec |
                                          std::filesystem::perms::others_read | std::filesystem::perms::others_exec);
  std::filesystem::permissions(folder.path, std::filesystem::perms::all);
  const int status = fovea_test::in_child([&] {
    // To root nothing is read-only.
    if (::geteuid() == 0 && ::setuid(65534) != 0) return 2;
    const std::string message = error_of([&] { (void)train_line(path, 9); });
    return has(message, path.string() + ": cannot be written") ? 0 : 1;
  });
  std::filesystem::permissions(inner, std::filesystem::perms::owner_all);
  CHECK(status == 0);
  CHECK(bytes_of(path) == good);
}

TEST_CASE("checkpoint: two processes that save to one path leave a whole file at every moment") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  const model::Saccader model(small_options());
  std::vector<pid_t> children;
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    children.push_back(fovea_test::start_child([&] {
      const Parameters<float> weights(model.layout(), seed);
      for (int i = 0; i < 40; ++i) train::save_model(path, model, weights, {{"seed", seed}});
      return 0;
    }));
  }
  int seen = 0;
  for (const Stopwatch watch; seen < 50 && watch.seconds() < 30;) {
    if (!std::filesystem::exists(path)) {
      std::this_thread::yield();
      continue;
    }
    const auto loaded = train::load_model<model::Saccader>(path);
    const Parameters<float> weights(model.layout(), loaded.about.at("seed").get<std::uint64_t>());
    CHECK(std::memcmp(loaded.weights.values().data(), weights.values().data(),
                      static_cast<std::size_t>(weights.values().size()) * sizeof(float)) == 0);
    ++seen;
  }
  for (const pid_t child : children) CHECK(fovea_test::end_of_child(child) == 0);
  CHECK(seen == 50);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
}
