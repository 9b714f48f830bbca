// SPDX-License-Identifier: MIT
/// \file
/// All parameters of a model live in one flat, aligned buffer; a layer holds named slices of it, never storage.
///
/// So layers copy and move safely, and the optimiser, clipping, averaging, checkpoints, counting, finite differences and a
/// reduction over machines are each one loop over one array.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {

/// A slice of the flat buffer: what a layer holds instead of storage.
struct Parameter {
  Index offset = 0;
  Shape shape;
};

/// How a parameter starts. `normal` and `uniform` take their scale as is; see nn/initialisers.hpp for the usual rules.
struct Initialiser {
  enum class Kind { constant, normal, uniform };
  Kind kind = Kind::constant;
  double value = 0;  ///< the constant; the standard deviation; the half-width of the interval around 0

  [[nodiscard]] static constexpr Initialiser constant(double value) { return {Kind::constant, value}; }
  [[nodiscard]] static constexpr Initialiser normal(double deviation) { return {Kind::normal, deviation}; }
  [[nodiscard]] static constexpr Initialiser uniform(double half_width) { return {Kind::uniform, half_width}; }
};

/// The list of a model's parameters: names, shapes, places in the flat buffer, initial values. Filled by the layers'
/// constructors; the order of construction is the order in the buffer.
class ParameterLayout {
 public:
  struct Entry {
    std::string name;
    Parameter parameter;
    Initialiser initialiser;
  };

  /// Registers a parameter under the current scope. Every slice starts on a cache line. Throws Error on a name used before.
  Parameter add(std::string_view name, const Shape& shape, Initialiser initialiser) {
    std::string full = prefix_ + std::string(name);
    for (const Entry& entry : entries_) {
      require(entry.name != full, "parameter \"", full, "\": a name not used before expected");
    }
    const Parameter parameter{size_, shape};
    constexpr Index unit = kAlignment / sizeof(float);
    size_ += (shape.size() + unit - 1) / unit * unit;
    count_ += shape.size();
    entries_.push_back({std::move(full), parameter, initialiser});
    return parameter;
  }

  /// Names added while the returned guard lives are prefixed by `name` and a dot.
  class Scope {
   public:
    Scope(ParameterLayout& layout, std::string_view name) : layout_(layout), length_(layout.prefix_.size()) {
      layout.prefix_ += std::string(name) + ".";
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { layout_.prefix_.resize(length_); }

   private:
    ParameterLayout& layout_;
    std::size_t length_;
  };
  [[nodiscard]] Scope scope(std::string_view name) { return Scope(*this, name); }

  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }
  /// Length of the flat buffer, padding between the slices included.
  [[nodiscard]] Index size() const noexcept { return size_; }
  /// Number of parameters proper.
  [[nodiscard]] Index count() const noexcept { return count_; }

 private:
  std::vector<Entry> entries_;
  std::string prefix_;
  Index size_ = 0;
  Index count_ = 0;
};

/// The values of a model's parameters. The padding between slices is zero and stays zero: its gradient is zero.
template <class T>
class Parameters {
 public:
  /// Values as the layout's initialisers say, drawn from the stream (seed, entry, Purpose::initialise): a parameter starts
  /// the same whatever else the model holds behind it, in `float` and in `double` alike.
  explicit Parameters(ParameterLayout layout, std::uint64_t seed = 0) : layout_(std::move(layout)), values_({layout_.size()}) {
    initialise(seed);
  }

  void initialise(std::uint64_t seed) {
    for (std::size_t i = 0; i < layout_.entries().size(); ++i) {
      const auto& entry = layout_.entries()[i];
      Stream stream(seed, 0, i, Purpose::initialise);
      for (Index k = 0; k < entry.parameter.shape.size(); ++k) {
        double value = entry.initialiser.value;
        if (entry.initialiser.kind == Initialiser::Kind::normal) value *= stream.normal<double>();
        if (entry.initialiser.kind == Initialiser::Kind::uniform) value *= stream.uniform(-1.0, 1.0);
        values_.data()[entry.parameter.offset + k] = static_cast<T>(value);
      }
    }
  }

  [[nodiscard]] const ParameterLayout& layout() const noexcept { return layout_; }
  /// The flat buffer.
  [[nodiscard]] View<T, 1> values() noexcept { return values_.view(); }
  [[nodiscard]] View<const T, 1> values() const noexcept { return values_.view(); }
  /// One parameter's elements, flattened.
  [[nodiscard]] View<T, 1> operator[](const Parameter& parameter) noexcept {
    return values().slice(parameter.offset, parameter.shape.size());
  }
  [[nodiscard]] View<const T, 1> operator[](const Parameter& parameter) const noexcept {
    return values().slice(parameter.offset, parameter.shape.size());
  }
  /// The elements of the parameter of that name; throws Error where there is none.
  [[nodiscard]] View<T, 1> at(std::string_view name) {
    for (const auto& entry : layout_.entries()) {
      if (entry.name == name) return (*this)[entry.parameter];
    }
    fail("parameters: no parameter is named \"", name, "\"");
  }

  /// Calls `function(name, shape, elements)` for every parameter, in the order of the buffer.
  template <class Function>
  void visit(Function&& function) {
    for (const auto& entry : layout_.entries()) function(entry.name, entry.parameter.shape, (*this)[entry.parameter]);
  }
  template <class Function>
  void visit(Function&& function) const {
    for (const auto& entry : layout_.entries()) function(entry.name, entry.parameter.shape, (*this)[entry.parameter]);
  }

 private:
  ParameterLayout layout_;
  Tensor<T, 1> values_;
};

}  // namespace fovea::inline FOVEA_ABI
