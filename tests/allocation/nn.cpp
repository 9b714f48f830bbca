// SPDX-License-Identifier: MIT
// After the first pass neither training nor inference allocates from the heap: the layers of nn/.
#include "support/counting_new.hpp"
#include <fovea/kernel/optimizer.hpp>
#include <fovea/nn/nn.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

using namespace fovea;
using fovea_test::AllocationCount;

namespace {

struct Net {
  ParameterLayout layout;
  nn::Sequential<nn::Conv2d, nn::Residual, nn::MaxPool2d, nn::GlobalAveragePool, nn::Dense> trunk{
      nn::Conv2d(layout, "conv", 1, 8, {.padding = 1}), nn::Residual(layout, "block", 8, 16, {.stride = 2}), nn::MaxPool2d{},
      nn::GlobalAveragePool{}, nn::Dense(layout, "out", 16, 16)};
  nn::GruCell gru{layout, "gru", 16, 12};
  nn::LstmCell lstm{layout, "lstm", 12, 10};

  template <Context C>
  VarOf<C> operator()(C& context, VarOf<C> x, const std::vector<std::int32_t>& labels) const {
    const auto features = trunk(context, x);
    const auto h = gru(context, features, gru.initial_state(context, x.shape[0]));
    const auto state = lstm(context, h, lstm.initial_state(context, x.shape[0]));
    return nn::mean(context, nn::cross_entropy(context, nn::concat(context, {state.h, h}), labels));
  }
};

}  // namespace

TEST_CASE("the counter counts") {
  const AllocationCount count;
  auto a = std::make_unique<int>(3);
  std::vector<double> b(100, 1.0);
  Tensor<float, 1> c({10});
  CHECK(*a == 3);
  CHECK(b[99] == 1.0);
  CHECK(c(9) == 0.0F);
  CHECK(count.made() >= 3);
  CHECK(count.bytes() >= 840);
}

TEST_CASE("a training step and an inference after the first allocate nothing") {
  const Net net;
  Parameters<float> parameters(net.layout, 1);
  const Index size = parameters.values().size();
  Tensor<float, 1> gradients({size});
  Tensor<float, 1> m({size});
  Tensor<float, 1> v({size});
  Tensor<float, 4> x({3, 12, 12, 1});
  Stream s(1);
  for (float& value : x) value = s.normal<float>();
  const std::vector<std::int32_t> labels{1, 0, 7};
  Arena arena(1 << 10);  // too small: the first pass has to grow it
  const Shape shape{3, 12, 12, 1};

  const auto train = [&](std::int64_t step) {
    arena.reset();
    std::fill(gradients.begin(), gradients.end(), 0.0F);
    Tape<float> tape(arena, parameters.values(), gradients.view());
    const auto loss = net(tape, tape.constant(x.data(), shape), labels);
    tape.backward(loss);
    kernel::adam<float>(gradients, step, {}, parameters.values(), m, v);
    return loss.item();
  };
  const auto infer = [&] {
    arena.reset();
    Inference<float> inference(arena, parameters.values());
    return net(inference, inference.constant(x.data(), shape), labels).item();
  };
  const float first = train(1);
  arena.reset();
  float last = first;
  const AllocationCount count;
  for (std::int64_t step = 2; step < 40; ++step) last = train(step);
  const float inferred = infer();
  const auto made = count.made();
  CHECK(made == 0);
  CHECK(last < first);
  CHECK(inferred < last);
}
