// SPDX-License-Identifier: MIT
// The models of the demo and their training. Reads from top to bottom: the pictures, one training loop for all models, the
// test on whole images, the cost.
#include "experiment.hpp"

#include "../support/digit_stream.hpp"
#include "../support/peak_memory.hpp"
#include "../support/timing.hpp"
#include <fovea/data/cluttered_digits.hpp>
#include <fovea/fovea.hpp>
#include <fovea/train/calibration.hpp>
#include <fovea/train/fit.hpp>
#include <fovea/train/learner.hpp>
#include <fovea/train/metrics.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using fovea::Arena;
using fovea::Index;
using fovea::MagnifiedImage;
using fovea::Magnifier;
using fovea::Parameters;
using fovea::Shape;
using fovea::Tape;
using fovea::Tensor;
using fovea::Var;
using fovea::Workers;
using fovea::model::Gaze;
using fovea::model::ProxyOnly;
using fovea::model::Saccader;
using fovea::train::count_correct;

constexpr Index kCanvas = 100;
constexpr Index kBatch = 32;
constexpr Index kShard = 16;
/// What the saccader sees where time allows: on two cores about a quarter of the ten minutes.
constexpr Index kTrainImages = 400'000;
constexpr Index kSmokeImages = 1'280;
/// Mean glimpses with early exit, as a share of all steps.
constexpr double kEarlyShare = 0.4;
constexpr double kSaccaderRate = 1e-3;
constexpr double kProxyOnlyRate = 1e-3;

fovea::data::ClutteredDigitsOptions digits_options() {
  fovea::data::ClutteredDigitsOptions options;
  options.canvas = kCanvas;
  return options;
}

/// What all models share: pictures, threads, how long to train.
class Experiment {
 public:
  Experiment(const Options& options, const Data& data, fovea::train::Progress& progress)
      : options_(options),
        progress_(progress),
        workers_(options.threads),
        train_(data.train, digits_options(), options.seed),
        // Another seed, so that no test image has its digit where a training image of the same number has it.
        test_(data.test, digits_options(), options.seed + (std::uint64_t{1} << 32)),
        saccader_options_(saccader_options(options, data)),
        magnifier_({kCanvas, kCanvas}, {options.image_size, options.image_size}, 1, finest_level()),
        stream_(train_, magnifier_, kCanvas, saccader_options_.proxy, data.train.images.extent(0)) {
    for (int i = 0; i < workers_.size(); ++i) shards_.push_back(stream_.make_shard(kShard));
  }

  Results run() {
    Results results;
    results.threads = workers_.size();
    results.test_images = options_.test_images;

    const Saccader saccader(saccader_options_);
    const fovea::train::Curriculum curriculum(saccader_options_);
    const support::Stopwatch watch;
    const Trained seeing = train_saccader("saccader", saccader, kSeconds * options_.minutes, planned_images(),
                                          [&](double progress) { return curriculum.looking(progress); });
    results.train_seconds = watch.seconds();
    results.train_images = seeing.images;

    // The same network, as many images, but it does not choose where to look.
    const Trained random = train_saccader("random_glimpses", saccader, kNoLimit, seeing.images, [&](double) {
      fovea::model::Looking looking;
      looking.gaze = Gaze::uniform;
      return looking;
    });
    const ProxyOnly thumbnail({.classes = saccader_options_.classes, .proxy = saccader_options_.proxy});
    const Trained proxy_only = train_proxy_only(thumbnail, seeing.images);

    test(results, saccader, seeing.weights, random.weights, thumbnail, proxy_only.weights);
    early_exit(results.early_exit, saccader, seeing.weights);
    if (options_.whole_canvas) results.accuracy.whole_canvas = whole_canvas(seeing.images);
    measure_cost(results, saccader, seeing.weights);
    return results;
  }

 private:
  static constexpr double kSeconds = 60;
  static constexpr double kNoLimit = 1e9;

  struct Trained {
    Parameters<float> weights;
    Index images = 0;
  };

  static fovea::model::SaccaderOptions saccader_options(const Options& options, const Data& data) {
    fovea::model::SaccaderOptions o;
    o.classes = data.train.classes;
    o.proxy = {options.proxy_size, options.proxy_size};
    o.glimpse = {options.glimpse_size, options.glimpse_size};
    o.steps = options.glimpses;
    // A region a little larger than a digit.
    o.scale = std::min(1.0, 1.28 * static_cast<double>(std::max(data.train.height(), data.train.width())) / kCanvas);
    return o;
  }

  /// The finest level of the pyramid that a glimpse can ask for: training stores none below.
  [[nodiscard]] int finest_level() const {
    const double smallest = saccader_options_.scale * std::exp(-saccader_options_.policy.zoom);
    const double spacing = smallest * static_cast<double>(options_.image_size) / static_cast<double>(options_.glimpse_size);
    return std::max(0, static_cast<int>(std::floor(std::log2(std::max(1.0, spacing)))));
  }

  [[nodiscard]] Index planned_images() const { return options_.smoke ? kSmokeImages : kTrainImages; }

  /// Trains for `images` images, or `seconds` seconds where that is less; schedules then run by the clock.
  template <class Loss>
  Trained train(const std::string& title, const fovea::ParameterLayout& layout, double peak_rate, double seconds, Index images,
                Loss&& loss) {
    Parameters<float> weights(layout, options_.seed);
    fovea::train::Trainer trainer(weights, fovea::train::Adam<float>(layout, {.beta2 = 0.99}), workers_,
                                  {.batch = kBatch, .shard = kShard});
    auto fitted = fovea::train::fit(trainer, stream_, loss,
                                    {.steps = static_cast<std::uint64_t>((images + kBatch - 1) / kBatch),
                                     .seconds = seconds,
                                     .rate = fovea::bound::WarmUpCosine{.peak = peak_rate, .warm_up = 0.02, .floor = 0.02},
                                     .seed = options_.seed,
                                     .title = title,
                                     .interruptible = false});
    return {std::move(fitted.weights), static_cast<Index>(fitted.state.images)};
  }

  template <class LookingAt>
  Trained train_saccader(const std::string& title, const Saccader& saccader, double seconds, Index images,
                         LookingAt&& looking_at) {
    const fovea::train::Curriculum curriculum(saccader_options_);
    return train(title, saccader.layout(), kSaccaderRate, seconds, images,
                 [&](Tape<float>& tape, const support::DigitShard& shard, const fovea::model::Moment& moment) {
                   fovea::model::Looking looking = looking_at(moment.progress);
                   looking.noise = moment.noise;
                   const auto outcome =
                       saccader.outcome(tape, shard.minibatch(tape), looking, curriculum.loss(moment.progress));
                   return fovea::train::ShardLoss<float>{outcome.loss_sum, count_correct(outcome.logits, shard.labels())};
                 });
  }

  Trained train_proxy_only(const ProxyOnly& model, Index images) {
    return train("proxy_only", model.layout(), kProxyOnlyRate, kNoLimit, images, fovea::train::learner(model));
  }

  /// A residual network over the whole canvas: all that is to be known about the image, at a size where it can be trained.
  double whole_canvas(Index images) {
    const fovea::model::FullResolution network({.classes = saccader_options_.classes, .width = 16, .blocks_per_stage = 1});
    const Trained trained = train("whole_canvas", network.layout(), kSaccaderRate, kNoLimit, images,
                                  [&](Tape<float>& tape, const support::DigitShard& shard, const fovea::model::Moment&) {
                                    const Var<float> logits = network.forward(tape, shard.canvases(tape));
                                    const Var<float> loss =
                                        fovea::nn::sum(tape, fovea::nn::cross_entropy(tape, logits, shard.labels()));
                                    return fovea::train::ShardLoss<float>{loss, count_correct(logits, shard.labels())};
                                  });
    std::vector<Index> right(shards_.size());
    std::vector<Arena> arenas(shards_.size());
    workers_.run((options_.test_images + kShard - 1) / kShard, [&](Index block, int worker) {
      const auto at = static_cast<std::size_t>(worker);
      const Index first = block * kShard;
      shards_[at].fill(test_, magnifier_, static_cast<std::uint64_t>(first), std::min(kShard, options_.test_images - first));
      arenas[at].reset();
      fovea::Inference<float> context(arenas[at], trained.weights.values());
      right[at] += count_correct(network.forward(context, shards_[at].canvases(context)), shards_[at].labels());
    });
    return static_cast<double>(std::accumulate(right.begin(), right.end(), Index{0})) /
           static_cast<double>(options_.test_images);
  }

  /// A whole test image in memory, as a stranger would bring it.
  struct WholeImage {
    Tensor<std::uint8_t, 3> canvas{{kCanvas, kCanvas, 1}};
    Tensor<std::uint8_t, 3> pixels;
    fovea::Pyramid<std::uint8_t> pyramid;
    Arena arena;
    int label = 0;

    void make(const fovea::data::ClutteredDigits& digits, const Magnifier& magnifier, std::uint64_t sample) {
      const fovea::Extents<3> extents{magnifier.extent()[0], magnifier.extent()[1], 1};
      if (pixels.extents() != extents) pixels = Tensor<std::uint8_t, 3>(extents);
      label = digits.generate(sample, canvas.view()).label;
      magnifier.materialise(std::as_const(canvas).view(), pixels.view(), arena);
    }
  };

  /// Every model on the same whole images.
  void test(Results& results, const Saccader& saccader, const Parameters<float>& seeing, const Parameters<float>& random,
            const ProxyOnly& thumbnail, const Parameters<float>& proxy_only) {
    constexpr std::size_t kModels = 4;
    constexpr Index kExamples = 8;
    std::vector<WholeImage> wholes(static_cast<std::size_t>(workers_.size()));
    std::vector<std::array<Index, kModels>> right(wholes.size(), std::array<Index, kModels>{});
    results.examples.resize(kExamples);
    progress_.begin("test");
    // A picture at a time on each worker; in blocks, so that the bar moves.
    const Index block = 10 * workers_.size();
    for (Index first = 0; first < options_.test_images; first += block) {
      workers_.run(std::min(block, options_.test_images - first), [&](Index i, int worker) {
        const Index sample = first + i;
        WholeImage& whole = wholes[static_cast<std::size_t>(worker)];
        auto& correct = right[static_cast<std::size_t>(worker)];
        whole.make(test_, magnifier_, static_cast<std::uint64_t>(sample));
        whole.pyramid.assign(std::as_const(whole.pixels).view());

        whole.arena.reset();
        const auto policy = saccader.classify(whole.pyramid, seeing, whole.arena);
        correct[0] += policy.label == whole.label ? 1 : 0;
        if (sample < kExamples) results.examples[static_cast<std::size_t>(sample)] = example(whole, policy);

        fovea::model::Looking anywhere;
        anywhere.gaze = Gaze::uniform;
        anywhere.noise = {options_.seed, 0, static_cast<std::uint64_t>(sample), fovea::Purpose::test};
        correct[2] += saccader.classify(whole.pyramid, random, whole.arena, anywhere).label == whole.label ? 1 : 0;
        fovea::model::Looking ahead;
        ahead.gaze = Gaze::centre;
        correct[3] += saccader.classify(whole.pyramid, seeing, whole.arena, ahead).label == whole.label ? 1 : 0;

        fovea::Inference<float> context(whole.arena, proxy_only.values());
        const Var<float> proxy = context.constant(Shape{1, options_.proxy_size, options_.proxy_size, 1});
        fovea::proxy(whole.pyramid, proxy.mutable_values<4>()[0]);
        const std::array<std::int32_t, 1> label{whole.label};
        correct[1] += count_correct(thumbnail.forward(context, proxy), label);
      });
      progress_.update({.fraction = static_cast<double>(first) / static_cast<double>(options_.test_images), .images = first});
    }
    progress_.end(" ");
    const auto fraction = [&](std::size_t model) {
      Index sum = 0;
      for (const auto& counts : right) sum += counts[model];
      return static_cast<double>(sum) / static_cast<double>(options_.test_images);
    };
    results.accuracy = {fraction(0), fraction(1), fraction(2), fraction(3), kUnset};
  }

  /// Answers to test images [first, first + count), at their canvases' resolution: each(image of the block, answer, label).
  template <class Each>
  void answer(const Saccader& saccader, const Parameters<float>& weights, Index first, Index count,
              const fovea::model::Looking& looking, Each&& each) {
    std::vector<Arena> arenas(shards_.size());
    workers_.run((count + kShard - 1) / kShard, [&](Index block, int worker) {
      const auto at = static_cast<std::size_t>(worker);
      const Index begin = block * kShard;
      const Index size = std::min(kShard, count - begin);
      shards_[at].fill(test_, magnifier_, static_cast<std::uint64_t>(first + begin), size);
      arenas[at].reset();
      const auto answers = saccader.classify(shards_[at].images(), weights, arenas[at], looking);
      for (Index i = 0; i < size; ++i) {
        each(begin + i, answers[static_cast<std::size_t>(i)], shards_[at].labels()[static_cast<std::size_t>(i)]);
      }
    });
  }

  /// Sets temperature and threshold on images behind those that are tested, and tests the early exit.
  void early_exit(EarlyExit& result, const Saccader& saccader, const Parameters<float>& weights) {
    progress_.begin("early exit");
    const Index count = options_.smoke ? 100 : 5000;
    struct Kept {
      std::vector<float> answers;  ///< of each image, of all steps
      std::vector<std::int32_t> labels;
      std::vector<float> last;
    };
    const auto keep = [&](Index first) {
      const auto size = static_cast<std::size_t>(count * saccader_options_.steps * saccader_options_.classes);
      Kept kept{std::vector<float>(size), std::vector<std::int32_t>(static_cast<std::size_t>(count)),
                std::vector<float>(static_cast<std::size_t>(count * saccader_options_.classes))};
      answer(saccader, weights, first, count, {}, [&](Index i, const fovea::model::Prediction& p, std::int32_t label) {
        std::copy(p.after_steps.begin(), p.after_steps.end(),
                  kept.answers.begin() + i * static_cast<Index>(p.after_steps.size()));
        std::copy(p.probabilities.begin(), p.probabilities.end(),
                  kept.last.begin() + i * static_cast<Index>(p.probabilities.size()));
        kept.labels[static_cast<std::size_t>(i)] = label;
      });
      return kept;
    };
    const auto rows = [&](const std::vector<float>& p) {
      return fovea::View<const float, 2>(p.data(), {count, saccader_options_.classes});
    };

    const Kept held_out = keep(count);
    const auto scaling = fovea::train::TemperatureScaling::fit(rows(held_out.last), held_out.labels);
    fovea::train::ExitCalibration calibration({.rule = fovea::model::ExitRule::confidence, .temperature = scaling.temperature});
    const auto classes = static_cast<std::size_t>(saccader_options_.classes);
    const std::size_t size = classes * static_cast<std::size_t>(saccader_options_.steps);
    for (std::size_t i = 0; i < held_out.labels.size(); ++i) {
      fovea::model::Prediction p;
      p.after_steps = {held_out.answers.data() + i * size, size};
      p.probabilities = p.after_steps.last(classes);
      calibration.add(p, held_out.labels[i]);
    }

    Kept test = keep(0);
    result.temperature = scaling.temperature;
    result.calibration_error = fovea::train::expected_calibration_error(rows(test.last), test.labels);
    for (Index i = 0; i < count; ++i) scaling({test.last.data() + i * saccader_options_.classes, classes});
    result.calibration_error_after = fovea::train::expected_calibration_error(rows(test.last), test.labels);
    std::vector<Index> right(static_cast<std::size_t>(count));
    std::vector<Index> right_early(right.size());
    std::vector<Index> glimpses(right.size());
    for (std::size_t i = 0; i < right.size(); ++i) {
      const float* row = test.last.data() + i * classes;
      right[i] = std::max_element(row, row + classes) - row == test.labels[i] ? 1 : 0;
    }
    fovea::model::Looking looking;
    looking.exit = calibration.with_mean_glimpses(std::max(1.0, kEarlyShare * static_cast<double>(saccader_options_.steps)));
    answer(saccader, weights, 0, count, looking, [&](Index i, const fovea::model::Prediction& p, std::int32_t label) {
      right_early[static_cast<std::size_t>(i)] = p.label == label ? 1 : 0;
      glimpses[static_cast<std::size_t>(i)] = p.steps();
    });
    const auto mean = [&](const std::vector<Index>& of) {
      return static_cast<double>(std::accumulate(of.begin(), of.end(), Index{0})) / static_cast<double>(count);
    };
    result.accuracy_of_all = mean(right);
    result.accuracy = mean(right_early);
    result.glimpses = mean(glimpses);
    progress_.end(" ");
  }

  [[nodiscard]] support::GazeExample example(const WholeImage& whole, const fovea::model::Prediction& answer) const {
    const auto bytes = [](fovea::View<const float, 3> picture) {
      Tensor<std::uint8_t, 3> out(picture.extents());
      for (Index i = 0; i < out.size(); ++i) {
        out.data()[i] = static_cast<std::uint8_t>(std::lround(255 * std::clamp(picture.data()[i], 0.0F, 1.0F)));
      }
      return out;
    };
    support::GazeExample e;
    e.image = whole.canvas;
    Tensor<float, 3> proxy({options_.proxy_size, options_.proxy_size, 1});
    fovea::proxy(whole.pyramid, proxy.view());
    e.proxy = bytes(std::as_const(proxy).view());
    e.regions.assign(answer.regions.begin(), answer.regions.end());
    const fovea::glimpse::Antialiased sampler;
    for (const auto& region : e.regions) {
      Tensor<float, 3> glimpse({options_.glimpse_size, options_.glimpse_size, 1});
      sampler.sample(whole.pyramid.pyramid(), region, glimpse.view());
      e.glimpses.push_back(bytes(std::as_const(glimpse).view()));
    }
    e.truth = std::to_string(whole.label);
    e.answer = std::to_string(answer.label);
    e.confidence = static_cast<double>(answer.probabilities[static_cast<std::size_t>(answer.label)]);
    return e;
  }

  /// One image in memory, one thread: time and growth of the peak, from the pixels to the answer.
  void measure_cost(Results& results, const Saccader& saccader, const Parameters<float>& weights) {
    progress_.begin("cost");
    WholeImage whole;
    whole.make(test_, magnifier_, 0);
    const auto pixels = std::as_const(whole.pixels).view();

    // Everything that an image needs is made anew or reused, as a program would that classifies one picture after another.
    const auto look = [&](fovea::Pyramid<std::uint8_t>& pyramid, Arena& arena) {
      pyramid.assign(pixels);
      arena.reset();
      return static_cast<double>(saccader.classify(pyramid, weights, arena).label);
    };
    fovea::Pyramid<std::uint8_t> pyramid;
    Arena arena;
    double label = 0;
    results.ms_per_image.saccader = support::median_ms(
        options_.smoke ? 3 : 101, [&](int) { label += look(pyramid, arena); }, 3);
    results.peak_mib.saccader = support::measure_in_child([&] {
                                  fovea::Pyramid<std::uint8_t> fresh;
                                  Arena memory;
                                  return std::vector<double>{look(fresh, memory)};
                                }).peak_mib;
    progress_.update({.fraction = 0.2});

    const fovea::model::FullResolution network({.classes = saccader_options_.classes});
    const Parameters<float> untrained(network.layout(), options_.seed);
    const auto read_all = [&](Arena& memory) {
      memory.reset();
      return static_cast<double>(network.classify(pixels, untrained, memory).label);
    };
    // The time too is measured in a child: what it needs at its peak is not kept by the program.
    const support::Measured full = support::measure_in_child([&] {
      Arena memory;
      double sum = 0;
      const double ms = support::median_ms(
          options_.smoke ? 1 : 3, [&](int) { sum += read_all(memory); }, options_.smoke ? 0 : 1);
      return std::vector<double>{ms, sum};
    });
    results.ms_per_image.full_resolution = full.values[0];
    results.peak_mib.full_resolution = full.peak_mib;
    progress_.end(" ");
  }

  const Options& options_;
  fovea::train::Progress& progress_;
  Workers workers_;
  fovea::data::ClutteredDigits train_;
  fovea::data::ClutteredDigits test_;
  fovea::model::SaccaderOptions saccader_options_;
  Magnifier magnifier_;
  support::DigitStream stream_;
  std::vector<support::DigitShard> shards_;
};

}  // namespace

Results run(const Options& options, const Data& data, fovea::train::Progress& progress) {
  return Experiment(options, data, progress).run();
}
