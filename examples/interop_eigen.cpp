// SPDX-License-Identifier: MIT
// Feature vectors of a model as a matrix of Eigen, and a matrix of Eigen as an image: in place.
// smoke-test:
#include <fovea/fovea.hpp>
#include <fovea/interop/eigen.hpp>

#include <cstdio>

int main() {
  Eigen::MatrixXf plane = Eigen::MatrixXf::Zero(300, 400);  // column-major; grey, in [0, 1]
  plane.rightCols(200).setOnes();

  const fovea::View<const float, 2> pixels = fovea::as_view(plane);  // nothing is copied
  const fovea::ImageView<float> grey(pixels.data(), {300, 400, 1}, {pixels.stride(0), pixels.stride(1), 1});
  fovea::Tensor<float, 3> glimpse({32, 32, 1});
  fovea::glimpse::Antialiased{}.sample(fovea::PyramidView<float>(grey), fovea::glimpse::Region<float>{0.5F, 0.0F, 0.0F},
                                       glimpse.view());

  const fovea::View<const float, 2> rows(glimpse.data(), {32, 32});
  std::printf("mean of the left half: %.2f, of the right: %.2f\n", fovea::as_eigen(rows).leftCols(16).mean(),
              fovea::as_eigen(rows).rightCols(16).mean());
}
