// SPDX-License-Identifier: MIT
/// \file
/// The photograph of the claims about files: 4000x3000 pixels out of a real one, as the formats that are compared.
#pragma once

#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <jpeglib.h>  // after cstdio, which it needs

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace bench {

using fovea::Index;

/// Kleiber_by_Lukas_Baubkus.jpg of Debian's lomiri-wallpapers-20.04, 6028x3391, baseline.
inline const std::filesystem::path kPhotograph = "/usr/share/backgrounds/Kleiber_by_Lukas_Baubkus.jpg";
inline constexpr Index kHeight = 3000;
inline constexpr Index kWidth = 4000;

/// Decodes a whole JPEG file with libjpeg-turbo as any program would: {height, width, 3} into `pixels`, which keeps its memory.
inline fovea::Extents<3> decode_whole(const std::filesystem::path& path, std::vector<std::uint8_t>& pixels) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  fovea::require(file != nullptr, "cannot open ", path.string());
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&info);
  jpeg_stdio_src(&info, file);
  jpeg_read_header(&info, TRUE);
  info.out_color_space = JCS_RGB;
  jpeg_start_decompress(&info);
  const fovea::Extents<3> extents{info.output_height, info.output_width, 3};
  pixels.resize(static_cast<std::size_t>(fovea::product(extents)));
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = pixels.data() + static_cast<std::size_t>(info.output_scanline) * info.output_width * 3;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  std::fclose(file);
  return extents;
}

/// Quality 90, 4:2:0, as cameras write; `restart_rows` rows of blocks between restart markers, 0: none.
inline void write_jpeg(const std::filesystem::path& path, const std::uint8_t* pixels, Index height, Index width,
                       int restart_rows = 0, bool progressive = false) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  fovea::require(file != nullptr, "cannot write ", path.string());
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  jpeg_stdio_dest(&info, file);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 90, TRUE);
  info.restart_in_rows = restart_rows;
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(pixels) + static_cast<std::size_t>(info.next_scanline) * info.image_width * 3;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::fclose(file);
}

struct Photographs {
  std::filesystem::path baseline, restart, progressive, raw;
};

/// Makes the files in `folder` where they are not there yet. Throws Error without the photograph.
inline Photographs make_photographs(const std::filesystem::path& folder) {
  const Photographs files{folder / "photograph.jpg", folder / "photograph-restart.jpg", folder / "photograph-progressive.jpg",
                          folder / "photograph.raw"};
  if (std::filesystem::exists(files.raw)) return files;  // the last that is written
  fovea::require(std::filesystem::exists(kPhotograph), "no ", kPhotograph.string(),
                 ": apt-get install lomiri-wallpapers-20.04");
  std::filesystem::create_directories(folder);
  std::vector<std::uint8_t> whole;
  const fovea::Extents<3> extents = decode_whole(kPhotograph, whole);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(kHeight * kWidth * 3));
  const Index top = (extents[0] - kHeight) / 2;
  const Index left = (extents[1] - kWidth) / 2;
  for (Index y = 0; y < kHeight; ++y) {
    std::copy_n(whole.data() + ((top + y) * extents[1] + left) * 3, kWidth * 3, pixels.data() + y * kWidth * 3);
  }
  write_jpeg(files.baseline, pixels.data(), kHeight, kWidth);
  write_jpeg(files.restart, pixels.data(), kHeight, kWidth, 1);
  write_jpeg(files.progressive, pixels.data(), kHeight, kWidth, 0, true);
  // What the JPEG holds, not what went in, so that all files show the same.
  decode_whole(files.baseline, pixels);
  const std::filesystem::path part = files.raw.string() + ".part";
  std::ofstream(part, std::ios::binary)
      .write(reinterpret_cast<const char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()));
  std::filesystem::rename(part, files.raw);
  return files;
}

}  // namespace bench
