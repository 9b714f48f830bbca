// SPDX-License-Identifier: MIT
// What the example programs share: files, drawing, progress, measurements.
#include "../../examples/support/builtin_digits.hpp"
#include "../../examples/support/drawing.hpp"
#include "../../examples/support/files.hpp"
#include "../../examples/support/gaze_sheet.hpp"
#include "../../examples/support/peak_memory.hpp"
#include "../../examples/support/timing.hpp"
#include <fovea/train/progress.hpp>

#if __has_include(<nlohmann/json.hpp>)
#include "../../examples/support/report.hpp"
#endif

#include <fovea/core/error.hpp>
#include <fovea/data/idx.hpp>

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

namespace {

using fovea::Error;
using fovea::Index;

std::filesystem::path fresh_folder(const std::string& name) {
  const auto path = std::filesystem::temp_directory_path() / ("fovea_support_" + name + "_" + std::to_string(::getpid()));
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Index count_files(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

support::Colour at(const support::Picture& picture, Index x, Index y) {
  return {picture(y, x, 0), picture(y, x, 1), picture(y, x, 2)};
}

Index count_pixels(const support::Picture& picture, support::Colour colour) {
  Index n = 0;
  for (Index y = 0; y < picture.extent(0); ++y) {
    for (Index x = 0; x < picture.extent(1); ++x) n += at(picture, x, y) == colour;
  }
  return n;
}

/// What a Progress that is not on a terminal prints while `use` works with it.
template <class Use>
std::string printed(double interval, Use&& use) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  {
    fovea::train::Progress progress(file, interval);
    use(progress);
  }
  std::rewind(file);
  std::string text;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
  (void)std::fclose(file);
  return text;
}

}  // namespace

TEST_CASE("a file is written whole or what was there stays") {
  const auto folder = fresh_folder("files");
  const auto path = folder / "text";
  support::write_text(path, "first");
  support::write_text(path, "second");
  CHECK(content(path) == "second");
  CHECK_THROWS_AS(support::write_file(path,
                                      [](std::FILE* file) -> bool {
                                        std::fputs("half", file);
                                        fovea::fail("no more");
                                      }),
                  Error);
  CHECK_THROWS_WITH_AS(support::write_file(path, [](std::FILE*) { return false; }), doctest::Contains(path.c_str()), Error);
  CHECK(content(path) == "second");
  CHECK(count_files(folder) == 1);  // no temporary is left
  CHECK_THROWS_WITH_AS(support::write_text(folder / "none" / "text", "x"), doctest::Contains("cannot be written"), Error);
  CHECK_THROWS_AS(support::write_text(folder, "x"), Error);  // a folder is in the way
  CHECK_THROWS_WITH_AS(support::prepare_directory(path), doctest::Contains("a folder expected"), Error);
  support::prepare_directory(folder / "a" / "b");
  CHECK(std::filesystem::is_empty(folder / "a" / "b"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("drawing is clipped at the edges") {
  support::Picture picture = support::make_picture(20, 30, support::kBlack);
  support::fill(picture, {-5, -5, 8, 7}, support::kWhite);
  CHECK(count_pixels(picture, support::kWhite) == 3 * 2);
  support::fill(picture, {28, 19, 100, 100}, support::kWhite);
  CHECK(count_pixels(picture, support::kWhite) == 3 * 2 + 2);
  support::line(picture, -1e5, 10, 1e5, 10, 1, support::kGrey);
  CHECK(count_pixels(picture, support::kGrey) == 30);
  support::line(picture, std::nan(""), 0, 1, 1, 1, support::kGrey);
  CHECK(count_pixels(picture, support::kGrey) == 30);
  support::draw_text(picture, -3, 17, "0123 Text?!", 2, support::kRight);
  CHECK(count_pixels(picture, support::kRight) > 0);
}

TEST_CASE("an outline lies inside its area") {
  support::Picture picture = support::make_picture(20, 20, support::kBlack);
  support::outline(picture, {4, 5, 10, 8}, 2, support::kWhite);
  CHECK(count_pixels(picture, support::kWhite) == 10 * 8 - 6 * 4);
  CHECK(at(picture, 4, 5) == support::kWhite);
  CHECK(at(picture, 13, 12) == support::kWhite);
  CHECK(at(picture, 14, 12) == support::kBlack);
  CHECK(at(picture, 6, 7) == support::kBlack);
  support::outline(picture, {0, 0, 3, 3}, 9, support::kGrey);
  CHECK(count_pixels(picture, support::kGrey) == 9);
}

TEST_CASE("images are shown at another size") {
  fovea::Tensor<std::uint8_t, 3> image({2, 2, 1});
  image(0, 0, 0) = 0;
  image(0, 1, 0) = 100;
  image(1, 0, 0) = 200;
  image(1, 1, 0) = 40;
  support::Picture picture = support::make_picture(8, 8, support::kWhite);
  support::draw_image(picture, {2, 2, 4, 4}, image.view(), support::Scaling::nearest);
  CHECK(at(picture, 1, 1) == support::kWhite);
  CHECK(at(picture, 3, 3) == support::Colour{0, 0, 0});
  CHECK(at(picture, 4, 3) == support::Colour{100, 100, 100});
  CHECK(at(picture, 3, 4) == support::Colour{200, 200, 200});
  // Growing is bilinear with pixel centres, as resize functions have it.
  support::draw_image(picture, {0, 0, 4, 4}, image.view(), support::Scaling::smooth);
  CHECK(at(picture, 0, 0)[0] == 0);
  CHECK(at(picture, 1, 0)[0] == 25);
  CHECK(at(picture, 2, 0)[0] == 75);
  CHECK(at(picture, 3, 0)[0] == 100);
  CHECK(at(picture, 0, 2)[0] == 150);
  // Shrinking is an average; colours stay apart.
  support::draw_image(picture, {0, 0, 1, 1}, image.view(), support::Scaling::smooth);
  CHECK(at(picture, 0, 0)[0] == 85);
  fovea::Tensor<std::uint8_t, 3> colour({1, 1, 3});
  colour(0, 0, 1) = 9;
  support::draw_image(picture, {-1, -1, 3, 3}, colour.view(), support::Scaling::smooth);
  CHECK(at(picture, 1, 1) == support::Colour{0, 9, 0});
  CHECK_THROWS_AS(
      support::draw_image(picture, {0, 0, 4, 4}, fovea::Tensor<std::uint8_t, 3>({2, 2, 4}).view(), support::Scaling::smooth),
      Error);
}

TEST_CASE("the gaze sheet shows every region in its colour, wherever it lies") {
  support::GazeExample example;
  example.image = fovea::Tensor<std::uint8_t, 3>({10, 10, 1});
  example.truth = "3";
  example.answer = "5";
  CHECK_NOTHROW((void)support::draw_gaze_example(example));  // nothing looked at, no proxy
  example.proxy = fovea::Tensor<std::uint8_t, 3>({4, 4, 1});
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const auto& region : std::vector<fovea::glimpse::Region<float>>{{0.3F, 0.1F, 0.1F},
                                                                       {0.3F, 0.1F, 0.1F},
                                                                       {0.2F, -1, -1},
                                                                       {0.2F, 1, 1},
                                                                       {2, 0, 0},
                                                                       {0, 0, 0},
                                                                       {1, infinity, 0},
                                                                       {1, nan, nan}}) {
    example.regions.push_back(region);
    example.glimpses.emplace_back(fovea::Extents<3>{8, 8, 1});
  }
  const support::Picture one = support::draw_gaze_example(example);
  for (std::size_t i = 0; i < 6; ++i) CHECK(count_pixels(one, support::palette(i)) > 100);
  const std::vector<support::GazeExample> five(5, example);
  const support::Picture sheet = support::draw_gaze_sheet(five, 2);
  CHECK(sheet.extent(0) == 3 * one.extent(0));
  CHECK(sheet.extent(1) == 2 * one.extent(1));
  CHECK(at(sheet, sheet.extent(1) - 1, sheet.extent(0) - 1) == support::kWhite);
  example.glimpses.pop_back();
  CHECK_THROWS_WITH_AS((void)support::draw_gaze_example(example), doctest::Contains("7 glimpses and 8 regions"), Error);
  CHECK_THROWS_AS((void)support::draw_gaze_sheet({}), Error);
}

TEST_CASE("progress elsewhere than on a terminal is plain lines, not too many") {
  const std::string text = printed(1000, [](fovea::train::Progress& progress) {
    progress.begin("saccader");
    for (int i = 0; i < 1000; ++i) progress.update({.fraction = i / 1000.0, .images = i, .loss = 1.5, .accuracy = 0.25});
    progress.end();
    progress.begin("second");
    progress.end("all of it");
  });
  CHECK(std::count(text.begin(), text.end(), '\n') == 3);
  CHECK(text.find("saccader") == 0);
  CHECK(text.find("0 %  loss 1.500  accuracy 25.0 %") != std::string::npos);
  CHECK(text.find("done in 0:00  loss 1.500  accuracy 25.0 %  999 images\n") != std::string::npos);
  CHECK(text.find("second           done in 0:00  all of it\n") != std::string::npos);
  CHECK(text.find('\r') == std::string::npos);
  CHECK(text.find('\033') == std::string::npos);
  CHECK(text.find("nan") == std::string::npos);

  const std::string often = printed(0, [](fovea::train::Progress& progress) {
    progress.begin("x");
    for (int i = 0; i < 10; ++i) progress.update({.fraction = 0.5});
  });
  CHECK(std::count(often.begin(), often.end(), '\n') == 10);
  CHECK(often.find("50 %  0:00 left") != std::string::npos);
}

TEST_CASE("clock times and medians") {
  CHECK(fovea::train::clock_time(5.4) == "0:05");
  CHECK(fovea::train::clock_time(599.6) == "10:00");
  CHECK(fovea::train::clock_time(3661) == "1:01:01");
  CHECK(fovea::train::clock_time(-1) == "0:00");
  CHECK(support::median({3, 1, 2}) == 2);
  CHECK(support::median({4, 1, 3, 2}) == 2.5);
  CHECK(support::median({7}) == 7);
  CHECK_THROWS_AS((void)support::median({}), Error);
  std::vector<int> calls;
  CHECK(support::median_ms(3, [&](int repetition) { calls.push_back(repetition); }) >= 0);
  CHECK(calls == std::vector<int>{-1, 0, 1, 2});
}

// AddressSanitizer keeps a map of the memory beside it, and ThreadSanitizer several: no measure of anything.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FOVEA_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FOVEA_TEST_SANITIZED 1
#endif
#endif

TEST_CASE("peak memory is that of the work alone") {
  const auto touch = [](std::size_t mib) {
    return [mib] {
      std::vector<char> memory(mib << 20, 1);
      return std::vector<double>{static_cast<double>(memory[memory.size() / 2]), 2.5};
    };
  };
#if !defined(FOVEA_TEST_SANITIZED) && defined(__linux__)
  {
    // What was in use earlier, and is free again, must not hide what the work needs.
    std::vector<std::vector<char>> earlier;
    for (int i = 0; i < 2000; ++i) earlier.emplace_back(50000, 'x');
  }
  for (const std::size_t mib : {std::size_t{8}, std::size_t{64}}) {
    const double expected = static_cast<double>(mib);
    const auto measured = support::measure_in_child(touch(mib));
    CHECK(measured.peak_mib > expected - 1);
    CHECK(measured.peak_mib < expected + 4);
  }
  const auto many = support::measure_in_child([] {
    std::vector<std::vector<char>> pieces;
    for (int i = 0; i < 1000; ++i) pieces.emplace_back(40000, 'x');
  });
  CHECK(many.peak_mib > 36);
  CHECK(many.peak_mib < 44);
#endif
  CHECK(support::measure_in_child(touch(1)).values == std::vector<double>{1, 2.5});
  CHECK(support::measure_in_child([] {}).values.empty());
  // More numbers than a pipe holds at once.
  CHECK(support::measure_in_child([] { return std::vector<double>(50000, 1.0); }).values.size() == 50000);
}

TEST_CASE("what goes wrong in the child is told by the parent") {
  CHECK_THROWS_WITH_AS((void)support::measure_in_child([] { fovea::fail("no such thing"); }), "no such thing", Error);
  CHECK_THROWS_WITH_AS((void)support::measure_in_child([] { throw 1; }), doctest::Contains("std::exception"), Error);
  CHECK_THROWS_WITH_AS((void)support::measure_in_child([] { ::_exit(3); }), doctest::Contains("said nothing"), Error);
  CHECK_THROWS_WITH_AS((void)support::measure_in_child([] { (void)::kill(::getpid(), SIGKILL); }),
                       doctest::Contains("died of signal 9"), Error);
}

TEST_CASE("built-in digits are a digit set") {
  const auto digits = support::make_builtin_digits(50, 1);
  CHECK_NOTHROW(fovea::data::check_digits(digits, "built-in"));
  const auto again = support::make_builtin_digits(50, 1);
  CHECK(std::equal(digits.images.begin(), digits.images.end(), again.images.begin()));
  const auto other = support::make_builtin_digits(50, 2);
  CHECK_FALSE(std::equal(digits.images.begin(), digits.images.end(), other.images.begin()));
  for (Index i = 0; i < 50; ++i) {
    double ink = 0;
    for (const std::uint8_t* p = &digits.images(i, 0, 0); p != &digits.images(i, 0, 0) + 28 * 28; ++p) ink += *p / 255.0;
    CHECK(ink > 25);
    CHECK(ink < 250);
  }
}

#if __has_include(<nlohmann/json.hpp>)
TEST_CASE("a report holds finite numbers in the order given") {
  const auto folder = fresh_folder("report");
  const auto path = folder / "report.json";
  support::write_report(path, {{"z", 0.5}, {"a", {{"inner", 1}}}});
  const std::string text = content(path);
  CHECK(text.find("\"z\"") < text.find("\"a\""));
  CHECK(support::Json::parse(text)["a"]["inner"] == 1);
  CHECK_THROWS_WITH_AS(support::write_report(path, {{"accuracy", {{"saccader", std::nan("")}}}}),
                       doctest::Contains("report.json/accuracy/saccader"), Error);
  CHECK(content(path) == text);
  std::filesystem::remove_all(folder);
}
#endif
