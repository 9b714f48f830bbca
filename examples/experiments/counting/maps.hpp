// SPDX-License-Identifier: MIT
/// \file
/// The maps of Bos Wars: their ground, put together from pictures, and what their designers placed on it.
#pragma once

#include "sprites.hpp"
#include <fovea/core/view.hpp>
#include <fovea/data/battle_scenes.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace experiments::counting {

/// A piece of ground.
struct Patch {
  std::filesystem::path file;
  fovea::Index width = 0;  ///< in tiles
  fovea::Index height = 0;
  std::vector<fovea::data::BattleGround> ground;  ///< [height][width]
};

struct Map {
  struct Place {
    std::string patch;
    fovea::Index x = 0;  ///< in tiles
    fovea::Index y = 0;
  };
  std::string name;        ///< "river": that of its folder
  fovea::Index width = 0;  ///< in tiles
  fovea::Index height = 0;
  std::map<std::string, Patch> patches;  ///< those that are used
  std::vector<Place> places;             ///< later ones lie on earlier ones
  std::vector<fovea::data::BattleObject> objects;
  fovea::Tensor<fovea::data::BattleGround, 2> ground;  ///< of each tile
  bool covered = false;                                ///< every tile has a patch
  bool written = true;                                 ///< patches and objects are written out, not computed by a program
  bool known = true;                                   ///< every object has a sprite
};

/// All maps in `root`/maps, by name, without their pictures. Units face where they happen to, as in the game, by a stream of
/// random numbers named by the map.
[[nodiscard]] std::vector<Map> read_maps(const std::filesystem::path& root, const Sprites& sprites);

/// Paints the ground of maps. Pictures are read once; painting is const, and any number of threads may do it at once.
class GroundPainter {
 public:
  /// Reads the pictures of a map. Throws fovea::Error where they are smaller than the map says.
  void load(const Map& map);
  /// The part of a map that begins at tile (y, x) on `out`, height x width x 3 with dense rows; black where the map has
  /// nothing. The map's pictures must be loaded.
  void paint(const Map& map, fovea::Index y, fovea::Index x, fovea::View<std::uint8_t, 3> out) const;

 private:
  std::map<std::filesystem::path, fovea::Tensor<std::uint8_t, 3>> pictures_;
};

}  // namespace experiments::counting
