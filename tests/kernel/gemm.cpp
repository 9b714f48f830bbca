// SPDX-License-Identifier: MIT
#include "support/naive.hpp"
#include <fovea/kernel/gemm.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

using fovea::Index;
using fovea::View;

namespace {

/// A matrix with room around it: any of the two axes contiguous, rows further apart than they need be.
template <class T>
struct Matrix {
  std::vector<T> buffer;
  View<T, 2> view;

  Matrix(Index rows, Index columns, bool transposed, Index gap, std::mt19937& generator)
      : buffer(static_cast<std::size_t>((rows + gap) * (columns + gap) + 1)) {
    std::uniform_real_distribution<T> uniform(T(-1), T(1));
    for (T& e : buffer) e = uniform(generator);
    view = transposed ? View<T, 2>(buffer.data(), {rows, columns}, {1, rows + gap})
                      : View<T, 2>(buffer.data(), {rows, columns}, {columns + gap, 1});
  }
};

template <class T>
void compare(Index m, Index n, Index k, unsigned layout, T beta, std::mt19937& generator) {
  CAPTURE(m);
  CAPTURE(n);
  CAPTURE(k);
  CAPTURE(layout);
  CAPTURE(beta);
  const auto gap = static_cast<Index>(generator() % 3);
  Matrix<T> a(m, k, (layout & 1U) != 0, gap, generator);
  Matrix<T> b(k, n, (layout & 2U) != 0, gap, generator);
  Matrix<T> c(m, n, (layout & 4U) != 0, gap, generator);
  Matrix<T> expected = c;
  expected.view = View<T, 2>(expected.buffer.data(), c.view.extents(), c.view.strides());
  naive::gemm<T>(a.view, b.view, expected.view, beta);
  const Index needed = fovea::kernel::gemm_workspace<T>(m, n, k);
  std::vector<T> workspace(static_cast<std::size_t>(needed) + 4, T(77));
  if (beta == T(0)) {  // what was there must not matter
    for (Index i = 0; i < m; ++i) {
      for (Index j = 0; j < n; ++j) c.view(i, j) = std::numeric_limits<T>::quiet_NaN();
    }
  }
  fovea::kernel::gemm<T>(a.view, b.view, c.view, beta, View<T, 1>(workspace.data(), {needed}));
  // A sum of k products of numbers below 1 wanders within sqrt(k); so do its rounding errors, k of them.
  const double bound = std::numeric_limits<T>::epsilon() * (8 + static_cast<double>(k));
  double worst = 0;
  for (std::size_t i = 0; i < c.buffer.size(); ++i) {  // also what lies between the rows
    const double error = std::abs(static_cast<double>(c.buffer[i]) - static_cast<double>(expected.buffer[i]));
    worst = error <= worst ? worst : error;
  }
  CHECK(worst <= bound);
  for (std::size_t i = static_cast<std::size_t>(needed); i < workspace.size(); ++i) CHECK(workspace[i] == T(77));
}

}  // namespace

TYPE_TO_STRING(float);
TYPE_TO_STRING(double);

TEST_CASE_TEMPLATE("gemm: agrees with its naive twin for any layout", T, float, double) {
  std::mt19937 generator(11);
  const auto pick = [&](int most) { return static_cast<Index>(1 + generator() % static_cast<unsigned>(most)); };
  for (int i = 0; i < 600; ++i) {
    const Index m = i % 11 == 0 ? 1 : pick(i % 3 == 0 ? 90 : 20);
    const Index n = i % 13 == 0 ? 1 : pick(i % 5 == 0 ? 150 : 40);
    const Index k = pick(i % 7 == 0 ? 800 : 40);
    compare<T>(m, n, k, generator() % 8U, T(generator() % 2U), generator);
  }
}

TEST_CASE_TEMPLATE("gemm: agrees with its naive twin where it is cut into blocks", T, float, double) {
  std::mt19937 generator(12);
  for (unsigned layout = 0; layout < 8; ++layout) {
    compare<T>(70, 1100, 330, layout, T(1), generator);
    compare<T>(600, 130, 650, layout, T(0), generator);
    compare<T>(1, 700, 300, layout, T(1), generator);
    compare<T>(700, 1, 300, layout, T(0), generator);
    compare<T>(8, 256, 768, layout, T(1), generator);
  }
}

TEST_CASE_TEMPLATE("gemm: the same bits every time, wherever the operands lie", T, float, double) {
  std::mt19937 generator(13);
  Matrix<T> a(37, 130, false, 0, generator);
  Matrix<T> b(130, 75, false, 0, generator);
  std::vector<T> workspace(static_cast<std::size_t>(fovea::kernel::gemm_workspace<T>(37, 75, 130) + 1));
  std::vector<T> first(37 * 75);
  std::vector<T> second(37 * 75 + 1);
  const View<T, 1> scratch(workspace.data(), {static_cast<Index>(workspace.size())});
  fovea::kernel::gemm<T>(a.view, b.view, View<T, 2>(first.data(), {37, 75}), T(0), scratch);
  fovea::kernel::gemm<T>(a.view, b.view, View<T, 2>(second.data() + 1, {37, 75}), T(0), scratch);
  CHECK(std::equal(first.begin(), first.end(), second.begin() + 1));
}

TEST_CASE_TEMPLATE("gemm: empty products", T, float, double) {
  std::vector<T> c(6, T(3));
  const View<T, 2> view(c.data(), {2, 3});
  const View<const T, 2> a(nullptr, {2, 0});
  const View<const T, 2> b(nullptr, {0, 3});
  fovea::kernel::gemm<T>(a, b, view, T(1), {});
  CHECK(c == std::vector<T>(6, T(3)));
  fovea::kernel::gemm<T>(a, b, view, T(0), {});
  CHECK(c == std::vector<T>(6, T(0)));
}

TEST_CASE("gemm: what does not fit is an error") {
  std::vector<float> memory(4096);
  const View<float, 1> workspace(memory.data(), {4096});
  const View<float, 2> square(memory.data(), {8, 8});
  const View<float, 2> other(memory.data(), {8, 9});
  const View<float, 2> gaps(memory.data(), {8, 8}, {32, 2});
  CHECK_THROWS_AS(fovea::kernel::gemm<float>(square, other, square, 0.F, workspace), fovea::Error);
  CHECK_THROWS_AS(fovea::kernel::gemm<float>(other, square, square, 0.F, workspace), fovea::Error);
  CHECK_THROWS_AS(fovea::kernel::gemm<float>(square, square, square, 0.5F, workspace), fovea::Error);
  CHECK_THROWS_AS(fovea::kernel::gemm<float>(square, square, gaps, 0.F, workspace), fovea::Error);
  // A product that needs none of its workspace does not ask for it; a b that has to be packed does.
  const View<float, 2> a(memory.data(), {30, 30});
  const View<float, 2> packed(memory.data(), {30, 30}, {1, 30});
  CHECK_THROWS_AS(fovea::kernel::gemm<float>(a, packed, a, 0.F, View<float, 1>(memory.data(), {3})), fovea::Error);
}
