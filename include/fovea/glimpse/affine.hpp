// SPDX-License-Identifier: MIT
/// \file
/// Glimpses at any 2x3 matrix: turned, sheared, stretched along one axis, of any shape (Jaderberg et al., Spatial Transformer
/// Networks, NeurIPS 2015, equation 1), and the matrix of a pose.
///
/// Plain bilinear reads, a pixel at a time, of the finest level: agrees with torch's affine_grid and grid_sample to rounding,
/// and with Bilinear where nothing is turned. As Bilinear it has no filter: keep samples within a pixel or two of each other.
/// 8 ns a value, 12 its gradient (kernel/resample.hpp).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/glimpse/sampler.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/view.hpp>
#include <fovea/kernel/resample.hpp>
#include <fovea/nn/context.hpp>

#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace glimpse {

/// A region that is turned. The glimpse's square [-1, 1]^2 is stretched to half-extents s sqrt(aspect) across and s /
/// sqrt(aspect) down, sheared, turned, and moved to (x, y). `angle` in radians, clockwise as one sees it (y is down); `shear`:
/// what x moves for one unit of y; aspect > 0, width over height at equal area.
template <class T>
struct Pose {
  T s = 1;
  T x = 0;
  T y = 0;
  T angle = 0;
  T shear = 0;
  T aspect = 1;
};

namespace detail {

/// What a pose is made of: theta's first columns = diag(outer) R S diag(s sqrt(aspect), s / sqrt(aspect)) diag(inner).
struct PoseParts {
  std::array<double, 2> outer, inner;
  double across, down, cosine, sine, shear;

  template <class T>
  PoseParts(const Pose<T>& pose, Aspect aspect, Extents<2> image, Extents<2> glimpse)
      : outer(unit_half_extents(aspect, image, {1, 1})),
        cosine(std::cos(static_cast<double>(pose.angle))),
        sine(std::sin(static_cast<double>(pose.angle))),
        shear(static_cast<double>(pose.shear)) {
    require(pose.s > T(0) && pose.aspect > T(0) && std::isfinite(pose.s) && std::isfinite(pose.aspect) &&
                std::isfinite(pose.angle) && std::isfinite(pose.shear) && std::isfinite(pose.x) && std::isfinite(pose.y),
            "glimpse: a pose of finite numbers with s > 0 and aspect > 0 expected, s = ", pose.s, ", x = ", pose.x,
            ", y = ", pose.y, ", angle = ", pose.angle, ", shear = ", pose.shear, ", aspect = ", pose.aspect, " came");
    const std::array<double, 2> both = unit_half_extents(aspect, image, glimpse);
    inner = {both[0] / outer[0], both[1] / outer[1]};
    const double root = std::sqrt(static_cast<double>(pose.aspect));
    across = static_cast<double>(pose.s) * root;
    down = static_cast<double>(pose.s) / root;
  }
};

}  // namespace detail

/// The pose as a 2x3 matrix, row-major, from glimpse coordinates in [-1, 1] to those of an image of `image` = {height, width},
/// for a glimpse of {h, w}: to_affine of its region where nothing is turned. Under Aspect::isotropic angles are those of the
/// image as it is seen, also where it is not square. Throws Error on a pose that is not finite, or has s <= 0 or aspect <= 0.
template <std::floating_point T>
[[nodiscard]] std::array<T, 6> to_affine(const Pose<T>& pose, Aspect aspect, Extents<2> image, Extents<2> glimpse = {1, 1}) {
  const detail::PoseParts p(pose, aspect, image, glimpse);
  return {static_cast<T>(p.outer[0] * p.cosine * p.across * p.inner[0]),
          static_cast<T>(p.outer[0] * (p.cosine * p.shear - p.sine) * p.down * p.inner[1]),
          pose.x,
          static_cast<T>(p.outer[1] * p.sine * p.across * p.inner[0]),
          static_cast<T>(p.outer[1] * (p.sine * p.shear + p.cosine) * p.down * p.inner[1]),
          pose.y};
}
/// d loss / d pose from d loss / d matrix.
template <std::floating_point T>
[[nodiscard]] Pose<T> to_affine_backward(const std::array<T, 6>& d_theta, const Pose<T>& pose, Aspect aspect, Extents<2> image,
                                         Extents<2> glimpse = {1, 1}) {
  const detail::PoseParts p(pose, aspect, image, glimpse);
  const auto g = [&](std::size_t k, std::size_t row, std::size_t column, double length) {
    return static_cast<double>(d_theta[k]) * p.outer[row] * p.inner[column] * length;
  };
  // In units of the lengths `across` and `down` that the columns are multiplied by.
  const double g0 = g(0, 0, 0, p.across);
  const double g1 = g(1, 0, 1, p.down);
  const double g3 = g(3, 1, 0, p.across);
  const double g4 = g(4, 1, 1, p.down);
  const double first = g0 * p.cosine + g3 * p.sine;  // d loss / d log across, and the other
  const double second = g1 * (p.cosine * p.shear - p.sine) + g4 * (p.sine * p.shear + p.cosine);
  return {static_cast<T>((first + second) / static_cast<double>(pose.s)),
          d_theta[2],
          d_theta[5],
          static_cast<T>(g3 * p.cosine - g0 * p.sine - g1 * (p.sine * p.shear + p.cosine) + g4 * (p.cosine * p.shear - p.sine)),
          static_cast<T>(g1 * p.cosine + g4 * p.sine),
          static_cast<T>((first - second) / (2 * static_cast<double>(pose.aspect)))};
}

/// The op: poses [B, 6] as (s, x, y, angle, shear, aspect) of B images -> matrices [B, 6] for glimpses of {h, w} = `extent`.
/// Records the gradient of the poses.
template <Context C, ImageSource Source>
[[nodiscard]] VarOf<C> affine_matrices(C& context, std::span<const Source> images, VarOf<C> poses, Extents<2> extent,
                                       Aspect aspect = Aspect::isotropic) {
  using T = typename C::Scalar;
  const auto batch = static_cast<Index>(images.size());
  require(batch >= 1 && poses.shape == Shape{batch, 6}, "glimpse: poses of shape ", Shape{batch, 6}.to_string(), " expected, ",
          poses.shape.to_string(), " came");
  const VarOf<C> thetas = nn::output(context, poses.shape, poses);
  const auto pose = [poses](Index b) {
    const T* p = poses.value + 6 * b;
    return Pose<T>{p[0], p[1], p[2], p[3], p[4], p[5]};
  };
  for (Index b = 0; b < batch; ++b) {
    const std::array<T, 6> theta = to_affine(pose(b), aspect, images[static_cast<std::size_t>(b)].extent(), extent);
    std::copy(theta.begin(), theta.end(), thetas.value + 6 * b);
  }
  if (thetas.gradient) {
    context.record([=] {
      for (Index b = 0; b < batch; ++b) {
        std::array<T, 6> d_theta{};
        std::copy_n(thetas.gradient + 6 * b, 6, d_theta.begin());
        const Pose<T> g = to_affine_backward(d_theta, pose(b), aspect, images[static_cast<std::size_t>(b)].extent(), extent);
        T* to = poses.gradient + 6 * b;
        for (const T part : {g.s, g.x, g.y, g.angle, g.shear, g.aspect}) *to++ += part;
      }
    });
  }
  return thetas;
}

/// Glimpses at any matrix. Copy freely.
struct Affine {
  kernel::Padding padding = kernel::Padding::zeros;
  /// false: -1 and 1 are the outer edges of the outer pixels; true: their centres (torch before 1.3).
  bool align_corners = false;

  /// out {h, w, C} = the glimpse of `image` at `theta`, a 2x3 matrix, row-major, from glimpse to image coordinates, as
  /// affine_grid takes it; pixels in [0, 1]. Throws Error on other channels and on a matrix that is not finite.
  template <ImageSource S, std::floating_point T>
  void sample(const S& image, const std::array<T, 6>& theta, std::type_identity_t<View<T, 3>> out) const {
    reader().sample(image, theta, out);
  }
  /// d loss / d theta, from d_out = d loss / d out.
  template <ImageSource S, std::floating_point T>
  [[nodiscard]] std::array<T, 6> sample_backward(std::type_identity_t<View<const T, 3>> d_out, const S& image,
                                                 const std::array<T, 6>& theta) const {
    return reader().sample_backward(d_out, image, theta);
  }
  /// d loss / d image, added to d_image {H, W, C}.
  template <std::floating_point T>
  void sample_backward_image(std::type_identity_t<View<const T, 3>> d_out, const std::array<T, 6>& theta,
                             View<T, 3> d_image) const {
    reader().sample_backward_image(d_out, theta, d_image);
  }

  /// The op: `images` B sources of equal channels, `thetas` [B, 6] (or [B, 2, 3]) -> glimpses [B, h, w, C], `extent` = {h, w}.
  /// Records the gradient of the matrices. On a tape the images must stay where they are until backward() has run.
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> operator()(C& context, std::span<const Source> images, VarOf<C> thetas, Extents<2> extent) const {
    using T = typename C::Scalar;
    const auto batch = static_cast<Index>(images.size());
    require(batch >= 1 && (thetas.shape == Shape{batch, 6} || thetas.shape == Shape{batch, 2, 3}),
            "glimpse: matrices of shape ", Shape{batch, 6}.to_string(), " expected, ", thetas.shape.to_string(), " came");
    return detail::read_op<6>(
        context, images, thetas, extent, images[0].channels(), 0,
        [sampler = *this](const Source& image, Index, const std::array<T, 6>& theta, View<T, 3> out, T*) {
          sampler.sample(image, theta, out);
        },
        [sampler = *this](View<const T, 3> d_out, const Source& image, const std::array<T, 6>& theta, T*) {
          return sampler.sample_backward(d_out, image, theta);
        });
  }

 private:
  [[nodiscard]] Bilinear reader() const noexcept { return {Aspect::stretch, padding, align_corners}; }
};

}  // namespace glimpse
}  // namespace fovea::inline FOVEA_ABI
