// SPDX-License-Identifier: MIT
// make_pyramid: any picture as tiled TIFF with all its lower resolutions, which makes looking at parts of it cheap. The picture
// is decoded once, from the first row to the last, and need not fit in memory.
// needs: CLI11 open
// smoke-test: --help
#include "support/peak_memory.hpp"
#include "support/timing.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/decoder.hpp>
#include <fovea/image/open.hpp>
#include <fovea/image/tiff_pyramid_writer.hpp>
#include <fovea/train/progress.hpp>

#include <CLI/CLI.hpp>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>

namespace {

struct Options {
  std::filesystem::path input;
  std::filesystem::path output;
  fovea::TiffPyramidOptions tiff;
  fovea::Index channels = 0;
  int bits = 8;
};

template <class P>
void convert(const Options& options) {
  const support::Stopwatch watch;
  const std::unique_ptr<fovea::ImageDecoder<P>> picture = fovea::open_decoder<P>(options.input, options.channels);
  const fovea::ImageInfo& info = picture->info();
  const fovea::Extents<2> extent = info.levels[0].extent;
  fovea::TiffPyramidOptions tiff = options.tiff;
  tiff.orientation = info.orientation;
  fovea::TiffPyramidWriter<P> writer(options.output, extent, info.channels, tiff);

  fovea::train::Progress progress;
  progress.begin(fovea::format("%td x %td", extent[1], extent[0]));
  picture->scan(0, [&](fovea::Index row, const P* pixels) {
    writer.add_row(pixels);
    progress.update({.fraction = static_cast<double>(row + 1) / static_cast<double>(extent[0])});
  });
  writer.finish();
  progress.end(fovea::format("%.1f million pixels/s", 1e-6 * static_cast<double>(fovea::product(extent)) / watch.seconds()));

  std::printf("%s: %td x %td pixels of %td channel%s, %.2f MB from %.2f MB, %.1f MiB of memory at its peak\n",
              options.output.c_str(), extent[1], extent[0], info.channels, info.channels > 1 ? "s" : "",
              1e-6 * static_cast<double>(std::filesystem::file_size(options.output)),
              1e-6 * static_cast<double>(std::filesystem::file_size(options.input)),
              static_cast<double>(support::detail::peak_kib()) / 1024);
}

int program(int argc, char** argv) {
  Options options;
  CLI::App app{"Makes a tiled TIFF with all lower resolutions of any picture, in bounded memory.", "make_pyramid"};
  app.option_defaults()->always_capture_default();
  app.add_option("INPUT", options.input, "JPEG, TIFF, .npy, and whatever libvips reads")->required()->capture_default_str();
  app.add_option("OUTPUT", options.output, "The .tif to be written; replaced where it is there")->required();
  app.add_option("--tile", options.tiff.tile, "Side of a tile in pixels, a multiple of 16");
  std::string compression = "deflate";
  app.add_option("--compression", compression, "deflate is exact, jpeg smaller")->check(CLI::IsMember({"deflate", "jpeg"}));
  app.add_option("--quality", options.tiff.quality, "Of jpeg")->check(CLI::Range(1, 100));
  app.add_option("--channels", options.channels, "1, 3 or 4; 0: 1 or 3, as the picture has");
  app.add_option("--bits", options.bits, "Of a sample")->check(CLI::IsMember({8, 16}));
  app.add_flag("--sub-ifds", options.tiff.sub_ifds, "Lower resolutions in sub-IFDs, not in pages");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  if (compression == "jpeg") options.tiff.compression = fovea::TiffCompression::jpeg;
  if (options.bits == 8) {
    convert<std::uint8_t>(options);
  } else {
    convert<std::uint16_t>(options);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return program(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_pyramid: %s\n", error.what());
    return 1;
  }
}
