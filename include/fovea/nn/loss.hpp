// SPDX-License-Identifier: MIT
/// \file
/// Softmax, the logarithm of sums of exponentials, and the losses, one number per sample; in nats.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/loss.hpp>
#include <fovea/nn/context.hpp>

#include <algorithm>
#include <cstdint>
#include <span>

namespace fovea::inline FOVEA_ABI {
namespace nn {

namespace traced {
/// Softmax over the last axis.
struct Softmax {};
}  // namespace traced

/// Softmax over the last axis. Any rank from 1; the last extent must not be 0.
template <Context C>
[[nodiscard]] VarOf<C> softmax(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  const Extents<2> rows = detail::as_rows(x.shape);
  require(rows[1] > 0, "softmax: rows of at least one element expected, a shape ", x.shape.to_string(), " came");
  const VarOf<C> y = output(context, x.shape, x);
  kernel::softmax<T>({x.value, rows}, {y.value, rows});
  trace(context, traced::Softmax{}, y, x);
  if (y.gradient) {
    context.record([=] { kernel::softmax_backward<T>({y.gradient, rows}, {y.value, rows}, {x.gradient, rows}); });
  }
  return y;
}

/// log(sum(exp(x))) over the last axis, [B, K] to [B]; nothing overflows. Elements may be -infinity, but not a whole row.
/// Throws Error on another rank, and on rows of no element.
template <Context C>
[[nodiscard]] VarOf<C> log_sum_exp(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  detail::require_rank("log_sum_exp", x, 2);
  const Index samples = x.shape[0];
  const Index columns = x.shape[1];
  require(columns > 0, "log_sum_exp: rows of at least one element expected, a shape ", x.shape.to_string(), " came");
  const VarOf<C> y = output(context, Shape{samples}, x);
  // The greatest element, and the cross-entropy of calling it: log(1 + the others), of which no digit is lost.
  T* probabilities = context.scratch(x.size());
  auto* greatest = context.template scratch<std::int32_t>(samples);
  for (Index b = 0; b < samples; ++b) {
    const T* row = x.value + b * columns;
    greatest[b] = static_cast<std::int32_t>(std::max_element(row, row + columns) - row);
  }
  const Extents<2> rows{samples, columns};
  kernel::cross_entropy<T>({x.value, rows}, {greatest, {samples}}, y.mutable_values(), {probabilities, rows});
  for (Index b = 0; b < samples; ++b) y.value[b] += x.value[b * columns + greatest[b]];
  if (y.gradient) {
    context.record([=] {
      for (Index b = 0; b < samples; ++b) {
        kernel::axpy<T>(y.gradient[b], View<const T, 1>(probabilities + b * columns, {columns}),
                        View<T, 1>(x.gradient + b * columns, {columns}));
      }
    });
  }
  return y;
}

/// The loss -log softmax(logits)[label] of each sample. logits [B, K], labels [B] in [0, K) (copied); returns [B].
/// Throws Error on another number of labels, or a label out of range.
template <Context C>
[[nodiscard]] VarOf<C> cross_entropy(C& context, VarOf<C> logits, std::span<const std::int32_t> labels) {
  using T = typename C::Scalar;
  detail::require_rank("cross_entropy", logits, 2);
  const Index samples = logits.shape[0];
  const Index classes = logits.shape[1];
  require(static_cast<Index>(labels.size()) == samples, "cross_entropy: ", samples, " labels expected, ", labels.size(),
          " came");
  for (const std::int32_t label : labels) {
    require(label >= 0 && label < classes, "cross_entropy: labels within [0, ", classes, ") expected, ", label, " came");
  }
  const VarOf<C> losses = output(context, Shape{samples}, logits);
  T* probabilities = context.scratch(logits.size());
  auto* kept = context.template scratch<std::int32_t>(samples);
  std::copy(labels.begin(), labels.end(), kept);
  const Extents<2> rows{samples, classes};
  kernel::cross_entropy<T>({logits.value, rows}, {kept, {samples}}, losses.mutable_values(), {probabilities, rows});
  if (losses.gradient) {
    context.record([=] {
      kernel::cross_entropy_backward<T>(losses.gradients(), {probabilities, rows}, {kept, {samples}}, {logits.gradient, rows});
    });
  }
  return losses;
}

/// log p(targets) of each sample under independent Bernoulli variables with probabilities sigmoid(logits). logits [B,
/// ...], targets of the same shape, in [0, 1]; returns [B]. Minus this is the loss.
template <Context C>
[[nodiscard]] VarOf<C> bernoulli_log_likelihood(C& context, VarOf<C> logits, VarOf<C> targets) {
  using T = typename C::Scalar;
  require(logits.shape.rank() >= 1, "bernoulli_log_likelihood: logits of rank 1 or more expected");
  detail::require_shape("bernoulli_log_likelihood", "targets", targets, logits.shape);
  const Extents<2> rows = detail::as_samples(logits.shape);
  const VarOf<C> y = output(context, Shape{rows[0]}, logits, targets);
  kernel::bernoulli_log_likelihood<T>({logits.value, rows}, {targets.value, rows}, y.mutable_values());
  if (y.gradient) {
    context.record([=] {
      kernel::bernoulli_log_likelihood_backward<T>(y.gradients(), {logits.value, rows}, {targets.value, rows},
                                                   gradient_view(logits, rows), gradient_view(targets, rows));
    });
  }
  return y;
}

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
