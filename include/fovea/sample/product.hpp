// SPDX-License-Identifier: MIT
/// \file
/// Independent distributions side by side: another family for the scale than for the centre of a look.
///
///     const auto q = sample::region(sample::Beta<float>{a, b}, sample::TruncatedGaussian<float>{mean, log_deviation});
///     const auto z = sample::draw(context, q, key);  // [B, 3]: s, x, y
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/sample/distribution.hpp>

#include <array>
#include <cstddef>
#include <tuple>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// Each part has the columns behind those of the part before. Parts are any distributions with q.dimension(), of one batch.
template <class... Q>
struct Product {
  static_assert(sizeof...(Q) >= 1, "fovea::sample::Product: at least one part expected");
  std::tuple<Q...> parts;

  static constexpr bool pathwise = (Q::pathwise && ...);
  template <class F>
  [[nodiscard]] Product map(F f) const {
    return std::apply([&](const Q&... part) { return Product{{part.map(f)...}}; }, parts);
  }
  [[nodiscard]] Index batch() const noexcept { return std::get<0>(parts).batch(); }
  [[nodiscard]] Index dimension() const noexcept {
    return std::apply([](const Q&... part) { return (Index{0} + ... + part.dimension()); }, parts);
  }
};

/// The product of these. Throws Error where their batches differ.
template <class... Q>
[[nodiscard]] Product<Q...> product(const Q&... parts) {
  const Product<Q...> q{{parts...}};
  const auto require_batch = [&](Index batch) {
    require(batch == q.batch(), "product: parts of one batch expected, ", q.batch(), " and ", batch, " came");
  };
  (require_batch(parts.batch()), ...);
  return q;
}

/// A distribution over regions [s, x, y] from one over the scale [B, 1] and one over the centre [B, 2]. Throws Error on others.
template <class Scale, class Centre>
[[nodiscard]] Product<Scale, Centre> region(const Scale& scale, const Centre& centre) {
  require(scale.dimension() == 1 && centre.dimension() == 2, "region: a scale of 1 and a centre of 2 dimensions expected, ",
          scale.dimension(), " and ", centre.dimension(), " came");
  return product(scale, centre);
}

namespace detail {

/// Calls f(part, i) for each, and returns the results.
template <class C, class F, class... Q>
[[nodiscard]] std::array<VarOf<C>, sizeof...(Q)> for_each_part(const Product<Q...>& q, F f) {
  return [&]<std::size_t... i>(std::index_sequence<i...>) {
    // Braces: from the left to the right.
    return std::array<VarOf<C>, sizeof...(Q)>{f(std::get<i>(q.parts), std::integral_constant<std::size_t, i>{})...};
  }
  (std::index_sequence_for<Q...>{});
}
template <Context C, std::size_t N>
[[nodiscard]] VarOf<C> side_by_side(C& context, const std::array<VarOf<C>, N>& x) {
  return std::apply([&](const auto&... part) { return nn::concat(context, {part...}); }, x);
}
template <Context C, std::size_t N>
[[nodiscard]] VarOf<C> total(C& context, const std::array<VarOf<C>, N>& x) {
  VarOf<C> sum = x[0];
  for (std::size_t i = 1; i < N; ++i) sum = nn::add(context, sum, x[i]);
  return sum;
}

}  // namespace detail

/// Draws of all parts, side by side; part i from key.fork(i), so that it is the same whatever the others are.
template <Context C, class... Q>
[[nodiscard]] VarOf<C> draw(C& context, const Product<Q...>& q, const NoiseKey& key) {
  return detail::side_by_side(
      context, detail::for_each_part<C>(q, [&](const auto& part, auto i) { return draw(context, part, key.fork(i)); }));
}

/// The sum of the parts' log-densities at their columns of z [B, D].
template <Context C, class... Q>
[[nodiscard]] VarOf<C> log_density(C& context, const Product<Q...>& q, const VarOf<C>& z) {
  nn::detail::require_shape("product log-density", "a point", z, Shape{q.batch(), q.dimension()});
  Index first = 0;
  return detail::total(context, detail::for_each_part<C>(q, [&](const auto& part, auto) {
                         const VarOf<C> columns = nn::slice(context, z, first, part.dimension());
                         first += part.dimension();
                         return log_density(context, part, columns);
                       }));
}

/// The sum of the parts' entropies, where all have a closed form; with `draws` each takes what it has.
template <Context C, class... Q>
  requires(HasEntropy<Q, C>&&...)
[[nodiscard]] VarOf<C> entropy(C& context, const Product<Q...>& q) {
  return detail::total(context, detail::for_each_part<C>(q, [&](const auto& part, auto) { return entropy(context, part); }));
}
template <Context C, class... Q>
[[nodiscard]] VarOf<C> entropy(C& context, const Product<Q...>& q, const MonteCarlo& draws) {
  return detail::total(context, detail::for_each_part<C>(q, [&](const auto& part, auto i) {
                         return entropy(context, part, MonteCarlo{draws.key.fork(i), draws.samples});
                       }));
}

/// The sum of the parts' divergences, where all have a closed form; with `draws` each takes what it has.
template <Context C, class... Q, class... P>
  requires(sizeof...(Q) == sizeof...(P) && (HasDivergence<Q, P, C> && ...))
[[nodiscard]] VarOf<C> kl_divergence(C& context, const Product<Q...>& q, const Product<P...>& p) {
  return detail::total(context, detail::for_each_part<C>(q, [&](const auto& part, auto i) {
                         return kl_divergence(context, part, std::get<i>(p.parts));
                       }));
}
template <Context C, class... Q, class... P>
  requires(sizeof...(Q) == sizeof...(P))
[[nodiscard]] VarOf<C> kl_divergence(C& context, const Product<Q...>& q, const Product<P...>& p, const MonteCarlo& draws) {
  return detail::total(
      context, detail::for_each_part<C>(q, [&](const auto& part, auto i) {
        return kl_divergence(context, part, std::get<i>(p.parts), MonteCarlo{draws.key.fork(i), draws.samples});
      }));
}

/// Those of the parts, side by side [B, D].
template <Context C, class... Q>
[[nodiscard]] VarOf<C> mean(C& context, const Product<Q...>& q) {
  return detail::side_by_side(context,
                              detail::for_each_part<C>(q, [&](const auto& part, auto) { return mean(context, part); }));
}
template <Context C, class... Q>
[[nodiscard]] VarOf<C> mode(C& context, const Product<Q...>& q) {
  return detail::side_by_side(context,
                              detail::for_each_part<C>(q, [&](const auto& part, auto) { return mode(context, part); }));
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
