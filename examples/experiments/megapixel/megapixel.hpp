// SPDX-License-Identifier: MIT
/// \file
/// Megapixel MNIST, the benchmark of attention sampling: which digit is in the majority among five, among fifty scribbles.
#pragma once

#include "../support/program.hpp"
#include "../support/task.hpp"
#include <fovea/data/idx.hpp>
#include <fovea/data/megapixel_digits.hpp>

#include <array>
#include <memory>
#include <string>

namespace experiments {

struct MegapixelOptions {
  std::string variant;
  Index side = 1500;        ///< pixels on a side of an image
  bool noise_after = true;  ///< scribbles may hide digits, as attention sampling has it; or digits scribbles (IPS)
};

class Megapixel : public Task {
 public:
  Megapixel(const MegapixelOptions& options, const TaskOptions& from);

  [[nodiscard]] std::unique_ptr<Sample> make_sample() const override;
  void fill(Sample& sample, Set set, std::uint64_t number) const override;
  [[nodiscard]] fovea::Tensor<std::uint8_t, 3> whole(std::uint64_t number) const override;

 private:
  fovea::data::DigitSet train_digits_;
  fovea::data::DigitSet test_digits_;
  std::array<fovea::data::MegapixelDigits, 3> sets_;  ///< by Set
};

}  // namespace experiments
