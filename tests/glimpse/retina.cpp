// SPDX-License-Identifier: MIT
// The retina against its base: every scale, gradients, files; and a whole model that looks through it.
#include "support/file_in_memory.hpp"
#include "support/message_of.hpp"
#include "support/op_registry.hpp"
#include "support/pictures.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/gradient_check.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/glimpse/patch.hpp>
#include <fovea/glimpse/retina.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/model/saccader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace fovea;
using fovea_test::FileInMemory;
using fovea_test::message_of;
using fovea_test::noise;
using fovea_test::Picture;
using glimpse::Antialiased;
using glimpse::Bilinear;
using glimpse::Patch;
using glimpse::Region;
using glimpse::Retina;

/// Every scale of a retina is its base at that scale: exactly in the op; a read into every third pixel may round otherwise.
template <class Base, int scales>
void check_equals_base(const Base& base, double factor) {
  Stream stream(1, 0, 0, Purpose::test);
  const Retina<Base, scales> retina{base, factor};
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {90, 70, 3});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  const std::array<PyramidView<std::uint8_t>, 2> images{pyramid.pyramid(), pyramid.pyramid()};
  const std::array<float, 6> places{0.2F, 0.1F, -0.3F, 0.07F, 0.9F, 0.8F};
  Arena arena;
  Inference<float> context(arena);
  const auto regions = context.constant(Shape{2, 3});
  std::copy(places.begin(), places.end(), regions.value);
  const auto out = retina(context, std::span<const PyramidView<std::uint8_t>>(images), regions, {8, 6});
  REQUIRE(out.shape == Shape{2, 8, 6, 3 * scales});
  CHECK(glimpse::channels(retina, 3) == 3 * scales);
  Picture<float> whole(Extents<3>{8, 6, 3 * scales});
  Picture<float> one(Extents<3>{8, 6, 3});
  Index different = 0;
  float worst = 0;
  for (std::size_t b = 0; b < 2; ++b) {
    const Region<float> region{places[3 * b], places[3 * b + 1], places[3 * b + 2]};
    retina.sample(pyramid, region, whole.view());
    for (int k = 0; k < scales; ++k) {
      base.sample(pyramid, Region<float>{region.s * static_cast<float>(std::pow(factor, k)), region.x, region.y}, one.view());
      for (Index i = 0; i < 8; ++i) {
        for (Index j = 0; j < 6; ++j) {
          for (Index c = 0; c < 3; ++c) {
            const float expected = one.view()(i, j, c);
            worst = std::max(worst, std::abs(whole.view()(i, j, 3 * k + c) - expected));
            different += out.template values<4>()[static_cast<Index>(b)](i, j, 3 * k + c) == expected ? 0 : 1;
          }
        }
      }
    }
  }
  CHECK(different == 0);
  CHECK(worst <= 2e-7F);
}

TEST_SUITE_BEGIN("glimpse");

TEST_CASE("retina: every scale is its base, wider by the factor each time") {
  check_equals_base<Antialiased, 3>({}, 2);
  check_equals_base<Bilinear, 2>({}, 1.5);
  check_equals_base<Patch, 3>({}, 2);
  check_equals_base<Antialiased, 1>({}, 3);
}

TEST_CASE("retina: derivatives of the op, of images in memory and of Vars") {
  fovea_test::OpRegistry ops;
  const auto regions = [](Stream& stream, GradientCheck& check, Index batch) {
    std::vector<double> values;
    for (Index b = 0; b < batch; ++b) {
      values.push_back(std::exp(stream.uniform(-3.0, 0.0)));
      values.push_back(stream.uniform(-1.0, 1.0));
      values.push_back(stream.uniform(-1.0, 1.0));
    }
    check.input({batch, 3}, values, "regions");
  };
  const auto of_bytes = [regions](auto retina) {
    return [=](Stream& stream, GradientCheck& check) {
      const Index batch = fovea_test::extent(stream, 1, 3);
      auto pictures = std::make_shared<std::vector<Picture<std::uint8_t>>>();
      auto pyramids = std::make_shared<std::vector<Pyramid<std::uint8_t>>>();
      for (Index b = 0; b < batch; ++b) {
        pictures->push_back(
            noise<std::uint8_t>(stream, {fovea_test::extent(stream, 1, 40), fovea_test::extent(stream, 1, 40), 2}));
      }
      for (const auto& picture : *pictures) pyramids->emplace_back(picture.view());
      regions(stream, check, batch);
      return [retina, pictures, pyramids](auto& context, auto in) {
        return retina(context, std::span<const Pyramid<std::uint8_t>>(*pyramids), in[0], {5, 4});
      };
    };
  };
  ops.add("retina, antialiased", of_bytes(Retina<>{}));
  ops.add("retina, bilinear", of_bytes(Retina<Bilinear, 2>{{}, 1.7}));
  ops.add("retina of Vars", [regions](Stream& stream, GradientCheck& check) {
    check.input({2, 20, 17, 2}, stream);
    regions(stream, check, 2);
    return [](auto& context, auto in) { return Retina<Antialiased, 2>{}(context, in[0], in[1], {4, 5}); };
  });
  ops.check_all(20);
}

TEST_CASE("retina: the gradient without an op is that of the op") {
  Stream stream(2, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {61, 44, 2});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  const Retina<> retina{};
  const Region<double> region{0.2, 0.1, -0.3};
  Arena arena;
  Tape<double> tape(arena);
  const auto at = tape.variable(Shape{1, 3});
  at.value[0] = region.s;
  at.value[1] = region.x;
  at.value[2] = region.y;
  const auto out = retina(tape, std::span<const Pyramid<std::uint8_t>>(&pyramid, 1), at, {6, 5});
  REQUIRE(out.gradient != nullptr);
  Picture<double> d_out(Extents<3>{6, 5, 6});
  for (double& d : d_out.pixels) d = stream.normal<double>();
  std::copy(d_out.pixels.begin(), d_out.pixels.end(), out.gradient);
  tape.backward();
  const Region<double> g = retina.sample_backward(d_out.view(), pyramid, region);
  CHECK(at.gradient[0] == doctest::Approx(g.s).epsilon(1e-12));
  CHECK(at.gradient[1] == doctest::Approx(g.x).epsilon(1e-12));
  CHECK(at.gradient[2] == doctest::Approx(g.y).epsilon(1e-12));
}

TEST_CASE("retina: a file gives the glimpse of its pyramid, a sequential one decoded once") {
  Stream stream(3, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {120, 150, 3});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  Tensor<std::uint8_t, 3> pixels(picture.extents);
  std::copy(picture.pixels.begin(), picture.pixels.end(), pixels.begin());
  auto log = std::make_shared<FileInMemory::Log>();
  ImageInfo info;
  info.channels = 3;
  info.levels = {{{120, 150}, {16, 16}, {1, 1}}};
  info.sequential = true;
  std::vector<Tensor<std::uint8_t, 3>> levels;
  levels.push_back(std::move(pixels));
  const ImageFile file(std::make_unique<FileInMemory>(std::move(levels), info, log), {.overview_pixels = 400});
  const Retina<Antialiased, 3> retina{};
  Picture<float> a(Extents<3>{12, 12, 9});
  Picture<float> b = a;
  const Region<float> region{0.05F, 0.3F, -0.1F};
  const std::size_t before = log->calls.size() + log->scans.size();
  retina.sample(file, region, a.view());
  CHECK(log->calls.size() + log->scans.size() - before <= 1);
  retina.sample(pyramid, region, b.view());
  CHECK(a.pixels == b.pixels);
}

TEST_CASE("retina: errors") {
  Stream stream(4, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {20, 30, 2});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  Picture<float> out(Extents<3>{4, 4, 6});
  Picture<float> few(Extents<3>{4, 4, 2});
  const auto says = [&](const Retina<>& retina, const Region<float>& region, Picture<float>& to, const char* what) {
    const std::string message = message_of([&] { retina.sample(pyramid, region, to.view()); });
    INFO(message);
    CHECK(message.find(what) != std::string::npos);
  };
  says({}, {1, 0, 0}, few, "retina: 6 channels expected, 3 for each of the image's, 2 came");
  says({{}, 0}, {1, 0, 0}, out, "retina: a factor > 0 expected, 0.000000 came");
  says({}, {-1, 0, 0}, out, "s > 0 expected");
}

TEST_CASE("retina: a saccader that looks through it runs forward and backward") {
  using Model = model::BasicSaccader<model::ConvMap, model::ConvVector, model::GaussianPolicy, Retina<Antialiased>>;
  model::SaccaderOptions o;
  o.classes = 3;
  o.proxy = {6, 8};
  o.glimpse = {8, 9};
  o.steps = 2;
  o.state = 5;
  o.location_features = 4;
  o.scale = 0.2;
  const Model saccader(o);
  const fovea_test::Pictures<float> pictures(2, {33, 40}, o.channels, 1.0);
  const std::array<std::int32_t, 2> labels{0, 2};
  model::Looking looking;
  looking.draw = true;
  looking.noise.seed = 4;
  looking.deviation = 0.1;
  GradientCheck check{Parameters<double>(saccader.layout(), 3)};
  check.most_elements = 15;
  check.step = 1e-3;
  const GradientReport report = fovea_test::noted(check.run([&](auto& context, auto) {
    const auto path = saccader.forward(context, proxies(context, o, pictures), pictures.sources(), looking);
    return saccader.loss(context, path, labels, {{1, 0.1, 0.5}, 0.7, 0.5});
  }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.checked > 150);
  CHECK(report.worst <= 1e-6);
  CHECK(report.forward_gap <= 1e-12);
}

TEST_SUITE_END();

}  // namespace
