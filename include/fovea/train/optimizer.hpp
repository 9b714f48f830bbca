// SPDX-License-Identifier: MIT
/// \file
/// What all optimisers have in common: moments beside the flat buffer, groups of parameters, and what a checkpoint needs.
/// How a step goes is said by a rule of a few lines: adam.hpp, adam_norm_grad.hpp, sgd.hpp, rmsprop.hpp, lion.hpp.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/view.hpp>
#include <fovea/train/parameter_groups.hpp>

#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// The moments of one stretch of the buffer; those that a rule does not keep are empty.
template <class T>
using Moments = std::array<View<T, 1>, 3>;

/// How an optimiser steps: a type without state.
///     Options                   an aggregate with learning_rate (set by each step), weight_decay and whatever else
///     name                      first word of the signature
///     per_parameter             whether a step must be told of each parameter by itself
///     check(options)            throws Error on options out of range; weight_decay is checked for it
///     moments(options)          how many moments it keeps, at most 3
///     describe(options, visit)  visit(name, value) for every option but learning_rate
///     step<T>(gradient, t, options, value, moments)    step t, 1 for the first, of one stretch
template <class R, class T>
concept UpdateRule = requires(typename R::Options options, View<const T, 1> gradient, View<T, 1> value,
                              const Moments<T>& moments, void (*visit)(std::string_view, double)) {
  { R::name } -> std::convertible_to<std::string_view>;
  { R::per_parameter } -> std::convertible_to<bool>;
  { R::moments(options) } -> std::convertible_to<std::size_t>;
  options.learning_rate = 1.0;
  options.weight_decay = 0.0;
  R::check(options);
  R::describe(options, visit);
  R::template step<T>(gradient, std::int64_t{1}, options, value, moments);
};

/// An optimiser over the flat buffer. A step allocates nothing.
template <class T, class Rule>
  requires UpdateRule<Rule, T>
class FlatOptimizer {
 public:
  /// Options::learning_rate is not looked at: each step is given its own.
  using Options = typename Rule::Options;

  /// `size`: the length of the flat buffer, all of which is treated alike. Throws Error on options out of range.
  explicit FlatOptimizer(Index size, const Options& options = {}) requires(!Rule::per_parameter)
      : FlatOptimizer(size, options, {{0, size, 1, options.weight_decay}}, {}) {}

  /// For parameters of this layout, in groups where wanted: see parameter_groups.hpp. Throws Error on options out of range and
  /// on a pattern that matches no parameter.
  explicit FlatOptimizer(const ParameterLayout& layout, const Options& options = {},
                         const std::vector<ParameterGroup>& groups = {})
      : FlatOptimizer(layout.size(), options, update_ranges(layout, options.weight_decay, groups, Rule::per_parameter),
                      groups) {}

  /// Changes `values` by one step against `gradients`, both laid out as the parameters are.
  void step(View<T, 1> values, View<const T, 1> gradients, double learning_rate) {
    require(values.size() == size_ && gradients.size() == size_, Rule::name, ": buffers of ", size_, " elements expected, ",
            values.size(), " and ", gradients.size(), " came");
    ++steps_;
    Options options = options_;
    for (const UpdateRange& range : ranges_) {
      options.learning_rate = learning_rate * range.rate;
      options.weight_decay = range.weight_decay;
      Moments<T> moments;
      for (std::size_t i = 0; i < moments_.size(); ++i) moments[i] = moments_[i].view().slice(range.first, range.count);
      Rule::template step<T>(gradients.slice(range.first, range.count), steps_, options, values.slice(range.first, range.count),
                             moments);
    }
  }

  [[nodiscard]] std::int64_t steps() const noexcept { return steps_; }

  /// All that is remembered from step to step besides steps(): flat buffers laid out as the parameters are, in a fixed order.
  [[nodiscard]] std::vector<View<T, 1>> moments() {
    std::vector<View<T, 1>> views;
    for (Tensor<T, 1>& moment : moments_) views.push_back(moment.view());
    return views;
  }

  /// Goes on after `steps` steps, the moments having been overwritten with those of that time. Throws Error below 0.
  void resume(std::int64_t steps) {
    require(steps >= 0, Rule::name, ": at least 0 steps expected, ", steps, " came");
    steps_ = steps;
  }

  /// Rule, options and groups as text: optimisers of equal signature, moments and steps go on alike.
  /// "Adam beta1=0.9 beta2=0.99 epsilon=1e-08 weight_decay=0; \"policy.*\" rate=0.1".
  [[nodiscard]] std::string signature() const {
    std::string text(Rule::name);
    const auto append = [&](std::string_view name, auto value) {
      text += ' ';
      text += name;
      text += '=';
      if constexpr (std::is_same_v<decltype(value), bool>) {
        text += value ? "true" : "false";
      } else {
        std::array<char, 32> digits{};
        const auto result = std::to_chars(digits.data(), digits.data() + digits.size(), static_cast<double>(value));
        text.append(digits.data(), result.ptr);
      }
    };
    Rule::describe(options_, append);
    for (const ParameterGroup& group : groups_) {
      text += "; \"" + group.pattern + '"';
      if (group.settings.rate) append("rate", *group.settings.rate);
      if (group.settings.weight_decay) append("weight_decay", *group.settings.weight_decay);
    }
    return text;
  }

 private:
  FlatOptimizer(Index size, const Options& options, std::vector<UpdateRange> ranges, std::vector<ParameterGroup> groups)
      : options_(options), size_(size), ranges_(std::move(ranges)), groups_(std::move(groups)) {
    Rule::check(options);
    require(options.weight_decay >= 0 && std::isfinite(options.weight_decay), Rule::name,
            ": a weight decay of at least 0 expected, ", options.weight_decay, " came");
    for (std::size_t i = 0; i < Rule::moments(options); ++i) moments_.emplace_back(Extents<1>{size});
  }

  Options options_;
  Index size_;
  std::int64_t steps_ = 0;
  std::vector<UpdateRange> ranges_;
  std::vector<ParameterGroup> groups_;
  std::vector<Tensor<T, 1>> moments_;
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
