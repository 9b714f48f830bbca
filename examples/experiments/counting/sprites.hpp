// SPDX-License-Identifier: MIT
/// \file
/// The units, buildings, trees and wrecks of Bos Wars, drawn in the colours of its players as the game does.
#pragma once

#include <fovea/core/view.hpp>
#include <fovea/data/battle_scenes.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace experiments::counting {

/// A PNG file of at most 8192 pixels a side; of a palette PNG the indices too.
struct Png {
  fovea::Tensor<std::uint8_t, 3> rgba;   ///< height x width x 4
  fovea::Tensor<std::uint8_t, 2> index;  ///< height x width, or empty where the file has no palette
};

/// Throws fovea::Error on what is no whole PNG file.
[[nodiscard]] Png read_png(const std::filesystem::path& path);

struct Sprites {
  std::vector<fovea::data::BattleType> types;
  std::vector<std::array<fovea::Index, 2>> tiles;  ///< {width, height} of the ground that a type takes, in tiles
  std::map<std::string, fovea::Index> by_name;     ///< "unit-tank": which type that is
};

/// The colour of what belongs to nobody; player p has colour p.
inline constexpr fovea::Index kNeutralColour = 8;

/// Everything that scripts below `root`/units define. Throws fovea::Error on scripts and pictures that contradict themselves.
[[nodiscard]] Sprites read_sprites(const std::filesystem::path& root);

}  // namespace experiments::counting
