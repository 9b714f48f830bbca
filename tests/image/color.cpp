// SPDX-License-Identifier: MIT
// image/color.hpp beside its rule written down in double.
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/color.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

using fovea::channels_of;
using fovea::convert_pixels;
using fovea::Index;

namespace {

template <class T>
constexpr double most = std::numeric_limits<T>::max();

/// One pixel by the rule, in [0, 1], rounded to the input's depth where the rule rounds: after alpha, after luma.
template <class In, class Out>
std::vector<Out> twin(const std::vector<In>& pixel, Index wanted) {
  const auto stored = static_cast<Index>(pixel.size());
  const bool has_alpha = stored == 2 || stored == 4;
  const auto at = [&](Index c) { return static_cast<double>(pixel[static_cast<std::size_t>(c)]); };
  const double alpha = has_alpha ? at(stored - 1) : most<In>;
  std::array<double, 3> rgb{at(0), at(stored <= 2 ? 0 : 1), at(stored <= 2 ? 0 : 2)};
  if (has_alpha && wanted != 4) {
    for (double& v : rgb) v = std::floor(v * alpha / most<In> + 0.5);
  }
  std::vector<double> out;
  if (wanted == 1) {
    out = {stored <= 2 ? rgb[0] : std::floor((19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2]) / 65536 + 0.5)};
  } else {
    out.assign(rgb.begin(), rgb.end());
    if (wanted == 4) out.push_back(alpha);
  }
  std::vector<Out> result;
  for (const double v : out) result.push_back(static_cast<Out>(std::floor(v / most<In> * most<Out> + 0.5)));
  return result;
}

template <class In, class Out>
void check_twin() {
  fovea::Stream stream(5);
  for (const Index stored : {1, 2, 3, 4}) {
    for (const Index wanted : {1, 3, 4}) {
      CAPTURE(stored);
      CAPTURE(wanted);
      constexpr Index width = 500;
      std::vector<In> in(static_cast<std::size_t>(width * stored));
      for (In& v : in) {
        // The ends of the range, where it is easiest to be off by one, come often.
        const std::uint32_t kind = stream.below(4U);
        const auto full = static_cast<std::uint32_t>(most<In>);
        v = static_cast<In>(kind == 0 ? 0 : kind == 1 ? full : stream.below(full + 1U));
      }
      std::vector<Out> out(static_cast<std::size_t>(width * wanted), Out{77});
      convert_pixels(in.data(), stored, out.data(), wanted, width);
      int wrong = 0;
      for (Index x = 0; x < width; ++x) {
        const auto from = in.begin() + x * stored;
        const std::vector<Out> expected = twin<In, Out>(std::vector<In>(from, from + stored), wanted);
        for (Index c = 0; c < wanted; ++c) {
          wrong += out[static_cast<std::size_t>(x * wanted + c)] != expected[static_cast<std::size_t>(c)] ? 1 : 0;
        }
      }
      CHECK(wrong == 0);
    }
  }
}

}  // namespace

TEST_CASE("color: every pair of channels and depths follows the rule") {
  check_twin<std::uint8_t, std::uint8_t>();
  check_twin<std::uint8_t, std::uint16_t>();
  check_twin<std::uint16_t, std::uint8_t>();
  check_twin<std::uint16_t, std::uint16_t>();
}

TEST_CASE("color: depths there and back") {
  for (unsigned v = 0; v < 256; ++v) {
    const auto byte = static_cast<std::uint8_t>(v);
    std::uint16_t wide = 0;
    std::uint8_t back = 0;
    convert_pixels(&byte, 1, &wide, 1, 1);
    convert_pixels(&wide, 1, &back, 1, 1);
    CHECK(wide == v * 257);
    CHECK(back == byte);
  }
}

TEST_CASE("color: grey stays grey, and white white") {
  for (unsigned v = 0; v < 256; ++v) {
    const auto byte = static_cast<std::uint8_t>(v);
    const std::array<std::uint8_t, 3> rgb{byte, byte, byte};
    std::uint8_t grey = 0;
    convert_pixels(rgb.data(), 3, &grey, 1, 1);
    CHECK(grey == byte);  // the three weights are one
    std::array<std::uint8_t, 4> back{};
    convert_pixels(&grey, 1, back.data(), 4, 1);
    CHECK(back == std::array<std::uint8_t, 4>{byte, byte, byte, 255});
  }
}

TEST_CASE("color: alpha lies on black where it is not wanted, and is kept where it is") {
  const std::array<std::uint8_t, 4> half{200, 100, 50, 128};
  std::array<std::uint8_t, 3> rgb{};
  convert_pixels(half.data(), 4, rgb.data(), 3, 1);
  CHECK(rgb == std::array<std::uint8_t, 3>{100, 50, 25});
  std::array<std::uint8_t, 4> same{};
  convert_pixels(half.data(), 4, same.data(), 4, 1);
  CHECK(same == half);
  const std::array<std::uint16_t, 2> clear{65535, 0};
  std::uint16_t grey = 1;
  convert_pixels(clear.data(), 2, &grey, 1, 1);
  CHECK(grey == 0);
}

TEST_CASE("color: channels that a file is seen in") {
  CHECK(channels_of(1, 0) == 1);
  CHECK(channels_of(2, 0) == 1);
  CHECK(channels_of(3, 0) == 3);
  CHECK(channels_of(4, 0) == 3);
  for (const Index stored : {1, 2, 3, 4}) {
    for (const Index wanted : {1, 3, 4}) CHECK(channels_of(stored, wanted) == wanted);
  }
  CHECK_THROWS_AS((void)channels_of(0, 0), fovea::Error);
  CHECK_THROWS_AS((void)channels_of(5, 0), fovea::Error);
  CHECK_THROWS_AS((void)channels_of(3, 2), fovea::Error);
  CHECK_THROWS_AS((void)channels_of(3, 5), fovea::Error);
  CHECK_THROWS_AS((void)channels_of(3, -1), fovea::Error);
}
