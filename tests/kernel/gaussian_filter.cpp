// SPDX-License-Identifier: MIT
// The bank of Gaussian filters against its definition, summed over all pixels of a wide surround, in double.
#include "support/pictures.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/gaussian_filter.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace {

using namespace fovea;
using fovea_test::noise;
using fovea_test::Picture;
using kernel::GaussianAxis;
using kernel::GaussianOptions;
using kernel::Padding;

/// Weights of one filter on the pixels of an axis: value, and derivatives in the centre and in log deviation.
using Weights = std::array<std::vector<double>, 3>;

Weights naive_weights(const GaussianAxis& axis, Index k, Index extent, GaussianOptions options) {
  const double centre = axis.centres.origin + static_cast<double>(k) * axis.centres.step;
  const double d = axis.deviation;
  const auto reach = static_cast<Index>(std::ceil(12 * d)) + 2;
  const Index middle = std::lround(centre);
  Index first = std::min(middle - reach, Index{0});
  Index end = std::max(middle + reach, extent);
  if (options.inside) {
    first = 0;
    end = extent;
  }
  double least = HUGE_VAL;  // so that a far filter does not vanish
  for (Index a = first; a < end; ++a) least = std::min(least, std::pow((static_cast<double>(a) - centre) / d, 2) / 2);
  double sum = 0;
  double mean = 0;
  double square = 0;
  for (Index a = first; a < end; ++a) {
    const double u = (static_cast<double>(a) - centre) / d;
    const double w = std::exp(least - u * u / 2);
    sum += w;
    mean += w * u;
    square += w * u * u;
  }
  mean /= sum;
  square /= sum;
  Weights weights;
  for (auto& w : weights) w.assign(static_cast<std::size_t>(extent), 0.0);
  for (Index a = first; a < end; ++a) {
    Index pixel = a;
    if (a < 0 || a >= extent) {
      if (options.padding == Padding::zeros) continue;
      if (options.padding == Padding::border) pixel = std::clamp(a, Index{0}, extent - 1);
      if (options.padding == Padding::reflection) {
        while (pixel < 0 || pixel >= extent) pixel = pixel < 0 ? -1 - pixel : 2 * extent - 1 - pixel;
      }
    }
    const double u = (static_cast<double>(a) - centre) / d;
    const double w = std::exp(least - u * u / 2) / sum;
    weights[0][static_cast<std::size_t>(pixel)] += w;
    weights[1][static_cast<std::size_t>(pixel)] += w * (u - mean) / d;
    weights[2][static_cast<std::size_t>(pixel)] += w * (u * u - square);
  }
  return weights;
}

/// The largest differences from the definition: of values, of slopes in the centres times the deviation, and of those in the
/// log of the deviations; relative to the pixels' range.
struct Worst {
  double value = 0;
  double slope = 0;
};

template <class P, class T>
Worst compare(View<const P, 3> source, const GaussianAxis& rows, const GaussianAxis& columns, GaussianOptions options,
              Extents<2> window) {
  const Index channels = source.extent(2);
  const Extents<3> extents{window[0], window[1], channels};
  Picture<T> out(extents);
  Picture<T> plain(extents, 3);
  Picture<T> d_rows(extents);
  Picture<T> d_columns(extents);
  Picture<T> mix(extents);
  // A share of 0.25 on top of what is there, as two levels are mixed.
  for (auto* picture : {&out, &plain, &d_rows, &d_columns, &mix})
    std::fill(picture->pixels.begin(), picture->pixels.end(), T(0.5));
  const kernel::GaussianScales scales{0.25, 2, 3, -1, 0.5, 0.75};
  kernel::gaussian_filter(source, rows, columns, options, plain.view(), 0.25, true);
  kernel::gaussian_filter_with_slopes(source, rows, columns, options, out.view(), {d_rows.view(), d_columns.view(), mix.view()},
                                      scales, true);
  std::vector<Weights> down;
  std::vector<Weights> across;
  for (Index i = 0; i < window[0]; ++i) down.push_back(naive_weights(rows, i, source.extent(0), options));
  for (Index j = 0; j < window[1]; ++j) across.push_back(naive_weights(columns, j, source.extent(1), options));
  Worst worst;
  for (Index i = 0; i < window[0]; ++i) {
    for (Index j = 0; j < window[1]; ++j) {
      for (Index c = 0; c < channels; ++c) {
        double sums[5] = {0, 0, 0, 0, 0};  // value, centre of the row and column filter, deviation alike
        const Weights& y = down[static_cast<std::size_t>(i)];
        const Weights& x = across[static_cast<std::size_t>(j)];
        for (Index a = 0; a < source.extent(0); ++a) {
          for (Index b = 0; b < source.extent(1); ++b) {
            const auto p = static_cast<std::size_t>(a);
            const auto q = static_cast<std::size_t>(b);
            const double pixel = static_cast<double>(source(a, b, c)) * kernel::kPixelScale<P>;
            sums[0] += y[0][p] * x[0][q] * pixel;
            sums[1] += y[1][p] * x[0][q] * pixel;
            sums[2] += y[0][p] * x[1][q] * pixel;
            sums[3] += y[2][p] * x[0][q] * pixel;
            sums[4] += y[0][p] * x[2][q] * pixel;
          }
        }
        const auto differ = [&](double got, double expected) { return std::abs(got - 0.5 - expected); };
        worst.value =
            std::max({worst.value, differ(out.view()(i, j, c), 0.25 * sums[0]), differ(plain.view()(i, j, c), 0.25 * sums[0])});
        worst.slope = std::max({worst.slope, differ(d_rows.view()(i, j, c), 2 * sums[1]) * rows.deviation,
                                differ(d_columns.view()(i, j, c), 3 * sums[2]) * columns.deviation,
                                differ(mix.view()(i, j, c), -sums[0] + 0.5 * sums[3] + 0.75 * sums[4])});
      }
    }
  }
  return worst;
}

template <class P, class T>
Worst compare_all() {
  Worst worst;
  for (std::uint64_t n = 0; n < 48; ++n) {
    Stream stream(2015, 0, n, Purpose::test);
    const auto extent = [&](Index low, Index high) {
      return low + static_cast<Index>(stream.below(static_cast<std::uint32_t>(high - low + 1)));
    };
    // Now and then more channels than a piece of a row holds, and one pixel.
    const Index channels = n % 16 == 7 ? 530 : extent(1, 4);
    const Index most = channels > 4 ? 5 : 60;
    const Picture<P> picture =
        noise<P>(stream, {extent(1, most), extent(1, channels > 4 ? 5 : 170), channels}, n % 3 == 0 ? 5 : 0);
    View<const P, 3> source = picture.view();
    if (n % 5 == 4)
      source = {source.data(),
                {source.extent(0), source.extent(2), source.extent(1)},
                {source.stride(0), source.stride(2), source.stride(1)}};  // no dense rows
    const Extents<2> window{extent(1, 5), channels > 4 || n % 5 == 4 ? extent(1, 4) : extent(1, 20)};
    const auto axis = [&](Index size, Index count) -> GaussianAxis {
      const double step = std::exp(stream.uniform(-2.0, 2.5));
      const double middle = stream.uniform(-0.6, 1.6) * static_cast<double>(size);
      return {{middle - step * static_cast<double>(count - 1) / 2, step}, std::exp(stream.uniform(-2.0, 2.8))};
    };
    const GaussianOptions options{static_cast<Padding>(n % 3), n % 4 == 3};
    const Worst one =
        compare<P, T>(source, axis(source.extent(0), window[0]), axis(source.extent(1), window[1]), options, window);
    INFO("case ", n);
    worst.value = std::max(worst.value, one.value);
    worst.slope = std::max(worst.slope, one.slope);
  }
  MESSAGE("value ", worst.value, ", slope ", worst.slope);
  return worst;
}

TEST_SUITE_BEGIN("kernel");

TEST_CASE("gaussian filter: the definition, float") {
  const Worst bytes = compare_all<std::uint8_t, float>();
  CHECK(bytes.value <= 1e-6);
  CHECK(bytes.slope <= 4e-6);
  const Worst words = compare_all<std::uint16_t, float>();
  CHECK(words.value <= 1e-6);
  CHECK(words.slope <= 4e-6);
  const Worst floats = compare_all<float, float>();
  CHECK(floats.value <= 1e-6);
  CHECK(floats.slope <= 4e-6);
}

TEST_CASE("gaussian filter: the definition, double") {
  const Worst bytes = compare_all<std::uint8_t, double>();
  CHECK(bytes.value <= 1e-12);
  CHECK(bytes.slope <= 1e-10);
  const Worst doubles = compare_all<double, double>();
  CHECK(doubles.value <= 1e-12);
  CHECK(doubles.slope <= 1e-10);
}

TEST_CASE("gaussian filter: far outside, and filters wider than the image") {
  Stream stream(3, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {7, 9, 1});
  for (const bool inside : {false, true}) {
    for (const Padding padding : {Padding::zeros, Padding::border, Padding::reflection}) {
      for (const double origin : {-1e30, -5000.0, 1e12, 3e300}) {
        for (const double deviation : {0.1, 1.0, 300.0}) {
          Picture<float> out(Extents<3>{2, 3, 1});
          Picture<float> planes[3] = {out, out, out};
          kernel::gaussian_filter_with_slopes(picture.view(), GaussianAxis{{origin, 1}, deviation}, {{4, 1}, deviation},
                                              {padding, inside}, out.view(),
                                              {planes[0].view(), planes[1].view(), planes[2].view()});
          for (const float v : out.pixels) CHECK((v >= 0 && v <= 1.00001F));
          for (const auto& plane : planes) {
            for (const float v : plane.pixels) CHECK(std::isfinite(v));
          }
          if (padding == Padding::zeros && !inside) CHECK(out.pixels[0] == 0);
          if (padding != Padding::zeros || inside) CHECK(out.pixels[0] > 0);
          const auto [first, end] = kernel::gaussian_reach<float>({{origin, 1}, deviation}, 2, 7, {padding, inside});
          CHECK((first >= 0 && first < end && end <= 7));
        }
      }
    }
  }
}

TEST_CASE("gaussian filter: a part of the image within reach serves as the whole") {
  Stream stream(4, 0, 0, Purpose::test);
  const Picture<double> picture = noise<double>(stream, {90, 110, 2});
  int parts = 0;
  for (int n = 0; n < 300; ++n) {
    const auto axis = [&](Index size, Index count) -> GaussianAxis {
      const double step = std::exp(stream.uniform(-2.0, 1.5));
      return {{stream.uniform(-1.2, 2.2) * static_cast<double>(size) - step * static_cast<double>(count) / 2, step},
              std::exp(stream.uniform(-1.5, 1.5))};
    };
    GaussianAxis rows = axis(90, 4);
    GaussianAxis columns = axis(110, 5);
    const GaussianOptions options{static_cast<Padding>(n % 3), n % 4 == 3};
    const auto [top, bottom] = kernel::gaussian_reach<double>(rows, 4, 90, options);
    const auto [left, right] = kernel::gaussian_reach<double>(columns, 5, 110, options);
    parts += bottom - top < 90 || right - left < 110 ? 1 : 0;
    Picture<double> whole(Extents<3>{4, 5, 2});
    Picture<double> part = whole;
    kernel::gaussian_filter(picture.view(), rows, columns, options, whole.view());
    // A copy, so that a sanitizer sees reads beyond it.
    Picture<double> copy(Extents<3>{bottom - top, right - left, 2});
    for (Index i = 0; i < bottom - top; ++i) {
      for (Index j = 0; j < right - left; ++j) {
        for (Index c = 0; c < 2; ++c) copy.view()(i, j, c) = picture.view()(top + i, left + j, c);
      }
    }
    rows.centres.origin -= static_cast<double>(top);
    columns.centres.origin -= static_cast<double>(left);
    kernel::gaussian_filter(View<const double, 3>(copy.view()), rows, columns, options, part.view());
    for (std::size_t i = 0; i < whole.pixels.size(); ++i) CHECK(std::abs(whole.pixels[i] - part.pixels[i]) <= 1e-12);
  }
  CHECK(parts >= 100);
}

TEST_SUITE_END();

}  // namespace
