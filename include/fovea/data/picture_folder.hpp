// SPDX-License-Identifier: MIT
/// \file
/// A folder or list of pictures, of any sizes and formats, as what a model is trained on: an endless sequence of samples,
/// decoded when they are wanted.
///
///     const auto list = data::check_pictures(data::list_pictures("photos"), workers, data::Unreadable::skip);
///     const auto parts = data::split_pictures(list.pictures, 0.1, seed);
///     const data::PictureFolder training(parts.training, {.proxy = {32, 32}}, seed);
///
/// Which picture stands at a position, and how it is changed, is a pure function of (seed, position, list): any number of
/// threads may load any of them, and a restarted run goes on where it was without being told more than the position.
///
/// Needs the libraries of image/open.hpp (CMake component `open`).
#pragma once

#include <fovea/core/checksum.hpp>
#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/format.hpp>
#include <fovea/core/parallel.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/picture.hpp>
#include <fovea/data/picture_list.hpp>
#include <fovea/data/sampler.hpp>
#include <fovea/image/open.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/model/model.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace data {

/// What to do about a file that cannot be read.
enum class Unreadable : std::uint8_t {
  fail,  ///< throw Error
  skip,  ///< go on without it, and say so
};

/// A file and why it cannot be read.
struct UnreadablePicture {
  std::string path;  ///< as listed
  std::string reason;
};

/// What check_pictures() found.
struct CheckedPictures {
  PictureList pictures;                       ///< those that can be opened
  std::vector<UnreadablePicture> unreadable;  ///< the others, in the order of the list
};

/// Opens every file of a list, reads its header and no pixel: what is no picture comes to light before the training begins.
/// Damage further down is met when the picture is loaded. Under Unreadable::fail throws Error with the number of files that
/// cannot be opened and the first of them; under Unreadable::skip, where a class has none left.
[[nodiscard]] inline CheckedPictures check_pictures(PictureList list, Workers& workers, Unreadable policy = Unreadable::fail,
                                                    Index channels = 3) {
  const auto reason = [&list, channels](Index i) -> std::string {
    try {
      (void)open_decoder<std::uint8_t>(list.path(i), channels);
      return {};
    } catch (const Error& error) {
      return error.what();
    }
  };
  std::vector<char> suspect(list.pictures.size());
  workers.run(list.size(), [&](Index i, int) { suspect[static_cast<std::size_t>(i)] = reason(i).empty() ? 0 : 1; });

  CheckedPictures checked{{list.root, list.classes, {}}, {}};
  for (Index i = 0; i < list.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    // Asked once more, by one thread alone: libvips keeps its reasons in one place for all threads.
    std::string why = suspect[at] != 0 ? reason(i) : std::string();
    if (why.empty()) {
      checked.pictures.pictures.push_back(std::move(list.pictures[at]));
    } else {
      checked.unreadable.push_back({list.pictures[at].path, std::move(why)});
    }
  }
  if (policy == Unreadable::fail && !checked.unreadable.empty()) {
    constexpr std::size_t shown = 3;
    std::string text;
    for (std::size_t i = 0; i < std::min(shown, checked.unreadable.size()); ++i) {
      text += (i == 0 ? "" : "; ") + checked.unreadable[i].path + " (" + checked.unreadable[i].reason + ")";
    }
    fail(list.root.string(), ": pictures expected, ", checked.unreadable.size(), " of ", list.size(),
         " files cannot be read: ", text, checked.unreadable.size() > shown ? "; ..." : "");
  }
  checked.pictures.require_all_classes(list.root.string());
  return checked;
}

struct PictureFolderOptions {
  Extents<2> proxy = {32, 32};  ///< {height, width}, as the model wants it
  PictureOptions picture = {};  ///< `file.channels`: 1 or 3
  Order order = Order::shuffled;
  /// About files that turn out damaged, or are gone, when they are loaded. Under `skip` the next picture of the same class in
  /// the list that can be read takes its place (after the last comes the first): damaged() tells.
  Unreadable unreadable = Unreadable::fail;
  /// Changes the pixels {height, width, channels} of a sample, upright, before anything is made of them: see data/augment.hpp.
  /// `stream` is named by (seed, position). Called from several threads at once. For pictures that are decoded as a whole only:
  /// one that is larger than picture.most_bytes is an Error then. An Error that it throws counts as damage of the picture.
  std::function<void(const View<std::uint8_t, 3>& pixels, Stream& stream)> augment = {};
};

/// Samples of a PictureFolder, and the memory for them. Not for two threads at a time.
class PictureShard {
 public:
  [[nodiscard]] Index room() const noexcept { return static_cast<Index>(images_.size()); }
  /// Samples loaded.
  [[nodiscard]] Index count() const noexcept { return count_; }
  [[nodiscard]] std::span<const Picture> images() const noexcept { return std::span(images_).first(size()); }
  [[nodiscard]] std::span<const std::int32_t> labels() const noexcept { return std::span(labels_).first(size()); }
  /// Which pictures of the list they are.
  [[nodiscard]] std::span<const Index> items() const noexcept { return std::span(items_).first(size()); }
  /// [count, h, w, channels] in [0, 1].
  [[nodiscard]] View<const float, 4> proxies() const noexcept { return proxies_.view().slice(0, count_); }

  /// What a model learns from, until the next load. A large picture that is decoded as it is looked at may turn out damaged
  /// then: an Error from the model's pass, whatever PictureFolderOptions::unreadable says.
  template <Context C>
    requires std::is_same_v<typename C::Scalar, float>
  [[nodiscard]] model::Minibatch<float, Picture> minibatch(C& context) const {
    const Shape shape{count_, proxies_.extent(1), proxies_.extent(2), proxies_.extent(3)};
    return {context.constant(proxies_.data(), shape), images(), labels()};
  }

 private:
  friend class PictureFolder;

  PictureShard(Index room, const PictureFolderOptions& options)
      : proxies_({room, options.proxy[0], options.proxy[1], options.picture.file.channels}),
        images_(static_cast<std::size_t>(room)),
        labels_(static_cast<std::size_t>(room)),
        items_(static_cast<std::size_t>(room)) {}
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(count_); }

  Tensor<float, 4> proxies_;
  std::vector<Picture> images_;
  std::vector<std::int32_t> labels_;
  std::vector<Index> items_;
  Index count_ = 0;
};

/// The pictures of a list, in an endless order. Memory: that of the list, and a Picture for every sample that a shard has room
/// for, so with S samples in all shards at most S * (picture.most_bytes + picture.file.cache_bytes + the overview), and what
/// the decoders at work need; however many pictures there are and however large they are.
class PictureFolder {
 public:
  using Shard = PictureShard;

  /// Throws Error on an empty list, on options that contradict themselves, and where the order is balanced on a class without
  /// pictures.
  PictureFolder(PictureList list, PictureFolderOptions options, std::uint64_t seed)
      : list_(std::move(list)),
        options_(std::move(options)),
        seed_(seed),
        sampler_(list_.labels(), static_cast<Index>(list_.classes.size()), options_.order, seed),
        report_(std::make_unique<Report>()) {
    const Index channels = options_.picture.file.channels;
    require(channels == 1 || channels == 3, "PictureFolder: 1 or 3 channels expected, ", channels, " came");
    require(options_.proxy[0] >= 1 && options_.proxy[1] >= 1, "PictureFolder: a proxy of at least 1x1 expected, ",
            options_.proxy[0], "x", options_.proxy[1], " came");
  }

  [[nodiscard]] const PictureList& list() const noexcept { return list_; }
  [[nodiscard]] const PictureFolderOptions& options() const noexcept { return options_; }
  [[nodiscard]] const Sampler& sampler() const noexcept { return sampler_; }
  [[nodiscard]] Index classes() const noexcept { return static_cast<Index>(list_.classes.size()); }
  /// Positions in an epoch: as many as there are pictures.
  [[nodiscard]] std::int64_t epoch() const noexcept { return sampler_.size(); }

  /// 16 hexadecimal digits that are others where the samples are: a sum over paths, labels and classes as they are listed, the
  /// seed, and the options. Left out are where the list's root is; `unreadable`, on which no sample depends that can be read;
  /// and what `augment` does: only whether there is one. train::fit() goes on from no checkpoint of another signature.
  [[nodiscard]] std::string signature() const {
    const PictureOptions& picture = options_.picture;
    std::uint64_t sum = 0;
    const auto add = [&sum](std::string_view text) { sum = checksum(std::as_bytes(std::span(text.data(), text.size())), sum); };
    for (const std::uint64_t number :
         {seed_, static_cast<std::uint64_t>(options_.order), static_cast<std::uint64_t>(options_.proxy[0]),
          static_cast<std::uint64_t>(options_.proxy[1]), static_cast<std::uint64_t>(picture.file.channels),
          static_cast<std::uint64_t>(picture.file.honour_orientation), static_cast<std::uint64_t>(picture.file.overview_pixels),
          static_cast<std::uint64_t>(picture.most_bytes), static_cast<std::uint64_t>(options_.augment ? 1 : 0),
          static_cast<std::uint64_t>(list_.classes.size())}) {
      add(std::to_string(number));
    }
    for (const std::string& name : list_.classes) add(name);
    for (const ListedPicture& listed : list_.pictures) {
      add(listed.path);
      add(std::to_string(listed.label));
    }
    return format("%016llx", static_cast<unsigned long long>(sum));
  }

  /// Room for `count` samples.
  [[nodiscard]] Shard make_shard(Index count) const { return Shard(count, options_); }

  /// Loads the samples at positions [first, first + count). May be called from several threads at once, each with a shard of
  /// its own; what a shard held before is gone. Throws Error where there is no room, and on unreadable files as the options
  /// say: under `skip` only where no picture of a class can be read.
  void load(Shard& shard, std::uint64_t first, Index count) const {
    require(count >= 0 && count <= shard.room(), "PictureFolder: 0 to ", shard.room(), " samples expected, ", count, " came");
    shard.count_ = 0;
    for (; shard.count_ < count; ++shard.count_) {
      load_sample(shard, shard.count_, first + static_cast<std::uint64_t>(shard.count_));
    }
  }

  /// Under Unreadable::skip: files that load() could not read so far, each once, sorted by path; the first kMostDamaged of
  /// them. May be called while others load.
  [[nodiscard]] std::vector<UnreadablePicture> damaged() const {
    std::vector<UnreadablePicture> all;
    {
      const std::lock_guard lock(report_->mutex);
      all = report_->damaged;
    }
    std::sort(all.begin(), all.end(), [](const UnreadablePicture& a, const UnreadablePicture& b) { return a.path < b.path; });
    return all;
  }
  /// Samples that another picture took the place of, so far.
  [[nodiscard]] std::int64_t replaced() const {
    const std::lock_guard lock(report_->mutex);
    return report_->replaced;
  }

  static constexpr std::size_t kMostDamaged = 1000;

 private:
  struct Report {
    std::mutex mutex;
    std::vector<UnreadablePicture> damaged;
    std::int64_t replaced = 0;
  };

  /// Empty, or why the picture cannot be read.
  [[nodiscard]] std::string try_load(Shard& shard, Index slot, Index item, std::uint64_t position) const {
    const std::filesystem::path path = list_.path(item);
    Picture& picture = shard.images_[static_cast<std::size_t>(slot)];
    try {
      picture.open(path, options_.picture, [&](const View<std::uint8_t, 3>& pixels) {
        if (!options_.augment) return;
        Stream stream(seed_, 0, position, Purpose::augment);
        options_.augment(pixels, stream);
      });
      proxy(picture, shard.proxies_.view()[slot]);
      return {};
    } catch (const Error& error) {
      const std::string reason = error.what();
      return reason.find(path.string()) == std::string::npos ? path.string() + ": " + reason : reason;
    }
  }

  void load_sample(Shard& shard, Index slot, std::uint64_t position) const {
    const Index wanted = sampler_[position];
    const std::int32_t label = list_.pictures[static_cast<std::size_t>(wanted)].label;
    const std::span<const Index> same_class = sampler_.of_class(label);
    const auto first =
        static_cast<std::size_t>(std::lower_bound(same_class.begin(), same_class.end(), wanted) - same_class.begin());
    std::string reason;
    for (std::size_t i = 0; i < same_class.size(); ++i) {
      const Index item = same_class[(first + i) % same_class.size()];
      reason = try_load(shard, slot, item, position);
      if (reason.empty()) {
        const auto at = static_cast<std::size_t>(slot);
        require(!options_.augment || shard.images_[at].in_memory(), list_.path(item).string(),
                ": pictures that are decoded as a whole expected where they are augmented, this one takes more than ",
                options_.picture.most_bytes, " bytes");
        shard.labels_[at] = label;
        shard.items_[at] = item;
        if (i > 0) {
          const std::lock_guard lock(report_->mutex);
          ++report_->replaced;
        }
        return;
      }
      if (options_.unreadable == Unreadable::fail) fail(reason);
      note(list_.pictures[static_cast<std::size_t>(item)].path, reason);
    }
    fail("PictureFolder: a picture of class \"", list_.classes[static_cast<std::size_t>(label)],
         "\" expected that can be read, there is none: ", reason);
  }

  void note(const std::string& path, const std::string& reason) const {
    const std::lock_guard lock(report_->mutex);
    std::vector<UnreadablePicture>& all = report_->damaged;
    const bool known = std::any_of(all.begin(), all.end(), [&](const UnreadablePicture& p) { return p.path == path; });
    if (!known && all.size() < kMostDamaged) all.push_back({path, reason});
  }

  PictureList list_;
  PictureFolderOptions options_;
  std::uint64_t seed_;
  Sampler sampler_;
  std::unique_ptr<Report> report_;
};

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
