// SPDX-License-Identifier: MIT
/// \file
/// Battle scenes: how many mobile units stand on a large picture of a strategy game, in a few groups as armies do, among
/// buildings, trees and wrecks that are not to be counted. After the third experiment of Variational Saccading, whose
/// minimaps of StarCraft II were never published.
///
/// Everything comes as pictures in memory: terrains with what can stand where, and sprites by type, colour and facing. A scene
/// is a window of a terrain, mirrored and transposed at random, with objects drawn as such games draw them: by layer, within
/// a layer from back to front, so that a tree may hide part of a unit behind it (never most of it). The number of units is
/// uniform, and nothing but the units depends on it.
///
/// A scene is a pure function of (options, sprites, terrains, seed, number of the sample): any thread may make any at any
/// time. It is made with the lower resolutions of it at little more than the cost of copying them: those of the terrains are
/// computed once, and anew only where something was drawn.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/cluttered_digits.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/view.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace data {

/// Side in pixels of what the ground of a terrain is told for; windows and scenes are whole numbers of it.
inline constexpr Index kBattleTile = 32;

enum class BattleGround : std::uint8_t { blocked, land, water };
enum class BattleMedium : std::uint8_t { land, water, air };
enum class BattleKind : std::uint8_t {
  unit,      ///< can move: what is counted
  building,  ///< stands in bases and alone
  scenery,   ///< trees and rocks: in woods and alone
  wreck,     ///< what is left of units and buildings
};

/// One view of an object.
struct BattlePicture {
  Tensor<std::uint8_t, 3> pixels;  ///< height x width x {red, green, blue, opacity}, shadow included
  Index left = 0;                  ///< of the first column, from the object's centre
  Index top = 0;                   ///< of the first row, from the object's centre
  Box body;                        ///< what is seen of it without its shadow, from the object's centre
};

struct BattleType {
  BattleKind kind = BattleKind::unit;
  BattleMedium medium = BattleMedium::land;
  Index layer = 25;              ///< higher ones are drawn later
  Index base = kBattleTile / 2;  ///< from the centre down to where it stands: what is lower is drawn later
  double weight = 1;             ///< how often it is chosen, among others of its kind
  Index colours = 1;
  Index facings = 1;
  std::vector<BattlePicture> pictures;  ///< [colours][facings]
};

/// The image is height x width x 3 with dense rows, the ground has a value for each tile of it. Both stay the caller's.
struct BattleTerrain {
  ImageView<std::uint8_t> image;
  View<const BattleGround, 2> ground;
};

struct BattleObject {
  Index type = 0;
  Index colour = 0;  ///< modulo the type's colours
  Index facing = 0;  ///< modulo the type's facings
  Index x = 0;       ///< the centre, in pixels of the scene
  Index y = 0;
  friend constexpr bool operator==(const BattleObject&, const BattleObject&) = default;
};

/// Which part of a terrain: from tile (y, x) of it on, then transposed, then mirrored.
struct BattleWindow {
  Index y = 0;
  Index x = 0;
  bool transposed = false;
  bool upside_down = false;
  bool mirrored = false;
  friend constexpr bool operator==(const BattleWindow&, const BattleWindow&) = default;
};

struct BattleScene {
  int label = 0;  ///< the number of units
  Index terrain = 0;
  BattleWindow window;
  std::vector<BattleObject> objects;  ///< the units first, group by group
  std::vector<Box> units;             ///< the bodies of the units, wholly inside
  std::vector<Box> groups;            ///< around the bodies of each group
  friend bool operator==(const BattleScene&, const BattleScene&) = default;
};

struct BattleScenesOptions {
  Index height = 2048;    ///< in pixels, a multiple of kBattleTile
  Index width = 2048;     ///< in pixels, a multiple of kBattleTile
  Index most_units = 22;  ///< 0 to this many, uniformly
  Index most_groups = 4;  ///< 1 to this many, uniformly, but no more than there are units
  Index between = 96;     ///< pixels at least between the boxes of two groups
  Index bases = 2;        ///< at most, of 1 to 6 buildings
  Index woods = 5;        ///< at most, of 4 to 23 trees or the like
  Index wrecks = 2;       ///< at most, fields of 2 to 9
  Index single = 12;      ///< at most, of scenery standing alone; of buildings and wrecks a third of it
  double air = 0.08;      ///< part of the groups that fly
  double water = 0.4;     ///< part of the groups on water that are kept, where those on land all are
  double hidden = 0.3;    ///< of a unit's box at most this part is under what is drawn later
};

[[nodiscard]] inline Box moved(const Box& box, Index x, Index y) noexcept {
  return {box.x + x, box.y + y, box.width, box.height};
}

/// Pixels that two boxes share.
[[nodiscard]] inline Index overlap(const Box& a, const Box& b) noexcept {
  const Index w = std::min(a.x + a.width, b.x + b.width) - std::max(a.x, b.x);
  const Index h = std::min(a.y + a.height, b.y + b.height) - std::max(a.y, b.y);
  return w > 0 && h > 0 ? w * h : 0;
}

/// The smallest box with both inside.
[[nodiscard]] inline Box around(const Box& a, const Box& b) noexcept {
  const Index x = std::min(a.x, b.x);
  const Index y = std::min(a.y, b.y);
  return {x, y, std::max(a.x + a.width, b.x + b.width) - x, std::max(a.y + a.height, b.y + b.height) - y};
}

/// What shows an object, which must be of that type.
[[nodiscard]] inline const BattlePicture& picture_of(const BattleType& type, const BattleObject& object) noexcept {
  const Index at = object.colour % type.colours * type.facings + object.facing % type.facings;
  return type.pictures[static_cast<std::size_t>(at)];
}

namespace detail {

/// The part of a map of cells (of cells of `side` pixels) that a window of {height, width} pixels shows, as the window shows
/// it.
template <class T, std::size_t N>
View<T, N> battle_window(View<T, N> cells, Index side, const BattleWindow& window, Extents<2> extent) noexcept {
  T* data = cells.data() + window.y * kBattleTile / side * cells.stride(0) + window.x * kBattleTile / side * cells.stride(1);
  Extents<N> extents = cells.extents();
  Extents<N> strides = cells.strides();
  if (window.transposed) std::swap(strides[0], strides[1]);
  extents[0] = extent[0] / side;
  extents[1] = extent[1] / side;
  const std::array<bool, 2> turned{window.upside_down, window.mirrored};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    if (!turned[axis]) continue;
    data += (extents[axis] - 1) * strides[axis];
    strides[axis] = -strides[axis];
  }
  return View<T, N>(data, extents, strides);
}

/// Copies RGB pixels that may lie in any order to dense rows.
inline void copy_pixels(View<const std::uint8_t, 3> from, View<std::uint8_t, 3> to) noexcept {
  const Index step = from.stride(1);
  if (step == 3) {
    for (Index y = 0; y < to.extent(0); ++y) {
      std::memcpy(&to(y, 0, 0), &from(y, 0, 0), static_cast<std::size_t>(3 * to.extent(1)));
    }
    return;
  }
  constexpr Index block = 64;  // both sides of a transposed block stay in the cache
  for (Index first = 0; first < to.extent(0); first += block) {
    for (Index left = 0; left < to.extent(1); left += block) {
      const Index columns = std::min(block, to.extent(1) - left);
      for (Index y = first; y < std::min(first + block, to.extent(0)); ++y) {
        const std::uint8_t* p = from.data() + y * from.stride(0) + left * step;
        std::uint8_t* q = to.data() + y * to.stride(0) + left * 3;
        for (Index x = 0; x < columns; ++x, p += step, q += 3) {
          q[0] = p[0];
          q[1] = p[1];
          q[2] = p[2];
        }
      }
    }
  }
}

/// Whether `a` is drawn before `b`.
inline bool behind(std::span<const BattleType> types, const BattleObject& a, const BattleObject& b) noexcept {
  const auto key = [types](const BattleObject& o) {
    const BattleType& type = types[static_cast<std::size_t>(o.type)];
    return std::tuple(type.layer, o.y + type.base, o.x);
  };
  return key(a) < key(b);
}

/// Throws Error on types whose pictures do not fit what they say.
inline void check_types(std::span<const BattleType> types) {
  for (std::size_t t = 0; t < types.size(); ++t) {
    const BattleType& type = types[t];
    require(type.colours >= 1 && type.facings >= 1 && static_cast<Index>(type.pictures.size()) == type.colours * type.facings,
            "battle scenes: a picture for each colour and facing expected, type ", t, " has ", type.colours, " colours, ",
            type.facings, " facings and ", type.pictures.size(), " pictures");
    require(std::isfinite(type.weight) && type.weight >= 0, "battle scenes: a weight of at least 0 expected, type ", t, " has ",
            type.weight);
    for (const BattlePicture& p : type.pictures) {
      constexpr Index most = 4096;
      const auto near = [](Index at) { return at >= -most && at <= most; };
      require(p.pixels.extent(0) >= 1 && p.pixels.extent(0) <= most && p.pixels.extent(1) >= 1 && p.pixels.extent(1) <= most &&
                  p.pixels.extent(2) == 4,
              "battle scenes: pictures of 1 to ", most, " pixels a side with 4 channels expected, type ", t, " has one of ",
              p.pixels.extent(0), " x ", p.pixels.extent(1), " x ", p.pixels.extent(2));
      require(near(p.left) && near(p.top) && near(p.body.x) && near(p.body.y) && p.body.width >= 1 && p.body.width <= most &&
                  p.body.height >= 1 && p.body.height <= most,
              "battle scenes: a picture and a body near the object's centre expected, type ", t, " has others");
    }
  }
}

}  // namespace detail

/// The memory of one scene with its lower resolutions, and how it is drawn. Filled again and again it allocates nothing.
class BattleCanvas {
 public:
  /// `extent`: {height, width} in pixels, multiples of kBattleTile.
  explicit BattleCanvas(Extents<2> extent) : extent_(extent) {
    constexpr Index smallest = 16;
    require(extent[0] >= kBattleTile && extent[1] >= kBattleTile && extent[0] % kBattleTile == 0 &&
                extent[1] % kBattleTile == 0 && extent[0] <= (1 << 15) && extent[1] <= (1 << 15),
            "BattleCanvas: multiples of ", kBattleTile, " pixels up to ", 1 << 15, " expected, ", extent[0], " x ", extent[1],
            " came");
    for (Extents<2> e = extent;
         level_.size() <= kTileLevel || std::max(level_.back().extent(0), level_.back().extent(1)) > smallest;
         e = {(e[0] + 1) / 2, (e[1] + 1) / 2}) {
      level_.emplace_back(Extents<3>{e[0], e[1], 3});
    }
    drawn_.resize(static_cast<std::size_t>(product(extent) / (kBattleTile * kBattleTile)));
  }

  [[nodiscard]] Extents<2> extent() const noexcept { return extent_; }

  /// Draws `objects` on a window of a terrain, of which `terrain` has the levels down to one pixel a tile. With `whole` the
  /// image's finest level is the scene itself; without it is half as fine, and the scene is drawn only as far as that needs.
  void draw(const PyramidView<std::uint8_t>& terrain, const BattleWindow& window, std::span<const BattleType> types,
            std::span<const BattleObject> objects, bool whole) {
    require(terrain.levels() > kTileLevel && terrain.channels() == 3,
            "BattleCanvas: a terrain of 3 channels with levels down to a tile expected");
    const Extents<2> seen = window.transposed ? Extents<2>{extent_[1], extent_[0]} : extent_;
    require(window.y >= 0 && window.x >= 0 && window.y * kBattleTile + seen[0] <= terrain.extent()[0] &&
                window.x * kBattleTile + seen[1] <= terrain.extent()[1],
            "BattleCanvas: a window inside the terrain of ", terrain.extent()[0], " x ", terrain.extent()[1],
            " expected, one at tile ", window.y, ", ", window.x, " came");
    sort(types, objects);
    for (int k = whole ? 0 : 1; k <= kTileLevel; ++k) {
      detail::copy_pixels(detail::battle_window(terrain.level(k), Index{1} << k, window, extent_), level(k));
    }
    mark();
    if (!whole) {
      const View<const std::uint8_t, 3> fine = detail::battle_window(terrain.level(0), 1, window, extent_);
      for_each_run([&](Index row, Index first, Index count) {
        detail::copy_pixels(part(fine, row, first, count), part(level(0), row, first, count));
      });
    }
    finish(whole);
  }

  /// The finest level, for a background of the caller's own; then draw_over() it.
  [[nodiscard]] View<std::uint8_t, 3> pixels() noexcept { return level(0); }
  /// Draws `objects` over what is in pixels(), and makes all lower resolutions.
  void draw_over(std::span<const BattleType> types, std::span<const BattleObject> objects) {
    sort(types, objects);
    std::fill(drawn_.begin(), drawn_.end(), std::uint8_t{1});
    finish(true);
  }

  /// What was drawn last, valid as long as the canvas. Levels have a pixel for 2^k x 2^k pixels of the scene, like those of a
  /// Pyramid, and are equal to them down to a pixel for 32 x 32, below within 1 (those average rounded pixels).
  [[nodiscard]] const PyramidView<std::uint8_t>& image() const noexcept { return image_; }

 private:
  static constexpr int kTileLevel = 5;
  static_assert(Index{1} << kTileLevel == kBattleTile);

  struct Drawn {
    BattleObject object;
    const BattlePicture* picture;
  };

  [[nodiscard]] View<std::uint8_t, 3> level(int k) noexcept { return level_[static_cast<std::size_t>(k)].view(); }

  /// `count` tiles of the finest level.
  template <class T>
  [[nodiscard]] static View<T, 3> part(View<T, 3> fine, Index row, Index first, Index count) noexcept {
    return View<T, 3>(fine.data() + row * kBattleTile * fine.stride(0) + first * kBattleTile * fine.stride(1),
                      {kBattleTile, count * kBattleTile, 3}, fine.strides());
  }

  void sort(std::span<const BattleType> types, std::span<const BattleObject> objects) {
    order_.clear();
    for (const BattleObject& object : objects) {
      require(object.type >= 0 && object.type < static_cast<Index>(types.size()) && object.colour >= 0 && object.facing >= 0,
              "BattleCanvas: one of ", types.size(), " types with a colour and a facing expected, type ", object.type, ", ",
              object.colour, ", ", object.facing, " came");
      order_.push_back({object, &picture_of(types[static_cast<std::size_t>(object.type)], object)});
    }
    std::stable_sort(order_.begin(), order_.end(),
                     [types](const Drawn& a, const Drawn& b) { return detail::behind(types, a.object, b.object); });
  }

  /// The part of a picture that lies on the canvas.
  [[nodiscard]] Box clip(const Drawn& drawn) const noexcept {
    const BattlePicture& p = *drawn.picture;
    const Index x = drawn.object.x + p.left;
    const Index y = drawn.object.y + p.top;
    const Index left = std::clamp<Index>(x, 0, extent_[1]);
    const Index top = std::clamp<Index>(y, 0, extent_[0]);
    return {left, top, std::clamp<Index>(x + p.pixels.extent(1), 0, extent_[1]) - left,
            std::clamp<Index>(y + p.pixels.extent(0), 0, extent_[0]) - top};
  }

  /// Which tiles will be drawn on.
  void mark() noexcept {
    std::fill(drawn_.begin(), drawn_.end(), std::uint8_t{0});
    const Index columns = extent_[1] / kBattleTile;
    for (const Drawn& drawn : order_) {
      const Box box = clip(drawn);
      if (box.width == 0 || box.height == 0) continue;
      const Index first = box.x / kBattleTile;
      const Index count = (box.x + box.width - 1) / kBattleTile - first + 1;
      for (Index row = box.y / kBattleTile; row <= (box.y + box.height - 1) / kBattleTile; ++row) {
        std::fill_n(drawn_.begin() + row * columns + first, count, std::uint8_t{1});
      }
    }
  }

  /// Calls `body(row, first, count)` for tiles in a row that are drawn on.
  template <class Body>
  void for_each_run(Body&& body) const {
    const Index columns = extent_[1] / kBattleTile;
    for (Index row = 0; row < extent_[0] / kBattleTile; ++row) {
      const std::uint8_t* marks = drawn_.data() + row * columns;
      for (Index x = 0; x < columns;) {
        if (marks[x] == 0) {
          ++x;
          continue;
        }
        const Index first = x;
        while (x < columns && marks[x] != 0) ++x;
        body(row, first, x - first);
      }
    }
  }

  void put(const Drawn& drawn) noexcept {
    const Box box = clip(drawn);
    const BattlePicture& p = *drawn.picture;
    const View<const std::uint8_t, 3> pixels = p.pixels.view();
    const View<std::uint8_t, 3> to = level(0);
    for (Index y = box.y; y < box.y + box.height; ++y) {
      const std::uint8_t* from = pixels.data() + (y - drawn.object.y - p.top) * pixels.stride(0) +
                                 (box.x - drawn.object.x - p.left) * pixels.stride(1);
      std::uint8_t* out = to.data() + y * to.stride(0) + box.x * 3;
      for (Index x = 0; x < box.width; ++x, from += 4, out += 3) {
        const unsigned opacity = from[3];
        if (opacity == 0) continue;
        for (Index c = 0; c < 3; ++c) {
          out[c] =
              opacity == 255 ? from[c] : static_cast<std::uint8_t>((from[c] * opacity + out[c] * (255 - opacity) + 127) / 255);
        }
      }
    }
  }

  void finish(bool whole) {
    for (const Drawn& drawn : order_) put(drawn);
    for_each_run([this](Index row, Index first, Index count) {
      const View<const std::uint8_t, 3> fine = part(level(0), row, first, count);
      builder_.start({kBattleTile, count * kBattleTile}, 3, kTileLevel + 1);
      for (Index y = 0; y < kBattleTile; y += 2) {
        builder_.add_rows(fine.data() + y * fine.stride(0), fine.data() + (y + 1) * fine.stride(0), [&](int k, Index at) {
          const View<std::uint8_t, 3> to = level(k);
          return to.data() + (row * (kBattleTile >> k) + at) * to.stride(0) + first * (kBattleTile >> k) * 3;
        });
      }
    });
    const View<const std::uint8_t, 3> tiles = level(kTileLevel);
    const int below = static_cast<int>(level_.size()) - kTileLevel;
    builder_.start({tiles.extent(0), tiles.extent(1)}, 3, below);
    for (Index y = 0; y < tiles.extent(0); y += 2) {
      builder_.add_rows(tiles.data() + y * tiles.stride(0),
                        y + 1 < tiles.extent(0) ? tiles.data() + (y + 1) * tiles.stride(0) : nullptr, [&](int k, Index at) {
                          const View<std::uint8_t, 3> to = level(kTileLevel + k);
                          return to.data() + at * to.stride(0);
                        });
    }
    image_ = PyramidView<std::uint8_t>(extent_, 3);
    for (int k = whole ? 0 : 1; k < static_cast<int>(level_.size()); ++k) {
      const auto ratio = static_cast<double>(Index{1} << k);
      image_.push_back(level(k), {ratio, ratio});
    }
  }

  Extents<2> extent_;
  std::vector<Tensor<std::uint8_t, 3>> level_;
  std::vector<std::uint8_t> drawn_;  ///< for each tile
  std::vector<Drawn> order_;
  PyramidBuilder<std::uint8_t> builder_;
  PyramidView<std::uint8_t> image_;
};

/// The generator. Immutable: any number of threads may use it at once. The types and the terrains' pictures must outlive it.
class BattleScenes {
 public:
  /// Throws Error where a terrain is smaller than the scenes, or the types contradict themselves or lack land units.
  BattleScenes(std::span<const BattleType> types, std::span<const BattleTerrain> terrains, const BattleScenesOptions& options,
               std::uint64_t seed)
      : types_(types), options_(options), seed_(seed) {
    const auto& o = options_;
    require(o.height >= kBattleTile && o.width >= kBattleTile && o.height % kBattleTile == 0 && o.width % kBattleTile == 0,
            "BattleScenes: multiples of ", kBattleTile, " pixels expected, ", o.height, " x ", o.width, " came");
    require(o.most_units >= 0 && o.most_units <= 1000 && o.most_groups >= 1 && o.most_groups <= 100,
            "BattleScenes: 0 to 1000 units in 1 to 100 groups expected, ", o.most_units, " in ", o.most_groups, " came");
    const auto part = [](double x) { return x >= 0 && x <= 1; };
    const auto few = [](Index n) { return n >= 0 && n <= 1000; };
    require(few(o.between) && few(o.bases) && few(o.woods) && few(o.wrecks) && few(o.single) && part(o.hidden) && part(o.air) &&
                part(o.water),
            "BattleScenes: 0 to 1000 of each kind, and parts of 0 to 1 expected");
    detail::check_types(types);
    require(!terrains.empty(), "BattleScenes: at least one terrain expected");
    for (const BattleTerrain& terrain : terrains) {
      const Extents<3>& e = terrain.image.extents();
      require(e[0] >= o.height && e[1] >= o.width && e[2] == 3, "BattleScenes: terrains of at least ", o.height, " x ", o.width,
              " x 3 expected, one of ", e[0], " x ", e[1], " x ", e[2], " came");
      require(e[0] % kBattleTile == 0 && e[1] % kBattleTile == 0 && terrain.image.stride(2) == 1 &&
                  terrain.image.stride(1) == 3 &&
                  terrain.ground.extents() == Extents<2>{e[0] / kBattleTile, e[1] / kBattleTile},
              "BattleScenes: terrains of whole tiles with dense rows and the ground of each tile expected, one of ", e[0],
              " x ", e[1], " came with ", terrain.ground.extent(0), " x ", terrain.ground.extent(1), " tiles");
      terrains_.emplace_back(terrain.image, PyramidOptions{1, 6});
      ground_.push_back(terrain.ground);
    }
    for (std::size_t t = 0; t < types.size(); ++t) {
      const BattleType& type = types[t];
      const auto medium = type.kind == BattleKind::unit ? type.medium : BattleMedium::land;
      of_kind_[static_cast<std::size_t>(type.kind)][static_cast<std::size_t>(medium)].add(static_cast<Index>(t), type.weight);
      Index size = 0;
      for (const BattlePicture& p : type.pictures) size = std::max({size, p.body.width, p.body.height});
      size_.push_back(static_cast<double>(size));
    }
    require(o.most_units == 0 || !units(BattleMedium::land).empty(), "BattleScenes: units on land expected");
  }

  [[nodiscard]] const BattleScenesOptions& options() const noexcept { return options_; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
  /// 0 to most_units.
  [[nodiscard]] int classes() const noexcept { return static_cast<int>(options_.most_units) + 1; }

  /// What is where in scene number `sample` of the endless sequence. Throws Error where the groups find no room.
  void plan(std::uint64_t sample, BattleScene& scene) const {
    constexpr int layouts = 64;
    Stream stream(seed_, kUnits, sample, Purpose::generate);
    const auto& o = options_;
    scene.terrain = below(stream, static_cast<Index>(terrains_.size()));
    const Extents<2> extent = terrains_[static_cast<std::size_t>(scene.terrain)].extent();
    scene.window.transposed = stream.below(2) == 1 && extent[0] >= o.width && extent[1] >= o.height;
    scene.window.upside_down = stream.below(2) == 1;
    scene.window.mirrored = stream.below(2) == 1;
    scene.window.y = below(stream, (extent[0] - (scene.window.transposed ? o.width : o.height)) / kBattleTile + 1);
    scene.window.x = below(stream, (extent[1] - (scene.window.transposed ? o.height : o.width)) / kBattleTile + 1);
    scene.label = static_cast<int>(below(stream, o.most_units + 1));
    const View<const BattleGround, 2> ground =
        detail::battle_window(ground_[static_cast<std::size_t>(scene.terrain)], kBattleTile, scene.window, {o.height, o.width});
    int tries = 0;
    while (!place_units(stream, ground, scene)) {
      require(++tries < layouts, "BattleScenes: scene ", sample, ": no room for ", scene.label, " units after ", layouts,
              " layouts; a larger scene expected");
    }
    // Of its own, lest the number of units be felt in it.
    Stream others(seed_, kOthers, sample, Purpose::generate);
    place_others(others, ground, scene);
  }

  /// The same, drawn. `canvas` must be of the options' size; see BattleCanvas::draw() for `whole`.
  void generate(std::uint64_t sample, BattleScene& scene, BattleCanvas& canvas, bool whole) const {
    require(canvas.extent() == Extents<2>{options_.height, options_.width}, "BattleScenes: a canvas of ", options_.height,
            " x ", options_.width, " expected, one of ", canvas.extent()[0], " x ", canvas.extent()[1], " came");
    plan(sample, scene);
    canvas.draw(terrains_[static_cast<std::size_t>(scene.terrain)], scene.window, types_, scene.objects, whole);
  }

 private:
  enum Draws : std::uint64_t { kUnits, kOthers };
  using Ground = View<const BattleGround, 2>;

  /// Types to draw from, by their weights.
  struct Choice {
    std::vector<Index> types;
    std::vector<double> until;  ///< sums of weights
    void add(Index type, double weight) {
      if (weight == 0) return;
      types.push_back(type);
      until.push_back(weight + (until.empty() ? 0.0 : until.back()));
    }
    [[nodiscard]] bool empty() const noexcept { return types.empty(); }
    [[nodiscard]] Index draw(Stream& stream) const noexcept {
      const double at = stream.uniform<double>() * until.back();
      const auto found = std::upper_bound(until.begin(), until.end() - 1, at);
      return types[static_cast<std::size_t>(found - until.begin())];
    }
  };

  [[nodiscard]] static Index below(Stream& stream, Index n) noexcept {
    return static_cast<Index>(stream.below(static_cast<std::uint32_t>(n)));
  }
  [[nodiscard]] const Choice& units(BattleMedium medium) const noexcept {
    return of_kind_[static_cast<std::size_t>(BattleKind::unit)][static_cast<std::size_t>(medium)];
  }
  [[nodiscard]] const Choice& of(BattleKind kind) const noexcept { return of_kind_[static_cast<std::size_t>(kind)][0]; }
  [[nodiscard]] const BattleType& type(const BattleObject& object) const noexcept {
    return types_[static_cast<std::size_t>(object.type)];
  }
  [[nodiscard]] Box body(const BattleObject& object) const noexcept {
    return moved(picture_of(type(object), object).body, object.x, object.y);
  }
  [[nodiscard]] static BattleGround ground_at(const Ground& ground, Index x, Index y) noexcept {
    const auto tile = [](Index at, Index tiles) { return std::clamp<Index>(at / kBattleTile, 0, tiles - 1); };
    return ground(tile(y, ground.extent(0)), tile(x, ground.extent(1)));
  }
  [[nodiscard]] bool inside(const Box& box) const noexcept {
    return box.x >= 0 && box.y >= 0 && box.x + box.width <= options_.width && box.y + box.height <= options_.height;
  }

  [[nodiscard]] bool place_units(Stream& stream, const Ground& ground, BattleScene& scene) const {
    constexpr int tries = 400;
    scene.objects.clear();
    scene.units.clear();
    scene.groups.clear();
    Index left = scene.label;
    const Index groups = std::min<Index>(left, 1 + below(stream, options_.most_groups));
    for (Index g = 0; g < groups; ++g) {
      // Uniform in what leaves one for each later group; so earlier groups are the larger ones.
      const Index size = g + 1 == groups ? left : 1 + below(stream, left - (groups - 1 - g));
      left -= size;
      bool placed = false;
      for (int i = 0; i < tries && !placed; ++i) placed = place_group(stream, ground, size, i < tries / 2, scene);
      if (!placed) return false;
    }
    return true;
  }

  /// Tries once to place a group of `count`, in ranks and files around a random place, each unit a little off; with `strict` on
  /// ground that is theirs, leaving out places that are not.
  [[nodiscard]] bool place_group(Stream& stream, const Ground& ground, Index count, bool strict, BattleScene& scene) const {
    const Index x = below(stream, options_.width);
    const Index y = below(stream, options_.height);
    BattleMedium medium = BattleMedium::land;
    if (stream.uniform<double>() < options_.air && !units(BattleMedium::air).empty()) {
      medium = BattleMedium::air;
    } else if (ground_at(ground, x, y) == BattleGround::water && !units(BattleMedium::water).empty()) {
      medium = BattleMedium::water;
      if (strict && stream.uniform<double>() >= options_.water) return false;
    } else if (strict && ground_at(ground, x, y) != BattleGround::land) {
      return false;
    }

    std::array<Index, 3> mixed{};
    const auto kinds = static_cast<std::size_t>(1 + below(stream, 3));
    double largest = 0;
    double mean = 0;
    for (std::size_t i = 0; i < kinds; ++i) {
      mixed[i] = units(medium).draw(stream);
      const double size = size_[static_cast<std::size_t>(mixed[i])];
      largest = std::max(largest, size);
      mean += size / static_cast<double>(kinds);
    }
    const Index colour = below(stream, 256);
    const Index facing = below(stream, 256);
    const bool by_rank = stream.below(2) == 1;  // each rank of one type, or all mixed
    const double spacing = (largest + mean) / 2 * stream.uniform(1.0, 1.8);
    const double angle = stream.uniform(0.0, 2 * std::numbers::pi);
    const auto n = static_cast<double>(count);
    const double aspect = std::exp(stream.uniform(std::log(0.5), std::log(3.0)));
    const Index files = std::clamp<Index>(std::lround(std::sqrt(n * aspect)), 1, count);
    const double middle = (static_cast<double>((count + files - 1) / files) - 1) / 2;

    const std::size_t before = scene.units.size();
    const auto discard = [&] {
      scene.units.resize(before);
      scene.objects.resize(before);
      return false;
    };
    Box whole{};
    Index placed = 0;
    for (Index place = 0; place < 2 * count + 4 && placed < count; ++place) {
      const Index rank = place / files;
      const Index in_rank = std::min(files, std::max<Index>(1, count - rank * files));
      const double across = static_cast<double>(place % files) - (static_cast<double>(in_rank) - 1) / 2;
      const double along = static_cast<double>(rank) - middle;
      const std::size_t which =
          by_rank ? static_cast<std::size_t>(rank) % kinds : static_cast<std::size_t>(below(stream, static_cast<Index>(kinds)));
      for (int i = 0; i < 6; ++i) {
        const double u = across + stream.uniform(-0.2, 0.2);
        const double v = along + stream.uniform(-0.2, 0.2);
        BattleObject unit{mixed[which], colour, facing, 0, 0};
        unit.x = x + std::lround(spacing * (u * std::cos(angle) - v * std::sin(angle)));
        unit.y = y + std::lround(spacing * (u * std::sin(angle) + v * std::cos(angle)));
        if (stream.below(4) == 0) unit.facing += stream.below(2) == 0 ? 1 : type(unit).facings - 1;
        const Box box = body(unit);
        if (!inside(box)) continue;
        const BattleGround under = ground_at(ground, unit.x, unit.y);
        if (strict && medium == BattleMedium::land && under != BattleGround::land) continue;
        if (strict && medium == BattleMedium::water && under != BattleGround::water) continue;
        if (std::any_of(scene.units.begin() + static_cast<std::ptrdiff_t>(before), scene.units.end(),
                        [&](const Box& other) { return overlap(box, other) > 0; })) {
          continue;
        }
        whole = placed == 0 ? box : around(whole, box);
        ++placed;
        scene.objects.push_back(unit);
        scene.units.push_back(box);
        break;
      }
    }
    if (placed < count) return discard();
    const Index gap = options_.between;
    const Box wide{whole.x - gap, whole.y - gap, whole.width + 2 * gap, whole.height + 2 * gap};
    for (const Box& other : scene.groups) {
      if (overlap(wide, other) > 0) return discard();
    }
    scene.groups.push_back(whole);
    return true;
  }

  void place_others(Stream& stream, const Ground& ground, BattleScene& scene) const {
    std::vector<double> hidden(scene.units.size());  // pixels of each unit's box
    std::vector<Box> buildings;
    const auto add = [&](BattleObject object) {
      if (ground_at(ground, object.x, object.y) != BattleGround::land) return false;
      const BattleKind kind = type(object).kind;
      const Box box = body(object);
      const bool built =
          std::any_of(buildings.begin(), buildings.end(), [&](const Box& building) { return overlap(box, building) > 0; });
      if (kind == BattleKind::building && built) return false;
      if (kind != BattleKind::wreck) {
        for (const bool check : {true, false}) {
          for (std::size_t u = 0; u < scene.units.size(); ++u) {
            const Box& unit = scene.units[u];
            const auto shared = static_cast<double>(overlap(box, unit));
            if (shared == 0) continue;
            if (kind == BattleKind::building) return false;
            if (detail::behind(types_, object, scene.objects[u])) continue;
            const double most = options_.hidden * static_cast<double>(unit.width * unit.height);
            if (check && hidden[u] + shared > most) return false;
            if (!check) hidden[u] += shared;
          }
        }
      }
      if (kind == BattleKind::building) buildings.push_back(box);
      scene.objects.push_back(object);
      return true;
    };
    // Buildings and scenery stand on whole tiles.
    const auto to_tile = [](double at) {
      return static_cast<Index>(std::floor(at / kBattleTile)) * kBattleTile + kBattleTile / 2;
    };
    const auto somewhere = [&](Index type) {
      const double x = stream.uniform(0.0, static_cast<double>(options_.width));
      const double y = stream.uniform(0.0, static_cast<double>(options_.height));
      return BattleObject{type, below(stream, 256), below(stream, 256), to_tile(x), to_tile(y)};
    };
    const auto near = [&](const BattleObject& middle, Index type, double spread) {
      BattleObject object = middle;
      object.type = type;
      object.x = to_tile(static_cast<double>(middle.x) + spread * stream.normal<double>());
      object.y = to_tile(static_cast<double>(middle.y) + spread * stream.normal<double>());
      return object;
    };

    if (const Choice& choice = of(BattleKind::building); !choice.empty()) {
      const Index bases = below(stream, options_.bases + 1);
      for (Index b = 0; b < bases; ++b) {
        const BattleObject middle = somewhere(0);
        const Index count = 1 + below(stream, 6);
        for (Index i = 0; i < count; ++i) {
          bool placed = false;
          for (int tries = 0; tries < 8 && !placed; ++tries) {
            placed = add(near(middle, choice.draw(stream), 100.0 + 25.0 * static_cast<double>(tries)));
          }
        }
      }
      const Index single = below(stream, options_.single / 3 + 1);
      for (Index i = 0; i < single; ++i) add(somewhere(choice.draw(stream)));
    }
    if (const Choice& choice = of(BattleKind::scenery); !choice.empty()) {
      const Index woods = below(stream, options_.woods + 1);
      for (Index w = 0; w < woods; ++w) {
        const BattleObject middle = somewhere(0);
        const Index usual = choice.draw(stream);
        const Index count = 4 + below(stream, 20);
        const double spread = stream.uniform(50.0, 200.0);
        for (Index i = 0; i < count; ++i) {
          const Index tree = stream.below(4) > 0 ? usual : choice.draw(stream);
          const BattleObject object = near(middle, tree, spread);
          const bool taken = std::any_of(scene.objects.begin(), scene.objects.end(),
                                         [&](const BattleObject& other) { return other.x == object.x && other.y == object.y; });
          if (!taken) add(object);
        }
      }
      const Index single = below(stream, options_.single + 1);
      for (Index i = 0; i < single; ++i) add(somewhere(choice.draw(stream)));
    }
    if (const Choice& choice = of(BattleKind::wreck); !choice.empty()) {
      const Index fields = below(stream, options_.wrecks + 1);
      for (Index f = 0; f < fields; ++f) {
        const BattleObject middle = somewhere(0);
        const Index count = 2 + below(stream, 8);
        for (Index i = 0; i < count; ++i) {
          BattleObject wreck = near(middle, choice.draw(stream), 110.0);
          wreck.facing = below(stream, 256);
          wreck.x += below(stream, kBattleTile);
          wreck.y += below(stream, kBattleTile);
          add(wreck);
        }
      }
      const Index single = below(stream, options_.single / 3 + 1);
      for (Index i = 0; i < single; ++i) add(somewhere(choice.draw(stream)));
    }
  }

  std::span<const BattleType> types_;
  BattleScenesOptions options_;
  std::uint64_t seed_;
  std::vector<Pyramid<std::uint8_t>> terrains_;
  std::vector<Ground> ground_;
  std::array<std::array<Choice, 3>, 4> of_kind_;  ///< [kind][medium]
  std::vector<double> size_;                      ///< the longest side of any body of a type
};

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
