// SPDX-License-Identifier: MIT
// The recurrent cells against PyTorch 1.13 (float64). pattern() is in support/compare.hpp. With B = 2, I = 3, H = 4, G gates:
//   cell = torch.nn.GRUCell(I, H) or LSTMCell(I, H)      (G = 3 or 4)
//   weight_ih = pattern(I G H, 0.05, 0.6) as [I, G H], transposed;  weight_hh = pattern(H G H, -0.03, 0.5) as [H, G H],
//   transposed bias_ih = pattern(G H, 0.1, 0.2);  bias_hh = pattern(G H, -0.05, 0.3) x = pattern(B I, 0.2, 1);  h = pattern(B
//   H, -0.1, 0.8);  c = pattern(B H, 0.3, 1.1) gradient of the new h: pattern(B H, 0.5, 1);  of the new c: pattern(B H, -0.2,
//   1)
#include "support/compare.hpp"
#include <fovea/nn/recurrent.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

using namespace fovea;
using fovea_test::kTolerance;
using fovea_test::pattern;
using fovea_test::relative_error;
using Doubles = std::vector<double>;

namespace {

constexpr Index kB = 2;
constexpr Index kI = 3;
constexpr Index kH = 4;

template <class T>
Var<T> patterned(Tape<T>& tape, const Shape& shape, double a, double b) {
  const Var<T> x = tape.variable(shape);
  const auto values = pattern<T, 1>({shape.size()}, a, b);
  std::copy_n(values.data(), shape.size(), x.value);
  return x;
}
template <class T>
std::vector<T> vector_of(const T* p, Index n) {
  return std::vector<T>(p, p + n);
}

}  // namespace

TEST_CASE_TEMPLATE("GRU cell agrees with PyTorch 1.13", T, float, double) {
  const Doubles y{-0.30066747155437118, -0.49881014908508647, -0.33403111294772231, 0.034491455836318803,
                  0.30925443547445175,  0.65191367457916216,  0.24510269820230612,  -0.10631935236274404};
  const Doubles dx{0.22481548029108583,   -0.097419239810185618, -0.17188395718306135,
                   -0.070567839579571356, 0.016651008759935471,  0.28451405238180816};
  const Doubles dh{-0.057521652393922804, -0.094825052888345487, 0.11426753165700831,   0.20939804152808367,
                   0.77098543204029613,   0.71477308737149048,   -0.017890841041536723, 0.088343966736061402};
  const Doubles dbx{-0.0043133350038829892, -0.01992757786116901,  -0.052132774035734394, 0.012774229306074641,
                    0.087082189352273201,   -0.030532841576821346, 0.10505610696242712,   -0.01287491126345356,
                    -0.19401661501328224,   0.27331921508958185,   -0.11666838642550209,  0.24987559084603417};
  const Doubles dbh{-0.0043133350038829892, -0.01992757786116901,  -0.052132774035734394, 0.012774229306074641,
                    0.087082189352273201,   -0.030532841576821346, 0.10505610696242712,   -0.01287491126345356,
                    -0.21602668981720058,   0.077668895426515783,  -0.051872102758441452, 0.1042574135923142};
  Arena arena;
  Tape<T> tape(arena);
  const auto x = patterned<T>(tape, {kB, kI}, 0.2, 1.0);
  const auto h = patterned<T>(tape, {kB, kH}, -0.1, 0.8);
  const auto w_x = patterned<T>(tape, {kI, 3 * kH}, 0.05, 0.6);
  const auto w_h = patterned<T>(tape, {kH, 3 * kH}, -0.03, 0.5);
  const auto b_x = patterned<T>(tape, {3 * kH}, 0.1, 0.2);
  const auto b_h = patterned<T>(tape, {3 * kH}, -0.05, 0.3);
  const auto next = nn::gru_cell(tape, x, h, w_x, w_h, b_x, b_h);
  const auto d = pattern<T, 1>({kB * kH}, 0.5, 1.0);
  std::copy_n(d.data(), d.size(), next.gradient);
  tape.backward();
  CHECK(relative_error(vector_of(next.value, next.size()), y) < kTolerance<T>);
  CHECK(relative_error(vector_of(x.gradient, x.size()), dx) < kTolerance<T>);
  CHECK(relative_error(vector_of(h.gradient, h.size()), dh) < kTolerance<T>);
  CHECK(relative_error(vector_of(b_x.gradient, b_x.size()), dbx) < kTolerance<T>);
  CHECK(relative_error(vector_of(b_h.gradient, b_h.size()), dbh) < kTolerance<T>);
}

TEST_CASE_TEMPLATE("LSTM cell agrees with PyTorch 1.13", T, float, double) {
  const Doubles y_h{-0.050531211155217075, -0.043778908518061509, -0.1220916522578472,   -0.041110082376964591,
                    0.15803109809225427,   0.28392527456262634,   -0.052620373403266932, 0.25589416056927028};
  const Doubles y_c{-0.1196334692888201, -0.072162631347217301, -0.20826383210617211, -0.084681286546404055,
                    0.27694787163270496, 1.1037813901328737,    -0.14360335730224194, 0.42274513580228557};
  const Doubles dx{0.08387222897983683,   0.12510526209215139,   0.37658765658054061,
                   -0.040044452975379501, -0.031680691271333314, 0.25401571458226718};
  const Doubles dh{0.14722859904264982,   0.18158945996957862,   0.39115812204323636, 0.035634817813512312,
                   -0.084950658414081559, -0.077980856994043155, 0.16009948121729065, 0.10970640202245675};
  const Doubles dc{-0.6346746791944452, -0.31173387080409037, -0.14158663332094179, 0.14568054379076001,
                   0.57665211329577726, 0.67539368765387153,  -0.65024155173486142, -0.21759851998703869};
  const Doubles dbx{-0.30210217323697763, 0.043272599025022535, -0.16126853407312855,  -0.19518381859350897,
                    0.43370945530972038,  0.25320472752393763,  0.19747843254350916,   0.060316413325840618,
                    -0.28426957648892054, -0.40349797934934761, -0.33233847290921842,  0.010004431323225108,
                    0.080105090310399502, 0.25430959650185542,  8.106415872123629e-05, -0.013190473392345746};
  Arena arena;
  Tape<T> tape(arena);
  const auto x = patterned<T>(tape, {kB, kI}, 0.2, 1.0);
  const auto h = patterned<T>(tape, {kB, kH}, -0.1, 0.8);
  const auto c = patterned<T>(tape, {kB, kH}, 0.3, 1.1);
  const auto w_x = patterned<T>(tape, {kI, 4 * kH}, 0.05, 0.6);
  const auto w_h = patterned<T>(tape, {kH, 4 * kH}, -0.03, 0.5);
  const auto b_x = patterned<T>(tape, {4 * kH}, 0.1, 0.2);
  const auto b_h = patterned<T>(tape, {4 * kH}, -0.05, 0.3);
  const auto next = nn::lstm_cell(tape, x, {h, c}, w_x, w_h, b_x, b_h);
  const auto d_h = pattern<T, 1>({kB * kH}, 0.5, 1.0);
  const auto d_c = pattern<T, 1>({kB * kH}, -0.2, 1.0);
  std::copy_n(d_h.data(), d_h.size(), next.h.gradient);
  std::copy_n(d_c.data(), d_c.size(), next.c.gradient);
  tape.backward();
  CHECK(relative_error(vector_of(next.h.value, next.h.size()), y_h) < kTolerance<T>);
  CHECK(relative_error(vector_of(next.c.value, next.c.size()), y_c) < kTolerance<T>);
  CHECK(relative_error(vector_of(x.gradient, x.size()), dx) < kTolerance<T>);
  CHECK(relative_error(vector_of(h.gradient, h.size()), dh) < kTolerance<T>);
  CHECK(relative_error(vector_of(c.gradient, c.size()), dc) < kTolerance<T>);
  CHECK(relative_error(vector_of(b_x.gradient, b_x.size()), dbx) < kTolerance<T>);
  CHECK(relative_error(vector_of(b_h.gradient, b_h.size()), dbx) < kTolerance<T>);
}
