// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/pictures.hpp"
#include <fovea/core/random.hpp>
#include <fovea/image/salience.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::noise;

namespace {

/// By the definition: every surround summed anew, the cell of a pixel by its centre.
template <class T>
std::vector<double> naive(View<const T, 3> picture, Extents<2> cells, Index surround) {
  std::vector<double> out(static_cast<std::size_t>(cells[0] * cells[1]));
  const Index height = picture.extent(0);
  const Index width = picture.extent(1);
  double greatest = 0;
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      double contrast = 0;
      for (Index c = 0; c < picture.extent(2); ++c) {
        double sum = 0;
        double count = 0;
        for (Index v = std::max(Index{0}, y - surround); v <= std::min(height - 1, y + surround); ++v) {
          for (Index u = std::max(Index{0}, x - surround); u <= std::min(width - 1, x + surround); ++u) {
            sum += static_cast<double>(picture(v, u, c));
            ++count;
          }
        }
        contrast += std::abs(static_cast<double>(picture(y, x, c)) - sum / count);
      }
      const auto cell = [](Index at, Index pixels, Index n) {
        return static_cast<Index>((static_cast<double>(at) + 0.5) / static_cast<double>(pixels) * static_cast<double>(n));
      };
      double& to = out[static_cast<std::size_t>(cell(y, height, cells[0]) * cells[1] + cell(x, width, cells[1]))];
      to = std::max(to, contrast);
      greatest = std::max(greatest, contrast);
    }
  }
  for (double& v : out) v /= greatest;
  return out;
}

template <class T>
void check_twin(double tolerance) {
  Arena arena;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Stream s(3, 0, seed, Purpose::test);
    const auto any = [&](std::uint32_t most) { return 1 + static_cast<Index>(s.below(most)); };
    const auto picture = noise<T>(s, {any(30), any(30), any(3)}, static_cast<Index>(s.below(3)));
    // Cells that pixel centres fall between, whatever the rounding: odd times the pixels.
    const Extents<2> cells{any(static_cast<std::uint32_t>(picture.extents[0])),
                           any(static_cast<std::uint32_t>(picture.extents[1]))};
    const Index surround = any(9);
    if (picture.extents[0] * picture.extents[1] == 1) continue;  // no contrast
    Tensor<T, 2> out(cells);
    salience(picture.view(), out.view(), arena, {.surround = surround});
    const auto want = naive(picture.view(), cells, surround);
    double worst = 0;
    for (Index i = 0; i < out.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(out.data()[i]) - want[static_cast<std::size_t>(i)]));
    }
    CHECK(worst <= tolerance);
    CHECK(*std::max_element(out.begin(), out.end()) == doctest::Approx(1));
    CHECK(*std::min_element(out.begin(), out.end()) >= 0);
  }
}

}  // namespace

TEST_CASE("salience: as its definition, over random pictures, maps and surrounds") {
  SUBCASE("float") { check_twin<float>(2e-6); }
  SUBCASE("double") { check_twin<double>(1e-12); }
}

TEST_CASE("salience: a point stands out where it is, and nowhere else as much") {
  Tensor<float, 3> picture({40, 60, 1});
  std::fill(picture.begin(), picture.end(), 0.3F);
  picture(33, 7, 0) = 1;
  Tensor<float, 2> map({10, 15});
  Arena arena;
  salience(std::as_const(picture).view(), map.view(), arena);
  CHECK(map(8, 1) == doctest::Approx(1));
  for (Index i = 0; i < 10; ++i) {
    for (Index j = 0; j < 15; ++j) {
      if (i != 8 || j != 1) CHECK(map(i, j) < 0.05F);
      if (std::abs(i - 8) > 3 || std::abs(j - 1) > 3) CHECK(map(i, j) < 1e-6F);  // beyond the surround of the point
    }
  }
}

TEST_CASE("salience: brightness counts as darkness does, and neither an offset nor a factor counts at all") {
  Stream s(8);
  const auto picture = noise<double>(s, {17, 23, 2});
  auto changed = picture;
  for (double& p : changed.pixels) p = 3 - 0.5 * p;
  Tensor<double, 2> a({6, 7});
  Tensor<double, 2> b({6, 7});
  Arena arena;
  salience(picture.view(), a.view(), arena);
  salience(std::as_const(changed).view(), b.view(), arena);
  for (Index i = 0; i < a.size(); ++i) CHECK(a.data()[i] == doctest::Approx(b.data()[i]).epsilon(1e-9));
}

TEST_CASE("salience: an edge stands out along its length, a flat picture and a single pixel nowhere") {
  Tensor<float, 3> picture({24, 24, 1});
  for (Index y = 0; y < 24; ++y) {
    for (Index x = 0; x < 24; ++x) picture(y, x, 0) = x < 12 ? 0.2F : 0.8F;
  }
  Tensor<float, 2> map({12, 12});
  Arena arena;
  salience(std::as_const(picture).view(), map.view(), arena, {.surround = 3});
  for (Index i = 0; i < 12; ++i) {
    CHECK(map(i, 5) == doctest::Approx(1));
    CHECK(map(i, 6) == doctest::Approx(1));
    CHECK(map(i, 0) == 0);
    CHECK(map(i, 11) == 0);
  }
  std::fill(picture.begin(), picture.end(), 0.7F);
  std::fill(map.begin(), map.end(), 9.0F);
  salience(std::as_const(picture).view(), map.view(), arena);
  for (const float v : map) CHECK(v == 0);
  Tensor<float, 3> pixel({1, 1, 1});
  pixel(0, 0, 0) = 5;
  Tensor<float, 2> cell({1, 1});
  salience(std::as_const(pixel).view(), cell.view(), arena);
  CHECK(cell(0, 0) == 0);
}

TEST_CASE("salience: memory is given back, a cell without a pixel has 0") {
  Stream s(9);
  const auto picture = noise<float>(s, {3, 2, 1});
  Tensor<float, 2> map({7, 9});
  Arena arena;
  (void)arena.allocate<float>(1);
  const auto before = arena.mark();
  salience(picture.view(), map.view(), arena);
  CHECK(arena.mark().used == before.used);
  CHECK(arena.mark().block == before.block);
  const auto filled = std::count_if(map.begin(), map.end(), [](float v) { return v > 0; });
  CHECK(filled <= 6);
  CHECK(filled >= 1);
}

TEST_CASE("salience: what is empty is refused with a sentence") {
  Arena arena;
  Tensor<float, 3> some({4, 4, 1});
  Tensor<float, 2> map({2, 2});
  const View<const float, 3> picture = std::as_const(some).view();
  const View<const float, 3> none = picture.slice(0, 0);
  const View<float, 2> no_map = map.view().slice(0, 0);
  const auto say = [&](View<const float, 3> of, View<float, 2> out, Index surround = 8) {
    return message_of([&] { salience(of, out, arena, {.surround = surround}); });
  };
  CHECK(say(none, map.view()) == "salience: a picture and a map of at least 1x1 expected, 0x4 and 2x2 came");
  CHECK(say(picture, no_map) == "salience: a picture and a map of at least 1x1 expected, 4x4 and 0x2 came");
  CHECK(say(picture, map.view(), 0) == "salience: a surround of at least 1 pixel expected, 0 came");
  CHECK(say(picture, map.view()).empty());
}
