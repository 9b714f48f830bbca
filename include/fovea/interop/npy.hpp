// SPDX-License-Identifier: MIT
/// \file
/// Parameters as NumPy's .npy files, one for each, in a folder: to look at, to draw, to change in Python.
///
///     w = numpy.load("weights/policy.dense1.w.npy")
///
/// The format is that of numpy/lib/format.py: version 1.0 is written, 1 to 3 are read.
#pragma once

#include <fovea/core/atomic_file.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/raw.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>

namespace fovea::inline FOVEA_ABI {
namespace interop {

namespace detail {

static_assert(std::endian::native == std::endian::little, "fovea/interop/npy.hpp: little-endian machines only");

inline constexpr std::string_view kNpyMagic = "\x93NUMPY";

/// The shape as Python writes a tuple: (), (3,), (3, 4).
[[nodiscard]] inline std::string npy_tuple(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.rank(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.rank() == 1 ? ",)" : ")");
}

/// All before the elements: magic, version 1.0, length, and the dictionary, up to a multiple of 64 bytes.
[[nodiscard]] inline std::string npy_header(std::string_view type, const Shape& shape) {
  std::string text = "{'descr': '" + std::string(type) + "', 'fortran_order': False, 'shape': " + npy_tuple(shape) + ", }";
  constexpr std::size_t before = 10;
  constexpr std::size_t unit = 64;
  text.resize((before + text.size() + 1 + unit - 1) / unit * unit - before, ' ');
  text.back() = '\n';
  std::string header(kNpyMagic);
  header += {'\1', '\0', static_cast<char>(text.size() & 0xffU), static_cast<char>(text.size() >> 8U)};
  return header + text;
}

/// An array of numbers in a .npy file in memory, checked. npy_layout() of image/raw.hpp is for pictures; this is for
/// any shape that a parameter has.
struct NpyArray {
  std::string type;
  std::string shape;  ///< as in the file, without spaces and the comma before the end
  std::span<const std::byte> elements;

  /// `where` begins the messages.
  NpyArray(std::span<const std::byte> file, const std::string& where) {
    const auto byte = [&](std::size_t i) { return std::to_integer<std::size_t>(file[i]); };
    require(
        file.size() >= 12 && std::memcmp(file.data(), kNpyMagic.data(), kNpyMagic.size()) == 0 && byte(6) >= 1 && byte(6) <= 3,
        where, "a .npy file of version 1, 2 or 3 expected");
    const std::size_t begin = byte(6) == 1 ? 10 : 12;
    const std::size_t length = byte(8) + (byte(9) << 8U) + (byte(6) == 1 ? 0 : (byte(10) << 16U) + (byte(11) << 24U));
    require(length <= file.size() - begin, where, "a header of ", length, " bytes expected, the file has ", file.size());
    elements = file.subspan(begin + length);

    // A Python dictionary of three known keys, in any order.
    std::string text(reinterpret_cast<const char*>(file.data()) + begin, length);
    std::erase_if(text, [](char c) { return c == ' ' || c == '\n' || c == '\t'; });
    std::replace(text.begin(), text.end(), '"', '\'');
    std::string_view left = text;
    const auto take = [&](std::string_view prefix) {
      if (!left.starts_with(prefix)) return false;
      left.remove_prefix(prefix.size());
      return true;
    };
    const auto take_until = [&](char end) {
      const std::size_t size = std::min(left.find(end), left.size());
      std::string taken(left.substr(0, size));
      left.remove_prefix(std::min(size + 1, left.size()));
      return taken;
    };
    bool fortran = false;
    int keys = 0;
    bool known = take("{");
    while (known && !left.empty() && left != "}") {
      if (take("'descr':'")) {
        type = take_until('\'');
      } else if (take("'fortran_order':")) {
        fortran = take("True");
        known = fortran || take("False");
      } else if (take("'shape':(")) {
        shape = "(" + take_until(')');
        if (shape.back() == ',') shape.pop_back();
        shape += ')';
      } else {
        known = false;
      }
      ++keys;
      if (!take(",")) break;
    }
    require(known && keys == 3 && left == "}" && !type.empty() && !shape.empty(), where,
            "a header with descr, fortran_order and shape of an array of numbers expected");
    require(!fortran, where, "an array in C order expected, one in Fortran order came (numpy.ascontiguousarray)");
  }
};

[[nodiscard]] inline std::filesystem::path npy_path(const std::filesystem::path& folder, const std::string& name) {
  require(name.find('/') == std::string::npos, "npy: a parameter whose name can be that of a file expected, \"", name,
          "\" came");
  return folder / (name + ".npy");
}

/// Throws Error where the file is not what it should be.
template <std::floating_point T>
void load_npy(const std::filesystem::path& path, const std::string& name, const Shape& shape, View<T, 1> to) {
  const std::string where = "npy: parameter \"" + name + "\": " + path.string() + ": ";
  std::error_code error;
  require(std::filesystem::is_regular_file(path, error), where, "a file expected, there is none");
  const MappedFile file(path);
  const NpyArray array(file.bytes(), where);
  std::string expected = npy_tuple(shape);
  std::erase(expected, ' ');
  if (shape.rank() == 1) expected.erase(expected.size() - 2, 1);
  require(array.shape == expected, where, "shape ", expected, " expected, ", array.shape.substr(0, 100), " came");
  const auto copy = [&]<class S>(S) {
    require(array.elements.size() == static_cast<std::size_t>(to.size()) * sizeof(S), where, to.size(), " elements of ",
            sizeof(S), " bytes expected, ", array.elements.size(), " bytes came");
    for (Index i = 0; i < to.size(); ++i) {
      S element;
      std::memcpy(&element, array.elements.data() + static_cast<std::size_t>(i) * sizeof(S), sizeof(S));
      if constexpr (sizeof(S) > sizeof(T)) {
        require(!std::isfinite(element) || std::abs(element) <= S{std::numeric_limits<T>::max()}, where,
                "numbers within the range of float expected");
      }
      to[i] = static_cast<T>(element);
    }
  };
  if (array.type == "<f4") return copy(float{});
  require(array.type == "<f8", where, "elements of type <f4 or <f8 expected, ", array.type.substr(0, 100), " came");
  copy(double{});
}

}  // namespace detail

/// Writes every parameter to `folder`/<name>.npy, which is made where it is not there: <f4 for float, <f8 for double. Each
/// file is written whole or not at all (core/atomic_file.hpp); the folder is not: where one fails, others may be new. Throws
/// Error with the path and the reason.
template <std::floating_point T>
void save_npy(const std::filesystem::path& folder, const Parameters<T>& parameters) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(std::filesystem::is_directory(folder, error), "npy: ", folder.string(), ": a folder expected, and none can be made");
  parameters.visit([&](const std::string& name, const Shape& shape, View<const T, 1> elements) {
    write_file(detail::npy_path(folder, name), [&](FileWriter& file) {
      file.write(detail::npy_header(sizeof(T) == 4 ? "<f4" : "<f8", shape));
      file.write(elements.data(), static_cast<std::size_t>(elements.size()) * sizeof(T));
    });
  });
}

/// Reads every parameter from `folder`/<name>.npy: <f4 or <f8, in C order, of just its shape; rounded where T is narrower.
/// Other files there are not looked at. Throws Error with the parameter's name where one is missing or is not so; then no
/// parameter is changed.
template <std::floating_point T>
void load_npy(const std::filesystem::path& folder, Parameters<T>& parameters) {
  Parameters<T> loaded = parameters;
  loaded.visit([&](const std::string& name, const Shape& shape, View<T, 1> elements) {
    detail::load_npy(detail::npy_path(folder, name), name, shape, elements);
  });
  parameters = std::move(loaded);
}

}  // namespace interop
}  // namespace fovea::inline FOVEA_ABI
