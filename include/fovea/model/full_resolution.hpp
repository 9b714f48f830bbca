// SPDX-License-Identifier: MIT
/// \file
/// The other peer: a residual network over every pixel of the image, which is what a saccader saves.
///
/// K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016: ResNet-18, the baseline of the
/// published work, with group normalisation in place of batch normalisation (Y. Wu, K. He, "Group normalization", ECCV 2018),
/// so that one image is classified as in a batch.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/view.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/group_norm.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/pool.hpp>
#include <fovea/nn/residual.hpp>

#include <string>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace model {

struct FullResolutionOptions {
  Index classes = 10;
  Index channels = 1;
  Index width = 64;            ///< channels of the first stage; each of the other three doubles them
  Index blocks_per_stage = 2;  ///< 2: ResNet-18
};

/// Convolution 7x7 of stride 2, max-pooling, four stages of residual blocks, global average, dense. At the default width about
/// 1.8 billion multiply-adds per 224x224 pixels: 230 billion for an image of 2528x2528.
class FullResolution {
 public:
  /// Throws Error on fewer than 2 classes, 1 channel, 1 block.
  explicit FullResolution(const FullResolutionOptions& options) : FullResolution(options, ParameterLayout{}) {}

  [[nodiscard]] const ParameterLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const FullResolutionOptions& options() const noexcept { return options_; }

  /// images [B, h, w, C] in [0, 1], of any extent, to logits [B, K].
  template <Context C>
  [[nodiscard]] VarOf<C> forward(C& context, VarOf<C> images) const {
    VarOf<C> x = context.scope([&] {
      const VarOf<C> y = context.scope([&] { return nn::relu(context, stem_norm_(context, stem_(context, images))); });
      return nn::max_pool2d(context, y, kernel::Pool2dOptions{3, 3, 2, 2, 1, 1});
    });
    for (const nn::Residual& block : blocks_) x = block(context, x);
    return head_(context, nn::global_average_pool(context, x));
  }

  /// One image, all of its pixels as float. Throws Error on other channels than the model's.
  template <ImageSource Source>
  [[nodiscard]] Prediction classify(const Source& image, const Parameters<float>& parameters, Arena& arena) const {
    require(image.channels() == options_.channels, "full_resolution: ", options_.channels, " channels expected, the image has ",
            image.channels());
    Inference<float> context(arena, parameters.values());
    const Extents<2> extent = image.level_extent(0);
    return detail::prediction(context.scope([&] {
      const Var<float> pixels = context.constant(Shape{1, extent[0], extent[1], options_.channels});
      // Of the same extent: a conversion.
      resize_area(read_exactly(image, 0, {0, 0, extent[0], extent[1]}), pixels.template mutable_values<4>()[0]);
      return nn::softmax(context, forward(context, pixels));
    }),
                              0);
  }
  template <kernel::Pixel P>
  [[nodiscard]] Prediction classify(ImageView<P> image, const Parameters<float>& parameters, Arena& arena) const {
    return classify(PyramidView<P>(image), parameters, arena);
  }

 private:
  static constexpr std::size_t kStages = 4;

  FullResolution(const FullResolutionOptions& o, ParameterLayout layout)
      : options_(checked(o)),
        layout_(std::move(layout)),
        stem_(layout_, "stem", o.channels, o.width, {.kernel = 7, .stride = 2, .padding = 3, .bias = false}),
        stem_norm_(layout_, "stem_norm", o.width),
        blocks_(make_blocks(layout_, o)),
        head_(layout_, "head", o.width << (kStages - 1), o.classes) {}

  static FullResolutionOptions checked(const FullResolutionOptions& o) {
    require(o.classes >= 2 && o.channels >= 1 && o.width >= 1 && o.blocks_per_stage >= 1,
            "full_resolution: at least 2 classes, 1 channel, a width of 1 and 1 block a stage expected, ", o.classes, ", ",
            o.channels, ", ", o.width, " and ", o.blocks_per_stage, " came");
    return o;
  }

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

  FullResolutionOptions options_;
  ParameterLayout layout_;
  nn::Conv2d stem_;
  nn::GroupNorm stem_norm_;
  std::vector<nn::Residual> blocks_;
  nn::Dense head_;
};

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
