// SPDX-License-Identifier: MIT
// Photographs and signs of the experiment, and who of them is kept for the test.
// needs: PNG jpeg
#include "photographs.hpp"

#include "../../support/files.hpp"
#include "../../support/jpeg_write.hpp"
#include "../../support/png_read.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/parallel.hpp>
#include <fovea/core/random.hpp>
#include <fovea/image/decoder.hpp>
#include <fovea/image/jpeg.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/raw.hpp>
#include <fovea/image/view.hpp>
#include <fovea/kernel/area.hpp>
#include <fovea/kernel/bytes.hpp>
#include <fovea/kernel/resample.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace experiments {

namespace {

using fovea::Purpose;
using fovea::Stream;
using fovea::Tensor;
using fovea::View;
using fovea::data::Box;
using fovea::data::SignDesign;
using fovea::data::SignedPhotograph;
using fovea::data::SignedPhotographs;
using fovea::data::SignedPhotographsOptions;
using Pixels = View<const std::uint8_t, 3>;

// --- Which photographs and signs ------------------------------------------------------------------------------------------

/// Photographs of at least 6 megapixels in the packages that get-data.sh names; what else is in them is drawn or computed.
constexpr std::array train_photographs{
    "Bridge_by_Sander_Klootwijk.jpg",
    "Dragonfly_by_Bolly.jpg",
    "Wine_by_Jakkub_Mede.jpg",
    "aitzgorri_by_Aitzol_Berasategi.jpg",
    "free_by_Peter_Nerlich.jpg",
    "greentock_by_Peter_Nerlich.jpg",
    "seeding_by_Clements_Engelhardt.jpg",
    "sunset_by_Aitzol_Berasategi.jpg",
    "Bamboo.edj",
    "Foggy-Trees.edj",
    "Lichen-Branches.edj",
    "Mountain.edj",
    "Red-Maple.edj",
    "Sea-of-Lanterns.edj",
    "Spruce-Needles.edj",
    "Sunset-Clouds.edj",
    "Yellow-Flower.edj",
};
constexpr std::array test_photographs{
    "Kleiber_by_Lukas_Baubkus.jpg",
    "friends_by_Aitzol_Berasategi.jpg",
    "life_by_Aitzol_Berasategi.jpg",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg",
    "God-Rays.edj",
    "Green-Maple.edj",
    "Peaks.edj",
    "Snow-Trees.edj",
    "White-Flower.edj",
};
constexpr Index fewest_pixels = 6'000'000;

constexpr std::array values{20, 30, 40, 50, 60, 70, 80};

/// A way of drawing speed limits, for all values alike: so that no style of the test says which value it cannot be.
struct Style {
  std::string_view before;  ///< the value, in the name of the file
  std::string_view behind;
};
constexpr std::array train_styles{
    Style{"regulatory--maximum-speed-limit-", "--g1"},      // a red ring on white or yellow
    Style{"regulatory--maximum-speed-limit-", "--g3"},      // SPEED LIMIT, black on white
    Style{"regulatory--maximum-speed-limit-led-", "--g3"},  // SPEED LIMIT, white on black
    Style{"complementary--maximum-speed-limit-", "--g1"},   // MPH, black on yellow
    Style{"regulatory--night-speed-limit-", "--g1"},        // NIGHT, white on black
};
constexpr std::array test_styles{
    Style{"regulatory--maximum-speed-limit-led-", "--g1"},  // a red ring and white digits on black
    Style{"regulatory--truck-speed-limit-", "--g1"},        // TRUCKS, black on white
};

/// Each photograph is seen at these sizes (1: as small as covers the scene), and in the mirror.
constexpr std::array zooms{1.0, 1.3};

constexpr std::uint64_t train_seed = 1;
constexpr std::uint64_t held_out_seed = 2;
constexpr std::uint64_t test_seed = 3;
constexpr double repainted = 0.5;

constexpr int quality = 90;
/// Part of the manifest: to be raised whenever pixels of the test change though its contents do not.
constexpr int version = 1;

// --- Pixels -----------------------------------------------------------------------------------------------------------------

/// Levels that photographs are kept at: these, which sit on a grid of the last one's ratio. Coarser ones are made for each
/// scene.
constexpr std::array<Index, 2> ratios{4, 8};
constexpr Index grid = ratios.back();

/// A photograph as its file has it.
struct Decoded {
  Tensor<std::uint8_t, 3> stored;
  fovea::Orientation orientation = fovea::Orientation::upright;
  [[nodiscard]] Pixels pixels() const { return fovea::oriented(orientation, stored.view()); }
};

/// An opened JPEG file, or the largest in a collection.
class Original {
 public:
  explicit Original(const std::filesystem::path& path) {
    std::error_code error;
    fovea::require(std::filesystem::is_regular_file(path, error), path.string(),
                   ": a photograph expected; get-data.sh beside this experiment installs it");
    file_ = fovea::MappedFile(path);
    std::span<const std::byte> jpeg = file_.bytes();
    if (path.extension() == ".edj") {
      const auto jpegs = jpegs_of_edj(jpeg);
      fovea::require(!jpegs.empty(), path.string(), ": a JPEG file within expected");
      // The same photograph at many sizes: the largest file is the largest picture.
      jpeg = *std::max_element(jpegs.begin(), jpegs.end(), [](auto x, auto y) { return x.size() < y.size(); });
    }
    decoder_ = std::make_unique<fovea::JpegDecoder>(jpeg, 3);
    fovea::require(fovea::product(extent()) >= fewest_pixels, path.string(), ": a photograph of at least ", fewest_pixels,
                   " pixels expected, one of ", extent()[0], " x ", extent()[1], " came");
  }

  /// {height, width} as it is seen.
  [[nodiscard]] Extents<2> extent() const {
    return fovea::oriented(decoder_->info().orientation, decoder_->info().levels.front().extent);
  }
  [[nodiscard]] Decoded decode() const {
    const Extents<2> stored = decoder_->info().levels.front().extent;
    Decoded decoded{Tensor<std::uint8_t, 3>({stored[0], stored[1], 3}), decoder_->info().orientation};
    decoder_->scan(0, [&decoded, size = stored[1] * 3](Index row, const std::uint8_t* pixels) {
      std::copy_n(pixels, size, decoded.stored.data() + row * size);
    });
    return decoded;
  }

 private:
  fovea::MappedFile file_;
  std::unique_ptr<fovea::JpegDecoder> decoder_;
};

/// The same pixels one behind the other, as they are or as a mirror shows them.
Tensor<std::uint8_t, 3> copy(const Pixels& from, bool mirrored) {
  Tensor<std::uint8_t, 3> to(from.extents());
  const Index last = from.extent(1) - 1;
  for (Index y = 0; y < from.extent(0); ++y) {
    std::uint8_t* out = &to(y, 0, 0);
    for (Index x = 0; x <= last; ++x, out += 3) {
      const std::uint8_t* pixel = &from(y, mirrored ? last - x : x, 0);
      for (Index c = 0; c < 3; ++c) out[c] = pixel[c * from.stride(2)];
    }
  }
  return to;
}

/// The part that begins at row `top` and column `left` of a photograph enlarged to `extent`: by averages where that makes it
/// smaller, otherwise by bilinear interpolation.
void enlarge(const Pixels& photograph, Extents<2> extent, Index top, Index left, View<std::uint8_t, 3> out) {
  constexpr Index band = 32;  // rows at a time, so that not all are floats at once
  const auto step = [&](std::size_t axis) {
    return static_cast<double>(photograph.extent(axis)) / static_cast<double>(extent[axis]);
  };
  const double down = step(0);
  const double across = step(1);
  Tensor<float, 3> rows({band, out.extent(1), 3});
  for (Index y = 0; y < out.extent(0); y += band) {
    const View<float, 3> part = rows.view().slice(0, std::min(band, out.extent(0) - y));
    const double first = static_cast<double>(top + y);
    const auto column = static_cast<double>(left);
    if (down > 1) {
      const auto end = [&](double begin, Index count, double by, std::size_t axis) {
        return std::min(static_cast<double>(photograph.extent(axis)), (begin + static_cast<double>(count)) * by);
      };
      fovea::kernel::area_average(photograph, {first * down, end(first, part.extent(0), down, 0)},
                                  {column * across, end(column, part.extent(1), across, 1)}, part);
    } else {
      fovea::kernel::resample(photograph, {(first + 0.5) * down - 0.5, down}, {(column + 0.5) * across - 0.5, across},
                              {fovea::kernel::Padding::border, false}, part);
    }
    for (Index i = 0; i < part.extent(0); ++i) {
      fovea::kernel::round_row(&part(i, 0, 0), part.extent(1) * 3, 255.0F, &out(y + i, 0, 0));
    }
  }
}

/// Averages of 2x2 pixels of `fine` in the pixels [box] of `coarse`, which lie wholly over pixels of `fine`.
void halve(const Pixels& fine, const Box& box, const View<std::uint8_t, 3>& coarse) {
  for (Index y = box.y; y < box.y + box.height; ++y) {
    const std::uint8_t* upper = &fine(2 * y, 2 * box.x, 0);
    const std::uint8_t* lower = &fine(2 * y + 1, 2 * box.x, 0);
    std::uint8_t* to = &coarse(y, box.x, 0);
    for (Index x = 0; x < box.width; ++x, upper += 6, lower += 6, to += 3) {
      for (Index c = 0; c < 3; ++c)
        to[c] = static_cast<std::uint8_t>((upper[c] + upper[c + 3] + lower[c] + lower[c + 3] + 2) / 4);
    }
  }
}

// --- Made up, for a quick look -----------------------------------------------------------------------------------------------

constexpr Extents<2> made_up_extent{400, 640};

/// Soft blots of colour under a fine grain.
Decoded made_up_photograph(std::string_view name) {
  const auto [height, width] = made_up_extent;
  std::uint64_t number = 0;
  for (const char letter : name) number = number * 31 + static_cast<unsigned char>(letter);
  Stream stream(7, 0, number);
  struct Blot {
    double x, y, size;
    std::array<double, 3> color;
  };
  std::array<Blot, 12> blots;
  for (Blot& blot : blots) {
    blot = {stream.uniform(0.0, 640.0), stream.uniform(0.0, 400.0), stream.uniform(30.0, 120.0), {}};
    for (double& c : blot.color) c = stream.uniform(-90.0, 90.0);
  }
  Decoded made{Tensor<std::uint8_t, 3>({height, width, 3})};
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      std::array<double, 3> color{};
      color.fill(110 + stream.uniform(-12.0, 12.0));
      for (const Blot& blot : blots) {
        const double dx = (static_cast<double>(x) - blot.x) / blot.size;
        const double dy = (static_cast<double>(y) - blot.y) / blot.size;
        const double weight = std::exp(-dx * dx - dy * dy);
        for (std::size_t c = 0; c < 3; ++c) color[c] += weight * blot.color[c];
      }
      for (std::size_t c = 0; c < 3; ++c) {
        made.stored(y, x, static_cast<Index>(c)) = static_cast<std::uint8_t>(std::clamp(color[c], 0.0, 255.0));
      }
    }
  }
  return made;
}

/// As many bars as the label says, and one, in a ring or on a plate.
SignDesign made_up_sign(int label, bool round) {
  constexpr Index size = 96;
  SignDesign sign{Tensor<std::uint8_t, 3>({size, size, 4}), label};
  const double bar = 60.0 / (2 * (label + 1) - 1);
  for (Index y = 0; y < size; ++y) {
    for (Index x = 0; x < size; ++x) {
      const double dx = static_cast<double>(x) + 0.5 - 48;
      const double dy = static_cast<double>(y) + 0.5 - 48;
      const double far = round ? std::hypot(dx, dy) : std::max(std::abs(dx), std::abs(dy));
      if (far > 48) continue;
      const bool black = std::abs(dx) < 30 && std::abs(dy) < 22 && static_cast<int>((dx + 30) / bar) % 2 == 0;
      const std::uint8_t shade = black ? 0 : 255;
      const std::uint8_t red = far > 40 ? 200 : shade;
      const std::uint8_t other = far > 40 ? 0 : shade;
      const std::array<std::uint8_t, 4> pixel{red, other, other, 255};
      std::copy(pixel.begin(), pixel.end(), &sign.pixels(y, x, 0));
    }
  }
  return sign;
}

struct Memory : Sample {
  std::array<Tensor<std::uint8_t, 3>, ratios.size()> levels;
  fovea::Pyramid<std::uint8_t> coarser;  ///< of the last of them
  Tensor<std::uint8_t, 3> decoded;       ///< of a file, and
  fovea::Pyramid<std::uint8_t> pyramid;  ///< its levels
};

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

void say(bool aloud, const std::string& line) {
  if (aloud) std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace

std::vector<std::span<const std::byte>> jpegs_of_edj(std::span<const std::byte> file) {
  constexpr std::size_t header = 12;
  constexpr std::size_t entry = 24;
  const auto word = [&file](std::size_t at) {
    std::uint32_t w = 0;
    for (std::size_t i = 0; i < 4; ++i) w = w << 8U | std::to_integer<std::uint32_t>(file[at + i]);
    return w;
  };
  fovea::require(file.size() >= header && word(0) == 0x1ee70f42, "edj: an EET file expected");
  const std::size_t entries = word(4);
  fovea::require(entries <= (file.size() - header) / entry, "edj: room for ", entries, " entries expected, the file has ",
                 file.size(), " bytes");
  std::vector<std::span<const std::byte>> jpegs;
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t offset = word(header + i * entry);
    const std::size_t size = word(header + i * entry + 4);
    fovea::require(offset <= file.size() && size <= file.size() - offset, "edj: an entry within the file's ", file.size(),
                   " bytes expected, ", size, " bytes at ", offset, " came");
    constexpr std::array begins{std::byte{0xFF}, std::byte{0xD8}, std::byte{0xFF}};
    const auto data = file.subspan(offset, size);
    if (size > begins.size() && std::equal(begins.begin(), begins.end(), data.begin())) jpegs.push_back(data);
  }
  return jpegs;
}

/// A photograph at one size, or its mirror image, without the finest level.
struct Photographs::Background {
  std::array<Tensor<std::uint8_t, 3>, ratios.size()> levels;
};

/// What the sets of training, or those of the test, are made of.
struct Photographs::Part {
  std::vector<std::string> photographs;
  std::vector<std::string> designs;
  std::vector<SignDesign> signs;
  std::vector<Extents<2>> extents;  ///< of the backgrounds: of each photograph one for each zoom, and as many mirrored
  std::vector<std::string> names;   ///< of the backgrounds
  std::vector<std::unique_ptr<SignedPhotographs>> generators;  ///< of the sets: train; or held_out, test

  mutable std::once_flag loaded;
  mutable std::vector<Background> backgrounds;

  static constexpr std::size_t each = 2 * zooms.size();

  [[nodiscard]] Decoded read(const PhotographsOptions& options, std::size_t photograph) const {
    const std::string& name = photographs[photograph];
    return options.smoke ? made_up_photograph(name) : Original(options.data / "originals" / name).decode();
  }
};

Photographs::Photographs(PhotographsOptions options)
    : Task({}), options_(std::move(options)), train_(std::make_unique<Part>()), test_(std::make_unique<Part>()) {
  const bool smoke = options_.smoke;
  facts_.experiment = "photographs";
  facts_.variant = smoke ? "smoke" : "speed-limits";
  facts_.question = "which speed limit, if any, stands in the photograph";
  facts_.channels = 3;
  facts_.image = smoke ? Extents<2>{384, 512} : Extents<2>{3000, 4000};
  facts_.proxy = smoke ? Extents<2>{48, 64} : Extents<2>{192, 256};
  facts_.train_images = smoke ? 64 : 4000;
  facts_.test_images = smoke ? 8 : 400;

  const auto names = [&](Part& part, const auto& photographs, const auto& styles, std::string_view kind) {
    if (smoke) {
      for (int i = 0; i < 2; ++i) part.photographs.push_back(text("made up for ", kind, " ", i));
    } else {
      part.photographs.assign(photographs.begin(), photographs.end());
    }
    for (std::size_t label = 0; label < values.size(); ++label) {
      for (const Style& style : styles) {
        part.designs.push_back(text(style.before, values[label], style.behind));
        if (smoke) {
          part.signs.push_back(made_up_sign(static_cast<int>(label), kind == "training"));
        } else {
          const auto path = options_.data / "signs" / (part.designs.back() + ".png");
          std::error_code error;
          fovea::require(std::filesystem::is_regular_file(path, error), path.string(),
                         ": a sign expected; get-data.sh beside this experiment draws it");
          part.signs.push_back({support::read_png(path), static_cast<int>(label)});
        }
      }
    }
  };
  names(*train_, train_photographs, train_styles, "training");
  names(*test_, test_photographs, test_styles, "test");

  for (Part* part : {train_.get(), test_.get()}) {
    for (std::size_t i = 0; i < part->photographs.size(); ++i) {
      const Extents<2> stored = smoke ? made_up_extent : Original(options_.data / "originals" / part->photographs[i]).extent();
      const auto scale = [&](std::size_t axis) {
        return static_cast<double>(facts_.image[axis]) / static_cast<double>(stored[axis]);
      };
      for (const double zoom : zooms) {
        Extents<2> extent{};
        for (std::size_t axis = 0; axis < 2; ++axis) {
          const double length = static_cast<double>(stored[axis]) * std::max(scale(0), scale(1)) * zoom;
          extent[axis] = std::max(facts_.image[axis], static_cast<Index>(length) / grid * grid);
        }
        for (const char* seen : {"", ", mirrored"}) {
          part->extents.push_back(extent);
          part->names.push_back(text(part->photographs[i], ", ", extent[0], " x ", extent[1], seen));
        }
      }
    }
  }
  SignedPhotographsOptions rules;
  rules.scene = facts_.image;
  rules.grid = grid;
  if (smoke) {
    rules.shortest = 32;
    rules.tallest = 64;
  }
  const auto generator = [&](Part& part, std::uint64_t seed) {
    part.generators.push_back(std::make_unique<SignedPhotographs>(part.extents, part.signs, rules, seed));
  };
  generator(*test_, held_out_seed);
  generator(*test_, test_seed);
  rules.repainted = repainted;
  generator(*train_, train_seed);
  facts_.classes = train_->generators[0]->classes();
  write_test();
}

Photographs::~Photographs() = default;

std::unique_ptr<Sample> Photographs::make_sample() const { return std::make_unique<Memory>(); }

const SignedPhotographs& Photographs::generator(Set set) const { return *part(set).generators[set == Set::test ? 1 : 0]; }

SignedPhotograph Photographs::content(Set set, std::uint64_t number) const {
  double enlarged = 1;
  if (set == Set::train && static_cast<Index>(number) < options_.enlarged_images) {
    enlarged = std::pow(options_.enlarged, 1 - static_cast<double>(number) / static_cast<double>(options_.enlarged_images));
  }
  return generator(set).sample(number, enlarged);
}

std::vector<std::string> Photographs::class_names() const {
  std::vector<std::string> names;
  for (const int value : values) names.push_back(std::to_string(value));
  names.emplace_back("none");
  return names;
}

const std::vector<std::string>& Photographs::photographs(Set set) const { return part(set).names; }
const std::vector<std::string>& Photographs::designs(Set set) const { return part(set).designs; }

std::filesystem::path Photographs::file(std::uint64_t number) const {
  std::string name = std::to_string(number);
  name.insert(0, name.size() < 4 ? 4 - name.size() : 0, '0');
  return options_.data / "test" / (name + ".jpg");
}

void Photographs::fill(Sample& sample, Set set, std::uint64_t number) const {
  auto& memory = dynamic_cast<Memory&>(sample);
  const SignedPhotograph made = content(set, number);
  memory.label = made.label;
  memory.objects.clear();
  if (made.design >= 0) {
    const Box& box = made.box;
    memory.objects.push_back({static_cast<double>(box.x), static_cast<double>(box.y), static_cast<double>(box.x + box.width),
                              static_cast<double>(box.y + box.height)});
  }
  if (set == Set::test) {
    read_test(number, memory.decoded);
    memory.pyramid.assign(memory.decoded.view());
    memory.image = memory.pyramid;
    return;
  }

  const Part& from = part(set);
  std::call_once(from.loaded, [&] { load(from); });
  const Background& background = from.backgrounds[static_cast<std::size_t>(made.photograph)];
  Image image(facts_.image, 3);
  for (std::size_t k = 0; k < ratios.size(); ++k) {
    Tensor<std::uint8_t, 3>& level = memory.levels[k];
    const Extents<3> extent{facts_.image[0] / ratios[k], facts_.image[1] / ratios[k], 3};
    if (level.size() == 0) level = Tensor<std::uint8_t, 3>(extent);
    const Pixels source = background.levels[k].view();
    for (Index y = 0; y < extent[0]; ++y) {
      std::copy_n(&source(made.top / ratios[k] + y, made.left / ratios[k], 0), extent[1] * 3, &level(y, 0, 0));
    }
    const auto ratio = static_cast<double>(ratios[k]);
    image.push_back(level.view(), {ratio, ratio});
  }
  Box drawn = generator(set).draw(made, memory.levels[0], ratios[0]);
  for (std::size_t k = 1; k < ratios.size() && drawn.width > 0; ++k) {
    const Index right = (drawn.x + drawn.width + 1) / 2;
    const Index bottom = (drawn.y + drawn.height + 1) / 2;
    drawn = {drawn.x / 2, drawn.y / 2, right - drawn.x / 2, bottom - drawn.y / 2};
    halve(memory.levels[k - 1].view(), drawn, memory.levels[k]);
  }
  memory.coarser.assign(memory.levels.back().view());
  for (int k = 1; k < memory.coarser.levels(); ++k) {
    const double ratio = static_cast<double>(ratios.back()) * memory.coarser.ratio(k);
    image.push_back(memory.coarser.level(k), {ratio, ratio});
  }
  memory.image = image;
}

Tensor<std::uint8_t, 3> Photographs::whole(std::uint64_t number) const {
  Tensor<std::uint8_t, 3> pixels;
  read_test(number, pixels);
  return pixels;
}

void Photographs::read_test(std::uint64_t number, Tensor<std::uint8_t, 3>& pixels) const {
  fovea::require(number < static_cast<std::uint64_t>(facts_.test_images), "photographs: ", facts_.test_images,
                 " test images expected, number ", number, " came");
  fovea::JpegDecoder decoder(file(number), 3);
  const Extents<2> extent = decoder.info().levels.front().extent;
  fovea::require(extent == facts_.image, file(number).string(), ": a picture of ", facts_.image[0], " x ", facts_.image[1],
                 " pixels expected, one of ", extent[0], " x ", extent[1], " came");
  if (pixels.size() == 0) pixels = Tensor<std::uint8_t, 3>({extent[0], extent[1], 3});
  decoder.scan(0, [&pixels, size = extent[1] * 3](Index row, const std::uint8_t* from) {
    std::copy_n(from, size, pixels.data() + row * size);
  });
}

void Photographs::load(const Part& part) const {
  say(options_.progress, text("photographs: loading ", part.photographs.size(), " photographs"));
  part.backgrounds.resize(part.extents.size());
  fovea::Workers workers;
  workers.run(static_cast<Index>(part.photographs.size()), [&](Index i, int) {
    const auto photograph = static_cast<std::size_t>(i);
    const Decoded decoded = part.read(options_, photograph);
    const Tensor<std::uint8_t, 3> seen = copy(decoded.pixels(), false);
    for (std::size_t at = photograph * Part::each; at < (photograph + 1) * Part::each; at += 2) {
      for (std::size_t k = 0; k < ratios.size(); ++k) {
        const Extents<2> extent{part.extents[at][0] / ratios[k], part.extents[at][1] / ratios[k]};
        Tensor<std::uint8_t, 3> level({extent[0], extent[1], 3});
        if (k == 0) {
          enlarge(seen.view(), extent, 0, 0, level);
        } else {
          halve(part.backgrounds[at].levels[k - 1].view(), {0, 0, extent[1], extent[0]}, level);
        }
        part.backgrounds[at + 1].levels[k] = copy(level.view(), true);
        part.backgrounds[at].levels[k] = std::move(level);
      }
    }
  });
}

void Photographs::write_test() const {
  const Part& part = *test_;
  const SignedPhotographs& generator = this->generator(Set::test);
  const auto count = static_cast<std::uint64_t>(facts_.test_images);
  const auto number_of = [](double x) { return static_cast<long>(std::lround(x)); };
  std::string manifest =
      text("version ", version, ", seed ", test_seed, ", ", facts_.image[0], " x ", facts_.image[1], ", JPEG quality ", quality,
           ", 4:2:0\n", "file,label,photograph,top,left,design,sign's top,left,height,width\n");
  std::vector<std::vector<std::uint64_t>> of_photograph(part.photographs.size());
  for (std::uint64_t number = 0; number < count; ++number) {
    const SignedPhotograph made = generator.sample(number);
    const auto background = static_cast<std::size_t>(made.photograph);
    of_photograph[background / Part::each].push_back(number);
    manifest += text(file(number).filename().string(), ',', class_names()[static_cast<std::size_t>(made.label)], ",\"",
                     part.names[background], "\",", made.top, ',', made.left, ',',
                     made.design < 0 ? "" : part.designs[static_cast<std::size_t>(made.design)], ',', made.box.y, ',',
                     made.box.x, ',', number_of(made.height), ',', made.box.width, '\n');
  }

  const auto folder = options_.data / "test";
  const auto manifest_file = folder / "manifest.csv";
  std::ifstream before(manifest_file, std::ios::binary);
  if (before && std::string(std::istreambuf_iterator<char>(before), {}) == manifest) return;

  say(options_.progress, text("photographs: writing ", count, " test images into ", folder.string()));
  support::prepare_directory(folder);
  std::error_code error;
  std::filesystem::remove(manifest_file, error);
  std::atomic<std::uint64_t> written{0};
  fovea::Workers workers;
  workers.run(static_cast<Index>(part.photographs.size()), [&](Index i, int) {
    const auto photograph = static_cast<std::size_t>(i);
    if (of_photograph[photograph].empty()) return;
    const Decoded decoded = part.read(options_, photograph);
    const std::array seen{copy(decoded.pixels(), false), copy(decoded.pixels(), true)};
    Tensor<std::uint8_t, 3> scene({facts_.image[0], facts_.image[1], 3});
    for (const std::uint64_t number : of_photograph[photograph]) {
      const SignedPhotograph made = generator.sample(number);
      const auto at = static_cast<std::size_t>(made.photograph);
      enlarge(seen[at % 2].view(), part.extents[at], made.top, made.left, scene);
      generator.draw(made, scene);
      support::write_jpeg(file(number), scene.view(), quality);
      const std::uint64_t done = ++written;
      if (done % 50 == 0) say(options_.progress, text("photographs: ", done, " of ", count, " test images"));
    }
  });
  // Last, so that it stands for files that are all there.
  support::write_text(manifest_file, manifest);
}

}  // namespace experiments
