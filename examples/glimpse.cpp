// SPDX-License-Identifier: MIT
// glimpse: cuts a region out of a picture in a file, of any size and format, and tells what that cost.
// needs: CLI11 PNG open
// smoke-test: --help
#include "support/peak_memory.hpp"
#include "support/png.hpp"
#include "support/timing.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/image/open.hpp>
#include <fovea/train/progress.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using fovea::Extents;
using fovea::Index;
using Region = fovea::glimpse::Region<double>;

struct Options {
  std::filesystem::path image;
  std::filesystem::path output;
  Region region{0.1, 0, 0};
  std::vector<Index> pixels;  ///< left, top, width, height; none: `region`
  Extents<2> size{256, 256};  ///< {height, width}
  bool size_given = false;
  fovea::ImageFileOptions file;
};

/// What there is to say, as the numbers that come out of the child process that memory is measured in.
enum Fact : std::size_t {
  width,
  height,
  channels,
  levels,
  level,
  file_bytes,
  open_ms,
  overview_ms,
  glimpse_ms,
  bytes,
  pixels,
  facts
};
using Facts = std::vector<double>;

/// The region that shows the rectangle `of` = {left, top, width, height}, and where the shapes differ, what lies beside it.
Region region_of(const std::vector<Index>& of, Extents<2> image, Extents<2> window) {
  const auto number = [](Index n) { return static_cast<double>(n); };
  fovea::require(of[2] >= 1 && of[3] >= 1 && of[0] >= 0 && of[1] >= 0 && of[2] <= image[1] - of[0] && of[3] <= image[0] - of[1],
                 "--pixels: a rectangle within the picture's ", image[1], "x", image[0], " pixels expected, ", of[2], "x",
                 of[3], " at ", of[0], ",", of[1], " came");
  const auto unit = fovea::glimpse::unit_half_extents(fovea::glimpse::Aspect::isotropic, image, window);
  const double across = number(of[2]) / number(image[1]);
  const double down = number(of[3]) / number(image[0]);
  return {std::max(across / unit[0], down / unit[1]), 2 * number(of[0]) / number(image[1]) + across - 1,
          2 * number(of[1]) / number(image[0]) + down - 1};
}

Facts look(const Options& options) {
  Facts is(facts);
  const support::Stopwatch opening;
  const fovea::ImageFile image = fovea::open_image(options.image, options.file);
  is[open_ms] = 1000 * opening.seconds();

  const bool native = !options.pixels.empty() && !options.size_given;
  const Extents<2> window = native ? Extents<2>{options.pixels[3], options.pixels[2]} : options.size;
  fovea::require(std::max(window[0], window[1]) <= 8192, "--size: at most 8192 pixels a side expected, ", window[1], "x",
                 window[0], " came");
  const Region region = options.pixels.empty() ? options.region : region_of(options.pixels, image.extent(), window);
  const fovea::glimpse::Antialiased sampler{.padding = fovea::kernel::Padding::border};

  // The overview is made by whoever looks at it first; made here, it does not count as the glimpse's time.
  const auto boxes = sampler.boxes(image, region, window);
  const auto touches = [&](const fovea::LevelBox& b) { return !b.box.empty() && b.level >= image.overview_level(); };
  if (std::any_of(boxes.begin(), boxes.end(), touches)) {
    const support::Stopwatch watch;
    (void)image.read(image.overview_level(), {0, 0, 1, 1});
    is[overview_ms] = 1000 * watch.seconds();
  }
  const support::Stopwatch looking;
  fovea::Tensor<double, 3> glimpse({window[0], window[1], image.channels()});
  sampler.sample(image, region, glimpse.view());
  is[glimpse_ms] = 1000 * looking.seconds();

  fovea::Tensor<std::uint8_t, 3> picture(glimpse.extents());
  std::transform(glimpse.begin(), glimpse.end(), picture.begin(),
                 [](double v) { return static_cast<std::uint8_t>(std::lround(255 * std::clamp(v, 0.0, 1.0))); });
  support::write_png(options.output, picture.view());

  is[width] = static_cast<double>(image.extent()[1]);
  is[height] = static_cast<double>(image.extent()[0]);
  is[channels] = static_cast<double>(image.channels());
  is[levels] = image.levels();
  is[level] = boxes[0].level;
  // A DeepZoom picture is a folder, of which this is the description.
  const bool folder = fovea::DeepZoomDecoder<std::uint8_t>::is_description(options.image);
  is[file_bytes] = folder ? 0 : static_cast<double>(std::filesystem::file_size(options.image));
  is[bytes] = static_cast<double>(image.decoded().bytes);
  is[pixels] = static_cast<double>(image.decoded().pixels);
  return is;
}

void tell(const Options& options, const support::Measured& measured) {
  const Facts& is = measured.values;
  const auto share = [](double part, double whole) -> std::string {
    if (!(whole > 0)) return "";
    return ", " + fovea::format("%.2f", 100 * part / whole) + " % of all there are";
  };
  std::printf("%s: %.0f x %.0f pixels of %.0f channel%s\n", options.image.c_str(), is[width], is[height], is[channels],
              is[channels] > 1 ? "s" : "");
  std::printf("  open      %10.2f ms\n", is[open_ms]);
  if (is[overview_ms] > 0) std::printf("  overview  %10.2f ms\n", is[overview_ms]);
  std::printf("  glimpse   %10.2f ms, of level %.0f of %.0f\n", is[glimpse_ms], is[level], is[levels]);
  std::printf("  decoded   %10.0f pixels%s\n", is[pixels], share(is[pixels], is[width] * is[height]).c_str());
  std::printf("  read      %10.0f bytes%s\n", is[bytes], share(is[bytes], is[file_bytes]).c_str());
  std::printf("  memory    %10.2f MiB at its peak\n", measured.peak_mib);
}

int program(int argc, char** argv) {
  Options options;
  CLI::App app{"Cuts a region out of a picture of any size and format into a PNG, and tells what that cost.", "glimpse"};
  app.option_defaults()->always_capture_default();
  std::string size = "256x256";
  std::string policy = "least-memory";
  bool grey = false;
  app.add_option("IMAGE", options.image, "JPEG, TIFF, .npy, and whatever libvips reads")->required()->capture_default_str();
  app.add_option("OUT.png", options.output, "Where to write what is seen")->required();
  auto* x = app.add_option("--x", options.region.x, "Centre: -1 is the left edge, 1 the right");
  auto* y = app.add_option("--y", options.region.y, "Centre: -1 is the upper edge, 1 the lower");
  auto* scale = app.add_option("--scale", options.region.s, "Extent: 1 is the longer side of the picture");
  app.add_option("--pixels", options.pixels, "The region in pixels instead, at its own size where --size says no other")
      ->type_name("LEFT,TOP,WIDTH,HEIGHT")
      ->default_str("")
      ->delimiter(',')
      ->expected(4)
      ->excludes(x, y, scale);
  auto* sized = app.add_option("--size", size, "Of the PNG")->type_name("WIDTHxHEIGHT");
  app.add_option("--policy", policy, "What to spare where a file can only be decoded from the top")
      ->check(CLI::IsMember({"least-memory", "least-time"}));
  app.add_flag("--grey", grey, "One channel");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::fprintf(stderr, "glimpse: %s\nRun with --help for the options.\n", error.what());
    return 2;
  }
  long long across = 0;
  long long down = 0;
  char more = 0;
  fovea::require(std::sscanf(size.c_str(), "%lldx%lld%c", &across, &down, &more) == 2 && across >= 1 && down >= 1,
                 "--size: WIDTHxHEIGHT expected, ", size, " came");
  options.size = {static_cast<Index>(down), static_cast<Index>(across)};
  options.size_given = sized->count() > 0;
  options.file.channels = grey ? 1 : 0;
  options.file.policy = policy == "least-time" ? fovea::ReadPolicy::least_time : fovea::ReadPolicy::least_memory;
  tell(options, support::measure_in_child([&] { return look(options); }));
  return 0;
}

}  // namespace

int main(int argc, char** argv) try { return program(argc, argv); } catch (const std::exception& error) {
  std::fprintf(stderr, "glimpse: %s\n", error.what());
  return 1;
}
