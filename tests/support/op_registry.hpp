// SPDX-License-Identifier: MIT
// The registry of ops: a name and a maker of random cases. Every op of the library is in one, and whatever holds for
// all ops is checked over it: derivatives, agreement of Tape and Inference, gradients that are not wanted.
//
//   ops.add("scale", [](Stream& stream, GradientCheck& check) {
//     check.input({extent(stream), 3}, stream);
//     return [](auto& context, auto in) { return nn::scale(context, 0.7, in[0]); };
//   });
//   ops.check_all();
#pragma once

#include "support/worst_gradient.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace fovea_test {

/// A random extent in [low, high]: small, and often no multiple of a vector's width.
inline fovea::Index extent(fovea::Stream& stream, fovea::Index low = 1, fovea::Index high = 6) {
  return low + static_cast<fovea::Index>(stream.below(static_cast<std::uint32_t>(high - low + 1)));
}
/// The same, across the widths of vectors (up to 16 floats).
inline fovea::Index channels(fovea::Stream& stream, fovea::Index low = 1, fovea::Index high = 19) {
  return extent(stream, low, high);
}

class OpRegistry {
 public:
  struct Op {
    std::string name;
    std::function<fovea::GradientReport(fovea::Stream&)> run;
  };

  /// `make(stream, check)` adds inputs to the check (or assigns it one with parameters) and returns the function to
  /// check.
  template <class Make>
  void add(std::string name, Make make) {
    ops_.push_back({std::move(name), [make](fovea::Stream& stream) {
                      fovea::GradientCheck check;
                      const auto function = make(stream, check);
                      return check.run(function);
                    }});
  }
  [[nodiscard]] const std::vector<Op>& ops() const { return ops_; }

  /// Runs every op on `cases` random cases.
  void check_all(int cases = 8, double tolerance = 1e-6) const {
    for (const Op& op : ops_) {
      for (int i = 0; i < cases; ++i) {
        fovea::Stream stream(2019, 0, static_cast<std::uint64_t>(i), fovea::Purpose::test);
        const fovea::GradientReport report = noted(op.run(stream));
        INFO(op.name, ", case ", i, ": worst at ", report.where, ", analytic ", report.analytic, ", numeric ", report.numeric);
        CHECK(report.worst <= tolerance);
        CHECK(report.forward_gap == 0.0);
        CHECK(report.partial_gap == 0.0);
        CHECK(report.checked > 0);
      }
    }
  }

 private:
  std::vector<Op> ops_;
};

}  // namespace fovea_test
