// SPDX-License-Identifier: MIT
// The claims of the demo: accuracy over five seeds, time and memory beside a network over the whole image, allocations,
// derivatives, cost of including, time of the test command.
//
//   claims_demo [--fresh]    reports and logs that are already there are kept, so the file can be filled over several sittings;
//                            --fresh makes all of them anew (about an hour on two cores)
//
// The tests of every derivative are part of this program, so that what is claimed is what is tested:
// sources: tests/nn/gradients.cpp tests/glimpse/gradients.cpp tests/sample/gaussian.cpp tests/bound/bound.cpp
// sources: tests/model/saccader.cpp tests/model/peers.cpp tests/support/counting_new.cpp
#define DOCTEST_CONFIG_IMPLEMENT
#include "claims.hpp"
#include "support/counting_new.hpp"
#include "support/digits_task.hpp"
#include "support/worst_gradient.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using claims::Bound;
using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr int kSeeds = 5;

int shell(const std::string& command) { return std::system(command.c_str()); }  // NOLINT: our own words only

double seconds(const std::string& command) {
  const auto start = std::chrono::steady_clock::now();
  if (shell(command) != 0) return std::nan("");
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The report of a run of the demo, which is made unless it is there.
Json report_of(const std::string& name, int seed, const fs::path& data, const std::string& options, bool fresh) {
  const fs::path folder = fs::path("claims-demo") / name;
  const fs::path report = folder / "report.json";
  if (fresh) fs::remove(report);
  if (!fs::exists(report)) {
    std::printf("%s:\n", name.c_str());
    (void)std::fflush(stdout);
    const std::string command = std::string(FOVEA_EXAMPLES_DIR) + "/cluttered_digits --threads 2 --data '" + data.string() +
                                "' --seed " + std::to_string(seed) + " --output '" + folder.string() + "' " + options;
    if (shell(command) != 0) throw std::runtime_error("failed: " + command);
  }
  return Json::parse(std::ifstream(report));
}

void accuracy_and_cost(claims::Claims& out, bool fresh) {
  const fs::path data = fs::path(FOVEA_SOURCE_DIR) / "build/data/mnist";
  if (!fs::exists(data)) throw std::runtime_error("no " + data.string() + ": run sh cmake/bootstrap.sh demo once");
  std::vector<Json> reports;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    reports.push_back(report_of("seed-" + std::to_string(seed), seed, data, "", fresh));
  }

  // The worst seed speaks for all.
  const auto least = [&](auto value) {
    double worst = HUGE_VAL;
    for (const Json& r : reports) worst = std::min(worst, value(r));
    return worst;
  };
  const auto accuracy = [](const Json& r, const char* model) { return r.at("accuracy").at(model).get<double>(); };
  const auto ratio = [](const Json& r, const char* what) {
    return r.at(what).at("full_resolution").get<double>() / r.at(what).at("saccader").get<double>();
  };
  out.add("accuracy of the saccader; worst of 5 seeds", least([&](const Json& r) { return accuracy(r, "saccader"); }),
          Bound::at_least, 0.95, "fraction");
  out.add("saccader above proxy_only; worst of 5 seeds",
          100 * least([&](const Json& r) { return accuracy(r, "saccader") - accuracy(r, "proxy_only"); }), Bound::at_least, 12,
          "points");
  out.add("saccader above random_glimpses; worst of 5 seeds",
          100 * least([&](const Json& r) { return accuracy(r, "saccader") - accuracy(r, "random_glimpses"); }), Bound::at_least,
          20, "points");
  out.add("training time of the saccader on 2 threads; longest of 5 seeds",
          -least([](const Json& r) { return -r.at("train_seconds").get<double>(); }) / 60, Bound::at_most, 10, "minutes");
  out.add("time of one image in memory: full_resolution / saccader; worst of 5 runs",
          least([&](const Json& r) { return ratio(r, "ms_per_image"); }), Bound::at_least, 100, "x");
  out.add("peak memory: full_resolution / saccader; worst of 5 runs",
          least([&](const Json& r) { return ratio(r, "peak_mib"); }), Bound::at_least, 30, "x");
}

/// The data set of machines without npm.
void fashion(claims::Claims& out, bool fresh) {
  const fs::path packed = "/usr/share/datasets/fashion-mnist";  // apt-get install dataset-fashion-mnist
  double behind = HUGE_VAL;
  if (fs::exists(packed)) {
    const fs::path data = "claims-demo/fashion-mnist";
    fs::create_directories(data);
    for (const auto& file : fs::directory_iterator(packed)) {
      if (file.path().extension() != ".gz") continue;
      (void)shell("gunzip -c " + file.path().string() + " > " + (data / file.path().stem()).string());
    }
    const Json accuracy = report_of("fashion", 1, data, "--whole-canvas --minutes 2", fresh).at("accuracy");
    behind = 100 * (accuracy.at("whole_canvas").get<double>() - accuracy.at("saccader").get<double>());
  }
  out.add("Fashion-MNIST: saccader behind a network over the whole canvas", behind, Bound::at_most, 5, "points");
}

void allocations(claims::Claims& out) {
  fovea_test::DigitsTask task(2, 4);
  for (int i = 0; i < 12; ++i) task.step();
  const fovea_test::AllocationCount training;
  for (int i = 0; i < 20; ++i) task.step();
  out.add("heap allocations in 20 training steps after the first", static_cast<double>(training.made()), Bound::at_most, 0, "");
  fovea::Arena arena;
  (void)task.classify(arena);
  (void)task.classify(arena);
  const fovea_test::AllocationCount inference;
  for (int i = 0; i < 20; ++i) (void)task.classify(arena);
  out.add("heap allocations in 20 inferences after the first", static_cast<double>(inference.made()), Bound::at_most, 0, "");
}

void derivatives(claims::Claims& out) {
  doctest::Context context;
  context.setOption("minimal", true);
  const int failed = context.run();
  const double worst = failed == 0 ? fovea_test::worst_gradient().error : HUGE_VAL;
  std::printf("%lld derivatives compared\n", static_cast<long long>(fovea_test::worst_gradient().checked));
  out.add("every gradient against central differences in double; worst", worst, Bound::at_most, 1e-6, "relative");
}

/// Median of three compilations of a file that includes these and nothing else.
double include_seconds(const std::string& includes) {
  std::ofstream("claims-include.cpp") << includes << "int main() {}\n";
  std::vector<double> times;
  for (int i = 0; i < 3; ++i) {
    times.push_back(seconds(std::string(FOVEA_CXX_COMPILER) + " -std=c++20 -O2 " + FOVEA_INCLUDE_FLAGS +
                            " -c claims-include.cpp -o claims-include.o"));
  }
  std::sort(times.begin(), times.end());
  return times[1];
}

std::string all_headers_of(const std::vector<std::string>& rooms) {
  std::string text;
  for (const std::string& room : rooms) {
    for (const auto& entry : fs::directory_iterator(fs::path(FOVEA_SOURCE_DIR) / "include/fovea" / room)) {
      text += "#include <fovea/" + room + "/" + entry.path().filename().string() + ">\n";
    }
  }
  return text;
}

void compile_time(claims::Claims& out) {
  out.add("#include <fovea/fovea.hpp> alone at -O2", include_seconds("#include <fovea/fovea.hpp>\n"), Bound::at_most, 4, "s");
  out.add("every header of kernel/ and nn/ at -O2", include_seconds(all_headers_of({"kernel", "nn"})), Bound::at_most, 2.5,
          "s");
}

/// In a bare Debian root, everything installed anew. Needs root and debootstrap; not met without.
void test_command(claims::Claims& out, bool fresh) {
  const fs::path log = "claims-demo/bare-root-test.log";
  if (fresh || !fs::exists(log)) (void)shell("sh '" FOVEA_SOURCE_DIR "/cmake/bare-root.sh' test > " + log.string() + " 2>&1");
  double time = HUGE_VAL;
  std::ifstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    int took = 0;
    int status = 1;
    if (std::sscanf(line.c_str(), "bare-root: test took %d s and ended with status %d", &took, &status) == 2 && status == 0) {
      time = took;
    }
  }
  out.add("sh cmake/bootstrap.sh test on a bare Debian 12; installs included", time / 60, Bound::at_most, 20, "minutes");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bool fresh = argc > 1 && std::string_view(argv[1]) == "--fresh";
    fs::create_directories("claims-demo");
    claims::Claims out;
    allocations(out);
    derivatives(out);
    compile_time(out);
    accuracy_and_cost(out, fresh);
    fashion(out, fresh);
    test_command(out, fresh);
    return out.write("claims-demo.csv");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "claims_demo: %s\n", error.what());
    return 2;
  }
}
