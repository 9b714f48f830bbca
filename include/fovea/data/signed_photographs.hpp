// SPDX-License-Identifier: MIT
/// \file
/// Signed photographs: a window of a large photograph in which one flat sign stands, or none.
///
/// Stands in for two experiments whose data cannot be had: large photographs in J. Ramapuram et al., "Variational Saccading",
/// BMVC 2019 (MIT-Adobe FiveK), and speed limits in A. Katharopoulos, F. Fleuret, "Processing megapixel images with deep
/// attention-sampling models", ICML 2019 (Swedish traffic signs). The rules are this library's own:
///   1. the label is uniform over the classes of the signs and "none", the last one; the design is uniform among those of the
///      class; the photograph and the place of the window in it are uniform;
///   2. the sign's height, that of the upright rectangle around it, is uniform in its logarithm; it is turned about three axes
///      and seen by a pinhole camera; it lies at a uniform place, wholly inside;
///   3. it is drawn as a camera would see it: by averages of the design over the pixels, blurred a little by the lens, with
///      noise of the sensor;
///   4. its white and black follow the brightness and contrast of what surrounds it, a part of the colour cast too, and the
///      light falls off to one side.
///
/// A sample is a pure function of (options, extents of the photographs, signs, seed, number of the sample), its pixels of those
/// and of the photograph: any thread may make any sample at any time. What is drawn costs what its box costs (at half
/// resolution about 0.2 ms for a sign 64 pixels tall and 1 ms for 160), so that a scene is best copied from a photograph that
/// is kept at the scene's resolution, lower levels and all, and patched where draw() says it wrote.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/cluttered_digits.hpp>

#include <Eigen/Core>
#include <Eigen/Geometry>
#include <Eigen/LU>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace data {

struct SignedPhotographsOptions {
  Extents<2> scene = {3000, 4000};  ///< {height, width} of an image in pixels
  double shortest = 64;             ///< height of a sign in pixels, its margin included
  double tallest = 160;
  /// The places of windows are multiples of it: of the coarsest ratio at which photographs are kept, so that windows of their
  /// levels are levels of their windows.
  Index grid = 1;
  /// The share of signs whose colours are permuted and, every other time, inverted: where designs are few, so that nobody
  /// learns a number from the paint it comes in. For training.
  double repainted = 0;
};

/// A sign as designers draw it: {height, width, 4} of 8 bits a channel, not premultiplied; what is transparent on all of its
/// sides does not count for its height.
struct SignDesign {
  Tensor<std::uint8_t, 3> pixels;
  int label = 0;  ///< 0, 1, ...
};

/// What is in a scene. Lengths in pixels of the scene.
struct SignedPhotograph {
  int label = 0;  ///< below SignedPhotographs::classes()
  Index photograph = 0;
  Index top = 0;  ///< of the scene in the photograph
  Index left = 0;
  Index design = -1;  ///< -1, and what follows zero: no sign
  Box box{};          ///< the smallest of whole pixels that holds the sign
  double height = 0;  ///< of the sign

  // How draw() draws it.
  std::uint64_t number = 0;
  std::array<double, 9> to_design{};      ///< homography, row by row, from (x, y) of the scene to (x, y) of the design
  double blur = 0;                        ///< standard deviation of the lens' Gaussian
  double noise = 0;                       ///< standard deviation of the sensor's, in units of 1/255
  double white = 0;                       ///< how white a white sign is for its place
  double black = 0;                       ///< the part of white that black has
  std::array<double, 2> falling{};        ///< of the light, across and down: what is gained over the height of the sign
  std::array<std::uint8_t, 3> channel{};  ///< of the design, that each channel shows
  bool inverted = false;
  friend bool operator==(const SignedPhotograph&, const SignedPhotograph&) = default;
};

/// The generator. Holds the designs at falling resolutions, and no state that changes: all its functions are const and may be
/// called by any number of threads at once.
class SignedPhotographs {
 public:
  /// `photographs`: {height, width} of each, at the scene's resolution and at least of its size. `seed` names an endless
  /// sequence of samples. The signs are copied. Throws Error where the arguments contradict each other.
  SignedPhotographs(std::span<const Extents<2>> photographs, std::span<const SignDesign> signs,
                    const SignedPhotographsOptions& options, std::uint64_t seed)
      : photographs_(photographs.begin(), photographs.end()), options_(options), seed_(seed) {
    const auto& o = options_;
    constexpr Index most = Index{1} << 24;
    require(!photographs.empty() && !signs.empty() && photographs.size() < (1U << 31U) && signs.size() < (1U << 31U),
            "SignedPhotographs: at least one photograph and one sign expected");
    require(o.grid >= 1, "SignedPhotographs: a grid of at least 1 expected, ", o.grid, " came");
    require(o.shortest >= 4 && o.shortest <= o.tallest, "SignedPhotographs: signs of at least 4 pixels expected, ", o.shortest,
            " to ", o.tallest, " came");
    require(o.repainted >= 0 && o.repainted <= 1, "SignedPhotographs: a share of 0 to 1 expected, ", o.repainted, " came");
    for (const Extents<2>& extent : photographs_) {
      require(extent[0] >= o.scene[0] && extent[1] >= o.scene[1] && extent[0] <= most && extent[1] <= most,
              "SignedPhotographs: photographs of at least ", o.scene[0], " x ", o.scene[1], " pixels expected, one of ",
              extent[0], " x ", extent[1], " came");
    }
    for (const SignDesign& sign : signs) {
      require(sign.label >= 0 && sign.label < static_cast<int>(signs.size()),
              "SignedPhotographs: labels from 0 on without gaps expected, ", sign.label, " came");
      values_ = std::max(values_, sign.label + 1);
      designs_.push_back(levels_of(sign));
      // The widest that perspective can make it is below 1.5 times its width in front view; see pose().
      const double widest = 1.5 * o.tallest * std::max(1.0, aspect(designs_.back())) + 2 * kMargin;
      require(static_cast<double>(o.scene[0]) >= widest && static_cast<double>(o.scene[1]) >= widest,
              "SignedPhotographs: a scene of at least ", widest, " pixels a side expected, ", o.scene[0], " x ", o.scene[1],
              " came");
    }
    of_label_.resize(static_cast<std::size_t>(values_));
    for (std::size_t i = 0; i < signs.size(); ++i) {
      of_label_[static_cast<std::size_t>(signs[i].label)].push_back(static_cast<Index>(i));
    }
    for (std::size_t label = 0; label < of_label_.size(); ++label) {
      require(!of_label_[label].empty(), "SignedPhotographs: a sign of every label expected, there is none of ", label);
    }
  }

  [[nodiscard]] const SignedPhotographsOptions& options() const noexcept { return options_; }
  /// Those of the signs, and "none", which is the last.
  [[nodiscard]] int classes() const noexcept { return values_ + 1; }

  /// What is in sample number `number` of the endless sequence. Its sign is `enlarged` >= 1 times as tall as it would be: a
  /// training may begin with signs that are easier to meet and to read.
  [[nodiscard]] SignedPhotograph sample(std::uint64_t number, double enlarged = 1) const {
    require(enlarged >= 1 && enlarged * options_.tallest < static_cast<double>(options_.scene[0]) / 2,
            "SignedPhotographs: signs enlarged by at least 1, to less than half of the scene, expected, ", enlarged, " came");
    Stream stream(seed_, kScene, number, Purpose::generate);
    SignedPhotograph made;
    made.number = number;
    made.label = static_cast<int>(stream.below(static_cast<std::uint32_t>(classes())));
    made.photograph = draw_below(stream, static_cast<Index>(photographs_.size()));
    const Extents<2>& extent = photographs_[static_cast<std::size_t>(made.photograph)];
    made.top = options_.grid * draw_below(stream, (extent[0] - options_.scene[0]) / options_.grid + 1);
    made.left = options_.grid * draw_below(stream, (extent[1] - options_.scene[1]) / options_.grid + 1);
    if (made.label == values_) return made;

    const auto& designs = of_label_[static_cast<std::size_t>(made.label)];
    made.design = designs[stream.below(static_cast<std::uint32_t>(designs.size()))];
    made.height = enlarged * std::exp(stream.uniform(std::log(options_.shortest), std::log(options_.tallest)));
    pose(stream, made);
    made.blur = stream.uniform(0.3, 1.2);
    made.noise = stream.uniform(0.5, 3.0);
    made.white = stream.uniform(0.88, 1.06);
    made.black = stream.uniform(0.06, 0.2);
    made.falling = {stream.uniform(-0.12, 0.12), stream.uniform(-0.12, 0.12)};
    made.channel = {0, 1, 2};
    if (stream.uniform<double>() < options_.repainted) {
      for (std::uint32_t c = 2; c > 0; --c) std::swap(made.channel[c], made.channel[stream.below(c + 1)]);
      made.inverted = stream.below(2) == 1;
    }
    return made;
  }

  /// Draws the sign of `made`, which must come from sample(), into its scene, or into the scene at a lower resolution: a pixel
  /// of `scene` {height, width, 3} stands for `ratio` x `ratio` of it, and is dense in a row. Returns the pixels of `scene`
  /// that may have changed; empty without a sign. Throws Error on a scene of another size.
  Box draw(const SignedPhotograph& made, View<std::uint8_t, 3> scene, Index ratio = 1) const {
    require(ratio >= 1 && scene.extents() ==
                              Extents<3>{(options_.scene[0] + ratio - 1) / ratio, (options_.scene[1] + ratio - 1) / ratio, 3},
            "SignedPhotographs: a scene of ", options_.scene[0], " x ", options_.scene[1], " x 3, its sides divided by ", ratio,
            ", expected, ", scene.extent(0), " x ", scene.extent(1), " x ", scene.extent(2), " came");
    require(scene.stride(2) == 1 && scene.stride(1) == 3, "SignedPhotographs: a scene with dense rows expected");
    if (made.design < 0) return {};
    require(made.design < static_cast<Index>(designs_.size()), "SignedPhotographs: one of ", designs_.size(),
            " designs expected, number ", made.design, " came");
    const Box area = grown(made.box, kMargin, ratio, scene);
    const Light light = measure(made, grown(made.box, made.box.height / 2, ratio, scene), scene);
    std::vector<float> layer(static_cast<std::size_t>(area.width * area.height * 4));
    rasterise(made, area, ratio, layer.data());
    blur(made.blur / static_cast<double>(ratio), area, layer);
    blend(made, area, ratio, light, layer.data(), scene);
    return area;
  }

  /// Sample number `number` on `scene` {height, width, 3}, overwritten; `photographs` in the order of their extents, {height,
  /// width, 3} each, pixels dense.
  SignedPhotograph generate(std::uint64_t number, std::span<const View<const std::uint8_t, 3>> photographs,
                            View<std::uint8_t, 3> scene) const {
    const SignedPhotograph made = sample(number);
    require(photographs.size() == photographs_.size(), "SignedPhotographs: ", photographs_.size(), " photographs expected, ",
            photographs.size(), " came");
    const View<const std::uint8_t, 3>& from = photographs[static_cast<std::size_t>(made.photograph)];
    const Extents<2>& extent = photographs_[static_cast<std::size_t>(made.photograph)];
    require(from.extents() == Extents<3>{extent[0], extent[1], 3} && from.stride(2) == 1 && from.stride(1) == 3,
            "SignedPhotographs: photograph ", made.photograph, " of ", extent[0], " x ", extent[1], " x 3, dense, expected, ",
            from.extent(0), " x ", from.extent(1), " x ", from.extent(2), " came");
    require(
        scene.extents() == Extents<3>{options_.scene[0], options_.scene[1], 3} && scene.stride(2) == 1 && scene.stride(1) == 3,
        "SignedPhotographs: a scene of ", options_.scene[0], " x ", options_.scene[1], " x 3 with dense rows expected, ",
        scene.extent(0), " x ", scene.extent(1), " x ", scene.extent(2), " came");
    for (Index y = 0; y < scene.extent(0); ++y) {
      std::copy_n(&from(made.top + y, made.left, 0), scene.extent(1) * 3, &scene(y, 0, 0));
    }
    draw(made, scene);
    return made;
  }

 private:
  /// Random numbers of scenes and of noise are kept apart by the step of their streams; noise adds the ratio.
  enum Draws : std::uint64_t { kScene, kNoise };

  /// Room for the blur around a sign, in pixels of the scene.
  static constexpr Index kMargin = 5;
  /// Samples a pixel, down and across.
  static constexpr Index kSamples = 3;

  using Pixel = std::array<float, 4>;  ///< red, green, blue, all times alpha; alpha

  /// A design at one resolution, with a transparent pixel on every side.
  struct Level {
    Index height = 0;  ///< without these
    Index width = 0;
    std::vector<Pixel> pixels;

    Level(Index rows, Index columns)
        : height(rows), width(columns), pixels(static_cast<std::size_t>((rows + 2) * (columns + 2)), Pixel{}) {}
    [[nodiscard]] Pixel& at(Index y, Index x) { return pixels[static_cast<std::size_t>((y + 1) * (width + 2) + x + 1)]; }
    [[nodiscard]] const Pixel* row(Index y) const noexcept { return pixels.data() + (y + 1) * (width + 2) + 1; }
  };
  using Levels = std::vector<Level>;

  struct Light {
    std::array<double, 3> white{};
    std::array<double, 3> black{};
  };

  [[nodiscard]] static Index draw_below(Stream& stream, Index n) noexcept {
    return static_cast<Index>(stream.below(static_cast<std::uint32_t>(n)));
  }
  [[nodiscard]] static double aspect(const Levels& design) noexcept {
    return static_cast<double>(design[0].width) / static_cast<double>(design[0].height);
  }

  [[nodiscard]] static Levels levels_of(const SignDesign& sign) {
    const auto& p = sign.pixels;
    require(p.extent(2) == 4 && p.extent(0) >= 1 && p.extent(1) >= 1 && p.extent(0) <= 4096 && p.extent(1) <= 4096,
            "SignedPhotographs: signs of 1 to 4096 pixels a side and 4 channels expected, one of ", p.extent(0), " x ",
            p.extent(1), " x ", p.extent(2), " came");
    Index top = p.extent(0);
    Index bottom = 0;
    Index left = p.extent(1);
    Index right = 0;
    for (Index y = 0; y < p.extent(0); ++y) {
      for (Index x = 0; x < p.extent(1); ++x) {
        if (p(y, x, 3) < 128) continue;
        top = std::min(top, y);
        bottom = std::max(bottom, y + 1);
        left = std::min(left, x);
        right = std::max(right, x + 1);
      }
    }
    require(bottom > top && bottom - top <= 16 * (right - left) && right - left <= 16 * (bottom - top),
            "SignedPhotographs: signs with something to see, no side 16 times the other, expected");
    Levels levels;
    levels.emplace_back(bottom - top, right - left);
    for (Index y = top; y < bottom; ++y) {
      for (Index x = left; x < right; ++x) {
        const float alpha = static_cast<float>(p(y, x, 3)) / 255;
        Pixel& to = levels[0].at(y - top, x - left);
        for (Index c = 0; c < 3; ++c) to[static_cast<std::size_t>(c)] = static_cast<float>(p(y, x, c)) / 255 * alpha;
        to[3] = alpha;
      }
    }
    while (std::min(levels.back().height, levels.back().width) >= 4) {
      const Level& above = levels.back();
      Level below((above.height + 1) / 2, (above.width + 1) / 2);
      for (Index y = 0; y < above.height; ++y) {
        for (Index x = 0; x < above.width; ++x) {
          Pixel& to = below.at(y / 2, x / 2);
          for (std::size_t c = 0; c < 4; ++c) to[c] += above.row(y)[x][c] / 4;
        }
      }
      levels.push_back(std::move(below));
    }
    return levels;
  }

  /// Turns the sign, looks at it, and finds a place for what is seen.
  void pose(Stream& stream, SignedPhotograph& made) const {
    constexpr double degree = std::numbers::pi / 180;
    const Level& design = designs_[static_cast<std::size_t>(made.design)][0];
    const auto tall = static_cast<double>(design.height);
    const auto wide = static_cast<double>(design.width);
    const double yaw = stream.uniform(-35.0, 35.0) * degree;
    const double pitch = stream.uniform(-12.0, 12.0) * degree;
    const double roll = stream.uniform(-6.0, 6.0) * degree;
    const double distance = stream.uniform(5.0, 12.0);  // in heights of the sign
    const Eigen::Matrix3d turn =
        (Eigen::AngleAxisd(roll, Eigen::Vector3d::UnitZ()) * Eigen::AngleAxisd(yaw, Eigen::Vector3d::UnitY()) *
         Eigen::AngleAxisd(pitch, Eigen::Vector3d::UnitX()))
            .toRotationMatrix();
    Eigen::Matrix3d centred;  // pixels of the design to the plane of the sign
    centred << 1 / tall, 0, -wide / tall / 2, 0, 1 / tall, -0.5, 0, 0, 1;
    Eigen::Matrix3d seen;
    seen << turn.col(0), turn.col(1), Eigen::Vector3d(0, 0, distance);
    seen = (seen * centred).eval();
    Eigen::Array2d low = Eigen::Array2d::Constant(1e9);
    Eigen::Array2d high = -low;
    for (const double x : {0.0, wide}) {
      for (const double y : {0.0, tall}) {
        const Eigen::Array2d corner = (seen * Eigen::Vector3d(x, y, 1)).hnormalized().array();
        low = low.min(corner);
        high = high.max(corner);
      }
    }
    const double scale = made.height / (high[1] - low[1]);
    const double width = scale * (high[0] - low[0]);
    const double x = stream.uniform<double>(kMargin, static_cast<double>(options_.scene[1] - kMargin) - width);
    const double y = stream.uniform<double>(kMargin, static_cast<double>(options_.scene[0] - kMargin) - made.height);
    Eigen::Matrix3d placed;
    placed << scale, 0, x - scale * low[0], 0, scale, y - scale * low[1], 0, 0, 1;
    Eigen::Map<Eigen::Matrix<double, 3, 3, Eigen::RowMajor>>(made.to_design.data()) = (placed * seen).inverse();
    const auto left = static_cast<Index>(std::floor(x));
    const auto top = static_cast<Index>(std::floor(y));
    made.box = {left, top, static_cast<Index>(std::ceil(x + width)) - left,
                static_cast<Index>(std::ceil(y + made.height)) - top};
  }

  /// The box with `margin` pixels of the scene more on all sides, in pixels of `ratio`, as far as there are any.
  [[nodiscard]] static Box grown(const Box& box, Index margin, Index ratio, const View<std::uint8_t, 3>& scene) noexcept {
    const auto stretch = [&](Index begin, Index length, Index most) {
      const Index first = std::max(Index{0}, begin - margin) / ratio;
      return std::pair{first, std::min(most, (begin + length + margin + ratio - 1) / ratio) - first};
    };
    const auto [x, width] = stretch(box.x, box.width, scene.extent(1));
    const auto [y, height] = stretch(box.y, box.height, scene.extent(0));
    return {x, y, width, height};
  }

  /// White and black where the surroundings are as bright, as full of contrast and of that colour.
  [[nodiscard]] static Light measure(const SignedPhotograph& made, const Box& around, const View<std::uint8_t, 3>& scene) {
    std::array<std::int64_t, 3> sum{};
    std::int64_t squares = 0;
    for (Index y = around.y; y < around.y + around.height; ++y) {
      const std::uint8_t* p = scene.data() + y * scene.stride(0) + around.x * 3;
      for (Index x = 0; x < around.width; ++x, p += 3) {
        const int grey = p[0] + p[1] + p[2];
        squares += grey * grey;
        for (std::size_t c = 0; c < 3; ++c) sum[c] += p[c];
      }
    }
    const auto count = static_cast<double>(around.width * around.height);
    const double mean = static_cast<double>(sum[0] + sum[1] + sum[2]) / 3 / count;
    const double spread = std::sqrt(std::max(0.0, static_cast<double>(squares) / 9 / count - mean * mean));
    // A sign throws back more than what stands around it, and in the dark the light of a lamp.
    const double white = made.white * std::clamp(0.9 * mean + 65 + 0.8 * spread, 95.0, 238.0);
    Light light;
    for (std::size_t c = 0; c < 3; ++c) {
      const double cast = (static_cast<double>(sum[c]) / count + 16) / (mean + 16);
      light.white[c] = white * std::clamp(std::pow(cast, 0.25), 0.85, 1.15);
      light.black[c] = made.black * light.white[c];
    }
    return light;
  }

  /// The sign alone, premultiplied, on `area`: averages over kSamples x kSamples points a pixel, each read bilinearly at the
  /// resolution that has about as many pixels.
  void rasterise(const SignedPhotograph& made, const Box& area, Index ratio, float* layer) const {
    const Levels& levels = designs_[static_cast<std::size_t>(made.design)];
    const auto& m = made.to_design;
    const double step = static_cast<double>(ratio) / kSamples;
    const double texels = static_cast<double>(levels[0].height) / made.height * step;
    const auto which = std::min(levels.size() - 1, static_cast<std::size_t>(std::max(0L, std::lround(std::log2(texels)))));
    const Level& level = levels[which];
    const double scale = std::ldexp(1.0, -static_cast<int>(which));
    constexpr float weight = 1.0F / (kSamples * kSamples);
    for (Index i = 0; i < area.height; ++i) {
      for (Index j = 0; j < area.width; ++j, layer += 4) {
        Pixel sum{};
        for (Index k = 0; k < kSamples * kSamples; ++k) {
          const double y = static_cast<double>((area.y + i) * ratio) + (static_cast<double>(k / kSamples) + 0.5) * step;
          const double x = static_cast<double>((area.x + j) * ratio) + (static_cast<double>(k % kSamples) + 0.5) * step;
          const double depth = m[6] * x + m[7] * y + m[8];
          const double u = (m[0] * x + m[1] * y + m[2]) / depth * scale - 0.5;
          const double v = (m[3] * x + m[4] * y + m[5]) / depth * scale - 0.5;
          if (!(u > -1 && v > -1 && u < static_cast<double>(level.width) && v < static_cast<double>(level.height))) continue;
          const auto column = static_cast<Index>(u + 1) - 1;  // floor
          const auto row = static_cast<Index>(v + 1) - 1;
          const auto across = static_cast<float>(u - static_cast<double>(column));
          const auto down = static_cast<float>(v - static_cast<double>(row));
          const Pixel* upper = level.row(row) + column;
          const Pixel* lower = upper + level.width + 2;
          for (std::size_t c = 0; c < 4; ++c) {
            const float above = upper[0][c] + across * (upper[1][c] - upper[0][c]);
            const float below = lower[0][c] + across * (lower[1][c] - lower[0][c]);
            sum[c] += above + down * (below - above);
          }
        }
        for (std::size_t c = 0; c < 4; ++c) layer[c] = weight * sum[c];
      }
    }
  }

  /// A Gaussian of `sigma` pixels, by a kernel of three or more weights, along the rows and then down the columns.
  static void blur(double sigma, const Box& area, std::vector<float>& layer) {
    const auto radius = static_cast<Index>(std::ceil(2.5 * sigma));
    std::vector<float> weights(static_cast<std::size_t>(radius + 1));
    for (Index k = 0; k <= radius; ++k) {
      const double at = static_cast<double>(k) / sigma;
      weights[static_cast<std::size_t>(k)] = static_cast<float>(std::exp(-at * at / 2));
    }
    const float total = 2 * std::accumulate(weights.begin(), weights.end(), 0.0F) - weights[0];
    for (float& weight : weights) weight /= total;
    std::vector<float> other(layer.size());
    const auto pass = [&](const std::vector<float>& from, std::vector<float>& to, Index lines, Index line, Index length,
                          Index stride) {
      for (Index i = 0; i < lines; ++i) {
        for (Index j = 0; j < length; ++j) {
          float* out = to.data() + i * line + j * stride;
          for (Index k = -radius; k <= radius; ++k) {
            const Index at = std::clamp(j + k, Index{0}, length - 1);
            const float weight = weights[static_cast<std::size_t>(std::abs(k))];
            const float* in = from.data() + i * line + at * stride;
            for (Index c = 0; c < 4; ++c) out[c] = (k == -radius ? 0.0F : out[c]) + weight * in[c];
          }
        }
      }
    };
    pass(layer, other, area.height, area.width * 4, area.width, 4);
    pass(other, layer, area.width, 4, area.height, area.width * 4);
  }

  void blend(const SignedPhotograph& made, const Box& area, Index ratio, const Light& light, const float* layer,
             const View<std::uint8_t, 3>& scene) const {
    Stream stream(seed_, kNoise + static_cast<std::uint64_t>(ratio), made.number, Purpose::generate);
    // The sum of four uniform bytes has a variance of 4 (2^16 - 1) / 12; an average over ratio^2 pixels has noise / ratio.
    const double noise = made.noise / static_cast<double>(ratio) / std::sqrt(65535.0 / 3);
    const double size = static_cast<double>(ratio) / made.height;
    const auto middle = [&](Index begin, Index length) {
      return (static_cast<double>(begin) + static_cast<double>(length) / 2) / static_cast<double>(ratio) - 0.5;
    };
    const double centre_x = middle(made.box.x, made.box.width);
    const double centre_y = middle(made.box.y, made.box.height);
    for (Index i = 0; i < area.height; ++i) {
      std::uint8_t* to = scene.data() + (area.y + i) * scene.stride(0) + area.x * 3;
      for (Index j = 0; j < area.width; ++j, layer += 4, to += 3) {
        const auto alpha = static_cast<double>(layer[3]);
        if (alpha < 1.0 / 512) continue;
        const double lit = 1 + made.falling[0] * size * (static_cast<double>(area.x + j) - centre_x) +
                           made.falling[1] * size * (static_cast<double>(area.y + i) - centre_y);
        for (std::size_t c = 0; c < 3; ++c) {
          const auto drawn = static_cast<double>(layer[made.channel[c]]);
          const double paint = made.inverted ? alpha - drawn : drawn;
          const std::uint32_t bits = stream.bits();
          const auto bytes = static_cast<int>((bits & 255U) + (bits >> 8U & 255U) + (bits >> 16U & 255U) + (bits >> 24U)) - 510;
          const double sign = lit * (alpha * light.black[c] + paint * (light.white[c] - light.black[c]));
          const double value = (1 - alpha) * to[c] + sign + alpha * noise * bytes;
          to[c] = static_cast<std::uint8_t>(std::clamp(value + 0.5, 0.0, 255.0));
        }
      }
    }
  }

  std::vector<Extents<2>> photographs_;
  SignedPhotographsOptions options_;
  std::uint64_t seed_;
  int values_ = 0;
  std::vector<Levels> designs_;
  std::vector<std::vector<Index>> of_label_;  ///< the designs of each
};

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
