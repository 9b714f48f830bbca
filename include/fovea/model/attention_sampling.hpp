// SPDX-License-Identifier: MIT
/// \file
/// Attention sampling: the mean of the patches' features under an attention over the proxy, from the few patches drawn.
///
/// A. Katharopoulos, F. Fleuret, "Processing megapixel images with deep attention-sampling models", ICML 2019.
///
///     a = softmax(attention(proxy))                 over the cells of a map
///     estimate of sum_i a_i f(patch_i)              from N cells drawn from a: sample/attention_sampling.hpp
///     loss = error(head(estimate)) - entropy H(a)
///
/// As published: the attention (3x3 convolutions of 8, 8 and 1 channels, tanh between, edges padded), a patch around the centre
/// of each cell, features of length 1, a dense head, N = 10 patches of 50x50, the weight of the entropy, and that the answer at
/// test time is sampled too.
///
/// Differences: drawn without replacement, the mean is estimated after Raj, which has less variance than the published choice
/// of weights and the same mean; the attention is not smoothed by 1e-5; the default features are ConvVector's, and not a 7x7
/// and three 3x3 convolutions of 32 channels with a global maximum; at test time the best patches can be taken instead. The
/// proxy has one extent, whatever the image's, and so has the grid of cells.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/source.hpp>
#include <fovea/model/model.hpp>
#include <fovea/model/networks.hpp>
#include <fovea/model/patch_grid.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/model/task.hpp>
#include <fovea/nn/attention.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/sample/attention_sampling.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/grid.hpp>
#include <fovea/sample/noise.hpp>
#include <fovea/sample/top_k.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace model {

/// The published attention: 3x3 convolutions of 8, 8 and 1 channels, tanh between. A score for every pixel of the proxy, from
/// the 7x7 around it; 720 multiply-adds each of one channel.
class AttentionMap {
 public:
  AttentionMap(ParameterLayout& layout, std::string_view name, Extents<2> /*extent*/, Index channels)
      : AttentionMap(layout.scope(name), layout, channels) {}

  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> x) const {
    return context.scope([&] {
      const VarOf<C> y = context.scope([&] { return nn::tanh(context, first_(context, x)); });
      return third_(context, nn::tanh(context, second_(context, y)));
    });
  }
  [[nodiscard]] static constexpr Index features() noexcept { return 1; }
  [[nodiscard]] static constexpr Extents<2> map_extent(Extents<2> extent) noexcept { return extent; }

 private:
  static constexpr Index kChannels = 8;

  AttentionMap(const ParameterLayout::Scope&, ParameterLayout& layout, Index channels)
      : first_(layout, "conv1", channels, kChannels, {.kernel = 3, .padding = 1}),
        second_(layout, "conv2", kChannels, kChannels, {.kernel = 3, .padding = 1}),
        third_(layout, "conv3", kChannels, 1, {.kernel = 3, .padding = 1}) {}

  nn::Conv2d first_;
  nn::Conv2d second_;
  nn::Conv2d third_;
};

namespace detail {

/// Every row of x [R, F] by its Euclidean length; a row of zeros stays.
template <Context C>
[[nodiscard]] VarOf<C> of_unit_length(C& context, VarOf<C> x) {
  using T = typename C::Scalar;
  const auto [rows, size] = nn::detail::as_rows(x.shape);
  const VarOf<C> y = nn::output(context, x.shape, x);
  T* inverse = context.scratch(rows);
  for (Index r = 0; r < rows; ++r) {
    double square = 1e-12;
    for (Index f = 0; f < size; ++f) square += std::pow(static_cast<double>(x.value[r * size + f]), 2);
    inverse[r] = static_cast<T>(1 / std::sqrt(square));
    for (Index f = 0; f < size; ++f) y.value[r * size + f] = inverse[r] * x.value[r * size + f];
  }
  if (y.gradient) {
    context.record([=, rows = rows, size = size] {
      for (Index r = 0; r < rows; ++r) {
        const T* v = y.value + r * size;
        const T* d = y.gradient + r * size;
        double along = 0;
        for (Index f = 0; f < size; ++f) along += static_cast<double>(v[f]) * static_cast<double>(d[f]);
        for (Index f = 0; f < size; ++f) x.gradient[r * size + f] += inverse[r] * (d[f] - static_cast<T>(along) * v[f]);
      }
    });
  }
  return y;
}

}  // namespace detail

struct AttentionSamplingOptions {
  Index classes = 10;
  Index channels = 1;             ///< of the image
  Extents<2> proxy = {180, 180};  ///< {height, width} of what the attention sees
  Extents<2> patch = {50, 50};    ///< {height, width} in pixels of the original
  Index patches = 10;             ///< N, looked at in an image
  bool with_replacement = false;  ///< draws may come again
  bool unit_length = true;    ///< features are divided by their Euclidean length: as published; training starts sooner without
  double entropy = 1e-4;      ///< weight of the attention's entropy in nats, which is to be high; at least 0
  bool best_at_test = false;  ///< classify() looks at the N cells of greatest attention, whose weights it takes to sum to 1
  std::uint64_t test_seed = 1;  ///< names the draws of classify() otherwise: the same for every image
  Question question = {};
};

/// `Attention` gives a map of one feature, the logits of the cells.
template <MapNetwork Attention = AttentionMap, VectorNetwork Features = ConvVector>
class BasicAttentionSampling {
 public:
  /// Throws Error on fewer than 2 classes (of other tasks than one_class: 1), an empty proxy or patch, no patch, without
  /// replacement more patches than cells, a negative entropy, or an attention of more than one feature.
  explicit BasicAttentionSampling(const AttentionSamplingOptions& options)
      : BasicAttentionSampling(options, ParameterLayout{}) {}

  [[nodiscard]] const ParameterLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const AttentionSamplingOptions& options() const noexcept { return options_; }
  /// The cells of the attention.
  [[nodiscard]] sample::Grid grid() const noexcept {
    const Extents<2> map = attention_.map_extent(options_.proxy);
    return {map[0], map[1]};
  }

  /// The distribution over the cells; proxies [B, h, w, C].
  template <Context C>
  [[nodiscard]] sample::Categorical<typename C::Scalar> attention(C& context, VarOf<C> proxies) const {
    return {attention_(context, proxies).reshape({proxies.shape[0], grid().cells()})};
  }

  /// As at test time: from draws of `noise`, or under `best_at_test` from the best cells (then all of it has a gradient).
  template <Context C, ImageSource Source>
  [[nodiscard]] PatchAnswer<typename C::Scalar> forward(C& context, VarOf<C> proxies, std::span<const Source> images,
                                                        const sample::NoiseKey& noise = {}) const {
    check(proxies, images);
    const auto q = attention(context, proxies);
    return options_.best_at_test ? best(context, q, images) : drawn(context, q, images, noise);
  }

  /// From draws of `moment.noise`. What reaches the attention is an estimate of its gradient: of the expected features
  /// without bias.
  template <Context C, ImageSource Source>
  [[nodiscard]] Outcome<typename C::Scalar> loss(C& context, const Minibatch<typename C::Scalar, Source>& minibatch,
                                                 const Moment& moment) const {
    using T = typename C::Scalar;
    check(minibatch.proxies, minibatch.images);
    const auto q = attention(context, minibatch.proxies);
    const VarOf<C> logits = drawn(context, q, minibatch.images, moment.noise).logits;
    VarOf<C> loss = nn::sum(context, options_.question.loss(context, logits, minibatch.targets));
    if (options_.entropy > 0) {
      loss = nn::axpy(context, static_cast<T>(-options_.entropy), nn::sum(context, sample::entropy(context, q)), loss);
    }
    return {loss, logits};
  }

  /// One image. Throws Error on other channels than the model's.
  template <ImageSource Source>
  [[nodiscard]] Prediction classify(const Source& image, const Parameters<float>& parameters, Arena& arena) const {
    Inference<float> context(arena, parameters.values());
    const Var<float> thumbnail = context.constant(Shape{1, options_.proxy[0], options_.proxy[1], options_.channels});
    proxy(image, thumbnail.template mutable_values<4>()[0]);
    const auto answer = forward(context, thumbnail, std::span<const Source>(&image, 1), {.seed = options_.test_seed});
    return detail::prediction(options_.question.answer(context, answer.logits), 0, answer.regions);
  }

 private:
  static constexpr const char* kName = "attention_sampling";

  BasicAttentionSampling(const AttentionSamplingOptions& o, ParameterLayout layout)
      : options_(checked(o)),
        layout_(std::move(layout)),
        attention_(layout_, "attention", o.proxy, o.channels),
        features_(detail::make_network<Features>(layout_, "features", o.patch, o.channels, {})),
        head_(layout_, "head", features_.features(), o.classes) {
    require(attention_.features() == 1, kName, ": an attention of 1 feature expected, ", attention_.features(), " came");
    require(o.with_replacement || o.patches <= grid().cells(), kName, ": without replacement at most ", grid().cells(),
            " patches expected, ", o.patches, " came");
  }

  static AttentionSamplingOptions checked(const AttentionSamplingOptions& o) {
    detail::require_patch_options(kName, o);
    require(o.entropy >= 0, kName, ": an entropy of at least 0 expected, ", o.entropy, " came");
    return o;
  }
  template <class T, ImageSource Source>
  void check(const Var<T>& proxies, std::span<const Source> images) const {
    detail::require_patch_images(kName, images, options_.channels);
    detail::require_patch_proxies(kName, proxies, images.size(), options_);
  }

  template <Context C>
  [[nodiscard]] VarOf<C> features(C& context, VarOf<C> patches) const {
    const VarOf<C> f = features_(context, patches);
    return options_.unit_length ? detail::of_unit_length(context, f) : f;
  }

  template <Context C, ImageSource Source>
  [[nodiscard]] PatchAnswer<typename C::Scalar> drawn(C& context, const sample::Categorical<typename C::Scalar>& q,
                                                      std::span<const Source> images, const sample::NoiseKey& noise) const {
    using T = typename C::Scalar;
    const sample::AttentionSampling estimate{.samples = options_.patches, .with_replacement = options_.with_replacement};
    PatchAnswer<T> answer;
    const VarOf<C> mean = estimate(context, q, noise, [&](VarOf<C> one_hot) {
      const auto chosen = detail::read_chosen(context, images, grid(), options_.patch, options_.patches, [&](Index b, Index j) {
        const T* row = one_hot.value + (b * options_.patches + j) * q.cells();
        return std::max_element(row, row + q.cells()) - row;
      });
      answer.regions = chosen.regions;
      return features(context, chosen.pixels);
    });
    answer.logits = head_(context, mean);
    return answer;
  }

  template <Context C, ImageSource Source>
  [[nodiscard]] PatchAnswer<typename C::Scalar> best(C& context, const sample::Categorical<typename C::Scalar>& q,
                                                     std::span<const Source> images) const {
    const VarOf<C> calm = context.constant(q.logits.shape);
    std::fill_n(calm.value, calm.size(), 0);
    const auto top = sample::draw_top_k(context, q, calm, std::min(options_.patches, q.cells()));
    const auto chosen = detail::read_chosen(context, images, grid(), options_.patch, top.count(),
                                            [&](Index b, Index j) { return Index{top.cells(b, j)}; });
    // softmax over those taken alone is what their attention is to its sum.
    const VarOf<C> weights = nn::softmax(context, nn::key_scores(context, top.one_hot, q.logits));
    const VarOf<C> f = features(context, chosen.pixels);
    const VarOf<C> mean = nn::attention_pool(context, weights, f.reshape({q.batch(), top.count(), features_.features()}));
    return {head_(context, mean), chosen.regions};
  }

  AttentionSamplingOptions options_;
  ParameterLayout layout_;
  Attention attention_;
  Features features_;
  nn::Dense head_;
};

using AttentionSampling = BasicAttentionSampling<>;

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
