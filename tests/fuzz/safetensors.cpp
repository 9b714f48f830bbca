// SPDX-License-Identifier: MIT
// needs: json
// Any bytes as a safetensors file: an Error, or tensors that lie in the file and can be read or are refused by name.
#include <fovea/core/checksum.hpp>
#include <fovea/train/safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace {

template <class T>
void read(const fovea::train::SafetensorsFile& file, const std::string& name) {
  try {
    std::size_t count = 1;
    for (const fovea::Index e : file.shape(name)) count *= static_cast<std::size_t>(e);
    // No type that can be read takes less than a byte.
    std::vector<T> to(std::min(count, file.bytes(name).size()));
    file.read(name, fovea::View<T, 1>(to.data(), {static_cast<fovea::Index>(to.size())}));
  } catch (const fovea::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const fovea::train::SafetensorsFile file(std::as_bytes(std::span(data, size)));
    std::size_t bytes = 0;
    for (const std::string& name : file.names()) {
      bytes += file.bytes(name).size();
      (void)fovea::checksum(file.bytes(name));
      read<float>(file, name);
      read<double>(file, name);
      read<std::uint8_t>(file, name);
      read<std::int64_t>(file, name);
    }
    if (bytes + sizeof(std::uint64_t) > size) __builtin_trap();
  } catch (const fovea::Error&) {
  }
  return 0;
}
