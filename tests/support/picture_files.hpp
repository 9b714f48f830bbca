// SPDX-License-Identifier: MIT
// Pictures as files, for tests that need image/vips.hpp.
#pragma once

#include "support/pictures.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/vips.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace fovea_test {

/// Waves and some noise, another picture for every seed.
inline Picture<std::uint8_t> waves(fovea::Extents<3> extents, std::uint64_t seed) {
  Picture<std::uint8_t> picture(extents);
  fovea::Stream stream(seed);
  const auto down = stream.uniform(0.02, 0.3);
  const auto across = stream.uniform(0.02, 0.3);
  for (fovea::Index y = 0; y < extents[0]; ++y) {
    for (fovea::Index x = 0; x < extents[1]; ++x) {
      for (fovea::Index c = 0; c < extents[2]; ++c) {
        const double wave =
            std::sin(down * static_cast<double>(y) + static_cast<double>(c)) + std::cos(across * static_cast<double>(x));
        picture.view()(y, x, c) = static_cast<std::uint8_t>(120 + 50 * wave + 20 * stream.uniform<double>());
      }
    }
  }
  return picture;
}

/// Writes a picture in the format of a suffix of libvips, with options, as in ".jpg[Q=95]"; `orientation` goes to EXIF.
inline void save(const std::filesystem::path& path, const Picture<std::uint8_t>& picture, const std::string& suffix,
                 int orientation = 0) {
  fovea::detail::vips::start();
  const fovea::Extents<3>& e = picture.extents;
  const fovea::detail::vips::Owned<VipsImage> image(
      vips_image_new_from_memory_copy(picture.pixels.data(), picture.pixels.size(), static_cast<int>(e[1]),
                                      static_cast<int>(e[0]), static_cast<int>(e[2]), VIPS_FORMAT_UCHAR));
  REQUIRE(image != nullptr);
  image->Type = e[2] == 1 ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB;
  if (orientation != 0) vips_image_set_int(image.get(), VIPS_META_ORIENTATION, orientation);
  void* data = nullptr;
  std::size_t size = 0;
  REQUIRE_MESSAGE(vips_image_write_to_buffer(image.get(), suffix.c_str(), &data, &size, nullptr) == 0,
                  fovea::detail::vips::last_error());
  std::ofstream(path, std::ios::binary).write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
  g_free(data);
}

}  // namespace fovea_test
