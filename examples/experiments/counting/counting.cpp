// SPDX-License-Identifier: MIT
#include "counting.hpp"

#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <set>
#include <string_view>
#include <utility>

namespace experiments::counting {
namespace {

namespace data = fovea::data;
using data::BattleGround;
using data::BattleKind;
using data::kBattleTile;

// No picture of ground occurs in maps of two of these sets; which is checked. (Maps that are not painted whole are put
// together from patches; those of the training set share theirs with each other, those of the others too.)
constexpr std::array train_maps{"boxland",         "bridge",          "canyon",          "chilka",
                                "empty-buildings", "go-and-multiply", "guerillawarfare", "ringway",
                                "the-river",       "swampdwellers",   "wetlands01",      "wormroads"};
constexpr std::array held_out_maps{"4on4", "bottleneck", "wetlands02"};
constexpr std::array test_maps{"bridge2far", "cornered", "hospitality", "islandwar", "patches", "river"};

constexpr Index kLargest = 96;  ///< tiles a side of a terrain in memory; of larger maps it is the middle

struct BattleSample : Sample {
  explicit BattleSample(Extents<2> extent) : canvas_(extent) {}
  data::BattleCanvas canvas_;
  data::BattleScene scene;
  std::vector<data::BattleObject> objects_;
};

Facts make_facts(Variant variant, const data::BattleScenesOptions& options, Extents<2> proxy) {
  Facts facts;
  facts.experiment = "counting";
  facts.variant = variant == Variant::resampled ? "resampled" : "designers";
  if (variant == Variant::designers) facts.trained_as = "resampled";
  facts.question = "how many mobile units?";
  facts.classes = options.most_units + 1;
  facts.channels = 3;
  facts.image = {options.height, options.width};
  facts.proxy = proxy;
  facts.train_images = 10000;
  facts.test_images = 1000;
  facts.ordered = true;
  return facts;
}

data::BattleScenesOptions small_options() {
  data::BattleScenesOptions options;
  options.height = options.width = 256;
  options.most_units = 4;
  options.most_groups = 2;
  options.between = 24;
  options.bases = options.wrecks = options.woods = 1;
  options.single = 3;
  return options;
}

/// How often a type stands in resampled scenes: about as in the designers' maps, but rare ones more.
double weight_of(const std::string& name, const data::BattleType& type) {
  const auto begins = [&](std::string_view with) { return name.rfind(with, 0) == 0; };
  if (type.kind == BattleKind::building && type.medium == data::BattleMedium::water) return 0;  // wants a shore
  if (name == "buggy_destroyed" || name == "radar_destroyed") return 0;  // still burning, and still standing
  if (type.kind == BattleKind::unit) {
    const auto is_one_of = [&](std::initializer_list<const char*> names) {
      return std::any_of(names.begin(), names.end(), [&](const char* one) { return name == one; });
    };
    if (is_one_of({"unit-assault", "unit-bazoo", "unit-engineer", "unit-grenadier", "unit-medic"})) return 3;
    return is_one_of({"unit-tank", "unit-rtank", "unit-buggy"}) ? 2 : 1;
  }
  if (begins("unit-tree")) return 8;
  if (begins("unit-dead-")) return 2;
  if (begins("unit-morel") || name == "unit-antharus") return 0.5;
  return 1;
}

}  // namespace

Counting::Counting(const std::filesystem::path& data, Variant variant)
    : Task(make_facts(variant, {}, {64, 64})), sprites_(read_sprites(data)), maps_(read_maps(data, sprites_)) {
  for (const auto& [name, number] : sprites_.by_name) {
    data::BattleType& type = sprites_.types[static_cast<std::size_t>(number)];
    type.weight = weight_of(name, type);
  }
  std::map<std::filesystem::path, const Scenes*> owner;
  const auto add = [&](Scenes& scenes, const auto& names) {
    GroundPainter painter;  // its pictures are needed no longer than this
    for (const char* const name : names) {
      const auto map = std::find_if(maps_.begin(), maps_.end(), [name](const Map& m) { return m.name == name; });
      fovea::require(map != maps_.end() && map->covered && map->written, data.string(), ": the map ", name,
                     " expected, with all its ground");
      for (const auto& [patch_name, patch] : map->patches) {
        const Scenes* const known = owner.emplace(patch.file, &scenes).first->second;
        const bool of_training = known == &train_ || &scenes == &train_;
        fovea::require(known == &scenes || !of_training, patch.file.string(),
                       ": ground of either training or other maps expected, it is in both");
      }
      painter.load(*map);
      add_terrain(scenes, *map, painter);
    }
  };
  add(train_, train_maps);
  finish(train_, 1);
  add(held_out_, held_out_maps);
  finish(held_out_, 2);
  add(test_, test_maps);
  finish(test_, 3);
  if (variant == Variant::designers) find_windows();
}

Counting::Counting(Variant variant) : Task(make_facts(variant, small_options(), {16, 16})), options_(small_options()) {
  fovea::require(variant == Variant::resampled, "Counting: made-up maps have no designers");
  const auto add = [this](BattleKind kind, Index side, Index colours, std::uint8_t shade) {
    data::BattleType type;
    type.kind = kind;
    type.colours = colours;
    for (Index colour = 0; colour < colours; ++colour) {
      data::BattlePicture picture;
      picture.pixels = fovea::Tensor<std::uint8_t, 3>({side, side, 4});
      for (Index i = 0; i < side * side; ++i) {
        std::uint8_t* pixel = picture.pixels.data() + 4 * i;
        for (Index c = 0; c < 3; ++c) pixel[c] = c == colour ? 255 : shade;
        // Units are squares, trees and wrecks round, with holes.
        const Index x = 2 * (i % side) - side + 1;
        const Index y = 2 * (i / side) - side + 1;
        const bool solid = kind <= BattleKind::building || (x * x + y * y < side * side && (x + y) % 3 != 0);
        pixel[3] = solid ? 255 : 0;
      }
      picture.left = picture.top = -side / 2;
      picture.body = {-side / 2, -side / 2, side, side};
      type.pictures.push_back(std::move(picture));
    }
    sprites_.types.push_back(std::move(type));
  };
  add(BattleKind::unit, 12, 3, 40);
  add(BattleKind::unit, 18, 3, 60);
  add(BattleKind::building, 48, 3, 90);
  add(BattleKind::scenery, 30, 1, 60);
  add(BattleKind::wreck, 16, 1, 20);
  std::uint64_t seed = 0;
  for (Scenes* scenes : {&train_, &held_out_, &test_}) {
    fovea::Stream stream(++seed);
    constexpr Index side = 320;
    fovea::Tensor<std::uint8_t, 3>& image = scenes->images.emplace_back(Extents<3>{side, side, 3});
    for (std::uint8_t& value : image) value = static_cast<std::uint8_t>(90 + stream.below(40));
    auto& ground = scenes->grounds.emplace_back(Extents<2>{side / kBattleTile, side / kBattleTile});
    for (BattleGround& tile : ground) tile = stream.below(8) == 0 ? BattleGround::blocked : BattleGround::land;
    finish(*scenes, seed);
  }
}

void Counting::add_terrain(Scenes& scenes, const Map& map, const GroundPainter& painter) {
  const Index height = std::min(map.height, kLargest);
  const Index width = std::min(map.width, kLargest);
  const Index y = (map.height - height) / 2;
  const Index x = (map.width - width) / 2;
  fovea::Tensor<std::uint8_t, 3>& image = scenes.images.emplace_back(Extents<3>{height * kBattleTile, width * kBattleTile, 3});
  painter.paint(map, y, x, image);
  auto& ground = scenes.grounds.emplace_back(Extents<2>{height, width});
  for (Index row = 0; row < height; ++row) {
    for (Index column = 0; column < width; ++column) ground(row, column) = map.ground(y + row, x + column);
  }
}

void Counting::finish(Scenes& scenes, std::uint64_t seed) {
  std::vector<data::BattleTerrain> terrains;
  for (std::size_t i = 0; i < scenes.images.size(); ++i) {
    terrains.push_back({std::as_const(scenes.images[i]).view(), std::as_const(scenes.grounds[i]).view()});
  }
  scenes.generator = std::make_unique<data::BattleScenes>(sprites_.types, terrains, options_, seed);
}

void Counting::find_windows() {
  std::set<std::filesystem::path> trained;
  for (const Map& map : maps_) {
    if (std::find(train_maps.begin(), train_maps.end(), map.name) == train_maps.end()) continue;
    for (const auto& [name, patch] : map.patches) trained.insert(patch.file);
  }
  const Index tiles = options_.height / kBattleTile;
  for (std::size_t m = 0; m < maps_.size(); ++m) {
    const Map& map = maps_[m];
    const bool is_new = std::none_of(map.patches.begin(), map.patches.end(),
                                     [&](const auto& patch) { return trained.count(patch.second.file) > 0; });
    if (!is_new || !map.covered || !map.written || !map.known) continue;
    bool empty = false;  // one window without units is enough
    for (Index y = 0; y + tiles <= map.height; y += tiles / 2) {
      for (Index x = 0; x + tiles <= map.width; x += tiles / 2) {
        const auto inside = [&](const data::BattleObject& object) {
          return sprites_.types[static_cast<std::size_t>(object.type)].kind == BattleKind::unit &&
                 object.x >= x * kBattleTile && object.x < (x + tiles) * kBattleTile && object.y >= y * kBattleTile &&
                 object.y < (y + tiles) * kBattleTile;
        };
        const auto count = std::count_if(map.objects.begin(), map.objects.end(), inside);
        if (count > options_.most_units || (count == 0 && std::exchange(empty, true))) continue;
        windows_.push_back({m, y, x, static_cast<int>(count)});
      }
    }
    painter_.load(map);
  }
  fovea::require(!windows_.empty(), "Counting: windows of the designers' maps expected, there is none");
  facts_.test_images = static_cast<Index>(windows_.size());
}

void Counting::fill_window(Sample& sample, const DesignersWindow& window) const {
  auto& battle = static_cast<BattleSample&>(sample);
  const Map& map = maps_[window.map];
  painter_.paint(map, window.y, window.x, battle.canvas_.pixels());
  battle.objects_ = map.objects;
  sample.label = 0;
  sample.objects.clear();
  for (data::BattleObject& object : battle.objects_) {
    object.x -= window.x * kBattleTile;
    object.y -= window.y * kBattleTile;
    const data::BattleType& type = sprites_.types[static_cast<std::size_t>(object.type)];
    if (type.kind != BattleKind::unit || object.x < 0 || object.x >= options_.width || object.y < 0 ||
        object.y >= options_.height) {
      continue;
    }
    ++sample.label;
    const data::Box body = data::moved(data::picture_of(type, object).body, object.x, object.y);
    sample.objects.push_back({static_cast<double>(std::max<Index>(body.x, 0)), static_cast<double>(std::max<Index>(body.y, 0)),
                              static_cast<double>(std::min(body.x + body.width, options_.width)),
                              static_cast<double>(std::min(body.y + body.height, options_.height))});
  }
  battle.canvas_.draw_over(sprites_.types, battle.objects_);
  sample.image = battle.canvas_.image();
}

std::unique_ptr<Sample> Counting::make_sample() const {
  return std::make_unique<BattleSample>(Extents<2>{options_.height, options_.width});
}

void Counting::fill(Sample& sample, Set set, std::uint64_t number) const {
  auto* const battle = dynamic_cast<BattleSample*>(&sample);
  fovea::require(battle != nullptr, "Counting: a sample that this task made expected");
  if (set == Set::test && !windows_.empty()) {
    fill_window(sample, windows_[static_cast<std::size_t>(number % windows_.size())]);
    return;
  }
  const Scenes& scenes = set == Set::train ? train_ : set == Set::held_out ? held_out_ : test_;
  scenes.generator->generate(number, battle->scene, battle->canvas_, set != Set::train);
  sample.image = battle->canvas_.image();
  sample.label = battle->scene.label;
  sample.objects.clear();
  for (const data::Box& unit : battle->scene.units) {
    sample.objects.push_back({static_cast<double>(unit.x), static_cast<double>(unit.y),
                              static_cast<double>(unit.x + unit.width), static_cast<double>(unit.y + unit.height)});
  }
}

fovea::Tensor<std::uint8_t, 3> Counting::whole(std::uint64_t number) const {
  const std::unique_ptr<Sample> sample = make_sample();
  fill(*sample, Set::test, number);
  const auto& pixels = sample->image.level(0);
  fovea::Tensor<std::uint8_t, 3> image(pixels.extents());
  std::copy_n(pixels.data(), image.size(), image.data());
  return image;
}

}  // namespace experiments::counting
