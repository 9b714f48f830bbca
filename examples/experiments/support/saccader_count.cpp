// SPDX-License-Identifier: MIT
// The saccader that counts.
#include "contender_of.hpp"
#include <fovea/model/saccader.hpp>

namespace experiments::detail {

namespace {
struct CountParts : fovea::model::DefaultParts {
  using Head = fovea::model::CountHead;
};
}  // namespace

std::unique_ptr<Contender> make_count_saccader(const std::string& name, const Task& task, const Recipe& recipe) {
  return make_saccader_of<CountParts>(name, task, recipe);
}

}  // namespace experiments::detail
