// SPDX-License-Identifier: MIT
// The claims of the kernels: fovea beside its peers, from the rows that the target bench-peers has just written.
//
//   claims_kernels [CSV]     without an argument bench-peers.csv
//
// after: bench-peers
#include "claims.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using claims::Bound;
using claims::Claims;
using Names = std::vector<std::string>;

/// The rows `case,threads,fovea_ns,peer,peer_ns,ratio` of a file. What is asked for and not there is NaN, which meets no
/// target.
class Rows {
 public:
  explicit Rows(const std::string& file) {
    std::ifstream lines(file);
    std::string line;
    if (!std::getline(lines, line)) throw std::runtime_error("no " + file + ": the target bench-peers writes it");
    while (std::getline(lines, line)) {
      Row row;
      std::string threads, ours, theirs;
      std::istringstream cells(line);
      std::getline(cells, row.name, ',');
      std::getline(cells, threads, ',');
      std::getline(cells, ours, ',');
      std::getline(cells, row.peer, ',');
      std::getline(cells, theirs, ',');
      row.threads = std::stoi(threads);
      row.ratio = std::stod(theirs) / std::stod(ours);
      rows_.push_back(row);
    }
  }

  /// The time of the quickest of the peers whose names begin with `peer`, through ours.
  [[nodiscard]] double ratio(const std::string& name, const std::string& peer = "", int threads = 1) const {
    double least = HUGE_VAL;
    for (const Row& row : rows_) {
      if (row.name == name && row.threads == threads && row.peer.starts_with(peer)) least = std::min(least, row.ratio);
    }
    return std::isinf(least) ? std::numeric_limits<double>::quiet_NaN() : least;
  }
  [[nodiscard]] std::vector<double> ratios(const Names& names, const std::string& peer = "") const {
    std::vector<double> all;
    for (const std::string& name : names) all.push_back(ratio(name, peer));
    return all;
  }

 private:
  struct Row {
    std::string name, peer;
    int threads = 0;
    double ratio = 0;
  };
  std::vector<Row> rows_;
};

bool complete(const std::vector<double>& values) {
  return !values.empty() && std::none_of(values.begin(), values.end(), [](double v) { return std::isnan(v); });
}
double worst(const std::vector<double>& values) {
  return complete(values) ? *std::min_element(values.begin(), values.end()) : std::numeric_limits<double>::quiet_NaN();
}
double median(std::vector<double> values) {
  if (!complete(values)) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

/// `prefix` before each of the names, `suffix` behind.
Names around(const std::string& prefix, const Names& names, const std::string& suffix = "") {
  Names all;
  for (const std::string& name : names) all.push_back(prefix + name + suffix);
  return all;
}

void convolutions(Claims& out, const Rows& rows) {
  const Names one{"1: 1x64x64 -> 32", "32: 1x64x64 -> 32"};
  Names ten = one;
  for (const std::string batch : {"1: ", "32: "}) {
    for (const char* shape : {"32x64x64 -> 32", "32x32x32 -> 64 stride 2", "64x16x16 -> 128", "128x8x8 -> 256"}) {
      ten.push_back(batch + shape);
    }
  }
  const std::string passes = "conv2d forward + both gradients ";
  const std::vector<double> ratios = rows.ratios(around(passes, ten), "oneDNN");
  out.add("ten convolutions forward + both gradients: oneDNN / fovea; median", median(ratios), Bound::at_least, 1.0, "x");
  out.add("ten convolutions forward + both gradients: oneDNN / fovea; worst", worst(ratios), Bound::at_least, 0.9, "x");
  out.add("those of one input channel: oneDNN / fovea; worst", worst(rows.ratios(around(passes, one), "oneDNN")),
          Bound::at_least, 1.2, "x");
}

void products(Claims& out, const Rows& rows) {
  const Names shapes{"64x64x64",    "96x96x96",       "128x128x128", "256x256x256", "384x384x384",
                     "512x512x512", "1024x1024x1024", "64x576x4096", "32x256x768"};
  out.add("SGEMM 64^3 to 1024^3 and two oblong shapes: best of oneDNN OpenBLAS Eigen / fovea; worst",
          worst(rows.ratios(around("gemm ", shapes))), Bound::at_least, 0.97, "x");
  for (const char* n : {"4", "8", "12", "16"}) {
    const std::string size(n);
    out.add("SGEMM " + size + "^3: Eigen / fovea", rows.ratio("gemm " + size + "x" + size + "x" + size, "Eigen"),
            Bound::at_least, 3, "x");
  }
}

void glimpses(Claims& out, const Rows& rows) {
  const Names images{"1x2528x2528 64x64 batch 1", "1x2528x2528 32x32 batch 32", "1x2528x2528 64x64 batch 32 zoomed out",
                     "3x3000x4000 64x64 batch 1", "3x3000x4000 64x64 batch 32 zoomed out"};
  for (const std::string sampler : {"bilinear", "antialiased"}) {
    const double target = sampler == "bilinear" ? 8 : 4;
    for (const std::string source : {"", " uint8 source"}) {
      out.add(sampler + " glimpse forward + gradient" +
                  (source.empty() ? " float image on both sides" : " uint8 image on ours") + ": torch / fovea; worst of 5 rows",
              worst(rows.ratios(around("glimpse " + sampler + source + " ", images), "torch")), Bound::at_least, target, "x");
    }
  }
}

void layers(Claims& out, const Rows& rows) {
  for (const std::string batch : {"1", "32"}) {
    for (const std::string cell : {"GRU", "LSTM"}) {
      out.add(cell + " step 256 forward + backward batch " + batch + ": torch / fovea",
              rows.ratio(cell + " cell 256 -> 256 forward + backward batch " + batch, "torch"), Bound::at_least,
              batch == "1" ? 5 : 1.6, "x");
    }
  }
  const std::string cnn = "training step of a tiny CNN batch 32";
  out.add(cnn + ": torch / fovea", rows.ratio(cnn, "torch"), Bound::at_least, 1.3, "x");
  out.add(cnn + ": dlib / fovea", rows.ratio(cnn, "dlib"), Bound::at_least, 4, "x");
  out.add(cnn + ": tiny-dnn / fovea", rows.ratio(cnn, "tiny-dnn"), Bound::at_least, 25, "x");

  const Names shapes{"32x32x32x64", "32x8x8x256", "1x64x64x32", "1x8x8x128", "32x1x1x256"};
  for (const std::string activation : {"ReLU", "ELU"}) {
    out.add("group norm + " + activation + " forward + backward: torch / fovea; worst of 5 shapes",
            worst(rows.ratios(around("group norm + " + activation + " ", shapes), "torch")), Bound::at_least, 1.5, "x");
  }
  out.add(
      "Adam step on 7 million parameters: torch / fovea; worst of one tensor and of 31",
      worst(rows.ratios({"Adam step 7000000 parameters in 1 tensor", "Adam step 6673632 parameters in 31 tensors"}, "torch")),
      Bound::at_least, 1.5, "x");
}

/// Beside the twin the glimpses are bilinear, which is what torch has.
void saccader(Claims& out, const Rows& rows) {
  const std::string model = "reference saccader ";
  for (const int threads : {1, 2}) {
    out.add(model + "training step batch 32 on " + std::to_string(threads) + (threads == 1 ? " thread" : " threads") +
                ": torch / fovea",
            rows.ratio(model + "training step batch 32 bilinear", "torch", threads), Bound::at_least, 2, "x");
  }
  for (const std::string batch : {"1", "32"}) {
    out.add(model + "inference batch " + batch + ": torch / fovea",
            rows.ratio(model + "inference batch " + batch + " bilinear", "torch"), Bound::at_least, batch == "1" ? 4 : 2, "x");
  }
  const std::string image = "whole image 1x2528x2528";
  out.add("image 2528x2528 time: ResNet-18 of onnxruntime / saccader", rows.ratio(image, "onnxruntime"), Bound::at_least, 500,
          "x");
  out.add("image 2528x2528 peak memory: ResNet-18 of onnxruntime / saccader",
          rows.ratio(image + " peak memory of the process in bytes", "onnxruntime"), Bound::at_least, 30, "x");

  std::vector<double> deviations;
  for (const char* size :
       {"1024x1024 anti-aliased", "4096x4096 anti-aliased", "16384x16384 anti-aliased", "16384x16384 bilinear"}) {
    const double small_over_large = rows.ratio(model + "given the proxy on a mapped image of " + size, "itself");
    deviations.push_back(-100 * std::abs(1 / small_over_large - 1));
  }
  out.add("cost at 1024^2 4096^2 16384^2 pixels against 256^2: largest deviation", -worst(deviations), Bound::at_most, 10, "%");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Rows rows(argc > 1 ? argv[1] : "bench-peers.csv");
    Claims out;
    convolutions(out, rows);
    products(out, rows);
    glimpses(out, rows);
    layers(out, rows);
    saccader(out, rows);
    return out.write("claims-kernels.csv");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "claims_kernels: %s\n", error.what());
    return 2;
  }
}
