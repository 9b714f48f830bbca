// SPDX-License-Identifier: MIT
// The saccader whose looks each find a part of a pair.
#include "contender_of.hpp"
#include <fovea/model/saccader.hpp>

namespace experiments::detail {

namespace {
struct PairParts : fovea::model::DefaultParts {
  using Head = fovea::model::PairHead;
};
}  // namespace

std::unique_ptr<Contender> make_pair_saccader(const std::string& name, const Task& task, const Recipe& recipe) {
  return make_saccader_of<PairParts>(name, task, recipe);
}

}  // namespace experiments::detail
