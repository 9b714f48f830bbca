// SPDX-License-Identifier: MIT
// DRAW's filter bank against its definition over the whole image, its derivatives, what a pyramid costs in exactness, files.
#include "support/file_in_memory.hpp"
#include "support/op_registry.hpp"
#include "support/pictures.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/gaussian.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/model/saccader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace {

using namespace fovea;
using fovea_test::FileInMemory;
using fovea_test::noise;
using fovea_test::Picture;
using glimpse::Gaussian;
using glimpse::Region;

constexpr double kAll = std::numeric_limits<double>::infinity();

/// Weights of filter k of an axis of `count` over `extent` pixels, by the definition: every pixel, and beyond the image where
/// the weights of what lies there count in the sum.
std::vector<double> weights(double centre, double half, Index k, Index count, Index extent, const Gaussian& g) {
  const double stride = half * static_cast<double>(extent) / static_cast<double>(count);
  const double at = (centre + 1) / 2 * static_cast<double>(extent) - 0.5 +
                    stride * (static_cast<double>(k) - static_cast<double>(count - 1) / 2);
  const double deviation = std::max(g.deviation * (g.unit == glimpse::DeviationUnit::strides ? stride : 1.0), g.smallest);
  std::vector<double> w(static_cast<std::size_t>(extent));
  double sum = 0;
  const auto reach = static_cast<Index>(std::ceil(12 * deviation)) + 1;
  const auto middle = static_cast<Index>(std::floor(at));
  for (Index a = middle - reach; a <= middle + reach; ++a) {
    const bool in = a >= 0 && a < extent;
    const double u = (static_cast<double>(a) - at) / deviation;
    const double f = std::exp(-u * u / 2);
    if (in || !g.inside) sum += f;
    if (in) {
      w[static_cast<std::size_t>(a)] += f;
    } else if (!g.inside && g.padding == kernel::Padding::border) {
      w[static_cast<std::size_t>(a < 0 ? Index{0} : extent - 1)] += f;
    }
  }
  for (double& f : w) f /= sum;
  return w;
}

/// The glimpse by definition, of pixels times `scale`; of images where `stretch` is the aspect.
template <class P>
std::vector<double> naive(const View<const P, 3>& image, const Region<double>& r, Extents<2> window, const Gaussian& g,
                          double scale) {
  std::vector<double> out;
  for (Index i = 0; i < window[0]; ++i) {
    const auto rows = weights(r.y, r.s, i, window[0], image.extent(0), g);
    for (Index j = 0; j < window[1]; ++j) {
      const auto columns = weights(r.x, r.s, j, window[1], image.extent(1), g);
      for (Index c = 0; c < image.extent(2); ++c) {
        double sum = 0;
        for (Index y = 0; y < image.extent(0); ++y) {
          for (Index x = 0; x < image.extent(1); ++x) {
            sum += rows[static_cast<std::size_t>(y)] * columns[static_cast<std::size_t>(x)] * scale *
                   static_cast<double>(image(y, x, c));
          }
        }
        out.push_back(sum);
      }
    }
  }
  return out;
}

template <class P, class T>
void check_naive(double scale, double tolerance) {
  Stream stream(8, 0, 0, Purpose::test);
  for (int i = 0; i < 12; ++i) {
    const Extents<3> extents{fovea_test::extent(stream, 1, 50), fovea_test::extent(stream, 1, 50),
                             fovea_test::extent(stream, 1, 3)};
    const Picture<P> picture = noise<P>(stream, extents, i % 2);
    const Pyramid<P> pyramid(picture.view());
    Gaussian g{.aspect = glimpse::Aspect::stretch, .deviation = stream.uniform(0.3, 1.0), .resolution = kAll};
    g.padding = i % 3 == 0 ? kernel::Padding::border : kernel::Padding::zeros;
    g.inside = i % 4 == 1;
    if (i % 5 == 2) g.unit = glimpse::DeviationUnit::pixels;
    const Region<T> region{stream.uniform(T(0.2), T(1.0)), stream.uniform(T(-0.7), T(0.7)), stream.uniform(T(-0.7), T(0.7))};
    const Extents<2> window{fovea_test::extent(stream, 1, 9), fovea_test::extent(stream, 1, 9)};
    Picture<T> out(Extents<3>{window[0], window[1], extents[2]});
    g.sample(pyramid, region, out.view());
    const auto expected =
        naive<P>(picture.view(), {static_cast<double>(region.s), static_cast<double>(region.x), static_cast<double>(region.y)},
                 window, g, scale);
    double worst = 0;
    for (std::size_t k = 0; k < expected.size(); ++k) {
      worst = std::max(worst, std::abs(static_cast<double>(out.pixels[k]) - expected[k]));
    }
    INFO("case ", i);
    CHECK(worst <= tolerance);
  }
}

}  // namespace

TEST_CASE("gaussian filters: agree with their definition over the whole image") {
  check_naive<double, double>(1, 1e-10);
  check_naive<std::uint8_t, double>(1.0 / 255, 1e-10);
  check_naive<std::uint8_t, float>(1.0 / 255, 4e-6);
  check_naive<float, float>(1, 4e-6);
}

TEST_CASE("gaussian filters: derivatives in s, x, y, and in a deviation of each sample's own") {
  fovea_test::OpRegistry ops;
  const auto add = [&](const char* name, Gaussian base, Index numbers) {
    ops.add(name, [base, numbers](Stream& stream, GradientCheck& check) {
      const Index batch = fovea_test::extent(stream, 1, 2);
      // Kept alive by the closure: the op reads the pixels again and again.
      auto pictures = std::make_shared<fovea_test::Pictures<double>>(
          batch, Extents<2>{fovea_test::extent(stream, 8, 60), fovea_test::extent(stream, 8, 60)}, 2, 1.0);
      Gaussian g = base;
      g.padding = stream.below(2) == 0 ? kernel::Padding::zeros : kernel::Padding::border;
      std::vector<double> values;
      for (Index b = 0; b < batch; ++b) {
        values.insert(values.end(), {stream.uniform(0.3, 1.2), stream.uniform(-0.8, 0.8), stream.uniform(-0.8, 0.8)});
        if (numbers == 4) values.push_back(stream.uniform(0.5, 0.9));
      }
      check.input({batch, numbers}, values, "regions");
      const Extents<2> window{fovea_test::extent(stream, 1, 6), fovea_test::extent(stream, 1, 6)};
      return [=](auto& context, auto in) { return g(context, pictures->sources(), in[0], window); };
    });
  };
  add("tied to the stride, level 0", {.resolution = kAll}, 3);
  add("tied to the stride, from a pyramid", {}, 3);
  add("DRAW's edges", {.inside = true}, 3);
  add("in pixels", {.deviation = 1.5, .unit = glimpse::DeviationUnit::pixels, .resolution = kAll}, 3);
  add("a deviation of each sample's own", {.resolution = kAll}, 4);
  for (const auto& op : ops.ops()) {
    for (std::uint64_t i = 0; i < 12; ++i) {
      Stream stream(2019, 0, i, Purpose::test);
      const GradientReport report = fovea_test::noted(op.run(stream));
      INFO(op.name, ", case ", i, ": worst at ", report.where, ", analytic ", report.analytic, ", numeric ", report.numeric);
      CHECK(report.worst <= 1e-6);
      CHECK(report.forward_gap <= 1e-14);  // with slopes the sums are taken in another order
      CHECK(report.partial_gap == 0.0);
    }
  }
}

TEST_CASE("gaussian filters: what reading a pyramid costs in exactness") {
  Stream stream(9, 0, 0, Purpose::test);
  const auto worst = [&](const Pyramid<float>& pyramid, double resolution) {
    double most = 0;
    for (int i = 0; i < 30; ++i) {
      // Inside: at an edge a pixel of a coarse level is not the pixel at the edge.
      const Region<float> region{stream.uniform(0.2F, 0.5F), stream.uniform(-0.2F, 0.2F), stream.uniform(-0.2F, 0.2F)};
      Picture<float> exact(Extents<3>{8, 8, 1});
      Picture<float> fast = exact;
      Gaussian{.padding = kernel::Padding::border, .resolution = kAll}.sample(pyramid, region, exact.view());
      Gaussian{.padding = kernel::Padding::border, .resolution = resolution}.sample(pyramid, region, fast.view());
      for (std::size_t k = 0; k < exact.pixels.size(); ++k) {
        most = std::max(most, static_cast<double>(std::abs(exact.pixels[k] - fast.pixels[k])));
      }
    }
    return most;
  };
  const fovea_test::Pictures<float> smooth(1, {256, 256}, 1, 1.0);
  const Picture<float> rough = noise<float>(stream, {256, 256, 1});
  const double on_smooth = worst(smooth.pyramids[0], 2);
  const double on_noise = worst(Pyramid<float>(rough.view()), 2);
  const double on_noise_finer = worst(Pyramid<float>(rough.view()), 4);
  MESSAGE("of the range: smooth " << on_smooth << ", noise " << on_noise << ", noise at resolution 4 " << on_noise_finer);
  CHECK(on_smooth < 2e-3);
  CHECK(on_noise < 1.5e-2);
  CHECK(on_noise_finer < on_noise);
}

TEST_CASE("gaussian filters: far outside the image there is nothing, and it does not matter how far") {
  Stream stream(3, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {30, 20, 3});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  for (const float far : {8.0F, 1e4F, 1e9F}) {
    Picture<float> out(Extents<3>{4, 5, 3});
    std::fill(out.pixels.begin(), out.pixels.end(), 7.0F);
    Gaussian{}.sample(pyramid, Region<float>{0.1F, far, -far}, out.view());
    for (const float v : out.pixels) CHECK(v == 0.0F);
  }
}

TEST_CASE("gaussian filters: of a file as of memory") {
  Stream stream(3, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {120, 150, 3});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  Tensor<std::uint8_t, 3> pixels(picture.extents);
  std::copy(picture.pixels.begin(), picture.pixels.end(), pixels.begin());
  ImageInfo info;
  info.channels = 3;
  info.levels = {{{120, 150}, {16, 16}, {1, 1}}};
  std::vector<Tensor<std::uint8_t, 3>> levels;
  levels.push_back(std::move(pixels));
  const ImageFile file(std::make_unique<FileInMemory>(std::move(levels), info, std::make_shared<FileInMemory::Log>()),
                       {.overview_pixels = 400});
  for (const Region<float>& region : {Region<float>{0.05F, 0.3F, -0.1F}, Region<float>{0.1F, -0.95F, 0.9F}}) {
    Picture<float> a(Extents<3>{12, 12, 3});
    Picture<float> b = a;
    const Gaussian g{.resolution = kAll};
    g.sample(file, region, a.view());
    g.sample(pyramid, region, b.view());
    float worst = 0;
    for (std::size_t i = 0; i < a.pixels.size(); ++i) worst = std::max(worst, std::abs(a.pixels[i] - b.pixels[i]));
    CHECK(worst <= 1e-6F);
  }
}

TEST_CASE("gaussian filters: what is not one is refused") {
  Stream stream(4, 0, 0, Purpose::test);
  const Picture<std::uint8_t> picture = noise<std::uint8_t>(stream, {20, 30, 2});
  const Pyramid<std::uint8_t> pyramid(picture.view());
  Picture<float> out(Extents<3>{4, 4, 2});
  Picture<float> few(Extents<3>{4, 4, 1});
  CHECK_THROWS_AS(Gaussian{}.sample(pyramid, Region<float>{0.0F, 0, 0}, out.view()), Error);
  CHECK_THROWS_AS(Gaussian{}.sample(pyramid, Region<float>{0.5F, 0, 0}, few.view()), Error);
  CHECK_THROWS_AS((Gaussian{.deviation = 0}.sample(pyramid, Region<float>{0.5F, 0, 0}, out.view())), Error);
  CHECK_THROWS_AS((Gaussian{.resolution = 0.5}.sample(pyramid, Region<float>{0.5F, 0, 0}, out.view())), Error);
}

TEST_CASE("gaussian filters: a saccader looks through them") {
  using Model = model::BasicSaccader<model::ConvMap, model::ConvVector, model::AttentionPolicy, Gaussian>;
  const model::SaccaderOptions o{
      .classes = 3, .proxy = {8, 8}, .glimpse = {8, 8}, .steps = 2, .state = 8, .location_features = 4};
  const Model saccader(o);
  Parameters<float> parameters(saccader.layout(), 1);
  std::vector<float> gradient(static_cast<std::size_t>(parameters.values().size()));
  const fovea_test::Pictures<std::uint8_t> pictures(2, {40, 40}, 1, 255.0);
  const std::array<std::int32_t, 2> labels{0, 2};
  Arena arena;
  Tape<float> tape(arena, parameters.values(), View<float, 1>(gradient.data(), {parameters.values().size()}));
  model::Looking looking;
  looking.draw = true;
  const auto path = saccader.forward(tape, fovea_test::proxies(tape, o, pictures), pictures.sources(), looking);
  tape.backward(saccader.loss(tape, path, labels, model::SaccaderLoss{}));
  double square = 0;
  for (const float g : gradient) square += static_cast<double>(g) * static_cast<double>(g);
  CHECK(std::isfinite(square));
  CHECK(square > 0);
}
