// SPDX-License-Identifier: MIT
// Derivatives by differences of crops against the exact ones of smooth samplers, and what they are worth over a Patch.
#include "support/file_in_memory.hpp"
#include "support/message_of.hpp"
#include "support/pictures.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/glimpse/finite_difference.hpp>
#include <fovea/glimpse/patch.hpp>
#include <fovea/glimpse/retina.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/kernel/difference.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace fovea;
using fovea_test::FileInMemory;
using fovea_test::message_of;
using fovea_test::noise;
using fovea_test::Picture;
using fovea_test::Pictures;
using glimpse::Antialiased;
using glimpse::Bilinear;
using glimpse::Difference;
using glimpse::FiniteDifference;
using glimpse::Patch;
using glimpse::Region;
using Place = std::array<double, 3>;

struct Looked {
  std::vector<double> glimpse;
  Place gradient{};
};
/// The op on a tape: the glimpse, and d (sum of d_out * glimpse) / d (s, x, y).
template <class T = double, class Sampler, class Source>
Looked look(const Sampler& sampler, const Source& image, const Place& place, Extents<2> window,
            const std::vector<double>& d_out) {
  Arena arena;
  Tape<T> tape(arena);
  const auto at = tape.variable(Shape{1, 3});
  for (std::size_t k = 0; k < 3; ++k) at.value[k] = static_cast<T>(place[k]);
  const auto out = sampler(tape, std::span<const Source>(&image, 1), at, window);
  Looked looked;
  for (Index i = 0; i < out.size(); ++i) looked.glimpse.push_back(static_cast<double>(out.value[i]));
  if (out.gradient == nullptr) return looked;
  for (Index i = 0; i < out.size(); ++i) out.gradient[i] = static_cast<T>(d_out[static_cast<std::size_t>(i)]);
  tape.backward();
  for (std::size_t k = 0; k < 3; ++k) looked.gradient[k] = static_cast<double>(at.gradient[k]);
  return looked;
}

/// Weights of the pixels of a glimpse that vary slowly, as those of a network's first layer on a smooth picture would.
std::vector<double> weights(Extents<2> window, Index channels, double phase = 0) {
  std::vector<double> w;
  for (Index i = 0; i < window[0]; ++i) {
    for (Index j = 0; j < window[1]; ++j) {
      for (Index c = 0; c < channels; ++c) {
        w.push_back(std::sin(0.4 * static_cast<double>(i) - 0.3 * static_cast<double>(j) + phase + static_cast<double>(c)));
      }
    }
  }
  return w;
}

TEST_SUITE_BEGIN("glimpse");

TEST_CASE("finite difference: the kernels, on planes where they are exact, and against a naive Sobel filter") {
  // 3 x + 5 y + channel: derivatives 3 and 5 everywhere.
  for (const Index channels : {1, 3, 7}) {
    Tensor<float, 3> plane({6, 9, channels});
    for (Index i = 0; i < 6; ++i) {
      for (Index j = 0; j < 9; ++j) {
        for (Index c = 0; c < channels; ++c) plane(i, j, c) = static_cast<float>(3 * j + 5 * i + c);
      }
    }
    Tensor<float, 3> columns({4, 7, channels});
    Tensor<float, 3> rows({4, 7, channels});
    kernel::sobel(View<const float, 3>(plane.view()), 2.0, 0.5, columns.view(), rows.view());
    CHECK(std::all_of(columns.begin(), columns.end(), [](float v) { return v == 6.0F; }));
    CHECK(std::all_of(rows.begin(), rows.end(), [](float v) { return v == 2.5F; }));
  }
  Stream stream(1, 0, 0, Purpose::test);
  Tensor<double, 3> picture({7, 12, 2});
  for (double& v : picture) v = stream.uniform(0.0, 1.0);
  Tensor<double, 3> columns({5, 10, 2});
  Tensor<double, 3> rows({5, 10, 2});
  kernel::sobel(View<const double, 3>(picture.view()), 1.0, 1.0, columns.view(), rows.view());
  const std::array<double, 3> smooth{0.25, 0.5, 0.25};
  const std::array<double, 3> slope{-0.5, 0, 0.5};
  double worst = 0;
  for (Index i = 0; i < 5; ++i) {
    for (Index j = 0; j < 10; ++j) {
      for (Index c = 0; c < 2; ++c) {
        double x = 0;
        double y = 0;
        for (Index a = 0; a < 3; ++a) {
          for (Index b = 0; b < 3; ++b) {
            const auto [u, v] = std::array{static_cast<std::size_t>(a), static_cast<std::size_t>(b)};
            x += smooth[u] * slope[v] * picture(i + a, j + b, c);
            y += slope[u] * smooth[v] * picture(i + a, j + b, c);
          }
        }
        worst = std::max({worst, std::abs(columns(i, j, c) - x), std::abs(rows(i, j, c) - y)});
      }
    }
  }
  CHECK(worst <= 1e-15);
}

TEST_CASE("finite difference: the glimpse is its base's, and the same every time") {
  const Pictures<std::uint8_t> pictures(1, {120, 150}, 3, 255);
  const auto check = [&](const auto& base) {
    for (const Difference way : {Difference::central, Difference::sobel}) {
      const FiniteDifference<std::remove_cvref_t<decltype(base)>> sampler{base, way};
      for (const Place& place : {Place{0.2, 0.1, -0.3}, Place{0.9, 0.8, 0.9}, Place{0.05, 5, 0}}) {
        const auto d_out = weights({8, 11}, 3);
        const Looked plain = look<float>(base, pictures.pyramids[0], place, {8, 11}, d_out);
        const Looked a = look<float>(sampler, pictures.pyramids[0], place, {8, 11}, d_out);
        const Looked b = look<float>(sampler, pictures.pyramids[0], place, {8, 11}, d_out);
        CHECK(a.glimpse == plain.glimpse);
        CHECK(a.glimpse == b.glimpse);
        CHECK(a.gradient == b.gradient);
        CHECK(std::all_of(a.gradient.begin(), a.gradient.end(), [](double g) { return std::isfinite(g); }));
      }
    }
  };
  check(Patch{});
  check(Bilinear{});
  check(Antialiased{});
}

/// A source of one wave whose pixels are fine against a sample's pitch, so that bilinear interpolation hardly shows.
Picture<double> fine_wave(Extents<2> extent, double across, double down) {
  Picture<double> picture({extent[0], extent[1], 1});
  for (Index y = 0; y < extent[0]; ++y) {
    for (Index x = 0; x < extent[1]; ++x) {
      picture.view()(y, x, 0) = 0.5 + 0.4 * std::sin(across * static_cast<double>(x) + down * static_cast<double>(y));
    }
  }
  return picture;
}

TEST_CASE("finite difference: the bias falls with the square of the step, in s, x and y") {
  const Picture<double> picture = fine_wave({400, 400}, 0.021, 0.017);
  const Pyramid<double> pyramid(picture.view());
  const Extents<2> window{12, 12};
  const auto d_out = weights(window, 1);
  // Samples 8 pixels of the image apart: a wave of 0.168 and 0.136 radians a sample.
  const Place place{12 * 8 / 400.0, 0.03, -0.07};
  const auto bias = [&](Difference way, double step) {
    const Place exact = look(Bilinear{}, pyramid, place, window, d_out).gradient;
    const Place got = look(FiniteDifference<Bilinear>{{}, way, step}, pyramid, place, window, d_out).gradient;
    Place relative{};
    for (std::size_t k = 0; k < 3; ++k) relative[k] = std::abs(got[k] - exact[k]) / std::abs(exact[k]);
    return relative;
  };
  const Place whole = bias(Difference::central, 2);
  const Place half = bias(Difference::central, 1);
  const Place quarter = bias(Difference::central, 0.5);
  // (h k)^2 / 6 of a wave of k radians a sample; in s the outermost samples move by h.
  CHECK(whole[1] <= 1.1 * 4 * 0.168 * 0.168 / 6);
  CHECK(whole[2] <= 1.1 * 4 * 0.136 * 0.136 / 6);
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(whole[k] / half[k] >= 3.5);
    CHECK(whole[k] / half[k] <= 4.5);
    CHECK(half[k] / quarter[k] >= 3.5);
    CHECK(half[k] / quarter[k] <= 4.5);
  }
  // Sobel: a central difference of one sample along, (1, 2, 1) / 4 across; of a wave that is a factor each.
  const Place sobel = bias(Difference::sobel, 1);
  const double kx = 0.168;
  const double ky = 0.136;
  CHECK(sobel[1] == doctest::Approx(1 - std::sin(kx) / kx * (1 + std::cos(ky)) / 2).epsilon(0.1));
  CHECK(sobel[2] == doctest::Approx(1 - std::sin(ky) / ky * (1 + std::cos(kx)) / 2).epsilon(0.1));
  CHECK(sobel[0] <= 0.012);
}

TEST_CASE("finite difference: central differences become the exact derivative, the blur that grows with s included") {
  const Pictures<double> pictures(1, {200, 240}, 2, 1.0);
  const Extents<2> window{10, 13};
  const auto d_out = weights(window, 2);
  const auto check = [&](const auto& base) {
    using Base = std::remove_cvref_t<decltype(base)>;
    for (const Place& place : {Place{0.16, 0.1, -0.2}, Place{0.3137, -0.4123, 0.6071}, Place{0.0213, 0.8917, 0.9031}}) {
      const Place exact = look(base, pictures.pyramids[0], place, window, d_out).gradient;
      const FiniteDifference<Base> sampler{base, Difference::central, 1e-4};
      const Place got = look(sampler, pictures.pyramids[0], place, window, d_out).gradient;
      for (std::size_t k = 0; k < 3; ++k) {
        INFO(place[0], ", ", k, ": exact ", exact[k], ", central ", got[k]);
        CHECK(std::abs(got[k] - exact[k]) <= 1e-7 * std::abs(exact[k]));
      }
    }
  };
  check(Antialiased{});
  check(Bilinear{});
}

TEST_CASE("finite difference: a file gives what its pyramid gives, a sequential one decoded once") {
  Stream stream(5, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {120, 150, 1});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  for (const Difference way : {Difference::central, Difference::sobel}) {
    const auto check = [&](const auto& sampler, double tolerance) {
      Tensor<std::uint8_t, 3> pixels(picture.extents);
      std::copy(picture.pixels.begin(), picture.pixels.end(), pixels.begin());
      auto log = std::make_shared<FileInMemory::Log>();
      ImageInfo info;
      info.channels = 1;
      info.levels = {{{120, 150}, {16, 16}, {1, 1}}};
      info.sequential = true;
      std::vector<Tensor<std::uint8_t, 3>> levels;
      levels.push_back(std::move(pixels));
      const ImageFile file(std::make_unique<FileInMemory>(std::move(levels), info, log), {.overview_pixels = 400});
      const std::size_t before = log->calls.size() + log->scans.size();
      const auto d_out = weights({12, 12}, 1);
      const Place place{0.07, 0.3, -0.1};
      const Looked a = look(sampler, file, place, {12, 12}, d_out);
      CHECK(log->calls.size() + log->scans.size() - before <= 1);
      const Looked b = look(sampler, pyramid, place, {12, 12}, d_out);
      double worst = a.glimpse.size() == b.glimpse.size() ? 0 : HUGE_VAL;
      for (std::size_t i = 0; i < b.glimpse.size(); ++i) worst = std::max(worst, std::abs(a.glimpse[i] - b.glimpse[i]));
      CHECK(worst <= tolerance);
      for (std::size_t k = 0; k < 3; ++k) {
        CHECK(std::abs(a.gradient[k] - b.gradient[k]) <= 100 * tolerance * std::abs(b.gradient[k]));
      }
    };
    check(FiniteDifference<Patch>{{0}, way}, 0);
    // Positions are counted from the first pixel read, and rounded there.
    check(FiniteDifference<Bilinear>{{}, way}, 1e-12);
  }
}

TEST_CASE("finite difference: a retina of patches with a gradient") {
  const Pictures<std::uint8_t> pictures(1, {150, 190}, 1, 255);
  const glimpse::Retina<FiniteDifference<Patch>, 2> retina{};
  const Looked looked = look(retina, pictures.pyramids[0], {0.1, 0.2, -0.1}, {8, 8}, weights({8, 8}, 2));
  CHECK(looked.glimpse.size() == 8 * 8 * 2);
  for (const double g : looked.gradient) CHECK(g != 0);
}

TEST_CASE("finite difference: over a patch it points where the smooth derivative does") {
  // 40 places: the cosine of the gradients in (x, y), and in (s, x, y) by Sobel, which sees what a zoom would do.
  const Pictures<std::uint8_t> pictures(1, {150, 190}, 1, 255);
  const Extents<2> window{16, 16};
  Stream stream(3, 0, 0, Purpose::test);
  for (const Difference way : {Difference::sobel, Difference::central}) {
    double least = 1;
    double least_s = 1;
    double mean = 0;
    for (int n = 0; n < 40; ++n) {
      // A patch of the finest level is a crop of 16 pixels; the smooth glimpse of the same pixels.
      const Place place{16 / 190.0, stream.uniform(-0.7, 0.7), stream.uniform(-0.7, 0.7)};
      const auto d_out = weights(window, 1, stream.uniform(0.0, 6.0));
      const Place smooth = look(Antialiased{}, pictures.pyramids[0], place, window, d_out).gradient;
      const Place got = look(FiniteDifference<Patch>{{0}, way}, pictures.pyramids[0], place, window, d_out).gradient;
      const auto cosine = [&](std::size_t first) {
        double dot = 0;
        double a = 0;
        double b = 0;
        for (std::size_t k = first; k < 3; ++k) {
          dot += smooth[k] * got[k];
          a += smooth[k] * smooth[k];
          b += got[k] * got[k];
        }
        return dot / std::sqrt(a * b);
      };
      least = std::min(least, cosine(1));
      mean += cosine(1) / 40;
      if (way == Difference::sobel) least_s = std::min(least_s, cosine(0));
      if (way == Difference::central) CHECK(got[0] == 0);
    }
    CHECK(mean > 0.9);
    CHECK(least > 0.8);
    CHECK(least_s > 0.9);
  }
}

TEST_CASE("finite difference: errors") {
  const Pictures<std::uint8_t> pictures(1, {20, 30}, 1, 255);
  const auto says = [&](double step, const Place& place, const char* what) {
    const FiniteDifference<Patch> sampler{{}, Difference::central, step};
    const std::string message = message_of([&] {
      (void)look(sampler, pictures.pyramids[0], place, {4, 4}, weights({4, 4}, 1));
    });
    INFO(message);
    CHECK(message.find(what) != std::string::npos);
  };
  says(0, {0.5, 0, 0}, "finite difference: a step > 0 expected, 0.000000 came");
  says(1, {0, 0, 0}, "s > 0 expected");
}

TEST_SUITE_END();

}  // namespace
