// SPDX-License-Identifier: MIT
// What comes after training: a temperature and an early exit from images held out, measures, a drawing of the scan path, a heat
// map of gaze, and dreams. The model here is untrained and the images are noise: it is the calls that count.
// smoke-test:
#include <fovea/fovea.hpp>

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

int main() {
  constexpr fovea::Index kImages = 24;
  const fovea::model::Saccader model({.classes = 4, .steps = 4});
  const fovea::Parameters<float> weights(model.layout(), /*seed=*/1);

  std::vector<fovea::Tensor<std::uint8_t, 3>> pixels;
  std::vector<fovea::Pyramid<std::uint8_t>> images;
  std::vector<std::int32_t> labels;
  fovea::Stream stream(1);
  for (fovea::Index i = 0; i < kImages; ++i) {
    auto& picture = pixels.emplace_back(fovea::Extents<3>{96 + 8 * (i % 3), 128, 1});
    for (auto& value : picture) value = static_cast<std::uint8_t>(stream.below(256));
    labels.push_back(static_cast<std::int32_t>(stream.below(4)));
  }
  for (const auto& picture : pixels) images.emplace_back(picture.view());

  // On images held out from training.
  fovea::Arena memory;
  fovea::Tensor<float, 2> probabilities({kImages, 4});
  for (std::size_t i = 0; i < images.size(); ++i) {
    memory.reset();
    const auto answer = model.classify(images[i], weights, memory);
    for (std::size_t k = 0; k < 4; ++k) {
      probabilities(static_cast<fovea::Index>(i), static_cast<fovea::Index>(k)) = answer.probabilities[k];
    }
  }
  const auto scaling = fovea::train::TemperatureScaling::fit(std::as_const(probabilities).view(), labels);
  fovea::train::ExitCalibration calibration({.rule = fovea::model::ExitRule::confidence, .temperature = scaling.temperature});
  for (std::size_t i = 0; i < images.size(); ++i) {
    memory.reset();
    calibration.add(model.classify(images[i], weights, memory), labels[i]);
  }
  fovea::model::Looking looking;
  looking.exit = calibration.with_mean_glimpses(2.5);

  // On the images of a test, which these should not be.
  fovea::train::Evaluation evaluation;
  fovea::model::HeatMap gaze;
  for (std::size_t i = 0; i < images.size(); ++i) {
    memory.reset();
    const auto answer = model.classify(images[i], weights, memory, looking);
    evaluation.add(answer, labels[i]);
    gaze.add(answer);
  }
  const fovea::train::Measures measures = evaluation.measures();
  std::printf("%.2f glimpses an image, %.0f %% right\n", measures.glimpses, 100 * measures.accuracy);

  fovea::Tensor<float, 2> map({30, 40});
  gaze.render({30, 40}, {.top = 0, .left = 0, .height = 30, .width = 40}, map.view());
  memory.reset();
  const auto answer = model.classify(images[0], weights, memory, looking);
  const std::string svg = fovea::model::scan_path_svg(answer, {.image = images[0].extent(), .picture = "photo.png"});
  std::printf("%zu letters of SVG, density %.2f in the middle\n", svg.size(), static_cast<double>(map(15, 20)));

  fovea::Inference<float> context(memory, weights.values());
  for (const auto& dream : model.generate(context, /*samples=*/1, {.seed = 2})) {
    std::printf("dreams of looking at (%.2f, %.2f)\n", static_cast<double>(dream.regions.value[1]),
                static_cast<double>(dream.regions.value[2]));
  }
  return measures.glimpses <= 2.5 ? 0 : 1;
}
