// SPDX-License-Identifier: MIT
/// \file
/// Several minibatches as one, and one as several.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/reshape.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <span>

namespace fovea::inline FOVEA_ABI {
namespace nn {

/// The parts one after the other along the first axis: [B_1, ...], [B_2, ...], ... to [B_1 + B_2 + ..., ...]; slice_samples
/// (reshape.hpp) takes them apart again without a copy. One part is returned as it is. Throws Error on no part, and on parts
/// that differ in more than the first extent.
template <Context C>
[[nodiscard]] VarOf<C> concat_samples(C& context, std::span<const VarOf<C>> parts) {
  using T = typename C::Scalar;
  require(!parts.empty(), "concat_samples: at least one part expected");
  if (parts.size() == 1) return parts[0];
  const auto with_first = [](const Shape& shape, Index first) -> Shape {
    switch (shape.rank()) {
      case 1: return {first};
      case 2: return {first, shape[1]};
      case 3: return {first, shape[1], shape[2]};
      case 4: return {first, shape[1], shape[2], shape[3]};
      default: fail("concat_samples: parts of rank 1 to 4 expected, ", shape.to_string(), " came");
    }
  };
  const Shape& first = parts[0].shape;
  Index samples = 0;
  bool wanted = false;
  for (const VarOf<C>& part : parts) {
    if (!(with_first(part.shape, 1) == with_first(first, 1))) {
      fail("concat_samples: parts that differ in the first extent only expected, ", first.to_string(), " and ",
           part.shape.to_string(), " came");
    }
    samples += part.shape[0];
    wanted = wanted || part.gradient != nullptr;
  }
  const Shape shape = with_first(first, samples);
  const VarOf<C> y = wanted ? context.variable(shape) : context.constant(shape);
  T* to = y.value;
  for (const VarOf<C>& part : parts) to = std::copy_n(part.value, part.size(), to);
  trace_all(context, traced::Concat{0}, y, parts);
  if (y.gradient) {
    const auto count = static_cast<Index>(parts.size());
    auto* kept = context.template scratch<VarOf<C>>(count);
    std::uninitialized_copy(parts.begin(), parts.end(), kept);
    context.record([=] {
      const T* from = y.gradient;
      for (Index i = 0; i < count; ++i) {
        if (kept[i].gradient) kernel::accumulate<T>(View<const T, 1>(from, {kept[i].size()}), kept[i].gradients());
        from += kept[i].size();
      }
    });
  }
  return y;
}

/// network(context, x) for x [N, ...], at most `size` samples at a time: what a layer has written is still in the cache when
/// the next one reads it, and an Inference needs the memory of one piece. The network must treat samples alone.
template <Context C, class Network>
[[nodiscard]] VarOf<C> in_pieces(C& context, const Network& network, VarOf<C> x, Index size) {
  require(x.shape.rank() >= 1 && size >= 1, "in_pieces: samples, and at least 1 at a time expected, ", size, " came");
  const Index samples = x.shape[0];
  const Index count = (samples + size - 1) / size;
  if (count <= 1) return network(context, x);
  auto* parts = context.template scratch<VarOf<C>>(count);
  for (Index i = 0; i < count; ++i) {
    const VarOf<C> piece = slice_samples(context, x, i * size, std::min(size, samples - i * size));
    ::new (static_cast<void*>(parts + i)) VarOf<C>(context.scope([&] { return network(context, piece); }));
  }
  return concat_samples<C>(context, std::span<const VarOf<C>>(parts, static_cast<std::size_t>(count)));
}

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
