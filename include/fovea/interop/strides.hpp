// SPDX-License-Identifier: MIT
/// \file
/// What views of other libraries' arrays share.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>

#include <cstddef>

namespace fovea::inline FOVEA_ABI {
namespace detail {

/// Strides as a dense array would have them on axes of one element, where others write what they like (xtensor 0): a stride
/// that nobody steps over must not keep an array from being dense.
template <std::size_t N>
[[nodiscard]] constexpr Extents<N> usual_strides(const Extents<N>& extents, Extents<N> strides) noexcept {
  for (std::size_t i = N; i-- > 0;) {
    if (extents[i] == 1) strides[i] = i + 1 < N ? extents[i + 1] * strides[i + 1] : 1;
  }
  return strides;
}

}  // namespace detail
}  // namespace fovea::inline FOVEA_ABI
