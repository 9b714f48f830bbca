// SPDX-License-Identifier: MIT
/// \file
/// Iterative patch selection: every patch of the image is scanned without a gradient, the M best are kept, and learned from.
///
/// B. Bergner, C. Lippert, A. Mahendran, "Iterative patch selection for high-resolution image recognition", ICLR 2023.
///
///     scan:    patches in chunks of I; score of a patch = its attention under the learned query, among those held and the
///              chunk, mean over the heads; the M of greatest score are held
///     answer:  the M are encoded again, with a gradient; x = norm(query + W_o attention of heads(query, f)),
///              head(norm(x + mlp(x)))
///
/// As published: the scan in memory for M + I patches, the cross-attention of several heads (8 of length 16) with one learned
/// query, keys and values without biases, residuals with layer norm, an MLP with ReLU, M = I = 100, and that an image of
/// no more than M patches is not scanned. What is decided by the scan has no gradient, so the gradient of the rest is exact.
///
/// Differences: the memory holds the patches' keys, which is all that the scores need of them. The patches cover the image
/// whatever its size (PatchGrid::covering), so images of one minibatch may have different numbers. No positional encoding, so
/// that where a patch lies is not known to the head; no dropout; one query, for one task. The default features are
/// ConvVector's and not the first blocks of a ResNet-18.
///
/// It looks at no proxy: every pixel of the image is read, and its cost grows with the image.
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/image/source.hpp>
#include <fovea/model/model.hpp>
#include <fovea/model/networks.hpp>
#include <fovea/model/patch_grid.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/model/task.hpp>
#include <fovea/nn/attention.hpp>
#include <fovea/nn/counting.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/group_norm.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/nn/stack.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <numeric>
#include <span>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace model {

struct IterativePatchSelectionOptions {
  Index classes = 10;
  Index channels = 1;           ///< of the image
  Extents<2> proxy = {1, 1};    ///< of the proxies that a minibatch brings; they are not looked at
  Extents<2> patch = {50, 50};  ///< {height, width} in pixels of the original
  Index patches = 100;          ///< M, held of an image
  Index chunk = 100;            ///< I, scanned at a time
  Index heads = 8;              ///< of the attention
  Index head_size = 16;         ///< length of a key and of a value of one head
  Index hidden = 512;           ///< of the MLP
  Question question = {};
};

template <VectorNetwork Features = ConvVector>
class BasicIterativePatchSelection {
 public:
  /// Throws Error on fewer than 2 classes (of other tasks than one_class: 1), an empty proxy or patch, or less than 1 of
  /// anything else.
  explicit BasicIterativePatchSelection(const IterativePatchSelectionOptions& options)
      : BasicIterativePatchSelection(options, ParameterLayout{}) {}

  [[nodiscard]] const ParameterLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const IterativePatchSelectionOptions& options() const noexcept { return options_; }

  /// The cells of PatchGrid::covering(patch, extent of the image) that the scan holds in the end, in ascending order; at most
  /// M. In memory of the context. What the scan made otherwise is given back.
  template <Context C, ImageSource Source>
  [[nodiscard]] std::span<const std::int32_t> scan(C& context, const Source& image) const {
    using T = typename C::Scalar;
    const PatchGrid grid = PatchGrid::covering(options_.patch, image.extent());
    const Index most = std::min(options_.patches, grid.cells());
    auto* held = context.template scratch<std::int32_t>(most);
    if (grid.cells() <= options_.patches) {
      std::iota(held, held + most, 0);
      return {held, static_cast<std::size_t>(most)};
    }
    const ArenaScope all(context.arena());
    Inference<T> plain(context.arena(), context.parameter(everything()).values());
    nn::Counting still(plain);  // the context itself hears of no op in here
    const Index width = options_.heads * options_.head_size;
    const VarOf<C> query = query_to_heads_(still, still.parameter(query_).reshape({1, query_.shape.size()}));
    const VarOf<C> keys = still.constant(Shape{most + options_.chunk, width});
    auto* cells = still.template scratch<std::int32_t>(most + options_.chunk);
    auto* order = still.template scratch<std::int32_t>(most + options_.chunk);
    double* scores = still.template scratch<double>(most + options_.chunk);
    auto* regions = still.template scratch<glimpse::Region<double>>(options_.chunk);
    Index count = 0;  // of keys
    for (Index first = 0; first < grid.cells();) {
      // The first M are held unseen, as published: the chunk that fills the memory ends there.
      const Index room = count < most ? most - count : options_.chunk;
      const Index more = std::min({options_.chunk, room, grid.cells() - first});
      {
        const ArenaScope piece(context.arena());
        const VarOf<C> pixels = still.constant(Shape{more, options_.patch[0], options_.patch[1], options_.channels});
        for (Index i = 0; i < more; ++i) regions[i] = grid[first + i];
        read_patches(image, std::span<const glimpse::Region<double>>(regions, static_cast<std::size_t>(more)),
                     pixels.template mutable_values<4>());
        const VarOf<C> new_keys = key_(still, features_(still, pixels));
        std::copy_n(new_keys.value, new_keys.size(), keys.value + count * width);
      }
      std::iota(cells + count, cells + count + more, static_cast<std::int32_t>(first));
      first += more;
      count += more;
      if (count <= most) continue;

      const ArenaScope piece(context.arena());
      const VarOf<C> rows = nn::slice_samples(still, keys, 0, count);
      std::fill_n(scores, count, 0.0);
      for (Index h = 0; h < options_.heads; ++h) {
        const VarOf<C> attention = attend(still, head(still, rows, h), head(still, query, h));
        for (Index i = 0; i < count; ++i) scores[i] += static_cast<double>(attention.value[i]);
      }
      std::iota(order, order + count, 0);
      std::nth_element(order, order + (most - 1), order + count, [scores](std::int32_t a, std::int32_t b) {
        return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
      });
      std::sort(order, order + most);  // so that what is kept moves to the front in place
      for (Index i = 0; i < most; ++i) {
        cells[i] = cells[order[i]];
        std::copy_n(keys.value + order[i] * width, width, keys.value + i * width);
      }
      count = most;
    }
    std::copy_n(cells, most, held);
    nn::count(context, still.multiply_adds());
    return {held, static_cast<std::size_t>(most)};
  }

  /// Scan, then the answer from the patches held. The regions are those, in the order of the scan.
  template <Context C, ImageSource Source>
  [[nodiscard]] PatchAnswer<typename C::Scalar> forward(C& context, std::span<const Source> images) const {
    detail::require_patch_images(kName, images, options_.channels);
    const auto batch = static_cast<Index>(images.size());
    auto* starts = context.template scratch<Index>(batch + 1);  // rows of image b: [starts[b], starts[b + 1])
    starts[0] = 0;
    auto* held = context.template scratch<std::span<const std::int32_t>>(batch);
    for (Index b = 0; b < batch; ++b) {
      ::new (static_cast<void*>(held + b)) std::span<const std::int32_t>(scan(context, images[static_cast<std::size_t>(b)]));
      starts[b + 1] = starts[b] + static_cast<Index>(held[b].size());
    }
    const Index total = starts[batch];
    const VarOf<C> pixels = context.constant(Shape{total, options_.patch[0], options_.patch[1], options_.channels});
    auto* exact = context.template scratch<glimpse::Region<double>>(total);
    auto* shown = context.template scratch<glimpse::Region<float>>(total);
    for (Index b = 0; b < batch; ++b) {
      const Source& image = images[static_cast<std::size_t>(b)];
      const PatchGrid grid = PatchGrid::covering(options_.patch, image.extent());
      Index row = starts[b];
      for (const std::int32_t cell : held[b]) {
        const glimpse::Region<double> r = exact[row] = grid[cell];
        shown[row++] = {static_cast<float>(r.s), static_cast<float>(r.x), static_cast<float>(r.y)};
      }
      read_patches(image, std::span<const glimpse::Region<double>>(exact + starts[b], held[b].size()),
                   pixels.template mutable_values<4>().slice(starts[b], starts[b + 1] - starts[b]));
    }
    return {answer(context, features_(context, pixels), starts, batch), {shown, static_cast<std::size_t>(total)}};
  }

  /// Proxies and noise are not looked at.
  template <Context C, ImageSource Source>
  [[nodiscard]] Outcome<typename C::Scalar> loss(C& context, const Minibatch<typename C::Scalar, Source>& minibatch,
                                                 const Moment& /*moment*/) const {
    const VarOf<C> logits = forward(context, minibatch.images).logits;
    return {nn::sum(context, options_.question.loss(context, logits, minibatch.targets)), logits};
  }

  /// One image. Throws Error on other channels than the model's.
  template <ImageSource Source>
  [[nodiscard]] Prediction classify(const Source& image, const Parameters<float>& parameters, Arena& arena) const {
    Inference<float> context(arena, parameters.values());
    const auto answer = forward(context, std::span<const Source>(&image, 1));
    return detail::prediction(options_.question.answer(context, answer.logits), 0, answer.regions);
  }

 private:
  static constexpr const char* kName = "iterative_patch_selection";
  static constexpr double kEpsilon = 1e-6;  ///< of the layer norms, as published

  BasicIterativePatchSelection(const IterativePatchSelectionOptions& o, ParameterLayout layout)
      : options_(checked(o)),
        layout_(std::move(layout)),
        features_(detail::make_network<Features>(layout_, "features", o.patch, o.channels, {})),
        query_(layout_.add("query", {features_.features()},
                           Initialiser::uniform(1 / std::sqrt(static_cast<double>(o.head_size))))),
        query_to_heads_(layout_, "query_to_heads", features_.features(), o.heads * o.head_size, unbiased(features_.features())),
        key_(layout_, "key", features_.features(), o.heads * o.head_size, unbiased(features_.features())),
        value_(layout_, "value", features_.features(), o.heads * o.head_size, unbiased(features_.features())),
        from_heads_(layout_, "from_heads", o.heads * o.head_size, features_.features(), unbiased(o.heads * o.head_size)),
        attention_norm_(layout_, "attention_norm", features_.features(), 1, kEpsilon),
        first_(layout_, "mlp1", features_.features(), o.hidden),
        second_(layout_, "mlp2", o.hidden, features_.features()),
        mlp_norm_(layout_, "mlp_norm", features_.features(), 1, kEpsilon),
        head_(layout_, "head", features_.features(), o.classes) {}

  static nn::DenseOptions unbiased(Index inputs) { return {.bias = false, .weights = nn::kaiming_uniform(inputs, 1)}; }
  static IterativePatchSelectionOptions checked(const IterativePatchSelectionOptions& o) {
    detail::require_patch_options(kName, o);
    require(std::min({o.chunk, o.heads, o.head_size, o.hidden}) >= 1, kName,
            ": at least 1 patch in a chunk, 1 head, a head size and a hidden size of 1 expected, ", o.chunk, ", ", o.heads,
            ", ", o.head_size, " and ", o.hidden, " came");
    return o;
  }
  /// The whole flat buffer as one parameter.
  [[nodiscard]] Parameter everything() const { return {0, Shape{layout_.size()}}; }

  /// Of keys, values or queries [R, heads * head_size], those of one head [R, head_size].
  template <Context C>
  [[nodiscard]] VarOf<C> head(C& context, VarOf<C> x, Index h) const {
    return nn::slice(context, x, h * options_.head_size, options_.head_size);
  }
  /// The attention of one head over the patches of one image: keys [R, head_size], query [1, head_size] to [1, R].
  template <Context C>
  [[nodiscard]] VarOf<C> attend(C& context, VarOf<C> keys, VarOf<C> query) const {
    using T = typename C::Scalar;
    const VarOf<C> scores = nn::key_scores(context, keys.reshape({1, keys.shape[0], keys.shape[1]}), query);
    return nn::softmax(context, nn::scale(context, T(1) / std::sqrt(static_cast<T>(options_.head_size)), scores));
  }

  /// features [R, F], of image b the rows from starts[b] to starts[b + 1].
  template <Context C>
  [[nodiscard]] VarOf<C> answer(C& context, VarOf<C> features, const Index* starts, Index batch) const {
    const VarOf<C> token = context.parameter(query_).reshape({1, query_.shape.size()});
    const VarOf<C> query = query_to_heads_(context, token);
    const VarOf<C> keys = key_(context, features);
    const VarOf<C> values = value_(context, features);
    VarOf<C> seen;  // [B, heads * head_size]
    auto* parts = context.template scratch<VarOf<C>>(batch);
    for (Index h = 0; h < options_.heads; ++h) {
      const VarOf<C> head_query = head(context, query, h);
      const VarOf<C> head_keys = head(context, keys, h);
      const VarOf<C> head_values = head(context, values, h);
      for (Index b = 0; b < batch; ++b) {
        const Index rows = starts[b + 1] - starts[b];
        const VarOf<C> attention = attend(context, nn::slice_samples(context, head_keys, starts[b], rows), head_query);
        const VarOf<C> of_image = nn::slice_samples(context, head_values, starts[b], rows);
        std::construct_at(parts + b, nn::attention_pool(context, attention, of_image.reshape({1, rows, options_.head_size})));
      }
      const VarOf<C> one = nn::concat_samples<C>(context, {parts, static_cast<std::size_t>(batch)});
      seen = h == 0 ? one : nn::concat(context, {seen, one});
    }
    VarOf<C> x = nn::add(context, from_heads_(context, seen), nn::repeat_samples(context, token, batch));
    x = attention_norm_(context, x);
    x = nn::add(context, second_(context, nn::relu(context, first_(context, x))), x);
    return head_(context, mlp_norm_(context, x));
  }

  IterativePatchSelectionOptions options_;
  ParameterLayout layout_;
  Features features_;
  Parameter query_;
  nn::Dense query_to_heads_;
  nn::Dense key_;
  nn::Dense value_;
  nn::Dense from_heads_;
  nn::GroupNorm attention_norm_;
  nn::Dense first_;
  nn::Dense second_;
  nn::GroupNorm mlp_norm_;
  nn::Dense head_;
};

using IterativePatchSelection = BasicIterativePatchSelection<>;

}  // namespace model
}  // namespace fovea::inline FOVEA_ABI
