// SPDX-License-Identifier: MIT

// GCC 12 with a sanitizer finds what is not there in <regex>, which xtensor's reader uses.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/interop/npy.hpp>

#include <doctest/doctest.h>
#include <xtensor/xarray.hpp>
#include <xtensor/xnpy.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::TemporaryFolder;
using interop::load_npy;
using interop::save_npy;

namespace {

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

ParameterLayout some_layout() {
  ParameterLayout layout;
  layout.add("conv.w", {3, 2, 4, 5}, Initialiser::normal(1));
  layout.add("conv.b", {5}, Initialiser::normal(1));
  layout.add("head.w", {7, 3}, Initialiser::normal(1));
  layout.add("one", {}, Initialiser::normal(1));
  return layout;
}

template <class T>
bool same(const Parameters<T>& a, const Parameters<T>& b) {
  return std::memcmp(a.values().data(), b.values().data(), static_cast<std::size_t>(a.values().size()) * sizeof(T)) == 0;
}

/// A file of version 1.0 with that dictionary, as it is.
std::string file_of(const std::string& dictionary, const std::string& elements) {
  std::string file("\x93NUMPY\1\0", 8);
  file += {static_cast<char>(dictionary.size() & 0xffU), static_cast<char>(dictionary.size() >> 8U)};
  return file + dictionary + elements;
}

}  // namespace

TEST_CASE_TEMPLATE("npy: parameters go and come back bit by bit, and xtensor reads the same", T, float, double) {
  const TemporaryFolder folder;
  const auto place = folder.path / "a" / "b";
  Parameters<T> from(some_layout(), 1);
  from.at("one")[0] = std::numeric_limits<T>::infinity();
  save_npy(place, from);
  CHECK(std::distance(std::filesystem::directory_iterator(place), {}) == 4);
  Parameters<T> to(some_layout(), 2);
  REQUIRE_FALSE(same(from, to));
  load_npy(place, to);
  CHECK(same(from, to));

  const auto w = xt::load_npy<T>((place / "conv.w.npy").string());
  REQUIRE(w.dimension() == 4);
  REQUIRE(std::vector<std::size_t>(w.shape().begin(), w.shape().end()) == std::vector<std::size_t>{3, 2, 4, 5});
  CHECK(std::memcmp(w.data(), from.at("conv.w").data(), w.size() * sizeof(T)) == 0);
  const auto b = xt::load_npy<T>((place / "conv.b.npy").string());
  REQUIRE(b.dimension() == 1);
  CHECK(std::memcmp(b.data(), from.at("conv.b").data(), 5 * sizeof(T)) == 0);
  CHECK(content(place / "conv.b.npy").size() == 128 + 5 * sizeof(T));

  // And what xtensor writes is read here.
  xt::xarray<T> other = xt::xarray<T>::from_shape({7, 3});
  for (std::size_t i = 0; i < other.size(); ++i) other.data()[i] = static_cast<T>(i);
  xt::dump_npy((place / "head.w.npy").string(), other);
  load_npy(place, to);
  CHECK(to.at("head.w")[20] == 20);
  CHECK(to.at("conv.b")[2] == from.at("conv.b")[2]);
}

TEST_CASE("npy: between float and double") {
  const TemporaryFolder folder;
  Parameters<double> wide(some_layout(), 1);
  save_npy(folder.path, wide);
  Parameters<float> narrow(some_layout(), 2);
  load_npy(folder.path, narrow);
  CHECK(narrow.at("conv.w")[7] == static_cast<float>(wide.at("conv.w")[7]));
  save_npy(folder.path, narrow);
  load_npy(folder.path, wide);
  CHECK(wide.at("conv.w")[7] == static_cast<double>(narrow.at("conv.w")[7]));
  wide.at("one")[0] = -1e300;
  save_npy(folder.path, wide);
  CHECK(message_of([&] { load_npy(folder.path, narrow); }).ends_with("numbers within the range of float expected"));
}

TEST_CASE("npy: as numpy writes it, and other spellings of the same") {
  const TemporaryFolder folder;
  ParameterLayout layout;
  layout.add("b", {2}, Initialiser::constant(0));
  Parameters<float> weights(layout);
  const auto path = folder.path / "b.npy";
  // numpy.save("b.npy", numpy.float32([1, -2])) of numpy 1.24, byte for byte.
  const std::string elements("\0\0\x80\x3f\0\0\0\xc0", 8);
  const std::string numpy =
      file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }" + std::string(60, ' ') + "\n", elements);
  weights.at("b")[0] = 1;
  weights.at("b")[1] = -2;
  save_npy(folder.path, weights);
  CHECK(content(path) == numpy);
  const auto reads = [&](const std::string& file) {
    (void)folder.write("b.npy", file);
    weights.at("b")[1] = 0;
    load_npy(folder.path, weights);
    return weights.at("b")[0] == 1 && weights.at("b")[1] == -2;
  };
  CHECK(reads(numpy));
  CHECK(reads(file_of("{\"shape\": (2,), \"descr\": \"<f4\", \"fortran_order\": False}", elements)));
  CHECK(reads(file_of("{'fortran_order':False,'shape':(2),'descr':'<f4'}\n", elements)));
  std::string second = file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", elements);
  second[6] = 2;
  second.insert(10, 2, '\0');
  CHECK(reads(second));
}

TEST_CASE("npy: what is not as it should be is named, and nothing changes") {
  const TemporaryFolder folder;
  const Parameters<float> before(some_layout(), 1);
  Parameters<float> weights = before;
  const Parameters<float> others(some_layout(), 2);
  const auto refused = [&](const std::string& name, const std::string& reason) {
    const std::string message = message_of([&] { load_npy(folder.path, weights); });
    CAPTURE(message);
    CHECK(message.starts_with("npy: parameter \"" + name + "\": " + (folder.path / (name + ".npy")).string() + ": "));
    CHECK(message.find(reason) != std::string::npos);
    CHECK(same(weights, before));
    save_npy(folder.path, others);
  };
  save_npy(folder.path, others);
  std::filesystem::remove(folder.path / "one.npy");  // the last one to be read
  refused("one", "a file expected, there is none");
  const auto with = [&](const std::string& file, const std::string& reason) {
    (void)folder.write("head.w.npy", file);
    refused("head.w", reason);
  };
  const std::string elements(21 * 4, '\1');
  with("", "a .npy file of version 1, 2 or 3 expected");
  with("no such file at all", "a .npy file of version 1, 2 or 3 expected");
  with(content(folder.path / "conv.b.npy"), "shape (7,3) expected, (5) came");
  with(content(folder.path / "head.w.npy").substr(0, 50), "a header of 118 bytes expected, the file has 50");
  with(content(folder.path / "head.w.npy") + "x", "21 elements of 4 bytes expected, 85 bytes came");
  with(content(folder.path / "head.w.npy").substr(0, 200), "21 elements of 4 bytes expected, 72 bytes came");
  with(file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 7), }", elements), "shape (7,3) expected, (3,7) came");
  with(file_of("{'descr': '<f4', 'fortran_order': True, 'shape': (7, 3), }", elements), "C order expected");
  with(file_of("{'descr': '>f4', 'fortran_order': False, 'shape': (7, 3), }", elements), "type <f4 or <f8 expected, >f4 came");
  with(file_of("{'descr': '<i4', 'fortran_order': False, 'shape': (7, 3), }", elements), "type <f4 or <f8 expected, <i4 came");
  const std::string header = "a header with descr, fortran_order and shape of an array of numbers expected";
  with(file_of("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (7, 3), }", elements), header);
  with(file_of("{'descr': '<f4', 'fortran_order': False, }", elements), header);
  with(file_of("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (7, 3), }", elements), header);
  with(file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (7, 3), 'more': 1}", elements), header);
  with(file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (7, 3)", elements), header);
  with(file_of("{'descr': '<f4", elements), header);
  with(file_of("{'shape': (7, 3", elements), header);
  with(file_of("", elements), header);

  ParameterLayout odd;
  odd.add("a/b", {1}, Initialiser::constant(0));
  CHECK_THROWS_AS(save_npy(folder.path, Parameters<float>(odd)), Error);
  CHECK(message_of([&] { save_npy(folder.path / "one.npy", weights); }).find("a folder expected") != std::string::npos);
}

TEST_CASE("npy: thousands of damaged headers are refused or read, never a crash") {
  const TemporaryFolder folder;
  ParameterLayout layout;
  layout.add("b", {2, 2}, Initialiser::constant(1));
  Parameters<float> weights(layout);
  save_npy(folder.path, weights);
  const std::string good = content(folder.path / "b.npy");
  int taken = 0;
  int refused = 0;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    Stream stream(1, 0, i, Purpose::test);
    std::string file = good;
    for (std::uint32_t changes = 1 + stream.below(2); changes > 0; --changes) {
      const std::size_t at = stream.below(70);
      switch (stream.below(3)) {
        case 0: file[at] = static_cast<char>(stream.below(256)); break;
        case 1: file.erase(at, 1 + stream.below(3)); break;
        default: file.insert(at, 1, "{}()',: 0"[stream.below(9)]); break;
      }
    }
    if (stream.below(10) == 0) file.resize(stream.below(static_cast<std::uint32_t>(file.size())));
    const auto bytes = std::as_bytes(std::span(file));
    try {
      const interop::detail::NpyArray array(bytes, "x: ");
      REQUIRE(array.elements.size() <= file.size());
      ++taken;
    } catch (const Error& e) {
      REQUIRE(std::string(e.what()).starts_with("x: "));
      ++refused;
    }
  }
  CHECK(taken > 100);
  CHECK(refused > 100);
}
