// SPDX-License-Identifier: MIT
// The reference model against the published network (published_network.hpp), same weights, same pictures, same noise.
#pragma once

#include "support/compare.hpp"
#include "support/published_network.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/bound/product.hpp>
#include <fovea/core/arena.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/model/location.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/noise.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace fovea_test {

/// Parameters of which none is at a start of 0, where whole layers would count for nothing. The same numbers for every T.
template <class T>
[[nodiscard]] fovea::Parameters<T> stirred_weights(const fovea::ParameterLayout& layout, std::uint64_t seed) {
  fovea::Parameters<T> weights(layout, seed);
  fovea::Stream stream(seed, 0, 1, fovea::Purpose::test);
  weights.visit([&](std::string_view, const fovea::Shape&, fovea::View<T, 1> elements) {
    for (fovea::Index i = 0; i < elements.size(); ++i) {
      const auto start = static_cast<double>(static_cast<float>(elements[i]));
      elements[i] = static_cast<T>(static_cast<float>(start + 0.03 * stream.normal<double>()));
    }
  });
  return weights;
}

struct ParityOptions {
  fovea::Index pictures = 1;                         ///< in one batch
  std::optional<std::uint64_t> draw = std::nullopt;  ///< z is drawn with noise of this seed; none: the mean
  /// The twin goes on from the model's z at every step, after its own is compared: so that what is rounded before a look is
  /// not multiplied by the steepness of the picture there, at 150 pixels to a unit of z.
  bool given_z = false;
  std::optional<bool> to_the_letter = std::nullopt;  ///< of the twin; none: as the model is
};

/// What a comparison found.
struct Parity {
  /// The largest relative error of a vector: its largest |fovea - twin| over the largest |twin| of the same vector. A vector is
  /// one quantity of all pictures at all steps: mean and spread of posterior and prior, z, region, glimpse, evidence, logits,
  /// KL, the proxy's log-likelihood; and the published loss of all pictures.
  double worst = 0;
  std::string where;                                          ///< the vector it was found in
  std::vector<std::vector<PublishedNetwork::Step>> pictures;  ///< what the twin gave, of each picture
};

namespace parity_detail {

template <class T>
const fovea::Var<T>& spread(const fovea::sample::DiagonalGaussian<T>& q) {
  return q.log_deviation;
}
template <class T>
const fovea::Var<T>& spread(const fovea::model::TwofoldGaussian<T>& q) {
  return q.v;
}

template <class T>
PublishedNetwork::Doubles doubles(const T* first, fovea::Index count) {
  return {first, first + count};
}

}  // namespace parity_detail

/// A model of Saccader::reference() or published(), sampled bilinearly with aligned corners, against the twin with the same
/// weights, on smooth pictures of 300x300.
template <class Model, class T>
[[nodiscard]] Parity parity(const Model& model, const fovea::Parameters<T>& weights, const ParityOptions& options = {}) {
  using namespace fovea;
  using Doubles = PublishedNetwork::Doubles;
  using parity_detail::doubles;
  constexpr bool published = std::is_same_v<typename Model::template Posterior<T>, fovea::model::TwofoldGaussian<T>>;
  const auto& o = model.options();
  const Pictures<T> pictures(options.pictures, {300, 300}, o.channels, 1.0);
  const Index batch = options.pictures;

  Arena arena;
  Inference<T> context(arena, weights.values());
  fovea::model::Looking looking;
  looking.draw = options.draw.has_value();
  looking.noise.seed = options.draw.value_or(0);
  const auto proxy = proxies(context, o, pictures);
  const auto path = model.forward(context, proxy, pictures.sources(), looking);
  // The published loss, with the weight that its experiment gives the KL.
  constexpr double kl_weight = 5;
  const auto share = 1 / static_cast<double>(o.steps);
  std::vector<std::int32_t> labels;
  for (Index b = 0; b < batch; ++b) labels.push_back(static_cast<std::int32_t>(b % o.classes));
  const fovea::model::BasicSaccaderLoss<bound::Product> terms{{share, kl_weight * share}, 0, 0, 0, 0};
  const Var<T> loss = model.loss(context, path, labels, terms);

  PublishedNetwork::Weights by_name;
  weights.visit([&](std::string_view name, const Shape&, View<const T, 1> elements) {
    by_name.emplace(std::string(name), doubles(elements.data(), elements.size()));
  });
  const PublishedNetwork twin(std::move(by_name), {.to_the_letter = options.to_the_letter.value_or(published),
                                                   .largest = 2 * o.scale,
                                                   .deviation = o.deviation,
                                                   .steps = static_cast<std::size_t>(o.steps),
                                                   .glimpse = static_cast<std::size_t>(o.glimpse[0]),
                                                   .filters = static_cast<std::size_t>(o.filters),
                                                   .latent = static_cast<std::size_t>(o.state)});
  std::vector<Tensor<T, 2>> noise;
  for (Index t = 0; looking.draw && t < o.steps; ++t) {
    noise.emplace_back(Extents<2>{batch, 3});
    sample::fill_normal(looking.noise.fork(2 * static_cast<std::uint64_t>(t)), noise.back().view());
  }

  Parity found;
  double loss_of_twin = 0;
  struct Quantity {
    double difference = 0;
    double size = 0;
    std::string where;
  };
  std::map<std::string, Quantity> quantities;
  const auto compare = [&](const char* what, const T* got, Index size, const Doubles& of_twin, Index b, std::size_t t) {
    Quantity& q = quantities[what];
    for (Index i = 0; i < size; ++i) {
      const double expected = of_twin.at(static_cast<std::size_t>(i));
      const double difference = std::abs(static_cast<double>(got[i]) - expected);
      q.size = std::max(q.size, std::abs(expected));
      if (!(difference > q.difference) && std::isfinite(difference)) continue;
      q.difference = difference;
      q.where = std::string(what) + " of picture " + std::to_string(b) + " at step " + std::to_string(t + 1);
    }
  };
  for (Index b = 0; b < batch; ++b) {
    const auto picture = [](View<const T, 3> p) -> PublishedNetwork::Picture {
      const auto size = [&](std::size_t axis) { return static_cast<std::size_t>(p.extent(axis)); };
      return {size(0), size(1), size(2), doubles(p.data(), p.size())};
    };
    std::vector<Doubles> own_noise;
    for (const auto& n : noise) own_noise.push_back(doubles(n.data() + 3 * b, 3));
    std::vector<Doubles> given;
    for (const auto& step : path.steps) {
      if (options.given_z) given.push_back(doubles(step.z.value + 3 * b, 3));
    }
    found.pictures.push_back(twin(picture(proxy.template values<4>()[b]),
                                  picture(pictures.pixels[static_cast<std::size_t>(b)].view()), own_noise, given));

    for (std::size_t t = 0; t < path.steps.size(); ++t) {
      const auto& got = path.steps[t];
      const PublishedNetwork::Step& expected = found.pictures.back()[t];
      const auto own = [&](const char* what, const Var<T>& all, const Doubles& of_twin) {
        const Index size = all.size() / batch;
        compare(what, all.value + b * size, size, of_twin, b, t);
      };
      own("the posterior's mean", got.posterior.mean, expected.posterior_mean);
      own("the posterior's spread", parity_detail::spread(got.posterior), expected.posterior_spread);
      own("the prior's mean", got.prior.mean, expected.prior_mean);
      own("the prior's spread", parity_detail::spread(got.prior), expected.prior_spread);
      own("z", got.z, expected.z);
      own("the region", got.regions, expected.region);
      own("the glimpse", got.glimpse, expected.glimpse.pixels);
      own("the KL", got.kl, {expected.kl});
      own("the proxy's log-likelihood", got.proxy_log_likelihood, {expected.proxy_log_likelihood});
      own("the evidence", got.evidence, expected.evidence);
      own("the logits", got.logits, expected.logits);
    }
    loss_of_twin += PublishedNetwork::loss(found.pictures.back(), labels[static_cast<std::size_t>(b)], kl_weight);
  }
  compare("the loss", loss.value, 1, {loss_of_twin}, batch - 1, path.steps.size() - 1);
  for (const auto& [what, q] : quantities) {
    const double error = q.difference / q.size;
    if (error <= found.worst) continue;
    found.worst = error;
    found.where = q.where;
  }
  return found;
}
/// Saccader::reference(), sampled as the published network is, at its full size: the worst relative error (Parity::worst) with
/// means and with draws, of two pictures.
template <class T>
[[nodiscard]] double reference_parity(bool given_z) {
  const auto model = fovea::model::Saccader::reference({}, fovea::glimpse::Bilinear{.align_corners = true});
  const auto weights = stirred_weights<T>(model.layout(), 1);
  return std::max(parity(model, weights, {.pictures = 2, .given_z = given_z}).worst,
                  parity(model, weights, {.pictures = 2, .draw = 1, .given_z = given_z}).worst);
}
}  // namespace fovea_test
