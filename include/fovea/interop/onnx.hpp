// SPDX-License-Identifier: MIT
/// \file
/// Models as files of ONNX: the whole way from the pixels of an image to the probabilities, pyramid, proxy, policy and glimpses
/// included (GridSample), for runtimes that know nothing of this library (CMake component `onnx`).
///
///     interop::export_onnx("model.onnx", saccader, parameters, {1080, 1920});
///
/// The graph comes from tracing: the model's own forward pass runs once in an OnnxContext, every op tells what it did
/// (nn::trace), and each becomes a few nodes. What an op made that tells nothing is refused where the answer depends on it, and
/// so is whatever was filled by hand and comes out otherwise for a second image. So a graph is either the model or an Error.
///
/// Input `image` is uint8 [1, H, W, C]. The extent is fixed: how many levels the pyramid has, which of them the proxy is
/// averaged from and with which weights follow from it, and would have to become loops of the graph. Outputs are
/// `probabilities` [1, K], what Prediction::probabilities is, and `regions` [T, 3] as (s, x, y), for a model that looks. The
/// answer is that of classify() for a Pyramid<std::uint8_t> of the image, to rounding: integers are exact (the levels), the
/// rest is float, coordinates included, which the samplers here compute in double. A graph computes a glimpse from every level
/// of the pyramid and weighs them, so it is no quick way to look.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/atomic_file.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/glimpse/sampler.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/salience.hpp>
#include <fovea/interop/onnx_graph.hpp>
#include <fovea/kernel/activation.hpp>
#include <fovea/kernel/area.hpp>
#include <fovea/kernel/attention.hpp>
#include <fovea/kernel/local_attention.hpp>
#include <fovea/kernel/resample.hpp>
#include <fovea/model/early_exit.hpp>
#include <fovea/model/policy.hpp>
#include <fovea/model/saccader_options.hpp>
#include <fovea/nn/attention.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/group_norm.hpp>
#include <fovea/nn/local_attention.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/pool.hpp>
#include <fovea/nn/recurrent.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/nn/resize.hpp>
#include <fovea/nn/stack.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace interop {

/// An Inference that builds the graph of what is computed in it, for one image. Memory is never given back, so that every Var
/// is known by where it lies; parts of a Var and other shapes of it are found by their address.
class OnnxContext : public Inference<float> {
 public:
  static constexpr bool tracing = true;

  /// All must outlive this. `image`: whose pixels are the graph's input.
  OnnxContext(Arena& arena, const Parameters<float>& parameters, const Pyramid<std::uint8_t>& image)
      : Inference<float>(arena, parameters.values()), image_(&image), levels_(static_cast<std::size_t>(image.levels())) {
    require(image.levels() <= kMostLevels, "onnx: an image of at most ", kMostLevels,
            " levels expected, whose sums fit 32 bits, ", image.levels(), " came");
    const Extents<2> e = image.extent();
    pixels_ =
        graph_.input<std::uint8_t>("image", {1, e[0], e[1], image.channels()}, "pixels, rows from the top, channels last");
    sums_.push_back(pixels_);
    parameters.visit([&](const std::string& name, const Shape& shape, View<const float, 1> values) {
      known_[values.data()] = {.origin = Origin::parameter, .shape = shape, .name = name};
    });
  }

  // ------------------------------------------------------------------------------------------------------- what a context has

  [[nodiscard]] Var<float> variable(const Shape& shape) { return made(shape, Origin::op); }
  [[nodiscard]] Var<float> constant(const Shape& shape) { return made(shape, Origin::hand); }
  using Inference<float>::constant;
  template <class Body>
  Var<float> scope(Body&& body) {
    return std::forward<Body>(body)();
  }

  /// The proxies [1, h, w, C] that the model sees: fovea::proxy.
  [[nodiscard]] Var<float> proxy(Extents<2> extent) {
    const Var<float> out = variable(Shape{1, extent[0], extent[1], image_->channels()});
    fovea::proxy(*image_, out.mutable_values<4>()[0]);
    // The level that fovea::proxy reads.
    int level = image_->levels() - 1;
    const auto enough = [&](std::size_t axis) { return image_->level_extent(level)[axis] >= 4 * extent[axis]; };
    while (level > 0 && !(enough(0) && enough(1))) --level;
    const auto shares = [&](std::size_t axis, double scale) {
      const Index pixels = image_->level_extent(level)[axis];
      const double length =
          std::min(static_cast<double>(pixels), static_cast<double>(image_->extent()[axis]) / image_->ratios(level)[axis]);
      const double step = length / static_cast<double>(extent[axis]);
      std::vector<double> weights;
      for (Index i = 0; i < extent[axis]; ++i) {
        const double end = i + 1 == extent[axis] ? length : static_cast<double>(i + 1) * step;
        for (Index k = 0; k < pixels; ++k) {
          weights.push_back(scale / step * kernel::detail::covered(k, static_cast<double>(i) * step, end));
        }
      }
      return weights;
    };
    set(out,
        separable(level_of(level), shares(0, 1), shares(1, kernel::kPixelScale<std::uint8_t>), out.shape,
                  image_->level_extent(level)),
        true);
    return out;
  }

  /// Makes `x` an output of the graph. Throws Error where it depends on what has no translation.
  void output(const Var<float>& x, const std::string& name, const std::string& description) {
    graph_.output(value(x), name, dims(x.shape), description);
  }
  [[nodiscard]] onnx::ModelProto model(const std::string& name) const { return graph_.model(name); }

  // ------------------------------------------------------------------------------------------------------------ translations

  using Vars = std::span<const Var<float>>;

  /// Ops without a translation.
  template <class Op>
  void trace(const Op& /*op*/, const Var<float>& /*y*/, Vars /*inputs*/) {}

  void trace(nn::traced::Elementwise op, const Var<float>& y, Vars in) {
    if (in.size() == 1) return set_like(y, in[0], unary(op));
    using nn::traced::Elementwise;
    set_like(y, in[0], in[1], op == Elementwise::add ? "Add" : op == Elementwise::subtract ? "Sub" : "Mul");
  }
  void trace(const nn::traced::Scaled& op, const Var<float>& y, Vars in) {
    const OnnxValue scaled = graph_.node("Mul", {value(in[0]), graph_.number(static_cast<float>(op.factor))});
    set(y, in.size() == 1 ? scaled : graph_.node("Add", {scaled, value(in[1])}));
  }
  template <class F>
  void trace(const nn::traced::OfSum<F>& /*op*/, const Var<float>& y, Vars in) {
    const bool first = channels_first(in[0]) && channels_first(in[1]);
    set(y, activated<F>(graph_.node("Add", {value(in[0], first), value(in[1], first)})), first);
  }
  void trace(const nn::traced::Concat& op, const Var<float>& y, Vars in) {
    const bool first = op.axis == 0 && std::all_of(in.begin(), in.end(), [&](const auto& x) { return channels_first(x); });
    std::vector<OnnxValue> parts;
    for (const Var<float>& x : in) parts.push_back(value(x, first));
    set(y, graph_.node("Concat", parts, {{"axis", static_cast<Index>(op.axis)}}), first);
  }
  void trace(const nn::traced::Slice& op, const Var<float>& y, Vars in) {
    set(y, graph_.slice(value(in[0]), static_cast<Index>(y.shape.rank()) - 1, op.first, op.count));
  }
  void trace(const nn::traced::Repeat& op, const Var<float>& y, Vars in) {
    std::vector<std::int64_t> from;
    const Index samples = in[0].shape[0];
    for (Index r = 0; r < samples * op.count; ++r) from.push_back(op.in_a_row ? r / op.count : r % samples);
    set(y, graph_.node("Gather", {value(in[0]), graph_.integers(from)}, {{"axis", Index{0}}}));
  }
  void trace(const nn::traced::Dense& /*op*/, const Var<float>& y, Vars in) {
    const auto rows = [](const Var<float>& x) {
      const Index columns = x.shape[x.shape.rank() - 1];
      return x.reshape({x.size() / columns, columns});
    };
    std::vector<OnnxValue> inputs{value(rows(in[0])), value(in[1])};
    if (in[2].value != nullptr) inputs.push_back(value(in[2]));
    set(rows(y), graph_.node("Gemm", inputs));
    find(y)->shape = y.shape;
    find(y)->value = shaped(find(y)->value, rows(y).shape, y.shape);
  }
  void trace(const nn::traced::Conv2d& op, const Var<float>& y, Vars in) {
    const kernel::Conv2dOptions& o = op.options;
    std::vector<OnnxValue> inputs{value(in[0], true), kernel_of(in[1])};
    if (in[2].value != nullptr) inputs.push_back(value(in[2]));
    set(y,
        graph_.node("Conv", inputs,
                    {{"kernel_shape", {in[1].shape[0], in[1].shape[1]}},
                     {"strides", {o.stride_y, o.stride_x}},
                     {"pads", {o.pad_y, o.pad_x, o.pad_y, o.pad_x}}}),
        true);
  }
  template <class F>
  void trace(const nn::traced::GroupNorm<F>& op, const Var<float>& y, Vars in) {
    const Shape& shape = y.shape;
    const Index channels = shape[shape.rank() - 1];
    if (shape.rank() == 3) return;  // [N, P, C]: no model has it
    const bool first = shape.rank() == 4;
    const OnnxValue x = value(in[0], first);
    // Consecutive channels lie together, so a group is a channel of an instance norm.
    const auto groups = static_cast<std::size_t>(op.groups);
    const OnnxValue ones = graph_.constant({op.groups}, std::vector<float>(groups, 1));
    const OnnxValue zeros = graph_.constant({op.groups}, std::vector<float>(groups, 0));
    const OnnxValue normal = graph_.node(
        "InstanceNormalization", {graph_.reshape(x, {shape[0], op.groups, shape.size() / shape[0] / op.groups}), ones, zeros},
        {{"epsilon", static_cast<float>(op.epsilon)}});
    const OnnxValue back =
        first ? graph_.reshape(normal, {shape[0], channels, shape[1], shape[2]}) : graph_.reshape(normal, {shape[0], channels});
    const auto each = [&](const Var<float>& p) { return first ? graph_.reshape(value(p), {channels, 1, 1}) : value(p); };
    set(y, activated<F>(graph_.node("Add", {graph_.node("Mul", {back, each(in[1])}), each(in[2])})), first);
  }
  void trace(const nn::traced::Pool2d& op, const Var<float>& y, Vars in) {
    const nn::Pool2dOptions& o = op.options;
    set(y,
        graph_.node(op.greatest ? "MaxPool" : "AveragePool", {value(in[0], true)},
                    {{"kernel_shape", {o.height, o.width}},
                     {"strides", {o.stride_y, o.stride_x}},
                     {"pads", {o.pad_y, o.pad_x, o.pad_y, o.pad_x}}}),
        true);
  }
  void trace(const nn::traced::GlobalAveragePool& /*op*/, const Var<float>& y, Vars in) {
    const Shape& s = in[0].shape;
    const OnnxValue mean = s.rank() == 4 ? graph_.node("GlobalAveragePool", {value(in[0], true)})
                                         : graph_.node("ReduceMean", {value(in[0])}, {{"axes", {1}}});
    set(y, graph_.reshape(mean, dims(y.shape)));
  }
  void trace(const nn::traced::KeyScores& /*op*/, const Var<float>& y, Vars in) {
    const OnnxValue key = graph_.reshape(value(in[1]), {in[1].shape[0], in[1].shape[1], 1});
    set(y, graph_.reshape(graph_.node("MatMul", {positions(in[0]), key}), dims(y.shape)));
  }
  void trace(const nn::traced::AttentionPool& /*op*/, const Var<float>& y, Vars in) {
    const OnnxValue attention = graph_.reshape(value(in[0]), {in[0].shape[0], 1, in[0].shape[1]});
    set(y, graph_.reshape(graph_.node("MatMul", {attention, positions(in[1])}), dims(y.shape)));
  }
  void trace(const nn::traced::ExpectedCoordinates& op, const Var<float>& y, Vars in) {
    set(y, graph_.node("MatMul", {value(in[0]), centres(op.grid)}));
  }
  void trace(const nn::traced::LocalCoordinates& op, const Var<float>& y, Vars in) {
    const OnnxValue cell = cell_of(op.cells);
    std::vector<std::int64_t> rows;
    std::vector<std::int64_t> columns;
    const Index cells = product(op.grid);
    for (Index i = 0; i < cells; ++i) {
      rows.push_back(i / op.grid[1]);
      columns.push_back(i % op.grid[1]);
    }
    const OnnxValue width = graph_.integers({op.grid[1]});
    const OnnxValue row = graph_.node("Div", {cell, width});
    const OnnxValue column = graph_.node("Sub", {cell, graph_.node("Mul", {row, width})});
    const auto near = [&](const std::vector<std::int64_t>& all, const OnnxValue& one, Index reach) {
      const OnnxValue distance = graph_.node("Abs", {graph_.node("Sub", {graph_.constant({1, cells}, all), one})});
      return graph_.node("LessOrEqual", {distance, graph_.integers({reach})});
    };
    const OnnxValue window =
        graph_.cast<float>(graph_.node("And", {near(rows, row, op.reach[0]), near(columns, column, op.reach[1])}));
    const OnnxValue weights = graph_.node("Mul", {value(in[0]), window});
    const OnnxValue sum = graph_.node("ReduceSum", {weights, graph_.integers({1})});
    const OnnxValue place = graph_.node("Div", {graph_.node("MatMul", {weights, centres(op.grid)}), sum});
    const OnnxValue nothing = graph_.node("Less", {sum, graph_.number(static_cast<float>(kernel::detail::kLeastAttention))});
    const OnnxValue centre = graph_.node("Gather", {centres(op.grid), cell}, {{"axis", Index{0}}});
    set(y, graph_.node("Where", {nothing, centre, place}));
  }
  void trace(const nn::traced::Softmax& /*op*/, const Var<float>& y, Vars in) {
    set(y, graph_.node("Softmax", {value(in[0])}, {{"axis", Index{-1}}}));
  }
  void trace(const nn::traced::GruGates& /*op*/, const Var<float>& y, Vars in) {
    const auto x = graph_.split(value(in[0]), 1, 3, y.shape[1]);
    const auto h = graph_.split(value(in[1]), 1, 3, y.shape[1]);
    const OnnxValue r = graph_.node("Sigmoid", {graph_.node("Add", {x[0], h[0]})});
    const OnnxValue z = graph_.node("Sigmoid", {graph_.node("Add", {x[1], h[1]})});
    const OnnxValue n = graph_.node("Tanh", {graph_.node("Add", {x[2], graph_.node("Mul", {r, h[2]})})});
    set(y, graph_.node("Add", {n, graph_.node("Mul", {z, graph_.node("Sub", {value(in[2]), n})})}));
  }
  void trace(const nn::traced::LstmMemory& /*op*/, const Var<float>& y, Vars in) {
    const auto gate = lstm_gates(in[0], in[1], y.shape[1]);
    const OnnxValue kept = graph_.node("Mul", {graph_.node("Sigmoid", {gate[1]}), value(in[2])});
    const OnnxValue fresh = graph_.node("Mul", {graph_.node("Sigmoid", {gate[0]}), graph_.node("Tanh", {gate[2]})});
    set(y, graph_.node("Add", {kept, fresh}));
  }
  void trace(const nn::traced::LstmOutput& /*op*/, const Var<float>& y, Vars in) {
    const auto gate = lstm_gates(in[0], in[1], y.shape[1]);
    set(y, graph_.node("Mul", {graph_.node("Sigmoid", {gate[3]}), graph_.node("Tanh", {value(in[2])})}));
  }
  void trace(const nn::traced::ResizeBilinear& op, const Var<float>& y, Vars in) {
    const auto weights = [&](std::size_t axis) {
      const Index from = in[0].shape[1 + axis];
      const Index to = y.shape[1 + axis];
      const double ratio = static_cast<double>(from) / static_cast<double>(to);
      const kernel::SampleAxis at =
          op.align_corners ? kernel::SampleAxis{0, to > 1 ? static_cast<double>(from - 1) / static_cast<double>(to - 1) : 0.0}
                           : kernel::SampleAxis{ratio / 2 - 0.5, ratio};
      std::vector<double> all(static_cast<std::size_t>(from * to), 0.0);
      for (Index i = 0; i < to; ++i) {
        const auto tap =
            kernel::detail::axis_tap(at.origin + static_cast<double>(i) * at.step, from, {kernel::Padding::border});
        all[static_cast<std::size_t>(i * from + tap.index)] += tap.weight0;
        if (tap.index + 1 < from) all[static_cast<std::size_t>(i * from + tap.index + 1)] += tap.weight1;
      }
      return all;
    };
    set(y, separable(value(in[0], true), weights(0), weights(1), y.shape, {in[0].shape[1], in[0].shape[2]}), true);
  }

  void trace(const model::traced::Salience& op, const Var<float>& y, Vars in) {
    const Extents<2> extent{in[0].shape[1], in[0].shape[2]};
    const Index surround = SalienceOptions{}.surround;
    const OnnxValue picture = value(in[0], true);
    const OnnxValue mean = graph_.node(
        "AveragePool", {picture},
        {{"kernel_shape", {2 * surround + 1, 2 * surround + 1}}, {"pads", {surround, surround, surround, surround}}});
    OnnxValue contrast =
        graph_.node("ReduceSum", {graph_.node("Abs", {graph_.node("Sub", {picture, mean})}), graph_.integers({1})});
    // The greatest of each cell's pixels, one axis after the other; a shorter cell names its first pixel again.
    for (std::size_t axis = 0; axis < 2; ++axis) {
      std::vector<std::vector<std::int64_t>> of_cell(static_cast<std::size_t>(op.grid[axis]));
      for (Index i = 0; i < extent[axis]; ++i) {
        of_cell[static_cast<std::size_t>((2 * i + 1) * op.grid[axis] / (2 * extent[axis]))].push_back(i);
      }
      std::size_t most = 0;
      for (const auto& pixels : of_cell) most = std::max(most, pixels.size());
      std::vector<std::int64_t> all;
      for (auto& pixels : of_cell) {
        if (pixels.empty()) return;  // more cells than pixels
        pixels.resize(most, pixels.front());
        all.insert(all.end(), pixels.begin(), pixels.end());
      }
      const auto at = static_cast<Index>(2 + axis);
      const OnnxValue pixels =
          graph_.node("Gather", {contrast, graph_.constant({op.grid[axis], static_cast<Index>(most)}, all)}, {{"axis", at}});
      contrast = graph_.node("ReduceMax", {pixels}, {{"axes", {at + 1}}, {"keepdims", Index{0}}});
    }
    const OnnxValue greatest = graph_.node("ReduceMax", {contrast});
    const OnnxValue some = graph_.node("Greater", {greatest, graph_.number(1e-6F)});
    const OnnxValue factor = graph_.node(
        "Where",
        {some, graph_.node("Div", {graph_.number(1), graph_.node("Max", {greatest, graph_.number(1e-6F)})}), graph_.number(0)});
    set(y, graph_.reshape(graph_.node("Mul", {contrast, factor}), dims(y.shape)));
  }
  /// How far the centre of each cell of a grid is from that of a region, down (axis 0) or across (1).
  [[nodiscard]] OnnxValue away(const Var<float>& region, Extents<2> grid, std::size_t axis) {
    std::vector<float> centres;
    for (Index i = 0; i < product(grid); ++i) {
      centres.push_back(static_cast<float>(kernel::cell_centre(axis == 0 ? i / grid[1] : i % grid[1], grid[axis])));
    }
    const OnnxValue centre = graph_.slice(value(region), 1, axis == 0 ? 2 : 1, 1);
    return graph_.node("Abs", {graph_.node("Sub", {graph_.constant({1, product(grid)}, centres), centre})});
  }
  void trace(const model::traced::Inhibition& op, const Var<float>& y, Vars in) {
    OnnxValue any;
    for (const Var<float>& region : in) {
      const OnnxValue half =
          graph_.node("Mul", {graph_.slice(value(region), 1, 0, 1), graph_.number(static_cast<float>(op.inhibited))});
      // Cells whose centre is at most that far.
      const auto within = [&](std::size_t axis) { return graph_.node("LessOrEqual", {away(region, op.grid, axis), half}); };
      const OnnxValue here = graph_.node("And", {within(0), within(1)});
      any = any.name.empty() && any.missing.empty() ? here : graph_.node("Or", {any, here});
    }
    set(y, graph_.node("Where", {any, graph_.number(static_cast<float>(-op.inhibition)), graph_.number(0)}));
  }
  void trace(const model::traced::Overlap& op, const Var<float>& y, Vars in) {
    OnnxValue most;
    for (const Var<float>& region : in) {
      const OnnxValue half =
          graph_.node("Add", {graph_.slice(value(region), 1, 0, 1), graph_.number(static_cast<float>(op.scale))});
      const auto share = [&](std::size_t axis) {
        const OnnxValue part = graph_.node(
            "Div", {graph_.node("Sub", {half, away(region, op.grid, axis)}), graph_.number(static_cast<float>(2 * op.scale))});
        return graph_.node("Clip", {part, graph_.number(0), graph_.number(1)});
      };
      const OnnxValue here = graph_.node("Mul", {share(0), share(1)});
      most = most.name.empty() && most.missing.empty() ? here : graph_.node("Max", {most, here});
    }
    set(y, most);
  }
  void trace(const model::traced::Choice& op, const Var<float>& /*y*/, Vars in) {
    cells_[op.cells] = graph_.node("ArgMax", {value(in[0])}, {{"axis", Index{1}}, {"keepdims", Index{0}}});
  }
  void trace(const model::traced::RowOfCell& op, const Var<float>& y, Vars in) {
    const OnnxValue rows = value(in[0].reshape({in[0].shape[1], in[0].shape[2]}));
    set(y, graph_.node("Gather", {rows, cell_of(op.cells)}, {{"axis", Index{0}}}));
  }

  template <class Source>
  void trace(const glimpse::traced::Glimpse<glimpse::Antialiased, Source>& op, const Var<float>& y, Vars in) {
    if (!is_the_image(op.images)) return;
    const glimpse::Antialiased& sampler = op.sampler;
    const Extents<2> window{y.shape[1], y.shape[2]};
    const glimpse::Lattice unit = sampler.lattice(*image_, glimpse::Region<double>{1, 0, 0}, window);
    const int count = image_->levels();
    std::vector<OnnxValue> of_level;
    for (int k = 0; k < count; ++k) of_level.push_back(grid_sample(k, unit, window, in[0], sampler.padding, false));
    OnnxValue mixed = of_level[0];
    if (count > 1) {
      // u_k: the share of what lies beyond level k, of the logarithm of the spacing; level k has u_{k-1} - u_k.
      const auto steps = static_cast<std::size_t>(count - 1);
      std::vector<float> inverse(steps);
      std::vector<float> offset(steps);
      const double spacing =
          std::max(unit.dx * static_cast<double>(image_->extent()[1]), unit.dy * static_cast<double>(image_->extent()[0])) / 2 *
          std::exp2(sampler.bias);
      for (std::size_t k = 0; k < steps; ++k) {
        const double fine = image_->ratio(static_cast<int>(k));
        const double whole = std::log(image_->ratio(static_cast<int>(k) + 1) / fine);
        inverse[k] = static_cast<float>(1 / whole);
        offset[k] = static_cast<float>(std::log(spacing / fine) / whole);
      }
      const OnnxValue log_s = graph_.node("Log", {graph_.slice(value(in[0]), 1, 0, 1)});
      const OnnxValue u =
          graph_.node("Clip", {graph_.node("Add", {graph_.node("Mul", {log_s, graph_.constant({1, count - 1}, inverse)}),
                                                   graph_.constant({1, count - 1}, offset)}),
                               graph_.number(0), graph_.number(1)});
      const OnnxValue one = graph_.constant({1, 1}, std::vector<float>{1});
      const OnnxValue zero = graph_.constant({1, 1}, std::vector<float>{0});
      const OnnxValue share = graph_.node("Sub", {graph_.node("Concat", {one, u}, {{"axis", Index{1}}}),
                                                  graph_.node("Concat", {u, zero}, {{"axis", Index{1}}})});
      const OnnxValue all = graph_.reshape(graph_.node("Concat", of_level, {{"axis", Index{0}}}), {count, y.size()});
      mixed = graph_.reshape(graph_.node("MatMul", {share, all}), {1, y.shape[3], window[0], window[1]});
    }
    set(y, scaled_pixels(mixed), true);
  }
  template <class Source>
  void trace(const glimpse::traced::Glimpse<glimpse::Bilinear, Source>& op, const Var<float>& y, Vars in) {
    if (!is_the_image(op.images)) return;
    const Extents<2> window{y.shape[1], y.shape[2]};
    const glimpse::Lattice unit = op.sampler.lattice(*image_, glimpse::Region<double>{1, 0, 0}, window);
    set(y, scaled_pixels(grid_sample(0, unit, window, in[0], op.sampler.padding, op.sampler.align_corners)), true);
  }

 private:
  static constexpr int kMostLevels = 12;

  enum class Origin : std::uint8_t {
    parameter,
    op,    ///< made by an op; without a value until it has told of itself
    hand,  ///< filled by whoever asked for the memory; a constant unless something tells otherwise
    traced,
  };
  /// What is known of the memory of a Var.
  struct Known {
    Origin origin = Origin::op;
    Shape shape = {};
    std::string name = {};  ///< of a parameter; of what an op made, the node before it
    OnnxValue value = {};   ///< in the graph, [N, H, W, C] as here
    OnnxValue planes = {};  ///< the same as [N, C, H, W]; one of the two is enough
  };

  [[nodiscard]] static std::vector<std::int64_t> dims(const Shape& shape) {
    std::vector<std::int64_t> all;
    for (std::size_t i = 0; i < shape.rank(); ++i) all.push_back(shape[i]);
    return all;
  }
  [[nodiscard]] static bool empty(const OnnxValue& v) { return v.name.empty() && v.missing.empty(); }

  Var<float> made(const Shape& shape, Origin origin) {
    const Var<float> x = Inference<float>::constant(shape);
    if (x.size() > 0) known_[x.value] = {.origin = origin, .shape = shape, .name = graph_.last_node()};
    return x;
  }
  /// The memory that x lies in, or null.
  Known* find(const Var<float>& x) {
    auto after = known_.upper_bound(x.value);
    if (after == known_.begin()) return nullptr;
    const auto& [start, known] = *--after;
    return std::less<>{}(x.value, start + known.shape.size()) ? &after->second : nullptr;
  }

  /// x is `value`, in the layout said.
  void set(const Var<float>& x, OnnxValue value, bool planes = false) {
    Known* known = find(x);
    FOVEA_ASSERT(known != nullptr);
    *known = {.origin = Origin::traced, .shape = x.shape};
    (planes ? known->planes : known->value) = std::move(value);
  }

  OnnxValue shaped(const OnnxValue& value, const Shape& from, const Shape& to) {
    return from == to ? value : graph_.reshape(value, dims(to));
  }
  OnnxValue by_hand(const float* values, const Shape& shape) {
    return graph_.constant(dims(shape), std::vector<float>(values, values + shape.size()));
  }
  /// The whole of what is known, as it was made.
  OnnxValue whole(const float* start, Known& known) {
    if (!empty(known.value)) return known.value;
    if (!empty(known.planes)) return known.value = graph_.node("Transpose", {known.planes}, {{"perm", {0, 2, 3, 1}}});
    const std::vector<float> values(start, start + known.shape.size());
    switch (known.origin) {
      case Origin::parameter: return known.value = graph_.named(known.name, dims(known.shape), values);
      case Origin::hand: return graph_.constant(dims(known.shape), values);
      default:
        return {{},
                "an op behind " + known.name + " made a tensor " + known.shape.to_string() +
                    " that the answer depends on, and has no translation: see nn::trace"};
    }
  }
  /// What x is in the graph, in the layout wanted.
  OnnxValue value(const Var<float>& x, bool planes = false) {
    Known* known = find(x);
    if (planes) {
      if (known != nullptr && known->shape == x.shape && !empty(known->planes)) return known->planes;
      const OnnxValue turned = graph_.node("Transpose", {value(x)}, {{"perm", {0, 3, 1, 2}}});
      if (known != nullptr && known->shape == x.shape) known->planes = turned;
      return turned;
    }
    if (known == nullptr) return by_hand(x.value, x.shape);
    const float* start = std::prev(known_.upper_bound(x.value))->first;
    const OnnxValue all = whole(start, *known);
    if (x.size() == known->shape.size()) return shaped(all, known->shape, x.shape);
    const OnnxValue part = graph_.slice(graph_.reshape(all, {-1}), 0, x.value - start, x.size());
    return graph_.reshape(part, dims(x.shape));
  }
  /// Whether x is there as [N, C, H, W].
  bool channels_first(const Var<float>& x) {
    const Known* known = find(x);
    return known != nullptr && known->shape == x.shape && !empty(known->planes);
  }
  void set_like(const Var<float>& y, const Var<float>& x, const char* op) {
    const bool planes = channels_first(x);
    set(y, graph_.node(op, {value(x, planes)}), planes);
  }
  void set_like(const Var<float>& y, const Var<float>& a, const Var<float>& b, const char* op) {
    const bool planes = channels_first(a) && channels_first(b);
    set(y, graph_.node(op, {value(a, planes), value(b, planes)}), planes);
  }

  [[nodiscard]] static const char* unary(nn::traced::Elementwise op) {
    using nn::traced::Elementwise;
    switch (op) {
      case Elementwise::relu: return "Relu";
      case Elementwise::elu: return "Elu";
      case Elementwise::selu: return "Selu";
      case Elementwise::tanh: return "Tanh";
      case Elementwise::sigmoid: return "Sigmoid";
      case Elementwise::softplus: return "Softplus";
      case Elementwise::exp: return "Exp";
      default: fail("onnx: an op of one input expected");
    }
  }
  template <class F>
  OnnxValue activated(const OnnxValue& x) {
    if constexpr (std::is_same_v<F, kernel::Relu>) return graph_.node("Relu", {x});
    if constexpr (std::is_same_v<F, kernel::Elu>) return graph_.node("Elu", {x});
    if constexpr (std::is_same_v<F, kernel::Identity>) return x;
  }
  /// The weights of a convolution, [KH, KW, I, O] here, as [O, I, KH, KW].
  OnnxValue kernel_of(const Var<float>& w) {
    Known* known = find(w);
    if (known == nullptr || known->origin != Origin::parameter) {
      return graph_.node("Transpose", {value(w)}, {{"perm", {3, 2, 0, 1}}});
    }
    if (!empty(known->planes)) return known->planes;
    const Extents<4> e = w.shape.extents<4>();
    const auto from = w.values<4>();
    std::vector<float> turned;
    for (Index o = 0; o < e[3]; ++o) {
      for (Index i = 0; i < e[2]; ++i) {
        for (Index y = 0; y < e[0]; ++y) {
          for (Index x = 0; x < e[1]; ++x) turned.push_back(from(y, x, i, o));
        }
      }
    }
    return known->planes = graph_.named(known->name, {e[3], e[2], e[0], e[1]}, turned);
  }

  /// [B, H, W, C] or [B, P, C] as [B, P, C].
  OnnxValue positions(const Var<float>& x) {
    const Extents<3> e = nn::detail::as_positions(x.shape);
    return value(x.reshape({e[0], e[1], e[2]}));
  }
  /// The centres of a grid's cells, [P, 2], x first.
  OnnxValue centres(Extents<2> grid) {
    std::vector<float> all;
    for (Index i = 0; i < product(grid); ++i) {
      all.push_back(static_cast<float>(kernel::cell_centre(i % grid[1], grid[1])));
      all.push_back(static_cast<float>(kernel::cell_centre(i / grid[1], grid[0])));
    }
    return graph_.constant({product(grid), 2}, all);
  }
  OnnxValue cell_of(const std::int32_t* cells) const {
    const auto known = cells_.find(cells);
    return known != cells_.end() ? known->second
                                 : OnnxValue{{}, "cells of a map, chosen by something that has no translation: see nn::trace"};
  }
  std::array<OnnxValue, 4> lstm_gates(const Var<float>& gx, const Var<float>& gh, Index size) {
    const auto all = graph_.split(graph_.node("Add", {value(gx), value(gh)}), 1, 4, size);
    return {all[0], all[1], all[2], all[3]};
  }

  /// rows [h, H] x [1, C, H, W] columns^T [w, W]: to `shape` = {1, h, w, C}, from pixels of `from` = {H, W}.
  OnnxValue separable(const OnnxValue& x, const std::vector<double>& rows, const std::vector<double>& columns,
                      const Shape& shape, Extents<2> from) {
    const std::vector<float> left(rows.begin(), rows.end());
    std::vector<float> right;
    for (Index k = 0; k < from[1]; ++k) {
      for (Index j = 0; j < shape[2]; ++j)
        right.push_back(static_cast<float>(columns[static_cast<std::size_t>(j * from[1] + k)]));
    }
    const OnnxValue down = graph_.node("MatMul", {graph_.constant({shape[1], from[0]}, left), x});
    return graph_.node("MatMul", {down, graph_.constant({from[1], shape[2]}, right)});
  }

  // --------------------------------------------------------------------------------------------------------------- the image

  template <class Source>
  [[nodiscard]] bool is_the_image(std::span<const Source> images) const {
    if constexpr (std::is_same_v<Source, Pyramid<std::uint8_t>>) return images.size() == 1 && images.data() == image_;
    return false;
  }
  OnnxValue scaled_pixels(const OnnxValue& x) {
    return graph_.node("Mul", {x, graph_.number(static_cast<float>(kernel::kPixelScale<std::uint8_t>))});
  }
  /// The sums of the pixels under those of level k, int32 [1, h, w, C]: 2x2 of the level above, as PyramidBuilder has them.
  OnnxValue sums(std::size_t k) {
    while (sums_.size() <= k) {
      const auto above = static_cast<int>(sums_.size()) - 1;
      const Extents<2> e = image_->level_extent(above);
      const Extents<2> half = image_->level_extent(above + 1);
      OnnxValue x = above == 0 ? graph_.cast<std::int32_t>(sums_[0]) : sums_.back();
      if (2 * half[0] != e[0] || 2 * half[1] != e[1]) {
        x = graph_.node("Pad", {x, graph_.integers({0, 0, 0, 0, 0, 2 * half[0] - e[0], 2 * half[1] - e[1], 0})});
      }
      const OnnxValue blocks = graph_.reshape(x, {1, half[0], 2, half[1], 2, image_->channels()});
      sums_.push_back(graph_.node("ReduceSum", {blocks, graph_.integers({2, 4})}, {{"keepdims", Index{0}}}));
    }
    return sums_[k];
  }
  /// Level k, float [1, C, h, w] of bytes: its sums over their number, halves rounded up.
  OnnxValue level_of(int level) {
    const auto k = static_cast<std::size_t>(level);
    if (!empty(levels_[k])) return levels_[k];
    OnnxValue rounded = pixels_;
    if (k > 0) {
      // Pixels under a row and under a column: those at the edge have fewer.
      const auto pixels = [&](std::size_t axis) {
        const Index side = Index{1} << k;
        const Index count = image_->level_extent(level)[axis];
        std::vector<std::int32_t> all;
        for (Index i = 0; i < count; ++i) {
          all.push_back(static_cast<std::int32_t>(std::min(side, image_->extent()[axis] - i * side)));
        }
        return graph_.constant(axis == 0 ? std::vector<Index>{1, count, 1, 1} : std::vector<Index>{1, 1, count, 1}, all);
      };
      const OnnxValue terms = graph_.node("Mul", {pixels(0), pixels(1)});
      const OnnxValue half = graph_.node("Div", {terms, graph_.constant({}, std::vector<std::int32_t>{2})});
      rounded = graph_.node("Div", {graph_.node("Add", {sums(k), half}), terms});
    }
    levels_[k] = graph_.node("Transpose", {graph_.cast<float>(rounded)}, {{"perm", {0, 3, 1, 2}}});
    return levels_[k];
  }
  /// Bytes of level k [1, C, h, w] at the samples of a region's lattice; `unit` is that of s = 1 in the middle.
  OnnxValue grid_sample(int level, const glimpse::Lattice& unit, Extents<2> window, const Var<float>& region,
                        kernel::Padding padding, bool align_corners) {
    // Coordinate u of the image is a u + a - 1 of a level whose last pixel may reach beyond the image.
    const auto stretch = [&](std::size_t axis) {
      return static_cast<double>(image_->extent()[axis]) / image_->ratios(level)[axis] /
             static_cast<double>(image_->level_extent(level)[axis]);
    };
    const std::array<double, 2> a{stretch(1), stretch(0)};  // x, y
    std::vector<float> base;
    for (Index i = 0; i < window[0]; ++i) {
      for (Index j = 0; j < window[1]; ++j) {
        base.push_back(static_cast<float>(a[0] * unit.dx * (static_cast<double>(j) - static_cast<double>(window[1] - 1) / 2)));
        base.push_back(static_cast<float>(a[1] * unit.dy * (static_cast<double>(i) - static_cast<double>(window[0] - 1) / 2)));
      }
    }
    OnnxValue centre = graph_.slice(value(region), 1, 1, 2);
    if (a[0] != 1 || a[1] != 1) {
      centre = graph_.node(
          "Mul", {centre, graph_.constant({1, 2}, std::vector<float>{static_cast<float>(a[0]), static_cast<float>(a[1])})});
      centre = graph_.node(
          "Add",
          {centre, graph_.constant({1, 2}, std::vector<float>{static_cast<float>(a[0] - 1), static_cast<float>(a[1] - 1)})});
    }
    const OnnxValue spread =
        graph_.node("Mul", {graph_.slice(value(region), 1, 0, 1), graph_.constant({1, window[0], window[1], 2}, base)});
    const OnnxValue grid = graph_.node("Add", {spread, centre});
    const char* mode = padding == kernel::Padding::zeros    ? "zeros"
                       : padding == kernel::Padding::border ? "border"
                                                            : "reflection";
    return graph_.node("GridSample", {level_of(level), grid},
                       {{"mode", "bilinear"}, {"padding_mode", mode}, {"align_corners", Index{align_corners ? 1 : 0}}});
  }

  const Pyramid<std::uint8_t>* image_;
  OnnxGraph graph_;
  OnnxValue pixels_;
  std::vector<OnnxValue> sums_;
  std::vector<OnnxValue> levels_;
  std::map<const float*, Known, std::less<>> known_;
  std::map<const std::int32_t*, OnnxValue> cells_;
};

namespace detail {

/// The graph of one pass over an image of noise; `seed` names the noise.
template <class Model>
[[nodiscard]] onnx::ModelProto traced_model(const Model& model, const Parameters<float>& parameters, Extents<2> extent,
                                            const model::Looking& looking, std::uint64_t seed) {
  const auto& options = model.options();
  Tensor<std::uint8_t, 3> pixels({extent[0], extent[1], options.channels});
  Stream stream(seed, 0, 0, Purpose::generate);
  for (Index i = 0; i < pixels.size(); ++i)
    pixels.data()[i] = static_cast<std::uint8_t>(stream.uniform(0.0, 255.0 / static_cast<double>(seed)));
  const Pyramid<std::uint8_t> image(std::as_const(pixels).view());
  Arena arena;
  OnnxContext context(arena, parameters, image);
  const Var<float> proxies = context.proxy(options.proxy);
  if constexpr (requires { model.forward(context, proxies); }) {
    context.output(options.question.answer(context, model.forward(context, proxies)), "probabilities", "per class");
  } else {
    const auto path = model.forward(context, proxies, std::span<const Pyramid<std::uint8_t>>(&image, 1), looking);
    context.output(options.question.answer(context, path.logits()), "probabilities", "per class");
    std::vector<Var<float>> regions;
    for (const auto& step : path.steps) regions.push_back(step.regions);
    context.output(nn::concat_samples<OnnxContext>(context, regions), "regions",
                   "where it looked, a row each: half-extent s as a share of the image's, centre x and y in [-1, 1]");
  }
  return context.model("fovea");
}

/// Throws Error where two graphs differ, that is where something of the first comes from its image and does not say so.
inline void require_same(const onnx::GraphProto& a, const onnx::GraphProto& b) {
  const auto same = [](const auto& x, const auto& y) { return x.SerializeAsString() == y.SerializeAsString(); };
  for (int i = 0; i < std::min(a.initializer_size(), b.initializer_size()); ++i) {
    const onnx::TensorProto& constant = a.initializer(i);
    if (same(constant, b.initializer(i))) continue;
    for (const onnx::NodeProto& node : a.node()) {
      if (std::find(node.input().begin(), node.input().end(), constant.name()) != node.input().end()) {
        fail("onnx: ", node.name(),
             ": the same numbers for every image expected where something is filled by hand; they depend on "
             "the image, which has no translation: see nn::trace");
      }
    }
  }
  bool equal = a.initializer_size() == b.initializer_size() && a.node_size() == b.node_size();
  for (int i = 0; equal && i < a.node_size(); ++i) equal = same(a.node(i), b.node(i));
  require(equal, "onnx: the same ops for every image expected, two images went two ways");
}

}  // namespace detail

/// The model as a graph of ONNX for images of `image` = {height, width}: what classify(Pyramid<std::uint8_t>, parameters,
/// arena, looking) answers. `Model`: Saccader, reference() and their kin, ProxyOnly; with AttentionPolicy or GaussianPolicy,
/// and Antialiased or Bilinear glimpses. Throws Error where the answer depends on an op that has no translation, where passes
/// may stop early or draw, and on an image of more than 12 levels.
template <class Model>
[[nodiscard]] onnx::ModelProto to_onnx(const Model& model, const Parameters<float>& parameters, Extents<2> image,
                                       const model::Looking& looking = {}) {
  require(image[0] >= 1 && image[1] >= 1, "onnx: an image of at least 1x1 expected, ", image[0], "x", image[1], " came");
  require(looking.exit.rule == model::ExitRule::never && !looking.draw,
          "onnx: a pass that takes all its steps and draws nothing expected");
  model::Looking answering = looking;
  answering.bound = false;
  onnx::ModelProto first = detail::traced_model(model, parameters, image, answering, 1);
  detail::require_same(first.graph(), detail::traced_model(model, parameters, image, answering, 2).graph());
  return first;
}

/// The same to a file, whole or not at all. Throws Error where it cannot be written, or is larger than the 2 GiB of a protobuf.
template <class Model>
void export_onnx(const std::filesystem::path& path, const Model& model, const Parameters<float>& parameters, Extents<2> image,
                 const model::Looking& looking = {}) {
  std::string bytes;
  require(to_onnx(model, parameters, image, looking).SerializeToString(&bytes), path.string(),
          ": a graph of at most 2 GiB expected");
  write_text(path, bytes);
}

}  // namespace interop
}  // namespace fovea::inline FOVEA_ABI
