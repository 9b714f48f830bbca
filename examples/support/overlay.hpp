// SPDX-License-Identifier: MIT
/// \file
/// A picture with where a model looked drawn over it.
#pragma once

#include "drawing.hpp"
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace support {

/// The whole image (bytes, 1 or 3 channels), reduced where its longer side has more than `most` pixels; in it the rectangles,
/// in pixels of the image, numbered in order; below it `label`, of whose letters the font has those of ASCII. Throws
/// fovea::Error where the image cannot be read.
template <fovea::ImageSource S>
  requires std::same_as<fovea::PixelOf<S>, std::uint8_t>
[[nodiscard]] Picture draw_overlay(const S& image, std::span<const fovea::glimpse::PixelRectangle> rectangles,
                                   std::string_view label, Index most = 1600) {
  const fovea::Extents<2> extent = image.extent();
  const double shrink = std::min(1.0, static_cast<double>(most) / static_cast<double>(std::max(extent[0], extent[1])));
  const auto shrunk = [shrink](Index pixels) {
    return std::max(Index{1}, static_cast<Index>(std::lround(shrink * static_cast<double>(pixels))));
  };
  const Index height = shrunk(extent[0]);
  const Index width = shrunk(extent[1]);
  const Index letter = std::max(Index{1}, std::max(height, width) / 400);  // pixels of a dot of the font
  const Index line = std::max(Index{2}, std::max(height, width) / 300);
  const Index foot = text_height(letter) + 6 * letter;

  Picture picture = make_picture(height + foot, width);
  draw_image(picture.view(), {0, 0, width, height}, fovea::read(image, {0, 0, extent[0], extent[1]}, {height, width}),
             Scaling::smooth);
  for (std::size_t i = 0; i < rectangles.size(); ++i) {
    const auto& r = rectangles[i];
    const auto place = [](double at, double factor, Index limit) {
      return std::clamp(static_cast<Index>(std::lround(at * factor)), Index{0}, limit);
    };
    const Index left = place(r.left, shrink, width);
    const Index top = place(r.top, shrink, height);
    const Index right = place(r.right, shrink, width);
    const Index bottom = place(r.bottom, shrink, height);
    outline(picture.view(), {left, top, right - left, bottom - top}, line, palette(i));
    // On a patch of its colour, which is bright: a number is to be read on any picture.
    const std::string number = std::to_string(i + 1);
    const Area patch{left, top, text_width(number, letter) + 4 * letter, text_height(letter) + 4 * letter};
    fill(picture.view(), patch, palette(i));
    draw_text(picture.view(), left + 2 * letter, top + 2 * letter, number, letter, kBlack);
  }
  fill(picture.view(), {0, height, width, foot}, kWhite);
  draw_text(picture.view(), 3 * letter, height + 3 * letter, label, letter, kBlack);
  return picture;
}

}  // namespace support
