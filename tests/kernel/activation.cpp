// SPDX-License-Identifier: MIT
#include "support/compare.hpp"
#include "support/naive_nn.hpp"
#include <fovea/kernel/activation.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

using namespace fovea;
using namespace fovea_test;
using Doubles = std::vector<double>;

namespace {

template <class T>
struct Function {
  std::string name;
  void (*forward)(View<const T, 1>, View<T, 1>);
  void (*backward)(View<const T, 1>, View<const T, 1>, View<T, 1>);
  long double (*exact)(long double);
  long double (*slope)(long double);
  double ulp;  ///< what the forward function may be off, in float and in double
};

template <class T>
std::vector<Function<T>> functions() {
  using L = long double;
  return {
      {"relu", kernel::relu<T>, kernel::relu_backward<T>, [](L x) { return x > 0 ? x : 0; },
       [](L x) { return x > 0 ? L(1) : L(0); }, 0},
      {"elu", kernel::elu<T>, kernel::elu_backward<T>, naive::elu, [](L x) { return x > 0 ? L(1) : std::exp(x); }, 2.5},
      {"selu", kernel::selu<T>, kernel::selu_backward<T>, naive::selu,
       [](L x) { return x > 0 ? L(1.0507009873554804934193349852946L) : naive::selu(x) + 1.7580993408473768599402175208123L; },
       4},
      {"tanh", kernel::tanh<T>, kernel::tanh_backward<T>, [](L x) { return std::tanh(x); },
       [](L x) { return 1 / (std::cosh(x) * std::cosh(x)); }, 1.5},
      {"sigmoid", kernel::sigmoid<T>, kernel::sigmoid_backward<T>, naive::sigmoid,
       [](L x) { return naive::sigmoid(x) * naive::sigmoid(-x); }, 2.5},
      {"softplus", kernel::softplus<T>, kernel::softplus_backward<T>, naive::softplus, naive::sigmoid, 2.5},
      {"exp", kernel::exp<T>, kernel::exp_backward<T>, [](L x) { return std::exp(x); }, [](L x) { return std::exp(x); }, 3},
  };
}

}  // namespace

TEST_CASE_TEMPLATE("activations against libm in long double", T, float, double) {
  // From the tails through the smallest numbers around 0.
  std::vector<T> x;
  for (double v = 1e-30; v < 80; v *= 1.07) {
    x.push_back(static_cast<T>(v));
    x.push_back(static_cast<T>(-v));
  }
  x.push_back(T(0));
  const auto n = static_cast<Index>(x.size());
  for (const auto& f : functions<T>()) {
    std::vector<T> y(x.size());
    f.forward({x.data(), {n}}, {y.data(), {n}});
    double worst = 0;
    double at = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double error = ulp_error(y[i], f.exact(static_cast<long double>(x[i])));
      if (error > worst) {
        worst = error;
        at = static_cast<double>(x[i]);
      }
    }
    INFO(f.name, " is off by ", worst, " ULP at ", at);
    CHECK(worst <= f.ulp);
  }
}

TEST_CASE_TEMPLATE("backward adds the derivative times d_y, at any length", T, float, double) {
  Stream s(1);
  for (const auto& f : functions<T>()) {
    INFO(f.name);
    for (Index n = 0; n < 70; n += 1 + n / 20) {
      const auto x = random_tensor<T, 1>({n}, s, 2);
      const auto dy = random_tensor<T, 1>({n}, s);
      auto dx = random_tensor<T, 1>({n}, s);
      Doubles expected = as_doubles(dx);
      Tensor<T, 1> y({n});
      f.forward(x.view(), y.view());
      f.backward(dy.view(), y.view(), dx.view());
      for (Index i = 0; i < n; ++i) {
        expected[static_cast<std::size_t>(i)] +=
            static_cast<double>(dy(i)) * static_cast<double>(f.slope(static_cast<long double>(x(i))));
      }
      CHECK(relative_error(dx, expected) < kTolerance<T>);
    }
  }
}

TEST_CASE_TEMPLATE("an element's result depends neither on its place nor on where it is written", T, float, double) {
  Stream s(2);
  constexpr Index n = 67;
  const auto x = random_tensor<T, 1>({n}, s, 3);
  for (const auto& f : functions<T>()) {
    INFO(f.name);
    Tensor<T, 1> y({n});
    f.forward(x.view(), y.view());
    auto in_place = x;
    f.forward(in_place.view(), in_place.view());
    for (Index i = 0; i < n; ++i) {
      CHECK(in_place(i) == y(i));
      T alone = 0;
      f.forward({x.data() + i, {1}}, {&alone, {1}});
      CHECK(alone == y(i));
    }
  }
}

TEST_CASE_TEMPLATE("NaN and infinity", T, float, double) {
  constexpr T inf = std::numeric_limits<T>::infinity();
  for (const auto& f : functions<T>()) {
    INFO(f.name);
    const T x[3] = {std::numeric_limits<T>::quiet_NaN(), inf, -inf};
    T y[3] = {};
    f.forward({x, {3}}, {y, {3}});
    CHECK(std::isnan(y[0]));
    CHECK(static_cast<double>(y[1]) == static_cast<double>(f.exact(HUGE_VALL)));
    CHECK(ulp_error(y[2], f.exact(-HUGE_VALL)) <= 2);
  }
}

TEST_CASE_TEMPLATE("activations agree with PyTorch 1.13", T, float, double) {
  // torch.nn.functional.{elu,selu,softplus}, torch.{sigmoid,tanh} of pattern(9, 0.1, 3), and their derivatives.
  const Doubles elu{-0.94497677994359275, -0.83051655050052986, -0.47795422323898396, 0.47499999999999998, 1.6000000000000001,
                    2.7250000000000001,   -0.9199416872132794,  -0.75340303605839354, -0.24042787677503152};
  const Doubles d_elu{0.055023220056407231, 0.16948344949947011, 0.52204577676101604, 1, 1, 1,
                      0.080058312786720556, 0.24659696394160649, 0.75957212322496848};
  const Doubles selu{-1.6613630539349069, -1.4601305999978185, -0.84029100483167762, 0.49908296899385318, 1.6811215797687689,
                     2.8631601905436845,  -1.61734887390769,   -1.324557381086674,   -0.42269609167951722};
  const Doubles d_selu{0.096736286912469702, 0.29796874084955804, 0.917808336015699,   1.0507009873554805, 1.0507009873554805,
                       1.0507009873554805,   0.14075046693968651, 0.43354195976070264, 1.3354032491678594};
  const Doubles softplus{0.053562776217963175, 0.15656215516724376, 0.42005533570271519,
                         0.95858908787082464,  1.7839007408883389,  2.7884875340922655,
                         0.077015032999578986, 0.22041740991845094, 0.56507066768960013};
  const Doubles d_softplus{0.052153563078417738, 0.14492163148782286, 0.34298953732650123,
                           0.61656650452131923,  0.83201838513392445, 0.93848581830536548,
                           0.074124065190663183, 0.19781611144141825, 0.43168001652175192};
  const Doubles sigmoid{0.052153563078417738, 0.14492163148782286, 0.34298953732650117,
                        0.61656650452131934,  0.83201838513392445, 0.93848581830536559,
                        0.074124065190663169, 0.19781611144141825, 0.43168001652175192};
  const Doubles d_sigmoid{0.049433568936643239, 0.12391935221473052, 0.22534771461105382,
                          0.23641225002368124,  0.13976379193306102, 0.057730187145073913,
                          0.068629688150273482, 0.15868489749561462, 0.2453323798575319};
  const Doubles tanh{-0.9939631673505831, -0.94415485243185393, -0.57166996608511722, 0.44223035604572619, 0.92166855440647133,
                     0.99144414916059009, -0.98726296898636889, -0.88535164820226253, -0.26827118202160138};
  const Doubles d_tanh{0.012037221950396736, 0.10857161462938412, 0.67319344987624097, 0.80443231219167022, 0.15052707581828539,
                       0.01703849909523358,  0.02531183006822001, 0.21615245902553717, 0.92803057289673285};
  const auto x = pattern<T, 1>({9}, 0.1, 3.0);
  const auto check = [&](const char* name, const Doubles& value, const Doubles& slope) {
    const auto all = functions<T>();
    const auto f = std::find_if(all.begin(), all.end(), [&](const auto& g) { return g.name == name; });
    Tensor<T, 1> y({9});
    f->forward(x.view(), y.view());
    Tensor<T, 1> ones({9});
    std::fill(ones.begin(), ones.end(), T(1));
    Tensor<T, 1> dx({9});
    f->backward(ones.view(), y.view(), dx.view());
    INFO(name);
    CHECK(relative_error(y, value) < kTolerance<T>);
    CHECK(relative_error(dx, slope) < kTolerance<T>);
  };
  check("elu", elu, d_elu);
  check("selu", selu, d_selu);
  check("softplus", softplus, d_softplus);
  check("sigmoid", sigmoid, d_sigmoid);
  check("tanh", tanh, d_tanh);
}

TEST_CASE_TEMPLATE("add_activate is the activation of a sum, and its gradient reaches both terms", T, float, double) {
  constexpr Index n = 37;
  std::vector<T> x(n), y(n), sum(n), z(n), expected(n), d_z(n), slope(n), d_x(n, T(2)), d_y(n, T(3)), alone(n, T(3));
  for (Index i = 0; i < n; ++i) {
    const auto k = static_cast<std::size_t>(i);
    x[k] = static_cast<T>(i - 18) / 4;
    y[k] = static_cast<T>((7 * i) % 11 - 5) / 3;
    sum[k] = x[k] + y[k];
    d_z[k] = static_cast<T>(i % 5) - 2;
  }
  const auto in = [](const std::vector<T>& v) { return View<const T, 1>(v.data(), {n}); };
  const auto out = [](std::vector<T>& v) { return View<T, 1>(v.data(), {n}); };
  kernel::elu<T>(in(sum), out(expected));
  kernel::elu_backward<T>(in(d_z), in(expected), out(slope));
  kernel::add_activate<T>(in(x), in(y), out(z), kernel::Elu{});
  kernel::add_activate_backward<T>(in(d_z), in(z), out(d_x), out(d_y), kernel::Elu{});
  kernel::add_activate_backward<T>(in(d_z), in(z), View<T, 1>(), out(alone), kernel::Elu{});
  for (std::size_t k = 0; k < x.size(); ++k) {
    CHECK(z[k] == expected[k]);
    CHECK(d_x[k] == doctest::Approx(T(2) + slope[k]));
    CHECK(d_y[k] == doctest::Approx(T(3) + slope[k]));
    CHECK(alone[k] == d_y[k]);
  }
}
