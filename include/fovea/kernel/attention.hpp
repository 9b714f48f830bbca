// SPDX-License-Identifier: MIT
/// \file
/// Attention over the positions of a feature map: scores by a key, weighted sums, expected coordinates.
///
/// Cost: every product reads the feature map once, 2 P C flops and 4 P C bytes per sample; a derivative with respect to the map
/// reads and writes it once more. Forward 0.04 to 0.1 ns per element of the map, 40 to 100 GB/s: bound by loads, with 16
/// channels the scores by the sum across lanes that ends a row. Backward, both gradients, 0.5 ns with 64 channels and 0.8 to
/// 1.2 with 16, bound by what happens once a row. An expected place takes 1.6 ns a cell, one chain of sums in double (float,
/// AVX-512 at about 3 GHz, bench/kernel_elementwise.cpp).
///
/// Accuracy: sums over positions in double beyond blocks of 64; within 2e-7 (float, 400 positions) of the largest element,
/// backward included.
///
/// Why so: scores and weighted sums are each other's derivatives, so three loops make all of it. They are matrix products of a
/// single row: nothing is used twice, so there is nothing to pack, and no workspace.
///
/// Features are [B, P, C], P positions in rows (p = y * W + x). An empty gradient view is skipped.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/simd.hpp>

#include <cstddef>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

namespace detail {

/// out[p] (+)= sum_c rows(p, c) * vector[c].
template <bool kAccumulate, class T>
FOVEA_ALWAYS_INLINE void dot_rows(View<const T, 2> rows, const T* vector, T* out) {
  using B = simd::Batch<T>;
  for (Index p = 0; p < rows.extent(0); ++p) {
    const T* row = &rows(p, 0);
    B total(T(0));
    simd::for_each_batch<T>(rows.extent(1), [&](auto at) { total = simd::fma<T>(at.load(row), at.load(vector), total); });
    const T value = simd::reduce_add<T>(total);
    out[p] = kAccumulate ? out[p] + value : value;
  }
}

/// out[c] (+)= sum_p weights[p] * rows(p, c).
template <bool kAccumulate, class T>
FOVEA_ALWAYS_INLINE void weighted_rows(View<const T, 2> rows, const T* weights, T* out) {
  using B = simd::Batch<T>;
  simd::for_each_batch<T>(rows.extent(1), [&](auto at) {
    double sums[static_cast<std::size_t>(simd::kWidth<T>)] = {};
    lane_sums<T>(
        rows.extent(0), [&](Index p) { return B(weights[p]) * at.load(&rows(p, 0)); }, sums);
    for (Index l = 0; l < at.count(); ++l) {
      const T value = static_cast<T>(sums[l]);
      out[at.i + l] = kAccumulate ? out[at.i + l] + value : value;
    }
  });
}

/// rows(p, c) += weights[p] * vector[c].
template <class T>
FOVEA_ALWAYS_INLINE void add_outer(const T* weights, const T* vector, View<T, 2> rows) {
  for (Index p = 0; p < rows.extent(0); ++p) {
    axpy<T>(weights[p], View<const T, 1>(vector, {rows.extent(1)}), View<T, 1>(&rows(p, 0), {rows.extent(1)}));
  }
}

}  // namespace detail

/// scores(b, p) = sum_c features(b, p, c) * key(b, c). features [B, P, C], key [B, C], scores [B, P].
template <class T>
void key_scores(View<const std::type_identity_t<T>, 3> features, View<const std::type_identity_t<T>, 2> key,
                View<T, 2> scores) {
  for (Index b = 0; b < features.extent(0); ++b) {
    detail::dot_rows<false, T>(features[b], &key(b, 0), &scores(b, 0));
  }
}
/// d_features += d_scores key^T;  d_key += features^T d_scores.
template <class T>
void key_scores_backward(View<const std::type_identity_t<T>, 2> d_scores, View<const std::type_identity_t<T>, 3> features,
                         View<const std::type_identity_t<T>, 2> key, View<T, 3> d_features, View<T, 2> d_key) {
  for (Index b = 0; b < features.extent(0); ++b) {
    if (d_features.data()) detail::add_outer<T>(&d_scores(b, 0), &key(b, 0), d_features[b]);
    if (d_key.data()) detail::weighted_rows<true, T>(features[b], &d_scores(b, 0), &d_key(b, 0));
  }
}

/// out(b, c) = sum_p attention(b, p) * features(b, p, c). attention [B, P], features [B, P, C], out [B, C].
template <class T>
void attention_pool(View<const std::type_identity_t<T>, 2> attention, View<const std::type_identity_t<T>, 3> features,
                    View<T, 2> out) {
  for (Index b = 0; b < features.extent(0); ++b) {
    detail::weighted_rows<false, T>(features[b], &attention(b, 0), &out(b, 0));
  }
}
/// d_attention += features d_out;  d_features += attention d_out^T.
template <class T>
void attention_pool_backward(View<const std::type_identity_t<T>, 2> d_out, View<const std::type_identity_t<T>, 2> attention,
                             View<const std::type_identity_t<T>, 3> features, View<T, 2> d_attention, View<T, 3> d_features) {
  for (Index b = 0; b < features.extent(0); ++b) {
    if (d_attention.data()) detail::dot_rows<true, T>(features[b], &d_out(b, 0), &d_attention(b, 0));
    if (d_features.data()) detail::add_outer<T>(&attention(b, 0), &d_out(b, 0), d_features[b]);
  }
}

/// The centre of cell `i` of `n` that tile [-1, 1].
[[nodiscard]] constexpr double cell_centre(Index i, Index n) noexcept {
  return static_cast<double>(2 * i + 1) / static_cast<double>(n) - 1.0;
}

/// out(b) = (sum_p attention(b, p) * x_p, sum_p attention(b, p) * y_p): the expected place under an attention over
/// height x width cells, centres of the cells in [-1, 1], x (along the width) first. attention [B, height * width], out
/// [B, 2]. The soft-argmax of C. Finn et al., "Deep spatial autoencoders for visuomotor learning", ICRA 2016, for
/// attention = softmax.
template <class T>
void expected_coordinates(View<const std::type_identity_t<T>, 2> attention, Index height, Index width, View<T, 2> out) {
  FOVEA_ASSERT(attention.extent(1) == height * width);
  for (Index b = 0; b < attention.extent(0); ++b) {
    double x = 0;
    double y = 0;
    for (Index i = 0; i < height; ++i) {
      double row = 0;
      for (Index j = 0; j < width; ++j) {
        const auto a = static_cast<double>(attention(b, i * width + j));
        row += a;
        x += a * cell_centre(j, width);
      }
      y += row * cell_centre(i, height);
    }
    out(b, 0) = static_cast<T>(x);
    out(b, 1) = static_cast<T>(y);
  }
}
/// d_attention(b, p) += d_out(b, 0) * x_p + d_out(b, 1) * y_p.
template <class T>
void expected_coordinates_backward(View<const std::type_identity_t<T>, 2> d_out, Index height, Index width,
                                   View<T, 2> d_attention) {
  for (Index b = 0; b < d_attention.extent(0); ++b) {
    for (Index i = 0; i < height; ++i) {
      const T from_y = d_out(b, 1) * static_cast<T>(cell_centre(i, height));
      for (Index j = 0; j < width; ++j) {
        d_attention(b, i * width + j) += from_y + d_out(b, 0) * static_cast<T>(cell_centre(j, width));
      }
    }
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
