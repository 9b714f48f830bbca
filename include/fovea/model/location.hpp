// SPDX-License-Identifier: MIT
/// \file
/// Distributions over the location z, to be exchanged in a saccader (model/parts.hpp): every one of sample/ can be a posterior.
///
/// A location is a small type that makes distributions of what networks say:
///
///     posterior(context, look, log_deviation)  of a policy's output and the log of the deviation asked for [B, 3]
///     prior_parameters(cells)                  columns that the prior's network has to give; `cells`: places of the map
///     prior(context, parameters)               of those, [B, prior_parameters]
///     coordinates(context, look, q, z)         of a draw of q, in the parts' coordinates [B, 3]: by default log s, x, y
///     wants_places                             whether PolicyOutput::places is looked at: a policy without a map has none
///
/// Which estimators fit is the distribution's: Pathwise for those over places, ScoreFunction and its kin for all, the relaxed
/// ones for Cells (sample/estimator.hpp).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/model/policy.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/pointwise.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/sample/beta.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/kumaraswamy.hpp>
#include <fovea/sample/logistic_normal.hpp>
#include <fovea/sample/mixture.hpp>
#include <fovea/sample/per_row.hpp>
#include <fovea/sample/product.hpp>
#include <fovea/sample/relaxed_categorical.hpp>
#include <fovea/sample/truncated_gaussian.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fovea::inline FOVEA_ABI {
namespace model {

// ------------------------------------------------------------------------------------------------------------ over places

namespace detail {

/// What locations over three numbers have in common.
struct OverPlaces {
  static constexpr bool wants_places = false;
  [[nodiscard]] static constexpr Index prior_parameters(Index /*cells*/) noexcept { return 6; }
  template <Context C, class Q>
  [[nodiscard]] VarOf<C> coordinates(C& /*context*/, const PolicyOutput<typename C::Scalar>& /*look*/, const Q& /*q*/,
                                     VarOf<C> z) const {
    return z;
  }
};

/// m / (1 + |m|^8)^(1/8) * 0.98: nearly m within (-1, 1), never beyond 0.98, and a derivative everywhere.
template <Context C>
[[nodiscard]] VarOf<C> softly_inside(C& context, VarOf<C> m) {
  return nn::pointwise(
      context,
      [](double x) {
        constexpr double most = 0.98;
        const double power = std::pow(std::abs(x), 8);
        const double root = std::pow(1 + power, -0.125);
        return kernel::Partials<1>{most * x * root, {most * root / (1 + power)}};
      },
      m);
}

/// The scale as a Gaussian over log s; the centre as make(mean in (-1, 1), log-deviation) [B, 2].
template <Context C, class Make>
[[nodiscard]] auto scale_and_centre(C& context, VarOf<C> mean, VarOf<C> log_deviation, Make make) {
  const sample::DiagonalGaussian<typename C::Scalar> scale{nn::slice(context, mean, 0, 1),
                                                           nn::slice(context, log_deviation, 0, 1)};
  return sample::product(scale,
                         make(softly_inside(context, nn::slice(context, mean, 1, 2)), nn::slice(context, log_deviation, 1, 2)));
}

/// A location of which posterior and prior are made alike: Derived::distribution(context, mean, log_deviation), both [B, 3]. At
/// the start, where the prior's network gives 0, the prior has mean 0 and deviation 1.
template <class Derived>
struct MeanAndDeviation : OverPlaces {
  template <Context C>
  [[nodiscard]] auto posterior(C& context, const PolicyOutput<typename C::Scalar>& look, VarOf<C> log_deviation) const {
    if (look.log_deviation.value != nullptr) log_deviation = nn::add(context, look.log_deviation, log_deviation);
    return Derived::distribution(context, look.mean, log_deviation);
  }
  template <Context C>
  [[nodiscard]] auto prior(C& context, VarOf<C> parameters) const {
    return Derived::distribution(context, nn::slice(context, parameters, 0, 3), nn::slice(context, parameters, 3, 3));
  }
};

}  // namespace detail

/// A Gaussian over (log s, x, y) with a diagonal covariance: the default, and the published one.
struct GaussianLocation : detail::MeanAndDeviation<GaussianLocation> {
  template <Context C>
  [[nodiscard]] static sample::DiagonalGaussian<typename C::Scalar> distribution(C& /*context*/, VarOf<C> mean,
                                                                                 VarOf<C> log_deviation) {
    return {mean, log_deviation};
  }
};

/// The centre from a Gaussian cut off at the edges of the image.
struct TruncatedGaussianLocation : detail::MeanAndDeviation<TruncatedGaussianLocation> {
  template <Context C>
  [[nodiscard]] static auto distribution(C& context, VarOf<C> mean, VarOf<C> log_deviation) {
    return detail::scale_and_centre(context, mean, log_deviation, [](VarOf<C> m, VarOf<C> l) {
      return sample::TruncatedGaussian<typename C::Scalar>{m, l};
    });
  }
};

/// The centre from a Gaussian squeezed into the image: 2 sigmoid(n) - 1, whose median is the policy's place and whose deviation
/// near it, while small, the one asked for.
struct LogisticNormalLocation : detail::MeanAndDeviation<LogisticNormalLocation> {
  template <Context C>
  [[nodiscard]] static auto distribution(C& context, VarOf<C> mean, VarOf<C> log_deviation) {
    return detail::scale_and_centre(context, mean, log_deviation, [&](VarOf<C> m, VarOf<C> l) {
      // d place / d n = (1 - place^2) / 2
      const VarOf<C> n = nn::pointwise(
          context,
          [](double x) {
            return kernel::Partials<1>{2 * std::atanh(x), {2 / (1 - x * x)}};
          },
          m);
      const VarOf<C> spread = nn::pointwise(
          context,
          [](double x, double y) {
            return kernel::Partials<2>{y - std::log((1 - x * x) / 2), {2 * x / (1 - x * x), 1.0}};
          },
          m, l);
      return sample::LogisticNormal<typename C::Scalar>{n, spread};
    });
  }
};

/// The centre from a Beta distribution: its mean is the policy's place, its variance there (1 - place^2) v, v of the deviation
/// asked for (at most 1/2, which is near uniform).
struct BetaLocation : detail::MeanAndDeviation<BetaLocation> {
  template <Context C>
  [[nodiscard]] static auto distribution(C& context, VarOf<C> mean, VarOf<C> log_deviation) {
    return detail::scale_and_centre(context, mean, log_deviation, [&](VarOf<C> m, VarOf<C> l) {
      // Of a place 2 u - 1 the variance is 4 u (1 - u) / (k + 1) = (1 - place^2) / (k + 1), k = a + b.
      const auto concentration = [&](double sign) {
        return nn::pointwise(
            context,
            [sign](double x, double y) {
              const bool wide = y > std::log(0.5);
              const double k = wide ? 3.0 : std::expm1(-2 * y);
              const double share = (1 + sign * x) / 2;
              return kernel::Partials<2>{share * k, {sign * k / 2, wide ? 0.0 : -2 * share * std::exp(-2 * y)}};
            },
            m, l);
      };
      return sample::Beta<typename C::Scalar>{concentration(1), concentration(-1), {-1, 1}};
    });
  }
};

/// The centre from a Kumaraswamy distribution whose median is the policy's place: a = 1 / deviation (1 at least), b from a.
struct KumaraswamyLocation : detail::MeanAndDeviation<KumaraswamyLocation> {
  template <Context C>
  [[nodiscard]] static auto distribution(C& context, VarOf<C> mean, VarOf<C> log_deviation) {
    return detail::scale_and_centre(context, mean, log_deviation, [&](VarOf<C> m, VarOf<C> l) {
      const VarOf<C> a = nn::pointwise(
          context,
          [](double y) {
            return y > 0 ? kernel::Partials<1>{1, {0}} : kernel::Partials<1>{std::exp(-y), {-std::exp(-y)}};
          },
          l);
      // 1 - (1 - u^a)^b = 1/2 at the median u.
      const VarOf<C> b = nn::pointwise(
          context,
          [](double x, double p) {
            const double u = (1 + x) / 2;
            const double power = std::pow(u, p);
            const double log_left = std::log1p(-power);
            const double value = -std::numbers::ln2 / log_left;
            // d log(1 - u^a) = - u^a / (1 - u^a) (a du / u + log u da)
            const double slope = value / log_left * power / (1 - power);
            return kernel::Partials<2>{value, {slope * p / u / 2, slope * std::log(u)}};
          },
          m, a);
      return sample::Kumaraswamy<typename C::Scalar>{a, b, {-1, 1}};
    });
  }
};

/// The published posterior: one number v is a log-variance when z is drawn, and a deviation in the KL, where only its square
/// counts; the prior's goes through a sigmoid first. Its "KL" is not that of what is drawn from.
template <class T>
struct TwofoldGaussian {
  Var<T> mean;
  Var<T> v;

  static constexpr bool pathwise = true;
  template <class F>
  [[nodiscard]] TwofoldGaussian map(F f) const {
    return {f(mean), f(v)};
  }
  [[nodiscard]] Index batch() const noexcept { return mean.shape[0]; }
  [[nodiscard]] Index dimension() const noexcept { return mean.shape[1]; }
};

template <Context C>
[[nodiscard]] sample::DiagonalGaussian<typename C::Scalar> as_drawn(C& context, const TwofoldGaussian<typename C::Scalar>& q) {
  return {q.mean, nn::scale(context, typename C::Scalar(0.5), q.v)};
}
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const TwofoldGaussian<typename C::Scalar>& q, const sample::NoiseKey& key) {
  return draw(context, as_drawn(context, q), key);
}
/// Of what it draws.
template <Context C>
[[nodiscard]] VarOf<C> log_density(C& context, const TwofoldGaussian<typename C::Scalar>& q, const VarOf<C>& z) {
  return log_density(context, as_drawn(context, q), z);
}
template <Context C>
[[nodiscard]] VarOf<C> mode(C& /*context*/, const TwofoldGaussian<typename C::Scalar>& q) {
  return q.mean;
}
template <Context C>
[[nodiscard]] VarOf<C> mean(C& /*context*/, const TwofoldGaussian<typename C::Scalar>& q) {
  return q.mean;
}
template <Context C>
[[nodiscard]] VarOf<C> entropy(C& context, const TwofoldGaussian<typename C::Scalar>& q) {
  return entropy(context, as_drawn(context, q));
}
/// sum over D of log|v_p / v_q| + (v_q^2 + (m_q - m_p)^2) / (2 v_p^2) - 1/2.
template <Context C>
[[nodiscard]] VarOf<C> kl_divergence(C& context, const TwofoldGaussian<typename C::Scalar>& q,
                                     const TwofoldGaussian<typename C::Scalar>& p) {
  return nn::pointwise_sum(
      context,
      [](double m_q, double v_q, double m_p, double v_p) {
        const double r = v_q / v_p;
        const double u = (m_q - m_p) / v_p;
        return kernel::Partials<4>{0.5 * (r * r + u * u - 1) - std::log(std::abs(r)),
                                   {u / v_p, r / v_p - 1 / v_q, -u / v_p, (1 - r * r - u * u) / v_p}};
      },
      q.mean, q.v, p.mean, p.v);
}

/// The same to a Gaussian, as bound::kl_to_standard_normal asks for.
template <Context C>
[[nodiscard]] VarOf<C> kl_divergence(C& context, const TwofoldGaussian<typename C::Scalar>& q,
                                     const sample::DiagonalGaussian<typename C::Scalar>& p) {
  return kl_divergence(context, q, TwofoldGaussian<typename C::Scalar>{p.mean, nn::exp(context, p.log_deviation)});
}

/// The published posterior and prior: TwofoldGaussian. The policy's log-deviation is v as it is, and the deviation asked for
/// counts for nothing; a policy without one draws at the deviation asked for. 1e-6 is added to v last, in the prior after the
/// sigmoid.
struct PublishedGaussian : detail::OverPlaces {
  template <Context C>
  [[nodiscard]] TwofoldGaussian<typename C::Scalar> posterior(C& context, const PolicyOutput<typename C::Scalar>& look,
                                                              VarOf<C> log_deviation) const {
    if (look.log_deviation.value == nullptr) {
      return {look.mean, nn::scale(context, typename C::Scalar(2), log_deviation)};  // the log of a variance
    }
    return {look.mean, plus_epsilon(context, look.log_deviation)};
  }
  template <Context C>
  [[nodiscard]] TwofoldGaussian<typename C::Scalar> prior(C& context, VarOf<C> parameters) const {
    return {nn::slice(context, parameters, 0, 3),
            plus_epsilon(context, nn::sigmoid(context, nn::slice(context, parameters, 3, 3)))};
  }

 private:
  template <Context C>
  [[nodiscard]] static VarOf<C> plus_epsilon(C& context, VarOf<C> x) {
    const VarOf<C> epsilon = context.constant(x.shape);
    std::fill_n(epsilon.value, epsilon.size(), typename C::Scalar(1e-6));
    return nn::add(context, x, epsilon);
  }
};

// ------------------------------------------------------------------------------------------------------- over the map's cells

/// Several places at once: a mixture of Gaussians, one at each place of the map, weighted by the attention. The prior is a
/// mixture of two. Draws are pathwise; there is no closed divergence, and one is estimated from the draw.
struct MixtureLocation {
  static constexpr bool wants_places = true;
  static constexpr Index components = 2;
  [[nodiscard]] static constexpr Index prior_parameters(Index /*cells*/) noexcept { return components * 7; }
  template <Context C>
  [[nodiscard]] sample::Mixture<typename C::Scalar> posterior(C& context, const PolicyOutput<typename C::Scalar>& look,
                                                              VarOf<C> log_deviation) const {
    if (look.log_deviation.value != nullptr) log_deviation = nn::add(context, look.log_deviation, log_deviation);
    return {look.logits, look.places,
            nn::repeat_samples(context, log_deviation, look.logits.shape[1]).reshape(look.places.shape)};
  }
  template <Context C>
  [[nodiscard]] sample::Mixture<typename C::Scalar> prior(C& context, VarOf<C> parameters) const {
    const Shape each{parameters.shape[0], components, 3};
    return {nn::slice(context, parameters, 0, components),
            nn::slice(context, parameters, components, 3 * components).reshape(each),
            nn::slice(context, parameters, 4 * components, 3 * components).reshape(each)};
  }
  template <Context C>
  [[nodiscard]] VarOf<C> coordinates(C& /*context*/, const PolicyOutput<typename C::Scalar>& /*look*/,
                                     const sample::Mixture<typename C::Scalar>& /*q*/, VarOf<C> z) const {
    return z;
  }
};

namespace detail {

/// What locations over cells have in common: a draw gives a weight to every cell, and the place is the mean of theirs.
struct OverCells {
  static constexpr bool wants_places = true;
  [[nodiscard]] static constexpr Index prior_parameters(Index cells) noexcept { return cells; }
  template <Context C, class Q>
  [[nodiscard]] VarOf<C> coordinates(C& context, const PolicyOutput<typename C::Scalar>& look, const Q& /*q*/,
                                     VarOf<C> z) const {
    const Index rows = z.shape[0] / look.places.shape[0];  // a draw may stand for several
    return sample::weighted_sum(context, z, nn::repeat_samples(context, look.places, rows));
  }
};

}  // namespace detail

/// One of the map's cells, by its attention: for score functions, straight-through and relaxed estimators.
struct CellLocation : detail::OverCells {
  template <Context C>
  [[nodiscard]] sample::Categorical<typename C::Scalar> posterior(C& /*context*/, const PolicyOutput<typename C::Scalar>& look,
                                                                  VarOf<C> /*log_deviation*/) const {
    return {look.logits};
  }
  template <Context C>
  [[nodiscard]] sample::Categorical<typename C::Scalar> prior(C& /*context*/, VarOf<C> parameters) const {
    return {parameters};
  }
};

/// A relaxed cell: weights over all of them, of Gumbel noise at a temperature. Pathwise.
struct RelaxedCellLocation : detail::OverCells {
  double temperature = 0.5;
  template <Context C>
  [[nodiscard]] sample::RelaxedCategorical<typename C::Scalar> posterior(C& /*context*/,
                                                                         const PolicyOutput<typename C::Scalar>& look,
                                                                         VarOf<C> /*log_deviation*/) const {
    return {look.logits, temperature};
  }
  template <Context C>
  [[nodiscard]] sample::RelaxedCategorical<typename C::Scalar> prior(C& /*context*/, VarOf<C> parameters) const {
    return {parameters, temperature};
  }
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
