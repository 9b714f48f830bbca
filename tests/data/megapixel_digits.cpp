// SPDX-License-Identifier: MIT
// The generator keeps the rules of idiap/attention-sampling, and is a pure function of its arguments.
#include "support/message_of.hpp"
#include <fovea/core/parallel.hpp>
#include <fovea/data/megapixel_digits.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace {

using fovea::Index;
using fovea::Stream;
using fovea::Tensor;
using fovea::View;
using fovea::data::Box;
using fovea::data::DigitSet;
using fovea::data::MegapixelDigits;
using fovea::data::MegapixelDigitsOptions;
using fovea::data::MegapixelSample;
using Image = Tensor<std::uint8_t, 3>;

/// `count` pictures of random pixels, some of them black; labels go round.
DigitSet make_set(Index count, Index height, Index width, int classes = 10) {
  DigitSet set;
  set.classes = classes;
  set.images = Tensor<std::uint8_t, 3>({count, height, width});
  set.labels = Tensor<std::uint8_t, 1>({count});
  Stream stream(1, 2, 3, fovea::Purpose::test);
  for (std::uint8_t& pixel : set.images)
    pixel = stream.below(4) == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(stream.below(256));
  for (Index i = 0; i < count; ++i) set.labels(i) = static_cast<std::uint8_t>(i % classes);
  return set;
}

bool shows(const Image& image, const Box& box, View<const std::uint8_t, 2> picture) {
  for (Index y = 0; y < box.height; ++y) {
    for (Index x = 0; x < box.width; ++x) {
      if (image(box.y + y, box.x + x, 0) != picture(y, x)) return false;
    }
  }
  return true;
}

bool overlap(const Box& a, const Box& b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

bool is_black(const Image& image) {
  return std::all_of(image.begin(), image.end(), [](std::uint8_t pixel) { return pixel == 0; });
}

bool is_uniform(const std::vector<double>& counts) {
  double total = 0;
  for (const double n : counts) total += n;
  const double expected = total / static_cast<double>(counts.size());
  double chi_squared = 0;
  for (const double n : counts) chi_squared += (n - expected) * (n - expected) / expected;
  const double freedom = static_cast<double>(counts.size()) - 1;
  return std::abs(chi_squared - freedom) < 5 * std::sqrt(2 * freedom);
}

std::string refusal(const DigitSet& set, const MegapixelDigitsOptions& options) {
  return fovea_test::message_of([&] { const MegapixelDigits made(set, options, 1); });
}

bool refused(const DigitSet& set, const MegapixelDigitsOptions& options, const std::string& why) {
  const std::string message = refusal(set, options);
  CAPTURE(message);
  const bool found = message.find(why) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("without noise an image holds its digits and nothing else") {
  const DigitSet set = make_set(60, 28, 20);
  const MegapixelDigits generator(set, {.width = 170, .height = 240, .noise = 0}, 5);
  CHECK(generator.patterns().empty());
  Image image({240, 170, 1});
  for (std::uint64_t i = 0; i < 100; ++i) {
    std::fill(image.begin(), image.end(), std::uint8_t{99});  // what was there before must not show through
    const MegapixelSample sample = generator.generate(i, image);
    REQUIRE(sample.count == 5);
    REQUIRE(sample.noise_count == 0);
    for (std::size_t a = 0; a < 5; ++a) {
      const Box& box = sample.boxes[a];
      REQUIRE(box.width == 20);
      REQUIRE(box.height == 28);
      REQUIRE(box.x >= 0);
      REQUIRE(box.y >= 0);
      REQUIRE(box.x + 20 <= 170);
      REQUIRE(box.y + 28 <= 240);
      REQUIRE(shows(image, box, set.images.view()[sample.sources[a]]));
      for (std::size_t b = 0; b < a; ++b) REQUIRE_FALSE(overlap(box, sample.boxes[b]));
    }
    REQUIRE(sample.boxes[5] == Box{});
    MegapixelDigits::erase(sample, image);
    REQUIRE(is_black(image));
  }
}

TEST_CASE("the labels: majority, largest, topmost, all that occur") {
  const DigitSet set = make_set(70, 4, 4);
  const MegapixelDigits generator(set, {.width = 60, .height = 50, .noise = 3}, 6);
  CHECK(generator.classes() == 10);
  Image image({50, 60, 1});
  std::vector<double> labels(10);
  std::vector<double> sources(70);
  std::vector<double> others(70);
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const MegapixelSample sample = generator.draw(i, image);
    std::vector<int> counts(10);
    int largest = 0;
    Index row = 50;
    int top = -1;
    for (std::size_t d = 0; d < 5; ++d) {
      REQUIRE(sample.digits[d] == set.labels(sample.sources[d]));
      ++counts[static_cast<std::size_t>(sample.digits[d])];
      largest = std::max(largest, sample.digits[d]);
      if (sample.boxes[d].y < row) {
        row = sample.boxes[d].y;
        top = sample.digits[d];
      }
      (d < 3 ? sources : others)[static_cast<std::size_t>(sample.sources[d])] += 1;
    }
    REQUIRE(counts[static_cast<std::size_t>(sample.label)] == 3);
    REQUIRE(sample.max == largest);
    REQUIRE(sample.top == top);
    for (std::size_t k = 0; k < 10; ++k) REQUIRE(((sample.multi >> k) & 1) == (counts[k] > 0 ? 1U : 0U));
    REQUIRE(sample.multi < 1024);
    labels[static_cast<std::size_t>(sample.label)] += 1;
  }
  CHECK(is_uniform(labels));
  CHECK(is_uniform(others));
  // Three pictures of one class come together, so their counts spread more than those of free draws: class by class.
  for (std::size_t k = 0; k < 10; ++k) {
    std::vector<double> of_class;
    for (std::size_t i = k; i < 70; i += 10) of_class.push_back(sources[i]);
    CHECK(is_uniform(of_class));
  }
}

TEST_CASE("places of digits and of noise are uniform, noise keeps away from the edge") {
  const DigitSet set = make_set(10, 2, 3);
  const MegapixelDigits generator(set, {.width = 16, .height = 13, .majority = 1, .others = 0, .noise = 1}, 7);
  Image image({13, 16, 1});
  std::vector<double> digits(12 * 14);
  std::vector<double> noise(9 * 10);
  for (std::uint64_t i = 0; i < 40000; ++i) {
    const MegapixelSample sample = generator.draw(i, image);
    digits.at(static_cast<std::size_t>(sample.boxes[0].y * 14 + sample.boxes[0].x)) += 1;
    const Box& box = sample.noise[0];
    REQUIRE(box.y >= 2);
    REQUIRE(box.x >= 3);
    REQUIRE(box.y + 2 <= 13);
    REQUIRE(box.x + 3 <= 16);
    noise.at(static_cast<std::size_t>((box.y - 2) * 10 + box.x - 3)) += 1;
  }
  CHECK(is_uniform(digits));
  CHECK(is_uniform(noise));
}

TEST_CASE("scribbles are two lines of bright pixels, the same for a whole data set and others for another") {
  const DigitSet set = make_set(20, 28, 28);
  const MegapixelDigits generator(set, {.width = 300, .height = 300}, 8);
  const auto patterns = generator.patterns();
  REQUIRE(patterns.extents() == fovea::Extents<3>{50, 28, 28});
  double bright = 0;
  double count = 0;
  for (Index i = 0; i < 50; ++i) {
    REQUIRE(patterns(i, 0, 0) > 0);  // the first line begins there
    for (Index y = 0; y < 28; ++y) {
      Index lit = 0;
      for (Index x = 0; x < 28; ++x) {
        const int value = patterns(i, y, x);
        REQUIRE((value == 0 || (value >= 204 && value < 255)));
        lit += value > 0;
        bright += value;
        count += value > 0;
      }
      REQUIRE(lit <= 10);  // a row holds at most tan(pi / 2.5) = 3.08 columns of a line, rounded, and a pixel to spare
    }
  }
  CHECK(bright / count == doctest::Approx(0.9 * 255 - 0.5).epsilon(0.01));
  CHECK(count / 50 > 28);
  CHECK(count / 50 < 112);
  // Mirrored where one coin of two says so: 2 * 0.33 * 0.67 of 2000 are 884, give or take 22.
  const MegapixelDigits many(set, {.width = 300, .height = 300, .patterns = 2000}, 8);
  int mirrored = 0;
  for (Index i = 0; i < 2000; ++i) mirrored += many.patterns()(i, 0, 27) > 0 ? 1 : 0;
  CHECK(mirrored > 784);
  CHECK(mirrored < 984);
  const MegapixelDigits again(set, {.width = 400, .height = 300}, 8);
  CHECK(std::equal(patterns.data(), patterns.data() + patterns.size(), again.patterns().data()));
  const MegapixelDigits other(set, {.width = 300, .height = 300}, 9);
  CHECK_FALSE(std::equal(patterns.data(), patterns.data() + patterns.size(), other.patterns().data()));
}

TEST_CASE("what is written last hides what lies below, and noise does not move the digits") {
  const DigitSet set = make_set(20, 12, 12);
  const MegapixelDigitsOptions ats{.width = 120, .height = 100};
  MegapixelDigitsOptions ips = ats;
  ips.noise_after = false;
  MegapixelDigitsOptions none = ats;
  none.noise = 0;
  const MegapixelDigits noise_last(set, ats, 10);
  const MegapixelDigits digits_last(set, ips, 10);
  const MegapixelDigits without(set, none, 10);
  Image image({100, 120, 1});
  const auto shows_scribble = [&](const Box& box) {
    for (Index p = 0; p < 50; ++p) {
      if (shows(image, box, noise_last.patterns()[p])) return true;
    }
    return false;
  };
  int hidden = 0;
  for (std::uint64_t i = 0; i < 40; ++i) {
    const MegapixelSample a = noise_last.generate(i, image);
    REQUIRE(a.noise_count == 50);
    REQUIRE(shows_scribble(a.noise[49]));
    for (std::size_t n = 0; n < 50; ++n) {
      const auto later = a.noise.begin() + static_cast<Index>(n) + 1;
      const bool free = std::none_of(later, a.noise.begin() + 50, [&](const Box& box) { return overlap(box, a.noise[n]); });
      REQUIRE((!free || shows_scribble(a.noise[n])));
    }
    for (std::size_t d = 0; d < 5; ++d) hidden += shows(image, a.boxes[d], set.images.view()[a.sources[d]]) ? 0 : 1;
    REQUIRE(digits_last.generate(i, image) == a);
    for (std::size_t d = 0; d < 5; ++d) REQUIRE(shows(image, a.boxes[d], set.images.view()[a.sources[d]]));
    const MegapixelSample b = without.generate(i, image);
    REQUIRE(b.boxes == a.boxes);
    REQUIRE(b.sources == a.sources);
  }
  CHECK(hidden > 100);
}

TEST_CASE("drawing and erasing in one buffer is generating, and leaves the rest alone") {
  const DigitSet set = make_set(20, 28, 28);
  const MegapixelDigits generator(set, {.width = 260, .height = 300}, 11);
  Image fresh({300, 260, 1});
  Image reused({300, 260, 1});
  MegapixelSample sample;
  for (std::uint64_t i = 0; i < 50; ++i) {
    MegapixelDigits::erase(sample, reused);
    REQUIRE(is_black(reused));
    sample = generator.draw(i, reused);
    REQUIRE_FALSE(is_black(reused));
    REQUIRE(sample == generator.generate(i, fresh));
    REQUIRE(std::equal(fresh.begin(), fresh.end(), reused.begin()));
  }
  std::fill(reused.begin(), reused.end(), std::uint8_t{7});
  MegapixelDigits::erase(sample, reused);
  bool only_boxes = true;
  for (Index y = 0; y < 300; ++y) {
    for (Index x = 0; x < 260; ++x) {
      const auto covers = [&](const Box& box) { return overlap(box, {x, y, 1, 1}); };
      const bool covered = std::any_of(sample.boxes.begin(), sample.boxes.begin() + 5, covers) ||
                           std::any_of(sample.noise.begin(), sample.noise.begin() + 50, covers);
      only_boxes = only_boxes && reused(y, x, 0) == (covered ? 0 : 7);
    }
  }
  CHECK(only_boxes);
}

TEST_CASE("a sample is named by its seed and number, whoever makes it, and a finite data set repeats") {
  const DigitSet set = make_set(100, 28, 28);
  const MegapixelDigitsOptions options{.width = 200, .height = 210};
  const MegapixelDigits generator(set, options, 12);
  constexpr Index samples = 32;
  const auto make = [&](int threads) {
    Tensor<std::uint8_t, 4> images({samples, 210, 200, 1});
    std::vector<MegapixelSample> made(samples);
    fovea::Workers workers(threads);
    workers.run(samples, [&](Index i, int) {
      const Index sample = samples - 1 - i;
      made[static_cast<std::size_t>(sample)] = generator.generate(static_cast<std::uint64_t>(sample), images.view()[sample]);
    });
    return std::pair(std::move(images), std::move(made));
  };
  const auto one = make(1);
  const auto three = make(3);
  CHECK(one.second == three.second);
  CHECK(std::equal(one.first.begin(), one.first.end(), three.first.begin()));

  Image image({210, 200, 1});
  const MegapixelSample first = generator.generate(0, image);
  CHECK(first == one.second[0]);
  CHECK_FALSE(first == one.second[1]);
  CHECK_FALSE(first == generator.generate(std::uint64_t{1} << 32, image));
  CHECK_FALSE(first == MegapixelDigits(set, options, 13).generate(0, image));

  MegapixelDigitsOptions finite = options;
  finite.images = 7;
  const MegapixelDigits epoch(set, finite, 12);
  for (std::uint64_t i = 0; i < 21; ++i) {
    REQUIRE(epoch.generate(i, image) == one.second[static_cast<std::size_t>(i % 7)]);
    REQUIRE(std::equal(image.begin(), image.end(), one.first.view()[static_cast<Index>(i % 7)].data()));
  }
}

TEST_CASE("any strides do") {
  const DigitSet set = make_set(10, 28, 28);
  const MegapixelDigits generator(set, {.width = 200, .height = 190}, 14);
  Image dense({190, 200, 1});
  (void)generator.generate(5, dense);
  // The second channel of three, in rows that are longer than the image.
  Image wide({190, 204, 3});
  std::fill(wide.begin(), wide.end(), std::uint8_t{7});
  const View<std::uint8_t, 3> channel(wide.data() + 1, {190, 200, 1}, {204 * 3, 3, 1});
  const MegapixelSample sample = generator.generate(5, channel);
  const auto check = [&] {
    bool same = true;
    bool untouched = true;
    for (Index y = 0; y < 190; ++y) {
      for (Index x = 0; x < 204; ++x) {
        if (x < 200) same = same && wide(y, x, 1) == dense(y, x, 0);
        untouched = untouched && wide(y, x, 0) == 7 && wide(y, x, 2) == 7 && (x < 200 || wide(y, x, 1) == 7);
      }
    }
    CHECK(same);
    CHECK(untouched);
  };
  check();
  MegapixelDigits::erase(sample, channel);
  dense = Image({190, 200, 1});
  check();
}

TEST_CASE("options that contradict themselves or the set are refused") {
  const DigitSet set = make_set(20, 28, 20);
  CHECK(refusal(set, {}).empty());
  CHECK(refusal(set, {.width = 300, .height = 200, .majority = 9, .others = 7, .noise = 512}).empty());
  CHECK(refused(set, {.width = 0}, "1500 x 0 came"));
  CHECK(refused(set, {.height = Index{1} << 40}, "an image of 1 to"));
  CHECK(refused(set, {.width = 19}, "room for digits of 28 x 20"));
  CHECK(refused(set, {.majority = 0, .others = 0}, "at least one of them of the majority"));
  CHECK(refused(set, {.others = -1}, "3 and -1 others came"));
  CHECK(refused(set, {.majority = 10, .others = 7}, "1 to 16 digits"));
  CHECK(refused(set, {.majority = 2, .others = 2}, "fewer other digits"));
  CHECK(refused(set, {.noise = -1}, "0 to 512 scribbles"));
  CHECK(refused(set, {.noise = 513}, "0 to 512 scribbles"));
  CHECK(refused(set, {.patterns = 0}, "different scribbles expected, 0 came"));
  CHECK(refused(set, {.images = -1}, "0 (endless) or more"));
  CHECK(refused(set, {.width = 1500, .height = 56}, "an image larger than 56 x 40"));
  CHECK(refusal(set, {.width = 1500, .height = 57}).empty());
  // A row of 40 pixels holds two digits of 20, and three never.
  CHECK(refused(set, {.width = 40, .height = 28, .majority = 3, .others = 0, .noise = 0}, "28 x 40 is too small"));
  CHECK(refusal(set, {.width = 80, .height = 112, .noise = 0}).empty());

  CHECK(refused(DigitSet{}, {}, "at least one picture"));
  CHECK(refused(make_set(20, 8, 8, 1), {}, "2 or more classes"));
  CHECK(refusal(make_set(20, 8, 8, 1), {.others = 0}).empty());
  CHECK(refused(make_set(200, 8, 8, 65), {}, "1 to 64 classes"));
  CHECK(refused(make_set(9, 8, 8), {}, "none of class 9"));

  const MegapixelDigits generator(set, {.width = 300, .height = 200}, 1);
  Image image({200, 300, 1});
  Image turned({300, 200, 1});
  const auto message_of = fovea_test::message_of;
  const std::string shape = "an image of 200 x 300 x 1 expected, one of 300 x 200 x 1 came";
  CHECK(message_of([&] { (void)generator.generate(0, turned); }).find(shape) != std::string::npos);
  CHECK(message_of([&] { (void)generator.draw(0, turned); }).find(shape) != std::string::npos);
  MegapixelSample sample = generator.generate(0, image);
  sample.noise[49] = {281, 100, 20, 28};
  const Image before = image;
  CHECK(message_of([&] { MegapixelDigits::erase(sample, image); }).find("row 100, column 281") != std::string::npos);
  CHECK(std::equal(image.begin(), image.end(), before.begin()));
  sample.noise_count = 513;
  CHECK(message_of([&] { MegapixelDigits::erase(sample, image); }).find("513 came") != std::string::npos);
}
