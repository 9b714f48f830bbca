// SPDX-License-Identifier: MIT
#include "sprites.hpp"

#include "script.hpp"
#include <fovea/core/error.hpp>

#include <png.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace experiments::counting {
namespace {

namespace fs = std::filesystem;
namespace data = fovea::data;
using fovea::Index;
using Rgb = std::array<std::uint8_t, 3>;

/// The palette entries that take the colours of a player, and what these are.
struct PlayerColours {
  Index first = 0;
  std::vector<std::vector<Rgb>> of;  ///< [player][entry]
};

PlayerColours read_colours(const fs::path& path) {
  const Script script(path);
  const auto index = script.calls("DefinePlayerColorIndex");
  const auto colours = script.calls("DefinePlayerColors");
  if (index.empty() || colours.empty()) script.fail_at(0, "DefinePlayerColorIndex and DefinePlayerColors expected");
  PlayerColours result;
  Cursor at(script, index.front());
  result.first = at.need(at.number(), "a number");
  at.accept(",");
  const Index count = at.need(at.number(), "a number");
  if (result.first < 0 || count < 1 || result.first + count > 256) at.fail("entries of a palette of 256 expected");
  Cursor list(script, colours.front());
  if (!list.accept("{")) list.fail("a list expected");
  while (list.string()) {
    list.accept(",");
    if (!list.accept("{")) list.fail("a list of colours expected");
    std::vector<Rgb> entries;
    for (Index i = 0; i < count; ++i) {
      const std::vector<Index> colour = list.need(list.numbers(3), "{red, green, blue}");
      Rgb rgb{};
      for (std::size_t c = 0; c < 3; ++c) {
        if (colour[c] < 0 || colour[c] > 255) list.fail("colours of 0 to 255 expected");
        rgb[c] = static_cast<std::uint8_t>(colour[c]);
      }
      entries.push_back(rgb);
      list.accept(",");
    }
    list.accept("}");
    list.accept(",");
    result.of.push_back(std::move(entries));
  }
  if (static_cast<Index>(result.of.size()) != kNeutralColour + 1) list.fail("the colours of 8 players and of nobody expected");
  return result;
}

/// Frames of one size in a picture.
struct Sheet {
  std::shared_ptr<const Png> png;
  Index width = 0;
  Index height = 0;
  Index right = 0;  ///< how far to the right of the object's centre that of a frame lies
  Index down = 0;

  [[nodiscard]] Index columns() const { return png->rgba.extent(1) / width; }
  [[nodiscard]] Index rows() const { return png->rgba.extent(0) / height; }
};

/// One frame: column and row on the sheet, perhaps mirrored.
struct Frame {
  Index column = 0;
  Index row = 0;
  bool mirrored = false;
};

class Reader {
 public:
  explicit Reader(fs::path root) : root_(std::move(root)), colours_(read_colours(root_ / "scripts" / "boswars.lua")) {}

  Sprites read() {
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root_ / "units")) {
      if (entry.is_regular_file() && entry.path().extension() == ".lua") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) read_script(Script(file));
    return std::move(sprites_);
  }

 private:
  std::shared_ptr<const Png> png(const fs::path& path) {
    std::shared_ptr<const Png>& known = pictures_[path];
    if (!known) known = std::make_shared<const Png>(read_png(path));
    return known;
  }

  /// {"file", name, "size", {w, h} [, "offset", {x, y}]}, all moved by `offset`.
  Sheet read_sheet(Cursor at, const std::vector<Index>& offset) {
    if (!at.accept("{") || at.string() != "file" || !at.accept(",")) at.fail("{\"file\", ... expected");
    Sheet sheet;
    sheet.png = png(at.need(at.file(root_), "a file"));
    if (!at.accept(",") || at.string() != "size" || !at.accept(",")) at.fail("\"size\", ... expected");
    const std::vector<Index> size = at.need(at.numbers(2), "{width, height}");
    sheet.width = size[0];
    sheet.height = size[1];
    sheet.right = offset[0];
    sheet.down = offset[1];
    at.accept(",");
    if (at.string() == "offset" && at.accept(",")) {
      const std::vector<Index> shadow = at.need(at.numbers(2), "{x, y}");
      sheet.right += shadow[0];
      sheet.down += shadow[1];
    }
    return checked(at, std::move(sheet));
  }

  static Sheet checked(const Cursor& at, Sheet sheet) {
    const auto& picture = sheet.png->rgba.extents();
    if (sheet.width < 1 || sheet.width > picture[1] || sheet.height < 1 || sheet.height > picture[0]) {
      at.fail("frames no larger than their picture expected");
    }
    if (std::max(std::abs(sheet.right), std::abs(sheet.down)) > 1024) at.fail("offsets of at most 1024 pixels expected");
    return sheet;
  }

  /// Numbers n of "frame n" in the list `key` of the animations `name`, in the order they first occur.
  static std::vector<Index> frames(const Script& script, const std::string& name, const char* key) {
    std::vector<Index> found;
    for (const std::size_t call : script.calls("DefineAnimations")) {
      Cursor at(script, call);
      if (at.string() != name) continue;
      at.accept(",");
      Cursor inside(script, at.position(), at.closing_brace());
      if (!inside.seek(key)) continue;
      const std::size_t end = inside.closing_brace();
      const std::string_view text = script.text().substr(0, end);
      constexpr std::string_view word = "\"frame ";
      for (std::size_t i = text.find(word, inside.position()); i != std::string_view::npos; i = text.find(word, i + 1)) {
        const std::size_t digits = text.find_first_not_of(' ', i + word.size());
        Index frame = -1;
        if (digits != std::string_view::npos) std::from_chars(text.data() + digits, text.data() + end, frame);
        if (frame < 0 || frame > 65535) script.fail_at(i, "\"frame n\" expected");
        if (std::find(found.begin(), found.end(), frame) == found.end()) found.push_back(frame);
      }
    }
    return found;
  }

  void read_script(const Script& script) {
    for (const std::size_t call : script.calls("DefineUnitType")) {
      Cursor at(script, call);
      const std::optional<std::string> name = at.string();
      if (!name || !at.accept(",")) continue;  // a name put together by a program
      const std::size_t begin = at.position();
      read_type(script, *name, Cursor(script, begin, at.closing_brace()));
    }
    for (const std::size_t call : script.calls("DefinePlantType")) {
      Cursor at(script, call);
      const std::optional<std::string> name = at.string();
      if (!name) continue;  // where the function itself is defined
      at.accept(",");
      at.need(at.string(), "a name");
      at.accept(",");
      const std::vector<Index> size = at.need(at.numbers(2), "{width, height}");
      at.accept(",");
      const std::vector<Index> tiles = at.need(at.numbers(2), "{width, height}");
      at.accept(",");
      const std::vector<Index> offset = at.need(at.numbers(2), "{x, y}");
      const auto sheet = [&](const char* ending) {
        return checked(at, {png(script.path().parent_path() / (*name + ending)), size[0], size[1], offset[0], offset[1]});
      };
      data::BattleType type;
      type.kind = data::BattleKind::scenery;
      add(at, "unit-" + *name, std::move(type), tiles, sheet(".png"), sheet("_shadow.png"), {Frame{}});
    }
    for (const std::size_t call : script.calls("DefineHumanCorpse")) {
      Cursor at(script, call);
      const std::string name = at.need(at.string(), "a name");
      at.accept(",");
      const std::vector<Index> size = at.numbers(2).value_or(std::vector<Index>{64, 64});
      const Sheet body = checked(at, {png(script.path().parent_path() / ("unit_" + name + "_c.png")), size[0], size[1], 0, 0});
      data::BattleType type;
      type.kind = data::BattleKind::wreck;
      type.layer = 10;
      std::vector<Index> rows(static_cast<std::size_t>(body.rows()));
      for (Index row = 0; row < body.rows(); ++row) rows[static_cast<std::size_t>(row)] = row;
      add(at, "unit-dead-" + name, std::move(type), {1, 1}, body, std::nullopt, views(body, rows));
    }
  }

  /// All facings of some rows of a sheet. Of 5 facings a row (north, then clockwise to south) the others are mirrored.
  static std::vector<Frame> views(const Sheet& sheet, const std::vector<Index>& rows) {
    std::vector<Frame> all;
    for (const Index row : rows) {
      for (Index facing = 0; facing < 8; ++facing) {
        const bool mirrored = sheet.columns() == 5 && facing > 4;
        all.push_back({mirrored ? 8 - facing : std::min(facing, sheet.columns() - 1), row, mirrored});
      }
    }
    return all;
  }

  void read_type(const Script& script, const std::string& name, const Cursor& inside) {
    const auto field = [&](const char* key) {
      Cursor at = inside;
      return at.seek(key) ? std::optional<Cursor>(at) : std::nullopt;
    };
    const auto is_set = [&](const char* key) {
      std::optional<Cursor> at = field(key);
      return at && (at->accept("true") || at->accept("1"));
    };
    const auto number = [&](const char* key, Index otherwise) {
      std::optional<Cursor> at = field(key);
      return at ? at->need(at->number(), "a number") : otherwise;
    };
    const auto pair = [&](const char* key, std::vector<Index> otherwise) {
      std::optional<Cursor> at = field(key);
      return at ? at->need(at->numbers(2), "{a, b}") : std::move(otherwise);
    };

    const std::optional<Cursor> image = field("Image");
    if (!image) inside.fail("an Image expected for " + name);
    const std::vector<Index> offset = pair("Offset", {0, 0});
    const Sheet body = read_sheet(*image, offset);
    std::optional<Sheet> shadow;
    if (const std::optional<Cursor> at = field("Shadow")) shadow = read_sheet(*at, offset);

    data::BattleType type;
    const bool building = is_set("Building");
    using data::BattleKind;
    type.kind = is_set("Vanishes")  ? BattleKind::wreck
                : is_set("Neutral") ? BattleKind::scenery
                : building          ? BattleKind::building
                                    : BattleKind::unit;
    if (std::optional<Cursor> at = field("Type")) {
      const std::string medium = at->string().value_or("land");
      if (medium == "fly") type.medium = data::BattleMedium::air;
      if (medium == "naval") type.medium = data::BattleMedium::water;
    }
    type.layer = number("DrawLevel", 25);
    const std::vector<Index> tiles = pair("TileSize", {1, 1});

    // Rows of a sheet with facings are numbered by fives, whatever its columns.
    const bool facings = number("NumDirections", building ? 1 : 8) == 8;
    std::vector<Index> numbers;
    if (std::optional<Cursor> at = field("Animations")) {
      const std::string animations = at->need(at->string(), "a name");
      const bool wreck = type.kind == BattleKind::wreck;
      numbers = frames(script, animations, wreck ? "Death" : "Still");
      // One that stands still blinks or turns at most; of a wreck each stage is a view of its own.
      if (!wreck && !numbers.empty()) numbers.resize(1);
    }
    if (numbers.empty()) numbers.push_back(0);
    std::vector<Frame> frames;
    if (facings) {
      for (Index& n : numbers) n /= 5;
      frames = views(body, numbers);
    } else {
      for (const Index n : numbers) frames.push_back({n % body.columns(), n / body.columns(), false});
    }
    add(*image, name, std::move(type), tiles, body, shadow, frames);
  }

  void add(const Cursor& at, const std::string& name, data::BattleType type, const std::vector<Index>& tiles, const Sheet& body,
           const std::optional<Sheet>& shadow, std::vector<Frame> frames) {
    std::erase_if(frames, [&](const Frame& frame) { return !is_seen(body, frame); });  // wrecks that have decayed
    if (frames.empty()) at.fail("frames of " + name + " inside its picture expected");
    const bool coloured =
        std::any_of(frames.begin(), frames.end(), [&](const Frame& frame) { return has_colours(body, frame); });
    const bool of_players = coloured && type.kind != data::BattleKind::scenery;
    if (std::min(tiles[0], tiles[1]) < 1 || std::max(tiles[0], tiles[1]) > 32) at.fail("1 to 32 tiles a side expected");
    type.base = tiles[1] * data::kBattleTile / 2;
    type.facings = static_cast<Index>(frames.size());
    type.colours = of_players ? kNeutralColour + 1 : 1;
    const Index first = coloured && !of_players ? kNeutralColour : 0;
    for (Index colour = 0; colour < type.colours; ++colour) {
      for (const Frame& frame : frames) {
        const auto palette = static_cast<std::size_t>(first + colour);
        type.pictures.push_back(draw(body, shadow, frame, coloured ? &colours_.of[palette] : nullptr));
      }
    }
    const auto number = static_cast<Index>(sprites_.types.size());
    if (!sprites_.by_name.emplace(name, number).second) at.fail("one " + name + " expected, this is the second");
    sprites_.types.push_back(std::move(type));
    sprites_.tiles.push_back({tiles[0], tiles[1]});
  }

  /// Calls body(x, y, row, column) for the pixels of a frame: where they are shown in it, and where they lie on the sheet.
  template <class Body>
  static void for_each_pixel(const Sheet& sheet, const Frame& frame, Body&& body) {
    if (frame.column >= sheet.columns() || frame.row >= sheet.rows()) return;
    for (Index y = 0; y < sheet.height; ++y) {
      for (Index x = 0; x < sheet.width; ++x) {
        const Index column = frame.mirrored ? sheet.width - 1 - x : x;
        body(x, y, frame.row * sheet.height + y, frame.column * sheet.width + column);
      }
    }
  }

  static bool is_seen(const Sheet& sheet, const Frame& frame) {
    bool seen = false;
    for_each_pixel(sheet, frame,
                   [&](Index, Index, Index row, Index column) { seen = seen || sheet.png->rgba(row, column, 3) >= kSolid; });
    return seen;
  }

  /// Which of the player's colours a pixel has, or -1.
  [[nodiscard]] Index colour_of(const Sheet& sheet, Index row, Index column) const {
    if (sheet.png->index.size() == 0) return -1;
    const Index entry = sheet.png->index(row, column) - colours_.first;
    return entry >= 0 && entry < static_cast<Index>(colours_.of.front().size()) ? entry : -1;
  }

  [[nodiscard]] bool has_colours(const Sheet& sheet, const Frame& frame) const {
    bool has = false;
    for_each_pixel(sheet, frame, [&](Index, Index, Index row, Index column) {
      has = has || (colour_of(sheet, row, column) >= 0 && sheet.png->rgba(row, column, 3) >= kSolid);
    });
    return has;
  }

  /// A frame over its shadow, which the game draws as black of half opacity, less the empty margin.
  [[nodiscard]] data::BattlePicture draw(const Sheet& body, const std::optional<Sheet>& shadow, const Frame& frame,
                                         const std::vector<Rgb>* colours) const {
    constexpr std::uint8_t half = 128;
    const auto box_of = [](const Sheet& sheet) {
      return data::Box{sheet.right - sheet.width / 2, sheet.down - sheet.height / 2, sheet.width, sheet.height};
    };
    const data::Box at = box_of(body);
    const data::Box whole = shadow ? data::around(at, box_of(*shadow)) : at;
    fovea::Tensor<std::uint8_t, 3> pixels({whole.height, whole.width, 4});
    data::Box used;   // in `pixels`
    data::Box solid;  // in `pixels`
    const auto extend = [](data::Box& box, Index x, Index y) {
      box = box.width == 0 ? data::Box{x, y, 1, 1} : data::around(box, {x, y, 1, 1});
    };
    if (shadow) {
      const data::Box under = box_of(*shadow);
      for_each_pixel(*shadow, frame, [&](Index x, Index y, Index row, Index column) {
        if (shadow->png->rgba(row, column, 3) < kSolid) return;
        extend(used, x + under.x - whole.x, y + under.y - whole.y);
        pixels(y + under.y - whole.y, x + under.x - whole.x, 3) = half;
      });
    }
    for_each_pixel(body, frame, [&](Index x, Index y, Index row, Index column) {
      if (body.png->rgba(row, column, 3) < kSolid) return;
      const Index to_x = x + at.x - whole.x;
      const Index to_y = y + at.y - whole.y;
      extend(used, to_x, to_y);
      extend(solid, to_x, to_y);
      const Index entry = colours != nullptr ? colour_of(body, row, column) : -1;
      for (Index c = 0; c < 3; ++c) {
        pixels(to_y, to_x, c) = entry < 0 ? body.png->rgba(row, column, c)
                                          : (*colours)[static_cast<std::size_t>(entry)][static_cast<std::size_t>(c)];
      }
      pixels(to_y, to_x, 3) = 255;
    });
    data::BattlePicture picture;
    picture.pixels = fovea::Tensor<std::uint8_t, 3>({used.height, used.width, 4});
    for (Index y = 0; y < used.height; ++y) {
      std::copy_n(&pixels(used.y + y, used.x, 0), 4 * used.width, &picture.pixels(y, 0, 0));
    }
    picture.left = whole.x + used.x;
    picture.top = whole.y + used.y;
    picture.body = data::moved(solid, whole.x, whole.y);
    return picture;
  }

  static constexpr std::uint8_t kSolid = 128;

  fs::path root_;
  PlayerColours colours_;
  std::map<fs::path, std::shared_ptr<const Png>> pictures_;
  Sprites sprites_;
};

}  // namespace

Png read_png(const fs::path& path) {
  struct Image : png_image {
    Image() : png_image{} { version = PNG_IMAGE_VERSION; }
    Image(const Image&) = delete;
    Image& operator=(const Image&) = delete;
    ~Image() { png_image_free(this); }
  } image;
  constexpr png_uint_32 most = 8192;
  fovea::require(png_image_begin_read_from_file(&image, path.c_str()) != 0, path.string(), ": ", image.message);
  fovea::require(image.width >= 1 && image.width <= most && image.height >= 1 && image.height <= most, path.string(),
                 ": a picture of 1 to ", most, " pixels a side expected, one of ", image.height, " x ", image.width, " came");
  const auto height = static_cast<Index>(image.height);
  const auto width = static_cast<Index>(image.width);
  Png png;
  png.rgba = fovea::Tensor<std::uint8_t, 3>({height, width, 4});
  if ((image.format & PNG_FORMAT_FLAG_COLORMAP) == 0) {
    image.format = PNG_FORMAT_RGBA;
    fovea::require(png_image_finish_read(&image, nullptr, png.rgba.data(), 0, nullptr) != 0, path.string(), ": ",
                   image.message);
    return png;
  }
  // The palette as the file has it, so that its entries keep their numbers.
  image.format = PNG_FORMAT_RGBA_COLORMAP;
  std::array<std::array<std::uint8_t, 4>, 256> palette{};
  png.index = fovea::Tensor<std::uint8_t, 2>({height, width});
  fovea::require(png_image_finish_read(&image, nullptr, png.index.data(), 0, palette.data()) != 0, path.string(), ": ",
                 image.message);
  for (Index i = 0; i < png.index.size(); ++i) std::copy_n(palette[png.index.data()[i]].data(), 4, png.rgba.data() + 4 * i);
  return png;
}

Sprites read_sprites(const fs::path& root) { return Reader(root).read(); }

}  // namespace experiments::counting
