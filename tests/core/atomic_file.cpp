// SPDX-License-Identifier: MIT
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"
#include <fovea/core/atomic_file.hpp>

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace fovea;
using fovea_test::message_of;
using fovea_test::TemporaryFolder;

namespace {

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::ptrdiff_t count_files(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

unsigned mode_of(const std::filesystem::path& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777U;
}

pid_t start(const std::function<bool()>& work) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int status = 1;
    try {
      status = work() ? 0 : 1;
    } catch (...) {
    }
    ::_exit(status);
  }
  return child;
}

/// What wait() says of the child.
int end_of(pid_t child) {
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

/// Files of this process cannot grow beyond so many bytes: as a disk that is full.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() {
    (void)::setrlimit(RLIMIT_FSIZE, &before_);
    (void)std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("atomic file: written whole, or what was there stays") {
  const TemporaryFolder folder;
  const auto path = folder.path / "text";
  write_text(path, "first");
  CHECK(content(path) == "first");
  write_text(path, "2nd");
  CHECK(content(path) == "2nd");
  write_file(path, [](FileWriter& file) {
    file.write("a");
    file.write("b\0c", 3);
    file.write(nullptr, 0);
    std::fputs("d", file.stream());
  });
  CHECK(content(path) == std::string("ab\0cd", 5));

  CHECK(message_of([&] {
          write_file(path, [](FileWriter& file) {
            file.write("half");
            fail("no more");
          });
        }) == "no more");
  CHECK_THROWS_AS(write_file(path,
                             [](FileWriter& file) {
                               file.write("half");
                               throw std::runtime_error("other");
                             }),
                  std::runtime_error);
  CHECK(content(path) == std::string("ab\0cd", 5));
  CHECK_THROWS_AS(write_file(folder.path / "new", [](FileWriter&) { fail("no more"); }), Error);
  CHECK(count_files(folder.path) == 1);  // nothing else is left

  const auto nowhere = folder.path / "none" / "text";
  CHECK(message_of([&] { write_text(nowhere, "x"); }) == nowhere.string() + ": cannot be written: No such file or directory");
  CHECK(message_of([&] { write_text(folder.path, "x"); }) == folder.path.string() + ": cannot be written: Is a directory");
  CHECK(message_of([] { write_text("/dev/null", "x"); }) ==
        "/dev/null: cannot be written: something else than a file is there");
}

TEST_CASE("atomic file: on a full disk the old file stays and the temporary goes") {
  const TemporaryFolder folder;
  const auto path = folder.path / "text";
  write_text(path, "before");
  // Noticed by write(), which is larger than a buffer; by the flush at the end; on the stream of a library.
  const std::vector<std::function<void(FileWriter&)>> writers{
      [](FileWriter& file) { file.write(std::string(1 << 20, 'x')); },
      [](FileWriter& file) { file.write(std::string(3000, 'x')); },
      [](FileWriter& file) {
        for (int i = 0; i < 100'000; ++i) (void)std::fputc('x', file.stream());
      },
  };
  for (const auto& writer : writers) {
    std::string message;
    {
      const FullDisk full(2000);
      message = message_of([&] { write_file(path, writer); });
    }
    CHECK(message.starts_with(path.string() + ": cannot be written: "));
    CHECK(content(path) == "before");
    CHECK(count_files(folder.path) == 1);
  }
  write_text(path, "after");
  CHECK(content(path) == "after");
}

TEST_CASE("atomic file: read-only files and folders are left alone") {
  const TemporaryFolder folder;
  const auto path = folder.path / "text";
  const auto locked = folder.path / "locked";
  write_text(path, "before");
  std::filesystem::create_directory(locked);
  write_text(locked / "text", "before");
  REQUIRE(::chmod(path.c_str(), 0444) == 0);
  REQUIRE(::chmod((locked / "text").c_str(), 0666) == 0);
  REQUIRE(::chmod(locked.c_str(), 0555) == 0);
  // Root may write everywhere, so a child that is somebody else tries.
  const pid_t child = start([&] {
    if (::geteuid() == 0 && ::setuid(65534) != 0) return false;
    const std::string end = ": cannot be written: Permission denied";
    return message_of([&] { write_text(path, "x"); }) == path.string() + end &&
           message_of([&] { write_text(locked / "text", "x"); }) == (locked / "text").string() + end;
  });
  CHECK(end_of(child) == 0);
  CHECK(content(path) == "before");
  CHECK(content(locked / "text") == "before");
  REQUIRE(::chmod(locked.c_str(), 0755) == 0);
  CHECK(count_files(locked) == 1);
}

TEST_CASE("atomic file: links are followed, permissions stay") {
  const TemporaryFolder folder;
  const auto sub = folder.path / "sub";
  std::filesystem::create_directory(sub);
  write_text(sub / "text", "before");
  REQUIRE(::chmod((sub / "text").c_str(), 0640) == 0);
  std::filesystem::create_symlink("sub/text", folder.path / "one");
  std::filesystem::create_symlink("one", folder.path / "two");
  write_text(folder.path / "two", "after");
  CHECK(std::filesystem::is_symlink(folder.path / "one"));
  CHECK(std::filesystem::is_symlink(folder.path / "two"));
  CHECK(content(sub / "text") == "after");
  CHECK(mode_of(sub / "text") == 0640U);
  CHECK(count_files(sub) == 1);
  CHECK(count_files(folder.path) == 3);

  std::filesystem::create_symlink(sub / "new", folder.path / "dangling");
  write_text(folder.path / "dangling", "made");
  CHECK(std::filesystem::is_symlink(folder.path / "dangling"));
  CHECK(content(sub / "new") == "made");

  std::filesystem::create_symlink("round", folder.path / "round");
  CHECK(message_of([&] { write_text(folder.path / "round", "x"); }).ends_with("Too many levels of symbolic links"));

  // A temporary that leads elsewhere is no temporary of ours.
  std::filesystem::create_symlink("text", sub / "new.part");
  CHECK_THROWS_AS(write_text(sub / "new", "x"), Error);
  CHECK(content(sub / "text") == "after");
}

TEST_CASE("atomic file: who is killed while writing leaves one temporary, which the next one uses") {
  const TemporaryFolder folder;
  const auto path = folder.path / "text";
  write_text(path, "before");
  for (int i = 0; i < 3; ++i) {
    const int status = end_of(start([&] {
      write_file(path, [](FileWriter& file) {
        file.write("a long beginning, of which nothing is to be seen");
        (void)std::fflush(file.stream());
        (void)::kill(::getpid(), SIGKILL);
      });
      return true;
    }));
    CHECK(WIFSIGNALED(status));
    CHECK(content(path) == "before");
    CHECK(count_files(folder.path) == 2);
  }
  write_text(path, "after");
  CHECK(content(path) == "after");
  CHECK(count_files(folder.path) == 1);
}

TEST_CASE("atomic file: processes and threads that save to one path take turns") {
  const TemporaryFolder folder;
  const auto path = folder.path / "text";
  const auto text = [](int who) {
    return std::string(50'000 + 9'000 * static_cast<std::size_t>(who), static_cast<char>('a' + who));
  };
  const auto whole = [&](const std::string& seen) { return !seen.empty() && seen == text(seen.front() - 'a'); };
  // Every second save fails at its end, and takes its temporary with it.
  const auto save_often = [&](int who) {
    int failed = 0;
    for (int i = 0; i < 50; ++i) {
      const std::string message = message_of([&] {
        write_file(path, [&](FileWriter& file) {
          const std::string all = text(who);
          for (std::size_t at = 0; at < all.size(); at += 1000) file.write(all.substr(at, 1000));
          if (i % 2 == 1) fail("changed my mind");
        });
      });
      if (message != (i % 2 == 1 ? "changed my mind" : "")) ++failed;
    }
    return failed == 0;
  };
  write_text(path, text(0));
  std::vector<pid_t> children;
  for (int who = 1; who < 4; ++who) children.push_back(start([&] { return save_often(who); }));
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int who = 4; who < 6; ++who) threads.emplace_back([&, who] { good += save_often(who) ? 1 : 0; });
  int wrong = 0;
  for (int i = 0; i < 200; ++i) wrong += whole(content(path)) ? 0 : 1;
  for (std::thread& thread : threads) thread.join();
  for (const pid_t child : children) CHECK(end_of(child) == 0);
  CHECK(good == 2);
  CHECK(wrong == 0);
  CHECK(whole(content(path)));
  CHECK(count_files(folder.path) == 1);
}
