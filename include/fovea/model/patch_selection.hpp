// SPDX-License-Identifier: MIT
/// \file
/// Differentiable patch selection: the k patches of best score, smoothed by noise on the scores so that these learn.
///
/// J.-B. Cordonnier, A. Mahendran, A. Dosovitskiy, D. Weissenborn, J. Uszkoreit, T. Unterthiner, "Differentiable patch
/// selection for image recognition", CVPR 2021.
///
///     s = scores(proxy), to [0, 1]                  over the cells of a map
///     Y = E[top_k(s + sigma noise)]  [k, cells]     sample/perturbed_top_k.hpp
///     patch j = sum_i Y_ji patch of cell i          j = 1..k, in training; at test time the k best themselves
///     answer = head(mean over j of f(patch j))
///
/// As published: what is weighted are the *pixels*, so that training costs k evaluations of f and not one for every cell; sigma
/// falls linearly to 0 over the training; the scores are stretched to [0, 1] image by image (their extremes with them); the
/// entropy of their softmax before that is kept up; the scorer (3x3 convolutions of 8, 16, 32 and 1 channels, ReLU between, the
/// maximum of 8x8); the mean and a head of two layers with swish.
///
/// Differences: the scorer's edges are padded, so that its cells tile the image. The gradient of Y is that of
/// perturbed_top_k, of less variance. The weighted patches are summed cell by cell, those of weight 0 not read; going back
/// every cell is read again, so the memory needed is that of one patch: the images must stay until backward() has run, and a
/// training step reads each of them about twice. No Sinkhorn operator, no transformer over the patches.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/source.hpp>
#include <fovea/kernel/attention.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/model/model.hpp>
#include <fovea/model/networks.hpp>
#include <fovea/model/patch_grid.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/model/task.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/pool.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/grid.hpp>
#include <fovea/sample/perturbed_top_k.hpp>
#include <fovea/sample/top_k.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// The published scorer: 3x3 convolutions of 8, 16, 32 and 1 channels, ReLU between, then the greatest score of 8x8 pixels of
/// the proxy. Extents that are multiples of 8 leave nothing over. About 6,100 multiply-adds a pixel.
class ScoreMap {
 public:
  ScoreMap(ParameterLayout& layout, std::string_view name, Extents<2> /*extent*/, Index channels)
      : ScoreMap(layout.scope(name), layout, channels) {}

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return context.scope([&] {
      const VarOf<C> y = context.scope([&] { return third_(context, second_(context, first_(context, x))); });
      return nn::max_pool2d(context, fourth_(context, y), nn::Pool2dOptions::square(kPool));
    });
  }
  [[nodiscard]] static constexpr Index features() noexcept { return 1; }
  [[nodiscard]] static constexpr Extents<2> map_extent(Extents<2> extent) noexcept {
    return {extent[0] / kPool, extent[1] / kPool};
  }

 private:
  static constexpr Index kPool = 8;

  ScoreMap(const ParameterLayout::Scope&, ParameterLayout& layout, Index channels)
      : first_(layout, "conv1", channels, 8, 1),
        second_(layout, "conv2", 8, 16, 1),
        third_(layout, "conv3", 16, 32, 1),
        fourth_(layout, "conv4", 32, 1, {.kernel = 3, .padding = 1}) {}

  detail::ConvRelu first_;
  detail::ConvRelu second_;
  detail::ConvRelu third_;
  nn::Conv2d fourth_;
};

namespace detail {

/// Every row of x [B, n] stretched to [0, 1]: (x - min) / (max - min + 1e-5), with a gradient to the extremes too.
template <Context C>
[[nodiscard]] VarOf<C> from_0_to_1(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  const auto [rows, size] = nn::detail::as_rows(x.shape);
  const VarOf<C> y = nn::output(context, x.shape, x);
  const auto stretch = [x, size = size](Index r) {
    const T* row = x.value + r * size;
    const auto [low, high] = std::minmax_element(row, row + size);
    struct Stretch {
      Index low, high;
      T factor;
    };
    return Stretch{low - row, high - row, T(1) / (*high - *low + T(1e-5))};
  };
  for (Index r = 0; r < rows; ++r) {
    const auto s = stretch(r);
    const T* row = x.value + r * size;
    for (Index i = 0; i < size; ++i) y.value[r * size + i] = (row[i] - row[s.low]) * s.factor;
  }
  if (y.gradient) {
    context.record([=, rows = rows, size = size] {
      for (Index r = 0; r < rows; ++r) {
        const auto s = stretch(r);
        const T* v = y.value + r * size;
        const T* d = y.gradient + r * size;
        T* to = x.gradient + r * size;
        double sum = 0;
        double along = 0;
        for (Index i = 0; i < size; ++i) {
          sum += static_cast<double>(d[i]);
          along += static_cast<double>(d[i]) * static_cast<double>(v[i]);
          to[i] += s.factor * d[i];
        }
        to[s.low] += s.factor * static_cast<T>(along - sum);
        to[s.high] -= s.factor * static_cast<T>(along);
      }
    });
  }
  return y;
}

/// Weighted means of patches: weights [B, k, cells] to [B k, h, w, C], with a gradient to the weights.
template <Context C, ImageSource Source>
[[nodiscard]] VarOf<C> weighted_patches(C& context, std::span<const Source> images, const sample::Grid& grid, Extents<2> patch,
                                        VarOf<C> weights) {
  using T = typename C::Scalar;
  const Index batch = weights.shape[0];
  const Index k = weights.shape[1];
  const Index n = weights.shape[2];
  const Index channels = images[0].channels();
  const Index size = patch[0] * patch[1] * channels;
  const VarOf<C> y = nn::output(context, Shape{batch * k, patch[0], patch[1], channels}, weights);
  const View<T, 4> one(context.scratch(size), {1, patch[0], patch[1], channels});
  // visit(b, i) for every cell i of every image b for which `wanted`, its pixels in `one`. Row by row: what a file has decoded
  // for one row of cells may be forgotten at the next.
  const auto for_each_patch = [=, row = context.template scratch<glimpse::Region<double>>(grid.columns)](auto wanted,
                                                                                                         auto visit) {
    for (Index b = 0; b < batch; ++b) {
      const Source& image = images[static_cast<std::size_t>(b)];
      const PatchGrid places = PatchGrid::around(grid, patch, image.extent());
      for (Index first = 0; first < n; first += grid.columns) {
        std::size_t count = 0;
        for (Index i = first; i < first + grid.columns; ++i) {
          if (wanted(b, i)) row[count++] = places[i];
        }
        glimpse::prepare(glimpse::Patch{.level = 0}, image, std::span<const glimpse::Region<double>>(row, count), patch);
        for (Index i = first; i < first + grid.columns; ++i) {
          if (!wanted(b, i)) continue;
          const glimpse::Region<double> region = places[i];
          read_patches(image, std::span<const glimpse::Region<double>>(&region, 1), one);
          visit(b, i);
        }
      }
    }
  };
  const auto weight = [=](Index b, Index j, Index i) { return weights.value[(b * k + j) * n + i]; };
  std::fill_n(y.value, y.size(), T(0));
  for_each_patch(
      [=](Index b, Index i) {
        for (Index j = 0; j < k; ++j) {
          if (weight(b, j, i) != T(0)) return true;
        }
        return false;
      },
      [=](Index b, Index i) {
        for (Index j = 0; j < k; ++j) {
          const T w = weight(b, j, i);
          if (w != T(0)) kernel::axpy<T>(w, {one.data(), {size}}, View<T, 1>(y.value + (b * k + j) * size, {size}));
        }
      });
  if (y.gradient) {
    context.record([=, along = context.scratch(k)] {
      for_each_patch([](Index, Index) { return true; },
                     [=](Index b, Index i) {
                       kernel::key_scores<T>({y.gradient + b * k * size, {1, k, size}}, {one.data(), {1, size}},
                                             View<T, 2>(along, {1, k}));
                       for (Index j = 0; j < k; ++j) weights.gradient[(b * k + j) * n + i] += along[j];
                     });
    });
  }
  return y;
}

}  // namespace detail

struct PatchSelectionOptions {
  Index classes = 10;
  Index channels = 1;             ///< of the image
  Extents<2> proxy = {160, 160};  ///< {height, width} of what the scorer sees
  Extents<2> patch = {50, 50};    ///< {height, width} in pixels of the original
  Index patches = 5;              ///< k, of an image
  double sigma = 0.05;            ///< deviation of the noise as training starts, above 0; the scores lie in [0, 1]
  Index samples = 500;            ///< draws of the noise
  double entropy = 0.01;          ///< weight of the scores' entropy in nats, which is to be high; at least 0
  Question question = {};
};

/// `Scorer` gives a map of one feature, the scores of the cells.
template <MapNetwork Scorer = ScoreMap, VectorNetwork Features = ConvVector>
class BasicPatchSelection {
 public:
  /// Throws Error on fewer than 2 classes (of other tasks than one_class: 1), an empty proxy or patch, fewer than 1 patch or
  /// more than cells, no sample, a sigma that is not positive, a negative entropy, or a scorer of more than one feature.
  explicit BasicPatchSelection(const PatchSelectionOptions& options) : BasicPatchSelection(options, ParameterLayout{}) {}

  [[nodiscard]] const ParameterLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const PatchSelectionOptions& options() const noexcept { return options_; }
  /// The cells of the scores.
  [[nodiscard]] sample::Grid grid() const noexcept {
    const Extents<2> map = scorer_.map_extent(options_.proxy);
    return {map[0], map[1]};
  }
  /// Deviation of the noise at that progress.
  [[nodiscard]] double sigma(double progress) const noexcept { return options_.sigma * std::max(0.0, 1 - progress); }

  /// Scores of the cells as the scorer gives them [B, cells]; proxies [B, h, w, C].
  template <Context C>
  [[nodiscard]] VarOf<C> scores(C& context, VarOf<C> proxies) const {
    return scorer_(context, proxies).reshape({proxies.shape[0], grid().cells()});
  }

  /// As at test time: from the k best patches.
  template <Context C, ImageSource Source>
  [[nodiscard]] PatchAnswer<typename C::Scalar> forward(C& context, VarOf<C> proxies, std::span<const Source> images) const {
    check(proxies, images);
    return best(context, scores(context, proxies), images);
  }

  /// From weighted means of patches, the noise being that of `moment`; at progress 1 from the k best. What reaches the scorer
  /// is an estimate of its gradient.
  template <Context C, ImageSource Source>
  [[nodiscard]] Outcome<typename C::Scalar> loss(C& context, const Minibatch<typename C::Scalar, Source>& minibatch,
                                                 const Moment& moment) const {
    using T = typename C::Scalar;
    check(minibatch.proxies, minibatch.images);
    const VarOf<C> scores = this->scores(context, minibatch.proxies);
    VarOf<C> logits;
    if (const double sigma = this->sigma(moment.progress); sigma > 0) {
      const VarOf<C> chosen = sample::perturbed_top_k(context, detail::from_0_to_1(context, scores), moment.noise,
                                                      options_.patches, options_.samples, sigma);
      logits = answer(context, detail::weighted_patches(context, minibatch.images, grid(), options_.patch, chosen));
    } else {
      logits = best(context, scores, minibatch.images).logits;
    }
    VarOf<C> loss = nn::sum(context, options_.question.loss(context, logits, minibatch.targets));
    if (options_.entropy > 0) {
      loss = nn::axpy(context, static_cast<T>(-options_.entropy),
                      nn::sum(context, sample::entropy(context, sample::Categorical<T>{scores})), loss);
    }
    return {loss, logits};
  }

  /// One image, from its k best patches, the best first. Throws Error on other channels than the model's.
  template <ImageSource Source>
  [[nodiscard]] Prediction classify(const Source& image, const Parameters<float>& parameters, Arena& arena) const {
    Inference<float> context(arena, parameters.values());
    const Var<float> thumbnail = context.constant(Shape{1, options_.proxy[0], options_.proxy[1], options_.channels});
    proxy(image, thumbnail.template mutable_values<4>()[0]);
    const auto answer = forward(context, thumbnail, std::span<const Source>(&image, 1));
    return detail::prediction(options_.question.answer(context, answer.logits), 0, answer.regions);
  }

 private:
  static constexpr const char* kName = "patch_selection";

  BasicPatchSelection(const PatchSelectionOptions& o, ParameterLayout layout)
      : options_(checked(o)),
        layout_(std::move(layout)),
        scorer_(layout_, "scorer", o.proxy, o.channels),
        features_(detail::make_network<Features>(layout_, "features", o.patch, o.channels, {})),
        hidden_(layout_, "hidden", features_.features(), features_.features()),
        head_(layout_, "head", features_.features(), o.classes) {
    require(scorer_.features() == 1, kName, ": a scorer of 1 feature expected, ", scorer_.features(), " came");
    require(o.patches <= grid().cells(), kName, ": at most ", grid().cells(), " patches expected, the cells of a proxy of ",
            o.proxy[0], "x", o.proxy[1], ", ", o.patches, " came");
  }

  static PatchSelectionOptions checked(const PatchSelectionOptions& o) {
    detail::require_patch_options(kName, o);
    require(o.sigma > 0, kName, ": a positive sigma expected, ", o.sigma, " came");
    require(o.samples >= 1, kName, ": at least 1 sample expected, ", o.samples, " came");
    require(o.entropy >= 0, kName, ": an entropy of at least 0 expected, ", o.entropy, " came");
    return o;
  }
  template <class T, ImageSource Source>
  void check(const Var<T>& proxies, std::span<const Source> images) const {
    detail::require_patch_images(kName, images, options_.channels);
    detail::require_patch_proxies(kName, proxies, images.size(), options_);
  }

  /// Of patches [B k, h, w, C].
  template <Context C>
  [[nodiscard]] VarOf<C> answer(C& context, VarOf<C> patches) const {
    const VarOf<C> mean = nn::mean_of_repeats(context, features_(context, patches), options_.patches);
    const VarOf<C> x = hidden_(context, mean);
    return head_(context, nn::multiply(context, x, nn::sigmoid(context, x)));
  }

  template <Context C, ImageSource Source>
  [[nodiscard]] PatchAnswer<typename C::Scalar> best(C& context, VarOf<C> scores, std::span<const Source> images) const {
    using T = typename C::Scalar;
    const VarOf<C> calm = context.constant(scores.shape);
    std::fill_n(calm.value, calm.size(), T(0));
    const auto top = sample::draw_top_k(context, sample::Categorical<T>{scores}, calm, options_.patches);
    const auto chosen = detail::read_chosen(context, images, grid(), options_.patch, options_.patches,
                                            [&](Index b, Index j) { return Index{top.cells(b, j)}; });
    return {answer(context, chosen.pixels), chosen.regions};
  }

  PatchSelectionOptions options_;
  ParameterLayout layout_;
  Scorer scorer_;
  Features features_;
  nn::Dense hidden_;
  nn::Dense head_;
};

using PatchSelection = BasicPatchSelection<>;

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
