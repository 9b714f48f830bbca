// SPDX-License-Identifier: MIT
/// \file
/// What parts compose to that are known as distributions: how many here and there together, which here and which there.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/composition.hpp>
#include <fovea/nn/context.hpp>

#include <cstdint>

namespace fovea::inline FOVEA_ABI {
namespace nn {

/// Probabilities p, q [B, S] of two independent parts to those of what they compose to [B, S]: table(i, j) of i and j, or lost
/// where that is -1 (kernel/composition.hpp). The table must stay until backward() has run. Throws Error on other shapes; what
/// the table says is not checked.
template <Context C>
[[nodiscard]] VarOf<C> compose(C& context, View<const std::int32_t, 2> table, VarOf<C> p, VarOf<C> q) {
  using T = typename C::Scalar;
  detail::require_rank("compose", p, 2);
  detail::require_shape("compose", "an operand", q, p.shape);
  const Index states = p.shape[1];
  require(table.extents() == Extents<2>{states, states}, "compose: a table of ", states, "x", states, " expected, ",
          table.extent(0), "x", table.extent(1), " came");
  const VarOf<C> y = output(context, p.shape, p, q);
  kernel::compose<T>(table, p.template values<2>(), q.template values<2>(), y.template mutable_values<2>());
  count(context, p.shape[0] * states * states);
  if (y.gradient) {
    context.record([table, p, q, y] {
      const auto wanted = [](const VarOf<C>& x) { return x.gradient ? x.template gradients<2>() : View<T, 2>(); };
      kernel::compose_backward<T>(table, y.template gradients<2>(), p.template values<2>(), q.template values<2>(), wanted(p),
                                  wanted(q));
    });
  }
  return y;
}

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
