// SPDX-License-Identifier: MIT
// The reference saccader beside itself on a small image: what an answer costs, given the proxy, as the image grows. The images
// are files with their lower resolutions, memory-mapped; the page cache is warm (they were just written), the caches of the
// processor are not: every call looks somewhere else.
#include "peers.hpp"
#include <fovea/core/error.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/image/view.hpp>
#include <fovea/model/saccader.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace {

using fovea::Index;
using fovea::PyramidView;
using fovea::Shape;

/// A square image and its halves down to 16 pixels, one level after the other in a file that is gone when the program ends.
class MappedImage {
 public:
  MappedImage(const std::filesystem::path& folder, Index side) {
    const std::string file = (folder / ("image_" + std::to_string(side) + ".raw")).string();
    for (Index n = side; n >= 16; n /= 2) size_ += static_cast<std::size_t>(n * n);
    const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    fovea::require(descriptor >= 0 && ::ftruncate(descriptor, static_cast<off_t>(size_)) == 0, "cannot write ", file);
    void* memory = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    (void)::close(descriptor);
    (void)::unlink(file.c_str());
    fovea::require(memory != MAP_FAILED, "cannot map ", file);
    pixels_ = static_cast<std::uint8_t*>(memory);
    view_ = PyramidView<std::uint8_t>({side, side}, 1);
    std::uint8_t* level = pixels_;
    for (Index n = side; n >= 16; n /= 2) {
      for (Index i = 0; i < n * n; ++i) level[i] = static_cast<std::uint8_t>((i * 31) >> 7);
      view_.push_back(fovea::ImageView<std::uint8_t>(level, {n, n, 1}));
      level += n * n;
    }
    (void)::mprotect(memory, size_, PROT_READ);
  }
  MappedImage(const MappedImage&) = delete;
  MappedImage& operator=(const MappedImage&) = delete;
  ~MappedImage() { (void)::munmap(pixels_, size_); }

  [[nodiscard]] const PyramidView<std::uint8_t>& view() const { return view_; }

 private:
  std::uint8_t* pixels_ = nullptr;
  std::size_t size_ = 0;
  PyramidView<std::uint8_t> view_;
};

template <class Sampler>
class Looker {
 public:
  explicit Looker(const Sampler& sampler)
      : saccader_(fovea::model::Saccader::reference({.decode_proxy = false}, sampler)),
        parameters_(saccader_.layout(), 1),
        proxy_({1, 100, 100, 1}) {
    for (Index i = 0; i < proxy_.size(); ++i) proxy_.data()[i] = static_cast<float>(i % 17) / 17;
  }
  void look(const PyramidView<std::uint8_t>& image) {
    arena_.reset();
    fovea::Inference<float> context(arena_, parameters_.values());
    fovea::model::Looking looking;
    looking.bound = false;
    looking.draw = true;  // somewhere else in every step of every call
    looking.deviation = 0.7;
    looking.noise.step = ++calls_;
    const auto path = saccader_.forward(context, context.constant(proxy_.data(), Shape{1, 100, 100, 1}),
                                        std::span<const PyramidView<std::uint8_t>>(&image, 1), looking);
    fovea::require(path.logits().value[0] == path.logits().value[0], "a logit is not a number");
  }

 private:
  fovea::model::ReferenceSaccader<Sampler> saccader_;
  fovea::Parameters<float> parameters_;
  fovea::Tensor<float, 4> proxy_;
  fovea::Arena arena_;
  std::uint64_t calls_ = 0;
};

template <class Sampler>
peers::Case grows(const std::filesystem::path& folder, Index side, const Sampler& sampler) {
  const auto looker = std::make_shared<Looker<Sampler>>(sampler);
  const auto large = std::make_shared<MappedImage>(folder, side);
  const auto small = std::make_shared<MappedImage>(folder, 256);
  return {1, {"fovea", [=] { looker->look(large->view()); }}, {{"itself on 256x256", [=] { looker->look(small->view()); }}}};
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path folder = std::filesystem::absolute(argv[0]).parent_path();
  std::vector<peers::MakeCase> cases;
  const auto add = [&](Index side, const char* name, const auto& sampler) {
    const std::string extent = std::to_string(side) + "x" + std::to_string(side);
    cases.push_back({"reference saccader given the proxy on a mapped image of " + extent + " " + name,
                     [=] { return grows(folder, side, sampler); }});
  };
  for (const Index side : {1024, 4096, 16384}) add(side, "anti-aliased", fovea::glimpse::Antialiased{});
  add(16384, "bilinear", fovea::glimpse::Bilinear{});
  return peers::run(argc, argv, cases);
}
