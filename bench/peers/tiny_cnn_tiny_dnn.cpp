// SPDX-License-Identifier: MIT
// needs: tiny-dnn
// A training step of a tiny CNN beside tiny-dnn.
#include "peers.hpp"
#include "tiny_cnn.hpp"

#include <tiny_dnn/config.h>
#undef CNN_USE_GEMMLOWP  // for its quantised layers
#include <tiny_dnn/tiny_dnn.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace {

namespace t = tiny_dnn;

/// tiny-dnn's step is one call of fit() over one batch; the loss is then found by a pass of its own, in the check only.
struct Theirs {
  t::network<t::sequential> net;
  t::adam optimizer;
  std::vector<t::vec_t> images;
  std::vector<t::label_t> labels;

  explicit Theirs(peers::TinyCnn& ours) : labels(ours.labels.begin(), ours.labels.end()) {
    using t::padding;
    using Convolution = t::convolutional_layer<t::activation::relu>;
    using Pool = t::max_pooling_layer<t::activation::identity>;
    net << Convolution(64, 64, 3, 1, 16, padding::same) << Pool(64, 64, 16, 2) << Convolution(32, 32, 3, 16, 32, padding::same)
        << Pool(32, 32, 32, 2) << Convolution(16, 16, 3, 32, 64, padding::same) << Pool(16, 16, 64, 2)
        << t::fully_connected_layer<t::activation::softmax>(64 * 64, 10);
    optimizer.alpha = static_cast<t::float_t>(ours.kRate);
    net.init_weight();
    const peers::PlainWeights plain = ours.weights();
    const std::size_t places[] = {0, 2, 4, 6};
    for (std::size_t k = 0; k < 4; ++k) {
      t::vec_t& w = *net[places[k]]->weights()[0];
      t::vec_t& b = *net[places[k]]->weights()[1];
      if (k < 3) {
        std::copy(plain.w[k].begin(), plain.w[k].end(), w.begin());
      } else {  // [inputs, outputs]
        for (std::size_t i = 0; i < 64 * 64; ++i) {
          for (std::size_t o = 0; o < 10; ++o) w[i * 10 + o] = plain.w[k][o * 64 * 64 + i];
        }
      }
      std::copy(plain.b[k].begin(), plain.b[k].end(), b.begin());
    }
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const float* from = ours.images.data() + i * 64 * 64;
      images.emplace_back(from, from + 64 * 64);
    }
  }
  void step() {
    net.train<t::cross_entropy_multiclass>(
        optimizer, images, labels, images.size(), 1, [] {}, [] {}, false, 1);
  }
  double loss() {
    double sum = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      sum -= std::log(static_cast<double>(net.predict(images[i])[labels[i]]));
    }
    return sum / static_cast<double>(labels.size());
  }
};

}  // namespace

int main(int argc, char** argv) {
  return peers::run(argc, argv,
                    {{peers::TinyCnn::kName, [] {
                        const auto ours = std::make_shared<peers::TinyCnn>();
                        peers::TinyCnn fresh;
                        const auto theirs = std::make_shared<Theirs>(fresh);
                        const auto step = [&] {
                          const double loss = theirs->loss();
                          theirs->step();
                          return loss;
                        };
                        // Its Adam corrects the first step as if it were the second, so it moves half as far.
                        peers::require_same_losses("tiny-dnn", fresh, step, 2, 0.1);
                        return peers::Case{1, {"fovea", [=] { ours->step(); }}, {{"tiny-dnn", [=] { theirs->step(); }}}};
                      }}});
}
