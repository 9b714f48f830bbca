// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/op_registry.hpp"
#include <fovea/nn/composition.hpp>
#include <fovea/nn/loss.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

using namespace fovea;
using fovea_test::extent;
using fovea_test::message_of;
using fovea_test::OpRegistry;

namespace {

/// Any table, with holes.
Tensor<std::int32_t, 2> any_table(Stream& s, Index states) {
  Tensor<std::int32_t, 2> table({states, states});
  for (std::int32_t& to : table) to = static_cast<std::int32_t>(s.below(static_cast<std::uint32_t>(states) + 1)) - 1;
  return table;
}

}  // namespace

TEST_CASE("compose: as its definition, over random tables and distributions") {
  Arena arena;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    arena.reset();
    Inference<double> context(arena);
    Stream s(6, 0, seed, Purpose::test);
    const Index batch = extent(s);
    const Index states = extent(s, 1, 20);
    const auto table = any_table(s, states);
    const auto p = context.constant(Shape{batch, states});
    const auto q = context.constant(Shape{batch, states});
    for (Index i = 0; i < p.size(); ++i) {
      p.value[i] = s.uniform(0.0, 1.0);
      q.value[i] = s.uniform(0.0, 1.0);
    }
    const auto y = nn::compose(context, table.view(), p, q);
    REQUIRE(y.shape == p.shape);
    for (Index b = 0; b < batch; ++b) {
      for (Index k = 0; k < states; ++k) {
        double want = 0;
        for (Index i = 0; i < states; ++i) {
          for (Index j = 0; j < states; ++j) {
            if (table.view()(i, j) == k) want += p.value[b * states + i] * q.value[b * states + j];
          }
        }
        CHECK(y.value[b * states + k] == doctest::Approx(want).epsilon(1e-13));
      }
    }
  }
}

TEST_CASE("compose: derivatives, and operands of one shape") {
  OpRegistry ops;
  ops.add("compose", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), extent(s, 1, 9)};
    const auto table = std::make_shared<Tensor<std::int32_t, 2>>(any_table(s, shape[1]));  // it must stay
    check.input(shape, s).input(shape, s);
    return [table](auto& c, auto in) { return nn::compose(c, std::as_const(*table).view(), in[0], in[1]); };
  });
  ops.add("compose with itself", [](Stream& s, GradientCheck& check) {
    const Shape shape{extent(s), extent(s, 1, 9)};
    const auto table = std::make_shared<Tensor<std::int32_t, 2>>(any_table(s, shape[1]));
    check.input(shape, s);
    return [table](auto& c, auto in) {
      const auto p = nn::softmax(c, in[0]);
      return nn::compose(c, std::as_const(*table).view(), p, p);
    };
  });
  ops.check_all();

  Arena arena;
  Inference<float> context(arena);
  const Tensor<std::int32_t, 2> table({3, 3});
  CHECK(message_of([&] {
          (void)nn::compose(context, table.view(), context.constant(Shape{2, 4}), context.constant(Shape{2, 4}));
        }) == "compose: a table of 4x4 expected, 3x3 came");
}
