// SPDX-License-Identifier: MIT
// needs: json
// What is behind the checksum, as whoever can compute one would write it: any JSON as what a file of a model says of itself,
// and any bytes as a whole file. An Error, or a model that answers.
#include <fovea/model/saccader.hpp>
#include <fovea/train/checkpoint.hpp>
#include <fovea/train/model_file.hpp>

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace {

using namespace fovea;

const model::Saccader& small_model() {
  static const model::Saccader model({.classes = 3,
                                      .proxy = {8, 8},
                                      .glimpse = {8, 8},
                                      .steps = 2,
                                      .state = 4,
                                      .location_features = 4,
                                      .decode_proxy = false});
  return model;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const train::CheckpointFile file(std::as_bytes(std::span(data, size)), "model");
    (void)file.self_test();
  } catch (const Error&) {
  }
  const auto json = train::Json::parse(std::string_view(reinterpret_cast<const char*>(data), size), nullptr, false);
  if (!json.is_object()) return 0;
  static const Parameters<float> weights(small_model().layout(), 1);
  static const auto path =
      std::filesystem::temp_directory_path() / ("fovea-fuzz-" + std::to_string(::getpid()) + ".safetensors");
  try {
    train::CheckpointWriter file("model");
    const train::SelfTest test = train::make_self_test(small_model(), weights);
    file.weights(weights);
    file.self_test(test);
    file.set("options", small_model().options());
    file.set("about", train::Json::object());
    for (const auto& [key, value] : json.items()) file.set(key, value);
    file.save(path);
    (void)train::load_model<model::Saccader>(path);
  } catch (const Error&) {
  }
  return 0;
}
