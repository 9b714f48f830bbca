// SPDX-License-Identifier: MIT
/// \file
/// The other peers: residual networks over every pixel of the image, which is what a saccader saves. FullResolution sees the
/// image whole; FullResolutionPatches, the published baseline, patch by patch.
///
/// K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016: ResNet-18, the baseline of the
/// published work (J. Ramapuram, M. Diephuis, R. Webb, A. Kalousis, F. Lavda, "Variational Saccading: efficient inference for
/// large resolution images", BMVC 2019), with group normalisation in place of batch normalisation (Y. Wu, K. He, "Group
/// normalization", ECCV 2018), so that one image is classified as in a batch.
///
/// What differs from the published baseline besides: an image of one channel is taken as it is, not repeated to three; a patch
/// is not resized, and one of an image smaller than a patch is as small as the image.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/view.hpp>
#include <fovea/kernel/elementwise.hpp>
#include <fovea/model/model.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/model/task.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/group_norm.hpp>
#include <fovea/nn/pool.hpp>
#include <fovea/nn/residual.hpp>
#include <fovea/nn/stack.hpp>

#include <algorithm>
#include <cstddef>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace model {

struct FullResolutionOptions {
  Index classes = 10;
  Index channels = 1;
  Index width = 64;            ///< channels of the first stage; each of the other three doubles them
  Index blocks_per_stage = 2;  ///< 2: ResNet-18
  Question question = {};
};

struct FullResolutionPatchesOptions {
  FullResolutionOptions network = {};
  Index patch = 224;     ///< pixels on a side
  Index features = 256;  ///< of a patch, and in the layer behind their sum
};

namespace detail {

[[nodiscard]] inline const FullResolutionOptions& checked(const FullResolutionOptions& o) {
  const Index least = o.question.task == Task::one_class ? 2 : 1;
  require(o.classes >= least && o.channels >= 1 && o.width >= 1 && o.blocks_per_stage >= 1, "full_resolution: at least ", least,
          " classes, 1 channel, a width of 1 and 1 block a stage expected, ", o.classes, ", ", o.channels, ", ", o.width,
          " and ", o.blocks_per_stage, " came");
  o.question.check(o.classes);
  return o;
}

/// ResNet but for its last layer: convolution 7x7 of stride 2, max-pooling, four stages of residual blocks, global average.
class ResidualTrunk {
 public:
  ResidualTrunk(ParameterLayout& layout, const FullResolutionOptions& o)
      : stem_(layout, "stem", o.channels, o.width, {.kernel = 7, .stride = 2, .padding = 3, .bias = false}),
        stem_norm_(layout, "stem_norm", o.width),
        blocks_(make_blocks(layout, o)) {}

  /// images [B, h, w, C], of any extent, to [B, features()].
  template <Context C>
  [[nodiscard]] VarOf<C> operator()(C& context, VarOf<C> images) const {
    VarOf<C> x = context.scope([&] {
      const VarOf<C> y = context.scope([&] { return nn::relu(context, stem_norm_(context, stem_(context, images))); });
      return nn::max_pool2d(context, y, kernel::Pool2dOptions{3, 3, 2, 2, 1, 1});
    });
    for (const nn::Residual& block : blocks_) x = block(context, x);
    return nn::global_average_pool(context, x);
  }
  [[nodiscard]] Index features() const noexcept { return blocks_.back().outputs(); }

 private:
  static constexpr std::size_t kStages = 4;

  static std::vector<nn::Residual> make_blocks(ParameterLayout& layout, const FullResolutionOptions& o) {
    std::vector<nn::Residual> blocks;
    Index channels = o.width;
    for (std::size_t stage = 0; stage < kStages; ++stage) {
      const Index width = o.width << stage;
      for (Index i = 0; i < o.blocks_per_stage; ++i) {
        const std::string name = "stage" + std::to_string(stage + 1) + "_" + std::to_string(i + 1);
        blocks.emplace_back(layout, name, channels, width,
                            nn::ResidualOptions{.stride = stage > 0 && i == 0 ? 2 : 1, .activation = nn::Activation::relu});
        channels = width;
      }
    }
    return blocks;
  }

  nn::Conv2d stem_;
  nn::GroupNorm stem_norm_;
  std::vector<nn::Residual> blocks_;
};

/// The pixels of a box of the finest level [1, h, w, C], as numbers in [0, 1]. Throws Error on other channels.
template <Context C, ImageSource Source>
[[nodiscard]] VarOf<C> pixels_of(C& context, const Source& image, const PixelBox& box, Index channels) {
  require(image.channels() == channels, "full_resolution: ", channels, " channels expected, the image has ", image.channels());
  const VarOf<C> pixels = context.constant(Shape{1, box.height, box.width, channels});
  // Of the same extent: a conversion.
  resize_area(read_exactly(image, 0, box), pixels.template mutable_values<4>()[0]);
  return pixels;
}

/// What `network` makes of each image, [1, N], as [B, N]: images of different extents do not fit into one tensor.
template <Context C, ImageSource Source, class Network>
[[nodiscard]] VarOf<C> image_by_image(C& context, std::span<const Source> images, Network network) {
  require(!images.empty(), "full_resolution: at least 1 image expected");
  auto* rows = context.template scratch<VarOf<C>>(static_cast<Index>(images.size()));
  for (std::size_t b = 0; b < images.size(); ++b) {
    ::new (static_cast<void*>(rows + b)) VarOf<C>(context.scope([&] { return network(images[b]); }));
  }
  return nn::concat_samples<C>(context, std::span<const VarOf<C>>(rows, images.size()));
}

}  // namespace detail

/// The residual network and a dense layer, over the whole image. At the default width about 1.8 billion multiply-adds per
/// 224x224 pixels: 230 billion for an image of 2528x2528, whose activations are all needed at once.
class FullResolution {
 public:
  /// Throws Error on fewer than 2 classes (of other tasks than one_class: 1), 1 channel, 1 block.
  explicit FullResolution(const FullResolutionOptions& options) : FullResolution(options, ParameterLayout{}) {}

  [[nodiscard]] const ParameterLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const FullResolutionOptions& options() const noexcept { return options_; }

  /// images [B, h, w, C] in [0, 1], of any extent, to logits [B, K].
  template <Context C>
  [[nodiscard]] VarOf<C> forward(C& context, VarOf<C> images) const {
    return head_(context, trunk_(context, images));
  }
  /// Images of any extents, one after the other, to logits [B, K]. Throws Error on none, and on other channels than the
  /// model's.
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> forward(C& context, std::span<const Source> images) const {
    return detail::image_by_image(context, images, [&](const Source& image) {
      const Extents<2> extent = image.level_extent(0);
      return forward(context, detail::pixels_of(context, image, {0, 0, extent[0], extent[1]}, options_.channels));
    });
  }

  /// What the question asks of whole images; proxies are not looked at. Throws Error as forward() and Question::loss() do.
  template <Context C, ImageSource Source>
  [[nodiscard]] Outcome<typename C::Scalar> loss(C& context, const Minibatch<typename C::Scalar, Source>& minibatch,
                                                 const Moment& /*moment*/) const {
    const VarOf<C> logits = forward(context, minibatch.images);
    return {nn::sum(context, options_.question.loss(context, logits, minibatch.targets)), logits};
  }

  /// One image, all of its pixels as float. Throws Error on other channels than the model's.
  template <ImageSource Source>
  [[nodiscard]] Prediction classify(const Source& image, const Parameters<float>& parameters, Arena& arena) const {
    Inference<float> context(arena, parameters.values());
    return detail::prediction(
        context.scope([&] { return options_.question.answer(context, forward(context, std::span<const Source>(&image, 1))); }),
        0);
  }
  template <kernel::Pixel P>
  [[nodiscard]] Prediction classify(ImageView<P> image, const Parameters<float>& parameters, Arena& arena) const {
    return classify(PyramidView<P>(image), parameters, arena);
  }

 private:
  FullResolution(const FullResolutionOptions& o, ParameterLayout layout)
      : options_(detail::checked(o)),
        layout_(std::move(layout)),
        trunk_(layout_, o),
        head_(layout_, "head", trunk_.features(), o.classes) {}

  FullResolutionOptions options_;
  ParameterLayout layout_;
  detail::ResidualTrunk trunk_;
  nn::Dense head_;
};

/// The published baseline: the image is cut into patches, edge to edge, the last of a row or column moved back to the edge of
/// the image; the residual network gives features of each patch, which are *summed*, wherever they came from; then norm, ReLU,
/// dense, norm, ReLU, dense; these norms are over all features of an image (one group). An image of 2528x2528 is 144 patches of
/// 224. An inference holds one patch at a time, so its memory does not depend on the size of the image; training keeps the
/// activations of all of them.
class FullResolutionPatches {
 public:
  /// Throws Error as FullResolution does, and on an empty patch or less than 2 features.
  explicit FullResolutionPatches(const FullResolutionPatchesOptions& options)
      : FullResolutionPatches(options, ParameterLayout{}) {}

  [[nodiscard]] const ParameterLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const FullResolutionPatchesOptions& options() const noexcept { return options_; }

  /// Patches down and across an image of {height, width} pixels.
  [[nodiscard]] Extents<2> patches(Extents<2> extent) const noexcept {
    const Index side = options_.patch;
    return {(extent[0] + side - 1) / side, (extent[1] + side - 1) / side};
  }
  /// The pixels of the patch in this row and column.
  [[nodiscard]] PixelBox patch(Extents<2> extent, Index row, Index column) const noexcept {
    const Index side = options_.patch;
    const Index height = std::min(side, extent[0]);
    const Index width = std::min(side, extent[1]);
    return {std::min(row * side, extent[0] - height), std::min(column * side, extent[1] - width), height, width};
  }

  /// Images of any extents to logits [B, K]. Throws Error on none, and on other channels than the model's.
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> forward(C& context, std::span<const Source> images) const {
    const VarOf<C> sums = detail::image_by_image(context, images, [&](const Source& image) { return sum(context, image); });
    return head_(context, second_norm_(context, hidden_(context, first_norm_(context, sums))));
  }

  /// What the question asks of whole images; proxies are not looked at. Throws Error as forward() and Question::loss() do.
  template <Context C, ImageSource Source>
  [[nodiscard]] Outcome<typename C::Scalar> loss(C& context, const Minibatch<typename C::Scalar, Source>& minibatch,
                                                 const Moment& /*moment*/) const {
    const VarOf<C> logits = forward(context, minibatch.images);
    return {nn::sum(context, options_.network.question.loss(context, logits, minibatch.targets)), logits};
  }

  /// One image. Throws Error on other channels than the model's.
  template <ImageSource Source>
  [[nodiscard]] Prediction classify(const Source& image, const Parameters<float>& parameters, Arena& arena) const {
    Inference<float> context(arena, parameters.values());
    return detail::prediction(options_.network.question.answer(context, forward(context, std::span<const Source>(&image, 1))),
                              0);
  }

 private:
  FullResolutionPatches(const FullResolutionPatchesOptions& o, ParameterLayout layout)
      : options_(checked(o)),
        layout_(std::move(layout)),
        trunk_(layout_, o.network),
        features_(layout_, "features", trunk_.features(), o.features),
        first_norm_(layout_, "sum_norm", o.features, 1, nn::kGroupNormEpsilon, nn::Activation::relu),
        hidden_(layout_, "hidden", o.features, o.features),
        second_norm_(layout_, "hidden_norm", o.features, 1, nn::kGroupNormEpsilon, nn::Activation::relu),
        head_(layout_, "head", o.features, o.network.classes) {}

  static FullResolutionPatchesOptions checked(const FullResolutionPatchesOptions& o) {
    static_cast<void>(detail::checked(o.network));
    // Of a single feature the norm would leave nothing.
    require(o.patch >= 1 && o.features >= 2, "full_resolution: patches of at least 1 pixel and 2 features expected, ", o.patch,
            " and ", o.features, " came");
    return o;
  }

  /// The features of all patches, summed [1, F].
  template <Context C, ImageSource Source>
  [[nodiscard]] VarOf<C> sum(C& context, const Source& image) const {
    using T = typename C::Scalar;
    const VarOf<C> sum = context.variable(Shape{1, options_.features});
    std::fill_n(sum.value, sum.size(), T(0));
    const Extents<2> extent = image.level_extent(0);
    const Extents<2> count = patches(extent);
    for (Index row = 0; row < count[0]; ++row) {
      for (Index column = 0; column < count[1]; ++column) {
        const Arena::Mark mark = context.arena().mark();
        const VarOf<C> pixels = detail::pixels_of(context, image, patch(extent, row, column), options_.network.channels);
        const VarOf<C> features = features_(context, trunk_(context, pixels));
        kernel::accumulate<T>(features.values(), sum.mutable_values());
        if constexpr (C::recording) {
          if (features.gradient) {
            context.record([features, sum] { kernel::accumulate<T>(sum.gradients(), features.gradients()); });
          }
        } else {
          context.arena().release(mark);  // of the patch nothing is left but its part of the sum
        }
      }
    }
    return sum;
  }

  FullResolutionPatchesOptions options_;
  ParameterLayout layout_;
  detail::ResidualTrunk trunk_;
  nn::Dense features_;
  nn::GroupNorm first_norm_;
  nn::Dense hidden_;
  nn::GroupNorm second_norm_;
  nn::Dense head_;
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
