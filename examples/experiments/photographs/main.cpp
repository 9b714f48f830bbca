// SPDX-License-Identifier: MIT
// Which speed limit, if any, stands in a photograph of 12 megapixels: the second published experiment, with photographs and
// signs that can be had, classified from JPEG files on disk.
//
// needs: CLI11 PNG json jpeg
// smoke-test: --help
// smoke-test: --smoke --output photographs-smoke --work photographs-smoke/work
#include "../support/program.hpp"
#include "photographs.hpp"

#include <memory>

namespace {
/// A look at random meets a sign once in two hundred times. Training begins with signs and regions of so many times the size,
/// which shrink together ...
constexpr double kEnlarged = 8;
constexpr double kEnlargedShare = 0.5;  ///< ... until this share of it
}  // namespace

int main(int argc, char** argv) {
  using namespace experiments;
  Recipe r;
  r.saccader.glimpse = {64, 64};
  r.saccader.steps = 4;
  r.saccader.scale = 256.0 / 4000;
  r.saccader.filters = 32;
  r.saccader.decode_proxy = false;
  r.saccader.policy.zoom = 0;        // at 4 pixels to a sample a look reads the level of ratio 4 and no other
  r.saccader.policy.mean_above = 1;  // wide looks too go to places of their own
  r.saccader.policy.worth = 8;
  r.saccader.policy.inhibited = 1;
  r.saccader.policy.inhibition = 100;
  r.curriculum = [](fovea::train::Curriculum& c) {
    c.policy_begin = 2;
    c.first_scale = kEnlarged * c.scale;
    c.scale_end = kEnlargedShare;
  };
  r.border = true;
  r.rate = 3e-4;  // at 1e-3 it came to answer every image alike
  r.batch = 16;
  r.shard = 8;
  r.images = 100'000;
  r.models = {"saccader", "open_loop", "proxy_only", "random_glimpses", "centre_glimpses", "grid_glimpses"};
  const auto make = [](const TaskOptions& from) {
    PhotographsOptions options;
    if (!from.data.empty()) options.data = from.data;
    options.smoke = from.smoke && from.data.empty();
    options.enlarged = options.smoke ? 1 : kEnlarged;
    options.enlarged_images = static_cast<Index>(kEnlargedShare * static_cast<double>(from.images));
    return std::make_unique<Photographs>(options);
  };
  return program(argc, argv,
                 {"photographs", "Speed-limit signs somewhere in photographs of 12 megapixels.", {{"speed-limits", make, r}}});
}
