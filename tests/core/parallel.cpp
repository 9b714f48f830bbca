// SPDX-License-Identifier: MIT
#include <fovea/core/parallel.hpp>
#include <fovea/core/random.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

using namespace fovea;

TEST_CASE("every index is run once, by a worker that exists") {
  for (const int threads : {1, 2, 5}) {
    Workers workers(threads);
    CHECK(workers.size() == threads);
    for (const Index count : {Index{0}, Index{1}, Index{2}, Index{7}, Index{1000}}) {
      std::vector<std::atomic<int>> hits(static_cast<std::size_t>(count));
      std::atomic<bool> known{true};
      workers.run(count, [&](Index index, int worker) {
        ++hits[static_cast<std::size_t>(index)];
        if (worker < 0 || worker >= threads) known = false;
      });
      for (const auto& h : hits) CHECK(h == 1);
      CHECK(known);
    }
  }
}

TEST_CASE("workers can be used again and again") {
  Workers workers(3);
  std::atomic<int> total{0};
  for (int i = 0; i < 500; ++i) workers.run(4, [&](Index, int) { ++total; });
  CHECK(total == 2000);
}

TEST_CASE("the exception of the lowest index comes out, and the workers live on") {
  for (const int threads : {1, 4}) {
    Workers workers(threads);
    std::atomic<int> done{0};
    std::string message;
    try {
      workers.run(50, [&](Index index, int) {
        ++done;
        if (index % 10 == 7) throw std::runtime_error(std::to_string(index));
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    CHECK(message == "7");
    CHECK(done == 50);
    workers.run(3, [&](Index, int) { ++done; });
    CHECK(done == 53);
  }
}

TEST_CASE("a negative number of threads is refused, 0 means all") {
  CHECK_THROWS_AS(Workers(-1), Error);
  CHECK(Workers(0).size() >= 1);
}

TEST_CASE("shards cover the samples once, whatever the sizes") {
  for (const Index samples : {Index{0}, Index{1}, Index{7}, Index{8}, Index{9}, Index{64}}) {
    const Shards shards{samples, 8};
    Index next = 0;
    for (Index i = 0; i < shards.count(); ++i) {
      CHECK(shards[i].first == next);
      CHECK(shards[i].count > 0);
      CHECK(shards[i].count <= 8);
      next += shards[i].count;
    }
    CHECK(next == samples);
  }
}

TEST_CASE("rows are added in the same order on any number of threads") {
  constexpr Index columns = 10000;
  for (const Index rows : {Index{1}, Index{2}, Index{3}, Index{8}, Index{13}}) {
    Tensor<float, 2> original({rows, columns});
    Stream s(3);
    for (float& x : original) x = s.normal<float>();
    Tensor<float, 1> first({columns});
    for (const int threads : {1, 2, 3}) {
      Workers workers(threads);
      Tensor<float, 2> work = original;
      reduce_rows(workers, work.view());
      if (threads == 1) {
        std::copy_n(work.data(), columns, first.data());
        for (Index c = 0; c < columns; c += 997) {
          double sum = 0;
          for (Index r = 0; r < rows; ++r) sum += static_cast<double>(original(r, c));
          CHECK(static_cast<double>(work(0, c)) == doctest::Approx(sum).epsilon(1e-5));
        }
      } else {
        CHECK(std::memcmp(work.data(), first.data(), columns * sizeof(float)) == 0);
      }
    }
  }
}
