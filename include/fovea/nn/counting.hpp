// SPDX-License-Identifier: MIT
/// \file
/// A context that counts the multiply-adds of what is computed in it.
///
/// Counted are the products: convolutions, dense layers and with them the cells, and attention (key_scores, attention_pool),
/// each as its formula has it, whatever algorithm the kernel takes (Winograd's needs fewer) and padding included. Not counted
/// is what is done once per element: biases, activations, norms, pooling, gates, and the reading of glimpses. A backward pass
/// costs about twice its forward pass and is not counted.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/nn/context.hpp>

namespace fovea::inline FOVEA_ABI {
namespace nn {

/// `C`, and a count. Everything made in it lives in, and is recorded by, the context it was made from.
///
///     nn::Counting counting(context);
///     const auto path = saccader.forward(counting, proxies, images);
///     counting.multiply_adds();  // of this pass
template <Context C>
class Counting : public detail::Within<C> {
 public:
  explicit Counting(C& context) noexcept : detail::Within<C>(context) {}
  // A copy would count what the original does not hear of.
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;

  /// What ops call, by nn::count. A counting context within another one tells that too.
  void count(Index multiply_adds) {
    multiply_adds_ += multiply_adds;
    nn::count(*this->context_, multiply_adds);
  }

  /// Since this was made.
  [[nodiscard]] Index multiply_adds() const noexcept { return multiply_adds_; }

 private:
  Index multiply_adds_ = 0;
};

}  // namespace nn
}  // namespace fovea::inline FOVEA_ABI
