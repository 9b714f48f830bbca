// SPDX-License-Identifier: MIT
#pragma once

#include <fovea/core/view.hpp>
#include <fovea/kernel/conv2d.hpp>

/// The plainest possible twin of each kernel, sums in double.
namespace naive {

using fovea::Index;
using fovea::View;

/// c = a b + beta c.
template <class T>
void gemm(View<const T, 2> a, View<const T, 2> b, View<T, 2> c, T beta) {
  for (Index i = 0; i < c.extent(0); ++i) {
    for (Index j = 0; j < c.extent(1); ++j) {
      double sum = beta == T(0) ? 0.0 : static_cast<double>(c(i, j));
      for (Index k = 0; k < a.extent(1); ++k) sum += static_cast<double>(a(i, k)) * static_cast<double>(b(k, j));
      c(i, j) = static_cast<T>(sum);
    }
  }
}

/// Calls body(n, oy, ox, kh, kw, iy, ix) for every tap of a convolution that reads inside the image.
template <class Body>
void for_each_tap(const fovea::Extents<4>& x, const fovea::Extents<4>& w, const fovea::Extents<4>& y,
                  const fovea::kernel::Conv2dOptions& options, Body&& body) {
  for (Index n = 0; n < y[0]; ++n) {
    for (Index oy = 0; oy < y[1]; ++oy) {
      for (Index ox = 0; ox < y[2]; ++ox) {
        for (Index kh = 0; kh < w[0]; ++kh) {
          for (Index kw = 0; kw < w[1]; ++kw) {
            const Index iy = oy * options.stride_y - options.pad_y + kh;
            const Index ix = ox * options.stride_x - options.pad_x + kw;
            if (iy >= 0 && iy < x[1] && ix >= 0 && ix < x[2]) body(n, oy, ox, kh, kw, iy, ix);
          }
        }
      }
    }
  }
}

/// y = x * w + bias, in double.
template <class T>
void conv2d(View<const T, 4> x, View<const T, 4> w, View<const T, 1> bias, const fovea::kernel::Conv2dOptions& options,
            View<double, 4> y) {
  double* out = y.data();
  for (Index i = 0; i < y.size(); ++i) out[i] = bias.empty() ? 0.0 : static_cast<double>(bias[i % y.extent(3)]);
  for_each_tap(x.extents(), w.extents(), y.extents(), options,
               [&](Index n, Index oy, Index ox, Index kh, Index kw, Index iy, Index ix) {
                 double* to = &y(n, oy, ox, 0);  // pointers: these loops run under sanitizers too
                 for (Index ci = 0; ci < x.extent(3); ++ci) {
                   const auto value = static_cast<double>(x(n, iy, ix, ci));
                   const T* from = &w(kh, kw, ci, 0);
                   for (Index co = 0; co < y.extent(3); ++co) to[co] += value * static_cast<double>(from[co]);
                 }
               });
}

/// dx, dw and db += the gradients of conv2d, in double.
template <class T>
void conv2d_backward(View<const T, 4> dy, View<const T, 4> x, View<const T, 4> w, const fovea::kernel::Conv2dOptions& options,
                     View<double, 4> dx, View<double, 4> dw, View<double, 1> db) {
  for (Index i = 0; i < dy.size(); ++i) db[i % dy.extent(3)] += static_cast<double>(dy.data()[i]);
  for_each_tap(x.extents(), w.extents(), dy.extents(), options,
               [&](Index n, Index oy, Index ox, Index kh, Index kw, Index iy, Index ix) {
                 for (Index ci = 0; ci < x.extent(3); ++ci) {
                   const T* slopes = &dy(n, oy, ox, 0);
                   const T* weights = &w(kh, kw, ci, 0);
                   double* to = &dw(kh, kw, ci, 0);
                   const auto value = static_cast<double>(x(n, iy, ix, ci));
                   double sum = 0;
                   for (Index co = 0; co < dy.extent(3); ++co) {
                     const auto slope = static_cast<double>(slopes[co]);
                     sum += slope * static_cast<double>(weights[co]);
                     to[co] += slope * value;
                   }
                   dx(n, iy, ix, ci) += sum;
                 }
               });
}

}  // namespace naive
