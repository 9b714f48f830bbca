// SPDX-License-Identifier: MIT
// Any objective trains the saccader: the gradient of its whole loss with objectives other than the sum, which tests/model
// checks.
#include "support/op_registry.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/bound/multi_sample.hpp>
#include <fovea/bound/product.hpp>
#include <fovea/model/saccader.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <span>
#include <vector>

using namespace fovea;

namespace {

/// Two pictures, each `draws` times in a row.
template <class O>
GradientReport check_saccader(const O& objective, Index draws) {
  model::SaccaderOptions o;
  o.classes = 3;
  o.proxy = {6, 8};
  o.glimpse = {8, 9};
  o.steps = 2;
  o.state = 5;
  o.location_features = 4;
  o.scale = 0.5;
  const model::Saccader saccader(o);
  const fovea_test::Pictures<float> pictures(2, {33, 40}, 1, 1.0);
  std::vector<PyramidView<float>> sources;
  std::vector<std::int32_t> labels;
  for (std::size_t b = 0; b < 2; ++b) {
    for (Index k = 0; k < draws; ++k) {
      sources.push_back(pictures.pyramids[b].pyramid());
      labels.push_back(b == 0 ? 0 : 2);
    }
  }
  model::Looking looking;
  looking.draw = true;
  looking.noise.seed = 4;
  looking.deviation = 0.1;
  looking.kl_of_draw = draws > 1;
  const model::BasicSaccaderLoss<O> loss{objective, 0.7, 0.5};
  GradientCheck check{Parameters<double>(saccader.layout(), 3)};
  check.most_elements = 12;
  check.step = 1e-3;
  return fovea_test::noted(check.run([&](auto& context, auto) {
    const auto rows = static_cast<Index>(sources.size());
    const auto proxies = context.constant(Shape{rows, o.proxy[0], o.proxy[1], 1});
    for (Index b = 0; b < rows; ++b) proxy(sources[static_cast<std::size_t>(b)], proxies.template mutable_values<4>()[b]);
    const auto path = saccader.forward(context, proxies, std::span<const PyramidView<float>>(sources), looking);
    return saccader.loss(context, path, labels, loss);
  }));
}

void small(const GradientReport& report) {
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.checked > 150);
  CHECK(report.worst <= 1e-6);
  CHECK(report.forward_gap <= 1e-12);
}

}  // namespace

TEST_CASE("saccader: the gradient of its whole loss with the objective product") {
  small(check_saccader(bound::Product{0.1, 0.5}, 1));
}
TEST_CASE("saccader: the gradient of its whole loss with the objective log_sum") {
  small(check_saccader(bound::LogSum{0.1, 0.5}, 1));
}
TEST_CASE("saccader: the gradient of its whole loss with the bound of three draws") {
  small(check_saccader(bound::ImportanceWeighted{3, {1, 0.1, 0.5}}, 3));
}
TEST_CASE("saccader: the gradient of its whole loss with an objective of the user's") {
  small(check_saccader([](auto& context, const auto& terms) { return bound::Sum{1, 0, 0}(context, terms); }, 1));
}
