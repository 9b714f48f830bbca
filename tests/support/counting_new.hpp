// SPDX-License-Identifier: MIT
// Counts heap allocations, of all threads, whichever way they are made. A test program that wants it has one file with
//   #include "support/counting_new.cpp"
// and elsewhere
//   const fovea_test::AllocationCount count;
//   step();
//   CHECK(count.made() == 0);
#pragma once

#include <cstdint>

namespace fovea_test {

/// Allocations since the program started.
[[nodiscard]] std::uint64_t allocations_made() noexcept;
/// Bytes asked for since the program started.
[[nodiscard]] std::uint64_t bytes_allocated() noexcept;

/// Allocations since this object was made.
class AllocationCount {
 public:
  AllocationCount() noexcept : made_(allocations_made()), bytes_(bytes_allocated()) {}
  [[nodiscard]] std::uint64_t made() const noexcept { return allocations_made() - made_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_allocated() - bytes_; }

 private:
  std::uint64_t made_;
  std::uint64_t bytes_;
};

}  // namespace fovea_test
