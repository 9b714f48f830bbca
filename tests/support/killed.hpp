// SPDX-License-Identifier: MIT
// Trainings that are killed at random moments, gone on with, and compared with one that was left alone.
#pragma once

#include "support/child.hpp"
#include "support/noisy_line.hpp"
#include <fovea/core/random.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/fit.hpp>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace fovea_test {

struct Killed {
  int kills = 0;
  int while_training = 0;  ///< that left a checkpoint behind which was gone on from
  int finished = 0;        ///< trainings that came to their end
  std::int64_t lost_or_differing_bytes = 0;
  int refused = 0;  ///< checkpoints that could not be gone on from
};

/// Kills until there were `kills`, and lets the last training come to its end. Saves after every step, so that many of them die
/// while saving.
inline Killed kill_and_resume(const std::filesystem::path& folder, int kills) {
  using namespace fovea;
  const LineModel model(2000);  // 32 kB, four times over in a checkpoint
  const auto checkpoint = folder / "killed.safetensors";
  const auto train = [&](const std::filesystem::path& path) {
    Parameters<float> weights(model.layout(), 7);
    Workers workers(2);
    train::Trainer trainer(weights, train::Adam<float>(model.layout()), workers, {.batch = 8, .shard = 2});
    train::FitOptions options{.steps = 60};
    options.checkpoint = path;
    options.checkpoint_every = 0;
    options.metrics = path.parent_path() / "metrics";
    options.metrics_every = 1;
    options.title = "";
    (void)train::fit(trainer, NoisyLine{}, model, options);
    return weights;
  };
  // What it should come to, by a training without a file.
  std::vector<float> expected;
  double whole_seconds = 0;
  {
    std::filesystem::create_directories(folder / "whole");
    const Stopwatch watch;
    const auto weights = train(folder / "whole" / "whole.safetensors");
    whole_seconds = watch.seconds();
    expected.assign(weights.values().data(), weights.values().data() + weights.values().size());
  }

  Killed result;
  Stream stream(static_cast<std::uint64_t>(kills), 0, 0, Purpose::test);
  while (result.kills < kills || result.finished == 0) {
    const bool was_there = std::filesystem::exists(checkpoint);
    const pid_t child = start_child([&] {
      (void)train(checkpoint);
      return 0;
    });
    if (result.kills < kills) {
      std::this_thread::sleep_for(std::chrono::duration<double>(stream.uniform(0.0, 0.5 * whole_seconds)));
      (void)::kill(child, SIGKILL);
    }
    const int status = end_of_child(child);
    if (status == -SIGKILL) {
      ++result.kills;
      result.while_training += was_there ? 1 : 0;
      continue;
    }
    if (status != 0) {
      ++result.refused;
      std::filesystem::remove(checkpoint);
      if (result.refused > 3) return result;
      continue;
    }
    ++result.finished;
    Parameters<float> weights(model.layout());
    train::CheckpointFile(checkpoint, "training checkpoint").weights(weights);
    const auto* a = reinterpret_cast<const unsigned char*>(expected.data());
    const auto* b = reinterpret_cast<const unsigned char*>(weights.values().data());
    for (std::size_t i = 0; i < expected.size() * sizeof(float); ++i) result.lost_or_differing_bytes += a[i] != b[i] ? 1 : 0;
    // As many lines as steps, each once.
    std::ifstream lines(folder / "metrics.jsonl");
    std::uint64_t step = 0;
    for (std::string line; std::getline(lines, line);) {
      if (train::Json::parse(line).at("step").get<std::uint64_t>() != ++step) ++result.lost_or_differing_bytes;
    }
    if (step != 60) ++result.lost_or_differing_bytes;
    std::filesystem::remove(checkpoint);
  }
  return result;
}

}  // namespace fovea_test
