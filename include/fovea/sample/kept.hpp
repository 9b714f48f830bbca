// SPDX-License-Identifier: MIT
/// \file
/// The backward call of a number per sample whose derivatives were kept going forward.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>

namespace fovea::inline FOVEA_ABI {
namespace sample::detail {

/// d x_bi += d y_b partial_bi: y [B], x [B, n], partial [B, n]. Does nothing where x wants no gradient.
template <class T>
void add_rows(const Var<T>& y, const Var<T>& x, const T* partial) {
  const Index columns = x.shape[1];
  for (Index i = 0, b = 0; x.gradient && b < y.size(); ++b) {
    for (Index d = 0; d < columns; ++d, ++i) x.gradient[i] += y.gradient[b] * partial[i];
  }
}

}  // namespace sample::detail
}  // namespace fovea::inline FOVEA_ABI
