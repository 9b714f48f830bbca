// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/op_registry.hpp"
#include <fovea/nn/attention.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/local_attention.hpp>
#include <fovea/nn/loss.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

using namespace fovea;
using fovea_test::channels;
using fovea_test::extent;
using fovea_test::message_of;
using fovea_test::OpRegistry;

namespace {

/// By the definition, over all cells of the grid.
std::array<double, 2> naive(const double* attention, Index cell, Extents<2> grid, Extents<2> reach) {
  long double sum = 0;
  long double x = 0;
  long double y = 0;
  for (Index i = 0; i < grid[0]; ++i) {
    for (Index j = 0; j < grid[1]; ++j) {
      if (std::abs(i - cell / grid[1]) > reach[0] || std::abs(j - cell % grid[1]) > reach[1]) continue;
      const long double a = attention[i * grid[1] + j];
      sum += a;
      x += a * (2 * (static_cast<long double>(j) + 0.5L) / static_cast<long double>(grid[1]) - 1);
      y += a * (2 * (static_cast<long double>(i) + 0.5L) / static_cast<long double>(grid[0]) - 1);
    }
  }
  return {static_cast<double>(x / sum), static_cast<double>(y / sum)};
}

}  // namespace

TEST_CASE("local attention: as its definition, over random grids, cells and windows") {
  Arena arena;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    arena.reset();
    Inference<double> context(arena);
    Stream s(5, 0, seed, Purpose::test);
    const Extents<2> grid{extent(s, 1, 9), extent(s, 1, 9)};
    const Extents<2> reach{extent(s, 0, 10), extent(s, 0, 3)};
    const Index cells = grid[0] * grid[1];
    const Index batch = extent(s);
    const auto attention = context.constant(Shape{batch, cells});
    std::vector<std::int32_t> at;
    for (Index i = 0; i < attention.size(); ++i) attention.value[i] = std::exp(2 * s.normal<double>());
    for (Index b = 0; b < batch; ++b) at.push_back(static_cast<std::int32_t>(extent(s, 0, cells - 1)));
    const auto y = nn::local_coordinates(context, attention, View<const std::int32_t, 1>(at.data(), {batch}), grid, reach);
    REQUIRE(y.shape == Shape{batch, 2});
    for (Index b = 0; b < batch; ++b) {
      const auto want = naive(attention.value + b * cells, at[static_cast<std::size_t>(b)], grid, reach);
      CHECK(y.value[2 * b] == doctest::Approx(want[0]).epsilon(1e-13).scale(1));
      CHECK(y.value[2 * b + 1] == doctest::Approx(want[1]).epsilon(1e-13).scale(1));
    }
  }
}

TEST_CASE("local attention: known places") {
  Arena arena;
  Inference<float> context(arena);
  // Two rows of four cells, centres at x = -3/4, -1/4, 1/4, 3/4 and y = -1/2, 1/2; a far peak that must not count.
  const auto attention = context.constant(Shape{1, 8});
  const std::array<float, 8> a{0.1F, 0.3F, 0, 0.4F, 0, 0, 0, 0.2F};
  std::copy(a.begin(), a.end(), attention.value);
  const auto place = [&](std::int32_t cell, Extents<2> reach) {
    const auto y = nn::local_coordinates(context, attention, View<const std::int32_t, 1>(&cell, {1}), {2, 4}, reach);
    return std::array<float, 2>{y.value[0], y.value[1]};
  };
  // Of itself alone: its centre, however small the attention.
  for (std::int32_t cell = 0; cell < 8; ++cell) {
    CHECK(place(cell, {0, 0})[0] == doctest::Approx(-0.75 + 0.5 * (cell % 4)));
    CHECK(place(cell, {0, 0})[1] == (cell < 4 ? -0.5F : 0.5F));
  }
  CHECK(place(1, {0, 1})[0] == doctest::Approx(-0.75 * 0.25 - 0.25 * 0.75));
  CHECK(place(1, {0, 1})[1] == -0.5F);
  CHECK(place(3, {1, 0})[1] == doctest::Approx((0.4 * -0.5 + 0.2 * 0.5) / 0.6));
  // Nothing in the window: the centre of the cell.
  CHECK(place(5, {0, 1}) == std::array<float, 2>{-0.25F, 0.5F});
  // The window is the whole grid: the place expected under the attention.
  const auto all = nn::expected_coordinates(context, attention, 2, 4);
  CHECK(place(6, {9, 9})[0] == doctest::Approx(all.value[0]));
  CHECK(place(6, {9, 9})[1] == doctest::Approx(all.value[1]));
}

TEST_CASE("derivatives of local attention, and of scaling by a Var") {
  OpRegistry ops;
  ops.add("local_coordinates", [](Stream& s, GradientCheck& check) {
    const Extents<2> grid{extent(s), extent(s, 2)};  // of a window of one cell the derivative is 0
    const Extents<2> reach{extent(s, 0, 2), extent(s, 1, 2)};
    const Index batch = extent(s);
    auto cells = std::make_shared<std::vector<std::int32_t>>();  // they must stay
    for (Index b = 0; b < batch; ++b) cells->push_back(static_cast<std::int32_t>(extent(s, 0, grid[0] * grid[1] - 1)));
    check.uniform_input({batch, grid[0] * grid[1]}, s, 0.1, 1);
    return [=](auto& c, auto in) {
      return nn::local_coordinates(c, in[0], View<const std::int32_t, 1>(cells->data(), {batch}), grid, reach);
    };
  });
  ops.add("local_coordinates of a softmax", [](Stream& s, GradientCheck& check) {
    const Extents<2> grid{extent(s, 2), extent(s, 2)};
    auto cell = std::make_shared<std::int32_t>(static_cast<std::int32_t>(extent(s, 0, grid[0] * grid[1] - 1)));
    check.input({1, grid[0] * grid[1]}, s);
    return [=](auto& c, auto in) {
      return nn::local_coordinates(c, nn::softmax(c, in[0]), View<const std::int32_t, 1>(cell.get(), {1}), grid, {1, 1});
    };
  });
  ops.add("scale_by", [](Stream& s, GradientCheck& check) {
    check.input({1}, s).input({extent(s), channels(s, 1, 40)}, s);
    return [](auto& c, auto in) { return nn::scale_by(c, in[0], in[1]); };
  });
  ops.add("scale_by itself", [](Stream& s, GradientCheck& check) {
    check.input({1}, s);
    return [](auto& c, auto in) { return nn::scale_by(c, in[0], in[0]); };
  });
  ops.check_all();
}

TEST_CASE("scale_by: the same as scale by that number, and a factor that is constant has no gradient") {
  Arena arena;
  Tape<float> tape(arena);
  const auto x = tape.variable(Shape{3, 37});
  for (Index i = 0; i < x.size(); ++i) x.value[i] = std::sin(static_cast<float>(i));
  const auto factor = tape.constant(Shape{1});
  factor.value[0] = -1.7F;
  const auto y = nn::scale_by(tape, factor, x);
  const auto same = nn::scale(tape, -1.7F, x);
  for (Index i = 0; i < x.size(); ++i) CHECK(y.value[i] == same.value[i]);
  tape.backward(nn::sum(tape, y));
  for (Index i = 0; i < x.size(); ++i) CHECK(x.gradient[i] == -1.7F);
  CHECK(factor.gradient == nullptr);
}

TEST_CASE("local attention and scale_by: what does not fit is refused with a sentence") {
  Arena arena;
  Inference<float> context(arena);
  const auto attention = context.constant(Shape{2, 6});
  const auto say = [&](std::array<std::int32_t, 2> cells, Extents<2> grid, Extents<2> reach) {
    return message_of(
        [&] { (void)nn::local_coordinates(context, attention, View<const std::int32_t, 1>(cells.data(), {2}), grid, reach); });
  };
  CHECK(say({0, 6}, {2, 3}, {1, 1}) == "local_coordinates: a cell within [0, 6) expected, 6 came");
  CHECK(say({-1, 0}, {2, 3}, {1, 1}) == "local_coordinates: a cell within [0, 6) expected, -1 came");
  CHECK(say({0, 0}, {2, 4}, {1, 1}) == "local_coordinates: an attention of shape [2x8] expected, [2x6] came");
  CHECK(say({0, 0}, {2, 3}, {1, -1}) ==
        "local_coordinates: a grid of at least 1 x 1 and a reach of at least 0 x 0 expected, 2 x 3 and 1 x -1 came");
  CHECK(say({0, 0}, {0, 3}, {1, 1}).starts_with("local_coordinates: a grid of at least 1 x 1"));
  CHECK(message_of([&] { (void)nn::scale_by(context, attention, attention); }) ==
        "scale_by: a factor of shape [1] expected, [2x6] came");
}
