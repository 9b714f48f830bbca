// SPDX-License-Identifier: MIT
// Convolutions: GFLOP/s (padding counted as work) and percent of the measured peak of a core.
// Names: batch, input channels x height x width, output channels, kernel, stride; padding is half the kernel.
#include "peak.hpp"
#include <fovea/kernel/conv2d.hpp>

#include <string>

namespace {

using fovea::Extents;
using fovea::Index;
using fovea::Tensor;
namespace kernel = fovea::kernel;

struct Case {
  Index n, ci, size, co, k, stride;
};
constexpr Case kCases[] = {
    {1, 1, 64, 32, 3, 1},  {1, 32, 64, 32, 3, 1},  {1, 32, 32, 64, 3, 2},  {1, 64, 16, 128, 3, 1},  {1, 128, 8, 256, 3, 1},
    {32, 1, 64, 32, 3, 1}, {32, 32, 64, 32, 3, 1}, {32, 32, 32, 64, 3, 2}, {32, 64, 16, 128, 3, 1}, {32, 128, 8, 256, 3, 1},
    {32, 1, 32, 16, 3, 1}, {32, 3, 32, 16, 3, 1},  {32, 1, 32, 16, 5, 2},  {32, 16, 16, 32, 3, 2},  {32, 16, 20, 16, 3, 1},
    {32, 32, 8, 64, 3, 2}, {32, 64, 4, 64, 3, 1},  {32, 64, 16, 64, 1, 1}, {1, 1, 2528, 32, 7, 2},
};

enum class Part { forward, input, weights };

void conv2d(benchmark::State& state, const Case& c, Part part) {
  const kernel::Conv2dOptions o{c.stride, c.stride, c.k / 2, c.k / 2};
  const Extents<4> xe{c.n, c.size, c.size, c.ci};
  const Extents<4> we{c.k, c.k, c.ci, c.co};
  const Extents<4> ye = kernel::conv2d_output_extents(xe, we, o);
  Tensor<float, 4> x(xe);
  Tensor<float, 4> w(we);
  Tensor<float, 4> y(ye);
  Tensor<float, 1> b({c.co});
  const double flops = 2.0 * static_cast<double>(fovea::product(ye) * c.k * c.k * c.ci);
  switch (part) {
    case Part::forward: {
      Tensor<float, 1> workspace({kernel::conv2d_workspace<float>(xe, we, o)});
      bench::run_flops<float>(state, flops, [&] {
        kernel::conv2d<float>(x, w, b, o, y.view(), workspace);
        benchmark::ClobberMemory();
      });
      break;
    }
    case Part::input: {
      Tensor<float, 1> workspace({kernel::conv2d_backward_input_workspace<float>(xe, we, o)});
      bench::run_flops<float>(state, flops, [&] {
        kernel::conv2d_backward_input<float>(y, w, o, x.view(), workspace, false);
        benchmark::ClobberMemory();
      });
      break;
    }
    case Part::weights: {
      Tensor<float, 1> workspace({kernel::conv2d_backward_weights_workspace<float>(xe, we, o)});
      bench::run_flops<float>(state, flops, [&] {
        kernel::conv2d_backward_weights<float>(y, x, o, w.view(), b, workspace);
        benchmark::ClobberMemory();
      });
      break;
    }
  }
}

const bool kRegistered = [] {
  for (const Case& c : kCases) {
    const auto size = std::to_string(c.size);
    const std::string shape = std::to_string(c.n) + "_" + std::to_string(c.ci) + "x" + size + "x" + size + "_" +
                              std::to_string(c.co) + "_k" + std::to_string(c.k) + "_s" + std::to_string(c.stride);
    benchmark::RegisterBenchmark(("conv2d/" + shape + "/forward").c_str(), conv2d, c, Part::forward)->UseManualTime();
    benchmark::RegisterBenchmark(("conv2d/" + shape + "/input").c_str(), conv2d, c, Part::input)->UseManualTime();
    benchmark::RegisterBenchmark(("conv2d/" + shape + "/weights").c_str(), conv2d, c, Part::weights)->UseManualTime();
  }
  return true;
}();

}  // namespace
