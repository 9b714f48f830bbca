// SPDX-License-Identifier: MIT
/// \file
/// The Gaussian with a full covariance L L^T, sampled pathwise: z = m + L noise.
///
/// Needs Eigen, for the decomposition of a covariance alone: everything else is loops over the D (D + 1) / 2 numbers of L, in
/// double, whose derivatives are kept going forward. Meant for the few dimensions of a location: a divergence takes O(D^3).
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/kernel/special.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/kept.hpp>

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include <algorithm>
#include <cmath>

namespace fovea::inline FOVEA_ABI {
namespace sample {

/// `mean` [B, D]; `cholesky` [B, D (D + 1) / 2], the lower triangle of L row by row, with the logarithm of its diagonal: any
/// numbers will do.
template <class T>
struct FullGaussian {
  Var<T> mean;
  Var<T> cholesky;

  static constexpr bool pathwise = true;
  template <class F>
  [[nodiscard]] FullGaussian map(F f) const {
    return {f(mean), f(cholesky)};
  }
  [[nodiscard]] Index batch() const noexcept { return mean.shape[0]; }
  [[nodiscard]] Index dimension() const noexcept { return mean.shape[1]; }
};

namespace detail {

/// Throws Error unless the shapes fit.
template <class T>
void require_full_gaussian(const char* what, const FullGaussian<T>& q) {
  nn::detail::require_rank(what, q.mean, 2);
  const Index d = q.dimension();
  nn::detail::require_shape(what, "a packed Cholesky factor", q.cholesky, Shape{q.batch(), d * (d + 1) / 2});
}

/// Row i of a packed triangle.
template <class T>
[[nodiscard]] T* packed_row(T* triangle, Index i) noexcept {
  return triangle + i * (i + 1) / 2;
}
/// The packed triangle with the exponential of its diagonal.
template <class T>
void unpack(const T* packed, Index dimension, double* triangle) {
  for (Index i = 0; i < dimension; ++i) {
    for (Index j = 0; j <= i; ++j) {
      const auto value = static_cast<double>(packed_row(packed, i)[j]);
      packed_row(triangle, i)[j] = j == i ? std::exp(value) : value;
    }
  }
}
/// x becomes L^-1 x; of the numbers before `first`, which are 0, it stays 0.
inline void solve_lower(const double* triangle, Index dimension, double* x, Index first = 0, Index stride = 1) {
  for (Index i = first; i < dimension; ++i) {
    const double* row = packed_row(triangle, i);
    double sum = x[i * stride];
    for (Index j = first; j < i; ++j) sum -= row[j] * x[j * stride];
    x[i * stride] = sum / row[i];
  }
}
/// x becomes L^-T x.
inline void solve_upper(const double* triangle, Index dimension, double* x, Index stride = 1) {
  for (Index i = dimension; i-- > 0;) {
    double sum = x[i * stride];
    for (Index j = i + 1; j < dimension; ++j) sum -= packed_row(triangle, j)[i] * x[j * stride];
    x[i * stride] = sum / packed_row(triangle, i)[i];
  }
}

}  // namespace detail

/// The Gaussian of this mean [B, D] and these covariances [B, D, D], of which the lower triangles are read; no gradient goes
/// to them. Throws Error where one is not positive definite.
template <Context C>
[[nodiscard]] FullGaussian<typename C::Scalar> full_gaussian(C& context, const VarOf<C>& mean,
                                                             View<const typename C::Scalar, 3> covariance) {
  using T = typename C::Scalar;
  nn::detail::require_rank("full Gaussian", mean, 2);
  const Index batch = mean.shape[0];
  const Index dimension = mean.shape[1];
  require(covariance.extent(0) == batch && covariance.extent(1) == dimension && covariance.extent(2) == dimension,
          "full Gaussian: covariances of shape ", Shape{batch, dimension, dimension}.to_string(), " expected, ",
          Shape{covariance.extent(0), covariance.extent(1), covariance.extent(2)}.to_string(), " came");
  const FullGaussian<T> q{mean, context.constant(Shape{batch, dimension * (dimension + 1) / 2})};
  Eigen::MatrixXd matrix(dimension, dimension);
  for (Index b = 0; b < batch; ++b) {
    for (Index i = 0; i < dimension; ++i) {
      for (Index j = 0; j <= i; ++j) matrix(i, j) = matrix(j, i) = static_cast<double>(covariance(b, i, j));
    }
    const Eigen::LLT<Eigen::MatrixXd> llt(matrix);
    require(matrix.allFinite() && llt.info() == Eigen::Success,
            "full Gaussian: a positive definite covariance expected, that of sample ", b, " is not");
    const Eigen::MatrixXd lower = llt.matrixL();
    T* packed = q.cholesky.value + b * q.cholesky.shape[1];
    for (Index i = 0; i < dimension; ++i) {
      for (Index j = 0; j <= i; ++j) *packed++ = static_cast<T>(i == j ? std::log(lower(i, j)) : lower(i, j));
    }
  }
  return q;
}

/// A pathwise sample z [B, D] of `q`; `noise` [B, D] is standard normal and wants no gradient.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const FullGaussian<typename C::Scalar>& q, const VarOf<C>& noise) {
  using T = typename C::Scalar;
  detail::require_full_gaussian("full Gaussian draw", q);
  nn::detail::require_shape("full Gaussian draw", "noise", noise, q.mean.shape);
  const VarOf<C> z = nn::output(context, q.mean.shape, q.mean, q.cholesky);
  const Index dimension = q.dimension();
  const Index packed = q.cholesky.shape[1];
  for (Index b = 0; b < q.batch(); ++b) {
    const T* e = noise.value + b * dimension;
    for (Index i = 0; i < dimension; ++i) {
      const T* row = detail::packed_row(q.cholesky.value + b * packed, i);
      double sum = std::exp(static_cast<double>(row[i])) * static_cast<double>(e[i]);
      for (Index j = 0; j < i; ++j) sum += static_cast<double>(row[j]) * static_cast<double>(e[j]);
      z.value[b * dimension + i] = static_cast<T>(static_cast<double>(q.mean.value[b * dimension + i]) + sum);
    }
  }
  if (!z.gradient) return z;
  context.record([q, noise, z, dimension, packed] {
    if (q.mean.gradient) kernel::accumulate<T>(z.gradients(), q.mean.gradients());
    for (Index b = 0; q.cholesky.gradient && b < q.batch(); ++b) {
      const T* e = noise.value + b * dimension;
      for (Index i = 0; i < dimension; ++i) {
        const T d_z = z.gradient[b * dimension + i];
        const T* row = detail::packed_row(q.cholesky.value + b * packed, i);
        T* d_row = detail::packed_row(q.cholesky.gradient + b * packed, i);
        for (Index j = 0; j < i; ++j) d_row[j] += d_z * e[j];
        d_row[i] += d_z * std::exp(row[i]) * e[i];
      }
    }
  });
  return z;
}
/// The same with noise of these streams.
template <Context C>
[[nodiscard]] VarOf<C> draw(C& context, const FullGaussian<typename C::Scalar>& q, const NoiseKey& key) {
  return draw(context, q, normal_noise(context, key, q.batch(), q.dimension()));
}

/// Both are m [B, D].
template <Context C>
[[nodiscard]] VarOf<C> mean(C& /*context*/, const FullGaussian<typename C::Scalar>& q) {
  return q.mean;
}
template <Context C>
[[nodiscard]] VarOf<C> mode(C& /*context*/, const FullGaussian<typename C::Scalar>& q) {
  return q.mean;
}

/// log q(z) per sample [B], in nats, with gradients to z [B, D] and to q. With y = L^-1 (z - m) and w = L^-T y:
///
///     log q = -|y|^2 / 2 - sum log L_ii - D log(2 pi) / 2,    d/dz = -w,    d/dL_ij = w_i y_j,    d/dlog L_ii = w_i y_i L_ii
///     - 1.
template <Context C>
[[nodiscard]] VarOf<C> log_density(C& context, const FullGaussian<typename C::Scalar>& q, const VarOf<C>& z) {
  using T = typename C::Scalar;
  detail::require_full_gaussian("full Gaussian log-density", q);
  nn::detail::require_shape("full Gaussian log-density", "a point", z, q.mean.shape);
  const VarOf<C> out = nn::output(context, Shape{q.batch()}, q.mean, q.cholesky, z);
  const Index dimension = q.dimension();
  const Index packed = q.cholesky.shape[1];
  T* d_mean = out.gradient ? context.scratch(2 * q.mean.size()) : nullptr;
  T* d_z = d_mean + (out.gradient ? q.mean.size() : 0);
  T* d_cholesky = out.gradient ? context.scratch(q.cholesky.size()) : nullptr;
  auto* triangle = context.template scratch<double>(packed + 2 * dimension);
  double* y = triangle + packed;
  double* w = y + dimension;
  for (Index b = 0; b < q.batch(); ++b) {
    detail::unpack(q.cholesky.value + b * packed, dimension, triangle);
    double sum = -kernel::special::kHalfLogTwoPi * static_cast<double>(dimension);
    for (Index i = 0; i < dimension; ++i) {
      const Index at = b * dimension + i;
      y[i] = static_cast<double>(z.value[at]) - static_cast<double>(q.mean.value[at]);
      sum -= static_cast<double>(detail::packed_row(q.cholesky.value + b * packed, i)[i]);
    }
    detail::solve_lower(triangle, dimension, y);
    for (Index i = 0; i < dimension; ++i) sum -= 0.5 * y[i] * y[i];
    out.value[b] = static_cast<T>(sum);
    if (!out.gradient) continue;
    std::copy_n(y, dimension, w);
    detail::solve_upper(triangle, dimension, w);
    for (Index i = 0; i < dimension; ++i) {
      d_mean[b * dimension + i] = static_cast<T>(w[i]);
      d_z[b * dimension + i] = static_cast<T>(-w[i]);
      T* d_row = detail::packed_row(d_cholesky + b * packed, i);
      for (Index j = 0; j < i; ++j) d_row[j] = static_cast<T>(w[i] * y[j]);
      d_row[i] = static_cast<T>(w[i] * y[i] * detail::packed_row(triangle, i)[i] - 1);
    }
  }
  if (!out.gradient) return out;
  context.record([=] {
    detail::add_rows(out, q.mean, d_mean);
    detail::add_rows(out, z, d_z);
    detail::add_rows(out, q.cholesky, d_cholesky);
  });
  return out;
}

/// sum of log L_ii + D log(2 pi e) / 2, per sample [B].
template <Context C>
[[nodiscard]] VarOf<C> entropy(C& context, const FullGaussian<typename C::Scalar>& q) {
  using T = typename C::Scalar;
  detail::require_full_gaussian("full Gaussian entropy", q);
  const VarOf<C> out = nn::output(context, Shape{q.batch()}, q.cholesky);
  const Index dimension = q.dimension();
  const Index packed = q.cholesky.shape[1];
  for (Index b = 0; b < q.batch(); ++b) {
    double sum = (kernel::special::kHalfLogTwoPi + 0.5) * static_cast<double>(dimension);
    for (Index i = 0; i < dimension; ++i) {
      sum += static_cast<double>(detail::packed_row(q.cholesky.value + b * packed, i)[i]);
    }
    out.value[b] = static_cast<T>(sum);
  }
  if (!out.gradient) return out;
  context.record([=] {
    for (Index b = 0; b < q.batch(); ++b) {
      for (Index i = 0; i < dimension; ++i) detail::packed_row(q.cholesky.gradient + b * packed, i)[i] += out.gradient[b];
    }
  });
  return out;
}

/// KL(q || p) per sample [B], in nats, with gradients to both. With M = L_p^-1 L_q, y = L_p^-1 (m_q - m_p) and
/// G = L_p^-T (M M^T + y y^T), of which the lower triangle counts:
///
///     KL = (|M|^2 - D + |y|^2) / 2 - sum log M_ii,
///     d/dm_q = -d/dm_p = L_p^-T y,
///     d/dL_q = L_p^-T M,    d/dlog L_q,ii = L_q,ii (L_p^-T M)_ii - 1,
///     d/dL_p = -G,          d/dlog L_p,ii = 1 - L_p,ii G_ii.
template <Context C>
[[nodiscard]] VarOf<C> kl_divergence(C& context, const FullGaussian<typename C::Scalar>& q,
                                     const FullGaussian<typename C::Scalar>& p) {
  using T = typename C::Scalar;
  detail::require_full_gaussian("full Gaussian KL", q);
  detail::require_full_gaussian("full Gaussian KL", p);
  nn::detail::require_shape("full Gaussian KL", "a prior's mean", p.mean, q.mean.shape);
  const VarOf<C> kl = nn::output(context, Shape{q.batch()}, q.mean, q.cholesky, p.mean, p.cholesky);
  const Index n = q.dimension();
  const Index packed = q.cholesky.shape[1];
  T* d_means = kl.gradient ? context.scratch(2 * q.mean.size()) : nullptr;
  T* d_choleskys = kl.gradient ? context.scratch(2 * q.cholesky.size()) : nullptr;
  auto* triangle_q = context.template scratch<double>(2 * packed + 2 * n * n + 2 * n);
  double* triangle_p = triangle_q + packed;
  double* m = triangle_p + packed;  // M, then L_p^-T M
  double* g = m + n * n;
  double* y = g + n * n;
  double* w = y + n;
  for (Index b = 0; b < q.batch(); ++b) {
    detail::unpack(q.cholesky.value + b * packed, n, triangle_q);
    detail::unpack(p.cholesky.value + b * packed, n, triangle_p);
    double sum = 0;
    std::fill_n(m, n * n, 0.0);
    for (Index j = 0; j < n; ++j) {
      for (Index i = j; i < n; ++i) m[i * n + j] = detail::packed_row(triangle_q, i)[j];
      detail::solve_lower(triangle_p, n, m + j, j, n);
      // M_jj^2 / 2 - log M_jj - 1 / 2, which keeps its digits where q is close to p.
      const double log_ratio = static_cast<double>(detail::packed_row(q.cholesky.value + b * packed, j)[j]) -
                               static_cast<double>(detail::packed_row(p.cholesky.value + b * packed, j)[j]);
      sum += 0.5 * std::expm1(2 * log_ratio) - log_ratio;
      for (Index i = j + 1; i < n; ++i) sum += 0.5 * m[i * n + j] * m[i * n + j];
    }
    for (Index i = 0; i < n; ++i) {
      y[i] = static_cast<double>(q.mean.value[b * n + i]) - static_cast<double>(p.mean.value[b * n + i]);
    }
    detail::solve_lower(triangle_p, n, y);
    for (Index i = 0; i < n; ++i) sum += 0.5 * y[i] * y[i];
    kl.value[b] = static_cast<T>(sum);
    if (!kl.gradient) continue;
    std::copy_n(y, n, w);
    detail::solve_upper(triangle_p, n, w);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) {
        double dot = y[i] * y[j];
        for (Index k = 0; k <= std::min(i, j); ++k) dot += m[i * n + k] * m[j * n + k];
        g[i * n + j] = dot;
      }
    }
    for (Index j = 0; j < n; ++j) {
      detail::solve_upper(triangle_p, n, g + j, n);
      detail::solve_upper(triangle_p, n, m + j, n);
    }
    for (Index i = 0; i < n; ++i) {
      d_means[b * n + i] = static_cast<T>(w[i]);
      d_means[q.mean.size() + b * n + i] = static_cast<T>(-w[i]);
      T* d_q = detail::packed_row(d_choleskys + b * packed, i);
      T* d_p = detail::packed_row(d_choleskys + q.cholesky.size() + b * packed, i);
      for (Index j = 0; j < i; ++j) {
        d_q[j] = static_cast<T>(m[i * n + j]);
        d_p[j] = static_cast<T>(-g[i * n + j]);
      }
      d_q[i] = static_cast<T>(detail::packed_row(triangle_q, i)[i] * m[i * n + i] - 1);
      d_p[i] = static_cast<T>(1 - detail::packed_row(triangle_p, i)[i] * g[i * n + i]);
    }
  }
  if (!kl.gradient) return kl;
  context.record([=] {
    detail::add_rows(kl, q.mean, d_means);
    detail::add_rows(kl, p.mean, d_means + q.mean.size());
    detail::add_rows(kl, q.cholesky, d_choleskys);
    detail::add_rows(kl, p.cholesky, d_choleskys + q.cholesky.size());
  });
  return kl;
}

}  // namespace sample
}  // namespace fovea::inline FOVEA_ABI
