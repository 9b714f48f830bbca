// SPDX-License-Identifier: MIT
// needs: torch
// Draws and their gradients beside libtorch, which is given the operations of torch.distributions one by one: a Gaussian and a
// Beta with their log-densities, and Gumbel-softmax over 64 cells.
#include "peers.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/sample/beta.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/relaxed_categorical.hpp>

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

namespace {

using fovea::Index;
using fovea::Shape;
using fovea::Tape;
using fovea::Var;
namespace sample = fovea::sample;

constexpr Index kBatch = 1024;

/// Two parameters of one shape on both sides; the first uniform in [low, high), the second in [low2, high2).
struct Parameters {
  std::vector<float> values, gradients;
  Shape shape;
  fovea::Arena arena;
  sample::NoiseKey key{.seed = 1};
  std::vector<torch::Tensor> theirs;

  Parameters(const Shape& s, float low, float high, float low2, float high2)
      : values(static_cast<std::size_t>(2 * s.size())), gradients(values.size()), shape(s) {
    fovea::Stream stream(1);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = i < values.size() / 2 ? stream.uniform(low, high) : stream.uniform(low2, high2);
    }
    for (Index k = 0; k < 2; ++k) {
      theirs.push_back(torch::from_blob(values.data() + k * s.size(), {s[0], s[1]}).clone().requires_grad_());
    }
  }
  [[nodiscard]] Var<float> ours(Index k) {
    return {values.data() + k * shape.size(), gradients.data() + k * shape.size(), shape};
  }
  /// A pass of ours from fresh noise; gradients are zeroed, as torch gives new ones.
  template <class F>
  void pass(F f) {
    arena.reset();
    std::fill(gradients.begin(), gradients.end(), 0.0F);
    ++key.step;
    Tape<float> tape(arena);
    for (const Var<float>& y : f(tape)) std::fill_n(y.gradient, y.size(), 1.0F);
    tape.backward();
  }
};

/// The gradient of the sum of all `outputs`.
void differentiate(const std::vector<torch::Tensor>& outputs, const std::vector<torch::Tensor>& inputs) {
  torch::Tensor total = outputs[0].sum();
  for (std::size_t i = 1; i < outputs.size(); ++i) total = total + outputs[i].sum();
  (void)torch::autograd::grad({total}, inputs);
}

/// Normal(mean, scale).rsample() and .log_prob(): their scale is given, ours is the exponential of a parameter.
peers::Case make_gaussian() {
  const auto p = std::make_shared<Parameters>(Shape{kBatch, 3}, -1.0F, 1.0F, 0.5F, 1.5F);
  return {1,
          {"fovea",
           [p] {
             p->pass([&](Tape<float>& tape) {
               const sample::DiagonalGaussian<float> q{p->ours(0), p->ours(1)};
               const Var<float> z = sample::draw(tape, q, p->key);
               return std::vector<Var<float>>{z, sample::log_density(tape, q, z)};
             });
           }},
          {{"torch", [p] {
              const auto& mean = p->theirs[0];
              const auto& scale = p->theirs[1];
              const auto noise = torch::normal(0.0, 1.0, {kBatch, 3});
              const auto z = mean + noise * scale;
              const auto variance = scale.pow(2);
              const auto l = -(z - mean).pow(2) / (2 * variance) - scale.log() - 0.9189385332046727;
              differentiate({z, l}, p->theirs);
            }}}};
}

/// RelaxedOneHotCategorical(temperature, logits).rsample().
peers::Case make_relaxed() {
  constexpr double temperature = 0.5;
  const auto p = std::make_shared<Parameters>(Shape{kBatch, 64}, -2.0F, 2.0F, 0.0F, 1.0F);
  return {1,
          {"fovea",
           [p] {
             p->pass([&](Tape<float>& tape) {
               const sample::RelaxedCategorical<float> q{p->ours(0), temperature};
               return std::vector<Var<float>>{sample::draw(tape, q, p->key)};
             });
           }},
          {{"torch", [p] {
              const double epsilon = 1.1920928955078125e-07;
              const auto logits = p->theirs[0] - p->theirs[0].logsumexp(-1, true);
              const auto uniform = torch::rand({kBatch, 64}).clamp(epsilon, 1 - epsilon);
              const auto scores = (logits - (-uniform.log()).log()) / temperature;
              differentiate({(scores - scores.logsumexp(-1, true)).exp()}, {p->theirs[0]});
            }}}};
}

/// torch/distributions/dirichlet.py
struct Dirichlet : torch::autograd::Function<Dirichlet> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& concentration) {
    const auto x = at::_sample_dirichlet(concentration);
    context->save_for_backward({x, concentration});
    return x;
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context, torch::autograd::tensor_list d) {
    const auto saved = context->get_saved_variables();
    const auto& x = saved[0];
    const auto& concentration = saved[1];
    const auto total = concentration.sum(-1, true).expand_as(concentration);
    const auto gradient = at::_dirichlet_grad(x, concentration, total);
    return {gradient * (d[0] - (x * d[0]).sum(-1, true))};
  }
};

/// Beta(a, b).rsample() and .log_prob().
peers::Case make_beta(float low, float high) {
  const auto p = std::make_shared<Parameters>(Shape{kBatch, 3}, low, high, low, high);
  return {1,
          {"fovea",
           [p] {
             p->pass([&](Tape<float>& tape) {
               const sample::Beta<float> q{p->ours(0), p->ours(1)};
               const Var<float> z = sample::draw(tape, q, p->key);
               return std::vector<Var<float>>{z, sample::log_density(tape, q, z)};
             });
           }},
          {{"torch", [p] {
              const auto c = torch::stack({p->theirs[0], p->theirs[1]}, -1);
              const auto z = Dirichlet::apply(c).select(-1, 0);
              const auto both = torch::stack({z, 1.0 - z}, -1);
              const auto l = torch::xlogy(c - 1.0, both).sum(-1) + torch::lgamma(c.sum(-1)) - torch::lgamma(c).sum(-1);
              differentiate({z, l}, p->theirs);
            }}}};
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(1);
  return peers::run(argc, argv,
                    {{"Gaussian 1024x3 draw + log-density + gradient", make_gaussian},
                     {"Gumbel-softmax 1024x64 draw + gradient", make_relaxed},
                     {"Beta(0.5 to 5) 1024x3 draw + log-density + gradient", [] { return make_beta(0.5F, 5.0F); }},
                     {"Beta(5 to 50) 1024x3 draw + log-density + gradient", [] { return make_beta(5.0F, 50.0F); }}});
}
