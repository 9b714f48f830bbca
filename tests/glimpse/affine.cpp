// SPDX-License-Identifier: MIT
// Glimpses at a matrix: torch's affine_grid and grid_sample, Bilinear where nothing is turned, derivatives of poses.
#include "support/message_of.hpp"
#include "support/pictures.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/gradient_check.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/affine.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/image/view.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace fovea;
using fovea_test::message_of;
using fovea_test::noise;
using fovea_test::Picture;
using glimpse::Affine;
using glimpse::Aspect;
using glimpse::Bilinear;
using glimpse::Pose;
using glimpse::Region;
using kernel::Padding;

constexpr Padding paddings[] = {Padding::zeros, Padding::border, Padding::reflection};

// What torch 1.13 gives in float64 for grid_sample(x, affine_grid(theta, (1, 1, 2, 3), align_corners), "bilinear", padding,
// align_corners) of a 1 x 1 x 5 x 7 image, and for the gradients of sum(g * output) in the pose, by autograd through
//   theta[:, :2] = diag(1, 7/5) R(angle) [[1, shear], [0, 1]] diag(s sqrt(aspect), s / sqrt(aspect)) diag(1, 2/3),
// theta[:, 2] = (x, y), pose = (0.9, 0.35, -0.25, 0.6, 0.3, 1.4). x: uniform(1), g: uniform(2) - 0.5 of grid_sample_golden.hpp.
struct Golden {
  bool align_corners;
  Padding padding;
  std::array<double, 6> output;
  std::array<double, 6> d_pose;
};
const Golden goldens[] = {
    {false,
     Padding::zeros,
     {0.053173162001, 0.35754308981, 0.12444649496, 0.56052553994, 0.66569047446, 0.38802198917},
     {0.64540819745, 1.654862078, -0.16189738687, -0.06036745429, 0.29028892714, 0.20930340963}},
    {false,
     Padding::border,
     {0.59565235725, 0.35754308981, 0.28098244561, 0.56052553994, 0.66569047446, 0.38802198917},
     {0.17758294778, 1.1806602655, 0.49900140783, -0.15120869505, 0.25705801179, 0.25284364783}},
    {false,
     Padding::reflection,
     {0.59565235725, 0.35754308981, 0.28098244561, 0.56052553994, 0.66569047446, 0.38802198917},
     {0.17758294778, 1.1806602655, 0.49900140783, -0.15120869505, 0.25705801179, 0.25284364783}},
    {true,
     Padding::zeros,
     {0, 0.24589138768, 0, 0.25406092526, 0.46385688269, 0.12491245083},
     {0.61562100282, 0.32860675206, 0.60607694105, -0.79534580564, 0.42992846207, -0.085222529033}},
    {true,
     Padding::border,
     {0.49015407681, 0.24589138768, 0.35801076842, 0.25406092526, 0.46385688269, 0.38858491182},
     {0.20791563373, 0.041766206603, 0.75571521874, -0.38947796912, 0.14933840876, 0.089515301066}},
    {true,
     Padding::reflection,
     {0.75253741353, 0.24589138768, 0.55820140634, 0.25406092526, 0.46385688269, 0.45695807969},
     {-0.3901773572, -0.48192724652, 0.59840011327, -0.60992760818, 0.13877363041, -0.28619524146}},
};

std::vector<double> uniform(std::size_t count, std::uint32_t r, double shift) {
  std::vector<double> values(count);
  for (double& value : values) {
    r = r * 1664525U + 1013904223U;
    value = static_cast<double>(r >> 8U) / 16777216.0 + shift;
  }
  return values;
}

TEST_SUITE_BEGIN("glimpse");

TEST_CASE("affine: a turned, sheared, stretched pose agrees with torch, value and gradient") {
  const std::vector<double> x = uniform(35, 1, 0);
  const std::vector<double> g = uniform(6, 2, -0.5);
  const std::array<PyramidView<double>, 1> images{PyramidView<double>(View<const double, 3>(x.data(), {5, 7, 1}))};
  const double pose[6] = {0.9, 0.35, -0.25, 0.6, 0.3, 1.4};
  for (const Golden& golden : goldens) {
    CAPTURE(golden.align_corners);
    CAPTURE(static_cast<int>(golden.padding));
    Arena arena;
    Tape<double> tape(arena);
    const auto poses = tape.variable({1, 6});
    std::copy_n(pose, 6, poses.value);
    const std::span<const PyramidView<double>> sources(images);
    const auto thetas = glimpse::affine_matrices(tape, sources, poses, {2, 3});
    const auto out = Affine{golden.padding, golden.align_corners}(tape, sources, thetas, {2, 3});
    std::copy(g.begin(), g.end(), out.gradient);
    tape.backward();
    for (std::size_t i = 0; i < 6; ++i) {
      CHECK(std::abs(out.value[i] - golden.output[i]) <= 1e-10);
      CHECK(std::abs(poses.gradient[i] - golden.d_pose[i]) <= 1e-9);
    }
  }
}

TEST_CASE("affine: where nothing is turned it is Bilinear, value and gradient") {
  Stream stream(1, 0, 0, Purpose::test);
  for (int n = 0; n < 60; ++n) {
    const Picture<double> picture = noise<double>(stream, {9, 14, 2});
    const PyramidView<double> image(picture.view());
    const Aspect aspect = n % 2 == 0 ? Aspect::stretch : Aspect::isotropic;
    const Affine affine{paddings[n % 3], n % 4 < 2};
    const Bilinear bilinear{aspect, affine.padding, affine.align_corners};
    const Region<double> region{stream.uniform(0.1, 1.5), stream.uniform(-1.0, 1.0), stream.uniform(-1.0, 1.0)};
    const Pose<double> pose{region.s, region.x, region.y, 0, 0, 1};
    const Extents<2> window{4, 5};
    const std::array<double, 6> theta = glimpse::to_affine(pose, aspect, image.extent(), window);
    const std::array<double, 6> expected = glimpse::to_affine(region, aspect, image.extent(), window);
    for (std::size_t k = 0; k < 6; ++k) CHECK(std::abs(theta[k] - expected[k]) <= 1e-14);
    Picture<double> a(Extents<3>{4, 5, 2});
    Picture<double> b = a;
    affine.sample(image, theta, a.view());
    bilinear.sample(image, region, b.view());
    for (std::size_t i = 0; i < a.pixels.size(); ++i) CHECK(std::abs(a.pixels[i] - b.pixels[i]) <= 1e-11);
    const Picture<double> d_out = noise<double>(stream, {4, 5, 2});
    const Pose<double> got =
        glimpse::to_affine_backward(affine.sample_backward(d_out.view(), image, theta), pose, aspect, image.extent(), window);
    const Region<double> d_region = bilinear.sample_backward(d_out.view(), image, region);
    CHECK(std::abs(got.s - d_region.s) <= 1e-8);
    CHECK(std::abs(got.x - d_region.x) <= 1e-8);
    CHECK(std::abs(got.y - d_region.y) <= 1e-8);
    Picture<double> d_a(Extents<3>{9, 14, 2});
    Picture<double> d_b = d_a;
    affine.sample_backward_image(d_out.view(), theta, d_a.view());
    bilinear.sample_backward_image(d_out.view(), region, d_b.view());
    for (std::size_t i = 0; i < d_a.pixels.size(); ++i) CHECK(std::abs(d_a.pixels[i] - d_b.pixels[i]) <= 1e-11);
  }
}

TEST_CASE("affine: a quarter turn is clockwise as one sees it, in pixels of an image that is not square") {
  // A row of three samples along x becomes a column downwards.
  Picture<double> picture(Extents<3>{8, 20, 1});
  for (Index i = 0; i < 8; ++i) {
    for (Index j = 0; j < 20; ++j) picture.view()(i, j, 0) = static_cast<double>(100 * i + j);
  }
  const PyramidView<double> image(picture.view());
  // Samples 2 pixels apart: three of them are 6 pixels of the longer side's 20.
  const Pose<double> pose{0.3, 0, 0, std::acos(-1.0) / 2};
  Picture<double> out(Extents<3>{1, 3, 1});
  Affine{}.sample(image, glimpse::to_affine(pose, Aspect::isotropic, image.extent(), {1, 3}), out.view());
  for (Index j = 0; j < 3; ++j) {
    CHECK(out.pixels[static_cast<std::size_t>(j)] == doctest::Approx(350 + 9.5 + 200 * (static_cast<double>(j) - 1)));
  }
}

TEST_CASE("affine: derivatives of poses, all paddings and corners") {
  Stream stream(2, 0, 0, Purpose::test);
  for (int n = 0; n < 24; ++n) {
    const std::array<Picture<double>, 2> pictures{noise<double>(stream, {7, 12, 2}), noise<double>(stream, {13, 5, 2})};
    const std::array<PyramidView<double>, 2> images{PyramidView<double>(pictures[0].view()),
                                                    PyramidView<double>(pictures[1].view())};
    const Affine sampler{paddings[n % 3], n % 6 < 3};
    const Aspect aspect = n % 4 < 2 ? Aspect::isotropic : Aspect::stretch;
    std::vector<double> poses;
    for (int b = 0; b < 2; ++b) {
      for (const double value : {std::exp(stream.uniform(-2.0, 0.3)), stream.uniform(-1.0, 1.0), stream.uniform(-1.0, 1.0),
                                 stream.uniform(-3.0, 3.0), stream.uniform(-1.0, 1.0), std::exp(stream.uniform(-0.7, 0.7))})
        poses.push_back(value);
    }
    GradientCheck check;
    check.input({2, 6}, poses, "poses");
    const auto report = check.run([&](auto& context, auto in) {
      const std::span<const PyramidView<double>> sources(images);
      return sampler(context, sources, glimpse::affine_matrices(context, sources, in[0], {3, 4}, aspect), {3, 4});
    });
    CAPTURE(n);
    INFO(report.where, ": ", report.analytic, " and ", report.numeric);
    CHECK(report.worst <= 1e-6);
    CHECK(report.forward_gap == 0);
  }
}

TEST_CASE("affine: errors name what was expected and what came") {
  Stream stream(3, 0, 0, Purpose::test);
  const Picture<std::uint8_t> grey = noise<std::uint8_t>(stream, {5, 8, 1});
  const PyramidView image(grey.view());
  const std::array<PyramidView<std::uint8_t>, 2> images{image, image};
  const std::span<const PyramidView<std::uint8_t>> sources(images);
  Picture<float> three(Extents<3>{4, 4, 3});
  Picture<float> one(Extents<3>{4, 4, 1});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::array<float, 6> identity{1, 0, 0, 0, 1, 0};
  CHECK_THROWS_WITH_AS(Affine{}.sample(image, identity, three.view()), "glimpse: 3 channels expected, the image has 1", Error);
  CHECK(message_of([&] {
          Affine{}.sample(image, std::array<float, 6>{1, nan, 0, 0, 1, 0}, one.view());
        }).find("a matrix of finite numbers expected, nan came") != std::string::npos);
  for (const Pose<float> pose : {Pose<float>{0, 0, 0, 0, 0, 1}, Pose<float>{1, 0, 0, 0, 0, -1}, Pose<float>{1, nan, 0, 0, 0, 1},
                                 Pose<float>{1, 0, 0, nan, 0, 1}, Pose<float>{1, 0, 0, 0, nan, 1}}) {
    CHECK(message_of([&] {
            (void)glimpse::to_affine(pose, Aspect::isotropic, {5, 8});
          }).find("s > 0 and aspect > 0 expected") != std::string::npos);
  }
  Arena arena;
  Tape<float> tape(arena);
  CHECK(message_of([&] {
          (void)glimpse::affine_matrices(tape, sources, tape.variable({2, 3}), {4, 4});
        }).find("poses of shape") != std::string::npos);
  CHECK(message_of([&] {
          (void)Affine{}(tape, sources, tape.variable({2, 5}), {4, 4});
        }).find("matrices of shape") != std::string::npos);
}

TEST_SUITE_END();

}  // namespace
