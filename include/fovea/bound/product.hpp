// SPDX-License-Identifier: MIT
/// \file
/// The objectives `product` and `log_sum`: two factors, the class loss and the negative ELBO of the proxy, multiplied.
///
/// `product` is what the published code of J. Ramapuram et al., "Variational Saccading", BMVC 2019, minimises. **It is not a
/// bound**, but a weighting: with
///
///     A = - log p(y|.)        V = - proxy_weight sum_t log p(proxy|.) + kl_weight sum_t KL_t
///
/// d (A V) = V dA + A dV. The classifier learns with the rate V, of thousands of nats while the proxy is unexplained; the
/// proxy's model learns from a sample as much as its class is wrong, and stops where A reaches 0. As soon as a factor is
/// negative (a V of densities, of which a likelihood may exceed 1) the other is driven the wrong way, up: so a negative factor
/// is an Error.
///
/// `log_sum` is log(A + margin) + log(V + margin), the gradient of the product divided by it: the same direction where the
/// margin is 0, without the rate that runs away. Each factor shrinks by the same proportion, whatever its unit, as in A.
/// Kendall, Y. Gal, R. Cipolla, "Multi-task learning using uncertainty to weigh losses", CVPR 2018, with the best noise put in:
/// the minimum over s of A e^-s + s is log A + 1.
#pragma once

#include <fovea/bound/terms.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/kernel/pointwise.hpp>
#include <fovea/nn/pointwise.hpp>

#include <cmath>

namespace fovea::inline FOVEA_ABI {
namespace bound {

namespace detail {

inline constexpr double kRounding = 1e-6;

/// f(A, V) per sample, f returning its value and derivatives. Throws Error on a negative factor; a divergence of two equal
/// distributions may round to one.
template <Context C, class F>
[[nodiscard]] VarOf<C> of_factors(C& context, const Terms<typename C::Scalar>& terms, double proxy_weight, double kl_weight,
                                  const char* name, F f) {
  return nn::pointwise(
      context,
      [=](double class_log_likelihood, double proxy_log_likelihood, double kl) {
        const double a = -class_log_likelihood;
        const double v = kl_weight * kl - proxy_weight * proxy_log_likelihood;
        require(a >= -kRounding && v >= -kRounding, name, ": a class loss and a negative ELBO of at least 0 expected, ", a,
                " and ", v, " came");
        const kernel::Partials<2> y = f(a, v);
        return kernel::Partials<3>{y.value, {-y.d[0], -proxy_weight * y.d[1], kl_weight * y.d[1]}};
      },
      terms.class_log_likelihood, terms.proxy_log_likelihood, terms.kl);
}

}  // namespace detail

/// loss = A V, per sample [B]. The published loss, which is a mean over the T steps: proxy_weight = 1 / T, kl_weight = kl_reg /
/// T. Throws Error on a negative factor.
struct Product {
  double proxy_weight = 1;
  double kl_weight = 1;

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, const Terms<typename C::Scalar>& terms) const {
    return detail::of_factors(context, terms, proxy_weight, kl_weight, "product", [](double a, double v) {
      return kernel::Partials<2>{a * v, {v, a}};
    });
  }
};

/// loss = log(A + margin) + log(V + margin), per sample [B]. With a margin of 0 a sample that is right already pushes as hard
/// as one that is wrong, since d log A = dA / A: a factor below the margin, in nats, counts as done. Throws Error on a negative
/// factor.
struct LogSum {
  double proxy_weight = 1;
  double kl_weight = 1;
  double margin = 1e-3;

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, const Terms<typename C::Scalar>& terms) const {
    return detail::of_factors(context, terms, proxy_weight, kl_weight, "log_sum", [m = margin](double a, double v) {
      return kernel::Partials<2>{std::log(a + m) + std::log(v + m), {1 / (a + m), 1 / (v + m)}};
    });
  }
};

}  // namespace bound
}  // namespace fovea::inline FOVEA_ABI
