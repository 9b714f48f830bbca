// SPDX-License-Identifier: MIT
// The claims of sample/ and bound/: derivatives, densities, bias, variance, and throughput beside torch. It also compares all
// estimators on one saccade problem: estimators.csv, and the table and the plot of docs/estimators.md.
//
// The tests are part of this program, so that what is claimed is what is tested:
// sources: tests/sample/*.cpp
// after: peers_distributions
#define DOCTEST_CONFIG_IMPLEMENT
#include "../peers/peers.hpp"
#include "claims.hpp"
#include "support/measured.hpp"
#include "support/saccade_problem.hpp"
#include "support/z_test.hpp"
#include <fovea/core/error.hpp>
#include <fovea/sample/sample.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using claims::Bound;
using claims::Claims;
using namespace fovea;
namespace fs = std::filesystem;

constexpr Index kPictures = 16;  // of different difficulty, as the images of a minibatch are

/// An estimator on the problem, over all pictures.
struct Row {
  std::string name;
  std::string over;  ///< "cells", "cells, mean place" or "place"
  bool biased = false;
  double evaluations = 0;   ///< of the cost, per estimate
  double bias = 0;          ///< |mean - exact| / |exact|
  double bias_noise = 0;    ///< what bias would be of an unbiased estimator, for want of draws
  double variance = 0;      ///< sum over components / |exact|^2
  double microseconds = 0;  ///< of an estimate, forward and backward, in float
  [[nodiscard]] double signal_to_noise() const { return 1 / std::sqrt(variance); }
};

template <class T>
const std::vector<fovea_test::SaccadeProblem<T>>& problems() {
  static const std::vector<fovea_test::SaccadeProblem<T>> all = [] {
    std::vector<fovea_test::SaccadeProblem<T>> made;
    for (Index i = 0; i < kPictures; ++i) made.emplace_back(sample::Grid{4, 6}, static_cast<std::uint64_t>(i + 1));
    return made;
  }();
  return all;
}

/// A problem over cells: its parameters are the logits. Between the cells its cost is that of the mean of the glimpses, or,
/// rougher, of the glimpse at the mean place; estimators that look at cells alone see no difference.
template <bool MeanPlace>
struct Cells {
  static constexpr const char* name = MeanPlace ? "cells, mean place" : "cells";
  template <class T>
  static auto distribution(Tape<T>& tape, const fovea_test::SaccadeProblem<T>& problem, Index rows) {
    return problem.distribution(tape, rows);
  }
  template <class T>
  static VarOf<Tape<T>> cost(Tape<T>& tape, const fovea_test::SaccadeProblem<T>& problem, Var<T> z) {
    if constexpr (MeanPlace)
      return problem.cost(tape, z);
    else
      return problem.cost_of_mean_glimpse(tape, z);
  }
  static std::vector<double> exact(const fovea_test::SaccadeProblem<double>& problem) { return problem.exact_gradient(); }
};

/// A problem over a Gaussian place: mean and log-deviation of x and y.
struct Place {
  static constexpr const char* name = "place";
  template <class T>
  static auto distribution(Tape<T>& tape, const fovea_test::SaccadeProblem<T>& /*problem*/, Index rows) {
    const sample::DiagonalGaussian<T> q{tape.variable(Shape{rows, 2}), tape.variable(Shape{rows, 2})};
    for (Index i = 0; i < 2 * rows; ++i) {
      q.mean.value[i] = static_cast<T>(i % 2 == 0 ? 0.2 : -0.1);
      q.log_deviation.value[i] = T(-1.4);
    }
    return q;
  }
  template <class T>
  static VarOf<Tape<T>> cost(Tape<T>& tape, const fovea_test::SaccadeProblem<T>& problem, Var<T> z) {
    return problem.cost_at(tape, z);
  }
  static std::vector<double> exact(const fovea_test::SaccadeProblem<double>& problem) {
    constexpr Index nodes = 200;
    Arena arena;
    Tape<double> tape(arena);
    const auto q = distribution(tape, problem, 1);
    const auto many = sample::repeat(tape, q, nodes * nodes);
    const Var<double> z = tape.constant(Shape{nodes * nodes, 2});
    const Var<double> weight = tape.constant(Shape{nodes * nodes});
    for (Index r = 0; r < nodes * nodes; ++r) {
      z.value[2 * r] = 2 * (2 * (static_cast<double>(r % nodes) + 0.5) / nodes - 1);
      z.value[2 * r + 1] = 2 * (2 * (static_cast<double>(r / nodes) + 0.5) / nodes - 1);
      weight.value[r] = 16.0 / (nodes * nodes);
    }
    const auto density = nn::multiply(tape, weight, nn::exp(tape, sample::log_density(tape, many, z)));
    tape.backward(nn::sum(tape, nn::multiply(tape, density, problem.cost_at(tape, z))));
    std::vector<double> out(q.mean.gradient, q.mean.gradient + 2);
    out.insert(out.end(), q.log_deviation.gradient, q.log_deviation.gradient + 2);
    return out;
  }
};

template <class T>
std::vector<double> gradient_row(const sample::Categorical<T>& q, Index r) {
  return std::vector<double>(q.logits.gradient + r * q.cells(), q.logits.gradient + (r + 1) * q.cells());
}
template <class T>
std::vector<double> gradient_row(const sample::DiagonalGaussian<T>& q, Index r) {
  std::vector<double> out(q.mean.gradient + 2 * r, q.mean.gradient + 2 * r + 2);
  out.insert(out.end(), q.log_deviation.gradient + 2 * r, q.log_deviation.gradient + 2 * r + 2);
  return out;
}

/// E[cost] over all pictures: what a moving average has come to.
double mean_cost() {
  static const double mean = [] {
    double sum = 0;
    for (const auto& problem : problems<double>()) {
      Arena arena;
      Tape<double> tape(arena);
      const auto q = problem.distribution(tape, 1);
      const auto p = sample::probabilities(tape, q);
      const auto cost = problem.cost(tape, problem.every_cell(tape));
      for (Index i = 0; i < problem.cells(); ++i) sum += p.value[i] * cost.value[i] / kPictures;
    }
    return sum;
  }();
  return mean;
}

/// `make(tape)` returns the estimator, for float and double.
template <class Problem, class Make>
Row measure(const std::string& name, bool biased, Make make) {
  constexpr Index rows = 250;
  constexpr Index passes = 20;
  Row row{.name = name, .over = Problem::name, .biased = biased};
  double bias = 0, noise = 0, variance = 0, length = 0, evaluations = 0;
  Arena arena;
  for (const auto& problem : problems<double>()) {
    fovea_test::ZTest test(Problem::exact(problem));
    for (Index pass = 0; pass < passes; ++pass) {
      arena.reset();
      Tape<double> tape(arena);
      const auto q = Problem::distribution(tape, problem, rows);
      const auto y =
          make(tape)(tape, q, sample::NoiseKey{.seed = 3, .step = static_cast<std::uint64_t>(pass)}, [&](Var<double> z) {
            evaluations += static_cast<double>(z.shape[0]);
            return Problem::cost(tape, problem, z);
          });
      tape.backward(nn::sum(tape, y));
      for (Index r = 0; r < rows; ++r) test.add(gradient_row(q, r).data());
    }
    bias += std::pow(test.relative_bias() * test.length(), 2);
    noise += test.total_variance() / static_cast<double>(test.count());
    variance += test.total_variance();
    length += test.length() * test.length();
  }
  row.evaluations = evaluations / static_cast<double>(rows * passes * kPictures);
  row.bias = std::sqrt(bias / length);
  row.bias_noise = std::sqrt(noise / length);
  row.variance = variance / length;
  std::vector<double> times;
  for (int turn = 0; turn < 15; ++turn) {
    const auto& problem = problems<float>()[static_cast<std::size_t>(turn % kPictures)];
    arena.reset();
    Tape<float> tape(arena);
    const auto q = Problem::distribution(tape, problem, rows);
    const double start = peers::seconds(1);
    const auto y = make(tape)(tape, q, sample::NoiseKey{.seed = 3, .step = static_cast<std::uint64_t>(turn)},
                              [&](Var<float> z) { return Problem::cost(tape, problem, z); });
    tape.backward(nn::sum(tape, y));
    if (turn > 2) times.push_back(1e6 * (peers::seconds(1) - start) / static_cast<double>(rows));
  }
  row.microseconds = peers::median(times);
  std::printf("%-46s %-6s evaluations %5.1f  bias %6.3f (+- %.3f)  variance %9.3f  %7.2f us\n", name.c_str(), row.over.c_str(),
              row.evaluations, row.bias, row.bias_noise, row.variance, row.microseconds);
  (void)std::fflush(stdout);
  return row;
}

/// An estimator that needs nothing of the pass.
template <class Estimator>
auto plain(const Estimator& estimator) {
  return [estimator](auto& /*tape*/) { return estimator; };
}

std::vector<Row> all_rows() {
  using namespace sample;
  const MovingAverage average{.value = mean_cost(), .started = true};
  std::vector<Row> rows;
  const auto cells = [&](const std::string& name, bool biased, auto make) {
    rows.push_back(measure<Cells<false>>(name, biased, make));
  };
  const auto rough = [&](const std::string& name, bool biased, auto make) {
    rows.push_back(measure<Cells<true>>(name, biased, make));
  };
  const auto place = [&](const std::string& name, bool biased, auto make) {
    rows.push_back(measure<Place>(name, biased, make));
  };
  for (const Index k : {1, 4}) {
    const std::string draws = k == 1 ? "" : ", " + std::to_string(k);
    cells("score function" + draws, false, plain(ScoreFunction<>{.samples = k}));
    cells("score function moving average" + draws, false, plain(ScoreFunction<MovingAverage>{k, average}));
    if (k > 1) cells("score function leave one out" + draws, false, plain(ScoreFunction<LeaveOneOut>{.samples = k}));
    cells("REBAR" + draws, false, plain(Rebar{.samples = k}));
  }
  cells("score function learned baseline", false, [](auto& tape) {  // one that has learned nothing of the picture but the mean
    using T = typename std::remove_reference_t<decltype(tape)>::Scalar;
    const Var<T> prediction = tape.variable(Shape{250});
    std::fill_n(prediction.value, 250, static_cast<T>(mean_cost()));
    return ScoreFunction<LearnedBaseline<T>>{.baseline = {prediction}};
  });
  cells("RELAX quadratic surrogate", false, [](auto& tape) {
    using T = typename std::remove_reference_t<decltype(tape)>::Scalar;
    return Relax{[&tape](Var<T> z) { return nn::scale(tape, T(0.01), nn::sum_per_sample(tape, nn::multiply(tape, z, z))); },
                 Index{1}};
  });
  cells("clipped policy gradient leave one out, 4", false, plain(ClippedPolicyGradient<LeaveOneOut>{.samples = 4}));
  cells("attention sampling with replacement, 4", false, plain(AttentionSampling{.samples = 4, .with_replacement = true}));
  cells("attention sampling without, 4", false, plain(AttentionSampling{.samples = 4}));
  cells("straight-through", true, plain(StraightThrough{}));
  cells("Gumbel straight-through 0.5", true, plain(GumbelStraightThrough{}));
  cells("relaxed 0.5", true, plain(Relaxed{}));
  cells("relaxed 0.1", true, plain(Relaxed{.temperature = 0.1}));
  cells("VIMCO, 4 (for its own bound)", true, plain(Vimco{.samples = 4}));
  cells("perturbed top-1, 100 noises (for its smoothing)", true, plain(PerturbedTopK{.sigma = 1}));
  rough("REBAR, 4", false, plain(Rebar{.samples = 4}));
  rough("straight-through", true, plain(StraightThrough{}));
  rough("Gumbel straight-through 0.5", true, plain(GumbelStraightThrough{}));
  rough("relaxed 0.5", true, plain(Relaxed{}));
  place("pathwise", false, plain(Pathwise{}));
  place("pathwise, 4", false, plain(Pathwise{.samples = 4}));
  place("score function", false, plain(ScoreFunction<>{}));
  place("score function moving average", false, plain(ScoreFunction<MovingAverage>{1, average}));
  place("score function leave one out, 4", false, plain(ScoreFunction<LeaveOneOut>{.samples = 4}));
  place("clipped policy gradient leave one out, 4", false, plain(ClippedPolicyGradient<LeaveOneOut>{.samples = 4}));
  return rows;
}

std::string number(double value, const char* format = "%.3g") {
  char text[32];
  (void)std::snprintf(text, sizeof text, format, value);
  return text;
}

void write_csv(const std::vector<Row>& rows, const fs::path& path) {
  std::ofstream out(path);
  out << "estimator,over,evaluations,bias,bias_noise,variance,signal_to_noise,microseconds\n";
  for (const Row& r : rows) {
    out << '"' << r.name << "\",\"" << r.over << "\"," << r.evaluations << ',' << r.bias << ',' << r.bias_noise << ','
        << r.variance << ',' << r.signal_to_noise() << ',' << r.microseconds << '\n';
  }
  require(out.good(), "cannot write ", path.string());
}

/// Time of an estimate against its variance, both logarithmic; hollow where biased.
void write_svg(const std::vector<Row>& rows, const fs::path& path) {
  constexpr double width = 900, height = 560, left = 70, bottom = 50, top = 20, right = 20;
  double x_low = 1e9, x_high = 0, y_low = 1e9, y_high = 0;
  for (const Row& r : rows) {
    x_low = std::min(x_low, r.microseconds), x_high = std::max(x_high, r.microseconds);
    y_low = std::min(y_low, r.variance), y_high = std::max(y_high, r.variance);
  }
  x_low /= 1.3, x_high *= 3, y_low /= 1.5, y_high *= 1.5;
  const auto x_of = [&](double v) { return left + (width - left - right) * std::log(v / x_low) / std::log(x_high / x_low); };
  const auto y_of = [&](double v) {
    return height - bottom - (height - top - bottom) * std::log(v / y_low) / std::log(y_high / y_low);
  };
  std::ofstream out(path);
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << width << ' ' << height
      << "\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  const auto line = [&](double x1, double y1, double x2, double y2, const char* color) {
    out << "<line x1=\"" << x1 << "\" y1=\"" << y1 << "\" x2=\"" << x2 << "\" y2=\"" << y2 << "\" stroke=\"" << color
        << "\"/>\n";
  };
  const auto text = [&](double x, double y, const std::string& words, const char* anchor = "start") {
    out << "<text x=\"" << x << "\" y=\"" << y << "\" text-anchor=\"" << anchor << "\">" << words << "</text>\n";
  };
  for (double decade = 1e-4; decade < 1e6; decade *= 10) {
    if (decade > x_low && decade < x_high) {
      line(x_of(decade), top, x_of(decade), height - bottom, "#ddd");
      text(x_of(decade), height - bottom + 16, number(decade, "%g"), "middle");
    }
    if (decade > y_low && decade < y_high) {
      line(left, y_of(decade), width - right, y_of(decade), "#ddd");
      text(left - 6, y_of(decade) + 4, number(decade, "%g"), "end");
    }
  }
  line(left, height - bottom, width - right, height - bottom, "black");
  line(left, top, left, height - bottom, "black");
  text((width + left) / 2, height - 12, "microseconds per estimate, forward and backward", "middle");
  out << "<text transform=\"translate(16," << height / 2
      << ") rotate(-90)\" text-anchor=\"middle\">variance / |gradient|²</text>\n";
  for (const Row& r : rows) {
    const char* color = r.over == "cells" ? "#1f5fa8" : r.over == "place" ? "#b3541e" : "#6a8f3c";
    out << "<circle cx=\"" << x_of(r.microseconds) << "\" cy=\"" << y_of(r.variance) << "\" r=\"4\" stroke=\"" << color
        << "\" fill=\"" << (r.biased ? "white" : color) << "\"/>\n";
    text(x_of(r.microseconds) + 7, y_of(r.variance) + 4, r.name);
  }
  text(left + 12, top + 14,
       "blue: over 24 cells (green: relaxed to the mean place); orange: over a Gaussian place; hollow: biased, or for another "
       "target");
  out << "</svg>\n";
  require(out.good(), "cannot write ", path.string());
}

/// The table between the marks of docs/estimators.md.
void write_table(const std::vector<Row>& rows, const fs::path& page) {
  std::ifstream in(page);
  std::stringstream whole;
  whole << in.rdbuf();
  const std::string text = whole.str();
  const std::string begin = "<!-- estimators:begin -->\n";
  const std::size_t from = text.find(begin);
  const std::size_t to = text.find("<!-- estimators:end -->");
  require(from != std::string::npos && to != std::string::npos, page.string(), ": the marks of the table are missing");
  std::string table =
      "| estimator | over | cost evaluations | bias | variance | signal to noise | µs |\n|---|---|---|---|---|---|---|\n";
  for (const Row& r : rows) {
    const std::string bias = r.biased                    ? number(r.bias, "%.2f")
                             : r.bias < 3 * r.bias_noise ? "none seen"
                                                         : number(r.bias, "%.3f") + " (!)";
    table += "| " + r.name + " | " + r.over + " | " + number(r.evaluations, "%.0f") + " | " + bias + " | " +
             number(r.variance) + " | " + number(r.signal_to_noise()) + " | " + number(r.microseconds) + " |\n";
  }
  std::ofstream out(page);
  out << text.substr(0, from + begin.size()) << table << text.substr(to);
  require(out.good(), "cannot write ", page.string());
}

const Row& row_of(const std::vector<Row>& rows, const std::string& name) {
  for (const Row& r : rows) {
    if (r.name == name && r.over == "cells") return r;
  }
  fail("no estimator of the name ", name);
}

/// The rows of a peers' csv whose name starts with `name`: peer / fovea; NaN where there is none.
double ratio_of(const fs::path& csv, const std::string& name) {
  std::ifstream lines(csv);
  double ratio = std::numeric_limits<double>::quiet_NaN();
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name)) ratio = std::stod(line.substr(line.rfind(',') + 1));
  }
  return ratio;
}

int measure_all() {
  doctest::Context context;
  context.setOption("minimal", true);
  const bool passed = context.run() == 0;
  const std::vector<Row> rows = all_rows();
  write_csv(rows, "estimators.csv");
  write_svg(rows, fs::path(FOVEA_SOURCE_DIR) / "docs/images/estimators.svg");
  write_table(rows, fs::path(FOVEA_SOURCE_DIR) / "docs/estimators.md");

  Claims out;
  out.add("tests of sample/ that fail", passed ? 0 : 1, Bound::at_most, 0, "");
  for (const auto& [name, value] : fovea_test::measured()) {
    if (name.starts_with("pathwise: ")) out.add(name + "; relative error of the derivative", value, Bound::at_most, 1e-6, "");
  }
  for (const auto& [name, value] : fovea_test::measured()) {
    if (name.starts_with("density: ") || name.starts_with("divergence: ")) {
      out.add(name + "; relative error", value, Bound::at_most, 1e-5, "");
    }
  }
  for (const auto& [name, value] : fovea_test::measured()) {
    if (name.starts_with("unbiased: "))
      out.add(name + "; worst |z| of 20 or more components; 1e5 draws", value, Bound::at_most, 4, "");
  }
  const double reinforce = row_of(rows, "score function moving average, 4").variance;
  const double rloo = row_of(rows, "score function leave one out, 4").variance;
  out.add("variance of 4 draws: leave one out / REINFORCE with a moving average", rloo / reinforce, Bound::at_most, 0.5, "x");
  out.add("variance of 4 draws: REBAR / leave one out", row_of(rows, "REBAR, 4").variance / rloo, Bound::at_most, 1, "x");
  const fs::path csv = "distributions.csv";
  fs::remove(csv);
  require(
      std::system("'" FOVEA_BINARY_DIR "/bench/peers/peers_distributions' distributions.csv") == 0,  // NOLINT: our own words
      "failed: peers_distributions");
  for (const char* name : {"Gaussian 1024x3", "Gumbel-softmax 1024x64", "Beta(0.5 to 5) 1024x3", "Beta(5 to 50) 1024x3"}) {
    out.add(std::string("throughput against torch: ") + name + " forward and gradient", ratio_of(csv, name), Bound::at_least, 3,
            "x");
  }
  return out.write("claims-estimators.csv");
}

}  // namespace

int main() {
  try {
    return measure_all();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "claims_estimators: %s\n", error.what());
    return 2;
  }
}
