// SPDX-License-Identifier: MIT
/// \file
/// Images of OpenCV as views and views as images of OpenCV: the same memory, nothing is copied. Needs OpenCV's core
/// (CMake component `opencv`).
///
/// A cv::Mat shares its pixels with its copies; the view does not: it is valid as long as one of them is. OpenCV's own
/// functions keep colours in the order blue, green, red, and the library thinks in red, green, blue: as_rgb_view turns them by
/// a stride.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/view.hpp>
#include <fovea/interop/strides.hpp>
#include <fovea/kernel/resample.hpp>

#include <opencv2/core/mat.hpp>
#include <opencv2/core/traits.hpp>

#include <concepts>
#include <cstddef>
#include <limits>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {

namespace detail::opencv {

template <class P>
[[nodiscard]] View<P, 3> view(P* data, const cv::Mat& image) {
  using Pixel = std::remove_const_t<P>;
  require(image.dims == 2 && !image.empty(), "as_view: an image of two axes with at least one pixel expected, one of ",
          image.dims, " axes and ", image.total(), " pixels came");
  require(image.depth() == cv::DataType<Pixel>::depth, "as_view: pixels of OpenCV's depth ",
          static_cast<int>(cv::DataType<Pixel>::depth), " expected, those of ", image.depth(), " came");
  const std::size_t step = image.step[0];
  require(step % sizeof(Pixel) == 0, "as_view: rows a whole number of elements apart expected, ", step, " bytes came");
  const auto channels = static_cast<Index>(image.channels());
  const Extents<3> extents{image.rows, image.cols, channels};
  const Extents<3> strides{static_cast<Index>(step / sizeof(Pixel)), channels, 1};
  return {data, extents, usual_strides(extents, strides)};
}

/// An image from OpenCV's own functions: {h, w, 3} in the order red, green, blue, of 3 channels or 4 (alpha is left out);
/// of one channel as it is.
template <class P>
[[nodiscard]] View<P, 3> rgb(const View<P, 3>& bgr) {
  const Index channels = bgr.extent(2);
  require(channels == 1 || channels == 3 || channels == 4, "as_rgb_view: 1, 3 or 4 channels expected, ", channels, " came");
  if (channels == 1) return bgr;
  return {bgr.data() + 2, {bgr.extent(0), bgr.extent(1), 3}, {bgr.stride(0), bgr.stride(1), -1}};
}

}  // namespace detail::opencv

/// The pixels of an image, {height, width, channels} in OpenCV's order; also of a part of an image. P: std::uint8_t,
/// std::uint16_t, float or double. Throws Error where the image has other pixels, is empty, or has more axes.
template <kernel::Pixel P>
[[nodiscard]] View<P, 3> as_view(cv::Mat& image) {
  return detail::opencv::view(reinterpret_cast<P*>(image.data), image);
}
template <kernel::Pixel P>
[[nodiscard]] View<const P, 3> as_view(const cv::Mat& image) {
  return detail::opencv::view(reinterpret_cast<const P*>(image.data), image);
}
/// A temporary may be the last that has the pixels.
template <kernel::Pixel P>
void as_view(const cv::Mat&& image) = delete;

/// The colours of an image in the order red, green, blue: {height, width, 3} of 3 channels (BGR) or 4 (BGRA, without the
/// alpha), and {height, width, 1} of one. Throws Error as as_view does, and on another number of channels.
template <kernel::Pixel P>
[[nodiscard]] View<P, 3> as_rgb_view(cv::Mat& image) {
  return detail::opencv::rgb(as_view<P>(image));
}
template <kernel::Pixel P>
[[nodiscard]] View<const P, 3> as_rgb_view(const cv::Mat& image) {
  return detail::opencv::rgb(as_view<P>(image));
}
template <kernel::Pixel P>
void as_rgb_view(const cv::Mat&& image) = delete;

/// A view as an image, channels in its own order. Throws Error where OpenCV cannot step so: where channels or pixels of a row
/// do not lie side by side, or rows lie upside down; and on more channels or pixels than it knows.
template <kernel::Pixel P>
[[nodiscard]] cv::Mat as_mat(const View<P, 3>& view) {
  const Index channels = view.extent(2);
  constexpr Index most = std::numeric_limits<int>::max();
  require(view.extent(0) >= 1 && view.extent(1) >= 1 && view.extent(0) <= most && view.extent(1) <= most && channels >= 1 &&
              channels <= CV_CN_MAX,
          "as_mat: an image of 1x1x1 to ", most, "x", most, "x", static_cast<int>(CV_CN_MAX), " expected, ", view.extent(0),
          "x", view.extent(1), "x", channels, " came");
  const bool rows = view.extent(0) == 1 || view.stride(0) >= view.extent(1) * channels;
  require((channels == 1 || view.stride(2) == 1) && (view.extent(1) == 1 || view.stride(1) == channels) && rows,
          "as_mat: channels and pixels side by side and rows from the top expected, strides of ", view.stride(0), ", ",
          view.stride(1), " and ", view.stride(2), " came");
  const int type = CV_MAKETYPE(cv::DataType<P>::depth, static_cast<int>(channels));
  const std::size_t step =
      view.extent(0) == 1 ? static_cast<std::size_t>(cv::Mat::AUTO_STEP) : static_cast<std::size_t>(view.stride(0)) * sizeof(P);
  return cv::Mat(static_cast<int>(view.extent(0)), static_cast<int>(view.extent(1)), type, view.data(), step);
}
/// The same for reading: OpenCV has no image of const pixels, and a copy of this one could be written.
template <kernel::Pixel P>
[[nodiscard]] const cv::Mat as_mat(const View<const P, 3>& view) {  // NOLINT(readability-const-return-type)
  return as_mat(View<P, 3>(const_cast<P*>(view.data()), view.extents(), view.strides()));
}

}  // namespace fovea::inline FOVEA_ABI
