// SPDX-License-Identifier: MIT
/// \file
/// Pictures from PNG files, by libpng.
#pragma once

#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <png.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

namespace support {

/// The picture of a PNG file of any kind as {height, width, 4}: red, green, blue, alpha (not premultiplied), 8 bits each.
/// Throws fovea::Error where it cannot be read, is damaged, or has more than `most` pixels a side.
[[nodiscard]] inline fovea::Tensor<std::uint8_t, 3> read_png(const std::filesystem::path& path, fovea::Index most = 4096) {
  errno = 0;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) fovea::fail(path.string(), ": cannot be read: ", std::strerror(errno));
  const auto release = [](png_image* image) { png_image_free(image); };
  png_image image{};
  const std::unique_ptr<png_image, decltype(release)> owner(&image, release);
  image.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_stdio(&image, file.get()) == 0) {
    fovea::fail(path.string(), ": a PNG file expected: libpng: ", image.message);
  }
  fovea::require(image.width <= most && image.height <= most, path.string(), ": a picture of at most ", most,
                 " pixels a side expected, one of ", image.height, " x ", image.width, " came");
  image.format = PNG_FORMAT_RGBA;
  fovea::Tensor<std::uint8_t, 3> picture({static_cast<fovea::Index>(image.height), static_cast<fovea::Index>(image.width), 4});
  const int read = png_image_finish_read(&image, nullptr, picture.data(), 0, nullptr);
  // What is a warning to libpng is damage to us: half a picture.
  if (read == 0 || PNG_IMAGE_FAILED(image)) fovea::fail(path.string(), ": a damaged PNG file: libpng: ", image.message);
  return picture;
}

}  // namespace support
