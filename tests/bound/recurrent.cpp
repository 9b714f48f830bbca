// SPDX-License-Identifier: MIT
// The bound of a small recurrent model, end to end: the gradient of every objective to every parameter of posterior, prior,
// decoder, cell and class network, through glimpses of a picture, against central differences. The model is docs/bound.md's, in
// closed loop, of a few units and three looks.
#include "support/op_registry.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/bound/divergence.hpp>
#include <fovea/bound/information.hpp>
#include <fovea/bound/multi_sample.hpp>
#include <fovea/bound/product.hpp>
#include <fovea/bound/sum.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/frozen.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/recurrent.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/sample/gaussian.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

using namespace fovea;

namespace {

constexpr Index kSteps = 3;
constexpr Index kLatents = 3;

struct Sizes {
  Index state = 4;
  Index features = 3;
  Index classes = 3;
  Extents<2> proxy = {3, 4};
  Extents<2> glimpse = {4, 3};
  Index channels = 1;
};

/// One look.
template <class T>
struct Look {
  sample::DiagonalGaussian<T> posterior;
  sample::DiagonalGaussian<T> density;  ///< the posterior as log q(z) sees it: the same, unless doubly reparameterised
  sample::DiagonalGaussian<T> prior;
  Var<T> z;
};

/// What a pass leaves: the looks, and the terms of the bound but for the divergence.
template <class T>
struct Pass {
  std::array<Look<T>, kSteps> looks;
  Var<T> class_log_likelihood;
  Var<T> proxy_log_likelihood;
};

/// With weights the posterior's own parameters get the doubly reparameterised gradient.
class Model {
 public:
  Model(ParameterLayout& layout, const Sizes& sizes)
      : sizes_(sizes),
        proxy_features_(layout, "proxy_features", product(sizes.proxy), sizes.features),
        posterior_(layout, "posterior", sizes.features + sizes.state, 2 * kLatents),
        prior_(layout, "prior", sizes.state, 2 * kLatents),
        location_features_(layout, "location_features", kLatents, sizes.features),
        glimpse_features_(layout, "glimpse_features", product(sizes.glimpse), sizes.features),
        decoder_(layout, "decoder", sizes.features + sizes.state, product(sizes.proxy)),
        classes_(layout, "classes", sizes.features, sizes.classes),
        cell_(layout, "cell", 3 * sizes.features, sizes.state) {}

  template <Context C>
  [[nodiscard]] Pass<typename C::Scalar> operator()(
      C& context, VarOf<C> proxies, std::span<const PyramidView<float>> pictures, std::span<const std::int32_t> labels,
      const sample::NoiseKey& key, const bound::NormalisedWeights<typename C::Scalar>* weights = nullptr) const {
    using T = typename C::Scalar;
    const Index rows = proxies.shape[0];
    const VarOf<C> pixels = nn::flatten(context, proxies);
    const VarOf<C> features = nn::tanh(context, proxy_features_(context, pixels));
    Pass<T> pass;
    VarOf<C> h = cell_.initial_state(context, rows);
    VarOf<C> seen;
    for (Index t = 0; t < kSteps; ++t) {
      Look<T>& look = pass.looks[static_cast<std::size_t>(t)];
      const VarOf<C> sees = nn::concat(context, {features, h});
      if (weights == nullptr) {
        look.posterior = look.density = gaussian(context, posterior_(context, sees));
      } else {
        nn::Frozen still(context);
        const VarOf<C> own = posterior_(context, nn::detach(sees));
        const VarOf<C> seen_by = posterior_(still, sees);
        look.posterior = gaussian(context, weights->scale_gradient(context, own, seen_by));
        look.density = gaussian(context, seen_by);
      }
      look.prior = gaussian(context, prior_(context, h));
      look.z = sample::draw(context, look.posterior, key.fork(static_cast<std::uint64_t>(t)));
      // s in (0.2, 0.8), x and y in (-1, 1): the glimpse stays near the picture and never vanishes.
      const VarOf<C> s = nn::sigmoid(context, nn::slice(context, look.z, 0, 1));
      const VarOf<C> least = context.constant(s.shape);
      std::fill_n(least.value, least.size(), T(0.2));
      const VarOf<C> regions =
          nn::concat(context, {nn::axpy(context, T(0.6), s, least), nn::tanh(context, nn::slice(context, look.z, 1, 2))});
      const VarOf<C> glimpse = glimpse::Bilinear{}(context, pictures, regions, sizes_.glimpse);
      const VarOf<C> what = nn::tanh(context, glimpse_features_(context, nn::flatten(context, glimpse)));
      const VarOf<C> where = nn::tanh(context, location_features_(context, look.z));
      const VarOf<C> proxy = nn::bernoulli_log_likelihood(context, decoder_(context, nn::concat(context, {where, h})), pixels);
      pass.proxy_log_likelihood = t == 0 ? proxy : nn::add(context, pass.proxy_log_likelihood, proxy);
      seen = t == 0 ? what : nn::add(context, seen, what);
      h = cell_(context, nn::concat(context, {features, where, what}), h);
    }
    pass.class_log_likelihood = nn::scale(context, T(-1), nn::cross_entropy(context, classes_(context, seen), labels));
    return pass;
  }

  template <Context C>
  [[nodiscard]] static sample::DiagonalGaussian<typename C::Scalar> gaussian(C& context, VarOf<C> both) {
    return {nn::slice(context, both, 0, kLatents), nn::slice(context, both, kLatents, kLatents)};
  }

 private:
  Sizes sizes_;
  nn::Dense proxy_features_;
  nn::Dense posterior_;
  nn::Dense prior_;
  nn::Dense location_features_;
  nn::Dense glimpse_features_;
  nn::Dense decoder_;
  nn::Dense classes_;
  nn::GruCell cell_;
};

/// The sum over the looks of what `of(look)` returns.
template <Context C, class Of>
VarOf<C> total(C& context, const Pass<typename C::Scalar>& pass, Of of) {
  VarOf<C> sum = of(pass.looks[0]);
  for (std::size_t t = 1; t < pass.looks.size(); ++t) sum = nn::add(context, sum, of(pass.looks[t]));
  return sum;
}

template <Context C, class Divergence>
bound::Terms<typename C::Scalar> terms_of(C& context, const Pass<typename C::Scalar>& pass, Divergence divergence) {
  return {pass.class_log_likelihood, pass.proxy_log_likelihood, total(context, pass, divergence)};
}

struct Closed {
  template <Context C, class L>
  VarOf<C> operator()(C& context, const L& look) const {
    return sample::kl_divergence(context, look.posterior, look.prior);
  }
};

/// KL balancing detaches, and differences know nothing of that: so the Tape's pass, which comes first, keeps the values of what
/// it detaches, and an Inference takes them for the constants they are.
struct Held {
  std::vector<std::vector<double>> values;
  std::size_t next = 0;

  template <Context C, class L>
  VarOf<C> balance(C& context, const L& look) {
    if constexpr (C::recording) {
      if (next == 0) values.clear();
      for (const auto& q : {look.posterior, look.prior}) {
        for (const VarOf<C>& x : {q.mean, q.log_deviation}) values.emplace_back(x.value, x.value + x.size());
      }
      next = (next + 1) % kSteps;
      return bound::KlBalance{0.8}(context, look.posterior, look.prior);
    } else {
      const auto kept = [&](std::size_t i) { return context.constant(values[4 * next + i].data(), look.posterior.mean.shape); };
      const sample::DiagonalGaussian<double> q{kept(0), kept(1)}, p{kept(2), kept(3)};
      next = (next + 1) % kSteps;
      return nn::axpy(context, 0.8, sample::kl_divergence(context, q, look.prior),
                      nn::scale(context, 1 - 0.8, sample::kl_divergence(context, look.posterior, p)));
    }
  }
};

/// The losses of all objectives; `draws` tells how often each picture must stand in a row.
template <class F>
void each_objective(F f) {
  const auto simple = [&](const char* name, auto objective) {
    f(name, Index{1}, [objective](auto& c, const auto& pass) {
      return objective(c, terms_of(c, pass, [&](const auto& look) { return Closed{}(c, look); }));
    });
  };
  simple("sum", bound::Sum{1, 0.3, 0.7});
  simple("product", bound::Product{0.3, 0.7});
  simple("log_sum", bound::LogSum{0.3, 0.7});
  f("importance weighted, 3 draws", Index{3}, [](auto& c, const auto& pass) {
    return bound::ImportanceWeighted{3, {1, 0.3, 1}}(
        c, terms_of(c, pass, [&](const auto& look) { return bound::log_ratio(c, look.density, look.prior, look.z); }));
  });
  for (const auto over : {bound::FreeBits::Over::sample, bound::FreeBits::Over::minibatch}) {
    f(over == bound::FreeBits::Over::sample ? "free bits" : "free bits of the minibatch", Index{1},
      [over](auto& c, const auto& pass) {
        return bound::Sum{}(c, terms_of(c, pass, [&](const auto& look) {
                              return bound::FreeBits{1.5, over}(c, bound::kl_per_dimension(c, look.posterior, look.prior));
                            }));
      });
  }
  f("KL balance", Index{1}, [held = Held{}](auto& c, const auto& pass) mutable {
    return bound::Sum{}(c, terms_of(c, pass, [&](const auto& look) { return held.balance(c, look); }));
  });
  f("entropy bonus", Index{1}, [](auto& c, const auto& pass) {
    auto loss = bound::Sum{}(c, terms_of(c, pass, [&](const auto& look) { return Closed{}(c, look); }));
    for (const auto& look : pass.looks) loss = bound::EntropyBonus{0.2}(c, loss, look.posterior);
    return loss;
  });
  f("mutual information", Index{1}, [](auto& c, const auto& pass) {
    const auto loss = bound::Sum{}(c, terms_of(c, pass, [&](const auto& look) { return Closed{}(c, look); }));
    const auto information =
        total(c, pass, [&](const auto& look) { return bound::mutual_information(c, look.posterior, look.z); });
    return nn::axpy(c, -0.5, information, loss);
  });
}

/// Two pictures and their proxies, each `draws` times in a row.
struct Data {
  explicit Data(Index draws) : all(2, {14, 17}, 1, 1.0) {
    for (std::size_t b = 0; b < 2; ++b) {
      for (Index k = 0; k < draws; ++k) {
        pictures.push_back(all.pyramids[b].pyramid());
        labels.push_back(b == 0 ? 2 : 0);
      }
    }
  }
  template <Context C>
  VarOf<C> proxies(C& context, const Sizes& sizes) const {
    const auto rows = static_cast<Index>(pictures.size());
    const auto x = context.constant(Shape{rows, sizes.proxy[0], sizes.proxy[1], 1});
    for (Index b = 0; b < rows; ++b) proxy(pictures[static_cast<std::size_t>(b)], x.template mutable_values<4>()[b]);
    return x;
  }
  fovea_test::Pictures<float> all;
  std::vector<PyramidView<float>> pictures;
  std::vector<std::int32_t> labels;
};

}  // namespace

TEST_CASE("recurrent bound: the gradient of every objective, end to end") {
  const Sizes sizes;
  each_objective([&](const std::string& name, Index draws, auto loss) {
    ParameterLayout layout;
    const Model model(layout, sizes);
    const Data data(draws);
    GradientCheck check{Parameters<double>(layout, 5)};
    const GradientReport report = fovea_test::noted(check.run([&](auto& context, auto) {
      const auto pass = model(context, data.proxies(context, sizes), std::span<const PyramidView<float>>(data.pictures),
                              std::span<const std::int32_t>(data.labels), {.seed = 8});
      return loss(context, pass);
    }));
    INFO(name, ": worst at ", report.where, ", analytic ", report.analytic, ", numeric ", report.numeric);
    CHECK(report.checked > 250);
    CHECK(report.worst <= 1e-6);
    CHECK(report.forward_gap == 0.0);
  });
}

TEST_CASE("recurrent bound: doubly reparameterised it teaches the posterior the same, and the rest no other thing") {
  const Sizes sizes;
  ParameterLayout layout;
  const Model model(layout, sizes);
  const Parameters<double> parameters(layout, 5);
  constexpr Index draws = 3;
  const Data data(draws);
  const auto size = static_cast<std::size_t>(layout.size());
  std::array<std::vector<double>, 2> gradients;
  Arena arena;
  const auto run = [&](bool doubly, std::uint64_t seed) {
    arena.reset();
    std::vector<double>& gradient = gradients[doubly ? 1 : 0];
    gradient.assign(size, 0.0);
    Tape<double> tape(arena, parameters.values(), View<double, 1>(gradient.data(), {layout.size()}));
    const auto proxies = data.proxies(tape, sizes);
    const bound::NormalisedWeights weights(tape, proxies.shape[0]);
    const auto pass = model(tape, proxies, std::span<const PyramidView<float>>(data.pictures),
                            std::span<const std::int32_t>(data.labels), {.seed = seed}, doubly ? &weights : nullptr);
    const auto terms =
        terms_of(tape, pass, [&](const auto& look) { return bound::log_ratio(tape, look.density, look.prior, look.z); });
    const auto loss = nn::sum(tape, bound::ImportanceWeighted{draws}(tape, terms, weights));
    tape.backward(loss);
    return loss.item();
  };
  constexpr int count = 20000;
  std::vector<double> sum(size), squares(size), plain(size), plain_squares(size), doubly(size), doubly_squares(size);
  double gap = 0;
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    gap = std::max(gap, std::abs(run(false, seed) - run(true, seed)));
    for (std::size_t i = 0; i < size; ++i) {
      const double a = gradients[0][i], b = gradients[1][i];
      sum[i] += (b - a) / count;
      squares[i] += (b - a) * (b - a) / count;
      plain[i] += a / count;
      plain_squares[i] += a * a / count;
      doubly[i] += b / count;
      doubly_squares[i] += b * b / count;
    }
  }
  CHECK(gap <= 1e-12);
  int components = 0, quieter = 0;
  double worst = 0;
  for (const auto& entry : layout.entries()) {
    for (Index e = 0; e < entry.parameter.shape.size(); ++e) {
      const auto i = static_cast<std::size_t>(entry.parameter.offset + e);
      if (!entry.name.starts_with("posterior")) {
        CHECK(squares[i] <= 1e-18);
        continue;
      }
      const double z = sum[i] / std::sqrt((squares[i] - sum[i] * sum[i]) / count);
      INFO(entry.name, "[", e, "]: z = ", z);
      CHECK(std::abs(z) < 4);
      worst = std::max(worst, std::abs(z));
      ++components;
      quieter += doubly_squares[i] - doubly[i] * doubly[i] < plain_squares[i] - plain[i] * plain[i] ? 1 : 0;
    }
  }
  CHECK(components == 48);
  CHECK(2 * quieter > components);
  MESSAGE(components << " components, worst |z| " << worst << ", lower variance in " << quieter);
}
