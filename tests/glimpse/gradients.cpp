// SPDX-License-Identifier: MIT
// Every op of glimpse/ in the registry: derivatives against central differences in double, Tape against Inference.
#include "support/op_registry.hpp"
#include "support/pictures.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/affine.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/image/pyramid.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace fovea;
using fovea_test::noise;
using fovea_test::Picture;

constexpr kernel::Padding paddings[] = {kernel::Padding::zeros, kernel::Padding::border, kernel::Padding::reflection};

/// A few images of the same channels with their pyramids.
template <class P>
struct Images {
  std::vector<Picture<P>> pictures;
  std::vector<Pyramid<P>> pyramids;
  std::vector<PyramidView<P>> views;
};
template <class P>
std::shared_ptr<const Images<P>> random_images(Stream& stream, Index count, Index most) {
  auto images = std::make_shared<Images<P>>();
  const Index channels = fovea_test::extent(stream, 1, 4);
  for (Index b = 0; b < count; ++b) {
    const Extents<3> extents{fovea_test::extent(stream, 1, most), fovea_test::extent(stream, 1, most), channels};
    images->pictures.push_back(noise<P>(stream, extents));
  }
  PyramidOptions options;
  options.smallest = 2;
  for (const auto& picture : images->pictures) images->pyramids.emplace_back(picture.view(), options);
  for (const auto& pyramid : images->pyramids) images->views.push_back(pyramid.pyramid());
  return images;
}

/// Regions from far too large to far too small, also partly outside.
void add_regions(Stream& stream, GradientCheck& check, Index batch) {
  std::vector<double> values;
  for (Index b = 0; b < batch; ++b) {
    values.push_back(std::exp(stream.uniform(-3.5, 0.7)));
    values.push_back(stream.uniform(-1.0, 1.0));
    values.push_back(stream.uniform(-1.0, 1.0));
  }
  check.input({batch, 3}, values, "regions");
}

Extents<2> random_window(Stream& stream) { return {fovea_test::extent(stream, 1, 7), fovea_test::extent(stream, 1, 7)}; }

template <class P, class Sampler>
auto source_case(Sampler base) {
  return [base](Stream& stream, GradientCheck& check) {
    const Index batch = fovea_test::extent(stream, 1, 3);
    const auto images = random_images<P>(stream, batch, 41);
    Sampler sampler = base;
    sampler.padding = paddings[stream.below(3)];
    sampler.aspect = stream.below(2) == 0 ? glimpse::Aspect::stretch : glimpse::Aspect::isotropic;
    if constexpr (requires { sampler.align_corners; }) sampler.align_corners = stream.below(2) == 0;
    if constexpr (requires { sampler.bias; }) sampler.bias = stream.uniform(-1.0, 1.0);
    const Extents<2> window = random_window(stream);
    add_regions(stream, check, batch);
    return
        [=](auto& context, auto in) { return sampler(context, std::span<const PyramidView<P>>(images->views), in[0], window); };
  };
}

template <class Sampler>
auto var_case(Sampler base, bool shared) {
  return [base, shared](Stream& stream, GradientCheck& check) {
    const Index batch = fovea_test::extent(stream, 1, 3);
    const Index height = fovea_test::extent(stream, 1, 40);
    const Index width = fovea_test::extent(stream, 1, 40);
    const Index channels = fovea_test::extent(stream, 1, 3);
    Sampler sampler = base;
    sampler.padding = paddings[stream.below(3)];
    if constexpr (requires { sampler.align_corners; }) sampler.align_corners = stream.below(2) == 0;
    const Extents<2> window = random_window(stream);
    check.input(shared ? Shape{height, width, channels} : Shape{batch, height, width, channels}, stream);
    add_regions(stream, check, batch);
    return [=](auto& context, auto in) { return sampler(context, in[0], in[1], window); };
  };
}

TEST_SUITE_BEGIN("glimpse");

TEST_CASE("glimpse: derivatives of every op") {
  fovea_test::OpRegistry ops;
  ops.add("bilinear from bytes", source_case<std::uint8_t>(glimpse::Bilinear{}));
  ops.add("bilinear from double", source_case<double>(glimpse::Bilinear{}));
  ops.add("antialiased from bytes", source_case<std::uint8_t>(glimpse::Antialiased{}));
  ops.add("antialiased from 16 bits", source_case<std::uint16_t>(glimpse::Antialiased{}));
  ops.add("antialiased from double", source_case<double>(glimpse::Antialiased{}));
  ops.add("bilinear from one Var", var_case(glimpse::Bilinear{}, true));
  ops.add("bilinear from Vars", var_case(glimpse::Bilinear{}, false));
  ops.add("antialiased from one Var", var_case(glimpse::Antialiased{}, true));
  ops.add("antialiased from Vars", var_case(glimpse::Antialiased{}, false));
  ops.add("affine glimpse", [](Stream& stream, GradientCheck& check) {
    const Index batch = fovea_test::extent(stream, 1, 3);
    const auto images = random_images<std::uint8_t>(stream, batch, 12);
    const Extents<2> window = random_window(stream);
    const glimpse::Affine sampler{paddings[stream.below(3)], stream.below(2) == 0};
    check.input({batch, 2, 3}, stream, 0.5);
    return [=](auto& context, auto in) {
      return sampler(context, std::span<const PyramidView<std::uint8_t>>(images->views), in[0], window);
    };
  });
  ops.check_all(40);
}

TEST_SUITE_END();

}  // namespace
