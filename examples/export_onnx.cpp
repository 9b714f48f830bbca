// SPDX-License-Identifier: MIT
// A saccader as a file of ONNX, from the pixels of an image to the class: any runtime of ONNX answers as classify() does. The
// model here is untrained; load yours with train::load_model.
// needs: onnx
// smoke-test: export_onnx.onnx
#include <fovea/fovea.hpp>
#include <fovea/interop/onnx.hpp>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL.onnx\n", argv[0]);
    return 2;
  }
  try {
    const fovea::model::Saccader model({.classes = 10, .channels = 3, .steps = 4});
    const fovea::Parameters<float> weights(model.layout(), /*seed=*/1);
    fovea::interop::export_onnx(argv[1], model, weights, /*image=*/{480, 640});
    std::printf("%s: image [1,480,640,3] of bytes to probabilities [1,10] and regions [4,3]\n", argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "export_onnx: %s\n", error.what());
    return 1;
  }
}
