// SPDX-License-Identifier: MIT
// The saccader, and the same networks under gazes that nobody decides.
#include "report.hpp"
#include <fovea/train/curriculum.hpp>

#include <map>

namespace megapixel {

namespace {

const std::map<std::string, fovea::model::Gaze>& gazes() {
  using fovea::model::Gaze;
  static const std::map<std::string, Gaze> all = {{"saccader", Gaze::policy},
                                                  {"random_glimpses", Gaze::uniform},
                                                  {"centre_glimpses", Gaze::centre},
                                                  {"grid_glimpses", Gaze::grid}};
  return all;
}

}  // namespace

bool is_saccader(const std::string& name) { return gazes().contains(name); }

ModelReport run_saccader(const std::string& name, Task& task, const RunOptions& options, const Told& told) {
  const TaskOptions& of = task.options();
  fovea::model::SaccaderOptions o;
  o.classes = task.classes();
  o.proxy = of.proxy;
  o.glimpse = {options.glimpse_size, options.glimpse_size};
  o.steps = options.glimpses;
  o.scale = static_cast<double>(options.region) / static_cast<double>(std::max(of.images.width, of.images.height));
  o.decode_proxy = false;  // a proxy of this size has ten thousands of pixels to explain
  o.gaze = gazes().at(name);
  if (!options.variations.salience) o.policy.salience = 0;

  const fovea::model::Saccader saccader(o);
  fovea::train::Curriculum curriculum(saccader.options());
  if (!options.variations.read_first) curriculum.policy_begin = 0;
  if (!options.variations.each_look) curriculum.each_look = 0;
  if (!options.variations.small_first) curriculum.first_scale = 1;
  return report(
      name, task, options, saccader,
      [&](auto& context, const auto& minibatch, const fovea::model::Moment& moment) {
        return curriculum(context, saccader, minibatch, moment);
      },
      told);
}

}  // namespace megapixel
