// SPDX-License-Identifier: MIT
// Every estimator with every sampler and every objective, over places and over cells: one training step, all of it finite.
#include "support/smooth_pictures.hpp"
#include <fovea/bound/product.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/glimpse/finite_difference.hpp>
#include <fovea/glimpse/gaussian.hpp>
#include <fovea/glimpse/patch.hpp>
#include <fovea/glimpse/retina.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/sample/sample.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>

using namespace fovea;
using fovea_test::Pictures;
using fovea_test::proxies;

namespace {

constexpr int kSamplers = 6;
constexpr int kObjectives = 3;

/// Any of the samplers whose glimpses have the image's channels, chosen at run time: so each estimator is compiled once.
struct AnySampler {
  int which = 0;

  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> operator()(C& context, std::span<const Source> images, VarOf<C> regions, Extents<2> extent) const {
    switch (which) {
      case 0: return glimpse::Antialiased{}(context, images, regions, extent);
      case 1: return glimpse::Bilinear{}(context, images, regions, extent);
      case 2: return glimpse::Gaussian{}(context, images, regions, extent);
      case 3: return glimpse::Patch{}(context, images, regions, extent);
      case 4: return glimpse::FiniteDifference<glimpse::Patch>{}(context, images, regions, extent);
      default: {
        const VarOf<C> scales = glimpse::Retina<glimpse::Antialiased, 2>{}(context, images, regions, extent);
        return nn::slice(context, scales, 1, 1);  // the coarser of two scales of one channel
      }
    }
  }
};

struct AnyObjective {
  int which = 0;

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, const bound::Terms<typename C::Scalar>& terms) const {
    switch (which) {
      case 0: return bound::Sum{1, 0.1, 0.5}(context, terms);
      case 1: return bound::Product{0.1, 0.5}(context, terms);
      default: return bound::LogSum{0.1, 0.5}(context, terms);
    }
  }
};

template <class L>
struct WithLocation : model::DefaultParts {
  using Location = L;
};
template <class L>
using Over = model::BasicSaccader<model::ConvMap, model::ConvVector, model::AttentionPolicy, AnySampler, WithLocation<L>>;

model::SaccaderOptions tiny() {
  model::SaccaderOptions o;
  o.classes = 3;
  o.proxy = {6, 8};
  o.glimpse = {8, 9};
  o.steps = 2;
  o.state = 5;
  o.location_features = 4;
  o.scale = 0.5;
  o.state_baseline = true;
  return o;
}

/// One step with the estimator; `looks`: whether the policy must have got a gradient (some samplers and estimators give none).
template <class Location, class E>
void one_step(const E& estimator, bool score) {
  const Pictures<float> pictures(2, {33, 40}, 1, 1.0);
  const std::array<std::int32_t, 2> labels{0, 2};
  for (int sampler = 0; sampler < kSamplers; ++sampler) {
    for (int objective = 0; objective < kObjectives; ++objective) {
      CAPTURE(sampler);
      CAPTURE(objective);
      const Over<Location> saccader(tiny(), AnySampler{sampler});
      const Parameters<float> weights(saccader.layout(), 3);
      Tensor<float, 1> gradient({weights.values().size()});
      Arena arena;
      Tape<float> tape(arena, weights.values(), gradient.view());
      model::Looking looking;
      looking.draw = true;
      looking.deviation = 0.1;
      looking.noise = {5, 1, 0};
      const model::BasicSaccaderLoss<AnyObjective> loss{AnyObjective{objective}, 0.7, 0.5, 0.2, 0};
      const model::Minibatch<float, Pyramid<float>> minibatch{proxies(tape, tiny(), pictures), pictures.sources(),
                                                              std::span<const std::int32_t>(labels)};
      const auto outcome = saccader.estimate(tape, minibatch, looking, loss, estimator);
      CHECK(outcome.logits.shape == Shape{2, 3});
      CHECK(std::isfinite(outcome.loss_sum.item()));
      tape.backward(outcome.loss_sum);
      double policy = 0;
      double glimpses = 0;
      bool finite = true;
      for (const auto& entry : saccader.layout().entries()) {
        for (Index i = 0; i < entry.parameter.shape.size(); ++i) {
          const float g = gradient.view()[entry.parameter.offset + i];
          finite = finite && std::isfinite(g);
          if (entry.name.starts_with("policy.key")) policy += std::abs(static_cast<double>(g));
          if (entry.name.starts_with("glimpse_network")) glimpses += std::abs(static_cast<double>(g));
        }
      }
      CHECK(finite);
      CHECK(glimpses > 0);
      const bool differentiable = sampler != 3;  // whole pixels have no derivative
      if (score || differentiable) CHECK(policy > 0);
    }
  }
}

}  // namespace

TEST_CASE("combinations: estimators of places, with every sampler and objective") {
  using model::GaussianLocation;
  SUBCASE("pathwise") { one_step<GaussianLocation>(sample::Pathwise{}, false); }
  SUBCASE("score function") { one_step<GaussianLocation>(sample::ScoreFunction<>{.samples = 2}, true); }
  SUBCASE("score function, moving average") {
    sample::MovingAverage average;
    average.observe(2);
    one_step<GaussianLocation>(sample::ScoreFunction<sample::MovingAverage>{1, average}, true);
  }
  SUBCASE("score function, leave one out") {
    one_step<GaussianLocation>(sample::ScoreFunction<sample::LeaveOneOut>{.samples = 2}, true);
  }
  SUBCASE("score function, learned baseline") { one_step<GaussianLocation>(model::LearnedScore{}, true); }
  SUBCASE("clipped policy gradient") {
    one_step<GaussianLocation>(sample::ClippedPolicyGradient<sample::LeaveOneOut>{.samples = 2}, true);
  }
  SUBCASE("VIMCO") { one_step<GaussianLocation>(sample::Vimco{.samples = 2}, true); }
}

TEST_CASE("combinations: estimators of cells, with every sampler and objective") {
  using model::CellLocation;
  SUBCASE("score function, leave one out") {
    one_step<CellLocation>(sample::ScoreFunction<sample::LeaveOneOut>{.samples = 2}, true);
  }
  SUBCASE("relaxed") { one_step<CellLocation>(sample::Relaxed{}, false); }
  SUBCASE("straight-through") { one_step<CellLocation>(sample::StraightThrough{}, false); }
  SUBCASE("straight-through Gumbel") { one_step<CellLocation>(sample::GumbelStraightThrough{}, false); }
  SUBCASE("REBAR") { one_step<CellLocation>(sample::Rebar{}, true); }
  SUBCASE("attention sampling") { one_step<CellLocation>(sample::AttentionSampling{.samples = 2}, true); }
  SUBCASE("perturbed top-k") { one_step<CellLocation>(sample::PerturbedTopK{}, false); }
}

TEST_CASE("combinations: distributions of places, pathwise, with every sampler and objective") {
  SUBCASE("truncated Gaussian") { one_step<model::TruncatedGaussianLocation>(sample::Pathwise{}, false); }
  SUBCASE("logistic-normal") { one_step<model::LogisticNormalLocation>(sample::Pathwise{}, false); }
  SUBCASE("Beta") { one_step<model::BetaLocation>(sample::Pathwise{}, false); }
  SUBCASE("Kumaraswamy") { one_step<model::KumaraswamyLocation>(sample::Pathwise{}, false); }
  SUBCASE("mixture") { one_step<model::MixtureLocation>(sample::Pathwise{}, false); }
  SUBCASE("relaxed cells") { one_step<model::RelaxedCellLocation>(sample::Pathwise{}, false); }
}
