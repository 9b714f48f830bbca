// SPDX-License-Identifier: MIT
// The layer of scaled_tanh.hpp, checked as every op of the library is, and put to use.
// smoke-test:
#include "scaled_tanh.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/fovea.hpp>

#include <cstdio>

int main() {
  fovea::ParameterLayout layout;
  const skeleton::ScaledTanh layer(layout, "scale", 5);

  // Its derivatives, by hand and by differences.
  fovea::GradientCheck check{fovea::Parameters<double>(layout, /*seed=*/1)};
  fovea::Stream stream(2);
  check.input({3, 5}, stream);
  const auto report = check.run([&](auto& context, auto in) { return layer(context, in[0]); });
  std::printf("worst relative error of a derivative: %.1e\n", report.worst);

  // A pass without a tape.
  const fovea::Parameters<float> weights(layout, 1);
  fovea::Arena memory;
  fovea::Inference<float> context(memory, weights.values());
  const float x[5] = {-2, -1, 0, 1, 2};
  const auto y = layer(context, context.constant(x, {1, 5}));
  for (const float value : {y.value[0], y.value[1], y.value[2], y.value[3], y.value[4]}) {
    std::printf("%.3f ", static_cast<double>(value));
  }
  std::printf("\n");
  return report.worst <= 1e-6 ? 0 : 1;
}
