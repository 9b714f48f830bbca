// SPDX-License-Identifier: MIT
/// \file
/// A drawing of where a model looked and what it answered after each step: SVG, as text. The same as JSON is
/// scan_path_json.hpp.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/model/prediction.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// The image that a prediction is about.
struct ScanPath {
  Extents<2> image;               ///< {height, width} in pixels, at least 1 each
  std::string_view picture = {};  ///< where to find it, as a link: a path or an address, also `data:`; empty: it is not shown
  std::span<const std::string> classes = {};  ///< their names, K of them; empty: their numbers are
  Extents<2> glimpse = {1, 1};                ///< {height, width} of a glimpse: matters under Aspect::isotropic
  glimpse::Aspect aspect = glimpse::Aspect::stretch;
};

namespace detail {

/// Text that is UTF-8 and may stand in XML: what is neither becomes U+FFFD.
[[nodiscard]] inline std::string clean_text(std::string_view text) {
  constexpr std::string_view unknown = "\xEF\xBF\xBD";
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t at) {
      return at < text.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(text[at])) : 0U;
    };
    const std::uint32_t first = byte(i);
    const std::size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    std::uint32_t code = length < 2 ? first : first & (0x7FU >> length);
    bool good = length > 0;
    for (std::size_t k = 1; good && k < length; ++k) {
      good = (byte(i + k) & 0xC0U) == 0x80;
      code = code << 6U | (byte(i + k) & 0x3FU);
    }
    const std::array<std::uint32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
    good = good && code >= least[length] && code <= 0x10FFFF && !(code >= 0xD800 && code < 0xE000) && code != 0xFFFE &&
           code != 0xFFFF && (code >= 0x20 || code == '\t' || code == '\n' || code == '\r');
    out += good ? text.substr(i, length) : unknown;
    i += good ? length : 1;
  }
  return out;
}

/// The same for the text of an element, or an attribute in quotes.
[[nodiscard]] inline std::string escaped_text(std::string_view text) {
  std::string out;
  for (const char c : clean_text(text)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

/// A finite number with so many digits behind the point, whatever the locale.
[[nodiscard]] inline std::string fixed(double value, int digits = 3) {
  std::array<char, 400> text;  // the greatest double has 309 digits before the point
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, digits);
  FOVEA_ASSERT(error == std::errc{});
  (void)error;
  return {text.data(), end};
}

/// A prediction that can be drawn and written: throws Error on an image without pixels, another number of names, answers or
/// entropies than there are, no answer, numbers that are not finite, and regions without an area.
class ScanPathSteps {
 public:
  ScanPathSteps(const Prediction& prediction, const ScanPath& path) : prediction_(prediction), path_(path) {
    const std::size_t classes = prediction.probabilities.size();
    const std::size_t steps = prediction.regions.size();
    require(path.image[0] >= 1 && path.image[1] >= 1 && path.glimpse[0] >= 1 && path.glimpse[1] >= 1,
            "scan path: an image and a glimpse of at least 1x1 expected, ", path.image[0], "x", path.image[1], " and ",
            path.glimpse[0], "x", path.glimpse[1], " came");
    require(prediction.label >= 0 && static_cast<std::size_t>(prediction.label) < classes,
            "scan path: an answer of a class in [0, ", classes, ") expected, ", prediction.label, " came");
    require(path.classes.empty() || path.classes.size() == classes, "scan path: the names of ", classes, " classes expected, ",
            path.classes.size(), " came");
    require(prediction.after_steps.empty() || prediction.after_steps.size() == steps * classes, "scan path: ", steps, " x ",
            classes, " numbers after the steps expected, ", prediction.after_steps.size(), " came");
    require(prediction.uncertainty.empty() || prediction.uncertainty.size() == steps, "scan path: ", steps,
            " entropies expected, ", prediction.uncertainty.size(), " came");
    for (const auto& numbers : {prediction.probabilities, prediction.after_steps, prediction.uncertainty}) {
      for (const float number : numbers)
        require(std::isfinite(number), "scan path: finite numbers expected, ", number, " came");
    }
    for (const auto& r : prediction.regions) {
      require(std::isfinite(r.s) && std::isfinite(r.x) && std::isfinite(r.y) && r.s > 0,
              "scan path: finite regions with an area expected, s ", r.s, ", x ", r.x, ", y ", r.y, " came");
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return prediction_.regions.size(); }
  [[nodiscard]] glimpse::PixelRectangle pixels(std::size_t step) const {
    return glimpse::to_pixels(prediction_.regions[step], path_.aspect, path_.image, path_.glimpse);
  }
  /// The answer after a step; empty where the model answers once.
  [[nodiscard]] std::span<const float> answer(std::size_t step) const {
    if (prediction_.after_steps.empty()) return {};
    const std::size_t classes = prediction_.probabilities.size();
    return prediction_.after_steps.subspan(step * classes, classes);
  }
  /// The name of a class, or its number.
  [[nodiscard]] std::string name(std::size_t label) const {
    return path_.classes.empty() ? std::to_string(label) : path_.classes[label];
  }

 private:
  Prediction prediction_;
  ScanPath path_;
};

}  // namespace detail

/// The path as an SVG document in pixels of the image: its picture, where a link to it is given; the rectangles of the regions,
/// numbered in order of gaze, each with the answer after it as its title, which a browser shows under the pointer; the line of
/// gaze; the answer as the document's title. What lies beyond the image is cut off. Names and links are escaped. Throws Error
/// on what detail::ScanPathSteps does not take.
[[nodiscard]] inline std::string scan_path_svg(const Prediction& prediction, const ScanPath& path) {
  const detail::ScanPathSteps steps(prediction, path);
  using detail::fixed;
  const auto says = [&](std::span<const float> answer) {
    const auto best = static_cast<std::size_t>(std::max_element(answer.begin(), answer.end()) - answer.begin());
    return detail::escaped_text(steps.name(best)) + ", " + fixed(static_cast<double>(answer[best]));
  };
  const std::string width = std::to_string(path.image[1]);
  const std::string height = std::to_string(path.image[0]);
  const double longer = static_cast<double>(std::max(path.image[0], path.image[1]));
  const double line = longer / 300;
  const double letter = longer / 25;

  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + width + " " + height + "\">\n";
  svg += "<title>" + says(prediction.probabilities) + "</title>\n";
  if (!path.picture.empty()) {
    svg += "<image href=\"" + detail::escaped_text(path.picture) + "\" width=\"" + width + "\" height=\"" + height +
           "\" preserveAspectRatio=\"none\"/>\n";
  }
  svg += "<rect width=\"" + width + "\" height=\"" + height + "\" fill=\"none\" stroke=\"#888\" stroke-width=\"" + fixed(line) +
         "\"/>\n";
  if (steps.size() > 0) {
    svg += "<polyline fill=\"none\" stroke=\"#888\" stroke-width=\"" + fixed(line) + "\" points=\"";
    for (std::size_t t = 0; t < steps.size(); ++t) {
      const glimpse::PixelRectangle r = steps.pixels(t);
      if (t > 0) svg += ' ';
      svg += fixed((r.left + r.right) / 2) + "," + fixed((r.top + r.bottom) / 2);
    }
    svg += "\"/>\n";
  }
  for (std::size_t t = 0; t < steps.size(); ++t) {
    const glimpse::PixelRectangle r = steps.pixels(t);
    // The golden angle on the circle of hues keeps any few of them apart.
    const std::string colour = "hsl(" + fixed(std::fmod(137.508 * static_cast<double>(t), 360.0), 0) + ",90%,60%)";
    const std::string number = std::to_string(t + 1);
    svg += "<g><title>" + number;
    if (const auto answer = steps.answer(t); !answer.empty()) svg += ": " + says(answer);
    svg += "</title><rect x=\"" + fixed(r.left) + "\" y=\"" + fixed(r.top) + "\" width=\"" + fixed(r.right - r.left) +
           "\" height=\"" + fixed(r.bottom - r.top) + "\" fill=\"" + colour + "\" fill-opacity=\"0.08\" stroke=\"" + colour +
           "\" stroke-width=\"" + fixed(2 * line) + "\"/>";
    const double x = std::clamp(r.left + line, 0.0, std::max(0.0, static_cast<double>(path.image[1]) - letter));
    const double y = std::clamp(r.top + letter, letter, std::max(letter, static_cast<double>(path.image[0])));
    svg += "<text x=\"" + fixed(x) + "\" y=\"" + fixed(y) + "\" font-family=\"sans-serif\" font-size=\"" + fixed(letter) +
           "\" fill=\"" + colour + "\" stroke=\"#000\" stroke-width=\"" + fixed(line / 3) + "\">" + number + "</text></g>\n";
  }
  return svg + "</svg>\n";
}

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
