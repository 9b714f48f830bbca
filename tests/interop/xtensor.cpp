// SPDX-License-Identifier: MIT
// xtensor's arrays and views of the library are the same memory, however it is strided.
#include <fovea/interop/xtensor.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

using fovea::Index;
using fovea::View;

namespace {

template <class E>
concept HasView = requires(E&& e) {
  fovea::as_view(std::forward<E>(e));
};
template <class E>
concept HasView2 = requires(E&& e) {
  fovea::as_view<2>(std::forward<E>(e));
};

template <class T, class E>
void check_same(const View<T, 3>& view, E&& array) {
  REQUIRE(array.dimension() == 3);
  for (std::size_t i = 0; i < 3; ++i) REQUIRE(view.extent(i) == static_cast<Index>(array.shape()[i]));
  for (Index i = 0; i < view.extent(0); ++i) {
    for (Index j = 0; j < view.extent(1); ++j) {
      for (Index k = 0; k < view.extent(2); ++k) CHECK(&view(i, j, k) == &array(i, j, k));
    }
  }
}

}  // namespace

TEST_CASE("as_view: arrays of xtensor") {
  SUBCASE("fixed rank") {
    xt::xtensor<float, 3> array({3, 4, 5});
    const auto view = fovea::as_view(array);
    static_assert(std::is_same_v<decltype(view), const View<float, 3>>);
    check_same(view, array);
    CHECK(view.is_dense());
  }
  SUBCASE("column-major") {
    xt::xtensor<double, 3, xt::layout_type::column_major> array({3, 4, 5});
    const auto view = fovea::as_view(array);
    check_same(view, array);
    CHECK(view.stride(0) == 1);
  }
  SUBCASE("axes of one element keep no array from being dense") {
    xt::xtensor<std::uint8_t, 3> grey({3, 4, 1});
    check_same(fovea::as_view(grey), grey);
    CHECK(fovea::as_view(grey).is_dense());
    xt::xtensor<std::uint8_t, 3> row({1, 1, 4});
    CHECK(fovea::as_view(row).is_dense());
  }
  SUBCASE("rank that is known when it runs") {
    xt::xarray<std::uint16_t> array = xt::zeros<std::uint16_t>({3, 4, 5});
    check_same(fovea::as_view<3>(array), array);
    static_assert(HasView2<xt::xarray<float>&>);
    static_assert(!HasView<xt::xarray<float>&>);
    CHECK_THROWS_WITH_AS((void)fovea::as_view<2>(array), "as_view: an array of 2 axes expected, one of 3 came", fovea::Error);
  }
  SUBCASE("views, transposes and adapted memory") {
    xt::xtensor<int, 3> array({6, 7, 4});
    check_same(fovea::as_view(xt::view(array, xt::range(1, 6, 2), xt::range(2, 5), xt::all())),
               xt::view(array, xt::range(1, 6, 2), xt::range(2, 5), xt::all()));
    const auto plane = fovea::as_view(xt::view(array, xt::all(), xt::all(), 2));
    static_assert(decltype(plane)::rank == 2);
    CHECK(&plane(5, 6) == &array(5, 6, 2));
    auto turned = xt::transpose(array);
    check_same(fovea::as_view(turned), turned);
    check_same(fovea::as_view<3>(xt::strided_view(array, {xt::range(0, 2), xt::range(1, 3), xt::all()})),
               xt::strided_view(array, {xt::range(0, 2), xt::range(1, 3), xt::all()}));
    std::vector<float> memory(12);
    const auto adapted =
        fovea::as_view(xt::adapt(memory.data(), memory.size(), xt::no_ownership(), std::array<std::size_t, 2>{3, 4}));
    CHECK(&adapted(2, 3) == &memory[11]);
  }
  SUBCASE("const stays const") {
    const xt::xtensor<float, 2> array = {{1.0F, 2.0F}, {3.0F, 4.0F}};
    const auto view = fovea::as_view(array);
    static_assert(std::is_same_v<decltype(view), const View<const float, 2>>);
    CHECK(view(1, 0) == 3.0F);
    static_assert(std::is_same_v<decltype(fovea::as_view(xt::view(array, 0, xt::all()))), View<const float, 1>>);
  }
  SUBCASE("temporaries that own are refused by the compiler") {
    static_assert(HasView<xt::xtensor<float, 2>&>);
    static_assert(HasView<const xt::xtensor<float, 2>&>);
    static_assert(!HasView<xt::xtensor<float, 2>>);
    static_assert(!HasView<const xt::xtensor<float, 2>>);
    static_assert(!HasView2<xt::xarray<float>>);
    static_assert(!HasView<decltype(xt::view(std::declval<xt::xtensor<float, 2>>(), xt::all(), xt::all()))>);
    // Nothing in memory to look at.
    static_assert(!HasView<decltype(std::declval<xt::xtensor<float, 2>&>() + 1.0F)>);
  }
}

TEST_CASE("as_xtensor: views of any stride") {
  std::vector<int> memory(60);
  std::iota(memory.begin(), memory.end(), 0);
  const auto twin = [](const View<const int, 3>& view) {
    int sum = 0;
    for (Index i = 0; i < view.extent(0); ++i) {
      for (Index j = 0; j < view.extent(1); ++j) {
        for (Index k = 0; k < view.extent(2); ++k) sum += view(i, j, k);
      }
    }
    return sum;
  };
  const std::vector<View<int, 3>> views = {
      {memory.data(), {3, 4, 5}},
      {memory.data() + 2, {3, 2, 3}, {20, 5, 1}},      // rows that lie apart
      {memory.data(), {5, 4, 3}, {1, 5, 20}},          // turned around
      {memory.data() + 4, {3, 4, 5}, {20, 5, -1}},     // channels reversed
      {memory.data() + 59, {3, 4, 5}, {-20, -5, -1}},  // all reversed
      {memory.data() + 7, {1, 1, 4}, {99, 77, 2}},     // strides that nobody steps over
      {memory.data() + 3, {2, 3, 4}, {0, 0, 1}},       // one row for all
      {memory.data(), {0, 4, 5}},
  };
  for (const View<int, 3>& view : views) {
    auto array = fovea::as_xtensor(view);
    CHECK(xt::sum(array)() == twin(view));
    if (!view.empty()) check_same(fovea::as_view(array), array);
    if (!view.empty()) CHECK(fovea::as_view(array).data() == view.data());
  }
  SUBCASE("written through, gaps untouched") {
    std::vector<int> out(60, -1);
    const View<int, 3> gaps(out.data() + 2, {3, 2, 3}, {20, 5, 1});
    fovea::as_xtensor(gaps) = fovea::as_xtensor(views[1]);
    CHECK(twin(gaps) == twin(views[1]));
    CHECK(std::count(out.begin(), out.end(), -1) == 60 - 18);
    fovea::as_xtensor(gaps) *= 2;
    CHECK(twin(gaps) == 2 * twin(views[1]));
    CHECK(std::count(out.begin(), out.end(), -1) == 60 - 18);
  }
  SUBCASE("const") {
    const View<const int, 3> view(memory.data(), {3, 4, 5});
    const auto array = fovea::as_xtensor(view);
    static_assert(std::is_same_v<decltype(array(0, 0, 0)), const int&>);
    CHECK(xt::amax(array)() == 59);
  }
}
