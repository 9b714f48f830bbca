// SPDX-License-Identifier: MIT
/// \file
/// Attention over the positions of a feature map.
///
/// The location head that starts quickly (DESIGN section 6) is made of these: scores of every position of the proxy's
/// features by a key from the state, softmax over the positions, expected coordinates:
///     auto attention = softmax(ctx, key_scores(ctx, features, key));
///     auto place = expected_coordinates(ctx, attention, height, width);   // [B, 2], x first
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/attention.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/loss.hpp>

namespace fovea::inline FOVEA_ABI {
namespace nn {

namespace traced {
/// scores = features key, of [B, P, C] and [B, C].
struct KeyScores {};
/// The mean of features under an attention, of [B, P] and [B, P, C].
struct AttentionPool {};
/// The mean place under an attention over a grid.
struct ExpectedCoordinates {
  Extents<2> grid;
};
}  // namespace traced

namespace detail {

template <class T>
[[nodiscard]] Extents<3> feature_extents(const char* op, const Var<T>& features) {
  require(features.shape.rank() == 3 || features.shape.rank() == 4, op,
          ": features [B, P, C] or [B, H, W, C] expected, a shape ", features.shape.to_string(), " came");
  return as_positions(features.shape);
}

}  // namespace detail

/// The dot product of each position's feature with its sample's key. features [B, P, C] or [B, H, W, C], key [B, C];
/// returns [B, P], P = H * W in rows.
template <Context C>
[[nodiscard]] VarOf<C> key_scores(C& context, VarOf<C> features, VarOf<C> key) {
  using T = typename C::Scalar;
  const Extents<3> e = detail::feature_extents("key_scores", features);
  detail::require_shape("key_scores", "a key", key, {e[0], e[2]});
  const VarOf<C> scores = output(context, {e[0], e[1]}, features, key);
  kernel::key_scores<T>({features.value, e}, key.template values<2>(), scores.template mutable_values<2>());
  count(context, e[0] * e[1] * e[2]);
  trace(context, traced::KeyScores{}, scores, features, key);
  if (scores.gradient) {
    context.record([=] {
      kernel::key_scores_backward<T>(scores.template gradients<2>(), {features.value, e}, key.template values<2>(),
                                     gradient_view(features, e), gradient_view<2>(key));
    });
  }
  return scores;
}

/// Softmax over all positions of a map of scores [B, H, W, 1] (or [B, H, W], [B, P]); returns the attention [B, H * W].
template <Context C>
[[nodiscard]] VarOf<C> spatial_softmax(C& context, VarOf<C> scores) {
  require(scores.shape.rank() >= 2 && (scores.shape.rank() < 4 || scores.shape[3] == 1),
          "spatial_softmax: scores [B, H, W, 1] expected, a shape ", scores.shape.to_string(), " came");
  const Extents<2> rows = detail::as_samples(scores.shape);
  return softmax(context, scores.reshape({rows[0], rows[1]}));
}

/// The mean of the features under the attention. attention [B, P], features [B, P, C] or [B, H, W, C]; returns [B, C].
template <Context C>
[[nodiscard]] VarOf<C> attention_pool(C& context, VarOf<C> attention, VarOf<C> features) {
  using T = typename C::Scalar;
  const Extents<3> e = detail::feature_extents("attention_pool", features);
  detail::require_shape("attention_pool", "an attention", attention, {e[0], e[1]});
  const VarOf<C> y = output(context, {e[0], e[2]}, attention, features);
  kernel::attention_pool<T>(attention.template values<2>(), {features.value, e}, y.template mutable_values<2>());
  count(context, e[0] * e[1] * e[2]);
  trace(context, traced::AttentionPool{}, y, attention, features);
  if (y.gradient) {
    context.record([=] {
      kernel::attention_pool_backward<T>(y.template gradients<2>(), attention.template values<2>(), {features.value, e},
                                         gradient_view<2>(attention), gradient_view(features, e));
    });
  }
  return y;
}

/// The expected place under an attention [B, height * width] over cells that tile [-1, 1] x [-1, 1]; returns [B, 2], x
/// first.
template <Context C>
[[nodiscard]] VarOf<C> expected_coordinates(C& context, VarOf<C> attention, Index height, Index width) {
  using T = typename C::Scalar;
  require(height > 0 && width > 0, "expected_coordinates: a grid of at least 1 x 1 expected, ", height, " x ", width, " came");
  detail::require_rank("expected_coordinates", attention, 2);
  const Index samples = attention.shape[0];
  detail::require_shape("expected_coordinates", "an attention", attention, {samples, height * width});
  const VarOf<C> y = output(context, {samples, 2}, attention);
  kernel::expected_coordinates<T>(attention.template values<2>(), height, width, y.template mutable_values<2>());
  trace(context, traced::ExpectedCoordinates{{height, width}}, y, attention);
  if (y.gradient) {
    context.record([=] {
      kernel::expected_coordinates_backward<T>(y.template gradients<2>(), height, width, attention.template gradients<2>());
    });
  }
  return y;
}

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
