// SPDX-License-Identifier: MIT
// The experiment "photographs" on made-up data, and the readers and writers of files that it brings along.
// needs: jpeg
#if __has_include(<png.h>)
#include "../../examples/experiments/photographs/photographs.cpp"

#include "../../examples/support/png.hpp"
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"
#include <fovea/core/random.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace {

using experiments::Set;
using fovea::Index;
using fovea_test::message_of;
using fovea_test::TemporaryFolder;
using Picture = fovea::Tensor<std::uint8_t, 3>;

bool says(const std::string& message, const std::string& part) { return message.find(part) != std::string::npos; }

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

experiments::PhotographsOptions smoke(const TemporaryFolder& folder) {
  experiments::PhotographsOptions options;
  options.data = folder.path;
  options.smoke = true;
  options.progress = false;
  return options;
}

/// A collection of `contents`, and behind its entries nothing else.
std::vector<std::byte> collection(const std::vector<std::vector<std::byte>>& contents) {
  std::vector<std::byte> file;
  const auto word = [&file](std::size_t w) {
    for (int shift = 24; shift >= 0; shift -= 8) file.push_back(static_cast<std::byte>(w >> static_cast<unsigned>(shift)));
  };
  word(0x1ee70f42);
  word(contents.size());
  word(0);
  std::size_t at = 12 + 24 * contents.size();
  for (const auto& content : contents) {
    for (const std::size_t w : {at, content.size(), content.size(), std::size_t{0}, std::size_t{0}, std::size_t{0}}) word(w);
    at += content.size();
  }
  for (const auto& content : contents) file.insert(file.end(), content.begin(), content.end());
  return file;
}

TEST_CASE("photographs: JPEG files in a collection are found, and no entry leads out of it") {
  const std::vector<std::byte> jpeg{std::byte{0xFF}, std::byte{0xD8}, std::byte{0xFF}, std::byte{0xE0}, std::byte{7}};
  const std::vector<std::byte> other{std::byte{1}, std::byte{2}};
  const std::vector<std::byte> file = collection({other, jpeg, {}, jpeg});
  const auto found = experiments::jpegs_of_edj(file);
  REQUIRE(found.size() == 2);
  for (const auto& f : found) CHECK(std::equal(f.begin(), f.end(), jpeg.begin(), jpeg.end()));

  // Any prefix, and any byte of the directory changed, is an Error or parts of the file.
  for (std::size_t size = 0; size < file.size(); ++size) {
    const std::span<const std::byte> part(file.data(), size);
    CHECK(!message_of([&] { (void)experiments::jpegs_of_edj(part); }).empty());
  }
  for (std::size_t at = 0; at < 12 + 4 * 24; ++at) {
    for (const int value : {0, 1, 127, 255}) {
      std::vector<std::byte> damaged = file;
      damaged[at] = static_cast<std::byte>(value);
      (void)message_of([&] {
        for (const auto& f : experiments::jpegs_of_edj(damaged)) {
          REQUIRE(f.data() >= damaged.data());
          REQUIRE(f.data() + f.size() <= damaged.data() + damaged.size());
        }
      });
    }
  }
}

TEST_CASE("photographs: PNG and JPEG files hold what was written") {
  const TemporaryFolder folder;
  Picture picture({40, 60, 3});
  for (Index y = 0; y < 40; ++y) {
    for (Index x = 0; x < 60; ++x) {
      picture(y, x, 0) = static_cast<std::uint8_t>(3 * x);
      picture(y, x, 1) = static_cast<std::uint8_t>(4 * y);
      picture(y, x, 2) = static_cast<std::uint8_t>(100 + x - y);
    }
  }
  support::write_png(folder.path / "a.png", picture.view());
  const Picture png = support::read_png(folder.path / "a.png");
  REQUIRE(png.extents() == fovea::Extents<3>{40, 60, 4});
  for (Index y = 0; y < 40; ++y) {
    for (Index x = 0; x < 60; ++x) {
      for (Index c = 0; c < 3; ++c) REQUIRE(png(y, x, c) == picture(y, x, c));
      REQUIRE(png(y, x, 3) == 255);
    }
  }
  const std::string whole = bytes_of(folder.path / "a.png");
  const auto half = folder.write("half.png", whole.substr(0, whole.size() / 2));
  CHECK(says(message_of([&] { (void)support::read_png(half); }), "damaged"));
  CHECK(says(message_of([&] { (void)support::read_png(folder.path / "none.png"); }), "cannot be read"));
  CHECK(says(message_of([&] { (void)support::read_png(folder.path / "a.png", 50); }), "at most 50"));

  support::write_jpeg(folder.path / "a.jpg", picture.view(), 95);
  fovea::JpegDecoder decoder(folder.path / "a.jpg", 3);
  REQUIRE(decoder.info().levels.front().extent == fovea::Extents<2>{40, 60});
  int worst = 0;
  decoder.scan(0, [&](Index y, const std::uint8_t* row) {
    for (Index i = 0; i < 180; ++i) worst = std::max(worst, std::abs(row[i] - picture(y, i / 3, i % 3)));
  });
  CHECK(worst <= 12);
  CHECK(says(message_of([&] { support::write_jpeg(folder.path / "no" / "a.jpg", picture.view(), 90); }), "cannot be written"));
  CHECK(says(message_of([&] { support::write_jpeg(folder.path / "a.jpg", picture.view(), 0); }), "1 to 100"));
  CHECK(says(message_of([&] { support::write_jpeg(folder.path / "a.jpg", png.view(), 90); }), "3 channels"));
}

TEST_CASE("photographs: the test's images are its files, made once") {
  const TemporaryFolder folder;
  const experiments::Photographs task(smoke(folder));
  CHECK(task.facts().classes == 8);
  const auto count = static_cast<std::uint64_t>(task.facts().test_images);
  const auto sample = task.make_sample();
  for (std::uint64_t i = 0; i < count; ++i) {
    task.fill(*sample, Set::test, i);
    const Picture whole = task.whole(i);
    const auto& finest = sample->image.level(0);
    REQUIRE(finest.extents() == whole.extents());
    REQUIRE(whole.extents() == fovea::Extents<3>{384, 512, 3});
    CHECK(std::equal(whole.begin(), whole.end(), finest.data()));
    CHECK(sample->label == task.content(Set::test, i).label);
    CHECK(sample->objects.size() == (sample->label == 7 ? 0 : 1));
  }
  CHECK(says(message_of([&] { (void)task.whole(count); }), "test images expected"));

  // What is there is left alone; where anything is not as it was to be, all is made again.
  const auto first = task.file(0);
  const std::string before = bytes_of(first);
  std::ofstream(first, std::ios::binary | std::ios::trunc) << "here";
  const experiments::Photographs again(smoke(folder));
  CHECK(bytes_of(first) == "here");
  std::ofstream(folder.path / "test" / "manifest.csv", std::ios::app) << "and one more\n";
  const experiments::Photographs anew(smoke(folder));
  CHECK(bytes_of(first) == before);
}

TEST_CASE("photographs: training images are levels of one image, and none of their signs is in the test") {
  const TemporaryFolder folder;
  const experiments::Photographs task(smoke(folder));
  const auto sample = task.make_sample();
  const auto other = task.make_sample();
  std::set<int> labels;
  for (std::uint64_t i = 0; i < 40; ++i) {
    task.fill(*sample, i % 2 == 0 ? Set::train : Set::held_out, i);
    labels.insert(sample->label);
    const auto& image = sample->image;
    REQUIRE(image.extent() == fovea::Extents<2>{384, 512});
    REQUIRE(image.ratio(0) == 4);
    // Each level is the average of the one before, wherever the sign is, to a rounding for each.
    fovea::Pyramid<std::uint8_t> exact(image.level(0));
    for (int k = 1; k < image.levels(); ++k) {
      REQUIRE(image.level(k).extents() == exact.level(k).extents());
      const auto& level = image.level(k);
      int worst = 0;
      for (Index y = 0; y < level.extent(0); ++y) {
        for (Index x = 0; x < level.extent(1); ++x) {
          for (Index c = 0; c < 3; ++c) worst = std::max(worst, std::abs(level(y, x, c) - exact.level(k)(y, x, c)));
        }
      }
      CHECK(worst <= 2);
    }
    // Memory of another image leaves no trace.
    task.fill(*other, i % 2 == 0 ? Set::train : Set::held_out, i);
    CHECK(std::equal(image.level(0).data(), image.level(0).data() + image.level(0).size(), other->image.level(0).data()));
    task.fill(*other, Set::train, i + 100);
  }
  CHECK(labels.size() == 8);

  for (const std::string& design : task.designs(Set::train)) {
    for (const std::string& kept : task.designs(Set::test)) CHECK(design != kept);
  }
  CHECK(task.designs(Set::held_out) == task.designs(Set::test));
}

TEST_CASE("photographs: real photographs of the test are not in training") {
  std::set<std::string> all(experiments::train_photographs.begin(), experiments::train_photographs.end());
  all.insert(experiments::test_photographs.begin(), experiments::test_photographs.end());
  CHECK(all.size() == experiments::train_photographs.size() + experiments::test_photographs.size());
}

TEST_CASE("photographs: missing data is named, with where to get it") {
  const TemporaryFolder folder;
  experiments::PhotographsOptions options = smoke(folder);
  options.smoke = false;
  CHECK(says(message_of([&] { const experiments::Photographs task(options); }), "get-data.sh"));
}

}  // namespace
#endif
