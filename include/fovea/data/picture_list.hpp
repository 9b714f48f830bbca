// SPDX-License-Identifier: MIT
/// \file
/// The files of a set of pictures and what they show: a folder with a sub-folder for each class, or a list.
///
/// Nothing is opened here. Whether the files are pictures is asked in data/picture_folder.hpp.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/data/split.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace data {

/// A file and its class.
struct ListedPicture {
  std::string path;  ///< relative to PictureList::root, parts separated by '/'
  std::int32_t label = 0;
  friend bool operator==(const ListedPicture&, const ListedPicture&) = default;
};

/// The files of a set of pictures; some 100 bytes for each.
struct PictureList {
  std::filesystem::path root;
  std::vector<std::string> classes;     ///< names, in the order of their bytes; the label is the place
  std::vector<ListedPicture> pictures;  ///< in the order of the bytes of their paths

  [[nodiscard]] Index size() const noexcept { return static_cast<Index>(pictures.size()); }
  /// Where picture i is.
  [[nodiscard]] std::filesystem::path path(Index i) const { return root / pictures[static_cast<std::size_t>(i)].path; }
  /// Of every picture.
  [[nodiscard]] std::vector<std::int32_t> labels() const {
    std::vector<std::int32_t> all;
    all.reserve(pictures.size());
    for (const ListedPicture& picture : pictures) all.push_back(picture.label);
    return all;
  }
  /// Throws Error where a class has no picture, with `place` in front.
  void require_all_classes(std::string_view place) const {
    require(!classes.empty(), place, ": at least one class expected, there is none");
    std::vector<char> seen(classes.size());
    for (const ListedPicture& picture : pictures) seen[static_cast<std::size_t>(picture.label)] = 1;
    const auto missing = std::find(seen.begin(), seen.end(), 0);
    if (missing == seen.end()) return;
    fail(place, ": a picture of every class expected, there is none of \"",
         classes[static_cast<std::size_t>(missing - seen.begin())], "\"");
  }
};

namespace detail {

/// Names in a folder in the order of their bytes, without hidden ones.
[[nodiscard]] inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto at = std::filesystem::directory_iterator(folder, error); !error && at != std::filesystem::directory_iterator();
       at.increment(error)) {
    std::string name = at->path().filename().string();
    if (!name.starts_with('.')) names.push_back(std::move(name));
  }
  if (error) fail(folder.string(), ": a folder expected that can be read: ", error.message());
  std::sort(names.begin(), names.end());
  return names;
}

/// True for a folder that is part of the picture beside it: the tiles of a DeepZoom description, the data of a MIRAX slide.
[[nodiscard]] inline bool belongs_to_picture(const std::string& name, const std::vector<std::string>& beside) {
  constexpr std::string_view tiles = "_files";
  if (std::binary_search(beside.begin(), beside.end(), name + ".mrxs")) return true;
  return name.ends_with(tiles) &&
         std::binary_search(beside.begin(), beside.end(), name.substr(0, name.size() - tiles.size()) + ".dzi");
}

/// Appends all files below root / folder to `files`, relative to root. `seen`: real folders that were walked; a link to one of
/// them is not walked again.
inline void walk(const std::filesystem::path& root, const std::string& folder, std::set<std::filesystem::path>& seen,
                 std::vector<std::string>& files) {
  std::error_code error;
  std::filesystem::path real = std::filesystem::canonical(root / folder, error);
  if (error) fail((root / folder).string(), ": a folder expected that can be read: ", error.message());
  if (!seen.insert(std::move(real)).second) return;
  const std::vector<std::string> names = names_in(root / folder);
  for (const std::string& name : names) {
    std::string path = folder + '/' + name;
    if (!std::filesystem::is_directory(root / path, error)) {
      files.push_back(std::move(path));
    } else if (!belongs_to_picture(name, names)) {
      walk(root, path, seen, files);
    }
  }
}

[[nodiscard]] inline PictureList list_folder(const std::filesystem::path& root) {
  PictureList list;
  list.root = root;
  std::error_code error;
  for (std::string& name : names_in(root)) {
    if (std::filesystem::is_directory(root / name, error)) list.classes.push_back(std::move(name));
  }
  require(!list.classes.empty(), root.string(), ": a sub-folder for each class expected, there is none");
  std::vector<std::string> files;
  for (std::size_t k = 0; k < list.classes.size(); ++k) {
    std::set<std::filesystem::path> seen;
    files.clear();
    walk(root, list.classes[k], seen, files);
    for (std::string& file : files) list.pictures.push_back({std::move(file), static_cast<std::int32_t>(k)});
  }
  return list;
}

[[nodiscard]] inline PictureList read_list(const std::filesystem::path& path) {
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  std::ifstream file(path, std::ios::binary);
  require(file.good(), path.string(), ": a folder of pictures or a list of them expected, it cannot be read");
  PictureList list;
  list.root = path.parent_path();
  std::vector<std::string> names;  // of the class of each picture
  std::string line;
  for (Index number = 1; std::getline(file, line); ++number) {
    if (number == 1 && line.starts_with(byte_order_mark)) line.erase(0, byte_order_mark.size());
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) continue;
    const std::size_t tab = line.rfind('\t');
    require(tab != std::string::npos && tab > 0 && tab + 1 < line.size(), path.string(), ": line ", number,
            ": a path, a tab and a class expected");
    names.push_back(line.substr(tab + 1));
    list.pictures.push_back({std::filesystem::path(line.substr(0, tab)).lexically_normal().generic_string(), 0});
  }
  require(file.eof(), path.string(), ": cannot be read");
  require(!names.empty(), path.string(), ": at least one picture expected, there is none");
  list.classes = names;
  std::sort(list.classes.begin(), list.classes.end());
  list.classes.erase(std::unique(list.classes.begin(), list.classes.end()), list.classes.end());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto at = std::lower_bound(list.classes.begin(), list.classes.end(), names[i]);
    list.pictures[i].label = static_cast<std::int32_t>(at - list.classes.begin());
  }
  return list;
}

}  // namespace detail

/// The pictures of a folder, or of a list.
///
/// A folder has a sub-folder for each class, whose name is that of the class. All files in it and in folders below it are taken
/// for pictures, whatever their names, but hidden ones (".name"). Links are followed; a folder that is met twice in a class is
/// walked once. A folder that belongs to a picture beside it (NAME_files beside NAME.dzi, NAME beside NAME.mrxs) is not walked,
/// and files beside the sub-folders have no class and are left out.
///
/// A list is a text file with a line `path<TAB>class` for each picture, paths relative to the list's folder.
///
/// Throws Error where it cannot be read, where there is no class or a class without a picture, on a line that is not one, and
/// on a picture listed twice.
[[nodiscard]] inline PictureList list_pictures(const std::filesystem::path& folder_or_list) {
  std::error_code error;
  const bool folder = std::filesystem::is_directory(folder_or_list, error);
  PictureList list = folder ? detail::list_folder(folder_or_list) : detail::read_list(folder_or_list);
  std::sort(list.pictures.begin(), list.pictures.end(),
            [](const ListedPicture& a, const ListedPicture& b) { return a.path < b.path; });
  const auto twice = std::adjacent_find(list.pictures.begin(), list.pictures.end(),
                                        [](const ListedPicture& a, const ListedPicture& b) { return a.path == b.path; });
  if (twice != list.pictures.end())
    fail(folder_or_list.string(), ": every picture once expected, ", twice->path, " came twice");
  list.require_all_classes(folder_or_list.string());
  return list;
}

/// Two lists with the classes of the one they come from.
struct PictureSplit {
  PictureList training;
  PictureList validation;
};

/// Holds out a share of the pictures, by held_out() of their paths as listed: a picture stays where it is when others come or
/// go. `fraction` in [0, 1). Throws Error where a class has no picture left for training.
[[nodiscard]] inline PictureSplit split_pictures(PictureList list, double fraction, std::uint64_t seed) {
  require(fraction >= 0 && fraction < 1, "split_pictures: a fraction of 0 to less than 1 expected, ", fraction, " came");
  PictureSplit parts{{list.root, list.classes, {}}, {list.root, list.classes, {}}};
  for (ListedPicture& picture : list.pictures) {
    PictureList& part = held_out(picture.path, fraction, seed) ? parts.validation : parts.training;
    part.pictures.push_back(std::move(picture));
  }
  parts.training.require_all_classes("split_pictures: for training");
  return parts;
}

}  // namespace data
}  // namespace fovea::inline FOVEA_ABI
