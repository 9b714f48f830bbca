// SPDX-License-Identifier: MIT
/// \file
/// The experiment "photographs": which speed limit, if any, stands in a photograph of 12 megapixels.
///
/// After experiment 2 of Variational Saccading, whose photographs cannot be had: real photographs and real sign designs of
/// get-data.sh. Neither the photographs nor the designs of the test occur in training. Test images are JPEG files.
#pragma once

#include "../support/task.hpp"
#include <fovea/core/view.hpp>
#include <fovea/data/signed_photographs.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace experiments {

/// The JPEG files within an Enlightenment picture collection (.edj, which is EET: big-endian header {0x1ee70f42, entries,
/// strings}, then six words an entry: offset, size, unpacked size, name's offset, its size, flags), in the order of its
/// entries. Throws fovea::Error where that is no EET file, or an entry lies beyond its end.
[[nodiscard]] std::vector<std::span<const std::byte>> jpegs_of_edj(std::span<const std::byte> file);

struct PhotographsOptions {
  std::filesystem::path data = "build/data/photographs";  ///< where get-data.sh put it; the test's files go to test/ in it
  /// Small scenes of made-up photographs and signs, so that nothing need be there.
  bool smoke = false;
  bool progress = true;  ///< says on stderr what takes long
  /// Signs of training images are at first so many times as tall as in the test, shrinking geometrically to 1 ...
  double enlarged = 1;
  Index enlarged_images = 0;  ///< ... over so many images
};

class Photographs : public Task {
 public:
  /// Makes the test's files where they are not there (a few minutes, once). Photographs for training are loaded, at several
  /// sizes, when the first training image is asked for. Throws fovea::Error where data is missing or damaged.
  explicit Photographs(PhotographsOptions options = {});
  ~Photographs() override;

  [[nodiscard]] std::unique_ptr<Sample> make_sample() const override;
  /// Images of `train` and `held_out` lack the finest level, which is made for the test's files only.
  void fill(Sample& sample, Set set, std::uint64_t number) const override;
  [[nodiscard]] fovea::Tensor<std::uint8_t, 3> whole(std::uint64_t number) const override;
  [[nodiscard]] std::filesystem::path file(std::uint64_t number) const override;

  /// What is in an image of a set.
  [[nodiscard]] fovea::data::SignedPhotograph content(Set set, std::uint64_t number) const;
  /// Names of the classes; the last is "none".
  [[nodiscard]] std::vector<std::string> class_names() const;
  /// Names of the photographs and of the designs that a set is made of, by the numbers in content(); a photograph occurs once
  /// for each size and mirror image.
  [[nodiscard]] const std::vector<std::string>& photographs(Set set) const;
  [[nodiscard]] const std::vector<std::string>& designs(Set set) const;

 private:
  struct Photograph;
  struct Background;
  struct Part;

  [[nodiscard]] const Part& part(Set set) const { return set == Set::train ? *train_ : *test_; }
  [[nodiscard]] const fovea::data::SignedPhotographs& generator(Set set) const;
  void read_test(std::uint64_t number, fovea::Tensor<std::uint8_t, 3>& pixels) const;
  void load(const Part& part) const;
  void write_test() const;

  PhotographsOptions options_;
  std::unique_ptr<Part> train_;
  std::unique_ptr<Part> test_;
};

}  // namespace experiments
