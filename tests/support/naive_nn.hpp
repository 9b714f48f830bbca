// SPDX-License-Identifier: MIT
// The plainest possible twins of the small kernels: scalar, in double, one element at a time.
#pragma once

#include <fovea/core/view.hpp>
#include <fovea/kernel/pool.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace naive {

using Doubles = std::vector<double>;

inline long double elu(long double x) { return x > 0 ? x : std::expm1(x); }
inline long double selu(long double x) {
  constexpr long double scale = 1.0507009873554804934193349852946L;
  constexpr long double alpha = 1.6732632423543772848170429916717L;
  return x > 0 ? scale * x : scale * alpha * std::expm1(x);
}
inline long double sigmoid(long double x) { return 1 / (1 + std::exp(-x)); }
inline long double softplus(long double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

/// Normalised x, y = gamma * normalised + beta, and their gradients. Arrays [n, p, c].
struct GroupNorm {
  Doubles y;
  Doubles d_x;
  Doubles d_gamma;
  Doubles d_beta;

  GroupNorm(const Doubles& x, const Doubles& gamma, const Doubles& beta, const Doubles& d_y, std::size_t n, std::size_t p,
            std::size_t c, std::size_t groups, double epsilon)
      : y(x.size()), d_x(x.size()), d_gamma(c), d_beta(c) {
    const std::size_t per = c / groups;
    const auto count = static_cast<double>(p * per);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t g = 0; g < groups; ++g) {
        const auto each = [&](auto body) {
          for (std::size_t j = 0; j < p; ++j) {
            for (std::size_t k = g * per; k < (g + 1) * per; ++k) body((i * p + j) * c + k, k);
          }
        };
        double mean = 0;
        each([&](std::size_t e, std::size_t) { mean += x[e] / count; });
        double variance = 0;
        each([&](std::size_t e, std::size_t) { variance += (x[e] - mean) * (x[e] - mean) / count; });
        const double rstd = 1 / std::sqrt(variance + epsilon);
        double mean_d = 0;
        double mean_du = 0;
        each([&](std::size_t e, std::size_t k) {
          const double u = (x[e] - mean) * rstd;
          y[e] = gamma[k] * u + beta[k];
          d_gamma[k] += d_y[e] * u;
          d_beta[k] += d_y[e];
          mean_d += d_y[e] * gamma[k] / count;
          mean_du += d_y[e] * gamma[k] * u / count;
        });
        each([&](std::size_t e, std::size_t k) {
          const double u = (x[e] - mean) * rstd;
          d_x[e] = rstd * (d_y[e] * gamma[k] - mean_d - u * mean_du);
        });
      }
    }
  }
};

/// Calls body(output element, input element) for every pixel under every window of [n, h, w, c].
template <class Body>
void for_each_pooled(const fovea::Extents<4>& x, const fovea::Extents<4>& y, const fovea::kernel::Pool2dOptions& o, Body body) {
  using fovea::Index;
  for (Index n = 0; n < y[0]; ++n) {
    for (Index i = 0; i < y[1]; ++i) {
      for (Index j = 0; j < y[2]; ++j) {
        for (Index c = 0; c < y[3]; ++c) {
          for (Index a = 0; a < o.height; ++a) {
            for (Index b = 0; b < o.width; ++b) {
              const Index iy = i * o.stride_y - o.pad_y + a;
              const Index ix = j * o.stride_x - o.pad_x + b;
              if (iy < 0 || iy >= x[1] || ix < 0 || ix >= x[2]) continue;
              body(static_cast<std::size_t>(((n * y[1] + i) * y[2] + j) * y[3] + c),
                   static_cast<std::size_t>(((n * x[1] + iy) * x[2] + ix) * x[3] + c));
            }
          }
        }
      }
    }
  }
}

/// One sample and unit of a GRU: next state, and its derivatives by gx_r, gx_z, gx_n, gh_n, h.
struct Gru {
  double out;
  double d_r, d_z, d_n, d_hn, d_h;
  Gru(double xr, double xz, double xn, double hr, double hz, double hn, double h) {
    const double r = 1 / (1 + std::exp(-(xr + hr)));
    const double z = 1 / (1 + std::exp(-(xz + hz)));
    const double n = std::tanh(xn + r * hn);
    out = (1 - z) * n + z * h;
    d_n = (1 - z) * (1 - n * n);
    d_hn = d_n * r;
    d_r = d_n * hn * r * (1 - r);
    d_z = (h - n) * z * (1 - z);
    d_h = z;
  }
};

}  // namespace naive
