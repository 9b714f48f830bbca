// SPDX-License-Identifier: MIT
#include "support/naive.hpp"
#include <fovea/kernel/conv2d.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

using fovea::Extents;
using fovea::Index;
using fovea::product;
using fovea::Tensor;
using fovea::View;
using fovea::kernel::Conv2dOptions;

namespace {

/// Numbers in [-1, 1], and a few behind them that nobody may touch.
template <class T>
struct Guarded {
  static constexpr Index kGuard = 16;
  std::vector<T> buffer;
  Index size;

  explicit Guarded(Index n, T value = T(77)) : buffer(static_cast<std::size_t>(n + kGuard), value), size(n) {}
  Guarded(Index n, std::mt19937& generator) : Guarded(n) {
    std::uniform_real_distribution<T> uniform(T(-1), T(1));
    for (Index i = 0; i < n; ++i) buffer[static_cast<std::size_t>(i)] = uniform(generator);
  }
  [[nodiscard]] bool intact() const {
    for (Index i = size; i < size + kGuard; ++i) {
      if (buffer[static_cast<std::size_t>(i)] != T(77)) return false;
    }
    return true;
  }
  template <std::size_t N>
  [[nodiscard]] View<T, N> view(const Extents<N>& extents) {
    return {buffer.data(), extents};
  }
};

/// The greatest difference, relative to the greatest magnitude.
template <class T>
double difference(const Guarded<T>& got, const std::vector<double>& expected) {
  double magnitude = 1e-30;
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    magnitude = std::max(magnitude, std::abs(expected[i]));
    const double error = std::abs(static_cast<double>(got.buffer[i]) - expected[i]);
    worst = error <= worst ? worst : error;  // keeps NaN
  }
  return worst / magnitude;
}

template <class T>
void compare(const Extents<4>& x, const Extents<4>& w, const Conv2dOptions& o, bool with_bias, std::mt19937& generator) {
  CAPTURE(fovea::Shape({x[0], x[1], x[2], x[3]}).to_string());
  CAPTURE(fovea::Shape({w[0], w[1], w[2], w[3]}).to_string());
  CAPTURE(fovea::Shape({o.stride_y, o.stride_x, o.pad_y, o.pad_x}).to_string());
  const Extents<4> y = fovea::kernel::conv2d_output_extents(x, w, o);
  const Extents<1> co{w[3]};
  Guarded<T> gx(product(x), generator);
  Guarded<T> gw(product(w), generator);
  Guarded<T> gb(w[3], generator);
  Guarded<T> gdy(product(y), generator);
  Guarded<T> gy(product(y), std::numeric_limits<T>::quiet_NaN());
  for (Index i = gy.size; i < gy.size + gy.kGuard; ++i) gy.buffer[static_cast<std::size_t>(i)] = T(77);
  Guarded<T> gdx(product(x), generator);  // gradients add to what is there
  Guarded<T> gdw(product(w), generator);
  Guarded<T> gdb(w[3], generator);
  const auto doubles = [](const Guarded<T>& g) { return std::vector<double>(g.buffer.begin(), g.buffer.begin() + g.size); };
  std::vector<double> ey(static_cast<std::size_t>(product(y)));
  std::vector<double> edx(static_cast<std::size_t>(product(x)));
  std::vector<double> edw = doubles(gdw);
  std::vector<double> edb = doubles(gdb);
  const View<const T, 1> bias = with_bias ? View<const T, 1>(gb.view(co)) : View<const T, 1>();
  const View<T, 1> db = with_bias ? gdb.view(co) : View<T, 1>();
  naive::conv2d<T>(gx.view(x), gw.view(w), bias, o, View<double, 4>(ey.data(), y));
  naive::conv2d_backward<T>(gdy.view(y), gx.view(x), gw.view(w), o, View<double, 4>(edx.data(), x),
                            View<double, 4>(edw.data(), w), View<double, 1>(edb.data(), co));
  Guarded<T> fresh(product(x));  // written, not added to
  std::fill_n(fresh.buffer.begin(), fresh.size, std::numeric_limits<T>::quiet_NaN());
  const std::vector<double> efresh = edx;
  for (std::size_t i = 0; i < edx.size(); ++i) edx[i] += static_cast<double>(gdx.buffer[i]);

  const auto scratch = [](Guarded<T>& g) { return g.view(Extents<1>{g.size}); };
  Guarded<T> w1(fovea::kernel::conv2d_workspace<T>(x, w, o));
  Guarded<T> w2(fovea::kernel::conv2d_backward_input_workspace<T>(x, w, o));
  Guarded<T> w3(fovea::kernel::conv2d_backward_weights_workspace<T>(x, w, o));
  fovea::kernel::conv2d<T>(gx.view(x), gw.view(w), bias, o, gy.view(y), scratch(w1));
  fovea::kernel::conv2d_backward_input<T>(gdy.view(y), gw.view(w), o, gdx.view(x), scratch(w2));
  fovea::kernel::conv2d_backward_input<T>(gdy.view(y), gw.view(w), o, fresh.view(x), scratch(w2), false);
  fovea::kernel::conv2d_backward_weights<T>(gdy.view(y), gx.view(x), o, gdw.view(w), db, scratch(w3));

  const double bound = std::is_same_v<T, float> ? 1e-5 : 1e-12;
  CHECK(difference(gy, ey) <= bound);
  CHECK(difference(gdx, edx) <= bound);
  CHECK(difference(fresh, efresh) <= bound);
  CHECK(difference(gdw, edw) <= bound);
  if (with_bias) CHECK(difference(gdb, edb) <= bound);
  CHECK(gy.intact());
  CHECK(gdx.intact());
  CHECK(fresh.intact());
  CHECK(gdw.intact());
  CHECK(gdb.intact());
  CHECK(w1.intact());
  CHECK(w2.intact());
  CHECK(w3.intact());
}

}  // namespace

TYPE_TO_STRING(float);
TYPE_TO_STRING(double);

TEST_CASE_TEMPLATE("conv2d: agrees with its naive twin, forward and backward, over random shapes", T, float, double) {
  std::mt19937 generator(21);
  const auto pick = [&](int least, int most) {
    return static_cast<Index>(least + static_cast<int>(generator() % static_cast<unsigned>(most - least + 1)));
  };
  constexpr std::array<Index, 9> channels{1, 2, 3, 5, 16, 17, 33, 40, 64};
  constexpr std::array<std::array<Index, 2>, 6> kernels{{{1, 1}, {3, 3}, {5, 5}, {7, 7}, {2, 3}, {20, 2}}};
  for (int i = 0; i < 160; ++i) {
    const auto k = kernels[generator() % kernels.size()];
    const bool usual = i % 3 == 0;
    const Conv2dOptions o =
        usual ? Conv2dOptions{1, 1, k[0] / 2, k[1] / 2} : Conv2dOptions{pick(1, 3), pick(1, 3), pick(0, 3), pick(0, 3)};
    const Extents<4> x{pick(1, 5), pick(1, 18), pick(1, i % 4 == 0 ? 50 : 18), channels[generator() % channels.size()]};
    compare<T>(x, {k[0], k[1], x[3], channels[generator() % channels.size()]}, o, generator() % 2U == 0, generator);
  }
}

TEST_CASE_TEMPLATE("conv2d: agrees with its naive twin on the shapes that take their own way", T, float, double) {
  std::mt19937 generator(22);
  compare<T>({1, 3, 700, 1}, {3, 3, 1, 8}, {1, 1, 1, 1}, true, generator);  // rows cut into stretches
  compare<T>({1, 2, 300, 33}, {3, 3, 33, 5}, {1, 1, 1, 1}, true, generator);
  compare<T>({2, 4, 600, 2}, {3, 3, 2, 3}, {1, 2, 1, 0}, true, generator);
  compare<T>({9, 4, 4, 16}, {3, 3, 16, 33}, {1, 1, 1, 1}, true, generator);   // tiles along the batch
  compare<T>({70, 1, 1, 17}, {3, 3, 17, 16}, {1, 1, 1, 1}, true, generator);  // one pixel, every other tap outside
  compare<T>({3, 1, 1, 5}, {5, 5, 5, 4}, {2, 2, 2, 2}, true, generator);
  compare<T>({2, 9, 9, 64}, {1, 1, 64, 96}, {1, 1, 0, 0}, true, generator);  // one long row
  compare<T>({2, 9, 9, 16}, {1, 1, 16, 16}, {2, 2, 0, 0}, true, generator);  // pixels that no tap reads
  compare<T>({2, 9, 9, 16}, {2, 2, 16, 16}, {3, 3, 0, 0}, true, generator);
  compare<T>({1, 2, 2, 3}, {7, 7, 3, 16}, {1, 1, 3, 3}, true, generator);    // an image smaller than the kernel
  compare<T>({1, 1, 1, 1}, {3, 3, 1, 1}, {1, 1, 3, 3}, true, generator);     // outputs that read only padding
  compare<T>({2, 40, 8, 3}, {20, 3, 3, 16}, {1, 1, 9, 1}, true, generator);  // more taps than a tile takes at once
  compare<T>({33, 8, 8, 8}, {3, 3, 8, 8}, {1, 1, 1, 1}, false, generator);
  compare<T>({2, 8, 8, 128}, {3, 3, 128, 144}, {1, 1, 1, 1}, true, generator);
  compare<T>({2, 9, 40, 1}, {3, 3, 1, 37}, {1, 1, 1, 1}, true, generator);  // weights in registers, and so on
  compare<T>({2, 9, 40, 1}, {3, 3, 1, 64}, {2, 2, 1, 1}, false, generator);
  compare<T>({2, 9, 41, 1}, {1, 1, 1, 48}, {2, 2, 0, 0}, true, generator);
  compare<T>({1, 9, 20, 40}, {3, 3, 40, 1}, {1, 1, 1, 1}, true, generator);   // for the gradient
  compare<T>({1, 8, 8, 40}, {3, 3, 40, 130}, {1, 1, 1, 1}, true, generator);  // few pixels, and so on
  compare<T>({2, 13, 12, 70}, {3, 3, 70, 64}, {2, 2, 1, 1}, true, generator);
  compare<T>({6, 3, 4, 33}, {3, 3, 33, 80}, {1, 1, 1, 1}, true, generator);  // along the batch
  compare<T>({5, 1, 2, 33}, {3, 3, 33, 40}, {1, 1, 1, 1}, true, generator);  // whole rows of taps that nothing reads
}

TEST_CASE_TEMPLATE("conv2d: agrees with its naive twin where it is Winograd's", T, float, double) {
  std::mt19937 generator(23);
  const auto is = [](const Extents<4>& x, const Extents<4>& w, const Conv2dOptions& o) {
    return fovea::kernel::detail::as_winograd(fovea::kernel::detail::forward_correlation<T>(x, w, o)).suits();
  };
  const std::array<std::pair<Extents<4>, Conv2dOptions>, 6> cases{{
      {{2, 17, 13, 40}, {1, 1, 1, 1}},  // odd extents: tiles that stand out over the image
      {{3, 18, 16, 33}, {1, 1, 0, 0}},
      {{1, 20, 19, 32}, {1, 1, 2, 2}},
      {{2, 14, 21, 48}, {1, 1, 0, 2}},
      {{17, 4, 4, 64}, {1, 1, 1, 1}},
      {{1, 70, 6, 35}, {1, 1, 1, 0}},
  }};
  for (const auto& [x, o] : cases) {
    for (const Index outputs : {Index{32}, Index{37}}) {
      const Extents<4> w{3, 3, x[3], outputs};
      CHECK(is(x, w, o));
      compare<T>(x, w, o, outputs == 37, generator);
    }
  }
}

TEST_CASE("conv2d: workspace stays small for a picture of 2528 x 2528") {
  const Extents<4> x{1, 2528, 2528, 1};
  const Extents<4> w{3, 3, 1, 32};
  const Conv2dOptions o{1, 1, 1, 1};
  constexpr Index limit = 256 * 1024 / 4;
  CHECK(fovea::kernel::conv2d_workspace<float>(x, w, o) < limit);
  CHECK(fovea::kernel::conv2d_backward_weights_workspace<float>(x, w, o) < limit);
  // Three padded rows of dy; dy itself has 2528.
  CHECK(fovea::kernel::conv2d_backward_input_workspace<float>(x, w, o) < 4 * 2560 * 32);
}

TEST_CASE("conv2d: empty batches and outputs") {
  const Conv2dOptions o{};
  const View<const float, 4> x(nullptr, {0, 8, 8, 3});
  const Tensor<float, 4> w({3, 3, 3, 4});
  const View<float, 4> y(nullptr, {0, 6, 6, 4});
  Tensor<float, 4> dw({3, 3, 3, 4});
  Tensor<float, 1> workspace({1000});
  fovea::kernel::conv2d<float>(x, w, {}, o, y, workspace);
  fovea::kernel::conv2d_backward_weights<float>(y, x, o, dw.view(), {}, workspace);
  for (const float e : dw) CHECK(e == 0.F);
  Tensor<float, 4> dx({1, 2, 2, 3});  // smaller than the kernel: no output, no gradient
  std::fill(dx.begin(), dx.end(), 5.F);
  const View<float, 4> none(nullptr, {1, 0, 0, 4});
  fovea::kernel::conv2d_backward_input<float>(none, w, o, dx.view(), workspace);
  for (const float e : dx) CHECK(e == 5.F);
  fovea::kernel::conv2d_backward_input<float>(none, w, o, dx.view(), workspace, false);
  for (const float e : dx) CHECK(e == 0.F);
  CHECK(fovea::kernel::conv2d_output_extent(2, 3, 1, 0) == 0);
  CHECK(fovea::kernel::conv2d_output_extent(2, 3, 2, 1) == 1);
  CHECK(fovea::kernel::conv2d_output_extent(32, 3, 2, 1) == 16);
}

TEST_CASE("conv2d: what does not fit is an error") {
  const Conv2dOptions o{1, 1, 1, 1};
  Tensor<float, 4> x({2, 8, 8, 3});
  Tensor<float, 4> w({3, 3, 3, 4});
  Tensor<float, 4> y({2, 8, 8, 4});
  Tensor<float, 4> small({2, 8, 7, 4});
  Tensor<float, 4> w2({3, 3, 2, 4});
  Tensor<float, 1> bias({4});
  Tensor<float, 1> bias5({5});
  Tensor<float, 1> workspace({100000});
  Tensor<float, 1> little({1});
  using fovea::Error;
  using fovea::kernel::conv2d;
  using fovea::kernel::conv2d_backward_input;
  using fovea::kernel::conv2d_backward_weights;
  CHECK_NOTHROW(conv2d<float>(x, w, bias, o, y.view(), workspace));
  CHECK_THROWS_AS(conv2d<float>(x, w, bias, o, small.view(), workspace), Error);
  CHECK_THROWS_AS(conv2d<float>(x, w2, bias, o, y.view(), workspace), Error);
  CHECK_THROWS_AS(conv2d<float>(x, w, bias5, o, y.view(), workspace), Error);
  CHECK_THROWS_AS(conv2d<float>(x, w, bias, o, y.view(), little), Error);
  CHECK_THROWS_AS(conv2d<float>(x, w, bias, {0, 1, 1, 1}, y.view(), workspace), Error);
  CHECK_THROWS_AS(conv2d<float>(x, w, bias, {1, 1, -1, 1}, y.view(), workspace), Error);
  const View<float, 4> gaps(y.data(), {1, 8, 8, 4}, {1024, 128, 8, 1});
  CHECK_THROWS_AS(conv2d<float>(x.view().slice(0, 1), w, bias, o, gaps, workspace), Error);
  CHECK_THROWS_AS(conv2d_backward_input<float>(small, w, o, x.view(), workspace), Error);
  CHECK_THROWS_AS(conv2d_backward_input<float>(y, w2, o, x.view(), workspace), Error);
  CHECK_THROWS_AS(conv2d_backward_input<float>(y, w, o, x.view(), little), Error);
  CHECK_THROWS_AS(conv2d_backward_weights<float>(small, x, o, w.view(), bias, workspace), Error);
  CHECK_THROWS_AS(conv2d_backward_weights<float>(y, x, o, w2.view(), bias, workspace), Error);
  CHECK_THROWS_AS(conv2d_backward_weights<float>(y, x, o, w.view(), bias5, workspace), Error);
  CHECK_THROWS_AS(conv2d_backward_weights<float>(y, x, o, w.view(), bias, little), Error);
}
