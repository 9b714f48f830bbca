// SPDX-License-Identifier: MIT
// needs: dlib openblas
// A training step of a tiny CNN beside dlib on OpenBLAS.
#include "peers.hpp"
#include "tiny_cnn.hpp"

#include <cblas-openblas.h>
#include <dlib/dnn.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace {

namespace d = dlib;
template <long filters, class Below>
using Block = d::max_pool<2, 2, 2, 2, d::relu<d::add_layer<d::con_<filters, 3, 3, 1, 1, 1, 1>, Below>>>;
using Net = d::loss_multiclass_log<d::fc<10, Block<64, Block<32, Block<16, d::input<d::matrix<float>>>>>>>;

struct Theirs {
  Net net;
  d::resizable_tensor x;
  std::vector<unsigned long> labels;
  std::vector<d::adam> solvers;

  explicit Theirs(peers::TinyCnn& ours) : labels(ours.labels.begin(), ours.labels.end()) {
    std::vector<d::matrix<float>> images;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      images.emplace_back(ours.kSide, ours.kSide);
      std::copy_n(ours.images.data() + i * static_cast<std::size_t>(images.back().size()), images.back().size(),
                  &images.back()(0, 0));
    }
    net.to_tensor(images.begin(), images.end(), x);
    net.forward(x);  // makes the parameters
    const peers::PlainWeights plain = ours.weights();
    const auto fill = [&](auto& layer, std::size_t at) {
      float* to = layer.layer_details().get_layer_params().host();
      if (at < 3) {
        to = std::copy(plain.w[at].begin(), plain.w[at].end(), to);
      } else {  // [inputs, outputs]
        for (std::size_t i = 0; i < 64 * 64; ++i) {
          for (std::size_t o = 0; o < 10; ++o) *to++ = plain.w[at][o * 64 * 64 + i];
        }
      }
      std::copy(plain.b[at].begin(), plain.b[at].end(), to);
    };
    fill(d::layer<1>(net), 3);
    fill(d::layer<4>(net), 2);
    fill(d::layer<7>(net), 1);
    fill(d::layer<10>(net), 0);
    solvers.assign(Net::num_computational_layers, d::adam(0.0F, 0.9F, 0.999F));
  }
  double step() {
    const double loss = net.compute_loss(x, labels.begin());
    net.back_propagate_error(x);
    net.update_parameters(d::make_sstack(solvers), 1e-3);
    return loss;
  }
};

}  // namespace

int main(int argc, char** argv) {
  openblas_set_num_threads(1);
  return peers::run(argc, argv,
                    {{peers::TinyCnn::kName, [] {
                        const auto ours = std::make_shared<peers::TinyCnn>();
                        peers::TinyCnn fresh;
                        const auto theirs = std::make_shared<Theirs>(fresh);
                        peers::require_same_losses("dlib", fresh, [&] { return theirs->step(); });
                        return peers::Case{1, {"fovea", [=] { ours->step(); }}, {{"dlib", [=] { theirs->step(); }}}};
                      }}});
}
