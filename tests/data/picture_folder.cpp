// SPDX-License-Identifier: MIT
// needs: open
// Pictures of many kinds, some of them broken, as training data: the same samples whoever loads them, and nothing lost
// silently.
#include "support/message_of.hpp"
#include "support/picture_files.hpp"
#include "support/temporary_folder.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/parallel.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/data/augment.hpp>
#include <fovea/data/picture_folder.hpp>
#include <fovea/model/saccader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using fovea::Extents;
using fovea::Index;
using fovea::Stream;
using fovea::data::check_pictures;
using fovea::data::list_pictures;
using fovea::data::Order;
using fovea::data::PictureFolder;
using fovea::data::PictureFolderOptions;
using fovea::data::PictureList;
using fovea::data::PictureShard;
using fovea::data::Unreadable;
using fovea_test::message_of;
using fovea_test::save;
using fovea_test::TemporaryFolder;
using fovea_test::waves;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Two classes of pictures of many formats, sizes and names; one of them is cut short, one is no picture.
struct Photos {
  TemporaryFolder folder;
  std::string cut = "cats/cut.png";
  std::string text = "dogs/text.jpg";

  explicit Photos(bool broken = true) {
    fs::create_directories(folder.path / "cats/more");
    fs::create_directories(folder.path / "dogs");
    save(folder.path / "cats/a b.jpg", waves({40, 60, 3}, 1), ".jpg[Q=90]");
    save(folder.path / "cats/\xE7\x8C\xAB.png", waves({64, 48, 3}, 2), ".png");
    save(folder.path / "cats/more/grey.tif", waves({33, 90, 1}, 3), ".tif");
    save(folder.path / "cats/more/turned.jpg", waves({80, 30, 3}, 4), ".jpg", 6);
    save(folder.path / "dogs/large.png", waves({150, 130, 3}, 5), ".png");
    save(folder.path / "dogs/p.ppm", waves({20, 20, 3}, 6), ".ppm");
    save(folder.path / "dogs/w", waves({50, 50, 3}, 7), ".webp[lossless]");
    if (!broken) return;
    save(folder.path / cut, waves({90, 90, 3}, 8), ".png");
    fs::resize_file(folder.path / cut, fs::file_size(folder.path / cut) / 2);
    std::ofstream(folder.path / text) << "no picture\n";
  }
};

/// What a shard holds, element by element.
std::vector<float> everything(const PictureShard& shard) {
  std::vector<float> all;
  for (Index i = 0; i < shard.count(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const auto& image = shard.images()[at];
    const Extents<2> e = image.extent();
    all.insert(all.end(), {static_cast<float>(shard.items()[at]), static_cast<float>(shard.labels()[at]),
                           static_cast<float>(e[0]), static_cast<float>(e[1])});
    const auto pixels = fovea::read_exactly(image, 0, {0, 0, e[0], e[1]});
    for (Index y = 0; y < e[0]; ++y) {
      for (Index x = 0; x < e[1]; ++x) {
        for (Index c = 0; c < image.channels(); ++c) all.push_back(pixels(y, x, c));
      }
    }
    const auto proxy = shard.proxies()[i];
    all.insert(all.end(), proxy.data(), proxy.data() + proxy.size());
  }
  return all;
}

}  // namespace

TEST_CASE("check_pictures: what is no picture is named before anything is decoded") {
  const Photos photos;
  const PictureList list = list_pictures(photos.folder.path);
  CHECK(list.size() == 9);
  for (const int threads : {1, 3}) {
    fovea::Workers workers(threads);
    const std::string refusal = message_of([&] { (void)check_pictures(list, workers); });
    CHECK(contains(refusal,
                   photos.folder.path.string() + ": pictures expected, 1 of 9 files cannot be read: " + photos.text + " ("));
    const auto checked = check_pictures(list, workers, Unreadable::skip);
    REQUIRE(checked.unreadable.size() == 1);
    CHECK(checked.unreadable[0].path == photos.text);
    CHECK(contains(checked.unreadable[0].reason, "text.jpg"));
    CHECK(checked.pictures.size() == 8);
    CHECK(checked.pictures.classes == list.classes);
    CHECK(std::none_of(checked.pictures.pictures.begin(), checked.pictures.pictures.end(),
                       [&](const auto& p) { return p.path == photos.text; }));
  }

  // Many: the first are named, all are counted. All of a class: an Error under skip too.
  fovea::Workers workers(2);
  for (const char* name : {"a", "b", "c", "d"}) std::ofstream(photos.folder.path / "dogs" / name) << "text";
  fs::create_symlink("nowhere", photos.folder.path / "dogs/dangling");
  const std::string refusal = message_of([&] { (void)check_pictures(list_pictures(photos.folder.path), workers); });
  CHECK(contains(refusal, "6 of 14 files"));
  CHECK(contains(refusal, "dogs/c ("));
  CHECK(!contains(refusal, "dogs/d ("));
  CHECK(refusal.ends_with("; ..."));
  for (const char* name : {"large.png", "p.ppm", "w"}) fs::remove(photos.folder.path / "dogs" / name);
  CHECK(contains(message_of([&] { (void)check_pictures(list_pictures(photos.folder.path), workers, Unreadable::skip); }),
                 "there is none of \"dogs\""));
}

TEST_CASE("picture folder: every picture once an epoch, as its file has it") {
  const Photos photos(false);
  const PictureList list = list_pictures(photos.folder.path);
  const PictureFolder data(list, {.proxy = {12, 10}}, 3);
  CHECK(data.epoch() == 7);
  CHECK(data.classes() == 2);
  PictureShard shard = data.make_shard(7);
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    data.load(shard, 7 * epoch, 7);
    REQUIRE(shard.count() == 7);
    std::vector<int> seen(7);
    for (Index i = 0; i < 7; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const Index item = shard.items()[at];
      ++seen[static_cast<std::size_t>(item)];
      CHECK(item == data.sampler()[7 * epoch + static_cast<std::uint64_t>(i)]);
      CHECK(shard.labels()[at] == list.labels()[static_cast<std::size_t>(item)]);
      const auto file = fovea::open_image(list.path(item), {.channels = 3});
      CHECK(shard.images()[at].extent() == file.extent());
      fovea::Tensor<float, 3> proxy({12, 10, 3});
      fovea::proxy(file, proxy.view());
      const auto of_shard = shard.proxies()[i];
      CHECK(std::equal(proxy.begin(), proxy.end(), of_shard.data()));
    }
    CHECK(seen == std::vector<int>(7, 1));
  }
  CHECK(data.damaged().empty());
  CHECK(data.replaced() == 0);
  CHECK(message_of([&] { data.load(shard, 0, 8); }) == "PictureFolder: 0 to 7 samples expected, 8 came");
  data.load(shard, 5, 2);
  CHECK(shard.images().size() == 2);
  CHECK(shard.proxies().extent(0) == 2);
}

TEST_CASE("picture folder: the same samples by any number of threads, in any order, in shards of any size") {
  const Photos photos;
  fovea::Workers workers(3);
  const auto list = check_pictures(list_pictures(photos.folder.path), workers, Unreadable::skip).pictures;
  PictureFolderOptions options;
  options.proxy = {8, 8};
  options.order = Order::balanced;
  options.unreadable = Unreadable::skip;
  options.augment = [](const fovea::View<std::uint8_t, 3>& pixels, Stream& stream) {
    if (stream.below(2) == 1) fovea::data::flip_horizontally(pixels);
    fovea::data::jitter(pixels, stream, 0.2, 0.2);
  };
  constexpr Index samples = 60;
  const PictureFolder one(list, options, 11);
  PictureShard all = one.make_shard(samples);
  one.load(all, 100, samples);
  const std::vector<float> expected = everything(all);

  const PictureFolder other(list, options, 11);
  const fovea::Shards shards{samples, 7};
  std::vector<std::vector<float>> parts(static_cast<std::size_t>(shards.count()));
  std::vector<PictureShard> memory;
  for (int i = 0; i < workers.size(); ++i) memory.push_back(other.make_shard(7));
  workers.run(shards.count(), [&](Index i, int worker) {
    const Index which = shards.count() - 1 - i;
    PictureShard& shard = memory[static_cast<std::size_t>(worker)];
    other.load(shard, 100 + static_cast<std::uint64_t>(shards[which].first), shards[which].count);
    parts[static_cast<std::size_t>(which)] = everything(shard);
  });
  std::vector<float> together;
  for (const auto& part : parts) together.insert(together.end(), part.begin(), part.end());
  CHECK(together == expected);
  CHECK(other.replaced() == one.replaced());

  // Both classes equally often; another seed, other samples.
  const auto labels = all.labels();
  CHECK(std::count(labels.begin(), labels.end(), 0) == samples / 2);
  const PictureFolder third(list, options, 12);
  third.load(all, 100, samples);
  CHECK(everything(all) != expected);
}

TEST_CASE("picture folder: a damaged picture is an error with its path, or another takes its place and it is reported") {
  const Photos photos;
  fovea::Workers workers(2);
  const auto list = check_pictures(list_pictures(photos.folder.path), workers, Unreadable::skip).pictures;
  const auto cut =
      std::find_if(list.pictures.begin(), list.pictures.end(), [&](const auto& p) { return p.path == photos.cut; }) -
      list.pictures.begin();
  PictureFolderOptions options;
  const PictureFolder strict(list, options, 3);
  PictureShard shard = strict.make_shard(8);
  CHECK(contains(message_of([&] { strict.load(shard, 0, 8); }), (photos.folder.path / photos.cut).string() + ": "));
  CHECK(strict.damaged().empty());

  for (const std::size_t most : {std::size_t{1} << 20, std::size_t{1000}}) {  // decoded as a whole, and as it is looked at
    options.unreadable = Unreadable::skip;
    options.picture.most_bytes = most;
    const PictureFolder patient(list, options, 3);
    for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
      patient.load(shard, 8 * epoch, 8);
      for (Index i = 0; i < 8; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const Index wanted = patient.sampler()[8 * epoch + static_cast<std::uint64_t>(i)];
        CHECK(shard.items()[at] == (wanted == cut ? cut + 1 : wanted));
        CHECK(shard.labels()[at] == list.labels()[static_cast<std::size_t>(wanted)]);
        CHECK(shard.images()[at].levels() > 0);
      }
    }
    REQUIRE(patient.damaged().size() == 1);
    CHECK(patient.damaged()[0].path == photos.cut);
    CHECK(contains(patient.damaged()[0].reason, "cut.png"));
    CHECK(patient.replaced() == 2);
  }

  // Files that go while the training runs; after the last of a class comes the first; and when none is left that is said.
  const PictureFolder data(list, options, 3);
  fs::remove(photos.folder.path / "cats/\xE7\x8C\xAB.png");  // the last
  data.load(shard, 0, 8);
  CHECK(data.damaged().size() == 2);
  CHECK(std::count(shard.items().begin(), shard.items().end(), 0) == 2);
  fs::remove_all(photos.folder.path / "cats");
  const std::string refusal = message_of([&] { data.load(shard, 0, 8); });
  CHECK(contains(refusal, "a picture of class \"cats\" expected that can be read, there is none: "));
  CHECK(data.damaged().size() == 5);
}

TEST_CASE("picture folder: augmentation is of pictures that are decoded as a whole, and named by the position") {
  const Photos photos(false);
  const PictureList list = list_pictures(photos.folder.path);
  PictureFolderOptions options;
  std::vector<std::uint32_t> drawn;
  options.augment = [&](const fovea::View<std::uint8_t, 3>& pixels, Stream& stream) {
    drawn.push_back(stream.bits());
    std::fill_n(pixels.data(), pixels.size(), std::uint8_t{51});
  };
  const PictureFolder data(list, options, 9);
  PictureShard shard = data.make_shard(2);
  data.load(shard, 30, 2);
  CHECK(drawn == std::vector<std::uint32_t>{Stream(9, 0, 30, fovea::Purpose::augment).bits(),
                                            Stream(9, 0, 31, fovea::Purpose::augment).bits()});
  for (const float value : std::vector<float>(shard.proxies().data(), shard.proxies().data() + shard.proxies().size())) {
    CHECK(value == doctest::Approx(0.2));
  }

  options.picture.most_bytes = 30000;  // all but large.png
  options.unreadable = Unreadable::skip;
  const PictureFolder too_small(list, options, 9);
  PictureShard epoch = too_small.make_shard(7);
  CHECK(contains(message_of([&] { too_small.load(epoch, 0, 7); }),
                 "large.png: pictures that are decoded as a whole expected where they are augmented"));
}

TEST_CASE("picture folder: what it refuses") {
  const Photos photos(false);
  const PictureList list = list_pictures(photos.folder.path);
  PictureFolderOptions options;
  options.picture.file.channels = 0;
  CHECK(message_of([&] { (void)PictureFolder(list, options, 0); }) == "PictureFolder: 1 or 3 channels expected, 0 came");
  CHECK(message_of([&] {
          (void)PictureFolder(list, {.proxy = {0, 4}}, 0);
        }) == "PictureFolder: a proxy of at least 1x1 expected, 0x4 came");
  CHECK_THROWS_AS((void)PictureFolder({}, {}, 0), fovea::Error);
}

TEST_CASE("picture folder: a model learns the same from pictures in memory and from those that are looked at") {
  // No JPEG and no WebP, whose lower resolutions are their own.
  const TemporaryFolder folder;
  for (const char* name : {"a", "b", "c"}) fs::create_directories(folder.path / name);
  for (int i = 0; i < 3; ++i) {
    save(folder.path / "a" / std::to_string(i), waves({60 + 40 * i, 80, 3}, static_cast<std::uint64_t>(i)), ".png");
    save(folder.path / "b" / std::to_string(i), waves({80, 70, 3}, static_cast<std::uint64_t>(10 + i)), ".tif");
    save(folder.path / "c" / std::to_string(i), waves({70, 70 + 9 * i, 1}, static_cast<std::uint64_t>(20 + i)), ".png");
  }
  const PictureList list = list_pictures(folder.path);
  const fovea::model::Saccader model({.classes = 3, .channels = 3, .proxy = {16, 16}, .glimpse = {8, 8}, .steps = 2});
  const fovea::Parameters<float> weights(model.layout(), 1);
  const auto learn = [&](std::size_t most_bytes) {
    PictureFolderOptions options;
    options.proxy = {16, 16};
    options.order = Order::balanced;
    options.picture.most_bytes = most_bytes;
    const PictureFolder data(list, options, 2);
    PictureShard shard = data.make_shard(6);
    data.load(shard, 12, 6);
    CHECK(shard.images()[0].in_memory() == (most_bytes > 0));
    fovea::Arena arena;
    fovea::Tensor<float, 1> gradient({weights.values().size()});
    fovea::Tape<float> tape(arena, weights.values(), gradient.view());
    const auto outcome = model.loss(tape, shard.minibatch(tape), {.progress = 0.5, .noise = {4, 0, 12}});
    CHECK(outcome.logits.shape == fovea::Shape{6, 3});
    tape.backward(outcome.loss_sum);
    std::vector<float> all(gradient.begin(), gradient.end());
    all.push_back(outcome.loss_sum.item());
    return all;
  };
  const auto in_memory = learn(std::size_t{1} << 20);
  CHECK(std::any_of(in_memory.begin(), in_memory.end(), [](float g) { return g != 0; }));
  CHECK(in_memory == learn(0));
}

TEST_CASE("PictureFolder: its signature is another where its samples are others") {
  const Photos photos(false);
  const PictureList list = list_pictures(photos.folder.path);
  const PictureFolderOptions options;
  const std::string signature = PictureFolder(list, options, 1).signature();
  CHECK(signature.size() == 16);
  CHECK(PictureFolder(list, options, 1).signature() == signature);

  SUBCASE("the same samples: the folder is elsewhere, and what cannot be read is skipped") {
    PictureList moved = list;
    moved.root = "elsewhere";
    PictureFolderOptions skipping = options;
    skipping.unreadable = Unreadable::skip;
    CHECK(PictureFolder(moved, skipping, 1).signature() == signature);
  }
  SUBCASE("another seed, order, proxy, channels, or memory") {
    PictureFolderOptions other = options;
    other.order = Order::balanced;
    CHECK(PictureFolder(list, other, 1).signature() != signature);
    other = options;
    other.proxy = {32, 16};
    CHECK(PictureFolder(list, other, 1).signature() != signature);
    other = options;
    other.picture.file.channels = 1;
    CHECK(PictureFolder(list, other, 1).signature() != signature);
    other = options;
    other.picture.most_bytes = 0;
    CHECK(PictureFolder(list, other, 1).signature() != signature);
    other = options;
    other.augment = [](const fovea::View<std::uint8_t, 3>& pixels, Stream&) { fovea::data::flip_horizontally(pixels); };
    CHECK(PictureFolder(list, other, 1).signature() != signature);
    CHECK(PictureFolder(list, options, 2).signature() != signature);
  }
  SUBCASE("another list") {
    PictureList other = list;
    other.pictures.pop_back();
    CHECK(PictureFolder(other, options, 1).signature() != signature);
    other = list;
    other.pictures.back().label = 0;
    CHECK(PictureFolder(other, options, 1).signature() != signature);
    other = list;
    other.pictures.back().path += "x";
    CHECK(PictureFolder(other, options, 1).signature() != signature);
    other = list;
    other.classes.back() += "x";
    CHECK(PictureFolder(other, options, 1).signature() != signature);
    other = list;
    std::swap(other.classes[0], other.classes[1]);
    CHECK(PictureFolder(other, options, 1).signature() != signature);
  }
}
