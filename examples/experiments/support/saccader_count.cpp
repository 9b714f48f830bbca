// SPDX-License-Identifier: MIT
// The saccader that counts.
#include "contender_of.hpp"

namespace experiments::detail {

std::unique_ptr<Contender> make_count_saccader(const std::string& name, const Task& task, const Recipe& recipe) {
  return make_saccader_of<fovea::model::CountHead>(name, task, recipe);
}

}  // namespace experiments::detail
