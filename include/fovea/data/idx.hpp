// SPDX-License-Identifier: MIT
/// \file
/// Files of the idx format, in which MNIST and the sets made in its likeness are kept.
///
/// A file is foreign until checked: its header must agree with its own length to the byte before any memory is taken,
/// so a truncated, padded or invented file is an Error and never a crash or half a data set.
///
///     bytes 0, 1   zero
///     byte  2      element type; 8 is unsigned byte, the only one read here
///     byte  3      rank N
///     then         N extents, each of 4 bytes, most significant byte first
///     then         the elements, row-major
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ios>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace fovea::inline FOVEA_ABI {
namespace data {

/// The largest idx file that is read: 4 GiB, eighty times MNIST. What is larger is taken for a mistake or an attack.
inline constexpr std::uint64_t kMaxIdxBytes = std::uint64_t{1} << 32;

namespace detail {

inline constexpr std::size_t kIdxMagicBytes = 4;

template <std::size_t N>
inline constexpr std::size_t kIdxHeaderBytes = kIdxMagicBytes + 4 * N;

/// The extents that `header` declares for a file of `file_bytes` bytes, after every check that needs no memory.
/// `header`: the first kIdxHeaderBytes<N> bytes, or fewer where the file is shorter. `name`: for messages.
template <std::size_t N>
[[nodiscard]] Extents<N> check_idx_header(std::span<const std::uint8_t> header, std::uint64_t file_bytes,
                                          std::string_view name) {
  static_assert(N >= 1 && N <= 8);
  require(header.size() >= kIdxMagicBytes, name, ": an idx file expected, ", file_bytes, " bytes came");
  require(header[0] == 0 && header[1] == 0, name, ": an idx file expected (it begins with two zero bytes), one beginning with ",
          header[0], " ", header[1], " came", header[0] == 0x1F && header[1] == 0x8B ? ": it is gzipped, unpack it first" : "");
  require(header[2] == 8, name, ": idx elements of type 8 (unsigned byte) expected, type ", header[2], " came");
  require(header[3] == N, name, ": an idx file of rank ", N, " expected, one of rank ", header[3], " came");
  require(header.size() >= kIdxHeaderBytes<N>, name, ": an idx header of ", kIdxHeaderBytes<N>,
          " bytes expected, the file has ", file_bytes);
  require(file_bytes <= kMaxIdxBytes, name, ": at most ", kMaxIdxBytes, " bytes expected, the file has ", file_bytes);

  // Each extent is below 2^32 and the running product is kept at or below 2^32, so 64 bits never overflow.
  Extents<N> extents{};
  std::uint64_t elements = 1;
  for (std::size_t i = 0; i < N; ++i) {
    const std::uint8_t* at = header.data() + kIdxMagicBytes + 4 * i;
    const std::uint64_t extent =
        (std::uint64_t{at[0]} << 24) | (std::uint64_t{at[1]} << 16) | (std::uint64_t{at[2]} << 8) | std::uint64_t{at[3]};
    require(extent > 0, name, ": extents above 0 expected, extent ", i, " is 0");
    elements *= extent;
    require(elements <= file_bytes, name, ": the header declares more elements than the file has bytes, ", file_bytes,
            " (truncated, or not an idx file)");
    extents[i] = static_cast<Index>(extent);
  }
  require(elements + kIdxHeaderBytes<N> == file_bytes, name, ": ", elements + kIdxHeaderBytes<N>,
          " bytes expected by its header, the file has ", file_bytes);
  return extents;
}

}  // namespace detail

/// An idx file that is already in memory: a dense array of its extents.
/// `name` stands in messages. Throws Error unless `bytes` is exactly one idx file of unsigned bytes and rank N.
template <std::size_t N>
[[nodiscard]] Tensor<std::uint8_t, N> parse_idx(std::span<const std::uint8_t> bytes, std::string_view name) {
  constexpr std::size_t header_bytes = detail::kIdxHeaderBytes<N>;
  const auto extents = detail::check_idx_header<N>(bytes.first(std::min(bytes.size(), header_bytes)), bytes.size(), name);
  Tensor<std::uint8_t, N> tensor(extents);
  std::memcpy(tensor.data(), bytes.data() + header_bytes, static_cast<std::size_t>(tensor.size()));
  return tensor;
}

/// Reads an idx file of unsigned bytes and rank N (3 for images: count x height x width; 1 for labels).
/// Throws Error where the file cannot be read, is no regular file, or is not exactly one idx file of that type and
/// rank.
template <std::size_t N>
[[nodiscard]] Tensor<std::uint8_t, N> read_idx(const std::filesystem::path& path) {
  const std::string name = path.string();
  std::error_code error;
  // A directory, a pipe or a device has no length to hold the header against.
  const auto status = std::filesystem::status(path, error);
  require(std::filesystem::exists(status), name, ": no such file");
  require(std::filesystem::is_regular_file(status), name, ": a regular file expected");
  const std::uintmax_t file_bytes = std::filesystem::file_size(path, error);
  require(!error, name, ": cannot tell its size: ", error.message());
  std::ifstream file(path, std::ios::binary);
  require(file.is_open(), name, ": cannot be opened for reading");

  constexpr std::size_t header_bytes = detail::kIdxHeaderBytes<N>;
  std::array<char, header_bytes> raw{};
  file.read(raw.data(), static_cast<std::streamsize>(raw.size()));
  std::array<std::uint8_t, header_bytes> header{};
  std::memcpy(header.data(), raw.data(), raw.size());
  const auto extents = detail::check_idx_header<N>(
      std::span<const std::uint8_t>(header).first(static_cast<std::size_t>(file.gcount())), file_bytes, name);

  Tensor<std::uint8_t, N> tensor(extents);
  file.read(reinterpret_cast<char*>(tensor.data()), static_cast<std::streamsize>(tensor.size()));  // NOLINT: bytes
  require(file.gcount() == tensor.size(), name, ": ", tensor.size(), " elements expected, ", file.gcount(), " could be read");
  return tensor;
}

/// Which part of a data set.
enum class Split { train, test };

/// Small grey pictures and what they show.
struct DigitSet {
  Tensor<std::uint8_t, 3> images;  ///< count x height x width, 0 = background, 255 = full ink
  Tensor<std::uint8_t, 1> labels;  ///< count, each below `classes`
  int classes = 10;

  [[nodiscard]] Index size() const noexcept { return images.extent(0); }
  [[nodiscard]] Index height() const noexcept { return images.extent(1); }
  [[nodiscard]] Index width() const noexcept { return images.extent(2); }
};

/// Throws Error unless there is at least one picture, as many labels as pictures, and every label is below `classes`.
/// `name`: for messages.
inline void check_digits(const DigitSet& digits, std::string_view name) {
  require(digits.classes > 0 && digits.classes <= 256, name, ": 1 to 256 classes expected, ", digits.classes, " came");
  require(digits.images.size() > 0, name, ": at least one picture expected");
  require(digits.labels.extent(0) == digits.size(), name, ": as many labels as pictures expected, ", digits.labels.extent(0),
          " labels and ", digits.size(), " pictures came");
  for (Index i = 0; i < digits.size(); ++i) {
    require(digits.labels.data()[i] < digits.classes, name, ": labels below ", digits.classes, " expected, label ", i, " is ",
            digits.labels.data()[i]);
  }
}

/// The file names under which a split is usually found: `what` is "images" or "labels". The first is the original name,
/// the second what some unpackers make of it.
[[nodiscard]] inline std::array<std::string, 2> digit_file_names(Split split, std::string_view what) {
  const std::string start = std::string(split == Split::train ? "train" : "t10k") + "-" + std::string(what);
  const std::string end = std::string(what == "images" ? "idx3" : "idx1") + "-ubyte";
  return {start + "-" + end, start + "." + end};
}

/// Reads {train,t10k}-{images-idx3,labels-idx1}-ubyte, or the same with a '.' before "idx", from `directory`.
/// Throws Error where a file is missing or damaged, counts differ, or a label is not below `classes`.
[[nodiscard]] inline DigitSet load_digits(const std::filesystem::path& directory, Split split, int classes = 10) {
  std::error_code error;
  require(std::filesystem::is_directory(directory, error), directory.string(), ": a directory with idx files expected");
  const auto find = [&](std::string_view what) {
    const auto names = digit_file_names(split, what);
    for (const std::string& name : names) {
      if (std::filesystem::exists(directory / name, error)) return directory / name;
    }
    const bool packed = std::filesystem::exists(directory / (names[0] + ".gz"), error);
    fail(directory.string(), ": ", names[0], " expected, no such file",
         packed ? "; there is one ending in .gz: unpack it" : "");
  };
  DigitSet digits;
  const auto images = find("images");
  const auto labels = find("labels");
  digits.images = read_idx<3>(images);
  digits.labels = read_idx<1>(labels);
  digits.classes = classes;
  check_digits(digits, directory.string());
  return digits;
}

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
