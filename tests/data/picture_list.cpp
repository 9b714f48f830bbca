// SPDX-License-Identifier: MIT
// Lists of pictures: from folders as they are found, and from text.
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"
#include <fovea/data/picture_list.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;
using fovea::Index;
using fovea::data::list_pictures;
using fovea::data::PictureList;
using fovea::data::split_pictures;
using fovea_test::message_of;
using fovea_test::TemporaryFolder;
using namespace std::string_view_literals;

void touch(const fs::path& path, std::string_view text = "") {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::vector<std::string> paths(const PictureList& list) {
  std::vector<std::string> all;
  for (const auto& picture : list.pictures) all.push_back(picture.path);
  return all;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("list_pictures: a folder for each class, in the order of bytes") {
  const TemporaryFolder folder;
  for (const char* name : {"dog/b.png", "dog/a b.jpg", "dog/deep/er/c.tif", "Zebra/x",
                           "\xC3\xA9l\xC3\xA9phant/\xE7\x8C\xAB.png", "cat/10.jpg", "cat/9.jpg", "cat-2/1.jpg"}) {
    touch(folder.path / name);
  }
  touch(folder.path / "readme.txt");       // no class
  touch(folder.path / "dog/.hidden.png");  // not seen
  touch(folder.path / "dog/.git/config");
  touch(folder.path / ".cache/x.png");
  const PictureList list = list_pictures(folder.path);
  CHECK(list.classes == std::vector<std::string>{"Zebra", "cat", "cat-2", "dog", "\xC3\xA9l\xC3\xA9phant"});
  CHECK(paths(list) == std::vector<std::string>{"Zebra/x", "cat-2/1.jpg", "cat/10.jpg", "cat/9.jpg", "dog/a b.jpg", "dog/b.png",
                                                "dog/deep/er/c.tif", "\xC3\xA9l\xC3\xA9phant/\xE7\x8C\xAB.png"});
  CHECK(list.labels() == std::vector<std::int32_t>{0, 2, 1, 1, 3, 3, 3, 4});
  CHECK(list.root == folder.path);
  CHECK(list.size() == 8);
  for (Index i = 0; i < list.size(); ++i) CHECK(fs::exists(list.path(i)));
}

TEST_CASE("list_pictures: links are followed, loops and folders met twice are not walked again") {
  const TemporaryFolder folder;
  touch(folder.path / "elsewhere/.store/pictures/p.png");
  touch(folder.path / "elsewhere/q.png");
  const fs::path root = folder.path / "root";
  touch(root / "a/1.png");
  touch(root / "a/sub/2.png");
  fs::create_directory_symlink(root / "a", root / "a/sub/loop");
  fs::create_directory_symlink("self", root / "a/self");
  fs::create_directory_symlink(root / "a/sub", root / "a/twice");
  fs::create_directory_symlink(folder.path / "elsewhere/.store/pictures", root / "b");  // a class may be a link
  fs::create_symlink(folder.path / "elsewhere/q.png", root / "b/linked.png");
  fs::create_symlink(folder.path / "nowhere.png", root / "b/dangling.png");
  const PictureList list = list_pictures(root);
  CHECK(list.classes == std::vector<std::string>{"a", "b"});
  // What leads nowhere is listed, so that it is reported as unreadable.
  CHECK(paths(list) ==
        std::vector<std::string>{"a/1.png", "a/self", "a/sub/2.png", "b/dangling.png", "b/linked.png", "b/p.png"});
}

TEST_CASE("list_pictures: folders that belong to a picture are no pictures") {
  const TemporaryFolder folder;
  for (const char* name : {"a/zoom.dzi", "a/zoom_files/0/0_0.jpg", "a/slide.mrxs", "a/slide/Slidedat.ini",
                           "a/other_files/x.png", "a/plain/y.png"}) {
    touch(folder.path / name);
  }
  CHECK(paths(list_pictures(folder.path)) ==
        std::vector<std::string>{"a/other_files/x.png", "a/plain/y.png", "a/slide.mrxs", "a/zoom.dzi"});
}

TEST_CASE("list_pictures: folders that are refused") {
  const TemporaryFolder folder;
  const fs::path root = folder.path / "root";
  CHECK(contains(message_of([&] { (void)list_pictures(root); }), "a folder of pictures or a list of them expected"));
  fs::create_directories(root);
  touch(root / "picture.png");
  CHECK(message_of([&] { (void)list_pictures(root); }) ==
        root.string() + ": a sub-folder for each class expected, there is none");
  touch(root / "a/1.png");
  fs::create_directories(root / "b/empty");
  touch(root / "b/.hidden");
  CHECK(message_of([&] { (void)list_pictures(root); }) ==
        root.string() + ": a picture of every class expected, there is none of \"b\"");
}

TEST_CASE("list_pictures: a list of paths and classes") {
  const TemporaryFolder folder;
  const auto list_of = [&](std::string_view text) { return list_pictures(folder.write("list.txt", text)); };
  // A byte order mark, other line ends, an empty line, a tab in a name, and no end of the last line.
  const PictureList list = list_of("\xEF\xBB\xBF./z.png\tlate\r\n\nsub/a b.jpg\tearly\nsub//x/../tab\tin name.png\tlate"sv);
  CHECK(list.root == folder.path);
  CHECK(list.classes == std::vector<std::string>{"early", "late"});
  CHECK(paths(list) == std::vector<std::string>{"sub/a b.jpg", "sub/tab\tin name.png", "z.png"});
  CHECK(list.labels() == std::vector<std::int32_t>{0, 1, 1});
  CHECK(list.path(2) == folder.path / "z.png");

  const std::string name = (folder.path / "list.txt").string();
  const auto refused = [&](std::string_view text) { return message_of([&] { (void)list_of(text); }); };
  CHECK(refused("") == name + ": at least one picture expected, there is none");
  CHECK(refused("a.png\tx\nb.png x\n") == name + ": line 2: a path, a tab and a class expected");
  CHECK(refused("\tx\n") == name + ": line 1: a path, a tab and a class expected");
  CHECK(refused("a.png\t\n") == name + ": line 1: a path, a tab and a class expected");
  CHECK(refused("a.png\tx\n./a.png\ty\n") == name + ": every picture once expected, a.png came twice");
}

TEST_CASE("split_pictures: adding files moves none, whatever comes and goes") {
  const auto made = [](int count, int step) {
    PictureList list;
    list.classes = {"a", "b"};
    for (int i = 0; i < count; i += step) {
      list.pictures.push_back({"a/" + std::to_string(i) + ".jpg", 0});
      list.pictures.push_back({"b/" + std::to_string(i) + ".jpg", 1});
    }
    return list;
  };
  const auto where = [](const PictureList& list, double fraction, std::uint64_t seed) {
    std::map<std::string, bool> held;
    const auto parts = split_pictures(list, fraction, seed);
    CHECK(parts.training.classes == list.classes);
    CHECK(parts.validation.classes == list.classes);
    for (const auto& p : parts.training.pictures) held[p.path] = false;
    for (const auto& p : parts.validation.pictures) held[p.path] = true;
    CHECK(held.size() == list.pictures.size());
    return held;
  };
  const auto few = where(made(1000, 3), 0.2, 4);
  const auto many = where(made(3000, 1), 0.2, 4);
  for (const auto& [path, held] : few) CHECK(many.at(path) == held);
  CHECK(where(made(1000, 3), 0.2, 5) != few);

  const auto parts = split_pictures(made(3000, 1), 0.2, 4);
  CHECK(parts.validation.size() > 1100);  // 1200, deviation 31
  CHECK(parts.validation.size() < 1300);
  const auto& held = parts.validation.pictures;  // in the order of the list
  CHECK(std::is_sorted(held.begin(), held.end(),
                       [](const auto& x, const auto& y) { return std::stoi(x.path.substr(2)) < std::stoi(y.path.substr(2)); }));
  CHECK(split_pictures(made(10, 1), 0, 4).validation.size() == 0);
  CHECK(message_of([&] { (void)split_pictures(made(10, 1), 1, 4); }) ==
        "split_pictures: a fraction of 0 to less than 1 expected, 1.000000 came");
  CHECK(contains(message_of([&] { (void)split_pictures(made(1, 1), 0.999, 4); }), "there is none of \"a\""));
}
