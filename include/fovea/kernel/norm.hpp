// SPDX-License-Identifier: MIT
/// \file
/// Group normalisation of NHWC features, with the non-linearity behind it.
///
/// Y. Wu, K. He, "Group normalization", ECCV 2018: within each sample and each group of consecutive channels
///     y = f(gamma * (x - mean) / sqrt(variance + epsilon) + beta),
/// gamma and beta per channel, variance biased, as torch.nn.GroupNorm. One group is layer normalisation over positions
/// and channels, one channel per group is instance normalisation. f is Identity, Relu or Elu of kernel/activation.hpp: a pass
/// of its own would read and write everything once more, forward and backward.
///
/// Cost: two passes forward (moments, result) and two backward (sums, d_x); the second one finds a sample in L2, so memory
/// moves 8 bytes a number forward and 16 backward (20 with ELU, which looks at y). A number takes 0.2 ns forward and 0.3 to 0.6
/// backward in the caches, bound by loads; 2.1 for both in 8 MB, bound by memory; 2 to 4 each way where there is a single
/// position, and what happens once for each lane counts (float, AVX-512 at about 3 GHz, bench/kernel_elementwise.cpp,
/// bench/peers/layers.cpp).
///
/// Accuracy: blocks of 64 rows are summed in T, each lane centred on its first row, and the blocks joined in double about the
/// group's first number: squares never cancel. Float: within 1e-6 of the largest element; within 1e-4 for features of mean
/// 1000 and deviation 1.5, which is the rounding of their mean (tests/kernel/norm.cpp).
///
/// Why so: one read for mean and variance, where centring on the mean first would take two. Panels of up to four vectors follow
/// memory a line at a time; the activation and its derivative cost arithmetic only, since the passes wait for loads.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/activation.hpp>
#include <fovea/kernel/simd.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <type_traits>

namespace fovea::inline FOVEA_ABI {
namespace kernel {

namespace detail {

/// Channels are worked through in panels, a few vectors wide: what is summed for each lane stays in registers.
inline constexpr int kPanelVectors = simd::kRegisters >= 32 ? 4 : 2;
template <class T>
inline constexpr Index kPanel = kPanelVectors* simd::kWidth<T>;

/// A panel of `vectors` vectors, the last of which has `tail` lanes.
template <class T, int vectors>
struct Panel {
  using B = simd::Batch<T>;
  using Batches = std::array<B, static_cast<std::size_t>(vectors)>;
  static constexpr Index width = simd::kWidth<T>;
  Index tail;

  [[nodiscard]] FOVEA_ALWAYS_INLINE B load(const T* p, int v) const {
    return v + 1 < vectors || tail == width ? simd::load(p + v * width) : simd::load_partial(p + v * width, tail);
  }
  FOVEA_ALWAYS_INLINE void store(T* p, int v, const B& value) const {
    if (v + 1 < vectors || tail == width) {
      simd::store(p + v * width, value);
    } else {
      simd::store_partial(p + v * width, tail, value);
    }
  }
};
/// Calls body(panel) for a panel of `lanes` lanes, at most kPanel.
template <class T, class Body>
FOVEA_ALWAYS_INLINE void with_panel(Index lanes, Body&& body) {
  constexpr Index width = simd::kWidth<T>;
  const Index tail = (lanes - 1) % width + 1;
  if (lanes <= width) return body(Panel<T, 1>{tail});
  if constexpr (kPanelVectors > 2) {
    if (lanes > 3 * width) return body(Panel<T, 4>{tail});
    if (lanes > 2 * width) return body(Panel<T, 3>{tail});
  }
  body(Panel<T, 2>{tail});
}

/// One number for each lane of a panel, on the stack, and room for a vector behind them.
template <class T, class U = T>
struct Lanes {
  alignas(kAlignment) U at[static_cast<std::size_t>(kPanel<T> + simd::kWidth<T>)] = {};
  /// Lanes [first, first + count), and some behind them, which must not have been filled yet.
  FOVEA_ALWAYS_INLINE void fill(Index first, Index count, T value) {
    for (Index l = 0; l < count; l += simd::kWidth<T>) simd::store<T>(at + first + l, simd::broadcast<T>(value));
  }
  /// The sum of lanes [first, first + count): in vectors, since one chain of additions waits four cycles for each.
  [[nodiscard]] FOVEA_ALWAYS_INLINE U sum(Index first, Index count) const {
    auto total = simd::zero<U>();
    simd::for_each_batch<U>(count, [&](auto batch) { total = total + batch.load(at + first); });
    return simd::reduce_add<U>(total);
  }
  template <int vectors>
  [[nodiscard]] FOVEA_ALWAYS_INLINE auto load(const Panel<T, vectors>&) const {
    typename Panel<T, vectors>::Batches result;
    for (int v = 0; v < vectors; ++v) result[static_cast<std::size_t>(v)] = simd::load_aligned<T>(at + v * simd::kWidth<T>);
    return result;
  }
  template <int vectors>
  FOVEA_ALWAYS_INLINE void store(const Panel<T, vectors>&, const simd::Batch<T> (&values)[static_cast<std::size_t>(vectors)]) {
    for (int v = 0; v < vectors; ++v) simd::store_aligned<T>(at + v * simd::kWidth<T>, values[v]);
  }
};

/// What the passes over one sample's features share: rows of `row` numbers, which are several positions where the channels are
/// fewer than a vector's lanes and divide them (else half of the lanes would idle at 8 channels, and each masked store would
/// hold up the load of its neighbour).
template <class T>
struct NormShape {
  Index channels, groups, per_group, fold, rows, row;
  double count;  ///< numbers in a group

  NormShape(Index positions, Index channel_count, Index group_count) noexcept
      : channels(channel_count), groups(group_count), per_group(channels / groups), fold(1) {
    constexpr Index width = simd::kWidth<T>;
    if (channels < width && width % channels == 0 && positions % (width / channels) == 0) fold = width / channels;
    rows = positions / fold;
    row = channels * fold;
    count = static_cast<double>(positions) * static_cast<double>(per_group);
  }

  /// Calls body(first lane, lanes, first group, groups) for whole groups that fit into a panel, or one that does not.
  template <class Body>
  FOVEA_ALWAYS_INLINE void for_each_unit(Body&& body) const {
    if (fold > 1) return body(Index{0}, row, Index{0}, groups);
    const Index at_once = std::max<Index>(1, kPanel<T> / per_group);
    for (Index group = 0; group < groups; group += at_once) {
      const Index many = std::min(at_once, groups - group);
      body(group * per_group, many * per_group, group, many);
    }
  }
  /// Calls body(lane, lanes, channel, group) for the runs of lanes of one group among the lanes [first, first + lanes) of a
  /// row; lanes are counted from `first`, groups from `first_group`.
  template <class Body>
  FOVEA_ALWAYS_INLINE void for_each_run(Index first, Index lanes, Index first_group, Body&& body) const {
    Index channel = first;
    Index group = first / per_group;
    for (Index l = 0; l < lanes;) {
      const Index many = std::min((group + 1) * per_group - channel, lanes - l);
      body(l, many, channel, group - first_group);
      l += many;
      channel += many;
      ++group;
      if (channel == channels) channel = group = 0;
    }
  }
  /// A parameter per channel as one per lane.
  template <int vectors>
  [[nodiscard]] FOVEA_ALWAYS_INLINE auto spread(const Panel<T, vectors>& panel, View<const T, 1> parameter, Index first) const {
    typename Panel<T, vectors>::Batches result;
    if (fold == 1) {
      for (int v = 0; v < vectors; ++v) result[static_cast<std::size_t>(v)] = panel.load(parameter.data() + first, v);
      return result;
    }
    Lanes<T> repeated;
    for (Index l = 0; l < row; ++l) repeated.at[l] = parameter(l % channels);
    return repeated.load(panel);
  }
};

/// What turns x into the normalised value, for each lane of a panel: (x - mean) * slope + offset.
template <class T, int vectors>
struct NormLanes {
  typename Panel<T, vectors>::Batches mean, slope, offset;

  NormLanes(const NormShape<T>& shape, const Panel<T, vectors>& panel, Index first, Index lanes, Index first_group,
            const T* means, const T* rstds, View<const T, 1> gamma, View<const T, 1> beta) {
    Lanes<T> centre;
    Lanes<T> scale;
    shape.for_each_run(first, lanes, first_group, [&](Index l, Index many, Index, Index g) {
      centre.fill(l, many, means[first_group + g]);
      scale.fill(l, many, rstds[first_group + g]);
    });
    mean = centre.load(panel);
    slope = scale.load(panel);
    offset = shape.spread(panel, beta, first);
    const auto gain = shape.spread(panel, gamma, first);
    for (std::size_t v = 0; v < static_cast<std::size_t>(vectors); ++v) slope[v] = slope[v] * gain[v];
  }
};

/// Calls body(first, end) for blocks of rows, whose sums are kept in T.
template <class Body>
FOVEA_ALWAYS_INLINE void for_each_block(Index rows, Body&& body) {
  constexpr Index block = 64;
  for (Index first = 0; first < rows; first += block) body(first, std::min(rows, first + block));
}

}  // namespace detail

/// x, y [N, P, C] dense, P positions (H * W); gamma, beta [C]; mean, rstd [N, G] receive the mean and 1 / sqrt(variance
/// + epsilon) of each group for the backward call. The number of groups is G, which must divide C. In place where y is
/// x.
template <class T, class F = Identity>
void group_norm(View<const std::type_identity_t<T>, 3> x, View<const std::type_identity_t<T>, 1> gamma,
                View<const std::type_identity_t<T>, 1> beta, double epsilon, View<T, 3> y, View<T, 2> mean, View<T, 2> rstd,
                F = {}) {
  using B = simd::Batch<T>;
  FOVEA_ASSERT(mean.extent(1) > 0 && x.extent(2) % mean.extent(1) == 0 && x.is_dense() && y.is_dense());
  FOVEA_ASSERT(gamma.is_dense() && beta.is_dense() && mean.stride(1) == 1 && rstd.stride(1) == 1);
  const detail::NormShape<T> shape(x.extent(1), x.extent(2), mean.extent(1));
  const Index sample = x.extent(1) * x.extent(2);
  if (sample == 0) return;
  for (Index n = 0; n < x.extent(0); ++n) {
    const T* in = x.data() + n * sample;
    T* out = y.data() + n * sample;
    shape.for_each_unit([&](Index unit, Index unit_lanes, Index first_group, Index group_count) {
      detail::Lanes<T, double> sums;  // per group, of x - its first number
      detail::Lanes<T, double> squares;
      for (Index start = 0; start < unit_lanes; start += detail::kPanel<T>) {
        const Index first = unit + start;
        const Index lanes = std::min(detail::kPanel<T>, unit_lanes - start);
        detail::with_panel<T>(lanes, [&]<int vectors>(const detail::Panel<T, vectors>& panel) {
          detail::Lanes<T> shift;
          shape.for_each_run(first, lanes, first_group, [&](Index l, Index many, Index, Index g) {
            shift.fill(l, many, in[(first_group + g) * shape.per_group]);
          });
          detail::Lanes<T, double> lane_sum;
          detail::Lanes<T, double> lane_square;
          detail::for_each_block(shape.rows, [&](Index row, Index end) {
            // Each lane centred on the block's first row: a number as large as the others, so the squares do not cancel.
            const T* p = in + row * shape.row + first;
            B centre[vectors];
            B sum[vectors];
            B square[vectors];
            for (int v = 0; v < vectors; ++v) {
              centre[v] = panel.load(p, v);
              sum[v] = square[v] = B(T(0));
            }
            for (Index r = row + 1; r < end; ++r) {
              p += shape.row;
              for (int v = 0; v < vectors; ++v) {
                const B d = panel.load(p, v) - centre[v];
                sum[v] = sum[v] + d;
                square[v] = simd::fma<T>(d, d, square[v]);
              }
            }
            detail::Lanes<T> c;
            detail::Lanes<T> s;
            detail::Lanes<T> q;
            c.store(panel, centre);
            s.store(panel, sum);
            q.store(panel, square);
            const auto many = static_cast<double>(end - row);
            for (Index l = 0; l < vectors * simd::kWidth<T>; ++l) {
              const double base = static_cast<double>(c.at[l]) - static_cast<double>(shift.at[l]);
              const auto rest = static_cast<double>(s.at[l]);
              lane_sum.at[l] += many * base + rest;
              lane_square.at[l] += static_cast<double>(q.at[l]) + base * (2 * rest + many * base);
            }
          });
          shape.for_each_run(first, lanes, first_group, [&](Index l, Index many, Index, Index g) {
            sums.at[g] += lane_sum.sum(l, many);
            squares.at[g] += lane_square.sum(l, many);
          });
        });
      }
      for (Index g = 0; g < group_count; ++g) {
        const double average = sums.at[g] / shape.count;
        const double variance = std::max(0.0, squares.at[g] / shape.count - average * average);
        mean(n, first_group + g) = static_cast<T>(static_cast<double>(in[(first_group + g) * shape.per_group]) + average);
        rstd(n, first_group + g) = static_cast<T>(1 / std::sqrt(variance + epsilon));
      }
      for (Index start = 0; start < unit_lanes; start += detail::kPanel<T>) {
        const Index first = unit + start;
        const Index lanes = std::min(detail::kPanel<T>, unit_lanes - start);
        detail::with_panel<T>(lanes, [&]<int vectors>(const detail::Panel<T, vectors>& panel) {
          const detail::NormLanes<T, vectors> norm(shape, panel, first, lanes, first_group, &mean(n, 0), &rstd(n, 0), gamma,
                                                   beta);
          for (Index r = 0; r < shape.rows; ++r) {
            const T* from = in + r * shape.row + first;
            T* to = out + r * shape.row + first;
            for (int v = 0; v < vectors; ++v) {
              const auto k = static_cast<std::size_t>(v);
              panel.store(
                  to, v, F::template value<T>(simd::fma<T>(panel.load(from, v) - norm.mean[k], norm.slope[k], norm.offset[k])));
            }
          }
        });
      }
    });
  }
}

/// Adds to d_x [N, P, C], d_gamma and d_beta [C]; an empty view is skipped. Without `accumulate` d_x is overwritten, whatever
/// was there, which spares its read; d_gamma and d_beta are added to all the same. `y`: the output of the forward call, looked
/// at where F is neither Identity nor Relu. With d = d_y f', u = (x - mean) * rstd and the means taken over the group:
///     d_x += rstd * (d gamma - mean(d gamma) - u * mean(d gamma u)).
template <class T, class F = Identity>
void group_norm_backward(View<const std::type_identity_t<T>, 3> d_y, View<const std::type_identity_t<T>, 3> x,
                         View<const std::type_identity_t<T>, 3> y, View<const std::type_identity_t<T>, 1> gamma,
                         View<const std::type_identity_t<T>, 1> beta, View<const std::type_identity_t<T>, 2> mean,
                         View<const std::type_identity_t<T>, 2> rstd, View<T, 3> d_x, View<T, 1> d_gamma, View<T, 1> d_beta,
                         F = {}, bool accumulate = true) {
  using B = simd::Batch<T>;
  FOVEA_ASSERT(mean.extent(1) > 0 && x.extent(2) % mean.extent(1) == 0 && x.is_dense() && d_y.is_dense());
  FOVEA_ASSERT(gamma.is_dense() && beta.is_dense() && mean.stride(1) == 1 && rstd.stride(1) == 1);
  FOVEA_ASSERT((!d_gamma.data() || d_gamma.is_dense()) && (!d_beta.data() || d_beta.is_dense()));
  const detail::NormShape<T> shape(x.extent(1), x.extent(2), mean.extent(1));
  const Index sample = x.extent(1) * x.extent(2);
  if (sample == 0) return;
  for (Index n = 0; n < x.extent(0); ++n) {
    const T* in = x.data() + n * sample;
    const T* out = F::kCheap ? nullptr : y.data() + n * sample;
    const T* dy = d_y.data() + n * sample;
    T* dx = d_x.data() ? d_x.data() + n * sample : nullptr;
    // What reaches the normalised value of lane vector v at `at`, given x - mean.
    const auto reaching = [&](const auto& panel, int v, Index at, const B& centred, const B& slope, const B& offset) {
      const B d = panel.load(dy + at, v);
      if constexpr (std::is_same_v<F, Identity>) {
        return d;
      } else if constexpr (F::kCheap) {
        return F::template backward<T>(d, F::template value<T>(simd::fma<T>(centred, slope, offset)));
      } else {
        return F::template backward<T>(d, panel.load(out + at, v));
      }
    };
    shape.for_each_unit([&](Index unit, Index unit_lanes, Index first_group, Index group_count) {
      detail::Lanes<T, double> mean_d;   // of d gamma, per group
      detail::Lanes<T, double> mean_du;  // of d gamma u
      for (Index start = 0; start < unit_lanes; start += detail::kPanel<T>) {
        const Index first = unit + start;
        const Index lanes = std::min(detail::kPanel<T>, unit_lanes - start);
        detail::with_panel<T>(lanes, [&]<int vectors>(const detail::Panel<T, vectors>& panel) {
          const detail::NormLanes<T, vectors> norm(shape, panel, first, lanes, first_group, &mean(n, 0), &rstd(n, 0), gamma,
                                                   beta);
          detail::Lanes<T, double> d_lanes;
          detail::Lanes<T, double> du_lanes;
          detail::for_each_block(shape.rows, [&](Index row, Index end) {
            B d_sum[vectors];
            B du_sum[vectors];
            for (int v = 0; v < vectors; ++v) d_sum[v] = du_sum[v] = B(T(0));
            for (Index r = row; r < end; ++r) {
              const Index at = r * shape.row + first;
              for (int v = 0; v < vectors; ++v) {
                const auto k = static_cast<std::size_t>(v);
                const B centred = panel.load(in + at, v) - norm.mean[k];
                const B d = reaching(panel, v, at, centred, norm.slope[k], norm.offset[k]);
                d_sum[v] = d_sum[v] + d;
                du_sum[v] = simd::fma<T>(d, centred, du_sum[v]);
              }
            }
            detail::Lanes<T> d;
            detail::Lanes<T> du;
            d.store(panel, d_sum);
            du.store(panel, du_sum);
            for (Index l = 0; l < vectors * simd::kWidth<T>; ++l) {
              d_lanes.at[l] += static_cast<double>(d.at[l]);
              du_lanes.at[l] += static_cast<double>(du.at[l]);
            }
          });
          shape.for_each_run(first, lanes, first_group, [&](Index lane, Index many, Index channel, Index g) {
            const auto scale = static_cast<double>(rstd(n, first_group + g));
            const T* gain = gamma.data() + channel;
            T* to_beta = d_beta.data() ? d_beta.data() + channel : nullptr;
            T* to_gamma = d_gamma.data() ? d_gamma.data() + channel : nullptr;
            // A loop each, so that the compiler makes vectors of them.
            for (Index k = 0; k < many; ++k) du_lanes.at[lane + k] *= scale;
            for (Index k = 0; to_beta && k < many; ++k) to_beta[k] += static_cast<T>(d_lanes.at[lane + k]);
            for (Index k = 0; to_gamma && k < many; ++k) to_gamma[k] += static_cast<T>(du_lanes.at[lane + k]);
            for (Index k = 0; k < many; ++k) d_lanes.at[lane + k] *= static_cast<double>(gain[k]);
            for (Index k = 0; k < many; ++k) du_lanes.at[lane + k] *= static_cast<double>(gain[k]);
            mean_d.at[g] += d_lanes.sum(lane, many);
            mean_du.at[g] += du_lanes.sum(lane, many);
          });
        });
      }
      if (!dx) return;
      // d_x = slope d - constant - linear (x - mean)
      detail::Lanes<T> constant_of;
      detail::Lanes<T> linear_of;
      for (Index g = 0; g < group_count; ++g) {
        const auto scale = static_cast<double>(rstd(n, first_group + g));
        constant_of.at[g] = static_cast<T>(mean_d.at[g] / shape.count * scale);
        linear_of.at[g] = static_cast<T>(mean_du.at[g] / shape.count * scale * scale);
      }
      for (Index start = 0; start < unit_lanes; start += detail::kPanel<T>) {
        const Index first = unit + start;
        const Index lanes = std::min(detail::kPanel<T>, unit_lanes - start);
        detail::with_panel<T>(lanes, [&]<int vectors>(const detail::Panel<T, vectors>& panel) {
          const detail::NormLanes<T, vectors> norm(shape, panel, first, lanes, first_group, &mean(n, 0), &rstd(n, 0), gamma,
                                                   beta);
          detail::Lanes<T> constant;
          detail::Lanes<T> linear;
          shape.for_each_run(first, lanes, first_group, [&](Index l, Index many, Index, Index g) {
            constant.fill(l, many, constant_of.at[g]);
            linear.fill(l, many, linear_of.at[g]);
          });
          const auto k0 = constant.load(panel);
          const auto k1 = linear.load(panel);
          const auto every_row = [&](auto add) {
            for (Index r = 0; r < shape.rows; ++r) {
              const Index at = r * shape.row + first;
              for (int v = 0; v < vectors; ++v) {
                const auto k = static_cast<std::size_t>(v);
                const B centred = panel.load(in + at, v) - norm.mean[k];
                const B d = reaching(panel, v, at, centred, norm.slope[k], norm.offset[k]);
                const B change = simd::fma<T>(d, norm.slope[k], simd::fnma<T>(centred, k1[k], -k0[k]));
                if constexpr (add) {
                  panel.store(dx + at, v, panel.load(dx + at, v) + change);
                } else {
                  panel.store(dx + at, v, change);
                }
              }
            }
          };
          if (accumulate) {
            every_row(std::true_type{});
          } else {
            every_row(std::false_type{});
          }
        });
      }
    });
  }
}

}  // namespace kernel
}  // namespace fovea::inline FOVEA_ABI
