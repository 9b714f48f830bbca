// SPDX-License-Identifier: MIT
#pragma once

#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/decoder.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace fovea_test {

/// A picture as if it were a file: levels in memory, a log of what was decoded, and damage on demand.
class FileInMemory final : public fovea::ImageDecoder<std::uint8_t> {
 public:
  struct Log {
    std::vector<std::vector<fovea::PixelBox>> calls;
    std::vector<int> scans;
    bool broken = false;
  };

  FileInMemory(std::vector<fovea::Tensor<std::uint8_t, 3>> levels, fovea::ImageInfo info, std::shared_ptr<Log> log)
      : ImageDecoder(std::move(info)), levels_(std::move(levels)), log_(std::move(log)) {}
  void decode(int level, std::span<const fovea::Tile<std::uint8_t>> tiles) override {
    fovea::require(!log_->broken, "fake: the file is broken");
    std::vector<fovea::PixelBox> boxes;
    const fovea::Tensor<std::uint8_t, 3>& image = levels_[static_cast<std::size_t>(level)];
    for (const auto& tile : tiles) {
      boxes.push_back(tile.box);
      for (fovea::Index i = 0; i < tile.box.height; ++i) {
        for (fovea::Index j = 0; j < tile.box.width; ++j) {
          for (fovea::Index c = 0; c < image.extent(2); ++c)
            tile.pixels(i, j, c) = image(tile.box.top + i, tile.box.left + j, c);
        }
      }
      decoded_.pixels += tile.box.height * tile.box.width;
    }
    decoded_.bytes = decoded_.pixels;
    log_->calls.push_back(boxes);
  }
  void scan(int level, const fovea::RowSink<std::uint8_t>& sink) override {
    log_->scans.push_back(level);
    ImageDecoder::scan(level, sink);
  }

 private:
  std::vector<fovea::Tensor<std::uint8_t, 3>> levels_;
  std::shared_ptr<Log> log_;
};

}  // namespace fovea_test
