// SPDX-License-Identifier: MIT
/// \file
/// Named arrays in a file: the safetensors format (nlohmann-json; CMake component `json`), as
/// github.com/huggingface/safetensors has it in README.md, "Format", and safetensors/src/tensor.rs. PyTorch, NumPy, JAX and
/// others read and write it:
///
///     8 bytes   N, little-endian
///     N bytes   {"__metadata__":{"key":"text"},"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},...} and spaces
///     the rest  the elements, row-major and little-endian; offsets are from here on, without holes or overlaps
///
/// Written in the order of their serializer: types of wide elements first, then by name; N is a multiple of 8, so all elements
/// are aligned.
///
/// Read strictly: whatever the format rules out is an Error with the path, before anything is used. Two things are stricter
/// than theirs: a name or key that comes twice is refused (theirs takes the last), and so is a field of a tensor other than the
/// three. One is laxer: a type of elements that is not known is refused only where its elements are asked for.
#pragma once

#include <fovea/core/atomic_file.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/raw.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// What the elements of a file can be in memory.
template <class T>
concept SafetensorsElement = std::same_as<T, float> || std::same_as<T, double> ||(std::integral<T> && !std::same_as<T, bool>);

namespace detail {

static_assert(std::endian::native == std::endian::little, "fovea/train/safetensors.hpp: little-endian machines only");

/// The largest header that their reader takes.
inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;
/// More axes than PyTorch or NumPy can have.
inline constexpr std::size_t kMaxSafetensorsRank = 64;
inline constexpr std::string_view kSafetensorsMetadata = "__metadata__";

struct SafetensorsType {
  std::string_view name;
  std::uint64_t bits;
};
/// In the order of `enum Dtype`, by which their serializer sorts: the last come first in the file.
inline constexpr std::array<SafetensorsType, 22> kSafetensorsTypes{{
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
}};

/// The place of a type in kSafetensorsTypes; their number where it is not known.
[[nodiscard]] constexpr std::size_t safetensors_rank(std::string_view type) noexcept {
  std::size_t i = 0;
  while (i < kSafetensorsTypes.size() && kSafetensorsTypes[i].name != type) ++i;
  return i;
}

/// The format's name for T.
template <SafetensorsElement T>
[[nodiscard]] constexpr std::string_view safetensors_type() noexcept {
  constexpr std::size_t width = std::countr_zero(sizeof(T));
  if constexpr (std::floating_point<T>) return sizeof(T) == 4 ? "F32" : "F64";
  constexpr std::array<std::string_view, 4> of_signed{"I8", "I16", "I32", "I64"};
  constexpr std::array<std::string_view, 4> of_unsigned{"U8", "U16", "U32", "U64"};
  return std::is_signed_v<T> ? of_signed[width] : of_unsigned[width];
}

/// A name from a file for a message: not too long, without line ends and the like.
[[nodiscard]] inline std::string shown(std::string_view name) {
  constexpr std::size_t most = 100;
  std::string text(name.substr(0, most));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20U || c == 0x7f) c = '?';
  }
  if (name.size() > most) text += "...";
  return text;
}

[[nodiscard]] inline std::string shown(std::span<const Index> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) (text += i > 0 ? "x" : "") += std::to_string(shape[i]);
  return text + "]";
}

[[nodiscard]] inline float from_half(std::uint16_t half) noexcept {
  const std::uint32_t sign = (half & 0x8000U) << 16U;
  const std::uint32_t exponent = (half >> 10U) & 0x1fU;
  const std::uint32_t fraction = half & 0x3ffU;
  if (exponent == 0) {  // zero and subnormal: a multiple of 2^-24
    const float value = static_cast<float>(fraction) * 0x1p-24F;
    return sign == 0 ? value : -value;
  }
  return std::bit_cast<float>(sign | ((exponent == 31 ? 255U : exponent + 112U) << 23U) | (fraction << 13U));
}

[[nodiscard]] inline float from_bfloat(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

struct SafetensorsEntry {
  std::string type;
  std::vector<Index> shape;
  std::uint64_t begin = 0;  ///< in bytes from the first element of the file
  std::uint64_t end = 0;
};

/// What a header says, in the order of names.
struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry, std::less<>> entries;
  std::map<std::string, std::string, std::less<>> metadata;
};

/// Takes the header as nlohmann's parser reads it, token by token, and nothing but what the format allows: a document would
/// have lost the first of two equal keys. Nothing nests deeper than a shape in a tensor in the header.
class SafetensorsReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit SafetensorsReader(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] SafetensorsHeader take() && { return std::move(header_); }

  bool start_object(std::size_t /*elements*/) override {
    switch (place_) {
      case Place::before: place_ = Place::header; return true;
      case Place::metadata_begin: place_ = Place::metadata; return true;
      case Place::tensor_begin: place_ = Place::tensor; return true;
      default: refuse("an object");
    }
  }
  bool end_object() override {
    if (place_ == Place::tensor) {
      if (fields_ != kType + kShape + kOffsets) fail_at("dtype, shape and data_offsets expected");
    } else if (place_ == Place::header) {
      place_ = Place::after;
      return true;
    }
    place_ = Place::header;
    return true;
  }
  bool key(std::string& text) override {
    if (place_ == Place::header) {
      if (text == kSafetensorsMetadata) {
        if (std::exchange(has_metadata_, true)) fail(path_, ": ", kSafetensorsMetadata, " comes twice");
        place_ = Place::metadata_begin;
        return true;
      }
      const auto [entry, is_new] = header_.entries.try_emplace(text);
      if (!is_new) fail(path_, ": two tensors are named \"", shown(text), "\"");
      entry_ = &*entry;
      fields_ = 0;
      place_ = Place::tensor_begin;
    } else if (place_ == Place::metadata) {
      const auto [value, is_new] = header_.metadata.try_emplace(text);
      if (!is_new) fail(path_, ": the key \"", shown(text), "\" comes twice in ", kSafetensorsMetadata);
      value_ = &value->second;
      place_ = Place::metadata_value;
    } else {
      const unsigned field = text == "dtype" ? kType : text == "shape" ? kShape : text == "data_offsets" ? kOffsets : 0U;
      if (field == 0) fail_at("dtype, shape and data_offsets expected, \"", shown(text), "\" came");
      if ((fields_ & field) != 0) fail_at(text, " comes twice");
      fields_ |= field;
      place_ = field == kType ? Place::type : field == kShape ? Place::shape_begin : Place::offsets_begin;
    }
    return true;
  }
  bool start_array(std::size_t /*elements*/) override {
    if (place_ != Place::shape_begin && place_ != Place::offsets_begin) refuse("a list");
    place_ = place_ == Place::shape_begin ? Place::shape : Place::offsets;
    offsets_ = 0;
    return true;
  }
  bool end_array() override {
    if (place_ == Place::offsets && offsets_ != 2) fail_at("two data_offsets expected");
    place_ = Place::tensor;
    return true;
  }
  bool string(std::string& text) override {
    if (place_ == Place::type) {
      entry_->second.type = text;
      place_ = Place::tensor;
    } else if (place_ == Place::metadata_value) {
      *value_ = text;
      place_ = Place::metadata;
    } else {
      refuse("a text");
    }
    return true;
  }
  bool number_unsigned(std::uint64_t number) override {
    if (number > static_cast<std::uint64_t>(std::numeric_limits<Index>::max())) refuse("a number beyond 2^63");
    SafetensorsEntry* entry = entry_ == nullptr ? nullptr : &entry_->second;
    if (place_ == Place::shape) {
      if (entry->shape.size() == kMaxSafetensorsRank) fail_at("at most ", kMaxSafetensorsRank, " axes expected");
      entry->shape.push_back(static_cast<Index>(number));
    } else if (place_ == Place::offsets && offsets_ < 2) {
      (offsets_++ == 0 ? entry->begin : entry->end) = number;
    } else {
      refuse("a number");
    }
    return true;
  }
  bool number_integer(std::int64_t /*number*/) override { refuse("a negative number"); }
  bool number_float(double /*number*/, const std::string& /*text*/) override {
    refuse("a number with a fraction or too large");
  }
  bool null() override { refuse("null"); }
  bool boolean(bool /*value*/) override { refuse("true or false"); }
  bool binary(nlohmann::json::binary_t& /*value*/) override { refuse("binary data"); }
  bool parse_error(std::size_t position, const std::string& /*token*/, const nlohmann::json::exception& /*error*/) override {
    fail(path_, ": the header is not JSON from its byte ", position, " on");
  }

 private:
  enum class Place {
    before,
    header,
    metadata_begin,
    metadata,
    metadata_value,
    tensor_begin,
    tensor,
    type,
    shape_begin,
    shape,
    offsets_begin,
    offsets,
    after
  };
  static constexpr unsigned kType = 1;
  static constexpr unsigned kShape = 2;
  static constexpr unsigned kOffsets = 4;

  template <class... Pieces>
  [[noreturn]] void fail_at(const Pieces&... pieces) const {
    fail(path_, ": tensor \"", shown(entry_->first), "\": ", pieces...);
  }
  /// What came does not belong here.
  [[noreturn]] void refuse(std::string_view what) const {
    switch (place_) {
      case Place::metadata_begin: fail(path_, ": ", kSafetensorsMetadata, " is to be an object, ", what, " came");
      case Place::metadata_value: fail(path_, ": a text expected for every key of ", kSafetensorsMetadata, ", ", what, " came");
      case Place::tensor_begin: fail_at("an object expected, ", what, " came");
      case Place::type: fail_at("a text expected for dtype, ", what, " came");
      case Place::shape_begin:
      case Place::shape: fail_at("a list of numbers of at least 0 expected for shape, ", what, " came");
      case Place::offsets_begin:
      case Place::offsets: fail_at("a list of two numbers of at least 0 expected for data_offsets, ", what, " came");
      default: fail(path_, ": an object expected as header, ", what, " came");
    }
  }

  std::string path_;
  SafetensorsHeader header_;
  Place place_ = Place::before;
  bool has_metadata_ = false;
  std::pair<const std::string, SafetensorsEntry>* entry_ = nullptr;
  unsigned fields_ = 0;
  std::string* value_ = nullptr;
  int offsets_ = 0;
};

/// Throws Error unless the tensors cover `size` bytes without holes and overlaps, each with as many as its shape takes.
inline void check_safetensors(const std::string& path, const SafetensorsHeader& header, std::uint64_t size) {
  std::vector<const std::pair<const std::string, SafetensorsEntry>*> order;
  order.reserve(header.entries.size());
  for (const auto& entry : header.entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  std::uint64_t at = 0;
  for (const auto* item : order) {
    const SafetensorsEntry& entry = item->second;
    const std::string where = path + ": tensor \"" + shown(item->first) + "\": ";
    require(entry.begin == at && entry.end >= entry.begin, where, "data_offsets from ", at,
            " on expected, without holes and overlaps, ", entry.begin, " to ", entry.end, " came");
    require(entry.end <= size, where, "the file is cut short: it ends at byte ", size, " of the elements, the tensor at ",
            entry.end);
    at = entry.end;
    // Divided, since the product may be anything; more elements than this no file has. An axis of length 0 hides no others.
    constexpr std::uint64_t most = std::uint64_t{1} << 57U;
    std::uint64_t count = 1;
    for (const Index extent : entry.shape) {
      const auto e = static_cast<std::uint64_t>(std::max(extent, Index{1}));
      require(count <= most / e, where, "a shape whose size can be counted expected, ", shown(entry.shape), " came");
      count *= e;
    }
    if (std::find(entry.shape.begin(), entry.shape.end(), 0) != entry.shape.end()) count = 0;
    const std::size_t rank = safetensors_rank(entry.type);
    if (rank == kSafetensorsTypes.size()) continue;
    const std::uint64_t bits = count * kSafetensorsTypes[rank].bits;
    require(bits % 8 == 0 && bits / 8 == entry.end - entry.begin, where, bits / 8, " bytes expected for ", entry.type, " ",
            shown(entry.shape), ", the offsets give it ", entry.end - entry.begin);
  }
  require(at == size, path, ": ", at, " bytes of elements expected, the file has ", size);
}

}  // namespace detail

/// A file of the format, checked and mapped: nothing is copied before it is asked for. It must not shrink meanwhile; what
/// train::SafetensorsWriter saves over it is another file. Movable.
class SafetensorsFile {
 public:
  /// Throws Error, with the path, on a file that cannot be read or is not what the format says.
  explicit SafetensorsFile(const std::filesystem::path& path) : path_(path.string()), file_(path), bytes_(file_.bytes()) {
    open();
  }
  /// The same in memory, which must outlive this; `name` stands for the path in messages.
  explicit SafetensorsFile(std::span<const std::byte> memory, std::string name = "safetensors")
      : path_(std::move(name)), bytes_(memory) {
    open();
  }

  /// For messages.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// The tensors, sorted.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> all;
    all.reserve(header_.entries.size());
    for (const auto& [name, entry] : header_.entries) all.push_back(name);
    return all;
  }
  [[nodiscard]] bool contains(std::string_view name) const { return header_.entries.find(name) != header_.entries.end(); }
  /// The others throw Error where no tensor has that name.
  [[nodiscard]] std::span<const Index> shape(std::string_view name) const { return entry(name).shape; }
  /// As the file says it: "F32".
  [[nodiscard]] std::string_view dtype(std::string_view name) const { return entry(name).type; }
  [[nodiscard]] const std::map<std::string, std::string, std::less<>>& metadata() const noexcept { return header_.metadata; }
  /// The elements as they lie in the file, at any address.
  [[nodiscard]] std::span<const std::byte> bytes(std::string_view name) const { return bytes(entry(name)); }

  /// Copies the elements in row-major order. Elements of T are copied bit by bit; F16, BF16, F32 and F64 become float or
  /// double, rounded where that is narrower. Throws Error where `to` has another size, on other types, and on a finite number
  /// beyond the range of T; then `to` may be half filled.
  template <SafetensorsElement T>
  void read(std::string_view name, View<T, 1> to) const {
    const detail::SafetensorsEntry& from = entry(name);
    const std::span<const std::byte> source = bytes(from);
    const auto refuse = [&] {
      fail(path_, ": tensor \"", detail::shown(name), "\": elements of ", detail::safetensors_type<T>(), " expected, ",
           detail::shown(from.type), " came");
    };
    const auto copy = [&]<class S>(S, auto convert) {
      require(source.size() / sizeof(S) == static_cast<std::size_t>(to.size()), path_, ": tensor \"", detail::shown(name),
              "\": ", to.size(), " elements expected, ", source.size() / sizeof(S), " came");
      for (Index i = 0; i < to.size(); ++i) {
        S element;
        std::memcpy(&element, source.data() + static_cast<std::size_t>(i) * sizeof(S), sizeof(S));
        to[i] = convert(element);
      }
    };
    if (from.type == detail::safetensors_type<T>()) return copy(T{}, [](T element) { return element; });
    if constexpr (std::floating_point<T>) {
      const auto narrow = [&](double element) {
        require(!std::isfinite(element) || std::abs(element) <= static_cast<double>(std::numeric_limits<T>::max()), path_,
                ": tensor \"", detail::shown(name), "\": a number beyond the range of ", detail::safetensors_type<T>());
        return static_cast<T>(element);
      };
      if (from.type == "F32") return copy(float{}, [](float element) { return static_cast<T>(element); });
      if (from.type == "F64") return copy(double{}, narrow);
      if (from.type == "F16")
        return copy(std::uint16_t{}, [](std::uint16_t e) { return static_cast<T>(detail::from_half(e)); });
      if (from.type == "BF16")
        return copy(std::uint16_t{}, [](std::uint16_t e) { return static_cast<T>(detail::from_bfloat(e)); });
    }
    refuse();
  }

 private:
  void open() {
    constexpr std::size_t prefix = sizeof(std::uint64_t);
    require(bytes_.size() >= prefix, path_, ": a safetensors file expected, it has ", bytes_.size(), " bytes");
    std::uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), prefix);
    require(length <= detail::kMaxSafetensorsHeader, path_, ": a safetensors file with a header of at most ",
            detail::kMaxSafetensorsHeader, " bytes expected, one of ", length, " came");
    require(length <= bytes_.size() - prefix, path_, ": a header of ", length, " bytes expected, the file has ", bytes_.size());
    const auto size = static_cast<std::size_t>(length);
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + prefix, size);
    require(text.starts_with('{'), path_, ": a header that begins with { expected");
    // To nlohmann's parser a zero byte is the end of the text.
    require(text.find('\0') == std::string_view::npos, path_, ": the header has a zero byte, which JSON has not");
    detail::SafetensorsReader reader(path_);
    (void)nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
    header_ = std::move(reader).take();
    elements_ = bytes_.subspan(prefix + size);
    detail::check_safetensors(path_, header_, elements_.size());
  }
  [[nodiscard]] const detail::SafetensorsEntry& entry(std::string_view name) const {
    const auto found = header_.entries.find(name);
    require(found != header_.entries.end(), path_, ": a tensor \"", detail::shown(name), "\" expected, there is none");
    return found->second;
  }
  [[nodiscard]] std::span<const std::byte> bytes(const detail::SafetensorsEntry& entry) const {
    return elements_.subspan(static_cast<std::size_t>(entry.begin), static_cast<std::size_t>(entry.end - entry.begin));
  }

  std::string path_;
  MappedFile file_;
  std::span<const std::byte> bytes_;
  std::span<const std::byte> elements_;
  detail::SafetensorsHeader header_;
};

/// Collects tensors and texts, and writes them as one file. What is added is looked at when it is written: it must live until
/// then.
///
///     train::SafetensorsWriter writer;
///     writer.metadata("format", "pt");
///     weights.visit([&](const std::string& name, const Shape& shape, auto elements) { writer.add(name, shape,
///     elements.data()); }); writer.save("model.safetensors");
class SafetensorsWriter {
 public:
  /// Dense, row-major elements of float (F32), double (F64) or an integer (U8, I64, ...). Throws Error on a name used before,
  /// an empty one, and "__metadata__".
  template <SafetensorsElement T>
  void add(std::string_view name, const Shape& shape, const T* elements) {
    require(!name.empty() && name != detail::kSafetensorsMetadata, "safetensors: a tensor cannot be named \"", name, "\"");
    const Tensor tensor{detail::safetensors_type<T>(), shape,
                        std::as_bytes(std::span(elements, static_cast<std::size_t>(shape.size())))};
    require(tensors_.try_emplace(std::string(name), tensor).second, "safetensors: two tensors are named \"", name, "\"");
  }
  /// A text that travels in the header; a later one of the same key replaces it.
  void metadata(std::string key, std::string text) { metadata_.insert_or_assign(std::move(key), std::move(text)); }

  /// Writes the file whole or not at all (core/atomic_file.hpp). Throws Error where it cannot, and where a name or text is not
  /// UTF-8 or the header too large for the format.
  void save(const std::filesystem::path& path) const {
    const std::vector<const Named*> order = in_order();
    const std::string text = header(path, order);
    const std::uint64_t length = text.size();
    write_file(path, [&](FileWriter& file) {
      file.write(&length, sizeof(length));
      file.write(text);
      for (const Named* named : order) file.write(named->second.elements.data(), named->second.elements.size());
    });
  }

 private:
  struct Tensor {
    std::string_view type;
    Shape shape;
    std::span<const std::byte> elements;
  };
  using Named = std::pair<const std::string, Tensor>;

  [[nodiscard]] std::vector<const Named*> in_order() const {
    std::vector<const Named*> order;
    order.reserve(tensors_.size());
    for (const Named& tensor : tensors_) order.push_back(&tensor);
    std::stable_sort(order.begin(), order.end(), [](const Named* a, const Named* b) {
      return detail::safetensors_rank(a->second.type) > detail::safetensors_rank(b->second.type);
    });
    return order;
  }

  [[nodiscard]] std::string header(const std::filesystem::path& path, const std::vector<const Named*>& order) const {
    const auto quoted = [&](const std::string& text) {
      try {
        return nlohmann::json(text).dump();
      } catch (const nlohmann::json::exception&) {
        fail(path.string(), ": cannot be written: \"", detail::shown(text), "\" is not UTF-8");
      }
    };
    std::string text = "{";
    const auto member = [&](const std::string& key) -> std::string& {
      if (text.back() != '{') text += ',';
      text += quoted(key);
      return text += ':';
    };
    if (!metadata_.empty()) {
      member(std::string(detail::kSafetensorsMetadata)) += "{";
      for (const auto& [key, value] : metadata_) member(key) += quoted(value);
      text += "}";
    }
    std::size_t at = 0;
    for (const Named* named : order) {
      const auto& [name, tensor] = *named;
      member(name) += "{\"dtype\":" + quoted(std::string(tensor.type)) + ",\"shape\":[";
      for (std::size_t i = 0; i < tensor.shape.rank(); ++i) (text += i > 0 ? "," : "") += std::to_string(tensor.shape[i]);
      text += "],\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + tensor.elements.size()) + "]}";
      at += tensor.elements.size();
    }
    text += "}";
    constexpr std::size_t unit = sizeof(std::uint64_t);
    text.resize((text.size() + unit - 1) / unit * unit, ' ');
    require(text.size() <= detail::kMaxSafetensorsHeader, path.string(), ": a header of at most ",
            detail::kMaxSafetensorsHeader, " bytes can be written, one of ", text.size(), " came");
    return text;
  }

  std::map<std::string, Tensor, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> metadata_;
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
