// SPDX-License-Identifier: MIT
// What is held out by its name stays so, and is as much as was asked for.
#include "support/message_of.hpp"
#include <fovea/data/split.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <string>

using fovea::data::fnv1a;
using fovea::data::held_out;
using fovea::data::mix64;

TEST_CASE("fnv1a, mix64: the published values") {
  CHECK(fnv1a("") == 0xCBF29CE484222325U);
  CHECK(fnv1a("a") == 0xAF63DC4C8601EC8CU);
  CHECK(fnv1a("foobar") == 0x85944171F73967E8U);
  CHECK(fnv1a("\xFF") == (0xCBF29CE484222325U ^ 0xFFU) * 0x100000001B3U);  // bytes are unsigned
  CHECK(mix64(0) == 0);
  CHECK(mix64(1) == 0xB456BCFC34C2CB2CU);
}

TEST_CASE("held_out: these names on every machine") {
  // A change of these moves pictures between training and validation: models in use would be judged on what they have seen.
  std::string held;
  for (int i = 0; i < 40; ++i) {
    if (held_out("class/picture " + std::to_string(i) + ".jpg", 0.25, 7)) held += std::to_string(i) + ' ';
  }
  CHECK(held == "14 16 17 21 22 ");
}

TEST_CASE("held_out: the share asked for, of any names and with any seed") {
  constexpr int count = 20000;
  for (const double fraction : {0.01, 0.1, 0.5, 0.9}) {
    for (const std::uint64_t seed : {0U, 1U, 12345U}) {
      CAPTURE(fraction);
      CAPTURE(seed);
      int numbered = 0;
      int folders = 0;
      for (int i = 0; i < count; ++i) {
        numbered += held_out("cats/IMG_" + std::to_string(i) + ".jpg", fraction, seed) ? 1 : 0;
        folders += held_out(std::to_string(i) + "/x.png", fraction, seed) ? 1 : 0;
      }
      const double deviation = std::sqrt(count * fraction * (1 - fraction));
      CHECK(std::abs(numbered - count * fraction) < 4 * deviation);
      CHECK(std::abs(folders - count * fraction) < 4 * deviation);
    }
  }
}

TEST_CASE("held_out: seeds are independent, fractions are nested") {
  constexpr int count = 20000;
  int both = 0;
  for (int i = 0; i < count; ++i) {
    const std::string name = "a/" + std::to_string(i);
    both += held_out(name, 0.5, 1) && held_out(name, 0.5, 2) ? 1 : 0;
    if (held_out(name, 0.2, 1) && !held_out(name, 0.3, 1)) FAIL(name);
    if (held_out(name, 0, 1) || !held_out(name, 1, 1)) FAIL(name);
  }
  CHECK(std::abs(both - count / 4.0) < 4 * std::sqrt(count * 3 / 16.0));
  CHECK(fovea_test::message_of([] { (void)held_out("a", 1.5, 0); }).find("a fraction of 0 to 1 expected") != std::string::npos);
}
