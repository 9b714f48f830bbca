// SPDX-License-Identifier: MIT
// Positions of the endless sequence: every item once an epoch, or every class equally often.
#include "support/message_of.hpp"
#include <fovea/data/sampler.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace {

using fovea::Index;
using fovea::data::Order;
using fovea::data::Sampler;
using fovea_test::message_of;

/// 50 items of class 0, 7 of class 1, one of class 2, mixed.
std::vector<std::int32_t> unequal() {
  std::vector<std::int32_t> labels(58, 0);
  for (std::size_t i = 0; i < 7; ++i) labels[8 * i + 3] = 1;
  labels[40] = 2;
  return labels;
}

std::vector<Index> items(const Sampler& sampler, std::uint64_t first, std::uint64_t count) {
  std::vector<Index> all;
  for (std::uint64_t p = first; p < first + count; ++p) all.push_back(sampler[p]);
  return all;
}

}  // namespace

TEST_CASE("sampler: shuffled visits every item once an epoch, each in an order of its own") {
  const Sampler sampler(unequal(), 3, Order::shuffled, 5);
  CHECK(sampler.size() == 58);
  std::set<std::vector<Index>> orders;
  for (std::uint64_t epoch = 0; epoch < 4; ++epoch) {
    std::vector<Index> seen = items(sampler, epoch * 58, 58);
    orders.insert(seen);
    std::sort(seen.begin(), seen.end());
    for (Index i = 0; i < 58; ++i) CHECK(seen[static_cast<std::size_t>(i)] == i);
  }
  CHECK(orders.size() == 4);
}

TEST_CASE("sampler: of_class has the items of each class") {
  const auto labels = unequal();
  const Sampler sampler(labels, 4, Order::shuffled, 5);
  CHECK(sampler.classes() == 4);
  std::size_t all = 0;
  for (Index k = 0; k < 4; ++k) {
    const auto of = sampler.of_class(k);
    all += of.size();
    CHECK(std::is_sorted(of.begin(), of.end()));
    for (const Index i : of) CHECK(labels[static_cast<std::size_t>(i)] == k);
  }
  CHECK(all == labels.size());
  CHECK(sampler.of_class(3).empty());
}

TEST_CASE("sampler: balanced has every class once a block, in changing orders") {
  const auto labels = unequal();
  const Sampler sampler(labels, 3, Order::balanced, 5);
  std::set<std::vector<std::int32_t>> orders;
  for (std::uint64_t block = 0; block < 200; ++block) {
    std::vector<std::int32_t> classes;
    for (const Index i : items(sampler, block * 3, 3)) classes.push_back(labels[static_cast<std::size_t>(i)]);
    orders.insert(classes);
    std::sort(classes.begin(), classes.end());
    CHECK(classes == std::vector<std::int32_t>{0, 1, 2});
  }
  CHECK(orders.size() == 6);
}

TEST_CASE("sampler: balanced visits every item of a class before any comes again") {
  const auto labels = unequal();
  const Sampler sampler(labels, 3, Order::balanced, 9);
  std::vector<std::vector<Index>> of_class(3);
  for (const Index i : items(sampler, 0, 3 * 350))
    of_class[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])].push_back(i);
  for (Index k = 0; k < 3; ++k) {
    CAPTURE(k);
    const auto& visits = of_class[static_cast<std::size_t>(k)];
    REQUIRE(visits.size() == 350);
    const std::size_t size = sampler.of_class(k).size();
    std::set<std::vector<Index>> orders;
    for (std::size_t round = 0; round + size <= visits.size(); round += size) {
      const std::vector<Index> order(visits.begin() + static_cast<std::ptrdiff_t>(round),
                                     visits.begin() + static_cast<std::ptrdiff_t>(round + size));
      CHECK(std::set<Index>(order.begin(), order.end()).size() == size);
      orders.insert(order);
    }
    // 50 and 7 items: orders hardly come again; one item has one.
    CHECK(orders.size() >= (size == 1 ? 1 : 350 / size - 1));
  }
}

TEST_CASE("sampler: classes of one size do not go in step") {
  const std::vector<std::int32_t> labels = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  const Sampler sampler(labels, 2, Order::balanced, 3);
  int same = 0;
  for (std::uint64_t block = 0; block < 800; ++block) {
    const Index a = sampler[2 * block];
    const Index b = sampler[2 * block + 1];
    same += a % 8 == b % 8 ? 1 : 0;
  }
  CHECK(same > 50);  // one in 8 by chance: 100, deviation 9
  CHECK(same < 150);
}

TEST_CASE("sampler: a pure function of the seed and the position") {
  for (const Order order : {Order::shuffled, Order::balanced}) {
    const Sampler a(unequal(), 3, order, 5);
    const Sampler b(unequal(), 3, order, 5);
    const Sampler c(unequal(), 3, order, 6);
    CHECK(a[1000] == b[1000]);
    CHECK(items(a, 30, 100) == items(b, 30, 100));
    CHECK(items(a, 0, 100) != items(c, 0, 100));
    const std::uint64_t far = std::uint64_t{1} << 60;
    CHECK(a[far] == b[far]);
    CHECK(items(a, far, 58) != items(a, 0, 58));
  }
}

TEST_CASE("sampler: what it refuses") {
  const std::vector<std::int32_t> labels = {0, 1, 0};
  CHECK(message_of([] { (void)Sampler({}, 2, Order::shuffled, 0); }) ==
        "sampler: at least 1 item and 1 class expected, 0 and 2 came");
  CHECK(message_of([&] { (void)Sampler(labels, 1, Order::shuffled, 0); }) == "sampler: labels of 0 to 0 expected, 1 came");
  CHECK(message_of([&] { (void)Sampler(labels, -1, Order::shuffled, 0); }) ==
        "sampler: at least 1 item and 1 class expected, 3 and -1 came");
  CHECK(message_of([&] { (void)Sampler(labels, 3, Order::balanced, 0); }) ==
        "sampler: an item of every class expected, there is none of class 2");
  CHECK(message_of([&] { (void)Sampler(labels, 3, Order::shuffled, 0); }).empty());
}
