// SPDX-License-Identifier: MIT
// The generator keeps the rules of google-deepmind/mnist-cluttered, and is a pure function of its arguments.
#include <fovea/core/parallel.hpp>
#include <fovea/data/cluttered_digits.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace {

using fovea::Error;
using fovea::Extents;
using fovea::Index;
using fovea::Stream;
using fovea::Tensor;
using fovea::View;
using fovea::data::Box;
using fovea::data::ClutteredDigits;
using fovea::data::ClutteredDigitsOptions;
using fovea::data::ClutteredSample;
using fovea::data::combined_label;
using fovea::data::DigitSet;
using fovea::data::DigitsLabel;

/// `count` pictures whose every pixel is `ink`, or where that is 0, is random and above 0; labels go round.
DigitSet make_set(Index count, Index height, Index width, std::uint8_t ink = 0) {
  DigitSet set;
  set.images = Tensor<std::uint8_t, 3>({count, height, width});
  set.labels = Tensor<std::uint8_t, 1>({count});
  Stream stream(1, 2, 3, fovea::Purpose::test);
  for (std::uint8_t& pixel : set.images) pixel = ink != 0 ? ink : static_cast<std::uint8_t>(1 + stream.below(255));
  for (Index i = 0; i < count; ++i) set.labels(i) = static_cast<std::uint8_t>(i % set.classes);
  return set;
}

Tensor<std::uint8_t, 3> make_canvas(Index size) { return Tensor<std::uint8_t, 3>({size, size, 1}); }

bool inside(const Box& box, Index y, Index x) {
  return x >= box.x && x < box.x + box.width && y >= box.y && y < box.y + box.height;
}

std::string refusal(const DigitSet& set, const ClutteredDigitsOptions& options) {
  try {
    const ClutteredDigits made(set, options, 1);
    return "accepted: " + std::to_string(made.classes());
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("without distractors a canvas holds the digit and nothing else") {
  const DigitSet set = make_set(30, 28, 20);
  for (const Index border : {0, 7}) {
    const ClutteredDigits generator(set, {.canvas = 60, .distractors = 0, .border = border}, 5);
    auto canvas = make_canvas(60);
    for (std::uint64_t i = 0; i < 200; ++i) {
      std::fill(canvas.begin(), canvas.end(), std::uint8_t{99});  // what was there before must not show through
      const ClutteredSample sample = generator.generate(i, canvas);
      REQUIRE(sample.count == 1);
      const Box& box = sample.boxes[0];
      REQUIRE(box.width == 20);
      REQUIRE(box.height == 28);
      REQUIRE(box.x >= border);
      REQUIRE(box.y >= border);
      REQUIRE(box.x + box.width <= 60 - border);
      REQUIRE(box.y + box.height <= 60 - border);
      REQUIRE(sample.label == set.labels(sample.sources[0]));
      REQUIRE(sample.boxes[1] == Box{});
      bool same = true;
      for (Index y = 0; y < 60; ++y) {
        for (Index x = 0; x < 60; ++x) {
          const int expected = inside(box, y, x) ? set.images(sample.sources[0], y - box.y, x - box.x) : 0;
          same = same && canvas(y, x, 0) == expected;
        }
      }
      REQUIRE(same);
    }
  }
}

TEST_CASE("two digits add and are clipped") {
  const DigitSet set = make_set(40, 9, 9);
  const ClutteredDigits generator(set, {.canvas = 12, .digits = 2, .distractors = 0}, 6);
  auto canvas = make_canvas(12);
  int clipped = 0;
  bool same = true;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const ClutteredSample sample = generator.generate(i, canvas);
    REQUIRE(sample.count == 2);
    for (Index y = 0; y < 12; ++y) {
      for (Index x = 0; x < 12; ++x) {
        int expected = 0;
        for (std::size_t d = 0; d < 2; ++d) {
          const Box& box = sample.boxes[d];
          if (inside(box, y, x)) expected += set.images(sample.sources[d], y - box.y, x - box.x);
        }
        clipped += expected > 255;
        same = same && canvas(y, x, 0) == std::min(expected, 255);
      }
    }
  }
  CHECK(same);
  CHECK(clipped > 1000);
}

TEST_CASE("the labels of one and of two digits") {
  CHECK(combined_label(0, 0, 10) == 0);
  CHECK(combined_label(0, 9, 10) == 9);
  CHECK(combined_label(9, 0, 10) == 9);
  CHECK(combined_label(1, 1, 10) == 10);
  CHECK(combined_label(9, 9, 10) == 54);
  std::vector<int> seen(55);
  for (int a = 0; a < 10; ++a) {
    for (int b = a; b < 10; ++b) ++seen[static_cast<std::size_t>(combined_label(a, b, 10))];
  }
  CHECK(seen == std::vector<int>(55, 1));

  const DigitSet set = make_set(50, 8, 8);
  auto canvas = make_canvas(100);
  const auto labels = [&](ClutteredDigitsOptions options) {
    const ClutteredDigits generator(set, options, 7);
    std::vector<int> counts(static_cast<std::size_t>(generator.classes()));
    for (std::uint64_t i = 0; i < 2000; ++i) {
      const ClutteredSample sample = generator.generate(i, canvas);
      if (options.digits == 2 && options.label == DigitsLabel::sum) {
        REQUIRE(sample.label == sample.digits[0] + sample.digits[1]);
      } else if (options.digits == 2) {
        REQUIRE(sample.label == combined_label(sample.digits[0], sample.digits[1], 10));
      }
      ++counts.at(static_cast<std::size_t>(sample.label));
    }
    return counts;
  };
  // A permutation of 50 pictures, five a class: exactly equal counts after whole epochs.
  CHECK(labels({.digits = 1}) == std::vector<int>(10, 200));
  const auto pairs = labels({.digits = 2, .label = DigitsLabel::combine});
  CHECK(pairs.size() == 55);
  CHECK(*std::min_element(pairs.begin(), pairs.end()) > 0);
  const auto sums = labels({.digits = 2, .label = DigitsLabel::sum});
  CHECK(sums.size() == 19);
  CHECK(sums[9] > sums[0]);
}

TEST_CASE("digits come by epoch, each once") {
  const DigitSet set = make_set(23, 6, 6);  // odd, so that two digits straddle the end of an epoch
  auto canvas = make_canvas(40);
  for (const Index digits : {1, 2}) {
    CAPTURE(digits);
    const ClutteredDigits generator(set, {.canvas = 40, .digits = digits, .distractor_size = 4}, 8);
    std::vector<Index> draws;
    for (std::uint64_t i = 0; i < 23 * 4; ++i) {
      const ClutteredSample sample = generator.generate(i, canvas);
      for (Index d = 0; d < digits; ++d) draws.push_back(sample.sources[static_cast<std::size_t>(d)]);
    }
    for (std::size_t first = 0; first + 23 <= draws.size(); first += 23) {
      std::vector<Index> epoch(draws.begin() + static_cast<Index>(first), draws.begin() + static_cast<Index>(first) + 23);
      if (first > 0) CHECK_FALSE(std::equal(epoch.begin(), epoch.end(), draws.begin()));
      std::sort(epoch.begin(), epoch.end());
      for (Index i = 0; i < 23; ++i) REQUIRE(epoch[static_cast<std::size_t>(i)] == i);
    }
  }
}

TEST_CASE("a sample is named by its seed and number, whoever makes it and in whatever order") {
  const DigitSet set = make_set(100, 28, 28);
  const ClutteredDigits generator(set, {}, 9);
  constexpr Index samples = 64;
  const auto make = [&](int threads) {
    Tensor<std::uint8_t, 4> canvases({samples, 100, 100, 1});
    std::vector<ClutteredSample> made(samples);
    fovea::Workers workers(threads);
    workers.run(samples, [&](Index i, int) {
      const Index sample = samples - 1 - i;
      made[static_cast<std::size_t>(sample)] = generator.generate(static_cast<std::uint64_t>(sample), canvases.view()[sample]);
    });
    return std::pair(canvases, made);
  };
  const auto one = make(1);
  const auto three = make(3);
  CHECK(one.second == three.second);
  CHECK(std::equal(one.first.begin(), one.first.end(), three.first.begin()));

  auto canvas = make_canvas(100);
  auto other = make_canvas(100);
  const auto differs = [&] { return !std::equal(canvas.begin(), canvas.end(), other.begin()); };
  (void)generator.generate(std::uint64_t{0}, canvas);
  (void)ClutteredDigits(set, {}, 10).generate(std::uint64_t{0}, other);
  CHECK(differs());
  (void)generator.generate(std::uint64_t{1} << 32, other);
  CHECK(differs());
  const ClutteredSample a = generator.generate(Stream(1, 2, 3), canvas);
  CHECK(a == generator.generate(Stream(1, 2, 3), other));
  CHECK_FALSE(differs());
  (void)generator.generate(Stream(1, 2, 4), other);
  CHECK(differs());
}

TEST_CASE("any strides do") {
  const DigitSet set = make_set(10, 28, 28);
  const ClutteredDigits generator(set, {.digits = 2}, 11);
  auto dense = make_canvas(100);
  (void)generator.generate(std::uint64_t{5}, dense);
  // The second channel of three, in rows that are longer than the canvas.
  Tensor<std::uint8_t, 3> wide({100, 104, 3});
  std::fill(wide.begin(), wide.end(), std::uint8_t{7});
  const View<std::uint8_t, 3> channel(wide.data() + 1, {100, 100, 1}, {104 * 3, 3, 1});
  (void)generator.generate(std::uint64_t{5}, channel);
  bool same = true;
  bool untouched = true;
  for (Index y = 0; y < 100; ++y) {
    for (Index x = 0; x < 104; ++x) {
      if (x < 100) same = same && wide(y, x, 1) == dense(y, x, 0);
      untouched = untouched && wide(y, x, 0) == 7 && wide(y, x, 2) == 7 && (x < 100 || wide(y, x, 1) == 7);
    }
  }
  CHECK(same);
  CHECK(untouched);
}

TEST_CASE("distractors lie everywhere equally often and come from every digit") {
  // Digit pictures of one pixel at full ink; a single distractor of one pixel: the canvas tells where it fell.
  DigitSet set = make_set(16, 1, 1);
  for (Index i = 0; i < 16; ++i) set.images(i, 0, 0) = static_cast<std::uint8_t>(10 + i);
  const ClutteredDigits generator(set, {.canvas = 10, .distractors = 1, .distractor_size = 1}, 12);
  auto canvas = make_canvas(10);
  std::vector<double> places(100);
  std::vector<double> digits(100);
  std::vector<double> sources(16);
  double made = 0;
  for (std::uint64_t i = 0; i < 40000; ++i) {
    const ClutteredSample sample = generator.generate(i, canvas);
    const Box& box = sample.boxes[0];
    digits[static_cast<std::size_t>(box.y * 10 + box.x)] += 1;
    for (Index p = 0; p < 100; ++p) {
      const std::uint8_t value = canvas.data()[p];
      if (value == 0 || p == box.y * 10 + box.x) continue;
      places[static_cast<std::size_t>(p)] += 1;
      sources.at(static_cast<std::size_t>(value - 10)) += 1;
      made += 1;
    }
  }
  CHECK(made == doctest::Approx(40000 * 0.99).epsilon(0.005));  // one in a hundred falls on the digit
  const auto is_uniform = [](const std::vector<double>& counts) {
    double total = 0;
    for (const double n : counts) total += n;
    const double expected = total / static_cast<double>(counts.size());
    double chi_squared = 0;
    for (const double n : counts) chi_squared += (n - expected) * (n - expected) / expected;
    const double freedom = static_cast<double>(counts.size()) - 1;
    return std::abs(chi_squared - freedom) < 5 * std::sqrt(2 * freedom);
  };
  CHECK(is_uniform(places));
  CHECK(is_uniform(digits));
  CHECK(is_uniform(sources));
}

TEST_CASE("distractors are whole pieces, as many as asked for") {
  // Ink of 1 in every pixel and digits of one pixel never clip here: the sum of the canvas counts the pieces.
  DigitSet set = make_set(12, 10, 10, 1);
  for (const Index count : {0, 1, 8, 20}) {
    const ClutteredDigits generator(set, {.canvas = 50, .distractors = count, .distractor_size = 4}, 13);
    auto canvas = make_canvas(50);
    for (std::uint64_t i = 0; i < 50; ++i) {
      (void)generator.generate(i, canvas);
      int sum = 0;
      for (const std::uint8_t pixel : canvas) sum += pixel;
      REQUIRE(sum == 100 + 16 * static_cast<int>(count));
    }
  }
  // Full ink saturates and does not wrap.
  set = make_set(12, 10, 10, 255);
  const ClutteredDigits generator(set, {.canvas = 12, .distractors = 30, .distractor_size = 10}, 14);
  auto canvas = make_canvas(12);
  (void)generator.generate(std::uint64_t{0}, canvas);
  for (Index y = 2; y < 10; ++y) {
    for (Index x = 2; x < 10; ++x) REQUIRE(canvas(y, x, 0) == 255);
  }
}

TEST_CASE("options that contradict themselves or the set are refused") {
  const DigitSet set = make_set(10, 28, 20);
  CHECK(refusal(set, {}) == "accepted: 10");
  CHECK(refusal(set, {.digits = 0}).find("1 or 2 digits") != std::string::npos);
  CHECK(refusal(set, {.digits = 3}).find("1 or 2 digits") != std::string::npos);
  CHECK(refusal(set, {.canvas = 27}).find("room for digits of 28 x 20") != std::string::npos);
  CHECK(refusal(set, {.canvas = 0}).find("a canvas of 1") != std::string::npos);
  CHECK(refusal(set, {.canvas = Index{1} << 40}).find("a canvas of 1") != std::string::npos);
  CHECK(refusal(set, {.border = -1}).find("a border") != std::string::npos);
  CHECK(refusal(set, {.border = 37}).find("has 26 x 26") != std::string::npos);
  CHECK(refusal(set, {.border = 36}) == "accepted: 10");
  CHECK(refusal(set, {.distractors = -1}).find("distractors expected") != std::string::npos);
  CHECK(refusal(set, {.distractor_size = 0}).find("1 to 20 pixels") != std::string::npos);
  CHECK(refusal(set, {.distractor_size = 21}).find("1 to 20 pixels") != std::string::npos);
  CHECK(refusal(set, {.distractors = 0, .distractor_size = 21}) == "accepted: 10");

  CHECK(refusal(DigitSet{}, {}).find("at least one picture") != std::string::npos);
  DigitSet fewer = set;
  fewer.labels = Tensor<std::uint8_t, 1>({9});
  CHECK(refusal(fewer, {}).find("as many labels") != std::string::npos);
  DigitSet beyond = set;
  beyond.labels(3) = 10;
  CHECK(refusal(beyond, {}).find("label 3 is 10") != std::string::npos);

  auto canvas = make_canvas(99);
  const ClutteredDigits generator(set, {}, 1);
  CHECK_THROWS_WITH_AS((void)generator.generate(std::uint64_t{0}, canvas), doctest::Contains("one of 99 x 99 x 1 came"), Error);
}
