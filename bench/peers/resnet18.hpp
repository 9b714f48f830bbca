// SPDX-License-Identifier: MIT
/// \file
/// The whole image instead: ResNet-18 as a file for onnxruntime, and how both sides are run in processes of their own.
#pragma once

#include "peers.hpp"
#include <fovea/core/random.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace peers {

namespace onnx {

/// A protobuf message as it is written. The few fields used here are those of onnx.proto, by their numbers.
class Message {
 public:
  Message& number(int field, std::uint64_t value) {
    varint(static_cast<std::uint64_t>(field) << 3);
    varint(value);
    return *this;
  }
  Message& text(int field, std::string_view value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return text(field, value.bytes_); }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

/// A graph of nodes with random weights.
class Graph {
 public:
  /// y = act(x * w + b): batch norm is part of w and b, as in any network made ready for use.
  std::string convolution(const std::string& x, int in, int out, int kernel, int stride, int pad) {
    const std::string w = weights({out, in, kernel, kernel}, std::sqrt(2.0 / (in * kernel * kernel)));
    const std::string b = weights({out}, 0.1);
    Message node = make("Conv", {x, w, b});
    node.message(5, list("kernel_shape", {kernel, kernel}));
    node.message(5, list("strides", {stride, stride}));
    node.message(5, list("pads", {pad, pad, pad, pad}));
    return add(node);
  }
  std::string max_pool(const std::string& x) {
    Message node = make("MaxPool", {x});
    node.message(5, list("kernel_shape", {3, 3}));
    node.message(5, list("strides", {2, 2}));
    node.message(5, list("pads", {1, 1, 1, 1}));
    return add(node);
  }
  std::string simple(const char* type, const std::vector<std::string>& inputs) { return add(make(type, inputs)); }
  /// y = x w + b.
  std::string dense(const std::string& x, int in, int out) {
    return add(make("Gemm", {x, weights({in, out}, std::sqrt(1.0 / in)), weights({out}, 0.1)}));
  }
  void write(const std::filesystem::path& file, const std::string& output, const std::vector<int>& image, int classes) {
    Message rename = make("Identity", {output});
    rename.text(2, "logits");
    graph_.message(1, rename);
    graph_.text(2, "resnet18");
    graph_.message(11, value("image", image));
    graph_.message(12, value("logits", {1, classes}));
    Message model;
    model.number(1, 8);                                     // the version of the format
    model.message(7, graph_);                               //
    model.message(8, Message().text(1, "").number(2, 13));  // the version of the operators
    std::ofstream(file, std::ios::binary) << model.bytes();
  }

 private:
  static Message make(const char* type, const std::vector<std::string>& inputs) {
    Message node;
    for (const std::string& input : inputs) node.text(1, input);
    return node.text(4, type);
  }
  std::string add(Message& node) {
    const std::string output = std::to_string(++count_);
    graph_.message(1, node.text(2, output));
    return output;
  }
  std::string add(Message&& node) { return add(node); }
  static Message list(const char* name, const std::vector<int>& values) {
    Message attribute;
    attribute.text(1, name);
    for (const int v : values) attribute.number(8, static_cast<std::uint64_t>(v));
    return attribute.number(20, 7);  // a list of integers
  }
  static Message value(const char* name, const std::vector<int>& extents) {
    Message shape;
    for (const int n : extents) shape.message(1, Message().number(1, static_cast<std::uint64_t>(n)));
    return Message().text(1, name).message(2, Message().message(1, Message().number(1, 1).message(2, shape)));
  }
  std::string weights(const std::vector<int>& extents, double deviation) {
    const std::string name = std::to_string(++count_);
    Message tensor;
    std::size_t size = 1;
    for (const int n : extents) {
      tensor.number(1, static_cast<std::uint64_t>(n));
      size *= static_cast<std::size_t>(n);
    }
    std::vector<float> data(size);
    fovea::Stream stream(1, 0, static_cast<std::uint64_t>(count_), fovea::Purpose::user);
    for (float& v : data) v = static_cast<float>(deviation) * stream.normal<float>();
    tensor.number(2, 1).text(8, name);
    graph_.message(5, tensor.text(9, {reinterpret_cast<const char*>(data.data()), size * sizeof(float)}));
    return name;
  }

  Message graph_;
  int count_ = 0;
};

}  // namespace onnx

/// ResNet-18 for images of {channels, height, width}: 7x7 of stride 2, max-pooling, four stages of two blocks, mean, dense.
inline void write_resnet18(const std::filesystem::path& file, int image_channels, int height, int width_of_image, int classes) {
  onnx::Graph g;
  std::string x = g.max_pool(g.simple("Relu", {g.convolution("image", image_channels, 64, 7, 2, 3)}));
  int channels = 64;
  for (int stage = 0; stage < 4; ++stage) {
    const int width = 64 << stage;
    for (int block = 0; block < 2; ++block) {
      const int stride = stage > 0 && block == 0 ? 2 : 1;
      const std::string half = g.simple("Relu", {g.convolution(x, channels, width, 3, stride, 1)});
      const std::string inner = g.convolution(half, width, width, 3, 1, 1);
      const std::string shortcut = channels == width ? x : g.convolution(x, channels, width, 1, stride, 0);
      x = g.simple("Relu", {g.simple("Add", {inner, shortcut})});
      channels = width;
    }
  }
  g.write(file, g.dense(g.simple("Flatten", {g.simple("GlobalAveragePool", {x})}), channels, classes),
          {1, image_channels, height, width_of_image}, classes);
}

/// What a process printed of itself.
struct Result {
  std::string name;
  double nanoseconds = 0;
  double bytes = 0;
};

/// The words as a command for the shell.
inline std::string command(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text.append(" '").append(word).append("'");
  return text;
}

inline Result run_command(const std::string& command) {
  Result result;
  std::FILE* pipe = popen(command.c_str(), "r");
  char name[64] = "";
  const bool read = pipe != nullptr && std::fscanf(pipe, "%63s %lf %lf", name, &result.nanoseconds, &result.bytes) == 3;
  if (pipe == nullptr || pclose(pipe) != 0 || !read) {
    std::fprintf(stderr, "failed: %s\n", command.c_str());
    std::exit(1);
  }
  result.name = name;
  return result;
}
/// The peak of this process's resident memory, in bytes.
inline long peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtol(line.c_str() + 6, nullptr, 10) * 1024;
  }
  return 0;
}

/// Our side of such a process: runs `work(run)` once uncounted and then `runs` times, and prints what whole_image.mjs prints.
/// The exit status of the process.
template <class Work>
int run_fovea(int runs, Work&& work) {
  std::vector<double> times;
  for (int run = 0; run <= runs; ++run) {
    const double start = seconds(1);
    const float probability = work(run);
    const double taken = seconds(1) - start;
    if (run > 0) times.push_back(taken);
    if (!(probability >= 0)) return 1;
  }
  const long peak = peak_memory();
  std::printf("fovea %.0f %ld\n", 1e9 * median(times), peak);
  return peak > 0 ? 0 : 1;
}

}  // namespace peers
