// SPDX-License-Identifier: MIT
#include "support/worst_gradient.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/model/full_resolution.hpp>
#include <fovea/model/proxy_only.hpp>
#include <fovea/nn/loss.hpp>

#include <doctest/doctest.h>

#include <array>
#include <vector>

using namespace fovea;
using model::FullResolution;
using model::ProxyOnly;

TEST_CASE("proxy_only: gradient end to end") {
  const ProxyOnly network({.classes = 3, .channels = 2, .proxy = {7, 9}});
  GradientCheck check{Parameters<double>(network.layout(), 3)};
  check.most_elements = 25;
  Stream stream(1, 0, 0, Purpose::test);
  check.uniform_input({2, 7, 9, 2}, stream, 0, 1);
  const std::array<std::int32_t, 2> labels{2, 1};
  const auto report = fovea_test::noted(
      check.run([&](auto& context, auto in) { return nn::cross_entropy(context, network.forward(context, in[0]), labels); }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.worst <= 1e-6);
  CHECK_THROWS_AS(ProxyOnly({.classes = 1}), Error);
}

TEST_CASE("full_resolution: gradient end to end") {
  const FullResolution network({.classes = 2, .channels = 1, .width = 2, .blocks_per_stage = 1});
  GradientCheck check{Parameters<double>(network.layout(), 3)};
  check.most_elements = 20;
  Stream stream(1, 0, 0, Purpose::test);
  check.uniform_input({1, 37, 41, 1}, stream, 0, 1);
  const std::array<std::int32_t, 1> labels{1};
  const auto report = fovea_test::noted(
      check.run([&](auto& context, auto in) { return nn::cross_entropy(context, network.forward(context, in[0]), labels); }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.worst <= 1e-6);
}

TEST_CASE("full_resolution: the published size") {
  // torchvision's resnet18 with 10 classes and 1 input channel: 11,175,370; group norm has as many parameters as batch norm.
  CHECK(FullResolution({.classes = 10, .channels = 1}).layout().count() == 11175370);
}

TEST_CASE("full_resolution: classifies images of any extent") {
  const FullResolution network({.classes = 4, .channels = 3, .width = 4});
  const Parameters<float> weights(network.layout(), 1);
  Arena arena;
  for (const Extents<3> extent : {Extents<3>{1, 1, 3}, Extents<3>{40, 33, 3}}) {
    Tensor<std::uint8_t, 3> image(extent);
    for (Index i = 0; i < image.size(); ++i) image.data()[i] = static_cast<std::uint8_t>(i * 7);
    const auto answer = network.classify(std::as_const(image).view(), weights, arena);
    float sum = 0;
    for (const float p : answer.probabilities) sum += p;
    CHECK(sum == doctest::Approx(1).epsilon(1e-5));
  }
  const Tensor<std::uint8_t, 3> grey({8, 8, 1});
  CHECK_THROWS_WITH_AS((void)network.classify(grey.view(), weights, arena),
                       "full_resolution: 3 channels expected, the image has 1", Error);
  CHECK_THROWS_AS(FullResolution({.classes = 1}), Error);
}
