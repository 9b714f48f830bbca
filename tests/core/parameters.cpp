// SPDX-License-Identifier: MIT
#include <fovea/core/parameters.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

using namespace fovea;

TEST_CASE("parameters lie one behind the other, on cache lines, under dotted names") {
  ParameterLayout layout;
  const Parameter a = layout.add("a", {3}, Initialiser::constant(1));
  Parameter b;
  {
    const auto outer = layout.scope("outer");
    const auto inner = layout.scope("inner");
    b = layout.add("b", {2, 5}, Initialiser::constant(2));
  }
  const Parameter c = layout.add("c", {}, Initialiser::constant(3));
  CHECK(a.offset == 0);
  CHECK(b.offset == 16);
  CHECK(c.offset == 32);
  CHECK(layout.size() == 48);
  CHECK(layout.count() == 14);
  CHECK(layout.entries()[1].name == "outer.inner.b");
  CHECK(layout.entries()[2].name == "c");
  CHECK_THROWS_WITH_AS(layout.add("c", {}, Initialiser::constant(0)), "parameter \"c\": a name not used before expected",
                       Error);
  const auto outer = layout.scope("outer");
  CHECK_NOTHROW(layout.add("c", {}, Initialiser::constant(0)));

  Parameters<float> p(layout);
  CHECK(p[a](2) == 1.0F);
  CHECK(p[b](9) == 2.0F);
  CHECK(p[b].size() == 10);
  CHECK(p.at("c")(0) == 3.0F);
  CHECK_THROWS_WITH_AS((void)p.at("d"), "parameters: no parameter is named \"d\"", Error);
  CHECK(p.values()(5) == 0.0F);  // padding

  std::vector<std::string> names;
  std::as_const(p).visit([&](const std::string& name, const Shape& shape, View<const float, 1> elements) {
    names.push_back(name + shape.to_string());
    CHECK(elements.size() == shape.size());
  });
  CHECK(names == std::vector<std::string>{"a[3]", "outer.inner.b[2x5]", "c[]", "outer.c[]"});
}

TEST_CASE("a parameter starts the same whatever stands behind it, in both precisions") {
  ParameterLayout small;
  small.add("w", {50}, Initialiser::normal(0.5));
  ParameterLayout large;
  large.add("w", {50}, Initialiser::normal(0.5));
  large.add("v", {7}, Initialiser::uniform(2));
  const Parameters<float> p(small, 9);
  const Parameters<double> q(large, 9);
  const Parameters<double> r(large, 10);
  int differing = 0;
  for (Index i = 0; i < 50; ++i) {
    CHECK(p.values()(i) == static_cast<float>(q.values()(i)));
    differing += q.values()(i) != r.values()(i) ? 1 : 0;
  }
  CHECK(differing == 50);
  for (Index i = 0; i < 7; ++i) CHECK(std::abs(q.values()(64 + i)) <= 2);
}

TEST_CASE("initial values have the deviation asked for") {
  ParameterLayout layout;
  const Parameter n = layout.add("n", {40000}, Initialiser::normal(0.25));
  const Parameter u = layout.add("u", {40000}, Initialiser::uniform(0.75));
  const Parameters<double> p(layout, 3);
  const auto deviation = [](View<const double, 1> x) {
    double squares = 0;
    for (Index i = 0; i < x.size(); ++i) squares += x(i) * x(i);
    return std::sqrt(squares / static_cast<double>(x.size()));
  };
  CHECK(deviation(p[n]) == doctest::Approx(0.25).epsilon(0.02));
  CHECK(deviation(p[u]) == doctest::Approx(0.75 / std::sqrt(3.0)).epsilon(0.02));
}
