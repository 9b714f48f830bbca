// SPDX-License-Identifier: MIT
// The peers, at their papers' settings where there is a choice.
#include "contender_of.hpp"
#include <fovea/model/attention_sampling.hpp>
#include <fovea/model/full_resolution.hpp>
#include <fovea/model/iterative_patch_selection.hpp>
#include <fovea/model/patch_selection.hpp>
#include <fovea/model/proxy_only.hpp>
#include <fovea/model/ram.hpp>

#include <algorithm>

namespace experiments::detail {

std::unique_ptr<Contender> make_peer(const std::string& name, const Task& task, const Recipe& recipe) {
  using namespace fovea::model;
  const Facts& of = task.facts();
  const Extents<2> patch{recipe.patch, recipe.patch};
  const auto contender = [&](auto model, Sees sees = Sees::image) -> std::unique_ptr<Contender> {
    return std::make_unique<ContenderOf<decltype(model)>>(std::move(model), of.proxy, sees);
  };
  if (name == "proxy_only") {
    return contender(ProxyOnly({.classes = of.classes, .channels = of.channels, .proxy = of.proxy}));
  }
  if (name == "full_resolution") {
    FullResolutionOptions o = recipe.full_resolution;
    o.classes = of.classes;
    o.channels = of.channels;
    return contender(FullResolution(o), Sees::canvas_whole);
  }
  if (name == "ram") {
    // The finest scale of the retina covers as much of the image as a glimpse of the saccader.
    const auto side = static_cast<double>(std::max(of.image[0], of.image[1]));
    RamOptions o{.classes = of.classes, .channels = of.channels, .glimpse = recipe.saccader.glimpse[0]};
    o.patch = static_cast<Index>(recipe.saccader.scale * side);
    o.steps = recipe.saccader.steps;
    return contender(Ram(o));
  }
  if (name == "attention_sampling") {
    return contender(
        AttentionSampling(
            {.classes = of.classes, .channels = of.channels, .proxy = of.proxy, .patch = patch, .patches = recipe.patches}),
        Sees::canvas);
  }
  if (name == "patch_selection") {
    return contender(
        PatchSelection(
            {.classes = of.classes, .channels = of.channels, .proxy = of.proxy, .patch = patch, .patches = recipe.patches}),
        Sees::canvas);
  }
  if (name == "iterative_patch_selection") {
    return contender(
        IterativePatchSelection({.classes = of.classes, .channels = of.channels, .proxy = of.proxy, .patch = patch}),
        Sees::canvas);
  }
  return nullptr;
}

}  // namespace experiments::detail
