// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include <fovea/core/parallel.hpp>
#include <fovea/data/battle_scenes.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

using namespace fovea;
using namespace fovea::data;
using fovea_test::message_of;

namespace {

/// A picture of random colours; its lower quarter is half transparent and no part of the body.
BattlePicture make_picture(Stream& stream, Index height, Index width) {
  BattlePicture picture;
  picture.pixels = Tensor<std::uint8_t, 3>({height, width, 4});
  for (std::uint8_t& value : picture.pixels) value = static_cast<std::uint8_t>(stream.bits());
  const Index solid = height - height / 4;
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) picture.pixels(y, x, 3) = y >= solid ? 128 : (x + y) % 7 == 0 ? 0 : 255;
  }
  picture.left = -width / 2;
  picture.top = -solid / 2;
  picture.body = {-width / 2, -solid / 2, width, solid};
  return picture;
}

BattleType make_type(Stream& stream, BattleKind kind, BattleMedium medium, Index height, Index width, Index colours,
                     Index facings) {
  BattleType type;
  type.kind = kind;
  type.medium = medium;
  type.layer = kind == BattleKind::wreck ? 10 : medium == BattleMedium::air ? 125 : 25;
  type.colours = colours;
  type.facings = facings;
  for (Index i = 0; i < colours * facings; ++i) type.pictures.push_back(make_picture(stream, height, width));
  return type;
}

struct World {
  std::vector<BattleType> types;
  std::vector<Tensor<std::uint8_t, 3>> images;
  std::vector<Tensor<BattleGround, 2>> grounds;
  std::vector<BattleTerrain> terrains;

  World() {
    Stream stream(7);
    types.push_back(make_type(stream, BattleKind::unit, BattleMedium::land, 28, 12, 2, 3));
    types.push_back(make_type(stream, BattleKind::unit, BattleMedium::land, 20, 30, 1, 2));
    types.push_back(make_type(stream, BattleKind::unit, BattleMedium::air, 40, 33, 2, 1));
    types.push_back(make_type(stream, BattleKind::unit, BattleMedium::water, 24, 40, 1, 1));
    types.push_back(make_type(stream, BattleKind::building, BattleMedium::land, 90, 100, 2, 1));
    types.push_back(make_type(stream, BattleKind::scenery, BattleMedium::land, 70, 60, 1, 1));
    types.push_back(make_type(stream, BattleKind::wreck, BattleMedium::land, 30, 50, 1, 2));
    // Larger than the scenes both ways round, in one direction, and not at all.
    for (const Extents<2>& tiles : {Extents<2>{24, 20}, Extents<2>{12, 22}, Extents<2>{12, 16}}) {
      Tensor<std::uint8_t, 3>& image = images.emplace_back(Extents<3>{tiles[0] * kBattleTile, tiles[1] * kBattleTile, 3});
      for (std::uint8_t& value : image) value = static_cast<std::uint8_t>(stream.bits());
      Tensor<BattleGround, 2>& ground = grounds.emplace_back(tiles);
      for (Index y = 0; y < tiles[0]; ++y) {
        for (Index x = 0; x < tiles[1]; ++x) {
          ground(y, x) = x < tiles[1] / 3        ? BattleGround::water
                         : stream.below(16) == 0 ? BattleGround::blocked
                                                 : BattleGround::land;
        }
      }
    }
    for (std::size_t i = 0; i < images.size(); ++i) {
      terrains.push_back({std::as_const(images[i]).view(), std::as_const(grounds[i]).view()});
    }
  }
};

const World& world() {
  static const World made;
  return made;
}

BattleScenesOptions small_options() {
  BattleScenesOptions options;
  options.height = 384;
  options.width = 512;
  options.most_units = 9;
  options.most_groups = 3;
  options.between = 20;
  options.bases = options.woods = options.wrecks = 1;
  options.single = 6;
  options.air = 0.3;
  return options;
}

BattleCanvas make_canvas() { return BattleCanvas({small_options().height, small_options().width}); }

/// Pixel (y, x) of a scene is this one {y, x} of the terrain.
Extents<2> on_terrain(const BattleWindow& window, Index y, Index x) {
  const BattleScenesOptions options = small_options();
  if (window.mirrored) x = options.width - 1 - x;
  if (window.upside_down) y = options.height - 1 - y;
  if (window.transposed) std::swap(x, y);
  return {window.y * kBattleTile + y, window.x * kBattleTile + x};
}

/// The scene as its list of objects has it, pixel by pixel.
Tensor<std::uint8_t, 3> draw_plainly(const BattleScene& scene) {
  const BattleScenesOptions options = small_options();
  Tensor<std::uint8_t, 3> image({options.height, options.width, 3});
  const auto& terrain = world().images[static_cast<std::size_t>(scene.terrain)];
  for (Index y = 0; y < options.height; ++y) {
    for (Index x = 0; x < options.width; ++x) {
      const Extents<2> at = on_terrain(scene.window, y, x);
      for (Index c = 0; c < 3; ++c) image(y, x, c) = terrain(at[0], at[1], c);
    }
  }
  std::vector<std::tuple<Index, Index, Index, std::size_t>> order;
  for (std::size_t i = 0; i < scene.objects.size(); ++i) {
    const BattleObject& o = scene.objects[i];
    const BattleType& type = world().types[static_cast<std::size_t>(o.type)];
    order.emplace_back(type.layer, o.y + type.base, o.x, i);
  }
  std::sort(order.begin(), order.end());
  for (const auto& entry : order) {
    const BattleObject& o = scene.objects[std::get<3>(entry)];
    const BattlePicture& p = picture_of(world().types[static_cast<std::size_t>(o.type)], o);
    for (Index y = 0; y < p.pixels.extent(0); ++y) {
      for (Index x = 0; x < p.pixels.extent(1); ++x) {
        const Index to_y = o.y + p.top + y;
        const Index to_x = o.x + p.left + x;
        if (to_y < 0 || to_y >= options.height || to_x < 0 || to_x >= options.width) continue;
        const int opacity = p.pixels(y, x, 3);
        for (Index c = 0; c < 3; ++c) {
          const int under = image(to_y, to_x, c);
          image(to_y, to_x, c) = static_cast<std::uint8_t>((p.pixels(y, x, c) * opacity + under * (255 - opacity) + 127) / 255);
        }
      }
    }
  }
  return image;
}

int largest_difference(ImageView<std::uint8_t> a, ImageView<std::uint8_t> b) {
  REQUIRE(a.extents() == b.extents());
  int largest = 0;
  for (Index y = 0; y < a.extent(0); ++y) {
    for (Index x = 0; x < a.extent(1); ++x) {
      for (Index c = 0; c < a.extent(2); ++c) largest = std::max(largest, std::abs(int{a(y, x, c)} - int{b(y, x, c)}));
    }
  }
  return largest;
}

}  // namespace

TEST_CASE("battle scenes: a scene is what its list of objects says, pixel by pixel") {
  const BattleScenes generator(world().types, world().terrains, small_options(), 1);
  BattleCanvas canvas = make_canvas();
  BattleScene scene;
  int transposed = 0;
  for (std::uint64_t i = 0; i < 40; ++i) {
    generator.generate(i, scene, canvas, true);
    REQUIRE(largest_difference(canvas.image().level(0), draw_plainly(scene)) == 0);
    transposed += scene.window.transposed ? 1 : 0;
  }
  CHECK(transposed > 0);
}

TEST_CASE("battle scenes: lower resolutions are those of the drawn scene, with the finest or without") {
  const BattleScenes generator(world().types, world().terrains, small_options(), 2);
  BattleCanvas canvas = make_canvas();
  BattleCanvas coarse = make_canvas();
  BattleScene scene;
  for (std::uint64_t i = 0; i < 30; ++i) {
    generator.generate(i, scene, canvas, true);
    generator.generate(i, scene, coarse, false);
    const Pyramid<std::uint8_t> expected(canvas.image().level(0), {16, 24});
    REQUIRE(expected.levels() == 6);
    REQUIRE(canvas.image().levels() == 6);
    REQUIRE(coarse.image().levels() == 5);
    CHECK(coarse.image().extent() == canvas.image().extent());
    for (int k = 1; k < expected.levels(); ++k) {
      CHECK(canvas.image().ratio(k) == expected.ratio(k));
      CHECK(coarse.image().ratio(k - 1) == expected.ratio(k));
      REQUIRE(largest_difference(canvas.image().level(k), expected.level(k)) == 0);
      REQUIRE(largest_difference(coarse.image().level(k - 1), expected.level(k)) == 0);
    }
  }
}

TEST_CASE("battle scenes: levels coarser than a tile average rounded pixels") {
  BattleCanvas canvas({1024, 1056});
  Stream stream(3);
  const View<std::uint8_t, 3> pixels = canvas.pixels();
  for (Index i = 0; i < pixels.size(); ++i) pixels.data()[i] = static_cast<std::uint8_t>(stream.bits());
  canvas.draw_over(world().types, {});
  const Pyramid<std::uint8_t> expected(canvas.image().level(0));
  REQUIRE(canvas.image().levels() == 8);
  REQUIRE(expected.levels() >= 8);
  for (int k = 0; k < 8; ++k) {
    CHECK(canvas.image().ratio(k) == expected.ratio(k));
    CHECK(largest_difference(canvas.image().level(k), expected.level(k)) <= (k <= 5 ? 0 : 1));
  }
}

TEST_CASE("battle scenes: the label is the number of units, and each count comes as often") {
  const BattleScenes generator(world().types, world().terrains, small_options(), 4);
  CHECK(generator.classes() == 10);
  BattleScene scene;
  std::array<int, 10> counts{};
  std::array<int, 4> groups{};
  constexpr int samples = 4000;
  for (std::uint64_t i = 0; i < samples; ++i) {
    generator.plan(i, scene);
    ++counts[static_cast<std::size_t>(scene.label)];
    ++groups[scene.groups.size()];
    REQUIRE(static_cast<Index>(scene.units.size()) == scene.label);
    const auto units = std::count_if(scene.objects.begin(), scene.objects.end(), [](const BattleObject& object) {
      return world().types[static_cast<std::size_t>(object.type)].kind == BattleKind::unit;
    });
    REQUIRE(units == scene.label);
  }
  for (const int count : counts) CHECK(std::abs(count - samples / 10) < 100);  // five standard deviations
  CHECK(groups[0] == counts[0]);
  for (std::size_t g = 1; g < 4; ++g) CHECK(groups[g] > samples / 6);
}

TEST_CASE("battle scenes: units stand apart inside, in groups that stand apart, and are mostly seen") {
  const BattleScenesOptions options = small_options();
  const BattleScenes generator(world().types, world().terrains, options, 5);
  BattleScene scene;
  int hidden_somewhat = 0;
  int on_ground = 0;
  int on_land_or_water = 0;
  for (std::uint64_t i = 0; i < 600; ++i) {
    generator.plan(i, scene);
    const auto kind = [](const BattleObject& o) { return world().types[static_cast<std::size_t>(o.type)].kind; };
    for (std::size_t u = 0; u < scene.units.size(); ++u) {
      const Box& box = scene.units[u];
      const BattleObject& unit = scene.objects[u];
      const BattleType& type = world().types[static_cast<std::size_t>(unit.type)];
      REQUIRE(kind(unit) == BattleKind::unit);
      REQUIRE(box == moved(picture_of(type, unit).body, unit.x, unit.y));
      REQUIRE(overlap(box, {0, 0, options.width, options.height}) == box.width * box.height);
      REQUIRE(std::count_if(scene.groups.begin(), scene.groups.end(),
                            [&](const Box& group) { return overlap(box, group) == box.width * box.height; }) == 1);
      for (std::size_t v = 0; v < u; ++v) REQUIRE(overlap(box, scene.units[v]) == 0);
      Index hidden = 0;
      for (std::size_t o = scene.units.size(); o < scene.objects.size(); ++o) {
        const BattleObject& other = scene.objects[o];
        const BattleType& other_type = world().types[static_cast<std::size_t>(other.type)];
        const Box cover = moved(picture_of(other_type, other).body, other.x, other.y);
        if (kind(other) == BattleKind::building) REQUIRE(overlap(box, cover) == 0);
        const bool later = std::tuple(other_type.layer, other.y + other_type.base, other.x) >=
                           std::tuple(type.layer, unit.y + type.base, unit.x);
        if (later) hidden += overlap(box, cover);
      }
      REQUIRE(static_cast<double>(hidden) <= options.hidden * static_cast<double>(box.width * box.height));
      hidden_somewhat += hidden > 0 ? 1 : 0;
      if (type.medium == BattleMedium::air) continue;
      const Extents<2> at = on_terrain(scene.window, unit.y, unit.x);
      const BattleGround ground =
          world().grounds[static_cast<std::size_t>(scene.terrain)](at[0] / kBattleTile, at[1] / kBattleTile);
      ++on_land_or_water;
      on_ground += ground == (type.medium == BattleMedium::land ? BattleGround::land : BattleGround::water) ? 1 : 0;
    }
    for (std::size_t g = 0; g < scene.groups.size(); ++g) {
      const Box& box = scene.groups[g];
      const Box wide{box.x - options.between, box.y - options.between, box.width + 2 * options.between,
                     box.height + 2 * options.between};
      for (std::size_t h = 0; h < g; ++h) REQUIRE(overlap(wide, scene.groups[h]) == 0);
    }
  }
  CHECK(hidden_somewhat > 0);
  CHECK(on_ground > on_land_or_water * 95 / 100);  // where there is no room on it, any ground serves
}

TEST_CASE("battle scenes: any thread may make any sample at any time") {
  const BattleScenes generator(world().types, world().terrains, small_options(), 6);
  constexpr Index samples = 24;
  std::vector<BattleScene> alone(samples);
  std::vector<std::vector<std::uint8_t>> pixels(samples);
  const auto make = [&](Index i, BattleCanvas& canvas, BattleScene& scene) {
    generator.generate(static_cast<std::uint64_t>(i), scene, canvas, false);
    const auto& level = canvas.image().level(0);
    return std::vector<std::uint8_t>(level.data(), level.data() + level.size());
  };
  BattleCanvas canvas = make_canvas();
  for (Index i = samples; i-- > 0;) {
    pixels[static_cast<std::size_t>(i)] = make(i, canvas, alone[static_cast<std::size_t>(i)]);
  }
  std::vector<int> equal(samples);
  Workers workers(3);
  workers.run(samples, [&](Index i, int) {
    BattleCanvas own = make_canvas();
    BattleScene scene;
    const auto n = static_cast<std::size_t>(i);
    equal[n] = make(i, own, scene) == pixels[n] && scene == alone[n] ? 1 : 0;
  });
  CHECK(std::count(equal.begin(), equal.end(), 1) == samples);
  const BattleScenes other(world().types, world().terrains, small_options(), 7);
  BattleScene scene;
  other.plan(0, scene);
  CHECK_FALSE(scene == alone[0]);
  generator.plan(std::uint64_t{1} << 32, scene);
  CHECK_FALSE(scene == alone[0]);
}

TEST_CASE("battle scenes: objects of a list of one's own are clipped at the edges") {
  BattleCanvas canvas = make_canvas();
  const View<std::uint8_t, 3> pixels = canvas.pixels();
  const BattleScenesOptions options = small_options();
  BattleScene scene;
  scene.terrain = 0;
  const auto& terrain = world().images[0];
  for (Index y = 0; y < options.height; ++y) {
    for (Index x = 0; x < options.width; ++x) {
      for (Index c = 0; c < 3; ++c) pixels(y, x, c) = terrain(y, x, c);
    }
  }
  scene.objects = {{4, 1, 0, 3, 5},     {5, 0, 0, 510, 380}, {0, 0, 2, 200, 100}, {1, 0, 1, 205, 96},
                   {6, 0, 0, 200, 110}, {2, 1, 0, -400, 20}, {2, 0, 0, 190, 120}};
  canvas.draw_over(world().types, scene.objects);
  CHECK(largest_difference(canvas.image().level(0), draw_plainly(scene)) == 0);
}

TEST_CASE("battle scenes: what does not fit is an Error that says so") {
  const World& w = world();
  const auto message = [&](const BattleScenesOptions& options, const std::vector<BattleType>& types,
                           const std::vector<BattleTerrain>& terrains) {
    return message_of([&] { const BattleScenes generator(types, terrains, options, 1); });
  };
  const BattleScenesOptions good = small_options();
  BattleScenesOptions options = good;
  options.width = 500;
  CHECK(message(options, w.types, w.terrains) == "BattleScenes: multiples of 32 pixels expected, 384 x 500 came");
  options = good;
  options.height = 416;
  CHECK(message(options, w.types, w.terrains) ==
        "BattleScenes: terrains of at least 416 x 512 x 3 expected, one of 384 x 704 x 3 came");
  options = good;
  options.hidden = 1.5;
  CHECK(message(options, w.types, w.terrains) == "BattleScenes: 0 to 1000 of each kind, and parts of 0 to 1 expected");
  CHECK(message(good, w.types, {}) == "BattleScenes: at least one terrain expected");
  CHECK(message(good, {w.types[4]}, w.terrains) == "BattleScenes: units on land expected");
  std::vector<BattleType> types{w.types[0]};
  types[0].facings = 4;
  CHECK(message(good, types, w.terrains) ==
        "battle scenes: a picture for each colour and facing expected, type 0 has 2 colours, "
        "4 facings and 6 pictures");
  options = good;
  options.height = options.width = 64;
  options.most_units = 9;
  const BattleScenes crowded(w.types, w.terrains, options, 1);
  const std::string no_room = message_of([&] {
    BattleScene scene;
    for (std::uint64_t i = 0; i < 50; ++i) crowded.plan(i, scene);
  });
  CHECK(no_room.find("units after 64 layouts; a larger scene expected") != std::string::npos);

  CHECK(message_of([] {
          const BattleCanvas canvas({64, 100});
        }) == "BattleCanvas: multiples of 32 pixels up to 32768 expected, 64 x 100 came");
  BattleCanvas canvas = make_canvas();
  const std::vector<BattleObject> unknown{{7, 0, 0, 10, 10}};
  CHECK(message_of([&] { canvas.draw_over(w.types, unknown); }) ==
        "BattleCanvas: one of 7 types with a colour and a facing expected, type 7, 0, 0 came");
  const Pyramid<std::uint8_t> terrain(w.terrains[0].image, {1, 6});
  CHECK(message_of([&] {
          canvas.draw(terrain, {20, 0, false, false, false}, w.types, {}, true);
        }) == "BattleCanvas: a window inside the terrain of 768 x 640 expected, one at tile 20, 0 came");
}
