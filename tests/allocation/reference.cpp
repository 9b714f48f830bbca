// SPDX-License-Identifier: MIT
// The reference saccader: nothing from the heap after the first pass, in training and in answering.
#include "support/counting_new.hpp"
#include "support/smooth_pictures.hpp"
#include <fovea/model/saccader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

using namespace fovea;

TEST_CASE("allocation: none in the reference saccader after the first pass") {
  for (const bool closed : {false, true}) {
    model::ReferenceOptions o;
    o.latent = 16;
    o.filters = 4;
    o.steps = 3;
    o.closed_loop = closed;
    const auto saccader = model::Saccader::reference(o);
    const Parameters<float> weights(saccader.layout(), 1);
    Tensor<float, 1> gradient({weights.values().size()});
    const fovea_test::Pictures<std::uint8_t> pictures(5, {120, 140}, 1, 255.0);
    const std::array<std::int32_t, 5> labels{0, 9, 2, 54, 1};
    Arena arena(1 << 10);  // too small: the first pass has to grow it
    double sum = 0;
    const auto pass = [&] {
      arena.reset();
      Tape<float> tape(arena, weights.values(), gradient.view());
      model::Looking looking;
      looking.draw = true;
      const auto path = saccader.forward(tape, fovea_test::proxies(tape, o, pictures), pictures.sources(), looking);
      const auto loss = saccader.loss(tape, path, labels, {});
      tape.backward(loss);
      sum += static_cast<double>(loss.item());
      arena.reset();
      sum += static_cast<double>(saccader.classify(pictures.pyramids[1], weights, arena).probabilities[0]);
    };
    pass();
    arena.reset();
    const fovea_test::AllocationCount count;
    pass();
    pass();
    CHECK(count.made() == 0);
    CHECK(sum > 0);
  }
}
