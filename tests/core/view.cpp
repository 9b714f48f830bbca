// SPDX-License-Identifier: MIT
#include <fovea/core/view.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

using namespace fovea;

TEST_CASE("a view indexes by its strides") {
  float data[24];
  for (int i = 0; i < 24; ++i) data[i] = static_cast<float>(i);
  const View<float, 3> v(data, {2, 3, 4});
  CHECK(v.size() == 24);
  CHECK(v.is_dense());
  CHECK(v(0, 0, 0) == 0.0F);
  CHECK(v(1, 2, 3) == 23.0F);
  CHECK(v[1][2][3] == 23.0F);
  CHECK(v[1](0, 1) == 13.0F);

  SUBCASE("slices share the memory") {
    const View<float, 3> s = v.slice(1, 1);
    CHECK(s.extent(0) == 1);
    CHECK(s.data() == data + 12);
    s(0, 0, 0) = -1.0F;
    CHECK(data[12] == -1.0F);
  }
  SUBCASE("a transposed view is the same memory in another order") {
    const View<float, 2> m(data, {4, 6});
    const View<float, 2> t(data, {6, 4}, {1, 6});
    CHECK_FALSE(t.is_dense());
    for (Index i = 0; i < 4; ++i) {
      for (Index j = 0; j < 6; ++j) CHECK(&m(i, j) == &t(j, i));
    }
  }
  SUBCASE("negative strides read backwards") {
    const View<float, 1> r(data + 23, {24}, {-1});
    CHECK(r(0) == 23.0F);
    CHECK(r[23] == 0.0F);
  }
}

TEST_CASE("constness of the elements only ever grows") {
  static_assert(std::is_convertible_v<View<float, 2>, View<const float, 2>>);
  static_assert(!std::is_convertible_v<View<const float, 2>, View<float, 2>>);
  static_assert(!std::is_convertible_v<View<float, 2>, View<double, 2>>);
  static_assert(std::is_trivially_copyable_v<View<float, 4>>);
  CHECK(true);
}

TEST_CASE("empty views and tensors") {
  const View<float, 2> none;
  CHECK(none.empty());
  CHECK(none.data() == nullptr);
  const Tensor<float, 2> nothing({0, 5});
  CHECK(nothing.size() == 0);
  CHECK(nothing.view().empty());
  CHECK(Tensor<float, 1>().size() == 0);
}

TEST_CASE("a tensor owns aligned, zeroed memory and copies deeply") {
  Tensor<float, 2> a({3, 5});
  CHECK(reinterpret_cast<std::uintptr_t>(a.data()) % kAlignment == 0);
  for (const float x : a) CHECK(x == 0.0F);
  a(1, 2) = 7.0F;

  Tensor<float, 2> b = a;
  CHECK(b(1, 2) == 7.0F);
  b(1, 2) = 8.0F;
  CHECK(a(1, 2) == 7.0F);

  const float* memory = b.data();
  Tensor<float, 2> c = std::move(b);
  CHECK(c.data() == memory);
  CHECK(b.size() == 0);  // NOLINT(bugprone-use-after-move): a moved-from tensor is empty

  a = c;
  CHECK(a(1, 2) == 8.0F);
  CHECK(a.data() != c.data());
  const Tensor<float, 2>& same = a;
  a = same;
  CHECK(a(1, 2) == 8.0F);
  const View<const float, 2> view = same;
  CHECK(view(1, 2) == 8.0F);
}

TEST_CASE("negative extents are refused") {
  CHECK_THROWS_WITH_AS((Tensor<float, 2>({2, -1})), "Tensor: extents of at least 0 expected, -1 came", Error);
}

TEST_CASE("shapes") {
  const Shape scalar;
  CHECK(scalar.rank() == 0);
  CHECK(scalar.size() == 1);
  const Shape s{2, 3, 4};
  CHECK(s.rank() == 3);
  CHECK(s.size() == 24);
  CHECK(s[1] == 3);
  CHECK(s == Shape{2, 3, 4});
  CHECK_FALSE(s == Shape{2, 3});
  CHECK_FALSE(Shape{2, 1} == Shape{2});
  CHECK(s.to_string() == "[2x3x4]");
  CHECK(s.extents<3>() == Extents<3>{2, 3, 4});
  CHECK_THROWS_AS((Shape{1, 2, 3, 4, 5}), Error);
}

TEST_CASE("errors say what was expected and what came") {
  CHECK_THROWS_WITH_AS(require(false, "glimpse: ", 3, " channels expected, the image has ", 4),
                       "glimpse: 3 channels expected, the image has 4", Error);
  CHECK_NOTHROW(require(true, "nothing"));
}
