// SPDX-License-Identifier: MIT
// The claims about pictures in files: a photograph of 4000x3000 pixels, T = 4 glimpses of 64x64, the reference model, one
// thread. Times are processor time, turn by turn with a full decode by libjpeg-turbo in the same run, medians; every turn looks
// at other places. Two scales are tried: the model's own (its glimpses come from the overview), and the photograph's own
// pixels, the dear one; what is claimed is the worse. Memory is the growth of a child process's peak.
//
//   claims_images [FOLDER]     the files are made in FOLDER (claims-images), and stay there
//
// needs: open
// after: peers_photograph
#include "../large_tiff.hpp"
#include "../peers/peers.hpp"
#include "../photograph.hpp"
#include "claims.hpp"
#include "support/peak_memory.hpp"
#include <fovea/image/open.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/model/saccader.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using claims::Bound;
using claims::Claims;
using fovea::ImageFile;
using fovea::ImageFileOptions;
using fovea::Index;
using fovea::model::Looking;
namespace fs = std::filesystem;

const fovea::RawLayout raw_layout{.extent = {bench::kHeight, bench::kWidth, 3}};
constexpr double kNative = 64.0 / static_cast<double>(bench::kWidth);

struct Models {
  fovea::model::ReferenceSaccader<> closed =
      fovea::model::Saccader::reference({.channels = 3, .closed_loop = true, .decode_proxy = false});
  fovea::model::ReferenceSaccader<> open =
      fovea::model::Saccader::reference({.channels = 3, .closed_loop = false, .decode_proxy = false});
  fovea::Parameters<float> closed_weights{closed.layout(), 1};
  fovea::Parameters<float> open_weights{open.layout(), 1};

  [[nodiscard]] float answer(const fovea::ImageSource auto& image, bool closed_loop, double scale, std::uint64_t turn,
                             fovea::Arena& arena) const {
    arena.reset();
    Looking looking;
    looking.gaze = fovea::model::Gaze::uniform;  // an untrained policy looks at one place only
    looking.scale = scale;
    looking.noise.seed = turn;
    return closed_loop ? closed.classify(image, closed_weights, arena, looking).probabilities[0]
                       : open.classify(image, open_weights, arena, looking).probabilities[0];
  }
};

/// A way from a file to an answer.
struct Way {
  std::string name;
  fs::path file;
  ImageFileOptions options;
  bool closed_loop = true;
};

/// Medians over turns of each way's time, at both scales, and of a full decode; and of each way's ratio to the decode beside
/// it.
struct Timed {
  double milliseconds = 0;  ///< the worse of the two scales
  double ratio = 0;         ///< to the decode, the same
};
std::vector<Timed> time_ways(const Models& models, const std::vector<Way>& ways, const fs::path& baseline) {
  constexpr int kTurns = 15;
  fovea::Arena arena;
  std::vector<std::uint8_t> pixels;
  std::vector<Timed> result(ways.size());
  for (const double scale : {kNative, 0.15}) {
    std::vector<double> decodes;
    std::vector<std::vector<double>> times(ways.size());
    for (int turn = 0; turn <= kTurns; ++turn) {
      double start = peers::seconds(1);
      bench::decode_whole(baseline, pixels);
      if (turn > 0) decodes.push_back(peers::seconds(1) - start);  // the first of each fills the caches
      for (std::size_t i = 0; i < ways.size(); ++i) {
        start = peers::seconds(1);
        const ImageFile image = fovea::open_image(ways[i].file, ways[i].options);
        const float p = models.answer(image, ways[i].closed_loop, scale, static_cast<std::uint64_t>(turn), arena);
        if (turn > 0) times[i].push_back(peers::seconds(1) - start);
        fovea::require(p >= 0, "no answer");
      }
    }
    const double decode = peers::median(decodes);
    std::printf("at scale %.3f: full decode %.1f ms\n", scale, 1e3 * decode);
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const double taken = peers::median(times[i]);
      std::printf("  %-60s %7.2f ms\n", ways[i].name.c_str(), 1e3 * taken);
      result[i].milliseconds = std::max(result[i].milliseconds, 1e3 * taken);
      result[i].ratio = std::max(result[i].ratio, taken / decode);
    }
  }
  return result;
}

/// Peak memory in MB from opening a file to the answer, beyond what the model needs for a picture that is in memory.
double memory_above_model(const Models& models, const Way& way) {
  std::vector<std::uint8_t> grey(64 * 64 * 3, 128);
  const fovea::Pyramid<std::uint8_t> small(fovea::View<const std::uint8_t, 3>(grey.data(), {64, 64, 3}));
  double worst = 0;
  for (const double scale : {kNative, 0.15}) {
    const auto model = support::measure_in_child([&] {
      fovea::Arena arena;
      return std::vector<double>{static_cast<double>(models.answer(small, way.closed_loop, scale, 1, arena))};
    });
    const auto both = support::measure_in_child([&] {
      fovea::Arena arena;
      const ImageFile image = fovea::open_image(way.file, way.options);
      return std::vector<double>{static_cast<double>(models.answer(image, way.closed_loop, scale, 1, arena))};
    });
    worst = std::max(worst, (both.peak_mib - model.peak_mib) * 1.048576);
  }
  return worst;
}
/// The same with the model: its weights, and what it works in.
double memory_in_all(const Models& models, const Way& way) {
  const auto both = support::measure_in_child([&] {
    fovea::Arena arena;
    const ImageFile image = fovea::open_image(way.file, way.options);
    return std::vector<double>{static_cast<double>(models.answer(image, way.closed_loop, kNative, 1, arena))};
  });
  // The weights are the parent's, and were there before.
  return both.peak_mib * 1.048576 + 1e-6 * static_cast<double>(models.closed_weights.values().size() * 4);
}

/// Median milliseconds of `work(turn)`, and of a full decode between, over turns.
std::pair<double, double> beside_decode(const fs::path& baseline, const std::function<void(int)>& work) {
  std::vector<std::uint8_t> pixels;
  std::vector<double> ours, decodes;
  for (int turn = 0; turn <= 15; ++turn) {
    double start = peers::seconds(1);
    bench::decode_whole(baseline, pixels);
    if (turn > 0) decodes.push_back(1e3 * (peers::seconds(1) - start));
    start = peers::seconds(1);
    work(turn);
    if (turn > 0) ours.push_back(1e3 * (peers::seconds(1) - start));
  }
  return {peers::median(ours), peers::median(decodes)};
}

struct Difference {
  double mean = 0;
  double most = 0;
};
/// Of the proxy of a file from the area average, in double, of all pixels it holds; in steps of 1/255.
Difference proxy_error(const ImageFile& image, const fovea::Tensor<double, 3>& exact) {
  fovea::Tensor<float, 3> proxy(exact.extents());
  fovea::proxy(image, proxy.view());
  Difference d;
  for (Index i = 0; i < proxy.size(); ++i) {
    const double off = 255 * std::abs(static_cast<double>(proxy.data()[i]) - exact.data()[i]);
    d.mean += off / static_cast<double>(proxy.size());
    d.most = std::max(d.most, off);
  }
  return d;
}

void run(const std::string& command) { fovea::require(std::system(command.c_str()) == 0, "failed: ", command); }

/// The last rows of a peers' csv whose name is `name`: peer / fovea.
double ratio_of(const fs::path& csv, const std::string& name) {
  std::ifstream lines(csv);
  double ratio = std::numeric_limits<double>::quiet_NaN();
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + ",")) ratio = std::stod(line.substr(line.rfind(',') + 1));
  }
  return ratio;
}

int measure(const fs::path& folder) {
  const bench::Photographs files = bench::make_photographs(folder);
  const fs::path deflate = folder / "photograph-deflate.tif";
  const fs::path jpeg_tiles = folder / "photograph-jpeg.tif";
  const std::string make_pyramid = std::string("'") + FOVEA_EXAMPLES_DIR + "/make_pyramid' ";
  const auto quoted = [](const fs::path& p) { return "'" + p.string() + "'"; };
  if (!fs::exists(deflate)) run(make_pyramid + quoted(files.baseline) + " " + quoted(deflate) + " --compression deflate");
  if (!fs::exists(jpeg_tiles)) run(make_pyramid + quoted(files.baseline) + " " + quoted(jpeg_tiles) + " --compression jpeg");
  const fs::path large = folder / "100000x100000.tif";
  if (!fs::exists(large)) bench::LargeTiff::write(large, 100000, fovea::TiffCompression::deflate);

  const Models models;
  const std::vector<Way> ways{
      {"baseline JPEG closed loop least memory", files.baseline, {.channels = 3}, true},
      {"baseline JPEG open loop least memory", files.baseline, {.channels = 3}, false},
      {"baseline JPEG closed loop least time", files.baseline, {.channels = 3, .policy = fovea::ReadPolicy::least_time}, true},
      {"JPEG with a restart marker per row of blocks", files.restart, {.channels = 3}, true},
      {"progressive JPEG least memory", files.progressive, {.channels = 3}, true},
      {"tiled pyramidal TIFF 12 megapixels deflate", deflate, {.channels = 3}, true},
      {"tiled pyramidal TIFF 12 megapixels JPEG tiles", jpeg_tiles, {.channels = 3}, true},
      {"tiled pyramidal TIFF 10 gigapixels", large, {.channels = 3}, true},
  };
  const std::vector<Timed> timed = time_ways(models, ways, files.baseline);
  std::vector<double> memory;
  for (const Way& way : ways) memory.push_back(memory_above_model(models, way));

  Claims out;
  const auto pair = [&](std::size_t i, double time, double megabytes) {
    out.add(ways[i].name + ": time / a full decode by libjpeg-turbo", timed[i].ratio, Bound::at_most, time, "x");
    out.add(ways[i].name + ": memory above the model", memory[i], Bound::at_most, megabytes, "MB");
  };
  pair(0, 1.5, 8);
  pair(1, 1.1, 8);
  pair(2, 1.15, 45);
  pair(3, 0.8, 8);
  {
    const ImageFileOptions options{.channels = 3};
    const auto [region, decode] = beside_decode(files.baseline, [&](int turn) {
      const ImageFile image = fovea::open_image(files.restart, options);
      const Index top = (turn * 701) % (bench::kHeight - 64);
      const Index left = (turn * 977) % (bench::kWidth - 64);
      static_cast<void>(image.read(0, {top, left, 64, 64}));
    });
    out.add("JPEG with restart markers: a full decode / a region of 64x64 opened and read", decode / region, Bound::at_least,
            40, "x");
  }
  for (std::size_t i = 5; i < ways.size(); ++i) {
    out.add(ways[i].name + ": from the file to the answer", timed[i].milliseconds, Bound::at_most, 25, "ms");
  }
  const double in_12_megapixels = memory_in_all(models, ways[5]);
  const double in_10_gigapixels = memory_in_all(models, ways[7]);
  out.add("tiled pyramidal TIFF: peak memory 10 gigapixels against 12 megapixels; deviation",
          100 * std::abs(in_10_gigapixels / in_12_megapixels - 1), Bound::at_most, 5, "%");
  out.add("tiled pyramidal TIFF: peak memory; most", std::max(in_10_gigapixels, in_12_megapixels), Bound::at_most, 64, "MB");
  {
    const ImageFile raw = fovea::map_raw(files.raw, raw_layout);
    const fovea::glimpse::Antialiased sampler;
    fovea::Tensor<float, 3> glimpse({64, 64, 3});
    std::vector<double> times;
    for (int turn = 0; turn <= 101; ++turn) {
      const fovea::glimpse::Region<float> region{static_cast<float>(kNative), 1.6F * static_cast<float>(turn % 17) / 17 - 0.8F,
                                                 1.6F * static_cast<float>(turn % 13) / 13 - 0.8F};
      const double start = peers::seconds(1);
      sampler.sample(raw, region, glimpse.view());
      if (turn > 0) times.push_back(1e3 * (peers::seconds(1) - start));
    }
    out.add("glimpse of 64x64 from a memory-mapped file", peers::median(times), Bound::at_most, 0.1, "ms");
  }
  const fs::path csv = folder / "photograph.csv";
  fs::remove(csv);
  run("'" FOVEA_BINARY_DIR "/bench/peers/peers_photograph' " + quoted(csv));
  const std::string photograph = "photograph 3x3000x4000 from a JPEG file";
  out.add("photograph from a JPEG file: time of decoding all and ResNet-18 of onnxruntime / saccader",
          ratio_of(csv, photograph), Bound::at_least, 50, "x");
  out.add("photograph from a JPEG file: peak memory of the same / saccader",
          ratio_of(csv, photograph + " peak memory of the process in bytes"), Bound::at_least, 50, "x");

  std::vector<std::uint8_t> pixels;
  const fovea::Extents<3> extents = bench::decode_whole(files.baseline, pixels);
  double most = 0, mean = 0;
  for (const Index side : {100, 64, 25}) {
    fovea::Tensor<double, 3> exact({side, side, 3});
    fovea::resize_area(fovea::View<const std::uint8_t, 3>(pixels.data(), extents), exact.view());
    most = std::max({most, proxy_error(fovea::map_raw(files.raw, raw_layout), exact).most,
                     proxy_error(fovea::open_image(deflate, {.channels = 3}), exact).most});
    mean = std::max(mean, proxy_error(fovea::open_image(files.baseline, {.channels = 3}), exact).mean);
  }
  out.add("proxies of 25 to 100 pixels from raw and TIFF: largest difference from the exact area average", most, Bound::at_most,
          1, "of 255");
  out.add("the same from JPEG by DCT scaling: mean difference", mean, Bound::at_most, 2, "of 255");
  // As long as the last campaign of preset fuzz (tests/fuzz/CMakeLists.txt) was, where it found nothing.
  for (const std::string reader : {"jpeg", "tiff", "vips", "npy"}) {
    double seconds = std::numeric_limits<double>::quiet_NaN();
    std::ifstream(FOVEA_SOURCE_DIR "/build/fuzz/fuzz-" + reader + ".txt") >> seconds;
    out.add("fuzzing the reader " + reader + ": minutes without a crash a leak or more than 256 MB", seconds / 60,
            Bound::at_least, 10, "min");
  }
  return out.write("claims-images.csv");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return measure(fs::absolute(argc > 1 ? argv[1] : "claims-images"));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "claims_images: %s\n", error.what());
    return 2;
  }
}
