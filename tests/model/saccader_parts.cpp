// SPDX-License-Identifier: MIT
// What a saccader can be made of: the derivative of the whole loss with each part in place, what a choice is credited with, and
// what is refused.
#include "support/message_of.hpp"
#include "support/smooth_pictures.hpp"
#include "support/worst_gradient.hpp"
#include "support/z_test.hpp"
#include <fovea/core/gradient_check.hpp>
#include <fovea/glimpse/retina.hpp>
#include <fovea/kernel/optimizer.hpp>
#include <fovea/model/saccader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::Pictures;
using fovea_test::proxies;
using model::BasicSaccader;
using model::Gaze;
using model::Looking;
using model::Saccader;
using model::SaccaderLoss;
using model::SaccaderOptions;
using model::Task;

namespace {

template <class H>
struct WithHead : model::DefaultParts {
  using Head = H;
};
template <class L>
struct WithLocation : model::DefaultParts {
  using Location = L;
};
struct WithTwoLstms : model::DefaultParts {
  using Cell = model::TwoLstms;
};
template <class Parts, class Policy = model::AttentionPolicy, class Sampler = glimpse::Antialiased>
using Built = BasicSaccader<model::ConvMap, model::ConvVector, Policy, Sampler, Parts>;
template <class L>
using Over = Built<WithLocation<L>>;

SaccaderOptions tiny() {
  SaccaderOptions o;
  o.classes = 3;
  o.proxy = {6, 8};
  o.glimpse = {8, 9};
  o.steps = 2;
  o.state = 5;
  o.location_features = 4;
  o.scale = 0.5;
  return o;
}
/// Regions so small that one of many places is chosen.
SaccaderOptions choosing() {
  SaccaderOptions o = tiny();
  o.proxy = {12, 16};
  o.scale = 0.2;
  o.steps = 3;
  return o;
}

Looking drawing() {
  Looking looking;
  looking.draw = true;
  looking.noise.seed = 4;
  looking.deviation = 0.1;
  return looking;
}

/// Parameters of which none is at a start of 0, where whole layers would have no gradient.
template <class T>
Parameters<T> stirred(const ParameterLayout& layout, std::uint64_t seed, double deviation = 0.1) {
  Parameters<T> weights(layout, seed);
  Stream stream(seed, 0, 1, Purpose::test);
  for (Index i = 0; i < weights.values().size(); ++i) {
    weights.values()[i] += static_cast<T>(deviation * stream.normal<double>());
  }
  return weights;
}

constexpr std::array<std::int32_t, 2> kLabels{0, 2};
const SaccaderLoss kEverything{{1, 0.1, 0.5}, 0.7, 0.5, 0.3, 0};

/// The derivative of the whole training loss in every parameter. `targets(context)`: what is right for two pictures.
template <class Model, class MakeTargets>
void check(const SaccaderOptions& o, const Looking& looking, const SaccaderLoss& weights, MakeTargets targets) {
  const Model saccader(o);
  const Pictures<float> pictures(2, {33, 40}, o.channels, 1.0);
  GradientCheck gradients{stirred<double>(saccader.layout(), 3)};
  gradients.most_elements = 10;
  gradients.step = 1e-3;  // the loss is some tens, its rounding would drown the smallest of its derivatives at less
  const GradientReport report = fovea_test::noted(gradients.run([&](auto& context, auto) {
    const auto path = saccader.forward(context, proxies(context, o, pictures), pictures.sources(), looking);
    return saccader.loss(context, path, targets(context), weights);
  }));
  INFO(report.where, ": analytic ", report.analytic, ", numeric ", report.numeric);
  CHECK(report.checked > 200);
  CHECK(report.worst <= 1e-6);
  CHECK(report.forward_gap <= 1e-12);
}
template <class Model>
void check(const SaccaderOptions& o, const Looking& looking, const SaccaderLoss& weights = kEverything) {
  check<Model>(o, looking, weights, [](auto& context) {
    using T = typename std::remove_reference_t<decltype(context)>::Scalar;
    return model::Targets<T>(std::span<const std::int32_t>(kLabels));
  });
}

/// The gradient of a training pass in all parameters.
template <class T, class Model>
Tensor<T, 1> gradient_of(const Model& saccader, const Parameters<T>& weights, const Looking& looking, const SaccaderLoss& loss,
                         Index batch = 2) {
  const Pictures<float> pictures(batch, {33, 40}, saccader.options().channels, 1.0);
  std::vector<std::int32_t> labels;
  for (Index b = 0; b < batch; ++b) labels.push_back(static_cast<std::int32_t>(b % saccader.options().classes));
  Tensor<T, 1> gradient({weights.values().size()});
  Arena arena;
  Tape<T> tape(arena, weights.values(), gradient.view());
  const auto path = saccader.forward(tape, proxies(tape, saccader.options(), pictures), pictures.sources(), looking);
  tape.backward(saccader.loss(tape, path, std::span<const std::int32_t>(labels), loss));
  return gradient;
}
/// The largest |element| of the parameters whose name starts so.
template <class T>
double largest(const ParameterLayout& layout, const Tensor<T, 1>& values, std::string_view prefix) {
  double most = -1;
  for (const auto& entry : layout.entries()) {
    if (!entry.name.starts_with(prefix)) continue;
    for (Index i = 0; i < entry.parameter.shape.size(); ++i) {
      most = std::max(most, std::abs(static_cast<double>(values.view()[entry.parameter.offset + i])));
    }
  }
  REQUIRE(most >= 0);
  return most;
}

}  // namespace

TEST_CASE("saccader parts: derivatives with every head, every look answering by itself too") {
  SaccaderOptions o = tiny();
  o.steps = 3;
  SUBCASE("mean") { check<Built<WithHead<model::MeanHead>>>(o, drawing()); }
  SUBCASE("concatenating, which sees the state") {
    o.head_sees_state = true;
    check<Built<WithHead<model::ConcatHead<3>>>>(o, drawing());
  }
  SUBCASE("concatenating, fewer steps than it has places for") {
    Looking looking = drawing();
    looking.steps = 2;
    check<Built<WithHead<model::ConcatHead<3>>>>(o, looking);
  }
  SUBCASE("attention over the looks") { check<Built<WithHead<model::AttentionHead>>>(o, drawing()); }
  SUBCASE("attention over the looks, open loop") {
    o.closed_loop = false;
    check<Built<WithHead<model::AttentionHead>>>(o, drawing());
  }
  SUBCASE("counting") { check<Built<WithHead<model::CountHead>>>(o, drawing()); }
  SUBCASE("finding two") { check<Built<WithHead<model::PairHead>>>(o, drawing()); }
}

TEST_CASE("saccader parts: derivatives with the deeper network of glimpses, of any extent") {
  using Deep = BasicSaccader<model::ConvMap, model::DeepConvVector>;
  SaccaderOptions o = tiny();
  o.filters = 4;
  for (const Extents<2> extent : {Extents<2>{8, 9}, Extents<2>{3, 17}, Extents<2>{4, 4}}) {
    o.glimpse = extent;
    check<Deep>(o, drawing());
  }
  ParameterLayout layout;
  CHECK(model::DeepConvVector(layout, "n", {64, 64}, 1).features() == 128);
}

TEST_CASE("saccader parts: a head that counts answers the distribution of a sum") {
  using Counts = Built<WithHead<model::CountHead>>;
  SaccaderOptions o = tiny();
  o.classes = 7;
  const Counts saccader(o);
  const Parameters<float> weights(saccader.layout(), 1);
  const Pictures<float> pictures(1, {33, 40}, 1, 1.0);
  Arena arena;
  const auto answer = saccader.classify(pictures.sources()[0], weights, arena);
  double sum = 0;
  double mean = 0;
  for (std::size_t k = 0; k < 7; ++k) {
    sum += static_cast<double>(answer.probabilities[k]);
    mean += static_cast<double>(k) * static_cast<double>(answer.probabilities[k]);
  }
  CHECK(sum == doctest::Approx(1).epsilon(1e-5));
  // Of two looks that each begin at a mean near 1.
  CHECK(mean > 0.8);
  CHECK(mean < 3.2);
}

TEST_CASE("saccader parts: partial answers of pairs") {
  const model::UnorderedPairs pairs(6);  // of three things
  CHECK(pairs.states() == 10);
  std::vector<Index> classes;
  for (Index i = 1; i <= 3; ++i) {
    CHECK(pairs.compose(0, i) == i);
    CHECK(pairs.amount(i) == 1);
    for (Index j = i; j <= 3; ++j) {
      CHECK(pairs.compose(i, j) == pairs.compose(j, i));
      CHECK(pairs.amount(pairs.compose(i, j)) == 2);
      CHECK(pairs.compose(pairs.compose(i, j), 1) == -1);
      classes.push_back(pairs.compose(i, j) - pairs.state_of(0));
    }
  }
  CHECK(classes == std::vector<Index>{0, 1, 2, 3, 4, 5});  // as data::combined_label() numbers them
  CHECK_THROWS_AS(model::UnorderedPairs(7), Error);
}

TEST_CASE("saccader parts: what a look is worth is learned from what it told, whether the policy learns or not") {
  SaccaderOptions o = choosing();
  o.policy.worth = 3;
  const Saccader saccader(o);
  auto weights = stirred<double>(saccader.layout(), 3, 0.05);
  for (Index i = 0; i < weights.at("policy.worth.w").size(); ++i) weights.at("policy.worth.w")[i] = 0;
  weights.at("policy.worth.b")[0] = 0.25;  // of what was not seen ...
  weights.at("policy.worth.b")[1] = 0;     // ... and of what was
  const Pictures<float> pictures(2, {33, 40}, 1, 1.0);
  Looking looking = drawing();
  looking.policy_learns = false;
  SaccaderLoss loss{{0, 0, 0}, 0, 0, 0, 0};
  loss.worth = 0.5;
  Arena arena;
  Tensor<double, 1> gradient({weights.values().size()});
  Tape<double> tape(arena, weights.values(), gradient.view());
  const auto path = saccader.forward(tape, proxies(tape, o, pictures), pictures.sources(), looking);
  double squares = 0;
  double differences = 0;
  for (const auto& step : path.steps) {
    for (Index b = 0; b < 2; ++b) {
      CHECK(step.look.worth.value[b] == 0.25);
      const double* e = step.evidence.value + 3 * b;
      const double z = std::exp(e[0]) + std::exp(e[1]) + std::exp(e[2]);
      double told = std::log(3.0);
      for (int k = 0; k < 3; ++k) told += std::exp(e[k]) / z * (e[k] - std::log(z));
      squares += (0.25 - told) * (0.25 - told) / 3;
      differences += (0.25 - told) / 3;
    }
  }
  const auto total = saccader.loss(tape, path, std::span<const std::int32_t>(kLabels), loss);
  SaccaderLoss without = loss;
  without.worth = 0;
  const auto rest = saccader.loss(tape, path, std::span<const std::int32_t>(kLabels), without);
  CHECK(total.value[0] - rest.value[0] == doctest::Approx(0.5 * 0.5 * squares));
  tape.backward(total);
  for (const auto& entry : saccader.layout().entries()) {
    if (entry.name == "policy.worth.b") CHECK(gradient.view()[entry.parameter.offset] == doctest::Approx(0.5 * differences));
  }
  // What looks tell is not changed to suit what was thought.
  for (const char* name : {"glimpse_network", "head", "policy.key", "policy.salience"}) {
    CHECK(largest(saccader.layout(), gradient, name) <= 1e-12);
  }
}

TEST_CASE("saccader parts: looks go where they are thought to be worth it") {
  SaccaderOptions o = choosing();
  o.policy.worth = 1e4;  // nothing else counts
  o.policy.inhibition = 1e6;
  o.policy.salience = 0;
  o.policy.window = 0;
  o.policy.reach = 0;
  const Saccader saccader(o);
  auto weights = stirred<float>(saccader.layout(), 3);
  const Index half = weights.at("policy.worth.w").size() / 2;
  for (Index i = 0; i < half; ++i) weights.at("policy.worth.w")[2 * i + 1] = 0;  // whether seen or not
  weights.at("policy.worth.b")[1] = 0;
  const Pictures<float> pictures(1, {33, 40}, 1, 1.0);
  Arena arena;
  Tensor<float, 1> gradient({weights.values().size()});
  Tape<float> context(arena, weights.values(), gradient.view());
  const auto path = saccader.forward(context, proxies(context, o, pictures), pictures.sources(), Looking{});
  float previous = path.steps[0].look.worth.value[0];
  for (const auto& step : path.steps) {
    CHECK(step.look.worth.value[0] <= previous);  // the best first, then the best of what is left
    previous = step.look.worth.value[0];
  }
}

TEST_CASE("saccader parts: derivatives of every task, weighted, and of every aid of the loss") {
  SaccaderOptions o = tiny();
  const auto values = [](auto& context) {
    using T = typename std::remove_reference_t<decltype(context)>::Scalar;
    const auto of = context.constant(Shape{2, 3});
    const std::array<double, 6> v{1, 0, 1, 0, 0, 1};
    for (std::size_t i = 0; i < 6; ++i) of.value[i] = static_cast<T>(v[i]);
    return model::Targets<T>(of);
  };
  SUBCASE("one class") {
    o.question.class_weights = {0.5F, 1, 3};
    check<Saccader>(o, drawing(), kEverything);
  }
  SUBCASE("several classes") {
    o.question = {Task::several_classes, {2, 0.25F, 1}};
    check<Saccader>(o, drawing(), kEverything, values);
  }
  SUBCASE("numbers") {
    o.question = {Task::numbers, {2, 0.25F, 1}};
    check<Saccader>(o, drawing(), kEverything, values);
  }
  SUBCASE("the prior held to the standard normal") { check<Saccader>(o, drawing(), {{1, 0.1, 0.5}, 0, 0, 0, 0.8}); }
  SUBCASE("evidence alone, each look alone") { check<Saccader>(o, drawing(), {{0, 0, 0}, 0, 0.7, 0.9, 0}); }
}

TEST_CASE("saccader parts: the weight of a class multiplies the loss of its images") {
  SaccaderOptions o = tiny();
  const Saccader plain(o);
  o.question.class_weights = {1, 1, 4};
  const Saccader weighted(o);
  const auto weights = stirred<double>(plain.layout(), 3);
  const Pictures<float> pictures(2, {33, 40}, 1, 1.0);
  Arena arena;
  Inference<double> context(arena, weights.values());
  const auto loss = [&](const Saccader& saccader, std::array<std::int32_t, 2> labels) {
    const auto path = saccader.forward(context, proxies(context, o, pictures), pictures.sources());
    return saccader.loss(context, path, std::span<const std::int32_t>(labels), {{1, 0, 0}, 0, 0, 0, 0}).item();
  };
  CHECK(loss(weighted, {0, 1}) == doctest::Approx(loss(plain, {0, 1})).epsilon(1e-12));
  CHECK(loss(weighted, {2, 2}) == doctest::Approx(4 * loss(plain, {2, 2})).epsilon(1e-12));
}

TEST_CASE("saccader parts: derivatives with noise on h_0, cells of one and of two layers, several crops to a look") {
  SaccaderOptions o = tiny();
  o.initial_noise = 0.1;
  SUBCASE("GRU") { check<Saccader>(o, drawing()); }
  SUBCASE("two LSTMs") { check<Built<WithTwoLstms>>(o, drawing()); }
  SUBCASE("a retina of three scales, two channels") {
    o.channels = 2;
    check<Built<model::DefaultParts, model::AttentionPolicy, glimpse::Retina<glimpse::Antialiased, 3>>>(o, drawing());
  }
}

TEST_CASE("saccader parts: the noise on h_0 is there in training only, and is named") {
  SaccaderOptions o = tiny();
  const Built<WithTwoLstms> still(o);
  o.initial_noise = 0.3;
  const Built<WithTwoLstms> noisy(o);
  const auto weights = stirred<double>(still.layout(), 3);
  const Pictures<float> pictures(2, {33, 40}, 1, 1.0);
  Arena arena;
  Inference<double> context(arena, weights.values());
  const auto first_place = [&](const auto& saccader, bool draw, std::uint64_t seed) {
    Looking looking;
    looking.draw = draw;
    looking.deviation = 1e-9;
    looking.noise.seed = seed;
    return saccader.forward(context, proxies(context, o, pictures), pictures.sources(), looking).steps[0].z.value[1];
  };
  CHECK(first_place(noisy, false, 1) == first_place(still, false, 1));
  CHECK(std::abs(first_place(noisy, true, 1) - first_place(still, true, 1)) > 1e-5);
  CHECK(first_place(noisy, true, 1) == first_place(noisy, true, 1));
  CHECK(std::abs(first_place(noisy, true, 1) - first_place(noisy, true, 2)) > 1e-5);
}

TEST_CASE("saccader parts: derivatives through draws of every location that is a function of its noise") {
  const SaccaderOptions o = tiny();
  SUBCASE("truncated Gaussian") { check<Over<model::TruncatedGaussianLocation>>(o, drawing()); }
  SUBCASE("logistic-normal") { check<Over<model::LogisticNormalLocation>>(o, drawing()); }
  SUBCASE("Kumaraswamy") { check<Over<model::KumaraswamyLocation>>(o, drawing()); }
  SUBCASE("relaxed cells") { check<Over<model::RelaxedCellLocation>>(o, drawing()); }
  SUBCASE("the KL of the draw") {
    Looking looking = drawing();
    looking.kl_of_draw = true;
    check<Saccader>(o, looking);
  }
}

TEST_CASE("saccader parts: derivatives at the mode, where a draw is none of its noise alone") {
  // A Beta is drawn by rejection: differences of its draws are those of other draws. Its pathwise derivative is without bias
  // (tests/sample/beta.cpp), and so are those of cells (estimators_cells.cpp).
  const SaccaderOptions o = tiny();
  Looking looking = drawing();
  looking.draw = false;
  SUBCASE("Beta") { check<Over<model::BetaLocation>>(o, looking); }
  SUBCASE("cells") { check<Over<model::CellLocation>>(o, looking); }
  SUBCASE("relaxed cells") { check<Over<model::RelaxedCellLocation>>(o, looking); }
}

TEST_CASE("saccader parts: a mixture's draw is of one component, what is behind it has the right derivatives") {
  // The gradient of a draw is implicit, without bias (tests/sample/mixture.cpp), and no difference of draws; the mode is
  // searched for, and has none. What comes after the location does not care.
  SaccaderOptions o = tiny();
  o.steps = 1;
  const Over<model::MixtureLocation> saccader(o);
  auto weights = stirred<double>(saccader.layout(), 3);
  const Tensor<double, 1> analytic = gradient_of(saccader, weights, drawing(), kEverything);
  CHECK(largest(saccader.layout(), analytic, "policy.key") > 1e-4);
  const Pictures<float> pictures(2, {33, 40}, 1, 1.0);
  const std::array<std::int32_t, 2> labels{0, 1};
  Arena arena;
  const auto loss = [&] {
    arena.reset();
    Inference<double> context(arena, weights.values());
    const auto path = saccader.forward(context, proxies(context, o, pictures), pictures.sources(), drawing());
    return saccader.loss(context, path, std::span<const std::int32_t>(labels), kEverything).item();
  };
  Index checked = 0;
  for (const auto& entry : saccader.layout().entries()) {
    const bool behind = entry.name.starts_with("prior") || entry.name.starts_with("location_features") ||
                        entry.name.starts_with("decoder") || entry.name.starts_with("glimpse_network") ||
                        entry.name.starts_with("head");
    if (!behind) continue;
    const double scale = largest(saccader.layout(), analytic, entry.name);
    CHECK(scale > 0);
    for (Index i = 0; i < std::min(entry.parameter.shape.size(), Index{6}); ++i) {
      double& at = weights.values()[entry.parameter.offset + i];
      const double value = at;
      constexpr double h = 1e-4;
      at = value + h;
      const double above = loss();
      at = value - h;
      const double below = loss();
      at = value;
      INFO(entry.name, " ", i);
      CHECK(analytic.view()[entry.parameter.offset + i] ==
            doctest::Approx((above - below) / (2 * h)).epsilon(1e-5).scale(scale));
      ++checked;
    }
  }
  CHECK(checked > 50);
}

TEST_CASE("saccader parts: a policy that chooses, with inhibition: derivatives of everything but the choice") {
  SaccaderOptions o = choosing();
  Looking looking = drawing();
  looking.draw = false;
  SUBCASE("as it is") { check<Saccader>(o, looking); }
  SUBCASE("open loop, a prior for each cell") {
    o.closed_loop = false;
    check<Over<model::RelaxedCellLocation>>(o, looking);
  }
  SUBCASE("the salience is weighed") {
    const Saccader saccader(o);
    const auto weights = stirred<double>(saccader.layout(), 3);
    CHECK(largest(saccader.layout(), gradient_of(saccader, weights, looking, kEverything), "policy.salience") > 1e-4);
  }
}

TEST_CASE("saccader parts: a choice that is drawn is none that was drawn before") {
  SaccaderOptions o = choosing();
  o.policy.salience = 0;  // nothing stands out, so that all is equally tempting
  o.policy.inhibition = 50;
  o.policy.inhibited = 0.9;
  o.policy.zoom = 0;
  o.policy.reach = 0;
  o.policy.window = 0;
  o.steps = 6;
  const Saccader saccader(o);
  const Parameters<float> weights(saccader.layout(), 1);
  const Pictures<float> pictures(8, {33, 40}, 1, 1.0);
  Arena arena;
  Inference<float> context(arena, weights.values());
  Looking looking = drawing();
  looking.deviation = 1e-6;
  const auto path = saccader.forward(context, proxies(context, o, pictures), pictures.sources(), looking);
  for (Index b = 0; b < 8; ++b) {
    for (std::size_t t = 0; t < 6; ++t) {
      for (std::size_t u = 0; u < t; ++u) {
        const float* p = path.steps[t].regions.value + 3 * b;
        const float* q = path.steps[u].regions.value + 3 * b;
        CHECK(std::max(std::abs(p[1] - q[1]), std::abs(p[2] - q[2])) > 0.9F * 0.2F);
      }
    }
  }
}

TEST_CASE("saccader parts: what a choice is credited with") {
  // One look, four cells. The place is the cell's centre and nothing else has a gradient to the logits of the choice.
  SaccaderOptions o = choosing();
  o.proxy = {4, 4};
  o.steps = 1;
  o.decode_proxy = false;
  o.policy.window = 0;
  const Saccader saccader(o);
  const Pictures<float> pictures(2, {33, 40}, 1, 1.0);
  const std::array<std::int32_t, 2> labels{0, 2};
  constexpr Index cells = 4;
  const Index classes = o.classes;
  Looking looking = drawing();
  looking.bound = false;
  looking.deviation = 1e-9;
  auto weights = stirred<double>(saccader.layout(), 3, 0.05);
  weights.at("policy.salience")[0] = 0.5;
  Tensor<double, 1> gradient({weights.values().size()});
  Arena arena;

  struct Seen {
    std::array<Index, 2> cell{};
    std::array<std::array<double, cells>, 2> probability{};
    std::array<std::array<double, cells>, 2> gradient{};
    std::array<std::array<double, 3>, 2> evidence{};
    std::array<std::array<double, 3>, 2> slope{};  ///< d loss / d evidence
  };
  const auto softmax_less_label = [&](const std::array<double, 3>& e, std::size_t b) {
    std::array<double, 3> d{};
    double sum = 0;
    for (const double v : e) sum += std::exp(v);
    for (std::size_t k = 0; k < 3; ++k) d[k] = std::exp(e[k]) / sum - (static_cast<std::int32_t>(k) == labels[b] ? 1 : 0);
    return d;
  };
  const auto look = [&](std::uint64_t step) {
    arena.reset();
    Tape<double> tape(arena, weights.values(), gradient.view());
    looking.noise.step = step;
    const auto path = saccader.forward(tape, proxies(tape, o, pictures), pictures.sources(), looking);
    const auto& first = path.steps[0];
    tape.backward(saccader.loss(tape, path, std::span<const std::int32_t>(labels), {{1, 0, 0}, 0, 0, 0, 0}));
    Seen seen;
    for (std::size_t b = 0; b < 2; ++b) {
      const double* r = first.regions.value + 3 * b;
      seen.cell[b] = (r[2] > 0 ? 2 : 0) + (r[1] > 0 ? 1 : 0);
      for (std::size_t i = 0; i < 4; ++i) {
        seen.probability[b][i] = first.look.attention.value[4 * b + i];
        seen.gradient[b][i] = first.look.logits.gradient[4 * b + i];
      }
      for (std::size_t k = 0; k < 3; ++k) {
        seen.evidence[b][k] = first.evidence.value[static_cast<std::size_t>(classes) * b + k];
      }
      seen.slope[b] = softmax_less_label(seen.evidence[b], b);
    }
    return seen;
  };
  const auto inner = [](const std::array<double, 3>& a, const std::array<double, 3>& b, const std::array<double, 3>& d) {
    double sum = 0;
    for (std::size_t k = 0; k < 3; ++k) sum += (a[k] - b[k]) * d[k];
    return sum;
  };

  // Of each pass exactly: <e - mean of the others', d loss / d E> (one-hot - p).
  for (std::uint64_t step = 0; step < 20; ++step) {
    const Seen seen = look(step);
    for (std::size_t b = 0; b < 2; ++b) {
      const double due = inner(seen.evidence[b], seen.evidence[1 - b], seen.slope[b]);
      for (std::size_t i = 0; i < 4; ++i) {
        const double chosen = static_cast<Index>(i) == seen.cell[b] ? 1 : 0;
        CHECK(seen.gradient[b][i] == doctest::Approx(due * (chosen - seen.probability[b][i])).epsilon(1e-9));
      }
    }
  }

  // On average, near where the loss is linear in the evidence: the gradient of the expected loss, by enumeration.
  for (const char* name : {"head.w", "head.b"}) {
    const auto of = weights.at(name);
    for (Index i = 0; i < of.size(); ++i) of[i] *= 0.01;
  }
  std::array<std::array<std::array<double, 3>, 4>, 2> evidence{};
  std::array<std::array<bool, 4>, 2> known{};
  Seen seen;
  for (std::uint64_t step = 0; step < 200; ++step) {
    seen = look(step);
    for (std::size_t b = 0; b < 2; ++b) {
      evidence[b][static_cast<std::size_t>(seen.cell[b])] = seen.evidence[b];
      known[b][static_cast<std::size_t>(seen.cell[b])] = true;
    }
  }
  std::vector<double> wanted;
  for (std::size_t b = 0; b < 2; ++b) {
    std::array<double, 4> loss{};
    double mean = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      REQUIRE(known[b][i]);
      double sum = 0;
      for (const double e : evidence[b][i]) sum += std::exp(e);
      loss[i] = std::log(sum) - evidence[b][i][static_cast<std::size_t>(labels[b])];
      mean += seen.probability[b][i] * loss[i];
    }
    for (std::size_t i = 0; i < 4; ++i) wanted.push_back(seen.probability[b][i] * (loss[i] - mean));
  }
  fovea_test::ZTest z(wanted);
  for (std::uint64_t step = 1000; step < 9000; ++step) {
    const Seen drawn = look(step);
    std::array<double, 8> g{};
    for (std::size_t b = 0; b < 2; ++b) std::copy(drawn.gradient[b].begin(), drawn.gradient[b].end(), g.begin() + 4 * b);
    z.add(g.data());
  }
  INFO("worst z ", z.worst(), ", relative bias ", z.relative_bias());
  CHECK(z.worst() < 4);
  CHECK(z.cosine() > 0.95);
}

TEST_CASE("saccader parts: a batch of one has nobody to be compared with, and its choice no credit") {
  SaccaderOptions o = choosing();
  o.policy.window = 0;
  o.decode_proxy = false;
  const Saccader saccader(o);
  const auto weights = stirred<double>(saccader.layout(), 3);
  Looking looking = drawing();
  looking.bound = false;
  const SaccaderLoss loss{{1, 0, 0}, 0.5, 0, 0, 0};
  CHECK(largest(saccader.layout(), gradient_of(saccader, weights, looking, loss, 2), "policy.key") > 1e-6);
  CHECK(largest(saccader.layout(), gradient_of(saccader, weights, looking, loss, 1), "policy.key") == 0);
  CHECK(largest(saccader.layout(), gradient_of(saccader, weights, looking, loss, 1), "glimpse_network") > 1e-6);
}

TEST_CASE("saccader parts: a policy that does not learn looks as it does, and has no gradient") {
  for (const bool small : {false, true}) {
    const SaccaderOptions o = small ? choosing() : tiny();
    const Saccader saccader(o);
    const auto weights = stirred<double>(saccader.layout(), 3);
    Looking looking = drawing();
    const auto learning = gradient_of(saccader, weights, looking, kEverything);
    looking.policy_learns = false;
    const auto still = gradient_of(saccader, weights, looking, kEverything);
    for (const char* name : {"policy.key", "policy.place_offset", "policy.state_offset"}) {
      CHECK(largest(saccader.layout(), learning, name) > 1e-6);
      CHECK(largest(saccader.layout(), still, name) == 0);
    }
    if (small) CHECK(largest(saccader.layout(), still, "policy.salience") == 0);
    for (const char* name : {"glimpse_network", "head", "prior", "decoder", "cell", "evidence_head"}) {
      CHECK(largest(saccader.layout(), still, name) > 1e-6);
    }
    const Pictures<float> pictures(2, {33, 40}, 1, 1.0);
    Arena arena;
    Tape<double> tape(arena, weights.values(), {});
    const auto a = saccader.forward(tape, proxies(tape, o, pictures), pictures.sources(), looking);
    looking.policy_learns = true;
    const auto b = saccader.forward(tape, proxies(tape, o, pictures), pictures.sources(), looking);
    for (Index i = 0; i < 6; ++i) CHECK(a.steps.back().regions.value[i] == b.steps.back().regions.value[i]);
  }
}

TEST_CASE("saccader parts: a baseline learns the cost of a state, and the noise of the score with it") {
  SaccaderOptions o = tiny();
  o.steps = 1;
  o.state_baseline = true;
  const Saccader saccader(o);
  Parameters<double> weights(saccader.layout(), 3);
  const Pictures<float> pictures(2, {33, 40}, 1, 1.0);
  const std::array<std::int32_t, 2> labels{0, 2};
  Tensor<double, 1> gradient({weights.values().size()});
  Arena arena;
  // Of one step: the gradient of the baseline's bias, and the squared length of that of the key.
  struct Noise {
    double baseline = 0;
    double key = 0;
  };
  const auto step = [&](std::uint64_t number) {
    arena.reset();
    std::fill(gradient.begin(), gradient.end(), 0.0);
    Tape<double> tape(arena, weights.values(), gradient.view());
    Looking looking = drawing();
    looking.noise.step = number;
    const model::Minibatch<double, Pyramid<float>> minibatch{proxies(tape, o, pictures), pictures.sources(),
                                                             std::span<const std::int32_t>(labels)};
    tape.backward(saccader.estimate(tape, minibatch, looking, SaccaderLoss{}, model::LearnedScore{}).loss_sum);
    Noise noise;
    for (const auto& entry : saccader.layout().entries()) {
      for (Index i = 0; i < entry.parameter.shape.size(); ++i) {
        const Index at = entry.parameter.offset + i;
        const double g = gradient.view()[at];
        if (entry.name.starts_with("policy.key")) noise.key += g * g;
        if (entry.name == "baseline.b") noise.baseline = g;
        if (entry.name.starts_with("baseline")) weights.values()[at] -= 0.1 * g;  // nothing else learns
      }
    }
    return noise;
  };
  const auto some = [&](std::uint64_t from) {
    Noise mean;
    for (std::uint64_t i = 0; i < 20; ++i) {
      const Noise one = step(from + i);
      mean.baseline += std::abs(one.baseline) / 20;
      mean.key += one.key / 20;
    }
    return mean;
  };
  const double at_first = std::abs(step(0).baseline);
  CHECK(at_first > 10);  // two images, of a cost of some tens each
  Noise early;
  weights = Parameters<double>(saccader.layout(), 3);
  early.key = step(0).key;
  for (std::uint64_t i = 1; i < 200; ++i) (void)step(i);
  const Noise late = some(200);
  CHECK(late.baseline < 0.05 * at_first);
  CHECK(late.key < 0.05 * early.key);
}

TEST_CASE("saccader parts: one image, one step, more steps than trained") {
  SaccaderOptions o = tiny();
  o.steps = 1;
  const Built<WithHead<model::AttentionHead>> attends(o);
  const Built<WithHead<model::MeanHead>> means(o);
  o.steps = 2;
  const Built<WithHead<model::ConcatHead<3>>> concatenates(o);
  const Pictures<std::uint8_t> picture(1, {50, 23}, 1, 255.0);
  Arena arena;
  Looking looking;
  const auto check_sum = [&](const auto& saccader, Index steps) {
    looking.steps = steps;
    const auto weights = stirred<float>(saccader.layout(), 1);
    const auto answer = saccader.classify(picture.pyramids[0], weights, arena, looking);
    CHECK(answer.steps() == steps);
    float sum = 0;
    for (const float p : answer.probabilities) sum += p;
    CHECK(sum == doctest::Approx(1).epsilon(1e-5));
  };
  for (const Index steps : {1, 5}) {
    check_sum(attends, steps);
    check_sum(means, steps);
  }
  check_sum(concatenates, 1);
  check_sum(concatenates, 2);
  CHECK(message_of([&] { check_sum(concatenates, 3); }) == "concatenating head: at most 2 steps expected, one more came");
}

TEST_CASE("saccader parts: images of several sizes, choosing: a batch answers as each alone") {
  const SaccaderOptions o = choosing();
  const Saccader saccader(o);
  const auto weights = stirred<float>(saccader.layout(), 1);
  std::vector<Tensor<std::uint8_t, 3>> pixels;
  std::vector<Pyramid<std::uint8_t>> images;
  for (const Extents<2> extent : {Extents<2>{50, 60}, Extents<2>{200, 30}, Extents<2>{7, 9}, Extents<2>{128, 301}}) {
    pixels.push_back(Pictures<std::uint8_t>(static_cast<Index>(pixels.size()) + 1, extent, 1, 255.0).pixels.back());
    images.emplace_back(pixels.back().view());
  }
  Arena arena;
  const auto together = saccader.classify(std::span<const Pyramid<std::uint8_t>>(images), weights, arena);
  for (std::size_t b = 0; b < images.size(); ++b) {
    const auto alone = saccader.classify(images[b], weights, arena);
    REQUIRE(alone.steps() == 3);
    for (std::size_t k = 0; k < 3; ++k) {
      CHECK(together[b].probabilities[k] == doctest::Approx(alone.probabilities[k]).epsilon(1e-4));
      CHECK(together[b].regions[k].x == doctest::Approx(alone.regions[k].x).epsilon(1e-4));
      CHECK(together[b].regions[k].s == doctest::Approx(alone.regions[k].s).epsilon(1e-4));
      CHECK(together[b].uncertainty[k] == doctest::Approx(alone.uncertainty[k]).epsilon(1e-4));
    }
  }
}

TEST_CASE("saccader parts: a gaze that is nobody's is trained and asked as the options say") {
  SaccaderOptions o = tiny();
  const Pictures<std::uint8_t> picture(1, {40, 60}, 1, 255.0);
  Arena arena;
  const auto regions = [&](Gaze gaze, Index steps) {
    o.gaze = gaze;
    o.steps = steps;
    const Saccader saccader(o);
    const Parameters<float> weights(saccader.layout(), 1);
    const auto answer = saccader.classify(picture.pyramids[0], weights, arena);
    CHECK(answer.uncertainty.empty());  // nobody was uncertain
    const auto gradient = gradient_of(saccader, Parameters<double>(saccader.layout(), 1), drawing(), SaccaderLoss{});
    CHECK(largest(saccader.layout(), gradient, "policy") == 0);
    CHECK(largest(saccader.layout(), gradient, "prior") == 0);
    CHECK(largest(saccader.layout(), gradient, "glimpse_network") > 0);
    return std::vector<glimpse::Region<float>>(answer.regions.begin(), answer.regions.end());
  };
  for (const auto& region : regions(Gaze::centre, 3)) CHECK(region == glimpse::Region<float>{0.5F, 0, 0});
  const auto uniform = regions(Gaze::uniform, 3);
  CHECK(!(uniform[0] == uniform[1]));
  for (const auto& region : uniform) CHECK(std::max(std::abs(region.x), std::abs(region.y)) <= 0.5F);
  // Six cells are two rows of three, each looked at once.
  const auto grid = regions(Gaze::grid, 6);
  for (std::size_t t = 0; t < 6; ++t) {
    CHECK(grid[t].s == doctest::Approx(0.5));
    CHECK(grid[t].x == doctest::Approx(-2.0 / 3 + 2.0 / 3 * static_cast<double>(t % 3)));
    CHECK(grid[t].y == doctest::Approx(t < 3 ? -0.5 : 0.5));
  }
  const auto four = regions(Gaze::grid, 4);
  CHECK(four[3].x == doctest::Approx(0.5));
  CHECK(four[3].y == doctest::Approx(0.5));
  check<Saccader>(o, drawing());
}

TEST_CASE("saccader parts: what does not go together is refused with a sentence") {
  const Pictures<float> pictures(2, {33, 40}, 1, 1.0);
  const std::array<std::int32_t, 2> labels{0, 2};
  const auto train = [&](const auto& saccader, const SaccaderLoss& loss, const Looking& looking = {}) {
    return message_of([&] {
      const Parameters<float> weights(saccader.layout(), 1);
      Arena arena;
      Inference<float> context(arena, weights.values());
      const auto path = saccader.forward(context, proxies(context, saccader.options(), pictures), pictures.sources(), looking);
      (void)saccader.loss(context, path, std::span<const std::int32_t>(labels), loss);
    });
  };
  CHECK(train(Built<WithLocation<model::CellLocation>, model::DensePolicy>(tiny()), {}) ==
        "saccader: a policy that gives places expected, as its location is over them; this one has none");
  SaccaderLoss held;
  held.prior_to_normal = 1;
  CHECK(train(Over<model::CellLocation>(tiny()), held) ==
        "saccader: a prior with a divergence from the standard normal expected");
  CHECK(train(Saccader(tiny()), held).empty());
  Looking looking;
  looking.scale = 1.5;
  CHECK(train(Saccader(tiny()), {}, looking) == "saccader: a scale in (0, 1] expected, 1.500000 came");
  looking = {};
  looking.steps = 65;
  CHECK(train(Saccader(tiny()), {}, looking) == "saccader: 1 to 64 steps expected, 65 came");

  SaccaderOptions o = tiny();
  o.initial_noise = -1;
  CHECK(message_of([&] { (void)Saccader(o); }) == "saccader: an initial noise of at least 0 expected, -1.000000 came");
  o = tiny();
  o.question.class_weights = {1, 2};
  CHECK(message_of([&] { (void)Saccader(o); }) == "question: 3 class weights expected, 2 came");
  o = tiny();
  o.question = {Task::numbers, {}};
  CHECK(message_of([&] {
          const Saccader saccader(o);
          const Parameters<float> weights(saccader.layout(), 1);
          Arena arena;
          Inference<float> context(arena, weights.values());
          const auto path = saccader.forward(context, proxies(context, o, pictures), pictures.sources());
          (void)saccader.loss(context, path, std::span<const std::int32_t>(labels), SaccaderLoss{});
        }).starts_with("question: targets of shape"));
  const Saccader saccader(tiny());
  const Parameters<float> weights(saccader.layout(), 1);
  Arena arena;
  Inference<float> context(arena, weights.values());
  const model::Minibatch<float, Pyramid<float>> minibatch{proxies(context, tiny(), pictures), pictures.sources(),
                                                          std::span<const std::int32_t>(labels)};
  CHECK(message_of([&] { (void)saccader.estimate(context, minibatch, drawing(), SaccaderLoss{}, model::LearnedScore{}); }) ==
        "saccader: a baseline expected (SaccaderOptions::state_baseline), there is none");
  looking = {};
  looking.gaze = Gaze::centre;
  CHECK(message_of([&] { (void)saccader.estimate(context, minibatch, looking, SaccaderLoss{}, sample::Pathwise{}); }) ==
        "saccader: an estimator needs a gaze that is the policy's");
}
