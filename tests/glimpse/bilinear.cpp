// SPDX-License-Identifier: MIT
#include "glimpse/grid_sample_golden.hpp"
#include "support/pictures.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/image/view.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace fovea;
using fovea_test::noise;
using fovea_test::Picture;
using glimpse::Bilinear;
using glimpse::Region;

template <class T, std::size_t n>
std::array<T, n> uniform(std::uint32_t r, double shift) {
  std::array<T, n> values{};
  for (T& value : values) {
    r = r * 1664525U + 1013904223U;
    value = static_cast<T>(static_cast<double>(r >> 8U) / 16777216.0 + shift);
  }
  return values;
}

/// Agreement with torch. In float torch's own coordinates are rounded; ours are not, so the same values serve.
template <class T>
void compare_with_torch(double tolerance) {
  auto image = uniform<T, 70>(1, 0);
  auto g = uniform<T, 24>(2, -0.5);
  const View<const T, 3> view(image.data(), {5, 7, 2});
  const View<const T, 3> d_out(g.data(), {3, 4, 2});
  const auto differ = [&](double a, double b) { return std::abs(a - b) > tolerance * std::max(1.0, std::abs(b)); };
  for (const auto& golden : fovea_test::grid_sample_golden) {
    INFO(std::string(golden.lattice), ", align_corners ", golden.align_corners, ", padding ", static_cast<int>(golden.padding));
    const Bilinear sampler{glimpse::Aspect::stretch, golden.padding, golden.align_corners};
    const bool separable = golden.lattice == "region";
    const std::array<T, 6> theta = separable ? std::array<T, 6>{T(1.9), 0, T(0.85), 0, T(1.9), T(-0.7)}
                                             : std::array<T, 6>{T(1.3), T(0.45), T(0.33), T(-0.35), T(1.6), T(-0.2)};
    const Region<T> region{T(1.9), T(0.85), T(-0.7)};
    std::array<T, 24> out{};
    std::array<T, 70> d_image{};
    const auto check = [&](bool by_region) {
      int wrong = 0;
      for (std::size_t i = 0; i < out.size(); ++i) wrong += differ(out[i], golden.output[i]) ? 1 : 0;
      for (std::size_t i = 0; i < d_image.size(); ++i) wrong += differ(d_image[i], golden.d_image[i]) ? 1 : 0;
      CHECK_MESSAGE(wrong == 0, (by_region ? "by region" : "by matrix"));
    };
    sampler.sample(PyramidView<T>(view), theta, {out.data(), {3, 4, 2}});
    sampler.sample_backward_image(d_out, theta, View<T, 3>(d_image.data(), {5, 7, 2}));
    check(false);
    const std::array<T, 6> d_theta = sampler.sample_backward(d_out, PyramidView<T>(view), theta);
    for (std::size_t i = 0; i < 6; ++i) CHECK_FALSE(differ(d_theta[i], golden.d_theta[i]));
    if (!separable) continue;
    d_image.fill(0);
    sampler.sample(PyramidView<T>(view), region, {out.data(), {3, 4, 2}});
    sampler.sample_backward_image(d_out, region, View<T, 3>(d_image.data(), {5, 7, 2}));
    check(true);
    const Region<T> d_region = sampler.sample_backward(d_out, PyramidView<T>(view), region);
    CHECK_FALSE(differ(d_region.s, golden.d_theta[0] + golden.d_theta[4]));
    CHECK_FALSE(differ(d_region.x, golden.d_theta[2]));
    CHECK_FALSE(differ(d_region.y, golden.d_theta[5]));
  }
}

TEST_SUITE_BEGIN("glimpse");

TEST_CASE("bilinear agrees with torch's grid_sample: double") { compare_with_torch<double>(1e-9); }
TEST_CASE("bilinear agrees with torch's grid_sample: float") { compare_with_torch<float>(2e-6); }

TEST_CASE("bilinear: the whole image at its own size is the image") {
  Stream stream(1, 0, 0, Purpose::test);
  const Picture<std::uint8_t> image = noise<std::uint8_t>(stream, {5, 8, 3});
  for (const bool align : {false, true}) {
    Picture<float> out(Extents<3>{5, 8, 3});
    Bilinear{glimpse::Aspect::stretch, kernel::Padding::zeros, align}.sample(PyramidView(image.view()), Region<float>{},
                                                                             out.view());
    for (Index i = 0; i < 120; ++i) {
      const auto k = static_cast<std::size_t>(i);
      CHECK(out.pixels[k] == doctest::Approx(image.pixels[k] / 255.0));
    }
  }
}

TEST_CASE("bilinear: errors name what was expected and what came") {
  Stream stream(2, 0, 0, Purpose::test);
  const Picture<std::uint8_t> grey = noise<std::uint8_t>(stream, {5, 8, 1});
  const PyramidView image(grey.view());
  Picture<float> out(Extents<3>{4, 4, 3});
  CHECK_THROWS_WITH_AS(Bilinear{}.sample(image, Region<float>{}, out.view()), "glimpse: 3 channels expected, the image has 1",
                       Error);
  Picture<float> fine(Extents<3>{4, 4, 1});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const Region<float> region : {Region<float>{0, 0, 0}, Region<float>{-1, 0, 0}, Region<float>{nan, 0, 0},
                                     Region<float>{1, inf, 0}, Region<float>{1, 0, -inf}, Region<float>{inf, 0, 0}}) {
    CHECK_THROWS_AS(Bilinear{}.sample(image, region, fine.view()), Error);
    CHECK_THROWS_AS((void)Bilinear{}.sample_backward(fine.view(), image, region), Error);
  }
  CHECK_THROWS_AS(Bilinear{}.sample(image, std::array<float, 6>{1, 0, nan, 0, 1, 0}, fine.view()), Error);
  // The op names the sample.
  Arena arena;
  Tape<float> tape(arena);
  const std::array<PyramidView<std::uint8_t>, 2> images{image, image};
  const auto regions = tape.variable({2, 3});
  const float values[6] = {1, 0, 0, -0.5F, 0, 0};
  std::copy_n(values, 6, regions.value);
  std::string message;
  try {
    (void)Bilinear{}(tape, std::span<const PyramidView<std::uint8_t>>(images), regions, {4, 4});
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(message.find("sample 1") != std::string::npos);
  CHECK_THROWS_AS((void)Bilinear{}(tape, std::span<const PyramidView<std::uint8_t>>(images), tape.variable({1, 3}), {4, 4}),
                  Error);
  CHECK_THROWS_AS((void)Bilinear{}(tape, std::span<const PyramidView<std::uint8_t>>(), tape.variable({1, 3}), {4, 4}), Error);
}

TEST_SUITE_END();

}  // namespace
