// SPDX-License-Identifier: MIT
// needs: json
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"
#include <fovea/core/checksum.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/train/safetensors.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::TemporaryFolder;
using train::SafetensorsFile;
using train::SafetensorsWriter;

namespace {

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A file with that header, as it is, and so many bytes of elements.
std::string file_of(std::string_view header, std::size_t elements = 0) {
  const std::uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file.append(header).append(elements, '\1');
}

SafetensorsFile open(std::string_view file) { return SafetensorsFile(std::as_bytes(std::span(file)), "x.safetensors"); }

/// What is said of the file; empty where it is taken.
std::string refused(std::string_view file) {
  return message_of([&] { (void)open(file); });
}

/// Reads all there is to read of a file that was taken, and checks that it is one piece.
void read_all(const SafetensorsFile& file, std::size_t size) {
  std::size_t bytes = 0;
  for (const std::string& name : file.names()) {
    REQUIRE(file.contains(name));
    const std::span<const std::byte> elements = file.bytes(name);
    bytes += elements.size();
    (void)checksum(elements);
    std::size_t count = 1;
    for (const Index e : file.shape(name)) count *= static_cast<std::size_t>(e);
    try {
      std::vector<float> to(std::min(count, elements.size()));
      file.read(name, View<float, 1>(to.data(), {static_cast<Index>(to.size())}));
      REQUIRE(to.size() == count);
    } catch (const Error&) {
    }
  }
  REQUIRE(bytes + 8 <= size);
}

template <class T>
std::vector<T> read(const SafetensorsFile& file, std::string_view name, std::size_t count) {
  std::vector<T> to(count);
  file.read(name, View<T, 1>(to.data(), {static_cast<Index>(count)}));
  return to;
}

}  // namespace

TEST_CASE("safetensors: what is written is, byte for byte, what the format says") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.safetensors";
  const std::vector<float> x{1, 2, 3, 4, 5, 6};
  const std::vector<std::uint8_t> b{7, 8, 9};
  const double scalar = 0.5;
  const std::int64_t step = -5;
  SafetensorsWriter writer;
  writer.add("b", {3}, b.data());
  writer.add("x.w", {2, 3}, x.data());
  writer.add("x.v", {0, 4}, x.data());
  writer.add("scalar", {}, &scalar);
  writer.add("step", {1}, &step);
  writer.metadata("z", "last");
  writer.metadata("format", "pt");
  writer.metadata("note", "\"quoted\"\n\xc3\xa9");
  writer.save(path);
  // Wide elements first, I64 before F64 before F32 before U8, then by name.
  std::string header =
      R"({"__metadata__":{"format":"pt","note":"\"quoted\"\n)"
      "\xc3\xa9"
      R"(","z":"last"},"step":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
      R"("scalar":{"dtype":"F64","shape":[],"data_offsets":[8,16]},"x.v":{"dtype":"F32","shape":[0,4],"data_offsets":[16,16]},)"
      R"("x.w":{"dtype":"F32","shape":[2,3],"data_offsets":[16,40]},"b":{"dtype":"U8","shape":[3],"data_offsets":[40,43]}})";
  while (header.size() % 8 != 0) header += ' ';
  std::string expected = file_of(header);
  const auto append = [&](const auto* data, std::size_t count) {
    expected.append(reinterpret_cast<const char*>(data), count * sizeof(*data));
  };
  append(&step, 1);
  append(&scalar, 1);
  append(x.data(), x.size());
  append(b.data(), b.size());
  CHECK(content(path) == expected);

  const SafetensorsFile file(path);
  CHECK(file.names() == std::vector<std::string>{"b", "scalar", "step", "x.v", "x.w"});
  CHECK(file.contains("x.w"));
  CHECK_FALSE(file.contains("x"));
  CHECK(std::ranges::equal(file.shape("x.w"), std::vector<Index>{2, 3}));
  CHECK(file.shape("scalar").empty());
  CHECK(file.dtype("step") == "I64");
  CHECK(file.metadata().size() == 3);
  CHECK(file.metadata().at("note") == "\"quoted\"\n\xc3\xa9");
  CHECK(read<float>(file, "x.w", 6) == x);
  CHECK(read<double>(file, "x.w", 6) == std::vector<double>{1, 2, 3, 4, 5, 6});
  CHECK(read<float>(file, "x.v", 0).empty());
  CHECK(read<std::uint8_t>(file, "b", 3) == b);
  CHECK(read<std::int64_t>(file, "step", 1) == std::vector<std::int64_t>{-5});
  CHECK(read<float>(file, "scalar", 1) == std::vector<float>{0.5F});
  CHECK(file.bytes("x.w").size() == 24);
  const SafetensorsFile moved = open(expected);
  CHECK(read<float>(moved, "x.w", 6) == x);

  // A file without anything is one.
  SafetensorsWriter().save(path);
  CHECK(content(path) == file_of("{}      "));
  CHECK(SafetensorsFile(path).names().empty());
}

TEST_CASE("safetensors: a model's parameters go and come back, bit by bit") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.safetensors";
  ParameterLayout layout;
  layout.add("conv.w", {3, 3, 2, 5}, Initialiser::normal(1));
  layout.add("conv.b", {5}, Initialiser::normal(1));
  layout.add("one", {}, Initialiser::normal(1));
  const auto check = [&]<class T>(T) {
    Parameters<T> from(layout, 1);
    Parameters<T> to(layout, 2);
    from.values()[3] = std::numeric_limits<T>::quiet_NaN();
    SafetensorsWriter writer;
    from.visit([&](const std::string& name, const Shape& shape, auto elements) { writer.add(name, shape, elements.data()); });
    writer.save(path);
    const SafetensorsFile file(path);
    to.visit([&](const std::string& name, const Shape&, View<T, 1> elements) { file.read(name, elements); });
    CHECK(std::memcmp(from.values().data(), to.values().data(), static_cast<std::size_t>(layout.size()) * sizeof(T)) == 0);
  };
  check(float{});
  check(double{});
}

TEST_CASE("safetensors: the other floating point types, all of their numbers") {
  std::string file = file_of(R"({"h":{"dtype":"F16","shape":[65536],"data_offsets":[0,131072]},)"
                             R"("b":{"dtype":"BF16","shape":[65536],"data_offsets":[131072,262144]}})");
  for (int type = 0; type < 2; ++type) {
    for (unsigned i = 0; i < 65536; ++i) file.append({static_cast<char>(i & 0xffU), static_cast<char>(i >> 8U)});
  }
  const SafetensorsFile opened = open(file);
  const auto half = read<double>(opened, "h", 65536);
  const auto half_float = read<float>(opened, "h", 65536);
  const auto brain = read<double>(opened, "b", 65536);
  int wrong = 0;
  const auto same = [](double a, double b) {
    return std::isnan(b) ? std::isnan(a) : a == b && std::signbit(a) == std::signbit(b);
  };
  for (unsigned i = 0; i < 65536; ++i) {
    // sign, exponent, fraction as IEEE 754 has them, with 5 and 10 bits, and with 8 and 7.
    const auto value = [i](unsigned fraction_bits, int bias) {
      const unsigned exponent_bits = 15 - fraction_bits;
      const int exponent = static_cast<int>((i >> fraction_bits) & ((1U << exponent_bits) - 1));
      const double fraction = std::ldexp(i & ((1U << fraction_bits) - 1), -static_cast<int>(fraction_bits));
      double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias);
      if (exponent == (1 << exponent_bits) - 1) {
        magnitude = fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
      }
      return i >= 32768 ? -magnitude : magnitude;
    };
    if (!same(half[i], value(10, 15)) || !same(half_float[i], value(10, 15)) || !same(brain[i], value(7, 127))) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("safetensors: what cannot be read into what is asked for") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.safetensors";
  const std::vector<double> large{1, 1e300};
  const std::vector<double> wide{1.0 + 0x1p-40, std::numeric_limits<double>::infinity()};
  const std::vector<std::int32_t> whole{1, 2};
  SafetensorsWriter writer;
  writer.add("large", {2}, large.data());
  writer.add("wide", {2}, wide.data());
  writer.add("whole", {2}, whole.data());
  writer.save(path);
  const SafetensorsFile file(path);
  const std::string where = path.string() + ": ";
  CHECK(read<float>(file, "wide", 2) == std::vector<float>{1, std::numeric_limits<float>::infinity()});
  CHECK(message_of([&] { (void)read<float>(file, "large", 2); }) ==
        where + "tensor \"large\": a number beyond the range of F32");
  CHECK(message_of([&] { (void)read<float>(file, "wide", 3); }) == where + "tensor \"wide\": 3 elements expected, 2 came");
  CHECK(message_of([&] { (void)read<float>(file, "whole", 2); }) ==
        where + "tensor \"whole\": elements of F32 expected, I32 came");
  CHECK(message_of([&] { (void)read<std::uint32_t>(file, "whole", 2); }) ==
        where + "tensor \"whole\": elements of U32 expected, I32 came");
  CHECK(message_of([&] { (void)read<std::int32_t>(file, "wide", 2); }) ==
        where + "tensor \"wide\": elements of I32 expected, F64 came");
  const std::string none = where + "a tensor \"none\" expected, there is none";
  CHECK(message_of([&] { (void)read<float>(file, "none", 2); }) == none);
  CHECK(message_of([&] { (void)file.shape("none"); }) == none);
  CHECK(message_of([&] { (void)file.dtype("none"); }) == none);
  CHECK(message_of([&] { (void)file.bytes("none"); }) == none);

  // Types of elements that nobody knows yet are no reason to refuse the rest.
  const std::string unknown = file_of(R"({"a":{"dtype":"F99","shape":[3],"data_offsets":[0,7]},)"
                                      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[7,8]}})",
                                      8);
  CHECK(read<std::uint8_t>(open(unknown), "b", 1)[0] == 1);
  CHECK(open(unknown).bytes("a").size() == 7);
  CHECK(message_of([&] { (void)read<float>(open(unknown), "a", 3); }) ==
        "x.safetensors: tensor \"a\": elements of F32 expected, F99 came");
}

TEST_CASE("safetensors: what the writer refuses") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.safetensors";
  const std::vector<float> x(4);
  SafetensorsWriter writer;
  writer.add("x", {4}, x.data());
  CHECK(message_of([&] { writer.add("x", {2}, x.data()); }) == "safetensors: two tensors are named \"x\"");
  CHECK(message_of([&] { writer.add("__metadata__", {2}, x.data()); }) ==
        "safetensors: a tensor cannot be named \"__metadata__\"");
  CHECK(message_of([&] { writer.add("", {2}, x.data()); }) == "safetensors: a tensor cannot be named \"\"");
  writer.metadata("key", "\xff");
  CHECK(message_of([&] { writer.save(path); }).ends_with(" is not UTF-8"));
  writer.metadata("key", std::string(100'000'000, 'x'));
  CHECK(message_of([&] { writer.save(path); }).find("a header of at most 100000000 bytes can be written") != std::string::npos);
  CHECK(std::filesystem::is_empty(folder.path));
  writer.metadata("key", "x");
  const auto nowhere = folder.path / "none" / "a";
  CHECK(message_of([&] { writer.save(nowhere); }).starts_with(nowhere.string() + ": cannot be written: "));
  writer.save(path);
  CHECK(SafetensorsFile(path).metadata().at("key") == "x");
  CHECK_THROWS_AS(SafetensorsFile(folder.path / "none"), Error);
  CHECK_THROWS_AS(SafetensorsFile(folder.path), Error);
}

TEST_CASE("safetensors: every way to be no such file is refused with the reason") {
  const auto says = [](const std::string& file, std::string_view reason) {
    const std::string message = refused(file);
    CAPTURE(message);
    CHECK(message.starts_with("x.safetensors: "));
    CHECK(message.find(reason) != std::string::npos);
  };
  const std::string good = R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
  CHECK(refused(file_of(good, 2)).empty());
  CHECK(refused(file_of(good + "   ", 2)).empty());
  // Another order of tensors and fields, and names that JSON escapes, are no reason.
  CHECK(
      refused(
          file_of(
              R"({"b":{"data_offsets":[2,3],"shape":[],"dtype":"I8"},"\u0061":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
              3))
          .empty());

  says("", "a safetensors file expected, it has 0 bytes");
  says("1234567", "it has 7 bytes");
  says(std::string(7, '\0') + "\x7f", "at most 100000000 bytes expected");
  says(file_of(good).substr(0, 20), "the file has 20");
  says(file_of(""), "begins with {");
  says(file_of(" " + good, 2), "begins with {");
  says(file_of("[]"), "begins with {");
  says(file_of("{"), "not JSON");
  says(file_of(good + "x", 2), "not JSON");
  says(file_of(good + good, 2), "not JSON");
  says(file_of("{\"a\xff\":1}"), "not JSON");
  says(file_of(R"({"\ud800":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2), "not JSON");
  says(file_of(good + std::string(1, '\0'), 2), "zero byte");
  says(file_of(R"({"a":1})"), "tensor \"a\": an object expected, a number came");
  says(file_of(R"({"a":[]})"), "tensor \"a\": an object expected, a list came");
  says(file_of(R"({"a":null})"), "tensor \"a\": an object expected, null came");
  says(file_of(R"({"a":{}})"), "dtype, shape and data_offsets expected");
  says(file_of(R"({"a":{"dtype":"U8","shape":[2]}})", 2), "dtype, shape and data_offsets expected");
  says(file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"more":1}})", 2), "\"more\" came");
  says(file_of(R"({"a":{"dtype":8,"shape":[2],"data_offsets":[0,2]}})", 2), "a text expected for dtype");
  says(file_of(R"({"a":{"dtype":{"b":{}},"shape":[2],"data_offsets":[0,2]}})", 2), "a text expected for dtype");
  says(file_of(R"({"a":{"dtype":"U8","shape":2,"data_offsets":[0,2]}})", 2), "for shape, a number came");
  says(file_of(R"({"a":{"dtype":"U8","shape":["2"],"data_offsets":[0,2]}})", 2), "for shape, a text came");
  says(file_of(R"({"a":{"dtype":"U8","shape":[[2]],"data_offsets":[0,2]}})", 2), "for shape, a list came");
  says(file_of(R"({"a":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}})", 2), "for shape, a negative number came");
  says(file_of(R"({"a":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}})", 2), "for shape, a number with a fraction");
  says(file_of(R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,2]}})", 2), "beyond 2^63");
  says(file_of(R"({"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,2]}})", 2), "too large came");
  says(file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0]}})", 2), "two data_offsets expected");
  says(file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,1,2]}})", 2), "a list of two numbers");
  says(file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[true,2]}})", 2), "true or false came");
  says(file_of(R"({"__metadata__":[]})"), "is to be an object, a list came");
  says(file_of(R"({"__metadata__":null})"), "is to be an object, null came");
  says(file_of(R"({"__metadata__":{"a":1}})"), "a text expected for every key");
  says(file_of(R"({"__metadata__":{"a":{"b":"c"}}})"), "a text expected for every key");
  std::string axes = "1";
  for (int i = 0; i < 64; ++i) axes += ",1";
  says(file_of(R"({"a":{"dtype":"U8","shape":[)" + axes + R"(],"data_offsets":[0,1]}})", 1), "at most 64 axes");
  says(file_of("{\"a\":" + std::string(1'000'000, '[')), "an object expected, a list came");

  // Twice, wherever.
  const std::string one = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  says(file_of("{" + one + "," + one + "}", 2), "two tensors are named \"a\"");
  says(file_of("{" + one + R"(,"\u0061":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})", 2), "two tensors are named \"a\"");
  says(file_of(R"({"__metadata__":{},"__metadata__":{}})"), "__metadata__ comes twice");
  says(file_of(R"({"__metadata__":{"k":"1","k":"2"}})"), "the key \"k\" comes twice");
  says(file_of(R"({"a":{"dtype":"U8","shape":[9],"shape":[2],"data_offsets":[0,2]}})", 2), "shape comes twice");

  // Sizes.
  says(file_of(good, 1), "cut short");
  says(file_of(good, 3), "2 bytes of elements expected, the file has 3");
  says(file_of("{}", 1), "0 bytes of elements expected, the file has 1");
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + first + R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" +
           second + "}}";
  };
  CHECK(refused(file_of(two("[2,4]", "[0,2]"), 4)).empty());
  says(file_of(two("[0,2]", "[3,5]"), 5), "without holes and overlaps");
  says(file_of(two("[0,2]", "[1,3]"), 3), "without holes and overlaps");
  says(file_of(two("[0,2]", "[0,2]"), 2), "without holes and overlaps");
  says(file_of(two("[1,3]", "[3,5]"), 5), "without holes and overlaps");
  says(file_of(two("[0,2]", "[2,1]"), 3), "without holes and overlaps");
  says(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,2]}})", 2),
       "8 bytes expected for F32 [2], the offsets give it 2");
  says(file_of(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", 1), "bytes expected for F4");
  CHECK(refused(file_of(R"({"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}})", 1)).empty());
  // 2^32 x 2^32 x ... wraps around to 0 in 64 bits.
  says(file_of(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"), "whose size can be counted");
  says(file_of(R"({"a":{"dtype":"U8","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}})"), "whose size can be counted");
  says(file_of(R"({"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})"), "whose size can be counted");
  says(file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,9223372036854775807]}})", 2), "cut short");

  // Names are shown in a message only as far as they are harmless.
  const std::string message = refused(file_of("{\"" + std::string(5000, 'n') + "\\n\":1}"));
  CHECK(message.size() < 300);
  CHECK(refused(file_of(R"({"a\u001b[2J":1})")).find('\x1b') == std::string::npos);
}

TEST_CASE("safetensors: thousands of damaged files are refused or are whole, never a crash") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.safetensors";
  const std::vector<float> x(40, 1.5F);
  const std::vector<std::uint8_t> b(5, 3);
  SafetensorsWriter writer;
  writer.add("first.w", {4, 5}, x.data());
  writer.add("first.b", {5}, x.data());
  writer.add("bytes", {5}, b.data());
  writer.metadata("format", "pt");
  writer.save(path);
  const std::string good = content(path);
  std::size_t header = 0;
  std::memcpy(&header, good.data(), sizeof(header));
  int taken = 0;
  int all = 0;
  const auto attempt = [&](const std::string& file) {
    ++all;
    try {
      const SafetensorsFile opened = open(file);
      ++taken;
      read_all(opened, file.size());
    } catch (const Error& e) {
      REQUIRE(std::string_view(e.what()).starts_with("x.safetensors: "));
    }
  };
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK_FALSE(refused(good.substr(0, size)).empty());  // no beginning of a file is a file
  }
  const std::vector<std::string> words{"\"",
                                       "{",
                                       "}",
                                       "[",
                                       "]",
                                       ",",
                                       ":",
                                       "0",
                                       "9",
                                       "-",
                                       "e9",
                                       "\\u0000",
                                       "\"a\":",
                                       "null",
                                       " ",
                                       "18446744073709551615",
                                       "[0,100]",
                                       "\"F16\"",
                                       "\"shape\":[2]",
                                       "\"dtype\":\"F32\","};
  for (std::uint64_t i = 0; i < 6000; ++i) {
    Stream stream(1, 0, i, Purpose::test);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(stream.below(static_cast<std::uint32_t>(n))); };
    std::string file = good;
    for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
      const std::size_t at = below(std::min(file.size(), header + 16));
      switch (below(6)) {
        case 0: file[at] = static_cast<char>(file[at] ^ (1 << below(8))); break;
        case 1: file[at] = static_cast<char>(below(256)); break;
        case 2: file.erase(at, below(20)); break;
        case 3: file.insert(at, words[below(words.size())]); break;
        case 4: file.insert(at, file.substr(below(file.size()), below(40))); break;
        default: file.replace(at, 1, words[below(words.size())]); break;
      }
      if (file.size() < 9) file = good;
    }
    // Half of them with the length that their header now has, so that they get further.
    if (below(2) == 0) {
      const std::uint64_t length = header + file.size() - good.size();
      std::memcpy(file.data(), &length, sizeof(length));
    }
    attempt(file);
  }
  CHECK(all == 6000);
  CHECK(taken > 50);
  CHECK(taken < 3000);
}
