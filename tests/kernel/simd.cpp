// SPDX-License-Identifier: MIT
// Every function of the shim against scalar code; built for x86-64-v2, v3 and v4, and so a test of the work-arounds for
// xsimd 8.1's defects on each.
#include <fovea/kernel/simd.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace simd = fovea::simd;
using fovea::Index;

namespace {

template <class T>
using Lanes = std::array<T, static_cast<std::size_t>(simd::kWidth<T>)>;

template <class T>
Lanes<T> lanes(const simd::Batch<T>& v) {
  Lanes<T> out{};
  simd::store(out.data(), v);
  return out;
}

/// Distance of `got` from `expected` in units of the last place of T at `expected`.
template <class T>
double ulp(T got, long double expected) {
  const T rounded = static_cast<T>(expected);
  if (got == rounded) return 0;
  if (!std::isfinite(got) || !std::isfinite(rounded)) return 1e30;
  const T magnitude = std::max(std::abs(rounded), std::numeric_limits<T>::min());
  const T unit = std::nextafter(magnitude, std::numeric_limits<T>::infinity()) - magnitude;
  return static_cast<double>(std::abs(static_cast<long double>(got) - expected) / static_cast<long double>(unit));
}

/// Worst error over [low, high], in ULP, of both overloads.
template <class T, class Vector, class Scalar, class Exact>
double worst_ulp(T low, T high, Vector vector, Scalar scalar, Exact exact) {
  double worst = 0;
  const Index steps = 20000;
  for (Index i = 0; i < steps; i += simd::kWidth<T>) {
    Lanes<T> x{};
    for (std::size_t l = 0; l < x.size(); ++l) {
      const auto t = static_cast<double>(i + static_cast<Index>(l)) / static_cast<double>(steps);
      x[l] = static_cast<T>(static_cast<double>(low) + (static_cast<double>(high) - static_cast<double>(low)) * t);
    }
    const Lanes<T> y = lanes<T>(vector(simd::load(x.data())));
    for (std::size_t l = 0; l < x.size(); ++l) {
      const long double expected = exact(static_cast<long double>(x[l]));
      worst = std::max(worst, ulp<T>(y[l], expected));
      worst = std::max(worst, ulp<T>(scalar(x[l]), expected));
    }
  }
  return worst;
}

template <class T>
Lanes<T> ramp(T first, T step) {
  Lanes<T> x{};
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = first + step * static_cast<T>(i);
  return x;
}

}  // namespace

TYPE_TO_STRING(float);
TYPE_TO_STRING(double);

TEST_CASE_TEMPLATE("simd: partial loads and stores touch only what exists", T, float, double) {
  constexpr Index width = simd::kWidth<T>;
  for (Index n = 0; n <= width; ++n) {
    const std::vector<T> source(static_cast<std::size_t>(n), T(3));  // nothing behind it: AddressSanitizer looks on
    const auto v = simd::load_partial(source.data(), n);
    const Lanes<T> got = lanes<T>(v);
    for (Index i = 0; i < width; ++i) CHECK(got[static_cast<std::size_t>(i)] == (i < n ? T(3) : T(0)));
    std::vector<T> target(static_cast<std::size_t>(n), T(0));
    simd::store_partial(target.data(), n, simd::broadcast(T(5)));
    for (const T element : target) CHECK(element == T(5));
    Lanes<T> guarded = ramp<T>(0, 1);
    simd::store_partial(guarded.data(), n, simd::broadcast(T(-1)));
    for (Index i = 0; i < width; ++i) CHECK(guarded[static_cast<std::size_t>(i)] == (i < n ? T(-1) : static_cast<T>(i)));
  }
}

TEST_CASE_TEMPLATE("simd: loads that convert", T, float, double) {
  constexpr auto width = static_cast<std::size_t>(simd::kWidth<T>);
  std::vector<std::uint8_t> bytes(width);
  std::vector<std::uint16_t> words(width);
  for (std::size_t i = 0; i < width; ++i) {
    bytes[i] = static_cast<std::uint8_t>(255 - 13 * i);
    words[i] = static_cast<std::uint16_t>(65535 - 4001 * i);
  }
  const Lanes<T> b = lanes<T>(simd::load_convert<T>(bytes.data()));
  const Lanes<T> w = lanes<T>(simd::load_convert<T>(words.data()));
  for (std::size_t i = 0; i < width; ++i) {
    CHECK(b[i] == static_cast<T>(bytes[i]));
    CHECK(w[i] == static_cast<T>(words[i]));
  }
  for (std::size_t n = 0; n <= width; ++n) {
    const std::vector<std::uint8_t> few(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    const Lanes<T> got = lanes<T>(simd::load_convert_partial<T>(few.data(), static_cast<Index>(n)));
    for (std::size_t i = 0; i < width; ++i) CHECK(got[i] == (i < n ? static_cast<T>(bytes[i]) : T(0)));
  }
  const Lanes<T> plain = ramp<T>(1, 2);
  CHECK(lanes<T>(simd::load_convert<T>(plain.data())) == plain);
}

TEST_CASE_TEMPLATE("simd: fma and fnma round once where the processor can", T, float, double) {
  // (1 + e)^2 - (1 + 2 e) is e^2, which a product rounded first loses.
  const T e = std::ldexp(T(1), -(std::numeric_limits<T>::digits / 2 + 2));
  const auto x = simd::broadcast(T(1) + e);
  const auto minus = simd::broadcast(-(T(1) + 2 * e));
  const T fused = lanes<T>(simd::fma(x, x, minus))[0];
  const T negated = lanes<T>(simd::fnma(x, x, simd::broadcast(T(1) + 2 * e)))[0];
#if defined(__FMA__) || defined(__aarch64__)
  CHECK(fused == e * e);
  CHECK(negated == -e * e);
  CHECK(simd::fma(T(1) + e, T(1) + e, -(T(1) + 2 * e)) == e * e);
#else
  CHECK(std::abs(fused) <= e * e);
  CHECK(std::abs(negated) <= e * e);
#endif
  CHECK(lanes<T>(simd::fma(simd::broadcast(T(2)), simd::broadcast(T(3)), simd::broadcast(T(4))))[0] == T(10));
  CHECK(lanes<T>(simd::fnma(simd::broadcast(T(2)), simd::broadcast(T(3)), simd::broadcast(T(4))))[0] == T(-2));
  CHECK(simd::fnma(T(2), T(3), T(4)) == T(-2));
}

TEST_CASE_TEMPLATE("simd: lane by lane arithmetic, comparisons and masks", T, float, double) {
  const Lanes<T> a = ramp<T>(-2, 1);
  const Lanes<T> b = ramp<T>(3, T(-0.5));
  const auto va = simd::load(a.data());
  const auto vb = simd::load(b.data());
  const Lanes<T> least = lanes<T>(simd::min(va, vb));
  const Lanes<T> most = lanes<T>(simd::max(va, vb));
  const Lanes<T> magnitude = lanes<T>(simd::abs(va));
  const Lanes<T> root = lanes<T>(simd::sqrt(simd::abs(va)));
  const auto pick = [&](const simd::Mask<T>& mask) {
    return lanes<T>(simd::select<T>(mask, simd::broadcast(T(1)), simd::broadcast(T(0))));
  };
  const auto low = va < vb;
  const auto positive = va > simd::zero<T>();
  const Lanes<T> less = pick(low);
  const Lanes<T> less_equal = pick(va <= simd::broadcast(T(0)));
  const Lanes<T> equal = pick(va == simd::broadcast(T(-1)));
  const Lanes<T> unequal = pick(va != simd::broadcast(T(-1)));
  const Lanes<T> greater_equal = pick(va >= simd::broadcast(T(0)));
  const Lanes<T> both = pick(low & positive);
  const Lanes<T> either = pick(low | positive);
  const Lanes<T> one_of = pick(simd::mask_xor<T>(low, positive));
  const Lanes<T> neither = pick(simd::mask_not<T>(low | positive));
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool l = a[i] < b[i];
    const bool p = a[i] > T(0);
    CHECK(least[i] == std::min(a[i], b[i]));
    CHECK(most[i] == std::max(a[i], b[i]));
    CHECK(magnitude[i] == std::abs(a[i]));
    CHECK(root[i] == std::sqrt(std::abs(a[i])));
    CHECK(less[i] == T(l));
    CHECK(less_equal[i] == T(a[i] <= T(0)));
    CHECK(equal[i] == T(a[i] == T(-1)));
    CHECK(unequal[i] == T(a[i] != T(-1)));
    CHECK(greater_equal[i] == T(a[i] >= T(0)));
    CHECK(both[i] == T(l && p));
    CHECK(either[i] == T(l || p));
    CHECK(one_of[i] == T(l != p));
    CHECK(neither[i] == T(!l && !p));
  }
  CHECK(simd::any(va < simd::zero<T>()));
  CHECK_FALSE(simd::any(va < simd::broadcast(T(-2))));
  CHECK(simd::all(va >= simd::broadcast(T(-2))));
  CHECK_FALSE(simd::all(va > simd::broadcast(T(-2))));
  const auto nan = simd::broadcast(std::numeric_limits<T>::quiet_NaN());
  CHECK_FALSE(simd::any(nan == nan));
  CHECK(simd::all(simd::is_nan(nan)));
  CHECK_FALSE(simd::any(simd::is_nan(va)));
  CHECK(simd::is_nan(std::numeric_limits<T>::quiet_NaN()));
  CHECK_FALSE(simd::is_nan(T(0)));
}

TEST_CASE_TEMPLATE("simd: reductions", T, float, double) {
  for (std::size_t place = 0; place < Lanes<T>{}.size(); ++place) {
    Lanes<T> x = ramp<T>(-40, 1);
    x[place] = T(100);
    T sum = 0;
    T least = x[0];
    for (const T e : x) {
      sum += e;
      least = std::min(least, e);
    }
    CHECK(simd::reduce_add(simd::load(x.data())) == sum);  // small whole numbers: exact in any order
    CHECK(simd::reduce_max(simd::load(x.data())) == T(100));
    CHECK(simd::reduce_min(simd::load(x.data())) == least);
    x[place] = T(-100);
    CHECK(simd::reduce_min(simd::load(x.data())) == T(-100));
  }
}

TEST_CASE_TEMPLATE("simd: elementary functions are within their stated errors", T, float, double) {
  const bool single = std::is_same_v<T, float>;
  const T far = single ? T(87) : T(700);
#define FOVEA_WORST(name, low, high, exact)                                                                      \
  worst_ulp<T>(                                                                                                  \
      T(low), T(high), [](const simd::Batch<T>& x) { return simd::name(x); }, [](T x) { return simd::name(x); }, \
      [](long double x) { return exact; })
  CHECK(FOVEA_WORST(exp, -far, far, std::exp(x)) <= 2);
  CHECK(FOVEA_WORST(exp, -1, 1, std::exp(x)) <= 2);
  CHECK(FOVEA_WORST(expm1, -20, 20, std::expm1(x)) <= 3);
  CHECK(FOVEA_WORST(expm1, -0.1, 0.1, std::expm1(x)) <= 3);
  CHECK(FOVEA_WORST(log, 1e-6, 4, std::log(x)) <= 2);
  CHECK(FOVEA_WORST(log, 1, 1e30, std::log(x)) <= 2);
  CHECK(FOVEA_WORST(log1p, -0.9, 10, std::log1p(x)) <= 2);
  CHECK(FOVEA_WORST(log1p, -1e-3, 1e-3, std::log1p(x)) <= 2);
  CHECK(FOVEA_WORST(tanh, -10, 10, std::tanh(x)) <= 3);
  CHECK(FOVEA_WORST(tanh, -0.1, 0.1, std::tanh(x)) <= 3);
  CHECK(FOVEA_WORST(sigmoid, -far, far, 1.0L / (1.0L + std::exp(-x))) <= 4);
  CHECK(FOVEA_WORST(sigmoid, -4, 4, 1.0L / (1.0L + std::exp(-x))) <= 4);
#undef FOVEA_WORST
}

TEST_CASE_TEMPLATE("simd: elementary functions at the ends of their ranges", T, float, double) {
  const T infinity = std::numeric_limits<T>::infinity();
  const auto at = [](auto function, T x) { return lanes<T>(function(simd::broadcast(x)))[0]; };
  const auto exp = [](const simd::Batch<T>& x) { return simd::exp(x); };
  const auto log = [](const simd::Batch<T>& x) { return simd::log(x); };
  const auto tanh = [](const simd::Batch<T>& x) { return simd::tanh(x); };
  const auto sigmoid = [](const simd::Batch<T>& x) { return simd::sigmoid(x); };
  CHECK(at(exp, T(0)) == T(1));
  CHECK(at(exp, T(1000)) == infinity);
  CHECK(at(exp, T(-1000)) == T(0));
  CHECK(at(exp, -infinity) == T(0));
  CHECK(at(log, T(1)) == T(0));
  CHECK(at(log, T(0)) == -infinity);
  CHECK(at(log, infinity) == infinity);
  CHECK(std::isnan(at(log, T(-1))));
  CHECK(at(tanh, T(1000)) == T(1));
  CHECK(at(tanh, T(-1000)) == T(-1));
  CHECK(at(tanh, T(0)) == T(0));
  CHECK(at(sigmoid, T(1000)) == T(1));
  CHECK(at(sigmoid, T(-1000)) == T(0));
  CHECK(at(sigmoid, T(0)) == T(0.5));
  CHECK(at(sigmoid, infinity) == T(1));
  CHECK(at(sigmoid, -infinity) == T(0));
}

TEST_CASE_TEMPLATE("simd: for_each_batch treats the tail like the rest", T, float, double) {
  for (Index n = 0; n < 3 * simd::kWidth<T> + 2; ++n) {
    const std::vector<T> x(static_cast<std::size_t>(n), T(0.7));
    std::vector<T> y(static_cast<std::size_t>(n));
    Index counted = 0;
    simd::for_each_batch<T>(n, [&](auto at) {
      counted += at.count();
      at.store(y.data(), simd::exp(at.load(x.data())));
    });
    CHECK(counted == n);
    for (const T element : y) CHECK(element == y[0]);
  }
}
