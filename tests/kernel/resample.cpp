// SPDX-License-Identifier: MIT
// Bilinear reads against a naive twin: one pixel at a time, in double, padding by the definition.
#include "support/pictures.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/resample.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace {

using namespace fovea;
using fovea_test::noise;
using fovea_test::Picture;
using kernel::Padding;
using kernel::ResampleOptions;
using kernel::SampleAffine;
using kernel::SampleAxis;

/// A coordinate mirrored or moved into the image, as torch's grid_sample does, and d that / d coordinate.
std::pair<double, double> pad(double at, Index extent, ResampleOptions options) {
  const double last = static_cast<double>(extent - 1);
  double slope = 1;
  if (options.padding == Padding::zeros) return {at, 1};
  if (options.padding == Padding::reflection) {
    const double low = options.align_corners ? 0 : -0.5;
    const double high = options.align_corners ? last : last + 0.5;
    if (high <= low) return {0, 0};
    while (at < low || at > high) {
      at = at < low ? 2 * low - at : 2 * high - at;
      slope = -slope;
    }
  }
  if (at <= 0) return {0, 0};
  if (at >= last) return {last, 0};
  return {at, slope};
}

struct Read {
  double value, d_x, d_y;
};

template <class P>
Read read(const View<const P, 3>& image, double x, double y, Index c, ResampleOptions options) {
  const auto [px, sx] = pad(x, image.extent(1), options);
  const auto [py, sy] = pad(y, image.extent(0), options);
  const double x0 = std::floor(px);
  const double y0 = std::floor(py);
  const double fx = px - x0;
  const double fy = py - y0;
  const auto pixel = [&](double row, double column) {
    if (row < 0 || column < 0 || row > static_cast<double>(image.extent(0) - 1) ||
        column > static_cast<double>(image.extent(1) - 1)) {
      return 0.0;
    }
    return kernel::kPixelScale<P> * static_cast<double>(image(static_cast<Index>(row), static_cast<Index>(column), c));
  };
  const double p00 = pixel(y0, x0);
  const double p01 = pixel(y0, x0 + 1);
  const double p10 = pixel(y0 + 1, x0);
  const double p11 = pixel(y0 + 1, x0 + 1);
  return {(1 - fy) * ((1 - fx) * p00 + fx * p01) + fy * ((1 - fx) * p10 + fx * p11),
          sx * ((1 - fy) * (p01 - p00) + fy * (p11 - p10)), sy * ((1 - fx) * (p10 - p00) + fx * (p11 - p01))};
}

/// An axis whose samples start up to half the image outside it and span up to twice of it, or anything.
SampleAxis random_axis(Stream& stream, Index extent, Index count) {
  const auto n = static_cast<double>(extent);
  switch (stream.below(4)) {
    case 0: {  // inside
      const double a = stream.uniform(0.0, n - 1);
      const double b = stream.uniform(0.0, n - 1);
      return {a, count > 1 ? (b - a) / static_cast<double>(count) : 0.0};
    }
    case 1: return {stream.uniform(-n, 2 * n), stream.uniform(-0.01, 0.01)};
    case 2: return {stream.uniform(-3 * n, 3 * n), stream.uniform(-2.0, 2.0) * n};
    default: return {stream.uniform(-n / 2, n / 2), stream.uniform(0.0, 2.0) * n / static_cast<double>(count)};
  }
}

constexpr Padding paddings[] = {Padding::zeros, Padding::border, Padding::reflection};

template <class P, class T>
void compare(double tolerance) {
  Stream stream(7, sizeof(P), sizeof(T), Purpose::test);
  for (int repetition = 0; repetition < 250; ++repetition) {
    const Index channel_choices[] = {1, 1, 1, 2, 3, 3, 4, 5, 8, 16, 32, 300};
    const Index channels = channel_choices[stream.below(12)];
    const Index most = channels > 5 ? 6 : 40;
    const auto extent = [&](Index high) { return 1 + static_cast<Index>(stream.below(static_cast<std::uint32_t>(high))); };
    const Extents<3> in{extent(most), extent(most), channels};
    const Extents<3> size{extent(12), extent(channels > 5 ? 5 : 90), channels};
    const Picture<P> image = noise<P>(stream, in, static_cast<Index>(stream.below(2)) * 3);
    const ResampleOptions options{paddings[stream.below(3)], stream.below(2) == 0};
    const SampleAxis rows = random_axis(stream, in[0], size[0]);
    const SampleAxis columns = random_axis(stream, in[1], size[1]);
    const bool accumulate = stream.below(2) == 0;
    const double scale = stream.uniform(0.5, 2.0);
    Picture<T> out = noise<T>(stream, size, static_cast<Index>(stream.below(3)));
    if (stream.below(4) == 0) {  // planes
      out.strides = {size[1], 1, size[0] * size[1]};
      out.pixels.resize(static_cast<std::size_t>(product(size)));
    }
    const Picture<T> before = out;
    const Picture<T> d_out = noise<T>(stream, size, static_cast<Index>(stream.below(2)));

    kernel::resample(image.view(), rows, columns, options, out.view(), scale, accumulate);
    const kernel::ResampleGradient gradient =
        kernel::resample_backward(std::as_const(d_out).view(), image.view(), rows, columns, options);

    // The same with its slopes: the very same values, and a gradient that reads no pixel.
    const bool dense = out.strides[2] == 1 || channels == 1;
    const Picture<T> start = noise<T>(stream, size);
    Picture<T> again = before;
    Picture<T> d_rows = start;
    Picture<T> d_columns = start;
    Picture<T> mix = start;
    const double row_scale = stream.uniform(-2.0, 2.0);
    const double column_scale = stream.uniform(-2.0, 2.0);
    const double mix_scale = stream.uniform(-2.0, 2.0);
    kernel::ResampleGradient from_slopes;
    const bool with_mix = stream.below(2) == 0;
    if (dense) {
      const auto mixed = with_mix ? mix.view() : View<T, 3>();
      kernel::resample_with_slopes(image.view(), rows, columns, options, again.view(), {d_rows.view(), d_columns.view(), mixed},
                                   {scale, row_scale, column_scale, mix_scale}, accumulate);
      from_slopes = kernel::resample_backward(std::as_const(d_out).view(), {d_rows.view(), d_columns.view(), mixed});
    }

    double worst = 0;
    double worst_slope = 0;
    bool same = true;
    kernel::ResampleGradient expected;
    kernel::ResampleGradient from_twin;
    double magnitude = 1;
    for (Index i = 0; i < size[0]; ++i) {
      const double y = rows.origin + static_cast<double>(i) * rows.step;
      for (Index j = 0; j < size[1]; ++j) {
        const double x = columns.origin + static_cast<double>(j) * columns.step;
        for (Index c = 0; c < channels; ++c) {
          const Read r = read<P>(image.view(), x, y, c, options);
          const double value = scale * r.value + (accumulate ? static_cast<double>(before.view()(i, j, c)) : 0.0);
          worst = std::max(worst, std::abs(value - static_cast<double>(out.view()(i, j, c))));
          const double g = static_cast<double>(d_out.view()(i, j, c));
          if (dense) {
            same = same && again.view()(i, j, c) == out.view()(i, j, c);
            const double was = accumulate ? static_cast<double>(start.view()(i, j, c)) : 0.0;
            const double d_row = row_scale * r.d_y + was;
            const double d_column = column_scale * r.d_x + was;
            const double mixed = with_mix ? mix_scale * r.value + was : 0.0;
            worst_slope = std::max({worst_slope, std::abs(d_row - static_cast<double>(d_rows.view()(i, j, c))),
                                    std::abs(d_column - static_cast<double>(d_columns.view()(i, j, c))),
                                    with_mix ? std::abs(mixed - static_cast<double>(mix.view()(i, j, c))) : 0.0});
            from_twin.rows.origin += g * d_row;
            from_twin.rows.step += g * d_row * static_cast<double>(i);
            from_twin.columns.origin += g * d_column;
            from_twin.columns.step += g * d_column * static_cast<double>(j);
            from_twin.dot += g * mixed;
          }
          expected.rows.origin += g * r.d_y;
          expected.rows.step += g * r.d_y * static_cast<double>(i);
          expected.columns.origin += g * r.d_x;
          expected.columns.step += g * r.d_x * static_cast<double>(j);
          expected.dot += g * r.value;
          magnitude += std::abs(g);
        }
      }
    }
    INFO("repetition ", repetition, ", ", in[0], "x", in[1], "x", channels, " to ", size[0], "x", size[1]);
    CHECK(worst <= tolerance);
    const double longest = static_cast<double>(std::max(size[0], size[1]));
    CHECK(same);
    CHECK(worst_slope <= 4 * tolerance);
    const auto agree = [&](const kernel::ResampleGradient& a, const kernel::ResampleGradient& b, double by) {
      CHECK(std::abs(a.rows.origin - b.rows.origin) <= by * magnitude);
      CHECK(std::abs(a.columns.origin - b.columns.origin) <= by * magnitude);
      CHECK(std::abs(a.rows.step - b.rows.step) <= by * magnitude * longest);
      CHECK(std::abs(a.columns.step - b.columns.step) <= by * magnitude * longest);
      CHECK(std::abs(a.dot - b.dot) <= by * magnitude);
    };
    agree(gradient, expected, tolerance);
    agree(from_slopes, from_twin, 4 * tolerance);
  }
}

TEST_SUITE_BEGIN("kernel");

TEST_CASE("resample agrees with a naive read: bytes") { compare<std::uint8_t, float>(2e-6); }
TEST_CASE("resample agrees with a naive read: 16-bit") { compare<std::uint16_t, float>(2e-6); }
TEST_CASE("resample agrees with a naive read: float") { compare<float, float>(2e-6); }
TEST_CASE("resample agrees with a naive read: double from bytes") { compare<std::uint8_t, double>(1e-13); }
TEST_CASE("resample agrees with a naive read: double") { compare<double, double>(1e-13); }
TEST_CASE("resample agrees with a naive read: float from double") { compare<double, float>(2e-6); }

TEST_CASE("resample reads images of planes and with gaps between pixels") {
  Stream stream(8, 0, 0, Purpose::test);
  const Picture<std::uint8_t> planes = noise<std::uint8_t>(stream, {3, 10, 12});
  const View<const std::uint8_t, 3> image(planes.pixels.data(), {10, 12, 3}, {12, 1, 120});
  Picture<std::uint8_t> dense(Extents<3>{10, 12, 3});
  for (Index y = 0; y < 10; ++y) {
    for (Index x = 0; x < 12; ++x) {
      for (Index c = 0; c < 3; ++c) dense.view()(y, x, c) = image(y, x, c);
    }
  }
  Picture<float> a(Extents<3>{7, 9, 3});
  Picture<float> b(Extents<3>{7, 9, 3});
  kernel::resample(image, {-1, 1.7}, {0.3, 1.1}, {}, a.view());
  kernel::resample(dense.view(), {-1, 1.7}, {0.3, 1.1}, {}, b.view());
  for (std::size_t i = 0; i < a.pixels.size(); ++i) CHECK(std::abs(a.pixels[i] - b.pixels[i]) <= 1e-6F);
  // Upside down, by a negative stride.
  const View<const std::uint8_t, 3> flipped(&dense.pixels[9 * 36], {10, 12, 3}, {-36, 3, 1});
  kernel::resample(flipped, {9, -1}, {0, 1}, {}, a.view());
  for (Index i = 0; i < 7; ++i) CHECK(a.view()(i, 4, 2) * 255 == doctest::Approx(dense.view()(i, 4, 2)));
}

#if defined(__linux__)
TEST_CASE("resample reads nothing behind the image") {
  // The image ends where an unreadable page begins: gathers are not seen by a sanitizer.
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  REQUIRE(mprotect(static_cast<char*>(memory) + page, page, PROT_NONE) == 0);
  const auto try_pixel = [&]<class P>(P) {
    for (Index channels = 1; channels <= 5; ++channels) {
      for (Index width = 1; width <= 9; ++width) {
        const Extents<3> extents{3, width, channels};
        P* end = reinterpret_cast<P*>(static_cast<char*>(memory) + page);
        const View<const P, 3> image(end - product(extents), extents);
        for (const Padding padding : paddings) {
          Picture<float> out(Extents<3>{6, 40, channels});
          kernel::resample(image, {-1, 0.8}, {-2, 0.35}, {padding, false}, out.view());
          CHECK(kernel::resample_backward(out.view(), image, {-1, 0.8}, {-2, 0.35}, {padding, false}).dot >= 0);
          Picture<float> d_rows(out.extents);
          Picture<float> d_columns(out.extents);
          kernel::resample_with_slopes(image, {-1, 0.8}, {-2, 0.35}, {padding, false}, out.view(),
                                       {d_rows.view(), d_columns.view(), {}});
          for (const float slope : d_rows.pixels) CHECK(slope == 0.0F);
        }
      }
    }
  };
  std::fill_n(static_cast<char*>(memory), page, '\0');
  try_pixel(std::uint8_t{});
  try_pixel(std::uint16_t{});
  try_pixel(float{});
  munmap(memory, 2 * page);
}
#endif

TEST_CASE("resample is safe at any coordinate") {
  Stream stream(9, 0, 0, Purpose::test);
  const Picture<std::uint8_t> image = noise<std::uint8_t>(stream, {5, 6, 1});
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const Padding padding : paddings) {
    for (const bool align : {false, true}) {
      for (const double origin : {0.0, -1e300, 1e300, 1e19, -3e9, inf, -inf, nan}) {
        for (const double step : {0.0, 1e300, -1e10, inf, nan}) {
          Picture<float> out(Extents<3>{3, 20, 1});
          kernel::resample(image.view(), {origin, step}, {1, 1}, {padding, align}, out.view());
          kernel::resample(image.view(), {1, 1}, {origin, step}, {padding, align}, out.view());
          for (const float value : out.pixels) CHECK((value >= 0.0F && value <= 1.0F));
          (void)kernel::resample_backward(out.view(), image.view(), {origin, step}, {origin, step}, {padding, align});
          kernel::resample_affine(image.view(), {step, 1, origin, origin, step, 2}, {padding, align}, out.view());
          for (const float value : out.pixels) CHECK((value >= 0.0F && value <= 1.0F));
        }
      }
    }
  }
}

TEST_CASE("resample_affine agrees with a naive read and with resample") {
  Stream stream(10, 0, 0, Purpose::test);
  for (int repetition = 0; repetition < 100; ++repetition) {
    const Index channels = 1 + static_cast<Index>(stream.below(4));
    const Extents<3> in{1 + static_cast<Index>(stream.below(9)), 1 + static_cast<Index>(stream.below(9)), channels};
    const Extents<3> size{4, 5, channels};
    const Picture<std::uint8_t> image = noise<std::uint8_t>(stream, in);
    const Picture<double> d_out = noise<double>(stream, size);
    const ResampleOptions options{paddings[stream.below(3)], stream.below(2) == 0};
    SampleAffine m{};
    for (double& v : m) v = stream.uniform(-3.0, 3.0);
    if (repetition % 2 == 0) m[1] = m[3] = 0;
    Picture<double> out(size);
    kernel::resample_affine(image.view(), m, options, out.view());
    SampleAffine expected{};
    for (Index i = 0; i < size[0]; ++i) {
      for (Index j = 0; j < size[1]; ++j) {
        const auto di = static_cast<double>(i);
        const auto dj = static_cast<double>(j);
        for (Index c = 0; c < channels; ++c) {
          const Read r =
              read<std::uint8_t>(image.view(), m[0] * dj + m[1] * di + m[2], m[3] * dj + m[4] * di + m[5], c, options);
          CHECK(std::abs(out.view()(i, j, c) - r.value) <= 1e-13);
          const double g = d_out.view()(i, j, c);
          const double terms[6] = {g * r.d_x * dj, g * r.d_x * di, g * r.d_x, g * r.d_y * dj, g * r.d_y * di, g * r.d_y};
          for (std::size_t k = 0; k < 6; ++k) expected[k] += terms[k];
        }
      }
    }
    const SampleAffine gradient = kernel::resample_affine_backward(d_out.view(), image.view(), m, options);
    for (std::size_t k = 0; k < 6; ++k) CHECK(std::abs(gradient[k] - expected[k]) <= 1e-12);
    if (repetition % 2 == 0) {
      Picture<double> separable(size);
      kernel::resample(image.view(), {m[5], m[4]}, {m[2], m[0]}, options, separable.view());
      for (std::size_t k = 0; k < out.pixels.size(); ++k) CHECK(std::abs(out.pixels[k] - separable.pixels[k]) <= 1e-14);
    }
  }
}

TEST_CASE("the gradients in the source are the transposes of the reads") {
  Stream stream(11, 0, 0, Purpose::test);
  const auto dot = [](const Picture<double>& a, const Picture<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.pixels.size(); ++i) sum += a.pixels[i] * b.pixels[i];
    return sum;
  };
  for (int repetition = 0; repetition < 60; ++repetition) {
    const Index channels = 1 + static_cast<Index>(stream.below(4));
    const Extents<3> in{1 + static_cast<Index>(stream.below(9)), 1 + static_cast<Index>(stream.below(9)), channels};
    const Extents<3> size{4, 5, channels};
    const ResampleOptions options{paddings[stream.below(3)], stream.below(2) == 0};
    const Picture<double> image = noise<double>(stream, in);
    const Picture<double> d_out = noise<double>(stream, size);
    const SampleAxis rows = random_axis(stream, in[0], size[0]);
    const SampleAxis columns = random_axis(stream, in[1], size[1]);
    Picture<double> out(size);
    Picture<double> d_image(in);
    kernel::resample(image.view(), rows, columns, options, out.view(), 0.7);
    kernel::resample_backward_source(d_out.view(), rows, columns, options, d_image.view(), 0.7);
    CHECK(dot(out, d_out) == doctest::Approx(dot(image, d_image)).epsilon(1e-12));
    SampleAffine m{};
    for (double& v : m) v = stream.uniform(-3.0, 3.0);
    d_image = Picture<double>(in);
    kernel::resample_affine(image.view(), m, options, out.view());
    kernel::resample_affine_backward_source(d_out.view(), m, options, d_image.view());
    CHECK(dot(out, d_out) == doctest::Approx(dot(image, d_image)).epsilon(1e-12));
  }
}

TEST_SUITE_END();

}  // namespace
