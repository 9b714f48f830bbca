// SPDX-License-Identifier: MIT
#include <fovea/core/tape.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/reshape.hpp>

#include <doctest/doctest.h>

#include <vector>

using namespace fovea;

namespace {

template <Context C>
VarOf<C> filled(C& context, const Shape& shape, std::vector<double> values) {
  auto x = context.variable(shape);
  for (Index i = 0; i < x.size(); ++i) x.value[i] = static_cast<typename C::Scalar>(values[static_cast<std::size_t>(i)]);
  return x;
}

}  // namespace

TEST_CASE("both contexts are contexts") {
  static_assert(Context<Tape<float>>);
  static_assert(Context<Inference<double>>);
  static_assert(Tape<float>::recording);
  static_assert(!Inference<float>::recording);
  CHECK(true);
}

TEST_CASE("gradients add where a Var is used twice") {
  Arena arena;
  Tape<double> tape(arena);
  const auto x = filled(tape, {2}, {3, 4});
  const auto square = nn::multiply(tape, x, x);
  const auto loss = nn::sum(tape, nn::add(tape, square, x));  // x^2 + x
  CHECK(loss.item() == 9 + 3 + 16 + 4);
  tape.backward(loss);
  CHECK(x.gradient[0] == 7);
  CHECK(x.gradient[1] == 9);
}

TEST_CASE("a tape is empty after backward, and can go on") {
  Arena arena;
  Tape<double> tape(arena);
  const auto x = filled(tape, {1}, {2});
  tape.backward(nn::sum(tape, nn::scale(tape, 3.0, x)));
  CHECK(x.gradient[0] == 3);
  tape.backward(nn::sum(tape, nn::scale(tape, 10.0, x)));
  CHECK(x.gradient[0] == 13);
}

TEST_CASE("gradients of several outputs can be set by hand") {
  Arena arena;
  Tape<double> tape(arena);
  const auto x = filled(tape, {2}, {1, 2});
  const auto y = nn::scale(tape, 2.0, x);
  const auto z = nn::multiply(tape, x, x);
  y.gradient[0] = 1;
  z.gradient[1] = 10;
  tape.backward();
  CHECK(x.gradient[0] == 2);
  CHECK(x.gradient[1] == 40);
}

TEST_CASE("parameters: values from the flat buffer, gradients added to the other") {
  ParameterLayout layout;
  const Parameter w = layout.add("w", {2}, Initialiser::constant(5));
  Parameters<float> parameters(layout);
  Tensor<float, 1> gradients({layout.size()});
  gradients(0) = 100;
  Arena arena;
  for (int pass = 0; pass < 2; ++pass) {
    arena.reset();
    Tape<float> tape(arena, parameters.values(), gradients.view());
    const auto p = tape.parameter(w);
    CHECK(p.value == parameters.values().data());
    tape.backward(nn::sum(tape, nn::multiply(tape, p, p)));
  }
  CHECK(gradients(0) == 120);
  CHECK(gradients(1) == 20);
  CHECK(gradients(2) == 0);
}

TEST_CASE("constants take no gradient, and what depends on them alone records nothing") {
  Arena arena;
  Tape<double> tape(arena);
  const double data[] = {1, 2};
  const auto c = tape.constant(data, {2});
  CHECK(c.gradient == nullptr);
  CHECK(c.value == data);
  const auto y = nn::exp(tape, c);
  CHECK(y.gradient == nullptr);
  const auto x = filled(tape, {2}, {5, 6});
  tape.backward(nn::sum(tape, nn::multiply(tape, x, y)));
  CHECK(x.gradient[0] == doctest::Approx(2.718281828459045));
  CHECK_THROWS_WITH_AS(tape.backward(nn::sum(tape, y)), "backward: the loss depends on nothing that wants a gradient", Error);
  CHECK_THROWS_AS(tape.backward(x), Error);
}

TEST_CASE("a parameter without a gradient buffer is a constant") {
  ParameterLayout layout;
  const Parameter w = layout.add("w", {2}, Initialiser::constant(5));
  const Parameters<float> parameters(layout);
  Arena arena;
  Tape<float> tape(arena, parameters.values());
  CHECK(tape.parameter(w).gradient == nullptr);
  Tensor<float, 1> wrong({layout.size() + 1});
  CHECK_THROWS_AS((Tape<float>(arena, parameters.values(), wrong.view())), Error);
}

TEST_CASE("reshape keeps value and gradient") {
  Arena arena;
  Tape<double> tape(arena);
  const auto x = filled(tape, {2, 3}, {0, 1, 2, 3, 4, 5});
  const auto y = x.reshape({3, 2});
  CHECK(y.value == x.value);
  CHECK(y.gradient == x.gradient);
  CHECK_THROWS_AS((void)x.reshape({4}), Error);
}

TEST_CASE("a backward call may use the arena for a while") {
  Arena arena(1 << 10);
  Tape<double> tape(arena);
  const auto x = filled(tape, {1}, {2});
  auto y = tape.variable({1});
  y.value[0] = 0;
  for (int i = 0; i < 3; ++i) {
    tape.record([=, &arena] {
      auto* scratch = arena.allocate<double>(1000);
      scratch[999] = y.gradient[0];
      x.gradient[0] += scratch[999];
    });
  }
  y.gradient[0] = 1;
  const std::size_t before = arena.peak();
  tape.backward();
  CHECK(x.gradient[0] == 3);
  CHECK(arena.peak() < before + 2 * 8192 + 64);  // the three calls share the memory
}

TEST_CASE("Inference: a scope gives back all but its result") {
  Arena arena(1 << 16);
  Inference<float> inference(arena);
  const auto x = filled(inference, {100}, std::vector<double>(100, 0.5));
  const auto chain = [&](auto& context, auto v) {
    return context.scope([&] {
      auto y = v;
      for (int i = 0; i < 20; ++i) y = nn::tanh(context, y);
      return y;
    });
  };
  const Arena::Mark before = arena.mark();
  const auto y = chain(inference, x);
  CHECK(arena.mark().used - before.used == 448);  // the result: 400 bytes in whole cache lines
  const auto plain = [&] {
    Arena other;
    Tape<float> tape(other);
    const auto v = filled(tape, {100}, std::vector<double>(100, 0.5));
    const auto z = chain(tape, v);
    return std::vector<float>(z.value, z.value + z.size());
  }();
  for (Index i = 0; i < 100; ++i) CHECK(y.value[i] == plain[static_cast<std::size_t>(i)]);
  CHECK(x.value[99] == 0.5F);

  SUBCASE("also where the result was there before") {
    const auto same = inference.scope([&] { return x; });
    for (Index i = 0; i < 100; ++i) CHECK(same.value[i] == 0.5F);
    CHECK(same.value != x.value);
  }
  SUBCASE("scopes nest") {
    const auto z = inference.scope([&] {
      const auto a = inference.scope([&] { return nn::scale(inference, 2.0F, nn::tanh(inference, x)); });
      const auto b = inference.scope([&] { return nn::add(inference, a, x); });
      return nn::subtract(inference, b, a);
    });
    for (Index i = 0; i < 100; ++i) CHECK(z.value[i] == doctest::Approx(0.5F));
  }
}

TEST_CASE("a tape keeps what a scope made, for the backward pass") {
  Arena arena;
  Tape<double> tape(arena);
  const auto x = filled(tape, {1}, {0.5});
  const auto y = tape.scope([&] { return nn::exp(tape, nn::exp(tape, x)); });
  tape.backward(nn::sum(tape, y));
  CHECK(x.gradient[0] == doctest::Approx(std::exp(std::exp(0.5)) * std::exp(0.5)));
}
