// SPDX-License-Identifier: MIT
// needs: onnxruntime jpeg
// A photograph of 12 megapixels in a JPEG file: the reference saccader from the file to the answer, beside decoding it all and
// ResNet-18 in onnxruntime, each in a process of its own. The decoding is libjpeg-turbo's, and is added to the network's time.
//
// `peers_photograph CSV` runs itself as `peers_photograph --fovea FILE RUNS`, and node with whole_image.mjs.
#include "../photograph.hpp"

#include "peers.hpp"
#include "resnet18.hpp"
#include <fovea/image/jpeg.hpp>
#include <fovea/model/saccader.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

namespace {

/// Ours: prints the same as whole_image.mjs. Every run looks elsewhere, at the photograph's own pixels.
int run_fovea(const std::filesystem::path& file, int runs) {
  const auto saccader = fovea::model::Saccader::reference({.channels = 3, .decode_proxy = false});
  const fovea::Parameters<float> weights(saccader.layout(), 1);
  fovea::Arena arena;
  return peers::run_fovea(runs, [&](int run) {
    arena.reset();
    const fovea::ImageFile image = fovea::open_jpeg(file);
    fovea::model::Looking looking;
    looking.gaze = fovea::model::Gaze::uniform;
    looking.scale = 64.0 / static_cast<double>(bench::kWidth);
    looking.noise.seed = static_cast<std::uint64_t>(run);
    return saccader.classify(image, weights, arena, looking).probabilities[0];
  });
}

int compare(const char* csv, const std::filesystem::path& self) {
  constexpr int kClasses = 55;
  const bench::Photographs files = bench::make_photographs(self.parent_path() / "photographs");
  const std::filesystem::path model = self.parent_path() / "resnet18-photograph.onnx";
  peers::write_resnet18(model, 3, bench::kHeight, bench::kWidth, kClasses);
  const std::string ours = peers::command({self.string(), "--fovea", files.baseline.string()});
  const std::string theirs =
      peers::command({FOVEA_NODE, FOVEA_PEERS_SOURCE_DIR "/whole_image.mjs", FOVEA_NODE_PREFIX, model.string(), "3",
                      std::to_string(bench::kHeight), std::to_string(bench::kWidth), "1"});
  const peers::Result our_time = peers::run_command(ours + " 51");
  const peers::Result their_time = peers::run_command(theirs + " 1");
  const peers::Result our_memory = peers::run_command("env -u GLIBC_TUNABLES " + ours + " 3");
  const peers::Result their_memory = peers::run_command("env -u GLIBC_TUNABLES " + theirs + " 1");
  std::vector<std::uint8_t> pixels;
  std::vector<double> decodes;
  for (int run = 0; run < 9; ++run) {
    const double start = peers::seconds(1);
    bench::decode_whole(files.baseline, pixels);
    decodes.push_back(1e9 * (peers::seconds(1) - start));
  }
  std::FILE* file = std::fopen(csv, "a");
  fovea::require(file != nullptr, "cannot write ", csv);
  const auto row = [&](const char* what, double fovea, double peer) {
    char text[256];
    (void)std::snprintf(text, sizeof text, "%s,1,%.0f,libjpeg-turbo and onnxruntime %s ResNet-18 on all pixels,%.0f,%.3f", what,
                        fovea, their_time.name.c_str(), peer, peer / fovea);
    std::fprintf(file, "%s\n", text);
    std::printf("%s\n", text);
  };
  row("photograph 3x3000x4000 from a JPEG file", our_time.nanoseconds, their_time.nanoseconds + peers::median(decodes));
  row("photograph 3x3000x4000 from a JPEG file peak memory of the process in bytes", our_memory.bytes, their_memory.bytes);
  return std::fclose(file) == 0 ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 4 && std::strcmp(argv[1], "--fovea") == 0) return run_fovea(argv[2], std::atoi(argv[3]));
    if (argc >= 2) return compare(argv[1], std::filesystem::absolute(argv[0]));
    std::fprintf(stderr, "usage: %s CSV\n", argv[0]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "peers_photograph: %s\n", error.what());
  }
  return 2;
}
