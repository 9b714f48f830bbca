// SPDX-License-Identifier: MIT
// An image of OpenCV, blue first, looked at in place with red first, and a glimpse as an image of OpenCV.
// needs: opencv
// smoke-test:
#include <fovea/fovea.hpp>
#include <fovea/interop/opencv.hpp>

#include <opencv2/core.hpp>

#include <cstdint>
#include <cstdio>

int main() {
  cv::Mat photo(300, 400, CV_8UC3, cv::Scalar(0, 0, 255));  // blue, green, red: all red

  const fovea::PyramidView<std::uint8_t> image(fovea::ImageView<std::uint8_t>(fovea::as_rgb_view<std::uint8_t>(photo)));
  fovea::Tensor<float, 3> glimpse({32, 32, 3});
  fovea::glimpse::Antialiased{}.sample(image, fovea::glimpse::Region<float>{0.2F, 0.5F, 0.0F}, glimpse.view());

  const cv::Scalar mean = cv::mean(fovea::as_mat(glimpse.view()));
  std::printf("mean of the glimpse, red first: %.2f %.2f %.2f\n", mean[0], mean[1], mean[2]);
}
