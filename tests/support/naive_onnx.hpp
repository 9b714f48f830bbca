// SPDX-License-Identifier: MIT
/// \file
/// A naive twin of a runtime of ONNX: the ops that interop/onnx.hpp makes, read off the operators' descriptions (opset 17), one
/// loop each. Sums in double, every result rounded to its type.
#pragma once

#include <fovea/core/view.hpp>

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fovea_test {

using fovea::Index;

/// A tensor of any type; integers and truth values are exact in double.
struct OnnxArray {
  std::vector<Index> dims;
  std::vector<double> data;
  bool integer = false;

  [[nodiscard]] Index size() const { return std::accumulate(dims.begin(), dims.end(), Index{1}, std::multiplies<>()); }
  [[nodiscard]] double& operator[](Index i) { return data[static_cast<std::size_t>(i)]; }
  [[nodiscard]] double operator[](Index i) const { return data[static_cast<std::size_t>(i)]; }
  [[nodiscard]] Index dim(Index axis) const {
    return dims[static_cast<std::size_t>(axis < 0 ? axis + static_cast<Index>(dims.size()) : axis)];
  }
  /// The product of the extents [first, last).
  [[nodiscard]] Index span(Index first, Index last) const {
    return std::accumulate(dims.begin() + first, dims.begin() + last, Index{1}, std::multiplies<>());
  }
};

class NaiveOnnx {
 public:
  explicit NaiveOnnx(const onnx::ModelProto& model) : graph_(model.graph()) {
    for (const onnx::TensorProto& tensor : graph_.initializer()) constants_[tensor.name()] = array_of(tensor);
  }

  /// All outputs by name, from the inputs by name. Throws std::runtime_error on an op that is not here.
  [[nodiscard]] std::map<std::string, OnnxArray> run(const std::map<std::string, OnnxArray>& inputs) const {
    std::map<std::string, OnnxArray> values = constants_;
    for (const auto& [name, value] : inputs) values[name] = value;
    for (const onnx::NodeProto& node : graph_.node()) {
      std::vector<OnnxArray> in;
      for (const std::string& name : node.input()) in.push_back(values.at(name));
      if (node.op_type() == "Split") {
        split(node, in, values);
        continue;
      }
      OnnxArray out = compute(node, in);
      if (static_cast<Index>(out.data.size()) != out.size()) throw std::runtime_error("naive onnx: sizes of " + node.name());
      if (!out.integer) {
        for (double& v : out.data) v = static_cast<double>(static_cast<float>(v));
      }
      values[node.output(0)] = std::move(out);
    }
    std::map<std::string, OnnxArray> outputs;
    for (const auto& output : graph_.output()) {
      OnnxArray& value = values.at(output.name());
      const auto& shape = output.type().tensor_type().shape();
      for (int i = 0; i < shape.dim_size(); ++i) {
        if (shape.dim_size() != static_cast<int>(value.dims.size()) || shape.dim(i).dim_value() != value.dim(i)) {
          throw std::runtime_error("naive onnx: another shape than announced: " + output.name());
        }
      }
      outputs[output.name()] = std::move(value);
    }
    return outputs;
  }

 private:
  using Arrays = std::vector<OnnxArray>;

  static OnnxArray array_of(const onnx::TensorProto& tensor) {
    OnnxArray a{{tensor.dims().begin(), tensor.dims().end()}, {}, tensor.data_type() != onnx::TensorProto::FLOAT};
    const auto read = [&]<class U>(U) {
      const std::string& raw = tensor.raw_data();
      for (std::size_t i = 0; i < raw.size(); i += sizeof(U)) {
        U v;
        std::memcpy(&v, raw.data() + i, sizeof v);
        a.data.push_back(static_cast<double>(v));
      }
    };
    switch (tensor.data_type()) {
      case onnx::TensorProto::FLOAT: read(float{}); break;
      case onnx::TensorProto::INT32: read(std::int32_t{}); break;
      case onnx::TensorProto::INT64: read(std::int64_t{}); break;
      default: throw std::runtime_error("naive onnx: type of " + tensor.name());
    }
    return a;
  }
  static const onnx::AttributeProto* attribute(const onnx::NodeProto& node, const char* name) {
    for (const auto& a : node.attribute()) {
      if (a.name() == name) return &a;
    }
    return nullptr;
  }
  static Index integer(const onnx::NodeProto& node, const char* name, Index otherwise) {
    const auto* a = attribute(node, name);
    return a != nullptr ? a->i() : otherwise;
  }
  static std::vector<Index> integers(const onnx::NodeProto& node, const char* name, std::vector<Index> otherwise) {
    const auto* a = attribute(node, name);
    return a != nullptr ? std::vector<Index>(a->ints().begin(), a->ints().end()) : otherwise;
  }

  template <class F>
  static OnnxArray each(OnnxArray x, F f) {
    std::transform(x.data.begin(), x.data.end(), x.data.begin(), f);
    return x;
  }
  /// The element of `x` at the place of element `at` of an array of extents `dims` that x is broadcast to.
  static double broadcast(const OnnxArray& x, const std::vector<Index>& dims, Index at) {
    Index index = 0;
    Index stride = 1;
    for (std::size_t i = 0; i < dims.size(); ++i) {
      const Index size = dims[dims.size() - 1 - i];
      const Index place = at % size;
      at /= size;
      if (i >= x.dims.size()) continue;
      const Index own = x.dims[x.dims.size() - 1 - i];
      if (own != 1 && own != size) throw std::runtime_error("naive onnx: extents that do not broadcast");
      if (own != 1) index += place * stride;
      stride *= own;
    }
    return x[index];
  }
  static std::vector<Index> common(const std::vector<Index>& a, const std::vector<Index>& b) {
    std::vector<Index> out(std::max(a.size(), b.size()), 1);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const Index x = i < a.size() ? a[a.size() - 1 - i] : 1;
      const Index y = i < b.size() ? b[b.size() - 1 - i] : 1;
      out[out.size() - 1 - i] = std::max(x, y);
    }
    return out;
  }
  template <class F>
  static OnnxArray pairs(const OnnxArray& a, const OnnxArray& b, bool integer, F f) {
    OnnxArray out{common(a.dims, b.dims), {}, integer};
    for (Index i = 0; i < out.size(); ++i) out.data.push_back(f(broadcast(a, out.dims, i), broadcast(b, out.dims, i)));
    return out;
  }
  /// f(sum so far, next) over `axes` (all, where there are none).
  template <class F>
  static OnnxArray reduce(const OnnxArray& x, std::vector<Index> axes, bool keep, double start, F f) {
    if (axes.empty()) {
      axes.resize(x.dims.size());
      std::iota(axes.begin(), axes.end(), Index{0});
    }
    OnnxArray out{x.dims, {}, x.integer};
    for (const Index axis : axes) out.dims[static_cast<std::size_t>(axis)] = 1;
    out.data.assign(static_cast<std::size_t>(out.size()), start);
    for (Index i = 0; i < x.size(); ++i) {
      Index rest = i;
      Index index = 0;
      Index stride = 1;
      for (Index axis = static_cast<Index>(x.dims.size()) - 1; axis >= 0; --axis) {
        const Index place = rest % x.dim(axis);
        rest /= x.dim(axis);
        if (out.dim(axis) != 1) index += place * stride;
        stride *= out.dim(axis);
      }
      out[index] = f(out[index], x[i]);
    }
    if (!keep) {
      std::vector<Index> left;
      for (Index axis = 0; axis < static_cast<Index>(x.dims.size()); ++axis) {
        if (std::find(axes.begin(), axes.end(), axis) == axes.end()) left.push_back(x.dim(axis));
      }
      out.dims = left;
    }
    return out;
  }

  static void split(const onnx::NodeProto& node, const Arrays& in, std::map<std::string, OnnxArray>& values) {
    const Index axis = integer(node, "axis", 0);
    Index first = 0;
    for (int i = 0; i < node.output_size(); ++i) {
      const auto count = static_cast<Index>(in[1][i]);
      values[node.output(i)] = slice(in[0], axis, first, first + count);
      first += count;
    }
  }
  static OnnxArray slice(const OnnxArray& x, Index axis, Index first, Index end) {
    const auto rank = static_cast<Index>(x.dims.size());
    OnnxArray out{x.dims, {}, x.integer};
    out.dims[static_cast<std::size_t>(axis)] = end - first;
    const Index inner = x.span(axis + 1, rank);
    for (Index o = 0; o < x.span(0, axis); ++o) {
      for (Index i = first; i < end; ++i) {
        for (Index k = 0; k < inner; ++k) out.data.push_back(x[(o * x.dim(axis) + i) * inner + k]);
      }
    }
    return out;
  }
  static OnnxArray concat(const Arrays& in, Index axis) {
    OnnxArray out{in[0].dims, {}, in[0].integer};
    Index& along = out.dims[static_cast<std::size_t>(axis)];
    along = 0;
    for (const OnnxArray& x : in) along += x.dim(axis);
    const auto rank = static_cast<Index>(out.dims.size());
    for (Index o = 0; o < in[0].span(0, axis); ++o) {
      for (const OnnxArray& x : in) {
        const Index block = x.span(axis, rank);
        out.data.insert(out.data.end(), x.data.begin() + o * block, x.data.begin() + (o + 1) * block);
      }
    }
    return out;
  }
  static OnnxArray gather(const OnnxArray& x, const OnnxArray& indices, Index axis) {
    const auto rank = static_cast<Index>(x.dims.size());
    OnnxArray out{{x.dims.begin(), x.dims.begin() + axis}, {}, x.integer};
    out.dims.insert(out.dims.end(), indices.dims.begin(), indices.dims.end());
    out.dims.insert(out.dims.end(), x.dims.begin() + axis + 1, x.dims.end());
    const Index inner = x.span(axis + 1, rank);
    for (Index o = 0; o < x.span(0, axis); ++o) {
      for (const double at : indices.data) {
        for (Index k = 0; k < inner; ++k) out.data.push_back(x[(o * x.dim(axis) + static_cast<Index>(at)) * inner + k]);
      }
    }
    return out;
  }
  static OnnxArray transpose(const OnnxArray& x, const std::vector<Index>& perm) {
    OnnxArray out{{}, {}, x.integer};
    for (const Index axis : perm) out.dims.push_back(x.dim(axis));
    for (Index i = 0; i < x.size(); ++i) {
      Index rest = i;
      std::vector<Index> place(perm.size());
      for (std::size_t k = perm.size(); k-- > 0;) {
        place[static_cast<std::size_t>(perm[k])] = rest % out.dims[k];
        rest /= out.dims[k];
      }
      Index index = 0;
      for (std::size_t k = 0; k < perm.size(); ++k) index = index * x.dims[k] + place[k];
      out.data.push_back(x[index]);
    }
    return out;
  }
  static OnnxArray reshape(OnnxArray x, const OnnxArray& shape) {
    std::vector<Index> dims;
    Index known = 1;
    for (const double d : shape.data) {
      dims.push_back(static_cast<Index>(d));
      if (d > 0) known *= static_cast<Index>(d);
    }
    for (Index& d : dims) {
      if (d < 0) d = x.size() / known;
    }
    x.dims = dims;
    return x;
  }
  static OnnxArray pad(const OnnxArray& x, const OnnxArray& pads) {
    const std::size_t rank = x.dims.size();
    OnnxArray out{x.dims, {}, x.integer};
    for (std::size_t k = 0; k < rank; ++k) out.dims[k] += static_cast<Index>(pads.data[k] + pads.data[rank + k]);
    for (Index i = 0; i < out.size(); ++i) {
      Index rest = i;
      Index index = 0;
      Index stride = 1;
      bool inside = true;
      for (std::size_t k = rank; k-- > 0;) {
        const Index place = rest % out.dims[k] - static_cast<Index>(pads.data[k]);
        rest /= out.dims[k];
        inside = inside && place >= 0 && place < x.dims[k];
        index += place * stride;
        stride *= x.dims[k];
      }
      out.data.push_back(inside ? x[index] : 0);
    }
    return out;
  }
  static OnnxArray matmul(const OnnxArray& a, const OnnxArray& b) {
    const Index rows = a.dim(-2);
    const Index inner = a.dim(-1);
    const Index columns = b.dim(-1);
    if (b.dim(-2) != inner) throw std::runtime_error("naive onnx: matmul");
    const OnnxArray left{{a.dims.begin(), a.dims.end() - 2}, {}};
    const OnnxArray right{{b.dims.begin(), b.dims.end() - 2}, {}};
    OnnxArray out{common(left.dims, right.dims), {}};
    const Index batch = out.size();
    out.dims.push_back(rows);
    out.dims.push_back(columns);
    for (Index n = 0; n < batch; ++n) {
      const Index at_a = left.size() == 1 ? 0 : n * rows * inner;
      const Index at_b = right.size() == 1 ? 0 : n * inner * columns;
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < columns; ++j) {
          double sum = 0;
          for (Index k = 0; k < inner; ++k) sum += a[at_a + i * inner + k] * b[at_b + k * columns + j];
          out.data.push_back(sum);
        }
      }
    }
    return out;
  }
  /// Calls f(n, channel, row, column, y, x) for the pixels under each window, then done() once for each window.
  template <class F, class Done>
  static std::vector<Index> windows(const onnx::NodeProto& node, const OnnxArray& x, Index channels, F f, Done done) {
    const auto kernel = integers(node, "kernel_shape", {});
    const auto strides = integers(node, "strides", {1, 1});
    const auto pads = integers(node, "pads", {0, 0, 0, 0});
    const Index height = (x.dim(2) + pads[0] + pads[2] - kernel[0]) / strides[0] + 1;
    const Index width = (x.dim(3) + pads[1] + pads[3] - kernel[1]) / strides[1] + 1;
    for (Index n = 0; n < x.dim(0); ++n) {
      for (Index c = 0; c < channels; ++c) {
        for (Index i = 0; i < height * width; ++i) {
          for (Index r = 0; r < kernel[0]; ++r) {
            for (Index s = 0; s < kernel[1]; ++s) {
              const Index y = i / width * strides[0] + r - pads[0];
              const Index z = i % width * strides[1] + s - pads[1];
              if (y >= 0 && y < x.dim(2) && z >= 0 && z < x.dim(3)) f(n, c, r, s, y, z);
            }
          }
          done(c);
        }
      }
    }
    return {x.dim(0), channels, height, width};
  }
  static OnnxArray conv(const onnx::NodeProto& node, const Arrays& in) {
    const OnnxArray& x = in[0];
    const OnnxArray& w = in[1];
    OnnxArray out;
    double sum = 0;
    out.dims = windows(
        node, x, w.dim(0),
        [&](Index n, Index o, Index r, Index s, Index i, Index j) {
          for (Index c = 0; c < x.dim(1); ++c) {
            sum +=
                x[((n * x.dim(1) + c) * x.dim(2) + i) * x.dim(3) + j] * w[((o * x.dim(1) + c) * w.dim(2) + r) * w.dim(3) + s];
          }
        },
        [&](Index o) {
          out.data.push_back(sum + (in.size() > 2 ? in[2][o] : 0.0));
          sum = 0;
        });
    return out;
  }
  static OnnxArray pool(const onnx::NodeProto& node, const OnnxArray& x) {
    const bool greatest = node.op_type() == "MaxPool";
    OnnxArray out;
    std::vector<double> seen;
    out.dims = windows(
        node, x, x.dim(1),
        [&](Index n, Index c, Index, Index, Index i, Index j) {
          seen.push_back(x[((n * x.dim(1) + c) * x.dim(2) + i) * x.dim(3) + j]);
        },
        [&](Index) {
          out.data.push_back(greatest ? *std::max_element(seen.begin(), seen.end())
                                      : std::accumulate(seen.begin(), seen.end(), 0.0) / static_cast<double>(seen.size()));
          seen.clear();
        });
    return out;
  }
  static OnnxArray instance_norm(const onnx::NodeProto& node, const Arrays& in) {
    OnnxArray out = in[0];
    const double epsilon = static_cast<double>(attribute(node, "epsilon")->f());
    const Index size = out.span(2, static_cast<Index>(out.dims.size()));
    for (Index i = 0; i < out.dim(0) * out.dim(1); ++i) {
      double mean = 0;
      double variance = 0;
      for (Index k = 0; k < size; ++k) mean += out[i * size + k] / static_cast<double>(size);
      for (Index k = 0; k < size; ++k) variance += std::pow(out[i * size + k] - mean, 2) / static_cast<double>(size);
      for (Index k = 0; k < size; ++k) {
        double& v = out[i * size + k];
        v = in[1][i % out.dim(1)] * (v - mean) / std::sqrt(variance + epsilon) + in[2][i % out.dim(1)];
      }
    }
    return out;
  }
  static OnnxArray grid_sample(const onnx::NodeProto& node, const OnnxArray& x, const OnnxArray& grid) {
    const std::string padding = attribute(node, "padding_mode")->s();
    const bool corners = integer(node, "align_corners", 0) != 0;
    const auto pixel = [&](double u, Index n) {
      const auto size = static_cast<double>(n);
      double p = corners ? (u + 1) / 2 * (size - 1) : ((u + 1) * size - 1) / 2;
      if (padding == "reflection") {
        const double low = corners ? 0 : -0.5;
        const double high = corners ? size - 1 : size - 0.5;
        for (int i = 0; i < 1000 && (p < low || p > high); ++i) p = p < low ? 2 * low - p : 2 * high - p;
      }
      if (padding != "zeros") p = std::clamp(p, 0.0, size - 1);
      return p;
    };
    OnnxArray out{{x.dim(0), x.dim(1), grid.dim(1), grid.dim(2)}, {}};
    const Index places = grid.dim(1) * grid.dim(2);
    for (Index n = 0; n < x.dim(0); ++n) {
      for (Index c = 0; c < x.dim(1); ++c) {
        for (Index i = 0; i < places; ++i) {
          const double u = pixel(grid[(n * places + i) * 2], x.dim(3));
          const double v = pixel(grid[(n * places + i) * 2 + 1], x.dim(2));
          double sum = 0;
          for (int corner = 0; corner < 4; ++corner) {
            const double at_x = std::floor(u) + corner % 2;
            const double at_y = std::floor(v) + corner / 2;
            if (at_x < 0 || at_y < 0 || at_x >= static_cast<double>(x.dim(3)) || at_y >= static_cast<double>(x.dim(2)))
              continue;
            const Index place =
                (n * x.dim(1) + c) * x.dim(2) * x.dim(3) + static_cast<Index>(at_y) * x.dim(3) + static_cast<Index>(at_x);
            sum += (1 - std::abs(u - at_x)) * (1 - std::abs(v - at_y)) * x[place];
          }
          out.data.push_back(sum);
        }
      }
    }
    return out;
  }
  static OnnxArray softmax(OnnxArray x) {
    const Index size = x.dim(-1);
    for (Index row = 0; row < x.size(); row += size) {
      const double most = *std::max_element(x.data.begin() + row, x.data.begin() + row + size);
      double sum = 0;
      for (Index i = row; i < row + size; ++i) sum += std::exp(x[i] - most);
      for (Index i = row; i < row + size; ++i) x[i] = std::exp(x[i] - most) / sum;
    }
    return x;
  }
  static OnnxArray argmax(const OnnxArray& x) {  // of rows
    OnnxArray out{{x.dim(0)}, {}, true};
    for (Index row = 0; row < x.dim(0); ++row) {
      const auto first = x.data.begin() + row * x.dim(1);
      out.data.push_back(static_cast<double>(std::max_element(first, first + x.dim(1)) - first));
    }
    return out;
  }

  static OnnxArray compute(const onnx::NodeProto& node, const Arrays& in) {
    const std::string& op = node.op_type();
    const auto is = [&](const char* name) { return op == name; };
    const auto unary = [&](auto f) { return each(in[0], f); };
    const auto numbers = [&](auto f) { return pairs(in[0], in[1], in[0].integer, f); };
    const auto truths = [&](auto f) { return pairs(in[0], in[1], true, f); };
    const auto axes = [&](const OnnxArray& a) { return std::vector<Index>(a.data.begin(), a.data.end()); };
    if (is("Identity")) return in[0];
    if (is("Cast")) {
      OnnxArray out = in[0];
      out.integer = integer(node, "to", 0) != onnx::TensorProto::FLOAT;
      return out;
    }
    if (is("Relu")) return unary([](double v) { return std::max(v, 0.0); });
    if (is("Elu")) return unary([](double v) { return v > 0 ? v : std::expm1(v); });
    if (is("Selu")) {
      return unary(
          [](double v) { return 1.05070102214813232421875 * (v > 0 ? v : 1.67326319217681884765625 * std::expm1(v)); });
    }
    if (is("Tanh")) return unary([](double v) { return std::tanh(v); });
    if (is("Sigmoid")) return unary([](double v) { return 1 / (1 + std::exp(-v)); });
    if (is("Softplus")) return unary([](double v) { return std::log1p(std::exp(v)); });
    if (is("Exp")) return unary([](double v) { return std::exp(v); });
    if (is("Log")) return unary([](double v) { return std::log(v); });
    if (is("Abs")) return unary([](double v) { return std::abs(v); });
    if (is("Add")) return numbers([](double a, double b) { return a + b; });
    if (is("Sub")) return numbers([](double a, double b) { return a - b; });
    if (is("Mul")) return numbers([](double a, double b) { return a * b; });
    if (is("Max")) return numbers([](double a, double b) { return std::max(a, b); });
    if (is("Div")) return numbers([&](double a, double b) { return in[0].integer ? std::trunc(a / b) : a / b; });
    if (is("Less")) return truths([](double a, double b) { return a < b ? 1.0 : 0.0; });
    if (is("LessOrEqual")) return truths([](double a, double b) { return a <= b ? 1.0 : 0.0; });
    if (is("Greater")) return truths([](double a, double b) { return a > b ? 1.0 : 0.0; });
    if (is("And")) return truths([](double a, double b) { return a * b; });
    if (is("Or")) return truths([](double a, double b) { return std::max(a, b); });
    if (is("Where")) {
      OnnxArray out{common(in[0].dims, common(in[1].dims, in[2].dims)), {}, in[1].integer};
      for (Index i = 0; i < out.size(); ++i)
        out.data.push_back(broadcast(broadcast(in[0], out.dims, i) != 0 ? in[1] : in[2], out.dims, i));
      return out;
    }
    if (is("Clip")) return unary([&](double v) { return std::clamp(v, in[1][0], in[2][0]); });
    if (is("Gemm")) {
      const OnnxArray product = matmul(in[0], in[1]);
      return in.size() > 2 ? pairs(product, in[2], false, [](double a, double b) { return a + b; }) : product;
    }
    if (is("MatMul")) return matmul(in[0], in[1]);
    if (is("Conv")) return conv(node, in);
    if (is("MaxPool") || is("AveragePool")) return pool(node, in[0]);
    if (is("InstanceNormalization")) return instance_norm(node, in);
    if (is("GridSample")) return grid_sample(node, in[0], in[1]);
    if (is("Softmax")) return softmax(in[0]);
    if (is("ArgMax")) return argmax(in[0]);
    const bool keep = integer(node, "keepdims", 1) != 0;
    const auto plus = [](double a, double b) { return a + b; };
    if (is("ReduceSum")) return reduce(in[0], axes(in[1]), keep, 0, plus);
    if (is("ReduceMax")) {
      return reduce(in[0], integers(node, "axes", {}), keep, -INFINITY, [](double a, double b) { return std::max(a, b); });
    }
    if (is("ReduceMean") || is("GlobalAveragePool")) {
      const OnnxArray sum = reduce(in[0], integers(node, "axes", {2, 3}), keep, 0, plus);
      const double count = static_cast<double>(in[0].size()) / static_cast<double>(sum.size());
      return each(sum, [count](double v) { return v / count; });
    }
    if (is("Transpose")) return transpose(in[0], integers(node, "perm", {}));
    if (is("Reshape")) return reshape(in[0], in[1]);
    if (is("Pad")) return pad(in[0], in[1]);
    if (is("Slice"))
      return slice(in[0], static_cast<Index>(in[3][0]), static_cast<Index>(in[1][0]), static_cast<Index>(in[2][0]));
    if (is("Concat")) return concat(in, integer(node, "axis", 0));
    if (is("Gather")) return gather(in[0], in[1], integer(node, "axis", 0));
    throw std::runtime_error("naive onnx: no op " + op);
  }

  onnx::GraphProto graph_;
  std::map<std::string, OnnxArray> constants_;
};

}  // namespace fovea_test
