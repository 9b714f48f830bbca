// SPDX-License-Identifier: MIT
// How many units stand on a map of 2048x2048 pixels, of which the minimap shows 64x64: the third published experiment, in
// another strategy game.
//
// needs: CLI11 PNG json jpeg
// smoke-test: --help
// smoke-test: --smoke --variant resampled --output counting-smoke --work counting-smoke/work
#include "../support/program.hpp"
#include "counting.hpp"

#include <memory>

namespace {

using namespace experiments;

experiments::Variant variant(const char* name, counting::Variant which) {
  Recipe r;
  r.aggregation = Aggregation::count;
  r.saccader.glimpse = {96, 96};
  r.saccader.steps = 6;
  r.saccader.scale = 320.0 / 2048;
  r.saccader.filters = 32;
  r.saccader.decode_proxy = false;
  r.saccader.policy.worth = 4;
  r.saccader.policy.inhibited = 1;
  r.saccader.policy.inhibition = 100;
  r.curriculum = [](fovea::train::Curriculum& c) {
    c.policy_begin = 2;
    c.each_look = c.prefix = 0;
  };
  r.batch = 16;
  r.shard = 8;
  r.images = 100'000;
  r.models = {"saccader", "open_loop", "proxy_only", "random_glimpses", "centre_glimpses", "grid_glimpses"};
  const auto make = [which](const TaskOptions& from) {
    if (from.smoke && from.data.empty()) return std::make_unique<counting::Counting>(which);
    return std::make_unique<counting::Counting>(from.data.empty() ? "/usr/share/games/boswars" : from.data, which);
  };
  return {name, make, r};
}

}  // namespace

int main(int argc, char** argv) {
  return program(argc, argv,
                 {"counting",
                  "How many units stand on a map of Bos Wars?",
                  {variant("resampled", counting::Variant::resampled), variant("designers", counting::Variant::designers)}});
}
