// SPDX-License-Identifier: MIT
/// \file
/// The first peer: a network that sees only the proxy. Whatever a saccader adds, it adds to this.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/source.hpp>
#include <fovea/model/model.hpp>
#include <fovea/model/networks.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/model/task.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/reshape.hpp>

#include <array>

namespace fovea::inline FOVEA_ABI {
namespace model {

struct ProxyOnlyOptions {
  Index classes = 10;
  Index channels = 1;
  Extents<2> proxy = {20, 20};  ///< {height, width}
  Question question = {};
};

/// Three 3x3 convolutions (32, 64, 64 channels; the last two of stride 2), dense to 256, dense to the classes; ReLU between.
/// No pooling: where a digit lies and what it is go together until the end. More multiply-adds on the proxy than the
/// saccader's own look at it.
class ProxyOnly {
 public:
  /// Throws Error on fewer than 2 classes (of other tasks than one_class: 1), or an empty proxy.
  explicit ProxyOnly(const ProxyOnlyOptions& options) : ProxyOnly(options, ParameterLayout{}) {}

  [[nodiscard]] const ParameterLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const ProxyOnlyOptions& options() const noexcept { return options_; }

  /// proxies [B, h, w, C] in [0, 1] to logits [B, K].
  template <Context C>
  [[nodiscard]] VarOf<C> forward(C& context, VarOf<C> proxies) const {
    const VarOf<C> map = third_(context, second_(context, first_(context, proxies)));
    return head_(context, nn::relu(context, dense_(context, nn::flatten(context, map))));
  }

  /// What the question asks of the proxies; images are not looked at. Throws Error on proxies of another extent.
  template <Context C, ImageSource Source>
  [[nodiscard]] Outcome<typename C::Scalar> loss(C& context, const Minibatch<typename C::Scalar, Source>& minibatch,
                                                 const Moment& /*moment*/) const {
    const Shape expected{minibatch.targets.samples(), options_.proxy[0], options_.proxy[1], options_.channels};
    if (minibatch.targets.samples() < 1 || !(minibatch.proxies.shape == expected)) {
      fail("proxy_only: proxies of shape ", expected.to_string(), " expected for ", minibatch.targets.samples(), " targets, ",
           minibatch.proxies.shape.to_string(), " came");
    }
    const VarOf<C> logits = forward(context, minibatch.proxies);
    return {nn::sum(context, options_.question.loss(context, logits, minibatch.targets)), logits};
  }

  /// One image, or rather its proxy. Throws Error on other channels than the model's.
  template <ImageSource Source>
  [[nodiscard]] Prediction classify(const Source& image, const Parameters<float>& parameters, Arena& arena) const {
    Inference<float> context(arena, parameters.values());
    const Var<float> thumbnail = context.constant(Shape{1, options_.proxy[0], options_.proxy[1], options_.channels});
    proxy(image, thumbnail.template mutable_values<4>()[0]);
    return detail::prediction(options_.question.answer(context, forward(context, thumbnail)), 0);
  }

 private:
  static constexpr std::array<Index, 3> kWidths = {32, 64, 64};
  static constexpr Index kHidden = 256;
  static constexpr Index quarter(Index n) noexcept { return ((n + 1) / 2 + 1) / 2; }

  ProxyOnly(const ProxyOnlyOptions& o, ParameterLayout layout)
      : options_(checked(o)),
        layout_(std::move(layout)),
        first_(layout_, "conv1", o.channels, kWidths[0], 1),
        second_(layout_, "conv2", kWidths[0], kWidths[1], 2),
        third_(layout_, "conv3", kWidths[1], kWidths[2], 2),
        dense_(layout_, "dense", quarter(o.proxy[0]) * quarter(o.proxy[1]) * kWidths[2], kHidden),
        head_(layout_, "head", kHidden, o.classes) {}

  static ProxyOnlyOptions checked(const ProxyOnlyOptions& o) {
    const Index least = o.question.task == Task::one_class ? 2 : 1;
    require(o.classes >= least, "proxy_only: at least ", least, " classes expected, ", o.classes, " came");
    o.question.check(o.classes);
    return o;
  }

  ProxyOnlyOptions options_;
  ParameterLayout layout_;
  detail::ConvRelu first_;
  detail::ConvRelu second_;
  detail::ConvRelu third_;
  nn::Dense dense_;
  nn::Dense head_;
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
