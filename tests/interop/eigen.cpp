// SPDX-License-Identifier: MIT
// Eigen's matrices and views of the library are the same memory, however it is strided.
#include <fovea/interop/eigen.hpp>

#include <doctest/doctest.h>

#include <type_traits>
#include <utility>
#include <vector>

using fovea::Index;
using fovea::View;

namespace {

/// Every element is where its twin is.
template <class T, class E>
void check_same(const View<T, 2>& view, E& matrix) {
  REQUIRE(view.extent(0) == matrix.rows());
  REQUIRE(view.extent(1) == matrix.cols());
  for (Index i = 0; i < view.extent(0); ++i) {
    for (Index j = 0; j < view.extent(1); ++j) CHECK(&view(i, j) == &matrix.coeffRef(i, j));
  }
}

template <class E>
concept HasView = requires(E&& e) {
  fovea::as_view(std::forward<E>(e));
};

}  // namespace

TEST_CASE("as_view: matrices of Eigen") {
  SUBCASE("column-major") {
    Eigen::MatrixXd matrix(3, 5);
    const auto view = fovea::as_view(matrix);
    static_assert(std::is_same_v<decltype(view), const View<double, 2>>);
    check_same(view, matrix);
    CHECK(view.stride(1) == 3);
  }
  SUBCASE("row-major is dense") {
    Eigen::Array<float, 3, 5, Eigen::RowMajor> array;
    const auto view = fovea::as_view(array);
    check_same(view, array);
    CHECK(view.is_dense());
  }
  SUBCASE("vectors are dense") {
    Eigen::VectorXf column(4);
    Eigen::RowVectorXf row(4);
    check_same(fovea::as_view(column), column);
    check_same(fovea::as_view(row), row);
    CHECK(fovea::as_view(column).is_dense());
    CHECK(fovea::as_view(row).is_dense());
  }
  SUBCASE("maps with outer and inner strides") {
    std::vector<int> memory(60);
    Eigen::Map<Eigen::MatrixXi, 0, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>> map(memory.data(), 3, 4, {15, 2});
    check_same(fovea::as_view(map), map);
    CHECK(fovea::as_view(map).stride(0) == 2);
    CHECK(fovea::as_view(map).stride(1) == 15);
  }
  SUBCASE("blocks, rows and transposes of what lasts") {
    Eigen::MatrixXf matrix(6, 7);
    auto block = matrix.block(1, 2, 3, 4);
    check_same(fovea::as_view(block), block);
    auto turned = matrix.transpose();
    check_same(fovea::as_view(turned), turned);
    const auto view = fovea::as_view(matrix.row(2));
    CHECK(&view(0, 3) == &matrix(2, 3));
    Eigen::Ref<Eigen::MatrixXf> ref = matrix;
    check_same(fovea::as_view(ref), ref);
  }
  SUBCASE("const stays const") {
    const Eigen::MatrixXf matrix = Eigen::MatrixXf::Ones(2, 3);
    const auto view = fovea::as_view(matrix);
    static_assert(std::is_same_v<decltype(view), const View<const float, 2>>);
    CHECK(view(1, 2) == 1.0F);
    static_assert(std::is_same_v<decltype(fovea::as_view(matrix.row(0))), View<const float, 2>>);
  }
  SUBCASE("temporaries that own are refused by the compiler") {
    static_assert(HasView<Eigen::MatrixXf&>);
    static_assert(HasView<const Eigen::MatrixXf&>);
    static_assert(!HasView<Eigen::MatrixXf>);
    static_assert(!HasView<const Eigen::MatrixXf>);
    static_assert(!HasView<Eigen::Array33f>);
    static_assert(!HasView<Eigen::Ref<const Eigen::MatrixXf>>);
    static_assert(HasView<Eigen::Map<Eigen::MatrixXf>>);
    // Nothing in memory to look at.
    using Sum = decltype(std::declval<Eigen::MatrixXf&>() + std::declval<Eigen::MatrixXf&>());
    static_assert(!HasView<Sum>);
  }
}

TEST_CASE("as_eigen: views of any stride") {
  std::vector<double> memory(40);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<double>(i);
  SUBCASE("rows that lie apart, columns that do") {
    const View<double, 2> view(memory.data() + 1, {3, 4}, {12, 2});
    auto map = fovea::as_eigen(view);
    check_same(view, map);
    map *= 2.0;
    CHECK(view(2, 3) == 62.0);
  }
  SUBCASE("column-major") {
    const View<double, 2> view(memory.data(), {3, 4}, {1, 10});
    auto map = fovea::as_eigen(view);
    check_same(view, map);
  }
  SUBCASE("const, and there and back") {
    const View<const double, 2> view(memory.data(), {4, 5});
    const auto map = fovea::as_eigen(view);
    CHECK(map.sum() == 190.0);
    static_assert(std::is_same_v<decltype(fovea::as_view(map)), View<const double, 2>>);
    CHECK(fovea::as_view(map).data() == view.data());
    CHECK(fovea::as_view(map).strides() == view.strides());
  }
  SUBCASE("vectors") {
    const View<double, 1> view(memory.data(), {5}, {3});
    auto map = fovea::as_eigen(view);
    CHECK(map.sum() == 30.0);
    map.setZero();
    CHECK(memory[12] == 0.0);
    CHECK(memory[11] == 11.0);
  }
  SUBCASE("negative strides are refused") {
    const View<double, 2> view(memory.data() + 30, {3, 4}, {-10, 1});
    CHECK_THROWS_AS((void)fovea::as_eigen(view), fovea::Error);
    CHECK_THROWS_AS((void)fovea::as_eigen(View<double, 1>(memory.data() + 9, {5}, {-1})), fovea::Error);
  }
}
