// SPDX-License-Identifier: MIT
/// \file
/// Ops that move elements without changing them: concat, slice, reshape, flatten, repeat and tile.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/nn/context.hpp>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <span>

namespace fovea::inline FOVEA_ABI {
namespace nn {

namespace traced {
/// The inputs side by side along an axis.
struct Concat {
  std::size_t axis;
};
/// Elements [first, first + count) of the last axis.
struct Slice {
  Index first;
  Index count;
};
/// Every sample `count` times: in a row, or all of them over and over.
struct Repeat {
  Index count;
  bool in_a_row;
};
}  // namespace traced

/// The same elements under another shape of equal size; costs nothing. Throws Error where the sizes differ.
template <Context C>
[[nodiscard]] VarOf<C> reshape(C& /*context*/, VarOf<C> x, const Shape& shape) {
  return x.reshape(shape);
}
/// [B, ...] as [B, everything else].
template <Context C>
[[nodiscard]] VarOf<C> flatten(C& /*context*/, VarOf<C> x) {
  const auto [samples, size] = detail::as_samples(x.shape);
  return x.reshape({samples, size});
}

/// The parts side by side along the last axis: [B, m], [B, n], ... to [B, m + n + ...]. Ranks 1 to 4; the other extents
/// must agree.
template <Context C>
[[nodiscard]] VarOf<C> concat(C& context, std::initializer_list<VarOf<C>> parts) {
  using T = typename C::Scalar;
  require(parts.size() > 0, "concat: at least one part expected");
  const Shape& first = parts.begin()->shape;
  require(first.rank() >= 1, "concat: parts of rank 1 or more expected");
  Index columns = 0;
  bool wanted = false;
  for (const VarOf<C>& part : parts) {
    require(part.shape.rank() == first.rank() && detail::with_last(part.shape, 0) == detail::with_last(first, 0),
            "concat: parts that differ in the last extent only expected, ", first.to_string(), " and ", part.shape.to_string(),
            " came");
    columns += part.shape[part.shape.rank() - 1];
    wanted = wanted || part.gradient;
  }
  const Shape shape = detail::with_last(first, columns);
  const VarOf<C> y = wanted ? context.variable(shape) : context.constant(shape);
  const Index rows = columns == 0 ? 0 : shape.size() / columns;
  T* to = y.value;
  for (const VarOf<C>& part : parts) {
    const Index width = part.shape[part.shape.rank() - 1];
    for (Index r = 0; r < rows; ++r) std::copy_n(part.value + r * width, width, to + r * columns);
    to += width;
  }
  trace_all(context, traced::Concat{first.rank() - 1}, y, std::span<const VarOf<C>>(parts.begin(), parts.size()));
  if (y.gradient) {
    const auto count = static_cast<Index>(parts.size());
    auto* kept = context.template scratch<VarOf<C>>(count);
    std::uninitialized_copy(parts.begin(), parts.end(), kept);
    context.record([=] {
      const T* from = y.gradient;
      for (Index i = 0; i < count; ++i) {
        const Index width = kept[i].shape[kept[i].shape.rank() - 1];
        for (Index r = 0; kept[i].gradient && r < rows; ++r) {
          kernel::accumulate<T>(View<const T, 1>(from + r * columns, {width}),
                                View<T, 1>(kept[i].gradient + r * width, {width}));
        }
        from += width;
      }
    });
  }
  return y;
}

/// Elements [first, first + count) of the last axis: [B, n] to [B, count]. Throws Error where they do not exist.
template <Context C>
[[nodiscard]] VarOf<C> slice(C& context, VarOf<C> x, Index first, Index count) {
  using T = typename C::Scalar;
  require(x.shape.rank() >= 1, "slice: an input of rank 1 or more expected");
  const auto [rows, columns] = detail::as_rows(x.shape);
  require(first >= 0 && count >= 0 && first + count <= columns, "slice: elements within [0, ", columns, ") expected, [", first,
          ", ", first + count, ") came");
  const VarOf<C> y = output(context, detail::with_last(x.shape, count), x);
  for (Index r = 0; r < rows; ++r) std::copy_n(x.value + r * columns + first, count, y.value + r * count);
  trace(context, traced::Slice{first, count}, y, x);
  if (y.gradient) {
    context.record([x, y, first, count, rows = rows, columns = columns] {
      for (Index r = 0; r < rows; ++r) {
        kernel::accumulate<T>(View<const T, 1>(y.gradient + r * count, {count}),
                              View<T, 1>(x.gradient + r * columns + first, {count}));
      }
    });
  }
  return y;
}

/// Samples [first, first + count) of the first axis, without a copy: the gradient goes to the same place.
template <Context C>
[[nodiscard]] VarOf<C> slice_samples(C& /*context*/, VarOf<C> x, Index first, Index count) {
  require(x.shape.rank() >= 1 && first >= 0 && count >= 0 && first + count <= x.shape[0],
          "slice_samples: samples within the first axis of ", x.shape.to_string(), " expected, [", first, ", ", first + count,
          ") came");
  const Index size = detail::as_samples(x.shape)[1];
  return {x.value + first * size, x.gradient ? x.gradient + first * size : nullptr, detail::with_first(x.shape, count)};
}

namespace detail {

/// Row r of the result is sample from(r) of x, r in [0, rows); gradients of the copies add.
template <Context C, class From>
[[nodiscard]] VarOf<C> copies_of_samples(C& context, VarOf<C> x, Index rows, From from) {
  using T = typename C::Scalar;
  const Index size = as_samples(x.shape)[1];
  const VarOf<C> y = output(context, with_first(x.shape, rows), x);
  for (Index r = 0; r < rows; ++r) std::copy_n(x.value + from(r) * size, size, y.value + r * size);
  if (y.gradient) {
    context.record([x, y, rows, from, size] {
      for (Index r = 0; r < rows; ++r) {
        kernel::accumulate<T>(View<const T, 1>(y.gradient + r * size, {size}), View<T, 1>(x.gradient + from(r) * size, {size}));
      }
    });
  }
  return y;
}

}  // namespace detail

/// Every sample `count` times, one after the other: [B, ...] to [B count, ...], row b * count + k being copy k of sample b.
/// Gradients of the copies add. Throws Error on count < 1.
template <Context C>
[[nodiscard]] VarOf<C> repeat_samples(C& context, VarOf<C> x, Index count) {
  require(x.shape.rank() >= 1 && count >= 1, "repeat_samples: an input of rank 1 or more and a count of at least 1 expected, ",
          x.shape.to_string(), " and ", count, " came");
  if (count == 1) return x;
  const VarOf<C> y = detail::copies_of_samples(context, x, x.shape[0] * count, [count](Index r) { return r / count; });
  trace(context, traced::Repeat{count, true}, y, x);
  return y;
}

/// All samples `count` times over: [B, ...] to [count B, ...], row k * B + b being copy k of sample b. Gradients of the copies
/// add. Throws Error on count < 1.
template <Context C>
[[nodiscard]] VarOf<C> tile_samples(C& context, VarOf<C> x, Index count) {
  require(x.shape.rank() >= 1 && count >= 1, "tile_samples: an input of rank 1 or more and a count of at least 1 expected, ",
          x.shape.to_string(), " and ", count, " came");
  if (count == 1) return x;
  const Index samples = x.shape[0];
  const VarOf<C> y = detail::copies_of_samples(context, x, samples * count, [samples](Index r) { return r % samples; });
  trace(context, traced::Repeat{count, false}, y, x);
  return y;
}

/// The mean over the `count` rows of each sample: [B count, ...] to [B, ...]. Throws Error where the rows do not divide.
template <Context C>
[[nodiscard]] VarOf<C> mean_of_repeats(C& context, VarOf<C> x, Index count) {
  using T = typename C::Scalar;
  require(x.shape.rank() >= 1 && count >= 1 && x.shape[0] % count == 0, "mean_of_repeats: a multiple of ", count,
          " rows expected, a shape ", x.shape.to_string(), " came");
  if (count == 1) return x;
  const auto [rows, size] = detail::as_samples(x.shape);
  const VarOf<C> y = output(context, detail::with_first(x.shape, rows / count), x);
  const T weight = T(1) / static_cast<T>(count);
  std::fill_n(y.value, y.size(), T(0));
  for (Index r = 0; r < rows; ++r) {
    kernel::axpy<T>(weight, View<const T, 1>(x.value + r * size, {size}), View<T, 1>(y.value + r / count * size, {size}));
  }
  if (y.gradient) {
    context.record([x, y, count, weight, rows = rows, size = size] {
      for (Index r = 0; r < rows; ++r) {
        kernel::axpy<T>(weight, View<const T, 1>(y.gradient + r / count * size, {size}),
                        View<T, 1>(x.gradient + r * size, {size}));
      }
    });
  }
  return y;
}

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
