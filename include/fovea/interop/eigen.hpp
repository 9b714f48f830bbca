// SPDX-License-Identifier: MIT
/// \file
/// Matrices of Eigen as views and views as maps of Eigen: the same memory, nothing is copied.
///
/// What is viewed must outlive the view. A temporary that owns its elements is therefore refused by the compiler; a temporary
/// that only looks at others (Map, block, row, transpose) is not.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/interop/strides.hpp>

#include <Eigen/Core>

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {

namespace detail::eigen {

/// Elements in memory, a fixed number of them apart: Matrix, Array, Map, Ref, and blocks and transposes of them.
template <class E>
concept Strided = std::derived_from<std::remove_const_t<E>, Eigen::DenseBase<std::remove_const_t<E>>> && requires(E& e) {
  e.data();
  e.rowStride();
  e.colStride();
};
/// Matrices that own their elements, or may: a Ref to const copies what does not fit.
template <class E>
struct Owns : std::is_base_of<Eigen::PlainObjectBase<E>, E> {};
template <class M, int Options, class Stride>
struct Owns<Eigen::Ref<const M, Options, Stride>> : std::true_type {};

/// What may be viewed: a matrix that lasts, or a temporary whose elements do.
template <class E>
concept Viewable = Strided<std::remove_reference_t<E>> &&
    (std::is_lvalue_reference_v<E> || !Owns<std::remove_cvref_t<E>>::value);

/// Elements of `T`, const where the view's are.
template <class T, class M>
using Like = std::conditional_t<std::is_const_v<T>, const M, M>;

}  // namespace detail::eigen

/// The elements of a matrix or vector as rows and columns, whichever of them lies dense; View<const T, 2> of what is const.
template <detail::eigen::Viewable E>
[[nodiscard]] auto as_view(E&& matrix) {
  using T = std::remove_pointer_t<decltype(matrix.data())>;
  const Extents<2> extents{matrix.rows(), matrix.cols()};
  return View<T, 2>(matrix.data(), extents, detail::usual_strides(extents, Extents<2>{matrix.rowStride(), matrix.colStride()}));
}

/// A view as a matrix, to be read and, unless const, written. Throws Error on negative strides, which Eigen does not know.
template <class T>
[[nodiscard]] auto as_eigen(const View<T, 2>& view) {
  using Matrix = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Stride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  require(view.stride(0) >= 0 && view.stride(1) >= 0, "as_eigen: strides of at least 0 expected, ", view.stride(0), " and ",
          view.stride(1), " came");
  return Eigen::Map<detail::eigen::Like<T, Matrix>, Eigen::Unaligned, Stride>(view.data(), view.extent(0), view.extent(1),
                                                                              Stride(view.stride(0), view.stride(1)));
}
/// The same of a column vector.
template <class T>
[[nodiscard]] auto as_eigen(const View<T, 1>& view) {
  using Vector = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, 1>;
  using Stride = Eigen::InnerStride<>;
  require(view.stride(0) >= 0, "as_eigen: a stride of at least 0 expected, ", view.stride(0), " came");
  return Eigen::Map<detail::eigen::Like<T, Vector>, Eigen::Unaligned, Stride>(view.data(), view.extent(0),
                                                                              Stride(view.stride(0)));
}

}  // namespace fovea::inline FOVEA_ABI
