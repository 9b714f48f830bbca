// SPDX-License-Identifier: MIT
/// \file
/// The experiment "counting": how many mobile units stand on a scene of Bos Wars of 2048 x 2048 pixels, whose minimap of
/// 64 x 64 shows where something is, but not how many.
#pragma once

#include "../support/task.hpp"
#include "maps.hpp"
#include "sprites.hpp"
#include <fovea/data/battle_scenes.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace experiments::counting {

enum class Variant {
  resampled,  ///< tested on scenes like those of training, on terrain of which training has seen no picture
  designers,  ///< tested on windows of maps as their designers made them, on terrain of which training has seen no picture
};

/// Part of a map, 2048 x 2048 pixels from tile (y, x) on.
struct DesignersWindow {
  std::size_t map = 0;  ///< in maps()
  fovea::Index y = 0;
  fovea::Index x = 0;
  int label = 0;
};

class Counting : public Task {
 public:
  /// `data`: the game's folder, as get-data.sh prints it. Throws fovea::Error on what is not.
  Counting(const std::filesystem::path& data, Variant variant);
  /// Small scenes of made-up sprites, for which no data is needed.
  explicit Counting(Variant variant = Variant::resampled);

  [[nodiscard]] std::unique_ptr<Sample> make_sample() const override;
  void fill(Sample& sample, Set set, std::uint64_t number) const override;
  [[nodiscard]] fovea::Tensor<std::uint8_t, 3> whole(std::uint64_t number) const override;

  [[nodiscard]] const Sprites& sprites() const noexcept { return sprites_; }
  [[nodiscard]] const std::vector<Map>& maps() const noexcept { return maps_; }
  /// The test images of Variant::designers.
  [[nodiscard]] const std::vector<DesignersWindow>& windows() const noexcept { return windows_; }

 private:
  /// Terrains with the generator of scenes on them.
  struct Scenes {
    std::vector<fovea::Tensor<std::uint8_t, 3>> images;
    std::vector<fovea::Tensor<fovea::data::BattleGround, 2>> grounds;
    std::unique_ptr<fovea::data::BattleScenes> generator;
  };

  static void add_terrain(Scenes& scenes, const Map& map, const GroundPainter& painter);
  void finish(Scenes& scenes, std::uint64_t seed);
  void find_windows();
  void fill_window(Sample& sample, const DesignersWindow& window) const;

  Sprites sprites_;
  fovea::data::BattleScenesOptions options_;
  std::vector<Map> maps_;
  GroundPainter painter_;  ///< of the maps that windows_ are in
  Scenes train_;
  Scenes held_out_;
  Scenes test_;
  std::vector<DesignersWindow> windows_;
};

}  // namespace experiments::counting
