// SPDX-License-Identifier: MIT
// The saccader whose looks each find a part of a pair.
#include "contender_of.hpp"

namespace experiments::detail {

std::unique_ptr<Contender> make_pair_saccader(const std::string& name, const Task& task, const Recipe& recipe) {
  return make_saccader_of<fovea::model::PairHead>(name, task, recipe);
}

}  // namespace experiments::detail
