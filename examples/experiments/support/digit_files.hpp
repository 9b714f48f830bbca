// SPDX-License-Identifier: MIT
/// \file
/// The handwritten digits that experiments draw their images from.
#pragma once

#include "../../support/builtin_digits.hpp"
#include "program.hpp"
#include <fovea/data/idx.hpp>

namespace experiments {

/// MNIST where bootstrap.sh puts it, or what is in TaskOptions::data; for a smoke run without files digits made on the spot.
[[nodiscard]] inline fovea::data::DigitSet load_digits(const TaskOptions& from, fovea::data::Split split) {
  if (from.smoke && from.data.empty()) {
    const bool train = split == fovea::data::Split::train;
    return support::make_builtin_digits(train ? 2000 : 500, train ? 1 : 2);
  }
  return fovea::data::load_digits(from.data.empty() ? "build/data/mnist" : from.data, split);
}

}  // namespace experiments
