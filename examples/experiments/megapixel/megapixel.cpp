// SPDX-License-Identifier: MIT
#include "megapixel.hpp"

#include "../support/digit_files.hpp"
#include <fovea/data/shuffle.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace experiments {

namespace {

using fovea::data::MegapixelDigits;

struct MegapixelImage : Sample {
  explicit MegapixelImage(Extents<2> extent) : pixels({extent[0], extent[1], 1}) {
    std::fill_n(pixels.data(), pixels.size(), std::uint8_t{0});
  }
  fovea::Tensor<std::uint8_t, 3> pixels;
  fovea::Pyramid<std::uint8_t> pyramid;
  fovea::data::MegapixelSample drawn;
};

/// Of the published low resolution: 0.12 of the image.
Facts facts_of(const MegapixelOptions& o) {
  Facts facts;
  facts.experiment = "megapixel";
  facts.variant = o.variant;
  facts.question = "which digit is in the majority";
  facts.image = {o.side, o.side};
  facts.proxy = {o.side * 12 / 100, o.side * 12 / 100};
  facts.train_images = 5000;
  facts.test_images = 1000;
  return facts;
}

std::array<MegapixelDigits, 3> sets(const MegapixelOptions& o, const Facts& facts, const fovea::data::DigitSet& train,
                                    const fovea::data::DigitSet& test) {
  const auto of = [&](Set set) {
    fovea::data::MegapixelDigitsOptions options;
    options.width = options.height = o.side;
    options.noise_after = o.noise_after;
    options.images = set == Set::train ? facts.train_images : facts.test_images;
    const auto seed = std::uint64_t{1} + (static_cast<std::uint64_t>(set) << 32);
    return MegapixelDigits(set == Set::train ? train : test, options, seed);
  };
  return {of(Set::train), of(Set::held_out), of(Set::test)};
}

}  // namespace

Megapixel::Megapixel(const MegapixelOptions& options, const TaskOptions& from)
    : Task(facts_of(options)),
      train_digits_(load_digits(from, fovea::data::Split::train)),
      test_digits_(load_digits(from, fovea::data::Split::test)),
      sets_(sets(options, facts_, train_digits_, test_digits_)) {
  facts_.classes = sets_[0].classes();
}

std::unique_ptr<Sample> Megapixel::make_sample() const { return std::make_unique<MegapixelImage>(facts_.image); }

void Megapixel::fill(Sample& sample, Set set, std::uint64_t number) const {
  auto& s = static_cast<MegapixelImage&>(sample);
  const MegapixelDigits& digits = sets_[static_cast<std::size_t>(set)];
  if (set == Set::train) {  // in another order each epoch
    const auto n = static_cast<std::uint64_t>(facts_.train_images);
    number = static_cast<std::uint64_t>(
        fovea::data::Shuffle(facts_.train_images, digits.seed(), number / n)[static_cast<Index>(number % n)]);
  }
  MegapixelDigits::erase(s.drawn, s.pixels.view());
  s.drawn = digits.draw(number, s.pixels.view());
  s.pyramid.assign(std::as_const(s.pixels).view());
  s.image = s.pyramid;
  s.label = s.drawn.label;
  s.objects.clear();
  for (Index d = 0; d < s.drawn.count; ++d) {
    const auto& b = s.drawn.boxes[static_cast<std::size_t>(d)];
    const auto at = [](Index pixel) { return static_cast<double>(pixel); };
    s.objects.push_back({at(b.x), at(b.y), at(b.x + b.width), at(b.y + b.height)});
  }
}

fovea::Tensor<std::uint8_t, 3> Megapixel::whole(std::uint64_t number) const {
  fovea::Tensor<std::uint8_t, 3> image({facts_.image[0], facts_.image[1], 1});
  (void)sets_[static_cast<std::size_t>(Set::test)].generate(number, image.view());
  return image;
}

}  // namespace experiments
