// SPDX-License-Identifier: MIT
/// \file
/// Arrays of xtensor as views and views as arrays of xtensor: the same memory, nothing is copied.
///
/// What is viewed must outlive the view. A temporary that owns its elements is therefore refused by the compiler; a temporary
/// that only looks at others (xt::view, xt::strided_view, xt::adapt of a pointer) is not.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/interop/strides.hpp>

#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xstrided_view.hpp>
#include <xtensor/xtensor.hpp>
#include <xtensor/xview.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

namespace fovea::inline FOVEA_ABI {

namespace detail::xtensor {

/// Elements in memory, a fixed number of them apart: xt::xarray, xt::xtensor, what xt::adapt and xt::view make of them, and
/// those of xtensor-python.
template <class E>
concept Strided = xt::is_xexpression<std::remove_const_t<E>>::value && requires(E& e) {
  e.data();
  e.data_offset();
  e.strides();
  e.shape();
};

/// Arrays that look at elements of others.
template <class E>
struct Borrows : std::false_type {};
template <class CT, class... S>
struct Borrows<xt::xview<CT, S...>> : std::is_lvalue_reference<CT> {};
template <class CT, class S, xt::layout_type L, class FST>
struct Borrows<xt::xstrided_view<CT, S, L, FST>> : std::is_lvalue_reference<CT> {};
template <class P, class A, std::size_t N, xt::layout_type L, class T>
struct Borrows<xt::xtensor_adaptor<xt::xbuffer_adaptor<P, xt::no_ownership, A>, N, L, T>> : std::true_type {};
template <class P, class A, xt::layout_type L, class S, class T>
struct Borrows<xt::xarray_adaptor<xt::xbuffer_adaptor<P, xt::no_ownership, A>, L, S, T>> : std::true_type {};

/// What may be viewed: an array that lasts, or a temporary whose elements do.
template <class E>
concept Viewable = Strided<std::remove_reference_t<E>> &&
    (std::is_lvalue_reference_v<E> || Borrows<std::remove_cvref_t<E>>::value);

inline constexpr std::size_t any_rank = std::numeric_limits<std::size_t>::max();
/// The number of axes where the type knows it; views of xt::view only say it by the type of their shape.
template <class E>
[[nodiscard]] consteval std::size_t rank_of() {
  using Shape = typename E::shape_type;
  if constexpr (xt::get_rank<E>::value != any_rank) {
    return xt::get_rank<E>::value;
  } else if constexpr (requires { std::tuple_size<Shape>::value; }) {
    return std::tuple_size<Shape>::value;
  } else {
    return any_rank;
  }
}
template <class E>
inline constexpr std::size_t rank = rank_of<std::remove_cvref_t<E>>();

template <class E>
using Element = std::remove_pointer_t<decltype(std::declval<E&>().data())>;

template <std::size_t N, class E>
[[nodiscard]] View<Element<E>, N> view(E& array) {
  require(array.dimension() == N, "as_view: an array of ", N, " axes expected, one of ", array.dimension(), " came");
  Extents<N> extents{};
  Extents<N> strides{};
  const auto& from = array.strides();
  for (std::size_t i = 0; i < N; ++i) {
    extents[i] = static_cast<Index>(array.shape()[i]);
    strides[i] = static_cast<Index>(from[i]);
  }
  return {array.data() + array.data_offset(), extents, usual_strides(extents, strides)};
}

}  // namespace detail::xtensor

/// The elements of an array of N axes; View<const T, N> of what is const. Any strides. Throws Error on another number of axes.
template <std::size_t N, detail::xtensor::Viewable E>
  requires(detail::xtensor::rank<E> == N || detail::xtensor::rank<E> == detail::xtensor::any_rank)
[[nodiscard]] auto as_view(E&& array) { return detail::xtensor::view<N>(array); }
/// The same where the type knows the number of axes.
template <detail::xtensor::Viewable E>
  requires(detail::xtensor::rank<E> != detail::xtensor::any_rank)
[[nodiscard]] auto as_view(E&& array) { return detail::xtensor::view<detail::xtensor::rank<E>>(array); }

/// The elements of a view as an expression of xtensor of N axes, to be read and, unless const, written. Any strides.
template <class T, std::size_t N>
[[nodiscard]] auto as_xtensor(const View<T, N>& view) {
  std::array<std::size_t, N> shape{};
  std::array<std::ptrdiff_t, N> strides{};
  // The memory that the elements span, and where in it the first one lies.
  Index before = 0;
  Index behind = 0;
  for (std::size_t i = 0; i < N; ++i) {
    shape[i] = static_cast<std::size_t>(view.extent(i));
    strides[i] = view.extent(i) == 1 ? 0 : view.stride(i);
    const Index reach = std::max(Index{0}, view.extent(i) - 1) * view.stride(i);
    (reach < 0 ? before : behind) += reach;
  }
  const std::size_t span = view.empty() ? 0 : static_cast<std::size_t>(behind - before + 1);
  T* const first = view.empty() ? view.data() : view.data() + before;
  auto memory = xt::adapt(first, span, xt::no_ownership(), std::array<std::size_t, 1>{span});
  return xt::strided_view(std::move(memory), std::move(shape), std::move(strides), static_cast<std::size_t>(-before),
                          xt::layout_type::dynamic);
}

}  // namespace fovea::inline FOVEA_ABI
