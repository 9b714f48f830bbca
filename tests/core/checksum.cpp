// SPDX-License-Identifier: MIT
#include <fovea/core/checksum.hpp>
#include <fovea/core/random.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <vector>

using namespace fovea;

namespace {

std::vector<std::byte> noise(std::size_t size) {
  Stream stream(1, 0, size, Purpose::test);
  std::vector<std::byte> bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(stream.below(256));
  return bytes;
}

}  // namespace

TEST_CASE("checksum: every changed bit and every changed word changes it, wherever they are") {
  for (std::size_t size = 0; size < 80; ++size) {
    std::vector<std::byte> bytes = noise(size);
    const std::uint64_t sum = checksum(bytes);
    CHECK(checksum(bytes) == sum);
    CHECK(checksum(bytes, 1) != sum);
    for (std::size_t bit = 0; bit < 8 * size; ++bit) {
      bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
      CHECK(checksum(bytes) != sum);
      bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    }
    Stream stream(2, 0, size, Purpose::test);
    for (std::size_t at = 0; at + 8 <= size; at += 8) {
      const std::vector<std::byte> before = bytes;
      const std::uint64_t word = (std::uint64_t{stream.bits()} << 32U) | stream.bits() | 1U;
      for (std::size_t i = 0; i < 8; ++i) bytes[at + i] ^= static_cast<std::byte>(word >> (8 * i));
      CHECK(checksum(bytes) != sum);
      bytes = before;
    }
  }
}

TEST_CASE("checksum: lengths, places and order count, and no two of many are equal") {
  std::set<std::uint64_t> sums;
  std::size_t count = 0;
  const std::vector<std::byte> zeros(4096);
  for (std::size_t size = 0; size < zeros.size(); ++size, ++count) sums.insert(checksum(std::span(zeros).first(size)));
  // One byte of another value somewhere among zeros.
  for (std::size_t at = 0; at < 512; ++at) {
    std::vector<std::byte> bytes(512);
    for (unsigned value = 1; value < 256; value += 2, ++count) {
      bytes[at] = static_cast<std::byte>(value);
      sums.insert(checksum(bytes));
    }
  }
  // Two words of a text swapped.
  const std::vector<std::byte> bytes = noise(256);
  for (std::size_t i = 0; i < 32; ++i) {
    for (std::size_t j = 0; j < i; ++j, ++count) {
      std::vector<std::byte> other = bytes;
      std::swap_ranges(other.begin() + static_cast<std::ptrdiff_t>(8 * i),
                       other.begin() + static_cast<std::ptrdiff_t>(8 * i + 8),
                       other.begin() + static_cast<std::ptrdiff_t>(8 * j));
      sums.insert(checksum(other));
    }
  }
  CHECK(sums.size() == count);
}

TEST_CASE("checksum: pieces in a row, at any address") {
  std::vector<std::byte> bytes = noise(101);
  const auto of_pieces = [&] { return checksum(std::span(bytes).subspan(40), checksum(std::span(bytes).first(40))); };
  const std::uint64_t sum = of_pieces();
  for (std::byte& b : bytes) {
    b ^= std::byte{0x10};
    CHECK(of_pieces() != sum);
    b ^= std::byte{0x10};
  }
  std::vector<std::byte> moved(bytes.size() + 8);
  for (std::size_t shift = 0; shift < 8; ++shift) {
    std::memcpy(moved.data() + shift, bytes.data(), bytes.size());
    CHECK(checksum(std::span(moved).subspan(shift, bytes.size())) == checksum(bytes));
  }
}

TEST_CASE("checksum: files of one year are read in the next") {
  std::vector<std::byte> counting(100);
  for (std::size_t i = 0; i < counting.size(); ++i) counting[i] = static_cast<std::byte>(i);
  // By its definition, written down once more in Python.
  CHECK(checksum({}) == 7810740434486115383U);
  CHECK(checksum(counting) == 4988035224600689508U);
  CHECK(checksum(counting, 7) == 947749554010706226U);
}
