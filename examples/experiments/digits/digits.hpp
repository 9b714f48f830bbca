// SPDX-License-Identifier: MIT
/// \file
/// One or two digits on a canvas of 100x100, seen at 2528x2528: the published synthetic experiment.
#pragma once

#include "../support/program.hpp"
#include "../support/task.hpp"
#include <fovea/data/cluttered_digits.hpp>
#include <fovea/data/idx.hpp>
#include <fovea/image/magnified.hpp>

#include <memory>

namespace experiments {

struct DigitsOptions {
  std::string variant;
  std::string question;
  Index digits = 1;
  Index distractors = 8;
  fovea::data::DigitsLabel label = fovea::data::DigitsLabel::combine;
  Index proxy = 25;    ///< pixels on a side
  Index image = 2528;  ///< the same
  double spacing = 8;  ///< pixels of the image between two samples of a glimpse, at least: levels below are not made
};

class Digits : public Task {
 public:
  Digits(const DigitsOptions& options, const TaskOptions& from);

  [[nodiscard]] std::unique_ptr<Sample> make_sample() const override;
  void fill(Sample& sample, Set set, std::uint64_t number) const override;
  [[nodiscard]] fovea::Tensor<std::uint8_t, 3> whole(std::uint64_t number) const override;

 private:
  [[nodiscard]] const fovea::data::ClutteredDigits& generator(Set set) const;

  fovea::data::DigitSet train_digits_;
  fovea::data::DigitSet test_digits_;
  fovea::data::ClutteredDigits train_;
  fovea::data::ClutteredDigits held_out_;
  fovea::data::ClutteredDigits test_;
  fovea::Magnifier magnifier_;
};

}  // namespace experiments
