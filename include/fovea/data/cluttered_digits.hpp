// SPDX-License-Identifier: MIT
/// \file
/// Cluttered digits: one or two digits somewhere on a larger canvas, among pieces of other digits.
///
/// The task of V. Mnih, N. Heess, A. Graves, K. Kavukcuoglu, "Recurrent models of visual attention", NIPS 2014, made by
/// the rules of github.com/google-deepmind/mnist-cluttered (written anew from its description):
///   1. the canvas is black;
///   2. each distractor is a square piece, taken at a uniform place of a uniformly drawn digit of the set, added at a
///   uniform
///      place of the canvas; values are clipped at full ink;
///   3. each digit comes from an order that visits every digit of the set once an epoch, and is added at a uniform
///   place,
///      wholly inside the canvas less its border; digits may overlap; values are clipped.
/// The reference works on [0, 1] and clips there; here it is uint8_t and 255, which is the same for 8-bit pictures.
///
/// A sample is a pure function of (options, set, seed, number of the sample): any thread may make any sample at any
/// time.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/idx.hpp>
#include <fovea/data/shuffle.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace data {

/// A rectangle of whole pixels: columns [x, x + width), rows [y, y + height).
struct Box {
  Index x = 0;
  Index y = 0;
  Index width = 0;
  Index height = 0;
  friend constexpr bool operator==(const Box&, const Box&) = default;
};

/// What the label of two digits is. With one digit either is its class.
enum class DigitsLabel {
  combine,  ///< which two, in any order: 55 classes for 10 digits, (0,0) (0,1) ... (0,9) (1,1) (1,2) ... (9,9)
  sum,      ///< their sum: 19 classes
};

struct ClutteredDigitsOptions {
  Index canvas = 100;         ///< height and width of the canvas in pixels
  Index digits = 1;           ///< 1 or 2
  Index distractors = 8;      ///< number of pieces of other digits, 0 or more
  Index distractor_size = 8;  ///< height and width of a piece in pixels
  Index border = 0;           ///< pixels at each edge of the canvas that no digit touches (distractors may)
  DigitsLabel label = DigitsLabel::combine;
};

inline constexpr std::size_t kMaxClutteredDigits = 2;

/// What is on a canvas. Entries beyond `count` are zero.
struct ClutteredSample {
  int label = 0;  ///< below ClutteredDigits::classes()
  Index count = 0;
  std::array<int, kMaxClutteredDigits> digits{};     ///< the class of each digit
  std::array<Index, kMaxClutteredDigits> sources{};  ///< which picture of the set each digit is
  std::array<Box, kMaxClutteredDigits> boxes{};      ///< where each digit's picture lies on the canvas, in pixels
  friend constexpr bool operator==(const ClutteredSample&, const ClutteredSample&) = default;
};

/// The label of two classes out of `classes`, in any order: see DigitsLabel::combine.
[[nodiscard]] constexpr int combined_label(int a, int b, int classes) noexcept {
  const int low = std::min(a, b);
  const int high = std::max(a, b);
  return low * classes - low * (low - 1) / 2 + (high - low);
}

/// The generator. Holds no canvas and no state: `generate` is const, may be called by any number of threads at once,
/// and uses no heap. The set must outlive it.
class ClutteredDigits {
 public:
  /// `seed` names an endless sequence of samples. Training and test want different seeds as well as different sets,
  /// lest sample i of both have its digit at the same place. Throws Error where the options contradict themselves or
  /// the set.
  ClutteredDigits(const DigitSet& set, const ClutteredDigitsOptions& options, std::uint64_t seed)
      : set_(&set), options_(options), seed_(seed) {
    constexpr Index most = 1 << 15;
    const auto& o = options_;
    check_digits(set, "ClutteredDigits");
    require(set.size() < (Index{1} << 32), "ClutteredDigits: fewer than 2^32 digits expected, ", set.size(), " came");
    require(o.digits == 1 || o.digits == 2, "ClutteredDigits: 1 or 2 digits expected, ", o.digits, " came");
    require(o.canvas >= 1 && o.canvas <= most, "ClutteredDigits: a canvas of 1 to ", most, " pixels expected, ", o.canvas,
            " came");
    require(o.border >= 0 && o.border < o.canvas, "ClutteredDigits: a border of 0 to ", o.canvas - 1, " pixels expected, ",
            o.border, " came");
    const Index room = o.canvas - 2 * o.border;
    require(room >= set.height() && room >= set.width(), "ClutteredDigits: a canvas with room for digits of ", set.height(),
            " x ", set.width(), " expected, within its border this one has ", room, " x ", room);
    require(o.distractors >= 0 && o.distractors <= most, "ClutteredDigits: 0 to ", most, " distractors expected, ",
            o.distractors, " came");
    const Index largest = std::min({o.canvas, set.height(), set.width()});
    require(o.distractors == 0 || (o.distractor_size >= 1 && o.distractor_size <= largest),
            "ClutteredDigits: distractors of 1 to ", largest, " pixels expected, ", o.distractor_size, " came");
  }
  ClutteredDigits(DigitSet&&, const ClutteredDigitsOptions&, std::uint64_t) = delete;

  [[nodiscard]] const ClutteredDigitsOptions& options() const noexcept { return options_; }
  [[nodiscard]] const DigitSet& set() const noexcept { return *set_; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

  /// The number of different labels: 10, 55 or 19 for sets of 10 classes.
  [[nodiscard]] int classes() const noexcept {
    const int n = set_->classes;
    if (options_.digits == 1) return n;
    return options_.label == DigitsLabel::combine ? n * (n + 1) / 2 : 2 * n - 1;
  }

  /// Makes sample number `sample` of the endless sequence on `canvas` (canvas x canvas x 1, any strides, overwritten).
  /// With one digit and a set of n, samples [k n, (k+1) n) show each digit of the set once; with two digits it is every
  /// n draws of a digit, as in the reference. Throws Error on a canvas of another shape.
  ClutteredSample generate(std::uint64_t sample, View<std::uint8_t, 3> canvas) const {
    const auto n = static_cast<std::uint64_t>(set_->size());
    const auto count = static_cast<std::uint64_t>(options_.digits);
    std::array<Index, kMaxClutteredDigits> which{};
    for (std::uint64_t d = 0; d < count; ++d) {
      const std::uint64_t draw = sample * count + d;
      which[d] = Shuffle(set_->size(), seed_, draw / n)[static_cast<Index>(draw % n)];
    }
    return place(which, Stream(seed_, 0, sample, Purpose::generate), canvas);
  }

  /// Makes a sample whose every choice comes from `stream`, the digits by uniform draws from the set. The seed is not
  /// used.
  ClutteredSample generate(Stream stream, View<std::uint8_t, 3> canvas) const {
    std::array<Index, kMaxClutteredDigits> which{};
    for (Index d = 0; d < options_.digits; ++d) which[static_cast<std::size_t>(d)] = draw_digit(stream);
    return place(which, stream, canvas);
  }

 private:
  [[nodiscard]] static Index draw_below(Stream& stream, Index n) noexcept {
    return static_cast<Index>(stream.below(static_cast<std::uint32_t>(n)));
  }
  [[nodiscard]] Index draw_digit(Stream& stream) const noexcept { return draw_below(stream, set_->size()); }

  /// Adds rows x columns bytes at `from` (rows of `from_stride`) to the canvas at (y, x), saturating.
  static void add(const std::uint8_t* from, Index from_stride, Index rows, Index columns, View<std::uint8_t, 3> canvas, Index y,
                  Index x) noexcept {
    const Index step = canvas.stride(1);
    for (Index row = 0; row < rows; ++row) {
      std::uint8_t* to = canvas.data() + (y + row) * canvas.stride(0) + x * step;
      const std::uint8_t* source = from + row * from_stride;
      for (Index column = 0; column < columns; ++column) {
        const int value = to[column * step] + source[column];
        to[column * step] = static_cast<std::uint8_t>(std::min(value, 255));
      }
    }
  }

  ClutteredSample place(const std::array<Index, kMaxClutteredDigits>& which, Stream stream,
                        View<std::uint8_t, 3> canvas) const {
    const Index size = options_.canvas;
    require(canvas.extents() == Extents<3>{size, size, 1}, "ClutteredDigits: a canvas of ", size, " x ", size,
            " x 1 expected, one of ", canvas.extent(0), " x ", canvas.extent(1), " x ", canvas.extent(2), " came");
    for (Index y = 0; y < size; ++y) {
      std::uint8_t* row = canvas.data() + y * canvas.stride(0);
      if (canvas.stride(1) == 1) {
        std::fill_n(row, size, std::uint8_t{0});
      } else {
        for (Index x = 0; x < size; ++x) row[x * canvas.stride(1)] = 0;
      }
    }

    const Index height = set_->height();
    const Index width = set_->width();
    const std::uint8_t* pictures = set_->images.data();
    const Index piece = options_.distractor_size;
    for (Index i = 0; i < options_.distractors; ++i) {
      const std::uint8_t* from = pictures + draw_digit(stream) * height * width;
      const Index y = draw_below(stream, size - piece + 1);
      const Index x = draw_below(stream, size - piece + 1);
      const Index source_y = draw_below(stream, height - piece + 1);
      const Index source_x = draw_below(stream, width - piece + 1);
      add(from + source_y * width + source_x, width, piece, piece, canvas, y, x);
    }

    ClutteredSample sample;
    sample.count = options_.digits;
    for (std::size_t d = 0; d < static_cast<std::size_t>(sample.count); ++d) {
      const Index y = options_.border + draw_below(stream, size - height + 1 - 2 * options_.border);
      const Index x = options_.border + draw_below(stream, size - width + 1 - 2 * options_.border);
      add(pictures + which[d] * height * width, width, height, width, canvas, y, x);
      sample.sources[d] = which[d];
      sample.digits[d] = set_->labels.data()[which[d]];
      sample.boxes[d] = {x, y, width, height};
    }
    sample.label = sample.digits[0];
    if (sample.count == 2) {
      sample.label = options_.label == DigitsLabel::sum ? sample.digits[0] + sample.digits[1]
                                                        : combined_label(sample.digits[0], sample.digits[1], set_->classes);
    }
    return sample;
  }

  const DigitSet* set_;
  ClutteredDigitsOptions options_;
  std::uint64_t seed_;
};

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
