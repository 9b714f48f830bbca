// SPDX-License-Identifier: MIT
// The claims of the models: parity of the published network, the start on megapixel digits over five seeds, early exit,
// calibration, and what the policy is worth.
//
//   claims_models [--fresh]    reports that are already there are kept, so the file can be filled over several sittings;
//   --fresh
//                              makes all of them anew (about an hour on two cores). The demo's report is taken from
//                              claims-demo where that has been measured
#define DOCTEST_CONFIG_IMPLEMENT
#include "claims.hpp"
#include "support/reference_parity.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace {

using claims::Bound;
using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr int kSeeds = 5;

/// The report of a run of an example program, which is made unless it is there.
Json report_of(const fs::path& folder, const std::string& program, const std::string& options, bool fresh) {
  const fs::path report = folder / "report.json";
  if (fresh) fs::remove(report);
  if (!fs::exists(report)) {
    const fs::path data = fs::path(FOVEA_SOURCE_DIR) / "build/data/mnist";
    if (!fs::exists(data)) throw std::runtime_error("no " + data.string() + ": run sh cmake/bootstrap.sh demo once");
    std::printf("%s:\n", folder.string().c_str());
    (void)std::fflush(stdout);
    const std::string command = std::string(FOVEA_EXAMPLES_DIR) + "/" + program + " --threads 2 --data '" + data.string() +
                                "' --output '" + folder.string() + "' " + options;
    if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);  // NOLINT: our own words only
  }
  return Json::parse(std::ifstream(report));
}

/// The rows of experiments/megapixel in a folder, which are made unless they are there: by model and seed.
std::map<std::pair<std::string, int>, Json> megapixel_rows(const fs::path& folder, bool fresh) {
  if (fresh) fs::remove_all(folder);
  const fs::path data = fs::path(FOVEA_SOURCE_DIR) / "build/data/mnist";
  for (const std::string& options :
       {"--model saccader --seeds " + std::to_string(kSeeds), std::string("--model random_glimpses --seeds 1")}) {
    const std::string command = std::string(FOVEA_EXAMPLES_DIR) +
                                "/experiments/megapixel --variant 1500 --images 50000 --resume --data '" + data.string() +
                                "' --output '" + folder.string() + "' --work '" + (folder / "work").string() + "' " + options;
    if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);  // NOLINT: our own words only
  }
  std::map<std::pair<std::string, int>, Json> rows;
  std::ifstream file(folder / "megapixel.jsonl");
  for (std::string line; std::getline(file, line);) {
    Json row = Json::parse(line);
    const std::pair key(row.at("model").get<std::string>(), row.at("seed").get<int>());
    rows[key] = std::move(row);
  }
  return rows;
}

/// The first epoch of 5000 images whose accuracy on images held out is above one half; infinity where there is none.
double started(const Json& row) {
  for (const Json& at : row.at("curve")) {
    if (at.at("accuracy").get<double>() > 0.5) return std::ceil(at.at("images").get<double>() / 5000 - 0.01);
  }
  return HUGE_VAL;
}

void megapixel(claims::Claims& out, bool fresh) {
  const auto rows = megapixel_rows("claims-models/megapixel", fresh);
  double latest = 0;
  for (int seed = 1; seed <= kSeeds; ++seed) latest = std::max(latest, started(rows.at({"saccader", seed})));
  const auto accuracy = [&](const char* name) { return rows.at({name, 1}).at("test").at("accuracy").get<double>(); };
  out.add("megapixel digits: first epoch with held-out accuracy above 50 %; latest of 5 seeds", latest, Bound::at_most, 30,
          "epochs");
  out.add("megapixel digits: learned policy above random glimpses after 10 epochs",
          100 * (accuracy("saccader") - accuracy("random_glimpses")), Bound::at_least, 20, "points");
}

void demo(claims::Claims& out, bool fresh) {
  const fs::path measured = "claims-demo/seed-1";
  const bool there = !fresh && fs::exists(measured / "report.json") &&
                     Json::parse(std::ifstream(measured / "report.json")).contains("early_exit");
  const Json report = report_of(there ? measured : fs::path("claims-models/demo"), "cluttered_digits", "--seed 1", fresh);
  const Json& early = report.at("early_exit");
  const auto number = [&](const char* name) { return early.at(name).get<double>(); };
  out.add("demo: glimpses of all steps / with early exit", report.at("glimpses").get<double>() / number("glimpses"),
          Bound::at_least, 2, "x");
  out.add("demo: accuracy lost by early exit", 100 * (number("accuracy_of_all") - number("accuracy")), Bound::at_most, 0.2,
          "points");
  out.add(
      "demo: learned policy above random glimpses",
      100 * (report.at("accuracy").at("saccader").get<double>() - report.at("accuracy").at("random_glimpses").get<double>()),
      Bound::at_least, 20, "points");
  out.add("demo: expected calibration error after temperature scaling", number("calibration_error_after"), Bound::at_most, 0.02,
          "");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bool fresh = argc > 1 && std::string_view(argv[1]) == "--fresh";
    fs::create_directories("claims-models");
    claims::Claims out;
    // One unit of z is half the image, and bilinear reads have kinks: end to end in float what a glimpse sees moves with the
    // rounding of z. So also with each z given, and end to end in double.
    const std::string parity =
        "reference() against the published network written independently, same weights; worst forward value, ";
    out.add(parity + "float given each z", fovea_test::reference_parity<float>(true), Bound::at_most, 1e-5, "relative");
    out.add(parity + "float end to end", fovea_test::reference_parity<float>(false), Bound::at_most, 1e-5, "relative");
    out.add(parity + "double end to end", fovea_test::reference_parity<double>(false), Bound::at_most, 1e-5, "relative");
    demo(out, fresh);
    megapixel(out, fresh);
    return out.write("claims-models.csv");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "claims_models: %s\n", error.what());
    return 2;
  }
}
