// SPDX-License-Identifier: MIT
// Reads from top to bottom: training, the test, what an answer costs, where the model looked.
#include "run.hpp"

#include "../../support/gaze_sheet.hpp"
#include "../../support/peak_memory.hpp"
#include "../../support/png.hpp"
#include "../../support/timing.hpp"
#include "shard.hpp"
#include <fovea/core/parallel.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/image/jpeg.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/calibration.hpp>
#include <fovea/train/fit.hpp>
#include <fovea/train/metrics.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <utility>
#include <vector>

namespace experiments {

namespace {

using fovea::Arena;
using fovea::Parameters;
using fovea::Tape;
using fovea::Workers;
using fovea::model::Prediction;
using support::Json;

/// What is known of many answers.
struct Answers {
  fovea::train::Evaluation evaluation;
  fovea::train::ExitCalibration exits{{.rule = fovea::model::ExitRule::confidence}};
  Index images = 0;
  Index correct = 0;
  double distance = 0;  ///< sum of how far answers are off, for labels that are numbers
  Index near = 0;       ///< off by one at most

  void append(const Answers& next) {
    evaluation.append(next.evaluation);
    exits.append(next.exits);
    images += next.images;
    correct += next.correct;
    distance += next.distance;
    near += next.near;
  }
  [[nodiscard]] double accuracy() const { return static_cast<double>(correct) / static_cast<double>(images); }
};

/// Pixels of the image that the glimpses of an answer cover, those beyond its edge not counted.
[[nodiscard]] double pixels_covered(const Prediction& answer, Extents<2> image, Extents<2> glimpse) {
  const fovea::glimpse::PixelRectangle whole{0, 0, static_cast<double>(image[1]), static_cast<double>(image[0])};
  std::vector<fovea::glimpse::PixelRectangle> seen;
  for (const auto& region : answer.regions) {
    seen.push_back(fovea::glimpse::to_pixels(region, fovea::glimpse::Aspect::isotropic, image, glimpse));
  }
  return fovea::train::covered_by_any(whole, seen) * whole.area();
}

/// The name of the processor, where the system tells.
[[nodiscard]] std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(": ") + 2));
  }
  return "unknown";
}

class Run {
 public:
  Run(const Task& task, const Recipe& recipe, const std::string& model, const RunOptions& options)
      : task_(task),
        recipe_(recipe),
        name_(model),
        options_(options),
        contender_(make_contender(model, task, recipe)),
        workers_(options.threads) {}

  std::optional<Json> operator()() {
    const std::optional<Parameters<float>> weights = train();
    if (!weights) return std::nullopt;
    const Facts& of = task_.facts();
    Json row = {{"experiment", of.experiment},
                {"variant", of.variant},
                {"model", name_},
                {"seed", options_.seed},
                {"question", of.question},
                {"cpu", processor()},
                {"parameters", contender_->layout().count()},
                {"image", {of.image[0], of.image[1]}},
                {"proxy", {of.proxy[0], of.proxy[1]}},
                {"train", trained_},
                {"test", test(*weights)},
                {"cost", cost(*weights)},
                {"curve", curve_}};
    if (!task_.file(0).empty()) row["disk"] = from_disk(*weights);
    draw(*weights);
    return row;
  }

 private:
  /// Of what belongs to a training.
  [[nodiscard]] std::string file_name(const char* ending) const {
    const Facts& of = task_.facts();
    const std::string& variant = of.trained_as.empty() ? of.variant : of.trained_as;
    return fovea::format("%s-%s-%s-%llu%s", of.experiment.c_str(), variant.c_str(), name_.c_str(),
                         static_cast<unsigned long long>(options_.seed), ending);
  }

  [[nodiscard]] Index test_images() const {
    return options_.smoke ? std::min<Index>(16, task_.facts().test_images) : task_.facts().test_images;
  }
  [[nodiscard]] bool reads_all() const { return contender_->sees() == Sees::canvas_whole; }

  // ------------------------------------------------------------------------------------------------------------- training
  std::optional<Parameters<float>> train() {
    const TrainingImages images(task_);
    Parameters<float> start(contender_->layout(), options_.seed);
    const Index seen = options_.smoke ? 2 * recipe_.batch : recipe_.images;
    fovea::train::Trainer trainer(start, fovea::train::Adam<float>(contender_->layout(), {.beta2 = 0.99}), workers_,
                                  {.batch = recipe_.batch, .shard = recipe_.shard});
    const auto steps = static_cast<std::uint64_t>((seen + recipe_.batch - 1) / recipe_.batch);
    fovea::train::FitCallbacks<float> callbacks;
    callbacks.step = [&](const fovea::train::FitState&) { return std::chrono::steady_clock::now() < options_.deadline; };
    callbacks.validate = [&](const Parameters<float>& average) {
      return answers(average, Set::held_out, options_.smoke ? 8 : 500).accuracy();
    };
    constexpr double kValidations = 10;
    const auto curve_file = options_.work / file_name(".metrics");
    auto fitted = fovea::train::fit(
        trainer, images,
        [&](Tape<float>& tape, const Shard& shard, const fovea::model::Moment& moment) {
          return contender_->loss(tape, shard, moment);
        },
        {.steps = steps,
         .rate = fovea::bound::WarmUpCosine{.peak = recipe_.rate, .warm_up = 0.02, .floor = 0.02},
         .seed = options_.seed,
         .average = recipe_.average,
         .validate_every = static_cast<double>(seen) / kValidations / static_cast<double>(images.epoch()),
         .checkpoint = options_.work / file_name(".checkpoint"),
         .checkpoint_every = 60,
         .resume = options_.resume || !task_.facts().trained_as.empty(),
         .metrics = curve_file,
         .metrics_every = std::max<std::uint64_t>(steps / 100, 1),
         .title = file_name("")},
        callbacks);
    if (fitted.state.step < steps) return std::nullopt;
    trained_ = {{"images", fitted.state.images},
                {"minutes", fitted.state.seconds / 60},
                {"threads", workers_.size()},
                {"loss", fitted.state.last.loss}};
    read_curve(curve_file);
    return std::move(fitted.weights);
  }

  /// The validations of all sittings.
  void read_curve(const std::filesystem::path& metrics) {
    std::ifstream file(metrics.string() + ".jsonl");
    for (std::string line; std::getline(file, line);) {
      const Json step = Json::parse(line);
      if (step.contains("validation") && step.at("validation").is_number()) {
        curve_.push_back({{"images", step.at("images")}, {"accuracy", step.at("validation")}});
      }
    }
  }

  // -------------------------------------------------------------------------------------------------------------- the test
  /// The first `count` images of a set.
  Answers answers(const Parameters<float>& weights, Set set, Index count, const fovea::model::EarlyExit& exit = {}) {
    constexpr Index kBlock = 8;
    const Index blocks = (count + kBlock - 1) / kBlock;
    std::vector<Answers> each(static_cast<std::size_t>(blocks));
    std::vector<std::unique_ptr<Sample>> samples;
    std::vector<Arena> arenas(static_cast<std::size_t>(workers_.size()));
    for (int i = 0; i < workers_.size(); ++i) samples.push_back(task_.make_sample());
    workers_.run(blocks, [&](Index block, int worker) {
      Sample& sample = *samples[static_cast<std::size_t>(worker)];
      Arena& arena = arenas[static_cast<std::size_t>(worker)];
      Answers& sum = each[static_cast<std::size_t>(block)];
      for (Index i = block * kBlock; i < std::min(count, (block + 1) * kBlock); ++i) {
        const auto number = static_cast<std::uint64_t>(i);
        task_.fill(sample, set, number);
        arena.reset();
        const bool canvas = contender_->sees() != Sees::image && sample.canvas.levels() > 0;
        const Prediction answer = contender_->answer(canvas ? sample.canvas : sample.image, number, weights, arena, exit);
        fovea::train::Cost cost;
        cost.decoded.pixels = static_cast<Index>(pixels_covered(answer, sample.image.extent(), recipe_.saccader.glimpse));
        sum.evaluation.add(answer, sample.label, cost,
                           {.image = sample.image.extent(),
                            .objects = sample.objects,
                            .glimpse = recipe_.saccader.glimpse,
                            .aspect = fovea::glimpse::Aspect::isotropic});
        if (contender_->can_exit() && exit.rule == fovea::model::ExitRule::never) sum.exits.add(answer, sample.label);
        const auto off = std::abs(answer.label - Index{sample.label});
        ++sum.images;
        sum.correct += off == 0 ? 1 : 0;
        sum.near += off <= 1 ? 1 : 0;
        sum.distance += static_cast<double>(off);
      }
    });
    Answers all;
    for (const Answers& a : each) all.append(a);
    return all;
  }

  Json test(const Parameters<float>& weights) {
    const Index count = test_images();
    const Answers all = answers(weights, Set::test, count);
    const fovea::train::Measures m = all.evaluation.measures();
    Json json = {{"images", all.images},
                 {"correct", all.correct},
                 {"accuracy", all.accuracy()},
                 {"calibration_error", m.calibration_error},
                 {"glimpses", m.glimpses}};
    if (task_.facts().ordered) {
      json["mean_error"] = all.distance / static_cast<double>(all.images);
      json["within_one"] = static_cast<double>(all.near) / static_cast<double>(all.images);
    }
    if (m.glimpses > 0 && m.localisation.images > 0) {
      json["hit_rate"] = m.localisation.centre.glimpses;
      json["coverage"] = m.localisation.coverage;
    }
    json["pixels"] = reads_all() ? static_cast<double>(fovea::product(task_.facts().image)) : m.pixels;
    if (contender_->can_exit() && m.glimpses > 1) json["early_exit"] = early_exit(weights, m.glimpses);
    return json;
  }

  /// The threshold for half of the glimpses in the mean, found on images held out, then the test.
  Json early_exit(const Parameters<float>& weights, double glimpses) {
    const Index count = test_images();
    const Answers held_out = answers(weights, Set::held_out, std::min<Index>(count, 2000));
    const auto exit = held_out.exits.with_mean_glimpses(std::max(1.0, glimpses / 2));
    const Answers early = answers(weights, Set::test, count, exit);
    return {{"glimpses", early.evaluation.measures().glimpses}, {"accuracy", early.accuracy()}};
  }

  // ------------------------------------------------------------------------------------------------- what an answer costs
  /// Of one whole image in memory, on one thread, as a program would classify one picture after another.
  Json cost(const Parameters<float>& weights) {
    const fovea::Tensor<std::uint8_t, 3> pixels = contender_->sees() == Sees::canvas ? canvas(0) : task_.whole(0);
    const auto once = [&](fovea::Pyramid<std::uint8_t>& pyramid, Arena& arena) {
      arena.reset();
      if (reads_all()) return static_cast<double>(contender_->answer(Image(pixels.view()), 0, weights, arena).label);
      pyramid.assign(pixels.view());
      return static_cast<double>(contender_->answer(pyramid, 0, weights, arena).label);
    };
    // In a child of its own, so that its memory is not what training left.
    const support::Measured measured = support::measure_in_child([&] {
      fovea::Pyramid<std::uint8_t> pyramid;
      Arena arena;
      double sum = once(pyramid, arena);
      const support::Stopwatch watch;
      sum += once(pyramid, arena);
      const int repetitions = options_.smoke ? 1 : std::clamp(static_cast<int>(2 / std::max(watch.seconds(), 1e-3)), 1, 101);
      const double ms = support::median_ms(
          repetitions, [&](int) { sum += once(pyramid, arena); }, 0);
      return std::vector<double>{ms, sum};
    });
    Json json = {{"ms", measured.values[0]}, {"peak_mib", measured.peak_mib}};
    if (!options_.smoke || !reads_all()) {
      const fovea::Pyramid<std::uint8_t> pyramid(pixels.view());
      json["multiply_adds"] = contender_->multiply_adds(pyramid, weights);
    }
    return json;
  }

  /// What a test image is made of by magnifying, or else the image.
  [[nodiscard]] fovea::Tensor<std::uint8_t, 3> canvas(std::uint64_t number) const {
    const std::unique_ptr<Sample> sample = task_.make_sample();
    task_.fill(*sample, Set::test, number);
    if (sample->canvas.levels() == 0) return task_.whole(number);
    const auto& from = sample->canvas.level(0);
    fovea::Tensor<std::uint8_t, 3> to(from.extents());
    for (Index y = 0; y < to.extent(0); ++y) {
      for (Index x = 0; x < to.extent(1); ++x) {
        for (Index c = 0; c < to.extent(2); ++c) to(y, x, c) = from(y, x, c);
      }
    }
    return to;
  }

  /// The test files on disk, one after the other on one thread, each opened anew.
  Json from_disk(const Parameters<float>& weights) {
    const Index count = std::min<Index>(options_.smoke ? 2
                                        : reads_all()  ? 3
                                                       : task_.facts().test_images,
                                        task_.facts().test_images);
    std::vector<double> ms;
    Index correct = 0;
    double bytes = 0;
    Arena arena;
    const std::unique_ptr<Sample> sample = task_.make_sample();
    for (Index i = 0; i < count; ++i) {
      const auto number = static_cast<std::uint64_t>(i);
      task_.fill(*sample, Set::test, number);
      arena.reset();
      const support::Stopwatch watch;
      const fovea::ImageFile image = fovea::open_jpeg(task_.file(number));
      const Prediction answer = contender_->answer(image, number, weights, arena);
      ms.push_back(1000 * watch.seconds());
      correct += answer.label == sample->label ? 1 : 0;
      bytes += static_cast<double>(image.decoded().bytes);
    }
    const support::Measured memory = support::measure_in_child([&] {
      Arena fresh;
      const fovea::ImageFile image = fovea::open_jpeg(task_.file(0));
      return std::vector<double>{static_cast<double>(contender_->answer(image, 0, weights, fresh).label)};
    });
    return {{"images", count},
            {"accuracy", static_cast<double>(correct) / static_cast<double>(count)},
            {"ms", support::median(ms)},
            {"bytes", bytes / static_cast<double>(count)},
            {"peak_mib", memory.peak_mib}};
  }

  // ------------------------------------------------------------------------------------------------------ where it looked
  void draw(const Parameters<float>& weights) {
    if (options_.seed != 1 || name_ != "saccader") return;
    std::vector<support::GazeExample> examples;
    Arena arena;
    const auto bytes = [](fovea::View<const float, 3> from) {
      fovea::Tensor<std::uint8_t, 3> to(from.extents());
      for (Index i = 0; i < to.size(); ++i) {
        to.data()[i] = static_cast<std::uint8_t>(std::lround(255 * std::clamp(from.data()[i], 0.0F, 1.0F)));
      }
      return to;
    };
    const std::unique_ptr<Sample> sample = task_.make_sample();
    for (std::uint64_t number = 0; number < (options_.smoke ? 1U : 4U); ++number) {
      task_.fill(*sample, Set::test, number);
      const auto pixels = task_.whole(number);
      const fovea::Pyramid<std::uint8_t> image(pixels.view());
      arena.reset();
      const Prediction answer = contender_->answer(image, number, weights, arena);
      support::GazeExample example;
      const Index channels = task_.facts().channels;
      // In the middle of a square, which is what a sheet shows.
      constexpr Index kSide = 400;
      const Extents<2> extent = image.extent();
      const auto longer = static_cast<double>(std::max(extent[0], extent[1]));
      const auto share = [longer](Index n) { return static_cast<double>(n) / longer; };
      const auto shown = [&](Index n) { return static_cast<Index>(std::lround(kSide * share(n))); };
      fovea::Tensor<float, 3> small({shown(extent[0]), shown(extent[1]), channels});
      fovea::proxy(image, small.view());
      example.image = fovea::Tensor<std::uint8_t, 3>({kSide, kSide, channels});
      std::fill_n(example.image.data(), example.image.size(), std::uint8_t{0});
      const auto pixels_shown = bytes(std::as_const(small).view());
      const Index top = (kSide - small.extent(0)) / 2;
      const Index left = (kSide - small.extent(1)) / 2;
      for (Index y = 0; y < small.extent(0); ++y) {
        std::copy_n(&pixels_shown.view()(y, 0, 0), small.extent(1) * channels, &example.image.view()(top + y, left, 0));
      }
      fovea::Tensor<float, 3> proxy({task_.facts().proxy[0], task_.facts().proxy[1], channels});
      fovea::proxy(image, proxy.view());
      example.proxy = bytes(std::as_const(proxy).view());
      fovea::Tensor<float, 3> glimpse({recipe_.saccader.glimpse[0], recipe_.saccader.glimpse[1], channels});
      for (const auto& region : answer.regions) {
        fovea::glimpse::Antialiased{.padding = padding(recipe_)}.sample(image, region, glimpse.view());
        example.regions.push_back(
            {region.s, region.x * static_cast<float>(share(extent[1])), region.y * static_cast<float>(share(extent[0]))});
        example.glimpses.push_back(bytes(std::as_const(glimpse).view()));
      }
      example.truth = std::to_string(sample->label);
      example.answer = std::to_string(answer.label);
      example.confidence = static_cast<double>(answer.probabilities[static_cast<std::size_t>(answer.label)]);
      examples.push_back(std::move(example));
    }
    support::write_png(
        options_.output / fovea::format("%s-%s.png", task_.facts().experiment.c_str(), task_.facts().variant.c_str()),
        support::draw_gaze_sheet(examples).view());
  }

  const Task& task_;
  const Recipe& recipe_;
  std::string name_;
  const RunOptions& options_;
  std::unique_ptr<Contender> contender_;
  Workers workers_;
  Json trained_;
  Json curve_ = Json::array();
};

}  // namespace

std::optional<Json> run(const Task& task, const Recipe& recipe, const std::string& model, const RunOptions& options) {
  return Run(task, recipe, model, options)();
}

}  // namespace experiments
