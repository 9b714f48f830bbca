// SPDX-License-Identifier: MIT
// needs: opencv
// OpenCV's images and views of the library are the same memory.
#include <fovea/interop/opencv.hpp>

#include <doctest/doctest.h>
#include <opencv2/core.hpp>

#include <cstdint>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

using fovea::Index;
using fovea::View;

namespace {

template <class P, class M>
concept HasView = requires(M&& m) {
  fovea::as_view<P>(std::forward<M>(m));
};

}  // namespace

TEST_CASE("as_view: images of OpenCV") {
  SUBCASE("bytes of three channels") {
    cv::Mat image(4, 5, CV_8UC3);
    const auto view = fovea::as_view<std::uint8_t>(image);
    CHECK(view.extents() == fovea::Extents<3>{4, 5, 3});
    CHECK(view.is_dense());
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 5; ++j) CHECK(&view(i, j, 2) == &image.at<cv::Vec3b>(i, j)[2]);
    }
  }
  SUBCASE("parts of an image, other pixels") {
    cv::Mat image(8, 9, CV_16UC4);
    cv::Mat part = image(cv::Rect(2, 1, 4, 5));
    const auto view = fovea::as_view<std::uint16_t>(part);
    CHECK(view.extents() == fovea::Extents<3>{5, 4, 4});
    CHECK(&view(4, 3, 1) == &image.at<cv::Vec<std::uint16_t, 4>>(5, 5)[1]);
    cv::Mat real(3, 3, CV_32FC1);
    CHECK(&fovea::as_view<float>(real)(2, 1, 0) == &real.at<float>(2, 1));
    CHECK(fovea::as_view<float>(real).is_dense());
    cv::Mat fine(3, 3, CV_64FC2);
    CHECK(&fovea::as_view<double>(fine)(2, 1, 1) == &fine.at<cv::Vec2d>(2, 1)[1]);
  }
  SUBCASE("const stays const, temporaries are refused by the compiler") {
    const cv::Mat image = cv::Mat::ones(2, 2, CV_8UC1);
    static_assert(std::is_same_v<decltype(fovea::as_view<std::uint8_t>(image)), View<const std::uint8_t, 3>>);
    CHECK(fovea::as_view<std::uint8_t>(image)(1, 1, 0) == 1);
    static_assert(HasView<float, cv::Mat&>);
    static_assert(HasView<float, const cv::Mat&>);
    static_assert(!HasView<float, cv::Mat>);
    static_assert(!HasView<float, const cv::Mat>);
  }
  SUBCASE("what it is not") {
    cv::Mat bytes(2, 2, CV_8UC3);
    CHECK_THROWS_WITH_AS((void)fovea::as_view<float>(bytes), "as_view: pixels of OpenCV's depth 5 expected, those of 0 came",
                         fovea::Error);
    cv::Mat empty;
    CHECK_THROWS_AS((void)fovea::as_view<std::uint8_t>(empty), fovea::Error);
    const std::vector<int> sizes{2, 3, 4};
    cv::Mat volume(sizes, CV_8UC1);
    CHECK_THROWS_AS((void)fovea::as_view<std::uint8_t>(volume), fovea::Error);
  }
}

TEST_CASE("as_rgb_view: blue, green, red turned around") {
  cv::Mat bgr(2, 3, CV_8UC3, cv::Scalar(10, 20, 30));
  bgr.at<cv::Vec3b>(1, 2) = {1, 2, 3};
  const auto rgb = fovea::as_rgb_view<std::uint8_t>(bgr);
  CHECK(rgb(0, 0, 0) == 30);
  CHECK(rgb(0, 0, 2) == 10);
  CHECK(&rgb(1, 2, 0) == &bgr.at<cv::Vec3b>(1, 2)[2]);
  rgb(1, 2, 2) = 77;
  CHECK(bgr.at<cv::Vec3b>(1, 2)[0] == 77);

  const cv::Mat bgra(2, 2, CV_16UC4, cv::Scalar(100, 200, 300, 65535));
  const auto colours = fovea::as_rgb_view<std::uint16_t>(bgra);
  CHECK(colours.extent(2) == 3);
  CHECK(colours(1, 1, 0) == 300);
  CHECK(colours(1, 1, 2) == 100);
  CHECK(&colours(1, 1, 0) == &bgra.at<cv::Vec<std::uint16_t, 4>>(1, 1)[2]);

  cv::Mat grey(2, 2, CV_8UC1, cv::Scalar(5));
  CHECK(fovea::as_rgb_view<std::uint8_t>(grey).extent(2) == 1);
  cv::Mat two(2, 2, CV_8UC2);
  CHECK_THROWS_AS((void)fovea::as_rgb_view<std::uint8_t>(two), fovea::Error);
}

TEST_CASE("as_mat: views whose pixels lie side by side") {
  std::vector<float> memory(100);
  std::iota(memory.begin(), memory.end(), 0.0F);
  SUBCASE("rows that lie apart") {
    const View<float, 3> view(memory.data() + 1, {3, 4, 2}, {20, 2, 1});
    cv::Mat image = fovea::as_mat(view);
    REQUIRE(image.type() == CV_32FC2);
    CHECK(&image.at<cv::Vec2f>(2, 3)[1] == &view(2, 3, 1));
    const auto back = fovea::as_view<float>(image);
    CHECK(back.data() == view.data());
    CHECK(back.strides() == view.strides());
    image.setTo(cv::Scalar(-1, -1));
    CHECK(memory[1] == -1);
    CHECK(memory[0] == 0);
    CHECK(memory[9] == 9);
  }
  SUBCASE("const, one row") {
    const View<const float, 3> view(memory.data(), {1, 4, 3});
    const cv::Mat image = fovea::as_mat(view);
    CHECK(image.at<cv::Vec3f>(0, 3)[2] == 11);
  }
  SUBCASE("what OpenCV cannot step over") {
    const auto refused = [&](fovea::Extents<3> extents, fovea::Extents<3> strides) {
      CHECK_THROWS_AS((void)fovea::as_mat(View<float, 3>(memory.data() + 50, extents, strides)), fovea::Error);
    };
    refused({2, 2, 3}, {6, 3, -1});  // channels reversed
    refused({2, 2, 3}, {2, 1, 4});   // planes
    refused({2, 2, 3}, {16, 8, 1});  // every other pixel
    refused({2, 2, 3}, {-6, 3, 1});  // upside down
    refused({2, 4, 3}, {6, 3, 1});   // rows that overlap
    refused({0, 4, 3}, {12, 3, 1});
  }
}
