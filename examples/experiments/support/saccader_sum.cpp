// SPDX-License-Identifier: MIT
// The saccader whose looks vote.
#include "contender_of.hpp"

namespace experiments::detail {

std::unique_ptr<Contender> make_sum_saccader(const std::string& name, const Task& task, const Recipe& recipe) {
  return make_saccader_of<fovea::model::SumHead>(name, task, recipe);
}

}  // namespace experiments::detail
