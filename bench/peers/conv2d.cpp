// SPDX-License-Identifier: MIT
// needs: dnnl
// Convolutions beside oneDNN in the layout it asks for: no reorder is ever timed on its side, all packing is on ours.
#include "peers.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/conv2d.hpp>

#include <dnnl.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <unordered_map>

namespace {

using fovea::Extents;
using fovea::Index;
using fovea::Tensor;
using fovea::View;
namespace kernel = fovea::kernel;

struct Shape {
  Index n, ci, h, w, co, stride;
};

Tensor<float, 4> random(const Extents<4>& extents, std::uint64_t seed) {
  Tensor<float, 4> t(extents);
  fovea::Stream stream(seed, 0, 0, fovea::Purpose::user);
  for (float& e : t) e = stream.uniform(-1.0F, 1.0F);
  return t;
}

/// Our side of a 3x3 convolution of padding 1.
struct Ours {
  kernel::Conv2dOptions options;
  Tensor<float, 4> x, w, dy, y, dx, dw;
  Tensor<float, 1> bias, db, workspace;

  explicit Ours(const Shape& s)
      : options{s.stride, s.stride, 1, 1},
        x(random({s.n, s.h, s.w, s.ci}, 1)),
        w(random({3, 3, s.ci, s.co}, 2)),
        dy(random(kernel::conv2d_output_extents(x.extents(), w.extents(), options), 3)),
        y(dy.extents()),
        dx(x.extents()),
        dw(w.extents()),
        bias({s.co}),
        db({s.co}),
        workspace({std::max({kernel::conv2d_workspace<float>(x.extents(), w.extents(), options),
                             kernel::conv2d_backward_input_workspace<float>(x.extents(), w.extents(), options),
                             kernel::conv2d_backward_weights_workspace<float>(x.extents(), w.extents(), options)})}) {}

  void forward() { kernel::conv2d<float>(x.view(), w.view(), bias.view(), options, y.view(), workspace.view()); }
  void input() { kernel::conv2d_backward_input<float>(dy.view(), w.view(), options, dx.view(), workspace.view(), false); }
  void weights() {
    kernel::conv2d_backward_weights<float>(dy.view(), x.view(), options, dw.view(), db.view(), workspace.view());
  }
};

/// oneDNN's side: primitives made once, memory in the formats they ask for.
class OneDnn {
 public:
  explicit OneDnn(const Shape& s, const Ours& ours) : stream_(engine_) {
    using dnnl::memory;
    using dt = memory::data_type;
    using tag = memory::format_tag;
    const memory::dims x{s.n, s.ci, s.h, s.w};
    const memory::dims w{s.co, s.ci, 3, 3};
    const memory::dims y{s.n, s.co, ours.y.extent(1), ours.y.extent(2)};
    const memory::dims strides{s.stride, s.stride};
    const memory::dims pad{1, 1};
    const auto any = [](const memory::dims& d) { return memory::desc(d, dt::f32, tag::any); };
    const memory::desc bias({s.co}, dt::f32, tag::x);
    const auto algorithm = dnnl::algorithm::convolution_direct;

    const dnnl::convolution_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, algorithm, any(x), any(w), bias, any(y), strides, pad, pad}, engine_);
    const dnnl::convolution_backward_data::primitive_desc input({algorithm, any(x), any(w), any(y), strides, pad, pad}, engine_,
                                                                forward);
    const dnnl::convolution_backward_weights::primitive_desc weights(
        {algorithm, any(x), any(w), bias, any(y), strides, pad, pad}, engine_, forward);

    const memory user_x({x, dt::f32, tag::nhwc}, engine_, const_cast<float*>(ours.x.data()));
    const memory user_w({w, dt::f32, tag::hwio}, engine_, const_cast<float*>(ours.w.data()));
    const memory user_dy({y, dt::f32, tag::nhwc}, engine_, const_cast<float*>(ours.dy.data()));
    bias_ = memory(bias, engine_);
    db_ = memory(bias, engine_);
    std::fill_n(static_cast<float*>(bias_.get_data_handle()), s.co, 0.0F);

    y_ = memory(forward.dst_desc(), engine_);
    dx_ = memory(input.diff_src_desc(), engine_);
    dw_ = memory(weights.diff_weights_desc(), engine_);
    add(forward_, dnnl::convolution_forward(forward),
        {{DNNL_ARG_SRC, as(user_x, forward.src_desc())},
         {DNNL_ARG_WEIGHTS, as(user_w, forward.weights_desc())},
         {DNNL_ARG_BIAS, bias_},
         {DNNL_ARG_DST, y_}});
    add(input_, dnnl::convolution_backward_data(input),
        {{DNNL_ARG_DIFF_DST, as(user_dy, input.diff_dst_desc())},
         {DNNL_ARG_WEIGHTS, as(user_w, input.weights_desc())},
         {DNNL_ARG_DIFF_SRC, dx_}});
    add(weights_, dnnl::convolution_backward_weights(weights),
        {{DNNL_ARG_SRC, as(user_x, weights.src_desc())},
         {DNNL_ARG_DIFF_DST, as(user_dy, weights.diff_dst_desc())},
         {DNNL_ARG_DIFF_WEIGHTS, dw_},
         {DNNL_ARG_DIFF_BIAS, db_}});
  }

  void forward() { run(forward_); }
  void input() { run(input_); }
  void weights() { run(weights_); }

  /// The largest difference of its results from ours, relative to the largest of ours.
  double difference(Ours& ours) {
    ours.forward();
    std::fill(ours.dx.begin(), ours.dx.end(), 0.0F);
    std::fill(ours.dw.begin(), ours.dw.end(), 0.0F);
    ours.input();
    ours.weights();
    forward();
    input();
    weights();
    using tag = dnnl::memory::format_tag;
    return std::max({compare(y_, tag::nhwc, ours.y), compare(dx_, tag::nhwc, ours.dx), compare(dw_, tag::hwio, ours.dw)});
  }

 private:
  struct Call {
    dnnl::primitive primitive;
    std::unordered_map<int, dnnl::memory> arguments;
  };
  static void add(Call& call, const dnnl::primitive& primitive, std::unordered_map<int, dnnl::memory> arguments) {
    call = {primitive, std::move(arguments)};
  }
  void run(Call& call) {
    call.primitive.execute(stream_, call.arguments);
    stream_.wait();
  }
  dnnl::memory as(const dnnl::memory& from, const dnnl::memory::desc& wanted) {
    dnnl::memory to(wanted, engine_);
    dnnl::reorder(from, to).execute(stream_, const_cast<dnnl::memory&>(from), to);
    stream_.wait();
    return to;
  }
  double compare(const dnnl::memory& theirs, dnnl::memory::format_tag tag, const Tensor<float, 4>& ours) {
    const dnnl::memory plain = as(theirs, {theirs.get_desc().dims(), dnnl::memory::data_type::f32, tag});
    const auto* values = static_cast<const float*>(plain.get_data_handle());
    float worst = 0;
    float largest = 0;
    for (Index i = 0; i < ours.size(); ++i) {
      worst = std::max(worst, std::abs(values[i] - ours.data()[i]));
      largest = std::max(largest, std::abs(ours.data()[i]));
    }
    return static_cast<double>(worst) / static_cast<double>(largest);
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_;
  dnnl::memory bias_, db_, y_, dx_, dw_;
  Call forward_, input_, weights_;
};

constexpr Shape kShapes[] = {
    {1, 1, 64, 64, 32, 1},  {1, 32, 64, 64, 32, 1},  {1, 32, 32, 32, 64, 2},  {1, 64, 16, 16, 128, 1},  {1, 128, 8, 8, 256, 1},
    {32, 1, 64, 64, 32, 1}, {32, 32, 64, 64, 32, 1}, {32, 32, 32, 32, 64, 2}, {32, 64, 16, 16, 128, 1}, {32, 128, 8, 8, 256, 1},
};

std::string name(const Shape& s) {
  return std::to_string(s.n) + ": " + std::to_string(s.ci) + "x" + std::to_string(s.h) + "x" + std::to_string(s.w) + " -> " +
         std::to_string(s.co) + (s.stride == 1 ? "" : " stride " + std::to_string(s.stride));
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<peers::MakeCase> cases;
  for (const Shape& s : kShapes) {
    struct Both {
      Ours ours;
      OneDnn theirs;
      explicit Both(const Shape& shape) : ours(shape), theirs(shape, ours) {
        const double difference = theirs.difference(ours);
        if (!(difference < 1e-4)) {
          std::fprintf(stderr, "conv2d %s: the sides differ by %g\n", name(shape).c_str(), difference);
          std::exit(1);
        }
      }
    };
    const auto add = [&](const char* what, void (*ours)(Ours&), void (*theirs)(OneDnn&)) {
      cases.push_back(
          {std::string("conv2d ") + what + " " + name(s), [=] {
             const auto both = std::make_shared<Both>(s);
             return peers::Case{1, {"fovea", [=] { ours(both->ours); }}, {{"oneDNN", [=] { theirs(both->theirs); }}}};
           }});
    };
    add(
        "forward", [](Ours& o) { o.forward(); }, [](OneDnn& o) { o.forward(); });
    add(
        "gradient to the input", [](Ours& o) { o.input(); }, [](OneDnn& o) { o.input(); });
    add(
        "gradient to the weights", [](Ours& o) { o.weights(); }, [](OneDnn& o) { o.weights(); });
    add(
        "forward + both gradients",
        [](Ours& o) {
          o.forward();
          o.input();
          o.weights();
        },
        [](OneDnn& o) {
          o.forward();
          o.input();
          o.weights();
        });
  }
  return peers::run(argc, argv, cases);
}
