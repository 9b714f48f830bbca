// SPDX-License-Identifier: MIT
/// \file
/// Checks hand-written derivatives against central differences, in `double`: for a new op, for a layer, for a whole
/// model.
///
///     GradientCheck check;
///     check.input({3, 4}, stream).input({4}, stream);                        // random normal
///     const auto report = check.run([](auto& context, auto in) { return nn::something(context, in[0], in[1]); });
///     CHECK(report.worst <= 1e-6);                                          // and report.where tells the element
///
/// The callable takes a context and a span of Vars, and returns a Var of any shape. It is run on a Tape and in an
/// Inference, and must be a pure function of its inputs and the parameters.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {

/// What a check found.
struct GradientReport {
  double worst = 0;        ///< the largest relative error of a derivative
  std::string where;       ///< the element it was found at
  double analytic = 0;     ///< the derivative there, by the backward call
  double numeric = 0;      ///< and by differences
  Index checked = 0;       ///< number of derivatives compared
  double forward_gap = 0;  ///< the largest difference between the outputs of Tape and Inference; should be 0
  double partial_gap = 0;  ///< the largest change of a gradient when another input asks for none; should be 0
};

/// A function's inputs, and how to check its derivatives there.
///
/// The output is contracted with fixed random weights to one number. Differences are taken at x +- h and x +- h/2 and
/// extrapolated (Richardson), which leaves an error of order h^4; the difference is taken before the contraction, so
/// that large outputs do not drown it. Where that fails, smaller steps are tried, for a kink within reach of the step.
/// relative error = |a - n| / max(|a|, |n|, floor * the largest |derivative| of the same array).
class GradientCheck {
 public:
  double step = 1e-4;  ///< h, times max(1, |x|)
  double floor = 1e-3;
  double retry_above = 1e-7;  ///< smaller steps are tried for a relative error above this
  Index most_elements = 400;  ///< of one array that are checked; more are sampled
  std::uint64_t seed = 1;     ///< of the weights and of the sampled elements

  GradientCheck() = default;
  /// A function of these parameters, too.
  explicit GradientCheck(Parameters<double> parameters) : parameters_(std::move(parameters)) {}

  /// Adds an input with the given elements (row-major). Throws Error where their number does not fit.
  GradientCheck& input(const Shape& shape, std::vector<double> values, std::string name = {}) {
    require(static_cast<Index>(values.size()) == shape.size(), "GradientCheck: ", shape.size(), " elements expected for ",
            shape.to_string(), ", ", values.size(), " came");
    if (name.empty()) name = "input " + std::to_string(inputs_.size());
    inputs_.push_back({std::move(name), shape, std::move(values)});
    return *this;
  }
  /// Adds an input drawn from a normal distribution.
  GradientCheck& input(const Shape& shape, Stream& stream, double deviation = 1, double mean = 0) {
    std::vector<double> values(static_cast<std::size_t>(shape.size()));
    for (double& value : values) value = mean + deviation * stream.normal<double>();
    return input(shape, std::move(values));
  }
  /// Adds an input drawn uniformly from (low, high).
  GradientCheck& uniform_input(const Shape& shape, Stream& stream, double low, double high) {
    std::vector<double> values(static_cast<std::size_t>(shape.size()));
    for (double& value : values) value = stream.uniform(low, high);
    return input(shape, std::move(values));
  }
  [[nodiscard]] std::vector<double>& values(std::size_t i) { return inputs_.at(i).values; }

  /// Checks the derivatives with respect to all inputs and all parameters.
  template <class Function>
  [[nodiscard]] GradientReport run(Function&& function) {
    // Erased, so that a test file with many ops compiles the rest once.
    return run_erased(
        Erased{[&](Tape<double>& context, std::span<const Var<double>> in) { return function(context, in); },
               [&](Inference<double>& context, std::span<const Var<double>> in) { return function(context, in); }});
  }

 private:
  struct Erased {
    std::function<Var<double>(Tape<double>&, std::span<const Var<double>>)> on_tape;
    std::function<Var<double>(Inference<double>&, std::span<const Var<double>>)> in_inference;
  };

  [[nodiscard]] GradientReport run_erased(const Erased& function) {
    GradientReport report;
    const Gradients analytic = backward(function, kNone);
    const std::vector<double> plain = forward(function);
    require(plain.size() == output_.size(), "GradientCheck: a Tape gives ", output_.size(), " numbers, an Inference ",
            plain.size());
    for (std::size_t i = 0; i < plain.size(); ++i) {
      report.forward_gap = std::max(report.forward_gap, gap(plain[i], output_[i]));
    }

    // The gradient of one input must not depend on whether another wants one.
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Gradients partial = backward(function, i);
      for (std::size_t k = 0; k < inputs_.size(); ++k) {
        for (std::size_t e = 0; k != i && e < analytic.inputs[k].size(); ++e) {
          report.partial_gap = std::max(report.partial_gap, gap(partial.inputs[k][e], analytic.inputs[k][e]));
        }
      }
      for (std::size_t e = 0; e < analytic.parameters.size(); ++e) {
        report.partial_gap = std::max(report.partial_gap, gap(partial.parameters[e], analytic.parameters[e]));
      }
    }

    double largest = 0;
    for (const auto& array : analytic.inputs) largest = std::max(largest, largest_of(array.data(), array.size()));
    largest = std::max(largest, largest_of(analytic.parameters.data(), analytic.parameters.size()));
    Stream stream(seed, 1, 0, Purpose::test);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      check(function, stream, inputs_[i].name, inputs_[i].values.data(), analytic.inputs[i].data(),
            static_cast<Index>(inputs_[i].values.size()), largest, report);
    }
    if (parameters_) {
      for (const auto& entry : parameters_->layout().entries()) {
        check(function, stream, "parameter " + entry.name, parameters_->values().data() + entry.parameter.offset,
              analytic.parameters.data() + entry.parameter.offset, entry.parameter.shape.size(), largest, report);
      }
    }
    return report;
  }

  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  /// Gradients start here and not at 0, so that a backward call that overwrites instead of adding is found out.
  static constexpr double kStart = 0.25;

  struct Input {
    std::string name;
    Shape shape;
    std::vector<double> values;
  };
  struct Gradients {
    std::vector<std::vector<double>> inputs;
    std::vector<double> parameters;
  };

  [[nodiscard]] View<const double, 1> parameter_values() const noexcept {
    return parameters_ ? parameters_->values() : View<const double, 1>();
  }
  [[nodiscard]] static double gap(double a, double b) noexcept {
    return a == b ? 0.0 : std::isfinite(a - b) ? std::abs(a - b) : std::numeric_limits<double>::infinity();
  }
  [[nodiscard]] static double largest_of(const double* p, std::size_t n) noexcept {
    double result = 0;
    for (std::size_t i = 0; i < n; ++i) result = std::max(result, std::abs(p[i]));
    return result;
  }

  /// All gradients by the backward calls, with input `constant` given without one. Sets output_ and weights_.
  Gradients backward(const Erased& function, std::size_t constant) {
    arena_.reset();
    const View<const double, 1> values = parameter_values();
    std::vector<double> parameter_gradients(static_cast<std::size_t>(values.size()), kStart);
    Tape<double> tape(arena_, values, View<double, 1>(parameter_gradients.data(), {values.size()}));
    std::vector<Var<double>> vars;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      Var<double> var = i == constant ? tape.constant(inputs_[i].shape) : tape.variable(inputs_[i].shape);
      std::copy(inputs_[i].values.begin(), inputs_[i].values.end(), var.value);
      if (var.gradient) std::fill_n(var.gradient, var.size(), kStart);
      vars.push_back(var);
    }
    const Var<double> y = function.on_tape(tape, std::span<const Var<double>>(vars));
    output_.assign(y.value, y.value + y.size());
    if (weights_.size() != output_.size()) {
      Stream stream(seed, 0, 0, Purpose::test);
      weights_.resize(output_.size());
      for (double& weight : weights_) weight = stream.uniform(0.5, 1.5) * (stream.bits() & 1U ? 1.0 : -1.0);
    }
    if (y.gradient) {
      for (std::size_t i = 0; i < weights_.size(); ++i) y.gradient[i] += weights_[i];
      tape.backward();
    }
    Gradients result;
    for (const Var<double>& var : vars) {
      auto& array = result.inputs.emplace_back(static_cast<std::size_t>(var.size()), 0.0);
      for (Index e = 0; var.gradient && e < var.size(); ++e) {
        array[static_cast<std::size_t>(e)] = var.gradient[e] - kStart;
      }
    }
    result.parameters = std::move(parameter_gradients);
    for (double& g : result.parameters) g -= kStart;
    return result;
  }

  std::vector<double> forward(const Erased& function) {
    arena_.reset();
    Inference<double> inference(arena_, parameter_values());
    std::vector<Var<double>> vars;
    for (const Input& in : inputs_) {
      const Var<double> var = inference.constant(in.shape);
      std::copy(in.values.begin(), in.values.end(), var.value);
      vars.push_back(var);
    }
    const Var<double> y = function.in_inference(inference, std::span<const Var<double>>(vars));
    return std::vector<double>(y.value, y.value + y.size());
  }

  /// d (weights . output) / d *element.
  double difference(const Erased& function, double* element, double h) {
    const double x = *element;
    const auto quotient = [&](double by) {
      const double up = x + by;
      const double down = x - by;
      *element = up;
      const std::vector<double> above = forward(function);
      *element = down;
      const std::vector<double> below = forward(function);
      double total = 0;
      for (std::size_t i = 0; i < weights_.size(); ++i) total += weights_[i] * (above[i] - below[i]);
      return total / (up - down);
    };
    const double coarse = quotient(h);
    const double fine = quotient(h / 2);
    *element = x;
    return (4 * fine - coarse) / 3;
  }

  void check(const Erased& function, Stream& stream, const std::string& name, double* values, const double* gradient,
             Index size, double largest, GradientReport& report) {
    // Of an array without a derivative the differences give rounding noise: compared with the largest one of all
    // arrays.
    const double least = std::max(floor * largest_of(gradient, static_cast<std::size_t>(size)), 1e-5 * largest);
    const Index count = std::min(size, most_elements);
    for (Index i = 0; i < count; ++i) {
      const Index e = count == size ? i : static_cast<Index>(stream.below(static_cast<std::uint32_t>(size)));
      const double analytic = gradient[e];
      double error = std::numeric_limits<double>::infinity();
      double numeric = 0;
      for (double h = step * std::max(1.0, std::abs(values[e])); h > 1e-8 && !(error <= retry_above); h /= 16) {
        const double n = difference(function, values + e, h);
        const double scale = std::max({std::abs(analytic), std::abs(n), least});
        const double relative = analytic == n ? 0.0 : std::abs(analytic - n) / scale;
        if (!(relative >= error)) {
          error = relative;
          numeric = n;
        }
      }
      if (!std::isfinite(analytic) || !std::isfinite(numeric)) error = std::numeric_limits<double>::infinity();
      ++report.checked;
      if (!(error <= report.worst)) {
        report.worst = error;
        report.where = name + "[" + std::to_string(e) + "]";
        report.analytic = analytic;
        report.numeric = numeric;
      }
    }
  }

  std::optional<Parameters<double>> parameters_;
  std::vector<Input> inputs_;
  std::vector<double> output_;
  std::vector<double> weights_;
  Arena arena_;
};

}  // namespace fovea::inline FOVEA_ABI
