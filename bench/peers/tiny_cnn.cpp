// SPDX-License-Identifier: MIT
// needs: torch
// A training step of a tiny CNN beside libtorch, in both of its layouts.
#include "tiny_cnn.hpp"

#include "peers.hpp"

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

namespace {

struct Theirs {
  torch::nn::Sequential net;
  torch::Tensor x, labels;
  std::unique_ptr<torch::optim::Adam> adam;

  Theirs(peers::TinyCnn& ours, torch::MemoryFormat format) {
    using namespace torch::nn;
    const auto convolution = [](int from, int to) { return Conv2d(Conv2dOptions(from, to, 3).padding(1)); };
    net = Sequential(convolution(1, 16), ReLU(), MaxPool2d(2), convolution(16, 32), ReLU(), MaxPool2d(2), convolution(32, 64),
                     ReLU(), MaxPool2d(2), Flatten(), Linear(64 * 64, 10));
    const peers::PlainWeights plain = ours.weights();
    std::size_t layer = 0;
    torch::NoGradGuard guard;
    for (auto& named : net->named_parameters()) {
      torch::Tensor p = named.value();
      const bool weight = named.key().find("weight") != std::string::npos;
      const std::vector<float>& from = weight ? plain.w[layer] : plain.b[layer++];
      p.copy_(torch::from_blob(const_cast<float*>(from.data()), p.sizes()));
      if (p.dim() == 4) p.set_data(p.detach().contiguous(format));
    }
    x = torch::from_blob(ours.images.data(), {ours.kBatch, 1, ours.kSide, ours.kSide}).clone().contiguous(format);
    labels = torch::from_blob(ours.labels.data(), {ours.kBatch}, torch::kInt32).to(torch::kInt64);
    adam = std::make_unique<torch::optim::Adam>(net->parameters(), torch::optim::AdamOptions(ours.kRate));
  }
  float step() {
    adam->zero_grad();
    const auto loss = torch::cross_entropy_loss(net->forward(x), labels);
    loss.backward();
    adam->step();
    return loss.item<float>();
  }
};

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(1);
  return peers::run(argc, argv,
                    {{peers::TinyCnn::kName, [] {
                        const auto ours = std::make_shared<peers::TinyCnn>();
                        std::vector<peers::Side> others;
                        for (const auto format : {torch::MemoryFormat::Contiguous, torch::MemoryFormat::ChannelsLast}) {
                          const char* name = format == torch::MemoryFormat::Contiguous ? "torch nchw" : "torch channels_last";
                          peers::TinyCnn fresh;
                          const auto theirs = std::make_shared<Theirs>(fresh, format);
                          peers::require_same_losses(name, fresh, [&] { return theirs->step(); });
                          others.push_back({name, [=] { theirs->step(); }});
                        }
                        return peers::Case{1, {"fovea", [=] { ours->step(); }}, others};
                      }}});
}
