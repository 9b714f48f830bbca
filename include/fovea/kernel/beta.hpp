// SPDX-License-Identifier: MIT
/// \file
/// Beta distributions by the array: draws, their implicit derivatives, log-densities. The mathematics is in special.hpp.
///
/// Cost, an element, float, concentrations of 0.5 to 20, AVX-512 at about 3 GHz (bench/sample.cpp): a draw 48 ns, of which the
/// random numbers have half; its two derivatives 55; a log-density with three 25. All are arithmetic in double on whole
/// vectors; memory does not matter. At concentrations of 1e3 to 1e4 the derivatives take 170 ns.
///
/// Accuracy: of the functions in special.hpp, rounded to T at the end. A location is drawn as its logit, so that concentrations
/// of 1e-3, whose draws are as near to the ends as e^-1000, lose nothing before that rounding; a location never rounds to an
/// end.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/open_interval.hpp>
#include <fovea/kernel/simd.hpp>
#include <fovea/kernel/special.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

namespace detail {

/// Hands `body` vectors of doubles of the arrays, and what stores a vector to an array; lanes behind the end are 1.
template <class T, class Body>
FOVEA_ALWAYS_INLINE void for_each_double_batch(Index n, Body&& body) {
  using V = simd::Batch<double>;
  constexpr Index width = simd::kWidth<double>;
  for (Index i = 0; i < n; i += width) {
    const Index count = std::min(width, n - i);
    const auto load = [i, count](const T* p) {
      alignas(kAlignment) double lanes[width];
      for (Index k = 0; k < width; ++k) lanes[k] = k < count ? static_cast<double>(p[i + k]) : 1.0;
      return V::load_aligned(lanes);
    };
    const auto store = [i, count](auto* p, const V& v) {
      using To = std::remove_pointer_t<decltype(p)>;
      alignas(kAlignment) double lanes[width];
      v.store_aligned(lanes);
      for (Index k = 0; k < count; ++k) p[i + k] = static_cast<To>(lanes[k]);
    };
    body(i, count, load, store);
  }
}

}  // namespace detail

/// logit of a draw of Beta(a, b), all [B, D]; row b takes its numbers from streams[b].
///
/// By rejection from a logistic distribution of the logit, R. C. H. Cheng, "Generating beta variates with nonintegral shape
/// parameters", Comm. ACM 21, 1978 (his BB and BC): 1.1 to 1.5 trials where a, b > 1, at most 4 elsewhere.
template <class T>
void beta_logits(View<const T, 2> a, View<const T, 2> b, Stream* streams, View<T, 2> logits) {
  using V = simd::Batch<double>;
  constexpr Index chunk = 64;
  // One column of up to 64 rows at once, so that what a row draws depends on nothing but itself.
  alignas(kAlignment) double pa[chunk], pb[chunk], scale[chunk], centre[chunk], u[chunk], w[chunk], v[chunk], margin[chunk];
  Index row[chunk];
  for (Index first = 0; first < a.extent(0); first += chunk) {
    for (Index d = 0; d < a.extent(1); ++d) {
      Index active = std::min(chunk, a.extent(0) - first);
      for (Index i = 0; i < active; ++i) {
        row[i] = first + i;
        pa[i] = static_cast<double>(a(first + i, d));
        pb[i] = static_cast<double>(b(first + i, d));
      }
      for (Index i = active; i % simd::kWidth<double> != 0; ++i) pa[i] = pb[i] = u[i] = w[i] = 0.5;
      for (Index i = 0; i < active; i += simd::kWidth<double>) {
        const V p = simd::load_aligned(pa + i);
        const V q = simd::load_aligned(pb + i);
        const V least = simd::min(p, q);
        const V sum = p + q;
        // Rates: the least of both, or of the same curvature as the target at its mode.
        const V square = (V(2.0) * p * q - sum) / simd::max(sum - V(2.0), V(1e-300));
        const V rate = simd::select(least <= V(1.0), least, simd::sqrt(simd::max(square, V(1.0))));
        simd::store_aligned(scale + i, special::positive_or_nan(p, q) / rate);
        simd::store_aligned(centre + i, simd::log(p / q));
      }
      while (active > 0) {
        for (Index i = 0; i < active; ++i) {
          u[i] = streams[row[i]].template uniform<double>();
          w[i] = streams[row[i]].template uniform<double>();
        }
        for (Index i = 0; i < active; i += simd::kWidth<double>) {
          const V p = simd::load_aligned(pa + i);
          const V q = simd::load_aligned(pb + i);
          const V x = simd::load_aligned(u + i);
          const V rest = V(1.0) - x;
          const V y = simd::log(x / rest) * simd::load_aligned(scale + i);
          const V k = simd::select(y > V(0.0), q, p);
          const V sum = p + q;
          const V size = simd::abs(y);
          // log of target / its mode, less that of the proposal.
          const V target = -k * size - sum * simd::log(V(1.0) + k / sum * (simd::exp(-size) - V(1.0)));
          simd::store_aligned(v + i, y + simd::load_aligned(centre + i));
          simd::store_aligned(margin + i, target - simd::log(V(4.0) * x * rest * simd::load_aligned(w + i)));
        }
        Index left = 0;
        for (Index i = 0; i < active; ++i) {
          if (!(margin[i] < 0)) {  // NaN comes out as it came
            logits(row[i], d) = static_cast<T>(v[i]);
            continue;
          }
          row[left] = row[i];
          pa[left] = pa[i];
          pb[left] = pb[i];
          scale[left] = scale[i];
          centre[left] = centre[i];
          ++left;
        }
        active = left;
      }
    }
  }
}

/// The locations z [n] in (low, high) of those logits, and dz/da, dz/db as `partials` [2, n], where it is not empty.
template <class T>
void beta_locations(View<const T, 1> a, View<const T, 1> b, View<const T, 1> logits, double low, double high, View<T, 1> z,
                    View<T, 2> partials) {
  using V = simd::Batch<double>;
  const OpenInterval<T> inside(low, high);
  const Index n = z.extent(0);
  const double width = high - low;
  detail::for_each_double_batch<T>(n, [&](Index i, Index count, auto load, auto store) {
    const V v = load(logits.data());
    V lower, upper;
    if (partials.data() != nullptr) {
      const auto point = special::beta_point<V>(load(a.data()), load(b.data()), v);
      lower = point.lower;
      upper = point.upper;
      store(partials.data(), V(width) * point.d_a);
      store(partials.data() + n, V(width) * point.d_b);
    } else {
      const V e = simd::exp(-simd::abs(v));
      const V large = V(1.0) / (V(1.0) + e);
      lower = simd::select(v < V(0.0), e * large, large);
      upper = simd::select(v < V(0.0), large, e * large);
    }
    store(z.data(), simd::select(lower < upper, V(low) + V(width) * lower, V(high) - V(width) * upper));
    for (Index k = i; k < i + count; ++k) z(k) = inside.clamp(z(k));
  });
}

/// log-density of z on (low, high), summed over D: a, b, z [B, D], out [B]; derivatives to a, b, z as `partials` [3, B D],
/// where it is not empty. Outside of the interval: minus infinity, and derivatives of 0.
template <class T>
void beta_log_density(View<const T, 2> a, View<const T, 2> b, View<const T, 2> z, double low, double high, View<T, 1> out,
                      View<T, 2> partials) {
  using V = simd::Batch<double>;
  constexpr Index chunk = 64;
  alignas(kAlignment) double values[chunk];
  const Index n = z.size();
  const Index columns = z.extent(1);
  const double width = high - low;
  const double log_width = std::log(width);
  const V infinity(std::numeric_limits<double>::infinity());
  double sum = 0;
  Index column = 0;
  Index row = 0;
  for (Index first = 0; first < n; first += chunk) {
    const Index some = std::min(chunk, n - first);
    detail::for_each_double_batch<T>(some, [&](Index, Index, auto load, auto store) {
      const V at = load(z.data() + first);
      const V lower = (at - V(low)) / V(width);
      const V upper = (V(high) - at) / V(width);
      const auto density = special::beta_density<V>(load(a.data() + first), load(b.data() + first), lower, upper);
      const auto outside = (lower <= V(0.0)) | (upper <= V(0.0));
      store(values, simd::select(outside, -infinity, density.value - V(log_width)));
      if (partials.data() == nullptr) return;
      T* to = partials.data() + first;
      store(to, simd::select(outside, V(0.0), density.d_a));
      store(to + n, simd::select(outside, V(0.0), density.d_b));
      store(to + 2 * n, simd::select(outside, V(0.0), density.d_z / V(width)));
    });
    for (Index i = 0; i < some; ++i) {
      sum += values[i];
      if (++column < columns) continue;
      out(row++) = static_cast<T>(sum);
      sum = 0;
      column = 0;
    }
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
