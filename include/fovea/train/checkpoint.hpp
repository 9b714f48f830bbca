// SPDX-License-Identifier: MIT
/// \file
/// Weights on the disk, with whatever belongs to them: one safetensors file (train/safetensors.hpp), written whole or not at
/// all, checked before anything of it is used (nlohmann-json; CMake component `json`).
///
/// The weights stand under their own names, for other tools to read. What else there is stands beside them under names that
/// begin with "fovea.", and in the metadata under "fovea": a JSON text with the version of this layout, what kind of file it
/// is, the signature of the parameters, whatever the writer set, and a checksum over all of it and of every tensor.
#pragma once

#include <fovea/core/checksum.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/view.hpp>
#include <fovea/train/safetensors.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace train {

using Json = nlohmann::json;

namespace detail {

inline constexpr int kCheckpointVersion = 1;
inline constexpr std::string_view kCheckpointKey = "fovea";
inline constexpr std::string_view kCheckpointPrefix = "fovea.";

[[nodiscard]] inline std::uint64_t add_text(std::uint64_t sum, std::string_view text) {
  return checksum(std::as_bytes(std::span(text.data(), text.size())), sum);
}

[[nodiscard]] inline std::vector<Index> extents_of(const Shape& shape) {
  std::vector<Index> extents;
  for (std::size_t i = 0; i < shape.rank(); ++i) extents.push_back(shape[i]);
  return extents;
}

/// Of all names and shapes, in the order of the buffer.
[[nodiscard]] inline std::string signature(const ParameterLayout& layout) {
  std::uint64_t sum = 0;
  for (const auto& entry : layout.entries()) sum = add_text(sum, entry.name + " " + entry.parameter.shape.to_string());
  return format("%016llx", static_cast<unsigned long long>(sum));
}

}  // namespace detail

/// Inputs of a model and what it answers to them: they travel with the weights, and whoever loads those can see that the model
/// is the same one.
struct SelfTest {
  std::vector<Tensor<std::uint8_t, 3>> images;  ///< [H, W, C]
  std::vector<float> outputs;                   ///< as many for each image
};

/// Throws Error, with `where`, unless both have the same inputs and outputs that are equal within `tolerance`: machines that
/// round differently may differ by so much.
inline void check_self_test(const std::string& where, const SelfTest& expected, const SelfTest& came, double tolerance = 1e-3) {
  require(expected.images.size() == came.images.size() && expected.outputs.size() == came.outputs.size(), where,
          ": self-test: ", expected.images.size(), " images and ", expected.outputs.size(), " outputs expected, ",
          came.images.size(), " and ", came.outputs.size(), " came");
  for (std::size_t i = 0; i < expected.images.size(); ++i) {
    const auto& a = expected.images[i];
    const auto& b = came.images[i];
    require(a.extents() == b.extents() && std::equal(a.data(), a.data() + a.size(), b.data()), where,
            ": self-test: another image ", i, " expected");
  }
  for (std::size_t i = 0; i < expected.outputs.size(); ++i) {
    require(std::abs(expected.outputs[i] - came.outputs[i]) <= tolerance, where, ": self-test: ", expected.outputs[i],
            " expected as output ", i, ", this model gives ", came.outputs[i]);
  }
}

/// Collects what goes into one file. What is added must live until it is saved.
class CheckpointWriter {
 public:
  /// `kind`: a word for what the file is, which its reader must know.
  explicit CheckpointWriter(std::string_view kind) {
    state_["version"] = detail::kCheckpointVersion;
    state_["kind"] = std::string(kind);
  }

  template <class T>
  void weights(const Parameters<T>& parameters) {
    state_["signature"] = detail::signature(parameters.layout());
    parameters.visit([&](const std::string& name, const Shape& shape, View<const T, 1> elements) {
      require(!name.starts_with(detail::kCheckpointPrefix), "checkpoint: a parameter cannot be named \"", name, "\"");
      add(name, shape, elements.data());
    });
  }
  /// Something beside the weights.
  template <class T>
  void tensor(std::string_view name, const Shape& shape, const T* elements) {
    add(std::string(detail::kCheckpointPrefix) + std::string(name), shape, elements);
  }
  template <class T>
  void tensor(std::string_view name, View<T, 1> elements) {
    tensor(name, Shape{elements.size()}, elements.data());
  }
  void self_test(const SelfTest& test) {
    for (std::size_t i = 0; i < test.images.size(); ++i) {
      const auto& image = test.images[i];
      tensor("self_test.image." + std::to_string(i), Shape{image.extent(0), image.extent(1), image.extent(2)}, image.data());
    }
    tensor("self_test.outputs", Shape{static_cast<Index>(test.outputs.size())}, test.outputs.data());
    state_["self_test"] = test.images.size();
  }
  void set(const std::string& key, Json value) { state_[key] = std::move(value); }

  /// Throws Error where it cannot be written; then what was there before is untouched.
  void save(const std::filesystem::path& path) {
    std::uint64_t sum = 0;
    for (const auto& [name, piece] : pieces_) sum = checksum(piece.bytes, detail::add_text(sum, name + piece.description));
    try {
      state_.erase("checksum");
      state_["checksum"] = format("%016llx", static_cast<unsigned long long>(detail::add_text(sum, state_.dump())));
      file_.metadata(std::string(detail::kCheckpointKey), state_.dump());
    } catch (const Json::exception&) {
      fail(path.string(), ": cannot be written: a text that is not UTF-8");
    }
    file_.save(path);
  }

 private:
  struct Piece {
    std::string description;
    std::span<const std::byte> bytes;
  };

  template <class T>
  void add(const std::string& name, const Shape& shape, const T* elements) {
    file_.add(name, shape, elements);
    pieces_[name] = {std::string(detail::safetensors_type<T>()) + detail::shown(detail::extents_of(shape)),
                     std::as_bytes(std::span(elements, static_cast<std::size_t>(shape.size())))};
  }

  SafetensorsWriter file_;
  std::map<std::string, Piece> pieces_;
  Json state_;
};

/// A file of a CheckpointWriter, checked: a reader may rely on its being whole and unchanged, though not on its being for this
/// model, which weights() checks.
class CheckpointFile {
 public:
  /// Throws Error, with the path, on anything else than a whole file of this kind and of a version that is known.
  CheckpointFile(const std::filesystem::path& path, std::string_view kind) : file_(path) { open(kind); }
  /// The same in memory, which must outlive it.
  CheckpointFile(std::span<const std::byte> memory, std::string_view kind) : file_(memory) { open(kind); }

  [[nodiscard]] const std::string& path() const noexcept { return file_.path(); }
  [[nodiscard]] const SafetensorsFile& tensors() const noexcept { return file_; }
  [[nodiscard]] bool has(const std::string& key) const { return state_.contains(key); }
  /// What was set under the key, as a V. Throws Error where nothing or something else was.
  template <class V>
  [[nodiscard]] V get(const std::string& key) const {
    try {
      return state_.at(key).get<V>();
    } catch (const Json::exception& error) {
      fail(file_.path(), ": \"", key, "\" is not as expected: ", error.what());
    }
  }

  /// Reads the weights. Throws Error, naming the difference, where they are those of another model; then nothing is changed.
  template <class T>
  void weights(Parameters<T>& parameters) const {
    require_model(parameters.layout());
    require(get<std::string>("signature") == detail::signature(parameters.layout()), file_.path(),
            ": the same parameters expected in another order");
    Parameters<T> read = parameters;
    read.visit([&](const std::string& name, const Shape&, View<T, 1> elements) { file_.read(name, elements); });
    std::copy_n(read.values().data(), read.values().size(), parameters.values().data());
  }
  /// Throws Error unless the file holds the parameters of this layout, and no others.
  void require_model(const ParameterLayout& layout) const {
    std::set<std::string_view> known;
    for (const auto& entry : layout.entries()) {
      known.insert(entry.name);
      require(file_.contains(entry.name), file_.path(), ": of another model: a parameter \"", entry.name,
              "\" expected, there is none");
      const std::span<const Index> shape = file_.shape(entry.name);
      const std::vector<Index> wanted = detail::extents_of(entry.parameter.shape);
      require(std::equal(shape.begin(), shape.end(), wanted.begin(), wanted.end()), file_.path(), ": of another model: \"",
              entry.name, "\" of shape ", detail::shown(wanted), " expected, ", detail::shown(shape), " came");
    }
    for (const std::string& name : file_.names()) {
      require(name.starts_with(detail::kCheckpointPrefix) || known.contains(name), file_.path(),
              ": of another model: it has a parameter \"", detail::shown(name), "\"");
    }
  }
  [[nodiscard]] bool has_tensor(std::string_view name) const {
    return file_.contains(std::string(detail::kCheckpointPrefix) + std::string(name));
  }
  template <class T>
  void tensor(std::string_view name, View<T, 1> to) const {
    file_.read(std::string(detail::kCheckpointPrefix) + std::string(name), to);
  }
  /// Empty where the file has none.
  [[nodiscard]] SelfTest self_test() const {
    SelfTest test;
    if (!has("self_test")) return test;
    const auto count = get<std::size_t>("self_test");
    const std::string prefix = std::string(detail::kCheckpointPrefix) + "self_test.";
    for (std::size_t i = 0; i < count; ++i) {
      const std::string name = prefix + "image." + std::to_string(i);
      const std::span<const Index> shape = file_.shape(name);
      require(shape.size() == 3, file_.path(), ": self-test: an image of three axes expected, ", shape.size(), " came");
      Tensor<std::uint8_t, 3> image({shape[0], shape[1], shape[2]});
      file_.read(name, View<std::uint8_t, 1>(image.data(), {image.size()}));
      test.images.push_back(std::move(image));
    }
    const std::span<const Index> shape = file_.shape(prefix + "outputs");
    require(shape.size() == 1, file_.path(), ": self-test: one axis of outputs expected, ", shape.size(), " came");
    test.outputs.resize(static_cast<std::size_t>(shape[0]));
    file_.read(prefix + "outputs", View<float, 1>(test.outputs.data(), {shape[0]}));
    return test;
  }

 private:
  void open(std::string_view kind) {
    const std::string& path = file_.path();
    const auto text = file_.metadata().find(detail::kCheckpointKey);
    require(text != file_.metadata().end(), path,
            ": a file written by fovea expected; docs/weights.md says how others come in");
    state_ = Json::parse(text->second, nullptr, false);
    require(state_.is_object() && !state_.is_discarded(), path, ": what it says of itself is not JSON");
    // The version first: a later one may have other rules for all the rest.
    const int version = get<int>("version");
    require(version == detail::kCheckpointVersion, path, ": version ", detail::kCheckpointVersion, " expected, ", version,
            " came");
    const auto sum = get<std::string>("checksum");
    state_.erase("checksum");
    std::uint64_t came = 0;
    for (const std::string& name : file_.names()) {
      const std::string description = std::string(file_.dtype(name)) + detail::shown(file_.shape(name));
      came = checksum(file_.bytes(name), detail::add_text(came, name + description));
    }
    came = detail::add_text(came, state_.dump());
    require(sum == format("%016llx", static_cast<unsigned long long>(came)), path,
            ": damaged: its content does not have the checksum it says");
    const auto is = get<std::string>("kind");
    require(is == kind, path, ": a ", kind, " expected, a ", detail::shown(is), " came");
  }

  SafetensorsFile file_;
  Json state_;
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
