// SPDX-License-Identifier: MIT
// An image of xtensor, looked at in place, and the answer as an expression of xtensor.
// smoke-test:
#include <fovea/fovea.hpp>
#include <fovea/interop/xtensor.hpp>

#include <xtensor/xmath.hpp>

#include <cstdint>
#include <cstdio>

int main() {
  xt::xtensor<std::uint8_t, 3> photo = xt::zeros<std::uint8_t>({300, 400, 3});
  xt::view(photo, xt::all(), xt::range(200, 400), 0) = 255;  // the right half is red

  const fovea::PyramidView<std::uint8_t> image(fovea::as_view(photo));  // nothing is copied
  fovea::Tensor<float, 3> glimpse({32, 32, 3});
  fovea::glimpse::Antialiased{}.sample(image, fovea::glimpse::Region<float>{0.2F, 0.5F, 0.0F}, glimpse.view());

  const auto mean = xt::mean(fovea::as_xtensor(glimpse.view()), {0, 1});
  std::printf("mean of the glimpse: %.2f %.2f %.2f\n", mean(0), mean(1), mean(2));
}
