// SPDX-License-Identifier: MIT
/// \file
/// The models that experiments compare, by name: for their command line, and for the page that is made of their rows.
#pragma once

#include <string>
#include <vector>

namespace experiments {

/// In the order of a table.
[[nodiscard]] inline const std::vector<std::string>& all_models() {
  static const std::vector<std::string> all = {
      "saccader",        "open_loop", "proxy_only", "random_glimpses",    "centre_glimpses", "grid_glimpses",
      "full_resolution", "reference", "ram",        "attention_sampling", "patch_selection", "iterative_patch_selection"};
  return all;
}

}  // namespace experiments
