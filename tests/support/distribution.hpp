// SPDX-License-Identifier: MIT
// What the tests of all distributions share: columns of numbers as Vars, and central differences of a noise map.
#pragma once

#include "support/golden.hpp"
#include "support/kolmogorov_smirnov.hpp"
#include "support/measured.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <vector>

namespace fovea_test {

/// The numbers as a Var [n, 1] that wants a gradient.
template <class T, class Numbers = std::initializer_list<double>>
[[nodiscard]] fovea::Var<T> column(fovea::Tape<T>& tape, const Numbers& numbers) {
  const fovea::Var<T> x = tape.variable(fovea::Shape{static_cast<fovea::Index>(numbers.size()), 1});
  fovea::Index i = 0;
  for (const double number : numbers) x.value[i++] = static_cast<T>(number);
  return x;
}
/// n times one number, [n, 1].
template <class T>
[[nodiscard]] fovea::Var<T> repeated(fovea::Tape<T>& tape, double number, fovea::Index n) {
  const fovea::Var<T> x = tape.variable(fovea::Shape{n, 1});
  std::fill_n(x.value, n, static_cast<T>(number));
  return x;
}
/// Column k of a table.
[[nodiscard]] inline std::vector<double> column_of(const std::vector<std::vector<double>>& rows, std::size_t k) {
  std::vector<double> out;
  for (const auto& row : rows) out.push_back(row.at(k));
  return out;
}
/// Sets the gradients of y to 1 and goes back.
template <class T>
void backward_ones(fovea::Tape<T>& tape, const fovea::Var<T>& y) {
  std::fill_n(y.gradient, y.size(), T(1));
  tape.backward();
}
/// The derivative of f at x by central differences, extrapolated twice (Romberg): an error of h^6.
template <class F>
[[nodiscard]] double difference(F f, double x, double h) {
  const auto quotient = [&](double by) { return (f(x + by) - f(x - by)) / ((x + by) - (x - by)); };
  const double a = quotient(h), b = quotient(h / 2), c = quotient(h / 4);
  const double ab = (4 * b - a) / 3, bc = (4 * c - b) / 3;
  return (16 * bc - ab) / 15;
}

}  // namespace fovea_test
