// SPDX-License-Identifier: MIT
// The published saccader.
#include "contender_of.hpp"
#include <fovea/model/saccader.hpp>

#include <algorithm>

namespace experiments {

namespace detail {

std::unique_ptr<Contender> make_reference(const std::string& name, const Task& task, const Recipe& recipe) {
  using namespace fovea::model;
  if (name != "reference") return nullptr;
  const Facts& of = task.facts();
  const SaccaderOptions& like = recipe.saccader;
  const auto model = Saccader::reference({.classes = of.classes,
                                          .channels = of.channels,
                                          .proxy = of.proxy,
                                          .glimpse = like.glimpse,
                                          .steps = like.steps,
                                          .scale = like.scale / 2});
  Recipe published = recipe;
  published.curriculum = [](fovea::train::Curriculum& c) {
    // Without a curriculum: regions and noise are the policy's own from the start.
    c.first_scale = c.scale;
    c.first_deviation = c.deviation;
    c.evidence = c.each_look = c.policy_begin = 0;
  };
  return std::make_unique<SaccaderContender<std::remove_cvref_t<decltype(model)>>>(model, published);
}

}  // namespace detail

std::unique_ptr<Contender> make_contender(const std::string& name, const Task& task, const Recipe& recipe) {
  using Make = std::unique_ptr<Contender> (*)(const std::string&, const Task&, const Recipe&);
  const Make saccader = [&]() -> Make {
    switch (recipe.aggregation) {
      case Aggregation::sum: return &detail::make_sum_saccader;
      case Aggregation::count: return &detail::make_count_saccader;
      case Aggregation::pair: break;
    }
    return &detail::make_pair_saccader;
  }();
  for (const Make make : {saccader, &detail::make_reference, &detail::make_peer}) {
    if (auto contender = make(name, task, recipe)) return contender;
  }
  fovea::fail("no model of the name ", name);
}

}  // namespace experiments
