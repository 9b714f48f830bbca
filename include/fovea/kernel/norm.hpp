// SPDX-License-Identifier: MIT
/// \file
/// Group normalisation of NHWC features.
///
/// Y. Wu, K. He, "Group normalization", ECCV 2018: within each sample and each group of consecutive channels
///     y = gamma * (x - mean) / sqrt(variance + epsilon) + beta,
/// gamma and beta per channel, variance biased, as torch.nn.GroupNorm. One group is layer normalisation over positions
/// and channels, one channel per group is instance normalisation.
///
/// Cost: three passes over x forward (mean, centred squares, result), two over x and three over d_y backward; vectorised over
/// channels, one unit of whole groups at a time, so that the later passes find their data in the cache. An
/// element takes 0.25 to 0.4 ns each way for 400 positions of 16 or 8 channels, 0.5 and 0.9 for 1024 of 32, but 16 for a
/// single position, where what happens once per group counts (float, AVX-512 at about 3 GHz,
/// bench/kernel_elementwise.cpp).
///
/// Accuracy: sums in double beyond blocks of 64 positions, squares taken after centring. Float: within 1e-6 of the
/// largest element; within 1e-4 for features of mean 1000 and deviation 1.5, which is the rounding of their mean.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

namespace detail {

/// One number per lane, on the stack.
template <class T, class U = T>
struct Lanes {
  alignas(kAlignment) U at[static_cast<std::size_t>(simd::kWidth<T>)] = {};
  [[nodiscard]] simd::Batch<T> load() const { return simd::load_aligned<T>(at); }
};

/// Channels are worked through in units: one group of at least a vector's width, or as many smaller groups as fit into
/// one. Calls body(first channel, number of channels, first group, number of groups).
template <class T, class Body>
void for_each_unit(Index channels, Index groups, Index fold, Body body) {
  if (fold > 1) return body(0, channels * fold, 0, groups);
  const Index per_group = channels / groups;
  const Index at_once = std::max<Index>(1, simd::kWidth<T> / per_group);
  for (Index group = 0; group < groups; group += at_once) {
    const Index count = std::min(at_once, groups - group);
    body(group * per_group, count * per_group, group, count);
  }
}

/// Where the channels are fewer than a vector's lanes, and divide them, several positions are worked on as one: a row
/// of `fold` positions looks like one of fold * channels channels. Without that half of the lanes would idle at 8
/// channels, and each masked store would hold up the load of its neighbour.
template <class T>
[[nodiscard]] constexpr Index fold_positions(Index positions, Index channels) noexcept {
  if (channels >= simd::kWidth<T> || simd::kWidth<T> % channels != 0) return 1;
  const Index fold = simd::kWidth<T> / channels;
  return positions % fold == 0 ? fold : 1;
}

/// Calls body(at) for the vectors of channels [first, first + count).
template <class T, class Body>
FOVEA_ALWAYS_INLINE void for_each_channel_batch(Index first, Index count, Body body) {
  Index c = 0;
  for (; c + simd::kWidth<T> <= count; c += simd::kWidth<T>) body(simd::WholeBatch<T>{first + c});
  if (c < count) body(simd::PartialBatch<T>{first + c, count - c});
}

}  // namespace detail

/// x, y [N, P, C] dense, P positions (H * W); gamma, beta [C]; mean, rstd [N, G] receive the mean and 1 / sqrt(variance
/// + epsilon) of each group for the backward call. The number of groups is G, which must divide C. In place where y is
/// x.
template <class T>
void group_norm(View<const std::type_identity_t<T>, 3> x, View<const std::type_identity_t<T>, 1> gamma,
                View<const std::type_identity_t<T>, 1> beta, double epsilon, View<T, 3> y, View<T, 2> mean, View<T, 2> rstd) {
  using B = simd::Batch<T>;
  const Index positions = x.extent(1);
  const Index channels = x.extent(2);
  const Index groups = mean.extent(1);
  FOVEA_ASSERT(groups > 0 && channels % groups == 0 && x.is_dense() && y.is_dense());
  const Index per_group = channels / groups;
  const double count = static_cast<double>(positions) * static_cast<double>(per_group);
  const Index fold = detail::fold_positions<T>(positions, channels);
  const Index rows = positions / fold;
  const Index row = channels * fold;
  const auto channel_of = [=](Index c) { return fold > 1 ? c % channels : c; };
  const auto group_of = [=](Index c) { return channel_of(c) / per_group; };
  for (Index n = 0; n < x.extent(0); ++n) {
    const T* in = x.data() + n * positions * channels;
    T* out = y.data() + n * positions * channels;
    detail::for_each_unit<T>(channels, groups, fold, [&](Index first, Index many, Index first_group, Index group_count) {
      detail::Lanes<T, double> total;  // per group of the unit
      detail::for_each_channel_batch<T>(first, many, [&](auto at) {
        detail::Lanes<T, double> sums;
        lane_sums<T>(
            rows, [&](Index p) { return at.load(in + p * row); }, sums.at);
        for (Index l = 0; l < at.count(); ++l) total.at[group_of(at.i + l) - first_group] += sums.at[l];
      });
      for (Index g = 0; g < group_count; ++g) mean(n, first_group + g) = static_cast<T>(total.at[g] / count);

      total = {};
      detail::for_each_channel_batch<T>(first, many, [&](auto at) {
        detail::Lanes<T> centre;
        for (Index l = 0; l < at.count(); ++l) centre.at[l] = mean(n, group_of(at.i + l));
        const B m = centre.load();
        detail::Lanes<T, double> sums;
        lane_sums<T>(
            rows,
            [&](Index p) {
              const B d = at.load(in + p * row) - m;
              return d * d;
            },
            sums.at);
        for (Index l = 0; l < at.count(); ++l) total.at[group_of(at.i + l) - first_group] += sums.at[l];
      });
      for (Index g = 0; g < group_count; ++g) {
        rstd(n, first_group + g) = static_cast<T>(1 / std::sqrt(total.at[g] / count + epsilon));
      }

      detail::for_each_channel_batch<T>(first, many, [&](auto at) {
        detail::Lanes<T> centre;
        detail::Lanes<T> slope;
        detail::Lanes<T> offset;
        for (Index l = 0; l < at.count(); ++l) {
          centre.at[l] = mean(n, group_of(at.i + l));
          offset.at[l] = beta(channel_of(at.i + l));
          slope.at[l] = rstd(n, group_of(at.i + l)) * gamma(channel_of(at.i + l));
        }
        const B m = centre.load();
        const B a = slope.load();
        const B b = offset.load();
        for (Index p = 0; p < rows; ++p) {
          at.store(out + p * row, simd::fma<T>(at.load(in + p * row) - m, a, b));
        }
      });
    });
  }
}

/// Adds to d_x [N, P, C], d_gamma and d_beta [C]; an empty view is skipped. With u = (x - mean) * rstd and the means
/// taken over the group:  d_x += rstd * (d_y gamma - mean(d_y gamma) - u * mean(d_y gamma u)).
template <class T>
void group_norm_backward(View<const std::type_identity_t<T>, 3> d_y, View<const std::type_identity_t<T>, 3> x,
                         View<const std::type_identity_t<T>, 1> gamma, View<const std::type_identity_t<T>, 2> mean,
                         View<const std::type_identity_t<T>, 2> rstd, View<T, 3> d_x, View<T, 1> d_gamma, View<T, 1> d_beta) {
  using B = simd::Batch<T>;
  const Index positions = x.extent(1);
  const Index channels = x.extent(2);
  const Index groups = mean.extent(1);
  FOVEA_ASSERT(groups > 0 && channels % groups == 0 && x.is_dense() && d_y.is_dense());
  const Index per_group = channels / groups;
  const double count = static_cast<double>(positions) * static_cast<double>(per_group);
  const Index fold = detail::fold_positions<T>(positions, channels);
  const Index rows = positions / fold;
  const Index row = channels * fold;
  const auto channel_of = [=](Index c) { return fold > 1 ? c % channels : c; };
  const auto group_of = [=](Index c) { return channel_of(c) / per_group; };
  for (Index n = 0; n < x.extent(0); ++n) {
    const T* in = x.data() + n * positions * channels;
    const T* dy = d_y.data() + n * positions * channels;
    T* dx = d_x.data() ? d_x.data() + n * positions * channels : nullptr;
    detail::for_each_unit<T>(channels, groups, fold, [&](Index first, Index many, Index first_group, Index) {
      detail::Lanes<T, double> sum_d;   // of d_y gamma, per group
      detail::Lanes<T, double> sum_du;  // of d_y gamma u
      detail::for_each_channel_batch<T>(first, many, [&](auto at) {
        detail::Lanes<T> centre;
        detail::Lanes<T> inverse;
        for (Index l = 0; l < at.count(); ++l) {
          centre.at[l] = mean(n, group_of(at.i + l));
          inverse.at[l] = rstd(n, group_of(at.i + l));
        }
        const B m = centre.load();
        const B r = inverse.load();
        detail::Lanes<T, double> d;
        detail::Lanes<T, double> du;
        lane_sums<T>(
            rows, [&](Index p) { return at.load(dy + p * row); }, d.at);
        lane_sums<T>(
            rows, [&](Index p) { return at.load(dy + p * row) * ((at.load(in + p * row) - m) * r); }, du.at);
        for (Index l = 0; l < at.count(); ++l) {
          const Index c = channel_of(at.i + l);
          if (d_beta.data()) d_beta(c) += static_cast<T>(d.at[l]);
          if (d_gamma.data()) d_gamma(c) += static_cast<T>(du.at[l]);
          sum_d.at[group_of(c) - first_group] += d.at[l] * static_cast<double>(gamma(c));
          sum_du.at[group_of(c) - first_group] += du.at[l] * static_cast<double>(gamma(c));
        }
      });
      if (!dx) return;
      detail::for_each_channel_batch<T>(first, many, [&](auto at) {
        detail::Lanes<T> centre;
        detail::Lanes<T> inverse;
        detail::Lanes<T> slope;
        detail::Lanes<T> mean_d;
        detail::Lanes<T> mean_du;
        for (Index l = 0; l < at.count(); ++l) {
          const Index g = group_of(at.i + l);
          const auto scale = static_cast<double>(rstd(n, g));
          centre.at[l] = mean(n, g);
          inverse.at[l] = rstd(n, g);
          slope.at[l] = rstd(n, g) * gamma(channel_of(at.i + l));
          mean_d.at[l] = static_cast<T>(sum_d.at[g - first_group] / count * scale);
          mean_du.at[l] = static_cast<T>(sum_du.at[g - first_group] / count * scale);
        }
        const B m = centre.load();
        const B r = inverse.load();
        const B a = slope.load();
        const B md = mean_d.load();
        const B mdu = mean_du.load();
        for (Index p = 0; p < rows; ++p) {
          const B u = (at.load(in + p * row) - m) * r;
          const B change = simd::fnma<T>(u, mdu, simd::fma<T>(at.load(dy + p * row), a, -md));
          at.store(dx + p * row, at.load(dx + p * row) + change);
        }
      });
    });
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
