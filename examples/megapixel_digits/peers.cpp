// SPDX-License-Identifier: MIT
// The peers, at their papers' settings where there is a choice.
#include "report.hpp"
#include <fovea/model/attention_sampling.hpp>
#include <fovea/model/iterative_patch_selection.hpp>
#include <fovea/model/patch_selection.hpp>
#include <fovea/model/proxy_only.hpp>
#include <fovea/model/ram.hpp>

#include <algorithm>
#include <iterator>

namespace megapixel {

namespace {

template <class Model>
ModelReport run(const std::string& name, Task& task, const RunOptions& options, const Model& model, const Told& told) {
  return report(
      name, task, options, model,
      [&](auto& context, const auto& minibatch, const fovea::model::Moment& moment) {
        return model.loss(context, minibatch, moment);
      },
      told);
}

constexpr const char* kPeers[] = {"proxy_only", "ram", "attention_sampling", "patch_selection", "iterative_patch_selection"};

}  // namespace

bool is_peer(const std::string& name) { return std::find(std::begin(kPeers), std::end(kPeers), name) != std::end(kPeers); }

ModelReport run_peer(const std::string& name, Task& task, const RunOptions& options, const Told& told) {
  using namespace fovea::model;
  const fovea::Index classes = task.classes();
  const fovea::Extents<2> proxy = task.options().proxy;
  if (name == "proxy_only") return run(name, task, options, ProxyOnly({.classes = classes, .proxy = proxy}), told);
  if (name == "ram") return run(name, task, options, Ram({.classes = classes, .glimpse = 32, .steps = options.glimpses}), told);
  if (name == "attention_sampling") {
    return run(name, task, options, AttentionSampling({.classes = classes, .proxy = proxy, .patches = options.glimpses}), told);
  }
  if (name == "patch_selection") {
    return run(name, task, options, PatchSelection({.classes = classes, .proxy = proxy, .patches = options.glimpses}), told);
  }
  fovea::require(name == "iterative_patch_selection", "no model of the name ", name);
  return run(name, task, options, IterativePatchSelection({.classes = classes}), told);
}

std::vector<std::string> all_models() {
  std::vector<std::string> names = {"saccader", "random_glimpses", "centre_glimpses", "grid_glimpses"};
  names.insert(names.end(), std::begin(kPeers), std::end(kPeers));
  return names;
}

}  // namespace megapixel
