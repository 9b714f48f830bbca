// SPDX-License-Identifier: MIT
/// \file
/// A trained model in one file, and back: its options, its weights, a self-test, and whatever is to be known of it
/// (nlohmann-json; CMake component `json`).
///
///     train::save_model("model.safetensors", saccader, weights, {{"classes", {"cat", "dog"}}});
///     const auto loaded = train::load_model<model::Saccader>("model.safetensors");
///     const auto prediction = loaded.model.classify(image, loaded.weights, arena);
#pragma once

#include <fovea/core/arena.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/model/model.hpp>
#include <fovea/model/saccader_options_json.hpp>
#include <fovea/train/checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <type_traits>
#include <utility>

namespace fovea::inline FOVEA_ABI {
namespace train {

namespace detail {
inline constexpr std::string_view kModelKind = "model";
}

/// The model's answers to two made-up images of 4 times its proxy's extent: blocks of random shades.
template <class M>
[[nodiscard]] SelfTest make_self_test(const M& model, const Parameters<float>& weights) {
  constexpr Index images = 2;
  constexpr Index block = 8;
  const auto& options = model.options();
  SelfTest test;
  Arena arena;
  for (Index i = 0; i < images; ++i) {
    Tensor<std::uint8_t, 3> image({4 * options.proxy[0], 4 * options.proxy[1], options.channels});
    for (Index y = 0; y < image.extent(0); ++y) {
      for (Index x = 0; x < image.extent(1); ++x) {
        const auto cell = static_cast<std::uint64_t>((i << 40) + ((y / block) << 20) + x / block);
        Stream stream(0, 0, cell, Purpose::test);
        for (Index c = 0; c < image.extent(2); ++c) image(y, x, c) = static_cast<std::uint8_t>(stream.bits() >> 24U);
      }
    }
    Pyramid<std::uint8_t> pyramid;
    pyramid.assign(std::as_const(image).view());
    arena.reset();
    const model::Prediction prediction = model.classify(pyramid, weights, arena);
    test.outputs.insert(test.outputs.end(), prediction.probabilities.begin(), prediction.probabilities.end());
    test.images.push_back(std::move(image));
  }
  return test;
}

/// `about`: an object, whatever whoever uses the model should know: names of classes, a temperature, how good it is. Throws
/// Error where it cannot be written; then what was there before is untouched.
template <class M>
void save_model(const std::filesystem::path& path, const M& model, const Parameters<float>& weights,
                const Json& about = Json::object()) {
  CheckpointWriter file(detail::kModelKind);
  const SelfTest test = make_self_test(model, weights);
  file.weights(weights);
  file.self_test(test);
  file.set("options", model.options());
  file.set("about", about);
  file.save(path);
}

template <class M>
struct LoadedModel {
  M model;
  Parameters<float> weights;
  Json about;
};

/// Throws Error, with the path, on a file that is not whole, not of save_model(), or of another kind of model; and where the
/// model does not answer the self-test as the one that was saved did.
template <class M>
[[nodiscard]] LoadedModel<M> load_model(const std::filesystem::path& path) {
  const CheckpointFile file(path, detail::kModelKind);
  using Options = std::remove_cvref_t<decltype(std::declval<const M&>().options())>;
  M model(file.get<Options>("options"));
  // Before memory is taken for as many parameters as those options ask for.
  file.require_model(model.layout());
  Parameters<float> weights(model.layout());
  file.weights(weights);
  check_self_test(file.path(), file.self_test(), make_self_test(model, weights));
  return {std::move(model), std::move(weights), file.get<Json>("about")};
}

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
