// SPDX-License-Identifier: MIT
// needs: onnxruntime
// The whole image instead: ResNet-18 over one image of 2528x2528 in onnxruntime beside the reference saccader over the same
// image, each in a process of its own. Ours begins with the pixels in memory: the pyramid, the proxy, four glimpses, the class.
//
// `peers_whole_image CSV` runs itself as `peers_whole_image --fovea SIDE RUNS`, and node with whole_image.mjs.
#include "peers.hpp"
#include "resnet18.hpp"
#include <fovea/image/pyramid.hpp>
#include <fovea/model/saccader.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace {

using fovea::Index;

constexpr int kClasses = 55;
constexpr int kSide = 2528;

// ------------------------------------------------------------------------------------------------------------------ both sides

/// Ours: prints the same as whole_image.mjs.
int run_fovea(Index side, int runs) {
  fovea::Tensor<std::uint8_t, 3> pixels({side, side, 1});
  for (Index i = 0; i < pixels.size(); ++i) pixels.data()[i] = static_cast<std::uint8_t>(i * 31 >> 7);
  const auto saccader = fovea::model::Saccader::reference({.decode_proxy = false});
  const fovea::Parameters<float> weights(saccader.layout(), 1);
  fovea::Pyramid<std::uint8_t> image;
  fovea::Arena arena;
  return peers::run_fovea(runs, [&](int /*run*/) {
    arena.reset();
    image.assign(std::as_const(pixels).view());
    return saccader.classify(image, weights, arena).probabilities[0];
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "--fovea") == 0) return run_fovea(std::atol(argv[2]), std::atoi(argv[3]));
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s CSV\n", argv[0]);
    return 2;
  }
  const std::string side = std::to_string(kSide);
  const std::filesystem::path self = std::filesystem::absolute(argv[0]);
  const std::filesystem::path model = self.parent_path() / "resnet18.onnx";
  peers::write_resnet18(model, 1, kSide, kSide, kClasses);
  const std::string ours = peers::command({self.string(), "--fovea", side});
  const std::string theirs = peers::command(
      {FOVEA_NODE, FOVEA_PEERS_SOURCE_DIR "/whole_image.mjs", FOVEA_NODE_PREFIX, model.string(), "1", side, side, "1"});
  // Time as all peers are timed, with a malloc that keeps its pages; memory with the malloc everybody has.
  const peers::Result our_time = peers::run_command(ours + " 101");
  const peers::Result their_time = peers::run_command(theirs + " 3");
  const peers::Result our_memory = peers::run_command("env -u GLIBC_TUNABLES " + ours + " 3");
  const peers::Result their_memory = peers::run_command("env -u GLIBC_TUNABLES " + theirs + " 1");

  std::FILE* file = std::fopen(argv[1], "a");
  if (file == nullptr) {
    std::fprintf(stderr, "cannot write %s\n", argv[1]);
    return 2;
  }
  const auto row = [&](const char* what, double fovea, double peer) {
    char text[256];
    (void)std::snprintf(text, sizeof text, "%s,1,%.0f,onnxruntime %s ResNet-18 on all pixels,%.0f,%.3f", what, fovea,
                        their_time.name.c_str(), peer, peer / fovea);
    std::fprintf(file, "%s\n", text);
    std::printf("%s\n", text);
  };
  row("whole image 1x2528x2528", our_time.nanoseconds, their_time.nanoseconds);
  row("whole image 1x2528x2528 peak memory of the process in bytes", our_memory.bytes, their_memory.bytes);
  return std::fclose(file) == 0 ? 0 : 2;
}
