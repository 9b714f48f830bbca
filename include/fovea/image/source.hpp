// SPDX-License-Identifier: MIT
/// \file
/// What a model may look at: anything that can hand out its resolutions.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/view.hpp>

#include <concepts>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {

/// An image that can be looked at: its extent, its channels, and the resolutions at which it is stored.
/// `pyramid()` is cheap (no pixel is touched) and stays valid as long as the source does.
///
///     extent()    {height, width} of the full image, in pixels
///     channels()  at least 1
///     pyramid()   PyramidView<Pixel>, or a reference to one
template <class S>
concept ImageSource = requires(const S& source) {
  { source.extent() } -> std::convertible_to<Extents<2>>;
  { source.channels() } -> std::convertible_to<Index>;
  typename std::remove_cvref_t<decltype(source.pyramid())>::PixelType;
  requires std::same_as<std::remove_cvref_t<decltype(source.pyramid())>,
                        PyramidView<typename std::remove_cvref_t<decltype(source.pyramid())>::PixelType>>;
};

/// The pixel type of a source.
template <ImageSource S>
using PixelOf = typename std::remove_cvref_t<decltype(std::declval<const S&>().pyramid())>::PixelType;

}  // namespace fovea::inline FOVEA_ABI
