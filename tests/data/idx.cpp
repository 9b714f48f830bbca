// SPDX-License-Identifier: MIT
// Foreign idx files are refused with a sentence, and before memory is taken for what they claim to hold.
#include <fovea/data/idx.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

using fovea::Error;
using fovea::Index;
using fovea::data::DigitSet;
using fovea::data::load_digits;
using fovea::data::parse_idx;
using fovea::data::read_idx;
using fovea::data::Split;
using Bytes = std::vector<std::uint8_t>;

/// A folder of its own for each test, removed at its end.
class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / ("fovea_data_" + name + "_" + std::to_string(std::rand()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  std::filesystem::path write(const std::string& name, const Bytes& bytes) const {
    std::ofstream file(path_ / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

Bytes header(const std::vector<std::uint32_t>& extents, std::uint8_t type = 8) {
  Bytes bytes{0, 0, type, static_cast<std::uint8_t>(extents.size())};
  for (const std::uint32_t e : extents) {
    for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<std::uint8_t>(e >> shift));
  }
  return bytes;
}

/// An idx file whose elements count up from `first`.
Bytes idx(const std::vector<std::uint32_t>& extents, std::uint8_t first = 0) {
  Bytes bytes = header(extents);
  std::size_t elements = 1;
  for (const std::uint32_t e : extents) elements *= e;
  for (std::size_t i = 0; i < elements; ++i) bytes.push_back(static_cast<std::uint8_t>(first + i));
  return bytes;
}

/// Both ways in refuse the bytes, with a message that contains `word`.
template <std::size_t N>
void check_refused(const Folder& folder, const Bytes& bytes, const std::string& word) {
  CAPTURE(word);
  const auto path = folder.write("bad", bytes);
  const auto message = [&](auto&& read) -> std::string {
    try {
      (void)read();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const std::string from_file = message([&] { return read_idx<N>(path); });
  CHECK(from_file.find(word) != std::string::npos);
  CHECK(from_file.find(path.string()) == 0);
  CHECK(message([&] { return parse_idx<N>(bytes, path.string()); }) == from_file);
}

}  // namespace

TEST_CASE("an idx file is read to the byte") {
  const Folder folder("good");
  const auto images = read_idx<3>(folder.write("images", idx({2, 3, 4}, 7)));
  CHECK(images.extents() == fovea::Extents<3>{2, 3, 4});
  CHECK(images(0, 0, 0) == 7);
  CHECK(images(1, 2, 3) == 7 + 23);
  const auto labels = read_idx<1>(folder.write("labels", idx({5})));
  CHECK(labels.extents() == fovea::Extents<1>{5});
  CHECK(labels(4) == 4);
  const auto rank_two = parse_idx<2>(idx({300, 2}), "memory");
  CHECK(rank_two.extents() == fovea::Extents<2>{300, 2});
}

TEST_CASE("idx files that are not what they say are refused") {
  const Folder folder("hostile");
  check_refused<3>(folder, {}, "an idx file expected");
  check_refused<3>(folder, {0, 0, 8}, "an idx file expected");
  check_refused<3>(folder, {'G', 'I', 'F', '8', '9', 'a'}, "two zero bytes");
  check_refused<3>(folder, {0x1F, 0x8B, 8, 0, 0, 0}, "unpack it first");
  check_refused<3>(folder, {0, 0, 8, 3, 0, 0, 0, 1}, "header of 16 bytes expected");
  for (const int type : {0, 7, 9, 11, 12, 13, 14, 255}) {
    Bytes bytes = idx({1, 2, 2});
    bytes[2] = static_cast<std::uint8_t>(type);
    check_refused<3>(folder, bytes, "type 8");
  }
  check_refused<3>(folder, idx({4}), "rank 3 expected");
  check_refused<1>(folder, idx({1, 2, 2}), "rank 1 expected");

  Bytes truncated = idx({3, 2, 2});
  truncated.pop_back();
  check_refused<3>(folder, truncated, "28 bytes expected by its header, the file has 27");
  Bytes trailing = idx({3, 2, 2});
  trailing.push_back(0);
  check_refused<3>(folder, trailing, "28 bytes expected by its header, the file has 29");

  for (std::size_t zero = 0; zero < 3; ++zero) {
    std::vector<std::uint32_t> extents{2, 2, 2};
    extents[zero] = 0;
    check_refused<3>(folder, idx(extents), "extents above 0");
  }
  check_refused<3>(folder, header({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}), "more elements than the file has bytes");
  // The product is 2^64 + 12, which is 12 for who multiplies in 64 bits; and 2^32 for who does in 32.
  Bytes wraps = header({0x80000000, 0x80000000, 4});
  wraps.resize(wraps.size() + 12);
  check_refused<3>(folder, wraps, "more elements");
  check_refused<3>(folder, header({0x10000, 0x10000, 1}), "more elements");
  check_refused<1>(folder, header({0x80000000}), "more elements");
}

TEST_CASE("what is no regular file is refused") {
  const Folder folder("kinds");
  CHECK_THROWS_WITH_AS((void)read_idx<1>(folder / "none"), doctest::Contains("no such file"), Error);
  CHECK_THROWS_WITH_AS((void)read_idx<1>(folder.path()), doctest::Contains("regular file expected"), Error);
  if (std::filesystem::exists("/dev/zero")) {
    CHECK_THROWS_WITH_AS((void)read_idx<1>("/dev/zero"), doctest::Contains("regular file expected"), Error);
  }
}

TEST_CASE("an enormous file is refused though its header agrees with it") {
  const Folder folder("enormous");
  const auto path = folder.write("huge", header({0xFFFFFFFF}));
  std::error_code error;
  // Sparse: takes no room on a file system worth the name; skipped on others.
  std::filesystem::resize_file(path, 8 + std::uintmax_t{0xFFFFFFFF}, error);
  if (error) return;
  CHECK_THROWS_WITH_AS((void)read_idx<1>(path), doctest::Contains("at most 4294967296 bytes"), Error);
}

TEST_CASE("digit sets are found under both names and must agree with themselves") {
  const Folder folder("set");
  CHECK_THROWS_WITH_AS((void)load_digits(folder / "none", Split::train), doctest::Contains("a directory"), Error);
  CHECK_THROWS_WITH_AS((void)load_digits(folder.path(), Split::train), doctest::Contains("train-images-idx3-ubyte expected"),
                       Error);
  folder.write("train-images-idx3-ubyte.gz", {0x1F, 0x8B});
  CHECK_THROWS_WITH_AS((void)load_digits(folder.path(), Split::train), doctest::Contains("unpack it"), Error);

  folder.write("train-images-idx3-ubyte", idx({3, 2, 2}));
  CHECK_THROWS_WITH_AS((void)load_digits(folder.path(), Split::train), doctest::Contains("train-labels-idx1-ubyte"), Error);
  folder.write("train-labels-idx1-ubyte", idx({3}, 7));
  const DigitSet train = load_digits(folder.path(), Split::train);
  CHECK(train.size() == 3);
  CHECK(train.height() == 2);
  CHECK(train.labels(2) == 9);
  CHECK_THROWS_WITH_AS((void)load_digits(folder.path(), Split::train, 9), doctest::Contains("labels below 9"), Error);

  folder.write("t10k-images.idx3-ubyte", idx({2, 2, 2}));
  folder.write("t10k-labels.idx1-ubyte", idx({1}));
  CHECK_THROWS_WITH_AS((void)load_digits(folder.path(), Split::test), doctest::Contains("as many labels"), Error);
  folder.write("t10k-labels.idx1-ubyte", idx({2}));
  CHECK(load_digits(folder.path(), Split::test).labels.extent(0) == 2);
}
