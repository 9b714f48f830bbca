// SPDX-License-Identifier: MIT
// needs: torch
// GRU and LSTM cells beside libtorch's: forward, and the gradients of the input, the state and all weights. On both sides the
// gradients are added to those of earlier calls, as they are over the steps of a sequence.
#include "peers.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/nn/recurrent.hpp>

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using fovea::Index;
using fovea::Shape;
using fovea::Tensor;
using fovea::Var;

constexpr Index kUnits = 256;

template <class Cell>
struct Work {
  static constexpr bool lstm = std::is_same_v<Cell, fovea::nn::LstmCell>;
  using TorchCell = std::conditional_t<lstm, torch::nn::LSTMCell, torch::nn::GRUCell>;

  Index batch;
  fovea::ParameterLayout layout;
  Cell cell{layout, "cell", kUnits, kUnits};
  fovea::Parameters<float> parameters{layout, 1};
  Tensor<float, 1> gradients{{layout.size()}};
  Tensor<float, 2> x, h, c, d_h, d_x, d_state, d_c;
  fovea::Arena arena;
  Var<float> our_x, our_h, our_c, out;

  TorchCell torch_cell{kUnits, kUnits};
  torch::Tensor torch_x, torch_h, torch_c, torch_d, torch_out;
  std::vector<torch::Tensor> wanted;

  explicit Work(Index samples)
      : batch(samples),
        x({samples, kUnits}),
        h({samples, kUnits}),
        c({samples, kUnits}),
        d_h({samples, kUnits}),
        d_x({samples, kUnits}),
        d_state({samples, kUnits}),
        d_c({samples, kUnits}) {
    fovea::Stream stream(2, 0, 0, fovea::Purpose::user);
    for (auto* t : {&x, &h, &c, &d_h}) {
      for (float& e : *t) e = stream.uniform(-1.0F, 1.0F);
    }
    const Shape shape{batch, kUnits};
    our_x = {x.data(), d_x.data(), shape};
    our_h = {h.data(), d_state.data(), shape};
    our_c = {c.data(), d_c.data(), shape};
    const auto tensor = [&](Tensor<float, 2>& t) { return torch::from_blob(t.data(), {batch, kUnits}).clone(); };
    torch_x = tensor(x).requires_grad_();
    torch_h = tensor(h).requires_grad_();
    torch_c = tensor(c).requires_grad_();
    torch_d = tensor(d_h);
    wanted = {torch_x, torch_h, torch_cell->weight_ih, torch_cell->weight_hh, torch_cell->bias_ih, torch_cell->bias_hh};
    if constexpr (lstm) wanted.push_back(torch_c);
    const torch::NoGradGuard guard;
    torch_cell->weight_ih.copy_(ours(parameters.values().data(), cell.w_x()).t());
    torch_cell->weight_hh.copy_(ours(parameters.values().data(), cell.w_h()).t());
    torch_cell->bias_ih.copy_(ours(parameters.values().data(), cell.b_x()));
    torch_cell->bias_hh.copy_(ours(parameters.values().data(), cell.b_h()));
  }
  static torch::Tensor ours(float* buffer, const fovea::Parameter& p) {
    std::vector<std::int64_t> extents;
    for (std::size_t i = 0; i < p.shape.rank(); ++i) extents.push_back(p.shape[i]);
    return torch::from_blob(buffer + p.offset, extents);
  }

  void fovea_side() {
    arena.reset();
    fovea::Tape<float> tape(arena, parameters.values(), gradients.view());
    if constexpr (lstm) {
      out = cell(tape, our_x, {our_h, our_c}).h;
    } else {
      out = cell(tape, our_x, our_h);
    }
    std::copy_n(d_h.data(), d_h.size(), out.gradient);
    tape.backward();
  }
  void torch_side() {
    if constexpr (lstm) {
      torch_out = std::get<0>(torch_cell(torch_x, std::make_tuple(torch_h, torch_c)));
    } else {
      torch_out = torch_cell(torch_x, torch_h);
    }
    torch_out.backward(torch_d);
  }

  /// The largest difference, relative to the largest of torch's, after one call of each.
  double difference() {
    fovea_side();
    torch_side();
    const auto rows = [&](float* p) { return torch::from_blob(p, {batch, kUnits}); };
    float* g = gradients.data();
    std::vector<torch::Tensor> mine{rows(our_x.gradient),    rows(our_h.gradient), ours(g, cell.w_x()).t(),
                                    ours(g, cell.w_h()).t(), ours(g, cell.b_x()),  ours(g, cell.b_h())};
    if constexpr (lstm) mine.push_back(rows(our_c.gradient));
    const auto relative = [](const torch::Tensor& a, const torch::Tensor& b) {
      return (a - b).abs().max().item<double>() / b.abs().max().item<double>();
    };
    double worst = relative(rows(out.value), torch_out);
    for (std::size_t i = 0; i < mine.size(); ++i) worst = std::max(worst, relative(mine[i], wanted[i].grad()));
    return worst;
  }
};

template <class Cell>
peers::MakeCase cell(const char* what, Index batch) {
  const std::string name = std::string(what) + " cell 256 -> 256 forward + backward batch " + std::to_string(batch);
  return {name, [=] {
            const auto work = std::make_shared<Work<Cell>>(batch);
            const double difference = work->difference();
            if (!(difference < 1e-5)) {
              std::fprintf(stderr, "%s: the sides differ by %g\n", name.c_str(), difference);
              std::exit(1);
            }
            return peers::Case{1, {"fovea", [=] { work->fovea_side(); }}, {{"torch", [=] { work->torch_side(); }}}};
          }};
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(1);
  std::vector<peers::MakeCase> cases;
  for (const Index batch : {1, 32}) {
    cases.push_back(cell<fovea::nn::GruCell>("GRU", batch));
    cases.push_back(cell<fovea::nn::LstmCell>("LSTM", batch));
  }
  return peers::run(argc, argv, cases);
}
