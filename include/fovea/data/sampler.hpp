// SPDX-License-Identifier: MIT
/// \file
/// Which item of a set stands at a position of the endless training sequence: a pure function of the two and a seed, so that a
/// restarted run, other threads and other ranks need not be told how far it got.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/shuffle.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace data {

enum class Order : std::uint8_t {
  /// Every item once an epoch, in an order of each epoch's own.
  shuffled,
  /// Every class equally often, whatever its size: each once in every K positions, in an order of each K's own. Within a class
  /// every item comes once before any comes again, in an order of each round's own.
  balanced,
};

/// The order in which items with labels are visited. Any number of threads may ask at once; takes less than a microsecond,
/// whatever the number of items.
class Sampler {
 public:
  /// `labels`: one for each item, in [0, classes). Throws Error on no item, on other labels, and on a class without items where
  /// the order is balanced.
  Sampler(std::span<const std::int32_t> labels, Index classes, Order order, std::uint64_t seed)
      : order_(order), seed_(seed), first_(static_cast<std::size_t>(classes < 0 ? 0 : classes) + 1) {
    require(!labels.empty() && classes >= 1, "sampler: at least 1 item and 1 class expected, ", labels.size(), " and ", classes,
            " came");
    for (const std::int32_t label : labels) {
      require(label >= 0 && label < classes, "sampler: labels of 0 to ", classes - 1, " expected, ", label, " came");
      ++first_[static_cast<std::size_t>(label) + 1];
    }
    for (std::size_t k = 1; k < first_.size(); ++k) {
      require(first_[k] > 0 || order != Order::balanced, "sampler: an item of every class expected, there is none of class ",
              k - 1);
      first_[k] += first_[k - 1];
    }
    std::vector<Index> next = first_;
    by_class_.resize(labels.size());
    for (std::size_t i = 0; i < labels.size(); ++i) {
      by_class_[static_cast<std::size_t>(next[static_cast<std::size_t>(labels[i])]++)] = static_cast<Index>(i);
    }
  }

  /// Items there are, which is also what an epoch has of positions, in either order.
  [[nodiscard]] Index size() const noexcept { return static_cast<Index>(by_class_.size()); }
  [[nodiscard]] Index classes() const noexcept { return static_cast<Index>(first_.size()) - 1; }
  [[nodiscard]] Order order() const noexcept { return order_; }
  /// The items of a class, ascending.
  [[nodiscard]] std::span<const Index> of_class(Index k) const noexcept {
    FOVEA_ASSERT(k >= 0 && k < classes());
    const auto at = static_cast<std::size_t>(k);
    return std::span(by_class_).subspan(static_cast<std::size_t>(first_[at]),
                                        static_cast<std::size_t>(first_[at + 1] - first_[at]));
  }

  /// The item at a position.
  [[nodiscard]] Index operator[](std::uint64_t position) const {
    if (order_ == Order::shuffled) return visit(size(), seed_, position);
    const auto count = static_cast<std::uint64_t>(classes());
    const Index k = visit(classes(), seed_, position);
    const std::span<const Index> items = of_class(k);
    // Shuffle's streams are of sample 0.
    Stream name(seed_, static_cast<std::uint64_t>(k), 1, Purpose::shuffle);
    const std::uint64_t high = name.bits();
    return items[static_cast<std::size_t>(
        visit(static_cast<Index>(items.size()), (high << 32) | name.bits(), position / count))];
  }

 private:
  /// The one of `count` at a position of a sequence of shuffled epochs.
  [[nodiscard]] static Index visit(Index count, std::uint64_t seed, std::uint64_t position) {
    const auto n = static_cast<std::uint64_t>(count);
    return Shuffle(count, seed, position / n)[static_cast<Index>(position % n)];
  }

  Order order_;
  std::uint64_t seed_;
  std::vector<Index> first_;     ///< class k is by_class_[first_[k]] to by_class_[first_[k + 1]]
  std::vector<Index> by_class_;  ///< items sorted by class
};

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
