// SPDX-License-Identifier: MIT
#include "maps.hpp"

#include "script.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

namespace experiments::counting {
namespace {

namespace fs = std::filesystem;
namespace data = fovea::data;
using data::BattleGround;
using data::kBattleTile;
using fovea::Index;

/// Flags of a tile in a patch.
enum Field : Index { kLand = 0x10, kCoast = 0x20, kWater = 0x40, kUnpassable = 0x100 };

BattleGround ground_of(Index flags) {
  if ((flags & kUnpassable) != 0) return BattleGround::blocked;
  if ((flags & kWater) != 0) return BattleGround::water;
  return (flags & kLand) != 0 ? BattleGround::land : BattleGround::blocked;
}

/// patchType("name", file, width, height, {flags of each tile})
void read_patches(const Script& script, const fs::path& root, std::map<std::string, Patch>& patches) {
  for (const std::size_t call : script.calls("patchType")) {
    Cursor at(script, call);
    const std::optional<std::string> name = at.string();
    if (!name) continue;  // where the function itself is defined
    at.accept(",");
    Patch patch;
    patch.file = at.need(at.file(root), "a file");
    at.accept(",");
    patch.width = at.need(at.number(), "a width");
    at.accept(",");
    patch.height = at.need(at.number(), "a height");
    at.accept(",");
    if (patch.width < 1 || patch.width > 256 || patch.height < 1 || patch.height > 256) at.fail("1 to 256 tiles expected");
    if (!at.accept("{")) at.fail("the flags of each tile expected");
    for (Index i = 0; i < patch.width * patch.height; ++i) {
      patch.ground.push_back(ground_of(at.need(at.number(), "the flags of each tile")));
      at.accept(",");
    }
    patches.insert_or_assign(*name, std::move(patch));
  }
}

class Reader {
 public:
  Reader(const fs::path& root, const Sprites& sprites) : root_(root), sprites_(sprites) {
    for (const fs::path& file : files(root_ / "patches", ".lua")) read_patches(Script(file), root_, patches_);
  }

  Map read(const fs::path& folder) const {
    Map map;
    map.name = folder.stem().string();
    {
      const Script script(folder / "presentation.smp");
      const std::vector<std::size_t> calls = script.calls("PresentMap");
      if (calls.empty()) script.fail_at(0, "PresentMap expected");
      Cursor at(script, calls.front());
      at.need(at.string(), "a description");
      at.accept(",");
      at.need(at.number(), "a number of players");
      at.accept(",");
      map.width = at.need(at.number(), "a width");
      at.accept(",");
      map.height = at.need(at.number(), "a height");
      if (map.width < 1 || map.width > 256 || map.height < 1 || map.height > 256)
        at.fail("a map of 1 to 256 tiles a side expected");
    }
    std::map<std::string, Patch> own;
    const fs::path patch_file = folder / "patch.lua";
    if (fs::exists(patch_file)) read_patches(Script(patch_file), root_, own);

    map.ground = fovea::Tensor<BattleGround, 2>({map.height, map.width});
    fovea::Tensor<std::uint8_t, 2> covered({map.height, map.width});
    for (const char* const name : {"terrain.lua", "setup.sms"}) {
      if (!fs::exists(folder / name)) continue;
      const Script script(folder / name);
      for (const std::size_t call : script.calls("patch")) place(Cursor(script, call), own, map, covered);
    }
    map.covered = std::all_of(covered.begin(), covered.end(), [](std::uint8_t tile) { return tile != 0; });
    const Script setup(folder / "setup.sms");
    for (const std::size_t call : setup.calls("CreateUnit")) create(Cursor(setup, call), map);
    turn(map);
    return map;
  }

  static std::vector<fs::path> files(const fs::path& folder, const char* extension) {
    std::vector<fs::path> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == extension) found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found;
  }

 private:
  /// patch("name", x, y)
  void place(Cursor at, const std::map<std::string, Patch>& own, Map& map, fovea::Tensor<std::uint8_t, 2>& covered) const {
    Map::Place place;
    const std::optional<std::string> name = at.string();
    at.accept(",");
    const std::optional<Index> x = at.number();
    at.accept(",");
    const std::optional<Index> y = at.number();
    if (!name || !x || !y || !at.accept(")")) {
      map.written = false;
      return;
    }
    const auto mine = own.find(*name);
    const auto found = mine != own.end() ? mine : patches_.find(*name);
    if (mine == own.end() && found == patches_.end()) at.fail("a patch that is defined expected, " + *name + " came");
    const Patch& patch = map.patches.insert_or_assign(*name, found->second).first->second;
    map.places.push_back({*name, *x, *y});
    for (Index row = std::max<Index>(0, *y); row < std::min(map.height, *y + patch.height); ++row) {
      for (Index column = std::max<Index>(0, *x); column < std::min(map.width, *x + patch.width); ++column) {
        map.ground(row, column) = patch.ground[static_cast<std::size_t>((row - *y) * patch.width + column - *x)];
        covered(row, column) = 1;
      }
    }
  }

  /// CreateUnit("type", player, {x, y})
  void create(Cursor at, Map& map) const {
    const std::optional<std::string> name = at.string();
    at.accept(",");
    const std::optional<Index> player = at.accept("PlayerNumNeutral") ? kNeutralColour : at.number();
    at.accept(",");
    const std::optional<std::vector<Index>> tile = at.numbers(2);
    if (!name || !player || !tile || !at.accept(")")) {
      map.written = false;
      return;
    }
    const auto found = sprites_.by_name.find(*name);
    if (found == sprites_.by_name.end()) {
      map.known = false;
      return;
    }
    if ((*tile)[0] < 0 || (*tile)[0] >= map.width || (*tile)[1] < 0 || (*tile)[1] >= map.height)
      at.fail("a tile of the map expected");
    if (*player < 0 || *player > 15) at.fail("a player of 0 to 15 expected");
    const std::array<Index, 2>& tiles = sprites_.tiles[static_cast<std::size_t>(found->second)];
    data::BattleObject object;
    object.type = found->second;
    object.colour = std::min(*player, kNeutralColour);
    object.x = (*tile)[0] * kBattleTile + tiles[0] * kBattleTile / 2;
    object.y = (*tile)[1] * kBattleTile + tiles[1] * kBattleTile / 2;
    map.objects.push_back(object);
  }

  void turn(Map& map) const {
    std::uint64_t seed = 0;
    for (const char c : map.name) seed = seed * 257 + static_cast<unsigned char>(c);
    fovea::Stream stream(seed);
    for (data::BattleObject& object : map.objects) {
      // A building is new, and its turret looks north; all others look somewhere.
      const data::BattleType& type = sprites_.types[static_cast<std::size_t>(object.type)];
      if (type.kind == data::BattleKind::unit) object.facing = static_cast<Index>(stream.below(8));
    }
  }

  fs::path root_;
  const Sprites& sprites_;
  std::map<std::string, Patch> patches_;
};

}  // namespace

std::vector<Map> read_maps(const fs::path& root, const Sprites& sprites) {
  const Reader reader(root, sprites);
  std::vector<Map> maps;
  for (const fs::path& folder : Reader::files(root / "maps", ".map")) maps.push_back(reader.read(folder));
  return maps;
}

void GroundPainter::load(const Map& map) {
  for (const auto& [name, patch] : map.patches) {
    if (pictures_.count(patch.file) == 0) {
      const Png png = read_png(patch.file);
      const Index height = png.rgba.extent(0);
      const Index width = png.rgba.extent(1);
      fovea::Tensor<std::uint8_t, 3> rgb({height, width, 3});
      for (Index i = 0; i < height * width; ++i) std::copy_n(png.rgba.data() + 4 * i, 3, rgb.data() + 3 * i);
      pictures_.emplace(patch.file, std::move(rgb));
    }
    const auto& e = pictures_.at(patch.file).extents();
    fovea::require(e[0] >= patch.height * kBattleTile && e[1] >= patch.width * kBattleTile, patch.file.string(),
                   ": a picture of ", patch.height, " x ", patch.width, " tiles expected, one of ", e[0], " x ", e[1],
                   " pixels came");
  }
}

void GroundPainter::paint(const Map& map, Index y, Index x, fovea::View<std::uint8_t, 3> out) const {
  const Index height = out.extent(0);
  const Index width = out.extent(1);
  for (Index row = 0; row < height; ++row) std::fill_n(&out(row, 0, 0), 3 * width, std::uint8_t{0});
  for (const Map::Place& place : map.places) {
    const Patch& patch = map.patches.at(place.patch);
    const auto& picture = pictures_.at(patch.file);
    const Index left = (place.x - x) * kBattleTile;
    const Index top = (place.y - y) * kBattleTile;
    const Index first = std::max<Index>(0, left);
    const Index count = std::min(width, left + patch.width * kBattleTile) - first;
    if (count <= 0) continue;
    for (Index row = std::max<Index>(0, top); row < std::min(height, top + patch.height * kBattleTile); ++row) {
      std::copy_n(&picture(row - top, first - left, 0), 3 * count, &out(row, first, 0));
    }
  }
}

}  // namespace experiments::counting
