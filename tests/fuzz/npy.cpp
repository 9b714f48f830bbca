// SPDX-License-Identifier: MIT
// Any bytes as a .npy file: an Error, or pixels.
#include "support/look_everywhere.hpp"
#include <fovea/image/raw.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace {

template <class P>
void look(std::span<const std::byte> file) {
  try {
    fovea_test::look_everywhere(fovea::map_npy<P>(file));
  } catch (const fovea::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> file = std::as_bytes(std::span(data, size));
  look<std::uint8_t>(file);
  look<std::uint16_t>(file);
  look<float>(file);
  return 0;
}
