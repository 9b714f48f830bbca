// SPDX-License-Identifier: MIT
// Reads from top to bottom: the pictures, the model, the training, the measurements on what was held out.
#include "training.hpp"

#include <fovea/core/arena.hpp>
#include <fovea/core/checksum.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/stopwatch.hpp>
#include <fovea/data/augment.hpp>
#include <fovea/data/picture.hpp>
#include <fovea/image/open.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/model/saccader_options_json.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/calibration.hpp>
#include <fovea/train/curriculum.hpp>
#include <fovea/train/fit.hpp>
#include <fovea/train/learner.hpp>
#include <fovea/train/model_file.hpp>
#include <fovea/train/trainer.hpp>
#include <fovea/version.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace {

using fovea::Index;
using fovea::Parameters;
using fovea::View;
using fovea::data::PictureFolder;
using fovea::data::PictureList;
using fovea::data::Unreadable;
using fovea::data::UnreadablePicture;
using fovea::model::Saccader;
using fovea::train::Json;

constexpr Index kShard = 4;
/// Pictures up to so many bytes are decoded as a whole; larger ones, as many of which would fill the memory, as they are looked
/// at. What is augmented is always decoded as a whole.
constexpr std::size_t kWhole = std::size_t{16} << 20U;
constexpr std::size_t kWholeAugmented = std::size_t{256} << 20U;
/// A temperature fitted on fewer answers, or on answers that are all right or all wrong, says nothing.
constexpr std::size_t kLeastForTemperature = 20;

// ------------------------------------------------------------------------------------------------------------- pictures

/// The median of the longer sides, of at most 200 pictures spread over the list.
Index median_longer_side(const PictureList& list, fovea::Workers& workers) {
  const Index count = std::min(list.size(), Index{200});
  std::vector<Index> sides(static_cast<std::size_t>(count));
  workers.run(count, [&](Index i, int) {
    const auto decoder = fovea::open_decoder<std::uint8_t>(list.path(i * list.size() / count));
    const fovea::Extents<2> extent = decoder->info().levels.at(0).extent;
    sides[static_cast<std::size_t>(i)] = std::max(extent[0], extent[1]);
  });
  const auto middle = sides.begin() + count / 2;
  std::nth_element(sides.begin(), middle, sides.end());
  return *middle;
}

fovea::data::PictureOptions picture_options(const Options& options) {
  const bool augmented = options.flip || options.jitter > 0;
  return {.file = {.channels = options.channels}, .most_bytes = augmented ? kWholeAugmented : kWhole};
}

/// The samples of training, of which a checkpoint knows also how they are changed and what model they are for.
class Samples {
 public:
  using Shard = PictureFolder::Shard;

  Samples(const PictureList& list, const Options& options, const fovea::model::SaccaderOptions& model)
      : folder_(list, folder_options(options), options.seed) {
    const std::string text =
        folder_.signature() + (options.flip ? " flip" : "") + fovea::format(" jitter %g ", options.jitter) + Json(model).dump();
    signature_ = fovea::format(
        "%016llx", static_cast<unsigned long long>(fovea::checksum(std::as_bytes(std::span(text.data(), text.size())))));
  }

  [[nodiscard]] Shard make_shard(Index count) const { return folder_.make_shard(count); }
  void load(Shard& shard, std::uint64_t first, Index count) const { folder_.load(shard, first, count); }
  [[nodiscard]] std::int64_t epoch() const { return folder_.epoch(); }
  [[nodiscard]] std::string signature() const { return signature_; }
  [[nodiscard]] std::vector<UnreadablePicture> damaged() const { return folder_.damaged(); }

 private:
  static fovea::data::PictureFolderOptions folder_options(const Options& options) {
    fovea::data::PictureFolderOptions o;
    o.proxy = {options.proxy_size, options.proxy_size};
    o.picture = picture_options(options);
    o.order = options.balanced ? fovea::data::Order::balanced : fovea::data::Order::shuffled;
    o.unreadable = options.unreadable();
    if (options.flip || options.jitter > 0) {
      o.augment = [flip = options.flip, jitter = options.jitter](const View<std::uint8_t, 3>& pixels, fovea::Stream& stream) {
        if (flip && stream.below(2) == 1) fovea::data::flip_horizontally(pixels);
        if (jitter > 0) fovea::data::jitter(pixels, stream, jitter, jitter);
      };
    }
    return o;
  }

  PictureFolder folder_;
  std::string signature_;
};

// --------------------------------------------------------------------------------------------------------- measurements

/// What a model answers to the pictures held out.
struct Answers {
  fovea::train::Evaluation evaluation;
  std::vector<float> probabilities;  ///< [N, K]
  std::vector<std::int32_t> labels;  ///< [N]
  std::vector<Index> given;          ///< [N]
  std::vector<UnreadablePicture> damaged;
};

/// Asks about every picture, on all workers; the same bits on any number of them.
class HeldOut {
 public:
  HeldOut(const PictureList& list, const Options& options, fovea::Workers& workers)
      : list_(list), options_(options), workers_(workers), pictures_(static_cast<std::size_t>(workers.size())) {
    for (int i = 0; i < workers.size(); ++i) arenas_.emplace_back();
  }

  Answers answer(const Saccader& model, const Parameters<float>& weights) {
    struct One {
      fovea::train::Evaluation evaluation;
      std::vector<float> probabilities;
      Index given = 0;
      std::string error;
    };
    std::vector<One> all(static_cast<std::size_t>(list_.size()));
    workers_.run(list_.size(), [&](Index i, int worker) {
      One& one = all[static_cast<std::size_t>(i)];
      fovea::data::Picture& picture = pictures_[static_cast<std::size_t>(worker)];
      fovea::Arena& arena = arenas_[static_cast<std::size_t>(worker)];
      try {
        picture.open(list_.path(i), picture_options(options_));
        arena.reset();
        const auto prediction = model.classify(picture, weights, arena);
        one.evaluation.add(prediction, list_.pictures[static_cast<std::size_t>(i)].label);
        one.probabilities.assign(prediction.probabilities.begin(), prediction.probabilities.end());
        one.given = prediction.label;
      } catch (const fovea::Error& error) {
        if (options_.unreadable() == Unreadable::fail) throw;
        one.error = error.what();
      }
    });
    Answers answers;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!all[i].error.empty()) {
        answers.damaged.push_back({list_.pictures[i].path, all[i].error});
        continue;
      }
      answers.evaluation.append(all[i].evaluation);
      answers.probabilities.insert(answers.probabilities.end(), all[i].probabilities.begin(), all[i].probabilities.end());
      answers.labels.push_back(list_.pictures[i].label);
      answers.given.push_back(all[i].given);
    }
    fovea::require(!answers.labels.empty(), "a picture held out expected that can be read, there is none of ", list_.size());
    return answers;
  }

 private:
  const PictureList& list_;
  const Options& options_;
  fovea::Workers& workers_;
  std::vector<fovea::data::Picture> pictures_;
  std::vector<fovea::Arena> arenas_;
};

/// How many pictures of each class there are.
std::vector<Index> count_classes(const PictureList& list) {
  std::vector<Index> counts(list.classes.size());
  for (const auto& picture : list.pictures) ++counts[static_cast<std::size_t>(picture.label)];
  return counts;
}

void measure(Results& results, const Answers& answers, const Pictures& pictures) {
  const auto classes = static_cast<Index>(pictures.training.classes.size());
  const auto count = static_cast<Index>(answers.labels.size());
  results.measures = answers.evaluation.measures();
  results.confusion.assign(static_cast<std::size_t>(classes), std::vector<Index>(static_cast<std::size_t>(classes)));
  Index right = 0;
  for (std::size_t i = 0; i < answers.labels.size(); ++i) {
    ++results.confusion[static_cast<std::size_t>(answers.labels[i])][static_cast<std::size_t>(answers.given[i])];
    right += answers.given[i] == answers.labels[i] ? 1 : 0;
  }
  const std::vector<Index> counts = count_classes(pictures.training);
  const auto most = std::max_element(counts.begin(), counts.end()) - counts.begin();
  results.most_frequent_class =
      static_cast<double>(std::count(answers.labels.begin(), answers.labels.end(), static_cast<std::int32_t>(most))) /
      static_cast<double>(count);
  if (answers.labels.size() >= kLeastForTemperature && right > 0 && right < count) {
    const View<const float, 2> probabilities(answers.probabilities.data(), {count, classes});
    results.temperature = fovea::train::TemperatureScaling::fit(probabilities, answers.labels).temperature;
  }
}

/// Names are written into JSON, which is UTF-8.
void require_utf8(const PictureList& list) {
  for (const std::string& name : list.classes) {
    try {
      (void)Json(name).dump();
    } catch (const Json::exception&) {
      fovea::fail(list.root.string(), ": names of classes in UTF-8 expected, \"", name, "\" came");
    }
  }
}

}  // namespace

double default_scale(Index glimpse_size, Index longer_side) {
  return std::clamp(2 * static_cast<double>(glimpse_size) / static_cast<double>(longer_side), 0.25, 0.5);
}

Pictures find_pictures(const Options& options, fovea::Workers& workers) {
  PictureList list = fovea::data::list_pictures(options.pictures);
  fovea::require(list.classes.size() >= 2, options.pictures, ": at least 2 classes expected, there is only \"", list.classes[0],
                 "\"");
  require_utf8(list);
  fovea::data::CheckedPictures checked = [&] {
    try {
      return fovea::data::check_pictures(std::move(list), workers, options.unreadable(), options.channels);
    } catch (const fovea::Error& error) {
      fovea::fail(error.what(), options.skip_unreadable ? "" : " (--skip-unreadable goes on without them)");
    }
  }();
  Pictures pictures;
  pictures.unreadable = std::move(checked.unreadable);
  pictures.longer_side = median_longer_side(checked.pictures, workers);
  const Index count = checked.pictures.size();
  auto parts = fovea::data::split_pictures(std::move(checked.pictures), options.held_out, options.seed);
  fovea::require(parts.validation.size() > 0, options.pictures, ": more pictures expected, of ", count,
                 " none is held out (or a larger --held-out, or another --seed)");
  pictures.training = std::move(parts.training);
  pictures.validation = std::move(parts.validation);
  return pictures;
}

Results train(const Options& options, const Pictures& pictures, fovea::Workers& workers) {
  const std::filesystem::path output = options.output;
  fovea::model::SaccaderOptions model_options;
  model_options.classes = static_cast<Index>(pictures.training.classes.size());
  model_options.channels = options.channels;
  model_options.proxy = {options.proxy_size, options.proxy_size};
  model_options.glimpse = {options.glimpse_size, options.glimpse_size};
  model_options.steps = options.glimpses;
  model_options.scale = options.scale > 0 ? options.scale : default_scale(options.glimpse_size, pictures.longer_side);
  const Saccader model(model_options);
  const Samples samples(pictures.training, options, model_options);
  HeldOut held_out(pictures.validation, options, workers);

  Parameters<float> weights(model.layout(), options.seed);
  fovea::train::Trainer trainer(weights, fovea::train::Adam<float>(model.layout(), {.beta2 = 0.99}), workers,
                                {.batch = options.batch, .shard = std::min(kShard, options.batch)});
  fovea::train::FitOptions fit;
  const auto epoch = static_cast<double>(samples.epoch());
  fit.epochs = options.epochs > 0 || options.minutes > 0 ? options.epochs : std::max(10.0, Options::default_images / epoch);
  fit.seconds = 60 * options.minutes;
  fit.rate = fovea::bound::WarmUpCosine{.peak = options.rate, .warm_up = 0.02, .floor = 0.02};
  fit.seed = options.seed;
  if (fit.epochs > 0) {
    // The mean of the last twentieth of the steps: of a short training not more than what is learned by then.
    const double steps = fit.epochs * epoch / static_cast<double>(options.batch);
    fit.average = std::clamp(1 - 20 / std::max(1.0, steps), 0.5, 0.99);
  }
  // Of a small folder not after every epoch: it would take as long as the training.
  fit.validate_every = std::max(1.0, 500 / epoch);
  // Nothing is said of the end while regions still narrow: in the first half of the training.
  fit.early_stopping = {.patience = options.patience,
                        .burn_in = static_cast<std::int64_t>(fit.epochs / fit.validate_every / 2)};
  fit.checkpoint = output / "checkpoint.safetensors";
  fit.resume = !options.fresh;
  fit.metrics = output / "metrics";

  fovea::train::FitCallbacks<float> callbacks;
  callbacks.validate = [&](const Parameters<float>& averaged) {
    return held_out.answer(model, averaged).evaluation.measures().accuracy;
  };
  callbacks.self_test = [&](const Parameters<float>& of) { return fovea::train::make_self_test(model, of); };

  const auto fitted = [&] {
    try {
      return fovea::train::fit(trainer, samples, fovea::train::learner(model, fovea::train::Curriculum(model_options)), fit,
                               callbacks);
    } catch (const fovea::train::NotFinite&) {
      throw;
    } catch (const fovea::Error& error) {
      const std::string_view text = error.what();
      const bool of_checkpoint = text.starts_with(fit.checkpoint.string());
      fovea::fail(error.what(), of_checkpoint ? " (--fresh begins anew)"
                                : options.skip_unreadable
                                    ? ""
                                    : " (--skip-unreadable goes on without pictures that cannot be read)");
    }
  }();

  Results results;
  results.interrupted = fitted.state.interrupted;
  results.steps = fitted.state.step;
  results.images = fitted.state.images;
  results.seconds = fitted.state.seconds;
  results.scale = model_options.scale;
  if (results.interrupted) return results;

  const Answers answers = held_out.answer(model, fitted.weights);
  measure(results, answers, pictures);
  results.damaged = samples.damaged();
  results.damaged.insert(results.damaged.end(), answers.damaged.begin(), answers.damaged.end());
  fovea::train::save_model(
      output / "model.safetensors", model, fitted.weights,
      {{"classes", pictures.training.classes},
       {"temperature", results.temperature},
       {"held_out_accuracy", results.measures.accuracy},
       {"held_out_pictures", results.measures.images},
       {"most_frequent_class_accuracy", results.most_frequent_class},
       {"training_pictures", pictures.training.size()},
       {"fovea", fovea::format("%d.%d.%d", FOVEA_VERSION_MAJOR, FOVEA_VERSION_MINOR, FOVEA_VERSION_PATCH)}});
  return results;
}
