// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include <fovea/glimpse/region.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/model/scan_path.hpp>

#include <doctest/doctest.h>

#include <array>
#include <clocale>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using glimpse::Region;
using model::Prediction;
using model::scan_path_svg;
using model::ScanPath;

namespace {

const std::array<Region<float>, 2> kRegions{{{0.25F, -0.5F, 0}, {0.5F, 0.5F, 0.5F}}};
const std::array<float, 6> kAfter{0.5F, 0.375F, 0.125F, 0.25F, 0.125F, 0.625F};

Prediction seen() {
  Prediction p;
  p.label = 2;
  p.after_steps = kAfter;
  p.probabilities = p.after_steps.last(3);
  p.regions = kRegions;
  return p;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// Every element is closed in turn, every attribute is in quotes, every & begins one of five names. Not all of XML: what is
/// written here.
bool well_formed(std::string_view text) {
  std::vector<std::string> open;
  bool any = false;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == '&') {
      bool known = false;
      for (const std::string_view name : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"})
        known |= text.substr(i).starts_with(name);
      if (!known) return false;
    }
    if (text[i] == '>') return false;
    if (text[i] != '<') {
      ++i;
      continue;
    }
    any = true;
    std::size_t end = i + 1;
    for (bool quoted = false; end < text.size() && (quoted || text[end] != '>'); ++end) {
      if (text[end] == '"') quoted = !quoted;
      if (text[end] == '<') return false;
    }
    if (end == text.size()) return false;
    const std::string_view tag = text.substr(i + 1, end - i - 1);
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (!tag.ends_with('/')) {
      open.emplace_back(tag.substr(0, tag.find(' ')));
    }
    i = end + 1;
  }
  return any && open.empty();
}

}  // namespace

TEST_CASE("scan path: the drawing, by hand") {
  const std::array<std::string, 3> names{"cat", "dog", "bird"};
  const std::string svg = scan_path_svg(seen(), {{100, 200}, "a.png", names});
  CHECK(well_formed(svg));
  CHECK(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 200 100\">\n<title>bird, 0.625</title>\n"));
  CHECK(has(svg, "<image href=\"a.png\" width=\"200\" height=\"100\""));
  // Centres at (50, 50) and (150, 75); half-extents of 25x12.5 and 50x25 pixels.
  CHECK(has(svg, "points=\"50.000,50.000 150.000,75.000\""));
  CHECK(has(svg, "<title>1: cat, 0.500</title><rect x=\"25.000\" y=\"37.500\" width=\"50.000\" height=\"25.000\""));
  CHECK(has(svg, "<title>2: bird, 0.625</title><rect x=\"100.000\" y=\"50.000\" width=\"100.000\" height=\"50.000\""));
  CHECK(has(svg, ">1</text>"));
  CHECK(has(svg, ">2</text>"));
  CHECK(!has(svg, ">3</text>"));
  // Isotropic, square glimpses: 0.25 of half the longer side both ways.
  CHECK(has(scan_path_svg(seen(), {{100, 200}, {}, {}, {8, 8}, glimpse::Aspect::isotropic}),
            "<rect x=\"25.000\" y=\"25.000\" width=\"50.000\" height=\"50.000\""));
}

TEST_CASE("scan path: what is not known is left out") {
  Prediction p = seen();
  p.after_steps = {};
  std::string svg = scan_path_svg(p, {{100, 200}});
  CHECK(well_formed(svg));
  CHECK(!has(svg, "<image"));
  CHECK(has(svg, "<title>2, 0.625</title>"));
  CHECK(has(svg, "<title>1</title>"));
  p.regions = {};
  svg = scan_path_svg(p, {{100, 200}});
  CHECK(well_formed(svg));
  CHECK(!has(svg, "<polyline"));
  CHECK(!has(svg, "<text"));
}

TEST_CASE("scan path: names and links are escaped") {
  const std::string control("a\x01\0b", 4);
  const std::array<std::string, 3> names{"<script>\"&'", control,
                                         "\xC3\xA9 \xF0\x9F\x90\xA6 \xFF \xC0\xAF \xED\xA0\x80 \xE2\x82"};
  const std::string svg = scan_path_svg(seen(), {{100, 200}, "a\"/><script>alert('1 & 2')</script>", names});
  CHECK(well_formed(svg));
  CHECK(!has(svg, "<script"));
  CHECK(has(svg, "<title>1: &lt;script&gt;&quot;&amp;&#39;, 0.500</title>"));
  CHECK(has(svg, "href=\"a&quot;/&gt;&lt;script&gt;alert(&#39;1 &amp; 2&#39;)&lt;/script&gt;\""));
  // An accent and a bird stay; a byte that is none, an overlong slash, half of a pair and a cut sequence do not.
  const std::string unknown = "\xEF\xBF\xBD";
  CHECK(model::detail::clean_text(names[2]) == "\xC3\xA9 \xF0\x9F\x90\xA6 " + unknown + " " + unknown + unknown + " " +
                                                   unknown + unknown + unknown + " " + unknown + unknown);
  CHECK(model::detail::clean_text(control) == "a" + unknown + unknown + "b");
  CHECK(model::detail::clean_text("\xEF\xBF\xBF") == unknown + unknown + unknown);
}

TEST_CASE("scan path: numbers do not depend on the locale, however great they are") {
  CHECK(model::detail::fixed(-0.0005) == "-0.001");
  CHECK(model::detail::fixed(1234.5, 0) == "1234");
  const std::string before = std::setlocale(LC_ALL, nullptr);
  (void)std::setlocale(LC_ALL, "de_DE.UTF-8");
  CHECK(model::detail::fixed(0.5) == "0.500");
  (void)std::setlocale(LC_ALL, before.c_str());
  const std::array<Region<float>, 1> far{{{3e38F, -3e38F, 3e38F}}};
  Prediction p = seen();
  p.regions = far;
  p.after_steps = {};
  const std::string svg = scan_path_svg(p, {{Index{1} << 30, 3}});
  CHECK(well_formed(svg));
  CHECK(!has(svg, "inf"));
  CHECK(!has(svg, "nan"));
  CHECK(!has(svg, "e+"));
}

TEST_CASE("scan path: what does not fit is refused") {
  const ScanPath path{{100, 200}};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS((void)scan_path_svg({}, path), Error);
  CHECK_THROWS_AS((void)scan_path_svg(seen(), {}), Error);
  CHECK_THROWS_AS((void)scan_path_svg(seen(), {{100, -1}}), Error);
  const std::array<std::string, 2> names{"a", "b"};
  CHECK(message_of([&] {
          (void)scan_path_svg(seen(), {{100, 200}, {}, names});
        }) == "scan path: the names of 3 classes expected, 2 came");
  Prediction p = seen();
  p.after_steps = p.after_steps.first(5);
  CHECK_THROWS_AS((void)scan_path_svg(p, path), Error);
  p = seen();
  p.uncertainty = p.probabilities;
  CHECK_THROWS_AS((void)scan_path_svg(p, path), Error);
  p = seen();
  p.label = 3;
  CHECK_THROWS_AS((void)scan_path_svg(p, path), Error);
  p.label = -1;
  CHECK_THROWS_AS((void)scan_path_svg(p, path), Error);
  for (const auto& bad :
       {Region<float>{nan, 0, 0}, Region<float>{0.5F, nan, 0}, Region<float>{0.5F, 0, std::numeric_limits<float>::infinity()},
        Region<float>{0, 0, 0}, Region<float>{-1, 0, 0}}) {
    p = seen();
    const std::array<Region<float>, 2> regions{kRegions[0], bad};
    p.regions = regions;
    CHECK_THROWS_AS((void)scan_path_svg(p, path), Error);
  }
  p = seen();
  const std::array<float, 6> answers{0.5F, nan, 0.125F, 0.25F, 0.125F, 0.625F};
  p.after_steps = answers;
  CHECK_THROWS_AS((void)scan_path_svg(p, path), Error);
}
