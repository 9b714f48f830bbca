// SPDX-License-Identifier: MIT
/// \file
/// Changes to pictures that leave what they show as it is.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/idx.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace data {

/// Left becomes right, in place. `pixels` {height, width, channels}, any strides.
template <class P>
void flip_horizontally(const View<P, 3>& pixels) noexcept {
  for (Index y = 0; y < pixels.extent(0); ++y) {
    P* left = pixels.data() + y * pixels.stride(0);
    P* right = left + (pixels.extent(1) - 1) * pixels.stride(1);
    for (Index x = 0; x < pixels.extent(1) / 2; ++x, left += pixels.stride(1), right -= pixels.stride(1)) {
      for (Index c = 0; c < pixels.extent(2); ++c) std::swap(left[c * pixels.stride(2)], right[c * pixels.stride(2)]);
    }
  }
}

/// Another brightness and contrast, in place: v becomes ((v - 127.5) * a + 127.5) * b, rounded and clipped, with a uniform in
/// 1 +- contrast and b in 1 +- brightness, the same for all pixels. Draws twice from `stream`. Throws Error on
/// `brightness` or `contrast` outside of [0, 1].
inline void jitter(const View<std::uint8_t, 3>& pixels, Stream& stream, double brightness, double contrast) {
  require(brightness >= 0 && brightness <= 1 && contrast >= 0 && contrast <= 1,
          "jitter: a brightness and a contrast of 0 to 1 expected, ", brightness, " and ", contrast, " came");
  const double a = stream.uniform(1 - contrast, 1 + contrast);
  const double b = stream.uniform(1 - brightness, 1 + brightness);
  std::array<std::uint8_t, 256> becomes{};
  for (std::size_t v = 0; v < becomes.size(); ++v) {
    const double value = ((static_cast<double>(v) - 127.5) * a + 127.5) * b;
    becomes[v] = static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0, 255.0)));
  }
  for (Index y = 0; y < pixels.extent(0); ++y) {
    for (Index x = 0; x < pixels.extent(1); ++x) {
      for (Index c = 0; c < pixels.extent(2); ++c) pixels(y, x, c) = becomes[pixels(y, x, c)];
    }
  }
}

/// How far a digit may be from as it was written: each of the four uniform between the number and its negative.
struct DistortOptions {
  double rotation = 0.2;  ///< radians
  double zoom = 0.12;     ///< log of the factor of each axis
  double shear = 0.2;     ///< columns to a row
  double shift = 1;       ///< pixels, of each axis
};

/// The pictures of a set once as they are, then `copies` - 1 times each under an affine map of its own about its centre,
/// bilinear, black from beyond the edges: picture i of round r is picture r * size + i. The classic way to teach a small set of
/// digits to a network (P. Simard, D. Steinkraus, J. Platt, "Best practices for convolutional neural networks applied to visual
/// document analysis", ICDAR 2003), here without the elastic part. Throws Error on a set that check_digits() refuses, no
/// copies, or a negative option.
[[nodiscard]] inline DigitSet distorted(const DigitSet& digits, Index copies, std::uint64_t seed,
                                        const DistortOptions& options = {}) {
  check_digits(digits, "distorted");
  require(copies >= 1, "distorted: at least 1 copy expected, ", copies, " came");
  require(std::min({options.rotation, options.zoom, options.shear, options.shift}) >= 0,
          "distorted: options of at least 0 expected, ", options.rotation, ", ", options.zoom, ", ", options.shear, " and ",
          options.shift, " came");
  const Index size = digits.size();
  const Index height = digits.height();
  const Index width = digits.width();
  DigitSet out{Tensor<std::uint8_t, 3>({copies * size, height, width}), Tensor<std::uint8_t, 1>({copies * size}),
               digits.classes};
  std::copy_n(digits.images.data(), digits.images.size(), out.images.data());
  std::copy_n(digits.labels.data(), size, out.labels.data());
  const auto middle_y = static_cast<double>(height - 1) / 2;
  const auto middle_x = static_cast<double>(width - 1) / 2;
  for (Index i = size; i < copies * size; ++i) {
    Stream stream(seed, 0, static_cast<std::uint64_t>(i), Purpose::augment);
    const auto within = [&stream](double most) { return stream.uniform(-most, most); };
    const double angle = within(options.rotation);
    const double across = std::exp(within(options.zoom));
    const double down = std::exp(within(options.zoom));
    const double shear = within(options.shear);
    const double x0 = middle_x + within(options.shift);
    const double y0 = middle_y + within(options.shift);
    const std::uint8_t* from = digits.images.data() + i % size * height * width;
    std::uint8_t* to = out.images.data() + i * height * width;
    const auto pixel = [&](Index y, Index x) -> double {
      return y >= 0 && y < height && x >= 0 && x < width ? from[y * width + x] : 0;
    };
    for (Index y = 0; y < height; ++y) {
      for (Index x = 0; x < width; ++x) {
        const double u = (static_cast<double>(x) - x0) * across + shear * (static_cast<double>(y) - y0);
        const double v = (static_cast<double>(y) - y0) * down;
        const double at_x = middle_x + std::cos(angle) * u - std::sin(angle) * v;
        const double at_y = middle_y + std::sin(angle) * u + std::cos(angle) * v;
        const double left = std::floor(at_x);
        const double top = std::floor(at_y);
        const auto l = static_cast<Index>(left);
        const auto t = static_cast<Index>(top);
        const double right = at_x - left;
        const double below = at_y - top;
        const double value = (1 - below) * ((1 - right) * pixel(t, l) + right * pixel(t, l + 1)) +
                             below * ((1 - right) * pixel(t + 1, l) + right * pixel(t + 1, l + 1));
        to[y * width + x] = static_cast<std::uint8_t>(std::lround(value));
      }
    }
    out.labels.data()[i] = digits.labels.data()[i % size];
  }
  return out;
}

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
