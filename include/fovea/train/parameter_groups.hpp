// SPDX-License-Identifier: MIT
/// \file
/// Groups of parameters, chosen by name, that learn at another rate or with another weight decay, or not at all.
///
///     train::Adam<float> adam(layout, {.weight_decay = 0.01}, {{"policy.*", {.rate = 0.1}}, {"*.b", {.weight_decay = 0}}});
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/view.hpp>

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// What a group sets; what it leaves empty stays as it was.
struct GroupSettings {
  /// A factor on the learning rate, >= 0. At 0 the group is frozen: neither its values nor its moments are touched.
  std::optional<double> rate{};
  /// Instead of the optimiser's own, >= 0.
  std::optional<double> weight_decay{};
};

/// The settings of all parameters whose names match `pattern`: `*` stands for any characters, none and dots included, `?` for
/// any one. A parameter follows every group it matches; where two set the same thing, the later one holds.
struct ParameterGroup {
  std::string pattern;
  GroupSettings settings;
};

/// Whether the whole of `name` matches `pattern`.
[[nodiscard]] inline bool matches(std::string_view pattern, std::string_view name) noexcept {
  std::size_t p = 0;
  std::size_t n = 0;
  std::size_t star = std::string_view::npos;  // the last one met, and how much of the name it has taken
  std::size_t taken = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

/// A stretch of the flat buffer that is updated in one go.
struct UpdateRange {
  Index first = 0;
  Index count = 0;
  double rate = 1;  ///< factor on the learning rate, > 0
  double weight_decay = 0;
};

/// The stretches that `groups` make of a layout, in the order of the buffer: neighbours of equal settings are one, frozen
/// parameters are in none. A parameter brings the padding behind it along. `weight_decay`: where no group says otherwise.
/// `one_each`: a stretch for every parameter. Throws Error on a pattern that no name matches and on settings below 0.
[[nodiscard]] inline std::vector<UpdateRange> update_ranges(const ParameterLayout& layout, double weight_decay,
                                                            const std::vector<ParameterGroup>& groups, bool one_each = false) {
  const auto& entries = layout.entries();
  for (const ParameterGroup& group : groups) {
    const double rate = group.settings.rate.value_or(1);
    const double decay = group.settings.weight_decay.value_or(0);
    require(rate >= 0 && std::isfinite(rate) && decay >= 0 && std::isfinite(decay), "parameter group \"", group.pattern,
            "\": a rate and a weight decay of at least 0 expected, ", rate, " and ", decay, " came");
    bool found = false;
    for (const auto& entry : entries) found = found || matches(group.pattern, entry.name);
    if (!found) {
      std::string names;
      for (std::size_t i = 0; i < entries.size() && i < 8; ++i) names += (i > 0 ? ", " : "") + entries[i].name;
      fail("parameter group \"", group.pattern, "\": a pattern that matches a parameter expected; there are ", entries.size(),
           ": ", names, entries.size() > 8 ? ", ..." : "");
    }
  }
  std::vector<UpdateRange> ranges;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Index first = entries[i].parameter.offset;
    const Index end = i + 1 < entries.size() ? entries[i + 1].parameter.offset : layout.size();
    UpdateRange range{first, end - first, 1, weight_decay};
    for (const ParameterGroup& group : groups) {
      if (!matches(group.pattern, entries[i].name)) continue;
      range.rate = group.settings.rate.value_or(range.rate);
      range.weight_decay = group.settings.weight_decay.value_or(range.weight_decay);
    }
    if (range.rate == 0 || range.count == 0) continue;
    if (!one_each && !ranges.empty()) {
      UpdateRange& last = ranges.back();
      if (last.first + last.count == first && last.rate == range.rate && last.weight_decay == range.weight_decay) {
        last.count += range.count;
        continue;
      }
    }
    ranges.push_back(range);
  }
  return ranges;
}

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
