// SPDX-License-Identifier: MIT
// needs: dnnl openblas
// Matrix products beside oneDNN, OpenBLAS and Eigen: row-major, nothing packed beforehand on any side.
#include "peers.hpp"
#include <fovea/core/random.hpp>
#include <fovea/core/view.hpp>
#include <fovea/kernel/gemm.hpp>

#include <Eigen/Core>
#include <cblas-openblas.h>
#include <dnnl.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>

namespace {

using fovea::Index;
using fovea::Tensor;

struct Shape {
  Index m, k, n;
};

struct Matrices {
  Tensor<float, 2> a, b, c, theirs;
  Tensor<float, 1> workspace;
  explicit Matrices(const Shape& s)
      : a({s.m, s.k}),
        b({s.k, s.n}),
        c({s.m, s.n}),
        theirs({s.m, s.n}),
        workspace({fovea::kernel::gemm_workspace<float>(s.m, s.n, s.k)}) {
    fovea::Stream stream(1, 0, 0, fovea::Purpose::user);
    for (float& e : a) e = stream.uniform(-1.0F, 1.0F);
    for (float& e : b) e = stream.uniform(-1.0F, 1.0F);
  }
};

std::string name(const Shape& s) {
  return "gemm " + std::to_string(s.m) + "x" + std::to_string(s.k) + "x" + std::to_string(s.n);
}

peers::Case make(const Shape& s) {
  const auto p = std::make_shared<Matrices>(s);
  const auto ours = [=] { fovea::kernel::gemm<float>(p->a.view(), p->b.view(), p->c.view(), 0.0F, p->workspace.view()); };
  const std::vector<peers::Side> others{
      {"oneDNN",
       [=] { dnnl::sgemm('N', 'N', s.m, s.n, s.k, 1.0F, p->a.data(), s.k, p->b.data(), s.n, 0.0F, p->theirs.data(), s.n); }},
      {"OpenBLAS",
       [=] {
         const auto m = static_cast<int>(s.m);
         const auto n = static_cast<int>(s.n);
         const auto k = static_cast<int>(s.k);
         cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0F, p->a.data(), k, p->b.data(), n, 0.0F,
                     p->theirs.data(), n);
       }},
      {"Eigen", [=] {
         using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
         Eigen::Map<Matrix>(p->theirs.data(), s.m, s.n).noalias() =
             Eigen::Map<const Matrix>(p->a.data(), s.m, s.k) * Eigen::Map<const Matrix>(p->b.data(), s.k, s.n);
       }}};
  ours();
  for (const peers::Side& other : others) {
    other.work();
    for (Index i = 0; i < s.m * s.n; ++i) {
      if (!(std::abs(p->c.data()[i] - p->theirs.data()[i]) < 1e-5F * static_cast<float>(s.k))) {
        std::fprintf(stderr, "%s: fovea and %s differ\n", name(s).c_str(), other.name.c_str());
        std::exit(1);
      }
    }
  }
  return {1, {"fovea", ours}, others};
}

}  // namespace

int main(int argc, char** argv) {
  openblas_set_num_threads(1);
  std::vector<peers::MakeCase> cases;
  const auto add = [&](const Shape& s) { cases.push_back({name(s), [s] { return make(s); }}); };
  for (const Index n : {4, 8, 12, 16, 32, 64, 96, 128, 256, 384, 512, 1024}) add({n, n, n});
  for (const Shape& s : {Shape{64, 576, 4096}, Shape{32, 256, 768}}) add(s);
  return peers::run(argc, argv, cases);
}
