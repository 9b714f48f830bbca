// SPDX-License-Identifier: MIT
#include "support/op_registry.hpp"
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/mixed.hpp>
#include <fovea/sample/truncated_gaussian.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

using namespace fovea;
using fovea_test::extent;
using fovea_test::OpRegistry;
using sample::Categorical;
using sample::CellAndOffset;
using sample::DiagonalGaussian;
using sample::Grid;
using sample::NoiseKey;
using sample::TruncatedGaussian;

namespace {

template <class T>
using Place = CellAndOffset<T, TruncatedGaussian<T>>;

template <class T>
Place<T> place(const Var<T>& logits, const Var<T>& mean, const Var<T>& log_deviation, const Grid& grid, bool per_cell) {
  return {Categorical<T>{logits}, TruncatedGaussian<T>{mean, log_deviation}, grid, per_cell};
}

}  // namespace

TEST_CASE("cell and offset: derivatives, shared parameters and per cell") {
  OpRegistry ops;
  for (const bool per_cell : {false, true}) {
    const auto inputs = [=](Stream& s, GradientCheck& check, Grid& grid) {
      grid = {extent(s, 1, 3), extent(s, 1, 3)};
      const Index b = extent(s, 1, 4);
      const Index columns = per_cell ? 2 * grid.cells() : 2;
      check.input({b, grid.cells()}, s).input({b, columns}, s, 0.5).input({b, columns}, s, 0.3);
    };
    ops.add("log_density", [=](Stream& s, GradientCheck& check) {
      Grid grid;
      inputs(s, check, grid);
      const Index n = grid.cells();
      std::vector<double> z;
      for (int b = 0; b < 4; ++b) {
        const auto cell = static_cast<Index>(s.below(static_cast<std::uint32_t>(n)));
        for (Index i = 0; i < n; ++i) z.push_back(i == cell ? 1.0 : 0.0);
        z.insert(z.end(), {s.uniform(-0.9, 0.9), s.uniform(-0.9, 0.9)});
      }
      return [=](auto& c, auto in) {
        const Index b = in[0].shape[0];
        const auto at = c.constant(Shape{b, n + 2});
        std::copy_n(z.data(), at.size(), at.value);
        return sample::log_density(c, place(in[0], in[1], in[2], grid, per_cell), at);
      };
    });
    ops.add("draw, of the offset's parameters", [=](Stream& s, GradientCheck& check) {
      Grid grid;
      inputs(s, check, grid);
      return [=](auto& c, auto in) {
        const auto q = place(nn::detach(in[0]), in[1], in[2], grid, per_cell);
        return sample::locations(c, q, sample::draw(c, q, NoiseKey{.seed = 1}));
      };
    });
    ops.add("entropy", [=](Stream& s, GradientCheck& check) {
      Grid grid;
      inputs(s, check, grid);
      return [=](auto& c, auto in) { return sample::entropy(c, place(in[0], in[1], in[2], grid, per_cell)); };
    });
    ops.add("mean, and where it is", [=](Stream& s, GradientCheck& check) {
      Grid grid;
      inputs(s, check, grid);
      return [=](auto& c, auto in) {
        const auto q = place(in[0], in[1], in[2], grid, per_cell);
        return sample::locations(c, q, sample::mean(c, q));
      };
    });
    ops.add("kl_divergence", [=](Stream& s, GradientCheck& check) {
      Grid grid;
      inputs(s, check, grid);
      return [=](auto& c, auto in) {
        const CellAndOffset<double, DiagonalGaussian<double>> q{{in[0]}, {in[1], in[2]}, grid, per_cell};
        const CellAndOffset<double, DiagonalGaussian<double>> p{{nn::scale(c, 0.5, in[0])}, {in[2], in[1]}, grid, per_cell};
        return sample::kl_divergence(c, q, p);
      };
    });
  }
  ops.check_all(5);
}

namespace {

/// Two rows over 2 x 3 cells, each cell with an offset of its own, and the same with one for all.
template <class C>
Place<double> example(C& c, bool per_cell) {
  const Index columns = per_cell ? 12 : 2;
  Stream s(6, 0, per_cell ? 1 : 0, Purpose::test);
  const auto fill = [&](const Shape& shape, double deviation, double mean) {
    const auto v = c.constant(shape);
    for (Index i = 0; i < v.size(); ++i) v.value[i] = mean + deviation * s.normal<double>();
    return v;
  };
  return place(fill({2, 6}, 1, 0), fill({2, columns}, 0.5, 0), fill({2, columns}, 0.3, -0.5), Grid{2, 3}, per_cell);
}

/// The draw at a location of the image.
template <class C>
Var<double> draw_at(C& c, const Grid& grid, Index rows, double x, double y) {
  const Index n = grid.cells();
  const auto z = c.constant(Shape{rows, n + 2});
  std::fill_n(z.value, z.size(), 0.0);
  const Index cell = grid.cell_of(x, y);
  for (Index b = 0; b < rows; ++b) {
    z.value[b * (n + 2) + cell] = 1;
    z.value[b * (n + 2) + n] = (x - grid.x(cell)) / grid.half_width();
    z.value[b * (n + 2) + n + 1] = (y - grid.y(cell)) / grid.half_height();
  }
  return z;
}

}  // namespace

TEST_CASE("cell and offset: the density over the image integrates to 1, and entropy and divergence are its integrals") {
  for (const bool per_cell : {false, true}) {
    Arena arena;
    Inference<double> c(arena);
    const Place<double> q = example(c, per_cell);
    Place<double> p = q;  // the same the other way round
    p.cell.logits = nn::scale(c, -1.0, q.cell.logits);
    p.offset.mean = nn::scale(c, -1.0, q.offset.mean);
    constexpr int side = 120;
    double total[2] = {}, entropy[2] = {}, divergence[2] = {};
    for (int i = 0; i < side * side; ++i) {
      const double x = -1 + 2 * (i % side + 0.5) / side;
      const double y = -1 + 2 * (i / side + 0.5) / side;
      const auto z = draw_at(c, q.grid, 2, x, y);
      const auto at = sample::locations(c, q, z);
      const auto l = sample::log_density(c, q, z);
      const auto r = sample::log_density(c, p, z);
      for (int b = 0; b < 2; ++b) {
        CHECK(at.value[2 * b] == doctest::Approx(x).epsilon(1e-12));
        CHECK(at.value[2 * b + 1] == doctest::Approx(y).epsilon(1e-12));
        const double mass = std::exp(l.value[b]) * 4 / (side * side);
        total[b] += mass;
        entropy[b] -= mass * l.value[b];
        divergence[b] += mass * (l.value[b] - r.value[b]);
      }
    }
    const auto h = sample::entropy(c, q);
    const auto kl = sample::kl_divergence(c, q, p);
    for (int b = 0; b < 2; ++b) {
      CHECK(total[b] == doctest::Approx(1).epsilon(1e-3));
      CHECK(h.value[b] == doctest::Approx(entropy[b]).epsilon(2e-3));
      CHECK(kl.value[b] == doctest::Approx(divergence[b]).epsilon(2e-3));
    }
  }
}

TEST_CASE("cell and offset: draws, their mean and their mode") {
  constexpr Index count = 20000;
  for (const bool per_cell : {false, true}) {
    Arena arena;
    Inference<double> c(arena);
    const Place<double> q = example(c, per_cell);
    const Place<double> many = sample::repeat(c, q, count);
    const auto z = sample::draw(c, many, NoiseKey{.seed = 3});
    const auto at = sample::locations(c, many, z);
    const auto cells = sample::draw(c, many.cell, NoiseKey{.seed = 3});
    const auto mean = sample::locations(c, q, sample::mean(c, q));
    for (Index b = 0; b < 2; ++b) {
      for (Index d = 0; d < 2; ++d) {
        double sum = 0;
        for (Index k = 0; k < count; ++k) {
          const Index r = b * count + k;
          sum += at.value[2 * r + d];
          CHECK(std::abs(z.value[8 * r + 6 + d]) < 1);
          for (Index i = 0; i < 6; ++i) CHECK(z.value[8 * r + i] == cells.value[6 * r + i]);
        }
        CHECK(std::abs(sum / count - mean.value[2 * b + d]) < 4 * 0.6 / std::sqrt(count));
      }
    }
    const auto mode = sample::mode(c, q);
    for (Index b = 0; b < 2; ++b) {
      const Index best =
          std::max_element(q.cell.logits.value + 6 * b, q.cell.logits.value + 6 * b + 6) - (q.cell.logits.value + 6 * b);
      CHECK(mode.value[8 * b + best] == 1.0);
      for (Index d = 0; d < 2; ++d) {
        const double m = q.offset.mean.value[per_cell ? 12 * b + 2 * best + d : 2 * b + d];
        CHECK(mode.value[8 * b + 6 + d] == doctest::Approx(std::clamp(m, -1.0, 1.0)));
      }
    }
  }
}

TEST_CASE("cell and offset: what does not fit is refused") {
  Arena arena;
  Inference<double> c(arena);
  Place<double> q = example(c, true);
  q.per_cell = false;
  CHECK_THROWS_WITH_AS((void)sample::draw(c, q, NoiseKey{}),
                       "cell and offset draw: parameters of the offset [2, 2] expected, a shape [2x12] came", Error);
  q.per_cell = true;
  q.grid = {3, 3};
  CHECK_THROWS_WITH_AS((void)sample::draw(c, q, NoiseKey{}),
                       "cell and offset draw: logits of the 9 cells of the grid expected, a shape [2x6] came", Error);
}
