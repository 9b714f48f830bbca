// SPDX-License-Identifier: MIT
/// \file
/// A picture of what a model looked at: the proxy from which it decides, the image with the regions numbered in order
/// of gaze, and the glimpses it read from them.
#pragma once

#include "drawing.hpp"
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace support {

/// One test image and how it was looked at. Pictures are height x width x (1 or 3), 0 to 255.
struct GazeExample {
  fovea::Tensor<std::uint8_t, 3> image;                  ///< at any size: it is shown small
  fovea::Tensor<std::uint8_t, 3> proxy;                  ///< what the policy sees; may be empty
  std::vector<fovea::glimpse::Region<float>> regions;    ///< in order of gaze
  std::vector<fovea::Tensor<std::uint8_t, 3>> glimpses;  ///< as many as regions
  std::string truth;                                     ///< the true class, as it is to be printed
  std::string answer;                                    ///< the model's
  double confidence = -1;                                ///< of the answer, in [0, 1]; negative: not shown
};

namespace detail {

inline constexpr Index kPanel = 400;  ///< height and width in pixels at which an image is shown
inline constexpr Index kGap = 16;
inline constexpr Index kCaption = 40;

/// Where a number stands: a filled rectangle with its upper left corner at (x, y).
inline Area badge_area(Index x, Index y, std::size_t number) {
  const Index scale = 2;
  return {x, y, text_width(std::to_string(number), scale) + 3 * scale, text_height(scale) + 3 * scale};
}
inline void badge(PictureView picture, Index x, Index y, std::size_t number, Colour colour) {
  fill(picture, badge_area(x, y, number), colour);
  draw_text(picture, x + 3, y + 3, std::to_string(number), 2, kBlack);
}

/// The part of `picture` under `area`, to which drawing is clipped.
inline PictureView part(PictureView picture, Area area) {
  return {&picture(area.y, area.x, 0), {area.height, area.width, 3}, picture.strides()};
}

/// The image with its regions at kPanel x kPanel.
inline void draw_gaze(PictureView panel, const GazeExample& example) {
  draw_image(panel, {0, 0, panel.extent(1), panel.extent(0)}, example.image.view(), Scaling::smooth);
  const fovea::Extents<2> size{panel.extent(0), panel.extent(1)};
  const auto rectangle = [&](std::size_t i) {
    return fovea::glimpse::to_pixels(example.regions[i], fovea::glimpse::Aspect::stretch, size);
  };
  for (std::size_t i = 1; i < example.regions.size(); ++i) {
    const auto from = rectangle(i - 1);
    const auto to = rectangle(i);
    line(panel, (from.left + from.right) / 2, (from.top + from.bottom) / 2, (to.left + to.right) / 2, (to.top + to.bottom) / 2,
         1, kGrey);
  }
  std::vector<Area> badges;
  for (std::size_t i = 0; i < example.regions.size(); ++i) {
    const auto r = rectangle(i);
    const auto pixel = [](double at) {
      return std::isnan(at) ? Index{0} : static_cast<Index>(std::lround(std::clamp(at, -1e6, 1e6)));
    };
    const Area area{pixel(r.left), pixel(r.top), pixel(r.right) - pixel(r.left), pixel(r.bottom) - pixel(r.top)};
    outline(panel, area, 3, palette(i));
    // The number at the upper left corner, moved right where an earlier one stands, so that all can be read.
    Area label = badge_area(area.x, area.y, i + 1);
    label.x = std::clamp(label.x, Index{0}, size[1] - label.width);
    label.y = std::clamp(label.y, Index{0}, size[0] - label.height);
    const auto taken = [&](const Area& other) {
      return other.x < label.x + label.width && label.x < other.x + other.width && other.y < label.y + label.height &&
             label.y < other.y + other.height;
    };
    for (auto other = badges.begin(); other != badges.end();) {
      other = std::find_if(badges.begin(), badges.end(), taken);
      if (other == badges.end() || other->x + other->width + label.width > size[1]) break;
      label.x = other->x + other->width;
    }
    badges.push_back(label);
  }
  for (std::size_t i = 0; i < badges.size(); ++i) badge(panel, badges[i].x, badges[i].y, i + 1, palette(i));
}

/// The glimpses in a square of panels, framed in the colours of their regions.
inline void draw_glimpses(PictureView panel, const GazeExample& example) {
  const auto count = static_cast<Index>(example.glimpses.size());
  if (count == 0) return;
  Index columns = 1;
  while (columns * columns < count) ++columns;
  const Index gap = 8;
  const Index side = (panel.extent(1) - gap * (columns - 1)) / columns;
  for (Index i = 0; i < count; ++i) {
    const Area area{i % columns * (side + gap), i / columns * (side + gap), side, side};
    const auto at = static_cast<std::size_t>(i);
    draw_image(panel, area, example.glimpses[at].view(), Scaling::nearest);
    outline(panel, area, 3, palette(at));
    badge(panel, area.x, area.y, at + 1, palette(at));
  }
}

}  // namespace detail

/// One example: proxy, image and glimpses side by side under a caption, on white.
/// Throws fovea::Error where there is no image, or regions and glimpses differ in number.
[[nodiscard]] inline Picture draw_gaze_example(const GazeExample& example) {
  using namespace detail;
  fovea::require(example.image.size() > 0, "gaze sheet: an image expected, none came");
  fovea::require(example.glimpses.size() == example.regions.size(), "gaze sheet: as many glimpses as regions expected, ",
                 example.glimpses.size(), " glimpses and ", example.regions.size(), " regions came");
  Picture picture = make_picture(kCaption + kPanel + kGap, 3 * kPanel + 4 * kGap);
  const Index scale = 2;
  const Index baseline = (kCaption - text_height(scale)) / 2;
  const auto column = [](Index i) { return kGap + i * (kPanel + kGap); };

  draw_text(picture, column(0), baseline,
            "proxy " + std::to_string(example.proxy.extent(1)) + "x" + std::to_string(example.proxy.extent(0)), scale, kGrey);
  if (example.proxy.size() > 0) {
    draw_image(picture, {column(0), kCaption, kPanel, kPanel}, example.proxy.view(), Scaling::nearest);
  }

  const bool right = example.truth == example.answer;
  std::string said = "  said " + example.answer;
  if (example.confidence >= 0) said += " (" + std::to_string(std::lround(100 * example.confidence)) + " %)";
  const Index x = draw_text(picture, column(1), baseline, "true " + example.truth, scale, kBlack);
  draw_text(picture, x, baseline, said, scale, right ? kRight : kWrong);
  draw_gaze(part(picture, {column(1), kCaption, kPanel, kPanel}), example);

  if (!example.glimpses.empty()) {
    const auto& first = example.glimpses.front();
    draw_text(picture, column(2), baseline,
              "glimpses " + std::to_string(first.extent(1)) + "x" + std::to_string(first.extent(0)), scale, kGrey);
  }
  draw_glimpses(part(picture, {column(2), kCaption, kPanel, kPanel}), example);
  return picture;
}

/// All examples on one sheet, `columns` beside each other. Throws fovea::Error without examples.
[[nodiscard]] inline Picture draw_gaze_sheet(std::span<const GazeExample> examples, Index columns = 2) {
  fovea::require(!examples.empty() && columns >= 1, "gaze sheet: at least one example and one column expected");
  const auto count = static_cast<Index>(examples.size());
  columns = std::min(columns, count);
  Picture sheet;
  for (Index i = 0; i < count; ++i) {
    const Picture one = draw_gaze_example(examples[static_cast<std::size_t>(i)]);
    if (i == 0) sheet = make_picture((count + columns - 1) / columns * one.extent(0), columns * one.extent(1));
    draw_image(sheet, {i % columns * one.extent(1), i / columns * one.extent(0), one.extent(1), one.extent(0)}, one.view(),
               Scaling::nearest);
  }
  return sheet;
}

}  // namespace support
