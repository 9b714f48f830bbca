// SPDX-License-Identifier: MIT
// Multiply-adds of the products of a saccader, for one image.
#pragma once

#include <fovea/core/parameters.hpp>
#include <fovea/model/saccader.hpp>

#include <cstddef>
#include <string>

namespace bench {

/// Of a forward pass; `training`: with what only training wants, prior, decoder and evidence head. The default networks of a
/// saccader, or those of Saccader::reference(): of both, layer i halves the side i times, but in the default proxy network.
template <class Model>
double multiply_adds(const Model& model, bool training) {
  const fovea::model::SaccaderOptions& o = model.options();
  const auto steps = static_cast<double>(o.steps);
  double sum = 0;
  for (const auto& entry : model.layout().entries()) {
    const std::string name(entry.name);
    const fovea::Shape& shape = entry.parameter.shape;
    if (shape.rank() < 2) continue;
    const auto begins = [&](const char* with) { return name.starts_with(with); };
    double times = steps;
    if (begins("proxy_") || begins("initial_state")) times = 1;
    if (begins("cell")) times = steps - 1;
    if ((begins("prior") || begins("decoder") || begins("evidence_head")) && !training) times = 0;
    double positions = 1;
    if (shape.rank() == 4) {
      const std::size_t block = name.find(".block");
      const bool residual = block != std::string::npos;
      const int layer = name[residual ? block + 6 : name.find(".conv") + 5] - '0';
      fovea::Index side = residual ? 64 >> layer : o.glimpse[0] >> layer;
      if (begins("proxy_") && !residual) side = layer == 1 ? o.proxy[0] : o.proxy[0] / 2;
      positions = static_cast<double>(side * side);
    }
    sum += times * positions * static_cast<double>(shape.size());
  }
  return sum;
}

}  // namespace bench
