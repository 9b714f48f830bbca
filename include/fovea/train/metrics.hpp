// SPDX-License-Identifier: MIT
/// \file
/// What is said of a model after it has answered about many images: how good the answers are, what they cost, and, where the
/// places of the objects are known, whether it looked at them. A model never learns from those places.
///
/// Hits say little without the size of what was looked at: a glimpse of the whole image hits everything. So the area of the
/// glimpses stands beside them.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/image/view.hpp>
#include <fovea/model/early_exit.hpp>
#include <fovea/model/prediction.hpp>
#include <fovea/train/calibration.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace train {

/// What an answer cost; leave out what was not measured.
struct Cost {
  Decoded decoded = {};     ///< bytes read and pixels decoded; of an image in memory the pixels that were looked at, if wanted
  Index multiply_adds = 0;  ///< as nn::Counting has them
  double milliseconds = std::numeric_limits<double>::quiet_NaN();  ///< NaN: not measured
};

/// What is known of an image: its extent, and where its objects are.
struct Scene {
  Extents<2> image = {0, 0};                              ///< {height, width} in pixels, at least 1 each; {0, 0}: not known
  std::span<const glimpse::PixelRectangle> objects = {};  ///< in pixels of it; empty: not known
  Extents<2> glimpse = {1, 1};                            ///< {height, width} of a glimpse: matters under Aspect::isotropic
  glimpse::Aspect aspect = glimpse::Aspect::stretch;
};

/// Shares that are hits, in [0, 1].
struct HitRate {
  double images = 0;    ///< with a glimpse that hits an object
  double glimpses = 0;  ///< that hit an object
};

/// Whether a model looks at the objects. All NaN where no image had what is asked.
struct Localisation {
  Index images = 0;     ///< that had glimpses, and of which the objects were known
  HitRate centre;       ///< the glimpse contains the centre of an object
  HitRate half;         ///< the glimpse covers at least half of an object
  double coverage = 0;  ///< share of the objects' area within at least one glimpse; mean over those images
  double overlap =
      0;            ///< intersection over union of two glimpses; mean over the pairs of an image, then over images with a pair
  double area = 0;  ///< share of the image within a glimpse; mean over the glimpses of an image, then over images with glimpses
};

/// Everything an Evaluation says. Means over the images; shares in [0, 1].
struct Measures {
  Index images = 0;
  double accuracy = 0;
  double negative_log_likelihood = 0;  ///< of the label, in nats
  double calibration_error = 0;        ///< expected_calibration_error()
  double glimpses = 0;
  double bytes = 0;   ///< read
  double pixels = 0;  ///< decoded
  double multiply_adds = 0;
  double milliseconds = 0;  ///< the median of those measured; NaN where none was
  Localisation localisation;
};

/// The share of `area` that lies within at least one of the rectangles, in [0, 1]; 0 where the area is empty. Of T rectangles
/// in O(T^2), without regard to pixels.
[[nodiscard]] inline double covered_by_any(const glimpse::PixelRectangle& area,
                                           std::span<const glimpse::PixelRectangle> rectangles) {
  if (!(area.area() > 0)) return 0;
  std::vector<glimpse::PixelRectangle> parts;
  for (const auto& r : rectangles) {
    const auto part = glimpse::intersection(area, r);
    if (part.right > part.left && part.bottom > part.top) parts.push_back(part);
  }
  // Strips between neighbouring left and right edges; in each, the union of the intervals of the parts that cross it.
  std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.top < b.top; });
  std::vector<double> edges;
  for (const auto& p : parts) edges.insert(edges.end(), {p.left, p.right});
  std::sort(edges.begin(), edges.end());
  double sum = 0;
  for (std::size_t i = 1; i < edges.size(); ++i) {
    double height = 0;
    double below = -std::numeric_limits<double>::infinity();
    for (const auto& p : parts) {
      if (p.left > edges[i - 1] || p.right < edges[i]) continue;
      height += std::max(0.0, p.bottom - std::max(p.top, below));
      below = std::max(below, p.bottom);
    }
    sum += (edges[i] - edges[i - 1]) * height;
  }
  return std::min(1.0, sum / area.area());
}

/// Gathers answers to images. One of its own for every shard, put together in the order of the shards, comes to the same bits
/// on any number of threads. Of an image it keeps some hundred bytes.
///
///     Evaluation evaluation;
///     for (each image) evaluation.add(model.classify(image, weights, arena), label, {.milliseconds = timer()}, scene);
///     const Measures measures = evaluation.measures();
class Evaluation {
 public:
  /// An answer of one class of K, probabilities of sum 1, and the label it should have had, in [0, K). Throws Error on others,
  /// on a negative cost, on regions or objects that are not finite or empty, and on objects in an image whose extent is not
  /// given; then nothing is added.
  void add(const model::Prediction& prediction, std::int32_t label, const Cost& cost = {}, const Scene& scene = {}) {
    const auto p = prediction.probabilities;
    model::detail::require_probabilities("evaluation", p);
    detail::require_label("evaluation", label, p.size());
    require(prediction.label >= 0 && static_cast<std::size_t>(prediction.label) < p.size(), "evaluation: an answer in [0, ",
            p.size(), ") expected, ", prediction.label, " came");
    require(cost.decoded.bytes >= 0 && cost.decoded.pixels >= 0 && cost.multiply_adds >= 0 && !(cost.milliseconds < 0) &&
                !std::isinf(cost.milliseconds),
            "evaluation: a cost of at least 0 expected, ", cost.decoded.bytes, " bytes, ", cost.decoded.pixels, " pixels, ",
            cost.multiply_adds, " multiply-adds and ", cost.milliseconds, " ms came");
    Record record;
    record.judged = {std::min(p[static_cast<std::size_t>(prediction.label)], 1.0F), prediction.label == label};
    record.log_likelihood = model::detail::log_probability(p[static_cast<std::size_t>(label)]);
    record.glimpses = prediction.steps();
    record.cost = cost;
    if (scene.image != Extents<2>{0, 0} || !scene.objects.empty()) look(record, prediction.regions, scene);
    records_.push_back(record);
  }

  /// The images of another one behind its own.
  void append(const Evaluation& next) { records_.insert(records_.end(), next.records_.begin(), next.records_.end()); }

  [[nodiscard]] Index images() const noexcept { return static_cast<Index>(records_.size()); }

  /// Throws Error without images, or bins.
  [[nodiscard]] Measures measures(const CalibrationBins& bins = {}) const {
    require(!records_.empty(), "evaluation: images expected, none came");
    Measures m;
    m.images = images();
    std::vector<Judged> judged;
    std::vector<double> milliseconds;
    for (const Record& r : records_) {
      judged.push_back(r.judged);
      if (!std::isnan(r.cost.milliseconds)) milliseconds.push_back(r.cost.milliseconds);
      m.accuracy += r.judged.correct ? 1 : 0;
      m.negative_log_likelihood -= r.log_likelihood;
      m.glimpses += static_cast<double>(r.glimpses);
      m.bytes += static_cast<double>(r.cost.decoded.bytes);
      m.pixels += static_cast<double>(r.cost.decoded.pixels);
      m.multiply_adds += static_cast<double>(r.cost.multiply_adds);
    }
    const auto n = static_cast<double>(records_.size());
    for (double* mean : {&m.accuracy, &m.negative_log_likelihood, &m.glimpses, &m.bytes, &m.pixels, &m.multiply_adds})
      *mean /= n;
    m.calibration_error = expected_calibration_error(judged, bins);
    m.milliseconds = median(milliseconds);
    m.localisation = localisation();
    return m;
  }

 private:
  struct Record {
    Judged judged;
    double log_likelihood = 0;
    Index glimpses = 0;
    Cost cost;
    bool objects_known = false;
    Index hits_centre = 0;  ///< glimpses
    Index hits_half = 0;
    double coverage = 0;
    double overlap = std::numeric_limits<double>::quiet_NaN();  ///< NaN: no pair
    double area = std::numeric_limits<double>::quiet_NaN();     ///< NaN: no glimpse
  };

  static void look(Record& record, std::span<const glimpse::Region<float>> regions, const Scene& scene) {
    require(scene.image[0] >= 1 && scene.image[1] >= 1 && scene.glimpse[0] >= 1 && scene.glimpse[1] >= 1,
            "evaluation: an image and a glimpse of at least 1x1 expected, ", scene.image[0], "x", scene.image[1], " and ",
            scene.glimpse[0], "x", scene.glimpse[1], " came");
    const auto good = [](const glimpse::PixelRectangle& r) {
      return std::isfinite(r.left) && std::isfinite(r.top) && std::isfinite(r.right) && std::isfinite(r.bottom) && r.area() > 0;
    };
    for (const auto& o : scene.objects) {
      require(good(o), "evaluation: objects with an area expected, [", o.left, ", ", o.right, ") x [", o.top, ", ", o.bottom,
              ") came");
    }
    std::vector<glimpse::PixelRectangle> seen;
    for (const auto& region : regions) {
      seen.push_back(glimpse::to_pixels(region, scene.aspect, scene.image, scene.glimpse));
      require(good(seen.back()), "evaluation: regions with an area expected, s ", region.s, ", x ", region.x, ", y ", region.y,
              " came");
    }
    if (seen.empty()) return;
    const auto count = static_cast<double>(seen.size());

    const glimpse::PixelRectangle whole{0, 0, static_cast<double>(scene.image[1]), static_cast<double>(scene.image[0])};
    record.area = 0;
    for (const auto& g : seen) record.area += glimpse::covered(whole, g) / count;
    if (seen.size() > 1) {
      record.overlap = 0;
      for (std::size_t i = 0; i < seen.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) record.overlap += glimpse::overlap(seen[i], seen[j]);
      }
      record.overlap /= count * (count - 1) / 2;
    }

    if (scene.objects.empty()) return;
    record.objects_known = true;
    for (const auto& g : seen) {
      const auto hits = [&](auto&& test) { return std::any_of(scene.objects.begin(), scene.objects.end(), test) ? 1 : 0; };
      record.hits_centre += hits([&](const glimpse::PixelRectangle& o) {
        const double x = (o.left + o.right) / 2;
        const double y = (o.top + o.bottom) / 2;
        return x >= g.left && x < g.right && y >= g.top && y < g.bottom;
      });
      record.hits_half += hits([&](const glimpse::PixelRectangle& o) { return glimpse::covered(o, g) >= 0.5; });
    }
    double covered = 0;
    double all = 0;
    for (const auto& o : scene.objects) {
      covered += o.area() * covered_by_any(o, seen);
      all += o.area();
    }
    record.coverage = covered / all;
  }

  /// Takes the middle one, or the mean of the middle two.
  static double median(std::vector<double>& values) {
    if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  }

  [[nodiscard]] Localisation localisation() const {
    Localisation l;
    Index glimpses = 0;
    Index pairs = 0;
    Index looked = 0;
    for (const Record& r : records_) {
      if (!std::isnan(r.area)) {
        l.area += r.area;
        ++looked;
      }
      if (!std::isnan(r.overlap)) {
        l.overlap += r.overlap;
        ++pairs;
      }
      if (!r.objects_known) continue;
      ++l.images;
      glimpses += r.glimpses;
      l.centre.images += r.hits_centre > 0 ? 1 : 0;
      l.half.images += r.hits_half > 0 ? 1 : 0;
      l.centre.glimpses += static_cast<double>(r.hits_centre);
      l.half.glimpses += static_cast<double>(r.hits_half);
      l.coverage += r.coverage;
    }
    // 0 / 0 where there was none: NaN.
    for (double* mean : {&l.centre.images, &l.half.images, &l.coverage}) *mean /= static_cast<double>(l.images);
    for (double* mean : {&l.centre.glimpses, &l.half.glimpses}) *mean /= static_cast<double>(glimpses);
    l.overlap /= static_cast<double>(pairs);
    l.area /= static_cast<double>(looked);
    return l;
  }

  std::vector<Record> records_;
};

}  // namespace train
}  // namespace fovea::inline FOVEA_ABI
