// SPDX-License-Identifier: MIT
#include "support/pictures.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/image/pyramid.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace {

using namespace fovea;
using fovea_test::noise;
using fovea_test::Picture;
using glimpse::Antialiased;
using glimpse::Bilinear;
using glimpse::LevelMix;
using glimpse::Region;

TEST_SUITE_BEGIN("glimpse");

TEST_CASE("antialiased: where the samples are a pixel apart or less it is the plain bilinear read") {
  Stream stream(1, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {200, 300, 3});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  const Antialiased sampler{glimpse::Aspect::stretch};
  Picture<float> a(Extents<3>{16, 16, 3});
  Picture<float> b(Extents<3>{16, 16, 3});
  for (const float s : {0.0001F, 0.01F, 15.9F / 300.0F}) {
    const Region<float> region{s, 0.3F, -0.2F};
    sampler.sample(pyramid, region, a.view());
    Bilinear{}.sample(pyramid, region, b.view());
    CHECK(a.pixels == b.pixels);
    const Region<float> da = sampler.sample_backward(b.view(), pyramid, region);
    const Region<float> db = Bilinear{}.sample_backward(b.view(), pyramid, region);
    CHECK(da == db);
  }
}

TEST_CASE("antialiased: a chequerboard seen from afar is grey, where a plain read sees stripes") {
  Picture<std::uint8_t> picture(Extents<3>{512, 512, 1});
  for (Index y = 0; y < 512; ++y) {
    for (Index x = 0; x < 512; ++x) picture.view()(y, x, 0) = (x + y) % 2 == 0 ? 255 : 0;
  }
  const Pyramid<std::uint8_t> pyramid(picture.view());
  Picture<float> out(Extents<3>{16, 16, 1});
  const Region<float> region{0.31F, 0.013F, -0.021F};
  const auto spread = [&] {
    const auto [low, high] = std::minmax_element(out.pixels.begin(), out.pixels.end());
    return *high - *low;
  };
  Antialiased{}.sample(pyramid, region, out.view());
  CHECK(spread() <= 0.003F);
  CHECK(out.pixels[7] == doctest::Approx(0.5).epsilon(0.01));
  Bilinear{}.sample(pyramid, region, out.view());
  CHECK(spread() >= 0.5F);
}

TEST_CASE("antialiased: a glimpse of an image does not depend on the image's size") {
  // The same scene at two resolutions, from 4000 x 3000 down to the size of the glimpse's own pixels.
  const auto scene = [](Extents<2> extent) {
    Picture<std::uint8_t> picture({extent[0], extent[1], 1});
    for (Index y = 0; y < extent[0]; ++y) {
      for (Index x = 0; x < extent[1]; ++x) {
        const double u = (static_cast<double>(x) + 0.5) / static_cast<double>(extent[1]);
        const double v = (static_cast<double>(y) + 0.5) / static_cast<double>(extent[0]);
        picture.view()(y, x, 0) =
            static_cast<std::uint8_t>(127.5 + 60 * std::sin(9 * u + 4 * v) + 60 * std::cos(13 * v - 2 * u));
      }
    }
    return picture;
  };
  const Picture<std::uint8_t> small = scene({300, 400});
  const Picture<std::uint8_t> odd = scene({901, 1203});
  const Picture<std::uint8_t> large = scene({2250, 3000});
  const Pyramid<std::uint8_t> a(small.view());
  const Pyramid<std::uint8_t> b(odd.view());
  const Pyramid<std::uint8_t> c(large.view());
  Picture<float> out_a(Extents<3>{24, 24, 1});
  Picture<float> out_b = out_a;
  Picture<float> out_c = out_a;
  for (const Region<float> region : {Region<float>{0.5F, 0.2F, -0.3F}, Region<float>{0.3F, -0.6F, 0.4F}}) {
    Antialiased{}.sample(a, region, out_a.view());
    Antialiased{}.sample(b, region, out_b.view());
    Antialiased{}.sample(c, region, out_c.view());
    for (std::size_t i = 0; i < out_a.pixels.size(); ++i) {
      CHECK(std::abs(out_a.pixels[i] - out_b.pixels[i]) <= 0.012F);
      CHECK(std::abs(out_a.pixels[i] - out_c.pixels[i]) <= 0.012F);
    }
  }
}

TEST_CASE("antialiased: levels") {
  Stream stream(3, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {160, 160, 1});
  const Pyramid<std::uint8_t> pyramid(picture.view());  // 160, 80, 40, 20, 10
  const auto& view = pyramid.pyramid();
  REQUIRE(view.levels() == 5);
  const auto check = [&](double spacing, int level, double weight, bool moves) {
    const LevelMix mix = glimpse::choose_levels(view, spacing);
    CHECK(mix.level == level);
    CHECK(mix.weight == doctest::Approx(weight));
    CHECK((mix.slope > 0) == moves);
  };
  check(0.3, 0, 0, false);
  check(1, 0, 0, false);
  check(std::sqrt(2.0), 0, 0.5, true);
  check(2, 1, 0, true);
  check(12, 3, std::log2(1.5), true);
  check(16, 4, 0, false);
  check(1e9, 4, 0, false);
  // A source whose finest level stored is a quarter.
  PyramidView<std::uint8_t> coarse({160, 160}, 1);
  coarse.push_back(view.level(2));
  coarse.push_back(view.level(4));
  CHECK(coarse.ratio(0) == 4);
  CHECK(glimpse::choose_levels(coarse, 2).weight == 0);
  CHECK(glimpse::choose_levels(coarse, 8).weight == doctest::Approx(0.5));
  Picture<float> a(Extents<3>{5, 5, 1});
  Picture<float> b(Extents<3>{5, 5, 1});
  Antialiased{}.sample(coarse, Region<float>{0.1F, 0.1F, 0.2F}, a.view());
  Antialiased{}.sample(PyramidView(view.level(2)), Region<float>{0.1F, 0.1F, 0.2F}, b.view());
  CHECK(a.pixels == b.pixels);
}

TEST_CASE("antialiased: constant images, one pixel, and regions far outside") {
  for (const Extents<3> extents : {Extents<3>{1, 1, 1}, Extents<3>{1, 77, 2}, Extents<3>{130, 1, 3}, Extents<3>{61, 37, 4}}) {
    Picture<std::uint8_t> picture(extents);
    std::fill(picture.pixels.begin(), picture.pixels.end(), std::uint8_t{200});
    PyramidOptions options;
    options.smallest = 1;
    const Pyramid<std::uint8_t> pyramid(picture.view(), options);
    Picture<float> out({5, 6, extents[2]});
    Antialiased border;
    border.padding = kernel::Padding::border;
    for (const Region<float> region : {Region<float>{1, 0, 0}, Region<float>{1e-6F, 0.9F, -0.9F}, Region<float>{50, 3, 2},
                                       Region<float>{1e30F, 0, 0}, Region<float>{1e-30F, 1e30F, -1e30F}}) {
      border.sample(pyramid, region, out.view());
      for (const float value : out.pixels) CHECK(value == doctest::Approx(200.0 / 255.0));
      const Region<float> g = border.sample_backward(out.view(), pyramid, region);
      CHECK(std::isfinite(g.s));
      CHECK(std::isfinite(g.x));
      CHECK(std::isfinite(g.y));
    }
    Antialiased{}.sample(pyramid, Region<float>{0.1F, 7, -9}, out.view());
    for (const float value : out.pixels) CHECK(value == 0.0F);
    CHECK(Antialiased{}.sample_backward(out.view(), pyramid, Region<float>{0.1F, 7, -9}) == Region<float>{0, 0, 0});
  }
}

TEST_CASE("antialiased: the op is the sampler, on a tape and without one, and needs no more memory the second time") {
  Stream stream(5, 0, 0, Purpose::test);
  std::vector<Pyramid<std::uint8_t>> images;
  const Picture<std::uint8_t> a = noise<std::uint8_t>(stream, {50, 60, 3});
  const Picture<std::uint8_t> b = noise<std::uint8_t>(stream, {33, 90, 3});
  images.emplace_back(a.view());
  images.emplace_back(b.view());
  const float values[6] = {0.4F, 0.1F, 0.2F, 0.7F, -0.3F, 0.1F};
  Arena arena;
  std::size_t bytes = 0;
  for (int pass = 0; pass < 3; ++pass) {
    arena.reset();
    Tape<float> tape(arena);
    const auto regions = tape.variable({2, 3});
    std::copy_n(values, 6, regions.value);
    const auto out = Antialiased{}(tape, std::span<const Pyramid<std::uint8_t>>(images), regions, {7, 9});
    CHECK(out.shape == Shape{2, 7, 9, 3});
    for (Index i = 0; i < out.size(); ++i) out.gradient[i] = out.value[i];
    tape.backward();
    Picture<float> expected(Extents<3>{7, 9, 3});
    for (Index s = 0; s < 2; ++s) {
      const Region<float> region{values[3 * s], values[3 * s + 1], values[3 * s + 2]};
      Antialiased{}.sample(images[static_cast<std::size_t>(s)], region, expected.view());
      for (Index i = 0; i < 189; ++i) CHECK(out.value[189 * s + i] == expected.pixels[static_cast<std::size_t>(i)]);
      const Region<float> g = Antialiased{}.sample_backward(expected.view(), images[static_cast<std::size_t>(s)], region);
      // From slopes kept in the forward pass, not from a second read.
      CHECK(regions.gradient[3 * s] == doctest::Approx(g.s).epsilon(1e-5));
      CHECK(regions.gradient[3 * s + 1] == doctest::Approx(g.x).epsilon(1e-5));
      CHECK(regions.gradient[3 * s + 2] == doctest::Approx(g.y).epsilon(1e-5));
    }
    if (pass == 1) bytes = arena.capacity();
    if (pass == 2) CHECK(arena.capacity() == bytes);
  }
  Inference<float> inference(arena);
  const auto out =
      Antialiased{}(inference, std::span<const Pyramid<std::uint8_t>>(images), inference.constant(values, Shape{2, 3}), {7, 9});
  CHECK(out.gradient == nullptr);
}

TEST_CASE("antialiased: errors") {
  Stream stream(6, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {20, 20, 3});
  const PyramidView image(picture.view());
  Picture<float> grey(Extents<3>{4, 4, 1});
  CHECK_THROWS_WITH_AS(Antialiased{}.sample(image, Region<float>{}, grey.view()),
                       "glimpse: 1 channels expected, the image has 3", Error);
  Picture<float> out(Extents<3>{4, 4, 3});
  CHECK_THROWS_AS(Antialiased{}.sample(image, Region<float>{0, 0, 0}, out.view()), Error);
  CHECK_THROWS_AS(Antialiased{}.sample(image, Region<float>{std::numeric_limits<float>::quiet_NaN(), 0, 0}, out.view()), Error);
  CHECK_THROWS_AS(Antialiased{}.sample(PyramidView<std::uint8_t>(), Region<float>{}, out.view()), Error);
}

TEST_SUITE_END();

}  // namespace
