// SPDX-License-Identifier: MIT
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/attention.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/counting.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/frozen.hpp>
#include <fovea/nn/recurrent.hpp>
#include <fovea/nn/residual.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

using namespace fovea;

static_assert(Context<nn::Counting<Tape<float>>> && Context<nn::Counting<Inference<double>>>);
static_assert(nn::CountingContext<nn::Counting<Inference<float>>> &&
              nn::CountingContext<nn::Frozen<nn::Counting<Tape<float>>>>);
static_assert(!nn::CountingContext<Tape<float>> && !nn::CountingContext<Inference<double>> &&
              !nn::CountingContext<nn::Frozen<Tape<float>>>);

namespace {

template <class C>
VarOf<C> filled(C& context, const Shape& shape) {
  const auto x = context.constant(shape);
  std::fill_n(x.value, x.size(), typename C::Scalar(0.25));
  return x;
}

/// What `network(context, x)` counts for an input of this shape, in an Inference and on a Tape.
template <class Network>
Index count_of(const ParameterLayout& layout, const Shape& shape, const Network& network) {
  const Parameters<float> weights(layout, 1);
  Arena arena;
  Inference<float> inference(arena, weights.values());
  nn::Counting counting(inference);
  (void)network(counting, filled(counting, shape));
  Tensor<float, 1> gradients({weights.values().size()});
  Tape<float> tape(arena, weights.values(), gradients.view());
  nn::Counting recorded(tape);
  (void)network(recorded, filled(recorded, shape));
  CHECK(recorded.multiply_adds() == counting.multiply_adds());
  return counting.multiply_adds();
}

}  // namespace

TEST_CASE("counting: ops, by hand") {
  ParameterLayout layout;
  const nn::Dense dense(layout, "dense", 7, 5);
  CHECK(count_of(layout, {3, 7}, dense) == 3 * 7 * 5);
  CHECK(count_of(layout, {2, 4, 3, 7}, dense) == 2 * 4 * 3 * 7 * 5);
  const nn::Conv2d conv(layout, "conv", 3, 6, {.kernel = 3, .stride = 2, .padding = 1});
  CHECK(count_of(layout, {2, 9, 8, 3}, conv) == 2 * (5 * 4) * (3 * 3) * 3 * 6);
  const nn::Conv2d wide(layout, "wide", 3, 6, {2, 5}, {1, 1, 0, 0}, false);
  CHECK(count_of(layout, {1, 9, 8, 3}, wide) == (8 * 4) * (2 * 5) * 3 * 6);
  const nn::Conv2d winograd(layout, "winograd", 32, 32, {.padding = 1});  // as the formula has it, whatever the kernel does
  CHECK(count_of(layout, {1, 16, 16, 32}, winograd) == 16 * 16 * 9 * 32 * 32);
  const nn::GruCell gru(layout, "gru", 7, 4);
  CHECK(count_of(layout, {3, 7}, [&](auto& c, auto x) { return gru(c, x, gru.initial_state(c, 3)); }) == 3 * (7 + 4) * 12);
  const nn::LstmCell lstm(layout, "lstm", 7, 4);
  CHECK(count_of(layout, {3, 7}, [&](auto& c, auto x) { return lstm(c, x, lstm.initial_state(c, 3)).h; }) == 3 * (7 + 4) * 16);
  const nn::Residual block(layout, "block", 3, 8, {.stride = 2});
  CHECK(count_of(layout, {2, 10, 10, 3}, block) == 2 * 25 * (9 * 3 * 8 + 9 * 8 * 8 + 3 * 8));
  CHECK(count_of(layout, {2, 4, 3, 5}, [](auto& c, auto x) { return nn::key_scores(c, x, filled(c, {2, 5})); }) == 2 * 12 * 5);
  CHECK(count_of(layout, {2, 4, 3, 5}, [](auto& c, auto x) {
          return nn::attention_pool(c, filled(c, {2, 12}), x);
        }) == 2 * 12 * 5);
  CHECK(count_of(layout, {2, 6}, [](auto& c, auto x) { return nn::tanh(c, nn::add(c, x, x)); }) == 0);
}

TEST_CASE("counting: contexts within one another, and what is in scopes") {
  ParameterLayout layout;
  const nn::Dense dense(layout, "dense", 4, 4);
  const Parameters<float> weights(layout, 1);
  Arena arena;
  Inference<float> inference(arena, weights.values());
  nn::Counting all(inference);
  const auto x = filled(all, {1, 4});
  (void)all.scope([&] { return dense(all, dense(all, x)); });
  CHECK(all.multiply_adds() == 32);
  nn::Counting<nn::Counting<Inference<float>>> part(all);
  (void)dense(part, x);
  nn::Frozen still(all);
  const auto y = dense(still, x);
  CHECK(part.multiply_adds() == 16);
  CHECK(all.multiply_adds() == 64);

  const auto uncounted = dense(inference, x);
  CHECK(all.multiply_adds() == 64);
  CHECK(std::memcmp(y.value, uncounted.value, 4 * sizeof(float)) == 0);
}

TEST_CASE("counting: a pass on a counted tape has the gradients of one that is not") {
  ParameterLayout layout;
  const nn::GruCell cell(layout, "cell", 3, 2);
  const Parameters<double> weights(layout, 1);
  Arena arena;
  Tensor<double, 2> gradients({2, weights.values().size()});
  const auto learn = [&](auto& context, Tape<double>& tape) {
    const auto x = filled(context, {2, 3});
    tape.backward(nn::sum(context, cell(context, x, cell(context, x, cell.initial_state(context, 2)))));
  };
  Tape<double> plain(arena, weights.values(), gradients.view()[0]);
  learn(plain, plain);
  Tape<double> counted(arena, weights.values(), gradients.view()[1]);
  nn::Counting counting(counted);
  learn(counting, counted);
  CHECK(counting.multiply_adds() == 2 * 2 * (3 + 2) * 6);
  const auto bytes = static_cast<std::size_t>(weights.values().size()) * sizeof(double);
  CHECK(std::memcmp(gradients.view()[0].data(), gradients.view()[1].data(), bytes) == 0);
}
