// SPDX-License-Identifier: MIT
/// \file
/// Megapixel digits: a few digits on a very large black image, most of them of one class, among scribbles.
///
/// The task "megapixel MNIST" of A. Katharopoulos, F. Fleuret, "Processing megapixel images with deep attention-sampling
/// models", ICML 2019 (ATS), made by the rules of github.com/idiap/attention-sampling, scripts/make_mnist.py (written anew):
///   1. the image is black; a class is drawn uniformly; three digits of it and two of any other classes are drawn uniformly
///      from the set;
///   2. each digit lies at a uniform place, drawn again while it overlaps an earlier one;
///   3. a data set has 50 scribbles of the size of a digit. Each is two straight lines from a corner, at an angle uniform in
///      [0, pi / 2.5); the second is the first line of another scribble, in an order shuffled once, mirrored left to right
///      by two coins of 0.33 each. Every pixel of a line has a brightness of its own, uniform in (0.8, 1);
///   4. 50 times a uniformly drawn scribble is written at a uniform place, at least the side of a digit from each edge;
///   5. all are written as whole squares, black included: what comes later hides what came before. Here scribbles come last,
///      as in ATS; B. Bergner, C. Lippert, A. Mahendran, "Iterative patch selection for high-resolution image recognition",
///      ICLR 2023 (IPS) writes the digits last. The labels `max`, `top` and `multi` are IPS's.
/// Differences: places of digits are uniform over whole pixels, where rounding gives the outermost half the chance in the
/// reference; a digit that finds no room has all of them placed anew, where the reference searches for ever; random
/// numbers are this library's, so the images are others of the same distribution.
///
/// A sample is a pure function of (options, set, seed, number of the sample): any thread may make any sample at any time.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/cluttered_digits.hpp>
#include <fovea/data/idx.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numbers>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace data {

inline constexpr std::size_t kMaxMegapixelDigits = 16;
inline constexpr std::size_t kMaxMegapixelNoise = 512;

struct MegapixelDigitsOptions {
  Index width = 1500;       ///< of the image, in pixels
  Index height = 1500;      ///< of the image, in pixels
  Index majority = 3;       ///< digits of the class that is the label, more than `others`
  Index others = 2;         ///< digits of other classes, 0 or more
  Index noise = 50;         ///< scribbles in an image, 0 to kMaxMegapixelNoise
  Index patterns = 50;      ///< different scribbles in the data set, 1 or more
  Index images = 0;         ///< samples in the data set, after which they repeat (ATS: 5000 and 1000); 0: endless
  bool noise_after = true;  ///< true: scribbles may hide digits (ATS); false: digits hide scribbles (IPS)
};

/// What is on an image. Entries beyond `count` and `noise_count` are zero.
struct MegapixelSample {
  int label = 0;            ///< the class that most digits have
  int max = 0;              ///< the largest class that occurs
  int top = 0;              ///< the class of the topmost digit; of several in one row, of the one drawn first
  std::uint64_t multi = 0;  ///< bit k is set where class k occurs
  Index count = 0;
  std::array<int, kMaxMegapixelDigits> digits{};     ///< the class of each digit, those of the majority first
  std::array<Index, kMaxMegapixelDigits> sources{};  ///< which picture of the set each digit is
  std::array<Box, kMaxMegapixelDigits> boxes{};      ///< where each digit's picture lies on the image, in pixels
  Index noise_count = 0;
  std::array<Box, kMaxMegapixelNoise> noise{};  ///< where each scribble lies, in the order of writing
  friend constexpr bool operator==(const MegapixelSample&, const MegapixelSample&) = default;
};

/// The generator. Holds no image and no state that changes: `generate` and `draw` are const, may be called by any number of
/// threads at once, and use no heap. The set must outlive it.
///
/// To make an image of 1500 x 1500 black costs more than to write 55 small pictures, and the more the larger the image. Who
/// makes many samples in one buffer therefore erases only what the last one drew:
///
///     Tensor<std::uint8_t, 3> image({1500, 1500, 1});  // black
///     MegapixelSample sample;                          // nothing drawn
///     for (std::uint64_t i = 0;; ++i) {
///       MegapixelDigits::erase(sample, image);
///       sample = generator.draw(i, image);
///     }
class MegapixelDigits {
 public:
  /// `seed` names the data set, its scribbles and its samples. Training and test want different seeds as well as different
  /// sets. Throws Error where the options contradict themselves or the set, or the digits have not room enough.
  MegapixelDigits(const DigitSet& set, const MegapixelDigitsOptions& options, std::uint64_t seed)
      : set_(&set), options_(options), seed_(seed) {
    constexpr Index most = 1 << 20;
    const auto& o = options_;
    check_digits(set, "MegapixelDigits");
    require(set.size() < (Index{1} << 32), "MegapixelDigits: fewer than 2^32 digits expected, ", set.size(), " came");
    require(set.classes <= 64, "MegapixelDigits: 1 to 64 classes expected, ", set.classes, " came");
    require(o.width >= 1 && o.width <= most && o.height >= 1 && o.height <= most, "MegapixelDigits: an image of 1 to ", most,
            " pixels a side expected, ", o.height, " x ", o.width, " came");
    require(o.height >= set.height() && o.width >= set.width(), "MegapixelDigits: an image with room for digits of ",
            set.height(), " x ", set.width(), " expected, one of ", o.height, " x ", o.width, " came");
    constexpr auto most_digits = static_cast<Index>(kMaxMegapixelDigits);
    require(o.majority >= 1 && o.others >= 0 && o.majority <= most_digits && o.others <= most_digits - o.majority,
            "MegapixelDigits: 1 to ", most_digits, " digits expected, at least one of them of the majority, ", o.majority,
            " and ", o.others, " others came");
    require(o.others < o.majority, "MegapixelDigits: fewer other digits than the majority's ", o.majority, " expected, ",
            o.others, " came");
    require(o.others == 0 || set.classes >= 2, "MegapixelDigits: 2 or more classes expected where there are other digits, ",
            set.classes, " came");
    constexpr auto most_noise = static_cast<Index>(kMaxMegapixelNoise);
    require(o.noise >= 0 && o.noise <= most_noise, "MegapixelDigits: 0 to ", most_noise, " scribbles an image expected, ",
            o.noise, " came");
    require(o.patterns >= 1 && o.patterns <= most, "MegapixelDigits: 1 to ", most, " different scribbles expected, ",
            o.patterns, " came");
    require(o.noise == 0 || (o.height > 2 * set.height() && o.width > 2 * set.width()),
            "MegapixelDigits: an image larger than ", 2 * set.height(), " x ", 2 * set.width(),
            " expected where there are scribbles, one of ", o.height, " x ", o.width, " came");
    require(o.images >= 0, "MegapixelDigits: 0 (endless) or more images expected, ", o.images, " came");
    sort_by_class();
    check_room();
    if (o.noise > 0) scribble();
  }
  MegapixelDigits(DigitSet&&, const MegapixelDigitsOptions&, std::uint64_t) = delete;

  [[nodiscard]] const MegapixelDigitsOptions& options() const noexcept { return options_; }
  [[nodiscard]] const DigitSet& set() const noexcept { return *set_; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
  /// The number of different labels, which is that of the set.
  [[nodiscard]] int classes() const noexcept { return set_->classes; }
  /// The scribbles of this data set: patterns x height x width of a digit; empty where the options ask for no noise.
  [[nodiscard]] View<const std::uint8_t, 3> patterns() const noexcept { return patterns_.view(); }

  /// Makes sample number `sample` (modulo `images`, where that is not 0) on `image` (height x width x 1, any strides,
  /// overwritten). The digits and their places do not depend on the noise asked for. Throws Error on an image of another
  /// shape.
  MegapixelSample generate(std::uint64_t sample, View<std::uint8_t, 3> image) const {
    check_image(image);
    fill_black(image, {0, 0, options_.width, options_.height});
    return draw(sample, image);
  }

  /// The same on an image that is black already, which is not checked.
  MegapixelSample draw(std::uint64_t sample, View<std::uint8_t, 3> image) const {
    check_image(image);
    if (options_.images > 0) sample %= static_cast<std::uint64_t>(options_.images);
    MegapixelSample made;
    draw_digits(sample, made);
    if (!options_.noise_after) write_noise(sample, made, image);
    for (std::size_t d = 0; d < static_cast<std::size_t>(made.count); ++d) {
      write(set_->images.view()[made.sources[d]], made.boxes[d], image);
    }
    if (options_.noise_after) write_noise(sample, made, image);
    return made;
  }

  /// Makes black what `sample` lists. After draw() on a black image it is black again. Throws Error, before anything is
  /// written, where a box lies outside of the image.
  static void erase(const MegapixelSample& sample, View<std::uint8_t, 3> image) {
    require(image.extent(2) == 1, "MegapixelDigits: an image of one channel expected, ", image.extent(2), " came");
    require(sample.count >= 0 && sample.count <= static_cast<Index>(kMaxMegapixelDigits) && sample.noise_count >= 0 &&
                sample.noise_count <= static_cast<Index>(kMaxMegapixelNoise),
            "MegapixelDigits: a sample of at most ", kMaxMegapixelDigits, " digits and ", kMaxMegapixelNoise,
            " scribbles expected, ", sample.count, " and ", sample.noise_count, " came");
    const auto each = [&sample](const auto& action) {
      std::for_each_n(sample.boxes.begin(), sample.count, action);
      std::for_each_n(sample.noise.begin(), sample.noise_count, action);
    };
    each([image](const Box& box) {
      require(box.width >= 0 && box.height >= 0 && box.x >= 0 && box.y >= 0 && box.x <= image.extent(1) - box.width &&
                  box.y <= image.extent(0) - box.height,
              "MegapixelDigits: boxes inside the image of ", image.extent(0), " x ", image.extent(1), " expected, one at row ",
              box.y, ", column ", box.x, " of ", box.height, " x ", box.width, " came");
    });
    each([image](const Box& box) { fill_black(image, box); });
  }

 private:
  /// Random numbers of digits, of noise and of the patterns are kept apart by the step of their streams.
  enum Draws : std::uint64_t { kDigits, kNoise, kPatterns, kProbe };

  using Boxes = std::array<Box, kMaxMegapixelDigits>;

  [[nodiscard]] static Index draw_below(Stream& stream, Index n) noexcept {
    return static_cast<Index>(stream.below(static_cast<std::uint32_t>(n)));
  }

  static void fill_black(View<std::uint8_t, 3> image, const Box& box) noexcept {
    const Index step = image.stride(1);
    for (Index y = box.y; y < box.y + box.height; ++y) {
      std::uint8_t* row = image.data() + y * image.stride(0) + box.x * step;
      if (step == 1) {
        std::fill_n(row, box.width, std::uint8_t{0});
      } else {
        for (Index x = 0; x < box.width; ++x) row[x * step] = 0;
      }
    }
  }

  /// Writes a dense picture over what `box` covers.
  static void write(View<const std::uint8_t, 2> picture, const Box& box, View<std::uint8_t, 3> image) noexcept {
    const Index step = image.stride(1);
    for (Index y = 0; y < box.height; ++y) {
      const std::uint8_t* from = picture.data() + y * box.width;
      std::uint8_t* to = image.data() + (box.y + y) * image.stride(0) + box.x * step;
      if (step == 1) {
        std::copy_n(from, box.width, to);
      } else {
        for (Index x = 0; x < box.width; ++x) to[x * step] = from[x];
      }
    }
  }

  void check_image(View<std::uint8_t, 3> image) const {
    require(image.extents() == Extents<3>{options_.height, options_.width, 1}, "MegapixelDigits: an image of ", options_.height,
            " x ", options_.width, " x 1 expected, one of ", image.extent(0), " x ", image.extent(1), " x ", image.extent(2),
            " came");
  }

  /// Pictures by class: class k is by_class_[first_[k]] to by_class_[first_[k + 1]].
  void sort_by_class() {
    const auto classes = static_cast<std::size_t>(set_->classes);
    first_.assign(classes + 1, 0);
    for (const std::uint8_t label : set_->labels) ++first_[std::size_t{label} + 1];
    for (std::size_t k = 0; k < classes; ++k) {
      require(first_[k + 1] > 0, "MegapixelDigits: a picture of every class expected, there is none of class ", k);
      first_[k + 1] += first_[k];
    }
    std::vector<Index> next = first_;
    by_class_.resize(static_cast<std::size_t>(set_->size()));
    for (Index i = 0; i < set_->size(); ++i) by_class_[static_cast<std::size_t>(next[set_->labels.data()[i]]++)] = i;
  }

  /// Tries once to place all digits apart from each other; false where one finds no room.
  [[nodiscard]] bool try_layout(Stream& stream, Boxes& boxes) const noexcept {
    constexpr int tries = 256;
    const Index height = set_->height();
    const Index width = set_->width();
    const Index count = options_.majority + options_.others;
    for (Index d = 0; d < count; ++d) {
      const auto end = boxes.begin() + d;
      bool placed = false;
      for (int i = 0; i < tries && !placed; ++i) {
        *end = {0, draw_below(stream, options_.height - height + 1), width, height};
        end->x = draw_below(stream, options_.width - width + 1);
        placed = std::none_of(boxes.begin(), end, [&](const Box& earlier) {
          return std::abs(earlier.x - end->x) < width && std::abs(earlier.y - end->y) < height;
        });
      }
      if (!placed) return false;
    }
    return true;
  }

  static constexpr int kLayouts = 64;

  /// An image in which half of all layouts succeed fails kLayouts times in a row with a chance of 2^-64.
  void check_room() const {
    Stream stream(seed_, kProbe, 0, Purpose::generate);
    Boxes boxes{};
    int good = 0;
    for (int i = 0; i < kLayouts; ++i) good += try_layout(stream, boxes) ? 1 : 0;
    require(2 * good >= kLayouts, "MegapixelDigits: an image with room for ", options_.majority + options_.others,
            " digits of ", set_->height(), " x ", set_->width(), " apart from each other expected, one of ", options_.height,
            " x ", options_.width, " is too small");
  }

  void draw_digits(std::uint64_t sample, MegapixelSample& made) const {
    Stream stream(seed_, kDigits, sample, Purpose::generate);
    made.label = static_cast<int>(draw_below(stream, set_->classes));
    made.count = options_.majority + options_.others;
    const Index begin = first_[static_cast<std::size_t>(made.label)];
    const Index size = first_[static_cast<std::size_t>(made.label) + 1] - begin;
    for (std::size_t d = 0; d < static_cast<std::size_t>(made.count); ++d) {
      Index place = 0;
      if (d < static_cast<std::size_t>(options_.majority)) {
        place = begin + draw_below(stream, size);
      } else {  // any picture but those of the label's class
        place = draw_below(stream, set_->size() - size);
        if (place >= begin) place += size;
      }
      made.sources[d] = by_class_[static_cast<std::size_t>(place)];
      made.digits[d] = set_->labels.data()[made.sources[d]];
      made.max = std::max(made.max, made.digits[d]);
      made.multi |= std::uint64_t{1} << made.digits[d];
    }

    int layouts = 0;
    while (!try_layout(stream, made.boxes)) {
      require(++layouts < kLayouts, "MegapixelDigits: sample ", sample, ": no room for its digits after ", kLayouts,
              " layouts; a larger image expected");
    }
    const auto topmost = std::min_element(made.boxes.begin(), made.boxes.begin() + made.count,
                                          [](const Box& a, const Box& b) { return a.y < b.y; });
    made.top = made.digits[static_cast<std::size_t>(topmost - made.boxes.begin())];
  }

  void write_noise(std::uint64_t sample, MegapixelSample& made, View<std::uint8_t, 3> image) const {
    Stream stream(seed_, kNoise, sample, Purpose::generate);
    const Index height = set_->height();
    const Index width = set_->width();
    made.noise_count = options_.noise;
    for (std::size_t i = 0; i < static_cast<std::size_t>(made.noise_count); ++i) {
      const Index which = draw_below(stream, options_.patterns);
      const Index y = height + draw_below(stream, options_.height - 2 * height);
      const Index x = width + draw_below(stream, options_.width - 2 * width);
      made.noise[i] = {x, y, width, height};
      write(patterns()[which], made.noise[i], image);
    }
  }

  void scribble() {
    constexpr double mirrored = 0.33;
    const Index height = set_->height();
    const Index width = set_->width();
    const Index count = options_.patterns;
    Stream stream(seed_, kPatterns, 0, Purpose::generate);
    std::vector<double> slopes(static_cast<std::size_t>(count));  // columns a row
    for (double& slope : slopes) slope = std::tan(stream.uniform<double>() * std::numbers::pi / 2.5);
    std::vector<double> others = slopes;
    for (std::size_t i = others.size() - 1; i > 0; --i) {
      std::swap(others[i], others[stream.below(static_cast<std::uint32_t>(i + 1))]);
    }

    patterns_ = Tensor<std::uint8_t, 3>({count, height, width});
    const auto line = [&](Index pattern, double slope, bool mirror) {
      // Up to half a pixel beyond the centre of the last row or column, less a little, so that it rounds inwards.
      const double down = std::min(static_cast<double>(height) - 0.51, (static_cast<double>(width) - 0.51) / slope);
      const Index points = 2 * std::max(height, width);
      for (Index p = 0; p < points; ++p) {
        const double along = down * static_cast<double>(p) / static_cast<double>(points - 1);
        const auto y = static_cast<Index>(std::lround(along));
        const auto x = static_cast<Index>(std::lround(along * slope));
        patterns_(pattern, y, mirror ? width - 1 - x : x) = 255;
      }
    };
    for (Index i = 0; i < count; ++i) {
      line(i, slopes[static_cast<std::size_t>(i)], false);
      const bool once = stream.uniform<double>() < mirrored;
      const bool again = stream.uniform<double>() < mirrored;
      line(i, others[static_cast<std::size_t>(i)], once != again);
    }
    for (std::uint8_t& pixel : patterns_) {
      const double brightness = stream.uniform(0.8, 1.0);
      pixel = static_cast<std::uint8_t>(pixel * brightness);
    }
  }

  const DigitSet* set_;
  MegapixelDigitsOptions options_;
  std::uint64_t seed_;
  std::vector<Index> by_class_;
  std::vector<Index> first_;
  Tensor<std::uint8_t, 3> patterns_;
};

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
