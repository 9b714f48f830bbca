// SPDX-License-Identifier: MIT
#include "digits.hpp"

#include "../support/digit_files.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/data/augment.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace experiments {

namespace {

constexpr Index kCanvas = 100;
// No test image has its digits where a training image of the same number has them.
constexpr std::uint64_t kSeeds[] = {1, std::uint64_t{1} << 32, std::uint64_t{2} << 32};

struct DigitsSample : Sample {
  fovea::Tensor<std::uint8_t, 3> pixels{{kCanvas, kCanvas, 1}};
  fovea::MagnifiedImage large;
  fovea::Arena scratch;
};

/// Each training digit as it was written, and slightly distorted: 60,000 are soon known by heart.
constexpr Index kCopies = 4;

fovea::data::ClutteredDigitsOptions options_of(const DigitsOptions& o) {
  fovea::data::ClutteredDigitsOptions options;
  options.canvas = kCanvas;
  options.digits = o.digits;
  options.distractors = o.distractors;
  options.label = o.label;
  return options;
}

Facts facts_of(const DigitsOptions& o) {
  Facts facts;
  facts.experiment = "digits";
  facts.variant = o.variant;
  facts.question = o.question;
  facts.channels = 1;
  facts.image = {o.image, o.image};
  facts.proxy = {o.proxy, o.proxy};
  facts.train_images = 60'000;
  facts.test_images = 10'000;
  return facts;
}

}  // namespace

Digits::Digits(const DigitsOptions& options, const TaskOptions& from)
    : Task(facts_of(options)),
      train_digits_(fovea::data::distorted(load_digits(from, fovea::data::Split::train), kCopies, kSeeds[0])),
      test_digits_(load_digits(from, fovea::data::Split::test)),
      train_(train_digits_, options_of(options), kSeeds[0]),
      held_out_(train_digits_, options_of(options), kSeeds[1]),
      test_(test_digits_, options_of(options), kSeeds[2]),
      magnifier_({kCanvas, kCanvas}, {options.image, options.image}, 1,
                 static_cast<int>(std::floor(std::log2(std::max(options.spacing, 1.0))))) {
  facts_.classes = train_.classes();
}

const fovea::data::ClutteredDigits& Digits::generator(Set set) const {
  return set == Set::train ? train_ : set == Set::held_out ? held_out_ : test_;
}

std::unique_ptr<Sample> Digits::make_sample() const { return std::make_unique<DigitsSample>(); }

void Digits::fill(Sample& sample, Set set, std::uint64_t number) const {
  auto& s = static_cast<DigitsSample&>(sample);
  const fovea::data::ClutteredSample made = generator(set).generate(number, s.pixels.view());
  s.label = made.label;
  s.large.assign(magnifier_, std::as_const(s.pixels).view(), s.scratch);
  s.image = s.large;
  s.canvas = Image(std::as_const(s.pixels).view());
  s.objects.clear();
  const double factor = static_cast<double>(magnifier_.extent()[0]) / static_cast<double>(kCanvas);
  for (Index d = 0; d < made.count; ++d) {
    const auto& box = made.boxes[static_cast<std::size_t>(d)];
    const auto at = [factor](Index pixel) { return factor * static_cast<double>(pixel); };
    s.objects.push_back({at(box.x), at(box.y), at(box.x + box.width), at(box.y + box.height)});
  }
}

fovea::Tensor<std::uint8_t, 3> Digits::whole(std::uint64_t number) const {
  fovea::Tensor<std::uint8_t, 3> canvas({kCanvas, kCanvas, 1});
  (void)test_.generate(number, canvas.view());
  fovea::Tensor<std::uint8_t, 3> image({magnifier_.extent()[0], magnifier_.extent()[1], 1});
  fovea::Arena scratch;
  magnifier_.materialise(std::as_const(canvas).view(), image.view(), scratch);
  return image;
}

}  // namespace experiments
