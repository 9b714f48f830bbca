// SPDX-License-Identifier: MIT
// Which digit is in the majority among five, lost in millions of pixels of scribbles: the saccader and its peers on the
// benchmark of attention sampling, 10 looks at an image.
//
// needs: CLI11 PNG json jpeg
// smoke-test: --help
// smoke-test: --smoke --variant 1500 --output megapixel-smoke --work megapixel-smoke/work
#include "megapixel.hpp"

namespace {

using namespace experiments;

Variant variant(const MegapixelOptions& options, double epochs) {
  Recipe r;
  r.saccader.glimpse = {50, 50};
  r.saccader.steps = 10;
  r.saccader.scale = 64.0 / static_cast<double>(options.side);
  r.saccader.filters = 16;
  r.saccader.decode_proxy = false;  // a proxy of this size has ten thousands of pixels to explain
  r.saccader.policy.worth = 8;
  r.saccader.policy.inhibited = 1;
  r.saccader.policy.inhibition = 100;
  r.curriculum = [](fovea::train::Curriculum& c) { c.policy_begin = 2; };
  r.batch = 16;
  r.shard = 8;
  r.full_resolution = {.width = 8, .blocks_per_stage = 1};
  r.images = static_cast<Index>(5000 * epochs);
  r.models = all_models();
  return {options.variant, [options](const TaskOptions& from) { return std::make_unique<Megapixel>(options, from); }, r};
}

}  // namespace

int main(int argc, char** argv) {
  return program(argc, argv,
                 {"megapixel",
                  "Five digits among fifty scribbles in 1500x1500 or 3000x3000 pixels: which is in the majority?",
                  {variant({.variant = "1500"}, 20), variant({.variant = "1500-digits-last", .noise_after = false}, 20),
                   variant({.variant = "3000", .side = 3000}, 20)}});
}
