// SPDX-License-Identifier: MIT
/// \file
/// Files written whole or not at all (POSIX): to `<target>.part` beside the target, flushed to the disk, then renamed over it.
///
/// A crash, a full disk or an exception leaves what was there before. The temporary has one name and a lock (flock): processes
/// and threads that save to one path take turns, and a process that is killed leaves at most one stale temporary, which the
/// next save to that path uses and renames.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace fovea::inline FOVEA_ABI {

/// What write_file() gives to the function that writes.
class FileWriter {
 public:
  /// `path`: for messages. Closes nothing.
  FileWriter(std::FILE* stream, std::string path) : stream_(stream), path_(std::move(path)) {}

  /// Throws Error where not all of it can be written.
  void write(const void* data, std::size_t size) {
    if (size > 0 && std::fwrite(data, 1, size, stream_) != size) {
      fail(path_, ": cannot be written: ", std::strerror(errno));
    }
  }
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// For libraries that write to one themselves; what fails there unnoticed fails write_file().
  [[nodiscard]] std::FILE* stream() const noexcept { return stream_; }

 private:
  std::FILE* stream_;
  std::string path_;
};

namespace detail {

[[noreturn]] inline void fail_to_write(const std::filesystem::path& path, int reason) {
  fail(path.string(), ": cannot be written: ", std::strerror(reason));
}

/// Where a chain of symbolic links ends; there need not be anything yet.
inline std::filesystem::path end_of_links(std::filesystem::path path) {
  std::error_code error;
  for (int links = 0; std::filesystem::is_symlink(path, error); ++links) {
    if (links == 40) fail_to_write(path, ELOOP);
    path = path.parent_path() / std::filesystem::read_symlink(path, error);
  }
  return path;
}

/// The locked, empty temporary of one target. Removed on destruction unless it was put in the target's place.
class PartFile {
 public:
  explicit PartFile(const std::filesystem::path& target) : target_(target), path_(target.string() + ".part") {
    while (!open_and_lock()) {
    }
  }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  ~PartFile() {
    if (!placed_) (void)::unlink(path_.c_str());  // while the lock is held: nobody else writes into it
    (void)std::fclose(stream_);
  }

  [[nodiscard]] std::FILE* stream() const noexcept { return stream_; }

  /// Flushes to the disk and renames. `mode`: permissions of the file it replaces, or -1.
  void place(int mode) {
    const int file = ::fileno(stream_);
    errno = 0;
    const bool written = std::fflush(stream_) == 0 && std::ferror(stream_) == 0;
    if (!written || (mode >= 0 && ::fchmod(file, static_cast<mode_t>(mode)) != 0) || ::fsync(file) != 0 ||
        std::rename(path_.c_str(), target_.c_str()) != 0) {
      fail_to_write(target_, errno != 0 ? errno : EIO);
    }
    placed_ = true;
    // So that the new name survives a power cut. Not all file systems can, and the file is whole either way.
    const std::string folder = target_.has_parent_path() ? target_.parent_path().string() : ".";
    if (const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); handle >= 0) {
      (void)::fsync(handle);
      (void)::close(handle);
    }
  }

 private:
  /// False where the file that was locked has meanwhile been renamed or removed by whoever held the lock before.
  bool open_and_lock() {
    const int file = ::open(path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (file < 0) fail_to_write(target_, errno);
    int locked = -1;
    do {
      locked = ::flock(file, LOCK_EX);
    } while (locked != 0 && errno == EINTR);
    // Some network file systems know no locks; then saves must not overlap.
    const bool lockless = locked != 0 && (errno == ENOSYS || errno == EOPNOTSUPP || errno == ENOLCK);
    struct stat mine {};
    struct stat named {};
    const bool fits = (locked == 0 || lockless) && ::fstat(file, &mine) == 0 && S_ISREG(mine.st_mode);
    const int reason = errno;
    const bool same = fits && ::stat(path_.c_str(), &named) == 0 && mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
    if (same && ::ftruncate(file, 0) == 0) stream_ = ::fdopen(file, "wb");
    if (stream_ == nullptr) (void)::close(file);
    if (!fits) fail_to_write(path_, locked == 0 || lockless ? EEXIST : reason);
    if (same && stream_ == nullptr) fail_to_write(path_, EIO);
    return same;
  }

  std::filesystem::path target_;
  std::string path_;
  std::FILE* stream_ = nullptr;
  bool placed_ = false;
};

}  // namespace detail

/// Calls `write(FileWriter&)` and puts the result in place of `path`, with the permissions of the file that was there; where
/// `path` is a symbolic link, in place of what that points at. Throws Error with the path and the reason, or what `write`
/// throws; then what was there before is untouched, and nothing lies beside it.
template <class Write>
void write_file(const std::filesystem::path& path, Write&& write) {
  const std::filesystem::path target = detail::end_of_links(path);
  int mode = -1;
  if (struct stat before{}; ::stat(target.c_str(), &before) == 0) {
    if (S_ISDIR(before.st_mode)) detail::fail_to_write(path, EISDIR);
    require(S_ISREG(before.st_mode), path.string(), ": cannot be written: something else than a file is there");
    // To rename over a file asks no permission of it; who made it read-only meant it.
    if (::access(target.c_str(), W_OK) != 0) detail::fail_to_write(path, errno);
    mode = static_cast<int>(before.st_mode & 07777U);
  }
  detail::PartFile part(target);
  FileWriter writer(part.stream(), path.string());
  write(writer);
  part.place(mode);
}

/// The same for a text.
inline void write_text(const std::filesystem::path& path, std::string_view text) {
  write_file(path, [&](FileWriter& file) { file.write(text); });
}

}  // namespace fovea::inline FOVEA_ABI
