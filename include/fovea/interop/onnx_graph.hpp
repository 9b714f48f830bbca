// SPDX-License-Identifier: MIT
/// \file
/// A graph of ONNX as it is built: nodes, constants, and what of them the outputs depend on.
///
/// Needs libonnx (1.12: opset 17, IR version 8) and protobuf (CMake component `onnx`). ONNX_NAMESPACE=onnx and ONNX_ML=1 must
/// be defined, as ONNX's CMake package does.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/version.hpp>

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace interop {

inline constexpr int kOnnxOpset = 17;
inline constexpr int kOnnxIrVersion = 8;

/// An attribute of a node.
struct OnnxAttribute {
  OnnxAttribute(const char* name, Index value) : OnnxAttribute(name, onnx::AttributeProto::INT) { proto.set_i(value); }
  OnnxAttribute(const char* name, float value) : OnnxAttribute(name, onnx::AttributeProto::FLOAT) { proto.set_f(value); }
  OnnxAttribute(const char* name, const char* value) : OnnxAttribute(name, onnx::AttributeProto::STRING) { proto.set_s(value); }
  OnnxAttribute(const char* name, std::initializer_list<Index> values) : OnnxAttribute(name, onnx::AttributeProto::INTS) {
    for (const Index value : values) proto.add_ints(value);
  }
  onnx::AttributeProto proto;

 private:
  OnnxAttribute(const char* name, onnx::AttributeProto::AttributeType type) {
    proto.set_name(name);
    proto.set_type(type);
  }
};

/// The number of a data type, for Cast and values.
template <class U>
inline constexpr onnx::TensorProto::DataType kOnnxType = std::is_same_v<U, float>          ? onnx::TensorProto::FLOAT
                                                         : std::is_same_v<U, std::uint8_t> ? onnx::TensorProto::UINT8
                                                         : std::is_same_v<U, std::int32_t> ? onnx::TensorProto::INT32
                                                                                           : onnx::TensorProto::INT64;

/// What a node takes and gives: the name of a value; or the reason why there is none, which all that is made of it inherits.
struct OnnxValue {
  std::string name = {};
  std::string missing = {};
};

/// Nodes in the order in which they were made, which is one they can be computed in. Equal constants are one.
class OnnxGraph {
 public:
  using Dims = std::vector<Index>;

  /// A node of one output. An absent optional input is an OnnxValue without a name.
  OnnxValue node(const char* type, std::initializer_list<OnnxValue> inputs,
                 std::initializer_list<OnnxAttribute> attributes = {}) {
    return node(type, std::vector<OnnxValue>(inputs), attributes);
  }
  OnnxValue node(const char* type, const std::vector<OnnxValue>& inputs, std::initializer_list<OnnxAttribute> attributes = {}) {
    for (const OnnxValue& input : inputs) {
      if (!input.missing.empty()) return input;
    }
    return {add(type, inputs, attributes, 1).output(0), {}};
  }
  /// The equal parts of an axis.
  std::vector<OnnxValue> split(const OnnxValue& x, Index axis, Index parts, Index size) {
    if (!x.missing.empty()) return std::vector<OnnxValue>(static_cast<std::size_t>(parts), x);
    const OnnxValue sizes = constant(Dims{parts}, std::vector<std::int64_t>(static_cast<std::size_t>(parts), size));
    const onnx::NodeProto& made = add("Split", {x, sizes}, {{"axis", axis}}, static_cast<int>(parts));
    std::vector<OnnxValue> out;
    for (const std::string& name : made.output()) out.push_back({name, {}});
    return out;
  }

  /// A constant of these extents.
  template <class U>
  OnnxValue constant(const Dims& dims, const std::vector<U>& values) {
    onnx::TensorProto tensor = described(dims, values);
    const auto [known, fresh] =
        constants_.try_emplace(tensor.SerializeAsString(), "constant_" + std::to_string(constants_.size()));
    if (fresh) {
      tensor.set_name(known->second);
      initializers_.push_back(std::move(tensor));
    }
    return {known->second, {}};
  }
  OnnxValue number(float value) { return constant(Dims{}, std::vector<float>{value}); }
  OnnxValue integers(const std::vector<std::int64_t>& values) {
    return constant(Dims{static_cast<Index>(values.size())}, values);
  }
  /// A constant with a name of its own, once.
  OnnxValue named(const std::string& name, const Dims& dims, const std::vector<float>& values) {
    onnx::TensorProto tensor = described(dims, values);
    tensor.set_name(name);
    initializers_.push_back(std::move(tensor));
    return {name, {}};
  }

  OnnxValue reshape(const OnnxValue& x, const std::vector<std::int64_t>& dims) { return node("Reshape", {x, integers(dims)}); }
  /// Elements [first, first + count) of an axis.
  OnnxValue slice(const OnnxValue& x, Index axis, Index first, Index count) {
    return node("Slice", {x, integers({first}), integers({first + count}), integers({axis})});
  }
  template <class U>
  OnnxValue cast(const OnnxValue& x) {
    return node("Cast", {x}, {{"to", static_cast<Index>(kOnnxType<U>)}});
  }

  template <class U>
  OnnxValue input(const std::string& name, const Dims& dims, const std::string& description) {
    *graph_.add_input() = info<U>(name, dims, description);
    return {name, {}};
  }
  /// Throws Error where there is no such value, with the reason.
  void output(const OnnxValue& value, const std::string& name, const Dims& dims, const std::string& description) {
    if (!value.missing.empty()) fail("onnx: ", name, ": ", value.missing);
    onnx::NodeProto& identity = add("Identity", {value}, {}, 1);
    identity.set_output(0, name);
    *graph_.add_output() = info<float>(name, dims, description);
  }
  /// The name of the last node.
  [[nodiscard]] std::string last_node() const { return nodes_.empty() ? "the input" : nodes_.back().name(); }

  /// The model: what the outputs depend on, and nothing else.
  [[nodiscard]] onnx::ModelProto model(const std::string& name) const {
    std::set<std::string> wanted;
    for (const auto& output : graph_.output()) wanted.insert(output.name());
    std::vector<const onnx::NodeProto*> live;
    for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
      if (std::none_of(node->output().begin(), node->output().end(), [&](const auto& out) { return wanted.contains(out); }))
        continue;
      wanted.insert(node->input().begin(), node->input().end());
      live.push_back(&*node);
    }
    onnx::ModelProto model;
    model.set_ir_version(kOnnxIrVersion);
    model.set_producer_name("fovea");
    model.set_producer_version(std::to_string(FOVEA_VERSION_MAJOR) + "." + std::to_string(FOVEA_VERSION_MINOR) + "." +
                               std::to_string(FOVEA_VERSION_PATCH));
    auto* opset = model.add_opset_import();
    opset->set_domain("");
    opset->set_version(kOnnxOpset);
    *model.mutable_graph() = graph_;
    model.mutable_graph()->set_name(name);
    for (auto node = live.rbegin(); node != live.rend(); ++node) *model.mutable_graph()->add_node() = **node;
    for (const onnx::TensorProto& tensor : initializers_) {
      if (wanted.contains(tensor.name())) *model.mutable_graph()->add_initializer() = tensor;
    }
    return model;
  }

 private:
  onnx::NodeProto& add(const char* type, const std::vector<OnnxValue>& inputs, std::initializer_list<OnnxAttribute> attributes,
                       int outputs) {
    onnx::NodeProto& node = nodes_.emplace_back();
    node.set_op_type(type);
    node.set_name(std::string(type) + "_" + std::to_string(nodes_.size()));
    for (const OnnxValue& input : inputs) node.add_input(input.name);
    for (const OnnxAttribute& attribute : attributes) *node.add_attribute() = attribute.proto;
    for (int i = 0; i < outputs; ++i) node.add_output(outputs > 1 ? node.name() + "_" + std::to_string(i) : node.name());
    return node;
  }

  template <class U>
  static onnx::TensorProto described(const Dims& dims, const std::vector<U>& values) {
    onnx::TensorProto tensor;
    for (const Index dim : dims) tensor.add_dims(dim);
    tensor.set_data_type(kOnnxType<U>);
    // Little-endian, as the format has it and every machine this runs on.
    tensor.set_raw_data(values.data(), values.size() * sizeof(U));
    return tensor;
  }
  template <class U>
  static onnx::ValueInfoProto info(const std::string& name, const Dims& dims, const std::string& description) {
    onnx::ValueInfoProto value;
    value.set_name(name);
    value.set_doc_string(description);
    auto* type = value.mutable_type()->mutable_tensor_type();
    type->set_elem_type(kOnnxType<U>);
    for (const Index dim : dims) type->mutable_shape()->add_dim()->set_dim_value(dim);
    return value;
  }

  onnx::GraphProto graph_;  ///< inputs and outputs
  std::vector<onnx::NodeProto> nodes_;
  std::vector<onnx::TensorProto> initializers_;
  std::map<std::string, std::string> constants_;  ///< by content
};

}  // namespace interop
}  // namespace fovea::inline FOVEA_ABI
