// SPDX-License-Identifier: MIT
/// \file
/// Pictures to PNG files, by libpng.
#pragma once

#include "files.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <png.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>

namespace support {

/// Writes an 8-bit picture (height x width x 1 for grey, x 3 for RGB; the rows may lie apart, pixels within one not).
/// Throws fovea::Error on other shapes and where the file cannot be written; then what was there before is untouched.
inline void write_png(const std::filesystem::path& path, fovea::View<const std::uint8_t, 3> picture) {
  const fovea::Index channels = picture.extent(2);
  fovea::require(channels == 1 || channels == 3, path.string(), ": a picture of 1 or 3 channels expected, one of ", channels,
                 " came");
  constexpr fovea::Index most = 1 << 20;
  fovea::require(picture.extent(0) >= 1 && picture.extent(0) <= most && picture.extent(1) >= 1 && picture.extent(1) <= most,
                 path.string(), ": a picture of 1 to ", most, " pixels a side expected, one of ", picture.extent(0), " x ",
                 picture.extent(1), " came");
  fovea::require(picture.stride(2) == 1 && picture.stride(1) == channels && picture.stride(0) >= picture.extent(1) * channels,
                 path.string(), ": a picture with dense rows expected");

  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.extent(1));
  image.height = static_cast<png_uint_32>(picture.extent(0));
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  write_file(path, [&](std::FILE* file) {
    const int written =
        png_image_write_to_stdio(&image, file, 0, picture.data(), static_cast<png_int_32>(picture.stride(0)), nullptr);
    if (written == 0) fovea::fail(path.string(), ": cannot be written: libpng: ", image.message);
    return true;
  });
}

}  // namespace support
