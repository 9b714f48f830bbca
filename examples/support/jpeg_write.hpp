// SPDX-License-Identifier: MIT
/// \file
/// Pictures to JPEG files, by libjpeg.
#pragma once

#include "files.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <jpeglib.h>  // needs what stands above

#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <filesystem>

namespace support {

namespace detail {

struct JpegErrors {
  jpeg_error_mgr manager{};  // first, so that libjpeg's pointer to it points at this
  std::jmp_buf jump{};
  std::array<char, JMSG_LENGTH_MAX> message{};

  JpegErrors() {
    jpeg_std_error(&manager);
    manager.error_exit = [](j_common_ptr c) {
      auto* self = reinterpret_cast<JpegErrors*>(c->err);
      c->err->format_message(c, self->message.data());
      std::longjmp(self->jump, 1);
    };
  }
};

/// Holds nothing that wants to be destroyed, as libjpeg leaves it by a jump; false where it does.
inline bool compress(jpeg_compress_struct& c, JpegErrors& errors, std::FILE* file,
                     const fovea::View<const std::uint8_t, 3>& picture, int quality) {
  if (setjmp(errors.jump) != 0) return false;
  jpeg_create_compress(&c);
  jpeg_stdio_dest(&c, file);
  c.image_width = static_cast<JDIMENSION>(picture.extent(1));
  c.image_height = static_cast<JDIMENSION>(picture.extent(0));
  c.input_components = 3;
  c.in_color_space = JCS_RGB;
  jpeg_set_defaults(&c);
  jpeg_set_quality(&c, quality, TRUE);
  jpeg_start_compress(&c, TRUE);
  while (c.next_scanline < c.image_height) {
    auto* row = const_cast<JSAMPROW>(picture.data() + c.next_scanline * picture.stride(0));
    jpeg_write_scanlines(&c, &row, 1);
  }
  jpeg_finish_compress(&c);
  return true;
}

}  // namespace detail

/// Writes an 8-bit RGB picture {height, width, 3} (the rows may lie apart, pixels within one not) as a baseline JPEG file of
/// one scan, chroma at half the resolution (4:2:0), quality 1 to 100 as libjpeg counts it. Throws fovea::Error on other shapes
/// and where the file cannot be written; then what was there before is untouched.
inline void write_jpeg(const std::filesystem::path& path, fovea::View<const std::uint8_t, 3> picture, int quality) {
  constexpr fovea::Index most = JPEG_MAX_DIMENSION;
  fovea::require(picture.extent(0) >= 1 && picture.extent(0) <= most && picture.extent(1) >= 1 && picture.extent(1) <= most &&
                     picture.extent(2) == 3,
                 path.string(), ": a picture of 1 to ", most, " pixels a side and 3 channels expected, one of ",
                 picture.extent(0), " x ", picture.extent(1), " x ", picture.extent(2), " came");
  fovea::require(picture.stride(2) == 1 && picture.stride(1) == 3 && picture.stride(0) >= picture.extent(1) * 3, path.string(),
                 ": a picture with dense rows expected");
  fovea::require(quality >= 1 && quality <= 100, path.string(), ": a quality of 1 to 100 expected, ", quality, " came");
  write_file(path, [&](std::FILE* file) {
    detail::JpegErrors errors;
    jpeg_compress_struct c{};
    c.err = &errors.manager;
    const bool written = detail::compress(c, errors, file, picture, quality);
    jpeg_destroy_compress(&c);
    if (!written) fovea::fail(path.string(), ": cannot be written: libjpeg: ", errors.message.data());
    return true;
  });
}

}  // namespace support
