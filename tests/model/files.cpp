// SPDX-License-Identifier: MIT
// Every model on images in files: the answers are those on the picture in memory, whatever sizes come together.
#include "support/file_in_memory.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/image/file.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/model/full_resolution.hpp>
#include <fovea/model/proxy_only.hpp>
#include <fovea/model/saccader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

using namespace fovea;
using fovea_test::FileInMemory;
using Bytes = Tensor<std::uint8_t, 3>;

namespace {

Bytes picture(Extents<2> extent, double phase) {
  Bytes image({extent[0], extent[1], 1});
  for (Index i = 0; i < extent[0]; ++i) {
    for (Index j = 0; j < extent[1]; ++j) {
      image(i, j, 0) = static_cast<std::uint8_t>(127 + 60 * std::sin(0.07 * static_cast<double>(i) + phase) +
                                                 60 * std::cos(0.05 * static_cast<double>(j) * phase));
    }
  }
  return image;
}

struct File {
  std::shared_ptr<FileInMemory::Log> log = std::make_shared<FileInMemory::Log>();
  ImageFile image;

  explicit File(const Bytes& pixels)
      : image(std::make_unique<FileInMemory>(std::vector<Bytes>{pixels}, info(pixels), log), {.overview_pixels = 10000}) {}
  static ImageInfo info(const Bytes& pixels) {
    return {1, {{{pixels.extent(0), pixels.extent(1)}, {16, 16}, {1, 1}}}, Orientation::upright, true};
  }
};

double worst(std::span<const float> a, std::span<const float> b) {
  double difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference = std::max(difference, std::abs(static_cast<double>(a[i] - b[i])));
  return difference;
}

}  // namespace

TEST_CASE("models: a file, a view and a pyramid give one answer, sizes mix in a batch") {
  // Wide, tall, and smaller than a glimpse of 32x32.
  const std::vector<Extents<2>> extents{{120, 300}, {280, 97}, {20, 25}, {1, 7}};
  std::vector<Bytes> pictures;
  for (std::size_t i = 0; i < extents.size(); ++i) pictures.push_back(picture(extents[i], 1.0 + static_cast<double>(i)));
  for (const bool closed : {true, false}) {
    CAPTURE(closed);
    const model::Saccader saccader({.classes = 4, .closed_loop = closed});
    const Parameters<float> parameters(saccader.layout(), 5);
    std::vector<PyramidView<std::uint8_t>> views;
    std::vector<Pyramid<std::uint8_t>> pyramids;
    std::vector<ImageFile> files;
    std::vector<std::shared_ptr<FileInMemory::Log>> logs;
    for (const Bytes& p : pictures) {
      pyramids.emplace_back(p.view());
      File file(p);
      logs.push_back(file.log);
      files.push_back(std::move(file.image));
    }
    for (const auto& p : pyramids) views.push_back(p);
    Arena arena;
    const auto in_memory = saccader.classify(std::span<const PyramidView<std::uint8_t>>(views), parameters, arena);
    const auto in_files = saccader.classify(std::span<const ImageFile>(files), parameters, arena);
    REQUIRE(in_files.size() == extents.size());
    for (std::size_t b = 0; b < extents.size(); ++b) {
      CAPTURE(b);
      CHECK(worst(in_memory[b].probabilities, in_files[b].probabilities) < 5e-3);  // proxies come from other levels
      CHECK(in_files[b].regions.size() == 4);
      const model::Prediction alone = saccader.classify(files[b], parameters, arena);
      CHECK(worst(alone.probabilities, in_files[b].probabilities) < 1e-5);
    }
    // The overview, and in open loop all looks in one pass.
    CHECK(logs[0]->scans.size() == 1);
    File fresh(pictures[0]);
    static_cast<void>(saccader.classify(fresh.image, parameters, arena));
    const auto passes = fresh.log->calls.size() - (120 + 15) / 16;  // a scan of this decoder is a call for each row of tiles
    if (!closed) CHECK(passes <= 1);
    CHECK(passes <= 4);
  }
}

TEST_CASE("models: the peers read files too") {
  const Bytes pixels = picture({70, 90}, 2.0);
  const File file(pixels);
  const Pyramid<std::uint8_t> pyramid(pixels.view());
  Arena arena;
  const model::FullResolution whole({.classes = 3, .width = 8, .blocks_per_stage = 1});
  const Parameters<float> a(whole.layout(), 1);
  CHECK(worst(whole.classify(pyramid, a, arena).probabilities, whole.classify(file.image, a, arena).probabilities) == 0);
  const model::ProxyOnly thumbnail({.classes = 3});
  const Parameters<float> b(thumbnail.layout(), 1);
  CHECK(worst(thumbnail.classify(pyramid, b, arena).probabilities, thumbnail.classify(file.image, b, arena).probabilities) <
        1e-3);
  const model::Saccader colour({.classes = 3, .channels = 3});
  const Parameters<float> c(colour.layout(), 1);
  CHECK_THROWS_WITH_AS(static_cast<void>(colour.classify(file.image, c, arena)), "proxy: 3 channels expected, the image has 1",
                       Error);
}
